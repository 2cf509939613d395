#include "proto/repairs.h"

void link_repairs_add(struct link_repairs *sum, const struct pipe *p)
{
    struct pipe_figures f;

    pipe_figures(p, &f);
    sum->resent += f.resent;
    sum->holes += f.holes;
    sum->duplicates += f.duplicates;
    sum->rejected += f.rejected;
    sum->reconnects += f.reconnects;
}

void link_repairs_set(struct stats *s, unsigned first,
                      const struct link_repairs *sum)
{
    stat_set(s, first, sum->resent);
    stat_set(s, first + 1, sum->holes);
    stat_set(s, first + 2, sum->duplicates);
    stat_set(s, first + 3, sum->rejected);
    stat_set(s, first + 4, sum->reconnects);
}
