/* chance.h - chance that a seed repeats: uniform numbers, and Zipf's, where the
 * k-th of n comes 1/k^s as often as the first.
 * Threads: one at a time. Cost: a few instructions; Zipf's a logarithm or two,
 * without a table however large n is. */
#ifndef TOUCHLINE_PROTO_CHANCE_H
#define TOUCHLINE_PROTO_CHANCE_H

#include <stdint.h>

struct chance {
    uint64_t state; /* never 0 */
};

void chance_init(struct chance *c, uint64_t seed);
uint64_t chance_next(struct chance *c);
double chance_unit(struct chance *c);                /* 0 to 1, without 1 */
uint64_t chance_below(struct chance *c, uint64_t n); /* 0 to n-1; n > 0 */

struct zipf {
    double exponent, from, to, nearest;
    uint64_t n;
};

/* n at least 1, exponent above 0. */
void zipf_init(struct zipf *z, uint64_t n, double exponent);
uint64_t zipf_pick(const struct zipf *z, struct chance *c); /* 0 to n-1 */

#endif
