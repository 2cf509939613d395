/* histogram.h - how often each value came, log-linear as HDR histograms are:
 * values below 256 exactly, larger ones to 0.8 %, in memory of fixed size.
 * The unit is the caller's; mostly microseconds.
 * Threads: one writes; others, also of other processes where the memory is
 * shared, may read meanwhile and see each count as it was a moment ago.
 * Cost: recording is a few instructions; quantiles walk all buckets. */
#ifndef TOUCHLINE_PROTO_HISTOGRAM_H
#define TOUCHLINE_PROTO_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HISTOGRAM_BITS = 40, /* larger values count as the largest */
    HISTOGRAM_BUCKETS = 256 + (HISTOGRAM_BITS - 8) * 128,
};

/* All zero is the empty histogram. */
struct histogram {
    _Atomic uint64_t count[HISTOGRAM_BUCKETS];
    _Atomic uint64_t total, sum, max;
};

/* Values below 0 count as 0: a clock that is set back makes some. */
void histogram_record(struct histogram *h, int64_t value);

/* Adds what `from` has to `to`. */
void histogram_add(struct histogram *to, const struct histogram *from);
/* Takes out of `from` what it has had before; the largest value of the rest is
 * known to its bucket only. */
void histogram_subtract(struct histogram *from,
                        const struct histogram *before);

uint64_t histogram_total(const struct histogram *h);
uint64_t histogram_max(const struct histogram *h); /* 0 when empty */
double histogram_mean(const struct histogram *h);  /* 0 when empty */

/* The value that a share q (0 to 1) of all do not exceed: the largest that its
 * bucket stands for, at most the largest recorded. 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double q);

/* For walks over what there is: smallest and largest value of bucket i. */
uint64_t histogram_low(size_t i);
uint64_t histogram_high(size_t i);

#endif
