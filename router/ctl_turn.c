/* ctl_turn.c - questions that wait: for their turn, for the store, or for a
 * link that has gone. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "router/ctl.h"
#include "router/ctl_verb.h"

/* SEARCHES_MAX: what the readers have cannot be refused any more. */
enum { WAITING_MAX = 4096, SEARCHES_MAX = 8, LOOKING_PART = 10 };
#define LOOKING_SAVED (200 * MILLISECOND)
#define WAIT_MOST (10 * SECOND) /* for a turn: who asked may be gone long ago */

/* ---- turns -------------------------------------------------------------- */

static struct ctl_question *oldest(const struct list_node *waiting)
{
    struct list_node *n = list_first(waiting);

    return n ? CONTAINER_OF(n, struct ctl_question, turn) : NULL;
}

static struct ctl_question *older(struct ctl_question *a,
                                  struct ctl_question *b)
{
    return !a || (b && b->since_ns < a->since_ns) ? b : a;
}

/* Whose turn it is, once the toll allows. */
static struct ctl_question *next_in_turn(const struct questions *q)
{
    return older(oldest(&q->waiting), q->searching < SEARCHES_MAX
                                          ? oldest(&q->waiting_searches)
                                          : NULL);
}

static void run(struct questions *q, struct ctl_question *next)
{
    list_remove(&next->turn);
    q->count--;
    if (next->link)
        next->run(next->link, next->ref, next->pattern);
    ctl_question_drop(next);
}

static void refuse_busy(struct link *l, uint32_t ref)
{
    stat_add(&l->router->stats, STAT_QUESTIONS_REFUSED, 1);
    ctl_refuse(l, ref, PUBLISHED_UNAVAILABLE, "router.busy",
               SLICE("too many questions wait for their answers"));
}

static struct ctl_question *oldest_of_all(const struct questions *q)
{
    return older(oldest(&q->waiting), oldest(&q->waiting_searches));
}

/* Whoever has waited too long. */
static void refuse_late(struct questions *q, int64_t now_ns)
{
    struct ctl_question *late;

    while ((late = oldest_of_all(q)) && now_ns - late->since_ns >= WAIT_MOST) {
        list_remove(&late->turn);
        q->count--;
        if (late->link)
            refuse_busy(late->link, late->ref);
        ctl_question_drop(late);
    }
}

static void on_turn(void *ctx)
{
    struct questions *q = ctx;
    struct ctl_question *next;
    int64_t wait = 0;

    refuse_late(q, clock_ns());
    while ((next = next_in_turn(q)) &&
           !(wait = toll_wait(&q->toll, clock_ns())))
        run(q, next);
    if (q->count)
        loop_timer_set_at(&q->turn,
                          MIN(oldest_of_all(q)->since_ns + WAIT_MOST,
                              next ? clock_ns() + wait : INT64_MAX));
}

/* Does it name a pattern, by which the store must search? */
static bool searches(const struct ctl_turn *t)
{
    struct slice args = t->args;

    return t->run == ctl_channels && ctl_word(&args).len > 0;
}

static void keep(struct link *l, const struct ctl_turn *t)
{
    struct questions *qs = &l->router->questions;
    struct ctl_question *q;

    if (qs->count == WAITING_MAX) {
        refuse_busy(l, t->ref);
        return;
    }
    q = ctl_question_new(l, t->ref, t->args, SLICE(""));
    if (!q) {
        ctl_refuse_error(l, t->ref, ERR_NOMEM);
        return;
    }
    stat_add(&l->router->stats, STAT_QUESTIONS_WAITED, 1);
    q->run = t->run;
    q->since_ns = clock_ns();
    list_add_tail(searches(t) ? &qs->waiting_searches : &qs->waiting,
                  &q->turn);
    qs->count++;
    loop_timer_set(&qs->turn, 0);
}

void ctl_take_turn(struct link *l, const struct ctl_turn *t)
{
    struct questions *q = &l->router->questions;

    if (next_in_turn(q) || toll_wait(&q->toll, clock_ns()) ||
        (q->searching == SEARCHES_MAX && searches(t)))
        keep(l, t);
    else
        t->run(l, t->ref, t->args);
}

void ctl_search_begins(struct ctl_question *q)
{
    q->searching = true;
    q->link->router->questions.searching++;
}

void ctl_search_ends(struct link *l, struct ctl_question *q)
{
    struct questions *all = &l->router->questions;

    if (!q->searching)
        return;
    q->searching = false;
    all->searching--;
    if (all->count)
        loop_timer_set(&all->turn, 0);
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
    list_init(&q->waiting_searches);
    list_init(&q->orphans);
    loop_timer_init(&q->turn, r->loop, on_turn, q);
}

void ctl_link_gone(struct link *l)
{
    struct list_node *n;

    while ((n = list_pop(&l->queries))) {
        struct ctl_question *q = CONTAINER_OF(n, struct ctl_question, node);

        if (q->job) {
            ctl_search_ends(l, q);
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
