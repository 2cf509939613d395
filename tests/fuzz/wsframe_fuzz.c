/* Whatever the bytes, and however they are cut: the same events come out;
 * text is UTF-8, nothing is over its limit, and nothing follows a failure. */
#include "base/check.h"
#include "gateways/ws/wsframe.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct wsframe_limits limits = { .message = 4096,
                                              .fragments = 8 };

static void note(struct buf *out, const struct wsframe *f)
{
    buf_addf(out, "%d %d %u %zu ", f->event, f->op, f->code, f->payload.len);
    buf_add(out, f->payload);
}

static void judge(const struct wsframe *f)
{
    if (f->event == WS_MESSAGE) {
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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct slice in = slice_make(bytes, len);
    struct buf whole = BUF_INIT, cut = BUF_INIT;

    read_all(in, len ? len : 1, &whole);
    for (size_t step = 1; step < 8; step += 3) {
        buf_reset(&cut);
        read_all(in, step, &cut);
        CHECK(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    }
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
