#include "proto/notify.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TEXT_MAX = 1024 };
#define BEAT "WATCHDOG=1"

/* ---- saying ------------------------------------------------------------- */

/* A connected socket, or -1. */
static int join(const char *address)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = address ? strlen(address) : 0;
    int fd;

    if (len < 2 || len >= sizeof un.sun_path ||
        (address[0] != '/' && address[0] != '@'))
        return -1;
    memcpy(un.sun_path, address, len);
    if (address[0] == '@')
        un.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 &&
        connect(fd, (const struct sockaddr *)&un,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* A whole number above 0, or 0. */
static int64_t number_of(const char *text)
{
    char *end = NULL;
    long long n = text && *text >= '0' && *text <= '9' ? strtoll(text, &end, 10)
                                                       : 0;

    return end && *end == '\0' ? n : 0;
}

static int64_t watchdog_of_environment(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    int64_t usec = number_of(getenv("WATCHDOG_USEC"));

    if ((pid && number_of(pid) != getpid()) ||
        usec > INT64_MAX / MICROSECOND)
        return 0;
    return usec * MICROSECOND;
}

void notify_open(struct notify *n)
{
    n->fd = join(getenv("NOTIFY_SOCKET"));
    n->watchdog_ns = watchdog_of_environment();
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    *n = (struct notify){.fd = -1};
}

/* False: there is no room. */
static bool send_now(const struct notify *n, const char *text, size_t len)
{
    return send(n->fd, text, len, MSG_NOSIGNAL) >= 0 || errno != EAGAIN;
}

static bool wait_for_room(const struct notify *n)
{
    struct pollfd pfd = {.fd = n->fd, .events = POLLOUT};

    return poll(&pfd, 1, NOTIFY_WAIT_MS) > 0;
}

void notify_tell(const struct notify *n, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list args;
    int len;

    if (n->fd < 0)
        return;
    va_start(args, fmt);
    len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (len > 0 && !send_now(n, text, MIN((size_t)len, sizeof text - 1)) &&
        wait_for_room(n))
        (void)send_now(n, text, MIN((size_t)len, sizeof text - 1));
}

/* Has everything been taken that was said? */
static bool all_taken(const struct notify *n)
{
    int left = 0;

    return ioctl(n->fd, SIOCOUTQ, &left) < 0 || left == 0;
}

bool voice_say(struct voice *v, const char *fmt, ...)
{
    const struct notify *n = v->notify;
    char text[TEXT_MAX];
    va_list args;
    int len;

    if (!n || n->fd < 0)
        return true;
    va_start(args, fmt);
    len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (len > 0 && all_taken(n) &&
        send(n->fd, text, MIN((size_t)len, sizeof text - 1), MSG_NOSIGNAL) >= 0)
        v->unheard = 0;
    else if (v->unheard < VOICE_LOST)
        v->unheard++;
    return v->unheard < VOICE_LOST;
}

/* ---- being alive -------------------------------------------------------- */

void heart_init(struct heart *h, const struct notify *n, unsigned loops)
{
    h->notify = n;
    h->loops = loops;
    atomic_init(&h->missing, loops);
    atomic_init(&h->round, 0);
}

/* The last one of a round says it and opens the next. */
static void beat(void *ctx)
{
    struct pulse *p = ctx;
    struct heart *h = p->heart;

    loop_timer_set(&p->timer, h->notify->watchdog_ns / PULSE_BEATS);
    if (p->round != atomic_load(&h->round))
        return; /* it has beaten, others have not */
    p->round++;
    if (atomic_fetch_sub(&h->missing, 1) > 1)
        return;
    (void)send_now(h->notify, BEAT, sizeof BEAT - 1);
    atomic_store(&h->missing, h->loops);
    atomic_fetch_add(&h->round, 1);
}

void pulse_start(struct pulse *p, struct heart *h, struct loop *l)
{
    *p = (struct pulse){.heart = h};
    loop_timer_init(&p->timer, l, beat, p);
    if (h->notify->fd >= 0 && h->notify->watchdog_ns > 0)
        loop_timer_set(&p->timer, 0);
}

void pulse_stop(struct pulse *p)
{
    if (p->heart)
        loop_timer_stop(&p->timer);
}
