/* seat.h - the two-way table's one object: "this connection hears this id".
 *
 * A seat ties two ends and is known to both, so that the two directions cannot
 * disagree: freeing it leaves both. The router's ends are the leaf (one id on
 * one link) and its connection; the gateway's are the topic and the client
 * socket.
 *
 * An end with one seat keeps it in place, and that costs nothing besides the
 * end itself: most connections hold one id, most ids of that kind one
 * connection. An end with several has a list, in which each seat knows its
 * place: adding is O(1) amortised, leaving O(1), at any length.
 *
 * Memory: 16 bytes in an id, 24 in a connection, nothing else for a pair that
 * has no other; else 24 to 32 for the seat and 8 to 16 in each list.
 * Threads: one loop. */
#ifndef TOUCHLINE_PROTO_SEAT_H
#define TOUCHLINE_PROTO_SEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

struct topic_seats;
struct conn_seats;
struct seat_list;

/* May move when its connection gets another seat, or the seat a name: keep no
 * pointer to it over seat_add() and seat_set_name(). */
struct seat {
    struct topic_seats *topic; /* the id's end */
    uint32_t on_topic;         /* its place in the list of that end */
    uint32_t on_conn : 30;     /* the same at the connection's */
    uint32_t in_place : 1;     /* it lies in the connection's end */
    uint32_t named : 1;        /* there is room for a name behind it */
};

/* The id's end: embed it. */
struct topic_seats {
    union {
        struct seat *one;
        struct seat_list *list; /* while `listed` */
        size_t spare;           /* the owner's while count is 0, or 0 */
    };
    uint32_t count : 31;
    uint32_t listed : 1;
    uint32_t flags; /* the owner's */
};

/* The connection's end: embed it; it must not move while it holds a seat. */
struct conn_seats {
    union {
        struct seat only;
        struct seat_list *list; /* while `listed` */
    };
    uint32_t count : 31;
    uint32_t listed : 1;
    uint32_t flags; /* the owner's */
};

/* An end that is all zero holds nothing, and one that holds nothing has
 * nothing to be freed. */

/* The connection's end of a seat. */
struct conn_seats *seat_conn(const struct seat *s);

/* The seat of this pair, or NULL. Cost: O(1), or a short list. */
struct seat *seat_find(struct topic_seats *topic, struct conn_seats *conn);
/* On 0 *ret is the new seat. ERR_EXISTS (with *ret the old one), ERR_NOMEM. */
MUST_USE int seat_add(struct seat **ret, struct topic_seats *topic,
                      struct conn_seats *conn);
void seat_free(struct seat *s); /* leaves both ends; NULL is fine */

/* Under which name the connection watches: the owner's pointer, which it has
 * to free. NULL: anonymous. */
void *seat_name_kept(const struct seat *s);
/* Replaces it, takes nothing, frees nothing; *s may move. ERR_NOMEM, but never
 * for NULL. */
MUST_USE int seat_keep_name(struct seat **s, void *name);

/* Bytes of all lists and seats that were made by this thread, which has to be
 * the one that frees them. */
size_t seats_bytes(void);

/* Walks one end, newest first. The seat just returned may be freed; so may
 * others, but then some may be seen twice. One that is added meanwhile is not
 * seen. */
struct seat_iter {
    struct topic_seats *topic; /* whichever end is walked */
    struct conn_seats *conn;
    uint32_t left;
};
struct seat_iter seats_of_topic(struct topic_seats *topic);
struct seat_iter seats_of_conn(struct conn_seats *conn);
struct seat *seat_next(struct seat_iter *it); /* NULL: no more */

#endif
