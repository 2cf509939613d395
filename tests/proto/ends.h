/* ends.h - two ends of a link in one process, on one loop, and a notebook for
 * each: what came, in which order, and whether that was right. The test says
 * each frame's number; a frame out of order, twice or spoilt is noted. */
#ifndef TESTS_PROTO_ENDS_H
#define TESTS_PROTO_ENDS_H

#include "base/buf.h"
#include "proto/pipe.h"

enum { ENDS_FRAME = 0x42, ENDS_NO_ROOM = 0x7e, ENDS_BAD = 0x7f };

struct end {
    struct pipe *pipe;
    uint64_t said, heard; /* numbers of frames */
    uint64_t wrong;       /* frames that should not have come so */
    size_t heard_bytes;
    unsigned ups, downs, drains, lost;
    uint64_t seq; /* of the last batch_end */
    uint64_t heard_at_seq;
    char why[96];
};

extern const struct pipe_ops end_ops; /* ctx: struct end */

/* One frame: the next number, and padding up to len bytes of body. */
void end_say(struct end *e, size_t len);
/* Says `count` frames of len bytes. */
void end_say_many(struct end *e, unsigned count, size_t len);

#endif
