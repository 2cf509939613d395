/* presence.h - the clock of those who come and go: types decide what is said
 * and when (type.h), this asks them when it is due, and sends it.
 * Threads: the router's loop. Cost: no timer while nothing is due. */
#ifndef TOUCHLINE_ROUTER_PRESENCE_H
#define TOUCHLINE_ROUTER_PRESENCE_H

#include "base/loop.h"

struct router;

struct presence {
    struct loop_timer timer;
};

void presence_init(struct router *r);
void presence_turn(struct router *r); /* end of the loop's turn */
void presence_fini(struct router *r);

#endif
