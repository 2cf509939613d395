#include "gateways/common/conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "gateways/common/catchup.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/peer.h"
#include "gateways/common/pull.h"
#include "proto/limits.h"

enum {
    READS_PER_EVENT = 4,   /* then others get their turn */
    SENDS_PER_FLUSH = 2,   /* the same, for who has much to be sent */
};

/* ---- names ------------------------------------------------------------- */

struct conn *conn_by_name(const struct gateway *g, uint32_t number,
                          uint32_t gen)
{
    struct conn *c = number < g->conns.used ? conns_at(&g->conns, number)
                                            : NULL;

    return c && conn_gen(c) == gen && c->state != CONN_DEAD ? c : NULL;
}

const char *conn_text(const struct conn *c)
{
    static _Thread_local char text[64];

    snprintf(text, sizeof text, "%s/%u.%u", c->gw->name, c->number,
             conn_gen(c));
    return text;
}

/* ---- made and freed ---------------------------------------------------- */

/* NULL: no memory. */
static struct conn_extra *conn_extra(struct conn *c)
{
    if (c->extra)
        return c->extra;
    c->extra = slab_take(&c->gw->moment, sizeof *c->extra);
    if (c->extra) {
        c->gw->conns.extras++;
        wheel_timer_init(&c->extra->deadline, c->number);
    }
    return c->extra;
}

struct conn_busy *conn_make_busy(struct conn *c)
{
    struct conn_busy *b = conn_busy(c);

    if (b || !conn_extra(c))
        return b;
    b = slab_take(&c->gw->moment, sizeof *b);
    if (b) {
        b->conn = c;
        list_init(&b->lagging);
        list_init(&b->drained);
        list_init(&b->missing);
    }
    return c->extra->busy = b;
}

static void extra_free(struct conn *c)
{
    if (!c->extra)
        return;
    c->gw->conns.extras--;
    slab_give(c->extra->busy);
    slab_give(c->extra);
    c->extra = NULL;
}

static bool is_needed(const struct conn_busy *b)
{
    return b->out || b->in || b->starts || b->token || b->patterns ||
           address_known(&b->share) || address_known(&b->proxied) ||
           address_known(&b->forwarded) || list_linked(&b->lagging) ||
           list_linked(&b->drained);
}

void conn_busy_done(struct conn *c)
{
    struct conn_extra *x = c->extra;

    if (!x || (x->busy && is_needed(x->busy)))
        return;
    slab_give(x->busy);
    x->busy = NULL;
    if (!list_linked(&x->deadline.node))
        extra_free(c);
}

/* What the pollset says of its socket: a name that can be told stale. */
static uint64_t socket_data(const struct conn *c)
{
    return (uint64_t)conn_gen(c) << 32 | c->number;
}

static void await_header(struct conn *c);

int conn_watch(struct conn *c, int fd)
{
    struct gateway *g = c->gw;
    int rc = pollset_add(g->sockets, fd,
                         POLLSET_IN | POLLSET_OUT | POLLSET_RDHUP |
                             POLLSET_EDGE,
                         socket_data(c));

    if (rc < 0)
        return rc;
    c->fd = fd;
    g->open++;
    stat_set(&g->stats, STAT_CONNS, g->open);
    return 0;
}

static int open_conn(struct gateway *g, int fd, unsigned flags,
                     unsigned listener, const struct address *share,
                     struct conn **ret)
{
    struct conn *c = conns_take(&g->conns);
    int rc = ERR_NOMEM;

    if (!c)
        goto fail;
    c->fd = fd;
    c->flags = (uint16_t)flags;
    c->listener = (uint8_t)listener;
    if ((rc = conn_peer_opened(c, share)) < 0)
        goto fail;
    rc = conn_watch(c, fd);
    if (rc < 0)
        goto fail;
    stat_add(&g->stats, STAT_ACCEPTED, 1);
    log_debug("conn.open", "conn=%s peer=%s", conn_text(c),
              conn_peer_text(c));
    g->edge->opened(c);
    if ((flags & CONN_HEADER_DUE) &&
        g->edge_config->proxy_protocol == PROXY_ALWAYS)
        await_header(c);
    *ret = c;
    return 0;
fail:
    if (c) {
        extra_free(c);
        conns_give(&g->conns, c);
    }
    door_give_share(g->door, share);
    close(fd);
    door_leave(g->door);
    return rc;
}

int conn_open(struct gateway *g, int fd, unsigned flags, unsigned listener,
              const struct address *share)
{
    struct conn *c;

    return open_conn(g, fd, flags, listener, share, &c);
}

static void free_buf(struct buf **b)
{
    if (!*b)
        return;
    buf_fini(*b);
    free(*b);
    *b = NULL;
}

static void conn_free(struct conn *c)
{
    struct gateway *g = c->gw;

    g->edge->closed(c);
    CHECK(c->seats.count == 0);
    if (conn_busy(c)) {
        free_buf(&conn_busy(c)->out);
        free_buf(&conn_busy(c)->in);
    }
    extra_free(c);
    conns_give(&g->conns, c);
}

static void set_state(struct conn *c, enum conn_state next)
{
    static const unsigned may_become[] = {
        [CONN_OPEN] = 1u << CONN_CLOSING | 1u << CONN_DEAD,
        [CONN_CLOSING] = 1u << CONN_DRAINING | 1u << CONN_DEAD,
        [CONN_DRAINING] = 1u << CONN_DEAD,
        [CONN_DEAD] = 0,
    };

    CHECK(may_become[c->state] & 1u << next);
    c->state = next & 0xf;
}

static void stop_deadline(struct conn *c)
{
    if (c->extra)
        wheel_stop(&c->gw->wheel, &c->extra->deadline);
}

static void set_stalled(struct conn *c, bool stalled);

/* The socket goes at once; the struct at the end of the turn. */
static void end(struct conn *c, const char *why)
{
    struct gateway *g = c->gw;

    if (c->state == CONN_DEAD)
        return;
    if (c->state == CONN_OPEN) /* else conn_close() has said why */
        tally_add(&g->closed, slice_str(why));
    set_state(c, CONN_DEAD);
    set_stalled(c, false);
    conn_leave_all(c, true);
    stop_deadline(c);
    conns_want_pings(&g->conns, c, false);
    conn_peer_closed(c);
    pollset_remove(g->sockets, c->fd);
    close(c->fd);
    c->fd = -1;
    door_leave(g->door);
    accept_room_again(g);
    if (!(c->flags & CONN_DIRTY)) /* else it is found there */
        conn_queue_put(&g->conns.dead, c);
    g->open--;
    stat_set(&g->stats, STAT_CONNS, g->open);
    loop_again(g->loop);
}

static void die(struct conn *c)
{
    end(c, "gone");
}

static void set_deadline(struct conn *c, int64_t wait)
{
    struct wheel *w = &c->gw->wheel;

    if (conn_extra(c))
        wheel_set(w, &c->extra->deadline,
                  wheel_in(w, (uint32_t)(wait / MILLISECOND)));
    else
        conn_abort(c, "memory");
}

/* What is queued may wait for the socket as long as anything else may. */
static int64_t last_output_wait(const struct conn *c)
{
    int64_t age = c->gw->config->limits.queue_age;

    return age ? age : LAST_OUTPUT_WAIT;
}

void conn_close(struct conn *c, const char *why)
{
    if (c->state != CONN_OPEN)
        return;
    log_debug("conn.close", "conn=%s peer=%s why=%s", conn_text(c),
              conn_peer_text(c), why);
    tally_add(&c->gw->closed, slice_str(why));
    conn_leave_all(c, false);
    set_state(c, CONN_CLOSING);
    conns_want_pings(&c->gw->conns, c, false);
    set_deadline(c, last_output_wait(c));
    if (c->flags & CONN_STALLED) /* what waits for it still counts */
        conn_set_lagging(c, true);
    conn_dirty(c);
}

/* From now on its input is thrown away, until the peer's FIN. One who was cut
 * has got behind: the kernel holds much for it, so it has the rest of the time
 * that its last output had, and at least as long as anybody. */
static void begin_drain(struct conn *c)
{
    uint32_t due = c->extra ? c->extra->deadline.due : 0;

    set_state(c, CONN_DRAINING);
    conn_set_lagging(c, false);
    set_deadline(c, CLOSE_DRAIN_WAIT);
    if ((c->flags & CONN_CUT) && c->extra &&
        (int32_t)(due - c->extra->deadline.due) > 0)
        wheel_set(&c->gw->wheel, &c->extra->deadline, due);
}

/* The peer has not taken what was for it. Cut off within a message it is reset,
 * or its end would look like an end; so is who was cut, or the kernel would
 * keep for minutes what nobody reads. */
static void give_up(struct conn *c)
{
    struct linger now = {.l_onoff = 1};
    int unsent = 0;

    if (c->flags & CONN_CUT)
        (void)ioctl(c->fd, SIOCOUTQ, &unsent);
    if (c->state == CONN_CLOSING || unsent > 0)
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    die(c);
}

void conn_drop(struct conn *c)
{
    log_debug("conn.drop", "conn=%s unsent=%zu", conn_text(c),
              conn_out_pending(c));
    give_up(c);
}

void conn_abort(struct conn *c, const char *why)
{
    log_debug("conn.abort", "conn=%s why=%s", conn_text(c), why);
    end(c, why);
}

/* Counted as an end by nobody: the link, which tells the counts, has gone. */
void conn_part(struct conn *c)
{
    end(c, "drain");
}

bool conn_closing(const struct conn *c)
{
    return c->state != CONN_OPEN;
}

void conn_cut(struct conn *c, unsigned stat)
{
    struct gateway *g = c->gw;

    if (c->state != CONN_OPEN)
        return;
    stat_add(&g->stats, stat, 1);
    log_info("conn.slow", "conn=%s peer=%s queued=%zu action=cut",
             conn_text(c), conn_peer_text(c), conn_out_pending(c));
    c->flags |= CONN_CUT;
    slow_tell(c);
    if (g->edge->cut && c->state == CONN_OPEN)
        g->edge->cut(c);
    conn_close(c, "slow");
}

void conn_give_up(struct conn *c, const struct give_up *why)
{
    if (c->state != CONN_OPEN)
        return;
    log_info("conn.given_up", "conn=%s peer=%s why=%s action=close",
             conn_text(c), conn_peer_text(c), why->word);
    c->gw->edge->give_up(c, why);
    if (c->state == CONN_OPEN)
        conn_leave_all(c, false);
}

/* ---- what an edge asks of it ------------------------------------------- */

void *conn_edge(struct conn *c)
{
    return c + 1;
}

struct gateway *conn_gateway(const struct conn *c)
{
    return c->gw;
}

const struct config *conn_config(const struct conn *c)
{
    return c->gw->config;
}

bool conn_at_loopback(const struct conn *c)
{
    return c->flags & CONN_AT_LOOPBACK;
}

bool conn_at_admin(const struct conn *c)
{
    return c->flags & CONN_ADMIN;
}

const char *conn_local_text(const struct conn *c)
{
    const struct listen_address *a = accept_address(c->gw, c->listener);

    return a ? a->text : "";
}

void conn_set_token(struct conn *c, const struct config_token *t)
{
    if (!conn_busy(c) && !t)
        return;
    if (conn_make_busy(c))
        conn_busy(c)->token = t;
}

const struct config_token *conn_token(const struct conn *c)
{
    return conn_busy(c) ? conn_busy(c)->token : NULL;
}

/* ---- output ------------------------------------------------------------ */

static struct buf *out_of(const struct conn *c)
{
    return conn_busy(c) ? conn_busy(c)->out : NULL;
}

static void drop_out(struct conn *c)
{
    if (conn_busy(c))
        free_buf(&conn_busy(c)->out);
}

struct buf *conn_out(struct conn *c)
{
    static _Thread_local struct buf nowhere;

    if (conn_make_busy(c) && !conn_busy(c)->out)
        conn_busy(c)->out = calloc(1, sizeof *conn_busy(c)->out);
    if (!out_of(c)) {
        conn_abort(c, "memory");
        buf_reset(&nowhere);
        return &nowhere;
    }
    conn_dirty(c);
    return conn_busy(c)->out;
}

size_t conn_out_pending(const struct conn *c)
{
    return out_of(c) ? out_of(c)->len : 0;
}

bool conn_out_failed(const struct conn *c)
{
    return out_of(c) && out_of(c)->failed;
}

void conn_want_drained(struct conn *c)
{
    c->flags |= CONN_WANT_DRAINED;
    conn_dirty(c);
}

static void enqueue(struct conn *c, struct conn_queue *q)
{
    if ((c->flags & CONN_DIRTY) || c->state == CONN_DEAD)
        return;
    c->flags |= CONN_DIRTY;
    conn_queue_put(q, c);
    loop_again(c->gw->loop);
}

void conn_dirty(struct conn *c)
{
    enqueue(c, &c->gw->conns.dirty);
}

/* It has had its visit, and there is more. */
static void come_again(struct conn *c)
{
    enqueue(c, &c->gw->conns.behind);
}

bool conn_lags(const struct conn *c)
{
    return conn_busy(c) && list_linked(&conn_busy(c)->lagging);
}

void conn_set_lagging(struct conn *c, bool lags)
{
    if (lags == conn_lags(c))
        return;
    if (!lags) {
        list_remove(&conn_busy(c)->lagging);
        c->gw->lag_count--;
        thin_forget(c);
        conn_busy_done(c);
        return;
    }
    if (!conn_make_busy(c)) {
        conn_abort(c, "memory");
        return;
    }
    conn_busy(c)->lagging_ns = conn_busy(c)->progress_ns = loop_now(c->gw->loop);
    list_add_tail(&c->gw->lagging, &conn_busy(c)->lagging);
    c->gw->lag_count++;
}

static void set_stalled(struct conn *c, bool stalled)
{
    struct stats *stats = &c->gw->stats;

    if (stalled == !!(c->flags & CONN_STALLED))
        return;
    if (!stalled) {
        c->flags &= (uint16_t)~CONN_STALLED;
        thin_not_drained(c);
        stat_sub(stats, STAT_STALLED, 1);
        return;
    }
    conn_set_lagging(c, true);
    if (c->state == CONN_DEAD)
        return;
    c->flags |= CONN_STALLED;
    stat_add(stats, STAT_STALLED, 1);
}

/* Bytes of v that the kernel took; negative: the socket is broken. */
static ssize_t push(struct conn *c, const struct outvec *v)
{
    struct msghdr mh = {
        .msg_iov = (struct iovec *)(uintptr_t)v->iov, .msg_iovlen = v->iovs};
    ssize_t n;

    do
        n = sendmsg(c->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    stat_add(&c->gw->stats, STAT_SENDS, 1);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        n = 0;
    if (n > 0) {
        c->gw->sent += (size_t)n;
        stat_add(&c->gw->stats, STAT_BYTES_OUT, (uint64_t)n);
    }
    return n;
}

/* Marks up to and with the message that was begun; the first one begins
 * behind `head`. */
static unsigned marks_begun(const struct outvec *v, size_t head, size_t sent)
{
    size_t begin = head;
    unsigned i = 0;

    while (i < v->marks && (sent > begin || v->mark[i].end <= sent))
        begin = v->mark[i++].end;
    return i;
}

/* The rest of what was begun becomes out. `head` bytes of v were out before. */
static void keep_rest(struct conn *c, const struct outvec *v, size_t head,
                      size_t sent, unsigned begun)
{
    size_t end = begun ? v->mark[begun - 1].end : head;
    struct buf *rest;

    if (sent >= end)
        goto none;
    if (out_of(c) && sent < head && end == head) {
        buf_drop_front(out_of(c), sent);
        return;
    }
    rest = conn_make_busy(c) ? calloc(1, sizeof *rest) : NULL;
    if (!rest) {
        conn_abort(c, "memory");
        return;
    }
    outvec_copy(v, sent, end, rest);
    drop_out(c);
    conn_busy(c)->out = rest;
    if (rest->failed)
        conn_abort(c, "memory");
    return;
none:
    drop_out(c);
}

/* Messages put and begun count as sent: what is missing of them is in out. */
static void count_sent(struct conn *c, const struct outvec *v, unsigned begun,
                       bool pages)
{
    if (begun == 0)
        return;
    if (c->gw->edge->taken && !(pages && catchup_beside(c)))
        c->gw->edge->taken(c, begun);
    if (pages)
        catchup_rows_out(c, v->mark[begun - 1].tick);
    else
        c->tick = MAX(c->tick, v->mark[begun - 1].tick);
}

enum step { STEP_DONE, STEP_MORE, STEP_STALLED };

/* Gathers what is due into v, behind out. True: that is all of it. */
static bool gather(struct conn *c, struct outvec *v, bool *pages)
{
    bool all = true;

    outvec_reset(v);
    if (out_of(c))
        outvec_bytes(v, buf_slice(out_of(c)));
    *pages = false;
    if (c->state != CONN_OPEN)
        return true;
    if (catchup_under_way(c)) {
        all = catchup_pull(c, v);
        *pages = v->marks > 0;
    }
    if (all && !*pages && c->flow == FLOW_LIVE)
        all = pull(c, v, pull_limit(c));
    return all;
}

/* Everything gathered has left: the connection has come so far. */
static enum step all_sent(struct conn *c, bool all, bool pages, bool moved,
                          uint64_t limit)
{
    if (c->state == CONN_OPEN) {
        if (all && !pages && c->flow == FLOW_LIVE)
            c->tick = MAX(c->tick, limit);
        if (catchup_under_way(c))
            catchup_advance(c);
    }
    if (out_of(c) || pages || thin_owes(c))
        return STEP_MORE;
    return !all && moved ? STEP_MORE : STEP_DONE;
}

/* One sendmsg of out and of what is due. */
static enum step send_some(struct conn *c)
{
    struct outvec *v = c->gw->out;
    uint64_t limit = pull_limit(c), before = c->tick;
    size_t head = conn_out_pending(c);
    bool pages, all = gather(c, v, &pages);
    unsigned begun;
    ssize_t sent;

    if (conn_out_failed(c))
        conn_abort(c, "memory");
    if (c->state == CONN_DEAD)
        return STEP_DONE;
    if (conn_out_pending(c) != head)
        return STEP_MORE; /* a notice went to out: it goes first */
    sent = v->bytes ? push(c, v) : 0;
    if (sent < 0) {
        die(c);
        return STEP_DONE;
    }
    begun = marks_begun(v, head, (size_t)sent);
    keep_rest(c, v, head, (size_t)sent, begun);
    count_sent(c, v, begun, pages);
    if (sent > 0 && conn_busy(c))
        conn_busy(c)->progress_ns = loop_now(c->gw->loop);
    if (begun && c->state == CONN_OPEN && c->gw->edge->pulled)
        c->gw->edge->pulled(c);
    if (c->state == CONN_DEAD)
        return STEP_DONE;
    if ((size_t)sent < v->bytes)
        return STEP_STALLED;
    return all_sent(c, all, pages, sent > 0 || c->tick != before, limit);
}

/* Whoever is not at the end of the ring when its visit ends is on the list of
 * those who lag: what passes it now is not looked for elsewhere. */
static void note_lag(struct conn *c)
{
    if (c->flow == FLOW_LIVE && c->tick < ring_end(&c->gw->ring))
        conn_set_lagging(c, true);
    else if (c->flow == FLOW_NONE || (c->flow == FLOW_LIVE && !conn_starts(c)))
        conn_set_lagging(c, false);
}

static void flushed(struct conn *c)
{
    struct gateway *g = c->gw;

    set_stalled(c, false);
    if (c->state == CONN_CLOSING) {
        begin_drain(c);
        if (c->flags & CONN_INPUT_END || shutdown(c->fd, SHUT_WR) < 0) {
            die(c);
            return;
        }
        conn_socket_event(g, socket_data(c), POLLSET_IN);
        return;
    }
    note_lag(c);
    start_again(c);
    if ((c->flags & CONN_READABLE) && !(c->flags & CONN_PAUSED) && !g->still)
        conn_dirty(c);
    if (c->flags & CONN_WANT_DRAINED) {
        c->flags &= (uint16_t)~CONN_WANT_DRAINED;
        if (g->edge->drained)
            g->edge->drained(c);
    }
}

static void flush(struct conn *c)
{
    if (c->state > CONN_CLOSING)
        return;
    if (conn_out_failed(c)) { /* whether its socket takes anything or not */
        conn_abort(c, "memory");
        return;
    }
    if (c->flags & CONN_STALLED)
        return;
    if (!out_of(c) && c->state == CONN_OPEN &&
        (c->flow == FLOW_STARTING || c->flow == FLOW_NONE) &&
        !(c->flags & CONN_WANT_DRAINED))
        return;
    if (thin_owes(c))
        thin_tell(c);
    for (unsigned i = 0; i < SENDS_PER_FLUSH; i++) {
        enum step step = send_some(c);

        if (c->state == CONN_DEAD)
            return;
        if (step == STEP_STALLED) {
            set_stalled(c, true);
            return;
        }
        if (step == STEP_DONE) {
            flushed(c);
            return;
        }
    }
    note_lag(c);
    come_again(c);
}

void conn_flush(struct conn *c)
{
    flush(c);
    conn_busy_done(c);
}

bool conn_may_settle(struct conn *c)
{
    size_t most = c->gw->config->limits.queue / 2;
    size_t out = conn_out_pending(c);
    int64_t oldest = INT64_MAX;

    return c->flow != FLOW_LIVE ||
           (out <= most &&
            pull_pending(c, INT64_MIN, most - out, &oldest) <= most - out);
}

void conn_settle(struct conn *c, uint64_t tick)
{
    if (c->flow == FLOW_LIVE && c->tick < tick)
        conn_flush(c);
    pull_settle(c, tick);
}

/* ---- input ------------------------------------------------------------- */

static struct buf *in_of(const struct conn *c)
{
    return conn_busy(c) ? conn_busy(c)->in : NULL;
}

static void drop_in(struct conn *c)
{
    if (conn_busy(c))
        free_buf(&conn_busy(c)->in);
}

/* Puts bytes behind the input that waits. False: no memory, and it is gone. */
static bool keep_in(struct conn *c, struct slice bytes)
{
    if (conn_make_busy(c) && !conn_busy(c)->in)
        conn_busy(c)->in = calloc(1, sizeof *conn_busy(c)->in);
    if (in_of(c))
        buf_add(conn_busy(c)->in, bytes);
    if (in_of(c) && !in_of(c)->failed)
        return true;
    conn_abort(c, "memory");
    return false;
}

/* Edges without a deadline of their own wait for a header no longer than
 * this. */
static void await_header(struct conn *c)
{
    bool set = c->extra && list_linked(&c->extra->deadline.node);

    if (c->state == CONN_OPEN && !c->gw->edge->deadline && !set)
        set_deadline(c, c->gw->config->limits.header_wait);
}

static bool take_header(struct conn *c, struct slice bytes, size_t *len)
{
    if (!conn_take_header(c, bytes, len)) {
        await_header(c);
        return false;
    }
    if (!c->gw->edge->deadline)
        stop_deadline(c);
    return true;
}

/* How much of it was used up; negative: no more input. */
static ssize_t use(struct conn *c, struct slice bytes)
{
    size_t header = 0;
    ssize_t used;

    if ((c->flags & CONN_HEADER_DUE) && !take_header(c, bytes, &header))
        return c->state == CONN_OPEN ? 0 : -1;
    bytes = slice_from(bytes, header);
    if (header && bytes.len == 0)
        return (ssize_t)header;
    c->flags |= CONN_IN_EDGE;
    used = c->gw->edge->input(c, bytes);
    c->flags &= (uint16_t)~CONN_IN_EDGE;
    return used < 0 ? used : used + (ssize_t)header;
}

/* Hands bytes to the edge; keeps what it leaves. False: no more input. */
static bool feed(struct conn *c, struct slice bytes)
{
    bool kept = in_of(c) != NULL;
    ssize_t used;

    if (kept) {
        if (!keep_in(c, bytes))
            return false;
        bytes = buf_slice(in_of(c));
    }
    used = use(c, bytes);
    if (used < 0 || c->state != CONN_OPEN) {
        drop_in(c);
        return false;
    }
    CHECK((size_t)used <= bytes.len);
    if ((size_t)used == bytes.len)
        drop_in(c);
    else if (kept)
        buf_drop_front(in_of(c), (size_t)used);
    else
        return keep_in(c, slice_from(bytes, (size_t)used));
    return true;
}

static void header_late(struct conn *c)
{
    struct buf *in = in_of(c);

    if (conn_header_late(c, in ? buf_slice(in) : slice_make(NULL, 0)))
        (void)feed(c, slice_make(NULL, 0));
    else
        drop_in(c);
}

static void peer_ended(struct conn *c)
{
    if (c->flags & CONN_INPUT_END)
        return;
    c->flags |= CONN_INPUT_END;
    if ((c->flags & CONN_HEADER_DUE) && in_of(c)) { /* it will be none */
        c->flags &= (uint16_t)~CONN_HEADER_DUE;
        (void)feed(c, slice_make(NULL, 0));
    }
    if (c->state == CONN_DRAINING)
        die(c);
    else if (c->state == CONN_OPEN)
        c->gw->edge->input_end(c);
}

int conn_open_guest(struct gateway *g, int fd, const struct guest *guest,
                    const struct address *share)
{
    unsigned flags = (guest->flags & GUEST_LOOPBACK ? CONN_LOOPBACK : 0) |
                     (guest->flags & GUEST_AT_LOOPBACK ? CONN_AT_LOOPBACK : 0);
    struct conn *c;
    int rc = open_conn(g, fd, flags, 0, share, &c);

    if (rc < 0)
        return rc;
    if (address_known(&guest->proxied)) {
        if (!conn_make_busy(c)) {
            conn_abort(c, "memory");
            return 0;
        }
        conn_busy(c)->proxied = guest->proxied;
    }
    if (conn_peer_is_proxy(c)) /* by our rules, not by those of where it came */
        conn_set_remote(c);
    if (feed(c, guest->in) && (guest->flags & GUEST_INPUT_END))
        peer_ended(c);
    return 0;
}

/* Input waits: too many answers are due, or nobody reads them. */
static bool held_back(const struct conn *c)
{
    return c->state == CONN_OPEN &&
           ((c->flags & CONN_PAUSED) || c->gw->still ||
            conn_out_pending(c) > c->gw->config->limits.queue);
}

enum got { GOT_SOME, GOT_ALL, GOT_END, GOT_BROKEN };

static enum got read_once(struct conn *c)
{
    struct gateway *g = c->gw;
    ssize_t n;

    do
        n = recv(c->fd, g->read_buffer, READ_BUFFER, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? GOT_ALL
                                                       : GOT_BROKEN;
    if (n == 0)
        return GOT_END;
    stat_add(&g->stats, STAT_BYTES_IN, (uint64_t)n);
    if (c->state == CONN_OPEN)
        (void)feed(c, slice_make(g->read_buffer, (size_t)n));
    /* A short read empties the socket, unless a FIN is behind it. */
    return n < READ_BUFFER && !(c->flags & CONN_RDHUP) ? GOT_ALL : GOT_SOME;
}

/* Behind input that waits the peer's end is known, but not read. */
static void tell_end_behind(struct conn *c)
{
    if ((c->flags & CONN_PAUSED) && (c->flags & CONN_RDHUP) &&
        c->gw->edge->end_behind)
        c->gw->edge->end_behind(c);
}

/* Reads until the socket has no more, or others must have their turn. */
static void read_some(struct conn *c)
{
    for (unsigned i = 0; i < READS_PER_EVENT; i++) {
        enum got got;

        if (c->state == CONN_DEAD)
            return;
        if (held_back(c)) {
            tell_end_behind(c);
            return;
        }
        got = read_once(c);
        if (got == GOT_SOME || c->state == CONN_DEAD)
            continue;
        c->flags &= (uint16_t)~CONN_READABLE;
        if (got == GOT_END)
            peer_ended(c);
        else if (got == GOT_BROKEN)
            die(c);
        return;
    }
    if (c->state != CONN_DEAD)
        conn_dirty(c);
}

void conn_pause_input(struct conn *c, bool paused)
{
    if (paused) {
        c->flags |= CONN_PAUSED;
        return;
    }
    if (!(c->flags & CONN_PAUSED))
        return;
    c->flags &= (uint16_t)~CONN_PAUSED;
    c->flags |= CONN_READABLE;
    conn_dirty(c);
}

void conn_socket_event(void *ctx, uint64_t data, uint32_t events)
{
    struct gateway *g = ctx;
    struct conn *c = conn_by_name(g, (uint32_t)data, (uint32_t)(data >> 32));

    if (!c)
        return;
    if (events & (POLLSET_IN | POLLSET_RDHUP | POLLSET_HUP | POLLSET_ERR)) {
        c->flags |= CONN_READABLE;
        if (events & (POLLSET_RDHUP | POLLSET_HUP))
            c->flags |= CONN_RDHUP;
        if (!(c->flags & CONN_INPUT_END))
            read_some(c);
    }
    if (c->state == CONN_DEAD)
        return;
    if (events & POLLSET_ERR) {
        die(c);
        return;
    }
    if ((events & POLLSET_OUT) && (c->flags & CONN_STALLED) &&
        !thin_drained(c))
        conn_take_up(c);
}

void conn_take_up(struct conn *c)
{
    set_stalled(c, false);
    come_again(c);
}

/* What was left for this turn: input unpaused or cut short, then output. */
static void turn_of(struct conn *c)
{
    c->flags &= (uint16_t)~CONN_DIRTY;
    if (in_of(c) && c->state == CONN_OPEN && !(c->flags & CONN_PAUSED) &&
        (c->flags & CONN_READABLE) && !c->gw->still)
        (void)feed(c, slice_make(NULL, 0));
    if ((c->flags & CONN_READABLE) && !(c->flags & CONN_INPUT_END))
        read_some(c);
    if (c->state != CONN_DEAD)
        conn_flush(c);
}

static void take_turn(struct conn *c)
{
    if (c->state == CONN_DEAD)
        conn_free(c);
    else
        turn_of(c);
}

/* However many they are, and however far: so much a turn, in a round. */
static void serve_who_is_behind(struct gateway *g)
{
    struct conn_queue mine = conn_queue_all(&g->conns.behind);
    size_t before = g->sent;
    struct conn *c;

    while (g->sent - before < TURN_BYTES &&
           (c = conn_queue_take(&g->conns, &mine)))
        take_turn(c);
    conn_queue_join(&g->conns, &g->conns.behind, mine);
}

static void free_dead(struct gateway *g)
{
    struct conn *c;

    while ((c = conn_queue_take(&g->conns, &g->conns.dead)))
        conn_free(c);
}

void conns_end_of_turn(struct gateway *g)
{
    struct conn_queue mine = conn_queue_all(&g->conns.dirty);
    struct conn *c;

    while ((c = conn_queue_take(&g->conns, &mine)))
        take_turn(c);
    serve_who_is_behind(g);
    free_dead(g);
    if (!conn_queue_empty(&g->conns.dirty) ||
        !conn_queue_empty(&g->conns.behind))
        loop_again(g->loop);
}

void conns_close(struct gateway *g)
{
    struct conn *c;

    for (uint32_t i = 0; i < g->conns.used; i++)
        if ((c = conns_at(&g->conns, i)))
            end(c, "drain");
    while ((c = conn_queue_take(&g->conns, &g->conns.dirty)) ||
           (c = conn_queue_take(&g->conns, &g->conns.behind)))
        conn_free(c);
    free_dead(g);
    conns_fini(&g->conns);
}

/* ---- time -------------------------------------------------------------- */

void conn_deadline(struct conn *c, uint32_t ms)
{
    if (c->state != CONN_OPEN)
        return;
    if (ms) {
        set_deadline(c, ms * (int64_t)MILLISECOND);
    } else {
        stop_deadline(c);
        conn_busy_done(c);
    }
}

void conn_want_pings(struct conn *c, bool wanted)
{
    conns_want_pings(&c->gw->conns, c, wanted && c->state == CONN_OPEN);
}

/* What its deadline waits for may have come, and lie unread. */
static bool is_unread(struct conn *c)
{
    return c->state == CONN_OPEN && c->gw->still &&
           !(c->gw->edge->ending && c->gw->edge->ending(c));
}

void conn_wheel_due(void *ctx, struct wheel_timer *t)
{
    struct gateway *g = ctx;
    struct conn *c = conns_at(&g->conns, t->owner);

    if (is_unread(c)) {
        wheel_set(&c->gw->wheel, t, wheel_in(&c->gw->wheel, CONN_UNREAD_MS));
        return;
    }
    if (c->state != CONN_OPEN)
        give_up(c);
    else if (c->gw->edge->deadline)
        c->gw->edge->deadline(c);
    else
        header_late(c);
    conn_busy_done(c);
}
