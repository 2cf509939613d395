/* touchline - starts router and gateways from one configuration file, keeps
 * them running, and ends them in order.
 *
 * It claims every port before anything runs and keeps the listening sockets:
 * while an instance is started again its connections wait in the kernel's
 * queue instead of being refused. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "tools/touchline/child.h"
#include "tools/touchline/lock.h"
#include "proto/cli.h"
#include "proto/listen.h"

enum {
    KINDS = 3,
    CHILDREN_MAX = 128,
    ARGS_MAX = 256,
    KILL_AFTER_MS = 2000, /* behind drain_wait */
};

static const char *const kinds[KINDS] = {"http", "tcp", "ws"};

/* One process to be. */
struct member {
    struct child child;
    char name[16];   /* "http 1" */
    char kind[8];    /* "router", "http" */
    char path[4096];
    char number[12];
    char *argv[ARGS_MAX];
    int fds[CHILD_FDS_MAX];
    char fd_names[CHILD_FDS_MAX * 8];
    unsigned fd_count;
    char url[160];   /* of its ready line */
};

struct supervisor {
    struct cli cli;
    struct loop *loop;
    struct loop_signal term, intr, hup, chld;
    struct loop_timer kill_timer;
    struct member members[CHILDREN_MAX];
    unsigned count;
    int lock_fd;
    bool stopping, failed, told, router_stopping;
    char bin[4096]; /* folder of the binaries */
    struct buf listens[KINDS]; /* "tcp.listen=127.0.0.1:9999": as claimed */
    struct listen_set sets[CHILDREN_MAX];
    unsigned set_count;
};

/* ---- what is to run ---------------------------------------------------- */

static void find_bin(struct supervisor *s)
{
    ssize_t n = readlink("/proc/self/exe", s->bin, sizeof s->bin - 1);
    char *slash;

    s->bin[n < 0 ? 0 : n] = '\0';
    slash = strrchr(s->bin, '/');
    if (slash)
        *slash = '\0';
}

static void add_arg(struct member *m, const char *arg)
{
    unsigned n = 0;

    while (m->argv[n])
        n++;
    if (n + 1 < ARGS_MAX)
        m->argv[n] = (char *)(uintptr_t)arg;
}

static struct member *add_member(struct supervisor *s, const char *kind,
                                 unsigned number)
{
    struct member *m;

    if (s->count == CHILDREN_MAX)
        return NULL;
    m = &s->members[s->count++];
    snprintf(m->kind, sizeof m->kind, "%s", kind);
    snprintf(m->number, sizeof m->number, "%u", number);
    snprintf(m->name, sizeof m->name, "%s-%u", kind, number + 1);
    if ((size_t)snprintf(m->path, sizeof m->path, "%s/touchline-%s", s->bin,
                         kind) >= sizeof m->path)
        return NULL;
    add_arg(m, m->path);
    if (s->cli.config_file) {
        add_arg(m, "--config");
        add_arg(m, s->cli.config_file);
    }
    add_arg(m, "--dir");
    add_arg(m, s->cli.config->dir);
    for (size_t i = 0; i < s->cli.set_count; i++) {
        add_arg(m, "--set");
        add_arg(m, s->cli.sets[i]);
    }
    return m;
}

/* ---- ports ------------------------------------------------------------- */

static int claim_first(struct supervisor *s, const struct config_edge *e,
                       struct listen_set *set, char *why, size_t size)
{
    size_t backlog = s->cli.config->limits.accept_backlog;
    int rc = listen_open(set, &e->listen, false, backlog, why, size);

    if (rc == 0 && e->admin.count)
        rc = listen_open(set, &e->admin, true, backlog, why, size);
    return rc;
}

static void hand_over(struct member *m, const struct listen_set *set,
                      bool first)
{
    for (unsigned i = 0; i < set->count && m->fd_count < CHILD_FDS_MAX; i++) {
        if (set->at[i].admin && !first)
            continue;
        m->fds[m->fd_count++] = set->at[i].fd;
        strcat(m->fd_names, m->fd_names[0] ? ":" : "");
        strcat(m->fd_names, set->at[i].admin ? "admin" : "main");
    }
}

/* Gives each worker of each instance sockets of its own on the same ports.
 * Within an instance they are ordered so that the i-th goes to worker i
 * modulo workers. */
static int add_edge(struct supervisor *s, const char *kind, char *why,
                    size_t size)
{
    const struct config *cfg = s->cli.config;
    const struct config_edge *e = config_edge(cfg, kind);
    struct listen_set *first = NULL;
    int rc = 0;

    if (e->listen.count == 0)
        return 0;
    for (size_t i = 0; rc == 0 && i < e->instances; i++) {
        struct member *m = add_member(s, kind, (unsigned)i);

        snprintf(why, size, "too many processes");
        if (!m)
            return ERR_FULL;
        add_arg(m, "--instance");
        add_arg(m, m->number);
        for (size_t w = 0; rc == 0 && w < e->workers; w++) {
            struct listen_set *set = &s->sets[s->set_count];

            if (s->set_count == CHILDREN_MAX)
                return ERR_FULL;
            rc = first ? listen_again(set, first, cfg->limits.accept_backlog)
                       : claim_first(s, e, set, why, size);
            s->set_count++;
            first = first ? first : set;
            hand_over(m, set, i == 0 && w == 0);
        }
    }
    return rc;
}

/* What was claimed for an edge, port 0 resolved: gateways tell clients of each
 * other's ports. */
static void note_listen(struct supervisor *s, unsigned kind,
                        const struct listen_set *set)
{
    struct buf *b = &s->listens[kind];

    buf_addf(b, "%s.listen=", kinds[kind]);
    for (unsigned i = 0; i < set->count; i++)
        if (!set->at[i].admin)
            buf_addf(b, "%s%s", i ? ", " : "", set->at[i].text);
    for (unsigned i = 0; i < s->count; i++) {
        add_arg(&s->members[i], "--set");
        add_arg(&s->members[i], buf_text(b));
    }
}

static int plan_edges(struct supervisor *s, char *why, size_t size)
{
    unsigned first[KINDS];
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < KINDS; i++) {
        first[i] = s->set_count;
        rc = add_edge(s, kinds[i], why, size);
    }
    for (unsigned i = 0; rc == 0 && i < KINDS; i++)
        if (config_edge(s->cli.config, kinds[i])->listen.count)
            note_listen(s, i, &s->sets[first[i]]);
    return rc;
}

static int plan(struct supervisor *s, char *why, size_t size)
{

    find_bin(s);
    snprintf(why, size, "too many processes");
    if (!add_member(s, "router", 0))
        return ERR_FULL;
    return plan_edges(s, why, size);
}

/* ---- what children do -------------------------------------------------- */

static void write_lock(const struct supervisor *s)
{
    struct lock_entry entries[CHILDREN_MAX];

    for (unsigned i = 0; i < s->count; i++)
        entries[i] = (struct lock_entry){s->members[i].kind,
                                         s->members[i].child.pid};
    lock_write(s->lock_fd, entries, s->count);
}

static bool all_ready(const struct supervisor *s, const char *kind)
{
    for (unsigned i = 0; i < s->count; i++)
        if ((!kind || strcmp(s->members[i].kind, kind) == 0) &&
            !s->members[i].child.ready)
            return false;
    return true;
}

static const char *url_of(const struct supervisor *s, const char *kind)
{
    for (unsigned i = 0; i < s->count; i++)
        if (strcmp(s->members[i].kind, kind) == 0)
            return s->members[i].url;
    return "";
}

/* Where to look, once everything serves. */
static void tell(struct supervisor *s)
{
    s->told = true;
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
    write_lock(s);
    if (first && all_ready(s, m->kind)) {
        printf("ready %s %s\n", m->kind, url_of(s, m->kind));
        fflush(stdout);
    }
    if (!s->told && all_ready(s, NULL))
        tell(s);
}

static void on_line(void *ctx, struct child *c, struct slice line)
{
    (void)ctx;
    fprintf(stderr, "%s: " SLICE_FMT "\n", c->spec.name, SLICE_ARG(line));
}

static bool running(const struct supervisor *s, bool router)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->members[i].child.pid &&
            (strcmp(s->members[i].kind, "router") == 0) == router)
            return true;
    return false;
}

/* Gateways go first, then the router, then we do. */
static void stop_next(struct supervisor *s)
{
    if (running(s, false))
        return;
    if (!s->router_stopping) {
        s->router_stopping = true;
        child_stop(&s->members[0].child);
    }
    if (!running(s, true))
        loop_stop(s->loop);
}

static void kill_all(void *ctx)
{
    struct supervisor *s = ctx;

    for (unsigned i = 0; i < s->count; i++)
        if (s->members[i].child.pid) {
            log_warn("child.kill", "name=\"%s\" why=\"did not end in time\"",
                     s->members[i].name);
            child_signal(&s->members[i].child, SIGKILL);
        }
}

static void stop_all(struct supervisor *s)
{
    if (s->stopping) {
        kill_all(s);
        return;
    }
    s->stopping = true;
    log_info("touchline.stop", "children=%u", s->count);
    for (unsigned i = 1; i < s->count; i++)
        child_stop(&s->members[i].child);
    loop_timer_set(&s->kill_timer, s->cli.config->limits.drain_wait +
                                       KILL_AFTER_MS * MILLISECOND);
    stop_next(s);
}

static void on_ended(void *ctx, struct child *c, bool gave_up)
{
    struct supervisor *s = ctx;

    if (gave_up) {
        fprintf(stderr, "touchline: %s did not start in %d attempts; giving "
                "up. Its messages are above.\n", c->spec.name,
                CHILD_STARTS_MAX);
        s->failed = true;
        if (!s->stopping)
            stop_all(s);
    }
    if (s->stopping)
        stop_next(s);
}

static const struct child_ops child_ops = {on_line, on_ready, on_ended};

/* ---- signals ----------------------------------------------------------- */

static void on_term(void *ctx)
{
    stop_all(ctx);
}

static void on_hup(void *ctx)
{
    struct supervisor *s = ctx;

    for (unsigned i = 0; i < s->count; i++)
        child_signal(&s->members[i].child, SIGHUP);
    if (log_reopen() < 0)
        log_error("log.reopen", "action=keep_old_file");
}

static void on_chld(void *ctx)
{
    struct supervisor *s = ctx;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (unsigned i = 0; i < s->count; i++)
            if (s->members[i].child.pid == pid) {
                child_exited(&s->members[i].child, status);
                break;
            }
    if (!s->stopping)
        write_lock(s);
}

static int catch_signals(struct supervisor *s)
{
    int rc;

    (void)signal(SIGPIPE, SIG_IGN);
    if ((rc = loop_signal_start(&s->term, s->loop, SIGTERM, on_term, s)) < 0 ||
        (rc = loop_signal_start(&s->intr, s->loop, SIGINT, on_term, s)) < 0 ||
        (rc = loop_signal_start(&s->hup, s->loop, SIGHUP, on_hup, s)) < 0)
        return rc;
    return loop_signal_start(&s->chld, s->loop, SIGCHLD, on_chld, s);
}

/* ---- the whole --------------------------------------------------------- */

static int complain(const char *what)
{
    fprintf(stderr, "touchline: %s\n", what);
    return EXIT_FAILED;
}

static int supervise(struct supervisor *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        struct child_spec spec = {
            .name = m->name,
            .path = m->path,
            .argv = m->argv,
            .fds = m->fds,
            .fd_count = m->fd_count,
            .fd_names = m->fd_names,
            .lock_fd = s->lock_fd,
        };

        child_init(&m->child, s->loop, &spec, &child_ops, s);
        child_start(&m->child);
    }
    write_lock(s);
    if (loop_run(s->loop) < 0)
        return complain("the event loop failed");
    return s->failed ? EXIT_FAILED : EXIT_DONE;
}

static void close_ports(struct supervisor *s)
{
    for (unsigned i = 0; i < s->set_count; i++) {
        listen_remove(&s->sets[i]);
        listen_close(&s->sets[i]);
    }
    for (unsigned i = 0; i < KINDS; i++)
        buf_fini(&s->listens[i]);
}

static void end(struct supervisor *s)
{
    for (unsigned i = 0; i < s->count; i++)
        child_fini(&s->members[i].child);
    loop_timer_stop(&s->kill_timer);
    loop_signal_stop(&s->term);
    loop_signal_stop(&s->intr);
    loop_signal_stop(&s->hup);
    loop_signal_stop(&s->chld);
    loop_free(s->loop);
}

/* Runs `touchline-router --check`: it knows its store. */
static int check_router(struct supervisor *s)
{
    struct member *m = &s->members[0];
    int status;
    pid_t pid;

    add_arg(m, "--check");
    pid = fork();
    if (pid == 0) {
        execv(m->path, m->argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return EXIT_FAILED;
    return WEXITSTATUS(status);
}

static int run(struct supervisor *s)
{
    const struct config *cfg = s->cli.config;
    int wait_ms = (int)(cfg->limits.drain_wait / MILLISECOND);
    unsigned drained = 0;
    char why[256] = "";
    int code;

    if (mkdir(cfg->dir, 0700) < 0 && errno != EEXIST) {
        fprintf(stderr, "touchline: cannot make %s: %s\n", cfg->dir,
                strerror(errno));
        return EXIT_FAILED;
    }
    if (config_log_init(cfg, "touchline") < 0)
        return complain("the log file cannot be opened");
    if (s->cli.check) {
        code = plan(s, why, sizeof why) < 0 ? complain(why) : check_router(s);
        close_ports(s);
        return code;
    }
    if (lock_take(cfg->dir, wait_ms, &s->lock_fd, &drained, why,
                  sizeof why) < 0)
        return complain(why);
    if (drained)
        log_warn("touchline.drained", "processes=%u why=\"outlived their "
                 "supervisor\"", drained);
    code = plan(s, why, sizeof why) < 0 ? complain(why) : EXIT_DONE;
    if (code == EXIT_DONE && (loop_new(&s->loop) < 0 || catch_signals(s) < 0))
        code = complain("the event loop cannot be made");
    if (code == EXIT_DONE) {
        loop_timer_init(&s->kill_timer, s->loop, kill_all, s);
        code = supervise(s);
        end(s);
    }
    close_ports(s);
    lock_release(s->lock_fd, cfg->dir);
    return code;
}

int main(int argc, char **argv)
{
    struct supervisor *s = calloc(1, sizeof *s);
    int code;

    if (!s)
        return complain("out of memory");
    s->cli = (struct cli){
        .binary = "touchline",
        .about = "starts the router and its gateways, and keeps them running",
    };
    code = cli_parse(&s->cli, argc, argv);
    if (code < 0)
        code = run(s);
    cli_fini(&s->cli);
    free(s);
    return code;
}
