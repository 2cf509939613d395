/* admit.h - what is asked of a request before a handler sees it: the host it
 * wants, who sends it, from which page of the web, and what body.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_ADMIT_H
#define TOUCHLINE_HTTP_ADMIT_H

#include "gateways/http/route.h"

/* True: x has been answered, and closes when a body follows that nobody will
 * read. route NULL: there is none for this method; allow names those there
 * are, or is empty. */
bool admit_refuses(struct exchange *x, const struct request *r,
                   const struct route *route, struct slice allow);
/* Is it the beginning of a WebSocket? */
bool admit_asks_for_websocket(const struct request *r);
/* The longest body of this route, and what is said of a longer one. */
size_t admit_body_max(const struct conn *c, const struct route *route);
const struct fault *admit_too_big(const struct route *route);

#endif
