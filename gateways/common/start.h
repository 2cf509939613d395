/* start.h - the beginning of a subscription: from the request to the moment
 * when the connection follows the ring like everybody else. Where it begins is
 * verdict.h's, what is said of it tell.h's; catchup.h reads pages, restart.h
 * begins what has to begin anew.
 *
 *   LOGIN ----LOGGED_IN----> decide --> READY --> live
 *                              |  ^
 *                              v  | (SNAPSHOT)
 *                             SNAP
 *   READY of one that catches up --> PAGING --> live
 *   READY of one added to a live connection, with an older cursor
 *                              --> REPLAY --> live
 *
 * A decision is taken at one place of the link's stream and fixes the tick
 * from which on the ring's messages count; what is said about it may follow
 * turns later, so 32,000 newcomers are told in slices, not in one turn.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_GATEWAYS_START_H
#define TOUCHLINE_GATEWAYS_START_H

#include <stdbool.h>

#include "base/list.h"
#include "gateways/common/edge.h"
#include "gateways/common/topic.h"
#include "proto/marks.h"

struct page;
struct refusal;
struct shelf;
struct subscribe;

enum start_state {
    START_LOGIN,  /* LOGGED_IN has not come */
    START_SNAP,   /* a snapshot is on its way; on gateway.waiting */
    START_READY,  /* its place is fixed; on gateway.ready */
    START_PAGING, /* reads pages of the store */
    START_REPLAY, /* the same, beside a connection that is live */
    START_STATES,
};

enum start_verdict { START_FRESH, START_RESUMED };

/* One channel of it. */
struct start_topic {
    struct topic *topic;
    struct snapshot *snapshot; /* held, from READY on */
    uint8_t verdict;           /* enum start_verdict */
    bool gap;                  /* told first, with why, from, to */
    uint8_t why;               /* enum gap_why */
    uint64_t from, to;
    bool missed; /* something came after since */
    bool paged;  /* and the ring does not reach back so far */
    bool held;   /* before this request already */
    bool beside; /* its messages go on until this is said */
    bool changed; /* a message that a snapshot must follow is in a page, or was
                     the last that the client got */
};

struct start {
    struct start *next; /* on the connection, in order */
    struct conn *conn;
    struct list_node node; /* gateway.ready, .waiting or .ahead; a shelf's
                              waiting, or pages.served */
    uint8_t state;
    bool silent;   /* made by the gateway itself: the edge hears no ref */
    bool has_since;
    bool late;     /* added to a connection that is live already */
    bool said;     /* subscribed() and the notices have been */
    bool saying;   /* the edge is being told: not to be freed just now */
    bool dropped;  /* the connection closed meanwhile: free it afterwards */
    bool gone;     /* all channels were left; it only takes its LOGGED_IN */
    bool whole;    /* as of struct subscribe */
    bool asked;    /* for snapshots, once */
    bool has_reason; /* whatever since says: a gap, because of reason */
    uint8_t reason;  /* enum gap_why */
    bool all;      /* the pages are of all channels, not of those that missed
                      something */
    uint8_t pages; /* taken, as far as counting matters */
    bool apart;    /* too large for gateway.moment */
    uint32_t ref;
    uint32_t logins; /* LOGGED_IN still to come */
    uint64_t told;   /* gateway.told of the LOGGED_IN: snapshots from then on
                        know of this connection */
    struct position since; /* asked with; of a silent one: where the connection
                              was, which is its cursor until it has been told */
    uint64_t seq, tick; /* the place, from READY on */
    uint64_t paged;     /* everything up to this seq has been put */
    uint64_t until;        /* pages count up to this seq, then the ring */
    uint64_t reach;        /* told to be trimmed up to this seq, whatever the
                              ring may have of it: pages go on up to there */
    uint64_t joined;       /* where the page being read was begun */
    struct marks known;    /* offsets: of each id, what it has been told to be
                              trimmed; from the beginning of all, what it has */
    struct shelf *shelf;   /* held, of the pages that it reads */
    struct page *page;     /* held, being read */
    size_t item;           /* the next one of it */
    struct slice name;  /* behind the topics, in this allocation */
    unsigned count;
    struct start_topic topics[];
};

/* conn_subscribe() behind its checks: takes the seats, says LOGIN. */
MUST_USE int start_new(struct conn *c, const struct subscribe *s,
                       struct refusal *why);
/* Its messages wait until s is said. */
bool start_mutes(const struct start *s, const struct topic *t);
/* Which request the next LOGGED_IN answers. NULL: none. */
struct start *start_of_login(const struct conn *c);
/* A LOGGED_IN of this connection has come; the seq where the link stands. */
void start_logged_in(struct conn *c);
/* The router has refused it: its channels are left, but for those held before
 * it, and nothing more is said of it. */
void start_refused(struct start *s);
/* Decide, if that is all it waits for. */
void start_kick(struct conn *c);
/* The same for one that waited for its reader to read. */
void start_again(struct conn *c);
/* One that has its place among live messages, and is not told yet, gives that
 * up: what comes behind it must not wait for it. Decided anew at the end of the
 * next flush (start_again()). */
void start_put_off(struct conn *c);
bool start_waits_for_reader(const struct conn *c);
/* The link has gone: what it was asked will not be answered. */
void start_link_down(struct conn *c);
/* Decide for all that wait, now that the link is whole again. */
void start_decide_waiting(struct gateway *g);
/* Say what has been decided, a slice a turn. */
void start_turn(struct gateway *g);
/* Takes topics out of all starts (unsubscribed), or everything (closed). */
void start_drop_topic(struct conn *c, struct topic *t);
void start_free_all(struct conn *c);

/* ---- for catchup.c, restart.c and tell.c -------------------------------- */

/* One behind all others of c, for up to `count` channels, without any yet;
 * its name is copied. NULL: no memory. */
struct start *start_alloc(struct conn *c, unsigned count, struct slice name);
void start_free(struct start *s);
/* Adds the topic to s, once; count grows within what was allocated. `held`:
 * before this request already. */
void start_cover(struct start *s, struct topic *t, bool held);
/* Is a message of this id one of its own? */
bool start_wants(const struct start *s, struct slice id);
/* The edge has been told, `saying` ends. False: s is gone, with its
 * connection. */
bool start_told(struct start *s);
/* s is through, and is freed: its connection is live. */
void start_finish(struct start *s);

#endif
