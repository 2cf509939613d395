/* history.h - GET /v1/history: a page of what is kept of a channel.
 *
 * What cannot be had stands as a gap in its place: trimmed or damaged
 * messages, a cursor of another epoch or of the future.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_HISTORY_H
#define TOUCHLINE_HTTP_HISTORY_H

#include "gateways/http/route.h"

void history_channel(struct exchange *x, const struct call *call);
/* The same of a channel that the path does not name as such. */
void history_of(struct exchange *x, const struct call *call,
                struct slice channel);

#endif
