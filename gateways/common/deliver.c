/* deliver.c - what the link brings, into the ring; and out of it again. */
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/fanout.h"
#include "gateways/common/pull.h"
#include "proto/frame_io.h"

enum {
    EXPIRE_LOOKS = 16384, /* at readers who lag, a turn */
    EXPIRE_SLACK = 8,     /* this part of the ring's bytes may be over it */
};

void topic_maybe_release(struct gateway *g, struct topic *t)
{
    if (t->seats.count || topic_past(t)->newest || topic_has_fanout(t))
        return;
    if (g->linked && (t->seats.flags & TOPIC_WATCHED)) {
        struct buf *b = pipe_frame(g->pipe, FRAME_RELEASE);

        frame_write_id(b, topic_id(t));
        pipe_frame_end(g->pipe);
    }
    topics_forget(&g->topics, t);
}

static void wake_pattern(void *ctx, void *value)
{
    fanout_wake(ctx, value);
}

/* Nobody here can be told what is missing: once more, from the router. */
static void begin_anew(struct gateway *g, uint64_t seq)
{
    log_error("deliver.nomem", "seq=%llu action=resync",
              (unsigned long long)seq);
    pipe_break(g->pipe, "out of memory");
}

/* To the end of the ring, and of its topic's chain. */
static int append(struct gateway *g, struct msg *m)
{
    struct topic_past *past;
    struct topic *t;
    uint64_t tick;

    if (topics_get(&g->topics, m->id, &t) < 0)
        goto fail;
    past = topic_past_make(t);
    if (!past) {
        topic_maybe_release(g, t);
        goto fail;
    }
    if (ring_append(&g->ring, t, m, past->newest, clock_ns(), &tick) < 0) {
        topic_maybe_release(g, t);
        goto fail;
    }
    if (!(t->seats.flags & TOPIC_WATCHED))
        t->floor = MAX(t->floor, m->seq - 1);
    g->came += msg_size(m);
    past->newest = tick;
    if (!(m->flags & MSG_NOTICE)) {
        past->last_seq = m->seq;
        past->last_offset = m->offset;
    }
    fanout_wake(g, t);
    if (trie_count(g->topics.patterns) && !(t->seats.flags & TOPIC_PATTERN))
        trie_match(g->topics.patterns, m->id, wake_pattern, g);
    return 0;
fail:
    begin_anew(g, m->seq);
    return ERR_NOMEM;
}

int deliver(struct gateway *g, struct msg *m)
{
    stat_add(&g->stats, STAT_RECEIVED, 1);
    return append(g, m);
}

bool deliver_read_gap(const struct msg *m, struct gap *ret)
{
    if (!(m->flags & MSG_NOTICE) || !slice_eq(m->kind, SLICE("gap")) ||
        m->data.len != sizeof *ret)
        return false;
    memcpy(ret, m->data.ptr, sizeof *ret);
    return true;
}

void deliver_gap(struct gateway *g, struct slice id, const struct gap *gap)
{
    struct msg_parts p = {
        .flags = MSG_NOTICE,
        .seq = g->seq,
        .id = id,
        .kind = SLICE("gap"),
        .data = slice_make(gap, sizeof *gap),
    };
    struct msg *m;

    if (msg_new(&m, &p) < 0) {
        begin_anew(g, g->seq);
        return;
    }
    (void)!append(g, m);
    msg_drop(m);
}

static void raise_floor(void *ctx, void *value)
{
    struct topic *t = value;

    t->floor = MAX(t->floor, *(const uint64_t *)ctx);
}

void deliver_lacks(struct gateway *g, struct slice id, uint64_t seq)
{
    struct topic *t = topics_find(&g->topics, id);

    if (t)
        raise_floor(&seq, t);
    trie_match(g->topics.patterns, id, raise_floor, &seq);
}

/* The oldest entry goes; t is its topic, which has a past. A snapshot from
 * before it goes, too: nothing shows any more that it is old. */
static void leaves_ring(struct gateway *g, struct topic *t)
{
    const struct snapshot *s = t->past_->snapshot;

    if (s && s->tick < g->ring.first)
        topic_drop_snapshot(t);
    if (t->past_->newest == g->ring.first)
        t->past_->newest = 0;
    ring_drop_first(&g->ring);
}

/* May what is overdue stay until the next turn? As many readers have been looked
 * at in this one as a turn has time for, and there is memory for a bit more. */
static bool may_stay(const struct gateway *g, size_t before)
{
    const struct ring *r = &g->ring;

    return g->looked_at - before >= EXPIRE_LOOKS &&
           r->bytes <= r->bytes_max + r->bytes_max / EXPIRE_SLACK;
}

void deliver_expire(struct gateway *g)
{
    int64_t now = clock_ns();
    struct ring_entry *e = ring_overdue(&g->ring, now);
    uint64_t settled = e ? fanout_settled(g) : 0;
    size_t before = g->looked_at;

    for (; e && g->ring.first <= settled; e = ring_overdue(&g->ring, now)) {
        struct topic *t = e->topic;
        uint64_t tick = g->ring.first;

        if (may_stay(g, before)) {
            loop_again(g->loop);
            return;
        }
        if (g->ring.bytes > g->ring.bytes_max)
            gateway_limit(g, LIMIT_RING_TOTAL);
        if (!list_empty(&g->lagging))
            thin_let_go(g, e, tick);
        t->floor = MAX(t->floor, e->msg->seq);
        leaves_ring(g, t);
        topic_maybe_release(g, t);
    }
}

void deliver_forget(struct gateway *g)
{
    while (g->ring.first < g->ring.next) {
        struct topic *t = ring_at(&g->ring, g->ring.first)->topic;

        leaves_ring(g, t);
        topic_maybe_release(g, t);
    }
    g->ring.gone_seq = 0;
}

static void forget_seat(struct conn *c, struct seat *s)
{
    struct topic *t = topic_of_seat(s);

    start_drop_topic(c, t);
    thin_leave(c, t);
    if ((t->seats.flags & TOPIC_PATTERN) && conn_busy(c)) {
        conn_busy(c)->patterns--;
        conn_busy_done(c);
    }
    seat_drop_name(s);
    seat_free(s);
}

/* Nothing of it here needs the router's stream any more. */
static bool releases(const struct topic *t)
{
    return t->seats.count == 0 && topic_past(t)->newest == 0 &&
           !topic_has_fanout(t);
}

void conn_leave(struct conn *c, struct seat *s, bool say)
{
    struct gateway *g = c->gw;
    struct topic *t = topic_of_seat(s);

    forget_seat(c, s);
    if (say && g->linked) {
        struct frame_logout f = {
            .conn = c->number, .gen = conn_gen(c), .count = 1};
        struct logout_id id = {.release = releases(t), .id = topic_id(t)};
        struct buf *b = pipe_frame(g->pipe, FRAME_LOGOUT);

        frame_write_logout(b, &f);
        frame_write_logout_id(b, &id);
        pipe_frame_end(g->pipe);
        if (id.release)
            t->seats.flags &= ~(uint32_t)TOPIC_WATCHED;
    }
    topic_maybe_release(g, t);
}

void conn_leave_all(struct conn *c, bool gone)
{
    struct gateway *g = c->gw;
    struct seat_iter it = seats_of_conn(&c->seats);
    struct seat *s;

    if (c->seats.count && g->linked) {
        struct frame_logout f = {
            .conn = c->number, .gen = conn_gen(c), .gone = gone};

        frame_write_logout(pipe_frame(g->pipe, FRAME_LOGOUT), &f);
        pipe_frame_end(g->pipe);
    }
    start_free_all(c); /* or each seat would be looked for in each of them */
    while ((s = seat_next(&it)))
        conn_leave(c, s, false);
    conn_set_lagging(c, false);
    c->flags &= (uint16_t)~CONN_MANY;
    c->flow = FLOW_NONE;
}
