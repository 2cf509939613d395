#include "gateways/common/request.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/t/t.h"

static const struct head_limits limits = {8192, 16384, 100};

/* The verdict on a head: 0 when it is whole and fine, -1 when more is needed,
 * else the status of the refusal. */
static int scan(struct slice in, size_t *len)
{
    struct head_scan s = {.at = 0};
    const struct fault *why = NULL;
    int rc = head_scan(&s, in, &limits, len, &why);

    if (rc == ERR_AGAIN)
        return -1;
    return rc < 0 ? (int)why->status : 0;
}

static int verdict(struct slice in, struct request *r)
{
    const struct fault *why = NULL;
    size_t len = 0;
    int status = scan(in, &len);

    if (status == 0 && (request_parse(r, slice_head(in, len), &why) < 0 ||
                        request_check_host(r, &why) < 0))
        status = (int)why->status;
    return status;
}

static int status(const char *text)
{
    struct request r;

    return verdict(slice_str(text), &r);
}

static struct request request(const char *text)
{
    struct request r;

    EXPECT_INT(verdict(slice_str(text), &r), 0);
    return r;
}

TEST(a_plain_request_is_read_into_its_parts)
{
    struct request r = request("GET /v1/poll?channel=a&wait=5 HTTP/1.1\r\n"
                               "Host: example.org:8000\r\n"
                               "ACCEPT: text/html , text/event-stream;q=1\r\n"
                               "Last-Event-ID:  e1-5 \t\r\n"
                               "\r\n");

    EXPECT_INT(r.method, METHOD_GET);
    EXPECT_INT(r.minor, 1);
    EXPECT_SLICE(r.path, SLICE("/v1/poll"));
    EXPECT_SLICE(r.query, SLICE("channel=a&wait=5"));
    EXPECT_SLICE(r.field[FIELD_HOST], SLICE("example.org:8000"));
    EXPECT_SLICE(r.field[FIELD_LAST_EVENT_ID], SLICE("e1-5"));
    EXPECT_INT(r.flags, REQUEST_HTML | REQUEST_EVENTS);
    EXPECT(request_keeps_alive(&r));
}

TEST(what_is_named_with_no_weight_is_not_asked_for)
{
    struct request r = request("GET / HTTP/1.1\r\nHost: a\r\n"
                               "Accept: text/html;level=1; Q=0.000, */*\r\n"
                               "Accept: text/event-stream;q=0\r\n"
                               "TE: trailers;q=0.5\r\n\r\n");

    EXPECT_INT(r.flags, REQUEST_TRAILERS);
    r = request("GET / HTTP/1.1\r\nHost: a\r\n"
                "Accept: text/html;q=0.001, text/event-stream;q=0x;\r\n\r\n");
    EXPECT_INT(r.flags, REQUEST_HTML | REQUEST_EVENTS);
}

TEST(keep_alive_is_what_version_and_connection_say)
{
    struct request r;

    r = request("GET / HTTP/1.0\r\n\r\n");
    EXPECT(!request_keeps_alive(&r));
    r = request("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    EXPECT(request_keeps_alive(&r));
    r = request("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\n\r\n");
    EXPECT(!request_keeps_alive(&r));
}

TEST(a_head_is_found_however_it_is_cut)
{
    struct slice whole = SLICE("\r\nPOST /v1/publish/a HTTP/1.1\r\n"
                               "Host: a\r\nContent-Length: 5\r\n\r\nhello");
    size_t want = whole.len - 5;

    for (size_t first = 0; first <= whole.len; first++) {
        for (size_t second = first; second <= whole.len; second++) {
            size_t ends[] = {first, second, whole.len};
            struct head_scan s = {.at = 0};
            const struct fault *why = NULL;
            size_t len = 0;
            int rc = ERR_AGAIN;

            for (size_t i = 0; i < ARRAY_LEN(ends) && rc == ERR_AGAIN; i++) {
                rc = head_scan(&s, slice_head(whole, ends[i]), &limits, &len,
                               &why);
                EXPECT((rc == 0) == (ends[i] >= want));
            }
            EXPECT_INT(len, want);
        }
    }
}

TEST(a_scan_never_reads_a_line_twice)
{
    struct buf b = BUF_INIT;
    struct head_scan s = {.at = 0};
    const struct fault *why;
    size_t len;

    buf_add_str(&b, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < 4000; i++) {
        buf_add_byte(&b, 'a');
        EXPECT_ERR(head_scan(&s, buf_slice(&b), &limits, &len, &why),
                   ERR_AGAIN);
        EXPECT_INT(s.at, b.len);
    }
    buf_fini(&b);
}

TEST(lines_end_in_cr_lf_and_in_nothing_else)
{
    EXPECT_INT(status("GET / HTTP/1.1\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\rHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a\r\n\n"), 400);
}

TEST(one_empty_line_in_front_is_passed_over_two_are_not)
{
    EXPECT_INT(status("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
    EXPECT_INT(status("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

TEST(field_lines_are_read_strictly)
{
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a\r\nnone\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xab: y\r\n\r\n"),
               400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xab\r\n\r\n"), 0);
}

/* Wherever it stands, and whatever is beside it. */
TEST(no_control_byte_but_the_tab_gets_into_a_value)
{
    enum { LEN = 21 };
    char text[] = "GET / HTTP/1.1\r\nHost: a\r\n"
                  "X: aaaaaaaaaaaaaaaaaaaaa\r\n\r\n";
    char *value = strstr(text, "aaa");

    for (size_t at = 0; at < LEN; at++)
        for (unsigned x = 0; x < 256; x++) {
            bool fine = x == '\t' || (x >= 0x20 && x != 0x7f);
            struct request r;

            memset(value, x & 1 ? 0x80 : '~', LEN);
            value[at] = (char)x;
            EXPECT_INT(verdict(slice_make(text, sizeof text - 1), &r),
                       fine ? 0 : 400);
        }
}

TEST(a_field_is_found_whatever_its_case_and_no_other_is)
{
    static const struct slice names[] = {
#define AS_NAME(id, name, rule) [FIELD_##id] = SLICE_INIT(name),
        REQUEST_FIELDS(AS_NAME)
#undef AS_NAME
    };

    for (unsigned f = 0; f < FIELDS; f++) {
        struct slice rest, value;
        char text[80];
        int n = snprintf(text, sizeof text, SLICE_FMT ": 1\r\n" SLICE_FMT
                         "x: 2\r\n\r\n", SLICE_ARG(names[f]),
                         SLICE_ARG(names[f]));

        text[0] ^= 0x20;
        rest = slice_make(text, (size_t)n);
        EXPECT(request_line_next(&rest, (enum field)f, &value));
        EXPECT_SLICE(value, SLICE("1"));
        EXPECT(!request_line_next(&rest, (enum field)f, &value));
    }
}

TEST(a_zero_byte_is_refused_wherever_it_stands)
{
    struct slice target = SLICE("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n");
    struct slice value = SLICE("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n");
    struct request r;

    EXPECT_INT(verdict(target, &r), 400);
    EXPECT_INT(verdict(value, &r), 400);
}

TEST(the_request_line_is_read_strictly)
{
    EXPECT_INT(status("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET /\r\n\r\n"), 400);
    EXPECT_INT(status("GET / http/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/01.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
    EXPECT_INT(status("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 505);
    EXPECT_INT(status("FOO / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    EXPECT_INT(status("get / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    EXPECT_INT(status("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"), 501);
    EXPECT_INT(status("\x16\x03\x01"), 400);
}

TEST(a_bad_request_line_is_refused_before_the_fields_come)
{
    EXPECT_INT(status("GET / HTTP/9.9\r\n"), 505);
    EXPECT_INT(status("GET /\r\n"), 400);
}

TEST(targets_come_in_three_forms)
{
    struct request r;

    r = request("GET http://a:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n");
    EXPECT_SLICE(r.path, SLICE("/x"));
    EXPECT_SLICE(r.query, SLICE("y"));
    EXPECT_SLICE(r.authority, SLICE("a:80"));
    r = request("GET HTTPS://a?y HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_SLICE(r.path, SLICE("/"));
    r = request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_SLICE(r.path, SLICE("*"));
    EXPECT_INT(status("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

TEST(targets_hold_no_fragment_no_backslash_and_whole_escapes)
{
    EXPECT_INT(status("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET /\xc3\xab HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET /%C3%ab HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
    EXPECT_INT(status("GET /% HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET /%2 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET /%2g HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET /%0d%0a HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET /?a=%zz HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

TEST(host_is_there_once_and_is_a_host)
{
    EXPECT_INT(status("GET / HTTP/1.1\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.0\r\n\r\n"), 0);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: []:80\r\n\r\n"), 400);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n"), 0);
    EXPECT_INT(status("GET / HTTP/1.1\r\nHost: 127.0.0.1:65535\r\n\r\n"), 0);
}

#define POST "POST / HTTP/1.1\r\nHost: a\r\n"

TEST(a_body_has_one_length_or_is_refused)
{
    struct request r = request(POST "Content-Length: 5\r\n\r\n");

    EXPECT_INT(r.length, 5);
    EXPECT_INT(r.flags, REQUEST_LENGTH);
    r = request(POST "Transfer-Encoding: Chunked\r\n\r\n");
    EXPECT_INT(r.flags, REQUEST_CHUNKED);
    EXPECT_INT(status(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
               400);
    EXPECT_INT(status(POST "Content-Length: 5, 5\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Content-Length: +5\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Content-Length: -0\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Content-Length: 05\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Content-Length: 0x5\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Content-Length: 1 0\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Content-Length:\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Content-Length: 99999999999999999999\r\n\r\n"),
               400);
    EXPECT_INT(status(POST "Content_Length: 5\r\n\r\n"), 400);
}

TEST(of_transfer_codings_only_chunked_alone_is_taken)
{
    EXPECT_INT(status(POST "Transfer-Encoding: gzip\r\n\r\n"), 501);
    EXPECT_INT(status(POST "Transfer-Encoding: chunked, gzip\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Transfer-Encoding: chunked;a=b\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Transfer-Encoding:\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Transfer-Encoding: chunked\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Content-Length: 5\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n"), 400);
    EXPECT_INT(status("POST / HTTP/1.0\r\nHost: a\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n"), 400);
}

TEST(fields_that_may_come_once_come_once)
{
    EXPECT_INT(status(POST "Content-Type: text/a\r\n"
                           "Content-Type: text/b\r\n\r\n"), 400);
    EXPECT_INT(status(POST "Authorization: a\r\nAuthorization: b\r\n\r\n"),
               400);
    EXPECT_INT(status(POST "Accept: a\r\nAccept: b\r\n\r\n"), 0);
}

TEST(of_expectations_only_100_continue_is_met)
{
    struct request r = request(POST "Expect: 100-Continue\r\n\r\n");

    EXPECT_INT(r.flags, REQUEST_CONTINUE);
    EXPECT_INT(status(POST "Expect: 200-ok\r\n\r\n"), 417);
    r = request("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_INT(r.flags, 0);
}

/* ---- limits ------------------------------------------------------------- */

static int status_of_head(const char *front, size_t fill, const char *back)
{
    struct buf b = BUF_INIT;
    size_t len;
    int rc;

    buf_add_str(&b, front);
    while (fill--)
        buf_add_byte(&b, 'a');
    buf_add_str(&b, back);
    rc = scan(buf_slice(&b), &len);
    buf_fini(&b);
    return rc;
}

TEST(a_request_line_may_have_8192_bytes)
{
    const char *rest = " HTTP/1.1\r\nHost: a\r\n\r\n";
    size_t fits = 8192 - strlen("GET /") - strlen(" HTTP/1.1");

    EXPECT_INT(status_of_head("GET /", fits, rest), 0);
    EXPECT_INT(status_of_head("GET /", fits + 1, rest), 414);
    EXPECT_INT(status_of_head("GET /", 8192, ""), 414);
}

TEST(an_endless_method_is_no_request)
{
    EXPECT_INT(status_of_head("", 100000, ""), 400);
    EXPECT_INT(status_of_head("", 33, " / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

TEST(a_head_may_have_16384_bytes)
{
    const char *front = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    size_t fits = 16384 - strlen(front) - 4;

    EXPECT_INT(status_of_head(front, fits, "\r\n\r\n"), 0);
    EXPECT_INT(status_of_head(front, fits + 1, "\r\n\r\n"), 431);
    EXPECT_INT(status_of_head(front, 16384, ""), 431);
}

TEST(a_head_may_have_100_fields)
{
    struct buf b = BUF_INIT;
    size_t len;

    buf_add_str(&b, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < 100; i++)
        buf_add_str(&b, "X: y\r\n");
    buf_add_str(&b, "\r\n");
    EXPECT_INT(scan(buf_slice(&b), &len), 0);
    buf_truncate(&b, b.len - 2);
    buf_add_str(&b, "X: y\r\n\r\n");
    EXPECT_INT(scan(buf_slice(&b), &len), 431);
    buf_fini(&b);
}

/* ---- chunked bodies ----------------------------------------------------- */

enum { MAX_BODY = 64 };

/* 0 complete, -1 more needed, 413, or the status of the refusal. */
static int unchunk(struct slice in, size_t piece, struct buf *body,
                   size_t *used)
{
    struct chunked d = {.state = 0};
    const struct fault *why = NULL;
    size_t end = 0, n;
    int rc;

    *used = 0;
    do {
        end = MIN(end + piece, in.len);
        rc = chunked_feed(&d, slice_from(slice_head(in, end), *used), body,
                          MAX_BODY, &n, &why);
        *used += n;
    } while (rc == ERR_AGAIN && end < in.len);
    if (rc == ERR_AGAIN)
        return -1;
    if (rc == ERR_TOO_BIG)
        return 413;
    return rc < 0 ? (int)why->status : 0;
}

static int chunk_status(const char *text)
{
    struct buf body = BUF_INIT;
    size_t used;
    int rc = unchunk(slice_str(text), SIZE_MAX / 2, &body, &used);

    buf_fini(&body);
    return rc;
}

TEST(a_chunked_body_is_the_same_however_it_is_cut)
{
    struct slice in = SLICE("5\r\nhello\r\n6;a=b;c=\"d\\\"\"\r\n world\r\n"
                            "000\r\nX-Sum: 1\r\n\r\nGET /");

    for (size_t piece = 1; piece <= in.len; piece++) {
        struct buf body = BUF_INIT;
        size_t used;

        EXPECT_INT(unchunk(in, piece, &body, &used), 0);
        EXPECT_SLICE(buf_slice(&body), SLICE("hello world"));
        EXPECT_INT(used, in.len - 5);
        buf_fini(&body);
    }
}

TEST(chunks_are_read_strictly)
{
    static const char *const bad[] = {
        " 5\r\nhello\r\n0\r\n\r\n",    "5 \r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",    "0x5\r\nhello\r\n0\r\n\r\n",
        "1_0\r\nhello\r\n0\r\n\r\n",   "5\r\nhello0\r\n\r\n",
        "5\r\nhello!!\r\n0\r\n\r\n",   "5\r\nhello\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",       "5;\r\nhello\r\n0\r\n\r\n",
        "5;a[=b\r\nhello\r\n0\r\n\r\n", "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\r\nhello\r\n0\r\n\r\n", "5;a= b\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",      "0\r\n\n",
        "0\r\nX : y\r\n\r\n",          "0\r\nX\r\n\r\n",
        "FFFFFFFFFFFFFFFF0\r\nhello",  "-1\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        EXPECT_INT(chunk_status(bad[i]), 400);
    EXPECT_INT(chunk_status("5\r\nhel"), -1);
    EXPECT_INT(chunk_status("5\r\nhello\r\n"), -1);
}

TEST(trailers_cannot_say_what_belongs_into_the_head)
{
    EXPECT_INT(chunk_status("0\r\nContent-Length: 5\r\n\r\n"), 400);
    EXPECT_INT(chunk_status("0\r\nHost: b\r\n\r\n"), 400);
    EXPECT_INT(chunk_status("0\r\nAuthorization: b\r\n\r\n"), 400);
    EXPECT_INT(chunk_status("0\r\nTransfer_Encoding: b\r\n\r\n"), 400);
    EXPECT_INT(chunk_status("0\r\nX-Checksum: b\r\n\r\n"), 0);
}

TEST(a_chunked_body_has_limits_in_every_direction)
{
    struct buf b = BUF_INIT;

    EXPECT_INT(chunk_status("41\r\n"), 413);
    EXPECT_INT(chunk_status("40\r\n"), -1);
    EXPECT_INT(chunk_status("FFFFFFFFFFFFFFFF\r\n"), 413);
    buf_add_str(&b, "5;a=");
    for (int i = 0; i < 300; i++)
        buf_add_byte(&b, 'x');
    EXPECT_INT(chunk_status(buf_text(&b)), 400);
    buf_reset(&b);
    buf_add_str(&b, "0\r\n");
    for (int i = 0; i < 33; i++)
        buf_add_str(&b, "X: y\r\n");
    EXPECT_INT(chunk_status(buf_text(&b)), 400);
    buf_fini(&b);
}
