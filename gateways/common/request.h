/* request.h - an HTTP/1.x request: where its head ends, what it says, how its
 * body is framed. Strict: what two parsers could read in two ways is refused.
 *
 * In three steps: head_scan() finds the end of the head in input that comes in
 * pieces, and never reads a byte twice; request_parse() reads a whole head, in
 * one pass, into slices of it; chunked_feed() takes a chunked body apart.
 *
 * Lines end in CR LF and in nothing else. A violation is a fault: the status
 * and words of the answer, after which the connection closes.
 * Threads: any. No I/O; no allocation but the body's buf. */
#ifndef TOUCHLINE_GATEWAYS_REQUEST_H
#define TOUCHLINE_GATEWAYS_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/slice.h"

struct fault {
    unsigned status;
    const char *code; /* "request.line" */
    const char *text; /* one sentence for people */
};

/* ---- the head ----------------------------------------------------------- */

struct head_limits {
    size_t request_line; /* bytes without CR LF */
    size_t block;        /* bytes of the whole head */
    unsigned fields;
};

/* How far the scan has come; zeroed is a fresh one. */
struct head_scan {
    uint32_t at;    /* no line feed in front of here is still to be seen */
    uint16_t lines; /* how many lines have ended, an empty first one aside */
};

/* Looks for the end of the head in `in`, all input that has not been used up:
 * what was there last time, and more. 0: *len is its length, with the empty
 * line. ERR_AGAIN: not all there. ERR_BAD: *why says it; a bad request line is
 * found as soon as it is there, before the fields. */
MUST_USE int head_scan(struct head_scan *s, struct slice in,
                       const struct head_limits *limits, size_t *len,
                       const struct fault **why);

enum method { METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_DELETE,
              METHOD_OPTIONS, METHODS };
const char *method_text(enum method m);

/* Fields that somebody here reads, by the length of their names. ONCE: a second
 * one is a fault. LAST: of several the last counts (the nearest proxy's). TOKENS:
 * several lines are one list, read into flags; the slice is the last line. */
#define REQUEST_FIELDS(X)                                    \
    X(TE, "te", TOKENS)                                      \
    X(VIA, "via", LAST)                                      \
    X(HOST, "host", ONCE)                                    \
    X(ACCEPT, "accept", TOKENS)                              \
    X(EXPECT, "expect", ONCE)                                \
    X(ORIGIN, "origin", ONCE)                                \
    X(UPGRADE, "upgrade", TOKENS)                            \
    X(FORWARDED, "forwarded", LAST)                          \
    X(X_REAL_IP, "x-real-ip", LAST)                          \
    X(CONNECTION, "connection", TOKENS)                      \
    X(CONTENT_TYPE, "content-type", ONCE)                    \
    X(AUTHORIZATION, "authorization", ONCE)                  \
    X(IF_NONE_MATCH, "if-none-match", LAST)                  \
    X(LAST_EVENT_ID, "last-event-id", ONCE)                  \
    X(TOUCHLINE_KEY, "touchline-key", ONCE)                  \
    X(CONTENT_LENGTH, "content-length", ONCE)                \
    X(TOUCHLINE_FROM, "touchline-from", ONCE)                \
    X(ACCEPT_ENCODING, "accept-encoding", LAST)              \
    X(IDEMPOTENCY_KEY, "idempotency-key", ONCE)              \
    X(X_FORWARDED_FOR, "x-forwarded-for", LAST)              \
    X(CONTENT_ENCODING, "content-encoding", LAST)            \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key", ONCE)          \
    X(TRANSFER_ENCODING, "transfer-encoding", ONCE)          \
    X(SEC_WEBSOCKET_VERSION, "sec-websocket-version", ONCE)  \
    X(SEC_WEBSOCKET_EXTENSIONS, "sec-websocket-extensions", LAST)

enum field {
#define AS_ENUM(id, name, rule) FIELD_##id,
    REQUEST_FIELDS(AS_ENUM)
#undef AS_ENUM
    FIELDS
};

enum request_flag {
    REQUEST_CLOSE = 1u << 0,      /* Connection: close */
    REQUEST_KEEP_ALIVE = 1u << 1, /* Connection: keep-alive */
    REQUEST_UPGRADE = 1u << 2,    /* Connection: upgrade */
    REQUEST_CONTINUE = 1u << 3,   /* Expect: 100-continue */
    REQUEST_TRAILERS = 1u << 4,   /* TE: trailers */
    REQUEST_CHUNKED = 1u << 5,
    REQUEST_LENGTH = 1u << 6,     /* there is a Content-Length */
    REQUEST_HTML = 1u << 7,       /* Accept names text/html */
    REQUEST_EVENTS = 1u << 8,     /* Accept names text/event-stream */
    REQUEST_WEBSOCKET = 1u << 9,  /* Upgrade: websocket */
};

struct request {
    enum method method;
    unsigned minor; /* HTTP/1.minor: 0 or 1 */
    unsigned flags; /* enum request_flag */
    uint64_t length;
    /* Slices of the head; absent: ptr is NULL. */
    struct slice authority;   /* of a target in absolute form */
    struct slice path, query; /* still encoded; path is "*" for OPTIONS * */
    struct slice lines;       /* of all fields, as they came */
    struct slice field[FIELDS];
    uint32_t repeated; /* bits of those that have more than one line */
};

/* head: as head_scan() measured it. On ERR_BAD *why says it, and *ret holds
 * what had been read: enough for `minor` and `method` of the answer. */
MUST_USE int request_parse(struct request *ret, struct slice head,
                           const struct fault **why);

/* Is there one Host where there must be, a valid one, and does a target in
 * absolute form agree with it? 0, or ERR_BAD with *why. */
MUST_USE int request_check_host(const struct request *r,
                                const struct fault **why);
bool request_keeps_alive(const struct request *r);

/* Has a proxy passed it on? Then the peer is not who asks. Via and X-Real-IP
 * say so, too, though they name nobody here. Who does: forwarded.h. */
bool request_is_forwarded(const struct request *r);
static inline bool request_repeats(const struct request *r, enum field f)
{
    return r->repeated >> f & 1;
}
/* The lines of this field in order: *rest begins as r->lines. False: that was
 * the last one. Cost: each line is looked at once. */
bool request_line_next(struct slice *rest, enum field f, struct slice *value);
/* The line of this field in front of the one with *value, which is r->field[f]
 * or came from here. False: that was the first. Cost: the lines in front. */
bool request_line_before(const struct request *r, enum field f,
                         struct slice *value);

/* ---- a chunked body ----------------------------------------------------- */

struct chunked {
    uint8_t state;
    uint64_t left;     /* bytes of this chunk still to come */
    uint32_t overhead; /* bytes of extensions and trailers so far */
    uint32_t fields;   /* trailers so far */
};

/* Can feeding have left it so, while more is needed? */
bool chunked_is_valid(const struct chunked *d);
/* Appends the data in `in` to body, which may grow to max bytes. *used: how
 * much of `in` was taken, also when more is needed; the rest comes again with
 * what follows. 0: the body is complete. ERR_AGAIN: more is needed. ERR_BAD:
 * *why. ERR_TOO_BIG: over max. ERR_NOMEM. */
MUST_USE int chunked_feed(struct chunked *d, struct slice in, struct buf *body,
                          size_t max, size_t *used, const struct fault **why);

#endif
