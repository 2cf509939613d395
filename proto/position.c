#include "proto/position.h"

#include <inttypes.h>
#include <stdio.h>
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
    char text[CURSOR_TEXT_MAX + 8];
    int n = snprintf(text, sizeof text, "%s-%" PRIu64, epoch->text, seq);
    size_t len = n < 0 ? 0 : MIN((size_t)n, (size_t)CURSOR_TEXT_MAX);

    memcpy(out, text, len);
    return len;
}

bool epoch_equal(const struct epoch *a, const struct epoch *b)
{
    return strcmp(a->text, b->text) == 0;
}
