/* gateway.h - a gateway: one loop, its sockets, its table, its log, its link.
 * path: msg > publish > store > table > repeater > link > bus > [gateway] >
 *       edge > conn
 *
 * One process runs `workers` gateways, each on a thread of its own, which
 * share nothing but the count of clients at the door (door.h;
 * docs/decisions/0003-worker-has-its-own-link.md).
 * Threads: gateway_main() the process's first; the rest the gateway's own. */
#ifndef TOUCHLINE_GATEWAYS_GATEWAY_H
#define TOUCHLINE_GATEWAYS_GATEWAY_H

#include "gateways/common/edge.h"
#include "gateways/common/stats.h"
#include "proto/config.h"

/* What main() of every edge calls: options, listeners (its own, or handed
 * over by the systemd protocol LISTEN_FDS), workers, the ready line, signals,
 * draining. Returns the exit code. */
int gateway_main(int argc, char **argv, const struct edge *edge);

const struct config *gateway_config(const struct gateway *g);
const struct config_edge *gateway_edge_config(const struct gateway *g);
const struct epoch *gateway_epoch(const struct gateway *g);
/* Another one for each epoch that this process has seen. */
uint32_t gateway_epoch_number(const struct gateway *g);
const char *gateway_name(const struct gateway *g); /* "http1" */
/* The router can be reached just now. */
bool gateway_linked(const struct gateway *g);
/* It can, and nothing comes back through it (canary.h). */
bool gateway_mute(const struct gateway *g);
/* Set and read by edge->start(): state of the edge, one per worker. */
void gateway_set_edge_state(struct gateway *g, void *state);
void *gateway_edge_state(const struct gateway *g);
/* One more, or n more, of a row of stats.h. */
void gateway_count(struct gateway *g, unsigned stat);
/* Zeros, for what a connection has until it has been answered; at most
 * SLAB_BYTES_MAX. NULL: no memory. A crowd that comes leaves no holes in the
 * heap by them. */
void *gateway_take(struct gateway *g, size_t bytes);
void gateway_give(void *object); /* NULL is fine */
void gateway_add(struct gateway *g, unsigned stat, uint64_t n);
/* A client is told an error: touchline_refused_total{code="..."}, the codes
 * being those of proto/codes.def. Whoever writes an error calls it, once. */
void gateway_refused(struct gateway *g, struct slice code);
/* A limit turned something down: touchline_limit_reached_total{limit=...}. */
void gateway_limit(struct gateway *g, enum limit which);
/* Milliseconds that a client should wait when it loses its stream, or a request
 * was refused for the moment: spread, not luck. */
uint32_t gateway_retry_ms(struct gateway *g);

#endif
