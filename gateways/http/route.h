/* route.h - which handler answers which method and path: rows.
 * Threads: any; constants only. */
#ifndef TOUCHLINE_HTTP_ROUTE_H
#define TOUCHLINE_HTTP_ROUTE_H

#include "gateways/http/exchange.h"
#include "gateways/common/request.h"

/* One request, ready to be handled. Slices live during the call only. */
struct call {
    const struct request *request;
    struct slice path; /* decoded */
    struct slice tail; /* what the * or ** of the pattern stands for */
    struct slice body;
};

enum route_body {
    BODY_NONE,    /* a body is refused */
    BODY_MESSAGE, /* limits.message; it must say its length */
    BODY_BATCH,   /* limits.batch_bytes; the same */
    BODY_ECHO,    /* limits.message, and 400 above it: nothing is kept here
                     for which 413 would be the reason */
};

enum route_flag {
    ROUTE_PIPELINED = 1u << 0, /* need not wait for the answers before it */
    ROUTE_ADMIN = 1u << 1,     /* there only where http.admin says */
    ROUTE_MATCHES = 1u << 2,   /* says what is known of teams and matches */
    ROUTE_STAR = 1u << 3,      /* there is a * in its pattern */
};

struct route {
    enum method method;
    /* A path in which the last part may be ** (at least one byte), and any
     * segment *; at most one of them. */
    struct slice pattern;
    void (*handle)(struct exchange *x, const struct call *call);
    enum route_body body;
    unsigned flags; /* enum route_flag */
};

/* HEAD finds the row of GET. NULL: no such path, or, with *allow holding
 * "GET, HEAD, OPTIONS", not with this method. admin: rows with ROUTE_ADMIN
 * count. *tail is written on success. */
const struct route *route_find(enum method method, struct slice path,
                               bool admin, struct slice *tail,
                               struct buf *allow);

#endif
