/* core.h - what the files of the common half know of each other: the gateway
 * in full, and the connection by way of conns.h. Edges never include it.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_GATEWAYS_CORE_H
#define TOUCHLINE_GATEWAYS_CORE_H

#include "base/loop.h"
#include "base/stat.h"
#include "gateways/common/accept.h"
#include "gateways/common/address.h"
#include "gateways/common/admission.h"
#include "gateways/common/asks.h"
#include "gateways/common/canary.h"
#include "gateways/common/conn.h"
#include "gateways/common/conns.h"
#include "gateways/common/door.h"
#include "gateways/common/doorstep.h"
#include "gateways/common/drain.h"
#include "gateways/common/gateway.h"
#include "gateways/common/guest.h"
#include "gateways/common/outvec.h"
#include "gateways/common/pass.h"
#include "gateways/common/pages.h"
#include "gateways/common/ring.h"
#include "gateways/common/slow.h"
#include "gateways/common/start.h"
#include "gateways/common/stats.h"
#include "gateways/common/thin.h"
#include "gateways/common/topic.h"
#include "gateways/common/wheel.h"
#include "proto/config.h"
#include "proto/contention.h"
#include "proto/rendezvous.h"
#include "proto/slab.h"
#include "proto/spread.h"
#include "proto/tally.h"

enum {
    READ_BUFFER = 64 * 1024,
    CONN_UNREAD_MS = 2000, /* a deadline waits so long behind a time in which
                              nothing was read: what it waits for may be there */
    TURN_BYTES = 512 * 1024, /* sent in a turn by broadcasts, and as much to who
                                is behind; then others follow */
};

struct gateway {
    struct loop *loop;
    const struct config *config;
    const struct config_edge *edge_config;
    const struct edge *edge;
    void *edge_state;
    char name[PEER_NAME_MAX + 1];
    struct epoch epoch;
    uint32_t epoch_number;

    /* sockets */
    struct pollset *sockets;
    struct accepting accepting;
    struct door *door;   /* borrowed; all workers have the same */
    struct doorstep doorstep;
    struct passing passing;
    struct conns conns;
    struct slabs moment; /* what connections have while they are busy */
    uint32_t open;
    struct list_node lagging; /* live, but not at the end of the ring */
    size_t lag_count;         /* so many */
    struct list_node drained; /* of these: thin_turn() comes to them */
    struct thin_job *thin_job; /* of the first of them, or NULL */
    struct slow_round slow;
    size_t looked_at; /* entries and seats, for those who lag; wraps */
    size_t looks;     /* of thin_turn(), a turn */
    size_t sent;      /* bytes, by this worker ever; wraps */
    struct loop_turn end_of_turn;
    struct wheel wheel;
    struct loop_timer second; /* housekeeping, each second */
    struct outvec *out;       /* of the visit under way */
    uint8_t *read_buffer;

    /* what is said */
    struct topics topics;
    struct ring ring;
    uint64_t came; /* bytes of messages, into the ring ever */
    struct list_node fanouts; /* visits under way, oldest first */
    struct list_node ready;   /* starts that have their place in the ring */
    struct list_node waiting; /* starts that wait for a snapshot */
    struct list_node ahead;   /* starts that have come to the stream's end */
    struct pages pages;       /* for those that are behind the ring */

    /* the link */
    struct joiner *joiner;
    struct pipe *pipe;
    uint64_t told;  /* LOGGED_INs and SNAPSHOTs so far */
    bool linked;    /* WELCOME has come, the pipe is up */
    bool resyncing; /* between WELCOME and RESYNCED */
    bool draining;
    bool still; /* nothing new is read or accepted (succession.h) */
    bool router_changed; /* another life of it since the link was whole */
    int64_t unlinked_ns;
    uint64_t router_life, life_seq; /* its life, and the seq it began at */
    uint64_t seq;    /* everything up to here has come over the link */
    uint64_t served; /* the newest stored message that has */
    uint64_t forgotten_seq; /* as of the newest LOGGED_IN */
    struct asks asks;
    struct contention contention;
    struct canary canary;
    struct spread canaries;  /* how long they took, */
    struct spread published; /* and publications until they were answered */
    struct stats stats;
    struct admission admission;
    struct drain drain;
    struct tally refused; /* errors told, by code */
    struct tally closed;  /* connections ended, by the words of closes.def */
    bool first; /* of the process's workers: tells what is the process's */
    uint32_t retry_slot;

    struct worker *worker; /* gateway.c's own */
};

/* ---- conn.c ---- */
/* Takes fd, which has entered g->door and taken a share of this address
 * (nobody: none); both are given back when it goes, and here on an error.
 * ERR_NOMEM, ERR_IO: fd is closed then. */
MUST_USE int conn_open(struct gateway *g, int fd, unsigned flags,
                       unsigned listener, const struct address *share);
/* Puts a connection that is new in its slot into the pollset, with this socket,
 * which is its own on 0. Errors as of pollset_add(). */
MUST_USE int conn_watch(struct conn *c, int fd);
/* The same with a client that another gateway has passed on: what it has read
 * of it is the edge's first input. */
MUST_USE int conn_open_guest(struct gateway *g, int fd,
                             const struct guest *guest,
                             const struct address *share);
struct conn *conn_by_name(const struct gateway *g, uint32_t number,
                          uint32_t gen); /* NULL: gone */
struct conn_busy *conn_make_busy(struct conn *c); /* NULL: no memory */
/* Frees that, and its extra, when nothing is in it. */
void conn_busy_done(struct conn *c);
void conn_dirty(struct conn *c); /* flush it at the end of this turn */
/* Something that it was to be told is missing; its flush ends it. */
bool conn_out_failed(const struct conn *c);
/* Sends out and, when it is live, what is due from the ring. */
void conn_flush(struct conn *c);
/* What is due up to tick comes before all that out gets from now on: sent as
 * far as the socket takes it, the rest in out. Not within a flush. */
void conn_settle(struct conn *c, uint64_t tick);
/* Is what is due so little, even as an edge writes it, that conn_settle() makes
 * nobody slow who reads? Else it leaves first as everything does: at the end of
 * that start_again() and catchup_advance() are called. */
bool conn_may_settle(struct conn *c);
void conn_socket_event(void *ctx, uint64_t data, uint32_t events);
void conn_wheel_due(void *ctx, struct wheel_timer *t);
void conns_end_of_turn(struct gateway *g);
void conns_close(struct gateway *g);
/* Ends it as a slow reader: it gets the rest of the message that was begun, a
 * gap for each channel and the edge's last words, if it reads again within
 * limits.queue_age. What waits for it until then counts for queue_total. */
void conn_cut(struct conn *c, unsigned stat);
/* Now, and what waits for it is lost: one that is closing and does not read. */
void conn_drop(struct conn *c);
/* It would miss something if it went on: told where it is, it hears nothing
 * more, and ends when it has been answered. What it comes back with is good. */
void conn_give_up(struct conn *c, const struct give_up *why);
/* Another process has its socket: nothing is said, or done to that. */
void conn_part(struct conn *c);
/* Its socket takes something again, and is given it. */
void conn_take_up(struct conn *c);
/* It has not everything that the ring's visits have passed. */
bool conn_lags(const struct conn *c);
void conn_set_lagging(struct conn *c, bool lags);

/* ---- gateway.c ---- */
/* g is zeroed; half done, gateway_fini() undoes it. No link yet. Borrows
 * door. */
MUST_USE int gateway_init(struct gateway *g, const struct config *cfg,
                          const struct edge *edge, unsigned number,
                          struct door *door);
void gateway_fini(struct gateway *g);
/* Goes on with next, which outlives it or the next one; nothing of g points into
 * the one before any more. Cost: a walk over all connections. */
void gateway_configure(struct gateway *g, const struct config *next);
/* The link is whole for the first time: clients are served from now on. */
void gateway_ready(struct gateway *g);

#endif
