/* router.h - the router: one loop thread and what belongs to it.
 *
 * The core moves ids, connections and bytes. What a message means is the
 * types' business (type.h), how it is kept the store's, how it travels the
 * pipe's. Nothing here assumes to be the only router: numbers and the epoch
 * come from the store's seam.
 * Threads: everything belongs to the loop's thread. */
#ifndef TOUCHLINE_ROUTER_ROUTER_H
#define TOUCHLINE_ROUTER_ROUTER_H

#include "base/clock.h"
#include "base/loop.h"
#include "base/stat.h"
#include "proto/config.h"
#include "proto/position.h"
#include "proto/tally.h"
#include "router/canary.h"
#include "router/link.h"
#include "router/memory.h"
#include "router/missing.h"
#include "router/presence.h"
#include "router/publish.h"
#include "router/repeater.h"
#include "router/replay.h"
#include "router/snapshots.h"
#include "router/stats.h"
#include "router/table.h"
#include "router/type.h"
#include "store/reader.h"
#include "store/writer.h"

#define ROUTER_SERVER "touchline " TOUCHLINE_VERSION

/* ctl.c: questions that look at much, and what they have taken of the time. */
struct questions {
    struct toll toll;
    struct list_node waiting; /* for their turn, oldest first */
    struct list_node waiting_searches; /* of these: channels by pattern */
    size_t count;             /* of both */
    unsigned searching;       /* such ones that the store's readers have */
    struct loop_timer turn;
    struct list_node orphans; /* of all kinds, without a link */
};

struct router {
    struct loop *loop;
    const struct config *config;
    uint64_t life; /* random name of this life */
    int64_t started_ns, started_ms;

    struct epoch epoch;
    uint64_t seq;        /* everything up to here has been dispatched */
    uint64_t stored_seq; /* the last stored one of these */
    struct forgotten forgotten; /* as far as the store has said so */

    struct table table;
    struct types *types;
    struct links links;
    struct missing missing;
    struct publish publish;
    struct repeater repeater;
    struct replay replay;
    struct snapshots snapshots;
    struct presence presence;
    struct canaries canaries;
    struct stats stats;
    struct tally refused; /* publications, by code */

    struct writer *writer;
    struct readers *readers;
    struct key_finder *keys;
    struct rendezvous *rendezvous; /* borrowed, for its figures; may be NULL */
    struct questions questions;
    struct memory_questions memory;
    struct loop_turn end_of_turn;
    bool draining, epoch_under_way;
    void (*configured)(void *ctx); /* router_configure() */
    void *configured_ctx;
};

/* Reads what the store knows and starts its threads. Takes history in any
 * case. The config outlives the router. Errors of store/history.h. */
MUST_USE int router_init(struct router *r, struct loop *loop,
                         const struct config *config, struct history *history);
/* Ends links and jobs, waits for the commit in flight, closes the store
 * cleanly. Fine on a zeroed router. */
void router_fini(struct router *r);

/* No publication is taken any more, gateways are told to look for another
 * router. */
void router_drain(struct router *r);
/* Draining, and everything taken is committed and answered. */
bool router_drained(const struct router *r);

/* Goes on with next, which outlives it or the next one. done(ctx) when nothing
 * points into the one before any more. ERR_NOMEM, ERR_CLOSED: nothing has
 * changed. */
MUST_USE int router_configure(struct router *r, const struct config *next,
                              void (*done)(void *ctx), void *ctx);

/* A new name for the history, made by the store; all links hear of it. */
void router_new_epoch(struct router *r, const char *why);
/* The epoch is this one from here on. */
void router_take_epoch(struct router *r, const char *epoch);

/* How much is kept of an id, for the store: pure, any thread. arg: config. */
struct keep router_keep(void *arg, struct slice id);
/* Sets the gauges that nobody keeps up to date otherwise. */
void router_gauges(struct router *r);
/* Are those who come to this id and go announced? */
bool router_has_presence(const struct router *r, struct slice id);
/* Is a message of this id synced to disk before it is acknowledged? */
bool router_synced(const struct router *r, struct slice id);

/* ---- dispatch.c: what the frames of a peer do --------------------------- */
/* 0, or an error that takes the link down as the peer's fault. */
MUST_USE int dispatch(struct link *link, uint8_t code, struct slice body);

#endif
