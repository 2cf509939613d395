/* listen.h - listening sockets, opened by a gateway of its own or by the
 * supervisor for many.
 *
 * Accepted sockets inherit TCP_NODELAY, SO_KEEPALIVE and TCP_USER_TIMEOUT
 * (35 s). Every address is opened with SO_REUSEPORT, once per worker, after a
 * look whether somebody else listens there already: the kernel would let two
 * servers of one user share a port without a word. A port is the socket's for
 * good: shutdown(SHUT_RD) takes it out of those that listen, listen() brings
 * it back to the same address.
 * Threads: start-up only. */
#ifndef TOUCHLINE_PROTO_LISTEN_H
#define TOUCHLINE_PROTO_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/base.h"
#include "base/opt.h"

struct config_edge;

enum { LISTEN_ADDRESSES = 32, LISTEN_TEXT_MAX = 128 };

struct listen_address {
    int fd;
    bool loopback, admin;
    bool ours; /* opened by this process, not handed to it */
    char text[LISTEN_TEXT_MAX]; /* "127.0.0.1:8000", "unix:/run/x" */
};

struct listen_set {
    struct listen_address at[LISTEN_ADDRESSES];
    unsigned count;
};

/* Opens every address of the list behind those that set has, or says in *why
 * what is wrong ("127.0.0.1:8000 is in use by nginx (pid 812)"): ERR_BAD,
 * ERR_BUSY, ERR_IO, ERR_FULL. Port 0 on several addresses becomes one free
 * port on all. IPv6 addresses are left out where the machine has no IPv6. */
MUST_USE int listen_open(struct listen_set *set, const struct opt_list *list,
                         bool admin, size_t backlog, char *why,
                         size_t why_size);
/* The same for all addresses of an edge, whose section is named so; *why names
 * the key and what to do, too. */
MUST_USE int listen_edge(struct listen_set *set, const struct config_edge *e,
                         const char *section, size_t backlog, char *why,
                         size_t why_size);
/* Opens the addresses of first once more, for another worker; admin ones and
 * unix sockets only once. ERR_IO. */
MUST_USE int listen_again(struct listen_set *set,
                          const struct listen_set *first, size_t backlog);
/* Takes this worker's share of the sockets handed over by the systemd
 * protocol (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES): the i-th goes to worker
 * i modulo workers. Returns how many there are for all. */
unsigned listen_inherited(struct listen_set *set, unsigned worker,
                          unsigned workers);
/* What was handed over under this name besides sockets (behind them); -1:
 * nothing was. */
int listen_handed(const char *name);
void listen_close(struct listen_set *set);
/* Gives the files of the unix sockets that this process opened to who will
 * serve them. */
void listen_give(const struct listen_set *set, uid_t uid, gid_t gid);
/* Removes the files of the unix sockets that this process opened. */
void listen_remove(const struct listen_set *set);

#endif
