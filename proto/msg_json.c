#include "proto/msg_json.h"

#include "proto/json.h"

static void write_optional(struct buf *out, const char *key,
                           struct slice text)
{
    if (!text.len)
        return;
    json_put_key(out, key);
    json_put_string(out, text);
}

void msg_json_write_base64(struct buf *out, struct slice bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = (bytes.len + 2) / 3 * 4;
    uint8_t *to = buf_reserve(out, len);

    if (!to)
        return;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = MIN(bytes.len - i, (size_t)3);
        uint32_t v = (uint32_t)bytes.ptr[i] << 16;

        v |= n > 1 ? (uint32_t)bytes.ptr[i + 1] << 8 : 0;
        v |= n > 2 ? bytes.ptr[i + 2] : 0;
        *to++ = (uint8_t)digits[v >> 18];
        *to++ = (uint8_t)digits[v >> 12 & 63];
        *to++ = (uint8_t)(n > 1 ? digits[v >> 6 & 63] : '=');
        *to++ = (uint8_t)(n > 2 ? digits[v & 63] : '=');
    }
    out->len += len;
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
        msg_json_write_base64(out, data);
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
    buf_addf(out, ",\"ts\":%lld", (long long)m->ts_ms);
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
