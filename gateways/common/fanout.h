/* fanout.h - visits under way: who has something new to be told.
 *
 * A topic with news is on the gateway's list once, however many messages
 * came. Each turn visits a bounded number of connections and sends a bounded
 * number of bytes: topics with few connections go first and, if they have no
 * more to say than that, whole; big ones a slice (limits.fanout_slice) at a
 * time, in rotation. News that come while a topic's seats are being walked make
 * it walk once more; who was visited after they came has them already and costs
 * a comparison.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_GATEWAYS_FANOUT_H
#define TOUCHLINE_GATEWAYS_FANOUT_H

#include "gateways/common/topic.h"

struct gateway;

enum {
    FANOUT_SMALL = 64, /* topics of up to so many seats are served whole */
};

/* Something new has come for this topic, which has a past: visit its
 * connections. Needs no memory. */
void fanout_wake(struct gateway *g, struct topic *t);
/* A bounded number of visits and bytes, small topics first. */
void fanout_turn(struct gateway *g);
/* No visit is under way any more: the gateway ends. */
void fanout_forget(struct gateway *g);
/* Every live connection has everything up to this tick. */
uint64_t fanout_settled(const struct gateway *g);

#endif
