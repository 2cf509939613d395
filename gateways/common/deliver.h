/* deliver.h - what the link brings, into the ring and out of it again; and who
 * leaves an id.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_GATEWAYS_DELIVER_H
#define TOUCHLINE_GATEWAYS_DELIVER_H

#include "gateways/common/edge.h"
#include "gateways/common/topic.h"

struct conn;
struct gateway;

/* The data of a notice `gap`, which stands in the ring for messages that are
 * missing: offsets, 0 when unknown. */
struct gap {
    uint64_t from, to;
    enum gap_why why;
};

/* The gap that m stands for. False: m is something else. */
bool deliver_read_gap(const struct msg *m, struct gap *ret);
/* On ERR_NOMEM the link is asked to begin anew: m will come again. */
MUST_USE int deliver(struct gateway *g, struct msg *m);
/* A gap, with its place among the messages, for all who hold this id; or this
 * pattern, for which it says that some id may miss something. Forgets no topic.
 * Without memory the link begins anew. */
void deliver_gap(struct gateway *g, struct slice id, const struct gap *gap);
/* The ring lacks something of this id up to seq, which those have been told who
 * were there (deliver_gap): for a cursor in front of seq it answers no more, of
 * this id or of a pattern that matches it. What is missing behind that cursor,
 * the store says exactly. */
void deliver_lacks(struct gateway *g, struct slice id, uint64_t seq);
/* Old entries go, and idle topics; each turn. What has not been told to all
 * yet stays, be the ring over its bytes meanwhile. */
void deliver_expire(struct gateway *g);
void deliver_forget(struct gateway *g); /* all of it: another epoch */
/* Nobody here needs it any more: RELEASE, forget. */
void topic_maybe_release(struct gateway *g, struct topic *t);
void conn_leave(struct conn *c, struct seat *s, bool say);
void conn_leave_all(struct conn *c, bool gone);

#endif
