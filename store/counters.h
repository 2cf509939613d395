/* counters.h - offsets of ids that keep no history: they last as long as the
 * process, and are never given twice within it.
 * Threads: any; each call takes a lock for the time of a look-up. */
#ifndef TOUCHLINE_STORE_COUNTERS_H
#define TOUCHLINE_STORE_COUNTERS_H

#include <pthread.h>

#include "base/map.h"

struct counters {
    pthread_mutex_t lock;
    struct map map;
    uint64_t floor; /* highest offset of any counter dropped */
};

void counters_init(struct counters *c);
void counters_fini(struct counters *c);

/* The next offset of this id. ERR_NOMEM. */
MUST_USE int counters_next(struct counters *c, struct slice id,
                           uint64_t *ret);

/* Forgets the id: should it come back it starts above the floor. */
void counters_drop(struct counters *c, struct slice id);

#endif
