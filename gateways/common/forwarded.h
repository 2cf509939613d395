/* forwarded.h - who asks, by the word of trusted proxies: X-Forwarded-For, or
 * Forwarded (RFC 7239), in each request.
 *
 * A proxy appends whom it serves to what it was sent, which the client may have
 * made up. So the list is read from its right end: an address that is a trusted
 * proxy's is passed over, the first other one is the client, and nothing left of
 * it is looked at. If all are trusted it is the leftmost. What is no address
 * (`unknown`, `_hidden`, a fault) ends the walk: the client is the one read
 * before it, or else not named, and the peer itself counts. `unix:` is how nginx
 * writes a peer on a unix socket, and is trusted if `unix` is. Several lines of a
 * field are one list.
 *
 * Where both fields are there they must name the same: a proxy sets one of them,
 * and which of the two is the client's own word cannot be known from here
 * (docs/decisions/0021-two-headers-that-disagree.md).
 * Threads: the gateway's loop; forwarded_client() any. No allocation. */
#ifndef TOUCHLINE_GATEWAYS_FORWARDED_H
#define TOUCHLINE_GATEWAYS_FORWARDED_H

#include "gateways/common/address.h"
#include "gateways/common/conn.h"
#include "gateways/common/request.h"

/* Whom r names, sent by one of cfg's trusted_proxies; *ret may be nobody. ERR_BAD:
 * two different ones. Cost: what is right of the client, times the networks. */
MUST_USE int forwarded_client(const struct request *r,
                              const struct config_edge *cfg,
                              struct address *ret);

/* Makes the peer of c the client of this request: only a trusted proxy's word
 * is taken, but nobody whom a proxy passes on is on loopback. ERR_BAD: *why is
 * the answer, after which the connection closes. */
MUST_USE int forwarded_admit(struct conn *c, const struct request *r,
                             const struct fault **why);

#endif
