#include "tools/touchline/mute.h"

#include <string.h>

#include "tools/touchline/plan.h"

#define SILENT (3 * SECOND) /* who has not spoken for longer */

/* ---- what they say ----------------------------------------------------- */

void mute_heard(struct member *m, const struct mutes *s, struct slice line,
                int64_t now_ns)
{
    struct slice word = m->role == MEMBER_ROUTER ? SLICE("X_STORE_MS=")
                                                 : SLICE("X_CANARY_MS=");
    uint64_t ms;

    if (!slice_starts(line, word) ||
        slice_parse_u64(slice_from(line, word.len), &ms) < 0)
        return;
    m->mute.told_ns = now_ns;
    if (ms <= (uint64_t)(s->wait_ns / MILLISECOND))
        m->mute.since_ns = 0;
    else if (!m->mute.since_ns)
        m->mute.since_ns = now_ns;
}

void mute_ended(struct member *m)
{
    m->mute.told_ns = m->mute.since_ns = 0;
}

/* ---- who it is --------------------------------------------------------- */

static bool runs(const struct member *m)
{
    return m->child.pid && m->child.ready && !m->child.bowing_out &&
           !m->child.hung && !m->child.told_ns && m->mute.told_ns;
}

static bool speaks(const struct member *m, int64_t now_ns)
{
    return runs(m) && now_ns - m->mute.told_ns <= SILENT;
}

static void calm_down(struct member *m, int64_t now_ns)
{
    if (now_ns - m->mute.acted_ns > MUTE_CALM)
        m->mute.acts = 0;
}

struct gateways {
    unsigned speak, mute;
    struct member *longest;  /* mute, or NULL */
    struct member *silent;   /* for longest, or NULL */
    struct member *repeater; /* all that speak are behind it, or NULL */
    int64_t last_ns;         /* when the last of them became mute */
};

/* That is its own doing, and says nothing of the router. */
static void note_silent(struct gateways *g, struct member *m, int64_t now_ns)
{
    if (!m->mute.since_ns)
        m->mute.since_ns = now_ns;
    if (!g->silent || m->mute.since_ns < g->silent->mute.since_ns)
        g->silent = m;
}

static void note_speaking(struct gateways *g, struct member *m, int64_t now_ns)
{
    g->repeater = g->speak == 0 || g->repeater == m->repeater ? m->repeater
                                                              : NULL;
    g->speak++;
    if (!m->mute.since_ns) {
        calm_down(m, now_ns);
        if (m->repeater)
            calm_down(m->repeater, now_ns);
        return;
    }
    g->mute++;
    g->last_ns = MAX(g->last_ns, m->mute.since_ns);
    if (!g->longest || m->mute.since_ns < g->longest->mute.since_ns)
        g->longest = m;
}

/* behind: only those behind this repeater; NULL: all. */
static struct gateways look_at_gateways(struct plan *p,
                                        const struct member *behind,
                                        int64_t now_ns)
{
    struct gateways g = {.longest = NULL};

    for (size_t i = 0; i < p->count; i++) {
        struct member *m = &p->members[i];

        if (m->role != MEMBER_GATEWAY || !runs(m) ||
            (behind && m->repeater != behind))
            continue;
        if (speaks(m, now_ns))
            note_speaking(&g, m, now_ns);
        else
            note_silent(&g, m, now_ns);
    }
    return g;
}

static void begin_anew(struct plan *p)
{
    for (size_t i = 0; i < p->count; i++)
        p->members[i].mute.since_ns = 0;
}

/* Since then it has been so; has that been for long enough? */
static bool due(const struct mutes *s, const struct member *m,
                int64_t since_ns, int64_t now_ns)
{
    unsigned doublings = MIN(m->mute.acts, (unsigned)MUTE_DOUBLINGS);

    return now_ns - since_ns >= s->after_ns << doublings;
}

static struct member *act(struct plan *p, struct member *counts,
                          struct member *victim, int64_t now_ns)
{
    counts->mute.acts++;
    counts->mute.acted_ns = now_ns;
    begin_anew(p);
    return victim;
}

static bool due_itself(const struct mutes *s, const struct member *m,
                       int64_t now_ns)
{
    return m && due(s, m, m->mute.since_ns, now_ns);
}

/* All of these gateways are mute, and what is common to them is first, or what
 * stands behind it. Who was named in vain takes turns with the next. */
static struct member *accuse(struct plan *p, struct member *first,
                             const struct gateways *g, int64_t now_ns)
{
    struct member *suspects[3] = {first};
    unsigned n = 1;

    if (g->repeater && g->repeater != first)
        suspects[n++] = g->repeater;
    if (g->speak == 1)
        suspects[n++] = g->longest;
    return act(p, first, suspects[first->mute.acts % n], now_ns);
}

/* Some gateways are mute, and others are not. */
static struct member *judge_some(const struct mutes *s, struct member *longest,
                                 int64_t now_ns)
{
    struct member *repeater = longest->repeater;
    struct gateways g = {.mute = 0};

    if (repeater)
        g = look_at_gateways(s->plan, repeater, now_ns);
    if (g.mute == 0 || g.mute < g.speak)
        return due_itself(s, longest, now_ns)
                   ? act(s->plan, longest, longest, now_ns) : NULL;
    return due(s, repeater, g.last_ns, now_ns)
               ? accuse(s->plan, repeater, &g, now_ns) : NULL;
}

static struct member *judge(const struct mutes *s, int64_t now_ns)
{
    struct member *router = &s->plan->members[0];
    struct gateways g = look_at_gateways(s->plan, NULL, now_ns);

    if (g.mute < g.speak)
        calm_down(router, now_ns);
    if (due_itself(s, g.silent, now_ns))
        return act(s->plan, g.silent, g.silent, now_ns);
    if (!g.mute)
        return NULL;
    if (g.mute < g.speak)
        return judge_some(s, g.longest, now_ns);
    return due(s, router, g.last_ns, now_ns)
               ? accuse(s->plan, router, &g, now_ns) : NULL;
}

struct member *mute_look(struct mutes *s, int64_t now_ns)
{
    struct member *router = &s->plan->members[0];
    bool store_hangs = speaks(router, now_ns) && router->mute.since_ns;
    bool away = now_ns - s->looked_ns > SILENT;

    s->looked_ns = now_ns;
    if (!away && runs(router) && !store_hangs)
        return s->after_ns ? judge(s, now_ns) : NULL;
    begin_anew(s->plan);
    return NULL;
}
