/* position.h - the cursor that clients hold: "<epoch>-<seq>", or "0" for
 * everything kept. Clients treat it as opaque; we do not.
 * Threads: any. */
#ifndef TOUCHLINE_PROTO_POSITION_H
#define TOUCHLINE_PROTO_POSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/slice.h"

enum { EPOCH_MAX = 15, CURSOR_TEXT_MAX = EPOCH_MAX + 1 + 16 };

/* The random name of the store's history: letters and digits, ends in NUL. */
struct epoch {
    char text[EPOCH_MAX + 1];
};

/* "I have everything up to seq." seq stays below 2^53. */
struct position {
    struct epoch epoch; /* empty text for "0" */
    uint64_t seq;
};

/* ERR_BAD when it is no cursor: nothing else is a reason to refuse one. */
MUST_USE int position_parse(struct slice text, struct position *ret);
/* Writes without NUL; returns the length, at most CURSOR_TEXT_MAX. */
size_t position_format(char out[CURSOR_TEXT_MAX], const struct epoch *epoch,
                       uint64_t seq);
bool epoch_equal(const struct epoch *a, const struct epoch *b);

#endif
