#include "proto/endpoint.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/err.h"

/* Copies s into a terminated text of `room` bytes; false when it is longer. */
static bool to_text(struct slice s, char *out, size_t room)
{
    if (s.len >= room || slice_find_byte(s, 0) < s.len)
        return false;
    if (s.len)
        memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
    return true;
}

static int parse_unix(struct slice path, struct endpoint *ret,
                      const char **why)
{
    struct endpoint e = { .addr.un.sun_family = AF_UNIX };

    *why = "unix: needs a path of at most 107 bytes";
    if (path.len == 0
        || !to_text(path, e.addr.un.sun_path, sizeof e.addr.un.sun_path))
        return ERR_BAD;
    e.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    *ret = e;
    return 0;
}

static int parse_address(struct slice host, struct endpoint *ret)
{
    struct endpoint e = { 0 };
    char text[INET6_ADDRSTRLEN];

    if (slice_eq(host, SLICE("*")))
        host = SLICE("::");
    else if (slice_eq_nocase(host, SLICE("localhost")))
        host = SLICE("127.0.0.1");
    if (!to_text(host, text, sizeof text))
        return ERR_BAD;
    if (inet_pton(AF_INET, text, &e.addr.in4.sin_addr) == 1) {
        e.addr.in4.sin_family = AF_INET;
        e.len = sizeof e.addr.in4;
    } else if (inet_pton(AF_INET6, text, &e.addr.in6.sin6_addr) == 1) {
        e.addr.in6.sin6_family = AF_INET6;
        e.len = sizeof e.addr.in6;
    } else {
        return ERR_BAD;
    }
    *ret = e;
    return 0;
}

/* [::1]:8000 -> ::1, 127.0.0.1:8000 -> 127.0.0.1; false when there is no
 * colon, or more than one outside of brackets. */
static bool split_port(struct slice text, struct slice *host,
                       struct slice *port)
{
    size_t colon = text.len;

    while (colon > 0 && text.ptr[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return false;
    *port = slice_from(text, colon);
    *host = slice_head(text, colon - 1);
    if (host->len >= 2 && host->ptr[0] == '['
        && host->ptr[host->len - 1] == ']') {
        *host = slice_make(host->ptr + 1, host->len - 2);
        return slice_find_byte(*host, ':') < host->len;
    }
    return slice_find_byte(*host, ':') == host->len;
}

int endpoint_parse(struct slice text, struct endpoint *ret, const char **why)
{
    struct slice host, port;
    struct endpoint e;
    uint64_t number;

    if (slice_starts(text, SLICE("unix:")))
        return parse_unix(slice_from(text, 5), ret, why);
    *why = "expected ADDRESS:PORT, [ADDRESS]:PORT, *:PORT or unix:PATH";
    if (!split_port(text, &host, &port) || parse_address(host, &e) < 0)
        return ERR_BAD;
    *why = "a port is a number from 0 to 65535";
    if (slice_parse_u64(port, &number) < 0 || number > UINT16_MAX)
        return ERR_BAD;
    endpoint_set_port(&e, (uint16_t)number);
    *ret = e;
    return 0;
}

void endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";

    switch (e->addr.any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &e->addr.in4.sin_addr, host, sizeof host);
        snprintf(out, ENDPOINT_TEXT_MAX, "%s:%u", host, endpoint_port(e));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &e->addr.in6.sin6_addr, host, sizeof host);
        snprintf(out, ENDPOINT_TEXT_MAX, "[%s]:%u", host, endpoint_port(e));
        break;
    default:
        snprintf(out, ENDPOINT_TEXT_MAX, "unix:%.*s",
                 (int)sizeof e->addr.un.sun_path, e->addr.un.sun_path);
    }
}

bool endpoint_is_loopback(const struct endpoint *e)
{
    static const struct net local4 = { AF_INET, { 127 }, 8 };
    static const struct net local6 = { AF_INET6, { [15] = 1 }, 128 };

    return e->addr.any.sa_family == AF_UNIX || net_has(&local4, &e->addr.any)
           || net_has(&local6, &e->addr.any);
}

uint16_t endpoint_port(const struct endpoint *e)
{
    if (e->addr.any.sa_family == AF_INET)
        return ntohs(e->addr.in4.sin_port);
    if (e->addr.any.sa_family == AF_INET6)
        return ntohs(e->addr.in6.sin6_port);
    return 0;
}

void endpoint_set_port(struct endpoint *e, uint16_t port)
{
    if (e->addr.any.sa_family == AF_INET)
        e->addr.in4.sin_port = htons(port);
    else if (e->addr.any.sa_family == AF_INET6)
        e->addr.in6.sin6_port = htons(port);
}

/* --- networks --- */

static size_t bits_of(sa_family_t family)
{
    return family == AF_INET ? 32 : family == AF_INET6 ? 128 : 0;
}

/* Family and bytes of an address, a mapped IPv4 one as IPv4. */
static void address_bytes(const struct sockaddr *sa, sa_family_t *family,
                          uint8_t out[16])
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

    memset(out, 0, 16);
    *family = sa->sa_family;
    if (sa->sa_family == AF_INET) {
        memcpy(out, &((const struct sockaddr_in *)(const void *)sa)->sin_addr,
               4);
    } else if (sa->sa_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
               16);
        if (memcmp(out, mapped, sizeof mapped) == 0) {
            memcpy(out, out + 12, 4);
            memset(out + 4, 0, 12);
            *family = AF_INET;
        }
    }
}

int net_parse(struct slice text, struct net *ret, const char **why)
{
    struct slice rest = text, host = slice_split(&rest, '/');
    struct endpoint e;
    struct net n = { 0 };
    uint64_t bits;

    *why = "expected ADDRESS, ADDRESS/BITS or unix";
    if (slice_eq(text, SLICE("unix"))) {
        *ret = (struct net){ .family = AF_UNIX };
        return 0;
    }
    if (slice_eq(host, SLICE("*")) || parse_address(host, &e) < 0)
        return ERR_BAD;
    address_bytes(&e.addr.any, &n.family, n.addr);
    bits = bits_of(n.family);
    *why = "there are more bits than the address has";
    if (rest.ptr && (slice_parse_u64(rest, &bits) < 0
                     || bits > bits_of(n.family)))
        return ERR_BAD;
    n.bits = (uint8_t)bits;
    *ret = n;
    return 0;
}

bool net_has(const struct net *n, const struct sockaddr *peer)
{
    uint8_t addr[16];
    sa_family_t family;
    size_t whole = n->bits / 8, odd = n->bits % 8;

    address_bytes(peer, &family, addr);
    if (family != n->family || memcmp(addr, n->addr, whole))
        return false;
    return odd == 0 || (addr[whole] ^ n->addr[whole]) >> (8 - odd) == 0;
}
