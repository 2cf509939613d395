/* slice.h - a view of bytes: pointer and length, never zero-terminated.
 * Threads: any; a slice owns nothing and lives no longer than its bytes.
 * Cost: passed by value; nothing here allocates.
 *
 * The empty slice may have a NULL ptr; every function accepts it. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/base.h"

struct slice {
    const uint8_t *ptr;
    size_t len;
};

/* A string literal without its terminator; SLICE_INIT for static storage. */
#define SLICE(literal) ((struct slice)SLICE_INIT(literal))
#define SLICE_INIT(literal) \
    { (const uint8_t *)("" literal), sizeof(literal) - 1 }

/* printf("id=" SLICE_FMT, SLICE_ARG(s)); s is evaluated twice. Bytes beyond
 * INT_MAX are not printed, nor is anything after a zero byte. */
#define SLICE_FMT "%.*s"
#define SLICE_ARG(s) (int)MIN((s).len, (size_t)0x7fffffff), \
    (s).ptr ? (const char *)(s).ptr : ""

static inline struct slice slice_make(const void *ptr, size_t len)
{
    return (struct slice){ ptr, len };
}

/* The text up to its terminator; NULL gives the empty slice. */
static inline struct slice slice_str(const char *text)
{
    return slice_make(text, text ? strlen(text) : 0);
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || !memcmp(a.ptr, b.ptr, a.len));
}

static inline bool slice_starts(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len
           && slice_eq(slice_make(s.ptr, prefix.len), prefix);
}

static inline bool slice_ends(struct slice s, struct slice suffix)
{
    return s.len >= suffix.len
           && slice_eq(slice_make(s.ptr + (s.len - suffix.len), suffix.len),
                       suffix);
}

/* What follows the first n bytes; empty when there are no more. */
static inline struct slice slice_from(struct slice s, size_t n)
{
    n = MIN(n, s.len);
    return n ? slice_make(s.ptr + n, s.len - n) : s;
}

/* The first n bytes, or all when there are fewer. */
static inline struct slice slice_head(struct slice s, size_t n)
{
    return slice_make(s.ptr, MIN(n, s.len));
}

/* Equal but for the case of A-Z; other bytes are compared as they are, in
 * any locale. */
bool slice_eq_nocase(struct slice a, struct slice b);

/* Below, equal to or above 0 like memcmp; a prefix sorts before the longer. */
int slice_cmp(struct slice a, struct slice b);

/* Index of the first such byte, or s.len. */
size_t slice_find_byte(struct slice s, uint8_t byte);

/* Without leading and trailing spaces and tabs. */
struct slice slice_trim(struct slice s);

/* Cuts s at the first `sep`: returns what is before it and leaves what is
 * after it in *rest; without a `sep` returns all and leaves *rest empty with
 * a NULL ptr. `for (rest = s; rest.ptr;) part = slice_split(&rest, ',');`
 * visits each part; of an empty slice with a ptr, one empty part. */
struct slice slice_split(struct slice *rest, uint8_t sep);

/* Strict decimal: digits only, at least one, no sign, no space, no leading
 * zero but "0" itself. ERR_BAD otherwise, ERR_TOO_BIG above UINT64_MAX. */
MUST_USE int slice_parse_u64(struct slice s, uint64_t *ret);

/* A zero-terminated copy that the caller frees; NULL when out of memory. */
MUST_USE char *slice_dup(struct slice s);

#endif
