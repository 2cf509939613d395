#include "proto/siblings.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/t/t.h"

enum { ROOM = 80, FEW = 10, MANY = 21 };

/* Processes are played by views of one table. */
struct kind {
    struct siblings *supervisor, *of[3];
};

static void join(struct kind *k, unsigned i)
{
    CHECK(siblings_join(&k->of[i], dup(siblings_table(k->supervisor)),
                        dup(siblings_bell(k->supervisor)), i) == 0);
    siblings_listening(k->of[i]);
}

static struct kind kind_of(unsigned count)
{
    struct kind k = {.supervisor = NULL};

    CHECK(siblings_new(&k.supervisor, count) == 0);
    for (unsigned i = 0; i < count; i++)
        join(&k, i);
    return k;
}

static void kind_fini(struct kind *k)
{
    for (unsigned i = 0; i < ARRAY_LEN(k->of); i++)
        siblings_free(k->of[i]);
    siblings_free(k->supervisor);
}

static bool listens(struct kind *k, unsigned i, uint32_t places)
{
    bool yes = siblings_judge(k->of[i], places, ROOM);

    if (yes)
        siblings_listening(k->of[i]);
    return yes;
}

TEST(nobody_leaves_to_one_that_does_not_listen_yet)
{
    struct kind k = kind_of(2);

    EXPECT(!listens(&k, 0, 0));
    EXPECT(siblings_judge(k.of[0], ROOM, ROOM)); /* it is about to */
    EXPECT(listens(&k, 1, 0));
    siblings_listening(k.of[0]);
    EXPECT(!listens(&k, 1, 0));
    kind_fini(&k);
}

TEST(who_has_few_places_leaves_to_who_has_many)
{
    struct kind k = kind_of(2);

    EXPECT(listens(&k, 0, ROOM) && listens(&k, 1, ROOM));
    EXPECT(listens(&k, 0, FEW + 1));
    EXPECT(!listens(&k, 0, FEW));
    EXPECT(listens(&k, 1, FEW + 1));
    kind_fini(&k);
}

TEST(who_left_comes_back_with_many_places_not_with_the_first)
{
    struct kind k = kind_of(2);

    EXPECT(!listens(&k, 0, 0));
    EXPECT(!listens(&k, 0, 1));
    EXPECT(!listens(&k, 0, MANY - 1));
    EXPECT(listens(&k, 0, MANY));
    EXPECT(listens(&k, 0, FEW + 1));
    kind_fini(&k);
}

TEST(when_nobody_has_many_every_place_is_used)
{
    struct kind k = kind_of(2);

    EXPECT(!listens(&k, 0, FEW));
    EXPECT(listens(&k, 1, FEW));
    EXPECT(listens(&k, 0, FEW));
    EXPECT(!listens(&k, 1, 0));
    EXPECT(listens(&k, 0, 1));
    kind_fini(&k);
}

TEST(the_last_one_stays_when_nobody_has_a_place)
{
    struct kind k = kind_of(3);

    EXPECT(!listens(&k, 0, 0) && !listens(&k, 1, 0));
    EXPECT(listens(&k, 2, 0));
    EXPECT(!listens(&k, 0, 0));
    EXPECT(listens(&k, 1, 1)); /* it takes the port over */
    EXPECT(!listens(&k, 2, 0));
    EXPECT(listens(&k, 1, 0));
    kind_fini(&k);
}

TEST(who_dies_is_not_counted_on_and_comes_back_with_room)
{
    struct kind k = kind_of(2);

    EXPECT(!listens(&k, 0, 0));
    siblings_free(k.of[1]);
    k.of[1] = NULL;
    EXPECT(!listens(&k, 0, 0)); /* nobody knows yet */
    siblings_gone(k.supervisor, 1);
    EXPECT(listens(&k, 0, 0));
    join(&k, 1);
    EXPECT(!listens(&k, 0, 0));
    EXPECT(siblings_easy(k.of[1]));
    kind_fini(&k);
}

TEST(without_a_supervisor_the_dead_count_for_nothing)
{
    struct kind k = kind_of(2);
    pid_t pid = fork();

    if (pid == 0) {
        join(&k, 1);
        _exit(0);
    }
    CHECK(waitpid(pid, NULL, 0) == pid);
    EXPECT(listens(&k, 0, 0));
    kind_fini(&k);
}

TEST(who_withdraws_never_listens_again)
{
    struct kind k = kind_of(2);

    EXPECT(!listens(&k, 0, 0));
    siblings_withdraw(k.of[1]);
    EXPECT(!listens(&k, 1, ROOM));
    EXPECT(listens(&k, 0, 0));
    kind_fini(&k);
}

TEST(less_room_is_a_reason_to_judge_and_more_is_not)
{
    struct kind k = kind_of(1);

    EXPECT(!siblings_due(k.of[0], FEW + 1, ROOM));
    EXPECT(siblings_due(k.of[0], FEW, ROOM));
    EXPECT(listens(&k, 0, FEW));
    EXPECT(!siblings_due(k.of[0], FEW, ROOM));
    EXPECT(!siblings_due(k.of[0], MANY, ROOM));
    EXPECT(siblings_due(k.of[0], 0, ROOM));
    EXPECT(!siblings_easy(k.of[0]));
    kind_fini(&k);
}

TEST(the_smallest_room_has_no_few)
{
    struct kind k = kind_of(2);

    EXPECT(siblings_judge(k.of[0], 1, 1));
    EXPECT(siblings_easy(k.of[0]));
    EXPECT(!siblings_judge(k.of[0], 0, 1));
    EXPECT(siblings_judge(k.of[0], 1, 1));
    kind_fini(&k);
}

TEST(a_change_rings_and_nothing_else_does)
{
    struct kind k = kind_of(2);
    uint64_t rung = 0;

    CHECK(read(siblings_bell(k.supervisor), &rung, sizeof rung) > 0);
    EXPECT(listens(&k, 0, ROOM));
    EXPECT(read(siblings_bell(k.supervisor), &rung, sizeof rung) < 0);
    EXPECT(!listens(&k, 0, 0));
    EXPECT(read(siblings_bell(k.supervisor), &rung, sizeof rung) > 0);
    kind_fini(&k);
}

TEST(a_file_that_is_no_table_is_refused)
{
    struct siblings *supervisor, *s = NULL;

    CHECK(siblings_new(&supervisor, 2) == 0);
    EXPECT_INT(siblings_join(&s, dup(siblings_table(supervisor)),
                             dup(siblings_bell(supervisor)), 2), ERR_BAD);
    EXPECT_INT(siblings_join(&s, dup(siblings_bell(supervisor)),
                             dup(siblings_bell(supervisor)), 0), ERR_BAD);
    EXPECT(s == NULL);
    siblings_free(supervisor);
}

struct player {
    struct kind *kind;
    unsigned i;
    pthread_barrier_t *together;
    unsigned *listening; /* of this round */
};

enum { ROUNDS = 2000 };

static void *play(void *ctx)
{
    struct player *p = ctx;

    for (unsigned n = 0; n < ROUNDS; n++) {
        (void)listens(p->kind, p->i, ROOM);
        pthread_barrier_wait(p->together);
        p->listening[n] = listens(p->kind, p->i, p->i == n % 2 ? 0 : 1);
        pthread_barrier_wait(p->together);
    }
    return NULL;
}

TEST(who_leave_at_the_same_time_do_not_leave_nobody)
{
    static unsigned listening[2][ROUNDS];
    struct kind k = kind_of(2);
    pthread_barrier_t together;
    pthread_t threads[2];
    struct player players[2];

    CHECK(pthread_barrier_init(&together, NULL, 2) == 0);
    for (unsigned i = 0; i < 2; i++) {
        players[i] = (struct player){&k, i, &together, listening[i]};
        CHECK(pthread_create(&threads[i], NULL, play, &players[i]) == 0);
    }
    for (unsigned i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (unsigned n = 0; n < ROUNDS; n++)
        EXPECT(listening[0][n] || listening[1][n]);
    pthread_barrier_destroy(&together);
    kind_fini(&k);
}
