#include "gateways/common/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

bool address_equal(const struct address *a, const struct address *b)
{
    return a->family == b->family &&
           memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

struct address address_make(int family, const uint8_t *bytes)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct address a = {.family = (uint8_t)family};

    if (family == AF_INET6 && memcmp(bytes, mapped, sizeof mapped) == 0) {
        a.family = AF_INET;
        bytes += sizeof mapped;
    }
    memcpy(a.bytes, bytes, a.family == AF_INET ? 4 : sizeof a.bytes);
    return a;
}

struct address address_of(const struct sockaddr *sa)
{
    const void *any = sa;

    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in4 = any;

        return address_make(AF_INET, (const uint8_t *)&in4->sin_addr);
    }
    if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = any;

        return address_make(AF_INET6, in6->sin6_addr.s6_addr);
    }
    return (struct address){0};
}

struct address address_network(const struct address *a)
{
    enum { NETWORK_BYTES = 8 };
    struct address network = *a;

    if (a->family == AF_INET6)
        memset(network.bytes + NETWORK_BYTES, 0,
               sizeof network.bytes - NETWORK_BYTES);
    return network;
}

/* Nothing; or a colon and a number, or a name that hides it (RFC 7239 6.2). */
static bool is_port(struct slice s)
{
    struct slice port = slice_from(s, 1);
    uint64_t n;

    if (s.len == 0)
        return true;
    if (s.ptr[0] != ':' || port.len == 0)
        return false;
    return port.ptr[0] == '_' || (port.len <= 5 &&
                                  slice_parse_u64(port, &n) == 0 &&
                                  n <= UINT16_MAX);
}

/* Takes port and brackets off. family: what may be left, or AF_UNSPEC.
 * ERR_BAD. */
static int host_of(struct slice text, struct slice *host, int *family)
{
    size_t colon = slice_find_byte(text, ':');
    size_t close = slice_find_byte(text, ']');
    struct slice port = slice_from(text, MIN(colon, text.len));

    *family = AF_UNSPEC;
    *host = text;
    if (text.len && text.ptr[0] == '[') {
        *family = AF_INET6;
        *host = slice_make(text.ptr + 1, close - 1);
        port = slice_from(text, close + 1);
        return close < text.len && is_port(port) ? 0 : ERR_BAD;
    }
    if (slice_find_byte(slice_from(port, 1), ':') + 1 < port.len)
        return 0; /* two colons: IPv6, bare, without a port */
    *host = slice_head(text, colon);
    return is_port(port) ? 0 : ERR_BAD;
}

int address_parse(struct slice text, struct address *ret)
{
    struct slice host;
    char buf[ADDRESS_TEXT_MAX];
    uint8_t bytes[16];
    int family, rc = host_of(text, &host, &family);

    if (rc < 0 || host.len == 0 || host.len >= sizeof buf ||
        slice_find_byte(host, 0) < host.len)
        return ERR_BAD;
    memcpy(buf, host.ptr, host.len);
    buf[host.len] = '\0';
    if (family != AF_INET6 && inet_pton(AF_INET, buf, bytes) == 1)
        *ret = address_make(AF_INET, bytes);
    else if (inet_pton(AF_INET6, buf, bytes) == 1)
        *ret = address_make(AF_INET6, bytes);
    else
        return ERR_BAD;
    return 0;
}

void address_text(const struct address *a, char out[ADDRESS_TEXT_MAX])
{
    if (!address_known(a) ||
        !inet_ntop(a->family, a->bytes, out, ADDRESS_TEXT_MAX))
        snprintf(out, ADDRESS_TEXT_MAX, "unknown");
}

struct endpoint address_endpoint(const struct address *a)
{
    struct endpoint e = {.len = sizeof e.addr.any};

    e.addr.any.sa_family = a->family;
    if (a->family == AF_INET) {
        e.len = sizeof e.addr.in4;
        memcpy(&e.addr.in4.sin_addr, a->bytes, 4);
    } else if (a->family == AF_INET6) {
        e.len = sizeof e.addr.in6;
        memcpy(&e.addr.in6.sin6_addr, a->bytes, 16);
    }
    return e;
}
