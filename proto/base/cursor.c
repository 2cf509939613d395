#include "base/cursor.h"

#include "base/check.h"

struct cursor cursor_init(struct slice s)
{
    static const uint8_t nothing;
    const uint8_t *start = s.ptr ? s.ptr : &nothing;

    return (struct cursor){ start, start + s.len, false };
}

/* The only place that moves pos. Compares by subtraction: no overflow. */
static const uint8_t *take(struct cursor *c, size_t n)
{
    c->failed = c->failed || n > (size_t)(c->end - c->pos);
    if (c->failed)
        return NULL;
    c->pos += n;
    return c->pos - n;
}

/* Written out, each is one load to the compiler; a loop is not. */
static uint16_t u16_at(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t u32_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

uint8_t cursor_u8(struct cursor *c)
{
    const uint8_t *at = take(c, 1);

    return at ? *at : 0;
}

uint16_t cursor_u16(struct cursor *c)
{
    const uint8_t *at = take(c, 2);

    return at ? u16_at(at) : 0;
}

uint32_t cursor_u32(struct cursor *c)
{
    const uint8_t *at = take(c, 4);

    return at ? u32_at(at) : 0;
}

uint64_t cursor_u64(struct cursor *c)
{
    const uint8_t *at = take(c, 8);

    return at ? u32_at(at) | (uint64_t)u32_at(at + 4) << 32 : 0;
}

int64_t cursor_i64(struct cursor *c)
{
    return (int64_t)cursor_u64(c);
}

struct slice cursor_take(struct cursor *c, size_t n)
{
    const uint8_t *at = take(c, n);

    return slice_make(at, at ? n : 0);
}

struct slice cursor_str8(struct cursor *c)
{
    return cursor_take(c, cursor_u8(c));
}

struct slice cursor_str16(struct cursor *c)
{
    return cursor_take(c, cursor_u16(c));
}

struct slice cursor_str32(struct cursor *c)
{
    return cursor_take(c, cursor_u32(c));
}

struct slice cursor_rest(struct cursor *c)
{
    return cursor_take(c, cursor_left(c));
}

static void encode(uint8_t *at, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}

static void put(struct buf *b, uint64_t v, size_t bytes)
{
    uint8_t *at = buf_reserve(b, bytes);

    if (!at)
        return;
    encode(at, v, bytes);
    b->len += bytes;
}

void put_u8(struct buf *b, uint8_t v)
{
    put(b, v, 1);
}

void put_u16(struct buf *b, uint16_t v)
{
    put(b, v, 2);
}

void put_u32(struct buf *b, uint32_t v)
{
    put(b, v, 4);
}

void put_u64(struct buf *b, uint64_t v)
{
    put(b, v, 8);
}

void put_i64(struct buf *b, int64_t v)
{
    put(b, (uint64_t)v, 8);
}

void put_raw(struct buf *b, struct slice bytes)
{
    buf_add(b, bytes);
}

static void put_str(struct buf *b, struct slice s, size_t length_bytes)
{
    if (s.len > (UINT64_C(1) << 8 * length_bytes) - 1) {
        b->failed = true;
        return;
    }
    put(b, s.len, length_bytes);
    buf_add(b, s);
}

void put_str8(struct buf *b, struct slice s)
{
    put_str(b, s, 1);
}

void put_str16(struct buf *b, struct slice s)
{
    put_str(b, s, 2);
}

void put_str32(struct buf *b, struct slice s)
{
    put_str(b, s, 4);
}

void put_u32_at(struct buf *b, size_t at, uint32_t v)
{
    if (b->failed)
        return;
    CHECK(at <= b->len && b->len - at >= 4);
    encode(b->ptr + at, v, 4);
}
