#include "gateways/common/start.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "gateways/common/catchup.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/pull.h"
#include "gateways/common/restart.h"
#include "gateways/common/tell.h"
#include "gateways/common/uplink.h"
#include "gateways/common/verdict.h"
#include "proto/frame_io.h"

enum {
    MANY_TOPICS = 8, /* a connection with more pulls by walking the ring */
    SAY_SLICE = 256, /* starts said a turn */
};

/* ---- made and freed ---------------------------------------------------- */

static void drop_snapshots(struct start *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        snapshot_drop(s->topics[i].snapshot);
        s->topics[i].snapshot = NULL;
    }
}

static void unchain(struct start *s)
{
    struct conn_busy *x = conn_busy(s->conn);

    for (struct start **p = x ? &x->starts : NULL; p && *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    list_remove(&s->node);
}

void start_free(struct start *s)
{
    unchain(s);
    catchup_leave(s);
    drop_snapshots(s);
    marks_fini(&s->known);
    conn_busy_done(s->conn);
    if (s->apart)
        free(s);
    else
        slab_give(s);
}

/* An edge may close the connection while it is being told of a start: that
 * one is freed by whoever tells (start_told()). One whose LOGGED_IN is still to
 * come stays to take it, or the next request would be taken for answered. */
void start_free_all(struct conn *c)
{
    bool stays = c->state == CONN_OPEN && c->gw->linked;
    struct start *s, *next;

    for (s = conn_starts(c); s; s = next) {
        next = s->next;
        drop_snapshots(s); /* its topics may go with their seats */
        s->count = 0;
        if (s->saying) {
            unchain(s);
            s->dropped = true;
        } else if (!stays || s->state != START_LOGIN || !s->logins) {
            start_free(s);
        } else {
            s->gone = true;
        }
    }
}

/* The edge has been told. False: s is gone, with its connection. */
bool start_told(struct start *s)
{
    s->saying = false;
    if (s->dropped)
        start_free(s);
    else if (s->conn->state == CONN_OPEN)
        return true;
    return false;
}

struct start *start_alloc(struct conn *c, unsigned count, struct slice name)
{
    size_t topics = count * sizeof(struct start_topic);
    struct conn_busy *x = conn_make_busy(c);
    size_t bytes = sizeof(struct start) + topics + name.len;
    bool apart = bytes > SLAB_BYTES_MAX;
    struct start *s = !x      ? NULL
                      : apart ? calloc(1, bytes)
                              : slab_take(&c->gw->moment, bytes);
    struct start **end;

    if (!s)
        return NULL;
    s->apart = apart;
    list_init(&s->node);
    s->conn = c;
    s->told = c->gw->told + 1;
    if (name.len) {
        uint8_t *kept = (uint8_t *)&s->topics[count];

        memcpy(kept, name.ptr, name.len);
        s->name = slice_make(kept, name.len);
    }
    for (end = &x->starts; *end; end = &(*end)->next)
        ;
    *end = s;
    return s;
}

static struct start_topic *covered(struct start *s, const struct topic *t)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->topics[i].topic == t)
            return &s->topics[i];
    return NULL;
}

bool start_mutes(const struct start *s, const struct topic *t)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->topics[i].topic == t)
            return !s->topics[i].beside;
    return false;
}

/* Adds the topic to s, once; count grows within what was allocated. */
void start_cover(struct start *s, struct topic *t, bool held)
{
    if (!covered(s, t))
        s->topics[s->count++] = (struct start_topic){
            .topic = t, .held = held, .beside = held && !s->has_since};
}

static bool matches(const struct topic *t, struct slice id)
{
    return slice_eq(topic_id(t), id) || ((t->seats.flags & TOPIC_PATTERN) &&
                                         pattern_matches(topic_id(t), id));
}

/* Is a message of this id one of its own? */
bool start_wants(const struct start *s, struct slice id)
{
    for (unsigned i = 0; i < s->count; i++)
        if (matches(s->topics[i].topic, id))
            return true;
    return false;
}

void start_drop_topic(struct conn *c, struct topic *t)
{
    struct start *next;

    for (struct start *s = conn_starts(c); s; s = next) {
        struct start_topic *st = covered(s, t);

        next = s->next;
        if (!st)
            continue;
        snapshot_drop(st->snapshot);
        *st = s->topics[--s->count];
        s->topics[s->count].snapshot = NULL;
    }
}

/* ---- the request ------------------------------------------------------- */

static int take_seat(struct start *s, struct slice id)
{
    struct conn *c = s->conn;
    struct topic *t;
    struct seat *seat;
    int rc;

    if (id_is_pattern(id) && !conn_make_busy(c))
        return ERR_NOMEM;
    rc = topics_get(&c->gw->topics, id, &t);
    if (rc < 0)
        return rc;
    rc = seat_add(&seat, &t->seats, &c->seats);
    if (rc < 0 && rc != ERR_EXISTS) {
        topic_maybe_release(c->gw, t);
        return rc;
    }
    if (rc == 0 && (t->seats.flags & TOPIC_PATTERN))
        conn_busy(c)->patterns++;
    if (s->name.len && seat_set_name(&seat, s->name) < 0) {
        if (rc == 0)
            conn_leave(c, seat, false);
        return ERR_NOMEM;
    }
    start_cover(s, t, rc == ERR_EXISTS);
    return 0;
}

static int refuse_nomem(struct refusal *why)
{
    *why = (struct refusal){
        .code = "server.memory",
        .text = "the server is out of memory; try again later",
        .status = PUBLISHED_UNAVAILABLE,
    };
    return ERR_NOMEM;
}

/* Gives the seats back that were taken for s. */
static void undo(struct start *s, bool say)
{
    struct conn *c = s->conn;

    while (s->count) {
        struct start_topic *st = &s->topics[s->count - 1];
        struct seat *seat = seat_find(&st->topic->seats, &c->seats);

        if (seat && !st->held)
            conn_leave(c, seat, say);
        else
            s->count--;
    }
}

int start_new(struct conn *c, const struct subscribe *req,
              struct refusal *why)
{
    struct start *s = start_alloc(c, req->count, req->name);

    if (!s)
        goto fail;
    s->ref = req->ref;
    s->has_since = req->has_since;
    s->whole = req->whole;
    s->since = req->since;
    for (unsigned i = 0; i < req->count; i++)
        if (take_seat(s, req->channels[i]) < 0)
            goto fail;
    if (c->seats.count > MANY_TOPICS || (conn_busy(c) && conn_busy(c)->patterns))
        c->flags |= CONN_MANY;
    if (c->flow == FLOW_NONE)
        c->flow = FLOW_STARTING;
    uplink_login(c, s);
    return 0;
fail:
    if (s) {
        undo(s, false);
        start_free(s);
    }
    return refuse_nomem(why);
}

/* ---- the decision ------------------------------------------------------ */

/* Snapshots count from now, resumed channels from since: one connection has
 * one position. Who must have a snapshot begins right behind those who catch
 * up. */
static int split(struct start *s)
{
    unsigned fresh = 0;
    struct start *rest;

    for (unsigned i = 0; i < s->count; i++)
        fresh += s->topics[i].verdict == START_FRESH;
    if (fresh == 0 || fresh == s->count)
        return 0;
    rest = start_alloc(s->conn, fresh, slice_make(NULL, 0));
    if (!rest)
        return ERR_NOMEM;
    rest->silent = rest->has_reason = true;
    rest->since = s->since;
    for (unsigned i = 0; i < s->count;) {
        if (s->topics[i].verdict == START_RESUMED) {
            i++;
            continue;
        }
        rest->reason = s->topics[i].why;
        rest->topics[rest->count++] = s->topics[i];
        s->topics[i] = s->topics[--s->count];
    }
    return 0;
}

static bool wants_snapshot(const struct start_topic *st)
{
    return st->verdict == START_FRESH &&
           (st->topic->seats.flags & TOPIC_STATEFUL);
}

/* Asks for the snapshots that have grown old. Who has to ask a second time
 * asks for all of its own in one frame, which the router answers at one place
 * of the stream. True: something is on its way. */
static bool ask_snapshots(struct start *s)
{
    struct gateway *g = s->conn->gw;
    struct frame_ids ids = {.count = 0};
    bool stale = false;
    struct buf *b;

    for (unsigned i = 0; i < s->count; i++)
        if (wants_snapshot(&s->topics[i]))
            stale |= !topic_snapshot_is_fresh(s->topics[i].topic, s->told);
    if (!stale)
        return false;
    for (unsigned i = 0; i < s->count; i++) {
        struct topic *t = s->topics[i].topic;
        bool asked = t->seats.flags & TOPIC_SNAP_ASKED;

        s->topics[i].paged = wants_snapshot(&s->topics[i]) &&
                             (s->asked ||
                              (!topic_snapshot_is_fresh(t, s->told) && !asked));
        ids.count = (uint16_t)(ids.count + s->topics[i].paged);
    }
    s->asked = s->count > 1;
    if (ids.count == 0)
        return true;
    b = pipe_frame(g->pipe, FRAME_SNAP);
    frame_write_ids(b, &ids);
    for (unsigned i = 0; i < s->count; i++)
        if (s->topics[i].paged) {
            s->topics[i].topic->seats.flags |= TOPIC_SNAP_ASKED;
            s->topics[i].paged = false;
            frame_write_id(b, topic_id(s->topics[i].topic));
        }
    pipe_frame_end(g->pipe);
    return true;
}

static void place(struct start *s)
{
    struct gateway *g = s->conn->gw;

    for (unsigned i = 0; i < s->count; i++)
        if (wants_snapshot(&s->topics[i]) && !s->topics[i].snapshot)
            s->topics[i].snapshot = snapshot_hold(
                topic_past(s->topics[i].topic)->snapshot);
    s->seq = g->seq;
    s->tick = ring_end(&g->ring);
    s->late = s->conn->flow == FLOW_LIVE;
    s->state = START_READY;
    list_remove(&s->node);
    list_add_tail(&g->ready, &s->node);
    loop_again(g->loop);
}

/* Only the first of a connection's starts is decided; the next one when it is
 * through. */
static void decide(struct start *s)
{
    struct gateway *g = s->conn->gw;

    if (conn_starts(s->conn) != s || s->logins || !g->linked || g->resyncing)
        return;
    if (s->state != START_LOGIN && s->state != START_SNAP)
        return;
    if (s->gone) {
        struct conn *c = s->conn;

        start_free(s);
        start_kick(c);
        return;
    }
    drop_snapshots(s);
    verdict_judge(s);
    if (split(s) < 0) {
        conn_abort(s->conn, "memory");
        return;
    }
    if (ask_snapshots(s)) {
        s->state = START_SNAP;
        list_remove(&s->node);
        list_add_tail(&g->waiting, &s->node);
        return;
    }
    place(s);
}

struct start *start_of_login(const struct conn *c)
{
    struct start *s = conn_starts(c);

    while (s && !(s->state == START_LOGIN && s->logins))
        s = s->next;
    return s;
}

void start_logged_in(struct conn *c)
{
    struct start *s = start_of_login(c);

    if (s) {
        s->logins--;
        s->told = c->gw->told;
    }
    start_kick(c);
}

void start_refused(struct start *s)
{
    undo(s, true);
    s->gone = true;
}

void start_kick(struct conn *c)
{
    if (conn_starts(c))
        decide(conn_starts(c));
}

bool start_waits_for_reader(const struct conn *c)
{
    const struct start *s = conn_starts(c);

    return s && s->state == START_LOGIN && (s->silent || s->late) &&
           s->logins == 0 && c->flow == FLOW_LIVE;
}

void start_again(struct conn *c)
{
    if (start_waits_for_reader(c))
        start_kick(c);
}

void start_put_off(struct conn *c)
{
    struct start *s = conn_starts(c);

    if (!s || s->state != START_READY || !s->late)
        return;
    list_remove(&s->node);
    s->state = START_LOGIN; /* start_again() */
}

void start_link_down(struct conn *c)
{
    struct start *next;

    for (struct start *s = conn_starts(c); s; s = next) {
        next = s->next;
        if (s->gone)
            start_free(s);
        else
            s->logins = s->state == START_LOGIN;
    }
}

static void decide_list(struct list_node *list)
{
    struct list_node mine;
    struct list_node *n;

    list_init(&mine);
    list_splice_tail(&mine, list);
    while ((n = list_pop(&mine)))
        decide(CONTAINER_OF(n, struct start, node));
}

void start_decide_waiting(struct gateway *g)
{
    decide_list(&g->waiting);
}

/* ---- saying it --------------------------------------------------------- */

/* What the pages said needs a snapshot behind it. */
static void tell_snapshots_due(struct start *s)
{
    for (unsigned i = 0; i < s->count && s->conn->state == CONN_OPEN; i++)
        if (s->topics[i].changed)
            restart_snapshot_of(s->conn, s->topics[i].topic);
}

void start_finish(struct start *s)
{
    struct conn *c = s->conn;
    struct gateway *g = c->gw;
    bool silent = s->silent;
    uint32_t ref = s->ref;

    s->saying = true;
    tell_snapshots_due(s); /* without memory it ends the connection */
    if (!start_told(s))
        return;
    start_free(s);
    c->flow = FLOW_LIVE;
    conn_set_lagging(c, true);
    if (c->state != CONN_OPEN)
        return;
    conn_dirty(c);
    if (!silent && g->edge->started)
        g->edge->started(c, ref);
    if (silent && !conn_starts(c) && g->edge->restarted)
        g->edge->restarted(c);
    if (c->state == CONN_OPEN)
        start_kick(c);
}

/* The client has the message at its cursor, and may have been cut off in front of
 * the state behind it, which bears the same cursor. */
static void note_cut_off(struct start *s)
{
    const struct ring *r = &s->conn->gw->ring;
    uint64_t tick = s->whole ? 0 : ring_tick_of(r, s->since.seq);
    const struct ring_entry *e;

    for (; (e = ring_at(r, tick)) && e->msg->seq == s->since.seq; tick--)
        for (unsigned i = 0; i < s->count; i++)
            s->topics[i].changed |= (e->msg->flags & MSG_RESNAPSHOT) &&
                                    s->topics[i].topic == e->topic;
}

static void go_on(struct start *s)
{
    struct conn *c = s->conn;
    bool missed = false;

    for (unsigned i = 0; i < s->count; i++)
        missed |= s->topics[i].missed;
    if (verdict_resumes(s))
        note_cut_off(s);
    if (!verdict_resumes(s)) {
        stat_add(&c->gw->stats, STAT_STARTS_NOW, 1);
        c->tick = s->tick;
        start_finish(s);
    } else if (s->late) {
        catchup_begin(s, START_REPLAY);
    } else if (missed && verdict_needs_pages(s)) {
        catchup_begin(s, START_PAGING);
    } else {
        stat_add(&c->gw->stats, STAT_STARTS_RING, 1);
        c->tick = ring_tick_of(&c->gw->ring, s->since.seq);
        start_finish(s);
    }
}

/* A snapshot beside the messages of a reader who does not read waits for it in
 * the router, not here; but nothing that the reader asked for waits behind it. */
static bool would_pile_up(const struct start *s)
{
    return s->silent && s->late && s->count && s->topics[0].beside &&
           (s->conn->flags & CONN_STALLED) && !s->next;
}

static void say(struct start *s)
{
    struct conn *c = s->conn;
    const struct edge *edge = c->gw->edge;

    list_remove(&s->node);
    if (would_pile_up(s)) {
        drop_snapshots(s);
        s->state = START_LOGIN; /* start_again() */
        return;
    }
    if (s->late && !conn_may_settle(c)) {
        s->state = START_LOGIN; /* start_again() */
        conn_dirty(c);
        return;
    }
    if (!verdict_holds(s)) {
        s->state = START_LOGIN;
        decide(s);
        return;
    }
    s->saying = true;
    if (s->late)
        conn_settle(c, s->tick);
    if (!s->silent && !s->dropped)
        edge->subscribed(c, s->ref);
    s->said = true;
    if (!s->dropped)
        tell_start(s, verdict_resumes(s) && !s->late ? s->since.seq : s->seq,
                 !(s->late && verdict_resumes(s)));
    conn_dirty(c);
    if (start_told(s) && conn_starts(c) == s)
        go_on(s);
}

void start_turn(struct gateway *g)
{
    unsigned left = SAY_SLICE;
    struct list_node *n;

    while (left-- && (n = list_first(&g->ready)))
        say(CONTAINER_OF(n, struct start, node));
    if (!list_empty(&g->ready))
        loop_again(g->loop);
}
