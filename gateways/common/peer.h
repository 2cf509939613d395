/* peer.h - who is at the other end: the socket's own address, or the client
 * that a trusted proxy names, by a PROXY header in front of everything
 * (proxy_header.h) or in each request (forwarded.h).
 *
 * Whose share of limits.connections_per_address a connection takes (door.h)
 * moves with that name; a trusted proxy itself takes none.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_GATEWAYS_PEER_H
#define TOUCHLINE_GATEWAYS_PEER_H

#include "base/base.h"
#include "base/slice.h"
#include "gateways/common/address.h"

struct conn;

/* c has been opened, and has taken a share of this address (nobody: none).
 * ERR_NOMEM. */
MUST_USE int conn_peer_opened(struct conn *c, const struct address *share);
/* Gives back whose share it has by now. */
void conn_peer_closed(struct conn *c);
/* Who is there, or whom its proxy named last; a unix socket, and a trusted proxy
 * that names nobody, are nobody. Cost: a system call, where nobody is named. */
struct address conn_peer_address(const struct conn *c);
/* in: all input so far, which may begin with a PROXY header. True: the edge's
 * input begins behind *used bytes. False: more is needed, or it closes. */
bool conn_take_header(struct conn *c, struct slice in, size_t *used);
/* limits.header_wait is over, and so much of a header is there. True: it may
 * be none, and is the edge's; false: the connection closes. */
bool conn_header_late(struct conn *c, struct slice in);

#endif
