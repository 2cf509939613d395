/* Pages of history, as gateways ask for them. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "tests/router/world.h"
#include "proto/frame_io.h"

static uint64_t publish_all(struct peer *p, const char *id, int from, int to)
{
    char text[16];
    uint64_t seq = 0;

    for (int i = from; i <= to; i++) {
        snprintf(text, sizeof text, "%d", i);
        seq = peer_taken(p, peer_publish(p, id, text)).seq;
    }
    peer_heard(p);
    return seq;
}

static struct frame_page_end page_end(struct peer *p)
{
    struct frame_page_end f;

    EXPECT_OK(frame_read_page_end(peer_next(p, FRAME_PAGE_END), &f));
    return f;
}

/* The rows of a page as text, and how it ends. */
static const char *page(struct peer *p, struct frame_page_end *end)
{
    const char *text;
    char *last;

    world_settle(p->world);
    for (struct list_node *n = p->pipe->frames.next; n != &p->pipe->frames;
         n = n->next) {
        const struct fake_frame *f = CONTAINER_OF(n, struct fake_frame, node);

        if (f->code == FRAME_PAGE_END)
            EXPECT_OK(frame_read_page_end(buf_slice(&f->body), end));
    }
    text = peer_heard(p);
    last = strstr((char *)(uintptr_t)text, "[PAGE_END]");
    EXPECT(last != NULL);
    if (last > text)
        last--;
    *last = '\0';
    return text;
}

TEST(a_page_holds_what_came_after_a_place_oldest_first)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    uint64_t two = publish_all(p, "a", 1, 2);
    struct frame_page_end end;

    publish_all(p, "a", 3, 5);
    publish_all(p, "b", 6, 6);
    peer_fetch(p, 7, "a", FETCH_SINCE, two, 0, 0);
    EXPECT_STR(page(p, &end), "3 4 5");
    EXPECT_INT(end.ref, 7);
    EXPECT_INT(end.more, 0);
    EXPECT_INT(end.upto, w->router.seq);
    peer_fetch(p, 8, "*", FETCH_SINCE, two, two + 3, 0);
    EXPECT_STR(page(p, &end), "3 4 5");
    EXPECT_INT(end.upto, two + 3);
    peer_fetch(p, 9, "*", FETCH_SINCE, two, 0, 0);
    EXPECT_STR(page(p, &end), "3 4 5 6");
    peer_free(p);
    world_free(w);
}

TEST(a_page_that_is_cut_short_says_how_far_it_is_complete)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    uint64_t last = publish_all(p, "a", 1, 5);
    struct frame_page_end end;

    peer_fetch(p, 1, "a", FETCH_SINCE, 0, 0, 3);
    EXPECT_STR(page(p, &end), "1 2 3");
    EXPECT_INT(end.more, 1);
    EXPECT_INT(end.upto, last - 2);
    peer_fetch(p, 1, "a", FETCH_SINCE, end.upto, 0, 3);
    EXPECT_STR(page(p, &end), "4 5");
    EXPECT_INT(end.more, 0);
    peer_free(p);
    world_free(w);
}

TEST(the_newest_and_those_before_a_place_come_oldest_first_too)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    uint64_t last = publish_all(p, "a", 1, 6);
    struct frame_page_end end;

    peer_fetch(p, 1, "a", FETCH_LAST, 0, 0, 2);
    EXPECT_STR(page(p, &end), "5 6");
    EXPECT_INT(end.more, 1);
    peer_fetch(p, 1, "a", FETCH_BEFORE, 0, last - 1, 2);
    EXPECT_STR(page(p, &end), "3 4");
    peer_fetch(p, 1, "a", FETCH_BEFORE, 0, 1, 2);
    EXPECT_STR(page(p, &end), "");
    EXPECT_INT(end.more, 0);
    peer_fetch(p, 1, "a", FETCH_BEFORE, 0, 0, 1);
    EXPECT_STR(page(p, &end), ""); /* in front of all there is nothing */
    EXPECT_INT(end.more, 0);
    EXPECT_INT(end.upto, 0);
    peer_fetch(p, 1, "a", FETCH_BEFORE, 0, last + 1000, 1);
    EXPECT_STR(page(p, &end), "6");
    EXPECT_INT(end.upto, last);
    peer_free(p);
    world_free(w);
}

TEST(what_was_trimmed_since_is_told_before_the_rows)
{
    struct world *w = world_new((const char *const[]){
        "namespace.history=3", NULL});
    struct peer *p = peer_join(w, "gw1");
    struct frame_hole hole;
    struct past *past;

    publish_all(p, "a", 1, 10);
    past = table_find(&w->router.table, SLICE("a"))->past;
    EXPECT_SOON(past->trimmed_offset == 7,
                EXPECT_OK(loop_step(w->loop, 10 * MILLISECOND)));
    EXPECT_INT(past->trimmed_seq, past->last_seq - 3);
    for (int i = 0; i < 2; i++) {
        peer_fetch(p, 3, i ? "*" : "a", FETCH_SINCE, 2, 0, 0);
        EXPECT_OK(frame_read_hole(peer_next(p, FRAME_HOLE), &hole));
        EXPECT_INT(hole.ref, 3);
        EXPECT_INT(hole.why, HOLE_TRIMMED);
        EXPECT_INT(hole.to, 7);
        EXPECT_INT(hole.seq, past->trimmed_seq);
        EXPECT_SLICE(hole.id, SLICE("a"));
        world_settle(w);
        EXPECT_STR(peer_heard(p), "8 9 10 [PAGE_END]");
    }
    peer_fetch(p, 3, "a", FETCH_SINCE, past->trimmed_seq, 0, 0);
    world_settle(w);
    EXPECT_STR(peer_heard(p), "8 9 10 [PAGE_END]");
    peer_free(p);
    world_free(w);
}

TEST(of_an_id_that_is_new_all_that_was_forgotten_counts_as_trimmed)
{
    struct world *w = world_new((const char *const[]){
        "namespace.history=all", NULL});
    struct peer *p = peer_join(w, "gw1");
    struct frame_logged_in f;

    publish_all(p, "old", 1, 1);
    w->router.forgotten = (struct forgotten){.offset = 9, .seq = 50};
    peer_login(p, 1, "a");
    EXPECT_OK(frame_read_logged_in(peer_next(p, FRAME_LOGGED_IN), &f));
    EXPECT_INT(f.forgotten_seq, 50);
    publish_all(p, "a", 1, 1);
    publish_all(p, "old", 2, 2);
    world_settle(w);
    peer_heard(p);
    peer_login(p, 2, "a");
    EXPECT_INT(peer_logged_in(p, NULL).trimmed_seq, 50);
    peer_login(p, 3, "old");
    EXPECT_INT(peer_logged_in(p, NULL).trimmed_seq, 0);
    peer_free(p);
    world_free(w);
}

/* What trimming took of it nobody can say. */
TEST(an_id_whose_record_is_damaged_is_told_to_who_follows_a_pattern)
{
    struct world *w = world_new((const char *const[]){
        "namespace.history=3", NULL});
    struct peer *p = peer_join(w, "gw1");
    struct frame_hole hole;
    struct past *past;
    unsigned damaged = 0;

    publish_all(p, "b", 1, 1);
    publish_all(p, "a", 1, 10);
    past = table_find(&w->router.table, SLICE("a"))->past;
    EXPECT_SOON(past->trimmed_offset == 7,
                EXPECT_OK(loop_step(w->loop, 10 * MILLISECOND)));
    world_sql(w, "UPDATE ids SET sum = sum + 1 WHERE id = 'b'");
    peer_fetch(p, 3, "*", FETCH_SINCE, 2, 0, 0);
    for (int i = 0; i < 2; i++) {
        EXPECT_OK(frame_read_hole(peer_next(p, FRAME_HOLE), &hole));
        if (hole.why == HOLE_TRIMMED)
            continue;
        damaged++;
        EXPECT_INT(hole.why, HOLE_DAMAGED);
        EXPECT_INT(hole.from, 0);
        EXPECT_INT(hole.to, 0);
        EXPECT_INT(hole.seq, past->last_seq);
        EXPECT_SLICE(hole.id, SLICE("b"));
    }
    EXPECT_INT(damaged, 1);
    EXPECT_INT(stat_get(&w->router.stats, STAT_DAMAGED), 1);
    world_settle(w);
    EXPECT_STR(peer_heard(p), "8 9 10 [PAGE_END]");
    peer_free(p);
    world_free(w);
}

TEST(rows_come_only_as_fast_as_the_link_takes_them)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");

    for (int i = 0; i < 300; i++)
        peer_publish(p, "a", "x");
    world_settle(w);
    peer_heard(p);
    fake_pipe_stall(p->pipe, 100);
    peer_fetch(p, 1, "a", FETCH_SINCE, 0, 0, 0);
    for (int i = 0; i < 50; i++)
        EXPECT_OK(loop_step(w->loop, MILLISECOND));
    EXPECT_STR(peer_heard(p), "x x x");
    fake_pipe_drain(p->pipe);
    world_settle(w);
    page_end(p);
    peer_free(p);
    world_free(w);
}

TEST(more_pages_than_run_at_once_are_all_answered)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");
    bool ended[4 * FETCHES_AT_ONCE] = {false};

    publish_all(p, "a", 1, 3);
    for (uint32_t i = 0; i < ARRAY_LEN(ended); i++)
        peer_fetch(p, i, "a", FETCH_SINCE, 0, 0, 0);
    for (uint32_t i = 0; i < ARRAY_LEN(ended); i++) {
        uint32_t ref = page_end(p).ref;

        EXPECT(ref < ARRAY_LEN(ended) && !ended[ref]);
        ended[ref] = true;
    }
    peer_free(p);
    world_free(w);
}

TEST(a_page_of_nonsense_is_answered_as_such)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");

    peer_fetch(p, 5, "a//b", FETCH_SINCE, 0, 0, 0);
    EXPECT_INT(page_end(p).status, -ERR_BAD);
    peer_free(p);
    world_free(w);
}

TEST(the_end_of_a_link_ends_its_pages)
{
    struct world *w = world_new(NULL);
    struct peer *p = peer_join(w, "gw1");

    publish_all(p, "a", 1, 3);
    for (uint32_t i = 0; i < 40; i++)
        peer_fetch(p, i, i % 2 ? "a" : "*", FETCH_SINCE, 0, 0, 0);
    peer_break(p);
    for (int i = 0; i < 20; i++)
        EXPECT_OK(loop_step(w->loop, MILLISECOND));
    peer_free(p);
    world_free(w);
}
