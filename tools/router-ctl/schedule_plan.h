/* schedule_plan.h - what schedule.c (when) and schedule_emit.c (what) share.
 */
#ifndef TOUCHLINE_TOOLS_SCHEDULE_PLAN_H
#define TOUCHLINE_TOOLS_SCHEDULE_PLAN_H

#include "tools/router-ctl/schedule.h"

enum phase { FIRST, LAST, FIRST_EXTRA, LAST_EXTRA, SHOOTOUT, PHASES };

/* A stretch of play. All in seconds, but for base: the minute before it. */
struct stretch {
    int base, length, pause;   /* pause: before it */
    const char *begins, *ends; /* events; NULL: none */
};
extern const struct stretch stretches[PHASES];

/* What happens, in the order in which it does within one second. */
enum item_kind { ITEM_PENALTY, ITEM_GOAL, ITEM_CARD, ITEM_SUB, ITEM_KICK };

struct item {
    enum phase phase;
    int second; /* of the phase */
    enum item_kind kind;
    int index;            /* into the match's cards or subs; else its rank */
    struct cup_goal goal; /* PENALTY, GOAL: a copy */
    struct cup_kick kick;
};

struct plan {
    struct schedule *out;
    const struct cup *cup;
    const struct cup_match *match;
    bool extra; /* there was extra time */
    struct item *items;
    size_t count;
    bool *on_pitch[2]; /* by player; without a line-up all are */
    int64_t base_ms;   /* of the phase, on the clock of the match */
};

/* Sorts the items and writes them as events, with those that begin and end
 * the stretches. Failure sticks to out->data. */
void plan_emit(struct plan *p);

#endif
