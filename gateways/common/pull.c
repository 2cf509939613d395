/* pull.c - what a connection is due, taken from the ring.
 *
 * A connection with a few ids follows its topics' chains back from the newest
 * entry: as many steps as there are messages due. One with many ids, or with
 * patterns, or far behind, walks the ring forwards and asks of each entry
 * whether it holds it; it starts where the last visit of everybody ended. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/fanout.h"
#include "gateways/common/pull.h"

enum {
    CHAIN_MAX = 64, /* ticks collected by chains before walking instead */
    SEATS_FEW = 32, /* searched one by one for a pattern */
};

bool conn_muted(const struct conn *c, const struct topic *t)
{
    for (const struct start *s = conn_starts(c); s; s = s->next)
        if (start_mutes(s, t))
            return true;
    return false;
}

uint64_t pull_limit(const struct conn *c)
{
    return MIN(pull_end(c), thin_limit(c));
}

uint64_t pull_end(const struct conn *c)
{
    const struct start *s = conn_starts(c);

    if (s && s->state == START_READY)
        return s->tick;
    return ring_end(&c->gw->ring);
}

struct by_pattern {
    struct conn *conn;
    bool held;
};

static void held_pattern(void *ctx, void *value)
{
    struct by_pattern *by = ctx;
    struct topic *t = value;

    by->held = by->held || (seat_find(&t->seats, &by->conn->seats) &&
                            !conn_muted(by->conn, t));
}

/* By its seats, or by the patterns that match: whichever are few. */
static bool holds_by_pattern(struct conn *c, struct slice id)
{
    struct by_pattern by = {.conn = c};
    struct seat_iter it = seats_of_conn(&c->seats);
    struct seat *s;

    if (c->seats.count > SEATS_FEW) {
        trie_match(c->gw->topics.patterns, id, held_pattern, &by);
        return by.held;
    }
    while ((s = seat_next(&it))) {
        const struct topic *t = topic_of_seat(s);

        if ((t->seats.flags & TOPIC_PATTERN) &&
            pattern_matches(topic_id(t), id) && !conn_muted(c, t))
            return true;
    }
    return false;
}

bool pull_due(struct conn *c, const struct ring_entry *e)
{
    struct topic *t = e->topic;

    if (seat_find(&t->seats, &c->seats) && !(conn_starts(c) && conn_muted(c, t)))
        return true;
    if (t->seats.flags & TOPIC_PATTERN) /* a gap, for its own holders */
        return false;
    return conn_busy(c) && conn_busy(c)->patterns && holds_by_pattern(c, e->msg->id);
}

static bool read_gap(struct notice *n, const struct msg *m)
{
    struct gap gap;

    if (!deliver_read_gap(m, &gap))
        return false;
    n->kind = NOTICE_GAP;
    n->why = gap.why;
    n->state = slice_make(NULL, 0);
    n->from = gap.from;
    n->to = gap.to;
    n->missed = gap.from && gap.to >= gap.from ? gap.to - gap.from + 1 : 0;
    return true;
}

void pull_notice(struct conn *c, const struct ring_entry *e, bool beside)
{
    struct gateway *g = c->gw;
    struct slice channel = topic_id(e->topic);
    char cursor[CURSOR_TEXT_MAX];
    struct notice n = {
        .channels = &channel,
        .count = 1,
        .state = e->msg->data,
    };

    if (!beside)
        n.cursor = slice_make(cursor, position_format(cursor, &g->epoch,
                                                      e->msg->seq));
    if (slice_eq(e->msg->kind, SLICE("join")))
        n.kind = NOTICE_JOIN;
    else if (slice_eq(e->msg->kind, SLICE("leave")))
        n.kind = NOTICE_LEAVE;
    else if (slice_eq(e->msg->kind, SLICE("snapshot")))
        n.kind = NOTICE_SNAPSHOT;
    else if (!read_gap(&n, e->msg))
        return;
    if (n.kind == NOTICE_GAP)
        stat_add(&g->stats, STAT_GAPS_TRIMMED + (unsigned)n.why, 1);
    g->edge->notice(c, &n);
}

/* A notice of the ring goes by way of out, so only while v is empty: out comes
 * first, in v or without it. Notices in a row gather there; a message behind
 * them waits until they stand in v, or follows them into out. */
static bool must_wait(const struct conn *c, const struct outvec *v,
                      const struct msg *m)
{
    if (m->flags & MSG_NOTICE)
        return v->bytes || (!v->to_out && conn_out_pending(c) > OUTVEC_BYTES);
    return !outvec_room(v) || (!v->to_out && conn_has_out(c) && !v->bytes);
}

/* False: no more for now. */
static bool put_entry(struct conn *c, struct outvec *v, uint64_t tick)
{
    struct gateway *g = c->gw;
    struct ring_entry *e = ring_at(&g->ring, tick);
    unsigned iovs = v->iovs;
    size_t bytes = v->bytes;

    if (must_wait(c, v, e->msg))
        return false;
    if (e->msg->flags & MSG_NOTICE) {
        pull_notice(c, e, false);
        c->tick = tick;
        return true;
    }
    if (g->edge->put(c, e->msg, 0, v) == PUT_FULL) {
        outvec_rewind(v, iovs, bytes);
        return false;
    }
    outvec_mark(v, tick);
    stat_add(&g->stats, STAT_DELIVERED, 1);
    return true;
}

/* Ticks due by the chains, in no order. False: more than `room`. */
static bool collect(struct conn *c, uint64_t limit, uint64_t *ticks,
                    unsigned *count)
{
    struct ring *r = &c->gw->ring;
    struct seat_iter it = seats_of_conn(&c->seats);
    bool thinned = conn_thinned(c);
    struct seat *s;
    unsigned n = 0;

    while ((s = seat_next(&it))) {
        const struct topic *t = topic_of_seat(s);
        uint64_t tick = topic_past(t)->newest;

        if (tick <= c->tick || (conn_starts(c) && conn_muted(c, t)))
            continue;
        for (struct ring_entry *e; tick > c->tick && (e = ring_at(r, tick));
             tick = e->previous) {
            if (tick > limit || (thinned && thin_leaves_out(c, e, tick)))
                continue;
            if (n == CHAIN_MAX)
                return false;
            ticks[n++] = tick;
        }
    }
    *count = n;
    return true;
}

static int by_tick(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static bool pull_chains(struct conn *c, struct outvec *v,
                        const uint64_t *ticks, unsigned count, uint64_t limit)
{
    uint32_t held = c->seats.count;

    for (unsigned i = 0; i < count && c->flow == FLOW_LIVE; i++)
        if (!put_entry(c, v, ticks[i]) || c->seats.count != held)
            return false; /* told of a notice an edge may leave channels */
    if (v->marks == 0 && limit > c->tick)
        c->tick = limit;
    return true;
}

static bool pull_walk(struct conn *c, struct outvec *v, uint64_t limit)
{
    struct ring *r = &c->gw->ring;
    uint64_t tick = MAX(c->tick + 1, r->first);
    bool thinned = conn_thinned(c);

    if (!conn_lags(c))
        tick = MAX(tick, fanout_settled(c->gw) + 1);
    for (; tick <= limit && c->flow == FLOW_LIVE; tick++) {
        struct ring_entry *e = ring_at(r, tick);

        if (pull_due(c, e) && !(thinned && thin_leaves_out(c, e, tick)) &&
            !put_entry(c, v, tick))
            return false;
        if (v->marks == 0)
            c->tick = tick;
    }
    return true;
}

bool pull(struct conn *c, struct outvec *v, uint64_t limit)
{
    uint64_t ticks[CHAIN_MAX];
    unsigned count = 0;

    if (c->tick >= limit)
        return true;
    if (!(c->flags & CONN_MANY) && collect(c, limit, ticks, &count)) {
        if (count > 1)
            qsort(ticks, count, sizeof *ticks, by_tick);
        return pull_chains(c, v, ticks, count, limit);
    }
    return pull_walk(c, v, limit);
}

void pull_settle(struct conn *c, uint64_t tick)
{
    struct outvec *v = c->gw->out;
    bool all;

    if (c->flags & CONN_STALLED)
        thin_due(c, conn_out_pending(c));
    all = c->flow != FLOW_LIVE;
    while (!all) {
        uint64_t before = c->tick, limit = MIN(tick, thin_limit(c));

        outvec_reset(v);
        v->to_out = true;
        all = pull(c, v, limit);
        if (v->bytes)
            outvec_copy(v, 0, v->bytes, conn_out(c));
        if (v->marks && c->gw->edge->taken)
            c->gw->edge->taken(c, v->marks);
        if (v->marks)
            c->tick = v->mark[v->marks - 1].tick;
        if (all && limit < tick) {
            c->tick = MAX(c->tick, limit);
            thin_tell(c);
            all = c->flow != FLOW_LIVE;
            continue;
        }
        if (!all && !v->bytes && c->tick == before)
            break;
        if (conn_out_pending(c) > c->gw->config->limits.queue) {
            conn_cut(c, STAT_CUT_QUEUE);
            return;
        }
    }
    c->tick = MAX(c->tick, tick);
}

bool pull_waits(struct conn *c, const struct ring_entry *e)
{
    return seat_find(&e->topic->seats, &c->seats) || pull_due(c, e);
}

static void each_walk(struct conn *c, uint64_t behind, int64_t since_ns,
                      pull_fn *fn, void *ctx)
{
    struct ring *r = &c->gw->ring;

    for (uint64_t tick = MAX(behind + 1, r->first); tick < r->next; tick++) {
        struct ring_entry *e = ring_at(r, tick);

        c->gw->looked_at++;
        if (e->came_ns >= since_ns && pull_waits(c, e) && !fn(ctx, e, tick))
            return;
    }
}

/* Who holds patterns, or more ids than have come, walks the ring. */
static bool walk_is_shorter(const struct conn *c, uint64_t behind)
{
    const struct ring *r = &c->gw->ring;

    return (conn_busy(c) && conn_busy(c)->patterns) ||
           c->seats.count > r->next - MIN(MAX(behind + 1, r->first), r->next);
}

/* False: fn has ended it, or there are more steps than *most, which become
 * fewer. */
static bool each_chain(struct conn *c, uint64_t behind, int64_t since_ns,
                       size_t *most, pull_fn *fn, void *ctx)
{
    struct ring *r = &c->gw->ring;
    struct seat_iter it = seats_of_conn(&c->seats);
    size_t begin = *most;
    bool all = true;
    struct seat *s;

    while (all && *most && (s = seat_next(&it))) {
        uint64_t tick = topic_past(topic_of_seat(s))->newest;

        --*most;
        for (struct ring_entry *e; all && tick > behind &&
                                   (e = ring_at(r, tick)) &&
                                   e->came_ns >= since_ns; tick = e->previous)
            all = *most && fn(ctx, e, tick) && --*most;
    }
    c->gw->looked_at += begin - *most;
    return all && *most;
}

void pull_each(struct conn *c, uint64_t behind, int64_t since_ns, pull_fn *fn,
               void *ctx)
{
    size_t most = SIZE_MAX;

    behind = MAX(behind, c->tick);
    if (walk_is_shorter(c, behind))
        each_walk(c, behind, since_ns, fn, ctx);
    else
        (void)!each_chain(c, behind, since_ns, &most, fn, ctx);
}

bool pull_some(struct conn *c, int64_t since_ns, size_t *most, pull_fn *fn,
               void *ctx)
{
    return !walk_is_shorter(c, c->tick) &&
           each_chain(c, c->tick, since_ns, most, fn, ctx);
}

struct pending {
    struct conn *conn;
    bool thinned;
    size_t bytes, max;
    int64_t oldest_ns;
};

static bool add_pending(void *ctx, struct ring_entry *e, uint64_t tick)
{
    struct pending *p = ctx;

    if (p->thinned && thin_leaves_out(p->conn, e, tick))
        return true;
    p->bytes += msg_size(e->msg);
    p->oldest_ns = MIN(p->oldest_ns, e->came_ns);
    return p->bytes <= p->max;
}

size_t pull_pending(struct conn *c, int64_t since_ns, size_t max,
                    int64_t *oldest_ns)
{
    struct pending p = {.conn = c, .thinned = conn_thinned(c), .max = max,
                        .oldest_ns = *oldest_ns};

    pull_each(c, 0, since_ns, add_pending, &p);
    *oldest_ns = p.oldest_ns;
    return p.bytes;
}
