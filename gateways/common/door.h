/* door.h - how many clients may be in at a time: all together, and from one
 * address (limits.connections_per_address); and how often an address may
 * publish (limits.publish_rate).
 *
 * One for all workers of a process: the kernel spreads clients over them by
 * chance, so a count of each worker's own would be exact for nobody. Processes
 * (`instances`) have a door each, and know of each other by siblings.h.
 * Threads: any. Cost: an atomic for the room, a lock for the address; nothing
 * is kept of addresses while their limit is off. */
#ifndef TOUCHLINE_GATEWAYS_DOOR_H
#define TOUCHLINE_GATEWAYS_DOOR_H

#include "gateways/common/address.h"

struct door;

/* room: clients in all; per_address: of one address, 0: no limit. ERR_NOMEM. */
MUST_USE int door_new(struct door **ret, uint32_t room, size_t per_address);
void door_free(struct door *d); /* NULL is fine */
uint32_t door_room(const struct door *d);

/* So many of one address from now on. Who is in stays; who came in while there
 * was no limit is not counted. */
void door_set_per_address(struct door *d, size_t per_address);

/* An address may publish so often a second from now on; 0: as often as it
 * likes, as after door_new(). */
void door_set_publish_rate(struct door *d, size_t per_second);
/* Counts a publication; false: too many. As rate_take() (rate.h). */
bool door_may_publish(struct door *d, const struct address *a,
                      int64_t now_ns);

/* Counts one more; false: all are in that may be. */
bool door_enter(struct door *d);
bool door_is_full(struct door *d); /* just now */
uint32_t door_places(struct door *d); /* how many may still enter, just now */
void door_leave(struct door *d); /* by one that entered */

/* Counts one more of this address, or of its network: address_network();
 * false: it has its share. Nobody's address always may. Where there is no limit
 * nothing is counted, and *a becomes nobody's: it is what to give back. */
bool door_take_share(struct door *d, struct address *a);
/* One less, of one that took it. */
void door_give_share(struct door *d, const struct address *a);
/* Addresses that hold shares just now. */
size_t door_addresses(struct door *d);

#endif
