#include "gateways/common/drain.h"

#include "gateways/common/core.h"

enum { STEP_MS = 100 };

static uint32_t end_idle(struct gateway *g)
{
    uint32_t i = 0, left = 0;
    struct conn *c;

    while ((c = conns_next_open(&g->conns, &i)))
        if (c->seats.count)
            left++;
        else
            g->edge->drain(c);
    return left;
}

static uint32_t portion_of(const struct config_limits *limits, uint32_t clients)
{
    int64_t steps = MAX(limits->drain_wait / 2 / (STEP_MS * MILLISECOND),
                        (int64_t)1);
    size_t rate = limits->admit_rate * STEP_MS / 1000;

    return (uint32_t)MAX(rate, (clients + (size_t)steps - 1) / (size_t)steps);
}

static void end_some(void *ctx)
{
    struct gateway *g = ctx;
    struct drain *d = &g->drain;
    uint32_t left = d->portion;
    struct conn *c;

    while (left && (c = conns_next_open(&g->conns, &d->at))) {
        g->edge->drain(c);
        left--;
    }
    if (!left)
        loop_timer_set(&d->again, STEP_MS * MILLISECOND);
    loop_again(g->loop);
}

void drain_begin(struct gateway *g)
{
    uint32_t clients = end_idle(g);

    g->drain = (struct drain){.portion = portion_of(&g->config->limits,
                                                    clients)};
    loop_timer_init(&g->drain.again, g->loop, end_some, g);
    if (clients)
        end_some(g);
}

void drain_stop(struct gateway *g)
{
    if (g->drain.portion)
        loop_timer_stop(&g->drain.again);
}
