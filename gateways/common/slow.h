/* slow.h - readers who do not keep up, and are cut: those for whom nothing may
 * be left out (thin.h), or not enough, and those who owe most when all together
 * owe too much.
 *
 * Only connections that lag are looked at, once a second, some each turn: those
 * whose socket did not take what was due. What waits for them waits in the
 * ring, once for all; their own memory is the rest of a message that was begun,
 * and pages of the store that were read for them. Who holds channels of which
 * something may be left out is cut for what waits of the others alone, and
 * waits with its socket full as long as the kernel bears it. One that was cut
 * keeps that rest and its last words while it has time to read them (conn_cut):
 * it still counts, and is dropped first when it owes most.
 *
 * Threads: the gateway's loop. Cost: for each that lags and does not read what
 * has come since the last look, once a second. */
#ifndef TOUCHLINE_GATEWAYS_SLOW_H
#define TOUCHLINE_GATEWAYS_SLOW_H

struct conn;
struct gateway;

/* Each second: who lags too far is looked for from now on. */
void slow_check(struct gateway *g);
/* Each turn: among a bounded number of them. */
void slow_turn(struct gateway *g);
/* One gap notice for each channel of c that has something it has not got: it
 * is cut. */
void slow_tell(struct conn *c);

#endif
