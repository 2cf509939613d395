/* count.h - what a path of the code costs, in instructions under callgrind.
 *
 * A program is a table of paths, `count_paths`, and the real modules. Each path
 * runs in a process of its own, on a clock that stands still, with numbers from
 * random_u64() that are the same each time; so it costs the same each time. It
 * is walked COUNT_FEW and COUNT_MANY times, and the difference counts: what is
 * done once drops out. Only what count_call() calls, in this thread, is counted:
 * neither what prepares it, nor the other end.
 *
 *     count_gateway DIR [WORD...]    the paths whose names contain a WORD
 *
 * DIR, which is there and empty, is for files. tests/bench/counts.py runs them
 * all and compares; without callgrind they just walk. */
#ifndef TESTS_BENCH_COUNT_H
#define TESTS_BENCH_COUNT_H

enum { COUNT_WARM = 8, COUNT_FEW = 16, COUNT_MANY = 48 };

struct count_path {
    const char *name;            /* "gateway/deliver-10" */
    void *(*begin)(unsigned n);  /* what once() gets */
    void (*once)(void *ctx);
    unsigned n;
};
extern const struct count_path count_paths[]; /* up to one without a name */

/* Calls fn(ctx), counted. By this name callgrind knows it (--toggle-collect). */
void count_call(void (*fn)(void *ctx), void *ctx);

/* This path's folder. */
const char *count_dir(void);

/* Ends the program, unless it is so. */
#define MUST(cond) \
    ((cond) ? (void)0 : count_fail(__FILE__, __LINE__, #cond))
_Noreturn void count_fail(const char *file, int line, const char *what);

#endif
