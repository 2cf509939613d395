/* keeper.h - a process that can still read the configuration file when this one
 * no longer can.
 *
 * In its cage a gateway sees no file, and the router none but its own. Who runs
 * alone forks a keeper before it goes in: a process of the same user that knows
 * one path, may read files and do nothing else (CAGE_KEEPER), and waits in
 * read(2). Asked with a byte it reads the file and says what is in it; there is
 * nothing that it could be told to do besides. It ends with the process that
 * forked it. Children of the supervisor have no keeper: sheet.h.
 *
 * Threads: keeper_start() before there is a second one; the rest the loop's.
 * Cost: a process that sleeps, some 200 KB of memory of its own. */
#ifndef PROTO_KEEPER_H
#define PROTO_KEEPER_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/opt.h"
#include "proto/config.h"

struct keeper {
    int fd; /* -1: there is none */
    pid_t pid;
    struct loop_fd watch;
    struct buf said; /* of an answer, so far */
    bool asked, again; /* once more, behind the answer under way */
    void (*told)(void *ctx, struct slice text, const char *error);
    void *ctx;
};

/* Forks it. path is borrowed for its life only here. ERR_IO, ERR_NOMEM. */
MUST_USE int keeper_start(struct keeper *k, const char *path,
                          enum sandbox sandbox);
/* On the loop: told(ctx, text, NULL) is an answer, told(ctx, "", error) why
 * there is none; text is wiped when it returns. ERR_NOMEM, ERR_IO. */
MUST_USE int keeper_watch(struct keeper *k, struct loop *l,
                          void (*told)(void *ctx, struct slice text,
                                       const char *error),
                          void *ctx);
/* Asks; told() follows. */
void keeper_ask(struct keeper *k);
void keeper_stop(struct keeper *k); /* fine with none */

#endif
