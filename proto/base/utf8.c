#include "base/utf8.h"

#include "base/err.h"

/* What a first byte promises: continuation bytes, and the range of the first
 * of them, which is where overlong forms, surrogates and values above U+10FFFF
 * are told apart. need 0 with low 0: not a first byte. */
struct lead {
    uint8_t need, low, high;
};

static struct lead lead_of(uint8_t c)
{
    if (c >= 0xc2 && c <= 0xdf)
        return (struct lead){ 1, 0x80, 0xbf };
    if (c == 0xe0)
        return (struct lead){ 2, 0xa0, 0xbf };
    if (c == 0xed)
        return (struct lead){ 2, 0x80, 0x9f };
    if (c >= 0xe1 && c <= 0xef)
        return (struct lead){ 2, 0x80, 0xbf };
    if (c == 0xf0)
        return (struct lead){ 3, 0x90, 0xbf };
    if (c >= 0xf1 && c <= 0xf3)
        return (struct lead){ 3, 0x80, 0xbf };
    if (c == 0xf4)
        return (struct lead){ 3, 0x80, 0x8f };
    return (struct lead){ 0, 0, 0 };
}

static size_t ascii_run(const uint8_t *p, size_t len)
{
    size_t i = 0;
    uint64_t word;

    for (; len - i >= sizeof word; i += sizeof word) {
        memcpy(&word, p + i, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            break;
    }
    while (i < len && p[i] < 0x80)
        i++;
    return i;
}

static bool feed_lead(struct utf8_state *st, uint8_t c)
{
    struct lead l = lead_of(c);

    *st = (struct utf8_state){ l.need, l.low, l.high };
    return l.need != 0;
}

static bool feed_next(struct utf8_state *st, uint8_t c)
{
    if (c < st->low || c > st->high)
        return false;
    *st = (struct utf8_state){ (uint8_t)(st->need - 1), 0x80, 0xbf };
    return true;
}

bool utf8_feed(struct utf8_state *st, struct slice piece)
{
    size_t i = 0;

    while (i < piece.len) {
        if (st->need == 0) {
            i += ascii_run(piece.ptr + i, piece.len - i);
            if (i == piece.len)
                return true;
            if (!feed_lead(st, piece.ptr[i++]))
                return false;
        } else if (!feed_next(st, piece.ptr[i++])) {
            return false;
        }
    }
    return true;
}

bool utf8_valid(struct slice s)
{
    struct utf8_state st = { 0 };

    return utf8_feed(&st, s) && utf8_done(&st);
}

int utf8_next(struct slice *s, uint32_t *ret)
{
    static const uint8_t payload[] = { 0, 0x1f, 0x0f, 0x07 };
    struct slice whole;
    uint32_t v;
    size_t n;

    if (s->len == 0)
        return ERR_BAD;
    if (s->ptr[0] < 0x80) {
        *ret = s->ptr[0];
        *s = slice_make(s->ptr + 1, s->len - 1);
        return 0;
    }
    n = lead_of(s->ptr[0]).need;
    whole = slice_head(*s, n + 1);
    if (whole.len != n + 1 || !utf8_valid(whole))
        return ERR_BAD;
    v = whole.ptr[0] & payload[n];
    for (size_t i = 1; i <= n; i++)
        v = v << 6 | (whole.ptr[i] & 0x3fu);
    *s = slice_make(s->ptr + n + 1, s->len - n - 1);
    *ret = v;
    return 0;
}

size_t utf8_put(uint8_t *out, uint32_t codepoint)
{
    static const uint8_t mark[] = { 0x00, 0xc0, 0xe0, 0xf0 };
    size_t n = codepoint > 0xffff ? 3
               : codepoint > 0x7ff ? 2
                                   : codepoint > 0x7f;

    for (size_t i = n; i > 0; i--, codepoint >>= 6)
        out[i] = (uint8_t)(0x80 | (codepoint & 0x3f));
    out[0] = (uint8_t)(mark[n] | codepoint);
    return n + 1;
}
