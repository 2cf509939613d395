/* mark.h - what a message that was made to measure says of itself: its number
 * within its id, and when it was due, as text within whatever else it holds:
 *
 *     mark n=17 t=1795229386335123
 *
 * Numbers begin with 1 and are dense; t is Unix microseconds by the clock of
 * who publishes. JSON, HTML and lines leave it as it is. router-ctl and
 * touchline-flood write it, touchline-flood reads it.
 * Threads: any. Cost: adding, 30 bytes; finding, one pass over the text. */
#ifndef TOUCHLINE_PROTO_MARK_H
#define TOUCHLINE_PROTO_MARK_H

#include "base/buf.h"

struct mark {
    uint64_t number;
    int64_t t_us;
};

enum { MARK_MAX = 64 }; /* bytes of a mark at most */

/* Unix time in microseconds, of the machine's clock. */
int64_t mark_now_us(void);

void mark_add(struct buf *out, struct mark m);

/* The first mark in text. False: there is none that is whole; *ret is as it
 * was. A mark at the very end of text counts as whole. */
bool mark_find(struct slice text, struct mark *ret);

#endif
