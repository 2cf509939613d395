/* The three readers of UTF-8 agree: the whole text, the text in pieces, the
 * characters one by one; and what is refused early could not become valid. */
#include "base/check.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static bool in_pieces(struct slice in, size_t step)
{
    struct utf8_state st = { .need = 0 };

    while (in.len) {
        if (!utf8_feed(&st, slice_head(in, step)))
            return false;
        in = slice_from(in, step);
    }
    return utf8_done(&st);
}

static bool by_characters(struct slice in)
{
    uint8_t again[4];
    uint32_t c;

    while (in.len) {
        struct slice before = in;

        if (utf8_next(&in, &c) < 0)
            return false;
        CHECK(c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff));
        CHECK(slice_eq(slice_make(again, utf8_put(again, c)),
                       slice_head(before, before.len - in.len)));
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct slice in = slice_make(bytes, len);
    bool valid = utf8_valid(in);

    CHECK(by_characters(in) == valid);
    for (size_t step = 1; step < 20; step += 3)
        CHECK(in_pieces(in, step) == valid);
    return 0;
}
