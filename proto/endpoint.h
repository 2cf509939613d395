/* endpoint.h - addresses as they are written in a configuration.
 * Threads: any. Cost: no allocation, no name look-ups. */
#ifndef PROTO_ENDPOINT_H
#define PROTO_ENDPOINT_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/slice.h"

struct endpoint {
    socklen_t len;
    union {
        struct sockaddr any;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } addr;
};

enum { ENDPOINT_TEXT_MAX = 128 }; /* with terminator */

/* ADDRESS:PORT, [ADDRESS]:PORT, localhost:PORT (127.0.0.1), *:PORT (IPv4 and
 * IPv6, for a socket without IPV6_V6ONLY) or unix:PATH. ERR_BAD, and *why says
 * what is wrong. */
MUST_USE int endpoint_parse(struct slice text, struct endpoint *ret,
                            const char **why);

/* Writes it as it would be written, port included: "[::1]:8000". */
void endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT_MAX]);

/* Can only this machine reach it? True for unix sockets. */
bool endpoint_is_loopback(const struct endpoint *e);

uint16_t endpoint_port(const struct endpoint *e); /* 0 for unix sockets */
void endpoint_set_port(struct endpoint *e, uint16_t port);

/* A network: ADDRESS or ADDRESS/BITS; `unix` is every unix socket. */
struct net {
    sa_family_t family;
    uint8_t addr[16];
    uint8_t bits;
};

MUST_USE int net_parse(struct slice text, struct net *ret, const char **why);

/* IPv4 addresses mapped into IPv6 are looked at as IPv4. */
bool net_has(const struct net *n, const struct sockaddr *peer);

#endif
