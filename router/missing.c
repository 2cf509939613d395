#include "router/missing.h"

#include <stdlib.h>
#include <string.h>

void missing_init(struct missing *m)
{
    m->count = 0;
    list_init(&m->list);
}

static void forget(struct missing *m, struct missing_gateway *g)
{
    list_remove(&g->node);
    m->count--;
    free(g);
}

static void forget_oldest(struct missing *m)
{
    forget(m, CONTAINER_OF(list_first(&m->list), struct missing_gateway,
                           node));
}

void missing_fini(struct missing *m)
{
    while (m->count)
        forget_oldest(m);
}

void missing_add(struct missing *m, const struct peer_id *who, int64_t now_ns)
{
    struct missing_gateway *g;

    missing_back(m, who->name);
    g = calloc(1, sizeof *g);
    if (!g)
        return;
    g->who = *who;
    g->since_ns = now_ns;
    list_init(&g->node);
    list_add_tail(&m->list, &g->node);
    if (++m->count > MISSING_MAX)
        forget_oldest(m);
}

void missing_back(struct missing *m, const char *name)
{
    LIST_FOREACH_SAFE(g, next, &m->list, struct missing_gateway, node)
        if (strcmp(g->who.name, name) == 0)
            forget(m, g);
}

void missing_expire(struct missing *m, int64_t now_ns)
{
    LIST_FOREACH_SAFE(g, next, &m->list, struct missing_gateway, node)
        if (now_ns - g->since_ns > MISSING_NS)
            forget(m, g);
}
