/* Laws 1 to 4, as far as the router keeps them. */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "proto/frame_io.h"
#include "tests/router/world.h"

TEST(a_publisher_who_listens_gets_its_message_and_then_the_answer)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_published f;
    struct msg_parts m;

    peer_login(p, 1, "user/ana");
    peer_login(p, 2, "user/ana");
    peer_publish(p, "user/ana", "hello");
    m = peer_message(p);
    EXPECT_SLICE(m.data, SLICE("hello"));
    EXPECT_INT(m.offset, 1);
    EXPECT_INT(m.flags, MSG_STORED);
    f = peer_taken(p, 1);
    EXPECT_INT(f.offset, 1);
    EXPECT_INT(f.seq, w->router.seq);
    EXPECT_INT(f.reached, 2);
    EXPECT_SLICE(f.id, SLICE("user/ana"));
    peer_free(p);
    world_free(w);
}

TEST(nothing_is_sent_or_acknowledged_before_it_is_committed)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    uint64_t before = w->router.seq;

    peer_login(p, 1, "a");
    EXPECT_STR(peer_heard(p), "[LOGGED_IN]");
    peer_publish(p, "a", "one");
    EXPECT_STR(peer_heard(p), "");
    world_turn(w); /* the batch is with the writer now */
    EXPECT(writer_busy(w->router.writer));
    EXPECT_STR(peer_heard(p), "");
    EXPECT_INT(w->router.seq, before);
    world_settle(w);
    EXPECT_STR(peer_heard(p), "one [PUBLISHED]");
    EXPECT_INT(p->pipe->seq, w->router.seq);
    EXPECT(w->router.seq > before);
    peer_free(p);
    world_free(w);
}

TEST(what_comes_while_a_commit_is_under_way_makes_one_batch)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct writer_figures f;

    peer_login(p, 1, "a");
    peer_publish(p, "a", "1");
    world_turn(w);
    for (int i = 0; i < 100; i++)
        peer_publish(p, "a", "2");
    world_settle(w);
    writer_figures(w->router.writer, &f);
    EXPECT_INT(f.rows, 101);
    EXPECT_INT(f.commits, 2);
    peer_free(p);
    world_free(w);
}

TEST(a_batch_holds_at_most_256_messages_or_a_megabyte)
{
    struct world *w = world_new((const char *const[]){
        "limits.message=1M", NULL});
    struct peer *p = peer_join(w, "gw1");
    char *huge = malloc(700001);
    struct writer_figures f;

    for (int i = 0; i < 600; i++)
        peer_publish(p, "a", "x");
    world_settle(w);
    writer_figures(w->router.writer, &f);
    EXPECT_INT(f.commits, 3);
    memset(huge, 'h', 700000);
    huge[700000] = '\0';
    for (int i = 0; i < 3; i++)
        peer_publish(p, "a", huge);
    world_settle(w);
    writer_figures(w->router.writer, &f);
    EXPECT_INT(f.commits, 6);
    EXPECT_INT(f.rows, 603);
    free(huge);
    peer_free(p);
    world_free(w);
}

/* A batch as a gateway sends it: all but the last say that more follows. */
static void publish_batch(struct peer *p, const char *const *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        peer_publish_frame(p, (struct frame_publish){
            .id = slice_str(ids[i]),
            .data = SLICE("x"),
            .flags = i + 1 < count ? PUBLISH_MORE : 0,
        });
}

/* What is sent as a batch stays together all the same. */
TEST(publications_are_committed_in_groups_as_large_as_is_said)
{
    static const char *const batch[] = {"a", "b", "a", "b", "c"};
    struct world *w = world_new((const char *const[]){
        "limits.commit_group=1", NULL});
    struct peer *p = peer_join(w, "gw1");
    struct writer_figures f;

    for (int i = 0; i < 20; i++)
        peer_publish(p, "a", "x");
    world_settle(w);
    writer_figures(w->router.writer, &f);
    EXPECT_INT(f.commits, 20);
    EXPECT_INT(stat_get(&w->router.stats, STAT_LIMIT_COMMIT_GROUP), 19);
    publish_batch(p, batch, ARRAY_LEN(batch));
    world_settle(w);
    writer_figures(w->router.writer, &f);
    EXPECT_INT(f.commits, 21);
    EXPECT_INT(f.rows, 25);
    peer_free(p);
    world_free(w);
}

TEST(a_batch_is_one_commit_and_synced_as_a_whole_whatever_is_refused_of_it)
{
    static const char *const batch[] = {"a", "bad//id", "b", "p/1", "a"};
    static const char *const cut[] = {"a", "p/1", "bad//id"};
    struct world *w = world_new((const char *const[]){
        "namespace p/.durability=power", NULL});
    struct peer *p = peer_join(w, "gw1");
    struct writer_figures f;

    peer_publish(p, "a", "in front");
    world_turn(w); /* with the writer; the batch waits */
    publish_batch(p, batch, ARRAY_LEN(batch));
    world_settle(w);
    writer_figures(w->router.writer, &f);
    EXPECT_INT(f.commits, 2);
    EXPECT_INT(f.syncs, 1);
    EXPECT_INT(f.rows, 5);
    EXPECT_INT(peer_answer(p, 3).status, PUBLISHED_BAD);
    EXPECT_INT(peer_taken(p, 2).offset, 2);
    for (uint64_t i = 4; i < 7; i++)
        peer_taken(p, i);
    publish_batch(p, cut, ARRAY_LEN(cut)); /* the last one is refused */
    world_settle(w);
    writer_figures(w->router.writer, &f);
    EXPECT_INT(f.commits, 3);
    EXPECT_INT(f.syncs, 2);
    EXPECT_INT(peer_answer(p, 9).status, PUBLISHED_BAD);
    peer_taken(p, 7);
    peer_taken(p, 8);
    peer_free(p);
    world_free(w);
}

TEST(a_message_without_history_waits_for_the_commit_in_front_of_it)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");

    peer_login(p, 1, "volatile/v");
    peer_login(p, 1, "a");
    EXPECT_STR(peer_heard(p), "[LOGGED_IN] [LOGGED_IN]");
    peer_publish(p, "volatile/v", "first");
    world_turn(w); /* nothing in front of it: at once */
    EXPECT_STR(peer_heard(p), "first [PUBLISHED]");
    peer_publish(p, "a", "stored");
    world_turn(w);
    peer_publish(p, "volatile/v", "behind");
    EXPECT(writer_busy(w->router.writer));
    EXPECT_STR(peer_heard(p), "");
    world_settle(w);
    EXPECT_STR(peer_heard(p), "stored [PUBLISHED] behind [PUBLISHED]");
    peer_free(p);
    world_free(w);
}

TEST(one_order_over_all_ids_on_every_link)
{
    struct world *w = world_new(NULL);
    struct peer *one = peer_join(w, "gw1"), *two = peer_join(w, "gw2");
    static const char *const ids[] = {"a", "volatile/b", "room/c", "d"};
    uint64_t last = 0;

    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        peer_login(one, 1, ids[i]);
        peer_login(two, 1, ids[i]);
    }
    for (int i = 0; i < 200; i++) {
        peer_publish(i % 3 ? one : two, ids[i % 4], "x");
        if (i % 7 == 0)
            world_turn(w);
    }
    for (int i = 0; i < 200;) {
        struct msg_parts m = peer_message(one), n = peer_message(two);

        EXPECT_INT(m.seq, n.seq);
        if (m.flags & MSG_NOTICE) { /* of the room: stands behind its seq */
            EXPECT_INT(m.seq, last);
            continue;
        }
        EXPECT(m.seq > last);
        last = m.seq;
        i++;
    }
    peer_free(one);
    peer_free(two);
    world_free(w);
}

/* ---- failure ----------------------------------------------------------- */

/* Publishes until the disk is full; returns how many were taken. */
static unsigned fill_disk(struct world *w, struct peer *p, const char *id)
{
    static char block[60000];
    unsigned taken = 0;

    memset(block, 'f', sizeof block - 1);
    for (;; taken++) {
        struct frame_published f;

        f = peer_answer(p, peer_publish(p, id, block));
        if (f.status != PUBLISHED_OK) {
            EXPECT_INT(f.status, PUBLISHED_UNAVAILABLE);
            EXPECT_SLICE(f.code, SLICE("store.full"));
            world_settle(w);
            return taken;
        }
        EXPECT(taken < 1000);
    }
}

static struct world *small_disk(void)
{
    struct world *w = world_new((const char *const[]){
        "namespace.history=all", NULL});

    world_stop(w);
    w->max_size = 1024 * 1024;
    world_start(w);
    return w;
}

TEST(a_failed_commit_takes_no_number_and_delivers_nothing)
{
    struct world *w = small_disk();
    struct peer *p = peer_join(w, "gw1");
    static char block[60000];
    uint64_t seq;
    struct past *past;

    memset(block, 'f', sizeof block - 1);
    peer_login(p, 1, "a");
    peer_taken(p, peer_publish(p, "a", "x"));
    EXPECT(fill_disk(w, p, "fill") > 0);
    seq = w->router.seq;
    peer_heard(p);
    EXPECT_SLICE(peer_answer(p, peer_publish(p, "a", block)).code,
                 SLICE("store.full"));
    EXPECT_INT(w->router.seq, seq);
    EXPECT_STR(peer_stream(p), "");
    past = table_find(&w->router.table, SLICE("a"))->past;
    EXPECT_INT(past->last_offset, 1);
    EXPECT_INT(stat_get(&w->router.stats, STAT_STORE_FAILING), 1);
    peer_free(p);
    world_free(w);
}

TEST(with_a_full_disk_what_is_not_stored_goes_on_in_order)
{
    struct world *w = small_disk();
    struct peer *p = peer_join(w, "gw1");
    static char block[60000];
    uint64_t refused, one, two;

    memset(block, 'f', sizeof block - 1);
    peer_login(p, 1, "volatile/v");
    fill_disk(w, p, "fill");
    one = peer_publish(p, "volatile/v", "one");
    refused = peer_publish(p, "fill", block);
    two = peer_publish(p, "volatile/v", "two");
    EXPECT_SLICE(peer_message(p).data, SLICE("one"));
    peer_taken(p, one);
    EXPECT_SLICE(peer_answer(p, refused).code, SLICE("store.full"));
    EXPECT_SLICE(peer_message(p).data, SLICE("two"));
    peer_taken(p, two);
    /* And history is still read. */
    peer_fetch(p, 9, "fill", FETCH_SINCE, 0, 0, 1);
    peer_next(p, FRAME_ROW);
    peer_free(p);
    world_free(w);
}

TEST(what_is_queued_behind_a_failed_commit_is_refused_with_it)
{
    struct world *w = small_disk();
    struct peer *p = peer_join(w, "gw1");
    static char block[60000];
    uint64_t first, behind, free_one;

    memset(block, 'f', sizeof block - 1);
    peer_login(p, 1, "**");
    fill_disk(w, p, "fill");
    peer_heard(p);
    first = peer_publish(p, "fill", block);
    world_turn(w);
    behind = peer_publish(p, "b", "would fit");
    free_one = peer_publish(p, "volatile/v", "free");
    EXPECT_SLICE(peer_answer(p, first).code, SLICE("store.full"));
    EXPECT_SLICE(peer_answer(p, behind).code, SLICE("store.full"));
    EXPECT_SLICE(peer_message(p).data, SLICE("free"));
    peer_taken(p, free_one);
    world_settle(w);
    EXPECT(table_find(&w->router.table, SLICE("b")) == NULL);
    peer_free(p);
    world_free(w);
}

/* ---- once ---------------------------------------------------------------- */

static struct frame_publish keyed(const char *id, const char *text,
                                  const char *key)
{
    return (struct frame_publish){.id = slice_str(id),
                                  .data = slice_str(text),
                                  .idempotency = slice_str(key)};
}

TEST(a_key_used_again_gets_the_first_answer)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_published first, again;

    peer_login(p, 1, "a");
    first = peer_taken(p, peer_publish_frame(p, keyed("a", "x", "k")));
    again = peer_answer(p, peer_publish_frame(p, keyed("a", "x", "k")));
    EXPECT_INT(again.status, PUBLISHED_DUPLICATE);
    EXPECT_INT(again.seq, first.seq);
    EXPECT_INT(again.offset, first.offset);
    EXPECT_INT(again.ts_ms, first.ts_ms);
    EXPECT_INT(again.reached, 1);
    again = peer_answer(p, peer_publish_frame(p, keyed("a", "y", "k")));
    EXPECT_INT(again.status, PUBLISHED_CONFLICT);
    peer_taken(p, peer_publish_frame(p, keyed("b", "y", "k")));
    world_settle(w);
    peer_heard(p);
    world_restart(w);
    peer_free(p);
    p = peer_join(w, "gw1");
    again = peer_answer(p, peer_publish_frame(p, keyed("a", "x", "k")));
    EXPECT_INT(again.status, PUBLISHED_DUPLICATE);
    EXPECT_INT(again.offset, 1);
    EXPECT_INT(again.reached, 1);
    peer_free(p);
    world_free(w);
}

TEST(the_first_answer_counts_who_came_and_went_until_the_commit)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    uint64_t first, again;

    peer_login(p, 1, "a");
    peer_login(p, 2, "*");
    first = peer_publish_frame(p, keyed("a", "x", "k"));
    world_turn(w); /* the batch is with the writer now */
    peer_login(p, 3, "a");
    peer_login(p, 4, "a");
    peer_closed(p, 1);
    EXPECT_INT(peer_taken(p, first).reached, 3);
    world_settle(w);
    world_restart(w);
    peer_free(p);
    p = peer_join(w, "gw1");
    again = peer_publish_frame(p, keyed("a", "x", "k"));
    EXPECT_INT(peer_answer(p, again).reached, 3);
    peer_free(p);
    world_free(w);
}

TEST(a_key_used_again_while_the_first_is_under_way_waits_for_it)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    uint64_t other, twin;
    struct frame_published first, second;

    peer_login(p, 1, "a");
    peer_publish_frame(p, keyed("a", "x", "k"));
    twin = peer_publish_frame(q, keyed("a", "x", "k"));
    other = peer_publish_frame(p, keyed("a", "y", "k"));
    EXPECT_INT(peer_answer(p, other).status, PUBLISHED_CONFLICT);
    first = peer_taken(p, 1);
    second = peer_answer(q, twin);
    EXPECT_INT(second.status, PUBLISHED_DUPLICATE);
    EXPECT_INT(second.reached, 1);
    EXPECT_INT(first.offset, 1);
    EXPECT_INT(w->router.table.seats, 1);
    peer_fetch(p, 1, "a", FETCH_SINCE, 0, 0, 10);
    peer_next(p, FRAME_ROW);
    EXPECT_STR(peer_heard(p), "[PAGE_END]");
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(who_cannot_wait_for_the_first_under_his_key_is_told_that_it_is_unknown)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    uint64_t first = peer_publish_frame(p, keyed("a", "x", "k")), twin;
    struct frame_published f;

    q->forgiving = true;
    test_fail_malloc_after(1); /* the first one is the frame that is said */
    twin = peer_publish_frame(q, keyed("a", "x", "k"));
    EXPECT(test_malloc_failed());
    f = peer_answer(q, twin);
    EXPECT_INT(f.status, PUBLISHED_UNKNOWN);
    EXPECT_SLICE(f.code, SLICE("publish.unknown"));
    peer_taken(p, first);
    peer_free(p);
    peer_free(q);
    world_free(w);
}

TEST(whose_key_cannot_be_looked_up_is_told_that_it_is_unknown)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_published first, f;

    first = peer_taken(p, peer_publish_frame(p, keyed("a", "x", "k")));
    world_sql(w, "ALTER TABLE keys RENAME TO lost");
    f = peer_answer(p, peer_publish_frame(p, keyed("a", "x", "k")));
    EXPECT_INT(f.status, PUBLISHED_UNKNOWN);
    EXPECT_SLICE(f.code, SLICE("publish.unknown"));
    world_sql(w, "ALTER TABLE lost RENAME TO keys");
    f = peer_answer(p, peer_publish_frame(p, keyed("a", "x", "k")));
    EXPECT_INT(f.status, PUBLISHED_DUPLICATE);
    EXPECT_INT(f.seq, first.seq);
    peer_free(p);
    world_free(w);
}

TEST(a_publication_sent_again_is_stored_once)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_publish f = {.id = SLICE("a"), .data = SLICE("x")};
    struct frame_published first, again;

    first = peer_taken(p, peer_publish_frame(p, f));
    f.number = first.number;
    f.flags = PUBLISH_RESENT;
    peer_break(p); /* the router lives, the answer was lost */
    peer_return(p);
    again = peer_answer(p, peer_publish_frame(p, f));
    EXPECT_INT(again.status, PUBLISHED_OK);
    EXPECT_INT(again.seq, first.seq);
    world_restart(w); /* the router dies behind the commit */
    peer_return(p);
    again = peer_answer(p, peer_publish_frame(p, f));
    EXPECT_INT(again.status, PUBLISHED_OK);
    EXPECT_INT(again.seq, first.seq);
    f.number = 99; /* one that had not been taken */
    again = peer_answer(p, peer_publish_frame(p, f));
    EXPECT_INT(again.status, PUBLISHED_OK);
    EXPECT_INT(again.offset, 2);
    peer_free(p);
    world_free(w);
}

TEST(what_may_have_been_taken_too_long_ago_to_know_is_unknown)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_publish f = {.id = SLICE("a"), .data = SLICE("x")};
    struct frame_published got;

    f.number = peer_taken(p, peer_publish_frame(p, f)).number;
    f.flags = PUBLISH_RESENT;
    peer_break(p); /* for as long as its machine sleeps */
    answers_expire(&w->router.publish.answers, INT64_MAX);
    peer_return(p);
    got = peer_answer(p, peer_publish_frame(p, f));
    EXPECT_INT(got.status, PUBLISHED_UNKNOWN);
    EXPECT_SLICE(got.code, SLICE("publish.unknown"));
    f.number++; /* one that had not been taken */
    got = peer_answer(p, peer_publish_frame(p, f));
    EXPECT_INT(got.status, PUBLISHED_OK);
    EXPECT_INT(got.offset, 2);
    peer_free(p);
    world_free(w);
}

/* What is said again when the answer was lost, with the nth allocation behind its
 * acceptance failing; a start knows none of those without history. False: there is
 * no nth. */
static bool sent_again_without_memory(long n)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_publish f = {.data = SLICE("x")};
    struct frame_published again;
    char id[32];
    bool failed;

    snprintf(id, sizeof id, "volatile/%ld", n);
    f.id = slice_str(id);
    f.number = peer_publish_frame(p, f);
    test_fail_malloc_after(n);
    world_settle(w);
    failed = test_malloc_failed();
    peer_break(p);
    peer_return(p);
    f.flags = PUBLISH_RESENT;
    again = peer_answer(p, peer_publish_frame(p, f));
    EXPECT_INT(again.status, PUBLISHED_OK);
    EXPECT_INT(again.offset, 1);
    world_settle(w);
    EXPECT_INT(table_find(&w->router.table, f.id)->past->last_offset, 1);
    peer_free(p);
    world_free(w);
    return failed;
}

TEST(a_publication_sent_again_is_stored_once_whatever_memory_there_was)
{
    long n = 0;

    while (sent_again_without_memory(n))
        n++;
    EXPECT(n > 0);
}

/* In this life, whoever has been told of them. */
static uint64_t stored_rows(const struct world *w)
{
    struct writer_figures f;

    writer_figures(w->router.writer, &f);
    return f.rows;
}

/* A message of an id that is forgotten while it is under way, with the nth
 * allocation behind that failing. False: there is no nth. */
static bool forgotten_without_memory(long n)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q;
    uint64_t before = w->router.seq;
    struct frame_logged_in f;
    struct logged_in_id i;
    char id[32];
    bool failed;

    snprintf(id, sizeof id, "%ld", n); /* all are in one store */
    peer_publish(p, id, "x");
    world_turn(w);
    EXPECT_SOON(stored_rows(w) == 1, sched_yield());
    table_forget(&w->router.table, table_find(&w->router.table,
                                              slice_str(id)));
    test_fail_malloc_after(n);
    world_settle(w);
    failed = test_malloc_failed();
    q = peer_join(w, "gw2");
    if (w->router.seq > before) { /* else it was refused */
        peer_login(q, 1, id);
        EXPECT_OK(frame_read_logged_in(peer_next(q, FRAME_LOGGED_IN), &f));
        EXPECT_OK(frame_next_logged_in(&f, &i));
        EXPECT(i.last_offset == 1 || f.forgotten_seq == w->router.seq);
        EXPECT_INT(peer_taken(q, peer_publish(q, id, "y")).offset, 2);
        peer_login(q, 2, id);
        i = peer_logged_in(q, NULL);
        EXPECT_INT(i.last_offset, 2);
        EXPECT_INT(i.trimmed_seq, f.forgotten_seq);
        EXPECT_INT(i.trimmed_offset, f.forgotten_seq ? 1 : 0);
    }
    peer_free(q);
    peer_free(p);
    world_free(w);
    return failed;
}

TEST(a_newcomer_is_told_what_may_be_gone_whatever_memory_there_was)
{
    long n = 0;

    while (forgotten_without_memory(n))
        n++;
    EXPECT(n > 0);
}

/* Whatever the clock says: an hour has passed for the router that starts. */
TEST(a_publication_sent_again_is_stored_once_though_the_clock_jumps)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_publish f = {.id = SLICE("a"), .data = SLICE("x")};
    struct frame_published first, again;

    first = peer_taken(p, peer_publish_frame(p, f));
    f.number = first.number;
    f.flags = PUBLISH_RESENT;
    peer_break(p); /* the router lives, the answer was lost */
    peer_return(p);
    again = peer_answer(p, peer_publish_frame(p, f));
    EXPECT_INT(again.status, PUBLISHED_OK);
    EXPECT_INT(again.seq, first.seq);
    clock_fake(clock_ns(), clock_wall_ms() + 3600 * 1000);
    world_restart(w); /* the router dies behind the commit */
    peer_return(p);
    again = peer_answer(p, peer_publish_frame(p, f));
    EXPECT_INT(again.status, PUBLISHED_OK);
    EXPECT_INT(again.seq, first.seq);
    f.number = 99; /* one that had not been taken */
    again = peer_answer(p, peer_publish_frame(p, f));
    EXPECT_INT(again.status, PUBLISHED_OK);
    EXPECT_INT(again.offset, 2);
    peer_free(p);
    world_free(w);
}

/* Others publish until the one of p is trimmed; then the router is another. */
static void turn_over(struct world *w, struct peer *p, const char *id)
{
    struct peer *q = peer_join(w, "gw2");
    struct past *past = table_find(&w->router.table, slice_str(id))->past;
    uint64_t mine = past->last_seq;

    for (int i = 0; i < 3; i++)
        peer_taken(q, peer_publish(q, id, "y"));
    EXPECT_SOON(past->trimmed_seq > mine,
                EXPECT_OK(loop_step(w->loop, 10 * MILLISECOND)));
    world_restart(w);
    peer_free(q);
    peer_return(p);
}

TEST(what_may_have_been_taken_and_trimmed_in_an_earlier_life_is_unknown)
{
    struct world *w = world_new((const char *const[]){
        "namespace.history=1", NULL});
    struct peer *p = peer_join(w, "gw1");
    struct frame_publish f = {.id = SLICE("a"), .data = SLICE("x")};
    struct frame_published got;
    uint64_t first;

    p->asked = w->router.seq; /* as it stood when it was sent first */
    got = peer_taken(p, peer_publish_frame(p, f));
    first = f.number = got.number;
    turn_over(w, p, "a");
    f.flags = PUBLISH_RESENT;
    got = peer_answer(p, peer_publish_frame(p, f));
    EXPECT_INT(got.status, PUBLISHED_UNKNOWN);
    EXPECT_SLICE(got.code, SLICE("publish.unknown"));
    EXPECT_INT(table_find(&w->router.table, SLICE("a"))->past->last_offset, 4);
    f.number = first + 1; /* of a channel that has lost nothing */
    f.id = SLICE("b");
    EXPECT_INT(peer_taken(p, peer_publish_frame(p, f)).offset, 1);
    peer_break(p); /* what it sends again was sent first behind all of it */
    p->asked = w->router.seq;
    peer_return(p);
    f.number = first + 2;
    f.id = SLICE("a");
    EXPECT_INT(peer_taken(p, peer_publish_frame(p, f)).offset, 5);
    peer_free(p);
    world_free(w);
}

TEST(what_is_trimmed_in_this_life_makes_nothing_unknown)
{
    struct world *w = world_new((const char *const[]){
        "namespace.history=1", NULL});
    struct peer *p = peer_join(w, "gw1");
    struct past *past;

    p->asked = w->router.seq;
    for (int i = 0; i < 3; i++)
        peer_taken(p, peer_publish(p, "a", "y"));
    past = table_find(&w->router.table, SLICE("a"))->past;
    EXPECT_SOON(past->trimmed_offset == 2,
                EXPECT_OK(loop_step(w->loop, 10 * MILLISECOND)));
    peer_break(p);
    peer_return(p);
    EXPECT_INT(peer_taken(p, peer_publish_frame(p, (struct frame_publish){
                   .number = 9, .flags = PUBLISH_RESENT, .id = SLICE("a"),
                   .data = SLICE("x")})).offset, 4);
    peer_free(p);
    world_free(w);
}

TEST(a_key_knows_what_was_trimmed_in_an_earlier_life)
{
    struct world *w = world_new((const char *const[]){
        "namespace.history=1", NULL});
    struct peer *p = peer_join(w, "gw1");
    struct frame_publish f = {.id = SLICE("a"), .data = SLICE("x"),
                              .idempotency = SLICE("k")};
    struct frame_published first, again;

    p->asked = w->router.seq;
    first = peer_taken(p, peer_publish_frame(p, f));
    turn_over(w, p, "a");
    f.number = first.number;
    f.flags = PUBLISH_RESENT;
    again = peer_answer(p, peer_publish_frame(p, f));
    EXPECT_INT(again.status, PUBLISHED_DUPLICATE);
    EXPECT_INT(again.seq, first.seq);
    peer_free(p);
    world_free(w);
}

TEST(what_may_have_been_taken_and_forgotten_in_an_earlier_life_is_unknown)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_publish f = {.number = 1, .flags = PUBLISH_RESENT,
                              .id = SLICE("a"), .data = SLICE("x")};

    w->router.forgotten.seq = w->router.publish.gone_seq = p->link->asked + 1;
    EXPECT_INT(peer_answer(p, peer_publish_frame(p, f)).status,
               PUBLISHED_UNKNOWN);
    EXPECT(!table_find(&w->router.table, SLICE("a")));
    f.flags = 0;
    EXPECT_INT(peer_taken(p, peer_publish_frame(p, f)).offset, 1);
    peer_free(p);
    world_free(w);
}

TEST(an_act_that_may_have_been_taken_and_trimmed_is_unknown)
{
    static const char args[] = "{\"id\":\"elp\",\"name\":\"Elp\","
                               "\"division\":\"1\"}";
    struct world *w = world_new((const char *const[]){
        "namespace team/.history=1", NULL});
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");
    struct past *past;

    p->asked = w->router.seq;
    peer_taken(p, peer_act(p, "team.put", args));
    for (int i = 0; i < 2; i++)
        peer_taken(q, peer_act(q, "team.put", args));
    past = table_find(&w->router.table, SLICE("team/elp"))->past;
    EXPECT_SOON(past->trimmed_offset == 2,
                EXPECT_OK(loop_step(w->loop, 10 * MILLISECOND)));
    world_restart(w);
    peer_return(p);
    peer_act_again(p, 1, "team.put", args);
    EXPECT_INT(peer_answer(p, 1).status, PUBLISHED_UNKNOWN);
    EXPECT_INT(table_find(&w->router.table, SLICE("team/elp"))->past
                   ->last_offset, 3);
    peer_free(q);
    peer_free(p);
    world_free(w);
}

TEST(a_publication_sent_again_while_under_way_is_answered_once)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct frame_publish f = {.id = SLICE("a"), .data = SLICE("x")};

    f.number = peer_publish_frame(p, f);
    world_turn(w);
    peer_break(p);
    peer_return(p);
    f.flags = PUBLISH_RESENT;
    peer_publish_frame(p, f);
    peer_taken(p, f.number);
    world_settle(w);
    EXPECT_STR(peer_heard(p), "");
    EXPECT_INT(table_find(&w->router.table, SLICE("a"))->past->last_offset,
               1);
    peer_free(p);
    world_free(w);
}

TEST(the_end_of_a_link_leaves_its_publications_to_be_stored)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1"), *q = peer_join(w, "gw2");

    peer_login(q, 1, "a");
    peer_publish(p, "a", "x");
    peer_break(p);
    EXPECT_SLICE(peer_message(q).data, SLICE("x"));
    peer_free(p);
    peer_free(q);
    world_free(w);
}

/* ---- refusals ---------------------------------------------------------- */

TEST(what_cannot_be_published_is_refused_in_words)
{
    struct world *w = world_new((const char *const[]){
        "limits.message=1K", "limits.channels=2", NULL});
    struct peer *p = peer_join(w, "gw1");
    static char large[1026];
    struct frame_published f;

    f = peer_answer(p, peer_publish(p, "a b", "x"));
    EXPECT_INT(f.status, PUBLISHED_BAD);
    EXPECT_SLICE(f.code, SLICE("channel.bad"));
    memset(large, 'x', 1025);
    f = peer_answer(p, peer_publish(p, "a", large));
    EXPECT_INT(f.status, PUBLISHED_TOO_BIG);
    large[1024] = '\0';
    peer_taken(p, peer_publish(p, "a", large));
    peer_taken(p, peer_publish(p, "b", "x"));
    f = peer_answer(p, peer_publish(p, "c", "x"));
    EXPECT_INT(f.status, PUBLISHED_TOO_MANY);
    EXPECT_SLICE(f.code, SLICE("channels.full"));
    peer_login(p, 1, "d");
    EXPECT_INT(peer_logged_in(p, NULL).flags, ID_REFUSED);
    EXPECT_INT(stat_get(&w->router.stats, STAT_LIMIT_CHANNELS), 2);
    EXPECT_INT(stat_get(&w->router.stats, STAT_LIMIT_MESSAGE), 1);
    peer_free(p);
    world_free(w);
}

TEST(a_router_that_goes_down_leaves_new_publications_to_the_next)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct peer *tool = peer_join_as(w, "", PEER_CTL);

    peer_publish(p, "a", "x");
    router_drain(&w->router);
    EXPECT(!router_drained(&w->router));
    peer_publish(p, "a", "y");
    EXPECT_INT(peer_answer(tool, peer_publish(tool, "a", "y")).status,
               PUBLISHED_UNAVAILABLE);
    world_settle(w);
    EXPECT(router_drained(&w->router));
    EXPECT_STR(peer_heard(p), "[DRAIN] [PUBLISHED]");
    peer_free(p);
    peer_free(tool);
    world_free(w);
}

/* Would one that joins now be read? */
static bool is_read(struct world *w, const char *name, enum peer_kind kind)
{
    struct peer_id who = {.kind = (uint8_t)kind, .life = 1};
    struct link *l;

    snprintf(who.name, sizeof who.name, "%s", name);
    EXPECT_OK(link_new(&l, &w->router, &who, fake_pipe_new()));
    return !l->lane.pipe->paused;
}

TEST(gateways_are_not_read_while_too_much_waits)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    struct peer *tool = peer_join_as(w, "ctl1", PEER_CTL);

    for (unsigned i = 0; i <= QUEUE_COUNT_HIGH; i++)
        peer_publish(p, "a", "x");
    EXPECT(!p->pipe->paused);
    world_turn(w);
    EXPECT(p->pipe->paused);
    EXPECT(!tool->pipe->paused);
    EXPECT(!is_read(w, "gw2", PEER_GATEWAY));
    EXPECT(is_read(w, "ctl2", PEER_CTL));
    world_settle(w);
    EXPECT(!p->pipe->paused);
    EXPECT_INT(w->router.publish.queued, 0);
    EXPECT_INT(w->router.publish.queued_bytes, 0);
    peer_free(p);
    peer_free(tool);
    world_free(w);
}
