/* offsets.h - numbers that should come as 1, 2, 3 ... on one connection: what
 * is missing, what came twice, what came late.
 * Threads: one at a time. Cost: a few instructions, 24 bytes a connection.
 *
 * The first number that comes is the beginning, whatever it is. A number that
 * is missing counts as lost at once; when it comes after all, among the newest
 * 64, it is reordered and no longer lost. What is older and comes (again) counts
 * as a duplicate: that it has not been there cannot be known any more. */
#ifndef TOUCHLINE_FLOOD_OFFSETS_H
#define TOUCHLINE_FLOOD_OFFSETS_H

#include <stdbool.h>
#include <stdint.h>

struct offsets {
    uint64_t first, last; /* 0: none yet */
    uint64_t seen;        /* bit i: last - i has come */
};

struct offsets_tally {
    uint64_t lost, duplicates, reordered;
};

/* number: at least 1. Adds to *tally. True: it is new. */
bool offsets_take(struct offsets *o, uint64_t number,
                  struct offsets_tally *tally);

/* The newest that anybody has seen is `newest`: what is missing at the end
 * counts as lost, once. Nothing happens before the first number. */
void offsets_end(struct offsets *o, uint64_t newest,
                 struct offsets_tally *tally);

#endif
