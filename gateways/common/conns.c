#include "gateways/common/conns.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/secret.h"
#include "gateways/common/core.h"

enum {
    PAGES_FIRST = 16,
    PING_STEP_MS = 100, /* how finely pings are spread */
    PING_SLICE = 512,   /* pings a turn */
};

#define NOBODY UINT32_MAX /* the end of a chain of numbers */

/* A page of slots. Chains are of numbers. */
struct conn_page {
    uint8_t *slots; /* NULL: given back */
    uint32_t gen;   /* then: no slot had a later one */
    uint32_t free;  /* the slot given back last, which knows the next */
    uint32_t taken; /* slots with a connection, or retired */
    uint32_t next;  /* page with room, while this one has some */
};

/* ---- slots ------------------------------------------------------------- */

static struct conn *slot_of(const struct conns *cs, const struct conn_page *p,
                            uint32_t i)
{
    void *at = p->slots + i * cs->stride;

    return at;
}

/* Of a page that is there. */
static struct conn *slot(const struct conns *cs, uint32_t number)
{
    return slot_of(cs, &cs->pages[number / cs->page_slots],
                   number % cs->page_slots);
}

static struct conn_page *page_of(struct conns *cs, uint32_t number)
{
    return &cs->pages[number / cs->page_slots];
}

static bool add_page(struct conns *cs)
{
    uint32_t room = MAX(cs->page_room * 2, (uint32_t)PAGES_FIRST);
    struct conn_page *pages;
    void *slots;

    if (cs->page_count == cs->page_room) {
        pages = realloc(cs->pages, room * sizeof *pages);
        if (!pages)
            return false;
        cs->pages = pages;
        cs->page_room = room;
    }
    slots = block_take(&cs->blocks);
    if (!slots)
        return false;
    cs->pages[cs->page_count++] =
        (struct conn_page){.slots = slots, .free = NOBODY, .next = NOBODY};
    return true;
}

/* ---- pages that come and go ---------------------------------------------- */

static void chain_slot(struct conns *cs, struct conn_page *p, struct conn *c)
{
    uint32_t page = (uint32_t)(p - cs->pages);

    if (p->free == NOBODY) {
        p->next = cs->room;
        cs->room = page;
    }
    c->turn = p->free;
    p->free = c->number;
}

/* One that was given back has its slots again, each with the generation that
 * none of them had more than. */
static bool page_again(struct conns *cs, struct conn_page *p)
{
    uint32_t first = (uint32_t)(p - cs->pages) * cs->page_slots;

    p->slots = block_take(&cs->blocks);
    if (!p->slots)
        return false;
    p->free = NOBODY;
    for (uint32_t i = cs->page_slots; i-- > 0;) {
        struct conn *c = slot_of(cs, p, i);

        c->number = first + i;
        c->seats.flags = p->gen;
        chain_slot(cs, p, c);
    }
    return true;
}

/* Its slots are all free. It stays on its chain, where it is found later. Where
 * the last generation has come nothing is gained by a smaller one. */
static void give_page(struct conns *cs, struct conn_page *p)
{
    uint32_t gen = 0;

    for (uint32_t i = 0; i < cs->page_slots; i++)
        gen = MAX(gen, conn_gen(slot_of(cs, p, i)));
    if (gen == UINT32_MAX)
        return;
    p->gen = gen;
    block_give(&cs->blocks, p->slots);
    p->slots = NULL;
}

/* All of its slots have had a connection: the last page is not full until then,
 * and has not got their numbers. */
static void page_emptied(struct conns *cs, struct conn_page *p)
{
    uint32_t page = (uint32_t)(p - cs->pages);
    struct conn_page *spare =
        cs->spare == NOBODY ? NULL : &cs->pages[cs->spare];

    if (cs->used < (page + 1) * cs->page_slots)
        return;
    if (spare && spare != p && spare->slots && spare->taken == 0)
        give_page(cs, p);
    else
        cs->spare = page;
}

/* The first page with a free slot; NULL: a new slot is needed. Those that are
 * not there any more come last. */
static struct conn_page *page_with_room(struct conns *cs)
{
    struct conn_page *p;

    while (cs->room != NOBODY) {
        p = &cs->pages[cs->room];
        if (p->slots)
            return p;
        cs->room = p->next;
        p->next = cs->gone;
        cs->gone = (uint32_t)(p - cs->pages);
    }
    if (cs->gone == NOBODY)
        return NULL;
    p = &cs->pages[cs->gone];
    cs->gone = p->next;
    if (page_again(cs, p))
        return p;
    p->next = cs->gone;
    cs->gone = (uint32_t)(p - cs->pages);
    return NULL;
}

/* ---- taking and giving --------------------------------------------------- */

static void prepare(struct conns *cs, struct conn *c, uint32_t number,
                    uint32_t gen)
{
    memset(c, 0, cs->stride);
    c->gw = cs->gw;
    c->number = number;
    c->seats.flags = gen;
    c->state = CONN_OPEN;
    page_of(cs, number)->taken++;
}

struct conn *conns_take(struct conns *cs)
{
    struct conn_page *p = page_with_room(cs);
    uint32_t number, gen = cs->first_gen;
    struct conn *c;

    if (p) {
        c = slot(cs, p->free);
        number = p->free;
        p->free = c->turn;
        if (p->free == NOBODY)
            cs->room = p->next;
        gen = conn_gen(c) + 1;
    } else {
        if (cs->used == cs->page_count * cs->page_slots && !add_page(cs))
            return NULL;
        number = cs->used++;
        c = slot(cs, number);
    }
    prepare(cs, c, number, gen);
    return c;
}

/* A slot whose generations are used up is not given to anybody any more. */
void conns_give(struct conns *cs, struct conn *c)
{
    struct conn_page *p = page_of(cs, c->number);

    c->state = CONN_FREE;
    if (conn_gen(c) == UINT32_MAX)
        return;
    chain_slot(cs, p, c);
    if (--p->taken == 0)
        page_emptied(cs, p);
}

uint32_t conns_gen(const struct conns *cs, uint32_t number)
{
    const struct conn_page *p = &cs->pages[number / cs->page_slots];

    return p->slots ? conn_gen(slot(cs, number)) : p->gen;
}

int conns_add_empty(struct conns *cs, uint32_t gen)
{
    struct conn *c;

    if (cs->used == cs->page_count * cs->page_slots && !add_page(cs))
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
        struct conn_page *p = page_of(cs, n);

        if (c->state == CONN_FREE && conn_gen(c) == UINT32_MAX)
            p->taken++;
        else if (c->state == CONN_FREE)
            chain_slot(cs, p, c);
        if (n % cs->page_slots == 0 && p->taken == 0)
            page_emptied(cs, p);
    }
}

struct conn *conns_at(const struct conns *cs, uint32_t number)
{
    struct conn *c = cs->pages[number / cs->page_slots].slots
                         ? slot(cs, number)
                         : NULL;

    return !c || c->state == CONN_FREE ? NULL : c;
}

struct conn *conns_next_open(const struct conns *cs, uint32_t *i)
{
    while (*i < cs->used) {
        struct conn *c = conns_at(cs, (*i)++);

        if (c && c->state == CONN_OPEN)
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
        struct conn *c = conns_at(cs, n);

        if (!c || c->state != CONN_OPEN || !(c->flags & CONN_PINGS))
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

    *cs = (struct conns){.gw = g, .room = NOBODY, .gone = NOBODY,
                         .spare = NOBODY, .dirty = empty,
                         .behind = empty, .dead = empty,
                         .first_gen = (uint32_t)(random_u64() >> 33) + 1};
    loop_timer_init(&cs->ping, g->loop, ping_due, cs);
    cs->stride = (sizeof(struct conn) + g->edge->conn_bytes + 7) & ~(size_t)7;
    cs->page_slots = (uint32_t)(BLOCK_BYTES / cs->stride);
    blocks_init(&cs->blocks);
}

size_t conns_bytes(const struct conns *cs)
{
    return cs->blocks.taken * BLOCK_BYTES + cs->page_room * sizeof *cs->pages;
}

void conns_fini(struct conns *cs)
{
    loop_timer_stop(&cs->ping);
    for (uint32_t i = 0; i < cs->page_count; i++)
        block_give(&cs->blocks, cs->pages[i].slots);
    blocks_fini(&cs->blocks);
    free(cs->pages);
    cs->pages = NULL;
    cs->page_count = cs->used = 0;
}
