#include "gateways/common/wheel.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/t/t.h"

enum { TIMERS = 500 };

struct fixture {
    struct loop *loop;
    struct wheel wheel;
    struct wheel_timer timers[TIMERS];
    int64_t fired_ms[TIMERS];
    unsigned fired;
    int64_t now_ms;
    unsigned again; /* a timer that sets itself anew so many times */
};

static void due(void *ctx, struct wheel_timer *t)
{
    struct fixture *f = ctx;

    f->fired_ms[t - f->timers] = f->now_ms;
    f->fired++;
    if (f->again && t == &f->timers[0]) {
        f->again--;
        wheel_set(&f->wheel, t, wheel_in(&f->wheel, 1000));
    }
}

static void pass(struct fixture *f, int64_t ms)
{
    for (int64_t i = 0; i < ms; i += 50) {
        clock_fake_advance(50 * MILLISECOND);
        f->now_ms += 50;
        EXPECT_INT(loop_step(f->loop, 0), 0);
    }
}

static struct fixture *setup(void)
{
    struct fixture *f = calloc(1, sizeof *f);

    clock_fake(1000 * SECOND, 0);
    CHECK(f && loop_new(&f->loop) == 0);
    wheel_init(&f->wheel, f->loop, due, f);
    for (unsigned i = 0; i < TIMERS; i++)
        wheel_timer_init(&f->timers[i], i);
    return f;
}

static void teardown(struct fixture *f)
{
    wheel_fini(&f->wheel);
    loop_free(f->loop);
    free(f);
}

TEST(a_timer_is_never_early_and_at_most_two_steps_late)
{
    struct fixture *f = setup();
    uint32_t wait[TIMERS];

    for (unsigned i = 0; i < TIMERS; i++) {
        wait[i] = (i * 7919) % 250000; /* also beyond a turn of the wheel */
        wheel_set(&f->wheel, &f->timers[i], wheel_in(&f->wheel, wait[i]));
    }
    pass(f, 251000);
    EXPECT_INT(f->fired, TIMERS);
    for (unsigned i = 0; i < TIMERS; i++) {
        EXPECT(f->fired_ms[i] >= wait[i]);
        EXPECT(f->fired_ms[i] <= wait[i] + 2 * WHEEL_STEP_MS);
    }
    teardown(f);
}

TEST(a_stopped_timer_does_not_fire_and_an_empty_wheel_has_no_timer)
{
    struct fixture *f = setup();

    wheel_set(&f->wheel, &f->timers[1], wheel_in(&f->wheel, 500));
    wheel_stop(&f->wheel, &f->timers[1]);
    wheel_stop(&f->wheel, &f->timers[1]);
    pass(f, 1000);
    EXPECT_INT(f->fired, 0);
    EXPECT_INT(f->wheel.armed, 0);
    EXPECT(!f->wheel.timer.pending);
    teardown(f);
}

TEST(a_timer_may_be_set_again_when_it_fires)
{
    struct fixture *f = setup();

    f->again = 4;
    wheel_set(&f->wheel, &f->timers[0], wheel_in(&f->wheel, 1000));
    pass(f, 10000);
    EXPECT_INT(f->fired, 5);
    EXPECT(f->fired_ms[0] >= 5000 && f->fired_ms[0] <= 6000);
    teardown(f);
}

TEST(after_a_long_stop_everything_due_fires_once)
{
    struct fixture *f = setup();

    for (unsigned i = 0; i < 100; i++)
        wheel_set(&f->wheel, &f->timers[i],
                  wheel_in(&f->wheel, i * 3000));
    clock_fake_advance(3600 * SECOND);
    EXPECT_INT(loop_step(f->loop, 0), 0);
    EXPECT_INT(f->fired, 100);
    teardown(f);
}

TEST(nobody_is_woken_before_something_is_due)
{
    struct fixture *f = setup();
    int64_t begin = clock_ns();

    wheel_set(&f->wheel, &f->timers[0], wheel_in(&f->wheel, 20000));
    EXPECT(f->wheel.timer.due_ns >= begin + 20 * SECOND);
    wheel_set(&f->wheel, &f->timers[1], wheel_in(&f->wheel, 5000));
    EXPECT(f->wheel.timer.due_ns <= begin + 5200 * MILLISECOND);
    pass(f, 6000);
    EXPECT_INT(f->fired, 1);
    EXPECT(f->wheel.timer.due_ns >= begin + 20 * SECOND);
    wheel_set(&f->wheel, &f->timers[1], wheel_in(&f->wheel, 200000));
    wheel_stop(&f->wheel, &f->timers[0]);
    pass(f, 195000);
    EXPECT_INT(f->fired, 1);
    pass(f, 10000);
    EXPECT_INT(f->fired, 2);
    teardown(f);
}
