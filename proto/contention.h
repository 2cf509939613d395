/* contention.h - do others want the processor that this thread runs on? Where they
 * do, what can be said together costs less than what is said at once, and waiting
 * for it adds little to waiting that there is anyway.
 *
 * A thread that has done its work gives its processor up; one whose processor is
 * taken from it, was wanted by more than it (getrusage(2): nvcsw and nivcsw).
 * Measured on two processors, of a gateway's loop: one client after the other
 * makes 28 of the second kind for 100 of the first, a crowd of 100,000 that comes at
 * once 110 to 140.
 * Threads: the one that asks. */
#ifndef TOUCHLINE_CONTENTION_H
#define TOUCHLINE_CONTENTION_H

#include <stdbool.h>
#include <stdint.h>

struct contention { /* {0} to begin with */
    int64_t until_ns; /* it is found */
    int64_t since_ns; /* when these were read, of this thread's life: */
    long given_up, taken;
};

/* Was the processor taken from this thread three quarters as often as it gave it up,
 * or more, within 20 ms or more of the last second? For a second: who then does less
 * waits more often. Cost: a system call, once in 20 ms. */
bool contention_found(struct contention *c, int64_t now_ns);

/* The same of so many. A few are nothing. */
bool contention_of(long given_up, long taken);

#endif
