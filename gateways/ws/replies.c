#include "gateways/ws/replies.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "gateways/common/checks.h"
#include "gateways/common/envelope.h"
#include "gateways/common/gateway.h"
#include "proto/json.h"
#include "proto/report.h"

/* ---- said now ---------------------------------------------------------- */

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

struct buf *ws_ok_begin(struct conn *c, struct slice ref)
{
    struct buf *b = reply_begin(c, ref);

    buf_add_str(b, "\"ok\":true");
    return b;
}

void ws_reply_end(struct conn *c, struct buf *b)
{
    buf_add_byte(b, '}');
    ws_text_end(c);
}

void ws_ok(struct conn *c, struct slice ref)
{
    ws_reply_end(c, ws_ok_begin(c, ref));
}

static void put_error(struct conn *c, struct slice ref, struct slice code,
                      struct slice text, uint32_t retry_ms)
{
    struct buf *b = reply_begin(c, ref);

    gateway_refused(conn_gateway(c), code);
    buf_add_str(b, "\"error\":");
    envelope_error_until(b, code, text, retry_ms);
    ws_reply_end(c, b);
}

void ws_error(struct conn *c, struct slice ref, struct slice code,
              struct slice text)
{
    put_error(c, ref, code, text, 0);
}

/* ---- due --------------------------------------------------------------- */

static struct slice ref_of(const struct reply *r)
{
    return slice_make(r->their_ref, r->their_len);
}

/* NULL: no memory, and the connection is gone. */
struct reply *ws_reply_new(struct conn *c, struct slice ref)
{
    uint32_t number = ws_ref(c);
    struct reply *r = number ? calloc(1, sizeof *r + ref.len) : NULL;

    if (!r) {
        conn_abort(c, "memory");
        return NULL;
    }
    r->ref = number;
    r->their_len = (uint8_t)ref.len;
    if (r->their_len)
        memcpy(r->their_ref, ref.ptr, r->their_len);
    list_add_tail(&ws_of(c)->work->replies, &r->node);
    return r;
}

static struct reply *reply_find(struct conn *c, uint32_t ref)
{
    struct ws_work *w = ws_of(c)->work;

    if (!w)
        return NULL;
    LIST_FOREACH(r, &w->replies, struct reply, node)
        if (r->ref == ref)
            return r;
    return NULL;
}

static void reply_free(struct reply *r)
{
    list_remove(&r->node);
    buf_fini(&r->channel);
    buf_fini(&r->rows);
    free(r);
}

static void reply_done(struct conn *c, struct reply *r)
{
    if (r->exclusive)
        ws_of(c)->work->exclusive = false;
    reply_free(r);
    ws_answered(c);
}

/* It was refused at once. */
void ws_reply_refused(struct conn *c, struct reply *r,
                      const struct refusal *why)
{
    put_error(c, ref_of(r), slice_str(why->code), slice_str(why->text),
              r->subscribes ? why->retry_ms : 0);
    reply_done(c, r);
}

/* Subscriptions to channel (empty: to any) that are not in force will not be. */
static void refuse_subscriptions(struct conn *c, struct slice channel,
                                 const char *code, const char *text)
{
    struct ws_work *w = ws_of(c)->work;

    if (!w)
        return;
    LIST_FOREACH_SAFE(r, next, &w->replies, struct reply, node) {
        if (!r->subscribes ||
            (channel.len && !slice_eq(channel, buf_slice(&r->channel))))
            continue;
        ws_error(c, ref_of(r), slice_str(code), slice_str(text));
        reply_done(c, r);
    }
}

void replies_unsubscribed(struct conn *c, struct slice channel)
{
    refuse_subscriptions(c, channel, "channel.left",
                         "you unsubscribed before it was in force");
}

void replies_left(struct conn *c, const struct give_up *why)
{
    refuse_subscriptions(c, SLICE(""), why->code, why->text);
}

void replies_free(struct conn *c)
{
    struct ws_work *w = ws_of(c)->work;
    struct list_node *n;

    while (w && (n = list_first(&w->replies)))
        reply_free(CONTAINER_OF(n, struct reply, node));
}

/* ---- a successor takes over -------------------------------------------- */

FROZEN_SIZE(struct reply, 112);

bool replies_at_rest(const struct ws_work *w)
{
    uint32_t n = 0;

    LIST_FOREACH(r, &w->replies, struct reply, node)
        n += r->subscribes;
    return n == w->unanswered;
}

void replies_freeze(const struct ws_work *w, struct buf *b)
{
    put_u32(b, w->unanswered);
    LIST_FOREACH(r, &w->replies, struct reply, node) {
        put_u32(b, r->ref);
        put_str8(b, ref_of(r));
        put_str8(b, buf_slice(&r->channel));
    }
}

static int reply_thaw(struct ws_work *w, struct cursor *in)
{
    uint32_t number = cursor_u32(in);
    struct slice theirs = cursor_str8(in), channel = cursor_str8(in);
    struct reply *r;

    if (in->failed || !number || theirs.len > REPLY_REF_MAX)
        return ERR_FRAME;
    r = calloc(1, sizeof *r + theirs.len);
    if (!r)
        return ERR_NOMEM;
    r->ref = number;
    r->subscribes = true;
    r->their_len = (uint8_t)theirs.len;
    if (theirs.len)
        memcpy(r->their_ref, theirs.ptr, theirs.len);
    buf_add(&r->channel, channel);
    list_add_tail(&w->replies, &r->node);
    w->unanswered++;
    return r->channel.failed ? ERR_NOMEM : 0;
}

int replies_thaw(struct ws_work *w, struct cursor *in)
{
    uint32_t count = cursor_u32(in);
    int rc = in->failed || count > PIPELINE_MAX ? ERR_FRAME : 0;

    while (rc == 0 && count--)
        rc = reply_thaw(w, in);
    return rc;
}

/* ---- answers of the router --------------------------------------------- */

void replies_subscribed(struct conn *c, uint32_t ref)
{
    struct reply *r = reply_find(c, ref);
    struct buf *b;

    if (!r)
        return;
    b = ws_ok_begin(c, ref_of(r));
    buf_add_str(b, ",\"channel\":");
    json_put_string(b, buf_slice(&r->channel));
    ws_reply_end(c, b);
    reply_done(c, r);
}

void replies_subscribe_failed(struct conn *c, uint32_t ref,
                                      const char *code, struct slice text)
{
    struct reply *r = reply_find(c, ref);

    if (!r)
        return;
    ws_error(c, ref_of(r), slice_str(code), text);
    reply_done(c, r);
}

void replies_published(struct conn *c, uint32_t ref,
                               const struct published *p)
{
    struct reply *r = reply_find(c, ref);
    struct buf *b;

    if (!r)
        return;
    if (p->status <= PUBLISHED_DUPLICATE) {
        b = ws_ok_begin(c, ref_of(r));
        buf_add_byte(b, ',');
        envelope_published(b, p, gateway_epoch(conn_gateway(c)));
        ws_reply_end(c, b);
    } else {
        ws_error(c, ref_of(r), p->code, p->text);
    }
    reply_done(c, r);
}

static void add_comma(struct reply *r)
{
    if (r->rows.len)
        buf_add_byte(&r->rows, ',');
}

void replies_row(struct conn *c, uint32_t ref, struct msg *m)
{
    struct reply *r = reply_find(c, ref);

    if (!r)
        return;
    add_comma(r);
    envelope_message(&r->rows, m, gateway_epoch(conn_gateway(c)), 0);
    r->at_row = true;
    r->last_seq = m->seq;
}

void replies_hole(struct conn *c, uint32_t ref,
                          const struct frame_hole *h)
{
    struct reply *r = reply_find(c, ref);
    struct notice n = notice_of_hole(h);

    if (!r || (r->everything && n.why == GAP_TRIMMED))
        return;
    add_comma(r);
    envelope_notice(&r->rows, &n);
    r->at_row = false;
}

void reply_strange(struct reply *r, enum gap_why why)
{
    struct slice channel = buf_slice(&r->channel);
    struct notice n = {
        .kind = NOTICE_GAP,
        .channels = &channel,
        .count = 1,
        .why = why,
    };

    envelope_notice(&r->rows, &n);
}

/* The seq up to which this connection has heard everything. */
static uint64_t place_of(struct conn *c)
{
    struct position here;

    return position_parse(conn_cursor(c), &here) == 0 ? here.seq : 0;
}

static void reply_history(struct conn *c, struct reply *r, bool more,
                          uint64_t upto)
{
    struct buf *b = ws_ok_begin(c, ref_of(r));
    char cursor[CURSOR_TEXT_MAX];
    size_t len = position_format(cursor, gateway_epoch(conn_gateway(c)),
                                 r->at_row ? r->last_seq : upto);

    buf_add_str(b, ",\"cursor\":");
    json_put_string(b, slice_make(cursor, len));
    buf_add_str(b, ",\"messages\":[");
    buf_add(b, buf_slice(&r->rows));
    b->failed |= r->rows.failed;
    buf_addf(b, "],\"more\":%s", more ? "true" : "false");
    ws_reply_end(c, b);
}

void replies_page_end(struct conn *c, uint32_t ref, int err, bool more,
                              uint64_t upto)
{
    struct reply *r = reply_find(c, ref);

    if (!r)
        return;
    if (err && err != ERR_BUSY && r->since > place_of(c)) {
        err = 0; /* behind the end there is no page */
        upto = place_of(c);
    }
    if (!err && r->since > upto)
        reply_strange(r, GAP_FUTURE);
    if (err == ERR_BUSY)
        ws_error(c, ref_of(r), SLICE("router.away"),
                    SLICE("the router cannot be reached just now"));
    else if (err)
        ws_error(c, ref_of(r), SLICE("store.failed"),
                    SLICE("history cannot be read just now"));
    else
        reply_history(c, r, more, upto);
    reply_done(c, r);
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

static void reply_presence(struct conn *c, const struct reply *r,
                           struct slice json)
{
    struct buf *b = ws_ok_begin(c, ref_of(r));
    struct slice names;

    buf_add_str(b, ",\"channel\":");
    json_put_string(b, buf_slice(&r->channel));
    buf_addf(b, ",\"count\":%lld,\"names\":",
             (long long)presence_count(json));
    buf_add(b, json_find(json, "names", &names) == 0 ? names : SLICE("[]"));
    ws_reply_end(c, b);
}

void replies_answered(struct conn *c, uint32_t ref, enum publish_status status,
                   bool json, struct slice body)
{
    struct reply *r = reply_find(c, ref);
    struct buf b = BUF_INIT;
    struct slice code;

    if (!r)
        return;
    if (status != PUBLISHED_OK) {
        code = refusal_code(status, &body);
        ws_error(c, ref_of(r), code, body);
    } else if (json || report_to_json(&b, body) < 0) {
        ws_error(c, ref_of(r), SLICE("router.answer"),
                    SLICE("the router's answer makes no sense"));
    } else {
        reply_presence(c, r, buf_slice(&b));
    }
    buf_fini(&b);
    reply_done(c, r);
}
