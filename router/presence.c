#include "router/presence.h"

#include "router/router.h"

static void emit(void *ctx, const struct msg_parts *notice)
{
    repeater_notice(ctx, notice);
}

static void due(void *ctx)
{
    struct router *r = ctx;

    types_tick(r->types, loop_now(r->loop), emit, r);
}

void presence_init(struct router *r)
{
    loop_timer_init(&r->presence.timer, r->loop, due, r);
}

void presence_turn(struct router *r)
{
    struct loop_timer *t = &r->presence.timer;
    int64_t at = types_due_ns(r->types);

    if (at == INT64_MAX)
        loop_timer_stop(t);
    else if (!t->pending || t->due_ns != at)
        loop_timer_set_at(t, at);
}

void presence_fini(struct router *r)
{
    if (r->presence.timer.loop)
        loop_timer_stop(&r->presence.timer);
}
