/* Streams, long polls and the /test/ page of the HTTP edge. */
#include <stdio.h>
#include <string.h>

#include "gateways/http/form.h"
#include "gateways/http/http.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

#define HOST "Host: 127.0.0.1:8000\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define OLD_GET(path) "GET " path " HTTP/1.0\r\n\r\n"

struct scene {
    struct fake *f;
    struct conn *c;
    const struct fake_call *k; /* the subscription */
};

/* A client has asked; the router has not said anything yet. */
static struct scene ask(const char *text)
{
    struct scene s = {.f = fake_new(&http_edge, NULL)};

    s.c = fake_connect(s.f);
    fake_send(s.c, slice_str(text));
    s.k = fake_next_call(s.f);
    return s;
}

/* ... and is logged in, and has heard its first notice. */
static struct scene start(const char *text, enum notice_kind first)
{
    struct scene s = ask(text);

    EXPECT(s.k && s.k->kind == FAKE_SUBSCRIBE);
    http_edge.subscribed(s.c, s.k->ref);
    fake_notice(s.c, first, "a", "e1-4");
    http_edge.started(s.c, s.k->ref);
    fake_turn(s.f);
    return s;
}

/* What follows the head of the answer. */
static const char *body(const struct conn *c)
{
    const char *end = strstr(fake_text(c), "\r\n\r\n");

    return end ? end + 4 : "";
}

static void say(struct scene *s, uint64_t seq, const char *text)
{
    struct msg *m = fake_msg("a", seq, seq, text);

    fake_put(s->c, m);
    msg_drop(m);
}

#define NOTICE "{\"notice\":\"snapshot\",\"channel\":\"a\","   \
               "\"cursor\":\"e1-4\",\"state\":null}"
#define MESSAGE "{\"channel\":\"a\",\"epoch\":\"e1\",\"seq\":5,\"offset\":5," \
                "\"ts\":1700000000000,\"data\":\"hi\"}"

/* ---- the /test/ page ---------------------------------------------------- */

TEST(the_test_page_is_exact_to_the_byte)
{
    struct scene s = start(GET("/test/a%2Fb"), NOTICE_SNAPSHOT);

    EXPECT_STR(s.k->channel, "a/b");
    EXPECT_CONTAINS(fake_text(s.c), "Content-Type: text/html; charset=utf-8");
    EXPECT_CONTAINS(fake_text(s.c), "Transfer-Encoding: chunked\r\n");
    EXPECT_CONTAINS(fake_text(s.c), "Cache-Control: no-store\r\n");
    EXPECT_STR(body(s.c), "2a\r\nTouchline welcomes you! Your Id: a/b<br/>\n"
                          "\r\n");
    fake_forget_out(s.c);
    say(&s, 5, "hi");
    say(&s, 6, "<b>'\"&");
    EXPECT_STR(fake_text(s.c),
               "18\r\nRecvd msg #1: 'hi'<br/>\n\r\n"
               "2f\r\nRecvd msg #2: '&lt;b&gt;&#39;&quot;&amp;'<br/>\n\r\n");
    fake_forget_out(s.c);
    say(&s, 7, "a\rb\n");
    EXPECT_STR(fake_text(s.c), "1e\r\nRecvd msg #3: 'a&#13;b\n'<br/>\n\r\n");
    fake_free(s.f);
}

TEST(the_test_page_of_http_1_0_has_no_chunks)
{
    struct scene s = start(OLD_GET("/test/a"), NOTICE_SNAPSHOT);

    EXPECT(!strstr(fake_text(s.c), "chunked"));
    EXPECT_CONTAINS(fake_text(s.c), "Connection: close\r\n");
    EXPECT_STR(body(s.c), "Touchline welcomes you! Your Id: a<br/>\n");
    fake_forget_out(s.c);
    say(&s, 5, "hi");
    EXPECT_STR(fake_text(s.c), "Recvd msg #1: 'hi'<br/>\n");
    fake_free(s.f);
}

TEST(the_test_page_ticks)
{
    struct scene s = start(GET("/test/a?every=10"), NOTICE_SNAPSHOT);

    fake_forget_out(s.c);
    fake_pass(s.f, 20000);
    EXPECT_STR(fake_text(s.c), "16\r\nChunk 1 for id a<br/>\n\r\n"
                               "16\r\nChunk 2 for id a<br/>\n\r\n");
    fake_free(s.f);
}

TEST(the_test_page_tells_what_was_missed)
{
    struct scene s = start(GET("/test/a"), NOTICE_SNAPSHOT);
    struct slice a = SLICE("a");
    struct notice gap = {.kind = NOTICE_GAP, .channels = &a, .count = 1,
                         .why = GAP_SLOW, .missed = 12};

    fake_forget_out(s.c);
    http_edge.notice(s.c, &gap);
    EXPECT_STR(fake_text(s.c), "14\r\nMissed 12 msgs<br/>\n\r\n");
    fake_free(s.f);
}

/* A visit whose bytes the socket takes only in part is repeated for what was
 * not begun: no number is given twice, none is left out. */
static void numbers_survive_short_writes(const char *request,
                                         bool of_one_channel)
{
    struct scene s = start(request, NOTICE_SNAPSHOT);
    struct msg *m[10];
    unsigned sent = 0;
    char want[64];

    fake_forget_out(s.c);
    for (unsigned i = 0; i < ARRAY_LEN(m); i++)
        m[i] = fake_msg(of_one_channel || i % 2 ? "a" : "b", 100 + 3 * i,
                        of_one_channel ? 7 + i : 50 - i, "x");
    for (unsigned tries = 0; sent < ARRAY_LEN(m); tries++) {
        EXPECT(tries < 100);
        sent += fake_visit(s.c, m + sent, 10 - sent, tries % 4 * 40);
    }
    for (unsigned i = 1; i <= ARRAY_LEN(m); i++) {
        snprintf(want, sizeof want, "msg #%u: 'x'<br/>\n", i);
        EXPECT_CONTAINS(fake_text(s.c), want);
    }
    for (unsigned i = 0; i < ARRAY_LEN(m); i++)
        msg_drop(m[i]);
    fake_free(s.f);
}

TEST(the_numbers_of_the_test_page_survive_short_writes)
{
    numbers_survive_short_writes(GET("/test/a"), true);
    numbers_survive_short_writes(GET("/test/*"), false);
}

TEST(a_burst_of_messages_leaves_in_one_visit)
{
    struct scene s = start(GET("/test/a"), NOTICE_SNAPSHOT);
    struct msg *m[50];

    for (unsigned i = 0; i < ARRAY_LEN(m); i++)
        m[i] = fake_msg("a", i + 1, i + 1, "x");
    EXPECT_INT(fake_visit(s.c, m, ARRAY_LEN(m), SIZE_MAX), ARRAY_LEN(m));
    for (unsigned i = 0; i < ARRAY_LEN(m); i++)
        msg_drop(m[i]);
    fake_free(s.f);
}

/* ---- streams ------------------------------------------------------------ */

TEST(a_stream_of_lines_is_one_chunk_a_line)
{
    struct scene s = start(GET("/v1/stream?channel=a&name=ana"),
                           NOTICE_SNAPSHOT);
    char want[512];

    EXPECT_STR(s.k->name, "ana");
    EXPECT(!s.k->has_since);
    EXPECT_CONTAINS(fake_text(s.c), "Content-Type: application/x-ndjson\r\n");
    say(&s, 5, "hi");
    snprintf(want, sizeof want, "%zx\r\n%s\n\r\n%zx\r\n%s\n\r\n",
             sizeof NOTICE, NOTICE, sizeof MESSAGE, MESSAGE);
    EXPECT_STR(body(s.c), want);
    fake_free(s.f);
}

TEST(a_stream_of_http_1_0_has_no_chunks_and_ends_with_the_connection)
{
    struct scene s = start(OLD_GET("/v1/stream?channel=a"), NOTICE_SNAPSHOT);

    say(&s, 5, "hi");
    EXPECT_STR(body(s.c), NOTICE "\n" MESSAGE "\n");
    EXPECT_CONTAINS(fake_text(s.c), "Connection: close\r\n");
    http_edge.drain(s.c);
    fake_turn(s.f);
    EXPECT(fake_is_closed(s.c));
    EXPECT(!strstr(body(s.c), "\n0\r\n"));
    fake_free(s.f);
}

TEST(a_stream_of_events_can_be_resumed)
{
    struct scene s = start("GET /v1/stream?channel=a&since=e1-1 HTTP/1.0\r\n"
                           "Accept: text/event-stream\r\n"
                           "Last-Event-ID: e1-3\r\n\r\n", NOTICE_RESUMED);

    EXPECT(s.k->has_since);
    EXPECT_INT(s.k->since.seq, 3);
    EXPECT_CONTAINS(fake_text(s.c), "Content-Type: text/event-stream\r\n");
    say(&s, 5, "hi");
    EXPECT_STR(body(s.c),
               "retry: 1000\n\n"
               "event: notice\nid: e1-4\n"
               "data: {\"notice\":\"resumed\",\"channel\":\"a\","
               "\"cursor\":\"e1-4\"}\n\n"
               "id: e1-5\ndata: " MESSAGE "\n\n");
    fake_free(s.f);
}

TEST(no_text_can_forge_an_event)
{
    struct scene s = start("GET /v1/stream?channel=a HTTP/1.0\r\n"
                           "Accept: text/event-stream\r\n\r\n",
                           NOTICE_SNAPSHOT);
    unsigned lines = 0;

    fake_forget_out(s.c);
    say(&s, 5, "x\r\n\r\nevent: admin\rdata: y\n\nid: 9");
    for (const char *p = fake_text(s.c); *p; p++)
        lines += *p == '\n';
    EXPECT_INT(lines, 3);
    EXPECT(!strchr(fake_text(s.c), '\r'));
    fake_free(s.f);
}

TEST(a_message_is_encoded_once_for_all_of_a_form)
{
    struct scene s = start(GET("/v1/stream?channel=a"), NOTICE_SNAPSHOT);
    struct msg *m = fake_msg("a", 5, 5, "hi");
    struct wire *w;

    fake_put(s.c, m);
    w = m->forms[FORM_LINES_CHUNK];
    EXPECT(w);
    fake_put(s.c, m);
    EXPECT(m->forms[FORM_LINES_CHUNK] == w);
    for (unsigned i = 0; i < FORMS; i++)
        EXPECT((m->forms[i] != NULL) == (i == FORM_LINES_CHUNK));
    msg_drop(m);
    fake_free(s.f);
}

TEST(quiet_streams_give_signs_of_life_and_test_pages_none)
{
    struct scene lines = start(GET("/v1/stream?channel=a"), NOTICE_SNAPSHOT);
    struct scene page = start(GET("/test/a"), NOTICE_SNAPSHOT);
    struct scene events = start("GET /v1/stream?channel=a HTTP/1.1\r\n" HOST
                                "Accept: text/event-stream\r\n\r\n",
                                NOTICE_SNAPSHOT);

    fake_forget_out(lines.c);
    fake_forget_out(events.c);
    fake_pass(lines.f, 25000);
    fake_pass(events.f, 25000);
    EXPECT_STR(fake_text(lines.c), "1\r\n\n\r\n");
    EXPECT_STR(fake_text(events.c), "8\r\n: ping\n\n\r\n");
    EXPECT(!fake_has_pings(page.c));
    fake_free(lines.f);
    fake_free(page.f);
    fake_free(events.f);
}

TEST(a_stream_that_ends_properly_says_how_far_it_came)
{
    struct scene s = start("GET /v1/stream?channel=a HTTP/1.1\r\n" HOST
                           "TE: trailers\r\n\r\n", NOTICE_SNAPSHOT);
    const char *end;

    EXPECT_CONTAINS(fake_text(s.c), "Trailer: Touchline-Cursor\r\n");
    fake_set_seq(s.f, 9);
    http_edge.drain(s.c);
    fake_turn(s.f);
    EXPECT_CONTAINS(body(s.c), "{\"notice\":\"closing\",\"cursor\":\"e1-9\"");
    end = strstr(body(s.c), "\r\n0\r\n");
    EXPECT(end);
    EXPECT_STR(end, "\r\n0\r\nTouchline-Cursor: e1-9\r\n\r\n");
    EXPECT(fake_is_closed(s.c));
    fake_free(s.f);
}

TEST(nothing_is_said_before_the_login_is_in_force)
{
    struct scene s = ask(GET("/v1/stream?channel=a"));

    EXPECT_STR(fake_text(s.c), "");
    http_edge.subscribe_failed(s.c, s.k->ref, "channels.full", SLICE("no"));
    EXPECT_CONTAINS(fake_text(s.c), "HTTP/1.1 429 ");
    EXPECT_CONTAINS(fake_text(s.c), "Retry-After: ");
    EXPECT(!fake_is_closed(s.c));
    fake_free(s.f);
}

TEST(a_client_that_goes_takes_its_stream_along)
{
    struct scene s = start(GET("/v1/stream?channel=a"), NOTICE_SNAPSHOT);
    struct scene waiting = ask(GET("/v1/stream?channel=a"));

    say(&s, 5, "hi");
    fake_send_end(s.c);
    EXPECT(fake_is_closed(s.c));
    fake_send_end(waiting.c);
    EXPECT(fake_is_closed(waiting.c));
    fake_free(s.f);
    fake_free(waiting.f);
}

TEST(what_a_stream_is_sent_is_passed_over)
{
    struct scene s = start(GET("/v1/stream?channel=a"), NOTICE_SNAPSHOT);
    size_t before = fake_out(s.c).len;

    fake_send(s.c, SLICE(GET("/healthz")));
    EXPECT_INT(fake_out(s.c).len, before);
    EXPECT_INT(fake_unused(s.c), 0);
    fake_free(s.f);
}

TEST(what_came_with_the_request_of_a_stream_hides_no_end_behind_it)
{
    struct scene s = start(GET("/v1/stream?channel=a") GET("/healthz"),
                           NOTICE_SNAPSHOT);
    size_t before = fake_out(s.c).len;

    EXPECT_INT(fake_unused(s.c), 0);
    EXPECT_INT(fake_out(s.c).len, before);
    fake_send_end(s.c);
    EXPECT(fake_is_closed(s.c));
    fake_free(s.f);
}

TEST(head_of_a_stream_does_not_listen)
{
    struct scene s = ask("HEAD /v1/stream?channel=a HTTP/1.1\r\n" HOST "\r\n"
                         GET("/healthz"));

    EXPECT(!s.k);
    EXPECT_CONTAINS(fake_text(s.c), "application/x-ndjson");
    EXPECT_CONTAINS(fake_text(s.c), "alive");
    fake_free(s.f);
}

TEST(head_of_a_poll_says_no_length)
{
    struct scene s = ask("HEAD /v1/poll?channel=a HTTP/1.1\r\n" HOST "\r\n");

    EXPECT(!s.k);
    EXPECT_CONTAINS(fake_text(s.c), "Content-Type: application/json\r\n");
    EXPECT(!strstr(fake_text(s.c), "Content-Length"));
    fake_free(s.f);
}

static int refused(const char *text)
{
    struct scene s = ask(text);
    int status = atoi(fake_text(s.c) + strlen("HTTP/1.1 "));

    EXPECT(!s.k);
    fake_free(s.f);
    return status;
}

TEST(what_makes_no_sense_is_refused)
{
    EXPECT_INT(refused(GET("/v1/stream")), 400);
    EXPECT_INT(refused(GET("/v1/stream?channel=a&since=nonsense")), 400);
    EXPECT_INT(refused(GET("/v1/stream?channel=a&since=")), 400);
    EXPECT_INT(refused(GET("/v1/stream?channel=a&name=a%20b")), 400);
    EXPECT_INT(refused(GET("/v1/poll?channel=a&wait=x")), 400);
    EXPECT_INT(refused(GET("/test/a?every=x")), 400);
}

TEST(channels_of_a_query_are_decoded_once_and_plus_is_plus)
{
    struct scene s = ask(GET("/v1/stream?channel=a%252Fb&x=y&channel=c+d"));

    EXPECT_STR(s.k->channel, "a%2Fb c+d");
    fake_free(s.f);
}

/* conn_subscribe() refuses what is no id: it must see it. */
TEST(an_empty_channel_is_not_passed_over)
{
    struct scene s = ask(GET("/v1/poll?channel=a&channel=&channel&channel"));

    EXPECT_STR(s.k->channel, "a   ");
    fake_free(s.f);
}

/* ---- polls -------------------------------------------------------------- */

TEST(a_poll_without_since_answers_at_once)
{
    struct scene s;

    s = ask(GET("/v1/poll?channel=a"));
    fake_set_seq(s.f, 4);
    http_edge.subscribed(s.c, s.k->ref);
    fake_notice(s.c, NOTICE_SNAPSHOT, "a", "e1-4");
    EXPECT_STR(fake_text(s.c), "");
    http_edge.started(s.c, s.k->ref);
    fake_turn(s.f);
    EXPECT_STR(body(s.c),
               "{\"cursor\":\"e1-4\",\"messages\":[" NOTICE "]}\n");
    EXPECT(!conn_holds(s.c, SLICE("a")));
    EXPECT(!fake_is_closed(s.c));
    fake_free(s.f);
}

TEST(a_poll_with_since_waits_for_a_message)
{
    struct scene s = start(GET("/v1/poll?channel=a&since=e1-4"),
                           NOTICE_RESUMED);

    EXPECT_STR(fake_text(s.c), "");
    EXPECT(conn_holds(s.c, SLICE("a")));
    fake_pass(s.f, 10000);
    fake_set_seq(s.f, 5);
    say(&s, 5, "hi");
    EXPECT_STR(body(s.c),
               "{\"cursor\":\"e1-5\",\"messages\":["
               "{\"notice\":\"resumed\",\"channel\":\"a\","
               "\"cursor\":\"e1-4\"}," MESSAGE "]}\n");
    EXPECT(!conn_holds(s.c, SLICE("a")));
    fake_free(s.f);
}

static enum http_state state_of(const struct scene *s)
{
    const struct http_conn *h = conn_edge(s->c);

    return (enum http_state)h->state;
}

/* All that are of it in one notice. */
static struct scene resume(const char *text, const struct slice *channels,
                           unsigned count)
{
    struct scene s = ask(text);
    struct notice n = {.kind = NOTICE_RESUMED, .channels = channels,
                       .count = count, .cursor = SLICE("e1-4")};

    http_edge.subscribed(s.c, s.k->ref);
    http_edge.notice(s.c, &n);
    http_edge.started(s.c, s.k->ref);
    fake_turn(s.f);
    return s;
}

TEST(a_poll_that_waits_keeps_no_request_and_answers_as_if_it_had)
{
    static const struct slice both[] = {SLICE_INIT("a"), SLICE_INIT("b")};
    struct scene s = resume("GET /v1/poll?channel=a&channel=b&since=e1-4 "
                            "HTTP/1.0\r\nConnection: keep-alive\r\n"
                            "Origin: http://127.0.0.1:9\r\n" HOST "\r\n",
                            both, 2);

    EXPECT_INT(state_of(&s), HTTP_WAITING);
    fake_set_moves(s.f, true); /* and whatever is kept is handed over */
    fake_pass(s.f, 10000);
    EXPECT_INT(state_of(&s), HTTP_WAITING);
    EXPECT(fake_moved(s.f) > 0);
    EXPECT_STR(fake_text(s.c), "");
    fake_set_seq(s.f, 5);
    say(&s, 5, "hi");
    EXPECT_STR(body(s.c),
               "{\"cursor\":\"e1-5\",\"messages\":["
               "{\"notice\":\"resumed\",\"channels\":[\"a\",\"b\"],"
               "\"cursor\":\"e1-4\"}," MESSAGE "]}\n");
    EXPECT_CONTAINS(fake_text(s.c), "\r\nConnection: keep-alive\r\n");
    EXPECT_CONTAINS(fake_text(s.c), "\r\nVary: Origin\r\n");
    EXPECT_CONTAINS(fake_text(s.c), "\r\nAccess-Control-Allow-Origin: "
                                    "http://127.0.0.1:9\r\n");
    fake_forget_out(s.c);
    fake_send(s.c, SLICE(GET("/healthz")));
    EXPECT_CONTAINS(fake_text(s.c), "alive");
    fake_free(s.f);
}

TEST(a_poll_of_which_not_all_is_resumed_keeps_what_it_was_told)
{
    static const struct slice a = SLICE_INIT("a");
    struct scene s = resume(GET("/v1/poll?channel=a&channel=b&since=e1-4"),
                            &a, 1);

    EXPECT_INT(state_of(&s), HTTP_POLL);
    say(&s, 5, "hi");
    EXPECT_CONTAINS(body(s.c), "\"resumed\",\"channel\":\"a\",\"cursor\":"
                               "\"e1-4\"}," MESSAGE);
    fake_free(s.f);
}

/* With what a gap begins that the cursor of another epoch would hide. */
TEST(a_poll_that_outlives_its_epoch_says_no_more_that_it_is_resumed)
{
    struct scene s = start(GET("/v1/poll?channel=a&since=e1-4"),
                           NOTICE_RESUMED);

    EXPECT_INT(state_of(&s), HTTP_WAITING);
    fake_set_epoch(s.f, "e2");
    fake_set_moves(s.f, true);
    fake_turn(s.f);
    fake_notice(s.c, NOTICE_GAP, "a", "e2-9");
    fake_notice(s.c, NOTICE_SNAPSHOT, "a", "e2-9");
    http_edge.restarted(s.c);
    fake_turn(s.f);
    EXPECT_CONTAINS(body(s.c), "\"messages\":[{\"notice\":\"gap\",");
    fake_free(s.f);
}

TEST(a_poll_in_vain_is_empty_after_its_wait)
{
    struct scene s = start(GET("/v1/poll?channel=a&since=e1-4&wait=7"),
                           NOTICE_RESUMED);

    fake_set_seq(s.f, 8);
    fake_pass(s.f, 6900);
    EXPECT_STR(fake_text(s.c), "");
    fake_pass(s.f, 200);
    EXPECT_STR(body(s.c), "{\"cursor\":\"e1-8\",\"messages\":[]}\n");
    EXPECT_CONTAINS(fake_text(s.c), "Cache-Control: no-store\r\n");
    fake_free(s.f);
}

TEST(a_poll_waits_25_seconds_and_60_at_most)
{
    struct scene usual = start(GET("/v1/poll?channel=a&since=e1-4"),
                               NOTICE_RESUMED);
    struct scene most = start(GET("/v1/poll?channel=a&since=e1-4&wait=999"),
                              NOTICE_RESUMED);
    struct scene none = start(GET("/v1/poll?channel=a&since=e1-4&wait=0"),
                              NOTICE_RESUMED);

    EXPECT_INT(fake_deadline(usual.c), 25000);
    EXPECT_INT(fake_deadline(most.c), 60000);
    fake_pass(none.f, 100);
    EXPECT_CONTAINS(body(none.c), "\"messages\":[]");
    fake_free(usual.f);
    fake_free(most.f);
    fake_free(none.f);
}

TEST(a_poll_hears_of_a_gap_and_of_what_comes_behind_it)
{
    struct scene s = ask(GET("/v1/poll?channel=a&since=e1-4"));
    struct msg *m = fake_msg("a", 7, 5, "news");

    http_edge.subscribed(s.c, s.k->ref);
    fake_notice(s.c, NOTICE_GAP, "b", "e1-4");
    fake_notice(s.c, NOTICE_RESUMED, "a", "e1-4");
    http_edge.started(s.c, s.k->ref);
    EXPECT_STR(fake_text(s.c), ""); /* the ring's turn comes */
    EXPECT_INT(fake_visit(s.c, &m, 1, SIZE_MAX), 1);
    EXPECT_CONTAINS(body(s.c), "\"notice\":\"gap\"");
    EXPECT_CONTAINS(body(s.c), "news");
    msg_drop(m);
    fake_free(s.f);
}

TEST(a_poll_hears_of_a_gap_at_once)
{
    struct scene s = ask(GET("/v1/poll?channel=a&since=e0-4"));

    http_edge.subscribed(s.c, s.k->ref);
    fake_notice(s.c, NOTICE_GAP, "a", "e1-4");
    fake_notice(s.c, NOTICE_SNAPSHOT, "a", "e1-4");
    http_edge.started(s.c, s.k->ref);
    fake_pass(s.f, 100);
    EXPECT_CONTAINS(body(s.c), "\"notice\":\"gap\"");
    EXPECT_CONTAINS(body(s.c), "\"notice\":\"snapshot\"");
    fake_free(s.f);
}

/* All of it, and not what comes first: the answer ends the subscription. */
TEST(a_poll_that_begins_anew_hears_of_all_its_channels)
{
    struct scene s = start(GET("/v1/poll?channel=a&channel=b&since=e1-4"),
                           NOTICE_RESUMED);

    fake_notice(s.c, NOTICE_GAP, "a", "e2-9");
    fake_notice(s.c, NOTICE_GAP, "b", "e2-9");
    EXPECT_STR(fake_text(s.c), "");
    fake_notice(s.c, NOTICE_SNAPSHOT, "a", "e2-9");
    EXPECT_STR(fake_text(s.c), "");
    http_edge.restarted(s.c);
    fake_turn(s.f);
    EXPECT_CONTAINS(body(s.c), "\"notice\":\"gap\",\"channel\":\"a\"");
    EXPECT_CONTAINS(body(s.c), "\"notice\":\"gap\",\"channel\":\"b\"");
    EXPECT_CONTAINS(body(s.c), "\"notice\":\"snapshot\"");
    fake_free(s.f);
}

TEST(a_poll_whose_time_is_up_while_it_begins_anew_loses_no_gap)
{
    struct scene s = start(GET("/v1/poll?channel=a&since=e1-4&wait=7"),
                           NOTICE_RESUMED);

    fake_notice(s.c, NOTICE_GAP, "a", "e2-9");
    fake_pass(s.f, 7100);
    EXPECT_CONTAINS(body(s.c), "\"notice\":\"gap\"");
    fake_free(s.f);
}

TEST(a_poll_takes_a_page_and_no_more)
{
    static const char *const sets[] = {"limits.page=3", NULL};
    struct scene s = {.f = fake_new(&http_edge, sets)};
    struct msg *m[5];

    s.c = fake_connect(s.f);
    fake_send(s.c, SLICE(GET("/v1/poll?channel=a&since=0")));
    s.k = fake_next_call(s.f);
    http_edge.subscribed(s.c, s.k->ref);
    http_edge.started(s.c, s.k->ref);
    for (unsigned i = 0; i < 5; i++)
        m[i] = fake_msg("a", i + 1, i + 1, "x");
    EXPECT_INT(fake_visit(s.c, m, 5, SIZE_MAX), 3);
    EXPECT_CONTAINS(body(s.c), "\"seq\":3");
    EXPECT(!strstr(body(s.c), "\"seq\":4"));
    for (unsigned i = 0; i < 5; i++)
        msg_drop(m[i]);
    fake_free(s.f);
}

TEST(a_message_that_is_put_again_stands_in_a_poll_once)
{
    struct scene s = start(GET("/v1/poll?channel=a&since=e1-4"),
                           NOTICE_RESUMED);
    struct msg *m = fake_msg("a", 5, 5, "hi");
    const char *first;

    /* What was pending in front of it did not leave: the visit is repeated. */
    EXPECT_INT(http_edge.put(s.c, m, 0, NULL), PUT_OK);
    fake_put(s.c, m);
    first = strstr(body(s.c), "\"seq\":5");
    EXPECT(first && !strstr(first + 1, "\"seq\":5"));
    msg_drop(m);
    fake_free(s.f);
}

TEST(requests_behind_a_poll_wait_for_it)
{
    struct scene s = start(GET("/v1/poll?channel=a&since=e1-4")
                           GET("/healthz"), NOTICE_RESUMED);

    EXPECT_STR(fake_text(s.c), "");
    say(&s, 5, "hi");
    EXPECT_CONTAINS(fake_text(s.c), "\"seq\":5");
    EXPECT_CONTAINS(fake_text(s.c), "alive");
    fake_free(s.f);
}

TEST(who_goes_while_requests_wait_behind_its_poll_is_not_kept)
{
    struct scene s = start(GET("/v1/poll?channel=a&since=e1-4")
                           GET("/healthz"), NOTICE_RESUMED);
    struct scene early = ask(GET("/v1/stream?channel=a") GET("/healthz"));

    fake_send_end(s.c);
    EXPECT(fake_is_closed(s.c));
    fake_send_end(early.c);
    EXPECT(fake_is_closed(early.c));
    fake_free(s.f);
    fake_free(early.f);
}

TEST(what_was_asked_before_the_end_is_answered_though_it_waits)
{
    struct scene s = ask(GET("/v1/history/a") GET("/healthz"));

    fake_send_end(s.c);
    EXPECT(!fake_is_closed(s.c));
    fake_free(s.f);
}

TEST(a_poll_ends_when_the_gateway_drains)
{
    struct scene s = start(GET("/v1/poll?channel=a&since=e1-4"),
                           NOTICE_RESUMED);
    struct scene early = ask(GET("/v1/poll?channel=a"));

    http_edge.drain(s.c);
    fake_turn(s.f);
    EXPECT_CONTAINS(body(s.c), "\"messages\":[]");
    EXPECT_CONTAINS(fake_text(s.c), "Connection: close\r\n");
    EXPECT(fake_is_closed(s.c));
    http_edge.drain(early.c);
    fake_turn(early.f);
    EXPECT_CONTAINS(fake_text(early.c), "HTTP/1.1 503 ");
    EXPECT(fake_is_closed(early.c));
    fake_free(s.f);
    fake_free(early.f);
}

TEST(who_is_kicked_is_told_that_an_operator_did_it)
{
    struct scene lines = start(GET("/v1/stream?channel=a"), NOTICE_SNAPSHOT);
    struct scene poll = start(GET("/v1/poll?channel=a&since=e1-4"),
                              NOTICE_RESUMED);
    struct scene early = ask(GET("/v1/poll?channel=a"));
    static const char closing[] =
        "{\"notice\":\"closing\",\"cursor\":\"e1-4\","
        "\"why\":\"An operator closed this connection.\"}";

    fake_set_seq(lines.f, 4);
    http_edge.kicked(lines.c);
    fake_turn(lines.f);
    EXPECT_CONTAINS(body(lines.c), closing);
    EXPECT_CONTAINS(fake_text(lines.c), "\n0\r\n");
    EXPECT(fake_is_closed(lines.c));
    fake_set_seq(poll.f, 4);
    http_edge.kicked(poll.c);
    fake_turn(poll.f);
    EXPECT_CONTAINS(body(poll.c), "\"messages\":[{\"notice\":\"closing\",");
    EXPECT_CONTAINS(body(poll.c), closing);
    EXPECT_CONTAINS(fake_text(poll.c), "Connection: close\r\n");
    EXPECT(fake_is_closed(poll.c));
    http_edge.kicked(early.c);
    fake_turn(early.f);
    EXPECT_CONTAINS(fake_text(early.c), "HTTP/1.1 503 ");
    EXPECT_CONTAINS(fake_text(early.c), "connection.kicked");
    EXPECT(fake_is_closed(early.c));
    fake_free(lines.f);
    fake_free(poll.f);
    fake_free(early.f);
}

TEST(who_cannot_go_on_is_told_why_with_its_cursor)
{
    static const struct give_up unread = {"unread", "store.failed",
                                          "It cannot be read."};
    struct scene lines = start(GET("/v1/stream?channel=a"), NOTICE_SNAPSHOT);
    struct scene poll = start(GET("/v1/poll?channel=a&since=e1-4"),
                              NOTICE_RESUMED);
    struct scene early = ask(GET("/v1/poll?channel=a&since=e1-4"));

    fake_set_seq(lines.f, 4);
    http_edge.give_up(lines.c, &unread);
    fake_turn(lines.f);
    EXPECT_CONTAINS(body(lines.c), "{\"notice\":\"closing\",\"cursor\":\"e1-4\","
                                   "\"why\":\"It cannot be read.\",");
    EXPECT_CONTAINS(fake_text(lines.c), "\n0\r\n");
    EXPECT(fake_is_closed(lines.c));
    EXPECT_STR(fake_close_why(lines.c), "unread");
    fake_set_seq(poll.f, 4);
    http_edge.give_up(poll.c, &unread);
    fake_turn(poll.f);
    EXPECT_CONTAINS(body(poll.c), "{\"cursor\":\"e1-4\",\"messages\":[]}");
    EXPECT(fake_is_closed(poll.c));
    http_edge.give_up(early.c, &unread);
    fake_turn(early.f);
    EXPECT_CONTAINS(fake_text(early.c), "HTTP/1.1 503 ");
    EXPECT_CONTAINS(fake_text(early.c), "store.failed");
    EXPECT(fake_is_closed(early.c));
    fake_free(lines.f);
    fake_free(poll.f);
    fake_free(early.f);
}

TEST(a_refused_subscription_is_an_answer)
{
    struct fake *f = fake_new(&http_edge, NULL);
    struct conn *c = fake_connect(f);

    fake_refuse_next(f, PUBLISHED_TOO_MANY, "channels.many", "too many");
    fake_send(c, SLICE(GET("/v1/stream?channel=a") GET("/healthz")));
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 429 ");
    EXPECT_CONTAINS(fake_text(c), "alive");
    fake_free(f);
}
