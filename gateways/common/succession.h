/* succession.h - a gateway process hands all it has to its successor, which the
 * supervisor has started from the binary that is there now.
 *
 *   successor                         predecessor
 *   HELLO what it is  ------------>   agrees, or REFUSE why
 *                                     stands still: nothing new is read or
 *                                     accepted; what was asked is answered
 *                     <------------   messages of freeze.h: of each worker
 *                                     what it has but its connections, then
 *                                     the connections of each
 *   ACK of each       ------------>
 *                     <------------   COMMIT
 *   TAKEN             ------------>   lets go
 *
 * Up to TAKEN the predecessor has everything and has changed nothing: whatever
 * goes wrong, it goes on, and no client has noticed more than that nothing was
 * read for a moment. Behind it the successor is the gateway. Deadlines: REST for
 * coming to rest, STEP for each answer. While the predecessor writes it does
 * nothing else, but keep its link from being taken for dead. A predecessor that
 * dies in the middle leaves what the successor has: that serves it, once
 * connections have begun to come. It knows that by the end of the line; so a
 * predecessor that goes on keeps its end open until the successor has gone, which
 * it may not have been able to tell.
 *
 * No client can keep it from coming to rest: who is in the middle of something
 * PATIENCE after all else has come to rest is cut (freeze_cut()). A successor of
 * which nothing is heard behind COMMIT may be the gateway already: the supervisor
 * is told that the upgrade has failed, and kills it; only its end, or its TAKEN,
 * says which of the two goes on.
 *
 * Each of the workers comes to rest on its own thread and waits there; the first
 * writes them all. The successor has as many.
 *
 * Threads: as said for each. */
#ifndef TOUCHLINE_GATEWAYS_SUCCESSION_H
#define TOUCHLINE_GATEWAYS_SUCCESSION_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/loop.h"
#include "gateways/common/freeze.h"
#include "proto/handover.h"

struct gateway;

enum {
    SUCCESSION_HELLO_S = 20, /* for the successor to come up */
    SUCCESSION_REST_S = 10,
    SUCCESSION_PATIENCE_S = 3, /* with a client, of these */
    SUCCESSION_STEP_S = 5,
    SUCCESSION_WINDOW = 4, /* messages under way */
    SUCCESSION_WHY_MAX = 200,
};

/* What must be the same on both sides. */
struct succession_self {
    const char *edge, *instance;
    unsigned workers;
};

enum succession_phase { SUCCESSION_NONE, SUCCESSION_REST, SUCCESSION_PARK };

/* One worker's part: its thread's, while that does not wait. */
struct succession_part {
    struct succession *of;
    struct gateway *g;
    struct loop_wake wake;
    struct loop_turn turn;
    uint32_t last;   /* see freeze_look() */
    int64_t held_ns; /* since when it is held by its clients; 0: it is not */
    uint32_t cut;    /* of these, in this attempt */
    char why[SUCCESSION_WHY_MAX]; /* lock: why it is not at rest */
    struct freezer freezer;
    atomic_bool rests;
    bool parted;
};

/* The predecessor's side: of the whole process. */
struct succession {
    struct succession_self self;
    struct succession_part *parts;
    /* The worker has let go: its thread. What is left is to end. */
    void (*parted)(void *ctx, struct gateway *g);
    void *ctx;
    struct loop *loop; /* of the first worker, whose thread does the rest */
    struct handover control; /* fd -1: nobody asks */
    struct handover heir;    /* fd -1: none has been named */
    struct loop_fd control_watch, heir_watch;
    unsigned unanswered;     /* messages */
    int64_t beat_ns;         /* the links', while it writes */
    struct loop_timer bound; /* for HELLO, and for coming to rest */
    _Atomic enum succession_phase phase;
    uint32_t attempt; /* the supervisor's number of it */
    bool handed;  /* lock; all is the successor's */
    bool refused; /* heir, whose end is waited for */
    pthread_mutex_t lock;
    pthread_cond_t news;
    unsigned parked; /* lock */
    bool spoiled;    /* lock: one that parked was not at rest any more */
};

/* Listens for the supervisor at `control`, which it takes; -1: nobody will ask.
 * workers: their gateways, which have loops that do not turn yet. ERR_NOMEM,
 * ERR_IO. */
MUST_USE int succession_start(struct succession *s,
                              const struct succession_self *self,
                              struct gateway *const *workers, int control,
                              void (*parted)(void *ctx, struct gateway *g),
                              void *ctx);
/* No loop turns any more. Harmless on a zeroed struct. */
void succession_stop(struct succession *s);

/* The successor's side: takes everything from the predecessor at the other end
 * of heir, which it takes, into gateways that were just made. On 0 *clients is
 * how many came, and *orphan says that the predecessor died meanwhile. Else *why
 * says it, and the gateways are good for nothing. ERR_DENIED: the predecessor
 * goes on. Start-up only; waits. */
MUST_USE int succession_take(int heir, const struct succession_self *self,
                             struct gateway *const *workers, uint32_t *clients,
                             bool *orphan, char why[SUCCESSION_WHY_MAX]);

#endif
