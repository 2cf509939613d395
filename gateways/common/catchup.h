/* catchup.h - pages of the store, for a connection that is behind the ring.
 *
 * A start in state PAGING reads pages from its cursor on, all its channels
 * merged in seq order; one in state REPLAY does so beside a connection that is
 * live already, and its messages are marked as such. Pages are shared by all
 * who need them (pages.h): a start holds one, its place in it, and nothing
 * else; it takes the next one when what it wanted of this one has left.
 *
 * At first the pages are of those channels only that have missed something
 * (so that a channel which is the client's own does not keep it from sharing),
 * and count up to the place where the start was decided: behind it the ring
 * has everything of all channels, and the connection follows the ring like
 * everybody else. Where the ring has let go of that meanwhile, pages of all
 * channels follow, up to where the link stands.
 *
 * Only the first start of a connection reads pages.
 * Threads: the gateway's loop. Cost: O(1) per row. */
#ifndef TOUCHLINE_GATEWAYS_CATCHUP_H
#define TOUCHLINE_GATEWAYS_CATCHUP_H

#include "gateways/common/start.h"

/* Said, and behind: reads pages. `state` is START_PAGING or START_REPLAY. */
void catchup_begin(struct start *s, enum start_state state);
/* Pages are under way for this connection. */
bool catchup_under_way(const struct conn *c);
/* The same, beside what is live: PUT_REPLAY. */
bool catchup_beside(const struct conn *c);
/* The seq up to which a connection that catches up has everything. */
uint64_t catchup_seq(const struct start *s);
/* Memory that stands for what c reads just now. */
size_t catchup_bytes(const struct conn *c);

/* ---- what the link brings ---- */
/* The page that s waited for may be there. */
void catchup_served(struct start *s);
/* It cannot be read: the connection ends, s with it. */
void catchup_unread(struct start *s);
/* The stream has come further: who has come to its end may go on. */
void catchup_seq_moved(struct gateway *g);

/* ---- to the socket ---- */
/* Puts rows of the page into v; marks count items from 1. False: v is full. */
bool catchup_pull(struct conn *c, struct outvec *v);
/* So many items, counted from 1, have left or been begun. */
void catchup_rows_out(struct conn *c, uint64_t items);
/* All that was there has left: take the next page, or go live. */
void catchup_advance(struct conn *c);

/* Page, shelf and queue are left. */
void catchup_leave(struct start *s);

#endif
