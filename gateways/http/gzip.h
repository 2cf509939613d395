/* gzip.h - gzip (RFC 1952) in pieces, which are made once and stand in many
 * streams.
 *
 * A piece is whole DEFLATE blocks that end at a byte boundary, so any piece may
 * stand behind any other. It refers to nothing in front of it, or to a text
 * that must be the last one there. What is of one stream alone is its
 * beginning, its end, and a sum of eight bytes.
 * Threads: one at a time. */
#ifndef TOUCHLINE_HTTP_GZIP_H
#define TOUCHLINE_HTTP_GZIP_H

#include "base/buf.h"

enum {
    GZIP_HEAD = 10,
    GZIP_REACH = 3584, /* bytes in front of a piece that it can refer to */
};

struct gzip; /* a compressor: 80 KiB */

struct gzip *gzip_new(void); /* NULL: no memory */
void gzip_free(struct gzip *z); /* NULL is fine */

/* ---- pieces; each appends to out, whose failure sticks ------------------- */

void gzip_begin(struct buf *out);
/* The text as it is, and 5 bytes for each 64 KiB. */
void gzip_store(struct slice text, struct buf *out);
/* The text compressed; stored where that is no longer. `before` is what stands
 * in front of it in each stream; only its last GZIP_REACH bytes count. Cost:
 * about 8 us, and 7 us for each KiB. */
void gzip_pack(struct gzip *z, struct slice text, struct slice before,
               struct buf *out);

/* As small as can be, with nothing in front of it in view: for what is packed
 * once and sent often. Cost: 60 us for each KiB, and 300 KiB meanwhile. */
void gzip_pack_well(struct slice text, struct buf *out);

/* ---- what a stream has said so far, for its end -------------------------- */

struct gzip_sum {
    uint32_t crc, len; /* zeroed: nothing */
};

void gzip_sum_text(struct gzip_sum *s, struct slice text);
/* The same with a text whose own sum is p. Cost: 50 instructions, however long
 * the text; 4,000 when none of its length has been added lately. */
void gzip_sum_part(struct gzip *z, struct gzip_sum *s,
                   const struct gzip_sum *p);
/* The last block and the trailer. */
void gzip_end(const struct gzip_sum *s, struct buf *out);

#endif
