/* examine.c - the verb `doctor`: what doctor.h finds, for people and programs,
 * and what the kernel loses while somebody watches. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/report.h"
#include "tools/router-ctl/census.h"
#include "tools/router-ctl/doctor.h"

enum { PROCESSES_MAX = 1024 };

struct examination {
    struct ctl *c;
    struct doctor doctor;
    struct doctor_process processes[PROCESSES_MAX];
    struct doctor_loss losses[DOCTOR_LOSSES];
    size_t low;
    /* with --every */
    int64_t every;
    struct loop_timer tick;
    struct loop_signal interrupt, terminate;
    bool done;
    uint64_t lost;
};

/* ---- who runs here ------------------------------------------------------- */

static void take_process(struct doctor_process *to,
                         const struct census_process *p)
{
    struct proc_who who = { .threads = 0 };

    *to = (struct doctor_process){ .pid = p->pid };
    snprintf(to->name, sizeof to->name, "%s", p->name);
    to->clients = *p->edge && strcmp(p->edge, "router") != 0;
    to->files_known = p->local
                      && proc_files(p->pid, &to->files, &to->files_most);
    if (proc_who(p->pid, &who))
        to->threads = who.threads;
    if (!p->local || !proc_cgroup(p->pid, to->cgroup, sizeof to->cgroup))
        to->cgroup[0] = '\0';
}

/* Without a router the machine alone is looked at. */
static int find_processes(struct examination *e)
{
    struct buf why = BUF_INIT;
    struct census census = CENSUS_EMPTY;
    int code = ctl_try_reach(e->c, &why);
    size_t count = 0;

    buf_fini(&why);
    if (code != EXIT_DONE) {
        (void)ctl_fail(e->c, code, "no router answers: how many files the "
                       "gateways may open is not known");
        return EXIT_DONE;
    }
    code = census_ask(e->c, &census);
    for (size_t i = 0; i < census.count && count < PROCESSES_MAX; i++)
        take_process(&e->processes[count++], &census.list[i]);
    census_fini(&census);
    e->doctor.processes = e->processes;
    e->doctor.process_count = count;
    return code;
}

/* ---- the report ---------------------------------------------------------- */

static void report_finding(struct buf *b, const struct doctor_finding *f,
                           bool json)
{
    report_row(b);
    report_text(b, "state", slice_str(doctor_state_text(f->state)));
    report_text(b, "setting", slice_str(f->setting));
    report_text(b, "value", slice_str(*f->value ? f->value : "-"));
    report_number(b, "needed", f->needed);
    if (json)
        report_text(b, "cure", slice_str(f->cure));
    report_text(b, "why", slice_str(f->why));
    report_row_end(b);
}

static void report_processes(struct buf *b, const struct examination *e)
{
    report_part(b, "processes");
    for (size_t i = 0; i < e->doctor.process_count; i++) {
        const struct doctor_process *p = &e->processes[i];

        report_row(b);
        report_text(b, "process", slice_str(p->name));
        report_number(b, "pid", p->pid);
        report_number(b, "threads", p->threads);
        if (p->files_known) {
            report_number(b, "files", p->files);
            report_number(b, "files_most", p->files_most);
        }
        report_row_end(b);
    }
}

static void report_losses(struct buf *b, const struct examination *e)
{
    report_part(b, "losses");
    for (size_t i = 0; i < DOCTOR_LOSSES; i++) {
        const struct doctor_loss *l = &e->losses[i];

        if (!l->known)
            continue;
        report_row(b);
        report_text(b, "counter", slice_str(l->name));
        report_number(b, "since_boot", l->count);
        report_text(b, "why", slice_str(l->why));
        report_row_end(b);
    }
}

static void put_cures(struct buf *out, const struct examination *e)
{
    bool first = true;

    for (size_t i = 0; i < e->doctor.count; i++) {
        const struct doctor_finding *f = &e->doctor.findings[i];

        if (!*f->cure)
            continue;
        if (first)
            buf_add_str(out, "\nto change them (as root; a file in "
                        "/etc/sysctl.d keeps what sysctl sets):\n");
        first = false;
        buf_addf(out, "  %s%s\n", f->cure,
                 f->state == DOCTOR_NOTE ? "   # if it matters" : "");
    }
}

static int put_part(struct buf *out, const struct examination *e,
                    void (*part)(struct buf *b, const struct examination *e))
{
    struct buf b = BUF_INIT;
    int rc;

    part(&b, e);
    rc = b.failed ? ERR_NOMEM
                  : show_report(out, &e->c->show, buf_slice(&b));
    buf_fini(&b);
    return rc;
}

static void report_settings(struct buf *b, const struct examination *e)
{
    report_part(b, "settings");
    for (size_t i = 0; i < e->doctor.count; i++)
        report_finding(b, &e->doctor.findings[i], e->c->show.json);
}

static void report_all(struct buf *b, const struct examination *e)
{
    report_settings(b, e);
    report_processes(b, e);
    report_losses(b, e);
}

static int print(struct examination *e)
{
    struct buf out = BUF_INIT;
    int rc = 0, code = EXIT_DONE;

    if (e->c->show.json) {
        rc = put_part(&out, e, report_all);
    } else {
        buf_addf(&out, "for %" PRIu64 " connections: %s\n\n",
                 e->doctor.connections,
                 e->low ? "this machine lacks what is marked low" : "well");
        rc = put_part(&out, e, report_settings);
        put_cures(&out, e);
        if (rc == 0 && e->doctor.process_count) {
            buf_add_byte(&out, '\n');
            rc = put_part(&out, e, report_processes);
        }
        buf_add_byte(&out, '\n');
        if (rc == 0)
            rc = put_part(&out, e, report_losses);
    }
    if (rc < 0 || e->doctor.failed || show_out(&out) < 0)
        code = ctl_fail(e->c, EXIT_FAILED, "the findings cannot be written");
    buf_fini(&out);
    return code;
}

/* ---- watching ------------------------------------------------------------ */

static void put_growth(struct buf *out, const struct examination *e,
                       const struct doctor_loss *l, uint64_t more)
{
    if (e->c->show.json) {
        buf_addf(out, "{\"time\":%" PRId64 ",\"counter\":\"%s\",\"more\":%"
                 PRIu64 "}\n", clock_wall_ms(), l->name, more);
        return;
    }
    show_time(out, clock_wall_ms());
    buf_addf(out, "  %s +%" PRIu64 ": %s\n", l->name, more, l->why);
}

static void look_again(void *ctx)
{
    struct examination *e = ctx;
    struct doctor_loss now[DOCTOR_LOSSES];
    struct buf out = BUF_INIT;

    doctor_losses("", now);
    for (size_t i = 0; i < DOCTOR_LOSSES; i++)
        if (now[i].known && now[i].count > e->losses[i].count) {
            e->lost += now[i].count - e->losses[i].count;
            put_growth(&out, e, &now[i], now[i].count - e->losses[i].count);
        }
    memcpy(e->losses, now, sizeof now);
    e->done |= show_out(&out) < 0;
    buf_fini(&out);
    loop_timer_set(&e->tick, e->every);
}

static void on_signal(void *ctx)
{
    struct examination *e = ctx;

    e->done = true;
}

/* Before anything is printed: who reads that may interrupt us. */
static int watch_start(struct examination *e)
{
    struct loop **loop = &e->c->loop;
    int rc = *loop ? 0 : loop_new(loop);

    if (rc == 0)
        rc = loop_signal_start(&e->interrupt, *loop, SIGINT, on_signal, e);
    if (rc == 0)
        rc = loop_signal_start(&e->terminate, *loop, SIGTERM, on_signal, e);
    if (rc < 0)
        return ctl_fail(e->c, EXIT_FAILED, "%s", err_text(rc));
    loop_timer_init(&e->tick, *loop, look_again, e);
    loop_timer_set(&e->tick, e->every);
    return EXIT_DONE;
}

static void watch_stop(struct examination *e)
{
    loop_timer_stop(&e->tick);
    loop_signal_stop(&e->interrupt);
    loop_signal_stop(&e->terminate);
}

static int examine(struct examination *e)
{
    int code = find_processes(e);

    if (code != EXIT_DONE)
        return code;
    e->low = doctor_look(&e->doctor);
    doctor_losses("", e->losses);
    if (e->every)
        code = watch_start(e);
    if (code == EXIT_DONE)
        code = print(e);
    if (code == EXIT_DONE && e->every)
        code = ctl_wait(e->c, &e->done); /* until Ctrl-C */
    if (e->every)
        watch_stop(e);
    doctor_fini(&e->doctor);
    return code == EXIT_DONE && (e->low || e->lost) ? EXIT_FAILED : code;
}

int verb_doctor(struct ctl *c)
{
    static struct examination e; /* large, and there is one */
    const struct ctl_amount connections = {
        "for", c->opt.span, "10K", 1, 100 * 1000 * 1000 };
    const struct ctl_amount every = {
        "every", c->opt.every, "0", 100 * MILLISECOND, HOUR };
    int code;

    e = (struct examination){ .c = c, .doctor = { .root = "" } };
    code = ctl_count(c, &connections, &e.doctor.connections);
    if (code == EXIT_DONE && c->opt.every)
        code = ctl_duration(c, &every, &e.every);
    return code == EXIT_DONE ? examine(&e) : code;
}
