/* lock.h - one Touchline per directory, and what a killed one left behind.
 *
 * DIR/touchline.lock is held (flock) by the supervisor and, inherited, by
 * every child: while it is held somebody of this directory lives. The file
 * lists them, so that a new supervisor can drain the children that outlived
 * the old one.
 * Threads: start-up only. */
#ifndef TOUCHLINE_TOOLS_LOCK_H
#define TOUCHLINE_TOOLS_LOCK_H

#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"

/* On 0 *fd is the held lock. When children of a dead supervisor hold it, they
 * are told to drain and waited for, at most wait_ms, then killed; drained
 * counts them. ERR_BUSY: a supervisor is running (*why names its pid).
 * ERR_IO. */
MUST_USE int lock_take(const char *dir, int wait_ms, int *fd,
                       unsigned *drained, char *why, size_t why_size);

/* When a process began, in the kernel's ticks, so that a pid that is used again
 * is not taken for the one before; 0: there is none. */
unsigned long long lock_start_time(pid_t pid);

/* One line of the list: "812 4711 http". */
void lock_entry(struct buf *list, pid_t pid, unsigned long long began,
                const char *kind);
/* Writes who lives: this process and those of the list. */
void lock_write(int fd, const struct buf *list);
/* The last one out. */
void lock_release(int fd, const char *dir);

#endif
