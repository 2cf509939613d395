/* ctl_turn.c - questions that wait: for their turn, for the store, or for a
 * link that has gone. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "router/ctl.h"
#include "router/ctl_verb.h"

enum { WAITING_MAX = 4096, LOOKING_PART = 10 };
#define LOOKING_SAVED (200 * MILLISECOND)

/* ---- turns -------------------------------------------------------------- */

static void run_first(struct questions *q)
{
    struct ctl_question *first =
        CONTAINER_OF(list_pop(&q->waiting), struct ctl_question, turn);

    q->count--;
    if (first->link)
        first->run(first->link, first->ref, first->pattern);
    ctl_question_drop(first);
}

static void on_turn(void *ctx)
{
    struct questions *q = ctx;

    while (q->count) {
        int64_t wait = toll_wait(&q->toll, clock_ns());

        if (wait) {
            loop_timer_set(&q->turn, wait);
            return;
        }
        run_first(q);
    }
}

static void keep(struct link *l, const struct ctl_turn *t, int64_t wait)
{
    struct questions *qs = &l->router->questions;
    struct ctl_question *q;

    if (qs->count == WAITING_MAX) {
        stat_add(&l->router->stats, STAT_QUESTIONS_REFUSED, 1);
        ctl_refuse(l, t->ref, PUBLISHED_UNAVAILABLE, "router.busy",
                   SLICE("too many questions wait for their answers"));
        return;
    }
    q = ctl_question_new(l, t->ref, t->args, SLICE(""));
    if (!q) {
        ctl_refuse_error(l, t->ref, ERR_NOMEM);
        return;
    }
    stat_add(&l->router->stats, STAT_QUESTIONS_WAITED, 1);
    q->run = t->run;
    list_add_tail(&qs->waiting, &q->turn);
    if (qs->count++ == 0)
        loop_timer_set(&qs->turn, wait);
}

void ctl_take_turn(struct link *l, const struct ctl_turn *t)
{
    struct questions *q = &l->router->questions;
    int64_t wait = toll_wait(&q->toll, clock_ns());

    if (q->count || wait)
        keep(l, t, wait);
    else
        t->run(l, t->ref, t->args);
}

void ctl_charge(struct link *l, size_t looked)
{
    if (l->who.kind != PEER_CTL)
        toll_charge(&l->router->questions.toll,
                    (int64_t)looked * CTL_LOOK_NS);
}

/* ---- beginning and end -------------------------------------------------- */

void ctl_init(struct router *r)
{
    struct questions *q = &r->questions;

    toll_init(&q->toll, clock_ns(), LOOKING_PART, LOOKING_SAVED);
    list_init(&q->waiting);
    list_init(&q->orphans);
    loop_timer_init(&q->turn, r->loop, on_turn, q);
}

void ctl_link_gone(struct link *l)
{
    struct list_node *n;

    while ((n = list_pop(&l->queries))) {
        struct ctl_question *q = CONTAINER_OF(n, struct ctl_question, node);

        if (q->job) {
            reader_cancel(l->router->readers, q->job);
            free(q);
        } else {
            q->link = NULL;
            list_add_tail(&l->router->questions.orphans, n);
        }
    }
}

void ctl_fini(struct router *r)
{
    struct list_node *n;

    loop_timer_stop(&r->questions.turn);
    while ((n = list_first(&r->questions.orphans)))
        ctl_question_drop(CONTAINER_OF(n, struct ctl_question, node));
}
