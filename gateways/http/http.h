/* http.h - the HTTP edge: connections, requests in order, answers in order.
 * path: msg > publish > store > table > repeater > link > bus > gateway >
 *       [edge] > conn
 *
 * A connection goes  idle -> head -> (body) -> idle ...  and, once, ends in a
 * stream. Publications may be pipelined, up to PIPELINE_MAX; any other request
 * waits until all before it have been answered, so that what is kept for
 * answers is bounded. A stream keeps nothing but struct http_conn; what
 * requests need hangs on it. A poll that waits, and has nothing to say yet,
 * keeps 16 bytes besides, from which its request is made again.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_HTTP_H
#define TOUCHLINE_HTTP_HTTP_H

#include "gateways/common/conn.h"
#include "gateways/common/edge.h"
#include "gateways/common/gateway.h"
#include "gateways/http/exchange.h"
#include "gateways/common/request.h"

extern const struct edge http_edge;

enum {
    HTTP_OUT_MAX = 64 * 1024,   /* unread answers; then requests wait */
    HTTP_KEEP_ALIVE_MS = 75000, /* a connection without a request */
    HTTP_BODY_STEP_MS = 5000,   /* how often a body's rate is looked at */
};

enum http_state {
    HTTP_IDLE,        /* no byte of a request is there */
    HTTP_HEAD,        /* the head of a request has begun */
    HTTP_BODY,        /* upload holds a request whose body is coming */
    HTTP_SUBSCRIBING, /* a stream or a poll waits for its login */
    HTTP_POLL,        /* logged in, with its request */
    HTTP_WAITING,     /* the same, and nothing to say yet: struct poll */
    HTTP_STREAM,
    HTTP_CLOSING,     /* input is thrown away */
};

enum http_flag {
    HTTP_WAIT_ROOM = 1u << 0, /* input is paused: too many answers are due */
    HTTP_WAIT_ALL = 1u << 1,  /* ... until all have been given */
    HTTP_ENDED = 1u << 2,     /* the peer has sent its FIN */
    HTTP_TRAILERS = 1u << 3,  /* the stream ends with Touchline-Cursor */
    HTTP_PUT = 1u << 4,       /* this visit has put a message (comet.c) */
    HTTP_PATTERN = 1u << 5,   /* the stream is of a pattern (comet.c) */
    HTTP_GZIP = 1u << 6,      /* the stream is gzipped */
};

struct upload; /* a request that waits for its body (http.c) */
struct page;   /* what a /test/ page counts (comet.c) */
struct poll;   /* one that waits (comet.c) */
struct zstream; /* what a gzipped stream has said (zstream.h) */

/* Requests and their answers: what a stream does without, or a poll that
 * waits. */
struct http_talk {
    struct exchange *first; /* the oldest one not answered */
    struct upload *upload;
    uint32_t scanned; /* of the head that is coming; see head_scan */
    uint16_t lines;   /* of that */
    uint16_t serial;  /* of the newest exchange */
};

/* Behind each connection. */
struct http_conn {
    uint8_t state; /* enum http_state */
    uint8_t form;  /* enum form, of a stream */
    uint8_t flags; /* enum http_flag */
    uint8_t unanswered; /* exchanges, or the poll that waits */
    uint32_t served;    /* requests so far */
    union {
        struct http_talk *talk; /* in no state of those below */
        struct poll *poll; /* HTTP_WAITING */
        struct page *page; /* HTTP_STREAM: NULL until something is counted */
        struct zstream *zstream; /* the same, with HTTP_GZIP */
    };
};

/* An exchange has its answer: sends what is due, goes on reading. */
void http_answered(struct exchange *x);
/* The exchange leaves without an answer of its own, and the talk is over: a
 * stream has begun, HTTP_STREAM. What was sent behind it is thrown away. */
void http_release(struct exchange *x);
/* The same, but it will be answered, by another that says the same, once
 * http_resume() has made a talk for that. */
void http_suspend(struct exchange *x);
/* HTTP_WAITING is over, and h->poll the caller's. False: no memory, and nothing
 * has changed. */
MUST_USE bool http_resume(struct conn *c, uint16_t serial);

#endif
