/* marks.h - a number for each of some names, which only grows.
 * Threads: those of whoever owns them. Cost: O(1). Memory: none without a mark,
 * then one allocation for each. */
#ifndef TOUCHLINE_PROTO_MARKS_H
#define TOUCHLINE_PROTO_MARKS_H

#include "base/map.h"

struct marks {
    struct map by_name; /* zeroed: there are none */
};

void marks_fini(struct marks *m); /* takes all away */

/* 0: there is none. */
uint64_t marks_of(const struct marks *m, struct slice name);
/* Now it is at least this; copies the name. ERR_NOMEM. */
MUST_USE int marks_raise(struct marks *m, struct slice name, uint64_t to);

/* Walks all in no order; name borrows. Nothing may change meanwhile. False: that
 * was the last. */
struct marks_iter {
    struct map_iter map;
};
struct marks_iter marks_iter(const struct marks *m);
bool marks_next(struct marks_iter *it, struct slice *name, uint64_t *mark);
static inline size_t marks_count(const struct marks *m)
{
    return map_count(&m->by_name);
}

#endif
