#include "tests/chaos/payload.h"

#include "tests/chaos/told.h"
#include "tests/chaos/wire.h"
#include "tests/t/t.h"

TEST(a_text_is_found_again_whatever_an_edge_wraps_it_in)
{
    static const char *const wraps[][2] = {
        { "", "" }, { "\"", "\"" }, { "Recvd msg #3: '", "'<br/>" },
        { "Recvd msg #3: '&quot;", "&quot;'<br/>" },
        { "{\"comment\":\"", "\"}" },
    };
    struct buf text = BUF_INIT, wrapped = BUF_INIT;
    struct payload p;

    payload_write(&text, 12, 34, SLICE("plain/1"), SLICE(""), 60);
    EXPECT_INT(text.len, 60);
    for (size_t i = 0; i < ARRAY_LEN(wraps); i++) {
        buf_reset(&wrapped);
        buf_add_str(&wrapped, wraps[i][0]);
        buf_add(&wrapped, buf_slice(&text));
        buf_add_str(&wrapped, wraps[i][1]);
        EXPECT(payload_read(buf_slice(&wrapped), &p));
        EXPECT_INT(p.publisher, 12);
        EXPECT_INT(p.number, 34);
        EXPECT_SLICE(p.channel, SLICE("plain/1"));
        EXPECT(p.hash == payload_hash(buf_slice(&text)));
    }
    EXPECT(!payload_read(SLICE("tl 1 2"), &p));
    EXPECT(!payload_read(SLICE("nothing of ours"), &p));
    buf_fini(&text);
    buf_fini(&wrapped);
}

/* In pieces of every size the same items come. */
static void items_of(enum wire_form form, struct slice bytes, size_t piece,
                     struct buf *out)
{
    struct wire w;

    wire_init(&w, form);
    for (size_t at = 0; at < bytes.len; at += piece) {
        struct wire_item it;

        wire_feed(&w, slice_make(bytes.ptr + at, MIN(piece, bytes.len - at)));
        while ((it = wire_next(&w)).kind != WIRE_NONE)
            buf_addf(out, "%d:%d:%ld:" SLICE_FMT " ", (int)it.kind, it.status,
                     it.retry_ms, SLICE_ARG(it.text));
    }
    wire_fini(&w);
}

static void expect_items(enum wire_form form, struct slice bytes,
                         const char *want)
{
    for (size_t piece = 1; piece <= bytes.len; piece++) {
        struct buf out = BUF_INIT;

        items_of(form, bytes, piece, &out);
        EXPECT_STR(buf_text(&out), want);
        buf_fini(&out);
    }
}

TEST(every_form_is_taken_apart_in_whatever_pieces_it_comes)
{
    expect_items(WIRE_HTTP, SLICE("HTTP/1.1 503 x\r\nRetry-After: 2\r\n"
                                  "Content-Length: 3\r\n\r\nabc"),
                 "1:503:2000: 2:0:-1:abc ");
    expect_items(WIRE_LINES, SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                                   "chunked\r\n\r\n3\r\n{}\n\r\n4\r\na\nb\n"
                                   "\r\n0\r\nA: b\r\n\r\n"),
                 "1:200:-1: 3:0:-1:{} 3:0:-1:a 3:0:-1:b 6:0:-1: ");
    expect_items(WIRE_EVENTS, SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                                    "chunked\r\n\r\n21\r\nretry: 9\n\n: ping\n"
                                    "\nid: 1\ndata: x\n\n\r\n"),
                 "1:200:-1: 5:0:9: 3:0:-1:x ");
    expect_items(WIRE_FRAMES, SLICE("HTTP/1.1 101 S\r\n\r\n\x81\x01k\x89\x00"
                                    "\x88\x04\x03\xf5in"),
                 "1:101:-1: 3:0:-1:k 4:0:-1: 6:1013:-1:in ");
    expect_items(WIRE_TELNET, SLICE("one\r\ntwo\n"), "3:0:-1:one 3:0:-1:two ");
}

TEST(a_line_of_telnet_tells_what_json_tells)
{
    struct told t;

    told_telnet(SLICE("a/1 e1-7 -: hi there"), &t);
    EXPECT_INT(t.type, TOLD_MESSAGE);
    EXPECT_SLICE(t.data, SLICE("hi there"));
    EXPECT_INT(t.at.seq, 7);
    told_telnet(SLICE("a/1 - bo: hi"), &t);
    EXPECT(t.type == TOLD_MESSAGE && t.replay && !t.has_at);
    told_telnet(SLICE("NOTICE gap a/1 e1-7 from=2 to=4 count=3 why=slow"), &t);
    EXPECT(t.type == TOLD_NOTICE && t.from == 2 && t.to == 4 && t.count == 3);
    EXPECT_SLICE(t.why, SLICE("slow"));
    told_telnet(SLICE("ERROR publish.unknown: perhaps"), &t);
    EXPECT(t.type == TOLD_ANSWER && !t.ok);
    EXPECT_SLICE(t.why, SLICE("publish.unknown"));
    EXPECT(told_json(SLICE("{\"channel\":\"a\",\"epoch\":\"e1\",\"seq\":7,"
                           "\"offset\":2,\"replay\":true,\"data\":\"x\"}"),
                     &t));
    EXPECT(t.type == TOLD_MESSAGE && t.replay && t.offset == 2);
    EXPECT(!told_json(SLICE("{"), &t));
}
