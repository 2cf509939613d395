#include "base/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"

enum { POLLSET_EVENTS = 512 };

struct loop {
    struct event_base *base;
    struct event *alarm;      /* the library's timer for the earliest of ours */
    struct loop_timer *first; /* root of the pairing heap */
    struct loop_timer *later; /* of a second one: set while timers run */
    struct list_node turns;    /* end-of-turn hooks */
    struct list_node *at_turn; /* the hook that runs, while they run */
    int64_t now_ns;
    bool in_timers;
    bool stopped;
    bool again;

    /* the turn that runs, by the coarse clock */
    loop_slow_fn *slow; /* NULL: nobody asks, nothing is measured */
    void *slow_ctx;
    int64_t slow_ns;
    int64_t begun_ns, marked_ns; /* 0: it waits; the last mark */
    struct loop_slow worst;
};

/* --- turns that take long --- */

void loop_tell_slow(struct loop *l, int64_t over_ns, loop_slow_fn *fn,
                    void *ctx)
{
    l->slow = fn;
    l->slow_ctx = ctx;
    l->slow_ns = over_ns;
}

void loop_mark(struct loop *l, const char *name)
{
    int64_t now, took;

    if (!l->slow)
        return;
    now = clock_coarse_ns();
    took = now - l->marked_ns;
    l->marked_ns = now;
    if (took > l->worst.longest_ns) {
        l->worst.longest_ns = took;
        l->worst.where = name;
    }
}

/* The waiting is over; called by whatever runs first, and again. */
static void begin_turn(struct loop *l)
{
    if (!l->slow || l->begun_ns)
        return;
    l->begun_ns = l->marked_ns = clock_coarse_ns();
    l->worst = (struct loop_slow){ .where = "" };
}

static void end_turn(struct loop *l)
{
    if (!l->slow)
        return;
    l->worst.took_ns = l->marked_ns - l->begun_ns;
    l->begun_ns = 0;
    if (l->worst.took_ns >= l->slow_ns)
        l->slow(l->slow_ctx, &l->worst);
}

/* --- the pairing heap: a parent is due no later than its children. `prev` is
 * the elder sibling, the parent of an eldest child, or NULL at a root. --- */

static struct loop_timer *meld(struct loop_timer *a, struct loop_timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->due_ns < a->due_ns) {
        struct loop_timer *t = a;

        a = b;
        b = t;
    }
    b->next = a->child;
    b->prev = a;
    if (a->child)
        a->child->prev = b;
    a->child = b;
    a->next = a->prev = NULL;
    return a;
}

static struct loop_timer *pop_sibling(struct loop_timer **list)
{
    struct loop_timer *t = *list;

    if (t) {
        *list = t->next;
        t->next = t->prev = NULL;
    }
    return t;
}

/* Two passes: pairs from the left, then all of them from the right. */
static struct loop_timer *meld_siblings(struct loop_timer *list)
{
    struct loop_timer *pairs = NULL, *root = NULL, *t;

    while ((t = pop_sibling(&list))) {
        t = meld(t, pop_sibling(&list));
        t->next = pairs;
        pairs = t;
    }
    while ((t = pop_sibling(&pairs)))
        root = meld(root, t);
    return root;
}

/* Which heap newcomers go to. */
static struct loop_timer **open_heap(struct loop *l)
{
    return l->in_timers ? &l->later : &l->first;
}

static void heap_remove(struct loop *l, struct loop_timer *t)
{
    struct loop_timer *below = meld_siblings(t->child);
    struct loop_timer **open = open_heap(l);

    if (t == l->first) {
        l->first = below;
    } else if (t == l->later) {
        l->later = below;
    } else {
        if (t->prev->child == t)
            t->prev->child = t->next;
        else
            t->prev->next = t->next;
        if (t->next)
            t->next->prev = t->prev;
        *open = meld(*open, below);
    }
    t->child = t->next = t->prev = NULL;
}

void loop_timer_init_as(struct loop_timer *t, struct loop *l, loop_fn *fn,
                        void *ctx, const char *name)
{
    *t = (struct loop_timer){ .loop = l, .fn = fn, .ctx = ctx, .name = name };
}

void loop_timer_set_at(struct loop_timer *t, int64_t due_ns)
{
    struct loop_timer **open = open_heap(t->loop);

    loop_timer_stop(t);
    t->due_ns = due_ns;
    t->pending = true;
    *open = meld(*open, t);
}

void loop_timer_set(struct loop_timer *t, int64_t after_ns)
{
    int64_t due;

    if (__builtin_add_overflow(clock_ns(), after_ns, &due))
        due = INT64_MAX;
    loop_timer_set_at(t, due);
}

void loop_timer_stop(struct loop_timer *t)
{
    if (!t->pending)
        return;
    heap_remove(t->loop, t);
    t->pending = false;
}

/* What is set meanwhile waits for the next turn: a timer that sets itself to
 * at once must not keep everybody else waiting. */
static void run_timers(struct loop *l)
{
    l->in_timers = true;
    while (l->first && l->first->due_ns <= l->now_ns) {
        struct loop_timer *t = l->first;
        const char *name = t->name; /* it may free its own */

        loop_timer_stop(t);
        t->fn(t->ctx);
        loop_mark(l, name);
    }
    l->in_timers = false;
    l->first = meld(l->first, l->later);
    l->later = NULL;
}

/* --- turns --- */

void loop_turn_start_as(struct loop_turn *t, struct loop *l, loop_fn *fn,
                        void *ctx, const char *name)
{
    *t = (struct loop_turn){ .fn = fn, .ctx = ctx, .name = name, .loop = l };
    list_add_tail(&l->turns, &t->node);
}

void loop_turn_stop(struct loop_turn *t)
{
    if (!t->loop)
        return;
    if (t->loop->at_turn == &t->node)
        t->loop->at_turn = t->node.prev;
    list_remove(&t->node);
    t->loop = NULL;
}

/* A hook that is started meanwhile is reached in the same turn: what one of
 * them puts into another's output leaves at once. */
static void run_turns(struct loop *l)
{
    l->at_turn = &l->turns;
    while (l->at_turn->next != &l->turns) {
        struct loop_turn *t;
        const char *name;

        l->at_turn = l->at_turn->next;
        t = CONTAINER_OF(l->at_turn, struct loop_turn, node);
        name = t->name;
        t->fn(t->ctx);
        loop_mark(l, name);
    }
    l->at_turn = NULL;
}

static void on_alarm(evutil_socket_t fd, short what, void *ctx)
{
    UNUSED(fd), UNUSED(what), UNUSED(ctx); /* it only ends the waiting */
}

/* How long this turn may wait; below 0: for ever. */
static int64_t wait_of(const struct loop *l, int64_t most_ns)
{
    int64_t left;

    if (l->again || l->stopped)
        return 0;
    if (!l->first)
        return most_ns;
    left = l->first->due_ns - clock_ns();
    if (left < 0)
        left = 0;
    return most_ns < 0 ? left : MIN(left, most_ns);
}

/* Waits and runs what is ready; the timers come after. */
static int wait_events(struct loop *l, int64_t wait_ns)
{
    int flags = EVLOOP_ONCE | (wait_ns == 0 ? EVLOOP_NONBLOCK : 0);
    int rc;

    if (wait_ns > 0) {
        int64_t us = MIN(wait_ns, 1 * DAY) / MICROSECOND + 1;
        struct timeval tv = { us / 1000000, us % 1000000 };

        if (event_add(l->alarm, &tv) < 0)
            return ERR_NOMEM;
    }
    rc = event_base_loop(l->base, flags | EVLOOP_NO_EXIT_ON_EMPTY);
    if (wait_ns > 0)
        event_del(l->alarm);
    return rc < 0 ? ERR_IO : 0;
}

int loop_step(struct loop *l, int64_t wait_ns)
{
    int64_t wait = wait_of(l, wait_ns);
    int rc;

    l->again = false;
    rc = wait_events(l, wait);
    if (rc < 0)
        return rc;
    l->now_ns = clock_ns();
    begin_turn(l);
    run_timers(l);
    run_turns(l);
    end_turn(l);
    return 0;
}

int loop_run(struct loop *l)
{
    while (!l->stopped) {
        int rc = loop_step(l, -1);

        if (rc < 0)
            return rc;
    }
    l->stopped = false;
    return 0;
}

void loop_stop(struct loop *l)
{
    l->stopped = true;
}

int64_t loop_now(const struct loop *l)
{
    return l->now_ns;
}

void loop_again(struct loop *l)
{
    l->again = true;
}

static struct event_base *new_base(void)
{
    struct event_config *cfg = event_config_new();
    struct event_base *base = NULL;

    if (!cfg)
        return NULL;
    if (event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK) == 0)
        base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    return base;
}

int loop_new(struct loop **ret)
{
    struct loop *l = calloc(1, sizeof *l);

    if (!l)
        return ERR_NOMEM;
    list_init(&l->turns);
    l->now_ns = clock_ns();
    l->base = new_base();
    if (!l->base)
        goto fail;
    l->alarm = evtimer_new(l->base, on_alarm, NULL);
    if (!l->alarm)
        goto fail;
    *ret = l;
    return 0;
fail:
    loop_free(l);
    return ERR_IO;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    if (l->alarm)
        event_free(l->alarm);
    if (l->base)
        event_base_free(l->base);
    free(l);
}

/* --- watches --- */

static void on_fd(evutil_socket_t fd, short what, void *ctx)
{
    struct loop_fd *w = ctx;
    unsigned ready = (what & EV_READ ? (unsigned)LOOP_READ : 0u)
                     | (what & EV_WRITE ? (unsigned)LOOP_WRITE : 0u);
    struct loop *l = w->loop;
    const char *name = w->name;

    UNUSED(fd);
    begin_turn(l);
    w->fn(w->ctx, ready);
    loop_mark(l, name);
}

int loop_fd_start_as(struct loop_fd *w, struct loop *l, int fd, unsigned want,
                     loop_fd_fn *fn, void *ctx, const char *name)
{
    int what = EV_PERSIST | (want & LOOP_READ ? EV_READ : 0)
               | (want & LOOP_WRITE ? EV_WRITE : 0);
    struct event *ev = event_new(l->base, fd, (short)what, on_fd, w);

    if (!ev)
        return ERR_NOMEM;
    *w = (struct loop_fd){ ev, l, fn, ctx, name };
    if (event_add(ev, NULL) < 0) {
        loop_fd_stop(w);
        return ERR_IO;
    }
    return 0;
}

void loop_fd_stop(struct loop_fd *w)
{
    if (w->ev)
        event_free(w->ev);
    w->ev = NULL;
}

/* --- signals --- */

static void on_signal(evutil_socket_t signo, short what, void *ctx)
{
    struct loop_signal *s = ctx;
    struct loop *l = s->loop;
    const char *name = s->name;

    UNUSED(signo), UNUSED(what);
    begin_turn(l);
    s->fn(s->ctx);
    loop_mark(l, name);
}

static void mask_signal(int how, int signo)
{
    sigset_t one;

    sigemptyset(&one);
    sigaddset(&one, signo);
    (void)pthread_sigmask(how, &one, NULL);
}

void loop_signal_hold(int signo)
{
    mask_signal(SIG_BLOCK, signo);
}

int loop_signal_start_as(struct loop_signal *s, struct loop *l, int signo,
                         loop_fn *fn, void *ctx, const char *name)
{
    struct event *ev = evsignal_new(l->base, signo, on_signal, s);

    if (!ev)
        return ERR_NOMEM;
    *s = (struct loop_signal){ ev, l, fn, ctx, name };
    if (event_add(ev, NULL) < 0) {
        loop_signal_stop(s);
        return ERR_IO;
    }
    mask_signal(SIG_UNBLOCK, signo); /* if it was held */
    return 0;
}

void loop_signal_stop(struct loop_signal *s)
{
    if (s->ev)
        event_free(s->ev);
    s->ev = NULL;
}

/* --- wakes --- */

static void on_wake(void *ctx, unsigned ready)
{
    struct loop_wake *w = ctx;
    uint64_t posts;

    UNUSED(ready);
    if (read(w->fd, &posts, sizeof posts) < 0)
        CHECK(errno == EAGAIN || errno == EINTR);
    /* Before the callback looks: what is posted from here on is a new post. */
    atomic_store(&w->posted, false);
    w->fn(w->ctx);
}

int loop_wake_start_as(struct loop_wake *w, struct loop *l, loop_fn *fn,
                       void *ctx, const char *name)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc;

    if (fd < 0)
        return ERR_IO;
    w->fd = fd;
    w->fn = fn;
    w->ctx = ctx;
    atomic_init(&w->posted, false);
    rc = loop_fd_start_as(&w->watch, l, fd, LOOP_READ, on_wake, w, name);
    if (rc < 0) {
        close(fd);
        w->watch.ev = NULL;
    }
    return rc;
}

void loop_wake_stop(struct loop_wake *w)
{
    if (!w->watch.ev)
        return;
    loop_fd_stop(&w->watch);
    close(w->fd);
}

void loop_wake_post(struct loop_wake *w)
{
    int saved_errno = errno;
    uint64_t one = 1;

    if (atomic_exchange(&w->posted, true))
        return;
    if (write(w->fd, &one, sizeof one) < 0)
        CHECK(errno == EAGAIN); /* the counter is full: awake anyway */
    errno = saved_errno;
}

/* --- pollset --- */

_Static_assert((int)POLLSET_IN == (int)EPOLLIN
                   && (int)POLLSET_OUT == (int)EPOLLOUT
                   && (int)POLLSET_ERR == (int)EPOLLERR
                   && (int)POLLSET_HUP == (int)EPOLLHUP
                   && (int)POLLSET_RDHUP == (int)EPOLLRDHUP
                   && POLLSET_EDGE == (uint32_t)EPOLLET,
               "pollset passes the kernel's bits through");

struct pollset {
    int fd;
    struct loop_fd watch;
    pollset_fn *fn;
    void *ctx;
    bool freed; /* by a callback, while events[] is being walked */
    bool busy;
    struct epoll_event events[POLLSET_EVENTS];
};

static void free_pollset(struct pollset *p)
{
    loop_fd_stop(&p->watch);
    if (p->fd >= 0)
        close(p->fd);
    free(p);
}

static void on_pollset(void *ctx, unsigned ready)
{
    struct pollset *p = ctx;
    int n = epoll_wait(p->fd, p->events, POLLSET_EVENTS, 0);

    UNUSED(ready);
    if (n < 0)
        CHECK(errno == EINTR);
    p->busy = true;
    for (int i = 0; i < n && !p->freed; i++)
        p->fn(p->ctx, p->events[i].data.u64, p->events[i].events);
    p->busy = false;
    if (p->freed)
        free_pollset(p);
}

int pollset_new_as(struct pollset **ret, struct loop *l, pollset_fn *fn,
                   void *ctx, const char *name)
{
    struct pollset *p = calloc(1, sizeof *p);
    int rc = ERR_IO;

    if (!p)
        return ERR_NOMEM;
    p->fn = fn;
    p->ctx = ctx;
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    if (p->fd < 0)
        goto fail;
    rc = loop_fd_start_as(&p->watch, l, p->fd, LOOP_READ, on_pollset, p, name);
    if (rc < 0)
        goto fail;
    *ret = p;
    return 0;
fail:
    free_pollset(p);
    return rc;
}

void pollset_free(struct pollset *p)
{
    if (p && p->busy)
        p->freed = true;
    else if (p)
        free_pollset(p);
}

static int control(struct pollset *p, int op, int fd, uint32_t events,
                   uint64_t data)
{
    struct epoll_event ev = { .events = events, .data.u64 = data };

    return epoll_ctl(p->fd, op, fd, &ev) < 0 ? err_from_errno(errno) : 0;
}

int pollset_add(struct pollset *p, int fd, uint32_t events, uint64_t data)
{
    return control(p, EPOLL_CTL_ADD, fd, events, data);
}

int pollset_change(struct pollset *p, int fd, uint32_t events, uint64_t data)
{
    return control(p, EPOLL_CTL_MOD, fd, events, data);
}

void pollset_remove(struct pollset *p, int fd)
{
    /* Fails when fd was not in the set, which is what was wanted. */
    if (control(p, EPOLL_CTL_DEL, fd, 0, 0) < 0)
        return;
}
