/* wire.h - what a server says, taken apart: HTTP answers, chunked streams, Server-
 * Sent Events, WebSocket frames, lines. The client's side of every edge.
 * Threads: one at a time. Cost: O(bytes); a wire that waits holds no memory but
 * what has not come whole.
 *
 * Feed bytes, then take items until there are none. Their slices are void at
 * the next call. */
#ifndef TESTS_CHAOS_WIRE_H
#define TESTS_CHAOS_WIRE_H

#include "base/buf.h"

enum wire_form {
    WIRE_HTTP,   /* answers, each with a length */
    WIRE_LINES,  /* one endless chunked answer; its lines (NDJSON, /test/) */
    WIRE_EVENTS, /* the same, Server-Sent Events; the data of each */
    WIRE_FRAMES, /* 101, then WebSocket frames */
    WIRE_TELNET, /* lines from the first byte on */
};

enum wire_kind {
    WIRE_NONE,  /* more bytes are needed */
    WIRE_HEAD,  /* of an answer: status, retry_ms */
    WIRE_BODY,  /* of an answer that has a length; text */
    WIRE_TEXT,  /* a line, an event's data, a text or binary frame */
    WIRE_PING,  /* WebSocket: to be answered with wire_put_frame() */
    WIRE_RETRY, /* Server-Sent Events: how long to wait; retry_ms */
    WIRE_OVER,  /* it ended in order; WebSocket: code, and text the reason */
    WIRE_BAD,   /* what came cannot be read; nothing more will */
};

struct wire_item {
    enum wire_kind kind;
    int status; /* of a head; the code of a close */
    int64_t retry_ms; /* -1: not said */
    struct slice text;
};

struct wire {
    enum wire_form form;
    uint8_t state;
    bool chunked;
    size_t left;    /* of the body or chunk */
    size_t used;    /* of in */
    size_t spoken;  /* of text, taken already */
    struct buf in;
    struct buf text; /* unchunked, or fragments */
};

void wire_init(struct wire *w, enum wire_form form);
void wire_fini(struct wire *w);
void wire_feed(struct wire *w, struct slice bytes);
struct wire_item wire_next(struct wire *w);

/* ---- what a client says ---- */
enum { WIRE_OP_TEXT = 1, WIRE_OP_CLOSE = 8, WIRE_OP_PONG = 10 };
/* One masked frame. */
void wire_put_frame(struct buf *out, unsigned opcode, struct slice data);
/* `GET target`, with these lines ("Accept: ...\r\n") or NULL; upgrade: to
 * WebSocket. */
void wire_put_get(struct buf *out, const char *target, const char *lines,
                  bool upgrade);

#endif
