/* checkpoint.h - when the WAL is copied back into the database.
 * Threads: the connection's. */
#ifndef TOUCHLINE_STORE_CHECKPOINT_H
#define TOUCHLINE_STORE_CHECKPOINT_H

#include "store/core.h"

/* What was in vain is not tried again before again_ns. */
struct backoff {
    int64_t again_ns, wait_ns;
};

struct checkpoint {
    /* In pages of the present WAL: */
    unsigned copied; /* are in the database */
    unsigned mark;   /* were in it when the piece was begun */
    unsigned tried;  /* were in it when it was copied as a whole */
    uint64_t count;
    int64_t room_ns; /* when room was last looked for */
    struct backoff copying, cutting; /* readers held it up */
};

/* After each commit: does what cannot wait, a piece of it at a time (ahead.h).
 * idle: nothing else to do, so less of a WAL is worth it, and as a whole. One
 * that is too long is cut: readers that never rest keep SQLite from beginning
 * it anew by itself. True: a sync is under way, call again when it may be over;
 * only if idle. */
bool checkpoint_run(struct checkpoint *c, struct history *h, bool idle);

/* Cuts the WAL whatever its length: the disk gets its room back. */
void checkpoint_cut(struct checkpoint *c, struct history *h);

/* The disk is full: what is copied back leaves room in the WAL, whose blocks
 * are used again. At most once a second, as it may be in vain. */
void checkpoint_for_room(struct checkpoint *c, struct history *h);

#endif
