/* accept.h - who is let in, and who is turned away.
 *
 * Accepting goes on in batches until the kernel has no more. A client for
 * whom there is no room (door.h) is answered out of a reserve of descriptors
 * (doorstep.h); when that is used up, too, accepting pauses: nothing spins.
 * Threads: the gateway's loop; accept_room() any. */
#ifndef TOUCHLINE_GATEWAYS_ACCEPT_H
#define TOUCHLINE_GATEWAYS_ACCEPT_H

#include "base/base.h"
#include "proto/listen.h"

struct gateway;

/* Clients that the process's files allow, with so many workers. */
uint32_t accept_room(size_t workers);
/* Takes the sockets of set. ERR_NOMEM, ERR_IO. */
MUST_USE int accept_start(struct gateway *g, const struct listen_set *set);
void accept_stop(struct gateway *g); /* for good; the sockets are closed */
/* Each second: clients that the kernel dropped, because nobody accepted them
 * fast enough, count for limits.accept_backlog. Cost: a system call for each
 * listener. */
void accept_count_drops(struct gateway *g);
const struct listen_address *accept_address(const struct gateway *g,
                                            unsigned listener);

#endif
