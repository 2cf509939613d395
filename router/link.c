#include "router/link.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "router/ctl.h"
#include "router/pub.h"
#include "router/router.h"
#include "proto/frame_io.h"

enum { LATE_MAX = 256 * 1024 }; /* bytes of joins and leaves for one link */

/* ---- states ------------------------------------------------------------ */

static const char *const state_names[LINK_STATES] = {
    [LINK_NEW] = "new",         [LINK_EPOCH] = "epoch",
    [LINK_SAYING] = "saying",   [LINK_READING] = "reading",
    [LINK_LIVE] = "live",       [LINK_STALE] = "stale",
    [LINK_GONE] = "gone",
};

static const unsigned may_become[LINK_STATES] = {
    [LINK_NEW] = 1u << LINK_EPOCH | 1u << LINK_SAYING | 1u << LINK_LIVE |
                 1u << LINK_GONE,
    [LINK_EPOCH] = 1u << LINK_SAYING | 1u << LINK_LIVE | 1u << LINK_GONE,
    [LINK_SAYING] = 1u << LINK_READING | 1u << LINK_GONE,
    [LINK_READING] = 1u << LINK_LIVE | 1u << LINK_GONE,
    [LINK_LIVE] = 1u << LINK_STALE | 1u << LINK_GONE,
    [LINK_STALE] = 1u << LINK_READING | 1u << LINK_GONE,
};

const char *link_state_name(enum link_state s)
{
    return state_names[s];
}

void link_become(struct link *l, enum link_state next)
{
    CHECK(may_become[l->state] & 1u << next);
    log_debug("link.state", "link=%s from=%s to=%s", l->who.name,
              state_names[l->state], state_names[next]);
    if (next == LINK_LIVE)
        lane_follow(&l->lane, true, l->router->seq);
    else if (l->state == LINK_LIVE)
        lane_follow(&l->lane, false, l->position);
    l->state = next;
    l->was_live |= next == LINK_LIVE;
}

/* ---- coming ------------------------------------------------------------ */

void links_init(struct links *ls)
{
    *ls = (struct links){.next = 1};
    list_init(&ls->all);
    list_init(&ls->gone);
}

/* A number that no link has; 0: there is none left. */
static uint32_t free_number(struct links *ls)
{
    for (uint32_t tried = 1; tried < TABLE_LINKS_MAX; tried++) {
        uint32_t number = ls->next;

        ls->next = number + 1 < TABLE_LINKS_MAX ? number + 1 : 1;
        if (!ls->by_number[number])
            return number;
    }
    return 0;
}

static struct link *by_name(struct links *ls, const char *name)
{
    LIST_FOREACH(l, &ls->all, struct link, node)
        if (strcmp(l->who.name, name) == 0)
            return l;
    return NULL;
}

static void make_name(struct links *ls, struct peer_id *who)
{
    const char *stem = who->edge[0] ? who->edge
                       : who->kind == PEER_CTL ? "ctl" : "peer";

    for (unsigned n = 1; !who->name[0] || by_name(ls, who->name); n++)
        snprintf(who->name, sizeof who->name, "%s%u", stem, n);
}

/* It went without a goodbye. */
static void miss(struct link *l)
{
    if (l->state != LINK_NEW && l->state != LINK_GONE &&
        l->who.kind != PEER_CTL)
        missing_add(&l->router->missing, &l->who, clock_ns());
}

/* A name belongs to one peer. That it is there already means that its link is
 * dead and we have not noticed, or that two were given the same name: then the
 * log shows them replacing each other. It is missed until the new one has said
 * HELLO: it may be dead before. */
static void replace_namesake(struct router *r, const struct peer_id *who)
{
    struct link *old = by_name(&r->links, who->name);

    if (!old)
        return;
    if (old->who.life != who->life)
        log_warn("link.replaced", "link=%s old_pid=%" PRIu32 " pid=%" PRIu32
                 " action=drop_old", who->name, old->who.pid, who->pid);
    miss(old);
    link_gone(old, "another one of this name has joined");
}

int link_new(struct link **ret, struct router *r, const struct peer_id *who,
             struct pipe *pipe)
{
    uint32_t number = free_number(&r->links);
    struct link *l;

    if (!number)
        return ERR_FULL;
    l = calloc(1, sizeof *l);
    if (!l)
        return ERR_NOMEM;
    l->router = r;
    lane_on_pipe(&l->lane, pipe);
    l->who = *who;
    table_link_init(&l->seats, number);
    list_init(&l->fetches);
    list_init(&l->queries);
    list_init(&l->snapshots);
    canary_init(&l->canary);
    if (who->name[0])
        replace_namesake(r, who);
    else
        make_name(&r->links, &l->who);
    r->links.by_number[number] = l;
    r->links.count++;
    list_init(&l->node);
    list_add_tail(&r->links.all, &l->node);
    link_pause(l, r->publish.paused);
    *ret = l;
    return 0;
}

void link_pause(struct link *l, bool paused)
{
    if (l->who.kind != PEER_CTL)
        lane_pause(&l->lane, paused);
}

static const char *admit(void *ctx, const struct peer_id *who)
{
    struct router *r = ctx;

    UNUSED(who);
    if (r->draining)
        return "the router goes down";
    if (r->links.count + 1 >= TABLE_LINKS_MAX)
        return "the router has as many links as it can have";
    return NULL;
}

static void joined(void *ctx, const struct peer_id *who, struct pipe *pipe,
                   const struct pipe_ops **ops, void **pipe_ctx)
{
    struct link *l;
    int rc = link_new(&l, ctx, who, pipe);

    if (rc < 0) {
        log_error("link.failed", "link=%s error=%s", who->name, err_name(rc));
        *ops = &rendezvous_deaf;
        *pipe_ctx = pipe;
        return;
    }
    *ops = &link_pipe;
    *pipe_ctx = l;
    log_info("link.joined", "link=%s edge=%s pid=%" PRIu32, l->who.name,
             l->who.edge, l->who.pid);
}

const struct rendezvous_ops link_rendezvous = {admit, joined};

/* ---- coming by a repeater ---------------------------------------------- */

static const char *came(void *ctx, const struct peer_id *who,
                        struct lane **lane, const struct pipe_ops **ops,
                        void **lane_ctx)
{
    struct link *via = ctx;
    const char *no = admit(via->router, who);
    struct link *l;

    if (!no && strcmp(who->name, via->who.name) == 0)
        no = "its name is the repeater's";
    if (no)
        return no;
    if (link_new(&l, via->router, who, NULL) < 0)
        return err_text(ERR_NOMEM);
    l->via = via;
    *lane = &l->lane;
    *ops = &link_pipe;
    *lane_ctx = l;
    log_info("link.joined", "link=%s edge=%s pid=%" PRIu32 " via=%s",
             l->who.name, l->who.edge, l->who.pid, via->who.name);
    return NULL;
}

static const struct trunk_ops by_repeater = {came};

/* What is behind a repeater behind a repeater comes in the first one's trunk. */
static int open_trunk(struct link *l)
{
    const struct config_limits *limits = &l->router->config->limits;
    const struct pipe_limits lane = {limits->link_batch, limits->link_queue};

    if (l->who.kind != PEER_REPEATER || !l->lane.pipe)
        return 0;
    return trunk_new(&l->trunk, l->router->loop, l->lane.pipe, &lane,
                     &by_repeater, l);
}

/* ---- HELLO and WELCOME ------------------------------------------------- */

void link_welcome(struct link *l)
{
    struct router *r = l->router;
    bool gateway = l->who.kind == PEER_GATEWAY;
    struct frame_welcome f = {
        .life = r->life,
        .seq = r->seq,
        .link = l->seats.number,
        .resync = gateway,
        .epoch = slice_str(r->epoch.text),
        .server = SLICE(ROUTER_SERVER),
    };

    if (open_trunk(l) < 0) {
        link_gone(l, err_text(ERR_NOMEM));
        return;
    }
    frame_write_welcome(lane_frame(&l->lane, FRAME_WELCOME), &f);
    lane_frame_end(&l->lane);
    lane_set_seq(&l->lane, r->seq);
    link_become(l, gateway ? LINK_SAYING : LINK_LIVE);
    missing_back(&r->missing, l->who.name);
}

/* What has no history cannot be repaired, so places above the last stored
 * message are as good as that. */
void link_synced(struct link *l, uint64_t seq)
{
    struct router *r = l->router;

    l->position = l->same_epoch ? MIN(seq, r->stored_seq) : r->stored_seq;
    lane_set_seq(&l->lane, l->position);
    replay_resync(l);
}

void links_epoch_made(struct router *r)
{
    struct frame_epoch f = {r->seq, slice_str(r->epoch.text)};

    LIST_FOREACH_SAFE(l, next, &r->links.all, struct link, node) {
        if (l->state == LINK_EPOCH) {
            l->same_epoch = false;
            link_welcome(l);
        } else if (l->state != LINK_NEW) {
            frame_write_epoch(lane_frame(&l->lane, FRAME_EPOCH), &f);
            lane_frame_end(&l->lane);
        }
    }
}

/* ---- the stream -------------------------------------------------------- */

static void go_stale(struct link *l)
{
    l->position = l->router->stored_seq;
    link_become(l, LINK_STALE);
    stat_add(&l->router->stats, STAT_LINKS_STALE, 1);
    log_warn("link.stale", "link=%s queued=%zu action=repair_when_drained",
             l->who.name, lane_queued(&l->lane));
}

bool link_put(struct link *l, const struct buf *frame)
{
    if (frame->failed)
        return false;
    put_raw(lane_frame(&l->lane, FRAME_DELIVER), buf_slice(frame));
    lane_frame_end(&l->lane);
    l->delivered++;
    stat_add(&l->router->stats, STAT_DELIVERS, 1);
    return true;
}

bool link_deliver(struct link *l, const struct buf *frame,
                  struct repeat *repeat)
{
    if (l->state != LINK_LIVE)
        return false;
    if (lane_full(&l->lane) || frame->failed) {
        go_stale(l);
        return false;
    }
    repeat_add(repeat, &l->lane);
    l->delivered++;
    stat_add(&l->router->stats, STAT_DELIVERS, 1);
    return true;
}

void link_deliver_late(struct link *l, const struct buf *frame,
                       struct repeat *repeat)
{
    size_t mark = l->late.len;

    if (link_deliver(l, frame, repeat) || frame->failed || mark > LATE_MAX)
        return;
    put_str32(&l->late, buf_slice(frame));
    if (l->late.failed)
        buf_truncate(&l->late, mark);
    l->late.failed = false;
}

static void put_late(struct link *l)
{
    struct cursor c = cursor_init(buf_slice(&l->late));

    while (cursor_left(&c)) {
        struct slice frame = cursor_str32(&c);

        put_raw(lane_frame(&l->lane, FRAME_DELIVER), frame);
        lane_frame_end(&l->lane);
    }
    buf_fini(&l->late);
}

void links_set_seq(struct router *r)
{
    LIST_FOREACH(l, &r->links.all, struct link, node)
        if (l->state == LINK_LIVE)
            lane_set_seq(&l->lane, r->seq);
}

int link_defer(struct link *l, uint8_t code, struct slice body)
{
    if (l->deferred.len + body.len > l->router->config->limits.link_queue)
        return ERR_TOO_BIG;
    put_u8(&l->deferred, code);
    put_str32(&l->deferred, body);
    return l->deferred.failed ? ERR_NOMEM : 0;
}

static int run_deferred(struct link *l, struct slice frames)
{
    struct cursor c = cursor_init(frames);
    int rc = 0;

    while (rc == 0 && l->state != LINK_GONE && cursor_left(&c)) {
        uint8_t code = cursor_u8(&c);

        rc = dispatch(l, code, cursor_str32(&c));
    }
    return rc;
}

static void put_resynced(struct link *l)
{
    put_u64(lane_frame(&l->lane, FRAME_RESYNCED), l->router->seq);
    lane_frame_end(&l->lane);
}

/* A link that says RESYNCED when it was live tells its gateway that something
 * without history may be missing; so does the second one when the first ends
 * the coming of a gateway whose logins were answered long before. */
void link_live(struct link *l)
{
    struct router *r = l->router;
    struct buf deferred = l->deferred;
    int rc;

    put_resynced(l);
    if (l->missed && !l->was_live)
        put_resynced(l);
    l->missed = false;
    link_become(l, LINK_LIVE);
    lane_set_seq(&l->lane, r->seq);
    put_late(l);
    log_info("link.live", "link=%s seats=%zu seq=%" PRIu64, l->who.name,
             l->seats.seats, r->seq);
    buf_init(&l->deferred);
    rc = run_deferred(l, buf_slice(&deferred));
    buf_fini(&deferred);
    if (rc < 0)
        link_fault(l, rc);
}

/* ---- going ------------------------------------------------------------- */

void link_fault(struct link *l, int rc)
{
    miss(l);
    stat_add(&l->router->stats, STAT_LINK_FAULTS, 1);
    link_gone(l, err_text(rc));
}

void link_gone(struct link *l, const char *why)
{
    struct router *r = l->router;

    if (l->state == LINK_GONE)
        return;
    log_info("link.gone", "link=%s why=%s seats=%zu connections=%zu",
             l->who.name, log_quote(slice_str(why)).text, l->seats.seats,
             l->seats.conns);
    link_become(l, LINK_GONE);
    pubs_link_gone(&r->publish, l);
    replay_link_gone(l);
    snapshots_link_gone(l);
    ctl_link_gone(l);
    memory_link_gone(l);
    canary_link_gone(l);
    table_link_drop(&r->table, &l->seats);
    r->links.by_number[l->seats.number] = NULL;
    r->links.count--;
    list_remove(&l->node);
    list_add_tail(&r->links.gone, &l->node);
}

static void link_free(struct link *l)
{
    if (l->trunk)
        trunk_down(l->trunk, "its repeater is gone");
    if (l->lane.pipe)
        link_repairs_add(&l->router->links.mended, l->lane.pipe);
    trunk_free(l->trunk);
    lane_fini(&l->lane);
    table_link_fini(&l->seats);
    buf_fini(&l->deferred);
    buf_fini(&l->late);
    buf_fini(&l->figures);
    free(l);
}

static void free_gone(struct router *r)
{
    struct list_node *n;

    while ((n = list_pop(&r->links.gone)))
        link_free(CONTAINER_OF(n, struct link, node));
}

void links_end_of_turn(struct router *r)
{
    size_t half = r->config->limits.link_queue / 2;

    LIST_FOREACH_SAFE(l, next, &r->links.all, struct link, node)
        if (l->state == LINK_STALE && lane_queued(&l->lane) < half)
            replay_resync(l);
    free_gone(r);
}

void links_free(struct router *r)
{
    struct list_node *n;

    while ((n = list_first(&r->links.all)))
        link_gone(CONTAINER_OF(n, struct link, node), "the router goes down");
    free_gone(r);
}

/* ---- the pipe's side --------------------------------------------------- */

static int on_frame(void *ctx, uint8_t code, struct slice body)
{
    struct link *l = ctx;
    int rc = ERR_FRAME;

    if (l->state == LINK_GONE)
        return 0;
    if (frame_check(code, SENDER_GATEWAY, body.len) == 0)
        rc = l->trunk && trunk_has_code(code) ? trunk_frame(l->trunk, code, body)
                                              : dispatch(l, code, body);
    if (rc < 0) {
        stat_add(&l->router->stats, STAT_LINK_FAULTS, 1);
        log_warn("link.fault", "link=%s frame=%s bytes=%zu error=%s "
                 "action=close", l->who.name, frame_name(code), body.len,
                 err_name(rc));
    }
    return rc;
}

static void on_batch_end(void *ctx, uint64_t seq)
{
    UNUSED(ctx);
    UNUSED(seq);
}

static void on_up(void *ctx)
{
    UNUSED(ctx); /* the peer speaks first */
}

static void on_down(void *ctx, const char *why)
{
    if (strcmp(why, PIPE_PEER_LEFT) != 0)
        miss(ctx);
    link_gone(ctx, why);
}

static void on_drained(void *ctx)
{
    UNUSED(ctx); /* the end of this turn sees to it */
}

const struct pipe_ops link_pipe = {
    .frame = on_frame,
    .batch_end = on_batch_end,
    .up = on_up,
    .down = on_down,
    .drained = on_drained,
};

/* ---- names of connections ---------------------------------------------- */

int links_parse_conn(struct router *r, struct slice name, struct link **ret,
                     uint32_t *conn, uint32_t *gen)
{
    struct slice numbers = name;
    struct slice stem = slice_split(&numbers, '/');
    struct slice after = numbers;
    struct slice before = slice_split(&after, '.');
    uint64_t number, generation;

    if (slice_parse_u64(before, &number) < 0 || number > UINT32_MAX ||
        slice_parse_u64(after, &generation) < 0 || generation > UINT32_MAX)
        return ERR_BAD;
    LIST_FOREACH(l, &r->links.all, struct link, node)
        if (slice_eq(slice_str(l->who.name), stem)) {
            *ret = l;
            *conn = (uint32_t)number;
            *gen = (uint32_t)generation;
            return 0;
        }
    return ERR_NOT_FOUND;
}
