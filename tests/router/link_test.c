/* Links that come, go, come back, and fall behind. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "tests/router/world.h"
#include "proto/frame_io.h"

/* As a gateway does it: all logins again, then SYNCED. */
static void return_with(struct peer *p, const char *id)
{
    peer_return(p);
    peer_login_as(p, 1, id, "", LOGIN_RESYNC, 0);
    peer_synced(p);
}

/* It is told what came since, in order, once; then it is live. */
static void expect_missed(struct peer *p, const char *stream)
{
    world_settle(p->world);
    EXPECT_STR(peer_stream(p), stream);
    EXPECT_INT(p->link->state, LINK_LIVE);
}

static void publish_all(struct peer *p, const char *id, int from, int to)
{
    char text[16];

    for (int i = from; i <= to; i++) {
        snprintf(text, sizeof text, "%d", i);
        peer_publish(p, id, text);
    }
    world_settle(p->world);
}

TEST(a_login_is_answered_at_its_place_in_the_stream)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    struct logged_in_id i;
    uint64_t seq;

    peer_taken(q, peer_publish(q, "a", "before"));
    peer_publish(q, "a", "under way");
    world_turn(w);
    peer_login(p, 1, "a");
    i = peer_logged_in(p, &seq);
    EXPECT_INT(seq, w->router.seq);
    EXPECT_INT(i.last_offset, 1);
    EXPECT_INT(i.last_seq, seq);
    EXPECT_INT(i.flags, 0);
    peer_publish(q, "a", "after");
    world_settle(w);
    EXPECT_STR(peer_stream(p), "under way after");
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(what_a_returning_gateway_missed_comes_once_and_in_order)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");

    peer_login(p, 1, "a");
    peer_publish(q, "a", "1");
    p->seq = peer_message(p).seq;
    peer_break(p);
    publish_all(q, "a", 2, 5);
    publish_all(q, "other", 6, 7);
    return_with(p, "a");
    expect_missed(p, "2 3 4 5 [RESYNCED]");
    peer_publish(q, "a", "8");
    world_settle(w);
    EXPECT_STR(peer_stream(p), "8");
    peer_free(p);
    peer_free(q);
    world_free(w);
}

/* Whatever fails: the seat is there, or the link ends, and its gateway says all
 * again. Of a seat that is refused now nobody would be told. */
TEST(a_login_that_is_said_again_is_taken_or_the_link_begins_anew)
{
    bool failed = true, ended = false;

    for (long n = 0; failed; n++) {
        struct world *w = world_new(NULL);
        struct peer *p = peer_join(w, "gw1");

        peer_login(p, 1, "a");
        world_settle(w);
        peer_break(p);
        peer_return(p);
        p->forgiving = true;
        test_fail_malloc_after(n);
        peer_login_as(p, 1, "a", "", LOGIN_RESYNC, 0);
        failed = test_malloc_failed();
        ended |= p->refused;
        EXPECT_INT(stat_get(&w->router.stats, STAT_LOGIN_REFUSED), 0);
        EXPECT(failed || w->router.table.seats == 1);
        peer_free(p);
        world_free(w);
    }
    EXPECT(ended);
}

TEST(a_gateway_that_lived_on_over_a_restart_gets_what_it_missed)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct peer *q;

    peer_login(p, 1, "a");
    publish_all(p, "a", 1, 2);
    p->seq = peer_message(p).seq; /* 2 did not arrive */
    world_restart(w);
    p->pipe = NULL;
    q = peer_join(w, "gw2");
    publish_all(q, "a", 3, 3);
    return_with(p, "a");
    expect_missed(p, "2 3 [RESYNCED]");
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(far_more_than_the_tail_is_read_in_pages_from_the_store)
{
    struct world *w = world_new((const char *const[]){
        "limits.page=100", "namespace.history=all", NULL});
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    uint64_t last = 0;

    peer_login(p, 1, "a");
    peer_publish(q, "a", "1");
    p->seq = peer_message(p).seq;
    peer_break(p);
    publish_all(q, "a", 2, TAIL_COUNT + 1000);
    return_with(p, "a");
    /* And while it catches up there is always something new. */
    for (int n = TAIL_COUNT + 1001; p->link->state != LINK_LIVE; n++)
        publish_all(q, n % 2 ? "a" : "b", n, n);
    EXPECT(w->router.stats.values[STAT_PAGES] > 5);
    world_settle(w);
    for (;;) {
        struct fake_frame *f = fake_pipe_take(p->pipe);
        struct msg_parts m;

        if (!f)
            break;
        if (f->code == FRAME_DELIVER) {
            EXPECT_OK(frame_read_deliver(buf_slice(&f->body), &m));
            EXPECT_INT(m.offset, last ? last + 1 : 2);
            last = m.offset;
        }
        fake_frame_free(f);
    }
    EXPECT_INT(last, table_find(&w->router.table, SLICE("a"))
                         ->past->last_offset);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

static void expect_trimmed(struct peer *p, const char *id, uint64_t to)
{
    struct frame_hole hole;

    return_with(p, id);
    EXPECT_OK(frame_read_hole(peer_next(p, FRAME_HOLE), &hole));
    EXPECT_INT(hole.ref, 0);
    EXPECT_INT(hole.why, HOLE_TRIMMED);
    EXPECT_INT(hole.from, 0);
    EXPECT_INT(hole.to, to);
    EXPECT_SLICE(hole.id, SLICE("a"));
    world_settle(p->world);
    EXPECT(strncmp(peer_stream(p), "8 9 10 ", 7) == 0);
}

TEST(what_was_trimmed_while_a_gateway_was_away_is_told_in_front_of_the_rest)
{
    struct world *w = world_new((const char *const[]){
        "namespace.history=3", NULL});
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    struct peer *all = peer_join(w, "gw3");
    const struct past *past;

    peer_login(p, 1, "a");
    peer_publish(q, "a", "1");
    p->seq = all->seq = peer_message(p).seq;
    publish_all(q, "a", 2, 10);
    publish_all(q, "not/here", 1, 9); /* nobody there listens to that */
    past = table_find(&w->router.table, SLICE("a"))->past;
    EXPECT_SOON(past->trimmed_offset == 7,
                EXPECT_OK(loop_step(w->loop, 10 * MILLISECOND)));
    world_restart(w);
    p->pipe = all->pipe = q->pipe = NULL;
    expect_trimmed(p, "a", 7);
    expect_trimmed(all, "*", 7);
    peer_free(p);
    peer_free(all);
    peer_free(q);
    world_free(w);
}

/* What a link hears of one id while trimming goes on: offsets, each once, in
 * order, and all that does not come in a hole in front of the next. */
struct heard {
    uint64_t last;  /* offset that has come, or is told to be gone */
    size_t holes, rows;
};

static void hear_row(struct heard *h, const struct msg_parts *m)
{
    EXPECT_INT(m->offset, h->last + 1);
    h->last = m->offset;
    h->rows++;
}

static void hear_trim(struct heard *h, const struct frame_hole *f)
{
    EXPECT_INT(f->why, HOLE_TRIMMED);
    EXPECT(f->from == 0 || f->from == h->last + 1);
    EXPECT(f->to > h->last);
    h->last = f->to;
    h->holes++;
}

static struct heard *heard_of(struct heard *all, struct slice id)
{
    EXPECT(slice_eq(id, SLICE("a")) || slice_eq(id, SLICE("b")));
    return &all[slice_eq(id, SLICE("b"))];
}

static void hear_all(struct peer *p, struct heard *all)
{
    struct fake_frame *f;
    struct msg_parts m;
    struct frame_hole h;

    while ((f = fake_pipe_take(p->pipe))) {
        if (f->code == FRAME_DELIVER) {
            EXPECT_OK(frame_read_deliver(buf_slice(&f->body), &m));
            hear_row(heard_of(all, m.id), &m);
        } else if (f->code == FRAME_HOLE) {
            EXPECT_OK(frame_read_hole(buf_slice(&f->body), &h));
            EXPECT(h.seq > p->seq);
            hear_trim(heard_of(all, h.id), &h);
        }
        fake_frame_free(f);
    }
}

static bool is_trimmed(struct world *w, const char *id, uint64_t kept)
{
    const struct past *past = table_find(&w->router.table,
                                         slice_str(id))->past;

    return past->trimmed_offset + kept == past->last_offset;
}

/* As if much had been said since. */
static void forget_tail(struct router *r)
{
    uint64_t stamp = r->repeater.stamp;

    repeater_fini(&r->repeater);
    repeater_init(&r->repeater, r->stored_seq);
    r->repeater.stamp = stamp;
}

TEST(a_repair_tells_exactly_what_trimming_takes_meanwhile)
{
    struct world *w = world_new((const char *const[]){
        "namespace.history=2", "limits.page=7", NULL});
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    struct heard all[2] = {{0}};

    peer_login(p, 1, "*");
    for (int i = 0; i < 40; i++) {
        uint64_t upto[2];

        world_settle(w);
        hear_all(p, all);
        p->seq = w->router.seq;
        peer_break(p);
        for (int n = 0; n < 30; n++)
            peer_publish(q, test_random() % 3 ? "a" : "b", "x");
        if (test_random() % 3)
            world_settle(w);
        if (test_random() % 2)
            EXPECT_SOON(is_trimmed(w, "a", 2),
                        EXPECT_OK(loop_step(w->loop, 10 * MILLISECOND)));
        forget_tail(&w->router);
        return_with(p, "*");
        for (int n = 0; n < 2000 && p->link->state != LINK_LIVE; n++) {
            if (test_random() % 2)
                peer_publish(q, test_random() % 3 ? "a" : "b", "x");
            world_turn(w);
        }
        world_settle(w);
        EXPECT_INT(p->link->state, LINK_LIVE);
        hear_all(p, all);
        upto[0] = table_find(&w->router.table, SLICE("a"))->past->last_offset;
        upto[1] = table_find(&w->router.table, SLICE("b"))->past->last_offset;
        EXPECT_INT(all[0].last, upto[0]);
        EXPECT_INT(all[1].last, upto[1]);
        peer_heard(q);
    }
    EXPECT(all[0].holes && all[0].rows);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(what_has_no_history_and_went_past_a_returning_link_is_told)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");

    peer_break(p);
    peer_return(p);
    peer_login_as(p, 1, "a", "", LOGIN_RESYNC, 0);
    peer_login_as(p, 1, "volatile/v", "", LOGIN_RESYNC, 0);
    publish_all(q, "a", 1, 1);
    publish_all(q, "volatile/other", 2, 2); /* nobody's */
    peer_synced(p);
    world_settle(w);
    EXPECT_STR(peer_stream(p), "1 [RESYNCED]");
    peer_break(p);
    peer_return(p);
    peer_login_as(p, 1, "volatile/v", "", LOGIN_RESYNC, 0);
    publish_all(q, "volatile/v", 3, 3);
    peer_synced(p);
    publish_all(q, "volatile/v", 4, 4);
    world_settle(w);
    EXPECT_STR(peer_stream(p), "[RESYNCED] [RESYNCED] 4");
    peer_heard(q);
    fake_pipe_stall(p->pipe, 1); /* stale: one is enough */
    publish_all(q, "volatile/v", 5, 6);
    fake_pipe_drain(p->pipe);
    world_settle(w);
    EXPECT_STR(peer_stream(p), "5 [RESYNCED]");
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(only_what_somebody_on_the_link_listens_to_comes_also_by_pattern)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");

    peer_break(p);
    publish_all(q, "match-like/a", 1, 1);
    publish_all(q, "x", 2, 2);
    publish_all(q, "match-like/b", 3, 3);
    return_with(p, "match-like/*");
    expect_missed(p, "1 3 [RESYNCED]");
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(a_login_during_the_repair_is_answered_behind_it)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");

    peer_break(p);
    publish_all(q, "a", 1, 2);
    peer_return(p);
    peer_login_as(p, 1, "a", "", LOGIN_RESYNC, 0);
    peer_login(p, 2, "b"); /* a newcomer */
    peer_closed(p, 1);
    EXPECT_STR(peer_heard(p), "[LOGGED_IN]");
    peer_synced(p);
    world_settle(w);
    EXPECT_STR(peer_heard(p), "1 2 [RESYNCED] [LOGGED_IN]");
    EXPECT_INT(p->link->seats.conns, 1);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(a_link_whose_queue_is_full_gets_nothing_until_it_drained)
{
    struct world *w = world_new((const char *const[]){
        "namespace.history=all", NULL});
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    struct peer *other = peer_join(w, "gw3");

    peer_login(p, 1, "a");
    peer_login(other, 1, "a");
    peer_heard(p);
    fake_pipe_stall(p->pipe, 100); /* full behind the third message */
    publish_all(q, "a", 1, 20);
    EXPECT_INT(p->link->state, LINK_STALE);
    EXPECT_STR(peer_stream(p), "1 2 3");
    EXPECT_STR(peer_stream(other),
               "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20");
    peer_login(p, 2, "b");
    EXPECT_STR(peer_heard(p), "");
    fake_pipe_drain(p->pipe);
    publish_all(q, "a", 21, 21);
    world_settle(w);
    EXPECT_STR(peer_heard(p), "4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 "
               "[RESYNCED] [LOGGED_IN] 21");
    EXPECT_INT(stat_get(&w->router.stats, STAT_LINKS_STALE), 1);
    peer_free(p);
    peer_free(q);
    peer_free(other);
    world_free(w);
}

/* Nothing is lost, so no gap is told: the link breaks, and all of it comes with
 * the next one. */
TEST(a_repair_without_memory_tells_no_gap_but_begins_anew)
{
    struct world *w = world_new((const char *const[]){
        "limits.page=10", "namespace.history=all", NULL});
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    enum { BLOCK = 60000, BLOCKS = TAIL_BYTES / BLOCK + 3 };
    char *block = calloc(1, BLOCK + 1);
    bool failed = true;
    unsigned gone = 0;

    EXPECT(block);
    memset(block, 'b', BLOCK);
    peer_break(p);
    for (int i = 0; i < BLOCKS; i++)
        peer_taken(q, peer_publish(q, "a", block));
    world_settle(w);
    for (long n = 0; failed; n++) {
        peer_return(p);
        peer_login_as(p, 1, "a", "", LOGIN_RESYNC, 0);
        p->forgiving = true;
        test_fail_malloc_after(n);
        peer_synced(p);
        world_settle(w);
        failed = test_malloc_failed();
        EXPECT_INT(stat_get(&w->router.stats, STAT_DAMAGED), 0);
        if (w->router.links.count == 2) {
            EXPECT(p->pipe->lost || p->link->state != LINK_LIVE ||
                   p->link->delivered == BLOCKS);
            EXPECT(failed || p->link->state == LINK_LIVE);
            peer_break(p);
        }
        gone += w->router.links.count < 2 && failed;
        p->refused = p->forgiving = false;
    }
    EXPECT(gone);
    free(block);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(a_repair_takes_the_next_page_only_when_the_link_has_room)
{
    struct world *w = world_new((const char *const[]){
        "limits.page=10", "namespace.history=all", NULL});
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");

    peer_break(p);
    publish_all(q, "a", 1, TAIL_COUNT + 100);
    peer_return(p);
    peer_login_as(p, 1, "a", "", LOGIN_RESYNC, 0);
    fake_pipe_stall(p->pipe, 100);
    peer_synced(p);
    for (int i = 0; i < 50; i++)
        EXPECT_OK(loop_step(w->loop, MILLISECOND));
    EXPECT_INT(p->link->state, LINK_READING);
    EXPECT_INT(p->link->delivered, 10);
    fake_pipe_drain(p->pipe);
    world_settle(w);
    EXPECT_INT(p->link->state, LINK_LIVE);
    EXPECT_INT(p->link->delivered, TAIL_COUNT + 100);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(the_seats_of_a_dead_link_go_at_once)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");

    peer_login(p, 1, "a");
    peer_login(q, 1, "a");
    EXPECT_INT(peer_taken(q, peer_publish(q, "a", "x")).reached, 2);
    peer_break(p);
    EXPECT_INT(peer_taken(q, peer_publish(q, "a", "x")).reached, 1);
    EXPECT_INT(w->router.links.count, 1);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(one_that_joins_under_the_same_name_replaces_the_old_link)
{
    struct world *w = world_new(NULL);
    struct peer *old = peer_join(w, "gw1"), *p;

    peer_login(old, 1, "a");
    p = peer_join(w, "gw1");
    world_turn(w);
    old->pipe = NULL;
    EXPECT_INT(w->router.links.count, 1);
    EXPECT_INT(w->router.table.seats, 0);
    peer_free(old);
    peer_free(p);
    world_free(w);
}

TEST(links_without_a_name_are_given_one)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, ""), *q = peer_join(w, "");

    EXPECT_STR(p->link->who.name, "http1");
    EXPECT_STR(q->link->who.name, "http2");
    peer_free(p);
    peer_free(q);
    world_free(w);
}

/* ---- wrong peers ------------------------------------------------------- */

static void expect_fault(struct world *w, uint8_t code, struct slice body,
                         int err)
{
    struct peer *p = peer_join(w, "gw1");

    EXPECT_ERR(fake_pipe_say(p->pipe, code, body), err);
    peer_break(p);
    peer_free(p);
}

TEST(a_peer_that_breaks_the_protocol_is_refused)
{
    struct world *w = world_new(NULL);
    struct buf b = BUF_INIT;

    expect_fault(w, FRAME_DELIVER, SLICE(""), ERR_FRAME); /* the router's */
    expect_fault(w, 0xee, SLICE(""), ERR_FRAME);
    expect_fault(w, FRAME_LOGIN, SLICE("short"), ERR_FRAME);
    expect_fault(w, FRAME_SYNCED, SLICE("12345678"), ERR_STATE); /* twice */
    frame_write_login(&b, &(struct frame_login){.conn = 1, .count = 1});
    frame_write_login_id(&b, &(struct login_id){0, SLICE("a b")});
    expect_fault(w, FRAME_LOGIN, buf_slice(&b), ERR_FRAME);
    buf_reset(&b);
    frame_write_login(&b, &(struct frame_login){.conn = UINT32_MAX,
                                                .count = 1});
    frame_write_login_id(&b, &(struct login_id){0, SLICE("a")});
    expect_fault(w, FRAME_LOGIN, buf_slice(&b), ERR_FRAME);
    EXPECT_INT(stat_get(&w->router.stats, STAT_LINK_FAULTS), 6);
    EXPECT_INT(w->router.table.seats, 0);
    buf_fini(&b);
    world_free(w);
}

TEST(nothing_is_taken_before_hello)
{
    struct world *w = world_new(NULL);
    struct pipe *pipe = fake_pipe_new();
    struct peer_id who = {.name = "gw9"};
    struct buf b = BUF_INIT;
    struct link *l;

    EXPECT_OK(link_new(&l, &w->router, &who, pipe));
    pipe->ops = &link_pipe;
    pipe->ctx = l;
    frame_write_publish(&b, &(struct frame_publish){.number = 1,
                                                    .id = SLICE("a")});
    EXPECT_ERR(fake_pipe_say(pipe, FRAME_PUBLISH, buf_slice(&b)), ERR_STATE);
    buf_fini(&b);
    world_free(w);
}

/* ---- epochs ------------------------------------------------------------ */

TEST(a_gateway_that_was_served_more_than_the_store_knows_makes_a_new_epoch)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    char before[EPOCH_MAX + 1];
    struct frame_epoch f;

    publish_all(q, "a", 1, 1);
    snprintf(before, sizeof before, "%s", p->epoch);
    peer_break(p);
    p->served = p->seq = w->router.stored_seq + 1;
    peer_return(p);
    EXPECT(strcmp(p->epoch, before) != 0);
    EXPECT_OK(frame_read_epoch(peer_next(q, FRAME_EPOCH), &f));
    EXPECT_SLICE(f.epoch, slice_str(p->epoch));
    peer_synced(p);
    peer_next(p, FRAME_RESYNCED);
    world_restart(w); /* it stays the new one */
    EXPECT_STR(w->router.epoch.text, p->epoch);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(a_place_of_another_epoch_is_not_continued)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");

    peer_break(p);
    publish_all(q, "a", 1, 3);
    snprintf(p->epoch, sizeof p->epoch, "another");
    p->served = UINT64_C(1) << 40;
    peer_return(p);
    peer_login_as(p, 1, "a", "", LOGIN_RESYNC, 0);
    p->seq = 0; /* which would be everything */
    peer_synced(p);
    expect_missed(p, "[RESYNCED]");
    EXPECT_STR(p->epoch, w->router.epoch.text);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(a_place_above_the_last_stored_message_is_good_when_it_was_volatile)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    char before[EPOCH_MAX + 1];

    peer_login(p, 1, "volatile/v");
    publish_all(p, "a", 1, 1);
    p->served = w->router.stored_seq;
    publish_all(p, "volatile/v", 2, 4);
    p->seq = w->router.seq;
    EXPECT(p->seq > p->served);
    snprintf(before, sizeof before, "%s", p->epoch);
    world_restart(w);
    EXPECT(w->router.seq >= p->seq);
    p->pipe = NULL;
    return_with(p, "volatile/v");
    expect_missed(p, "[RESYNCED]");
    EXPECT_STR(p->epoch, before);
    peer_free(p);
    world_free(w);
}
