/* link.h - one joined peer: a gateway, or router-ctl.
 * path: msg > publish > store > table > repeater > [link] > bus > gateway >
 *       edge > conn
 *
 *   NEW ---HELLO--> (EPOCH) --> SAYING --SYNCED--> READING --> LIVE
 *                           --> LIVE                   a tool
 *   LIVE --its queue is full--> STALE --it drained--> READING --> LIVE
 *
 * Only a LIVE link is given messages as they are committed. The others are
 * repaired from the store: READING puts what came after link.position on the
 * link until it meets the place where the router stands (replay.h). What a
 * link that is not LIVE asks about its seats waits until it is, so that an
 * answer always stands at its place in the stream.
 *
 * A repeater's link is a trunk as well: each peer behind it has a lane there, and
 * with it a link that is as any other (lane.h). They go when it goes.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_LINK_H
#define TOUCHLINE_ROUTER_LINK_H

#include "proto/frame.h"
#include "proto/lane.h"
#include "proto/rendezvous.h"
#include "proto/repairs.h"
#include "router/canary.h"
#include "router/table.h"

struct router;

enum link_state {
    LINK_NEW,     /* joined, has not said HELLO */
    LINK_EPOCH,   /* said it; the store is making a new epoch */
    LINK_SAYING,  /* says the logins that it already has */
    LINK_READING, /* what it missed is being read and sent */
    LINK_LIVE,
    LINK_STALE, /* its queue is full: gets nothing until that has drained */
    LINK_GONE,  /* its pipe is down; freed at the end of the turn */
    LINK_STATES
};
const char *link_state_name(enum link_state s);

struct link {
    struct router *router;
    struct lane lane;
    struct trunk *trunk;    /* of a repeater: the lanes in it are links, too */
    const struct link *via; /* the repeater whose trunk its lane is in; or NULL */
    struct list_node node; /* on links.all, or on links.gone */
    struct table_link seats;
    enum link_state state;
    struct peer_id who;
    uint64_t stamp;    /* the repeater's: already has this message */
    uint64_t position; /* not LIVE: stored messages up to here are on it */
    uint64_t asked;    /* its resent publications are above this, if taken */
    bool same_epoch; /* its place in the stream is of the present epoch */
    bool was_live;   /* before; then RESYNCED means that it was STALE */
    bool missed;     /* not LIVE: something without history went past it */
    struct buf deferred; /* frames that wait until it is LIVE */
    struct buf late;     /* joins and leaves said meanwhile, likewise */
    struct buf figures;  /* body of its last STATS */
    struct list_node fetches;   /* replay.h */
    struct list_node queries;   /* ctl.h: answers under way */
    struct list_node snapshots; /* snapshots.h: answers under way */
    struct resync *resync;      /* replay.h; NULL unless READING */
    struct replay_due *due;     /* replay.h; none while LIVE */
    struct canary canary;
    uint64_t delivered, dropped;
};

struct links {
    struct link *by_number[TABLE_LINKS_MAX];
    struct list_node all, gone;
    uint32_t count, next;
    struct link_repairs mended; /* what those that are gone needed */
};
void links_init(struct links *ls);

/* What the rendezvous calls (rendezvous.h): ctx is the router. */
extern const struct rendezvous_ops link_rendezvous;

/* For tests, and for the rendezvous: takes the pipe on success; NULL: its lane
 * is to be in a trunk. ERR_FULL, ERR_NOMEM. */
MUST_USE int link_new(struct link **ret, struct router *r,
                      const struct peer_id *who, struct pipe *pipe);
extern const struct pipe_ops link_pipe;

/* Stops and restarts reading a gateway. A tool is read on: it waits for each
 * answer before it publishes again, and who asks what is wrong must be told. */
void link_pause(struct link *l, bool paused);
/* Moves only along legal ways. */
void link_become(struct link *l, enum link_state next);
/* HELLO has been understood: on to the next state, with WELCOME. */
void link_welcome(struct link *l);
/* It has said all its logins, and has everything up to seq. */
void link_synced(struct link *l, uint64_t seq);
/* The links that waited for a new epoch. */
void links_epoch_made(struct router *r);
/* It is whole again: RESYNCED, then what was deferred. */
void link_live(struct link *l);

/* Adds it to those that get a DELIVER, if the link is LIVE and has room; without
 * room, or when the frame could not be encoded, it goes STALE. False: it does
 * not get it. */
bool link_deliver(struct link *l, const struct buf *frame,
                  struct repeat *repeat);
/* Likewise a join or a leave, which no store repairs: it is put when the link
 * is LIVE again, unless very many wait. */
void link_deliver_late(struct link *l, const struct buf *frame,
                       struct repeat *repeat);
/* Puts it in any state; false: it could not be encoded. */
bool link_put(struct link *l, const struct buf *frame);
/* Keeps a frame until the link is LIVE. */
MUST_USE int link_defer(struct link *l, uint8_t code, struct slice body);
/* Says on all LIVE links what the stream's place is; once per commit. */
void links_set_seq(struct router *r);

/* Everything it held goes; the pipe too, at the end of the turn, and then who is
 * in its trunk: no other link goes meanwhile. */
void link_gone(struct link *l, const char *why);
void link_fault(struct link *l, int rc); /* the same: the peer broke rules */
void links_end_of_turn(struct router *r);
void links_free(struct router *r);

/* "gw1/42.7" -> the link and the connection's numbers. ERR_NOT_FOUND (no
 * such link), ERR_BAD (no connection's name). */
MUST_USE int links_parse_conn(struct router *r, struct slice name,
                              struct link **link, uint32_t *conn,
                              uint32_t *gen);

#endif
