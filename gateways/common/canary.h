/* canary.h - does what is published get through, and is it delivered?
 * path: msg > publish > store > table > repeater > [link] > bus > gateway >
 *       edge > conn
 *
 * Each worker sends a canary over its link every process.canary. The router
 * sends it back the way that messages go (router/canary.h); it is home when
 * the visits that were under way when it came are through, as a message would
 * be with the last of its readers. No client sees it, and no id is used up.
 * One is under way at a time; one that does not come is sent again. From the
 * moment when nothing comes home any more, the link's end included, the time
 * runs: past process.canary_wait the gateway is mute, and not ready.
 * Threads: the gateway's loop, canary_away_ns() any. Cost: a timer, a frame
 * each way. */
#ifndef TOUCHLINE_GATEWAYS_CANARY_H
#define TOUCHLINE_GATEWAYS_CANARY_H

#include <stdatomic.h>

#include "base/loop.h"
#include "base/slice.h"

struct gateway;

struct canary {
    struct gateway *gateway;
    struct loop_timer timer; /* the next one */
    uint64_t number;         /* of the newest */
    int64_t sent_ns;         /* it was sent first; 0: none is under way */
    bool back;               /* it has come: home when the visits */
    uint64_t tick;           /* up to here are through */
    _Atomic int64_t since_ns; /* nothing has come home since; 0: all is well */
    bool late;               /* and that is known */
    int64_t took_ns;         /* the last one that came home */
};

/* process.canary 0: does nothing, ever. */
void canary_start(struct canary *c, struct gateway *g);
void canary_stop(struct canary *c); /* harmless on a zeroed struct */

/* The link is up, or down. */
void canary_linked(struct gateway *g);
void canary_unlinked(struct gateway *g);
/* A CANARY_BACK frame. ERR_FRAME. */
MUST_USE int canary_back(struct gateway *g, struct slice body);
/* End of the turn, behind the fan-out. */
void canary_turn(struct gateway *g);

/* For how long nothing has come home; 0: all is well. */
int64_t canary_away_ns(const struct canary *c, int64_t now_ns);
/* That is longer than it may be. */
bool canary_late(const struct gateway *g);
void canary_stats(struct gateway *g, int64_t now_ns);

#endif
