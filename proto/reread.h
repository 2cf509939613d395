/* reread.h - a process reads its configuration again: where the text comes from,
 * and what becomes of the two configurations meanwhile.
 *
 * Who was started by the supervisor reads its sheet (sheet.h), who runs alone
 * asks its keeper (keeper.h), who was given no file has nothing to read. An error
 * in the file, or no file, changes nothing. What the file says is adopted
 * (reload.h) and given to the process, which puts it in force, on all of its
 * threads, and then says so: until then both configurations are there, for who
 * still points into the old one. One change at a time; what is asked for
 * meanwhile is done behind it.
 *
 * Threads: reread_init() before there is a second one; the rest the loop's. */
#ifndef PROTO_REREAD_H
#define PROTO_REREAD_H

#include "proto/cli.h"
#include "proto/keeper.h"
#include "proto/reload.h"

struct reread;

struct reread_ops {
    /* Of each key that differs, when the process reads it; a child of the
     * supervisor's, which says it for all, is not told. */
    config_change_fn *differs;
    /* To be put in force, and reread_done() called; the file's text. */
    void (*use)(void *ctx, const struct config *next);
    /* The file was refused, and the old configuration stays. why NULL: by
     * the supervisor, who has said why. */
    void (*refused)(void *ctx, const char *why);
};

struct reread {
    struct cli *cli;  /* borrowed; its config is the one in force */
    const char *kind; /* "router", "http" */
    const struct reread_ops *ops;
    void *ctx;
    struct keeper keeper;
    struct config *next; /* not yet in force everywhere; NULL */
    uint64_t edition, refused, coming; /* of the sheet */
    bool again;
};

/* Forks a keeper where one is needed: in front of the cage. ERR_NOMEM, ERR_IO:
 * there is none, and the configuration cannot be read again. */
MUST_USE int reread_init(struct reread *r, struct cli *cli, const char *kind);
/* ERR_NOMEM, ERR_IO. */
MUST_USE int reread_watch(struct reread *r, struct loop *l,
                          const struct reread_ops *ops, void *ctx);
/* SIGHUP has come. False: there is no file to read. */
bool reread_begin(struct reread *r);
/* What use() was given is in force, and nobody points into the old one, which
 * is freed; the supervisor is told on standard output: `reloaded EDITION`. */
void reread_done(struct reread *r);
/* What use() was given cannot be put in force: the old one stays. */
void reread_drop(struct reread *r);
/* The loop ends: nothing is read any more. Harmless on a zeroed struct, as is: */
void reread_stop(struct reread *r);
/* Nobody points into what use() was given any more. */
void reread_fini(struct reread *r);

#endif
