#include "tests/bench/link_ends.h"

#include <stdio.h>

#include "tests/bench/count.h"
#include "tests/bench/memory_bus.h"

enum { SESSION = 4711, QUIET_TURNS = 4 };

void count_ends_open(struct count_ends *e)
{
    MUST(loop_new(&e->near_loop) == 0 && loop_new(&e->far_loop) == 0);
    MUST(bus_new(&e->near, e->near_loop) == 0 &&
         bus_new(&e->far, e->far_loop) == 0);
}

void count_ends_join(struct count_ends *e, const struct pipe_ops *ops,
                     void *ctx, struct pipe **near, struct pipe **far)
{
    static const struct pipe_limits limits = {.batch = 4 * MIB,
                                              .queue = 8 * MIB};
    static uint64_t session = SESSION;
    char url[BUS_URL_MAX];

    snprintf(url, sizeof url, "memory-%d", (int)session);
    MUST(pipe_new(near, e->near, &limits) == 0 &&
         pipe_new(far, e->far, &limits) == 0);
    pipe_set_ops(*far, ops, ctx);
    MUST(pipe_listen(*near, session, url) == 0 &&
         pipe_dial(*far, session, url) == 0);
    session++;
}

void count_far_turn(struct count_ends *e)
{
    memory_bus_deliver(e->far);
    MUST(loop_step(e->far_loop, 0) == 0);
}

static void near_turn(void *ctx)
{
    struct count_ends *e = ctx;

    memory_bus_deliver(e->near);
    MUST(loop_step(e->near_loop, e->wait_ns) == 0);
}

void count_near_turn(struct count_ends *e, int64_t wait_ns)
{
    e->wait_ns = wait_ns;
    count_call(near_turn, e);
}

void count_settle(struct count_ends *e)
{
    for (unsigned quiet = 0; quiet < QUIET_TURNS; quiet++) {
        if (!memory_bus_quiet(e->near) || !memory_bus_quiet(e->far))
            quiet = 0;
        memory_bus_deliver(e->near);
        MUST(loop_step(e->near_loop, 0) == 0);
        count_far_turn(e);
    }
}

struct config *count_config(const char *const *sets)
{
    struct config *cfg;
    struct config_source from = {.sets = sets, .dir = count_dir()};
    struct opt_error err = {.text = ""};

    while (sets[from.set_count])
        from.set_count++;
    if (config_load(&cfg, &from, &err) < 0)
        count_fail(__FILE__, __LINE__, err.text);
    return cfg;
}
