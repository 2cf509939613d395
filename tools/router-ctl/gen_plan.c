#include "tools/router-ctl/gen_plan.h"

#include "base/base.h"
#include "base/clock.h"

/* i / rate seconds, exact for as long as anybody waits: whole seconds apart. */
static int64_t steady(const struct gen_plan *p, uint64_t i)
{
    return (int64_t)(i / p->rate) * SECOND
           + (int64_t)((i % p->rate) * (uint64_t)SECOND / p->rate);
}

/* Message i of count belongs to the event that lies as far along. */
static int64_t of_match(const struct gen_plan *p, uint64_t i)
{
    size_t e = (size_t)((unsigned __int128)i * p->moment_count / p->count);
    int64_t last = p->moments[p->moment_count - 1];

    if (last == 0)
        return 0;
    return (int64_t)((__int128)p->moments[e] * p->span_ns / last);
}

int64_t gen_due(const struct gen_plan *p, uint64_t i)
{
    switch (p->shape) {
    case GEN_BURST:
        return steady(p, i - i % p->burst);
    case GEN_MATCH:
        return of_match(p, i);
    case GEN_UNIFORM:
        break;
    }
    return steady(p, i);
}

void gen_ids_init(struct gen_ids *g, uint64_t count, double skew,
                  uint64_t seed)
{
    *g = (struct gen_ids){ .count = count, .zipf = skew > 0 };
    chance_init(&g->chance, seed);
    if (g->zipf)
        zipf_init(&g->law, count, skew);
}

uint64_t gen_ids_next(struct gen_ids *g)
{
    return g->zipf ? zipf_pick(&g->law, &g->chance)
                   : chance_below(&g->chance, g->count);
}
