/* memory.h - what a process keeps in memory, table by table, and giving back to
 * the kernel what it does not need: the answers to the router's ASK.
 *
 * A row is {table, count, bytes}. Bytes are what was asked of the allocator, or
 * the blocks (block.h) that are taken; tables keep count of them as they grow and
 * shrink, so that asking costs no walk.
 * Threads: any. */
#ifndef TOUCHLINE_PROTO_MEMORY_H
#define TOUCHLINE_PROTO_MEMORY_H

#include "base/buf.h"

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

/* Gives back what the allocator has free, and appends the row of that. Cost:
 * about a millisecond for each MB that is given back, and it cannot be divided:
 * tables whose size comes and goes with crowds are made of blocks for that
 * reason, which never need it. */
void memory_trim(struct buf *report);

#endif
