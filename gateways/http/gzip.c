#include "gateways/http/gzip.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/check.h"

/* Chosen by measuring: docs/decisions/0035-gzip.md. RAW: no header of zlib. */
enum { PACK_LEVEL = 4, PACK_WINDOW = 12, PACK_MEMORY = 5, RAW = -1,
       STORED_MAX = 65535, STORED_HEAD = 5,
       SHIFTS = 32, NIBBLES = 8, NIBBLE = 16 };

/* What a CRC becomes when so many bytes follow: a sum over its nibbles. */
struct shift {
    uint32_t len; /* 0: none yet */
    uint32_t of[NIBBLES][NIBBLE];
};

struct gzip {
    z_stream z;
    struct shift shifts[SHIFTS];
};

struct gzip *gzip_new(void)
{
    struct gzip *g = calloc(1, sizeof *g);

    if (g && deflateInit2(&g->z, PACK_LEVEL, Z_DEFLATED, RAW * PACK_WINDOW,
                          PACK_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(g);
        g = NULL;
    }
    return g;
}

void gzip_free(struct gzip *g)
{
    if (g)
        deflateEnd(&g->z);
    free(g);
}

/* ---- pieces ------------------------------------------------------------- */

void gzip_begin(struct buf *out)
{
    static const uint8_t head[GZIP_HEAD] = {
        0x1f, 0x8b, 8 /* deflate */, 0, 0, 0, 0, 0 /* no time */, 0,
        255 /* no system */};

    buf_add(out, slice_make(head, sizeof head));
}

static void put_le16(struct buf *out, unsigned value)
{
    buf_add_byte(out, (uint8_t)value);
    buf_add_byte(out, (uint8_t)(value >> 8));
}

static void put_le32(struct buf *out, uint32_t value)
{
    put_le16(out, value & 0xffff);
    put_le16(out, value >> 16);
}

static size_t stored_len(size_t text)
{
    return text + (text + STORED_MAX - 1) / STORED_MAX * STORED_HEAD;
}

void gzip_store(struct slice text, struct buf *out)
{
    while (text.len) {
        struct slice block = slice_head(text, STORED_MAX);

        buf_add_byte(out, 0);
        put_le16(out, (unsigned)block.len);
        put_le16(out, ~(unsigned)block.len & 0xffff);
        buf_add(out, block);
        text = slice_from(text, block.len);
    }
}

/* Bytes made at `to`; 0: not shorter than `room`, or it cannot be done. */
static size_t pack(z_stream *z, struct slice text, struct slice before,
                   uint8_t *to, size_t room)
{
    if (text.len > UINT32_MAX / 2 || deflateReset(z) != Z_OK)
        return 0;
    if (before.len > GZIP_REACH)
        before = slice_from(before, before.len - GZIP_REACH);
    if (before.len &&
        deflateSetDictionary(z, before.ptr, (uInt)before.len) != Z_OK)
        return 0;
    z->next_in = (Bytef *)(uintptr_t)text.ptr;
    z->avail_in = (uInt)text.len;
    z->next_out = to;
    z->avail_out = (uInt)room;
    if (deflate(z, Z_SYNC_FLUSH) != Z_OK || z->avail_out == 0)
        return 0;
    return room - z->avail_out;
}

void gzip_pack(struct gzip *g, struct slice text, struct slice before,
               struct buf *out)
{
    size_t room = stored_len(text.len), made;
    uint8_t *to = text.len ? buf_reserve(out, room) : NULL;

    if (!to)
        return;
    made = pack(&g->z, text, before, to, room);
    if (made)
        out->len += made;
    else
        gzip_store(text, out);
}

void gzip_pack_well(struct slice text, struct buf *out)
{
    enum { LEVEL = 9, WINDOW = 15, MEMORY = 9 };
    size_t room = stored_len(text.len), made = 0;
    uint8_t *to = text.len ? buf_reserve(out, room) : NULL;
    z_stream z = {0};

    if (!to)
        return;
    if (deflateInit2(&z, LEVEL, Z_DEFLATED, RAW * WINDOW, MEMORY,
                     Z_DEFAULT_STRATEGY) == Z_OK) {
        made = pack(&z, text, slice_make(NULL, 0), to, room);
        deflateEnd(&z);
    }
    if (made)
        out->len += made;
    else
        gzip_store(text, out);
}

/* ---- sums --------------------------------------------------------------- */

void gzip_sum_text(struct gzip_sum *s, struct slice text)
{
    if (text.len) /* of NULL zlib gives the first value */
        s->crc = (uint32_t)crc32_z(s->crc, text.ptr, text.len);
    s->len += (uint32_t)text.len;
}

/* To let n bytes follow is to multiply by x^8n, modulo the polynomial. The
 * products with x^0 to x^31, which are the bits from the highest down, make up
 * all others. */
static void shift_init(struct shift *t, uint32_t len)
{
    static const uint32_t polynomial = 0xedb88320; /* reflected */
    uint32_t product = (uint32_t)crc32_combine_gen((z_off_t)len);

    t->len = len;
    for (unsigned bit = 32; bit-- > 0;) {
        uint32_t *of = t->of[bit / 4], step = 1u << bit % 4;

        of[0] = 0;
        of[step] = product;
        product = product >> 1 ^ (product & 1 ? polynomial : 0);
    }
    for (unsigned i = 0; i < NIBBLES; i++)
        for (unsigned v = 1; v < NIBBLE; v++)
            if (v & (v - 1)) /* several bits: the lowest, and the others */
                t->of[i][v] = t->of[i][v & (v - 1)] ^ t->of[i][v & -v];
}

static uint32_t shifted(const struct shift *t, uint32_t crc)
{
    return t->of[0][crc & 15] ^ t->of[1][crc >> 4 & 15] ^
           t->of[2][crc >> 8 & 15] ^ t->of[3][crc >> 12 & 15] ^
           t->of[4][crc >> 16 & 15] ^ t->of[5][crc >> 20 & 15] ^
           t->of[6][crc >> 24 & 15] ^ t->of[7][crc >> 28];
}

void gzip_sum_part(struct gzip *g, struct gzip_sum *s,
                   const struct gzip_sum *p)
{
    struct shift *t = &g->shifts[p->len % SHIFTS];

    if (p->len == 0)
        return;
    if (t->len != p->len)
        shift_init(t, p->len);
    s->crc = shifted(t, s->crc) ^ p->crc;
    s->len += p->len;
}

void gzip_end(const struct gzip_sum *s, struct buf *out)
{
    put_le16(out, 0x0003); /* the last block: nothing, in fixed codes */
    put_le32(out, s->crc);
    put_le32(out, s->len);
}
