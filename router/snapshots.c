#include "router/snapshots.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "router/router.h"
#include "proto/frame_io.h"

/* One link that waits for one id. */
struct waiter {
    struct list_node on_fill, on_link;
    struct link *link;
};

struct fill {
    struct map_node by_id; /* in snapshots.fills */
    struct router *router;
    struct read_job *job;
    struct list_node waiters;
    uint8_t len;
    uint8_t id[];
};

void snapshots_init(struct snapshots *s)
{
    *s = (struct snapshots){.state = BUF_INIT};
    map_init(&s->fills);
}

static void waiter_free(struct waiter *w)
{
    list_remove(&w->on_fill);
    list_remove(&w->on_link);
    free(w);
}

/* It is no member of the map any more. */
static void fill_free(struct fill *f)
{
    struct list_node *n;

    while ((n = list_first(&f->waiters)))
        waiter_free(CONTAINER_OF(n, struct waiter, on_fill));
    free(f);
}

void snapshots_fini(struct router *r)
{
    struct map_iter it = map_iter(&r->snapshots.fills);
    struct map_node *n;

    while (map_next(&it, &n)) {
        struct fill *f = CONTAINER_OF(n, struct fill, by_id);

        map_iter_remove(&it, n);
        reader_cancel(r->readers, f->job);
        fill_free(f);
    }
    map_fini(&r->snapshots.fills);
    buf_fini(&r->snapshots.state);
}

void snapshots_link_gone(struct link *l)
{
    struct list_node *n;

    while ((n = list_first(&l->snapshots)))
        waiter_free(CONTAINER_OF(n, struct waiter, on_link));
}

/* ---- making ------------------------------------------------------------ */

int snapshots_make(struct router *r, struct slice id)
{
    struct buf *state = &r->snapshots.state;
    int rc;

    buf_reset(state);
    rc = types_snapshot(r->types, id, state);
    if (rc < 0)
        return rc;
    if (state->failed)
        return ERR_NOMEM;
    if (state->len > r->config->limits.link_batch - 64 * KIB) {
        stat_add(&r->stats, STAT_LIMIT_LINK_BATCH, 1);
        log_warn("snapshot.too_big", "id=%s bytes=%zu action=send_none",
                 log_quote(id).text, state->len);
        buf_reset(state);
        buf_add_str(state, "null");
    }
    stat_add(&r->stats, STAT_SNAPSHOTS, 1);
    return state->failed ? ERR_NOMEM : 0;
}

static void put_snapshot(struct link *l, struct slice id)
{
    struct frame_snapshot f = {
        .seq = l->router->seq,
        .id = id,
        .state = buf_slice(&l->router->snapshots.state),
    };

    frame_write_snapshot(lane_frame(&l->lane, FRAME_SNAPSHOT), &f);
    lane_frame_end(&l->lane);
}

/* A link that has stopped being LIVE stands at an earlier place than the
 * state: it asks again when it has caught up. */
static int ask_later(struct link *l, struct slice id)
{
    struct frame_ids f = {.count = 1};
    struct buf body = BUF_INIT;
    int rc;

    frame_write_ids(&body, &f);
    frame_write_id(&body, id);
    rc = body.failed ? ERR_NOMEM
                     : link_defer(l, FRAME_SNAP, buf_slice(&body));
    buf_fini(&body);
    return rc;
}

/* Who waits would wait for ever, or go on with a state that is none: its gateway
 * comes back, and asks again. */
static void unmade(struct link *l, struct slice id, int rc)
{
    log_error("snapshot.failed", "id=%s error=%s link=%s action=begin_anew",
              log_quote(id).text, err_name(rc), l->who.name);
    link_gone(l, err_text(rc));
}

/* ---- reading what a state needs ---------------------------------------- */

/* ERR_NOMEM: what is stored is not known to be lost. */
static int feed(struct router *r, struct slice id, const struct page *page)
{
    if (page->rc == ERR_NOMEM)
        return page->rc;
    if (page->rc < 0)
        log_error("snapshot.unread", "id=%s error=%s action=go_without",
                  log_quote(id).text, err_name(page->rc));
    for (size_t i = 0; i < page->count; i++) {
        struct msg_parts parts = replay_parts(&page->records[i]);

        types_fill(r->types, &parts);
    }
    types_filled(r->types, id);
    return 0;
}

static void serve(struct fill *f, struct slice id)
{
    struct list_node *n;

    while ((n = list_first(&f->waiters))) {
        struct waiter *w = CONTAINER_OF(n, struct waiter, on_fill);
        struct link *l = w->link;

        waiter_free(w);
        if (l->state == LINK_LIVE)
            put_snapshot(l, id);
        else if (ask_later(l, id) < 0)
            link_gone(l, "too much waits for this link");
    }
}

static void filled(void *arg, struct page *page);

static int fill_read(struct fill *f)
{
    struct slice id = slice_make(f->id, f->len);
    struct page_request q = {
        .ids = &id,
        .id_count = 1,
        .upto_seq = f->router->seq,
        .max_count = TYPES_ROOM_MESSAGES,
        .max_bytes = f->router->config->limits.page_bytes,
        .newest = true,
    };

    return reader_page(f->router->readers, &q, filled, f, &f->job);
}

static void fill_end(struct fill *f)
{
    map_remove(&f->router->snapshots.fills, &f->by_id);
    fill_free(f);
}

static void fill_fail(struct fill *f, int rc)
{
    struct list_node *n;

    while ((n = list_first(&f->waiters)))
        unmade(CONTAINER_OF(n, struct waiter, on_fill)->link,
               slice_make(f->id, f->len), rc);
    fill_end(f);
}

static void filled(void *arg, struct page *page)
{
    struct fill *f = arg;
    struct slice id = slice_make(f->id, f->len);
    int rc = feed(f->router, id, page);

    page_free(page);
    if (rc == 0)
        rc = snapshots_make(f->router, id);
    if (rc == 0) {
        serve(f, id);
        fill_end(f);
        return;
    }
    if (rc == ERR_AGAIN) /* forgotten meanwhile, for want of room */
        rc = fill_read(f);
    if (rc < 0)
        fill_fail(f, rc);
}

static bool fill_has_id(const struct map_node *n, const void *id)
{
    const struct fill *f = CONTAINER_OF(n, struct fill, by_id);

    return slice_eq(slice_make(f->id, f->len), *(const struct slice *)id);
}

static struct fill *fill_of(struct router *r, struct slice id)
{
    struct map_node *n = map_find(&r->snapshots.fills, hash_bytes(id),
                                  fill_has_id, &id);
    struct fill *f;

    if (n)
        return CONTAINER_OF(n, struct fill, by_id);
    f = calloc(1, sizeof *f + id.len);
    if (!f)
        return NULL;
    f->router = r;
    f->len = (uint8_t)id.len;
    memcpy(f->id, id.ptr, id.len);
    list_init(&f->waiters);
    if (map_add(&r->snapshots.fills, &f->by_id, hash_bytes(id)) < 0) {
        free(f);
        return NULL;
    }
    if (fill_read(f) < 0) {
        map_remove(&r->snapshots.fills, &f->by_id);
        free(f);
        return NULL;
    }
    return f;
}

static int wait_for(struct link *l, struct slice id)
{
    struct fill *f = fill_of(l->router, id);
    struct waiter *w;

    if (!f)
        return ERR_NOMEM;
    LIST_FOREACH(other, &f->waiters, struct waiter, on_fill)
        if (other->link == l)
            return 0;
    w = calloc(1, sizeof *w);
    if (!w)
        return ERR_NOMEM;
    w->link = l;
    list_init(&w->on_fill);
    list_init(&w->on_link);
    list_add_tail(&f->waiters, &w->on_fill);
    list_add_tail(&l->snapshots, &w->on_link);
    return 0;
}

void snapshots_send(struct link *l, struct slice id)
{
    int rc = snapshots_make(l->router, id);

    if (rc == 0)
        put_snapshot(l, id);
    else if (rc == ERR_AGAIN)
        rc = wait_for(l, id);
    if (rc < 0)
        unmade(l, id, rc);
}

/* ---- notices ----------------------------------------------------------- */

/* Links that are being read for come to it by themselves. */
static void tell_nobody(struct router *r, struct slice id, int rc)
{
    LIST_FOREACH_SAFE(l, next, &r->links.all, struct link, node)
        if ((l->state == LINK_LIVE || l->state == LINK_STALE) &&
            repeater_wanted(r, l, id))
            unmade(l, id, rc);
}

void snapshots_tell(struct router *r, struct slice id)
{
    struct msg_parts notice = {.id = id, .kind = SLICE("snapshot")};
    int rc = snapshots_make(r, id);

    if (rc < 0) {
        tell_nobody(r, id, rc);
        return;
    }
    notice.data = buf_slice(&r->snapshots.state);
    repeater_notice(r, &notice);
    LIST_FOREACH_SAFE(l, next, &r->links.all, struct link, node)
        if (l->state == LINK_STALE && repeater_wanted(r, l, id) &&
            replay_owe_snapshot(l, id) < 0)
            link_gone(l, "out of memory");
}

int snapshots_tell_link(struct link *l, struct slice id)
{
    struct router *r = l->router;
    struct msg_parts notice = {
        .format = MSG_NOTICE_FORMAT,
        .flags = MSG_NOTICE,
        .seq = r->seq,
        .ts_ms = clock_wall_ms(),
        .id = id,
        .kind = SLICE("snapshot"),
    };
    int rc = snapshots_make(r, id);

    if (rc < 0)
        return rc == ERR_NOMEM ? rc : 0;
    notice.data = buf_slice(&r->snapshots.state);
    frame_write_deliver(lane_frame(&l->lane, FRAME_DELIVER), &notice);
    lane_frame_end(&l->lane);
    return 0;
}
