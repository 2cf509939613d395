/* tally.h - how often each word of a fixed list came: refusals by code, ends of
 * connections by reason. What one lists is what /metrics can show, so nothing
 * that a stranger sends can make a figure.
 * Threads: one writes and reads it. Cost: a binary search. */
#ifndef PROTO_TALLY_H
#define PROTO_TALLY_H

#include "base/buf.h"
#include "base/stat.h"

struct tally {
    const char *name;         /* of the metric, without touchline_ */
    const char *label;        /* its label: "code" */
    const char *help;
    const char *const *words; /* in the order of their bytes */
    size_t count;             /* at most TALLY_WORDS */
    uint64_t *counts;         /* one more: words that are not listed */
};

enum { TALLY_WORDS = 1024 };

/* Borrows all it is given. ERR_NOMEM. */
MUST_USE int tally_init(struct tally *t, const char *name, const char *label,
                        const char *help, const char *const *words,
                        size_t count);
void tally_fini(struct tally *t); /* harmless on a zeroed struct */

/* A word that is not listed counts as "other". */
void tally_add(struct tally *t, struct slice word);
uint64_t tally_get(const struct tally *t, struct slice word);

/* Walks over what is not 0: *at begins at 0. The sample's label is written to
 * `label`. False: no more. */
struct tally_label {
    char text[96];
};
bool tally_next(const struct tally *t, size_t *at, struct stat_sample *ret,
                struct tally_label *label);

/* Of the codes of errors (codes.def): name{code="..."}. ERR_NOMEM. */
MUST_USE int tally_init_codes(struct tally *t, const char *name,
                              const char *help);

#endif
