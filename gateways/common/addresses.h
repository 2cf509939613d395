/* addresses.h - how many connections each address holds, for the limit
 * connections_per_address. Nothing is kept while the limit is off.
 * Threads: the gateway's loop. Cost: O(1); 48 bytes per address. */
#ifndef TOUCHLINE_GATEWAYS_ADDRESSES_H
#define TOUCHLINE_GATEWAYS_ADDRESSES_H

#include <stdbool.h>
#include <sys/socket.h>

struct gateway;

/* Counts one more; false: the address has its share. Unix sockets always
 * may enter. */
bool addresses_enter(struct gateway *g, const struct sockaddr *peer);
/* One less, by a connection that entered. */
void addresses_leave(struct gateway *g, const struct sockaddr *peer);
void addresses_free(struct gateway *g);

#endif
