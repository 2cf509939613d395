#include "proto/trunk_frame.h"

#include "base/err.h"
#include "proto/join.h"

enum { WHY_MAX = 200 };

/* ---- reading -------------------------------------------------------------- */

static int whole(const struct cursor *c)
{
    return cursor_all_read(c) ? 0 : ERR_FRAME;
}

static bool read_yesno(struct cursor *c)
{
    uint8_t value = cursor_u8(c);

    if (value > 1)
        cursor_fail(c);
    return value == 1;
}

int trunk_read_come(struct slice body, struct trunk_come *ret)
{
    struct cursor c = cursor_init(body);

    *ret = (struct trunk_come){.number = cursor_u32(&c)};
    join_read_who(&c, &ret->who);
    return whole(&c);
}

int trunk_read_from(struct slice body, struct trunk_from *ret)
{
    struct cursor c = cursor_init(body);

    ret->number = cursor_u32(&c);
    ret->code = cursor_u8(&c);
    ret->body = cursor_rest(&c);
    return whole(&c);
}

int trunk_read_gone(struct slice body, struct trunk_gone *ret)
{
    struct cursor c = cursor_init(body);

    ret->number = cursor_u32(&c);
    ret->left = read_yesno(&c);
    ret->why = cursor_str8(&c);
    return whole(&c);
}

int trunk_read_taken(struct slice body, struct trunk_taken *ret)
{
    struct cursor c = cursor_init(body);

    ret->number = cursor_u32(&c);
    ret->bytes = cursor_u64(&c);
    return whole(&c);
}

int trunk_read_repeat(struct slice body, struct trunk_repeat *ret)
{
    struct cursor c = cursor_init(body);

    ret->count = cursor_u16(&c);
    ret->numbers = cursor_init(cursor_take(&c, ret->count * sizeof(uint32_t)));
    ret->code = cursor_u8(&c);
    ret->body = cursor_rest(&c);
    return ret->count ? whole(&c) : ERR_FRAME;
}

int trunk_read_place(struct slice body, struct trunk_place *ret)
{
    struct cursor c = cursor_init(body);

    ret->number = cursor_u32(&c);
    ret->follows = read_yesno(&c);
    ret->seq = cursor_u64(&c);
    return whole(&c);
}

int trunk_read_cut(struct slice body, struct trunk_cut *ret)
{
    struct cursor c = cursor_init(body);

    ret->number = cursor_u32(&c);
    ret->why = cursor_str8(&c);
    return whole(&c);
}

/* ---- writing -------------------------------------------------------------- */

static void put_why(struct buf *b, struct slice why)
{
    put_str8(b, slice_head(why, MIN(why.len, (size_t)WHY_MAX)));
}

void trunk_write_come(struct buf *b, uint32_t number,
                      const struct peer_id *who)
{
    put_u32(b, number);
    join_write_who(b, who);
}

void trunk_write_from(struct buf *b, uint32_t number, uint8_t code)
{
    put_u32(b, number);
    put_u8(b, code);
}

void trunk_write_gone(struct buf *b, uint32_t number, bool left,
                      struct slice why)
{
    put_u32(b, number);
    put_u8(b, left);
    put_why(b, why);
}

void trunk_write_taken(struct buf *b, uint32_t number, uint64_t bytes)
{
    put_u32(b, number);
    put_u64(b, bytes);
}

void trunk_write_repeat(struct buf *b, const uint32_t *numbers,
                        uint16_t count, uint8_t code)
{
    put_u16(b, count);
    for (unsigned i = 0; i < count; i++)
        put_u32(b, numbers[i]);
    put_u8(b, code);
}

void trunk_write_place(struct buf *b, uint32_t number, bool follows,
                       uint64_t seq)
{
    put_u32(b, number);
    put_u8(b, follows);
    put_u64(b, seq);
}

void trunk_write_cut(struct buf *b, uint32_t number, struct slice why)
{
    put_u32(b, number);
    put_why(b, why);
}
