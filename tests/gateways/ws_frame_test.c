#include "gateways/ws/wsframe.h"

#include <stdio.h>
#include <string.h>

#include "tests/gateways/ws_peer.h"
#include "tests/t/t.h"

static const struct wsframe_limits limits = { .message = 100000,
                                              .fragments = 4 };

/* What the reader makes of the bytes, fed `step` at a time, in words:
 * "text:hello ping:x fail:1002 ". */
static const char *read_in(struct slice in, size_t step)
{
    static struct buf out;
    struct wsreader r = { .len = 0 };
    bool failed = false;

    buf_reset(&out);
    while (in.len && !failed) {
        struct slice piece = slice_head(in, step);

        in = slice_from(in, step);
        while (piece.len && !failed) {
            struct wsframe f;

            wsframe_next(&r, &piece, &limits, &f);
            failed = f.event == WS_FAILED;
            if (failed)
                buf_addf(&out, "fail:%u ", f.code);
            else if (f.event == WS_CONTROL && f.op == WS_CLOSE)
                buf_addf(&out, "close:%u:" SLICE_FMT " ", f.code,
                         SLICE_ARG(f.payload));
            else if (f.event != WS_MORE)
                buf_addf(&out, "%s:" SLICE_FMT " ",
                         f.op == WS_TEXT ? "text" : f.op == WS_BINARY ? "bin"
                         : f.op == WS_PING ? "ping" : "pong",
                         SLICE_ARG(f.payload));
        }
    }
    wsreader_fini(&r);
    return buf_text(&out);
}

static void expect_read(struct slice in, const char *want)
{
    for (size_t step = 1; step <= in.len; step++)
        EXPECT_STR(read_in(in, step), want);
}

static struct buf in;

static void begin(void)
{
    buf_reset(&in);
}

static void frame(uint8_t first, const char *payload)
{
    peer_frame(&in, first, slice_str(payload));
}

static void expect(const char *want)
{
    expect_read(buf_slice(&in), want);
    buf_reset(&in);
}

TEST(messages_come_out_as_they_went_in)
{
    begin();
    frame(0x81, "hello");
    frame(0x82, "bytes");
    frame(0x81, "");
    expect("text:hello bin:bytes text: ");
}

TEST(fragments_become_one_message_with_control_frames_between)
{
    begin();
    frame(0x01, "one ");
    frame(0x89, "are you there?");
    frame(0x00, "");
    frame(0x8a, "");
    frame(0x80, "two");
    frame(0x81, "x");
    expect("ping:are you there? pong: text:one two text:x ");
}

TEST(lengths_of_every_form_are_read)
{
    static const size_t lengths[] = { 125, 126, 127, 65535, 65536 };
    static uint8_t bytes[65536];

    memset(bytes, 'a', sizeof bytes);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct wsreader r = { .len = 0 };
        struct wsframe f;
        struct slice left;

        begin();
        peer_frame(&in, 0x82, slice_make(bytes, lengths[i]));
        left = buf_slice(&in);
        wsframe_next(&r, &left, &limits, &f);
        EXPECT_INT(f.event, WS_MESSAGE);
        EXPECT_SLICE(f.payload, slice_make(bytes, lengths[i]));
        wsreader_fini(&r);
    }
}

TEST(what_must_not_be_is_1002)
{
    static const uint8_t bad_first[] = { 0xc1, 0xa1, 0x91, 0x83, 0x87, 0x8b,
                                         0x8f, 0x09, 0x08, 0x80, 0x00 };

    for (size_t i = 0; i < sizeof bad_first; i++) {
        begin();
        frame(bad_first[i], "");
        expect("fail:1002 ");
    }
    begin();
    frame(0x01, "a");
    frame(0x81, "b");
    expect("fail:1002 ");
    expect_read(SLICE("\x81\x01" "a"), "fail:1002 "); /* not masked */
}

TEST(a_bad_first_byte_fails_before_the_second_has_come)
{
    EXPECT_STR(read_in(SLICE("\xc1"), 1), "fail:1002 ");
    EXPECT_STR(read_in(SLICE("\x81\x05"), 1), "fail:1002 ");
}

TEST(a_control_frame_has_at_most_125_bytes)
{
    expect_read(SLICE("\x89\xfe\x00\x7e" "mask"), "fail:1002 ");
}

TEST(lengths_must_be_short_and_positive)
{
    expect_read(SLICE("\x82\xfe\x00\x7d" "mask"), "fail:1002 ");
    expect_read(SLICE("\x82\xff\0\0\0\0\0\0\xff\xff" "mask"), "fail:1002 ");
    expect_read(SLICE("\x82\xff\x80\0\0\0\0\x01\0\0" "mask"), "fail:1002 ");
}

TEST(a_length_over_the_limit_is_1009_before_the_payload)
{
    expect_read(SLICE("\x82\xff\0\0\0\0\0\x01\x86\xa1"), "fail:1009 ");
    expect_read(SLICE("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"),
                "fail:1009 ");
}

TEST(fragments_count_together_against_the_limit)
{
    static uint8_t bytes[60000];
    struct wsreader r = { .len = 0 };
    struct wsframe f;
    struct slice left;

    begin();
    peer_frame(&in, 0x02, slice_make(bytes, sizeof bytes));
    peer_header(&in, 0x80, sizeof bytes);
    left = buf_slice(&in);
    wsframe_next(&r, &left, &limits, &f);
    EXPECT_INT(f.event, WS_FAILED);
    EXPECT_INT(f.code, WS_TOO_BIG);
    wsreader_fini(&r);
}

TEST(more_fragments_than_the_limit_are_1008)
{
    begin();
    frame(0x01, "a");
    frame(0x00, "b");
    frame(0x00, "c");
    frame(0x80, "d");
    expect("text:abcd ");
    frame(0x01, "a");
    frame(0x00, "");
    frame(0x00, "");
    frame(0x00, "");
    frame(0x80, "");
    expect("fail:1008 ");
}

TEST(text_that_cannot_become_utf8_fails_within_its_frame)
{
    begin();
    peer_header(&in, 0x01, 1000);
    peer_data(&in, SLICE("ok \xf4\x90"), 0);
    expect("fail:1007 ");
    frame(0x81, "\xce");
    expect("fail:1007 ");
    frame(0x01, "\xce");
    frame(0x80, "\xba");
    expect("text:\xce\xba ");
    frame(0x82, "\xff\xfe");
    expect("bin:\xff\xfe ");
}

/* ---- the conformance cases, as text frames ------------------------------ */

static size_t from_hex(struct slice hex, uint8_t *out)
{
    size_t n = 0;

    for (size_t i = 0; i + 1 < hex.len; i += hex.ptr[i] == ' ' ? 1 : 2) {
        char pair[3] = { (char)hex.ptr[i], (char)hex.ptr[i + 1], 0 };

        if (pair[0] != ' ')
            out[n++] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return n;
}

/* Whole, in two fragments cut anywhere, and each way a byte at a time. */
static void expect_text(struct slice text, bool valid)
{
    for (size_t cut = 0; cut <= text.len; cut++) {
        const char *want = "fail:1007 ";
        struct buf good = BUF_INIT;

        buf_addf(&good, "text:" SLICE_FMT " ", SLICE_ARG(text));
        if (valid)
            want = buf_text(&good);
        begin();
        peer_frame(&in, 0x01, slice_head(text, cut));
        peer_frame(&in, 0x80, slice_from(text, cut));
        EXPECT_STR(read_in(buf_slice(&in), in.len), want);
        EXPECT_STR(read_in(buf_slice(&in), 1), want);
        begin();
        peer_frame(&in, 0x81, text);
        EXPECT_STR(read_in(buf_slice(&in), in.len), want);
        EXPECT_STR(read_in(buf_slice(&in), cut + 1), want);
        buf_fini(&good);
    }
}

/* num:valid:ASCII, num:valid hex:BYTES or num:invalid hex:BYTES:more. */
TEST(the_utf8_cases_get_their_verdicts_however_they_are_cut)
{
    size_t len, cases = 0;
    char *file = test_data("conformance/utf8-cases.txt", &len);
    struct slice left = slice_make(file, len);

    while (left.ptr) {
        struct slice line = slice_trim(slice_split(&left, '\n'));
        struct slice name = slice_split(&line, ':');
        struct slice kind = slice_trim(slice_split(&line, ':'));
        struct slice data = slice_split(&line, ':');
        uint8_t bytes[4096];

        if (!name.len || name.ptr[0] == '#')
            continue;
        if (slice_ends(kind, SLICE(" hex")))
            data = slice_make(bytes, from_hex(data, bytes));
        expect_text(data, slice_starts(kind, SLICE("valid")));
        cases++;
    }
    EXPECT(cases >= 216);
    free(file);
}

TEST(close_codes_are_those_that_may_be_sent)
{
    static const unsigned good[] = { 1000, 1001, 1002, 1003, 1007, 1008, 1009,
                                     1010, 1011, 3000, 3999, 4000, 4999 };
    static const unsigned bad[] = { 1, 999, 1004, 1005, 1006, 1012, 1014,
                                    1015, 1016, 1100, 2999, 5000, 65535 };
    char want[32];

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        begin();
        peer_close(&in, good[i], SLICE("bye"));
        snprintf(want, sizeof want, "close:%u:bye ", good[i]);
        expect(want);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        begin();
        peer_close(&in, bad[i], SLICE(""));
        expect("fail:1002 ");
    }
    begin();
    peer_close(&in, 0, SLICE(""));
    expect("close:1005: ");
    frame(0x88, "x");
    expect("fail:1002 ");
    peer_close(&in, 1000, SLICE("\xff"));
    expect("fail:1007 ");
}

TEST(headers_of_the_server_are_the_shortest)
{
    uint8_t h[WS_HEADER_MAX];

    EXPECT_SLICE(slice_make(h, wsframe_header(h, WS_TEXT, 125)),
                 SLICE("\x81\x7d"));
    EXPECT_SLICE(slice_make(h, wsframe_header(h, WS_BINARY, 126)),
                 SLICE("\x82\x7e\x00\x7e"));
    EXPECT_SLICE(slice_make(h, wsframe_header(h, WS_TEXT, 65535)),
                 SLICE("\x81\x7e\xff\xff"));
    EXPECT_SLICE(slice_make(h, wsframe_header(h, WS_TEXT, 65536)),
                 SLICE("\x81\x7f\0\0\0\0\0\x01\0\0"));
}

TEST(a_close_frame_holds_its_reason_within_125_bytes)
{
    struct buf b = BUF_INIT;
    char reason[200] = "";
    struct peer_in f;
    struct slice s;

    memset(reason, 'x', sizeof reason - 1);
    wsframe_add_close(&b, WS_POLICY, reason);
    s = buf_slice(&b);
    EXPECT(peer_next(&s, &f));
    EXPECT_INT(f.payload.len, WS_CONTROL_MAX);
    buf_reset(&b);
    wsframe_add_close(&b, WS_NO_CODE, "");
    EXPECT_SLICE(buf_slice(&b), SLICE("\x88\x00"));
    buf_fini(&b);
}

TEST(a_message_without_memory_fails_and_nothing_leaks)
{
    struct wsreader r = { .len = 0 };
    struct wsframe f;
    struct slice left;

    begin();
    frame(0x81, "hello");
    left = buf_slice(&in);
    test_fail_malloc_after(0);
    wsframe_next(&r, &left, &limits, &f);
    EXPECT(test_malloc_failed());
    EXPECT_INT(f.event, WS_FAILED);
    EXPECT_INT(f.code, WS_TRY_LATER);
    wsreader_fini(&r);
}
