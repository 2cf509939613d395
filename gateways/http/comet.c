#include "gateways/http/comet.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "gateways/http/api.h"
#include "gateways/http/form.h"
#include "gateways/http/http.h"
#include "gateways/http/zstream.h"
#include "gateways/common/envelope.h"
#include "gateways/common/target.h"
#include "proto/id.h"
#include "proto/names.h"

enum {
    CHANNEL_PAIR_MIN = 8,  /* bytes of "channel&" */
    EVERY_MAX = 3600,      /* seconds */
    TICK_NOW_MS = 1,       /* as soon as what is due has been put */
    ANSWER_ROOM = 64,      /* of a poll's answer, around what is in it */
};

/* A request that waits for its login, and a poll that has something to say. */
struct comet {
    uint8_t form; /* enum form */
    bool poll;
    bool started;
    bool has_since;
    bool urgent;   /* a notice that the client must hear now */
    bool gzip;     /* the stream will be */
    bool resumed;  /* what is in x->body stands behind that notice, with */
    uint32_t epoch; /* this epoch's number, and */
    uint64_t since; /* this seq */
    unsigned count; /* messages in x->body */
    uint64_t last_seq; /* of the message put last */
    uint32_t wait_ms;
    uint32_t every_ms;
    bool pattern;
    struct buf channel; /* of a /test/ page, as HTML */
};

/* A poll that waits: all of it has been resumed, which it will say with the
 * first message; what else it was, poll_wake() knows. */
struct poll {
    uint64_t since;
    uint32_t epoch; /* as above */
    uint16_t serial;
    uint8_t flags;  /* of its exchange, EXCHANGE_OF_POLL */
    uint8_t fields_len;
    uint8_t fields[]; /* the same */
};
_Static_assert(EXCHANGE_OF_POLL <= UINT8_MAX, "they fit into struct poll");

/* A /test/ page that says something of its own, with ?every=. */
struct ticker {
    uint32_t every_ms;
    uint32_t count;
    struct buf channel;
};

/* What a /test/ page has once it has shown a message, or has a ticker. */
struct page {
    uint64_t last_seq;    /* of the message put last */
    uint32_t last_offset; /* its low bits */
    uint32_t count;       /* messages shown */
    struct ticker *ticker;
};

static void comet_free(void *state)
{
    struct comet *p = state;

    buf_fini(&p->channel);
    gateway_give(p);
}

static const struct exchange_ops comet_ops = {.free = comet_free};

/* The exchange of a connection that subscribes or polls. */
static struct comet *waiting(struct http_conn *h, struct exchange **x)
{
    if (h->state != HTTP_SUBSCRIBING && h->state != HTTP_POLL)
        return NULL;
    *x = h->talk->first;
    return (*x)->state;
}

/* Its request again, as it stood before it waited. NULL: no memory, and it is
 * gone. */
static struct comet *poll_wake(struct conn *c, struct exchange **ret)
{
    struct http_conn *h = conn_edge(c);
    struct poll *k = h->poll;
    struct comet *p = gateway_take(conn_gateway(c), sizeof *p);
    struct exchange *x = NULL;

    if (p && http_resume(c, k->serial)) {
        x = exchange_again(c, k->flags, slice_make(k->fields, k->fields_len));
        if (!x)
            gateway_give(k); /* the connection has a talk instead */
    }
    if (!x) {
        gateway_give(p);
        conn_abort(c, "memory");
        return NULL;
    }
    *p = (struct comet){
        .form = FORM_LINES, .poll = true, .started = true, .has_since = true,
        .resumed = true, .epoch = k->epoch, .since = k->since,
    };
    x->ops = &comet_ops;
    x->state = p;
    h->state = HTTP_POLL;
    gateway_give(k);
    *ret = x;
    return p;
}

/* The same, of who has something to say now, or to be told. */
static struct comet *awake(struct conn *c, struct exchange **x)
{
    struct http_conn *h = conn_edge(c);

    return h->state == HTTP_WAITING ? poll_wake(c, x) : waiting(h, x);
}

/* ---- what is asked for -------------------------------------------------- */

/* The channels of the query, each checked by conn_subscribe(). NULL: none, or
 * no memory; *count tells which. */
static struct slice *read_channels(struct query *q, unsigned *count)
{
    struct slice *list;
    struct slice value;
    size_t at = 0;
    unsigned n = 0;

    *count = 0;
    list = calloc(q->raw.len / CHANNEL_PAIR_MIN + 1, sizeof *list);
    if (!list)
        *count = 1;
    while (list && query_next(q, &at, "channel", &value))
        list[n++] = value;
    if (list)
        *count = n;
    if (n == 0) {
        free(list);
        return NULL;
    }
    return list;
}

/* An EventSource that reconnects asks for the URL it began with, and says in
 * Last-Event-ID how far it has come since. */
static int read_since(struct query *q, const struct request *r,
                      struct subscribe *s)
{
    struct slice text = r->field[FIELD_LAST_EVENT_ID];

    if (text.len == 0)
        text = query_get(q, "since");
    s->has_since = text.ptr != NULL;
    return s->has_since ? position_parse(text, &s->since) : 0;
}

/* More come than may. An EventSource never comes back after an error: it is
 * answered with a stream that says when, and ends. */
static void turn_away(struct exchange *x, const struct comet *p,
                      const struct refusal *why)
{
    struct notice n = {
        .kind = NOTICE_CLOSING,
        .text = why->text,
        .retry_ms = why->retry_ms,
    };
    struct buf b = BUF_INIT;

    if (p->poll || (p->form | 1u) != FORM_EVENTS_CHUNK) {
        x->retry_ms = why->retry_ms;
        reply_refusal(x, why);
        return;
    }
    gateway_refused(conn_gateway(x->conn), slice_str(why->code));
    buf_addf(&b, "retry: %" PRIu32 "\n\n", why->retry_ms);
    form_put_notice(&b, FORM_EVENTS, &n);
    if (b.failed)
        reply_no_memory(x);
    else
        reply(x, 200, form_type(FORM_EVENTS), buf_slice(&b));
    buf_fini(&b);
}

/* Subscribes for x, which becomes the connection's only exchange. */
static void subscribe(struct exchange *x, struct comet *p,
                      struct subscribe *s, const struct request *r,
                      struct query *q)
{
    struct http_conn *h = conn_edge(x->conn);
    struct refusal why;

    s->whole = p->poll;
    s->name = query_get(q, "name");
    s->ref = exchange_ref(x, 0);
    x->ops = &comet_ops;
    x->state = p;
    if (s->name.ptr && !name_valid(s->name)) {
        reply_error(x, 400, "name.bad",
                    SLICE("A name has " NAME_RULE "."));
    } else if (read_since(q, r, s) < 0) {
        reply_error(x, 400, "cursor.bad",
                    SLICE("This is no cursor: it looks like EPOCH-SEQ, or "
                          "0."));
    } else if (conn_subscribe(x->conn, s, &why) < 0) {
        if (why.retry_ms)
            turn_away(x, p, &why);
        else
            reply_refusal(x, &why);
    } else {
        p->has_since = s->has_since;
        h->state = HTTP_SUBSCRIBING;
    }
}

/* May all of what is said be compressed? Old streams have no chunks. False: x
 * has been answered. */
static bool choose_encoding(struct exchange *x, struct comet *p,
                            const struct subscribe *s)
{
    const struct config *cfg = conn_config(x->conn);
    bool packs = p->poll || !(x->flags & EXCHANGE_OLD);

    for (unsigned i = 0; packs && i < s->count; i++)
        packs = config_compresses(cfg, s->channels[i]);
    if (packs && !exchange_may_pack(x))
        return false;
    p->gzip = !p->poll && (x->flags & EXCHANGE_PUBLIC) &&
              (x->flags & EXCHANGE_GZIP);
    return true;
}

/* With the channels of the query. Takes p. */
static void subscribe_to_query(struct exchange *x, struct comet *p,
                               const struct request *r, struct query *q)
{
    struct subscribe s = {.ref = 0};
    struct slice *channels = read_channels(q, &s.count);

    s.channels = channels;
    if (channels && !choose_encoding(x, p, &s)) {
        comet_free(p);
    } else if (channels) {
        subscribe(x, p, &s, r, q);
    } else {
        comet_free(p);
        if (s.count)
            reply_no_memory(x);
        else
            reply_error(x, 400, "channel.missing",
                        SLICE("Name a channel: ?channel=room/lobby"));
    }
    free(channels);
}

/* HEAD of something endless: what would be said, without listening. */
static void reply_head_only(struct exchange *x, unsigned form)
{
    exchange_stream_head(x, form_type(form));
    http_answered(x);
}

static struct comet *comet_new(struct exchange *x, unsigned form)
{
    struct comet *p = gateway_take(conn_gateway(x->conn), sizeof *p);

    if (p)
        p->form = (uint8_t)(form | !(x->flags & EXCHANGE_OLD));
    else
        reply_no_memory(x);
    return p;
}

void comet_stream(struct exchange *x, const struct call *call)
{
    const struct request *r = call->request;
    unsigned form = x->flags & EXCHANGE_EVENTS ? FORM_EVENTS : FORM_LINES;
    struct comet *p;
    struct query q;

    buf_add_str(&x->fields, "Vary: Accept\r\n");
    if (x->flags & EXCHANGE_HEAD) {
        reply_head_only(x, form);
        return;
    }
    p = comet_new(x, form);
    if (!p)
        return;
    if (query_init(&q, r->query) == 0) {
        subscribe_to_query(x, p, r, &q);
    } else {
        comet_free(p);
        reply_no_memory(x);
    }
    query_fini(&q);
}

void comet_poll(struct exchange *x, const struct call *call)
{
    const struct request *r = call->request;
    uint64_t wait = 0;
    struct comet *p;
    struct query q;

    if (x->flags & EXCHANGE_HEAD) {
        buf_add_str(&x->fields, "Content-Type: application/json\r\n");
        reply(x, 200, NULL, SLICE("")); /* how long it would be is unknown */
        return;
    }
    p = comet_new(x, FORM_LINES);
    if (!p)
        return;
    p->poll = true;
    if (query_init(&q, r->query) < 0) {
        comet_free(p);
        reply_no_memory(x);
    } else if (query_number(&q, "wait", POLL_WAIT_DEFAULT / SECOND,
                            POLL_WAIT_MAX / SECOND, &wait) < 0) {
        comet_free(p);
        reply_error(x, 400, "wait.bad",
                    SLICE("wait is a number of seconds, 0 to 60."));
    } else {
        p->wait_ms = wait ? (uint32_t)wait * 1000 : TICK_NOW_MS;
        subscribe_to_query(x, p, r, &q);
    }
    query_fini(&q);
}

/* Takes p. */
static void subscribe_to_page(struct exchange *x, struct comet *p,
                              const struct call *call, struct query *q)
{
    struct subscribe s = {.channels = &call->tail, .count = 1};
    uint64_t every = 0;

    form_put_html(&p->channel, call->tail);
    p->pattern = id_is_pattern(call->tail);
    if (p->channel.failed) {
        comet_free(p);
        reply_no_memory(x);
    } else if (query_number(q, "every", 0, EVERY_MAX, &every) < 0) {
        comet_free(p);
        reply_error(x, 400, "every.bad",
                    SLICE("every is a number of seconds, 0 to 3600."));
    } else {
        p->every_ms = (uint32_t)every * 1000;
        subscribe(x, p, &s, call->request, q);
    }
}

void comet_test(struct exchange *x, const struct call *call)
{
    struct comet *p;
    struct query q;

    if (x->flags & EXCHANGE_HEAD) {
        reply_head_only(x, FORM_TEST);
        return;
    }
    p = comet_new(x, FORM_TEST);
    if (!p)
        return;
    if (query_init(&q, call->request->query) == 0) {
        subscribe_to_page(x, p, call, &q);
    } else {
        comet_free(p);
        reply_no_memory(x);
    }
    query_fini(&q);
}

/* ---- the beginning ------------------------------------------------------ */

/* The first words of a stream: the login is in force. What it keeps from now
 * on, when it is gzipped; NULL: it is not, or there is no memory. */
static struct zstream *say_welcome(struct conn *c, const struct comet *p)
{
    struct zstream *z = NULL;
    struct buf b = BUF_INIT;

    if (form_is_test(p->form))
        buf_addf(&b, "Touchline welcomes you! Your Id: " SLICE_FMT "<br/>\n",
                 SLICE_ARG(buf_slice(&p->channel)));
    else if (p->form >= FORM_EVENTS)
        buf_addf(&b, "retry: %" PRIu32 "\n\n",
                 gateway_retry_ms(conn_gateway(c)));
    if (b.failed)
        conn_abort(c, "memory");
    else if (p->gzip)
        z = zstream_new(c, p->form, buf_slice(&b));
    else if (b.len)
        form_put_text(conn_out(c), p->form, buf_slice(&b));
    buf_fini(&b);
    return z;
}

/* Takes the channel of p. NULL: no memory. */
static struct page *ticking_page(struct comet *p)
{
    struct page *page = calloc(1, sizeof *page);

    if (page)
        page->ticker = calloc(1, sizeof *page->ticker);
    if (!page || !page->ticker) {
        free(page);
        return NULL;
    }
    page->ticker->every_ms = p->every_ms;
    page->ticker->channel = p->channel;
    buf_init(&p->channel);
    return page;
}

/* From here on the connection keeps its form and a few numbers. Takes z. */
static void become_stream(struct conn *c, struct exchange *x,
                          struct comet *p, struct zstream *z)
{
    struct http_conn *h = conn_edge(c);
    struct page *page = p->every_ms ? ticking_page(p) : NULL;
    uint32_t every_ms = p->every_ms;
    uint8_t form = p->form;

    if (every_ms && !page) {
        conn_abort(c, "memory");
        return;
    }
    if (p->pattern)
        h->flags |= HTTP_PATTERN;
    if ((x->flags & EXCHANGE_TRAILERS) && form_is_chunked(form))
        h->flags |= HTTP_TRAILERS;
    http_release(x);
    h->form = form;
    if (z) {
        gateway_count(conn_gateway(c), STAT_GZIP_STREAMS);
        h->flags |= HTTP_GZIP;
        h->zstream = z;
    } else {
        h->page = page;
    }
    conn_deadline(c, every_ms);
    conn_want_pings(c, !form_is_test(form));
}

void comet_subscribed(struct conn *c, uint32_t ref)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *x;
    struct comet *p = waiting(h, &x);
    struct zstream *z;

    UNUSED(ref);
    if (!p || p->poll)
        return;
    if (p->gzip)
        buf_add_str(&x->fields, "Content-Encoding: gzip\r\n");
    exchange_stream_head(x, form_type(p->form));
    z = say_welcome(c, p);
    if (conn_closing(c))
        free(z);
    else
        become_stream(c, x, p, z);
}

static const struct {
    const char *code;
    unsigned status;
} refusals[] = {
    {"channel.bad", 400},
    {"channels.full", 429},
    {"channels.many", 429},
    {"patterns.many", 429},
};

void comet_subscribe_failed(struct conn *c, uint32_t ref, const char *code,
                            struct slice text)
{
    unsigned status = 503;
    struct exchange *x;

    UNUSED(ref);
    if (!awake(c, &x))
        return;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        if (slice_eq(slice_str(code), slice_str(refusals[i].code)))
            status = refusals[i].status;
    conn_deadline(c, 0);
    reply_error(x, status, code, text);
}

/* ---- polls -------------------------------------------------------------- */

/* Whatever comes now stands behind the notice that all has been resumed. Of
 * another epoch that is not said any more: a gap follows, which says so. */
static void say_resumed(struct conn *c, struct exchange *x, struct comet *p)
{
    unsigned count = conn_channels(c);
    struct slice one, *ids = count <= 1 ? &one : calloc(count, sizeof *ids);
    struct gateway *g = conn_gateway(c);
    char cursor[CURSOR_TEXT_MAX];
    struct notice n = {.kind = NOTICE_RESUMED, .channels = ids, .count = count};

    if (!p->resumed || p->epoch != gateway_epoch_number(g))
        n.count = 0;
    p->resumed = false;
    if (!ids)
        x->body.failed = true;
    if (ids && n.count) {
        conn_list_channels(c, ids);
        n.cursor = slice_make(cursor, position_format(cursor, gateway_epoch(g),
                                                      p->since));
        envelope_notice(&x->body, &n);
    }
    if (ids != &one)
        free(ids);
}

/* What a poll has gathered, or nothing, as its answer. The seat goes. */
static void poll_answer(struct conn *c, struct exchange *x, bool empty)
{
    struct slice cursor = conn_cursor(c);
    struct buf b = BUF_INIT;

    (void)buf_reserve(&b, x->body.len + ANSWER_ROOM);
    buf_add_str(&b, "{\"cursor\":\"");
    buf_add(&b, cursor);
    buf_add_str(&b, "\",\"messages\":[");
    if (!empty)
        buf_add(&b, buf_slice(&x->body));
    buf_add_str(&b, "]}\n");
    conn_deadline(c, 0);
    (void)conn_unsubscribe(c, SLICE(""));
    if (b.failed || x->body.failed)
        reply_no_memory(x);
    else
        reply(x, 200, "application/json", buf_slice(&b));
    buf_fini(&b);
}

/* A poll that has been told nothing but that it goes on where it was keeps
 * that, and no request. Without memory all stays as it is. */
static void poll_wait(struct conn *c, struct exchange *x, const struct comet *p)
{
    struct http_conn *h = conn_edge(c);
    struct slice fields = buf_slice(&x->fields);
    struct poll *k;

    if (!p->resumed || x->body.len || x->fields.failed ||
        fields.len > UINT8_MAX)
        return;
    k = gateway_take(conn_gateway(c),
                     offsetof(struct poll, fields) + fields.len);
    if (!k)
        return;
    k->since = p->since;
    k->epoch = p->epoch;
    k->serial = x->serial;
    k->flags = (uint8_t)(x->flags & EXCHANGE_OF_POLL);
    k->fields_len = (uint8_t)fields.len;
    if (fields.len)
        memcpy(k->fields, fields.ptr, fields.len);
    http_suspend(x);
    h->poll = k;
}

void comet_started(struct conn *c, uint32_t ref)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *x;
    struct comet *p = waiting(h, &x);

    UNUSED(ref);
    if (!p || !p->poll)
        return;
    p->started = true;
    h->state = HTTP_POLL;
    /* What a gap stands in front of comes with this turn. Without it the cursor
     * would be the same, and whoever came back with it be told the same. */
    if (!p->has_since) {
        poll_answer(c, x, false);
        return;
    }
    conn_deadline(c, p->urgent ? TICK_NOW_MS : p->wait_ms);
    poll_wait(c, x, p);
}

/* Not before: the answer ends the subscription, and what is not in it the
 * client would never hear. */
void comet_restarted(struct conn *c)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *x;
    struct comet *p = waiting(h, &x);

    if (p && p->poll && p->started && p->urgent)
        poll_answer(c, x, false);
}

static enum put_result poll_put(struct conn *c, struct exchange *x,
                                struct comet *p, struct msg *m)
{
    const struct config_limits *limits = &conn_config(c)->limits;
    struct wire *w = form_wire(c, FORM_LINES, m);

    if (!w) {
        conn_abort(c, "memory");
        return PUT_FULL;
    }
    /* Put again, because nothing at all could be sent last time. */
    if (m->seq <= p->last_seq)
        return PUT_OK;
    if (p->count && (p->count >= limits->page ||
                     x->body.len + w->len > limits->page_bytes))
        return PUT_FULL;
    if (p->resumed)
        say_resumed(c, x, p);
    if (x->body.len)
        buf_add_byte(&x->body, ',');
    buf_add(&x->body, slice_make(w->bytes, w->len - 1));
    if (x->body.failed) {
        conn_abort(c, "memory");
        return PUT_FULL;
    }
    p->count++;
    p->last_seq = m->seq;
    return PUT_OK;
}

static void poll_add_notice(struct conn *c, struct exchange *x,
                            struct comet *p, const struct notice *n)
{
    if (p->resumed)
        say_resumed(c, x, p);
    if (x->body.len)
        buf_add_byte(&x->body, ',');
    envelope_notice(&x->body, n);
}

/* Does it say no more than say_resumed() would? Then that will. */
static bool keep_resumed(struct conn *c, const struct exchange *x,
                         struct comet *p, const struct notice *n)
{
    struct gateway *g = conn_gateway(c);
    struct position at;

    if (n->kind != NOTICE_RESUMED || p->resumed || x->body.len ||
        n->count != conn_channels(c) || position_parse(n->cursor, &at) < 0 ||
        !epoch_equal(&at.epoch, gateway_epoch(g)))
        return false;
    p->resumed = true;
    p->epoch = gateway_epoch_number(g);
    p->since = at.seq;
    return true;
}

static void poll_notice(struct conn *c, struct exchange *x, struct comet *p,
                        const struct notice *n)
{
    if (keep_resumed(c, x, p, n))
        return;
    poll_add_notice(c, x, p, n);
    if (x->body.failed) { /* whole, or not at all, whoever answers it */
        conn_abort(c, "memory");
        return;
    }
    p->urgent |= n->kind != NOTICE_RESUMED;
    /* With its place behind the notice, and what comes with it. */
    if (p->started && p->urgent)
        conn_deadline(c, TICK_NOW_MS);
}

/* ---- what is said ------------------------------------------------------- */

/* Counts per connection; a message that is put again, because the socket did
 * not take it, keeps its number. Within one channel offsets tell how far back
 * it is; of a pattern a visit puts one message only. */
static uint32_t number_of(struct page *p, const struct msg *m)
{
    if (m->seq > p->last_seq) {
        p->last_seq = m->seq;
        p->last_offset = (uint32_t)m->offset;
        return ++p->count;
    }
    return p->count - (p->last_offset - (uint32_t)m->offset);
}

/* Text, or a number, in front of what stands at `at`. */
static uint8_t *put_before(uint8_t *at, struct slice text)
{
    return memcpy(at - text.len, text.ptr, text.len);
}

static uint8_t *put_number_before(uint8_t *at, uint64_t n, unsigned base)
{
    do
        *--at = (uint8_t)"0123456789abcdef"[n % base];
    while (n /= base);
    return at;
}

static enum put_result test_put(struct http_conn *h, const struct msg *m,
                                const struct wire *w, struct outvec *v)
{
    uint8_t head[64], *const end = head + sizeof head, *from = end, *at;

    if ((h->flags & HTTP_PATTERN) && (h->flags & HTTP_PUT) &&
        m->seq != h->page->last_seq)
        return PUT_FULL;
    h->flags |= HTTP_PUT;
    from = put_before(from, SLICE(": '"));
    from = put_number_before(from, number_of(h->page, m), 10);
    from = put_before(from, SLICE("Recvd msg #"));
    if (form_is_chunked(h->form)) {
        size_t size = (size_t)(end - from) + w->len - 2;

        from = put_before(from, SLICE("\r\n"));
        from = put_number_before(from, size, 16);
    }
    at = outvec_scratch(v, (size_t)(end - from));
    if (NEVER(!at))
        return PUT_FULL;
    memcpy(at, from, (size_t)(end - from));
    outvec_wire(v, w);
    return PUT_OK;
}

/* Who is no stream is a poll, or is told nothing. */
static enum put_result put_to_poll(struct conn *c, struct msg *m)
{
    struct exchange *x;
    struct comet *p = awake(c, &x);

    if (p)
        return poll_put(c, x, p, m);
    /* Without memory it is gone. */
    return NEVER(!conn_closing(c)) ? PUT_OK : PUT_FULL;
}

/* flags: a stream has one subscription, which nothing is replayed beside. */
enum put_result comet_put(struct conn *c, struct msg *m, unsigned flags,
                          struct outvec *v)
{
    struct http_conn *h = conn_edge(c);
    struct wire *w;

    UNUSED(flags);
    if (h->state != HTTP_STREAM)
        return put_to_poll(c, m);
    if (h->flags & HTTP_GZIP)
        return zstream_put(h->zstream, c, m, v);
    w = form_wire(c, h->form, m);
    if (form_is_test(h->form) && !h->page)
        h->page = calloc(1, sizeof *h->page);
    if (!w || (form_is_test(h->form) && !h->page)) {
        conn_abort(c, "memory");
        return PUT_FULL;
    }
    if (form_is_test(h->form))
        return test_put(h, m, w, v);
    outvec_wire(v, w);
    return PUT_OK;
}

void comet_taken(struct conn *c, unsigned messages)
{
    struct http_conn *h = conn_edge(c);

    if (h->state == HTTP_STREAM && (h->flags & HTTP_GZIP))
        zstream_taken(h->zstream, messages);
}

void comet_pulled(struct conn *c)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *x;
    struct comet *p;

    if (h->state == HTTP_STREAM) {
        h->flags &= (uint8_t)~HTTP_PUT;
        return;
    }
    p = waiting(h, &x);
    if (p && p->count)
        poll_answer(c, x, false);
}

static void stream_notice(struct conn *c, const struct notice *n)
{
    const struct http_conn *h = conn_edge(c);
    struct buf b = BUF_INIT;

    form_put_notice(&b, h->form, n);
    if (b.len && (h->flags & HTTP_GZIP))
        zstream_say(h->zstream, c, buf_slice(&b));
    else if (b.len)
        form_put_text(conn_out(c), h->form, buf_slice(&b));
    if (b.failed)
        conn_abort(c, "memory");
    buf_fini(&b);
}

void comet_notice(struct conn *c, const struct notice *n)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *x;
    struct comet *p = awake(c, &x);

    if (p && p->poll)
        poll_notice(c, x, p, n);
    else if (h->state == HTTP_STREAM)
        stream_notice(c, n);
}

/* ---- time and the end --------------------------------------------------- */

void comet_ping(struct conn *c)
{
    const struct http_conn *h = conn_edge(c);

    if (h->state != HTTP_STREAM)
        return;
    if (h->flags & HTTP_GZIP)
        zstream_ping(h->zstream, c);
    else
        form_put_text(conn_out(c), h->form, form_ping(h->form));
}

static void tick(struct conn *c, struct ticker *t)
{
    const struct http_conn *h = conn_edge(c);
    struct buf b = BUF_INIT;

    buf_addf(&b, "Chunk %" PRIu32 " for id " SLICE_FMT "<br/>\n", ++t->count,
             SLICE_ARG(buf_slice(&t->channel)));
    form_put_text(conn_out(c), h->form, buf_slice(&b));
    buf_fini(&b);
    conn_deadline(c, t->every_ms);
}

/* Nothing more comes; but of what begins anew all is told in one answer. */
static void poll_in_vain(struct conn *c, struct exchange *x,
                         const struct comet *p)
{
    if (p->urgent && conn_begins(c))
        conn_deadline(c, TICK_NOW_MS);
    else
        poll_answer(c, x, !p->urgent);
}

void comet_deadline(struct conn *c)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *x;
    struct comet *p = awake(c, &x);

    if (h->state == HTTP_POLL)
        poll_in_vain(c, x, p);
    else if (h->state == HTTP_STREAM && !(h->flags & HTTP_GZIP) && h->page &&
             h->page->ticker)
        tick(c, h->page->ticker);
}

/* A stream that ends properly: its last words, the last chunk, and how far it
 * has come for who can read it there. */
static void stream_end(struct conn *c, const char *why, const char *text,
                       uint32_t retry_ms)
{
    struct http_conn *h = conn_edge(c);
    struct slice cursor = conn_cursor(c);
    struct notice n = {
        .kind = NOTICE_CLOSING,
        .cursor = cursor,
        .text = text,
        .retry_ms = retry_ms,
    };

    stream_notice(c, &n);
    if (h->flags & HTTP_GZIP)
        zstream_end(h->zstream, c);
    if (form_is_chunked(h->form)) {
        buf_add_str(conn_out(c), "0\r\n");
        if (h->flags & HTTP_TRAILERS)
            buf_addf(conn_out(c), "Touchline-Cursor: " SLICE_FMT "\r\n",
                     SLICE_ARG(cursor));
        buf_add_str(conn_out(c), "\r\n");
    }
    conn_close(c, why);
}

void comet_cut(struct conn *c)
{
    const struct http_conn *h = conn_edge(c);

    if (h->state == HTTP_STREAM)
        stream_end(c, "slow",
                   "You read too slowly; come back with this cursor.", 0);
}

static void poll_end(struct conn *c, struct exchange *x,
                     const struct comet_end *why)
{
    struct comet *p = x->state;
    struct notice n = {
        .kind = NOTICE_CLOSING,
        .cursor = conn_cursor(c),
        .text = why->text,
    };

    if (!p->urgent) {
        buf_reset(&x->body);
        p->resumed = false;
    }
    if (why->told)
        poll_add_notice(c, x, p, &n);
    poll_answer(c, x, !why->told && !p->urgent);
}

void comet_end(struct conn *c, const struct comet_end *why)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *x;

    if (h->state == HTTP_STREAM) {
        stream_end(c, why->word, why->text,
                   why->told ? 0 : gateway_retry_ms(conn_gateway(c)));
        return;
    }
    if (!awake(c, &x))
        return;
    h->talk->first->flags &= (uint16_t)~EXCHANGE_KEEP;
    if (h->state == HTTP_POLL)
        poll_end(c, h->talk->first, why);
    else
        reply_error(h->talk->first, 503, why->code, slice_str(why->text));
}

void comet_closed(struct conn *c)
{
    struct http_conn *h = conn_edge(c);

    if (h->flags & HTTP_GZIP) {
        free(h->zstream);
        h->zstream = NULL;
        return;
    }
    if (!h->page)
        return;
    if (h->page->ticker)
        buf_fini(&h->page->ticker->channel);
    free(h->page->ticker);
    free(h->page);
    h->page = NULL;
}

void comet_forget(struct conn *c)
{
    struct http_conn *h = conn_edge(c);

    gateway_give(h->poll);
    h->talk = NULL;
}

/* ---- a successor takes over --------------------------------------------- */

FROZEN_SIZE(struct comet, 88);
FROZEN_SIZE(struct poll, 16);
FROZEN_SIZE(struct page, 24);
FROZEN_SIZE(struct ticker, 40);

static void page_freeze(const struct page *p, struct buf *b)
{
    put_u8(b, p != NULL);
    if (!p)
        return;
    put_u64(b, p->last_seq);
    put_u32(b, p->last_offset);
    put_u32(b, p->count);
    put_u32(b, p->ticker ? p->ticker->every_ms : 0);
    if (!p->ticker)
        return;
    put_u32(b, p->ticker->count);
    put_str32(b, buf_slice(&p->ticker->channel));
}

static int page_thaw(struct http_conn *h, struct cursor *in)
{
    struct page *p = calloc(1, sizeof *p);
    uint32_t every_ms;

    h->page = p;
    if (!p)
        return ERR_NOMEM;
    p->last_seq = cursor_u64(in);
    p->last_offset = cursor_u32(in);
    p->count = cursor_u32(in);
    every_ms = cursor_u32(in);
    if (!every_ms)
        return 0;
    p->ticker = calloc(1, sizeof *p->ticker);
    if (!p->ticker)
        return ERR_NOMEM;
    p->ticker->every_ms = every_ms;
    p->ticker->count = cursor_u32(in);
    buf_add(&p->ticker->channel, cursor_str32(in));
    return p->ticker->channel.failed ? ERR_NOMEM : 0;
}

/* The other process counts epochs from another number. */
static void put_resumed(struct conn *c, struct buf *b, bool resumed,
                        uint32_t epoch, uint64_t since)
{
    put_u8(b, !resumed ? 0
              : epoch == gateway_epoch_number(conn_gateway(c)) ? 1 : 2);
    put_u64(b, since);
}

static int read_resumed(struct conn *c, struct cursor *in, bool *resumed,
                        uint32_t *epoch, uint64_t *since)
{
    uint8_t how = cursor_u8(in);

    *resumed = how != 0;
    *epoch = gateway_epoch_number(conn_gateway(c)) - (how == 2);
    *since = cursor_u64(in);
    return how > 2 ? ERR_FRAME : 0;
}

static void poll_freeze(struct conn *c, const struct poll *k, struct buf *b)
{
    put_resumed(c, b, true, k->epoch, k->since);
    put_u16(b, k->serial);
    put_u8(b, k->flags);
    put_str8(b, slice_make(k->fields, k->fields_len));
}

static int poll_thaw(struct conn *c, struct cursor *in)
{
    struct http_conn *h = conn_edge(c);
    struct poll k;
    bool resumed;
    int rc = read_resumed(c, in, &resumed, &k.epoch, &k.since);
    struct slice fields;

    h->unanswered = 1;
    k.serial = cursor_u16(in);
    k.flags = cursor_u8(in);
    fields = cursor_str8(in);
    if (rc < 0 || in->failed || !resumed ||
        (k.flags & ~(unsigned)EXCHANGE_OF_POLL))
        return ERR_FRAME;
    h->poll = gateway_take(conn_gateway(c),
                           offsetof(struct poll, fields) + fields.len);
    if (!h->poll)
        return ERR_NOMEM;
    *h->poll = k;
    h->poll->fields_len = (uint8_t)fields.len;
    if (fields.len)
        memcpy(h->poll->fields, fields.ptr, fields.len);
    return 0;
}

void comet_freeze(struct conn *c, struct buf *b)
{
    struct http_conn *h = conn_edge(c);
    struct exchange *x;
    const struct comet *p = waiting(h, &x);

    if (h->state == HTTP_WAITING) {
        poll_freeze(c, h->poll, b);
        return;
    }
    if (!p && (h->flags & HTTP_GZIP)) {
        zstream_freeze(h->zstream, b);
        return;
    }
    if (!p) {
        page_freeze(h->page, b);
        return;
    }
    exchange_freeze(x, b);
    put_u8(b, p->form);
    put_u8(b, (uint8_t)(p->poll | p->started << 1 | p->has_since << 2 |
                        p->urgent << 3 | p->pattern << 4 | p->gzip << 5));
    put_u32(b, p->count);
    put_u64(b, p->last_seq);
    put_u32(b, p->wait_ms);
    put_u32(b, p->every_ms);
    put_str32(b, buf_slice(&p->channel));
    put_resumed(c, b, p->resumed, p->epoch, p->since);
}

/* The answer that is waited for; freed with its exchange. */
static int waiting_thaw(struct conn *c, struct cursor *in)
{
    struct exchange *x;
    struct comet *p;
    unsigned flags;
    int rc = exchange_thaw(c, in, &x);

    if (rc < 0)
        return rc;
    p = gateway_take(conn_gateway(c), sizeof *p);
    if (!p)
        return ERR_NOMEM;
    x->ops = &comet_ops;
    x->state = p;
    p->form = cursor_u8(in);
    flags = cursor_u8(in);
    p->poll = flags & 1;
    p->started = flags >> 1 & 1;
    p->has_since = flags >> 2 & 1;
    p->urgent = flags >> 3 & 1;
    p->pattern = flags >> 4 & 1;
    p->gzip = flags >> 5 & 1;
    p->count = cursor_u32(in);
    p->last_seq = cursor_u64(in);
    p->wait_ms = cursor_u32(in);
    p->every_ms = cursor_u32(in);
    buf_add(&p->channel, cursor_str32(in));
    rc = read_resumed(c, in, &p->resumed, &p->epoch, &p->since);
    if (rc < 0 || in->failed || p->form >= FORMS || flags >> 6 ||
        (p->gzip && !form_packs(p->form)))
        return ERR_FRAME;
    return p->channel.failed ? ERR_NOMEM : 0;
}

int comet_thaw(struct conn *c, struct cursor *in, unsigned state)
{
    struct http_conn *h = conn_edge(c);

    if (state == HTTP_WAITING)
        return poll_thaw(c, in);
    if (state != HTTP_STREAM)
        return waiting_thaw(c, in);
    if (h->flags & HTTP_GZIP)
        return form_packs(h->form) ? zstream_thaw(&h->zstream, h->form, in)
                                   : ERR_FRAME;
    return cursor_u8(in) ? page_thaw(h, in) : 0;
}
