/* child.h - one supervised process: started, watched, started again.
 *
 * A run that had become ready is followed by the next at once; else the next
 * start waits 0.1 s, doubling to 5 s. Who has never been ready gives up after
 * CHILD_STARTS_MAX starts; who has been is started for ever: what hinders it (a
 * disk that fails, a port that is held) can end, and to stop those who serve
 * beside it would cure nothing. Who ends with EXIT_USAGE or EXIT_REFUSED has
 * understood that it must not serve, and would again: there is no other start.
 * Threads: the supervisor's loop. */
#ifndef TOUCHLINE_TOOLS_CHILD_H
#define TOUCHLINE_TOOLS_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/loop.h"

enum { CHILD_STARTS_MAX = 5 };

struct child;

struct child_ops {
    /* It is about to be started: its fds can be changed. False: it cannot be,
     * and is tried later. May be NULL. */
    bool (*prepare)(void *ctx, struct child *c);
    /* c->pid is new; it runs when this returns. */
    void (*started)(void *ctx, struct child *c);
    /* A line of its standard output, without the line feed. */
    void (*line)(void *ctx, struct child *c, struct slice line);
    void (*ready)(void *ctx, struct child *c, struct slice line);
    /* It ended as it was told to, or has given up. */
    void (*ended)(void *ctx, struct child *c, bool gave_up);
};

/* What to run; borrowed for the child's life. */
struct child_spec {
    const char *name;  /* "http 1": for people */
    const char *path;  /* of the binary */
    const char **argv; /* ends with NULL */
    int *fds;          /* handed over by the systemd protocol */
    unsigned fd_count;
    const char *fd_names; /* LISTEN_FDNAMES */
    int lock_fd; /* stays open in the child: says that it lives */
    const char *notify_socket; /* NOTIFY_SOCKET, watch.h; "": none */
    int64_t watchdog_usec;     /* WATCHDOG_USEC, with notify_socket */
};

struct child {
    struct child_spec spec;
    const struct child_ops *ops;
    void *ctx;
    struct loop *loop;
    pid_t pid; /* 0: not running */
    bool ready, stopping, gave_up;
    bool proven;  /* has been ready, in this run or one before */
    bool refused; /* to serve; gave_up, too */
    int64_t heard_ns; /* its last sign of life, watch.h; 0: none yet */
    int64_t told_ns;       /* it was told to abort for being mute; 0: not */
    bool hung, bowing_out; /* told to abort; it ends by itself */
    bool replaced; /* told to end, for the next one is another version */
    int status;    /* of waitpid(), when it has ended */
    unsigned starts;  /* in a row that never became ready */
    uint64_t restarts;
    uint64_t mute_restarts; /* of these, by mute.h */
    int out;          /* read end of its standard output */
    struct loop_fd watch;
    struct buf line;
    struct loop_timer again;
};

void child_init(struct child *c, struct loop *loop,
                const struct child_spec *spec, const struct child_ops *ops,
                void *ctx);
void child_start(struct child *c);
/* SIGTERM, and no start any more. */
void child_stop(struct child *c);
void child_signal(struct child *c, int signo);
/* SIGTERM, and the next one is started, from what its path names now. */
void child_replace(struct child *c);
/* The process of `from`, which runs, is c's from now on; what c had is nobody's,
 * though it may run on. `from` is as before child_start(). */
void child_take_over(struct child *c, struct child *from);
/* waitpid() says that it has ended. */
void child_exited(struct child *c, int status);
void child_fini(struct child *c);

#endif
