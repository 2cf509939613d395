#include "gateways/common/catchup.h"

#include <stdlib.h>

#include "gateways/common/core.h"
#include "gateways/common/pull.h"
#include "gateways/common/restart.h"
#include "gateways/common/tell.h"
#include "gateways/common/verdict.h"

enum { PAGES_COUNTED = 8 };

uint64_t catchup_seq(const struct start *s)
{
    return s->paged;
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

bool catchup_beside(const struct conn *c)
{
    const struct start *s = paging(c);

    return s && s->state == START_REPLAY;
}

size_t catchup_bytes(const struct conn *c)
{
    const struct start *s = paging(c);

    return s && s->page ? page_share(s->page) : 0;
}

/* ---- the page being read ------------------------------------------------- */

static void leave_page(struct start *s)
{
    page_drop(s->conn->gw, s->page);
    s->page = NULL;
    s->item = 0;
}

void catchup_leave(struct start *s)
{
    leave_page(s);
    shelf_drop(s->conn->gw, s->shelf);
    s->shelf = NULL;
}

static struct start_topic *topic_named(struct start *s, struct slice id)
{
    for (unsigned i = 0; i < s->count; i++)
        if (slice_eq(topic_id(s->topics[i].topic), id))
            return &s->topics[i];
    return NULL;
}

/* Has it got, or been told of, everything of this id up to this offset? */
static bool is_known(struct start *s, struct slice id, uint64_t offset)
{
    const struct start_topic *st = topic_named(s, id);

    return (st && st->gap && st->why == GAP_TRIMMED && offset <= st->to) ||
           offset <= marks_of(&s->known, id);
}

/* Who asks for all that is kept misses nothing that was not kept when it began;
 * and what the start has told already is not told again. */
static bool knows_hole(struct start *s, const struct page_item *i)
{
    if (i->why != GAP_TRIMMED)
        return false;
    if (verdict_wants_all(s) && !i->from && !marks_of(&s->known, i->msg->id))
        return true;
    return is_known(s, i->msg->id, i->to);
}

/* Is this item of the page not for s? The page is also others'. */
static bool is_passed(struct start *s, const struct page_item *i)
{
    if (i->hole)
        return i->seq <= s->joined || knows_hole(s, i) ||
               (i->msg->id.len && !start_wants(s, i->msg->id));
    return i->seq <= s->paged || !start_wants(s, i->msg->id) ||
           is_known(s, i->msg->id, i->msg->offset);
}

/* Does it begin where the ring goes on for s? A hole stands where it begins, and
 * says where it ends: as far as the page reaches, which is read later than s was
 * told its end, or further. Only of a single message both are one. */
static bool begins_behind(const struct start *s, const struct page_item *i)
{
    bool single = i->why == GAP_DAMAGED && i->from && i->from == i->to;

    return i->seq > s->until && (!i->hole || single);
}

/* The item at *at or behind it that is next for s; NULL: the page has no more
 * for it. */
static const struct page_item *next_item(struct start *s, size_t *at)
{
    for (; s->page && *at < s->page->count; ++*at) {
        const struct page_item *i = &s->page->items[*at];

        if (begins_behind(s, i))
            break;
        if (!is_passed(s, i))
            return i;
    }
    return NULL;
}

/* The state is not what this message alone makes of it. */
static void note_change(struct start *s, const struct msg *m)
{
    struct start_topic *st =
        m->flags & MSG_RESNAPSHOT ? topic_named(s, m->id) : NULL;

    if (st)
        st->changed = true;
}

/* False: no memory, and the connection is gone. */
static bool note_known(struct start *s, struct slice id, uint64_t offset)
{
    if (marks_raise(&s->known, id, offset) == 0)
        return true;
    conn_abort(s->conn, "memory");
    return false;
}

static bool pass(struct start *s, const struct page_item *i)
{
    if (i->hole || is_passed(s, i))
        return true;
    note_change(s, i->msg);
    s->paged = i->seq;
    return !verdict_wants_all(s) ||
           note_known(s, i->msg->id, i->msg->offset);
}

void catchup_rows_out(struct conn *c, uint64_t items)
{
    struct start *s = paging(c);

    for (; s && s->page && items-- && s->item < s->page->count; s->item++)
        if (!pass(s, &s->page->items[s->item]))
            return;
}

/* ---- which pages --------------------------------------------------------- */

static bool is_read(const struct start *s, const struct start_topic *st)
{
    return !(st->topic->seats.flags & TOPIC_VOLATILE) &&
           (s->all || st->missed);
}

static struct shelf *shelf_of(struct start *s)
{
    struct slice *ids = calloc(s->count + 1, sizeof *ids);
    struct shelf *f = NULL;
    unsigned n = 0;

    for (unsigned i = 0; ids && i < s->count; i++)
        if (is_read(s, &s->topics[i]))
            ids[n++] = topic_id(s->topics[i].topic);
    if (n)
        f = shelf_get(s->conn->gw, ids, n);
    free(ids);
    return f;
}

/* Takes the page where it stands, or waits for it. */
static void take_page(struct start *s)
{
    if (!s->shelf)
        s->shelf = shelf_of(s);
    if (!s->shelf) {
        conn_abort(s->conn, "memory");
        return;
    }
    s->joined = s->paged;
    s->page = pages_take(s);
    if (!s->page)
        return;
    if (s->pages < PAGES_COUNTED)
        s->pages++;
    if (!(s->conn->flags & CONN_STALLED))
        conn_dirty(s->conn);
}

void catchup_served(struct start *s)
{
    catchup_advance(s->conn); /* where it stood, for want of this page */
}

void catchup_unread(struct start *s)
{
    static const struct give_up why = {
        "unread", "store.failed",
        "what you have missed cannot be read just now"};

    conn_give_up(s->conn, &why);
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

/* ---- to the socket ------------------------------------------------------ */

static void tell_hole(struct conn *c, const struct page_item *i,
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
    if (s->state == START_REPLAY)
        c->gw->edge->notice(c, &n); /* beside what is live: without a cursor */
    else
        tell_notice(s, &n, s->paged);
}

/* One item into v. False: no room, or it went to out instead. */
static bool put_item(struct conn *c, struct outvec *v,
                     const struct page_item *i, uint64_t number)
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
static void tell_hole_of_all(struct conn *c, const struct page_item *i)
{
    const struct start *s = conn_starts(c);

    for (unsigned k = 0; paging(c) == s && k < s->count; k++)
        tell_hole(c, i, topic_id(s->topics[k].topic));
}

/* What was trimmed is not told twice, nor are rows given that others have of
 * it still. False: as note_known(). */
static bool note_trimmed(struct start *s, const struct page_item *i)
{
    if (i->why != GAP_TRIMMED)
        return true;
    s->reach = MAX(s->reach, i->seq);
    return note_known(s, i->msg->id, i->to);
}

/* Holes in front of all else go to out, where there is one; an edge that
 * answers once (a poll) keeps them. False: out goes first. */
static bool tell_holes(struct conn *c)
{
    const struct page_item *i;
    struct start *s;

    while ((s = paging(c)) && (i = next_item(s, &s->item)) && i->hole) {
        struct page_item hole = *i;

        msg_hold(hole.msg); /* told last: an edge may leave the channel */
        s->item++;
        if (!hole.msg->id.len)
            tell_hole_of_all(c, &hole);
        else if (note_trimmed(s, &hole))
            tell_hole(c, &hole, hole.msg->id);
        msg_drop(hole.msg);
        if (conn_has_out(c))
            return false;
    }
    return true;
}

/* Rows from its place on, up to a hole. False: v is full, or a hole comes. */
static bool put_rows(struct conn *c, struct start *s, struct outvec *v)
{
    size_t begin = s->item, at = begin;
    const struct page_item *i;

    for (; (i = next_item(s, &at)); at++)
        if (i->hole || !put_item(c, v, i, at - begin + 1) ||
            conn_starts(c) != s)
            return false;
    return true;
}

bool catchup_pull(struct conn *c, struct outvec *v)
{
    struct gateway *g = c->gw;
    struct start *s;
    struct page *p;
    bool all;

    if (v->bytes == 0 && !tell_holes(c))
        return false;
    s = paging(c);
    if (!s || !s->page)
        return true;
    p = page_hold(s->page); /* an edge may abort the connection */
    all = put_rows(c, s, v);
    page_drop(g, p);
    return all;
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
            pull_notice(c, e, true);
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
    whole = replay_ring(s) && (s->dropped || conn_may_settle(c));
    if (whole && !s->dropped) {
        pull_settle(c, ring_end(&c->gw->ring));
        whole = replay_ring(s);
    }
    if (whole && !s->dropped)
        tell_resumed(s);
    if (start_told(s) && whole)
        start_finish(s);
}

/* The page has nothing more for s. */
static void end_page(struct start *s)
{
    s->paged = MAX(s->paged, MIN(s->page->upto, s->until));
    leave_page(s);
}

/* The ring's part of what has no history is passed by, with the rest. */
static void tell_passed(struct start *s)
{
    struct conn *c = s->conn;
    const struct page_item hole = {.hole = true, .why = GAP_VOLATILE};

    for (unsigned i = 0; paging(c) == s && i < s->count; i++) {
        struct topic *t = s->topics[i].topic;

        if ((t->seats.flags & TOPIC_VOLATILE) &&
            topic_past(t)->last_seq > s->paged)
            tell_hole(c, &hole, topic_id(t));
    }
}

/* The ring does not go on where the pages have ended, or not without what has been
 * told to be trimmed: more of them, of all channels, up to where the link stands
 * now. False: s is gone. */
static bool widen(struct start *s)
{
    s->all = true;
    s->until = s->conn->gw->seq;
    shelf_drop(s->conn->gw, s->shelf);
    s->shelf = NULL;
    s->saying = true;
    tell_passed(s);
    return start_told(s);
}

static void go_live(struct start *s)
{
    struct conn *c = s->conn;

    if (s->state == START_REPLAY) {
        end_replay(s);
        return;
    }
    c->tick = ring_tick_of(&c->gw->ring, s->paged);
    start_finish(s);
}

void catchup_advance(struct conn *c)
{
    struct start *s = paging(c);

    if (!s || c->state != CONN_OPEN || list_linked(&s->node))
        return;
    if (s->page && next_item(s, &s->item))
        return;
    if (s->page)
        end_page(s);
    if (s->paged < s->until && s->count) {
        take_page(s);
    } else if (s->reach <= s->paged && meets_ring(s)) {
        go_live(s);
    } else if (s->paged >= c->gw->seq) { /* nothing is known beyond it */
        list_add_tail(&c->gw->ahead, &s->node);
    } else if (widen(s)) {
        take_page(s);
    }
}

void catchup_begin(struct start *s, enum start_state state)
{
    bool pages = verdict_needs_pages(s);

    s->state = (uint8_t)state;
    s->paged = s->since.seq;
    s->until = pages ? s->seq : s->paged;
    stat_add(&s->conn->gw->stats,
             pages ? STAT_STARTS_STORE : STAT_STARTS_RING, 1);
    if (state == START_PAGING)
        s->conn->flow = FLOW_PAGING;
    catchup_advance(s->conn);
}
