#include "base/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "tests/t/t.h"

/* What happened, a letter each. */
static char happened[64];
static struct loop *loop;

static void note(void *ctx)
{
    const char *letter = ctx;

    strncat(happened, letter, sizeof happened - strlen(happened) - 1);
}

static void start(void)
{
    clock_fake(1000 * SECOND, 0);
    EXPECT_OK(loop_new(&loop));
}

static void turn(void)
{
    EXPECT_OK(loop_step(loop, 0));
}

/* --- timers --- */

TEST(timers_fire_in_the_order_of_their_time)
{
    struct loop_timer a, b, c;

    start();
    loop_timer_init(&a, loop, note, "a");
    loop_timer_init(&b, loop, note, "b");
    loop_timer_init(&c, loop, note, "c");
    loop_timer_set(&a, 30 * SECOND);
    loop_timer_set(&b, 10 * SECOND);
    loop_timer_set(&c, 20 * SECOND);
    turn();
    EXPECT_STR(happened, "");
    clock_fake_advance(10 * SECOND - 1);
    turn();
    EXPECT_STR(happened, "");
    clock_fake_advance(1);
    turn();
    EXPECT_STR(happened, "b");
    EXPECT(!b.pending && a.pending);
    clock_fake_advance(20 * SECOND);
    turn();
    EXPECT_STR(happened, "bca");
    loop_free(loop);
}

TEST(a_timer_can_be_moved_and_stopped)
{
    struct loop_timer a, b;

    start();
    loop_timer_init(&a, loop, note, "a");
    loop_timer_init(&b, loop, note, "b");
    loop_timer_stop(&a);
    loop_timer_set(&a, 1 * SECOND);
    loop_timer_set(&a, 3 * SECOND);
    loop_timer_set(&b, 2 * SECOND);
    clock_fake_advance(2 * SECOND);
    turn();
    EXPECT_STR(happened, "b");
    loop_timer_stop(&a);
    clock_fake_advance(9 * SECOND);
    turn();
    EXPECT_STR(happened, "b");
    loop_timer_set(&a, INT64_MAX);
    turn();
    EXPECT_STR(happened, "b");
    loop_free(loop);
}

static void set_at_once(void *ctx)
{
    struct loop_timer *t = ctx;

    note("x");
    loop_timer_set(t, 0);
}

TEST(a_timer_that_sets_itself_to_at_once_waits_for_the_next_turn)
{
    struct loop_timer t;

    start();
    loop_timer_init(&t, loop, set_at_once, &t);
    loop_timer_set(&t, 0);
    turn();
    EXPECT_STR(happened, "x");
    turn();
    EXPECT_STR(happened, "xx");
    loop_timer_stop(&t);
    turn();
    EXPECT_STR(happened, "xx");
    loop_free(loop);
}

static void stop_other(void *ctx)
{
    note("s");
    loop_timer_stop(ctx);
}

TEST(a_timer_stopped_by_another_of_the_same_turn_does_not_fire)
{
    struct loop_timer a, b;

    start();
    loop_timer_init(&a, loop, stop_other, &b);
    loop_timer_init(&b, loop, note, "b");
    loop_timer_set(&a, 1);
    loop_timer_set(&b, 2);
    clock_fake_advance(5);
    turn();
    EXPECT_STR(happened, "s");
    loop_free(loop);
}

enum { MANY = 300 };
static struct model {
    struct loop_timer timer;
    int64_t due;
    bool pending;
} models[MANY];
static int64_t last_due;

static void on_model(void *ctx)
{
    struct model *m = ctx;

    EXPECT(m->pending);
    EXPECT(m->due <= clock_ns());
    EXPECT(m->due >= last_due);
    last_due = m->due;
    m->pending = false;
}

TEST(many_timers_set_moved_and_stopped_at_random_fire_when_due)
{
    start();
    for (int i = 0; i < MANY; i++)
        loop_timer_init(&models[i].timer, loop, on_model, &models[i]);
    for (int op = 0; op < 50000; op++) {
        struct model *m = &models[test_random() % MANY];

        if (test_random() % 4) {
            m->due = clock_ns() + (int64_t)(test_random() % 1000);
            m->pending = true;
            loop_timer_set_at(&m->timer, m->due);
        } else {
            m->pending = false;
            loop_timer_stop(&m->timer);
        }
        if (op % 50 == 0) {
            clock_fake_advance((int64_t)(test_random() % 300));
            last_due = 0;
            turn();
            for (int i = 0; i < MANY; i++)
                EXPECT(!models[i].pending || models[i].due > clock_ns());
        }
    }
    loop_free(loop);
}

TEST(waiting_ends_when_a_timer_is_due)
{
    struct loop_timer t;
    int64_t began = clock_ns();

    EXPECT_OK(loop_new(&loop));
    loop_timer_init(&t, loop, note, "t");
    loop_timer_set(&t, 20 * MILLISECOND);
    EXPECT_SOON(happened[0], EXPECT_OK(loop_step(loop, -1)));
    EXPECT(clock_ns() - began >= 20 * MILLISECOND);
    loop_free(loop);
}

/* --- watches, wakes, signals --- */

static void on_ready(void *ctx, unsigned ready)
{
    int *fd = ctx;
    char byte;

    if (ready & LOOP_READ && read(*fd, &byte, 1) == 1)
        note("r");
    if (ready & LOOP_WRITE)
        note("w");
}

TEST(a_watch_says_what_is_ready)
{
    struct loop_fd watch = { 0 };
    int pair[2];

    start();
    EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
    EXPECT_OK(loop_fd_start(&watch, loop, pair[0], LOOP_READ, on_ready, pair));
    turn();
    EXPECT_STR(happened, "");
    EXPECT_INT(write(pair[1], "x", 1), 1);
    turn();
    EXPECT_STR(happened, "r");
    loop_fd_stop(&watch);
    loop_fd_stop(&watch);
    EXPECT_OK(loop_fd_start(&watch, loop, pair[0], LOOP_READ | LOOP_WRITE,
                            on_ready, pair));
    turn();
    EXPECT_STR(happened, "rw");
    loop_fd_stop(&watch);
    loop_free(loop);
}

enum { POSTS = 20000 };
static struct loop_wake wake;
static atomic_int posted, seen_at_least;

static void on_wake_up(void *ctx)
{
    UNUSED(ctx);
    seen_at_least = posted;
    note("!");
}

static void *post_many(void *ctx)
{
    UNUSED(ctx);
    for (int i = 0; i < POSTS; i++) {
        posted++;
        loop_wake_post(&wake);
    }
    return NULL;
}

TEST(no_post_from_another_thread_is_lost)
{
    pthread_t thread;

    EXPECT_OK(loop_new(&loop));
    EXPECT_OK(loop_wake_start(&wake, loop, on_wake_up, NULL));
    EXPECT_OK(pthread_create(&thread, NULL, post_many, NULL));
    EXPECT_SOON(seen_at_least == POSTS,
                EXPECT_OK(loop_step(loop, 100 * MILLISECOND)));
    pthread_join(thread, NULL);
    loop_wake_stop(&wake);
    loop_wake_stop(&wake);
    loop_free(loop);
}

TEST(posts_before_the_callback_are_one)
{
    start();
    EXPECT_OK(loop_wake_start(&wake, loop, note, "p"));
    loop_wake_post(&wake);
    loop_wake_post(&wake);
    turn();
    turn();
    EXPECT_STR(happened, "p");
    loop_wake_post(&wake);
    turn();
    EXPECT_STR(happened, "pp");
    loop_wake_stop(&wake);
    loop_free(loop);
}

static void post_once_more(void *ctx)
{
    UNUSED(ctx);
    note("p");
    if (strlen(happened) < 2)
        loop_wake_post(&wake);
}

TEST(a_post_that_comes_while_the_callback_runs_is_a_new_one)
{
    start();
    EXPECT_OK(loop_wake_start(&wake, loop, post_once_more, NULL));
    loop_wake_post(&wake);
    turn();
    turn();
    EXPECT_STR(happened, "pp");
    loop_wake_stop(&wake);
    loop_free(loop);
}

static void stop_loop(void *ctx)
{
    loop_stop(ctx);
}

TEST(a_signal_is_handled_in_the_loop_and_can_stop_it)
{
    struct loop_signal sig = { 0 };

    EXPECT_OK(loop_new(&loop));
    EXPECT_OK(loop_signal_start(&sig, loop, SIGTERM, stop_loop, loop));
    raise(SIGTERM);
    EXPECT_OK(loop_run(loop));
    loop_signal_stop(&sig);
    loop_signal_stop(&sig);
    loop_free(loop);
}

TEST(a_signal_that_is_held_waits_for_its_callback)
{
    struct loop_signal sig = { 0 };

    EXPECT_OK(loop_new(&loop));
    loop_signal_hold(SIGHUP);
    EXPECT_INT(raise(SIGHUP), 0);
    EXPECT_OK(loop_signal_start(&sig, loop, SIGHUP, stop_loop, loop));
    EXPECT_OK(loop_run(loop));
    EXPECT_INT(raise(SIGHUP), 0); /* and is held no more */
    EXPECT_OK(loop_run(loop));
    loop_signal_stop(&sig);
    loop_free(loop);
}

/* --- the end of a turn --- */

static void write_byte(void *ctx)
{
    int *pair = ctx;

    note("h");
    EXPECT_INT(write(pair[1], "x", 1), 1);
}

TEST(hooks_run_after_the_events_in_the_order_they_were_added)
{
    struct loop_turn first = { 0 }, second = { 0 };
    struct loop_timer timer;

    start();
    loop_timer_init(&timer, loop, note, "t");
    loop_turn_start(&first, loop, note, "1");
    loop_turn_start(&second, loop, note, "2");
    loop_timer_set(&timer, 0);
    turn();
    EXPECT_STR(happened, "t12");
    loop_turn_stop(&first);
    loop_turn_stop(&first);
    turn();
    EXPECT_STR(happened, "t122");
    loop_turn_stop(&second);
    loop_free(loop);
}

static struct loop_turn victims[3];

static void stop_all_turns(void *ctx)
{
    UNUSED(ctx);
    note("k");
    for (int i = 0; i < 3; i++)
        loop_turn_stop(&victims[i]);
}

TEST(a_hook_may_take_out_itself_and_others)
{
    start();
    loop_turn_start(&victims[0], loop, note, "a");
    loop_turn_start(&victims[1], loop, stop_all_turns, NULL);
    loop_turn_start(&victims[2], loop, note, "b");
    turn();
    turn();
    EXPECT_STR(happened, "ak");
    loop_free(loop);
}

static struct loop_turn newcomer;

static void start_newcomer(void *ctx)
{
    UNUSED(ctx);
    note("s");
    if (!newcomer.loop)
        loop_turn_start(&newcomer, loop, note, "n");
}

TEST(a_hook_started_by_another_runs_in_the_same_turn)
{
    struct loop_turn hook = { 0 };

    start();
    loop_turn_start(&hook, loop, start_newcomer, NULL);
    turn();
    EXPECT_STR(happened, "sn");
    loop_turn_stop(&hook);
    loop_turn_stop(&newcomer);
    loop_free(loop);
}

static void again_twice(void *ctx)
{
    int *left = ctx;

    if (--*left)
        loop_again(loop);
    else
        loop_stop(loop);
}

TEST(a_hook_can_ask_for_another_turn_at_once)
{
    struct loop_turn hook = { 0 };
    int left = 3;

    EXPECT_OK(loop_new(&loop));
    loop_again(loop);
    loop_turn_start(&hook, loop, again_twice, &left);
    EXPECT_OK(loop_run(loop)); /* would wait for ever otherwise */
    EXPECT_INT(left, 0);
    loop_turn_stop(&hook);
    loop_free(loop);
}

/* --- pollsets --- */

static struct pollset *set;
static uint64_t told[2000];
static unsigned told_count;

static void on_socket(void *ctx, uint64_t data, uint32_t events)
{
    UNUSED(ctx);
    EXPECT(events & POLLSET_IN);
    EXPECT(data < ARRAY_LEN(told));
    told[data]++;
    told_count++;
}

TEST(a_pollset_tells_each_of_many_sockets_once_per_change)
{
    enum { SOCKETS = 700 }; /* more than fit into one wait */
    static int pairs[SOCKETS][2];

    start();
    EXPECT_OK(pollset_new(&set, loop, on_socket, NULL));
    for (unsigned i = 0; i < SOCKETS; i++) {
        EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]));
        EXPECT_OK(pollset_add(set, pairs[i][0], POLLSET_IN | POLLSET_EDGE, i));
        EXPECT_INT(write(pairs[i][1], "x", 1), 1);
    }
    turn();
    EXPECT_INT(told_count, 512);
    turn();
    EXPECT_INT(told_count, SOCKETS);
    turn();
    EXPECT_INT(told_count, SOCKETS);
    for (unsigned i = 0; i < SOCKETS; i++)
        EXPECT_INT(told[i], 1);
    EXPECT_INT(write(pairs[3][1], "y", 1), 1);
    turn();
    EXPECT_INT(told[3], 2);
    pollset_free(set);
    loop_free(loop);
}

TEST(a_socket_taken_out_of_a_pollset_is_quiet)
{
    int pair[2];

    start();
    EXPECT_OK(pollset_new(&set, loop, on_socket, NULL));
    EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    EXPECT_OK(pollset_add(set, pair[0], POLLSET_IN, 7));
    EXPECT_ERR(pollset_add(set, pair[0], POLLSET_IN, 7), ERR_EXISTS);
    EXPECT_OK(pollset_change(set, pair[0], POLLSET_IN, 8));
    EXPECT_INT(write(pair[1], "x", 1), 1);
    turn();
    EXPECT_INT(told[7], 0);
    EXPECT_INT(told[8], 1);
    pollset_remove(set, pair[0]);
    pollset_remove(set, pair[0]);
    turn();
    EXPECT_INT(told[8], 1);
    EXPECT_ERR(pollset_change(set, pair[0], POLLSET_IN, 8), ERR_NOT_FOUND);
    pollset_free(set);
    loop_free(loop);
}

static void free_set(void *ctx, uint64_t data, uint32_t events)
{
    UNUSED(ctx), UNUSED(data), UNUSED(events);
    told_count++;
    pollset_free(set);
}

TEST(a_pollset_may_be_freed_by_its_callback)
{
    int pairs[2][2];

    start();
    EXPECT_OK(pollset_new(&set, loop, free_set, NULL));
    for (int i = 0; i < 2; i++) {
        EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]));
        EXPECT_OK(pollset_add(set, pairs[i][0], POLLSET_IN, 0));
        EXPECT_INT(write(pairs[i][1], "x", 1), 1);
    }
    turn();
    turn();
    EXPECT_INT(told_count, 1);
    loop_free(loop);
}

TEST(what_a_hook_writes_is_read_in_the_next_turn)
{
    struct loop_turn hook = { 0 };
    struct loop_fd watch = { 0 };
    int pair[2];

    start();
    EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
    EXPECT_OK(loop_fd_start(&watch, loop, pair[0], LOOP_READ, on_ready, pair));
    loop_turn_start(&hook, loop, write_byte, pair);
    turn();
    turn();
    EXPECT_STR(happened, "hrh");
    loop_turn_stop(&hook);
    loop_fd_stop(&watch);
    loop_free(loop);
}

TEST(without_memory_nothing_is_half_made)
{
    struct loop *l;
    long n = 0;

    for (;; n++) {
        int rc;

        test_fail_malloc_after(n);
        rc = loop_new(&l);
        if (rc == 0)
            rc = pollset_new(&set, l, on_socket, NULL);
        else
            l = NULL;
        if (test_malloc_failed())
            EXPECT_ERR(rc, ERR_NOMEM);
        else
            break;
        loop_free(l);
    }
    EXPECT(n >= 2);
    pollset_free(set);
    loop_free(l);
}

/* --- turns that take long --- */

static struct loop_slow slow;
static int slow_turns;

static void on_slow(void *ctx, const struct loop_slow *s)
{
    UNUSED(ctx);
    slow = *s;
    slow_turns++;
}

static void idle(void *ctx)
{
    const int64_t *ns = ctx;

    clock_fake_advance(*ns);
}

static void dawdle(void *ctx)
{
    idle(ctx);
}

static void in_parts(void *ctx)
{
    UNUSED(ctx);
    clock_fake_advance(30 * MILLISECOND);
    loop_mark(loop, "first part");
    clock_fake_advance(40 * MILLISECOND);
    loop_mark(loop, "second part");
}

static void wake_dawdle(void *ctx, unsigned ready)
{
    UNUSED(ready);
    idle(ctx);
}

TEST(a_turn_that_takes_long_is_told_with_what_took_longest)
{
    static int64_t little = 20 * MILLISECOND, much = 45 * MILLISECOND;
    struct loop_turn a = { .fn = NULL }, b = { .fn = NULL };

    start();
    loop_tell_slow(loop, 50 * MILLISECOND, on_slow, NULL);
    loop_turn_start(&a, loop, idle, &little);
    turn();
    EXPECT_INT(slow_turns, 0);
    loop_turn_start(&b, loop, dawdle, &much);
    turn();
    EXPECT_INT(slow_turns, 1);
    EXPECT_INT(slow.took_ns, 65 * MILLISECOND);
    EXPECT_INT(slow.longest_ns, 45 * MILLISECOND);
    EXPECT_STR(slow.where, "tests/proto/loop_test.c:dawdle");
    loop_turn_stop(&b);
    turn();
    EXPECT_INT(slow_turns, 1);
    loop_turn_stop(&a);
    loop_turn_start(&a, loop, in_parts, NULL);
    turn();
    EXPECT_INT(slow_turns, 2);
    EXPECT_STR(slow.where, "second part");
    loop_turn_stop(&a);
    loop_free(loop);
}

TEST(the_time_of_a_turn_is_that_of_its_watches_and_timers_but_not_the_waiting)
{
    static int64_t much = 60 * MILLISECOND;
    struct loop_fd watch = { 0 };
    struct loop_timer t;
    int pair[2];

    start();
    loop_tell_slow(loop, 50 * MILLISECOND, on_slow, NULL);
    EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
    EXPECT_OK(loop_fd_start(&watch, loop, pair[0], LOOP_READ, wake_dawdle,
                            &much));
    clock_fake_advance(10 * SECOND);
    turn();
    EXPECT_INT(slow_turns, 0);
    EXPECT_INT(write(pair[1], "x", 1), 1);
    turn();
    EXPECT_INT(slow_turns, 1);
    EXPECT_STR(slow.where, "tests/proto/loop_test.c:wake_dawdle");
    loop_fd_stop(&watch);
    loop_timer_init(&t, loop, idle, &much);
    loop_timer_set(&t, 0);
    turn();
    EXPECT_INT(slow_turns, 2);
    EXPECT_STR(slow.where, "tests/proto/loop_test.c:idle");
    loop_free(loop);
}
