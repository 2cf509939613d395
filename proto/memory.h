/* memory.h - what a process keeps in memory, table by table, and giving back to
 * the kernel what it does not need: by itself, and as answers to the router's
 * ASK.
 *
 * A row is {table, count, bytes}. Bytes are what was asked of the allocator, or
 * the blocks (block.h) that are taken; tables keep count of them as they grow and
 * shrink, so that asking costs no walk.
 * Threads: any; a watch is its loop's. */
#ifndef TOUCHLINE_PROTO_MEMORY_H
#define TOUCHLINE_PROTO_MEMORY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/loop.h"

/* Words of ASK. */
#define MEMORY_TABLES "mem"  /* all rows */
#define MEMORY_TRIM   "trim" /* give back, then a row that says how long */

/* Of the allocator: what it has free, of all threads of the process. */
#define MEMORY_IDLE "allocator idle"
/* Of trimming: microseconds that the loop was held, as its count. */
#define MEMORY_TRIMMED "trim"

void memory_row(struct buf *report, const char *table, uint64_t count,
                uint64_t bytes);
/* The row of the allocator. Cost: a walk over its free pieces, milliseconds
 * where there are tens of thousands; not to be asked each second. */
void memory_idle_row(struct buf *report);

/* Gives back what the allocator has free, and appends the row of that. Cost: about a millisecond for each MB that is given
 * back, and it cannot be divided: tables whose size comes and goes with crowds
 * are made of blocks for that reason, which never need it. */
void memory_trim(struct buf *report);

/* ---- from outside -----------------------------------------------------------
 * What the kernel says of this process, as figures: memory_bytes, of what is
 * "private", which would come back with its end, and of all that is "resident".
 * Cost: a system call. */

/* Before the process is caged; where there is no /proc there are no figures. */
void memory_open_figures(void);
/* Walks over them: *at begins at 0. False: no more. */
struct stat_sample;
bool memory_next_figure(size_t *at, struct stat_sample *ret);

/* ---- by itself ---------------------------------------------------------------
 * What came and went leaves free pieces behind, in front of and between what is
 * used, which the allocator keeps for the next crowd. A watch looks every
 * MEMORY_LOOK how many pages the process has touched anew, and how much is free.
 * When either has grown by MEMORY_SLACK since it last gave back, and grows by
 * less than MEMORY_REST from look to look, or that was MEMORY_BUSY ago, it gives
 * back what is free. A process has one. */

#define MEMORY_LOOK  (2 * SECOND)
#define MEMORY_BUSY  (30 * SECOND)
enum { MEMORY_SLACK = 64 * 1024, MEMORY_REST = 256 * 1024 };
/* A loop is not held for longer by it, as far as can be told before: what takes
 * longer is left to MEMORY_TRIM. */
#define MEMORY_HELD_MAX (40 * MILLISECOND)

/* Before there is a second thread, and before much is allocated. arenas: of
 * malloc, as many as there are threads that allocate much. Fixes its thresholds,
 * too, which else grow with what was freed: a large buffer (128 KiB) is the
 * kernel's own piece, and goes back with it whatever lies around. */
void memory_settle(unsigned arenas);

/* Embed it. */
struct memory_watch {
    struct loop_timer look;
    struct memory_mark {
        size_t touched; /* bytes of pages, ever */
        size_t free;    /* bytes that malloc has, */
        size_t pieces;  /* in so many */
        int64_t at_ns;
    } last, trimmed; /* at the last look, and behind the last trimming */
    uint64_t trims;   /* so many times it has given back */
    uint64_t left;    /* times that it would have taken too long */
};

/* Begins to look. Cost of a look: a system call, and a walk over the free pieces
 * of malloc; where that is more than a 1,000th of the time, it looks less often. */
void memory_watch_start(struct memory_watch *w, struct loop *l);
/* Harmless on a zeroed struct. */
void memory_watch_stop(struct memory_watch *w);

/* What a process that does so counts. */
#define MEMORY_STATS(X)                                                       \
    X(TRIMS, COUNTER, "memory_trims_total", "result=\"done\"",                \
      "times that free memory was to be given back to the kernel")            \
    X(TRIMS_LEFT, COUNTER, "memory_trims_total", "result=\"left\"",           \
      "times that free memory was to be given back to the kernel")

#endif
