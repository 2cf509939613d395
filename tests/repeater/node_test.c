/* A node between a router that the test plays and gateways that it plays, over
 * real pipes. */
#include "router/repeater/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/frame_io.h"
#include "proto/trunk_frame.h"
#include "tests/t/t.h"

enum { GATEWAYS = 3, SAYING = FRAME_STATS, SAID = FRAME_ANSWER };

/* What came on a pipe, a word per frame: "[COME 1 gw1] [FROM 1: hello]". */
struct ear {
    struct pipe *pipe;
    struct buf heard;
    unsigned ups, downs;
    uint64_t seq, taken;
    size_t bytes; /* of SAID */
    unsigned together, most; /* SAYINGs of this batch; of one, at most */
    char why[96], refused[96];
};

struct world {
    struct loop *loop;
    struct config *config;
    struct rendezvous *router;
    struct ear trunk;
    struct node node;
    unsigned ready;
    struct joiner *joiners[GATEWAYS];
    struct ear gateways[GATEWAYS];
    char below[512]; /* the node's directory */
};

/* ---- the router's end ---------------------------------------------------- */

static void note_trunk(struct ear *e, uint8_t code, struct slice body)
{
    struct trunk_come come;
    struct trunk_from from;
    struct trunk_gone gone;
    struct trunk_taken taken;

    switch (code) {
    case FRAME_COME:
        EXPECT_OK(trunk_read_come(body, &come));
        buf_addf(&e->heard, "[COME %u %s]", (unsigned)come.number,
                 come.who.name);
        break;
    case FRAME_FROM:
        EXPECT_OK(trunk_read_from(body, &from));
        e->together++;
        if (from.code == SAYING && from.body.len < 100)
            buf_addf(&e->heard, "[%u: " SLICE_FMT "]", (unsigned)from.number,
                     SLICE_ARG(from.body));
        break;
    case FRAME_GONE:
        EXPECT_OK(trunk_read_gone(body, &gone));
        buf_addf(&e->heard, "[GONE %u%s]", (unsigned)gone.number,
                 gone.left ? " left" : "");
        break;
    case FRAME_TAKEN:
        EXPECT_OK(trunk_read_taken(body, &taken));
        e->taken = taken.bytes;
        break;
    default:
        break;
    }
}

static int on_trunk_frame(void *ctx, uint8_t code, struct slice body)
{
    struct ear *e = ctx;

    EXPECT_OK(frame_check(code, SENDER_GATEWAY, body.len));
    if (code == FRAME_HELLO) {
        struct frame_hello hello;
        struct frame_welcome f = {.life = 7, .seq = 3, .epoch = SLICE("e"),
                                  .server = SLICE("test")};

        EXPECT_OK(frame_read_hello(body, &hello));
        EXPECT_INT(hello.kind, PEER_REPEATER);
        frame_write_welcome(pipe_frame(e->pipe, FRAME_WELCOME), &f);
        pipe_frame_end(e->pipe);
    }
    note_trunk(e, code, body);
    return 0;
}

static void on_batch_end(void *ctx, uint64_t seq)
{
    struct ear *e = ctx;

    e->seq = seq;
    e->most = MAX(e->most, e->together);
    e->together = 0;
}

static void on_up(void *ctx)
{
    ((struct ear *)ctx)->ups++;
}

static void on_down(void *ctx, const char *why)
{
    struct ear *e = ctx;

    e->downs++;
    snprintf(e->why, sizeof e->why, "%s", why);
}

static const struct pipe_ops trunk_ops = {
    .frame = on_trunk_frame, .batch_end = on_batch_end, .up = on_up,
    .down = on_down};

static void joined(void *ctx, const struct peer_id *who, struct pipe *p,
                   const struct pipe_ops **ops, void **pipe_ctx)
{
    struct world *w = ctx;

    EXPECT_STR(who->name, "repeater1");
    EXPECT_INT(who->kind, PEER_REPEATER);
    pipe_free(w->trunk.pipe);
    w->trunk.pipe = p;
    *ops = &trunk_ops;
    *pipe_ctx = &w->trunk;
}

static const struct rendezvous_ops router_ops = {.joined = joined};

/* ---- the gateways' end ----------------------------------------------------- */

static int on_gateway_frame(void *ctx, uint8_t code, struct slice body)
{
    struct ear *e = ctx;

    if (code == SAID) {
        e->together++;
        e->bytes += body.len;
        if (body.len < 100)
            buf_addf(&e->heard, "[" SLICE_FMT "]", SLICE_ARG(body));
    }
    return 0;
}

static void refused(void *ctx, const char *why)
{
    struct ear *e = ctx;

    snprintf(e->refused, sizeof e->refused, "%s", why);
}

static const struct joiner_ops gateway_ops = {
    .pipe = {.frame = on_gateway_frame, .batch_end = on_batch_end,
             .up = on_up, .down = on_down},
    .refused = refused};

/* ---- the world --------------------------------------------------------------- */

static void step(struct world *w)
{
    EXPECT_OK(loop_step(w->loop, 20 * MILLISECOND));
}

static void is_ready(void *ctx)
{
    ((struct world *)ctx)->ready++;
}

static void router_up(struct world *w)
{
    struct rendezvous_options o = {.dir = test_dir(), .life = 7,
                                   .limits = w->node.limits};
    const char *why = "";

    o.limits = (struct pipe_limits){w->config->limits.link_batch,
                                    w->config->limits.link_queue};
    EXPECT_OK(rendezvous_open(&w->router, w->loop, &o, &router_ops, w, &why));
}

static void router_down(struct world *w)
{
    pipe_free(w->trunk.pipe);
    w->trunk.pipe = NULL;
    rendezvous_close(w->router);
    w->router = NULL;
}

static void world_open(struct world *w)
{
    const char *const sets[] = {"limits.link_queue=4M"};
    const struct config_source from = {.sets = sets, .set_count = 1,
                                       .dir = test_dir()};
    struct opt_error err;
    const char *why = "";

    *w = (struct world){.below = ""};
    EXPECT_OK(config_load(&w->config, &from, &err));
    EXPECT_OK(loop_new(&w->loop));
    EXPECT_OK(node_init(&w->node, w->loop, w->config, "repeater1", &why));
    w->node.ready = is_ready;
    w->node.ctx = w;
    snprintf(w->below, sizeof w->below, "%s/repeater1", w->config->dir);
}

static void world_close(struct world *w)
{
    for (unsigned i = 0; i < GATEWAYS; i++) {
        joiner_close(w->joiners[i]);
        buf_fini(&w->gateways[i].heard);
    }
    node_fini(&w->node);
    if (w->router)
        router_down(w);
    buf_fini(&w->trunk.heard);
    loop_free(w->loop);
    config_free(w->config);
}

static struct ear *join(struct world *w, unsigned i)
{
    struct joiner_options o = {
        .dir = w->below, .who = {.edge = "http", .kind = PEER_GATEWAY},
        .limits = {w->config->limits.link_batch, w->config->limits.link_queue}};

    snprintf(o.who.name, sizeof o.who.name, "gw%u", i + 1);
    EXPECT_OK(joiner_open(&w->joiners[i], w->loop, &o, &gateway_ops,
                          &w->gateways[i]));
    w->gateways[i].pipe = joiner_pipe(w->joiners[i]);
    return &w->gateways[i];
}

static bool has_heard(struct ear *e, const char *text)
{
    return e->heard.len && strstr(buf_text(&e->heard), text);
}

static void expect_heard(struct world *w, struct ear *e, const char *text)
{
    EXPECT_SOON(has_heard(e, text), step(w));
    EXPECT_STR(buf_text(&e->heard), text);
    buf_reset(&e->heard);
}

/* The router, a trunk, and so many gateways that have come. */
static void world_linked(struct world *w, unsigned gateways)
{
    char text[32];

    world_open(w);
    router_up(w);
    EXPECT_SOON(w->ready, step(w));
    for (unsigned i = 0; i < gateways; i++) {
        join(w, i);
        snprintf(text, sizeof text, "[COME %u gw%u]", i + 1, i + 1);
        expect_heard(w, &w->trunk, text);
        EXPECT_SOON(w->gateways[i].ups, step(w));
    }
}

static void say(struct ear *e, const char *text)
{
    buf_add_str(pipe_frame(e->pipe, SAYING), text);
    pipe_frame_end(e->pipe);
}

static void repeat(struct world *w, const uint32_t *to, uint16_t count,
                   struct slice text)
{
    struct buf *b = pipe_frame(w->trunk.pipe, FRAME_REPEAT);

    trunk_write_repeat(b, to, count, SAID);
    put_raw(b, text);
    pipe_frame_end(w->trunk.pipe);
}

/* ---- tests --------------------------------------------------------------------- */

TEST(without_a_router_nobody_is_let_in)
{
    struct world w;
    struct ear *e;

    world_open(&w);
    e = join(&w, 0);
    EXPECT_SOON(e->refused[0], step(&w));
    EXPECT_STR(e->refused, "the repeater has no router");
    EXPECT_INT(w.ready, 0);
    router_up(&w);
    expect_heard(&w, &w.trunk, "[COME 1 gw1]");
    EXPECT_SOON(e->ups == 1, step(&w));
    world_close(&w);
}

TEST(what_peers_say_goes_up_and_what_is_said_goes_to_those_it_names)
{
    static const uint32_t both[] = {1, 2, 77}, second[] = {2};
    struct world w;

    world_linked(&w, 2);
    say(&w.gateways[1], "hello");
    expect_heard(&w, &w.trunk, "[2: hello]");
    repeat(&w, both, 3, SLICE("all"));
    repeat(&w, second, 1, SLICE("two"));
    expect_heard(&w, &w.gateways[1], "[all][two]");
    expect_heard(&w, &w.gateways[0], "[all]");
    world_close(&w);
}

TEST(what_a_peer_has_kept_together_stays_so)
{
    static const uint8_t much[10000];
    struct world w;

    world_linked(&w, 2);
    for (unsigned i = 0; i < 2; i++) {
        pipe_hold(w.gateways[i].pipe, true);
        for (unsigned n = 0; n < 300; n++) {
            put_raw(pipe_frame(w.gateways[i].pipe, SAYING),
                    slice_make(much, sizeof much));
            pipe_frame_end(w.gateways[i].pipe);
        }
        pipe_hold(w.gateways[i].pipe, false);
        say(&w.gateways[i], "end");
    }
    EXPECT_SOON(has_heard(&w.trunk, "[1: end]") &&
                    has_heard(&w.trunk, "[2: end]"), step(&w));
    EXPECT(w.trunk.most >= 300); /* 3 MB each: 4 are the most */
    world_close(&w);
}

TEST(what_the_router_has_kept_together_stays_so)
{
    static const uint32_t both[] = {1, 2};
    static const uint8_t much[10000];
    struct world w;

    world_linked(&w, 2);
    pipe_hold(w.trunk.pipe, true);
    for (unsigned n = 0; n < 100; n++)
        repeat(&w, both, 2, slice_make(much, sizeof much));
    pipe_hold(w.trunk.pipe, false);
    for (unsigned i = 0; i < 2; i++) {
        struct ear *e = &w.gateways[i];

        EXPECT_SOON(e->bytes == 100 * sizeof much && e->most, step(&w));
        EXPECT_INT(e->most, 100);
    }
    world_close(&w);
}

TEST(who_leaves_and_who_breaks_off_is_told_apart)
{
    struct world w;

    world_linked(&w, 2);
    joiner_close(w.joiners[0]);
    w.joiners[0] = NULL;
    expect_heard(&w, &w.trunk, "[GONE 1 left]");
    pipe_break(w.gateways[1].pipe, "the test breaks it");
    EXPECT_SOON(has_heard(&w.trunk, "[COME 3 gw2]"), step(&w));
    EXPECT(strstr(buf_text(&w.trunk.heard), "[GONE 2"));
    world_close(&w);
}

TEST(a_peer_that_is_cut_is_down_and_may_join_again)
{
    struct world w;

    world_linked(&w, 2);
    trunk_write_cut(pipe_frame(w.trunk.pipe, FRAME_CUT), 1, SLICE("why not"));
    pipe_frame_end(w.trunk.pipe);
    EXPECT_SOON(has_heard(&w.trunk, "[COME 3 gw1]"), step(&w));
    EXPECT_INT(w.gateways[0].downs, 1);
    EXPECT_STR(w.gateways[0].why, PIPE_PEER_LEFT);
    EXPECT_INT(w.gateways[1].downs, 0);
    world_close(&w);
}

static void place(struct world *w, uint32_t number, bool follows, uint64_t seq)
{
    trunk_write_place(pipe_frame(w->trunk.pipe, FRAME_PLACE), number, follows,
                      seq);
    pipe_frame_end(w->trunk.pipe);
}

TEST(a_peer_has_its_own_place_until_it_follows_the_trunks)
{
    static const uint32_t both[] = {1, 2};
    struct world w;

    world_linked(&w, 2);
    place(&w, 1, false, 11);
    place(&w, 2, true, 22);
    pipe_set_seq(w.trunk.pipe, 23);
    repeat(&w, both, 2, SLICE("x"));
    expect_heard(&w, &w.gateways[0], "[x]");
    expect_heard(&w, &w.gateways[1], "[x]");
    EXPECT_SOON(w.gateways[1].seq == 23, step(&w));
    EXPECT_INT(w.gateways[0].seq, 11);
    place(&w, 2, false, 22);
    place(&w, 1, true, 23);
    pipe_set_seq(w.trunk.pipe, 24);
    repeat(&w, both, 2, SLICE("y"));
    EXPECT_SOON(w.gateways[0].seq == 24, step(&w));
    expect_heard(&w, &w.gateways[1], "[y]");
    EXPECT_INT(w.gateways[1].seq, 23);
    world_close(&w);
}

TEST(what_a_peer_has_taken_is_said)
{
    static const uint32_t first[] = {1};
    static const uint8_t much[50000];
    struct world w;

    world_linked(&w, 1);
    for (unsigned i = 0; i < 10; i++)
        repeat(&w, first, 1, slice_make(much, sizeof much));
    EXPECT_SOON(w.gateways[0].bytes == 10 * sizeof much, step(&w));
    EXPECT_SOON(w.trunk.taken >= 9 * sizeof much, step(&w));
    EXPECT(w.trunk.taken <= 10 * lane_cost(sizeof much));
    world_close(&w);
}

TEST(a_peer_that_takes_nothing_is_cut_and_costs_no_more_than_twice_its_queue)
{
    static const uint32_t first[] = {1}, second[] = {2};
    static const uint8_t much[60000];
    struct world w;
    unsigned said = 0;

    world_linked(&w, 2);
    pipe_pause(w.gateways[0].pipe, true);
    while (!has_heard(&w.trunk, "[GONE 1]") && said < 400) {
        if (said++ < 200) /* 12 MB, the limit being 4 */
            repeat(&w, first, 1, slice_make(much, sizeof much));
        step(&w);
    }
    EXPECT(has_heard(&w.trunk, "[GONE 1]"));
    EXPECT(w.trunk.taken < 4 * MIB);
    repeat(&w, second, 1, SLICE("goes on"));
    expect_heard(&w, &w.gateways[1], "[goes on]");
    world_close(&w);
}

TEST(when_the_trunk_goes_all_are_dropped_and_come_again)
{
    static const uint32_t first[] = {1};
    struct world w;

    world_linked(&w, 2);
    repeat(&w, first, 1, SLICE("last word"));
    pipe_flush(w.trunk.pipe, 1000);
    router_down(&w);
    EXPECT_SOON(w.gateways[0].downs && w.gateways[1].downs, step(&w));
    EXPECT_STR(buf_text(&w.gateways[0].heard), "[last word]");
    EXPECT(!w.node.linked);
    router_up(&w);
    EXPECT_SOON(has_heard(&w.trunk, "[COME 2 "), step(&w));
    EXPECT(has_heard(&w.trunk, "[COME 1 "));
    EXPECT_INT(w.ready, 2);
    world_close(&w);
}

TEST(nonsense_from_above_ends_the_trunk)
{
    struct world w;
    unsigned downs;

    world_linked(&w, 1);
    downs = w.trunk.downs;
    put_raw(pipe_frame(w.trunk.pipe, FRAME_REPEAT), SLICE("\0\0\1\2\3\4\5"));
    pipe_frame_end(w.trunk.pipe);
    EXPECT_SOON(w.gateways[0].downs, step(&w));
    EXPECT_SOON(w.ready == 2, step(&w));
    EXPECT(w.trunk.downs > downs);
    world_close(&w);
}
