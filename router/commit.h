/* commit.h - the second half of a publication's path: the batch that goes to
 * the store, and what follows when it comes back.
 * path: msg > publish > [store] > table > repeater > link > bus > gateway >
 *       edge > conn
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_COMMIT_H
#define TOUCHLINE_ROUTER_COMMIT_H

#include "base/slice.h"

struct router;

/* End of the loop's turn: submits what is queued, if nothing is in flight. */
void commit_turn(struct router *r);
/* A topic that was made for a publication which did not come to be. */
void commit_unused(struct router *r, struct slice id);

#endif
