/* buf.h - bytes that grow at the end and shrink at the front.
 * Threads: one at a time. A buf owns its memory; slices of it are void after
 * the next add, reserve, reset or fini.
 * Cost: doubling growth, so an add is O(bytes) on average; dropping from the
 * front moves what stays, so drop seldom and much.
 *
 * Failure is sticky: when memory runs out `failed` becomes true, the add and
 * all later ones do nothing, and whoever uses the result asks once. A failed
 * buf still holds what it held; buf_reset() makes it usable again. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>

#include "base/slice.h"

struct buf {
    uint8_t *ptr;
    size_t len;
    size_t cap;
    bool failed;
};

/* An empty buf allocates nothing until the first add. */
#define BUF_INIT { NULL, 0, 0, false }
static inline void buf_init(struct buf *b) { *b = (struct buf)BUF_INIT; }

/* Frees the memory and leaves an empty buf; fine on an empty one. */
void buf_fini(struct buf *b);

/* Forgets content and failure, keeps the memory. */
static inline void buf_reset(struct buf *b) { b->len = 0, b->failed = false; }

/* Room for n more bytes behind b->len, to be filled at the returned pointer
 * and counted with `b->len += used`. NULL when out of memory (and failed). */
uint8_t *buf_reserve(struct buf *b, size_t n);

/* The bytes must not be part of b itself. */
void buf_add(struct buf *b, struct slice bytes);
void buf_add_str(struct buf *b, const char *text);
void buf_add_byte(struct buf *b, uint8_t byte);
PRINTF_LIKE(2, 3) void buf_addf(struct buf *b, const char *fmt, ...);
PRINTF_LIKE(2, 0) void buf_addv(struct buf *b, const char *fmt, va_list args);

/* Decimal digits; several times faster than buf_addf. */
void buf_add_u64(struct buf *b, uint64_t value);

/* Drops the first n bytes (at most all). O(bytes that stay). */
void buf_drop_front(struct buf *b, size_t n);

/* Cuts b back to its first len bytes; len is at most b->len. */
void buf_truncate(struct buf *b, size_t len);

static inline struct slice buf_slice(const struct buf *b)
{
    return slice_make(b->ptr, b->len);
}

/* The content as text: a terminator is put behind it (not counted in len).
 * "" when out of memory. Valid until b changes. */
const char *buf_text(struct buf *b);

/* Gives the memory to the caller (free it); b is empty afterwards. NULL for
 * a buf that is empty or failed, which is freed. */
MUST_USE uint8_t *buf_steal(struct buf *b, size_t *len);

#endif
