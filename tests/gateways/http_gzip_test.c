/* What is gzipped over HTTP: who gets it, that it is made once, and that any
 * decoder reads from it what others read without. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "gateways/common/outvec.h"
#include "gateways/http/encoding.h"
#include "gateways/http/http.h"
#include "gateways/http/packer.h"
#include "gateways/http/zstream.h"
#include "tests/gateways/talk.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

#define HOST "Host: 127.0.0.1:8000\r\n"
#define GET(path, fields) "GET " path " HTTP/1.1\r\n" HOST fields "\r\n"
#define GZIP "Accept-Encoding: gzip\r\n"
#define EVENTS "Accept: text/event-stream\r\n"
#define MATCH "match/a"
#define STREAM "/v1/stream?channel=" MATCH

/* ---- decoders ----------------------------------------------------------- */

/* A whole gzip file, and nothing behind it; sum and length are checked. */
static void gunzip(struct slice in, bool whole, struct buf *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.ptr,
                  .avail_in = (uInt)in.len};
    int rc;

    EXPECT(inflateInit2(&z, 16 + 15) == Z_OK);
    do {
        uint8_t *to = buf_reserve(out, 4096);

        z.next_out = to;
        z.avail_out = 4096;
        rc = inflate(&z, Z_SYNC_FLUSH);
        out->len += 4096 - z.avail_out;
    } while (rc == Z_OK && (z.avail_in || z.avail_out == 0));
    EXPECT(rc == (whole ? Z_STREAM_END : Z_OK) ||
           (!whole && rc == Z_BUF_ERROR));
    EXPECT_INT(z.avail_in, 0);
    inflateEnd(&z);
}

static struct slice body_of(const struct conn *c)
{
    const char *end = strstr(fake_text(c), "\r\n\r\n");

    EXPECT(end);
    end += 4;
    return slice_from(fake_out(c), (size_t)(end - fake_text(c)));
}

/* The content of chunks, as far as it goes. True: it has come to its end. */
static bool unchunk(struct slice in, struct buf *out)
{
    while (in.len) {
        char *end;
        size_t len = strtoul((const char *)in.ptr, &end, 16);
        size_t head = (size_t)((const uint8_t *)end - in.ptr) + 2;

        EXPECT(head > 2 && end[0] == '\r' && end[1] == '\n');
        if (len == 0)
            return true;
        EXPECT(in.len >= head + len + 2);
        buf_add(out, slice_make(in.ptr + head, len));
        in = slice_from(in, head + len + 2);
    }
    return false;
}

/* What the client of a stream reads. */
static void read_stream(const struct conn *c, struct buf *out)
{
    bool gzip = strstr(fake_text(c), "Content-Encoding: gzip\r\n") != NULL;
    struct buf content = BUF_INIT;
    bool ended = unchunk(body_of(c), &content);

    buf_reset(out);
    if (gzip)
        gunzip(buf_slice(&content), ended, out);
    else
        buf_add(out, buf_slice(&content));
    buf_fini(&content);
}

static void expect_alike(const struct conn *a, const struct conn *b)
{
    struct buf x = BUF_INIT, y = BUF_INIT;

    read_stream(a, &x);
    read_stream(b, &y);
    EXPECT_STR(buf_text(&x), buf_text(&y));
    buf_fini(&x);
    buf_fini(&y);
}

/* ---- a stage ------------------------------------------------------------ */

static struct conn *start(struct fake *f, const char *request)
{
    struct conn *c = fake_connect(f);
    const struct fake_call *k;

    fake_send(c, slice_str(request));
    k = fake_next_call(f);
    EXPECT(k && k->kind == FAKE_SUBSCRIBE);
    http_edge.subscribed(c, k->ref);
    fake_notice(c, NOTICE_SNAPSHOT, MATCH, "e1-4");
    http_edge.started(c, k->ref);
    fake_turn(f);
    return c;
}

static bool is_gzip(const struct conn *c)
{
    return strstr(fake_text(c), "\r\nContent-Encoding: gzip\r\n") != NULL;
}

static struct msg *message(uint64_t seq)
{
    char text[120];

    snprintf(text, sizeof text,
             "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\",\"minute\":%d}}",
             (int)seq);
    return fake_msg(MATCH, seq, seq, text);
}

/* One who stays in this process, so that what was said stays in view. */
static struct fake *stay(void)
{
    struct fake *f = fake_new(&http_edge, NULL);

    fake_set_moves(f, false);
    return f;
}

static uint64_t made(struct fake *f)
{
    return fake_stat(f, STAT_GZIP_MESSAGES);
}

/* ---- who gets it -------------------------------------------------------- */

static struct encoding accepts(const char *fields)
{
    char head[2048];
    struct request r;
    const struct fault *why;

    snprintf(head, sizeof head, "GET / HTTP/1.1\r\n%s\r\n", fields);
    EXPECT_OK(request_parse(&r, slice_str(head), &why));
    return encoding_read(&r);
}

TEST(accept_encoding_is_read_with_its_weights)
{
    static const struct {
        const char *value;
        bool gzip, plain;
    } rows[] = {
        {"gzip", true, true},
        {"GZIP", true, true},
        {"x-gzip", true, true},
        {"gzip, deflate, br", true, true},
        {"br , gzip ; q=0.5", true, true},
        {"gzip;q=1.000", true, true},
        {"gzip;q=0.001", true, true},
        {"gzip;Q=0.5", true, true},
        {"*", true, true},
        {"*;q=0.1", true, true},
        {"identity;q=0, gzip", true, false},
        {"gzip, *;q=0", true, false},
        {"identity;q=0, *", true, false},
        {"gzip;q=0.5, identity;q=0.5", true, true},
        {"gzip;q=0.5, identity", false, true},
        {"gzip;q=0.4, identity;q=0.5", false, true},
        {"gzip;q=0", false, true},
        {"gzip;q=0.000", false, true},
        {"gzip;q=0, *", false, true},
        {"identity", false, true},
        {"", false, true},
        {"deflate, br", false, true},
        {"br, *;q=0", false, false},
        {"br, identity;q=0", false, false},
        {"*;q=0", false, false},
        {"*;q=0, identity", false, true},
        /* What makes no sense says nothing. */
        {"gzip;q=1.1", false, true},
        {"gzip;q=2", false, true},
        {"gzip;q=-1", false, true},
        {"gzip;q=", false, true},
        {"gzip;q=0.1234", false, true},
        {"gzip;q=.5", false, true},
        {"gzip;level=9", false, true},
        {"identity;q=x, gzip", true, true},
        {"gzipp, xgzip", false, true},
        {",,;,gzip,;q=0,", true, true},
        {"gzip, gzip;q=0", false, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char fields[200];
        struct encoding e;

        snprintf(fields, sizeof fields, "Accept-Encoding: %s\r\n",
                 rows[i].value);
        e = accepts(fields);
        if (e.gzip != rows[i].gzip || e.plain != rows[i].plain)
            test_fail(__FILE__, __LINE__, "%s: gzip %d plain %d",
                      rows[i].value, e.gzip, e.plain);
    }
}

TEST(without_the_field_nothing_is_encoded)
{
    struct encoding e = accepts("");

    EXPECT(!e.gzip && e.plain);
}

TEST(several_lines_of_accept_encoding_are_one_list)
{
    EXPECT(accepts("Accept-Encoding: br\r\nHost: a\r\n"
                   "Accept-Encoding: gzip\r\n").gzip);
    EXPECT(accepts("Accept-Encoding: gzip\r\n"
                   "Accept-Encoding: br\r\n").gzip);
    EXPECT(!accepts("Accept-Encoding: gzip\r\n"
                    "Accept-Encoding: *;q=0\r\n").plain);
    EXPECT(!accepts("Accept-Encoding: gzip;q=0\r\n"
                    "Accept-Encoding: *\r\n").gzip);
}

static bool gets_gzip(const char *const *sets, const char *request)
{
    struct fake *f = fake_new(&http_edge, sets);
    bool gzip = is_gzip(start(f, request));

    fake_free(f);
    return gzip;
}

TEST(streams_of_what_is_no_secret_are_gzipped_and_no_others)
{
    EXPECT(gets_gzip(NULL, GET(STREAM, GZIP)));
    EXPECT(gets_gzip(NULL, GET(STREAM, GZIP EVENTS)));
    EXPECT(gets_gzip(NULL, GET("/v1/stream?channel=match/*", GZIP)));
    EXPECT(gets_gzip(NULL, GET(STREAM "&channel=team/**", GZIP)));
    EXPECT(!gets_gzip(NULL, GET(STREAM, "")));
    EXPECT(!gets_gzip(NULL, GET(STREAM, "Accept-Encoding: br\r\n")));
    EXPECT(!gets_gzip(NULL, GET(STREAM "&channel=user/ana", GZIP)));
    EXPECT(!gets_gzip(NULL, GET("/v1/stream?channel=room/a", GZIP)));
    EXPECT(!gets_gzip(NULL, GET("/v1/stream?channel=*/a", GZIP)));
    EXPECT(!gets_gzip(NULL, GET("/v1/stream?channel=**", GZIP)));
    EXPECT(!gets_gzip(NULL, GET("/test/" MATCH, GZIP)));
    EXPECT(!gets_gzip(NULL, "GET " STREAM " HTTP/1.0\r\n" GZIP "\r\n"));
}

TEST(the_configuration_says_what_is_no_secret)
{
    static const char *const off[] = {"http.gzip=off", NULL};
    static const char *const none[] = {"namespace match/.compress=no", NULL};
    static const char *const part[] = {"namespace match/b/.compress=no", NULL};
    static const char *const all[] = {"namespace room/.compress=yes", NULL};

    EXPECT(!gets_gzip(off, GET(STREAM, GZIP)));
    EXPECT(!gets_gzip(none, GET(STREAM, GZIP)));
    EXPECT(gets_gzip(part, GET(STREAM, GZIP)));
    EXPECT(!gets_gzip(part, GET("/v1/stream?channel=match/b/c", GZIP)));
    EXPECT(!gets_gzip(part, GET("/v1/stream?channel=match/**", GZIP)));
    EXPECT(gets_gzip(all, GET("/v1/stream?channel=room/a", GZIP)));
}

TEST(what_depends_on_accept_encoding_says_so)
{
    struct fake *f = fake_new(&http_edge, NULL);

    EXPECT_CONTAINS(fake_text(start(f, GET(STREAM, ""))),
                    "Vary: Accept-Encoding\r\n");
    EXPECT_CONTAINS(fake_text(start(f, GET(STREAM, GZIP))),
                    "Vary: Accept-Encoding\r\n");
    EXPECT(!strstr(fake_text(start(f, GET("/v1/stream?channel=a", GZIP))),
                   "Accept-Encoding"));
    fake_free(f);
}

TEST(who_accepts_nothing_that_can_be_sent_is_told_so)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    fake_send(c, SLICE(GET(STREAM, "Accept-Encoding: br, *;q=0\r\n")));
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 406 Not Acceptable\r\n");
    EXPECT_CONTAINS(fake_text(c), "\"encoding.none\"");
    EXPECT(!fake_next_call(f));
    fake_forget_out(c);
    fake_send(c, SLICE(GET("/v1/history/" MATCH,
                           "Accept-Encoding: identity;q=0\r\n")));
    EXPECT_CONTAINS(fake_text(c), " 406 ");
    fake_forget_out(c);
    fake_send(c, SLICE(GET("/touchline.js", "Accept-Encoding: *;q=0\r\n")));
    EXPECT_CONTAINS(fake_text(c), " 406 ");
    fake_forget_out(c);
    fake_send(c, SLICE(GET("/v1/matches", "Accept-Encoding: *;q=0\r\n")));
    EXPECT_CONTAINS(fake_text(c), " 406 ");
    EXPECT(!fake_next_call(f));
    /* What is never encoded is not a matter of choice. */
    fake_forget_out(c);
    fake_send(c, SLICE(GET("/healthz", "Accept-Encoding: *;q=0\r\n")));
    EXPECT_CONTAINS(fake_text(c), " 200 ");
    fake_free(f);
}

/* ---- streams ------------------------------------------------------------ */

TEST(a_gzipped_stream_says_what_a_plain_one_says)
{
    static const char *const accept[] = {"", EVENTS};

    for (size_t i = 0; i < ARRAY_LEN(accept); i++) {
        struct fake *f = stay();
        char request[300];
        struct conn *plain, *gzip;

        snprintf(request, sizeof request, GET(STREAM, "%s"), accept[i]);
        plain = start(f, request);
        snprintf(request, sizeof request, GET(STREAM, GZIP "%s"), accept[i]);
        gzip = start(f, request);
        EXPECT(is_gzip(gzip) && !is_gzip(plain));
        for (uint64_t seq = 5; seq < 20; seq++) {
            struct msg *m = message(seq);

            fake_put(plain, m);
            fake_put(gzip, m);
            if (seq % 3 == 0)
                fake_pass(f, 25000); /* a ping */
            msg_drop(m);
            expect_alike(plain, gzip);
        }
        EXPECT(fake_out(gzip).len < fake_out(plain).len * 6 / 10);
        http_edge.drain(plain);
        http_edge.drain(gzip);
        fake_turn(f);
        expect_alike(plain, gzip); /* and its end is strict */
        EXPECT(fake_is_closed(gzip));
        fake_free(f);
    }
}

TEST(the_trailer_that_tells_the_cursor_stands_behind_gzip_too)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = start(f, GET(STREAM, GZIP "TE: trailers\r\n"));
    struct buf content = BUF_INIT, text = BUF_INIT;
    struct slice body;

    fake_set_seq(f, 9);
    http_edge.drain(c);
    fake_turn(f);
    body = body_of(c);
    EXPECT(unchunk(body, &content));
    gunzip(buf_slice(&content), true, &text);
    EXPECT(slice_ends(body, SLICE("\r\n0\r\nTouchline-Cursor: e1-9\r\n\r\n")));
    buf_fini(&content);
    buf_fini(&text);
    fake_free(f);
}

TEST(a_message_is_gzipped_once_for_all_who_stand_at_the_same_place)
{
    enum { WATCHERS = 200, MESSAGES = 20 };
    struct fake *f = stay();
    struct conn *c[WATCHERS], *late;
    uint64_t before;

    for (unsigned i = 0; i < WATCHERS; i++)
        c[i] = start(f, GET(STREAM, GZIP));
    for (uint64_t seq = 5; seq < 5 + MESSAGES; seq++) {
        struct msg *m = message(seq);

        for (unsigned i = 0; i < WATCHERS; i++)
            fake_put(c[i], m);
        msg_drop(m);
    }
    EXPECT_INT(made(f), MESSAGES);
    EXPECT_INT(fake_stat(f, STAT_GZIP_STREAMS), WATCHERS);
    /* Who comes later has one of its own once, and then what all have. */
    late = start(f, GET(STREAM, GZIP));
    before = made(f);
    for (uint64_t seq = 50; seq < 50 + MESSAGES; seq++) {
        struct msg *m = message(seq);

        for (unsigned i = 0; i < WATCHERS; i++)
            fake_put(c[i], m);
        fake_put(late, m);
        msg_drop(m);
    }
    EXPECT_INT(made(f) - before, MESSAGES + 1);
    expect_alike(c[0], c[WATCHERS - 1]);
    fake_free(f);
}

TEST(whoever_stands_anywhere_costs_a_bounded_number_of_kinds)
{
    enum { STREAMS = 20 };
    struct fake *f = stay();
    struct conn *plain[STREAMS], *gzip[STREAMS];
    struct msg *last;
    uint64_t before;

    for (unsigned i = 0; i < STREAMS; i++) {
        struct msg *own = message(5 + i);

        plain[i] = start(f, GET(STREAM, ""));
        gzip[i] = start(f, GET(STREAM, GZIP));
        fake_put(plain[i], own);
        fake_put(gzip[i], own);
        msg_drop(own);
    }
    before = made(f);
    last = message(99);
    for (unsigned i = 0; i < STREAMS; i++) {
        fake_put(plain[i], last);
        fake_put(gzip[i], last);
    }
    EXPECT_INT(made(f) - before, PACKED_KINDS + 1);
    msg_drop(last);
    for (unsigned i = 0; i < STREAMS; i++)
        expect_alike(plain[i], gzip[i]);
    fake_free(f);
}

TEST(a_quiet_channel_is_not_driven_out_of_view_by_a_busy_one)
{
    struct fake *f = stay();
    struct conn *quiet = start(f, GET(STREAM, GZIP));
    struct conn *busy = start(f, GET("/v1/stream?channel=match/b", GZIP));
    struct msg *m = message(5);
    size_t first, second;

    first = fake_out(quiet).len;
    fake_put(quiet, m);
    msg_drop(m);
    first = fake_out(quiet).len - first;
    for (uint64_t seq = 6; seq < 5000; seq++) {
        m = fake_msg("match/b", seq, seq, "one of many");
        fake_put(busy, m);
        msg_drop(m);
    }
    m = message(5000);
    second = fake_out(quiet).len;
    fake_put(quiet, m);
    msg_drop(m);
    second = fake_out(quiet).len - second;
    EXPECT(second < first / 2);
    fake_free(f);
}

/* What one visit puts, and how much of it the socket takes, is never the same. */
TEST(what_a_socket_does_not_take_spoils_no_stream)
{
    enum { COUNT = 6 };
    struct msg *m[COUNT];

    for (size_t taken = 0; taken < 700; taken += 7) {
        struct fake *f = fake_new(&http_edge, NULL);
        struct conn *plain = start(f, GET(STREAM, ""));
        struct conn *gzip = start(f, GET(STREAM, GZIP));
        unsigned sent;

        for (unsigned i = 0; i < COUNT; i++)
            m[i] = message(5 + i);
        sent = fake_visit(gzip, m, COUNT, taken);
        EXPECT_INT(fake_visit(plain, m, sent, SIZE_MAX), sent);
        expect_alike(plain, gzip);
        fake_notice(gzip, NOTICE_GAP, MATCH, "e1-9"); /* the rest is left out */
        fake_notice(plain, NOTICE_GAP, MATCH, "e1-9");
        fake_put(plain, m[COUNT - 1]);
        fake_put(gzip, m[COUNT - 1]);
        http_edge.drain(plain);
        http_edge.drain(gzip);
        fake_turn(f);
        expect_alike(plain, gzip);
        for (unsigned i = 0; i < COUNT; i++)
            msg_drop(m[i]);
        fake_free(f);
    }
}

/* A large message, and one that does not shrink. */
TEST(long_and_random_texts_come_through)
{
    enum { LEN = 200 * 1024 };
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *plain = start(f, GET(STREAM, ""));
    struct conn *gzip = start(f, GET(STREAM, GZIP));
    char *text = malloc(LEN + 1);

    EXPECT(text);
    for (unsigned kind = 0; kind < 2; kind++) {
        struct msg *m;

        for (size_t i = 0; i < LEN; i++)
            text[i] = kind ? (char)(' ' + 2 + test_random() % 56)
                           : (char)('a' + i % 7);
        text[LEN] = 0;
        m = fake_msg(MATCH, 5 + kind, 5 + kind, text);
        fake_put(plain, m);
        fake_put(gzip, m);
        msg_drop(m);
        m = message(10 + kind);
        fake_put(plain, m);
        fake_put(gzip, m);
        msg_drop(m);
        expect_alike(plain, gzip);
    }
    free(text);
    fake_free(f);
}

/* ---- by chance ---------------------------------------------------------- */

enum { TWINS = 4, HISTORY = 40 };

static void step(struct fake *f, struct conn **plain, struct conn **gzip,
                 struct msg **m)
{
    unsigned i = talk_chance(TWINS), at = talk_chance(HISTORY - 4), sent;
    char cursor[20];

    switch (talk_chance(8)) {
    case 0:
        fake_pass(f, 25000);
        break;
    case 1:
        snprintf(cursor, sizeof cursor, "e1-%u", talk_chance(100));
        fake_notice(plain[i], NOTICE_GAP, MATCH, cursor);
        fake_notice(gzip[i], NOTICE_GAP, MATCH, cursor);
        break;
    case 2: /* the socket is full in the middle */
        sent = fake_visit(gzip[i], m + at, 4, talk_chance(300));
        if (sent)
            (void)fake_visit(plain[i], m + at, sent, SIZE_MAX);
        break;
    default: /* all hear the same */
        for (i = 0; i < TWINS; i++) {
            fake_put(plain[i], m[at]);
            fake_put(gzip[i], m[at]);
        }
    }
}

TEST(whatever_is_said_twins_hear_the_same)
{
    for (uint32_t number = 0; number < 60; number++) {
        struct fake *f = fake_new(&http_edge, NULL);
        struct conn *plain[TWINS], *gzip[TWINS];
        struct msg *m[HISTORY];

        talk_begin(number);
        fake_set_moves(f, number % 2); /* and in another process */
        for (unsigned i = 0; i < TWINS; i++) {
            plain[i] = start(f, i & 1 ? GET(STREAM, EVENTS) : GET(STREAM, ""));
            gzip[i] = start(f, i & 1 ? GET(STREAM, EVENTS GZIP)
                                     : GET(STREAM, GZIP));
        }
        for (unsigned i = 0; i < HISTORY; i++)
            m[i] = message(5 + i);
        for (unsigned i = 0; i < 60; i++)
            step(f, plain, gzip, m);
        for (unsigned i = 0; i < TWINS; i++) {
            http_edge.drain(plain[i]);
            http_edge.drain(gzip[i]);
        }
        fake_turn(f);
        for (unsigned i = 0; i < TWINS; i++)
            expect_alike(plain[i], gzip[i]);
        for (unsigned i = 0; i < HISTORY; i++)
            msg_drop(m[i]);
        fake_free(f);
    }
}

/* ---- a successor -------------------------------------------------------- */

TEST(a_gzipped_stream_goes_on_in_another_process)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *plain = start(f, GET(STREAM, ""));
    struct conn *gzip = start(f, GET(STREAM, GZIP));

    fake_set_moves(f, true);
    for (uint64_t seq = 5; seq < 12; seq++) {
        struct msg *m = message(seq);

        fake_put(plain, m);
        fake_put(gzip, m);
        msg_drop(m);
    }
    EXPECT(fake_moved(f) > 10);
    http_edge.drain(plain);
    http_edge.drain(gzip);
    fake_turn(f);
    expect_alike(plain, gzip);
    fake_free(f);
}

TEST(who_waits_for_its_login_is_gzipped_in_another_process)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);
    const struct fake_call *k;
    struct buf text = BUF_INIT;

    fake_set_moves(f, true);
    fake_send(c, SLICE(GET(STREAM, GZIP)));
    k = fake_next_call(f);
    EXPECT(k && fake_moved(f));
    http_edge.subscribed(c, k->ref);
    fake_notice(c, NOTICE_SNAPSHOT, MATCH, "e1-4");
    fake_turn(f);
    EXPECT(is_gzip(c));
    read_stream(c, &text);
    EXPECT_CONTAINS(buf_text(&text), "\"snapshot\"");
    buf_fini(&text);
    fake_free(f);
}

/* ---- whole answers ------------------------------------------------------ */

static void expect_text(const struct conn *c, const char *part)
{
    struct buf text = BUF_INIT;

    EXPECT(is_gzip(c));
    gunzip(body_of(c), true, &text);
    EXPECT_CONTAINS(buf_text(&text), part);
    buf_fini(&text);
}

static void give_rows(struct fake *f, struct conn *c, unsigned count)
{
    const struct fake_call *k = fake_next_call(f);

    EXPECT(k && k->kind == FAKE_FETCH);
    for (unsigned i = 0; i < count; i++) {
        struct msg *m = message(5 + i);

        http_edge.row(c, k->ref, m);
        msg_drop(m);
    }
    http_edge.page_end(c, k->ref, 0, false, 99);
    fake_turn(f);
}

TEST(history_is_gzipped_and_its_tag_is_weak)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);
    char request[300], tag[40];
    const char *at;

    fake_send(c, SLICE(GET("/v1/history/" MATCH, GZIP)));
    give_rows(f, c, 10);
    expect_text(c, "\"seq\":14");
    EXPECT_CONTAINS(fake_text(c), "Vary: Accept-Encoding\r\n");
    at = strstr(fake_text(c), "ETag: W/\"");
    EXPECT(at);
    snprintf(tag, sizeof tag, "%.20s", at + 6);
    fake_forget_out(c);
    snprintf(request, sizeof request,
             GET("/v1/history/" MATCH, GZIP "If-None-Match: %s\r\n"), tag);
    fake_send(c, slice_str(request));
    give_rows(f, c, 10);
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 304 ");
    EXPECT(!strstr(fake_text(c), "Content-Encoding"));
    EXPECT_INT(fake_stat(f, STAT_GZIP_TEXTS), 1);
    EXPECT_INT(fake_stat(f, STAT_GZIP_AGAIN), 1);
    fake_forget_out(c);
    fake_send(c, SLICE(GET("/v1/history/" MATCH, "")));
    give_rows(f, c, 10);
    EXPECT(!is_gzip(c));
    EXPECT_CONTAINS(fake_text(c), "ETag: \"");
    fake_free(f);
}

TEST(short_and_secret_answers_stay_as_they_are)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    fake_send(c, SLICE(GET("/v1/history/" MATCH, GZIP)));
    give_rows(f, c, 1);
    EXPECT(!is_gzip(c));
    fake_forget_out(c);
    fake_send(c, SLICE(GET("/v1/history/user/ana", GZIP)));
    give_rows(f, c, 10);
    EXPECT(!is_gzip(c));
    EXPECT(!strstr(fake_text(c), "Accept-Encoding"));
    /* But who accepts nothing else gets it, however short. */
    fake_forget_out(c);
    fake_send(c, SLICE(GET("/v1/history/" MATCH,
                           "Accept-Encoding: gzip, identity;q=0\r\n")));
    give_rows(f, c, 1);
    expect_text(c, "\"seq\":5");
    fake_free(f);
}

TEST(a_poll_is_gzipped_once_for_those_who_are_told_the_same)
{
    enum { POLLS = 5 };
    struct fake *f = fake_new(&http_edge, NULL);
    struct msg *m[10];
    struct conn *c[POLLS];

    for (unsigned i = 0; i < 10; i++)
        m[i] = message(5 + i);
    for (unsigned i = 0; i < POLLS; i++) {
        const struct fake_call *k;

        c[i] = fake_connect(f);
        fake_send(c[i], SLICE(GET("/v1/poll?since=e1-4&channel=" MATCH, GZIP)));
        while ((k = fake_next_call(f)) && k->kind != FAKE_SUBSCRIBE)
            ;
        EXPECT(k);
        http_edge.subscribed(c[i], k->ref);
        http_edge.started(c[i], k->ref);
        EXPECT_INT(fake_visit(c[i], m, 10, SIZE_MAX), 10);
        expect_text(c[i], "\"seq\":14");
    }
    EXPECT_INT(fake_stat(f, STAT_GZIP_TEXTS), 1);
    EXPECT_INT(fake_stat(f, STAT_GZIP_AGAIN), POLLS - 1);
    for (unsigned i = 0; i < 10; i++)
        msg_drop(m[i]);
    fake_free(f);
}

TEST(pages_are_there_as_gzip)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *plain = fake_connect(f), *gzip = fake_connect(f);
    struct buf text = BUF_INIT;

    fake_send(plain, SLICE(GET("/touchline.js", "")));
    fake_send(gzip, SLICE(GET("/touchline.js", GZIP)));
    EXPECT(is_gzip(gzip) && !is_gzip(plain));
    EXPECT(body_of(gzip).len < body_of(plain).len / 3);
    gunzip(body_of(gzip), true, &text);
    EXPECT_SLICE(buf_slice(&text), body_of(plain));
    EXPECT_CONTAINS(fake_text(gzip), "Vary: Accept-Encoding\r\n");
    EXPECT_CONTAINS(fake_text(plain), "Vary: Accept-Encoding\r\n");
    EXPECT_INT(fake_stat(f, STAT_GZIP_TEXTS), 0);
    buf_fini(&text);
    fake_free(f);
}

/* ---- pieces ------------------------------------------------------------- */

TEST(pieces_in_any_order_are_one_file)
{
    struct slice first = SLICE("id: e1-5\ndata: {\"channel\":\"match/a\"}\n\n");
    struct slice second = SLICE("id: e1-6\ndata: {\"channel\":\"match/a\"}\n\n");
    struct gzip *z = gzip_new();
    struct buf file = BUF_INIT, text = BUF_INIT, want = BUF_INIT;
    struct gzip_sum sum = {0, 0};
    struct gzip_sum part = {0, 0};
    size_t alone, behind;

    gzip_sum_text(&part, second);
    gzip_begin(&file);
    gzip_pack(z, first, slice_make(NULL, 0), &file);
    gzip_sum_text(&sum, first);
    behind = file.len;
    gzip_pack(z, second, first, &file);
    behind = file.len - behind;
    gzip_sum_part(z, &sum, &part);
    gzip_store(SLICE(""), &file);
    gzip_store(SLICE("\n"), &file);
    gzip_sum_text(&sum, SLICE("\n"));
    alone = file.len;
    gzip_pack(z, second, slice_make(NULL, 0), &file);
    alone = file.len - alone;
    gzip_sum_part(z, &sum, &part);
    gzip_end(&sum, &file);
    gunzip(buf_slice(&file), true, &text);
    buf_add(&want, first);
    buf_add(&want, second);
    buf_add_str(&want, "\n");
    buf_add(&want, second);
    EXPECT_SLICE(buf_slice(&text), buf_slice(&want));
    EXPECT(behind < alone / 2);
    EXPECT_INT(sum.len, want.len);
    gzip_free(z);
    buf_fini(&file);
    buf_fini(&text);
    buf_fini(&want);
}

TEST(sums_of_parts_are_the_sum_of_the_whole)
{
    static uint8_t bytes[70000];
    struct gzip *z = gzip_new();
    struct gzip_sum sum = {0, 0}, whole = {0, 0};

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)test_random();
    for (size_t len = 0; len < sizeof bytes; len = len * 5 / 4 + 1) {
        struct gzip_sum part = {0, 0};

        gzip_sum_text(&part, slice_make(bytes, len));
        gzip_sum_part(z, &sum, &part);
        gzip_sum_text(&whole, slice_make(bytes, len));
        EXPECT_INT(sum.crc, whole.crc);
        EXPECT_INT(sum.len, whole.len);
    }
    gzip_free(z);
}
