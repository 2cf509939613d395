/* presence.h - the clock of those who come and go: types decide what is said
 * and when (type.h), this asks them when it is due, has the store note whom
 * people will have been told of, and sends it: a router that starts announces
 * nobody twice. What the store fails to note is sent all the same, and may be
 * announced again; the log says so.
 * Threads: the router's loop. Cost: no timer while nothing is due. */
#ifndef TOUCHLINE_ROUTER_PRESENCE_H
#define TOUCHLINE_ROUTER_PRESENCE_H

#include "base/buf.h"
#include "base/loop.h"
#include "store/history.h"

struct router;

enum {
    PRESENCE_WAITING_MAX = 1024 * 1024, /* bytes that wait for the store; while
                                           more do, types are not asked */
    PRESENCE_CHANGES_MAX = 16 * 1024 * 1024, /* whatever one asking adds */
    PRESENCE_HOLD_MS = 3000, /* gateways come back within two seconds */
    PRESENCE_NOTE = 64 * 1024 /* of them at once: commits wait no longer */
};

struct presence {
    struct loop_timer timer;
    struct buf changes; /* present_change(): to be noted */
    size_t noting;      /* bytes of them that the store is writing now */
    uint64_t noted;     /* bytes that were, in all */
    struct buf notices; /* to be said, each behind its changes */
    int64_t hold_ns;    /* nothing is said before */
};

void presence_init(struct router *r);
/* Those who were known at the end of the router's last life have ten seconds
 * from now to be logged in again; nobody else is announced before the gateways
 * are back to hear of it. Once, at the end of the start: names come
 * from what presence_read() found. ERR_NOMEM. */
MUST_USE int presence_begin(struct router *r);
/* Reads them, before the history is the writer's. */
MUST_USE int presence_read(struct router *r, struct history *h);
void presence_turn(struct router *r); /* end of the loop's turn */
/* What is not noted yet goes to the writer, which must still be there. */
void presence_fini(struct router *r);

#endif
