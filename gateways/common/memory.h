/* memory.h - a gateway's answers to the router's ASK: its tables, and trimming.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_GATEWAYS_MEMORY_H
#define TOUCHLINE_GATEWAYS_MEMORY_H

#include "base/slice.h"

struct gateway;

/* A FRAME_ASK: what it asks for is done, and TOLD goes back. A word that is not
 * known is told nothing. ERR_FRAME. */
MUST_USE int gateway_asked(struct gateway *g, struct slice body);

#endif
