/* doorstep.h - clients that are turned away: they hear why in the edge's words
 * (edge->busy), and are given time to read it.
 *
 * A socket that is closed with input unread is reset, and a reset throws away
 * the answer that was under way. So the write side is shut, what the client
 * still sends is thrown away until its FIN, for at most 1 s, like after any
 * error that closes.
 *
 * They stand on descriptors of the reserve (ACCEPT_RESERVE, shared by the
 * workers of a process). Who finds no place there pushes the oldest off, whose
 * answer has had the most time.
 * Threads: the gateway's loop. Cost: a watch each, one timer for all. */
#ifndef TOUCHLINE_GATEWAYS_DOORSTEP_H
#define TOUCHLINE_GATEWAYS_DOORSTEP_H

#include <stdbool.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/slice.h"

struct doorstep {
    struct loop *loop;
    struct list_node waiting; /* oldest first */
    unsigned count, places;
    struct loop_timer oldest; /* when the oldest must go */
};

/* places: at least 1. */
void doorstep_init(struct doorstep *d, struct loop *loop, unsigned places);
void doorstep_fini(struct doorstep *d); /* closes all; zeroed is fine */

/* Everybody who may stand here does. */
bool doorstep_is_full(const struct doorstep *d);
/* Takes fd, says the words, lets go. */
void doorstep_turn_away(struct doorstep *d, int fd, struct slice words);

#endif
