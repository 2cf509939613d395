/* checkpoint.h - when the WAL is copied back into the database.
 * Threads: the connection's. */
#ifndef TOUCHLINE_STORE_CHECKPOINT_H
#define TOUCHLINE_STORE_CHECKPOINT_H

#include "store/core.h"

struct checkpoint {
    unsigned copied; /* pages of the present WAL that are in the database */
    uint64_t count;
};

/* After each commit: does what cannot wait. idle: nothing else to do, so less
 * of a WAL is worth it, and a very long one is cut. */
void checkpoint_run(struct checkpoint *c, struct history *h, bool idle);

#endif
