/* The router as a whole: types, presence, questions, the start. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/report.h"
#include "router/ctl_verb.h"
#include "tests/router/world.h"
#include "proto/frame_io.h"
#include "proto/memory.h"

static const char match[] = "match/elp-tig-2011-09-13";

static void make_match(struct peer *p)
{
    peer_taken(p, peer_act(p, "team.put", "{\"id\":\"elp\",\"name\":\"Elp\","
                                          "\"division\":\"1\"}"));
    peer_taken(p, peer_act(p, "team.put", "{\"id\":\"tig\",\"name\":\"Tig\","
                                          "\"division\":\"1\"}"));
    peer_taken(p, peer_act(p, "match.new",
                           "{\"home\":\"elp\",\"visit\":\"tig\","
                           "\"start_time\":\"2011-09-13\"}"));
}

static uint64_t event(struct peer *p, const char *json)
{
    return peer_publish_frame(p, (struct frame_publish){
                                     .id = slice_str(match),
                                     .format = MSG_JSON,
                                     .data = slice_str(json)});
}

static const char *text_of(struct peer *p, struct slice s)
{
    buf_reset(&p->text);
    buf_add(&p->text, s);
    return buf_text(&p->text);
}

/* The state that a newcomer is given. */
static const char *snapshot(struct peer *p, const char *id)
{
    struct logged_in_id i;

    peer_login_as(p, 77, id, "", 0, LOGIN_WANT_SNAPSHOT);
    i = peer_logged_in(p, NULL);
    EXPECT(i.flags & ID_STATEFUL);
    if (i.flags & ID_SNAPSHOT)
        return text_of(p, i.state);
    for (;;) { /* it had to be read first */
        struct frame_snapshot f;

        EXPECT_OK(frame_read_snapshot(peer_next(p, FRAME_SNAPSHOT), &f));
        if (slice_eq(f.id, slice_str(id)))
            return text_of(p, f.state);
    }
}

/* ---- types ------------------------------------------------------------- */

TEST(an_act_becomes_a_message_and_its_answer_follows_the_commit)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_published f;

    peer_login(p, 1, "team/elp");
    f = peer_taken(p, peer_act(p, "team.put",
                               "{\"id\":\"elp\",\"name\":\"E\","
                               "\"division\":\"1\"}"));
    EXPECT_INT(f.created, 1);
    EXPECT_SLICE(f.id, SLICE("team/elp"));
    EXPECT_INT(f.reached, 1);
    EXPECT(f.body.len > 2);
    f = peer_answer(p, peer_act(p, "team.put", "{}"));
    EXPECT_INT(f.status, PUBLISHED_BAD);
    EXPECT(f.code.len > 0 && f.text.len > 0);
    f = peer_answer(p, peer_act(p, "no.such", "{}"));
    EXPECT_INT(f.status, PUBLISHED_NOT_FOUND);
    peer_free(p);
    world_free(w);
}

TEST(an_act_sent_again_after_a_restart_is_answered_as_it_was)
{
    static const char *const args[] = {
        "{\"id\":\"elp\",\"name\":\"E\"}", "{\"id\":\"elp\",\"name\":\"F\"}",
    };
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_published f;

    for (size_t i = 0; i < ARRAY_LEN(args); i++)
        EXPECT_INT(peer_taken(p, peer_act(p, "team.put", args[i])).created,
                   i == 0);
    world_restart(w);
    p->pipe = NULL;
    peer_return(p);
    for (size_t i = 0; i < ARRAY_LEN(args); i++) {
        peer_act_again(p, i + 1, "team.put", args[i]);
        f = peer_taken(p, i + 1);
        EXPECT_INT(f.offset, i + 1);
        EXPECT_INT(f.created, i == 0);
        EXPECT_SLICE(f.id, SLICE("team/elp"));
        EXPECT_SLICE(f.body, SLICE("{\"id\":\"elp\"}"));
    }
    peer_free(p);
    world_free(w);
}

TEST(what_breaks_the_rules_is_neither_stored_nor_sent)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    uint64_t seq;
    struct frame_published f;

    make_match(p);
    peer_login(p, 1, match);
    seq = w->router.seq;
    f = peer_answer(p, event(p, "{\"kind\":\"goal\","
                                "\"data\":{\"team\":\"tig\"}}"));
    EXPECT_INT(f.status, PUBLISHED_CONFLICT);
    world_settle(w);
    EXPECT_INT(w->router.seq, seq);
    EXPECT_STR(peer_stream(p), "");
    peer_free(p);
    world_free(w);
}

TEST(a_join_gets_the_state_and_exactly_the_messages_behind_it)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    struct logged_in_id i;
    uint64_t seq;
    struct msg_parts m;

    make_match(q);
    peer_taken(q, event(q, "{\"kind\":\"start\",\"data\":{}}"));
    peer_taken(q, event(q, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}"));
    event(q, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}");
    world_turn(w); /* the second goal is with the writer */
    peer_login_as(p, 1, match, "", 0, LOGIN_WANT_SNAPSHOT);
    i = peer_logged_in(p, &seq);
    EXPECT_CONTAINS(text_of(p, i.state), "\"visit_score\":1");
    m = peer_message(p);
    EXPECT(m.seq > seq);
    EXPECT_SLICE(m.kind, SLICE("goal"));
    world_settle(w);
    EXPECT_STR(peer_stream(p), "");
    peer_free(p);
    peer_free(q);
    world_free(w);
}

/* A goal; the event that takes it back, good until the next. */
static const char *goal_taken_back(struct peer *p)
{
    static char retract[64];
    uint64_t goal;

    goal = peer_taken(p, event(p, "{\"kind\":\"goal\",\"data\":"
                                  "{\"team\":\"tig\"}}")).offset;
    snprintf(retract, sizeof retract,
             "{\"kind\":\"retract\",\"data\":{\"offset\":%u}}",
             (unsigned)goal);
    return retract;
}

/* The same in a match that is made for it. */
static const char *make_goal(struct peer *p)
{
    make_match(p);
    peer_taken(p, event(p, "{\"kind\":\"start\",\"data\":{}}"));
    return goal_taken_back(p);
}

TEST(a_snapshot_follows_a_retract_live_and_after_a_repair)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    struct msg_parts m;
    const char *retract = make_goal(q);

    peer_login(p, 1, match);
    peer_taken(q, event(q, retract));
    m = peer_message(p);
    EXPECT_SLICE(m.kind, SLICE("retract"));
    EXPECT(m.flags & MSG_RESNAPSHOT);
    p->seq = m.seq - 1; /* as if the link broke right before it */
    m = peer_message(p);
    EXPECT_SLICE(m.kind, SLICE("snapshot"));
    EXPECT(m.flags & MSG_NOTICE);
    EXPECT_CONTAINS(text_of(p, m.data), "\"visit_score\":0");
    peer_break(p);
    peer_return(p);
    peer_login_as(p, 1, match, "", LOGIN_RESYNC, 0);
    peer_synced(p);
    EXPECT_SLICE(peer_message(p).kind, SLICE("retract"));
    EXPECT_SLICE(peer_message(p).kind, SLICE("snapshot"));
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(a_retract_and_the_state_behind_it_are_in_one_batch)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    const char *retract = make_goal(q);
    unsigned hold;

    peer_login(p, 1, match);
    peer_taken(q, event(q, retract));
    EXPECT_SLICE(peer_message(p).kind, SLICE("retract"));
    hold = p->frame->hold;
    EXPECT(hold != 0);
    EXPECT_SLICE(peer_message(p).kind, SLICE("snapshot"));
    EXPECT_INT(p->frame->hold, hold);
    EXPECT(!p->pipe->held);
    peer_taken(q, event(q, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}"));
    peer_message(p);
    EXPECT_INT(p->frame->hold, 0);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(a_link_that_is_full_behind_a_retract_gets_the_snapshot_when_it_is_whole)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    const char *retract = make_goal(q);

    peer_login(p, 1, match);
    peer_heard(p);
    fake_pipe_stall(p->pipe, 1); /* takes one frame, and is full */
    peer_taken(q, event(q, retract));
    EXPECT_INT(p->link->state, LINK_STALE);
    EXPECT_SLICE(peer_message(p).kind, SLICE("retract"));
    fake_pipe_drain(p->pipe);
    world_settle(w);
    EXPECT_SLICE(peer_message(p).kind, SLICE("snapshot"));
    EXPECT_STR(peer_heard(p), "[RESYNCED]");
    peer_free(p);
    peer_free(q);
    world_free(w);
}

/* What is on the link may be the retract without the state behind it: only when
 * it comes again, with the next link, is that one owed anew. */
TEST(a_link_that_cannot_be_owed_a_snapshot_begins_anew)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    bool failed = true, ended = false;

    make_match(q);
    peer_taken(q, event(q, "{\"kind\":\"start\",\"data\":{}}"));
    peer_break(p);
    for (long n = 0; failed; n++) {
        const char *retract = goal_taken_back(q);

        p->seq = w->router.seq;
        peer_taken(q, event(q, retract));
        peer_return(p);
        peer_login_as(p, 1, match, "", LOGIN_RESYNC, 0);
        p->forgiving = true;
        test_fail_malloc_after(n);
        peer_synced(p);
        failed = test_malloc_failed();
        world_settle(w);
        ended |= w->router.links.count < 2;
        if (w->router.links.count == 2) {
            if (p->link->state == LINK_LIVE && !p->pipe->lost) {
                EXPECT_SLICE(peer_message(p).kind, SLICE("retract"));
                EXPECT_SLICE(peer_message(p).kind, SLICE("snapshot"));
            }
            EXPECT(failed || p->link->state == LINK_LIVE);
            peer_break(p);
        }
        p->refused = p->forgiving = false;
    }
    EXPECT(ended);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(a_stale_link_that_cannot_be_owed_a_snapshot_begins_anew)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");

    make_goal(q);
    peer_login(p, 1, match);
    peer_heard(p);
    fake_pipe_stall(p->pipe, 1);
    for (int i = 0; i < 2; i++)
        peer_taken(q, event(q, "{\"kind\":\"goal\",\"data\":"
                               "{\"team\":\"tig\"}}"));
    EXPECT_INT(p->link->state, LINK_STALE);
    snapshots_tell(&w->router, slice_str(match)); /* all else has its room */
    EXPECT(p->link->due != NULL);
    fake_pipe_drain(p->pipe);
    world_settle(w);
    peer_heard(p);
    fake_pipe_stall(p->pipe, 1);
    for (int i = 0; i < 2; i++)
        peer_taken(q, event(q, "{\"kind\":\"goal\",\"data\":"
                               "{\"team\":\"tig\"}}"));
    EXPECT_INT(p->link->state, LINK_STALE);
    test_fail_malloc_after(0);
    snapshots_tell(&w->router, slice_str(match));
    EXPECT(test_malloc_failed());
    EXPECT_INT(w->router.links.count, 1);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(whose_state_cannot_be_made_behind_a_retract_begins_anew)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");

    make_goal(q);
    peer_login(p, 1, match);
    buf_fini(&w->router.snapshots.state);
    test_fail_malloc_after(0);
    snapshots_tell(&w->router, slice_str(match));
    EXPECT(test_malloc_failed());
    EXPECT_INT(w->router.links.count, 1);
    EXPECT_INT(q->link->state, LINK_LIVE);
    world_settle(w);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

static bool has_snapshot(struct peer *p)
{
    struct fake_frame *f;
    bool found = false;

    while (p->link->state == LINK_LIVE && (f = fake_pipe_take(p->pipe))) {
        struct frame_logged_in in;
        struct logged_in_id i;

        if (f->code == FRAME_LOGGED_IN &&
            frame_read_logged_in(buf_slice(&f->body), &in) == 0 &&
            frame_next_logged_in(&in, &i) == 0)
            found |= i.flags & (ID_SNAPSHOT | ID_REFUSED);
        found |= f->code == FRAME_SNAPSHOT;
        fake_frame_free(f);
    }
    return found;
}

/* A newcomer to a room whose messages are in the store, without the nth
 * allocation: a state, a refusal, or another link. False: there is no nth. */
static bool asks_without_memory(long n)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    bool failed;

    if (n == 0)
        peer_taken(p, peer_publish(p, "room/a", "old"));
    p->forgiving = true;
    test_fail_malloc_after(n + 1); /* the first one is the frame that is said */
    peer_login_as(p, 1, "room/a", "", 0, LOGIN_WANT_SNAPSHOT);
    if (!p->refused)
        world_settle(w);
    EXPECT_SOON(p->refused || !w->router.links.count || p->pipe->lost ||
                has_snapshot(p), world_turn(w));
    failed = test_malloc_failed();
    peer_free(p);
    world_free(w);
    return failed;
}

TEST(who_asks_for_a_state_gets_one_or_another_link_whatever_memory_there_is)
{
    long n = 0;

    while (asks_without_memory(n))
        n++;
    EXPECT(n > 10);
}

TEST(states_survive_a_restart_from_their_records)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");

    make_match(p);
    peer_taken(p, event(p, "{\"kind\":\"start\",\"data\":{}}"));
    peer_taken(p, event(p, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}"));
    world_restart(w);
    peer_free(p);
    p = peer_join(w, "gw1");
    EXPECT_CONTAINS(snapshot(p, match), "\"visit_score\":1");
    peer_taken(p, event(p, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}"));
    EXPECT_CONTAINS(snapshot(p, match), "\"visit_score\":2");
    peer_free(p);
    world_free(w);
}

static void wake(struct batch *b)
{
    *(bool *)b->user = true;
}

/* Stores an event behind the back of the types: no record goes with it. */
static void append_event(struct world *w, const char *kind, const char *data)
{
    struct history_options opt = {.path = test_path("touchline.db")};
    struct history_report report;
    struct writer_hooks hooks = {NULL};
    struct entry e = {
        .rec = {.id = slice_str(match), .ts_ms = 1, .format = MSG_JSON,
                .kind = slice_str(kind), .data = slice_str(data)},
        .stored = true,
    };
    bool done = false;
    struct batch b = {.entries = &e, .count = 1, .done = wake, .user = &done};
    struct history *h;
    struct writer *writer;

    EXPECT_OK(history_open(&h, &opt, &report));
    EXPECT_OK(writer_new(&writer, h, w->loop, &hooks));
    EXPECT_OK(writer_submit(writer, &b));
    EXPECT_SOON(done, EXPECT_OK(loop_step(w->loop, 10 * MILLISECOND)));
    EXPECT_OK(e.rc);
    writer_free(writer);
}

TEST(where_the_record_is_behind_the_log_is_folded_at_the_start)
{
    struct world *w = world_new((const char *const[]){"limits.page=2", NULL});
    struct peer *p = peer_join(w, "gw1");

    make_match(p);
    peer_taken(p, event(p, "{\"kind\":\"start\",\"data\":{}}"));
    peer_taken(p, event(p, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}"));
    world_stop(w);
    append_event(w, "goal", "{\"team\":\"elp\"}");
    world_start(w);
    peer_free(p);
    p = peer_join(w, "gw1");
    EXPECT_CONTAINS(snapshot(p, match), "\"home_score\":1");
    EXPECT_CONTAINS(snapshot(p, match), "\"visit_score\":1");
    peer_free(p);
    world_free(w);
}

TEST(more_channels_than_are_allowed_now_are_still_known)
{
    struct world *w = world_new((const char *const[]){"limits.channels=2",
                                                      NULL});
    struct peer *p = peer_join(w, "gw1");

    w->router.table.limit = 0;
    peer_taken(p, peer_publish(p, "a", "x"));
    peer_taken(p, peer_publish(p, "b", "x"));
    peer_taken(p, peer_publish(p, "c", "x"));
    world_restart(w);
    peer_free(p);
    p = peer_join(w, "gw1");
    EXPECT_INT(peer_taken(p, peer_publish(p, "c", "x")).offset, 2);
    EXPECT_INT(peer_answer(p, peer_publish(p, "d", "x")).status,
               PUBLISHED_TOO_MANY);
    peer_free(p);
    world_free(w);
}

TEST(a_failed_commit_takes_the_judged_state_back)
{
    struct world *w = world_new((const char *const[]){
        "namespace.history=all", "limits.message=128K",
        NULL});
    struct peer *p;
    static char block[100001];
    struct frame_published f;

    world_stop(w);
    w->max_size = 1024 * 1024;
    world_start(w);
    p = peer_join(w, "gw1");
    make_match(p);
    peer_taken(p, event(p, "{\"kind\":\"start\",\"data\":{}}"));
    memset(block, 'f', sizeof block - 1);
    do
        f = peer_answer(p, peer_publish(p, "fill", block));
    while (f.status == PUBLISHED_OK);
    peer_publish(p, "fill", block); /* makes the batch fail */
    f = peer_answer(p, event(p, "{\"kind\":\"goal\",\"data\":"
                                "{\"team\":\"tig\"}}"));
    EXPECT_SLICE(f.code, SLICE("store.full"));
    EXPECT_CONTAINS(snapshot(p, match), "\"visit_score\":0");
    /* Nor does the next event bring it back. */
    peer_taken(p, event(p, "{\"kind\":\"corner\",\"data\":"
                           "{\"team\":\"tig\"}}"));
    EXPECT_CONTAINS(snapshot(p, match), "\"visit_score\":0");
    peer_free(p);
    world_free(w);
}

/* ---- rooms ------------------------------------------------------------- */

TEST(a_room_gives_a_newcomer_its_last_messages_even_after_a_restart)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");

    peer_taken(p, peer_publish(p, "room/a", "one"));
    peer_taken(p, peer_publish(p, "room/a", "two"));
    EXPECT_CONTAINS(snapshot(p, "room/a"), "one");
    world_restart(w);
    peer_free(p);
    p = peer_join(w, "gw1");
    EXPECT_CONTAINS(snapshot(p, "room/a"), "\"two\"");
    peer_free(p);
    world_free(w);
}

static void pass_ms(struct world *w, int64_t ms)
{
    clock_fake_advance(ms * MILLISECOND);
    world_turn(w);
    world_settle(w);
}

TEST(who_comes_and_goes_is_told_but_not_a_link_that_returns)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");

    clock_fake(clock_ns(), clock_wall_ms());
    peer_login_as(q, 1, "room/a", "bob", 0, 0);
    pass_ms(w, 1500);
    peer_heard(q);
    peer_login_as(p, 1, "room/a", "ana", 0, 0);
    pass_ms(w, 1500);
    EXPECT_STR(peer_heard(q), "+join");
    peer_break(p); /* comes back within ten seconds */
    pass_ms(w, 5000);
    peer_return(p);
    peer_login_as(p, 1, "room/a", "ana", LOGIN_RESYNC, 0);
    peer_synced(p);
    pass_ms(w, 20000);
    EXPECT_STR(peer_heard(q), "");
    peer_closed(p, 1);
    pass_ms(w, 5000);
    EXPECT_STR(peer_heard(q), "");
    pass_ms(w, 6000);
    EXPECT_STR(peer_heard(q), "+leave");
    pass_ms(w, 2000);
    EXPECT(!w->router.presence.timer.pending);
    clock_real();
    peer_free(p);
    peer_free(q);
    world_free(w);
}

/* A room with ana, who stays, bob, who polls, and cy, who does not come back;
 * then another life of the router. */
static struct peer *room_over_a_restart(struct world *w)
{
    struct peer *p = peer_join(w, "gw1");

    clock_fake(clock_ns(), clock_wall_ms());
    peer_login_as(p, 1, "room/a", "ana", 0, 0);
    peer_login_as(p, 2, "room/a", "bob", 0, 0);
    peer_login_as(p, 3, "room/a", "cy", 0, 0);
    pass_ms(w, 0);
    peer_closed(p, 2);
    peer_closed(p, 3);
    pass_ms(w, 5000);
    EXPECT_STR(peer_stream(p), "+join");
    world_restart(w);
    p->pipe = NULL;
    pass_ms(w, 4000);
    peer_return(p);
    peer_login_as(p, 1, "room/a", "ana", LOGIN_RESYNC, 0);
    return p;
}

TEST(a_restart_is_invisible_to_a_room)
{
    struct world *w = world_new(NULL);
    struct peer *p = room_over_a_restart(w);
    struct msg_parts m;

    peer_synced(p);
    pass_ms(w, 4000);
    peer_login_as(p, 2, "room/a", "bob", 0, 0);
    pass_ms(w, 1900);
    EXPECT_STR(peer_heard(p), "[LOGGED_IN] [RESYNCED] [LOGGED_IN]");
    pass_ms(w, 200); /* ten seconds: cy has gone */
    m = peer_message(p);
    EXPECT_SLICE(m.kind, SLICE("leave"));
    EXPECT_SLICE(m.data, SLICE("{\"count\":1,\"present\":2,"
                               "\"names\":[\"cy\"]}"));
    world_restart(w);
    p->pipe = NULL;
    peer_return(p);
    peer_login_as(p, 1, "room/a", "ana", LOGIN_RESYNC, 0);
    peer_login_as(p, 2, "room/a", "bob", LOGIN_RESYNC, 0);
    peer_synced(p);
    pass_ms(w, 20000);
    EXPECT_STR(peer_heard(p), "[LOGGED_IN] [LOGGED_IN] [RESYNCED]");
    clock_real();
    peer_free(p);
    world_free(w);
}

static void login_crowd(struct peer *p, unsigned flags)
{
    char name[64];

    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "somebody-with-a-name-that-is-long-%u", i);
        peer_login_as(p, i, "room/a", name, flags, 0);
    }
}

TEST(a_crowd_is_noted_piece_by_piece_and_announced_once)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct msg_parts m;

    clock_fake(clock_ns(), clock_wall_ms());
    login_crowd(p, 0);
    pass_ms(w, 0);
    m = peer_message(p);
    EXPECT_SLICE(m.kind, SLICE("join"));
    EXPECT_CONTAINS(text_of(p, m.data), "\"count\":2000,");
    EXPECT_STR(peer_stream(p), "");
    world_restart(w);
    p->pipe = NULL;
    peer_return(p);
    login_crowd(p, LOGIN_RESYNC);
    peer_synced(p);
    pass_ms(w, 2000);
    EXPECT_STR(peer_stream(p), "[RESYNCED]");
    clock_real();
    peer_free(p);
    world_free(w);
}

/* One that the store has not noted, as of a disk that hangs. */
static void wait_for_the_store(struct buf *notices)
{
    enum { MORE = PRESENCE_WAITING_MAX };

    put_u64(notices, UINT64_MAX);
    EXPECT(buf_reserve(notices, MORE) != NULL);
    memset(notices->ptr + notices->len, 0, MORE);
    notices->len += MORE;
}

static void hang_ms(struct world *w, int64_t ms)
{
    clock_fake_advance(ms * MILLISECOND);
    world_turn(w);
    world_turn(w);
}

TEST(a_store_that_hangs_lets_no_notices_pile_up)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct presence *presence = &w->router.presence;
    struct msg_parts m;
    size_t waiting;

    clock_fake(clock_ns(), clock_wall_ms());
    wait_for_the_store(&presence->notices);
    waiting = presence->notices.len;
    peer_login_as(p, 1, "room/a", "ana", 0, 0);
    hang_ms(w, 5000);
    peer_login_as(p, 2, "room/a", "bob", 0, 0);
    hang_ms(w, 5000);
    EXPECT_INT(presence->notices.len, waiting);
    EXPECT_INT(presence->changes.len, 0);
    EXPECT_STR(peer_stream(p), "");
    buf_fini(&presence->notices); /* it goes on */
    pass_ms(w, 0);
    m = peer_message(p);
    EXPECT_SLICE(m.data, SLICE("{\"count\":2,\"present\":2,"
                               "\"names\":[\"ana\",\"bob\"]}"));
    clock_real();
    peer_free(p);
    world_free(w);
}

TEST(who_comes_before_a_gateway_is_back_is_announced_there_too)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q;

    clock_fake(clock_ns(), clock_wall_ms());
    peer_login_as(p, 1, "room/a", "ana", 0, 0);
    pass_ms(w, 2000);
    peer_heard(p);
    world_restart(w);
    p->pipe = NULL;
    q = peer_join(w, "gw2"); /* is faster */
    peer_login_as(q, 1, "room/a", "new", 0, 0);
    pass_ms(w, 1500);
    EXPECT_STR(peer_stream(q), "");
    peer_return(p);
    peer_login_as(p, 1, "room/a", "ana", LOGIN_RESYNC, 0);
    pass_ms(w, 2000);
    EXPECT_STR(peer_stream(q), "+join");
    EXPECT_STR(peer_stream(p), ""); /* it is not LIVE yet */
    peer_synced(p);
    pass_ms(w, 0);
    EXPECT_STR(peer_stream(p), "[RESYNCED] +join");
    clock_real();
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(who_came_while_the_router_was_away_is_announced)
{
    struct world *w = world_new(NULL);
    struct peer *p = room_over_a_restart(w);
    struct msg_parts m;

    peer_login_as(p, 4, "room/a", "dan", LOGIN_RESYNC, 0);
    peer_synced(p);
    pass_ms(w, 0);
    m = peer_message(p);
    EXPECT_SLICE(m.kind, SLICE("join"));
    EXPECT_SLICE(m.data, SLICE("{\"count\":1,\"present\":2,"
                               "\"names\":[\"dan\"]}"));
    clock_real();
    peer_free(p);
    world_free(w);
}

static void announce(struct world *w, bool presence)
{
    const struct config_namespace *ns =
        config_namespace(w->config, SLICE("room/a"));

    ((struct config_namespace *)(uintptr_t)ns)->presence = presence;
    world_restart(w);
}

TEST(a_room_that_announces_nobody_forgets_who_is_known)
{
    struct world *w = world_new(NULL);
    struct peer *p = room_over_a_restart(w);

    announce(w, false);
    EXPECT_INT(types_due_ns(w->router.types), INT64_MAX);
    world_settle(w);
    announce(w, true);
    EXPECT_INT(types_due_ns(w->router.types), INT64_MAX);
    p->pipe = NULL;
    peer_return(p);
    peer_login_as(p, 1, "room/a", "ana", LOGIN_RESYNC, 0);
    peer_synced(p);
    pass_ms(w, 0);
    EXPECT_SLICE(peer_message(p).kind, SLICE("join"));
    clock_real();
    peer_free(p);
    world_free(w);
}

/* ---- questions --------------------------------------------------------- */

/* The report as "part{key=value,...}{...}". */
static const char *report(struct peer *p, const char *verb, const char *args)
{
    struct frame_answer f;
    struct cursor c;
    enum report_event event;
    struct report_field field;

    peer_query(p, 4, verb, args);
    f = peer_answered(p);
    EXPECT_INT(f.ref, 4);
    if (f.status != PUBLISHED_OK || f.opaque)
        return text_of(p, f.body);
    c = cursor_init(f.body);
    buf_reset(&p->text);
    while (report_next(&c, &event, &field) == 0 && event != REPORT_END) {
        if (event == REPORT_PART)
            buf_addf(&p->text, SLICE_FMT, SLICE_ARG(field.key));
        else if (event == REPORT_ROW)
            buf_add_byte(&p->text, '{');
        else if (event == REPORT_ROW_END)
            buf_add_byte(&p->text, '}');
        else if (field.kind == REPORT_TEXT)
            buf_addf(&p->text, SLICE_FMT "=" SLICE_FMT ",",
                     SLICE_ARG(field.key), SLICE_ARG(field.text));
        else
            buf_addf(&p->text, SLICE_FMT "=%llu,", SLICE_ARG(field.key),
                     (unsigned long long)field.number);
    }
    return buf_text(&p->text);
}

TEST(presence_counts_connections_and_names)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");

    peer_login_as(p, 1, "a", "ana", 0, 0);
    peer_login_as(q, 1, "a", "ana", 0, 0);
    peer_login_as(q, 2, "a", "bob", 0, 0);
    peer_login_as(q, 3, "a", "", 0, 0);
    peer_login_as(q, 4, "a", "anon", 0, 0);
    EXPECT_STR(report(p, "presence", "a"),
               "presence{channel=a,count=5,}names"
               "{name=ana,connections=2,}{name=anon,connections=2,}"
               "{name=bob,connections=1,}");
    EXPECT_STR(report(p, "presence", "b"),
               "presence{channel=b,count=0,}names");
    EXPECT_CONTAINS(report(p, "presence", "a*"), "channel.bad: ");
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(channels_are_listed_in_order_stored_or_not)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");

    peer_taken(p, peer_publish(p, "b", "x"));
    peer_taken(p, peer_publish(p, "d", "x"));
    peer_taken(p, peer_publish(p, "d", "x"));
    peer_login(p, 1, "c");
    peer_login(p, 1, "a");
    peer_login(p, 1, "**");
    EXPECT_CONTAINS(report(p, "channels", ""),
                    "channels{channel=a,connections=1,offset=0,seq=0,}"
                    "{channel=b,connections=0,offset=1,seq=");
    EXPECT_CONTAINS(report(p, "channels", " a 2"),
                    "channels{channel=b,connections=0,offset=1,");
    EXPECT_CONTAINS(report(p, "channels", " a 2"), "page{more=1,after=c,}");
    EXPECT_CONTAINS(report(p, "channels", " b 2"), "page{more=0,}");
    EXPECT_STR(report(p, "channels", "x/*"), "channelspage{more=0,}");
    EXPECT_CONTAINS(report(p, "channels", "a/*b"), "request.bad: ");
    peer_free(p);
    world_free(w);
}

TEST(connections_are_listed_and_kicked_by_name_and_by_channel)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    struct frame_kick k;

    peer_login_as(q, 300, "a", "ana", 0, 0);
    peer_login_as(q, 300, "b", "ana", 0, 0);
    EXPECT_STR(report(p, "conns", "a"),
               "connections{connection=gw2/300.1,channels=2,name=ana,}"
               "page{more=0,}");
    EXPECT_STR(report(p, "conns", ""),
               "connections{connection=gw2/300.1,channels=2,name=ana,}"
               "page{more=0,}");
    EXPECT_STR(report(p, "kick", "gw2/300.1"), "kicked{count=1,}");
    EXPECT_OK(frame_read_kick(peer_next(q, FRAME_KICK), &k));
    EXPECT_INT(k.conn, 300);
    EXPECT_INT(k.gen, 1);
    EXPECT_STR(report(p, "kick", "b"), "kicked{count=1,}");
    peer_next(q, FRAME_KICK);
    EXPECT_CONTAINS(report(p, "kick", "gw2/300.2"), "connection.none: ");
    EXPECT_CONTAINS(report(p, "kick", ""), "connection.none: ");
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(status_says_ok_degraded_or_down_and_why)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");

    EXPECT_CONTAINS(report(p, "status", ""), "status{state=OK,why=,");
    w->router.publish.last_error = ERR_FULL;
    EXPECT_CONTAINS(report(p, "status", ""),
                    "state=DEGRADED,why=the disk is full");
    w->router.publish.last_error = 0;
    router_drain(&w->router);
    EXPECT_CONTAINS(report(p, "status", ""), "state=DOWN");
    peer_free(p);
    world_free(w);
}

TEST(a_gateway_that_died_is_missed_until_it_is_back)
{
    struct world *w = world_new(NULL);
    struct peer *ctl = peer_join_as(w, "ctl1", PEER_CTL);
    struct peer *tool = peer_join_as(w, "ctl2", PEER_CTL);
    struct peer *one = peer_join(w, "gw1"), *two = peer_join(w, "gw2");

    clock_fake(clock_ns(), clock_wall_ms());
    peer_break(tool);
    peer_leave(two);
    EXPECT_CONTAINS(report(ctl, "status", ""), "state=OK,");
    peer_break(one);
    clock_fake_advance(5 * SECOND);
    EXPECT_CONTAINS(report(ctl, "status", ""), "state=DEGRADED,why=gateway "
                    "gw1 (pid 1) went 5 s ago without a goodbye and has not "
                    "come back,");
    EXPECT_STR(report(ctl, "gateways", ""),
               "gateways{gateway=gw1,edge=http,pid=1,state=missing,}");
    peer_return(one); /* under its name */
    EXPECT_CONTAINS(report(ctl, "status", ""), "state=OK,");
    peer_break(one);
    clock_fake_advance(MISSING_NS + 1);
    EXPECT_CONTAINS(report(ctl, "status", ""), "state=OK,");
    clock_real();
    peer_free(one);
    peer_free(two);
    peer_free(tool);
    peer_free(ctl);
    world_free(w);
}

TEST(a_gateway_whose_successor_died_before_hello_is_missed)
{
    struct world *w = world_new(NULL);
    struct peer *old = peer_join(w, "gw1"), *p;
    struct peer_id who = old->link->who;
    struct link *l;

    who.life++;
    EXPECT_OK(link_new(&l, &w->router, &who, fake_pipe_new()));
    link_pipe.down(l, "it died");
    world_turn(w);
    old->pipe = NULL;
    EXPECT_INT(w->router.missing.count, 1);
    p = peer_join(w, "gw1");
    EXPECT_INT(w->router.missing.count, 0);
    peer_free(old);
    peer_free(p);
    world_free(w);
}

TEST(of_very_many_that_are_missing_the_newest_are_remembered)
{
    struct missing m;
    struct peer_id who = {.name = ""};

    missing_init(&m);
    for (int i = 0; i < 100; i++) {
        snprintf(who.name, sizeof who.name, "gw%d", i);
        missing_add(&m, &who, i);
        missing_add(&m, &who, i);
    }
    EXPECT_INT(m.count, MISSING_MAX);
    EXPECT_INT(CONTAINER_OF(list_first(&m.list), struct missing_gateway,
                            node)->since_ns, 100 - MISSING_MAX);
    missing_fini(&m);
    EXPECT_INT(m.count, 0);
}

TEST(figures_of_the_router_and_of_its_gateways_are_told_together)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct buf b = BUF_INIT;
    const char *text;

    report_row(&b);
    report_text(&b, "name", SLICE("connections"));
    report_bool(&b, "gauge", true);
    report_number(&b, "value", 42);
    report_row_end(&b);
    report_row(&b); /* cut off in the middle: left out */
    EXPECT_OK(fake_pipe_say(p->pipe, FRAME_STATS, buf_slice(&b)));
    buf_fini(&b);
    peer_login(p, 1, "a");
    text = report(p, "stats", "");
    EXPECT_CONTAINS(text, "{gateway=gw1,edge=http,pid=1,name=connections,"
                          "gauge=1,value=42,}");
    EXPECT_CONTAINS(text, "name=seats,label=,help=pairs of id and connection,"
                          "gauge=1,value=1,}");
    EXPECT(text[strlen(text) - 1] == '}');
    EXPECT_CONTAINS(report(p, "gateways", ""),
                    "gateways{gateway=gw1,edge=http,pid=1,state=live,"
                    "connections=1,seats=1,");
    peer_free(p);
    world_free(w);
}

static void say_rows(struct peer *p)
{
    struct buf b = BUF_INIT;
    const struct log_warning w = {7, 1500, LOG_ERROR, "disk.gone", "path=\"<b>\""};
    static const char *const le[] = {
        "le=\"1\"", "le=\"2\"", "le=\"5\"", "le=\"10\"", "le=\"+Inf\""};
    const struct stat_sample zero = {STAT_GAUGE, "a_figure", NULL, "words", 0};
    const struct stat_sample seven = {STAT_GAUGE, "b_figure", "a=\"b\"", "words", 7};

    report_sample_row(&b, &zero);
    report_row(&b);
    report_warning(&b, &w);
    report_row_end(&b);
    report_sample_row(&b, &seven);
    for (int i = 0; i < 5; i++)
        report_sample_row(&b, &(struct stat_sample){
            STAT_COUNTER, "it_bucket", le[i], "words",
            (uint64_t[]){0, 3, 3, 7, 7}[i]});
    EXPECT_OK(fake_pipe_say(p->pipe, FRAME_STATS, buf_slice(&b)));
    buf_fini(&b);
}

TEST(an_overview_has_all_that_operators_look_at)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    const char *text;

    say_rows(p);
    text = report(p, "overview", "");
    EXPECT_CONTAINS(text, "time{ts=");
    EXPECT_CONTAINS(text, "status{state=OK,why=,");
    EXPECT_CONTAINS(text, "gateways{gateway=gw1,edge=http,pid=1,state=live,");
    EXPECT_CONTAINS(text, "warnings{gateway=gw1,edge=http,pid=1,number=7,"
                          "ts=1500,level=error,event=disk.gone,"
                          "text=path=\"<b>\",}stats{");
    EXPECT_CONTAINS(text, "{gateway=gw1,edge=http,pid=1,name=a_figure,label=,"
                          "help=words,gauge=1,value=0,}");
    text = report(p, "overview", "brief");
    EXPECT_CONTAINS(text, "{gateway=gw1,pid=1,name=b_figure,label=a=\"b\","
                          "gauge=1,value=7,}");
    EXPECT(!strstr(text, "a_figure"));
    EXPECT_CONTAINS(text, "value=7,}{gateway=gw1,pid=1,name=it_bucket,label="
                          "le=\"2\",gauge=0,value=3,}{gateway=gw1,pid=1,name="
                          "it_bucket,label=le=\"10\",gauge=0,value=7,}");
    EXPECT(!strstr(text, "+Inf"));
    EXPECT(!strstr(text, "help="));
    EXPECT_CONTAINS(text, "event=disk.gone");
    EXPECT(!strstr(report(p, "stats", ""), "disk.gone"));
    peer_free(p);
    world_free(w);
}

/* Figures of so many bytes, at least. */
static void say_figures(struct peer *p, size_t bytes)
{
    struct buf b = BUF_INIT;

    report_part(&b, "stats");
    while (b.len < bytes) {
        report_row(&b);
        report_text(&b, "name", SLICE("a_figure"));
        report_number(&b, "value", 7);
        report_row_end(&b);
    }
    EXPECT_OK(fake_pipe_say(p->pipe, FRAME_STATS, buf_slice(&b)));
    buf_fini(&b);
}

TEST(an_answer_that_is_longer_than_a_link_takes_is_refused)
{
    struct world *w = world_new((const char *const[]){
        "limits.link_batch=2M", NULL});
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    struct frame_answer f;

    say_figures(p, 1024 * 1024);
    say_figures(q, 1024 * 1024);
    peer_query(p, 4, "stats", "");
    f = peer_answered(p);
    EXPECT_INT(f.status, PUBLISHED_TOO_BIG);
    EXPECT_CONTAINS(text_of(p, f.body), "request.too_long: ");
    EXPECT_INT(stat_get(&w->router.stats, STAT_LIMIT_LINK_BATCH), 1);
    EXPECT_CONTAINS(report(p, "status", ""), "state=OK");
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(a_backup_can_be_restored)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    char why[256], before[EPOCH_MAX + 1];

    peer_taken(p, peer_publish(p, "a", "kept"));
    EXPECT_CONTAINS(report(p, "backup", test_path("copy.db")), "backup{file=");
    EXPECT_CONTAINS(report(p, "backup", test_path("copy.db")), "request.bad");
    EXPECT_CONTAINS(report(p, "backup", "relative"), "absolute path");
    peer_taken(p, peer_publish(p, "a", "lost"));
    snprintf(before, sizeof before, "%s", w->router.epoch.text);
    world_stop(w);
    EXPECT_OK(history_restore(test_path("copy.db"), test_path("touchline.db"),
                              why));
    world_start(w);
    EXPECT(strcmp(w->router.epoch.text, before) != 0);
    peer_free(p);
    p = peer_join(w, "gw1");
    peer_fetch(p, 1, "a", FETCH_SINCE, 0, 0, 0);
    world_settle(w);
    EXPECT_STR(peer_heard(p), "kept [PAGE_END]");
    peer_free(p);
    world_free(w);
}

TEST(verbs_of_types_are_passed_through)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");

    EXPECT_CONTAINS(report(p, "match.list", ""), "{\"matches\":[]");
    EXPECT_CONTAINS(report(p, "match.current", ""), "match.none: ");
    EXPECT_CONTAINS(report(p, "nonsense", ""), "verb.unknown: ");
    peer_free(p);
    world_free(w);
}

TEST(questions_of_a_link_that_went_are_forgotten)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");

    peer_query(p, 1, "channels", "");
    peer_query(p, 2, "backup", test_path("copy.db"));
    peer_break(p);
    EXPECT_SOON(access(test_path("copy.db"), F_OK) == 0,
                EXPECT_OK(loop_step(w->loop, 10 * MILLISECOND)));
    peer_free(p);
    world_free(w);
}

/* ---- mem --------------------------------------------------------------- */

/* The number of the question that p hears. */
static uint32_t asked(struct peer *p, const char *verb)
{
    struct frame_query f;

    EXPECT_OK(frame_read_query(peer_next(p, FRAME_ASK), &f));
    EXPECT_SLICE(f.verb, slice_str(verb));
    return f.ref;
}

static int tell(struct peer *p, uint32_t ref, const char *table)
{
    struct buf b = BUF_INIT;
    int rc;

    put_u32(&b, ref);
    memory_row(&b, table, 3, 777);
    rc = fake_pipe_say(p->pipe, FRAME_TOLD, buf_slice(&b));
    buf_fini(&b);
    return rc;
}

TEST(memory_is_asked_of_every_gateway_and_told_when_all_have_answered)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    struct frame_answer f;
    uint32_t number;

    peer_query(p, 4, "mem", "");
    number = asked(p, "mem");
    EXPECT_INT(asked(q, "mem"), number);
    EXPECT_OK(tell(q, number + 9, "another"));
    EXPECT_OK(tell(q, number, "theirs"));
    EXPECT_OK(tell(q, number, "again"));
    world_turn(w);
    EXPECT(!list_empty(&w->router.memory.list));
    EXPECT_OK(tell(p, number, "ours"));
    f = peer_answered(p);
    EXPECT_INT(f.ref, 4);
    EXPECT(memmem(f.body.ptr, f.body.len, "theirs", 6) != NULL);
    EXPECT(memmem(f.body.ptr, f.body.len, "ours", 4) != NULL);
    EXPECT(memmem(f.body.ptr, f.body.len, "again", 5) == NULL);
    EXPECT(memmem(f.body.ptr, f.body.len, "another", 7) == NULL);
    EXPECT(memmem(f.body.ptr, f.body.len, "hash tables", 11) != NULL);
    EXPECT(list_empty(&w->router.memory.list));
    EXPECT_ERR(fake_pipe_say(p->pipe, FRAME_TOLD, SLICE("\1\2")), ERR_FRAME);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(a_gateway_that_goes_or_stays_silent_is_left_out)
{
    struct world *w;
    struct peer *p, *q;

    clock_fake(1000 * SECOND, 0);
    w = world_new(NULL);
    p = peer_join(w, "gw1");
    q = peer_join(w, "gw2");
    peer_query(p, 4, "trim", "");
    EXPECT_OK(tell(p, asked(p, "trim"), "ours"));
    peer_break(q);
    EXPECT_INT(peer_answered(p).ref, 4);
    peer_query(p, 5, "mem", "");
    (void)asked(p, "mem");
    clock_fake_advance(MEMORY_WAIT + SECOND);
    EXPECT_INT(peer_answered(p).ref, 5);
    EXPECT(list_empty(&w->router.memory.list));
    peer_query(p, 6, "mem", "");
    (void)asked(p, "mem");
    peer_break(p); /* who asked goes: nobody is answered */
    world_turn(w);
    world_turn(w);
    EXPECT(list_empty(&w->router.memory.list));
    peer_free(p);
    peer_free(q);
    world_free(w);
}

/* ---- shortage ---------------------------------------------------------- */

static void live_a_day(struct peer *p, const char *key)
{
    struct frame_publish f = {.id = SLICE("a/b"), .data = SLICE("x"),
                              .idempotency = slice_str(key)};

    peer_login_as(p, 1, "room/x", "ana", 0, LOGIN_WANT_SNAPSHOT);
    peer_login(p, 2, "a/*");
    peer_publish(p, "room/x", "x");
    peer_publish_frame(p, f);
    world_turn(p->world);
    peer_publish_frame(p, f); /* a twin, or a repeat */
    peer_act(p, "team.put",
             "{\"id\":\"elp\",\"name\":\"E\",\"division\":\"1\"}");
    peer_fetch(p, 1, "a/*", FETCH_SINCE, 1, 0, 0);
    peer_query(p, 1, "presence", "room/x");
    peer_query(p, 2, "channels", "");
    world_turn(p->world);
    peer_closed(p, 1);
    peer_logout(p, 2, "a/*", true);
    world_turn(p->world);
}

/* As a gateway whose link went, or who has been told nonsense. */
static void recover(struct peer *p)
{
    struct world *w = p->world;

    world_settle(w);
    if (w->router.links.count < 2)
        p->pipe = NULL;
    else if (p->refused || p->pipe->lost)
        peer_break(p);
    p->refused = p->forgiving = false;
    if (p->pipe)
        return;
    peer_return(p);
    peer_synced(p);
    peer_next(p, FRAME_RESYNCED);
}

TEST(whatever_allocation_fails_the_router_lives_on)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    bool failed = true;
    char key[24];
    long n = 0;

    for (; failed; n++) {
        snprintf(key, sizeof key, "%ld", n);
        p->forgiving = true;
        test_fail_malloc_after(n);
        live_a_day(p, key);
        failed = test_malloc_failed();
        recover(p);
        peer_heard(p);
        peer_login(p, 5, "check");
        EXPECT_INT(peer_taken(q, peer_publish(q, "check", "y")).reached, 1);
        EXPECT_SLICE(peer_message(p).data, SLICE("y"));
        peer_closed(p, 5);
        peer_release(p, "check");
        peer_heard(q);
    }
    EXPECT(n > 50); /* so many there were to fail, at least */
    EXPECT_INT(w->router.table.seats, 0);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

/* ---- the store's housekeeping ------------------------------------------ */

TEST(numbers_go_on_after_a_restart)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_published f, g;

    f = peer_taken(p, peer_publish(p, "a", "x"));
    world_restart(w);
    peer_free(p);
    p = peer_join(w, "gw1");
    peer_login(p, 1, "a");
    EXPECT_INT(peer_logged_in(p, NULL).last_offset, 1);
    g = peer_taken(p, peer_publish(p, "a", "x"));
    EXPECT_INT(g.offset, f.offset + 1);
    EXPECT(g.seq > f.seq);
    peer_free(p);
    world_free(w);
}

TEST(an_id_without_history_counts_while_somebody_may_notice)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct logged_in_id i;

    EXPECT_INT(peer_taken(p, peer_publish(p, "volatile/a", "x")).offset, 1);
    EXPECT_INT(peer_taken(p, peer_publish(p, "volatile/b", "x")).offset, 1);
    EXPECT_INT(peer_taken(p, peer_publish(p, "volatile/a", "x")).offset, 2);
    peer_login(p, 1, "volatile/a");
    i = peer_logged_in(p, NULL);
    EXPECT_INT(i.flags, ID_VOLATILE);
    EXPECT_INT(i.last_offset, 2);
    EXPECT_INT(w->router.stored_seq, 0);
    peer_free(p);
    world_free(w);
}

/* ---- questions that look at much ----------------------------------------- */

TEST(every_seat_that_a_question_looks_at_is_charged)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "http1");

    for (uint32_t i = 0; i < 1000; i++)
        peer_login(p, i, "room/full");
    peer_query(p, 1, "presence", "room/full");
    EXPECT_INT(peer_answered(p).status, PUBLISHED_OK);
    EXPECT(w->router.questions.toll.saved_ns <=
           w->router.questions.toll.most_ns - 1000 * CTL_LOOK_NS);
    peer_query(p, 2, "channels", "nothing/*");
    EXPECT_INT(peer_answered(p).status, PUBLISHED_OK);
    peer_free(p);
    world_free(w);
}

TEST(who_asks_when_the_toll_is_used_up_waits_and_operators_do_not)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "http1"), *gone = peer_join(w, "http2");
    struct peer *tool = peer_join_as(w, "ctl", PEER_CTL);

    toll_charge(&w->router.questions.toll, 400 * MILLISECOND);
    peer_query(gone, 1, "presence", "room/a");
    peer_query(p, 2, "presence", "room/a");
    world_turn(w);
    EXPECT_INT(stat_get(&w->router.stats, STAT_QUESTIONS_WAITED), 2);
    peer_break(gone);
    peer_query(tool, 3, "presence", "room/a");
    EXPECT_INT(peer_answered(tool).ref, 3);
    EXPECT_INT(w->router.questions.count, 2);
    EXPECT_INT(peer_answered(p).ref, 2);
    EXPECT_INT(w->router.questions.count, 0);
    peer_free(tool);
    peer_free(gone);
    peer_free(p);
    world_free(w);
}

TEST(who_has_waited_for_its_turn_for_ten_seconds_waits_no_longer)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "http1"), *gone = peer_join(w, "http2");
    struct frame_answer a;

    clock_fake(clock_ns(), clock_wall_ms());
    toll_charge(&w->router.questions.toll, MINUTE);
    peer_query(gone, 1, "presence", "room/a");
    peer_query(p, 2, "presence", "room/a");
    peer_break(gone);
    clock_fake_advance(6 * SECOND);
    peer_query(p, 3, "channels", "*/a");
    clock_fake_advance(5 * SECOND);
    world_turn(w);
    a = peer_answered(p);
    EXPECT_INT(a.ref, 2);
    EXPECT_INT(a.status, PUBLISHED_UNAVAILABLE);
    EXPECT_CONTAINS(text_of(p, a.body), "router.busy: ");
    EXPECT_INT(w->router.questions.count, 1);
    clock_fake_advance(5 * SECOND);
    world_turn(w);
    EXPECT_INT(peer_answered(p).ref, 3);
    EXPECT_INT(w->router.questions.count, 0);
    EXPECT_INT(stat_get(&w->router.stats, STAT_QUESTIONS_REFUSED), 2);
    peer_free(gone);
    peer_free(p);
    world_free(w);
}

TEST(few_searches_are_with_the_store_and_others_wait_where_they_are_counted)
{
    enum { SEARCHES = 8, MORE = 3 };
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "http1"), *gone = peer_join(w, "http2");
    struct questions *q = &w->router.questions;
    uint32_t answered = 0;

    for (uint32_t i = 0; i < SEARCHES + MORE; i++)
        peer_query(i < SEARCHES ? gone : p, i, "channels", "*/none");
    EXPECT_INT(q->searching, SEARCHES);
    EXPECT_INT(q->count, MORE);
    /* What needs no search passes by. */
    peer_query(p, 100, "presence", "room/a");
    EXPECT_INT(peer_answered(p).ref, 100);
    peer_break(gone);
    for (uint32_t i = 0; i < MORE; i++) /* in any order: readers are several */
        answered |= 1u << peer_answered(p).ref;
    EXPECT_INT(answered, ((1u << MORE) - 1) << SEARCHES);
    EXPECT_INT(q->searching, 0);
    EXPECT_INT(q->count, 0);
    peer_free(gone);
    peer_free(p);
    world_free(w);
}

TEST(questions_that_would_wait_behind_very_many_are_refused)
{
    enum { MOST = 4096 };
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "http1");
    struct frame_answer a;

    toll_charge(&w->router.questions.toll, MINUTE);
    for (uint32_t i = 0; i <= MOST; i++)
        peer_query(p, i, "channels", "");
    a = peer_answered(p);
    EXPECT_INT(a.ref, MOST);
    EXPECT_INT(a.status, PUBLISHED_UNAVAILABLE);
    EXPECT_CONTAINS(text_of(p, a.body), "router.busy: ");
    EXPECT_INT(stat_get(&w->router.stats, STAT_QUESTIONS_REFUSED), 1);
    peer_free(p);
    world_free(w); /* those who wait go with it */
}
