#include "gateways/common/wheel.h"

#include "base/clock.h"

#define STEP_NS (WHEEL_STEP_MS * INT64_C(1000000))

static uint32_t steps_now(const struct wheel *w)
{
    return (uint32_t)((clock_ns() - w->began_ns) / STEP_NS);
}

static void wake_at(struct wheel *w, uint32_t step)
{
    w->next = step;
    loop_timer_set_at(&w->timer, w->began_ns + (int64_t)step * STEP_NS);
}

/* At the next slot that has somebody in it; some slot has. */
static void arm(struct wheel *w)
{
    uint32_t step = w->step + 1;

    while (list_empty(&w->slots[step % WHEEL_SLOTS]) &&
           step - w->step < WHEEL_SLOTS)
        step++;
    wake_at(w, step);
}

static void run_slot(struct wheel *w, uint32_t step)
{
    struct list_node *slot = &w->slots[step % WHEEL_SLOTS];
    struct list_node mine;
    struct list_node *n;

    list_init(&mine);
    list_splice_tail(&mine, slot);
    while ((n = list_pop(&mine))) {
        struct wheel_timer *t = CONTAINER_OF(n, struct wheel_timer, node);

        if ((int32_t)(t->due - step) > 0) {
            list_add_tail(slot, n);
            continue;
        }
        w->armed--;
        w->due(w->ctx, t);
    }
}

static void turn(void *ctx)
{
    struct wheel *w = ctx;
    uint32_t now = steps_now(w);

    /* After a long stop one round over all slots finds everything due. */
    if (now - w->step > WHEEL_SLOTS)
        w->step = now - WHEEL_SLOTS;
    while (w->step < now && w->armed)
        run_slot(w, ++w->step);
    w->step = now;
    if (w->armed)
        arm(w);
}

void wheel_init(struct wheel *w, struct loop *loop,
                void (*due)(void *ctx, struct wheel_timer *t), void *ctx)
{
    w->began_ns = clock_ns();
    w->step = 0;
    w->armed = 0;
    w->due = due;
    w->ctx = ctx;
    loop_timer_init(&w->timer, loop, turn, w);
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        list_init(&w->slots[i]);
}

void wheel_fini(struct wheel *w)
{
    loop_timer_stop(&w->timer);
}

void wheel_timer_init(struct wheel_timer *t, uint32_t owner)
{
    list_init(&t->node);
    t->due = 0;
    t->owner = owner;
}

uint32_t wheel_in(const struct wheel *w, uint32_t ms)
{
    return steps_now(w) + 1 + (ms + WHEEL_STEP_MS - 1) / WHEEL_STEP_MS;
}

void wheel_set(struct wheel *w, struct wheel_timer *t, uint32_t due)
{
    wheel_stop(w, t);
    if (w->armed == 0)
        w->step = steps_now(w);
    t->due = due;
    if ((int32_t)(due - w->step) <= 0)
        t->due = w->step + 1;
    list_add_tail(&w->slots[t->due % WHEEL_SLOTS], &t->node);
    if (w->armed++ == 0 || (int32_t)(t->due - w->next) < 0)
        wake_at(w, t->due);
}

void wheel_stop(struct wheel *w, struct wheel_timer *t)
{
    if (!list_linked(&t->node))
        return;
    list_remove(&t->node);
    w->armed--;
}
