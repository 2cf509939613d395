#include "gateways/common/succession.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "gateways/common/core.h"
#include "gateways/common/freeze.h"
#include "proto/replacing.h"
#include "proto/frame.h"

/* Besides those of enum freeze_kind. */
enum { SAY_HELLO = 1, SAY_REFUSE, SAY_ACK, SAY_COMMIT, SAY_TAKEN };

#define BEAT (500 * MILLISECOND)
#define PATIENCE (SUCCESSION_PATIENCE_S * SECOND)

static int64_t in_seconds(int64_t s)
{
    return clock_ns() + s * SECOND;
}

PRINTF_LIKE(2, 3)
static void say_why(char why[SUCCESSION_WHY_MAX], const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, SUCCESSION_WHY_MAX, fmt, args);
    va_end(args);
}

static void refuse(struct handover *h, const char *why)
{
    (void)!handover_send(h, SAY_REFUSE, slice_str(why), NULL, 0,
                         in_seconds(1));
}

static void tell_supervisor(struct succession *s, uint32_t attempt,
                            enum control_kind kind, struct slice what)
{
    struct buf b = BUF_INIT;

    put_u32(&b, attempt);
    put_raw(&b, what);
    if (s->control.fd >= 0 && !b.failed)
        (void)!handover_send(&s->control, (uint8_t)kind, buf_slice(&b), NULL,
                             0, in_seconds(1));
    buf_fini(&b);
}

/* ---- what both must be ---------------------------------------------------- */

static void write_hello(struct buf *b, const struct succession_self *self)
{
    put_u16(b, FREEZE_FORMAT);
    put_u16(b, FRAME_VERSION);
    put_u16(b, (uint16_t)self->workers);
    put_str8(b, slice_str(self->edge));
    put_str8(b, slice_str(self->instance));
}

/* False, and *why: they cannot be. What differs most is looked at first; behind
 * another format nothing is known. */
static bool agrees(const struct succession_self *self, struct slice hello,
                   char why[SUCCESSION_WHY_MAX])
{
    struct cursor c = cursor_init(hello);
    unsigned format = cursor_u16(&c), link = cursor_u16(&c);
    unsigned workers = cursor_u16(&c);
    struct slice edge = cursor_str8(&c), instance = cursor_str8(&c);

    if (format != FREEZE_FORMAT)
        say_why(why, "it is handed over in format %u, the successor takes %u",
                FREEZE_FORMAT, format);
    else if (link != FRAME_VERSION)
        say_why(why, "it speaks link version %d, the successor %u",
                FRAME_VERSION, link);
    else if (!cursor_all_read(&c) || !slice_eq(edge, slice_str(self->edge)) ||
             !slice_eq(instance, slice_str(self->instance)))
        say_why(why, "the successor is of another kind");
    else if (workers != self->workers)
        say_why(why, "it has %u workers, the successor %u", self->workers,
                workers);
    else
        return true;
    return false;
}

/* ---- standing still --------------------------------------------------------- */

static void stand_still(struct gateway *g, bool still)
{
    uint32_t i = 0;
    struct conn *c;

    if (g->still == still)
        return;
    g->still = still;
    accept_hold(g, still);
    pass_attend(g);
    pass_retry(g); /* who waits for room asks the successor for it */
    while (!still && (c = conns_next_open(&g->conns, &i)))
        if ((c->flags & CONN_READABLE) || (conn_busy(c) && conn_busy(c)->in))
            conn_dirty(c);
}

static void lock(struct succession *s)
{
    CHECK(pthread_mutex_lock(&s->lock) == 0);
}

static void unlock(struct succession *s)
{
    CHECK(pthread_mutex_unlock(&s->lock) == 0);
}

/* Nobody is waited for but its clients: for a while, and then no more. */
static void be_patient(struct succession_part *p, enum freeze_rest how)
{
    int64_t now_ns = clock_ns();
    unsigned cut;

    if (how != FREEZE_HELD) {
        p->held_ns = 0;
        return;
    }
    if (!p->held_ns)
        p->held_ns = now_ns;
    if (now_ns - p->held_ns < PATIENCE)
        return;
    p->held_ns = now_ns;
    cut = freeze_cut(p->g);
    p->cut += cut;
    log_warn("succession.cut", "gateway=%s clients=%u why=\"they were in the "
             "middle of something\"", p->g->name, cut);
}

static enum freeze_rest look_at_rest(struct succession_part *p)
{
    const char *why;
    enum freeze_rest how = freeze_look(p->g, &p->last, &why);

    if (how != FREEZE_RESTS) {
        lock(p->of);
        say_why(p->why, "%s", why);
        unlock(p->of);
    }
    atomic_store(&p->rests, how == FREEZE_RESTS);
    return how;
}

static void wake_all(struct succession *s)
{
    for (unsigned i = 0; i < s->self.workers; i++)
        loop_wake_post(&s->parts[i].wake);
}

/* ---- the predecessor writes -------------------------------------------------- */

static void keep_links(struct succession *s)
{
    int64_t now = clock_ns();

    if (now - s->beat_ns < BEAT)
        return;
    s->beat_ns = now;
    for (unsigned i = 0; i < s->self.workers; i++)
        pipe_beat(s->parts[i].g->pipe);
}

/* The successor's answer to what was said. */
static int await_word(struct succession *s, uint8_t word,
                      char why[SUCCESSION_WHY_MAX])
{
    int64_t until_ns = in_seconds(SUCCESSION_STEP_S);
    struct handover_message m;
    int rc;

    do {
        rc = handover_receive(&s->heir, MIN(clock_ns() + BEAT, until_ns), &m);
        keep_links(s);
    } while (rc == ERR_TIMEOUT && clock_ns() < until_ns);
    if (rc < 0)
        say_why(why, rc == ERR_CLOSED ? "the successor has gone"
                                      : "the successor does not answer");
    else if (m.kind == SAY_REFUSE)
        say_why(why, SLICE_FMT, (int)MIN(m.body.len, (size_t)150),
                (const char *)m.body.ptr);
    else if (m.kind == word)
        return 0;
    else
        say_why(why, "the successor makes no sense");
    return rc < 0 ? rc : ERR_DENIED;
}

static int say(struct succession *s, uint8_t word, struct slice body,
               const int *files, unsigned file_count,
               char why[SUCCESSION_WHY_MAX])
{
    int64_t until_ns = in_seconds(SUCCESSION_STEP_S);
    struct pollfd room = {.fd = s->heir.fd, .events = POLLOUT};
    int rc;

    while ((rc = handover_send(&s->heir, word, body, files, file_count, 0)) ==
               ERR_AGAIN && clock_ns() < until_ns) {
        (void)poll(&room, 1, (int)(BEAT / MILLISECOND));
        keep_links(s);
    }
    if (rc == ERR_AGAIN) /* and nothing can follow it */
        rc = handover_send(&s->heir, word, body, files, file_count, until_ns);
    if (rc < 0)
        say_why(why, "the successor cannot be told: %s", err_text(rc));
    return rc;
}

/* Until no more than so many messages have no answer. */
static int await_acks(struct succession *s, unsigned most,
                      char why[SUCCESSION_WHY_MAX])
{
    int rc = 0;

    while (rc == 0 && s->unanswered > most) {
        rc = await_word(s, SAY_ACK, why);
        s->unanswered--;
    }
    return rc;
}

/* A few are under way at a time, or each would cost two turns of the scheduler. */
static int say_frozen(struct succession *s, const struct freezer *f,
                      char why[SUCCESSION_WHY_MAX])
{
    int rc = await_acks(s, SUCCESSION_WINDOW - 1, why);

    if (rc == 0)
        rc = say(s, f->kind, buf_slice(&f->body), f->files, f->file_count,
                 why);
    s->unanswered += rc == 0;
    return rc;
}

/* Up to the last message of that kind. */
static int write_worker(struct succession *s, struct freezer *f,
                        enum freeze_kind upto, char why[SUCCESSION_WHY_MAX])
{
    int rc = 0;

    while (rc == 0 && (f->kind < upto || f->more)) {
        rc = freezer_next(f);
        if (rc == ERR_NOMEM)
            say_why(why, "out of memory");
        if (rc == 0)
            rc = say_frozen(s, f, why);
        keep_links(s);
    }
    return rc;
}

static int write_workers(struct succession *s, enum freeze_kind upto,
                         char why[SUCCESSION_WHY_MAX])
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < s->self.workers; i++)
        rc = write_worker(s, &s->parts[i].freezer, upto, why);
    return rc;
}

/* Has it taken all, or not? Who is too slow with that is killed by the
 * supervisor; without one it may have that time, too. */
static int await_taken(struct succession *s, char why[SUCCESSION_WHY_MAX])
{
    int rc = await_word(s, SAY_TAKEN, why);

    if (rc != ERR_TIMEOUT)
        return rc;
    log_warn("succession.silent", "action=wait_for_its_end");
    tell_supervisor(s, s->attempt, CONTROL_KEPT, slice_str(why));
    rc = await_word(s, SAY_TAKEN, why);
    return rc == ERR_TIMEOUT ? 0 : rc;
}

/* All workers are at rest, and their threads here or waiting. */
static int write_all(struct succession *s, char why[SUCCESSION_WHY_MAX])
{
    int rc;

    s->beat_ns = clock_ns();
    s->unanswered = 0;
    for (unsigned i = 0; i < s->self.workers; i++)
        freezer_init(&s->parts[i].freezer, s->parts[i].g);
    rc = write_workers(s, FREEZE_SLOTS, why);
    if (rc == 0)
        rc = write_workers(s, FREEZE_END, why);
    if (rc == 0)
        rc = await_acks(s, 0, why);
    if (rc == 0)
        rc = say(s, SAY_COMMIT, slice_make(NULL, 0), NULL, 0, why);
    return rc == 0 ? await_taken(s, why) : rc;
}

/* ---- the end of it, for the predecessor -------------------------------------- */

static void forget_heir(struct succession *s)
{
    loop_timer_stop(&s->bound);
    loop_fd_stop(&s->heir_watch);
    if (s->heir.fd >= 0)
        handover_fini(&s->heir);
    s->refused = false;
}

/* It may not hear it, as one that does not read. Our end of the line is what it
 * knows us dead by, so that stays until the other one has gone. */
static void refuse_heir(struct succession *s, const char *why)
{
    refuse(&s->heir, why);
    loop_timer_stop(&s->bound);
    if (s->heir_watch.ev)
        s->refused = true;
    else
        forget_heir(s); /* nothing has been said to it yet */
}

/* All is as it was. */
static void keep_all(struct succession *s, const char *why)
{
    log_warn("succession.kept", "why=%s action=go_on",
             log_quote(slice_str(why)).text);
    refuse_heir(s, why);
    tell_supervisor(s, s->attempt, CONTROL_KEPT, slice_str(why));
    atomic_store(&s->phase, SUCCESSION_NONE);
    wake_all(s);
}

static void hand_all(struct succession *s)
{
    struct buf b = BUF_INIT;
    uint32_t clients = 0, cut = 0;

    for (unsigned i = 0; i < s->self.workers; i++) {
        const struct succession_part *p = &s->parts[i];

        clients += p->freezer.conns;
        cut += p->cut + freezer_left(&p->freezer);
    }
    log_info("succession.handed", "clients=%u cut=%u action=end", clients, cut);
    put_u32(&b, clients);
    put_u32(&b, cut);
    tell_supervisor(s, s->attempt, CONTROL_HANDED, buf_slice(&b));
    buf_fini(&b);
    forget_heir(s);
    s->handed = true;
    atomic_store(&s->phase, SUCCESSION_NONE);
    wake_all(s);
}

/* ---- parking ------------------------------------------------------------------ */

/* A worker's thread waits while the first writes what it has. */
static void park(struct succession_part *p)
{
    struct succession *s = p->of;
    bool rests = look_at_rest(p) == FREEZE_RESTS;

    lock(s);
    s->parked++;
    s->spoiled |= !rests;
    CHECK(pthread_cond_broadcast(&s->news) == 0);
    while (atomic_load(&s->phase) == SUCCESSION_PARK)
        CHECK(pthread_cond_wait(&s->news, &s->lock) == 0);
    unlock(s);
}

/* The lock is held. False: somebody does not come, or is not at rest. */
static bool all_parked(struct succession *s)
{
    struct timespec until;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
    until.tv_sec += SUCCESSION_STEP_S;
    while (s->parked < s->self.workers - 1)
        if (pthread_cond_timedwait(&s->news, &s->lock, &until) == ETIMEDOUT)
            return false;
    return !s->spoiled;
}

static void look_again(struct succession *s)
{
    for (unsigned i = 0; i < s->self.workers; i++)
        atomic_store(&s->parts[i].rests, false);
    atomic_store(&s->phase, SUCCESSION_REST);
    wake_all(s);
}

/* The first worker's: everybody rests, as far as was seen. */
static void write_parked(struct succession *s)
{
    char why[SUCCESSION_WHY_MAX];
    bool parked;
    int rc = 0;

    lock(s);
    s->parked = 0;
    s->spoiled = false;
    atomic_store(&s->phase, SUCCESSION_PARK);
    wake_all(s);
    parked = all_parked(s);
    if (parked)
        rc = write_all(s, why);
    if (!parked)
        look_again(s);
    else if (rc == 0)
        hand_all(s);
    else
        keep_all(s, why);
    CHECK(pthread_cond_broadcast(&s->news) == 0);
    unlock(s);
}

static bool all_rest(const struct succession *s)
{
    for (unsigned i = 0; i < s->self.workers; i++)
        if (!atomic_load(&s->parts[i].rests))
            return false;
    return true;
}

/* ---- each worker, each turn --------------------------------------------------- */

static void rest(struct succession_part *p)
{
    bool before = atomic_load(&p->rests);
    enum freeze_rest how;

    if (p->g->draining) {
        if (p == p->of->parts)
            keep_all(p->of, "it is going down");
        return;
    }
    stand_still(p->g, true);
    how = look_at_rest(p);
    be_patient(p, how);
    if (how == FREEZE_RESTS && p != p->of->parts && !before)
        loop_wake_post(&p->of->parts[0].wake);
    if (p == p->of->parts && all_rest(p->of))
        write_parked(p->of);
}

static void go_on(struct succession_part *p)
{
    if (p->of->handed && !p->parted) {
        p->parted = true;
        accept_part(p->g);
        freezer_part(&p->freezer);
        p->of->parted(p->of->ctx, p->g);
    } else if (p->g->still && !p->parted) {
        stand_still(p->g, false);
    }
    freezer_fini(&p->freezer);
    p->held_ns = 0;
    p->cut = 0;
    atomic_store(&p->rests, false);
}

static void each_turn(void *ctx)
{
    struct succession_part *p = ctx;

    if (atomic_load(&p->of->phase) == SUCCESSION_REST)
        rest(p);
    else if (atomic_load(&p->of->phase) == SUCCESSION_PARK)
        park(p);
    if (p->g->still && atomic_load(&p->of->phase) == SUCCESSION_NONE)
        go_on(p);
}

static void nothing(void *ctx)
{
    UNUSED(ctx); /* the turn it makes is what counts */
}

/* ---- asked to ------------------------------------------------------------------ */

/* Of those who do not rest the first, and how many others there are. */
static void why_no_rest(struct succession *s, char *why, size_t size)
{
    const struct succession_part *first = NULL;
    unsigned others = 0;

    for (unsigned i = 0; i < s->self.workers; i++) {
        if (atomic_load(&s->parts[i].rests))
            continue;
        others += first != NULL;
        first = first ? first : &s->parts[i];
    }
    lock(s);
    snprintf(why, size, "it does not come to rest: %s",
             first ? first->why : "its workers rest one after the other");
    unlock(s);
    if (others)
        snprintf(why + strlen(why), size - strlen(why), ", nor do %u more of "
                 "its workers", others);
}

static void on_bound(void *ctx)
{
    struct succession *s = ctx;
    char why[SUCCESSION_WHY_MAX + 64];

    if (atomic_load(&s->phase) == SUCCESSION_NONE)
        snprintf(why, sizeof why, "the successor did not come up");
    else
        why_no_rest(s, why, sizeof why);
    keep_all(s, why);
}

static void on_heir(void *ctx, unsigned ready)
{
    struct succession *s = ctx;
    struct handover_message m;
    char why[SUCCESSION_WHY_MAX];
    int rc = handover_receive(&s->heir, 0, &m);

    UNUSED(ready);
    if (rc == ERR_AGAIN)
        return;
    if (s->refused) {
        if (rc < 0)
            forget_heir(s);
        return;
    }
    if (rc < 0 || m.kind != SAY_HELLO ||
        atomic_load(&s->phase) != SUCCESSION_NONE) {
        keep_all(s, rc == ERR_CLOSED ? "the successor has gone"
                                     : "the successor makes no sense");
        return;
    }
    if (!agrees(&s->self, m.body, why)) {
        keep_all(s, why);
        return;
    }
    loop_timer_set(&s->bound, SUCCESSION_REST_S * SECOND);
    lock(s);
    for (unsigned i = 0; i < s->self.workers; i++)
        say_why(s->parts[i].why, "worker %u does not answer", i + 1);
    unlock(s);
    atomic_store(&s->phase, SUCCESSION_REST);
    wake_all(s);
}

static void begin(struct succession *s, uint32_t attempt, int fd)
{
    if (s->refused) /* it has ended, or there would be no other */
        forget_heir(s);
    if (s->heir.fd >= 0 || s->handed) {
        close(fd);
        tell_supervisor(s, attempt, CONTROL_KEPT,
                        SLICE("there is a successor already"));
        return;
    }
    s->attempt = attempt;
    handover_init(&s->heir, fd);
    if (s->parts[0].g->draining)
        keep_all(s, "it is going down");
    else if (loop_fd_start(&s->heir_watch, s->loop, fd, LOOP_READ, on_heir,
                           s) < 0)
        keep_all(s, "the successor cannot be listened to");
    else
        loop_timer_set(&s->bound, SUCCESSION_HELLO_S * SECOND);
}

/* A supervisor that has gone asks nobody any more. */
static void on_control(void *ctx, unsigned ready)
{
    struct succession *s = ctx;
    struct handover_message m;
    struct cursor c;
    int fd, rc = handover_receive(&s->control, 0, &m);

    UNUSED(ready);
    if (rc == ERR_AGAIN)
        return;
    if (rc < 0) {
        loop_fd_stop(&s->control_watch);
        handover_fini(&s->control);
        return;
    }
    fd = handover_take(&s->control, 0);
    c = cursor_init(m.body);
    if (m.kind == CONTROL_HAND_OVER && fd >= 0)
        begin(s, cursor_u32(&c), fd);
    else if (fd >= 0)
        close(fd);
}

/* ---- the predecessor's life ----------------------------------------------------- */

static int start_part(struct succession *s, unsigned i, struct gateway *g)
{
    struct succession_part *p = &s->parts[i];

    p->of = s;
    p->g = g;
    atomic_init(&p->rests, false);
    loop_turn_start(&p->turn, g->loop, each_turn, p);
    return loop_wake_start(&p->wake, g->loop, nothing, p);
}

/* Whoever sets the clock does not wake those who wait. */
static int init_news(pthread_cond_t *news)
{
    pthread_condattr_t how;
    int rc = pthread_condattr_init(&how);

    if (rc == 0) {
        rc = pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
        rc = rc ? rc : pthread_cond_init(news, &how);
        pthread_condattr_destroy(&how);
    }
    return rc ? ERR_NOMEM : 0;
}

int succession_start(struct succession *s, const struct succession_self *self,
                     struct gateway *const *workers, int control,
                     void (*parted)(void *ctx, struct gateway *g), void *ctx)
{
    int rc = 0;

    s->self = *self;
    s->parted = parted;
    s->ctx = ctx;
    s->loop = workers[0]->loop;
    s->heir.fd = s->control.fd = -1;
    s->parts = calloc(self->workers, sizeof *s->parts);
    if (!s->parts || pthread_mutex_init(&s->lock, NULL) ||
        init_news(&s->news) < 0)
        return ERR_NOMEM;
    atomic_init(&s->phase, SUCCESSION_NONE);
    loop_timer_init(&s->bound, s->loop, on_bound, s);
    for (unsigned i = 0; rc == 0 && i < self->workers; i++)
        rc = start_part(s, i, workers[i]);
    if (rc < 0 || control < 0)
        return rc;
    handover_init(&s->control, control);
    return loop_fd_start(&s->control_watch, s->loop, control, LOOP_READ,
                         on_control, s);
}

void succession_stop(struct succession *s)
{
    if (!s->loop)
        return;
    forget_heir(s);
    loop_fd_stop(&s->control_watch);
    if (s->control.fd >= 0)
        handover_fini(&s->control);
    for (unsigned i = 0; s->parts && i < s->self.workers; i++) {
        freezer_fini(&s->parts[i].freezer);
        loop_turn_stop(&s->parts[i].turn);
        if (s->parts[i].of)
            loop_wake_stop(&s->parts[i].wake);
    }
    free(s->parts);
    pthread_cond_destroy(&s->news);
    pthread_mutex_destroy(&s->lock);
    *s = (struct succession){.loop = NULL};
}

/* ---- the successor reads ---------------------------------------------------------- */

struct heir {
    struct handover h;
    const struct succession_self *self;
    struct gateway *const *workers;
    struct thaw *thaws; /* one for each */
    unsigned at;        /* which one is being read */
    bool crowd;         /* connections come */
    char *why;
};

/* Whose message of this kind is it? NULL: nobody's. */
static struct thaw *whose_turn(struct heir *r, uint8_t kind)
{
    struct thaw *t = &r->thaws[r->at];

    if (kind == FREEZE_WORKER && t->kind)
        r->at++;
    if (kind == FREEZE_CONNS && !r->crowd) {
        for (unsigned i = 0; i < r->self->workers; i++)
            if (r->thaws[i].kind != FREEZE_SLOTS)
                return NULL;
        r->crowd = true;
        r->at = 0;
    } else if (kind == FREEZE_CONNS && thaw_is_whole(t)) {
        r->at++;
    }
    return r->at < r->self->workers ? &r->thaws[r->at] : NULL;
}

static int take_message(struct heir *r, const struct handover_message *m)
{
    struct thaw *t = whose_turn(r, m->kind);
    int files[HANDOVER_FILES], rc;

    if (!t)
        return ERR_FRAME;
    for (unsigned i = 0; i < m->file_count; i++)
        files[i] = handover_take(&r->h, i);
    rc = thaw_take(t, m->kind, m->body, files, m->file_count);
    for (unsigned i = 0; i < m->file_count; i++)
        if (files[i] >= 0)
            close(files[i]);
    return rc;
}

static bool is_whole(const struct heir *r)
{
    return r->at == r->self->workers - 1 && thaw_is_whole(&r->thaws[r->at]);
}

/* 1: go on reading. */
static int take_word(struct heir *r, const struct handover_message *m)
{
    int rc;

    if (m->kind == SAY_REFUSE) {
        say_why(r->why, SLICE_FMT, (int)MIN(m->body.len, (size_t)150),
                (const char *)m->body.ptr);
        return ERR_DENIED;
    }
    if (m->kind == SAY_COMMIT && is_whole(r))
        return handover_send(&r->h, SAY_TAKEN, slice_make(NULL, 0), NULL, 0,
                             in_seconds(SUCCESSION_STEP_S));
    rc = take_message(r, m);
    if (rc < 0) {
        say_why(r->why, "what the predecessor hands over cannot be taken: %s",
                err_text(rc));
        refuse(&r->h, r->why);
        return rc;
    }
    rc = handover_send(&r->h, SAY_ACK, slice_make(NULL, 0), NULL, 0,
                       in_seconds(SUCCESSION_STEP_S));
    return rc < 0 && rc != ERR_CLOSED ? rc : 1;
}

static int read_all(struct heir *r, bool *orphan)
{
    int64_t until = in_seconds(SUCCESSION_REST_S + 2 * SUCCESSION_STEP_S);
    struct handover_message m;
    int rc = 1;

    while (rc == 1) {
        rc = handover_receive(&r->h, until, &m);
        until = in_seconds(2 * SUCCESSION_STEP_S);
        if (rc == 0)
            rc = take_word(r, &m);
    }
    *orphan = rc == ERR_CLOSED && r->crowd;
    if (*orphan)
        return 0;
    if (rc < 0 && !r->why[0])
        say_why(r->why, "from the predecessor: %s", err_text(rc));
    return rc;
}

static int hello(struct heir *r)
{
    struct buf b = BUF_INIT;
    int rc;

    write_hello(&b, r->self);
    rc = b.failed ? ERR_NOMEM
                  : handover_send(&r->h, SAY_HELLO, buf_slice(&b), NULL, 0,
                                  in_seconds(SUCCESSION_STEP_S));
    buf_fini(&b);
    return rc;
}

static void go(struct heir *r, uint32_t *clients)
{
    *clients = 0;
    for (unsigned i = 0; i < r->self->workers; i++) {
        thaw_go(&r->thaws[i]);
        *clients += r->thaws[i].conns;
    }
}

int succession_take(int fd, const struct succession_self *self,
                    struct gateway *const *workers, uint32_t *clients,
                    bool *orphan, char why[SUCCESSION_WHY_MAX])
{
    struct heir r = {.self = self, .workers = workers, .why = why};
    int rc = ERR_NOMEM;

    why[0] = '\0';
    *orphan = false;
    handover_init(&r.h, fd);
    r.thaws = calloc(self->workers, sizeof *r.thaws);
    if (r.thaws) {
        for (unsigned i = 0; i < self->workers; i++)
            r.thaws[i].g = workers[i];
        rc = hello(&r);
    }
    if (rc == 0)
        rc = read_all(&r, orphan);
    if (rc == 0)
        go(&r, clients);
    else if (!why[0])
        say_why(why, "the predecessor cannot be asked: %s", err_text(rc));
    for (unsigned i = 0; r.thaws && i < self->workers; i++)
        thaw_fini(&r.thaws[i]);
    free(r.thaws);
    handover_fini(&r.h);
    return rc;
}
