#include "gateways/ws/asks.h"

#include <stdlib.h>

#include "base/err.h"
#include "gateways/common/checks.h"
#include "gateways/common/envelope.h"
#include "gateways/common/gateway.h"
#include "proto/json.h"
#include "proto/report.h"

/* ---- replies ----------------------------------------------------------- */

static struct buf *reply_begin(struct conn *c, struct slice ref)
{
    struct buf *b = ws_text_begin(c);

    buf_add_byte(b, '{');
    if (ref.len) {
        buf_add_str(b, "\"ref\":");
        buf_add(b, ref);
        buf_add_byte(b, ',');
    }
    return b;
}

struct buf *reply_ok_begin(struct conn *c, struct slice ref)
{
    struct buf *b = reply_begin(c, ref);

    buf_add_str(b, "\"ok\":true");
    return b;
}

void reply_end(struct conn *c, struct buf *b)
{
    buf_add_byte(b, '}');
    ws_text_end(c);
}

void reply_ok(struct conn *c, struct slice ref)
{
    reply_end(c, reply_ok_begin(c, ref));
}

void reply_error(struct conn *c, struct slice ref, struct slice code,
                        struct slice text)
{
    struct buf *b = reply_begin(c, ref);

    buf_add_str(b, "\"error\":");
    envelope_error(b, code, text);
    reply_end(c, b);
}

/* ---- asks -------------------------------------------------------------- */

static struct slice ref_of(const struct ask *a)
{
    return slice_make(a->their_ref, a->their_len);
}

/* NULL: no memory, and the connection is gone. */
struct ask *ask_new(struct conn *c, struct slice ref)
{
    uint32_t number = ws_ref(c);
    struct ask *a = number ? calloc(1, sizeof *a + ref.len) : NULL;

    if (!a) {
        conn_abort(c, "memory");
        return NULL;
    }
    a->ref = number;
    a->their_len = (uint8_t)ref.len;
    if (a->their_len)
        memcpy(a->their_ref, ref.ptr, a->their_len);
    list_add_tail(&ws_of(c)->work->asks, &a->node);
    return a;
}

static struct ask *ask_find(struct conn *c, uint32_t ref)
{
    struct ws_work *w = ws_of(c)->work;

    if (!w)
        return NULL;
    LIST_FOREACH(a, &w->asks, struct ask, node)
        if (a->ref == ref)
            return a;
    return NULL;
}

static void ask_free(struct ask *a)
{
    list_remove(&a->node);
    buf_fini(&a->rows);
    free(a);
}

static void ask_done(struct conn *c, struct ask *a)
{
    ask_free(a);
    ws_answered(c);
}

/* It was refused at once. */
void ask_refused(struct conn *c, struct ask *a,
                        const struct refusal *why)
{
    reply_error(c, ref_of(a), slice_str(why->code), slice_str(why->text));
    ask_done(c, a);
}

void asks_free(struct conn *c)
{
    struct ws_work *w = ws_of(c)->work;
    struct list_node *n;

    while (w && (n = list_first(&w->asks)))
        ask_free(CONTAINER_OF(n, struct ask, node));
}

/* ---- answers of the router --------------------------------------------- */

void asks_subscribed(struct conn *c, uint32_t ref)
{
    struct ask *a = ask_find(c, ref);
    struct buf *b;

    if (!a)
        return;
    b = reply_ok_begin(c, ref_of(a));
    buf_add_str(b, ",\"channel\":");
    json_put_string(b, buf_slice(&a->rows));
    reply_end(c, b);
    ask_done(c, a);
}

void asks_subscribe_failed(struct conn *c, uint32_t ref,
                                      const char *code, struct slice text)
{
    struct ask *a = ask_find(c, ref);

    if (!a)
        return;
    reply_error(c, ref_of(a), slice_str(code), text);
    ask_done(c, a);
}

void asks_published(struct conn *c, uint32_t ref,
                               const struct published *p)
{
    struct ask *a = ask_find(c, ref);
    struct buf *b;

    if (!a)
        return;
    if (p->status <= PUBLISHED_DUPLICATE) {
        b = reply_ok_begin(c, ref_of(a));
        buf_add_byte(b, ',');
        envelope_published(b, p, gateway_epoch(conn_gateway(c)));
        reply_end(c, b);
    } else {
        reply_error(c, ref_of(a), p->code, p->text);
    }
    ask_done(c, a);
}

static void add_comma(struct ask *a)
{
    if (a->rows.len)
        buf_add_byte(&a->rows, ',');
}

void asks_row(struct conn *c, uint32_t ref, struct msg *m)
{
    struct ask *a = ask_find(c, ref);

    if (!a)
        return;
    add_comma(a);
    envelope_message(&a->rows, m, gateway_epoch(conn_gateway(c)), 0);
    a->at_row = true;
    a->last_seq = m->seq;
}

void asks_hole(struct conn *c, uint32_t ref,
                          const struct frame_hole *h)
{
    struct ask *a = ask_find(c, ref);
    struct notice n = {
        .kind = NOTICE_GAP,
        .channels = &h->id,
        .count = 1,
        .why = h->why == HOLE_DAMAGED ? GAP_DAMAGED : GAP_TRIMMED,
        .from = h->from,
        .to = h->to,
        .missed = h->from && h->to ? h->to - h->from + 1 : 0,
    };

    if (!a)
        return;
    add_comma(a);
    envelope_notice(&a->rows, &n);
    a->at_row = false;
}

static void reply_history(struct conn *c, struct ask *a, bool more,
                          uint64_t upto)
{
    struct buf *b = reply_ok_begin(c, ref_of(a));
    char cursor[CURSOR_TEXT_MAX];
    size_t len = position_format(cursor, gateway_epoch(conn_gateway(c)),
                                 a->at_row ? a->last_seq : upto);

    buf_add_str(b, ",\"cursor\":");
    json_put_string(b, slice_make(cursor, len));
    buf_add_str(b, ",\"messages\":[");
    buf_add(b, buf_slice(&a->rows));
    b->failed |= a->rows.failed;
    buf_addf(b, "],\"more\":%s", more ? "true" : "false");
    reply_end(c, b);
}

void asks_page_end(struct conn *c, uint32_t ref, int err, bool more,
                              uint64_t upto)
{
    struct ask *a = ask_find(c, ref);

    if (!a)
        return;
    if (err == ERR_BUSY)
        reply_error(c, ref_of(a), SLICE("router.away"),
                    SLICE("the router cannot be reached just now"));
    else if (err)
        reply_error(c, ref_of(a), SLICE("store.failed"),
                    SLICE("history cannot be read just now"));
    else
        reply_history(c, a, more, upto);
    ask_done(c, a);
}

/* How many are there, by the router's report in JSON. */
static int64_t presence_count(struct slice json)
{
    struct slice part, key, row, raw;
    struct json_iter it;
    int64_t n;

    if (json_find(json, "presence", &part) < 0)
        return 0;
    it = json_iter(part);
    if (!json_next(&it, &key, &row) || json_find(row, "count", &raw) < 0 ||
        json_integer(raw, &n) < 0)
        return 0;
    return n;
}

static void reply_presence(struct conn *c, const struct ask *a,
                           struct slice json)
{
    struct buf *b = reply_ok_begin(c, ref_of(a));
    struct slice names;

    buf_add_str(b, ",\"channel\":");
    json_put_string(b, buf_slice(&a->rows));
    buf_addf(b, ",\"count\":%lld,\"names\":",
             (long long)presence_count(json));
    buf_add(b, json_find(json, "names", &names) == 0 ? names : SLICE("[]"));
    reply_end(c, b);
}

void asks_answered(struct conn *c, uint32_t ref, enum publish_status status,
                   bool json, struct slice body)
{
    struct ask *a = ask_find(c, ref);
    struct buf b = BUF_INIT;
    struct slice code;

    if (!a)
        return;
    if (status != PUBLISHED_OK) {
        code = refusal_code(status, &body);
        reply_error(c, ref_of(a), code, body);
    } else if (json || report_to_json(&b, body) < 0) {
        reply_error(c, ref_of(a), SLICE("router.answer"),
                    SLICE("the router's answer makes no sense"));
    } else {
        reply_presence(c, a, buf_slice(&b));
    }
    buf_fini(&b);
    ask_done(c, a);
}
