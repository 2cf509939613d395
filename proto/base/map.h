/* map.h - intrusive hash map that grows and shrinks one bucket at a time.
 * Threads: those of whoever owns the map.
 * Cost: add, find and remove are O(1) on average with no pause at any size:
 * linear hashing (Larson 1988) splits or joins a single bucket per operation.
 * Memory: 16 bytes in the object, 8 to 16 per entry in the table, taken in
 * pieces of 4 KiB; an empty map has none.
 *
 * The map knows hashes and nodes; keys stay in the objects and are compared by
 * the caller's function. Equal keys may be added twice: find first. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/slice.h"

struct map_node {
    struct map_node *next;
    uint32_t hash;
};

struct map {
    struct map_node ***pieces; /* buckets, MAP_PIECE to a piece */
    size_t piece_room;         /* pointers that `pieces` has room for */
    size_t buckets;            /* in use: 0 or more than mask */
    size_t room;               /* buckets that the pieces hold */
    size_t mask;               /* largest power of two <= buckets, less one */
    size_t count;
};

/* Allocates nothing. */
void map_init(struct map *m);

/* Frees the table, not the nodes, which must not be used as members of it any
 * more. Fine on an empty map. */
void map_fini(struct map *m);

/* From here on no map_add() fails, up to map_fini(). ERR_NOMEM. */
MUST_USE int map_begin(struct map *m);

/* Borrows node until it is removed; it must not move meanwhile. ERR_NOMEM only
 * on the first node ever: later a table that cannot grow works on, slower. */
MUST_USE int map_add(struct map *m, struct map_node *node, uint32_t hash);

/* Does this member have that key? Called only where the hashes are equal. */
typedef bool map_eq(const struct map_node *node, const void *key);

/* NULL when there is none. */
struct map_node *map_find(const struct map *m, uint32_t hash, map_eq *eq,
                          const void *key);

/* node must be a member. */
void map_remove(struct map *m, struct map_node *node);

static inline size_t map_count(const struct map *m) { return m->count; }

/* Of the table; the nodes are the objects'. */
static inline size_t map_bytes(const struct map *m)
{
    return m->room * sizeof **m->pieces + m->piece_room * sizeof *m->pieces;
}

/* Walks all nodes in no order. Between two map_next() the map must not change
 * but through map_iter_remove(). */
struct map_iter {
    struct map *map;
    size_t bucket;
    struct map_node *next;
};

struct map_iter map_iter(struct map *m);
bool map_next(struct map_iter *it, struct map_node **ret);

/* Removes the node that map_next() returned last, which may be freed then.
 * The table gets smaller only with the next map_remove() or map_fini(). */
void map_iter_remove(struct map_iter *it, struct map_node *node);

/* XXH3 with a seed drawn once per process: ids come from strangers, who must
 * not be able to choose names that meet in one bucket. Not for storage. */
uint32_t hash_bytes(struct slice s);

#endif
