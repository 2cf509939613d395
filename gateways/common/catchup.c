#include "gateways/common/catchup.h"

#include <stdlib.h>

#include "gateways/common/core.h"
#include "gateways/common/pull.h"
#include "gateways/common/restart.h"
#include "gateways/common/tell.h"
#include "gateways/common/verdict.h"
#include "proto/frame_io.h"

enum {
    FETCHES_MAX = 8, /* pages under way for one gateway */
    FIRST_PAGE_BYTES = 256 * 1024,
    PAGES_COUNTED = 8,
    FEW_CHANNELS = 64,
};

/* ---- rows that wait ------------------------------------------------------ */

/* The item that *at points to. */
static void drop_item(struct start *s, struct start_item **at)
{
    struct start_item *i = *at;

    *at = i->next;
    if (!i->next)
        s->rows_end = at;
    s->rows_bytes -= msg_size(i->msg);
    s->conn->gw->queued -= msg_size(i->msg);
    msg_drop(i->msg);
    free(i);
}

void catchup_drop_all(struct start *s)
{
    while (s->rows)
        drop_item(s, &s->rows);
}

/* Items of pages that were for a channel that has been left. */
void catchup_drop_unwanted(struct start *s)
{
    struct start_item **at = &s->rows;

    while (*at)
        if ((*at)->msg->id.len == 0 || start_wants(s, (*at)->msg->id))
            at = &(*at)->next;
        else
            drop_item(s, at);
}

/* ---- pages ------------------------------------------------------------- */

uint64_t catchup_seq(const struct start *s)
{
    return s->paged;
}

/* Twice as much each time that a page has been taken: who asks and does not
 * stay has cost little. Not for patterns and very many channels, where looking
 * for the messages may be dearer than reading them. */
static size_t page_bytes(const struct start *s)
{
    size_t most = s->conn->gw->config->limits.page_bytes;

    for (unsigned i = 0; i < s->count; i++)
        if (s->topics[i].topic->seats.flags & TOPIC_PATTERN)
            return most;
    return s->count > FEW_CHANNELS
               ? most : MIN((size_t)FIRST_PAGE_BYTES << s->pages, most);
}

static void fetch(struct start *s)
{
    struct gateway *g = s->conn->gw;
    const struct config_limits *limits = &g->config->limits;
    struct ask *k = ask_new(s->conn, ASK_PAGE, 0);
    struct frame_fetch f = {
        .mode = FETCH_SINCE,
        .after = s->paged,
        .limit = (uint32_t)limits->page,
        .bytes = (uint32_t)page_bytes(s),
        .count = (uint16_t)s->count,
    };

    if (!k) {
        conn_abort(s->conn, "memory");
        return;
    }
    f.ref = (uint32_t)k->number;
    k->code = FRAME_FETCH;
    frame_write_fetch(&k->frame, &f);
    for (unsigned i = 0; i < s->count; i++)
        frame_write_id(&k->frame, topic_id(s->topics[i].topic));
    s->fetch = k->number;
    s->asked_bytes = f.bytes;
    if (s->pages < PAGES_COUNTED)
        s->pages++;
    g->fetches++;
    if (ask_send(g, k) < 0)
        conn_abort(s->conn, "memory");
}

void catchup_fetch_next(struct gateway *g)
{
    struct list_node *n;

    while (g->fetches < FETCHES_MAX && (n = list_pop(&g->paging)))
        fetch(CONTAINER_OF(n, struct start, node));
}

void catchup_seq_moved(struct gateway *g)
{
    struct list_node mine;
    struct list_node *n;

    list_init(&mine);
    list_splice_tail(&mine, &g->ahead);
    while ((n = list_pop(&mine)))
        catchup_advance(CONTAINER_OF(n, struct start, node)->conn);
}

static struct start *paging(const struct conn *c)
{
    struct start *s = conn_starts(c);

    if (s && (s->state == START_PAGING || s->state == START_REPLAY))
        return s;
    return NULL;
}

bool catchup_under_way(const struct conn *c)
{
    return paging(c) != NULL;
}

static struct start_item *add_item(struct start *s, struct msg *m)
{
    struct start_item *i = calloc(1, sizeof *i);

    if (!i) {
        msg_drop(m);
        conn_abort(s->conn, "memory");
        return NULL;
    }
    i->msg = m;
    *s->rows_end = i;
    s->rows_end = &i->next;
    s->rows_bytes += msg_size(m);
    s->conn->gw->queued += msg_size(m);
    return i;
}

/* The state is not what this message alone makes of it. */
static void note_change(struct start *s, const struct msg *m)
{
    for (unsigned i = 0; m->flags & MSG_RESNAPSHOT && i < s->count; i++)
        if (slice_eq(topic_id(s->topics[i].topic), m->id))
            s->topics[i].changed = true;
}

/* Takes m. */
void catchup_row(struct conn *c, uint64_t number, struct msg *m)
{
    struct start *s = paging(c);

    if (!s || s->fetch != number || !start_wants(s, m->id)) {
        msg_drop(m);
        return;
    }
    if (add_item(s, m))
        note_change(s, m);
}

/* Who asks for all that is kept misses nothing that is not; and what the
 * start has told already is not told again. */
static bool knows_hole(const struct start *s, const struct frame_hole *h)
{
    if (h->why != HOLE_TRIMMED || s->since.seq == 0)
        return h->why == HOLE_TRIMMED;
    for (unsigned i = 0; i < s->count; i++)
        if (s->topics[i].gap && s->topics[i].why == GAP_TRIMMED &&
            slice_eq(topic_id(s->topics[i].topic), h->id))
            return h->to <= s->topics[i].to;
    return false;
}

void catchup_hole(struct conn *c, uint64_t number, const struct frame_hole *h)
{
    struct start *s = paging(c);
    struct start_item *i;
    struct msg *m;

    if (!s || s->fetch != number || knows_hole(s, h))
        return;
    if (msg_new(&m, &(struct msg_parts){.id = h->id, .seq = h->seq}) < 0) {
        conn_abort(c, "memory");
        return;
    }
    i = add_item(s, m);
    if (!i)
        return;
    i->hole = true;
    i->why = h->why == HOLE_TRIMMED ? GAP_TRIMMED : GAP_DAMAGED;
    i->from = h->from;
    i->to = h->to;
}

/* Which bound has cut the page short? None, if it asked for less. */
static void count_page(const struct start *s)
{
    struct gateway *g = s->conn->gw;
    size_t rows = 0;

    for (const struct start_item *i = s->rows; i; i = i->next)
        rows += !i->hole;
    if (rows >= g->config->limits.page)
        gateway_limit(g, LIMIT_PAGE);
    else if (s->asked_bytes == g->config->limits.page_bytes)
        gateway_limit(g, LIMIT_PAGE_BYTES);
}

void catchup_page_end(struct conn *c, uint64_t number, int err, bool more,
                      uint64_t upto)
{
    struct start *s = paging(c);

    if (!s || s->fetch != number)
        return;
    s->fetch = 0;
    if (err) {
        c->gw->edge->drain(c); /* its cursor says where to go on */
        return;
    }
    s->pages_done = !more;
    s->seq = upto;
    if (more)
        count_page(s);
    if (c->flags & CONN_STALLED)
        return;
    if (s->rows)
        conn_dirty(c);
    else
        catchup_advance(c);
}

/* ---- to the socket ------------------------------------------------------ */

static void tell_hole(struct conn *c, const struct start_item *i,
                      struct slice id)
{
    struct start *s = conn_starts(c);
    struct notice n = {
        .kind = NOTICE_GAP,
        .channels = &id,
        .count = 1,
        .why = i->why,
        .from = i->from,
        .to = i->to,
        .missed = i->from && i->to ? i->to - i->from + 1 : 0,
    };

    stat_add(&c->gw->stats, STAT_GAPS_TRIMMED + (unsigned)i->why, 1);
    tell_notice(s, &n, s->paged);
}

/* One item into v. False: no room, or it went to out instead. */
static bool put_item(struct conn *c, struct outvec *v,
                     const struct start_item *i, uint64_t number)
{
    const struct edge *edge = c->gw->edge;
    unsigned flags = conn_starts(c)->state == START_REPLAY ? PUT_REPLAY : 0;
    unsigned iovs = v->iovs;
    size_t bytes = v->bytes;

    if (!outvec_room(v))
        return false;
    if (edge->put(c, i->msg, flags, v) == PUT_FULL) {
        outvec_rewind(v, iovs, bytes);
        return false;
    }
    outvec_mark(v, number);
    stat_add(&c->gw->stats, STAT_DELIVERED, 1);
    return true;
}

/* One that names no id may have been of any. */
static void tell_hole_of_all(struct conn *c, const struct start_item *i)
{
    const struct start *s = conn_starts(c);

    for (unsigned k = 0; paging(c) == s && k < s->count; k++)
        tell_hole(c, i, topic_id(s->topics[k].topic));
}

/* Holes in front of all else go to out, where there is one; an edge that
 * answers once (a poll) keeps them. False: out goes first. */
static bool tell_holes(struct conn *c)
{
    struct start *s;

    while ((s = paging(c)) && s->rows && s->rows->hole) {
        struct start_item hole = *s->rows;

        msg_hold(hole.msg); /* told last: an edge may leave the channel */
        catchup_rows_out(c, 1);
        if (hole.msg->id.len)
            tell_hole(c, &hole, hole.msg->id);
        else
            tell_hole_of_all(c, &hole);
        msg_drop(hole.msg);
        if (conn_has_out(c))
            return false;
    }
    return true;
}

bool catchup_pull(struct conn *c, struct outvec *v)
{
    struct start *s;
    uint64_t number = 1;

    if (v->bytes == 0 && !tell_holes(c))
        return false;
    s = paging(c);
    if (!s)
        return true;
    for (struct start_item *i = s->rows; i; i = i->next, number++)
        if (i->hole || !put_item(c, v, i, number) || conn_starts(c) != s)
            return false;
    return true;
}

void catchup_rows_out(struct conn *c, uint64_t rows)
{
    struct start *s = paging(c);

    while (s && rows-- && s->rows) {
        if (!s->rows->hole)
            s->paged = s->rows->msg->seq;
        drop_item(s, &s->rows);
    }
}

/* The pages have come up to what the ring still has: the ring goes on. */
static bool meets_ring(const struct start *s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (!(s->topics[i].topic->seats.flags & TOPIC_VOLATILE) &&
            verdict_floor(s->conn->gw, s->topics[i].topic) > s->paged)
            return false;
    return true;
}

/* A gap of a pattern is for those who hold that pattern. */
static bool replays(const struct start *s, const struct ring_entry *e)
{
    return e->topic->seats.flags & TOPIC_PATTERN
               ? start_mutes(s, e->topic) : start_wants(s, e->msg->id);
}

/* One entry of the ring, to out. */
static void replay_entry(struct start *s, struct ring_entry *e)
{
    struct conn *c = s->conn;
    struct outvec *v = c->gw->out;

    if (e->msg->flags & MSG_NOTICE) {
        if (slice_eq(e->msg->kind, SLICE("gap")))
            pull_notice(c, e);
        return;
    }
    outvec_reset(v);
    if (c->gw->edge->put(c, e->msg, PUT_REPLAY, v) == PUT_OK)
        outvec_copy(v, 0, v->bytes, conn_out(c));
    note_change(s, e->msg);
}

/* What the ring has of this start's topics up to the connection's place, sent
 * as part of the replay: the connection has passed it. False: there is more,
 * for when this has left. */
static bool replay_ring(struct start *s)
{
    struct conn *c = s->conn;
    struct ring *r = &c->gw->ring;

    for (uint64_t t = ring_tick_of(r, s->paged) + 1;
         t <= c->tick && !s->dropped; t++) {
        struct ring_entry *e = ring_at(r, t);

        if (!e || !replays(s, e))
            continue;
        if (e->msg->seq > s->paged && conn_out_pending(c) > OUTVEC_BYTES)
            return false;
        s->paged = MAX(s->paged, e->msg->seq);
        replay_entry(s, e);
    }
    return true;
}

static void tell_resumed(struct start *s)
{
    struct slice *ids = malloc((s->count + 1) * sizeof *ids);

    if (!ids) {
        conn_abort(s->conn, "memory");
        return;
    }
    for (unsigned i = 0; i < s->count; i++)
        ids[i] = topic_id(s->topics[i].topic);
    tell_group(s, NOTICE_RESUMED, ids, s->count, s->conn->gw->seq);
    free(ids);
}

static void end_replay(struct start *s)
{
    struct conn *c = s->conn;
    bool whole;

    s->saying = true;
    whole = replay_ring(s);
    if (whole && !s->dropped) {
        pull_settle(c, ring_end(&c->gw->ring));
        whole = replay_ring(s);
    }
    if (whole && !s->dropped)
        tell_resumed(s);
    if (start_told(s) && whole)
        start_finish(s);
}

void catchup_advance(struct conn *c)
{
    struct start *s = paging(c);

    if (!s || s->rows || s->fetch || c->state != CONN_OPEN)
        return;
    s->paged = MAX(s->paged, s->seq);
    s->pages_done |= s->count == 0;
    if (s->paged > c->gw->seq) { /* the stream would bring it once more */
        list_remove(&s->node);
        list_add_tail(&c->gw->ahead, &s->node);
        return;
    }
    if (!s->pages_done || !meets_ring(s)) {
        s->pages_done = false;
        list_remove(&s->node);
        list_add_tail(&c->gw->paging, &s->node);
        catchup_fetch_next(c->gw);
        return;
    }
    if (s->state == START_REPLAY) {
        end_replay(s);
        return;
    }
    c->tick = ring_tick_of(&c->gw->ring, s->paged);
    start_finish(s);
}

void catchup_begin(struct start *s, enum start_state state)
{
    s->state = (uint8_t)state;
    s->paged = s->seq = s->since.seq;
    s->pages_done = !verdict_needs_pages(s);
    stat_add(&s->conn->gw->stats,
             s->pages_done ? STAT_STARTS_RING : STAT_STARTS_STORE, 1);
    if (state == START_PAGING)
        s->conn->flow = FLOW_PAGING;
    catchup_advance(s->conn);
}
