/* Every allocation of the edge fails once, in turn: nothing is lost, nothing
 * is used after it went, and the next request works again. */
#include <string.h>

#include "gateways/http/http.h"
#include "proto/report.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

#define HOST "Host: 127.0.0.1:8000\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define POST(path, len, body)                                         \
    "POST " path " HTTP/1.1\r\n" HOST "Content-Length: " len "\r\n\r\n" body

/* What was asked is answered, whatever it was. */
static void answer(struct conn *c, const struct fake_call *k,
                   struct slice report, struct msg *m)
{
    struct published p = {.status = PUBLISHED_OK, .seq = 5, .offset = 5,
                          .created = true, .channel = SLICE("a"),
                          .body = SLICE("{\"id\":\"x\"}")};

    switch (k->kind) {
    case FAKE_SUBSCRIBE:
        http_edge.subscribed(c, k->ref);
        if (!conn_closing(c))
            fake_notice(c, NOTICE_SNAPSHOT, "a", "e1-4");
        if (!conn_closing(c))
            http_edge.started(c, k->ref);
        if (!conn_closing(c) && conn_holds(c, slice_str(k->channel)))
            (void)fake_visit(c, &m, 1, SIZE_MAX);
        break;
    case FAKE_PUBLISH:
    case FAKE_ACT:
        http_edge.published(c, k->ref, &p);
        break;
    case FAKE_FETCH:
        http_edge.row(c, k->ref, m);
        http_edge.page_end(c, k->ref, 0, false, 9);
        break;
    case FAKE_QUERY:
        http_edge.answered(c, k->ref, PUBLISHED_OK, !strchr(k->verb, '.'),
                           strchr(k->verb, '.') ? SLICE("{\"id\":\"x\"}")
                                                : report, 9);
        break;
    case FAKE_UNSUBSCRIBE:
        break;
    }
}

static void run(struct fake *f, struct conn *c, const char *request,
                struct slice report, struct msg *m)
{
    struct slice text = slice_str(request);
    const struct fake_call *k;

    fake_send_pieces(c, text, text.len / 2 + 1);
    while ((k = fake_next_call(f)) && !conn_closing(c))
        answer(c, k, report, m);
    fake_turn(f);
    if (!conn_closing(c)) {
        fake_pass(f, 30000);
        fake_turn(f);
    }
    if (!conn_closing(c))
        http_edge.drain(c);
    fake_turn(f);
}

static void fail_each(const char *request, struct slice report)
{
    bool failed = true;

    for (long n = 0; failed; n++) {
        struct fake *f = fake_new(&http_edge, NULL);
        struct conn *c = fake_connect(f), *other;
        struct msg *m = fake_msg("a", 5, 5, "hi <there>");

        EXPECT(n < 1000);
        test_fail_malloc_after(n);
        run(f, c, request, report, m);
        failed = test_malloc_failed();
        other = fake_connect(f);
        fake_send(other, SLICE(GET("/healthz")));
        EXPECT_CONTAINS(fake_text(other), "alive\n");
        msg_drop(m);
        fake_free(f);
    }
}

TEST(memory_may_run_out_at_any_time)
{
    static const char *const requests[] = {
        GET("/"),
        GET("/touchline.js"),
        GET("/nowhere"),
        "OPTIONS /v1/poll HTTP/1.1\r\n" HOST "Origin: http://localhost\r\n\r\n",
        GET("/test/a?every=1"),
        GET("/v1/stream?channel=a&channel=b&name=ana"),
        "GET /v1/stream?channel=a HTTP/1.0\r\nAccept: text/event-stream\r\n"
        "\r\n",
        "GET /v1/stream?channel=match/a HTTP/1.1\r\n" HOST
        "Accept-Encoding: gzip\r\n\r\n",
        "GET /v1/stream?channel=match/a HTTP/1.1\r\n" HOST
        "Accept: text/event-stream\r\nAccept-Encoding: gzip\r\n"
        "TE: trailers\r\n\r\n",
        "GET /v1/history/match/a HTTP/1.1\r\n" HOST
        "Accept-Encoding: gzip, identity;q=0\r\n\r\n",
        "GET /v1/poll?channel=match/a HTTP/1.1\r\n" HOST
        "Accept-Encoding: gzip, *;q=0\r\n\r\n",
        "GET /touchline.js HTTP/1.1\r\n" HOST "Accept-Encoding: *\r\n\r\n",
        GET("/v1/poll?channel=a"),
        GET("/v1/poll?channel=a&since=0"),
        POST("/v1/publish/a", "5", "hello"),
        POST("/v1/publish/a", "5", "hello") POST("/v1/publish/b", "1", "x"),
        "POST /v1/publish/a HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        POST("/v1/publish", "57",
             "[{\"channel\":\"a\",\"data\":1},"
             "{\"channel\":\"b\",\"data\":\"x\"}]    "),
        GET("/v1/history/a?since=e0-1"),
        GET("/v1/matches/m/events"),
        GET("/v1/matches?team=x"),
        GET("/v1/teams/x"),
        POST("/v1/matches", "2", "{}"),
        "DELETE /v1/matches/m HTTP/1.1\r\n" HOST "\r\n",
        "PUT /v1/teams/x HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}",
        GET("/1/matches"),
        GET("/1/match/m"),
        GET("/1/match/m/history"),
        GET("/1/checkin"),
        GET("/v1/ws"),
    };

    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        fail_each(requests[i], SLICE(""));
}

TEST(memory_may_run_out_while_figures_are_written)
{
    static const char *const requests[] = {
        GET("/v1/presence/a"), GET("/v1/channels"), GET("/metrics"),
        GET("/v1/stats"),
    };
    struct buf b = BUF_INIT;

    report_part(&b, "stats");
    report_row(&b);
    report_text(&b, "gateway", SLICE("http1"));
    report_number(&b, "pid", 42);
    report_text(&b, "name", SLICE("cut_total"));
    report_text(&b, "label", SLICE("why=\"slow\""));
    report_text(&b, "help", SLICE("clients cut"));
    report_bool(&b, "gauge", false);
    report_number(&b, "value", 7);
    report_row_end(&b);
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        fail_each(requests[i], buf_slice(&b));
    buf_fini(&b);
}

/* What was published is not answered as if it had not been, and what nobody
 * knows not as if somebody did. */
static void deny_nothing(const char *request, enum publish_status status,
                         long n, bool *failed)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);
    struct published p = {.status = status, .seq = 5, .offset = 5,
                          .created = true, .channel = SLICE("a"),
                          .body = SLICE("{\"id\":\"x\"}")};
    const struct fake_call *k;
    const char *text;
    bool asked = false;

    if (status == PUBLISHED_UNKNOWN) {
        p.code = SLICE("publish.unknown");
        p.text = SLICE("nobody knows");
    }
    test_fail_malloc_after(n);
    fake_send(c, slice_str(request));
    while ((k = fake_next_call(f)) && !conn_closing(c)) {
        asked = true;
        http_edge.published(c, k->ref, &p);
    }
    *failed = test_malloc_failed();
    text = fake_text(c);
    if (asked && *text)
        EXPECT(!strstr(text, "memory\",") && !strstr(text, "\"code\":\"\"") &&
               (status == PUBLISHED_OK || strstr(text, "publish.unknown")));
    fake_free(f);
}

TEST(what_was_published_is_not_denied_when_memory_is_short_for_its_answer)
{
    static const char *const requests[] = {
        POST("/v1/publish/a", "5", "hello"),
        POST("/v1/publish", "30", "[{\"channel\":\"a\",\"data\":1}    ]"),
        POST("/v1/publish", "51", "[{\"channel\":\"a\",\"data\":1},"
                                  "{\"channel\":\"a\",\"data\":2}]"),
        POST("/v1/matches", "2", "{}"),
    };

    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        for (unsigned unknown = 0; unknown < 2; unknown++) {
            bool failed = true;

            for (long n = 0; failed; n++)
                deny_nothing(requests[i],
                             unknown ? PUBLISHED_UNKNOWN : PUBLISHED_OK, n,
                             &failed);
        }
}
