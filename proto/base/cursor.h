/* cursor.h - the only way bytes from outside are taken apart, and the only way
 * bytes for outside are put together: little-endian, bounds-checked.
 * Threads: one at a time. Cost: nothing allocates but the buf behind put_.
 *
 * Reading: failure is sticky. After the first read that finds too little,
 * every read gives 0 or the empty slice and `failed` stays true, so a decoder
 * is a straight line with one question at its end: cursor_all_read().
 * Slices that are returned borrow the bytes the cursor was made from.
 *
 * Writing: onto a struct buf, whose failure is sticky too. */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include "base/buf.h"

struct cursor {
    const uint8_t *pos;
    const uint8_t *end;
    bool failed;
};

/* A cursor at the start of s, which must outlive it. */
struct cursor cursor_init(struct slice s);

uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
int64_t cursor_i64(struct cursor *c);

/* The next n bytes. */
struct slice cursor_take(struct cursor *c, size_t n);

/* A length of 8, 16 or 32 bits and that many bytes. */
struct slice cursor_str8(struct cursor *c);
struct slice cursor_str16(struct cursor *c);
struct slice cursor_str32(struct cursor *c);

/* All that is left. */
struct slice cursor_rest(struct cursor *c);

/* A decoder's own verdict ("this value cannot be") joins the sticky failure. */
static inline void cursor_fail(struct cursor *c) { c->failed = true; }

/* Bytes not yet read; 0 once failed. */
static inline size_t cursor_left(const struct cursor *c)
{
    return c->failed ? 0 : (size_t)(c->end - c->pos);
}

/* Nothing failed and nothing is left over. */
static inline bool cursor_all_read(const struct cursor *c)
{
    return !c->failed && c->pos == c->end;
}

void put_u8(struct buf *b, uint8_t v);
void put_u16(struct buf *b, uint16_t v);
void put_u32(struct buf *b, uint32_t v);
void put_u64(struct buf *b, uint64_t v);
void put_i64(struct buf *b, int64_t v);
void put_raw(struct buf *b, struct slice bytes);

/* Length and bytes; a slice too long for its length makes b fail. */
void put_str8(struct buf *b, struct slice s);
void put_str16(struct buf *b, struct slice s);
void put_str32(struct buf *b, struct slice s);

/* Overwrites the four bytes at `at` (which were put before), for a length
 * that is known only at the end. Nothing happens when b has failed. */
void put_u32_at(struct buf *b, size_t at, uint32_t v);

#endif
