/* node.h - a node of the fan-out tree: to the router one link, to its peers what
 * the router is.
 * path: msg > publish > store > table > repeater > [link] > bus > gateway >
 *       edge > conn
 *
 *   below: a rendezvous, and a pipe for each peer that has joined there
 *   above: the trunk, one pipe to the router or to another repeater, with a lane
 *          for each of these peers, and for each that is behind one of them
 *
 * It knows no id and no message: what comes from a peer goes up as FROM, what
 * comes down as REPEAT goes to those it names. decisions/0042 says why, lane.h
 * what a trunk is. Without a trunk it has no peers either: all of them are
 * dropped when it goes, and none is let in until there is another.
 *
 * Memory: what waits for a peer, at most twice limits.link_queue of each, and
 * 2 * TRUNK_QUEUES of these for the router; a peer's reading is paused before
 * that.
 * Threads: its loop's. */
#ifndef TOUCHLINE_REPEATER_NODE_H
#define TOUCHLINE_REPEATER_NODE_H

#include "proto/config.h"
#include "proto/lane.h"
#include "router/repeater/stats.h"

struct node {
    struct loop *loop;
    const struct config *config;
    char name[PEER_NAME_MAX + 1];    /* "repeater1" */
    struct joiner *joiner;
    struct pipe *up;                 /* the joiner's */
    struct rendezvous *below;
    struct pipe_limits limits;       /* of a lane */
    struct map by_number;            /* children */
    struct list_node children;
    uint32_t last;                   /* number given to a lane */
    bool linked;                     /* the router has said WELCOME */
    bool paused;                     /* children are not read */
    bool held;                       /* what is said to them is kept together */
    bool flushes;                    /* before they fall */
    struct loop_timer fall;          /* of all children */
    struct loop_timer second;
    struct link_repairs mended;      /* what those that are gone needed */
    uint64_t down_bytes;             /* sent to those */
    struct stats stats;
    void (*ready)(void *ctx);        /* each time that it is linked */
    void *ctx;
};

/* Opens its rendezvous in DIR/NAME (or at repeater.url) and begins to look for
 * its router. *why: in words. node_fini() is due whatever comes out. ERR_BUSY,
 * ERR_DENIED, ERR_IO, ERR_NOMEM. */
MUST_USE int node_init(struct node *n, struct loop *loop,
                       const struct config *cfg, const char *name,
                       const char **why);
/* Says goodbye to all. Harmless on a zeroed struct. */
void node_fini(struct node *n);
/* Where its peers find it. */
const char *node_url(const struct node *n);

#endif
