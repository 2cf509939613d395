/* reload.h - a configuration that is read again: what of it counts at once, and
 * what has to wait for a start.
 *
 * Each key says in its row (proto/options.def) when a change is in force. What
 * is not in force yet stays as it was, so that a configuration always says what
 * its process does. A namespace may be given other rules at any time, but for
 * two things that the router has settled for each of its channels: whether
 * anything is kept of it at all (its numbers come from elsewhere then), and
 * whether people are told who is there. These count with the next start of the
 * router.
 *
 * Threads: any; no I/O. */
#ifndef PROTO_RELOAD_H
#define PROTO_RELOAD_H

#include "proto/config.h"

/* A key whose value in the file is another one than that in force. */
struct config_change {
    const struct opt_row *row;
    const char *name; /* of [namespace NAME], [token NAME]; NULL elsewhere */
    bool waits;       /* it is as it was; else it counts */
};

/* "http.listen", "namespace room/.publish". */
void config_change_key(struct buf *out, const struct config_change *c);
/* When it counts, in words. */
const char *config_change_when(const struct config_change *c);
/* Both, for the log: key="..." changes="...". */
struct config_change_text {
    char text[320];
};
struct config_change_text config_change_text(const struct config_change *c);

/* Does this kind of process, "router" or an edge's name, read the key? */
bool config_change_concerns(const struct config_change *c, const char *kind);

typedef void config_change_fn(void *ctx, const struct config_change *c);

/* Makes next, read from the file, the one to be in force behind now: keys that
 * have to wait are given the values they have in now. starting: by a process
 * that begins, so that those which wait for its start count. fn (may be NULL)
 * is told of each key that differs, and may not keep c. ERR_BAD: what would be
 * in force contradicts itself, and *err says how; ERR_NOMEM. Then next is of no
 * use. */
MUST_USE int config_adopt(struct config *next, const struct config *now,
                          bool starting, config_change_fn *fn, void *ctx,
                          struct opt_error *err);

/* The holder of the same name and secret, NULL: there is none any more. Whoever
 * proved to know a secret that is gone has proved nothing. */
const struct config_token *config_same_token(const struct config *next,
                                             const struct config_token *t);

#endif
