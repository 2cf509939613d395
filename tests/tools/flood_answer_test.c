#include "tools/flood/answer.h"

#include "base/buf.h"
#include "base/err.h"
#include "tests/t/t.h"

/* One answer in pieces of so many bytes, as crowds read it: a head is looked at
 * again from its beginning, a body is not. */
static int hear(struct answer *a, struct slice in, size_t piece, bool lines,
                struct buf *body, size_t *rest)
{
    size_t at = 0, upto = 0, used;

    *a = (struct answer){ .phase = ANSWER_HEAD };
    while (a->phase != ANSWER_OVER && upto < in.len) {
        upto = MIN(upto + piece, in.len);
        if (a->phase == ANSWER_HEAD) {
            int rc = answer_head(a, slice_head(in, upto), &used);

            if (rc < 0)
                return rc;
            if (!used)
                continue;
            at = used;
        }
        while (at < upto && a->phase != ANSWER_OVER) {
            uint8_t out[4096];
            size_t n;

            memcpy(out, in.ptr + at, upto - at);
            n = answer_body(a, out, upto - at, out, &used, lines);
            buf_add(body, slice_make(out, n));
            at += used;
            if (a->phase == ANSWER_BROKEN)
                return ERR_BAD;
        }
    }
    *rest = in.len - at;
    return 0;
}

static void expect_body(const char *text, bool lines, const char *want,
                        bool over, size_t rest)
{
    struct slice in = slice_str(text);

    for (size_t piece = 1; piece <= in.len; piece++) {
        struct buf body = BUF_INIT;
        struct answer a;
        size_t left;

        EXPECT_INT(hear(&a, in, piece, lines, &body, &left), 0);
        EXPECT_STR(buf_text(&body), want);
        EXPECT(over == (a.phase == ANSWER_OVER));
        if (piece == in.len)
            EXPECT_INT(left, rest);
        buf_fini(&body);
    }
}

TEST(bodies_come_out_whole_however_they_are_cut)
{
    expect_body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP", false,
                "hello", true, 4);
    expect_body("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                "5\r\nhello\r\nA;x=y\r\n, world!!!\r\n0\r\nA: b\r\n\r\nX", false,
                "hello, world!!!", true, 1);
    expect_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                "5\r\nhello\r\n5\r\nwor", false, "hellowor", false, 0);
    expect_body("HTTP/1.0 200 OK\r\n\r\nto the end", false, "to the end",
                false, 0);
    expect_body("HTTP/1.1 204 No\r\nX: y\r\n\r\nnext", false, "", true, 4);
    expect_body("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nnext", false, "",
                true, 4);
}

TEST(chunks_become_lines_where_that_is_wanted)
{
    expect_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                "5\r\nhello\r\n3\r\nyou\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n",
                true, "hello\nyou\n0123456789abcdef\n", true, 0);
}

TEST(a_head_says_its_status_and_whether_it_is_the_last)
{
    struct answer a;
    size_t used;

    EXPECT_INT(answer_head(&a, SLICE("HTTP/1.1 503 Busy\r\nConnection: close"
                                     "\r\n\r\n"), &used), 0);
    EXPECT_INT(a.status, 503);
    EXPECT(a.closes);
    EXPECT_INT(answer_head(&a, SLICE("HTTP/1.1 101 Yes\r\n\r\nrest"), &used),
               0);
    EXPECT_INT(used, 20);
    EXPECT_INT(a.status, 101);
    EXPECT(!a.closes);
}

static void expect_garbled(const char *text)
{
    struct buf body = BUF_INIT;
    struct answer a;
    size_t left;

    EXPECT(hear(&a, slice_str(text), 1000, false, &body, &left) < 0);
    buf_fini(&body);
}

TEST(what_is_no_answer_is_refused)
{
    static uint8_t endless[ANSWER_HEAD_MAX + 1];
    struct answer a;
    size_t used;

    expect_garbled("SSH-2.0-OpenSSH\r\n\r\n");
    expect_garbled("HTTP/1.1 2x0 OK\r\n\r\n");
    expect_garbled("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n");
    expect_garbled("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
    expect_garbled("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    expect_garbled("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "100000000\r\n");
    expect_garbled("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "1\r\nab\r\n");
    EXPECT_INT(answer_head(&a, slice_make(endless, sizeof endless), &used),
               ERR_TOO_BIG);
}
