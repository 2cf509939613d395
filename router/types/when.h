/* when.h - dates as people and RFC 3339 write them, as Unix milliseconds.
 * Only years 1 to 9999; no time zone but the one written, no leap seconds in
 * the count. Threads: any. No allocation. */
#ifndef TOUCHLINE_ROUTER_TYPES_WHEN_H
#define TOUCHLINE_ROUTER_TYPES_WHEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/slice.h"

enum { WHEN_DATE = 10, WHEN_TEXT_MAX = 24 };
#define WHEN_DAY_MS INT64_C(86400000)

/* "2011-09-13" (midnight UTC) or "2011-09-13T20:45:00+02:00". On 0 *ms is the
 * instant and date the day as written, without NUL. ERR_BAD. */
MUST_USE int when_parse(struct slice text, int64_t *ms, char date[WHEN_DATE]);
/* Is it a day that exists, as YYYY-MM-DD? */
bool when_is_date(struct slice text);
/* Can ms be written? */
bool when_in_range(int64_t ms);
/* "2011-09-13T18:45:00Z", with .mmm where there are milliseconds. Returns the
 * length; no NUL. ms must be in range. */
size_t when_format(int64_t ms, char out[WHEN_TEXT_MAX]);

#endif
