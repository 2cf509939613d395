#include "base/map.h"

#include "tests/t/t.h"

enum { KEYS = 5000 };

struct item {
    uint32_t key;
    bool in;
    unsigned visits;
    struct map_node node;
};

static struct item items[KEYS];

static bool eq_key(const struct map_node *node, const void *key)
{
    return CONTAINER_OF(node, const struct item, node)->key
           == *(const uint32_t *)key;
}

/* spread 0: a good hash; else so many bits are left of it: long chains. */
static uint32_t hash_of(uint32_t key, unsigned bits)
{
    uint32_t h = hash_bytes(slice_make(&key, sizeof key));

    return bits ? h & ((1u << bits) - 1) : h;
}

static struct item *find(const struct map *m, uint32_t key, unsigned bits)
{
    struct map_node *n = map_find(m, hash_of(key, bits), eq_key, &key);

    return n ? CONTAINER_OF(n, struct item, node) : NULL;
}

static void expect_same(struct map *m, unsigned bits)
{
    struct map_iter it = map_iter(m);
    struct map_node *n;
    size_t count = 0;

    for (uint32_t k = 0; k < KEYS; k++) {
        items[k].visits = 0;
        EXPECT(find(m, k, bits) == (items[k].in ? &items[k] : NULL));
        count += items[k].in;
    }
    EXPECT_INT(map_count(m), count);
    while (map_next(&it, &n))
        CONTAINER_OF(n, struct item, node)->visits++;
    for (uint32_t k = 0; k < KEYS; k++)
        EXPECT_INT(items[k].visits, items[k].in);
}

/* Waves of mostly adding and mostly removing, so that the table grows and
 * shrinks over its pieces several times. */
static void random_operations(unsigned bits)
{
    struct map m;

    map_init(&m);
    for (uint32_t k = 0; k < KEYS; k++)
        items[k] = (struct item){ .key = k };
    for (int op = 0; op < 120000; op++) {
        bool growing = op / 15000 % 2 == 0;
        struct item *it = &items[test_random() % KEYS];
        bool add = test_random() % 8 != 0 ? growing : !growing;

        EXPECT(find(&m, it->key, bits) == (it->in ? it : NULL));
        if (add && !it->in)
            EXPECT_OK(map_add(&m, &it->node, hash_of(it->key, bits)));
        else if (!add && it->in)
            map_remove(&m, &it->node);
        it->in = add;
        if (op % 10000 == 0)
            expect_same(&m, bits);
    }
    expect_same(&m, bits);
    map_fini(&m);
}

TEST(a_map_agrees_with_a_naive_model_while_it_grows_and_shrinks)
{
    random_operations(0);
}

TEST(a_map_agrees_with_the_model_when_many_hashes_are_equal)
{
    random_operations(6);
}

TEST(an_empty_map_has_no_memory_and_finds_nothing)
{
    struct map m;
    struct map_iter it;
    struct map_node *n;
    uint32_t key = 1;

    map_init(&m);
    EXPECT(!m.pieces);
    EXPECT(!map_find(&m, 1, eq_key, &key));
    it = map_iter(&m);
    EXPECT(!map_next(&it, &n));
    map_fini(&m);
    map_fini(&m);
}

static void fill(struct map *m)
{
    map_init(m);
    for (uint32_t k = 0; k < KEYS; k++) {
        items[k] = (struct item){ .key = k, .in = true };
        EXPECT_OK(map_add(m, &items[k].node, hash_of(k, 0)));
    }
}

TEST(a_map_that_is_emptied_gives_its_memory_back)
{
    struct map m;

    fill(&m);
    EXPECT(m.buckets >= KEYS - 1 && m.buckets <= KEYS);
    for (uint32_t k = 0; k < KEYS; k++) {
        map_remove(&m, &items[k].node);
        items[k].in = false;
    }
    EXPECT_INT(map_count(&m), 0);
    EXPECT(m.buckets <= 2);
    EXPECT(m.room <= 512);
    map_fini(&m);
}

TEST(nodes_may_be_removed_while_walking)
{
    struct map m;
    struct map_iter it;
    struct map_node *n;

    fill(&m);
    for (it = map_iter(&m); map_next(&it, &n);) {
        struct item *at = CONTAINER_OF(n, struct item, node);

        at->visits++;
        if (at->key % 3) {
            map_iter_remove(&it, n);
            at->in = false;
        }
    }
    for (uint32_t k = 0; k < KEYS; k++)
        EXPECT_INT(items[k].visits, 1);
    expect_same(&m, 0);
    map_fini(&m);
}

TEST(the_table_catches_up_after_a_walk_that_removed)
{
    struct map m;
    struct map_iter it;
    struct map_node *n;

    fill(&m);
    for (it = map_iter(&m); map_next(&it, &n);)
        if (map_count(&m) > KEYS / 4)
            map_iter_remove(&it, n);
    EXPECT(m.buckets > KEYS / 2);
    while (map_count(&m)) {
        it = map_iter(&m);
        EXPECT(map_next(&it, &n));
        map_remove(&m, n);
    }
    EXPECT(m.buckets <= KEYS / 2);
    map_fini(&m);
}

TEST(without_memory_only_the_first_node_is_refused)
{
    for (long n = 0;; n++) {
        struct map m;
        bool failed;
        int rc = 0;

        map_init(&m);
        for (uint32_t k = 0; k < KEYS; k++)
            items[k] = (struct item){ .key = k };
        test_fail_malloc_after(n);
        for (uint32_t k = 0; k < KEYS && rc == 0; k++) {
            rc = map_add(&m, &items[k].node, hash_of(k, 0));
            items[k].in = rc == 0;
        }
        failed = test_malloc_failed();
        EXPECT(rc == 0 || (failed && map_count(&m) == 0));
        expect_same(&m, 0);
        map_fini(&m);
        if (!failed)
            return;
    }
}

TEST(equal_bytes_have_equal_hashes_and_others_seldom)
{
    unsigned equal = 0;

    EXPECT_INT(hash_bytes(SLICE("room/1")), hash_bytes(SLICE("room/1")));
    EXPECT_INT(hash_bytes(slice_make(NULL, 0)), hash_bytes(SLICE("")));
    for (uint32_t k = 1; k < 1000; k++)
        equal += hash_of(k, 0) == hash_of(k - 1, 0);
    EXPECT(equal < 3);
}
