/* One end of a stream hears whatever the bytes say: it takes whole frames,
 * each number once, and never acknowledges what it has not taken. Input: u8
 * length, and so many bytes of a batch behind its check, again and again;
 * odd lengths get a right session and check, so that judging starts there. */
#include "base/check.h"
#include "base/cursor.h"
#include "proto/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define SESSION UINT64_C(0x0102030405060708)

static void put_open(struct batches *b)
{
    struct buf open = BUF_INIT;
    size_t at;

    batch_begin(&open);
    at = batch_frame_begin(&open, 1);
    put_u32(&open, 7);
    batch_frame_end(&open, at);
    CHECK(batches_seal(b, &open, 1) == 0);
    buf_fini(&open);
}

/* As a peer would have written it. */
static size_t dress(struct slice raw, uint8_t *out)
{
    struct cursor c = cursor_init(raw);
    struct batch_out what = {.header = {.session = SESSION}};
    struct buf b = BUF_INIT;
    size_t len;

    what.header.flags = cursor_u8(&c);
    what.header.number = cursor_u8(&c);
    what.header.ack = cursor_u8(&c);
    what.header.seq = cursor_u8(&c);
    batch_begin(&b);
    buf_add(&b, cursor_rest(&c));
    what.bytes = buf_slice(&b);
    batch_write(out, &what);
    len = b.len;
    buf_fini(&b);
    return len;
}

static void hear(struct batches *b, struct slice bytes)
{
    uint64_t taken = b->taken, acked = b->acked, seq = b->seq;
    struct batch_in in;
    struct slice body;
    uint8_t code;
    size_t framed = 0;
    size_t frames;

    if (batches_take(b, bytes, &in) < 0) {
        CHECK(b->taken == taken && b->acked == acked && b->seq == seq);
        return;
    }
    CHECK(b->taken == taken + (in.verdict == BATCH_TAKEN));
    CHECK(b->acked >= acked && b->acked <= b->sent && b->seq >= seq);
    frames = cursor_left(&in.frames);
    while (batch_frame(&in.frames, &code, &body))
        framed += BATCH_FRAME_HEADER + body.len;
    CHECK(framed == frames);
}

static void answer(struct batches *b)
{
    struct batch_out out;
    uint8_t bytes[256];

    for (int i = 0; i < 4 && batches_next(b, &out); i++) {
        CHECK(out.bytes.len <= sizeof bytes);
        CHECK(out.header.ack == b->taken);
        batch_write(bytes, &out);
    }
    if (batches_due(b))
        batches_heartbeat(b, 1, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct cursor c = cursor_init(slice_make(bytes, len));
    struct batches b;

    batches_init(&b, SESSION, 100);
    batches_new_line(&b, false);
    while (cursor_left(&c) > 0) {
        uint8_t out[BATCH_HEADER + 256];
        uint8_t n = cursor_u8(&c);
        struct slice raw = cursor_take(&c, MIN(n, cursor_left(&c)));

        if (n % 2)
            hear(&b, slice_make(out, dress(raw, out)));
        else
            hear(&b, raw);
        if (n % 8 == 7)
            put_open(&b);
        if (n % 16 == 15)
            batches_new_line(&b, n % 32 == 31);
        batches_tick(&b);
        answer(&b);
    }
    batches_fini(&b);
    return 0;
}
