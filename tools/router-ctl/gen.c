/* gen.c - the verb `gen`: publications at an exact rate.
 *
 * Each has a moment at which it is due (gen_plan.h). It is sent then, or as soon
 * after as can be; the time until its acknowledgement is counted from the moment
 * it was due, not from when it was sent. So a router that stops answering for a
 * second makes a second's worth of late messages, as it would for real
 * publishers. How late the generator itself was stands in the report beside it.
 *
 * What is published has a mark (proto/mark.h): its number within its channel,
 * and when it was due; touchline-flood reads it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/histogram.h"
#include "proto/id.h"
#include "proto/mark.h"
#include "proto/report.h"
#include "tools/router-ctl/ctl.h"
#include "tools/router-ctl/gen_plan.h"
#include "tools/router-ctl/progress.h"
#include "tools/router-ctl/schedule.h"

enum {
    LINKS_MAX = 64,
    UNANSWERED_MAX = 65536, /* of all links; more wait where they are due */
    TURN_MOST = 512,        /* sent in one turn: answers are read in between */
    CUP_MAX = 64 * 1024 * 1024,
};
#define LATE_NS (10 * MILLISECOND) /* then the generator says so */

/* A publication under way. */
struct shot {
    struct gen *gen;
    int64_t due_ns;
};

struct second { /* what a row of the file counts */
    uint64_t sent, acknowledged, refused, lost;
};

struct gen {
    struct ctl *c;
    struct gen_plan plan;
    struct gen_ids ids;
    uint64_t *numbers; /* of each id: its last one */
    int64_t *moments;  /* of the match */
    size_t size;
    struct peer *links[LINKS_MAX];
    size_t link_count;

    int64_t begun_ns, begun_us; /* monotonic, and by the machine's clock */
    int64_t stopped_ns;         /* the last one was sent; 0: not yet */
    uint64_t next;              /* message */
    size_t unanswered;
    struct second all, now;
    uint64_t late; /* sent LATE_NS behind their moment or more */
    struct histogram *latency, *lateness, *before, *row; /* us; row: scratch */
    char refusal[200]; /* the first one */
    struct buf text;

    FILE *csv;
    int timer_fd;
    struct loop_fd timer;
    struct loop_timer tick;
    struct loop_signal interrupt, terminate;
    struct progress progress;
    bool stopping, done;
    int rc;
};

/* ---- sending ------------------------------------------------------------- */

static bool finished(const struct gen *g)
{
    return g->stopping || g->rc < 0 || g->next == g->plan.count;
}

static void note_answer(struct gen *g, const struct frame_published *f)
{
    if (f->status <= PUBLISHED_DUPLICATE) {
        g->now.acknowledged++;
        return;
    }
    if (f->status == PUBLISHED_UNKNOWN)
        g->now.lost++;
    else
        g->now.refused++;
    if (!g->refusal[0])
        snprintf(g->refusal, sizeof g->refusal, SLICE_FMT ": " SLICE_FMT,
                 SLICE_ARG(f->code), SLICE_ARG(f->text));
}

static void pump(struct gen *g);

static void on_published(void *ctx, const struct frame_published *f)
{
    struct shot *s = ctx;
    struct gen *g = s->gen;
    bool was_full = g->unanswered == UNANSWERED_MAX;

    note_answer(g, f);
    if (f->status <= PUBLISHED_DUPLICATE)
        histogram_record(g->latency, (clock_ns() - s->due_ns) / MICROSECOND);
    free(s);
    g->unanswered--;
    if (was_full)
        pump(g);
    g->done |= finished(g) && g->unanswered == 0;
}

/* The mark first, then as much as is asked for. */
static void make_text(struct gen *g, uint64_t id, int64_t due_ns)
{
    static const char filler[] = " the quick brown fox jumps over it and";

    buf_reset(&g->text);
    mark_add(&g->text, (struct mark){
        .number = ++g->numbers[id],
        .t_us = g->begun_us + (due_ns - g->begun_ns) / MICROSECOND });
    while (g->text.len < g->size)
        buf_add(&g->text, slice_make(filler, MIN(sizeof filler - 1,
                                                 g->size - g->text.len)));
}

static int send_one(struct gen *g, int64_t due_ns)
{
    uint64_t id = gen_ids_next(&g->ids);
    char channel[ID_MAX + 1];
    struct frame_publish f = { .format = MSG_TEXT };
    struct shot *s = malloc(sizeof *s);
    int len, rc;

    if (!s)
        return ERR_NOMEM;
    *s = (struct shot){ g, due_ns };
    len = g->ids.count > 1
        ? snprintf(channel, sizeof channel, "%s/%" PRIu64, g->c->args[0],
                   id + 1)
        : snprintf(channel, sizeof channel, "%s", g->c->args[0]);
    make_text(g, id, due_ns);
    f.id = slice_make(channel, (size_t)len);
    f.data = buf_slice(&g->text);
    rc = g->text.failed
        ? ERR_NOMEM
        : peer_publish(g->links[id % g->link_count], &f, on_published, s);
    if (rc < 0)
        free(s);
    return rc;
}

static void set_timer(struct gen *g, int64_t at_ns)
{
    const struct itimerspec t = {
        .it_value = { .tv_sec = at_ns / SECOND, .tv_nsec = at_ns % SECOND },
    };

    if (timerfd_settime(g->timer_fd, TFD_TIMER_ABSTIME, &t, NULL) < 0)
        g->rc = ERR_IO;
}

/* Sends what is due. */
static void pump(struct gen *g)
{
    unsigned sent = 0;

    while (!finished(g) && g->unanswered < UNANSWERED_MAX) {
        int64_t due = g->begun_ns + gen_due(&g->plan, g->next);
        int64_t now = clock_ns();

        if (due > now || sent == TURN_MOST) {
            set_timer(g, MAX(due, 1)); /* in the past: at once */
            return;
        }
        g->rc = send_one(g, due);
        if (g->rc < 0)
            break;
        g->next++;
        g->unanswered++;
        g->now.sent++;
        sent++;
        g->late += now - due >= LATE_NS;
        histogram_record(g->lateness, (now - due) / MICROSECOND);
    }
    if (finished(g) && !g->stopped_ns)
        g->stopped_ns = clock_ns();
    g->done |= finished(g) && g->unanswered == 0;
}

static void on_timer(void *ctx, unsigned ready)
{
    struct gen *g = ctx;
    uint64_t times;

    UNUSED(ready);
    (void)!read(g->timer_fd, &times, sizeof times);
    pump(g);
}

static void on_signal(void *ctx)
{
    struct gen *g = ctx;

    g->stopping = true;
    pump(g);
}

/* ---- each second ---------------------------------------------------------- */

static void add_up(struct gen *g)
{
    g->all.sent += g->now.sent;
    g->all.acknowledged += g->now.acknowledged;
    g->all.refused += g->now.refused;
    g->all.lost += g->now.lost;
}

static void write_row(struct gen *g)
{
    const struct histogram *h = g->row;
    const struct second *n = &g->now;

    if (!g->csv)
        return;
    memcpy((void *)g->row, (const void *)g->latency, sizeof *g->row);
    histogram_subtract(g->row, g->before);
    memcpy((void *)g->before, (const void *)g->latency, sizeof *g->before);
    fprintf(g->csv, "%" PRId64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
            ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
            clock_wall_ms() / 1000, n->sent, n->acknowledged, n->refused,
            n->lost, histogram_quantile(h, 0.5), histogram_quantile(h, 0.9),
            histogram_quantile(h, 0.99), histogram_quantile(h, 0.999),
            histogram_max(h));
    fflush(g->csv);
}

static void each_second(void *ctx)
{
    struct gen *g = ctx;
    char detail[80];

    write_row(g);
    add_up(g);
    snprintf(detail, sizeof detail, "%" PRIu64 "/s, %zu unanswered",
             g->now.sent, g->unanswered);
    g->now = (struct second){ .sent = 0 };
    progress_show(&g->progress, g->all.sent,
                  g->plan.count == UINT64_MAX ? 0 : g->plan.count, detail);
    loop_timer_set(&g->tick, SECOND);
}

/* ---- the report ------------------------------------------------------------ */

static void report_latency(struct buf *b, const struct histogram *h)
{
    report_number(b, "p50_us", histogram_quantile(h, 0.5));
    report_number(b, "p90_us", histogram_quantile(h, 0.9));
    report_number(b, "p99_us", histogram_quantile(h, 0.99));
    report_number(b, "p999_us", histogram_quantile(h, 0.999));
    report_number(b, "max_us", histogram_max(h));
}

static int print(struct gen *g)
{
    double seconds = (double)MAX(g->stopped_ns - g->begun_ns, MILLISECOND)
                     / (double)SECOND;
    struct buf b = BUF_INIT, out = BUF_INIT;
    int code = EXIT_DONE;

    report_part(&b, "gen");
    report_row(&b);
    report_number(&b, "sent", g->all.sent);
    report_number(&b, "acknowledged", g->all.acknowledged);
    report_number(&b, "refused", g->all.refused);
    report_number(&b, "unknown", g->all.lost);
    report_number(&b, "wanted_per_second", g->plan.rate);
    report_number(&b, "sent_per_second",
                  (uint64_t)((double)g->all.sent / seconds + 0.5));
    report_latency(&b, g->latency);
    report_number(&b, "late", g->late);
    report_number(&b, "late_p99_us", histogram_quantile(g->lateness, 0.99));
    report_number(&b, "late_max_us", histogram_max(g->lateness));
    report_row_end(&b);
    if (b.failed || show_report(&out, &g->c->show, buf_slice(&b)) < 0
        || show_out(&out) < 0)
        code = ctl_fail(g->c, EXIT_FAILED, "the report cannot be written");
    buf_fini(&b);
    buf_fini(&out);
    return code;
}

/* More than one of a hundred behind its moment: the figures are as much the
 * generator's as the router's. */
static int judge(const struct gen *g)
{
    if (g->late * 100 > g->all.sent)
        (void)ctl_fail(g->c, EXIT_DONE, "this generator was late: %" PRIu64
                       " of %" PRIu64 " messages were sent 10 ms or more "
                       "behind their moment, at most %" PRIu64 " ms; what they "
                       "took counts from the moment", g->late, g->all.sent,
                       histogram_max(g->lateness) / 1000);
    if (g->all.refused || g->all.lost)
        return ctl_fail(g->c, EXIT_FAILED, "%" PRIu64 " refused, %" PRIu64
                        " unknown; the first: %s", g->all.refused,
                        g->all.lost, g->refusal);
    return EXIT_DONE;
}

/* ---- options --------------------------------------------------------------- */

static int read_shape(struct gen *g, double *skew)
{
    static const char *const words[] = { "uniform", "burst", "match", "zipf" };
    const char *shape = g->c->opt.shape ? g->c->opt.shape : "uniform";
    size_t i = 0;
    char *end;

    while (i < ARRAY_LEN(words) && strcmp(shape, words[i]) != 0)
        i++;
    if (i == ARRAY_LEN(words))
        return ctl_usage(g->c, "--shape is uniform, zipf, burst or match, not "
                         "%s", shape);
    g->plan.shape = i < 3 ? (enum gen_shape)i : GEN_UNIFORM;
    *skew = i == 3 ? 1 : 0;
    if (!g->c->opt.skew)
        return EXIT_DONE;
    *skew = strtod(g->c->opt.skew, &end);
    if (*end || end == g->c->opt.skew || !(*skew > 0 && *skew <= 10))
        return ctl_usage(g->c, "--skew is a number above 0, up to 10");
    return EXIT_DONE;
}

static int read_numbers(struct gen *g, uint64_t *ids, uint64_t *links)
{
    const struct ctl_options *o = &g->c->opt;
    const struct {
        struct ctl_amount a;
        uint64_t *to;
    } rows[] = {
        { { "rate", o->rate, "1000", 1, 10000000 }, &g->plan.rate },
        { { "ids", o->ids, "1", 1, 10000000 }, ids },
        { { "burst", o->burst, "100", 1, 1000000 }, &g->plan.burst },
        { { "connections", o->connections, "1", 1, LINKS_MAX }, links },
    };
    const struct ctl_amount span = { "for", o->span, "0", SECOND, 1000 * DAY };
    const struct ctl_amount size = { "size", o->size, "100", MARK_MAX,
                                     1024 * 1024 };
    const struct ctl_amount count = { "count", o->count, "0", 1, INT64_MAX };
    int code = EXIT_DONE;
    uint64_t bytes = 0;

    for (size_t i = 0; code == EXIT_DONE && i < ARRAY_LEN(rows); i++)
        code = ctl_count(g->c, &rows[i].a, rows[i].to);
    if (code == EXIT_DONE)
        code = ctl_count(g->c, &size, &bytes);
    g->size = (size_t)bytes;
    g->plan.count = UINT64_MAX;
    if (code == EXIT_DONE && o->count)
        code = ctl_count(g->c, &count, &g->plan.count);
    if (code == EXIT_DONE && o->span)
        code = ctl_duration(g->c, &span, &g->plan.span_ns);
    if (code == EXIT_DONE && o->span && !o->count)
        g->plan.count = (uint64_t)((unsigned __int128)g->plan.rate
                                   * (uint64_t)g->plan.span_ns / SECOND);
    return code;
}

/* The moments of a match's events, the first one at 0. */
static int take_moments(struct gen *g, const struct cup *cup)
{
    const struct ctl_amount which = { "match", g->c->opt.match, "1", 1,
                                      MAX(cup->match_count, 1) };
    struct schedule s = { .count = 0 };
    uint64_t n = 1;
    int code = ctl_count(g->c, &which, &n);

    if (code != EXIT_DONE)
        return code;
    if (cup->match_count == 0
        || schedule_make(&s, cup, &cup->matches[n - 1]) < 0
        || !(g->moments = calloc(s.count + 1, sizeof *g->moments)))
        code = ctl_fail(g->c, EXIT_FAILED, "%s: no match can be made of it",
                        g->c->opt.file);
    else if (s.count == 0)
        code = ctl_fail(g->c, EXIT_FAILED, "%s: match %" PRIu64 " has not "
                        "been played", g->c->opt.file, n);
    for (size_t i = 0; code == EXIT_DONE && i < s.count; i++)
        g->moments[i] = s.events[i].at_ms - s.events[0].at_ms;
    g->plan.moments = g->moments;
    g->plan.moment_count = s.count;
    schedule_fini(&s);
    return code;
}

static int read_match(struct gen *g)
{
    char why[CUP_WHY_MAX] = "out of memory";
    struct buf text = BUF_INIT;
    struct cup *cup = NULL;
    int code = EXIT_DONE;

    if (g->plan.shape != GEN_MATCH)
        return EXIT_DONE;
    if (!g->c->opt.file || !g->c->opt.span)
        return ctl_usage(g->c, "--shape match needs --file, and --for: how "
                         "long the match is to be");
    code = ctl_read_file(g->c, g->c->opt.file, CUP_MAX, &text);
    if (code == EXIT_DONE && cup_read(&cup, buf_slice(&text), why) < 0)
        code = ctl_fail(g->c, EXIT_FAILED, "%s: %s", g->c->opt.file, why);
    if (code == EXIT_DONE)
        code = take_moments(g, cup);
    cup_free(cup);
    buf_fini(&text);
    return code;
}

/* ---- life ------------------------------------------------------------------ */

static int open_csv(struct gen *g)
{
    if (!g->c->opt.csv)
        return EXIT_DONE;
    g->csv = fopen(g->c->opt.csv, "we");
    if (!g->csv)
        return ctl_fail(g->c, EXIT_FAILED, "%s: %s", g->c->opt.csv,
                        strerror(errno));
    fputs("time,sent,acknowledged,refused,unknown,p50_us,p90_us,p99_us,"
          "p999_us,max_us\n", g->csv);
    return EXIT_DONE;
}

/* The first link is the verb's own, which ctl_run() closes. */
static int open_links(struct gen *g, uint64_t wanted)
{
    int code = EXIT_DONE;

    while (code == EXIT_DONE && g->link_count < wanted) {
        g->c->peer = NULL;
        code = ctl_reach(g->c);
        if (code == EXIT_DONE)
            g->links[g->link_count++] = g->c->peer;
        if (code == EXIT_DONE && g->link_count == 1)
            code = ctl_confirm(g->c);
    }
    if (g->link_count)
        g->c->peer = g->links[0];
    return code;
}

static int prepare(struct gen *g, uint64_t ids)
{
    struct histogram **h[] = { &g->latency, &g->lateness, &g->before,
                               &g->row };
    bool good = true;

    for (size_t i = 0; i < ARRAY_LEN(h); i++)
        good &= (*h[i] = calloc(1, sizeof **h[i])) != NULL;
    g->numbers = calloc(ids, sizeof *g->numbers);
    if (!good || !g->numbers)
        return ctl_fail(g->c, EXIT_FAILED, "out of memory");
    return EXIT_DONE;
}

static int start(struct gen *g)
{
    struct loop *l = g->c->loop;
    int rc = loop_signal_start(&g->interrupt, l, SIGINT, on_signal, g);

    if (rc == 0)
        rc = loop_signal_start(&g->terminate, l, SIGTERM, on_signal, g);
    g->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (rc == 0)
        rc = g->timer_fd < 0 ? ERR_IO
                             : loop_fd_start(&g->timer, l, g->timer_fd,
                                             LOOP_READ, on_timer, g);
    if (rc < 0)
        return ctl_fail(g->c, EXIT_FAILED, "%s", err_text(rc));
    loop_timer_init(&g->tick, l, each_second, g);
    loop_timer_set(&g->tick, SECOND);
    progress_begin(&g->progress, "generating");
    g->begun_ns = clock_ns();
    g->begun_us = mark_now_us();
    pump(g);
    return EXIT_DONE;
}

static int run(struct gen *g)
{
    int code = start(g);

    if (code == EXIT_DONE)
        code = ctl_wait(g->c, &g->done);
    progress_end(&g->progress);
    if (code == EXIT_DONE && g->rc < 0)
        code = ctl_fail(g->c, EXIT_FAILED, "%s", err_text(g->rc));
    if (code != EXIT_DONE)
        return code;
    write_row(g);
    add_up(g);
    code = print(g);
    return code == EXIT_DONE ? judge(g) : code;
}

static void end(struct gen *g)
{
    loop_timer_stop(&g->tick);
    loop_fd_stop(&g->timer);
    loop_signal_stop(&g->interrupt);
    loop_signal_stop(&g->terminate);
    if (g->timer_fd >= 0)
        close(g->timer_fd);
    for (size_t i = 1; i < g->link_count; i++)
        peer_close(g->links[i]);
    if (g->csv)
        fclose(g->csv);
    free(g->latency);
    free(g->lateness);
    free(g->before);
    free(g->row);
    free(g->numbers);
    free(g->moments);
    buf_fini(&g->text);
}

int verb_gen(struct ctl *c)
{
    struct gen g = { .c = c, .timer_fd = -1 };
    uint64_t ids = 1, links = 1;
    double skew = 0;
    int code = ctl_is_id(c, c->args[0], false) ? EXIT_DONE : EXIT_USAGE;

    if (code == EXIT_DONE)
        code = read_shape(&g, &skew);
    if (code == EXIT_DONE)
        code = read_numbers(&g, &ids, &links);
    if (code == EXIT_DONE)
        code = read_match(&g);
    if (code == EXIT_DONE)
        code = prepare(&g, ids);
    if (code == EXIT_DONE)
        code = open_csv(&g);
    if (code == EXIT_DONE)
        code = open_links(&g, links);
    if (code == EXIT_DONE) {
        gen_ids_init(&g.ids, ids, skew, 1);
        code = run(&g);
    }
    end(&g);
    return code;
}
