/* plan.h - what is to run: the router, repeaters, the instances of every edge,
 * the arguments of each, and the sockets it is handed.
 *
 * Every port is claimed while the plan is made. The supervisor keeps the
 * listening sockets: while an instance is started again its connections wait
 * in the kernel's queue instead of being refused.
 * Threads: one. */
#ifndef TOUCHLINE_TOOLS_PLAN_H
#define TOUCHLINE_TOOLS_PLAN_H

#include "proto/cli.h"
#include "proto/handover.h"
#include "proto/listen.h"
#include "proto/sheet.h"
#include "proto/siblings.h"
#include "tools/touchline/child.h"
#include "tools/touchline/mute.h"

enum { PLAN_KINDS = 3, PLAN_PATH_MAX = 4096, MEMBER_RETIRED = 4 };

/* In the order in which they stand in the plan; ended in the other one. */
enum member_role { MEMBER_ROUTER, MEMBER_REPEATER, MEMBER_GATEWAY,
                   MEMBER_ROLES };

/* One process to be. */
struct member {
    struct child child;
    struct mute mute;
    enum member_role role;
    const char *kind; /* "router", "repeater", "http" */
    struct member *repeater; /* that it is behind; NULL: it has its own link */
    char through[48]; /* "link.through=repeater1", then */
    char name[24];    /* "http-1": for people */
    char number[12];  /* of the instance, as its command line says it */
    const char **argv; /* ends with NULL; has room for what is added */
    size_t argc;
    int *fds; /* borrowed from the sets of the plan */
    unsigned fd_count;
    struct buf fd_names;
    char url[160]; /* of its ready line */
    unsigned long long began; /* start time of its pid, for the lock */
    struct siblings *siblings; /* borrowed; NULL: it has its port alone */
    unsigned instance;
    uint64_t confirmed; /* the edition of the sheet that it says it has */
    unsigned control_at;     /* in fds: its end of the line to us, while it is
                                started; -1. Gateways have one */
    struct handover control; /* our end; fd -1: there is none */
    struct retired { /* predecessors that still end */
        pid_t pid;      /* 0: none */
        int64_t due_ns; /* by then */
    } retired[MEMBER_RETIRED];
};

struct plan {
    const struct cli *cli;
    struct sheet sheet; /* the configuration, for all of them */
    int passing[2]; /* from http to ws; -1: not both are started */
    struct member *members; /* the router first, then repeaters */
    size_t count;
    struct listen_set *sets; /* one for each worker of each instance */
    size_t set_count;
    size_t gateways;        /* of them */
    char paths[PLAN_KINDS + 2][PLAN_PATH_MAX]; /* of the binaries */
    struct siblings *siblings[PLAN_KINDS]; /* of instances; or NULL */
    struct buf listens[PLAN_KINDS]; /* "tcp.listen=127.0.0.1:9999": claimed */
};

/* Claims the ports and says who runs with what; cli is borrowed for the plan's
 * life. On an error *why says what is wrong ("127.0.0.1:8000 is in use by
 * nginx (pid 812)") and plan_fini() is due as well. ERR_BUSY, ERR_BAD, ERR_IO,
 * ERR_FULL, ERR_NOMEM. */
MUST_USE int plan_make(struct plan *p, const struct cli *cli, char *why,
                       size_t size);
/* Closes the sockets and removes the files of those that have one. */
void plan_fini(struct plan *p);

/* What a member is handed, with the line to us and, where heir is not -1, that to
 * its predecessor, in arrays that the caller frees; so for a process of its own.
 * ERR_NOMEM. */
MUST_USE int plan_hand(const struct member *m, int control, int heir,
                       int **fds, unsigned *count, struct buf *names);
/* A line for the process that is to be started: its end is handed to it, ours is
 * m->control. ERR_IO. */
MUST_USE int plan_open_line(struct member *m);
/* It has been started: its end is its own. */
void plan_close_their_end(struct member *m);
/* Adds an argument, borrowed for the plan's life; there is room for
 * PLAN_MORE_ARGS. */
enum { PLAN_MORE_ARGS = 1 };
void plan_add_arg(struct member *m, const char *arg);

#endif
