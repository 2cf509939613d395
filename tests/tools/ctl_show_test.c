/* What router-ctl prints. */
#include "tools/router-ctl/show.h"

#include <string.h>

#include "base/err.h"
#include "proto/json.h"
#include "proto/report.h"
#include "tests/t/t.h"

static const struct show people = { .json = false };
static const struct show programs = { .json = true };
static const struct epoch epoch = { "e1" };

static struct buf out;

static const char *text_of(struct slice text)
{
    buf_reset(&out);
    show_text(&out, text);
    return buf_text(&out);
}

TEST(nothing_of_a_stranger_reaches_the_terminal_raw)
{
    EXPECT_STR(text_of(SLICE("plain \xc3\xa9")), "plain \xc3\xa9");
    EXPECT_STR(text_of(SLICE("\x1b[2Ja\nb\r\t\x7f")),
               "\\x1b[2Ja\\nb\\x0d\\x09\\x7f");
    EXPECT_STR(text_of(SLICE("\\x1b")), "\\\\x1b");
    EXPECT_STR(text_of(SLICE("\xc2\x9b" "31m")), "\\u{9b}31m");
    EXPECT_STR(text_of(SLICE("\xe2\x80\xae" "x")), "\\u{202e}x");
    EXPECT_STR(text_of(SLICE("a\xff\xc3")), "a\\xff\\xc3");
    buf_fini(&out);
}

TEST(json_on_a_terminal_says_the_same_in_other_characters)
{
    buf_reset(&out);
    buf_add_str(&out, "{\"a\\n\":\"\x7f\xc2\x9b" "6n\xe2\x80\xae \xe2\x80\xa8 \xc3\xa9\"}\n");
    show_guard(&out);
    EXPECT_STR(buf_text(&out), "{\"a\\n\":\"\\u007f\\u009b6n\\u202e "
               "\\u2028 \xc3\xa9\"}\n");
    buf_reset(&out);
    buf_add_str(&out, "\033[1mours\033[0m \xff\n");
    show_guard(&out);
    EXPECT_STR(buf_text(&out), "\033[1mours\033[0m \xff\n");
    buf_fini(&out);
}

static const char *message(const struct show *s, uint8_t format,
                           struct slice data)
{
    const struct msg_parts m = {
        .format = format, .seq = 9, .offset = 3, .ts_ms = 1315921731000,
        .id = SLICE("room/a"), .from = SLICE("ana"), .data = data,
    };

    buf_reset(&out);
    show_message(&out, s, &epoch, &m);
    return buf_text(&out);
}

TEST(a_message_is_a_line)
{
    EXPECT_STR(message(&people, MSG_TEXT, SLICE("a\nb")),
               "2011-09-13 13:48:51 room/a #3 ana: a\\nb\n");
    EXPECT_STR(message(&people, MSG_BYTES, SLICE("\x00\x01")),
               "2011-09-13 13:48:51 room/a #3 ana: base64:AAE=\n");
    EXPECT_STR(message(&programs, MSG_JSON, SLICE("{\"a\":\n1}")),
               "{\"channel\":\"room/a\",\"epoch\":\"e1\",\"seq\":9,"
               "\"offset\":3,\"ts\":1315921731000,\"from\":\"ana\","
               "\"data\":{\"a\": 1}}\n");
    buf_fini(&out);
}

static const char *notice(const struct show *s, const struct show_notice *n)
{
    buf_reset(&out);
    show_notice(&out, s, n);
    if (s->json)
        EXPECT_OK(json_check(slice_trim(slice_head(buf_slice(&out),
                                                   out.len - 1)), 8, NULL));
    return buf_text(&out);
}

TEST(notices_have_the_form_of_the_edges)
{
    const struct show_notice snapshot = {
        .what = "snapshot", .channel = SLICE("match/x"), .epoch = epoch,
        .seq = 7, .cursor = true, .state = SLICE("{\"a\":1}") };
    const struct show_notice none = {
        .what = "snapshot", .channel = SLICE("a"), .epoch = epoch,
        .cursor = true };
    const struct show_notice counted = { .what = "gap", .why = "slow",
                                         .channel = SLICE("a"), .from = 3,
                                         .to = 5 };
    const struct show_notice unknown = { .what = "gap", .why = "epoch",
                                         .channel = SLICE("a") };
    const struct show_notice joined = {
        .what = "join", .channel = SLICE("room/a"),
        .fields = SLICE("{\"count\":2,\"names\":[\"ana\"]}") };

    EXPECT_STR(notice(&programs, &snapshot),
               "{\"notice\":\"snapshot\",\"channel\":\"match/x\","
               "\"cursor\":\"e1-7\",\"state\":{\"a\":1}}\n");
    EXPECT_CONTAINS(notice(&programs, &none), "\"state\":null}");
    EXPECT_CONTAINS(notice(&programs, &counted),
                    "\"from\":3,\"to\":5,\"count\":3,\"why\":\"slow\"}");
    EXPECT_CONTAINS(notice(&programs, &unknown),
                    "\"from\":null,\"to\":null,\"count\":null,"
                    "\"why\":\"epoch\"}");
    EXPECT_STR(notice(&programs, &joined),
               "{\"notice\":\"join\",\"channel\":\"room/a\",\"count\":2,"
               "\"names\":[\"ana\"]}\n");
    EXPECT_STR(notice(&people, &counted), "-- gap a 3 missed (slow)\n");
    buf_fini(&out);
}

static void row(struct buf *b, const char *name, uint64_t n)
{
    report_row(b);
    report_text(b, "gateway", slice_str(name));
    report_number(b, "seats", n);
    report_bool(b, "ok", n > 1);
    report_row_end(b);
}

TEST(a_report_is_a_table_with_its_numbers_to_the_right)
{
    struct buf report = BUF_INIT;

    report_part(&report, "gateways");
    row(&report, "http1", 1);
    row(&report, "a\nb\xc3\xa9", 12345);
    row(&report, "", 2);
    buf_reset(&out);
    EXPECT_OK(show_report(&out, &people, buf_slice(&report)));
    EXPECT_STR(buf_text(&out), "gateway  seats  ok\n"
                               "http1        1  no\n"
                               "a\\nb\xc3\xa9    12345  yes\n"
                               "-            2  yes\n");
    buf_fini(&report);
    buf_fini(&out);
}

TEST(a_report_of_one_thing_is_a_list_and_pages_are_not_shown)
{
    struct buf report = BUF_INIT;

    report_part(&report, "presence");
    report_row(&report);
    report_text(&report, "channel", SLICE("a"));
    report_text(&report, "why", SLICE(""));
    report_number(&report, "count", 7);
    report_row_end(&report);
    report_part(&report, "names");
    report_part(&report, "page");
    report_row(&report);
    report_bool(&report, "more", true);
    report_row_end(&report);
    buf_reset(&out);
    EXPECT_OK(show_report(&out, &people, buf_slice(&report)));
    EXPECT_STR(buf_text(&out), "channel  a\ncount    7\n");
    EXPECT_SLICE(show_field(buf_slice(&report), "channel"), SLICE("a"));
    EXPECT_INT(show_field(buf_slice(&report), "nothing").len, 0);
    buf_fini(&report);
    buf_fini(&out);
}

TEST(a_damaged_report_is_refused)
{
    buf_reset(&out);
    EXPECT_ERR(show_report(&out, &people, SLICE("\x01\x04")), ERR_FRAME);
    EXPECT_ERR(show_report(&out, &programs, SLICE("\x01\x04")), ERR_FRAME);
    buf_fini(&out);
}
