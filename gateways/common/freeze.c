/* freeze.c - a gateway written down; thaw.c reads it. */
#include "gateways/common/freeze.h"

#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "gateways/common/catchup.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/fanout.h"
#include "gateways/common/frozen.h"
#include "gateways/common/guest.h"
#include "gateways/common/uplink.h"
#include "proto/frame_io.h"

FROZEN_SIZE(struct conn_extra, 32);
FROZEN_SIZE(struct conn_busy, 232);
FROZEN_SIZE(struct ring_entry, 40);
FROZEN_SIZE(struct start, 232);
FROZEN_SIZE(struct start_topic, 48);
FROZEN_SIZE(struct topic_past, 112);
FROZEN_SIZE(struct snapshot, 40);

enum {
    BODY_ENOUGH = 256 * 1024, /* a message is closed when it has so much */
    CONNS_MOST = 100,         /* of one message; each has a socket */
    CONN_LARGEST = HANDOVER_LARGEST - BODY_ENOUGH, /* beside others */
    SLOTS_MOST = 16 * 1024,
};

/* ---- at rest ----------------------------------------------------------- */

/* The first one may read pages, or wait until its reader reads; what is behind
 * it waits for it, and for nothing else. */
static bool starts_at_rest(const struct conn *c)
{
    const struct start *s = conn_starts(c);

    if (!s)
        return true;
    if ((!catchup_under_way(c) && !start_waits_for_reader(c)) || s->saying ||
        s->gone)
        return false;
    while ((s = s->next))
        if (s->state != START_LOGIN || s->logins || s->saying)
            return false;
    return true;
}

static bool holds(struct conn *c)
{
    return c->state == CONN_OPEN && starts_at_rest(c) &&
           !c->gw->edge->at_rest(c);
}

static bool conn_at_rest(struct conn *c)
{
    return c->state != CONN_OPEN ||
           (starts_at_rest(c) && !conn_out_failed(c) &&
            c->gw->edge->at_rest(c));
}

static bool asks_at_rest(const struct gateway *g)
{
    LIST_FOREACH(k, &g->asks.waiting, struct ask, node)
        if (k->kind != ASK_PAGE)
            return false;
    return true;
}

/* NULL: all are. */
static struct conn *find_restless(struct gateway *g, uint32_t *last)
{
    struct conn *c = *last < g->conns.used ? conns_at(&g->conns, *last) : NULL;

    for (uint32_t i = 0; !c || conn_at_rest(c); i++) {
        if (i == g->conns.used)
            return NULL;
        c = conns_at(&g->conns, i);
        *last = i;
    }
    return c;
}

enum freeze_rest freeze_look(struct gateway *g, uint32_t *last,
                             const char **why)
{
    static _Thread_local char text[120];
    struct conn *c = NULL;

    *why = text;
    if (!g->linked || g->resyncing || !pipe_is_up(g->pipe))
        snprintf(text, sizeof text, "%s: the router is away", g->name);
    else if (!asks_at_rest(g))
        snprintf(text, sizeof text, "%s: the router has not answered", g->name);
    else if (!(c = find_restless(g, last)))
        return FREEZE_RESTS;
    else
        snprintf(text, sizeof text, "%s is in the middle of something",
                 conn_text(c));
    return c && holds(c) ? FREEZE_HELD : FREEZE_WAITS;
}

unsigned freeze_cut(struct gateway *g)
{
    unsigned cut = 0;
    uint32_t i = 0;
    struct conn *c;

    while ((c = conns_next_open(&g->conns, &i)))
        if (holds(c)) {
            conn_cut(c, STAT_CUT_UPGRADE);
            cut++;
        }
    return cut;
}

/* ---- the worker, and its link ------------------------------------------- */

static void write_worker(struct freezer *f)
{
    struct gateway *g = f->g;
    struct buf *b = &f->body;
    size_t at;

    put_str8(b, slice_str(g->name));
    put_str8(b, slice_str(g->epoch.text));
    put_u64(b, g->router_life);
    put_u64(b, g->life_seq);
    put_u64(b, g->told);
    put_u64(b, g->seq);
    put_u64(b, g->served);
    put_u32(b, g->retry_slot);
    put_u64(b, g->asks.next_number);
    put_u64(b, g->ring.first);
    put_u64(b, g->ring.next);
    put_u64(b, g->ring.gone_seq);
    put_u32(b, g->conns.first_gen);
    put_i64(b, g->conns.ping_began_ns);
    put_u32(b, g->conns.ping_step);
    put_u32(b, g->conns.ping_next);
    at = b->len;
    put_u32(b, 0);
    if (g->edge->freeze_worker)
        g->edge->freeze_worker(g, b);
    put_u32_at(b, at, (uint32_t)(b->len - at - sizeof(uint32_t)));
    joiner_freeze(g->joiner, b);
}

/* ---- topics and the ring ------------------------------------------------- */

static void write_topic(struct buf *b, const struct topic *t)
{
    const struct topic_past *past = topic_past(t);
    const struct snapshot *s = past->snapshot;

    put_str8(b, topic_id(t));
    put_u32(b, t->seats.flags & ~(uint32_t)TOPIC_PATTERN);
    put_u64(b, t->floor);
    put_u64(b, past->last_seq);
    put_u64(b, past->last_offset);
    put_u64(b, past->trimmed_seq);
    put_u64(b, past->trimmed_offset);
    put_u8(b, s != NULL);
    if (!s)
        return;
    put_u64(b, s->seq);
    put_u64(b, s->tick);
    put_u64(b, s->told);
    put_str32(b, slice_make(s->state, s->len));
}

/* False: that was the last. */
static bool write_topics(struct freezer *f)
{
    struct map_node *n;

    while (f->body.len < BODY_ENOUGH) {
        if (!map_next(&f->topics, &n))
            return false;
        write_topic(&f->body, CONTAINER_OF(n, struct topic, by_id));
    }
    return true;
}

static void write_entry(struct buf *b, const struct ring_entry *e)
{
    const struct msg *m = e->msg;
    struct msg_parts p = {
        .format = m->format, .flags = m->flags, .seq = m->seq,
        .offset = m->offset, .ts_ms = m->ts_ms, .id = m->id, .from = m->from,
        .kind = m->kind, .key = m->key, .data = m->data,
    };
    struct gap gap; /* its data is a struct: written member by member */
    bool is_gap = deliver_read_gap(m, &gap);
    size_t at;

    put_i64(b, e->came_ns);
    put_u32(b, e->newer);
    put_u8(b, e->share);
    at = b->len;
    put_u32(b, 0);
    if (is_gap)
        p.data = slice_make(NULL, 0);
    frame_write_deliver(b, &p);
    put_u32_at(b, at, (uint32_t)(b->len - at - sizeof(uint32_t)));
    if (!is_gap)
        return;
    put_u64(b, gap.from);
    put_u64(b, gap.to);
    put_u8(b, (uint8_t)gap.why);
}

static bool write_ring(struct freezer *f)
{
    while (f->body.len < BODY_ENOUGH) {
        if (f->tick == f->g->ring.next)
            return false;
        write_entry(&f->body, ring_at(&f->g->ring, f->tick++));
    }
    return true;
}

/* ---- slots and connections ------------------------------------------------ */

static bool write_slots(struct freezer *f)
{
    struct conns *cs = &f->g->conns;

    for (unsigned i = 0; i < SLOTS_MOST; i++) {
        if (f->number == cs->used)
            return false;
        put_u32(&f->body, conns_gen(cs, f->number++));
    }
    return true;
}

static void write_known(struct buf *b, const struct start *s)
{
    struct marks_iter it = marks_iter(&s->known);
    struct slice id;
    uint64_t offset;

    put_u32(b, (uint32_t)marks_count(&s->known));
    while (marks_next(&it, &id, &offset)) {
        put_str8(b, id);
        put_u64(b, offset);
    }
}

static void write_start(struct buf *b, const struct start *s)
{
    unsigned flags = 0;

    flags |= s->silent ? FROZEN_SILENT : 0u;
    flags |= s->has_since ? FROZEN_HAS_SINCE : 0u;
    flags |= s->late ? FROZEN_LATE : 0u;
    flags |= s->said ? FROZEN_SAID : 0u;
    flags |= s->gone ? FROZEN_GONE : 0u;
    flags |= s->asked ? FROZEN_ASKED : 0u;
    flags |= s->has_reason ? FROZEN_HAS_REASON : 0u;
    flags |= s->all ? FROZEN_ALL : 0u;
    put_u8(b, s->state);
    put_u16(b, (uint16_t)flags);
    put_u8(b, s->reason);
    put_u32(b, s->ref);
    put_u64(b, s->told);
    put_str8(b, slice_str(s->since.epoch.text));
    put_u64(b, s->since.seq);
    put_u64(b, s->seq);
    put_u64(b, s->tick);
    put_u64(b, s->paged);
    put_u64(b, s->until);
    put_u64(b, s->reach);
    write_known(b, s);
    put_u32(b, s->count);
    for (unsigned i = 0; i < s->count; i++) {
        const struct start_topic *st = &s->topics[i];

        put_str8(b, topic_id(st->topic));
        put_u8(b, st->verdict);
        put_u8(b, st->why);
        put_u8(b, (uint8_t)((st->gap ? FROZEN_GAP : 0u) |
                            (st->missed ? FROZEN_MISSED : 0u) |
                            (st->paged ? FROZEN_PAGED : 0u) |
                            (st->held ? FROZEN_HELD : 0u) |
                            (st->beside ? FROZEN_BESIDE : 0u) |
                            (st->changed ? FROZEN_CHANGED : 0u)));
        put_u64(b, st->from);
        put_u64(b, st->to);
    }
}

static void write_starts(struct buf *b, const struct conn *c)
{
    size_t at = b->len;
    uint32_t n = 0;

    put_u32(b, 0);
    for (const struct start *s = conn_starts(c); s; s = s->next, n++)
        write_start(b, s);
    put_u32_at(b, at, n);
}

static void write_seats(struct buf *b, struct conn *c)
{
    struct seat_iter it = seats_of_conn(&c->seats);
    struct seat *s;

    put_u32(b, c->seats.count);
    while ((s = seat_next(&it))) {
        put_str8(b, topic_id(topic_of_seat(s)));
        put_str8(b, seat_name(s));
    }
}

/* Who waits to be passed on (pass.h) asks the successor anew. */
static bool is_paused(const struct conn *c)
{
    return (c->flags & CONN_PAUSED) && !(conn_busy(c) && conn_busy(c)->pass_ns);
}

static unsigned frozen_flags(const struct conn *c)
{
    unsigned flags = 0;

    flags |= c->flags & CONN_WANT_DRAINED ? FROZEN_WANT_DRAINED : 0u;
    flags |= is_paused(c) ? FROZEN_PAUSED : 0u;
    flags |= c->flags & CONN_MANY ? FROZEN_MANY : 0u;
    flags |= c->flags & CONN_PINGS ? FROZEN_PINGS : 0u;
    flags |= c->flags & CONN_PINGS_NEW ? FROZEN_PINGS_NEW : 0u;
    flags |= conn_lags(c) ? FROZEN_LAGS : 0u;
    return flags;
}

static void write_guest(struct buf *b, const struct conn *c)
{
    const struct conn_busy *x = conn_busy(c);
    struct guest g = {.listener = c->listener};

    g.flags |= c->flags & CONN_LOOPBACK ? GUEST_LOOPBACK : 0;
    g.flags |= c->flags & CONN_AT_LOOPBACK ? GUEST_AT_LOOPBACK : 0;
    g.flags |= c->flags & CONN_ADMIN ? GUEST_ADMIN : 0;
    g.flags |= c->flags & CONN_HEADER_DUE ? GUEST_HEADER_DUE : 0;
    g.flags |= c->flags & CONN_INPUT_END ? GUEST_INPUT_END : 0;
    if (x) {
        g.share = x->share;
        g.proxied = x->proxied;
        g.forwarded = x->forwarded;
        g.in = x->in ? buf_slice(x->in) : g.in;
    }
    guest_write(b, &g);
}

/* Milliseconds until then and one; 0: there is none. */
static uint32_t deadline_of(const struct conn *c)
{
    struct wheel *w = &c->gw->wheel;
    int32_t steps;

    if (!c->extra || !list_linked(&c->extra->deadline.node))
        return 0;
    steps = (int32_t)(c->extra->deadline.due - wheel_in(w, 0));
    return 1 + (steps > 0 ? (uint32_t)steps * WHEEL_STEP_MS : 0);
}

/* Who does not lag has what everybody has. */
static uint64_t tick_of(const struct freezer *f, const struct conn *c)
{
    return c->flow == FLOW_LIVE && !conn_lags(c) ? MAX(c->tick, f->settled)
                                                 : c->tick;
}

static void write_conn(struct freezer *f, struct conn *c)
{
    struct buf *b = &f->body;
    const struct conn_busy *x = conn_busy(c);
    size_t at;

    put_u32(b, c->number);
    put_u32(b, conn_gen(c));
    write_guest(b, c);
    put_u16(b, (uint16_t)frozen_flags(c));
    put_u8(b, c->flow);
    put_u64(b, tick_of(f, c));
    put_u32(b, deadline_of(c));
    put_i64(b, conn_lags(c) ? x->lagging_ns : 0);
    put_str8(b, x && x->token ? slice_str(x->token->name) : SLICE(""));
    put_str32(b, x && x->out ? buf_slice(x->out) : slice_make(NULL, 0));
    write_seats(b, c);
    write_starts(b, c);
    thin_freeze(c, b);
    at = b->len;
    put_u32(b, 0);
    f->g->edge->freeze(c, b);
    put_u32_at(b, at, (uint32_t)(b->len - at - sizeof(uint32_t)));
    f->files[f->file_count++] = c->fd;
    f->conns++;
}

/* It is too much for a message. */
static void leave_behind(struct freezer *f, const struct conn *c, size_t at)
{
    buf_truncate(&f->body, at);
    f->file_count--;
    f->conns--;
    put_u32(&f->left, c->number);
    put_u32(&f->left, conn_gen(c));
}

static bool write_conns(struct freezer *f)
{
    struct conn *c;

    while (f->body.len < BODY_ENOUGH && f->file_count < CONNS_MOST) {
        size_t at = f->body.len;

        c = conns_next_open(&f->g->conns, &f->number);
        if (!c)
            return false;
        write_conn(f, c);
        if (f->body.len - at > CONN_LARGEST)
            leave_behind(f, c, at);
    }
    return true;
}

/* ---- one message after the other ------------------------------------------ */

void freezer_init(struct freezer *f, struct gateway *g)
{
    *f = (struct freezer){.g = g, .kind = 0};
    f->settled = fanout_settled(g);
}

void freezer_fini(struct freezer *f)
{
    buf_fini(&f->body);
    buf_fini(&f->left);
}

static void begin(struct freezer *f, enum freeze_kind kind)
{
    f->kind = (uint8_t)kind;
    f->number = 0;
    if (kind == FREEZE_TOPICS)
        f->topics = map_iter(&f->g->topics.by_id);
    else if (kind == FREEZE_RING)
        f->tick = f->g->ring.first;
}

/* True: more of the same kind is left. */
static bool write_some(struct freezer *f)
{
    switch ((enum freeze_kind)f->kind) {
    case FREEZE_WORKER:
        write_worker(f);
        return false;
    case FREEZE_TOPICS:
        return write_topics(f);
    case FREEZE_RING:
        return write_ring(f);
    case FREEZE_SLOTS:
        return write_slots(f);
    case FREEZE_CONNS:
        return write_conns(f);
    case FREEZE_END:
        put_u32(&f->body, f->conns);
        put_str32(&f->body, buf_slice(&f->left));
        return false;
    }
    return false;
}

int freezer_next(struct freezer *f)
{
    buf_reset(&f->body);
    f->file_count = 0;
    if (f->kind == FREEZE_END && !f->more)
        return ERR_NOT_FOUND;
    if (!f->more)
        begin(f, f->kind ? f->kind + 1 : FREEZE_WORKER);
    f->more = write_some(f);
    return f->body.failed || f->left.failed ? ERR_NOMEM : 0;
}

/* ---- parting ---------------------------------------------------------------- */

/* The router hears of them from the successor. */
static void cut_left(struct freezer *f)
{
    struct cursor left = cursor_init(buf_slice(&f->left));

    while (!cursor_all_read(&left)) {
        uint32_t number = cursor_u32(&left), gen = cursor_u32(&left);
        struct conn *c = conn_by_name(f->g, number, gen);

        if (c)
            conn_cut(c, STAT_CUT_UPGRADE);
    }
}

void freezer_part(struct freezer *f)
{
    struct gateway *g = f->g;
    uint32_t i = 0;
    struct conn *c;

    joiner_part(g->joiner);
    uplink_close(g);
    cut_left(f);
    while ((c = conns_next_open(&g->conns, &i)))
        conn_part(c);
}
