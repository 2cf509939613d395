/* check.h - what must hold, and what is believed impossible.
 * Threads: any.
 *
 * Three kinds of wrong: the world's is an error code (err.h), ours is a CHECK,
 * believed impossible is a NEVER. Conditions must have no side effect. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <stdbool.h>

/* Ours: always compiled in. When cond is false the process prints file, line,
 * condition and a backtrace to standard error and aborts: going on would act
 * on a state that nobody has thought about. */
#define CHECK(cond)                                                      \
    ((cond) ? (void)0 : check_failed("CHECK", #cond, __FILE__, __LINE__))

/* Believed impossible: true when it happened nevertheless. Compiled with
 * -DDEBUG (the sanitizer builds are) it aborts like CHECK; otherwise the
 * caller handles it, as in `if (NEVER(p == NULL)) return ERR_STATE;`. */
#ifdef DEBUG
#define NEVER(cond)                                                      \
    ((cond) ? (check_failed("NEVER", #cond, __FILE__, __LINE__), true)   \
            : false)
#else
#define NEVER(cond) (__builtin_expect(!!(cond), 0))
#endif

/* The crash report: async-signal-safe but for the symbol look-up. */
_Noreturn void check_failed(const char *what, const char *cond,
                            const char *file, int line);

/* From now on SIGSEGV, SIGBUS, SIGILL and SIGFPE print the signal and a
 * backtrace before they end the process as they would have (with a core where
 * the system keeps them). `name` is borrowed for ever; call once, early. */
void check_report_signals(const char *name);

#endif
