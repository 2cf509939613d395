/* watch.h - whether the children live, by their own word.
 *
 * The supervisor is to its children what systemd is to it: they are handed a
 * NOTIFY_SOCKET and a WATCHDOG_USEC, and each says WATCHDOG=1 as long as all of
 * its event loops turn (proto/notify.h). One that has begun to speak and falls
 * silent hangs: it is told to abort, which leaves a trace of where it hung, is
 * killed when that does not help, and is started again like any that dies; the
 * others do not notice. A child that has not spoken yet (it opens a large
 * store) or has said STOPPING=1 (its end is bounded by limits.drain_wait) is
 * not watched.
 *
 * The times are parts of the one that the supervisor itself is given, so that a
 * child is replaced before systemd would lose its patience with all of them:
 * silent for half of it a child hangs, and the look is taken eight times. When
 * the supervisor was kept from looking for a quarter of it (a machine that
 * stood still), so were they: everybody begins anew.
 *
 * Who turns and is mute is mute.h's: what is said for it comes in here, and
 * whom it names is ended like one that hangs (`child.mute`).
 *
 * Threads: the supervisor's loop. Cost: one datagram and one look per beat, and
 * per second. */
#ifndef TOUCHLINE_TOOLS_WATCH_H
#define TOUCHLINE_TOOLS_WATCH_H

#include "tools/touchline/mute.h"
#include "tools/touchline/plan.h"

struct watch {
    struct plan *plan;
    struct loop *loop;
    int fd;            /* -1: not started */
    char address[108]; /* the children's NOTIFY_SOCKET */
    int64_t time_ns;   /* the supervisor's own watchdog; 0: hangs are not seen */
    struct mutes mutes;
    struct loop_timer second;
    int64_t looked_ns;
    struct loop_fd in;
    struct loop_timer next;
    loop_fn *well;
    void *ctx;
};

/* Looks after the plan's children from now on, and calls well(ctx) after every
 * look that found none of them hanging. time_ns 0: no such looks are taken, only
 * those for the mute, of which cfg says what mute is. The socket's name is
 * abstract and chosen by the kernel: nothing is left in a directory. ERR_IO,
 * ERR_NOMEM. */
MUST_USE int watch_start(struct watch *w, struct plan *plan, struct loop *loop,
                         int64_t time_ns, const struct config *cfg,
                         loop_fn *well, void *ctx);
void watch_stop(struct watch *w); /* harmless on a zeroed struct */

/* What a child is told as its WATCHDOG_USEC. */
int64_t watch_child_usec(const struct watch *w);

/* One look, at now_ns: signals who hangs; true: nobody does. */
bool watch_look(struct watch *w, int64_t now_ns);

/* What the process pid has sent, at now_ns. */
void watch_heard(struct watch *w, pid_t pid, struct slice text, int64_t now_ns);

#endif
