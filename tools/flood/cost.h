/* cost.h - what the server's processes take for what is asked of them: memory
 * for clients that are up, processor time for messages.
 * Threads: one. Cost: a few files of /proc for each process; memory, a walk over
 * its page tables besides (proto/procfs.h). */
#ifndef TOUCHLINE_FLOOD_COST_H
#define TOUCHLINE_FLOOD_COST_H

#include "base/opt.h"

enum { COST_PIDS_MAX = 1024 };

struct cost {
    uint32_t pids[COST_PIDS_MAX];
    size_t count; /* 0: nobody is watched */
    /* what was taken between the looks */
    int64_t cpu_ns;
    int64_t memory;   /* bytes; below 0: given back */
    bool exact;       /* memory: pages that several share count in parts */
    bool gone;        /* one of them ended meanwhile: there are no figures */
};

/* "PID,PID": these and those that come from them by now. Empty: nobody.
 * ERR_BAD, and why. */
MUST_USE int cost_init(struct cost *c, const char *text, struct opt_error *err);

/* From here to its end, as often as there is something to measure; what is
 * between is added. */
void cost_cpu_begin(struct cost *c);
void cost_cpu_end(struct cost *c);
void cost_memory_begin(struct cost *c);
void cost_memory_end(struct cost *c);

#endif
