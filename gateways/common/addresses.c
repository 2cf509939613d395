#include "gateways/common/addresses.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "gateways/common/core.h"

struct address {
    struct map_node node;
    uint32_t count;
    uint8_t len;
    uint8_t bytes[16];
};

/* The part of an address that names the client. */
static struct slice key_of(const struct sockaddr *peer)
{
    if (peer->sa_family == AF_INET) {
        const struct sockaddr_in *in =
            (const struct sockaddr_in *)(const void *)peer;

        return slice_make(&in->sin_addr, sizeof in->sin_addr);
    }
    if (peer->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in =
            (const struct sockaddr_in6 *)(const void *)peer;

        return slice_make(&in->sin6_addr, sizeof in->sin6_addr);
    }
    return slice_make(NULL, 0);
}

static bool same(const struct map_node *n, const void *key)
{
    const struct address *a = CONTAINER_OF(n, struct address, node);

    return slice_eq(slice_make(a->bytes, a->len),
                    *(const struct slice *)key);
}

static struct address *find(struct gateway *g, struct slice key)
{
    struct map_node *n = map_find(&g->addresses, hash_bytes(key), same, &key);

    return n ? CONTAINER_OF(n, struct address, node) : NULL;
}

bool addresses_enter(struct gateway *g, const struct sockaddr *peer)
{
    size_t most = g->config->limits.connections_per_address;
    struct slice key = key_of(peer);
    struct address *a;

    if (!most || !key.len)
        return true;
    a = find(g, key);
    if (!a) {
        a = calloc(1, sizeof *a);
        if (!a)
            return false;
        a->len = (uint8_t)key.len;
        memcpy(a->bytes, key.ptr, key.len);
        if (map_add(&g->addresses, &a->node, hash_bytes(key)) < 0) {
            free(a);
            return false;
        }
    }
    if (a->count >= most)
        return false;
    a->count++;
    return true;
}

void addresses_leave(struct gateway *g, const struct sockaddr *peer)
{
    struct slice key = key_of(peer);
    struct address *a;

    if (!g->config->limits.connections_per_address || !key.len)
        return;
    a = find(g, key);
    if (!a || --a->count)
        return;
    map_remove(&g->addresses, &a->node);
    free(a);
}

void addresses_free(struct gateway *g)
{
    struct map_iter it = map_iter(&g->addresses);
    struct map_node *n;

    while (map_next(&it, &n)) {
        map_iter_remove(&it, n);
        free(CONTAINER_OF(n, struct address, node));
    }
    map_fini(&g->addresses);
}
