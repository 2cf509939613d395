/* top.c - the verb `top`: a census (census.h) every so often, on a screen where
 * there is one, else one frame after the other.
 *
 * Nothing waits here: questions are asked with the beat, their answers make the
 * frame, and keys are heard in between. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/report.h"
#include "tools/router-ctl/census.h"
#include "tools/router-ctl/screen.h"

static const char *const questions[] = { "status", "stats", "gateways" };
enum { STATUS, STATS, GATEWAYS, QUESTIONS };

struct top {
    struct ctl *c;
    bool live; /* on a screen */
    int64_t every, span, begun_ns;
    struct buf answers[QUESTIONS];
    unsigned asked, good; /* of this round; good: answered well */
    bool asking;
    struct census last;
    struct buf frame; /* as it was shown last */
    int64_t framed_ns;
    struct loop_timer tick;
    struct loop_fd keys;
    struct loop_signal interrupt, terminate, resized;
    bool done;
    int code;
};

static void finish(struct top *t, int code)
{
    t->code = code;
    t->done = true;
}

/* ---- the frame ------------------------------------------------------------ */

static void put_size(struct buf *b, double bytes)
{
    static const char units[] = "BKMGT";
    unsigned i = 0;

    while (bytes >= 9999.5 && i + 2 < sizeof units) {
        bytes /= 1024;
        i++;
    }
    buf_addf(b, " %7.0f%c", bytes, units[i]);
}

static void put_head(struct buf *b, const struct top *t,
                     const struct census *now)
{
    struct slice status = buf_slice(&t->answers[STATUS]);
    struct slice state = show_field(status, "state");
    struct slice why = show_field(status, "why");
    const struct census_process *all = &now->all;

    show_toned(b, &t->c->show,
               slice_eq(state, SLICE("OK")) ? TONE_GOOD : TONE_BAD, state);
    if (why.len)
        buf_add_str(b, ": ");
    show_text(b, why);
    buf_add_str(b, "  ");
    show_time(b, now->time_ms);
    buf_addf(b, "\nconnections %" PRIu64 "  opened %.0f/s  closed %.0f/s  "
             "published %.0f/s  delivered %.0f/s  private %.1f MB%s\n\n",
             all->figures[CENSUS_CONNECTIONS], all->rates[CENSUS_OPENED],
             all->rates[CENSUS_CLOSED], all->rates[CENSUS_PUBLISHED],
             all->rates[CENSUS_DELIVERED],
             (double)all->memory.private / 1e6,
             all->memory.exact ? "" : " (resident; as root exact)");
}

static void put_process(struct buf *b, const struct census_process *p)
{
    buf_addf(b, "%-12.12s %8" PRIu32 " %5.1f%%", p->name, p->pid,
             p->cpu * 100);
    put_size(b, (double)p->memory.private);
    buf_addf(b, " %9" PRIu64 " %9.0f %9.0f %9.0f %9.0f",
             p->figures[CENSUS_CONNECTIONS], p->rates[CENSUS_OPENED],
             p->rates[CENSUS_PUBLISHED] + p->rates[CENSUS_RECEIVED],
             p->rates[CENSUS_DELIVERED], p->rates[CENSUS_SENDS]);
    put_size(b, p->rates[CENSUS_BYTES_OUT]);
    put_size(b, p->rates[CENSUS_QUEUED]);
    put_size(b, p->rates[CENSUS_RING]);
    buf_add_byte(b, '\n');
}

static void put_frame(struct buf *b, const struct top *t,
                      const struct census *now)
{
    put_head(b, t, now);
    show_tone(b, &t->c->show, TONE_BOLD);
    buf_addf(b, "%-12s %8s %6s %8s %9s %9s %9s %9s %9s %8s %8s %8s",
             "process", "pid", "cpu", "private", "clients", "opened/s",
             "in/s", "out/s", "sends/s", "bytes/s", "queued", "ring");
    show_tone(b, &t->c->show, TONE_PLAIN);
    buf_add_byte(b, '\n');
    for (size_t i = 0; i < now->count; i++)
        put_process(b, &now->list[i]);
}

static void report_frame(struct buf *b, const struct census *now)
{
    report_part(b, "top");
    for (size_t i = 0; i <= now->count; i++) {
        const struct census_process *p =
            i < now->count ? &now->list[i] : &now->all;

        report_row(b);
        report_number(b, "time", (uint64_t)now->time_ms);
        report_text(b, "process", slice_str(p->name));
        report_number(b, "pid", p->pid);
        report_number(b, "cpu_percent", (uint64_t)(p->cpu * 100 + 0.5));
        report_number(b, "private", p->memory.private);
        for (size_t k = 0; k < CENSUS_COUNT; k++)
            report_number(b, census_columns[k],
                          (uint64_t)(p->rates[k] + 0.5));
        report_row_end(b);
    }
}

/* The frame again, for a screen of another size, or when nobody answers. */
static void show_again(struct top *t, const char *word)
{
    struct buf b = BUF_INIT;

    if (!t->live)
        return;
    if (word) {
        show_toned(&b, &t->c->show, TONE_BAD, slice_str(word));
        buf_add_byte(&b, '\n');
    }
    buf_add(&b, buf_slice(&t->frame));
    buf_add_str(&b, "\nq ends, space looks at once");
    if (b.failed || screen_show(buf_slice(&b)) < 0)
        finish(t, EXIT_FAILED);
    buf_fini(&b);
}

static void show(struct top *t, const struct census *now)
{
    struct buf report = BUF_INIT;

    buf_reset(&t->frame);
    if (t->c->show.json) {
        report_frame(&report, now);
        (void)!report_to_json(&t->frame, buf_slice(&report));
        buf_add_byte(&t->frame, '\n');
        buf_fini(&report);
    } else {
        put_frame(&t->frame, t, now);
    }
    t->framed_ns = clock_ns();
    if (t->live) {
        show_again(t, NULL);
        return;
    }
    if (!t->c->show.json)
        buf_add_byte(&t->frame, '\n');
    if (show_out(&t->frame) < 0)
        finish(t, EXIT_FAILED);
}

/* ---- asking --------------------------------------------------------------- */

static void take_round(struct top *t)
{
    struct census now = CENSUS_EMPTY;

    census_take(&now, buf_slice(&t->answers[STATS]),
                buf_slice(&t->answers[GATEWAYS]));
    if (now.failed) {
        census_fini(&now);
        finish(t, EXIT_FAILED);
        return;
    }
    census_compare(&now, t->last.count ? &t->last : &now);
    show(t, &now);
    census_fini(&t->last);
    t->last = now;
}

static void on_answer(void *ctx, const struct frame_answer *f);

static void ask_next(struct top *t)
{
    if (t->asked == QUESTIONS) {
        t->asking = false;
        if (t->good == QUESTIONS)
            take_round(t);
        return;
    }
    buf_reset(&t->answers[t->asked]);
    if (peer_query(t->c->peer, questions[t->asked], SLICE(""), on_answer, t)
        < 0)
        finish(t, EXIT_FAILED);
}

static void on_answer(void *ctx, const struct frame_answer *f)
{
    struct top *t = ctx;
    struct buf *to = &t->answers[t->asked];

    buf_add(to, f->body);
    t->good += f->status == PUBLISHED_OK && !to->failed;
    t->asked++;
    ask_next(t);
}

static void look(struct top *t)
{
    if (t->asking)
        return;
    t->asking = true;
    t->asked = t->good = 0;
    ask_next(t);
}

/* ---- the beat, keys, signals ---------------------------------------------- */

static void on_tick(void *ctx)
{
    struct top *t = ctx;
    int64_t now = clock_ns();

    if (t->span && now - t->begun_ns > t->span) {
        finish(t, EXIT_DONE);
        return;
    }
    if (t->asking && now - t->framed_ns > 2 * t->every)
        show_again(t, "no answer from the router");
    look(t);
    loop_timer_set(&t->tick, t->every);
}

static void on_key(void *ctx, unsigned ready)
{
    struct top *t = ctx;
    char keys[16];
    ssize_t n = read(STDIN_FILENO, keys, sizeof keys);

    UNUSED(ready);
    if (n <= 0)
        finish(t, EXIT_DONE); /* the terminal has gone */
    for (ssize_t i = 0; i < n; i++)
        if (keys[i] == 'q' || keys[i] == 'Q')
            finish(t, EXIT_DONE);
        else if (keys[i] == ' ')
            look(t);
}

static void on_signal(void *ctx)
{
    finish(ctx, EXIT_DONE);
}

static void on_resize(void *ctx)
{
    show_again(ctx, NULL);
}

static int start(struct top *t)
{
    struct loop *l = t->c->loop;
    int rc = loop_signal_start(&t->interrupt, l, SIGINT, on_signal, t);

    if (rc == 0)
        rc = loop_signal_start(&t->terminate, l, SIGTERM, on_signal, t);
    if (rc == 0 && t->live)
        rc = loop_signal_start(&t->resized, l, SIGWINCH, on_resize, t);
    if (rc == 0 && t->live)
        rc = screen_begin();
    if (rc == 0 && t->live)
        rc = loop_fd_start(&t->keys, l, STDIN_FILENO, LOOP_READ, on_key, t);
    if (rc < 0) {
        screen_end();
        return ctl_fail(t->c, EXIT_FAILED, "%s", err_text(rc));
    }
    loop_timer_init(&t->tick, l, on_tick, t);
    loop_timer_set(&t->tick, t->every);
    t->begun_ns = t->framed_ns = clock_ns();
    look(t);
    return EXIT_DONE;
}

static void end(struct top *t)
{
    screen_end();
    loop_timer_stop(&t->tick);
    loop_fd_stop(&t->keys);
    loop_signal_stop(&t->interrupt);
    loop_signal_stop(&t->terminate);
    loop_signal_stop(&t->resized);
    for (size_t i = 0; i < QUESTIONS; i++)
        buf_fini(&t->answers[i]);
    buf_fini(&t->frame);
    census_fini(&t->last);
}

int verb_top(struct ctl *c)
{
    struct top t = { .c = c, .last = CENSUS_EMPTY };
    const struct ctl_amount every = { "every", c->opt.every, "2", SECOND,
                                      HOUR };
    const struct ctl_amount span = { "for", c->opt.span, "0", SECOND,
                                     1000 * DAY };
    int code = ctl_duration(c, &every, &t.every);

    if (code == EXIT_DONE && c->opt.span)
        code = ctl_duration(c, &span, &t.span);
    if (code == EXIT_DONE)
        code = ctl_reach(c);
    t.live = screen_possible() && !c->show.json;
    if (code == EXIT_DONE)
        code = start(&t);
    if (code == EXIT_DONE)
        code = ctl_wait(c, &t.done);
    end(&t);
    return code == EXIT_DONE ? t.code : code;
}
