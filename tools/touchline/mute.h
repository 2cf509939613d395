/* mute.h - who is alive and mute: messages do not get through it.
 *
 * Each gateway says once a second for how long nothing has come back to it
 * through the router (gateways/common/canary.h), the router for how long
 * something has waited for its store. From this follows whom to start anew,
 * when it has been so without a break for process.canary_restart:
 *
 *   all gateways that speak are mute    the router; clients stay connected
 *   that did not help, and all of them  the repeater, whose clients stay as
 *   are behind the same repeater        well
 *   nor that, and there is one          the gateway
 *   all behind a repeater are mute,     that repeater; in vain, where there is
 *   others are not                      one: the gateway
 *   one is mute, another is not         that gateway
 *   one has fallen silent               that gateway: it hangs
 *   the store hangs, or has more to do  nobody: another router would wait for
 *   than it can                         the same disk, and reading goes on
 *
 * A store that refuses (a full disk) makes nobody mute. A router that has not
 * spoken yet starts, and is waited for; one that has fallen silent is as mute as
 * its gateways say. That of one is its own doing. Who is named in vain takes
 * turns with the others that may be the cause, each after twice the time, up to MUTE_DOUBLINGS times twice, until
 * all has been well for MUTE_CALM. When the supervisor itself was kept from
 * looking, everybody begins anew.
 * Threads: the supervisor's loop. */
#ifndef TOUCHLINE_TOOLS_MUTE_H
#define TOUCHLINE_TOOLS_MUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/slice.h"

enum { MUTE_DOUBLINGS = 6 };
#define MUTE_CALM (10 * MINUTE)

/* Of a member. */
struct mute {
    int64_t told_ns;  /* when it spoke last; 0: never in this run */
    int64_t since_ns; /* it has said so ever since; 0: it is not mute */
    int64_t acted_ns; /* the last of these */
    unsigned acts;    /* that were of no lasting use */
};

struct member;
struct plan;

struct mutes {
    struct plan *plan;
    int64_t wait_ns;  /* process.canary_wait: who says longer is mute */
    int64_t after_ns; /* process.canary_restart; 0: nobody is started anew */
    int64_t looked_ns;
};

/* A line that m's process has sent; most are not for us. */
void mute_heard(struct member *m, const struct mutes *s, struct slice line,
                int64_t now_ns);
/* Its run has ended. */
void mute_ended(struct member *m);
/* One look, each second: whom to start anew, or NULL. Who is returned counts
 * as started anew. */
struct member *mute_look(struct mutes *s, int64_t now_ns);

#endif
