/* present.h - names that are known to be at an id, over a restart.
 *
 * The table is what people were told, no count of connections: a router that
 * starts reads it once (history_present()), so that nobody is announced twice.
 * Threads: the connection's. */
#ifndef TOUCHLINE_STORE_PRESENT_H
#define TOUCHLINE_STORE_PRESENT_H

#include "store/history.h"

/* All changes (present_change(), history.h) in one transaction. ERR_AGAIN: the
 * connection is being mended. */
MUST_USE int present_apply(struct history *h, struct slice changes);

#endif
