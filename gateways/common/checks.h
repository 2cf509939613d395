/* checks.h - what every edge checks alike, and words that all of them use.
 * Threads: any. */
#ifndef TOUCHLINE_GATEWAYS_CHECKS_H
#define TOUCHLINE_GATEWAYS_CHECKS_H

#include "gateways/common/conn.h"

enum { CONFLATION_KEY_MAX = 200 };

/* Is it a name for presence and `from`: 1 to 64 bytes of UTF-8 without control
 * characters, spaces and colons? */
bool check_name(struct slice name);

/* What stands beside the data of a publication: from, key, idempotency; absent
 * is a NULL ptr. 0, or ERR_BAD with *why. */
MUST_USE int check_publish(const struct publish *p, struct refusal *why);

/* An answer of the router that refuses is "code: text for people"; one of the
 * gateway itself is text alone. Takes the code off *text, or returns the usual
 * one for this status. */
struct slice refusal_code(enum publish_status status, struct slice *text);

#endif
