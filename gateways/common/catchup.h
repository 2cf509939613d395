/* catchup.h - pages of the store, for a connection that is behind the ring.
 *
 * A start in state PAGING reads pages from its cursor on, all its channels
 * merged in seq order; one in state REPLAY does so beside a connection that is
 * live already, and its messages are marked as such. A page is a FETCH: its
 * ROWs and HOLEs wait as items for the socket, the next page is asked for when
 * they have left, at most a handful for the whole gateway at a time. When the
 * pages have come to where the ring goes on, the start is finished: the
 * connection follows the ring like everybody else. Pages that got ahead of
 * the link's stream wait for it, or a message would come twice.
 *
 * Only the first start of a connection reads pages. Items are memory of the
 * connection's own: they count in gateway.queued.
 * Threads: the gateway's loop. Cost: O(1) per row. */
#ifndef TOUCHLINE_GATEWAYS_CATCHUP_H
#define TOUCHLINE_GATEWAYS_CATCHUP_H

#include "gateways/common/start.h"

/* Said, and behind: reads pages. `state` is START_PAGING or START_REPLAY. */
void catchup_begin(struct start *s, enum start_state state);
/* Pages are under way for this connection. */
bool catchup_under_way(const struct conn *c);
/* The seq up to which a connection that catches up has everything. */
uint64_t catchup_seq(const struct start *s);

/* ---- what the link brings; fetch: the number of the question, and an answer
 * to another one is dropped ---- */
/* Takes m. */
void catchup_row(struct conn *c, uint64_t fetch, struct msg *m);
void catchup_hole(struct conn *c, uint64_t fetch, const struct frame_hole *h);
/* err: the read failed; the connection ends as in a drain. upto: complete up to there. */
void catchup_page_end(struct conn *c, uint64_t fetch, int err, bool more,
                      uint64_t upto);
/* Pages may be asked for: a slot is free. */
void catchup_fetch_next(struct gateway *g);
/* The stream has come further: who read pages ahead of it may go on. */
void catchup_seq_moved(struct gateway *g);

/* ---- to the socket ---- */
/* Puts rows of pages into v; marks count rows from 1. False: v is full. */
bool catchup_pull(struct conn *c, struct outvec *v);
/* So many rows, counted from 1, have left or been begun. */
void catchup_rows_out(struct conn *c, uint64_t rows);
/* All that was there has left: ask for the next page, or go live. */
void catchup_advance(struct conn *c);

/* ---- items given up ---- */
void catchup_drop_all(struct start *s);
/* Those of a channel that has been left. */
void catchup_drop_unwanted(struct start *s);

#endif
