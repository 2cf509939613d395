#include "proto/spread.h"

#include "base/clock.h"

static const uint64_t bounds_us[] = {
    SPREAD_BOUNDS(SPREAD_AS_US, , , , )
};
_Static_assert(ARRAY_LEN(bounds_us) == SPREAD_COUNT, "one count for each");

void spread_record(struct spread *s, int64_t took_ns)
{
    uint64_t us = (uint64_t)MAX(took_ns, 0) / MICROSECOND;
    size_t i = 0;

    while (i < SPREAD_COUNT && us > bounds_us[i])
        i++;
    s->count[i]++;
    s->sum_us += us;
}

void spread_set(struct stats *stats, unsigned first, const struct spread *s)
{
    uint64_t total = 0;
    unsigned row = first;

    for (size_t i = 0; i <= SPREAD_COUNT; i++) {
        total += s->count[i];
        stat_set(stats, row++, total);
    }
    stat_set(stats, row++, total);
    stat_set(stats, row, s->sum_us);
}
