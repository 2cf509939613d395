#include "proto/seat.h"

#include "base/err.h"
#include "tests/t/t.h"

static void leave_all(struct conn_seats *conn)
{
    struct seat_iter it = seats_of_conn(conn);
    struct seat *s;

    while ((s = seat_next(&it)))
        seat_free(s);
}

static struct seat *sit(struct topic_seats *topic, struct conn_seats *conn)
{
    struct seat *s = NULL;

    EXPECT_OK(seat_add(&s, topic, conn));
    EXPECT(s->topic == topic);
    EXPECT(seat_conn(s) == conn);
    return s;
}

/* Is the pair seen once from each end? */
static void expect_pair(struct topic_seats *topic, struct conn_seats *conn)
{
    struct seat_iter t = seats_of_topic(topic), c = seats_of_conn(conn);
    unsigned seen = 0;
    struct seat *s;

    while ((s = seat_next(&t)))
        seen += s->topic == topic && seat_conn(s) == conn;
    EXPECT_INT(seen, 1);
    while ((s = seat_next(&c)))
        seen += s->topic == topic && seat_conn(s) == conn;
    EXPECT_INT(seen, 2);
    EXPECT(seat_find(topic, conn) != NULL);
}

TEST(a_seat_is_on_both_sides_and_leaves_both)
{
    struct topic_seats topic = {.count = 0};
    struct conn_seats conn = {.count = 0};
    struct seat_iter it;
    struct seat *s, *again;

    s = sit(&topic, &conn);
    EXPECT(seat_find(&topic, &conn) == s);
    EXPECT_ERR(seat_add(&again, &topic, &conn), ERR_EXISTS);
    EXPECT(again == s);
    it = seats_of_topic(&topic);
    EXPECT(seat_next(&it) == s);
    EXPECT(seat_next(&it) == NULL);
    seat_free(s);
    EXPECT_INT(topic.count, 0);
    EXPECT_INT(conn.count, 0);
    EXPECT(seat_find(&topic, &conn) == NULL);
    EXPECT_INT(topic.spare, 0);
    seat_free(NULL);
}

TEST(a_pair_that_has_no_other_needs_no_memory)
{
    struct topic_seats topic = {.count = 0};
    struct conn_seats conn = {.count = 0};
    struct seat *s;

    EXPECT(sizeof topic <= 16);
    EXPECT(sizeof conn <= 24);
    test_fail_malloc_after(0);
    s = sit(&topic, &conn);
    EXPECT(!test_malloc_failed());
    seat_free(s);
}

TEST(a_seat_moves_out_of_its_connection_when_another_comes)
{
    struct topic_seats topics[3] = {{.count = 0}};
    struct conn_seats conns[3] = {{.count = 0}};

    for (unsigned t = 0; t < 3; t++)
        for (unsigned c = 0; c < 3; c++)
            sit(&topics[t], &conns[c]);
    for (unsigned t = 0; t < 3; t++)
        for (unsigned c = 0; c < 3; c++)
            expect_pair(&topics[t], &conns[c]);
    seat_free(seat_find(&topics[0], &conns[1]));
    seat_free(seat_find(&topics[2], &conns[1]));
    expect_pair(&topics[1], &conns[1]);
    EXPECT_INT(conns[1].count, 1);
    EXPECT_INT(topics[0].count, 2);
    for (unsigned c = 0; c < 3; c++)
        leave_all(&conns[c]);
    for (unsigned t = 0; t < 3; t++)
        EXPECT_INT(topics[t].count, 0);
}

TEST(a_seat_keeps_its_name_wherever_it_goes)
{
    struct topic_seats topics[3] = {{.count = 0}};
    struct conn_seats conn = {.count = 0};
    char ana[] = "ana", bo[] = "bo";
    struct seat *s = sit(&topics[0], &conn);

    EXPECT(seat_name_kept(s) == NULL);
    EXPECT_OK(seat_keep_name(&s, NULL));
    EXPECT_OK(seat_keep_name(&s, ana));
    EXPECT(seat_find(&topics[0], &conn) == s);
    s = sit(&topics[1], &conn);
    EXPECT_OK(seat_keep_name(&s, bo));
    sit(&topics[2], &conn);
    EXPECT(seat_name_kept(seat_find(&topics[0], &conn)) == ana);
    EXPECT(seat_name_kept(seat_find(&topics[1], &conn)) == bo);
    EXPECT(seat_name_kept(seat_find(&topics[2], &conn)) == NULL);
    test_fail_malloc_after(0);
    EXPECT_OK(seat_keep_name(&s, ana)); /* it has room for one */
    EXPECT(seat_name_kept(seat_find(&topics[1], &conn)) == ana);
    for (unsigned t = 0; t < 3; t++)
        expect_pair(&topics[t], &conn);
    leave_all(&conn);
    EXPECT_INT(conn.count, 0);
}

TEST(any_seat_just_returned_may_be_freed_while_walking)
{
    enum { IDS = 100 };
    struct topic_seats topics[IDS] = {{.count = 0}};
    struct conn_seats conn = {.count = 0};

    for (size_t i = 0; i < IDS; i++)
        sit(&topics[i], &conn);
    EXPECT_INT(conn.count, IDS);
    leave_all(&conn);
    EXPECT_INT(conn.count, 0);
    for (size_t i = 0; i < IDS; i++)
        EXPECT_INT(topics[i].count, 0);
}

/* Who is there from the beginning to the end of a walk is seen, whoever else
 * goes meanwhile. */
TEST(a_walk_misses_nobody_who_stays)
{
    enum { CONNS = 200 };
    struct topic_seats topic = {.count = 0};
    struct conn_seats conns[CONNS] = {{.count = 0}};
    bool seen[CONNS] = {false};
    struct seat_iter it;
    struct seat *s;

    for (size_t i = 0; i < CONNS; i++)
        sit(&topic, &conns[i]);
    it = seats_of_topic(&topic);
    while ((s = seat_next(&it))) {
        size_t goes = test_random() % CONNS;

        seen[seat_conn(s) - conns] = true;
        if (test_random() % 3 == 0)
            leave_all(&conns[goes]);
    }
    for (size_t i = 0; i < CONNS; i++)
        EXPECT(seen[i] || conns[i].count == 0);
    for (size_t i = 0; i < CONNS; i++)
        leave_all(&conns[i]);
}

enum { TOPICS = 90, CONNS = 110 };

static void step_of_matrix(struct topic_seats *t, struct conn_seats *c,
                           bool *there, bool grow)
{
    static char name[] = "ana";
    struct seat *s = seat_find(t, c);

    EXPECT_INT(s != NULL, *there);
    if (s && test_random() % 16 == 0) {
        EXPECT_OK(seat_keep_name(&s, name));
        EXPECT(seat_find(t, c) == s);
    }
    if (s && (!grow || test_random() % 8 == 0)) {
        seat_free(s);
        *there = false;
    } else if (!s && (grow || test_random() % 8 == 0)) {
        sit(t, c);
        *there = true;
    }
}

/* A full bipartite graph, larger than what is walked, with seats added and
 * removed at random and checked against a matrix. */
TEST(two_long_sides_find_their_pair)
{
    static struct topic_seats topics[TOPICS];
    static struct conn_seats conns[CONNS];
    static bool there[TOPICS][CONNS];

    for (unsigned step = 0; step < 300000; step++) {
        size_t t = test_random() % TOPICS, c = test_random() % CONNS;

        step_of_matrix(&topics[t], &conns[c], &there[t][c],
                       step / 50000 % 2 == 0);
    }
    for (size_t t = 0; t < TOPICS; t++)
        for (size_t c = 0; c < CONNS; c++)
            if (there[t][c])
                expect_pair(&topics[t], &conns[c]);
    for (size_t c = 0; c < CONNS; c++)
        leave_all(&conns[c]);
    for (size_t t = 0; t < TOPICS; t++)
        EXPECT_INT(topics[t].count, 0);
}

TEST(ten_thousand_ids_and_a_hundred_thousand_connections_meet_quickly)
{
    enum { IDS = 10000, CROWD = 100000 };
    struct topic_seats *topics = calloc(IDS, sizeof *topics);
    struct conn_seats *conns = calloc(CROWD, sizeof *conns);

    for (size_t i = 0; i < IDS; i++)
        sit(&topics[i], &conns[0]);
    for (size_t i = 1; i < CROWD; i++)
        sit(&topics[0], &conns[i]);
    /* A walk of either list each time would be 10^8 steps and more. */
    for (size_t i = 0; i < 10000; i++) {
        EXPECT(seat_find(&topics[0], &conns[0]) != NULL);
        seat_free(seat_find(&topics[0], &conns[0]));
        sit(&topics[0], &conns[0]);
    }
    for (size_t i = 0; i < CROWD; i++)
        leave_all(&conns[i]);
    for (size_t i = 0; i < IDS; i++)
        EXPECT_INT(topics[i].count, 0);
    free(topics);
    free(conns);
}

TEST(without_memory_for_an_index_the_pair_is_still_found)
{
    enum { MANY = 64 };
    struct topic_seats topics[MANY] = {{.count = 0}};
    struct conn_seats conns[MANY] = {{.count = 0}};
    struct seat *s;

    for (size_t i = 1; i < MANY; i++) {
        sit(&topics[0], &conns[i]);
        sit(&topics[i], &conns[0]);
    }
    test_fail_malloc_after(0);
    EXPECT(seat_find(&topics[0], &conns[0]) == NULL);
    EXPECT(test_malloc_failed());
    test_fail_malloc_after(1); /* the index comes, the seat does not */
    EXPECT_ERR(seat_add(&s, &topics[0], &conns[0]), ERR_NOMEM);
    EXPECT(test_malloc_failed());
    EXPECT_INT(topics[0].count, MANY - 1);
    s = sit(&topics[0], &conns[0]);
    EXPECT(seat_find(&topics[0], &conns[0]) == s);
    for (size_t i = 0; i < MANY; i++)
        leave_all(&conns[i]);
    for (size_t i = 0; i < MANY; i++)
        EXPECT_INT(topics[i].count, 0);
}

/* A connection with an id, one more, under a name: at each allocation that
 * fails what was there stays. */
TEST(memory_that_runs_out_leaves_the_seats_that_were_there)
{
    static char name[] = "ana";
    bool failed = true;

    for (long n = 0; failed; n++) {
        struct topic_seats topics[2] = {{.count = 0}};
        struct conn_seats conns[2] = {{.count = 0}};
        struct seat *s = sit(&topics[0], &conns[0]);

        EXPECT(n < 100);
        test_fail_malloc_after(n);
        if (seat_add(&s, &topics[1], &conns[0]) == 0)
            (void)!seat_keep_name(&s, name);
        (void)!seat_add(&s, &topics[0], &conns[1]);
        failed = test_malloc_failed();
        expect_pair(&topics[0], &conns[0]);
        leave_all(&conns[0]);
        leave_all(&conns[1]);
        EXPECT_INT(topics[0].count, 0);
        EXPECT_INT(topics[1].count, 0);
    }
}
