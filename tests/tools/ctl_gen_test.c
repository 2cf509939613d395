/* When messages of `gen` are due, and for whom. */
#include "tools/router-ctl/gen_plan.h"

#include "base/base.h"
#include "base/clock.h"
#include "tests/t/t.h"

TEST(a_rate_is_exact_however_long_it_goes_on)
{
    const struct gen_plan p = { .rate = 3, .count = UINT64_MAX, .burst = 1 };
    const uint64_t year = UINT64_C(3) * 365 * 86400;

    EXPECT_INT(gen_due(&p, 0), 0);
    EXPECT_INT(gen_due(&p, 1), 333333333);
    EXPECT_INT(gen_due(&p, 2), 666666666);
    EXPECT_INT(gen_due(&p, 3), SECOND);
    EXPECT(gen_due(&p, year) == 365 * DAY);
}

TEST(a_burst_comes_at_once_and_keeps_the_rate)
{
    const struct gen_plan p = { .shape = GEN_BURST, .rate = 1000,
                                .count = UINT64_MAX, .burst = 500 };

    EXPECT_INT(gen_due(&p, 499), 0);
    EXPECT_INT(gen_due(&p, 500), SECOND / 2);
    EXPECT_INT(gen_due(&p, 999), SECOND / 2);
    EXPECT_INT(gen_due(&p, 1000), SECOND);
}

TEST(a_match_has_all_its_messages_at_the_moments_of_its_events)
{
    static const int64_t moments[] = { 0, 1000, 1000, 90000 };
    const struct gen_plan p = { .shape = GEN_MATCH, .rate = 10, .count = 100,
                                .burst = 1, .span_ns = 9 * SECOND,
                                .moments = moments, .moment_count = 4 };
    int64_t last = 0;

    EXPECT_INT(gen_due(&p, 0), 0);
    EXPECT_INT(gen_due(&p, 24), 0);
    EXPECT_INT(gen_due(&p, 25), SECOND / 10);
    EXPECT_INT(gen_due(&p, 74), SECOND / 10);
    EXPECT(gen_due(&p, 75) == 9 * SECOND);
    for (uint64_t i = 0; i < p.count; i++) {
        EXPECT(gen_due(&p, i) >= last);
        last = gen_due(&p, i);
    }
}

TEST(ids_are_even_or_zipfs_and_a_seed_repeats_them)
{
    enum { IDS = 100, MANY = 100000 };
    static unsigned even[IDS], skewed[IDS];
    struct gen_ids a, b, z;

    gen_ids_init(&a, IDS, 0, 7);
    gen_ids_init(&b, IDS, 0, 7);
    gen_ids_init(&z, IDS, 1, 7);
    for (unsigned i = 0; i < MANY; i++) {
        uint64_t id = gen_ids_next(&a);

        EXPECT(id < IDS && id == gen_ids_next(&b));
        even[id]++;
        id = gen_ids_next(&z);
        EXPECT(id < IDS);
        skewed[id]++;
    }
    for (unsigned i = 0; i < IDS; i++)
        EXPECT(even[i] > MANY / IDS / 2 && even[i] < MANY / IDS * 2);
    /* The first comes 1 / (1 + 1/2 + ... + 1/100) of the time. */
    EXPECT(skewed[0] > MANY * 17 / 100 && skewed[0] < MANY * 22 / 100);
    EXPECT(skewed[1] > skewed[0] * 4 / 10 && skewed[1] < skewed[0] * 6 / 10);
    EXPECT(skewed[99] < skewed[9]);
}
