/* extension.h - Sec-WebSocket-Extensions: which offer of permessage-deflate is
 * taken (RFC 6455 9.1, RFC 7692 5 and 7.1).
 *
 * Both sides forget between messages, always: ours, so that one compressed
 * message is good for every connection; the client's, so that no connection
 * needs a window of its own.
 * Threads: any. No I/O, no allocation but the buf's. */
#ifndef TOUCHLINE_WS_EXTENSION_H
#define TOUCHLINE_WS_EXTENSION_H

#include "base/buf.h"

enum { WINDOW_LEAST = 8, WINDOW_MOST = 15 }; /* bits of an LZ77 window */

struct deflate_terms {
    uint8_t window;   /* bits of the client's inflater; 0: no compression */
    bool window_said; /* the offer names them, so the answer must */
};

/* The first offer that can be kept; what has an unknown parameter, one twice,
 * or one with a value that it must not have, is passed over. 0, also when
 * there is none (ret->window is 0 then); ERR_BAD: this is no list of
 * extensions. */
MUST_USE int extension_choose(struct slice offers, struct deflate_terms *ret);

/* Appends the line of the answer; nothing for window 0. */
void extension_answer(struct buf *out, const struct deflate_terms *terms);

#endif
