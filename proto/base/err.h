/* err.h - the errors a function may return: negative ERR_ codes, 0 is success.
 * Threads: any. Cost: a table look-up.
 *
 * A function that fails has written nothing through its result pointers and
 * has left its arguments as they were, unless its header says otherwise. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

enum err {
#define ERR(code, name, whose, text) ERR_##name = -(code),
#include "base/err.def"
#undef ERR
};

/* "ERR_NOMEM"; "ERR_UNKNOWN" for a number that is none of ours (0: "OK"). */
const char *err_name(int err);

/* A sentence part for people, such as "out of memory". Never NULL. */
const char *err_text(int err);

/* Did the one who asked do something wrong (an HTTP 4xx), as opposed to this
 * machine being short of something (a 5xx)? False for unknown numbers. */
bool err_is_peers(int err);

/* The code that a failed system call's errno stands for; ERR_IO if none does
 * better. Use right after the call. Never 0. */
int err_from_errno(int saved_errno);

#endif
