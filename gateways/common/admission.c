#include "gateways/common/admission.h"

#include "gateways/common/core.h"
#include "gateways/common/verdict.h"

enum { LOOKED_AT = 64 }; /* channels; a request with more is not looked into */

/* Between two tokens. */
static int64_t apart(size_t rate)
{
    return rate ? MAX(SECOND / (int64_t)rate, (int64_t)1)
                : SLOT_APART_MS * MILLISECOND;
}

/* A token is a step that due_ns takes into the future (GCRA). */
bool admission_take(struct admission *a, size_t rate, int64_t now_ns)
{
    int64_t due = MAX(a->due_ns, now_ns) + apart(rate);

    if (rate && due - now_ns > ADMIT_SECONDS * SECOND)
        return false;
    if (now_ns - a->due_ns >= SLOT_UNUSED_MS * MILLISECOND)
        a->slot_ns = 0;
    a->due_ns = due;
    return true;
}

uint32_t admission_slot_ms(struct admission *a, size_t rate, int64_t now_ns)
{
    int64_t first = now_ns + SLOT_FIRST_MS * MILLISECOND;
    int64_t slot = MAX(a->slot_ns, first);

    if (slot - now_ns > SLOT_MOST_MS * MILLISECOND)
        slot = first;
    a->slot_ns = slot + apart(rate);
    return (uint32_t)((slot - now_ns + MILLISECOND - 1) / MILLISECOND);
}

/* Does the ring have everything of this channel since then? */
static bool covers(const struct gateway *g, struct slice id, uint64_t since)
{
    const struct topic *t = topics_find(&g->topics, id);

    return t && (t->seats.flags & TOPIC_WATCHED) &&
           verdict_floor(g, t) <= since;
}

static bool ring_covers(const struct gateway *g, const struct subscribe *s)
{
    if (!s->has_since || s->count > LOOKED_AT ||
        !epoch_equal(&s->since.epoch, &g->epoch))
        return false;
    for (unsigned i = 0; i < s->count; i++)
        if (!covers(g, s->channels[i], s->since.seq))
            return false;
    return true;
}

bool admission_allows(struct conn *c, const struct subscribe *s)
{
    struct gateway *g = c->gw;

    if (c->seats.count || ring_covers(g, s))
        return true;
    if (!admission_take(&g->admission, g->config->limits.admit_rate,
                        loop_now(g->loop))) {
        gateway_limit(g, LIMIT_ADMIT_RATE);
        return false;
    }
    stat_add(&g->stats, STAT_ADMITTED, 1);
    return true;
}
