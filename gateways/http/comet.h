/* comet.h - requests whose answer is what is said: streams, long polls, and
 * the /test/ page.
 * path: msg > publish > store > table > repeater > link > bus > gateway >
 *       [edge] > conn
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_COMET_H
#define TOUCHLINE_HTTP_COMET_H

#include "gateways/http/route.h"

/* Handlers. */
void comet_stream(struct exchange *x, const struct call *call);
void comet_poll(struct exchange *x, const struct call *call);
void comet_test(struct exchange *x, const struct call *call);

/* Of struct edge. */
void comet_subscribed(struct conn *c, uint32_t ref);
void comet_started(struct conn *c, uint32_t ref);
void comet_subscribe_failed(struct conn *c, uint32_t ref, const char *code,
                            struct slice text);
void comet_notice(struct conn *c, const struct notice *n);
enum put_result comet_put(struct conn *c, struct msg *m, unsigned flags,
                          struct outvec *v);
void comet_pulled(struct conn *c);
void comet_ping(struct conn *c);
void comet_deadline(struct conn *c); /* the end of a poll; a page's tick */
void comet_drain(struct conn *c);
void comet_cut(struct conn *c);
void comet_closed(struct conn *c);

#endif
