/* memory_bus.h - bus.h without NNG: two buses of one process, whose lines hand
 * each other their bytes when they are told to. Linked instead of bus.c.
 * A line that listens at a name and one that dials it are a pair; servers and
 * asks there are none. Threads: one. */
#ifndef TESTS_BENCH_MEMORY_BUS_H
#define TESTS_BENCH_MEMORY_BUS_H

#include <stdbool.h>

#include "proto/bus.h"

/* What the other ends have committed is received by this bus's lines. */
void memory_bus_deliver(struct bus *b);
/* Nothing waits to be. */
bool memory_bus_quiet(const struct bus *b);

#endif
