/* api.h - requests with one answer about the system: presence, channels,
 * figures; and what all handlers share.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_API_H
#define TOUCHLINE_HTTP_API_H

#include "gateways/http/route.h"

void api_echo(struct exchange *x, const struct call *call);
void api_presence(struct exchange *x, const struct call *call);
void api_channels(struct exchange *x, const struct call *call);
void api_websocket(struct exchange *x, const struct call *call);
void api_healthz(struct exchange *x, const struct call *call);
void api_readyz(struct exchange *x, const struct call *call);
void api_metrics(struct exchange *x, const struct call *call);
void api_stats(struct exchange *x, const struct call *call);

/* ---- shared ---- */

/* Content-Type without its parameters. */
struct slice api_media_type(const struct request *r);
/* Has the call a JSON body? False: it has been answered. */
bool api_is_json(struct exchange *x, const struct call *call);
/* Asks the router; ops->answered answers. */
void api_ask(struct exchange *x, const struct exchange_ops *ops,
             const char *verb, struct slice args);
/* Its refusal, as an answer. */
void api_query_failed(struct exchange *x, enum publish_status status,
                      struct slice text);
/* First port listened at in a list; 0: none. */
unsigned api_port(const struct opt_list *listen);
/* Can api_websocket() say where it is spoken? Else it answers 404. */
bool api_knows_websocket(const struct config *cfg);
/* It is spoken on this port, too (http.websocket). */
bool api_passes_websocket(const struct conn *c);

#endif
