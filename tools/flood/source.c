#include "tools/flood/source.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"

/* Connections from one address before the next one is used: few enough for
 * connect() to find a free port at once. */
enum { PER_ADDRESS = 4000, AT_LEAST = 64 };

static uint64_t ports_of_an_address(void)
{
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    unsigned low = 32768, high = 60999;

    if (f) {
        if (fscanf(f, "%u %u", &low, &high) != 2 || high < low)
            low = 32768, high = 60999;
        fclose(f);
    }
    return high - low + 1;
}

/* An IPv4 net without those that end in 0 and 255: one of each is no host. */
static uint64_t size_of(const struct net *n)
{
    unsigned free_bits = (n->family == AF_INET ? 32u : 128u) - n->bits;

    if (free_bits > 24)
        free_bits = 24;
    if (n->family == AF_INET && free_bits >= 8)
        return (UINT64_C(1) << (free_bits - 8)) * 254;
    return UINT64_C(1) << free_bits;
}

static int add_net(struct source *s, struct slice text, int family,
                   struct opt_error *err)
{
    const char *why = "there are too many";
    struct net *n = &s->nets[s->net_count];

    if (s->net_count == SOURCE_NETS_MAX || net_parse(text, n, &why) < 0) {
        opt_error_set(err, "'" SLICE_FMT "': %s", SLICE_ARG(text), why);
        return ERR_BAD;
    }
    if (n->family != family) {
        opt_error_set(err, "'" SLICE_FMT "' is not of the target's family",
                      SLICE_ARG(text));
        return ERR_BAD;
    }
    s->sizes[s->net_count++] = size_of(n);
    return 0;
}

static bool in_loopback_net(const struct endpoint *e)
{
    return e->addr.any.sa_family == AF_INET
           && ntohl(e->addr.in4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

int source_init(struct source *s, const char *text,
                const struct endpoint *target, uint64_t connections,
                struct opt_error *err)
{
    struct slice rest = slice_str(text);
    uint64_t all = 0, wanted = MAX(connections / PER_ADDRESS, AT_LEAST);

    *s = (struct source){ .ports = ports_of_an_address() };
    if (!rest.len && in_loopback_net(target))
        rest = SLICE("127.0.0.0/8");
    while (rest.len) {
        int rc = add_net(s, slice_trim(slice_split(&rest, ',')),
                         target->addr.any.sa_family, err);

        if (rc < 0)
            return rc;
        all += s->sizes[s->net_count - 1];
    }
    /* Named addresses are all used, the house's own as far as needed. */
    s->count = *text ? MIN(all, 65536) : MIN(all, wanted);
    return 0;
}

uint64_t source_room(const struct source *s)
{
    return MAX(s->count, 1) * s->ports;
}

/* The i-th host of a net. */
static void host_of(const struct net *n, uint64_t i, struct endpoint *ret)
{
    uint32_t base, host = (uint32_t)i;

    if (n->family == AF_INET6) {
        *ret = (struct endpoint){ .len = sizeof ret->addr.in6 };
        ret->addr.in6.sin6_family = AF_INET6;
        memcpy(&ret->addr.in6.sin6_addr, n->addr, 16);
        for (int k = 15; k > 11; k--, host >>= 8)
            ret->addr.in6.sin6_addr.s6_addr[k] |= (uint8_t)host;
        return;
    }
    if (32 - n->bits >= 8)
        host = (host / 254) << 8 | (host % 254 + 1);
    memcpy(&base, n->addr, sizeof base);
    *ret = (struct endpoint){ .len = sizeof ret->addr.in4 };
    ret->addr.in4.sin_family = AF_INET;
    ret->addr.in4.sin_addr.s_addr = htonl(ntohl(base) | host);
}

static int bind_to(const struct source *s, int fd, uint64_t n)
{
    static const int on = 1;
    struct endpoint e;
    size_t k = 0;

    for (n %= s->count; n >= s->sizes[k]; k++)
        n -= s->sizes[k];
    host_of(&s->nets[k], n, &e);
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) < 0
        || bind(fd, &e.addr.any, e.len) < 0)
        return -errno;
    return 0;
}

int source_socket(const struct source *s, const struct endpoint *target,
                  uint64_t n)
{
    static const int on = 1;
    int family = target->addr.any.sa_family, rc = 0;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (family != AF_UNIX
        && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
        rc = -errno;
    if (rc == 0 && s->count)
        rc = bind_to(s, fd, n);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return fd;
}
