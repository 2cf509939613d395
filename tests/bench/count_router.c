/* What the router does, by the instructions of its loop's thread: what its
 * store's threads do is counted by count_store.c. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "proto/frame_io.h"
#include "router/router.h"
#include "tests/bench/count.h"
#include "tests/bench/link_ends.h"

enum { LINKS_MAX = 4 };

static const char text[] = "a message of a hundred bytes, as the figures that "
                           "others are compared with have them: 0123456789 ABC";

struct gate {
    struct pipe *pipe;
    struct link *link;
    uint64_t number; /* of its last publication */
    uint32_t conn;   /* its last connection */
    unsigned resynced, delivered, published, logged_in;
    uint64_t seq;
};

static struct world {
    struct count_ends ends;
    struct config *config;
    struct router router;
    struct gate gates[LINKS_MAX];
    unsigned count;
} w;

/* ---- gateways --------------------------------------------------------------- */

static int on_frame(void *ctx, uint8_t code, struct slice body)
{
    struct gate *g = ctx;
    struct frame_welcome f;

    switch (code) {
    case FRAME_WELCOME:
        MUST(frame_read_welcome(body, &f) == 0);
        g->seq = f.seq;
        put_u64(pipe_frame(g->pipe, FRAME_SYNCED), g->seq);
        pipe_frame_end(g->pipe);
        break;
    case FRAME_RESYNCED:
        g->resynced++;
        break;
    case FRAME_DELIVER:
        g->delivered++;
        break;
    case FRAME_PUBLISHED:
        g->published++;
        break;
    case FRAME_LOGGED_IN:
        g->logged_in++;
        break;
    default:
        break;
    }
    return 0;
}

static void on_batch_end(void *ctx, uint64_t seq)
{
    UNUSED(ctx), UNUSED(seq);
}

static void on_up(void *ctx)
{
    struct gate *g = ctx;
    const struct peer_id *who = &g->link->who;
    struct frame_hello f = {.kind = PEER_GATEWAY, .pid = 1, .life = who->life,
                            .name = slice_str(who->name),
                            .edge = SLICE("http")};

    frame_write_hello(pipe_frame(g->pipe, FRAME_HELLO), &f);
    pipe_frame_end(g->pipe);
}

static void on_down(void *ctx, const char *why)
{
    UNUSED(ctx);
    count_fail(__FILE__, __LINE__, why);
}

static const struct pipe_ops far_ops = {
    .frame = on_frame, .batch_end = on_batch_end, .up = on_up,
    .down = on_down,
};

static void join(void)
{
    struct gate *g = &w.gates[w.count];
    struct peer_id who = {.kind = PEER_GATEWAY, .pid = 1, .edge = "http"};
    struct pipe *near;

    who.life = 7 + w.count;
    snprintf(who.name, sizeof who.name, "http%u", ++w.count);
    count_ends_join(&w.ends, &far_ops, g, &near, &g->pipe);
    MUST(link_new(&g->link, &w.router, &who, near) == 0);
    pipe_set_ops(near, &link_pipe, g->link);
    count_settle(&w.ends);
    MUST(g->resynced == 1);
}

static void start(unsigned links)
{
    static const char *const sets[] = {"process.canary=0", NULL};
    char path[300];
    struct history_report report;
    struct history_options opt = {.path = path, .policy = router_keep};
    struct history *h;

    count_ends_open(&w.ends);
    w.config = count_config(sets);
    opt.policy_arg = w.config;
    snprintf(path, sizeof path, "%s/touchline.db", count_dir());
    MUST(history_open(&h, &opt, &report) == 0);
    MUST(router_init(&w.router, w.ends.near_loop, w.config, h) == 0);
    while (links--)
        join();
}

/* ---- logins ----------------------------------------------------------------- */

static void login(struct gate *g, const char *id, unsigned flags)
{
    struct frame_login f = {.conn = g->conn++, .gen = 1, .count = 1};
    struct login_id i = {(uint8_t)flags, slice_str(id)};
    struct buf *b = pipe_frame(g->pipe, FRAME_LOGIN);

    frame_write_login(b, &f);
    frame_write_login_id(b, &i);
    pipe_frame_end(g->pipe);
}

static void gone(struct gate *g)
{
    struct frame_logout f = {.conn = --g->conn, .gen = 1, .gone = 1};

    frame_write_logout(pipe_frame(g->pipe, FRAME_LOGOUT), &f);
    pipe_frame_end(g->pipe);
}

/* An id of its own, as a user's first connection has. */
static void once_login(void *ctx)
{
    struct gate *g = ctx;
    unsigned before = g->logged_in;
    char id[32];

    snprintf(id, sizeof id, "user/%u", g->conn);
    login(g, id, LOGIN_WANT_SNAPSHOT);
    count_far_turn(&w.ends);
    count_near_turn(&w.ends, 0);
    count_far_turn(&w.ends);
    MUST(g->logged_in == before + 1);
}

static void *begin_login(unsigned n)
{
    UNUSED(n);
    start(1);
    return &w.gates[0];
}

/* One more who watches what many do, and goes. */
static void once_visit(void *ctx)
{
    struct gate *g = ctx;

    login(g, "news/today", 0);
    count_far_turn(&w.ends);
    count_near_turn(&w.ends, 0);
    count_far_turn(&w.ends);
    gone(g);
    count_far_turn(&w.ends);
    count_near_turn(&w.ends, 0);
    count_far_turn(&w.ends);
}

static void *begin_visit(unsigned n)
{
    UNUSED(n);
    start(1);
    login(&w.gates[0], "news/today", 0);
    count_settle(&w.ends);
    return &w.gates[0];
}

/* ---- publications ------------------------------------------------------------ */

static void publish(struct gate *g, const char *id)
{
    struct frame_publish f = {.number = ++g->number, .conn = 0, .gen = 1,
                              .id = slice_str(id),
                              .data = slice_make(text, sizeof text - 1)};

    frame_write_publish(pipe_frame(g->pipe, FRAME_PUBLISH), &f);
    pipe_frame_end(g->pipe);
}

/* From the frames to those that go out: judged, handed to the store's writer,
 * numbered, found in the table, said to the links, answered. */
static void carry(struct gate *g, unsigned many)
{
    unsigned want = g->published + many;

    count_far_turn(&w.ends);
    count_near_turn(&w.ends, 0);
    count_far_turn(&w.ends);
    while (g->published < want) {
        count_near_turn(&w.ends, 10 * SECOND);
        count_far_turn(&w.ends);
    }
}

static void once_publish(void *ctx)
{
    struct gate *g = ctx;
    unsigned before = w.gates[w.count - 1].delivered;

    publish(g, "news/today");
    carry(g, 1);
    MUST(w.gates[w.count - 1].delivered == before + 1);
}

/* Does one after the other: nothing is to be trimmed meanwhile. */
static void watched(const char *id, unsigned n)
{
    for (unsigned i = 0; i < w.count; i++)
        for (unsigned k = 0; k < n; k++)
            login(&w.gates[i], id, 0);
    count_settle(&w.ends);
}

static void *begin_publish(unsigned n)
{
    start(1);
    watched("news/today", n);
    return &w.gates[0];
}

static void *begin_publish_links(unsigned n)
{
    start(n);
    watched("news/today", 1);
    return &w.gates[0];
}

/* ... which some watch by a pattern. */
static void *begin_publish_pattern(unsigned n)
{
    UNUSED(n);
    start(1);
    watched("news/*", 1);
    return &w.gates[0];
}

enum { BURST = 100 };

static void once_burst(void *ctx)
{
    struct gate *g = ctx;

    for (unsigned i = 0; i < BURST; i++)
        publish(g, "volatile/lobby");
    carry(g, BURST);
}

static void *begin_burst(unsigned n)
{
    start(1);
    watched("volatile/lobby", n);
    return &w.gates[0];
}

const struct count_path count_paths[] = {
    {"router/burst-of-100-unstored", begin_burst, once_burst, 1},
    {"router/login", begin_login, once_login, 0},
    {"router/login-and-gone", begin_visit, once_visit, 0},
    {"router/publish-to-1", begin_publish, once_publish, 1},
    {"router/publish-to-10", begin_publish, once_publish, 10},
    {"router/publish-to-100", begin_publish, once_publish, 100},
    {"router/publish-to-4-links", begin_publish_links, once_publish, 4},
    {"router/publish-to-a-pattern", begin_publish_pattern, once_publish, 1},
    {NULL, NULL, NULL, 0},
};
