#include "gateways/common/restart.h"

#include "gateways/common/catchup.h"
#include "gateways/common/core.h"
#include "gateways/common/pull.h"

/* In front of all others: a message of theirs would bear a cursor that is no good
 * for what s has still to tell. */
static void put_first(struct conn *c, struct start *s)
{
    struct start **at = &conn_busy(c)->starts;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->next = conn_busy(c)->starts;
    conn_busy(c)->starts = s;
}

void restart_conn(struct conn *c, enum gap_why why, const struct position *at)
{
    struct start *s = start_alloc(c, c->seats.count, slice_make(NULL, 0));
    struct seat_iter it = seats_of_conn(&c->seats);
    struct seat *seat;

    if (!s) {
        conn_abort(c, "memory");
        return;
    }
    while ((seat = seat_next(&it))) {
        struct topic *t = topic_of_seat(seat);

        if (!conn_muted(c, t))
            s->topics[s->count++].topic = t;
    }
    for (struct start *other = conn_starts(c); other != s;
         other = other->next) {
        if (!other->said && !other->has_since)
            continue;
        other->has_reason = true;
        other->reason = (uint8_t)why;
        if (other->state == START_PAGING || other->state == START_REPLAY)
            catchup_leave(other);
    }
    s->silent = s->has_reason = true;
    s->reason = (uint8_t)why;
    s->since = *at;
    thin_forget(c);
    if (s->count == 0)
        start_free(s);
    else
        put_first(c, s);
    c->flow = FLOW_STARTING;
    for (s = conn_starts(c); s; s = s->next) {
        list_remove(&s->node);
        s->state = START_LOGIN;
    }
}

static struct position here(struct conn *c)
{
    struct position at = {.seq = 0};

    (void)!position_parse(conn_cursor(c), &at);
    return at;
}

void restart_settled(struct conn *c, enum gap_why why)
{
    struct position at;

    if (c->flow == FLOW_LIVE)
        conn_settle(c, pull_end(c));
    if (c->state != CONN_OPEN || !c->seats.count)
        return;
    at = here(c);
    restart_conn(c, why, &at);
}

/* A start of t alone that the edge did not ask for, behind all others. */
static struct start *silent_start(struct conn *c, struct topic *t)
{
    struct position at = here(c);
    struct start *s = start_alloc(c, 1, slice_make(NULL, 0));

    if (!s) {
        conn_abort(c, "memory");
        return NULL;
    }
    start_cover(s, t, false);
    s->silent = true;
    s->since = at;
    return s;
}

/* Takes t out of the start that mutes it, or has that decide anew. False: it
 * will be told there. */
static bool take_over(struct conn *c, struct topic *t)
{
    for (struct start *s = conn_starts(c); s; s = s->next) {
        if (!start_mutes(s, t))
            continue;
        if (s->said) {
            start_drop_topic(c, t);
            return true;
        }
        list_remove(&s->node);
        s->state = START_LOGIN;
        s->has_reason |= !s->has_since && s->silent;
        return false;
    }
    return true;
}

/* Gives c what came in front of the gap. False: told of that, it has left t,
 * which may be gone with it, or is closing. */
static bool settle(struct conn *c, const struct topic *t)
{
    uint32_t held = c->seats.count;
    struct seat_iter it;
    struct seat *seat;

    conn_settle(c, pull_end(c));
    if (c->state != CONN_OPEN || c->seats.count == held)
        return c->state == CONN_OPEN;
    it = seats_of_conn(&c->seats);
    while ((seat = seat_next(&it)))
        if (topic_of_seat(seat) == t)
            return true;
    return false;
}

static void one_again(struct conn *c, struct topic *t, enum gap_why why,
                      uint64_t from, uint64_t to)
{
    bool muted = conn_muted(c, t);
    uint64_t limit = pull_end(c);
    struct start *s;

    if (c->state != CONN_OPEN || (muted && !take_over(c, t)))
        return;
    if (!muted && c->flow == FLOW_LIVE && !settle(c, t))
        return;
    s = silent_start(c, t);
    if (!s)
        return;
    s->has_reason = true;
    s->reason = (uint8_t)why;
    if (muted || limit < ring_end(&c->gw->ring))
        return; /* more than that is missed: how much is unknown */
    s->topics[0].from = from;
    s->topics[0].to = to;
}

void restart_topic(struct gateway *g, struct topic *t, enum gap_why why,
                   uint64_t from, uint64_t to)
{
    struct seat_iter it = seats_of_topic(&t->seats);
    unsigned left = t->seats.count; /* t goes with its last seat */
    struct seat *seat;

    (void)g;
    while (left-- && (seat = seat_next(&it)))
        one_again(conn_of_seat(seat), t, why, from,
                  to);
}

void restart_volatile(struct conn *c)
{
    const uint32_t both = TOPIC_VOLATILE | TOPIC_STATEFUL;
    struct seat_iter it;
    struct seat *seat;

    if (c->flow == FLOW_LIVE) /* here, where an edge may leave channels */
        conn_settle(c, pull_end(c));
    it = seats_of_conn(&c->seats);
    while (c->state == CONN_OPEN && (seat = seat_next(&it)))
        if ((topic_of_seat(seat)->seats.flags & both) == both)
            one_again(c, topic_of_seat(seat), GAP_VOLATILE, 0, 0);
}

/* One that has no place yet will get a later one than this. */
static bool snapshot_is_due(const struct conn *c, const struct topic *t)
{
    for (const struct start *s = conn_starts(c); s; s = s->next)
        if (s->silent && s->count == 1 && s->topics[0].topic == t &&
            s->topics[0].beside &&
            (s->state == START_LOGIN || s->state == START_SNAP))
            return true;
    return false;
}

/* Its messages go on: the snapshot has its place among them. */
void restart_snapshot_of(struct conn *c, struct topic *t)
{
    struct start *s;

    if (c->state != CONN_OPEN || !(t->seats.flags & TOPIC_STATEFUL) ||
        snapshot_is_due(c, t))
        return;
    s = silent_start(c, t);
    if (s)
        s->topics[0].beside = true;
}

void restart_snapshot(struct topic *t)
{
    struct seat_iter it = seats_of_topic(&t->seats);
    unsigned left = t->seats.count; /* t goes with its last seat */
    struct seat *seat;

    while (left-- && (seat = seat_next(&it)))
        restart_snapshot_of(conn_of_seat(seat), t);
}
