#include "router/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"

enum { WARM_LEAST = 64 }; /* leaves that a link has room for at first */

/* A name that connections give themselves; shared by all their seats. */
struct name {
    struct map_node by_text;
    uint32_t refs;
    uint8_t len;
    uint8_t text[];
};

/* ---- names ------------------------------------------------------------- */

static bool name_eq(const struct map_node *n, const void *key)
{
    const struct name *name = CONTAINER_OF(n, struct name, by_text);

    return slice_eq(slice_make(name->text, name->len),
                    *(const struct slice *)key);
}

/* *ret is NULL for the empty name. */
static int name_hold(struct table *t, struct slice text, struct name **ret)
{
    uint32_t hash = hash_bytes(text);
    struct map_node *n;
    struct name *name = NULL;

    if (text.len == 0 || text.len > UINT8_MAX)
        goto found;
    n = map_find(&t->names, hash, name_eq, &text);
    if (n) {
        name = CONTAINER_OF(n, struct name, by_text);
        name->refs++;
        goto found;
    }
    name = calloc(1, sizeof *name + text.len);
    if (!name || map_add(&t->names, &name->by_text, hash) < 0) {
        free(name);
        return ERR_NOMEM;
    }
    name->refs = 1;
    name->len = (uint8_t)text.len;
    memcpy(name->text, text.ptr, text.len);
found:
    *ret = name;
    return 0;
}

static void name_drop(struct table *t, struct name *name)
{
    if (!name || --name->refs)
        return;
    map_remove(&t->names, &name->by_text);
    free(name);
}

struct slice seat_name(const struct seat *s)
{
    const struct name *name = seat_name_kept(s);

    return name ? slice_make(name->text, name->len) : SLICE("");
}

/* ---- topics ------------------------------------------------------------ */

static bool topic_eq(const struct map_node *n, const void *key)
{
    return slice_eq(topic_id(CONTAINER_OF(n, struct topic, by_id)),
                    *(const struct slice *)key);
}

struct topic *table_find(const struct table *t, struct slice id)
{
    struct map_node *n = map_find(&t->topics, hash_bytes(id), topic_eq, &id);

    return n ? CONTAINER_OF(n, struct topic, by_id) : NULL;
}

/* table_match() must not fail, so its room grows with the patterns. */
static int matched_reserve(struct table *t, size_t room)
{
    struct topic **grown;

    if (room <= t->matched_room)
        return 0;
    room = MAX(room, t->matched_room * 2);
    grown = realloc(t->matched, room * sizeof t->matched[0]);
    if (!grown)
        return ERR_NOMEM;
    t->matched = grown;
    t->matched_room = room;
    return 0;
}

static int pattern_add(struct table *t, struct topic *topic)
{
    void **slot;

    if (matched_reserve(t, trie_count(t->patterns) + 2) < 0)
        return ERR_NOMEM;
    slot = trie_slot(t->patterns, topic_id(topic), true);
    if (!slot)
        return ERR_NOMEM;
    *slot = topic;
    return 0;
}

static struct topic *topic_new(struct table *t, struct slice id)
{
    struct topic *topic = slab_take(&t->slabs,
                                    offsetof(struct topic, text) + id.len);

    if (!topic)
        return NULL;
    topic->len = (uint8_t)id.len;
    memcpy(topic->text, id.ptr, id.len);
    topic->flags = id_is_pattern(id)
                       ? TOPIC_PATTERN
                       : (uint8_t)t->hooks.classify(t->hooks.ctx, id);
    return topic;
}

int table_make(struct table *t, struct slice id, struct topic **ret)
{
    struct topic *topic = table_find(t, id);

    if (topic) {
        *ret = topic;
        return 0;
    }
    if (t->limit && map_count(&t->topics) >= t->limit)
        return ERR_FULL;
    topic = topic_new(t, id);
    if (!topic)
        return ERR_NOMEM;
    if ((topic->flags & TOPIC_PATTERN) && pattern_add(t, topic) < 0)
        goto fail;
    if (map_add(&t->topics, &topic->by_id, hash_bytes(id)) < 0) {
        trie_remove(t->patterns, id);
        goto fail;
    }
    *ret = topic;
    return 0;
fail:
    slab_give(topic);
    return ERR_NOMEM;
}

/* The past of an id without history, which may have to go. */
struct idle_past {
    struct past past;
    struct list_node node; /* table->idle while nobody listens */
    struct topic *topic;
};

static struct idle_past *idle_past(struct topic *topic)
{
    if (!topic->past || (topic->flags & TOPIC_STORED))
        return NULL;
    return CONTAINER_OF(topic->past, struct idle_past, past);
}

static void idle_leave(struct table *t, struct topic *topic)
{
    struct idle_past *p = idle_past(topic);

    if (!p || !list_linked(&p->node))
        return;
    list_remove(&p->node);
    t->idle_count--;
}

static void past_free(struct table *t, struct topic *topic)
{
    struct idle_past *p = idle_past(topic);

    idle_leave(t, topic);
    t->pasts -= topic->past != NULL;
    if (p)
        free(p);
    else
        free(topic->past);
    topic->past = NULL;
}

static void topic_free(struct table *t, struct topic *topic)
{
    past_free(t, topic);
    map_remove(&t->topics, &topic->by_id);
    if (topic->flags & TOPIC_PATTERN)
        trie_remove(t->patterns, topic_id(topic));
    slab_give(topic);
}

static void idle_enter(struct table *t, struct topic *topic)
{
    struct idle_past *p = idle_past(topic), *oldest;

    idle_leave(t, topic);
    list_add_tail(&t->idle, &p->node);
    if (++t->idle_count <= TABLE_IDLE_MAX)
        return;
    oldest = CONTAINER_OF(list_first(&t->idle), struct idle_past, node);
    t->hooks.dropped(t->hooks.ctx, oldest->topic);
    topic_free(t, oldest->topic);
}

static struct past *idle_past_new(struct topic *topic)
{
    struct idle_past *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    list_init(&p->node);
    p->topic = topic;
    return &p->past;
}

struct past *table_past(struct table *t, struct topic *topic)
{
    if (!topic->past) {
        topic->past = topic->flags & TOPIC_STORED
                          ? calloc(1, sizeof *topic->past)
                          : idle_past_new(topic);
        t->pasts += topic->past != NULL;
    }
    if (topic->past)
        table_tidy(t, topic); /* an idle one goes to the end of the line */
    return topic->past;
}

void table_forget(struct table *t, struct topic *topic)
{
    past_free(t, topic);
    table_tidy(t, topic);
}

void table_tidy(struct table *t, struct topic *topic)
{
    if (topic_leaves(topic))
        return;
    if (!topic->past)
        topic_free(t, topic);
    else if (idle_past(topic))
        idle_enter(t, topic);
}

/* ---- leaves ------------------------------------------------------------
 * A leaf without seats is warm: its link lists it, and the leaf knows its
 * place there, counted from 1. The list has room for all leaves of the link,
 * so that a seat that goes never fails. */

static bool leaf_is_warm(const struct leaf *l)
{
    return l->seats.count == 0 && l->seats.spare;
}

static void leaf_warm(struct table_link *tl, struct leaf *l)
{
    CHECK(tl->warm_count < tl->warm_room);
    tl->warm[tl->warm_count++] = l;
    l->seats.spare = tl->warm_count;
}

static void leaf_cool(struct table_link *tl, struct leaf *l)
{
    struct leaf *last;

    if (!leaf_is_warm(l))
        return;
    last = tl->warm[--tl->warm_count];
    tl->warm[l->seats.spare - 1] = last;
    last->seats.spare = l->seats.spare;
    l->seats.spare = 0;
}

/* What is not used of the room is never touched: it costs no memory. */
static int warm_resize(struct table_link *tl, size_t room)
{
    struct leaf **warm = malloc(room * sizeof *warm);

    if (!warm)
        return ERR_NOMEM;
    if (tl->warm_count)
        memcpy(warm, tl->warm, tl->warm_count * sizeof *warm);
    free(tl->warm);
    tl->warm = warm;
    tl->warm_room = room;
    return 0;
}

struct leaf *leaf_next(struct leaf *l)
{
    struct leaf_more *next = l->seats.flags & LEAF_MORE
                                 ? CONTAINER_OF(l, struct leaf_more, leaf)->next
                                 : leaf_topic(l)->more;

    return next ? &next->leaf : NULL;
}

struct leaf *table_leaf_on(struct topic *t, uint32_t link)
{
    struct leaf *l = topic_leaves(t);

    while (l && leaf_link(l) != link)
        l = leaf_next(l);
    return l;
}

/* One more leaf of a topic whose first is taken. NULL: no memory. */
static struct leaf *leaf_add(struct topic *topic)
{
    struct leaf_more *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->leaf.seats.flags = LEAF_MORE;
    m->topic = topic;
    m->next = topic->more;
    topic->more = m;
    return &m->leaf;
}

static struct leaf *leaf_make(struct table *t, struct topic *topic,
                              struct table_link *tl)
{
    struct leaf *l = table_leaf_on(topic, tl->number);

    if (l)
        return l;
    if (tl->leaves == tl->warm_room &&
        warm_resize(tl, MAX(tl->warm_room * 2, (size_t)WARM_LEAST)) < 0)
        return NULL;
    l = leaf_link(&topic->first) ? leaf_add(topic) : &topic->first;
    if (!l)
        return NULL;
    l->seats.flags |= tl->number;
    tl->leaves++;
    t->leaves++;
    idle_leave(t, topic);
    return l;
}

static void leaf_remove(struct leaf *l)
{
    struct leaf_more **at = &leaf_topic(l)->more;

    if (!(l->seats.flags & LEAF_MORE)) {
        l->seats.flags = 0;
        return;
    }
    while (&(*at)->leaf != l)
        at = &(*at)->next;
    *at = (*at)->next;
    free(CONTAINER_OF(l, struct leaf_more, leaf));
}

/* The leaf has no seats. The topic may go with it. */
static void leaf_drop(struct table *t, struct table_link *tl, struct leaf *l)
{
    struct topic *topic = leaf_topic(l);

    leaf_cool(tl, l);
    leaf_remove(l);
    t->leaves--;
    tl->leaves--;
    if (tl->warm_room > WARM_LEAST && tl->leaves < tl->warm_room / 4)
        (void)!warm_resize(tl, tl->warm_room / 2);
    if (topic_leaves(topic))
        return;
    t->hooks.deserted(t->hooks.ctx, topic);
    table_tidy(t, topic);
}

/* ---- connections ------------------------------------------------------- */

void table_link_init(struct table_link *tl, uint32_t number)
{
    *tl = (struct table_link){.number = number};
    blocks_init(&tl->blocks);
}

void table_link_fini(struct table_link *tl)
{
    for (size_t i = 0; i < tl->page_count; i++)
        block_give(&tl->blocks, tl->pages[i]);
    blocks_fini(&tl->blocks);
    free(tl->pages);
    free(tl->warm);
    *tl = (struct table_link){.number = tl->number};
}

static int pages_reserve(struct table_link *tl, size_t count)
{
    struct conn_page **pages;
    size_t room = MAX(count, tl->page_count * 2);

    if (count <= tl->page_count)
        return 0;
    pages = realloc(tl->pages, room * sizeof *pages);
    if (!pages)
        return ERR_NOMEM;
    memset(pages + tl->page_count, 0,
           (room - tl->page_count) * sizeof *pages);
    tl->pages = pages;
    tl->page_count = room;
    return 0;
}

/* The slot of this number, made when absent. NULL: no memory. */
static struct conn *conn_slot(struct table_link *tl, uint32_t number)
{
    size_t page = number / TABLE_PAGE;

    if (pages_reserve(tl, page + 1) < 0)
        return NULL;
    if (!tl->pages[page]) {
        tl->pages[page] = block_take(&tl->blocks);
        if (!tl->pages[page])
            return NULL;
        tl->pages[page]->number = (uint32_t)page;
    }
    return &tl->pages[page]->conns[number % TABLE_PAGE];
}

static struct conn_page *page_of(const struct conn_seats *conn)
{
    return (void *)((uintptr_t)conn & ~(uintptr_t)(BLOCK_BYTES - 1));
}

/* Gives the page back when nobody is in it; nothing of it is used any more. */
static void page_tidy(struct table_link *tl, struct conn_page *p)
{
    if (p->taken)
        return;
    tl->pages[p->number] = NULL;
    block_give(&tl->blocks, p);
}

struct conn *table_conn(const struct table_link *tl, uint32_t number)
{
    size_t page = number / TABLE_PAGE;
    struct conn *c;

    if (page >= tl->page_count || !tl->pages[page])
        return NULL;
    c = &tl->pages[page]->conns[number % TABLE_PAGE];
    return c->seats.count ? c : NULL;
}

static struct conn *conn_of(const struct table_link *tl, uint32_t number,
                            uint32_t gen)
{
    struct conn *c = table_conn(tl, number);

    return c && c->seats.flags == gen ? c : NULL;
}

uint32_t table_conn_number(const struct conn_seats *conn)
{
    const struct conn_page *p = page_of(conn);
    const struct conn *c = CONTAINER_OF(conn, struct conn, seats);

    return p->number * (uint32_t)TABLE_PAGE + (uint32_t)(c - p->conns);
}

/* ---- seats ------------------------------------------------------------- */

static struct leaf *leaf_of(const struct seat *s)
{
    return CONTAINER_OF(s->topic, struct leaf, seats);
}

/* Takes the seat away. Its leaf stays: warm, when it was the last one. */
static void seat_leave(struct table *t, struct table_link *tl, struct seat *s)
{
    struct leaf *l = leaf_of(s);
    struct conn_seats *conn = seat_conn(s);

    name_drop(t, seat_name_kept(s));
    seat_free(s);
    t->seats--;
    tl->seats--;
    if (conn->count == 0) {
        t->conns--;
        tl->conns--;
        page_of(conn)->taken--;
    }
    if (l->seats.count == 0)
        leaf_warm(tl, l);
}

static void seat_goes(struct table *t, struct table_link *tl, struct seat *s)
{
    struct topic *topic = leaf_topic(leaf_of(s));

    if (topic->flags & TOPIC_PRESENCE)
        t->hooks.left(t->hooks.ctx, topic, seat_name(s));
    seat_leave(t, tl, s);
}

static void conn_close(struct table *t, struct table_link *tl, struct conn *c)
{
    struct seat_iter it = seats_of_conn(&c->seats);
    struct seat *s;

    while ((s = seat_next(&it)))
        seat_goes(t, tl, s);
}

/* A seat under a name, or without. */
static int seat_take(struct seat **ret, struct leaf *l, struct conn *c,
                     struct name *name)
{
    int rc = seat_add(ret, &l->seats, &c->seats);

    if (rc == 0 && seat_keep_name(ret, name) < 0) {
        seat_free(*ret);
        rc = ERR_NOMEM;
    }
    return rc;
}

static int seat_make(struct table *t, struct table_link *tl, struct conn *c,
                     struct leaf *l, struct slice text, struct seat **ret)
{
    bool warm = leaf_is_warm(l);
    struct name *name = NULL;
    int rc = name_hold(t, text, &name);

    if (rc < 0)
        return rc;
    leaf_cool(tl, l);
    rc = seat_take(ret, l, c, name);
    if (rc < 0) {
        name_drop(t, name);
        if (warm)
            leaf_warm(tl, l);
        return rc;
    }
    t->seats++;
    tl->seats++;
    if (c->seats.count == 1) {
        t->conns++;
        tl->conns++;
        page_of(&c->seats)->taken++;
    }
    return 0;
}

static int seat_on(struct table *t, struct table_link *tl, struct conn *c,
                   struct slice id, struct slice name, struct seat **ret)
{
    struct topic *topic;
    struct leaf *l;
    int rc = table_make(t, id, &topic);

    if (rc < 0)
        return rc;
    l = leaf_make(t, topic, tl);
    if (!l) {
        table_tidy(t, topic);
        return ERR_NOMEM;
    }
    rc = seat_make(t, tl, c, l, name, ret);
    if (rc < 0 && l->seats.count == 0 && !leaf_is_warm(l))
        leaf_drop(t, tl, l);
    return rc;
}

int table_login(struct table *t, struct table_link *tl, uint32_t number,
                uint32_t gen, struct slice id, struct slice name,
                struct seat **ret)
{
    struct conn *c;
    int rc;

    if (number >= TABLE_CONNS_MAX)
        return ERR_BAD;
    c = conn_slot(tl, number);
    if (!c)
        return ERR_NOMEM;
    if (c->seats.flags != gen)
        conn_close(t, tl, c);
    c->seats.flags = gen;
    rc = seat_on(t, tl, c, id, name, ret);
    if (rc < 0)
        page_tidy(tl, page_of(&c->seats));
    return rc;
}

void table_unseat(struct table *t, struct table_link *tl, struct seat *s)
{
    struct conn_page *p = page_of(seat_conn(s));

    seat_leave(t, tl, s);
    page_tidy(tl, p);
}

int table_logout(struct table *t, struct table_link *tl, uint32_t number,
                 uint32_t gen, struct slice id)
{
    struct conn *c = conn_of(tl, number, gen);
    struct topic *topic = table_find(t, id);
    struct leaf *l = topic ? table_leaf_on(topic, tl->number) : NULL;
    struct seat *s;

    s = c && l ? seat_find(&l->seats, &c->seats) : NULL;
    if (!s)
        return ERR_NOT_FOUND;
    seat_goes(t, tl, s);
    page_tidy(tl, page_of(&c->seats));
    return 0;
}

void table_close(struct table *t, struct table_link *tl, uint32_t number,
                 uint32_t gen)
{
    struct conn *c = conn_of(tl, number, gen);

    if (!c)
        return;
    conn_close(t, tl, c);
    page_tidy(tl, page_of(&c->seats));
}

void table_release(struct table *t, struct table_link *tl, struct slice id)
{
    struct topic *topic = table_find(t, id);
    struct leaf *l = topic ? table_leaf_on(topic, tl->number) : NULL;

    if (l && l->seats.count == 0)
        leaf_drop(t, tl, l);
}

void table_link_drop(struct table *t, struct table_link *tl)
{
    for (size_t i = 0; i < tl->page_count; i++)
        for (size_t k = 0; tl->pages[i] && k < TABLE_PAGE; k++)
            if (tl->pages[i]->conns[k].seats.count)
                conn_close(t, tl, &tl->pages[i]->conns[k]);
    while (tl->warm_count)
        leaf_drop(t, tl, tl->warm[tl->warm_count - 1]);
    CHECK(tl->seats == 0 && tl->conns == 0 && tl->leaves == 0);
}

/* ---- looking up -------------------------------------------------------- */

struct collector {
    struct table *table;
    size_t count;
};

static void collect(void *ctx, void *value)
{
    struct collector *c = ctx;

    CHECK(c->count < c->table->matched_room);
    c->table->matched[c->count++] = value;
}

struct topic *const *table_match(struct table *t, struct slice id,
                                 size_t *count)
{
    struct collector c = {t, 0};
    struct topic *exact = table_find(t, id);

    if (exact && topic_leaves(exact))
        collect(&c, exact);
    if (trie_count(t->patterns))
        trie_match(t->patterns, id, collect, &c);
    *count = c.count;
    return t->matched;
}

static uint32_t topic_seats(struct topic *t)
{
    uint32_t seats = 0;

    for (struct leaf *l = topic_leaves(t); l; l = leaf_next(l))
        seats += l->seats.count;
    return seats;
}

static bool sits_on(struct topic *t, uint32_t link, struct conn_seats *conn)
{
    struct leaf *l = table_leaf_on(t, link);

    return l && seat_find(&l->seats, conn);
}

/* Topics whose connections are being counted together. */
struct counting {
    struct topic *const *topics;
    size_t largest; /* index of the one with the most seats, counted first */
    size_t done;    /* those in front of it are counted, too */
};

static bool is_counted(const struct counting *c, uint32_t link,
                       struct conn_seats *conn)
{
    if (sits_on(c->topics[c->largest], link, conn))
        return true;
    for (size_t i = 0; i < c->done; i++)
        if (i != c->largest && sits_on(c->topics[i], link, conn))
            return true;
    return false;
}

/* Connections of leaf l that are not counted yet. */
static uint32_t newly_reached(const struct counting *c, struct leaf *l)
{
    uint32_t reached = 0;
    struct seat_iter it = seats_of_topic(&l->seats);
    struct seat *s;

    while ((s = seat_next(&it)))
        if (seat_conn(s)->count == 1 ||
            !is_counted(c, leaf_link(l), seat_conn(s)))
            reached++;
    return reached;
}

uint32_t table_reached(struct topic *const *topics, size_t count)
{
    struct counting c = {.topics = topics};
    uint32_t reached = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t seats = topic_seats(topics[i]);

        if (seats > reached) {
            c.largest = i;
            reached = seats;
        }
    }
    for (; c.done < count; c.done++)
        for (struct leaf *l = topic_leaves(topics[c.done]);
             l && c.done != c.largest; l = leaf_next(l))
            reached += newly_reached(&c, l);
    return reached;
}

/* ---- the whole --------------------------------------------------------- */

int table_init(struct table *t, size_t limit, const struct table_hooks *hooks)
{
    *t = (struct table){.limit = limit, .hooks = *hooks};
    slabs_init(&t->slabs);
    map_init(&t->topics);
    map_init(&t->names);
    list_init(&t->idle);
    if (trie_new(&t->patterns) < 0 || matched_reserve(t, 8) < 0) {
        table_fini(t);
        return ERR_NOMEM;
    }
    return 0;
}

void table_fini(struct table *t)
{
    struct map_iter it = map_iter(&t->topics);
    struct map_node *n;

    while (map_next(&it, &n)) {
        struct topic *topic = CONTAINER_OF(n, struct topic, by_id);

        CHECK(!topic_leaves(topic));
        map_iter_remove(&it, n);
        past_free(t, topic);
        slab_give(topic);
    }
    slabs_fini(&t->slabs);
    map_fini(&t->topics);
    CHECK(map_count(&t->names) == 0);
    map_fini(&t->names);
    trie_free(t->patterns);
    free(t->matched);
    *t = (struct table){.limit = 0};
}
