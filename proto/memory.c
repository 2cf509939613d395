#include "proto/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/stat.h"
#include "proto/report.h"

enum {
    LARGE = 128 * 1024,    /* is no part of the heap */
    TOP_MOST = 128 * 1024, /* free at the heap's end, before it gets shorter */
    TOP_STEP = 64 * 1024,  /* it grows so */
    NS_PER_LOOK = 100 * 1000, /* for each piece; it takes a 1,000th of that */
    PAGE_BYTES = 4096,
    NS_PER_PIECE = 2500,   /* of trimming: a call for each, */
    NS_PER_KIB = 1500,     /* and what is in it */
};

void memory_row(struct buf *report, const char *table, uint64_t count,
                uint64_t bytes)
{
    report_row(report);
    report_text(report, "table", slice_str(table));
    report_number(report, "count", count);
    report_number(report, "bytes", bytes);
    report_row_end(report);
}

void memory_idle_row(struct buf *report)
{
    struct mallinfo2 m = mallinfo2();

    memory_row(report, MEMORY_IDLE, m.ordblks, m.fordblks);
}

void memory_trim(struct buf *report)
{
    int64_t begun = clock_ns();

    (void)malloc_trim(0);
    memory_row(report, MEMORY_TRIMMED,
               (uint64_t)((clock_ns() - begun) / MICROSECOND), 0);
}

/* ---- from outside -------------------------------------------------------- */

static int statm = -1;

void memory_open_figures(void)
{
    if (statm < 0)
        statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
}

/* Pages: resident, and those of them that files and others have, too. */
static bool read_pages(unsigned long long *resident, unsigned long long *shared)
{
    char text[128];
    ssize_t n = statm < 0 ? -1 : pread(statm, text, sizeof text - 1, 0);

    if (n <= 0)
        return false;
    text[n] = '\0';
    return sscanf(text, "%*u %llu %llu", resident, shared) == 2 &&
           *shared <= *resident;
}

bool memory_next_figure(size_t *at, struct stat_sample *ret)
{
    static const char *const labels[] = {"what=\"private\"",
                                         "what=\"resident\""};
    unsigned long long resident = 0, shared = 0;

    if (*at >= ARRAY_LEN(labels) || !read_pages(&resident, &shared))
        return false;
    *ret = (struct stat_sample){
        .kind = STAT_GAUGE,
        .name = "memory_bytes",
        .label = labels[*at],
        .help = "memory of the process",
        .value = (*at == 0 ? resident - shared : resident) * PAGE_BYTES,
    };
    ++*at;
    return true;
}

/* ---- by itself ----------------------------------------------------------- */

/* Any of these stops malloc from moving its thresholds. */
void memory_settle(unsigned arenas)
{
    (void)mallopt(M_ARENA_MAX, (int)arenas);
    (void)mallopt(M_MMAP_THRESHOLD, LARGE);
    (void)mallopt(M_TRIM_THRESHOLD, TOP_MOST);
    (void)mallopt(M_TOP_PAD, TOP_STEP);
}

static struct memory_mark mark_now(void)
{
    struct mallinfo2 m = mallinfo2();
    struct rusage used;

    CHECK(getrusage(RUSAGE_SELF, &used) == 0);
    return (struct memory_mark){
        .touched = (size_t)used.ru_minflt * PAGE_BYTES,
        .free = m.fordblks,
        .pieces = m.ordblks,
        .at_ns = clock_ns(),
    };
}

static bool grew(const struct memory_mark *from, const struct memory_mark *to,
                 size_t bytes)
{
    return to->touched >= from->touched + bytes ||
           to->free >= from->free + bytes;
}

/* Of many small pieces each is a call, even where nothing is in it any more. */
static bool takes_long(const struct memory_watch *w)
{
    size_t more = w->last.free - MIN(w->trimmed.free, w->last.free);
    size_t bytes = MIN(w->last.free, w->last.touched - w->trimmed.touched + more);

    return w->last.pieces * NS_PER_PIECE + bytes / 1024 * NS_PER_KIB >
           MEMORY_HELD_MAX;
}

static void give_back(struct memory_watch *w)
{
    if (takes_long(w)) {
        w->left++;
    } else {
        (void)malloc_trim(0);
        w->trims++;
    }
    w->last = w->trimmed = mark_now();
}

static void look(void *ctx)
{
    struct memory_watch *w = ctx;
    struct memory_mark now = mark_now();
    bool rests = !grew(&w->last, &now, MEMORY_REST) ||
                 now.at_ns - w->trimmed.at_ns > MEMORY_BUSY;

    w->last = now;
    w->trimmed.free = MIN(w->trimmed.free, now.free);
    if (rests && grew(&w->trimmed, &now, MEMORY_SLACK))
        give_back(w);
    loop_timer_set(&w->look,
                   MAX(MEMORY_LOOK, (int64_t)w->last.pieces * NS_PER_LOOK));
}

void memory_watch_start(struct memory_watch *w, struct loop *l)
{
    *w = (struct memory_watch){.trimmed.at_ns = clock_ns()};
    loop_timer_init(&w->look, l, look, w);
    loop_timer_set(&w->look, MEMORY_LOOK);
}

void memory_watch_stop(struct memory_watch *w)
{
    if (w->look.loop)
        loop_timer_stop(&w->look);
}
