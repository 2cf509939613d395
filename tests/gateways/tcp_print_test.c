#include "gateways/tcp/print.h"

#include "base/utf8.h"
#include "gateways/tcp/watch.h"
#include "tests/t/t.h"

static struct buf out;

static const char *safe(struct slice text, const char *more)
{
    buf_reset(&out);
    print_safe(&out, text, more);
    return buf_text(&out);
}

static const char *line(const struct msg_parts *parts, struct slice cursor)
{
    struct msg *m;

    EXPECT_OK(msg_new(&m, parts));
    buf_reset(&out);
    print_message(&out, m, cursor);
    msg_drop(m);
    return buf_text(&out);
}

static const char *notice(const struct notice *n)
{
    buf_reset(&out);
    print_notice(&out, n);
    return buf_text(&out);
}

static const char *event(const char *kind, const char *data)
{
    struct msg_parts parts = {
        .format = MSG_JSON,
        .ts_ms = INT64_C(1315921731000),
        .id = SLICE("match/elp-tig-2011-09-13"),
        .kind = slice_str(kind),
        .data = slice_str(data),
    };
    struct msg *m;

    EXPECT_OK(msg_new(&m, &parts));
    buf_reset(&out);
    watch_print_event(&out, m);
    msg_drop(m);
    return buf_text(&out);
}

/* Every byte a terminal could take for a command. */
static bool fit_for_a_terminal(struct slice s)
{
    uint32_t c;

    while (s.len) {
        if (utf8_next(&s, &c) < 0 || (c < 0x20 && c != '\r' && c != '\n') ||
            (c >= 0x7f && c <= 0x9f) || c == 0x202e || c == 0x2066)
            return false;
    }
    return true;
}

TEST(text_stays_as_it_is_but_for_what_a_terminal_obeys)
{
    EXPECT_STR(safe(SLICE("Müller \"x\" \\ 日本"), ""),
               "Müller \"x\" \\ 日本");
    EXPECT_STR(safe(SLICE("a\nb\r\t\x1b]52;c;x\x07"), ""),
               "a\\nb\\x0d\\x09\\x1b]52;c;x\\x07");
    EXPECT_STR(safe(SLICE("\x7f\xc2\x9b" "6n\xe2\x80\xae!"), ""),
               "\\x7f\\u{9b}6n\\u{202e}!");
    EXPECT_STR(safe(SLICE("\xff\xfd\x01 \x9b"), ""), "\\xff\\xfd\\x01 \\x9b");
    EXPECT_STR(safe(slice_make(NULL, 0), ""), "");
}

TEST(a_backslash_is_escaped_only_where_it_would_make_two_texts_look_alike)
{
    EXPECT_STR(safe(SLICE("a\\nb\nc"), ""), "a\\x5cnb\\nc");
    EXPECT_STR(safe(SLICE("\\x0a \\u{a}"), ""), "\\x5cx0a \\x5cu{a}");
    EXPECT_STR(safe(SLICE("\\\\n"), ""), "\\\\x5cn");
    EXPECT_STR(safe(SLICE("\\\n\\\x1b\\"), ""), "\\\\n\\\\x1b\\");
    EXPECT_STR(safe(SLICE("C:\\dir \\N ¯\\_(ツ)_/¯"), ""),
               "C:\\dir \\N ¯\\_(ツ)_/¯");
}

TEST(more_characters_are_escaped_where_they_would_mean_something)
{
    EXPECT_STR(safe(SLICE("a b:c\n"), " :\n"), "a\\x20b\\x3ac\\x0a");
}

TEST(no_naughty_string_reaches_the_terminal_raw)
{
    struct buf all = BUF_INIT;

    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++) {
            buf_add_byte(&all, (uint8_t)a);
            buf_add_byte(&all, (uint8_t)b);
        }
    (void)safe(buf_slice(&all), "\n");
    EXPECT(fit_for_a_terminal(buf_slice(&out)));
    buf_fini(&all);
}

TEST(a_message_is_one_line)
{
    struct msg_parts m = { .id = SLICE("room/lobby"), .from = SLICE("ana"),
                           .data = SLICE("hi\nthere") };

    EXPECT_STR(line(&m, SLICE("e1-7")), "room/lobby e1-7 ana: hi\\nthere\r\n");
    m.from = slice_make(NULL, 0);
    EXPECT_STR(line(&m, SLICE("-")), "room/lobby - -: hi\\nthere\r\n");
    m.from = SLICE("-");
    EXPECT_STR(line(&m, SLICE("e1-7")),
               "room/lobby e1-7 \\x2d: hi\\nthere\r\n");
    m.from = SLICE("mallory: x\r\n");
    EXPECT_STR(line(&m, SLICE("e1-7")),
               "room/lobby e1-7 mallory\\x3a\\x20x\\x0d\\x0a: hi\\nthere\r\n");
}

TEST(bytes_are_base64_and_json_is_what_it_was)
{
    struct msg_parts m = { .id = SLICE("a"), .format = MSG_BYTES,
                           .data = SLICE("\xff\x00\x1b") };

    EXPECT_STR(line(&m, SLICE("e1-1")), "a e1-1 -: base64:/wAb\r\n");
    m.data = SLICE("\xff\xfe");
    EXPECT_STR(line(&m, SLICE("e1-1")), "a e1-1 -: base64://4=\r\n");
    m.data = slice_make(NULL, 0);
    EXPECT_STR(line(&m, SLICE("e1-1")), "a e1-1 -: base64:\r\n");
    m.format = MSG_JSON;
    m.data = SLICE("{\"a\":\"x\\ny\", \"b\": 1.50}");
    EXPECT_STR(line(&m, SLICE("e1-1")),
               "a e1-1 -: {\"a\":\"x\\ny\", \"b\": 1.50}\r\n");
    m.data = SLICE("[\"\x7f\\u000a\\\\n\xe2\x80\xae\"]");
    EXPECT_STR(line(&m, SLICE("e1-1")),
               "a e1-1 -: [\"\\x7f\\u000a\\\\n\\u{202e}\"]\r\n");
    m.data = SLICE("{\"a\":\r\n1}");
    EXPECT_STR(line(&m, SLICE("e1-1")), "a e1-1 -: {\"a\":  1}\r\n");
}

TEST(a_match_event_prints_in_the_form_that_publishes_it)
{
    struct msg_parts m = { .id = SLICE("match/a"), .format = MSG_JSON,
                           .kind = SLICE("goal"),
                           .data = SLICE("{\"team\":\"tig\"}") };

    EXPECT_STR(line(&m, SLICE("e1-1")),
               "match/a e1-1 -: {\"kind\":\"goal\",\"data\":{\"team\":"
               "\"tig\"}}\r\n");
}

TEST(a_gap_says_what_is_known)
{
    struct slice id = SLICE("a");
    struct notice n = { .kind = NOTICE_GAP, .channels = &id, .count = 1,
                        .cursor = SLICE("e1-9"), .why = GAP_SLOW, .from = 3,
                        .to = 8, .missed = 6 };

    EXPECT_STR(notice(&n),
               "NOTICE gap a e1-9 from=3 to=8 count=6 why=slow\r\n");
    n.from = n.to = n.missed = 0;
    n.why = GAP_VOLATILE;
    EXPECT_STR(notice(&n), "NOTICE gap a e1-9 why=volatile\r\n");
}

TEST(a_state_is_printed_key_by_key)
{
    struct slice ids[] = { SLICE_INIT("room/a"), SLICE_INIT("room/b") };
    struct notice n = {
        .kind = NOTICE_JOIN, .channels = ids, .count = 1,
        .cursor = SLICE("e1-9"),
        .state = SLICE("{\"count\":2, \"names\":[\"ana\",\"b\\u001bob\"]}"),
    };

    EXPECT_STR(notice(&n), "NOTICE join room/a e1-9 count=2 "
               "names=[\"ana\",\"b\\u001bob\"]\r\n");
    n.kind = NOTICE_RESUMED;
    n.count = 2;
    n.state = slice_make(NULL, 0);
    EXPECT_STR(notice(&n), "NOTICE resumed room/a e1-9\r\n"
               "NOTICE resumed room/b e1-9\r\n");
}

TEST(closing_says_why)
{
    struct notice n = { .kind = NOTICE_CLOSING, .text = "maintenance" };

    EXPECT_STR(notice(&n), "NOTICE closing - - why=maintenance\r\n");
}

TEST(an_event_prints_as_in_the_talk)
{
    EXPECT_STR(event("goal", "{\"team\":\"tig\",\"player\":{\"7\":\"Luna\"}}"),
               "2011-09-13 13:48:51: goal:\n"
               "\tplayer: Luna (7) \n"
               "\tteam: <<\"tig\">>\n"
               "\r\n");
}

TEST(details_have_one_order_whatever_the_order_of_the_keys)
{
    EXPECT_STR(event("substitution",
                     "{\"offset\":9,\"comment\":\"x\",\"minute\":\"90+1\","
                     "\"player_in\":{\"14\":\"Vega\"},\"team\":\"elp\","
                     "\"player_out\":{\"9\":\"\"}}"),
               "2011-09-13 13:48:51: substitution:\n"
               "\tplayer_out: (9) \n"
               "\tteam: <<\"elp\">>\n"
               "\tplayer_in: Vega (14) \n"
               "\tminute: <<\"90+1\">>\n"
               "\tcomment: <<\"x\">>\n"
               "\toffset: 9\n"
               "\r\n");
}

TEST(words_and_numbers_are_bare_strings_are_not)
{
    EXPECT_STR(event("card", "{\"card\":\"red\",\"minute\":31,"
                     "\"player_team\":\"elp\",\"stadium\":null}"),
               "2011-09-13 13:48:51: card:\n"
               "\tcard: red\n"
               "\tplayer_team: <<\"elp\">>\n"
               "\tminute: 31\n"
               "\r\n");
    EXPECT_STR(event("card", "{\"card\":\"Red\\u001b\"}"),
               "2011-09-13 13:48:51: card:\n"
               "\tcard: <<\"Red\\x1b\">>\n"
               "\r\n");
}

TEST(strings_of_strangers_cannot_leave_their_quotes)
{
    EXPECT_STR(event("status", "{\"comment\":\"a\\\"b\\\\c\\n\\u0007"
                     "\\u009b\\u202eü\"}"),
               "2011-09-13 13:48:51: status:\n"
               "\tcomment: <<\"a\\x22b\\x5cc\\x0a\\x07\\u{9b}\\u{202e}ü\">>\n"
               "\r\n");
}

TEST(a_line_up_is_a_list)
{
    EXPECT_STR(event("start", "{\"home\":\"elp\",\"home_players\":"
                     "{\"25\":\"Albil\",\"7\":\"Luna\"},"
                     "\"visit_players\":{}}"),
               "2011-09-13 13:48:51: start:\n"
               "\thome: <<\"elp\">>\n"
               "\thome_players:\n"
               "\t\t Albil (25) \n"
               "\t\t Luna (7) \n"
               "\tvisit_players:\n"
               "\r\n");
}

TEST(times_are_utc)
{
    static const char *const same[] = {
        "2011-09-13T20:45:00Z", "2011-09-13T17:45:00-03:00",
        "2011-09-13T20:45:00.250Z", "2011-09-14T02:15:00+05:30",
    };
    struct buf data = BUF_INIT;

    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        buf_reset(&data);
        buf_addf(&data, "{\"start_time\":\"%s\"}", same[i]);
        EXPECT_STR(event("status", buf_text(&data)),
                   "2011-09-13 13:48:51: status:\n"
                   "\tstart_time: 2011-09-13 20:45:00\n"
                   "\r\n");
    }
    EXPECT_STR(event("status", "{\"start_time\":\"tomorrow\"}"),
               "2011-09-13 13:48:51: status:\n"
               "\tstart_time: <<\"tomorrow\">>\n"
               "\r\n");
    buf_fini(&data);
}

TEST(a_status_is_made_of_the_state)
{
    buf_reset(&out);
    watch_print_status(&out, SLICE("{\"home\":\"elp\",\"home_score\":0,"
                       "\"visit\":\"tig\",\"visit_score\":1,"
                       "\"period\":\"last_extra\",\"date\":\"2011-09-13\"}"),
                       INT64_C(1315921731999));
    EXPECT_STR(buf_text(&out), "2011-09-13 13:48:51: status:\n"
               "\thome: <<\"elp\">>\n"
               "\thome_score: 0\n"
               "\tvisit: <<\"tig\">>\n"
               "\tvisit_score: 1\n"
               "\tperiod: last_extra\n"
               "\r\n");
}

TEST(a_match_is_in_play_between_start_and_stop)
{
    EXPECT(watch_in_play(SLICE("{\"period\":\"first\"}")));
    EXPECT(watch_in_play(SLICE("{\"period\":\"halftime\"}")));
    EXPECT(watch_in_play(SLICE("{\"period\":\"penalties\"}")));
    EXPECT(!watch_in_play(SLICE("{\"period\":\"not_started\"}")));
    EXPECT(!watch_in_play(SLICE("{\"period\":\"ended\"}")));
    EXPECT(!watch_in_play(SLICE("{\"period\":\"postponed\"}")));
    EXPECT(!watch_in_play(SLICE("{\"period\":\"abandoned\"}")));
    EXPECT(!watch_in_play(SLICE("{}")));
}
