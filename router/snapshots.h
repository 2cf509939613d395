/* snapshots.h - what newcomers get: the state of an id, as its type makes it,
 * at a place in the stream of a link.
 *
 * A type may need messages of the store for it (a room's last ones): then they
 * are read once, however many wait.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_SNAPSHOTS_H
#define TOUCHLINE_ROUTER_SNAPSHOTS_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"

struct router;
struct link;

struct snapshots {
    struct map fills; /* ids whose messages are being read */
    struct buf state; /* the one just made */
};

void snapshots_init(struct snapshots *s);
void snapshots_fini(struct router *r);

/* Makes the state of id: in r->snapshots.state, good until the next call.
 * ERR_AGAIN: it must be read first, see snapshots_wait(). ERR_NOMEM. */
MUST_USE int snapshots_make(struct router *r, struct slice id);
/* SNAPSHOT of id on l: now, or once it could be made. When it cannot, l is
 * gone. */
void snapshots_send(struct link *l, struct slice id);
/* A notice with the state to all who hold id: without memory their links are
 * gone. Or to this link alone: ERR_NOMEM. */
void snapshots_tell(struct router *r, struct slice id);
MUST_USE int snapshots_tell_link(struct link *l, struct slice id);

void snapshots_link_gone(struct link *l);

#endif
