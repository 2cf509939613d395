#include "gateways/http/admit.h"

#include "gateways/common/access.h"
#include "gateways/common/forwarded.h"
#include "gateways/common/gateway.h"
#include "gateways/http/api.h"

static const struct fault too_big = {
    413, "body.too_big", "The body is larger than allowed here."};
static const struct fault batch_too_big = {
    413, "batch.too_big", "The batch is larger than allowed."};
static const struct fault echo_too_big = {
    400, "body.too_big", "The body is larger than what is given back."};

static bool has_body(const struct request *r)
{
    return (r->flags & REQUEST_CHUNKED) || r->length > 0;
}

size_t admit_body_max(const struct conn *c, const struct route *route)
{
    const struct config_limits *limits = &conn_config(c)->limits;

    return route->body == BODY_BATCH ? limits->batch_bytes : limits->message;
}

const struct fault *admit_too_big(const struct route *route)
{
    if (route->body == BODY_BATCH)
        return &batch_too_big;
    return route->body == BODY_ECHO ? &echo_too_big : &too_big;
}

static bool refuses_body(struct exchange *x, const struct request *r,
                         const struct route *route)
{
    struct slice coding = r->field[FIELD_CONTENT_ENCODING];

    if (route->body == BODY_NONE && has_body(r))
        reply_error(x, 400, "body.unexpected",
                    SLICE("This request takes no body: send it without one; GET / "
                          "shows which takes one."));
    else if ((route->body == BODY_MESSAGE || route->body == BODY_BATCH) &&
             !(r->flags & (REQUEST_CHUNKED | REQUEST_LENGTH)))
        reply_error(x, 411, "body.length",
                    SLICE("Say Content-Length, 0 for an empty body."));
    else if (r->length > admit_body_max(x->conn, route) && route->body != BODY_NONE)
        reply_fault(x, admit_too_big(route));
    else if (coding.len && !slice_eq_nocase(coding, SLICE("identity")))
        reply_error(x, 415, "body.encoding",
                    SLICE("The body must not be compressed: send it as it is, "
                          "without Content-Encoding."));
    else
        return false;
    return true;
}

/* OPTIONS: what is possible here, and what a page of an allowed origin may
 * send along. */
static void reply_options(struct exchange *x, struct slice allow)
{
    buf_addf(&x->fields,
             "Allow: " SLICE_FMT "\r\n"
             "Access-Control-Allow-Methods: " SLICE_FMT "\r\n",
             SLICE_ARG(allow), SLICE_ARG(allow));
    buf_add_str(&x->fields,
                "Access-Control-Allow-Headers: Authorization, Content-Type, "
                "Idempotency-Key, Last-Event-ID, Touchline-From, "
                "Touchline-Key\r\n"
                "Access-Control-Max-Age: 600\r\n");
    reply(x, 204, NULL, SLICE(""));
}

/* Nobody answers this method on this path. */
static void reply_no_route(struct exchange *x, const struct request *r,
                           struct slice allow)
{
    if (r->method == METHOD_OPTIONS && slice_eq(r->path, SLICE("*"))) {
        reply_options(x, SLICE("GET, HEAD, POST, PUT, DELETE, OPTIONS"));
    } else if (allow.len == 0) {
        reply_error(x, 404, "path.unknown",
                    SLICE("There is nothing here; GET / says what there is."));
    } else if (r->method == METHOD_OPTIONS) {
        reply_options(x, allow);
    } else {
        buf_addf(&x->fields, "Allow: " SLICE_FMT "\r\n", SLICE_ARG(allow));
        reply_error(x, 405, "method.denied",
                    SLICE("This method is not possible here; see Allow."));
    }
}

/* 421: a page on the web has had its name pointed at this machine. */
static bool refuses_host(struct exchange *x, const struct request *r)
{
    struct slice host = r->field[FIELD_HOST];

    if (!host.ptr || !conn_at_loopback(x->conn) ||
        access_host_allowed(gateway_edge_config(conn_gateway(x->conn)), host))
        return false;
    reply_error(x, 421, "host.unknown",
                SLICE("This address answers to its number, to localhost, and "
                      "to the names in http.hosts."));
    return true;
}

static bool refuses_origin(struct exchange *x, const struct request *r)
{
    struct slice origin = r->field[FIELD_ORIGIN];

    if (r->method == METHOD_GET || r->method == METHOD_HEAD ||
        r->method == METHOD_OPTIONS || !origin.ptr ||
        access_origin_allowed(gateway_edge_config(conn_gateway(x->conn)),
                              origin, r->field[FIELD_HOST]))
        return false;
    reply_error(x, 403, "origin.denied",
                SLICE("Pages of this origin may not write here; http.origins "
                      "would list its host."));
    return true;
}

/* Who asks: through which proxy, with which token. */
static bool refuses_who(struct exchange *x, const struct request *r)
{
    struct slice text = r->field[FIELD_AUTHORIZATION];
    const struct config_token *token = NULL;
    const struct fault *why;

    access_asked_by_name(x->conn, gateway_edge_config(conn_gateway(x->conn)),
                         r->field[FIELD_HOST]);
    if (forwarded_admit(x->conn, r, &why) < 0) {
        reply_fault(x, why);
        return true;
    }
    if (slice_eq_nocase(slice_head(text, 7), SLICE("bearer "))) {
        token = access_token(conn_config(x->conn),
                             slice_trim(slice_from(text, 7)));
        if (!token) {
            reply_error(x, 403, "token.unknown",
                        SLICE(ACCESS_UNKNOWN));
            return true;
        }
    }
    if (token != conn_token(x->conn))
        conn_set_token(x->conn, token);
    return false;
}

bool admit_asks_for_websocket(const struct request *r)
{
    unsigned both = REQUEST_UPGRADE | REQUEST_WEBSOCKET;

    return r->method == METHOD_GET && r->minor > 0 && (r->flags & both) == both;
}

bool admit_refuses(struct exchange *x, const struct request *r,
                   const struct route *route, struct slice allow)
{
    bool keep = x->flags & EXCHANGE_KEEP;

    /* The body of a request that is refused is not read. */
    if (has_body(r))
        x->flags &= (uint16_t)~EXCHANGE_KEEP;
    if (refuses_host(x, r) || refuses_who(x, r))
        return true;
    if (admit_asks_for_websocket(r) &&
        (api_knows_websocket(conn_config(x->conn)) ||
         api_passes_websocket(x->conn))) {
        api_websocket(x, &(struct call){.request = r, .path = r->path});
        return true;
    }
    if (!route) {
        reply_no_route(x, r, allow);
        return true;
    }
    if (refuses_origin(x, r) || refuses_body(x, r, route))
        return true;
    if (keep)
        x->flags |= EXCHANGE_KEEP;
    return false;
}
