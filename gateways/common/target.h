/* target.h - the path and the query of a request, decoded.
 *
 * Percent escapes are decoded once, in the path as a whole (%2F and / are
 * alike) and in each value of the query; + stands for itself. The parser has
 * refused bad escapes already.
 * Threads: any. */
#ifndef TOUCHLINE_GATEWAYS_TARGET_H
#define TOUCHLINE_GATEWAYS_TARGET_H

#include "base/base.h"
#include "base/buf.h"
#include "base/slice.h"

/* Appends raw to out, decoded. ERR_BAD: an escape is broken. */
MUST_USE int target_decode(struct buf *out, struct slice raw);

/* The values that a handler asked for, in memory of their own. */
struct query {
    struct slice raw;
    struct buf text;
};
/* Borrows raw. ERR_NOMEM. */
MUST_USE int query_init(struct query *q, struct slice raw);
void query_fini(struct query *q);

/* The next value of this key at or behind *at (0 at first), decoded; good
 * until query_fini(). False: there is none. */
bool query_next(struct query *q, size_t *at, const char *key,
                struct slice *value);
/* The first value of this key; an empty slice with a NULL ptr: none. */
struct slice query_get(struct query *q, const char *key);
/* A number in decimal within [0, max]: more is max, absent is absent.
 * ERR_BAD: no number. */
MUST_USE int query_number(struct query *q, const char *key, uint64_t absent,
                          uint64_t max, uint64_t *ret);

#endif
