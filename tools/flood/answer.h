/* answer.h - HTTP/1.1 answers taken apart: the head, then the body without its
 * chunks, in any pieces, with eight bytes of state and no memory of its own.
 * Threads: one at a time. Cost: bodies are moved, not looked at. */
#ifndef TOUCHLINE_FLOOD_ANSWER_H
#define TOUCHLINE_FLOOD_ANSWER_H

#include "base/slice.h"

enum answer_phase {
    ANSWER_HEAD,
    ANSWER_LENGTH,    /* `left` bytes of body follow */
    ANSWER_UNTIL_END, /* the connection's end is the body's */
    ANSWER_SIZE,      /* a chunk's size, `left` so far */
    ANSWER_EXTENSION, /* what stands behind it, up to LF */
    ANSWER_DATA,      /* `left` bytes of a chunk follow */
    ANSWER_DATA_END,  /* CR LF behind them */
    ANSWER_TRAILER,   /* a line of it begins */
    ANSWER_TRAILER_LINE,
    ANSWER_OVER,
    ANSWER_BROKEN, /* what came cannot stand there */
};

/* All zero: a head is awaited. */
struct answer {
    uint32_t left;
    uint16_t status;
    uint8_t phase; /* enum answer_phase */
    bool closes;   /* the server will not answer again */
};

enum { ANSWER_HEAD_MAX = 64 * 1024 };

/* The head at the front of `in`. *used: its length, or 0: it is not all there
 * yet. 1xx but 101 is passed over by the caller, who sees its status. ERR_BAD,
 * ERR_TOO_BIG. */
MUST_USE int answer_head(struct answer *a, struct slice in, size_t *used);

/* Decodes from in (len bytes) to out, which may be the same memory or in front
 * of it; *used of them have been looked at, which is all unless the answer is
 * over or broken. Each chunk is followed by LF when `lines`. Returns the bytes
 * put out, which are good also where it breaks behind them. */
size_t answer_body(struct answer *a, const uint8_t *in, size_t len,
                   uint8_t *out, size_t *used, bool lines);

#endif
