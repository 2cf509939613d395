/* core.h - what the files of the common half know of each other: the
 * connection and the gateway in full. Edges never include it.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_GATEWAYS_CORE_H
#define TOUCHLINE_GATEWAYS_CORE_H

#include "base/loop.h"
#include "base/stat.h"
#include "gateways/common/accept.h"
#include "gateways/common/address.h"
#include "gateways/common/asks.h"
#include "gateways/common/conn.h"
#include "gateways/common/door.h"
#include "gateways/common/doorstep.h"
#include "gateways/common/gateway.h"
#include "gateways/common/outvec.h"
#include "gateways/common/ring.h"
#include "gateways/common/start.h"
#include "gateways/common/stats.h"
#include "gateways/common/topic.h"
#include "gateways/common/wheel.h"
#include "proto/config.h"
#include "proto/rendezvous.h"

enum conn_state {
    CONN_OPEN,
    CONN_CLOSING,  /* what is queued still goes out; input is ignored */
    CONN_DRAINING, /* write side is shut; the peer's input is thrown away */
    CONN_DEAD,     /* on the list of those to be freed this turn */
};

enum conn_flow { FLOW_NONE, FLOW_STARTING, FLOW_PAGING, FLOW_LIVE };

enum conn_flag {
    CONN_DIRTY = 1u << 0,       /* on the list to be flushed this turn */
    CONN_STALLED = 1u << 1,     /* the socket takes no more */
    CONN_WANT_DRAINED = 1u << 2,
    CONN_PAUSED = 1u << 3,      /* input is not read */
    CONN_READABLE = 1u << 4,    /* edge seen, not read to the end yet */
    CONN_INPUT_END = 1u << 5,   /* the peer's FIN has been read */
    CONN_LOOPBACK = 1u << 6,    /* peer */
    CONN_AT_LOOPBACK = 1u << 7, /* listener */
    CONN_ADMIN = 1u << 8,
    CONN_MANY = 1u << 9, /* pulls by walking the ring: many ids, or patterns */
    CONN_PINGS = 1u << 10,
    CONN_IN_EDGE = 1u << 11, /* input() is on the stack */
    CONN_RDHUP = 1u << 12,   /* the kernel has the peer's FIN */
    CONN_HEADER_DUE = 1u << 13, /* its first bytes may be a PROXY header */
};

/* What few connections have, made when needed. */
struct conn_extra {
    struct conn *conn;
    const struct config_token *token;
    struct list_node lagging; /* on gateway.lagging */
    int64_t lagging_ns;  /* since when */
    int64_t progress_ns; /* when the socket took something last */
    uint16_t patterns;
    struct address share;     /* whose it takes (door.h); a reset socket
                                 does not know any more */
    struct address proxied;   /* whom a PROXY header names */
    struct address forwarded; /* whom the proxy of a request names */
};

struct conn {
    struct gateway *gw;
    int fd;
    uint32_t number, gen;
    uint16_t flags;    /* enum conn_flag */
    uint8_t state : 4; /* enum conn_state */
    uint8_t flow : 4;  /* enum conn_flow */
    uint8_t listener;  /* which one took it */
    uint64_t tick;     /* has everything of its ids up to here */
    struct seat_side seats;
    struct buf *out, *in; /* NULL while empty */
    struct start *starts; /* subscriptions that have not begun yet, in order */
    struct conn_extra *extra;
    struct list_node turn; /* dirty, or dead */
    struct wheel_timer timer; /* the earlier of the two below */
    uint32_t deadline, ping;  /* in the wheel's steps; 0: none */
};

enum {
    READ_BUFFER = 64 * 1024,
    GATEWAY_EVENTS = 128, /* names that gateway_count() may be told */
};

struct gateway {
    struct loop *loop;
    const struct config *config;
    const struct config_edge *edge_config;
    const struct edge *edge;
    void *edge_state;
    char name[PEER_NAME_MAX + 1];
    struct epoch epoch;

    /* sockets */
    struct pollset *sockets;
    struct listener *listeners;
    struct loop_timer accept_again;
    bool accept_paused;
    struct door *door;   /* borrowed; all workers have the same */
    struct doorstep doorstep;
    struct conn **conns; /* by number; NULL where free */
    uint32_t *gens;      /* generation that the slot had last */
    uint32_t *free_slots;
    uint32_t conns_room, conns_used, free_count;
    uint32_t open;
    struct list_node dirty, dead;
    struct list_node lagging; /* live, but not at the end of the ring */
    struct loop_turn end_of_turn;
    struct wheel wheel;
    struct loop_timer second; /* housekeeping, each second */
    struct outvec *out;       /* of the visit under way */
    uint8_t *read_buffer;

    /* what is said */
    struct topics topics;
    struct ring ring;
    struct list_node fanouts; /* visits under way, oldest first */
    struct list_node ready;   /* starts that have their place in the ring */
    struct list_node waiting; /* starts that wait for a snapshot */
    struct list_node paging;  /* starts that wait for their turn to FETCH */
    struct list_node ahead;   /* starts whose pages went beyond the stream */
    unsigned fetches;         /* FETCHes of theirs under way */
    size_t queued;            /* bytes of pages that wait for sockets */

    /* the link */
    struct joiner *joiner;
    struct pipe *pipe;
    uint64_t told;  /* LOGGED_INs and SNAPSHOTs so far */
    bool linked;    /* WELCOME has come, the pipe is up */
    bool resyncing; /* between WELCOME and RESYNCED */
    bool draining;
    bool router_changed; /* at the last WELCOME: another life of it */
    int64_t unlinked_ns;
    uint64_t router_life, life_seq; /* its life, and the seq it began at */
    uint64_t seq;    /* everything up to here has come over the link */
    uint64_t served; /* the newest stored message that has */
    struct asks asks;
    struct stats stats;
    struct gateway_event {
        const char *name;
        uint64_t count;
    } events[GATEWAY_EVENTS]; /* gateway_count() */
    uint32_t retry_slot;

    struct worker *worker; /* gateway.c's own */
};

/* ---- conn.c ---- */
/* Takes fd, which has entered g->door and taken a share of this address
 * (nobody: none); both are given back when it goes, and here on an error.
 * ERR_NOMEM, ERR_IO: fd is closed then. */
MUST_USE int conn_open(struct gateway *g, int fd, unsigned flags,
                       unsigned listener, const struct address *share);
struct conn *conn_by_name(const struct gateway *g, uint32_t number,
                          uint32_t gen); /* NULL: gone */
struct conn_extra *conn_extra(struct conn *c); /* NULL: no memory */
void conn_extra_done(struct conn *c); /* frees it when nothing is in it */
void conn_dirty(struct conn *c); /* flush it at the end of this turn */
/* Sends out and, when it is live, what is due from the ring. */
void conn_flush(struct conn *c);
/* What is due up to tick comes before all that out gets from now on: sent as
 * far as the socket takes it, the rest in out. Not within a flush. */
void conn_settle(struct conn *c, uint64_t tick);
void conn_socket_event(void *ctx, uint64_t data, uint32_t events);
void conn_wheel_due(void *ctx, struct wheel_timer *t);
void conns_end_of_turn(struct gateway *g);
void conns_free(struct gateway *g);
/* Ends it as a slow reader. */
void conn_cut(struct conn *c, unsigned stat);
/* It has not everything that the ring's visits have passed. */
bool conn_lags(const struct conn *c);
void conn_set_lagging(struct conn *c, bool lags);

/* ---- slow.c ---- */
/* Each second: who lags too far. */
void slow_check(struct gateway *g);
/* One gap notice for each channel of c that has something it has not got. */
void slow_tell(struct conn *c);

/* ---- gateway.c ---- */
/* g is zeroed; half done, gateway_fini() undoes it. No link yet. Borrows
 * door. */
MUST_USE int gateway_init(struct gateway *g, const struct config *cfg,
                          const struct edge *edge, unsigned number,
                          struct door *door);
void gateway_fini(struct gateway *g);
/* The link is whole for the first time: clients are served from now on. */
void gateway_ready(struct gateway *g);
/* Appends the counts of gateway_count() to a report. */
void gateway_report_events(struct gateway *g, struct buf *b);

#endif
