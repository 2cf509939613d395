#include "gateways/common/access.h"

#include <stdio.h>

#include "base/err.h"
#include "proto/endpoint.h"

static int deny(struct refusal *why, const char *code, const char *text)
{
    why->status = PUBLISHED_DENIED;
    why->code = code;
    snprintf(why->text, sizeof why->text, "%s", text);
    return ERR_DENIED;
}

int access_may_publish(const struct conn *c, struct slice channel,
                       struct refusal *why)
{
    const struct config_namespace *ns =
        config_namespace(conn_config(c), channel);
    const struct config_token *t = conn_token(c);

    if (ns->publish == PUBLISH_NOBODY)
        return deny(why, "publish.denied",
                    "nobody may publish here: publish = nobody in the "
                    "namespace's section of touchline.conf leaves "
                    "router-ctl");
    if (ns->publish == PUBLISH_ANYONE)
        return 0;
    if (t && config_token_opens(t, channel))
        return 0;
    if (ns->publish == PUBLISH_TOKEN)
        return deny(why, "publish.denied",
                    "publish with a token ([token NAME] secret, publish in "
                    "touchline.conf) or by router-ctl, or set "
                    "publish = anyone in the namespace's section");
    if (conn_from_loopback(c))
        return 0;
    return deny(why, "publish.denied",
                "publish with a token ([token NAME] secret, publish in "
                "touchline.conf), or from this machine, or set "
                "publish = anyone in the namespace's section");
}

const struct config_token *access_token(const struct config *cfg,
                                        struct slice secret)
{
    return config_token(cfg, secret);
}

/* "name", "name:port", "[::1]:port" without the port. */
static struct slice host_name(struct slice host)
{
    if (host.len && host.ptr[0] == '[') {
        for (size_t i = 1; i < host.len; i++)
            if (host.ptr[i] == ']')
                return slice_make(host.ptr, i + 1);
        return slice_make(NULL, 0);
    }
    for (size_t i = host.len; i > 0; i--)
        if (host.ptr[i - 1] == ':')
            return slice_make(host.ptr, i - 1);
    return host;
}

/* What stands between "://" and the end of the authority. */
static struct slice origin_host(struct slice origin)
{
    for (size_t i = 0; i + 2 < origin.len; i++)
        if (origin.ptr[i] == ':' && origin.ptr[i + 1] == '/' &&
            origin.ptr[i + 2] == '/')
            return slice_make(origin.ptr + i + 3, origin.len - i - 3);
    return slice_make(NULL, 0);
}

static bool listed(const struct opt_list *list, struct slice whole,
                   struct slice name)
{
    for (size_t i = 0; i < list->count; i++) {
        struct slice item = slice_str(list->items[i]);

        if (slice_eq(item, SLICE("*")) || slice_eq_nocase(item, whole) ||
            slice_eq_nocase(item, name))
            return true;
    }
    return false;
}

bool access_origin_allowed(const struct config_edge *cfg, struct slice origin,
                           struct slice host)
{
    struct slice from = origin_host(origin);
    struct slice name = host_name(from);

    if (name.len == 0)
        return false;
    if (slice_eq_nocase(name, host_name(host)))
        return true;
    return listed(&cfg->origins, origin, name);
}

bool access_host_allowed(const struct config_edge *cfg, struct slice host)
{
    struct slice name = host_name(host);
    struct endpoint e;
    const char *why;
    char text[ENDPOINT_TEXT_MAX];
    int n;

    if (slice_eq_nocase(name, SLICE("localhost")) ||
        listed(&cfg->hosts, host, name))
        return true;
    if (name.len == 0 || name.len > 64)
        return false;
    n = snprintf(text, sizeof text, SLICE_FMT ":1", SLICE_ARG(name));
    return n > 0 && endpoint_parse(slice_make(text, (size_t)n), &e,
                                   &why) == 0 && name.ptr[0] != '*' &&
           e.addr.any.sa_family != AF_UNIX;
}

void access_asked_by_name(struct conn *c, const struct config_edge *cfg,
                          struct slice host)
{
    if (host.ptr && conn_from_loopback(c) && !access_host_allowed(cfg, host))
        conn_set_remote(c);
}

bool access_is_proxy(const struct config_edge *cfg,
                     const struct sockaddr *peer)
{
    const struct opt_list *list = &cfg->trusted_proxies;

    for (size_t i = 0; i < list->count; i++) {
        struct net net;
        const char *why;

        if (net_parse(slice_str(list->items[i]), &net, &why) == 0 &&
            net_has(&net, peer))
            return true;
    }
    return false;
}
