/* trunk_frame.h - the frames of a trunk (lane.h): what each says, byte for byte.
 * They are rows of frames.def as all others. No I/O, no allocation.
 *
 *     COME    u32 number, u8 kind, u32 pid, u64 life, str8 name, str8 edge
 *     FROM    u32 number, u8 code, the frame's body
 *     GONE    u32 number, u8 left, str8 why
 *     TAKEN   u32 number, u64 bytes
 *     REPEAT  u16 count, count times u32 number, u8 code, the frame's body
 *     PLACE   u32 number, u8 follows, u64 seq
 *     CUT     u32 number, str8 why
 *
 * Readers return 0 or ERR_FRAME and leave slices that borrow the frame's bytes;
 * a writer's failure sticks to its buf.
 * Threads: any. */
#ifndef TOUCHLINE_PROTO_TRUNK_FRAME_H
#define TOUCHLINE_PROTO_TRUNK_FRAME_H

#include "base/buf.h"
#include "base/cursor.h"
#include "proto/rendezvous.h"

/* A lane's number: above those of all that came before it in this trunk. */
struct trunk_come {
    uint32_t number;
    struct peer_id who;
};
struct trunk_from {
    uint32_t number;
    uint8_t code;
    struct slice body;
};
struct trunk_gone {
    uint32_t number;
    bool left; /* it has said goodbye */
    struct slice why;
};
struct trunk_taken {
    uint32_t number;
    uint64_t bytes; /* of all frames put on the lane so far, as lane_cost() */
};
struct trunk_repeat {
    uint16_t count; /* 1 or more; numbers may be of lanes that are gone */
    struct cursor numbers;
    uint8_t code;
    struct slice body;
};
struct trunk_place {
    uint32_t number;
    bool follows; /* from here on the trunk's seq is the lane's, too */
    uint64_t seq;
};
struct trunk_cut {
    uint32_t number;
    struct slice why;
};

MUST_USE int trunk_read_come(struct slice body, struct trunk_come *ret);
MUST_USE int trunk_read_from(struct slice body, struct trunk_from *ret);
MUST_USE int trunk_read_gone(struct slice body, struct trunk_gone *ret);
MUST_USE int trunk_read_taken(struct slice body, struct trunk_taken *ret);
MUST_USE int trunk_read_repeat(struct slice body, struct trunk_repeat *ret);
MUST_USE int trunk_read_place(struct slice body, struct trunk_place *ret);
MUST_USE int trunk_read_cut(struct slice body, struct trunk_cut *ret);

void trunk_write_come(struct buf *b, uint32_t number,
                      const struct peer_id *who);
/* The body of the frame goes behind it. */
void trunk_write_from(struct buf *b, uint32_t number, uint8_t code);
void trunk_write_gone(struct buf *b, uint32_t number, bool left,
                      struct slice why);
void trunk_write_taken(struct buf *b, uint32_t number, uint64_t bytes);
/* Likewise; to `count` lanes. */
void trunk_write_repeat(struct buf *b, const uint32_t *numbers,
                        uint16_t count, uint8_t code);
void trunk_write_place(struct buf *b, uint32_t number, bool follows,
                       uint64_t seq);
void trunk_write_cut(struct buf *b, uint32_t number, struct slice why);

#endif
