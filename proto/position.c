#include "proto/position.h"

#include <string.h>

#include "base/err.h"

#define SEQ_LIMIT (UINT64_C(1) << 53)

static bool epoch_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

int position_parse(struct slice text, struct position *ret)
{
    struct position p = {.seq = 0};
    size_t n = 0;

    if (slice_eq(text, SLICE("0"))) {
        *ret = p;
        return 0;
    }
    while (n < text.len && epoch_byte(text.ptr[n]))
        n++;
    if (n == 0 || n > EPOCH_MAX || n == text.len || text.ptr[n] != '-')
        return ERR_BAD;
    memcpy(p.epoch.text, text.ptr, n);
    if (slice_parse_u64(slice_make(text.ptr + n + 1, text.len - n - 1),
                        &p.seq) < 0 || p.seq >= SEQ_LIMIT)
        return ERR_BAD;
    *ret = p;
    return 0;
}

size_t position_format(char out[CURSOR_TEXT_MAX], const struct epoch *epoch,
                       uint64_t seq)
{
    char digits[20], *at = digits + sizeof digits;
    size_t len = strnlen(epoch->text, EPOCH_MAX), n;

    do
        *--at = (char)('0' + seq % 10);
    while (seq /= 10);
    n = MIN((size_t)(digits + sizeof digits - at), CURSOR_TEXT_MAX - len - 1);
    memcpy(out, epoch->text, len);
    out[len++] = '-';
    memcpy(out + len, at, n);
    return len + n;
}

bool epoch_equal(const struct epoch *a, const struct epoch *b)
{
    return strcmp(a->text, b->text) == 0;
}
