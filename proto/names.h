/* names.h - the grammar of what stands beside the text of a message: who says
 * it, a conflation key, an idempotency key. The same at every edge and in
 * router-ctl. Threads: any. Cost: O(length). */
#ifndef TOUCHLINE_PROTO_NAMES_H
#define TOUCHLINE_PROTO_NAMES_H

#include "base/slice.h"
#include "proto/limits.h"

/* Of a person, in `from` and for presence: 1 to PERSON_NAME_MAX bytes of UTF-8
 * without control characters, spaces and colons. */
bool name_valid(struct slice name);
/* 1 to CONFLATION_KEY_MAX bytes of UTF-8 without control characters. */
bool key_valid(struct slice key);
/* 1 to IDEMPOTENCY_KEY_MAX bytes, each 0x21 to 0x7e. */
bool idempotency_valid(struct slice key);

/* The same in words, to follow "has". */
#define NAME_RULE "1 to 64 bytes of UTF-8, and no control character, space or " \
                  "colon"
#define KEY_RULE "1 to 200 bytes of UTF-8 and no control character"
#define IDEMPOTENCY_RULE "1 to 128 bytes, each 0x21 to 0x7e"

#endif
