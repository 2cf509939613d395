#include "tests/proto/ends.h"

#include <stdio.h>

#include "base/cursor.h"
#include "base/err.h"

static uint8_t padding(uint64_t number, size_t at)
{
    return (uint8_t)(number * 31 + at);
}

void end_say(struct end *e, size_t len)
{
    struct buf *b = pipe_frame(e->pipe, ENDS_FRAME);
    size_t pad = len > 8 ? len - 8 : 0;
    uint8_t *at;

    put_u64(b, ++e->said);
    at = buf_reserve(b, pad);
    for (size_t i = 0; at && i < pad; i++)
        at[i] = padding(e->said, i);
    if (at)
        b->len += pad;
    pipe_frame_end(e->pipe);
}

void end_say_many(struct end *e, unsigned count, size_t len)
{
    for (unsigned i = 0; i < count; i++)
        end_say(e, len);
}

static int on_frame(void *ctx, uint8_t code, struct slice body)
{
    struct end *e = ctx;
    struct cursor c = cursor_init(body);
    uint64_t number = cursor_u64(&c);
    struct slice pad = cursor_rest(&c);

    if (code == ENDS_NO_ROOM)
        return ERR_NOMEM;
    if (code == ENDS_BAD)
        return ERR_FRAME;
    e->wrong += code != ENDS_FRAME || number != e->heard + 1;
    for (size_t i = 0; i < pad.len; i++)
        e->wrong += pad.ptr[i] != padding(number, i);
    e->heard = number;
    e->heard_bytes += body.len;
    return 0;
}

static void on_batch_end(void *ctx, uint64_t seq)
{
    struct end *e = ctx;

    e->wrong += seq < e->seq;
    e->seq = seq;
    e->heard_at_seq = e->heard;
}

static void on_up(void *ctx)
{
    struct end *e = ctx;

    e->ups++;
    e->said = e->heard = e->seq = 0;
}

static void on_down(void *ctx, const char *why)
{
    struct end *e = ctx;

    e->downs++;
    snprintf(e->why, sizeof e->why, "%s", why);
}

static void on_drained(void *ctx)
{
    struct end *e = ctx;

    e->drains++;
}

const struct pipe_ops end_ops = {
    .frame = on_frame,
    .batch_end = on_batch_end,
    .up = on_up,
    .down = on_down,
    .drained = on_drained,
};
