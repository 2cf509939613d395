/* daemon.h - what the programs that serve do alike, and say alike: they enter
 * their cage, and read their configuration again when they are sent SIGHUP.
 *
 * This is the programs' own, not a part of theirs: unlike the rest of proto it
 * decides, so it is what logs. Events: process.root, process.cage,
 * process.cage_weak, config.keeper, config.changed, config.unchanged,
 * config.reloaded, config.refused, log.reopen.
 *
 * Threads: daemon_enter_cage() and daemon_init() before there is a second one;
 * the rest the loop's. */
#ifndef PROTO_DAEMON_H
#define PROTO_DAEMON_H

#include "base/loop.h"
#include "proto/cage.h"
#include "proto/cli.h"
#include "proto/reread.h"
#include "proto/user.h"

/* What each of them counts. */
#define DAEMON_STATS(X)                                                       \
    X(RESTARTS, COUNTER, "restarts_total", NULL,                              \
      "times that touchline started this process again")                      \
    X(RELOADS, COUNTER, "reloads_total", "result=\"done\"",                   \
      "times that the configuration was read again")                          \
    X(RELOADS_REFUSED, COUNTER, "reloads_total", "result=\"refused\"",        \
      "times that the configuration was read again")                          \
    X(SLOW_TURNS, COUNTER, "slow_turns_total", NULL,                          \
      "turns of the event loop that took 50 ms or more")                      \
    X(SLOW_TURN_MS, COUNTER, "slow_turn_ms_total", NULL,                      \
      "milliseconds that those took together")                                \
    X(SUPERVISOR_LOST, GAUGE, "supervisor_lost", NULL,                        \
      "1 while the touchline that started this process is gone")

struct daemon_ops {
    /* To be put in force, on all threads; then daemon_configured(), or
     * daemon_keeps() when it cannot be. */
    void (*use)(void *ctx, const struct config *next);
    /* For the program's figures: one is in force, or refused. */
    void (*reloaded)(void *ctx, bool refused);
};

struct daemon {
    struct cli *cli; /* borrowed */
    const struct daemon_ops *ops;
    void *ctx;
    struct reread reread;
    struct loop_signal hangup;
    unsigned changed, left; /* keys of a reload, those that have to wait */
};

/* Into the cage, for good; what is missing of it is logged, and said on standard
 * error when the configuration insists on it. ERR_DENIED, ERR_NOMEM. */
MUST_USE int daemon_enter_cage(const struct cage *cage, const struct cli *cli,
                               const struct user *user);

/* In front of the cage, for what it will read then. kind as in reread.h. */
void daemon_init(struct daemon *d, struct cli *cli, const char *kind);
/* SIGHUP is heard from here on. SIGPIPE is ignored, and so is SIGUSR2, which is
 * the supervisor's: there is none to ask. ERR_NOMEM, ERR_IO. */
MUST_USE int daemon_watch(struct daemon *d, struct loop *l,
                          const struct daemon_ops *ops, void *ctx);
/* What use() was given is in force, and nobody points into the old one. */
void daemon_configured(struct daemon *d);
/* It cannot be put in force, for this reason: the old one stays. */
void daemon_keeps(struct daemon *d, const char *why);
/* The loop ends. Harmless on a zeroed struct, as is: */
void daemon_stop(struct daemon *d);
/* Nobody points into what use() was given any more. */
void daemon_fini(struct daemon *d);

#endif
