/* restart.h - subscriptions that begin anew without having been asked for:
 * what they relied on is gone (another epoch, messages without history that
 * nobody kept, damage), or a snapshot is due to all.
 *
 * Each is a `silent` start behind all others of the connection: the edge hears
 * notices and no ref. A channel that belongs to a start which has not been said
 * yet is told there instead. What the ring had for the connection in front of
 * the restart goes out first.
 *
 * Without memory the connection is aborted: nobody is left with a hole that it
 * does not know of.
 * Threads: the gateway's loop. Cost: O(seats concerned). */
#ifndef TOUCHLINE_GATEWAYS_RESTART_H
#define TOUCHLINE_GATEWAYS_RESTART_H

#include "gateways/common/start.h"

/* All that a connection holds: the epoch has changed. `at`: where it was, which
 * is its cursor until it has been told. */
void restart_conn(struct conn *c, enum gap_why why, const struct position *at);
/* The same, where it is once it has been given what came before. */
void restart_settled(struct conn *c, enum gap_why why);
/* One topic of all its connections: messages without history were missed;
 * offsets from..to, 0 when unknown. */
void restart_topic(struct gateway *g, struct topic *t, enum gap_why why,
                   uint64_t from, uint64_t to);
/* The same for all that this connection holds without history and with a
 * state. */
void restart_volatile(struct conn *c);
/* A snapshot of it for all who hold it, in its place among what they get;
 * messages go on meanwhile. Nothing for a topic without state. */
void restart_snapshot(struct topic *t);
/* The same for one connection. */
void restart_snapshot_of(struct conn *c, struct topic *t);

#endif
