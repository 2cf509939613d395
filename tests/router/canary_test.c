/* Canaries in the router: when they go back, and who is mute. */
#include "router/canary.h"

#include <string.h>

#include "base/clock.h"
#include "proto/report.h"
#include "router/commit.h"
#include "tests/router/world.h"
#include "proto/frame_io.h"

static void canary(struct peer *p, uint64_t number, uint32_t away_ms)
{
    struct buf b = BUF_INIT;

    put_u64(&b, number);
    put_u32(&b, away_ms);
    EXPECT_OK(link_pipe.frame(p->link, FRAME_CANARY, buf_slice(&b)));
    buf_fini(&b);
}

/* What `status` says first: "OK", or "DOWN the store hangs ...". */
static const char *status(struct peer *p)
{
    enum report_event event;
    struct report_field f;
    struct frame_answer a;
    struct cursor c;

    peer_query(p, 1, "status", "");
    a = peer_answered(p);
    buf_reset(&p->text);
    c = cursor_init(a.body);
    while (report_next(&c, &event, &f) == 0 && event != REPORT_END)
        if (event == REPORT_FIELD && (slice_eq(f.key, SLICE("state")) ||
                                      slice_eq(f.key, SLICE("why")))) {
            buf_add(&p->text, f.text);
            buf_add_byte(&p->text, ' ');
        }
    return buf_text(&p->text);
}

static void returns(struct peer *p, uint64_t number)
{
    struct cursor c = cursor_init(peer_next(p, FRAME_CANARY_BACK));

    EXPECT_INT(cursor_u64(&c), (int64_t)number);
    EXPECT(cursor_all_read(&c));
}

/* All that waited have, or were dropped. */
static void gone_back(struct world *w)
{
    EXPECT_SOON(list_empty(&w->router.canaries.waiting), world_turn(w));
}

TEST(a_canary_goes_back_and_takes_no_number)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "http1");
    uint64_t seq = w->router.seq;

    for (uint64_t i = 1; i <= 3; i++) {
        canary(p, i, 0);
        returns(p, i);
    }
    EXPECT_INT(w->router.seq, seq);
    EXPECT_INT(stat_get(&w->router.stats, STAT_PUBLISHED), 0);
    peer_free(p);
    world_free(w);
}

TEST(a_canary_goes_back_behind_what_was_published_before_it)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "http1");

    peer_login(p, 1, "a");
    peer_logged_in(p, NULL);
    peer_publish(p, "a", "one");
    peer_publish(p, "a", "two");
    canary(p, 1, 0);
    returns(p, 1);
    peer_publish(p, "a", "three");
    canary(p, 2, 0);
    EXPECT_SOON(w->router.seq >= 3 && list_empty(&w->router.canaries.waiting),
                world_turn(w));
    EXPECT_STR(peer_heard(p), "three [PUBLISHED] [CANARY_BACK]");
    peer_free(p);
    world_free(w);
}

TEST(a_canary_waits_while_the_store_hangs_and_status_says_so)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "http1");
    struct peer *ctl = peer_join_as(w, "ctl1", PEER_CTL);
    struct canaries *all = &w->router.canaries;

    clock_fake(clock_ns(), clock_wall_ms());
    all->asked++; /* the writer was asked, and does not answer */
    canary(p, 1, 0);
    world_settle(w);
    EXPECT_STR(peer_heard(p), "");
    EXPECT_STR(status(ctl), "OK  ");
    clock_fake_advance(5 * SECOND);
    canary(p, 1, 5000); /* sent again, it keeps its place */
    EXPECT_STR(status(ctl), "OK  ");
    clock_fake_advance(1 * SECOND);
    EXPECT_CONTAINS(status(ctl), "DOWN the store hangs: what was published 6 s "
                                 "ago is not committed");
    EXPECT_INT(canary_stuck_ns(&w->router, clock_ns()), 6 * SECOND);
    all->given = all->asked; /* it does */
    returns(p, 1);
    canary(p, 2, 0);
    returns(p, 2);
    EXPECT_STR(status(ctl), "OK  ");
    clock_real();
    peer_free(ctl);
    peer_free(p);
    world_free(w);
}

/* Behind what a dozen gateways hold it takes longer than a mute router may. */
TEST(while_more_comes_than_the_disk_takes_the_router_is_busy_and_not_mute)
{
    struct world *w = world_new(NULL);
    struct router *r = &w->router;
    size_t before;

    clock_fake(clock_ns(), clock_wall_ms());
    EXPECT_INT(canary_held_ns(r, clock_ns()), 0);
    before = r->publish.queued;
    for (unsigned i = 0; i < 10; i++) {
        r->publish.queued = QUEUE_COUNT_HIGH + 1;
        commit_turn(r);
        EXPECT(r->publish.paused);
        EXPECT_INT(canary_held_ns(r, clock_ns()), i * 4500 * MILLISECOND);
        clock_fake_advance(4 * SECOND);
        r->publish.queued = before;
        commit_turn(r);
        EXPECT(!r->publish.paused);
        clock_fake_advance(500 * MILLISECOND);
    }
    EXPECT_INT(canary_held_ns(r, clock_ns()), 45 * SECOND);
    clock_fake_advance(2 * SECOND);
    EXPECT_INT(canary_held_ns(r, clock_ns()), 0);
    r->publish.queued = QUEUE_COUNT_HIGH + 1; /* another time */
    commit_turn(r);
    EXPECT_INT(canary_held_ns(r, clock_ns()), 0);
    r->publish.queued = before;
    commit_turn(r);
    clock_real();
    world_free(w);
}

TEST(gateways_that_get_none_back_or_send_none_are_mute)
{
    struct world *w = world_new(NULL);
    struct peer *a = peer_join(w, "http1"), *b = peer_join(w, "ws1");
    struct peer *c = peer_join(w, "tcp1");
    struct peer *ctl = peer_join_as(w, "ctl1", PEER_CTL);

    clock_fake(clock_ns(), clock_wall_ms());
    EXPECT_STR(status(ctl), "OK  ");
    canary(a, 1, 0);
    canary(b, 1, 5001);
    EXPECT_CONTAINS(status(ctl), "DEGRADED gateway ws1 (pid 1) has not had a "
                                 "canary back");
    canary(a, 2, 6000);
    EXPECT_CONTAINS(status(ctl), "DOWN gateway http1 (pid 1) has not");
    EXPECT_CONTAINS(status(ctl), "and 1 more likewise");
    canary(a, 3, 0);
    canary(b, 3, 0);
    EXPECT_STR(status(ctl), "OK  ");
    gone_back(w);
    clock_fake_advance(7 * SECOND);
    canary(b, 4, 0);
    EXPECT_STR(status(ctl), "OK  ");
    clock_fake_advance(1); /* 5 s, and the 2 s between two */
    EXPECT_CONTAINS(status(ctl), "DEGRADED gateway http1");
    peer_leave(a);
    EXPECT_STR(status(ctl), "OK  ");
    peer_free(a);
    peer_free(b);
    peer_free(c); /* it never sent one: who knows */
    peer_free(ctl);
    clock_real();
    world_free(w);
}

TEST(over_a_link_that_is_not_whole_none_comes_until_it_is)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "http1");

    peer_break(p);
    peer_return(p);
    canary(p, 1, 0);
    world_settle(w);
    EXPECT_INT(p->link->state, LINK_SAYING);
    EXPECT(list_empty(&w->router.canaries.waiting));
    peer_synced(p);
    peer_next(p, FRAME_RESYNCED);
    returns(p, 1);
    fake_pipe_stall(p->pipe, 0); /* full from now on */
    canary(p, 2, 0);
    gone_back(w);
    fake_pipe_stall(p->pipe, SIZE_MAX); /* it has room again */
    EXPECT_STR(peer_heard(p), "");
    canary(p, 2, 2000);
    returns(p, 2);
    peer_free(p);
    world_free(w);
}

TEST(a_canary_of_a_gateway_that_is_gone_is_forgotten)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "http1");

    w->router.canaries.asked++;
    canary(p, 1, 0);
    peer_break(p);
    EXPECT(list_empty(&w->router.canaries.waiting));
    peer_free(p);
    world_free(w);
}

TEST(a_canary_that_is_none_is_a_fault)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "http1");

    EXPECT(link_pipe.frame(p->link, FRAME_CANARY, SLICE("short")) < 0);
    EXPECT(link_pipe.frame(p->link, FRAME_CANARY,
                           SLICE("much too long for one")) < 0);
    peer_free(p);
    world_free(w);
}

static void say_stuck(struct peer *p, uint64_t stuck)
{
    struct buf b = BUF_INIT;

    report_row(&b);
    report_text(&b, "name", SLICE("nng_stuck"));
    report_number(&b, "value", stuck);
    report_row_end(&b);
    EXPECT_OK(link_pipe.frame(p->link, FRAME_STATS, buf_slice(&b)));
    buf_fini(&b);
}

TEST(status_names_who_cannot_close_its_sockets_any_more)
{
    struct world *w = world_new(NULL);
    struct peer *ctl = peer_join(w, "ctl"), *ws = peer_join(w, "ws1");

    say_stuck(ws, 0);
    EXPECT_STR(status(ctl), "OK  ");
    say_stuck(ws, 1);
    EXPECT_CONTAINS(status(ctl), "DEGRADED gateway ws1 (pid 1) cannot close "
                                 "its sockets to the router any more");
    EXPECT_CONTAINS(status(ctl), "touchline upgrade, or end it");
    stat_set(&w->router.stats, STAT_NNG_STUCK, 1);
    EXPECT_CONTAINS(status(ctl), "DEGRADED the router (pid ");
    stat_set(&w->router.stats, STAT_NNG_STUCK, 0);
    say_stuck(ws, 0);
    EXPECT_STR(status(ctl), "OK  ");
    peer_free(ws);
    peer_free(ctl);
    world_free(w);
}
