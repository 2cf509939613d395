#include "gateways/common/tell.h"

#include <stdlib.h>

#include "gateways/common/core.h"

void tell_notice(struct start *s, struct notice *n, uint64_t seq)
{
    struct gateway *g = s->conn->gw;
    char cursor[CURSOR_TEXT_MAX];

    if (s->dropped)
        return;
    n->cursor = slice_make(cursor, position_format(cursor, &g->epoch, seq));
    g->edge->notice(s->conn, n);
}

static void tell_gap(struct start *s, const struct start_topic *st,
                     uint64_t seq)
{
    struct slice id = topic_id(st->topic);
    struct notice n = {
        .kind = NOTICE_GAP,
        .channels = &id,
        .count = 1,
        .why = st->why,
        .from = st->from,
        .to = st->to,
        .missed = st->from && st->to ? st->to - st->from + 1 : 0,
    };

    stat_add(&s->conn->gw->stats, STAT_GAPS_TRIMMED + (unsigned)st->why, 1);
    tell_notice(s, &n, seq);
}

static void tell_state(struct start *s, const struct start_topic *st,
                       uint64_t seq)
{
    struct slice id = topic_id(st->topic);
    struct notice n = {
        .kind = NOTICE_SNAPSHOT,
        .channels = &id,
        .count = 1,
        .state = slice_make(st->snapshot->state, st->snapshot->len),
    };

    tell_notice(s, &n, seq);
}

/* One notice for all channels that want the same said of them. */
void tell_group(struct start *s, enum notice_kind kind,
                const struct slice *ids, unsigned count, uint64_t seq)
{
    struct notice n = {.kind = kind, .channels = ids, .count = count};

    if (count)
        tell_notice(s, &n, seq);
}

void tell_start(struct start *s, uint64_t seq, bool resumed)
{
    struct slice *ids = malloc((s->count + 1) * sizeof *ids);
    unsigned nulls = 0, back = 0;

    if (!ids) {
        conn_abort(s->conn, "memory");
        return;
    }
    for (unsigned i = 0; i < s->count && !s->dropped; i++)
        if (s->topics[i].gap)
            tell_gap(s, &s->topics[i], seq);
    for (unsigned i = 0; i < s->count && !s->dropped; i++)
        if (s->topics[i].snapshot)
            tell_state(s, &s->topics[i], seq);
    for (unsigned i = 0; i < s->count && !s->dropped; i++)
        if (!s->topics[i].snapshot &&
            (s->topics[i].gap || s->topics[i].verdict == START_FRESH))
            ids[nulls++] = topic_id(s->topics[i].topic);
    tell_group(s, NOTICE_SNAPSHOT, ids, nulls, seq);
    for (unsigned i = 0; i < s->count && !s->dropped; i++)
        if (s->topics[i].verdict == START_RESUMED && !s->topics[i].gap)
            ids[back++] = topic_id(s->topics[i].topic);
    if (resumed)
        tell_group(s, NOTICE_RESUMED, ids, back, seq);
    free(ids);
}
