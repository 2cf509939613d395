/* memory.h - the questions `mem` and `trim`: what the router and each gateway
 * keep in memory, and that they give back what they need not (proto/memory.h).
 *
 * Gateways are asked, ASK, and tell, TOLD; the answer goes out when all have, or
 * after MEMORY_WAIT without those that have not.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_MEMORY_H
#define TOUCHLINE_ROUTER_MEMORY_H

#include "base/loop.h"
#include "proto/frame.h"

struct link;
struct router;

#define MEMORY_WAIT (5 * SECOND)

struct memory_questions {
    struct list_node list; /* those that are under way */
    uint32_t next;         /* number of the next one */
};

void memory_init(struct router *r);
void memory_fini(struct router *r); /* in front of ctl_fini() */

/* TOLD. ERR_FRAME. What nobody waits for any more is passed over. */
MUST_USE int memory_told(struct link *l, struct slice body);
void memory_link_gone(struct link *l); /* nothing will come from it */

#endif
