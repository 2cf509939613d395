/* uplink.c - the gateway's end of the link: what it says, what it hears.
 * path: msg > publish > store > table > repeater > [link] > bus > gateway >
 *       edge > conn */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "gateways/common/canary.h"
#include "gateways/common/catchup.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/memory.h"
#include "gateways/common/restart.h"
#include "gateways/common/uplink.h"
#include "gateways/common/verdict.h"
#include "proto/frame_io.h"
#include "proto/report.h"

enum { IDS_PER_FRAME = 256 };

/* Everything up to here has come; while missed messages are still on their
 * way, only they count. */
static void advance(struct gateway *g, uint64_t seq)
{
    if (g->resyncing || seq <= g->seq)
        return;
    g->seq = seq;
    catchup_seq_moved(g);
}

/* ---- logins ------------------------------------------------------------ */

/* One login asks for the snapshot, for all who come until it is there. Who is
 * in a room is asked for behind the login. */
static void write_login_id(struct buf *b, struct topic *t, bool want)
{
    struct login_id id = {.id = topic_id(t)};

    if (want && !topic_snapshot_is_fresh(t, 0) &&
        !(t->seats.flags & (TOPIC_SNAP_ASKED | TOPIC_PRESENCE))) {
        id.flags = LOGIN_WANT_SNAPSHOT;
        t->seats.flags |= TOPIC_SNAP_ASKED;
    }
    frame_write_login_id(b, &id);
}

void uplink_login(struct conn *c, const struct start *from)
{
    struct start *s = (struct start *)(uintptr_t)from;
    struct gateway *g = c->gw;

    s->logins = 0;
    if (!g->linked) {
        s->logins = 1; /* said when the link is back */
        return;
    }
    for (unsigned i = 0; i < s->count; i += IDS_PER_FRAME) {
        unsigned n = MIN(s->count - i, (unsigned)IDS_PER_FRAME);
        struct frame_login f = {
            .conn = c->number,
            .gen = conn_gen(c),
            .name = s->name,
            .count = (uint16_t)n,
        };
        struct buf *b = pipe_frame(g->pipe, FRAME_LOGIN);

        frame_write_login(b, &f);
        for (unsigned k = i; k < i + n; k++)
            write_login_id(b, s->topics[k].topic, !s->has_since);
        pipe_frame_end(g->pipe);
        s->logins++;
    }
}

/* One LOGIN for up to IDS_PER_FRAME seats from `it` on that watch under the
 * same name; false: that was the last seat. */
static bool say_some_again(struct conn *c, struct seat_iter *it)
{
    struct gateway *g = c->gw;
    struct frame_login f = {
        .conn = c->number, .gen = conn_gen(c), .flags = LOGIN_RESYNC};
    struct seat *seats[IDS_PER_FRAME];
    struct buf *b;

    while (f.count < IDS_PER_FRAME &&
           (seats[f.count] = seat_next(it))) {
        struct slice name = seat_name(seats[f.count]);

        if (f.count == 0)
            f.name = name;
        else if (!slice_eq(f.name, name)) {
            it->left++; /* it comes again, in the next frame */
            break;
        }
        f.count++;
    }
    if (f.count == 0)
        return false;
    b = pipe_frame(g->pipe, FRAME_LOGIN);
    frame_write_login(b, &f);
    for (unsigned i = 0; i < f.count; i++)
        write_login_id(b, topic_of_seat(seats[i]), false);
    pipe_frame_end(g->pipe);
    return true;
}

static void say_all_again(struct gateway *g)
{
    uint32_t i = 0;
    struct conn *c;

    while ((c = conns_next_open(&g->conns, &i))) {
        struct seat_iter it = seats_of_conn(&c->seats);

        if (c->seats.count == 0)
            continue;
        while (say_some_again(c, &it))
            ;
        for (struct start *s = conn_starts(c); s; s = s->next)
            s->logins = 0;
    }
}

/* Messages without history were missed: the gap gets its place in the ring, in
 * front of whatever comes now, for a cursor behind it counts for that, too. Who
 * needs a state as well begins anew. */
static void miss_volatile(struct gateway *g, struct topic *t, uint64_t from,
                          uint64_t to)
{
    const struct gap gap = {from, to, GAP_VOLATILE};

    if (t->seats.flags & TOPIC_STATEFUL)
        restart_topic(g, t, GAP_VOLATILE, from, to);
    else if (t->seats.count)
        deliver_gap(g, topic_id(t), &gap);
}

/* Is c at a place of the ring, or has one been fixed for it, so that it hears of
 * t what the ring has? Else it is still judged by its cursor, or begins now. */
static bool follows(struct conn *c, const struct topic *t)
{
    bool muted = false;

    for (const struct start *s = conn_starts(c); s; s = s->next) {
        if (!start_mutes(s, t))
            continue;
        if (s->state != START_LOGIN && s->state != START_SNAP)
            return true;
        muted = true;
    }
    return !muted;
}

static bool is_followed(struct topic *t)
{
    struct seat_iter it = seats_of_topic(&t->seats);
    struct seat *seat;

    while ((seat = seat_next(&it)))
        if (follows(conn_of_seat(seat), t))
            return true;
    return false;
}

/* What has no history was missed while the link was away, or began anew with
 * the router. What is known of an id that nobody followed is how far others had
 * come: those who come now may have more. */
static void check_volatile(struct gateway *g, struct topic *t,
                           const struct logged_in_id *i)
{
    uint64_t last = topic_past(t)->last_offset;
    bool counted = !g->router_changed && i->last_offset > last;

    if (!g->router_changed && i->last_offset == last)
        return;
    if (!(t->seats.flags & TOPIC_STATEFUL) && !is_followed(t))
        return;
    miss_volatile(g, t, counted ? last + 1 : 0, counted ? i->last_offset : 0);
}

/* The same of a pattern: which ids have spoken up to `seq` nobody knows. The
 * ring answers for nothing that came before, or a cursor from within that time
 * would be resumed in silence. */
static void check_pattern(struct gateway *g, struct topic *t, uint64_t seq)
{
    const struct gap gap = {.why = GAP_VOLATILE};

    if (!verdict_may_be_volatile(g->config, topic_id(t)))
        return;
    if (t->seats.count)
        deliver_gap(g, topic_id(t), &gap);
    t->floor = MAX(t->floor, seq);
}

/* Where the id stands, by the router's word. ERR_NOMEM. */
static int note_past(struct topic *t, const struct logged_in_id *i)
{
    struct topic_past *past = t->past_;

    if (!past && !i->last_seq && !i->trimmed_seq)
        return 0;
    past = topic_past_make(t);
    if (!past)
        return ERR_NOMEM;
    if (i->flags & ID_VOLATILE)
        past->last_seq = past->last_offset = 0;
    past->last_seq = MAX(past->last_seq, i->last_seq);
    past->last_offset = MAX(past->last_offset, i->last_offset);
    if (i->trimmed_seq > past->trimmed_seq) {
        past->trimmed_seq = i->trimmed_seq;
        past->trimmed_offset = i->trimmed_offset;
    }
    return 0;
}

static int on_logged_in_id(struct gateway *g, uint8_t flags, uint64_t seq,
                           const struct logged_in_id *i)
{
    struct topic *t = topics_find(&g->topics, i->id);
    bool again = flags & LOGIN_RESYNC;
    bool known = t && (t->seats.flags & TOPIC_WATCHED);

    if (t && ((i->flags & (ID_REFUSED | ID_SNAPSHOT)) ||
              !(i->flags & ID_STATEFUL)))
        t->seats.flags &= ~(uint32_t)TOPIC_SNAP_ASKED;
    if (!t || (i->flags & ID_REFUSED))
        return 0;
    if (again && (i->flags & ID_VOLATILE) && !known)
        check_volatile(g, t, i);
    else if (again && !known && (t->seats.flags & TOPIC_PATTERN))
        check_pattern(g, t, seq);
    if (!pipe_is_up(g->pipe))
        return 0; /* no memory for the gap: told with the next link */
    t = topics_find(&g->topics, i->id); /* its last reader may be cut */
    if (!t)
        return 0;
    if (!known && (!again || (i->flags & ID_VOLATILE) || t->floor == 0 ||
                   t->floor == UINT64_MAX))
        t->floor = seq;
    t->seats.flags |= TOPIC_WATCHED;
    if (i->flags & ID_STATEFUL)
        t->seats.flags |= TOPIC_STATEFUL;
    if (i->flags & ID_VOLATILE)
        t->seats.flags |= TOPIC_VOLATILE;
    if (i->flags & ID_PRESENCE)
        t->seats.flags |= TOPIC_PRESENCE;
    if (i->flags & ID_SNAPSHOT) {
        int rc = topic_set_snapshot(t, snapshot_new(seq, ring_end(&g->ring),
                                                    g->told, i->state));

        if (rc < 0)
            return rc;
    }
    return note_past(t, i);
}

/* The router refused an id: the whole request fails, once. */
static void refused_login(struct conn *c, const struct logged_in_id *i)
{
    struct gateway *g = c->gw;
    struct start *s = start_of_login(c);

    if (!s || s->gone)
        return;
    stat_add(&g->stats, STAT_SUBSCRIBE_REFUSED, 1);
    start_refused(s);
    g->edge->subscribe_failed(c, s->ref,
                              i->flags & ID_NO_ROOM ? "router.memory"
                                                    : "channels.full",
                              i->state);
}

/* One that it held is refused by a router that has come back: what follows would
 * not be whole. ERR_NOMEM: there was no memory, and all is said once more. */
static int refused_again(struct conn *c, const struct logged_in_id *i)
{
    static const struct give_up full = {
        "channels_full", "channels.full",
        "the router knows as many channels as it may"};

    if (!conn_holds(c, i->id))
        return 0; /* it has left that meanwhile */
    if (i->flags & ID_NO_ROOM)
        return ERR_NOMEM;
    stat_add(&c->gw->stats, STAT_SUBSCRIBE_REFUSED, 1);
    conn_give_up(c, &full);
    return 0;
}

static int on_logged_in(struct gateway *g, struct slice body)
{
    struct frame_logged_in f;
    struct logged_in_id i;
    struct conn *c;
    int rc = frame_read_logged_in(body, &f);

    if (rc < 0)
        return rc;
    advance(g, f.seq);
    g->told++;
    g->forgotten_seq = f.forgotten_seq;
    c = conn_by_name(g, f.conn, f.gen);
    while (f.count--) {
        rc = frame_next_logged_in(&f, &i);
        if (rc < 0)
            return rc;
        rc = on_logged_in_id(g, f.flags, f.seq, &i);
        if (rc < 0)
            return rc;
        if (!(i.flags & ID_REFUSED) || !c || c->state != CONN_OPEN)
            continue;
        if (f.flags & LOGIN_RESYNC)
            rc = refused_again(c, &i);
        else
            refused_login(c, &i);
        if (rc < 0)
            return rc;
    }
    if (c && c->state == CONN_OPEN && !(f.flags & LOGIN_RESYNC))
        start_logged_in(c);
    return 0;
}

/* ---- states behind retracts -------------------------------------------- */

/* A retract is one half: the state behind it the other. */
static void note_owed(struct gateway *g, const struct msg_parts *p)
{
    bool retract = p->flags & MSG_RESNAPSHOT;
    struct topic *t;

    if (!retract && !((p->flags & MSG_NOTICE) &&
                      slice_eq(p->kind, SLICE("snapshot"))))
        return;
    t = topics_find(&g->topics, p->id);
    if (t && retract)
        t->seats.flags |= TOPIC_OWED;
    else if (t)
        t->seats.flags &= ~(uint32_t)TOPIC_OWED;
}

/* The link broke between the two: the router does not know which of them came. */
static void ask_owed(struct gateway *g)
{
    struct frame_ids one = {.count = 1};
    struct map_iter it = map_iter(&g->topics.by_id);
    struct map_node *n;

    while (map_next(&it, &n)) {
        struct topic *t = CONTAINER_OF(n, struct topic, by_id);
        struct buf *b;

        if (!(t->seats.flags & TOPIC_OWED))
            continue;
        b = pipe_frame(g->pipe, FRAME_SNAP);
        frame_write_ids(b, &one);
        frame_write_id(b, topic_id(t));
        pipe_frame_end(g->pipe);
    }
}

/* As the router would have said it, to all who follow the id. ERR_NOMEM. */
static int tell_owed(struct gateway *g, struct topic *t,
                     const struct frame_snapshot *f)
{
    struct msg_parts p = {
        .format = MSG_NOTICE_FORMAT,
        .flags = MSG_NOTICE,
        .seq = g->seq,
        .ts_ms = clock_wall_ms(),
        .id = topic_id(t),
        .kind = SLICE("snapshot"),
        .data = f->state,
    };
    struct msg *m;
    int rc;

    if (!(t->seats.flags & TOPIC_OWED))
        return 0;
    rc = msg_new(&m, &p);
    if (rc < 0)
        return rc;
    rc = deliver(g, m);
    msg_drop(m);
    if (rc == 0)
        note_owed(g, &p);
    return 0; /* else the link begins anew, and it is owed still */
}

static int on_snapshot(struct gateway *g, struct slice body)
{
    struct frame_snapshot f;
    struct topic *t;
    int rc = frame_read_snapshot(body, &f);

    if (rc < 0)
        return rc;
    advance(g, f.seq);
    g->told++;
    t = topics_find(&g->topics, f.id);
    if (!t)
        return 0;
    rc = topic_set_snapshot(t, snapshot_new(f.seq, ring_end(&g->ring),
                                            g->told, f.state));
    t->seats.flags &= ~(uint32_t)TOPIC_SNAP_ASKED;
    if (rc == 0)
        rc = tell_owed(g, t, &f);
    if (rc == 0)
        start_decide_waiting(g);
    return rc;
}

/* ---- messages ---------------------------------------------------------- */

static int on_deliver(struct gateway *g, struct slice body)
{
    struct msg_parts p;
    struct msg *m;
    int rc = frame_read_deliver(body, &p);

    if (rc < 0)
        return rc;
    if (id_problem(p.id))
        return ERR_FRAME;
    if (p.flags & MSG_NOTICE)
        p.seq = MAX(g->seq, p.seq);
    rc = msg_new(&m, &p);
    if (rc < 0)
        return rc;
    rc = deliver(g, m);
    msg_drop(m);
    if (rc < 0)
        return 0; /* the link begins anew, from what has been served */
    note_owed(g, &p);
    g->seq = MAX(g->seq, p.seq);
    if (p.flags & MSG_STORED)
        g->served = MAX(g->served, p.seq);
    return 0;
}

static int on_published(struct gateway *g, struct slice body)
{
    struct frame_published f;
    struct published p;
    struct ask *k;
    struct conn *c;
    int rc = frame_read_published(body, &f);

    if (rc < 0)
        return rc;
    k = ask_find(g, f.number);
    if (!k)
        return 0;
    c = conn_by_name(g, k->conn, k->gen);
    p = (struct published){
        .status = f.status,
        .created = f.created,
        .seq = f.seq,
        .offset = f.offset,
        .ts_ms = f.ts_ms,
        .reached = f.reached,
        .channel = f.id,
        .code = f.code,
        .text = f.text,
        .body = f.body,
        .epoch = f.epoch,
    };
    stat_add(&g->stats, f.status <= PUBLISHED_DUPLICATE
                            ? STAT_PUBLISHED : STAT_PUBLISH_REFUSED, 1);
    spread_record(&g->published, clock_ns() - k->since_ns);
    if (c && c->state == CONN_OPEN)
        g->edge->published(c, k->ref, &p);
    ask_done(g, k);
    return 0;
}

/* Who wants to know, and can still be told. */
static struct conn *asker(const struct gateway *g, const struct ask *k)
{
    struct conn *c = conn_by_name(g, k->conn, k->gen);

    return c && c->state == CONN_OPEN ? c : NULL;
}

static int on_row(struct gateway *g, struct slice body)
{
    struct msg_parts p;
    struct msg *m;
    uint32_t ref;
    struct ask *k;
    struct conn *c;
    int rc = frame_read_row(body, &ref, &p);

    if (rc < 0)
        return rc;
    k = ask_find_ref(g, ref);
    c = k ? asker(g, k) : NULL;
    if (!k || (!c && k->kind != ASK_PAGE) || p.seq <= k->row_seq)
        return 0;
    rc = msg_new(&m, &p);
    if (rc < 0)
        return rc; /* it comes again with the link */
    k->row_seq = p.seq;
    if (k->kind == ASK_PAGE) {
        pages_row(g, k->number, m);
        return 0;
    }
    g->edge->row(c, k->ref, m);
    msg_drop(m);
    return 0;
}

/* Messages of any id may be missing: whoever holds something begins anew, and
 * the ring answers for nothing that came before. */
static void any_hole(struct gateway *g, const struct frame_hole *h)
{
    struct map_iter it = map_iter(&g->topics.by_id);
    struct map_node *n;
    uint32_t i = 0;
    struct conn *c;

    while ((c = conns_next_open(&g->conns, &i)))
        restart_settled(c, GAP_DAMAGED);
    while (map_next(&it, &n)) {
        struct topic *t = CONTAINER_OF(n, struct topic, by_id);

        if (t->floor)
            t->floor = MAX(t->floor, h->seq);
    }
}

/* What LOGGED_IN says of an id may be older than this. */
static void note_trimmed(struct topic_past *past, const struct frame_hole *h)
{
    past->last_seq = MAX(past->last_seq, h->seq);
    past->last_offset = MAX(past->last_offset, h->to);
    if (h->seq > past->trimmed_seq) {
        past->trimmed_seq = h->seq;
        past->trimmed_offset = h->to;
    }
}

/* A repair that broke off said so already, and nothing of the id has come since. */
static bool is_told(const struct gateway *g, const struct frame_hole *h)
{
    const struct topic *t = topics_find(&g->topics, h->id);
    const struct ring_entry *e =
        t ? ring_at(&g->ring, topic_past(t)->newest) : NULL;
    struct gap gap;

    if (!e || h->why != HOLE_TRIMMED || !deliver_read_gap(e->msg, &gap))
        return false;
    return gap.why == GAP_TRIMMED && gap.to >= h->to;
}

/* Among what was missed: the gap gets its place in the ring, in front of the
 * messages behind it, for all who hold the id now. Who comes with a cursor from
 * before the last of what is missing is not served by the ring. */
static int stream_hole(struct gateway *g, const struct frame_hole *h)
{
    bool trimmed = h->why == HOLE_TRIMMED;
    struct gap gap = {h->from, h->to, trimmed ? GAP_TRIMMED : GAP_DAMAGED};
    struct topic *t;

    if (h->id.len == 0) {
        any_hole(g, h);
        return 0;
    }
    if (id_problem(h->id))
        return ERR_FRAME;
    if (!is_told(g, h))
        deliver_gap(g, h->id, &gap);
    deliver_lacks(g, h->id, h->seq);
    t = topics_find(&g->topics, h->id);
    if (t && t->past_ && trimmed)
        note_trimmed(t->past_, h);
    if (t)
        restart_snapshot(t);
    return 0;
}

static int on_hole(struct gateway *g, struct slice body)
{
    struct frame_hole f;
    struct ask *k;
    struct conn *c;
    int rc = frame_read_hole(body, &f);

    if (rc < 0)
        return rc;
    if (f.ref == 0)
        return stream_hole(g, &f);
    k = ask_find_ref(g, f.ref);
    if (!k || f.seq < k->row_seq)
        return 0;
    c = asker(g, k);
    if (k->kind == ASK_PAGE)
        pages_hole(g, k->number, &f);
    else if (c)
        g->edge->hole(c, k->ref, &f);
    return 0;
}

static int on_page_end(struct gateway *g, struct slice body)
{
    struct frame_page_end f;
    struct ask *k;
    struct conn *c;
    int rc = frame_read_page_end(body, &f);

    if (rc < 0)
        return rc;
    k = ask_find_ref(g, f.ref);
    if (!k)
        return 0;
    c = asker(g, k);
    if (k->kind == ASK_PAGE)
        pages_end(g, k->number, f.status, f.more, f.upto);
    else if (c)
        g->edge->page_end(c, k->ref, -(int)f.status, f.more, f.upto);
    ask_done(g, k);
    return 0;
}

static int on_answer(struct gateway *g, struct slice body)
{
    struct frame_answer f;
    struct ask *k;
    struct conn *c;
    int rc = frame_read_answer(body, &f);

    if (rc < 0)
        return rc;
    k = ask_find_ref(g, f.ref);
    if (!k)
        return 0;
    c = conn_by_name(g, k->conn, k->gen);
    if (c && c->state == CONN_OPEN)
        g->edge->answered(c, k->ref, f.status, f.opaque, f.body, f.seq);
    ask_done(g, k);
    return 0;
}

static int on_kick(struct gateway *g, struct slice body)
{
    struct frame_kick f;
    struct conn *c;
    int rc = frame_read_kick(body, &f);

    if (rc < 0)
        return rc;
    c = conn_by_name(g, f.conn, f.gen);
    if (c && c->state == CONN_OPEN) {
        log_info("conn.kicked", "conn=%s peer=%s", conn_text(c),
                 conn_peer_text(c));
        g->edge->kicked(c);
    }
    return 0;
}

/* ---- the link itself --------------------------------------------------- */

/* Nothing that clients know of positions is worth anything any more. */
static void epoch_changed(struct gateway *g, const struct position *before,
                          uint64_t seq)
{
    struct map_iter it;
    struct map_node *n;
    uint32_t i = 0;
    struct conn *c;

    deliver_forget(g);
    it = map_iter(&g->topics.by_id);
    while (map_next(&it, &n))
        topic_begin_anew(CONTAINER_OF(n, struct topic, by_id), seq);
    while ((c = conns_next_open(&g->conns, &i)))
        if (c->seats.count)
            restart_conn(c, GAP_EPOCH, before);
    pages_forget(g);
}

static void set_epoch(struct gateway *g, struct slice epoch, uint64_t seq)
{
    const struct position before = {g->epoch, g->seq};
    struct epoch now = {.text = ""};
    bool first = g->epoch.text[0] == '\0';

    memcpy(now.text, epoch.ptr, MIN(epoch.len, (size_t)EPOCH_MAX));
    if (epoch_equal(&now, &g->epoch))
        return;
    g->epoch = now;
    g->epoch_number++;
    g->seq = seq;
    g->served = 0;
    if (first)
        return;
    log_warn("link.epoch", "epoch=%s action=tell_all", now.text);
    epoch_changed(g, &before, seq);
}

static int on_welcome(struct gateway *g, struct slice body)
{
    struct frame_welcome f;
    int rc = frame_read_welcome(body, &f);

    if (rc < 0)
        return rc;
    if (g->router_life != f.life) {
        g->router_changed = true;
        g->life_seq = f.seq;
    }
    g->router_life = f.life;
    g->linked = g->resyncing = true;
    stat_set(&g->stats, STAT_LINKED, 1);
    set_epoch(g, f.epoch, f.seq);
    log_info("link.up", "epoch=%s seq=%llu served=%llu", g->epoch.text,
             (unsigned long long)f.seq, (unsigned long long)g->served);
    say_all_again(g);
    put_u64(pipe_frame(g->pipe, FRAME_SYNCED), g->seq);
    pipe_frame_end(g->pipe);
    asks_resend(g);
    canary_linked(g);
    return 0;
}

static void kick_all(struct gateway *g)
{
    uint32_t i = 0;
    struct conn *c;

    while ((c = conns_next_open(&g->conns, &i)))
        if (conn_starts(c))
            start_kick(c);
}

/* The link was full for a while. The store has given back what it had; what
 * has no history may be missing. */
static void was_stale(struct gateway *g)
{
    struct map_iter it = map_iter(&g->topics.by_id);
    struct map_node *n;
    uint32_t i = 0;
    struct conn *c;

    while (map_next(&it, &n)) {
        struct topic *t = CONTAINER_OF(n, struct topic, by_id);

        if (t->seats.flags & TOPIC_VOLATILE)
            t->floor = g->seq;
        if ((t->seats.flags & (TOPIC_VOLATILE | TOPIC_STATEFUL)) ==
            TOPIC_VOLATILE)
            miss_volatile(g, t, 0, 0);
        if (t->seats.flags & TOPIC_PATTERN)
            check_pattern(g, t, g->seq);
    }
    while ((c = conns_next_open(&g->conns, &i)))
        restart_volatile(c);
}

static int on_resynced(struct gateway *g, struct slice body)
{
    struct cursor c = cursor_init(body);
    uint64_t seq = cursor_u64(&c);

    if (!cursor_all_read(&c))
        return ERR_FRAME;
    g->seq = MAX(g->seq, seq);
    if (!g->resyncing)
        was_stale(g);
    g->resyncing = g->router_changed = false;
    ask_owed(g);
    catchup_seq_moved(g);
    kick_all(g);
    gateway_ready(g);
    return 0;
}

static int on_epoch(struct gateway *g, struct slice body)
{
    struct frame_epoch f;
    int rc = frame_read_epoch(body, &f);

    if (rc < 0)
        return rc;
    set_epoch(g, f.epoch, f.seq);
    kick_all(g);
    return 0;
}

static int on_drain(struct gateway *g, struct slice body)
{
    (void)body;
    log_info("link.drain", "action=wait_for_router");
    (void)g;
    return 0;
}

static const struct handler {
    uint8_t code;
    int (*handle)(struct gateway *g, struct slice body);
} handlers[] = {
    {FRAME_DELIVER, on_deliver},     {FRAME_PUBLISHED, on_published},
    {FRAME_LOGGED_IN, on_logged_in}, {FRAME_SNAPSHOT, on_snapshot},
    {FRAME_ROW, on_row},             {FRAME_HOLE, on_hole},
    {FRAME_PAGE_END, on_page_end},   {FRAME_ANSWER, on_answer},
    {FRAME_KICK, on_kick},           {FRAME_WELCOME, on_welcome},
    {FRAME_RESYNCED, on_resynced},   {FRAME_EPOCH, on_epoch},
    {FRAME_DRAIN, on_drain},         {FRAME_CANARY_BACK, canary_back},
    {FRAME_ASK, gateway_asked},
};

static int on_frame(void *ctx, uint8_t code, struct slice body)
{
    if (frame_check(code, SENDER_ROUTER, body.len) < 0)
        return ERR_FRAME;
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
        if (handlers[i].code == code)
            return handlers[i].handle(ctx, body);
    return ERR_FRAME;
}

static void on_batch_end(void *ctx, uint64_t seq)
{
    struct gateway *g = ctx;

    if (g->linked)
        advance(g, seq);
    catchup_seq_moved(g); /* once for all that the batch has brought */
}

static void on_up(void *ctx)
{
    struct gateway *g = ctx;
    const struct peer_id *who = joiner_who(g->joiner);
    struct frame_hello f = {
        .kind = PEER_GATEWAY,
        .pid = (uint32_t)getpid(),
        .life = who->life,
        .router_life = g->router_life,
        .served = g->served,
        .asked = asks_seq(g),
        .name = slice_str(who->name),
        .edge = slice_str(g->edge->name),
        .epoch = slice_str(g->epoch.text),
    };

    memcpy(g->name, who->name, sizeof g->name);
    frame_write_hello(pipe_frame(g->pipe, FRAME_HELLO), &f);
    pipe_frame_end(g->pipe);
}

static void forget_watches(struct gateway *g)
{
    struct map_iter it = map_iter(&g->topics.by_id);
    struct map_node *n;

    while (map_next(&it, &n)) {
        struct topic *t = CONTAINER_OF(n, struct topic, by_id);
        bool watched = t->seats.flags & TOPIC_WATCHED;

        t->seats.flags &= ~(uint32_t)(TOPIC_WATCHED | TOPIC_SNAP_ASKED);
        topic_drop_snapshot(t);
        /* Its messages stop coming while nobody here logs in for it; and if
         * that had not been answered yet, they had stopped before. */
        if (t->seats.count == 0 || !watched)
            t->floor = UINT64_MAX;
    }
}

static void on_down(void *ctx, const char *why)
{
    struct gateway *g = ctx;
    struct conn *c;

    if (g->linked)
        stat_add(&g->stats, STAT_LINK_LOST, 1);
    log_warn("link.down", "why=\"%s\" action=keep_clients_and_rejoin", why);
    g->linked = g->resyncing = false;
    g->unlinked_ns = clock_ns();
    stat_set(&g->stats, STAT_LINKED, 0);
    canary_unlinked(g);
    forget_watches(g);
    pages_link_down(g);
    for (uint32_t i = 0; i < g->conns.used; i++)
        if ((c = conns_at(&g->conns, i)))
            start_link_down(c);
}

static void on_refused(void *ctx, const char *why)
{
    (void)ctx;
    log_error("link.refused", "why=\"%s\" action=try_again", why);
}

/* Of a crowd that comes each one logs in: where processors are short, most of what
 * that costs is processes that wake each other up. */
static bool gathers(void *ctx, uint8_t code)
{
    struct gateway *g = ctx;

    return (code == FRAME_LOGIN ||
            (code == FRAME_QUERY && g->edge->crowds_ask)) &&
           contention_found(&g->contention, loop_now(g->loop));
}

int uplink_open(struct gateway *g, const char **why)
{
    static const struct joiner_ops ops = {
        .pipe = {
            .frame = on_frame,
            .batch_end = on_batch_end,
            .up = on_up,
            .down = on_down,
            .gathers = gathers,
        },
        .refused = on_refused,
    };
    const struct config *cfg = g->config;
    struct joiner_options o = {
        .url = config_above_url(cfg),
        .secret = cfg->link.secret[0] ? cfg->link.secret : NULL,
        .limits = {.batch = cfg->limits.link_batch,
                   .queue = cfg->limits.link_queue},
    };
    char *dir = config_above_dir(cfg);
    int rc;

    o.dir = dir;
    memcpy(o.who.name, g->name, sizeof o.who.name);
    strncpy(o.who.edge, g->edge->name, sizeof o.who.edge - 1);
    o.who.kind = PEER_GATEWAY;
    o.who.pid = (uint32_t)getpid();
    g->unlinked_ns = clock_ns();
    rc = dir ? joiner_open(&g->joiner, g->loop, &o, &ops, g) : ERR_NOMEM;
    free(dir);
    if (rc < 0) {
        *why = err_text(rc);
        return rc;
    }
    g->pipe = joiner_pipe(g->joiner);
    return 0;
}

void uplink_close(struct gateway *g)
{
    joiner_close(g->joiner);
    g->joiner = NULL;
    g->pipe = NULL;
    g->linked = false;
}

static void report_tally(struct buf *b, const struct tally *t)
{
    struct tally_label label;
    struct stat_sample s;
    size_t at = 0;

    while (tally_next(t, &at, &s, &label))
        report_sample_row(b, &s);
}

/* It goes on, but each line that is lost from here on costs descriptors. */
static void watch_nng(struct gateway *g)
{
    bool stuck = joiner_is_stuck(g->joiner);

    if (stuck && !stat_get(&g->stats, STAT_NNG_STUCK))
        log_error("nng.stuck", "gateway=%s cure=\"touchline upgrade, or end this "
                  "process: it is started again\" action=go_on", g->name);
    stat_set(&g->stats, STAT_NNG_STUCK, stuck);
}

void uplink_stats(struct gateway *g)
{
    struct link_repairs mended = {.resent = 0};
    struct buf *b;

    watch_nng(g);
    if (!g->linked)
        return;
    link_repairs_add(&mended, g->pipe);
    link_repairs_set(&g->stats, STAT_LINK_RESENT, &mended);
    spread_set(&g->stats, STAT_CANARY_SPREAD_50, &g->canaries);
    spread_set(&g->stats, STAT_PUBLISH_SPREAD_50, &g->published);
    b = pipe_frame(g->pipe, FRAME_STATS);
    for (size_t i = 0; i < GATEWAY_STAT_COUNT; i++) {
        struct stat_sample s = stat_sample(&g->stats, i);

        report_sample_row(b, &s);
    }
    report_tally(b, &g->refused);
    report_tally(b, &g->closed);
    if (g->first) { /* log and memory are the process's */
        report_process_figures(b);
        report_warnings(b);
    }
    pipe_frame_end(g->pipe);
}
