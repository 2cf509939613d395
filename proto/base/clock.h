/* clock.h - the time, replaceable in tests, and a share of it.
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

/* The same, behind by up to some milliseconds (the kernel's tick), at a fifth of
 * the cost. Compared with itself alone. */
int64_t clock_coarse_ns(void);

/* Unix milliseconds, UTC; jumps when somebody sets the clock. */
int64_t clock_wall_ms(void);

/* Tests: both clocks stand still at these values until the next call. */
void clock_fake(int64_t ns, int64_t wall_ms);

/* Tests: both fake clocks go on by so much. */
void clock_fake_advance(int64_t ns);

/* Tests: back to the real clocks. */
void clock_real(void);

/* ---- toll: a share of the time ------------------------------------------
 * For work that can be asked for with few bytes: questions that look at much
 * and may answer little. What it took is charged. It has a part of the time,
 * and may save some of that up: a person's question is answered at once, and
 * however many are asked, the rest of the time is left for everything else.
 * Threads: one at a time. */
struct toll {
    int64_t saved_ns; /* below 0: owed */
    int64_t at_ns;    /* when that was so */
    int64_t most_ns;  /* that may be saved up */
    int part;         /* of the time: one in so many */
};

/* All is saved up. */
void toll_init(struct toll *t, int64_t now_ns, int part, int64_t most_ns);
/* How long to wait until more may be begun; 0: not at all. */
int64_t toll_wait(struct toll *t, int64_t now_ns);
/* What has been done took so long. After toll_wait(). */
void toll_charge(struct toll *t, int64_t took_ns);

#endif
