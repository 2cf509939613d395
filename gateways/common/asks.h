/* asks.h - what the gateway has asked the router and has no answer to yet.
 *
 * Every question is kept, as the frame it was, until its answer comes. When
 * the link goes, they wait for the next one and are sent again, publications
 * marked as resent under their old number, so that the router takes each
 * once. After publish_wait without a router they are given up: as unknown
 * when they may have been taken, as certainly not otherwise.
 * Threads: the gateway's loop. Cost: O(1) each. */
#ifndef TOUCHLINE_GATEWAYS_ASKS_H
#define TOUCHLINE_GATEWAYS_ASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"

struct gateway;
struct conn;

enum ask_kind { ASK_PUBLISH, ASK_ACT, ASK_FETCH, ASK_QUERY, ASK_PAGE };

struct ask {
    struct list_node node; /* in the order asked */
    struct map_node by_number;
    uint64_t number;
    uint32_t conn, gen; /* who wants to know */
    uint32_t ref;       /* the edge's */
    uint8_t kind;       /* enum ask_kind; ASK_PAGE: pages.c's FETCH, nobody's */
    uint8_t code;       /* enum frame_code */
    bool sent;          /* on some link, once */
    int64_t since_ns;
    uint64_t seq;       /* the router had dispatched up to here when it was sent */
    uint64_t row_seq;   /* of the last ROW: one asked again begins anew */
    struct buf frame;
};

struct asks {
    struct list_node waiting;
    struct map by_number;
    uint64_t next_number;
    size_t bytes;
};

void asks_init(struct asks *a);
void asks_fini(struct asks *a);

/* A question of c, numbered, with an empty frame for the caller to fill and
 * hand to ask_send(). NULL: no memory. Publications and queries share one
 * numbering; a query's ref on the wire is its number's low half. */
struct ask *ask_new(struct conn *c, enum ask_kind kind, uint32_t ref);
/* The same for a page that nobody in particular asks for. */
struct ask *ask_new_page(struct gateway *g);
/* Sends it now, or when there is a link. ERR_NOMEM: its frame could not be
 * written, nobody has been asked, k is gone. */
MUST_USE int ask_send(struct gateway *g, struct ask *k);
/* NULL when nobody asked, or it was given up. */
struct ask *ask_find(struct gateway *g, uint64_t number);
struct ask *ask_find_ref(struct gateway *g, uint32_t wire_ref);
void ask_done(struct gateway *g, struct ask *k); /* answered: forget it */
/* If a publication that will be sent again was taken, its seq is above this. */
uint64_t asks_seq(const struct gateway *g);
/* The link is back: all of it again, in order. */
void asks_resend(struct gateway *g);
/* Give up what has waited longer than publish_wait without a link. */
void asks_expire(struct gateway *g, int64_t now_ns);

#endif
