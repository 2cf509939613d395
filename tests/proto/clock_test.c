#include "base/clock.h"

#include "tests/t/t.h"

TEST(real_time_goes_forward)
{
    int64_t a = clock_ns(), b = clock_ns();

    EXPECT(a > 0 && b >= a);
    EXPECT(clock_wall_ms() > INT64_C(1700000000000));
}

TEST(fake_time_stands_still_until_it_is_moved)
{
    clock_fake(5, 7);
    EXPECT_INT(clock_ns(), 5);
    EXPECT_INT(clock_wall_ms(), 7);
    for (int i = 0; i < 4; i++)
        clock_fake_advance(SECOND / 4000);
    EXPECT_INT(clock_ns(), 5 + MILLISECOND);
    EXPECT_INT(clock_wall_ms(), 8);
    clock_real();
    EXPECT(clock_ns() > MILLISECOND + 5);
}

/* ---- toll ---------------------------------------------------------------- */

enum { PART = 10 };
#define SAVED (200 * MILLISECOND)

static struct toll toll_at(int64_t now)
{
    struct toll t;

    toll_init(&t, now, PART, SAVED);
    return t;
}

TEST(what_is_saved_up_is_spent_at_once)
{
    int64_t now = 1000 * SECOND, spent = 0;
    struct toll t = toll_at(now);

    while (toll_wait(&t, now) == 0) {
        toll_charge(&t, MILLISECOND);
        spent += MILLISECOND;
    }
    EXPECT_INT(spent, SAVED);
}

TEST(in_the_long_run_a_part_of_the_time_is_spent)
{
    int64_t now = 0, end = 100 * SECOND, spent = 0;
    struct toll t = toll_at(now);

    while (now < end) {
        int64_t wait = toll_wait(&t, now);

        now += wait;
        if (wait)
            continue;
        toll_charge(&t, 3 * MILLISECOND);
        spent += 3 * MILLISECOND;
        now += 3 * MILLISECOND;
    }
    EXPECT(spent >= end / PART);
    EXPECT(spent <= end / PART + SAVED + 3 * MILLISECOND);
}

TEST(who_waits_as_long_as_he_is_told_waits_once)
{
    int64_t now = SECOND, wait;
    struct toll t = toll_at(now);

    EXPECT_INT(toll_wait(&t, now), 0);
    toll_charge(&t, 7 * SECOND);
    wait = toll_wait(&t, now);
    EXPECT(wait > 0);
    EXPECT(toll_wait(&t, now + wait - PART) > 0);
    EXPECT_INT(toll_wait(&t, now + wait), 0);
}

TEST(a_clock_that_stands_still_or_goes_back_gives_nothing)
{
    struct toll t = toll_at(SECOND);

    EXPECT_INT(toll_wait(&t, SECOND), 0);
    toll_charge(&t, SECOND);
    EXPECT(toll_wait(&t, SECOND) > 0);
    EXPECT(toll_wait(&t, 0) > 0);
}
