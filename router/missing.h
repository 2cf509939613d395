/* missing.h - gateways that were here, went without a goodbye, and have not
 * come back: what `status` is DEGRADED about.
 *
 * A gateway that ends in order says goodbye and is not missed. One that died
 * is back under its name in a moment, when somebody looks after it; else it is
 * missed for MISSING_NS: so long can its operator be told by whoever watches.
 * Threads: the router's loop. Cost: as many as are missing. */
#ifndef TOUCHLINE_ROUTER_MISSING_H
#define TOUCHLINE_ROUTER_MISSING_H

#include "base/clock.h"
#include "base/list.h"
#include "proto/rendezvous.h"

#define MISSING_NS (3600 * SECOND)
enum { MISSING_MAX = 64 }; /* of more, the newest */

struct missing_gateway {
    struct list_node node;
    struct peer_id who;
    int64_t since_ns;
};

struct missing {
    struct list_node list; /* struct missing_gateway, oldest first */
    size_t count;
};

void missing_init(struct missing *m);
void missing_fini(struct missing *m); /* fine on a zeroed one */
/* Who has gone. Without memory it is not missed. */
void missing_add(struct missing *m, const struct peer_id *who, int64_t now_ns);
/* A gateway of this name is here. */
void missing_back(struct missing *m, const char *name);
/* Forgets those of long ago. */
void missing_expire(struct missing *m, int64_t now_ns);

#endif
