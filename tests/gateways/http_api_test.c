/* Requests with one answer: publish, history, presence, figures, pages. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "gateways/http/http.h"
#include "proto/report.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

#define HOST "Host: 127.0.0.1:8000\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

struct scene {
    struct fake *f;
    struct conn *c;
};

static struct scene scene(const char *const *sets)
{
    struct scene s = {.f = fake_new(&http_edge, sets)};

    s.c = fake_connect(s.f);
    return s;
}

static void ask(struct scene *s, const char *text)
{
    fake_forget_out(s->c);
    fake_send(s->c, slice_str(text));
}

/* A POST or PUT with these header lines and this body. */
static void send_body(struct scene *s, const char *line, const char *fields,
                      struct slice body)
{
    struct buf b = BUF_INIT;

    buf_addf(&b, "%s HTTP/1.1\r\n" HOST "%sContent-Length: %zu\r\n\r\n", line,
             fields, body.len);
    buf_add(&b, body);
    fake_forget_out(s->c);
    fake_send(s->c, buf_slice(&b));
    buf_fini(&b);
}

static int status(const struct scene *s)
{
    return fake_out(s->c).len > 9 ? atoi(fake_text(s->c) + 9) : 0;
}

static const char *body(const struct scene *s)
{
    const char *end = strstr(fake_text(s->c), "\r\n\r\n");

    return end ? end + 4 : "";
}

static void published(struct scene *s, uint32_t ref,
                      enum publish_status result, uint64_t seq)
{
    struct published p = {
        .status = result,
        .seq = seq,
        .offset = seq,
        .reached = 3,
        .channel = SLICE("a"),
        .code = SLICE("match.rule"),
        .text = SLICE("words"),
    };

    http_edge.published(s->c, ref, &p);
    fake_turn(s->f);
}

/* ---- publish ------------------------------------------------------------ */

TEST(a_publication_is_answered_with_its_numbers)
{
    struct scene s = scene(NULL);
    const struct fake_call *k;

    send_body(&s, "POST /v1/publish/room/a%2fb",
              "Idempotency-Key: k1\r\nTouchline-Key: key 1\r\n"
              "Touchline-From: ana\r\n", SLICE("hi"));
    k = fake_next_call(s.f);
    EXPECT_STR(k->channel, "room/a/b");
    EXPECT_STR(k->idempotency, "k1");
    EXPECT_STR(k->key, "key 1");
    EXPECT_STR(k->from, "ana");
    EXPECT_INT(k->format, MSG_TEXT);
    published(&s, k->ref, PUBLISHED_OK, 7);
    EXPECT_INT(status(&s), 201);
    EXPECT_STR(body(&s), "{\"channel\":\"a\",\"epoch\":\"e1\",\"seq\":7,"
                         "\"offset\":7,\"reached\":3}\n");
    fake_free(s.f);
}

TEST(each_outcome_has_its_status)
{
    static const struct {
        enum publish_status result;
        int status;
    } cases[] = {
        {PUBLISHED_DUPLICATE, 200}, {PUBLISHED_BAD, 400},
        {PUBLISHED_DENIED, 403},    {PUBLISHED_NOT_FOUND, 404},
        {PUBLISHED_CONFLICT, 409},  {PUBLISHED_TOO_BIG, 413},
        {PUBLISHED_TOO_MANY, 429},  {PUBLISHED_UNAVAILABLE, 503},
        {PUBLISHED_UNKNOWN, 503},
    };
    struct scene s = scene(NULL);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        send_body(&s, "POST /v1/publish/a", "", SLICE("hi"));
        published(&s, fake_next_call(s.f)->ref, cases[i].result, 7);
        EXPECT_INT(status(&s), cases[i].status);
        if (cases[i].status == 200)
            EXPECT_CONTAINS(body(&s), "\"duplicate\":true");
        else
            EXPECT_STR(body(&s), "{\"error\":{\"code\":\"match.rule\","
                                 "\"text\":\"words\"}}\n");
        EXPECT((cases[i].status == 503 || cases[i].status == 429) ==
               !!strstr(fake_text(s.c), "Retry-After: 2\r\n"));
    }
    fake_free(s.f);
}

static int format_for(struct scene *s, const char *type, struct slice data)
{
    char field[128];
    const struct fake_call *k;

    snprintf(field, sizeof field, "Content-Type: %s\r\n", type);
    send_body(s, "POST /v1/publish/a", type[0] ? field : "", data);
    k = fake_next_call(s->f);
    if (!k)
        return -status(s);
    EXPECT_INT(k->data_len, data.len);
    published(s, k->ref, PUBLISHED_OK, 1);
    return (int)k->format;
}

TEST(the_type_of_the_body_decides_its_format)
{
    struct scene s = scene(NULL);
    struct slice binary = SLICE("\xff\xfe");

    EXPECT_INT(format_for(&s, "", SLICE("hi")), MSG_TEXT);
    EXPECT_INT(format_for(&s, "", SLICE("")), MSG_TEXT);
    EXPECT_INT(format_for(&s, "", binary), MSG_BYTES);
    EXPECT_INT(format_for(&s, "text/plain; charset=utf-8", SLICE("hi")),
               MSG_TEXT);
    EXPECT_INT(format_for(&s, "text/plain", binary), -400);
    EXPECT_INT(format_for(&s, "application/x-www-form-urlencoded",
                          SLICE("{\"a\":1}")), MSG_TEXT);
    EXPECT_INT(format_for(&s, "application/octet-stream", SLICE("hi")),
               MSG_BYTES);
    EXPECT_INT(format_for(&s, "Application/JSON; x=y", SLICE("{\"a\": 1}")),
               MSG_JSON);
    EXPECT_INT(format_for(&s, "application/json", SLICE("{a:1}")), -400);
    EXPECT_INT(format_for(&s, "application/json", SLICE("")), -400);
    fake_free(s.f);
}

TEST(what_stands_beside_the_data_is_checked)
{
    static const char *const bad[] = {
        "Touchline-From: a b\r\n", "Touchline-From: a:b\r\n",
        "Touchline-From: \r\n", "Touchline-From: \xff\r\n",
        "Touchline-From: 12345678901234567890123456789012345678901234567890"
        "123456789012345\r\n",
        "Idempotency-Key: a b\r\n", "Idempotency-Key: \r\n",
        "Idempotency-Key: \xc3\xab\r\n", "Touchline-Key: \r\n",
        "Touchline-Key: \xff\r\n", "Touchline-Key: a\xc2\x85" "b\r\n",
    };
    struct scene s = scene(NULL);

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        send_body(&s, "POST /v1/publish/a", bad[i], SLICE("hi"));
        EXPECT_INT(status(&s), 400);
        EXPECT(!fake_next_call(s.f));
    }
    fake_free(s.f);
}

TEST(a_refusal_at_the_door_says_how_to_open_it)
{
    struct scene s = scene(NULL);

    fake_refuse_next(s.f, PUBLISHED_DENIED, "publish.denied", "use a token");
    send_body(&s, "POST /v1/publish/match/x", "", SLICE("hi"));
    EXPECT_INT(status(&s), 403);
    EXPECT_CONTAINS(body(&s), "use a token");
    EXPECT(!fake_is_closed(s.c));
    fake_free(s.f);
}

TEST(a_batch_is_published_in_order_and_answered_in_order)
{
    struct scene s = scene(NULL);
    const struct fake_call *k[3];

    send_body(&s, "POST /v1/publish", "Content-Type: application/json\r\n",
              SLICE("[{\"channel\":\"a\",\"data\":{\"x\": 1.50 },"
                    "\"key\":\"k\\u0041\"},"
                    "{\"data\":\"s\",\"channel\":\"b\",\"from\":\"ana\"},"
                    "{\"channel\":\"c\",\"data\":null,"
                    "\"idempotency\":\"i\"}]"));
    for (int i = 0; i < 3; i++) {
        k[i] = fake_next_call(s.f);
        EXPECT(k[i]);
        EXPECT_INT(k[i]->format, MSG_JSON);
    }
    EXPECT_STR(k[0]->data, "{\"x\": 1.50 }");
    EXPECT_STR(k[0]->key, "kA");
    EXPECT_STR(k[1]->data, "\"s\"");
    EXPECT_STR(k[1]->from, "ana");
    EXPECT_STR(k[2]->data, "null");
    EXPECT_STR(k[2]->idempotency, "i");
    published(&s, k[2]->ref, PUBLISHED_OK, 3);
    published(&s, k[0]->ref, PUBLISHED_OK, 1);
    EXPECT_STR(fake_text(s.c), "");
    published(&s, k[1]->ref, PUBLISHED_CONFLICT, 0);
    EXPECT_INT(status(&s), 201);
    EXPECT(strstr(body(&s), "\"seq\":1") < strstr(body(&s), "match.rule"));
    EXPECT(strstr(body(&s), "match.rule") < strstr(body(&s), "\"seq\":3"));
    fake_free(s.f);
}

TEST(a_long_string_of_a_batch_leaves_those_before_it_where_they_are)
{
    struct scene s = scene(NULL);
    const struct fake_call *k;
    struct buf b = BUF_INIT;

    buf_add_str(&b, "[{\"channel\":\"user/an\\u0061\",\"data\":1,\"key\":\"");
    for (unsigned i = 0; i < 200; i++)
        buf_add_byte(&b, 'k');
    buf_add_str(&b, "\"}]");
    send_body(&s, "POST /v1/publish", "", buf_slice(&b));
    k = fake_next_call(s.f);
    EXPECT(k);
    EXPECT_STR(k->channel, "user/ana");
    EXPECT_INT(strlen(k->key), 200);
    buf_fini(&b);
    fake_free(s.f);
}

TEST(a_batch_of_which_nothing_was_taken_says_when_to_come_back)
{
    struct scene s = scene(NULL);

    send_body(&s, "POST /v1/publish", "", SLICE("[{\"channel\":\"a\","
                                                "\"data\":1}]"));
    published(&s, fake_next_call(s.f)->ref, PUBLISHED_UNAVAILABLE, 0);
    EXPECT_INT(status(&s), 503);
    EXPECT_CONTAINS(fake_text(s.c), "Retry-After: 2\r\n");
    fake_free(s.f);
}

TEST(white_space_around_a_batch_is_json)
{
    struct scene s = scene(NULL);

    send_body(&s, "POST /v1/publish", "",
              SLICE("\r\n\t [{\"channel\":\"a\",\"data\":1}]\n"));
    EXPECT_STR(fake_next_call(s.f)->data, "1");
    fake_free(s.f);
}

TEST(a_malformed_batch_publishes_nothing)
{
    static const char *const bad[] = {
        "{}", "[1]", "[{\"channel\":\"a\"}]", "[{\"data\":1}]", "[",
        "[{\"channel\":1,\"data\":1}]",
        "[{\"channel\":\"a\",\"data\":1},{\"channel\":\"a\"}]",
        "[{\"channel\":\"a\",\"channel\":\"b\",\"data\":1}]",
    };
    struct scene s = scene(NULL);

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        send_body(&s, "POST /v1/publish", "", slice_str(bad[i]));
        EXPECT_INT(status(&s), 400);
        EXPECT(!fake_next_call(s.f));
    }
    send_body(&s, "POST /v1/publish", "Content-Type: text/xml\r\n",
              SLICE("[]"));
    EXPECT_INT(status(&s), 415);
    send_body(&s, "POST /v1/publish", "", SLICE("[]"));
    EXPECT_INT(status(&s), 200);
    EXPECT_STR(body(&s), "[]\n");
    fake_free(s.f);
}

TEST(a_batch_has_256_messages_at_most)
{
    struct scene s = scene(NULL);
    struct buf b = BUF_INIT;
    unsigned calls = 0;

    buf_add_byte(&b, '[');
    for (int i = 0; i < 256; i++)
        buf_addf(&b, "%s{\"channel\":\"a\",\"data\":%d}", i ? "," : "", i);
    buf_add_byte(&b, ']');
    send_body(&s, "POST /v1/publish", "", buf_slice(&b));
    while (fake_next_call(s.f))
        calls++;
    EXPECT_INT(calls, 256);
    b.len--;
    buf_add_str(&b, ",{\"channel\":\"a\",\"data\":0}]");
    fake_free(s.f);
    s = scene(NULL);
    send_body(&s, "POST /v1/publish", "", buf_slice(&b));
    EXPECT_INT(status(&s), 413);
    EXPECT(!fake_next_call(s.f));
    EXPECT_INT(fake_limited(s.f, LIMIT_BATCH), 1);
    buf_fini(&b);
    fake_free(s.f);
}

/* ---- history ------------------------------------------------------------ */

static void row(struct scene *s, uint32_t ref, uint64_t seq)
{
    struct msg *m = fake_msg("a", seq, seq, "x");

    http_edge.row(s->c, ref, m);
    msg_drop(m);
}

TEST(history_is_a_page_with_a_cursor_and_a_tag)
{
    struct scene s = scene(NULL);
    const struct fake_call *k;
    char tag[64], again[256];

    ask(&s, GET("/v1/history/a?last=2"));
    k = fake_next_call(s.f);
    EXPECT_INT(k->mode, FETCH_LAST);
    EXPECT_INT(k->limit, 2);
    row(&s, k->ref, 4);
    row(&s, k->ref, 5);
    http_edge.page_end(s.c, k->ref, 0, true, 9);
    EXPECT_INT(status(&s), 200);
    EXPECT_CONTAINS(body(&s), "{\"cursor\":\"e1-5\",\"messages\":[{");
    EXPECT_CONTAINS(body(&s), "\"seq\":4");
    EXPECT_CONTAINS(body(&s), "],\"more\":true}\n");
    EXPECT(sscanf(strstr(fake_text(s.c), "ETag: ") + 6, "%63s", tag) == 1);
    snprintf(again, sizeof again, "GET /v1/history/a HTTP/1.1\r\n" HOST
             "If-None-Match: \"x\", W/%s\r\n\r\n", tag);
    ask(&s, again);
    k = fake_next_call(s.f);
    EXPECT_INT(k->limit, 100);
    row(&s, k->ref, 4);
    row(&s, k->ref, 5);
    http_edge.page_end(s.c, k->ref, 0, true, 12);
    EXPECT_INT(status(&s), 304);
    EXPECT_STR(body(&s), "");
    EXPECT(!strstr(fake_text(s.c), "Content-Length"));
    fake_free(s.f);
}

TEST(history_asks_for_the_page_that_is_wanted)
{
    struct scene s = scene(NULL);
    const struct fake_call *k;

    ask(&s, GET("/v1/history/a?since=e1-7&limit=5000"));
    k = fake_next_call(s.f);
    EXPECT_INT(k->mode, FETCH_SINCE);
    EXPECT_INT(k->after, 7);
    EXPECT_INT(k->limit, 1000);
    http_edge.page_end(s.c, k->ref, 0, false, 9);
    EXPECT_STR(body(&s),
               "{\"cursor\":\"e1-9\",\"messages\":[],\"more\":false}\n");
    ask(&s, GET("/v1/history/a?before=e1-7"));
    k = fake_next_call(s.f);
    EXPECT_INT(k->mode, FETCH_BEFORE);
    EXPECT_INT(k->upto, 7);
    http_edge.page_end(s.c, k->ref, 0, false, 9);
    ask(&s, GET("/v1/history/a?before=0"));
    k = fake_next_call(s.f);
    EXPECT_INT(k->mode, FETCH_BEFORE);
    EXPECT_INT(k->upto, 0);
    http_edge.page_end(s.c, k->ref, 0, false, 0);
    EXPECT_STR(body(&s),
               "{\"cursor\":\"e1-0\",\"messages\":[],\"more\":false}\n");
    fake_free(s.f);
}

TEST(history_tells_what_is_missing_in_its_place)
{
    struct scene s = scene(NULL);
    struct frame_hole hole = {.why = HOLE_DAMAGED, .from = 5, .to = 6,
                              .seq = 4, .id = SLICE("a")};
    const struct fake_call *k;

    ask(&s, GET("/v1/history/a?since=e0-3"));
    k = fake_next_call(s.f);
    EXPECT_INT(k->after, 0);
    row(&s, k->ref, 4);
    http_edge.hole(s.c, k->ref, &hole);
    http_edge.page_end(s.c, k->ref, 0, false, 9);
    EXPECT_CONTAINS(body(&s), "{\"cursor\":\"e1-9\",\"messages\":["
                              "{\"notice\":\"gap\",\"channel\":\"a\"");
    EXPECT_CONTAINS(body(&s), "\"why\":\"epoch\"}");
    EXPECT_CONTAINS(body(&s), "\"from\":5,\"to\":6,\"count\":2,"
                              "\"why\":\"damaged\"}]");
    fake_free(s.f);
}

TEST(a_cursor_from_the_future_is_told_so)
{
    struct scene s = scene(NULL);
    const struct fake_call *k;

    ask(&s, GET("/v1/history/a?since=e1-99"));
    k = fake_next_call(s.f);
    http_edge.page_end(s.c, k->ref, 0, false, 9);
    EXPECT_CONTAINS(body(&s), "\"why\":\"future\"");
    EXPECT_CONTAINS(body(&s), "{\"cursor\":\"e1-9\"");
    fake_set_seq(s.f, 8);
    ask(&s, GET("/v1/history/a?since=e1-99"));
    k = fake_next_call(s.f);
    http_edge.page_end(s.c, k->ref, ERR_BAD, false, 0);
    EXPECT_CONTAINS(body(&s), "\"why\":\"future\"");
    EXPECT_CONTAINS(body(&s), "{\"cursor\":\"e1-8\"");
    fake_free(s.f);
}

TEST(history_that_makes_no_sense_or_cannot_be_read_is_an_error)
{
    struct scene s = scene(NULL);

    ask(&s, GET("/v1/history/a?since=x"));
    EXPECT_INT(status(&s), 400);
    ask(&s, GET("/v1/history/a?last=0"));
    EXPECT_INT(status(&s), 400);
    ask(&s, GET("/v1/history/a*"));
    EXPECT_INT(status(&s), 400);
    EXPECT(!fake_next_call(s.f));
    ask(&s, GET("/v1/history/a"));
    http_edge.page_end(s.c, fake_next_call(s.f)->ref, ERR_IO, false, 0);
    EXPECT_INT(status(&s), 503);
    EXPECT_CONTAINS(body(&s), "store.failed");
    fake_free(s.f);
}

/* ---- figures ------------------------------------------------------------ */

static void answer(struct scene *s, uint32_t ref, struct buf *report)
{
    http_edge.answered(s->c, ref, PUBLISHED_OK, false, buf_slice(report),
                       9);
    fake_turn(s->f);
    buf_fini(report);
}

TEST(presence_counts_connections_and_names_some)
{
    struct scene s = scene(NULL);
    struct buf b = BUF_INIT;
    const struct fake_call *k;

    ask(&s, GET("/v1/presence/room/a"));
    k = fake_next_call(s.f);
    EXPECT_STR(k->verb, "presence");
    EXPECT_STR(k->args, "room/a");
    report_part(&b, "presence");
    report_row(&b);
    report_text(&b, "channel", SLICE("room/a"));
    report_number(&b, "count", 5);
    report_row_end(&b);
    report_part(&b, "names");
    report_row(&b);
    report_text(&b, "name", SLICE("ana"));
    report_number(&b, "connections", 2);
    report_row_end(&b);
    answer(&s, k->ref, &b);
    EXPECT_STR(body(&s), "{\"count\":5,\"names\":"
                         "[{\"name\":\"ana\",\"connections\":2}]}\n");
    fake_free(s.f);
}

TEST(channels_are_listed_by_pattern)
{
    struct scene s = scene(NULL);
    struct buf b = BUF_INIT;
    const struct fake_call *k;

    ask(&s, GET("/v1/channels?match=room/*&after=room/a"));
    k = fake_next_call(s.f);
    EXPECT_STR(k->verb, "channels");
    EXPECT_STR(k->args, "room/* room/a");
    report_part(&b, "channels");
    report_row(&b);
    report_text(&b, "channel", SLICE("room/b"));
    report_row_end(&b);
    report_part(&b, "page");
    report_row(&b);
    report_bool(&b, "more", true);
    report_text(&b, "after", SLICE("room/q"));
    report_row_end(&b);
    answer(&s, k->ref, &b);
    EXPECT_STR(body(&s),
               "{\"channels\":[{\"channel\":\"room/b\"}],\"more\":true,"
               "\"after\":\"room/q\"}\n");
    ask(&s, GET("/v1/channels?match=a%20b"));
    EXPECT_INT(status(&s), 400);
    fake_free(s.f);
}

static struct buf some_stats(void)
{
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
    return b;
}

static void add_row(struct buf *b, const char *key, const char *text)
{
    report_row(b);
    report_text(b, key, slice_str(text));
    report_row_end(b);
}

static struct buf some_overview(void)
{
    struct buf b = BUF_INIT, stats = some_stats();

    report_part(&b, "status");
    add_row(&b, "state", "OK");
    report_part(&b, "warnings");
    add_row(&b, "event", "a");
    add_row(&b, "event", "<b>\"");
    buf_add(&b, buf_slice(&stats));
    buf_fini(&stats);
    return b;
}

TEST(figures_come_as_prometheus_text_and_as_json)
{
    struct scene s = scene(NULL);
    struct buf b = some_stats();
    const struct fake_call *k;

    ask(&s, GET("/metrics"));
    answer(&s, fake_next_call(s.f)->ref, &b);
    EXPECT_CONTAINS(fake_text(s.c), "text/plain; version=0.0.4");
    EXPECT_CONTAINS(body(&s), "# TYPE touchline_cut_total counter\n");
    EXPECT_CONTAINS(body(&s), "gateway=\"http1\"");
    EXPECT_CONTAINS(body(&s), " 7\n");
    b = some_overview();
    ask(&s, GET("/v1/stats"));
    k = fake_next_call(s.f);
    EXPECT_STR(k->verb, "overview");
    EXPECT_STR(k->args, "");
    answer(&s, k->ref, &b);
    EXPECT_CONTAINS(body(&s), "{\"time\":null,\"status\":{\"state\":\"OK\"},"
                              "\"gateways\":[],\"warnings\":[{\"event\":"
                              "\"a\"},{\"event\":\"<b>\\\"\"}],\"stats\":"
                              "[{\"gateway\":\"http1\",\"process\":\"42\","
                              "\"values\":{\"cut_total{why=slow}\":7}}]}");
    ask(&s, GET("/v1/stats?zero=no"));
    EXPECT_STR(fake_next_call(s.f)->args, "brief");
    fake_free(s.f);
}

TEST(figures_are_for_the_admin_address_only)
{
    static const char *const sets[] = {"http.admin=127.0.0.1:8002", NULL};
    struct scene s = scene(sets);
    struct scene open = scene(NULL);

    ask(&s, GET("/metrics"));
    EXPECT_INT(status(&s), 404);
    fake_set_side(s.c, FAKE_AT_ADMIN, true);
    ask(&s, GET("/metrics"));
    EXPECT(fake_next_call(s.f));
    fake_set_side(open.c, FAKE_AT_LOOPBACK, false);
    ask(&open, GET("/metrics"));
    EXPECT_INT(status(&open), 404);
    fake_free(s.f);
    fake_free(open.f);
}

TEST(a_refused_question_is_an_error_with_the_routers_words)
{
    struct scene s = scene(NULL);

    ask(&s, GET("/v1/presence/a"));
    http_edge.answered(s.c, fake_next_call(s.f)->ref, PUBLISHED_NOT_FOUND,
                       false, SLICE("channel.unknown: nobody knows it"), 9);
    EXPECT_INT(status(&s), 404);
    EXPECT_STR(body(&s), "{\"error\":{\"code\":\"channel.unknown\","
                         "\"text\":\"nobody knows it\"}}\n");
    fake_free(s.f);
}

TEST(ready_means_that_the_router_can_be_reached)
{
    struct scene s = scene(NULL);

    ask(&s, GET("/readyz"));
    EXPECT_INT(status(&s), 200);
    fake_set_mute(s.f, true);
    ask(&s, GET("/readyz"));
    EXPECT_INT(status(&s), 503);
    EXPECT_CONTAINS(body(&s), "canary.late");
    fake_set_linked(s.f, false);
    ask(&s, GET("/readyz"));
    EXPECT_INT(status(&s), 503);
    EXPECT_CONTAINS(body(&s), "router.away");
    ask(&s, GET("/healthz"));
    EXPECT_INT(status(&s), 200);
    fake_free(s.f);
}

/* ---- pages -------------------------------------------------------------- */

TEST(the_front_page_is_html_for_browsers_and_text_for_others)
{
    struct scene s = scene(NULL);

    fake_set_linked(s.f, false); /* what it knows is http_front_test.c's */
    ask(&s, "GET / HTTP/1.1\r\n" HOST "Accept: text/html,*/*;q=0.8\r\n\r\n");
    EXPECT_CONTAINS(fake_text(s.c), "Content-Type: text/html; charset=utf-8");
    EXPECT_CONTAINS(fake_text(s.c), "; connect-src 'self' ws: wss:");
    EXPECT_CONTAINS(fake_text(s.c), "X-Content-Type-Options: nosniff\r\n");
    EXPECT_CONTAINS(fake_text(s.c), "ETag: \"");
    ask(&s, GET("/"));
    EXPECT_CONTAINS(fake_text(s.c), "Content-Type: text/plain");
    EXPECT_CONTAINS(body(&s), "http://127.0.0.1:8000/v1/stream");
    EXPECT_CONTAINS(fake_text(s.c), "ETag: \"");
    ask(&s, "GET / HTTP/1.1\r\n" HOST "If-None-Match: *\r\n\r\n");
    EXPECT_INT(status(&s), 304);
    ask(&s, GET("/touchline.js"));
    EXPECT_CONTAINS(fake_text(s.c), "Content-Type: text/javascript");
    EXPECT_CONTAINS(fake_text(s.c), "Content-Security-Policy: default-src "
                                    "'self'; connect-src 'self' ws: wss:");
    fake_free(s.f);
}

TEST(an_address_for_operators_leads_browsers_to_their_page)
{
    static const char *const sets[] = {"http.admin=127.0.0.1:8002", NULL};
    struct scene s = scene(sets);

    ask(&s, GET("/admin"));
    EXPECT_INT(status(&s), 404);
    fake_set_side(s.c, FAKE_AT_ADMIN, true);
    ask(&s, GET("/admin"));
    EXPECT_CONTAINS(fake_text(s.c), "Content-Type: text/html");
    EXPECT_CONTAINS(fake_text(s.c), "frame-ancestors 'none'");
    ask(&s, "GET / HTTP/1.1\r\n" HOST "Accept: text/html\r\n\r\n");
    EXPECT_INT(status(&s), 302);
    EXPECT_CONTAINS(fake_text(s.c), "\r\nLocation: /admin\r\n");
    ask(&s, GET("/"));
    EXPECT_CONTAINS(fake_text(s.c), "Content-Type: text/plain");
    fake_free(s.f);
}

TEST(what_is_posted_to_the_front_page_comes_back)
{
    struct scene s = scene(NULL);

    send_body(&s, "POST /", "", SLICE("hello"));
    EXPECT_INT(status(&s), 200);
    EXPECT_STR(body(&s), "hello");
    ask(&s, "POST / HTTP/1.1\r\n" HOST "\r\n");
    EXPECT_INT(status(&s), 200);
    fake_free(s.f);
}
