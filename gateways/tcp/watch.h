/* watch.h - a watched match, printed as in the talk that started all this:
 *
 *   2011-09-13 13:48:51: goal:
 *   	player: Luna (7) 
 *   	team: <<"tig">>
 *
 * Within a frame lines end in LF; a line that is CR LF alone ends it. Details
 * have one order, those that are absent are left out. Times are UTC.
 * Functions append to b, whose failure sticks. Threads: any. */
#ifndef TOUCHLINE_TCP_WATCH_H
#define TOUCHLINE_TCP_WATCH_H

#include "base/buf.h"
#include "proto/msg.h"

/* The frame of an event. */
void watch_print_event(struct buf *b, const struct msg *m);
/* The frame `status` of a snapshot's state, as of now. */
void watch_print_status(struct buf *b, struct slice state, int64_t now_ms);

/* Is there something to wait for, by a snapshot's state? */
bool watch_in_play(struct slice state);
/* Is this event the last of its match? */
bool watch_is_last(const struct msg *m);

#endif
