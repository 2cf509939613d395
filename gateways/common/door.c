#include "gateways/common/door.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/map.h"
#include "gateways/common/rate.h"

struct share {
    struct map_node node;
    struct address address;
    uint32_t count;
};

struct door {
    uint32_t room;
    _Atomic size_t per_address;
    atomic_uint inside;
    pthread_mutex_t lock; /* of shares */
    struct map shares;
    struct rate publishing;
};

int door_new(struct door **ret, uint32_t room, size_t per_address)
{
    struct door *d = calloc(1, sizeof *d);

    if (!d)
        return ERR_NOMEM;
    if (pthread_mutex_init(&d->lock, NULL)) {
        free(d);
        return ERR_NOMEM;
    }
    if (rate_init(&d->publishing, 0) < 0) {
        pthread_mutex_destroy(&d->lock);
        free(d);
        return ERR_NOMEM;
    }
    d->room = room;
    atomic_init(&d->per_address, per_address);
    atomic_init(&d->inside, 0);
    map_init(&d->shares);
    *ret = d;
    return 0;
}

void door_free(struct door *d)
{
    struct map_iter it;
    struct map_node *n;

    if (!d)
        return;
    it = map_iter(&d->shares);
    while (map_next(&it, &n)) {
        map_iter_remove(&it, n);
        free(CONTAINER_OF(n, struct share, node));
    }
    map_fini(&d->shares);
    rate_fini(&d->publishing);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

uint32_t door_room(const struct door *d)
{
    return d->room;
}

void door_set_per_address(struct door *d, size_t per_address)
{
    atomic_store(&d->per_address, per_address);
}

void door_set_publish_rate(struct door *d, size_t per_second)
{
    rate_set(&d->publishing, per_second);
}

bool door_may_publish(struct door *d, const struct address *a, int64_t now_ns)
{
    return rate_take(&d->publishing, a, now_ns);
}

bool door_enter(struct door *d)
{
    if (atomic_fetch_add(&d->inside, 1) < d->room)
        return true;
    atomic_fetch_sub(&d->inside, 1);
    return false;
}

bool door_is_full(struct door *d)
{
    return atomic_load(&d->inside) >= d->room;
}

uint32_t door_places(struct door *d)
{
    unsigned inside = atomic_load(&d->inside);

    return inside < d->room ? d->room - inside : 0;
}

void door_leave(struct door *d)
{
    CHECK(atomic_fetch_sub(&d->inside, 1) > 0);
}

static uint32_t hash_of(const struct address *a)
{
    return hash_bytes(slice_make(a, sizeof *a));
}

static bool same(const struct map_node *n, const void *key)
{
    return address_equal(&CONTAINER_OF(n, struct share, node)->address, key);
}

static struct share *find(struct door *d, const struct address *a)
{
    struct map_node *n = map_find(&d->shares, hash_of(a), same, a);

    return n ? CONTAINER_OF(n, struct share, node) : NULL;
}

static struct share *make(struct door *d, const struct address *a)
{
    struct share *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->address = *a;
    if (map_add(&d->shares, &s->node, hash_of(a)) < 0) {
        free(s);
        return NULL;
    }
    return s;
}

bool door_take_share(struct door *d, struct address *a)
{
    struct address who = address_network(a);
    size_t most = atomic_load(&d->per_address);
    struct share *s;
    bool may = false;

    if (!address_known(a))
        return true;
    if (!most) {
        *a = (struct address){0};
        return true;
    }
    pthread_mutex_lock(&d->lock);
    s = find(d, &who);
    if (!s)
        s = make(d, &who);
    if (s && s->count < most) {
        s->count++;
        may = true;
    }
    pthread_mutex_unlock(&d->lock);
    return may;
}

void door_give_share(struct door *d, const struct address *a)
{
    struct address who = address_network(a);
    struct share *s;

    if (!address_known(a))
        return;
    pthread_mutex_lock(&d->lock);
    s = find(d, &who);
    CHECK(s != NULL);
    if (--s->count == 0) {
        map_remove(&d->shares, &s->node);
        free(s);
    }
    pthread_mutex_unlock(&d->lock);
}

size_t door_addresses(struct door *d)
{
    size_t count;

    pthread_mutex_lock(&d->lock);
    count = map_count(&d->shares);
    pthread_mutex_unlock(&d->lock);
    return count;
}
