/* msg.h - one published message, or one notice that travels like a message.
 * path: [msg] > publish > store > table > repeater > link > bus > gateway >
 *       edge > conn
 *
 * Immutable once made, except for the numbers, which the router fills in at
 * the commit, before anybody else has seen the message. One allocation holds
 * the struct and all its bytes.
 *
 * Threads: a message belongs to the loop that made it; only that loop holds
 * and drops it. The store's writer reads the bytes of messages whose holder
 * waits for the commit. */
#ifndef TOUCHLINE_PROTO_MSG_H
#define TOUCHLINE_PROTO_MSG_H

#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/slice.h"

/* How the publisher wrote the data; stored with it and given back. */
enum msg_format { MSG_TEXT, MSG_JSON, MSG_BYTES, MSG_FORMATS,
                  MSG_NOTICE_FORMAT = MSG_JSON };

enum msg_flag {
    MSG_NOTICE = 1u << 0, /* kind: join, leave, snapshot; data: JSON; no offset */
    MSG_STORED = 1u << 1, /* the id keeps history: the store has it */
    MSG_RESNAPSHOT = 1u << 2, /* the state is not what this message alone
                                 makes of it: a snapshot follows */
};

/* What a reader who does not keep up may do without, as the type of its id
 * says: two bits of the flags. Which readers, says the namespace. */
enum msg_weight {
    WEIGHT_KEYED = 0,       /* a newer one of the same key says all it says;
                               without a key nothing does */
    WEIGHT_LESSER = 1u << 3, /* goes first: no state knows of it */
    WEIGHT_STATE = 2u << 3,  /* a newer state says all it says */
    WEIGHT_KEPT = 3u << 3,   /* is never left out */
    MSG_WEIGHT = 3u << 3,
};

/* Encodings an edge can hang on a message: what they are is the edge's. */
enum { MSG_FORMS = 8 };

/* Bytes made once and shared by all connections that take this encoding. */
struct wire {
    uint32_t refs;
    uint32_t len;
    struct wire *next; /* the same for others, held by this one; NULL: none */
    uint8_t bytes[];
};

struct msg {
    uint32_t refs;
    uint8_t format; /* enum msg_format */
    uint8_t flags;  /* enum msg_flag */
    uint64_t seq;   /* 0 until committed; of a notice: the last seq before it */
    uint64_t offset;
    int64_t ts_ms; /* Unix milliseconds, UTC */
    struct slice id, from, kind, key, data; /* inside this allocation */
    struct wire *forms[MSG_FORMS]; /* made on first use; gateway only */
};

/* What msg_new() copies. Slices may be empty. */
struct msg_parts {
    uint8_t format, flags;
    uint64_t seq, offset;
    int64_t ts_ms;
    struct slice id, from, kind, key, data;
};

/* Copies every slice. On 0 the caller owns one reference. ERR_NOMEM. */
MUST_USE int msg_new(struct msg **ret, const struct msg_parts *parts);
struct msg *msg_hold(struct msg *m);
void msg_drop(struct msg *m); /* NULL is fine; frees the forms as well */

/* Bytes of memory the message stands for, without its forms. */
size_t msg_size(const struct msg *m);

/* A wire of len bytes for the caller to fill; one reference. NULL: no memory. */
struct wire *wire_new(size_t len);
struct wire *wire_hold(struct wire *w);
void wire_drop(struct wire *w); /* NULL is fine */

#endif
