/* pub.h - a publication under way: from its acceptance to the commit.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_PUB_H
#define TOUCHLINE_ROUTER_PUB_H

#include "base/list.h"
#include "base/map.h"
#include "proto/msg.h"
#include "router/answers.h"

struct publish;
struct link;

/* A publication under way; also, without msg, the repeat of one, waiting on
 * its list of twins. */
struct pub {
    struct list_node node;
    struct map_node by_name; /* in publish.names: (life, number) */
    struct map_node by_key;  /* in publish.keys, when it has a key */
    struct list_node twins;
    struct link *link; /* whom to answer; NULL: nobody any more */
    uint64_t life, number;
    struct msg *msg;
    struct answer_room answer; /* to be remembered in */
    uint64_t body_hash;
    bool typed, act, created;
    bool named; /* it is in publish.names */
    bool more; /* the next in the queue belongs to the same commit */
    struct slice key, record, body; /* in tail */
    uint8_t tail[];
};

/* What is asked for, before anything has been made of it. */
struct request {
    struct link *link;
    uint64_t number;
    struct msg_parts in;
    struct slice key, body;
    bool act, created, more;
    bool resent; /* and it is not known by its name */
};

/* Copies key, body and record; the message comes with pub_enqueue(). NULL: no
 * memory. */
struct pub *pub_new(const struct request *q, struct slice record);
/* Leaves the lists it is on; its twins go, too. NULL is fine. */
void pub_free(struct publish *p, struct pub *pub);
/* Makes the message of event and goes to the end of the queue, with all that it
 * needs to be remembered. ERR_NOMEM: nothing has changed. */
MUST_USE int pub_enqueue(struct publish *p, struct pub *pub,
                         const struct msg_parts *event);

/* The twin waits for what becomes of first. ERR_NOMEM: nothing has changed. */
MUST_USE int pub_join(struct publish *p, struct pub *first, struct pub *twin);

/* The one under way with this idempotency key, or this name. NULL: none. */
struct pub *pub_by_key(const struct publish *p, struct slice id,
                       struct slice key);
struct pub *pub_by_name(const struct publish *p, uint64_t life,
                        uint64_t number);
/* Nobody waits any more for the answers that l would get. */
void pubs_link_gone(struct publish *p, const struct link *l);

#endif
