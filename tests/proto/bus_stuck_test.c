/* A bus of an NNG that does not come back from closing. */
#include <dlfcn.h>
#include <nng/nng.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "proto/bus.h"
#include "tests/t/t.h"

static atomic_bool hangs;
static atomic_uint hanging;

/* In front of the library's. */
int nng_close(nng_socket s)
{
    int (*real)(nng_socket) = NULL;
    const struct timespec nap = {0, 1000000};

    *(void **)&real = dlsym(RTLD_NEXT, "nng_close");
    atomic_fetch_add(&hanging, 1);
    while (atomic_load(&hangs))
        (void)nanosleep(&nap, NULL);
    return real(s);
}

static void nothing(void *ctx)
{
    UNUSED(ctx);
}

static void no_bytes(void *ctx, struct slice bytes)
{
    UNUSED(ctx);
    UNUSED(bytes);
}

TEST(a_socket_that_nng_does_not_close_is_told_for_as_long_as_it_is_so)
{
    static const struct bus_line_ops ops = {nothing, nothing, no_bytes,
                                            nothing};
    struct bus_line *line;
    struct loop *loop;
    struct bus *bus;
    char url[BUS_URL_MAX];

    snprintf(url, sizeof url, "ipc://%.90s/l", test_dir());
    clock_fake(clock_ns(), 0);
    atomic_store(&hangs, true);
    EXPECT_OK(loop_new(&loop));
    EXPECT_OK(bus_new(&bus, loop));
    EXPECT_OK(bus_line_listen(&line, bus, url, 1000, &ops, NULL));
    EXPECT(!bus_is_stuck(bus));
    bus_line_close(line, BUS_END_NOW);
    EXPECT_SOON(atomic_load(&hanging) == 1,
                EXPECT_OK(loop_step(loop, MILLISECOND)));
    clock_fake_advance(5 * SECOND);
    EXPECT(!bus_is_stuck(bus));
    clock_fake_advance(1 * SECOND);
    EXPECT(bus_is_stuck(bus));
    atomic_store(&hangs, false);
    EXPECT_SOON(!bus_is_stuck(bus), EXPECT_OK(loop_step(loop, MILLISECOND)));
    bus_drop(bus);
    loop_free(loop);
}
