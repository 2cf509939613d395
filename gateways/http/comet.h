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

/* Why the server ends a connection that broke no rule: in a word for the log,
 * as an error's code, for the client. */
struct comet_end {
    const char *word, *code, *text;
    bool told; /* a poll hears of it, too: to come back changes nothing */
};

/* Of struct edge. */
void comet_subscribed(struct conn *c, uint32_t ref);
void comet_started(struct conn *c, uint32_t ref);
void comet_restarted(struct conn *c);
void comet_subscribe_failed(struct conn *c, uint32_t ref, const char *code,
                            struct slice text);
void comet_notice(struct conn *c, const struct notice *n);
enum put_result comet_put(struct conn *c, struct msg *m, unsigned flags,
                          struct outvec *v);
void comet_taken(struct conn *c, unsigned messages);
void comet_pulled(struct conn *c);
void comet_ping(struct conn *c);
void comet_deadline(struct conn *c); /* the end of a poll; a page's tick */
void comet_end(struct conn *c, const struct comet_end *why);
void comet_cut(struct conn *c);
void comet_closed(struct conn *c);
/* Of a poll that waits, HTTP_WAITING: nothing is kept any more, h->talk is
 * NULL. */
void comet_forget(struct conn *c);
/* What a stream, a poll or who waits for the login keeps. Thawed in the
 * state that it had, an enum http_state. Errors as of edge->thaw(). */
void comet_freeze(struct conn *c, struct buf *b);
MUST_USE int comet_thaw(struct conn *c, struct cursor *in, unsigned state);

#endif
