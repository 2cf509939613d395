/* Any talk over /v1/ws, made by chance: commands of all kinds, in any pieces
 * and fragments, answers of the router in any order, messages, notices and
 * silence between. Each command gets one reply, and the end comes in order. */
#include "gateways/ws/ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/report.h"
#include "tests/gateways/talk.h"
#include "tests/gateways/ws_peer.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

enum { TALKS = 400, COMMANDS_MAX = 300 };

static const char *const kinds[] = {
    "\"cmd\":\"subscribe\",\"channel\":\"a\"",
    "\"cmd\":\"subscribe\",\"channel\":\"room/r\",\"name\":\"ana\"",
    "\"cmd\":\"subscribe\",\"channel\":\"b/*\",\"since\":\"0\"",
    "\"cmd\":\"unsubscribe\",\"channel\":\"a\"",
    "\"cmd\":\"unsubscribe\"",
    "\"cmd\":\"publish\",\"channel\":\"a\",\"data\":[1, {\"x\":\"\\u00e9\"}]",
    "\"cmd\":\"publish\",\"channel\":\"b\",\"data\":null,\"key\":\"k\"",
    "\"cmd\":\"publish\",\"channel\":\"a\"",
    "\"cmd\":\"history\",\"channel\":\"a\"",
    "\"cmd\":\"history\",\"channel\":\"a\",\"since\":\"e1-4\",\"limit\":2",
    "\"cmd\":\"history\",\"channel\":\"a\",\"since\":\"e0-4\"",
    "\"cmd\":\"presence\",\"channel\":\"room/r\"",
    "\"cmd\":\"auth\",\"token\":\"no\"",
    "\"cmd\":\"ping\"",
    "\"cmd\":\"frob\"",
};

static struct fake *f;
static struct conn *c;
static uint32_t late;
static unsigned commands, replies;
static bool replied[COMMANDS_MAX], stopped;
static struct buf report; /* the router's, to presence */

/* ---- the router's side ------------------------------------------------- */

/* A start that goes on reading pages ends when others are under way. */
static void finish_late(void)
{
    if (late)
        ws_edge.started(c, late);
    late = 0;
}

static void grant(const struct fake_call *k)
{
    if (talk_chance(4) == 0) {
        ws_edge.subscribe_failed(c, k->ref, "channels.full", SLICE("full"));
        return;
    }
    ws_edge.subscribed(c, k->ref);
    fake_notice(c, k->has_since ? NOTICE_RESUMED : NOTICE_SNAPSHOT, k->channel,
                "e1-7");
    finish_late();
    if (k->has_since && talk_chance(2))
        late = k->ref;
    else
        ws_edge.started(c, k->ref);
}

static void decide(const struct fake_call *k)
{
    struct published p = { .status = talk_chance(4), .seq = 5, .offset = 1,
                           .channel = slice_str(k->channel),
                           .code = SLICE("store.full"), .text = SLICE("no") };

    ws_edge.published(c, k->ref, &p);
}

static void read_page(const struct fake_call *k)
{
    struct frame_hole h = { .why = HOLE_TRIMMED, .to = 4, .id = SLICE("a") };
    struct msg *m = fake_msg("a", 6, 5, "row");

    if (talk_chance(2))
        ws_edge.hole(c, k->ref, &h);
    if (talk_chance(2))
        ws_edge.row(c, k->ref, m);
    ws_edge.page_end(c, k->ref, talk_chance(3) ? 0 : ERR_BUSY, talk_chance(2),
                     9);
    msg_drop(m);
}

/* Who leaves before it is in force hears no more of it, or all the same. */
static void forget_left(const char *channel)
{
    for (unsigned i = talk_pending(); i-- > 0;) {
        const struct fake_call *k = talk_question(i);

        if (k->kind == FAKE_SUBSCRIBE && talk_chance(2) &&
            (!*channel || strcmp(channel, k->channel) == 0))
            talk_forget(i);
    }
}

static void take_calls(void)
{
    const struct fake_call *k;

    while ((k = fake_next_call(f))) {
        if (k->kind == FAKE_UNSUBSCRIBE) {
            forget_left(k->channel);
            continue;
        }
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
    default:
        ws_edge.answered(c, k->ref, talk_chance(3) ? PUBLISHED_OK
                         : PUBLISHED_UNAVAILABLE, false, buf_slice(&report), 3);
    }
    fake_turn(f);
}

static void answer_all(void)
{
    for (take_calls(); talk_pending(); take_calls())
        answer_one();
}

static void something_happens(void)
{
    struct msg *m;

    switch (talk_chance(9)) {
    case 0:
        m = fake_msg("a", 8, 6, "a message");
        fake_put_flags(c, m, talk_chance(2) ? PUT_REPLAY : 0);
        msg_drop(m);
        break;
    case 1: fake_notice(c, NOTICE_GAP, "a", "e1-8"); break;
    case 2: finish_late(); break;
    case 3: fake_pass(f, 100 * talk_chance(100)); break;
    case 4:
        stopped = !stopped;
        fake_stop_reading(c, stopped);
        break;
    case 5:
        fake_refuse_next(f, PUBLISHED_DENIED, "publish.denied", "not now");
        break;
    default: answer_one();
    }
}

/* ---- the client's side ------------------------------------------------- */

/* In one frame, or in three with a pong between. */
static void add_command(struct buf *b)
{
    char text[200];
    struct slice whole;
    size_t n = talk_chance(10);

    snprintf(text, sizeof text, "{%s,\"ref\":%u}",
             kinds[talk_chance(ARRAY_LEN(kinds))], commands++);
    whole = slice_str(text);
    if (talk_chance(4)) {
        peer_frame(b, PEER_FIN | 1, whole);
        return;
    }
    peer_frame(b, 1, slice_head(whole, n));
    peer_frame(b, 0, SLICE(""));
    if (talk_chance(8) == 0)
        peer_frame(b, PEER_FIN | 10, SLICE(""));
    peer_frame(b, PEER_FIN, slice_from(whole, n));
}

static void speak(void)
{
    struct buf b = BUF_INIT;
    struct slice left;
    unsigned most = 1 + talk_chance(talk_chance(8) ? 30 : COMMANDS_MAX - 1);

    while (commands < most)
        add_command(&b);
    for (left = buf_slice(&b); left.len;) {
        size_t n = 1 + talk_chance(talk_chance(2) ? 12 : 2000);

        fake_send(c, slice_head(left, n));
        left = slice_from(left, n);
        clock_fake_advance(SECOND); /* pongs are counted by the second */
        if (talk_chance(3) == 0)
            something_happens();
    }
    buf_fini(&b);
}

/* What has come: each ref at most once. Returns the close code, or 0. */
static unsigned hear(void)
{
    struct slice in = fake_out(c);
    unsigned code = 0;
    struct peer_in p;

    while (peer_next(&in, &p)) {
        EXPECT(code == 0);
        if (p.op == 8)
            code = p.payload.ptr[0] * 256u + p.payload.ptr[1];
        if (p.op == 1 && slice_starts(p.payload, SLICE("{\"ref\":"))) {
            unsigned ref = (unsigned)strtoul((const char *)p.payload.ptr + 7,
                                             NULL, 10);

            EXPECT(ref < commands && !replied[ref]);
            replied[ref] = true;
            replies++;
        }
    }
    EXPECT_INT(in.len, 0);
    fake_forget_out(c);
    return code;
}

static void open_talk(uint32_t talk)
{
    struct buf b = BUF_INIT;

    talk_begin(talk);
    clock_fake(100 * SECOND, 0);
    f = fake_new(&ws_edge, (const char *const[]){ "limits.ping=0", NULL });
    fake_set_moves(f, talk % 2);
    c = fake_connect(f);
    peer_handshake(&b, "/v1/ws");
    fake_send(c, buf_slice(&b));
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 101 ");
    fake_forget_out(c);
    buf_fini(&b);
    commands = replies = late = 0;
    memset(replied, 0, sizeof replied);
    stopped = false;
}

/* A goodbye behind some more commands: those are answered first. */
static void part(void)
{
    struct buf b = BUF_INIT;
    unsigned code;

    for (int i = 0; i < 3 && commands < COMMANDS_MAX; i++)
        add_command(&b);
    peer_close(&b, 4000, SLICE("enough"));
    add_command(&b);
    commands--; /* nothing read after it counts */
    fake_send(c, buf_slice(&b));
    fake_set_seq(f, 9);
    answer_all();
    fake_pass(f, 1100);
    code = hear();
    EXPECT_INT(code, 4000);
    EXPECT(fake_is_closed(c));
    buf_fini(&b);
}

TEST(each_command_of_any_talk_gets_one_reply)
{
    report_part(&report, "names");
    for (uint32_t talk = 1; talk <= TALKS; talk++) {
        open_talk(talk);
        speak();
        stopped = false;
        fake_stop_reading(c, stopped);
        answer_all();
        EXPECT_INT(hear(), 0);
        EXPECT(!fake_is_closed(c));
        EXPECT_INT(replies, commands);
        part();
        EXPECT_INT(replies, commands);
        fake_free(f);
        clock_real();
    }
    buf_fini(&report);
}
