#include "store/skip.h"

#include <stdlib.h>

#include "base/err.h"

struct skipped {
    struct map_node by_idn;
    int64_t idn;
};

static uint32_t hash_of(int64_t idn)
{
    return hash_bytes(slice_make((const uint8_t *)&idn, sizeof idn));
}

static bool has_idn(const struct map_node *node, const void *key)
{
    return CONTAINER_OF(node, const struct skipped, by_idn)->idn
           == *(const int64_t *)key;
}

void skip_init(struct skip *s)
{
    map_init(&s->map);
}

void skip_fini(struct skip *s)
{
    struct map_iter it = map_iter(&s->map);
    struct map_node *node;

    while (map_next(&it, &node)) {
        map_iter_remove(&it, node);
        free(CONTAINER_OF(node, struct skipped, by_idn));
    }
    map_fini(&s->map);
}

int skip_add(struct skip *s, int64_t idn)
{
    struct skipped *new;

    if (skip_has(s, idn))
        return 0;
    if (skip_count(s) >= SKIP_MAX)
        return ERR_FULL;
    new = malloc(sizeof *new);
    if (!new)
        return ERR_NOMEM;
    new->idn = idn;
    if (map_add(&s->map, &new->by_idn, hash_of(idn)) < 0) {
        free(new);
        return ERR_NOMEM;
    }
    return 0;
}

bool skip_has(const struct skip *s, int64_t idn)
{
    return skip_count(s) > 0
           && map_find(&s->map, hash_of(idn), has_idn, &idn);
}
