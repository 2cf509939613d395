#include "tools/touchline/upgrade.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/log.h"
#include "proto/replacing.h"
#include "proto/frame.h"
#include "tools/touchline/lock.h"

enum { TRY_S = 60, ANEW_S = 120 }; /* a large store takes its time */
#define RETIRED_PATIENCE (2 * SECOND) /* behind drain_wait */

static void look_at_retired(void *ctx);
static void next_member(struct upgrade *u);
static void adopt(struct upgrade *u);
static void taken_over(struct upgrade *u);
static void tried(struct upgrade *u);

PRINTF_LIKE(2, 3)
static void say(struct upgrade *u, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    u->ops->say(u->ctx, text);
}

/* ---- the beginning and the end ------------------------------------------- */

void upgrade_init(struct upgrade *u, struct plan *plan, struct loop *loop,
                  const struct upgrade_ops *ops, void *ctx)
{
    *u = (struct upgrade){
        .plan = plan, .loop = loop, .ops = ops, .ctx = ctx};
    u->control.fd = -1;
    u->other.out = -1;
    loop_timer_init(&u->late, loop, look_at_retired, u);
}

static void end_other(struct upgrade *u)
{
    loop_timer_stop(&u->bound);
    loop_fd_stop(&u->word);
    child_fini(&u->other);
    if (u->control.fd >= 0)
        handover_fini(&u->control);
    u->other.pid = 0;
    free(u->argv);
    free(u->fds);
    buf_fini(&u->fd_names);
    u->argv = NULL;
    u->fds = NULL;
}

static void over(struct upgrade *u, bool done)
{
    u->step = UPGRADE_IDLE;
    u->at = NULL;
    log_info("upgrade.over", "result=%s", done ? "done" : "failed");
    u->ops->over(u->ctx, done);
}

/* Its predecessor goes on, if it still can. */
static void fail(struct upgrade *u)
{
    struct member *m = u->at;

    end_other(u);
    log_error("upgrade.failed", "name=\"%s\" why=%s action=keep_old", m->name,
              log_quote(slice_str(u->why)).text);
    say(u, "%s: %s; it stays as it is", m->name, u->why);
    if (u->died)
        u->ops->gone(u->ctx, m, m->child.status);
    over(u, false);
}

/* The other one has gone already, or is told to: then we hear of it. */
static void fail_when_gone(struct upgrade *u)
{
    if (u->other.pid)
        child_signal(&u->other, SIGKILL);
    else
        fail(u);
}

static void on_bound(void *ctx)
{
    struct upgrade *u = ctx;

    if (u->step == UPGRADE_ANEW) {
        snprintf(u->why, sizeof u->why, "the new one is not ready yet");
        fail(u);
        return;
    }
    if (u->ready) { /* the predecessor has not said how many they are */
        taken_over(u);
        return;
    }
    if (!u->why[0])
        snprintf(u->why, sizeof u->why, "the new one took too long");
    fail_when_gone(u);
}

void upgrade_fini(struct upgrade *u)
{
    if (!u->loop)
        return;
    if (u->other.pid)
        child_signal(&u->other, SIGKILL);
    loop_timer_stop(&u->late);
    end_other(u);
}

void upgrade_stop(struct upgrade *u)
{
    if (!upgrade_under_way(u))
        return;
    if (u->handed || u->ready) { /* it goes as all others do */
        adopt(u);
        over(u, false);
        return;
    }
    snprintf(u->why, sizeof u->why, "touchline goes down");
    if (u->other.pid)
        child_signal(&u->other, SIGKILL);
    if (u->died)
        u->at->child.stopping = true; /* nobody is started any more */
    fail(u);
}

/* ---- the other process ----------------------------------------------------- */

static void on_started(void *ctx, struct child *c)
{
    struct upgrade *u = ctx;

    u->began = lock_start_time(c->pid);
    u->ops->listed(u->ctx);
}

/* "failed http it has 2 workers, the successor 3" */
static void on_line(void *ctx, struct child *c, struct slice line)
{
    struct upgrade *u = ctx;
    struct slice rest = line;

    if (slice_starts(line, SLICE("failed "))) {
        (void)slice_split(&rest, ' ');
        (void)slice_split(&rest, ' ');
        snprintf(u->why, sizeof u->why, SLICE_FMT, (int)MIN(rest.len, (size_t)200),
                 (const char *)rest.ptr);
    } else if (u->step != UPGRADE_TRY &&
               !slice_starts(line, SLICE("reloaded "))) {
        fprintf(stderr, "%s: " SLICE_FMT "\n", c->spec.name, SLICE_ARG(line));
    }
}

static void kill_retired(const struct member *m, const struct retired *r)
{
    log_warn("child.kill", "name=\"%s\" pid=%d why=\"did not end in time\"",
             m->name, (int)r->pid);
    (void)kill(r->pid, SIGKILL);
}

/* A predecessor ends by itself, if it still can. */
static void look_at_retired(void *ctx)
{
    struct upgrade *u = ctx;
    int64_t now_ns = loop_now(u->loop), next_ns = INT64_MAX;

    for (size_t i = 0; i < u->plan->count; i++)
        for (unsigned k = 0; k < MEMBER_RETIRED; k++) {
            struct retired *r = &u->plan->members[i].retired[k];

            if (r->pid && r->due_ns <= now_ns) {
                kill_retired(&u->plan->members[i], r);
                r->due_ns = INT64_MAX;
            }
            if (r->pid)
                next_ns = MIN(next_ns, r->due_ns);
        }
    if (next_ns < INT64_MAX)
        loop_timer_set_at(&u->late, next_ns);
}

/* In the place of the one that has had longest, if it has to be. */
static void retire(struct upgrade *u, struct member *m)
{
    const struct config *cfg = u->plan->cli->config;
    struct retired *r = &m->retired[0];

    for (unsigned k = 0; r->pid && k < MEMBER_RETIRED; k++)
        if (!m->retired[k].pid || m->retired[k].due_ns < r->due_ns)
            r = &m->retired[k];
    if (r->pid)
        kill_retired(m, r);
    r->pid = m->child.pid;
    r->due_ns = loop_now(u->loop) + cfg->limits.drain_wait + RETIRED_PATIENCE;
    look_at_retired(u);
}

/* All that its predecessor had is the successor's, which is the member's process
 * from now on. */
static void adopt(struct upgrade *u)
{
    struct member *m = u->at;

    if (!u->died)
        retire(u, m);
    child_take_over(&m->child, &u->other);
    m->began = u->began;
    if (m->control.fd >= 0)
        handover_fini(&m->control);
    m->control = u->control;
    u->control.fd = -1;
    end_other(u);
    u->ops->replaced(u->ctx, m);
    log_info("upgrade.replaced", "name=\"%s\" pid=%d clients=%" PRIu32
             " cut=%" PRIu32, m->name, (int)m->child.pid, u->clients, u->cut);
    if (u->cut)
        say(u, "%s: replaced, %" PRIu32 " clients kept, %" PRIu32 " cut",
            m->name, u->clients, u->cut);
    else
        say(u, "%s: replaced, %" PRIu32 " clients kept", m->name, u->clients);
}

static void taken_over(struct upgrade *u)
{
    adopt(u);
    next_member(u);
}

/* It is ready, and may be told so before the predecessor has said how many. */
static void on_other_ready(void *ctx, struct child *c, struct slice line)
{
    struct upgrade *u = ctx;

    UNUSED(c);
    UNUSED(line);
    u->ready = true;
    if (u->died || !u->word.ev)
        taken_over(u);
}

static void on_other_ended(void *ctx, struct child *c, bool gave_up)
{
    struct upgrade *u = ctx;

    UNUSED(gave_up);
    if (u->step == UPGRADE_TRY) {
        tried(u);
        return;
    }
    if (!u->why[0])
        snprintf(u->why, sizeof u->why, "the new one ended with %s %d",
                 WIFSIGNALED(c->status) ? "signal" : "code",
                 WIFSIGNALED(c->status) ? WTERMSIG(c->status)
                                        : WEXITSTATUS(c->status));
    fail(u);
}

static const struct child_ops other_ops = {
    .started = on_started,
    .line = on_line,
    .ready = on_other_ready,
    .ended = on_other_ended,
};

/* Once: it is not started again when it ends. False: not at all. */
static bool start_other(struct upgrade *u, const struct child_spec *spec,
                        int64_t bound_s)
{
    u->why[0] = '\0';
    u->ready = u->died = u->handed = false;
    u->clients = u->cut = 0;
    child_init(&u->other, u->loop, spec, &other_ops, u);
    loop_timer_init(&u->bound, u->loop, on_bound, u);
    child_start(&u->other);
    u->other.stopping = true;
    loop_timer_stop(&u->other.again);
    loop_timer_set(&u->bound, bound_s * SECOND);
    return u->other.pid != 0;
}

/* ---- the router --------------------------------------------------------------- */

/* As the router is started, and told to look only. NULL: no memory. */
static const char **trial_argv(const struct member *m)
{
    static char link[12];
    const char *const more[] = {"--check", "--for-link", link};
    const char **argv = calloc(m->argc + ARRAY_LEN(more) + 1, sizeof *argv);

    if (!argv)
        return NULL;
    snprintf(link, sizeof link, "%d", FRAME_VERSION);
    memcpy(argv, m->argv, m->argc * sizeof *argv);
    memcpy(argv + m->argc, more, sizeof more);
    return argv;
}

static void try_router(struct upgrade *u)
{
    struct child_spec spec;

    u->step = UPGRADE_TRY;
    u->at = &u->plan->members[0];
    u->argv = trial_argv(u->at);
    spec = u->at->child.spec;
    spec.name = "new router";
    spec.argv = u->argv;
    spec.notify_socket = "";
    if (u->argv && start_other(u, &spec, TRY_S))
        return;
    snprintf(u->why, sizeof u->why, "the new one cannot be tried");
    fail(u);
}

/* Whose clients are the gateways': they wait. */
static void start_anew(struct upgrade *u)
{
    u->step = UPGRADE_ANEW;
    loop_timer_set(&u->bound, ANEW_S * SECOND);
    if (u->at->child.pid)
        child_replace(&u->at->child);
}

/* The trial has ended. */
static void tried(struct upgrade *u)
{
    int status = u->other.status;

    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        snprintf(u->why, sizeof u->why, "the new one would not start; its "
                 "reasons are among touchline's messages");
        fail(u);
        return;
    }
    end_other(u);
    start_anew(u);
}

void upgrade_ready(struct upgrade *u, const struct member *m)
{
    if (u->step != UPGRADE_ANEW || u->at != m)
        return;
    loop_timer_stop(&u->bound);
    log_info("upgrade.replaced", "name=\"%s\" pid=%d clients=0 cut=0", m->name,
             (int)m->child.pid);
    say(u, "%s: replaced", m->name);
    next_member(u);
}

/* ---- a gateway ------------------------------------------------------------------ */

/* The predecessor says how it went. */
static void on_word(void *ctx, unsigned ready)
{
    struct upgrade *u = ctx;
    struct handover_message m;
    struct cursor c;
    int rc = handover_receive(&u->at->control, 0, &m);

    UNUSED(ready);
    if (rc == ERR_AGAIN)
        return;
    c = cursor_init(rc < 0 ? SLICE("") : m.body);
    if (rc == 0 && cursor_u32(&c) != u->attempt)
        return; /* of one that has failed long ago */
    loop_fd_stop(&u->word);
    if (rc == 0 && m.kind == CONTROL_KEPT) {
        struct slice why = cursor_rest(&c);

        if (!u->why[0]) /* else the successor has said it better */
            snprintf(u->why, sizeof u->why, SLICE_FMT,
                     (int)MIN(why.len, (size_t)200), (const char *)why.ptr);
        fail_when_gone(u);
        return;
    }
    if (rc == 0 && m.kind == CONTROL_HANDED) {
        u->clients = cursor_u32(&c);
        u->cut = cursor_u32(&c);
        u->handed = true;
    }
    if (u->ready)
        taken_over(u);
}

/* The successor is named to the predecessor. */
static bool name_successor(struct upgrade *u, int heir)
{
    struct buf b = BUF_INIT;
    int rc;

    put_u32(&b, ++u->attempt);
    rc = b.failed ? ERR_NOMEM
                  : handover_send(&u->at->control, CONTROL_HAND_OVER,
                                  buf_slice(&b), &heir, 1,
                                  clock_ns() + SECOND);
    buf_fini(&b);
    return rc == 0;
}

/* Two lines: between predecessor and successor, and from it to us. */
static bool open_lines(struct upgrade *u, int heirs[2], int control[2])
{
    if (handover_pair(heirs) < 0)
        return false;
    if (handover_pair(control) < 0) {
        close(heirs[0]);
        close(heirs[1]);
        return false;
    }
    handover_init(&u->control, control[0]);
    return true;
}

/* Starts the successor, and names it to the predecessor. */
static bool start_successor(struct upgrade *u, int heirs[2], int control)
{
    struct member *m = u->at;
    struct child_spec spec = m->child.spec;

    if (plan_hand(m, control, heirs[1], &u->fds, &spec.fd_count,
                  &u->fd_names) < 0)
        return false;
    spec.fds = u->fds;
    spec.fd_names = buf_text(&u->fd_names);
    if (!start_other(u, &spec, CONTROL_WAIT_S))
        return false;
    if (name_successor(u, heirs[0]) &&
        loop_fd_start(&u->word, u->loop, m->control.fd, LOOP_READ, on_word,
                      u) == 0)
        return true;
    child_signal(&u->other, SIGKILL);
    return true; /* and fails when that has ended */
}

static void replace_gateway(struct upgrade *u)
{
    int heirs[2], control[2];
    bool started;

    u->step = UPGRADE_GATEWAY;
    snprintf(u->why, sizeof u->why, "it cannot be asked to hand over");
    if (!u->at->child.ready || u->at->control.fd < 0) {
        snprintf(u->why, sizeof u->why, "it is not ready itself");
        fail(u);
        return;
    }
    if (!open_lines(u, heirs, control)) {
        fail(u);
        return;
    }
    started = start_successor(u, heirs, control[1]);
    close(heirs[0]);
    close(heirs[1]);
    close(control[1]);
    if (started)
        return;
    snprintf(u->why, sizeof u->why, "the new one cannot be started");
    fail(u);
}

/* ---- one after the other --------------------------------------------------------- */

static void next_member(struct upgrade *u)
{
    size_t next = (size_t)(u->at - u->plan->members) + 1;

    if (next == u->plan->count) {
        over(u, true);
        return;
    }
    u->at = &u->plan->members[next];
    if (u->at->role == MEMBER_GATEWAY)
        replace_gateway(u);
    else
        start_anew(u);
}

bool upgrade_begin(struct upgrade *u, const char **why)
{
    *why = "an upgrade is under way";
    if (upgrade_under_way(u))
        return false;
    *why = "not everything is ready yet";
    for (size_t i = 0; i < u->plan->count; i++)
        if (!u->plan->members[i].child.ready)
            return false;
    log_info("upgrade.begin", "processes=%zu", u->plan->count);
    try_router(u);
    return true;
}

static bool was_retired(struct upgrade *u, pid_t pid)
{
    for (size_t i = 0; i < u->plan->count; i++)
        for (unsigned k = 0; k < MEMBER_RETIRED; k++)
            if (u->plan->members[i].retired[k].pid == pid) {
                u->plan->members[i].retired[k].pid = 0;
                return true;
            }
    return false;
}

/* What it said last is heard first; its successor may have it all. */
static void predecessor_died(struct upgrade *u, pid_t pid, int status)
{
    if (u->word.ev)
        on_word(u, LOOP_READ);
    if (was_retired(u, pid))
        return;
    u->died = true;
    u->at->child.status = status;
    loop_fd_stop(&u->word);
    if (u->ready)
        taken_over(u);
}

bool upgrade_exited(struct upgrade *u, pid_t pid, int status)
{
    if (was_retired(u, pid))
        return true;
    if (u->other.pid == pid) {
        child_exited(&u->other, status);
        return true;
    }
    if (u->step != UPGRADE_GATEWAY || u->at->child.pid != pid)
        return false;
    predecessor_died(u, pid, status);
    return true;
}
