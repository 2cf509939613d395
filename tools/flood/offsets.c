#include "tools/flood/offsets.h"

static void go_on(struct offsets *o, uint64_t number)
{
    uint64_t step = number - o->last;

    o->seen = step < 64 ? o->seen << step : 0;
    o->last = number;
}

static bool take_old(struct offsets *o, uint64_t number,
                     struct offsets_tally *tally)
{
    uint64_t back = o->last - number;

    if (back >= 64 || o->seen >> back & 1) {
        tally->duplicates++;
        return false;
    }
    o->seen |= UINT64_C(1) << back;
    tally->reordered++;
    if (number > o->first)
        tally->lost--;
    return true;
}

bool offsets_take(struct offsets *o, uint64_t number,
                  struct offsets_tally *tally)
{
    if (!o->last) {
        *o = (struct offsets){ number, number, 1 };
        return true;
    }
    if (number <= o->last)
        return take_old(o, number, tally);
    tally->lost += number - o->last - 1;
    go_on(o, number);
    o->seen |= 1;
    return true;
}

void offsets_end(struct offsets *o, uint64_t newest,
                 struct offsets_tally *tally)
{
    if (!o->last || newest <= o->last)
        return;
    tally->lost += newest - o->last;
    go_on(o, newest);
}
