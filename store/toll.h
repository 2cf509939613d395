/* toll.h - a share of the time for work that can be asked for with few bytes:
 * questions that look at much and may answer little.
 *
 * What such work took is charged. It has a part of the time, and may save some
 * of that up: a person's question is answered at once, and however many are
 * asked, the rest of the time is left for everything else.
 * Threads: one at a time. */
#ifndef TOUCHLINE_STORE_TOLL_H
#define TOUCHLINE_STORE_TOLL_H

#include "base/base.h"

struct toll {
    int64_t saved_ns; /* below 0: owed */
    int64_t at_ns;    /* when that was so */
    int64_t most_ns;  /* that may be saved up */
    int part;         /* of the time: one in so many */
};

/* All is saved up. */
void toll_init(struct toll *t, int64_t now_ns, int part, int64_t most_ns);
/* How long to wait until more may be begun; 0: not at all. */
int64_t toll_wait(struct toll *t, int64_t now_ns);
/* What has been done took so long. After toll_wait(). */
void toll_charge(struct toll *t, int64_t took_ns);

#endif
