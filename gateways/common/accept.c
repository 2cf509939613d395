#include "gateways/common/accept.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "gateways/common/access.h"
#include "gateways/common/core.h"
#include "proto/endpoint.h"

enum {
    ACCEPTS_PER_EVENT = 64, /* then others get their turn */
    FILES_ELSE = 64,        /* kept free for NNG, the log */
    FILES_A_WORKER = 16,    /* and for each worker but the first */
    PAUSE_MS = 100,
};

struct listener {
    struct gateway *gw;
    struct listener *next;
    struct loop_fd watch;
    struct listen_address at;
    unsigned index;
    uint32_t drops; /* that have been counted */
};

/* ---- accepting --------------------------------------------------------- */

uint32_t accept_room(size_t workers)
{
    struct rlimit rl = {.rlim_cur = 1024};
    rlim_t kept = FILES_ELSE + ACCEPT_RESERVE +
                  FILES_A_WORKER * (rlim_t)(MAX(workers, (size_t)1) - 1);

    (void)getrlimit(RLIMIT_NOFILE, &rl);
    if (rl.rlim_cur <= kept)
        return 1;
    return (uint32_t)(MIN(rl.rlim_cur, (rlim_t)UINT32_MAX) - kept);
}

static void pause_all(struct gateway *g)
{
    stat_add(&g->stats, STAT_ACCEPT_PAUSED, 1);
    for (struct listener *l = g->listeners; l; l = l->next)
        loop_fd_stop(&l->watch);
    g->accept_paused = true;
    loop_timer_set(&g->accept_again, PAUSE_MS * MILLISECOND);
}

/* Tells a client that there is no room for it, in the edge's words. */
static void turn_away(struct gateway *g, int fd, unsigned stat)
{
    stat_add(&g->stats, stat, 1);
    doorstep_turn_away(&g->doorstep, fd, g->edge->busy(g));
}

static unsigned flags_of(const struct listener *l,
                         const struct sockaddr *peer)
{
    struct endpoint e = {.len = sizeof e.addr};
    unsigned flags = l->at.loopback ? CONN_AT_LOOPBACK : 0;

    memcpy(&e.addr, peer, sizeof e.addr);
    if (l->at.admin || (l->at.loopback &&
                        l->gw->edge_config->admin.count == 0))
        flags |= CONN_ADMIN;
    if (access_is_proxy(l->gw->edge_config, peer))
        flags |= CONN_HEADER_DUE;
    else if (endpoint_is_loopback(&e))
        flags |= CONN_LOOPBACK;
    return flags;
}

/* Lets it in, if it may. */
static void admit(struct listener *l, int fd, const struct sockaddr *peer)
{
    struct gateway *g = l->gw;
    unsigned flags = flags_of(l, peer);
    struct address share = {0};

    if (g->draining || !door_enter(g->door)) {
        turn_away(g, fd, STAT_ACCEPT_REFUSED);
        return;
    }
    if (!(flags & CONN_HEADER_DUE)) /* a proxy's clients are yet to be named */
        share = address_of(peer);
    if (!door_take_share(g->door, &share)) {
        door_leave(g->door);
        gateway_limit(g, LIMIT_CONNECTIONS_PER_ADDRESS);
        turn_away(g, fd, STAT_ACCEPT_ADDRESS);
        return;
    }
    (void)!conn_open(g, fd, flags, l->index, &share);
}

/* False: nothing more to accept just now. */
static bool accept_one(struct listener *l)
{
    struct gateway *g = l->gw;
    struct endpoint peer = {.len = sizeof peer.addr};
    int fd;

    if (doorstep_is_full(&g->doorstep) && door_is_full(g->door)) {
        pause_all(g);
        return false;
    }
    fd = accept4(l->at.fd, &peer.addr.any, &peer.len,
                 SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
            errno == ENOMEM)
            pause_all(g);
        return errno == EINTR || errno == ECONNABORTED;
    }
    admit(l, fd, &peer.addr.any);
    return true;
}

static void on_ready(void *ctx, unsigned ready)
{
    (void)ready;
    for (unsigned i = 0; i < ACCEPTS_PER_EVENT; i++)
        if (!accept_one(ctx))
            return;
}

static int watch(struct listener *l)
{
    return loop_fd_start(&l->watch, l->gw->loop, l->at.fd, LOOP_READ,
                         on_ready, l);
}

static void resume(void *ctx)
{
    struct gateway *g = ctx;

    g->accept_paused = false;
    for (struct listener *l = g->listeners; l; l = l->next)
        if (watch(l) < 0) {
            pause_all(g);
            return;
        }
}

static void log_room(const struct gateway *g)
{
    struct rlimit rl = {0};

    (void)getrlimit(RLIMIT_NOFILE, &rl);
    log_info("listen.room", "clients=%u files=%llu", door_room(g->door),
             (unsigned long long)rl.rlim_cur);
}

static void log_backlog(size_t wanted)
{
    FILE *f = fopen("/proc/sys/net/core/somaxconn", "re");
    unsigned long most = 0;

    if (!f)
        return;
    if (fscanf(f, "%lu", &most) == 1 && most < wanted)
        log_info("listen.backlog", "wanted=%zu kernel=%lu "
                 "cure=\"sysctl net.core.somaxconn=%zu\"", wanted, most,
                 wanted);
    fclose(f);
}

/* How many the kernel has dropped at this listener ever; wraps. */
static uint32_t drops_at(const struct listener *l)
{
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t len = sizeof info;

    if (getsockopt(l->at.fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
        return l->drops;
    return info[SK_MEMINFO_DROPS];
}

int accept_start(struct gateway *g, const struct listen_set *set)
{
    loop_timer_init(&g->accept_again, g->loop, resume, g);
    doorstep_init(&g->doorstep, g->loop,
                  MAX(ACCEPT_RESERVE / (unsigned)g->edge_config->workers, 1u));
    log_room(g);
    log_backlog(g->config->limits.accept_backlog);
    for (unsigned i = 0; i < set->count; i++) {
        struct listener *l = calloc(1, sizeof *l);

        if (!l)
            return ERR_NOMEM;
        l->gw = g;
        l->at = set->at[i];
        l->index = i;
        l->drops = drops_at(l);
        l->next = g->listeners;
        g->listeners = l;
        if (watch(l) < 0)
            return ERR_IO;
    }
    return 0;
}

void accept_stop(struct gateway *g)
{
    loop_timer_stop(&g->accept_again);
    while (g->listeners) {
        struct listener *l = g->listeners;

        g->listeners = l->next;
        loop_fd_stop(&l->watch);
        close(l->at.fd);
        free(l);
    }
}

void accept_count_drops(struct gateway *g)
{
    for (struct listener *l = g->listeners; l; l = l->next) {
        uint32_t drops = drops_at(l);

        stat_add(&g->stats, STAT_LIMIT_ACCEPT_BACKLOG, drops - l->drops);
        l->drops = drops;
    }
}

const struct listen_address *accept_address(const struct gateway *g,
                                            unsigned listener)
{
    for (const struct listener *l = g->listeners; l; l = l->next)
        if (l->index == listener)
            return &l->at;
    return NULL;
}
