#include "gateways/common/ring.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/t/t.h"

static struct msg *message(uint64_t seq, size_t bytes)
{
    static const uint8_t zeros[1 << 16];
    struct msg *m;

    CHECK(msg_new(&m, &(struct msg_parts){
              .seq = seq,
              .offset = seq,
              .id = SLICE("a"),
              .data = slice_make(zeros, bytes),
          }) == 0);
    return m;
}

static uint64_t append(struct ring *r, uint64_t seq, int64_t now_ns)
{
    struct msg *m = message(seq, 10);
    uint64_t tick = 0;

    EXPECT_INT(ring_append(r, NULL, m, 0, now_ns, &tick), 0);
    msg_drop(m);
    return tick;
}

TEST(ticks_count_from_one_and_are_never_used_twice)
{
    struct ring r;

    ring_init(&r, 1 << 20);
    EXPECT_INT(ring_end(&r), 0);
    EXPECT_INT(append(&r, 7, 0), 1);
    EXPECT_INT(append(&r, 9, 0), 2);
    ring_drop_first(&r);
    ring_drop_first(&r);
    EXPECT_INT(append(&r, 11, 0), 3);
    EXPECT(ring_at(&r, 2) == NULL);
    EXPECT(ring_at(&r, 4) == NULL);
    EXPECT_INT(ring_at(&r, 3)->msg->seq, 11);
    ring_fini(&r);
}

TEST(a_cursor_finds_the_tick_up_to_which_all_seqs_are_at_most_its_own)
{
    struct ring r;

    ring_init(&r, 1 << 20);
    EXPECT_INT(ring_tick_of(&r, 5), 0);
    for (uint64_t seq = 10; seq <= 2000; seq += 10)
        append(&r, seq, 0);
    for (unsigned i = 0; i < 50; i++)
        ring_drop_first(&r);
    EXPECT_INT(ring_tick_of(&r, 0), 50);
    EXPECT_INT(ring_tick_of(&r, 509), 50);
    EXPECT_INT(ring_tick_of(&r, 510), 51);
    EXPECT_INT(ring_tick_of(&r, 1234), 123);
    EXPECT_INT(ring_tick_of(&r, 99999), 200);
    ring_fini(&r);
}

TEST(a_notice_shares_the_seq_before_it_and_stands_behind_it)
{
    struct ring r;

    ring_init(&r, 1 << 20);
    append(&r, 10, 0);
    append(&r, 10, 0); /* the notice */
    append(&r, 11, 0);
    EXPECT_INT(ring_tick_of(&r, 10), 2);
    ring_fini(&r);
}

TEST(entries_are_overdue_by_age_and_by_bytes)
{
    struct ring r;
    int64_t keep = RING_KEEP_MS * INT64_C(1000000);

    ring_init(&r, 1 << 20);
    append(&r, 1, 1000);
    EXPECT(ring_overdue(&r, 1000 + keep) == NULL);
    EXPECT(ring_overdue(&r, 1001 + keep) != NULL);
    r.bytes_max = 1;
    EXPECT(ring_overdue(&r, 1000) != NULL);
    ring_drop_first(&r);
    EXPECT(ring_overdue(&r, 1000) == NULL);
    EXPECT_INT(r.gone_seq, 1);
    EXPECT_INT(r.bytes, 0);
    ring_fini(&r);
}

TEST(a_crowd_of_messages_gives_its_memory_back)
{
    struct ring r;

    ring_init(&r, 1 << 30);
    for (uint64_t seq = 1; seq <= 100000; seq++)
        append(&r, seq, 0);
    EXPECT(r.mask >= 99999);
    while (r.next - r.first > 10)
        ring_drop_first(&r);
    EXPECT(r.mask < 256);
    for (uint64_t tick = r.first; tick < r.next; tick++)
        EXPECT_INT(ring_at(&r, tick)->msg->seq, tick);
    ring_fini(&r);
}

TEST(without_memory_nothing_is_appended_and_nothing_is_lost)
{
    struct ring r;
    struct msg *m;
    uint64_t tick = 77;

    ring_init(&r, 1 << 20);
    for (uint64_t seq = 1; seq <= 64; seq++)
        append(&r, seq, 0);
    m = message(65, 1);
    test_fail_malloc_after(0);
    EXPECT_INT(ring_append(&r, NULL, m, 0, 0, &tick), ERR_NOMEM);
    EXPECT(test_malloc_failed());
    EXPECT_INT(tick, 77);
    EXPECT_INT(ring_append(&r, NULL, m, 0, 0, &tick), 0);
    EXPECT_INT(tick, 65);
    msg_drop(m);
    ring_fini(&r);
}
