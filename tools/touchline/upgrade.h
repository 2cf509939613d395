/* upgrade.h - every binary replaced by the one that is there now, while clients
 * stay connected: the router, repeaters, then the gateways, one after the other.
 *
 * The new router is tried first (touchline-router --check, and whether it speaks
 * the link that we do); then the old one is told to end, and the next is started:
 * gateways hold their clients meanwhile. So it is with a repeater. A gateway's successor is started beside
 * it, and takes its clients over (gateways/common/succession.h); a successor that
 * fails costs nothing. The first failure ends the upgrade: who has been replaced
 * is, the others go on as they are.
 *
 * The supervisor itself is not replaced: decisions/0027.
 * Threads: the supervisor's loop. */
#ifndef TOUCHLINE_TOOLS_UPGRADE_H
#define TOUCHLINE_TOOLS_UPGRADE_H

#include "tools/touchline/plan.h"

enum upgrade_step {
    UPGRADE_IDLE,
    UPGRADE_TRY,
    UPGRADE_ANEW, /* the router or a repeater, which has no clients */
    UPGRADE_GATEWAY
};

struct upgrade_ops {
    /* A line for people. */
    void (*say)(void *ctx, const char *text);
    void (*over)(void *ctx, bool done);
    /* The list of processes is another one. */
    void (*listed)(void *ctx);
    /* A member's process is another one. */
    void (*replaced)(void *ctx, struct member *m);
    /* A member's process has ended, and nobody took its place. */
    void (*gone)(void *ctx, struct member *m, int status);
};

struct upgrade {
    struct plan *plan;
    struct loop *loop;
    const struct upgrade_ops *ops;
    void *ctx;

    enum upgrade_step step;
    struct member *at;      /* whose turn it is */
    struct child other;     /* the one that tries, or the successor */
    const char **argv;      /* of the one that tries */
    int *fds;               /* of the successor */
    struct buf fd_names;
    struct handover control; /* our end of the successor's line */
    struct loop_fd word;    /* the predecessor's */
    struct loop_timer bound;
    struct loop_timer late; /* for predecessors that do not end */
    unsigned long long began; /* start time of other's pid, for the lock */
    uint32_t attempt;       /* number of the newest hand-over asked for */
    uint32_t clients, cut;  /* handed over, of this one; and not */
    bool ready;             /* the successor is */
    bool handed;            /* the predecessor says that it has all */
    bool died;              /* the predecessor has, meanwhile */
    char why[256];
};

void upgrade_init(struct upgrade *u, struct plan *plan, struct loop *loop,
                  const struct upgrade_ops *ops, void *ctx);
void upgrade_fini(struct upgrade *u);
static inline bool upgrade_under_way(const struct upgrade *u)
{
    return u->step != UPGRADE_IDLE;
}
/* over() follows. False, with *why: not now. */
MUST_USE bool upgrade_begin(struct upgrade *u, const char **why);
/* The supervisor stops: whatever is under way ends, over() included. */
void upgrade_stop(struct upgrade *u);

/* ---- what the supervisor hears ---- */
/* A member has said that it is ready. */
void upgrade_ready(struct upgrade *u, const struct member *m);
/* waitpid() has this pid. True: it was ours, and the rest of the supervisor has
 * nothing to do with it. */
bool upgrade_exited(struct upgrade *u, pid_t pid, int status);

#endif
