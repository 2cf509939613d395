#include "gateways/common/thin.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/pull.h"
#include "gateways/common/restart.h"

enum {
    DUE_FIRST = 256, /* entries that room is made for */
    FEW = 4, /* of what may be looked at in a turn this part, if that is all, is
                gathered along the topics' chains */
    VISIT_LOOKS = 256, /* what else it takes to visit one */
};

/* What a channel's reader has to do without, and has not been told. */
struct loss {
    struct map_node node; /* on thinned.losses */
    const struct topic *topic;
    struct thin_loss is;
};

struct thinned {
    /* Of these shares, what came since the connection lags is left out up to
     * this tick; of the last, if its newer one has come up to there, too. */
    uint64_t latest, lesser, newest;
    uint64_t at, seq; /* at this tick it had everything up to this seq */
    uint64_t first;   /* tick of the oldest that has not been told */
    struct map losses;
};

/* What is due to a connection and may be left out, or counts. */
struct due {
    uint64_t tick;
    uint32_t size;  /* 0: it is due no more */
    uint32_t older; /* the one that gives way to it, counted from 1 */
};

enum job_state {
    JOB_WALK,   /* what is due is gathered, along the ring */
    JOB_NEWER,  /* of each that gives way: to which */
    JOB_LESSER, /* these are left out, as far as it takes */
    JOB_GIVES,  /* is there one too old that gives way? */
    JOB_NEWEST, /* those that give way are */
    JOB_LATEST, /* these are, as far as it takes */
    JOB_DONE,
};

/* A connection is thinned, in steps: whatever is left out is left out in all
 * respects at once, so it may end at any of them. */
struct thin_job {
    struct conn *conn;
    enum job_state state;
    uint64_t at, limit; /* ticks: where the walk is, and where it ends */
    struct due *due;    /* oldest first */
    size_t count, room;
    size_t next;        /* of the state's walk along them */
    size_t gone;        /* so many of the first have been sent, or left the
                           ring, and were seen to have */
    size_t bytes, left; /* of what is not left out */
    size_t budget;
    int64_t stale_ns;   /* what came before this is over queue_age */
    int64_t oldest_ns;
    uint32_t *seen;     /* the last one of each key, counted from 1 */
    size_t seen_room;
    bool failed;        /* no memory */
};

static void free_job(struct thin_job *j)
{
    free(j->due);
    free(j->seen);
}

/* Whatever it has done stays; it begins anew when its connection's turn comes
 * again, behind all others: one that breaks off again and again holds up none. */
static void cancel(struct gateway *g, struct conn *c)
{
    if (!g->thin_job || g->thin_job->conn != c)
        return;
    free_job(g->thin_job);
    free(g->thin_job);
    g->thin_job = NULL;
    list_remove(&conn_busy(c)->drained);
    list_add_tail(&g->drained, &conn_busy(c)->drained);
}

/* ---- shares -------------------------------------------------------------- */

/* By what a message replaces others, and is replaced; empty: the whole id. */
static struct slice key_of(const struct msg *m)
{
    return (m->flags & MSG_WEIGHT) == WEIGHT_STATE ? slice_make(NULL, 0)
                                                   : m->key;
}

static enum share conflated_share(const struct msg *m)
{
    switch (m->flags & MSG_WEIGHT) {
    case WEIGHT_LESSER: return SHARE_LESSER;
    case WEIGHT_STATE: return SHARE_NEWEST;
    case WEIGHT_KEPT: return SHARE_KEPT;
    default: return m->key.len ? SHARE_NEWEST : SHARE_KEPT;
    }
}

static enum share ask_share(const struct gateway *g, const struct msg *m)
{
    if (m->flags & MSG_NOTICE)
        return SHARE_NOTICE;
    switch ((enum slow_policy)config_namespace(g->config, m->id)->slow) {
    case SLOW_DROP_OLDEST: return SHARE_LATEST;
    case SLOW_CONFLATE: return conflated_share(m);
    case SLOW_CUT: break;
    }
    return SHARE_WHOLE;
}

enum share thin_share(const struct gateway *g, struct ring_entry *e)
{
    if (e->share == SHARE_UNASKED)
        e->share = (uint8_t)ask_share(g, e->msg);
    return (enum share)e->share;
}

bool thin_leaves_out(const struct conn *c, const struct ring_entry *e,
                     uint64_t tick)
{
    const struct thinned *s = conn_busy(c)->thinned;

    if (e->came_ns < conn_busy(c)->lagging_ns)
        return false;
    switch ((enum share)e->share) {
    case SHARE_LATEST: return tick <= s->latest;
    case SHARE_LESSER: return tick <= s->lesser;
    case SHARE_NEWEST: return e->newer && tick + e->newer <= s->newest;
    default: return false;
    }
}

bool thin_may_help(struct conn *c)
{
    struct seat_iter it = seats_of_conn(&c->seats);
    struct seat *s;

    while ((s = seat_next(&it)))
        if (config_namespace(c->gw->config, topic_id(topic_of_seat(s)))->slow !=
            SLOW_CUT)
            return true;
    return false;
}

/* ---- what is left out ---------------------------------------------------- */

static uint32_t topic_hash(const struct topic *t)
{
    return hash_bytes(slice_make(&t, sizeof t));
}

static bool same_topic(const struct map_node *n, const void *key)
{
    return CONTAINER_OF(n, struct loss, node)->topic == key;
}

static struct loss *loss_find(const struct thinned *s, const struct topic *t)
{
    struct map_node *n = map_find(&s->losses, topic_hash(t), same_topic, t);

    return n ? CONTAINER_OF(n, struct loss, node) : NULL;
}

const struct thin_loss *thin_loss_of(const struct conn *c,
                                     const struct topic *t)
{
    const struct loss *l = conn_thinned(c) ? loss_find(conn_busy(c)->thinned, t)
                                           : NULL;

    return l ? &l->is : NULL;
}

size_t thin_bytes(const struct conn *c)
{
    const struct thinned *s = conn_thinned(c) ? conn_busy(c)->thinned : NULL;

    return s ? sizeof *s + map_count(&s->losses) * sizeof(struct loss) : 0;
}

static void loss_free(struct thinned *s, struct loss *l)
{
    map_remove(&s->losses, &l->node);
    free(l);
}

void thin_forget(struct conn *c)
{
    struct thinned *s = conn_thinned(c) ? conn_busy(c)->thinned : NULL;
    struct map_iter it;
    struct map_node *n;

    cancel(c->gw, c);
    if (!s)
        return;
    it = map_iter(&s->losses);
    while (map_next(&it, &n)) {
        map_iter_remove(&it, n);
        free(CONTAINER_OF(n, struct loss, node));
    }
    map_fini(&s->losses);
    free(s);
    conn_busy(c)->thinned = NULL;
}

/* Made for a connection that lags. NULL: no memory, and it is gone. */
static struct thinned *thinned_of(struct conn *c)
{
    if (conn_busy(c)->thinned)
        return conn_busy(c)->thinned;
    conn_busy(c)->thinned = calloc(1, sizeof *conn_busy(c)->thinned);
    if (!conn_busy(c)->thinned) {
        conn_abort(c, "memory");
        return NULL;
    }
    map_init(&conn_busy(c)->thinned->losses);
    log_info("conn.slow", "conn=%s peer=%s queued=%zu action=leave_out",
             conn_text(c), conn_peer_text(c), conn_out_pending(c));
    return conn_busy(c)->thinned;
}

/* NULL: no memory. */
static struct loss *loss_add(struct thinned *s, const struct topic *t)
{
    struct loss *l = calloc(1, sizeof *l);

    if (!l || map_add(&s->losses, &l->node, topic_hash(t)) < 0) {
        free(l);
        return NULL;
    }
    l->topic = t;
    return l;
}

/* NULL: no memory, and c is gone: nobody has a hole that it does not know of. */
static struct loss *loss_of(struct conn *c, const struct topic *t)
{
    struct thinned *s = thinned_of(c);
    struct loss *l = s ? loss_find(s, t) : NULL;

    if (!s || l)
        return l;
    l = loss_add(s, t);
    if (!l)
        conn_abort(c, "memory");
    return l;
}

static void note_notice(struct loss *l, const struct msg *m)
{
    struct gap gap;

    l->is.state = l->is.more = true;
    if (!deliver_read_gap(m, &gap))
        return;
    l->is.hole = true;
    if (!(l->topic->seats.flags & TOPIC_PATTERN))
        l->is.to = gap.to ? MAX(l->is.to, gap.to) : 0;
}

static void note_loss(struct conn *c, const struct topic *t,
                      const struct ring_entry *e)
{
    struct loss *l = loss_of(c, t);

    if (!l)
        return;
    if (e->msg->flags & MSG_NOTICE) {
        note_notice(l, e->msg);
        return;
    }
    l->is.count++;
    l->is.oldest |= e->share == SHARE_LATEST;
    l->is.state |= (e->msg->flags & MSG_WEIGHT) == WEIGHT_STATE ||
                (e->msg->flags & MSG_RESNAPSHOT);
    if (t->seats.flags & TOPIC_PATTERN)
        return;
    l->is.from = l->is.from ? MIN(l->is.from, e->msg->offset) : e->msg->offset;
    l->is.to = MAX(l->is.to, e->msg->offset);
}

static bool holds(struct conn *c, struct topic *t)
{
    return seat_find(&t->seats, &c->seats) &&
           !(conn_starts(c) && conn_muted(c, t));
}

/* What was left out of an id that c leaves is still missing for a pattern that
 * matches it. */
struct heirs {
    struct conn *conn;
    const struct loss *loss;
};

static void inherit(void *ctx, void *value)
{
    const struct heirs *h = ctx;
    struct loss *l = h->conn->state == CONN_OPEN && holds(h->conn, value)
                         ? loss_of(h->conn, value) : NULL;

    if (!l)
        return;
    l->is.count += h->loss->is.count;
    l->is.oldest |= h->loss->is.oldest;
    l->is.more |= h->loss->is.more;
    l->is.hole |= h->loss->is.hole;
}

void thin_leave(struct conn *c, const struct topic *t)
{
    struct loss *l = conn_thinned(c) ? loss_find(conn_busy(c)->thinned, t) : NULL;
    struct heirs h = {c, l};

    cancel(c->gw, c); /* what waited in t does no more */
    if (conn_busy(c))
        conn_busy(c)->whole.from = UINT64_MAX;
    if (!l)
        return;
    if (!(t->seats.flags & TOPIC_PATTERN))
        trie_match(c->gw->topics.patterns, topic_id(t), inherit, &h);
    if (conn_thinned(c)) /* else memory ran out, and c is gone */
        loss_free(conn_busy(c)->thinned, l);
}

struct by_pattern {
    struct conn *conn;
    const struct ring_entry *entry;
};

static void note_by_pattern(void *ctx, void *value)
{
    const struct by_pattern *by = ctx;

    if (by->conn->state == CONN_OPEN && holds(by->conn, value))
        note_loss(by->conn, value, by->entry);
}

/* e, which is due, is left out: of its channel; else of each pattern through
 * which it would have come. */
static void leave_out(struct conn *c, const struct ring_entry *e,
                      uint64_t tick)
{
    struct by_pattern by = {c, e};
    struct thinned *s = thinned_of(c);

    if (!s)
        return;
    if (map_count(&s->losses) == 0 || tick < s->first)
        s->first = tick;
    if (!(e->msg->flags & MSG_NOTICE))
        stat_add(&c->gw->stats, e->share == SHARE_LATEST
                                    ? STAT_LEFT_OUT
                                    : STAT_LEFT_OUT_CONFLATED, 1);
    if (holds(c, e->topic))
        note_loss(c, e->topic, e);
    else
        trie_match(c->gw->topics.patterns, e->msg->id, note_by_pattern, &by);
}

static bool has_losses(const struct conn *c)
{
    return conn_thinned(c) && map_count(&conn_busy(c)->thinned->losses);
}

uint64_t thin_limit(const struct conn *c)
{
    return has_losses(c) ? conn_busy(c)->thinned->first - 1 : UINT64_MAX;
}

bool thin_owes(const struct conn *c)
{
    return has_losses(c) && c->flow == FLOW_LIVE && c->state == CONN_OPEN &&
           MAX(c->tick + 1, c->gw->ring.first) >= conn_busy(c)->thinned->first;
}

static void tell(struct conn *c, const struct loss *l)
{
    struct slice id = topic_id(l->topic);
    struct notice n = {
        .kind = NOTICE_GAP,
        .channels = &id,
        .count = 1,
        .cursor = conn_cursor(c),
        .why = l->is.oldest || l->is.more ? GAP_SLOW : GAP_CONFLATED,
        .from = l->is.hole ? 0 : l->is.from,
        .to = l->is.to,
        .missed = l->is.more ? 0 : l->is.count,
    };
    char cursor[CURSOR_TEXT_MAX];

    memcpy(cursor, n.cursor.ptr, n.cursor.len);
    n.cursor.ptr = (const uint8_t *)cursor;
    stat_add(&c->gw->stats, STAT_GAPS_TRIMMED + (unsigned)n.why, 1);
    c->gw->edge->notice(c, &n);
}

/* Notices of a channel are in the snapshot that follows, but for gaps; of a
 * pattern they are missing, nobody knows how many. */
static void leave_to_state(struct loss *l)
{
    if (!(l->topic->seats.flags & TOPIC_PATTERN) && !l->is.hole)
        l->is.more = false;
}

void thin_tell(struct conn *c)
{
    struct seat_iter it = seats_of_conn(&c->seats);
    unsigned held = c->seats.count;
    struct seat *s;

    /* An edge that leaves channels while it is told hears the rest later. */
    while (thin_owes(c) && c->seats.count == held && (s = seat_next(&it))) {
        struct topic *t = topic_of_seat(s);
        struct loss *l = loss_find(conn_busy(c)->thinned, t);
        struct loss said;

        if (!l)
            continue;
        said = *l;
        loss_free(conn_busy(c)->thinned, l);
        leave_to_state(&said);
        if (said.is.count || said.is.more)
            tell(c, &said);
        if (said.is.state && c->state == CONN_OPEN && c->seats.count == held)
            restart_snapshot_of(c, t);
    }
    if (c->state == CONN_OPEN)
        start_again(c);
}

/* ---- thinning ------------------------------------------------------------ */

static struct ring_entry *entry_at(const struct thin_job *j, size_t i)
{
    return j->due[i].size ? ring_at(&j->conn->gw->ring, j->due[i].tick) : NULL;
}

static void pass(struct thin_job *j, size_t i)
{
    if (!j->due[i].size)
        return;
    j->bytes -= j->due[i].size;
    j->left--;
    j->due[i].size = 0;
}

/* What has gone since the last step. */
static void pass_gone(struct thin_job *j)
{
    const struct conn *c = j->conn;
    uint64_t first = MAX(c->gw->ring.first, c->tick + 1);

    while (j->gone < j->count && j->due[j->gone].tick < first)
        pass(j, j->gone++);
}

static bool make_room(struct thin_job *j)
{
    size_t room = j->room ? 2 * j->room : DUE_FIRST;
    struct due *due = j->count < j->room
                          ? j->due : reallocarray(j->due, room, sizeof *due);

    if (!due) {
        j->failed = true;
        return false;
    }
    j->room = j->count < j->room ? j->room : room;
    j->due = due;
    return true;
}

static bool add_due(void *ctx, struct ring_entry *e, uint64_t tick)
{
    struct thin_job *j = ctx;
    struct conn *c = j->conn;

    if (tick > j->limit || (conn_starts(c) && !pull_due(c, e)) ||
        (conn_busy(c)->thinned && thin_leaves_out(c, e, tick)))
        return true;
    if (!make_room(j))
        return false;
    (void)thin_share(c->gw, e);
    j->due[j->count++] = (struct due){tick, (uint32_t)msg_size(e->msg), 0};
    j->bytes += msg_size(e->msg);
    j->left++;
    j->oldest_ns = MIN(j->oldest_ns, e->came_ns);
    return true;
}

static int by_tick(const void *a, const void *b)
{
    const struct due *x = a, *y = b;

    return (x->tick > y->tick) - (x->tick < y->tick);
}

static bool same_key(const struct ring_entry *a, const struct ring_entry *b)
{
    return a->topic == b->topic && slice_eq(key_of(a->msg), key_of(b->msg));
}

static bool is_too_much(const struct thin_job *j)
{
    return j->left > 1 && j->bytes > j->budget;
}

/* All that is due is known: is any of it too much? */
static void gathered(struct thin_job *j)
{
    j->state = JOB_DONE;
    if (j->failed || (j->bytes <= j->budget && j->oldest_ns >= j->stale_ns))
        return;
    for (j->seen_room = DUE_FIRST; j->seen_room < 2 * j->count;)
        j->seen_room *= 2;
    j->seen = calloc(j->seen_room, sizeof *j->seen);
    j->failed = !j->seen;
    if (j->failed || !thinned_of(j->conn))
        return;
    stat_add(&j->conn->gw->stats, STAT_THINNED, 1);
    j->state = JOB_NEWER;
    j->next = j->count;
}

/* One entry of the ring. */
static void walk(struct thin_job *j)
{
    struct conn *c = j->conn;
    struct ring_entry *e;

    j->at = MAX(j->at, MAX(c->tick + 1, c->gw->ring.first));
    if (j->at > j->limit) {
        gathered(j);
        return;
    }
    e = ring_at(&c->gw->ring, j->at);
    if (e && e->came_ns >= conn_busy(c)->lagging_ns && pull_waits(c, e) &&
        !add_due(j, e, j->at))
        j->state = JOB_DONE;
    j->at++;
}

/* From the newest on: the one that is to be in its place, and was looked at
 * last of its key. */
static void find_newer(struct thin_job *j)
{
    struct ring_entry *e, *newer = NULL;
    size_t i, at;

    if (j->next == 0) {
        j->state = JOB_LESSER;
        return;
    }
    i = --j->next;
    e = entry_at(j, i);
    if (!e || e->share != SHARE_NEWEST)
        return;
    at = (hash_bytes(key_of(e->msg)) ^ topic_hash(e->topic)) &
         (j->seen_room - 1);
    while (j->seen[at] && (newer = entry_at(j, j->seen[at] - 1)) &&
           !same_key(e, newer))
        at = (at + 1) & (j->seen_room - 1);
    if (j->seen[at] && newer) {
        e->newer = (uint32_t)MIN(j->due[j->seen[at] - 1].tick - j->due[i].tick,
                                 (uint64_t)UINT32_MAX);
        j->due[j->seen[at] - 1].older = (uint32_t)(i + 1);
    }
    j->seen[at] = (uint32_t)(i + 1);
}

static void go_to(struct thin_job *j, enum job_state next)
{
    j->state = next;
    j->next = 0;
}

/* True: this share's walk is over. One of its share, the oldest first, until
 * the rest is within the budget. */
static bool trim(struct thin_job *j, enum share share, uint64_t *upto)
{
    const struct ring_entry *e;
    size_t i = j->next++;

    if (i >= j->count)
        return true;
    e = entry_at(j, i);
    if (!e || e->share != share)
        return false;
    if (!is_too_much(j) && e->came_ns >= j->stale_ns)
        return true;
    *upto = j->due[i].tick;
    pass(j, i);
    leave_out(j->conn, e, j->due[i].tick); /* may be the end of it all */
    return false;
}

/* The one that gives way to this, if any. */
static const struct ring_entry *older_of(const struct thin_job *j, size_t i,
                                         size_t *older)
{
    const struct ring_entry *e;

    if (!j->due[i].older)
        return NULL;
    *older = j->due[i].older - 1;
    e = entry_at(j, *older);
    return e && j->due[*older].tick + e->newer == j->due[i].tick ? e : NULL;
}

/* Is it called for that they give way? */
static void look_for_stale(struct thin_job *j)
{
    const struct ring_entry *e;
    size_t older;

    if (is_too_much(j)) {
        go_to(j, JOB_NEWEST);
        return;
    }
    if (j->next >= j->count) {
        go_to(j, JOB_LATEST);
        return;
    }
    e = older_of(j, j->next++, &older);
    if (e && e->came_ns < j->stale_ns)
        go_to(j, JOB_NEWEST);
}

/* All do, up to one tick after the other. */
static void conflate(struct thin_job *j, uint64_t *upto)
{
    const struct ring_entry *e;
    size_t i = j->next++, older;

    if (i >= j->count) {
        go_to(j, JOB_LATEST);
        return;
    }
    *upto = MAX(*upto, j->due[i].tick);
    e = older_of(j, i, &older);
    if (!e)
        return;
    pass(j, older);
    leave_out(j->conn, e, j->due[older].tick); /* may be the end of it all */
}

static void end_job(struct thin_job *j)
{
    struct conn *c = j->conn;

    if (j->failed) {
        conn_abort(c, "memory");
    } else if (c->state == CONN_OPEN && j->seen && is_too_much(j)) {
        gateway_limit(c->gw, LIMIT_QUEUE); /* and no more may be left out */
        conn_cut(c, STAT_CUT_QUEUE);
    }
}

static void step(struct thin_job *j)
{
    struct thinned *s = conn_busy(j->conn)->thinned;

    switch (j->state) {
    case JOB_WALK: walk(j); break;
    case JOB_NEWER: find_newer(j); break;
    case JOB_LESSER:
        if (trim(j, SHARE_LESSER, &s->lesser))
            go_to(j, JOB_GIVES);
        break;
    case JOB_GIVES: look_for_stale(j); break;
    case JOB_NEWEST: conflate(j, &s->newest); break;
    case JOB_LATEST:
        if (trim(j, SHARE_LATEST, &s->latest))
            j->state = JOB_DONE;
        break;
    case JOB_DONE: break;
    }
}

/* So many steps at most. True: it is through. */
static bool run(struct thin_job *j, size_t steps)
{
    struct gateway *g = j->conn->gw;

    pass_gone(j);
    while (steps-- && j->state != JOB_DONE && j->conn->state == CONN_OPEN) {
        g->looked_at++;
        step(j);
    }
    if (j->state != JOB_DONE && j->conn->state == CONN_OPEN)
        return false;
    end_job(j);
    return true;
}

/* When the oldest that may still wait has come. */
static int64_t stale_ns(const struct gateway *g)
{
    int64_t age = g->config->limits.queue_age;

    return age ? loop_now(g->loop) - age : INT64_MIN;
}

/* Gathers along its topics, if what is due is little. False: it is not. */
static bool gather_few(struct thin_job *j)
{
    size_t most = j->conn->gw->looks / FEW;

    if (!pull_some(j->conn, conn_busy(j->conn)->lagging_ns, &most, add_due, j)) {
        j->count = j->bytes = j->left = 0;
        j->oldest_ns = INT64_MAX;
        return false;
    }
    if (j->count > 1)
        qsort(j->due, j->count, sizeof *j->due, by_tick);
    gathered(j);
    return true;
}

/* False: there is nothing that thinning could do. */
static bool begin_job(struct thin_job *j, struct conn *c, size_t behind)
{
    size_t queue = c->gw->config->limits.queue;

    *j = (struct thin_job){.conn = c, .budget = queue - MIN(queue, behind),
                           .oldest_ns = INT64_MAX};
    if (c->flow != FLOW_LIVE || c->state != CONN_OPEN || !conn_lags(c) ||
        !thin_may_help(c))
        return false;
    j->stale_ns = stale_ns(c->gw);
    j->limit = pull_end(c);
    j->at = c->tick + 1;
    (void)!gather_few(j);
    return true;
}

void thin_due(struct conn *c, size_t behind)
{
    struct thin_job j;

    cancel(c->gw, c);
    if (begin_job(&j, c, behind))
        (void)run(&j, SIZE_MAX);
    free_job(&j);
}

bool thin_drained(struct conn *c)
{
    if (c->flow != FLOW_LIVE || c->state != CONN_OPEN || !conn_lags(c))
        return false;
    if (!list_linked(&conn_busy(c)->drained))
        list_add_tail(&c->gw->drained, &conn_busy(c)->drained);
    return true;
}

void thin_not_drained(struct conn *c)
{
    cancel(c->gw, c);
    if (conn_busy(c))
        list_remove(&conn_busy(c)->drained);
}

/* For the next turn. False: there is no memory for that. */
static bool keep(struct gateway *g, const struct thin_job *j)
{
    g->thin_job = malloc(sizeof *g->thin_job);
    if (!g->thin_job)
        return false;
    *g->thin_job = *j;
    return true;
}

/* That of the first one whose turn it is: begun now, or before. False: there is
 * nothing to do. */
static bool take_job(struct gateway *g, struct conn *c, struct thin_job *ret)
{
    if (!g->thin_job)
        return begin_job(ret, c, 0);
    *ret = *g->thin_job;
    free(g->thin_job);
    g->thin_job = NULL;
    return true;
}

/* False: so many steps are not enough. */
static bool thin_first(struct gateway *g, struct conn *c, size_t steps)
{
    struct thin_job j;

    if (take_job(g, c, &j) && !run(&j, steps)) {
        if (keep(g, &j))
            return false;
        (void)run(&j, SIZE_MAX);
    }
    free_job(&j);
    return true;
}

void thin_turn(struct gateway *g)
{
    size_t before = g->looked_at;
    struct list_node *n;

    while (g->looked_at - before < g->looks &&
           (n = list_first(&g->drained))) {
        struct conn *c = CONTAINER_OF(n, struct conn_busy, drained)->conn;

        g->looked_at++;
        if (thin_first(g, c, g->looks - MIN(g->looked_at - before, g->looks)))
            conn_take_up(c);
    }
    if (!list_empty(&g->drained))
        loop_again(g->loop);
}

/* ---- what leaves the ring ------------------------------------------------ */

/* The oldest entry of the ring, which goes. */
struct going {
    struct gateway *gw;
    struct ring_entry *entry;
    uint64_t tick;
    bool looked; /* for a newer one of its key: once for all readers */
    size_t seats; /* of the patterns that match */
    struct list_node missing; /* who may not have got it */
};

/* Something newer says what e says, to whoever holds its id. */
static bool has_newer(struct going *go)
{
    struct ring_entry *e = go->entry;
    uint64_t at = topic_past(e->topic)->newest;

    while (!go->looked && !e->newer && at > go->tick) {
        struct ring_entry *newer = ring_at(&go->gw->ring, at);

        if (thin_share(go->gw, newer) != SHARE_NEWEST || !same_key(newer, e))
            at = newer->previous;
        else
            e->newer = (uint32_t)MIN(at - go->tick, (uint64_t)UINT32_MAX);
    }
    go->looked = true;
    return e->newer;
}

/* Its reader gets the state of the id instead. */
static bool has_state(struct conn *c, const struct ring_entry *e)
{
    return (e->topic->seats.flags & TOPIC_STATEFUL) && holds(c, e->topic);
}

static bool may_go(struct conn *c, struct going *go)
{
    const struct ring_entry *e = go->entry;

    switch (thin_share(c->gw, go->entry)) {
    case SHARE_LATEST:
    case SHARE_LESSER:
        return true;
    case SHARE_NEWEST:
        return has_newer(go) ||
               ((e->msg->flags & MSG_WEIGHT) == WEIGHT_STATE &&
                has_state(c, e));
    case SHARE_NOTICE:
        return !slice_eq(e->msg->kind, SLICE("gap"));
    default:
        return false;
    }
}

/* c has everything in front of e, which it misses. */
static void note_place(struct conn *c, const struct ring_entry *e)
{
    struct thinned *s = thinned_of(c);

    if (!s || s->at == c->tick)
        return;
    s->at = c->tick;
    s->seq = e->msg->seq - !(e->msg->flags & MSG_NOTICE);
}

bool thin_place(const struct conn *c, uint64_t *seq)
{
    if (!conn_thinned(c) || conn_busy(c)->thinned->at != c->tick)
        return false;
    *seq = conn_busy(c)->thinned->seq;
    return true;
}

static bool misses(struct conn *c, const struct going *go)
{
    return c->tick < go->tick && c->flow == FLOW_LIVE &&
           pull_due(c, go->entry) &&
           !(conn_thinned(c) && thin_leaves_out(c, go->entry, go->tick));
}

/* Whose socket is not known to be full has had no chance yet: it resumes from
 * the end of the ring, or waits for its turn among others. It is visited now,
 * again where pages or the rest of something come in front of the entry. */
static void visit(struct conn *c, const struct going *go)
{
    struct gateway *g = c->gw;
    bool moves = true;

    while (moves && !(c->flags & CONN_STALLED) && misses(c, go)) {
        size_t sent = g->sent;
        uint64_t tick = c->tick;

        if (pull_end(c) < go->tick)
            start_put_off(c);
        g->looked_at += VISIT_LOOKS;
        conn_flush(c);
        moves = g->sent != sent || c->tick != tick;
    }
}

static void let_go(struct conn *c, struct going *go)
{
    const struct ring_entry *e = go->entry;

    visit(c, go);
    if (!misses(c, go))
        return;
    if (!may_go(c, go)) {
        conn_cut(c, STAT_CUT_QUEUE);
        return;
    }
    note_place(c, e);
    if (c->state == CONN_OPEN)
        leave_out(c, e, go->tick);
}

static void count_seats(void *ctx, void *value)
{
    struct going *go = ctx;
    const struct topic *t = value;

    go->seats += t->seats.count;
}

/* Who lags among those who hold it: once, by however many channels. */
static void add_holders(void *ctx, void *value)
{
    struct going *go = ctx;
    struct topic *t = value;
    struct seat_iter it = seats_of_topic(&t->seats);
    struct seat *s;

    while ((s = seat_next(&it))) {
        struct conn *c = conn_of_seat(s);

        c->gw->looked_at++;
        if (conn_lags(c) && !list_linked(&conn_busy(c)->missing))
            list_add_tail(&go->missing, &conn_busy(c)->missing);
    }
}

static void add_lagging(struct going *go)
{
    LIST_FOREACH(x, &go->gw->lagging, struct conn_busy, lagging)
        list_add_tail(&go->missing, &x->missing);
}

static bool hold_fewer_than_lag(struct going *go)
{
    const struct topic *t = go->entry->topic;
    size_t lag = go->gw->lag_count;

    if (t->seats.count >= lag)
        return false;
    go->seats = t->seats.count;
    trie_match(go->gw->topics.patterns, topic_id(t), count_seats, go);
    return go->seats < lag;
}

/* By its seats or by those who lag, whichever are fewer: who does not read costs
 * nothing when something is said that it does not hear. They are gathered first,
 * for who is cut takes seats, and topics, with it. */
void thin_let_go(struct gateway *g, struct ring_entry *e, uint64_t tick)
{
    struct going go = {.gw = g, .entry = e, .tick = tick};
    struct list_node *n;

    list_init(&go.missing);
    if (hold_fewer_than_lag(&go)) {
        add_holders(&go, e->topic);
        trie_match(g->topics.patterns, topic_id(e->topic), add_holders, &go);
    } else {
        add_lagging(&go);
    }
    while ((n = list_pop(&go.missing))) {
        g->looked_at++;
        let_go(CONTAINER_OF(n, struct conn_busy, missing)->conn, &go);
    }
}

/* ---- for a successor ----------------------------------------------------- */

enum loss_flag { LOSS_OLDEST = 1u << 0, LOSS_MORE = 1u << 1,
                 LOSS_STATE = 1u << 2, LOSS_HOLE = 1u << 3,
                 LOSS_FLAGS = 15u };

static void write_loss(struct buf *b, const struct loss *l)
{
    put_str8(b, topic_id(l->topic));
    put_u64(b, l->is.from);
    put_u64(b, l->is.to);
    put_u64(b, l->is.count);
    put_u8(b, (uint8_t)((l->is.oldest ? LOSS_OLDEST : 0) |
                        (l->is.more ? LOSS_MORE : 0) |
                        (l->is.state ? LOSS_STATE : 0) |
                        (l->is.hole ? LOSS_HOLE : 0)));
}

void thin_freeze(const struct conn *c, struct buf *b)
{
    const struct thinned *s = conn_thinned(c) ? conn_busy(c)->thinned : NULL;
    struct map_iter it;
    struct map_node *n;

    put_u8(b, s != NULL);
    if (!s)
        return;
    put_u64(b, s->latest);
    put_u64(b, s->lesser);
    put_u64(b, s->newest);
    put_u64(b, s->at);
    put_u64(b, s->seq);
    put_u64(b, s->first);
    put_u32(b, (uint32_t)map_count(&s->losses));
    it = map_iter((struct map *)(uintptr_t)&s->losses);
    while (map_next(&it, &n))
        write_loss(b, CONTAINER_OF(n, struct loss, node));
}

static int read_loss(struct conn *c, struct cursor *in)
{
    struct slice id = cursor_str8(in);
    struct thin_loss is = {.from = cursor_u64(in)};
    struct topic *t = in->failed ? NULL : topics_find(&c->gw->topics, id);
    unsigned flags;
    struct loss *l;

    is.to = cursor_u64(in);
    is.count = cursor_u64(in);
    flags = cursor_u8(in);
    is.oldest = flags & LOSS_OLDEST;
    is.more = flags & LOSS_MORE;
    is.state = flags & LOSS_STATE;
    is.hole = flags & LOSS_HOLE;
    if (in->failed || !t || !seat_find(&t->seats, &c->seats) ||
        thin_loss_of(c, t) || (flags & ~(unsigned)LOSS_FLAGS))
        return ERR_FRAME;
    l = loss_add(conn_busy(c)->thinned, t);
    if (!l)
        return ERR_NOMEM;
    l->is = is;
    return 0;
}

int thin_thaw(struct conn *c, struct cursor *in)
{
    unsigned is_thinned = cursor_u8(in);
    struct thinned *s;
    uint32_t count;
    int rc = 0;

    if (in->failed || is_thinned > 1 || (is_thinned && !conn_lags(c)))
        return ERR_FRAME;
    if (!is_thinned)
        return 0;
    s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    map_init(&s->losses);
    conn_busy(c)->thinned = s;
    s->latest = cursor_u64(in);
    s->lesser = cursor_u64(in);
    s->newest = cursor_u64(in);
    s->at = cursor_u64(in);
    s->seq = cursor_u64(in);
    s->first = cursor_u64(in);
    for (count = cursor_u32(in); rc == 0 && count; count--)
        rc = read_loss(c, in);
    return in->failed || (map_count(&s->losses) && !s->first) ? ERR_FRAME : rc;
}
