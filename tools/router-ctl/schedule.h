/* schedule.h - a match of a file as the events that a reporter would have
 * sent, each with its time. Pure: no clock, no I/O.
 *
 * The clock of a match begins with the kick-off. A half lasts its 45 (or 15)
 * minutes and as much stoppage time as its last goal needs, at least one; half
 * time 15 minutes, the other breaks 5 or 1; in a shoot-out a kick takes one.
 *
 * The score is the authority. A goal comes at its minute; goals that the score
 * has and the list lacks come without a player and without a minute, spread
 * over their half, or over all of the play when the file does not say which;
 * goals that the list has and the score lacks, the latest ones, do not come.
 * Line-ups, cards, substitutions and kicks come where the file has them, as
 * long as they are possible; a scorer who is not on the pitch is not named.
 *
 * Threads: any. */
#ifndef TOUCHLINE_TOOLS_SCHEDULE_H
#define TOUCHLINE_TOOLS_SCHEDULE_H

#include "base/buf.h"
#include "tools/router-ctl/cup.h"

struct event {
    int64_t at_ms;    /* since the kick-off */
    const char *kind; /* as of match.def */
    size_t data_at, data_len;
};

struct schedule {
    struct event *events; /* in order; none when it was not played */
    size_t count;
    struct buf data;
    struct cup_score score, shootout; /* how it must end; shootout may be
                                         unknown */
    int left_out; /* goals of the list that are not in the score */
};

/* ERR_NOMEM. */
MUST_USE int schedule_make(struct schedule *ret, const struct cup *c,
                           const struct cup_match *m);
void schedule_fini(struct schedule *s); /* a zeroed one is fine */

/* The data of an event: a JSON object. */
struct slice schedule_data(const struct schedule *s, const struct event *e);

#endif
