#include "proto/contention.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "tests/t/t.h"

TEST(three_for_four_is_much_if_it_is_any_at_all)
{
    EXPECT(contention_of(100, 75));
    EXPECT(!contention_of(100, 74));
    EXPECT(contention_of(0, 4));
    EXPECT(!contention_of(0, 3));
    EXPECT(!contention_of(0, 0));
}

TEST(a_time_long_ago_says_nothing)
{
    struct contention c = { .taken = -1000000, .since_ns = SECOND };

    EXPECT(!contention_found(&c, 3 * SECOND));
    c = (struct contention){ .taken = -1000000, .since_ns = SECOND };
    EXPECT(contention_found(&c, SECOND + SECOND / 2));
    c.taken = 1000000;
    EXPECT(contention_found(&c, 2 * SECOND));
    c.taken = 1000000;
    EXPECT(!contention_found(&c, 2 * SECOND + SECOND / 2));
}

/* --- two that want one processor --- */

static atomic_bool over;

static bool stay_on_one(void)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t)MAX(sched_getcpu(), 0), &one);
    return sched_setaffinity(0, sizeof one, &one) == 0;
}

/* Long enough to be taken off more than a few times. */
static void spin_on(void)
{
    int64_t until = clock_ns() + SECOND / 10;

    while (clock_ns() < until)
        ;
}

static void *spin(void *arg)
{
    UNUSED(arg);
    while (!atomic_load(&over))
        ;
    return NULL;
}

TEST(who_shares_a_processor_with_somebody_who_never_rests_finds_it)
{
    struct contention c = { .until_ns = 0 };
    pthread_t other;

    EXPECT(stay_on_one());
    EXPECT(pthread_create(&other, NULL, spin, NULL) == 0); /* as we, on one */
    EXPECT_SOON(contention_found(&c, clock_ns()), spin_on());
    atomic_store(&over, true);
    pthread_join(other, NULL);
}
