/* replay.c - plays the matches of an openfootball file as if live. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "tools/router-ctl/fixture.h"
#include "tools/router-ctl/progress.h"

enum {
    FILE_MAX = 64 * 1024 * 1024,
    AT_ONCE = 512,       /* events without an answer */
    SPEED_DEFAULT = 60,
    SPEED_MOST = 1000000
};
#define TICK (100 * MILLISECOND)

/* An event of a fixture under way. */
struct sent {
    struct player *player;
    struct fixture *fixture;
    const struct event *event;
};

struct player {
    struct ctl *ctl;
    struct fixtures fixtures;
    double speed; /* 0: no waiting */
    int64_t begun_ns, last_ms;
    size_t events, answered, under_way;
    struct loop_timer next, tick;
    struct loop_signal interrupt, terminate;
    struct progress progress;
    bool stopped; /* by a signal */
    bool done;
    int rc;
};

/* ---- sending ----------------------------------------------------------- */

static void pump(void *ctx);

static void on_published(void *ctx, const struct frame_published *f)
{
    struct sent *s = ctx;
    struct player *p = s->player;

    p->under_way--;
    p->answered++;
    if (f->status > PUBLISHED_DUPLICATE)
        fixture_trouble(s->fixture, "%s was refused: " SLICE_FMT,
                        s->event->kind, SLICE_ARG(f->text));
    free(s);
    pump(p);
}

static int send_event(struct player *p, struct fixture *f,
                      const struct event *e)
{
    char id[FIXTURE_ID_MAX + 8];
    struct frame_publish frame = {
        .format = MSG_JSON,
        .kind = slice_str(e->kind),
        .data = schedule_data(&f->schedule, e),
    };
    struct sent *s = malloc(sizeof *s);
    int rc;

    if (!s)
        return ERR_NOMEM;
    *s = (struct sent){ p, f, e };
    snprintf(id, sizeof id, "match/%s", f->id);
    frame.id = slice_str(id);
    rc = peer_publish(p->ctl->peer, &frame, on_published, s);
    if (rc < 0)
        free(s);
    else
        p->under_way++;
    return rc;
}

/* When an event is due, on clock_ns(). */
static int64_t due_ns(const struct player *p, const struct event *e)
{
    if (p->speed == 0)
        return p->begun_ns;
    return p->begun_ns
           + (int64_t)((double)e->at_ms * (double)MILLISECOND / p->speed);
}

/* The event that comes next, of all matches; NULL: there is none. A match in
 * trouble is given up. */
static struct fixture *next_fixture(struct player *p)
{
    struct fixture *best = NULL;

    for (size_t i = 0; i < p->fixtures.count; i++) {
        struct fixture *f = &p->fixtures.list[i];

        if (f->next == f->schedule.count || f->trouble)
            continue;
        if (!best || f->schedule.events[f->next].at_ms
                     < best->schedule.events[best->next].at_ms)
            best = f;
    }
    return best;
}

/* Sends what is due. */
static void pump(void *ctx)
{
    struct player *p = ctx;
    struct fixture *f;

    while (!p->stopped && p->rc == 0 && p->under_way < AT_ONCE
           && (f = next_fixture(p))) {
        const struct event *e = &f->schedule.events[f->next];
        int64_t due = due_ns(p, e);

        if (due > clock_ns()) {
            loop_timer_set_at(&p->next, due);
            return;
        }
        f->next++;
        p->rc = send_event(p, f, e);
    }
    p->done = p->under_way == 0
              && (p->stopped || p->rc < 0 || !next_fixture(p));
}

/* ---- watching ---------------------------------------------------------- */

static void tick(void *ctx)
{
    struct player *p = ctx;
    char detail[64] = "";
    int64_t at_ms = p->last_ms;

    if (p->speed != 0) {
        at_ms = (int64_t)((double)(clock_ns() - p->begun_ns)
                          / (double)MILLISECOND * p->speed);
        at_ms = MIN(at_ms, p->last_ms);
        snprintf(detail, sizeof detail, "minute %lld of %lld, ",
                 (long long)at_ms / 60000, (long long)p->last_ms / 60000);
    }
    snprintf(detail + strlen(detail), sizeof detail - strlen(detail),
             "%zu of %zu events", p->answered, p->events);
    if (p->speed != 0)
        progress_show(&p->progress, (uint64_t)at_ms, (uint64_t)p->last_ms,
                      detail);
    else
        progress_show(&p->progress, p->answered, p->events, detail);
    loop_timer_set(&p->tick, TICK);
}

static void on_signal(void *ctx)
{
    struct player *p = ctx;

    p->stopped = true;
    loop_timer_stop(&p->next);
    pump(p);
}

static void measure(struct player *p)
{
    for (size_t i = 0; i < p->fixtures.count; i++) {
        const struct schedule *s = &p->fixtures.list[i].schedule;

        p->events += s->count;
        if (s->count)
            p->last_ms = MAX(p->last_ms, s->events[s->count - 1].at_ms);
    }
}

static int play(struct player *p)
{
    struct loop *l = p->ctl->loop;
    int rc = loop_signal_start(&p->interrupt, l, SIGINT, on_signal, p), code;

    if (rc == 0)
        rc = loop_signal_start(&p->terminate, l, SIGTERM, on_signal, p);
    if (rc < 0)
        return ctl_fail(p->ctl, EXIT_FAILED, "%s", err_text(rc));
    measure(p);
    progress_begin(&p->progress, "playing");
    loop_timer_init(&p->next, l, pump, p);
    loop_timer_init(&p->tick, l, tick, p);
    loop_timer_set(&p->tick, TICK);
    p->begun_ns = clock_ns();
    pump(p);
    code = ctl_wait(p->ctl, &p->done);
    loop_timer_stop(&p->next);
    loop_timer_stop(&p->tick);
    progress_end(&p->progress);
    if (code == EXIT_DONE && p->rc < 0)
        code = ctl_fail(p->ctl, EXIT_FAILED, "%s", err_text(p->rc));
    return code;
}

static int say_stopped(struct player *p)
{
    size_t left = 0;

    for (size_t i = 0; i < p->fixtures.count; i++) {
        const struct fixture *f = &p->fixtures.list[i];

        left += f->next > 0 && f->next < f->schedule.count;
    }
    return ctl_fail(p->ctl, EXIT_FAILED, "stopped; matches left in play: %zu",
                    left);
}

/* ---- the verb ---------------------------------------------------------- */

static int read_speed(const struct ctl *c, double *ret)
{
    const char *text = c->opt.speed;
    char *end;
    double speed;

    *ret = SPEED_DEFAULT;
    if (!text)
        return EXIT_DONE;
    *ret = 0;
    if (strcmp(text, "max") == 0)
        return EXIT_DONE;
    speed = strtod(text, &end);
    if (end == text || *end || !isfinite(speed) || speed < 0
        || (speed > 0 && speed < 0.001) || speed > SPEED_MOST)
        return ctl_usage(c, "--speed is a number from 0.001 to %d, or max",
                         SPEED_MOST);
    *ret = speed;
    return EXIT_DONE;
}

static int read_cup(const struct ctl *c, struct cup **ret)
{
    char why[CUP_WHY_MAX] = "out of memory";
    struct buf text = BUF_INIT;
    int code = ctl_read_file(c, c->args[0], FILE_MAX, &text);

    if (code == EXIT_DONE && cup_read(ret, buf_slice(&text), why) < 0)
        code = ctl_fail(c, EXIT_FAILED, "%s: %s", c->args[0], why);
    buf_fini(&text);
    return code;
}

static int run(struct player *p)
{
    int code = ctl_reach(p->ctl);

    if (code == EXIT_DONE)
        code = ctl_confirm(p->ctl);
    if (code == EXIT_DONE)
        code = fixtures_create(&p->fixtures);
    if (code == EXIT_DONE)
        code = play(p);
    if (code == EXIT_DONE && p->stopped)
        code = say_stopped(p);
    if (code == EXIT_DONE)
        code = fixtures_check(&p->fixtures);
    if (code == EXIT_DONE)
        code = fixtures_print(&p->fixtures);
    loop_signal_stop(&p->interrupt);
    loop_signal_stop(&p->terminate);
    return code;
}

int verb_replay(struct ctl *c)
{
    struct player p = { .ctl = c };
    struct cup *cup = NULL;
    int code = read_speed(c, &p.speed);

    if (code == EXIT_DONE)
        code = read_cup(c, &cup);
    if (code == EXIT_DONE)
        code = fixtures_choose(&p.fixtures, c, cup);
    if (code == EXIT_DONE)
        code = run(&p);
    fixtures_fini(&p.fixtures);
    cup_free(cup);
    return code;
}
