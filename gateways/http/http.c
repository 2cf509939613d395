#include "gateways/http/http.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "gateways/http/admit.h"
#include "gateways/http/api.h"
#include "gateways/http/comet.h"
#include "gateways/http/form.h"
#include "gateways/http/front.h"
#include "gateways/http/packer.h"
#include "gateways/http/route.h"
#include "gateways/common/target.h"

enum { REF_INDEX_BITS = 16 };

/* A request whose head is there and whose body is not. */
struct upload {
    struct exchange *exchange;
    const struct route *route;
    struct request request; /* slices of head */
    struct buf head, path, body;
    size_t tail; /* where in path the tail begins */
    size_t tail_len;
    size_t max;
    struct chunked chunked;
    uint64_t seen;   /* bytes of it so far, framing included */
    uint64_t looked; /* seen, when its rate was looked at last */
};

static const struct fault timeout_head = {
    408, "request.timeout", "The head of the request took too long."};
static const struct fault timeout_body = {
    408, "body.slow", "The body of the request came too slowly."};
static const struct fault cut_short = {
    400, "request.cut_short", "The request ends before it is complete."};
static struct gateway *gateway_of(struct conn *c)
{
    return conn_gateway(c);
}

static const struct config_limits *limits_of(const struct conn *c)
{
    return &conn_config(c)->limits;
}

static uint32_t to_ms(int64_t ns)
{
    return (uint32_t)MIN(ns / MILLISECOND, INT64_C(1) << 30);
}

static void upload_free(struct upload *u)
{
    if (!u)
        return;
    buf_fini(&u->head);
    buf_fini(&u->path);
    buf_fini(&u->body);
    free(u);
}

static void forget_scan(struct http_conn *h)
{
    h->talk->scanned = 0;
    h->talk->lines = 0;
}

/* ---- answers, in order -------------------------------------------------- */

static void finish(struct conn *c, const char *why)
{
    struct http_conn *h = conn_edge(c);

    CHECK(h->state != HTTP_STREAM); /* it has no exchanges; see the union */
    if (h->state == HTTP_WAITING)
        comet_forget(c);
    h->state = HTTP_CLOSING;
    conn_close(c, why);
}

/* All that was asked has been answered, or some of it: what now? */
static void go_on(struct conn *c)
{
    struct http_conn *h = conn_edge(c);
    unsigned waits = h->flags & (HTTP_WAIT_ROOM | HTTP_WAIT_ALL);

    if (h->unanswered == 0 && h->state == HTTP_IDLE) {
        if (h->flags & HTTP_ENDED) {
            finish(c, "client");
            return;
        }
        conn_deadline(c, HTTP_KEEP_ALIVE_MS);
    }
    if (!waits)
        return;
    if (conn_out_pending(c) > HTTP_OUT_MAX) {
        conn_want_drained(c);
        return;
    }
    if (h->unanswered == 0 ||
        (waits == HTTP_WAIT_ROOM && h->unanswered <= PIPELINE_MAX / 2)) {
        h->flags &= (uint8_t)~(HTTP_WAIT_ROOM | HTTP_WAIT_ALL);
        conn_pause_input(c, false);
    }
}

/* Takes the first exchange off its connection. True: it may stay open. */
static bool pop(struct http_conn *h)
{
    struct exchange *x = h->talk->first;
    bool keep = x->flags & EXCHANGE_KEEP;

    h->talk->first = x->next;
    h->unanswered--;
    exchange_free(x);
    return keep;
}

void http_answered(struct exchange *x)
{
    struct conn *c = x->conn;
    struct http_conn *h = conn_edge(c);

    x->flags |= EXCHANGE_DONE;
    if (!(x->flags & EXCHANGE_KEEP))
        h->state = HTTP_CLOSING;
    while (h->talk->first && (h->talk->first->flags & EXCHANGE_DONE)) {
        if (h->talk->first->out.len)
            buf_add(conn_out(c), buf_slice(&h->talk->first->out));
        if (!pop(h)) {
            finish(c, "answered");
            return;
        }
    }
    if (h->state == HTTP_SUBSCRIBING || h->state == HTTP_POLL)
        h->state = HTTP_IDLE;
    go_on(c);
}

static void end_talk(struct exchange *x)
{
    struct http_conn *h = conn_edge(x->conn);

    CHECK(h->talk->first == x && !x->next && !h->talk->upload);
    (void)pop(h);
    gateway_give(h->talk);
    h->talk = NULL;
}

void http_release(struct exchange *x)
{
    struct conn *c = x->conn;
    struct http_conn *h = conn_edge(c);

    end_talk(x);
    h->state = HTTP_STREAM;
    h->page = NULL;
    /* What was held behind it is thrown away, and its end will be seen. */
    h->flags &= (uint8_t)~(HTTP_WAIT_ROOM | HTTP_WAIT_ALL);
    conn_pause_input(c, false);
}

void http_suspend(struct exchange *x)
{
    struct http_conn *h = conn_edge(x->conn);

    end_talk(x);
    h->state = HTTP_WAITING;
    h->unanswered = 1;
}

bool http_resume(struct conn *c, uint16_t serial)
{
    struct http_conn *h = conn_edge(c);
    struct http_talk *talk = gateway_take(conn_gateway(c), sizeof *talk);

    if (!talk)
        return false;
    talk->serial = serial;
    h->talk = talk;
    h->state = HTTP_IDLE;
    h->unanswered = 0;
    return true;
}

/* The exchange that asked under this ref, NULL when nobody waits for it. */
static struct exchange *asked_by(struct conn *c, uint32_t ref)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *x;

    if (h->state == HTTP_STREAM || h->state == HTTP_WAITING || conn_closing(c))
        return NULL;
    for (x = h->talk->first; x; x = x->next)
        if (x->serial == ref >> REF_INDEX_BITS && x->ops &&
            !(x->flags & EXCHANGE_DONE))
            break;
    return x;
}

/* An answer to what was no request, or not all of one. It closes. */
static void reject(struct conn *c, const struct request *r,
                   const struct fault *why)
{
    static const struct request unknown = {.minor = 1};
    struct exchange *x = exchange_new(c, r ? r : &unknown);
    struct http_conn *h = conn_edge(c);

    h->state = HTTP_CLOSING;
    conn_deadline(c, 0);
    if (x)
        reply_fault(x, why);
    else
        conn_abort(c, "memory");
}

/* ---- from the head to the handler --------------------------------------- */

/* False: it has been answered. */
static bool settle_encoding(struct exchange *x, const struct route *route)
{
    const struct config *cfg = conn_config(x->conn);

    return !(route->flags & ROUTE_MATCHES) ||
           !config_compresses(cfg, SLICE("match/")) ||
           !config_compresses(cfg, SLICE("team/")) || exchange_may_pack(x);
}

static void handle(struct exchange *x, const struct route *route,
                   const struct call *call)
{
    struct conn *c = x->conn;
    struct http_conn *h = conn_edge(c);
    bool keep = x->flags & EXCHANGE_KEEP;

    h->state = HTTP_IDLE;
    conn_deadline(c, 0);
    if (settle_encoding(x, route))
        route->handle(x, call);
    if (!keep && h->state == HTTP_IDLE)
        h->state = HTTP_CLOSING;
}

/* A proxy on this machine does not make a guest of the world one of ours: what
 * it passes on sees figures only where http.admin was set for them. */
static bool is_admin(struct conn *c, const struct request *r)
{
    const struct config_edge *cfg = gateway_edge_config(gateway_of(c));

    return conn_at_admin(c) &&
           (cfg->admin.count > 0 || !request_is_forwarded(r));
}

/* A head that is complete, on its way to be handled. */
struct arrival {
    struct request request;
    const struct route *route;
    struct buf path, allow;
    struct slice tail;
};

static void arrival_fini(struct arrival *a)
{
    buf_fini(&a->path);
    buf_fini(&a->allow);
}

/* 0, or ERR_BAD with *why, or ERR_NOMEM. */
static int arrival_read(struct arrival *a, struct conn *c, struct slice head,
                        const struct fault **why)
{
    int rc = request_parse(&a->request, head, why);

    if (rc == 0)
        rc = request_check_host(&a->request, why);
    if (rc == 0)
        rc = target_decode(&a->path, a->request.path);
    if (rc < 0)
        return rc;
    a->route = route_find(a->request.method, buf_slice(&a->path),
                          is_admin(c, &a->request), &a->tail, &a->allow);
    return a->path.failed || a->allow.failed ? ERR_NOMEM : 0;
}

/* May it be begun while others wait for their answers? */
static bool may_overlap(const struct arrival *a)
{
    return a->route && (a->route->flags & ROUTE_PIPELINED) &&
           !(a->request.flags & REQUEST_CONTINUE);
}

/* Keeps the request until its body is there. */
static void await_body(struct exchange *x, struct arrival *a,
                       struct slice head, bool body_begun)
{
    struct conn *c = x->conn;
    struct http_conn *h = conn_edge(c);
    struct upload *u = calloc(1, sizeof *u);
    const struct fault *why;

    if (u)
        buf_add(&u->head, head);
    if (!u || u->head.failed ||
        request_parse(&u->request, buf_slice(&u->head), &why) < 0) {
        upload_free(u);
        conn_abort(c, "memory");
        return;
    }
    u->exchange = x;
    u->route = a->route;
    u->tail = a->tail.ptr ? (size_t)(a->tail.ptr - a->path.ptr) : 0;
    u->tail_len = a->tail.len;
    u->path = a->path;
    buf_init(&a->path);
    u->max = admit_body_max(c, a->route);
    h->talk->upload = u;
    h->state = HTTP_BODY;
    conn_deadline(c, limits_of(c)->body_rate ? HTTP_BODY_STEP_MS : 0);
    if ((u->request.flags & REQUEST_CONTINUE) && !body_begun)
        buf_add_str(conn_out(c), "HTTP/1.1 100 Continue\r\n\r\n");
}

/* The request is accepted: now, or once its body is there. */
static void begin(struct conn *c, struct arrival *a, struct slice head,
                  struct slice rest, size_t *used)
{
    struct http_conn *h = conn_edge(c);
    const struct request *r = &a->request;
    struct exchange *x = exchange_new(c, r);
    size_t limit = limits_of(c)->requests_per_connection;

    if (!x) {
        conn_abort(c, "memory");
        return;
    }
    *used += head.len;
    h->state = HTTP_IDLE;
    if (limit && ++h->served == limit)
        gateway_limit(gateway_of(c), LIMIT_REQUESTS_PER_CONNECTION);
    if (limit && h->served >= limit)
        x->flags &= (uint16_t)~EXCHANGE_KEEP;
    if (admit_refuses(x, r, a->route, buf_slice(&a->allow)))
        return;
    if ((r->flags & REQUEST_CHUNKED) || rest.len < r->length) {
        await_body(x, a, head, rest.len > 0);
        return;
    }
    *used += (size_t)r->length;
    handle(x, a->route,
           &(struct call){r, buf_slice(&a->path), a->tail,
                          slice_head(rest, (size_t)r->length)});
}

/* ---- input -------------------------------------------------------------- */

enum step { STEP_ON, STEP_WAIT };

/* What has come stays where it is for now. */
static enum step hold(struct conn *c, enum http_flag until)
{
    struct http_conn *h = conn_edge(c);

    h->flags |= (uint8_t)until;
    conn_pause_input(c, true);
    if (conn_out_pending(c) > HTTP_OUT_MAX)
        conn_want_drained(c);
    return STEP_WAIT;
}

static bool is_for_websocket(const struct conn *c, const struct request *r)
{
    return admit_asks_for_websocket(r) && api_passes_websocket(c);
}

/* What was answered before is on its way first. Who cannot be passed on is
 * answered here. */
static enum step pass(struct conn *c, struct arrival *a, struct slice head,
                      struct slice rest, size_t *used)
{
    enum step step;
    int rc;

    if (conn_out_pending(c)) {
        step = hold(c, HTTP_WAIT_ROOM);
        conn_want_drained(c);
        return step;
    }
    rc = conn_pass_on(c, slice_make(head.ptr, head.len + rest.len));
    if (rc == ERR_AGAIN)
        return STEP_WAIT;
    if (rc < 0)
        begin(c, a, head, rest, used);
    return STEP_ON;
}

static enum step arrive(struct conn *c, struct slice head, struct slice rest,
                        size_t *used)
{
    struct http_conn *h = conn_edge(c);
    struct arrival a = {.path = BUF_INIT};
    const struct fault *why = NULL;
    enum step step = STEP_ON;
    int rc = arrival_read(&a, c, head, &why);

    forget_scan(h);
    if (rc == ERR_NOMEM)
        conn_abort(c, "memory");
    else if (rc < 0)
        reject(c, &a.request, why);
    else if (h->unanswered && !may_overlap(&a))
        step = hold(c, HTTP_WAIT_ALL);
    else if (is_for_websocket(c, &a.request))
        step = pass(c, &a, head, rest, used);
    else
        begin(c, &a, head, rest, used);
    arrival_fini(&a);
    return conn_closing(c) ? STEP_WAIT : step;
}

/* Part of a head is there: the clock runs from its first byte. */
static enum step await_head(struct conn *c, struct slice in)
{
    struct http_conn *h = conn_edge(c);

    if (h->state == HTTP_IDLE && !slice_starts(SLICE("\r\n"), in)) {
        h->state = HTTP_HEAD;
        conn_deadline(c, to_ms(limits_of(c)->header_wait));
    }
    return STEP_WAIT;
}

static enum step take_head(struct conn *c, struct slice in, size_t *used)
{
    struct http_conn *h = conn_edge(c);
    const struct config_limits *l = limits_of(c);
    struct head_limits limits = {l->request_line, l->header_block,
                                 (unsigned)l->headers};
    struct head_scan scan = {h->talk->scanned, h->talk->lines};
    const struct fault *why = NULL;
    size_t len = 0;
    int rc;

    if (in.len == 0)
        return STEP_WAIT;
    if (h->unanswered >= PIPELINE_MAX || conn_out_pending(c) > HTTP_OUT_MAX)
        return hold(c, HTTP_WAIT_ROOM);
    rc = head_scan(&scan, in, &limits, &len, &why);
    h->talk->scanned = scan.at;
    h->talk->lines = scan.lines;
    if (rc == ERR_AGAIN)
        return await_head(c, in);
    if (rc == 0)
        return arrive(c, slice_head(in, len), slice_from(in, len), used);
    reject(c, NULL, why);
    return STEP_WAIT;
}

static int upload_feed(struct upload *u, struct slice in, size_t *used,
                       const struct fault **why)
{
    size_t n = 0;
    int rc = 0;

    if (u->request.flags & REQUEST_CHUNKED) {
        rc = chunked_feed(&u->chunked, in, &u->body, u->max, &n, why);
    } else {
        n = (size_t)MIN(u->request.length - u->body.len, (uint64_t)in.len);
        buf_add(&u->body, slice_head(in, n));
        if (u->body.len < u->request.length)
            rc = u->body.failed ? ERR_NOMEM : ERR_AGAIN;
    }
    u->seen += n;
    *used += n;
    return rc;
}

/* The body will not become whole: says why, and closes. */
static void upload_fail(struct conn *c, const struct fault *why)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *x = h->talk->upload->exchange;

    upload_free(h->talk->upload);
    h->talk->upload = NULL;
    h->state = HTTP_CLOSING;
    conn_deadline(c, 0);
    reply_fault(x, why);
}

static void upload_handle(struct upload *u)
{
    struct slice path = buf_slice(&u->path);
    struct call call = {
        .request = &u->request,
        .path = path,
        .tail = slice_head(slice_from(path, u->tail), u->tail_len),
        .body = buf_slice(&u->body),
    };

    handle(u->exchange, u->route, &call);
    upload_free(u);
}

static enum step take_body(struct conn *c, struct slice in, size_t *used)
{
    struct http_conn *h = conn_edge(c);
    struct upload *u = h->talk->upload;
    const struct fault *why = NULL;
    int rc = upload_feed(u, in, used, &why);

    if (rc == ERR_AGAIN)
        return STEP_WAIT;
    if (rc == ERR_NOMEM) {
        conn_abort(c, "memory");
    } else if (rc < 0) {
        upload_fail(c, rc == ERR_TOO_BIG ? admit_too_big(u->route) : why);
    } else {
        h->talk->upload = NULL;
        upload_handle(u);
    }
    return conn_closing(c) ? STEP_WAIT : STEP_ON;
}

static enum step take(struct conn *c, struct slice in, size_t *used)
{
    struct http_conn *h = conn_edge(c);

    switch ((enum http_state)h->state) {
    case HTTP_IDLE:
    case HTTP_HEAD:
        return take_head(c, in, used);
    case HTTP_BODY:
        return take_body(c, in, used);
    case HTTP_SUBSCRIBING:
    case HTTP_POLL:
    case HTTP_WAITING:
        return in.len ? hold(c, HTTP_WAIT_ALL) : STEP_WAIT;
    case HTTP_STREAM:
    case HTTP_CLOSING:
        *used += in.len;
        return STEP_WAIT;
    }
    return STEP_WAIT;
}

static ssize_t http_input(struct conn *c, struct slice bytes)
{
    size_t used = 0;

    while (take(c, slice_from(bytes, used), &used) == STEP_ON)
        ;
    return conn_closing(c) ? -1 : (ssize_t)used;
}

static void http_input_end(struct conn *c)
{
    struct http_conn *h = conn_edge(c);

    h->flags |= HTTP_ENDED;
    if (h->state == HTTP_HEAD)
        reject(c, NULL, &cut_short);
    else if (h->state == HTTP_BODY)
        upload_fail(c, &cut_short);
    else if (h->state == HTTP_IDLE)
        go_on(c);
    else if (h->state == HTTP_STREAM)
        conn_close(c, "client"); /* nobody is there to hear the rest */
    else if (h->state != HTTP_CLOSING)
        finish(c, "client");
}

/* Who waits for something to happen and goes is not there to hear of it, nor of
 * what it has asked behind that. */
static void http_end_behind(struct conn *c)
{
    const struct http_conn *h = conn_edge(c);

    if (h->state == HTTP_POLL || h->state == HTTP_WAITING ||
        h->state == HTTP_SUBSCRIBING)
        finish(c, "client");
}

/* ---- time, the beginning and the end ------------------------------------ */

static void look_at_rate(struct conn *c, struct upload *u)
{
    uint64_t least = limits_of(c)->body_rate * (HTTP_BODY_STEP_MS / 1000);

    if (u->seen - u->looked < least) {
        upload_fail(c, &timeout_body);
        return;
    }
    u->looked = u->seen;
    conn_deadline(c, HTTP_BODY_STEP_MS);
}

static void http_deadline(struct conn *c)
{
    struct http_conn *h = conn_edge(c);

    switch ((enum http_state)h->state) {
    case HTTP_IDLE:
        if (h->unanswered == 0)
            finish(c, "idle");
        break;
    case HTTP_HEAD:
        reject(c, NULL, &timeout_head);
        break;
    case HTTP_BODY:
        look_at_rate(c, h->talk->upload);
        break;
    case HTTP_POLL:
    case HTTP_WAITING:
    case HTTP_STREAM:
        comet_deadline(c);
        break;
    case HTTP_SUBSCRIBING:
    case HTTP_CLOSING:
        break;
    }
}

/* All that a worker has of its own is made when it is wanted. */
static void http_stop(struct gateway *g)
{
    packer_free(gateway_edge_state(g));
    front_stop();
}

static void http_opened(struct conn *c)
{
    struct http_conn *h = conn_edge(c);

    h->talk = gateway_take(conn_gateway(c), sizeof *h->talk);
    if (h->talk)
        conn_deadline(c, to_ms(limits_of(c)->header_wait));
    else
        conn_abort(c, "memory");
}

static struct slice http_busy(const struct gateway *g)
{
    static _Thread_local char text[256];
    unsigned retry_ms = gateway_retry_ms((struct gateway *)(uintptr_t)g);

    snprintf(text, sizeof text,
             "HTTP/1.1 503 Service Unavailable\r\n"
             "Connection: close\r\n"
             "Retry-After: %u\r\n"
             "Content-Type: application/json\r\n"
             "Content-Length: 76\r\n"
             "\r\n"
             "{\"error\":{\"code\":\"gateway.full\","
             "\"text\":\"No room for one more connection.\"}}\n",
             retry_ms / 1000 + 1);
    return slice_str(text);
}

static void http_drained(struct conn *c)
{
    struct http_conn *h = conn_edge(c);

    if (h->state != HTTP_STREAM && !conn_closing(c))
        go_on(c);
}

static void http_closed(struct conn *c)
{
    struct http_conn *h = conn_edge(c);

    if (h->state == HTTP_STREAM)
        comet_closed(c);
    else if (h->state == HTTP_WAITING)
        comet_forget(c);
    if (h->state == HTTP_STREAM || !h->talk)
        return;
    upload_free(h->talk->upload);
    while (h->talk->first)
        (void)pop(h);
    gateway_give(h->talk);
}

/* What has been asked is still answered; the last answer closes. */
static void end_in_order(struct conn *c, const struct comet_end *why)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *last;

    if (h->state == HTTP_STREAM || h->state == HTTP_POLL ||
        h->state == HTTP_WAITING || h->state == HTTP_SUBSCRIBING) {
        comet_end(c, why);
        return;
    }
    if (!h->talk->first) {
        finish(c, why->word);
        return;
    }
    for (last = h->talk->first; last->next; last = last->next)
        ;
    last->flags &= (uint16_t)~EXCHANGE_KEEP;
    if (h->state != HTTP_BODY)
        h->state = HTTP_CLOSING;
}

static void http_drain(struct conn *c)
{
    end_in_order(c, &(struct comet_end){
        "drain", "gateway.closing",
        "The gateway goes down; come back with your cursor.", false});
}

static void http_kicked(struct conn *c)
{
    end_in_order(c, &(struct comet_end){
        "kick", "connection.kicked",
        "An operator closed this connection.", true});
}

static void http_give_up(struct conn *c, const struct give_up *why)
{
    end_in_order(c, &(struct comet_end){why->word, why->code, why->text,
                                        false});
}

/* ---- answers of the router ---------------------------------------------- */

static void http_published(struct conn *c, uint32_t ref,
                           const struct published *p)
{
    struct exchange *x = asked_by(c, ref);

    if (x && x->ops->published)
        x->ops->published(x, ref & ((1u << REF_INDEX_BITS) - 1), p);
}

static void http_row(struct conn *c, uint32_t ref, struct msg *m)
{
    struct exchange *x = asked_by(c, ref);

    if (x && x->ops->row)
        x->ops->row(x, m);
}

static void http_hole(struct conn *c, uint32_t ref, const struct frame_hole *f)
{
    struct exchange *x = asked_by(c, ref);

    if (x && x->ops->hole)
        x->ops->hole(x, f);
}

static void http_page_end(struct conn *c, uint32_t ref, int err, bool more,
                          uint64_t upto)
{
    struct exchange *x = asked_by(c, ref);

    if (x && x->ops->page_end)
        x->ops->page_end(x, err, more, upto);
}

static void http_answer(struct conn *c, uint32_t ref,
                        enum publish_status status, bool json,
                        struct slice body, uint64_t seq)
{
    struct exchange *x = asked_by(c, ref);

    if (x && x->ops->answered) {
        x->seq = seq;
        x->ops->answered(x, status, json, body);
    }
}

/* ---- a successor takes over ---------------------------------------------- */

FROZEN_SIZE(struct http_conn, 16);
FROZEN_SIZE(struct http_talk, 24);
FROZEN_SIZE(struct exchange, 184);
FROZEN_SIZE(struct chunked, 24);
FROZEN_SIZE(struct upload, 672);

/* Who asks the router waits for its answer; who only waits for something to be
 * said, or for the rest of a request, can be written down. */
static bool http_at_rest(struct conn *c)
{
    const struct http_conn *h = conn_edge(c);

    switch ((enum http_state)h->state) {
    case HTTP_IDLE:
    case HTTP_HEAD:
        return h->unanswered == 0;
    case HTTP_BODY:
    case HTTP_SUBSCRIBING:
    case HTTP_POLL:
        return h->unanswered == 1;
    case HTTP_WAITING:
    case HTTP_STREAM:
        return true;
    case HTTP_CLOSING:
        return false;
    }
    return false;
}

/* Which route it is, the head says again. */
static void upload_freeze(const struct upload *u, struct buf *b)
{
    exchange_freeze(u->exchange, b);
    put_str32(b, buf_slice(&u->head));
    put_str32(b, buf_slice(&u->body));
    put_u8(b, u->chunked.state);
    put_u64(b, u->chunked.left);
    put_u32(b, u->chunked.overhead);
    put_u32(b, u->chunked.fields);
    put_u64(b, u->seen);
    put_u64(b, u->looked);
}

/* What the head says, kept with it. */
static int upload_read_head(struct conn *c, struct upload *u,
                            struct slice head)
{
    struct arrival a = {.path = BUF_INIT};
    const struct fault *why;
    int rc;

    buf_add(&u->head, head);
    if (u->head.failed)
        return ERR_NOMEM;
    rc = arrival_read(&a, c, buf_slice(&u->head), &why);
    if (rc == 0 && a.route) {
        u->request = a.request;
        u->route = a.route;
        u->tail = a.tail.ptr ? (size_t)(a.tail.ptr - a.path.ptr) : 0;
        u->tail_len = a.tail.len;
        u->path = a.path;
        buf_init(&a.path);
        /* Of a limit that is lower now the rest of the body will hear. */
        u->max = MAX(admit_body_max(c, a.route), u->body.len);
    } else if (rc == 0 || rc == ERR_BAD) {
        rc = ERR_FRAME;
    }
    arrival_fini(&a);
    return rc;
}

static bool upload_fits(const struct upload *u)
{
    if (u->request.flags & REQUEST_CHUNKED)
        return chunked_is_valid(&u->chunked);
    return u->body.len < u->request.length;
}

static int upload_thaw(struct conn *c, struct cursor *in)
{
    struct http_conn *h = conn_edge(c);
    struct upload *u = calloc(1, sizeof *u);
    struct slice head;
    int rc;

    if (!u)
        return ERR_NOMEM;
    h->talk->upload = u;
    rc = exchange_thaw(c, in, &u->exchange);
    if (rc < 0)
        return rc;
    head = cursor_str32(in);
    buf_add(&u->body, cursor_str32(in));
    u->chunked.state = cursor_u8(in);
    u->chunked.left = cursor_u64(in);
    u->chunked.overhead = cursor_u32(in);
    u->chunked.fields = cursor_u32(in);
    u->seen = cursor_u64(in);
    u->looked = cursor_u64(in);
    rc = in->failed ? ERR_FRAME : upload_read_head(c, u, head);
    if (rc == 0 && !upload_fits(u))
        rc = ERR_FRAME;
    return rc == 0 && u->body.failed ? ERR_NOMEM : rc;
}

static void http_freeze(struct conn *c, struct buf *b)
{
    const struct http_conn *h = conn_edge(c);

    put_u8(b, h->state);
    put_u8(b, h->form);
    put_u8(b, h->flags);
    put_u32(b, h->served);
    if (h->state == HTTP_STREAM || h->state == HTTP_WAITING) {
        comet_freeze(c, b);
        return;
    }
    put_u16(b, h->talk->serial);
    if (h->state == HTTP_BODY)
        upload_freeze(h->talk->upload, b);
    else if (h->state == HTTP_SUBSCRIBING || h->state == HTTP_POLL)
        comet_freeze(c, b);
}

/* A head that is coming is scanned anew: its bytes wait as input. */
static int talk_thaw(struct conn *c, uint8_t state, struct cursor *in)
{
    struct http_conn *h = conn_edge(c);
    int rc = 0;

    h->talk = gateway_take(conn_gateway(c), sizeof *h->talk);
    if (!h->talk)
        return ERR_NOMEM;
    h->talk->serial = cursor_u16(in);
    if (state == HTTP_BODY)
        rc = upload_thaw(c, in);
    else if (state == HTTP_SUBSCRIBING || state == HTTP_POLL)
        rc = comet_thaw(c, in, state);
    if (rc == 0)
        h->state = state;
    return rc;
}

static int http_thaw(struct conn *c, struct cursor *in)
{
    enum { FLAGS = HTTP_WAIT_ROOM | HTTP_WAIT_ALL | HTTP_ENDED |
                   HTTP_TRAILERS | HTTP_PUT | HTTP_PATTERN | HTTP_GZIP };
    struct http_conn *h = conn_edge(c);
    uint8_t state = cursor_u8(in);

    h->form = cursor_u8(in);
    h->flags = cursor_u8(in);
    h->served = cursor_u32(in);
    if (in->failed || state >= HTTP_CLOSING || h->form >= FORMS ||
        (h->flags & ~(unsigned)FLAGS) ||
        (state != HTTP_STREAM && (h->flags & HTTP_GZIP)))
        return ERR_FRAME;
    if (state != HTTP_STREAM && state != HTTP_WAITING)
        return talk_thaw(c, state, in);
    h->state = state;
    return comet_thaw(c, in, state);
}

const struct edge http_edge = {
    .name = "http",
    .scheme = "http",
    .conn_bytes = sizeof(struct http_conn),
    .stop = http_stop,
    .opened = http_opened,
    .busy = http_busy,
    .input = http_input,
    .input_end = http_input_end,
    .end_behind = http_end_behind,
    .deadline = http_deadline,
    .ping = comet_ping,
    .drained = http_drained,
    .closed = http_closed,
    .drain = http_drain,
    .kicked = http_kicked,
    .give_up = http_give_up,
    .subscribed = comet_subscribed,
    .started = comet_started,
    .restarted = comet_restarted,
    .subscribe_failed = comet_subscribe_failed,
    .notice = comet_notice,
    .put = comet_put,
    .taken = comet_taken,
    .pulled = comet_pulled,
    .cut = comet_cut,
    .published = http_published,
    .row = http_row,
    .hole = http_hole,
    .page_end = http_page_end,
    .answered = http_answer,
    .at_rest = http_at_rest,
    .freeze = http_freeze,
    .thaw = http_thaw,
};
