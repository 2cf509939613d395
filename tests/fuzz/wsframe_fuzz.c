/* Whatever the bytes, and however they are cut: the same events come out;
 * text is UTF-8, nothing is over its limit, and nothing follows a failure.
 * With compression agreed on and without. */
#include "base/check.h"
#include "gateways/ws/wsdeflate.h"
#include "gateways/ws/wsframe.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct wsframe_limits limits = { .message = 4096, .fragments = 8 };
static struct wsdeflate *codec;

static void note(struct buf *out, const struct wsframe *f)
{
    buf_addf(out, "%d %d %u %d %zu ", f->event, f->op, f->code, f->compressed,
             f->payload.len);
    buf_add(out, f->payload);
}

static void judge_compressed(const struct wsframe *f)
{
    struct buf out = BUF_INIT;

    CHECK(f->payload.len <= limits.compressed);
    if (wsdeflate_unpack(codec, f->payload, limits.message, &out) == UNPACKED)
        CHECK(out.len <= limits.message);
    buf_fini(&out);
}

static void judge(const struct wsframe *f)
{
    if (f->event == WS_MESSAGE && f->compressed) {
        judge_compressed(f);
    } else if (f->event == WS_MESSAGE) {
        CHECK(f->payload.len <= limits.message);
        CHECK(f->op == WS_BINARY || utf8_valid(f->payload));
    }
    if (f->event == WS_CONTROL)
        CHECK(f->payload.len <= WS_CONTROL_MAX);
    if (f->event == WS_FAILED)
        CHECK(f->why && f->code >= 1002);
}

static void read_all(struct slice in, size_t step, struct buf *out)
{
    struct wsreader r = { .len = 0 };
    struct wsframe f = { .event = WS_MORE };

    while (in.len && f.event != WS_FAILED) {
        struct slice piece = slice_head(in, step);

        in = slice_from(in, piece.len);
        while (piece.len && f.event != WS_FAILED) {
            wsframe_next(&r, &piece, &limits, &f);
            judge(&f);
            if (f.event != WS_MORE)
                note(out, &f);
        }
    }
    wsreader_fini(&r);
}

static void read_whole_and_cut(struct slice in)
{
    struct buf whole = BUF_INIT, cut = BUF_INIT;

    read_all(in, in.len ? in.len : 1, &whole);
    for (size_t step = 1; step < 8; step += 3) {
        buf_reset(&cut);
        read_all(in, step, &cut);
        CHECK(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    }
    buf_fini(&whole);
    buf_fini(&cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (!codec)
        codec = wsdeflate_new();
    CHECK(codec);
    limits.compressed = 0;
    read_whole_and_cut(slice_make(bytes, len));
    limits.compressed = wsdeflate_most(limits.message);
    read_whole_and_cut(slice_make(bytes, len));
    return 0;
}
