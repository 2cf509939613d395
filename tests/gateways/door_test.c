#include <pthread.h>
#include <stdatomic.h>

#include "base/check.h"
#include "gateways/common/door.h"
#include "tests/t/t.h"

static struct address address(const char *text)
{
    struct address a;

    CHECK(address_parse(slice_str(text), &a) == 0);
    return a;
}

TEST(the_room_is_for_so_many)
{
    struct door *d;

    CHECK(door_new(&d, 2, 0) == 0);
    EXPECT_INT(door_places(d), 2);
    EXPECT(door_enter(d) && door_enter(d));
    EXPECT(door_is_full(d));
    EXPECT(!door_enter(d));
    EXPECT_INT(door_places(d), 0);
    door_leave(d);
    EXPECT(!door_is_full(d));
    EXPECT_INT(door_places(d), 1);
    EXPECT(door_enter(d));
    door_free(d);
}

TEST(each_address_has_its_share)
{
    struct address a = address("192.0.2.1"), b = address("2001:db8::1");
    struct address mapped = address("::ffff:192.0.2.1"), nobody = {0};
    struct door *d;

    CHECK(door_new(&d, 1, 2) == 0);
    EXPECT(door_take_share(d, &a) && door_take_share(d, &mapped));
    EXPECT(!door_take_share(d, &a));
    EXPECT(door_take_share(d, &b));
    for (unsigned i = 0; i < 10; i++)
        EXPECT(door_take_share(d, &nobody));
    door_give_share(d, &nobody);
    door_give_share(d, &a);
    EXPECT(door_take_share(d, &mapped));
    EXPECT_INT(door_addresses(d), 2);
    door_give_share(d, &b);
    EXPECT_INT(door_addresses(d), 1);
    door_free(d);
}

TEST(a_share_is_given_back_by_who_took_it_whatever_the_limit_is_by_then)
{
    struct address a = address("192.0.2.1"), early = a, late = a, more = a;
    struct door *d;

    CHECK(door_new(&d, 9, 0) == 0);
    EXPECT(door_take_share(d, &early));
    EXPECT(!address_known(&early)); /* nothing was counted */
    door_set_per_address(d, 1);
    EXPECT(door_take_share(d, &late));
    EXPECT(!door_take_share(d, &more));
    door_give_share(d, &early);
    EXPECT(!door_take_share(d, &more));
    door_set_per_address(d, 0);
    EXPECT_INT(door_addresses(d), 1);
    door_give_share(d, &late);
    EXPECT_INT(door_addresses(d), 0);
    door_free(d);
}

TEST(a_network_of_64_bits_has_the_share_of_one_address)
{
    struct address a = address("2001:db8:0:1::1");
    struct address b = address("2001:db8:0:1:ffff::2");
    struct address other = address("2001:db8:0:2::1");
    struct door *d;

    CHECK(door_new(&d, 1, 2) == 0);
    EXPECT(door_take_share(d, &a) && door_take_share(d, &b));
    EXPECT(!door_take_share(d, &a) && !door_take_share(d, &b));
    EXPECT(door_take_share(d, &other));
    EXPECT_INT(door_addresses(d), 2);
    door_give_share(d, &b);
    door_give_share(d, &b);
    EXPECT_INT(door_addresses(d), 1);
    door_give_share(d, &other);
    door_free(d);
}

TEST(without_a_limit_nothing_is_kept)
{
    struct address a = address("192.0.2.1");
    struct door *d;

    CHECK(door_new(&d, 1, 0) == 0);
    for (unsigned i = 0; i < 10; i++)
        EXPECT(door_take_share(d, &a));
    EXPECT_INT(door_addresses(d), 0);
    door_give_share(d, &a);
    door_free(d);
}

enum { THREADS = 4, ROUNDS = 2000, SHARE = 3 };

struct crowd {
    struct door *door;
    atomic_uint inside, most;
};

static void *come_and_go(void *ctx)
{
    struct crowd *c = ctx;
    struct address a = address("192.0.2.1");

    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned now;

        if (!door_take_share(c->door, &a))
            continue;
        now = atomic_fetch_add(&c->inside, 1) + 1;
        if (now > atomic_load(&c->most))
            atomic_store(&c->most, now);
        atomic_fetch_sub(&c->inside, 1);
        door_give_share(c->door, &a);
    }
    return NULL;
}

TEST(the_share_is_exact_for_all_workers_together)
{
    struct crowd c = {.door = NULL};
    pthread_t threads[THREADS];

    CHECK(door_new(&c.door, 1, SHARE) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, come_and_go, &c) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    EXPECT(atomic_load(&c.most) <= SHARE);
    EXPECT_INT(door_addresses(c.door), 0);
    door_free(c.door);
}
