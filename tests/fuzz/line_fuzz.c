/* Whatever the bytes, and however they are cut: the same lines come out, none
 * longer than the limit; and what is printed of them is fit for a terminal. */
#include "base/check.h"
#include "base/err.h"
#include "base/utf8.h"
#include "gateways/tcp/line.h"
#include "gateways/tcp/print.h"

enum { LIMIT = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* All lines in pieces of `step` bytes, each behind its event. */
static void lines(struct slice in, size_t step, struct buf *out)
{
    struct line l = { .kept = NULL };

    while (in.len) {
        struct slice piece = slice_head(in, step);
        struct slice text;
        enum line_event event = LINE_TEXT;

        in = slice_from(in, piece.len);
        while (event != LINE_MORE) {
            CHECK(line_next(&l, &piece, LIMIT, &event, &text) == 0);
            CHECK(event == LINE_TEXT || text.len == 0);
            buf_add_byte(out, (uint8_t)event);
            if (event != LINE_TEXT) {
                out->len -= event == LINE_MORE;
                continue;
            }
            CHECK(text.len <= LIMIT);
            buf_add(out, text);
        }
        CHECK(piece.len == 0);
    }
    line_fini(&l);
}

static void expect_printable(struct slice bytes)
{
    struct buf out = BUF_INIT;
    struct slice left;
    uint32_t c;

    print_safe(&out, bytes, "\n");
    for (left = buf_slice(&out); left.len;) {
        CHECK(utf8_next(&left, &c) == 0);
        CHECK(c >= 0x20 && !(c >= 0x7f && c <= 0x9f));
    }
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct slice in = slice_make(bytes, len);
    struct buf whole = BUF_INIT, cut = BUF_INIT;

    lines(in, len, &whole);
    for (size_t step = 1; step < 8; step += 2) {
        buf_reset(&cut);
        lines(in, step, &cut);
        CHECK(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    }
    expect_printable(in);
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
