#include "gateways/common/accept.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
    ACCEPTS_MEANWHILE = 1024, /* beside who waits when the port is left */
    FILES_ELSE = 64,        /* kept free for NNG, the log */
    FILES_A_WORKER = 16,    /* and for each worker but the first */
    PAUSE_MS = 100,
    ROOM_AGAIN_MS = 100, /* looked for no sooner: clients go in crowds */
    LISTEN_AGAIN_MS = 1000,
};

struct listener {
    struct gateway *gw;
    struct listener *next;
    struct loop_fd watch;
    struct listen_address at;
    unsigned index;
    bool deaf;      /* it is to listen, and could not yet */
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
    for (struct listener *l = g->accepting.listeners; l; l = l->next)
        loop_fd_stop(&l->watch);
    g->accepting.paused = true;
    loop_timer_set(&g->accepting.again, PAUSE_MS * MILLISECOND);
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

void accept_guest(struct gateway *g, int fd, const struct guest *guest)
{
    struct address share = guest->share;

    if (g->draining || !door_enter(g->door)) {
        turn_away(g, fd, STAT_ACCEPT_REFUSED);
        return;
    }
    if (!door_take_share(g->door, &share)) {
        door_leave(g->door);
        gateway_limit(g, LIMIT_CONNECTIONS_PER_ADDRESS);
        turn_away(g, fd, STAT_ACCEPT_ADDRESS);
        return;
    }
    (void)!conn_open_guest(g, fd, guest, &share);
}

/* False: nothing more to accept just now; errno says why. */
static bool take_one(struct listener *l)
{
    struct endpoint peer = {.len = sizeof peer.addr};
    int fd = accept4(l->at.fd, &peer.addr.any, &peer.len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return errno == EINTR || errno == ECONNABORTED;
    admit(l, fd, &peer.addr.any);
    return true;
}

/* The same, and pauses for want of files. */
static bool accept_one(struct listener *l)
{
    struct gateway *g = l->gw;

    if (doorstep_is_full(&g->doorstep) && door_is_full(g->door)) {
        pause_all(g);
        return false;
    }
    if (take_one(l))
        return true;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
        errno == ENOMEM)
        pause_all(g);
    return false;
}

static void judge(struct gateway *g);

static bool judgement_due(const struct gateway *g)
{
    return g->accepting.siblings && !g->accepting.left &&
           siblings_due(g->accepting.siblings, door_places(g->door),
                        door_room(g->door));
}

static void on_ready(void *ctx, unsigned ready)
{
    struct listener *l = ctx;

    (void)ready;
    for (unsigned i = 0; i < ACCEPTS_PER_EVENT; i++) {
        if (!accept_one(l))
            return;
        if (judgement_due(l->gw)) {
            judge(l->gw);
            return;
        }
    }
}

/* ---- the port is left to siblings, and shared again -------------------- */

/* Unix sockets have one queue, so there is nothing to leave; nobody else has
 * the address of http.admin. */
static bool is_own_queue(const struct listener *l)
{
    return !l->at.admin && strncmp(l->at.text, "unix:", 5) != 0;
}

static int watch(struct listener *l)
{
    if (l->gw->accepting.paused || l->gw->accepting.held || l->deaf ||
        (l->gw->accepting.left && !l->at.admin))
        return 0;
    return loop_fd_start(&l->watch, l->gw->loop, l->at.fd, LOOP_READ,
                         on_ready, l);
}

static int listen_at(const struct listener *l)
{
    size_t backlog = l->gw->config->limits.accept_backlog;

    return is_own_queue(l) ? listen(l->at.fd, (int)backlog) : 0;
}

/* Who waits at this listener; none, if the kernel does not say. */
static unsigned waiting_at(const struct listener *l)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;

    (void)getsockopt(l->at.fd, IPPROTO_TCP, TCP_INFO, &info, &len);
    return info.tcpi_unacked; /* of one that listens: its queue */
}

/* Who waits is taken in, and who comes meanwhile, as long as they end at all:
 * others must have their turn. Nothing stands between the last accept and the
 * shutdown but their return: what comes in between is lost. */
static void stop_listening(struct listener *l)
{
    unsigned most;

    loop_fd_stop(&l->watch);
    if (!is_own_queue(l))
        return;
    most = waiting_at(l) + ACCEPTS_MEANWHILE;
    while (most-- && take_one(l))
        ;
    (void)shutdown(l->at.fd, SHUT_RD);
}

static void leave(struct gateway *g)
{
    g->accepting.left = true;
    loop_timer_stop(&g->accepting.listen_again);
    for (struct listener *l = g->accepting.listeners; l; l = l->next)
        if (!l->at.admin) {
            stop_listening(l);
            l->deaf = false;
        }
    stat_add(&g->stats, STAT_ACCEPT_LEFT, 1);
    stat_set(&g->stats, STAT_ACCEPT_AWAY, 1);
    log_info("listen.left", "gateway=%s places=%u room=%u", g->name,
             door_places(g->door), door_room(g->door));
}

/* True: nobody is deaf, and the others may count on this one. The rest of its
 * addresses serve meanwhile. */
static bool listen_all(struct gateway *g)
{
    bool all = true;

    for (struct listener *l = g->accepting.listeners; l; l = l->next) {
        if (l->deaf && listen_at(l) == 0) {
            l->deaf = false;
            l->deaf = watch(l) < 0;
        }
        if (!l->deaf)
            continue;
        gateway_count(g, STAT_LISTEN_FAILED);
        log_error("listen.failed", "gateway=%s address=%s error=\"%s\" "
                  "action=retry", g->name, l->at.text, strerror(errno));
        all = false;
    }
    if (!all)
        loop_timer_set(&g->accepting.listen_again,
                       LISTEN_AGAIN_MS * MILLISECOND);
    return all;
}

static void listen_now(struct gateway *g)
{
    if (!listen_all(g))
        return;
    siblings_listening(g->accepting.siblings);
    stat_set(&g->stats, STAT_ACCEPT_AWAY, 0);
    log_info("listen.back", "gateway=%s places=%u room=%u", g->name,
             door_places(g->door), door_room(g->door));
}

static void come_back(struct gateway *g)
{
    g->accepting.left = false;
    for (struct listener *l = g->accepting.listeners; l; l = l->next)
        l->deaf = !l->at.admin;
    listen_now(g);
}

/* All workers of a process come to the same judgement, whoever was first: it
 * rings the bell. */
static void judge(struct gateway *g)
{
    bool listens = siblings_judge(g->accepting.siblings, door_places(g->door),
                                  door_room(g->door));

    if (!listens && !g->accepting.left)
        leave(g);
    else if (listens && g->accepting.left)
        come_back(g);
    else if (listens && !g->accepting.listen_again.pending)
        siblings_listening(g->accepting.siblings);
}

static void hear_again(void *ctx)
{
    listen_now(ctx);
}

static void on_bell(void *ctx, uint64_t data, uint32_t events)
{
    (void)data, (void)events;
    judge(ctx);
}

static void look_again(void *ctx)
{
    judge(ctx);
}

void accept_room_again(struct gateway *g)
{
    struct accepting *a = &g->accepting;

    if (!a->bell || a->room_again.pending || siblings_easy(a->siblings))
        return;
    loop_timer_set(&a->room_again, ROOM_AGAIN_MS * MILLISECOND);
}

static int hear_bell(struct accepting *a, struct gateway *g,
                     struct siblings *s)
{
    int rc = pollset_new(&a->bell, g->loop, on_bell, g);

    if (rc < 0)
        return rc;
    rc = pollset_add(a->bell, siblings_bell(s), POLLSET_IN | POLLSET_EDGE, 0);
    if (rc < 0) {
        pollset_free(a->bell);
        a->bell = NULL;
    }
    return rc;
}

/* A process that took the place of one that had left listens again. */
int accept_share(struct gateway *g, struct siblings *s)
{
    struct accepting *a = &g->accepting;
    int rc = hear_bell(a, g, s);

    if (rc < 0)
        return rc;
    a->siblings = s;
    for (struct listener *l = a->listeners; l; l = l->next) {
        l->deaf = listen_at(l) < 0;
        if (l->deaf)
            loop_fd_stop(&l->watch);
    }
    if (listen_all(g))
        siblings_listening(s);
    return 0;
}

/* ---- started, stopped, counted ----------------------------------------- */

static void resume(void *ctx)
{
    struct gateway *g = ctx;

    g->accepting.paused = false;
    for (struct listener *l = g->accepting.listeners; l; l = l->next)
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
    loop_timer_init(&g->accepting.again, g->loop, resume, g);
    loop_timer_init(&g->accepting.room_again, g->loop, look_again, g);
    loop_timer_init(&g->accepting.listen_again, g->loop, hear_again, g);
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
        l->next = g->accepting.listeners;
        g->accepting.listeners = l;
        if (watch(l) < 0)
            return ERR_IO;
    }
    return 0;
}

void accept_stop(struct gateway *g)
{
    loop_timer_stop(&g->accepting.again);
    loop_timer_stop(&g->accepting.room_again);
    loop_timer_stop(&g->accepting.listen_again);
    pollset_free(g->accepting.bell);
    g->accepting.bell = NULL;
    if (g->accepting.siblings)
        siblings_withdraw(g->accepting.siblings);
    while (g->accepting.listeners) {
        struct listener *l = g->accepting.listeners;

        g->accepting.listeners = l->next;
        loop_fd_stop(&l->watch);
        close(l->at.fd);
        free(l);
    }
}

void accept_hold(struct gateway *g, bool held)
{
    g->accepting.held = held;
    for (struct listener *l = g->accepting.listeners; l; l = l->next) {
        loop_fd_stop(&l->watch);
        if (watch(l) < 0)
            pause_all(g);
    }
}

void accept_part(struct gateway *g)
{
    g->accepting.siblings = NULL;
    accept_stop(g);
}

void accept_count_drops(struct gateway *g)
{
    for (struct listener *l = g->accepting.listeners; l; l = l->next) {
        uint32_t drops = drops_at(l);

        stat_add(&g->stats, STAT_LIMIT_ACCEPT_BACKLOG, drops - l->drops);
        l->drops = drops;
    }
}

const struct listen_address *accept_address(const struct gateway *g,
                                            unsigned listener)
{
    for (const struct listener *l = g->accepting.listeners; l; l = l->next)
        if (l->index == listener)
            return &l->at;
    return NULL;
}
