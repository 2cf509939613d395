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
