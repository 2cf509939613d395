/* schedule_emit.c - the events of a plan, written. */
#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "tools/router-ctl/schedule_plan.h"

const struct stretch stretches[PHASES] = {
    [FIRST] = { 0, 45 * 60, 0, "start", "halftime_start" },
    [LAST] = { 45, 45 * 60, 15 * 60, "halftime_stop", NULL },
    [FIRST_EXTRA] = { 90, 15 * 60, 5 * 60, "extratime", "halftime_start" },
    [LAST_EXTRA] = { 105, 15 * 60, 60, "halftime_stop", NULL },
    [SHOOTOUT] = { 120, 0, 5 * 60, "penalties", NULL },
};

enum { STOPPAGE = 60 };

static const struct cup_team *team_of(const struct plan *p, int side)
{
    return &p->cup->teams[p->match->team[side]];
}

/* ---- writing events ---------------------------------------------------- */

/* Begins an event; its data goes behind *at, up to close_event(). */
static struct buf *open_event(struct plan *p, const char *kind, int64_t at_ms)
{
    struct schedule *s = p->out;

    s->events[s->count] = (struct event){ .at_ms = at_ms, .kind = kind,
                                          .data_at = s->data.len };
    buf_add_byte(&s->data, '{');
    return &s->data;
}

static void close_event(struct plan *p)
{
    struct schedule *s = p->out;
    struct event *e = &s->events[s->count++];

    buf_add_byte(&s->data, '}');
    e->data_len = s->data.len - e->data_at;
}

static void put_key(struct plan *p, const char *key)
{
    struct buf *b = &p->out->data;

    if (b->len && b->ptr[b->len - 1] != '{')
        buf_add_byte(b, ',');
    json_put_string(b, slice_str(key));
    buf_add_byte(b, ':');
}

static void put_numbered(struct plan *p, const struct cup_player *who)
{
    struct buf *b = &p->out->data;

    buf_addf(b, "\"%u\":", who->number);
    json_put_string(b, slice_str(who->name));
}

static void put_player(struct plan *p, const char *key, int side, int player)
{
    put_key(p, key);
    buf_add_byte(&p->out->data, '{');
    put_numbered(p, &team_of(p, side)->players[player]);
    buf_add_byte(&p->out->data, '}');
}

static void put_team(struct plan *p, const char *key, int side)
{
    put_key(p, key);
    json_put_string(&p->out->data, slice_str(team_of(p, side)->id));
}

static void put_minute(struct plan *p, struct cup_time t)
{
    if (t.minute == CUP_UNKNOWN)
        return;
    put_key(p, "minute");
    if (t.offset)
        buf_addf(&p->out->data, "\"%d+%d\"", t.minute, t.offset);
    else
        buf_addf(&p->out->data, "%d", t.minute);
}

static void put_lineup(struct plan *p, const char *key, int side)
{
    const struct cup_lineup *l = &p->match->lineup[side];

    if (!l->count)
        return;
    put_key(p, key);
    buf_add_byte(&p->out->data, '{');
    for (int i = 0; i < l->count; i++) {
        if (i)
            buf_add_byte(&p->out->data, ',');
        put_numbered(p, &team_of(p, side)->players[l->players[i]]);
    }
    buf_add_byte(&p->out->data, '}');
}

/* ---- who is on the pitch ----------------------------------------------- */

static bool plays(const struct plan *p, int side, int player)
{
    return player != CUP_NOBODY && p->on_pitch[side][player];
}

/* A second yellow card is the last one, too. */
static bool sent_off(const struct plan *p, int index)
{
    const struct cup_card *cards = p->match->cards, *this = &cards[index];

    for (int i = 0; i < index; i++)
        if (cards[i].side == this->side && cards[i].player == this->player)
            return true;
    return this->red;
}

/* ---- one event per item ------------------------------------------------ */

static void emit_goal(struct plan *p, const struct cup_goal *g, int64_t at)
{
    int from = g->own ? !g->side : g->side;

    open_event(p, "goal", at);
    if (plays(p, from, g->player))
        put_player(p, "player", from, g->player);
    put_team(p, "team", g->side);
    if (g->own && plays(p, from, g->player))
        put_team(p, "player_team", from);
    put_minute(p, g->at);
    if (g->penalty || g->own) {
        put_key(p, "comment");
        json_put_string(&p->out->data, g->own ? SLICE("own goal")
                                              : SLICE("penalty"));
    }
    close_event(p);
}

static void emit_penalty(struct plan *p, const struct cup_goal *g, int64_t at)
{
    open_event(p, "penalty", at);
    put_team(p, "team", g->side);
    put_minute(p, g->at);
    close_event(p);
}

static void emit_card(struct plan *p, int index, int64_t at)
{
    const struct cup_card *c = &p->match->cards[index];

    if (!plays(p, c->side, c->player))
        return;
    open_event(p, "card", at);
    put_player(p, "player", c->side, c->player);
    put_key(p, "card");
    buf_add_str(&p->out->data, c->red ? "\"red\"" : "\"yellow\"");
    put_team(p, "team", c->side);
    put_minute(p, c->at);
    close_event(p);
    if (sent_off(p, index))
        p->on_pitch[c->side][c->player] = false;
}

static void emit_sub(struct plan *p, int index, int64_t at)
{
    const struct cup_sub *s = &p->match->subs[index];
    bool *on_pitch = p->on_pitch[s->side];

    if (!p->match->lineup[s->side].count || !on_pitch[s->out]
        || on_pitch[s->in])
        return;
    open_event(p, "substitution", at);
    put_player(p, "player_out", s->side, s->out);
    put_player(p, "player_in", s->side, s->in);
    put_team(p, "team", s->side);
    put_minute(p, s->at);
    close_event(p);
    on_pitch[s->out] = false;
    on_pitch[s->in] = true;
}

/* One that went in is a goal, one that a goalkeeper held a save, else a shot
 * that went wide. */
static void emit_kick(struct plan *p, const struct cup_kick *k, int64_t at)
{
    bool saved = !k->goal && plays(p, !k->side, k->keeper);
    int side = saved ? !k->side : k->side;
    int player = saved ? k->keeper : k->player;

    open_event(p, k->goal ? "goal" : saved ? "save" : "shot", at);
    if (plays(p, side, player))
        put_player(p, "player", side, player);
    put_team(p, "team", side);
    close_event(p);
}

static void emit_item(struct plan *p, const struct item *i, int64_t at)
{
    switch (i->kind) {
    case ITEM_PENALTY: emit_penalty(p, &i->goal, at); break;
    case ITEM_GOAL: emit_goal(p, &i->goal, at); break;
    case ITEM_CARD: emit_card(p, i->index, at); break;
    case ITEM_SUB: emit_sub(p, i->index, at); break;
    case ITEM_KICK: emit_kick(p, &i->kick, at); break;
    }
}

static void emit_plain(struct plan *p, const char *kind, int64_t at)
{
    if (!kind)
        return;
    open_event(p, kind, at);
    if (strcmp(kind, "start") == 0) {
        put_lineup(p, "home_players", 0);
        put_lineup(p, "visit_players", 1);
    }
    close_event(p);
}

/* ---- the match --------------------------------------------------------- */

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->phase != y->phase)
        return x->phase < y->phase ? -1 : 1;
    if (x->second != y->second)
        return x->second - y->second;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return x->index - y->index;
}

/* The items of a phase, from *next on, between its first and last event. */
static void emit_phase(struct plan *p, enum phase phase, size_t *next)
{
    const struct stretch *st = &stretches[phase];
    int end = st->length + STOPPAGE;

    p->base_ms += st->pause * INT64_C(1000);
    emit_plain(p, st->begins, p->base_ms);
    for (; *next < p->count && p->items[*next].phase == phase; ++*next) {
        const struct item *i = &p->items[*next];

        emit_item(p, i, p->base_ms + i->second * INT64_C(1000));
        end = MAX(end, i->second + STOPPAGE);
    }
    p->base_ms += end * INT64_C(1000);
    emit_plain(p, st->ends, p->base_ms);
}

void plan_emit(struct plan *p)
{
    size_t next = 0;

    qsort(p->items, p->count, sizeof *p->items, compare_items);
    emit_phase(p, FIRST, &next);
    emit_phase(p, LAST, &next);
    if (p->extra) {
        emit_phase(p, FIRST_EXTRA, &next);
        emit_phase(p, LAST_EXTRA, &next);
    }
    if (cup_known(p->match->p))
        emit_phase(p, SHOOTOUT, &next);
    emit_plain(p, "stop", p->base_ms);
}
