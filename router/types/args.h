/* args.h - JSON that we act on, read strictly into a cJSON tree.
 *
 * cJSON alone is lenient: it takes garbage behind the value, the first of two
 * equal keys, "\u0000" as the end of a string, bytes that are not UTF-8. All
 * that is refused here before anybody looks at the tree. Only look keys up
 * with args_get(): cJSON_GetObjectItem() ignores case.
 * Threads: the router's loop. Cost: about 10 microseconds a kilobyte. */
#ifndef TOUCHLINE_ROUTER_TYPES_ARGS_H
#define TOUCHLINE_ROUTER_TYPES_ARGS_H

#include <cjson/cJSON.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/slice.h"

enum { ARGS_KEYS_MAX = 256 }; /* of one object: the check is quadratic */

/* Parses an object of at most max bytes. The caller deletes the tree. ERR_BAD
 * with one sentence appended to why; ERR_NOMEM. */
MUST_USE int args_parse(cJSON **ret, struct slice text, size_t max,
                        struct buf *why);

/* The value of a key; NULL when absent or null. object may be NULL. */
const cJSON *args_get(const cJSON *object, const char *key);
/* The first key that is not in the NULL-ended list, or NULL. */
const char *args_unknown(const cJSON *object, const char *const known[]);

/* The text of a string value; ptr NULL when it is none. */
struct slice args_text(const cJSON *value);
/* A string of 1 to max bytes without control characters (line_breaks: but LF
 * and TAB). ERR_BAD with a sentence that begins with name. */
MUST_USE int args_line(const cJSON *value, const char *name, size_t max,
                       bool line_breaks, struct slice *ret, struct buf *why);
/* A whole number within 2^53. ERR_BAD. */
MUST_USE int args_integer(const cJSON *value, int64_t *ret);

#endif
