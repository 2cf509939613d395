/* edge.h - what an edge must provide: bytes to requests, messages to bytes.
 * path: msg > publish > store > table > repeater > link > bus > gateway >
 *       [edge] > conn
 *
 * The common half of a gateway owns sockets, output, limits, the table, the
 * log and the link; an edge is a table of functions, and sees only conn.h,
 * envelope.h and access.h. All are called on the gateway's loop, never from
 * inside a call of the edge into conn.h, and never for a connection after
 * closed().
 *
 * Life of a connection: opened, input ..., closed. */
#ifndef TOUCHLINE_GATEWAYS_EDGE_H
#define TOUCHLINE_GATEWAYS_EDGE_H

#include <stdbool.h>
#include <sys/uio.h>

#include "base/cursor.h"
#include "proto/frame.h"
#include "proto/msg.h"
#include "proto/position.h"

struct conn;
struct gateway;
struct config;

/* ---- output of one visit ------------------------------------------------
 * What one sendmsg takes: pieces that are shared (wires) and pieces made for
 * this connection alone (scratch). */
enum { OUTVEC_IOV = 512, OUTVEC_SCRATCH = 16 * 1024, OUTVEC_MARKS = 256 };
struct outvec;
/* Appends w's bytes, or n of them; w must live until the end of the visit, which
 * it does when it hangs on the message. */
void outvec_wire(struct outvec *v, const struct wire *w);
void outvec_part(struct outvec *v, const struct wire *w, size_t from, size_t n);
unsigned outvec_messages(const struct outvec *v); /* put in this visit so far */
/* len bytes for this connection alone, to be filled at once. Never NULL for
 * len <= 512 at the first call within a put(). */
uint8_t *outvec_scratch(struct outvec *v, size_t len);

/* ---- notices ------------------------------------------------------------ */
enum notice_kind {
    NOTICE_SNAPSHOT, /* state, or none: null; channels when several have none */
    NOTICE_RESUMED,  /* channels when several */
    NOTICE_GAP,
    NOTICE_JOIN,  /* state: JSON object {"count":N,"names":[...]} */
    NOTICE_LEAVE, /* the same */
    NOTICE_CLOSING,
};
enum gap_why { GAP_TRIMMED, GAP_EPOCH, GAP_FUTURE, GAP_SLOW, GAP_CONFLATED,
               GAP_DAMAGED, GAP_VOLATILE };
const char *gap_why_text(enum gap_why why);
const char *notice_text(enum notice_kind kind); /* "snapshot" ... */

struct notice {
    enum notice_kind kind;
    const struct slice *channels; /* at least one, but for closing: none */
    unsigned count;
    struct slice cursor; /* text; empty: this notice carries none */
    struct slice state;  /* JSON; empty: null */
    enum gap_why why;
    uint64_t from, to; /* offsets, inclusive; 0: unknown */
    uint64_t missed;   /* how many; 0: unknown */
    const char *text;  /* closing: why */
    uint32_t retry_ms; /* closing: when to come again; 0: not said */
};

/* ---- results ------------------------------------------------------------ */
struct published { /* see frame_published; slices borrow */
    enum publish_status status;
    bool created;
    uint64_t seq, offset;
    int64_t ts_ms;
    uint32_t reached;
    struct slice channel, code, text, body;
    struct slice epoch; /* of a duplicate; empty: the present one */
};

/* Why a connection cannot go on with what it hears. */
struct give_up {
    const char *word, *code, *text; /* static; of closes.def, codes.def */
};

enum put_flag {
    PUT_REPLAY = 1u << 0, /* "replay":true and no cursor */
};
enum put_result {
    PUT_OK,   /* taken: all its bytes are in v, or nothing need be sent */
    PUT_FULL, /* no room in v, or in the answer: the same message again later */
};

/* What is handed over of a struct stands in two functions. Who adds a member adds
 * it there, with another FREEZE_FORMAT, or knows why not; here is the new size. */
#if UINTPTR_MAX > UINT32_MAX
#define FROZEN_SIZE(type, bytes) \
    _Static_assert(sizeof(type) == (bytes), \
                   "what is new in " #type " is handed over, too, or need not be")
#else
#define FROZEN_SIZE(type, bytes) _Static_assert(true, "")
#endif

struct edge {
    const char *name;   /* folder, binary suffix, section: "http" */
    const char *scheme; /* of the ready line: "http", "tcp", "ws" */
    bool crowds_ask; /* all of a crowd that comes ask the router something */
    size_t conn_bytes;  /* of state behind each conn: keep it tiny, it is paid
                           for by idle connections */

    /* Once per worker, before anything else, and at the end. */
    int (*start)(struct gateway *g); /* may be NULL */
    void (*stop)(struct gateway *g); /* may be NULL */

    /* A client has come; its state is zeroed. */
    void (*opened)(struct conn *c);
    /* A client that cannot be served: the bytes to send before closing. */
    struct slice (*busy)(const struct gateway *g);
    /* Bytes have come. Returns how many were used up; the others come again
     * with what follows. Negative: conn_close() has been or must be called,
     * no more input is wanted. The edge bounds what it leaves unused. */
    ssize_t (*input)(struct conn *c, struct slice bytes);
    /* The peer has sent its FIN after the last input(); output still goes. */
    void (*input_end)(struct conn *c);
    /* The same, behind input that waits because the edge has paused it; told as
     * often as noticed; input_end() follows if it reads on. May be NULL. */
    void (*end_behind)(struct conn *c);
    /* The deadline of conn_deadline() has come. NULL: it sets none, and a PROXY
     * header has limits.header_wait; else the edge bounds that wait, too. */
    void (*deadline)(struct conn *c);
    void (*ping)(struct conn *c); /* of who asked for it: limits.ping */
    /* Everything queued has reached the kernel; only after conn_want_drained. */
    void (*drained)(struct conn *c);
    /* The socket is gone; free what the edge keeps. */
    void (*closed)(struct conn *c);
    /* The gateway goes down: say goodbye in the edge's words, end properly
     * (closing notice, last chunk, 1001), conn_close(). */
    void (*drain)(struct conn *c);
    /* The same because an operator wants it closed: other words, 1008. */
    void (*kicked)(struct conn *c);
    /* The same because it would miss something if it went on: conn_cursor() is
     * said within this call, behind which all its channels, also those asked for,
     * are left without a further word. Other answers that are due follow. */
    void (*give_up)(struct conn *c, const struct give_up *why);

    /* ---- subscriptions: see conn_subscribe ---- */
    /* All logins of the request ref are in force in the router. Notices of
     * the start follow, then started(), then messages. */
    void (*subscribed)(struct conn *c, uint32_t ref);
    void (*started)(struct conn *c, uint32_t ref);
    /* What is subscribed begins anew, unasked: its notices have been given, those
     * of all channels that do so. May be NULL. */
    void (*restarted)(struct conn *c);
    /* The request could not be granted (a limit, the router's refusal). */
    void (*subscribe_failed)(struct conn *c, uint32_t ref, const char *code,
                             struct slice text);
    void (*notice)(struct conn *c, const struct notice *n); /* to conn_out() */
    /* A message for this connection: append its encoding to v. For forms
     * shared by many connections make m->forms[i] once. It may abort the
     * connection, but neither close it nor leave channels. */
    enum put_result (*put)(struct conn *c, struct msg *m, unsigned flags,
                           struct outvec *v);
    /* So many of the messages put in this visit are on their way, the last one
     * perhaps in part; the others come again, or not. Before anything else is
     * said; not of PUT_REPLAY, which are all. May be NULL. */
    void (*taken)(struct conn *c, unsigned messages);
    /* After a visit that put a message (long poll answers here). May be NULL. */
    void (*pulled)(struct conn *c);
    /* A slow reader is cut, and has been told what it misses: last words
     * before the socket goes. May be NULL. */
    void (*cut)(struct conn *c);

    /* ---- answers to conn_publish, conn_act, conn_fetch, conn_query ---- */
    void (*published)(struct conn *c, uint32_t ref, const struct published *p);
    void (*row)(struct conn *c, uint32_t ref, struct msg *m);
    void (*hole)(struct conn *c, uint32_t ref, const struct frame_hole *h);
    /* more: cut short by limit; upto: complete up to this seq; err: 0, or the
     * read failed (ERR_). */
    void (*page_end)(struct conn *c, uint32_t ref, int err, bool more,
                     uint64_t upto);
    /* seq: how things stood behind this message; 0 for a refusal of our own. */
    void (*answered)(struct conn *c, uint32_t ref, enum publish_status status,
                     bool json, struct slice body, uint64_t seq);

    /* ---- a successor takes over (freeze.h) ---- */
    /* Nothing of it waits for an answer just now, so it can be written down. */
    bool (*at_rest)(struct conn *c);
    /* It is not at rest because it ends, and nothing is waited for but its reader:
     * its deadline comes though nothing is read meanwhile. May be NULL. */
    bool (*ending)(struct conn *c);
    /* Appends what the edge keeps for it. What the common half has (output,
     * input not used up, deadline, pings, channels) is not its affair. */
    void (*freeze)(struct conn *c, struct buf *b);
    /* The same, read into a zeroed state; asks conn.h only what it is. 0,
     * ERR_FRAME, ERR_NOMEM; closed() follows also then. */
    int (*thaw)(struct conn *c, struct cursor *in);
    /* What it keeps for the worker; may be NULL, both. */
    void (*freeze_worker)(struct gateway *g, struct buf *b);
    int (*thaw_worker)(struct gateway *g, struct cursor *in);
};

#endif
