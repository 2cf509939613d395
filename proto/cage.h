/* cage.h - what a process may still do once it serves: the least that its kind
 * needs, whoever it is by then.
 *
 * Four walls, each by itself:
 *   no_new_privs  nothing it starts has more rights than it has
 *   seccomp       the system calls of its kind (proto/calls.def), no others;
 *                 no memory that can be written becomes code
 *   landlock      the files of its kind; no TCP but the link's; no signals to,
 *                 and no abstract sockets of, those outside
 *   no dump       no core file, no look into it by others of the same user:
 *                 it has secrets in it, and what people say
 *
 * A gateway sees no file but router.url and the directory of its log; the
 * router sees its own directories, a repeater its own one and router.url; the supervisor reads what it likes, since
 * it starts programs, writes where its children do, and stays open to a look:
 * it is to keep no secret (config_forget_secrets()). What it may not do its
 * children may not either: its list of calls therefore holds all of theirs. A
 * keeper reads files, and does nothing else.
 *
 * A wall that the kernel does not have is left out and named. Under a
 * sanitizer, whose own calls these are not, only no_new_privs and landlock
 * stand, and files may be read.
 *
 * Threads: cage_enter() before there is a second one. Cost: a millisecond or
 * two, once; the kernel keeps a map of the calls that are always allowed, so
 * that only one with a condition is judged each time that it is made. */
#ifndef TOUCHLINE_PROTO_CAGE_H
#define TOUCHLINE_PROTO_CAGE_H

#include <stdbool.h>

#include "proto/config.h"

enum cage_kind {
    CAGE_ROUTER, CAGE_REPEATER, CAGE_GATEWAY, CAGE_SUPERVISOR,
    CAGE_KEEPER, /* keeper.h */
    CAGE_KINDS
};

enum cage_access {
    CAGE_READ,
    CAGE_RUN,    /* and read */
    CAGE_APPEND, /* make files and write to them, not read, cut or remove */
    CAGE_REMOVE, /* files */
    CAGE_KEEP,   /* anything but run, with files, directories, sockets, links */
    CAGE_FIFOS,  /* read and write what is there: devices */
};

enum { CAGE_PATHS = 48, CAGE_PATH_MAX = 4096, CAGE_TEXT_MAX = 256 };

struct cage {
    enum cage_kind kind;
    bool tcp_link;  /* the link is TCP: connects, listens, resolves names */
    bool no_scope;  /* has to reach an abstract socket outside */
    bool digests;   /* will need libcrypto, which is loaded in front */
    const char *hole; /* what the configuration leaves open, in words; NULL */
    unsigned count;
    struct cage_path {
        char path[CAGE_PATH_MAX];
        enum cage_access access;
    } at[CAGE_PATHS];
};

/* What stands. */
struct cage_report {
    bool no_new_privs, seccomp, no_dump;
    int landlock;  /* its version; 0: none */
    bool relaxed;  /* a sanitizer's build */
    char text[CAGE_TEXT_MAX];    /* "seccomp=yes landlock=7 ..." for the log */
    char missing[CAGE_TEXT_MAX]; /* "landlock (Function not implemented)"; or
                                    empty */
};

/* What a process of this kind needs with this configuration; edge: a
 * gateway's, a repeater's name ("repeater1"), or NULL; own_ports: it has opened them itself. ERR_FULL: a
 * path too long, or too many. */
MUST_USE int cage_plan(struct cage *ret, enum cage_kind kind,
                       const struct config *cfg, const char *edge,
                       bool own_ports);
/* Besides, once. What is not there when the cage is entered is left out. */
MUST_USE int cage_allow(struct cage *c, const char *path,
                        enum cage_access access);

/* In, with this process and all it will start; there is no way out. What
 * cannot be had is missing in *ret; ERR_DENIED when process.sandbox says that
 * nothing may be. With `off` it does nothing but no_new_privs. */
MUST_USE int cage_enter(const struct cage *c, enum sandbox sandbox,
                        struct cage_report *ret);

/* ---- the proof ----------------------------------------------------------- */

/* Processes of their own enter the cage and try what must not be possible:
 * foreign files, programs, other processes, raw sockets, becoming root, the
 * kernel's less travelled calls. Names in *ret what got through ("read execve"),
 * empty: nothing; *entered is what they stood in. The number that got through;
 * ERR_NOMEM, ERR_DENIED as above. This process is not in the cage afterwards. */
MUST_USE int cage_try(const struct cage *c, enum sandbox sandbox,
                      struct cage_report *entered, char ret[CAGE_TEXT_MAX]);

/* The line of --check: "cage: ok (...)", "cage: off" or what is wrong; false:
 * it does not hold. */
bool cage_check(const struct cage *c, enum sandbox sandbox, const char *user);

#endif
