/* The common half of a gateway between a scripted router and real sockets:
 * the link is a fake that records what is said and plays what is answered. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/fanout.h"
#include "gateways/common/uplink.h"
#include "proto/frame_io.h"
#include "tests/t/t.h"
#include "tests/t/quiet_link.h"

enum { CLIENTS = 64, CLIENTS_MOST = FANOUT_SMALL + 16 };

static struct {
    struct joiner_ops ops;
    void *ctx;
    struct buf said; /* "LOGIN LOGOUT ..." */
    struct buf frame;
    uint8_t code;
    uint32_t conn, gen; /* of the last LOGIN */
    uint32_t ref;       /* of the last FETCH */
    uint64_t after;     /* of the last FETCH */
    uint64_t upto;      /* of the last FETCH */
    uint32_t bytes;     /* of the last FETCH */
    unsigned fetches, wanted; /* FETCHes, and snapshots that LOGINs asked for */
    char fetched[64];   /* the ids of the last FETCH, one space behind each */
    uint64_t number;    /* of the last PUBLISH */
    uint8_t publish_flags;
    uint64_t asked;     /* of the last HELLO */
    bool broken;
} link_;

/* ---- the fake link ----------------------------------------------------- */

int joiner_open(struct joiner **ret, struct loop *loop,
                const struct joiner_options *options,
                const struct joiner_ops *ops, void *ctx)
{
    UNUSED(loop);
    UNUSED(options);
    link_.ops = *ops;
    link_.ctx = ctx;
    *ret = (struct joiner *)(void *)&link_;
    return 0;
}

void joiner_close(struct joiner *j)
{
    UNUSED(j);
}

bool pipe_is_up(const struct pipe *p)
{
    UNUSED(p);
    return !link_.broken;
}

void pipe_beat(struct pipe *p)
{
    UNUSED(p);
}

struct buf *pipe_frame(struct pipe *p, uint8_t code)
{
    UNUSED(p);
    buf_reset(&link_.frame);
    link_.code = code;
    return &link_.frame;
}

static void note_login(const struct frame_login *login)
{
    struct frame_login walk = *login;
    struct login_id id;

    link_.conn = login->conn;
    link_.gen = login->gen;
    for (unsigned i = 0; i < login->count; i++) {
        EXPECT_INT(frame_next_login_id(&walk, &id), 0);
        link_.wanted += (id.flags & LOGIN_WANT_SNAPSHOT) != 0;
    }
}

static void note_fetch(const struct frame_fetch *fetch)
{
    struct frame_fetch walk = *fetch;
    size_t len = 0;
    struct slice id;

    link_.ref = fetch->ref;
    link_.after = fetch->after;
    link_.upto = fetch->upto;
    link_.bytes = fetch->bytes;
    link_.fetches++;
    for (unsigned i = 0; i < fetch->count; i++) {
        EXPECT_INT(frame_next_fetch_id(&walk, &id), 0);
        len += (size_t)snprintf(link_.fetched + len,
                                sizeof link_.fetched - len, SLICE_FMT " ",
                                SLICE_ARG(id));
    }
}

void pipe_frame_end(struct pipe *p)
{
    struct slice body = buf_slice(&link_.frame);
    struct frame_login login;
    struct frame_fetch fetch;
    struct frame_publish publish;
    struct frame_hello hello;

    UNUSED(p);
    EXPECT_INT(frame_check(link_.code, SENDER_GATEWAY, body.len), 0);
    buf_addf(&link_.said, "%s ", frame_name(link_.code));
    if (link_.code == FRAME_LOGIN) {
        EXPECT_INT(frame_read_login(body, &login), 0);
        note_login(&login);
    } else if (link_.code == FRAME_FETCH) {
        EXPECT_INT(frame_read_fetch(body, &fetch), 0);
        note_fetch(&fetch);
    } else if (link_.code == FRAME_PUBLISH) {
        EXPECT_INT(frame_read_publish(body, &publish), 0);
        link_.number = publish.number;
        link_.publish_flags = publish.flags;
    } else if (link_.code == FRAME_HELLO) {
        EXPECT_INT(frame_read_hello(body, &hello), 0);
        link_.asked = hello.asked;
    }
}

void pipe_break(struct pipe *p, const char *why)
{
    UNUSED(p);
    UNUSED(why);
    link_.broken = true;
}

static void said(const char *what)
{
    EXPECT_STR(buf_text(&link_.said), what);
    buf_reset(&link_.said);
}

static void hear(uint8_t code, struct buf *body)
{
    CHECK(!body->failed);
    EXPECT_INT(link_.ops.pipe.frame(link_.ctx, code, buf_slice(body)), 0);
    link_.ops.pipe.batch_end(link_.ctx, 0);
    buf_fini(body);
}

static void hear_welcome(const char *epoch, uint64_t life, uint64_t seq)
{
    struct frame_welcome f = {.life = life, .seq = seq, .resync = 1,
                              .epoch = slice_str(epoch)};
    struct buf b = BUF_INIT;

    link_.ops.pipe.up(link_.ctx);
    frame_write_welcome(&b, &f);
    hear(FRAME_WELCOME, &b);
}

static void hear_resynced(uint64_t seq)
{
    struct buf b = BUF_INIT;

    put_u64(&b, seq);
    hear(FRAME_RESYNCED, &b);
}

struct id_says {
    const char *id;
    uint8_t flags;
    uint64_t last_seq, last_offset, trimmed_seq, trimmed_offset;
    const char *state;
};

static uint64_t forgotten_seq; /* of the router */

static void hear_logged_in(uint64_t seq, uint8_t flags,
                           const struct id_says *ids, uint16_t count)
{
    struct frame_logged_in f = {.conn = link_.conn, .gen = link_.gen,
                                .seq = seq, .forgotten_seq = forgotten_seq,
                                .flags = flags, .count = count};
    struct buf b = BUF_INIT;

    buf_reserve(&b, 256); /* one allocation, of most */
    frame_write_logged_in(&b, &f);
    for (unsigned i = 0; i < count; i++) {
        struct logged_in_id id = {
            .flags = ids[i].flags | (ids[i].state ? ID_SNAPSHOT : 0),
            .id = slice_str(ids[i].id),
            .last_seq = ids[i].last_seq,
            .last_offset = ids[i].last_offset,
            .trimmed_seq = ids[i].trimmed_seq,
            .trimmed_offset = ids[i].trimmed_offset,
            .state = slice_str(ids[i].state ? ids[i].state : ""),
        };

        frame_write_logged_in_id(&b, &id);
    }
    hear(FRAME_LOGGED_IN, &b);
}

static struct msg_parts parts(const char *id, uint64_t seq, const char *data)
{
    return (struct msg_parts){
        .flags = MSG_STORED,
        .seq = seq,
        .offset = seq,
        .id = slice_str(id),
        .data = slice_str(data),
    };
}

static void hear_message(const char *id, uint64_t seq, const char *data)
{
    struct msg_parts p = parts(id, seq, data);
    struct buf b = BUF_INIT;

    frame_write_deliver(&b, &p);
    hear(FRAME_DELIVER, &b);
}

static void hear_retract(const char *id, uint64_t seq)
{
    struct msg_parts p = parts(id, seq, "retract");
    struct buf b = BUF_INIT;

    p.flags |= MSG_RESNAPSHOT;
    frame_write_deliver(&b, &p);
    hear(FRAME_DELIVER, &b);
}

static void hear_notice(const char *id, const char *kind, const char *state)
{
    struct msg_parts p = {.flags = MSG_NOTICE, .id = slice_str(id),
                          .kind = slice_str(kind), .format = MSG_JSON,
                          .data = slice_str(state)};
    struct buf b = BUF_INIT;

    frame_write_deliver(&b, &p);
    hear(FRAME_DELIVER, &b);
}

static void hear_row(const char *id, uint64_t seq, const char *data)
{
    struct msg_parts p = parts(id, seq, data);
    struct buf b = BUF_INIT;

    frame_write_row(&b, link_.ref, &p);
    hear(FRAME_ROW, &b);
}

static void hear_page_end(bool more, uint64_t upto)
{
    struct frame_page_end f = {.ref = link_.ref, .more = more, .upto = upto};
    struct buf b = BUF_INIT;

    frame_write_page_end(&b, &f);
    hear(FRAME_PAGE_END, &b);
}

static void hear_hole(uint32_t ref, const char *id, uint64_t offset,
                      uint64_t seq)
{
    struct frame_hole f = {.ref = ref, .why = HOLE_DAMAGED, .from = offset,
                           .to = offset, .seq = seq, .id = slice_str(id)};
    struct buf b = BUF_INIT;

    frame_write_hole(&b, &f);
    hear(FRAME_HOLE, &b);
}

static void hear_page_failed(void)
{
    struct frame_page_end f = {.ref = link_.ref, .status = (uint8_t)-ERR_IO};
    struct buf b = BUF_INIT;

    frame_write_page_end(&b, &f);
    hear(FRAME_PAGE_END, &b);
}

static void hear_snapshot(const char *id, uint64_t seq, const char *state)
{
    struct frame_snapshot f = {.seq = seq, .id = slice_str(id),
                               .state = slice_str(state)};
    struct buf b = BUF_INIT;

    frame_write_snapshot(&b, &f);
    hear(FRAME_SNAPSHOT, &b);
}

/* ---- a fake edge: text, one line for everything ------------------------- */

/* Clients of whom the next one knocks when one has been answered. */
static struct {
    struct sockaddr_in at;
    unsigned came, most;
} queue;

static void next_of_queue(void)
{
    int fd;

    if (queue.came == queue.most)
        return;
    fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)(void *)&queue.at,
                             sizeof queue.at) == 0);
    close(fd); /* it is accepted all the same */
    queue.came++;
}

static void opened(struct conn *c)
{
    UNUSED(c);
    next_of_queue();
}

static struct slice busy(const struct gateway *g)
{
    UNUSED(g);
    next_of_queue();
    return SLICE("busy\n");
}

static bool echo;

static ssize_t input(struct conn *c, struct slice bytes)
{
    if (echo)
        buf_add(conn_out(c), bytes);
    return (ssize_t)bytes.len;
}

static void nothing(struct conn *c)
{
    UNUSED(c);
}

static void input_end(struct conn *c)
{
    conn_close(c, "end");
}

static char told_at[CURSOR_TEXT_MAX + 1]; /* the cursor of the last subscribed() */

static void subscribed(struct conn *c, uint32_t ref)
{
    struct slice cursor = conn_cursor(c);

    snprintf(told_at, sizeof told_at, SLICE_FMT, SLICE_ARG(cursor));
    buf_addf(conn_out(c), "[%u] ", ref);
}

static char begun_at[CURSOR_TEXT_MAX + 1]; /* the same of started() */

static void started(struct conn *c, uint32_t ref)
{
    struct slice cursor = conn_cursor(c);

    snprintf(begun_at, sizeof begun_at, SLICE_FMT, SLICE_ARG(cursor));
    buf_addf(conn_out(c), "(%u) ", ref);
}

static void subscribe_failed(struct conn *c, uint32_t ref, const char *code,
                             struct slice text)
{
    UNUSED(text);
    buf_addf(conn_out(c), "failed%u:%s ", ref, code);
}

static bool close_on_notice, leave_on_notice, abort_on_put;

static void notice(struct conn *c, const struct notice *n)
{
    struct buf *b = conn_out(c);

    buf_add_str(b, notice_text(n->kind));
    if (n->kind == NOTICE_GAP)
        buf_addf(b, ":%s:%llu-%llu", gap_why_text(n->why),
                 (unsigned long long)n->from, (unsigned long long)n->to);
    if (n->kind == NOTICE_GAP &&
        (n->why == GAP_SLOW || n->why == GAP_CONFLATED))
        buf_addf(b, "(%llu)", (unsigned long long)n->missed);
    for (unsigned i = 0; i < n->count; i++)
        buf_addf(b, "/" SLICE_FMT, SLICE_ARG(n->channels[i]));
    if (n->state.len)
        buf_addf(b, "=" SLICE_FMT, SLICE_ARG(n->state));
    buf_addf(b, "@" SLICE_FMT " ", SLICE_ARG(n->cursor));
    if (close_on_notice)
        conn_close(c, "told enough");
    if (leave_on_notice)
        (void)conn_unsubscribe(c, SLICE(""));
}

static enum put_result put(struct conn *c, struct msg *m, unsigned flags,
                           struct outvec *v)
{
    if (abort_on_put) {
        conn_abort(c, "memory");
        return PUT_OK;
    }
    if (!m->forms[0]) {
        struct buf text = BUF_INIT;

        buf_addf(&text, SLICE_FMT ":" SLICE_FMT " ", SLICE_ARG(m->id),
                 SLICE_ARG(m->data));
        m->forms[0] = text.failed ? NULL : wire_new(text.len);
        if (!m->forms[0]) {
            buf_fini(&text);
            conn_abort(c, "memory");
            return PUT_OK;
        }
        memcpy(m->forms[0]->bytes, text.ptr, text.len);
        buf_fini(&text);
    }
    if (flags & PUT_REPLAY)
        memcpy(outvec_scratch(v, 1), "~", 1);
    outvec_wire(v, m->forms[0]);
    return PUT_OK;
}

static void deadline(struct conn *c)
{
    buf_add_str(conn_out(c), "late ");
}

static void ping(struct conn *c)
{
    buf_add_str(conn_out(c), "ping ");
}

static void published(struct conn *c, uint32_t ref, const struct published *p)
{
    buf_addf(conn_out(c), "pub%u:%d:" SLICE_FMT " ", ref, (int)p->status,
             SLICE_ARG(p->code));
}

static void row(struct conn *c, uint32_t ref, struct msg *m)
{
    buf_addf(conn_out(c), "row%u:" SLICE_FMT " ", ref, SLICE_ARG(m->data));
}

static void page_end(struct conn *c, uint32_t ref, int err, bool more,
                     uint64_t upto)
{
    UNUSED(upto);
    buf_addf(conn_out(c), "end%u:%d:%d ", ref, err, more);
}

static void bye(struct conn *c)
{
    buf_addf(conn_out(c), "bye@" SLICE_FMT " ", SLICE_ARG(conn_cursor(c)));
    conn_close(c, "bye");
}

/* An edge may have more to say: it closes then. */
static bool gives_up_slowly;

static void give_up(struct conn *c, const struct give_up *why)
{
    buf_addf(conn_out(c), "lost:%s@" SLICE_FMT " ", why->word,
             SLICE_ARG(conn_cursor(c)));
    if (!gives_up_slowly)
        conn_close(c, why->word);
}

static const struct edge edge = {
    .name = "tcp",
    .scheme = "tcp",
    .opened = opened,
    .busy = busy,
    .input = input,
    .input_end = input_end,
    .deadline = deadline,
    .ping = ping,
    .closed = nothing,
    .drain = bye,
    .kicked = nothing,
    .give_up = give_up,
    .subscribed = subscribed,
    .started = started,
    .subscribe_failed = subscribe_failed,
    .notice = notice,
    .put = put,
    .published = published,
    .row = row,
    .page_end = page_end,
};

/* ---- the world --------------------------------------------------------- */

struct world {
    struct config *cfg;
    struct door *door;
    struct gateway *g;
    int fd[CLIENTS_MOST];
    struct conn *conn[CLIENTS_MOST];
    unsigned clients;
};

/* Linked to a router that stands at seq; room for so many clients. */
static struct world *world_at_with(uint64_t seq, unsigned room)
{
    struct world *w = calloc(1, sizeof *w);
    const char *sets[] = {"tcp.trusted_proxies=127.0.0.1", "tcp.workers=1",
                          "process.canary=0"};
    struct config_source from = {.sets = sets, .set_count = ARRAY_LEN(sets),
                                 .dir = test_dir()};
    struct opt_error err;
    const char *why;

    CHECK(w && config_load(&w->cfg, &from, &err) == 0);
    w->g = calloc(1, sizeof *w->g);
    CHECK(door_new(&w->door, room, 1) == 0);
    CHECK(w->g && gateway_init(w->g, w->cfg, &edge, 1, w->door) == 0);
    CHECK(uplink_open(w->g, &why) == 0);
    link_.fetches = link_.wanted = 0;
    hear_welcome("e", 1, seq);
    hear_resynced(seq);
    said("HELLO SYNCED ");
    return w;
}

static struct world *world_at(uint64_t seq)
{
    return world_at_with(seq, CLIENTS);
}

static struct world *world(void)
{
    return world_at(100);
}

static void world_free(struct world *w)
{
    gateway_fini(w->g);
    door_free(w->door);
    for (unsigned i = 0; i < w->clients; i++)
        if (w->fd[i] >= 0)
            close(w->fd[i]);
    free(w->g);
    config_free(w->cfg);
    free(w);
    buf_fini(&link_.said);
    buf_fini(&link_.frame);
}

static void turn(struct world *w)
{
    for (unsigned i = 0; i < 8; i++)
        EXPECT_INT(loop_step(w->g->loop, 0), 0);
}

static unsigned come(struct world *w, int ends[2], unsigned flags,
                     struct address share)
{
    unsigned n = w->clients++;

    CHECK(door_enter(w->door) && door_take_share(w->door, &share));
    CHECK(conn_open(w->g, ends[0], flags, 0, &share) == 0);
    w->fd[n] = ends[1];
    w->conn[n] = conns_at(&w->g->conns, w->g->conns.used - 1);
    return n;
}

static unsigned client(struct world *w)
{
    int ends[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    return come(w, ends, 0, (struct address){0});
}

static void subscribe(struct world *w, unsigned n, const char *id,
                      const char *since, uint32_t ref)
{
    struct slice channel = slice_str(id);
    struct subscribe s = {.channels = &channel, .count = 1, .ref = ref};
    struct refusal why;

    if (since) {
        s.has_since = true;
        CHECK(position_parse(slice_str(since), &s.since) == 0);
    }
    EXPECT_INT(conn_subscribe(w->conn[n], &s, &why), 0);
}

static void got(struct world *w, unsigned n, const char *what)
{
    static char text[1 << 20];
    size_t len = 0;
    ssize_t r;

    turn(w);
    while ((r = read(w->fd[n], text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)r;
    text[len] = '\0';
    EXPECT_STR(text, what);
}

/* Whatever it has got is thrown away. */
static void drain(struct world *w, unsigned n)
{
    char nowhere[4096];

    turn(w);
    while (read(w->fd[n], nowhere, sizeof nowhere) > 0)
        ;
}

static const struct id_says kept = {.id = "a"};

/* A client that watches `a`, as of seq 100. */
static unsigned watcher(struct world *w)
{
    unsigned n = client(w);

    subscribe(w, n, "a", NULL, 1);
    hear_logged_in(w->g->seq, 0, &kept, 1);
    turn(w);
    buf_reset(&link_.said);
    return n;
}

/* ---- stories ----------------------------------------------------------- */

TEST(a_newcomer_gets_the_snapshot_and_exactly_what_follows_the_login)
{
    struct world *w = world();
    unsigned n = client(w);

    hear_message("a", 101, "before");
    subscribe(w, n, "a", NULL, 5);
    said("LOGIN ");
    got(w, n, "");
    hear_message("a", 102, "still before");
    hear_logged_in(102, 0, &kept, 1);
    hear_message("a", 103, "after");
    got(w, n, "[5] snapshot/a@e-102 (5) a:after ");
    world_free(w);
}

TEST(an_edge_may_close_while_it_is_told_of_a_start)
{
    struct world *w = world();
    unsigned n = client(w);

    close_on_notice = true;
    subscribe(w, n, "a", NULL, 5);
    hear_logged_in(102, 0, &kept, 1);
    got(w, n, "[5] snapshot/a@e-102 ");
    EXPECT_INT(w->g->topics.by_id.count, 0);
    close_on_notice = false;
    world_free(w);
}

TEST(messages_of_many_ids_come_in_one_order_each_once)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says more[] = {{.id = "a/*"}, {.id = "a/b"}};

    got(w, n, "[1] snapshot/a@e-100 (1) ");
    subscribe(w, n, "a/*", NULL, 2);
    hear_logged_in(100, 0, &more[0], 1);
    subscribe(w, n, "a/b", NULL, 3);
    hear_logged_in(100, 0, &more[1], 1);
    got(w, n, "[2] snapshot/a/*@e-100 (2) [3] snapshot/a/b@e-100 (3) ");
    hear_message("a/b", 101, "1");
    hear_message("a", 102, "2");
    hear_message("x", 103, "not ours");
    hear_message("a/c", 104, "3");
    hear_message("a/b", 105, "4");
    got(w, n, "a/b:1 a:2 a/c:3 a/b:4 ");
    world_free(w);
}

/* What the link has brought for nobody here counts, too: messages of the new
 * channel in front of that are not to come. */
TEST(a_channel_that_is_added_counts_from_where_the_link_stood)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says b = {.id = "b"};

    hear_message("a", 101, "1");
    got(w, n, "[1] snapshot/a@e-100 (1) a:1 ");
    subscribe(w, n, "b", NULL, 2);
    hear_logged_in(110, 0, &b, 1);
    hear_message("a", 112, "2");
    got(w, n, "[2] snapshot/b@e-110 (2) a:2 ");
    EXPECT_STR(told_at, "e-110");
    world_free(w);
}

/* A poll ends with that cursor: what comes right behind its start, be it the
 * first message of all behind somebody's joining, is not to be passed by. */
TEST(who_has_begun_has_nothing_of_what_follows)
{
    for (uint64_t seq = 0; seq <= 100; seq += 100) {
        struct world *w = world_at(seq);
        unsigned n = client(w);
        char want[CURSOR_TEXT_MAX + 1];

        snprintf(want, sizeof want, "e-%u", (unsigned)seq);
        subscribe(w, n, "a", NULL, 1);
        hear_logged_in(seq, 0, &kept, 1);
        hear_notice("m", "join", "{}");
        hear_message("a", seq + 1, "first");
        turn(w);
        EXPECT_STR(begun_at, want);
        world_free(w);
    }
}

TEST(a_burst_is_sent_in_one_call)
{
    struct world *w = world();
    unsigned n = watcher(w);
    uint64_t before;

    got(w, n, "[1] snapshot/a@e-100 (1) ");
    before = stat_get(&w->g->stats, STAT_SENDS);
    for (uint64_t seq = 101; seq <= 150; seq++)
        hear_message("a", seq, "x");
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_SENDS) - before, 1);
    EXPECT_INT(stat_get(&w->g->stats, STAT_DELIVERED), 50);
    world_free(w);
}

TEST(a_resume_that_the_ring_covers_needs_no_store)
{
    struct world *w = world();
    unsigned first = watcher(w);
    unsigned n = client(w);
    const struct id_says says = {.id = "a", .last_seq = 103,
                                 .last_offset = 3};

    UNUSED(first);
    hear_message("a", 101, "1");
    hear_message("a", 102, "2");
    hear_message("a", 103, "3");
    subscribe(w, n, "a", "e-101", 9);
    said("LOGIN ");
    hear_logged_in(103, 0, &says, 1);
    hear_message("a", 104, "4");
    got(w, n, "[9] resumed/a@e-101 (9) a:2 a:3 a:4 ");
    said("");
    world_free(w);
}

TEST(a_resume_reads_pages_until_it_meets_the_ring)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "a", .last_seq = 90,
                                 .last_offset = 30};

    subscribe(w, n, "a", "e-50", 9);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    said("LOGIN FETCH ");
    EXPECT_INT(link_.after, 50);
    EXPECT_INT(link_.bytes, 256 * 1024);
    hear_message("a", 101, "live");
    hear_row("a", 60, "p1");
    hear_row("a", 70, "p2");
    hear_page_end(true, 70);
    got(w, n, "[9] resumed/a@e-50 a:p1 a:p2 ");
    said("FETCH ");
    EXPECT_INT(link_.after, 70);
    EXPECT_INT(link_.bytes, 512 * 1024); /* the first one has been taken */
    hear_row("a", 90, "p3");
    hear_message("a", 102, "more");
    hear_page_end(false, 101);
    got(w, n, "a:p3 (9) a:live a:more ");
    hear_message("a", 103, "live");
    got(w, n, "a:live ");
    world_free(w);
}

TEST(a_cursor_that_cannot_be_resumed_gets_a_gap_and_a_snapshot)
{
    struct world *w = world();
    unsigned other = client(w), ahead = client(w), trimmed = client(w);
    const struct id_says cut = {.id = "a", .last_seq = 90, .last_offset = 9,
                                .trimmed_seq = 80, .trimmed_offset = 8};

    subscribe(w, other, "a", "f-3", 1);
    hear_logged_in(100, 0, &kept, 1);
    got(w, other, "[1] gap:epoch:0-0/a@e-100 snapshot/a@e-100 (1) ");
    subscribe(w, ahead, "a", "e-200", 1);
    hear_logged_in(100, 0, &kept, 1);
    got(w, ahead, "[1] gap:future:0-0/a@e-100 snapshot/a@e-100 (1) ");
    subscribe(w, trimmed, "a", "e-70", 1);
    hear_logged_in(100, 0, &cut, 1);
    turn(w);
    hear_row("a", 90, "kept");
    hear_page_end(false, 100);
    got(w, trimmed, "[1] gap:trimmed:0-8/a@e-70 snapshot/a@e-70 a:kept (1) ");
    world_free(w);
}

/* Of an id that the router knows nothing of it may have forgotten something. */
TEST(a_cursor_older_than_what_was_forgotten_gets_a_gap)
{
    static const struct {
        const char *id, *since;
        uint64_t last_seq;
        const char *told;
    } row[] = {
        {"a", "e-70", 0, "gap:trimmed:0-0/a@e-70 snapshot/a@e-70"},
        {"a", "e-80", 0, "resumed/a@e-80"},
        {"a", "e-70", 60, "resumed/a@e-70"},
        {"a", "0", 0, "resumed/a@e-0"},
        {"x/*", "e-70", 0, "gap:trimmed:0-0/x/*@e-70 snapshot/x/*@e-70"},
        {"x/*", "e-80", 0, "resumed/x/*@e-80"},
    };

    forgotten_seq = 80;
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct world *w = world();
        unsigned n = client(w);
        const struct id_says says = {.id = row[i].id,
                                     .last_seq = row[i].last_seq};
        char want[100];

        snprintf(want, sizeof want, "[1] %s (1) ", row[i].told);
        subscribe(w, n, row[i].id, row[i].since, 1);
        hear_logged_in(100, 0, &says, 1);
        turn(w);
        if (link_.fetches)
            hear_page_end(false, 100);
        got(w, n, want);
        world_free(w);
    }
    forgotten_seq = 0;
}

TEST(what_came_while_nobody_watched_is_not_taken_from_the_ring)
{
    struct world *w = world();
    unsigned first = watcher(w), n = client(w);
    const struct id_says other = {.id = "b"};
    const struct id_says says = {.id = "a", .last_seq = 102,
                                 .last_offset = 102};

    hear_message("a", 101, "in the ring");
    turn(w);
    link_.ops.pipe.down(link_.ctx, "gone");
    conn_abort(w->conn[first], "leaves");
    turn(w);
    hear_welcome("e", 1, 102); /* nobody here listens to `a` any more */
    hear_resynced(102);
    subscribe(w, n, "b", NULL, 1);
    hear_logged_in(102, 0, &other, 1);
    hear_message("b", 103, "served");
    turn(w);
    subscribe(w, n, "a", "e-100", 2); /* not answered */
    link_.ops.pipe.down(link_.ctx, "gone");
    buf_reset(&link_.said);
    hear_welcome("e", 1, 103);
    hear_logged_in(103, LOGIN_RESYNC, &other, 1);
    hear_logged_in(103, LOGIN_RESYNC, &says, 1);
    hear_resynced(103);
    turn(w);
    EXPECT_CONTAINS(buf_text(&link_.said), "FETCH ");
    world_free(w);
}

TEST(an_older_cursor_on_a_live_connection_is_replayed_beside_it)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says says = {.id = "b", .last_seq = 95,
                                 .last_offset = 5};

    got(w, n, "[1] snapshot/a@e-100 (1) ");
    subscribe(w, n, "b", "e-90", 2);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    hear_message("a", 101, "live");
    hear_message("b", 102, "muted");
    hear_row("b", 95, "old");
    hear_page_end(false, 101);
    got(w, n, "[2] ~b:old a:live ~b:muted resumed/b@e-102 (2) ");
    hear_message("b", 103, "live");
    got(w, n, "b:live ");
    world_free(w);
}

TEST(a_long_replay_waits_for_the_socket_and_not_in_memory)
{
    static char big[60000];
    struct world *w = world();
    unsigned n = watcher(w);
    size_t got_bytes = 0;
    char piece[60000];
    ssize_t r;

    memset(big, 'x', sizeof big - 1);
    drain(w, n);
    for (uint64_t seq = 101; seq <= 140; seq++) {
        hear_message("a", seq, big);
        drain(w, n);
    }
    subscribe(w, n, "a", "e-100", 2);
    hear_logged_in(140, 0, &kept, 1);
    for (unsigned i = 0; i < 200; i++) {
        turn(w);
        EXPECT(conn_out_pending(w->conn[n]) < 8 * sizeof big);
        while ((r = read(w->fd[n], piece, sizeof piece)) > 0)
            got_bytes += (size_t)r;
    }
    EXPECT(got_bytes > 40 * (sizeof big - 1));
    EXPECT(conn_starts(w->conn[n]) == NULL);
    world_free(w);
}

/* A client that comes back to one channel out of the ring, where more waits than
 * limits.queue, and to another with an older cursor. It reads all the while. */
TEST(a_replay_that_ends_while_much_is_due_makes_nobody_slow)
{
    static char big[60000];
    struct world *w = world();
    unsigned other = watcher(w), n;
    const struct id_says says = {.id = "b", .last_seq = 95,
                                 .last_offset = 5};
    char piece[60000];

    memset(big, 'x', sizeof big - 1);
    for (uint64_t seq = 101; seq <= 140; seq++) {
        hear_message("a", seq, big);
        drain(w, other);
    }
    w->cfg->limits.queue = 10 * sizeof big;
    n = client(w);
    subscribe(w, n, "a", "e-100", 1);
    hear_logged_in(140, 0, &kept, 1);
    subscribe(w, n, "b", "e-90", 2);
    hear_logged_in(140, 0, &says, 1);
    buf_reset(&link_.said);
    for (unsigned i = 0; i < 200; i++) {
        turn(w);
        EXPECT(!conn_closing(w->conn[n]));
        EXPECT(conn_out_pending(w->conn[n]) < 10 * sizeof big);
        if (strstr(buf_text(&link_.said), "FETCH")) {
            buf_reset(&link_.said);
            hear_row("b", 95, "old");
            hear_page_end(false, 140);
        }
        while (read(w->fd[n], piece, sizeof piece) > 0)
            ;
    }
    EXPECT(conn_starts(w->conn[n]) == NULL);
    hear_message("b", 141, "live");
    got(w, n, "b:live ");
    world_free(w);
}

TEST(a_cursor_does_not_run_ahead_of_what_is_still_to_be_brought)
{
    struct world *w = world();
    unsigned n = client(w), late = watcher(w);
    const struct id_says says = {.id = "b", .last_seq = 90};

    subscribe(w, n, "a", "e-50", 1);
    EXPECT_SLICE(conn_cursor(w->conn[n]), SLICE("e-50"));
    (void)conn_unsubscribe(w->conn[n], SLICE(""));
    subscribe(w, n, "a", "f-7", 1);
    EXPECT_SLICE(conn_cursor(w->conn[n]), SLICE("f-7"));
    EXPECT_SLICE(conn_cursor(w->conn[late]), SLICE("e-100"));
    subscribe(w, late, "b", "e-50", 2);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    hear_row("b", 60, "old");
    hear_page_end(true, 60);
    turn(w);
    EXPECT_SLICE(conn_cursor(w->conn[late]), SLICE("e-60"));
    hear_row("b", 90, "old");
    hear_page_end(false, 100);
    turn(w);
    EXPECT_SLICE(conn_cursor(w->conn[late]), SLICE("e-100"));
    world_free(w);
}

TEST(a_page_that_cannot_be_read_ends_the_connection_properly)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "a", .last_seq = 90};

    subscribe(w, n, "a", "e-50", 1);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    hear_page_failed();
    got(w, n, "[1] resumed/a@e-50 lost:unread@e-50 ");
    EXPECT(conn_closing(w->conn[n]));
    EXPECT_INT(tally_get(&w->g->closed, SLICE("unread")), 1);
    world_free(w);
}

/* An edge answers first what else it was asked. */
TEST(nothing_more_comes_in_front_of_a_page_that_cannot_be_read)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says b = {.id = "b", .last_seq = 90}, c = {.id = "c"};

    gives_up_slowly = true;
    got(w, n, "[1] snapshot/a@e-100 (1) ");
    subscribe(w, n, "b", "e-50", 2);
    hear_logged_in(100, 0, &b, 1);
    turn(w);
    hear_row("b", 60, "old");
    hear_page_end(true, 60);
    got(w, n, "[2] ~b:old ");
    subscribe(w, n, "c", "e-70", 3);
    hear_message("a", 101, "live");
    got(w, n, "a:live ");
    hear_page_failed();
    hear_message("a", 102, "live");
    hear_logged_in(102, 0, &c, 1);
    hear_message("c", 103, "live");
    got(w, n, "lost:unread@e-60 ");
    EXPECT(!conn_closing(w->conn[n]));
    EXPECT_INT(conn_channels(w->conn[n]), 0);
    EXPECT(!conn_begins(w->conn[n]));
    gives_up_slowly = false;
    world_free(w);
}

/* Whom a router that comes back does not take back would miss what is
 * repaired. */
TEST(who_is_not_taken_back_by_a_router_is_told_where_it_is)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says b = {.id = "b"};
    const struct id_says says[] = {{.id = "a", .last_seq = 101},
                                   {.id = "b", .flags = ID_REFUSED}};

    gives_up_slowly = true;
    subscribe(w, n, "b", NULL, 2);
    hear_logged_in(100, 0, &b, 1);
    got(w, n, "[1] snapshot/a@e-100 (1) [2] snapshot/b@e-100 (2) ");
    hear_message("a", 101, "1");
    turn(w);
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, says, 2);
    hear_message("a", 102, "repaired");
    hear_resynced(5000);
    hear_message("a", 5001, "new");
    got(w, n, "a:1 lost:channels_full@e-101 ");
    EXPECT_INT(conn_channels(w->conn[n]), 0);
    gives_up_slowly = false;
    world_free(w);
}

TEST(a_channel_that_was_left_may_be_refused_by_a_router_that_comes_back)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says b = {.id = "b"};
    const struct id_says says[] = {{.id = "a"},
                                   {.id = "b", .flags = ID_REFUSED}};

    subscribe(w, n, "b", NULL, 2);
    hear_logged_in(100, 0, &b, 1);
    got(w, n, "[1] snapshot/a@e-100 (1) [2] snapshot/b@e-100 (2) ");
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    EXPECT_INT(conn_unsubscribe(w->conn[n], SLICE("b")), 0);
    hear_logged_in(5000, LOGIN_RESYNC, says, 2);
    hear_resynced(5000);
    hear_message("a", 5001, "new");
    got(w, n, "a:new ");
    world_free(w);
}

/* What it comes back with has the same told to it then. */
TEST(who_ends_before_it_is_told_of_a_gap_keeps_a_cursor_in_front_of_it)
{
    struct world *w = world();
    unsigned n = watcher(w), other = watcher(w);
    const struct id_says says = {.id = "a", .last_seq = 101};

    hear_message("a", 101, "1");
    got(w, n, "[1] snapshot/a@e-100 (1) a:1 ");
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, &says, 1);
    hear_hole(0, "", 0, 4000);
    edge.drain(w->conn[n]);
    got(w, n, "bye@e-101 ");
    hear_resynced(5000);
    turn(w);
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("f", 3, 10);
    edge.drain(w->conn[other]);
    got(w, other, "[1] snapshot/a@e-100 (1) a:1 gap:damaged:0-0/a@e-5000 "
                  "snapshot/a@e-5000 bye@e-5000 ");
    world_free(w);
}

TEST(workers_have_a_part_each_of_what_may_wait_for_all)
{
    static char big[60000];
    struct world *w;
    unsigned n;
    const struct id_says says = {.id = "a", .last_seq = 90};

    memset(big, 'x', sizeof big - 1);
    clock_fake(1000 * SECOND, 0);
    w = world();
    n = client(w);
    w->cfg->limits.queue_total = 1000 * 1000;
    subscribe(w, n, "a", "e-50", 1);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    for (uint64_t seq = 60; seq < 75; seq++)
        hear_row("a", seq, big);
    hear_page_end(false, 100);
    turn(w);
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_TOTAL), 0);
    w->cfg->tcp.workers = 2;
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_TOTAL), 1);
    world_free(w);
    clock_real();
}

static unsigned readers_of_pages(const struct gateway *g)
{
    unsigned readers = 0;

    LIST_FOREACH(p, &g->pages.kept, struct page, node)
        readers += p->readers;
    return readers;
}

TEST(an_edge_may_abort_while_pages_are_put)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "a", .last_seq = 90};

    subscribe(w, n, "a", "e-50", 1);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    hear_row("a", 60, "1");
    hear_row("a", 90, "2");
    abort_on_put = true;
    hear_page_end(false, 100);
    turn(w);
    EXPECT_INT(w->g->open, 0);
    EXPECT_INT(readers_of_pages(w->g), 0);
    world_free(w);
}

TEST(newcomers_share_one_snapshot_until_something_happens)
{
    struct world *w = world();
    unsigned one = client(w), two = client(w), three = client(w);
    struct id_says says = {.id = "m", .flags = ID_STATEFUL, .state = "{0}"};

    subscribe(w, one, "m", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    got(w, one, "[1] snapshot/m={0}@e-100 (1) ");
    says.state = NULL;
    subscribe(w, two, "m", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    got(w, two, "[1] snapshot/m={0}@e-100 (1) ");
    said("LOGIN LOGIN ");
    hear_message("m", 101, "goal");
    subscribe(w, three, "m", NULL, 1);
    hear_logged_in(101, 0, &says, 1);
    turn(w);
    said("LOGIN "); /* the answer was too long for it: it comes behind */
    hear_snapshot("m", 101, "{1}");
    hear_message("m", 102, "card");
    got(w, three, "[1] snapshot/m={1}@e-101 (1) m:card ");
    got(w, two, "m:goal m:card ");
    world_free(w);
}

TEST(a_snapshot_older_than_what_has_left_the_ring_is_asked_for_again)
{
    const struct id_says says = {.id = "m", .flags = ID_STATEFUL,
                                 .state = "{0}"};
    const struct id_says later = {.id = "m", .flags = ID_STATEFUL};
    struct world *w;
    unsigned first, n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    first = client(w);
    subscribe(w, first, "m", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    hear_message("m", 101, "a goal");
    drain(w, first);
    clock_fake_advance(40 * SECOND); /* the ring has nothing of it */
    turn(w);
    n = client(w);
    subscribe(w, n, "m", NULL, 2);
    hear_logged_in(101, 0, &later, 1);
    buf_reset(&link_.said);
    turn(w);
    said("");
    hear_snapshot("m", 101, "{1}");
    got(w, n, "[2] snapshot/m={1}@e-101 (2) ");
    world_free(w);
}

TEST(who_comes_to_a_room_is_in_the_snapshot_and_one_serves_all)
{
    struct world *w = world();
    unsigned one = client(w), two = client(w), three = client(w);
    struct id_says says = {
        .id = "m", .flags = ID_STATEFUL | ID_PRESENCE, .state = "{1}"};

    subscribe(w, one, "m", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    got(w, one, "[1] snapshot/m={1}@e-100 (1) ");
    says.state = NULL;
    subscribe(w, two, "m", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    subscribe(w, three, "m", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    said("LOGIN LOGIN SNAP LOGIN ");
    hear_snapshot("m", 100, "{3}");
    got(w, two, "[1] snapshot/m={3}@e-100 (1) ");
    got(w, three, "[1] snapshot/m={3}@e-100 (1) ");
    world_free(w);
}

TEST(notices_keep_their_place_among_messages)
{
    struct world *w = world();
    unsigned n = watcher(w);

    got(w, n, "[1] snapshot/a@e-100 (1) ");
    hear_message("a", 101, "1");
    hear_notice("a", "join", "{\"count\":1}");
    hear_message("a", 102, "2");
    hear_notice("a", "snapshot", "{}");
    got(w, n, "a:1 join/a={\"count\":1}@e-101 a:2 snapshot/a={}@e-102 ");
    world_free(w);
}

TEST(notices_in_a_row_leave_in_one_turn)
{
    struct world *w = world();
    unsigned n = watcher(w);

    got(w, n, "[1] snapshot/a@e-100 (1) ");
    for (unsigned i = 0; i < 3; i++)
        hear_notice("a", "join", "{}");
    got(w, n, "join/a={}@e-100 join/a={}@e-100 join/a={}@e-100 ");
    world_free(w);
}

/* More notices than one flush says, of more ids than chains are followed. */
TEST(who_holds_many_ids_is_told_of_all_of_them)
{
    struct world *w = world();
    unsigned n = client(w);
    char id[8], expect[600] = "";

    for (unsigned i = 0; i < 20; i++) {
        struct id_says says = {.id = id};

        snprintf(id, sizeof id, "r%u", i);
        subscribe(w, n, id, NULL, i);
        hear_logged_in(100, 0, &says, 1);
        turn(w);
    }
    drain(w, n);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "r%u", i / 10);
        hear_notice(id, "join", "{}");
        snprintf(expect + strlen(expect), sizeof expect - strlen(expect),
                 "join/%s={}@e-100 ", id);
    }
    got(w, n, expect);
    world_free(w);
}

TEST(a_burst_longer_than_a_flush_reaches_who_holds_a_pattern)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "*"};
    struct buf expect = BUF_INIT;

    subscribe(w, n, "*", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    drain(w, n);
    for (uint64_t seq = 101; seq <= 5100; seq++) {
        hear_message("a", seq, "x");
        buf_add_str(&expect, "a:x ");
    }
    got(w, n, buf_text(&expect));
    buf_fini(&expect);
    world_free(w);
}

/* What follows must have its turn: the link's heartbeats, who asks. */
TEST(a_turn_sends_so_much_to_the_many_and_others_are_served_beside_it)
{
    static char text[8000];
    enum { MANY = 60, MESSAGES = 25, MOST = 2 * (TURN_BYTES + 2 * OUTVEC_BYTES) };
    struct world *w = world();
    unsigned other = client(w);
    const struct id_says b = {.id = "b"};
    char seen[4096] = "";
    size_t all = 0, before;

    subscribe(w, other, "b", NULL, 1);
    hear_logged_in(w->g->seq, 0, &b, 1);
    drain(w, other);
    for (unsigned i = 0; i < MANY; i++)
        drain(w, watcher(w));
    memset(text, 'x', sizeof text - 1);
    for (unsigned i = 1; i <= MESSAGES; i++)
        hear_message("a", 100 + i, text);
    hear_message("b", 101 + MESSAGES, "here");
    for (unsigned steps = 0; steps < 2; steps++) {
        before = w->g->sent;
        EXPECT_INT(loop_step(w->g->loop, 0), 0);
        EXPECT(w->g->sent - before <= MOST);
        all += w->g->sent - before;
    }
    EXPECT(read(w->fd[other], seen, sizeof seen - 1) > 0);
    EXPECT_STR(seen, "b:here ");
    EXPECT(all < (size_t)MANY * MESSAGES * sizeof text / 2);
    while (w->g->sent > before) {
        before = w->g->sent;
        turn(w);
    }
    for (unsigned i = 1; i <= MANY; i++)
        EXPECT_INT(w->conn[i]->tick, w->conn[1]->tick);
    world_free(w);
}

/* Those of a large channel who have a message after one turn. */
static unsigned served_in_a_turn(struct world *w, unsigned many)
{
    unsigned n = 0;

    EXPECT_INT(loop_step(w->g->loop, 0), 0);
    for (unsigned i = 0; i < many; i++)
        n += w->conn[i]->tick == ring_end(&w->g->ring);
    return n;
}

TEST(a_turn_serves_as_many_of_a_large_channel_as_is_said)
{
    enum { MANY = CLIENTS_MOST, SLICE_SIZE = 30 };
    struct world *w = world_at_with(100, MANY);

    for (unsigned i = 0; i < MANY; i++)
        drain(w, watcher(w));
    w->cfg->limits.fanout_slice = SLICE_SIZE;
    hear_message("a", 101, "x");
    for (unsigned turns = 1; turns <= 2; turns++)
        EXPECT_INT(served_in_a_turn(w, MANY), turns * SLICE_SIZE);
    EXPECT_INT(stat_get(&w->g->stats, STAT_LIMIT_FANOUT_SLICE), 2);
    EXPECT_INT(served_in_a_turn(w, MANY), MANY);
    EXPECT_INT(stat_get(&w->g->stats, STAT_LIMIT_FANOUT_SLICE), 2);
    w->cfg->limits.fanout_slice = MANY + 1;
    hear_message("a", 102, "x");
    EXPECT_INT(served_in_a_turn(w, MANY), MANY);
    world_free(w);
}

/* Each is looked at once a second, but not all in one turn. */
TEST(of_many_who_lag_some_are_looked_at_each_turn)
{
    static char big[60000];
    enum { MANY = 60 };
    struct world *w;
    unsigned steps = 0;

    clock_fake(1000 * SECOND, 0);
    w = world();
    for (unsigned i = 0; i < MANY; i++)
        (void)watcher(w);
    memset(big, 'x', sizeof big - 1);
    for (uint64_t seq = 101; seq <= 140; seq++)
        hear_message("a", seq, big);
    for (unsigned i = 0; i < 20; i++)
        turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_STALLED), MANY);
    clock_fake_advance(2 * SECOND);
    EXPECT_INT(loop_step(w->g->loop, 0), 0);
    EXPECT(stat_get(&w->g->stats, STAT_CUT_QUEUE) > 0);
    EXPECT(stat_get(&w->g->stats, STAT_CUT_QUEUE) < MANY);
    while (stat_get(&w->g->stats, STAT_CUT_QUEUE) < MANY && steps++ < 100)
        EXPECT_INT(loop_step(w->g->loop, 0), 0);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_QUEUE), MANY);
    world_free(w);
}

TEST(a_burst_bigger_than_the_ring_reaches_who_reads)
{
    static char big[4000];
    struct world *w = world();
    unsigned n = watcher(w);
    struct buf expect = BUF_INIT;

    memset(big, 'x', sizeof big - 1);
    drain(w, n);
    w->g->ring.bytes_max = 16 * 1024;
    for (uint64_t seq = 101; seq <= 125; seq++) {
        hear_message("a", seq, big);
        buf_addf(&expect, "a:%s ", big);
    }
    got(w, n, buf_text(&expect));
    EXPECT(w->g->ring.bytes <= w->g->ring.bytes_max);
    buf_fini(&expect);
    world_free(w);
}

/* A resume from the very end of the ring: its messages leave in the turn in which
 * it begins. */
static void resume_what_goes(const char *id)
{
    struct world *w = world();
    unsigned first = client(w), n = client(w);
    const struct id_says none = {.id = id}, says = {.id = id, .last_seq = 102,
                                                    .last_offset = 102};
    char wanted[100];

    subscribe(w, first, id, NULL, 1);
    hear_logged_in(100, 0, &none, 1);
    hear_message(id, 101, "1");
    hear_message(id, 102, "2");
    turn(w);
    subscribe(w, n, id, "e-100", 9);
    hear_logged_in(102, 0, &says, 1);
    w->g->ring.bytes_max = 1;
    snprintf(wanted, sizeof wanted, "[9] resumed/%s@e-100 (9) %s:1 %s:2 ", id,
             id, id);
    got(w, n, wanted);
    EXPECT_INT(w->g->ring.next - w->g->ring.first, 0);
    EXPECT_INT(w->conn[n]->state, CONN_OPEN);
    EXPECT_INT(stat_get(&w->g->stats, STAT_LEFT_OUT), 0);
    world_free(w);
}

TEST(who_resumes_what_leaves_the_ring_in_that_turn_gets_it)
{
    resume_what_goes("a");      /* nothing is left out */
    resume_what_goes("room/1"); /* the oldest */
}

/* Behind so many that its new channel is told much later. */
TEST(a_channel_that_waits_to_be_told_keeps_nothing_in_the_ring)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says b = {.id = "b"};

    drain(w, n);
    subscribe(w, n, "b", NULL, 2);
    hear_logged_in(110, 0, &b, 1);
    hear_message("b", 111, "before");
    hear_message("a", 112, "1");
    w->g->ring.bytes_max = 1;
    fanout_turn(w->g);
    EXPECT(conn_lags(w->conn[n]));
    deliver_expire(w->g);
    EXPECT_INT(w->g->ring.next - w->g->ring.first, 0);
    EXPECT_INT(w->conn[n]->state, CONN_OPEN);
    hear_message("a", 113, "2");
    hear_message("b", 114, "behind");
    got(w, n, "a:1 [2] snapshot/b@e-112 (2) a:2 b:behind ");
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_QUEUE), 0);
    world_free(w);
}

TEST(the_routers_death_closes_nothing_and_loses_nothing)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says says = {.id = "a", .last_seq = 102,
                                 .last_offset = 2};

    hear_message("a", 101, "1");
    link_.ops.pipe.down(link_.ctx, "gone");
    got(w, n, "[1] snapshot/a@e-100 (1) a:1 ");
    hear_welcome("e", 2, 5000);
    said("HELLO LOGIN SYNCED ");
    hear_logged_in(5000, LOGIN_RESYNC, &says, 1);
    hear_message("a", 102, "missed");
    hear_resynced(5000);
    hear_message("a", 5001, "new");
    got(w, n, "a:missed a:new ");
    world_free(w);
}

TEST(without_history_a_new_router_means_a_gap)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "v", .flags = ID_VOLATILE};

    subscribe(w, n, "v", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    got(w, n, "[1] snapshot/v@e-100 (1) ");
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, &says, 1);
    hear_resynced(5000);
    got(w, n, "gap:volatile:0-0/v@e-100 ");
    world_free(w);
}

/* The link may break again before all has been compared with the router; or
 * there is no memory for what is to be said. */
TEST(a_gap_without_history_is_told_though_the_link_breaks_at_once_again)
{
    static const struct {
        uint64_t life, last_offset;
        bool memory;
        const char *want;
    } cases[] = {
        {2, 2, false, "gap:volatile:0-0/v@e-100 "},
        {2, 2, true, "gap:volatile:0-0/v@e-100 "},
        {1, 5, true, "gap:volatile:3-5/v@e-100 "},
    };
    const struct id_says old = {.id = "v", .flags = ID_VOLATILE,
                                .last_seq = 90, .last_offset = 2};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct id_says new = {.id = "v", .flags = ID_VOLATILE,
                                    .last_seq = 5002,
                                    .last_offset = cases[i].last_offset};
        struct world *w = world();
        unsigned n = client(w);

        subscribe(w, n, "v", NULL, 1);
        hear_logged_in(100, 0, &old, 1);
        got(w, n, "[1] snapshot/v@e-100 (1) ");
        link_.ops.pipe.down(link_.ctx, "gone");
        hear_welcome("e", cases[i].life, 5000);
        if (cases[i].memory) {
            test_fail_malloc_after(1); /* behind the frame's own */
            hear_logged_in(5002, LOGIN_RESYNC, &new, 1);
            EXPECT(test_malloc_failed() && link_.broken);
            link_.broken = false;
        }
        link_.ops.pipe.down(link_.ctx, "gone again");
        hear_welcome("e", cases[i].life, 5002);
        hear_logged_in(5002, LOGIN_RESYNC, &new, 1);
        hear_resynced(5002);
        got(w, n, cases[i].want);
        world_free(w);
    }
}

/* Its last reader here has left, others elsewhere heard more: who comes with a
 * cursor while the link is away is told by that, not by what was heard here. */
TEST(what_nobody_here_followed_is_no_gap_for_who_comes_meanwhile)
{
    static const struct {
        const char *since, *want;
    } cases[] = {
        {"e-150", "[2] resumed/v@e-150 (2) "},
        {"e-140", "[2] gap:volatile:0-0/v@e-140 snapshot/v@e-140 (2) "},
        {NULL, "[2] snapshot/v@e-160 (2) "},
    };
    const struct id_says old = {.id = "v", .flags = ID_VOLATILE};
    const struct id_says new = {.id = "v", .flags = ID_VOLATILE,
                                .last_seq = 150, .last_offset = 150};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world *w = world();
        unsigned one = client(w), n = client(w);

        subscribe(w, one, "v", NULL, 1);
        hear_logged_in(100, 0, &old, 1);
        hear_message("v", 101, "1");
        got(w, one, "[1] snapshot/v@e-100 (1) v:1 ");
        EXPECT_INT(conn_unsubscribe(w->conn[one], SLICE("v")), 0);
        hear_message("a", 158, "others'");
        link_.ops.pipe.down(link_.ctx, "gone");
        subscribe(w, n, "v", cases[i].since, 2);
        hear_welcome("e", 1, 160);
        hear_logged_in(160, LOGIN_RESYNC, &new, 1);
        hear_resynced(160);
        got(w, n, cases[i].want);
        hear_message("v", 161, "2");
        got(w, n, "v:2 ");
        world_free(w);
    }
}

/* Its place was fixed in front of what was missed, and is not judged again. */
TEST(who_has_a_place_and_has_not_been_told_is_told_of_the_gap_behind_it)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says old = {.id = "v", .flags = ID_VOLATILE};
    const struct id_says new = {.id = "v", .flags = ID_VOLATILE,
                                .last_seq = 150, .last_offset = 3};

    subscribe(w, n, "v", "0", 1);
    hear_logged_in(100, 0, &old, 1);
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 1, 160);
    hear_logged_in(160, LOGIN_RESYNC, &new, 1);
    hear_resynced(160);
    got(w, n, "[1] resumed/v@e-0 (1) gap:volatile:1-3/v@e-100 ");
    world_free(w);
}

TEST(who_asks_for_all_that_is_kept_of_what_keeps_nothing_begins_at_once)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "v", .flags = ID_VOLATILE,
                                 .last_seq = 90, .last_offset = 2};

    subscribe(w, n, "v", "0", 1);
    hear_logged_in(100, 0, &says, 1);
    hear_message("v", 101, "new");
    got(w, n, "[1] resumed/v@e-0 (1) v:new ");
    world_free(w);
}

/* The ring has what was said of v, and may hold more until the pages of a have
 * been read; but the position goes on behind these. */
/* Its client has been there, and has missed what was said since. */
TEST(the_cursor_of_the_very_beginning_is_no_wish_for_all_that_is_kept)
{
    struct world *w = world();
    unsigned n = client(w), other = client(w);
    const struct id_says silent = {.id = "v", .flags = ID_VOLATILE,
                                   .last_seq = 90, .last_offset = 2};
    const struct id_says cut = {.id = "a", .last_seq = 90, .last_offset = 9,
                                .trimmed_seq = 80, .trimmed_offset = 8};

    subscribe(w, n, "v", "e-0", 1);
    hear_logged_in(100, 0, &silent, 1);
    got(w, n, "[1] gap:volatile:0-0/v@e-0 snapshot/v@e-0 (1) ");
    subscribe(w, other, "a", "e-0", 1);
    hear_logged_in(100, 0, &cut, 1);
    turn(w);
    hear_row("a", 90, "kept");
    hear_page_end(false, 100);
    got(w, other, "[1] gap:trimmed:0-8/a@e-0 snapshot/a@e-0 a:kept (1) ");
    world_free(w);
}

TEST(what_has_no_history_is_passed_by_beside_pages_and_that_is_told)
{
    struct world *w = world();
    unsigned n = client(w), before = client(w);
    const struct id_says v = {.id = "v", .flags = ID_VOLATILE};
    const struct id_says both[] = {
        {.id = "a", .last_seq = 90, .last_offset = 9},
        {.id = "v", .flags = ID_VOLATILE, .last_seq = 101, .last_offset = 1}};
    struct slice ids[] = {SLICE("a"), SLICE("v")};
    struct subscribe s = {.channels = ids, .count = 2, .ref = 1,
                          .has_since = true, .since = {{"e"}, 50}};
    struct refusal why;

    subscribe(w, before, "v", NULL, 2);
    hear_logged_in(40, 0, &v, 1);
    hear_message("v", 101, "said");
    EXPECT_INT(conn_subscribe(w->conn[n], &s, &why), 0);
    hear_logged_in(101, 0, both, 2);
    turn(w);
    hear_row("a", 90, "kept");
    hear_page_end(false, 101);
    got(w, n, "[1] gap:volatile:0-0/v@e-50 snapshot/v@e-50 resumed/a@e-50 "
              "a:kept (1) ");
    world_free(w);
}

/* Of a cursor behind the gap nobody can tell that something was missed. */
TEST(a_gap_without_history_comes_before_what_others_bring)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says v = {.id = "v", .flags = ID_VOLATILE};
    const struct id_says a = {.id = "a", .last_seq = 100, .last_offset = 1};

    subscribe(w, n, "v", NULL, 2);
    hear_logged_in(100, 0, &v, 1);
    drain(w, n);
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, &v, 1);
    hear_logged_in(5000, LOGIN_RESYNC, &a, 1);
    hear_message("a", 4000, "missed");
    got(w, n, "gap:volatile:0-0/v@e-100 a:missed ");
    world_free(w);
}

/* The last seat of an id goes while its connections are told of the gap. */
TEST(a_slow_reader_is_cut_while_it_is_told_of_a_new_router)
{
    static char big[60000];
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says says = {.id = "v", .state = "{}",
                                 .flags = ID_VOLATILE | ID_STATEFUL};

    memset(big, 'x', sizeof big - 1);
    w->cfg->limits.queue = 64 * 1024;
    subscribe(w, n, "v", NULL, 2);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    for (uint64_t seq = 101; seq <= 120; seq++)
        hear_message("a", seq, big);
    turn(w);
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, &says, 1);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_QUEUE), 1);
    EXPECT(topics_find(&w->g->topics, SLICE("v")) == NULL);
    hear_resynced(5000);
    turn(w);
    world_free(w);
}

TEST(an_edge_may_leave_while_it_gets_what_came_before_a_gap)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says says = {.id = "v", .state = "{}",
                                 .flags = ID_VOLATILE | ID_STATEFUL};

    subscribe(w, n, "v", NULL, 2);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    drain(w, n);
    hear_notice("a", "join", "{}");
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    leave_on_notice = true;
    hear_logged_in(5000, LOGIN_RESYNC, &says, 1);
    leave_on_notice = false;
    EXPECT_INT(conn_channels(w->conn[n]), 0);
    hear_resynced(5000);
    got(w, n, "join/a={}@e-100 ");
    world_free(w);
}

TEST(who_held_what_the_router_has_no_room_for_any_more_is_closed)
{
    struct world *w = world();
    unsigned other = watcher(w), n = watcher(w);
    const struct id_says v = {.id = "v"}, a = {.id = "a"},
                         full = {.id = "v", .flags = ID_REFUSED};

    subscribe(w, other, "a", NULL, 2);
    hear_logged_in(100, 0, &a, 1);
    subscribe(w, n, "v", NULL, 2);
    hear_logged_in(100, 0, &v, 1);
    turn(w);
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, &full, 1);
    hear_resynced(5000);
    turn(w);
    EXPECT(conn_closing(w->conn[n]));
    EXPECT(!conn_closing(w->conn[other]));
    world_free(w);
}

TEST(a_pattern_over_ids_without_history_is_told_what_no_page_brings_back)
{
    struct world *w = world();
    unsigned n = client(w), sure = client(w);
    const struct id_says all = {.id = "**"}, matches = {.id = "match/*"};

    subscribe(w, n, "**", "e-50", 1);
    hear_logged_in(100, 0, &all, 1);
    turn(w);
    hear_row("a", 90, "kept");
    hear_page_end(false, 100);
    got(w, n, "[1] gap:volatile:0-0/**@e-50 snapshot/**@e-50 a:kept (1) ");
    subscribe(w, sure, "match/*", "e-50", 1);
    hear_logged_in(100, 0, &matches, 1);
    turn(w);
    hear_page_end(false, 100);
    got(w, sure, "[1] resumed/match/*@e-50 (1) ");
    world_free(w);
}

TEST(a_live_pattern_is_told_that_ids_without_history_may_miss_something)
{
    struct world *w = world();
    unsigned n = client(w), late = client(w);
    const struct id_says all = {.id = "**"}, some = {.id = "volatile/**"};

    subscribe(w, n, "**", NULL, 1);
    hear_logged_in(100, 0, &all, 1);
    got(w, n, "[1] snapshot/**@e-100 (1) ");
    hear_message("a", 101, "1");
    link_.ops.pipe.down(link_.ctx, "gone");
    got(w, n, "a:1 ");
    subscribe(w, late, "volatile/**", NULL, 2);
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, &all, 1);
    hear_logged_in(5000, LOGIN_RESYNC, &some, 1);
    hear_message("a", 102, "kept");
    hear_resynced(5000);
    hear_message("volatile/x", 5001, "new");
    /* Once, for the pattern that it holds, before the next message. */
    got(w, n, "gap:volatile:0-0/**@e-101 a:kept volatile/x:new ");
    got(w, late, "[2] snapshot/volatile/**@e-5000 (2) volatile/x:new ");
    /* Whoever comes back with a cursor from before or within is told, too. */
    subscribe(w, late, "**", "e-3000", 3);
    hear_logged_in(5001, 0, &all, 1);
    got(w, late, "[3] gap:volatile:0-0/**@e-5001 snapshot/**@e-5001 ");
    hear_page_end(false, 5001);
    got(w, late, "resumed/**@e-5001 (3) ");
    world_free(w);
}

TEST(a_pattern_over_ids_with_history_alone_is_made_whole_in_silence)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "match/*"};

    subscribe(w, n, "match/*", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, &says, 1);
    hear_message("match/7", 102, "kept");
    hear_resynced(5000);
    got(w, n, "[1] snapshot/match/*@e-100 (1) match/7:kept ");
    world_free(w);
}

TEST(after_a_full_link_a_pattern_is_told_what_may_be_missing)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "volatile/*"};

    subscribe(w, n, "volatile/*", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    got(w, n, "[1] snapshot/volatile/*@e-100 (1) ");
    hear_resynced(120);
    hear_message("volatile/x", 121, "new");
    got(w, n, "gap:volatile:0-0/volatile/*@e-120 volatile/x:new ");
    world_free(w);
}

TEST(another_epoch_is_told_to_everybody)
{
    struct world *w = world();
    unsigned n = watcher(w);

    hear_message("a", 101, "1");
    got(w, n, "[1] snapshot/a@e-100 (1) a:1 ");
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("f", 2, 10);
    hear_logged_in(10, LOGIN_RESYNC, &kept, 1);
    hear_resynced(10);
    got(w, n, "gap:epoch:0-0/a@f-10 snapshot/a@f-10 ");
    hear_message("a", 11, "2");
    got(w, n, "a:2 ");
    world_free(w);
}

/* A cursor of the other would be no good for what has not been told yet. */
TEST(another_epoch_is_told_before_what_was_asked_for_meanwhile_begins)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says both[] = {{.id = "a"}, {.id = "b"}};

    hear_message("a", 101, "1");
    got(w, n, "[1] snapshot/a@e-100 (1) a:1 ");
    subscribe(w, n, "b", "e-99", 2);
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("f", 2, 10);
    hear_logged_in(10, LOGIN_RESYNC, both, 2);
    hear_resynced(10);
    got(w, n, "gap:epoch:0-0/a@f-10 snapshot/a@f-10 "
              "[2] gap:epoch:0-0/b@f-10 snapshot/b@f-10 (2) ");
    world_free(w);
}

static void publish(struct world *w, unsigned n, uint32_t ref)
{
    struct publish p = {.channel = SLICE("a"), .data = SLICE("x")};
    struct refusal why;

    EXPECT_INT(conn_publish(w->conn[n], &p, ref, &why), 0);
}

TEST(publications_under_way_are_sent_again_under_their_name)
{
    struct world *w = world();
    unsigned n = client(w);
    struct frame_published f = {.status = PUBLISHED_OK};
    struct buf b = BUF_INIT;

    publish(w, n, 3);
    said("PUBLISH ");
    f.number = link_.number;
    EXPECT_INT(link_.publish_flags, 0);
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    said("HELLO SYNCED PUBLISH ");
    EXPECT_INT(link_.number, f.number);
    EXPECT_INT(link_.publish_flags, PUBLISH_RESENT);
    frame_write_published(&b, &f);
    hear(FRAME_PUBLISHED, &b);
    got(w, n, "pub3:0: ");
    world_free(w);
}

static void answer_publication(uint64_t number)
{
    struct frame_published f = {.number = number, .status = PUBLISHED_OK};
    struct buf b = BUF_INIT;

    frame_write_published(&b, &f);
    hear(FRAME_PUBLISHED, &b);
}

static void reconnect(uint64_t life, uint64_t seq)
{
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", life, seq);
    hear_resynced(seq);
}

TEST(a_gateway_says_where_the_router_stood_when_the_oldest_it_sends_again_was_sent)
{
    struct world *w = world();
    unsigned n = client(w);
    uint64_t first;

    reconnect(1, 5100);
    publish(w, n, 3);
    first = link_.number;
    link_.ops.pipe.batch_end(link_.ctx, 5120);
    publish(w, n, 4);
    link_.ops.pipe.batch_end(link_.ctx, 5150);
    reconnect(1, 5200);
    EXPECT_INT(link_.asked, 5100);
    reconnect(2, 6000); /* it stays where it was when it was sent first */
    EXPECT_INT(link_.asked, 5100);
    answer_publication(first);
    reconnect(2, 6000);
    EXPECT_INT(link_.asked, 5120);
    answer_publication(first + 1);
    reconnect(2, 6100);
    EXPECT_INT(link_.asked, 6000);
    world_free(w);
}

TEST(what_is_sent_to_a_new_router_is_behind_its_beginning)
{
    struct world *w = world();
    unsigned n = client(w);

    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 9000); /* no message of that life has come yet */
    publish(w, n, 3);
    reconnect(2, 9000);
    EXPECT_INT(link_.asked, 9000);
    world_free(w);
}

TEST(without_a_router_a_publication_fails_and_says_whether_it_may_have_been)
{
    struct world *w;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = client(w);
    publish(w, n, 3);
    link_.ops.pipe.down(link_.ctx, "gone");
    publish(w, n, 4);
    clock_fake_advance(4 * SECOND);
    got(w, n, "");
    clock_fake_advance(3 * SECOND);
    got(w, n, "pub3:9:publish.unknown pub4:8:router.away ");
    world_free(w);
}

static char big[60000]; /* text of a message */

/* Messages 101 to 140 of `a`, more than a socket and a queue take. */
static void hear_too_much(struct world *w)
{
    memset(big, 'x', sizeof big - 1);
    for (uint64_t seq = 101; seq <= 140; seq++) {
        hear_message("a", seq, big);
        turn(w);
    }
}

TEST(a_reader_that_does_not_read_costs_nobody_and_is_cut)
{
    struct world *w;
    unsigned slow, quick;

    memset(big, 'x', sizeof big - 1);
    clock_fake(1000 * SECOND, 0);
    w = world();
    slow = watcher(w);
    quick = watcher(w);
    for (uint64_t seq = 101; seq <= 140; seq++) {
        char drop[1 << 16];

        hear_message("a", seq, big);
        turn(w);
        while (read(w->fd[quick], drop, sizeof drop) > 0)
            turn(w);
    }
    EXPECT_INT(stat_get(&w->g->stats, STAT_STALLED), 1);
    EXPECT(conn_out_pending(w->conn[slow]) < 2 * sizeof big);
    clock_fake_advance(2 * SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_QUEUE), 1);
    EXPECT_INT(w->conn[quick]->state, CONN_OPEN);
    /* Its last words wait for queue_age, and count until then. */
    clock_fake_advance(8 * SECOND);
    turn(w);
    EXPECT_INT(w->g->open, 2);
    EXPECT(stat_get(&w->g->stats, STAT_QUEUED) > 0);
    clock_fake_advance(3 * SECOND);
    turn(w);
    EXPECT_INT(w->g->open, 1);
    EXPECT_INT(stat_get(&w->g->stats, STAT_STALLED), 0);
    clock_fake_advance(2 * SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_QUEUED), 0);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_QUEUE), 1);
    world_free(w);
}

/* Everything up to the other side's end. */
static size_t read_all(struct world *w, unsigned n, char *text, size_t size)
{
    size_t len = 0;
    ssize_t r;

    while ((r = read(w->fd[n], text + len, size - 1 - len)) != 0) {
        if (r < 0)
            CHECK(errno == EAGAIN);
        else
            len += (size_t)r;
        turn(w);
    }
    text[len] = '\0';
    return len;
}

TEST(who_was_cut_and_comes_back_reads_whole_messages_and_what_it_missed)
{
    static char text[4 << 20], wanted[100];
    struct world *w;
    unsigned n, whole = 0;
    char *at;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = watcher(w);
    drain(w, n);
    hear_too_much(w);
    clock_fake_advance(2 * SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_QUEUE), 1);
    clock_fake_advance(3 * SECOND);
    turn(w);
    read_all(w, n, text, sizeof text);
    for (at = text; strncmp(at, "a:x", 3) == 0; at += sizeof big + 2)
        whole++;
    snprintf(wanted, sizeof wanted, "gap:slow:%u-140(%u)/a@e-%u ", 101 + whole,
             40 - whole, 100 + whole);
    EXPECT(whole > 0);
    EXPECT_STR(at, wanted);
    world_free(w);
}

TEST(when_all_owe_too_much_one_that_was_cut_goes_at_once)
{
    struct world *w;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = watcher(w);
    hear_too_much(w);
    clock_fake_advance(2 * SECOND);
    turn(w);
    EXPECT_INT(w->conn[n]->state, CONN_CLOSING);
    w->cfg->limits.queue_total = conn_out_pending(w->conn[n]) - 1;
    clock_fake_advance(2 * SECOND);
    turn(w);
    EXPECT_INT(w->g->open, 0);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_TOTAL), 0);
    world_free(w);
}

TEST(when_all_owe_too_much_as_many_go_as_it_takes)
{
    enum { SLOW = 4 };
    struct world *w;
    unsigned n = 0;

    clock_fake(1000 * SECOND, 0);
    w = world();
    w->cfg->limits.queue = 64 << 20;
    for (unsigned i = 0; i < SLOW; i++)
        n = watcher(w);
    hear_too_much(w);
    EXPECT(conn_out_pending(w->conn[n]) > 0);
    w->cfg->limits.queue_total = 2 * conn_out_pending(w->conn[n]);
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_TOTAL), SLOW / 2);
    EXPECT_INT(w->g->open, SLOW); /* they have their last words */
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_TOTAL), SLOW / 2);
    EXPECT_INT(w->g->open, SLOW / 2);
    world_free(w);
}

TEST(of_many_who_owe_too_much_together_the_largest_go)
{
    enum { GO = 5 };
    static char bytes[64 * 1000];
    struct world *w;

    clock_fake(1000 * SECOND, 0);
    w = world();
    w->cfg->limits.queue = 64 << 20;
    for (unsigned i = 0; i < CLIENTS; i++)
        (void)watcher(w);
    hear_too_much(w);
    clock_fake_advance(SECOND);
    turn(w);
    for (unsigned i = 0; i < CLIENTS; i++) /* the 7th debtor is the largest */
        buf_add(conn_out(w->conn[i * 7 % CLIENTS]),
                slice_make(bytes, 1000 * (i ? CLIENTS - i : CLIENTS)));
    clock_fake_advance(SECOND);
    turn(w);
    w->cfg->limits.queue_total = stat_get(&w->g->stats, STAT_QUEUED);
    for (unsigned i = 0; i < GO; i++)
        w->cfg->limits.queue_total -=
            conn_out_pending(w->conn[i * 7 % CLIENTS]);
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_TOTAL), GO);
    for (unsigned i = 0; i < CLIENTS; i++)
        EXPECT_INT(conn_closing(w->conn[i * 7 % CLIENTS]), i < GO);
    world_free(w);
}

/* The debtors of a second are bounded, and however they come they are the
 * largest. */
TEST(a_second_knows_its_largest_debtors)
{
    struct world *w;
    size_t least;

    clock_fake(1000 * SECOND, 0);
    w = world();
    for (unsigned i = 0; i < CLIENTS; i++)
        (void)watcher(w);
    hear_too_much(w);
    w->g->slow.under_way = false;
    slow_check(w->g);
    w->g->slow.count = DEBTORS_A_SECOND;
    for (unsigned i = 0; i < DEBTORS_A_SECOND; i++)
        w->g->slow.most[i] = (struct debt){.own = 1, .number = UINT32_MAX};
    turn(w);
    least = SIZE_MAX;
    for (unsigned i = 0; i < CLIENTS; i++)
        least = MIN(least, w->g->slow.most[i].own);
    EXPECT(least > 1);
    world_free(w);
}

/* How often it is looked into what waits. */
static size_t looks_of_seconds(struct world *w, unsigned seconds,
                               uint64_t seq, const char *id)
{
    size_t before = w->g->looked_at;

    for (unsigned i = 0; i < seconds; i++) {
        hear_message(id, seq + i, "a few bytes");
        clock_fake_advance(SECOND);
        turn(w);
    }
    return w->g->looked_at - before;
}

TEST(who_stalls_with_many_channels_is_looked_into_when_it_may_owe_too_much)
{
    enum { CHANNELS = 500 };
    struct id_says says = {0};
    struct world *w;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    w->cfg->limits.queue = 4 << 20;
    w->cfg->limits.queue_age = 0;
    n = watcher(w);
    for (unsigned i = 0; i < CHANNELS; i++) {
        char id[16];

        snprintf(id, sizeof id, "user/%u", i);
        says.id = id;
        subscribe(w, n, id, NULL, 2);
        hear_logged_in(100, 0, &says, 1);
    }
    drain(w, n);
    hear_too_much(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_STALLED), 1);
    /* Once, as it has not been looked into yet; the entries are fewer. */
    EXPECT(looks_of_seconds(w, 1, 141, "b") <= 41);
    EXPECT_INT(looks_of_seconds(w, 8, 142, "a"), 0);
    EXPECT_INT(looks_of_seconds(w, 8, 150, "b"), 0);
    /* Of 4 MiB 2.4 MB wait: it is looked into as soon as more may. */
    for (uint64_t seq = 158; seq < 158 + 40; seq++)
        hear_message("b", seq, big);
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_QUEUE), 0);
    EXPECT(looks_of_seconds(w, 1, 198, "b") <= 60);
    EXPECT_INT(looks_of_seconds(w, 1, 199, "b"), 0);
    for (uint64_t seq = 200; seq < 200 + 40; seq++)
        hear_message("a", seq, big);
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_QUEUE), 1);
    world_free(w);
}

TEST(what_waits_for_too_long_is_found_though_nobody_looked_each_second)
{
    struct world *w;

    clock_fake(1000 * SECOND, 0);
    w = world();
    w->cfg->limits.queue = 64 << 20;
    (void)watcher(w);
    hear_too_much(w);
    for (unsigned i = 0; i < 9; i++) {
        clock_fake_advance(SECOND);
        turn(w);
    }
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_AGE), 0);
    clock_fake_advance(2 * SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_AGE), 1);
    world_free(w);
}

/* ---- readers for whom something is left out ----------------------------- */

/* Long enough that a few fill a socket: seq, key and padding. */
static void hear_padded(const char *id, uint64_t seq, uint8_t weight,
                        const char *key)
{
    char text[20000];
    struct msg_parts p = parts(id, seq, "");
    struct buf b = BUF_INIT;

    p.data.ptr = (const uint8_t *)text;
    memset(text, 'x', sizeof text);
    p.data.len = (size_t)snprintf(text, sizeof text, "%llu%s",
                                  (unsigned long long)seq, key);
    text[p.data.len] = 'x';
    p.data.len = sizeof text;
    p.flags |= weight;
    p.key = slice_str(key);
    frame_write_deliver(&b, &p);
    hear(FRAME_DELIVER, &b);
}

/* A client that watches this id, of `flags`, with a budget of ten messages. */
static unsigned slow_watcher(struct world *w, const char *id, uint8_t flags)
{
    const struct id_says says = {.id = id, .flags = flags,
                                 .state = flags & ID_STATEFUL ? "{1}" : NULL};
    unsigned n = client(w);

    w->cfg->limits.queue = 10 * 20200;
    subscribe(w, n, id, NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    drain(w, n);
    buf_reset(&link_.said);
    return n;
}

/* All that it gets if it reads now, without the padding. */
static const char *all_of(struct world *w, unsigned n)
{
    static char text[4 << 20];
    size_t len = 0, out = 0;
    ssize_t r;

    do {
        turn(w);
        r = read(w->fd[n], text + len, sizeof text - 1 - len);
        len += r > 0 ? (size_t)r : 0;
    } while (r > 0);
    for (size_t i = 0; i < len; i++)
        if (text[i] != 'x')
            text[out++] = text[i];
    text[out] = '\0';
    return text;
}

/* What it had when its socket was full: so many messages, from 101 on. */
static unsigned whole_before_gap(const char *text)
{
    const char *gap = strstr(text, "gap:");
    unsigned n = 0;

    for (const char *at = text; gap && (at = strchr(at, ' ')) && at < gap; at++)
        n++;
    return n;
}

TEST(the_oldest_are_left_out_and_told_by_one_gap_before_the_next_message)
{
    char wanted[400];
    struct world *w;
    const char *text;
    unsigned n, had;
    size_t len;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "room/1", 0);
    for (uint64_t seq = 101; seq <= 140; seq++) {
        hear_padded("room/1", seq, 0, "");
        turn(w);
    }
    text = all_of(w, n);
    had = whole_before_gap(text);
    EXPECT(had > 2 && had < 28);
    len = strlen(text) - strlen(strstr(text, "gap:"));
    EXPECT_INT(strncmp(text, "room/1:101 room/1:102 ", 22), 0);
    snprintf(wanted, sizeof wanted, "gap:slow:%u-130(%u)/room/1@e-%u "
             "room/1:131 room/1:132 room/1:133 room/1:134 room/1:135 "
             "room/1:136 room/1:137 room/1:138 room/1:139 room/1:140 ",
             101 + had, 30 - had, 100 + had);
    EXPECT_STR(text + len, wanted);
    EXPECT_INT(stat_get(&w->g->stats, STAT_LEFT_OUT), 30 - had);
    EXPECT_INT(w->conn[n]->state, CONN_OPEN);
    EXPECT(!conn_thinned(w->conn[n])); /* it has caught up, and owes nothing */
    world_free(w);
}

/* Messages of `id` from seq on, each a tenth of what fills a socket. */
static void hear_many(struct world *w, const char *id, uint64_t seq,
                      unsigned count)
{
    static char text[2000];

    memset(text, 'x', sizeof text - 1);
    for (unsigned i = 0; i < count; i++) {
        hear_message(id, seq + i, text);
        if (i % 50 == 0)
            turn(w);
    }
    turn(w);
}

TEST(many_who_begin_to_read_together_are_thinned_in_portions)
{
    enum { MESSAGES = 2000 };
    char nowhere[4096];
    uint64_t thinned = 0;
    struct world *w;
    size_t before;
    unsigned turns = 0;

    clock_fake(1000 * SECOND, 0);
    w = world();
    for (unsigned i = 0; i < CLIENTS; i++)
        (void)slow_watcher(w, "room/1", 0);
    hear_many(w, "room/1", 101, MESSAGES);
    EXPECT_INT(stat_get(&w->g->stats, STAT_STALLED), CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++)
        while (read(w->fd[i], nowhere, sizeof nowhere) > 0)
            ;
    while (thinned < CLIENTS && ++turns < 100) {
        uint64_t now;

        before = w->g->looked_at;
        EXPECT_INT(loop_step(w->g->loop, 0), 0);
        now = stat_get(&w->g->stats, STAT_THINNED);
        EXPECT(w->g->looked_at - before < THIN_LOOKS + 2 * MESSAGES);
        EXPECT(now - thinned <= THIN_LOOKS / MESSAGES + 1);
        EXPECT_INT(stat_get(&w->g->stats, STAT_STALLED) >= CLIENTS - now, 1);
        thinned = now;
    }
    EXPECT_INT(thinned, CLIENTS);
    EXPECT(turns >= CLIENTS / (THIN_LOOKS / MESSAGES + 1));
    for (unsigned i = 0; i < CLIENTS; i++) {
        EXPECT_CONTAINS(all_of(w, i), "gap:slow:");
        EXPECT_INT(w->conn[i]->tick, ring_end(&w->g->ring));
    }
    EXPECT_INT(stat_get(&w->g->stats, STAT_GAPS_SLOW), CLIENTS);
    world_free(w);
}

/* What leaves the ring together is told from what comes by those who lag; when
 * they are many, it has more than a turn to do so. */
TEST(a_burst_leaves_the_ring_of_many_who_do_not_read_in_portions)
{
    enum { MESSAGES = 2000, MOST = 16384 + CLIENTS };
    struct world *w;
    uint64_t first;
    unsigned turns = 0;

    clock_fake(1000 * SECOND, 0);
    w = world();
    for (unsigned i = 0; i < CLIENTS; i++)
        (void)slow_watcher(w, "room/1", 0);
    hear_many(w, "room/1", 101, MESSAGES);
    EXPECT_INT(stat_get(&w->g->stats, STAT_STALLED), CLIENTS);
    first = w->g->ring.first;
    clock_fake_advance(40 * SECOND);
    while (w->g->ring.first < w->g->ring.next && ++turns < 100) {
        size_t before = w->g->looked_at;

        EXPECT_INT(loop_step(w->g->loop, 0), 0);
        EXPECT(w->g->looked_at - before <= MOST + 8192 + MESSAGES);
        EXPECT(w->g->ring.first - first <= (uint64_t)MOST / CLIENTS + 1);
        first = w->g->ring.first;
    }
    EXPECT(turns >= MESSAGES / (MOST / CLIENTS + 1));
    EXPECT_INT(w->g->ring.next - w->g->ring.first, 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        EXPECT_INT(w->conn[i]->state, CONN_OPEN);
    EXPECT_CONTAINS(all_of(w, 7), "gap:slow:");
    world_free(w);
}

/* Memory comes first. */
TEST(a_ring_that_is_too_full_waits_for_nobody)
{
    struct world *w;
    size_t whole;

    clock_fake(1000 * SECOND, 0);
    w = world();
    for (unsigned i = 0; i < CLIENTS; i++)
        (void)slow_watcher(w, "room/1", 0);
    hear_many(w, "room/1", 101, 2000);
    whole = w->g->ring.bytes;
    w->g->ring.bytes_max = whole / 4;
    EXPECT_INT(loop_step(w->g->loop, 0), 0);
    EXPECT(w->g->ring.bytes <= whole / 4 + whole / 32);
    EXPECT(w->g->ring.bytes > whole / 4);
    turn(w);
    EXPECT(w->g->ring.bytes <= whole / 4);
    world_free(w);
}

TEST(one_who_has_missed_very_much_is_thinned_in_many_turns)
{
    enum { MESSAGES = 2000, LOOKS = 100 };
    char nowhere[4096];
    struct world *w;
    const char *text;
    unsigned n, turns = 0;
    char wanted[40];

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "room/1", 0);
    hear_many(w, "room/1", 101, MESSAGES);
    w->g->looks = LOOKS;
    while (read(w->fd[n], nowhere, sizeof nowhere) > 0)
        ;
    do {
        size_t before = w->g->looked_at;

        EXPECT_INT(loop_step(w->g->loop, 0), 0);
        if (turns++ != 30)
            EXPECT(w->g->looked_at - before <= LOOKS + LOOKS / 4 + 1);
        if (turns == 30) /* some of it leaves the ring meanwhile */
            w->g->ring.bytes_max = w->g->ring.bytes / 2;
    } while (w->g->thin_job && turns < 1000);
    EXPECT(turns > 3 * MESSAGES / LOOKS);
    text = all_of(w, n);
    EXPECT_CONTAINS(text, "gap:slow:");
    snprintf(wanted, sizeof wanted, "/room/1@e-");
    EXPECT_CONTAINS(text, wanted);
    EXPECT_INT(stat_get(&w->g->stats, STAT_GAPS_SLOW), 1);
    EXPECT_INT(w->conn[n]->tick, ring_end(&w->g->ring));
    world_free(w);
}

/* Of two thousand messages each has come or is told, whenever its reader, the
 * ring or the gateway does not let thinning come to its end at once. */
static unsigned come_or_told(const char *text)
{
    unsigned n = 0;

    for (const char *at = text; (at = strstr(at, "match/1:")); at++)
        n++;
    for (const char *at = text; (at = strstr(at, "gap:")); at++)
        n += (unsigned)strtoul(strchr(at, '(') + 1, NULL, 10);
    return n;
}

static void thin_with_a_break(unsigned at_turn, const char *what)
{
    enum { MESSAGES = 1000, LOOKS = 100 };
    static const char *const keys[] = {"home", "visit", "ball"};
    struct world *w;
    char nowhere[4096], text[800];
    struct buf got = BUF_INIT;
    unsigned n;
    ssize_t r;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "match/1", 0);
    w->cfg->limits.queue = 100 * 1000;
    memset(text, 'x', sizeof text);
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct msg_parts p = parts("match/1", 101 + i, "");
        struct buf b = BUF_INIT;

        p.data = slice_make(text, sizeof text);
        p.flags |= i % 5 ? WEIGHT_KEYED : WEIGHT_LESSER;
        p.key = slice_str(keys[i % ARRAY_LEN(keys)]);
        frame_write_deliver(&b, &p);
        hear(FRAME_DELIVER, &b);
        if (i % 50 == 0)
            turn(w);
    }
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_STALLED), 1);
    w->g->looks = LOOKS;
    while ((r = read(w->fd[n], nowhere, sizeof nowhere)) > 0)
        buf_add(&got, slice_make(nowhere, (size_t)r));
    for (unsigned i = 0; i < 200; i++) {
        EXPECT_INT(loop_step(w->g->loop, 0), 0);
        if (i != at_turn)
            continue;
        EXPECT(w->g->thin_job != NULL);
        if (strcmp(what, "ring") == 0)
            w->g->ring.bytes_max = w->g->ring.bytes / 2;
        else if (strcmp(what, "begun anew") == 0)
            thin_due(w->conn[n], 0);
        else
            conn_settle(w->conn[n], ring_end(&w->g->ring));
    }
    buf_add_str(&got, all_of(w, n));
    EXPECT_INT(come_or_told(buf_text(&got)), MESSAGES);
    EXPECT_INT(w->conn[n]->state, CONN_OPEN);
    buf_fini(&got);
    world_free(w);
}

TEST(whatever_breaks_in_while_one_is_thinned_each_message_comes_or_is_told)
{
    static const char *const breaks[] = {"ring", "begun anew", "settled"};

    for (unsigned i = 0; i < ARRAY_LEN(breaks); i++)
        for (unsigned at = 0; at < 33; at += 2)
            thin_with_a_break(at, breaks[i]);
}

TEST(one_who_breaks_its_thinning_off_holds_up_nobody)
{
    enum { MESSAGES = 1000, LOOKS = 100 };
    const struct id_says says = {.id = "room/2"};
    char nowhere[4096];
    struct world *w;
    unsigned one, other, turns = 0;

    clock_fake(1000 * SECOND, 0);
    w = world();
    one = slow_watcher(w, "room/1", 0);
    subscribe(w, one, "room/2", NULL, 2);
    hear_logged_in(100, 0, &says, 1);
    other = slow_watcher(w, "room/1", 0);
    drain(w, one);
    hear_many(w, "room/1", 101, MESSAGES);
    w->g->looks = LOOKS;
    EXPECT_INT(stat_get(&w->g->stats, STAT_STALLED), 2);
    while (read(w->fd[one], nowhere, sizeof nowhere) > 0)
        ;
    EXPECT_INT(loop_step(w->g->loop, 0), 0);
    EXPECT(w->g->thin_job != NULL);
    while (read(w->fd[other], nowhere, sizeof nowhere) > 0)
        ;
    EXPECT_INT(loop_step(w->g->loop, 0), 0);
    EXPECT(list_first(&w->g->drained) == &conn_busy(w->conn[one])->drained);
    while (!list_empty(&w->g->drained) && ++turns < 1000) {
        if (conn_holds(w->conn[one], SLICE("room/2")))
            EXPECT_INT(conn_unsubscribe(w->conn[one], SLICE("room/2")), 0);
        if (turns == 1)
            EXPECT(list_first(&w->g->drained) ==
                   &conn_busy(w->conn[other])->drained);
        EXPECT_INT(loop_step(w->g->loop, 0), 0);
    }
    EXPECT(turns < 1000);
    EXPECT_CONTAINS(all_of(w, one), "gap:slow:");
    EXPECT_CONTAINS(all_of(w, other), "gap:slow:");
    world_free(w);
}

static bool waits_to_be_thinned(const struct conn *c)
{
    return conn_busy(c) && list_linked(&conn_busy(c)->drained);
}

/* Whatever becomes of one whose turn has not come. */
TEST(who_waits_to_be_thinned_may_leave_close_and_go)
{
    enum { MESSAGES = 2000 };
    struct world *w;
    char nowhere[4096];
    unsigned left;

    clock_fake(1000 * SECOND, 0);
    w = world();
    for (unsigned i = 0; i < CLIENTS; i++)
        (void)slow_watcher(w, "room/1", 0);
    hear_many(w, "room/1", 101, MESSAGES);
    for (unsigned i = 0; i < CLIENTS; i++)
        while (read(w->fd[i], nowhere, sizeof nowhere) > 0)
            ;
    EXPECT_INT(loop_step(w->g->loop, 0), 0);
    for (left = 0; left < CLIENTS; left++)
        if (waits_to_be_thinned(w->conn[left]))
            break;
    EXPECT(left + 4 < CLIENTS);
    for (unsigned i = left; i < CLIENTS; i++)
        EXPECT(waits_to_be_thinned(w->conn[i]));
    EXPECT_INT(conn_unsubscribe(w->conn[left], SLICE("")), 0);
    conn_close(w->conn[left + 1], "end");
    conn_abort(w->conn[left + 2], "gone");
    close(w->fd[left + 3]);
    w->fd[left + 3] = -1;
    clock_fake_advance(SECOND); /* they are looked at meanwhile, too */
    for (unsigned i = 0; i < 40; i++)
        turn(w);
    EXPECT(list_empty(&w->g->drained));
    EXPECT_INT(w->g->open, CLIENTS - 2);
    hear_message("room/1", 101 + MESSAGES, "last");
    EXPECT(!strstr(all_of(w, left), "last"));
    subscribe(w, left, "room/2", NULL, 2);
    hear_logged_in(w->g->seq, 0, &(struct id_says){.id = "room/2"}, 1);
    EXPECT_CONTAINS(all_of(w, left), "(2)"); /* it is no longer stalled */
    EXPECT_INT(w->conn[left + 1]->state, CONN_DRAINING);
    EXPECT_CONTAINS(all_of(w, left + 4), "last");
    world_free(w);
}

TEST(who_never_reads_stays_where_something_may_be_left_out_and_costs_nothing)
{
    struct world *w;
    unsigned n;
    size_t owed;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "room/1", 0);
    for (uint64_t seq = 101; seq <= 120; seq++)
        hear_padded("room/1", seq, 0, "");
    turn(w);
    owed = conn_out_pending(w->conn[n]);
    for (uint64_t seq = 121; seq <= 320; seq++) {
        hear_padded("room/1", seq, 0, "");
        clock_fake_advance(SECOND);
        turn(w);
    }
    EXPECT_INT(w->conn[n]->state, CONN_OPEN);
    EXPECT_INT(conn_out_pending(w->conn[n]), owed);
    EXPECT(stat_get(&w->g->stats, STAT_QUEUED) < owed + 1000);
    /* Most of it has left the ring; of the rest what is not too old comes. */
    EXPECT_CONTAINS(all_of(w, n), "/room/1@e-1");
    EXPECT_INT(stat_get(&w->g->stats, STAT_GAPS_SLOW), 1);
    world_free(w);
}

TEST(what_the_ring_has_lost_is_told_exactly)
{
    char wanted[100];
    struct world *w;
    const char *text;
    unsigned n, had;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "room/1", 0);
    for (uint64_t seq = 101; seq <= 130; seq++)
        hear_padded("room/1", seq, 0, "");
    turn(w);
    clock_fake_advance(40 * SECOND); /* all of it leaves the ring */
    hear_message("b", 131, "not ours");
    turn(w);
    hear_message("room/1", 132, "new");
    text = all_of(w, n);
    had = whole_before_gap(text);
    snprintf(wanted, sizeof wanted, "gap:slow:%u-130(%u)/room/1@e-%u "
             "room/1:new ", 101 + had, 30 - had, 100 + had);
    EXPECT_STR(strstr(text, "gap:"), wanted);
    world_free(w);
}

TEST(of_conflated_ids_the_newest_of_each_key_and_all_without_one_come)
{
    struct world *w;
    const char *text;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "match/1", 0);
    for (uint64_t seq = 101; seq <= 140; seq++) {
        hear_padded("match/1", seq, 0,
                    seq % 20 == 0 ? "" : seq % 2 ? "odd" : "even");
        turn(w);
    }
    text = all_of(w, n);
    EXPECT_CONTAINS(text, "gap:conflated:");
    EXPECT_STR(strchr(strstr(text, "gap:"), ' '),
               " match/1:120 match/1:138even match/1:139odd match/1:140 ");
    EXPECT_INT(stat_get(&w->g->stats, STAT_LEFT_OUT), 0);
    EXPECT_INT(stat_get(&w->g->stats, STAT_LEFT_OUT_CONFLATED),
               36 - whole_before_gap(text));
    world_free(w);
}

TEST(lesser_kinds_go_first_and_what_is_kept_never)
{
    struct world *w;
    const char *text;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "match/1", ID_STATEFUL);
    for (uint64_t seq = 101; seq <= 140; seq++) {
        hear_padded("match/1", seq,
                    seq % 10 == 0 ? WEIGHT_KEPT
                    : seq % 10 == 5 ? WEIGHT_STATE : WEIGHT_LESSER, "");
        turn(w);
    }
    text = all_of(w, n);
    EXPECT(whole_before_gap(text) < 19);
    EXPECT_CONTAINS(text, "gap:conflated:");
    /* Ten of them: all that is more than lesser, and the newest lesser ones. */
    EXPECT_CONTAINS(strstr(text, "gap:"),
                    " match/1:120 match/1:125 match/1:130 match/1:135"
                    " match/1:136 match/1:137 match/1:138 match/1:139"
                    " match/1:140 ");
    said(""); /* the state is what its messages say */
    world_free(w);
}

TEST(where_a_state_is_not_what_the_messages_make_of_it_a_snapshot_follows)
{
    struct world *w;
    const char *text;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "match/1", ID_STATEFUL);
    for (uint64_t seq = 101; seq <= 140; seq++) {
        hear_padded("match/1", seq, WEIGHT_STATE, "");
        turn(w);
    }
    text = all_of(w, n);
    EXPECT_CONTAINS(text, "gap:conflated:");
    EXPECT_STR(strchr(strstr(text, "gap:"), ' '), " match/1:140 ");
    said("SNAP ");
    hear_snapshot("match/1", 140, "{2}");
    EXPECT_STR(all_of(w, n), "snapshot/match/1={2}@e-140 ");
    EXPECT_INT(w->conn[n]->state, CONN_OPEN);
    world_free(w);
}

TEST(more_than_may_be_left_out_ends_the_connection)
{
    struct world *w;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "match/1", 0);
    for (uint64_t seq = 101; seq <= 140; seq++) {
        hear_padded("match/1", seq, WEIGHT_KEPT, "");
        turn(w);
    }
    EXPECT_CONTAINS(all_of(w, n), "gap:slow:");
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_QUEUE), 1);
    world_free(w);
}

TEST(what_must_not_be_missed_and_leaves_the_ring_ends_the_connection)
{
    struct world *w;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "match/1", 0);
    for (uint64_t seq = 101; seq <= 120; seq++)
        hear_padded("match/1", seq, WEIGHT_LESSER, "");
    hear_padded("match/1", 121, WEIGHT_KEPT, "");
    turn(w);
    clock_fake_advance(29 * SECOND);
    turn(w);
    EXPECT_INT(w->conn[n]->state, CONN_OPEN);
    clock_fake_advance(3 * SECOND);
    hear_message("b", 122, "not ours");
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_QUEUE), 1);
    world_free(w);
}

/* A connection that holds a channel of each policy. */
static unsigned holds_all(struct world *w)
{
    unsigned n = slow_watcher(w, "room/1", 0);
    const struct id_says more[] = {{.id = "a"}, {.id = "match/1"}};

    subscribe(w, n, "a", NULL, 2);
    hear_logged_in(100, 0, &more[0], 1);
    subscribe(w, n, "match/1", NULL, 3);
    hear_logged_in(100, 0, &more[1], 1);
    drain(w, n);
    return n;
}

TEST(other_channels_of_a_slow_connection_stay_whole_and_in_order)
{
    struct world *w;
    const char *text;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = holds_all(w);
    for (uint64_t seq = 101; seq <= 140; seq++) {
        if (seq % 8 == 0)
            hear_message("a", seq, "whole");
        else
            hear_padded(seq & 1 ? "room/1" : "match/1", seq, 0, "k");
        turn(w);
    }
    text = all_of(w, n);
    EXPECT_CONTAINS(text, "gap:conflated:");
    EXPECT_CONTAINS(text, "gap:slow:");
    EXPECT_CONTAINS(text, " room/1:127k a:whole room/1:129k room/1:131k"
                    " room/1:133k room/1:135k a:whole room/1:137k room/1:139k"
                    " match/1:140k ");
    EXPECT_INT(stat_get(&w->g->stats, STAT_GAPS_SLOW), 1);
    EXPECT_INT(stat_get(&w->g->stats, STAT_GAPS_CONFLATED), 1);
    world_free(w);
}

TEST(a_channel_that_is_to_be_cut_cuts_when_it_waits_too_long_itself)
{
    struct world *w;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = holds_all(w);
    for (uint64_t seq = 101; seq <= 140; seq++)
        hear_padded("room/1", seq, 0, "");
    turn(w);
    clock_fake_advance(20 * SECOND);
    turn(w);
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT_INT(w->conn[n]->state, CONN_OPEN);
    hear_message("a", 141, "waits");
    turn(w);
    for (unsigned i = 0; i < 13; i++) {
        clock_fake_advance(SECOND);
        turn(w);
    }
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_AGE), 1);
    EXPECT_CONTAINS(all_of(w, n), "gap:slow:141-141(1)/a@");
    world_free(w);
}

TEST(what_a_left_channel_missed_a_pattern_is_told)
{
    const struct id_says pattern = {.id = "room/*"};
    struct world *w;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "room/1", 0);
    subscribe(w, n, "room/*", NULL, 2);
    hear_logged_in(100, 0, &pattern, 1);
    drain(w, n);
    for (uint64_t seq = 101; seq <= 120; seq++)
        hear_padded("room/1", seq, 0, "");
    turn(w);
    clock_fake_advance(40 * SECOND);
    turn(w);
    EXPECT_INT(conn_unsubscribe(w->conn[n], SLICE("room/1")), 0);
    EXPECT_CONTAINS(all_of(w, n), "gap:slow:0-0(");
    EXPECT_INT(stat_get(&w->g->stats, STAT_GAPS_SLOW), 1);
    world_free(w);
}

TEST(who_is_told_of_a_room_that_the_ring_has_lost_gets_its_state)
{
    struct world *w;
    const char *text;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "room/1", ID_STATEFUL);
    for (uint64_t seq = 101; seq <= 120; seq++)
        hear_padded("room/1", seq, 0, "");
    hear_notice("room/1", "join", "{\"count\":2}");
    turn(w);
    clock_fake_advance(40 * SECOND);
    turn(w);
    buf_reset(&link_.said);
    text = all_of(w, n);
    EXPECT_CONTAINS(text, "gap:slow:");
    said("SNAP ");
    hear_snapshot("room/1", 120, "{here}");
    EXPECT_STR(all_of(w, n), "snapshot/room/1={here}@e-120 ");
    world_free(w);
}

/* How often it is told of a gap in this channel. */
static unsigned gaps_of(const char *text, const char *id)
{
    unsigned n = 0;

    for (const char *at = text; (at = strstr(at, "gap:")); at++)
        n += strncmp(strchr(at, '/') + 1, id, strlen(id)) == 0;
    return n;
}

TEST(of_a_room_with_comings_and_goings_the_messages_are_counted_exactly)
{
    char wanted[100];
    struct world *w;
    const char *text;
    unsigned n, had;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "room/1", ID_STATEFUL);
    for (uint64_t seq = 101; seq <= 120; seq++) {
        hear_padded("room/1", seq, 0, "");
        hear_notice("room/1", "join", "{\"count\":2}");
    }
    turn(w);
    clock_fake_advance(40 * SECOND);
    turn(w);
    text = all_of(w, n);
    had = (unsigned)stat_get(&w->g->stats, STAT_LEFT_OUT);
    EXPECT(had > 0 && had < 20);
    snprintf(wanted, sizeof wanted, "gap:slow:%u-120(%u)/room/1@", 121 - had,
             had);
    EXPECT_CONTAINS(text, wanted);
    world_free(w);
}

TEST(of_a_pattern_that_is_cut_nobody_says_how_many_it_misses)
{
    struct world *w;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "room/*", 0);
    for (uint64_t seq = 101; seq <= 120; seq++)
        hear_padded("room/1", seq, 0, "");
    turn(w);
    clock_fake_advance(40 * SECOND);
    hear_padded("room/1", 121, 0, "");
    turn(w);
    EXPECT(stat_get(&w->g->stats, STAT_LEFT_OUT) > 0);
    conn_cut(w->conn[n], STAT_CUT_TOTAL);
    EXPECT_CONTAINS(all_of(w, n), "gap:slow:0-0(0)/room/*@");
    world_free(w);
}

TEST(what_has_been_told_is_not_told_again_when_it_is_cut)
{
    static char had[1 << 20];
    const struct id_says other = {.id = "a"};
    size_t len = 0;
    struct world *w;
    unsigned n;
    ssize_t r;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "room/1", 0);
    subscribe(w, n, "a", NULL, 2);
    hear_logged_in(100, 0, &other, 1);
    drain(w, n);
    for (uint64_t seq = 101; seq <= 120; seq++)
        hear_padded("room/1", seq, 0, "");
    turn(w);
    for (uint64_t seq = 121; seq <= 140; seq++)
        hear_padded(seq & 1 ? "a" : "room/1", seq, 0, "");
    turn(w);
    while (!strstr(had, "gap:")) {
        r = read(w->fd[n], had + len, 30000);
        CHECK(r > 0);
        for (ssize_t i = 0; i < r; i++)
            if (had[len + (size_t)i] == '\0')
                had[len + (size_t)i] = ' ';
        len += (size_t)r;
        turn(w);
    }
    EXPECT(thin_leaves_out(w->conn[n], ring_at(&w->g->ring,
                                               ring_end(&w->g->ring)),
                           ring_end(&w->g->ring)));
    EXPECT(w->conn[n]->tick < ring_end(&w->g->ring));
    conn_cut(w->conn[n], STAT_CUT_TOTAL);
    EXPECT_INT(gaps_of(had, "room/1") + gaps_of(all_of(w, n), "room/1"), 1);
    world_free(w);
}

TEST(a_subscription_does_not_wait_for_a_snapshot_that_waits_for_its_reader)
{
    const struct id_says other = {.id = "b"};
    struct world *w;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "match/1", ID_STATEFUL);
    for (uint64_t seq = 101; seq <= 140; seq++) {
        hear_padded("match/1", seq, WEIGHT_STATE, "");
        turn(w);
    }
    EXPECT_CONTAINS(all_of(w, n), "gap:conflated:");
    for (uint64_t seq = 141; seq <= 155; seq++)
        hear_padded("match/1", seq, WEIGHT_KEPT, "");
    turn(w);
    EXPECT(w->conn[n]->flags & CONN_STALLED);
    hear_snapshot("match/1", 155, "{2}");
    turn(w);
    EXPECT(conn_starts(w->conn[n]) != NULL); /* it waits */
    subscribe(w, n, "b", NULL, 5);
    hear_logged_in(155, 0, &other, 1);
    turn(w);
    EXPECT(conn_starts(w->conn[n]) == NULL);
    EXPECT_CONTAINS(all_of(w, n), "match/1:155 snapshot/match/1={2}@e-155 "
                                  "[5] snapshot/b@e-155 (5) ");
    world_free(w);
}

TEST(a_slow_reader_that_subscribes_besides_is_not_cut_for_what_may_be_left_out)
{
    static char vast[400000]; /* more than the socket takes: it is begun */
    const struct id_says other = {.id = "b"};
    struct world *w;
    const char *text;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "room/1", 0);
    memset(vast, 'x', sizeof vast - 1);
    hear_message("room/1", 101, vast);
    turn(w);
    for (uint64_t seq = 102; seq <= 140; seq++)
        hear_padded("room/1", seq, 0, "");
    turn(w);
    subscribe(w, n, "b", NULL, 5);
    hear_logged_in(140, 0, &other, 1);
    turn(w);
    EXPECT_INT(w->conn[n]->state, CONN_OPEN);
    EXPECT(conn_out_pending(w->conn[n]) <= w->cfg->limits.queue);
    text = all_of(w, n);
    EXPECT_INT(gaps_of(text, "room/1@"), 1);
    EXPECT_CONTAINS(text, " room/1:140 [5] snapshot/b@e-140 (5) ");
    world_free(w);
}

TEST(who_holds_it_twice_and_stalls_beside_others_misses_it_once)
{
    const struct id_says more[] = {{.id = "room/*"}, {.id = "room/**"}};
    char wanted[100];
    struct world *w;
    const char *text;
    unsigned n, other[6], had;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = slow_watcher(w, "room/1", 0);
    for (unsigned i = 0; i < ARRAY_LEN(more); i++) {
        subscribe(w, n, more[i].id, NULL, 2 + i);
        hear_logged_in(100, 0, &more[i], 1);
    }
    drain(w, n);
    for (unsigned i = 0; i < ARRAY_LEN(other); i++)
        other[i] = slow_watcher(w, "room/far/off", 0);
    for (uint64_t seq = 101; seq <= 120; seq++)
        hear_padded("room/far/off", seq, 0, "");
    for (uint64_t seq = 121; seq <= 140; seq++)
        hear_padded("room/1", seq, 0, "");
    turn(w);
    clock_fake_advance(40 * SECOND);
    turn(w);
    text = all_of(w, n);
    had = whole_before_gap(text);
    EXPECT(had < 20);
    snprintf(wanted, sizeof wanted, "gap:slow:0-0(%u)/room/**@e-%u ", 20 - had,
             100 + had);
    EXPECT_CONTAINS(text, "gap:slow:121-140(20)/room/1@");
    EXPECT_CONTAINS(text, wanted);
    EXPECT_INT(gaps_of(text, "room/1@") + gaps_of(text, "room/**@"), 2);
    EXPECT_INT(gaps_of(text, "room/"), 2); /* the other pattern lacks nothing */
    EXPECT_CONTAINS(all_of(w, other[0]), "-120(");
    world_free(w);
}

TEST(a_slow_reader_without_memory_for_its_gaps_is_not_left_with_a_hole)
{
    for (unsigned left = 0; left < 6; left++) {
        struct world *w;
        unsigned n;

        clock_fake(1000 * SECOND, 0);
        w = world();
        n = slow_watcher(w, "room/1", 0);
        for (uint64_t seq = 101; seq <= 120; seq++)
            hear_padded("room/1", seq, 0, "");
        turn(w);
        clock_fake_advance(40 * SECOND);
        test_fail_malloc_after(left);
        deliver_expire(w->g);
        (void)test_malloc_failed();
        turn(w);
        EXPECT(w->g->open == 0 || thin_owes(w->conn[n]));
        world_free(w);
    }
}

/* ---- names and time ---------------------------------------------------- */

TEST(an_idle_connection_is_its_slot)
{
    struct world *w = world();
    unsigned n = watcher(w);

    got(w, n, "[1] snapshot/a@e-100 (1) ");
    EXPECT(sizeof *w->conn[n] <= 64);
    EXPECT(w->conn[n]->extra == NULL);
    EXPECT(!w->conn[n]->seats.listed);
    world_free(w);
}

TEST(a_slot_used_again_has_another_name)
{
    struct world *w = world();
    unsigned n = client(w), again;
    uint32_t number = w->conn[n]->number, gen = conn_gen(w->conn[n]);

    EXPECT(conn_by_name(w->g, number, gen) == w->conn[n]);
    conn_abort(w->conn[n], "test");
    EXPECT(conn_by_name(w->g, number, gen) == NULL);
    turn(w);
    again = client(w);
    EXPECT_INT(w->conn[again]->number, number);
    EXPECT(conn_by_name(w->g, number, gen) == NULL);
    EXPECT(conn_by_name(w->g, number, gen + 1) == w->conn[again]);
    world_free(w);
}

TEST(a_slot_whose_names_are_used_up_is_retired)
{
    struct world *w = world();
    unsigned n = client(w);
    uint32_t number = w->conn[n]->number;

    conn_abort(w->conn[n], "test");
    turn(w);
    conns_take(&w->g->conns)->seats.flags = UINT32_MAX; /* its last name */
    conns_give(&w->g->conns, w->conn[n]);
    n = client(w);
    EXPECT(w->conn[n]->number != number);
    EXPECT_INT(conn_gen(w->conn[n]), w->g->conns.first_gen);
    world_free(w);
}

TEST(memory_is_told_by_table_and_what_is_free_is_given_back)
{
    static const char *const words[] = {"mem", "trim", "dance"};
    struct world *w = world();
    unsigned n = client(w);

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct frame_query f = {.ref = 7, .verb = slice_str(words[i])};
        struct buf b = BUF_INIT;

        frame_write_query(&b, &f);
        buf_reset(&link_.said);
        hear(FRAME_ASK, &b);
        said("TOLD ");
    }
    EXPECT_INT(link_.ops.pipe.frame(link_.ctx, FRAME_ASK, SLICE("\1\2\3")),
               ERR_FRAME);
    EXPECT_INT(w->g->conns.extras, 0);
    conn_deadline(w->conn[n], 1000);
    EXPECT_INT(w->g->conns.extras, 1);
    conn_deadline(w->conn[n], 0);
    EXPECT_INT(w->g->conns.extras, 0);
    world_free(w);
}

/* Slots without sockets: what conns.h itself does. */
TEST(what_a_crowd_took_is_given_back_and_no_name_comes_twice)
{
    enum { CROWD = 2000 };
    static struct conn *crowd[CROWD];
    static uint32_t gen[CROWD];
    struct world *w = world();
    struct conns *cs = &w->g->conns;
    size_t least, most;

    least = cs->blocks.taken;
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < CROWD; i++) {
            uint32_t n;

            crowd[i] = conns_take(cs);
            n = crowd[i]->number;
            EXPECT(n < CROWD + cs->page_slots);
            EXPECT(conns_at(cs, n) == crowd[i]);
            EXPECT(n >= CROWD || conn_gen(crowd[i]) > gen[n]);
            if (n < CROWD)
                gen[n] = conn_gen(crowd[i]);
        }
        most = cs->blocks.taken;
        EXPECT(most >= CROWD / cs->page_slots);
        for (unsigned i = 0; i < CROWD; i++)
            conns_give(cs, crowd[(i * 7) % CROWD]);
        /* The one that is kept, and one that was never full. */
        EXPECT(cs->blocks.taken <= least + 2);
        for (uint32_t n = 0; n < cs->used; n++) {
            EXPECT(conns_at(cs, n) == NULL);
            EXPECT(n >= CROWD || conns_gen(cs, n) >= gen[n]);
        }
        for (uint32_t n = 0; n < MIN(cs->used, (uint32_t)CROWD); n++)
            gen[n] = conns_gen(cs, n);
    }
    world_free(w);
}

TEST(one_who_stays_keeps_its_page_and_the_others_go)
{
    enum { CROWD = 2000 };
    static struct conn *crowd[CROWD];
    struct world *w = world();
    struct conns *cs = &w->g->conns;
    uint32_t open = 0, i = 0;
    struct conn *c;

    for (unsigned n = 0; n < CROWD; n++)
        crowd[n] = conns_take(cs);
    for (unsigned n = 0; n < CROWD; n++)
        if (n != 1234)
            conns_give(cs, crowd[n]);
    EXPECT(cs->blocks.taken <= 3);
    while ((c = conns_next_open(cs, &i))) {
        EXPECT(c == crowd[1234]);
        open++;
    }
    EXPECT_INT(open, 1);
    conns_give(cs, crowd[1234]);
    for (unsigned n = 0; n < cs->page_slots; n++)
        EXPECT(conns_take(cs) != NULL);
    EXPECT(cs->blocks.taken <= 3); /* from what was kept */
    i = 0;
    while ((c = conns_next_open(cs, &i)))
        conns_give(cs, c);
    world_free(w);
}

TEST(who_restarts_names_no_connection_as_the_one_before_did)
{
    uint32_t first[3];

    for (unsigned i = 0; i < ARRAY_LEN(first); i++) {
        struct world *w = world();
        unsigned n = client(w);

        first[i] = conn_gen(w->conn[n]);
        EXPECT_INT(w->conn[n]->number, 0);
        conn_abort(w->conn[n], "test");
        turn(w);
        n = client(w);
        EXPECT_INT(w->conn[n]->number, 0);
        EXPECT_INT(conn_gen(w->conn[n]), first[i] + 1);
        world_free(w);
    }
    EXPECT(first[0] != first[1] || first[1] != first[2]);
}

TEST(a_deadline_comes_once_and_leaves_nothing)
{
    struct world *w;
    unsigned n;

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = client(w);
    conn_deadline(w->conn[n], 5000);
    conn_deadline(w->conn[n], 1000);
    got(w, n, "");
    clock_fake_advance(2 * SECOND);
    got(w, n, "late ");
    EXPECT(w->conn[n]->extra == NULL);
    clock_fake_advance(10 * SECOND);
    got(w, n, "");
    conn_deadline(w->conn[n], 1000);
    conn_deadline(w->conn[n], 0);
    EXPECT(w->conn[n]->extra == NULL);
    world_free(w);
}

/* Time passes in small steps, as it does. */
static void seconds(struct world *w, unsigned n)
{
    for (unsigned i = 0; i < n * 10; i++) {
        clock_fake_advance(SECOND / 10);
        EXPECT_INT(loop_step(w->g->loop, 0), 0);
    }
}

TEST(pings_come_once_a_period_and_the_first_not_before_one_has_passed)
{
    struct world *w;
    unsigned n[3];

    clock_fake(1000 * SECOND, 0);
    w = world();
    for (unsigned i = 0; i < 3; i++) {
        n[i] = client(w);
        conn_want_pings(w->conn[n[i]], true);
        seconds(w, 3);
    }
    seconds(w, 15); /* 24 s after the first one came */
    got(w, n[0], "");
    seconds(w, 33);
    for (unsigned i = 0; i < 3; i++)
        got(w, n[i], "ping ");
    seconds(w, 50);
    for (unsigned i = 0; i < 3; i++)
        got(w, n[i], "ping ping ");
    conn_abort(w->conn[n[2]], "test");
    conn_want_pings(w->conn[n[0]], false);
    conn_want_pings(w->conn[n[1]], false);
    EXPECT_INT(w->g->conns.pinged, 0);
    conn_want_pings(w->conn[n[1]], true);
    conn_deadline(w->conn[n[0]], 1000); /* other timers go on */
    seconds(w, 40);
    got(w, n[0], "late ");
    got(w, n[1], "ping ");
    world_free(w);
}

/* All of a step, which a period of one step has at once: a slice a turn. */
TEST(a_crowd_is_pinged_a_slice_a_turn)
{
    enum { CROWD = 1200 };
    static struct conn *crowd[CROWD];
    struct world *w;
    unsigned turns = 0, pinged = 0;

    clock_fake(1000 * SECOND, 0);
    w = world();
    w->cfg->limits.ping = SECOND / 10;
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i] = conns_take(&w->g->conns);
        crowd[i]->fd = -1;
        conn_want_pings(crowd[i], true);
        crowd[i]->flags |= CONN_STALLED; /* what it is told stays in out */
        crowd[i]->flags &= (uint16_t)~CONN_PINGS_NEW;
    }
    clock_fake_advance(SECOND / 10);
    for (unsigned now = 0; turns < 10 && pinged < CROWD; turns++) {
        EXPECT_INT(loop_step(w->g->loop, 0), 0);
        now = 0;
        for (unsigned i = 0; i < CROWD; i++)
            now += conn_out_pending(crowd[i]) == strlen("ping ");
        EXPECT(now - pinged <= 600);
        pinged = now;
    }
    EXPECT_INT(pinged, CROWD);
    EXPECT_INT(turns, 3);
    for (unsigned i = 0; i < CROWD; i++) {
        conn_want_pings(crowd[i], false);
        buf_fini(conn_busy(crowd[i])->out);
        free(conn_busy(crowd[i])->out);
        conn_busy(crowd[i])->out = NULL;
        conn_busy_done(crowd[i]);
        conns_give(&w->g->conns, crowd[i]);
    }
    world_free(w);
}

TEST(what_a_closed_connection_held_is_given_back)
{
    struct world *w = world();
    unsigned n = watcher(w);

    EXPECT_INT(map_count(&w->g->topics.by_id), 1);
    close(w->fd[n]);
    w->fd[n] = dup(0);
    turn(w);
    said("LOGOUT RELEASE ");
    EXPECT_INT(map_count(&w->g->topics.by_id), 0);
    EXPECT_INT(w->g->open, 0);
    world_free(w);
}

TEST(damage_among_what_was_missed_is_told_in_its_place)
{
    struct world *w = world();
    unsigned n = watcher(w), late;
    const struct id_says says = {.id = "a", .last_seq = 103,
                                 .last_offset = 103};

    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, &says, 1);
    hear_message("a", 101, "1");
    hear_hole(0, "a", 102, 102);
    hear_message("a", 103, "3");
    hear_resynced(5000);
    got(w, n, "[1] snapshot/a@e-100 (1) a:1 gap:damaged:102-102/a@e-101 a:3 ");
    late = client(w);
    subscribe(w, late, "a", "e-100", 2);
    hear_logged_in(5000, 0, &says, 1);
    turn(w);
    EXPECT_INT(link_.after, 100); /* the store says what it misses, exactly */
    hear_row("a", 101, "1");
    hear_hole(link_.ref, "a", 102, 102);
    hear_row("a", 103, "3");
    hear_page_end(false, 5000);
    got(w, late, "[2] resumed/a@e-100 a:1 "
                 "gap:damaged:102-102/a@e-101 a:3 (2) ");
    late = client(w);
    subscribe(w, late, "a", "e-102", 2);
    hear_logged_in(5000, 0, &says, 1);
    got(w, late, "[2] resumed/a@e-102 (2) a:3 ");
    EXPECT_INT(link_.fetches, 1);
    world_free(w);
}

/* Somebody who comes back with e-50 is told that the ring goes on behind 5000, and
 * waits for a page; meanwhile 5001 comes. */
static unsigned waiting_for_a_page(struct world *w)
{
    const struct id_says says = {.id = "a", .last_seq = 103,
                                 .last_offset = 103};
    unsigned n;

    (void)watcher(w);
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, &says, 1);
    hear_resynced(5000);
    n = client(w);
    subscribe(w, n, "a", "e-50", 2);
    hear_logged_in(5000, 0, &says, 1);
    turn(w);
    hear_message("a", 5001, "live");
    return n;
}

/* A page is of the moment in which it is read, which is later than the login: what
 * could not be read of it reaches beyond the place where the ring goes on. */
TEST(damage_that_begins_where_a_page_begins_is_told_however_far_it_reaches)
{
    struct world *w = world();
    unsigned n = waiting_for_a_page(w);

    hear_hole(link_.ref, "a", 0, 5001);
    hear_page_end(false, 5001);
    got(w, n, "[2] resumed/a@e-50 gap:damaged:0-0/a@e-50 (2) a:live ");
    world_free(w);
}

TEST(damage_behind_the_place_where_the_ring_goes_on_is_not_told)
{
    struct world *w = world();
    unsigned n = waiting_for_a_page(w);

    hear_row("a", 103, "3");
    hear_hole(link_.ref, "a", 5001, 5001);
    hear_page_end(false, 5001);
    got(w, n, "[2] resumed/a@e-50 a:3 (2) a:live ");
    world_free(w);
}

TEST(what_was_trimmed_while_the_link_was_away_is_told_as_such)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says says = {.id = "a", .last_seq = 103,
                                 .last_offset = 103};
    const struct frame_hole hole = {.why = HOLE_TRIMMED, .to = 102, .seq = 102,
                                    .id = SLICE_INIT("a")};
    struct buf b = BUF_INIT;

    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, &says, 1);
    frame_write_hole(&b, &hole);
    hear(FRAME_HOLE, &b);
    hear_message("a", 103, "3");
    hear_resynced(5000);
    got(w, n, "[1] snapshot/a@e-100 (1) gap:trimmed:0-102/a@e-100 a:3 ");
    world_free(w);
}

/* A hole of ref, 0: of the stream; from 0: unknown. */
static void hear_trim(uint32_t ref, const char *id, uint64_t from, uint64_t to,
                      uint64_t seq)
{
    const struct frame_hole f = {.ref = ref, .why = HOLE_TRIMMED, .from = from,
                                 .to = to, .seq = seq, .id = slice_str(id)};
    struct buf b = BUF_INIT;

    frame_write_hole(&b, &f);
    hear(FRAME_HOLE, &b);
}

/* The link stood at 100. While it was away x/1 had 102, 103 and 110, of which 110
 * is kept, and b had 105. */
static void repaired(struct world *w)
{
    const struct id_says says[] = {{.id = "x/*"}, {.id = "x/1"}};

    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, says, 2);
    hear_trim(0, "x/1", 0, 103, 103);
    hear_message("x/2", 105, "2");
    hear_message("x/1", 110, "1");
    hear_resynced(5000);
    turn(w);
    link_.fetches = 0;
}

/* Who was there, at whatever place, is told once, in front of all else. */
TEST(what_was_trimmed_is_told_to_each_cursor_in_front_of_its_last_message)
{
    static const struct {
        const char *channel, *since, *page; /* NULL: the ring has it all */
    } cases[] = {
        {"x/1", "e-99", "[2] gap:trimmed:0-103/x/1@e-99 snapshot/x/1@e-99 "
                        "x/1:1 (2) "},
        {"x/1", "e-100", "[2] gap:trimmed:0-103/x/1@e-100 snapshot/x/1@e-100 "
                         "x/1:1 (2) "},
        {"x/1", "e-102", "[2] gap:trimmed:0-103/x/1@e-102 snapshot/x/1@e-102 "
                         "x/1:1 (2) "},
        {"x/1", "e-103", NULL},
        {"x/1", "e-109", NULL},
        {"x/*", "e-99", "[2] resumed/x/*@e-99 gap:trimmed:0-103/x/1@e-99 "
                        "x/1:1 (2) "},
        {"x/*", "e-100", "[2] resumed/x/*@e-100 gap:trimmed:0-103/x/1@e-100 "
                         "x/1:1 (2) "},
        {"x/*", "e-102", "[2] resumed/x/*@e-102 gap:trimmed:0-103/x/1@e-102 "
                         "x/1:1 (2) "},
    };
    const struct id_says now = {.id = "x/1", .last_seq = 110, .last_offset = 110,
                                .trimmed_seq = 90, .trimmed_offset = 90};

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct world *w = world();
        unsigned there = client(w), late;
        bool pattern = strchr(cases[i].channel, '*') != NULL;

        subscribe(w, there, "x/*", NULL, 1);
        hear_logged_in(100, 0, &(struct id_says){.id = "x/*"}, 1);
        turn(w);
        late = client(w);
        subscribe(w, late, "x/1", NULL, 1);
        hear_logged_in(100, 0, &(struct id_says){.id = "x/1"}, 1);
        turn(w);
        repaired(w);
        got(w, late, "[1] snapshot/x/1@e-100 (1) gap:trimmed:0-103/x/1@e-100 "
                     "x/1:1 ");
        got(w, there, "[1] snapshot/x/*@e-100 (1) gap:trimmed:0-103/x/1@e-100 "
                      "x/2:2 x/1:1 ");
        late = client(w);
        subscribe(w, late, cases[i].channel, cases[i].since, 2);
        hear_logged_in(5000, 0, pattern ? &(struct id_says){.id = "x/*"} : &now,
                       1);
        turn(w);
        EXPECT_INT(link_.fetches, cases[i].page != NULL);
        if (cases[i].page) {
            hear_trim(link_.ref, "x/1", 0, 103, 103);
            hear_row("x/1", 110, "1");
            hear_page_end(false, 5000);
        }
        got(w, late, cases[i].page ? cases[i].page
                     : i == 3 ? "[2] resumed/x/1@e-103 (2) x/1:1 "
                              : "[2] resumed/x/1@e-109 (2) x/1:1 ");
        world_free(w);
    }
}

/* Told of all that is held on one connection: any of them may lack something. */
TEST(a_cursor_of_several_channels_is_told_what_was_trimmed_of_each)
{
    struct world *w = world();
    const struct slice both[] = {SLICE_INIT("x/2"), SLICE_INIT("x/1")};
    const struct id_says says[] = {
        {.id = "x/2", .last_seq = 105, .last_offset = 105},
        {.id = "x/1", .last_seq = 110, .last_offset = 110}};
    struct subscribe s = {.channels = both, .count = 2, .ref = 2,
                          .has_since = true};
    struct refusal why;
    unsigned n = client(w);

    subscribe(w, n, "x/*", NULL, 1);
    hear_logged_in(100, 0, &(struct id_says){.id = "x/*"}, 1);
    turn(w);
    repaired(w);
    n = client(w);
    CHECK(position_parse(SLICE("e-102"), &s.since) == 0);
    EXPECT_INT(conn_subscribe(w->conn[n], &s, &why), 0);
    hear_logged_in(5000, 0, says, 2);
    turn(w);
    hear_trim(link_.ref, "x/1", 0, 103, 103);
    hear_row("x/2", 105, "2");
    hear_row("x/1", 110, "1");
    hear_page_end(false, 5000);
    got(w, n, "[2] gap:trimmed:0-103/x/1@e-102 snapshot/x/1@e-102 "
              "resumed/x/2@e-102 x/2:2 x/1:1 (2) ");
    world_free(w);
}

/* Decided before the link went, said after the repair has brought the hole. */
TEST(a_start_that_has_been_decided_is_decided_anew_behind_a_hole)
{
    struct world *w = world();
    unsigned n = client(w);

    subscribe(w, n, "x/*", NULL, 1);
    hear_logged_in(100, 0, &(struct id_says){.id = "x/*"}, 1);
    turn(w);
    n = client(w);
    subscribe(w, n, "x/*", "e-100", 2);
    hear_logged_in(100, 0, &(struct id_says){.id = "x/*"}, 1); /* said next turn */
    repaired(w);
    turn(w);
    EXPECT_INT(link_.after, 100);
    hear_trim(link_.ref, "x/1", 0, 103, 103);
    hear_row("x/2", 105, "2");
    hear_row("x/1", 110, "1");
    hear_page_end(false, 5000);
    got(w, n, "[2] resumed/x/*@e-100 gap:trimmed:0-103/x/1@e-100 x/2:2 x/1:1 "
              "(2) ");
    world_free(w);
}

/* A link that goes while it is repaired is repaired anew from where it came to,
 * and the same may be missing still. */
TEST(a_repair_that_breaks_off_tells_nothing_twice)
{
    struct world *w = world();
    const struct id_says says = {.id = "a", .last_seq = 120,
                                 .last_offset = 120};
    unsigned n = watcher(w);

    for (unsigned i = 0; i < 2; i++) {
        link_.ops.pipe.down(link_.ctx, "gone");
        hear_welcome("e", 2, 5000);
        hear_logged_in(5000, LOGIN_RESYNC, &says, 1);
        hear_trim(0, "a", 0, 110, 110);
    }
    hear_message("a", 111, "1");
    hear_trim(0, "a", 112, 113, 113);
    hear_message("a", 114, "2");
    hear_resynced(5000);
    got(w, n, "[1] snapshot/a@e-100 (1) gap:trimmed:0-110/a@e-100 a:1 "
              "gap:trimmed:112-113/a@e-111 a:2 ");
    world_free(w);
}

TEST(damage_that_names_no_id_is_told_of_all)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says says = {.id = "a", .last_seq = 101,
                                 .last_offset = 101};

    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 5000);
    hear_logged_in(5000, LOGIN_RESYNC, &says, 1);
    hear_message("a", 101, "1");
    hear_hole(0, "", 0, 4000);
    hear_resynced(5000);
    hear_message("a", 5001, "new");
    got(w, n, "[1] snapshot/a@e-100 (1) a:1 gap:damaged:0-0/a@e-5000 "
              "snapshot/a@e-5000 a:new ");
    world_free(w);
}

TEST(pages_with_a_retract_end_in_a_snapshot)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "m", .flags = ID_STATEFUL,
                                 .last_seq = 90, .last_offset = 3};
    struct msg_parts retract = parts("m", 80, "retract");
    struct buf b = BUF_INIT;

    subscribe(w, n, "m", "e-50", 9);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    said("LOGIN FETCH ");
    retract.flags |= MSG_RESNAPSHOT;
    frame_write_row(&b, link_.ref, &retract);
    hear(FRAME_ROW, &b);
    hear_row("m", 90, "p");
    hear_page_end(false, 100);
    got(w, n, "[9] resumed/m@e-50 m:retract m:p (9) ");
    said("SNAP ");
    hear_message("m", 101, "live");
    hear_snapshot("m", 101, "{1}");
    hear_message("m", 102, "more");
    got(w, n, "m:live snapshot/m={1}@e-101 m:more ");
    world_free(w);
}

/* A watcher of match m, and one of a pattern, at 100. */
static struct world *match_watched(unsigned n[2])
{
    const struct id_says says[2] = {
        {.id = "m", .flags = ID_STATEFUL, .state = "{0}"}, {.id = "*"}};
    struct world *w = world();

    for (unsigned i = 0; i < 2; i++) {
        n[i] = client(w);
        subscribe(w, n[i], says[i].id, NULL, 1);
        hear_logged_in(100, 0, &says[i], 1);
    }
    got(w, n[0], "[1] snapshot/m={0}@e-100 (1) ");
    got(w, n[1], "[1] snapshot/*@e-100 (1) ");
    said("LOGIN LOGIN ");
    return w;
}

static void link_again(uint64_t seq)
{
    const struct id_says says[2] = {{.id = "m", .flags = ID_STATEFUL,
                                     .last_seq = 101, .last_offset = 101},
                                    {.id = "*"}};

    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, seq);
    hear_logged_in(seq, LOGIN_RESYNC, says, 2);
    hear_resynced(seq);
}

TEST(a_link_that_broke_between_a_retract_and_its_state_brings_it_later)
{
    unsigned n[2];
    struct world *w = match_watched(n);

    hear_retract("m", 101);
    link_again(101);
    said("HELLO LOGIN LOGIN SYNCED SNAP ");
    hear_snapshot("m", 101, "{1}");
    got(w, n[0], "m:retract snapshot/m={1}@e-101 ");
    got(w, n[1], "m:retract snapshot/m={1}@e-101 ");
    link_again(101);
    said("HELLO LOGIN LOGIN SYNCED ");
    world_free(w);
}

TEST(a_state_that_came_with_its_retract_is_not_asked_for)
{
    unsigned n[2];
    struct world *w = match_watched(n);

    hear_retract("m", 101);
    hear_notice("m", "snapshot", "{1}");
    link_again(101);
    said("HELLO LOGIN LOGIN SYNCED ");
    got(w, n[0], "m:retract snapshot/m={1}@e-101 ");
    world_free(w);
}

TEST(who_was_cut_off_behind_a_retract_gets_the_state_when_he_comes_back)
{
    unsigned n[2], back;
    struct world *w = match_watched(n);
    const struct id_says says = {.id = "m", .flags = ID_STATEFUL,
                                 .last_seq = 101, .last_offset = 101};

    hear_retract("m", 101);
    hear_notice("m", "snapshot", "{1}");
    turn(w);
    back = client(w);
    subscribe(w, back, "m", "e-101", 2);
    hear_logged_in(101, 0, &says, 1);
    turn(w);
    said("LOGIN SNAP ");
    hear_snapshot("m", 101, "{1}");
    got(w, back, "[2] resumed/m@e-101 (2) snapshot/m={1}@e-101 ");
    hear_message("m", 102, "goal");
    back = client(w);
    subscribe(w, back, "m", "e-102", 3);
    hear_logged_in(102, 0, &says, 1);
    got(w, back, "[3] resumed/m@e-102 (3) ");
    said("LOGIN ");
    world_free(w);
}

/* Or a poll would be answered with it at once, again and again. */
TEST(who_reads_an_answer_as_a_whole_is_not_cut_off_behind_a_retract)
{
    const struct slice channel = SLICE("m");
    const struct id_says says = {.id = "m", .flags = ID_STATEFUL,
                                 .last_seq = 101, .last_offset = 101};
    struct subscribe poll = {.channels = &channel, .count = 1, .ref = 2,
                             .has_since = true, .whole = true};
    unsigned n[2], back;
    struct world *w = match_watched(n);
    struct refusal why;

    hear_retract("m", 101);
    hear_notice("m", "snapshot", "{1}");
    turn(w);
    back = client(w);
    EXPECT_OK(position_parse(SLICE("e-101"), &poll.since));
    EXPECT_OK(conn_subscribe(w->conn[back], &poll, &why));
    hear_logged_in(101, 0, &says, 1);
    got(w, back, "[2] resumed/m@e-101 (2) ");
    said("LOGIN ");
    world_free(w);
}

/* Whatever cannot be had: the connection goes, and nothing else. */
TEST(pages_that_run_out_of_memory_at_their_end_harm_nobody)
{
    const struct id_says says = {.id = "m", .flags = ID_STATEFUL,
                                 .last_seq = 90, .last_offset = 3};
    bool failed = true;

    for (long left = 0; failed; left++) {
        struct world *w = world();
        unsigned n = client(w);
        uint32_t gen = conn_gen(w->conn[n]);
        struct msg_parts retract = parts("m", 80, "retract");
        struct buf b = BUF_INIT;

        subscribe(w, n, "m", "e-50", 9);
        hear_logged_in(100, 0, &says, 1);
        turn(w);
        retract.flags |= MSG_RESNAPSHOT;
        frame_write_row(&b, link_.ref, &retract);
        hear(FRAME_ROW, &b);
        hear_page_end(false, 100);
        buf_reset(&link_.said);
        buf_reserve(&link_.said, 256);
        buf_reserve(&link_.frame, 256);
        test_fail_malloc_after(left);
        for (unsigned i = 0; i < 8; i++)
            (void)!loop_step(w->g->loop, 0);
        failed = test_malloc_failed();
        turn(w);
        EXPECT_INT(w->g->open, conn_by_name(w->g, 0, gen) ? 1 : 0);
        world_free(w);
    }
}

/* What came between its place and its turn is still to be put. */
TEST(the_cursor_of_a_start_that_is_said_is_its_place)
{
    const struct id_says says = {.id = "a"};
    struct world *w = world();
    unsigned n = client(w);

    subscribe(w, n, "a", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    hear_message("a", 101, "1");
    got(w, n, "[1] snapshot/a@e-100 (1) a:1 ");
    EXPECT_STR(told_at, "e-100");
    EXPECT_STR(begun_at, "e-100");
    world_free(w);
}

TEST(a_cursor_can_be_told_when_the_ring_is_empty)
{
    struct world *w;
    unsigned n;
    const struct id_says says = {.id = "p/*"};

    clock_fake(1000 * SECOND, 0);
    w = world();
    n = client(w);
    (void)watcher(w);
    subscribe(w, n, "p/*", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    got(w, n, "[1] snapshot/p/*@e-100 (1) ");
    hear_message("a", 101, "not ours");
    turn(w);
    clock_fake_advance(32 * SECOND);
    turn(w);
    EXPECT_INT(w->g->ring.next, w->g->ring.first);
    EXPECT(slice_eq(conn_cursor(w->conn[n]), SLICE("e-101")));
    world_free(w);
    clock_real();
}

TEST(a_pattern_is_not_resumed_from_what_has_left_the_ring)
{
    struct world *w;
    unsigned n;
    const struct id_says says = {.id = "p/*"};

    clock_fake(1000 * SECOND, 0);
    w = world();
    subscribe(w, client(w), "p/*", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    hear_message("p/a", 101, "1");
    hear_message("p/a", 102, "2");
    turn(w);
    clock_fake_advance(32 * SECOND);
    turn(w);
    hear_message("p/a", 103, "3");
    n = client(w);
    subscribe(w, n, "p/*", "e-101", 2);
    hear_logged_in(103, 0, &says, 1);
    turn(w);
    hear_row("p/a", 102, "2");
    hear_row("p/a", 103, "3");
    hear_page_end(false, 103);
    got(w, n, "[2] resumed/p/*@e-101 p/a:2 p/a:3 (2) ");
    world_free(w);
    clock_real();
}

TEST(an_epoch_with_smaller_numbers_ends_catching_up)
{
    struct world *w = world();
    unsigned n = watcher(w), late = client(w);
    const struct id_says says = {.id = "a", .last_seq = 9, .last_offset = 9};

    hear_message("a", 101, "1");
    got(w, n, "[1] snapshot/a@e-100 (1) a:1 ");
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("f", 2, 10);
    hear_logged_in(10, LOGIN_RESYNC, &says, 1);
    hear_resynced(10);
    turn(w);
    subscribe(w, late, "a", "f-8", 2);
    hear_logged_in(10, 0, &says, 1);
    turn(w);
    buf_reset(&link_.said);
    hear_row("a", 9, "9");
    hear_page_end(false, 10);
    got(w, late, "[2] resumed/a@f-8 a:9 (2) ");
    said("");
    world_free(w);
}

TEST(an_answer_to_what_was_left_is_not_taken_for_the_next_one)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says b = {.id = "b"};

    subscribe(w, n, "a", NULL, 1);
    EXPECT_INT(conn_unsubscribe(w->conn[n], SLICE("")), 0);
    subscribe(w, n, "b", NULL, 2);
    hear_logged_in(100, 0, &kept, 1);
    got(w, n, "");
    hear_logged_in(105, 0, &b, 1);
    got(w, n, "[2] snapshot/b@e-105 (2) ");
    world_free(w);
}

TEST(asking_again_for_what_is_held_loses_nothing)
{
    struct world *w = world();
    unsigned n = watcher(w);

    got(w, n, "[1] snapshot/a@e-100 (1) ");
    subscribe(w, n, "a", NULL, 2);
    hear_message("a", 101, "meanwhile");
    hear_logged_in(101, 0, &kept, 1);
    hear_message("a", 102, "after");
    got(w, n, "a:meanwhile [2] snapshot/a@e-101 (2) a:after ");
    world_free(w);
}

TEST(a_page_asked_again_after_a_broken_link_comes_once)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "a", .last_seq = 90,
                                 .last_offset = 30};

    subscribe(w, n, "a", "e-50", 9);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    hear_row("a", 60, "1");
    got(w, n, "[9] resumed/a@e-50 ");
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 2, 100);
    hear_logged_in(100, LOGIN_RESYNC, &says, 1);
    hear_resynced(100);
    hear_row("a", 60, "1");
    hear_row("a", 90, "2");
    hear_page_end(false, 100);
    got(w, n, "a:1 a:2 (9) ");
    world_free(w);
}

TEST(a_row_of_history_that_there_was_no_memory_for_comes_again)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct slice a = SLICE("a");
    const struct fetch f = {.mode = FETCH_LAST, .channels = &a, .count = 1,
                            .limit = 10};
    const struct msg_parts p = parts("a", 92, "2");
    struct buf b = BUF_INIT;
    struct refusal why;

    EXPECT_INT(conn_fetch(w->conn[n], &f, 7, &why), 0);
    hear_row("a", 91, "1");
    frame_write_row(&b, link_.ref, &p);
    test_fail_malloc_after(0);
    EXPECT_INT(link_.ops.pipe.frame(link_.ctx, FRAME_ROW, buf_slice(&b)),
               ERR_NOMEM);
    EXPECT(test_malloc_failed());
    buf_fini(&b);
    link_.ops.pipe.down(link_.ctx, "out of memory");
    hear_welcome("e", 1, 100);
    hear_row("a", 91, "1");
    hear_row("a", 92, "2");
    hear_page_end(false, 100);
    got(w, n, "row7:1 row7:2 end7:0:0 ");
    world_free(w);
}

TEST(what_a_page_has_beyond_the_place_of_the_login_comes_live)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "a", .last_seq = 90,
                                 .last_offset = 30};

    subscribe(w, n, "a", "e-50", 9);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    hear_row("a", 90, "1");
    hear_row("a", 105, "2");
    hear_page_end(false, 105);
    got(w, n, "[9] resumed/a@e-50 a:1 (9) ");
    hear_message("a", 105, "2");
    hear_message("a", 106, "3");
    got(w, n, "a:2 a:3 ");
    world_free(w);
}

TEST(a_channel_left_while_it_catches_up_says_nothing_more)
{
    struct world *w = world();
    unsigned n = watcher(w);
    const struct id_says says = {.id = "b", .last_seq = 95,
                                 .last_offset = 5};

    got(w, n, "[1] snapshot/a@e-100 (1) ");
    subscribe(w, n, "b", "e-90", 2);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    hear_row("b", 95, "old");
    EXPECT_INT(conn_unsubscribe(w->conn[n], SLICE("b")), 0);
    buf_reset(&link_.said);
    hear_page_end(true, 95);
    hear_message("a", 101, "live");
    got(w, n, "[2] a:live (2) ");
    said("");
    world_free(w);
}

TEST(a_refused_request_fails_as_a_whole_under_its_own_ref)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says page = {.id = "a", .last_seq = 90,
                                 .last_offset = 30};
    const struct slice both[] = {SLICE_INIT("b"), SLICE_INIT("c")};
    const struct id_says says[] = {{.id = "b", .flags = ID_REFUSED},
                                   {.id = "c"}};
    struct subscribe s = {.channels = both, .count = 2, .ref = 2};
    struct refusal why;

    subscribe(w, n, "a", "e-50", 1);
    hear_logged_in(100, 0, &page, 1);
    turn(w);
    EXPECT_INT(conn_subscribe(w->conn[n], &s, &why), 0);
    hear_logged_in(100, 0, says, 2);
    got(w, n, "[1] resumed/a@e-50 failed2:channels.full ");
    EXPECT(!conn_holds(w->conn[n], SLICE("b")));
    EXPECT(!conn_holds(w->conn[n], SLICE("c")));
    hear_page_end(false, 100);
    got(w, n, "(1) ");
    world_free(w);
}

TEST(a_router_without_memory_is_not_one_that_is_full)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "a",
                                 .flags = ID_REFUSED | ID_NO_ROOM};

    subscribe(w, n, "a", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    got(w, n, "failed1:router.memory ");
    EXPECT(!conn_holds(w->conn[n], SLICE("a")));
    world_free(w);
}

TEST(a_gap_without_history_comes_behind_what_was_there_before)
{
    struct world *w = world();
    unsigned n = client(w);
    struct id_says says = {.id = "v", .flags = ID_VOLATILE};

    subscribe(w, n, "v", NULL, 1);
    hear_logged_in(100, 0, &says, 1);
    got(w, n, "[1] snapshot/v@e-100 (1) ");
    hear_message("v", 101, "before");
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("e", 1, 105);
    says.last_seq = says.last_offset = 104;
    hear_logged_in(105, LOGIN_RESYNC, &says, 1);
    hear_resynced(105);
    hear_message("v", 106, "after");
    got(w, n, "v:before gap:volatile:102-104/v@e-101 v:after ");
    world_free(w);
}

TEST(a_request_that_runs_out_of_memory_leaves_nothing_behind)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct slice ids[] = {SLICE_INIT("a"), SLICE_INIT("b/*"),
                                SLICE_INIT("c")};
    struct subscribe s = {.channels = ids, .count = 3, .ref = 2,
                          .name = SLICE("ana")};
    struct refusal why;
    bool failed;
    int rc;

    for (long i = 0; ; i++) {
        test_fail_malloc_after(i);
        rc = conn_subscribe(w->conn[n], &s, &why);
        failed = test_malloc_failed();
        if (!failed || rc == 0)
            break;
        EXPECT_STR(why.code, "server.memory");
        EXPECT_INT(conn_channels(w->conn[n]), 0);
        EXPECT_INT(map_count(&w->g->topics.by_id), 0);
        EXPECT(conn_starts(w->conn[n]) == NULL);
    }
    EXPECT_INT(rc, 0);
    EXPECT_INT(conn_channels(w->conn[n]), 3);
    world_free(w);
}

/* The first news of a pattern: whoever cannot be told has all of it again. */
TEST(news_are_told_though_memory_is_short_or_the_link_begins_anew)
{
    const struct id_says says = {.id = "*"};
    bool failed = true, told = false;

    for (long left = 0; failed; left++) {
        struct world *w = world();
        unsigned n = client(w);
        struct msg_parts p = parts("a", 101, "x");
        struct buf b = BUF_INIT;
        int rc;

        subscribe(w, n, "*", NULL, 1);
        hear_logged_in(100, 0, &says, 1);
        drain(w, n);
        frame_write_deliver(&b, &p);
        link_.broken = false;
        test_fail_malloc_after(left);
        rc = link_.ops.pipe.frame(link_.ctx, FRAME_DELIVER, buf_slice(&b));
        failed = test_malloc_failed();
        told = rc == 0 && !link_.broken;
        got(w, n, told ? "a:x " : "");
        buf_fini(&b);
        world_free(w);
    }
    EXPECT(told);
}

TEST(an_edge_may_leave_while_it_is_told_what_a_slow_reader_misses)
{
    struct world *w;
    unsigned n;
    const struct id_says more = {.id = "b"};

    memset(big, 'x', sizeof big - 1);
    clock_fake(1000 * SECOND, 0);
    w = world();
    n = watcher(w);
    subscribe(w, n, "b", NULL, 2);
    hear_logged_in(100, 0, &more, 1);
    turn(w);
    for (uint64_t seq = 101; seq <= 140; seq++) {
        hear_message(seq & 1 ? "a" : "b", seq, big);
        turn(w);
    }
    leave_on_notice = true;
    clock_fake_advance(2 * SECOND);
    turn(w);
    leave_on_notice = false;
    EXPECT_INT(stat_get(&w->g->stats, STAT_CUT_QUEUE), 1);
    EXPECT_INT(conn_channels(w->conn[n]), 0);
    world_free(w);
    clock_real();
}

/* ---- a crowd comes back ------------------------------------------------- */

/* A client that resumes `a` at e-<since>, which has moved on to 90. */
static unsigned resumes(struct world *w, uint64_t since, uint32_t ref)
{
    const struct id_says says = {.id = "a", .last_seq = 90,
                                 .last_offset = 30};
    unsigned n = client(w);
    char cursor[32];

    snprintf(cursor, sizeof cursor, "e-%u", (unsigned)since);
    subscribe(w, n, "a", cursor, ref);
    hear_logged_in(w->g->seq, 0, &says, 1);
    return n;
}

TEST(a_crowd_with_one_cursor_costs_one_page)
{
    struct world *w = world();

    for (unsigned i = 0; i < CLIENTS; i++)
        EXPECT_INT(resumes(w, 50, 9), i);
    turn(w);
    EXPECT_INT(link_.fetches, 1);
    hear_row("a", 60, "1");
    hear_row("a", 90, "2");
    hear_page_end(false, 100);
    for (unsigned i = 0; i < CLIENTS; i++)
        got(w, i, "[9] resumed/a@e-50 a:1 a:2 (9) ");
    EXPECT_INT(link_.fetches, 1);
    EXPECT_INT(stat_get(&w->g->stats, STAT_PAGES_TAKEN), CLIENTS);
    world_free(w);
}

/* The page of the first one is on its way when the others come: they wait, and
 * who has come least far asks for all of them, up to where that page begins. */
TEST(a_crowd_with_as_many_cursors_costs_two_pages)
{
    struct world *w = world();
    char expect[400];

    (void)resumes(w, 70, 9);
    turn(w);
    EXPECT_INT(link_.after, 70);
    for (unsigned i = 1; i < CLIENTS; i++)
        EXPECT_INT(resumes(w, 30 + i * 37 % 60, 9), i);
    turn(w);
    EXPECT_INT(link_.fetches, 1);
    for (uint64_t seq = 75; seq <= 90; seq += 5)
        hear_row("a", seq, "late");
    hear_page_end(false, 100);
    turn(w);
    EXPECT_INT(link_.fetches, 2);
    EXPECT_INT(link_.after, 30);
    EXPECT_INT(link_.upto, 70);
    EXPECT_INT(link_.bytes, w->cfg->limits.page_bytes);
    for (uint64_t seq = 35; seq <= 70; seq += 5)
        hear_row("a", seq, "early");
    hear_page_end(false, 70);
    for (unsigned i = 1; i < CLIENTS; i++) {
        uint64_t since = 30 + i * 37 % 60;
        int len = snprintf(expect, sizeof expect, "[9] resumed/a@e-%u ",
                           (unsigned)since);

        for (uint64_t seq = 35; seq <= 90; seq += 5)
            if (seq > since)
                len += snprintf(expect + len, sizeof expect - (size_t)len,
                                "a:%s ", seq > 70 ? "late" : "early");
        snprintf(expect + len, sizeof expect - (size_t)len, "(9) ");
        got(w, i, expect);
    }
    EXPECT_INT(link_.fetches, 2);
    world_free(w);
}

TEST(a_crowd_that_missed_several_pages_reads_each_once)
{
    struct world *w = world();

    for (unsigned i = 0; i < CLIENTS; i++)
        EXPECT_INT(resumes(w, 50, 9), i);
    turn(w);
    hear_row("a", 60, "1");
    hear_page_end(true, 60);
    turn(w);
    EXPECT_INT(link_.fetches, 2);
    EXPECT_INT(link_.after, 60);
    hear_row("a", 90, "2");
    hear_page_end(false, 100);
    for (unsigned i = 0; i < CLIENTS; i++)
        got(w, i, "[9] resumed/a@e-50 a:1 a:2 (9) ");
    EXPECT_INT(link_.fetches, 2);
    world_free(w);
}

TEST(who_asked_for_a_page_may_go_while_others_wait_for_it)
{
    struct world *w = world();
    unsigned first = resumes(w, 50, 9), second;

    turn(w);
    second = resumes(w, 60, 9);
    close(w->fd[first]);
    w->fd[first] = -1;
    turn(w);
    EXPECT_INT(w->g->open, 1);
    hear_row("a", 60, "1");
    hear_row("a", 90, "2");
    hear_page_end(false, 100);
    got(w, second, "[9] resumed/a@e-60 a:2 (9) ");
    EXPECT_INT(link_.fetches, 1);
    world_free(w);
}

TEST(a_page_serves_who_comes_soon_after_and_goes_in_time)
{
    struct world *w;

    clock_fake(1000 * SECOND, 0);
    w = world();
    (void)resumes(w, 50, 9);
    turn(w);
    hear_row("a", 90, "1");
    hear_page_end(false, 100);
    drain(w, 0);
    clock_fake_advance(20 * SECOND);
    turn(w);
    got(w, resumes(w, 55, 9), "[9] resumed/a@e-55 a:1 (9) ");
    EXPECT_INT(link_.fetches, 1);
    EXPECT(stat_get(&w->g->stats, STAT_PAGES_BYTES) > 0);
    clock_fake_advance(11 * SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_PAGES_BYTES), 0);
    (void)resumes(w, 55, 9);
    turn(w);
    EXPECT_INT(link_.fetches, 2);
    world_free(w);
    clock_real();
}

TEST(pages_and_ring_are_together_within_their_bound)
{
    struct world *w;

    clock_fake(1000 * SECOND, 0);
    w = world();
    w->g->ring.bytes_max = 100;
    (void)resumes(w, 50, 9);
    turn(w);
    hear_row("a", 90, "1");
    hear_page_end(false, 100);
    got(w, 0, "[9] resumed/a@e-50 a:1 (9) ");
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT_INT(w->g->pages.bytes, 0);
    world_free(w);
    clock_real();
}

/* Who asks for ever other channels in which there is nothing. */
TEST(pages_without_a_message_are_within_the_bound_too)
{
    struct world *w;

    clock_fake(1000 * SECOND, 0);
    w = world();
    w->g->ring.bytes_max = 100;
    (void)resumes(w, 50, 9);
    turn(w);
    hear_page_end(false, 100);
    got(w, 0, "[9] resumed/a@e-50 (9) ");
    EXPECT(w->g->pages.bytes > 100);
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT_INT(w->g->pages.bytes, 0);
    EXPECT_INT(map_count(&w->g->pages.shelves), 0);
    world_free(w);
}

/* Most have a channel of their own beside the one that all watch. */
TEST(a_channel_that_missed_nothing_keeps_nobody_from_sharing)
{
    struct world *w = world();
    char own[2][8] = {"u/0", "u/1"};

    for (unsigned i = 0; i < 2; i++) {
        struct slice both[] = {slice_str(own[i]), SLICE("a")};
        const struct id_says says[] = {
            {.id = own[i], .last_seq = 40, .last_offset = 1},
            {.id = "a", .last_seq = 90, .last_offset = 30}};
        struct subscribe s = {.channels = both, .count = 2, .ref = 9,
                              .has_since = true};
        struct refusal why;
        unsigned n = client(w);

        CHECK(position_parse(SLICE("e-50"), &s.since) == 0);
        EXPECT_INT(conn_subscribe(w->conn[n], &s, &why), 0);
        hear_logged_in(100, 0, says, 2);
    }
    turn(w);
    hear_message("u/0", 101, "mine");
    EXPECT_INT(link_.fetches, 1);
    EXPECT_STR(link_.fetched, "a ");
    hear_row("a", 90, "1");
    hear_row("a", 102, "2");
    hear_page_end(false, 102);
    hear_message("a", 102, "2");
    got(w, 0, "[9] resumed/u/0/a@e-50 a:1 (9) u/0:mine a:2 ");
    got(w, 1, "[9] resumed/u/1/a@e-50 a:1 (9) a:2 ");
    world_free(w);
}

/* The ring has it still, but pages of another channel pass by it. */
TEST(what_has_no_history_is_not_passed_by_in_silence)
{
    struct world *w = world();
    const struct slice both[] = {SLICE_INIT("v"), SLICE_INIT("a")};
    const struct id_says says[] = {
        {.id = "v", .flags = ID_VOLATILE, .last_offset = 1},
        {.id = "a", .last_seq = 99, .last_offset = 30}};
    struct subscribe s = {.channels = both, .count = 2, .ref = 9,
                          .has_since = true};
    struct refusal why;
    unsigned n = client(w);

    subscribe(w, n, "v", NULL, 1);
    hear_logged_in(100, 0, says, 1);
    hear_message("v", 103, "seen by the ring");
    w->g->seq = 110;
    n = client(w);
    CHECK(position_parse(SLICE("e-102"), &s.since) == 0);
    EXPECT_INT(conn_subscribe(w->conn[n], &s, &why), 0);
    hear_logged_in(110, 0, (struct id_says[]){
        {.id = "v", .flags = ID_VOLATILE, .last_seq = 103, .last_offset = 2},
        {.id = "a", .last_seq = 105, .last_offset = 30}}, 2);
    turn(w);
    EXPECT_STR(link_.fetched, "a ");
    hear_row("a", 105, "kept");
    hear_page_end(false, 110);
    got(w, n, "[9] gap:volatile:0-0/v@e-102 snapshot/v@e-102 "
              "resumed/a@e-102 a:kept (9) ");
    world_free(w);
}

TEST(a_page_with_damage_is_read_from_its_beginning_only)
{
    struct world *w = world();
    unsigned other;

    (void)resumes(w, 50, 9);
    turn(w);
    other = resumes(w, 60, 9);
    hear_hole(link_.ref, "a", 20, 65);
    hear_row("a", 90, "1");
    hear_page_end(false, 100);
    got(w, 0, "[9] resumed/a@e-50 gap:damaged:20-20/a@e-50 a:1 (9) ");
    EXPECT_INT(link_.fetches, 2);
    EXPECT_INT(link_.after, 60);
    hear_row("a", 90, "1");
    hear_page_end(false, 100);
    got(w, other, "[9] resumed/a@e-60 a:1 (9) ");
    world_free(w);
}

static void hear_trimmed(const char *id, uint64_t offset, uint64_t seq)
{
    struct frame_hole f = {.ref = link_.ref, .why = HOLE_TRIMMED,
                           .to = offset, .seq = seq, .id = slice_str(id)};
    struct buf b = BUF_INIT;

    frame_write_hole(&b, &f);
    hear(FRAME_HOLE, &b);
}

/* A page that came before the trimming has still what the later one has not. */
TEST(what_was_told_as_trimmed_is_not_given_out_of_an_older_page)
{
    struct world *w = world();
    unsigned late;

    (void)resumes(w, 70, 9);
    turn(w);
    hear_row("a", 80, "1");
    hear_row("a", 90, "2");
    hear_page_end(false, 100);
    got(w, 0, "[9] resumed/a@e-70 a:1 a:2 (9) ");
    late = resumes(w, 50, 9);
    turn(w);
    EXPECT_INT(link_.upto, 70);
    hear_trimmed("a", 80, 80);
    hear_page_end(false, 70);
    got(w, late, "[9] resumed/a@e-50 gap:trimmed:0-80/a@e-50 a:2 (9) ");
    world_free(w);
}

/* Its last message lies right in front of a row, and another id's is there. */
TEST(a_hole_whose_last_message_is_passed_by_other_rows_is_told)
{
    struct world *w = world();
    unsigned n = client(w), late;

    subscribe(w, n, "*", "e-50", 9);
    hear_logged_in(100, 0, &(struct id_says){.id = "*"}, 1);
    turn(w);
    hear_row("a", 60, "1");
    hear_row("b", 88, "2");
    hear_row("b", 89, "2");
    hear_trim(link_.ref, "a", 61, 88, 89);
    hear_row("a", 90, "3");
    hear_page_end(false, 100);
    got(w, n, "[9] resumed/*@e-50 a:1 b:2 b:2 gap:trimmed:61-88/a@e-89 a:3 "
              "(9) ");
    late = client(w); /* of such a hole it may miss less */
    subscribe(w, late, "*", "e-70", 9);
    hear_logged_in(100, 0, &(struct id_says){.id = "*"}, 1);
    turn(w);
    EXPECT_INT(link_.fetches, 2);
    EXPECT_INT(link_.after, 70);
    world_free(w);
}

TEST(what_lies_behind_a_page_is_told_once_for_all_pages)
{
    struct world *w = world();
    unsigned n = client(w);

    subscribe(w, n, "x/*", "e-50", 9);
    hear_logged_in(100, 0, &(struct id_says){.id = "x/*"}, 1);
    turn(w);
    hear_trim(link_.ref, "x/1", 0, 95, 95);
    hear_row("x/2", 60, "1");
    hear_page_end(true, 60);
    got(w, n, "[9] resumed/x/*@e-50 gap:trimmed:0-95/x/1@e-50 x/2:1 ");
    EXPECT_INT(link_.after, 60);
    hear_trim(link_.ref, "x/1", 0, 95, 95);
    hear_row("x/1", 96, "2");
    hear_page_end(false, 100);
    got(w, n, "x/1:2 (9) ");
    world_free(w);
}

/* The ring has it, the store has not: either it comes or a gap tells of it. */
TEST(what_was_told_as_trimmed_does_not_come_out_of_the_ring)
{
    struct world *w = world();
    unsigned n = resumes(w, 50, 9);

    turn(w);
    hear_message("a", 110, "1");
    hear_message("a", 120, "2");
    hear_trim(link_.ref, "a", 0, 110, 110);
    hear_row("a", 120, "2");
    hear_page_end(false, 120);
    got(w, n, "[9] resumed/a@e-50 gap:trimmed:0-110/a@e-50 a:2 (9) ");
    hear_message("a", 121, "3");
    got(w, n, "a:3 ");
    world_free(w);
}

/* Who asks for all that is kept misses only what was kept when it began. */
TEST(all_that_is_kept_has_a_hole_only_where_something_came_before_it)
{
    struct world *w = world();
    unsigned n = client(w);

    subscribe(w, n, "x/*", "0", 9);
    hear_logged_in(100, 0, &(struct id_says){.id = "x/*"}, 1);
    turn(w);
    hear_trim(link_.ref, "x/1", 0, 40, 40);
    hear_row("x/1", 41, "1");
    hear_row("x/2", 50, "1");
    hear_page_end(true, 50);
    got(w, n, "[9] resumed/x/*@e-0 x/1:1 x/2:1 ");
    hear_trim(link_.ref, "x/1", 0, 60, 60);
    hear_trim(link_.ref, "x/3", 0, 70, 70);
    hear_row("x/1", 61, "2");
    hear_row("x/3", 71, "2");
    hear_page_end(false, 100);
    got(w, n, "gap:trimmed:0-60/x/1@e-50 x/1:2 x/3:2 (9) ");
    world_free(w);
}

TEST(another_epoch_forgets_all_pages)
{
    struct world *w = world();
    unsigned n, before;

    (void)resumes(w, 50, 9);
    turn(w);
    hear_row("a", 90, "old");
    hear_page_end(false, 100);
    (void)resumes(w, 20, 9); /* its page is on its way */
    drain(w, 0);
    EXPECT_INT(link_.fetches, 2);
    link_.ops.pipe.down(link_.ctx, "gone");
    hear_welcome("f", 2, 100);
    hear_logged_in(100, LOGIN_RESYNC, &kept, 1);
    hear_resynced(100);
    turn(w);
    EXPECT_INT(w->g->pages.bytes, 0);
    hear_row("a", 90, "old"); /* an answer to nobody */
    hear_page_end(false, 100);
    EXPECT_INT(w->g->pages.bytes, 0);
    before = link_.fetches;
    n = client(w);
    subscribe(w, n, "a", "f-50", 3);
    hear_logged_in(100, 0, &(struct id_says){.id = "a", .last_seq = 95}, 1);
    turn(w);
    EXPECT_INT(link_.fetches, before + 1);
    hear_row("a", 95, "new");
    hear_page_end(false, 100);
    got(w, n, "[3] resumed/a@f-50 a:new (3) ");
    world_free(w);
}

TEST(pages_that_run_out_of_memory_harm_nobody_else)
{
    bool failed = true;

    for (long left = 0; failed; left++) {
        struct world *w = world();

        for (unsigned i = 0; i < 3; i++)
            (void)resumes(w, 50 + i, 9);
        buf_reserve(&link_.said, 1024);
        buf_reserve(&link_.frame, 256);
        test_fail_malloc_after(left);
        for (unsigned i = 0; i < 8; i++)
            (void)!loop_step(w->g->loop, 0);
        if (w->g->pages.under_way) {
            struct msg_parts p = parts("a", 90, "1");
            struct buf b = BUF_INIT;

            frame_write_row(&b, link_.ref, &p);
            if (!b.failed)
                (void)!link_.ops.pipe.frame(link_.ctx, FRAME_ROW,
                                            buf_slice(&b));
            buf_fini(&b);
        }
        failed = test_malloc_failed();
        if (w->g->pages.under_way)
            hear_page_end(false, 100);
        turn(w);
        EXPECT_INT(w->g->pages.under_way, 0);
        EXPECT_INT(readers_of_pages(w->g), 0);
        world_free(w);
    }
}

TEST(a_crowd_of_newcomers_asks_for_one_snapshot)
{
    struct world *w = world();
    struct id_says says = {.id = "m", .flags = ID_STATEFUL, .state = "{0}"};

    for (unsigned i = 0; i < CLIENTS; i++) {
        subscribe(w, client(w), "m", NULL, 1);
        if (i == 0)
            turn(w);
    }
    EXPECT_INT(link_.wanted, 1);
    for (unsigned i = 0; i < CLIENTS; i++) {
        link_.conn = w->conn[i]->number;
        link_.gen = conn_gen(w->conn[i]);
        hear_logged_in(100, 0, &says, 1);
        says.state = NULL;
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        got(w, i, "[1] snapshot/m={0}@e-100 (1) ");
    world_free(w);
}

/* ---- who comes, and who goes, in a crowd --------------------------------- */

static int tries(struct world *w, unsigned n, const char *id,
                 const char *since, struct refusal *why)
{
    struct slice channel = slice_str(id);
    struct subscribe s = {.channels = &channel, .count = 1,
                          .has_since = since != NULL};

    if (since)
        CHECK(position_parse(slice_str(since), &s.since) == 0);
    return conn_subscribe(w->conn[n], &s, why);
}

TEST(more_than_may_come_are_told_a_slot_each_and_what_is_cheap_is_let_in)
{
    struct world *w;
    struct refusal why;
    unsigned second, third;

    clock_fake(1000 * SECOND, 0);
    w = world();
    w->cfg->limits.admit_rate = 2;
    for (unsigned i = 0; i < 4; i++)
        EXPECT_INT(watcher(w), i);
    second = client(w);
    third = client(w);
    turn(w);
    EXPECT_INT(tries(w, second, "a", NULL, &why), ERR_DENIED);
    EXPECT_STR(why.code, "busy");
    EXPECT_INT(why.status, PUBLISHED_UNAVAILABLE);
    EXPECT_INT(why.retry_ms, 1000);
    EXPECT_INT(tries(w, third, "b", "e-100", &why), ERR_DENIED);
    EXPECT_INT(why.retry_ms, 1500);
    EXPECT_INT(stat_get(&w->g->stats, STAT_LIMIT_ADMIT_RATE), 2);
    /* what the ring covers, and whoever is in, costs no token */
    EXPECT_INT(tries(w, third, "a", "e-99", &why), ERR_DENIED);
    EXPECT_INT(tries(w, third, "a", "f-100", &why), ERR_DENIED);
    EXPECT_INT(tries(w, third, "a", "e-100", &why), 0);
    EXPECT_INT(tries(w, third, "b", "e-1", &why), 0);
    EXPECT_INT(stat_get(&w->g->stats, STAT_ADMITTED), 4);
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT_INT(tries(w, second, "a", NULL, &why), 0);
    EXPECT_INT(stat_get(&w->g->stats, STAT_ADMITTED), 5);
    world_free(w);
    clock_real();
}

static unsigned still_open(const struct world *w)
{
    unsigned n = 0;

    for (unsigned i = 0; i < w->clients; i++)
        n += !conn_closing(w->conn[i]);
    return n;
}

TEST(a_drain_sends_clients_away_in_portions_and_the_idle_at_once)
{
    enum { WATCHERS = 40, STEP = 100 };
    struct world *w;

    clock_fake(1000 * SECOND, 0);
    w = world();
    for (unsigned i = 0; i < WATCHERS; i++)
        EXPECT_INT(watcher(w), i);
    (void)client(w);
    w->cfg->limits.admit_rate = 100;
    w->g->draining = true;
    drain_begin(w->g);
    EXPECT(conn_closing(w->conn[WATCHERS]));
    EXPECT_INT(still_open(w), WATCHERS - 10);
    hear_message("a", 101, "still served");
    got(w, WATCHERS - 1, "[1] snapshot/a@e-100 (1) a:still served ");
    for (unsigned step = 2; step <= 4; step++) {
        clock_fake_advance(STEP * MILLISECOND);
        turn(w);
        EXPECT_INT(still_open(w), WATCHERS - 10 * step);
    }
    got(w, WATCHERS - 1, "bye@e-101 ");
    world_free(w);
    clock_real();
}

TEST(a_drain_is_through_in_half_of_its_time_however_slow_clients_are_let_in)
{
    enum { WATCHERS = 40 };
    struct world *w;
    unsigned steps = 1;

    clock_fake(1000 * SECOND, 0);
    w = world();
    for (unsigned i = 0; i < WATCHERS; i++)
        EXPECT_INT(watcher(w), i);
    w->cfg->limits.admit_rate = 1;
    w->cfg->limits.drain_wait = 4 * SECOND;
    w->g->draining = true;
    drain_begin(w->g);
    for (; still_open(w) && steps < 100; steps++) {
        clock_fake_advance(100 * MILLISECOND);
        turn(w);
    }
    EXPECT_INT(steps, 20);
    world_free(w);
    clock_real();
}

/* ---- who is at the other end --------------------------------------------- */

/* Two ends of a connection over loopback. */
static void tcp_pair(int ends[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int l = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr *any = (struct sockaddr *)(void *)&at;

    CHECK(l >= 0 && bind(l, any, len) == 0 && listen(l, 1) == 0);
    CHECK(getsockname(l, any, &len) == 0);
    ends[1] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(ends[1] >= 0 && connect(ends[1], any, len) == 0);
    CHECK(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    ends[0] = accept4(l, NULL, NULL, SOCK_NONBLOCK);
    CHECK(ends[0] >= 0);
    close(l);
}

static struct address address(const char *text)
{
    struct address a;

    CHECK(address_parse(slice_str(text), &a) == 0);
    return a;
}

TEST(an_address_gets_its_share_back_from_a_reset_connection)
{
    struct world *w = world();
    struct address here = address("127.0.0.1");
    struct linger reset = {.l_onoff = 1};
    int ends[2];

    w->cfg->limits.connections_per_address = 1;
    tcp_pair(ends);
    (void)come(w, ends, 0, here);
    EXPECT(!door_take_share(w->door, &here));
    CHECK(setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &reset,
                     sizeof reset) == 0);
    close(ends[1]);
    w->clients--;
    turn(w);
    EXPECT_INT(w->g->open, 0);
    EXPECT_INT(door_addresses(w->door), 0);
    world_free(w);
}

/* A connection of a trusted proxy; the edge says again what it hears. */
static unsigned proxied(struct world *w)
{
    int ends[2];

    echo = true;
    tcp_pair(ends);
    return come(w, ends, CONN_HEADER_DUE, (struct address){0});
}

static void says(struct world *w, unsigned n, const char *text)
{
    CHECK(write(w->fd[n], text, strlen(text)) == (ssize_t)strlen(text));
    turn(w);
}

TEST(a_proxys_header_names_the_client_and_the_edge_hears_the_rest)
{
    struct world *w = world();
    unsigned n = proxied(w);

    says(w, n, "PRO");
    EXPECT_STR(conn_peer_text(w->conn[n]), "127.0.0.1");
    says(w, n, "XY TCP4 192.0.2.7 127.0.0.1 4000 9999\r");
    got(w, n, "");
    says(w, n, "\nhello");
    got(w, n, "hello");
    EXPECT_STR(conn_peer_text(w->conn[n]), "192.0.2.7");
    EXPECT(!conn_from_loopback(w->conn[n]));
    says(w, n, "PROXY TCP4 192.0.2.8 127.0.0.1 4000 9999\r\n");
    got(w, n, "PROXY TCP4 192.0.2.8 127.0.0.1 4000 9999\r\n");
    EXPECT_STR(conn_peer_text(w->conn[n]), "192.0.2.7");
    world_free(w);
}

TEST(a_proxy_that_sends_no_header_is_served_like_anybody)
{
    struct world *w = world();
    unsigned n = proxied(w), cut = proxied(w);

    says(w, n, "PR");
    got(w, n, "");
    says(w, n, "INT it\r\n");
    got(w, n, "PRINT it\r\n");
    EXPECT(!conn_from_loopback(w->conn[n]));
    /* What can become none any more is the edge's as well. */
    says(w, cut, "PR");
    shutdown(w->fd[cut], SHUT_WR);
    got(w, cut, "PR");
    world_free(w);
}

TEST(a_header_that_must_come_is_waited_for_and_missed)
{
    struct world *w = world();
    unsigned with, without;

    w->cfg->tcp.proxy_protocol = PROXY_ALWAYS;
    with = proxied(w), without = proxied(w);
    says(w, with, "PROXY TCP4 192.0.2.7 127.0.0.1 4000 9999\r\nhello");
    got(w, with, "hello");
    says(w, without, "PR");
    EXPECT(!conn_closing(w->conn[without]));
    says(w, without, "INT it\r\n");
    got(w, without, "");
    EXPECT(conn_closing(w->conn[without]));
    world_free(w);
}

TEST(a_header_that_nobody_asked_for_is_the_edges)
{
    struct world *w = world();
    unsigned n;

    w->cfg->tcp.proxy_protocol = PROXY_NEVER;
    n = proxied(w);
    says(w, n, "PROXY TCP4 192.0.2.7 127.0.0.1 4000 9999\r\n");
    got(w, n, "PROXY TCP4 192.0.2.7 127.0.0.1 4000 9999\r\n");
    EXPECT_STR(conn_peer_text(w->conn[n]), "127.0.0.1");
    EXPECT(!conn_from_loopback(w->conn[n]));
    world_free(w);
}

TEST(a_broken_header_closes_a_proxys_connection)
{
    struct world *w = world();
    unsigned n = proxied(w);

    says(w, n, "PROXY TCP4 not-an-address\r\nhello");
    got(w, n, "");
    EXPECT(conn_closing(w->conn[n]));
    world_free(w);
}

TEST(the_word_of_a_client_behind_a_header_is_not_a_proxys)
{
    struct world *w = world();
    unsigned n = proxied(w), nested = proxied(w);

    EXPECT(conn_peer_is_proxy(w->conn[n]));
    says(w, n, "PROXY TCP4 192.0.2.7 127.0.0.1 4000 9999\r\n");
    EXPECT(!conn_peer_is_proxy(w->conn[n]));
    says(w, nested, "PROXY TCP4 127.0.0.1 127.0.0.1 4000 9999\r\n");
    EXPECT(conn_peer_is_proxy(w->conn[nested]));
    world_free(w);
}

TEST(a_connection_takes_the_share_of_whom_its_proxy_names)
{
    struct world *w = world();
    unsigned a = proxied(w), b = proxied(w), c = proxied(w);
    struct address seven = address("192.0.2.7"), one = address("2001:db8::1");

    says(w, a, "PROXY TCP4 192.0.2.7 127.0.0.1 4000 9999\r\n");
    says(w, b, "PROXY TCP4 192.0.2.7 127.0.0.1 4001 9999\r\nhello");
    got(w, b, "busy\n");
    EXPECT(conn_closing(w->conn[b]));
    /* Request by request the share moves. */
    EXPECT(!conn_set_forwarded(w->conn[c], &seven));
    EXPECT(conn_set_forwarded(w->conn[c], &one));
    EXPECT_STR(conn_peer_text(w->conn[c]), "2001:db8::1");
    EXPECT_INT(door_addresses(w->door), 2);
    conn_abort(w->conn[a], "test");
    EXPECT(conn_set_forwarded(w->conn[c], &seven));
    EXPECT_INT(door_addresses(w->door), 1);
    world_free(w);
}

TEST(a_share_stays_where_it_is_within_a_network)
{
    struct world *w = world();
    unsigned a = proxied(w), b = proxied(w);
    struct address one = address("2001:db8::1"), two = address("2001:db8::2");

    EXPECT(conn_set_forwarded(w->conn[a], &one));
    EXPECT(conn_set_forwarded(w->conn[a], &two));
    EXPECT(!conn_set_forwarded(w->conn[b], &one));
    EXPECT_STR(conn_peer_text(w->conn[a]), "2001:db8::2");
    conn_abort(w->conn[a], "test");
    EXPECT_INT(door_addresses(w->door), 0);
    world_free(w);
}

TEST(a_request_that_names_nobody_is_not_the_one_before_its)
{
    struct world *w = world();
    unsigned plain = proxied(w), behind = proxied(w);
    struct address seven = address("192.0.2.7"), nobody = {0};

    EXPECT(conn_set_forwarded(w->conn[plain], &seven));
    EXPECT_INT(door_addresses(w->door), 1);
    EXPECT(conn_set_forwarded(w->conn[plain], &nobody));
    EXPECT_STR(conn_peer_text(w->conn[plain]), "127.0.0.1");
    EXPECT_INT(door_addresses(w->door), 0);
    /* Behind a PROXY header it is whom that names. */
    says(w, behind, "PROXY TCP4 127.0.0.9 127.0.0.1 4000 9999\r\n");
    EXPECT(conn_set_forwarded(w->conn[behind], &seven));
    EXPECT(conn_set_forwarded(w->conn[behind], &nobody));
    EXPECT_STR(conn_peer_text(w->conn[behind]), "127.0.0.9");
    EXPECT_INT(door_addresses(w->door), 1);
    world_free(w);
}

/* How many of `tries` publications are let through; the others are told why. */
static unsigned lets_publish(struct world *w, unsigned n, unsigned tries)
{
    struct publish p = {.channel = SLICE("a"), .data = SLICE("x")};
    struct refusal why;
    unsigned passed = 0;

    for (unsigned i = 0; i < tries; i++) {
        if (conn_publish(w->conn[n], &p, i, &why) == 0) {
            passed++;
            continue;
        }
        EXPECT_STR(why.code, "publish.rate");
        EXPECT_INT(why.status, PUBLISHED_TOO_MANY);
    }
    return passed;
}

TEST(an_address_publishes_no_oftener_than_it_may_over_all_its_connections)
{
    struct world *w = world();
    unsigned a = proxied(w), b = proxied(w), proxy = proxied(w), here = client(w);
    struct address neighbour;
    struct refusal why;

    CHECK(address_parse(SLICE("192.0.2.8"), &neighbour) == 0);
    clock_fake(5 * SECOND, 0);
    w->cfg->limits.publish_rate = 3;
    door_set_publish_rate(w->door, 3);
    says(w, a, "PROXY TCP4 192.0.2.7 127.0.0.1 4000 9999\r\n");
    EXPECT(conn_set_forwarded(w->conn[b], &neighbour));
    EXPECT_INT(lets_publish(w, a, 2), 2);
    EXPECT(conn_act(w->conn[a], "match.new", SLICE("a"), SLICE(""),
                    SLICE("{}"), 1, &why) == 0);
    EXPECT_INT(lets_publish(w, a, 5), 0);
    EXPECT(conn_act(w->conn[a], "match.new", SLICE("a"), SLICE(""),
                    SLICE("{}"), 1, &why) < 0);
    EXPECT_STR(why.code, "publish.rate");
    EXPECT_INT(lets_publish(w, b, 5), 3);
    /* Nobody's addresses: a proxy that names none, a unix socket. */
    EXPECT_INT(lets_publish(w, proxy, 9), 9);
    EXPECT_INT(lets_publish(w, here, 9), 9);
    EXPECT_INT(stat_get(&w->g->stats, STAT_LIMIT_PUBLISH_RATE), 8);
    EXPECT_INT(stat_get(&w->g->stats, STAT_PUBLISH_REFUSED), 8);
    world_free(w);
}

TEST(damage_in_a_page_that_names_no_id_is_told_of_each_channel)
{
    struct world *w = world();
    unsigned n = client(w);
    const struct id_says says = {.id = "a", .last_seq = 90,
                                 .last_offset = 30};

    subscribe(w, n, "a", "e-50", 9);
    hear_logged_in(100, 0, &says, 1);
    turn(w);
    hear_row("a", 60, "1");
    hear_hole(link_.ref, "", 0, 70);
    hear_row("a", 90, "2");
    hear_page_end(false, 100);
    got(w, n, "[9] resumed/a@e-50 a:1 gap:damaged:0-0/a@e-60 a:2 (9) ");
    world_free(w);
}

/* ---- a port that is shared ----------------------------------------------- */

static void listen_for_queue(struct listen_set *set)
{
    static char any[] = "127.0.0.1:0";
    char *items[] = {any}, why[128];
    struct opt_list list = {.items = items, .count = 1};
    socklen_t len = sizeof queue.at;

    CHECK(listen_open(set, &list, false, 1024, why, sizeof why) == 0);
    CHECK(getsockname(set->at[0].fd, (struct sockaddr *)(void *)&queue.at,
                      &len) == 0);
}

/* A gateway and another one at the same port, of which this is full. */
struct shared {
    struct siblings *table, *mine, *other;
    struct listen_set set;
};

static void share_port(struct shared *s, struct world *w)
{
    *s = (struct shared){.table = NULL};
    CHECK(siblings_new(&s->table, 2) == 0);
    CHECK(siblings_join(&s->mine, dup(siblings_table(s->table)),
                        dup(siblings_bell(s->table)), 0) == 0);
    CHECK(siblings_join(&s->other, dup(siblings_table(s->table)),
                        dup(siblings_bell(s->table)), 1) == 0);
    siblings_listening(s->other);
    listen_for_queue(&s->set);
    CHECK(accept_start(w->g, &s->set) == 0);
    CHECK(accept_share(w->g, s->mine) == 0);
    while (door_places(w->door) > CLIENTS / 8 + 1)
        CHECK(door_enter(w->door));
}

static void shared_fini(struct shared *s)
{
    queue.came = queue.most = 0;
    siblings_free(s->other);
    siblings_free(s->mine);
    siblings_free(s->table);
}

TEST(who_leaves_the_port_does_not_wait_for_the_end_of_a_queue)
{
    struct world *w = world();
    struct shared s;

    share_port(&s, w);
    queue.most = 4096;
    next_of_queue();
    turn(w);
    EXPECT(w->g->accepting.left);
    EXPECT(queue.came > 1 && queue.came < queue.most / 2);
    world_free(w);
    shared_fini(&s);
}

static bool listens(int fd)
{
    int on = 0;
    socklen_t len = sizeof on;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

TEST(a_socket_that_does_not_listen_again_is_tried_each_second)
{
    struct world *w;
    struct shared s;
    int fd, whole, none;

    clock_fake(0, 0);
    w = world();
    share_port(&s, w);
    queue.most = 2;
    next_of_queue();
    turn(w);
    fd = accept_address(w->g, 0)->fd;
    whole = dup(fd);
    EXPECT(w->g->accepting.left && !listens(fd));
    none = open("/dev/null", O_RDONLY);
    CHECK(dup2(none, fd) == fd);
    (void)siblings_judge(s.other, 0, CLIENTS); /* it has less room than we */
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_LISTEN_FAILED), 1);
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_LISTEN_FAILED), 2);
    EXPECT_INT(stat_get(&w->g->stats, STAT_ACCEPT_AWAY), 1);
    CHECK(dup2(whole, fd) == fd);
    clock_fake_advance(SECOND);
    turn(w);
    EXPECT(listens(fd));
    EXPECT_INT(stat_get(&w->g->stats, STAT_LISTEN_FAILED), 2);
    EXPECT_INT(stat_get(&w->g->stats, STAT_ACCEPT_AWAY), 0);
    close(none);
    close(whole);
    world_free(w);
    shared_fini(&s);
}

/* ---- canaries ----------------------------------------------------------- */

/* Canaries go from here on, over a link that is up. */
static void send_canaries(struct world *w)
{
    clock_fake(clock_ns(), clock_wall_ms());
    w->cfg->process.canary = 2 * SECOND;
    canary_start(&w->g->canary, w->g);
    turn(w);
}

static void hear_canary(struct world *w, uint64_t number)
{
    struct buf b = BUF_INIT;

    put_u64(&b, number);
    hear(FRAME_CANARY_BACK, &b);
    turn(w);
}

static void pass(struct world *w, int64_t ns)
{
    clock_fake_advance(ns);
    turn(w);
}

TEST(a_canary_goes_every_two_seconds_and_comes_home)
{
    struct world *w = world();

    send_canaries(w);
    said("CANARY ");
    EXPECT(!canary_late(w->g));
    pass(w, 3 * MILLISECOND);
    EXPECT_INT(canary_away_ns(&w->g->canary, clock_ns()), 3 * MILLISECOND);
    hear_canary(w, 1);
    EXPECT_INT(canary_away_ns(&w->g->canary, clock_ns()), 0);
    EXPECT_INT(w->g->canary.took_ns, 3 * MILLISECOND);
    for (uint64_t i = 2; i < 10; i++) {
        pass(w, 2 * SECOND);
        EXPECT_INT(w->g->canary.number, i);
        hear_canary(w, i);
    }
    EXPECT(!gateway_mute(w->g));
    clock_real();
    world_free(w);
}

TEST(a_canary_that_does_not_come_is_sent_again_and_makes_the_gateway_mute)
{
    struct world *w = world();

    send_canaries(w);
    for (int i = 0; i < 5; i++)
        pass(w, SECOND);
    EXPECT(gateway_linked(w->g) && !gateway_mute(w->g));
    hear_canary(w, 2); /* nobody sent it */
    EXPECT(!gateway_mute(w->g));
    pass(w, SECOND);
    EXPECT(gateway_linked(w->g) && gateway_mute(w->g));
    EXPECT_INT(w->g->canary.number, 1);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CANARY_LATE), 1);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CANARY_AWAY), 6000000);
    hear_canary(w, 1);
    EXPECT(!gateway_mute(w->g));
    EXPECT_INT(w->g->canary.took_ns, 6 * SECOND);
    hear_canary(w, 1);
    pass(w, 2 * SECOND);
    EXPECT_INT(w->g->canary.number, 2);
    EXPECT_INT(stat_get(&w->g->stats, STAT_CANARY_LATE), 1);
    clock_real();
    world_free(w);
}

TEST(the_time_runs_on_while_the_link_is_down)
{
    struct world *w = world();

    send_canaries(w);
    hear_canary(w, 1);
    link_.ops.pipe.down(link_.ctx, "gone");
    buf_reset(&link_.said);
    for (int i = 0; i < 4; i++)
        pass(w, SECOND);
    EXPECT_INT(canary_away_ns(&w->g->canary, clock_ns()), 4 * SECOND);
    EXPECT_STR(buf_text(&link_.said), "");
    hear_welcome("e", 1, 100);
    said("HELLO SYNCED CANARY ");
    hear_resynced(100);
    pass(w, 2 * SECOND);
    EXPECT(gateway_mute(w->g));
    hear_canary(w, 1); /* of before */
    EXPECT(gateway_mute(w->g));
    hear_canary(w, 2);
    EXPECT(!gateway_mute(w->g));
    clock_real();
    world_free(w);
}

TEST(a_canary_is_home_when_the_readers_in_front_of_it_have_been_served)
{
    enum { READERS = 40 };
    struct world *w = world();

    for (unsigned i = 0; i < READERS; i++)
        (void)watcher(w);
    for (unsigned i = 0; i < READERS; i++)
        drain(w, i);
    send_canaries(w);
    hear_message("a", 101, "x");
    w->g->canary.back = true;
    w->g->canary.tick = ring_end(&w->g->ring);
    canary_turn(w->g); /* a visit is under way */
    EXPECT(w->g->canary.back);
    turn(w);
    EXPECT(!w->g->canary.back);
    EXPECT_INT(stat_get(&w->g->stats, STAT_DELIVERED), READERS);
    clock_real();
    world_free(w);
}

/* ---- slow turns --------------------------------------------------------- */

static void dawdle(void *ctx)
{
    UNUSED(ctx);
    clock_fake_advance(70 * MILLISECOND);
}

TEST(a_turn_that_takes_long_is_counted)
{
    struct world *w = world();
    struct loop_timer t;

    clock_fake(clock_ns(), clock_wall_ms());
    loop_timer_init(&t, w->g->loop, dawdle, NULL);
    loop_timer_set(&t, 0);
    turn(w);
    EXPECT_INT(stat_get(&w->g->stats, STAT_SLOW_TURNS), 1);
    EXPECT_INT(stat_get(&w->g->stats, STAT_SLOW_TURN_MS), 70);
    clock_real();
    world_free(w);
}
