/* drain.h - the clients of a gateway that goes down, sent away a few at a time.
 *
 * A deploy must not make the storm that it should survive. Who holds no channel
 * ends at once, behind the answers that are due. The others end in portions,
 * each 100 ms, no faster than limits.admit_rate lets them in elsewhere, unless
 * half of limits.drain_wait were not enough for all; until its turn comes a
 * stream goes on as before. The edge tells each when to come again.
 * Threads: the gateway's loop. Cost: O(clients) in all. */
#ifndef TOUCHLINE_GATEWAYS_DRAIN_H
#define TOUCHLINE_GATEWAYS_DRAIN_H

#include <stdint.h>

#include "base/loop.h"

struct gateway;

struct drain {
    struct loop_timer again;
    uint32_t at;      /* slots in front of this one have had their turn */
    uint32_t portion; /* clients each time */
};

/* Once; the gateway accepts nobody any more. */
void drain_begin(struct gateway *g);
void drain_stop(struct gateway *g); /* zeroed is fine */

#endif
