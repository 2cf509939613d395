/* restore.h - the start: what the store knows becomes the router's table and
 * the types' states.
 *
 * Records are read, not logs. Where a type has no good record of an id, its
 * log is read and folded, before anybody is served.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_RESTORE_H
#define TOUCHLINE_ROUTER_RESTORE_H

#include "store/history.h"

struct router;

/* Before the writer has the store: ids, records, names of publications. */
MUST_USE int restore_read(struct router *r, struct history *h);
/* With the readers running: the logs of ids without a record. Turns the loop
 * until they are read. */
MUST_USE int restore_fold(struct router *r);

#endif
