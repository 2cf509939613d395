#include "gateways/common/slow.h"

#include <string.h>

#include "gateways/common/catchup.h"
#include "gateways/common/core.h"
#include "gateways/common/pull.h"

enum {
    DEBTORS_A_SECOND = 64, /* each is looked for among all who lag */
    CHECKS_A_TURN = 32,    /* each looks at what has come since */
};

/* ---- who is cut ---------------------------------------------------------- */

/* What of an id is due and not begun, from the ring, behind what has been left
 * out of it and not told. False: nothing. */
static bool count_missed(struct conn *c, const struct topic *t,
                         struct notice *n)
{
    const struct thin_loss *l = thin_loss_of(c, t);
    bool found = l != NULL;
    struct ring_entry *e;

    for (uint64_t tick = topic_past(t)->newest;
         tick > c->tick && (e = ring_at(&c->gw->ring, tick));
         tick = e->previous) {
        if (conn_thinned(c) && thin_leaves_out(c, e, tick))
            continue;
        found = true;
        if (e->msg->flags & MSG_NOTICE)
            continue;
        n->from = e->msg->offset;
        if (!n->to)
            n->to = e->msg->offset;
        n->missed++;
    }
    if (!l || !l->count)
        return found;
    n->from = n->from ? MIN(n->from, l->from) : l->from;
    n->to = MAX(n->to, l->to);
    n->missed += l->count;
    return true;
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
    /* An edge that leaves channels while it is told has heard enough. */
    while (c->state == CONN_OPEN && c->seats.count == held &&
           (s = seat_next(&it))) {
        const struct topic *t = topic_of_seat(s);
        struct slice id = topic_id(t);
        struct notice n = {.kind = NOTICE_GAP, .channels = &id, .count = 1,
                           .why = GAP_SLOW, .cursor = place};

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
    c->extra->whole.bytes += msg_size(e->msg);
    c->extra->whole.oldest_ns = MIN(c->extra->whole.oldest_ns, e->came_ns);
    return true;
}

/* Of what must not be left out: what has come since it was looked at last. */
static void measure(struct conn *c)
{
    struct conn_extra *x = c->extra;

    if (x->whole.from != c->tick || !x->whole.upto) {
        x->whole.from = x->whole.upto = c->tick;
        x->whole.bytes = 0;
        x->whole.oldest_ns = INT64_MAX;
    }
    pull_each(c, x->whole.upto, x->lagging_ns, add_whole, c);
    x->whole.upto = ring_end(&c->gw->ring);
}

static void check(struct conn *c, int64_t now)
{
    const struct config_limits *limits = &c->gw->config->limits;
    int64_t age = limits->queue_age, oldest = now;
    size_t waits = 0;

    if (conn_closing(c)) /* it has its deadline */
        return;
    /* Who catches up from the ring owes what came since it began; replies in
     * out are bounded by not reading requests meanwhile. */
    if (c->flow == FLOW_LIVE && (c->flags & CONN_STALLED)) {
        measure(c);
        waits = conn_out_pending(c) + c->extra->whole.bytes;
        oldest = MIN(oldest, c->extra->whole.oldest_ns);
    }
    if (waits > limits->queue) {
        gateway_limit(c->gw, LIMIT_QUEUE);
        conn_cut(c, STAT_CUT_QUEUE);
        return;
    }
    if (!age || !(c->flags & CONN_STALLED))
        return;
    oldest = MAX(oldest, c->extra->lagging_ns);
    if (now - oldest > age ||
        (now - c->extra->progress_ns > age &&
         !(c->flow == FLOW_LIVE && thin_may_help(c)))) {
        gateway_limit(c->gw, LIMIT_QUEUE_AGE);
        conn_cut(c, STAT_CUT_AGE);
    }
}

/* Debtors in order: who owes more, of two that owe the same who came to the
 * later slot. */
struct debt {
    size_t own;
    uint32_t number;
};

static bool is_less(const struct debt *a, const struct debt *b)
{
    return a->own != b->own ? a->own < b->own : a->number < b->number;
}

/* The largest debtor below *last, which becomes what it owes. */
static struct conn *next_debtor(struct gateway *g, struct debt *last)
{
    struct debt most = {0};
    struct conn *debtor = NULL;

    LIST_FOREACH(x, &g->lagging, struct conn_extra, lagging) {
        struct debt d = {own_bytes(x->conn), x->conn->number};

        if (d.own && is_less(&d, last) && is_less(&most, &d)) {
            most = d;
            debtor = x->conn;
        }
    }
    *last = most;
    return debtor;
}

/* When all together owe too much: those who owe most, until the rest is within
 * the bound; of this worker, which has its part of what the process may keep.
 * Who is cut keeps its last words until the next look, and no longer if it is
 * still too much then. */
static void check_total(struct gateway *g)
{
    size_t bound = g->config->limits.queue_total /
                   MAX(g->edge_config->workers, (size_t)1);
    struct debt last = {SIZE_MAX, UINT32_MAX};
    struct conn *debtor;
    size_t total = 0;

    LIST_FOREACH(x, &g->lagging, struct conn_extra, lagging)
        total += own_bytes(x->conn);
    stat_set(&g->stats, STAT_QUEUED, total);
    for (unsigned i = 0; i < DEBTORS_A_SECOND && total > bound; i++) {
        debtor = next_debtor(g, &last);
        if (!debtor)
            return;
        total -= MIN(total, last.own);
        gateway_limit(g, LIMIT_QUEUE_TOTAL);
        if (conn_closing(debtor))
            conn_drop(debtor);
        else
            conn_cut(debtor, STAT_CUT_TOTAL);
    }
}

void slow_check(struct gateway *g)
{
    g->unchecked = g->lag_count;
    stat_set(&g->stats, STAT_LAGGING, g->unchecked);
    check_total(g);
    loop_again(g->loop);
}

/* Who has been looked at goes to the end of the list, as whoever joins it
 * does. */
void slow_turn(struct gateway *g)
{
    int64_t now = loop_now(g->loop);
    unsigned left = CHECKS_A_TURN;
    struct list_node *n;

    while (g->unchecked && left-- && (n = list_pop(&g->lagging))) {
        g->unchecked--;
        list_add_tail(&g->lagging, n);
        check(CONTAINER_OF(n, struct conn_extra, lagging)->conn, now);
    }
    if (list_empty(&g->lagging))
        g->unchecked = 0;
    if (g->unchecked)
        loop_again(g->loop);
}
