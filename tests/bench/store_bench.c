/* store_bench - what a commit costs: rows a second for batches of several
 * sizes, and how long a lone message waits for its numbers: until the writer
 * has woken, for the transaction, until the loop has woken.
 *
 *     store_bench [DIR [SECONDS]]
 *
 * "lone" is a message a millisecond after the one before: everybody sleeps.
 * DIR (default: the current one) gets a database that is removed at the end;
 * SECONDS (default 1) is the time each row takes. The disk decides: name one
 * like the one that will be used. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "store/reader.h"
#include "store/writer.h"

enum { IDS = 1000, BODY = 200, BATCH_MAX = 1000, SAMPLES = 200000 };

/* All of a commit, and what it is made of. */
enum part { ALL, WAKE_WRITER, TRANSACTION, WAKE_LOOP, PARTS };

struct bench {
    struct loop *loop;
    struct writer *writer;
    struct batch batch;
    struct entry entries[BATCH_MAX];
    char ids[IDS][16];
    int64_t until_ns, started_ns;
    uint64_t rows, commits;
    int64_t *waits[PARTS]; /* per commit, nanoseconds */
    bool sync;
    int64_t pause_ns; /* between a commit and the next batch */
    struct loop_timer pause;
};

static void must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "store_bench: %s: %s\n", what, err_text(rc));
    exit(1);
}

static void fill(struct bench *b, size_t count)
{
    static uint8_t body[BODY];

    for (size_t i = 0; i < count; i++) {
        struct slice id = slice_str(b->ids[(unsigned)rand() % IDS]);

        b->entries[i] = (struct entry){
            .rec = { .id = id, .ts_ms = clock_wall_ms(),
                     .data = slice_make(body, sizeof body) },
            .stored = true,
            .sync = b->sync,
        };
    }
    b->batch.entries = b->entries;
    b->batch.count = count;
}

static void submit(void *arg)
{
    struct bench *b = arg;

    fill(b, b->batch.count);
    b->started_ns = clock_ns();
    must(writer_submit(b->writer, &b->batch), "submit");
}

static void note(struct bench *b, const struct batch *batch, int64_t now_ns)
{
    b->waits[ALL][b->commits] = now_ns - b->started_ns;
    b->waits[WAKE_WRITER][b->commits] = batch->begun_ns - b->started_ns;
    b->waits[TRANSACTION][b->commits] = batch->ended_ns - batch->begun_ns;
    b->waits[WAKE_LOOP][b->commits] = now_ns - batch->ended_ns;
}

static void done(struct batch *batch)
{
    struct bench *b = batch->user;
    int64_t now_ns = clock_ns();

    must(batch->rc, "commit");
    if (b->commits < SAMPLES)
        note(b, batch, now_ns);
    b->commits++;
    b->rows += batch->count;
    if (now_ns >= b->until_ns)
        loop_stop(b->loop);
    else if (b->pause_ns)
        loop_timer_set(&b->pause, b->pause_ns);
    else
        submit(b);
}

static int by_value(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;

    return a < b ? -1 : a > b;
}

static void report(struct bench *b, const char *what, double seconds)
{
    size_t n = b->commits < SAMPLES ? b->commits : SAMPLES;

    for (int i = 0; i < PARTS; i++)
        qsort(b->waits[i], n, sizeof *b->waits[i], by_value);
    printf("%-8s %5zu %9.0f %9.0f %8.1f %9.1f %9.1f %8.1f %8.1f %8.1f\n",
           what, b->batch.count, (double)b->rows / seconds,
           (double)b->commits / seconds, (double)b->waits[ALL][n / 2] / 1e3,
           (double)b->waits[ALL][n * 99 / 100] / 1e3,
           (double)b->waits[ALL][n - 1] / 1e3,
           (double)b->waits[WAKE_WRITER][n / 2] / 1e3,
           (double)b->waits[TRANSACTION][n / 2] / 1e3,
           (double)b->waits[WAKE_LOOP][n / 2] / 1e3);
}

static void run(struct bench *b, const char *what, size_t count,
                double seconds)
{
    int64_t start_ns = clock_ns();

    b->rows = b->commits = 0;
    b->batch.count = count;
    b->until_ns = start_ns + (int64_t)(seconds * 1e9);
    submit(b);
    must(loop_run(b->loop), "loop");
    report(b, what, (double)(clock_ns() - start_ns) / 1e9);
}

/* 100 messages of each id: every message pushes another out. */
static struct keep keep_few(void *arg, struct slice id)
{
    UNUSED(arg);
    UNUSED(id);
    return (struct keep){ .max_count = 100 };
}

static void open_store(struct bench *b, const char *path,
                       history_policy *policy)
{
    struct history_options opt = {
        .path = path, .busy_ms = 100, .policy = policy,
    };
    struct history_report found;
    struct history *h;

    must(history_open(&h, &opt, &found), "open");
    must(loop_new(&b->loop), "loop");
    must(writer_new(&b->writer, h, b->loop, NULL), "writer");
    loop_timer_init(&b->pause, b->loop, submit, b);
    b->batch.done = done;
    b->batch.user = b;
    for (size_t i = 0; i < IDS; i++)
        snprintf(b->ids[i], sizeof b->ids[i], "room/%zu", i);
}

static void remove_store(const char *path)
{
    static const char *const suffixes[] = { "", "-wal", "-shm", "-guard" };
    char name[4200];

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

static void section(const char *what, const char *path, double seconds,
                    bool sync, history_policy *policy)
{
    static const size_t sizes[] = { 1, 10, 100, 1000 };
    static struct bench b;

    b = (struct bench){ .sync = sync };
    for (int i = 0; i < PARTS; i++) {
        b.waits[i] = malloc(SAMPLES * sizeof *b.waits[i]);
        must(b.waits[i] ? 0 : ERR_NOMEM, "memory");
    }
    remove_store(path);
    open_store(&b, path, policy);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        run(&b, what, sizes[i], seconds);
    b.pause_ns = MILLISECOND;
    run(&b, "lone", 1, seconds);
    writer_free(b.writer);
    loop_free(b.loop);
    for (int i = 0; i < PARTS; i++)
        free(b.waits[i]);
    remove_store(path);
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 1;
    char path[4096];

    snprintf(path, sizeof path, "%s/store_bench.db", argc > 1 ? argv[1] : ".");
    printf("%-8s %5s %9s %9s %8s %9s %9s %8s %8s %8s\n", "", "batch",
           "rows/s", "commits/s", "p50 us", "p99 us", "max us", "writer",
           "commit", "loop");
    section("process", path, seconds, false, NULL);
    section("power", path, seconds, true, NULL);
    section("trimmed", path, seconds, false, keep_few);
    return 0;
}
