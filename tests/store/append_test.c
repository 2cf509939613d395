#include "store/append.h"

#include "base/err.h"
#include "tests/store/shelf.h"

TEST(numbers_end_below_two_to_the_53)
{
    struct shelf s = shelf_init("db");
    struct entry e[2] = {
        shelf_entry("room/a", "x"), shelf_entry("volatile/x", "y"),
    };
    struct batch two = { .entries = e, .count = 2 };
    struct batch one = { .entries = e, .count = 1 };
    struct counters c;
    struct history *h;

    e[1].stored = false;
    counters_init(&c);
    EXPECT_OK(history_open(&h, &s.opt, &s.report));
    h->last_seq = SEQ_MAX - 3;
    append_batch(h, &c, &two);
    EXPECT_OK(two.rc);
    EXPECT_INT(e[1].rec.seq, SEQ_MAX - 1);
    append_batch(h, &c, &two);
    EXPECT_ERR(e[0].rc, ERR_FULL);
    EXPECT_OK(e[1].rc);
    EXPECT_INT(e[1].rec.seq, SEQ_MAX);
    EXPECT(!append_is_passing(h, &one));
    append_batch(h, &c, &two);
    EXPECT_ERR(e[0].rc, ERR_FULL);
    EXPECT_ERR(e[1].rc, ERR_FULL);
    history_close(h);
    counters_fini(&c);
    shelf_open(&s);
    EXPECT_STR(epoch_reason_name(s.report.why), "mark");
    EXPECT(s.first_seq <= SEQ_MAX);
    shelf_close(&s);
}

/* A state that was judged behind an event is not true without it: what was
 * judged behind a repeat, or behind who meets damage, must be judged again. */
TEST(who_was_judged_behind_one_that_is_not_taken_is_not_taken)
{
    struct shelf s = shelf_init("db");
    struct entry e[4] = {
        shelf_entry("match/a", "1"), shelf_entry("match/a", "2"),
        shelf_entry("match/a", "3"), shelf_entry("room/a", "4"),
    };
    struct batch first = { .entries = e, .count = 1 };
    struct batch all = { .entries = e, .count = 4 };
    struct counters c;
    struct history *h;

    for (int i = 0; i < 3; i++)
        e[i].judged = true;
    e[0].idem = e[1].idem = SLICE("key");
    counters_init(&c);
    EXPECT_OK(history_open(&h, &s.opt, &s.report));
    append_batch(h, &c, &first);
    EXPECT_OK(first.rc);
    e[0] = shelf_entry("match/a", "0");
    e[0].judged = true;
    append_batch(h, &c, &all);
    EXPECT_OK(all.rc);
    EXPECT_OK(e[0].rc);
    EXPECT_INT(e[0].rec.offset, 2);
    EXPECT_ERR(e[1].rc, ERR_EXISTS);
    EXPECT_ERR(e[2].rc, ERR_AGAIN);
    EXPECT_INT(e[2].rec.seq, 0);
    EXPECT_OK(e[3].rc);
    counters_fini(&c);
    history_close(h);
}
