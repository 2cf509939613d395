/* sample.c - the verb `sample`: a census (census.h) every so often, as rows of
 * a CSV file: one for each process and one, "all", for their sums.
 *
 * A row is written when it is complete, so a file that is being written can be
 * plotted. A moment in which the router does not answer has no rows. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "tools/router-ctl/census.h"
#include "tools/router-ctl/progress.h"

struct sampler {
    struct ctl *c;
    FILE *out;
    bool to_stdout, compared, hidden;
    int64_t every, span; /* span 0: until a signal */
    int64_t begun_ns;
    uint64_t moments;    /* taken, or missed */
    struct census last;
    struct loop_timer tick;
    struct loop_signal interrupt, terminate;
    struct progress progress;
    bool due, done;
};

/* ---- the file ------------------------------------------------------------ */

static void put_header(struct buf *b)
{
    buf_add_str(b, "time,process,pid,private,pss,rss,cpu");
    for (size_t i = 0; i < CENSUS_COUNT; i++)
        buf_addf(b, ",%s", census_columns[i]);
    buf_add_byte(b, '\n');
}

/* A file of an earlier run is continued, another one left alone. */
static int check_old(const struct sampler *s, const char *path,
                     struct slice header)
{
    struct buf first = BUF_INIT;
    FILE *f = fopen(path, "re");
    int c, code = EXIT_DONE;

    if (!f)
        return errno == ENOENT ? EXIT_DONE
                               : ctl_fail(s->c, EXIT_FAILED, "%s: %s", path,
                                          strerror(errno));
    while (first.len <= header.len && (c = getc(f)) != EOF)
        buf_add_byte(&first, (uint8_t)c);
    fclose(f);
    if (first.len && !slice_starts(buf_slice(&first), header))
        code = ctl_fail(s->c, EXIT_REFUSED, "%s is there, and no file of "
                        "`sample`", path);
    buf_fini(&first);
    return code;
}

static int open_file(struct sampler *s, const char *path)
{
    struct buf header = BUF_INIT;
    int code = EXIT_DONE;

    put_header(&header);
    s->to_stdout = strcmp(path, "-") == 0;
    if (s->to_stdout)
        s->out = stdout;
    else if ((code = check_old(s, path, buf_slice(&header))) == EXIT_DONE) {
        s->out = fopen(path, "ae");
        if (!s->out)
            code = ctl_fail(s->c, EXIT_FAILED, "%s: %s", path,
                            strerror(errno));
    }
    if (code == EXIT_DONE && (s->to_stdout || ftello(s->out) == 0))
        fwrite(header.ptr, 1, header.len, s->out);
    if (code == EXIT_DONE && (fflush(s->out) != 0 || header.failed))
        code = ctl_fail(s->c, EXIT_FAILED, "%s: %s", path, strerror(errno));
    buf_fini(&header);
    return code;
}

static void put_row(struct buf *b, const struct sampler *s,
                    const struct census *now, const struct census_process *p)
{
    buf_addf(b, "%" PRId64 ".%03d,%s,", now->time_ms / 1000,
             (int)(now->time_ms % 1000), p->name);
    if (p->pid)
        buf_addf(b, "%" PRIu32, p->pid);
    if (p->local)
        buf_addf(b, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64, p->memory.private,
                 p->memory.pss, p->memory.rss);
    else
        buf_add_str(b, ",,,");
    buf_add_byte(b, ',');
    if (s->compared && p->local)
        buf_addf(b, "%.4f", p->cpu);
    for (size_t i = 0; i < CENSUS_COUNT; i++) {
        buf_add_byte(b, ',');
        if (!census_is_rate[i])
            buf_addf(b, "%" PRIu64, p->figures[i]);
        else if (s->compared)
            buf_addf(b, "%.1f", p->rates[i]);
    }
    buf_add_byte(b, '\n');
}

static int write_rows(struct sampler *s, const struct census *now)
{
    struct buf b = BUF_INIT;
    int code = EXIT_DONE;

    for (size_t i = 0; i < now->count; i++)
        put_row(&b, s, now, &now->list[i]);
    put_row(&b, s, now, &now->all);
    if (b.failed || fwrite(b.ptr, 1, b.len, s->out) != b.len
        || fflush(s->out) != 0)
        code = ctl_fail(s->c, EXIT_FAILED, "the rows cannot be written: %s",
                        b.failed ? "out of memory" : strerror(errno));
    buf_fini(&b);
    return code;
}

/* ---- looking ------------------------------------------------------------- */

static void say_hidden(struct sampler *s, const struct census *now)
{
    if (s->hidden || now->all.memory.exact)
        return;
    s->hidden = true;
    (void)ctl_fail(s->c, EXIT_DONE, "smaps_rollup is not for us to read: "
                   "private is the resident anonymous memory; as root it is "
                   "exact");
}

static int look(struct sampler *s)
{
    struct census now = CENSUS_EMPTY;
    int code = census_ask(s->c, &now);

    if (code == EXIT_NO_ROUTER)
        return EXIT_DONE; /* it has been said; the next moment may be better */
    if (code != EXIT_DONE)
        return code;
    say_hidden(s, &now);
    s->compared = s->last.count > 0;
    if (s->compared)
        census_compare(&now, &s->last);
    code = write_rows(s, &now);
    census_fini(&s->last);
    s->last = now;
    return code;
}

static void on_tick(void *ctx)
{
    struct sampler *s = ctx;

    s->due = true;
}

static void on_signal(void *ctx)
{
    struct sampler *s = ctx;

    s->due = s->done = true;
}

/* On the beat of the beginning, whatever a look takes. */
static void set_next(struct sampler *s)
{
    int64_t now = clock_ns();
    int64_t beats = (now - s->begun_ns) / s->every + 1;
    int64_t next = s->begun_ns + beats * s->every;

    s->due = false;
    if (s->span && next > s->begun_ns + s->span)
        s->done = true;
    loop_timer_set_at(&s->tick, next);
}

static int run(struct sampler *s)
{
    struct loop *l = s->c->loop;
    int rc = loop_signal_start(&s->interrupt, l, SIGINT, on_signal, s);
    int code = EXIT_DONE;

    if (rc == 0)
        rc = loop_signal_start(&s->terminate, l, SIGTERM, on_signal, s);
    if (rc < 0)
        return ctl_fail(s->c, EXIT_FAILED, "%s", err_text(rc));
    loop_timer_init(&s->tick, l, on_tick, s);
    progress_begin(&s->progress, "sampling");
    s->begun_ns = clock_ns();
    while (code == EXIT_DONE && !s->done) {
        code = look(s);
        if (s->done)
            break;
        set_next(s);
        progress_show(&s->progress,
                      (uint64_t)(clock_ns() - s->begun_ns) / SECOND,
                      (uint64_t)(s->span / SECOND), "");
        if (code == EXIT_DONE && !s->done)
            code = ctl_wait(s->c, &s->due);
    }
    progress_end(&s->progress);
    return code;
}

int verb_sample(struct ctl *c)
{
    struct sampler s = { .c = c, .last = CENSUS_EMPTY };
    const struct ctl_amount every = {
        "every", c->opt.every, "5", SECOND, DAY };
    const struct ctl_amount span = {
        "for", c->opt.span, "0", SECOND, 1000 * DAY };
    int code = ctl_duration(c, &every, &s.every);

    if (code == EXIT_DONE && c->opt.span)
        code = ctl_duration(c, &span, &s.span);
    if (code == EXIT_DONE)
        code = ctl_reach(c);
    if (code == EXIT_DONE)
        code = open_file(&s, c->args[0]);
    if (code == EXIT_DONE)
        code = run(&s);
    loop_timer_stop(&s.tick);
    loop_signal_stop(&s.interrupt);
    loop_signal_stop(&s.terminate);
    if (s.out && !s.to_stdout && fclose(s.out) != 0 && code == EXIT_DONE)
        code = ctl_fail(c, EXIT_FAILED, "%s: %s", c->args[0],
                        strerror(errno));
    census_fini(&s.last);
    return code;
}
