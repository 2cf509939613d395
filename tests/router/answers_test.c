#include "router/answers.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "tests/t/t.h"

enum { MANY = 2000 };

static struct answer named(uint64_t number, int64_t at_ns)
{
    return (struct answer){.number = number, .seq = number * 10,
                           .at_ns = at_ns};
}

static void note(struct answers *a, struct answer_room *room, uint64_t number,
                 int64_t at_ns)
{
    struct answer answer = named(number, at_ns);

    answers_note(a, room, &answer, SLICE(""), SLICE(""));
}

TEST(for_whom_room_is_held_no_memory_is_needed_any_more)
{
    static struct answer_room rooms[MANY];
    struct answers a;

    answers_init(&a, SECOND);
    for (unsigned i = 0; i < MANY; i++)
        EXPECT_OK(answers_reserve(&a, 1, 0, &rooms[i]));
    test_fail_malloc_after(0);
    for (unsigned i = 0; i < MANY; i++)
        note(&a, &rooms[i], i, 0);
    for (unsigned i = 0; i < MANY; i++)
        EXPECT_INT(answers_find(&a, 1, i)->seq, i * 10);
    /* All but the room for more goes without any, too. */
    answers_expire(&a, 2 * SECOND);
    EXPECT_INT(a.count, 0);
    EXPECT(a.room <= 1024);
    test_fail_malloc_after(-1);
    answers_fini(&a);
}

TEST(the_answer_to_an_act_has_its_id_and_body)
{
    struct answers a;
    struct answer_room room;
    struct answer answer = named(7, 0);
    const struct answer *found;

    answers_init(&a, SECOND);
    EXPECT_OK(answers_reserve(&a, 1, 6, &room));
    test_fail_malloc_after(0);
    answers_note(&a, &room, &answer, SLICE("ab"), SLICE("body"));
    EXPECT(!room.life);
    found = answers_find(&a, 1, 7);
    EXPECT_SLICE(answer_id(found), SLICE("ab"));
    EXPECT_SLICE(answer_body(found), SLICE("body"));
    test_fail_malloc_after(-1);
    answers_fini(&a);
}

TEST(room_without_memory_is_refused_and_leaves_nothing)
{
    struct answer_room room = {NULL, NULL};
    struct answers a;
    bool done = false;

    for (long n = 0; !done; n++) {
        int rc;

        answers_init(&a, SECOND);
        test_fail_malloc_after(n);
        rc = answers_reserve(&a, 1, 10, &room);
        done = !test_malloc_failed();
        EXPECT_ERR(rc, done ? 0 : ERR_NOMEM);
        EXPECT_INT(a.reserved, done);
        if (done)
            answers_release(&a, &room);
        EXPECT_INT(a.reserved, 0);
        answers_release(&a, &room); /* once is enough */
        answers_fini(&a);
    }
}

/* Room that is taken, given back and used in any order, while answers expire. */
TEST(room_adds_up_whatever_becomes_of_it)
{
    static struct answer_room rooms[MANY];
    struct answers a;
    uint64_t number = 0, life = 0;
    int64_t now = 0;

    answers_init(&a, SECOND);
    for (unsigned i = 0; i < 200 * 1000; i++) {
        struct answer_room *r = &rooms[test_random() % MANY];

        if (!r->life)
            EXPECT_OK(answers_reserve(&a, test_random() % 4,
                                      test_random() % 3, r));
        else if (test_random() % 3 == 0)
            answers_release(&a, r);
        else {
            life = r->life->life;
            note(&a, r, ++number, now);
        }
        now += (int64_t)(test_random() % (2 * MILLISECOND));
        answers_expire(&a, now);
        EXPECT(a.reserved <= a.room);
    }
    EXPECT(answers_find(&a, life, number));
    for (unsigned i = 0; i < MANY; i++)
        answers_release(&a, &rooms[i]);
    EXPECT_INT(a.reserved, 0);
    answers_expire(&a, now + 2 * SECOND);
    EXPECT_INT(a.count, 0);
    EXPECT(a.room <= 1024);
    answers_fini(&a);
}

/* ---- what is not known any more ------------------------------------------ */

static void take(struct answers *a, uint64_t life, uint64_t number,
                 int64_t at_ns)
{
    struct answer_room room;

    EXPECT_OK(answers_reserve(a, life, 0, &room));
    note(a, &room, number, at_ns);
}

TEST(what_is_forgotten_is_not_taken_for_new)
{
    struct answers a;

    answers_init(&a, SECOND);
    take(&a, 1, 5, 0);
    take(&a, 1, 3, 0); /* a commit came later */
    take(&a, 1, 9, SECOND);
    take(&a, 2, 4, SECOND);
    EXPECT(!answers_forgot(&a, 1, 5));
    answers_expire(&a, SECOND + 1);
    EXPECT(!answers_find(&a, 1, 5));
    EXPECT(answers_forgot(&a, 1, 3));
    EXPECT(answers_forgot(&a, 1, 5));
    EXPECT(!answers_forgot(&a, 1, 6));
    EXPECT(!answers_forgot(&a, 2, 3));
    answers_expire(&a, 3 * SECOND);
    EXPECT(answers_forgot(&a, 1, 9));
    EXPECT(!answers_forgot(&a, 1, 10));
    EXPECT(answers_forgot(&a, 2, 4));
    EXPECT(!answers_forgot(&a, 3, 1));
    answers_fini(&a);
}

TEST(of_a_restored_life_what_is_older_counts_as_forgotten)
{
    struct answers a;

    answers_init(&a, SECOND);
    for (uint64_t number = 20; number > 9; number -= 2)
        take(&a, 1, number, 0);
    take(&a, 2, 100, 0);
    answers_restored(&a);
    EXPECT(answers_forgot(&a, 1, 9));
    EXPECT(!answers_forgot(&a, 1, 11));
    EXPECT(answers_forgot(&a, 2, 20));
    EXPECT(!answers_forgot(&a, 3, 1));
    answers_fini(&a);
}

TEST(lives_that_are_quiet_for_longest_make_way)
{
    enum { LIVES = 2 * ANSWER_LIVES_MAX };
    struct answers a;

    answers_init(&a, SECOND);
    take(&a, LIVES, 1, 10 * SECOND); /* remembered all the while */
    for (uint64_t life = 0; life < LIVES; life++)
        take(&a, life, 1, 0);
    EXPECT_INT(map_count(&a.lives), LIVES + 1);
    answers_keep(&a, 20 * SECOND);
    answers_expire(&a, 21 * SECOND);
    EXPECT_INT(a.count, LIVES + 1); /* the first of them is in front */
    answers_expire(&a, 31 * SECOND);
    EXPECT_INT(a.count, 0);
    EXPECT_INT(map_count(&a.lives), ANSWER_LIVES_MAX);
    EXPECT(!answers_forgot(&a, 0, 1));
    EXPECT(answers_forgot(&a, LIVES - 1, 1));
    answers_fini(&a);
}
