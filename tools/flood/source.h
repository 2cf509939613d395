/* source.h - the addresses that connections come from. An address has as many
 * ports as net.ipv4.ip_local_port_range says for each address and port that it
 * goes to; where more connections are wanted there must be more addresses.
 * Threads: made at the start, only read then. */
#ifndef TOUCHLINE_FLOOD_SOURCE_H
#define TOUCHLINE_FLOOD_SOURCE_H

#include "base/opt.h"
#include "proto/endpoint.h"

enum { SOURCE_NETS_MAX = 64 };

struct source {
    struct net nets[SOURCE_NETS_MAX];
    uint64_t sizes[SOURCE_NETS_MAX]; /* addresses in each */
    size_t net_count;
    uint64_t count;  /* addresses that are used; 0: the kernel chooses */
    uint64_t ports;  /* of each */
};

/* text: "10.0.0.2,10.0.1.0/24"; empty: 127.0.0.0/8 where `target` is in it, else
 * none. Uses no more addresses than `connections` ask for. ERR_BAD, and why. */
MUST_USE int source_init(struct source *s, const char *text,
                         const struct endpoint *target, uint64_t connections,
                         struct opt_error *err);

/* How many connections there can be to one address and port. */
uint64_t source_room(const struct source *s);

/* A socket for `target`, not blocking, bound to the n-th address without a port
 * of its own yet (connect() finds one). Negative: -errno. */
int source_socket(const struct source *s, const struct endpoint *target,
                  uint64_t n);

#endif
