/* Conversations with the TCP edge: what a person types, what the router says,
 * what appears on the terminal, byte for byte. */
#include "gateways/tcp/tcp.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "proto/report.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

#define WELCOME "Welcome to Match Stream.\r\n" \
                "To watch the current game use: V:2:<your-name>\r\n"
#define MATCH   "match/elp-tig-2011-09-13"
#define STATE   "{\"home\":\"elp\",\"home_players\":{\"25\":\"Albil\"}," \
                "\"home_score\":0,\"visit\":\"tig\",\"visit_score\":0,"  \
                "\"period\":\"first\",\"stadium\":\"Monumental\","       \
                "\"start_time\":\"2011-09-13T13:00:00Z\"}"
#define STATUS  "2011-09-13 13:48:51: status:\n"     \
                "\thome: <<\"elp\">>\n"              \
                "\thome_players:\n"                  \
                "\t\t Albil (25) \n"                 \
                "\thome_score: 0\n"                  \
                "\tvisit: <<\"tig\">>\n"             \
                "\tvisit_score: 0\n"                 \
                "\tperiod: first\n"                  \
                "\tstadium: <<\"Monumental\">>\n"    \
                "\tstart_time: 2011-09-13 13:00:00\n" \
                "\r\n"
#define GOAL    "2011-09-13 13:48:51: goal:\n" \
                "\tplayer: Luna (7) \n"        \
                "\tteam: <<\"tig\">>\n"        \
                "\r\n"
#define STOP    "2011-09-13 13:48:51: stop:\n" \
                "\r\n"

static const int64_t kickoff_ms = INT64_C(1315921731000);

static struct fake *f;
static struct conn *c;

static void begin(void)
{
    clock_fake(SECOND, kickoff_ms);
    f = fake_new(&tcp_edge, NULL);
    c = fake_connect(f);
    EXPECT_STR(fake_text(c), WELCOME);
    fake_forget_out(c);
}

static void end(void)
{
    fake_free(f);
    clock_real();
}

static void type(const char *text)
{
    fake_send(c, slice_str(text));
}

/* What has appeared since the last time. */
static void expect_out(const char *want)
{
    EXPECT_STR(fake_text(c), want);
    fake_forget_out(c);
}

static const struct fake_call *expect_call(enum fake_kind kind)
{
    const struct fake_call *k = fake_next_call(f);

    EXPECT(k != NULL);
    EXPECT_INT(k->kind, kind);
    return k;
}

static void tell(enum notice_kind kind, const char *channel,
                 const char *cursor, const char *state)
{
    struct slice id = slice_str(channel);
    struct notice n = { .kind = kind, .channels = &id, .count = 1,
                        .cursor = slice_str(cursor),
                        .state = slice_str(state) };

    tcp_edge.notice(c, &n);
}

/* A first subscription, as the common half begins one. */
static void grant(const struct fake_call *k, const char *cursor,
                  const char *state)
{
    tcp_edge.subscribed(c, k->ref);
    tell(NOTICE_SNAPSHOT, k->channel, cursor, state);
    tcp_edge.started(c, k->ref);
    fake_turn(f);
}

static void answer(const struct fake_call *k, enum publish_status status,
                   const char *json)
{
    tcp_edge.answered(c, k->ref, status, true, slice_str(json), 0);
    fake_turn(f);
}

static void put_event(const char *kind, const char *data, uint64_t seq)
{
    struct msg_parts p = {
        .format = MSG_JSON,
        .seq = seq,
        .offset = seq,
        .ts_ms = kickoff_ms,
        .id = SLICE(MATCH),
        .kind = slice_str(kind),
        .data = slice_str(data),
    };
    struct msg *m;

    EXPECT_OK(msg_new(&m, &p));
    fake_put(c, m);
    msg_drop(m);
}

static void put_text(const char *channel, uint64_t seq, const char *text)
{
    struct msg *m = fake_msg(channel, seq, seq, text);

    fake_put(c, m);
    msg_drop(m);
}

static void published(const struct fake_call *k, uint64_t seq)
{
    struct published p = { .status = PUBLISHED_OK, .seq = seq, .reached = 2,
                           .channel = slice_str(k->channel) };

    tcp_edge.published(c, k->ref, &p);
    fake_turn(f);
}

/* ---- watching ---------------------------------------------------------- */

static void watch_the_current_match(void)
{
    const struct fake_call *k = expect_call(FAKE_QUERY);

    EXPECT_STR(k->verb, "match.current");
    answer(k, PUBLISHED_OK, "{\"id\":\"elp-tig-2011-09-13\"}");
    k = expect_call(FAKE_SUBSCRIBE);
    EXPECT_STR(k->channel, MATCH);
    EXPECT(!k->has_since);
    grant(k, "e1-4", STATE);
}

static void see_the_match_out(void)
{
    put_event("goal", "{\"player\":{\"7\":\"Luna\"},\"team\":\"tig\"}", 5);
    fake_set_seq(f, 5);
    put_event("stop", "{}", 6);
    fake_set_seq(f, 6);
    tcp_edge.drained(c);
    fake_turn(f);
}

static void watch_split(struct slice line, size_t cut, bool current)
{
    begin();
    fake_send(c, slice_head(line, cut));
    fake_send(c, slice_from(line, cut));
    if (current)
        watch_the_current_match();
    else
        grant(expect_call(FAKE_SUBSCRIBE), "e1-4", STATE);
    see_the_match_out();
    EXPECT_STR(fake_text(c), STATUS GOAL STOP);
    EXPECT(fake_is_closed(c));
    EXPECT_INT(fake_counted(f, "visits_total"), 1);
    end();
}

TEST(v2_shows_the_current_match_for_every_split_of_the_line)
{
    static const char *const lines[] = {
        "V:2:ana\r\n", "v:2:ana\n", "  V:2:ana \r\n",
        "\xff\xfd\x03V:\xff\xfb\x18" "2:ana\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        for (size_t cut = 0; cut < strlen(lines[i]); cut++)
            watch_split(slice_str(lines[i]), cut, true);
}

TEST(version_1_shows_that_match_for_every_split_of_the_line)
{
    static const char *const lines[] = {
        "VERSION:1:CONNECT:ana:MATCH:elp-tig-2011-09-13\r\n",
        "version:1:connect:ana:match:elp-tig-2011-09-13\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        for (size_t cut = 0; cut < strlen(lines[i]); cut++)
            watch_split(slice_str(lines[i]), cut, false);
}

TEST(a_line_typed_key_by_key_works_the_same)
{
    begin();
    fake_send_pieces(c, SLICE("V:2:ana\r\n"), 1);
    watch_the_current_match();
    expect_out(STATUS);
    end();
}

TEST(with_no_match_at_all_the_connection_stays)
{
    begin();
    type("V:2:ana\r\nPING\r\n");
    answer(expect_call(FAKE_QUERY), PUBLISHED_NOT_FOUND,
           "match.none: there is no match yet");
    expect_out("ERROR match.none: there is no match yet\r\nOK PING\r\n");
    EXPECT(!fake_is_closed(c));
    end();
}

TEST(a_match_that_is_unknown_is_an_error_and_not_watched)
{
    begin();
    type("VERSION:1:CONNECT:ana:MATCH:no-such-match\r\n");
    grant(expect_call(FAKE_SUBSCRIBE), "e1-4", "null");
    expect_out("ERROR match.unknown: there is no such match\r\n");
    EXPECT_STR(expect_call(FAKE_UNSUBSCRIBE)->channel, "match/no-such-match");
    type("VERSION:1:CONNECT:ana:MATCH:elp-tig-2011-09-13\r\n");
    grant(expect_call(FAKE_SUBSCRIBE), "e1-4", STATE);
    expect_out(STATUS);
    end();
}

TEST(what_was_subscribed_to_before_a_watch_in_vain_stays)
{
    begin();
    type("SUB match/no-such-match\r\n");
    grant(expect_call(FAKE_SUBSCRIBE), "e1-4", "");
    fake_forget_out(c);
    type("VERSION:1:CONNECT:ana:MATCH:no-such-match\r\n");
    grant(expect_call(FAKE_SUBSCRIBE), "e1-4", "");
    expect_out("ERROR match.unknown: there is no such match\r\n");
    EXPECT(!fake_next_call(f));
    end();
}

TEST(a_match_not_started_closes_after_its_status)
{
    static const char *const periods[] = { "not_started", "ended",
                                           "postponed", "abandoned" };

    for (size_t i = 0; i < ARRAY_LEN(periods); i++) {
        struct buf state = BUF_INIT;

        begin();
        buf_addf(&state, "{\"period\":\"%s\"}", periods[i]);
        type("VERSION:1:CONNECT:ana:MATCH:elp-tig-2011-09-13\r\n");
        grant(expect_call(FAKE_SUBSCRIBE), "e1-4", buf_text(&state));
        EXPECT_CONTAINS(fake_text(c), "status:\n\tperiod: ");
        EXPECT(fake_is_closed(c));
        buf_fini(&state);
        end();
    }
}

TEST(a_retract_is_followed_by_the_status_it_leaves)
{
    begin();
    type("V:2:ana\r\n");
    watch_the_current_match();
    expect_out(STATUS);
    put_event("retract", "{\"offset\":5}", 6);
    tell(NOTICE_SNAPSHOT, MATCH, "e1-6", STATE);
    expect_out("2011-09-13 13:48:51: retract:\n\toffset: 5\n\r\n" STATUS);
    end();
}

TEST(a_gap_in_a_watched_match_is_told_between_frames)
{
    begin();
    type("V:2:ana\r\n");
    watch_the_current_match();
    fake_forget_out(c);
    tell(NOTICE_GAP, MATCH, "e1-9", "");
    tell(NOTICE_SNAPSHOT, MATCH, "e1-9", STATE);
    expect_out("NOTICE gap " MATCH " e1-9 why=trimmed\r\n" STATUS);
    end();
}

TEST(a_stop_that_the_socket_did_not_take_does_not_close_yet)
{
    begin();
    type("V:2:ana\r\n");
    watch_the_current_match();
    fake_set_seq(f, 5);
    put_event("stop", "{}", 6);
    EXPECT(!fake_is_closed(c));
    put_event("stop", "{}", 6); /* again, after a short write */
    fake_set_seq(f, 6);
    tcp_edge.drained(c);
    fake_turn(f);
    EXPECT(fake_is_closed(c));
    end();
}

TEST(a_second_match_is_not_watched_before_the_first_is_left)
{
    begin();
    type("V:2:ana\r\n");
    watch_the_current_match();
    fake_forget_out(c);
    type("V:2:ana\r\n");
    expect_out("ERROR match.watching: you watch a match already; UNSUB "
               "leaves it\r\n");
    type("UNSUB\r\nV:2:ana\r\n");
    EXPECT_INT(expect_call(FAKE_UNSUBSCRIBE)->kind, FAKE_UNSUBSCRIBE);
    fake_forget_out(c);
    watch_the_current_match();
    expect_out(STATUS);
    end();
}

TEST(names_and_forms_of_a_watch_are_checked)
{
    begin();
    type("V:2:\r\nV:2:a b\r\nVERSION:1:CONNECT:ana\r\n"
         "VERSION:1:CONNECT:ana:MATCH:\r\nVERSION:1:CONNECT::MATCH:x\r\n"
         "VERSION:1:CONNECT:ana:MATCH:a//b\r\n");
    expect_out(
        "ERROR name.bad: a name has 1 to 64 bytes of UTF-8, and no control "
        "character, space or colon\r\n"
        "ERROR name.bad: a name has 1 to 64 bytes of UTF-8, and no control "
        "character, space or colon\r\n"
        "ERROR line.bad: write it as "
        "VERSION:1:CONNECT:ana:MATCH:elp-tig-2011-09-13\r\n"
        "ERROR line.bad: write it as "
        "VERSION:1:CONNECT:ana:MATCH:elp-tig-2011-09-13\r\n"
        "ERROR name.bad: a name has 1 to 64 bytes of UTF-8, and no control "
        "character, space or colon\r\n"
        "ERROR channel.bad: this is no channel: it has an empty segment; a "
        "channel is like room/lobby or user/ana\r\n");
    EXPECT(!fake_next_call(f));
    end();
}

/* ---- subscribing ------------------------------------------------------- */

TEST(sub_is_in_force_when_it_says_ok)
{
    begin();
    type("SUB user/ana\r\n");
    expect_out("");
    grant(expect_call(FAKE_SUBSCRIBE), "e1-7", "");
    expect_out("OK SUB user/ana e1-7\r\n");
    put_text("user/ana", 8, "hello");
    expect_out("user/ana e1-8 -: hello\r\n");
    end();
}

TEST(login_and_logout_are_other_names)
{
    begin();
    type("login a\r\n");
    grant(expect_call(FAKE_SUBSCRIBE), "e1-7", "");
    type("Logout a\r\n");
    expect_out("OK SUB a e1-7\r\nOK UNSUB\r\n");
    end();
}

TEST(a_state_comes_behind_the_ok)
{
    begin();
    type("SUB room/a\r\n");
    grant(expect_call(FAKE_SUBSCRIBE), "e1-7", "{\"count\":1}");
    expect_out("OK SUB room/a e1-7\r\nNOTICE snapshot room/a e1-7 count=1\r\n");
    end();
}

TEST(a_cursor_resumes_and_a_gap_is_told_behind_the_ok)
{
    const struct fake_call *k;

    begin();
    type("SUB a e1-5\r\n");
    k = expect_call(FAKE_SUBSCRIBE);
    EXPECT(k->has_since);
    EXPECT_INT(k->since.seq, 5);
    tcp_edge.subscribed(c, k->ref);
    tell(NOTICE_RESUMED, "a", "e1-5", "");
    put_text("a", 6, "missed");
    tcp_edge.started(c, k->ref);
    expect_out("OK SUB a e1-5\r\na e1-6 -: missed\r\n");
    type("UNSUB a\r\n");
    fake_forget_out(c);
    end();
}

TEST(a_gap_at_the_start_is_told_behind_the_ok)
{
    const struct fake_call *k;

    begin();
    type("SUB a e0-5\r\n");
    k = expect_call(FAKE_SUBSCRIBE);
    tcp_edge.subscribed(c, k->ref);
    tell(NOTICE_GAP, "a", "e1-9", "");
    tell(NOTICE_SNAPSHOT, "a", "e1-9", "");
    tcp_edge.started(c, k->ref);
    expect_out("OK SUB a e1-9\r\nNOTICE gap a e1-9 why=trimmed\r\n");
    end();
}

TEST(a_replay_beside_live_channels_carries_no_cursor)
{
    const struct fake_call *k;
    struct msg *m;

    begin();
    type("SUB a\r\n");
    grant(expect_call(FAKE_SUBSCRIBE), "e1-7", "");
    fake_set_seq(f, 9);
    type("SUB b e1-2\r\n");
    fake_forget_out(c);
    k = expect_call(FAKE_SUBSCRIBE);
    tcp_edge.subscribed(c, k->ref);
    expect_out("OK SUB b e1-9\r\n");
    m = fake_msg("b", 3, 1, "old");
    fake_put_flags(c, m, PUT_REPLAY);
    msg_drop(m);
    expect_out("b - -: old\r\n");
    tell(NOTICE_RESUMED, "b", "e1-9", "");
    tcp_edge.started(c, k->ref);
    expect_out("NOTICE resumed b e1-9\r\n");
    end();
}

TEST(a_subscription_that_cannot_be_had_is_an_error)
{
    const struct fake_call *k;

    begin();
    fake_refuse_next(f, PUBLISHED_BAD, "channel.bad", "it is empty");
    type("SUB a\r\nSUB b\r\n");
    k = expect_call(FAKE_SUBSCRIBE);
    EXPECT_STR(k->channel, "b");
    tcp_edge.subscribe_failed(c, k->ref, "channels.full", SLICE("too many"));
    type("SUB a cursor!\r\n");
    expect_out("ERROR channel.bad: it is empty\r\n"
               "ERROR channels.full: too many\r\n"
               "ERROR cursor.bad: this is no cursor: 0, or what an OK or a "
               "message showed\r\n");
    end();
}

TEST(a_start_that_ends_late_is_not_taken_for_the_next_verbs)
{
    const struct fake_call *sub, *who;

    begin();
    type("SUB a 0\r\n");
    sub = expect_call(FAKE_SUBSCRIBE);
    tcp_edge.subscribed(c, sub->ref);
    tell(NOTICE_RESUMED, "a", "e1-0", "");
    expect_out("OK SUB a e1-0\r\n");
    type("WHO a\r\n");
    who = expect_call(FAKE_QUERY);
    tcp_edge.started(c, sub->ref); /* behind the pages of the store */
    expect_out("");
    answer(who, PUBLISHED_OK, "{}");
    expect_out("OK WHO 0\r\n");
    end();
}

/* ---- publishing -------------------------------------------------------- */

TEST(publications_go_out_at_once_and_their_answers_come_in_order)
{
    const struct fake_call *one, *two;

    begin();
    type("PUB a first text\r\nSEND b  second \r\nPING\r\nPUB c third\r\n");
    one = expect_call(FAKE_PUBLISH);
    EXPECT_STR(one->data, "first text");
    EXPECT_INT(one->format, MSG_TEXT);
    two = expect_call(FAKE_PUBLISH);
    EXPECT_STR(two->data, " second ");
    EXPECT(!fake_next_call(f));
    published(two, 9);
    expect_out("");
    published(one, 8);
    expect_out("OK PUB a e1-8 reached=2\r\nOK PUB b e1-9 reached=2\r\n"
               "OK PING\r\n");
    published(expect_call(FAKE_PUBLISH), 10);
    expect_out("OK PUB c e1-10 reached=2\r\n");
    end();
}

TEST(a_refusal_waits_for_the_answers_in_front_of_it)
{
    const struct fake_call *k;

    begin();
    type("PUB a x\r\n");
    fake_refuse_next(f, PUBLISHED_DENIED, "publish.denied", "not here");
    type("PUB team/a x\r\nNONSENSE\r\n");
    expect_out("");
    k = expect_call(FAKE_PUBLISH);
    published(k, 3);
    expect_out("OK PUB a e1-3 reached=2\r\n"
               "ERROR publish.denied: not here\r\n"
               "ERROR verb.unknown: there is no such verb; HELP shows what "
               "there is\r\n");
    end();
}

TEST(the_router_may_refuse_a_publication)
{
    struct published p = { .status = PUBLISHED_CONFLICT,
                           .code = SLICE("match.rule"),
                           .text = SLICE("no goal\x1b after the end") };

    begin();
    type("PUB match/a {}\r\n");
    tcp_edge.published(c, expect_call(FAKE_PUBLISH)->ref, &p);
    expect_out("ERROR match.rule: no goal\\x1b after the end\r\n");
    end();
}

TEST(input_waits_when_too_many_are_unanswered)
{
    const struct fake_call *first;

    begin();
    for (int i = 0; i < PIPELINE_MAX + 3; i++)
        type("PUB a x\r\n");
    first = expect_call(FAKE_PUBLISH);
    for (int i = 1; i < PIPELINE_MAX; i++)
        (void)expect_call(FAKE_PUBLISH);
    EXPECT(!fake_next_call(f));
    published(first, 1);
    (void)expect_call(FAKE_PUBLISH);
    EXPECT(!fake_next_call(f));
    end();
}

TEST(what_is_not_text_is_published_as_bytes)
{
    const struct fake_call *k;

    begin();
    type("PUB a \xff\xff\x01\r\nPUB a \r\n");
    k = expect_call(FAKE_PUBLISH);
    EXPECT_INT(k->format, MSG_BYTES);
    EXPECT_SLICE(slice_make(k->data, k->data_len), SLICE("\xff\x01"));
    k = expect_call(FAKE_PUBLISH);
    EXPECT_INT(k->format, MSG_TEXT);
    EXPECT_INT(k->data_len, 0);
    end();
}

TEST(chat_happens_in_rooms_under_a_name)
{
    const struct fake_call *k;

    begin();
    type("NICK ana\r\nJOIN lobby\r\n");
    k = expect_call(FAKE_SUBSCRIBE);
    EXPECT_STR(k->channel, "room/lobby");
    EXPECT_STR(k->name, "ana");
    grant(k, "e1-7", "");
    type("SAY lobby hi all\r\n");
    k = expect_call(FAKE_PUBLISH);
    EXPECT_STR(k->channel, "room/lobby");
    EXPECT_STR(k->from, "ana");
    EXPECT_STR(k->data, "hi all");
    published(k, 8);
    type("LEAVE lobby\r\n");
    expect_out("OK NICK ana\r\nOK JOIN room/lobby e1-7\r\n"
               "OK SAY room/lobby e1-8 reached=2\r\nOK LEAVE room/lobby\r\n");
    end();
}

/* ---- asking ------------------------------------------------------------ */

TEST(history_is_a_list_with_its_holes)
{
    const struct fake_call *k;
    struct frame_hole h = { .why = HOLE_DAMAGED, .from = 2, .to = 2,
                            .id = SLICE("a") };
    struct msg *m = fake_msg("a", 4, 3, "three");

    begin();
    type("HISTORY a 2\r\nPING\r\n");
    k = expect_call(FAKE_FETCH);
    EXPECT_INT(k->mode, FETCH_LAST);
    EXPECT_INT(k->limit, 2);
    tcp_edge.hole(c, k->ref, &h);
    tcp_edge.row(c, k->ref, m);
    tcp_edge.page_end(c, k->ref, 0, false, 9);
    fake_turn(f);
    expect_out("NOTICE gap a - from=2 to=2 count=1 why=damaged\r\n"
               "a e1-4 -: three\r\nOK HISTORY 1\r\nOK PING\r\n");
    type("HISTORY a 0\r\nHISTORY a 1001\r\nHISTORY a*\r\n");
    expect_out("ERROR limit.bad: how many: 1 to 1000\r\n"
               "ERROR limit.bad: how many: 1 to 1000\r\n"
               "ERROR channel.bad: this is no channel: it contains \"*\", "
               "which only patterns do; a channel is like room/lobby or "
               "user/ana\r\n");
    msg_drop(m);
    end();
}

TEST(who_lists_names_and_the_rest)
{
    struct buf b = BUF_INIT;
    const struct fake_call *k;

    begin();
    type("WHO room/lobby\r\n");
    k = expect_call(FAKE_QUERY);
    EXPECT_STR(k->verb, "presence");
    EXPECT_STR(k->args, "room/lobby");
    report_part(&b, "presence");
    report_row(&b);
    report_number(&b, "count", 5);
    report_row_end(&b);
    report_part(&b, "names");
    report_row(&b);
    report_text(&b, "name", SLICE("ana"));
    report_number(&b, "connections", 2);
    report_row_end(&b);
    tcp_edge.answered(c, k->ref, PUBLISHED_OK, false, buf_slice(&b), 0);
    expect_out("ana 2\r\n... 3\r\nOK WHO 2\r\n");
    buf_fini(&b);
    end();
}

TEST(matches_are_listed_one_a_line)
{
    begin();
    type("MATCHES\r\n");
    answer(expect_call(FAKE_QUERY), PUBLISHED_OK,
           "{\"matches\":[{\"id\":\"elp-tig-2011-09-13\",\"home\":\"elp\","
           "\"home_score\":1,\"visit\":\"tig\",\"visit_score\":0,"
           "\"period\":\"first\",\"start_time\":\"2011-09-13T13:00:00Z\"}]}");
    expect_out("elp-tig-2011-09-13 first elp 1-0 tig 2011-09-13T13:00:00Z\r\n"
               "OK MATCHES 1\r\n");
    end();
}

TEST(a_router_that_is_away_is_told)
{
    begin();
    type("MATCHES\r\nHISTORY a\r\n");
    answer(expect_call(FAKE_QUERY), PUBLISHED_UNAVAILABLE, "come back later");
    tcp_edge.page_end(c, expect_call(FAKE_FETCH)->ref, ERR_BUSY, false, 0);
    expect_out("ERROR router.away: come back later\r\n"
               "ERROR router.away: the router cannot be reached just now\r\n");
    end();
}

TEST(help_shows_each_verb_with_an_example)
{
    begin();
    type("HELP\r\n");
    EXPECT_CONTAINS(fake_text(c), "PUB <channel> <text>: say it to all who "
                    "listen there (also SEND), as in: PUB user/ana hello\r\n");
    EXPECT_CONTAINS(fake_text(c), "V:2:<your-name>: watch the current match, "
                    "as in: V:2:ana\r\n");
    EXPECT_CONTAINS(fake_text(c), "\r\nOK HELP 16\r\n");
    end();
}

TEST(a_token_is_shown_and_never_printed)
{
    static const char *const sets[] = {
        "token reporter.secret=0123456789abcdef",
        "token reporter.publish=match/", NULL };

    clock_fake(SECOND, kickoff_ms);
    f = fake_new(&tcp_edge, sets);
    c = fake_connect(f);
    fake_forget_out(c);
    type("AUTH wrong\r\nAUTH 0123456789abcdef\r\n");
    expect_out("ERROR token.unknown: no [token NAME] section of "
               "touchline.conf has this secret\r\n"
               "OK AUTH reporter\r\n");
    EXPECT(conn_token(c) != NULL);
    end();
}

/* ---- the line, the connection ------------------------------------------ */

TEST(a_line_too_long_is_an_error_and_the_next_one_works)
{
    struct buf line = BUF_INIT;

    begin();
    buf_add_str(&line, "PUB a ");
    while (line.len < 5000)
        buf_add_byte(&line, 'x');
    buf_add_str(&line, "\r\nPING\r\n");
    fake_send(c, buf_slice(&line));
    expect_out("ERROR line.long: a line has at most 4096 bytes; this one was "
               "dropped\r\nOK PING\r\n");
    EXPECT_INT(fake_limited(f, LIMIT_LINE), 1);
    buf_fini(&line);
    end();
}

TEST(a_line_too_long_waits_for_the_answers_in_front_of_it)
{
    struct buf lines = BUF_INIT;

    begin();
    type("PUB a be"); /* so that the line has memory of its own */
    buf_add_str(&lines, "gun\r\n");
    while (lines.len < 5000)
        buf_add_byte(&lines, 'x'); /* its end has not come */
    fake_send(c, buf_slice(&lines));
    type("\r\nPING\r\n");
    expect_out("");
    published(expect_call(FAKE_PUBLISH), 3);
    expect_out("OK PUB a e1-3 reached=2\r\nERROR line.long: a line has at "
               "most 4096 bytes; this one was dropped\r\nOK PING\r\n");
    buf_fini(&lines);
    end();
}

/* A page can make a browser speak to this port, from loopback. */
TEST(nothing_behind_a_line_of_http_is_obeyed)
{
    static const char *const heads[] = {
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /?PUB HTTP/1.0\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "\r\nhost: 127.0.0.1:9999\r\n", /* behind a line that was too long */
    };

    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        begin();
        type(heads[i]);
        type("PUB a x\r\n");
        expect_out("ERROR line.foreign: this port speaks telnet; HTTP and "
                   "WebSocket have ports of their own\r\n");
        EXPECT(fake_is_closed(c));
        EXPECT_INT(fake_counted(f, "line.foreign"), 1);
        end();
    }
}

TEST(what_begins_as_no_text_is_not_searched_for_lines)
{
    static const char *const starts[] = {
        "\x16\x03\x01", "\0\x03\0\x08",
        "\x01\x20\0", "\x02\n\0", /* STUN behind its length */
    };

    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        begin();
        fake_send(c, slice_make(starts[i], 3));
        type("\nPUB a x\r\n");
        expect_out("ERROR line.foreign: this port speaks telnet; HTTP and "
                   "WebSocket have ports of their own\r\n");
        EXPECT(fake_is_closed(c));
        end();
    }
}

TEST(text_may_speak_of_http_and_hold_any_byte)
{
    begin();
    type("PUB a GET / HTTP/1.1\r\n");
    fake_send(c, SLICE("PUB a \x16\0\r\n"));
    EXPECT(!fake_is_closed(c));
    EXPECT_INT(fake_counted(f, "line.foreign"), 0);
    end();
}

TEST(an_error_keeps_the_connection_and_is_counted)
{
    begin();
    type("\r\n  \r\nFROB\r\nPUB a\r\nPING PONG\r\nSUB\r\n");
    expect_out("ERROR verb.unknown: there is no such verb; HELP shows what "
               "there is\r\n"
               "ERROR line.bad: write it as: PUB user/ana hello\r\n"
               "ERROR line.bad: write it as: PING\r\n"
               "ERROR line.bad: write it as: SUB match/*\r\n");
    EXPECT_INT(fake_counted(f, "verb.unknown"), 1);
    EXPECT_INT(fake_counted(f, "line.bad"), 3);
    EXPECT(!fake_is_closed(c));
    end();
}

TEST(quit_says_ok_and_closes)
{
    begin();
    type("QUIT\r\nPING\r\n");
    expect_out("OK QUIT\r\n");
    EXPECT(fake_is_closed(c));
    end();
}

TEST(a_client_that_ends_its_input_gets_its_answers)
{
    begin();
    type("PUB a x\r\n");
    fake_send_end(c);
    EXPECT(!fake_is_closed(c));
    published(expect_call(FAKE_PUBLISH), 3);
    expect_out("OK PUB a e1-3 reached=2\r\n");
    EXPECT(fake_is_closed(c));
    end();
}

TEST(input_waits_while_its_answers_are_not_read)
{
    begin();
    fake_stop_reading(c, true);
    for (int i = 0; i < 1000; i++)
        type("HELP\r\n");
    EXPECT(fake_out(c).len < 80 * 1024);
    fake_forget_out(c);
    fake_stop_reading(c, false);
    EXPECT(fake_out(c).len > 80 * 1024);
    end();
}

TEST(draining_says_closing_behind_the_answers)
{
    begin();
    type("SUB a\r\n");
    grant(expect_call(FAKE_SUBSCRIBE), "e1-7", "");
    fake_set_seq(f, 7);
    fake_forget_out(c);
    type("PUB a x\r\n");
    tcp_edge.drain(c);
    expect_out("");
    published(expect_call(FAKE_PUBLISH), 8);
    expect_out("OK PUB a e1-8 reached=2\r\nNOTICE closing - e1-7 why=the "
               "server goes down for a moment\r\n");
    EXPECT(fake_is_closed(c));
    end();
}

TEST(who_is_kicked_is_told_that_an_operator_did_it)
{
    begin();
    type("SUB a\r\n");
    grant(expect_call(FAKE_SUBSCRIBE), "e1-7", "");
    fake_set_seq(f, 7);
    fake_forget_out(c);
    tcp_edge.kicked(c);
    expect_out("NOTICE closing - e1-7 why=an operator closed this "
               "connection\r\n");
    fake_turn(f);
    EXPECT(fake_is_closed(c));
    end();
}

TEST(a_full_gateway_says_when_to_come_back)
{
    begin();
    EXPECT_SLICE(tcp_edge.busy(fake_gateway(f)),
                 SLICE("ERROR busy: all places are taken, come back in 1 s"
                       "\r\n"));
    end();
}

TEST(a_message_is_encoded_once_for_all_who_hear_it)
{
    struct conn *other;
    struct msg *m;
    struct wire *first;

    begin();
    other = fake_connect(f);
    m = fake_msg("a", 3, 1, "x");
    fake_put(c, m);
    first = m->forms[0];
    fake_put(other, m);
    EXPECT(first && m->forms[0] == first);
    msg_drop(m);
    end();
}

TEST(no_memory_ends_one_connection_and_nothing_else)
{
    struct slice lines = SLICE("NICK ana\r\nHELP\r\nFROB\r\nSUB a x\r\n"
                               "NICK a b\r\nUNS");
    bool failed = true;
    long n;

    for (n = 0; failed; n++) {
        struct msg *m = fake_msg("a", 1, 1, "x");

        begin();
        test_fail_malloc_after(n);
        (void)tcp_edge.input(c, lines);
        if (!conn_closing(c))
            fake_put(c, m);
        failed = test_malloc_failed();
        msg_drop(m);
        end();
    }
    EXPECT(n > 5);
}

/* Every allocation fails once while these lines come. True: something failed
 * behind the first one, which had been published. */
static bool denies_nothing(const char *lines, long n, bool *failed)
{
    const struct fake_call *first, *k;
    bool late;

    begin();
    test_fail_malloc_after(n);
    type(lines);
    *failed = test_malloc_failed();
    first = fake_next_call(f);
    late = first && *failed;
    if (first)
        EXPECT_STR(fake_text(c), ""); /* of the others: in their turn */
    for (k = first; k; k = fake_next_call(f))
        if (k->kind == FAKE_PUBLISH)
            published(k, 7);
    if (first && fake_out(c).len)
        EXPECT(slice_starts(fake_out(c), SLICE("OK PUB a e1-7 ")));
    end();
    return late;
}

/* Answers come in the order of the lines: a word about a later one, said at
 * once, would be taken for the answer to what is stored. */
TEST(what_is_under_way_is_not_denied_when_memory_is_short_for_a_later_line)
{
    static const char *const lines[] = {
        "PUB a 1\r\nPUB a 2\r\nPUB a 3\r\n",
        "PUB a 1\r\nWHO a\r\n",
        "PUB a 1\r\nSUB a\r\n",
        "PUB a 1\r\nFROB\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        bool failed = true;
        unsigned late = 0;

        for (long n = 0; failed; n++)
            late += denies_nothing(lines[i], n, &failed);
        EXPECT(late);
    }
}

TEST(a_line_without_memory_is_answered_behind_those_in_front_of_it)
{
    begin();
    type("PUB a 1\r\n");
    test_fail_malloc_after(0);
    type("PUB a 2\r\n");
    EXPECT(test_malloc_failed());
    type("PUB a 3\r\n"); /* not read any more */
    expect_out("");
    published(expect_call(FAKE_PUBLISH), 7);
    expect_out("OK PUB a e1-7 reached=2\r\n"
               "ERROR server.memory: the server is out of memory\r\n");
    EXPECT(fake_is_closed(c));
    EXPECT_STR(fake_close_why(c), "memory");
    EXPECT(!fake_next_call(f));
    end();
}

static const struct give_up unread = {
    "unread", "store.failed", "what you have missed cannot be read just now"};

TEST(who_cannot_go_on_is_told_where_it_is_at_once_and_answered_before_it_ends)
{
    begin();
    type("SUB a\r\n");
    grant(expect_call(FAKE_SUBSCRIBE), "e1-7", "");
    fake_set_seq(f, 7);
    fake_forget_out(c);
    type("PUB a 1\r\nSUB b\r\n");
    tcp_edge.give_up(c, &unread);
    fake_set_seq(f, 9);
    expect_out("NOTICE closing - e1-7 why=what you have missed cannot be read "
               "just now\r\n");
    type("SUB c\r\n");
    EXPECT(!fake_is_closed(c));
    published(expect_call(FAKE_PUBLISH), 8);
    expect_out("OK PUB a e1-8 reached=2\r\n");
    EXPECT(fake_is_closed(c));
    EXPECT_STR(fake_close_why(c), "unread");
    EXPECT(!fake_next_call(f)); /* b and c would begin in front of a gap */
    end();
}

TEST(a_verb_under_way_is_refused_when_its_connection_cannot_go_on)
{
    static const char *const lines[] = {"SUB b e1-3\r\n", "WHO b\r\n",
                                        "HISTORY b\r\n", "V:2:ana\r\n"};

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        begin();
        type("SUB a\r\n");
        grant(expect_call(FAKE_SUBSCRIBE), "e1-7", "");
        fake_set_seq(f, 7);
        fake_forget_out(c);
        type(lines[i]);
        tcp_edge.give_up(c, &unread);
        expect_out("ERROR store.failed: what you have missed cannot be read "
                   "just now\r\n"
                   "NOTICE closing - e1-7 why=what you have missed cannot be "
                   "read just now\r\n");
        fake_turn(f);
        EXPECT(fake_is_closed(c));
        end();
    }
}

TEST(a_notice_is_no_answer_to_a_question_about_its_channel)
{
    begin();
    type("SUB room/x\r\n");
    grant(expect_call(FAKE_SUBSCRIBE), "e1-7", "");
    fake_forget_out(c);
    type("WHO room/x\r\n");
    tell(NOTICE_JOIN, "room/x", "e1-8", "{\"count\":1,\"names\":[]}");
    EXPECT(slice_starts(fake_out(c), SLICE("NOTICE join room/x e1-8")));
    EXPECT(!strstr(fake_text(c), "OK"));
    end();
}

TEST(an_idle_connection_costs_32_bytes)
{
    EXPECT_INT(tcp_edge.conn_bytes, 32);
}
