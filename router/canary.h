/* canary.h - what gateways send to see whether messages still get through.
 * path: msg > [publish] > store > table > repeater > [link] > bus > gateway >
 *       edge > conn
 *
 * A canary is no message: it has no id, no number, nobody subscribes to it. It
 * goes back to its gateway when a publication that came in its stead would
 * have: once everything taken before it is committed or refused, and the
 * store's writer has shown that it lives; then behind all DELIVERs that are on
 * the link, if that is LIVE and has room. A refusing store (a full disk) so
 * keeps no canary; one that hangs keeps them all.
 * Threads: the router's loop. Cost: per canary a frame each way; a word with
 * the writer's thread for all that wait together. */
#ifndef TOUCHLINE_ROUTER_CANARY_H
#define TOUCHLINE_ROUTER_CANARY_H

#include "base/list.h"
#include "base/slice.h"

struct link;
struct router;

/* Of a link. */
struct canary {
    struct list_node node; /* on canaries.waiting */
    uint64_t number;
    uint64_t behind;  /* publications taken when it came */
    uint64_t word;    /* of the writer, from which on it may go */
    int64_t came_ns;
    int64_t heard_ns; /* when the gateway sent one last; 0: never */
    uint32_t away_ms; /* for how long it gets none back, by its own word */
};

struct canaries {
    struct list_node waiting; /* struct canary, oldest first */
    uint64_t asked, given;    /* words of the writer */
};

void canaries_init(struct canaries *c);
void canary_init(struct canary *c);
/* A CANARY frame of l. One that waits already keeps its place. ERR_FRAME. */
MUST_USE int canary_came(struct link *l, struct slice body);
void canary_link_gone(struct link *l);
/* End of the turn: those whose time it is go back. */
void canary_turn(struct router *r);

/* For how long the oldest one waits for the store; 0: none does. */
int64_t canary_stuck_ns(const struct router *r, int64_t now_ns);
/* For how long one waits for the store, here or, while gateways are not read,
 * behind what these hold: a long queue that moves is no reason to start the
 * router anew. */
int64_t canary_held_ns(const struct router *r, int64_t now_ns);
/* l sends none any more, or says that it has got none back, for longer than
 * process.canary_wait; a gateway that never sent one is not mute. */
bool canary_mute(const struct link *l, int64_t now_ns);
/* How many gateways are mute; *first is one of them, unless it is NULL. */
size_t canary_mutes(const struct router *r, int64_t now_ns,
                    const struct link **first);

#endif
