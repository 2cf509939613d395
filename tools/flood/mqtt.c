#include "tools/flood/mqtt.h"

#include "base/err.h"

/* The first byte of a packet: its kind, and bits that the kind wants. */
enum { CONNECT = 0x10, CONNACK = 0x20, PUBLISH = 0x30, PUBACK = 0x40,
       SUBSCRIBE = 0x82, SUBACK = 0x90, KINDS = 0xf0, QOS = 0x06,
       QOS_1 = 0x02, SUBACK_NO = 0x80, LENGTH_BYTES = 4 };

/* ---- saying ---------------------------------------------------------------- */

static void add_head(struct buf *out, uint8_t first, size_t len)
{
    buf_add_byte(out, first);
    do {
        buf_add_byte(out, (uint8_t)((len & 0x7f) | (len > 0x7f ? 0x80 : 0)));
        len >>= 7;
    } while (len);
}

static void add_u16(struct buf *out, size_t n)
{
    buf_add_byte(out, (uint8_t)(n >> 8));
    buf_add_byte(out, (uint8_t)n);
}

static void add_text(struct buf *out, struct slice text)
{
    add_u16(out, text.len);
    buf_add(out, text);
}

void mqtt_add_connect(struct buf *out, struct slice name)
{
    static const uint8_t level_4_clean_no_keepalive[] = { 4, 2, 0, 0 };

    add_head(out, CONNECT, 2 + 4 + sizeof level_4_clean_no_keepalive + 2
                               + name.len);
    add_text(out, SLICE("MQTT"));
    buf_add(out, slice_make(level_4_clean_no_keepalive,
                            sizeof level_4_clean_no_keepalive));
    add_text(out, name);
}

void mqtt_add_subscribe(struct buf *out, struct slice topic)
{
    add_head(out, SUBSCRIBE, 2 + 2 + topic.len + 1);
    add_u16(out, 1);
    add_text(out, topic);
    buf_add_byte(out, 0);
}

/* A number of a packet is 16 bits, and never 0. */
void mqtt_add_publish(struct buf *out, struct slice topic, struct slice body,
                      uint64_t number)
{
    add_head(out, PUBLISH | QOS_1, 2 + topic.len + 2 + body.len);
    add_text(out, topic);
    add_u16(out, (size_t)(number % UINT16_MAX + 1));
    buf_add(out, body);
}

/* ---- hearing ---------------------------------------------------------------- */

/* The packet's length without its head, which is *head bytes; *head is 0: it is
 * not all there. */
static int read_length(struct slice in, size_t *head, size_t *len)
{
    *head = *len = 0;
    for (size_t i = 0; i < LENGTH_BYTES && i + 1 < in.len; i++) {
        *len |= (size_t)(in.ptr[i + 1] & 0x7f) << 7 * i;
        if (!(in.ptr[i + 1] & 0x80)) {
            *head = i + 2;
            return 0;
        }
    }
    return in.len > LENGTH_BYTES ? ERR_BAD : 0;
}

/* What stands behind the topic, and behind the number that QoS 1 has. */
static int read_message(uint8_t first, struct slice rest, struct slice *body)
{
    size_t skip;

    if (rest.len < 2)
        return ERR_BAD;
    skip = 2 + ((size_t)rest.ptr[0] << 8 | rest.ptr[1]) + (first & QOS ? 2 : 0);
    if (skip > rest.len)
        return ERR_BAD;
    *body = slice_from(rest, skip);
    return 0;
}

static int judge(uint8_t first, struct slice rest, struct mqtt_packet *ret)
{
    *ret = (struct mqtt_packet){ .kind = MQTT_OTHER };
    switch (first & KINDS) {
    case CONNACK:
        if (rest.len != 2)
            return ERR_BAD;
        ret->kind = rest.ptr[1] ? MQTT_REFUSED : MQTT_CONNECTED;
        return 0;
    case SUBACK:
        if (rest.len != 3)
            return ERR_BAD;
        ret->kind = rest.ptr[2] & SUBACK_NO ? MQTT_REFUSED : MQTT_SUBSCRIBED;
        return 0;
    case PUBACK:
        ret->kind = MQTT_PUBLISHED;
        return 0;
    case PUBLISH:
        ret->kind = MQTT_MESSAGE;
        return read_message(first, rest, &ret->body);
    default:
        return first ? 0 : ERR_BAD;
    }
}

int mqtt_read(struct slice in, struct mqtt_packet *ret)
{
    size_t head, len;
    int rc = read_length(in, &head, &len);

    if (rc < 0)
        return rc;
    if (!head || in.len - head < len)
        return 0;
    rc = judge(in.ptr[0], slice_make(in.ptr + head, len), ret);
    return rc < 0 ? rc : (int)(head + len);
}
