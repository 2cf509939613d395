#include "gateways/common/slow.h"

#include <stdlib.h>
#include <string.h>

#include "gateways/common/catchup.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/pull.h"

enum { CUT_LOOKS = 256 }; /* what else it takes to cut one */

/* ---- who is cut ---------------------------------------------------------- */

/* What of an id is due and not begun, from the ring, behind what has been left
 * out of it and not told; where a gap is among that, how much is unknown. False:
 * nothing. */
static bool count_missed(struct conn *c, const struct topic *t,
                         struct notice *n)
{
    const struct thin_loss *l = thin_loss_of(c, t);
    bool found = l != NULL, hole = l && l->hole;
    struct ring_entry *e;
    struct gap gap;

    for (uint64_t tick = topic_past(t)->newest;
         tick > c->tick && (e = ring_at(&c->gw->ring, tick));
         tick = e->previous) {
        c->gw->looked_at++;
        if (conn_thinned(c) && thin_leaves_out(c, e, tick))
            continue;
        found = true;
        if (deliver_read_gap(e->msg, &gap)) {
            hole = true;
            n->from = gap.from;
            n->to = MAX(n->to, gap.to);
        }
        if (e->msg->flags & MSG_NOTICE)
            continue;
        n->from = e->msg->offset;
        if (!n->to)
            n->to = e->msg->offset;
        n->missed++;
    }
    if (l && l->count) {
        n->from = n->from || hole ? MIN(n->from, l->from) : l->from;
        n->to = MAX(n->to, l->to);
        n->missed += l->count;
    }
    if (hole)
        n->missed = 0;
    if (l && l->hole)
        n->from = 0;
    return found;
}

/* Has the topic something for c that it has not got? How much, n says; of a
 * pattern that is unknown. */
static bool misses(struct conn *c, const struct topic *t, struct notice *n)
{
    if (conn_muted(c, t))
        return c->flow == FLOW_PAGING;
    if (t->seats.flags & TOPIC_PATTERN)
        return thin_loss_of(c, t) || c->tick < ring_end(&c->gw->ring);
    if (c->flow == FLOW_LIVE)
        return count_missed(c, t, n);
    return topic_past(t)->newest > c->tick;
}

void slow_tell(struct conn *c)
{
    struct seat_iter it = seats_of_conn(&c->seats);
    char cursor[CURSOR_TEXT_MAX];
    struct slice place = conn_cursor(c);
    unsigned held = c->seats.count;
    struct seat *s;

    memcpy(cursor, place.ptr, place.len);
    place.ptr = (const uint8_t *)cursor;
    c->gw->looked_at += CUT_LOOKS;
    /* An edge that leaves channels while it is told has heard enough. */
    while (c->state == CONN_OPEN && c->seats.count == held &&
           (s = seat_next(&it))) {
        const struct topic *t = topic_of_seat(s);
        struct slice id = topic_id(t);
        struct notice n = {.kind = NOTICE_GAP, .channels = &id, .count = 1,
                           .why = GAP_SLOW, .cursor = place};

        c->gw->looked_at++;
        if (!misses(c, t, &n))
            continue;
        stat_add(&c->gw->stats, STAT_GAPS_SLOW, 1);
        c->gw->edge->notice(c, &n);
    }
}

/* What waits for c in memory of its own. */
static size_t own_bytes(const struct conn *c)
{
    return conn_out_pending(c) + catchup_bytes(c) + thin_bytes(c);
}

static bool add_whole(void *ctx, struct ring_entry *e, uint64_t tick)
{
    struct conn *c = ctx;

    UNUSED(tick);
    if (thin_share(c->gw, e) != SHARE_WHOLE)
        return true;
    conn_busy(c)->whole.bytes += msg_size(e->msg);
    conn_busy(c)->whole.oldest_ns = MIN(conn_busy(c)->whole.oldest_ns, e->came_ns);
    return true;
}

/* Of what must not be left out: what has come since it was looked at last, or
 * all of it once the connection has read on. */
static void measure(struct conn *c, int64_t now)
{
    struct conn_busy *x = conn_busy(c);

    if (x->whole.from != c->tick || !x->whole.upto) {
        x->whole.from = x->whole.upto = c->tick;
        x->whole.bytes = 0;
        x->whole.oldest_ns = INT64_MAX;
    }
    pull_each(c, x->whole.upto, x->lagging_ns, add_whole, c);
    x->whole.upto = ring_end(&c->gw->ring);
    x->whole.came = c->gw->came;
    x->whole.looked_ns = now;
}

/* Of that: no more bytes than these wait, and none for longer. */
static void estimate(const struct conn *c, size_t *bytes, int64_t *oldest_ns)
{
    const struct conn_busy *x = conn_busy(c);
    uint64_t came = c->gw->came - x->whole.came;

    *bytes = x->whole.bytes + came;
    *oldest_ns = came ? MIN(x->whole.oldest_ns, x->whole.looked_ns)
                      : x->whole.oldest_ns;
}

/* How much waits, and since when: as far as it may be over a limit. */
static void look_into(struct conn *c, int64_t now, size_t *waits,
                      int64_t *oldest)
{
    const struct config_limits *limits = &c->gw->config->limits;
    bool known = conn_busy(c)->whole.upto != 0;
    size_t bytes = 0;
    int64_t since = INT64_MAX;

    if (known)
        estimate(c, &bytes, &since);
    if (!known || conn_out_pending(c) + bytes > limits->queue ||
        (limits->queue_age && now - MIN(since, now) > limits->queue_age)) {
        measure(c, now);
        bytes = conn_busy(c)->whole.bytes;
        since = conn_busy(c)->whole.oldest_ns;
    }
    *waits = conn_out_pending(c) + bytes;
    *oldest = MIN(*oldest, since);
}

static void check(struct conn *c, int64_t now)
{
    const struct config_limits *limits = &c->gw->config->limits;
    int64_t age = limits->queue_age, oldest = now;
    size_t waits = 0;

    /* A deadline, or its turn to be thinned, comes for these. */
    if (conn_closing(c) || list_linked(&conn_busy(c)->drained))
        return;
    /* Who catches up from the ring owes what came since it began; replies in
     * out are bounded by not reading requests meanwhile. */
    if (c->flow == FLOW_LIVE && (c->flags & CONN_STALLED))
        look_into(c, now, &waits, &oldest);
    if (waits > limits->queue) {
        gateway_limit(c->gw, LIMIT_QUEUE);
        conn_cut(c, STAT_CUT_QUEUE);
        return;
    }
    if (!age || !(c->flags & CONN_STALLED))
        return;
    oldest = MAX(oldest, conn_busy(c)->lagging_ns);
    if (now - oldest > age ||
        (now - conn_busy(c)->progress_ns > age &&
         !(c->flow == FLOW_LIVE && thin_may_help(c)))) {
        gateway_limit(c->gw, LIMIT_QUEUE_AGE);
        conn_cut(c, STAT_CUT_AGE);
    }
}

/* ---- who owes most ------------------------------------------------------- */

static bool is_less(const struct debt *a, const struct debt *b)
{
    return a->own != b->own ? a->own < b->own : a->number < b->number;
}

static void swap(struct debt *a, struct debt *b)
{
    struct debt was = *a;

    *a = *b;
    *b = was;
}

/* The first of the heap has come from elsewhere. */
static void sink(struct slow_round *r)
{
    unsigned at = 0, least = 0;

    for (;;) {
        for (unsigned i = 2 * at + 1; i <= 2 * at + 2 && i < r->count; i++)
            if (is_less(&r->most[i], &r->most[least]))
                least = i;
        if (least == at)
            return;
        swap(&r->most[at], &r->most[least]);
        at = least;
    }
}

static void rise(struct slow_round *r, unsigned at)
{
    for (; at && is_less(&r->most[at], &r->most[(at - 1) / 2]);
         at = (at - 1) / 2)
        swap(&r->most[at], &r->most[(at - 1) / 2]);
}

static void note_debt(struct slow_round *r, const struct conn *c)
{
    struct debt d = {own_bytes(c), c->number, conn_gen(c)};

    r->total += d.own;
    if (!d.own)
        return;
    if (r->count < DEBTORS_A_SECOND) {
        r->most[r->count] = d;
        rise(r, r->count++);
    } else if (is_less(&r->most[0], &d)) {
        r->most[0] = d;
        sink(r);
    }
}

static int by_debt(const void *a, const void *b)
{
    return is_less(a, b) - is_less(b, a);
}

/* When all together owe too much: those who owe most, until the rest is within
 * the bound; of this worker, which has its part of what the process may keep.
 * Who is cut keeps its last words until the next look, and no longer if it is
 * still too much then. */
static void end_round(struct gateway *g)
{
    size_t bound = g->config->limits.queue_total /
                   MAX(g->edge_config->workers, (size_t)1);
    struct slow_round *r = &g->slow;

    r->under_way = false;
    stat_set(&g->stats, STAT_QUEUED, r->total);
    qsort(r->most, r->count, sizeof *r->most, by_debt);
    for (unsigned i = 0; i < r->count && r->total > bound; i++) {
        struct conn *c = conn_by_name(g, r->most[i].number, r->most[i].gen);

        r->total -= r->most[i].own;
        if (!c)
            continue;
        gateway_limit(g, LIMIT_QUEUE_TOTAL);
        if (conn_closing(c))
            conn_drop(c);
        else
            conn_cut(c, STAT_CUT_TOTAL);
    }
}

void slow_check(struct gateway *g)
{
    struct slow_round *r = &g->slow;

    stat_set(&g->stats, STAT_LAGGING, g->lag_count);
    if (r->under_way)
        return;
    r->under_way = true;
    r->number++;
    r->total = 0;
    r->count = 0;
    loop_again(g->loop);
}

/* Who has been looked at goes to the end of the list, as whoever joins it does:
 * when it comes again, the round is over. NULL: it is. */
static struct conn *next_of_round(struct gateway *g)
{
    struct list_node *n = list_first(&g->lagging);
    struct conn_busy *x;

    if (!n)
        return NULL;
    x = CONTAINER_OF(n, struct conn_busy, lagging);
    if (x->round == g->slow.number)
        return NULL;
    x->round = g->slow.number;
    list_remove(n);
    list_add_tail(&g->lagging, n);
    return x->conn;
}

void slow_turn(struct gateway *g)
{
    int64_t now = loop_now(g->loop);
    size_t before = g->looked_at;
    struct conn *c;

    if (!g->slow.under_way)
        return;
    for (unsigned i = 0; i < CHECKS_A_TURN &&
                         g->looked_at - before < SLOW_LOOKS; i++) {
        c = next_of_round(g);
        if (!c) {
            end_round(g);
            return;
        }
        check(c, now);
        if (conn_lags(c))
            note_debt(&g->slow, c);
    }
    loop_again(g->loop);
}
