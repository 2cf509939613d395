/* Any talk with the TCP edge, made by chance: lines of all kinds, cut anywhere,
 * answers of the router in any order, messages, notices and silence between.
 * Each line gets one answer, in the order of the lines. */
#include "gateways/tcp/tcp.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "tests/gateways/talk.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

enum { TALKS = 400, LINES_MAX = 40, STARVED_TALKS = 2000 };

/* A line and how its answer begins, unless that is an ERROR; "": none. */
static const struct line_kind {
    const char *text, *ok;
} kinds[] = {
    { "PUB a x\r\n", "OK PUB" },         { "send b  two \n", "OK PUB" },
    { "SAY r hi\r\n", "OK SAY" },        { "SUB a\r\n", "OK SUB" },
    { "SUB b 0\r\n", "OK SUB" },         { "LOGIN c e1-3\r\n", "OK SUB" },
    { "UNSUB a\r\n", "OK UNSUB" },       { "UNSUB\r\n", "OK UNSUB" },
    { "JOIN r\r\n", "OK JOIN" },         { "LEAVE r\r\n", "OK LEAVE" },
    { "HISTORY a 2\r\n", "OK HISTORY" }, { "WHO a\r\n", "OK WHO" },
    { "MATCHES\r\n", "OK MATCHES" },     { "NICK ana\r\n", "OK NICK" },
    { "PING\r\n", "OK PING" },           { "HELP\r\n", "OK HELP" },
    { "\xff\xfb\x18PI\xff\xfa\x1f\r\n\xff\xf0NG\r\n", "OK PING" },
    { "PUB a \xff\xff\r\n", "OK PUB" },  { "V:2:ana\r\n", "ERROR" },
    { "VERSION:1:CONNECT:ana:MATCH:m\r\n", "ERROR" },
    { "frob\r\n", "ERROR" },             { "SUB\r\n", "ERROR" },
    { "AUTH no\r\n", "ERROR" },          { "\r\n", "" },
    { NULL, "ERROR" }, /* one that is too long */
};

static struct fake *f;
static struct conn *c;
static uint32_t late;
static const char *due[LINES_MAX]; /* answers, in order */
static unsigned due_count;
static bool stopped; /* the client reads nothing */
static bool starved; /* memory runs out somewhere */
static uint32_t published[LINES_MAX]; /* refs, as they were handed on */
static bool refused[LINES_MAX];       /* by the router: else perhaps taken */
static unsigned published_count;

/* ---- the router's side ------------------------------------------------- */

static void tell(enum notice_kind kind, const char *channel,
                 const char *state)
{
    struct slice id = slice_str(channel);
    struct notice n = { .kind = kind, .channels = &id, .count = 1,
                        .cursor = SLICE("e1-7"), .state = slice_str(state) };

    tcp_edge.notice(c, &n);
}

/* A start that goes on reading pages ends when others are under way. */
static void finish_late(void)
{
    if (late)
        tcp_edge.started(c, late);
    late = 0;
}

static void grant(const struct fake_call *k)
{
    if (strcmp(k->channel, "match/m") != 0 && talk_chance(4) == 0) {
        tcp_edge.subscribe_failed(c, k->ref, "channels.full", SLICE("full"));
        return;
    }
    tcp_edge.subscribed(c, k->ref);
    if (talk_chance(4) == 0)
        tell(NOTICE_GAP, k->channel, "");
    tell(k->has_since ? NOTICE_RESUMED : NOTICE_SNAPSHOT, k->channel,
         strcmp(k->channel, "room/r") == 0 ? "{\"count\":1}" : "");
    finish_late();
    if (k->has_since && talk_chance(2))
        late = k->ref;
    else
        tcp_edge.started(c, k->ref);
}

static void maybe_starve(unsigned of)
{
    if (starved && talk_chance(of) == 0)
        test_fail_malloc_after(talk_chance(12));
}

static void decide(const struct fake_call *k)
{
    struct published p = { .seq = 9, .channel = slice_str(k->channel),
                           .code = SLICE("store.full"), .text = SLICE("no") };

    p.status = talk_chance(3) ? PUBLISHED_OK : PUBLISHED_UNAVAILABLE;
    for (unsigned i = 0; i < published_count; i++)
        refused[i] |= published[i] == k->ref && p.status != PUBLISHED_OK;
    maybe_starve(20);
    tcp_edge.published(c, k->ref, &p);
    (void)test_malloc_failed();
}

static void read_page(const struct fake_call *k)
{
    struct frame_hole h = { .why = HOLE_TRIMMED, .to = 4, .id = SLICE("a") };
    struct msg *m = fake_msg("a", 6, 5, "row");

    if (talk_chance(2))
        tcp_edge.hole(c, k->ref, &h);
    if (talk_chance(2))
        tcp_edge.row(c, k->ref, m);
    tcp_edge.page_end(c, k->ref, talk_chance(3) ? 0 : ERR_BUSY, false, 9);
    msg_drop(m);
}

static void look_up(const struct fake_call *k)
{
    if (strcmp(k->verb, "match.current") == 0)
        tcp_edge.answered(c, k->ref, PUBLISHED_NOT_FOUND, true,
                          SLICE("match.none: none"), 0);
    else if (talk_chance(4) == 0)
        tcp_edge.answered(c, k->ref, PUBLISHED_UNAVAILABLE, true,
                          SLICE("router.away: away"), 0);
    else
        tcp_edge.answered(c, k->ref, PUBLISHED_OK, true, SLICE("{}"), 3);
}

static void take_calls(void)
{
    const struct fake_call *k;

    while ((k = fake_next_call(f))) {
        if (k->kind == FAKE_PUBLISH) {
            refused[published_count] = false;
            published[published_count++] = k->ref;
        }
        if (k->kind != FAKE_UNSUBSCRIBE)
            talk_ask(k);
    }
}

/* One of what was asked, whichever. */
static void answer_one(void)
{
    const struct fake_call *k;
    unsigned i;

    take_calls();
    if (!talk_pending())
        return;
    i = talk_chance(talk_pending());
    k = talk_question(i);
    talk_forget(i);
    switch (k->kind) {
    case FAKE_SUBSCRIBE: grant(k); break;
    case FAKE_PUBLISH: decide(k); break;
    case FAKE_FETCH: read_page(k); break;
    default: look_up(k); break;
    }
    fake_turn(f);
}

static void something_happens(void)
{
    struct msg *m;

    switch (talk_chance(9)) {
    case 0:
        m = fake_msg("a", 8, 6, "a message\nof two lines");
        fake_put(c, m);
        msg_drop(m);
        break;
    case 1: tell(NOTICE_JOIN, "room/r", "{\"count\":1}"); break;
    case 2: finish_late(); break;
    case 3: fake_pass(f, 100); break;
    case 4:
        stopped = !stopped;
        fake_stop_reading(c, stopped);
        break;
    case 5:
        if (!starved)
            fake_refuse_next(f, PUBLISHED_DENIED, "publish.denied", "not now");
        break;
    default: answer_one();
    }
}

/* ---- the client's side ------------------------------------------------- */

static void add_line(struct buf *b)
{
    const struct line_kind *k = &kinds[talk_chance(ARRAY_LEN(kinds))];

    if (k->text)
        buf_add_str(b, k->text);
    else
        for (int i = 0; i < 5001; i++)
            buf_add_byte(b, i < 5000 ? 'x' : '\n');
    if (*k->ok)
        due[due_count++] = k->ok;
}

static void speak(void)
{
    struct buf b = BUF_INIT;
    struct slice left;
    unsigned lines = 1 + talk_chance(LINES_MAX - 1);

    due_count = published_count = 0;
    for (unsigned i = 0; i < lines; i++)
        add_line(&b);
    for (left = buf_slice(&b); left.len && !conn_closing(c);) {
        size_t n = 1 + talk_chance(talk_chance(2) ? 12 : 6000);

        maybe_starve(6);
        fake_send(c, slice_head(left, n));
        (void)test_malloc_failed();
        left = slice_from(left, n);
        if (talk_chance(3) == 0 && !conn_closing(c))
            something_happens();
    }
    buf_fini(&b);
}

/* All that was asked is answered, in order, and nothing else is. */
static void expect_answers(void)
{
    struct slice left = fake_out(c);
    unsigned n = 0;

    while (left.len) {
        struct slice line = slice_split(&left, '\n');

        if (!slice_starts(line, SLICE("OK ")) &&
            !slice_starts(line, SLICE("ERROR ")))
            continue;
        EXPECT(n < due_count);
        EXPECT(slice_starts(line, SLICE("ERROR ")) ||
               slice_starts(line, slice_str(due[n])));
        n++;
    }
    EXPECT_INT(n, due_count);
}

TEST(each_line_of_any_talk_gets_one_answer_in_order)
{
    for (uint32_t talk = 1; talk <= TALKS; talk++) {
        talk_begin(talk);
        clock_fake(SECOND, 0);
        f = fake_new(&tcp_edge, NULL);
        fake_set_moves(f, talk % 2);
        c = fake_connect(f);
        late = 0;
        speak();
        stopped = false;
        fake_stop_reading(c, stopped);
        for (take_calls(); talk_pending(); take_calls())
            answer_one();
        EXPECT(!fake_is_closed(c));
        expect_answers();
        if (talk_chance(2))
            tcp_edge.drain(c);
        else
            fake_send_end(c);
        fake_turn(f);
        EXPECT(fake_is_closed(c));
        fake_free(f);
        clock_real();
    }
}

/* What has an answer has its own: the n-th is that of the n-th line, and no
 * publication that may have been taken is said to be refused. */
static void expect_no_denial(void)
{
    struct slice left = fake_out(c);
    unsigned n = 0, p = 0;

    while (left.len) {
        struct slice line = slice_split(&left, '\n');
        bool error = slice_starts(line, SLICE("ERROR "));

        if (!error && !slice_starts(line, SLICE("OK ")))
            continue;
        EXPECT(n < due_count && (error ||
                                 slice_starts(line, slice_str(due[n]))));
        if (strcmp(due[n], "OK PUB") == 0 || strcmp(due[n], "OK SAY") == 0) {
            EXPECT(!error || p == published_count || refused[p]);
            p += p < published_count;
        }
        n++;
    }
}

TEST(no_talk_denies_what_may_have_been_taken_wherever_memory_runs_out)
{
    starved = true;
    for (uint32_t talk = 1; talk <= STARVED_TALKS; talk++) {
        talk_begin(talk);
        clock_fake(SECOND, 0);
        f = fake_new(&tcp_edge, NULL);
        c = fake_connect(f);
        late = 0;
        speak();
        stopped = false;
        if (!conn_closing(c))
            fake_stop_reading(c, stopped);
        for (take_calls(); talk_pending() && !conn_closing(c); take_calls())
            answer_one();
        expect_no_denial();
        fake_free(f);
        clock_real();
    }
}
