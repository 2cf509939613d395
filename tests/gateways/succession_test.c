/* Predecessor and successor in one process: the one turns its loops, the other
 * takes what it is handed, on a thread of its own. The link of both is played. */
#include "gateways/common/succession.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "gateways/common/core.h"
#include "gateways/common/freeze.h"
#include "gateways/common/uplink.h"
#include "proto/replacing.h"
#include "proto/frame_io.h"
#include "tests/t/t.h"
#include "tests/t/quiet_link.h"

enum { CLIENTS = 250, WORKERS = 2, SAY_HELLO = 1, SAY_REFUSE, SAY_ACK };

/* ---- the link, of all gateways ------------------------------------------- */

static atomic_uint logged_out, beats;

int joiner_open(struct joiner **ret, struct loop *loop,
                const struct joiner_options *options,
                const struct joiner_ops *ops, void *ctx)
{
    UNUSED(loop);
    UNUSED(options);
    UNUSED(ops);
    UNUSED(ctx);
    *ret = calloc(1, sizeof(struct buf));
    CHECK(*ret != NULL);
    return 0;
}

void joiner_close(struct joiner *j)
{
    if (j)
        buf_fini((struct buf *)(void *)j);
    free(j);
}

struct buf *pipe_frame(struct pipe *p, uint8_t code)
{
    struct buf *b = (struct buf *)(void *)p;

    buf_reset(b);
    atomic_fetch_add(&logged_out, code == FRAME_LOGOUT);
    return b;
}

void pipe_frame_end(struct pipe *p)
{
    UNUSED(p);
}

void pipe_break(struct pipe *p, const char *why)
{
    UNUSED(p);
    UNUSED(why);
}

bool pipe_is_up(const struct pipe *p)
{
    UNUSED(p);
    return true;
}

void pipe_beat(struct pipe *p)
{
    UNUSED(p);
    atomic_fetch_add(&beats, 1);
}

/* ---- an edge that keeps a number for each client, and echoes ---------------- */

static bool busy_one; /* somebody is in the middle of something */
static unsigned busy_from = CLIENTS, cut; /* those from this number on */
static uint32_t heavy = UINT32_MAX; /* too much for a message */
static unsigned late; /* deadlines that came */
static bool all_end; /* everybody does */

static void deadline(struct conn *c)
{
    UNUSED(c);
    late++;
}
static size_t weight; /* bytes that come with each connection */

/* "pass" asks to be passed on. */
static ssize_t pass(struct conn *c, struct slice bytes)
{
    int rc = conn_pass_on(c, bytes);

    if (rc == ERR_AGAIN)
        return 0;
    if (rc < 0)
        buf_add_str(conn_out(c), "nobody takes it\n");
    return (ssize_t)bytes.len;
}

static void nothing(struct conn *c)
{
    UNUSED(c);
}

static struct slice busy(const struct gateway *g)
{
    UNUSED(g);
    return SLICE("busy\n");
}

static ssize_t input(struct conn *c, struct slice bytes)
{
    uint32_t *count = conn_edge(c);

    if (slice_eq(bytes, SLICE("pass")))
        return pass(c, bytes);
    *count += (uint32_t)bytes.len;
    buf_addf(conn_out(c), "%u\n", *count);
    return (ssize_t)bytes.len;
}

static void end(struct conn *c)
{
    conn_close(c, "client");
}

static bool ending(struct conn *c)
{
    UNUSED(c);
    return all_end;
}

static bool at_rest(struct conn *c)
{
    return !busy_one && c->number < busy_from;
}

static void on_cut(struct conn *c)
{
    buf_add_str(conn_out(c), "too slow\n");
    cut++;
}

static void freeze(struct conn *c, struct buf *b)
{
    static const uint8_t zeros[10000];
    size_t bytes = c->number == heavy ? HANDOVER_LARGEST : weight;

    put_u32(b, *(uint32_t *)conn_edge(c));
    put_u32(b, (uint32_t)bytes);
    for (size_t n; bytes; bytes -= n) {
        n = MIN(bytes, sizeof zeros);
        buf_add(b, slice_make(zeros, n));
    }
}

static int thaw(struct conn *c, struct cursor *in)
{
    *(uint32_t *)conn_edge(c) = cursor_u32(in);
    (void)cursor_str32(in);
    return 0;
}

static void give_up(struct conn *c, const struct give_up *why)
{
    conn_close(c, why->word);
}

static const struct edge edge = {
    .name = "tcp",
    .scheme = "tcp",
    .conn_bytes = sizeof(uint32_t),
    .opened = nothing,
    .busy = busy,
    .input = input,
    .input_end = end,
    .deadline = deadline,
    .ping = nothing,
    .closed = nothing,
    .drain = end,
    .kicked = nothing,
    .cut = on_cut,
    .give_up = give_up,
    .at_rest = at_rest,
    .ending = ending,
    .freeze = freeze,
    .thaw = thaw,
};

/* ---- a process -------------------------------------------------------------- */

struct side {
    struct config *cfg;
    struct door *door;
    struct gateway *all[WORKERS];
    unsigned workers;
};

static unsigned wanted = 1; /* workers */

static void side_open(struct side *s, unsigned workers)
{
    struct config_source from = {.dir = test_dir()};
    struct opt_error err;
    const char *why;

    CHECK(config_load(&s->cfg, &from, &err) == 0);
    CHECK(door_new(&s->door, CLIENTS * 2, 0) == 0);
    s->workers = workers;
    for (unsigned i = 0; i < workers; i++) {
        s->all[i] = calloc(1, sizeof *s->all[i]);
        CHECK(gateway_init(s->all[i], s->cfg, &edge, i + 1, s->door) == 0);
        CHECK(uplink_open(s->all[i], &why) == 0);
    }
}

static void side_close(struct side *s)
{
    for (unsigned i = 0; i < s->workers; i++) {
        gateway_fini(s->all[i]);
        free(s->all[i]);
    }
    door_free(s->door);
    config_free(s->cfg);
}

static struct world {
    struct side old, next;
    struct succession succession;
    struct succession_self self;
    struct handover supervisor;
    int heir; /* the successor's end */
    uint32_t attempt;
    int clients[CLIENTS];
    atomic_uint parted;
    pthread_t thread;
    /* of the successor */
    uint32_t taken;
    bool orphan;
    char why[SUCCESSION_WHY_MAX];
    int rc;
} w;

static void parted(void *ctx, struct gateway *g)
{
    UNUSED(ctx);
    UNUSED(g);
    atomic_fetch_add(&w.parted, 1);
}

static void turn(void)
{
    for (unsigned i = 0; i < w.old.workers; i++)
        CHECK(loop_step(w.old.all[i]->loop, MILLISECOND) == 0);
}

static void client_comes(unsigned i)
{
    const struct address nobody = {0};
    int ends[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(door_enter(w.old.door));
    CHECK(conn_open(w.old.all[i % w.old.workers], ends[0], 0, 0, &nobody) == 0);
    w.clients[i] = ends[1];
}

static unsigned ask(struct side *s, unsigned i)
{
    char text[16];
    ssize_t n = 0;

    EXPECT_INT(send(w.clients[i], "x", 1, 0), 1);
    EXPECT_SOON((n = recv(w.clients[i], text, sizeof text - 1, MSG_DONTWAIT)) > 0,
                (void)!loop_step(s->all[i % s->workers]->loop, MILLISECOND));
    text[n] = '\0';
    return (unsigned)atoi(text);
}

static void world_open(void)
{
    int control[2];

    busy_one = false;
    weight = 0;
    busy_from = CLIENTS;
    heavy = UINT32_MAX;
    logged_out = cut = 0;
    w = (struct world){
        .self = {.edge = "tcp", .instance = "0", .workers = wanted}};
    side_open(&w.old, wanted);
    for (unsigned i = 0; i < w.old.workers; i++)
        w.old.all[i]->linked = true;
    side_open(&w.next, wanted);
    CHECK(handover_pair(control) == 0);
    handover_init(&w.supervisor, control[0]);
    CHECK(succession_start(&w.succession, &w.self, w.old.all, control[1],
                           parted, NULL) == 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_comes(i);
    for (unsigned i = 0; i < CLIENTS; i++)
        EXPECT_INT(ask(&w.old, i), 1);
}

static void world_close(void)
{
    succession_stop(&w.succession);
    handover_fini(&w.supervisor);
    side_close(&w.old);
    side_close(&w.next);
    for (unsigned i = 0; i < CLIENTS; i++)
        close(w.clients[i]);
}

/* The supervisor names a successor. */
static void name_heir(void)
{
    struct buf b = BUF_INIT;
    int ends[2];

    CHECK(handover_pair(ends) == 0);
    w.heir = ends[1];
    put_u32(&b, ++w.attempt);
    CHECK(handover_send(&w.supervisor, CONTROL_HAND_OVER, buf_slice(&b),
                        &ends[0], 1, 0) == 0);
    buf_fini(&b);
    close(ends[0]);
}

static void *take(void *ctx)
{
    const struct succession_self *self = ctx;

    w.rc = succession_take(w.heir, self, w.next.all, &w.taken, &w.orphan,
                           w.why);
    return NULL;
}

static void begin_taking(const struct succession_self *self)
{
    CHECK(pthread_create(&w.thread, NULL, take, (void *)(uintptr_t)self) == 0);
}

/* What the predecessor tells the supervisor. */
static uint8_t outcome(char *text, size_t size)
{
    struct handover_message m = {.kind = 0};
    struct cursor c;
    struct slice rest;

    EXPECT_SOON(handover_receive(&w.supervisor, 0, &m) == 0, turn());
    c = cursor_init(m.body);
    EXPECT_INT(cursor_u32(&c), w.attempt);
    rest = cursor_rest(&c);
    snprintf(text, size, SLICE_FMT, SLICE_ARG(rest));
    return m.kind;
}

static void expect_all_on_old(unsigned count)
{
    EXPECT_INT(w.old.all[0]->open, CLIENTS);
    EXPECT_INT(w.parted, 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        EXPECT_INT(ask(&w.old, i), count);
}

/* ---- how it goes ---------------------------------------------------------------- */

TEST(all_clients_go_to_the_successor_with_what_was_known_of_them)
{
    char text[200];

    world_open();
    name_heir();
    begin_taking(&w.self);
    EXPECT_INT(outcome(text, sizeof text), CONTROL_HANDED);
    CHECK(pthread_join(w.thread, NULL) == 0);
    EXPECT_INT(w.rc, 0);
    EXPECT(!w.orphan);
    EXPECT_INT(w.taken, CLIENTS);
    EXPECT_SOON(w.parted == 1, turn());
    EXPECT_INT(w.old.all[0]->open, 0);
    EXPECT_INT(w.next.all[0]->open, CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++)
        EXPECT_INT(ask(&w.next, i), 2);
    EXPECT_INT(logged_out, 0);
    world_close();
}

TEST(another_format_workers_edge_or_link_is_refused_and_the_old_one_goes_on)
{
    static const struct {
        uint16_t format, link, workers;
        const char *edge, *why;
    } others[] = {
        {FREEZE_FORMAT + 1, FRAME_VERSION, 1, "tcp", "in format"},
        {FREEZE_FORMAT, FRAME_VERSION + 1, 1, "tcp", "link version"},
        {FREEZE_FORMAT, FRAME_VERSION, 3, "tcp", "1 workers, the successor 3"},
        {FREEZE_FORMAT, FRAME_VERSION, 1, "ws", "another kind"},
    };
    char text[200];

    world_open();
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct handover_message m;
        struct buf b = BUF_INIT;
        struct handover h;

        name_heir();
        handover_init(&h, w.heir);
        put_u16(&b, others[i].format);
        put_u16(&b, others[i].link);
        put_u16(&b, others[i].workers);
        put_str8(&b, slice_str(others[i].edge));
        put_str8(&b, SLICE("0"));
        EXPECT_OK(handover_send(&h, SAY_HELLO, buf_slice(&b), NULL, 0, 0));
        EXPECT_INT(outcome(text, sizeof text), CONTROL_KEPT);
        EXPECT_CONTAINS(text, others[i].why);
        EXPECT_OK(handover_receive(&h, 0, &m));
        EXPECT_INT(m.kind, SAY_REFUSE);
        handover_fini(&h);
        buf_fini(&b);
        expect_all_on_old((unsigned)i + 2);
    }
    world_close();
}

/* One that takes `messages` of them, and is gone. */
static void *take_some(void *ctx)
{
    unsigned messages = *(unsigned *)ctx;
    struct handover_message m;
    struct buf b = BUF_INIT;
    struct handover h;

    handover_init(&h, w.heir);
    put_u16(&b, FREEZE_FORMAT);
    put_u16(&b, FRAME_VERSION);
    put_u16(&b, 1);
    put_str8(&b, SLICE("tcp"));
    put_str8(&b, SLICE("0"));
    CHECK(handover_send(&h, SAY_HELLO, buf_slice(&b), NULL, 0, 0) == 0);
    while (messages-- &&
           handover_receive(&h, clock_ns() + 10 * SECOND, &m) == 0)
        if (messages)
            (void)!handover_send(&h, SAY_ACK, SLICE(""), NULL, 0, 0);
    handover_fini(&h);
    buf_fini(&b);
    return NULL;
}

TEST(a_successor_that_dies_at_any_message_costs_nothing)
{
    char text[200];

    world_open();
    for (unsigned n = 0; n < 9; n++) {
        unsigned messages = n;

        name_heir();
        CHECK(pthread_create(&w.thread, NULL, take_some, &messages) == 0);
        EXPECT_INT(outcome(text, sizeof text), CONTROL_KEPT);
        EXPECT_CONTAINS(text, "successor");
        CHECK(pthread_join(w.thread, NULL) == 0);
        expect_all_on_old(n + 2);
    }
    name_heir();
    begin_taking(&w.self);
    EXPECT_INT(outcome(text, sizeof text), CONTROL_HANDED);
    CHECK(pthread_join(w.thread, NULL) == 0);
    EXPECT_INT(w.taken, CLIENTS);
    world_close();
}

TEST(who_is_in_the_middle_of_something_is_waited_for)
{
    char text[200];

    world_open();
    busy_one = true;
    name_heir();
    begin_taking(&w.self);
    EXPECT_SOON(w.old.all[0]->still, turn());
    for (unsigned i = 0; i < 20; i++)
        turn();
    EXPECT_INT(send(w.clients[0], "xx", 2, 0), 2); /* read by the successor */
    turn();
    busy_one = false;
    EXPECT_INT(outcome(text, sizeof text), CONTROL_HANDED);
    CHECK(pthread_join(w.thread, NULL) == 0);
    EXPECT_INT(w.taken, CLIENTS);
    EXPECT_INT(ask(&w.next, 1), 2);
    EXPECT_INT(ask(&w.next, 0) > 1, true);
    world_close();
}

/* Its list of those who wait stays behind. */
TEST(who_waits_to_be_passed_on_is_not_forgotten_by_the_successor)
{
    struct passing *p;
    char text[200] = "";
    int ends[2];

    world_open();
    p = &w.old.all[0]->passing;
    CHECK(handover_pair(ends) == 0);
    handover_init(&p->out, ends[0]);
    p->may_send = true;
    while (send(ends[0], text, sizeof text, MSG_DONTWAIT) > 0)
        ;
    EXPECT_INT(send(w.clients[0], "pass", 4, 0), 4);
    EXPECT_SOON(p->waiting.len > 0, turn());
    name_heir();
    begin_taking(&w.self);
    EXPECT_INT(outcome(text, sizeof text), CONTROL_HANDED);
    CHECK(pthread_join(w.thread, NULL) == 0);
    memset(text, 0, sizeof text);
    EXPECT_SOON(recv(w.clients[0], text, sizeof text - 1, MSG_DONTWAIT) > 0,
                (void)!loop_step(w.next.all[0]->loop, MILLISECOND));
    EXPECT_STR(text, "nobody takes it\n");
    close(ends[1]);
    world_close();
}

TEST(who_does_not_come_to_rest_keeps_its_clients_and_says_why)
{
    char text[200];

    world_open();
    busy_one = true;
    name_heir();
    begin_taking(&w.self);
    EXPECT_SOON(w.old.all[0]->still, turn());
    loop_timer_set(&w.succession.bound, 0); /* as if it had waited so long */
    EXPECT_INT(outcome(text, sizeof text), CONTROL_KEPT);
    EXPECT_CONTAINS(text, "does not come to rest: tcp1/");
    CHECK(pthread_join(w.thread, NULL) == 0);
    EXPECT_INT(w.rc, ERR_DENIED);
    EXPECT_CONTAINS(w.why, "does not come to rest");
    busy_one = false;
    expect_all_on_old(2);
    world_close();
}

static void expect_cut(unsigned i)
{
    char text[16] = "";

    EXPECT_SOON(recv(w.clients[i], text, sizeof text - 1, MSG_DONTWAIT) > 0,
                turn());
    EXPECT_STR(text, "too slow\n");
    EXPECT_SOON(recv(w.clients[i], text, sizeof text, MSG_DONTWAIT) == 0,
                turn());
}

/* Everybody else is at rest, and has been for a while. */
TEST(who_holds_it_up_is_cut_and_nobody_else)
{
    char text[200];

    world_open();
    busy_from = CLIENTS - 3;
    name_heir();
    begin_taking(&w.self);
    EXPECT_SOON(w.succession.parts[0].held_ns != 0, turn());
    EXPECT_INT(cut, 0);
    w.succession.parts[0].held_ns -= SUCCESSION_PATIENCE_S * SECOND;
    EXPECT_INT(outcome(text, sizeof text), CONTROL_HANDED);
    CHECK(pthread_join(w.thread, NULL) == 0);
    EXPECT_INT(w.taken, CLIENTS - 3);
    EXPECT_INT(cut, 3);
    EXPECT_INT(logged_out, 0); /* they held nothing */
    for (unsigned i = 0; i < CLIENTS - 3; i++)
        EXPECT_INT(ask(&w.next, i), 2);
    for (unsigned i = CLIENTS - 3; i < CLIENTS; i++)
        expect_cut(i);
    world_close();
}

/* Its time begins when it is the only one that is waited for. */
TEST(nobody_is_cut_while_the_router_is_waited_for)
{
    struct gateway *g;

    world_open();
    busy_from = CLIENTS - 1;
    g = w.old.all[0];
    g->resyncing = true;
    name_heir();
    begin_taking(&w.self);
    EXPECT_SOON(g->still, turn());
    for (unsigned i = 0; i < 20; i++)
        turn();
    EXPECT_INT(w.succession.parts[0].held_ns, 0);
    g->resyncing = false;
    EXPECT_SOON(w.succession.parts[0].held_ns != 0, turn());
    g->resyncing = true;
    EXPECT_SOON(w.succession.parts[0].held_ns == 0, turn());
    EXPECT_INT(cut, 0);
    loop_timer_set(&w.succession.bound, 0);
    EXPECT_SOON(!g->still, turn());
    CHECK(pthread_join(w.thread, NULL) == 0);
    EXPECT_CONTAINS(w.why, "tcp1: the router is away");
    world_close();
}

/* The others go on without it; the router hears that it is logged out. */
TEST(who_is_more_than_a_message_holds_is_cut_and_nobody_else)
{
    char text[200];

    world_open();
    heavy = 120;
    name_heir();
    begin_taking(&w.self);
    EXPECT_INT(outcome(text, sizeof text), CONTROL_HANDED);
    CHECK(pthread_join(w.thread, NULL) == 0);
    EXPECT_INT(w.taken, CLIENTS - 1);
    EXPECT_SOON(w.parted == 1, turn());
    EXPECT_INT(cut, 1);
    EXPECT_INT(logged_out, 1);
    expect_cut(120);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (i != 120)
            EXPECT_INT(ask(&w.next, i), 2);
    world_close();
}

/* What it waits for may have come, and not been read. */
TEST(no_deadline_comes_while_nothing_is_read)
{
    struct gateway *g;
    struct conn *c;

    world_open();
    g = w.old.all[0];
    c = conns_at(&g->conns, 0);
    late = 0;
    conn_deadline(c, 100);
    g->still = true;
    wheel_stop(&g->wheel, &c->extra->deadline);
    conn_wheel_due(g, &c->extra->deadline);
    EXPECT_INT(late, 0);
    EXPECT(list_linked(&c->extra->deadline.node));
    all_end = true; /* or who does not read would be waited for in vain */
    wheel_stop(&g->wheel, &c->extra->deadline);
    conn_wheel_due(g, &c->extra->deadline);
    EXPECT_INT(late, 1);
    all_end = false;
    conn_deadline(c, 100);
    g->still = false;
    wheel_stop(&g->wheel, &c->extra->deadline);
    conn_wheel_due(g, &c->extra->deadline);
    EXPECT_INT(late, 2);
    world_close();
}

/* limits.ping = 0, since the predecessor began or with the successor. */
TEST(a_successor_that_never_pings_does_not)
{
    char text[200];

    world_open();
    conn_want_pings(conns_at(&w.old.all[0]->conns, 0), true);
    w.next.cfg->limits.ping = 0;
    name_heir();
    begin_taking(&w.self);
    EXPECT_INT(outcome(text, sizeof text), CONTROL_HANDED);
    CHECK(pthread_join(w.thread, NULL) == 0);
    EXPECT_INT(w.taken, CLIENTS);
    EXPECT(!w.next.all[0]->conns.ping.pending);
    EXPECT_INT(ask(&w.next, 0), 2);
    world_close();
}

/* It reads nothing, so that it cannot be told either; and then, late, what has
 * come meanwhile. The end of the line would make it believe that its predecessor
 * is dead: there is none while that lives. */
TEST(who_could_not_be_told_that_it_has_lost_does_not_take_the_other_for_dead)
{
    struct handover_message m;
    struct handover h;
    struct buf b = BUF_INIT;
    char text[200];
    int rc;

    world_open();
    weight = 10000;
    name_heir();
    handover_init(&h, w.heir);
    put_u16(&b, FREEZE_FORMAT);
    put_u16(&b, FRAME_VERSION);
    put_u16(&b, 1);
    put_str8(&b, SLICE("tcp"));
    put_str8(&b, SLICE("0"));
    EXPECT_OK(handover_send(&h, SAY_HELLO, buf_slice(&b), NULL, 0, 0));
    for (unsigned i = 0; i < 6; i++) /* it believes that all is well */
        EXPECT_OK(handover_send(&h, SAY_ACK, SLICE(""), NULL, 0, 0));
    EXPECT_INT(outcome(text, sizeof text), CONTROL_KEPT);
    EXPECT_CONTAINS(text, "took too long");
    while ((rc = handover_receive(&h, 0, &m)) == 0)
        EXPECT(m.kind != SAY_REFUSE);
    EXPECT_INT(rc, ERR_AGAIN);
    expect_all_on_old(2);
    handover_fini(&h);
    weight = 0;
    name_heir(); /* before the end of the other has been seen */
    begin_taking(&w.self);
    EXPECT_INT(outcome(text, sizeof text), CONTROL_HANDED);
    CHECK(pthread_join(w.thread, NULL) == 0);
    EXPECT_INT(w.taken, CLIENTS);
    buf_fini(&b);
    world_close();
}

TEST(a_line_that_was_kept_open_is_closed_with_its_other_end)
{
    struct handover h;
    char text[200];

    world_open();
    name_heir();
    handover_init(&h, w.heir);
    EXPECT_OK(handover_send(&h, SAY_ACK, SLICE(""), NULL, 0, 0));
    EXPECT_INT(outcome(text, sizeof text), CONTROL_KEPT);
    turn();
    EXPECT(w.succession.heir.fd >= 0);
    handover_fini(&h);
    EXPECT_SOON(w.succession.heir.fd < 0, turn());
    world_close();
}

TEST(a_successor_that_dies_is_noticed_though_somebody_is_waited_for)
{
    unsigned messages = 0;
    char text[200];

    world_open();
    busy_one = true;
    name_heir();
    CHECK(pthread_create(&w.thread, NULL, take_some, &messages) == 0);
    EXPECT_INT(outcome(text, sizeof text), CONTROL_KEPT);
    EXPECT_STR(text, "the successor has gone");
    CHECK(pthread_join(w.thread, NULL) == 0);
    expect_all_on_old(2);
    world_close();
}

/* What no gateway writes: it is whole by its messages, and nothing is in them. */
TEST(messages_without_anything_in_them_are_refused)
{
    enum { WORKER = 32, END = 37 };

    for (unsigned kind = WORKER; kind <= END; kind += END - WORKER) {
        struct handover_message m = {.kind = 0};
        struct freezer f;
        struct handover h;
        int ends[2];

        world_open();
        CHECK(handover_pair(ends) == 0);
        w.heir = ends[1];
        handover_init(&h, ends[0]);
        begin_taking(&w.self);
        EXPECT_OK(handover_receive(&h, clock_ns() + 10 * SECOND, &m));
        freezer_init(&f, w.old.all[0]);
        while (m.kind != SAY_REFUSE && freezer_next(&f) == 0) {
            if (f.kind == kind)
                buf_reset(&f.body);
            EXPECT_OK(handover_send(&h, f.kind, buf_slice(&f.body), f.files,
                                    f.file_count, clock_ns() + 10 * SECOND));
            EXPECT_OK(handover_receive(&h, clock_ns() + 10 * SECOND, &m));
        }
        EXPECT_INT(m.kind, SAY_REFUSE);
        EXPECT_INT(f.kind, kind);
        freezer_fini(&f);
        handover_fini(&h);
        CHECK(pthread_join(w.thread, NULL) == 0);
        EXPECT_INT(w.rc, ERR_FRAME);
        world_close();
    }
}

/* A predecessor that dies behind so many messages: all that it would write is
 * written here, as far as it comes. */
static void die_behind(unsigned messages)
{
    struct freezer f;
    struct handover h;
    struct handover_message m;
    int ends[2];

    CHECK(handover_pair(ends) == 0);
    w.heir = ends[1];
    handover_init(&h, ends[0]);
    begin_taking(&w.self);
    EXPECT_OK(handover_receive(&h, clock_ns() + 10 * SECOND, &m));
    freezer_init(&f, w.old.all[0]);
    while (messages-- && freezer_next(&f) == 0) {
        EXPECT_OK(handover_send(&h, f.kind, buf_slice(&f.body), f.files,
                                f.file_count, clock_ns() + 10 * SECOND));
        if (handover_receive(&h, clock_ns() + 10 * SECOND, &m) < 0)
            break;
    }
    freezer_fini(&f);
    handover_fini(&h);
    CHECK(pthread_join(w.thread, NULL) == 0);
}

TEST(what_a_dying_predecessor_has_handed_over_is_served)
{
    world_open();
    die_behind(6); /* worker, topics, ring, slots, and two of three groups */
    EXPECT_INT(w.rc, 0);
    EXPECT(w.orphan);
    EXPECT_INT(w.taken, 200);
    EXPECT_INT(logged_out, CLIENTS - 200);
    for (unsigned i = 0; i < 200; i++)
        EXPECT_INT(ask(&w.next, i), 2);
    world_close();
}

/* Its last message has come in part: who is in that one is lost, nobody else. */
TEST(a_predecessor_that_dies_within_a_message_is_succeeded_too)
{
    struct handover_message m;
    struct freezer f;
    struct handover h;
    int ends[2];

    world_open();
    CHECK(handover_pair(ends) == 0);
    w.heir = ends[1];
    handover_init(&h, ends[0]);
    begin_taking(&w.self);
    EXPECT_OK(handover_receive(&h, clock_ns() + 10 * SECOND, &m));
    freezer_init(&f, w.old.all[0]);
    for (unsigned i = 0; i < 6; i++) {
        EXPECT_OK(freezer_next(&f));
        if (i == 5)
            break;
        EXPECT_OK(handover_send(&h, f.kind, buf_slice(&f.body), f.files,
                                f.file_count, clock_ns() + 10 * SECOND));
        EXPECT_OK(handover_receive(&h, clock_ns() + 10 * SECOND, &m));
    }
    for (unsigned i = 0; i < 1 << 20; i++)
        put_u64(&f.body, 0);
    EXPECT_ERR(handover_send(&h, f.kind, buf_slice(&f.body), f.files,
                             f.file_count, 0), ERR_AGAIN);
    freezer_fini(&f);
    handover_fini(&h);
    CHECK(pthread_join(w.thread, NULL) == 0);
    EXPECT_INT(w.rc, 0);
    EXPECT(w.orphan);
    EXPECT_INT(w.taken, 100);
    EXPECT_INT(logged_out, CLIENTS - 100);
    for (unsigned i = 0; i < 100; i++)
        EXPECT_INT(ask(&w.next, i), 2);
    world_close();
}

TEST(a_predecessor_that_dies_too_early_has_no_successor)
{
    for (unsigned n = 0; n < 4; n++) {
        world_open();
        die_behind(n);
        EXPECT(w.rc < 0);
        EXPECT(!w.orphan);
        EXPECT_CONTAINS(w.why, "predecessor");
        world_close();
    }
}

/* Connections come when everything else of all workers has: whoever has begun to
 * be handed over can be served. */
static void die_among_two(unsigned of_second)
{
    struct freezer f[WORKERS];
    struct handover h;
    struct handover_message m;
    int ends[2];

    CHECK(handover_pair(ends) == 0);
    w.heir = ends[1];
    handover_init(&h, ends[0]);
    begin_taking(&w.self);
    EXPECT_OK(handover_receive(&h, clock_ns() + 10 * SECOND, &m));
    for (unsigned i = 0; i < 2 * WORKERS; i++) {
        struct freezer *at = &f[i % WORKERS];
        unsigned left = i == 3 ? of_second : UINT32_MAX;
        enum freeze_kind upto = i < WORKERS ? FREEZE_SLOTS : FREEZE_END;

        if (i < WORKERS)
            freezer_init(at, w.old.all[i]);
        for (; left-- && (at->kind < upto || at->more);) {
            EXPECT_OK(freezer_next(at));
            EXPECT_OK(handover_send(&h, at->kind, buf_slice(&at->body),
                                    at->files, at->file_count,
                                    clock_ns() + 10 * SECOND));
            EXPECT_OK(handover_receive(&h, clock_ns() + 10 * SECOND, &m));
        }
    }
    for (unsigned i = 0; i < WORKERS; i++)
        freezer_fini(&f[i]);
    handover_fini(&h);
    CHECK(pthread_join(w.thread, NULL) == 0);
}

TEST(a_predecessor_of_two_workers_may_die_between_any_messages_of_the_second)
{
    enum { EACH = CLIENTS / WORKERS };

    for (unsigned n = 0; n < 3; n++) {
        unsigned came = EACH + (n < 2 ? n * 100 : EACH);

        wanted = WORKERS;
        world_open();
        die_among_two(n);
        EXPECT_INT(w.rc, 0);
        EXPECT(w.orphan);
        EXPECT_INT(w.taken, came);
        EXPECT_INT(logged_out, CLIENTS - came);
        for (unsigned i = 0; i < CLIENTS; i++)
            if (i % WORKERS == 0 || i / WORKERS < came - EACH)
                EXPECT_INT(ask(&w.next, i), 2);
        world_close();
        wanted = 1;
    }
}

/* What the second says is not what the first does. */
TEST(who_does_not_come_to_rest_may_be_any_worker)
{
    char text[200];

    wanted = WORKERS;
    world_open();
    w.old.all[1]->resyncing = true;
    name_heir();
    begin_taking(&w.self);
    EXPECT_SOON(w.old.all[1]->still, turn());
    turn();
    loop_timer_set(&w.succession.bound, 0);
    EXPECT_INT(outcome(text, sizeof text), CONTROL_KEPT);
    EXPECT_STR(text, "it does not come to rest: tcp2: the router is away");
    CHECK(pthread_join(w.thread, NULL) == 0);
    w.old.all[0]->resyncing = true;
    name_heir();
    begin_taking(&w.self);
    EXPECT_SOON(w.old.all[0]->still && w.old.all[1]->still, turn());
    turn();
    loop_timer_set(&w.succession.bound, 0);
    EXPECT_INT(outcome(text, sizeof text), CONTROL_KEPT);
    EXPECT_STR(text, "it does not come to rest: tcp1: the router is away, nor do "
               "1 more of its workers");
    CHECK(pthread_join(w.thread, NULL) == 0);
    world_close();
    wanted = 1;
}

/* Takes all, and says nothing; ends when the supervisor has been told. */
static void *end_when_told(void *ctx)
{
    enum { COMMIT = 4 };
    struct pollfd told = {.fd = w.supervisor.fd, .events = POLLIN};
    struct handover *h = ctx;
    struct handover_message m = {.kind = 0};

    while (m.kind != COMMIT)
        CHECK(handover_receive(h, clock_ns() + 10 * SECOND, &m) == 0);
    CHECK(poll(&told, 1, 20000) == 1);
    handover_fini(h);
    return NULL;
}

/* It has acknowledged all, and may have taken it, or not. The supervisor ends
 * it; nothing had been said, so nothing had been taken. */
TEST(who_is_silent_behind_the_last_word_is_waited_for_until_it_ends)
{
    struct handover h;
    struct buf b = BUF_INIT;
    char text[200];

    world_open();
    beats = 0;
    name_heir();
    handover_init(&h, w.heir);
    put_u16(&b, FREEZE_FORMAT);
    put_u16(&b, FRAME_VERSION);
    put_u16(&b, 1);
    put_str8(&b, SLICE("tcp"));
    put_str8(&b, SLICE("0"));
    EXPECT_OK(handover_send(&h, SAY_HELLO, buf_slice(&b), NULL, 0, 0));
    for (unsigned i = 0; i < 8; i++) /* all there are */
        EXPECT_OK(handover_send(&h, SAY_ACK, SLICE(""), NULL, 0, 0));
    CHECK(pthread_create(&w.thread, NULL, end_when_told, &h) == 0);
    EXPECT_INT(outcome(text, sizeof text), CONTROL_KEPT);
    EXPECT_STR(text, "the successor does not answer");
    CHECK(pthread_join(w.thread, NULL) == 0);
    EXPECT(beats > 5); /* the router does not take it for dead */
    expect_all_on_old(2);
    buf_fini(&b);
    world_close();
}

/* ---- several workers, each on its own thread -------------------------------------- */

static atomic_bool over;

static void *run_worker(void *ctx)
{
    struct gateway *g = ctx;

    while (!atomic_load(&over))
        CHECK(loop_step(g->loop, MILLISECOND) == 0);
    return NULL;
}

TEST(workers_on_threads_of_their_own_hand_over_together)
{
    struct succession_self self = {.edge = "tcp", .instance = "0",
                                   .workers = WORKERS};
    struct handover_message m = {.kind = 0};
    pthread_t threads[WORKERS];
    int control[2];

    w = (struct world){.self = self};
    side_open(&w.old, WORKERS);
    side_open(&w.next, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++)
        w.old.all[i]->linked = true;
    CHECK(handover_pair(control) == 0);
    handover_init(&w.supervisor, control[0]);
    CHECK(succession_start(&w.succession, &self, w.old.all, control[1], parted,
                           NULL) == 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_comes(i);
    for (unsigned i = 0; i < WORKERS; i++)
        CHECK(pthread_create(&threads[i], NULL, run_worker, w.old.all[i]) == 0);
    name_heir();
    begin_taking(&self);
    EXPECT_OK(handover_receive(&w.supervisor, clock_ns() + 10 * SECOND, &m));
    EXPECT_INT(m.kind, CONTROL_HANDED);
    CHECK(pthread_join(w.thread, NULL) == 0);
    EXPECT_INT(w.taken, CLIENTS);
    atomic_store(&over, true);
    for (unsigned i = 0; i < WORKERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        EXPECT_INT(ask(&w.next, i), 1);
    world_close();
}
