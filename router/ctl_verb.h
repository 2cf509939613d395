/* ctl_verb.h - what the files behind ctl.h share: the verbs, and how one is
 * answered.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_CTL_VERB_H
#define TOUCHLINE_ROUTER_CTL_VERB_H

#include "proto/report.h"
#include "router/router.h"

enum { CTL_LIST_DEFAULT = 100, CTL_LIST_MAX = 1000 };

/* What looking at one seat or one id stands for, in the toll of questions. */
#define CTL_LOOK_NS 100

/* A verb: reads its words, and answers now or keeps a ctl_question. */
typedef void ctl_verb(struct link *l, uint32_t ref, struct slice args);
ctl_verb ctl_status, ctl_gateways, ctl_stats, ctl_presence, ctl_conns,
    ctl_kick, ctl_channels, ctl_mem, ctl_trim, ctl_overview;

/* The part `status`. */
void ctl_put_status(struct router *r, struct buf *b);

void ctl_answer(struct link *l, uint32_t ref, enum publish_status st,
                bool opaque, struct slice body);
/* Sends the report, and frees it. */
void ctl_answer_report(struct link *l, uint32_t ref, struct buf *b);
void ctl_refuse(struct link *l, uint32_t ref, enum publish_status st,
                const char *code, struct slice text);
void ctl_refuse_error(struct link *l, uint32_t ref, int rc);
/* The next word of the arguments; empty when there is none. */
struct slice ctl_word(struct slice *args);

/* A question whose answer comes later. */
struct ctl_question {
    struct list_node node; /* link->queries; questions.orphans without one */
    struct link *link;     /* NULL: nobody waits any more */
    struct read_job *job;
    struct list_node turn; /* router.questions.waiting; else unlinked */
    ctl_verb *run;         /* of who waits for its turn */
    int64_t since_ns;      /* that it waits */
    bool searching;        /* counted in router.questions */
    uint32_t ref;
    struct slice pattern, after; /* of channels; of backup: the file, and the
                                    one beside the database; of who waits:
                                    the verb's words, none */
    size_t limit;
    uint8_t text[];
};
/* On l's list of questions; copies both texts. NULL: no memory. */
struct ctl_question *ctl_question_new(struct link *l, uint32_t ref,
                                      struct slice pattern,
                                      struct slice after);
void ctl_question_drop(struct ctl_question *q);

/* Runs a verb's question in its turn: now, or when the toll allows. */
struct ctl_turn {
    ctl_verb *run;
    struct slice args;
    uint32_t ref;
};
void ctl_take_turn(struct link *l, const struct ctl_turn *t);
/* So many seats or ids have been looked at for l. */
void ctl_charge(struct link *l, size_t looked);
/* The store's readers search for q, a gateway's question; and no more. */
void ctl_search_begins(struct ctl_question *q);
void ctl_search_ends(struct link *l, struct ctl_question *q);

#endif
