/* place.h - a place in the stream: can one go on from it, and how is told what
 * was missed.
 * Threads: any. */
#ifndef TOUCHLINE_TOOLS_PLACE_H
#define TOUCHLINE_TOOLS_PLACE_H

#include "tools/router-ctl/peer.h"
#include "tools/router-ctl/show.h"

/* NULL: this router's history goes on from at, the cursor of somebody; else
 * "epoch" or "future". */
const char *place_problem(const struct position *at, const struct peer *p);

/* A gap of unknown extent. */
void place_show_gap(struct buf *out, const struct show *s, struct slice id,
                    const char *why);
void place_show_hole(struct buf *out, const struct show *s,
                     const struct frame_hole *f);

#endif
