/* ws.h - the WebSocket edge: /v1/ws and /v1/raw (docs/protocol.md).
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_WS_WS_H
#define TOUCHLINE_WS_WS_H

#include "gateways/common/edge.h"

extern const struct edge ws_edge;

#endif
