/* stat.h - counters and gauges, each declared once as a row.
 * Threads: one thread writes a struct stats, any may read it meanwhile.
 * Cost: an add is a load and a store.
 *
 * A folder lists its rows, and gets names, help texts and numbers from it:
 *
 *   #define EDGE_STATS(X)                                                   \
 *       X(CONNS, GAUGE, "connections", NULL, "client sockets open now")     \
 *       X(CUT_SLOW, COUNTER, "cut_total", "why=\"slow\"", "clients cut")
 *   enum { EDGE_STATS(STAT_AS_ENUM) STAT_COUNT };
 *   static const struct stat_row rows[] = { EDGE_STATS(STAT_AS_ROW) };
 *   rc = stats_init(&stats, rows, STAT_COUNT);
 *   stat_add(&stats, STAT_CUT_SLOW, 1);
 *
 * Names appear as touchline_<name>. Rows of one name differ in their label and
 * share kind and help. */
#ifndef BASE_STAT_H
#define BASE_STAT_H

#include <stdatomic.h>

#include "base/buf.h"

/* MICROS: a gauge of microseconds, shown as seconds. */
enum stat_kind { STAT_COUNTER, STAT_GAUGE, STAT_MICROS };

struct stat_row {
    enum stat_kind kind;
    const char *name;
    const char *label; /* one fixed label, key="value", or NULL */
    const char *help;
};

#define STAT_AS_ENUM(id, kind, name, label, help) STAT_##id,
#define STAT_AS_ROW(id, kind, name, label, help) \
    { STAT_##kind, name, label, help },

struct stats {
    const struct stat_row *rows;
    size_t count;
    _Atomic uint64_t *values;
};

/* All zero; borrows rows. ERR_NOMEM. */
MUST_USE int stats_init(struct stats *s, const struct stat_row *rows,
                        size_t count);
void stats_fini(struct stats *s); /* harmless on a zeroed struct */

static inline uint64_t stat_get(const struct stats *s, unsigned which)
{
    return atomic_load_explicit(&s->values[which], memory_order_relaxed);
}

/* For gauges; counters only ever go up. */
static inline void stat_set(struct stats *s, unsigned which, uint64_t value)
{
    atomic_store_explicit(&s->values[which], value, memory_order_relaxed);
}

static inline void stat_add(struct stats *s, unsigned which, uint64_t n)
{
    stat_set(s, which, stat_get(s, which) + n);
}

static inline void stat_sub(struct stats *s, unsigned which, uint64_t n)
{
    stat_set(s, which, stat_get(s, which) - n);
}

/* One figure with all that is known about it: what is shipped over a link, and
 * what is rendered. Strings are borrowed; label may be NULL. */
struct stat_sample {
    enum stat_kind kind;
    const char *name;
    const char *label;
    const char *help;
    uint64_t value;
};

/* The i-th figure of s, i < s->count. Borrows the rows' strings. */
struct stat_sample stat_sample(const struct stats *s, size_t i);

/* The figures of one process. */
struct stat_source {
    const char *gateway; /* value of the label of that name; escaped here */
    const char *process;
    const struct stat_sample *samples;
    size_t count;
};

/* Prometheus text format 0.0.4: per name one HELP and TYPE, then a line for
 * each source. O(n log n) in the number of samples; allocates 16 bytes each.
 * Out of memory shows in out->failed. */
void stats_prometheus(struct buf *out, const struct stat_source *sources,
                      size_t count);

/* A JSON array with an object per source:
 * {"gateway":"http1","process":"812","values":{"cut_total{why=slow}":3,...}} */
void stats_json(struct buf *out, const struct stat_source *sources,
                size_t count);

#endif
