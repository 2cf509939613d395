/* checks.h - what every edge checks alike, and words that all of them use.
 * Threads: any. */
#ifndef TOUCHLINE_GATEWAYS_CHECKS_H
#define TOUCHLINE_GATEWAYS_CHECKS_H

#include "gateways/common/conn.h"

/* What stands beside the data of a publication: from, key, idempotency; absent
 * is a NULL ptr. 0, or ERR_BAD with *why. */
MUST_USE int check_publish(const struct publish *p, struct refusal *why);

/* An answer of the router that refuses is "code: text for people"; one of the
 * gateway itself is text alone. Takes the code off *text, or returns the usual
 * one for this status. */
struct slice refusal_code(enum publish_status status, struct slice *text);

#endif
