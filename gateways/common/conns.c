#include "gateways/common/conns.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/secret.h"
#include "gateways/common/core.h"

enum {
    PAGE_SLOTS = 64,
    PAGES_FIRST = 64,
    PING_STEP_MS = 100, /* how finely pings are spread */
    PING_SLICE = 512,   /* pings a turn */
};

#define NOBODY UINT32_MAX /* the end of a chain of numbers */

/* ---- slots ------------------------------------------------------------- */

static struct conn *slot(const struct conns *cs, uint32_t number)
{
    void *at = cs->pages[number / PAGE_SLOTS] +
               number % PAGE_SLOTS * cs->stride;

    return at;
}

static bool add_page(struct conns *cs)
{
    uint32_t room = MAX(cs->page_room * 2, (uint32_t)PAGES_FIRST);
    uint8_t **pages;

    if (cs->page_count == cs->page_room) {
        pages = realloc(cs->pages, room * sizeof *pages);
        if (!pages)
            return false;
        cs->pages = pages;
        cs->page_room = room;
    }
    cs->pages[cs->page_count] = calloc(PAGE_SLOTS, cs->stride);
    return cs->pages[cs->page_count] && ++cs->page_count;
}

static void prepare(struct conns *cs, struct conn *c, uint32_t number,
                    uint32_t gen)
{
    memset(c, 0, cs->stride);
    c->gw = cs->gw;
    c->number = number;
    c->seats.flags = gen;
    c->state = CONN_OPEN;
}

struct conn *conns_take(struct conns *cs)
{
    uint32_t number = cs->free, gen = cs->first_gen;
    struct conn *c;

    if (number == NOBODY) {
        if (cs->used == cs->page_count * PAGE_SLOTS && !add_page(cs))
            return NULL;
        number = cs->used++;
        c = slot(cs, number);
    } else {
        c = slot(cs, number);
        cs->free = c->turn;
        gen = conn_gen(c) + 1;
    }
    prepare(cs, c, number, gen);
    return c;
}

/* A slot whose generations are used up is not given to anybody any more. */
void conns_give(struct conns *cs, struct conn *c)
{
    c->state = CONN_FREE;
    if (conn_gen(c) == UINT32_MAX)
        return;
    c->turn = cs->free;
    cs->free = c->number;
}

uint32_t conns_gen(const struct conns *cs, uint32_t number)
{
    return conn_gen(slot(cs, number));
}

int conns_add_empty(struct conns *cs, uint32_t gen)
{
    struct conn *c;

    if (cs->used == cs->page_count * PAGE_SLOTS && !add_page(cs))
        return ERR_NOMEM;
    c = slot(cs, cs->used);
    c->number = cs->used++;
    c->seats.flags = gen;
    return 0;
}

struct conn *conns_place(struct conns *cs, uint32_t number, uint32_t gen)
{
    struct conn *c = number < cs->used ? slot(cs, number) : NULL;

    if (!c || c->state != CONN_FREE || conn_gen(c) != gen)
        return NULL;
    prepare(cs, c, number, gen);
    return c;
}

void conns_free_rest(struct conns *cs)
{
    for (uint32_t n = cs->used; n-- > 0;) {
        struct conn *c = slot(cs, n);

        if (c->state == CONN_FREE)
            conns_give(cs, c);
    }
}

struct conn *conns_at(const struct conns *cs, uint32_t number)
{
    struct conn *c = slot(cs, number);

    return c->state == CONN_FREE ? NULL : c;
}

struct conn *conns_next_open(const struct conns *cs, uint32_t *i)
{
    while (*i < cs->used) {
        struct conn *c = slot(cs, (*i)++);

        if (c->state == CONN_OPEN)
            return c;
    }
    return NULL;
}

/* ---- queues ------------------------------------------------------------ */

bool conn_queue_empty(const struct conn_queue *q)
{
    return q->first == NOBODY;
}

void conn_queue_put(struct conn_queue *q, struct conn *c)
{
    c->turn = NOBODY;
    if (conn_queue_empty(q))
        q->first = c->number;
    else
        slot(&c->gw->conns, q->last)->turn = c->number;
    q->last = c->number;
}

struct conn *conn_queue_take(struct conns *cs, struct conn_queue *q)
{
    struct conn *c;

    if (conn_queue_empty(q))
        return NULL;
    c = slot(cs, q->first);
    q->first = c->turn;
    return c;
}

struct conn_queue conn_queue_all(struct conn_queue *q)
{
    struct conn_queue all = *q;

    q->first = NOBODY;
    return all;
}

void conn_queue_join(struct conns *cs, struct conn_queue *q,
                     struct conn_queue first)
{
    if (conn_queue_empty(&first))
        return;
    if (!conn_queue_empty(q)) {
        slot(cs, first.last)->turn = q->first;
        first.last = q->last;
    }
    *q = first;
}

/* ---- pings ------------------------------------------------------------- */

static int64_t period(const struct conns *cs)
{
    return cs->gw->config->limits.ping;
}

/* Steps that a period has. */
static uint32_t steps(const struct conns *cs)
{
    return (uint32_t)MAX(period(cs) / (PING_STEP_MS * MILLISECOND),
                         INT64_C(1));
}

static uint32_t steps_now(const struct conns *cs)
{
    return (uint32_t)((clock_ns() - cs->ping_began_ns) /
                      (period(cs) / steps(cs)));
}

static int64_t step_ns(const struct conns *cs, uint32_t step)
{
    return cs->ping_began_ns + (int64_t)step * (period(cs) / steps(cs));
}

/* Pings those whose turn comes with this step, `left` of them at most, from
 * ping_next on. False: there are more. */
static bool ping_step(struct conns *cs, uint32_t step, unsigned *left)
{
    uint32_t apart = steps(cs), n = step % apart + cs->ping_next * apart;

    for (; n < cs->used; n += apart, cs->ping_next++) {
        struct conn *c = slot(cs, n);

        if (c->state != CONN_OPEN || !(c->flags & CONN_PINGS))
            continue;
        if (*left == 0)
            return false;
        --*left;
        if (c->flags & CONN_PINGS_NEW)
            c->flags &= (uint16_t)~CONN_PINGS_NEW;
        else
            cs->gw->edge->ping(c);
    }
    cs->ping_next = 0;
    return true;
}

static void ping_due(void *ctx)
{
    struct conns *cs = ctx;
    uint32_t now = steps_now(cs);
    unsigned left = PING_SLICE;

    /* After a long stop everybody is pinged once. */
    if (now - cs->ping_step > steps(cs)) {
        cs->ping_step = now - steps(cs);
        cs->ping_next = 0;
    }
    while (cs->ping_step < now && ping_step(cs, cs->ping_step + 1, &left))
        cs->ping_step++;
    /* Others have their turn before those that are left. */
    if (cs->pinged)
        loop_timer_set_at(&cs->ping, step_ns(cs, cs->ping_step + 1));
}

/* With a period of 0 it never comes. */
static void begin_period(struct conns *cs)
{
    loop_timer_stop(&cs->ping);
    cs->ping_began_ns = clock_ns();
    cs->ping_step = cs->ping_next = 0;
    if (cs->pinged && period(cs))
        loop_timer_set_at(&cs->ping, step_ns(cs, 1));
}

void conns_ping_changed(struct conns *cs)
{
    begin_period(cs);
}

void conns_want_pings(struct conns *cs, struct conn *c, bool wanted)
{
    if (!wanted) {
        cs->pinged -= (c->flags & CONN_PINGS) != 0;
        c->flags &= (uint16_t)~(CONN_PINGS | CONN_PINGS_NEW);
        return;
    }
    if (!(c->flags & CONN_PINGS) && cs->pinged++ == 0)
        begin_period(cs);
    c->flags |= CONN_PINGS | CONN_PINGS_NEW;
}

void conns_ping_on(struct conns *cs, int64_t began_ns, uint32_t step,
                   uint32_t next)
{
    if (cs->pinged == 0 || period(cs) == 0)
        return;
    cs->ping_began_ns = began_ns;
    cs->ping_step = step;
    cs->ping_next = next;
    loop_timer_set_at(&cs->ping, step_ns(cs, step + 1));
}

/* ---- the whole --------------------------------------------------------- */

void conns_init(struct conns *cs, struct gateway *g)
{
    static const struct conn_queue empty = {NOBODY, NOBODY};

    *cs = (struct conns){.gw = g, .free = NOBODY, .dirty = empty,
                         .behind = empty, .dead = empty,
                         .first_gen = (uint32_t)(random_u64() >> 33) + 1};
    loop_timer_init(&cs->ping, g->loop, ping_due, cs);
    cs->stride = (sizeof(struct conn) + g->edge->conn_bytes + 7) & ~(size_t)7;
}

void conns_fini(struct conns *cs)
{
    loop_timer_stop(&cs->ping);
    for (uint32_t i = 0; i < cs->page_count; i++)
        free(cs->pages[i]);
    free(cs->pages);
    cs->pages = NULL;
    cs->page_count = cs->used = 0;
}
