/* A connection of the HTTP edge: order, limits, time, refusals. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "gateways/http/http.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

#define HOST "Host: 127.0.0.1:8000\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define PUBLISH(path, len, body)                                          \
    "POST /v1/publish/" path " HTTP/1.1\r\n" HOST "Content-Length: " len  \
    "\r\n\r\n" body

static void send_text(struct conn *c, const char *text)
{
    fake_send(c, slice_str(text));
}

/* Status of the first answer not forgotten; 0: there is none. */
static int status(const struct conn *c)
{
    const char *text = fake_text(c);

    return strncmp(text, "HTTP/1.1 ", 9) == 0 ? atoi(text + 9) : 0;
}

static unsigned count(const char *text, const char *word)
{
    unsigned n = 0;

    while ((text = strstr(text, word))) {
        text += strlen(word);
        n++;
    }
    return n;
}

static void answer_publish(struct conn *c, uint32_t ref, uint64_t seq)
{
    struct published p = {
        .status = PUBLISHED_OK,
        .seq = seq,
        .offset = seq,
        .reached = 3,
        .channel = SLICE("a"),
    };

    http_edge.published(c, ref, &p);
}

/* Status of the only answer to text on a fresh connection. */
static int ask_once(const char *text)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);
    int s;

    send_text(c, text);
    s = status(c);
    EXPECT(count(fake_text(c), "HTTP/1.1 ") <= 1);
    fake_free(f);
    return s;
}

TEST(an_idle_connection_costs_at_most_16_bytes)
{
    EXPECT(http_edge.conn_bytes <= 16);
}

TEST(a_request_is_answered_however_it_is_cut)
{
    struct slice whole = SLICE(PUBLISH("a%2Fb", "5", "hello") GET("/healthz"));

    for (size_t piece = 1; piece <= whole.len; piece++) {
        struct fake *f = fake_new(&http_edge, NULL);
        struct conn *c = fake_connect(f);
        const struct fake_call *k;

        fake_send_pieces(c, whole, piece);
        k = fake_next_call(f);
        EXPECT(k);
        EXPECT_STR(k->channel, "a/b");
        EXPECT_STR(k->data, "hello");
        answer_publish(c, k->ref, 7);
        fake_turn(f);
        EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 201 Created\r\n");
        EXPECT_CONTAINS(fake_text(c), "\r\n\r\nalive\n");
        EXPECT(!fake_is_closed(c));
        fake_free(f);
    }
}

TEST(pipelined_answers_come_in_the_order_of_the_requests)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);
    const struct fake_call *first, *second;
    const char *text;

    send_text(c, PUBLISH("a", "1", "x") PUBLISH("b", "1", "y")
                 GET("/healthz"));
    first = fake_next_call(f);
    second = fake_next_call(f);
    EXPECT(first && second);
    answer_publish(c, second->ref, 9);
    EXPECT_STR(fake_text(c), "");
    answer_publish(c, first->ref, 8);
    fake_turn(f);
    text = fake_text(c);
    EXPECT(strstr(text, "\"seq\":8") < strstr(text, "\"seq\":9"));
    EXPECT(strstr(text, "\"seq\":9") < strstr(text, "alive"));
    fake_free(f);
}

TEST(at_most_128_publications_are_unanswered)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);
    const struct fake_call *k;
    unsigned asked = 0, answered = 0;

    for (int i = 0; i < 1000; i++)
        send_text(c, PUBLISH("a", "1", "x"));
    while ((k = fake_next_call(f))) {
        asked++;
        EXPECT(asked - answered <= 128);
        if (asked - answered == 128) {
            EXPECT(fake_unused(c) > 0);
            for (; answered < asked; answered++)
                answer_publish(c, k->ref - ((asked - 1 - answered) << 16),
                               answered + 1);
            fake_turn(f);
        }
    }
    EXPECT(asked == 1000);
    fake_free(f);
}

TEST(ten_thousand_pipelined_pages_do_not_pile_up)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);
    size_t most = 0;

    fake_stop_reading(c, true);
    for (int i = 0; i < 10000 && !fake_is_closed(c); i++) {
        send_text(c, GET("/healthz"));
        most = MAX(most, fake_out(c).len);
    }
    EXPECT(most < HTTP_OUT_MAX + 1024);
    fake_stop_reading(c, false);
    EXPECT_INT(count(fake_text(c), "alive"), 10000);
    fake_free(f);
}

TEST(a_connection_closes_when_either_side_wants_it)
{
    static const char *const closing[] = {
        "GET /healthz HTTP/1.0\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(closing); i++) {
        struct fake *f = fake_new(&http_edge, NULL);
        struct conn *c = fake_connect(f);

        send_text(c, closing[i]);
        EXPECT_CONTAINS(fake_text(c), "Connection: close\r\n");
        EXPECT_CONTAINS(fake_text(c), "alive\n");
        EXPECT(fake_is_closed(c));
        fake_free(f);
    }
}

TEST(what_follows_a_closing_request_is_not_read)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);
    const struct fake_call *k;

    send_text(c, "POST /v1/publish/a HTTP/1.1\r\n" HOST
                 "Connection: close\r\nContent-Length: 1\r\n\r\nx"
                 PUBLISH("b", "1", "y"));
    k = fake_next_call(f);
    EXPECT(k && !fake_next_call(f));
    answer_publish(c, k->ref, 1);
    fake_turn(f);
    EXPECT(fake_is_closed(c));
    EXPECT_INT(count(fake_text(c), "HTTP/1.1 "), 1);
    fake_free(f);
}

TEST(requests_per_connection_are_counted)
{
    static const char *const sets[] = {"limits.requests_per_connection=3",
                                       NULL};
    struct fake *f = fake_new(&http_edge, sets);
    struct conn *c = fake_connect(f);

    for (int i = 0; i < 5; i++)
        send_text(c, GET("/healthz"));
    EXPECT_INT(count(fake_text(c), "alive"), 3);
    EXPECT_INT(count(fake_text(c), "Connection: close"), 1);
    EXPECT(fake_is_closed(c));
    EXPECT_INT(fake_limited(f, LIMIT_REQUESTS_PER_CONNECTION), 1);
    fake_free(f);
}

/* ---- time --------------------------------------------------------------- */

TEST(a_head_that_comes_byte_by_byte_is_cut_after_5_seconds)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    for (int i = 0; i < 6 && !fake_is_closed(c); i++) {
        fake_send(c, slice_make(&"GET / H"[i], 1));
        fake_pass(f, 1000);
    }
    EXPECT_INT(status(c), 408);
    EXPECT(fake_is_closed(c));
    EXPECT_INT(fake_limited(f, LIMIT_HEADER_WAIT), 1);
    fake_free(f);
}

TEST(the_second_head_has_5_seconds_too)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    send_text(c, GET("/healthz"));
    fake_forget_out(c);
    fake_pass(f, 20000);
    for (int i = 0; i < 6 && !fake_is_closed(c); i++) {
        fake_send(c, slice_make(&"GET / H"[i], 1));
        fake_pass(f, 1000);
    }
    EXPECT_INT(status(c), 408);
    fake_free(f);
}

TEST(a_client_that_says_nothing_is_closed_without_a_word)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    fake_pass(f, 5200);
    EXPECT(fake_is_closed(c));
    EXPECT_STR(fake_text(c), "");
    fake_free(f);
}

TEST(an_idle_connection_is_closed_after_a_while)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    send_text(c, GET("/healthz"));
    fake_pass(f, HTTP_KEEP_ALIVE_MS - 1000);
    EXPECT(!fake_is_closed(c));
    fake_pass(f, 2000);
    EXPECT(fake_is_closed(c));
    fake_free(f);
}

TEST(a_body_slower_than_500_bytes_a_second_is_cut)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *slow = fake_connect(f);
    struct conn *quick = fake_connect(f);
    static const char part[600] = "";
    const char *head = "POST /v1/publish/a HTTP/1.1\r\n" HOST
                       "Content-Length: 60000\r\n\r\n";

    send_text(slow, head);
    send_text(quick, head);
    for (int i = 0; i < 20; i++) {
        fake_send(slow, slice_make(part, 1));
        fake_send(quick, slice_make(part, sizeof part));
        fake_pass(f, 1000);
    }
    EXPECT_INT(status(slow), 408);
    EXPECT(fake_is_closed(slow));
    EXPECT(!fake_is_closed(quick));
    EXPECT_INT(fake_limited(f, LIMIT_BODY_RATE), 1);
    fake_free(f);
}

/* ---- bodies ------------------------------------------------------------- */

TEST(a_body_may_be_as_long_as_a_message)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *fits = fake_connect(f), *big = fake_connect(f);

    send_text(fits, "POST /v1/publish/a HTTP/1.1\r\n" HOST
                    "Content-Length: 65536\r\n\r\n");
    EXPECT_STR(fake_text(fits), "");
    send_text(big, "POST /v1/publish/a HTTP/1.1\r\n" HOST
                   "Content-Length: 65537\r\n\r\n");
    EXPECT_INT(status(big), 413);
    EXPECT(fake_is_closed(big));
    EXPECT_INT(fake_limited(f, LIMIT_MESSAGE), 1);
    EXPECT_INT(ask_once("POST /v1/publish/a HTTP/1.1\r\n" HOST
                        "Content-Length: 9223372036854775807\r\n\r\n"), 413);
    fake_free(f);
}

TEST(a_chunked_body_is_put_together)
{
    struct slice whole = SLICE("POST /v1/publish/a HTTP/1.1\r\n" HOST
                               "Transfer-Encoding: chunked\r\n\r\n"
                               "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX: y\r\n\r\n");

    for (size_t piece = 1; piece <= whole.len; piece++) {
        struct fake *f = fake_new(&http_edge, NULL);
        struct conn *c = fake_connect(f);
        const struct fake_call *k;

        fake_send_pieces(c, whole, piece);
        k = fake_next_call(f);
        EXPECT(k);
        EXPECT_STR(k->data, "hello");
        fake_free(f);
    }
}

TEST(a_bad_chunk_is_refused_after_what_was_asked_before)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);
    const struct fake_call *k;

    send_text(c, PUBLISH("a", "1", "x")
                 "POST /v1/publish/b HTTP/1.1\r\n" HOST
                 "Transfer-Encoding: chunked\r\n\r\nzz\r\n" GET("/healthz"));
    k = fake_next_call(f);
    EXPECT(k && !fake_next_call(f));
    EXPECT_STR(fake_text(c), "");
    answer_publish(c, k->ref, 1);
    fake_turn(f);
    EXPECT_INT(status(c), 201);
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 400 ");
    EXPECT_INT(count(fake_text(c), "HTTP/1.1 "), 2);
    EXPECT(fake_is_closed(c));
    fake_free(f);
}

TEST(who_expects_100_continue_gets_it_when_the_body_is_not_there)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *waits = fake_connect(f), *sends = fake_connect(f);
    const char *head = "POST /v1/publish/a HTTP/1.1\r\n" HOST
                       "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n";

    send_text(waits, head);
    EXPECT_STR(fake_text(waits), "HTTP/1.1 100 Continue\r\n\r\n");
    send_text(waits, "hello");
    EXPECT(fake_next_call(f));
    fake_send(sends, SLICE("POST /v1/publish/a HTTP/1.1\r\n" HOST
                           "Expect: 100-continue\r\n"
                           "Content-Length: 5\r\n\r\nhello"));
    EXPECT_STR(fake_text(sends), "");
    EXPECT(fake_next_call(f));
    fake_free(f);
}

TEST(a_body_that_is_refused_is_not_asked_for)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    send_text(c, "POST /v1/publish/a HTTP/1.1\r\n" HOST
                 "Expect: 100-continue\r\nContent-Length: 99999\r\n\r\n");
    EXPECT_INT(status(c), 413);
    EXPECT(fake_is_closed(c));
    fake_free(f);
}

TEST(bodies_are_refused_where_none_belongs_and_missed_where_one_does)
{
    EXPECT_INT(ask_once("GET /healthz HTTP/1.1\r\n" HOST
                        "Content-Length: 1\r\n\r\nx"), 400);
    EXPECT_INT(ask_once("POST /v1/publish/a HTTP/1.1\r\n" HOST "\r\n"), 411);
    EXPECT_INT(ask_once("POST /v1/publish/a HTTP/1.1\r\n" HOST
                        "Content-Encoding: gzip\r\n"
                        "Content-Length: 1\r\n\r\nx"), 415);
}

/* ---- methods, hosts, origins -------------------------------------------- */

TEST(a_wrong_method_is_told_the_right_ones)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    send_text(c, "DELETE /v1/poll HTTP/1.1\r\n" HOST "\r\n");
    EXPECT_INT(status(c), 405);
    EXPECT_CONTAINS(fake_text(c), "\r\nAllow: GET, HEAD, OPTIONS\r\n");
    EXPECT_INT(ask_once(GET("/nowhere")), 404);
    EXPECT_INT(ask_once(GET("/v1/publish/")), 404);
    EXPECT_INT(ask_once(GET("/metrics/x")), 404);
    fake_free(f);
}

TEST(options_say_what_is_possible)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    send_text(c, "OPTIONS /v1/publish/a HTTP/1.1\r\n" HOST
                 "Origin: http://127.0.0.1:9\r\n\r\n");
    EXPECT_INT(status(c), 204);
    EXPECT_CONTAINS(fake_text(c), "Allow: POST, OPTIONS\r\n");
    EXPECT_CONTAINS(fake_text(c),
                    "Access-Control-Allow-Origin: http://127.0.0.1:9\r\n");
    EXPECT(!strstr(fake_text(c), "Content-Length"));
    EXPECT_INT(ask_once("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), 204);
    EXPECT_INT(ask_once("OPTIONS /nowhere HTTP/1.1\r\n" HOST "\r\n"), 404);
    fake_free(f);
}

TEST(head_is_get_without_a_body)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    send_text(c, "HEAD /healthz HTTP/1.1\r\n" HOST "\r\n" GET("/healthz"));
    EXPECT_INT(count(fake_text(c), "Content-Length: 6\r\n"), 2);
    EXPECT_INT(count(fake_text(c), "alive\n"), 1);
    fake_free(f);
}

TEST(a_strange_host_is_turned_away_at_loopback_only)
{
    static const char *const sets[] = {"http.hosts=touch.example", NULL};
    struct fake *f = fake_new(&http_edge, sets);
    struct conn *c = fake_connect(f), *far = fake_connect(f);

    fake_set_side(far, FAKE_AT_LOOPBACK, false);
    send_text(far, "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    EXPECT_INT(status(far), 200);
    send_text(c, "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    EXPECT_INT(status(c), 421);
    fake_forget_out(c);
    send_text(c, "GET /healthz HTTP/1.1\r\nHost: touch.example\r\n\r\n");
    EXPECT_INT(status(c), 200);
    EXPECT_INT(ask_once("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
               200);
    EXPECT_INT(ask_once("GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
               200);
    fake_free(f);
}

/* On an open listener any name will do to read, but not to be from here. */
TEST(who_asks_by_another_name_is_not_on_loopback)
{
    static const char *const sets[] = {"http.hosts=touch.example", NULL};
    static const struct {
        const char *host;
        bool local;
    } cases[] = {
        {"touch.example", true}, {"localhost:80", true}, {"10.0.0.1", true},
        {"evil.example", false}, {"localhost.evil.example", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fake *f = fake_new(&http_edge, sets);
        struct conn *c = fake_connect(f);
        struct buf text = BUF_INIT;

        fake_set_side(c, FAKE_AT_LOOPBACK, false);
        buf_addf(&text, "GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n",
                 cases[i].host);
        fake_send(c, buf_slice(&text));
        EXPECT_INT(status(c), 200);
        EXPECT_INT(conn_from_loopback(c), cases[i].local);
        buf_fini(&text);
        fake_free(f);
    }
}

TEST(no_page_without_an_origin_of_its_own_may_write)
{
    static const char *const sets[] = {"http.origins=*, null", NULL};
    struct fake *f = fake_new(&http_edge, sets);
    struct conn *c = fake_connect(f);

    send_text(c, "POST /v1/publish/a HTTP/1.1\r\n" HOST
                 "Origin: null\r\nContent-Length: 0\r\n\r\n");
    EXPECT_INT(status(c), 403);
    EXPECT(!fake_next_call(f));
    fake_forget_out(c);
    c = fake_connect(f);
    send_text(c, "POST /v1/publish/a HTTP/1.1\r\n" HOST
                 "Origin: http://any.example\r\nContent-Length: 0\r\n\r\n");
    EXPECT(fake_next_call(f));
    fake_free(f);
}

TEST(pages_of_other_origins_may_not_write)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    send_text(c, "POST /v1/publish/a HTTP/1.1\r\n" HOST
                 "Origin: http://evil.example\r\nContent-Length: 0\r\n\r\n");
    EXPECT_INT(status(c), 403);
    fake_forget_out(c);
    send_text(c, "POST /v1/publish/a HTTP/1.1\r\n" HOST
                 "Origin: null\r\nContent-Length: 0\r\n\r\n");
    EXPECT_INT(status(c), 403);
    EXPECT(!fake_next_call(f));
    EXPECT_INT(fake_counted(f, "origin.denied"), 2);
    send_text(c, "POST /v1/publish/a HTTP/1.1\r\n" HOST
                 "Origin: http://127.0.0.1\r\nContent-Length: 0\r\n\r\n");
    EXPECT(fake_next_call(f));
    fake_free(f);
}

TEST(who_asks_through_a_proxy_is_not_on_loopback)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    send_text(c, "GET /healthz HTTP/1.1\r\n" HOST
                 "X-Forwarded-For: 9.9.9.9\r\n\r\n");
    EXPECT(!conn_from_loopback(c));
    EXPECT_STR(conn_peer_text(c), "127.0.0.1");
    fake_set_side(c, FAKE_PROXY, true);
    send_text(c, "GET /healthz HTTP/1.1\r\n" HOST
                 "X-Forwarded-For: 1.1.1.1, 9.9.9.9\r\n\r\n");
    EXPECT_STR(conn_peer_text(c), "9.9.9.9");
    fake_free(f);
}

TEST(websocket_is_told_where_it_is_spoken)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    send_text(c, "GET /v1/ws HTTP/1.1\r\n" HOST "\r\n");
    EXPECT_INT(status(c), 426);
    EXPECT_CONTAINS(fake_text(c), "\"url\":\"ws://127.0.0.1:8001/v1/ws\"");
    fake_forget_out(c);
    send_text(c, "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\n"
                 "Upgrade: websocket\r\n\r\n");
    EXPECT_INT(status(c), 426);
    EXPECT_CONTAINS(fake_text(c), "Upgrade: websocket\r\n");
    fake_free(f);
}

TEST(websocket_is_found_where_the_configuration_says)
{
    static const char *const sets[] = {"ws.listen=unix:/tmp/ws",
                                       "ws.public_url=wss://live.example",
                                       NULL};
    struct fake *f = fake_new(&http_edge, sets);
    struct conn *c = fake_connect(f);

    send_text(c, "GET /v1/raw HTTP/1.1\r\n" HOST "\r\n");
    EXPECT_INT(status(c), 426);
    EXPECT_CONTAINS(fake_text(c), "\"url\":\"wss://live.example/v1/raw\"");
    fake_forget_out(c);
    send_text(c, "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\n"
                 "Upgrade: websocket\r\n\r\n");
    EXPECT_INT(status(c), 426);
    EXPECT_CONTAINS(fake_text(c), "\"url\":\"wss://live.example/v1/ws\"");
    fake_free(f);
}

#define WEBSOCKET "GET /v1/ws?channel=a HTTP/1.1\r\n" HOST                    \
                  "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" \
                  "Sec-WebSocket-Version: 13\r\n\r\n"

static struct fake *passing(int rc)
{
    static const char *const sets[] = {"http.websocket=on", NULL};
    struct fake *f = fake_new(&http_edge, sets);

    fake_set_pass(f, rc);
    return f;
}

TEST(a_websocket_is_passed_on_with_all_that_came_of_it)
{
    struct fake *f = passing(0);
    struct conn *c = fake_connect(f), *slow = fake_connect(f);

    send_text(c, WEBSOCKET "frames");
    EXPECT(slice_eq(fake_passed(c), SLICE(WEBSOCKET "frames")));
    EXPECT_STR(fake_text(c), "");
    EXPECT_STR(fake_close_why(c), "passed");
    fake_send_pieces(slow, SLICE(WEBSOCKET), 7);
    EXPECT(slice_eq(fake_passed(slow), SLICE(WEBSOCKET)));
    fake_free(f);
}

TEST(what_was_asked_before_a_websocket_is_answered_first)
{
    struct fake *f = passing(0);
    struct conn *c = fake_connect(f), *deaf = fake_connect(f);

    send_text(c, PUBLISH("a", "1", "x") WEBSOCKET);
    EXPECT_INT(fake_passed(c).len, 0);
    answer_publish(c, fake_next_call(f)->ref, 7);
    fake_turn(f);
    EXPECT_INT(status(c), 201);
    EXPECT(slice_eq(fake_passed(c), SLICE(WEBSOCKET)));
    /* Who does not read its answer is not passed on without it. */
    fake_stop_reading(deaf, true);
    send_text(deaf, GET("/healthz") WEBSOCKET);
    EXPECT_INT(fake_passed(deaf).len, 0);
    fake_stop_reading(deaf, false);
    fake_turn(f);
    fake_turn(f);
    EXPECT_INT(status(deaf), 200);
    EXPECT(slice_eq(fake_passed(deaf), SLICE(WEBSOCKET)));
    fake_free(f);
}

TEST(where_nobody_takes_a_websocket_it_is_told_to_come_again)
{
    struct fake *f = passing(ERR_FULL);
    struct conn *c = fake_connect(f);

    send_text(c, WEBSOCKET);
    EXPECT_INT(status(c), 503);
    EXPECT_CONTAINS(fake_text(c), "\"websocket.away\"");
    EXPECT_CONTAINS(fake_text(c), "Retry-After: ");
    fake_forget_out(c);
    send_text(c, GET("/healthz"));
    EXPECT_INT(status(c), 200);
    fake_free(f);
}

TEST(who_looks_for_the_websocket_has_found_it)
{
    struct fake *f = passing(0);
    struct conn *c = fake_connect(f);

    send_text(c, GET("/v1/ws"));
    EXPECT_INT(status(c), 426);
    EXPECT_CONTAINS(fake_text(c), "\"upgrade.required\"");
    EXPECT(!strstr(fake_text(c), "\"url\""));
    EXPECT_INT(fake_passed(c).len, 0);
    fake_free(f);
}

TEST(figures_are_not_passed_on_by_a_proxy)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    send_text(c, "GET /metrics HTTP/1.1\r\n" HOST
                 "X-Forwarded-For: 192.0.2.7\r\n\r\n");
    EXPECT_INT(status(c), 404);
    fake_forget_out(c);
    send_text(c, "GET /v1/stats HTTP/1.1\r\n" HOST "Via: 1.1 x\r\n\r\n");
    EXPECT_INT(status(c), 404);
    fake_free(f);
}

TEST(a_proxy_that_names_two_clients_is_refused)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f), *mine = fake_connect(f);

    fake_set_side(c, FAKE_PROXY, true);
    send_text(c, "GET /healthz HTTP/1.1\r\n" HOST
                 "X-Forwarded-For: 192.0.2.7\r\n"
                 "Forwarded: for=192.0.2.8\r\n\r\n");
    EXPECT_INT(status(c), 400);
    EXPECT_CONTAINS(fake_text(c), "\"forwarded.differs\"");
    EXPECT(conn_closing(c));
    /* Of anybody else neither is read. */
    send_text(mine, "GET /healthz HTTP/1.1\r\n" HOST
                    "X-Forwarded-For: 192.0.2.7\r\n"
                    "Forwarded: for=192.0.2.8\r\n\r\n");
    EXPECT_INT(status(mine), 200);
    fake_free(f);
}

TEST(where_no_port_speaks_it_none_is_named)
{
    static const char *const sets[] = {"ws.listen=unix:/tmp/ws",
                                       "tcp.listen=", NULL};
    struct fake *f = fake_new(&http_edge, sets);
    struct conn *c = fake_connect(f);

    send_text(c, "GET /v1/ws HTTP/1.1\r\n" HOST "\r\n");
    EXPECT_INT(status(c), 404);
    fake_forget_out(c);
    send_text(c, "GET /1/checkin HTTP/1.1\r\n" HOST "\r\n");
    EXPECT_INT(status(c), 404);
    fake_forget_out(c);
    send_text(c, "GET /healthz HTTP/1.1\r\n" HOST "Connection: Upgrade\r\n"
                 "Upgrade: websocket\r\n\r\n");
    EXPECT_INT(status(c), 200); /* who offers may be passed over */
    fake_free(f);
}

/* ---- ends --------------------------------------------------------------- */

TEST(a_client_that_ends_early_hears_so_and_one_that_waits_is_answered)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *cut = fake_connect(f), *waits = fake_connect(f);
    const struct fake_call *k;

    send_text(cut, "GET / HTTP/1.1\r\nHost:");
    fake_send_end(cut);
    EXPECT_INT(status(cut), 400);
    EXPECT(fake_is_closed(cut));
    send_text(waits, PUBLISH("a", "1", "x"));
    fake_send_end(waits);
    EXPECT(!fake_is_closed(waits));
    k = fake_next_call(f);
    answer_publish(waits, k->ref, 1);
    fake_turn(f);
    EXPECT_INT(status(waits), 201);
    EXPECT(fake_is_closed(waits));
    fake_free(f);
}

TEST(draining_answers_what_was_asked_and_closes)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *idle = fake_connect(f), *busy = fake_connect(f);
    const struct fake_call *a, *b;

    send_text(busy, PUBLISH("a", "1", "x") PUBLISH("b", "1", "y"));
    a = fake_next_call(f);
    b = fake_next_call(f);
    http_edge.drain(idle);
    http_edge.drain(busy);
    fake_turn(f);
    EXPECT(fake_is_closed(idle));
    answer_publish(busy, a->ref, 1);
    answer_publish(busy, b->ref, 2);
    fake_turn(f);
    EXPECT_INT(count(fake_text(busy), "201 Created"), 2);
    EXPECT(fake_is_closed(busy));
    fake_free(f);
}

/* The gateway spreads those times, or all would come back together. */
TEST(who_finds_no_room_is_told_when_to_come_back)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct slice s = http_edge.busy(fake_gateway(f));
    char text[512];

    snprintf(text, sizeof text, SLICE_FMT, SLICE_ARG(s));
    EXPECT_INT(atoi(strstr(text, "Retry-After: ") + 13),
               gateway_retry_ms(fake_gateway(f)) / 1000 + 1);
    fake_free(f);
}

TEST(the_words_for_a_full_house_are_whole)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct slice s = http_edge.busy(fake_gateway(f));
    char text[512];
    const char *body;

    snprintf(text, sizeof text, SLICE_FMT, SLICE_ARG(s));
    body = strstr(text, "\r\n\r\n") + 4;
    EXPECT_INT(strlen(body), atoi(strstr(text, "Content-Length: ") + 16));
    fake_free(f);
}

TEST(an_unknown_token_is_refused_and_a_known_one_counts_for_its_request)
{
    static const char *const sets[] = {"token bot.secret=0123456789abcdef",
                                       "token bot.publish=match/", NULL};
    struct fake *f = fake_new(&http_edge, sets);
    struct conn *c = fake_connect(f);

    send_text(c, "GET /healthz HTTP/1.1\r\n" HOST
                 "Authorization: Bearer 0123456789abcdef\r\n\r\n");
    EXPECT_INT(status(c), 200);
    EXPECT(conn_token(c));
    send_text(c, GET("/healthz"));
    EXPECT(!conn_token(c));
    fake_forget_out(c);
    send_text(c, "GET /healthz HTTP/1.1\r\n" HOST
                 "Authorization: Bearer wrong\r\n\r\n");
    EXPECT_INT(status(c), 403);
    EXPECT(!strstr(fake_text(c), "wrong"));
    fake_free(f);
}

TEST(each_request_is_counted_and_what_is_none_too)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    send_text(c, GET("/") GET("/nothing") PUBLISH("a", "2", "hi"));
    EXPECT_INT(fake_counted(f, "requests_total"), 3);
    send_text(fake_connect(f), "no request\r\n\r\n");
    EXPECT_INT(fake_counted(f, "requests_total"), 4);
    fake_free(f);
}
