#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

enum { FIRST_CAP = 64 };

void buf_fini(struct buf *b)
{
    free(b->ptr);
    buf_init(b);
}

/* Enough for n more, at least twice what there was; 0 when that overflows. */
static size_t grown_cap(const struct buf *b, size_t n)
{
    size_t need;

    if (__builtin_add_overflow(b->len, n, &need) || need > SIZE_MAX / 2)
        return 0;
    return MAX(MAX(need, b->cap * 2), (size_t)FIRST_CAP);
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    size_t cap;
    uint8_t *ptr;

    if (b->failed)
        return NULL;
    if (b->ptr && n <= b->cap - b->len)
        return b->ptr + b->len;
    cap = grown_cap(b, n);
    ptr = cap ? realloc(b->ptr, cap) : NULL;
    if (!ptr) {
        b->failed = true;
        return NULL;
    }
    b->ptr = ptr;
    b->cap = cap;
    return ptr + b->len;
}

void buf_add(struct buf *b, struct slice bytes)
{
    uint8_t *at;

    if (bytes.len == 0)
        return;
    at = buf_reserve(b, bytes.len);
    if (!at)
        return;
    memcpy(at, bytes.ptr, bytes.len);
    b->len += bytes.len;
}

void buf_add_str(struct buf *b, const char *text)
{
    buf_add(b, slice_str(text));
}

void buf_add_byte(struct buf *b, uint8_t byte)
{
    uint8_t *at = buf_reserve(b, 1);

    if (!at)
        return;
    *at = byte;
    b->len++;
}

void buf_addv(struct buf *b, const char *fmt, va_list args)
{
    va_list again;
    int n;
    uint8_t *at = buf_reserve(b, FIRST_CAP);

    if (!at)
        return;
    va_copy(again, args);
    n = vsnprintf((char *)at, b->cap - b->len, fmt, args);
    if (n < 0)
        b->failed = true;
    else if ((size_t)n >= b->cap - b->len) {
        at = buf_reserve(b, (size_t)n + 1);
        if (at)
            vsnprintf((char *)at, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    if (!b->failed)
        b->len += (size_t)n;
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    buf_addv(b, fmt, args);
    va_end(args);
}

void buf_add_u64(struct buf *b, uint64_t value)
{
    uint8_t digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    buf_add(b, slice_make(digits + at, sizeof digits - at));
}

void buf_drop_front(struct buf *b, size_t n)
{
    n = MIN(n, b->len);
    if (n == 0)
        return;
    b->len -= n;
    memmove(b->ptr, b->ptr + n, b->len);
}

void buf_truncate(struct buf *b, size_t len)
{
    CHECK(len <= b->len);
    b->len = len;
}

const char *buf_text(struct buf *b)
{
    uint8_t *at = buf_reserve(b, 1);

    if (!at)
        return "";
    *at = '\0';
    return (const char *)b->ptr;
}

uint8_t *buf_steal(struct buf *b, size_t *len)
{
    uint8_t *ptr = b->ptr;

    if (b->failed || b->len == 0) {
        buf_fini(b);
        *len = 0;
        return NULL;
    }
    *len = b->len;
    buf_init(b);
    return ptr;
}
