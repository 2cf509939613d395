/* slow.h - readers who do not keep up, and are cut: those for whom nothing may
 * be left out (thin.h), or not enough, and those who owe most when all together
 * owe too much.
 *
 * Only connections that lag are looked at: those whose socket did not take what
 * was due. What waits for them waits in the
 * ring, once for all; their own memory is the rest of a message that was begun,
 * and pages of the store that were read for them. Who holds channels of which
 * something may be left out is cut for what waits of the others alone, and
 * waits with its socket full as long as the kernel bears it. One that was cut
 * keeps that rest and its last words while it has time to read them (conn_cut):
 * it still counts, and is dropped first when it owes most.
 *
 * Each is looked at once a second, some each turn. How much may wait for it is
 * known from what has come for everybody: only when that is over a limit is it
 * looked into, what has come since the last time, among its channels.
 *
 * Threads: the gateway's loop. Cost: for each that lags a step a second; and when
 * limits.queue bytes have come, or limits.queue_age has gone by, as many as it
 * has channels or as have come, whichever are fewer, and those that wait. All of
 * them together take a bounded number a turn, and what one takes. */
#ifndef TOUCHLINE_GATEWAYS_SLOW_H
#define TOUCHLINE_GATEWAYS_SLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;
struct gateway;

enum {
    DEBTORS_A_SECOND = 64, /* cut at most, when all owe too much together */
    CHECKS_A_TURN = 512,   /* readers that are looked at, */
    SLOW_LOOKS = 8192,     /* as long as so few steps have been taken */
};

/* Who owes more, of two that owe the same who came to the later slot. */
struct debt {
    size_t own;
    uint32_t number, gen;
};

/* A look at all who lag. */
struct slow_round {
    uint32_t number;
    bool under_way;
    size_t total;                       /* bytes of their own, so far */
    struct debt most[DEBTORS_A_SECOND]; /* a heap, the least one first */
    unsigned count;
};

/* Each second: who lags too far is looked for from now on. */
void slow_check(struct gateway *g);
/* Each turn: among a bounded number of them. */
void slow_turn(struct gateway *g);
/* One gap notice for each channel of c that has something it has not got: it
 * is cut. */
void slow_tell(struct conn *c);

#endif
