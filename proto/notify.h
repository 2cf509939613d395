/* notify.h - what a service tells who started it, and that it is alive:
 * systemd's protocol (sd_notify(3)), one datagram of VARIABLE=VALUE lines.
 *
 * systemd listens to `touchline`, or to a binary that runs alone; `touchline`
 * listens in the same way to those whom it starts. Without NOTIFY_SOCKET in
 * the environment nothing is said, and nothing costs anything.
 *
 * Alive means that every event loop of the process turns: a heart has a pulse
 * in each of them, and says WATCHDOG=1 only when all have beaten since it last
 * did. A loop that hangs, is stopped or spins in a callback silences it.
 *
 * Threads: notify_open() start-up only; a pulse belongs to its loop's thread. */
#ifndef PROTO_NOTIFY_H
#define PROTO_NOTIFY_H

#include <stdatomic.h>

#include "base/loop.h"

struct notify {
    int fd;              /* -1: nobody listens */
    int64_t watchdog_ns; /* silent for longer is dead; 0: nobody looks */
};

/* Takes NOTIFY_SOCKET (a path, or @NAME for an abstract one), WATCHDOG_USEC
 * and WATCHDOG_PID out of the environment, so that no child speaks in our
 * name. What is wrong with them is as if they were not there. Early: what a
 * sandbox forbids later is open then. */
void notify_open(struct notify *n);
void notify_close(struct notify *n);

/* Sends text. A listener that has no room (the kernel's queue is some ten
 * datagrams) is waited for, at most NOTIFY_WAIT_MS: a READY=1 that got lost would
 * end in a start that never was. Beats do not wait; the next one is soon. */
enum { NOTIFY_WAIT_MS = 2000 };
PRINTF_LIKE(2, 3) void notify_tell(const struct notify *n, const char *fmt, ...);

/* What is said again and again, and never waited for: only when the listener has
 * taken what was said last. */
struct voice {
    const struct notify *notify; /* borrowed */
    unsigned unheard;            /* times in a row that it had not */
};
enum { VOICE_LOST = 3 };
/* False: VOICE_LOST times in a row nobody heard it: the listener is gone, or
 * stands still. Said once a second, that is known in some. */
PRINTF_LIKE(2, 3) bool voice_say(struct voice *v, const char *fmt, ...);

struct heart {
    const struct notify *notify; /* borrowed */
    unsigned loops;
    atomic_uint missing, round;
};

struct pulse {
    struct heart *heart;
    struct loop_timer timer;
    unsigned round; /* that it beats in next */
};

/* loops: how many pulses will be started. */
void heart_init(struct heart *h, const struct notify *n, unsigned loops);
/* The first beat is in the loop's first turn, the others PULSE_BEATS times in
 * the watchdog's time; no timer when nobody looks. */
enum { PULSE_BEATS = 5 };
void pulse_start(struct pulse *p, struct heart *h, struct loop *l);
void pulse_stop(struct pulse *p); /* harmless on a zeroed struct */

#endif
