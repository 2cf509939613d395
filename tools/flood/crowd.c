#include "tools/flood/crowd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/mark.h"

/* Connections begun between two looks at what has come; events at a time. */
enum { DIALS = 64, EVENTS = 512, READ_BYTES = 64 * 1024, IN_FLIGHT = 1000,
       IDLE_WAIT_MS = 50 };

static uint32_t index_of(const struct crowd *c, const struct client *p)
{
    return (uint32_t)(p - c->clients);
}

/* ---- timers: a list for each ms of the next four seconds, and its like ------ */

void crowd_timer_stop(struct crowd *c, struct client *p)
{
    if (!p->due)
        return;
    if (p->prev == CLIENT_NONE)
        c->wheel[p->due % WHEEL_SLOTS] = p->next;
    else
        c->clients[p->prev].next = p->next;
    if (p->next != CLIENT_NONE)
        c->clients[p->next].prev = p->prev;
    p->due = 0;
    p->next = p->prev = CLIENT_NONE;
}

void crowd_timer(struct crowd *c, struct client *p, int64_t after_ns)
{
    int64_t due = (c->now_ns - c->started_ns + after_ns) / MILLISECOND + 1;
    uint32_t *slot;

    crowd_timer_stop(c, p);
    p->due = (uint32_t)MIN(MAX(due, (int64_t)c->tick + 1), UINT32_MAX);
    slot = &c->wheel[p->due % WHEEL_SLOTS];
    p->prev = CLIENT_NONE;
    p->next = *slot;
    if (*slot != CLIENT_NONE)
        c->clients[*slot].prev = index_of(c, p);
    *slot = index_of(c, p);
}

/* ---- opening ---------------------------------------------------------------- */

/* Behind all others: each place is tried before one is filled again. */
static void make_idle(struct crowd *c, struct client *p)
{
    p->state = CLIENT_IDLE;
    p->next = CLIENT_NONE;
    if (c->idle == CLIENT_NONE)
        c->idle = index_of(c, p);
    else
        c->clients[c->idle_last].next = index_of(c, p);
    c->idle_last = index_of(c, p);
}

static enum share_fail why_of(int error)
{
    switch (error) {
    case ECONNREFUSED:
    case ENOENT:
        return SHARE_FAIL_refused;
    case ETIMEDOUT:
        return SHARE_FAIL_timeout;
    case ECONNRESET:
    case EPIPE:
        return SHARE_FAIL_reset;
    case EADDRNOTAVAIL:
    case EADDRINUSE:
        return SHARE_FAIL_address;
    case EMFILE:
    case ENFILE:
        return SHARE_FAIL_files;
    default:
        return SHARE_FAIL_other;
    }
}

static void fail(struct crowd *c, struct client *p, int error)
{
    crowd_end(c, p, why_of(error), strerror(error));
}

static void settle(struct crowd *c, struct client *p)
{
    if (p->settled)
        return;
    atomic_store_explicit(&c->share->settled_ns, clock_ns(),
                          memory_order_relaxed);
    share_add(c->share, SHARE_settled, 1);
    p->settled = true;
}

static int connect_it(struct crowd *c, struct client *p)
{
    const struct plan *plan = c->plan;
    uint64_t n = c->first + c->dialled;
    const struct endpoint *to = &plan->targets.at[n % plan->targets.count];
    struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP
                                       | EPOLLET };

    p->fd = source_socket(&plan->source, to, n);
    if (p->fd < 0)
        return -p->fd;
    e.data.u64 = (uint64_t)p->generation << 32 | index_of(c, p);
    if (connect(p->fd, &to->addr.any, to->len) < 0 && errno != EINPROGRESS)
        return errno;
    return epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, p->fd, &e) < 0 ? errno : 0;
}

static void close_now(struct crowd *c, struct client *p);

static void dial(struct crowd *c, struct client *p)
{
    int error;

    c->idle = p->next;
    p->next = p->prev = CLIENT_NONE;
    p->since_ns = clock_ns();
    p->id = (uint32_t)ids_pick(&c->plan->ids, &c->chance,
                               c->first + index_of(c, p));
    p->state = CLIENT_DIALLING;
    c->in_flight++;
    share_add(c->share, SHARE_dialled, 1);
    crowd_timer(c, p, c->plan->settings->wait);
    error = connect_it(c, p);
    c->dialled++;
    if (error) {
        fail(c, p, error);
        close_now(c, p);
    }
}

/* How many may have been begun by now. */
static uint64_t allowed(const struct crowd *c)
{
    double passed = (double)(c->now_ns - c->started_ns);

    if (c->rate > 0)
        return (uint64_t)(passed / (double)SECOND * c->rate) + 1;
    if (passed < (double)c->ramp_ns)
        return (uint64_t)(passed / (double)c->ramp_ns * c->count) + 1;
    return UINT64_MAX;
}

/* True: there are more to open, and nothing but time is awaited. */
static bool open_some(struct crowd *c)
{
    uint64_t most = allowed(c);
    unsigned n = 0;

    if (c->phase >= PHASE_CLOSE)
        return false;
    while (c->idle != CLIENT_NONE && c->in_flight < c->in_flight_max
           && c->dialled < most && n++ < DIALS)
        dial(c, &c->clients[c->idle]);
    return c->idle != CLIENT_NONE && c->in_flight < c->in_flight_max;
}

/* ---- up, and the end --------------------------------------------------------- */

static void record(struct crowd *c, enum share_histogram h, int64_t since_ns)
{
    histogram_record(&c->share->hists[h], (clock_ns() - since_ns) / MICROSECOND);
}

void crowd_up(struct crowd *c, struct client *p)
{
    p->state = CLIENT_UP;
    c->in_flight--;
    settle(c, p);
    crowd_timer_stop(c, p);
    record(c, SHARE_HIST_first, p->since_ns);
    share_add(c->share, SHARE_up, 1);
    p->newest = (uint32_t)atomic_load_explicit(&c->stage->newest[p->id],
                                               memory_order_relaxed);
    if (!c->is_probe)
        atomic_fetch_add_explicit(&c->stage->audience[p->id], 1,
                                  memory_order_relaxed);
    talk_script(c, p);
}

void crowd_end(struct crowd *c, struct client *p, enum share_fail why,
               const char *sample)
{
    if (p->state == CLIENT_ENDING)
        return;
    if (sample && why != SHARE_FAIL_KINDS
        && !atomic_load_explicit(&c->share->sampled, memory_order_relaxed)) {
        snprintf(c->share->sample, SHARE_SAMPLE_MAX, "%s", sample);
        atomic_store_explicit(&c->share->sampled, true, memory_order_release);
    }
    p->was = p->state;
    p->state = CLIENT_ENDING;
    p->why = (uint8_t)why;
}

static void reset_at_close(int fd)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

static void count_end(struct crowd *c, struct client *p)
{
    if (p->was == CLIENT_UP) {
        share_add(c->share, SHARE_closed, 1);
        if (!c->is_probe)
            atomic_fetch_sub_explicit(&c->stage->audience[p->id], 1,
                                      memory_order_relaxed);
    } else {
        c->in_flight--;
    }
    if (p->why == SHARE_FAIL_KINDS)
        return;
    settle(c, p);
    share_add(c->share, SHARE_failed, 1);
    atomic_store_explicit(&c->share->fails[p->why],
                          c->share->fails[p->why] + 1, memory_order_relaxed);
}

/* Who has ended goes; a place that is to be filled again is. */
static void close_now(struct crowd *c, struct client *p)
{
    bool failed = p->why != SHARE_FAIL_KINDS;
    int64_t again = c->is_probe ? SECOND : c->plan->settings->again;

    count_end(c, p);
    crowd_timer_stop(c, p);
    if (p->fd >= 0 && c->plan->settings->reset)
        reset_at_close(p->fd);
    if (p->fd >= 0)
        close(p->fd);
    free(p->rest);
    *p = (struct client){ .fd = -1, .next = CLIENT_NONE, .prev = CLIENT_NONE,
                          .generation = (uint16_t)(p->generation + 1),
                          .settled = p->settled, .state = CLIENT_OUT,
                          .why = SHARE_FAIL_KINDS };
    if (c->phase >= PHASE_CLOSE)
        return;
    if (!failed)
        make_idle(c, p);
    else if (again)
        crowd_timer(c, p, again);
}

/* ---- the loop ---------------------------------------------------------------- */

static bool delays(const struct crowd *c, const struct client *p)
{
    return p->state == CLIENT_UP && p->step < c->script->count
           && c->script->steps[p->step].verb == SCRIPT_DELAY;
}

static void on_timer(struct crowd *c, struct client *p)
{
    if (p->state == CLIENT_OUT) {
        make_idle(c, p);
        return;
    }
    if (delays(c, p)) {
        p->step++;
        talk_script(c, p);
    } else {
        crowd_end(c, p, SHARE_FAIL_timeout, NULL);
    }
    if (p->state == CLIENT_ENDING)
        close_now(c, p);
}

static void turn_wheel(struct crowd *c)
{
    uint32_t now = (uint32_t)((c->now_ns - c->started_ns) / MILLISECOND);

    while (c->tick < now) {
        uint32_t i = c->wheel[++c->tick % WHEEL_SLOTS];

        /* A timer that fires touches no other client's. */
        while (i != CLIENT_NONE) {
            struct client *p = &c->clients[i];

            i = p->next;
            if (p->due <= c->tick) {
                crowd_timer_stop(c, p);
                on_timer(c, p);
            }
        }
    }
}

static void on_connected(struct crowd *c, struct client *p, uint32_t events)
{
    int error = 0;
    socklen_t len = sizeof error;

    if (events & (EPOLLERR | EPOLLHUP)) {
        getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        fail(c, p, error ? error : ECONNRESET);
        return;
    }
    if (!(events & EPOLLOUT))
        return;
    record(c, SHARE_HIST_connect, p->since_ns);
    share_add(c->share, SHARE_opened, 1);
    p->state = CLIENT_ASKED;
    talk_begin(c, p);
}

static void on_event(struct crowd *c, uint64_t data, uint32_t events)
{
    struct client *p = &c->clients[(uint32_t)data];

    if (p->generation != data >> 32)
        return; /* of a connection that has been closed in this turn */
    if (p->state == CLIENT_DIALLING)
        on_connected(c, p, events);
    if ((p->state == CLIENT_ASKED || p->state == CLIENT_UP)
        && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        talk_read(c, p, events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
    if (p->state == CLIENT_ENDING)
        close_now(c, p);
}

/* What is missing at the end of the streams. */
static void check_ends(struct crowd *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct client *p = &c->clients[i];
        uint64_t newest;

        if (p->state != CLIENT_UP)
            continue;
        newest = atomic_load_explicit(&c->stage->upto[p->id],
                                      memory_order_relaxed);
        offsets_end(&p->offsets, newest, &c->tally);
        if (!p->numbered && newest && (uint32_t)newest != p->newest)
            share_add(c->share, SHARE_silent, 1);
    }
}

static void close_some(struct crowd *c)
{
    int64_t ramp = c->plan->settings->ramp_down;
    double part = ramp ? (double)(c->now_ns - c->phase_ns) / (double)ramp : 1;
    uint32_t upto = (uint32_t)(MIN(part, 1) * c->count);

    for (; c->closing < upto; c->closing++) {
        struct client *p = &c->clients[c->closing];

        if (p->state != CLIENT_IDLE && p->state != CLIENT_OUT) {
            crowd_end(c, p, SHARE_FAIL_KINDS, NULL);
            close_now(c, p);
        }
    }
}

static void tell_tally(struct crowd *c)
{
    share_add(c->share, SHARE_lost, c->tally.lost - c->told.lost);
    share_add(c->share, SHARE_duplicates,
              c->tally.duplicates - c->told.duplicates);
    share_add(c->share, SHARE_reordered,
              c->tally.reordered - c->told.reordered);
    c->told = c->tally;
}

static void follow_phase(struct crowd *c)
{
    enum stage_phase phase = stage_phase(c->stage);

    if (phase == c->phase)
        return;
    if (c->phase < PHASE_CLOSE && phase >= PHASE_CLOSE)
        check_ends(c);
    c->phase = phase;
    c->phase_ns = c->now_ns;
}

void crowd_run(struct crowd *c)
{
    struct epoll_event events[EVENTS];

    c->started_ns = c->now_ns = clock_ns();
    while (c->phase != PHASE_END) {
        bool more = open_some(c);
        int wait = more ? (c->idle != CLIENT_NONE && c->dialled >= allowed(c))
                        : c->script->count ? 1 : IDLE_WAIT_MS;
        int n = epoll_wait(c->epoll_fd, events, EVENTS, wait);

        c->now_ns = clock_ns();
        for (int i = 0; i < n; i++)
            on_event(c, events[i].data.u64, events[i].events);
        turn_wheel(c);
        follow_phase(c);
        if (c->phase == PHASE_CLOSE)
            close_some(c);
        tell_tally(c);
    }
}

int crowd_init(struct crowd *c, const struct plan *plan, struct stage *stage,
               struct share *share, uint64_t first, uint32_t count,
               bool is_probe)
{
    const struct settings *s = plan->settings;
    double part = is_probe ? 1 : (double)count / (double)s->connections;
    double most = (double)(s->in_flight ? s->in_flight
                           : s->rate || s->ramp_up ? s->connections
                                                   : IN_FLIGHT);

    *c = (struct crowd){ .plan = plan, .stage = stage, .share = share,
                         .script = is_probe ? &plan->probe : &plan->script,
                         .first = first, .count = count, .is_probe = is_probe,
                         .idle = CLIENT_NONE, .epoll_fd = -1,
                         .in_flight_max = (uint64_t)MAX(most * part, 1.0),
                         .rate = is_probe ? 0 : (double)s->rate * part,
                         .ramp_ns = is_probe ? 0 : s->ramp_up };
    chance_init(&c->chance, s->seed + first + is_probe);
    memset(c->wheel, 0xff, sizeof c->wheel);
    c->clients = calloc(count, sizeof *c->clients);
    if (template_has(&plan->next_path, TEMPLATE_cursor))
        c->cursors = calloc(count, sizeof *c->cursors);
    if (!c->clients || !buf_reserve(&c->in, READ_BYTES)
        || (template_has(&plan->next_path, TEMPLATE_cursor) && !c->cursors))
        return ERR_NOMEM;
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (c->epoll_fd < 0)
        return ERR_IO;
    for (uint32_t i = 0; i < count; i++) {
        c->clients[i] = (struct client){ .fd = -1, .prev = CLIENT_NONE,
                                         .why = SHARE_FAIL_KINDS };
        make_idle(c, &c->clients[i]);
    }
    return 0;
}

void crowd_fini(struct crowd *c)
{
    for (uint32_t i = 0; c->clients && i < c->count; i++) {
        if (c->clients[i].fd >= 0)
            close(c->clients[i].fd);
        free(c->clients[i].rest);
    }
    if (c->epoll_fd >= 0)
        close(c->epoll_fd);
    free(c->clients);
    free(c->cursors);
    buf_fini(&c->in);
    buf_fini(&c->out);
    buf_fini(&c->name);
}
