/* url.h - what the query of a WebSocket's URL asks for.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_WS_URL_H
#define TOUCHLINE_WS_URL_H

#include "gateways/common/conn.h"
#include "gateways/common/target.h"

/* channel=A&channel=B&since=S&name=N: subscribes to all of them at once, with
 * ref 0. ERR_ with *why. */
MUST_USE int url_subscribe(struct conn *c, struct query *q,
                           struct refusal *why);
/* Fills *why; returns ERR_BAD. */
int url_bad(struct refusal *why, const char *code, const char *text);

#endif
