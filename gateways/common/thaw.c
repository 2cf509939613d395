/* thaw.c - reads what freeze.c has written: another program wrote it, so every
 * number is looked at. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "gateways/common/catchup.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/freeze.h"
#include "gateways/common/frozen.h"
#include "gateways/common/guest.h"
#include "gateways/common/uplink.h"
#include "proto/frame_io.h"

enum { TOPIC_FLAGS = TOPIC_WATCHED | TOPIC_STATEFUL | TOPIC_VOLATILE |
                     TOPIC_SNAP_ASKED | TOPIC_PRESENCE | TOPIC_OWED };

/* Each reader below takes what it knows off the cursor, and leaves the verdict
 * on what is cut short to whoever asks in.failed last. */
static int verdict_of(const struct cursor *in, int rc)
{
    return in->failed ? ERR_FRAME : rc;
}

/* ---- the worker, and its link ------------------------------------------- */

static int take_link(struct gateway *g, struct cursor *in)
{
    int rc = joiner_thaw(g->joiner, in);

    if (rc < 0)
        return rc;
    g->linked = true;
    stat_set(&g->stats, STAT_LINKED, 1);
    return 0;
}

/* One clock stands behind both processes, and what is told has been. */
static int64_t take_moment(struct cursor *in)
{
    int64_t moment = cursor_i64(in);

    if (moment < 0 || moment > clock_ns())
        in->failed = true;
    return in->failed ? 0 : moment;
}

static int take_worker(struct thaw *t, struct cursor *in)
{
    struct gateway *g = t->g;
    struct slice name = cursor_str8(in), epoch = cursor_str8(in), edge;
    struct cursor of_edge;
    int rc = 0;

    if (!slice_eq(name, slice_str(g->name)) || epoch.len > EPOCH_MAX)
        return ERR_FRAME;
    if (epoch.len)
        memcpy(g->epoch.text, epoch.ptr, epoch.len);
    g->router_life = cursor_u64(in);
    g->life_seq = cursor_u64(in);
    g->told = cursor_u64(in);
    g->seq = cursor_u64(in);
    g->served = cursor_u64(in);
    g->retry_slot = cursor_u32(in);
    g->asks.next_number = cursor_u64(in);
    g->ring.first = g->ring.next = cursor_u64(in);
    t->ring_end = cursor_u64(in);
    g->ring.gone_seq = cursor_u64(in);
    g->conns.first_gen = cursor_u32(in);
    t->ping_began_ns = take_moment(in);
    t->ping_step = cursor_u32(in);
    t->ping_next = cursor_u32(in);
    edge = cursor_str32(in);
    of_edge = cursor_init(edge);
    if (in->failed || g->ring.first == 0 || t->ring_end < g->ring.first ||
        g->conns.first_gen == 0 || g->asks.next_number == 0)
        return ERR_FRAME;
    if (g->edge->thaw_worker)
        rc = g->edge->thaw_worker(g, &of_edge);
    if (rc == 0 && !cursor_all_read(&of_edge))
        rc = ERR_FRAME;
    return rc < 0 ? rc : take_link(g, in);
}

/* ---- topics and the ring ------------------------------------------------- */

static int take_snapshot(struct topic *t, struct cursor *in)
{
    uint64_t seq = cursor_u64(in), tick = cursor_u64(in);
    uint64_t told = cursor_u64(in);
    struct slice state = cursor_str32(in);

    if (in->failed)
        return ERR_FRAME;
    return topic_set_snapshot(t, snapshot_new(seq, tick, told, state));
}

static int take_topic(struct thaw *thaw, struct cursor *in)
{
    struct topics *topics = &thaw->g->topics;
    struct slice id = cursor_str8(in);
    uint32_t flags = cursor_u32(in);
    struct topic_past past = {.last_seq = 0};
    uint64_t floor = cursor_u64(in);
    struct topic *t;
    int rc;

    past.last_seq = cursor_u64(in);
    past.last_offset = cursor_u64(in);
    past.trimmed_seq = cursor_u64(in);
    past.trimmed_offset = cursor_u64(in);
    if (in->failed || pattern_problem(id) ||
        (flags & ~(uint32_t)TOPIC_FLAGS) || topics_find(topics, id))
        return ERR_FRAME;
    rc = topics_get(topics, id, &t);
    if (rc < 0)
        return rc;
    t->seats.flags |= flags;
    t->floor = floor;
    if (past.last_seq || past.last_offset || past.trimmed_seq ||
        past.trimmed_offset) {
        if (!topic_past_make(t))
            return ERR_NOMEM;
        *t->past_ = past;
    }
    return cursor_u8(in) ? take_snapshot(t, in) : 0;
}

/* The members of a gap stand behind its message. */
static int read_gap(struct cursor *in, struct msg_parts *p, struct gap *gap)
{
    uint8_t why;

    if (!(p->flags & MSG_NOTICE) || !slice_eq(p->kind, SLICE("gap")) ||
        p->data.len)
        return 0;
    memset(gap, 0, sizeof *gap);
    gap->from = cursor_u64(in);
    gap->to = cursor_u64(in);
    why = cursor_u8(in);
    gap->why = why;
    p->data = slice_make(gap, sizeof *gap);
    return why > GAP_VOLATILE ? ERR_FRAME : 0;
}

/* Seqs never decrease along the ring. */
static bool fits_ring(const struct ring *r, const struct msg_parts *p)
{
    const struct ring_entry *last = ring_at(r, ring_end(r));

    return !pattern_problem(p->id) && (!last || last->msg->seq <= p->seq);
}

static int append(struct gateway *g, const struct msg_parts *p,
                  int64_t came_ns)
{
    struct topic *t = topics_find(&g->topics, p->id);
    struct topic_past *past = t ? topic_past_make(t) : NULL;
    struct msg *m;
    uint64_t tick;
    int rc;

    if (!past)
        return t ? ERR_NOMEM : ERR_FRAME;
    rc = msg_new(&m, p);
    if (rc < 0)
        return rc;
    rc = ring_append(&g->ring, t, m, past->newest, came_ns, &tick);
    if (rc == 0)
        past->newest = tick;
    msg_drop(m);
    return rc;
}

static int take_entry(struct thaw *t, struct cursor *in)
{
    struct ring *r = &t->g->ring;
    int64_t came_ns = take_moment(in);
    uint32_t newer = cursor_u32(in);
    uint8_t share = cursor_u8(in);
    struct slice frame = cursor_str32(in);
    struct msg_parts p;
    struct gap gap;
    int rc = in->failed ? ERR_FRAME : frame_read_deliver(frame, &p);

    if (rc == 0)
        rc = read_gap(in, &p, &gap);
    if (rc < 0 || in->failed || r->next >= t->ring_end || !fits_ring(r, &p) ||
        share > SHARE_NOTICE)
        return ERR_FRAME;
    rc = append(t->g, &p, came_ns);
    if (rc == 0) {
        ring_at(r, ring_end(r))->newer = newer;
        ring_at(r, ring_end(r))->share = share;
    }
    return rc;
}

/* ---- starts ---------------------------------------------------------------- */

static int take_start_topic(struct start *s, struct cursor *in)
{
    struct conn *c = s->conn;
    struct slice id = cursor_str8(in);
    struct start_topic st = {.verdict = cursor_u8(in), .why = cursor_u8(in)};
    uint8_t flags = cursor_u8(in);

    st.from = cursor_u64(in);
    st.to = cursor_u64(in);
    st.topic = in->failed ? NULL : topics_find(&c->gw->topics, id);
    if (!st.topic || !seat_find(&st.topic->seats, &c->seats) ||
        st.verdict > START_RESUMED || st.why > GAP_VOLATILE ||
        (flags & ~(unsigned)FROZEN_START_TOPIC_FLAGS))
        return ERR_FRAME;
    for (unsigned i = 0; i < s->count; i++)
        if (s->topics[i].topic == st.topic)
            return ERR_FRAME;
    st.gap = flags & FROZEN_GAP;
    st.missed = flags & FROZEN_MISSED;
    st.paged = flags & FROZEN_PAGED;
    st.held = flags & FROZEN_HELD;
    st.beside = flags & FROZEN_BESIDE;
    st.changed = flags & FROZEN_CHANGED;
    s->topics[s->count++] = st;
    return 0;
}

static void set_start_flags(struct start *s, unsigned flags)
{
    s->silent = flags & FROZEN_SILENT;
    s->has_since = flags & FROZEN_HAS_SINCE;
    s->late = flags & FROZEN_LATE;
    s->said = flags & FROZEN_SAID;
    s->gone = flags & FROZEN_GONE;
    s->asked = flags & FROZEN_ASKED;
    s->has_reason = flags & FROZEN_HAS_REASON;
    s->all = flags & FROZEN_ALL;
}

/* Only the first may be reading pages, and it must be, or be one of our own. */
static bool start_state_fits(struct conn *c, unsigned state, unsigned flags)
{
    bool pages = state == START_PAGING || state == START_REPLAY;

    if (conn_starts(c))
        return state == START_LOGIN;
    return pages || (state == START_LOGIN &&
                     (flags & (FROZEN_SILENT | FROZEN_LATE)));
}

static void pass_known(struct cursor *in)
{
    uint32_t count = cursor_u32(in);

    while (!in->failed && count--) {
        (void)cursor_str8(in);
        (void)cursor_u64(in);
    }
}

static int take_known(struct start *s, struct cursor *in)
{
    uint32_t count = cursor_u32(in);
    int rc = 0;

    while (rc == 0 && count--) {
        struct slice id = cursor_str8(in);
        uint64_t offset = cursor_u64(in);

        rc = in->failed || id_problem(id) ? ERR_FRAME
                                          : marks_raise(&s->known, id, offset);
    }
    return rc;
}

static int take_start(struct conn *c, struct cursor *in)
{
    enum { TOPIC_LEAST = 1 + 1 + 1 + 1 + 8 + 8 };
    uint8_t state = cursor_u8(in);
    uint16_t flags = cursor_u16(in);
    uint8_t reason = cursor_u8(in);
    uint32_t ref = cursor_u32(in), count;
    uint64_t told = cursor_u64(in);
    struct slice epoch = cursor_str8(in);
    struct position since = {.seq = cursor_u64(in)};
    uint64_t seq = cursor_u64(in), tick = cursor_u64(in);
    uint64_t paged = cursor_u64(in), until = cursor_u64(in);
    uint64_t reach = cursor_u64(in);
    struct cursor known = *in; /* taken when there is a start for it */
    struct start *s;
    int rc;

    pass_known(in);
    count = cursor_u32(in);
    if (in->failed || !start_state_fits(c, state, flags) || reason > GAP_VOLATILE ||
        (flags & ~(unsigned)FROZEN_START_FLAGS) || epoch.len > EPOCH_MAX ||
        count > cursor_left(in) / TOPIC_LEAST)
        return ERR_FRAME;
    if (epoch.len)
        memcpy(since.epoch.text, epoch.ptr, epoch.len);
    s = start_alloc(c, count, slice_make(NULL, 0));
    if (!s)
        return ERR_NOMEM;
    set_start_flags(s, flags);
    s->state = state;
    s->reason = reason;
    s->ref = ref;
    s->told = told;
    s->since = since;
    s->tick = tick;
    s->seq = seq;
    s->paged = paged;
    s->until = until;
    s->reach = reach;
    rc = take_known(s, &known);
    while (rc == 0 && count--)
        rc = take_start_topic(s, in);
    return rc;
}

static int take_starts(struct conn *c, struct cursor *in)
{
    uint32_t count = cursor_u32(in);
    int rc = 0;

    while (rc == 0 && !in->failed && count--)
        rc = take_start(c, in);
    return rc;
}

/* ---- connections ----------------------------------------------------------- */

static int take_seat(struct conn *c, struct slice id, struct slice name)
{
    struct topic *t = topics_find(&c->gw->topics, id);
    struct seat *seat;
    int rc;

    if (!t || (t->seats.flags & TOPIC_PATTERN && !conn_make_busy(c)))
        return t ? ERR_NOMEM : ERR_FRAME;
    rc = seat_add(&seat, &t->seats, &c->seats);
    if (rc < 0)
        return rc == ERR_EXISTS ? ERR_FRAME : rc;
    if (t->seats.flags & TOPIC_PATTERN)
        conn_busy(c)->patterns++;
    return name.len ? seat_set_name(&seat, name) : 0;
}

static int take_seats(struct conn *c, struct cursor *in)
{
    uint32_t count = cursor_u32(in);
    int rc = 0;

    while (rc == 0 && count--) {
        struct slice id = cursor_str8(in), name = cursor_str8(in);

        rc = in->failed ? ERR_FRAME : take_seat(c, id, name);
    }
    return rc;
}

static int take_bytes(struct slice bytes, struct buf **to)
{
    if (bytes.len == 0)
        return 0;
    *to = calloc(1, sizeof **to);
    if (!*to)
        return ERR_NOMEM;
    buf_add(*to, bytes);
    return (*to)->failed ? ERR_NOMEM : 0;
}

static void set_flags(struct conn *c, unsigned guest, unsigned frozen)
{
    unsigned flags = 0;

    flags |= guest & GUEST_LOOPBACK ? CONN_LOOPBACK : 0u;
    flags |= guest & GUEST_AT_LOOPBACK ? CONN_AT_LOOPBACK : 0u;
    flags |= guest & GUEST_ADMIN ? CONN_ADMIN : 0u;
    flags |= guest & GUEST_HEADER_DUE ? CONN_HEADER_DUE : 0u;
    flags |= guest & GUEST_INPUT_END ? CONN_INPUT_END : 0u;
    flags |= frozen & FROZEN_WANT_DRAINED ? CONN_WANT_DRAINED : 0u;
    flags |= frozen & FROZEN_PAUSED ? CONN_PAUSED : 0u;
    flags |= frozen & FROZEN_MANY ? CONN_MANY : 0u;
    c->flags |= (uint16_t)flags;
    if (frozen & FROZEN_PINGS) {
        conns_want_pings(&c->gw->conns, c, true);
        if (!(frozen & FROZEN_PINGS_NEW))
            c->flags &= (uint16_t)~CONN_PINGS_NEW;
    }
}

/* One of the successor's configuration; what that does not have opens nothing
 * any more. */
static const struct config_token *token_named(const struct config *cfg,
                                              struct slice name)
{
    for (size_t i = 0; i < cfg->token_count; i++)
        if (slice_eq(slice_str(cfg->tokens[i].name), name))
            return &cfg->tokens[i];
    return NULL;
}

/* One that is over the limit meanwhile is in already, and not counted. */
static void take_share(struct conn *c, struct address share)
{
    if (address_known(&share) && door_take_share(c->gw->door, &share))
        conn_busy(c)->share = share;
}

static int take_guest(struct conn *c, struct cursor *in, unsigned *flags)
{
    struct guest g;
    struct conn_busy *x = conn_make_busy(c);
    int rc;

    guest_read(in, &g);
    if (!x || in->failed)
        return x ? ERR_FRAME : ERR_NOMEM;
    c->listener = g.listener;
    x->proxied = g.proxied;
    x->forwarded = g.forwarded;
    take_share(c, g.share);
    rc = take_bytes(g.in, &x->in);
    *flags = g.flags;
    return rc;
}

/* Who is behind; nobody was served meanwhile, so its socket is waited for anew. */
static void take_lag(struct conn *c, unsigned frozen, int64_t lagging_ns)
{
    if (c->flow != FLOW_LIVE ||
        (!(frozen & FROZEN_LAGS) && c->tick >= ring_end(&c->gw->ring)))
        return;
    conn_set_lagging(c, true);
    if (!conn_lags(c))
        return;
    conn_busy(c)->progress_ns = clock_ns();
    conn_busy(c)->lagging_ns = frozen & FROZEN_LAGS ? lagging_ns
                                                : conn_busy(c)->progress_ns;
}

static int take_edge(struct conn *c, struct cursor *in)
{
    struct cursor mine = cursor_init(cursor_str32(in));
    int rc = in->failed ? ERR_FRAME : c->gw->edge->thaw(c, &mine);

    if (rc == 0 && !cursor_all_read(&mine))
        rc = ERR_FRAME;
    return rc;
}

static bool flow_fits(const struct conn *c, unsigned flow)
{
    const struct start *s = conn_starts(c);

    return flow <= FLOW_LIVE &&
           (flow == FLOW_PAGING) == (s && s->state == START_PAGING) &&
           (flow == FLOW_LIVE || !s || s->state == START_PAGING);
}

/* What a connection was; it is whole as one of the gateway's, whatever this
 * says. */
static int fill(struct conn *c, struct cursor *in)
{
    unsigned guest = 0, frozen, flow;
    int64_t lagging_ns;
    uint32_t deadline;
    struct slice token, out;
    int rc = take_guest(c, in, &guest);

    if (rc < 0)
        return rc;
    frozen = cursor_u16(in);
    flow = cursor_u8(in);
    c->tick = cursor_u64(in);
    deadline = cursor_u32(in);
    lagging_ns = take_moment(in);
    token = cursor_str8(in);
    out = cursor_str32(in);
    if (in->failed || (frozen & ~(unsigned)FROZEN_CONN_FLAGS) ||
        (frozen & FROZEN_PINGS && !c->gw->edge->ping) ||
        c->tick > ring_end(&c->gw->ring))
        return ERR_FRAME;
    set_flags(c, guest, frozen);
    if (deadline) /* and what has come meanwhile is read first */
        wheel_set(&c->gw->wheel, &c->extra->deadline,
                  wheel_in(&c->gw->wheel,
                           MAX(deadline - 1, (uint32_t)CONN_UNREAD_MS)));
    conn_busy(c)->token = token.len ? token_named(c->gw->config, token) : NULL;
    rc = take_bytes(out, &conn_busy(c)->out);
    if (rc == 0)
        rc = take_seats(c, in);
    if (rc == 0)
        rc = take_starts(c, in);
    if (rc == 0 && !flow_fits(c, flow))
        rc = ERR_FRAME;
    if (rc < 0)
        return rc;
    c->flow = flow & 0xf;
    take_lag(c, frozen, lagging_ns);
    rc = thin_thaw(c, in);
    return rc < 0 ? rc : take_edge(c, in);
}

/* Into its slot and the pollset; *file is its own from here on. */
static int place(struct gateway *g, uint32_t number, uint32_t gen, int *file,
                 struct conn **ret)
{
    struct conn *c;
    int rc;

    if (!door_enter(g->door))
        return ERR_FULL;
    c = conns_place(&g->conns, number, gen);
    if (!c) {
        door_leave(g->door);
        return ERR_FRAME;
    }
    rc = conn_watch(c, *file);
    if (rc < 0) {
        conns_give(&g->conns, c);
        door_leave(g->door);
        return rc;
    }
    *file = -1;
    *ret = c;
    return 0;
}

static int take_conn(struct thaw *t, struct cursor *in, int *file)
{
    uint32_t number = cursor_u32(in), gen = cursor_u32(in);
    struct conn *c;
    int rc = in->failed || *file < 0 ? ERR_FRAME : 0;

    if (rc == 0)
        rc = place(t->g, number, gen, file, &c);
    if (rc < 0)
        return rc;
    t->conns++;
    rc = fill(c, in);
    conn_busy_done(c);
    return rc;
}

static int take_slot(struct thaw *t, struct cursor *in)
{
    uint32_t gen = cursor_u32(in);

    return in->failed ? ERR_FRAME : conns_add_empty(&t->g->conns, gen);
}

/* ---- one message after the other ------------------------------------------ */

static int take_end(struct thaw *t, struct cursor *in)
{
    struct gateway *g = t->g;

    struct slice left;

    if (cursor_u32(in) != t->conns || g->ring.next != t->ring_end)
        return ERR_FRAME;
    left = cursor_str32(in);
    if (left.len % (2 * sizeof(uint32_t)))
        return ERR_FRAME;
    buf_add(&t->left, left);
    return t->left.failed ? ERR_NOMEM : 0;
}

static int take_one(struct thaw *t, struct cursor *in, int *files,
                    unsigned *file)
{
    switch ((enum freeze_kind)t->kind) {
    case FREEZE_WORKER:
        return take_worker(t, in);
    case FREEZE_TOPICS:
        return take_topic(t, in);
    case FREEZE_RING:
        return take_entry(t, in);
    case FREEZE_SLOTS:
        return take_slot(t, in);
    case FREEZE_CONNS:
        return take_conn(t, in, &files[(*file)++]);
    case FREEZE_END:
        return take_end(t, in);
    }
    return ERR_FRAME;
}

/* Those of one kind follow each other, and no kind is left out. */
static bool comes_next(const struct thaw *t, unsigned kind)
{
    if (t->kind == 0)
        return kind == FREEZE_WORKER;
    return kind <= FREEZE_END &&
           (kind == t->kind + 1u ||
            (kind == t->kind && kind != FREEZE_WORKER && kind != FREEZE_END));
}

/* One of it is a message. */
static bool is_alone(unsigned kind)
{
    return kind == FREEZE_WORKER || kind == FREEZE_END;
}

int thaw_take(struct thaw *t, uint8_t kind, struct slice body, int *files,
              unsigned file_count)
{
    struct cursor in = cursor_init(body);
    unsigned file = 0;
    int rc = comes_next(t, kind) ? 0 : ERR_FRAME;

    t->kind = kind;
    if (is_alone(kind) && rc == 0 && body.len == 0)
        rc = ERR_FRAME;
    while (rc == 0 && !cursor_all_read(&in)) {
        if (kind == FREEZE_CONNS && file == file_count)
            return ERR_FRAME;
        rc = take_one(t, &in, files, &file);
        rc = verdict_of(&in, rc);
        if (rc == 0 && is_alone(kind) && !cursor_all_read(&in))
            rc = ERR_FRAME;
    }
    return rc == 0 && file != file_count ? ERR_FRAME : rc;
}

bool thaw_is_whole(const struct thaw *t)
{
    return t->kind == FREEZE_END;
}

void thaw_fini(struct thaw *t)
{
    buf_fini(&t->left);
}

/* ---- going on ---------------------------------------------------------------- */

/* A topic that nobody has any more; its predecessor was about to say so. */
static void release_idle(struct gateway *g)
{
    struct map_iter it = map_iter(&g->topics.by_id);
    struct topic **idle = NULL;
    struct map_node *n;
    size_t count = 0;

    while (map_next(&it, &n)) {
        struct topic *t = CONTAINER_OF(n, struct topic, by_id);

        if (t->seats.count == 0 && topic_past(t)->newest == 0 &&
            (idle = idle ? idle
                         : calloc(map_count(&g->topics.by_id), sizeof *idle)))
            idle[count++] = t;
    }
    while (count)
        topic_maybe_release(g, idle[--count]);
    free(idle);
}

/* Everything that may have been due when it was written down. */
static void visit(struct conn *c)
{
    if (conn_busy(c) && conn_busy(c)->in && !(c->flags & CONN_PAUSED))
        c->flags |= CONN_READABLE;
    conn_dirty(c);
    if (catchup_under_way(c))
        catchup_advance(c);
    else
        start_again(c);
}

/* Whom the router still has in this slot, and who is not here. */
static void log_out(struct gateway *g, uint32_t number, uint32_t gen)
{
    struct frame_logout f = {.conn = number, .gen = gen, .gone = 1};

    frame_write_logout(pipe_frame(g->pipe, FRAME_LOGOUT), &f);
    pipe_frame_end(g->pipe);
}

/* The predecessor died before it had handed over all. */
static void log_out_missing(struct gateway *g)
{
    for (uint32_t n = 0; n < g->conns.used; n++)
        if (!conns_at(&g->conns, n))
            log_out(g, n, conns_gen(&g->conns, n));
}

static void log_out_left(struct thaw *t)
{
    struct cursor left = cursor_init(buf_slice(&t->left));

    while (!cursor_all_read(&left)) {
        uint32_t number = cursor_u32(&left), gen = cursor_u32(&left);

        if (!conn_by_name(t->g, number, gen))
            log_out(t->g, number, gen);
    }
}

void thaw_go(struct thaw *t)
{
    struct gateway *g = t->g;
    uint32_t i = 0;
    struct conn *c;

    if (!thaw_is_whole(t))
        log_out_missing(g);
    log_out_left(t);
    conns_free_rest(&g->conns);
    conns_ping_on(&g->conns, t->ping_began_ns, t->ping_step, t->ping_next);
    release_idle(g);
    while ((c = conns_next_open(&g->conns, &i)))
        visit(c);
    stat_add(&g->stats, STAT_TAKEN_OVER, t->conns);
}
