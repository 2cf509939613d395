/* wheel.h - very many coarse timers at no cost while nothing is due.
 *
 * A hashed wheel (Varghese and Lauck 1987) of 256 slots of 100 ms; what is
 * further away than a turn is hung up again when its slot comes by. The loop
 * has one timer for all, at the next slot that is not empty, and none while
 * the wheel is.
 * Threads: the loop's. Cost: O(1) to set and stop; a wake-up, with a look at
 * all slots at most, per slot with somebody in it; 24 bytes in the owner, its
 * number included. */
#ifndef TOUCHLINE_GATEWAYS_WHEEL_H
#define TOUCHLINE_GATEWAYS_WHEEL_H

#include <stdint.h>

#include "base/base.h"
#include "base/list.h"
#include "base/loop.h"

enum { WHEEL_SLOTS = 256, WHEEL_STEP_MS = 100 };

struct wheel_timer {
    struct list_node node;
    uint32_t due;   /* in steps since the wheel began */
    uint32_t owner; /* the caller's */
};

struct wheel {
    struct loop_timer timer;
    int64_t began_ns;
    uint32_t step; /* everything due up to here has been called */
    uint32_t next; /* when it wakes, while somebody is armed */
    uint32_t armed;
    void (*due)(void *ctx, struct wheel_timer *t);
    void *ctx;
    struct list_node slots[WHEEL_SLOTS];
};

/* due() is called with the timer already stopped. */
void wheel_init(struct wheel *w, struct loop *loop,
                void (*due)(void *ctx, struct wheel_timer *t), void *ctx);
void wheel_fini(struct wheel *w);

void wheel_timer_init(struct wheel_timer *t, uint32_t owner);
/* The step that lies ms from now; never early, up to 100 ms late. */
uint32_t wheel_in(const struct wheel *w, uint32_t ms);
void wheel_set(struct wheel *w, struct wheel_timer *t, uint32_t due);
void wheel_stop(struct wheel *w, struct wheel_timer *t);

#endif
