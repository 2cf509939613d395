/* skip.h - ids that trimming passes by: what is kept of them is damaged.
 *
 * A page of the index that cannot be read fails on the same ids again and
 * again; whoever is due behind them must not wait for it. The next start
 * tries again.
 * Threads: the connection's. Cost: about 64 bytes an id, SKIP_MAX at most. */
#ifndef TOUCHLINE_STORE_SKIP_H
#define TOUCHLINE_STORE_SKIP_H

#include "base/map.h"

enum { SKIP_MAX = 10000 };

struct skip {
    struct map map;
};

void skip_init(struct skip *s);
void skip_fini(struct skip *s);

/* ERR_FULL: there are too many. ERR_NOMEM. */
MUST_USE int skip_add(struct skip *s, int64_t idn);
bool skip_has(const struct skip *s, int64_t idn);

static inline size_t skip_count(const struct skip *s)
{
    return map_count(&s->map);
}

#endif
