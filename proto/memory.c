#include "proto/memory.h"

#include <malloc.h>

#include "base/clock.h"
#include "proto/report.h"

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
