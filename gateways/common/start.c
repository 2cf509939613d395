#include "gateways/common/start.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/pull.h"
#include "gateways/common/uplink.h"
#include "proto/frame_io.h"

enum {
    MANY_TOPICS = 8,   /* a connection with more pulls by walking the ring */
    SAY_SLICE = 256,   /* starts said a turn */
    FETCHES_MAX = 8,   /* pages under way for one gateway */
};

static void decide(struct start *s);

/* ---- made and freed ---------------------------------------------------- */

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

static void drop_items(struct start *s)
{
    while (s->rows)
        drop_item(s, &s->rows);
}

static void drop_snapshots(struct start *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        snapshot_drop(s->topics[i].snapshot);
        s->topics[i].snapshot = NULL;
    }
}

static void unchain(struct start *s)
{
    for (struct start **p = &s->conn->starts; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    list_remove(&s->node);
}

static void start_free(struct start *s)
{
    unchain(s);
    drop_items(s);
    drop_snapshots(s);
    free(s);
}

/* An edge may close the connection while it is being told of a start: that
 * one is freed by whoever tells (told()). One whose LOGGED_IN is still to come
 * stays to take it, or the next request would be taken for answered. */
void start_free_all(struct conn *c)
{
    bool stays = c->state == CONN_OPEN && c->gw->linked;
    struct start *s, *next;

    for (s = c->starts; s; s = next) {
        next = s->next;
        if (s->saying) {
            unchain(s);
            s->dropped = true;
        } else if (!stays || s->state != START_LOGIN || !s->logins) {
            start_free(s);
        } else {
            CHECK(s->count == 0);
            s->gone = true;
        }
    }
}

/* The edge has been told. False: s is gone, with its connection. */
static bool told(struct start *s)
{
    s->saying = false;
    if (s->dropped)
        start_free(s);
    else if (s->conn->state == CONN_OPEN)
        return true;
    return false;
}

static struct start *start_alloc(struct conn *c, unsigned count,
                                 struct slice name)
{
    size_t topics = count * sizeof(struct start_topic);
    struct start *s = calloc(1, sizeof *s + topics + name.len);
    struct start **end = &c->starts;

    if (!s)
        return NULL;
    list_init(&s->node);
    s->conn = c;
    s->told = c->gw->told + 1;
    s->rows_end = &s->rows;
    if (name.len) {
        uint8_t *kept = (uint8_t *)&s->topics[count];

        memcpy(kept, name.ptr, name.len);
        s->name = slice_make(kept, name.len);
    }
    while (*end)
        end = &(*end)->next;
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
static void cover(struct start *s, struct topic *t, bool held)
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
static bool wants(const struct start *s, struct slice id)
{
    for (unsigned i = 0; i < s->count; i++)
        if (matches(s->topics[i].topic, id))
            return true;
    return false;
}

/* Items of pages that were for a channel that has been left. */
static void drop_unwanted(struct start *s)
{
    struct start_item **at = &s->rows;

    while (*at)
        if ((*at)->msg->id.len == 0 || wants(s, (*at)->msg->id))
            at = &(*at)->next;
        else
            drop_item(s, at);
}

void start_drop_topic(struct conn *c, struct topic *t)
{
    struct start *next;

    for (struct start *s = c->starts; s; s = next) {
        struct start_topic *st = covered(s, t);

        next = s->next;
        if (!st)
            continue;
        snapshot_drop(st->snapshot);
        *st = s->topics[--s->count];
        s->topics[s->count].snapshot = NULL;
        drop_unwanted(s);
    }
}

/* ---- the request ------------------------------------------------------- */

static int take_seat(struct start *s, struct slice id)
{
    struct conn *c = s->conn;
    struct topic *t;
    struct seat *seat;
    int rc;

    if (id_is_pattern(id) && !conn_extra(c))
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
        c->extra->patterns++;
    if (s->name.len && seat_set_name(seat, s->name) < 0) {
        if (rc == 0)
            conn_leave(c, seat, false);
        return ERR_NOMEM;
    }
    cover(s, t, rc == ERR_EXISTS);
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
    s->since = req->since;
    for (unsigned i = 0; i < req->count; i++)
        if (take_seat(s, req->channels[i]) < 0)
            goto fail;
    if (c->seats.count > MANY_TOPICS || (c->extra && c->extra->patterns))
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

void start_again(struct conn *c, enum gap_why why)
{
    struct start *s = start_alloc(c, c->seats.count, slice_make(NULL, 0));
    struct seat_iter it = seats_of_conn(&c->seats);
    struct seat *seat;

    if (!s) {
        conn_abort(c, "nomem");
        return;
    }
    while ((seat = seat_next_of_conn(&it))) {
        struct topic *t = topic_of_seat(seat);

        if (!conn_muted(c, t))
            s->topics[s->count++].topic = t;
    }
    for (struct start *other = c->starts; other != s; other = other->next) {
        if (!other->said && !other->has_since)
            continue;
        other->has_reason = true;
        other->reason = (uint8_t)why;
        if (other->state == START_PAGING || other->state == START_REPLAY)
            drop_items(other);
        other->fetch = 0;
    }
    s->silent = s->has_reason = true;
    s->reason = (uint8_t)why;
    if (s->count == 0)
        start_free(s);
    c->flow = FLOW_STARTING;
    for (s = c->starts; s; s = s->next) {
        list_remove(&s->node);
        s->state = START_LOGIN;
    }
}

void start_settle_again(struct conn *c, enum gap_why why)
{
    if (c->flow == FLOW_LIVE)
        pull_settle(c, pull_limit(c));
    if (c->state == CONN_OPEN && c->seats.count)
        start_again(c, why);
}

/* A start of t alone that the edge did not ask for, behind all others. */
static struct start *start_silent(struct conn *c, struct topic *t)
{
    struct start *s = start_alloc(c, 1, slice_make(NULL, 0));

    if (!s) {
        conn_abort(c, "nomem");
        return NULL;
    }
    cover(s, t, false);
    s->silent = true;
    return s;
}

/* Takes t out of the start that mutes it, or has that decide anew. False: it
 * will be told there. */
static bool take_over(struct conn *c, struct topic *t)
{
    for (struct start *s = c->starts; s; s = s->next) {
        if (!start_mutes(s, t))
            continue;
        if (s->said) {
            start_drop_topic(c, t);
            return true;
        }
        list_remove(&s->node);
        s->state = START_LOGIN;
        s->has_reason |= !s->has_since && s->silent;
        return false;
    }
    return true;
}

static void one_again(struct conn *c, struct topic *t, enum gap_why why,
                      uint64_t from, uint64_t to)
{
    bool muted = conn_muted(c, t);
    uint64_t limit = pull_limit(c);
    struct start *s;

    if (c->state != CONN_OPEN || (muted && !take_over(c, t)))
        return;
    if (!muted && c->flow == FLOW_LIVE) /* what came in front of the gap */
        pull_settle(c, limit);
    s = c->state == CONN_OPEN ? start_silent(c, t) : NULL;
    if (!s)
        return;
    s->has_reason = true;
    s->reason = (uint8_t)why;
    if (muted || limit < ring_end(&c->gw->ring))
        return; /* more than that is missed: how much is unknown */
    s->topics[0].from = from;
    s->topics[0].to = to;
}

void start_topic_again(struct gateway *g, struct topic *t, enum gap_why why,
                       uint64_t from, uint64_t to)
{
    struct seat_iter it = seats_of_topic(&t->seats);
    struct seat *seat;

    (void)g;
    while ((seat = seat_next_of_topic(&it)))
        one_again(CONTAINER_OF(seat->conn, struct conn, seats), t, why, from,
                  to);
}

void start_volatile_again(struct conn *c)
{
    struct seat_iter it;
    struct seat *seat;

    if (c->flow == FLOW_LIVE) /* here, where an edge may leave channels */
        pull_settle(c, pull_limit(c));
    it = seats_of_conn(&c->seats);
    while (c->state == CONN_OPEN && (seat = seat_next_of_conn(&it)))
        if (topic_of_seat(seat)->seats.flags & TOPIC_VOLATILE)
            one_again(c, topic_of_seat(seat), GAP_VOLATILE, 0, 0);
}

/* Its messages go on: the snapshot has its place among them. */
static void resnapshot(struct conn *c, struct topic *t)
{
    struct start *s;

    if (c->state != CONN_OPEN || !(t->seats.flags & TOPIC_STATEFUL))
        return;
    s = start_silent(c, t);
    if (s)
        s->topics[0].beside = true;
}

void start_resnapshot(struct topic *t)
{
    struct seat_iter it = seats_of_topic(&t->seats);
    struct seat *seat;

    while ((seat = seat_next_of_topic(&it)))
        resnapshot(CONTAINER_OF(seat->conn, struct conn, seats), t);
}

/* ---- the decision ------------------------------------------------------ */

static bool ours(const struct gateway *g, const struct start *s)
{
    return s->since.epoch.text[0] == '\0' ||
           epoch_equal(&s->since.epoch, &g->epoch);
}

/* A reason why nothing at all can be resumed, whatever the channel. */
static bool hopeless(const struct start *s, enum gap_why *why)
{
    const struct gateway *g = s->conn->gw;

    if (s->has_reason)
        *why = s->reason;
    else if (s->has_since && !ours(g, s))
        *why = GAP_EPOCH;
    else if (s->has_since && s->since.seq > g->seq)
        *why = GAP_FUTURE;
    else
        return false;
    return true;
}

/* Every message of it above this seq is in the ring. Of a pattern the ring
 * counts as a whole: what left it may have been one of its ids'. */
static uint64_t floor_of(const struct gateway *g, const struct topic *t)
{
    return t->seats.flags & TOPIC_PATTERN ? MAX(t->floor, g->ring.gone_seq)
                                          : t->floor;
}

static void judge_volatile(struct start_topic *st, const struct start *s)
{
    const struct topic *t = st->topic;
    uint64_t since = s->since.seq, last = topic_past(t)->last_seq;

    st->missed = last > since && t->newest != 0;
    if (since == 0 || t->floor <= since)
        return;
    if (since >= s->conn->gw->life_seq && last <= since)
        return;
    st->gap = true;
    st->why = GAP_VOLATILE;
    st->from = st->to = 0;
    if (t->seats.flags & TOPIC_STATEFUL)
        st->verdict = START_FRESH;
}

/* Takes the next segment off the front; false: there is none. */
static bool next_segment(struct slice *rest, struct slice *segment)
{
    size_t n = 0;

    if (rest->len == 0)
        return false;
    while (n < rest->len && rest->ptr[n] != '/')
        n++;
    *segment = slice_make(rest->ptr, n);
    *rest = slice_from(*rest, MIN(n + 1, rest->len));
    return true;
}

/* Can an id that starts with this prefix match the pattern? The prefix may
 * end within a segment. */
static bool reaches(struct slice pattern, struct slice prefix)
{
    bool whole = slice_ends(prefix, SLICE("/"));
    struct slice want, have;

    while (next_segment(&prefix, &have)) {
        if (!next_segment(&pattern, &want))
            return false;
        if (slice_eq(want, SLICE("**")))
            return true;
        if (!prefix.len && !whole)
            return slice_eq(want, SLICE("*")) || slice_starts(want, have);
        if (!slice_eq(want, SLICE("*")) && !slice_eq(want, have))
            return false;
    }
    return pattern.len > 0;
}

/* Can ids without history be among those that the pattern matches? */
static bool may_be_volatile(const struct config *cfg, struct slice pattern)
{
    for (size_t i = 0; i < cfg->namespace_count; i++)
        if (cfg->namespaces[i].durability == DURABILITY_MEMORY &&
            reaches(pattern, slice_str(cfg->namespaces[i].prefix)))
            return true;
    return false;
}

static void judge_kept(struct start_topic *st, const struct start *s)
{
    const struct topic *t = st->topic;
    const struct topic_past *past = topic_past(t);
    uint64_t since = s->since.seq;

    st->missed = past->last_seq > since ||
                 ((t->seats.flags & TOPIC_PATTERN) && s->conn->gw->seq > since);
    if (since != 0 && past->trimmed_seq > since && t->floor > since) {
        st->gap = true;
        st->why = GAP_TRIMMED;
        st->from = 0;
        st->to = past->trimmed_offset;
        if (t->seats.flags & TOPIC_STATEFUL) {
            st->to = past->last_offset;
            st->verdict = START_FRESH;
        }
    }
    st->paged = st->missed && floor_of(s->conn->gw, t) > since;
    if (st->paged && since != 0 && !st->gap &&
        (t->seats.flags & TOPIC_PATTERN) &&
        may_be_volatile(s->conn->gw->config, topic_id(t))) {
        st->gap = true;
        st->why = GAP_VOLATILE;
        st->from = st->to = 0;
    }
}

static void judge(struct start *s)
{
    enum gap_why why = GAP_EPOCH;
    bool lost = hopeless(s, &why);

    for (unsigned i = 0; i < s->count; i++) {
        struct start_topic *st = &s->topics[i];

        st->verdict = s->has_since && !lost ? START_RESUMED : START_FRESH;
        st->gap = lost;
        st->why = (uint8_t)why;
        st->missed = st->paged = false;
        if (lost && s->silent && st->from) /* what was muted since, as well */
            st->to = MAX(st->to, topic_past(st->topic)->last_offset);
        if (st->verdict == START_FRESH)
            continue;
        if (st->topic->seats.flags & TOPIC_VOLATILE)
            judge_volatile(st, s);
        else
            judge_kept(st, s);
    }
}

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

static bool resumes(const struct start *s)
{
    return s->count && s->topics[0].verdict == START_RESUMED;
}

static bool needs_pages(const struct start *s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->topics[i].paged)
            return true;
    return false;
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

    if (s->conn->starts != s || s->logins || !g->linked || g->resyncing)
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
    judge(s);
    if (split(s) < 0) {
        conn_abort(s->conn, "nomem");
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
    struct start *s = c->starts;

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
    if (c->starts)
        decide(c->starts);
}

void start_link_down(struct conn *c)
{
    struct start *next;

    for (struct start *s = c->starts; s; s = next) {
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

static void tell(struct start *s, struct notice *n, uint64_t seq)
{
    struct gateway *g = s->conn->gw;
    char cursor[CURSOR_TEXT_MAX];

    if (s->dropped)
        return;
    n->cursor = slice_make(cursor, position_format(cursor, &g->epoch, seq));
    g->edge->notice(s->conn, n);
}

static void tell_gap(struct start *s, const struct start_topic *st,
                     uint64_t seq)
{
    struct slice id = topic_id(st->topic);
    struct notice n = {
        .kind = NOTICE_GAP,
        .channels = &id,
        .count = 1,
        .why = st->why,
        .from = st->from,
        .to = st->to,
        .missed = st->from && st->to ? st->to - st->from + 1 : 0,
    };

    stat_add(&s->conn->gw->stats, STAT_GAPS, 1);
    tell(s, &n, seq);
}

static void tell_state(struct start *s, const struct start_topic *st,
                       uint64_t seq)
{
    struct slice id = topic_id(st->topic);
    struct notice n = {
        .kind = NOTICE_SNAPSHOT,
        .channels = &id,
        .count = 1,
        .state = slice_make(st->snapshot->state, st->snapshot->len),
    };

    tell(s, &n, seq);
}

/* One notice for all channels that want the same said of them. */
static void tell_group(struct start *s, enum notice_kind kind,
                       const struct slice *ids, unsigned count, uint64_t seq)
{
    struct notice n = {.kind = kind, .channels = ids, .count = count};

    if (count)
        tell(s, &n, seq);
}

static void tell_all(struct start *s, uint64_t seq, bool resumed)
{
    struct slice *ids = malloc((s->count + 1) * sizeof *ids);
    unsigned nulls = 0, back = 0;

    if (!ids) {
        conn_abort(s->conn, "nomem");
        return;
    }
    for (unsigned i = 0; i < s->count && !s->dropped; i++)
        if (s->topics[i].gap)
            tell_gap(s, &s->topics[i], seq);
    for (unsigned i = 0; i < s->count && !s->dropped; i++)
        if (s->topics[i].snapshot)
            tell_state(s, &s->topics[i], seq);
    for (unsigned i = 0; i < s->count && !s->dropped; i++)
        if (!s->topics[i].snapshot &&
            (s->topics[i].gap || s->topics[i].verdict == START_FRESH))
            ids[nulls++] = topic_id(s->topics[i].topic);
    tell_group(s, NOTICE_SNAPSHOT, ids, nulls, seq);
    for (unsigned i = 0; i < s->count && !s->dropped; i++)
        if (s->topics[i].verdict == START_RESUMED && !s->topics[i].gap)
            ids[back++] = topic_id(s->topics[i].topic);
    if (resumed)
        tell_group(s, NOTICE_RESUMED, ids, back, seq);
    free(ids);
}

/* What the pages said needs a snapshot behind it. */
static void tell_later(struct start *s)
{
    for (unsigned i = 0; i < s->count && s->conn->state == CONN_OPEN; i++)
        if (s->topics[i].changed)
            resnapshot(s->conn, s->topics[i].topic);
}

static void finish(struct start *s)
{
    struct conn *c = s->conn;
    struct gateway *g = c->gw;
    bool silent = s->silent;
    uint32_t ref = s->ref;

    tell_later(s);
    start_free(s);
    c->flow = FLOW_LIVE;
    conn_set_lagging(c, true);
    if (c->state != CONN_OPEN)
        return;
    conn_dirty(c);
    if (!silent && g->edge->started)
        g->edge->started(c, ref);
    if (c->state == CONN_OPEN)
        start_kick(c);
}

static void read_pages(struct start *s, enum start_state state)
{
    s->state = (uint8_t)state;
    s->paged = s->seq = s->since.seq;
    s->pages_done = !needs_pages(s);
    stat_add(&s->conn->gw->stats,
             s->pages_done ? STAT_STARTS_RING : STAT_STARTS_STORE, 1);
    if (state == START_PAGING)
        s->conn->flow = FLOW_PAGING;
    start_advance(s->conn);
}

static void go_on(struct start *s)
{
    struct conn *c = s->conn;
    bool missed = false;

    for (unsigned i = 0; i < s->count; i++)
        missed |= s->topics[i].missed;
    if (!resumes(s)) {
        stat_add(&c->gw->stats, STAT_STARTS_NOW, 1);
        c->tick = s->tick;
        finish(s);
    } else if (s->late) {
        read_pages(s, START_REPLAY);
    } else if (missed && needs_pages(s)) {
        read_pages(s, START_PAGING);
    } else {
        stat_add(&c->gw->stats, STAT_STARTS_RING, 1);
        c->tick = ring_tick_of(&c->gw->ring, s->since.seq);
        finish(s);
    }
}

/* Has the ring kept what the decision relied on? */
static bool still_holds(const struct start *s)
{
    uint64_t seq = resumes(s) ? s->since.seq : s->seq;

    for (unsigned i = 0; i < s->count; i++)
        if (!s->topics[i].paged && !s->topics[i].gap &&
            (s->topics[i].missed ||
             topic_past(s->topics[i].topic)->last_seq > seq) &&
            floor_of(s->conn->gw, s->topics[i].topic) > seq)
            return false;
    return s->tick + 1 >= s->conn->gw->ring.first || resumes(s);
}

static void say(struct start *s)
{
    struct conn *c = s->conn;
    const struct edge *edge = c->gw->edge;

    list_remove(&s->node);
    if (!still_holds(s)) {
        s->state = START_LOGIN;
        decide(s);
        return;
    }
    s->saying = true;
    if (s->late)
        pull_settle(c, s->tick);
    if (!s->silent && !s->dropped)
        edge->subscribed(c, s->ref);
    s->said = true;
    if (!s->dropped)
        tell_all(s, resumes(s) && !s->late ? s->since.seq : s->seq,
                 !(s->late && resumes(s)));
    conn_dirty(c);
    if (told(s) && c->starts == s)
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

/* ---- pages ------------------------------------------------------------- */

uint64_t start_seq(const struct start *s)
{
    return s->paged;
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
        .bytes = (uint32_t)limits->page_bytes,
        .count = (uint16_t)s->count,
    };

    if (!k) {
        conn_abort(s->conn, "nomem");
        return;
    }
    f.ref = (uint32_t)k->number;
    k->code = FRAME_FETCH;
    frame_write_fetch(&k->frame, &f);
    for (unsigned i = 0; i < s->count; i++)
        frame_write_id(&k->frame, topic_id(s->topics[i].topic));
    s->fetch = k->number;
    g->fetches++;
    if (ask_send(g, k) < 0)
        conn_abort(s->conn, "nomem");
}

void start_fetch_next(struct gateway *g)
{
    struct list_node *n;

    while (g->fetches < FETCHES_MAX && (n = list_pop(&g->paging)))
        fetch(CONTAINER_OF(n, struct start, node));
}

void start_seq_moved(struct gateway *g)
{
    struct list_node mine;
    struct list_node *n;

    list_init(&mine);
    list_splice_tail(&mine, &g->ahead);
    while ((n = list_pop(&mine)))
        start_advance(CONTAINER_OF(n, struct start, node)->conn);
}

static struct start *paging(const struct conn *c)
{
    struct start *s = c->starts;

    if (s && (s->state == START_PAGING || s->state == START_REPLAY))
        return s;
    return NULL;
}

bool start_paging(const struct conn *c)
{
    return paging(c) != NULL;
}

static struct start_item *add_item(struct start *s, struct msg *m)
{
    struct start_item *i = calloc(1, sizeof *i);

    if (!i) {
        msg_drop(m);
        conn_abort(s->conn, "nomem");
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
void start_row(struct conn *c, uint64_t number, struct msg *m)
{
    struct start *s = paging(c);

    if (!s || s->fetch != number || !wants(s, m->id)) {
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

void start_hole(struct conn *c, uint64_t number, const struct frame_hole *h)
{
    struct start *s = paging(c);
    struct start_item *i;
    struct msg *m;

    if (!s || s->fetch != number || knows_hole(s, h))
        return;
    if (msg_new(&m, &(struct msg_parts){.id = h->id, .seq = h->seq}) < 0) {
        conn_abort(c, "nomem");
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

void start_page_end(struct conn *c, uint64_t number, int err, bool more,
                    uint64_t upto)
{
    struct start *s = paging(c);

    if (!s || s->fetch != number)
        return;
    s->fetch = 0;
    if (err) {
        conn_close(c, "store");
        return;
    }
    s->pages_done = !more;
    s->seq = upto;
    if (c->flags & CONN_STALLED)
        return;
    if (s->rows)
        conn_dirty(c);
    else
        start_advance(c);
}

static void tell_hole(struct conn *c, const struct start_item *i,
                      struct slice id)
{
    struct start *s = c->starts;
    struct notice n = {
        .kind = NOTICE_GAP,
        .channels = &id,
        .count = 1,
        .why = i->why,
        .from = i->from,
        .to = i->to,
        .missed = i->from && i->to ? i->to - i->from + 1 : 0,
    };

    stat_add(&c->gw->stats, STAT_GAPS, 1);
    tell(s, &n, s->paged);
}

/* One item into v. False: no room, or it went to out instead. */
static bool put_item(struct conn *c, struct outvec *v,
                     const struct start_item *i, uint64_t number)
{
    const struct edge *edge = c->gw->edge;
    unsigned flags = c->starts->state == START_REPLAY ? PUT_REPLAY : 0;
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
    const struct start *s = c->starts;

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
        start_rows_out(c, 1);
        if (hole.msg->id.len)
            tell_hole(c, &hole, hole.msg->id);
        else
            tell_hole_of_all(c, &hole);
        msg_drop(hole.msg);
        if (c->out)
            return false;
    }
    return true;
}

bool start_pull(struct conn *c, struct outvec *v)
{
    struct start *s;
    uint64_t number = 1;

    if (v->bytes == 0 && !tell_holes(c))
        return false;
    s = paging(c);
    if (!s)
        return true;
    for (struct start_item *i = s->rows; i; i = i->next, number++)
        if (i->hole || !put_item(c, v, i, number))
            return false;
    return true;
}

void start_rows_out(struct conn *c, uint64_t rows)
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
            floor_of(s->conn->gw, s->topics[i].topic) > s->paged)
            return false;
    return true;
}

/* What the ring has of this start's topics up to the connection's place, sent
 * as part of the replay: the connection has passed it. */
static void replay_rest(struct start *s)
{
    struct conn *c = s->conn;
    struct gateway *g = c->gw;
    struct outvec *v = g->out;

    for (uint64_t t = ring_tick_of(&g->ring, s->paged) + 1;
         t <= c->tick && !s->dropped; t++) {
        struct ring_entry *e = ring_at(&g->ring, t);

        if (!e || !wants(s, e->msg->id))
            continue;
        if (e->msg->flags & MSG_NOTICE) {
            if (slice_eq(e->msg->kind, SLICE("gap")))
                pull_notice(c, e);
            continue;
        }
        outvec_reset(v);
        if (g->edge->put(c, e->msg, PUT_REPLAY, v) == PUT_OK)
            outvec_copy(v, 0, v->bytes, conn_out(c));
        note_change(s, e->msg);
    }
}

static void end_replay(struct start *s)
{
    struct conn *c = s->conn;
    struct gateway *g = c->gw;
    struct slice *ids = malloc((s->count + 1) * sizeof *ids);

    if (!ids) {
        conn_abort(c, "nomem");
        return;
    }
    s->saying = true;
    pull_settle(c, ring_end(&g->ring));
    if (!s->dropped)
        replay_rest(s);
    for (unsigned i = 0; i < s->count && !s->dropped; i++)
        ids[i] = topic_id(s->topics[i].topic);
    tell_group(s, NOTICE_RESUMED, ids, s->count, g->seq);
    free(ids);
    if (told(s))
        finish(s);
}

void start_advance(struct conn *c)
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
        start_fetch_next(c->gw);
        return;
    }
    if (s->state == START_REPLAY) {
        end_replay(s);
        return;
    }
    c->tick = ring_tick_of(&c->gw->ring, s->paged);
    finish(s);
}
