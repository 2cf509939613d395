/* clock.h - the time, replaceable in tests.
 * Threads: reading from any; clock_fake() and clock_real() only while no other
 * thread reads. Cost: a vDSO call, about 25 ns.
 *
 * Decisions take the time as an argument; only event handlers read a clock.
 * Monotonic nanoseconds order and measure; wall time is only shown. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds since some moment before this process; never goes back. */
int64_t clock_ns(void);

/* Unix milliseconds, UTC; jumps when somebody sets the clock. */
int64_t clock_wall_ms(void);

/* Tests: both clocks stand still at these values until the next call. */
void clock_fake(int64_t ns, int64_t wall_ms);

/* Tests: both fake clocks go on by so much. */
void clock_fake_advance(int64_t ns);

/* Tests: back to the real clocks. */
void clock_real(void);

#endif
