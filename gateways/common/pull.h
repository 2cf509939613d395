/* pull.h - what a connection is due, taken from the ring.
 * Threads: the gateway's loop. Cost: a step per message due, for a connection
 * with few ids; per entry since the last visits ended, for one with many. */
#ifndef TOUCHLINE_GATEWAYS_PULL_H
#define TOUCHLINE_GATEWAYS_PULL_H

#include "gateways/common/outvec.h"
#include "gateways/common/ring.h"
#include "gateways/common/topic.h"

/* The end of what of the ring is for this connection just now. */
uint64_t pull_end(const struct conn *c);
/* How far it may take that before it is told what is left out (thin.h). */
uint64_t pull_limit(const struct conn *c);
/* Puts what is due, up to the limit, into v; false when v is full and more is
 * due. Marks in v where each message ends, and its tick. */
bool pull(struct conn *c, struct outvec *v, uint64_t limit);
/* Says a notice of the ring. beside: in a replay, where it has no cursor. */
void pull_notice(struct conn *c, const struct ring_entry *e, bool beside);
/* Is this entry of the ring for this connection? */
bool pull_due(struct conn *c, const struct ring_entry *e);
/* Moves what is due up to tick into out, whether the socket takes it or not. */
void pull_settle(struct conn *c, uint64_t tick);
/* Calls fn for each entry that came since then, from behind this tick on, and
 * waits for c, of muted channels, too; in no order. False ends it. Cost: as
 * many steps as it has channels, or as have come, whichever are fewer, and one
 * for each entry; gateway.looked_at counts them. */
typedef bool pull_fn(void *ctx, struct ring_entry *e, uint64_t tick);
void pull_each(struct conn *c, uint64_t behind, int64_t since_ns, pull_fn *fn,
               void *ctx);
/* The same, where its channels are fewer than what has come; ends also when so
 * many steps have been taken, which become fewer. False: that was not all. */
bool pull_some(struct conn *c, int64_t since_ns, size_t *most, pull_fn *fn,
               void *ctx);
/* Does this entry wait for it, now or, of a muted channel, later? */
bool pull_waits(struct conn *c, const struct ring_entry *e);
/* Bytes that wait for a connection in the ring, of what came since then,
 * counted up to max; *oldest_ns becomes when the oldest of them came. */
size_t pull_pending(struct conn *c, int64_t since_ns, size_t max,
                    int64_t *oldest_ns);
/* Is this topic one of a subscription that has not begun? */
bool conn_muted(const struct conn *c, const struct topic *t);

#endif
