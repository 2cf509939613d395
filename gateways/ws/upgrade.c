#include "gateways/ws/upgrade.h"

#include <stdlib.h>

#include "base/err.h"
#include "gateways/common/access.h"
#include "gateways/common/forwarded.h"
#include "gateways/common/gateway.h"
#include "gateways/ws/handshake.h"

/* A request on its way to 101. */
struct upgrade {
    struct head_scan scan;
    char accept[HANDSHAKE_ACCEPT + 1];
    struct deflate_terms deflate;
};

/* ---- refusing ---------------------------------------------------------- */

/* r: what has been read of the request, or NULL. */
static void refuse(struct conn *c, const struct request *r, unsigned status,
                   struct slice code, struct slice text)
{
    unsigned retry_s = gateway_retry_ms(conn_gateway(c)) / 1000 + 1;

    gateway_refused(conn_gateway(c), code);
    ws_become(c, WS_CLOSED);
    handshake_refuse(conn_out(c), r, status, code, text, retry_s);
    conn_close(c, "handshake");
}

void upgrade_refuse(struct conn *c, unsigned status, struct slice code,
                    struct slice text)
{
    refuse(c, NULL, status, code, text);
}

static void count_limit(struct gateway *g, const struct fault *why)
{
    static const struct {
        const char *code;
        enum limit limit;
    } limits[] = {
        { "request.target_long", LIMIT_REQUEST_LINE },
        { "request.fields_large", LIMIT_HEADER_BLOCK },
        { "request.fields_many", LIMIT_HEADERS },
    };

    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (strcmp(limits[i].code, why->code) == 0)
            gateway_limit(g, limits[i].limit);
}

static void refuse_fault(struct conn *c, const struct request *r,
                         const struct fault *why)
{
    count_limit(conn_gateway(c), why);
    refuse(c, r, why->status, slice_str(why->code), slice_str(why->text));
}

static void refuse_memory(struct conn *c)
{
    refuse(c, NULL, 503, SLICE("server.memory"),
           SLICE("the server is out of memory; try again later"));
}

static unsigned status_of(enum publish_status status)
{
    switch (status) {
    case PUBLISHED_DENIED: return 403;
    case PUBLISHED_NOT_FOUND: return 404;
    case PUBLISHED_TOO_MANY: return 429;
    case PUBLISHED_UNAVAILABLE:
    case PUBLISHED_UNKNOWN: return 503;
    default: return 400;
    }
}

void upgrade_late(struct conn *c)
{
    gateway_limit(conn_gateway(c), LIMIT_HANDSHAKE_WAIT);
    if (ws_of(c)->work) {
        refuse(c, NULL, 408, SLICE("handshake.slow"),
               SLICE("the handshake took too long"));
        return;
    }
    ws_become(c, WS_CLOSED); /* it has not said a word */
    conn_close(c, "silent");
}

/* ---- the head ---------------------------------------------------------- */

static struct upgrade *upgrade_of(struct conn *c)
{
    struct ws_work *w = ws_work(c);

    if (w && !w->upgrade)
        w->upgrade = calloc(1, sizeof *w->upgrade);
    if (w && !w->upgrade)
        refuse_memory(c);
    return w ? w->upgrade : NULL;
}

static void say_accepted(struct conn *c)
{
    struct ws_socket *s = ws_of(c);

    ws_become(c, WS_OPEN);
    handshake_accept(conn_out(c), s->work->upgrade->accept,
                     &s->work->upgrade->deflate);
    s->window = s->work->upgrade->deflate.window & 15u;
    free(s->work->upgrade);
    s->work->upgrade = NULL;
}

void upgrade_open(struct conn *c)
{
    struct ws_socket *s = ws_of(c);

    say_accepted(c);
    conn_want_pings(c, true);
    if (s->kind->opened)
        s->kind->opened(c);
    ws_settle(c);
}

/* More come than may. */
static void turn_away(struct conn *c, const struct refusal *why)
{
    gateway_refused(conn_gateway(c), slice_str(why->code));
    say_accepted(c);
    ws_close_until(c, WS_TRY_LATER, why->code, "busy", why->retry_ms);
}

/* Who asks: through which proxy, with which token. False: refused. */
static bool know_client(struct conn *c, const struct request *r)
{
    struct slice text = r->field[FIELD_AUTHORIZATION];
    const struct config_token *token;
    const struct fault *why;

    access_asked_by_name(c, gateway_edge_config(conn_gateway(c)),
                         r->field[FIELD_HOST]);
    if (forwarded_admit(c, r, &why) < 0) {
        refuse_fault(c, r, why);
        return false;
    }
    if (!slice_eq_nocase(slice_head(text, 7), SLICE("bearer ")))
        return true;
    token = access_token(conn_config(c), slice_trim(slice_from(text, 7)));
    if (!token) {
        refuse(c, r, 403, SLICE("token.unknown"),
               SLICE(ACCESS_UNKNOWN));
        return false;
    }
    conn_set_token(c, token);
    return true;
}

/* The head is whole and the handshake good: what does the URL ask for? */
static void begin(struct conn *c, const struct request *r)
{
    struct query q;
    struct refusal why = {.retry_ms = 0};
    bool waits = false;
    int rc = query_init(&q, r->query);

    if (rc < 0) {
        refuse_memory(c);
        return;
    }
    ws_become(c, WS_LOGIN);
    rc = ws_of(c)->kind->begin(c, &q, &waits, &why);
    query_fini(&q);
    if (rc < 0 && why.retry_ms)
        turn_away(c, &why);
    else if (rc < 0)
        refuse(c, r, status_of(why.status), slice_str(why.code),
               slice_str(why.text));
    else if (waits)
        conn_pause_input(c, true);
    else
        upgrade_open(c);
}

static void take_head(struct conn *c, struct slice head)
{
    struct request r;
    struct handshake h;
    const struct fault *why;
    int rc = request_parse(&r, head, &why);

    if (rc == 0)
        rc = handshake_check(&r, gateway_edge_config(conn_gateway(c)),
                             conn_at_loopback(c), &h, &why);
    conn_deadline(c, 0);
    if (rc == ERR_BAD) {
        refuse_fault(c, &r, why);
    } else if (rc < 0) {
        refuse_memory(c);
    } else if (know_client(c, &r)) {
        memcpy(ws_of(c)->work->upgrade->accept, h.accept, sizeof h.accept);
        if (h.deflate.window && ws_may_deflate(conn_gateway(c)))
            ws_of(c)->work->upgrade->deflate = h.deflate;
        ws_of(c)->kind = h.path == HANDSHAKE_RAW ? &ws_raw : &ws_commands;
        begin(c, &r);
    }
}

size_t upgrade_input(struct conn *c, struct slice in)
{
    const struct config_limits *l = &conn_config(c)->limits;
    struct head_limits limits = {
        .request_line = l->request_line,
        .block = l->header_block,
        .fields = (unsigned)l->headers,
    };
    struct upgrade *u = upgrade_of(c);
    const struct fault *why;
    size_t len;
    int rc;

    if (!u)
        return in.len;
    rc = head_scan(&u->scan, in, &limits, &len, &why);
    if (rc == ERR_AGAIN)
        return 0;
    if (rc == 0)
        take_head(c, slice_head(in, len));
    else
        refuse_fault(c, NULL, why);
    return rc == 0 ? len : in.len;
}
