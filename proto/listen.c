#include "proto/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "proto/config.h"
#include "proto/endpoint.h"
#include "proto/limits.h"
#include "proto/owner.h"

enum { FIRST_HANDED_FD = 3 }; /* systemd's protocol, sd_listen_fds(3) */

static int set_flag(int fd, int level, int name)
{
    int on = 1;

    return setsockopt(fd, level, name, &on, sizeof on);
}

/* Options that accepted sockets inherit. A crowd that came together is probed
 * together, and of so many probes a machine may drop some, its own queue
 * (net.core.netdev_max_backlog) being full: who lives is asked often enough
 * before the time is over. */
static void tune(int fd, const struct endpoint *e)
{
    int idle = TCP_PROBE_AFTER_S, interval = TCP_PROBE_EVERY_S;
    int probes = (TCP_USER_TIMEOUT_MS / 1000 - idle) / interval;
    unsigned timeout = TCP_USER_TIMEOUT_MS;

    if (e->addr.any.sa_family == AF_UNIX)
        return;
    (void)set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
    (void)set_flag(fd, SOL_SOCKET, SO_KEEPALIVE);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval,
                     sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout,
                     sizeof timeout);
}

static int socket_for(const struct endpoint *e)
{
    int fd = socket(e->addr.any.sa_family,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || e->addr.any.sa_family == AF_UNIX)
        return fd;
    (void)set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
    (void)set_flag(fd, SOL_SOCKET, SO_REUSEPORT);
    if (e->addr.any.sa_family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(
                                                 &e->addr.in6.sin6_addr))
        (void)set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    return fd;
}

/* Makes port 0 of e a free one, held by *holder until another socket has it.
 * A port that was not asked for by number is lost with shutdown(). */
static int choose_port(struct endpoint *e, int *holder)
{
    int fd = socket_for(e);

    *holder = fd;
    if (fd < 0 || bind(fd, &e->addr.any, e->len) < 0)
        return -1;
    return getsockname(fd, &e->addr.any, &e->len);
}

/* A socket file whose owner is gone is no obstacle. */
static void remove_stale(const struct endpoint *e)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return;
    if (connect(fd, &e->addr.any, e->len) < 0 && errno == ECONNREFUSED)
        (void)unlink(e->addr.un.sun_path);
    close(fd);
}

static int bind_and_listen(const struct endpoint *e, size_t backlog)
{
    int fd = socket_for(e);

    if (fd < 0)
        return -1;
    if (e->addr.any.sa_family == AF_UNIX)
        remove_stale(e);
    tune(fd, e);
    if (bind(fd, &e->addr.any, e->len) == 0 && listen(fd, (int)backlog) == 0)
        return fd;
    close(fd);
    return -1;
}

static int open_at(struct endpoint *e, size_t backlog)
{
    int holder = -1, fd = -1;

    if (e->addr.any.sa_family == AF_UNIX || endpoint_port(e) != 0)
        return bind_and_listen(e, backlog);
    if (choose_port(e, &holder) == 0)
        fd = bind_and_listen(e, backlog);
    if (holder >= 0)
        close(holder);
    return fd;
}

static int describe(struct listen_address *a, int fd)
{
    struct endpoint e = {.len = sizeof e.addr};

    if (getsockname(fd, &e.addr.any, &e.len) < 0)
        return ERR_IO;
    a->fd = fd;
    a->loopback = endpoint_is_loopback(&e);
    endpoint_text(&e, a->text);
    return 0;
}

/* Does somebody outside this process listen there? SO_REUSEPORT would let us
 * share the port with another server of the same user, silently. */
static bool taken(const struct endpoint *e)
{
    int fd, rc;

    if (e->addr.any.sa_family == AF_UNIX || endpoint_port(e) == 0)
        return false;
    fd = socket(e->addr.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    (void)set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
    if (e->addr.any.sa_family == AF_INET6)
        (void)set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    rc = bind(fd, &e->addr.any, e->len);
    rc = rc == 0 ? 0 : errno;
    close(fd);
    return rc == EADDRINUSE;
}

static int open_one(struct listen_set *set, struct endpoint *e, bool admin,
                    size_t backlog, char *why, size_t why_size)
{
    struct listen_address *a = &set->at[set->count];
    char text[ENDPOINT_TEXT_MAX];
    int fd = -1;

    endpoint_text(e, text);
    if (set->count == LISTEN_ADDRESSES) {
        snprintf(why, why_size, "more than %d addresses", LISTEN_ADDRESSES);
        return ERR_FULL;
    }
    if (taken(e))
        errno = EADDRINUSE;
    else
        fd = open_at(e, backlog);
    if (fd < 0 && errno == EADDRINUSE) {
        char owner[96];

        port_owner(endpoint_port(e), owner, sizeof owner);
        snprintf(why, why_size, "%s is in use%s%s", text,
                 owner[0] ? " by " : "", owner);
        return ERR_BUSY;
    }
    if (fd < 0) {
        bool low = errno == EACCES && endpoint_port(e) > 0 &&
                   endpoint_port(e) < 1024;

        snprintf(why, why_size, "cannot listen on %s: %s%s", text,
                 strerror(errno),
                 low ? "; a port below 1024 needs root"
                 : errno == EADDRNOTAVAIL ? "; this machine has no such "
                                            "address, `ip addr` lists its own"
                                          : "");
        return ERR_IO;
    }
    if (describe(a, fd) < 0) {
        close(fd);
        return ERR_IO;
    }
    a->admin = admin;
    a->ours = true;
    set->count++;
    return 0;
}

/* Port 0 on several addresses means one free port for all of them. */
static void share_port(const struct listen_set *set, struct endpoint *e)
{
    struct endpoint first;
    const char *why;

    if (e->addr.any.sa_family == AF_UNIX || endpoint_port(e) != 0 ||
        set->count == 0)
        return;
    if (endpoint_parse(slice_str(set->at[0].text), &first, &why) == 0 &&
        endpoint_port(&first))
        endpoint_set_port(e, endpoint_port(&first));
}

int listen_open(struct listen_set *set, const struct opt_list *list,
                bool admin, size_t backlog, char *why, size_t why_size)
{
    unsigned before = set->count;
    int rc = 0;

    for (size_t i = 0; i < list->count; i++) {
        struct endpoint e;
        const char *problem;

        rc = endpoint_parse(slice_str(list->items[i]), &e, &problem);
        if (rc < 0) {
            snprintf(why, why_size, "%s: %s", list->items[i], problem);
            return rc;
        }
        if (!admin)
            share_port(set, &e);
        rc = open_one(set, &e, admin, backlog, why, why_size);
        if (rc == ERR_IO && e.addr.any.sa_family == AF_INET6 &&
            list->count > 1) {
            rc = 0; /* a machine without IPv6 */
            continue;
        }
        if (rc < 0)
            return rc;
    }
    if (set->count == before && list->count) {
        snprintf(why, why_size, "no address could be opened");
        return ERR_IO;
    }
    return 0;
}

int listen_edge(struct listen_set *set, const struct config_edge *e,
                const char *section, size_t backlog, char *why,
                size_t why_size)
{
    const char *key = "listen";
    size_t len;
    int rc;

    why[0] = 0;
    rc = listen_open(set, &e->listen, false, backlog, why, why_size);
    if (rc == 0 && e->admin.count) {
        key = "admin";
        rc = listen_open(set, &e->admin, true, backlog, why, why_size);
    }
    len = strlen(why);
    if (rc < 0 && len)
        snprintf(why + len, why_size - len, "; %schoose another with %s.%s",
                 rc == ERR_BUSY ? "end that, or " : "", section, key);
    return rc;
}

/* Other things are handed, too: listeners are the streams among them. */
static bool is_stream(int fd)
{
    int type = 0;
    socklen_t len = sizeof type;

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
           type == SOCK_STREAM;
}

static int handed_count(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

    return pid && fds && atoi(pid) == (int)getpid() ? atoi(fds) : 0;
}

int listen_handed(const char *name)
{
    const char *names = getenv("LISTEN_FDNAMES");
    int count = names ? handed_count() : 0;

    for (int i = 0; i < count; i++) {
        size_t len = strcspn(names, ":");

        if (strlen(name) == len && memcmp(names, name, len) == 0)
            return FIRST_HANDED_FD + i;
        names += len + (names[len] == ':');
    }
    return -1;
}

unsigned listen_inherited(struct listen_set *set, unsigned worker,
                          unsigned workers)
{
    const char *names = getenv("LISTEN_FDNAMES");
    int count = handed_count();

    for (int i = 0; i < count; i++) {
        size_t len = names ? strcspn(names, ":") : 0;
        bool admin = len == 5 && memcmp(names, "admin", 5) == 0;

        if ((unsigned)i % workers == worker &&
            set->count < LISTEN_ADDRESSES && is_stream(FIRST_HANDED_FD + i) &&
            describe(&set->at[set->count], FIRST_HANDED_FD + i) == 0)
            set->at[set->count++].admin = admin;
        if (names)
            names += len + (names[len] == ':');
    }
    return (unsigned)count;
}

int listen_again(struct listen_set *set, const struct listen_set *first,
                 size_t backlog)
{
    for (unsigned i = 0; i < first->count; i++) {
        struct endpoint e;
        const char *why;
        int fd;

        /* A socket of an admin address that no worker is given would take
         * its share of the clients, and nobody would answer them. */
        if (first->at[i].admin ||
            endpoint_parse(slice_str(first->at[i].text), &e, &why) < 0 ||
            e.addr.any.sa_family == AF_UNIX)
            continue;
        fd = bind_and_listen(&e, backlog);
        if (fd < 0)
            return ERR_IO;
        set->at[set->count] = first->at[i];
        set->at[set->count++].fd = fd;
    }
    return 0;
}

/* The path of a unix socket that this process opened; NULL for others. */
static const char *own_path(const struct listen_address *a)
{
    static const char prefix[] = "unix:";
    size_t len = sizeof prefix - 1;

    return a->ours && strncmp(a->text, prefix, len) == 0 ? a->text + len
                                                         : NULL;
}

void listen_give(const struct listen_set *set, uid_t uid, gid_t gid)
{
    for (unsigned i = 0; i < set->count; i++)
        if (own_path(&set->at[i]))
            (void)!lchown(own_path(&set->at[i]), uid, gid);
}

void listen_remove(const struct listen_set *set)
{
    for (unsigned i = 0; i < set->count; i++)
        if (own_path(&set->at[i]))
            (void)unlink(own_path(&set->at[i]));
}

void listen_close(struct listen_set *set)
{
    while (set->count)
        close(set->at[--set->count].fd);
}
