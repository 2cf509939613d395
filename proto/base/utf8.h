/* utf8.h - is this UTF-8? As RFC 3629 has it: no overlong forms, no
 * surrogates, nothing above U+10FFFF. Threads: any. Cost: O(bytes), eight at a
 * time through ASCII; no allocation. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/slice.h"

bool utf8_valid(struct slice s);

/* The same for text that comes in pieces, split anywhere. Zeroed is fresh. */
struct utf8_state {
    uint8_t need;     /* continuation bytes still to come */
    uint8_t low, high; /* range of the next one */
};

/* False as soon as no continuation could make the text valid; the state must
 * not be used after that. */
bool utf8_feed(struct utf8_state *st, struct slice piece);

/* Does the text end here, not within a character? */
static inline bool utf8_done(const struct utf8_state *st)
{
    return st->need == 0;
}

/* Takes the first character off *s into *ret. ERR_BAD when s is empty or does
 * not start with a whole valid character; then *s is as it was. */
MUST_USE int utf8_next(struct slice *s, uint32_t *ret);

/* Is it a command to a terminal: C0, DEL or C1? */
static inline bool utf8_is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f);
}

/* Does it turn the direction of the text around it (Unicode's Bidi_Control)? */
static inline bool utf8_is_bidi(uint32_t c)
{
    return c == 0x061c || c == 0x200e || c == 0x200f ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* Appends a character (at most U+10FFFF, no surrogate) as 1-4 bytes to out,
 * which has room for 4; returns how many. */
size_t utf8_put(uint8_t *out, uint32_t codepoint);

#endif
