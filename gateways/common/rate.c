#include "gateways/common/rate.h"

#include <stdlib.h>

#include "base/err.h"

enum { SWEEP_LEAST = 64 };

struct bucket {
    struct map_node node;
    struct address address;
    int64_t full_ns; /* when it is as if nothing had been taken */
};

void rate_set(struct rate *r, size_t per_second)
{
    r->interval_ns = per_second ? SECOND / (int64_t)per_second : 0;
}

int rate_init(struct rate *r, size_t per_second)
{
    rate_set(r, per_second);
    r->sweep_at = SWEEP_LEAST;
    map_init(&r->buckets);
    return pthread_mutex_init(&r->lock, NULL) ? ERR_NOMEM : 0;
}

static void forget(struct map_iter *it, struct bucket *b)
{
    map_iter_remove(it, &b->node);
    free(b);
}

/* All that are full at that time. */
static void sweep(struct rate *r, int64_t now_ns)
{
    struct map_iter it = map_iter(&r->buckets);
    struct map_node *n;

    while (map_next(&it, &n)) {
        struct bucket *b = CONTAINER_OF(n, struct bucket, node);

        if (b->full_ns <= now_ns)
            forget(&it, b);
    }
    r->sweep_at = MAX((size_t)SWEEP_LEAST, 2 * map_count(&r->buckets));
}

void rate_fini(struct rate *r)
{
    sweep(r, INT64_MAX);
    map_fini(&r->buckets);
    pthread_mutex_destroy(&r->lock);
}

static bool same(const struct map_node *n, const void *key)
{
    return address_equal(&CONTAINER_OF(n, struct bucket, node)->address, key);
}

static struct bucket *make(struct rate *r, const struct address *a,
                           uint32_t hash)
{
    struct bucket *b = calloc(1, sizeof *b);

    if (!b)
        return NULL;
    b->address = *a;
    if (map_add(&r->buckets, &b->node, hash) < 0) {
        free(b);
        return NULL;
    }
    return b;
}

static struct bucket *bucket_of(struct rate *r, const struct address *a)
{
    uint32_t hash = hash_bytes(slice_make(a, sizeof *a));
    struct map_node *n = map_find(&r->buckets, hash, same, a);

    return n ? CONTAINER_OF(n, struct bucket, node) : make(r, a, hash);
}

static bool take(struct rate *r, const struct address *a, int64_t now_ns)
{
    struct bucket *b;
    int64_t full_ns;

    if (map_count(&r->buckets) >= r->sweep_at)
        sweep(r, now_ns);
    b = bucket_of(r, a);
    if (!b)
        return false;
    full_ns = MAX(b->full_ns, now_ns) + r->interval_ns;
    if (full_ns - now_ns > SECOND)
        return false;
    b->full_ns = full_ns;
    return true;
}

bool rate_take(struct rate *r, const struct address *a, int64_t now_ns)
{
    struct address who = address_network(a);
    bool may;

    if (!r->interval_ns || !address_known(a))
        return true;
    pthread_mutex_lock(&r->lock);
    may = take(r, &who, now_ns);
    pthread_mutex_unlock(&r->lock);
    return may;
}

size_t rate_addresses(struct rate *r)
{
    size_t count;

    pthread_mutex_lock(&r->lock);
    count = map_count(&r->buckets);
    pthread_mutex_unlock(&r->lock);
    return count;
}
