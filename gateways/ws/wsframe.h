/* wsframe.h - RFC 6455 framing: frames of a client to messages, and the header
 * of a server's frame.
 *
 * The reader takes bytes in any pieces and fails as soon as what came cannot
 * become valid any more: a header that must not be, a length over the limit
 * (before the payload comes), text that is not UTF-8 (within the frame). What
 * is compressed comes out as it came in, and is not looked into.
 *
 * Threads: one at a time. Cost: each payload byte is copied once, unmasked.
 * Memory: as much as has arrived of a message, at most twice the limit. */
#ifndef TOUCHLINE_WS_WSFRAME_H
#define TOUCHLINE_WS_WSFRAME_H

#include "base/buf.h"
#include "base/utf8.h"

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2,
                 WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/* RFC 6455 7.4.1, and ours. */
enum ws_code {
    WS_NORMAL = 1000,
    WS_GOING_AWAY = 1001,
    WS_PROTOCOL = 1002,
    WS_UNSUPPORTED = 1003,
    WS_NO_CODE = 1005, /* never on the wire: a close frame without one */
    WS_NOT_UTF8 = 1007,
    WS_POLICY = 1008,
    WS_TOO_BIG = 1009,
    WS_TRY_LATER = 1013,
    WS_SLOW = 4008,       /* the client reads too slowly */
    WS_NO_RESUME = 4010,  /* something was missed and cannot be told */
};

enum {
    WS_HEADER_MAX = 10,  /* of a server's frame */
    WS_CONTROL_MAX = 125, /* payload of a control frame */
    WS_COMPRESSED = 0x40, /* RSV1 in the first byte: RFC 7692 6 */
};

/* Writes the header of a whole unmasked message; returns its length. The
 * first byte may get WS_COMPRESSED. */
size_t wsframe_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode op,
                      size_t len);
/* Appends header and payload. */
void wsframe_add(struct buf *b, enum ws_opcode op, struct slice payload);
/* Appends a close frame; WS_NO_CODE: one without code. */
void wsframe_add_close(struct buf *b, unsigned code, const char *reason);

struct wsframe_limits {
    size_t message;     /* bytes of one message */
    size_t compressed;  /* of one as it comes; 0: none may come */
    uint32_t fragments; /* frames of one message */
};

/* Zeroed is fresh. */
struct wsreader {
    struct buf message;  /* unmasked, as far as it has come */
    uint64_t len, taken; /* payload of this frame */
    uint32_t fragments;  /* frames of this message so far */
    struct utf8_state utf8;
    uint8_t head[14];
    uint8_t head_len;    /* bytes in head */
    uint8_t head_need;   /* bytes that the header has, as far as known */
    uint8_t message_op;  /* of the message under way, 0: none */
    bool compressed;     /* the message under way is */
    bool returned;       /* the message was given out: forget it */
    uint8_t control[WS_CONTROL_MAX];
};

enum ws_event {
    WS_MORE,    /* *in is used up */
    WS_MESSAGE, /* op: WS_TEXT or WS_BINARY */
    WS_CONTROL, /* op: WS_CLOSE, WS_PING or WS_PONG */
    WS_FAILED,  /* close with code; nothing that follows can be read */
};
struct wsframe {
    enum ws_event event;
    enum ws_opcode op;
    bool compressed;      /* of WS_MESSAGE */
    struct slice payload; /* of WS_CLOSE: the reason; borrows the reader */
    unsigned code;        /* of WS_CLOSE and WS_FAILED */
    const char *why;      /* of WS_FAILED: a static text for the client */
};

/* Takes bytes off *in up to the first event. */
void wsframe_next(struct wsreader *r, struct slice *in,
                  const struct wsframe_limits *limits, struct wsframe *ret);
/* Nothing is under way, but for a message that was given out. */
bool wsreader_idle(const struct wsreader *r);
/* As fresh as a zeroed one, but keeps its memory. */
void wsreader_reset(struct wsreader *r);
void wsreader_fini(struct wsreader *r);

/* What it has been fed of the message and the frame under way, as bytes that
 * bring a fresh reader to the same state; but for the count of fragments. */
void wsreader_freeze(const struct wsreader *r, struct buf *b);
/* A fresh reader: is fed those. ERR_FRAME: they are more than the beginning of
 * something. ERR_NOMEM. */
MUST_USE int wsreader_thaw(struct wsreader *r, struct slice bytes,
                           uint32_t fragments);

#endif
