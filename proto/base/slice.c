#include "base/slice.h"

#include <stdlib.h>

#include "base/err.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

#define EACH_BYTE UINT64_C(0x0101010101010101)

/* Eight bytes at once. What is set in the top bit of a byte: without that bit it
 * is at least 'A', it is above 'Z', it had that bit. */
static uint64_t lower_8(const uint8_t *p)
{
    uint64_t w, low, at_least, above;

    memcpy(&w, p, sizeof w);
    low = w & EACH_BYTE * 0x7f;
    at_least = low + EACH_BYTE * (0x80 - 'A');
    above = low + EACH_BYTE * (0x80 - 'Z' - 1);
    return w + ((at_least & ~above & ~w & EACH_BYTE * 0x80) >> 2);
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
    size_t i = 0;

    if (a.len != b.len)
        return false;
    for (; a.len - i >= 8; i += 8)
        if (lower_8(a.ptr + i) != lower_8(b.ptr + i))
            return false;
    for (; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    return true;
}

int slice_cmp(struct slice a, struct slice b)
{
    size_t n = MIN(a.len, b.len);
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;

    return c ? c : (a.len > b.len) - (a.len < b.len);
}

size_t slice_find_byte(struct slice s, uint8_t byte)
{
    const uint8_t *at = s.len ? memchr(s.ptr, byte, s.len) : NULL;

    return at ? (size_t)(at - s.ptr) : s.len;
}

static bool blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
    while (s.len && blank(s.ptr[0]))
        s = slice_from(s, 1);
    while (s.len && blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

struct slice slice_split(struct slice *rest, uint8_t sep)
{
    size_t at = slice_find_byte(*rest, sep);
    struct slice part = slice_head(*rest, at);

    if (at == rest->len)
        *rest = slice_make(NULL, 0);
    else
        *rest = slice_make(rest->ptr + at + 1, rest->len - at - 1);
    return part;
}

int slice_parse_u64(struct slice s, uint64_t *ret)
{
    uint64_t v = 0;

    if (s.len == 0 || (s.len > 1 && s.ptr[0] == '0'))
        return ERR_BAD;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return ERR_BAD;
    for (size_t i = 0; i < s.len; i++)
        if (__builtin_mul_overflow(v, 10u, &v)
            || __builtin_add_overflow(v, (uint64_t)(s.ptr[i] - '0'), &v))
            return ERR_TOO_BIG;
    *ret = v;
    return 0;
}

char *slice_dup(struct slice s)
{
    char *copy = malloc(s.len + 1);

    if (!copy)
        return NULL;
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}
