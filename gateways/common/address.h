/* address.h - who somebody is on the network: an IP address without a port.
 *
 * IPv4 mapped into IPv6 is IPv4, so that a client has one address whatever
 * listener took it. Family 0 is nobody: a unix socket, or not known.
 * Threads: any. No allocation. */
#ifndef TOUCHLINE_GATEWAYS_ADDRESS_H
#define TOUCHLINE_GATEWAYS_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/base.h"
#include "base/slice.h"
#include "proto/endpoint.h"

struct address {
    uint8_t family;    /* AF_INET, AF_INET6 or 0 */
    uint8_t bytes[16]; /* as on the wire; the first 4 of an IPv4 one */
};

enum { ADDRESS_TEXT_MAX = 46 }; /* with terminator */

static inline bool address_known(const struct address *a)
{
    return a->family != 0;
}
bool address_equal(const struct address *a, const struct address *b);

struct address address_of(const struct sockaddr *sa);
/* Whom limits of an address count: an IPv6 network of 64 bits is one, for a
 * single client has as many addresses; of IPv4 each address is. */
struct address address_network(const struct address *a);
/* family is AF_INET or AF_INET6, bytes 4 or 16 of them. */
struct address address_make(int family, const uint8_t *bytes);
/* As proxies write it: 192.0.2.1, 192.0.2.1:80, 2001:db8::1,
 * [2001:db8::1], [2001:db8::1]:80; the port may be one of the hidden names of
 * RFC 7239 6.2 (_abc). ERR_BAD, *ret untouched: anything else, also `unknown`,
 * a hidden node, and an address with a zone. */
MUST_USE int address_parse(struct slice text, struct address *ret);
/* "192.0.2.1", "2001:db8::1"; nobody: "unknown". */
void address_text(const struct address *a, char out[ADDRESS_TEXT_MAX]);
/* With port 0. */
struct endpoint address_endpoint(const struct address *a);

#endif
