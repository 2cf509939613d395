/* Links in the trunk of a repeater are as any others, and are sent together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/secret.h"
#include "proto/frame_io.h"
#include "proto/trunk_frame.h"
#include "tests/router/world.h"

enum { LANES = 64 };

/* The repeater, and what it has: a fake pipe for each lane, from which it says
 * FROM, and to which it repeats. */
static struct {
    struct peer *self;
    struct peer *lanes[LANES]; /* by number - 1; NULL: gone */
    struct {
        uint64_t got, told; /* bytes, as TAKEN counts them */
        bool deaf;          /* takes nothing: TAKEN is not said */
        uint64_t seq;
        bool follows;
    } at[LANES];
    uint32_t last;
    unsigned repeats, copies; /* DELIVERs that came, and for whom */
    struct loop_turn pump;
} rep;

static int say_up(uint8_t code, struct buf *body)
{
    int rc;

    EXPECT(!body->failed);
    EXPECT_OK(frame_check(code, SENDER_GATEWAY, body->len));
    rc = fake_pipe_say(rep.self->pipe, code, buf_slice(body));
    buf_fini(body);
    return rc;
}

static uint32_t number_of(const struct peer *p)
{
    for (uint32_t i = 0; i < LANES; i++)
        if (rep.lanes[i] == p)
            return i + 1;
    return 0;
}

static int lane_says(void *ctx, uint8_t code, struct slice body)
{
    struct buf b = BUF_INIT;

    trunk_write_from(&b, number_of(ctx), code);
    put_raw(&b, body);
    return say_up(FRAME_FROM, &b);
}

static void lane_goes(void *ctx, const char *why)
{
    struct buf b = BUF_INIT;
    struct peer *p = ctx;

    trunk_write_gone(&b, number_of(p), strcmp(why, PIPE_PEER_LEFT) == 0,
                     slice_str(why));
    rep.lanes[number_of(p) - 1] = NULL;
    EXPECT_OK(say_up(FRAME_GONE, &b));
    pipe_free(p->pipe);
}

static void nothing(void *ctx)
{
    UNUSED(ctx);
}

static const struct pipe_ops lane_pipe = {
    .frame = lane_says, .down = lane_goes, .drained = nothing};

static void say_taken(uint32_t number)
{
    struct buf b = BUF_INIT;

    if (rep.at[number - 1].deaf || !rep.lanes[number - 1] ||
        rep.at[number - 1].told == rep.at[number - 1].got)
        return;
    rep.at[number - 1].told = rep.at[number - 1].got;
    trunk_write_taken(&b, number, rep.at[number - 1].got);
    EXPECT_OK(say_up(FRAME_TAKEN, &b));
}

static void repeat(struct slice body)
{
    struct trunk_repeat f;

    EXPECT_OK(trunk_read_repeat(body, &f));
    rep.repeats += f.code == FRAME_DELIVER;
    while (f.count--) {
        uint32_t number = cursor_u32(&f.numbers);
        struct peer *p = rep.lanes[number - 1];

        rep.copies += f.code == FRAME_DELIVER;
        if (!p)
            continue;
        put_raw(pipe_frame(p->pipe, f.code), f.body);
        pipe_frame_end(p->pipe);
        rep.at[number - 1].got += f.body.len + 5;
        say_taken(number);
    }
}

static void place(struct slice body)
{
    struct trunk_place f;

    EXPECT_OK(trunk_read_place(body, &f));
    rep.at[f.number - 1].follows = f.follows;
    rep.at[f.number - 1].seq = f.seq;
}

static void cut(struct slice body)
{
    struct trunk_cut f;

    EXPECT_OK(trunk_read_cut(body, &f));
    if (!rep.lanes[f.number - 1])
        return;
    pipe_free(rep.lanes[f.number - 1]->pipe);
    rep.lanes[f.number - 1]->pipe = NULL;
    rep.lanes[f.number - 1] = NULL;
}

static void pump(void *ctx)
{
    struct fake_frame *f;

    UNUSED(ctx);
    while (rep.self->pipe && (f = fake_pipe_take(rep.self->pipe))) {
        if (f->code == FRAME_REPEAT)
            repeat(buf_slice(&f->body));
        else if (f->code == FRAME_PLACE)
            place(buf_slice(&f->body));
        else if (f->code == FRAME_CUT)
            cut(buf_slice(&f->body));
        fake_frame_free(f);
    }
}

static void repeater_up(struct world *w)
{
    memset(&rep, 0, sizeof rep);
    rep.self = peer_join_as(w, "repeater1", PEER_REPEATER);
    loop_turn_start(&rep.pump, w->loop, pump, NULL);
}

static void repeater_end(struct world *w)
{
    loop_turn_stop(&rep.pump);
    peer_free(rep.self);
    world_free(w);
}

/* ---- gateways behind it ------------------------------------------------- */

static struct link *link_named(struct world *w, const char *name)
{
    LIST_FOREACH(l, &w->router.links.all, struct link, node)
        if (strcmp(l->who.name, name) == 0)
            return l;
    return NULL;
}

static int come(uint32_t number, const char *name, uint64_t life,
                enum peer_kind kind)
{
    struct peer_id who = {.kind = (uint8_t)kind, .pid = 7, .life = life,
                          .edge = "http"};
    struct buf b = BUF_INIT;

    snprintf(who.name, sizeof who.name, "%s", name);
    trunk_write_come(&b, number, &who);
    return say_up(FRAME_COME, &b);
}

static void lane_up(struct peer *p, const char *name)
{
    struct buf b = BUF_INIT;
    struct frame_hello f = {
        .kind = PEER_GATEWAY,
        .pid = 7,
        .life = p->life,
        .router_life = p->router_life,
        .served = p->served,
        .asked = p->asked,
        .name = slice_str(name),
        .edge = SLICE("http"),
        .epoch = slice_str(p->epoch),
    };
    struct frame_welcome welcome;

    p->pipe = fake_pipe_new();
    p->pipe->ops = &lane_pipe;
    p->pipe->ctx = p;
    rep.lanes[rep.last++] = p;
    EXPECT_OK(come(rep.last, name, p->life, PEER_GATEWAY));
    p->link = link_named(p->world, name);
    EXPECT(p->link != NULL);
    frame_write_hello(&b, &f);
    EXPECT_OK(fake_pipe_say(p->pipe, FRAME_HELLO, buf_slice(&b)));
    buf_fini(&b);
    EXPECT_OK(frame_read_welcome(peer_next(p, FRAME_WELCOME), &welcome));
    p->router_life = welcome.life;
    snprintf(p->epoch, sizeof p->epoch, SLICE_FMT, SLICE_ARG(welcome.epoch));
}

static struct peer *lane_join(struct world *w, const char *name)
{
    struct peer *p = calloc(1, sizeof *p);

    p->world = w;
    p->life = random_u64() | 1;
    w->peers++;
    lane_up(p, name);
    p->seq = w->router.seq;
    peer_synced(p);
    peer_next(p, FRAME_RESYNCED);
    return p;
}

static void lane_free(struct peer *p)
{
    uint32_t number = number_of(p);

    if (number) {
        pipe_free(p->pipe);
        rep.lanes[number - 1] = NULL;
    }
    peer_free(p);
}

static void publish_long(struct peer *p, const char *id, int from, int to)
{
    char text[60000];

    for (int i = from; i <= to; i++) {
        memset(text, 'x', sizeof text);
        text[sizeof text - 1] = '\0';
        peer_publish(p, id, text);
        world_settle(p->world);
    }
}

/* How many DELIVERs it has heard, and forgotten. */
static unsigned delivered(struct peer *p)
{
    unsigned n = 0;
    struct fake_frame *f;

    world_settle(p->world);
    while ((f = fake_pipe_take(p->pipe))) {
        n += f->code == FRAME_DELIVER;
        fake_frame_free(f);
    }
    return n;
}

TEST(a_gateway_behind_a_repeater_hears_what_any_other_hears)
{
    struct world *w = world_new(NULL);
    struct peer *flat = peer_join(w, "flat"), *a, *b;
    uint64_t seq;
    struct frame_published f;

    repeater_up(w);
    a = lane_join(w, "a");
    b = lane_join(w, "b");
    peer_login(flat, 1, "x");
    peer_logged_in(flat, &seq);
    peer_login(a, 1, "x");
    EXPECT_INT(peer_logged_in(a, &seq).last_offset, 0);
    peer_login(b, 1, "x");
    peer_logged_in(b, &seq);
    peer_login(b, 2, "y");
    peer_logged_in(b, &seq);
    f = peer_taken(a, peer_publish(a, "x", "1"));
    EXPECT_INT(f.reached, 3);
    peer_taken(flat, peer_publish(flat, "x", "2"));
    peer_taken(flat, peer_publish(flat, "y", "3"));
    world_settle(w);
    EXPECT_STR(peer_stream(flat), "");
    EXPECT_STR(peer_stream(b), "1 2 3");
    EXPECT_INT(rep.repeats, 3);
    EXPECT_INT(rep.copies, 5); /* what is for both came once */
    lane_free(a);
    lane_free(b);
    peer_free(flat);
    repeater_end(w);
}

TEST(a_repeater_is_welcome_and_its_peers_have_links_of_their_own)
{
    struct world *w = world_new(NULL);
    struct peer *a;

    repeater_up(w);
    a = lane_join(w, "a");
    EXPECT_INT(rep.self->link->state, LINK_LIVE);
    EXPECT_INT(a->link->state, LINK_LIVE);
    EXPECT(a->link->via == rep.self->link);
    EXPECT_INT(w->router.links.count, 2);
    peer_leave(a);
    EXPECT_INT(w->router.links.count, 1);
    EXPECT_INT(w->router.missing.count, 0);
    lane_free(a);
    repeater_end(w);
}

TEST(the_place_is_the_trunks_from_where_the_link_is_live)
{
    struct world *w = world_new(NULL);
    struct peer *a, *flat = peer_join(w, "flat");

    peer_taken(flat, peer_publish(flat, "x", "1"));
    repeater_up(w);
    a = lane_join(w, "a");
    world_turn(w);
    EXPECT(rep.at[0].follows);
    EXPECT_INT(rep.at[0].seq, w->router.seq);
    peer_taken(flat, peer_publish(flat, "x", "2"));
    EXPECT_INT(rep.self->pipe->seq, w->router.seq);
    lane_free(a);
    peer_free(flat);
    repeater_end(w);
}

TEST(who_takes_nothing_falls_behind_alone_and_is_repaired)
{
    static const char *const sets[] = {"limits.link_queue=4M", NULL};
    struct world *w = world_new(sets);
    struct peer *flat = peer_join(w, "flat"), *a, *b;
    uint64_t seq;

    repeater_up(w);
    a = lane_join(w, "a");
    b = lane_join(w, "b");
    peer_login(a, 1, "x");
    peer_logged_in(a, &seq);
    peer_login(b, 1, "x");
    peer_logged_in(b, &seq);
    world_settle(w);
    rep.at[0].deaf = true;
    publish_long(flat, "x", 1, 80);
    EXPECT_INT(a->link->state, LINK_STALE);
    EXPECT_INT(b->link->state, LINK_LIVE);
    EXPECT(!rep.at[0].follows);
    EXPECT(rep.at[0].seq < w->router.seq);
    EXPECT_INT(delivered(b), 80);
    EXPECT(lane_queued(&a->link->lane) >= 4 * MIB);
    EXPECT(lane_queued(&a->link->lane) < 4 * MIB + 64 * 1024);
    rep.at[0].deaf = false;
    say_taken(1);
    EXPECT_SOON(a->link->state == LINK_LIVE, world_turn(w));
    EXPECT(rep.at[0].follows);
    EXPECT_INT(delivered(a), 80);
    lane_free(a);
    lane_free(b);
    peer_free(flat);
    repeater_end(w);
}

TEST(who_takes_nothing_and_asks_on_is_cut_and_nobody_else)
{
    static const char *const sets[] = {"limits.link_queue=4M", NULL};
    struct world *w = world_new(sets);
    struct peer *a, *b;

    repeater_up(w);
    a = lane_join(w, "a");
    b = lane_join(w, "b");
    rep.at[0].deaf = true;
    for (uint32_t i = 1; !a->link->lane.breaking && i < 10000; i++) {
        world_turn(w);
        peer_query(a, i, "stats", ""); /* answered, whatever waits */
    }
    /* In front of any seq that could speak for what it is not given any more. */
    EXPECT_INT(CONTAINER_OF(rep.self->pipe->frames.prev, struct fake_frame,
                            node)->code, FRAME_CUT);
    world_turn(w);
    EXPECT(!a->pipe);
    EXPECT(!link_named(w, "a"));
    EXPECT(link_named(w, "b") == b->link);
    EXPECT_INT(w->router.missing.count, 1);
    lane_free(a);
    lane_free(b);
    repeater_end(w);
}

TEST(when_the_trunk_breaks_all_in_it_are_gone_and_what_they_missed_comes_again)
{
    struct world *w = world_new(NULL);
    struct peer *flat = peer_join(w, "flat"), *a, *b;
    struct peer *old;
    uint64_t seq;

    repeater_up(w);
    a = lane_join(w, "a");
    b = lane_join(w, "b");
    peer_login(a, 1, "x");
    peer_logged_in(a, &seq);
    peer_taken(flat, peer_publish(flat, "x", "1"));
    a->seq = a->served = peer_message(a).seq;
    old = rep.self;
    pipe_free(a->pipe);
    pipe_free(b->pipe);
    rep.lanes[0] = rep.lanes[1] = NULL;
    loop_turn_stop(&rep.pump);
    peer_break(old);
    peer_free(old);
    EXPECT_INT(w->router.links.count, 1);
    EXPECT_INT(w->router.missing.count, 3);
    EXPECT_INT(w->router.table.seats, 0);
    peer_taken(flat, peer_publish(flat, "x", "2"));
    repeater_up(w);
    lane_up(a, "a");
    EXPECT_INT(w->router.missing.count, 1);
    peer_login_as(a, 1, "x", "", LOGIN_RESYNC, 0);
    peer_synced(a);
    world_settle(w);
    EXPECT_STR(peer_stream(a), "2 [RESYNCED]");
    lane_free(a);
    lane_free(b);
    peer_free(flat);
    repeater_end(w);
}

TEST(a_name_belongs_to_one_peer_wherever_it_joins)
{
    struct world *w = world_new(NULL);
    struct peer *a, *other;

    repeater_up(w);
    a = lane_join(w, "a");
    other = peer_join(w, "a");
    world_turn(w);
    EXPECT(!a->pipe);
    EXPECT(link_named(w, "a") == other->link);
    EXPECT_OK(come(++rep.last, "repeater1", 5, PEER_GATEWAY));
    world_turn(w);
    EXPECT(link_named(w, "repeater1") == rep.self->link);
    lane_free(a);
    peer_free(other);
    repeater_end(w);
}

TEST(a_router_that_goes_down_lets_nobody_in)
{
    struct world *w = world_new(NULL);

    repeater_up(w);
    router_drain(&w->router);
    EXPECT_OK(come(++rep.last, "a", 5, PEER_GATEWAY));
    EXPECT(!link_named(w, "a"));
    world_turn(w);
    repeater_end(w);
}

TEST(who_breaks_the_rules_in_his_lane_is_cut_alone)
{
    struct world *w = world_new(NULL);
    struct peer *a, *b;

    repeater_up(w);
    a = lane_join(w, "a");
    b = lane_join(w, "b");
    EXPECT_OK(fake_pipe_say(a->pipe, FRAME_LOGIN, SLICE("nonsense")));
    EXPECT(!link_named(w, "a"));
    EXPECT(link_named(w, "b") == b->link);
    world_turn(w);
    EXPECT(!a->pipe);
    /* A gateway is no repeater. */
    EXPECT_OK(fake_pipe_say(b->pipe, FRAME_GONE, SLICE("\1\0\0\0\0\0")));
    EXPECT(!link_named(w, "b"));
    world_turn(w);
    lane_free(a);
    lane_free(b);
    repeater_end(w);
}

static void expect_bad(uint8_t code, struct buf *b)
{
    EXPECT_ERR(say_up(code, b), ERR_FRAME);
}

TEST(a_repeater_that_breaks_the_rules_is_refused)
{
    struct world *w = world_new(NULL);
    struct peer *a;
    struct buf b = BUF_INIT;

    repeater_up(w);
    a = lane_join(w, "a");
    EXPECT_ERR(come(1, "again", 5, PEER_GATEWAY), ERR_FRAME);
    EXPECT_ERR(come(9, "no name", 5, PEER_GATEWAY), ERR_FRAME);
    trunk_write_from(&b, 99, FRAME_STATS);
    expect_bad(FRAME_FROM, &b);
    trunk_write_from(&b, 0, FRAME_STATS);
    expect_bad(FRAME_FROM, &b);
    trunk_write_taken(&b, 1, UINT64_MAX);
    expect_bad(FRAME_TAKEN, &b);
    trunk_write_gone(&b, 2, false, SLICE(""));
    expect_bad(FRAME_GONE, &b);
    EXPECT_INT(w->router.links.count, 2);
    /* One that is gone may still be spoken of. */
    peer_leave(a);
    trunk_write_taken(&b, 1, 5);
    EXPECT_OK(say_up(FRAME_TAKEN, &b));
    lane_free(a);
    repeater_end(w);
}

TEST(a_router_that_ends_ends_trunks_whatever_their_order)
{
    struct world *w = world_new(NULL);
    struct peer *a, *b;

    repeater_up(w);
    a = lane_join(w, "a");
    b = lane_join(w, "b");
    pipe_free(a->pipe);
    pipe_free(b->pipe);
    rep.lanes[0] = rep.lanes[1] = NULL;
    rep.self->pipe = NULL;
    world_stop(w);
    EXPECT_INT(fake_pipes, 0);
    world_start(w);
    rep.self->pipe = NULL;
    lane_free(a);
    lane_free(b);
    loop_turn_stop(&rep.pump);
    peer_free(rep.self);
    world_free(w);
}

TEST(without_memory_for_a_peer_it_is_cut_and_the_trunk_goes_on)
{
    struct world *w = world_new(NULL);
    struct peer_id who = {.kind = PEER_GATEWAY, .life = 5};
    struct buf b = BUF_INIT;
    struct link *l;
    struct peer *a;

    repeater_up(w);
    a = lane_join(w, "a");
    for (long n = 0;; n++) {
        snprintf(who.name, sizeof who.name, "b%ld", n);
        buf_reset(&b);
        trunk_write_come(&b, 2 + (uint32_t)n, &who);
        test_fail_malloc_after(n);
        EXPECT_OK(fake_pipe_say(rep.self->pipe, FRAME_COME, buf_slice(&b)));
        if (!test_malloc_failed())
            break;
        l = link_named(w, who.name); /* or it could do without */
        EXPECT(!l || lane_is_up(&l->lane));
        world_turn(w);
    }
    EXPECT(link_named(w, who.name) != NULL);
    buf_fini(&b);
    EXPECT(link_named(w, "a") == a->link);
    lane_free(a);
    repeater_end(w);
}

/* All links are gone through at a turn's end, and this one is in front of those
 * that go with it. */
TEST(a_repeater_that_falls_as_its_repair_ends_takes_its_peers_along)
{
    struct world *w = world_new(NULL);
    struct peer *flat = peer_join(w, "flat"), *a, *b;
    struct frame_login bad = {.conn = 2, .count = 1}; /* and no id */
    struct buf body = BUF_INIT;

    repeater_up(w);
    a = lane_join(w, "a");
    b = lane_join(w, "b");
    rep.self->forgiving = true;
    peer_login(rep.self, 1, "x");
    world_settle(w);
    fake_pipe_stall(rep.self->pipe, 1);
    peer_taken(flat, peer_publish(flat, "x", "1"));
    peer_taken(flat, peer_publish(flat, "x", "2"));
    EXPECT_INT(rep.self->link->state, LINK_STALE);
    frame_write_login(&body, &bad);
    EXPECT_OK(say_up(FRAME_LOGIN, &body));
    fake_pipe_drain(rep.self->pipe);
    rep.self->pipe = NULL; /* it will be gone */
    EXPECT_SOON(w->router.links.count == 1, world_turn(w));
    EXPECT(!link_named(w, "a") && !link_named(w, "b"));
    peer_taken(flat, peer_publish(flat, "x", "3"));
    lane_free(a);
    lane_free(b);
    peer_free(flat);
    repeater_end(w);
}
