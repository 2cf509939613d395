/* /v1/ws and /v1/raw behind the handshake: commands and replies, messages and
 * notices, pings, the ways to end. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "gateways/ws/ws.h"
#include "proto/report.h"
#include "tests/gateways/ws_peer.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

static struct fake *f;
static struct conn *c;
static struct buf heard; /* frames since the last look, in words */

static void open_with(const char *target, const char *const *sets)
{
    struct buf b = BUF_INIT;
    const struct fake_call *k;

    clock_fake(100 * SECOND, 0);
    f = fake_new(&ws_edge, sets);
    c = fake_connect(f);
    peer_handshake(&b, target);
    fake_send(c, buf_slice(&b));
    buf_fini(&b);
    k = fake_next_call(f);
    if (k) {
        ws_edge.subscribed(c, k->ref);
        ws_edge.started(c, k->ref);
        fake_turn(f);
    }
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 101 ");
    fake_forget_out(c);
}

static void open_ws(void)
{
    open_with("/v1/ws", NULL);
}

static void open_raw(void)
{
    open_with("/v1/raw?channel=a&publish=b", NULL);
}

static void end(void)
{
    fake_free(f);
    buf_fini(&heard);
    clock_real();
}

static void send_frame(uint8_t first, struct slice payload)
{
    struct buf b = BUF_INIT;

    peer_frame(&b, first, payload);
    fake_send(c, buf_slice(&b));
    buf_fini(&b);
}

static void command(const char *json)
{
    send_frame(PEER_FIN | 1, slice_str(json));
}

/* What the client has got: text as it is, "bin:", "ping:", "pong:" and
 * "close:CODE:" in front of the rest, one to a line. */
static const char *got(void)
{
    struct slice in = fake_out(c);
    struct peer_in p;

    buf_reset(&heard);
    while (peer_next(&in, &p)) {
        static const char *const names[] = {
            [1] = "", [2] = "bin:", [8] = "close:", [9] = "ping:",
            [10] = "pong:" };

        if (heard.len)
            buf_add_byte(&heard, '\n');
        buf_add_str(&heard, names[p.op]);
        if (p.op == 8 && p.payload.len >= 2) {
            buf_addf(&heard, "%u:", p.payload.ptr[0] * 256u + p.payload.ptr[1]);
            p.payload = slice_from(p.payload, 2);
        }
        buf_add(&heard, p.payload);
    }
    EXPECT_INT(in.len, 0);
    fake_forget_out(c);
    return buf_text(&heard);
}

static const struct fake_call *expect_call(enum fake_kind kind)
{
    const struct fake_call *k = fake_next_call(f);

    EXPECT(k != NULL);
    EXPECT_INT(k->kind, kind);
    return k;
}

static void published(const struct fake_call *k, uint64_t seq)
{
    struct published p = { .status = PUBLISHED_OK, .seq = seq, .offset = 1,
                           .reached = 2, .channel = slice_str(k->channel) };

    ws_edge.published(c, k->ref, &p);
    fake_turn(f);
}

static void refused(const struct fake_call *k, enum publish_status status)
{
    struct published p = { .status = status, .code = SLICE("match.rule"),
                           .text = SLICE("some text") };

    ws_edge.published(c, k->ref, &p);
    fake_turn(f);
}

/* ---- commands ---------------------------------------------------------- */

TEST(a_welcome_comes_first)
{
    struct buf b = BUF_INIT;

    f = fake_new(&ws_edge, NULL);
    c = fake_connect(f);
    peer_handshake(&b, "/v1/ws");
    fake_send(c, buf_slice(&b));
    EXPECT(slice_ends(fake_out(c), SLICE("{\"notice\":\"welcome\",\"server\":"
                      "\"touchline " TOUCHLINE_VERSION "\",\"ping\":25}")));
    buf_fini(&b);
    end();
}

TEST(a_subscription_is_in_force_when_it_says_ok)
{
    const struct fake_call *k;

    open_ws();
    command("{\"cmd\":\"subscribe\",\"channel\":\"room/a\",\"name\":\"ana\","
            "\"since\":\"e1-5\",\"ref\":1}");
    EXPECT_STR(got(), "");
    k = expect_call(FAKE_SUBSCRIBE);
    EXPECT_STR(k->channel, "room/a");
    EXPECT_STR(k->name, "ana");
    EXPECT_INT(k->since.seq, 5);
    ws_edge.subscribed(c, k->ref);
    fake_notice(c, NOTICE_RESUMED, "room/a", "e1-5");
    ws_edge.started(c, k->ref);
    EXPECT_STR(got(),
               "{\"ref\":1,\"ok\":true,\"channel\":\"room/a\"}\n"
               "{\"notice\":\"resumed\",\"channel\":\"room/a\","
               "\"cursor\":\"e1-5\"}");
    end();
}

TEST(a_cursor_may_be_the_number_zero)
{
    const struct fake_call *k;

    open_ws();
    command("{\"cmd\":\"subscribe\",\"channel\":\"a\",\"since\":0}");
    k = expect_call(FAKE_SUBSCRIBE);
    EXPECT(k->has_since);
    EXPECT_INT(k->since.seq, 0);
    command("{\"cmd\":\"history\",\"channel\":\"a\",\"before\": 0 }");
    k = expect_call(FAKE_FETCH);
    EXPECT_INT(k->mode, FETCH_BEFORE);
    EXPECT_INT(k->upto, 0);
    end();
}

TEST(a_message_is_an_envelope_encoded_once)
{
    struct msg *m = fake_msg("a", 3, 2, "hi");
    struct wire *first;

    open_ws();
    fake_put(c, m);
    first = m->forms[0];
    fake_put(c, m);
    EXPECT(m->forms[0] == first);
    EXPECT_STR(got(),
               "{\"channel\":\"a\",\"epoch\":\"e1\",\"seq\":3,\"offset\":2,"
               "\"ts\":1700000000000,\"data\":\"hi\"}\n"
               "{\"channel\":\"a\",\"epoch\":\"e1\",\"seq\":3,\"offset\":2,"
               "\"ts\":1700000000000,\"data\":\"hi\"}");
    fake_put_flags(c, m, PUT_REPLAY);
    EXPECT_CONTAINS(got(), "\"replay\":true,\"data\":\"hi\"");
    msg_drop(m);
    end();
}

TEST(a_publication_is_json_as_it_was_sent)
{
    const struct fake_call *k;

    open_ws();
    command("{\"cmd\":\"publish\",\"channel\":\"a\",\"data\": {\"x\": 1.50} ,"
            "\"key\":\"k\",\"idempotency\":\"i1\",\"from\":\"ana\","
            "\"ref\":\"p1\"}");
    k = expect_call(FAKE_PUBLISH);
    EXPECT_STR(k->channel, "a");
    EXPECT_STR(k->data, "{\"x\": 1.50}");
    EXPECT_INT(k->format, MSG_JSON);
    EXPECT_STR(k->key, "k");
    EXPECT_STR(k->idempotency, "i1");
    EXPECT_STR(k->from, "ana");
    published(k, 9);
    EXPECT_STR(got(), "{\"ref\":\"p1\",\"ok\":true,\"channel\":\"a\",\"epoch\""
               ":\"e1\",\"seq\":9,\"offset\":1,\"reached\":2}");
    end();
}

/* Several strings are unescaped into one buffer: none may move another. */
TEST(a_long_string_leaves_those_before_it_where_they_are)
{
    const struct fake_call *k;
    struct buf b = BUF_INIT;

    open_ws();
    buf_add_str(&b, "{\"cmd\":\"publish\",\"channel\":\"user/an\\u0061\","
                "\"key\":\"");
    for (unsigned i = 0; i < 200; i++)
        buf_add_byte(&b, 'k');
    buf_add_str(&b, "\",\"data\":1}");
    command(buf_text(&b));
    k = expect_call(FAKE_PUBLISH);
    EXPECT_STR(k->channel, "user/ana");
    EXPECT_INT(strlen(k->key), 200);
    buf_fini(&b);
    end();
}

TEST(replies_name_what_they_answer_also_out_of_order)
{
    const struct fake_call *one, *two;

    open_ws();
    command("{\"cmd\":\"publish\",\"channel\":\"a\",\"data\":1,\"ref\":1}");
    command("{\"cmd\":\"publish\",\"channel\":\"b\",\"data\":2}");
    command("{\"cmd\":\"ping\",\"ref\":3.0}");
    one = expect_call(FAKE_PUBLISH);
    two = expect_call(FAKE_PUBLISH);
    refused(two, PUBLISHED_CONFLICT);
    refused(one, PUBLISHED_DENIED);
    EXPECT_STR(got(),
               "{\"ref\":3.0,\"ok\":true}\n"
               "{\"error\":{\"code\":\"match.rule\",\"text\":\"some text\"}}\n"
               "{\"ref\":1,\"error\":{\"code\":\"match.rule\","
               "\"text\":\"some text\"}}");
    end();
}

TEST(a_ref_is_any_json_and_comes_back_as_it_was_sent)
{
    static const char *const refs[] = {
        "0", "-1.50e3", "\"\"", "\"a\\u0062\\n\"", "null", "true", "{}",
        "[1, {\"a\":null}]",
        "\"01234567890123456789012345678901234567890123456789012345678901\"",
    };

    open_ws();
    for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
        char text[128];

        snprintf(text, sizeof text, "{\"cmd\":\"ping\",\"ref\": %s }",
                 refs[i]);
        command(text);
        snprintf(text, sizeof text, "{\"ref\":%s,\"ok\":true}", refs[i]);
        EXPECT_STR(got(), text);
    }
    end();
}

#define LEFT(ref) "{\"ref\":" ref ",\"error\":{\"code\":\"channel.left\"," \
                  "\"text\":\"you unsubscribed before it was in force\"}}\n"

TEST(a_subscription_left_before_it_is_in_force_is_answered)
{
    const struct fake_call *k;

    open_ws();
    command("{\"cmd\":\"subscribe\",\"channel\":\"a\",\"ref\":1}");
    k = expect_call(FAKE_SUBSCRIBE);
    command("{\"cmd\":\"subscribe\",\"channel\":\"b\",\"ref\":2}");
    command("{\"cmd\":\"subscribe\",\"channel\":\"c\",\"ref\":3}");
    command("{\"cmd\":\"presence\",\"channel\":\"a\",\"ref\":4}");
    command("{\"cmd\":\"unsubscribe\",\"channel\":\"a\",\"ref\":5}");
    EXPECT_STR(got(), LEFT("1") "{\"ref\":5,\"ok\":true}");
    ws_edge.subscribed(c, k->ref);
    command("{\"cmd\":\"unsubscribe\",\"ref\":6}");
    EXPECT_STR(got(), LEFT("2") LEFT("3") "{\"ref\":6,\"ok\":true}");
    end();
}

TEST(what_is_said_of_a_subscription_that_was_left_answers_nothing_else)
{
    const struct fake_call *left, *k;

    open_ws();
    command("{\"cmd\":\"subscribe\",\"channel\":\"a\",\"ref\":1}");
    left = expect_call(FAKE_SUBSCRIBE);
    command("{\"cmd\":\"unsubscribe\",\"ref\":2}");
    EXPECT_STR(got(), LEFT("1") "{\"ref\":2,\"ok\":true}");
    (void)expect_call(FAKE_UNSUBSCRIBE);
    command("{\"cmd\":\"publish\",\"channel\":\"b\",\"data\":1,\"ref\":3}");
    k = expect_call(FAKE_PUBLISH);
    ws_edge.subscribed(c, left->ref);
    ws_edge.started(c, left->ref);
    EXPECT_STR(got(), "");
    published(k, 4);
    EXPECT_CONTAINS(got(), "{\"ref\":3,\"ok\":true,\"channel\":\"b\"");
    end();
}

TEST(unsubscribe_and_ping_and_auth_are_answered_at_once)
{
    static const char *const sets[] = {
        "token reporter.secret=0123456789abcdef",
        "token reporter.publish=match/", NULL };

    open_with("/v1/ws", sets);
    command("{\"cmd\":\"unsubscribe\",\"channel\":\"a\",\"ref\":1}");
    EXPECT_STR(expect_call(FAKE_UNSUBSCRIBE)->channel, "a");
    command("{\"cmd\":\"unsubscribe\",\"ref\":2}");
    EXPECT_STR(expect_call(FAKE_UNSUBSCRIBE)->channel, "");
    command("{\"cmd\":\"auth\",\"token\":\"nope\",\"ref\":3}");
    command("{\"cmd\":\"auth\",\"token\":\"0123456789abcdef\",\"ref\":4}");
    EXPECT_STR(got(),
               "{\"ref\":1,\"ok\":true}\n{\"ref\":2,\"ok\":true}\n"
               "{\"ref\":3,\"error\":{\"code\":\"token.unknown\",\"text\":"
               "\"no [token NAME] section of touchline.conf has this secret\"}}\n"
               "{\"ref\":4,\"ok\":true}");
    EXPECT(conn_token(c) != NULL);
    end();
}

TEST(history_is_a_page_with_its_holes)
{
    struct frame_hole h = { .why = HOLE_TRIMMED, .to = 4, .id = SLICE("a") };
    struct msg *m = fake_msg("a", 6, 5, "hi");
    const struct fake_call *k;

    open_ws();
    command("{\"cmd\":\"history\",\"channel\":\"a\",\"since\":\"e1-2\","
            "\"limit\":5,\"ref\":1}");
    k = expect_call(FAKE_FETCH);
    EXPECT_INT(k->mode, FETCH_SINCE);
    EXPECT_INT(k->after, 2);
    EXPECT_INT(k->limit, 5);
    ws_edge.hole(c, k->ref, &h);
    ws_edge.row(c, k->ref, m);
    ws_edge.page_end(c, k->ref, 0, true, 9);
    EXPECT_STR(got(),
               "{\"ref\":1,\"ok\":true,\"cursor\":\"e1-6\",\"messages\":["
               "{\"notice\":\"gap\",\"channel\":\"a\",\"from\":null,\"to\":4,"
               "\"count\":null,\"why\":\"trimmed\"},"
               "{\"channel\":\"a\",\"epoch\":\"e1\",\"seq\":6,\"offset\":5,"
               "\"ts\":1700000000000,\"data\":\"hi\"}],\"more\":true}");
    msg_drop(m);
    end();
}

TEST(history_of_another_epoch_begins_with_a_gap)
{
    const struct fake_call *k;

    open_ws();
    command("{\"cmd\":\"history\",\"channel\":\"a\",\"since\":\"e0-2\"}");
    k = expect_call(FAKE_FETCH);
    EXPECT_INT(k->after, 0);
    ws_edge.page_end(c, k->ref, 0, false, 9);
    EXPECT_STR(got(),
               "{\"ok\":true,\"cursor\":\"e1-9\",\"messages\":[{\"notice\":"
               "\"gap\",\"channel\":\"a\",\"from\":null,\"to\":null,"
               "\"count\":null,\"why\":\"epoch\"}],\"more\":false}");
    command("{\"cmd\":\"history\",\"channel\":\"a\",\"before\":\"e1-7\"}");
    k = expect_call(FAKE_FETCH);
    EXPECT_INT(k->mode, FETCH_BEFORE);
    EXPECT_INT(k->upto, 7);
    EXPECT_INT(k->limit, HISTORY_DEFAULT);
    ws_edge.page_end(c, k->ref, ERR_BUSY, false, 0);
    EXPECT_CONTAINS(got(), "router.away");
    end();
}

TEST(history_behind_the_end_is_a_gap)
{
    const char *want = "{\"ref\":1,\"ok\":true,\"cursor\":\"e1-7\","
                       "\"messages\":[{\"notice\":\"gap\",\"channel\":\"a\","
                       "\"from\":null,\"to\":null,\"count\":null,"
                       "\"why\":\"future\"}],\"more\":false}";
    static const int errors[] = { 0, ERR_BAD };
    const struct fake_call *k;

    open_ws();
    fake_set_seq(f, 7);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        command("{\"cmd\":\"history\",\"channel\":\"a\",\"since\":\"e1-8\","
                "\"ref\":1}");
        k = expect_call(FAKE_FETCH);
        EXPECT_INT(k->after, 8);
        ws_edge.page_end(c, k->ref, errors[i], false, errors[i] ? 0 : 7);
        EXPECT_STR(got(), want);
    }
    command("{\"cmd\":\"history\",\"channel\":\"a\",\"since\":\"e1-8\"}");
    ws_edge.page_end(c, expect_call(FAKE_FETCH)->ref, ERR_BUSY, false, 0);
    EXPECT_CONTAINS(got(), "router.away");
    end();
}

TEST(one_page_of_history_is_made_at_a_time)
{
    const struct fake_call *k;

    open_ws();
    command("{\"cmd\":\"history\",\"channel\":\"a\",\"ref\":1}");
    command("{\"cmd\":\"ping\",\"ref\":2}");
    EXPECT_STR(got(), "");
    k = expect_call(FAKE_FETCH);
    ws_edge.page_end(c, k->ref, 0, false, 3);
    fake_turn(f);
    EXPECT_STR(got(), "{\"ref\":1,\"ok\":true,\"cursor\":\"e1-3\","
               "\"messages\":[],\"more\":false}\n{\"ref\":2,\"ok\":true}");
    end();
}

TEST(a_page_waits_for_nothing_but_itself)
{
    open_ws();
    command("{\"cmd\":\"subscribe\",\"channel\":\"a\",\"ref\":1}");
    command("{\"cmd\":\"history\",\"channel\":\"a\",\"ref\":2}");
    command("{\"cmd\":\"ping\",\"ref\":3}");
    (void)expect_call(FAKE_SUBSCRIBE);
    ws_edge.page_end(c, expect_call(FAKE_FETCH)->ref, ERR_BUSY, false, 0);
    fake_turn(f);
    EXPECT_STR(got(), "{\"ref\":2,\"error\":{\"code\":\"router.away\","
               "\"text\":\"the router cannot be reached just now\"}}\n"
               "{\"ref\":3,\"ok\":true}");
    end();
}

TEST(presence_counts_and_names)
{
    struct buf b = BUF_INIT;
    const struct fake_call *k;

    report_part(&b, "presence");
    report_row(&b);
    report_number(&b, "count", 5);
    report_row_end(&b);
    report_part(&b, "names");
    report_row(&b);
    report_text(&b, "name", SLICE("ana"));
    report_number(&b, "connections", 2);
    report_row_end(&b);
    open_ws();
    command("{\"cmd\":\"presence\",\"channel\":\"room/a\",\"ref\":1}");
    k = expect_call(FAKE_QUERY);
    EXPECT_STR(k->verb, "presence");
    EXPECT_STR(k->args, "room/a");
    ws_edge.answered(c, k->ref, PUBLISHED_OK, false, buf_slice(&b), 0);
    EXPECT_STR(got(), "{\"ref\":1,\"ok\":true,\"channel\":\"room/a\",\"count\""
               ":5,\"names\":[{\"name\":\"ana\",\"connections\":2}]}");
    command("{\"cmd\":\"presence\",\"channel\":\"room/a\",\"ref\":2}");
    ws_edge.answered(c, expect_call(FAKE_QUERY)->ref, PUBLISHED_UNAVAILABLE,
                     false, SLICE("come back"), 0);
    EXPECT_STR(got(), "{\"ref\":2,\"error\":{\"code\":\"router.away\","
               "\"text\":\"come back\"}}");
    buf_fini(&b);
    end();
}

TEST(nonsense_is_an_error_and_the_socket_stays)
{
    static const struct {
        const char *json, *code;
    } bad[] = {
        { "", "json.bad" },
        { "{\"cmd\":\"ping\"", "json.bad" },
        { "{\"cmd\":\"ping\",}", "json.bad" },
        { "[1]", "command.bad" },
        { "{}", "command.missing" },
        { "{\"cmd\":\"ping\",\"cmd\":\"ping\"}", "command.missing" },
        { "{\"cmd\":\"frob\"}", "command.unknown" },
        { "{\"cmd\":\"ping\",\"ref\":1,\"ref\":2}", "ref.bad" },
        { "{\"cmd\":\"ping\",\"ref\":\"0123456789012345678901234567890123456"
          "789012345678901234567890123\"}", "ref.bad" },
        { "{\"cmd\":\"subscribe\"}", "channel.missing" },
        { "{\"cmd\":\"subscribe\",\"channel\":7}", "field.bad" },
        { "{\"cmd\":\"subscribe\",\"channel\":\"a\",\"since\":\"x\"}",
          "cursor.bad" },
        { "{\"cmd\":\"subscribe\",\"channel\":\"a\",\"since\":7}",
          "field.bad" },
        { "{\"cmd\":\"subscribe\",\"channel\":\"a\",\"name\":\"a b\"}",
          "name.bad" },
        { "{\"cmd\":\"publish\",\"channel\":\"a\"}", "data.missing" },
        { "{\"cmd\":\"publish\",\"channel\":\"a\",\"data\":1,\"key\":\"\"}",
          "key.bad" },
        { "{\"cmd\":\"publish\",\"channel\":\"a\",\"data\":1,"
          "\"idempotency\":\"a b\"}", "idempotency.bad" },
        { "{\"cmd\":\"history\",\"channel\":\"a\",\"last\":0}", "limit.bad" },
        { "{\"cmd\":\"history\",\"channel\":\"a/*\"}", "channel.bad" },
        { "{\"cmd\":\"presence\",\"channel\":\"\"}", "channel.bad" },
    };

    open_ws();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        command(bad[i].json);
        EXPECT_CONTAINS(got(), bad[i].code);
        EXPECT(!fake_is_closed(c));
    }
    EXPECT(!fake_next_call(f));
    EXPECT_INT(fake_counted(f, "json.bad"), 3);
    end();
}

TEST(what_the_gateway_refuses_at_once_is_an_error_too)
{
    open_ws();
    fake_refuse_next(f, PUBLISHED_TOO_BIG, "message.big", "too big");
    command("{\"cmd\":\"publish\",\"channel\":\"a\",\"data\":1,\"ref\":1}");
    fake_refuse_next(f, PUBLISHED_BAD, "channel.bad", "no");
    command("{\"cmd\":\"subscribe\",\"channel\":\"*a\",\"ref\":2}");
    EXPECT_STR(got(), "{\"ref\":1,\"error\":{\"code\":\"message.big\","
               "\"text\":\"too big\"}}\n{\"ref\":2,\"error\":{\"code\":"
               "\"channel.bad\",\"text\":\"no\"}}");
    end();
}

TEST(bytes_are_no_command)
{
    open_ws();
    send_frame(PEER_FIN | 2, SLICE("{}"));
    EXPECT_STR(got(), "close:1003:commands are text");
    EXPECT(fake_is_closed(c));
    EXPECT_INT(fake_counted(f, "ws.unsupported"), 1);
    end();
}

TEST(input_waits_when_too_much_is_unanswered)
{
    const struct fake_call *first;

    open_ws();
    for (int i = 0; i < PIPELINE_MAX + 5; i++)
        command("{\"cmd\":\"publish\",\"channel\":\"a\",\"data\":1}");
    first = expect_call(FAKE_PUBLISH);
    for (int i = 1; i < PIPELINE_MAX; i++)
        (void)expect_call(FAKE_PUBLISH);
    EXPECT(!fake_next_call(f));
    published(first, 1);
    (void)expect_call(FAKE_PUBLISH);
    EXPECT(!fake_next_call(f));
    end();
}

/* ---- raw --------------------------------------------------------------- */

TEST(raw_carries_bare_bytes_both_ways)
{
    struct msg_parts parts = { .format = MSG_BYTES, .seq = 4,
                               .id = SLICE("a"), .data = SLICE("\xff\x00!") };
    struct msg *text = fake_msg("a", 3, 1, "hi"), *bytes;
    const struct fake_call *k;

    EXPECT_OK(msg_new(&bytes, &parts));
    open_raw();
    send_frame(PEER_FIN | 1, SLICE("text"));
    send_frame(PEER_FIN | 2, SLICE("\xfe"));
    k = expect_call(FAKE_PUBLISH);
    EXPECT_STR(k->channel, "b");
    EXPECT_STR(k->data, "text");
    EXPECT_INT(k->format, MSG_TEXT);
    EXPECT_INT(expect_call(FAKE_PUBLISH)->format, MSG_BYTES);
    fake_put(c, text);
    EXPECT_STR(got(), "hi");
    fake_put(c, bytes);
    EXPECT_SLICE(fake_out(c), SLICE("\x82\x03\xff\x00!"));
    msg_drop(text);
    msg_drop(bytes);
    end();
}

TEST(raw_shows_a_match_event_in_the_form_that_publishes_it)
{
    struct msg_parts parts = { .format = MSG_JSON, .seq = 4,
                               .id = SLICE("match/x"), .kind = SLICE("goal"),
                               .data = SLICE("{\"team\":\"tig\"}") };
    struct msg *m;

    EXPECT_OK(msg_new(&m, &parts));
    open_raw();
    fake_put(c, m);
    EXPECT_STR(got(), "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}");
    msg_drop(m);
    end();
}

TEST(raw_has_no_notices_but_a_gap_ends_it)
{
    static const struct {
        enum gap_why why;
        const char *want;
    } gaps[] = {
        { GAP_SLOW, "close:4008:too slow" },
        { GAP_TRIMMED, "close:4010:trimmed" },
        { GAP_EPOCH, "close:4010:epoch" },
        { GAP_VOLATILE, "" },
    };

    for (size_t i = 0; i < ARRAY_LEN(gaps); i++) {
        struct slice id = SLICE("a");
        struct notice n = { .kind = NOTICE_GAP, .channels = &id, .count = 1,
                            .why = gaps[i].why };

        open_raw();
        fake_notice(c, NOTICE_SNAPSHOT, "a", "e1-3");
        ws_edge.notice(c, &n);
        fake_turn(f);
        EXPECT_STR(got(), gaps[i].want);
        end();
    }
}

TEST(raw_without_publish_only_listens)
{
    open_with("/v1/raw?channel=a", NULL);
    send_frame(PEER_FIN | 1, SLICE("x"));
    EXPECT_CONTAINS(got(), "close:1008:");
    end();
}

TEST(raw_ends_where_a_message_is_not_taken)
{
    static const struct {
        enum publish_status status;
        const char *want;
    } cases[] = {
        { PUBLISHED_DENIED, "close:1008:the message was refused" },
        { PUBLISHED_TOO_BIG, "close:1009:the message is too big" },
        { PUBLISHED_UNAVAILABLE,
          "close:1013:the message was not taken; try later" },
        { PUBLISHED_UNKNOWN,
          "close:1013:the message may or may not have been taken" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        open_raw();
        send_frame(PEER_FIN | 1, SLICE("x"));
        refused(expect_call(FAKE_PUBLISH), cases[i].status);
        EXPECT_STR(got(), cases[i].want);
        end();
        open_raw();
        fake_refuse_next(f, cases[i].status, "match.rule", "some text");
        send_frame(PEER_FIN | 1, SLICE("x"));
        EXPECT_STR(got(), cases[i].want);
        end();
    }
}

/* ---- the end, in order ------------------------------------------------- */

TEST(a_violation_is_answered_after_what_was_published_before)
{
    struct msg *m = fake_msg("b", 5, 1, "x");
    const struct fake_call *k;

    open_with("/v1/raw?channel=b&publish=b", NULL);
    send_frame(PEER_FIN | 1, SLICE("x"));
    send_frame(0xff, SLICE("")); /* reserved bits, reserved opcode */
    send_frame(PEER_FIN | 1, SLICE("never read"));
    k = expect_call(FAKE_PUBLISH);
    EXPECT_STR(got(), "");
    published(k, 5); /* answered, and on its way to us */
    EXPECT_STR(got(), "");
    fake_set_seq(f, 5);
    fake_put(c, m);
    EXPECT_STR(got(), "x\nclose:1002:a reserved bit is set");
    EXPECT(fake_is_closed(c));
    EXPECT(!fake_next_call(f));
    msg_drop(m);
    end();
}

TEST(a_violation_waits_for_a_second_and_no_longer)
{
    open_raw();
    send_frame(PEER_FIN | 1, SLICE("x"));
    send_frame(0xff, SLICE(""));
    fake_pass(f, 900);
    EXPECT(!fake_is_closed(c));
    fake_pass(f, 200);
    EXPECT_STR(got(), "close:1002:a reserved bit is set");
    EXPECT(fake_is_closed(c));
    end();
}

TEST(what_goes_to_others_is_not_waited_for)
{
    open_raw();
    send_frame(PEER_FIN | 1, SLICE("x"));
    send_frame(PEER_FIN | 8, SLICE("\x03\xe8"));
    published(expect_call(FAKE_PUBLISH), 5);
    EXPECT_STR(got(), "close:1000:");
    end();
}

TEST(a_close_is_echoed_with_its_code)
{
    open_ws();
    send_frame(PEER_FIN | 8, SLICE("\x0f\xa1why"));
    EXPECT_STR(got(), "close:4001:");
    EXPECT(fake_is_closed(c));
    end();
    open_ws();
    send_frame(PEER_FIN | 8, SLICE(""));
    EXPECT_STR(got(), "close:");
    end();
}

TEST(a_client_that_is_gone_is_let_go)
{
    open_ws();
    fake_send_end(c);
    EXPECT(fake_is_closed(c));
    EXPECT_STR(got(), "");
    end();
}

TEST(draining_says_closing_and_1001)
{
    open_ws();
    ws_edge.drain(c);
    fake_turn(f);
    EXPECT_STR(got(), "{\"notice\":\"closing\",\"why\":\"the server goes down "
               "for a moment\",\"retry_ms\":1000}\nclose:1001:the server goes "
               "down for a moment; retry-after-ms=1000");
    EXPECT(fake_is_closed(c));
    end();
    open_raw();
    ws_edge.drain(c);
    fake_turn(f);
    EXPECT_STR(got(), "close:1001:the server goes down for a moment; "
               "retry-after-ms=1000");
    end();
}

TEST(who_is_kicked_is_told_that_an_operator_did_it_and_1008)
{
    open_ws();
    ws_edge.kicked(c);
    fake_turn(f);
    EXPECT_STR(got(), "{\"notice\":\"closing\",\"why\":\"an operator closed "
               "this connection\"}\n"
               "close:1008:an operator closed this connection");
    EXPECT(fake_is_closed(c));
    end();
    open_raw();
    ws_edge.kicked(c);
    fake_turn(f);
    EXPECT_STR(got(), "close:1008:an operator closed this connection");
    end();
}

/* What it asked for besides is answered first, and what it subscribes to is
 * not to begin in front of what it missed. */
TEST(who_cannot_go_on_is_told_why_and_1013)
{
    static const struct give_up unread = {"unread", "store.failed",
                                          "it cannot be read"};
    const struct fake_call *k;

    open_ws();
    command("{\"cmd\":\"publish\",\"channel\":\"a\",\"data\":1,\"ref\":1}");
    k = expect_call(FAKE_PUBLISH);
    command("{\"cmd\":\"subscribe\",\"channel\":\"b\",\"ref\":2}");
    expect_call(FAKE_SUBSCRIBE);
    ws_edge.give_up(c, &unread);
    fake_turn(f);
    EXPECT_STR(got(), "{\"ref\":2,\"error\":{\"code\":\"store.failed\","
                      "\"text\":\"it cannot be read\"}}\n"
                      "{\"notice\":\"closing\",\"cursor\":\"e1-0\","
                      "\"why\":\"it cannot be read\",\"retry_ms\":1000}");
    EXPECT(!fake_is_closed(c));
    refused(k, PUBLISHED_UNKNOWN);
    EXPECT_CONTAINS(got(), "\n" "close:1013:it cannot be read; retry-after-ms=1000");
    EXPECT(fake_is_closed(c));
    EXPECT_STR(fake_close_why(c), "unread");
    end();
    open_raw();
    ws_edge.give_up(c, &unread);
    fake_turn(f);
    EXPECT_STR(got(), "close:1013:it cannot be read; retry-after-ms=1000");
    end();
}

TEST(a_command_without_memory_is_refused_under_its_ref)
{
    bool failed = true, told = false;

    for (long n = 0; failed; n++) {
        const char *text;

        open_ws();
        test_fail_malloc_after(n);
        command("{\"cmd\":\"publish\",\"channel\":\"a\",\"data\":1,\"ref\":7}");
        failed = test_malloc_failed();
        text = got();
        if (strstr(text, "server.memory")) {
            EXPECT_CONTAINS(text, "{\"ref\":7,\"error\":");
            told = true;
        }
        end();
    }
    EXPECT(told);
}

TEST(who_is_cut_is_told_4008)
{
    open_ws();
    ws_edge.cut(c);
    fake_turn(f);
    EXPECT_STR(got(), "close:4008:too slow");
    end();
}

TEST(a_message_over_the_limit_is_1009_before_it_comes)
{
    struct buf b = BUF_INIT;

    open_raw();
    peer_header(&b, PEER_FIN | 1, 64 * 1024 + 1);
    fake_send(c, buf_slice(&b));
    EXPECT_STR(got(), "close:1009:the message is too big");
    EXPECT_INT(fake_limited(f, LIMIT_MESSAGE), 1);
    end();
    open_ws();
    buf_reset(&b);
    peer_header(&b, PEER_FIN | 1, 6 * 64 * 1024 + 4096 + 1);
    fake_send(c, buf_slice(&b));
    EXPECT_STR(got(), "close:1009:the message is too big");
    buf_fini(&b);
    end();
}

TEST(too_many_fragments_are_1008)
{
    open_raw();
    send_frame(1, SLICE("x"));
    for (int i = 0; i < 2000 && !fake_is_closed(c); i++)
        send_frame(0, SLICE("x"));
    EXPECT_STR(got(), "close:1008:the message has too many fragments");
    EXPECT_INT(fake_limited(f, LIMIT_FRAGMENTS), 1);
    end();
}

/* ---- pings ------------------------------------------------------------- */

TEST(a_ping_is_answered_with_its_bytes)
{
    open_ws();
    send_frame(PEER_FIN | 9, SLICE("abc"));
    EXPECT_STR(got(), "pong:abc");
    end();
}

TEST(more_than_20_control_frames_a_second_are_1008)
{
    open_ws();
    for (int second = 0; second < 3; second++) {
        for (int i = 0; i < 20; i++)
            send_frame(PEER_FIN | 9, SLICE(""));
        clock_fake_advance(SECOND);
    }
    EXPECT(!fake_is_closed(c));
    fake_forget_out(c);
    for (int i = 0; i < 21; i++)
        send_frame(PEER_FIN | 10, SLICE(""));
    EXPECT_STR(got(), "close:1008:too many control frames");
    EXPECT_INT(fake_limited(f, LIMIT_CONTROL_FRAMES), 1);
    end();
}

TEST(pongs_that_are_not_read_become_the_newest_one)
{
    struct msg *m;
    static char big[4000];
    size_t before;

    memset(big, 'x', sizeof big - 1);
    m = fake_msg("a", 3, 1, big);
    open_ws();
    fake_stop_reading(c, true);
    fake_put(c, m);
    before = fake_out(c).len;
    for (int i = 0; i < 200; i++) {
        char text[8];

        snprintf(text, sizeof text, "%d", i);
        send_frame(PEER_FIN | 9, slice_str(text));
        clock_fake_advance(SECOND);
    }
    EXPECT_INT(fake_out(c).len, before);
    fake_forget_out(c);
    fake_stop_reading(c, false);
    EXPECT_STR(got(), "pong:199");
    msg_drop(m);
    end();
}

TEST(who_answers_no_ping_is_dead)
{
    open_ws();
    for (int i = 0; i < 3; i++) {
        fake_pass(f, 25000);
        EXPECT_STR(got(), "ping:");
        send_frame(PEER_FIN | 10, SLICE(""));
    }
    fake_pass(f, 25000);
    EXPECT_STR(got(), "ping:");
    fake_pass(f, 9900);
    EXPECT(!fake_is_closed(c));
    fake_pass(f, 200);
    EXPECT(fake_is_closed(c));
    EXPECT_INT(fake_limited(f, LIMIT_PING), 1);
    end();
}

TEST(a_pong_that_we_have_not_read_is_not_missed)
{
    const struct fake_call *k;

    open_ws();
    for (int i = 0; i < PIPELINE_MAX; i++)
        command("{\"cmd\":\"publish\",\"channel\":\"a\",\"data\":1}");
    k = expect_call(FAKE_PUBLISH);
    fake_pass(f, 25000);
    EXPECT_STR(got(), "ping:");
    send_frame(PEER_FIN | 10, SLICE(""));
    EXPECT(fake_unused(c) > 0);
    fake_pass(f, 15000);
    EXPECT(!fake_is_closed(c));
    published(k, 1);
    EXPECT_INT(fake_unused(c), 0);
    fake_pass(f, 9000);
    EXPECT(!fake_is_closed(c));
    end();
}

/* ---- memory ------------------------------------------------------------ */

TEST(no_memory_ends_one_socket_and_nothing_else)
{
    struct buf head = BUF_INIT, frames = BUF_INIT;
    bool failed = true;
    long n;

    peer_handshake(&head, "/v1/ws");
    peer_frame(&frames, 1, SLICE("{\"cmd\":"));
    peer_frame(&frames, PEER_FIN | 9, SLICE("x"));
    peer_frame(&frames, PEER_FIN, SLICE("\"ping\"}"));
    peer_frame(&frames, PEER_FIN | 1, SLICE("{\"cmd\":\"frob\"}"));
    peer_frame(&frames, PEER_FIN | 2, SLICE("{}"));
    for (n = 0; failed; n++) {
        f = fake_new(&ws_edge, NULL);
        c = fake_connect(f);
        test_fail_malloc_after(n);
        (void)ws_edge.input(c, buf_slice(&head));
        if (!conn_closing(c))
            (void)ws_edge.input(c, buf_slice(&frames));
        failed = test_malloc_failed();
        fake_free(f);
    }
    EXPECT(n > 5);
    buf_fini(&head);
    buf_fini(&frames);
}

TEST(an_idle_socket_costs_32_bytes)
{
    EXPECT_INT(ws_edge.conn_bytes, 32);
}
