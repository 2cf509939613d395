#include "tools/flood/flood.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/mark.h"
#include "tools/flood/cost.h"
#include "tools/flood/crowd.h"
#include "tools/flood/limits.h"
#include "tools/flood/publish.h"
#include "tools/flood/report.h"
#include "tools/flood/serve.h"

/* Looks at the figures; what was published has come when nothing has for a
 * while, longer for who is told to wait for longer; what has been seen by one has
 * reached all after another. */
#define LOOK      (100 * MILLISECOND)
#define QUIET     (1 * SECOND)
#define QUIET_OF(drain) MAX(QUIET, (drain) / 4)
#define LAST_WAIT (500 * MILLISECOND)

struct flood {
    struct settings settings;
    struct cli cli;
    struct plan plan;
    struct cost cost;
    struct stage *stage;
    struct share *shares; /* workers, then the probe */
    size_t workers;
    bool has_probe;
    pid_t *children;
    size_t child_count;
    struct report report;
    struct report_second second;
    int signals;
    FILE *csv;
    bool on_terminal, line_shown, failed, held;
    int64_t begun_ns, phase_ns, second_ns, line_ns, end_marked_ns;
    int64_t grown_ns;      /* when more had been received */
    uint64_t received;
    uint64_t gone;         /* closed and failed when publishing began */
    unsigned interrupts;
};

static int complain(const char *text)
{
    fprintf(stderr, "touchline-flood: %s\n", text);
    return EXIT_FAILED;
}

/* ---- processes ---------------------------------------------------------------- */

static _Noreturn void work(struct flood *f, size_t i)
{
    uint64_t all = f->settings.connections;
    uint64_t first = all * i / f->workers, end = all * (i + 1) / f->workers;
    bool probe = i == f->workers;
    struct crowd c;
    int rc = crowd_init(&c, &f->plan, f->stage, &f->shares[i],
                        probe ? all : first,
                        probe ? 1 : (uint32_t)(end - first), probe);

    if (rc < 0)
        _exit(complain(err_text(rc)));
    crowd_run(&c);
    crowd_fini(&c);
    _exit(EXIT_DONE);
}

static _Noreturn void publish(struct flood *f)
{
    char at[ENDPOINT_TEXT_MAX];
    const char *why;

    endpoint_text(&f->plan.publish_targets.at[0], at);
    if (publish_run(&f->plan, f->stage, &why) < 0) {
        atomic_store(&f->stage->publishing_failed, true);
        fprintf(stderr, "touchline-flood: publishing to %s: %s (another place "
                "is said with --publish-target)\n", at, why);
        _exit(EXIT_FAILED);
    }
    _exit(EXIT_DONE);
}

/* i: a worker's number, the probe's behind them, the publisher's behind it. */
static int start(struct flood *f, size_t i)
{
    pid_t parent = getpid(), pid = fork();

    if (pid < 0) {
        fprintf(stderr, "touchline-flood: no process more: %s (ulimit -u)\n",
                strerror(errno));
        return EXIT_FAILED;
    }
    if (pid > 0) {
        f->children[f->child_count++] = pid;
        return 0;
    }
    /* The first process says when it is over, also by its death. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILED);
    close(f->signals);
    if (i > f->workers)
        publish(f);
    work(f, i);
}

static int start_all(struct flood *f)
{
    int code = 0;

    f->children = calloc(f->workers + 2, sizeof *f->children);
    f->shares = share_new(f->workers + 1);
    f->stage = stage_new(f->plan.ids.count);
    if (!f->children || !f->shares || !f->stage)
        return complain(err_text(ERR_NOMEM));
    fflush(NULL);
    f->begun_ns = clock_ns();
    for (size_t i = 0; i < f->workers && !code; i++)
        code = start(f, i);
    if (!code && f->has_probe)
        code = start(f, f->workers);
    if (!code && f->plan.publishes)
        code = start(f, f->workers + 1);
    return code;
}

static void reap(struct flood *f, bool all)
{
    for (size_t i = 0; i < f->child_count; i++) {
        int status;

        if (f->children[i] <= 0
            || waitpid(f->children[i], &status, all ? 0 : WNOHANG) <= 0)
            continue;
        f->children[i] = 0;
        /* A publisher that fails has said so. */
        if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_DONE)
            f->failed = true;
    }
}

static void kill_all(struct flood *f)
{
    for (size_t i = 0; i < f->child_count; i++)
        if (f->children[i] > 0)
            kill(f->children[i], SIGKILL);
}

/* ---- phases ------------------------------------------------------------------- */

static void go_to(struct flood *f, enum stage_phase phase, int64_t now)
{
    if (phase == PHASE_HOLD) {
        int64_t last = f->begun_ns;

        for (size_t i = 0; i < f->workers; i++)
            last = MAX(last, atomic_load(&f->shares[i].settled_ns));
        f->report.up_after = (double)(last - f->begun_ns) / (double)SECOND;
        f->gone = report_sum(&f->report, SHARE_closed)
                  + report_sum(&f->report, SHARE_failed);
        cost_cpu_begin(&f->cost);
        f->held = true;
    }
    f->phase_ns = f->grown_ns = now;
    atomic_store(&f->stage->phase, (int)phase);
}

/* Everything that was published has come, or nothing does any more. */
static bool is_drained(struct flood *f, int64_t now)
{
    uint64_t got = report_sum(&f->report, SHARE_received)
                   - report_sum(&f->report, SHARE_duplicates);

    if (got >= atomic_load(&f->stage->due))
        return true;
    return now - f->grown_ns > QUIET_OF(f->settings.drain)
           || now - f->phase_ns > f->settings.drain;
}

static void drain(struct flood *f, int64_t now)
{
    if (!f->end_marked_ns) {
        if (f->plan.publishes && !is_drained(f, now))
            return;
        stage_mark_end(f->stage);
        f->end_marked_ns = now;
        return;
    }
    if (now - f->end_marked_ns < MIN(LAST_WAIT, f->settings.drain))
        return;
    if (f->held)
        cost_cpu_end(&f->cost);
    cost_memory_end(&f->cost);
    f->report.costed = true;
    f->report.cost_clients = report_active(&f->report);
    f->report.steady = f->report.up_after > 0
                       && report_sum(&f->report, SHARE_closed)
                                  + report_sum(&f->report, SHARE_failed)
                              == f->gone
                       && report_active(&f->report) > 0;
    go_to(f, PHASE_CLOSE, now);
}

/* And nobody will come again. */
static bool nobody_is_left(const struct flood *f)
{
    return !f->settings.again && report_active(&f->report) == 0
           && (!f->plan.script.count || report_sum(&f->report, SHARE_up) == 0);
}

static bool hold_is_over(const struct flood *f, int64_t now)
{
    if (nobody_is_left(f))
        return true;
    if (f->settings.messages && f->plan.publishes
        && atomic_load(&f->stage->published_all))
        return true;
    return f->settings.hold != INT64_MAX
           && now - f->phase_ns >= f->settings.hold;
}

static bool all_settled(const struct flood *f)
{
    return report_sum(&f->report, SHARE_settled) >= f->settings.connections;
}

static void follow(struct flood *f, int64_t now)
{
    uint64_t received = report_sum(&f->report, SHARE_received);

    if (received != f->received)
        f->grown_ns = now;
    f->received = received;
    switch (stage_phase(f->stage)) {
    case PHASE_OPEN:
        if (f->interrupts)
            go_to(f, PHASE_DRAIN, now);
        else if (all_settled(f))
            go_to(f, PHASE_HOLD, now);
        break;
    case PHASE_HOLD:
        if (f->interrupts || hold_is_over(f, now))
            go_to(f, PHASE_DRAIN, now);
        break;
    case PHASE_DRAIN:
        drain(f, now);
        break;
    case PHASE_CLOSE:
        if (report_active(&f->report) == 0
            && now - f->phase_ns >= f->settings.ramp_down)
            go_to(f, PHASE_END, now);
        break;
    case PHASE_END:
        break;
    }
}

/* ---- what is shown meanwhile ----------------------------------------------------- */

static double share_done(const struct flood *f, int64_t now)
{
    double all = (double)f->settings.connections;
    double hold = (double)f->settings.hold;

    switch (stage_phase(f->stage)) {
    case PHASE_OPEN:
        return (double)report_sum(&f->report, SHARE_settled) / all;
    case PHASE_HOLD:
        return f->settings.hold == INT64_MAX || f->settings.hold == 0
                   ? -1
                   : (double)(now - f->phase_ns) / hold;
    default:
        return 1;
    }
}

static void show_line(struct flood *f, int64_t now)
{
    static const char *const words[] = { "opening", "holding", "draining",
                                         "closing", "done" };
    struct buf line = BUF_INIT;

    buf_addf(&line, "%-8s ", words[stage_phase(f->stage)]);
    report_line(&f->report, &f->second,
                f->on_terminal ? share_done(f, now) : -1, &line);
    if (f->on_terminal)
        fprintf(stderr, "\r%s\033[K", buf_text(&line));
    else
        fprintf(stderr, "%s\n", buf_text(&line));
    fflush(stderr);
    f->line_shown = f->on_terminal;
    buf_fini(&line);
}

static void write_row(struct flood *f)
{
    struct buf row = BUF_INIT;

    report_csv(&f->report, &f->second, &row);
    fputs(buf_text(&row), f->csv);
    fflush(f->csv);
    buf_fini(&row);
}

static void show(struct flood *f, int64_t now, bool last)
{
    bool second = last || now - f->second_ns >= SECOND;

    if (second) {
        report_next_second(&f->report, &f->second, mark_now_us());
        f->second_ns = last ? now : f->second_ns + SECOND;
        if (f->csv)
            write_row(f);
    }
    if (!f->settings.quiet && !last && (second || f->on_terminal))
        show_line(f, now);
}

/* ---- a run ------------------------------------------------------------------------ */

static void take_signals(struct flood *f)
{
    struct signalfd_siginfo s;

    while (read(f->signals, &s, sizeof s) == sizeof s)
        if (s.ssi_signo == SIGCHLD)
            reap(f, false);
        else
            f->interrupts++;
}

static void watch(struct flood *f)
{
    struct pollfd p = { .fd = f->signals, .events = POLLIN };

    f->second_ns = f->phase_ns = f->grown_ns = clock_ns();
    while (stage_phase(f->stage) != PHASE_END && !f->failed
           && f->interrupts < 2) {
        int64_t now;

        poll(&p, 1, (int)(LOOK / MILLISECOND));
        take_signals(f);
        now = clock_ns();
        follow(f, now);
        show(f, now, false);
    }
    f->report.interrupted = f->interrupts > 0;
    f->report.seconds = (double)(clock_ns() - f->begun_ns) / (double)SECOND;
    atomic_store(&f->stage->phase, PHASE_END);
    if (f->interrupts > 1)
        kill_all(f);
    reap(f, true);
    show(f, clock_ns(), true);
    if (f->line_shown)
        fprintf(stderr, "\r\033[K");
}

static FILE *open_output(const char *path)
{
    FILE *to = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");

    if (!to)
        fprintf(stderr, "touchline-flood: %s: %s\n", path, strerror(errno));
    return to;
}

static bool close_output(FILE *to, const char *path)
{
    bool good = fflush(to) == 0 && !ferror(to);

    if (to != stdout && fclose(to) != 0)
        good = false;
    if (!good)
        fprintf(stderr, "touchline-flood: %s: it could not be written\n",
                path);
    return good;
}

static bool write_json(struct flood *f)
{
    struct buf text = BUF_INIT;
    FILE *to = open_output(f->settings.json);

    if (!to)
        return false;
    report_json(&f->report, &text);
    fputs(buf_text(&text), to);
    buf_fini(&text);
    return close_output(to, f->settings.json);
}

/* The text goes where nothing else is written. */
static int finish(struct flood *f)
{
    bool busy = strcmp(f->settings.json, "-") == 0
                || strcmp(f->settings.csv, "-") == 0;
    struct buf text = BUF_INIT;
    bool good = true;

    report_words(&f->report, &text);
    fputs(buf_text(&text), busy ? stderr : stdout);
    fflush(stdout);
    buf_fini(&text);
    if (f->csv)
        good = close_output(f->csv, f->settings.csv);
    if (*f->settings.json)
        good = write_json(f) && good;
    return good && !f->failed && report_is_clean(&f->report) ? EXIT_DONE
                                                             : EXIT_FAILED;
}

static int hold_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int prepare(struct flood *f, struct opt_error *err)
{
    int rc = plan_init(&f->plan, &f->settings, f->cli.config, err);

    if (rc == 0)
        rc = cost_init(&f->cost, f->settings.watch, err);
    if (rc < 0)
        return rc == ERR_BAD ? cli_usage_error(&f->cli, "%s", err->text)
                             : complain(err->text);
    f->workers = limits_processes(&f->plan, err);
    if (!f->workers)
        return complain(err->text);
    rc = limits_reach(&f->plan, err);
    if (rc < 0) {
        complain(err->text);
        return rc == ERR_CLOSED ? EXIT_NO_ROUTER : EXIT_FAILED;
    }
    return -1;
}

static int run(struct flood *f)
{
    int code;

    f->signals = hold_signals();
    f->on_terminal = isatty(STDERR_FILENO);
    f->has_probe = f->plan.probe.count > 0;
    if (*f->settings.csv && !(f->csv = open_output(f->settings.csv)))
        return EXIT_FAILED;
    if (f->csv)
        fputs(report_csv_head, f->csv);
    cost_memory_begin(&f->cost);
    code = f->signals < 0 ? complain(strerror(errno)) : start_all(f);
    f->report = (struct report){
        .plan = &f->plan, .stage = f->stage, .workers = f->shares,
        .worker_count = f->workers, .cost = &f->cost, .begun_us = mark_now_us(),
        .probe = f->has_probe ? &f->shares[f->workers] : NULL,
    };
    if (code) {
        kill_all(f);
        reap(f, true);
        return code;
    }
    watch(f);
    return finish(f);
}

int flood_run(int argc, char **argv)
{
    static struct flood f;
    struct opt_error err;
    int code = settings_init(&f.settings, &f.cli, argc, argv);

    if (code < 0)
        code = f.settings.serve ? serve_run(f.settings.serve,
                                             f.settings.processes) : prepare(&f, &err);
    if (code < 0 && f.cli.check) {
        printf("ok: %zu connections from %zu process%s\n",
               f.settings.connections, f.workers, f.workers == 1 ? "" : "es");
        code = EXIT_DONE;
    }
    if (code < 0)
        code = run(&f);
    plan_fini(&f.plan);
    settings_fini(&f.settings, &f.cli);
    free(f.children);
    return code;
}
