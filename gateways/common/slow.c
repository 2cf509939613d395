/* slow.c - who reads too slowly is told and cut, and delays nobody.
 *
 * Only connections that lag are looked at, once a second: those whose socket
 * did not take what was due. What waits for them waits in the ring, once for
 * all; their own memory is the rest of a message that was begun, and pages
 * of the store that were read for them. */
#include "gateways/common/core.h"

/* What waits for c in memory of its own. */
static size_t own_bytes(const struct conn *c)
{
    return conn_out_pending(c) + (c->starts ? c->starts->rows_bytes : 0);
}

static void check(struct conn *c, int64_t now)
{
    const struct config_limits *limits = &c->gw->config->limits;
    int64_t age = limits->queue_age, oldest = now;
    size_t waits = conn_out_pending(c);

    if (c->flow == FLOW_LIVE && (c->flags & CONN_STALLED))
        waits += pull_pending(c, limits->queue, &oldest);
    if (waits > limits->queue) {
        gateway_limit(c->gw, LIMIT_QUEUE);
        conn_cut(c, STAT_CUT_QUEUE);
        return;
    }
    if (!age || !(c->flags & CONN_STALLED))
        return;
    oldest = MAX(oldest, c->extra->lagging_ns);
    if (now - oldest > age || now - c->extra->progress_ns > age) {
        gateway_limit(c->gw, LIMIT_QUEUE_AGE);
        conn_cut(c, STAT_CUT_AGE);
    }
}

/* The one who owes most, when all together owe too much. */
static void check_total(struct gateway *g)
{
    size_t total = 0, most = 0;
    struct conn *debtor = NULL;

    LIST_FOREACH(x, &g->lagging, struct conn_extra, lagging) {
        size_t own = own_bytes(x->conn);

        total += own;
        if (own > most) {
            most = own;
            debtor = x->conn;
        }
    }
    stat_set(&g->stats, STAT_QUEUED, total);
    if (debtor && total > g->config->limits.queue_total) {
        gateway_limit(g, LIMIT_QUEUE_TOTAL);
        conn_cut(debtor, STAT_CUT_TOTAL);
    }
}

void slow_check(struct gateway *g)
{
    int64_t now = loop_now(g->loop);
    struct list_node *head = &g->lagging, *next;

    for (struct list_node *n = head->next; n != head; n = next) {
        next = n->next;
        check(CONTAINER_OF(n, struct conn_extra, lagging)->conn, now);
    }
    check_total(g);
}
