#include "proto/msg_json.h"

#include "proto/base64.h"
#include "proto/json.h"

static void write_optional(struct buf *out, const char *key,
                           struct slice text)
{
    if (!text.len)
        return;
    json_put_key(out, key);
    json_put_string(out, text);
}

static void write_time(struct buf *out, int64_t ms)
{
    if (ms < 0)
        buf_add_byte(out, '-');
    buf_add_u64(out, ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms);
}

void msg_json_write_data(struct buf *out, uint8_t format, struct slice data)
{
    switch (format) {
    case MSG_JSON:
        json_one_line(out, data);
        break;
    case MSG_TEXT:
        json_put_string(out, data);
        break;
    default:
        buf_add_str(out, "{\"base64\":\"");
        base64_add(out, data);
        buf_add_str(out, "\"}");
    }
}

void msg_json_write_head(struct buf *out, const struct epoch *epoch,
                            const struct msg_parts *m)
{
    buf_add_str(out, "\"channel\":");
    json_put_string(out, m->id);
    buf_add_str(out, ",\"epoch\":");
    json_put_string(out, slice_str(epoch->text));
    buf_add_str(out, ",\"seq\":");
    buf_add_u64(out, m->seq);
    buf_add_str(out, ",\"offset\":");
    buf_add_u64(out, m->offset);
    buf_add_str(out, ",\"ts\":");
    write_time(out, m->ts_ms);
    write_optional(out, "from", m->from);
    write_optional(out, "kind", m->kind);
    write_optional(out, "key", m->key);
}

void msg_json_write(struct buf *out, const struct epoch *epoch,
                    const struct msg_parts *m)
{
    buf_add_byte(out, '{');
    msg_json_write_head(out, epoch, m);
    buf_add_str(out, ",\"data\":");
    msg_json_write_data(out, m->format, m->data);
    buf_add_byte(out, '}');
}
