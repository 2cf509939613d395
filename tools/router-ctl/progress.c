#include "tools/router-ctl/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { BAR = 30 };
#define FIRST_AFTER (2 * SECOND)
#define REDRAW      (100 * MILLISECOND)

void progress_begin(struct progress *p, const char *what)
{
    *p = (struct progress){ .what = what, .on = isatty(STDERR_FILENO),
                            .begun_ns = clock_ns() };
}

static void draw_bar(uint64_t done, uint64_t all)
{
    unsigned full = (unsigned)((double)done / (double)all * BAR);
    char bar[BAR + 1];

    full = MIN(full, (unsigned)BAR);
    memset(bar, '#', full);
    memset(bar + full, '.', BAR - full);
    bar[BAR] = '\0';
    fprintf(stderr, " [%s] %3u%%", bar,
            (unsigned)(100.0 * (double)done / (double)all));
}

void progress_show(struct progress *p, uint64_t done, uint64_t all,
                   const char *detail)
{
    int64_t now;

    if (!p->on)
        return;
    now = clock_ns();
    if (now - p->begun_ns < FIRST_AFTER || now - p->drawn_ns < REDRAW)
        return;
    fprintf(stderr, "\r%s", p->what);
    if (all)
        draw_bar(MIN(done, all), all);
    else
        fprintf(stderr, " %llds", (long long)((now - p->begun_ns) / SECOND));
    fprintf(stderr, " %s\033[K", detail);
    fflush(stderr);
    p->drawn = true;
    p->drawn_ns = now;
}

void progress_end(struct progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}
