#include "tools/flood/mqtt.h"

#include "base/err.h"
#include "tests/t/t.h"

static void expect_bytes(struct buf *b, struct slice want)
{
    EXPECT(slice_eq(buf_slice(b), want));
    buf_reset(b);
}

static enum mqtt_kind kind_of(struct slice in)
{
    struct mqtt_packet p = { .kind = MQTT_OTHER };

    EXPECT_INT(mqtt_read(in, &p), (int)in.len);
    return p.kind;
}

TEST(what_a_client_says)
{
    struct buf b = BUF_INIT;

    mqtt_add_connect(&b, SLICE("f1"));
    expect_bytes(&b, SLICE("\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02" "f1"));
    mqtt_add_subscribe(&b, SLICE("a/1"));
    expect_bytes(&b, SLICE("\x82\x08\0\x01\0\x03" "a/1\0"));
    mqtt_add_publish(&b, SLICE("a/1"), SLICE("hello"), 0);
    expect_bytes(&b, SLICE("\x32\x0c\0\x03" "a/1\0\x01" "hello"));
    buf_fini(&b);
}

TEST(a_packets_number_is_never_0)
{
    struct buf b = BUF_INIT;

    for (uint64_t n = UINT16_MAX - 2; n < UINT16_MAX + 2; n++) {
        mqtt_add_publish(&b, SLICE("a"), SLICE(""), n);
        EXPECT(b.ptr[5] || b.ptr[6]);
        buf_reset(&b);
    }
    buf_fini(&b);
}

TEST(what_a_server_answers)
{
    EXPECT_INT(kind_of(SLICE("\x20\x02\x00\x00")), MQTT_CONNECTED);
    EXPECT_INT(kind_of(SLICE("\x20\x02\x00\x05")), MQTT_REFUSED);
    EXPECT_INT(kind_of(SLICE("\x90\x03\x00\x01\x00")), MQTT_SUBSCRIBED);
    EXPECT_INT(kind_of(SLICE("\x90\x03\x00\x01\x80")), MQTT_REFUSED);
    EXPECT_INT(kind_of(SLICE("\x40\x02\x00\x01")), MQTT_PUBLISHED);
    EXPECT_INT(kind_of(SLICE("\xd0\x00")), MQTT_OTHER);
}

static void expect_message(size_t size)
{
    struct buf b = BUF_INIT, body = BUF_INIT;
    struct mqtt_packet p;

    while (body.len < size)
        buf_add_byte(&body, 'x');
    mqtt_add_publish(&b, SLICE("a/1"), buf_slice(&body), 7);
    for (size_t n = 0; n < b.len; n += b.len > 1000 ? 997 : 1)
        EXPECT_INT(mqtt_read(slice_head(buf_slice(&b), n), &p), 0);
    EXPECT_INT(mqtt_read(buf_slice(&b), &p), (int)b.len);
    EXPECT_INT(p.kind, MQTT_MESSAGE);
    EXPECT(slice_eq(p.body, buf_slice(&body)));
    buf_fini(&b);
    buf_fini(&body);
}

TEST(a_message_of_any_size_is_read_when_it_is_whole)
{
    struct mqtt_packet p;

    expect_message(0);
    expect_message(100);
    expect_message(128);
    expect_message(20000);
    expect_message(3000000);
    EXPECT_INT(mqtt_read(SLICE("\x30\x07\0\x03" "a/1ho...."), &p), 9);
    EXPECT(slice_eq(p.body, SLICE("ho"))); /* QoS 0 has no number */
}

TEST(what_is_no_packet_is_refused)
{
    struct mqtt_packet p;

    EXPECT_INT(mqtt_read(SLICE("\x30\xff\xff\xff\xff\x01"), &p), ERR_BAD);
    EXPECT_INT(mqtt_read(SLICE("\x30\x03\x00\x09\x61"), &p), ERR_BAD);
    EXPECT_INT(mqtt_read(SLICE("\x30\x01\x00"), &p), ERR_BAD);
    EXPECT_INT(mqtt_read(SLICE("\x20\x00"), &p), ERR_BAD);
    EXPECT_INT(mqtt_read(SLICE("\x90\x02\x00\x01"), &p), ERR_BAD);
    EXPECT_INT(mqtt_read(SLICE("\x00\x00"), &p), ERR_BAD);
}
