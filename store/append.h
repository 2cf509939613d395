/* append.h - one batch, one transaction: numbers, rows, keys, type records.
 * path: msg > publish > [store] > table > repeater > link > bus > gateway >
 *       edge > conn
 *
 * Threads: whoever numbers owns h->last_seq and the mark: append_batch() while
 * a batch is in flight, else append_passing(), which touches nothing more. */
#ifndef TOUCHLINE_STORE_APPEND_H
#define TOUCHLINE_STORE_APPEND_H

#include "store/core.h"
#include "store/counters.h"
#include "store/writer.h"

/* Fills in every entry's results and b->rc. */
void append_batch(struct history *h, struct counters *c, struct batch *b);

/* Can this batch be numbered without the store? */
bool append_is_passing(const struct history *h, const struct batch *b);

/* Then this does it. */
void append_passing(struct history *h, struct counters *c, struct batch *b);

#endif
