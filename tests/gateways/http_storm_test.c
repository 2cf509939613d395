/* A connection of the HTTP edge in any order of bytes, answers of the router,
 * time, and a client that stops reading: it owes one answer to each request,
 * holds a bounded rest, and is gone once its client has left. */
#include <stdio.h>
#include <string.h>

#include "gateways/http/http.h"
#include "proto/report.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

enum {
    STORMS = 1000,
    REQUESTS_MAX = 12,
    POLL_MS = 61000, /* longer than any poll may wait */
    KEPT_MAX = 2048, /* more than all requests of a storm together */
};

#define HOST "Host: localhost\r\n"

/* What a client may say; some of it is none, or not all of one. */
static const char *const words[] = {
    "GET / HTTP/1.1\r\n" HOST "\r\n",
    "HEAD / HTTP/1.1\r\n" HOST "\r\n",
    "OPTIONS * HTTP/1.1\r\n" HOST "\r\n",
    "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
    "3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n",
    "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n"
    "Content-Length: 2\r\n\r\nhi",
    "POST /v1/publish/a HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi",
    "POST /v1/publish/a HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nho",
    "GET /v1/history/a HTTP/1.1\r\n" HOST "\r\n",
    "GET /v1/poll?channel=a HTTP/1.1\r\n" HOST "\r\n",
    "GET /v1/poll?channel=a&since=e1-4&wait=60 HTTP/1.1\r\n" HOST "\r\n",
    "GET /v1/stream?channel=a HTTP/1.1\r\n" HOST "\r\n",
    "GET /test/a?every=1 HTTP/1.1\r\n" HOST "\r\n",
    "GET /nothing HTTP/1.1\r\n" HOST "\r\n",
    "DELETE / HTTP/1.1\r\n" HOST "\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
    "\r\n",
    "GET / HTTP/1.1\r\n" HOST,
    "POST / HTTP/1.1\r\n" HOST "Content-Length: 50\r\n\r\nx",
    "POST / HTTP/1.1\r\n" HOST "Content-Length: 70000\r\n\r\n",
    "GET / HTTP/1.1\n\n",
    "no request\r\n\r\n",
};

struct storm {
    struct fake *f;
    struct conn *c;
    struct msg *m;
};

static unsigned below(size_t n)
{
    return (unsigned)(test_random() % n);
}

/* The router answers the oldest question. False: there is none. */
static bool answer_one(struct storm *s)
{
    const struct fake_call *k = fake_next_call(s->f);
    struct published p = {.status = PUBLISHED_OK, .seq = 5, .offset = 5,
                          .created = true, .channel = SLICE("a")};

    if (!k)
        return false;
    if (conn_closing(s->c))
        return true;
    if (k->kind == FAKE_PUBLISH) {
        http_edge.published(s->c, k->ref, &p);
    } else if (k->kind == FAKE_FETCH) {
        http_edge.row(s->c, k->ref, s->m);
        http_edge.page_end(s->c, k->ref, 0, false, 9);
    } else if (k->kind == FAKE_SUBSCRIBE) {
        http_edge.subscribed(s->c, k->ref);
        if (!conn_closing(s->c))
            fake_notice(s->c, NOTICE_SNAPSHOT, "a", "e1-4");
        if (!conn_closing(s->c))
            http_edge.started(s->c, k->ref);
    }
    fake_turn(s->f);
    return true;
}

static void something_happens(struct storm *s)
{
    switch (below(6)) {
    case 0:
    case 1:
        (void)answer_one(s);
        break;
    case 2:
        fake_pass(s->f, 100 * (1 + below(20)));
        break;
    case 3:
        fake_stop_reading(s->c, below(2));
        break;
    default:
        break;
    }
}

static unsigned count(struct slice s, const char *word)
{
    struct slice w = slice_str(word);
    unsigned n = 0;

    for (size_t i = 0; i + w.len <= s.len; i++)
        n += memcmp(s.ptr + i, w.ptr, w.len) == 0;
    return n;
}

/* Each answer has one Date, and nothing that is asked here makes another. */
static void check_answers(const struct storm *s)
{
    unsigned answers = count(fake_out(s->c), "\r\nDate: ");
    unsigned requests = fake_counted(s->f, "requests_total");
    const char *why = fake_close_why(s->c);

    EXPECT(answers <= requests);
    if (strcmp(why, "done") == 0 || strcmp(why, "answered") == 0)
        EXPECT_INT(answers, requests);
}

static void talk(struct storm *s)
{
    struct buf said = BUF_INIT;
    struct slice rest;

    for (unsigned n = 1 + below(REQUESTS_MAX); n > 0; n--)
        buf_add_str(&said, words[below(ARRAY_LEN(words))]);
    rest = buf_slice(&said);
    while (rest.len) {
        size_t piece = 1 + below(MIN(rest.len, 90));

        if (!fake_is_closed(s->c))
            fake_send(s->c, slice_head(rest, piece));
        rest = slice_from(rest, piece);
        something_happens(s);
        EXPECT(fake_unused(s->c) <= KEPT_MAX);
    }
    buf_fini(&said);
}

/* Its client has said all and reads on; the router answers everything; whoever
 * polls has had the time. */
static void leave(struct storm *s)
{
    bool more = true;

    fake_stop_reading(s->c, false);
    fake_send_end(s->c);
    while (more) {
        while (answer_one(s))
            ;
        fake_pass(s->f, POLL_MS);
        more = answer_one(s);
    }
}

TEST(whatever_comes_in_whatever_order_is_answered_once_and_ends)
{
    for (unsigned i = 0; i < STORMS; i++) {
        struct storm s = {.f = fake_new(&http_edge, NULL)};

        fake_set_moves(s.f, i % 2);
        s.c = fake_connect(s.f);
        s.m = fake_msg("a", 5, 5, "hi");
        talk(&s);
        leave(&s);
        EXPECT(fake_is_closed(s.c));
        check_answers(&s);
        msg_drop(s.m);
        fake_free(s.f);
    }
}
