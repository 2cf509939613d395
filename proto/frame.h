/* frame.h - the frames of the link: what each says.
 *
 * A batch is a header (pipe.h) and frames, each `u32 length, u8 code, body`, all
 * little-endian; strings carry their length in front: str8, str16, str32 by the
 * width of it. frame_io.h reads and writes them, docs/protocol.md draws each. */
#ifndef TOUCHLINE_PROTO_FRAME_H
#define TOUCHLINE_PROTO_FRAME_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "proto/msg.h"
#include "proto/position.h"
#include "proto/publish_status.h"
enum { FRAME_VERSION = 4 + FRAME_VERSION_STEP }; /* step: of the Makefile */
enum frame_code {
#define FRAME(code, name, sender, least, meaning) FRAME_##name = code,
#include "proto/frames.def"
#undef FRAME
};
enum frame_sender { SENDER_GATEWAY, SENDER_ROUTER };

enum peer_kind { PEER_GATEWAY, PEER_CTL, PEER_REPEATER, PEER_KINDS };

struct frame_hello {
    uint8_t kind; /* enum peer_kind */
    uint32_t pid;
    uint64_t life;        /* random name of this life of the gateway */
    uint64_t router_life; /* the router's life it knew last, or 0 */
    uint64_t served;      /* everything stored up to this seq has reached it */
    uint64_t asked;  /* what it says again has a seq above this, if it was taken */
    struct slice name;    /* "http1" */
    struct slice edge;    /* "http" */
    struct slice epoch;   /* the epoch of served; empty when there is none */
};

/* Lists inside a frame: a frame that was read holds `count` whole items; call
 * its next_*() that often. One call more returns ERR_FRAME. */
enum login_flag {
    LOGIN_RESYNC = 1u << 0, /* said again by a returning gateway: no answer
                               needed but for the offsets */
};
enum login_id_flag { LOGIN_WANT_SNAPSHOT = 1u << 0 };
struct frame_login {
    uint32_t conn, gen; /* conn: the gateway's slot, gen: its generation */
    uint8_t flags;      /* enum login_flag */
    struct slice name;  /* for presence; empty: anonymous */
    uint16_t count;
    struct cursor items;
};
struct login_id {
    uint8_t flags; /* enum login_id_flag */
    struct slice id; /* or a pattern */
};

struct frame_logout {
    uint32_t conn, gen;
    uint8_t gone;   /* 1: the connection is closed, all its seats go */
    uint16_t count; /* with gone 0: these ids; 0 ids: all */
    struct cursor items;
};
/* release: nobody else here holds the id and no ring is kept: RELEASE, too. */
struct logout_id {
    uint8_t release;
    struct slice id;
};

struct frame_ids { /* SNAP */
    uint16_t count;
    struct cursor items;
};

enum publish_flag {
    PUBLISH_RESENT = 1u << 0, /* may have been taken before: look it up */
    PUBLISH_MORE = 1u << 1,   /* one commit with the next of this batch */
};
struct frame_publish {
    uint64_t number; /* the publication's name: (gateway life, number) */
    uint32_t conn, gen;
    uint8_t flags;  /* enum publish_flag */
    uint8_t format; /* enum msg_format */
    struct slice id, from, kind, key, idempotency, data;
};
struct frame_act {
    uint64_t number;
    uint32_t conn, gen;
    uint8_t flags;
    struct slice verb, from, args; /* verb as of router/type.h; args: JSON */
};

enum fetch_mode {
    FETCH_SINCE,  /* oldest first, seq in (after, upto] */
    FETCH_LAST,   /* the newest `limit` of one id, oldest first */
    FETCH_BEFORE, /* the newest `limit` of one id with seq < upto */
    FETCH_MODES
};
struct frame_fetch {
    uint32_t ref; /* the answer's ROW, HOLE, PAGE_END carry it */
    uint8_t mode;
    uint64_t after, upto; /* upto 0: where the router stands; BEFORE: nothing */
    uint32_t limit, bytes; /* at most so many messages, so many bytes */
    uint16_t count;
    struct cursor items; /* ids or patterns: read with frame_next_fetch_id */
};

struct frame_query {
    uint32_t ref;
    struct slice verb, args; /* router/ctl.c and types list the verbs */
};

struct frame_welcome {
    uint64_t life; /* random name of this life of the router */
    uint64_t seq;  /* everything up to here has been dispatched */
    uint32_t link;
    uint8_t resync; /* 1: say all logins again, then SYNCED */
    struct slice epoch, server; /* server: "touchline 0.1.0" */
};

enum id_flag { /* what the gateway must know of an id */
    ID_STATEFUL = 1u << 0, /* its type makes snapshots */
    ID_VOLATILE = 1u << 1, /* no history: gaps cannot be repaired */
    ID_REFUSED = 1u << 2,  /* limits.channels stands against it, or: */
    ID_NO_ROOM = 1u << 5,  /* with it: the router is short of memory */
    ID_SNAPSHOT = 1u << 3, /* state holds the snapshot */
    ID_PRESENCE = 1u << 4, /* every login and logout changes the snapshot */
};
struct frame_logged_in {
    uint32_t conn, gen;
    uint64_t seq; /* the stream stands here */
    uint64_t forgotten_seq; /* of an unknown id: up to here it may have been */
    uint8_t flags; /* of the LOGIN */
    uint16_t count;
    struct cursor items;
};
struct logged_in_id {
    uint8_t flags; /* enum id_flag */
    struct slice id;
    uint64_t last_offset, last_seq; /* of the id's last message, or 0 */
    uint64_t trimmed_offset, trimmed_seq; /* of the last one not kept, or 0 */
    struct slice state; /* JSON; of a refusal: text for people */
};

struct frame_snapshot {
    uint64_t seq;
    struct slice id, state;
};

/* DELIVER is a struct msg_parts: seq, offset, ts_ms, format, flags, id, from,
 * kind, key, data. ROW is the same behind a ref. */

struct frame_published {
    uint64_t number;
    uint8_t status;
    uint8_t created; /* an act: 1 when it made something new (201, not 200) */
    uint64_t seq, offset;
    int64_t ts_ms;
    uint32_t reached;
    struct slice id;
    struct slice epoch; /* of a duplicate's seq; empty: the present one */
    struct slice code; /* "store.full", "match.rule"; empty when OK */
    struct slice text; /* for people */
    struct slice body; /* an act's own answer: JSON */
};

enum hole_why { HOLE_TRIMMED, HOLE_DAMAGED, HOLE_WHYS };
struct frame_hole { /* in front of the first row behind the first of them */
    uint32_t ref; /* 0: among the DELIVERs of a resync */
    uint8_t why;
    uint64_t from, to; /* offsets, inclusive; 0: unknown */
    uint64_t seq;      /* of the last of them; damaged: at most this */
    struct slice id;
};
struct frame_page_end {
    uint32_t ref;
    uint8_t more;   /* 1: the page is cut short by limit or bytes */
    uint8_t status; /* 0, or a positive ERR_ number: the read failed */
    uint64_t upto;  /* complete up to here, this seq included */
};
struct frame_answer {
    uint32_t ref;
    uint8_t status; /* enum publish_status: OK, BAD, NOT_FOUND ... */
    uint8_t opaque; /* 1: a type's answer, JSON; 0: a report (report.h) */
    uint64_t seq;      /* true as of here: nothing behind it is in the answer */
    struct slice body; /* when refused "code: text for people" */
};
struct frame_kick {
    uint32_t conn, gen;
    struct slice reason;
};
struct frame_epoch {
    uint64_t seq; /* everything up to here has been dispatched */
    struct slice epoch;
};

/* RELEASE is one id, str8. SYNCED and RESYNCED are a seq, u64: up to where the
 * gateway has everything, up to where the router has dispatched. STATS is a
 * report (report.h), a row per figure: name, label, help, gauge, value. */

#endif
