/* WebSockets with permessage-deflate: what is compressed, once for all; what
 * is taken, and what is refused. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "gateways/common/stats.h"
#include "gateways/ws/socket.h"
#include "gateways/ws/ws.h"
#include "gateways/ws/wsdeflate.h"
#include "tests/gateways/ws_peer.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

#define OFFER "Sec-WebSocket-Extensions: permessage-deflate"

static const char *const on[] = { "ws.deflate=on", NULL };
static struct fake *f;
static struct wsdeflate *codec; /* the client's */
static struct buf packed, payload;

static void begin(const char *const *sets)
{
    clock_fake(100 * SECOND, 0);
    peer_unpacks = true;
    f = fake_new(&ws_edge, sets);
    codec = wsdeflate_new();
    EXPECT(codec != NULL);
}

static void end(void)
{
    fake_free(f);
    wsdeflate_free(codec);
    buf_fini(&packed);
    buf_fini(&payload);
    clock_real();
}

/* A client with one more line in its handshake; the answer stays in its out. */
static struct conn *join(const char *target, const char *line)
{
    struct conn *c = fake_connect(f);
    const struct fake_call *k;
    struct buf b = BUF_INIT;

    peer_handshake_with(&b, target, line);
    fake_send(c, buf_slice(&b));
    buf_fini(&b);
    k = fake_next_call(f);
    if (k) {
        ws_edge.subscribed(c, k->ref);
        ws_edge.started(c, k->ref);
        fake_turn(f);
    }
    return c;
}

static struct conn *join_raw(const char *line)
{
    struct conn *c = join("/v1/raw?channel=a&publish=b", line);

    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 101 ");
    fake_forget_out(c);
    return c;
}

static void send_frame(struct conn *c, uint8_t first, struct slice bytes)
{
    struct buf b = BUF_INIT;

    peer_frame(&b, first, bytes);
    fake_send(c, buf_slice(&b));
    buf_fini(&b);
}

/* A text that shrinks. */
static struct slice text_of(size_t len)
{
    buf_reset(&payload);
    for (unsigned n = 0; payload.len < len; n++)
        buf_addf(&payload, "goal %u of Luna, ", n);
    buf_truncate(&payload, len);
    return buf_slice(&payload);
}

static struct slice pack(struct slice text)
{
    buf_reset(&packed);
    EXPECT(wsdeflate_pack(codec, text, &packed));
    return buf_slice(&packed);
}

static struct msg *message(struct slice text, enum msg_format format)
{
    struct msg_parts p = { .format = (uint8_t)format, .seq = 1, .offset = 1,
                           .id = SLICE("a"), .data = text };
    struct msg *m;

    EXPECT_OK(msg_new(&m, &p));
    return m;
}

/* The one frame that has come; *compressed: was it? Its payload as it was. */
static struct slice got(struct conn *c, bool *compressed, uint8_t *op)
{
    static struct buf out;
    struct slice in = fake_out(c);
    struct peer_in p;

    EXPECT(peer_next(&in, &p));
    EXPECT(p.fin);
    EXPECT_INT(in.len, 0);
    buf_reset(&out);
    if (p.compressed)
        EXPECT_INT(wsdeflate_unpack(codec, p.payload, 1 * MIB, &out),
                   UNPACKED);
    else
        buf_add(&out, p.payload);
    fake_forget_out(c);
    *compressed = p.compressed;
    *op = p.op;
    return buf_slice(&out);
}

static void expect_got(struct conn *c, struct slice want, uint8_t op,
                       bool compressed)
{
    struct slice have;
    uint8_t op_got;
    bool was;

    have = got(c, &was, &op_got);
    EXPECT_SLICE(have, want);
    EXPECT_INT(op_got, op);
    EXPECT_INT(was, compressed);
}

static unsigned close_code(struct conn *c)
{
    struct slice in = fake_out(c);
    struct peer_in p;

    do
        EXPECT(peer_next(&in, &p));
    while (p.op != 8);
    EXPECT(p.payload.len >= 2);
    return p.payload.ptr[0] * 256u + p.payload.ptr[1];
}

/* ---- agreed, or not ------------------------------------------------------ */

TEST(an_offer_is_answered_when_the_option_is_on)
{
    struct conn *c;

    begin(on);
    c = join("/v1/ws", OFFER "; client_max_window_bits");
    EXPECT_CONTAINS(fake_text(c), "\r\n" OFFER "; server_no_context_takeover; "
                    "client_no_context_takeover\r\n\r\n");
    EXPECT(strstr(fake_text(join("/v1/ws", "A: b")), "Extensions") == NULL);
    c = join("/v1/raw?channel=a", OFFER "; server_max_window_bits=10");
    EXPECT_CONTAINS(fake_text(c), "; server_max_window_bits=10\r\n\r\n");
    c = join("/v1/ws", OFFER "; no_such_thing");
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 101 ");
    EXPECT(strstr(fake_text(c), "Extensions") == NULL);
    c = join("/v1/ws", OFFER ";;");
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 400 ");
    EXPECT_CONTAINS(fake_text(c), "\"handshake.extensions\"");
    end();
}

TEST(as_shipped_no_offer_is_answered)
{
    struct conn *c;

    begin(NULL);
    c = join("/v1/ws", OFFER);
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 101 ");
    EXPECT(strstr(fake_text(c), "Extensions") == NULL);
    EXPECT_CONTAINS(fake_text(join("/v1/ws", OFFER ";;")), "HTTP/1.1 101 ");
    end();
}

/* ---- out ----------------------------------------------------------------- */

TEST(a_message_is_compressed_once_for_all_who_take_it_so)
{
    struct conn *plain, *many[5];
    struct slice text;
    struct msg *m;

    begin(on);
    text = text_of(3000);
    m = message(text, MSG_TEXT);
    for (unsigned i = 0; i < ARRAY_LEN(many); i++)
        many[i] = join_raw(OFFER);
    plain = join_raw("A: b");
    for (unsigned i = 0; i < ARRAY_LEN(many); i++) {
        fake_put(many[i], m);
        EXPECT(fake_out(many[i]).len < 1000);
        expect_got(many[i], text, 1, true);
        if (i == 2) {
            fake_put(plain, m);
            expect_got(plain, text, 1, false);
        }
    }
    EXPECT_INT(fake_stat(f, STAT_DEFLATED), 1);
    EXPECT_INT(fake_stat(f, STAT_DEFLATE_BEFORE), 3000);
    EXPECT_INT(fake_stat(f, STAT_DEFLATE_AFTER),
               m->forms[WS_FORMS + FORM_RAW]->len - 4);
    msg_drop(m);
    end();
}

TEST(a_message_that_does_not_shrink_has_one_form)
{
    uint8_t noise[500];
    struct conn *c;
    struct msg *m;

    begin(on);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)test_random();
    c = join_raw(OFFER);
    m = message(slice_make(noise, sizeof noise), MSG_BYTES);
    fake_put(c, m);
    expect_got(c, slice_make(noise, sizeof noise), 2, false);
    EXPECT(m->forms[FORM_RAW] == m->forms[WS_FORMS + FORM_RAW]);
    msg_drop(m);
    m = message(SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), MSG_TEXT);
    fake_put(c, m);
    expect_got(c, m->data, 1, false);
    EXPECT_INT(fake_stat(f, STAT_DEFLATED), 0);
    EXPECT_INT(fake_stat(f, STAT_DEFLATE_PLAIN), 2);
    msg_drop(m);
    end();
}

TEST(a_client_of_a_narrow_window_gets_longer_messages_plain)
{
    struct conn *narrow, *wide, *enough;
    struct msg *m;

    begin(on);
    narrow = join_raw(OFFER "; server_max_window_bits=9");
    enough = join_raw(OFFER "; server_max_window_bits=12");
    wide = join_raw(OFFER);
    for (size_t len = 300; len <= 6000; len += 300) {
        struct slice text = text_of(len);

        m = message(text, MSG_TEXT);
        fake_put(narrow, m);
        fake_put(enough, m);
        fake_put(wide, m);
        expect_got(narrow, text, 1, len + 4 <= 512);
        expect_got(enough, text, 1, true);
        expect_got(wide, text, 1, true);
        msg_drop(m);
    }
    end();
}

TEST(commands_get_messages_compressed_and_all_else_plain)
{
    struct conn *c;
    struct slice text;
    struct msg *m;
    bool compressed;
    uint8_t op;

    begin(on);
    c = join("/v1/ws", OFFER);
    fake_forget_out(c);
    text = text_of(1000);
    m = message(text, MSG_TEXT);
    fake_put(c, m);
    EXPECT(slice_starts(got(c, &compressed, &op), SLICE("{\"channel\":")));
    EXPECT(compressed);
    fake_put_flags(c, m, PUT_REPLAY);
    text = got(c, &compressed, &op);
    EXPECT(compressed);
    EXPECT(memmem(text.ptr, text.len, "\"replay\":true", 13) != NULL);
    msg_drop(m);
    fake_notice(c, NOTICE_SNAPSHOT, "a", "e1-7");
    fake_turn(f);
    (void)got(c, &compressed, &op);
    EXPECT(!compressed);
    end();
}

TEST(without_memory_for_it_a_message_is_not_sent_in_part)
{
    struct slice text;
    struct msg *m;

    begin(on);
    text = text_of(2000);
    for (long n = 0;; n++) {
        struct conn *c = join_raw(OFFER);

        m = message(text, MSG_TEXT);
        test_fail_malloc_after(n);
        fake_put(c, m);
        if (!test_malloc_failed()) {
            expect_got(c, text, 1, true);
            msg_drop(m);
            break;
        }
        if (!fake_is_closed(c)) { /* it went plain */
            expect_got(c, text, 1, false);
        }
        msg_drop(m);
        EXPECT(n < 20);
    }
    end();
}

/* ---- in ------------------------------------------------------------------ */

static void expect_published(struct slice want, enum msg_format format)
{
    const struct fake_call *k = fake_next_call(f);

    EXPECT(k && k->kind == FAKE_PUBLISH);
    EXPECT_SLICE(slice_make(k->data, k->data_len), want);
    EXPECT_INT(k->format, format);
}

TEST(a_compressed_message_is_taken_whole_or_in_fragments)
{
    struct slice text, p;
    struct conn *c;

    begin(on);
    c = join_raw(OFFER);
    text = text_of(5000);
    p = pack(text);
    send_frame(c, 0xc1, p);
    expect_published(text, MSG_TEXT);
    send_frame(c, 0xc2, p);
    expect_published(text, MSG_BYTES);
    for (size_t cut = 0; cut <= p.len; cut += 50) {
        send_frame(c, 0x41, slice_head(p, cut));
        send_frame(c, 0x89, SLICE("hm?"));
        send_frame(c, 0x00, SLICE(""));
        send_frame(c, 0x80, slice_from(p, cut));
        expect_published(text, MSG_TEXT);
    }
    send_frame(c, 0x81, SLICE("a plain one between"));
    expect_published(SLICE("a plain one between"), MSG_TEXT);
    send_frame(c, 0xc1, SLICE("\x00"));
    expect_published(SLICE(""), MSG_TEXT);
    send_frame(c, 0xc2, SLICE(""));
    expect_published(SLICE(""), MSG_BYTES);
    EXPECT(!fake_is_closed(c));
    EXPECT(ws_of(c)->reader == NULL); /* idle: nothing of it is kept */
    end();
}

static void expect_refused(const char *line, uint8_t first, struct slice bytes,
                           unsigned code)
{
    struct conn *c = join_raw(line);

    send_frame(c, first, bytes);
    EXPECT_INT(close_code(c), code);
    EXPECT(fake_next_call(f) == NULL);
}

TEST(a_reserved_bit_that_was_not_agreed_on_is_1002)
{
    static const uint8_t first[] = { 0xa1, 0x91, 0xb1, 0xe1, 0xd1, 0xf1, 0xc9,
                                     0xca, 0xc8, 0xc0, 0x40 };

    begin(on);
    expect_refused("A: b", 0xc1, SLICE("\x00"), 1002);
    expect_refused("A: b", 0xc2, SLICE("\x00"), 1002);
    expect_refused("A: b", 0x41, SLICE("\x00"), 1002);
    for (size_t i = 0; i < sizeof first; i++)
        expect_refused(OFFER, first[i], SLICE("\x00"), 1002);
    end();
}

TEST(a_continuation_with_the_bit_is_1002)
{
    struct conn *c;

    begin(on);
    c = join_raw(OFFER);
    send_frame(c, 0x41, SLICE("\xf2\x48"));
    send_frame(c, 0xc0, SLICE("\xcd\xc9\xc9\x07\x00"));
    EXPECT_INT(close_code(c), 1002);
    end();
}

TEST(a_broken_one_is_1007)
{
    begin(on);
    expect_refused(OFFER, 0xc1, SLICE("\xf2\x48\xcd"), 1007);
    expect_refused(OFFER, 0xc1, SLICE("\xf2\x48\xcd\xc9\xc9\x07\x00\xff"),
                   1007);
    expect_refused(OFFER, 0xc2, SLICE("Hello"), 1007);
    EXPECT_INT(fake_stat(f, STAT_INFLATE_BROKEN), 3);
    EXPECT_INT(fake_counted(f, "ws.not_utf8"), 0);
    expect_refused(OFFER, 0xc1, SLICE("\x00\x02\x00\xfd\xff\xc3\x28\x00"),
                   1007);
    EXPECT_INT(fake_stat(f, STAT_INFLATE_BROKEN), 3);
    EXPECT_INT(fake_counted(f, "ws.not_utf8"), 1);
    end();
}

TEST(a_bomb_is_1009)
{
    static const char *const sets[] = { "ws.deflate=on", "limits.message=1M",
                                        NULL };
    static uint8_t zeros[1 * MIB];

    begin(on);
    expect_refused(OFFER, 0xc2, pack(slice_make(zeros, sizeof zeros)), 1009);
    EXPECT_INT(fake_stat(f, STAT_INFLATE_TOO_BIG), 1);
    EXPECT_INT(fake_limited(f, LIMIT_MESSAGE), 1);
    expect_refused(OFFER, 0xc2, pack(slice_make(zeros, 65537)), 1009);
    end();
    begin(sets);
    expect_refused(OFFER, 0xc2, pack(slice_make(zeros, 65537)), 1009);
    EXPECT_INT(fake_stat(f, STAT_INFLATE_TOO_MUCH), 1);
    end();
}

/* On /v1/ws the bound is six times the limit and 4 KiB, on what comes out. */
TEST(commands_may_be_compressed_and_have_a_bound_of_their_own)
{
    static const char *const sets[] = { "ws.deflate=on", "limits.message=1K",
                                        NULL };
    struct buf b = BUF_INIT;
    struct conn *c;

    begin(sets);
    c = join("/v1/ws", OFFER);
    fake_forget_out(c);
    buf_addf(&b, "{\"cmd\":\"publish\",\"channel\":\"a\",\"data\":%*d}", 900,
             7);
    send_frame(c, 0xc1, pack(buf_slice(&b)));
    EXPECT_INT(fake_next_call(f)->kind, FAKE_PUBLISH);
    buf_reset(&b);
    buf_addf(&b, "{\"cmd\":\"ping\"}%*s", 6 * 1024 + 4096 - 14, "");
    EXPECT_INT(b.len, 6 * 1024 + 4096);
    send_frame(c, 0xc1, pack(buf_slice(&b)));
    EXPECT_CONTAINS(fake_text(c), "\"ok\":true");
    buf_add_byte(&b, ' ');
    send_frame(c, 0xc1, pack(buf_slice(&b)));
    fake_pass(f, 2000);
    EXPECT_INT(close_code(c), 1009);
    buf_fini(&b);
    end();
}

TEST(what_is_declared_too_long_is_not_waited_for)
{
    struct conn *c;
    struct buf b = BUF_INIT;

    begin(on);
    c = join_raw(OFFER);
    peer_header(&b, 0xc2, wsdeflate_most(65536) + 1);
    fake_send(c, buf_slice(&b));
    EXPECT_INT(close_code(c), 1009);
    c = join_raw(OFFER);
    buf_reset(&b);
    peer_header(&b, 0xc2, wsdeflate_most(65536));
    fake_send(c, buf_slice(&b));
    EXPECT_INT(fake_out(c).len, 0);
    c = join_raw(OFFER);
    buf_reset(&b);
    peer_header(&b, 0x82, 65537); /* plain: the bound is what it was */
    fake_send(c, buf_slice(&b));
    EXPECT_INT(close_code(c), 1009);
    buf_fini(&b);
    end();
}
