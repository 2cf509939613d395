/* publish.h - messages at an exact rate from a schedule: each is due at a time
 * that does not depend on how fast the server takes the ones before it, and its
 * mark says when it was due. So a server that stalls is seen to stall by all
 * that wait meanwhile.
 * With --window there is no schedule: each connection has so many unanswered,
 * and the next one is due when an answer makes room for it.
 * Threads: a process of its own. */
#ifndef TOUCHLINE_FLOOD_PUBLISH_H
#define TOUCHLINE_FLOOD_PUBLISH_H

#include "tools/flood/plan.h"
#include "tools/flood/share.h"

/* Waits for PHASE_HOLD, publishes until PHASE_DRAIN or until all of --messages
 * are sent, hears answers until PHASE_CLOSE. ERR_IO, ERR_NOMEM: it could not
 * begin; ERR_CLOSED: the server ended it. *why says more. */
MUST_USE int publish_run(const struct plan *plan, struct stage *stage,
                         const char **why);

/* Fills one message for id number i. */
void publish_message(const struct plan *plan, uint64_t i, uint64_t number,
                     int64_t t_us, struct buf *out);

#endif
