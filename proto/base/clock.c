#include "base/clock.h"

#include <stdbool.h>
#include <time.h>

#include "base/base.h"

static struct {
    bool on;
    int64_t ns;
    int64_t wall_ns; /* finer than shown, so that small advances add up */
} fake;

static int64_t read_clock(clockid_t which)
{
    struct timespec t;

    clock_gettime(which, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

int64_t clock_ns(void)
{
    return fake.on ? fake.ns : read_clock(CLOCK_MONOTONIC);
}

int64_t clock_coarse_ns(void)
{
    return fake.on ? fake.ns : read_clock(CLOCK_MONOTONIC_COARSE);
}

int64_t clock_wall_ms(void)
{
    return (fake.on ? fake.wall_ns : read_clock(CLOCK_REALTIME)) / MILLISECOND;
}

void clock_fake(int64_t ns, int64_t wall_ms)
{
    fake.on = true;
    fake.ns = ns;
    fake.wall_ns = wall_ms * MILLISECOND;
}

void clock_fake_advance(int64_t ns)
{
    fake.ns += ns;
    fake.wall_ns += ns;
}

void clock_real(void)
{
    fake.on = false;
}

/* ---- toll ---------------------------------------------------------------- */

void toll_init(struct toll *t, int64_t now_ns, int part, int64_t most_ns)
{
    *t = (struct toll){ most_ns, now_ns, most_ns, part };
}

int64_t toll_wait(struct toll *t, int64_t now_ns)
{
    int64_t earned = MAX(now_ns - t->at_ns, 0) / t->part;

    t->saved_ns += MIN(earned, t->most_ns - t->saved_ns);
    t->at_ns = now_ns;
    return t->saved_ns > 0 ? 0 : t->part * (1 - t->saved_ns);
}

void toll_charge(struct toll *t, int64_t took_ns)
{
    t->saved_ns -= took_ns;
}
