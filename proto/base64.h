/* base64.h - RFC 4648, the alphabet with + and /, padded.
 * Threads: any. Cost: O(bytes); nothing allocates but the buf. */
#ifndef TOUCHLINE_PROTO_BASE64_H
#define TOUCHLINE_PROTO_BASE64_H

#include "base/buf.h"

void base64_add(struct buf *out, struct slice bytes);

/* Appends what text stands for. Strict: whole groups of four, padding at the
 * end only, unused bits zero. ERR_BAD; out then holds what was before. */
MUST_USE int base64_decode(struct buf *out, struct slice text);

#endif
