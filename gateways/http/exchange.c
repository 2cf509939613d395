#include "gateways/http/exchange.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "gateways/common/access.h"
#include "gateways/common/envelope.h"
#include "gateways/common/gateway.h"
#include "gateways/http/encoding.h"
#include "gateways/http/http.h"
#include "gateways/http/packer.h"

enum {
    ANSWER_LEAST = 512, /* bytes: a shorter answer is sent as it is */
    HEAD_ROOM = 512,    /* of most heads, and a short body */
};

static const struct {
    unsigned status;
    struct slice text;
} statuses[] = {
    {200, SLICE_INIT("200 OK")},
    {201, SLICE_INIT("201 Created")},
    {204, SLICE_INIT("204 No Content")},
    {302, SLICE_INIT("302 Found")},
    {304, SLICE_INIT("304 Not Modified")},
    {400, SLICE_INIT("400 Bad Request")},
    {403, SLICE_INIT("403 Forbidden")},
    {404, SLICE_INIT("404 Not Found")},
    {405, SLICE_INIT("405 Method Not Allowed")},
    {406, SLICE_INIT("406 Not Acceptable")},
    {408, SLICE_INIT("408 Request Timeout")},
    {409, SLICE_INIT("409 Conflict")},
    {411, SLICE_INIT("411 Length Required")},
    {413, SLICE_INIT("413 Content Too Large")},
    {414, SLICE_INIT("414 URI Too Long")},
    {415, SLICE_INIT("415 Unsupported Media Type")},
    {417, SLICE_INIT("417 Expectation Failed")},
    {421, SLICE_INIT("421 Misdirected Request")},
    {426, SLICE_INIT("426 Upgrade Required")},
    {429, SLICE_INIT("429 Too Many Requests")},
    {431, SLICE_INIT("431 Request Header Fields Too Large")},
    {501, SLICE_INIT("501 Not Implemented")},
    {503, SLICE_INIT("503 Service Unavailable")},
    {505, SLICE_INIT("505 HTTP Version Not Supported")},
};

static struct slice status_text(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].text;
    return SLICE("500 Unknown");
}

unsigned status_of(enum publish_status status)
{
    static const unsigned by_status[] = {
        [PUBLISHED_OK] = 200,          [PUBLISHED_DUPLICATE] = 200,
        [PUBLISHED_BAD] = 400,         [PUBLISHED_DENIED] = 403,
        [PUBLISHED_NOT_FOUND] = 404,   [PUBLISHED_CONFLICT] = 409,
        [PUBLISHED_TOO_BIG] = 413,     [PUBLISHED_TOO_MANY] = 429,
        [PUBLISHED_UNAVAILABLE] = 503, [PUBLISHED_UNKNOWN] = 503,
    };

    return status < ARRAY_LEN(by_status) ? by_status[status] : 503;
}

/* ---- made and freed ----------------------------------------------------- */

/* The tags in If-None-Match that could be ours: 16 hex digits in quotes. */
static void read_tags(struct exchange *x, struct slice list)
{
    struct slice rest = list;
    unsigned n = 0;

    if (slice_eq(list, SLICE("*")))
        x->flags |= EXCHANGE_ANY_TAG;
    while (rest.ptr && n < EXCHANGE_TAGS) {
        struct slice tag = slice_trim(slice_split(&rest, ','));
        char text[17] = "";

        if (slice_starts(tag, SLICE("W/")))
            tag = slice_from(tag, 2);
        if (tag.len != 18 || tag.ptr[0] != '"' || tag.ptr[17] != '"')
            continue;
        memcpy(text, tag.ptr + 1, 16);
        x->tags[n++] = strtoull(text, NULL, 16);
    }
}

/* Pages of other origins may read only when they are allowed to write: a
 * service on loopback is no more public than that. */
static void allow_origin(struct exchange *x, const struct request *r)
{
    struct gateway *g = conn_gateway(x->conn);
    struct slice origin = r->field[FIELD_ORIGIN];

    if (!origin.ptr)
        return;
    if (!access_origin_allowed(gateway_edge_config(g), origin,
                               r->field[FIELD_HOST]))
        return;
    buf_addf(&x->fields, "Access-Control-Allow-Origin: " SLICE_FMT "\r\n",
             SLICE_ARG(origin));
    buf_add_str(&x->fields,
                "Access-Control-Expose-Headers: ETag, Retry-After\r\n");
}

static void read_encoding(struct exchange *x, const struct request *r)
{
    struct encoding wanted;

    if (!gateway_edge_config(conn_gateway(x->conn))->gzip)
        return;
    wanted = encoding_read(r);
    if (wanted.gzip)
        x->flags |= EXCHANGE_GZIP;
    if (!wanted.plain)
        x->flags |= EXCHANGE_NO_PLAIN;
}

/* Behind its connection's others. */
static void line_up(struct exchange *x)
{
    struct http_conn *h = conn_edge(x->conn);
    struct exchange **last = &h->talk->first;

    while (*last)
        last = &(*last)->next;
    *last = x;
    h->unanswered++;
}

struct exchange *exchange_new(struct conn *c, const struct request *r)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *x = gateway_take(conn_gateway(c), sizeof *x);

    if (!x)
        return NULL;
    x->conn = c;
    x->serial = ++h->talk->serial;
    if (r->method == METHOD_HEAD)
        x->flags |= EXCHANGE_HEAD;
    if (request_keeps_alive(r))
        x->flags |= EXCHANGE_KEEP;
    if (r->minor == 0)
        x->flags |= EXCHANGE_OLD;
    if (r->flags & REQUEST_TRAILERS)
        x->flags |= EXCHANGE_TRAILERS;
    if (r->flags & REQUEST_EVENTS)
        x->flags |= EXCHANGE_EVENTS;
    if (r->field[FIELD_IF_NONE_MATCH].ptr)
        read_tags(x, r->field[FIELD_IF_NONE_MATCH]);
    if (r->field[FIELD_ACCEPT_ENCODING].ptr)
        read_encoding(x, r);
    allow_origin(x, r);
    line_up(x);
    gateway_count(conn_gateway(c), STAT_REQUESTS);
    return x;
}

struct exchange *exchange_again(struct conn *c, unsigned flags,
                                struct slice fields)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *x = gateway_take(conn_gateway(c), sizeof *x);

    if (!x)
        return NULL;
    buf_add(&x->fields, fields);
    if (x->fields.failed) {
        gateway_give(x);
        return NULL;
    }
    x->conn = c;
    x->serial = h->talk->serial;
    x->flags = (uint16_t)flags;
    line_up(x);
    return x;
}

void exchange_free(struct exchange *x)
{
    if (!x)
        return;
    if (x->ops && x->ops->free)
        x->ops->free(x->state);
    buf_fini(&x->fields);
    buf_fini(&x->body);
    buf_fini(&x->out);
    gateway_give(x);
}

/* ---- a successor takes over --------------------------------------------- */

void exchange_freeze(const struct exchange *x, struct buf *b)
{
    put_u16(b, x->serial);
    put_u16(b, x->flags);
    for (size_t i = 0; i < EXCHANGE_TAGS; i++)
        put_u64(b, x->tags[i]);
    put_str32(b, buf_slice(&x->fields));
    put_str32(b, buf_slice(&x->body));
}

int exchange_thaw(struct conn *c, struct cursor *in, struct exchange **ret)
{
    struct exchange *x = gateway_take(conn_gateway(c), sizeof *x);

    if (!x)
        return ERR_NOMEM;
    x->conn = c;
    line_up(x);
    x->serial = cursor_u16(in);
    x->flags = cursor_u16(in);
    for (size_t i = 0; i < EXCHANGE_TAGS; i++)
        x->tags[i] = cursor_u64(in);
    buf_add(&x->fields, cursor_str32(in));
    buf_add(&x->body, cursor_str32(in));
    if (in->failed || (x->flags & EXCHANGE_DONE))
        return ERR_FRAME;
    *ret = x;
    return x->fields.failed || x->body.failed ? ERR_NOMEM : 0;
}

/* ---- the head of an answer ---------------------------------------------- */

static const char *date_text(void)
{
    static _Thread_local char text[40];
    static _Thread_local time_t of;
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm;

    if ((now != of || !text[0]) && gmtime_r(&now, &tm)) {
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        of = now;
    }
    return text;
}

static void begin_head(struct buf *o, const struct exchange *x,
                       unsigned status)
{
    (void)buf_reserve(o, HEAD_ROOM + x->fields.len); /* all at once */
    buf_add(o, SLICE("HTTP/1.1 "));
    buf_add(o, status_text(status));
    buf_add(o, SLICE("\r\nDate: "));
    buf_add_str(o, date_text());
    buf_add(o, SLICE("\r\n"));
    if (status == 503 || status == 429)
        buf_addf(o, "Retry-After: %u\r\n",
                 x->retry_ms ? (x->retry_ms + 999) / 1000
                             : gateway_retry_ms(conn_gateway(x->conn)) / 1000 +
                                   1);
    if (!(x->flags & EXCHANGE_KEEP))
        buf_add(o, SLICE("Connection: close\r\n"));
    else if (x->flags & EXCHANGE_OLD)
        buf_add(o, SLICE("Connection: keep-alive\r\n"));
    /* Origin also where none came. */
    buf_add(o, x->flags & EXCHANGE_TAGGED
                   ? SLICE("X-Content-Type-Options: nosniff\r\n"
                           "Cache-Control: no-cache\r\nVary: Origin\r\n")
                   : SLICE("X-Content-Type-Options: nosniff\r\n"
                           "Cache-Control: no-store\r\nVary: Origin\r\n"));
    if (x->flags & EXCHANGE_PUBLIC)
        buf_add(o, SLICE("Vary: Accept-Encoding\r\n"));
    buf_add(o, buf_slice(&x->fields));
}

void exchange_stream_head(struct exchange *x, const char *type)
{
    struct buf *o = conn_out(x->conn);

    x->flags &= (uint16_t)~EXCHANGE_TAGGED;
    if (x->flags & EXCHANGE_OLD)
        x->flags &= (uint16_t)~EXCHANGE_KEEP;
    begin_head(o, x, 200);
    buf_add_str(o, "Content-Type: ");
    buf_add_str(o, type);
    buf_add_str(o, "\r\n");
    if (!(x->flags & EXCHANGE_OLD))
        buf_add_str(o, "Transfer-Encoding: chunked\r\n");
    if (x->flags & EXCHANGE_TRAILERS && !(x->flags & EXCHANGE_OLD))
        buf_add_str(o, "Trailer: Touchline-Cursor\r\n");
    /* A proxy that gathers a stream before passing it on makes it useless. */
    buf_add_str(o, "X-Accel-Buffering: no\r\n\r\n");
}

bool exchange_may_pack(struct exchange *x)
{
    unsigned said = x->flags & (EXCHANGE_GZIP | EXCHANGE_NO_PLAIN);

    if (!gateway_edge_config(conn_gateway(x->conn))->gzip)
        return true;
    x->flags |= EXCHANGE_PUBLIC;
    if (said != EXCHANGE_NO_PLAIN)
        return true;
    reply_error(x, 406, "encoding.none",
                SLICE("Accept-Encoding leaves neither gzip nor identity."));
    return false;
}

/* ---- whole answers ------------------------------------------------------ */

/* FNV-1a: the tag must be the same in every process, now and tomorrow. */
static uint64_t tag_of(struct slice body)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < body.len; i++)
        hash = (hash ^ body.ptr[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static bool has_tag(const struct exchange *x, uint64_t tag)
{
    for (unsigned i = 0; i < EXCHANGE_TAGS; i++)
        if (x->tags[i] == tag && tag)
            return true;
    return x->flags & EXCHANGE_ANY_TAG;
}

static void say_content(struct buf *o, const char *type, size_t len)
{
    buf_add(o, SLICE("Content-Type: "));
    buf_add_str(o, type);
    buf_add(o, SLICE("\r\nContent-Length: "));
    buf_add_u64(o, len);
    buf_add(o, SLICE("\r\n"));
}

/* The answer whose text is `plain`, sent as that or, where `content` is other
 * bytes, gzipped. To a cache these are two things with one name: a weak tag. */
static void reply_content(struct exchange *x, unsigned status,
                          const char *type, struct slice plain,
                          struct slice content)
{
    struct http_conn *h = conn_edge(x->conn);
    struct buf *o = x == h->talk->first ? conn_out(x->conn) : &x->out;
    bool gzip = content.ptr != plain.ptr;
    uint64_t tag = 0;

    if (status != 200)
        x->flags &= (uint16_t)~EXCHANGE_TAGGED;
    if (x->flags & EXCHANGE_TAGGED) {
        tag = tag_of(plain);
        buf_addf(&x->fields, "ETag: %s\"%016" PRIx64 "\"\r\n",
                 gzip ? "W/" : "", tag);
        if (has_tag(x, tag)) {
            status = 304;
            type = NULL;
        }
    }
    begin_head(o, x, status);
    if (type && gzip)
        buf_add_str(o, "Content-Encoding: gzip\r\n");
    if (type)
        say_content(o, type, content.len);
    buf_add_str(o, "\r\n");
    if (type && !(x->flags & EXCHANGE_HEAD))
        buf_add(o, content);
    if (o->failed || x->fields.failed)
        conn_abort(x->conn, "memory");
    http_answered(x);
}

/* Appends body gzipped, if it is to be sent so. */
static void pack(const struct exchange *x, struct slice body, struct buf *out)
{
    struct gateway *g = conn_gateway(x->conn);
    struct packer *p;

    if (!(x->flags & EXCHANGE_NO_PLAIN) &&
        (body.len < ANSWER_LEAST || body.len > PACKED_MOST))
        return;
    p = packer_of(g);
    if (p)
        packer_whole(p, g, body, out);
}

void reply(struct exchange *x, unsigned status, const char *type,
           struct slice body)
{
    enum { BOTH = EXCHANGE_PUBLIC | EXCHANGE_GZIP };
    struct buf packed = BUF_INIT;

    if (status == 200 && type && (x->flags & BOTH) == BOTH)
        pack(x, body, &packed);
    if (packed.len && !packed.failed)
        reply_content(x, status, type, body, buf_slice(&packed));
    else
        reply_content(x, status, type, body, body);
    buf_fini(&packed);
}

void reply_either(struct exchange *x, const char *type, struct slice plain,
                  struct slice gzip)
{
    reply_content(x, 200, type, plain,
                  x->flags & EXCHANGE_GZIP ? gzip : plain);
}

static void reply_line(struct exchange *x, unsigned status, const char *type,
                       struct slice text)
{
    struct buf b = BUF_INIT;

    buf_add(&b, text);
    if (!slice_ends(text, SLICE("\n")))
        buf_add_byte(&b, '\n');
    if (b.failed)
        reply_no_memory(x);
    else
        reply(x, status, type, buf_slice(&b));
    buf_fini(&b);
}

void reply_json(struct exchange *x, unsigned status, struct slice json)
{
    reply_line(x, status, "application/json", json);
}

void reply_text(struct exchange *x, unsigned status, struct slice text)
{
    reply_line(x, status, "text/plain; charset=utf-8", text);
}

static void say_error(struct exchange *x, unsigned status, struct slice code,
                      struct slice text)
{
    struct buf b = BUF_INIT;

    gateway_refused(conn_gateway(x->conn), code);
    buf_add_str(&b, "{\"error\":");
    envelope_error_until(&b, code, text, x->retry_ms);
    buf_add_str(&b, "}\n");
    if (b.failed)
        reply_no_memory(x);
    else
        reply(x, status, "application/json", buf_slice(&b));
    buf_fini(&b);
}

void reply_error(struct exchange *x, unsigned status, const char *code,
                 struct slice text)
{
    say_error(x, status, slice_str(code), text);
}

void exchange_published(struct exchange *x, const struct published *p)
{
    if (p->status <= PUBLISHED_DUPLICATE || p->status == PUBLISHED_UNKNOWN)
        x->flags |= EXCHANGE_MAY_BE;
}

void reply_unpublished(struct exchange *x, const struct published *p)
{
    say_error(x, status_of(p->status), p->code, p->text);
}

void reply_refusal(struct exchange *x, const struct refusal *why)
{
    reply_error(x, status_of(why->status), why->code, slice_str(why->text));
}

/* Faults that mean that a limit was hit. */
static const struct {
    const char *code;
    enum limit limit;
} limits_by_code[] = {
    {"request.target_long", LIMIT_REQUEST_LINE},
    {"request.fields_large", LIMIT_HEADER_BLOCK},
    {"request.fields_many", LIMIT_HEADERS},
    {"request.timeout", LIMIT_HEADER_WAIT},
    {"body.slow", LIMIT_BODY_RATE},
    {"body.too_big", LIMIT_MESSAGE},
    {"batch.too_big", LIMIT_BATCH_BYTES},
};

static void count_fault(struct gateway *g, const struct fault *why)
{
    for (size_t i = 0; i < ARRAY_LEN(limits_by_code); i++)
        if (strcmp(limits_by_code[i].code, why->code) == 0)
            gateway_limit(g, limits_by_code[i].limit);
}

void reply_fault(struct exchange *x, const struct fault *why)
{
    x->flags &= (uint16_t)~EXCHANGE_KEEP;
    count_fault(conn_gateway(x->conn), why);
    reply_error(x, why->status, why->code, slice_str(why->text));
}

void reply_no_memory(struct exchange *x)
{
    static const struct {
        const char *code, *json;
    } answers[] = {
        {"gateway.memory", "{\"error\":{\"code\":\"gateway.memory\","
                           "\"text\":\"Out of memory; try again.\"}}\n"},
        {"publish.unknown", "{\"error\":{\"code\":\"publish.unknown\","
                            "\"text\":\"Out of memory for the answer; it may "
                            "have been taken.\"}}\n"},
    };
    unsigned may_be = (x->flags & EXCHANGE_MAY_BE) != 0;

    gateway_refused(conn_gateway(x->conn), slice_str(answers[may_be].code));
    buf_reset(&x->body);
    reply(x, 503, "application/json", slice_str(answers[may_be].json));
}

void reply_gathered(struct exchange *x, unsigned status)
{
    buf_add_byte(&x->body, '\n');
    if (x->body.failed)
        reply_no_memory(x);
    else
        reply(x, status, "application/json", buf_slice(&x->body));
}
