#include "gateways/common/peer.h"

#include "base/err.h"
#include "base/log.h"
#include "gateways/common/access.h"
#include "gateways/common/core.h"
#include "gateways/common/proxy_header.h"

/* Of a client's own words that begin like a header, so much at most does. */
enum { HEADER_MAYBE = sizeof "PROXY" - 1 };

static bool socket_peer(const struct conn *c, struct endpoint *e)
{
    e->len = sizeof e->addr;
    return c->fd >= 0 && getpeername(c->fd, &e->addr.any, &e->len) == 0;
}

int conn_peer_opened(struct conn *c, const struct address *share)
{
    if (!address_known(share))
        return 0;
    if (!conn_make_busy(c))
        return ERR_NOMEM;
    conn_busy(c)->share = address_network(share);
    return 0;
}

void conn_peer_closed(struct conn *c)
{
    if (!conn_busy(c))
        return;
    door_give_share(c->gw->door, &conn_busy(c)->share);
    conn_busy(c)->share = (struct address){0};
}

/* False: that address has its share already. */
static bool move_share(struct conn *c, const struct address *to)
{
    struct address *share = &conn_busy(c)->share, network = address_network(to);

    if (c->state == CONN_DEAD || address_equal(share, &network))
        return true;
    if (!door_take_share(c->gw->door, &network)) {
        gateway_limit(c->gw, LIMIT_CONNECTIONS_PER_ADDRESS);
        stat_add(&c->gw->stats, STAT_ACCEPT_ADDRESS, 1);
        return false;
    }
    door_give_share(c->gw->door, share);
    *share = network;
    return true;
}

bool conn_from_loopback(const struct conn *c)
{
    return c->flags & CONN_LOOPBACK;
}

bool conn_peer_is_proxy(const struct conn *c)
{
    const struct config_edge *edge = c->gw->edge_config;
    struct endpoint e;

    if (!edge->trusted_proxies.count)
        return false;
    if (conn_busy(c) && address_known(&conn_busy(c)->proxied))
        e = address_endpoint(&conn_busy(c)->proxied);
    else if (!socket_peer(c, &e))
        return false;
    return access_is_proxy(edge, &e.addr.any);
}

void conn_set_remote(struct conn *c)
{
    c->flags &= (uint16_t)~CONN_LOOPBACK;
}

bool conn_set_forwarded(struct conn *c, const struct address *client)
{
    struct conn_busy *x = conn_busy(c);

    if (!address_known(client) && !(x && address_known(&x->forwarded)))
        return true;
    x = conn_make_busy(c);
    if (!x) {
        conn_abort(c, "memory");
        return true;
    }
    x->forwarded = *client;
    return move_share(c, address_known(client) ? client : &x->proxied);
}

struct address conn_peer_address(const struct conn *c)
{
    const struct conn_busy *x = conn_busy(c);
    struct endpoint e;

    if (x && address_known(&x->forwarded))
        return x->forwarded;
    if (x && address_known(&x->proxied))
        return x->proxied;
    if (!socket_peer(c, &e) || access_is_proxy(c->gw->edge_config, &e.addr.any))
        return (struct address){0};
    return address_of(&e.addr.any);
}

const char *conn_peer_text(const struct conn *c)
{
    static _Thread_local char text[ADDRESS_TEXT_MAX];
    const struct conn_busy *x = conn_busy(c);
    struct address a = {0};
    struct endpoint e;

    if (x && address_known(&x->forwarded)) {
        a = x->forwarded;
    } else if (x && address_known(&x->proxied)) {
        a = x->proxied;
    } else {
        if (!socket_peer(c, &e))
            return "gone";
        if (e.addr.any.sa_family == AF_UNIX)
            return "unix";
        a = address_of(&e.addr.any);
    }
    address_text(&a, text);
    return text;
}

/* ---- the PROXY header ---------------------------------------------------- */

static void refuse_header(struct conn *c, const char *code)
{
    log_warn("proxy.header", "conn=%s peer=%s code=%s action=close",
             conn_text(c), conn_peer_text(c), code);
    gateway_refused(c->gw, slice_str(code));
    conn_close(c, "proxy_header");
}

bool conn_header_late(struct conn *c, struct slice in)
{
    bool must = c->gw->edge_config->proxy_protocol == PROXY_ALWAYS;

    c->flags &= (uint16_t)~CONN_HEADER_DUE;
    if (in.len <= HEADER_MAYBE && !must)
        return true;
    gateway_limit(c->gw, LIMIT_HEADER_WAIT);
    refuse_header(c, in.len > HEADER_MAYBE ? "proxy.bad" : "proxy.missing");
    return false;
}

/* Whom it names is the peer from now on. */
static void name_client(struct conn *c, const struct address *client)
{
    gateway_count(c->gw, STAT_PROXIED);
    conn_set_remote(c);
    if (c->gw->edge_config->admin.count == 0)
        c->flags &= (uint16_t)~CONN_ADMIN;
    if (!address_known(client))
        return;
    if (!conn_make_busy(c)) {
        conn_abort(c, "memory");
        return;
    }
    conn_busy(c)->proxied = *client;
    if (move_share(c, client))
        return;
    buf_add(conn_out(c), c->gw->edge->busy(c->gw));
    conn_close(c, "address");
}

bool conn_take_header(struct conn *c, struct slice in, size_t *used)
{
    struct proxy_header h = {.len = 0};
    int mode = c->gw->edge_config->proxy_protocol;
    int rc = mode == PROXY_NEVER ? ERR_NOT_FOUND : proxy_header_read(in, &h);

    if (rc == ERR_AGAIN)
        return false;
    c->flags &= (uint16_t)~CONN_HEADER_DUE;
    if (rc == ERR_BAD)
        refuse_header(c, "proxy.bad");
    else if (rc == ERR_NOT_FOUND && mode == PROXY_ALWAYS)
        refuse_header(c, "proxy.missing");
    else if (rc == 0)
        name_client(c, &h.client);
    *used = h.len;
    return c->state == CONN_OPEN;
}
