#include "router/types/ledger.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"

void ledger_init(struct ledger *l, void (*free_state)(struct ledger_state *),
                 void (*free_entry)(struct ledger_entry *))
{
    map_init(&l->entries);
    list_init(&l->dirty);
    l->free_state = free_state;
    l->free_entry = free_entry;
}

static struct ledger_state *state_at(struct list_node *n)
{
    return CONTAINER_OF(n, struct ledger_state, link);
}

static void free_pending(struct ledger *l, struct ledger_entry *e)
{
    struct list_node *n;

    while ((n = list_pop(&e->pending)))
        l->free_state(state_at(n));
    list_remove(&e->dirty);
}

static void free_entry(struct ledger *l, struct ledger_entry *e)
{
    free_pending(l, e);
    if (e->committed)
        l->free_state(e->committed);
    free(e->id);
    l->free_entry(e);
}

void ledger_fini(struct ledger *l)
{
    struct map_iter it = map_iter(&l->entries);
    struct map_node *n;

    while (map_next(&it, &n)) {
        map_iter_remove(&it, n);
        free_entry(l, CONTAINER_OF(n, struct ledger_entry, node));
    }
    map_fini(&l->entries);
}

struct slice ledger_id(const struct ledger_entry *e)
{
    return slice_make(e->id, e->id_len);
}

static bool has_id(const struct map_node *n, const void *id)
{
    const struct ledger_entry *e = CONTAINER_OF(n, struct ledger_entry, node);

    return slice_eq(ledger_id(e), *(const struct slice *)id);
}

struct ledger_entry *ledger_find(const struct ledger *l, struct slice id)
{
    struct map_node *n = map_find(&l->entries, hash_bytes(id), has_id, &id);

    return n ? CONTAINER_OF(n, struct ledger_entry, node) : NULL;
}

int ledger_add(struct ledger *l, struct ledger_entry *e, struct slice id)
{
    int rc;

    e->id = slice_dup(id);
    if (!e->id)
        return ERR_NOMEM;
    rc = map_add(&l->entries, &e->node, hash_bytes(id));
    if (rc < 0) {
        free(e->id);
        return rc;
    }
    e->id_len = id.len;
    e->committed = NULL;
    list_init(&e->dirty);
    list_init(&e->pending);
    return 0;
}

struct ledger_state *ledger_tentative(const struct ledger_entry *e)
{
    struct list_node *n = e ? list_last(&e->pending) : NULL;

    if (n)
        return state_at(n);
    return e ? e->committed : NULL;
}

void ledger_accept(struct ledger *l, struct ledger_entry *e,
                   struct ledger_state *s)
{
    list_init(&s->link);
    list_add_tail(&e->pending, &s->link);
    if (!list_linked(&e->dirty))
        list_add_tail(&l->dirty, &e->dirty);
}

void ledger_commit(struct ledger *l, struct ledger_entry *e)
{
    struct list_node *n = list_pop(&e->pending);

    CHECK(n != NULL);
    if (e->committed)
        l->free_state(e->committed);
    e->committed = state_at(n);
    if (list_empty(&e->pending))
        list_remove(&e->dirty);
}

void ledger_load(struct ledger *l, struct ledger_entry *e,
                 struct ledger_state *s)
{
    CHECK(list_empty(&e->pending));
    if (e->committed)
        l->free_state(e->committed);
    list_init(&s->link);
    e->committed = s;
}

static void forget_unless_committed(struct ledger *l, struct ledger_entry *e)
{
    if (e->committed)
        return;
    map_remove(&l->entries, &e->node);
    free_entry(l, e);
}

void ledger_withdraw(struct ledger *l, struct ledger_entry *e)
{
    struct list_node *n = list_last(&e->pending);

    CHECK(n != NULL);
    list_remove(n);
    l->free_state(state_at(n));
    if (!list_empty(&e->pending))
        return;
    list_remove(&e->dirty);
    forget_unless_committed(l, e);
}

void ledger_rollback(struct ledger *l)
{
    struct list_node *n;

    while ((n = list_first(&l->dirty))) {
        struct ledger_entry *e = CONTAINER_OF(n, struct ledger_entry, dirty);

        free_pending(l, e);
        forget_unless_committed(l, e);
    }
}

struct map_iter ledger_iter(struct ledger *l)
{
    return map_iter(&l->entries);
}

struct ledger_entry *ledger_next(struct map_iter *it)
{
    struct map_node *n;

    while (map_next(it, &n)) {
        struct ledger_entry *e = CONTAINER_OF(n, struct ledger_entry, node);

        if (e->committed)
            return e;
    }
    return NULL;
}
