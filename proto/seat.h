/* seat.h - the two-way table's one object: "this connection hears this id".
 *
 * A seat ties two sides, and sits on the list of both, so that the two
 * directions cannot disagree: freeing it leaves both. The router's sides are
 * the leaf (one id on one link) and its connection; the gateway's are the
 * topic and the client socket.
 * Threads: one loop. */
#ifndef TOUCHLINE_PROTO_SEAT_H
#define TOUCHLINE_PROTO_SEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/list.h"

struct seat_index;

/* One end: embed it. A side with many seats grows an index of its own, so
 * that finding a pair costs O(1) even between a connection with 10,000 ids
 * and an id with 100,000 connections; below that the list is the index. */
struct seat_side {
    struct list_node seats;
    uint32_t count;
    uint32_t flags; /* the owner's */
    struct seat_index *index; /* NULL while count is small */
};

struct seat {
    struct seat_side *topic; /* the id's end */
    struct seat_side *conn;  /* the connection's end */
    struct list_node on_topic;
    struct list_node on_conn;
    void *name; /* the owner's: under which name it watches, or NULL */
};

void seat_side_init(struct seat_side *s);
void seat_side_fini(struct seat_side *s); /* it must hold no seat */

/* The seat of this pair, or NULL. Cost: O(1) or a short list. */
struct seat *seat_find(struct seat_side *topic, struct seat_side *conn);
/* On 0 *ret is the new seat. ERR_EXISTS (with *ret the old one), ERR_NOMEM. */
MUST_USE int seat_add(struct seat **ret, struct seat_side *topic,
                      struct seat_side *conn);
void seat_free(struct seat *s); /* leaves both sides; NULL is fine */

/* Walks one side; the seat just returned may be freed, no other.
 * A seat added meanwhile may or may not be seen. */
struct seat_iter {
    struct list_node *next;
    const struct list_node *head;
};
struct seat_iter seats_of_topic(struct seat_side *topic);
struct seat_iter seats_of_conn(struct seat_side *conn);
struct seat *seat_next_of_topic(struct seat_iter *it); /* NULL: no more */
struct seat *seat_next_of_conn(struct seat_iter *it);

#endif
