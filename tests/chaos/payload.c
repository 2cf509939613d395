#include "tests/chaos/payload.h"

#include <string.h>

#include <xxhash.h>

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";

uint64_t payload_hash(struct slice text)
{
    return XXH3_64bits(text.ptr, text.len);
}

void payload_write(struct buf *out, uint32_t publisher, uint32_t number,
                   struct slice channel, struct slice event, size_t size)
{
    uint64_t x = ((uint64_t)publisher << 32 | number) * 0x9e3779b97f4a7c15u;
    size_t begin = out->len;

    buf_addf(out, "tl %u %u " SLICE_FMT " ", publisher, number,
             SLICE_ARG(channel));
    if (event.len)
        buf_addf(out, SLICE_FMT " ", SLICE_ARG(event));
    do {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        buf_add_byte(out, (uint8_t)alphabet[x % 36]);
    } while (out->len - begin < size && !out->failed);
}

static bool plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '/' ||
           c == ' ' || c == '-' || c == '_' || c == '.';
}

static bool word(struct slice *rest, struct slice *ret)
{
    size_t n = 0;

    while (n < rest->len && rest->ptr[n] != ' ')
        n++;
    *ret = slice_make(rest->ptr, n);
    *rest = slice_make(rest->ptr + MIN(n + 1, rest->len),
                       rest->len - MIN(n + 1, rest->len));
    return n > 0;
}

static bool number(struct slice *rest, uint32_t *ret)
{
    struct slice digits;
    uint64_t v = 0;

    if (!word(rest, &digits) || digits.len > 9)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(digits.ptr[i] - '0');
    }
    *ret = (uint32_t)v;
    return true;
}

bool payload_read(struct slice text, struct payload *ret)
{
    const uint8_t *at = text.len ? memmem(text.ptr, text.len, "tl ", 3) : NULL;
    struct payload p;
    size_t n = 0, left;
    struct slice rest, filler;

    if (!at)
        return false;
    left = text.len - (size_t)(at - text.ptr);
    while (n < left && plain(at[n]))
        n++;
    p.hash = payload_hash(slice_make(at, n));
    rest = slice_make(at + 3, n - 3);
    if (!number(&rest, &p.publisher) || !number(&rest, &p.number) ||
        !word(&rest, &p.channel) || !word(&rest, &filler))
        return false;
    p.event = rest.len ? filler : slice_make(NULL, 0);
    *ret = p;
    return true;
}
