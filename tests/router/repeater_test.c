/* The fan-out's root: one DELIVER per link, and the tail. */
#include "base/err.h"
#include "tests/router/world.h"
#include "proto/frame_io.h"

TEST(a_link_gets_one_frame_however_many_of_its_seats_and_patterns_match)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    struct peer *idle = peer_join(w, "gw3");

    for (uint32_t c = 0; c < 50; c++)
        peer_login(p, c, "user/ana");
    peer_login(p, 1, "user/*");
    peer_login(p, 2, "**");
    peer_login(q, 1, "user/**");
    EXPECT_INT(peer_taken(q, peer_publish(q, "user/ana", "x")).reached, 51);
    world_settle(w);
    EXPECT_STR(peer_stream(p), "x");
    EXPECT_STR(peer_heard(idle), "");
    EXPECT_INT(stat_get(&w->router.stats, STAT_DELIVERS), 2);
    peer_free(p);
    peer_free(q);
    peer_free(idle);
    world_free(w);
}

TEST(a_leaf_without_seats_still_gets_what_its_gateway_keeps)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");

    peer_login(p, 1, "a");
    peer_logout(p, 1, "a", false);
    EXPECT_INT(peer_taken(p, peer_publish(p, "a", "warm")).reached, 0);
    peer_login(p, 1, "a");
    peer_closed(p, 1);
    peer_taken(p, peer_publish(p, "a", "still"));
    peer_release(p, "a");
    peer_taken(p, peer_publish(p, "a", "cold"));
    world_settle(w);
    EXPECT_INT(stat_get(&w->router.stats, STAT_DELIVERS), 2);
    peer_login(p, 1, "a");
    peer_logout(p, 1, "a", true); /* with RELEASE in it */
    peer_taken(p, peer_publish(p, "a", "cold"));
    EXPECT_INT(stat_get(&w->router.stats, STAT_DELIVERS), 2);
    peer_free(p);
    world_free(w);
}

TEST(a_message_travels_with_all_its_parts)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_publish f = {
        .id = SLICE("a"),
        .from = SLICE("ana"),
        .kind = SLICE("wave"),
        .key = SLICE("k"),
        .format = MSG_BYTES,
        .data = SLICE("\0\xff\n"),
    };
    struct msg_parts live, row;
    uint32_t ref;

    peer_login(p, 1, "a");
    peer_publish_frame(p, f);
    live = peer_message(p);
    EXPECT_SLICE(live.id, f.id);
    EXPECT_SLICE(live.from, f.from);
    EXPECT_SLICE(live.kind, f.kind);
    EXPECT_SLICE(live.key, f.key);
    EXPECT_SLICE(live.data, f.data);
    EXPECT_INT(live.format, MSG_BYTES);
    EXPECT(live.ts_ms > INT64_C(1500000000000));
    peer_fetch(p, 6, "a", FETCH_LAST, 0, 0, 1);
    EXPECT_OK(frame_read_row(peer_next(p, FRAME_ROW), &ref, &row));
    EXPECT_INT(ref, 6);
    EXPECT_SLICE(row.from, f.from);
    EXPECT_SLICE(row.kind, f.kind);
    EXPECT_SLICE(row.key, f.key);
    EXPECT_SLICE(row.data, f.data);
    EXPECT_INT(row.format, MSG_BYTES);
    EXPECT_INT(row.flags, MSG_STORED);
    peer_free(p);
    world_free(w);
}

TEST(without_memory_for_the_frame_the_link_is_repaired)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct msg_parts parts = {.id = SLICE("a"), .data = SLICE("lost")};
    struct msg *m;

    peer_login(p, 1, "a");
    peer_taken(p, peer_publish(p, "a", "1"));
    EXPECT_OK(msg_new(&m, &parts));
    buf_fini(&w->router.repeater.frame);
    test_fail_malloc_after(0);
    repeater_send(&w->router, m);
    EXPECT(test_malloc_failed());
    msg_drop(m);
    EXPECT_INT(p->link->state, LINK_STALE);
    world_settle(w);
    EXPECT_INT(p->link->state, LINK_LIVE);
    EXPECT_STR(peer_stream(p), "[RESYNCED]");
    peer_publish(p, "a", "2");
    world_settle(w);
    EXPECT_STR(peer_stream(p), "2");
    peer_free(p);
    world_free(w);
}

TEST(the_tail_is_bounded_by_count_and_bytes_and_knows_where_it_begins)
{
    struct world *w = world_new((const char *const[]){
        "limits.message=1M", NULL});
    struct peer *p = peer_join(w, "gw1");
    struct repeater *rep = &w->router.repeater;
    char *huge = calloc(1, 900001);
    uint64_t seq = 0;

    for (int i = 0; i < TAIL_COUNT + 10; i++)
        peer_publish(p, "a", "x");
    world_settle(w);
    EXPECT_INT(rep->tail_next - rep->tail_first, TAIL_COUNT);
    EXPECT_INT(rep->tail_after, w->router.stored_seq - TAIL_COUNT);
    for (size_t i = 0; i < 900000; i++)
        huge[i] = 'h';
    for (int i = 0; i < 4; i++)
        seq = peer_taken(p, peer_publish(p, "a", huge)).seq;
    EXPECT_INT(rep->tail_next - rep->tail_first, 2);
    EXPECT_INT(rep->tail_after, seq - 2);
    EXPECT(rep->tail_bytes <= TAIL_BYTES);
    peer_publish(p, "volatile/v", "x"); /* what has no history is not in it */
    world_settle(w);
    EXPECT_INT(rep->tail_next - rep->tail_first, 2);
    free(huge);
    peer_free(p);
    world_free(w);
}
