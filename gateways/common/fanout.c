#include "gateways/common/fanout.h"

#include "gateways/common/core.h"
#include "gateways/common/deliver.h"

void fanout_wake(struct gateway *g, struct topic *t)
{
    struct fanout *f = &topic_past_make(t)->fanout;
    uint64_t tick = ring_end(&g->ring);

    if (t->seats.count == 0)
        return;
    if (f->since) {
        if (!f->again)
            f->again = tick;
        return;
    }
    f->topic = t;
    f->seats = seats_of_topic(&t->seats);
    f->since = tick;
    list_add_tail(&g->fanouts, &f->node);
    loop_again(g->loop);
}

static void come_to_rest(struct fanout *f)
{
    list_remove(&f->node);
    f->since = f->again = 0;
}

/* The walk is through; news that came meanwhile make it walk once more. */
static void finish(struct gateway *g, struct fanout *f)
{
    struct topic *t = f->topic;

    if (f->again && t->seats.count) {
        f->since = f->again;
        f->again = 0;
        f->seats = seats_of_topic(&t->seats);
        list_remove(&f->node);
        list_add_tail(&g->fanouts, &f->node);
        return;
    }
    come_to_rest(f);
    topic_maybe_release(g, t);
}

/* Visits up to max seats, as long as no more than so many bytes have been sent;
 * the number visited. The rest is behind all others then. Seats may go meanwhile
 * (a long poll is answered), a topic under way may not. */
static unsigned walk(struct gateway *g, struct fanout *f, unsigned max,
                     size_t bytes)
{
    size_t before = g->sent;
    struct seat *s;
    unsigned n;

    for (n = 0; n < max && g->sent - before < bytes &&
                (s = seat_next(&f->seats)); n++)
        conn_flush(conn_of_seat(s));
    if (!f->seats.left || !f->topic->seats.count) {
        finish(g, f);
    } else {
        list_remove(&f->node);
        list_add_tail(&g->fanouts, &f->node);
    }
    return n;
}

/* Topics with few seats, whole, unless they have much to say; they never wait
 * behind a broadcast. */
static void walk_small(struct gateway *g)
{
    size_t before = g->sent;

    LIST_FOREACH_SAFE(f, next, &g->fanouts, struct fanout, node) {
        size_t sent = g->sent - before;

        if (sent >= TURN_BYTES)
            return;
        if (f->topic->seats.count <= FANOUT_SMALL)
            walk(g, f, FANOUT_SMALL + 1, TURN_BYTES - sent);
    }
}

void fanout_turn(struct gateway *g)
{
    unsigned left = (unsigned)g->config->limits.fanout_slice;
    size_t before;

    if (list_empty(&g->fanouts))
        return;
    walk_small(g);
    before = g->sent;
    while (left && g->sent - before < TURN_BYTES &&
           !list_empty(&g->fanouts)) {
        struct fanout *f = CONTAINER_OF(list_first(&g->fanouts),
                                        struct fanout, node);
        unsigned n = walk(g, f, left, TURN_BYTES - (g->sent - before));

        left -= MIN(left, MAX(n, 1u));
    }
    if (list_empty(&g->fanouts))
        return;
    if (!left)
        gateway_limit(g, LIMIT_FANOUT_SLICE);
    loop_again(g->loop);
}

void fanout_forget(struct gateway *g)
{
    struct list_node *n;

    while ((n = list_first(&g->fanouts)))
        come_to_rest(CONTAINER_OF(n, struct fanout, node));
}

uint64_t fanout_settled(const struct gateway *g)
{
    uint64_t settled = ring_end(&g->ring);

    LIST_FOREACH(f, &g->fanouts, struct fanout, node)
        settled = MIN(settled, f->since - 1);
    return settled;
}
