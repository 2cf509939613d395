/* arena.h - memory that is taken in bits and given back at once.
 * Threads: one at a time. */
#ifndef TOUCHLINE_STORE_ARENA_H
#define TOUCHLINE_STORE_ARENA_H

#include "base/slice.h"

struct arena {
    struct arena_chunk *chunks;
    size_t left; /* bytes of the newest chunk */
};

/* All zero is an empty arena. */
void arena_fini(struct arena *a);

/* Aligned for anything; NULL when out of memory. */
void *arena_take(struct arena *a, size_t size);

/* A copy in *ret. ERR_NOMEM. */
MUST_USE int arena_copy(struct arena *a, struct slice s, struct slice *ret);

#endif
