#include "gateways/ws/wsdeflate.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/check.h"

/* Chosen by measuring: see the decision. RAW: no header of zlib. */
enum { PACK_LEVEL = 3, PACK_MEMORY = 5, UNPACK_WINDOW = 15, RAW = -1,
       STEP = 32 * 1024 };

/* RFC 7692 7.2.1: what a flush ends in is not sent. */
static const uint8_t tail[4] = { 0x00, 0x00, 0xff, 0xff };

struct wsdeflate {
    z_stream pack, unpack;
};

struct wsdeflate *wsdeflate_new(void)
{
    struct wsdeflate *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    if (deflateInit2(&d->pack, PACK_LEVEL, Z_DEFLATED, RAW * PACK_WINDOW,
                     PACK_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        goto fail;
    if (inflateInit2(&d->unpack, RAW * UNPACK_WINDOW) != Z_OK)
        goto fail_pack;
    return d;
fail_pack:
    deflateEnd(&d->pack);
fail:
    free(d);
    return NULL;
}

void wsdeflate_free(struct wsdeflate *d)
{
    if (!d)
        return;
    deflateEnd(&d->pack);
    inflateEnd(&d->unpack);
    free(d);
}

/* ---- out ----------------------------------------------------------------- */

bool wsdeflate_pack(struct wsdeflate *d, struct slice payload,
                    struct buf *out)
{
    z_stream *z = &d->pack;
    size_t room = payload.len + sizeof tail - 1, made;
    uint8_t *to;

    if (payload.len < PACK_LEAST || payload.len > UINT32_MAX / 2)
        return false;
    to = buf_reserve(out, room);
    if (!to || deflateReset(z) != Z_OK)
        return false;
    z->next_in = (Bytef *)(uintptr_t)payload.ptr;
    z->avail_in = (uInt)payload.len;
    z->next_out = to;
    z->avail_out = (uInt)room;
    if (deflate(z, Z_SYNC_FLUSH) != Z_OK || z->avail_out == 0)
        return false; /* the room is used up: it does not shrink */
    made = room - z->avail_out;
    if (NEVER(made < sizeof tail ||
              memcmp(to + made - sizeof tail, tail, sizeof tail) != 0))
        return false;
    out->len += made - sizeof tail;
    return true;
}

/* ---- in ------------------------------------------------------------------ */

size_t wsdeflate_most(size_t message)
{
    return message + message / 8 + message / 64 + 1024;
}

/* What inflate() says of its place in z->data_type. */
enum { UNUSED_BITS = 7, LAST_BLOCK = 64, BEHIND_BLOCK = 128 };

static bool behind_block(const z_stream *z)
{
    return z->data_type & BEHIND_BLOCK;
}

/* The stream's end has been read, and is said by the next call. */
static bool at_end(const z_stream *z)
{
    return behind_block(z) && z->data_type & LAST_BLOCK;
}

static bool at_boundary(const z_stream *z)
{
    return behind_block(z) && (z->data_type & UNUSED_BITS) == 0;
}

struct unpacking {
    z_stream *z;
    struct buf *out;
    size_t most;   /* bytes of out */
    size_t blocks; /* that may come yet */
    bool ended;    /* a stream, with the last byte */
};

/* What follows the end of a stream begins another. */
static enum unpacked end_stream(struct unpacking *u)
{
    u->ended = u->z->avail_in == 0;
    if (!u->ended && inflateReset(u->z) != Z_OK)
        return UNPACKED_BROKEN;
    return UNPACKED;
}

/* As much as one step takes and gives: a block, or a part of it. */
static enum unpacked unpack_step(struct unpacking *u)
{
    z_stream *z = u->z;
    size_t room = MIN(u->most + 1 - u->out->len, (size_t)STEP);
    uint8_t *to = buf_reserve(u->out, room);
    int rc;

    if (!to)
        return UNPACKED_NO_MEMORY;
    z->next_out = to;
    z->avail_out = (uInt)room;
    rc = inflate(z, Z_BLOCK);
    u->out->len += room - z->avail_out;
    if (rc == Z_MEM_ERROR)
        return UNPACKED_NO_MEMORY;
    if (rc != Z_OK && rc != Z_BUF_ERROR && rc != Z_STREAM_END)
        return UNPACKED_BROKEN;
    if (u->out->len > u->most)
        return UNPACKED_TOO_BIG;
    if (behind_block(z) && u->blocks-- == 0)
        return UNPACKED_BLOCKS;
    return rc == Z_STREAM_END ? end_stream(u) : UNPACKED;
}

static enum unpacked unpack_bytes(struct unpacking *u, struct slice bytes)
{
    enum unpacked rc;

    u->z->next_in = (Bytef *)(uintptr_t)bytes.ptr;
    u->z->avail_in = (uInt)bytes.len;
    do
        rc = unpack_step(u);
    while (rc == UNPACKED && !u->ended &&
           (u->z->avail_in || u->z->avail_out == 0 || at_end(u->z)));
    return rc;
}

enum unpacked wsdeflate_unpack(struct wsdeflate *d, struct slice payload,
                               size_t most, struct buf *out)
{
    size_t cap = MIN(most, MAX((size_t)UNPACK_FREE,
                               payload.len * UNPACK_RATIO));
    struct unpacking u = { .z = &d->unpack, .out = out,
                           .most = out->len + cap,
                           .blocks = UNPACK_BLOCKS +
                                     payload.len / UNPACK_BLOCK };
    enum unpacked rc;

    if (payload.len == 0) /* a flush of nothing */
        return UNPACKED;
    if (NEVER(payload.len > UINT32_MAX / 2) || inflateReset(u.z) != Z_OK)
        return UNPACKED_BROKEN;
    rc = unpack_bytes(&u, payload);
    if (rc == UNPACKED && !u.ended)
        rc = unpack_bytes(&u, slice_make(tail, sizeof tail));
    if (rc == UNPACKED && !u.ended && !at_boundary(u.z))
        rc = UNPACKED_BROKEN;
    return rc == UNPACKED_TOO_BIG && cap < most ? UNPACKED_TOO_MUCH : rc;
}
