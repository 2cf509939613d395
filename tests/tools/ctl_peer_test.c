/* router-ctl's end of the link, against a router that does what it is told. */
#include "tools/router-ctl/peer.h"

#include <string.h>

#include "base/err.h"
#include "proto/rendezvous.h"
#include "tests/t/t.h"
#include "proto/frame_io.h"

/* A router of one link, which remembers what it was last asked. */
struct router {
    struct loop *loop;
    struct rendezvous *door;
    struct pipe *pipe;
    bool welcomes, up;
    unsigned hellos, logins, publishes, fetches;
    struct frame_hello hello;
    struct frame_publish publish; /* numbers only */
    uint32_t ref;
    struct peer *peer;
};

static int on_hello(struct router *r, struct slice body)
{
    struct frame_welcome w = { .life = 7, .seq = 40, .link = 1,
                               .epoch = SLICE("old"),
                               .server = SLICE("test") };

    EXPECT_OK(frame_read_hello(body, &r->hello));
    r->hellos++;
    if (r->welcomes) {
        frame_write_welcome(pipe_frame(r->pipe, FRAME_WELCOME), &w);
        pipe_frame_end(r->pipe);
    }
    return 0;
}

static int on_frame(void *ctx, uint8_t code, struct slice body)
{
    struct router *r = ctx;
    struct frame_fetch fetch;
    struct frame_query query;

    switch (code) {
    case FRAME_HELLO:
        return on_hello(r, body);
    case FRAME_PUBLISH:
        EXPECT_OK(frame_read_publish(body, &r->publish));
        r->publishes++;
        return 0;
    case FRAME_FETCH:
        EXPECT_OK(frame_read_fetch(body, &fetch));
        r->ref = fetch.ref;
        r->fetches++;
        return 0;
    case FRAME_QUERY:
        EXPECT_OK(frame_read_query(body, &query));
        r->ref = query.ref;
        return 0;
    case FRAME_LOGIN:
        r->logins++;
        return 0;
    default:
        return ERR_FRAME;
    }
}

static void on_batch_end(void *ctx, uint64_t seq)
{
    UNUSED(ctx);
    UNUSED(seq);
}

static void on_up(void *ctx)
{
    ((struct router *)ctx)->up = true;
}

static void on_down(void *ctx, const char *why)
{
    struct router *r = ctx;

    UNUSED(why);
    r->up = false;
    pipe_free(r->pipe);
    r->pipe = NULL;
}

static void on_drained(void *ctx)
{
    UNUSED(ctx);
}

static void joined(void *ctx, const struct peer_id *who, struct pipe *p,
                   const struct pipe_ops **ops, void **pipe_ctx)
{
    static const struct pipe_ops router_ops = {
        .frame = on_frame,
        .batch_end = on_batch_end,
        .up = on_up,
        .down = on_down,
        .drained = on_drained,
    };
    struct router *r = ctx;

    EXPECT_INT(who->kind, PEER_CTL);
    pipe_free(r->pipe);
    r->pipe = p;
    *ops = &router_ops;
    *pipe_ctx = r;
}

static const struct pipe_limits limits = { 1 << 20, 1 << 20 };

static void open_door(struct router *r)
{
    static const struct rendezvous_ops ops = { .joined = joined };
    const struct rendezvous_options o = { .dir = test_path("var"), .life = 7,
                                          .limits = limits };
    const char *why = "";

    if (rendezvous_open(&r->door, r->loop, &o, &ops, r, &why) < 0)
        test_fail(__FILE__, __LINE__, "%s", why);
}

static void close_door(struct router *r)
{
    pipe_free(r->pipe);
    r->pipe = NULL;
    rendezvous_close(r->door);
    r->door = NULL;
}

static void router_start(struct router *r, int64_t publish_wait)
{
    const struct peer_options o = { .dir = test_path("var"),
                                    .limits = limits,
                                    .publish_wait = publish_wait };

    *r = (struct router){ .welcomes = true };
    EXPECT_OK(loop_new(&r->loop));
    open_door(r);
    EXPECT_OK(peer_open(&r->peer, r->loop, &o));
}

static void turn(struct router *r)
{
    EXPECT_OK(loop_step(r->loop, 20 * MILLISECOND));
}

static void linked(struct router *r)
{
    EXPECT_SOON(peer_linked(r->peer), turn(r));
}

static void router_end(struct router *r)
{
    peer_close(r->peer);
    close_door(r);
    loop_free(r->loop);
}

/* ---- answers ----------------------------------------------------------- */

struct fate {
    unsigned count;
    uint8_t status;
    char code[32];
};

static void on_published(void *ctx, const struct frame_published *f)
{
    struct fate *t = ctx;

    t->count++;
    t->status = f->status;
    EXPECT(f->code.len < sizeof t->code);
    memcpy(t->code, f->code.ptr ? f->code.ptr : (const uint8_t *)"",
           f->code.len);
    t->code[f->code.len] = '\0';
}

static void publish(struct router *r, struct fate *t)
{
    const struct frame_publish f = { .format = MSG_TEXT, .id = SLICE("a"),
                                     .data = SLICE("hello") };

    *t = (struct fate){ .count = 0 };
    EXPECT_OK(peer_publish(r->peer, &f, on_published, t));
}

static void answer(struct router *r, uint8_t status, struct slice code)
{
    const struct frame_published f = { .number = r->publish.number,
                                       .status = status, .seq = 41,
                                       .offset = 1, .id = SLICE("a"),
                                       .code = code };

    frame_write_published(pipe_frame(r->pipe, FRAME_PUBLISHED), &f);
    pipe_frame_end(r->pipe);
    loop_again(r->loop);
}

TEST(it_joins_as_a_tool_and_publishes)
{
    struct router r;
    struct fate t;

    router_start(&r, SECOND);
    linked(&r);
    EXPECT_INT(r.hello.kind, PEER_CTL);
    EXPECT_STR(peer_epoch(r.peer)->text, "old");
    EXPECT_INT(peer_seq(r.peer), 40);
    publish(&r, &t);
    EXPECT_SOON(r.publishes == 1, turn(&r));
    EXPECT_INT(r.publish.flags, 0);
    answer(&r, PUBLISHED_OK, SLICE(""));
    EXPECT_SOON(t.count == 1, turn(&r));
    EXPECT_INT(t.status, PUBLISHED_OK);
    EXPECT_INT(peer_asked(r.peer), 0);
    router_end(&r);
}

TEST(what_was_not_answered_is_said_again_under_its_number)
{
    struct router r;
    struct fate t;
    uint64_t number;

    router_start(&r, 10 * SECOND);
    linked(&r);
    publish(&r, &t);
    EXPECT_SOON(r.publishes == 1, turn(&r));
    number = r.publish.number;
    pipe_break(r.pipe, "as the test wants it");
    EXPECT_SOON(r.publishes == 2, turn(&r));
    EXPECT_INT(r.publish.number, number);
    EXPECT_INT(r.publish.flags, PUBLISH_RESENT);
    EXPECT_INT(r.hello.asked, 40); /* where the router stood at first */
    EXPECT_INT(t.count, 0);
    answer(&r, PUBLISHED_DUPLICATE, SLICE(""));
    EXPECT_SOON(t.count == 1, turn(&r));
    EXPECT_INT(t.status, PUBLISHED_DUPLICATE);
    router_end(&r);
}

TEST(what_a_leaving_router_did_not_take_waits_for_the_next)
{
    struct router r;
    struct fate t;

    router_start(&r, 10 * SECOND);
    linked(&r);
    publish(&r, &t);
    EXPECT_SOON(r.publishes == 1, turn(&r));
    answer(&r, PUBLISHED_UNAVAILABLE, SLICE("router.away"));
    for (int i = 0; i < 3; i++)
        turn(&r);
    EXPECT_INT(t.count, 0);
    pipe_break(r.pipe, "as the test wants it");
    EXPECT_SOON(r.publishes == 2, turn(&r));
    EXPECT_INT(r.publish.flags, 0);
    router_end(&r);
}

TEST(without_a_router_for_publish_wait_its_fate_is_unknown)
{
    struct router r;
    struct fate sent, unsent;

    router_start(&r, 200 * MILLISECOND);
    linked(&r);
    publish(&r, &sent);
    EXPECT_SOON(r.publishes == 1, turn(&r));
    close_door(&r);
    EXPECT_SOON(!peer_linked(r.peer), turn(&r));
    publish(&r, &unsent);
    EXPECT_SOON(sent.count && unsent.count, turn(&r));
    EXPECT_INT(sent.status, PUBLISHED_UNKNOWN);
    EXPECT_STR(sent.code, "publish.unknown");
    EXPECT_INT(unsent.status, PUBLISHED_UNAVAILABLE);
    EXPECT_STR(unsent.code, "router.away");
    router_end(&r);
}

static void on_row(void *ctx, const struct msg_parts *m)
{
    struct fate *t = ctx;

    EXPECT_SLICE(m->id, SLICE("a"));
    t->count++;
}

static void on_hole(void *ctx, const struct frame_hole *f)
{
    UNUSED(ctx);
    UNUSED(f);
}

static void on_end(void *ctx, int rc, const struct frame_page_end *f)
{
    struct fate *t = ctx;

    UNUSED(f);
    t->status = (uint8_t)-rc;
    strcpy(t->code, "ended");
}

TEST(a_page_that_is_cut_off_ends_with_that)
{
    static const struct peer_page_ops ops = { on_row, on_hole, on_end };
    const struct frame_fetch f = { .mode = FETCH_LAST, .limit = 10 };
    const struct msg_parts row = { .seq = 3, .offset = 1, .id = SLICE("a") };
    const struct slice id = SLICE("a");
    struct fate t = { .count = 0 };
    struct router r;

    router_start(&r, 10 * SECOND);
    linked(&r);
    EXPECT_OK(peer_fetch(r.peer, &f, &id, 1, &ops, &t));
    EXPECT_SOON(r.fetches == 1, turn(&r));
    frame_write_row(pipe_frame(r.pipe, FRAME_ROW), r.ref, &row);
    pipe_frame_end(r.pipe);
    loop_again(r.loop);
    EXPECT_SOON(t.count == 1, turn(&r));
    pipe_break(r.pipe, "as the test wants it");
    EXPECT_SOON(t.code[0], turn(&r));
    EXPECT_INT(-(int)t.status, ERR_CLOSED);
    EXPECT_SOON(r.hellos == 2, turn(&r));
    EXPECT_INT(r.fetches, 1);
    router_end(&r);
}

static void count_up(void *ctx, const struct frame_welcome *w)
{
    EXPECT_INT(w->seq, 40);
    ++*(unsigned *)ctx;
}

TEST(a_listener_hears_of_each_link_and_many_ids_go_in_several_frames)
{
    static const struct peer_ops ops = { .up = count_up };
    struct slice ids[PEER_IDS_PER_FRAME + 1];
    unsigned ups = 0;
    struct router r;

    router_start(&r, SECOND);
    linked(&r);
    peer_listen(r.peer, &ops, &ups);
    EXPECT_SOON(ups == 1, turn(&r));
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = SLICE("a/b");
    peer_login(r.peer, ids, ARRAY_LEN(ids), true, false);
    loop_again(r.loop);
    EXPECT_SOON(r.logins == 2, turn(&r));
    pipe_break(r.pipe, "as the test wants it");
    EXPECT_SOON(ups == 2, turn(&r));
    router_end(&r);
}
