/* touchline - starts router and gateways from one configuration file, keeps
 * them running, and ends them in order; says so to systemd, or whoever speaks
 * its protocol, and may be process 1 of a container. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "proto/notify.h"
#include "proto/cage.h"
#include "proto/user.h"
#include "tools/touchline/lock.h"
#include "tools/touchline/reload.h"
#include "tools/touchline/plan.h"
#include "tools/touchline/upgrade.h"
#include "tools/touchline/watch.h"

enum { KILL_AFTER_MS = 2000 }; /* behind drain_wait */
enum { FILES_PER_CHILD = 4 }; /* two pipes, while it is started */

struct supervisor {
    struct cli cli;
    struct plan plan;
    struct loop *loop;
    struct loop_signal term, intr, hup, chld, usr2;
    struct loop_timer kill_timer;
    struct notify notify;
    struct watch watch;
    struct control control;
    struct reload reload;
    struct upgrade upgrade;
    struct control_asker *upgrade_asker; /* NULL: a signal */
    struct user user;
    struct cage *cage; /* NULL: not planned yet, or entered */
    int lock_fd;
    bool stopping, told;
    enum member_role stopping_role; /* whose turn it is to end */
    int code; /* of the end: EXIT_DONE, unless a child gave up */
};

/* ---- what children do -------------------------------------------------- */

static void write_lock(const struct supervisor *s)
{
    struct buf list = BUF_INIT;

    for (size_t i = 0; i < s->plan.count; i++) {
        const struct member *m = &s->plan.members[i];

        if (m->child.pid)
            lock_entry(&list, m->child.pid, m->began, m->kind);
        for (unsigned k = 0; k < MEMBER_RETIRED; k++)
            if (m->retired[k].pid)
                lock_entry(&list, m->retired[k].pid,
                           lock_start_time(m->retired[k].pid), m->kind);
    }
    if (s->upgrade.other.pid)
        lock_entry(&list, s->upgrade.other.pid, s->upgrade.began,
                   s->upgrade.at->kind);
    lock_write(s->lock_fd, &list);
    buf_fini(&list);
}

static bool is_gateway(const struct member *m)
{
    return m->role == MEMBER_GATEWAY;
}

static bool on_prepare(void *ctx, struct child *c)
{
    struct member *m = CONTAINER_OF(c, struct member, child);

    (void)ctx;
    return !is_gateway(m) || plan_open_line(m) == 0;
}

static void on_started(void *ctx, struct child *c)
{
    struct member *m = CONTAINER_OF(c, struct member, child);

    if (is_gateway(m))
        plan_close_their_end(m);
    m->began = lock_start_time(c->pid);
    m->confirmed = 0;
    write_lock(ctx);
}

static bool all_ready(const struct supervisor *s, const char *kind)
{
    for (size_t i = 0; i < s->plan.count; i++)
        if ((!kind || strcmp(s->plan.members[i].kind, kind) == 0) &&
            !s->plan.members[i].child.ready)
            return false;
    return true;
}

static const char *url_of(const struct supervisor *s, const char *kind)
{
    for (size_t i = 0; i < s->plan.count; i++)
        if (strcmp(s->plan.members[i].kind, kind) == 0)
            return s->plan.members[i].url;
    return "";
}

/* One line for `systemctl status`. */
static void tell_state(const struct supervisor *s)
{
    struct buf text = BUF_INIT;
    const char *last = "";
    bool ready = all_ready(s, NULL);

    buf_add_str(&text, s->stopping ? "draining"
                       : ready     ? "serving"
                                   : "waiting for");
    for (size_t i = 0; !s->stopping && i < s->plan.count; i++) {
        const struct member *m = &s->plan.members[i];

        if (ready ? i > 0 && strcmp(m->kind, last) != 0 : !m->child.ready)
            buf_addf(&text, " %s", ready ? m->url : m->name);
        last = m->kind;
    }
    if (!text.failed)
        notify_tell(&s->notify, "STATUS=%s", buf_text(&text));
    buf_fini(&text);
}

/* Where to look, once everything serves. */
static void tell(struct supervisor *s)
{
    s->told = true;
    notify_tell(&s->notify, "READY=1");
    fprintf(stderr, "touchline: serving from %s\n", s->cli.config->dir);
    if (url_of(s, "http")[0])
        fprintf(stderr, "  open %s/ in a browser\n", url_of(s, "http"));
    fprintf(stderr, "  try  router-ctl --dir %s status\n",
            s->cli.config->dir);
}

static void on_ready(void *ctx, struct child *c, struct slice line)
{
    struct supervisor *s = ctx;
    struct member *m = CONTAINER_OF(c, struct member, child);
    bool first = m->url[0] == '\0';
    char url[sizeof m->url] = "";

    if (sscanf((const char *)line.ptr, "ready %*15s %159[^\n]", url) == 1)
        memcpy(m->url, url, sizeof url);
    log_info("child.ready", "name=\"%s\" url=%s", m->name, m->url);
    if (first && all_ready(s, m->kind)) {
        printf("ready %s %s\n", m->kind, url_of(s, m->kind));
        fflush(stdout);
    }
    reload_ready(&s->reload, m);
    if (!s->told && all_ready(s, NULL))
        tell(s);
    tell_state(s);
    upgrade_ready(&s->upgrade, m);
}

static void on_line(void *ctx, struct child *c, struct slice line)
{
    struct supervisor *s = ctx;
    struct member *m = CONTAINER_OF(c, struct member, child);

    if (!reload_heard(&s->reload, m, line))
        fprintf(stderr, "%s: " SLICE_FMT "\n", c->spec.name, SLICE_ARG(line));
}

static bool running(const struct supervisor *s, enum member_role role)
{
    for (size_t i = 0; i < s->plan.count; i++)
        if (s->plan.members[i].child.pid && s->plan.members[i].role == role)
            return true;
    return false;
}

static void stop_role(struct supervisor *s, enum member_role role)
{
    s->stopping_role = role;
    for (size_t i = 0; i < s->plan.count; i++)
        if (s->plan.members[i].role == role)
            child_stop(&s->plan.members[i].child);
}

static void set_patience(struct supervisor *s)
{
    loop_timer_set(&s->kill_timer, s->cli.config->limits.drain_wait +
                                       KILL_AFTER_MS * MILLISECOND);
}

/* Gateways go first, then what they are linked to, then the router, then we
 * do. */
static void stop_next(struct supervisor *s)
{
    while (!running(s, s->stopping_role)) {
        if (s->stopping_role == MEMBER_ROUTER) {
            loop_stop(s->loop);
            return;
        }
        stop_role(s, s->stopping_role - 1);
        set_patience(s);
    }
}

/* Each role has its time; systemd's may be less. */
static void tell_stopping(const struct supervisor *s)
{
    int64_t most = SECOND;

    for (int role = 0; role < MEMBER_ROLES; role++)
        if (running(s, (enum member_role)role))
            most += s->cli.config->limits.drain_wait +
                    KILL_AFTER_MS * MILLISECOND;

    notify_tell(&s->notify, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64,
                most / MICROSECOND);
    tell_state(s);
}

/* Patience is over with those whose turn it is to end. The router's comes when
 * nobody else is left: whatever these do, it closes its store in order. */
static void hurry(void *ctx)
{
    struct supervisor *s = ctx;

    for (size_t i = 0; i < s->plan.count; i++)
        if (s->plan.members[i].child.pid &&
            s->plan.members[i].role == s->stopping_role) {
            log_warn("child.kill", "name=\"%s\" why=\"did not end in time\"",
                     s->plan.members[i].name);
            child_signal(&s->plan.members[i].child, SIGKILL);
        }
    set_patience(s);
}

static void stop_all(struct supervisor *s)
{
    if (s->stopping) {
        hurry(s);
        return;
    }
    s->stopping = true;
    upgrade_stop(&s->upgrade);
    reload_stop(&s->reload);
    log_info("touchline.stop", "children=%zu", s->plan.count);
    stop_role(s, MEMBER_GATEWAY);
    tell_stopping(s);
    set_patience(s);
    stop_next(s);
}

static void on_ended(void *ctx, struct child *c, bool gave_up)
{
    struct supervisor *s = ctx;

    if (gave_up) {
        if (c->refused)
            fprintf(stderr, "touchline: %s refuses to start, and would again; "
                    "giving up. Its messages are above.\n", c->spec.name);
        else
            fprintf(stderr, "touchline: %s did not start in %d attempts; "
                    "giving up. Its messages are above.\n", c->spec.name,
                    CHILD_STARTS_MAX);
        s->code = c->refused ? EXIT_REFUSED : EXIT_FAILED;
        if (!s->stopping)
            stop_all(s);
    }
    if (s->stopping)
        stop_next(s);
}

static const struct child_ops child_ops = {on_prepare, on_started, on_line,
                                           on_ready, on_ended};

/* ---- signals ----------------------------------------------------------- */

static void on_term(void *ctx)
{
    stop_all(ctx);
}

/* Between RELOADING and READY systemd calls it reloading; before the first
 * READY, and behind STOPPING, it is neither. */
static bool is_told(const struct supervisor *s)
{
    return s->told && !s->stopping;
}

static void on_reloaded(void *ctx)
{
    struct supervisor *s = ctx;

    if (is_told(s))
        notify_tell(&s->notify, "READY=1");
}

static void start_reload(struct supervisor *s, struct control_asker *asker)
{
    if (is_told(s))
        notify_tell(&s->notify, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
                    clock_ns() / MICROSECOND);
    if (log_reopen() < 0)
        log_error("log.reopen", "action=keep_old_file");
    reload_begin(&s->reload, asker);
}

static void on_hup(void *ctx)
{
    start_reload(ctx, NULL);
}

/* Its siblings count on it no more. */
static void on_gone(struct supervisor *s, struct member *m, int status)
{
    if (m->siblings)
        siblings_gone(m->siblings, m->instance);
    mute_ended(m);
    child_exited(&m->child, status);
    reload_gone(&s->reload);
}

/* Orphans, too: process 1 of a container inherits those of all others. */
static void on_chld(void *ctx)
{
    struct supervisor *s = ctx;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; !upgrade_exited(&s->upgrade, pid, status) &&
                           i < s->plan.count; i++)
            if (s->plan.members[i].child.pid == pid) {
                on_gone(s, &s->plan.members[i], status);
                break;
            }
    if (!s->stopping) {
        write_lock(s);
        tell_state(s);
    }
}

/* ---- an upgrade ------------------------------------------------------------ */

/* To who has asked, and to who watches touchline itself. */
static void on_upgrade_says(void *ctx, const char *text)
{
    struct supervisor *s = ctx;

    fprintf(stderr, "touchline: %s\n", text);
    control_say(s->upgrade_asker, text);
}

static void on_upgrade_over(void *ctx, bool done)
{
    struct supervisor *s = ctx;

    on_upgrade_says(s, done ? "everything is replaced but touchline itself"
                            : "the upgrade has ended before its end");
    control_answer(s->upgrade_asker, SLICE(""),
                   done ? EXIT_DONE : EXIT_FAILED);
    s->upgrade_asker = NULL;
}

static void on_replaced(void *ctx, struct member *m)
{
    struct supervisor *s = ctx;

    m->confirmed = 0;
    mute_ended(m);
    write_lock(s);
    reload_ready(&s->reload, m);
}

static void on_upgrade_listed(void *ctx)
{
    write_lock(ctx);
}

static void on_upgrade_gone(void *ctx, struct member *m, int status)
{
    on_gone(ctx, m, status);
}

static const struct upgrade_ops upgrade_ops = {
    on_upgrade_says, on_upgrade_over, on_upgrade_listed, on_replaced,
    on_upgrade_gone};

/* asker NULL: by SIGUSR2. */
static void start_upgrade(struct supervisor *s, struct control_asker *asker)
{
    const char *why = "touchline goes down";

    if (!s->stopping && !upgrade_under_way(&s->upgrade))
        s->upgrade_asker = asker;
    if (!s->stopping && upgrade_begin(&s->upgrade, &why))
        return;
    log_warn("upgrade.refused", "why=\"%s\"", why);
    control_say(asker, why);
    control_answer(asker, SLICE(""), EXIT_FAILED);
    if (!upgrade_under_way(&s->upgrade))
        s->upgrade_asker = NULL;
}

static void on_usr2(void *ctx)
{
    start_upgrade(ctx, NULL);
}

static void on_asked(void *ctx, struct control_asker *a, struct slice verb)
{
    struct supervisor *s = ctx;

    if (slice_eq(verb, SLICE("reload")))
        start_reload(s, a);
    else if (slice_eq(verb, SLICE("upgrade")))
        start_upgrade(s, a);
    else
        control_answer(a, SLICE("this touchline does not know that verb\n"),
                       EXIT_USAGE);
}

/* Our loop turns, and no child hangs. */
static void on_well(void *ctx)
{
    struct supervisor *s = ctx;

    notify_tell(&s->notify, "WATCHDOG=1");
}

static int catch_signals(struct supervisor *s)
{
    int rc;

    (void)signal(SIGPIPE, SIG_IGN);
    if ((rc = loop_signal_start(&s->term, s->loop, SIGTERM, on_term, s)) < 0 ||
        (rc = loop_signal_start(&s->intr, s->loop, SIGINT, on_term, s)) < 0 ||
        (rc = loop_signal_start(&s->hup, s->loop, SIGHUP, on_hup, s)) < 0 ||
        (rc = loop_signal_start(&s->usr2, s->loop, SIGUSR2, on_usr2,
                                s)) < 0)
        return rc;
    return loop_signal_start(&s->chld, s->loop, SIGCHLD, on_chld, s);
}

/* Process 1 does not get a signal that it has no handler for, unless it is
 * blocked meanwhile: a SIGTERM that comes while it starts is not lost. */
static void hold_signals(int how)
{
    sigset_t held;

    sigemptyset(&held);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGHUP);
    sigaddset(&held, SIGCHLD);
    sigaddset(&held, SIGUSR2);
    (void)sigprocmask(how, &held, NULL);
}

/* ---- the whole --------------------------------------------------------- */

static int complain(const char *what)
{
    fprintf(stderr, "touchline: %s\n", what);
    return EXIT_FAILED;
}

/* ---- who it is, and what it may --------------------------------------- */

static enum sandbox sandbox(const struct supervisor *s)
{
    return (enum sandbox)s->cli.config->process.sandbox;
}

/* It is large, and of no use once the process is in it. */
static void forget_plan(struct supervisor *s)
{
    free(s->cage);
    s->cage = NULL;
}

static int plan_cage(struct supervisor *s)
{
    int rc;

    s->cage = malloc(sizeof *s->cage);
    rc = s->cage ? cage_plan(s->cage, CAGE_SUPERVISOR, s->cli.config, NULL,
                             false)
                 : ERR_NOMEM;
    if (rc == ERR_NOMEM)
        (void)complain("out of memory");
    else if (rc < 0)
        (void)complain("too many directories, or too long a path");
    return rc;
}

/* What its children may do is in it: they start in it. */
static int enter_cage(struct supervisor *s)
{
    struct cage_report r;
    int rc = plan_cage(s);

    if (rc < 0)
        return rc;
    config_forget_secrets(s->cli.config);
    rc = cage_enter(s->cage, sandbox(s), &r);
    forget_plan(s);
    if (s->user.is_root && !s->user.asked)
        log_warn("process.root", "cure=\"set process.user\"");
    if (r.missing[0])
        log_warn("process.cage_weak", "missing=\"%s\" %s", r.missing, r.text);
    else
        log_info("process.cage", "user=%s %s", s->user.name, r.text);
    if (rc < 0)
        fprintf(stderr, "touchline: process.sandbox = on, and there is no "
                "%s\n", r.missing);
    return rc;
}

/* With the ports bound nothing is left that needs to be root. */
static int give_up_root(struct supervisor *s)
{
    char why[USER_WHY_MAX];

    for (size_t i = 0; s->user.changes && i < s->plan.set_count; i++)
        listen_give(&s->plan.sets[i], s->user.uid, s->user.gid);
    if (user_become(&s->user, why) == 0)
        return enter_cage(s);
    (void)complain(why);
    return ERR_DENIED;
}

/* ---- the whole --------------------------------------------------------- */

static int supervise(struct supervisor *s)
{
    for (size_t i = 0; i < s->plan.count; i++) {
        struct member *m = &s->plan.members[i];
        struct child_spec spec = {
            .name = m->name,
            .path = m->argv[0],
            .argv = m->argv,
            .fds = m->fds,
            .fd_count = m->fd_count,
            .fd_names = buf_text(&m->fd_names),
            .lock_fd = s->lock_fd,
            .notify_socket = s->watch.address,
            .watchdog_usec = watch_child_usec(&s->watch),
        };

        child_init(&m->child, s->loop, &spec, &child_ops, s);
        child_start(&m->child);
    }
    if (loop_run(s->loop) < 0)
        return complain("the event loop failed");
    return s->code;
}

static void end(struct supervisor *s)
{
    for (size_t i = 0; i < s->plan.count; i++)
        child_fini(&s->plan.members[i].child);
    upgrade_fini(&s->upgrade);
    loop_timer_stop(&s->kill_timer);
    watch_stop(&s->watch);
    reload_fini(&s->reload);
    control_close(&s->control);
    loop_signal_stop(&s->term);
    loop_signal_stop(&s->intr);
    loop_signal_stop(&s->hup);
    loop_signal_stop(&s->chld);
    loop_signal_stop(&s->usr2);
    loop_free(s->loop);
}

/* Runs `touchline-router --check`: it knows its store. */
static int check_router(struct supervisor *s)
{
    struct member *m = &s->plan.members[0];
    int status;
    pid_t pid;

    plan_add_arg(m, "--check");
    pid = fork();
    if (pid == 0) {
        execv(m->argv[0], (char *const *)(uintptr_t)m->argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return EXIT_FAILED;
    return WEXITSTATUS(status);
}

/* Looks, and changes nothing. */
static int check(struct supervisor *s)
{
    const struct config *cfg = s->cli.config;
    char why[USER_WHY_MAX];
    int code;

    hold_signals(SIG_UNBLOCK);
    code = plan_make(&s->plan, &s->cli, why, sizeof why) < 0
               ? complain(why) : check_router(s);
    plan_fini(&s->plan); /* as who made it */
    if (code == EXIT_DONE &&
        user_settle(&s->user, cfg->process.user, cfg->dir, true, why) < 0)
        code = complain(why);
    if (code == EXIT_DONE &&
        (plan_cage(s) < 0 || !cage_check(s->cage, sandbox(s), s->user.name)))
        code = EXIT_FAILED;
    forget_plan(s);
    return code;
}

/* The text of the file is on the plan's sheet then. */
static int make_plan(struct supervisor *s, char *why, size_t size)
{
    int rc = plan_make(&s->plan, &s->cli, why, size);

    opt_forget(&s->cli.text);
    return rc;
}

/* A child takes a few of ours: who cannot start any would try for ever. They
 * are asked for one by one, as what is open already is nobody's to count. */
static bool has_files(const struct supervisor *s)
{
    size_t wanted = FILES_PER_CHILD * (s->plan.count + 1), got = 0;
    int fds[FILES_PER_CHILD * 64];

    wanted = MIN(wanted, ARRAY_LEN(fds));
    while (got < wanted && (fds[got] = dup(STDERR_FILENO)) >= 0)
        got++;
    for (size_t i = 0; i < got; i++)
        close(fds[i]);
    if (got < wanted)
        fprintf(stderr, "touchline: a process may have too few files open to "
                "start %zu others; raise that: `ulimit -n 65536`, or "
                "LimitNOFILE= of the service\n", s->plan.count);
    return got == wanted;
}

/* With the lock held. */
static int serve(struct supervisor *s)
{
    char why[512];
    int code = EXIT_DONE;

    if (make_plan(s, why, sizeof why) < 0)
        code = complain(why);
    else if (!has_files(s))
        code = EXIT_FAILED;
    else if (loop_new(&s->loop) < 0 || catch_signals(s) < 0)
        code = complain("the event loop cannot be made");
    else if (give_up_root(s) < 0)
        code = EXIT_FAILED;
    else if (s->control.fd >= 0 &&
             control_watch(&s->control, s->loop, on_asked, s) < 0)
        code = complain("the directory's socket cannot be watched");
    /* In the cage: who is in it is reached by nobody outside. */
    else if (watch_start(&s->watch, &s->plan, s->loop, s->notify.watchdog_ns,
                         s->cli.config, on_well, s) < 0)
        code = complain("the heartbeats cannot be listened for");
    if (code == EXIT_DONE) {
        upgrade_init(&s->upgrade, &s->plan, s->loop, &upgrade_ops, s);
        loop_timer_init(&s->kill_timer, s->loop, hurry, s);
        reload_init(&s->reload, &s->cli, &s->plan, s->loop, on_reloaded, s);
        hold_signals(SIG_UNBLOCK);
        code = supervise(s);
        end(s);
    }
    forget_plan(s);
    plan_fini(&s->plan);
    return code;
}

static int make_dir(struct supervisor *s)
{
    const struct config *cfg = s->cli.config;
    char why[USER_WHY_MAX];
    int rc = user_choose(&s->user, cfg->process.user, cfg->dir, why);

    if (rc == 0)
        rc = user_own_dir(&s->user, cfg->dir, why);
    if (rc < 0) {
        (void)complain(why);
    } else if (mkdir(cfg->dir, 0700) < 0 && errno != EEXIST) {
        fprintf(stderr, "touchline: cannot make %s: %s; make it as root and "
                "`chown` it, or choose another with --dir DIR\n", cfg->dir,
                strerror(errno));
        rc = ERR_IO;
    }
    return rc;
}

/* As the user who will have them: what lies in a directory that is not root's
 * must not lead root astray. */
static int open_files(struct supervisor *s, unsigned *drained)
{
    const struct config *cfg = s->cli.config;
    int wait_ms = (int)(cfg->limits.drain_wait / MILLISECOND);
    char why[512];

    if (config_log_init(cfg, "touchline") < 0) {
        snprintf(why, sizeof why, "cannot open the log %.300s: %s",
                 cfg->log.file, strerror(errno));
        return complain(why);
    }
    if (lock_take(cfg->dir, wait_ms, &s->lock_fd, drained, why, sizeof why) < 0)
        return complain(why);
    if (control_open(&s->control, cfg->dir) < 0)
        log_warn("control.none", "error=\"%s\" action=send_signals",
                 strerror(errno));
    return EXIT_DONE;
}

static int run(struct supervisor *s)
{
    const struct config *cfg = s->cli.config;
    unsigned drained;
    int code;

    if (s->cli.check)
        return check(s);
    loop_signal_hold(SIGHUP);
    notify_open(&s->notify);
    if (make_dir(s) < 0)
        return EXIT_FAILED;
    code = user_step_down(&s->user) < 0 ? complain("cannot act as another user")
                                        : open_files(s, &drained);
    if (code == EXIT_DONE && user_step_up(&s->user) < 0)
        code = complain("cannot be root again");
    if (code != EXIT_DONE)
        return code;
    if (drained)
        log_warn("touchline.drained", "processes=%u why=\"outlived their "
                 "supervisor\"", drained);
    code = serve(s);
    control_close(&s->control);
    lock_release(s->lock_fd, cfg->dir);
    return code;
}

/* The service's directory, where none is said and none is here. */
static const char *directory(const struct supervisor *s)
{
    static const char *const service = "/var/lib/touchline";

    return !s->cli.dir && access(s->cli.config->dir, F_OK) < 0
               ? service : s->cli.config->dir;
}

static const struct {
    const char *name;
    bool live; /* what it says is of interest while it says it */
} verbs[] = {{"reload", false}, {"upgrade", true}};

static const char *nth_verb(const void *ctx, size_t i)
{
    UNUSED(ctx);
    return i < ARRAY_LEN(verbs) ? verbs[i].name : NULL;
}

/* Of the one that runs. */
static int ask(const struct supervisor *s)
{
    const char *word = s->cli.args[0], *near;

    for (size_t i = 0; s->cli.arg_count == 1 && i < ARRAY_LEN(verbs); i++)
        if (strcmp(word, verbs[i].name) == 0)
            return control_ask(directory(s), verbs[i].name, verbs[i].live);
    near = opt_nearest(slice_str(word), nth_verb, NULL);
    if (near && s->cli.arg_count == 1)
        return cli_usage_error(&s->cli, "unexpected argument %s; did you mean "
                               "%s?", word, near);
    return cli_usage_error(&s->cli, "unexpected argument %s; it takes reload "
                           "or upgrade alone", word);
}

int main(int argc, char **argv)
{
    struct supervisor *s = calloc(1, sizeof *s);
    int code;

    if (!s)
        return complain("out of memory");
    if (getpid() == 1)
        hold_signals(SIG_BLOCK);
    s->notify.fd = -1;
    s->control.fd = -1;
    check_report_signals("touchline");
    s->cli = (struct cli){
        .binary = "touchline",
        .about = "starts the router and its gateways, and keeps them running",
        .usage = "[reload | upgrade]",
        .more = "reload: the touchline that runs in the directory reads its "
                "file again, and says\nwhat is in force now and what has to "
                "wait; 0: all processes follow\n"
                "upgrade: it replaces its processes by the binaries that are "
                "there now, and clients\nstay connected; 0: all are "
                "replaced\n",
        .keeps_text = true,
    };
    code = cli_parse(&s->cli, argc, argv);
    if (code < 0)
        code = s->cli.arg_count ? ask(s) : run(s);
    notify_close(&s->notify);
    cli_fini(&s->cli);
    free(s);
    return code;
}
