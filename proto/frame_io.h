/* frame_io.h - how the frames of frame.h are written and read.
 *
 * Writers append the body, without length and code, to a struct buf, whose
 * failure sticks. Readers return 0 or ERR_FRAME and leave slices that borrow
 * the frame's bytes. No I/O, no allocation.
 * Threads: any. */
#ifndef TOUCHLINE_PROTO_FRAME_IO_H
#define TOUCHLINE_PROTO_FRAME_IO_H

#include "proto/frame.h"

const char *frame_name(uint8_t code); /* "?" when there is none */
/* Is it a frame that this side may send, and long enough? 0 or ERR_FRAME. */
MUST_USE int frame_check(uint8_t code, enum frame_sender from, size_t len);

#define FRAME_CODEC(name, type)                              \
    MUST_USE int frame_read_##name(struct slice, type *ret); \
    void frame_write_##name(struct buf *, const type *)

FRAME_CODEC(hello, struct frame_hello);
FRAME_CODEC(publish, struct frame_publish);
FRAME_CODEC(act, struct frame_act);
FRAME_CODEC(query, struct frame_query);
FRAME_CODEC(welcome, struct frame_welcome);
FRAME_CODEC(deliver, struct msg_parts);
FRAME_CODEC(snapshot, struct frame_snapshot);
FRAME_CODEC(published, struct frame_published);
FRAME_CODEC(hole, struct frame_hole);
FRAME_CODEC(page_end, struct frame_page_end);
FRAME_CODEC(answer, struct frame_answer);
FRAME_CODEC(kick, struct frame_kick);
FRAME_CODEC(epoch, struct frame_epoch);
/* With a list behind: the writer writes count, the items follow one by one
 * (count of them, the writer of the frame sees to it). */
FRAME_CODEC(login, struct frame_login);
FRAME_CODEC(logout, struct frame_logout);
FRAME_CODEC(fetch, struct frame_fetch);
FRAME_CODEC(logged_in, struct frame_logged_in);
FRAME_CODEC(ids, struct frame_ids);
void frame_write_login_id(struct buf *, const struct login_id *);
void frame_write_logout_id(struct buf *, const struct logout_id *);
void frame_write_logged_in_id(struct buf *, const struct logged_in_id *);
void frame_write_id(struct buf *, struct slice id);
MUST_USE int frame_read_row(struct slice, uint32_t *ref, struct msg_parts *);
void frame_write_row(struct buf *, uint32_t ref, const struct msg_parts *);

/* Lists inside a frame are read one at a time: what is left remains in items;
 * a bad item makes it return ERR_FRAME. */
MUST_USE int frame_next_login_id(struct frame_login *f, struct login_id *ret);
MUST_USE int frame_next_logout_id(struct frame_logout *f,
                                  struct logout_id *ret);
MUST_USE int frame_next_id(struct frame_ids *f, struct slice *ret);
MUST_USE int frame_next_fetch_id(struct frame_fetch *f, struct slice *ret);
MUST_USE int frame_next_logged_in(struct frame_logged_in *f,
                                  struct logged_in_id *ret);

#endif
