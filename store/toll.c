#include "store/toll.h"

void toll_init(struct toll *t, int64_t now_ns, int part, int64_t most_ns)
{
    *t = (struct toll){ most_ns, now_ns, most_ns, part };
}

int64_t toll_wait(struct toll *t, int64_t now_ns)
{
    int64_t earned = MAX(now_ns - t->at_ns, 0) / t->part;

    t->saved_ns += MIN(earned, t->most_ns - t->saved_ns);
    t->at_ns = now_ns;
    return t->saved_ns > 0 ? 0 : t->part * (1 - t->saved_ns);
}

void toll_charge(struct toll *t, int64_t took_ns)
{
    t->saved_ns -= took_ns;
}
