/* commit.h - the second half of a publication's path: the batch that goes to
 * the store, and what follows when it comes back.
 * path: msg > publish > [store] > table > repeater > link > bus > gateway >
 *       edge > conn
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_COMMIT_H
#define TOUCHLINE_ROUTER_COMMIT_H

#include <stdint.h>

#include "base/slice.h"

struct router;

/* End of the loop's turn: submits what is queued, if nothing is in flight. */
void commit_turn(struct router *r);
/* For how long gateways have not been read because the disk has its hands full;
 * a break as short as the reading of what they held meanwhile is none. 0: they
 * are read. */
int64_t commit_pressed_ns(const struct router *r, int64_t now_ns);
/* A topic that was made for a publication which did not come to be. */
void commit_unused(struct router *r, struct slice id);

#endif
