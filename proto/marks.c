#include "proto/marks.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct mark {
    struct map_node node;
    uint64_t at;
    size_t len;
    uint8_t name[];
};

static struct mark *mark_of(const struct map_node *n)
{
    return CONTAINER_OF(n, struct mark, node);
}

static struct slice name_of(const struct mark *k)
{
    return slice_make(k->name, k->len);
}

static bool has_name(const struct map_node *n, const void *key)
{
    return slice_eq(name_of(mark_of(n)), *(const struct slice *)key);
}

void marks_fini(struct marks *m)
{
    struct map_iter it = map_iter(&m->by_name);
    struct map_node *n;

    while (map_next(&it, &n)) {
        map_iter_remove(&it, n);
        free(mark_of(n));
    }
    map_fini(&m->by_name);
}

static struct mark *find(const struct marks *m, struct slice name)
{
    struct map_node *n = marks_count(m) ? map_find(&m->by_name,
                                                   hash_bytes(name), has_name,
                                                   &name) : NULL;

    return n ? mark_of(n) : NULL;
}

uint64_t marks_of(const struct marks *m, struct slice name)
{
    const struct mark *k = find(m, name);

    return k ? k->at : 0;
}

int marks_raise(struct marks *m, struct slice name, uint64_t to)
{
    struct mark *k = find(m, name);

    if (k) {
        k->at = MAX(k->at, to);
        return 0;
    }
    k = malloc(sizeof *k + name.len);
    if (!k)
        return ERR_NOMEM;
    k->at = to;
    k->len = name.len;
    memcpy(k->name, name.ptr, name.len);
    if (map_add(&m->by_name, &k->node, hash_bytes(name)) < 0) {
        free(k);
        return ERR_NOMEM;
    }
    return 0;
}

/* A walk of a map may change it; this one does not. */
struct marks_iter marks_iter(const struct marks *m)
{
    return (struct marks_iter){
        map_iter((struct map *)(uintptr_t)&m->by_name)};
}

bool marks_next(struct marks_iter *it, struct slice *name, uint64_t *mark)
{
    struct map_node *n;

    if (!map_next(&it->map, &n))
        return false;
    *name = name_of(mark_of(n));
    *mark = mark_of(n)->at;
    return true;
}
