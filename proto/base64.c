#include "proto/base64.h"

#include "base/err.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "abcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_add(struct buf *out, struct slice bytes)
{
    uint8_t *to = buf_reserve(out, (bytes.len + 2) / 3 * 4);

    if (!to)
        return;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = MIN(bytes.len - i, (size_t)3);
        uint32_t v = (uint32_t)bytes.ptr[i] << 16;

        if (n > 1)
            v |= (uint32_t)bytes.ptr[i + 1] << 8;
        if (n > 2)
            v |= bytes.ptr[i + 2];
        *to++ = (uint8_t)digits[v >> 18];
        *to++ = (uint8_t)digits[v >> 12 & 63];
        *to++ = n > 1 ? (uint8_t)digits[v >> 6 & 63] : '=';
        *to++ = n > 2 ? (uint8_t)digits[v & 63] : '=';
    }
    out->len += (bytes.len + 2) / 3 * 4;
}

static int value_of(uint8_t c)
{
    const char *at = c ? memchr(digits, c, sizeof digits - 1) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* A group of which the last `padding` characters are '='. */
static int decode_group(struct buf *out, const uint8_t *in, unsigned padding)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < 4; i++) {
        int digit = i < 4 - padding ? value_of(in[i]) : 0;

        if (digit < 0)
            return ERR_BAD;
        v = v << 6 | (uint32_t)digit;
    }
    if (v & ((UINT32_C(1) << 8 * padding) - 1))
        return ERR_BAD;
    for (unsigned i = 0; i < 3 - padding; i++)
        buf_add_byte(out, (uint8_t)(v >> (16 - 8 * i)));
    return 0;
}

int base64_decode(struct buf *out, struct slice text)
{
    size_t before = out->len;
    int rc = text.len % 4 ? ERR_BAD : 0;

    for (size_t i = 0; rc == 0 && i < text.len; i += 4) {
        const uint8_t *in = text.ptr + i;
        unsigned padding = 0;

        if (i + 4 == text.len && in[3] == '=')
            padding = in[2] == '=' ? 2 : 1;
        rc = decode_group(out, in, padding);
    }
    if (rc < 0)
        buf_truncate(out, before);
    return rc;
}
