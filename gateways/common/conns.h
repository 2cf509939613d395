/* conns.h - the connections of a gateway: struct conn in full, their numbers
 * and generations, who wants a turn, who wants pings.
 *
 * A connection lies in a page of slots, which it never leaves, with the edge's
 * state behind it. Its number is that of its slot; the slot keeps the
 * generation when the connection goes, so that no name is used twice; with its
 * last generation it is retired. The first generation is drawn by lot, one of
 * 2^31: who restarts under the same name gives its clients other names than
 * those of before had. A page (a block, block.h) in which nobody is any more is
 * given back, but for one; of its generations the highest is kept for all.
 *
 * An idle connection is nothing but its slot: 64 bytes, in which it also has
 * its seat when it holds a single id (seat.h), and the edge's state. One with a
 * deadline has 32 more, `extra`; on that hangs what only a busy one needs.
 *
 * Threads: the gateway's loop. Only the common half includes this. */
#ifndef TOUCHLINE_GATEWAYS_CONNS_H
#define TOUCHLINE_GATEWAYS_CONNS_H

#include "base/loop.h"
#include "gateways/common/address.h"
#include "gateways/common/wheel.h"
#include "proto/block.h"
#include "proto/seat.h"

struct gateway;
struct config_token;

enum conn_state {
    CONN_FREE, /* nobody has this slot */
    CONN_OPEN,
    CONN_CLOSING,  /* what is queued still goes out; input is ignored */
    CONN_DRAINING, /* write side is shut; the peer's input is thrown away */
    CONN_DEAD,     /* on the list of those to be freed this turn */
};

enum conn_flow { FLOW_NONE, FLOW_STARTING, FLOW_PAGING, FLOW_LIVE };

enum conn_flag {
    CONN_DIRTY = 1u << 0,       /* queued to be flushed, this turn or soon */
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
    CONN_IN_EDGE = 1u << 11,   /* input() is on the stack */
    CONN_RDHUP = 1u << 12,     /* the kernel has the peer's FIN */
    CONN_HEADER_DUE = 1u << 13, /* its first bytes may be a PROXY header */
    CONN_PINGS_NEW = 1u << 14, /* the next ping is too early for it */
    CONN_CUT = 1u << 15,       /* as a slow reader */
};

/* What only a connection that is being served has; made when needed. */
struct conn_busy {
    struct conn *conn;
    struct buf *out, *in; /* NULL while empty */
    struct start *starts; /* subscriptions that have not begun yet, in order */
    const struct config_token *token;
    struct list_node lagging; /* on gateway.lagging */
    struct list_node drained; /* on gateway.drained, to be thinned */
    struct list_node missing; /* may not have got what leaves (thin.c) */
    int64_t lagging_ns;  /* since when */
    int64_t progress_ns; /* when the socket took something last */
    int64_t pass_ns; /* since when it waits to be passed on (pass.h) */
    struct thinned *thinned; /* NULL: nothing has been left out since */
    struct {             /* of what `cut` is said of, since it lags: */
        uint64_t from, upto; /* ticks looked at; upto 0: none yet */
        uint64_t came;       /* gateway.came then */
        int64_t looked_ns;   /* when */
        size_t bytes;        /* no less than these once it has read on */
        int64_t oldest_ns;   /* no older than this */
    } whole;
    uint32_t round; /* of slow.c that has looked at it */
    uint16_t patterns;
    struct address share;     /* whose it takes (door.h) */
    struct address proxied;   /* whom a PROXY header names */
    struct address forwarded; /* whom the proxy of a request names */
};

/* What an idle one does without; made when needed. */
struct conn_extra {
    struct wheel_timer deadline; /* its owner: the connection's number */
    struct conn_busy *busy;      /* NULL: nothing of that */
};

struct conn {
    struct gateway *gw;
    struct conn_seats seats; /* their flags: the generation */
    uint64_t tick;           /* has everything of its ids up to here */
    struct conn_extra *extra;
    int fd;
    uint32_t number;
    uint32_t turn;     /* the next one dirty, or dead, or free */
    uint16_t flags;    /* enum conn_flag */
    uint8_t state : 4; /* enum conn_state */
    uint8_t flow : 4;  /* enum conn_flow */
    uint8_t listener;  /* which one took it */
};

static inline uint32_t conn_gen(const struct conn *c)
{
    return c->seats.flags;
}
static inline struct conn *conn_of_seat(const struct seat *s)
{
    return CONTAINER_OF(seat_conn(s), struct conn, seats);
}
/* NULL: there is nothing in it. */
static inline struct conn_busy *conn_busy(const struct conn *c)
{
    return c->extra ? c->extra->busy : NULL;
}
static inline struct start *conn_starts(const struct conn *c)
{
    return conn_busy(c) ? conn_busy(c)->starts : NULL;
}
/* Some of what is due to it is left out (slow.h). */
static inline bool conn_thinned(const struct conn *c)
{
    return conn_busy(c) && conn_busy(c)->thinned;
}
static inline bool conn_has_out(const struct conn *c)
{
    return conn_busy(c) && conn_busy(c)->out;
}

/* Numbers chained by conn.turn, first in, first out. */
struct conn_queue {
    uint32_t first, last;
};

struct conns {
    struct gateway *gw;
    struct blocks blocks;
    struct conn_page *pages; /* of slots */
    uint32_t page_count, page_room;
    uint32_t page_slots, extras; /* slots in each; connections with one */
    size_t stride; /* of a slot: a conn and the edge's state */
    uint32_t first_gen; /* of each slot */
    uint32_t used; /* slots that ever had a connection */
    uint32_t room; /* the first page with free slots */
    uint32_t gone; /* the first of those that were found given back */
    uint32_t spare; /* a page that may be empty and is kept all the same */
    struct conn_queue dirty, dead;
    struct conn_queue behind; /* have more to be sent than a visit sends */
    uint32_t pinged; /* how many want pings */
    uint32_t ping_step; /* everybody due up to here has been pinged */
    uint32_t ping_next; /* and so many of those due with the next step */
    int64_t ping_began_ns;
    struct loop_timer ping; /* set while somebody does */
};

void conns_init(struct conns *cs, struct gateway *g); /* has loop and edge */
void conns_fini(struct conns *cs); /* all must have been given back */
size_t conns_bytes(const struct conns *cs); /* of the slots */
/* CONN_OPEN, all zero but for its name. NULL: no memory. */
struct conn *conns_take(struct conns *cs);
void conns_give(struct conns *cs, struct conn *c);

/* ---- those of a predecessor, which keep their names (freeze.h): all slots
 * first, in order, then who has one, then the rest ---- */
/* The last generation that this slot had. */
uint32_t conns_gen(const struct conns *cs, uint32_t number);
/* One more slot, empty and not to be taken yet. ERR_NOMEM. */
MUST_USE int conns_add_empty(struct conns *cs, uint32_t gen);
/* As conns_take(), in its slot. NULL: there is none, it is not empty, or of
 * another generation. */
struct conn *conns_place(struct conns *cs, uint32_t number, uint32_t gen);
/* The slots that are still empty may be taken. */
void conns_free_rest(struct conns *cs);
/* By number, below cs->used; NULL where nobody is. */
struct conn *conns_at(const struct conns *cs, uint32_t number);
/* for (uint32_t i = 0; (c = conns_next_open(cs, &i)); ): those in CONN_OPEN */
struct conn *conns_next_open(const struct conns *cs, uint32_t *i);

void conn_queue_put(struct conn_queue *q, struct conn *c);
/* NULL: empty. */
struct conn *conn_queue_take(struct conns *cs, struct conn_queue *q);
bool conn_queue_empty(const struct conn_queue *q);
struct conn_queue conn_queue_all(struct conn_queue *q); /* leaves it empty */
/* All of `first` in front of those in q. */
void conn_queue_join(struct conns *cs, struct conn_queue *q,
                     struct conn_queue first);

/* edge->ping() every limits.ping, spread over the period by number; the first
 * one at least a period from now. One timer for all; a bounded number is
 * pinged each turn. */
void conns_want_pings(struct conns *cs, struct conn *c, bool wanted);
/* limits.ping is another one: the period begins now. */
void conns_ping_changed(struct conns *cs);
/* Pings come when a predecessor's would have come: as its ping_ members say. */
void conns_ping_on(struct conns *cs, int64_t began_ns, uint32_t step,
                   uint32_t next);

#endif
