/* publish.h - POST /v1/publish: one message, or a batch that becomes one
 * commit.
 * path: msg > publish > store > table > repeater > link > bus > gateway >
 *       [edge] > conn
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_PUBLISH_H
#define TOUCHLINE_HTTP_PUBLISH_H

#include "gateways/http/route.h"

/* The body is the message, its type the format. */
void publish_channel(struct exchange *x, const struct call *call);
/* An array of {"channel","data",...}; an array of answers. */
void publish_list(struct exchange *x, const struct call *call);
/* The body, JSON, to a channel that the path does not name as such. */
void publish_json(struct exchange *x, const struct call *call,
                  struct slice channel);

#endif
