/* wsdeflate.h - one message compressed, or back: RFC 7692 7.2, each message by
 * itself.
 *
 * One per worker; nothing of it belongs to a connection. Out, 4 KiB of window
 * and about 40 KiB of memory in all are as good for our messages as more
 * would be (docs/decisions/0020-deflate.md). In, the widest window is taken,
 * and what comes out is bounded while it comes out.
 * Threads: one at a time. */
#ifndef TOUCHLINE_WS_WSDEFLATE_H
#define TOUCHLINE_WS_WSDEFLATE_H

#include "base/buf.h"

enum {
    PACK_WINDOW = 12, /* bits: what we send needs no wider window */
    PACK_LEAST = 128, /* bytes: shorter messages go plain */
    UNPACK_RATIO = 100, /* a message may grow so many times, or ... */
    UNPACK_FREE = 64 * KIB, /* ... to this size, whatever it came as */
    UNPACK_BLOCKS = 2048, /* DEFLATE blocks of a message, and ... */
    UNPACK_BLOCK = 64, /* ... one more for so many bytes: each costs 1.5 us */
};

struct wsdeflate;

struct wsdeflate *wsdeflate_new(void); /* NULL: no memory */
void wsdeflate_free(struct wsdeflate *d); /* NULL is fine */

/* Appends the compressed payload. False, and nothing appended: it is not
 * shorter, or there is no memory; it goes plain then. Cost: 9 us for 200
 * bytes, 6 us a kilobyte. */
bool wsdeflate_pack(struct wsdeflate *d, struct slice payload,
                    struct buf *out);

/* Bytes that a message of `message` bytes may have when compressed, by the
 * worst of compressors. */
size_t wsdeflate_most(size_t message);

enum unpacked {
    UNPACKED,
    UNPACKED_BROKEN,   /* not DEFLATE, or not all of it */
    UNPACKED_TOO_BIG,  /* more than `most` bytes */
    UNPACKED_TOO_MUCH, /* over UNPACK_RATIO, and over UNPACK_FREE */
    UNPACKED_BLOCKS,   /* too many, for nothing but our time */
    UNPACKED_NO_MEMORY,
};
/* Appends the payload of a message as it was. Unless UNPACKED, what has been
 * appended means nothing; it is one byte over the bound at most. */
enum unpacked wsdeflate_unpack(struct wsdeflate *d, struct slice payload,
                               size_t most, struct buf *out);

#endif
