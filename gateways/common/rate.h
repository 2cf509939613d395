/* rate.h - how often an address may do something: so many times a second, and
 * as many at once after a second of rest.
 *
 * A token bucket told by one number, the time at which it will be full again
 * (GCRA): no timer fills anything. Addresses at rest are forgotten. An IPv6
 * network counts as one address: address_network().
 * Threads: any. Cost: a lock and a lookup, while there is a limit; now and then
 * a walk over all addresses, never more than twice as many as have been heard
 * of since the last one.
 * Time is an argument. */
#ifndef TOUCHLINE_GATEWAYS_RATE_H
#define TOUCHLINE_GATEWAYS_RATE_H

#include <pthread.h>

#include "base/map.h"
#include "gateways/common/address.h"

struct rate {
    _Atomic int64_t interval_ns; /* that one costs; 0: no limit */
    pthread_mutex_t lock; /* of the rest */
    struct map buckets;
    size_t sweep_at; /* so many addresses are looked through for rest */
};

/* per_second: 0: no limit. ERR_NOMEM. */
MUST_USE int rate_init(struct rate *r, size_t per_second);
void rate_fini(struct rate *r);
void rate_set(struct rate *r, size_t per_second); /* from now on */
/* Once more; false: too often, or no memory, and it does not count. Nobody's
 * address always may. */
bool rate_take(struct rate *r, const struct address *a, int64_t now_ns);
size_t rate_addresses(struct rate *r); /* that are remembered just now */

#endif
