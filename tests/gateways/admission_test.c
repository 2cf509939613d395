/* Tokens and slots, by a clock of the test's own. */
#include "base/clock.h"
#include "gateways/common/admission.h"
#include "tests/t/t.h"

enum { RATE = 100, BURST = ADMIT_SECONDS * RATE };

static unsigned taken(struct admission *a, unsigned tries, int64_t now_ns)
{
    unsigned n = 0;

    while (tries--)
        n += admission_take(a, RATE, now_ns);
    return n;
}

TEST(a_burst_is_let_in_and_then_the_rate)
{
    struct admission a = {0};
    int64_t now = 1000 * SECOND;

    EXPECT_INT(taken(&a, 1000, now), BURST);
    EXPECT_INT(taken(&a, 1000, now + 9 * MILLISECOND), 0);
    EXPECT_INT(taken(&a, 1000, now + 100 * MILLISECOND), 10);
    EXPECT_INT(taken(&a, 1000, now + 3600 * SECOND), BURST);
}

TEST(without_a_rate_all_are_let_in)
{
    struct admission a = {0};

    for (unsigned i = 0; i < 100000; i++)
        EXPECT(admission_take(&a, 0, SECOND));
}

TEST(the_nth_who_is_turned_away_has_the_nth_slot)
{
    struct admission a = {0};
    int64_t now = 1000 * SECOND;

    for (unsigned i = 0; i < 500; i++)
        EXPECT_INT(admission_slot_ms(&a, RATE, now), 1000 + 10 * i);
    /* who is turned away later stands behind them */
    EXPECT_INT(admission_slot_ms(&a, RATE, now + 2 * SECOND), 4000);
    /* and when the queue is through the first slot is a second away again */
    EXPECT_INT(admission_slot_ms(&a, RATE, now + 60 * SECOND), 1000);
}

/* By one client who asks a million times and never comes. */
TEST(slots_that_nobody_comes_to_keep_nobody_waiting)
{
    struct admission a = {0};
    int64_t now = 1000 * SECOND;
    uint32_t most = 0;

    EXPECT_INT(taken(&a, 1000, now), BURST);
    for (unsigned i = 0; i < 1000000; i++)
        most = MAX(most, admission_slot_ms(&a, RATE, now));
    EXPECT_INT(most, SLOT_MOST_MS);
    /* While somebody comes for the tokens they are in use. */
    EXPECT_INT(taken(&a, 1, now + SECOND), 1);
    EXPECT(admission_slot_ms(&a, RATE, now + SECOND) > 1000);
    /* Nobody has for a while: others are not told to stand behind them. */
    EXPECT_INT(taken(&a, 1000, now + 5 * SECOND), BURST);
    EXPECT_INT(admission_slot_ms(&a, RATE, now + 5 * SECOND), 1000);
}

TEST(slots_are_apart_though_there_is_no_rate)
{
    struct admission a = {0};

    for (unsigned i = 0; i < 500; i++)
        EXPECT_INT(admission_slot_ms(&a, 0, SECOND), 1000 + i);
}

/* 5,000 come at once; whoever is turned away comes again when it was told to,
 * up to a second late, as those do who know whole seconds only. */
TEST(who_comes_at_its_slot_is_let_in)
{
    enum { CROWD = 5000 };
    static int64_t at[CROWD];
    struct admission a = {0};
    int64_t now = 1000 * SECOND, last = now;
    unsigned late = 0;

    for (unsigned i = 0; i < CROWD; i++)
        if (!admission_take(&a, RATE, now))
            at[i] = now + admission_slot_ms(&a, RATE, now) * MILLISECOND +
                    (int64_t)(i * 7919u % 1000u) * MILLISECOND;
    for (int64_t t = now; t < now + 70 * SECOND; t += MILLISECOND)
        for (unsigned i = 0; i < CROWD; i++)
            if (at[i] == t) {
                late += !admission_take(&a, RATE, t);
                last = t;
            }
    EXPECT_INT(late, 0);
    EXPECT(last < now + (CROWD / RATE + 3) * SECOND);
}
