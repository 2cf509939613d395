/* relay.h - a bad wire between two ends: a TCP relay on the test's own loop,
 * which knows where one NNG message ends and the next begins, so that it can
 * lose, repeat and spoil single messages, hold everything back, or cut.
 *
 * One pair of connections at a time; a new client takes the place of the old.
 * As in the field no two lines share an address: each target gets a port of
 * its own, lest a client that is about to be closed throws out the next.
 * Threads: the loop's. */
#ifndef TESTS_PROTO_RELAY_H
#define TESTS_PROTO_RELAY_H

#include "base/loop.h"

enum relay_fate { RELAY_PASS, RELAY_LOSE, RELAY_TWICE, RELAY_SPOIL };

struct relay;
/* to_server: towards the target. number: of this direction, from 1, over all
 * connections. NULL: everything passes. */
typedef enum relay_fate relay_fn(void *ctx, bool to_server, uint64_t number);

struct relay *relay_new(struct loop *loop, relay_fn *fn, void *ctx);
void relay_free(struct relay *r);
/* Where the next client goes; the port at which it finds the relay. */
unsigned relay_target(struct relay *r, unsigned port);
void relay_cut(struct relay *r);                   /* closes both sides */
void relay_hold(struct relay *r, bool hold);       /* reads no more */
uint64_t relay_cuts(const struct relay *r); /* connections that have ended */

#endif
