#include <pthread.h>
#include <stdatomic.h>

#include "base/check.h"
#include "gateways/common/rate.h"
#include "tests/t/t.h"

static struct address address(const char *text)
{
    struct address a;

    CHECK(address_parse(slice_str(text), &a) == 0);
    return a;
}

/* How many of `tries` at that time pass. */
static unsigned taken(struct rate *r, const char *who, unsigned tries,
                      int64_t now_ns)
{
    struct address a = address(who);
    unsigned n = 0;

    for (unsigned i = 0; i < tries; i++)
        n += rate_take(r, &a, now_ns);
    return n;
}

TEST(an_address_has_so_many_a_second_and_as_many_at_once)
{
    struct rate r;

    CHECK(rate_init(&r, 10) == 0);
    EXPECT_INT(taken(&r, "192.0.2.1", 100, 5 * SECOND), 10);
    EXPECT_INT(taken(&r, "192.0.2.1", 100, 5 * SECOND + 99 * MILLISECOND), 0);
    EXPECT_INT(taken(&r, "192.0.2.1", 100, 5 * SECOND + 100 * MILLISECOND), 1);
    EXPECT_INT(taken(&r, "192.0.2.1", 100, 5 * SECOND + 500 * MILLISECOND), 4);
    EXPECT_INT(taken(&r, "192.0.2.1", 100, 60 * SECOND), 10);
    rate_fini(&r);
}

TEST(what_was_refused_does_not_count)
{
    struct rate r;

    CHECK(rate_init(&r, 1) == 0);
    EXPECT_INT(taken(&r, "192.0.2.1", 1000, 0), 1);
    EXPECT_INT(taken(&r, "192.0.2.1", 1000, SECOND), 1);
    rate_fini(&r);
}

TEST(each_address_is_for_itself_and_an_ipv6_network_is_one)
{
    struct rate r;

    CHECK(rate_init(&r, 2) == 0);
    EXPECT_INT(taken(&r, "192.0.2.1", 9, 0), 2);
    EXPECT_INT(taken(&r, "192.0.2.2", 9, 0), 2);
    EXPECT_INT(taken(&r, "::ffff:192.0.2.1", 9, 0), 0);
    EXPECT_INT(taken(&r, "2001:db8::1", 1, 0), 1);
    EXPECT_INT(taken(&r, "2001:db8::2", 9, 0), 1);
    EXPECT_INT(taken(&r, "2001:db8:0:1::1", 9, 0), 2);
    EXPECT_INT(rate_addresses(&r), 4);
    rate_fini(&r);
}

TEST(nobody_has_no_limit_and_without_one_nothing_is_kept)
{
    struct address nobody = {0};
    struct rate r, off;

    CHECK(rate_init(&r, 1) == 0 && rate_init(&off, 0) == 0);
    for (unsigned i = 0; i < 10; i++)
        EXPECT(rate_take(&r, &nobody, 0));
    EXPECT_INT(taken(&off, "192.0.2.1", 1000, 0), 1000);
    EXPECT_INT(rate_addresses(&r) + rate_addresses(&off), 0);
    rate_fini(&r);
    rate_fini(&off);
}

TEST(addresses_at_rest_are_forgotten)
{
    struct rate r;
    struct address a = address("10.0.0.0");

    CHECK(rate_init(&r, 4) == 0);
    for (unsigned i = 0; i < 100000; i++) {
        a.bytes[1] = (uint8_t)(i >> 16);
        a.bytes[2] = (uint8_t)(i >> 8);
        a.bytes[3] = (uint8_t)i;
        EXPECT(rate_take(&r, &a, i * MILLISECOND)); /* 250 of them at a time */
        EXPECT(rate_addresses(&r) <= 2 * 251);
    }
    rate_fini(&r);
}

TEST(the_highest_rate_is_one)
{
    struct rate r;

    CHECK(rate_init(&r, 1000000) == 0);
    EXPECT_INT(taken(&r, "192.0.2.1", 2000000, 0), 1000000);
    rate_fini(&r);
}

enum { THREADS = 4, TRIES = 10000, RATE = 5000 };

struct crowd {
    struct rate rate;
    atomic_uint passed;
};

static void *try_often(void *ctx)
{
    struct crowd *c = ctx;

    atomic_fetch_add(&c->passed, taken(&c->rate, "192.0.2.1", TRIES, SECOND));
    return NULL;
}

TEST(the_rate_is_exact_for_all_workers_together)
{
    struct crowd c;
    pthread_t thread[THREADS];

    atomic_init(&c.passed, 0);
    CHECK(rate_init(&c.rate, RATE) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread[i], NULL, try_often, &c) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    EXPECT_INT(atomic_load(&c.passed), RATE);
    rate_fini(&c.rate);
}
