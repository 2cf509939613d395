#include "gateways/common/pages.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "gateways/common/catchup.h"
#include "gateways/common/core.h"
#include "proto/frame_io.h"

enum {
    FETCHES_MAX = 8, /* pages under way for one gateway */
    FIRST_PAGE_BYTES = 256 * 1024,
    FEW_CHANNELS = 64,
    ITEMS_FIRST = 16,
    SERVE_SLICE = 256, /* starts that look again, a turn */
};

struct shelf {
    struct map_node by_key;
    struct list_node node;    /* pages.asking */
    struct list_node pages;   /* that have come, in no order */
    struct list_node waiting; /* starts */
    struct page *coming;
    unsigned holders;
    bool patterns;
    unsigned count; /* of channels */
    uint32_t key_len;
    uint8_t key[]; /* the channels, as a FETCH names them, sorted */
};

void pages_init(struct pages *p)
{
    map_init(&p->shelves);
    list_init(&p->coming);
    list_init(&p->kept);
    list_init(&p->asking);
    list_init(&p->served);
    p->under_way = 0;
    p->bytes = 0;
}

/* ---- shelves ------------------------------------------------------------ */

static struct slice key_of(const struct shelf *f)
{
    return slice_make(f->key, f->key_len);
}

static bool same_key(const struct map_node *n, const void *key)
{
    return slice_eq(key_of(CONTAINER_OF(n, struct shelf, by_key)),
                    *(const struct slice *)key);
}

static int by_bytes(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static struct shelf *shelf_new(struct gateway *g, struct slice key)
{
    struct shelf *f = calloc(1, sizeof *f + key.len);

    if (!f)
        return NULL;
    list_init(&f->node);
    list_init(&f->pages);
    list_init(&f->waiting);
    f->key_len = (uint32_t)key.len;
    memcpy(f->key, key.ptr, key.len);
    if (map_add(&g->pages.shelves, &f->by_key, hash_bytes(key)) < 0) {
        free(f);
        return NULL;
    }
    return f;
}

static struct shelf *shelf_of_key(struct gateway *g, struct slice key)
{
    struct map_node *n = map_find(&g->pages.shelves, hash_bytes(key), same_key,
                                  &key);

    return n ? CONTAINER_OF(n, struct shelf, by_key) : shelf_new(g, key);
}

struct shelf *shelf_get(struct gateway *g, struct slice *channels,
                        unsigned count)
{
    struct buf key = BUF_INIT;
    struct shelf *f = NULL;

    qsort(channels, count, sizeof *channels, by_bytes);
    for (unsigned i = 0; i < count; i++)
        frame_write_id(&key, channels[i]);
    if (!key.failed)
        f = shelf_of_key(g, buf_slice(&key));
    buf_fini(&key);
    if (!f)
        return NULL;
    f->count = count;
    f->holders++;
    for (unsigned i = 0; i < count; i++)
        f->patterns |= id_is_pattern(channels[i]);
    return f;
}

static void shelf_maybe_free(struct gateway *g, struct shelf *f)
{
    if (f->holders || f->coming || !list_empty(&f->pages))
        return;
    list_remove(&f->node);
    map_remove(&g->pages.shelves, &f->by_key);
    free(f);
}

void shelf_drop(struct gateway *g, struct shelf *f)
{
    if (!f)
        return;
    f->holders--;
    shelf_maybe_free(g, f);
}

/* ---- pages -------------------------------------------------------------- */

static void page_empty(struct page *p)
{
    for (size_t i = 0; i < p->count; i++)
        msg_drop(p->items[i].msg);
    p->count = 0;
    p->bytes = 0;
    p->broken = false;
}

static void page_free(struct gateway *g, struct page *p)
{
    struct shelf *f = p->shelf;

    page_empty(p);
    list_remove(&p->node);
    list_remove(&p->on_shelf);
    free(p->items);
    free(p);
    if (f)
        shelf_maybe_free(g, f);
}

struct page *page_hold(struct page *p)
{
    p->readers++;
    return p;
}

void page_drop(struct gateway *g, struct page *p)
{
    if (p && --p->readers == 0 && !p->kept)
        page_free(g, p);
}

size_t page_share(const struct page *p)
{
    return p->bytes / MAX(p->readers, 1u);
}

/* For nobody who comes from now on. */
static void unkeep(struct gateway *g, struct page *p)
{
    struct shelf *f = p->shelf;

    p->kept = false;
    g->pages.bytes -= p->bytes;
    list_remove(&p->node);
    list_remove(&p->on_shelf);
    p->shelf = NULL;
    if (p->readers == 0)
        page_free(g, p);
    shelf_maybe_free(g, f);
}

static struct page *oldest_kept(struct gateway *g)
{
    struct list_node *n = list_first(&g->pages.kept);

    return n ? CONTAINER_OF(n, struct page, node) : NULL;
}

void pages_expire(struct gateway *g, int64_t now_ns)
{
    struct page *p;

    while ((p = oldest_kept(g)) &&
           (now_ns - p->came_ns > RING_KEEP_MS * MILLISECOND ||
            g->ring.bytes + g->pages.bytes > g->ring.bytes_max))
        unkeep(g, p);
    stat_set(&g->stats, STAT_PAGES_BYTES, g->pages.bytes);
}

/* What is on its way finds nobody. */
static void disown(struct gateway *g, struct page *p)
{
    struct shelf *f = p->shelf;

    if (!f)
        return;
    p->shelf = NULL;
    f->coming = NULL;
    if (!list_empty(&f->waiting) && !list_linked(&f->node))
        list_add_tail(&g->pages.asking, &f->node);
    shelf_maybe_free(g, f);
}

static void forget_all(struct gateway *g)
{
    struct page *p;

    while ((p = oldest_kept(g)))
        unkeep(g, p);
    LIST_FOREACH(coming, &g->pages.coming, struct page, node)
        disown(g, coming);
}

void pages_fini(struct gateway *g)
{
    struct list_node *n;

    if (!g->pages.kept.next)
        return; /* never begun */
    forget_all(g);
    while ((n = list_first(&g->pages.coming)))
        page_free(g, CONTAINER_OF(n, struct page, node));
    map_fini(&g->pages.shelves);
}

/* ---- asking ------------------------------------------------------------- */

/* Who waits and has come least far. */
static struct start *hindmost(const struct shelf *f)
{
    struct start *least = NULL;

    LIST_FOREACH(s, &f->waiting, struct start, node)
        if (!least || s->paged < least->paged)
            least = s;
    return least;
}

/* Where the next page that is there begins; 0: there is none, or it may not be
 * joined: what was trimmed in between is said of ids, which a pattern has not. */
static uint64_t next_above(const struct shelf *f, uint64_t seq)
{
    uint64_t least = 0;

    if (f->patterns)
        return 0;
    LIST_FOREACH(p, &f->pages, struct page, on_shelf)
        if (p->after > seq && (!least || p->after < least))
            least = p->after;
    return least;
}

/* Twice as much each time that a page has been taken: who asks and does not
 * stay has cost little. Not for patterns and very many channels, where looking
 * for the messages may be dearer than reading them; nor where several wait. */
static size_t page_bytes(const struct gateway *g, const struct shelf *f,
                         const struct start *s)
{
    size_t most = g->config->limits.page_bytes;
    bool alone = list_first(&f->waiting) == list_last(&f->waiting);

    if (f->patterns || f->count > FEW_CHANNELS || !alone)
        return most;
    return MIN((size_t)FIRST_PAGE_BYTES << s->pages, most);
}

static void nobody_waits(struct gateway *g, struct shelf *f, const char *why)
{
    struct list_node *n;

    f->holders++;
    while ((n = list_pop(&f->waiting)))
        conn_abort(CONTAINER_OF(n, struct start, node)->conn, why);
    shelf_drop(g, f);
}

/* The question for p. ERR_NOMEM. */
static int put_question(struct gateway *g, struct page *p)
{
    struct shelf *f = p->shelf;
    struct ask *k = ask_new_page(g);
    struct frame_fetch q = {
        .mode = FETCH_SINCE,
        .after = p->after,
        .upto = next_above(f, p->after),
        .limit = (uint32_t)g->config->limits.page,
        .bytes = p->asked_bytes,
        .count = (uint16_t)f->count,
    };

    if (!k)
        return ERR_NOMEM;
    p->number = k->number;
    q.ref = (uint32_t)k->number;
    k->code = FRAME_FETCH;
    frame_write_fetch(&k->frame, &q);
    buf_add(&k->frame, key_of(f));
    return ask_send(g, k);
}

static void ask(struct gateway *g, struct shelf *f)
{
    struct start *s = hindmost(f);
    struct page *p = calloc(1, sizeof *p);

    if (!p) {
        nobody_waits(g, f, "memory");
        return;
    }
    list_init(&p->on_shelf);
    list_init(&p->node);
    p->shelf = f;
    p->after = s->paged;
    p->asked_bytes = (uint32_t)page_bytes(g, f, s);
    f->coming = p;
    list_add_tail(&g->pages.coming, &p->node);
    g->pages.under_way++;
    if (put_question(g, p) == 0) {
        stat_add(&g->stats, STAT_PAGES_ASKED, 1);
        return;
    }
    f->coming = NULL;
    g->pages.under_way--;
    f->holders++;
    page_free(g, p);
    f->holders--;
    nobody_waits(g, f, "memory");
}

static void ask_next(struct gateway *g)
{
    struct list_node *n;

    while (g->pages.under_way < FETCHES_MAX &&
           (n = list_pop(&g->pages.asking))) {
        struct shelf *f = CONTAINER_OF(n, struct shelf, node);

        if (!list_empty(&f->waiting))
            ask(g, f);
    }
}

void pages_forget(struct gateway *g)
{
    forget_all(g);
    loop_again(g->loop);
}

/* At the end of the turn: others may come who stand further back. */
static void ask_soon(struct gateway *g, struct shelf *f)
{
    if (f->coming || list_linked(&f->node))
        return;
    list_add_tail(&g->pages.asking, &f->node);
    loop_again(g->loop);
}

/* ---- taking ------------------------------------------------------------- */

static bool has_place(const struct page *p, uint64_t seq)
{
    return seq == p->after ||
           (!p->broken && seq > p->after && seq < p->upto);
}

struct page *pages_take(struct start *s)
{
    struct gateway *g = s->conn->gw;

    LIST_FOREACH(p, &s->shelf->pages, struct page, on_shelf)
        if (has_place(p, s->paged)) {
            stat_add(&g->stats, STAT_PAGES_TAKEN, 1);
            return page_hold(p);
        }
    list_remove(&s->node);
    list_add_tail(&s->shelf->waiting, &s->node);
    ask_soon(g, s->shelf);
    return NULL;
}

void pages_turn(struct gateway *g)
{
    unsigned left = SERVE_SLICE;
    struct list_node *n;

    while (left && (n = list_pop(&g->pages.served))) {
        catchup_served(CONTAINER_OF(n, struct start, node));
        left--;
    }
    if (left)
        ask_next(g);
    else
        loop_again(g->loop);
}

/* ---- coming ------------------------------------------------------------- */

static struct page *coming(struct gateway *g, uint64_t number)
{
    LIST_FOREACH(p, &g->pages.coming, struct page, node)
        if (p->number == number)
            return p;
    return NULL;
}

/* Who waits for it would miss what there was no memory for. */
static void spoil(struct gateway *g, struct page *p)
{
    struct shelf *f = p->shelf;

    page_empty(p);
    if (!f)
        return;
    f->coming = NULL;
    p->shelf = NULL;
    nobody_waits(g, f, "memory");
}

/* NULL: no memory. */
static struct page_item *add_item(struct page *p)
{
    if (p->count == p->room) {
        size_t room = p->room ? 2 * p->room : ITEMS_FIRST;
        struct page_item *grown = reallocarray(p->items, room, sizeof *grown);

        if (!grown)
            return NULL;
        p->items = grown;
        p->room = room;
    }
    return &p->items[p->count];
}

/* Takes m. */
static void put(struct gateway *g, struct page *p, struct msg *m,
                const struct page_item *item)
{
    struct page_item *at = p->shelf ? add_item(p) : NULL;

    if (!at) {
        msg_drop(m);
        spoil(g, p);
        return;
    }
    *at = *item;
    at->msg = m;
    p->count++;
    p->bytes += msg_size(m);
}

void pages_row(struct gateway *g, uint64_t number, struct msg *m)
{
    struct page *p = coming(g, number);

    if (p)
        put(g, p, m, &(struct page_item){.seq = m->seq});
    else
        msg_drop(m);
}

void pages_hole(struct gateway *g, uint64_t number,
                const struct frame_hole *h)
{
    struct page *p = coming(g, number);
    struct msg *m;

    if (!p)
        return;
    if (msg_new(&m, &(struct msg_parts){.id = h->id, .seq = h->seq}) < 0) {
        spoil(g, p);
        return;
    }
    p->broken |= h->why != HOLE_TRIMMED || h->from;
    put(g, p, m, &(struct page_item){
        .seq = h->seq,
        .hole = true,
        .why = h->why == HOLE_TRIMMED ? GAP_TRIMMED : GAP_DAMAGED,
        .from = h->from,
        .to = h->to,
    });
}

/* Which bound has cut the page short? None, if it asked for less. */
static void count_short(struct gateway *g, const struct page *p)
{
    size_t rows = 0;

    for (size_t i = 0; i < p->count; i++)
        rows += !p->items[i].hole;
    if (rows >= g->config->limits.page)
        gateway_limit(g, LIMIT_PAGE);
    else if (p->asked_bytes == g->config->limits.page_bytes)
        gateway_limit(g, LIMIT_PAGE_BYTES);
}

static void unread(struct gateway *g, struct shelf *f)
{
    struct list_node *n;

    f->holders++;
    while ((n = list_pop(&f->waiting)))
        catchup_unread(CONTAINER_OF(n, struct start, node));
    shelf_drop(g, f);
}

/* What there is of it besides messages: one that has none is no less kept, with
 * the names of all the channels in which there was nothing. */
static size_t frame_bytes(const struct page *p)
{
    return sizeof *p + p->room * sizeof *p->items + sizeof *p->shelf +
           p->shelf->key_len;
}

/* p is there for all. */
static void keep(struct gateway *g, struct page *p)
{
    struct shelf *f = p->shelf;

    p->kept = true;
    p->bytes += frame_bytes(p);
    p->came_ns = clock_ns();
    list_add_tail(&g->pages.kept, &p->node);
    list_add_tail(&f->pages, &p->on_shelf);
    g->pages.bytes += p->bytes;
    list_splice_tail(&g->pages.served, &f->waiting);
    loop_again(g->loop);
}

void pages_end(struct gateway *g, uint64_t number, int err, bool more,
               uint64_t upto)
{
    struct page *p = coming(g, number);
    struct shelf *f = p ? p->shelf : NULL;

    if (!p)
        return;
    g->pages.under_way--;
    list_remove(&p->node);
    p->number = 0;
    p->upto = upto;
    if (f)
        f->coming = NULL;
    if (f && !err) {
        if (more)
            count_short(g, p);
        keep(g, p);
    } else {
        p->shelf = NULL;
        page_free(g, p);
        if (f)
            unread(g, f);
    }
    loop_again(g->loop);
}

void pages_link_down(struct gateway *g)
{
    LIST_FOREACH(p, &g->pages.coming, struct page, node) {
        struct ask *k = ask_find(g, p->number);

        page_empty(p);
        if (k)
            k->row_seq = 0;
    }
}
