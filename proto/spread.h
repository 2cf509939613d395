/* spread.h - how long something took, counted by upper bounds: what percentiles
 * of many processes together can be made of, here and in Prometheus.
 *
 * Bounds go 1-2-5 from 50 us to 10 s. Figures are <name>_seconds_bucket{le},
 * each the count of all up to that bound, <name>_seconds_count and
 * <name>_seconds_sum. A folder puts SPREAD_STATS among its rows (base/stat.h),
 * records as things happen, and sets the rows when they are to be read.
 * Threads: one. Cost: recording is some comparisons. */
#ifndef TOUCHLINE_PROTO_SPREAD_H
#define TOUCHLINE_PROTO_SPREAD_H

#include "base/stat.h"

#define SPREAD_BOUNDS(F, X, id, name, help)                                   \
    F(X, id, name, help, 50, "0.00005")                                       \
    F(X, id, name, help, 100, "0.0001")                                       \
    F(X, id, name, help, 200, "0.0002")                                       \
    F(X, id, name, help, 500, "0.0005")                                       \
    F(X, id, name, help, 1000, "0.001")                                       \
    F(X, id, name, help, 2000, "0.002")                                       \
    F(X, id, name, help, 5000, "0.005")                                       \
    F(X, id, name, help, 10000, "0.01")                                       \
    F(X, id, name, help, 20000, "0.02")                                       \
    F(X, id, name, help, 50000, "0.05")                                       \
    F(X, id, name, help, 100000, "0.1")                                       \
    F(X, id, name, help, 200000, "0.2")                                       \
    F(X, id, name, help, 500000, "0.5")                                       \
    F(X, id, name, help, 1000000, "1")                                        \
    F(X, id, name, help, 2000000, "2")                                        \
    F(X, id, name, help, 5000000, "5")                                        \
    F(X, id, name, help, 10000000, "10")

#define SPREAD_AS_STAT(X, id, name, help, us, le)                             \
    X(id##_##us, COUNTER, name, "le=\"" le "\"", help)

/* Its first row is STAT_<id>_50, which spread_set() is told. name: a literal,
 * with _seconds at its end. */
#define SPREAD_STATS(X, id, name, help)                                       \
    SPREAD_BOUNDS(SPREAD_AS_STAT, X, id, name "_bucket", help)                \
    X(id##_ALL, COUNTER, name "_bucket", "le=\"+Inf\"", help)                 \
    X(id##_COUNT, COUNTER, name "_count", NULL, help)                         \
    X(id##_SUM, MICROS, name "_sum", NULL, help)

#define SPREAD_AS_US(X, id, name, help, us, le) us,
enum { SPREAD_COUNT = 17 };

/* All zero: nothing yet. */
struct spread {
    uint64_t count[SPREAD_COUNT + 1]; /* by bound; the last: above all */
    uint64_t sum_us;
};

/* Below 0 counts as 0. */
void spread_record(struct spread *s, int64_t took_ns);
/* Into the rows of `stats` from `first` on. */
void spread_set(struct stats *stats, unsigned first, const struct spread *s);

#endif
