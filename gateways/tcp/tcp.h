/* tcp.h - the TCP edge: a person with telnet (docs/protocol.md, design 4.2).
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_TCP_TCP_H
#define TOUCHLINE_TCP_TCP_H

#include "gateways/common/edge.h"

extern const struct edge tcp_edge;

#endif
