/* report.h - the figures of a run, added up, and how they are shown: a line
 * while it runs, a row of CSV each second, text and JSON at the end.
 * Threads: one, that of the first process. */
#ifndef TOUCHLINE_FLOOD_REPORT_H
#define TOUCHLINE_FLOOD_REPORT_H

#include "base/buf.h"
#include "tools/flood/cost.h"
#include "tools/flood/plan.h"
#include "tools/flood/share.h"

struct report {
    const struct plan *plan;
    struct stage *stage;
    const struct share *workers, *probe; /* probe: NULL: there is none */
    size_t worker_count;
    const struct cost *cost;
    bool costed;            /* cost is known: it came to the end of draining */
    uint64_t cost_clients;  /* that were up then */
    int64_t begun_us;       /* Unix */
    double seconds, up_after; /* of the run; until all were up, 0: never */
    bool interrupted;       /* by a signal: it ended early */
    bool steady;            /* nobody came or went while it was published */
};

/* Sums over the workers. */
uint64_t report_sum(const struct report *r, enum share_counter c);
uint64_t report_active(const struct report *r);
/* The lost ones, those at the end of what was published here included. */
uint64_t report_lost(const struct report *r);
/* Nothing failed, was lost, came twice or out of order, or was refused, and
 * nobody got nothing. */
bool report_is_clean(const struct report *r);

void report_words(const struct report *r, struct buf *out);
void report_json(const struct report *r, struct buf *out);

/* Rows of CSV and the live line need to know what was before. */
struct report_second {
    uint64_t counters[SHARE_COUNT];
    struct histogram latency, all;
    int64_t at_us;
    double took;        /* seconds since the row before */
    uint64_t rates[SHARE_COUNT]; /* within these */
};

extern const char report_csv_head[];
/* Looks at what has come since the last look. */
void report_next_second(const struct report *r, struct report_second *s,
                        int64_t now_us);
void report_csv(const struct report *r, const struct report_second *s,
                struct buf *out);
/* One line without an end; a bar of what share is done: 0 to 1, below 0: none. */
void report_line(const struct report *r, const struct report_second *s,
                 double done, struct buf *out);

#endif
