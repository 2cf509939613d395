/* model.h - makes up histories that are right, and makes them wrong in one
 * place: what the checker is tested with.
 *
 * A model is a small router played in memory: publications with all their fates,
 * subscribers of all forms that read, fall behind, leave and come back, deaths
 * of the router and of edges; each says in the log what is so. All follows from
 * the seed. A mutation then changes what cannot be changed without being wrong:
 * each has its place in every history. */
#ifndef TESTS_CHAOS_MODEL_H
#define TESTS_CHAOS_MODEL_H

#include "base/buf.h"
#include "tests/chaos/check.h"

enum mutation {
    MUTATE_DROP,          /* a message, and another of its channel follows */
    MUTATE_SWAP,          /* two messages of a connection */
    MUTATE_DUPLICATE,     /* a message */
    MUTATE_HASH,          /* of what was seen */
    MUTATE_OFFSET,        /* of what was seen */
    MUTATE_SEQ,           /* of what was seen */
    MUTATE_HIDE_CLOSE,    /* a connection does not end */
    MUTATE_DROP_NOTICE,   /* a gap is not told */
    MUTATE_RANGE,         /* a gap tells something else */
    MUTATE_GHOST,         /* what nobody said is seen, or what was refused */
    MUTATE_LOSE,          /* what was acknowledged is not stored */
    MUTATE_TWICE,         /* two acknowledgements have one number */
    MUTATE_AGAIN,         /* a publication is stored twice */
    MUTATE_CURSOR,        /* somebody comes back with a later cursor */
    MUTATE_DROP_SNAPSHOT, /* nobody said from where it begins */
    MUTATE_TRIMMED,       /* what is kept is told to be trimmed */
    MUTATE_ORDER,         /* acknowledged before one with less was sent */
    MUTATE_CLOSE,         /* a connection is closed for nothing */
    MUTATE_LATE,          /* the last one comes a minute late */
    MUTATE_UNREACHED,     /* the last one does not come */
    MUTATE_COUNTER,       /* clients were told of more gaps than are counted */
    MUTATE_SCORE,         /* a snapshot has a goal too many */
    MUTATE_STALE,         /* a snapshot is of an earlier moment than its cursor */
    MUTATE_RETRACTED,     /* a snapshot counts what was retracted */
    MUTATE_NO_STATE,      /* a state was left out, and no snapshot follows */
    MUTATE_KEPT,          /* a goal, card or substitution was left out */
    MUTATE_KEYLESS,       /* what has no key was left out */
    MUTATE_NEWEST,        /* the newest of its key was left out */
    MUTATE_CUT,           /* something of `cut` was left out */
    MUTATE_CONFLATED,     /* a gap tells other ends or another count */
    MUTATE_TOLD_TWICE,    /* a gap is told twice */
    MUTATE_PATTERN,       /* a pattern's gap tells another count */
    MUTATE_READS,         /* who reads is told to be slow */
    MUTATE_COMES,         /* what a second gap tells to be left out comes */
    MUTATE_CAME,          /* a second gap tells of what has come */
    MUTATE_SHORT,         /* a gap tells one too few to who leaves behind it */
    MUTATIONS,
};

/* Appends the log that the seed makes; mutation: MUTATIONS for none. dense: its
 * subscribers write runs. */
void model_write(struct buf *out, uint64_t seed, enum mutation mutation,
                 bool dense);
const char *model_mutation_name(enum mutation m);
/* The pass that has to find it. */
enum check_pass model_mutation_pass(enum mutation m);

#endif
