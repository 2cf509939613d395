/* gen_plan.h - when each message of `gen` is due, and for whom: a schedule that
 * is known before the first one is sent, so that a slow answer changes nothing
 * of it (no coordinated omission). Pure: no clock, no I/O.
 *
 *   uniform  one every 1/rate
 *   burst    `burst` at once, every burst/rate
 *   match    as many as uniform in all, in groups at the moments of a recorded
 *            match's events, which are stretched over the span
 *
 * Ids are even, or Zipf's with an exponent; a seed repeats them.
 * Threads: any. Cost: O(1) for each message. */
#ifndef TOUCHLINE_TOOLS_GEN_PLAN_H
#define TOUCHLINE_TOOLS_GEN_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/chance.h"

enum gen_shape { GEN_UNIFORM, GEN_BURST, GEN_MATCH };

struct gen_plan {
    enum gen_shape shape;
    uint64_t rate;  /* a second; at least 1 */
    uint64_t count; /* messages in all; UINT64_MAX: without end (no match) */
    uint64_t burst; /* at once; at least 1 */
    int64_t span_ns; /* match: over which the events are stretched */
    const int64_t *moments; /* match: of its events, ascending, the first 0 */
    size_t moment_count;
};

/* When message i is due, in ns from the beginning; i below count. Never less
 * than for i - 1. */
int64_t gen_due(const struct gen_plan *p, uint64_t i);

struct gen_ids {
    uint64_t count; /* at least 1 */
    bool zipf;
    struct zipf law;
    struct chance chance;
};
/* skew 0: even. */
void gen_ids_init(struct gen_ids *g, uint64_t count, double skew,
                  uint64_t seed);
uint64_t gen_ids_next(struct gen_ids *g); /* 0 to count - 1 */

#endif
