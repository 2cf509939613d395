/* outvec.h - what one sendmsg takes, gathered piece by piece.
 *
 * Shared pieces are pointed at, pieces of one connection are made in a
 * scratch area. A mark behind each message tells, after a short write, which
 * message was begun.
 * Threads: the gateway's loop; one outvec per gateway, used by one visit at a
 * time. */
#ifndef TOUCHLINE_GATEWAYS_OUTVEC_H
#define TOUCHLINE_GATEWAYS_OUTVEC_H

#include <stdbool.h>
#include <stdbool.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "gateways/common/edge.h"

enum {
    OUTVEC_BYTES = 256 * 1024, /* more is left to the next sendmsg */
    OUTVEC_PUT_IOV = 8,        /* pieces that one put() may take */
};

struct outvec_mark {
    uint64_t tick;
    size_t end; /* bytes up to and with this message */
};

struct outvec {
    unsigned iovs, marks;
    size_t bytes, scratch_used;
    bool to_out; /* all of it will be appended to the connection's out */
    struct iovec iov[OUTVEC_IOV];
    struct outvec_mark mark[OUTVEC_MARKS];
    uint8_t scratch[OUTVEC_SCRATCH];
};

void outvec_reset(struct outvec *v);
/* May another message be put? */
bool outvec_room(const struct outvec *v);
void outvec_bytes(struct outvec *v, struct slice bytes); /* borrows */
void outvec_mark(struct outvec *v, uint64_t tick);
/* Takes back what was added behind `iovs` and `bytes`. */
void outvec_rewind(struct outvec *v, unsigned iovs, size_t bytes);
/* Copies bytes [from, to) of v to the end of b. */
void outvec_copy(const struct outvec *v, size_t from, size_t to,
                 struct buf *b);

#endif
