/* procfs.h - what the kernel says of a process of this machine.
 *
 * Processes of Touchline are not dumpable: of one that is not ours to trace
 * (we are neither root nor its user with that right) the kernel hides
 * smaps_rollup. What everybody may read stands in then, and `exact` says so.
 *
 * All functions: false when there is no such process, or nothing can be read
 * of it. Threads: any. Cost: one to three files; smaps_rollup walks the page
 * tables, about a millisecond for 100 MB. */
#ifndef TOUCHLINE_PROTO_PROCFS_H
#define TOUCHLINE_PROTO_PROCFS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

enum { PROC_NAME_MAX = 16 };

/* Bytes. */
struct proc_memory {
    bool exact;       /* of smaps_rollup; else private is RssAnon, and pss Rss */
    uint64_t private; /* nobody else has these pages: they go with the process */
    uint64_t pss;     /* and its share of those that others have, too */
    uint64_t rss;
    uint64_t heap;    /* of private: the heap and anonymous memory */
};
MUST_USE bool proc_memory(uint32_t pid, struct proc_memory *ret);

/* Processor time so far, of all its threads. */
MUST_USE bool proc_cpu_ns(uint32_t pid, int64_t *ret);

struct proc_who {
    char name[PROC_NAME_MAX]; /* as the kernel cuts it; control characters are
                                 question marks */
    uint32_t parent;
    uint32_t threads;
};
MUST_USE bool proc_who(uint32_t pid, struct proc_who *ret);

/* RLIMIT_NOFILE in force, UINT64_MAX: unlimited. */
MUST_USE bool proc_files(uint32_t pid, uint64_t *soft, uint64_t *hard);

/* The pids of its children, at most `room` of them; how many. */
size_t proc_children(uint32_t pid, uint32_t *ret, size_t room);

/* The folder of its group below /sys/fs/cgroup (version 2), "/" for the root;
 * with its terminating NUL at most `room` bytes. */
MUST_USE bool proc_cgroup(uint32_t pid, char *ret, size_t room);

#endif
