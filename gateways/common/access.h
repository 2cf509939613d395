/* access.h - who may publish where, and which pages of the web may ask.
 *
 * publish = anyone | loopback | nobody | token, by namespace; a token opens
 * the prefixes it names, whatever the namespace says but nobody.
 * Threads: any; reads the configuration only. */
#ifndef TOUCHLINE_GATEWAYS_ACCESS_H
#define TOUCHLINE_GATEWAYS_ACCESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "gateways/common/conn.h"

/* 0, or ERR_DENIED with *why saying how to open it. */
MUST_USE int access_may_publish(const struct conn *c, struct slice channel,
                                struct refusal *why);
/* Of token.unknown, at every edge. */
#define ACCESS_UNKNOWN \
    "no [token NAME] section of touchline.conf has this secret"
/* Finds a token by its secret in constant time over all; NULL: none. */
const struct config_token *access_token(const struct config *cfg,
                                        struct slice secret);
/* Host of an Origin ("https://a.example:8443") against the request's Host
 * header: names are compared, ports not; or listed in origins, "*" being all.
 * "null" names nobody and never passes. */
bool access_origin_allowed(const struct config_edge *cfg, struct slice origin,
                           struct slice host);
/* On a loopback listener: an address, localhost, or listed in hosts. */
bool access_host_allowed(const struct config_edge *cfg, struct slice host);

/* A page of any name can be made to point its name at this machine. Who asks a
 * listener that is open to others by a name that is no address, localhost or
 * listed in hosts may be one, and is not on loopback. */
void access_asked_by_name(struct conn *c, const struct config_edge *cfg,
                          struct slice host);

/* Is this peer one of the edge's trusted_proxies? */
bool access_is_proxy(const struct config_edge *cfg,
                     const struct sockaddr *peer);

#endif
