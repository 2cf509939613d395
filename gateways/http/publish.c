#include "gateways/http/publish.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/utf8.h"
#include "gateways/common/checks.h"
#include "gateways/common/envelope.h"
#include "gateways/http/api.h"
#include "gateways/http/http.h"
#include "proto/json.h"

/* ---- what publications are made of -------------------------------------- */

static void bad(struct refusal *why, const char *code, const char *text)
{
    why->status = PUBLISHED_BAD;
    why->code = code;
    snprintf(why->text, sizeof why->text, "%s", text);
}

/* The format that a body of this type is kept in. */
static int read_format(struct slice type, struct slice body,
                       enum msg_format *ret, struct refusal *why)
{
    bool text = slice_eq_nocase(slice_head(type, 5), SLICE("text/"));

    if (slice_eq_nocase(type, SLICE("application/json"))) {
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
    gateway_refused(conn_gateway(c), p->code);
    buf_add_str(b, "{\"error\":");
    envelope_error(b, p->code, p->text);
    buf_add_byte(b, '}');
}

static void one_published(struct exchange *x, unsigned index,
                          const struct published *p)
{
    UNUSED(index);
    exchange_published(x, p);
    if (p->status > PUBLISHED_DUPLICATE) {
        reply_unpublished(x, p);
        return;
    }
    put_published(&x->body, x->conn, p);
    reply_gathered(x, p->status == PUBLISHED_OK ? 201 : 200);
}

static const struct exchange_ops publish_ops = {.published = one_published};

static void publish_one(struct exchange *x, const struct publish *p)
{
    struct refusal why;

    x->ops = &publish_ops;
    if (check_publish(p, &why) < 0 ||
        conn_publish(x->conn, p, exchange_ref(x, 0), &why) < 0)
        reply_refusal(x, &why);
}

void publish_channel(struct exchange *x, const struct call *call)
{
    struct publish p = {.channel = call->tail, .data = call->body};
    struct refusal why;

    read_names(call->request, &p);
    if (read_format(api_media_type(call->request), call->body, &p.format,
                    &why) < 0)
        reply_refusal(x, &why);
    else
        publish_one(x, &p);
}

void publish_json(struct exchange *x, const struct call *call,
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
    exchange_published(x, p);
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

    conn_group(x->conn, true);
    for (unsigned i = 0; i < b->count; i++) {
        struct publish *p = &b->items[i];

        p->more = i + 1 < b->count;
        if (check_publish(p, &why) == 0 &&
            conn_publish(x->conn, p, exchange_ref(x, i), &why) == 0) {
            b->left++;
            continue;
        }
        gateway_refused(conn_gateway(x->conn), slice_str(why.code));
        buf_add_str(&b->answers[i], "{\"error\":");
        envelope_error(&b->answers[i], slice_str(why.code),
                       slice_str(why.text));
        buf_add_byte(&b->answers[i], '}');
        if (b->status == 200)
            b->status = status_of(why.status);
    }
    conn_group(x->conn, false);
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
    if (json_kind(call->body) != JSON_ARRAY) {
        reply_error(x, 400, "batch.bad",
                    SLICE("Send an array of messages: "
                          "[{\"channel\":\"room/lobby\",\"data\":\"hello\"}]"));
        return false;
    }
    count = count_items(call->body);
    if (count > max) {
        gateway_limit(conn_gateway(x->conn), LIMIT_BATCH);
        reply_error(x, 413, "batch.too_many",
                    SLICE("The batch has too many messages: send several, or raise "
                          "limits.batch."));
        return false;
    }
    *ret = batch_new(count, call->body);
    if (!*ret)
        reply_no_memory(x);
    return *ret;
}

void publish_list(struct exchange *x, const struct call *call)
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
