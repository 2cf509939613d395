#include "gateways/http/api.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/utf8.h"
#include "gateways/common/envelope.h"
#include "gateways/common/target.h"
#include "gateways/http/figures.h"
#include "gateways/http/http.h"
#include "proto/endpoint.h"
#include "proto/id.h"
#include "proto/json.h"

enum { KEY_MAX = 200 }; /* of Touchline-Key */

/* ---- what publications are made of -------------------------------------- */

bool api_name_ok(struct slice name)
{
    struct slice rest = name;
    uint32_t c;

    if (name.len == 0 || name.len > PERSON_NAME_MAX)
        return false;
    while (rest.len) {
        if (utf8_next(&rest, &c) < 0 || c <= 0x20 || c == ':' ||
            (c >= 0x7f && c <= 0x9f))
            return false;
    }
    return true;
}

static bool token_ok(struct slice s, size_t max)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x21 || s.ptr[i] > 0x7e)
            return false;
    return s.len > 0 && s.len <= max;
}

static bool key_ok(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return false;
    return s.len > 0 && s.len <= KEY_MAX && utf8_valid(s);
}

static void bad(struct refusal *why, const char *code, const char *text)
{
    why->status = PUBLISHED_BAD;
    why->code = code;
    snprintf(why->text, sizeof why->text, "%s", text);
}

/* What stands beside the data; absent is a NULL ptr. */
static int check_names(const struct publish *p, struct refusal *why)
{
    if (p->from.ptr && !api_name_ok(p->from))
        bad(why, "from.bad",
            "a name has 1 to 64 bytes of UTF-8, and no control character, "
            "space or colon");
    else if (p->key.ptr && !key_ok(p->key))
        bad(why, "key.bad",
            "a conflation key has 1 to 200 bytes of UTF-8 and no control "
            "character");
    else if (p->idempotency.ptr &&
             !token_ok(p->idempotency, IDEMPOTENCY_KEY_MAX))
        bad(why, "idempotency.bad",
            "an idempotency key has 1 to 128 bytes, each 0x21 to 0x7e");
    else
        return 0;
    return ERR_BAD;
}

static bool is_json_type(struct slice type)
{
    return slice_eq_nocase(type, SLICE("application/json"));
}

/* The type without its parameters. */
static struct slice media_type(const struct request *r)
{
    struct slice rest = r->field[FIELD_CONTENT_TYPE];

    return rest.ptr ? slice_trim(slice_split(&rest, ';')) : rest;
}

/* The format that a body of this type is kept in. */
static int read_format(struct slice type, struct slice body,
                       enum msg_format *ret, struct refusal *why)
{
    bool text = slice_eq_nocase(slice_head(type, 5), SLICE("text/"));

    if (is_json_type(type)) {
        *ret = MSG_JSON;
        if (json_check(body, JSON_DEPTH_MAX, NULL) == 0)
            return 0;
        bad(why, "data.json", "the body is not JSON, and its type says so");
        return ERR_BAD;
    }
    *ret = MSG_BYTES;
    if (slice_eq_nocase(type, SLICE("application/octet-stream")))
        return 0;
    if (utf8_valid(body)) {
        *ret = MSG_TEXT;
        return 0;
    }
    if (!text)
        return 0;
    bad(why, "data.utf8", "the body is not UTF-8, and its type is text");
    return ERR_BAD;
}

static void read_names(const struct request *r, struct publish *p)
{
    p->from = r->field[FIELD_TOUCHLINE_FROM];
    p->key = r->field[FIELD_TOUCHLINE_KEY];
    p->idempotency = r->field[FIELD_IDEMPOTENCY_KEY];
}

/* ---- publish one -------------------------------------------------------- */

/* The answer's fields, or the error's. */
static void put_published(struct buf *b, struct conn *c,
                          const struct published *p)
{
    if (p->status <= PUBLISHED_DUPLICATE) {
        buf_add_byte(b, '{');
        envelope_published(b, p, gateway_epoch(conn_gateway(c)));
        buf_add_byte(b, '}');
        return;
    }
    buf_add_str(b, "{\"error\":");
    envelope_error(b, p->code, p->text);
    buf_add_byte(b, '}');
}

static void one_published(struct exchange *x, unsigned index,
                          const struct published *p)
{
    struct buf code = BUF_INIT;

    UNUSED(index);
    if (p->status <= PUBLISHED_DUPLICATE) {
        put_published(&x->body, x->conn, p);
        reply_gathered(x, p->status == PUBLISHED_OK ? 201 : 200);
        return;
    }
    buf_add(&code, p->code);
    reply_error(x, status_of(p->status), buf_text(&code), p->text);
    buf_fini(&code);
}

static const struct exchange_ops publish_ops = {.published = one_published};

static void publish_one(struct exchange *x, const struct publish *p)
{
    struct refusal why;

    x->ops = &publish_ops;
    if (check_names(p, &why) < 0 ||
        conn_publish(x->conn, p, exchange_ref(x, 0), &why) < 0)
        reply_refusal(x, &why);
}

void api_publish(struct exchange *x, const struct call *call)
{
    struct publish p = {.channel = call->tail, .data = call->body};
    struct refusal why;

    read_names(call->request, &p);
    if (read_format(media_type(call->request), call->body, &p.format,
                    &why) < 0)
        reply_refusal(x, &why);
    else
        publish_one(x, &p);
}

bool api_is_json(struct exchange *x, const struct call *call)
{
    struct slice type = media_type(call->request);

    /* curl -d says that it is a form. */
    if (type.len && !is_json_type(type) &&
        !slice_eq_nocase(type, SLICE("application/x-www-form-urlencoded")))
        reply_error(x, 415, "body.type",
                    SLICE("Send JSON: Content-Type: application/json"));
    else if (json_check(call->body, JSON_DEPTH_MAX, NULL) < 0)
        reply_error(x, 400, "body.json", SLICE("The body is not JSON."));
    else
        return true;
    return false;
}

void api_publish_json(struct exchange *x, const struct call *call,
                      struct slice channel)
{
    struct publish p = {
        .channel = channel, .data = call->body, .format = MSG_JSON};

    read_names(call->request, &p);
    if (api_is_json(x, call))
        publish_one(x, &p);
}

/* ---- publish many ------------------------------------------------------- */

/* Answers come as the router has them, which need not be in order. */
struct batch {
    unsigned count, left;
    unsigned taken;  /* stored now */
    unsigned status; /* of the first one that failed, or 200 */
    struct buf text; /* strings of the publications, unescaped */
    struct publish *items;
    struct buf answers[];
};

static void batch_free(void *state)
{
    struct batch *b = state;

    for (unsigned i = 0; i < b->count; i++)
        buf_fini(&b->answers[i]);
    buf_fini(&b->text);
    free(b->items);
    free(b);
}

static void batch_reply(struct exchange *x, struct batch *b)
{
    buf_add_byte(&x->body, '[');
    for (unsigned i = 0; i < b->count; i++) {
        if (i)
            buf_add_byte(&x->body, ',');
        buf_add(&x->body, buf_slice(&b->answers[i]));
        x->body.failed |= b->answers[i].failed;
    }
    buf_add_byte(&x->body, ']');
    reply_gathered(x, b->taken ? 201 : b->status);
}

static void batch_published(struct exchange *x, unsigned index,
                            const struct published *p)
{
    struct batch *b = x->state;

    if (index >= b->count || b->answers[index].len)
        return;
    put_published(&b->answers[index], x->conn, p);
    if (p->status == PUBLISHED_OK)
        b->taken++;
    else if (b->status == 200)
        b->status = status_of(p->status);
    if (--b->left == 0)
        batch_reply(x, b);
}

static const struct exchange_ops batch_ops = {
    .published = batch_published,
    .free = batch_free,
};

/* The text of a string of an object; absent, or null, is a NULL ptr. */
static int read_string(struct batch *b, struct slice object, const char *key,
                       struct slice *ret)
{
    struct slice raw;
    size_t from = b->text.len;
    int rc = json_find(object, key, &raw);

    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc < 0)
        return rc;
    if (json_kind(raw) == JSON_NULL)
        return 0;
    rc = json_unescape(&b->text, raw);
    if (rc < 0)
        return rc;
    *ret = slice_make(b->text.ptr + from, b->text.len - from);
    return 0;
}

static int read_item(struct batch *b, struct slice object, struct publish *p)
{
    if (json_kind(object) != JSON_OBJECT ||
        read_string(b, object, "channel", &p->channel) < 0 ||
        read_string(b, object, "key", &p->key) < 0 ||
        read_string(b, object, "from", &p->from) < 0 ||
        read_string(b, object, "idempotency", &p->idempotency) < 0 ||
        !p->channel.ptr || json_find(object, "data", &p->data) < 0)
        return ERR_BAD;
    p->format = MSG_JSON;
    return 0;
}

static unsigned count_items(struct slice array)
{
    struct json_iter it = json_iter(array);
    struct slice key, value;
    unsigned n = 0;

    while (json_next(&it, &key, &value))
        n++;
    return n;
}

/* Room for all, so that what is handed out stays where it is: a string is
 * never longer than it was with its escapes. */
static struct batch *batch_new(unsigned count, struct slice body)
{
    struct batch *b = calloc(1, sizeof *b + count * sizeof b->answers[0]);

    if (!b)
        return NULL;
    b->count = count;
    b->status = 200;
    b->items = calloc(count + 1, sizeof *b->items);
    if (!b->items || !buf_reserve(&b->text, body.len + 1)) {
        batch_free(b);
        return NULL;
    }
    return b;
}

/* -1: all are well formed; else the first that is not. */
static int batch_read(struct batch *b, struct slice array)
{
    struct json_iter it = json_iter(array);
    struct slice key, value;
    int i = 0;

    while (json_next(&it, &key, &value)) {
        if (read_item(b, value, &b->items[i]) < 0)
            return i;
        i++;
    }
    return -1;
}

/* All at once, in order: they become one commit. */
static void batch_publish(struct exchange *x, struct batch *b)
{
    struct refusal why;

    for (unsigned i = 0; i < b->count; i++) {
        const struct publish *p = &b->items[i];

        if (check_names(p, &why) == 0 &&
            conn_publish(x->conn, p, exchange_ref(x, i), &why) == 0) {
            b->left++;
            continue;
        }
        buf_add_str(&b->answers[i], "{\"error\":");
        envelope_error(&b->answers[i], slice_str(why.code),
                       slice_str(why.text));
        buf_add_byte(&b->answers[i], '}');
        if (b->status == 200)
            b->status = status_of(why.status);
    }
    if (b->left == 0)
        batch_reply(x, b);
}

/* Answered, or *ret holds the batch. */
static bool batch_open(struct exchange *x, const struct call *call,
                       struct batch **ret)
{
    size_t max = conn_config(x->conn)->limits.batch;
    unsigned count;

    if (!api_is_json(x, call))
        return false;
    if (json_kind(slice_trim(call->body)) != JSON_ARRAY) {
        reply_error(x, 400, "batch.bad", SLICE("Send an array of messages."));
        return false;
    }
    count = count_items(call->body);
    if (count > max) {
        gateway_limit(conn_gateway(x->conn), LIMIT_BATCH);
        reply_error(x, 413, "batch.too_many",
                    SLICE("The batch has too many messages "
                          "(limits.batch)."));
        return false;
    }
    *ret = batch_new(count, call->body);
    if (!*ret)
        reply_no_memory(x);
    return *ret;
}

void api_publish_batch(struct exchange *x, const struct call *call)
{
    struct batch *b;
    char text[128];
    int wrong;

    if (!batch_open(x, call, &b))
        return;
    x->ops = &batch_ops;
    x->state = b;
    wrong = batch_read(b, call->body);
    if (wrong < 0) {
        batch_publish(x, b);
        return;
    }
    snprintf(text, sizeof text,
             "Message %d (counted from 0) is not {\"channel\",\"data\",...}; "
             "none was published.", wrong);
    reply_error(x, 400, "batch.bad", slice_str(text));
}

/* ---- history ------------------------------------------------------------ */

struct past {
    enum fetch_mode mode;
    struct position since; /* of since= or before= */
    bool at_row;           /* the last thing in the answer is a message */
    uint64_t last_seq;     /* of it */
    size_t channel_len;
    uint8_t channel[ID_MAX];
};

static void past_add(struct exchange *x)
{
    if (x->body.len)
        buf_add_byte(&x->body, ',');
}

static void past_row(struct exchange *x, struct msg *m)
{
    struct past *p = x->state;

    past_add(x);
    envelope_message(&x->body, m, gateway_epoch(conn_gateway(x->conn)), 0);
    p->at_row = true;
    p->last_seq = m->seq;
}

static void past_hole(struct exchange *x, const struct frame_hole *h)
{
    struct past *p = x->state;
    struct notice n = {
        .kind = NOTICE_GAP,
        .channels = &h->id,
        .count = 1,
        .why = h->why == HOLE_DAMAGED ? GAP_DAMAGED : GAP_TRIMMED,
        .from = h->from,
        .to = h->to,
        .missed = h->from && h->to ? h->to - h->from + 1 : 0,
    };

    past_add(x);
    envelope_notice(&x->body, &n);
    p->at_row = false;
}

/* A cursor that means nothing here: what was missed is not known, and what
 * there is is given. */
static void past_strange(struct exchange *x, struct past *p,
                         enum gap_why why)
{
    struct slice channel = slice_make(p->channel, p->channel_len);
    struct notice n = {
        .kind = NOTICE_GAP, .channels = &channel, .count = 1, .why = why};

    past_add(x);
    envelope_notice(&x->body, &n);
    if (p->mode == FETCH_BEFORE)
        p->mode = FETCH_LAST;
    p->since.seq = 0;
}

static void reply_unread(struct exchange *x, int err)
{
    if (err == ERR_BUSY)
        reply_error(x, 503, "router.away",
                    SLICE("The router cannot be reached just now."));
    else
        reply_error(x, 503, "store.failed",
                    SLICE("History cannot be read just now."));
}

/* The seq up to which this gateway has heard everything. */
static uint64_t place_of(struct conn *c)
{
    struct position here = {.seq = 0};

    if (position_parse(conn_cursor(c), &here) < 0)
        return 0;
    return here.seq;
}

/* Nothing can be read behind the end. */
static bool from_future(struct conn *c, const struct past *p)
{
    return p->mode == FETCH_SINCE && p->since.seq > place_of(c);
}

static void past_end(struct exchange *x, int err, bool more, uint64_t upto)
{
    struct past *p = x->state;
    char cursor[CURSOR_TEXT_MAX];
    struct buf b = BUF_INIT;

    if (err && !from_future(x->conn, p)) {
        reply_unread(x, err);
        return;
    }
    if (err)
        upto = place_of(x->conn);
    if (p->mode == FETCH_SINCE && p->since.seq > upto)
        past_strange(x, p, GAP_FUTURE);
    /* What is said of a page that holds messages depends on these alone, so
     * that its tag stays the same while others are busy elsewhere. */
    upto = p->at_row ? p->last_seq : upto;
    buf_addf(&b, "{\"cursor\":\"" SLICE_FMT "\",\"messages\":[",
             SLICE_ARG(slice_make(cursor, position_format(
                 cursor, gateway_epoch(conn_gateway(x->conn)), upto))));
    buf_add(&b, buf_slice(&x->body));
    buf_addf(&b, "],\"more\":%s}\n", more ? "true" : "false");
    x->flags |= EXCHANGE_TAGGED;
    if (b.failed || x->body.failed)
        reply_no_memory(x);
    else
        reply(x, 200, "application/json", buf_slice(&b));
    buf_fini(&b);
}

static const struct exchange_ops past_ops = {
    .row = past_row,
    .hole = past_hole,
    .page_end = past_end,
    .free = free,
};

/* Which page the query asks for. */
static int read_page(struct query *q, struct past *p, uint64_t *limit)
{
    struct slice since = query_get(q, "since");
    struct slice before = query_get(q, "before");
    int rc = query_number(q, "limit", HISTORY_DEFAULT, HISTORY_MAX, limit);

    if (rc == 0)
        rc = query_number(q, "last", *limit, HISTORY_MAX, limit);
    p->mode = since.ptr ? FETCH_SINCE : before.ptr ? FETCH_BEFORE : FETCH_LAST;
    if (rc == 0 && p->mode != FETCH_LAST)
        rc = position_parse(since.ptr ? since : before, &p->since);
    return rc == 0 && *limit == 0 ? ERR_BAD : rc;
}

static void past_fetch(struct exchange *x, struct past *p,
                       struct slice channel, uint64_t limit)
{
    struct gateway *g = conn_gateway(x->conn);
    struct fetch f = {
        .channels = &channel,
        .count = 1,
        .limit = (uint32_t)limit,
        .bytes = (uint32_t)conn_config(x->conn)->limits.page_bytes,
    };
    struct refusal why;

    p->channel_len = channel.len;
    memcpy(p->channel, channel.ptr, channel.len);
    if (p->since.epoch.text[0] &&
        !epoch_equal(&p->since.epoch, gateway_epoch(g)))
        past_strange(x, p, GAP_EPOCH);
    f.mode = p->mode;
    if (p->mode == FETCH_SINCE)
        f.after = p->since.seq;
    else if (p->mode == FETCH_BEFORE)
        f.upto = p->since.seq;
    if (conn_fetch(x->conn, &f, exchange_ref(x, 0), &why) < 0)
        reply_refusal(x, &why);
}

void api_history_of(struct exchange *x, const struct call *call,
                    struct slice channel)
{
    const char *problem = id_problem(channel);
    struct past *p = calloc(1, sizeof *p);
    uint64_t limit;
    struct query q;

    x->ops = &past_ops;
    x->state = p;
    if (!p || query_init(&q, call->request->query) < 0) {
        reply_no_memory(x);
        return;
    }
    if (problem)
        reply_error(x, 400, "channel.bad", slice_str(problem));
    else if (read_page(&q, p, &limit) < 0)
        reply_error(x, 400, "page.bad",
                    SLICE("last and limit are numbers from 1; since and "
                          "before are cursors."));
    else
        past_fetch(x, p, channel, limit);
    query_fini(&q);
}

void api_history(struct exchange *x, const struct call *call)
{
    api_history_of(x, call, call->tail);
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

void api_stats(struct exchange *x, const struct call *call)
{
    UNUSED(call);
    api_ask(x, &stats_ops, "stats", SLICE(""));
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
    if (gateway_linked(conn_gateway(x->conn)))
        reply_text(x, 200, SLICE("ready"));
    else
        reply_error(x, 503, "router.away",
                    SLICE("The router cannot be reached just now."));
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

void api_websocket(struct exchange *x, const struct call *call)
{
    struct slice host = host_asked(x, call->request);
    struct buf url = BUF_INIT;

    buf_addf(&url, "ws://" SLICE_FMT ":%u%s", SLICE_ARG(host),
             api_port(&conn_config(x->conn)->ws.listen),
             slice_eq(call->path, SLICE("/v1/raw")) ? "/v1/raw" : "/v1/ws");
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
