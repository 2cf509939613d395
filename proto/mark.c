#include "proto/mark.h"

#include <string.h>
#include <time.h>

#include "base/base.h"

static const struct slice number_key = SLICE_INIT("mark n=");
static const struct slice time_key = SLICE_INIT(" t=");

int64_t mark_now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void mark_add(struct buf *out, struct mark m)
{
    buf_add(out, number_key);
    buf_add_u64(out, m.number);
    buf_add(out, time_key);
    buf_add_u64(out, (uint64_t)MAX(m.t_us, 0));
}

/* Takes key and the digits behind it off the front of s. */
static bool take(struct slice *s, struct slice key, uint64_t *ret)
{
    struct slice digits;

    if (!slice_starts(*s, key))
        return false;
    *s = slice_from(*s, key.len);
    digits = *s;
    digits.len = 0;
    while (digits.len < s->len && s->ptr[digits.len] >= '0'
           && s->ptr[digits.len] <= '9')
        digits.len++;
    *s = slice_from(*s, digits.len);
    return slice_parse_u64(digits, ret) == 0;
}

bool mark_find(struct slice text, struct mark *ret)
{
    uint64_t number, t;

    while (text.len) {
        const uint8_t *at = memmem(text.ptr, text.len, number_key.ptr,
                                   number_key.len);

        if (!at)
            return false;
        text = slice_from(text, (size_t)(at - text.ptr));
        if (take(&text, number_key, &number) && take(&text, time_key, &t)
            && t <= INT64_MAX) {
            *ret = (struct mark){ number, (int64_t)t };
            return true;
        }
    }
    return false;
}
