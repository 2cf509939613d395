#include "gateways/http/api.h"

#include "base/err.h"
#include "gateways/common/envelope.h"
#include "gateways/common/target.h"
#include "gateways/http/admit.h"
#include "gateways/http/figures.h"
#include "gateways/http/http.h"
#include "proto/endpoint.h"
#include "proto/id.h"
#include "proto/json.h"

/* ---- what handlers share ------------------------------------------------ */

struct slice api_media_type(const struct request *r)
{
    struct slice rest = r->field[FIELD_CONTENT_TYPE];

    return rest.ptr ? slice_trim(slice_split(&rest, ';')) : rest;
}

bool api_is_json(struct exchange *x, const struct call *call)
{
    struct slice type = api_media_type(call->request);

    /* curl -d says that it is a form. */
    if (type.len && !slice_eq_nocase(type, SLICE("application/json")) &&
        !slice_eq_nocase(type, SLICE("application/x-www-form-urlencoded")))
        reply_error(x, 415, "body.type",
                    SLICE("Send JSON: Content-Type: application/json"));
    else if (json_check(call->body, JSON_DEPTH_MAX, NULL) < 0)
        reply_error(x, 400, "body.json",
                    SLICE("The body is not JSON; in a shell write it between "
                          "single quotes, its names and texts between double "
                          "ones."));
    else
        return true;
    return false;
}

/* ---- who is there, what is there ---------------------------------------- */

static const char *const query_codes[] = {
    [PUBLISHED_BAD] = "query.bad",
    [PUBLISHED_DENIED] = "query.denied",
    [PUBLISHED_NOT_FOUND] = "query.unknown",
    [PUBLISHED_UNAVAILABLE] = "router.away",
};

/* The router says "code: text for people", the gateway itself text alone. */
static struct slice take_code(struct slice *text)
{
    size_t n = 0;

    while (n < text->len && (text->ptr[n] == '.' || text->ptr[n] == '_' ||
                             (text->ptr[n] >= 'a' && text->ptr[n] <= 'z')))
        n++;
    if (n == 0 || !slice_starts(slice_from(*text, n), SLICE(": ")))
        return slice_make(NULL, 0);
    *text = slice_from(*text, n + 2);
    return slice_make(text->ptr - n - 2, n);
}

void api_query_failed(struct exchange *x, enum publish_status status,
                      struct slice text)
{
    const char *usual = (size_t)status < ARRAY_LEN(query_codes)
                            ? query_codes[status] : NULL;
    struct slice code = take_code(&text);
    struct buf b = BUF_INIT;

    buf_add(&b, code);
    if (code.len == 0)
        buf_add_str(&b, usual ? usual : "query.failed");
    reply_error(x, status_of(status), buf_text(&b),
                text.len ? text : SLICE("The router gave no answer."));
    buf_fini(&b);
}

static void figures_answered(struct exchange *x, enum publish_status status,
                             bool json, struct slice body,
                             int (*put)(struct buf *out, struct slice report))
{
    int rc = 0;

    if (status != PUBLISHED_OK) {
        api_query_failed(x, status, body);
        return;
    }
    if (json)
        buf_add(&x->body, body);
    else
        rc = put(&x->body, body);
    if (rc == ERR_FRAME)
        reply_error(x, 503, "router.answer",
                    SLICE("The router's answer makes no sense."));
    else
        reply_gathered(x, 200);
}

static void presence_answered(struct exchange *x, enum publish_status status,
                              bool json, struct slice body)
{
    figures_answered(x, status, json, body, figures_presence);
}

static void channels_answered(struct exchange *x, enum publish_status status,
                              bool json, struct slice body)
{
    figures_answered(x, status, json, body, figures_channels);
}

static void stats_answered(struct exchange *x, enum publish_status status,
                           bool json, struct slice body)
{
    figures_answered(x, status, json, body, figures_stats);
}

static void metrics_answered(struct exchange *x, enum publish_status status,
                             bool json, struct slice body)
{
    UNUSED(json);
    if (status != PUBLISHED_OK) {
        api_query_failed(x, status, body);
        return;
    }
    if (figures_metrics(&x->body, body) < 0 || x->body.failed)
        reply_no_memory(x);
    else
        reply(x, 200, "text/plain; version=0.0.4; charset=utf-8",
              buf_slice(&x->body));
}

static const struct exchange_ops presence_ops = {
    .answered = presence_answered};
static const struct exchange_ops channels_ops = {
    .answered = channels_answered};
static const struct exchange_ops stats_ops = {.answered = stats_answered};
static const struct exchange_ops metrics_ops = {.answered = metrics_answered};

void api_ask(struct exchange *x, const struct exchange_ops *ops,
             const char *verb, struct slice args)
{
    struct refusal why;

    x->ops = ops;
    if (conn_query(x->conn, verb, args, exchange_ref(x, 0), &why) < 0)
        reply_refusal(x, &why);
}

void api_presence(struct exchange *x, const struct call *call)
{
    const char *problem = id_problem(call->tail);

    if (problem)
        reply_error(x, 400, "channel.bad", slice_str(problem));
    else
        api_ask(x, &presence_ops, "presence", call->tail);
}

void api_channels(struct exchange *x, const struct call *call)
{
    struct slice match, after;
    struct buf args = BUF_INIT;
    struct query q;

    if (query_init(&q, call->request->query) < 0) {
        reply_no_memory(x);
        return;
    }
    match = query_get(&q, "match");
    after = query_get(&q, "after");
    if (match.ptr && pattern_problem(match)) {
        reply_error(x, 400, "pattern.bad", slice_str(pattern_problem(match)));
    } else if (after.ptr && id_problem(after)) {
        reply_error(x, 400, "channel.bad", slice_str(id_problem(after)));
    } else {
        /* Words of the verb (router/ctl.h); neither can hold a space. */
        buf_add(&args, match);
        buf_add_byte(&args, ' ');
        buf_add(&args, after);
        if (args.failed)
            reply_no_memory(x);
        else
            api_ask(x, &channels_ops, "channels", buf_slice(&args));
    }
    buf_fini(&args);
    query_fini(&q);
}

/* Gzipped: names come again for each process, and the page of operators asks
 * every two seconds, perhaps through a thin line. */
void api_stats(struct exchange *x, const struct call *call)
{
    struct slice zero;
    struct query q;

    if (query_init(&q, call->request->query) < 0) {
        reply_no_memory(x);
        return;
    }
    zero = query_get(&q, "zero");
    if (exchange_may_pack(x))
        api_ask(x, &stats_ops, "overview",
                zero.ptr && slice_eq(zero, SLICE("no")) ? SLICE("brief")
                                                         : SLICE(""));
    query_fini(&q);
}

void api_metrics(struct exchange *x, const struct call *call)
{
    UNUSED(call);
    api_ask(x, &metrics_ops, "stats", SLICE(""));
}

void api_healthz(struct exchange *x, const struct call *call)
{
    UNUSED(call);
    reply_text(x, 200, SLICE("alive"));
}

void api_readyz(struct exchange *x, const struct call *call)
{
    UNUSED(call);
    if (!gateway_linked(conn_gateway(x->conn)))
        reply_error(x, 503, "router.away",
                    SLICE("The router cannot be reached just now."));
    else if (gateway_mute(conn_gateway(x->conn)))
        reply_error(x, 503, "canary.late",
                    SLICE("What is sent through the router does not come back "
                          "in time."));
    else
        reply_text(x, 200, SLICE("ready"));
}

/* ---- the rest ----------------------------------------------------------- */

/* What came, as it came: shows what a client or a proxy really sends. */
void api_echo(struct exchange *x, const struct call *call)
{
    reply(x, 200, "application/octet-stream", call->body);
}

unsigned api_port(const struct opt_list *listen)
{
    struct endpoint e;
    const char *why;

    for (size_t i = 0; i < listen->count; i++)
        if (endpoint_parse(slice_str(listen->items[i]), &e, &why) == 0 &&
            endpoint_port(&e))
            return endpoint_port(&e);
    return 0;
}

/* The host that was asked for, without its port. */
static struct slice host_asked(struct exchange *x, const struct request *r)
{
    struct slice host = r->field[FIELD_HOST];
    size_t end = host.len;

    if (!host.len) {
        host = slice_str(conn_local_text(x->conn));
        end = host.len;
    }
    while (end && host.ptr[end - 1] >= '0' && host.ptr[end - 1] <= '9')
        end--;
    return end && host.ptr[end - 1] == ':' ? slice_head(host, end - 1) : host;
}

bool api_knows_websocket(const struct config *cfg)
{
    return *cfg->ws.public_url || api_port(&cfg->ws.listen);
}

static void add_websocket_url(struct buf *url, struct exchange *x,
                              const struct call *call)
{
    const struct config_edge *ws = &conn_config(x->conn)->ws;
    struct slice host = host_asked(x, call->request);

    if (*ws->public_url)
        buf_add_str(url, ws->public_url);
    else
        buf_addf(url, "ws://" SLICE_FMT ":%u", SLICE_ARG(host),
                 api_port(&ws->listen));
    buf_add_str(url, slice_eq(call->path, SLICE("/v1/raw")) ? "/v1/raw"
                                                            : "/v1/ws");
}

bool api_passes_websocket(const struct conn *c)
{
    return conn_config(c)->http.websocket && conn_can_pass(c);
}

/* One that could not be passed on; or a request that is none, in the WebSocket
 * gateway's words: whoever looks for it has found it. */
static void reply_websocket_here(struct exchange *x, const struct call *call)
{
    if (admit_asks_for_websocket(call->request)) {
        reply_error(x, 503, "websocket.away",
                    SLICE("The WebSocket gateway takes nobody just now."));
        return;
    }
    gateway_refused(conn_gateway(x->conn), SLICE("upgrade.required"));
    buf_add_str(&x->fields, "Upgrade: websocket\r\nConnection: Upgrade\r\n");
    buf_add_str(&x->body, "{\"error\":");
    envelope_error(&x->body, SLICE("upgrade.required"),
                   SLICE("WebSocket is spoken here; this was a request for "
                         "something else."));
    if (*conn_config(x->conn)->ws.public_url) {
        struct buf url = BUF_INIT;

        add_websocket_url(&url, x, call);
        buf_add_str(&x->body, ",\"url\":");
        json_put_string(&x->body, buf_slice(&url));
        x->body.failed |= url.failed;
        buf_fini(&url);
    }
    buf_add_byte(&x->body, '}');
    reply_gathered(x, 426);
}

void api_websocket(struct exchange *x, const struct call *call)
{
    struct buf url = BUF_INIT;

    if (api_passes_websocket(x->conn)) {
        reply_websocket_here(x, call);
        return;
    }
    if (!api_knows_websocket(conn_config(x->conn))) {
        reply_error(x, 404, "path.unknown",
                    SLICE("WebSocket is spoken on no port here."));
        return;
    }
    gateway_refused(conn_gateway(x->conn), SLICE("websocket.elsewhere"));
    add_websocket_url(&url, x, call);
    buf_add_str(&x->fields, "Upgrade: websocket\r\nConnection: Upgrade\r\n");
    buf_add_str(&x->body, "{\"error\":");
    envelope_error(&x->body, SLICE("websocket.elsewhere"),
                   SLICE("WebSocket is spoken on another port; see url."));
    buf_add_str(&x->body, ",\"url\":");
    json_put_string(&x->body, buf_slice(&url));
    buf_add_byte(&x->body, '}');
    x->body.failed |= url.failed;
    buf_fini(&url);
    reply_gathered(x, 426);
}
