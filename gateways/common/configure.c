/* A gateway goes on with another configuration. */
#include "gateways/common/core.h"
#include "proto/reload.h"

/* A connection keeps what it has proved, as long as it is worth something. */
static void keep_tokens(struct gateway *g, const struct config *next)
{
    struct conn *c;

    for (uint32_t i = 0; i < g->conns.used; i++) {
        c = conns_at(&g->conns, i);
        if (!c || !conn_token(c))
            continue;
        conn_busy(c)->token = config_same_token(next, conn_busy(c)->token);
        if (!conn_busy(c)->token)
            stat_add(&g->stats, STAT_TOKENS_LOST, 1);
    }
}

void gateway_configure(struct gateway *g, const struct config *next)
{
    bool ping = next->limits.ping != g->config->limits.ping;

    keep_tokens(g, next);
    g->config = next;
    g->edge_config = config_edge(next, g->edge->name);
    g->ring.bytes_max = next->limits.ring_total;
    if (ping)
        conns_ping_changed(&g->conns);
}
