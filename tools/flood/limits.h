/* limits.h - does this machine allow so many connections, and what has to be
 * set when it does not.
 * Threads: start-up only. */
#ifndef TOUCHLINE_FLOOD_LIMITS_H
#define TOUCHLINE_FLOOD_LIMITS_H

#include "tools/flood/plan.h"

/* Raises this process' limit on open files as far as it goes. How many
 * processes the connections need (or were asked for), at least 1; 0: it cannot
 * be done, and *err says what to set. */
size_t limits_processes(const struct plan *p, struct opt_error *err);

/* Does anybody listen? ERR_CLOSED: nobody, ERR_IO: it cannot be asked; and why,
 * with what to do. */
MUST_USE int limits_reach(const struct plan *p, struct opt_error *err);

#endif
