/* control.h - what a running supervisor is asked to do: `touchline reload`,
 * `touchline upgrade`.
 *
 * A socket in the directory, `touchline.sock`, for its user and root alone. Who
 * asks writes a line with a verb; the answer is text for people, whose last line
 * is `exit N`, and the end. Few ask at a time; one too many is told so.
 * Threads: the supervisor's loop; control_ask() blocks. */
#ifndef TOUCHLINE_TOOLS_CONTROL_H
#define TOUCHLINE_TOOLS_CONTROL_H

#include "base/buf.h"
#include "base/loop.h"

enum {
    CONTROL_ASKERS = 8,
    CONTROL_STOPPED_S = 3, /* who stands still for so long is not waited for */
    CONTROL_SILENT_S = 180 /* nor who says nothing, whatever it does */
};

struct control;

struct control_asker {
    struct control *control;
    struct loop_fd watch;
    int fd; /* -1: nobody */
    bool answered_later; /* its verb is being done; it may have gone */
    struct buf rest; /* of the answer, that its socket has no room for yet */
    char line[64];
    size_t len;
};

struct control {
    struct loop *loop;
    const char *dir;
    int fd;
    struct loop_fd watch;
    struct control_asker askers[CONTROL_ASKERS];
    /* control_answer() is to follow, now or later. */
    void (*asked)(void *ctx, struct control_asker *a, struct slice verb);
    void *ctx;
};

/* With the lock held, before the cage; dir is borrowed. ERR_IO with errno,
 * ERR_NOMEM. */
MUST_USE int control_open(struct control *c, const char *dir);
MUST_USE int control_watch(struct control *c, struct loop *l,
                           void (*asked)(void *ctx, struct control_asker *a,
                                         struct slice verb),
                           void *ctx);
void control_close(struct control *c); /* harmless on one that is not open */
/* A line in front of the answer, while it is being found. NULL is fine. */
void control_say(struct control_asker *a, const char *line);
/* Who has gone meanwhile is told nothing. */
void control_answer(struct control_asker *a, struct slice text, int code);

/* Asks the supervisor of dir and prints what it says: line by line (live), or
 * all of it at the end, on standard error where the code is not 0. Whatever the
 * code is but 0, there is a reason. The code it names; EXIT_FAILED: it stands still,
 * or is silent for long; EXIT_NO_ROUTER: nobody answers there. */
int control_ask(const char *dir, const char *verb, bool live);

#endif
