#include "proto/seat.h"

#include "base/err.h"
#include "tests/t/t.h"

static void sides_init(struct seat_side *sides, size_t count)
{
    for (size_t i = 0; i < count; i++)
        seat_side_init(&sides[i]);
}

static void leave_all(struct seat_side *conn)
{
    struct seat_iter it = seats_of_conn(conn);
    struct seat *s;

    while ((s = seat_next_of_conn(&it)))
        seat_free(s);
}

TEST(a_seat_is_on_both_sides_and_leaves_both)
{
    struct seat_side topic, conn;
    struct seat_iter it;
    struct seat *s, *again;

    seat_side_init(&topic);
    seat_side_init(&conn);
    EXPECT_OK(seat_add(&s, &topic, &conn));
    EXPECT(seat_find(&topic, &conn) == s);
    EXPECT_ERR(seat_add(&again, &topic, &conn), ERR_EXISTS);
    EXPECT(again == s);
    it = seats_of_topic(&topic);
    EXPECT(seat_next_of_topic(&it) == s);
    EXPECT(seat_next_of_topic(&it) == NULL);
    seat_free(s);
    EXPECT_INT(topic.count, 0);
    EXPECT_INT(conn.count, 0);
    EXPECT(seat_find(&topic, &conn) == NULL);
    seat_free(NULL);
    seat_side_fini(&topic);
    seat_side_fini(&conn);
}

TEST(any_seat_just_returned_may_be_freed_while_walking)
{
    enum { IDS = 100 };
    struct seat_side topics[IDS], conn;
    struct seat *s;

    sides_init(topics, IDS);
    seat_side_init(&conn);
    for (size_t i = 0; i < IDS; i++)
        EXPECT_OK(seat_add(&s, &topics[i], &conn));
    EXPECT_INT(conn.count, IDS);
    leave_all(&conn);
    EXPECT_INT(conn.count, 0);
    for (size_t i = 0; i < IDS; i++)
        EXPECT_INT(topics[i].count, 0);
}

/* A full bipartite graph, larger than what is walked, with seats added and
 * removed at random and checked against a matrix. */
TEST(two_long_sides_find_their_pair)
{
    enum { TOPICS = 90, CONNS = 110 };
    static struct seat_side topics[TOPICS], conns[CONNS];
    static struct seat *there[TOPICS][CONNS];

    sides_init(topics, TOPICS);
    sides_init(conns, CONNS);
    for (unsigned step = 0; step < 300000; step++) {
        size_t t = test_random() % TOPICS, c = test_random() % CONNS;
        bool grow = step / 50000 % 2 == 0;
        struct seat *s;

        EXPECT(seat_find(&topics[t], &conns[c]) == there[t][c]);
        if (there[t][c] && (!grow || test_random() % 8 == 0)) {
            seat_free(there[t][c]);
            there[t][c] = NULL;
        } else if (!there[t][c] && (grow || test_random() % 8 == 0)) {
            EXPECT_OK(seat_add(&s, &topics[t], &conns[c]));
            there[t][c] = s;
        }
    }
    for (size_t c = 0; c < CONNS; c++) {
        leave_all(&conns[c]);
        seat_side_fini(&conns[c]);
    }
    for (size_t t = 0; t < TOPICS; t++) {
        EXPECT_INT(topics[t].count, 0);
        seat_side_fini(&topics[t]);
    }
}

TEST(ten_thousand_ids_and_a_hundred_thousand_connections_meet_quickly)
{
    enum { IDS = 10000, CONNS = 100000 };
    struct seat_side *topics = calloc(IDS, sizeof *topics);
    struct seat_side *conns = calloc(CONNS, sizeof *conns);
    struct seat *s;

    sides_init(topics, IDS);
    sides_init(conns, CONNS);
    for (size_t i = 0; i < IDS; i++)
        EXPECT_OK(seat_add(&s, &topics[i], &conns[0]));
    for (size_t i = 1; i < CONNS; i++)
        EXPECT_OK(seat_add(&s, &topics[0], &conns[i]));
    /* A walk of either list each time would be 10^8 steps and more. */
    for (size_t i = 0; i < 10000; i++) {
        EXPECT(seat_find(&topics[0], &conns[0]) != NULL);
        seat_free(seat_find(&topics[0], &conns[0]));
        EXPECT_OK(seat_add(&s, &topics[0], &conns[0]));
    }
    for (size_t i = 0; i < CONNS; i++)
        leave_all(&conns[i]);
    for (size_t i = 0; i < IDS; i++)
        seat_side_fini(&topics[i]);
    for (size_t i = 0; i < CONNS; i++)
        seat_side_fini(&conns[i]);
    free(topics);
    free(conns);
}

TEST(without_memory_for_an_index_the_pair_is_still_found)
{
    enum { MANY = 64 };
    struct seat_side topics[MANY], conns[MANY];
    struct seat *s;

    sides_init(topics, MANY);
    sides_init(conns, MANY);
    for (size_t i = 1; i < MANY; i++) {
        EXPECT_OK(seat_add(&s, &topics[0], &conns[i]));
        EXPECT_OK(seat_add(&s, &topics[i], &conns[0]));
    }
    test_fail_malloc_after(0);
    EXPECT(seat_find(&topics[0], &conns[0]) == NULL);
    EXPECT(test_malloc_failed());
    test_fail_malloc_after(1); /* the index comes, the seat does not */
    EXPECT_ERR(seat_add(&s, &topics[0], &conns[0]), ERR_NOMEM);
    EXPECT(test_malloc_failed());
    EXPECT_INT(topics[0].count, MANY - 1);
    EXPECT_OK(seat_add(&s, &topics[0], &conns[0]));
    EXPECT(seat_find(&topics[0], &conns[0]) == s);
    for (size_t i = 0; i < MANY; i++)
        leave_all(&conns[i]);
    for (size_t i = 0; i < MANY; i++) {
        seat_side_fini(&topics[i]);
        seat_side_fini(&conns[i]);
    }
}
