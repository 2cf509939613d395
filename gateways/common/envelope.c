#include "gateways/common/envelope.h"

#include "proto/json.h"
#include "proto/msg_json.h"

enum { ENVELOPE_ROOM = 160 }; /* of most, besides channel and data */

static const char *const gap_words[] = {
    [GAP_TRIMMED] = "trimmed",     [GAP_EPOCH] = "epoch",
    [GAP_FUTURE] = "future",       [GAP_SLOW] = "slow",
    [GAP_CONFLATED] = "conflated", [GAP_DAMAGED] = "damaged",
    [GAP_VOLATILE] = "volatile",
};

static const char *const notice_words[] = {
    [NOTICE_SNAPSHOT] = "snapshot", [NOTICE_RESUMED] = "resumed",
    [NOTICE_GAP] = "gap",           [NOTICE_JOIN] = "join",
    [NOTICE_LEAVE] = "leave",       [NOTICE_CLOSING] = "closing",
};

const char *gap_why_text(enum gap_why why)
{
    return gap_words[why];
}

const char *notice_text(enum notice_kind kind)
{
    return notice_words[kind];
}

void envelope_data(struct buf *b, enum msg_format format, struct slice data)
{
    msg_json_write_data(b, (uint8_t)format, data);
}

static void put_string(struct buf *b, const char *key, struct slice value)
{
    buf_add_str(b, key);
    json_put_string(b, value);
}

static void put_number(struct buf *b, const char *key, uint64_t value)
{
    buf_add_str(b, key);
    buf_add_u64(b, value);
}

void envelope_message(struct buf *b, const struct msg *m,
                      const struct epoch *epoch, unsigned flags)
{
    struct msg_parts parts = {
        .format = m->format,
        .seq = m->seq,
        .offset = m->offset,
        .ts_ms = m->ts_ms,
        .id = m->id,
        .from = m->from,
        .kind = m->kind,
        .key = m->key,
        .data = m->data,
    };

    (void)buf_reserve(b, ENVELOPE_ROOM + m->id.len + m->data.len);
    buf_add_byte(b, '{');
    msg_json_write_head(b, epoch, &parts);
    if (flags & PUT_REPLAY)
        buf_add_str(b, ",\"replay\":true");
    buf_add_str(b, ",\"data\":");
    msg_json_write_data(b, m->format, m->data);
    buf_add_byte(b, '}');
}

static void put_channels(struct buf *b, const struct notice *n)
{
    if (n->count == 0)
        return;
    if (n->count == 1) {
        put_string(b, ",\"channel\":", n->channels[0]);
        return;
    }
    buf_add_str(b, ",\"channels\":[");
    for (unsigned i = 0; i < n->count; i++) {
        if (i)
            buf_add_byte(b, ',');
        json_put_string(b, n->channels[i]);
    }
    buf_add_byte(b, ']');
}

static void put_or_null(struct buf *b, const char *key, uint64_t value)
{
    if (value) {
        put_number(b, key, value);
        return;
    }
    buf_add_str(b, key);
    buf_add_str(b, "null");
}

/* The fields of a join's or leave's object, among those of the notice. */
static void put_fields(struct buf *b, struct slice object)
{
    if (object.len <= 2 || object.ptr[0] != '{')
        return;
    buf_add_byte(b, ',');
    json_one_line(b, slice_make(object.ptr + 1, object.len - 2));
}

struct notice notice_of_hole(const struct frame_hole *h)
{
    return (struct notice){
        .kind = NOTICE_GAP,
        .channels = &h->id,
        .count = 1,
        .why = h->why == HOLE_DAMAGED ? GAP_DAMAGED : GAP_TRIMMED,
        .from = h->from,
        .to = h->to,
        .missed = h->from && h->to ? h->to - h->from + 1 : 0,
    };
}

void envelope_notice(struct buf *b, const struct notice *n)
{
    put_string(b, "{\"notice\":", slice_str(notice_text(n->kind)));
    put_channels(b, n);
    if (n->cursor.len)
        put_string(b, ",\"cursor\":", n->cursor);
    switch (n->kind) {
    case NOTICE_SNAPSHOT:
        buf_add_str(b, ",\"state\":");
        if (n->state.len)
            json_one_line(b, n->state);
        else
            buf_add_str(b, "null");
        break;
    case NOTICE_GAP:
        put_or_null(b, ",\"from\":", n->from);
        put_or_null(b, ",\"to\":", n->to);
        put_or_null(b, ",\"count\":", n->missed);
        put_string(b, ",\"why\":", slice_str(gap_why_text(n->why)));
        break;
    case NOTICE_JOIN:
    case NOTICE_LEAVE:
        put_fields(b, n->state);
        break;
    case NOTICE_CLOSING:
        if (n->text)
            put_string(b, ",\"why\":", slice_str(n->text));
        if (n->retry_ms)
            put_number(b, ",\"retry_ms\":", n->retry_ms);
        break;
    case NOTICE_RESUMED:
        break;
    }
    buf_add_byte(b, '}');
}

void envelope_error(struct buf *b, struct slice code, struct slice text)
{
    envelope_error_until(b, code, text, 0);
}

void envelope_error_until(struct buf *b, struct slice code, struct slice text,
                          uint32_t retry_ms)
{
    put_string(b, "{\"code\":", code);
    put_string(b, ",\"text\":", text);
    if (retry_ms)
        put_number(b, ",\"retry_ms\":", retry_ms);
    buf_add_byte(b, '}');
}

void envelope_published(struct buf *b, const struct published *p,
                        const struct epoch *epoch)
{
    put_string(b, "\"channel\":", p->channel);
    put_string(b, ",\"epoch\":",
               p->epoch.len ? p->epoch : slice_str(epoch->text));
    put_number(b, ",\"seq\":", p->seq);
    put_number(b, ",\"offset\":", p->offset);
    put_number(b, ",\"reached\":", p->reached);
    if (p->status == PUBLISHED_DUPLICATE)
        buf_add_str(b, ",\"duplicate\":true");
}
