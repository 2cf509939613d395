/* The common half of a gateway against a naive model, by chance: clients come,
 * subscribe, stall, read on, leave and resume; a router of a few lines loses
 * its link and dies, and may come back with another history, cannot read pages
 * and refuses logins; memory runs out; the configuration is read again; the
 * gateway hands all of it to a successor. Every client checks, line by line,
 * that it gets exactly what it is due: in order, each once, and nothing missing
 * that a gap has not told; that what a gap tells is what it does not get, one
 * for one, and may be left out by the namespace's policy; and that where it is
 * said to be when it is given up it has everything, and hears nothing more.
 * T_SEED repeats a run. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "gateways/common/catchup.h"
#include "gateways/common/core.h"
#include "gateways/common/freeze.h"
#include "gateways/common/uplink.h"
#include "proto/frame_io.h"
#include "tests/t/t.h"
#include "tests/t/quiet_link.h"

enum {
    CLIENTS = 24,
    LOG_MAX = 1 << 16,
    NAMES = 12, /* ids and patterns */
    IDS = 8,    /* the first so many of them */
    STORED = 6, /* the first so many of those */
    REFS = 1 << 15,
    GAPS = 64, /* remembered for each channel */
    KEYS = 4,
    TRIMMED = 4, /* the first so many ids, but for the first, keep few */
    KEPT = 6,    /* messages, at most */
};

/* By prefix; drawn at the beginning. */
static const char *const prefixes[] = {"", "x/", "user/", "volatile/"};
static const char *const policies[] = {"cut", "drop-oldest", "conflate"};

static const char *const names[NAMES] = {
    "a", "b", "x/1", "x/2", "x/y/3", "user/42",
    "volatile/1", "volatile/2",
    "x/*", "x/**", "user/*", "volatile/*",
};

static unsigned chance(unsigned of)
{
    return (unsigned)(test_random() % of);
}

static struct slice name_of(unsigned n)
{
    return slice_str(names[n]);
}

static bool hears(unsigned name, unsigned id)
{
    return name == id ||
           (name >= IDS && pattern_matches(name_of(name), name_of(id)));
}

static unsigned name_find(struct slice text)
{
    for (unsigned n = 0; n < NAMES; n++)
        if (slice_eq(text, name_of(n)))
            return n;
    CHECK(false);
    return 0;
}

/* ---- the router ---------------------------------------------------------- */

struct said_frame {
    struct said_frame *next;
    uint8_t code;
    struct buf body;
};

struct said_queue {
    struct said_frame *first, **end;
};

static struct {
    struct joiner_ops ops;
    void *ctx;
    struct said_queue in, out; /* from the gateway, to it */
    struct said_frame *open;   /* being written by the gateway */
    bool up, broken, calm; /* calm: nothing fails */
    bool resyncing, synced; /* the LOGINs said again, and SYNCED, have come */
    uint64_t life, seq, offset[IDS];
    bool leaf[NAMES]; /* the link has one */
    unsigned refuses; /* the name that it has no room for while the link comes
                         back; NAMES: none */
    uint64_t trimmed_seq[IDS], trimmed_offset[IDS];
    uint64_t gone[IDS]; /* offset of the newest trimmed in whatever epoch */
    struct entry {
        unsigned id;
        uint64_t seq, offset;
        unsigned policies; /* bits: what it was under since it was said */
        bool gone; /* trimmed */
    } log[LOG_MAX];
    unsigned count, begun; /* of them, those of other epochs */
    char epoch[2];
} router;

/* Memory that test_fail_malloc_after() spares. */
static struct said_frame *said_new(uint8_t code)
{
    struct said_frame *f;
    void *p;

    CHECK(posix_memalign(&p, sizeof(void *), sizeof *f) == 0);
    f = p;
    *f = (struct said_frame){.code = code};
    return f;
}

static struct said_frame *queue_add(struct said_queue *q, struct said_frame *f)
{
    if (!q->first)
        q->end = &q->first;
    *q->end = f;
    q->end = &f->next;
    return f;
}

static struct said_frame *queue_take(struct said_queue *q)
{
    struct said_frame *f = q->first;

    if (f)
        q->first = f->next;
    return f;
}

static void said_free(struct said_frame *f)
{
    buf_fini(&f->body);
    free(f);
}

static void queue_clear(struct said_queue *q)
{
    struct said_frame *f;

    while ((f = queue_take(q)))
        said_free(f);
}

int joiner_open(struct joiner **ret, struct loop *loop,
                const struct joiner_options *options,
                const struct joiner_ops *ops, void *ctx)
{
    UNUSED(loop);
    UNUSED(options);
    router.ops = *ops;
    router.ctx = ctx;
    *ret = (struct joiner *)(void *)&router;
    return 0;
}

void joiner_close(struct joiner *j)
{
    UNUSED(j);
}

bool pipe_is_up(const struct pipe *p)
{
    UNUSED(p);
    return router.up && !router.broken;
}

void pipe_beat(struct pipe *p)
{
    UNUSED(p);
}

struct buf *pipe_frame(struct pipe *p, uint8_t code)
{
    UNUSED(p);
    router.open = said_new(code);
    return &router.open->body;
}

void pipe_frame_end(struct pipe *p)
{
    UNUSED(p);
    router.broken |= router.open->body.failed;
    if (router.broken) {
        said_free(router.open);
        return;
    }
    EXPECT_INT(frame_check(router.open->code, SENDER_GATEWAY,
                           router.open->body.len), 0);
    queue_add(&router.in, router.open);
}

void pipe_break(struct pipe *p, const char *why)
{
    UNUSED(p);
    UNUSED(why);
    router.broken = true;
}

static struct buf *answer(uint8_t code)
{
    return &queue_add(&router.out, said_new(code))->body;
}

/* So rarely, and never while all is to come to rest. */
static bool fails(unsigned of)
{
    return !router.calm && chance(of) == 0;
}

/* What a message weighs, and its key: what its seq makes of it. */
static uint8_t weight_of(const struct entry *e)
{
    return (uint8_t)(e->seq % 5 == 4 ? 0 : e->seq % 5 << 3) & MSG_WEIGHT;
}

static struct slice key_of(const struct entry *e)
{
    static const char *const keys[KEYS] = {"", "home", "visit", "ball"};

    return slice_str(keys[e->seq * 7 / 3 % KEYS]);
}

/* Room for the cursor, and for what is in `pad`: long enough to stall on. */
static struct msg_parts parts_of(unsigned entry)
{
    static char pad[700];
    unsigned id = router.log[entry].id;

    memset(pad, 'x', sizeof pad);
    return (struct msg_parts){
        .flags = (uint8_t)((id < STORED ? MSG_STORED : 0) |
                           weight_of(&router.log[entry])),
        .key = key_of(&router.log[entry]),
        .seq = router.log[entry].seq,
        .offset = router.log[entry].offset,
        .id = name_of(id),
        .data = slice_make(pad, router.log[entry].seq % sizeof pad),
    };
}

static void send_entry(unsigned entry)
{
    const struct msg_parts p = parts_of(entry);

    for (unsigned n = 0; n < NAMES; n++)
        if (router.leaf[n] && hears(n, router.log[entry].id)) {
            frame_write_deliver(answer(FRAME_DELIVER), &p);
            return;
        }
}

static unsigned policy_of(unsigned id);

static void publish(unsigned id)
{
    unsigned entry = router.count;

    if (entry == LOG_MAX)
        return;
    router.count++;
    router.log[entry].id = id;
    router.log[entry].seq = ++router.seq;
    router.log[entry].offset = ++router.offset[id];
    router.log[entry].policies = 1u << policy_of(id);
    if (router.synced)
        send_entry(entry);
}

/* The store keeps so many of it. */
static void trim(unsigned id, unsigned kept)
{
    for (unsigned i = router.count; i > router.begun; i--) {
        struct entry *e = &router.log[i - 1];

        if (e->id != id)
            continue;
        if (e->gone)
            return;
        if (kept) {
            kept--;
            continue;
        }
        e->gone = true;
        router.trimmed_seq[id] = MAX(router.trimmed_seq[id], e->seq);
        router.trimmed_offset[id] = MAX(router.trimmed_offset[id], e->offset);
        router.gone[id] = MAX(router.gone[id], e->offset);
    }
}

static void trim_some(void)
{
    trim(1 + chance(TRIMMED - 1), chance(KEPT));
}

static void on_login(struct slice body)
{
    struct frame_login in;
    struct frame_logged_in out = {0};
    struct login_id id;
    struct buf *b;

    EXPECT_INT(frame_read_login(body, &in), 0);
    out.conn = in.conn;
    out.gen = in.gen;
    out.flags = in.flags;
    out.count = in.count;
    router.resyncing |= in.flags & LOGIN_RESYNC;
    out.seq = router.seq;
    b = answer(FRAME_LOGGED_IN);
    frame_write_logged_in(b, &out);
    while (in.count--) {
        struct logged_in_id says = {0};
        unsigned n;

        EXPECT_INT(frame_next_login_id(&in, &id), 0);
        n = name_find(id.id);
        says.id = id.id;
        if (in.flags & LOGIN_RESYNC ? n == router.refuses : fails(20)) {
            says.flags = ID_REFUSED | (chance(2) ? ID_NO_ROOM : 0);
            frame_write_logged_in_id(b, &says);
            continue;
        }
        router.leaf[n] = true;
        says.flags = n >= STORED && n < IDS ? ID_VOLATILE : 0;
        for (unsigned i = router.begun; n < IDS && i < router.count; i++)
            if (router.log[i].id == n && router.offset[n]) {
                says.last_seq = router.log[i].seq;
                says.last_offset = router.log[i].offset;
            }
        if (n < IDS) {
            says.trimmed_seq = router.trimmed_seq[n];
            says.trimmed_offset = router.trimmed_offset[n];
        }
        frame_write_logged_in_id(b, &says);
    }
}

static void on_logout(struct slice body)
{
    struct frame_logout in;
    struct logout_id id;

    EXPECT_INT(frame_read_logout(body, &in), 0);
    while (in.count--) {
        EXPECT_INT(frame_next_logout_id(&in, &id), 0);
        if (id.release)
            router.leaf[name_find(id.id)] = false;
    }
}

/* Out of the store, of the names that are wanted: what was trimmed stands as a
 * hole in front of the first message behind it, read message by message while
 * trimming may go on. */
struct reading {
    const bool *wanted;
    uint64_t after;
    uint32_t ref; /* 0: the link's stream */
    uint64_t given[IDS], told[IDS]; /* offsets: of rows, of holes */
};

static bool is_wanted(const struct reading *r, unsigned id)
{
    bool wanted = false;

    for (unsigned n = 0; n < NAMES; n++)
        wanted |= r->wanted[n] && hears(n, id);
    return wanted && id < STORED;
}

static void give_holes(struct reading *r)
{
    for (unsigned id = 1; id < TRIMMED; id++) {
        struct frame_hole h = {.ref = r->ref, .why = HOLE_TRIMMED,
                               .seq = router.trimmed_seq[id],
                               .to = router.trimmed_offset[id],
                               .id = name_of(id)};

        if (!is_wanted(r, id) || h.seq <= r->after ||
            h.to <= MAX(r->given[id], r->told[id]))
            continue;
        h.from = r->given[id] ? MAX(r->given[id], r->told[id]) + 1 : 0;
        r->told[id] = h.to;
        frame_write_hole(answer(FRAME_HOLE), &h);
    }
}

static void give_entry(struct reading *r, unsigned entry)
{
    const struct msg_parts p = parts_of(entry);

    if (r->ref)
        frame_write_row(answer(FRAME_ROW), r->ref, &p);
    else
        frame_write_deliver(answer(FRAME_DELIVER), &p);
    r->given[router.log[entry].id] = p.offset;
}

/* Up to so many rows. True: there may be more, behind *upto. */
static bool read_on(struct reading *r, unsigned limit, uint64_t *upto)
{
    unsigned rows = 0;

    *upto = router.seq;
    for (unsigned i = router.begun; i < router.count; i++) {
        const struct entry *e = &router.log[i];

        if (e->seq <= r->after || e->seq > *upto || !is_wanted(r, e->id))
            continue;
        if (chance(15) == 0)
            trim_some();
        give_holes(r);
        if (e->gone)
            continue;
        give_entry(r, i);
        if (++rows == limit) {
            *upto = e->seq;
            give_holes(r);
            return true;
        }
    }
    give_holes(r);
    return false;
}

/* What the link has missed. */
static void on_synced(struct slice body)
{
    struct cursor c = cursor_init(body);
    struct reading r = {.wanted = router.leaf, .after = cursor_u64(&c)};
    uint64_t upto;

    (void)read_on(&r, LOG_MAX, &upto);
    put_u64(answer(FRAME_RESYNCED), router.seq);
    router.synced = true;
    router.resyncing = false;
}

static void on_fetch(struct slice body)
{
    struct frame_page_end end = {.upto = router.seq};
    struct frame_fetch in;
    struct slice id;
    bool wanted[NAMES] = {false};
    struct reading r = {.wanted = wanted};
    bool unread = fails(4);

    EXPECT_INT(frame_read_fetch(body, &in), 0);
    while (in.count--) {
        EXPECT_INT(frame_next_fetch_id(&in, &id), 0);
        wanted[name_find(id)] = true;
    }
    r.after = in.after;
    r.ref = end.ref = in.ref;
    if (!unread)
        end.more = read_on(&r, in.limit, &end.upto);
    end.status = unread ? (uint8_t)-ERR_IO : 0;
    frame_write_page_end(answer(FRAME_PAGE_END), &end);
}

static void welcome(void)
{
    const struct frame_welcome f = {.life = router.life, .seq = router.seq,
                                    .resync = 1,
                                    .epoch = slice_str(router.epoch)};

    frame_write_welcome(answer(FRAME_WELCOME), &f);
}

/* The oldest frame of the gateway. False: there is none. */
static bool router_step(void)
{
    struct said_frame *f = queue_take(&router.in);
    struct slice body;

    if (!f)
        return false;
    body = buf_slice(&f->body);
    if (f->code == FRAME_HELLO)
        welcome();
    else if (f->code == FRAME_LOGIN)
        on_login(body);
    else if (f->code == FRAME_LOGOUT)
        on_logout(body);
    else if (f->code == FRAME_RELEASE)
        router.leaf[name_find(slice_from(body, 1))] = false;
    else if (f->code == FRAME_SYNCED)
        on_synced(body);
    else if (f->code == FRAME_FETCH)
        on_fetch(body);
    else
        CHECK(f->code == FRAME_STATS);
    said_free(f);
    return true;
}

/* Up to max frames, in one batch. */
static void gateway_hears(unsigned max)
{
    struct said_frame *f;

    while (max-- && router.up && !router.broken &&
           (f = queue_take(&router.out))) {
        int rc = router.ops.pipe.frame(router.ctx, f->code,
                                       buf_slice(&f->body));

        CHECK(rc == 0 || rc == ERR_NOMEM);
        router.broken |= rc < 0;
        said_free(f);
    }
    if (router.up && !router.broken)
        router.ops.pipe.batch_end(router.ctx, 0);
}

/* A copy of the store from before, say. */
static void begin_epoch(void)
{
    router.epoch[0]++;
    router.begun = router.count;
    memset(router.trimmed_seq, 0, sizeof router.trimmed_seq);
    memset(router.trimmed_offset, 0, sizeof router.trimmed_offset);
}

static void link_down(bool died)
{
    if (!router.up)
        return;
    router.up = router.synced = router.resyncing = router.broken = false;
    router.ops.pipe.down(router.ctx, "chance");
    queue_clear(&router.in);
    queue_clear(&router.out);
    memset(router.leaf, 0, sizeof router.leaf);
    if (!died)
        return;
    router.life++;
    router.seq += 1000;
    for (unsigned id = STORED; id < IDS; id++)
        router.offset[id] = 0;
    if (chance(3) == 0)
        begin_epoch();
}

static void link_up(void)
{
    if (router.up)
        return;
    router.up = true;
    router.refuses = fails(3) ? chance(NAMES) : NAMES;
    router.ops.pipe.up(router.ctx);
}

/* ---- the edge: a line for everything ------------------------------------ */

struct model_edge {
    bool given_up;
    uint32_t said; /* messages that are on their way */
};

static uint32_t opened_last; /* its number */

static void opened(struct conn *c)
{
    opened_last = c->number;
}

static struct slice busy(const struct gateway *g)
{
    UNUSED(g);
    return SLICE("busy\n");
}

static ssize_t input(struct conn *c, struct slice bytes)
{
    UNUSED(c);
    return (ssize_t)bytes.len;
}

static void nothing(struct conn *c)
{
    UNUSED(c);
}

static void end(struct conn *c)
{
    conn_close(c, "end");
}

static void subscribed(struct conn *c, uint32_t ref)
{
    buf_addf(conn_out(c), "sub %u\n", ref);
}

static void started(struct conn *c, uint32_t ref)
{
    buf_addf(conn_out(c), "start %u %" PRIu64 "\n", ref,
             conn_gateway(c)->seq);
}

static void subscribe_failed(struct conn *c, uint32_t ref, const char *code,
                             struct slice text)
{
    UNUSED(text);
    EXPECT(strcmp(code, "router.memory") == 0 ||
           strcmp(code, "channels.full") == 0);
    buf_addf(conn_out(c), "failed %u\n", ref);
}

static void notice(struct conn *c, const struct notice *n)
{
    for (unsigned i = 0; i < n->count; i++) {
        buf_addf(conn_out(c), "%s " SLICE_FMT " " SLICE_FMT " %s %" PRIu64
                 " %" PRIu64 " %" PRIu64 "\n",
                 notice_text(n->kind), SLICE_ARG(n->channels[i]),
                 SLICE_ARG(n->cursor.len ? n->cursor : SLICE("-0")),
                 n->kind == NOTICE_GAP ? gap_why_text(n->why) : "-",
                 n->from, n->to, n->missed);
    }
}

/* Messages are counted for each connection, so that what an edge is told of
 * their way (taken) is checked by every line. */
static void put_number(struct conn *c, struct outvec *v)
{
    const struct model_edge *e = conn_edge(c);
    char text[32];
    int len = snprintf(text, sizeof text, "message %" PRIu32 " ",
                       e->said + outvec_messages(v) + 1);

    memcpy(outvec_scratch(v, (size_t)len), text, (size_t)len);
}

static void taken(struct conn *c, unsigned messages)
{
    struct model_edge *e = conn_edge(c);

    e->said += messages;
}

static enum put_result put(struct conn *c, struct msg *m, unsigned flags,
                           struct outvec *v)
{
    if (!m->forms[0]) {
        struct buf text = BUF_INIT;

        buf_addf(&text, SLICE_FMT " %" PRIu64 " " SLICE_FMT "\n",
                 SLICE_ARG(m->id), m->seq, SLICE_ARG(m->data));
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
        memcpy(outvec_scratch(v, 7), "replay ", 7);
    else
        put_number(c, v);
    outvec_wire(v, m->forms[0]);
    return PUT_OK;
}

static bool at_rest(struct conn *c)
{
    UNUSED(c);
    return true;
}

static void freeze(struct conn *c, struct buf *b)
{
    const struct model_edge *e = conn_edge(c);

    put_u8(b, e->given_up);
    put_u32(b, e->said);
}

static int thaw(struct conn *c, struct cursor *in)
{
    struct model_edge *e = conn_edge(c);

    e->given_up = cursor_u8(in);
    e->said = cursor_u32(in);
    return in->failed ? ERR_FRAME : 0;
}

/* Half of the time there is something to answer first; meanwhile it takes no
 * command any more. */
static void give_up(struct conn *c, const struct give_up *why)
{
    struct model_edge *e = conn_edge(c);

    e->given_up = true;
    buf_addf(conn_out(c), "lost " SLICE_FMT "\n", SLICE_ARG(conn_cursor(c)));
    if (chance(2))
        conn_close(c, why->word);
}

static const struct edge edge = {
    .name = "tcp",
    .scheme = "tcp",
    .conn_bytes = sizeof(struct model_edge),
    .opened = opened,
    .busy = busy,
    .input = input,
    .input_end = end,
    .deadline = nothing,
    .ping = nothing,
    .closed = nothing,
    .drain = end,
    .kicked = nothing,
    .give_up = give_up,
    .subscribed = subscribed,
    .started = started,
    .subscribe_failed = subscribe_failed,
    .notice = notice,
    .put = put,
    .taken = taken,
    .at_rest = at_rest,
    .freeze = freeze,
    .thaw = thaw,
};

/* ---- the clients -------------------------------------------------------- */

enum channel_state {
    OUT,
    ASKED,   /* fresh: everything behind its snapshot is due */
    REPLAYS, /* resumed: everything behind `seq` is due */
    HELD,
};

/* A gap of a reader that did not keep up, and still reads. */
struct left_out {
    uint64_t from, to; /* 0: of a pattern */
    bool conflated;
};

struct channel {
    enum channel_state state;
    struct left_out gaps[GAPS];
    unsigned gap_count;
    unsigned gap_first; /* of those told since it is held */
    uint64_t told, seen; /* messages: missing by gaps, and found missing */
    bool fuzzy; /* a pattern, some of whose ids were held besides */
    uint32_t ref; /* of the subscription that made it ASKED or REPLAYS */
    uint64_t seq; /* has everything up to here */
    bool gap;     /* told that what has no history may be missing */
};

/* What it has been told to be trimmed of an id; to 0: nothing. */
struct trimmed {
    uint64_t from, to;
    bool open; /* nothing of it has been found missing yet */
};

struct client {
    int fd;
    uint32_t number, gen;
    bool open, stalled;
    bool lost;    /* given up: nothing more comes */
    uint32_t heard; /* messages, replayed ones apart */
    uint64_t seq; /* of the newest message in the stream */
    struct channel *starting; /* subscribed, and not started yet; NULL also
                                 when what starts was said again, or left */
    char rest[2048]; /* a line that is not whole yet */
    size_t rest_len;
    struct channel channels[NAMES];
    struct trimmed trimmed[2][IDS]; /* in the stream; beside it, in a replay */
    struct channel silent[IDS]; /* without history: what is heard of each id,
                                   by whatever channel */
};

static struct {
    struct config *cfg;
    struct door *door;
    struct gateway *g;
    struct client clients[CLIENTS];
    unsigned of_ref[REFS]; /* the channel that was asked for */
    uint32_t refs;
    uint64_t messages, replayed, gaps, closed; /* so many of each */
    uint64_t handed, paging; /* handed over: gateways; who was reading pages */
    uint64_t starved; /* not handed over, for want of memory */
    uint64_t left_out, conflated;
    uint64_t epochs;   /* gaps for another one */
    uint64_t reloads;
    uint64_t lost, refused, nomem; /* given up; refused by the router, or for
                                      want of memory here */
    uint64_t trimmed; /* gaps */
} world;

static struct conn *conn_of(const struct client *k)
{
    struct conn *c = k->open ? conn_by_name(world.g, k->number, k->gen)
                             : NULL;

    const struct model_edge *e = c ? conn_edge(c) : NULL;

    return c && !conn_closing(c) && !e->given_up ? c : NULL;
}

static unsigned policy_of(unsigned id)
{
    return (unsigned)config_namespace(world.cfg, name_of(id))->slow;
}

/* By which it gives way to a newer one: of conflated ids. */
static bool same_key(const struct entry *a, const struct entry *b)
{
    bool state = weight_of(a) == WEIGHT_STATE;

    if (a->id != b->id || state != (weight_of(b) == WEIGHT_STATE))
        return false;
    return state || (weight_of(a) == WEIGHT_KEYED &&
                     weight_of(b) == WEIGHT_KEYED && key_of(a).len &&
                     slice_eq(key_of(a), key_of(b)));
}

/* Does the namespace, or did it, let a reader do without it? */
static bool may_be_left_out(unsigned entry)
{
    const struct entry *e = &router.log[entry];

    if (!(e->policies & 1u << SLOW_CONFLATE))
        return e->policies & 1u << SLOW_DROP_OLDEST;
    if (e->policies & 1u << SLOW_DROP_OLDEST)
        return true;
    if (weight_of(e) == WEIGHT_LESSER)
        return true;
    for (unsigned i = entry + 1; i < router.count; i++)
        if (same_key(e, &router.log[i]))
            return true;
    return false;
}

/* Has a gap said so? */
static bool was_told(const struct client *k, const struct entry *e)
{
    for (unsigned n = 0; n < NAMES; n++)
        for (unsigned i = 0; hears(n, e->id) &&
                             i < MIN(k->channels[n].gap_count,
                                     (unsigned)GAPS); i++) {
            const struct left_out *g = &k->channels[n].gaps[i];

            if (!g->from || (g->from <= e->offset && e->offset <= g->to))
                return true;
        }
    return false;
}

/* Has it been told to be trimmed, and is it? */
static bool was_trimmed(struct client *k, const struct entry *e)
{
    bool told = false;

    for (unsigned i = 0; e->gone && i < 2; i++) {
        struct trimmed *t = &k->trimmed[i][e->id];

        if (e->offset > t->to || e->offset < t->from)
            continue;
        t->open = false;
        told = true;
    }
    return told;
}

/* It did not come. True: a reader that did not keep up does without it. */
static bool check_missing(struct client *k, struct channel *ch,
                          unsigned name, unsigned entry, uint64_t upto)
{
    const struct entry *e = &router.log[entry];

    if (was_trimmed(k, e)) {
        ch->fuzzy |= was_told(k, e);
        return false;
    }
    if (!was_told(k, e) || !may_be_left_out(entry))
        test_fail(__FILE__, __LINE__,
                  "client %d misses %s %" PRIu64 " (%" PRIu64 "), policy %s, "
                  "weight %u, of %s (has %" PRIu64
                  ", state %d) before %" PRIu64,
                  (int)(k - world.clients), names[e->id], e->seq, e->offset,
                  policies[policy_of(e->id)], weight_of(e), names[name],
                  ch->seq, ch->state, upto);
    return true;
}

/* Nothing up to `upto` is missing of what is behind ch->seq, but what was told. */
static void check_whole(struct client *k, struct channel *ch,
                        unsigned name, uint64_t upto, unsigned from_id,
                        unsigned to_id)
{
    unsigned i = router.count;

    while (i && router.log[i - 1].seq > ch->seq)
        i--;
    for (; i < router.count && router.log[i].seq <= upto; i++) {
        const struct entry *e = &router.log[i];

        if (i < router.begun || e->id < from_id || e->id >= to_id ||
            !hears(name, e->id))
            continue;
        if (check_missing(k, ch, name, i, upto) &&
            (name == e->id || k->channels[e->id].state == OUT))
            ch->seen++;
    }
}

/* What is kept. */
static void check_kept(struct client *k, unsigned name, uint64_t upto)
{
    struct channel *ch = &k->channels[name];

    check_whole(k, ch, name, upto, 0, STORED);
    ch->seq = MAX(ch->seq, upto);
}

/* Patterns that hear the id: by which channel it misses something changes. */
static void blur(struct client *k, unsigned name)
{
    for (unsigned n = 0; n < NAMES; n++)
        k->channels[n].fuzzy |= n != name && name < IDS && hears(n, name);
}

/* The channel counts, and has everything up to its seq. */
static void hold(struct client *k, unsigned name, uint64_t seq)
{
    struct channel *ch = &k->channels[name];

    blur(k, name);
    ch->told = ch->seen = 0;
    ch->fuzzy = name >= IDS;
    ch->state = HELD;
    for (unsigned id = STORED; id < IDS; id++) {
        struct channel *silent = &k->silent[id];

        if (!hears(name, id))
            continue;
        if (silent->state == OUT)
            *silent = *ch;
        silent->gap |= ch->gap;
        if (silent->gap) /* it may have been anything up to there */
            silent->seq = MAX(silent->seq, seq);
    }
    ch->gap = false;
}

/* A channel that hears id is left: what is missing will not be looked for. */
static void forget_trimmed(struct client *k, unsigned id)
{
    bool heard = false;

    for (unsigned n = 0; n < NAMES; n++)
        heard |= k->channels[n].state != OUT && hears(n, id);
    for (unsigned i = 0; i < 2; i++) {
        k->trimmed[i][id].open = false;
        if (!heard)
            k->trimmed[i][id].to = 0;
    }
}

static void leave(struct client *k, unsigned name)
{
    blur(k, name);
    k->channels[name].gap_first = k->channels[name].gap_count;
    k->channels[name].state = OUT;
    k->channels[name].seq = k->channels[name].ref = 0;
    k->channels[name].gap = false;
    for (unsigned id = 0; id < STORED; id++)
        if (hears(name, id))
            forget_trimmed(k, id);
    for (unsigned id = STORED; id < IDS; id++) {
        bool held = false;

        for (unsigned n = 0; n < NAMES; n++)
            held |= k->channels[n].state == HELD && hears(n, id);
        if (!held)
            k->silent[id].state = OUT;
    }
}

/* Then what is resumed comes beside that, as a replay. */
static bool holds_some(const struct client *k)
{
    for (unsigned n = 0; n < NAMES; n++)
        if (k->channels[n].state == HELD)
            return true;
    return false;
}

/* One that the start under way was due. */
static bool resumes(struct client *k, unsigned id, uint64_t seq, bool replay)
{
    struct channel *ch = k->starting;
    unsigned name = (unsigned)(ch - k->channels);

    if (!ch || ch->state != REPLAYS || !hears(name, id) || ch->seq >= seq ||
        (!replay && holds_some(k)))
        return false;
    check_whole(k, ch, name, seq - 1, 0, ch->gap ? STORED : IDS);
    ch->seq = seq;
    return true;
}

static bool is_held(struct client *k, unsigned id, uint64_t seq)
{
    bool wanted = false;
    unsigned held = 0;

    for (unsigned n = 0; n < NAMES; n++) {
        struct channel *ch = &k->channels[n];

        if (ch->state != HELD)
            continue;
        check_kept(k, n, seq - 1);
        held += hears(n, id);
        wanted |= hears(n, id) && ch->seq < seq;
        ch->seq = MAX(ch->seq, seq);
    }
    if (wanted && id >= STORED) {
        struct channel *silent = &k->silent[id];

        /* Held twice, the gap of one may follow what the other brings. */
        if (!silent->gap && held == 1)
            check_whole(k, silent, id, seq - 1, id, id + 1);
        silent->seq = MAX(silent->seq, seq);
        silent->gap = false;
    }
    return wanted;
}

/* The newest of these; volatile offsets come again. */
static const struct entry *entry_of(unsigned id, uint64_t offset)
{
    for (unsigned i = router.count; i-- > 0;)
        if (router.log[i].id == id && router.log[i].offset == offset)
            return &router.log[i];
    CHECK(false);
    return NULL;
}

/* The ends of a gap are missing: they are not behind what came before it. And
 * it counts what lies between them: all of it when nobody chose; or it does not
 * count, because some of that has been trimmed. */
static void check_gap(const struct client *k, unsigned id,
                      const struct left_out *g, uint64_t count)
{
    uint64_t most = g->to - g->from + 1;

    if (id >= STORED || !g->from)
        return;
    if (entry_of(id, g->from)->seq <= k->seq || g->to < g->from ||
        (count == 0 && !router.gone[id]) || count > most ||
        (count && entry_of(id, g->from)->policies == 1u << SLOW_CUT &&
         count != most))
        test_fail(__FILE__, __LINE__, "client %d: %" PRIu64 "-%" PRIu64
                  " (%" PRIu64 ") of %s, policy %s, told behind %" PRIu64,
                  (int)(k - world.clients), g->from, g->to, count, names[id],
                  policies[policy_of(id)], k->seq);
}

/* The ends of a gap do not come behind it. */
static void check_not_told(const struct client *k, unsigned id, uint64_t seq)
{
    const struct channel *ch = &k->channels[id];
    unsigned i = ch->gap_count > ch->gap_first + GAPS ? ch->gap_count - GAPS
                                                      : ch->gap_first;

    for (; id < STORED && ch->state == HELD && i < ch->gap_count; i++) {
        const struct left_out *g = &ch->gaps[i % GAPS];

        if (entry_of(id, g->from)->seq == seq ||
            entry_of(id, g->to)->seq == seq)
            test_fail(__FILE__, __LINE__, "client %d: %s %" PRIu64
                      " comes, and was said to be missing",
                      (int)(k - world.clients), names[id], seq);
    }
}

/* Of what has been told to be trimmed something was missing, and none comes. */
static void check_trimmed(const struct client *k, unsigned id, uint64_t seq)
{
    const struct trimmed *t = &k->trimmed[0][id];
    const struct entry *e = &router.log[0];

    while (e->seq != seq)
        e++;
    if (e < &router.log[router.begun])
        return; /* what is missing of another epoch is not looked for */
    if (e->offset > t->to && t->open)
        test_fail(__FILE__, __LINE__, "client %d was told that %s is trimmed up "
                  "to %" PRIu64 ", and missed nothing before %" PRIu64,
                  (int)(k - world.clients), names[id], t->to, e->offset);
    if (e->offset <= t->to && e->offset >= t->from)
        test_fail(__FILE__, __LINE__, "client %d was told that %s is trimmed up "
                  "to %" PRIu64 ", and gets %" PRIu64,
                  (int)(k - world.clients), names[id], t->to, e->offset);
}

static void on_message(struct client *k, unsigned id, uint64_t seq,
                       bool replay)
{
    bool wanted = resumes(k, id, seq, replay);

    world.messages++;
    world.replayed += replay;
    if (!replay) {
        check_not_told(k, id, seq);
        wanted |= is_held(k, id, seq);
    }
    if (!wanted || (!replay && seq <= k->seq))
        test_fail(__FILE__, __LINE__, "client %d: %s %" PRIu64
                  " comes again, or unasked, behind %" PRIu64,
                  (int)(k - world.clients), names[id], seq, k->seq);
    if (!replay)
        k->seq = seq;
    if (!replay)
        check_trimmed(k, id, seq);
}

static void on_trimmed(struct client *k, unsigned id, bool beside,
                       uint64_t from, uint64_t to)
{
    struct trimmed *t = &k->trimmed[beside][id];
    bool first = t->to == 0, resumes = false;

    for (unsigned n = 0; n < NAMES; n++)
        resumes |= k->channels[n].state == REPLAYS && hears(n, id);
    world.trimmed++;
    if (to == t->to && !resumes)
        return; /* by a repair that broke off; the ring has forgotten it */
    if (to > router.gone[id] ||
        (to <= t->to && !resumes))
        test_fail(__FILE__, __LINE__, "client %d is told that %s is trimmed up "
                  "to %" PRIu64 "; up to %" PRIu64 " it is, and it was told "
                  "of %" PRIu64, (int)(k - world.clients), names[id], to,
                  router.gone[id], t->to);
    t->from = first ? from : MIN(from, t->from);
    t->to = MAX(to, t->to);
    t->open = true;
}

/* Is what is said just now of a subscription that is replayed? */
static bool is_beside(const struct client *k)
{
    return k->starting && k->starting->state == REPLAYS && holds_some(k);
}

/* Its snapshot follows, and nothing of before does any more. */
static void on_epoch(struct client *k, unsigned name)
{
    struct channel *ch = &k->channels[name];

    world.epochs++;
    if (ch->state == OUT)
        return;
    blur(k, name);
    ch->state = ASKED;
    ch->gap_count = 0;
    ch->gap = true; /* of what has no history it may miss anything */
    for (unsigned id = 0; id < STORED; id++)
        if (hears(name, id))
            k->trimmed[0][id] = k->trimmed[1][id] = (struct trimmed){0};
}

static void on_gap(struct client *k, unsigned name, char *const *word)
{
    struct channel *ch = &k->channels[name];
    struct left_out g = {
        .from = strtoull(word[4], NULL, 10),
        .to = strtoull(word[5], NULL, 10),
        .conflated = strcmp(word[3], "conflated") == 0,
    };

    world.gaps++;
    if (g.conflated || strcmp(word[3], "slow") == 0) {
        world.left_out += !g.conflated;
        world.conflated += g.conflated;
        check_gap(k, name, &g, strtoull(word[6], NULL, 10));
        ch->gaps[ch->gap_count++ % GAPS] = g;
        ch->told += strtoull(word[6], NULL, 10);
        ch->fuzzy |= strtoull(word[6], NULL, 10) == 0;
        return;
    }
    if (strcmp(word[3], "trimmed") == 0) {
        on_trimmed(k, name, strcmp(word[2], "-0") == 0 || is_beside(k),
                   g.from, g.to);
        return;
    }
    if (strcmp(word[3], "epoch") == 0) {
        on_epoch(k, name);
        return;
    }
    EXPECT_STR(word[3], "volatile");
    if (ch->state == REPLAYS)
        ch->gap = true;
    for (unsigned id = STORED; id < IDS; id++)
        k->silent[id].gap |= hears(name, id);
}

static void on_notice(struct client *k, unsigned name, uint64_t seq,
                      char *const *word)
{
    struct channel *ch = &k->channels[name];
    const char *what = word[0];

    if (strcmp(what, "gap") == 0) {
        on_gap(k, name, word);
    } else if (strcmp(what, "snapshot") == 0 && ch->state == HELD) {
        check_kept(k, name, seq);
        ch->seq = MAX(ch->seq, seq);
    } else if (strcmp(what, "snapshot") == 0 && ch->state == ASKED) {
        ch->seq = seq;
        hold(k, name, seq);
    }
}

static void on_sub(struct client *k, unsigned ref)
{
    struct channel *ch = &k->channels[world.of_ref[ref % REFS]];

    k->starting = ch->ref == ref ? ch : NULL;
    if (!holds_some(k))
        k->seq = 0; /* it begins anew, wherever it asked for */
}

static void on_start(struct client *k, uint64_t seq)
{
    if (k->starting && k->starting->state == REPLAYS)
        hold(k, (unsigned)(k->starting - k->channels), seq);
    k->starting = NULL;
}

static void on_failed(struct client *k, unsigned ref)
{
    unsigned name = world.of_ref[ref % REFS];
    struct channel *ch = &k->channels[name];

    world.refused++;
    if (ch->ref == ref && ch->state != HELD)
        leave(k, name);
}

/* It comes back with this cursor: it has everything up to there. One of another
 * history is told what it is worth then. */
static void on_lost(struct client *k, const char *cursor)
{
    uint64_t seq = strtoull(cursor + 2, NULL, 10);
    bool ours = cursor[0] == router.epoch[0];

    for (unsigned n = 0; n < NAMES; n++) {
        struct channel *ch = &k->channels[n];

        if (ours && ch->state == HELD)
            check_kept(k, n, seq);
        else if (ours && ch->state == REPLAYS)
            check_whole(k, ch, n, seq, 0, STORED);
        leave(k, n);
    }
    k->lost = true;
    world.lost++;
}

static void on_numbered(struct client *k, char **word)
{
    if (strtoul(word[1], NULL, 10) != ++k->heard)
        test_fail(__FILE__, __LINE__, "message %d of client %d says it is %s",
                  (int)k->heard, (int)(k - world.clients), word[1]);
    on_message(k, name_find(slice_str(word[2])), strtoull(word[3], NULL, 10),
               false);
}

static void on_line(struct client *k, char *line)
{
    char *word[7] = {"", "", "", "", "", "", ""};
    unsigned n = 0;

    for (char *at = strtok(line, " "); at && n < ARRAY_LEN(word); at = strtok(NULL, " "))
        word[n++] = at;
    if (k->lost)
        test_fail(__FILE__, __LINE__, "client %d hears %s %s behind its end",
                  (int)(k - world.clients), word[0], word[1]);
    if (strcmp(word[0], "lost") == 0)
        on_lost(k, word[1]);
    else if (strcmp(word[0], "failed") == 0)
        on_failed(k, (unsigned)strtoul(word[1], NULL, 10));
    else if (strcmp(word[0], "message") == 0)
        on_numbered(k, word);
    else if (strcmp(word[0], "replay") == 0)
        on_message(k, name_find(slice_str(word[1])),
                   strtoull(word[2], NULL, 10), true);
    else if (strcmp(word[0], "sub") == 0)
        on_sub(k, (unsigned)strtoul(word[1], NULL, 10));
    else if (strcmp(word[0], "start") == 0)
        on_start(k, strtoull(word[2], NULL, 10));
    else if (strcmp(word[0], "left") == 0)
        leave(k, name_find(slice_str(word[1])));
    else
        on_notice(k, name_find(slice_str(word[1])),
                  strtoull(strchr(word[2], '-') + 1, NULL, 10), word);
}

static void on_bytes(struct client *k, char *at, size_t len)
{
    while (len) {
        char *lf = memchr(at, '\n', len);
        size_t n = lf ? (size_t)(lf - at) : len;

        CHECK(k->rest_len + n < sizeof k->rest);
        memcpy(k->rest + k->rest_len, at, n);
        k->rest_len += n;
        if (!lf)
            return;
        k->rest[k->rest_len] = '\0';
        k->rest_len = 0;
        on_line(k, k->rest);
        at = lf + 1;
        len -= n + 1;
    }
}

static void client_gone(struct client *k)
{
    close(k->fd);
    *k = (struct client){.fd = -1};
}

static void client_reads(struct client *k, unsigned times)
{
    char bytes[4096];
    ssize_t n;

    while (k->open && times--) {
        n = recv(k->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0) {
            on_bytes(k, bytes, (size_t)n);
            continue;
        }
        if (n == 0) {
            world.closed++;
            client_gone(k);
        }
        return;
    }
}

static void client_comes(struct client *k)
{
    const struct address nobody = {0};
    int ends[2], small = 4096;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small,
                     sizeof small) == 0);
    CHECK(door_enter(world.door));
    CHECK(conn_open(world.g, ends[0], 0, 0, &nobody) == 0);
    *k = (struct client){.fd = ends[1], .open = true, .number = opened_last};
    k->gen = conn_gen(conns_at(&world.g->conns, opened_last));
}

static void client_subscribes(struct client *k, unsigned name)
{
    struct conn *c = conn_of(k);
    struct channel *ch = &k->channels[name];
    struct slice channel = name_of(name);
    struct subscribe s = {.channels = &channel, .count = 1,
                          .ref = world.refs};
    struct refusal why;

    if (!c || (ch->state != OUT && ch->state != HELD) ||
        (ch->state == OUT) == conn_holds(c, channel))
        return;
    world.of_ref[world.refs++ % REFS] = name;
    if (ch->state == OUT && world.g->seq && chance(2)) {
        s.has_since = true;
        memcpy(s.since.epoch.text, world.g->epoch.text, 2);
        s.since.seq = router.count > router.begun
                          ? router.log[router.begun + chance(router.count -
                                                             router.begun)].seq
                          : world.g->seq;
        s.since.seq = MIN(s.since.seq, world.g->seq);
    }
    if (fails(8))
        test_fail_malloc_after(chance(4));
    if (conn_subscribe(c, &s, &why) < 0) {
        EXPECT(test_malloc_failed());
        EXPECT_STR(why.code, "server.memory");
        world.nomem++;
        return;
    }
    (void)test_malloc_failed();
    if (ch->state != OUT)
        return;
    ch->state = s.has_since ? REPLAYS : ASKED;
    ch->ref = s.ref;
    ch->seq = s.since.seq;
    ch->gap = false;
    blur(k, name);
}

static void client_leaves(struct client *k, unsigned name)
{
    struct conn *c = conn_of(k);

    if (c && k->channels[name].state == HELD && conn_holds(c, name_of(name))) {
        EXPECT_INT(conn_unsubscribe(c, name_of(name)), 0);
        buf_addf(conn_out(c), "left %s\n", names[name]);
    }
}

/* ---- the whole ---------------------------------------------------------- */

/* What was to fail within it has, or does not any more. */
static void turn(void)
{
    EXPECT_INT(loop_step(world.g->loop, 0), 0);
    (void)test_malloc_failed();
}

/* With policies by chance. */
static struct config *configuration(void)
{
    char slow[ARRAY_LEN(prefixes)][40];
    const char *sets[ARRAY_LEN(prefixes) + 2] = {"tcp.workers=1",
                                                "process.canary=0"};
    struct config_source from = {.sets = sets, .set_count = ARRAY_LEN(sets),
                                 .dir = test_dir()};
    struct config *cfg = NULL;
    struct opt_error err;

    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        snprintf(slow[i], sizeof slow[i], "namespace %s.slow=%s", prefixes[i],
                 policies[chance(ARRAY_LEN(policies))]);
        sets[i + 2] = slow[i];
    }
    CHECK(config_load(&cfg, &from, &err) == 0);
    return cfg;
}

/* Other policies, whoever is being thinned or has been. */
static void reload(void)
{
    struct config *next;

    (void)test_malloc_failed(); /* what was to fail does not any more */
    next = configuration();
    next->limits = world.cfg->limits;
    next->limits.ring_total = world.g->ring.bytes_max;
    gateway_configure(world.g, next);
    config_free(world.cfg);
    world.cfg = next;
    for (unsigned i = 0; i < router.count; i++)
        router.log[i].policies |= 1u << policy_of(router.log[i].id);
    world.reloads++;
}

static void begin(void)
{
    const char *why;

    clock_fake(1000 * SECOND, 0);
    world.cfg = configuration();
    router.epoch[0] = 'e';
    world.g = calloc(1, sizeof *world.g);
    CHECK(door_new(&world.door, CLIENTS * 8, 1) == 0);
    CHECK(gateway_init(world.g, world.cfg, &edge, 1, world.door) == 0);
    CHECK(uplink_open(world.g, &why) == 0);
    world.cfg->limits.page = 20 + chance(100);
    world.cfg->limits.queue = (size_t)4096 << chance(7);
    world.g->ring.bytes_max = (size_t)8192 << chance(9);
    world.g->looks = (size_t)8 << chance(12);
    router.life = 1;
    router.seq = 100;
    link_up();
    for (unsigned i = 0; i < CLIENTS; i++)
        client_comes(&world.clients[i]);
}

/* ---- a successor ---------------------------------------------------------- */

/* What is asked is answered, and that is all. False: somebody still waits. */
static bool comes_to_rest(void)
{
    uint32_t last = 0;
    const char *why;

    for (unsigned i = 0; i < 50; i++) {
        if (freeze_look(world.g, &last, &why) == FREEZE_RESTS)
            return true;
        while (router_step())
            ;
        gateway_hears(1 + chance(200));
        turn();
    }
    return false;
}

/* A message; the sockets are copied, as by the kernel. */
static int take_one(const struct freezer *f, struct thaw *t)
{
    int files[HANDOVER_FILES], rc;

    for (unsigned i = 0; i < f->file_count; i++)
        files[i] = dup(f->files[i]);
    rc = thaw_take(t, f->kind, buf_slice(&f->body), files, f->file_count);
    for (unsigned i = 0; i < f->file_count; i++) {
        EXPECT(rc < 0 || files[i] == -1);
        if (files[i] >= 0)
            close(files[i]);
    }
    return rc;
}

/* All that the freezer writes, unless memory is at its end on one side, where it
 * is made to. */
static void take_all(struct freezer *f, struct thaw *t, bool fails)
{
    int rc;

    while ((rc = freezer_next(f)) == 0 && (rc = take_one(f, t)) == 0)
        ;
    if (fails && test_malloc_failed() && rc == ERR_NOMEM) {
        world.starved++;
        return; /* else a map has not grown, and does without */
    }
    EXPECT_INT(rc, ERR_NOT_FOUND);
    EXPECT(thaw_is_whole(t));
}

/* The number that the next file will have. */
static int next_file(void)
{
    int fd = dup(STDOUT_FILENO);

    close(fd);
    return fd;
}

static void count_paging(struct gateway *g)
{
    uint32_t i = 0;
    struct conn *c;

    while ((c = conns_next_open(&g->conns, &i)))
        world.paging += catchup_under_way(c);
}

/* The gateway is another one from now on, or the successor fails in the end and
 * nothing has happened. Nobody notices either. */
static void hand_over(bool fails)
{
    struct gateway *old = world.g;
    struct gateway *next = calloc(1, sizeof *next);
    struct thaw t = {.g = next};
    struct freezer f;
    const char *why;
    int file = next_file();

    CHECK(gateway_init(next, world.cfg, &edge, 1, world.door) == 0);
    CHECK(uplink_open(next, &why) == 0);
    next->ring.bytes_max = old->ring.bytes_max;
    next->looks = old->looks;
    count_paging(old);
    freezer_init(&f, old);
    if (fails)
        test_fail_malloc_after(chance(chance(2) ? 30 : 600));
    take_all(&f, &t, fails);
    world.g = fails ? old : next;
    router.ctx = world.g;
    if (fails) {
        next->linked = false; /* what it says now goes nowhere */
        gateway_fini(next);
        free(next);
        EXPECT_INT(next_file(), file);
        freezer_fini(&f);
        thaw_fini(&t);
        return;
    }
    freezer_part(&f);
    freezer_fini(&f);
    thaw_go(&t);
    thaw_fini(&t);
    gateway_fini(old);
    free(old);
    world.handed++;
}

/* What was to be answered has been. */
static void client_ends(struct client *k)
{
    struct conn *c = conn_by_name(world.g, k->number, k->gen);

    if (c && !conn_closing(c))
        conn_close(c, "unread");
    client_reads(k, 8);
}

static void client_acts(struct client *k)
{
    unsigned what = chance(100);

    if (!k->open)
        client_comes(k);
    else if (k->lost)
        client_ends(k);
    else if (what < 30)
        client_subscribes(k, chance(NAMES));
    else if (what < 45)
        client_leaves(k, chance(NAMES));
    else if (what < 55)
        k->stalled = !k->stalled;
    else if (what < 57)
        client_gone(k);
    else if (!k->stalled)
        client_reads(k, 1 + chance(8));
}

/* Somebody is to be told what was left out. */
static bool is_thinned(void)
{
    for (unsigned k = 0; k < CLIENTS; k++) {
        const struct conn *c = conn_of(&world.clients[k]);

        if (c && thin_limit(c) != UINT64_MAX)
            return true;
    }
    return false;
}

/* At the worst moment, now and then. */
static void interrupt_thinning(void)
{
    unsigned what = chance(100);

    if (what > 3 || !is_thinned())
        return;
    if (what < 2) {
        reload();
        return;
    }
    link_down(true);
    if (what == 2)
        begin_epoch();
    link_up();
}

static void router_acts(void)
{
    unsigned what = chance(1000);

    if (chance(20) == 0)
        trim_some();
    if (what < 300)
        for (unsigned n = 1 + chance(what < 10 ? 200 : 4); n; n--)
            publish(chance(IDS));
    else if (what < 302)
        link_down(false);
    else if (what < 304)
        link_down(true);
    else if (what < 320)
        link_up();
    else
        for (unsigned n = chance(20); n; n--)
            while (router_step() && router.resyncing)
                ;
    if (router.broken)
        link_down(false);
    if (!router.up)
        return;
    if (fails(40))
        test_fail_malloc_after(chance(chance(2) ? 10 : 100));
    gateway_hears(chance(30));
}

/* Nothing is asked for, and nobody lags. */
static bool is_quiet(void)
{
    for (unsigned k = 0; k < CLIENTS; k++)
        for (unsigned n = 0; n < NAMES; n++)
            if (world.clients[k].channels[n].state == ASKED ||
                world.clients[k].channels[n].state == REPLAYS)
                return false;
    return !router.in.first && !router.out.first &&
           list_empty(&world.g->lagging);
}

/* So many as gaps have told are missing, and no more. */
static void check_counts(const struct client *k, unsigned name)
{
    struct channel *ch = &world.clients[k - world.clients].channels[name];
    bool kept = name < STORED || (name >= IDS && !hears(name, STORED));

    if (ch->state == HELD && !ch->fuzzy && kept && ch->told != ch->seen)
        test_fail(__FILE__, __LINE__, "client %d misses %" PRIu64
                  " of %s, and was told of %" PRIu64,
                  (int)(k - world.clients), ch->seen, names[name], ch->told);
    ch->told = ch->seen = 0;
    ch->fuzzy = false;
}

/* All that is under way comes to its end, and everybody reads it. */
static void settle(void)
{
    struct test_soon soon = test_soon();
    uint64_t heard = 0;

    router.calm = true;
    for (unsigned quiet = 0; quiet < 20; quiet = is_quiet() ? quiet + 1 : 0) {
        if (heard != world.messages + world.replayed) /* a long walk's end */
            soon = test_soon();
        heard = world.messages + world.replayed;
        if (test_soon_over(&soon))
            test_fail(__FILE__, __LINE__, "it does not come to rest");
        if (router.broken)
            link_down(false);
        link_up();
        while (router_step())
            ;
        gateway_hears(1000);
        turn();
        for (unsigned k = 0; k < CLIENTS; k++)
            if (world.clients[k].lost)
                client_ends(&world.clients[k]);
            else
                client_reads(&world.clients[k], 4);
    }
    for (unsigned k = 0; k < CLIENTS; k++)
        for (unsigned n = 0; n < NAMES; n++)
            if (world.clients[k].channels[n].state == HELD)
                check_kept(&world.clients[k], n, router.seq);
    for (unsigned k = 0; k < CLIENTS; k++)
        for (unsigned n = 0; n < NAMES; n++)
            check_counts(&world.clients[k], n);
    router.calm = false;
    for (unsigned k = 0; k < CLIENTS; k++)
        for (unsigned id = 0; id < STORED; id++)
            if (world.clients[k].trimmed[0][id].open ||
                world.clients[k].trimmed[1][id].open)
                test_fail(__FILE__, __LINE__, "client %u was told that %s is "
                          "trimmed, and misses nothing", k, names[id]);
}

static void finish(void)
{
    for (unsigned k = 0; k < CLIENTS; k++)
        if (world.clients[k].open)
            close(world.clients[k].fd);
    for (unsigned i = 0; i < 20; i++)
        turn();
    EXPECT_INT(world.g->open, 0);
    LIST_FOREACH(p, &world.g->pages.kept, struct page, node)
        EXPECT_INT(p->readers, 0);
    EXPECT(list_empty(&world.g->lagging));
    gateway_fini(world.g);
    door_free(world.door);
    free(world.g);
    config_free(world.cfg);
    queue_clear(&router.in);
    queue_clear(&router.out);
}

/* MODEL_STEPS=N: for a longer walk. */
TEST(everybody_gets_what_is_due_whatever_happens)
{
    const char *given = getenv("MODEL_STEPS");
    unsigned steps = given ? (unsigned)strtoul(given, NULL, 10) : 4000;

    begin();
    for (unsigned i = 0; i < steps; i++) {
        client_acts(&world.clients[chance(CLIENTS)]);
        router_acts();
        interrupt_thinning();
        if (chance(2))
            turn();
        if (chance(300) == 0)
            reload();
        (void)test_malloc_failed();
        if (chance(60) == 0 && comes_to_rest())
            hand_over(chance(2));
        clock_fake_advance(chance(100) ? chance(20) * MILLISECOND
                                       : chance(4) * SECOND);
        if (i % 2000 == 1999)
            settle();
    }
    settle();
    EXPECT(world.messages && world.replayed && world.gaps && world.closed);
    EXPECT(world.handed && world.paging && world.starved && world.reloads);
    EXPECT(world.epochs);
    EXPECT(world.lost);
    EXPECT(world.refused);
    EXPECT(world.nomem);
    EXPECT(world.trimmed);
    finish();
}
