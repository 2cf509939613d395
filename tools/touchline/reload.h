/* reload.h - the configuration is read again, by the supervisor for all.
 *
 * It reads the file, which an error in it makes as if it had not been read,
 * says in the log what differs and when that counts, writes the next edition of
 * the sheet and tells the children, which confirm that they go on with it. One
 * that starts meanwhile reads the sheet, and is told again when it is ready.
 * What is asked for while a reload is under way is done behind it.
 * Threads: the supervisor's loop. */
#ifndef TOUCHLINE_TOOLS_RELOAD_H
#define TOUCHLINE_TOOLS_RELOAD_H

#include "tools/touchline/control.h"
#include "tools/touchline/plan.h"

/* What a child has not confirmed by then it does later, or never. */
#define RELOAD_WAIT (5 * SECOND)

struct reload {
    struct cli *cli;
    struct plan *plan;
    struct loop_timer patience;
    struct control_asker *asker; /* of the one under way; NULL: a signal */
    bool under_way, stopping;
    unsigned again; /* asked for behind it, by signals */
    struct control_asker *waiting[CONTROL_ASKERS];
    unsigned waiting_count;
    unsigned changed, left; /* keys */
    struct buf text;        /* of the answer */
    /* It is over: in force everywhere, or refused, or not confirmed. */
    loop_fn *over;
    void *ctx;
};

void reload_init(struct reload *r, struct cli *cli, struct plan *plan,
                 struct loop *loop, loop_fn *over, void *ctx);
/* asker NULL: by SIGHUP. */
void reload_begin(struct reload *r, struct control_asker *asker);
/* What a child says: a line `reloaded N` is for us. */
bool reload_heard(struct reload *r, struct member *m, struct slice line);
/* A child serves, the first time or again. */
void reload_ready(struct reload *r, struct member *m);
/* A child has ended: the next run of it begins with what is in force, and
 * nobody waits for this one. */
void reload_gone(struct reload *r);
/* touchline goes down: whoever waits, or asks from now on, is told so. */
void reload_stop(struct reload *r);
void reload_fini(struct reload *r);

#endif
