#include "tools/router-ctl/schedule.h"

#include <stdlib.h>

#include "base/err.h"
#include "tools/router-ctl/schedule_plan.h"

enum { KICK = 60, PENALTY_LEAD = 30 };

/* ---- when -------------------------------------------------------------- */

static enum phase phase_of(const struct plan *p, int minute)
{
    if (minute <= 45)
        return FIRST;
    if (minute <= 90 || !p->extra)
        return LAST;
    return minute <= 105 ? FIRST_EXTRA : LAST_EXTRA;
}

static void set_time(const struct plan *p, struct item *i, struct cup_time t)
{
    i->phase = phase_of(p, t.minute);
    i->second = (t.minute - stretches[i->phase].base + t.offset) * 60;
}

static struct item *add_item(struct plan *p, enum item_kind kind, int index)
{
    struct item *i = &p->items[p->count++];

    *i = (struct item){ .kind = kind, .index = index };
    return i;
}

static void add_goal(struct plan *p, const struct cup_goal *g)
{
    struct item *i = add_item(p, ITEM_GOAL, (int)p->count);

    i->goal = *g;
    set_time(p, i, g->at);
    if (g->penalty) {
        struct item *foul = add_item(p, ITEM_PENALTY, i->index);

        foul->goal = *g;
        foul->phase = i->phase;
        foul->second = MAX(i->second - PENALTY_LEAD, 0);
    }
}

/* ---- goals: the list and the score ------------------------------------- */

/* Goals that have no minute, and where they belong. */
struct missing {
    struct cup_goal goals[2 * 99 + 2];
    int count;
};

/* Stretches of play in which the score says how many goals there were. */
enum part { PART_FIRST, PART_LAST, PART_EXTRA, PARTS };

static int compare_goals(const void *a, const void *b)
{
    const struct cup_goal *x = a, *y = b;

    if (x->at.minute != y->at.minute) /* the unknown ones at the end */
        return x->at.minute == CUP_UNKNOWN   ? 1
               : y->at.minute == CUP_UNKNOWN ? -1
                                             : x->at.minute - y->at.minute;
    return x->at.offset - y->at.offset;
}

static enum part part_of(const struct plan *p, int minute)
{
    enum phase ph = phase_of(p, minute);

    return ph == FIRST ? PART_FIRST : ph == LAST ? PART_LAST : PART_EXTRA;
}

/* How many goals of a side each part lacks. Without a score at half time the
 * whole of the ninety minutes is PART_FIRST. */
static void count_lacking(const struct plan *p, int side,
                          const int placed[PARTS], int lacks[PARTS])
{
    const struct cup_match *m = p->match;
    struct cup_score final = cup_final(m);
    int ft = cup_known(m->ft) ? m->ft.of[side] : final.of[side];
    bool halves = cup_known(m->ht);

    lacks[PART_FIRST] = halves ? m->ht.of[side] - placed[PART_FIRST]
                               : ft - placed[PART_FIRST] - placed[PART_LAST];
    lacks[PART_LAST] = halves ? ft - m->ht.of[side] - placed[PART_LAST] : 0;
    lacks[PART_EXTRA] = final.of[side] - ft - placed[PART_EXTRA];
}

/* Into the part that lacks one; the list may contradict the score, then into
 * the last half. */
static enum part take_lacking(int lacks[PARTS])
{
    for (int part = 0; part < PARTS; part++)
        if (lacks[part] > 0) {
            lacks[part]--;
            return (enum part)part;
        }
    return PART_LAST;
}

/* Places the goals of a side which have a minute; the others, those of the
 * list and those that it lacks, go into `missing`. */
static void place_side(struct plan *p, int side, const struct cup_goal *goals,
                       int count, struct missing missing[PARTS])
{
    int left = cup_final(p->match).of[side];
    int placed[PARTS] = { 0 }, lacks[PARTS];
    struct cup_goal nameless = { .side = side, .player = CUP_NOBODY,
                                 .at = { CUP_UNKNOWN, 0 } };
    int i = 0;

    for (; i < count && left > 0 && goals[i].at.minute != CUP_UNKNOWN; i++) {
        add_goal(p, &goals[i]);
        placed[part_of(p, goals[i].at.minute)]++;
        left--;
    }
    count_lacking(p, side, placed, lacks);
    for (; left > 0; left--) {
        struct missing *to = &missing[take_lacking(lacks)];

        to->goals[to->count++] = i < count ? goals[i++] : nameless;
    }
    p->out->left_out += count - i;
}

/* Spreads them evenly over `length` seconds from the start of a phase, on
 * into the next one. */
static void spread(struct plan *p, const struct missing *from,
                   enum phase phase, int length)
{
    for (int i = 0; i < from->count; i++) {
        struct item *it = add_item(p, ITEM_GOAL, (int)p->count);
        int second = (int)((int64_t)length * (i + 1) / (from->count + 1));
        bool later = second > stretches[phase].length;

        it->goal = from->goals[i];
        it->phase = later ? phase + 1 : phase;
        it->second = later ? second - stretches[phase].length : second;
    }
}

static int place_goals(struct plan *p)
{
    const struct cup_match *m = p->match;
    bool halves = cup_known(m->ht);
    struct missing *missing = calloc(PARTS, sizeof *missing);
    struct cup_goal *sorted = calloc((size_t)m->goal_count + 1,
                                     sizeof *sorted);

    if (!missing || !sorted) {
        free(missing);
        free(sorted);
        return ERR_NOMEM;
    }
    for (int side = 0; side < 2; side++) {
        int n = 0;

        for (int i = 0; i < m->goal_count; i++)
            if (m->goals[i].side == side)
                sorted[n++] = m->goals[i];
        qsort(sorted, (size_t)n, sizeof *sorted, compare_goals);
        place_side(p, side, sorted, n, missing);
    }
    spread(p, &missing[PART_FIRST], FIRST, halves ? 45 * 60 : 90 * 60);
    spread(p, &missing[PART_LAST], LAST, 45 * 60);
    spread(p, &missing[PART_EXTRA], FIRST_EXTRA, 30 * 60);
    free(missing);
    free(sorted);
    return 0;
}

/* ---- the shoot-out ----------------------------------------------------- */

static bool kicks_fit(const struct cup_match *m)
{
    int scored[2] = { 0 };

    for (int i = 0; i < m->kick_count; i++)
        scored[m->kicks[i].side] += m->kicks[i].goal;
    return scored[0] == m->p.of[0] && scored[1] == m->p.of[1];
}

static void add_kick(struct plan *p, struct cup_kick k, int n)
{
    struct item *i = add_item(p, ITEM_KICK, n);

    i->kick = k;
    i->phase = SHOOTOUT;
    i->second = (n + 1) * KICK;
}

/* Those of the file, or those that went in, by turns. */
static void place_kicks(struct plan *p)
{
    const struct cup_match *m = p->match;
    int left[2], n = 0;

    if (!cup_known(m->p))
        return;
    if (kicks_fit(m)) {
        for (; n < m->kick_count; n++)
            add_kick(p, m->kicks[n], n);
        return;
    }
    left[0] = m->p.of[0];
    left[1] = m->p.of[1];
    for (int side = 0; left[0] || left[1]; side = !side)
        if (left[side]) {
            left[side]--;
            add_kick(p, (struct cup_kick){ side, CUP_NOBODY, CUP_NOBODY,
                                           true }, n++);
        }
}

static void place_extras(struct plan *p)
{
    const struct cup_match *m = p->match;

    for (int i = 0; i < m->card_count; i++)
        set_time(p, add_item(p, ITEM_CARD, i), m->cards[i].at);
    for (int i = 0; i < m->sub_count; i++)
        set_time(p, add_item(p, ITEM_SUB, i), m->subs[i].at);
}

/* ---- the match --------------------------------------------------------- */

/* Goals later than the ninetieth minute may be of its stoppage time, unless
 * a shoot-out followed. */
static bool had_extra_time(const struct cup_match *m)
{
    if (cup_known(m->et) || !cup_known(m->p))
        return cup_known(m->et);
    for (int i = 0; i < m->goal_count; i++)
        if (m->goals[i].at.minute > 90)
            return true;
    return false;
}

static int take_the_pitch(struct plan *p, int side)
{
    const struct cup_lineup *l = &p->match->lineup[side];
    int count = p->cup->teams[p->match->team[side]].player_count;

    p->on_pitch[side] = calloc((size_t)count + 1, sizeof(bool));
    if (!p->on_pitch[side])
        return ERR_NOMEM;
    for (int i = 0; !l->count && i < count; i++)
        p->on_pitch[side][i] = true;
    for (int i = 0; i < l->count; i++)
        p->on_pitch[side][l->players[i]] = true;
    return 0;
}

/* At most so many items, and events. */
static int make_room(struct plan *p)
{
    const struct cup_match *m = p->match;
    struct cup_score score = cup_final(m);
    size_t items = 2 * (size_t)m->goal_count
                   + (size_t)(score.of[0] + score.of[1])
                   + (size_t)(m->card_count + m->sub_count + m->kick_count);

    if (cup_known(m->p))
        items += (size_t)(m->p.of[0] + m->p.of[1]);
    p->items = calloc(items + 1, sizeof *p->items);
    p->out->events = calloc(items + 2 * PHASES + 1, sizeof *p->out->events);
    return p->items && p->out->events ? 0 : ERR_NOMEM;
}

int schedule_make(struct schedule *ret, const struct cup *c,
                  const struct cup_match *m)
{
    struct schedule s = { .score = cup_final(m), .shootout = m->p };
    struct plan p = { .out = &s, .cup = c, .match = m,
                      .extra = had_extra_time(m) };
    int rc = 0;

    if (cup_played(m)) {
        rc = make_room(&p);
        if (rc == 0)
            rc = take_the_pitch(&p, 0);
        if (rc == 0)
            rc = take_the_pitch(&p, 1);
        if (rc == 0)
            rc = place_goals(&p);
        if (rc == 0) {
            place_kicks(&p);
            place_extras(&p);
            plan_emit(&p);
            rc = s.data.failed ? ERR_NOMEM : 0;
        }
    }
    free(p.items);
    free(p.on_pitch[0]);
    free(p.on_pitch[1]);
    if (rc < 0)
        schedule_fini(&s);
    else
        *ret = s;
    return rc;
}

void schedule_fini(struct schedule *s)
{
    free(s->events);
    buf_fini(&s->data);
    *s = (struct schedule){ .events = NULL };
}

struct slice schedule_data(const struct schedule *s, const struct event *e)
{
    return slice_make(s->data.ptr + e->data_at, e->data_len);
}
