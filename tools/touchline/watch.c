#include "tools/touchline/watch.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

enum { PATIENCE = 2, LOOKS = 8, AWAY = 4 }; /* parts of time_ns */
enum { TEXT_MAX = 1024 };

/* ---- what they say ------------------------------------------------------ */

static void take_line(struct watch *w, struct member *m, struct slice line,
                      int64_t now_ns)
{
    if (slice_eq(line, SLICE("STOPPING=1")))
        m->child.bowing_out = true;
    else if (slice_eq(line, SLICE("WATCHDOG=1")))
        m->child.heard_ns = now_ns;
    else
        mute_heard(m, &w->mutes, line, now_ns);
}

void watch_heard(struct watch *w, pid_t pid, struct slice text, int64_t now_ns)
{
    for (size_t i = 0; i < w->plan->count; i++) {
        struct slice rest = text;

        if (w->plan->members[i].child.pid != pid)
            continue;
        while (rest.len)
            take_line(w, &w->plan->members[i], slice_split(&rest, '\n'),
                      now_ns);
    }
}

/* One datagram, and who the kernel says has sent it; -1: there is none. */
static ssize_t receive(int fd, char text[TEXT_MAX], pid_t *from)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec io = {text, TEXT_MAX};
    struct msghdr m = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&m) : NULL;
    struct ucred who = {.pid = 0};

    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
        memcpy(&who, CMSG_DATA(c), sizeof who);
    *from = who.pid;
    return n;
}

/* All that waits: a look behind it must not blame who has spoken. */
static void on_words(void *ctx, unsigned ready)
{
    struct watch *w = ctx;
    char text[TEXT_MAX];
    pid_t from;
    ssize_t n;

    UNUSED(ready);
    while ((n = receive(w->fd, text, &from)) >= 0)
        if (from > 0)
            watch_heard(w, from, slice_make(text, (size_t)n),
                        loop_now(w->loop));
}

/* ---- looking after them ------------------------------------------------- */

static void end_hanging(struct member *m, int64_t silent_ns)
{
    int signo = m->child.hung ? SIGKILL : SIGABRT;

    log_error("child.hung", "name=\"%s\" pid=%d silent_ms=%lld signal=%d",
              m->name, (int)m->child.pid, (long long)(silent_ns / MILLISECOND),
              signo);
    m->child.hung = true;
    child_signal(&m->child, signo);
}

bool watch_look(struct watch *w, int64_t now_ns)
{
    bool away = now_ns - w->looked_ns > w->time_ns / AWAY;
    bool well = true;

    w->looked_ns = now_ns;
    for (size_t i = 0; i < w->plan->count; i++) {
        struct member *m = &w->plan->members[i];
        struct child *c = &m->child;

        if (!c->heard_ns || c->bowing_out || !c->pid)
            continue;
        if (away)
            c->heard_ns = now_ns;
        if (now_ns - c->heard_ns > w->time_ns / PATIENCE) {
            end_hanging(m, now_ns - c->heard_ns);
            well = false;
        }
    }
    return well;
}

static void look(void *ctx)
{
    struct watch *w = ctx;

    loop_timer_set(&w->next, w->time_ns / LOOKS);
    if (watch_look(w, loop_now(w->loop)))
        w->well(w->ctx);
}

/* Who was told to abort for being mute, and has not for a second. */
static void kill_what_was_told(struct watch *w, int64_t now_ns)
{
    for (size_t i = 0; i < w->plan->count; i++) {
        struct child *c = &w->plan->members[i].child;

        if (c->pid && c->told_ns && now_ns - c->told_ns >= SECOND)
            child_signal(c, SIGKILL);
    }
}

/* First told to abort, which leaves a trace of where it stands; the next look
 * kills it. */
static void look_for_mute(void *ctx)
{
    struct watch *w = ctx;
    int64_t now_ns = loop_now(w->loop);
    struct member *m;

    loop_timer_set(&w->second, SECOND);
    kill_what_was_told(w, now_ns);
    m = mute_look(&w->mutes, now_ns);
    if (!m)
        return;
    log_error("child.mute", "name=\"%s\" pid=%d vain=%u signal=%d "
              "action=start_anew", m->name, (int)m->child.pid,
              m->mute.acts ? m->mute.acts - 1 : 0, SIGABRT);
    m->child.mute_restarts++;
    m->child.told_ns = now_ns;
    child_signal(&m->child, SIGABRT);
}

/* ---- the socket --------------------------------------------------------- */

/* Bound to a name of the kernel's choice, which is put into address. */
static int bind_anywhere(int fd, char address[108])
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    socklen_t len = sizeof un;
    int yes = 1;
    size_t name;

    if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) < 0 ||
        bind(fd, (const struct sockaddr *)&un, sizeof un.sun_family) < 0 ||
        getsockname(fd, (struct sockaddr *)&un, &len) < 0)
        return ERR_IO;
    name = len - offsetof(struct sockaddr_un, sun_path);
    if (name < 2 || name >= sizeof un.sun_path)
        return ERR_IO;
    memcpy(address, un.sun_path, name);
    address[0] = '@';
    address[name] = '\0';
    return 0;
}

int watch_start(struct watch *w, struct plan *plan, struct loop *loop,
                int64_t time_ns, const struct config *cfg, loop_fn *well,
                void *ctx)
{
    int rc;

    *w = (struct watch){.plan = plan, .loop = loop, .fd = -1,
                        .time_ns = time_ns, .well = well, .ctx = ctx};
    w->mutes = (struct mutes){.plan = plan,
                              .wait_ns = cfg->process.canary_wait,
                              .after_ns = cfg->process.canary_restart};
    loop_timer_init(&w->next, loop, look, w);
    loop_timer_init(&w->second, loop, look_for_mute, w);
    w->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    rc = w->fd < 0 ? ERR_IO : bind_anywhere(w->fd, w->address);
    if (rc == 0)
        rc = loop_fd_start(&w->in, loop, w->fd, LOOP_READ, on_words, w);
    if (rc < 0) {
        watch_stop(w);
        return rc;
    }
    w->looked_ns = w->mutes.looked_ns = loop_now(loop);
    if (time_ns > 0)
        loop_timer_set(&w->next, 0);
    loop_timer_set(&w->second, SECOND);
    return 0;
}

void watch_stop(struct watch *w)
{
    if (!w->loop)
        return;
    loop_timer_stop(&w->next);
    loop_timer_stop(&w->second);
    loop_fd_stop(&w->in);
    if (w->fd >= 0)
        close(w->fd);
    *w = (struct watch){.fd = -1};
}

int64_t watch_child_usec(const struct watch *w)
{
    return w->time_ns / PATIENCE / MICROSECOND;
}
