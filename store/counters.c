#include "store/counters.h"

#include <stdlib.h>

#include "base/err.h"

struct counter {
    struct map_node node;
    uint64_t offset; /* last one given */
    size_t len;
    uint8_t id[];
};

void counters_init(struct counters *c)
{
    pthread_mutex_init(&c->lock, NULL);
    map_init(&c->map);
    c->floor = 0;
}

void counters_fini(struct counters *c)
{
    struct map_iter it = map_iter(&c->map);
    struct map_node *n;

    while (map_next(&it, &n)) {
        map_iter_remove(&it, n);
        free(CONTAINER_OF(n, struct counter, node));
    }
    map_fini(&c->map);
    pthread_mutex_destroy(&c->lock);
}

static bool has_id(const struct map_node *n, const void *key)
{
    const struct counter *o = CONTAINER_OF(n, const struct counter, node);

    return slice_eq(slice_make(o->id, o->len), *(const struct slice *)key);
}

static struct counter *find(struct counters *c, struct slice id)
{
    struct map_node *n = map_find(&c->map, hash_bytes(id), has_id, &id);

    return n ? CONTAINER_OF(n, struct counter, node) : NULL;
}

static struct counter *make(struct counters *c, struct slice id)
{
    struct counter *o = malloc(sizeof *o + id.len);

    if (!o)
        return NULL;
    o->offset = c->floor;
    o->len = id.len;
    memcpy(o->id, id.ptr, id.len);
    if (map_add(&c->map, &o->node, hash_bytes(id)) == 0)
        return o;
    free(o);
    return NULL;
}

int counters_next(struct counters *c, struct slice id, uint64_t *ret)
{
    struct counter *o;
    int rc = ERR_NOMEM;

    pthread_mutex_lock(&c->lock);
    o = find(c, id);
    if (!o)
        o = make(c, id);
    if (o) {
        *ret = ++o->offset;
        rc = 0;
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

void counters_drop(struct counters *c, struct slice id)
{
    struct counter *o;

    pthread_mutex_lock(&c->lock);
    o = find(c, id);
    if (o) {
        c->floor = MAX(c->floor, o->offset);
        map_remove(&c->map, &o->node);
        free(o);
    }
    pthread_mutex_unlock(&c->lock);
}
