/* trim.h - deletes what the policies no longer keep, a few rows at a time.
 *
 * Nothing is searched for. An id over its count or bytes was put on a list by
 * the append that made it so; one with an age has in its row when its oldest
 * message gets too old, and an index over that. Ids without history come up in
 * the same way, seven days after they became empty.
 * Threads: the connection's. */
#ifndef TOUCHLINE_STORE_TRIM_H
#define TOUCHLINE_STORE_TRIM_H

#include <stdatomic.h>

#include "store/core.h"

/* What happened, once it is committed; and in front of that, up to which seq it
 * may have happened when somebody sees it committed. */
struct trim_events {
    void (*trims)(void *arg, uint64_t seq);
    void (*trimmed)(void *arg, const struct id_record *now, size_t rows);
    void (*empty)(void *arg, struct slice id); /* shall it be forgotten? */
    void *arg;
};

enum { TRIM_ROWS = 64 }; /* at most, per step: well under 2 ms */

/* One transaction about one id, or about some keys. Ends early when *hurry.
 * 1: something was done, there may be more. 0: nothing is due before *next_ms
 * (INT64_MAX: until something is appended). */
MUST_USE int trim_step(struct history *h, const atomic_bool *hurry,
                       const struct trim_events *on, int64_t *next_ms);

/* Somebody was last logged in to this id at last_used_ms. 1: it is forgotten
 * now. 0: not yet; it comes up again when it may be. */
MUST_USE int trim_forget(struct history *h, struct slice id,
                         int64_t last_used_ms);

#endif
