/* What the store's writer does with a batch, SQLite's part included: one
 * transaction, from its first row to the commit. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/append.h"
#include "tests/bench/count.h"

enum { BATCH_MAX = 100, IDS = 10, BODY = 100 };

static struct shop {
    struct history *history;
    struct counters counters;
    struct entry entries[BATCH_MAX];
    struct batch batch;
} s;

static void *begin(unsigned n)
{
    static const uint8_t body[BODY];
    static char ids[IDS][16];
    char path[300];
    struct history_report report;
    struct history_options opt = {.path = path};

    snprintf(path, sizeof path, "%s/touchline.db", count_dir());
    MUST(history_open(&s.history, &opt, &report) == 0);
    counters_init(&s.counters);
    for (unsigned i = 0; i < IDS; i++)
        snprintf(ids[i], sizeof ids[i], "room/%u", i);
    for (unsigned i = 0; i < n; i++)
        s.entries[i] = (struct entry){
            .rec = {.id = slice_str(ids[i % IDS]), .ts_ms = clock_wall_ms(),
                    .data = slice_make(body, sizeof body)},
            .stored = true,
        };
    s.batch = (struct batch){.entries = s.entries, .count = n};
    return &s;
}

static void append(void *ctx)
{
    UNUSED(ctx);
    append_batch(s.history, &s.counters, &s.batch);
}

static void once(void *ctx)
{
    count_call(append, ctx);
    MUST(s.batch.rc == 0);
}

const struct count_path count_paths[] = {
    {"store/batch-of-1", begin, once, 1},
    {"store/batch-of-10", begin, once, 10},
    {"store/batch-of-100", begin, once, 100},
    {NULL, NULL, NULL, 0},
};
