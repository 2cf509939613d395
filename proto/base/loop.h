/* loop.h - one thread's event loop: sockets, timers, signals, wake-ups.
 * Threads: a loop and all that is registered with it belong to one thread;
 * only loop_wake_post() may come from others.
 *
 * A turn: wait; run what is ready (watches, signals, wakes, pollsets, then due
 * timers); then the end-of-turn hooks in the order they were added. Output
 * gathered during a turn is flushed in a hook, so it leaves in one call.
 *
 * Everything registered is embedded in its owner, must stay in place while
 * registered and must be taken out before it is freed; loop_free() does not
 * know the owners. A callback may take out itself or any other. */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdatomic.h>

#include "base/list.h"

struct loop;
struct event; /* of the library below; nobody else sees it */
typedef void loop_fn(void *ctx);

/* ERR_NOMEM, or ERR_IO when the system refuses a descriptor. */
MUST_USE int loop_new(struct loop **ret);
void loop_free(struct loop *l); /* NULL is fine */

/* Turns until loop_stop(); ERR_IO when waiting itself fails. */
MUST_USE int loop_run(struct loop *l);

/* The running turn is the last. A stop before loop_run() counts. */
void loop_stop(struct loop *l);

/* One turn that waits at most wait_ns (0: not at all, below 0: for ever).
 * For tests and for draining. */
MUST_USE int loop_step(struct loop *l, int64_t wait_ns);

/* clock_ns() as read when this turn's waiting ended. */
int64_t loop_now(const struct loop *l);

/* --- turns that take long. Who does much in one turn keeps everybody else
 * waiting: that is told, with the name of what took longest in it, the file
 * and function of a callback, or what loop_mark() calls a part of it.
 *
 * Cost: a reading of the coarse clock (clock.h) for each callback; its grain of
 * some milliseconds is what the times are worth. --- */
struct loop_slow {
    int64_t took_ns;   /* from the end of the waiting to the turn's end */
    int64_t longest_ns; /* of that, in one callback or part */
    const char *where;  /* which; a literal */
};
typedef void loop_slow_fn(void *ctx, const struct loop_slow *s);

/* fn is told, at its end, of each turn that took over_ns or more. */
void loop_tell_slow(struct loop *l, int64_t over_ns, loop_slow_fn *fn,
                    void *ctx);
/* Within a callback: what ran since the last mark, or since it was called, was
 * `name`, a literal. */
void loop_mark(struct loop *l, const char *name);

/* What starts a callback notes its name beside it: these stand for the
 * functions of the same name with _as. */
#define LOOP_NAME(fn) __FILE__ ":" #fn
#define loop_timer_init(t, l, fn, ctx) \
    loop_timer_init_as(t, l, fn, ctx, LOOP_NAME(fn))
#define loop_fd_start(w, l, fd, want, fn, ctx) \
    loop_fd_start_as(w, l, fd, want, fn, ctx, LOOP_NAME(fn))
#define loop_signal_start(s, l, signo, fn, ctx) \
    loop_signal_start_as(s, l, signo, fn, ctx, LOOP_NAME(fn))
#define loop_wake_start(w, l, fn, ctx) \
    loop_wake_start_as(w, l, fn, ctx, LOOP_NAME(fn))
#define loop_turn_start(t, l, fn, ctx) \
    loop_turn_start_as(t, l, fn, ctx, LOOP_NAME(fn))
#define pollset_new(ret, l, fn, ctx) \
    pollset_new_as(ret, l, fn, ctx, LOOP_NAME(fn))

/* The next turn starts at once: called where work was left unfinished on
 * purpose, so that others get their share in between. */
void loop_again(struct loop *l);

/* --- timers: any number, O(log n), no allocation, never early. They follow
 * clock_ns(), so a fake clock and loop_step(l, 0) make them fire. --- */
struct loop_timer {
    struct loop *loop;
    loop_fn *fn;
    void *ctx;
    const char *name;
    int64_t due_ns;
    struct loop_timer *child, *next, *prev; /* pairing heap */
    bool pending;
};

void loop_timer_init_as(struct loop_timer *t, struct loop *l, loop_fn *fn,
                        void *ctx, const char *name);

/* Fires once, after_ns from now; a pending timer is moved. */
void loop_timer_set(struct loop_timer *t, int64_t after_ns);

/* Fires once, when clock_ns() has reached due_ns. */
void loop_timer_set_at(struct loop_timer *t, int64_t due_ns);
void loop_timer_stop(struct loop_timer *t); /* harmless when not pending */

/* --- watches: a few descriptors each process has (listeners, pipes). Level
 * triggered; errors and hang-ups show as readable. --- */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
typedef void loop_fd_fn(void *ctx, unsigned ready);

struct loop_fd {
    struct event *ev;
    struct loop *loop;
    loop_fd_fn *fn;
    void *ctx;
    const char *name;
};

/* Borrows fd. ERR_NOMEM; ERR_IO when fd cannot be watched. */
MUST_USE int loop_fd_start_as(struct loop_fd *w, struct loop *l, int fd,
                              unsigned want, loop_fd_fn *fn, void *ctx,
                              const char *name);
void loop_fd_stop(struct loop_fd *w); /* harmless on a zeroed struct */

/* --- signals: delivered in the loop's thread. One loop per process. --- */
struct loop_signal {
    struct event *ev;
    struct loop *loop;
    loop_fn *fn;
    void *ctx;
    const char *name;
};

MUST_USE int loop_signal_start_as(struct loop_signal *s, struct loop *l,
                                  int signo, loop_fn *fn, void *ctx,
                                  const char *name);
void loop_signal_stop(struct loop_signal *s);
/* For a process that starts: a signal that comes before its callback is there
 * waits for that, instead of ending the process. */
void loop_signal_hold(int signo);

/* --- wakes: another thread asks for a callback in the loop's thread. Posts
 * that come before the callback runs are one; a post costs a system call only
 * when none is pending. Everything the poster wrote before is visible. --- */
struct loop_wake {
    struct loop_fd watch;
    int fd;
    atomic_bool posted;
    loop_fn *fn;
    void *ctx;
};

MUST_USE int loop_wake_start_as(struct loop_wake *w, struct loop *l,
                                loop_fn *fn, void *ctx, const char *name);
void loop_wake_stop(struct loop_wake *w); /* no posts from here on */
void loop_wake_post(struct loop_wake *w); /* any thread, signal handlers */

/* --- end-of-turn hooks: in the order they were added; one that is added by
 * another still runs in the same turn --- */
struct loop_turn {
    struct list_node node;
    loop_fn *fn;
    void *ctx;
    const char *name;
    struct loop *loop;
};

void loop_turn_start_as(struct loop_turn *t, struct loop *l, loop_fn *fn,
                        void *ctx, const char *name);
void loop_turn_stop(struct loop_turn *t); /* harmless on a zeroed struct */

/* --- pollset: very many sockets at no user memory each. An epoll of its own
 * inside the loop: every socket has 8 bytes of the owner's, and all share one
 * callback. Up to 512 events a turn, the rest in the next.
 *
 * A callback may remove any socket, and an event collected before that may
 * still arrive: data has to be something that can be told stale (a number
 * with a generation), not a pointer. --- */
struct pollset;
enum {
    POLLSET_IN = 0x001,
    POLLSET_OUT = 0x004,
    POLLSET_ERR = 0x008,    /* always reported */
    POLLSET_HUP = 0x010,    /* always reported */
    POLLSET_RDHUP = 0x2000, /* the peer sends no more */
};
#define POLLSET_EDGE (1u << 31) /* report a change once (EPOLLET) */

typedef void pollset_fn(void *ctx, uint64_t data, uint32_t events);

MUST_USE int pollset_new_as(struct pollset **ret, struct loop *l,
                            pollset_fn *fn, void *ctx, const char *name);
void pollset_free(struct pollset *p); /* NULL is fine; closes no socket */

/* Borrows fd; closing it takes it out. ERR_NOMEM, ERR_FULL (the system's
 * limit on watches), ERR_EXISTS, ERR_IO. */
MUST_USE int pollset_add(struct pollset *p, int fd, uint32_t events,
                         uint64_t data);
MUST_USE int pollset_change(struct pollset *p, int fd, uint32_t events,
                            uint64_t data);
void pollset_remove(struct pollset *p, int fd);

#endif
