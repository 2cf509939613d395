#include "tools/touchline/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "proto/cli.h"

enum {
    FIRST_HANDED_FD = 3, /* systemd's protocol, sd_listen_fds(3) */
    LINE_MAX_BYTES = 4096,
    EXEC_FAILED = 127,
};

#define AGAIN_FIRST (100 * MILLISECOND)
#define AGAIN_MOST  (5 * SECOND)

static void start(void *ctx)
{
    child_start(ctx);
}

void child_init(struct child *c, struct loop *loop,
                const struct child_spec *spec, const struct child_ops *ops,
                void *ctx)
{
    *c = (struct child){
        .spec = *spec, .ops = ops, .ctx = ctx, .loop = loop, .out = -1};
    buf_init(&c->line);
    loop_timer_init(&c->again, loop, start, c);
}

/* ---- its standard output ----------------------------------------------- */

static void take_line(struct child *c, struct slice line)
{
    if (slice_starts(line, SLICE("ready ")) && !c->ready) {
        c->ready = c->proven = true;
        c->starts = 0;
        c->ops->ready(c->ctx, c, line);
        return;
    }
    c->ops->line(c->ctx, c, line);
}

static void take_lines(struct child *c)
{
    size_t at = 0;

    for (size_t i = 0; i < c->line.len; i++)
        if (c->line.ptr[i] == '\n') {
            take_line(c, slice_make(c->line.ptr + at, i - at));
            at = i + 1;
        }
    buf_drop_front(&c->line, at);
    if (c->line.len > LINE_MAX_BYTES)
        buf_reset(&c->line);
}

static void close_out(struct child *c)
{
    loop_fd_stop(&c->watch);
    if (c->out >= 0)
        close(c->out);
    c->out = -1;
    buf_reset(&c->line);
}

static void on_output(void *ctx, unsigned ready)
{
    struct child *c = ctx;
    char bytes[1024];
    ssize_t n = read(c->out, bytes, sizeof bytes);

    (void)ready;
    if (n > 0) {
        buf_add(&c->line, slice_make(bytes, (size_t)n));
        take_lines(c);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close_out(c);
    }
}

/* ---- starting ---------------------------------------------------------- */

/* Puts fds to 3, 4 ... without one overwriting another: first out of the way,
 * then to their places. In the new process, whose copy of the array it is. */
static int place_fds(const struct child_spec *s)
{
    int behind = FIRST_HANDED_FD + (int)s->fd_count;

    for (unsigned i = 0; i < s->fd_count; i++) {
        s->fds[i] = fcntl(s->fds[i], F_DUPFD_CLOEXEC, behind);
        if (s->fds[i] < 0)
            return -1;
    }
    for (unsigned i = 0; i < s->fd_count; i++)
        if (dup2(s->fds[i], FIRST_HANDED_FD + (int)i) < 0)
            return -1;
    return 0;
}

static void set_number(const char *name, long value)
{
    char text[24];

    snprintf(text, sizeof text, "%ld", value);
    setenv(name, text, 1);
}

/* Signals are blocked since before the fork: one that comes now must not reach
 * the supervisor's handlers, which write where the supervisor reads. */
static void forget_signals(void)
{
    static const int caught[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE};
    sigset_t none;

    for (size_t i = 0; i < ARRAY_LEN(caught); i++)
        (void)signal(caught[i], SIG_DFL);
    (void)signal(SIGUSR2, SIG_IGN); /* one sent to all by our name is ours */
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the new process: becomes the binary, or ends. It waits for the word that
 * it is on the list, so that none whom nobody can find outlives us. */
static void become(const struct child *c, int out, const int go[2])
{
    const struct child_spec *s = &c->spec;
    int lock;
    char word;

    /* A Ctrl-C is the supervisor's: it drains in order. */
    setpgid(0, 0);
    forget_signals();
    close(go[1]);
    if (read(go[0], &word, 1) != 1)
        _exit(EXEC_FAILED);
    lock = fcntl(s->lock_fd, F_DUPFD, FIRST_HANDED_FD + (int)s->fd_count);
    if (dup2(out, STDOUT_FILENO) < 0 || lock < 0 || place_fds(s) < 0)
        _exit(EXEC_FAILED);
    if (s->fd_count) {
        set_number("LISTEN_PID", getpid());
        set_number("LISTEN_FDS", s->fd_count);
        setenv("LISTEN_FDNAMES", s->fd_names, 1);
    }
    set_number(CLI_RESTARTS, (long)c->restarts);
    set_number(CLI_MUTE_RESTARTS, (long)c->mute_restarts);
    if (s->notify_socket[0]) {
        setenv("NOTIFY_SOCKET", s->notify_socket, 1);
        set_number("WATCHDOG_USEC", (long)s->watchdog_usec);
    }
    execv(s->path, (char *const *)(uintptr_t)s->argv);
    fprintf(stderr, "touchline: cannot run %s: %s\n", s->path,
            strerror(errno));
    _exit(EXEC_FAILED);
}

static void start_later(struct child *c)
{
    int64_t wait = AGAIN_FIRST;

    for (unsigned i = 1; i < c->starts && wait < AGAIN_MOST; i++)
        wait *= 2;
    loop_timer_set(&c->again, MIN(wait, AGAIN_MOST));
}

/* Leaves all signals blocked in the new process. */
static pid_t fork_quietly(void)
{
    sigset_t all, before;
    pid_t pid;

    sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &before);
    pid = fork();
    if (pid != 0)
        (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

/* Two pipes, or none. */
static bool open_pipes(int out[2], int go[2])
{
    if (pipe2(out, O_CLOEXEC) < 0)
        return false;
    if (pipe2(go, O_CLOEXEC) == 0)
        return true;
    close(out[0]);
    close(out[1]);
    return false;
}

static void watch_output(struct child *c, int out)
{
    c->out = out;
    (void)fcntl(out, F_SETFL, O_NONBLOCK);
    if (loop_fd_start(&c->watch, c->loop, out, LOOP_READ, on_output, c) < 0)
        log_error("child.watch", "name=\"%s\"", c->spec.name);
}

static void forget_run(struct child *c)
{
    c->ready = c->hung = c->bowing_out = false;
    c->heard_ns = c->told_ns = 0;
}

void child_start(struct child *c)
{
    int out[2], go[2];

    if (c->stopping || c->pid)
        return;
    forget_run(c);
    c->starts++;
    if (c->ops->prepare && !c->ops->prepare(c->ctx, c)) {
        start_later(c);
        return;
    }
    if (!open_pipes(out, go)) {
        log_error("child.pipe", "name=\"%s\" error=\"%s\"", c->spec.name,
                  strerror(errno));
        start_later(c);
        return;
    }
    c->pid = fork_quietly();
    if (c->pid == 0)
        become(c, out[1], go);
    close(out[1]);
    close(go[0]);
    if (c->pid < 0) {
        c->pid = 0;
        close(out[0]);
        start_later(c);
    } else {
        watch_output(c, out[0]);
        log_info("child.start", "name=\"%s\" pid=%d", c->spec.name,
                 (int)c->pid);
        c->ops->started(c->ctx, c);
        (void)!write(go[1], "", 1);
    }
    close(go[1]);
}

/* ---- ending ------------------------------------------------------------ */

void child_signal(struct child *c, int signo)
{
    if (c->pid > 0)
        (void)kill(c->pid, signo);
}

void child_stop(struct child *c)
{
    c->stopping = true;
    loop_timer_stop(&c->again);
    child_signal(c, SIGTERM);
}

void child_replace(struct child *c)
{
    c->replaced = true;
    child_signal(c, SIGTERM);
}

void child_take_over(struct child *c, struct child *from)
{
    int out = from->out;

    loop_timer_stop(&c->again);
    close_out(c);
    forget_run(c);
    c->pid = from->pid;
    c->ready = from->ready;
    c->proven |= c->ready;
    c->starts = 0;
    loop_fd_stop(&from->watch);
    from->out = -1;
    from->pid = 0;
    forget_run(from);
    buf_reset(&from->line);
    if (out >= 0)
        watch_output(c, out);
}

static void log_exit(const struct child *c, int status)
{
    if (WIFSIGNALED(status))
        log_warn("child.killed", "name=\"%s\" pid=%d signal=%d",
                 c->spec.name, (int)c->pid, WTERMSIG(status));
    else
        log_warn("child.exited", "name=\"%s\" pid=%d code=%d", c->spec.name,
                 (int)c->pid, WEXITSTATUS(status));
}

/* Another start would end alike. */
static bool is_refusal(int status)
{
    return WIFEXITED(status) && (WEXITSTATUS(status) == EXIT_USAGE ||
                                 WEXITSTATUS(status) == EXIT_REFUSED);
}

void child_exited(struct child *c, int status)
{
    bool was_ready = c->ready;

    while (c->out >= 0 && c->watch.ev) {
        int before = c->out;
        size_t had = c->line.len;

        on_output(c, LOOP_READ);
        if (c->out == before && c->line.len == had)
            break;
    }
    close_out(c);
    c->status = status;
    if (!c->stopping && !c->replaced)
        log_exit(c, status);
    c->pid = 0;
    forget_run(c);
    if (c->replaced && !c->stopping) {
        c->replaced = false;
        child_start(c);
        return;
    }
    if (c->stopping) {
        c->ops->ended(c->ctx, c, false);
        return;
    }
    c->restarts++;
    c->refused = !was_ready && is_refusal(status);
    if (was_ready) {
        child_start(c);
    } else if (c->refused || (!c->proven && c->starts >= CHILD_STARTS_MAX)) {
        c->gave_up = true;
        c->ops->ended(c->ctx, c, true);
    } else {
        start_later(c);
    }
}

void child_fini(struct child *c)
{
    loop_timer_stop(&c->again);
    close_out(c);
    buf_fini(&c->line);
}
