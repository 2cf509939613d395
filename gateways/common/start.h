/* start.h - the beginning of a subscription: from the request to the moment
 * when the connection follows the ring like everybody else.
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

struct subscribe;
struct refusal;

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
    bool changed; /* a page had a message that a snapshot must follow */
};

/* A message of a page, or a hole, that waits for the socket. */
struct start_item {
    struct start_item *next;
    struct msg *msg; /* of a hole: only its id */
    bool hole;
    uint8_t why; /* enum gap_why */
    uint64_t from, to;
};

struct start {
    struct start *next; /* on the connection, in order */
    struct conn *conn;
    struct list_node node; /* gateway.ready, .waiting, .paging or .ahead */
    uint8_t state;
    bool silent;   /* made by the gateway itself: the edge hears no ref */
    bool has_since;
    bool late;     /* added to a connection that is live already */
    bool said;     /* subscribed() and the notices have been */
    bool saying;   /* the edge is being told: not to be freed just now */
    bool dropped;  /* the connection closed meanwhile: free it afterwards */
    bool gone;     /* all channels were left; it only takes its LOGGED_IN */
    bool asked;    /* for snapshots, once */
    bool has_reason; /* whatever since says: a gap, because of reason */
    uint8_t reason;  /* enum gap_why */
    bool pages_done;
    uint64_t fetch; /* number of the FETCH under way, or 0 */
    uint32_t ref;
    uint32_t logins; /* LOGGED_IN still to come */
    uint64_t told;   /* gateway.told of the LOGGED_IN: snapshots from then on
                        know of this connection */
    struct position since;
    uint64_t seq, tick; /* the place, from READY on */
    uint64_t paged;     /* everything up to this seq has been put */
    struct start_item *rows, **rows_end;
    size_t rows_bytes;
    struct slice name;  /* behind the topics, in this allocation */
    unsigned count;
    struct start_topic topics[];
};

/* conn_subscribe() behind its checks: takes the seats, says LOGIN. */
MUST_USE int start_new(struct conn *c, const struct subscribe *s,
                       struct refusal *why);
/* All that a connection holds begins anew: the epoch has changed. */
void start_again(struct conn *c, enum gap_why why);
/* The same, once it has been given what came before. */
void start_settle_again(struct conn *c, enum gap_why why);
/* One topic of all its connections: messages without history were missed;
 * offsets from..to, 0 when unknown. */
void start_topic_again(struct gateway *g, struct topic *t, enum gap_why why,
                       uint64_t from, uint64_t to);
/* The same for all that this connection holds without history. */
void start_volatile_again(struct conn *c);
/* A snapshot of it for all who hold it, in its place among what they get. */
void start_resnapshot(struct topic *t);
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
/* The link has gone: what it was asked will not be answered. */
void start_link_down(struct conn *c);
/* The stream has come further: who read pages ahead of it may go on. */
void start_seq_moved(struct gateway *g);
/* Decide for all that wait, now that the link is whole again. */
void start_decide_waiting(struct gateway *g);
/* Say what has been decided, a slice a turn. */
void start_turn(struct gateway *g);
/* Pages are under way for this connection. */
bool start_paging(const struct conn *c);
/* Puts rows of pages into v; marks count rows from 1. False: v is full. */
bool start_pull(struct conn *c, struct outvec *v);
/* So many rows, counted from 1, have left or been begun. */
void start_rows_out(struct conn *c, uint64_t rows);
/* All that was there has left: ask for the next page, or go live. */
void start_advance(struct conn *c);
void start_row(struct conn *c, uint64_t fetch, struct msg *m);
void start_hole(struct conn *c, uint64_t fetch, const struct frame_hole *h);
void start_page_end(struct conn *c, uint64_t fetch, int err, bool more,
                    uint64_t upto);
/* Pages may be asked for: a slot is free. */
void start_fetch_next(struct gateway *g);
/* The seq up to which a connection that catches up has everything. */
uint64_t start_seq(const struct start *s);
/* Takes topics out of all starts (unsubscribed), or everything (closed). */
void start_drop_topic(struct conn *c, struct topic *t);
void start_free_all(struct conn *c);

#endif
