/* verdict.h - where a subscription may begin: at its cursor, out of the ring or
 * out of pages of the store; or now, with a snapshot; and what is missed.
 *
 * A verdict is taken at one place of the link's stream, for each channel of a
 * start by itself:
 *
 *   no cursor                         FRESH
 *   a reason, another epoch, a
 *   cursor of the future              FRESH, behind a gap that says so
 *   trimmed since, and stateful       FRESH, behind a gap `trimmed`
 *   trimmed since                     RESUMED, behind a gap `trimmed`
 *   no history, and neither the ring
 *   nor this life reaches back        RESUMED (stateful: FRESH), behind a gap
 *                                     `volatile`
 *   no history, beside another one
 *   that is paged                     the same
 *   else                              RESUMED; `missed` when something came
 *                                     after the cursor, `paged` when the ring
 *                                     does not have all of it
 *
 * Reads the topics and the ring, writes the start's topics, and nothing else.
 * Threads: the gateway's loop. Cost: O(channels of the start). */
#ifndef TOUCHLINE_GATEWAYS_VERDICT_H
#define TOUCHLINE_GATEWAYS_VERDICT_H

#include "gateways/common/start.h"
#include "proto/config.h"

/* Fills in verdict, gap, why, from, to, missed and paged of every channel. */
void verdict_judge(struct start *s);
/* Has the ring kept what the verdict relied on? Asked when it is said, which
 * may be turns later; if not, judge anew. */
bool verdict_holds(const struct start *s);
/* Of one whose channels have been split by verdict: it goes on at its
 * cursor. */
bool verdict_resumes(const struct start *s);
/* It asks for all that is kept, whatever was before. */
bool verdict_wants_all(const struct start *s);
/* Some channel needs pages of the store. */
bool verdict_needs_pages(const struct start *s);
/* Every message of t above this seq is in the ring. Of a pattern the ring
 * counts as a whole: what left it may have been one of its ids'. */
uint64_t verdict_floor(const struct gateway *g, const struct topic *t);
/* Can ids without history be among those that the pattern matches, by the
 * namespaces' prefixes? Cost: O(namespaces). */
bool verdict_may_be_volatile(const struct config *cfg, struct slice pattern);

#endif
