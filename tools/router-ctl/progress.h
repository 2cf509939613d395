/* progress.h - a bar on standard error for what takes more than two seconds,
 * when that is a terminal; else nothing at all.
 * Threads: one. */
#ifndef TOUCHLINE_TOOLS_PROGRESS_H
#define TOUCHLINE_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

struct progress {
    const char *what; /* "playing" */
    bool on, drawn;
    int64_t begun_ns, drawn_ns;
};

void progress_begin(struct progress *p, const char *what);
/* done of all; all 0: nobody knows how much there is. detail: what stands
 * behind the bar. Cheap: draws at most ten times a second. */
void progress_show(struct progress *p, uint64_t done, uint64_t all,
                   const char *detail);
void progress_end(struct progress *p); /* wipes it off */

#endif
