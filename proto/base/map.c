#include "base/map.h"

#include <stdlib.h>
#include <pthread.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/err.h"
#include "base/secret.h"

/* The buckets lie in pieces, so that growing moves none of them. The first
 * piece alone starts small and doubles until it is a whole one, for the many
 * maps that stay tiny. A table of n buckets, mask < n <= 2 * (mask + 1), keeps
 * a node at its hash under the doubled mask where that bucket exists already,
 * else under mask. Growing by one splits bucket n - mask - 1; shrinking by one
 * joins the last bucket to the one it was split from. */
enum { PIECE = 512, FIRST_BUCKETS = 8, DIRECTORY_FIRST = 8 };

static struct map_node **bucket(const struct map *m, size_t i)
{
    return &m->pieces[i / PIECE][i % PIECE];
}

static size_t slot(const struct map *m, uint32_t hash)
{
    size_t wide = hash & (m->mask * 2 + 1);

    return wide < m->buckets ? wide : hash & m->mask;
}

void map_init(struct map *m)
{
    *m = (struct map){ 0 };
}

void map_fini(struct map *m)
{
    for (size_t i = 0; i * PIECE < m->room; i++)
        free(m->pieces[i]);
    free(m->pieces);
    map_init(m);
}

static bool make_directory_room(struct map *m, size_t pieces)
{
    size_t room = MAX(m->piece_room * 2, (size_t)DIRECTORY_FIRST);
    struct map_node ***wider;

    if (pieces <= m->piece_room)
        return true;
    wider = realloc(m->pieces, room * sizeof *wider);
    if (!wider)
        return false;
    m->pieces = wider;
    m->piece_room = room;
    return true;
}

/* The first piece has room for `from` buckets and gets room for twice. */
static bool double_first_piece(struct map *m)
{
    size_t to = m->room * 2;
    struct map_node **piece = realloc(m->pieces[0], to * sizeof *piece);

    if (!piece)
        return false;
    m->pieces[0] = piece;
    m->room = to;
    return true;
}

static bool add_piece(struct map *m)
{
    size_t n = m->room / PIECE;
    size_t buckets = m->room ? PIECE : FIRST_BUCKETS;

    if (!make_directory_room(m, n + 1))
        return false;
    m->pieces[n] = malloc(buckets * sizeof **m->pieces);
    if (!m->pieces[n])
        return false;
    m->room += buckets;
    return true;
}

static bool make_room(struct map *m)
{
    if (m->buckets < m->room)
        return true;
    return m->room && m->room < PIECE ? double_first_piece(m) : add_piece(m);
}

/* Splits the next bucket in turn; without memory the chains just get longer. */
static void grow(struct map *m)
{
    struct map_node **low, **high, *n;

    if (m->buckets > UINT32_MAX || !make_room(m))
        return;
    if (m->buckets == m->mask * 2 + 2)
        m->mask = m->mask * 2 + 1;
    low = bucket(m, m->buckets - m->mask - 1);
    high = bucket(m, m->buckets);
    m->buckets++;
    n = *low;
    *low = *high = NULL;
    while (n) {
        struct map_node *next = n->next;
        struct map_node **to = n->hash & (m->mask + 1) ? high : low;

        n->next = *to;
        *to = n;
        n = next;
    }
}

static void give_back(struct map *m)
{
    size_t last = m->room / PIECE - 1;

    if (m->room <= PIECE || m->buckets > last * PIECE)
        return;
    free(m->pieces[last]);
    m->room -= PIECE;
}

/* Joins the last bucket to the one it was split from. */
static void shrink(struct map *m)
{
    struct map_node **high, **tail;

    if (m->buckets == m->mask + 1)
        m->mask /= 2;
    m->buckets--;
    high = bucket(m, m->buckets);
    tail = bucket(m, m->buckets - m->mask - 1);
    while (*tail)
        tail = &(*tail)->next;
    *tail = *high;
    give_back(m);
}

int map_begin(struct map *m)
{
    if (m->buckets)
        return 0;
    if (!make_room(m))
        return ERR_NOMEM;
    m->buckets = 1;
    m->mask = 0;
    *bucket(m, 0) = NULL;
    return 0;
}

int map_add(struct map *m, struct map_node *node, uint32_t hash)
{
    struct map_node **head;

    if (map_begin(m) < 0)
        return ERR_NOMEM;
    if (m->count >= m->buckets)
        grow(m);
    head = bucket(m, slot(m, hash));
    node->hash = hash;
    node->next = *head;
    *head = node;
    m->count++;
    return 0;
}

struct map_node *map_find(const struct map *m, uint32_t hash, map_eq *eq,
                          const void *key)
{
    struct map_node *n;

    if (m->count == 0)
        return NULL;
    for (n = *bucket(m, slot(m, hash)); n; n = n->next)
        if (n->hash == hash && eq(n, key))
            return n;
    return NULL;
}

static void unlink_node(struct map *m, struct map_node *node)
{
    struct map_node **at;

    CHECK(m->count > 0);
    at = bucket(m, slot(m, node->hash));
    while (*at != node) {
        CHECK(*at);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    m->count--;
}

void map_remove(struct map *m, struct map_node *node)
{
    unlink_node(m, node);
    /* Two at a time, so that what map_iter_remove() left is caught up with. */
    for (int i = 0; i < 2 && m->buckets > 1 && m->count < m->buckets / 2; i++)
        shrink(m);
}

struct map_iter map_iter(struct map *m)
{
    return (struct map_iter){ .map = m };
}

bool map_next(struct map_iter *it, struct map_node **ret)
{
    while (!it->next) {
        if (it->bucket >= it->map->buckets)
            return false;
        it->next = *bucket(it->map, it->bucket++);
    }
    *ret = it->next;
    it->next = it->next->next;
    return true;
}

void map_iter_remove(struct map_iter *it, struct map_node *node)
{
    unlink_node(it->map, node);
}

static uint64_t seed;

static void draw_seed(void)
{
    seed = random_u64();
}

uint32_t hash_bytes(struct slice s)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, draw_seed);
    return (uint32_t)XXH3_64bits_withSeed(s.ptr, s.len, seed);
}
