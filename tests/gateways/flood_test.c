/* Keys made to collide: what a stranger who knows the hash, but not the seed
 * that each process draws, can do to the tables of ids. The router's table is
 * the same map with the same hash. */
#include <stdio.h>
#include <time.h>
#include <xxhash.h>

#include "base/err.h"
#include "gateways/common/topic.h"
#include "tests/t/t.h"

enum { KEYS = 100000, KEY = 8, TIMES = 3 };

/* XXH3 of eight bytes is a chain of steps that can each be taken back: so keys
 * can be had for any hash, and these all end in the same 32 bits. */
#define PRIME UINT64_C(0x9FB21C651E98DF25)

static uint64_t rotl(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

/* v ^ v >> by, taken back. */
static uint64_t unshift(uint64_t v, int by)
{
    uint64_t out = v;

    for (int i = by; i < 64; i += by)
        out = v ^ out >> by;
    return out;
}

/* odd * ret == 1, by Newton's steps. */
static uint64_t inverse(uint64_t odd)
{
    uint64_t x = odd;

    for (int i = 0; i < 6; i++)
        x *= 2 - odd * x;
    return x;
}

/* v ^ rotl(v, 49) ^ rotl(v, 24), taken back: the map is linear over bits, and
 * its 64th power is the identity, for rotations are. */
static uint64_t unrotate(uint64_t v)
{
    for (int i = 0; i < 63; i++)
        v ^= rotl(v, 49) ^ rotl(v, 24);
    return v;
}

/* From a hash back to what XXH3 has mixed out of the key and the seed. */
static uint64_t unmix(uint64_t hash)
{
    uint64_t v = unshift(hash, 28) * inverse(PRIME), h = v;

    for (int i = 0; i < 2; i++)
        h = v ^ ((h >> 35) + KEY);
    return unrotate(h * inverse(PRIME));
}

/* The key of this hash when the seed is 0: what is mixed in does not depend on
 * the key, so that of the key of zeroes tells it. The halves are swapped. */
static uint64_t key_of(uint64_t hash)
{
    static const uint8_t zeroes[KEY];

    return rotl(unmix(hash) ^ unmix(XXH3_64bits(zeroes, KEY)), 32);
}

static uint8_t colliding[KEYS][KEY], ordinary[KEYS][KEY];

static void make_keys(void)
{
    for (uint64_t i = 0; i < KEYS; i++) {
        uint64_t key = key_of(i << 32 | 12345), other = test_random();

        memcpy(colliding[i], &key, KEY);
        memcpy(ordinary[i], &other, KEY);
    }
}

static int64_t processor_ns(void)
{
    struct timespec t;

    EXPECT_INT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return t.tv_sec * SECOND + t.tv_nsec;
}

/* The quickest of several goes: others use the processor, too. */
static int64_t time_to_add(uint8_t keys[KEYS][KEY])
{
    int64_t best = INT64_MAX;

    for (int n = 0; n < TIMES; n++) {
        int64_t from = processor_ns();
        struct topics ts;
        struct topic *t;

        EXPECT_OK(topics_init(&ts));
        for (size_t i = 0; i < KEYS; i++)
            EXPECT_OK(topics_get(&ts, slice_make(keys[i], KEY), &t));
        best = MIN(best, processor_ns() - from);
        topics_fini(&ts);
    }
    return best;
}

TEST(the_keys_of_this_test_do_collide_without_a_seed)
{
    make_keys();
    for (size_t i = 0; i < KEYS; i++)
        EXPECT_INT((uint32_t)XXH3_64bits(colliding[i], KEY), 12345);
}

TEST(ids_that_collide_without_the_seed_cost_no_more_than_others)
{
    int64_t plain, hostile;

    make_keys();
    plain = time_to_add(ordinary);
    hostile = time_to_add(colliding);
    if (hostile > 3 * plain)
        test_fail(__FILE__, __LINE__, "%lld ns against %lld ns",
                  (long long)hostile, (long long)plain);
}
