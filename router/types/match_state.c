#include "router/types/match_state.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "proto/json.h"

#define P(name) (1u << PERIOD_##name)
#define NOT_BEGUN (P(NOT_STARTED) | P(POSTPONED))
#define OVER      (P(ENDED) | P(ABANDONED))

/* ---- life ------------------------------------------------------------- */

struct match_state *match_state_new(void)
{
    return calloc(1, sizeof(struct match_state));
}

void match_state_free(struct match_state *s)
{
    if (!s)
        return;
    free(s->team[SIDE_HOME].players);
    free(s->team[SIDE_VISIT].players);
    buf_fini(&s->text);
    free(s);
}

static void put_text(struct match_state *s, struct slice text, uint32_t *at,
                     uint32_t *len)
{
    *at = (uint32_t)s->text.len;
    *len = (uint32_t)text.len;
    buf_add(&s->text, text);
}

static struct slice get_text(const struct match_state *s, uint32_t at,
                             uint32_t len)
{
    return len ? slice_make(s->text.ptr + at, len) : slice_make(NULL, 0);
}

static struct slice name_of(const struct match_state *s,
                            const struct known_player *p)
{
    return get_text(s, p->name_at, p->name_len);
}

/* Room for as many players as there are, and the two that an event brings. */
static int copy_players(struct match_state *to, const struct match_state *from,
                        enum match_side side)
{
    struct match_team *t = &to->team[side];

    t->room = (uint16_t)(t->count + 2);
    t->players = calloc(t->room, sizeof *t->players);
    if (!t->players)
        return ERR_NOMEM;
    for (uint16_t i = 0; i < t->count; i++) {
        const struct known_player *p = &from->team[side].players[i];

        t->players[i] = *p;
        put_text(to, name_of(from, p), &t->players[i].name_at,
                 &t->players[i].name_len);
    }
    return 0;
}

/* Texts are packed anew, so that replaced ones do not pile up. */
struct match_state *match_state_copy(const struct match_state *s)
{
    struct match_state *c = malloc(sizeof *c);

    if (!c)
        return NULL;
    *c = *s;
    buf_init(&c->text);
    c->team[SIDE_HOME].players = c->team[SIDE_VISIT].players = NULL;
    put_text(c, get_text(s, s->stadium_at, s->stadium_len), &c->stadium_at,
             &c->stadium_len);
    put_text(c, get_text(s, s->comment_at, s->comment_len), &c->comment_at,
             &c->comment_len);
    if (copy_players(c, s, SIDE_HOME) < 0 || copy_players(c, s, SIDE_VISIT) < 0
        || c->text.failed) {
        match_state_free(c);
        return NULL;
    }
    return c;
}

/* ---- players ---------------------------------------------------------- */

static struct known_player *find_player(const struct match_team *t,
                                        uint16_t number)
{
    for (uint16_t i = 0; i < t->count; i++)
        if (t->players[i].number == number)
            return &t->players[i];
    return NULL;
}

static int add_player(struct match_state *s, struct match_team *t,
                      const struct match_player *p, enum place place)
{
    struct known_player *k;

    if (t->count == t->room) {
        uint16_t room = (uint16_t)(t->room * 2 + 16);
        struct known_player *more = realloc(t->players, room * sizeof *more);

        if (!more)
            return ERR_NOMEM;
        t->players = more;
        t->room = room;
    }
    k = &t->players[t->count];
    *k = (struct known_player){ .number = p->number, .place = (uint8_t)place };
    put_text(s, p->name, &k->name_at, &k->name_len);
    if (s->text.failed)
        return ERR_NOMEM;
    t->count++;
    return 0;
}

static bool on_pitch(const struct match_team *t, uint16_t number)
{
    const struct known_player *k = find_player(t, number);

    return k ? k->place == PLACE_PITCH : !t->lineup;
}

/* The side's entry of a player on the pitch, made where there is none yet. */
static int player_entry(struct match_state *s, struct match_team *t,
                        const struct match_player *p,
                        struct known_player **ret)
{
    *ret = find_player(t, p->number);
    if (!*ret) {
        int rc = add_player(s, t, p, PLACE_PITCH);

        if (rc < 0)
            return rc;
        *ret = &t->players[t->count - 1];
    }
    return 0;
}

static void complete_player(const struct match_state *s,
                            const struct match_team *t,
                            struct match_player *p)
{
    const struct known_player *k = find_player(t, p->number);

    if (k && k->name_len)
        p->name = name_of(s, k);
}

static struct match_team *team_of(struct match_state *s, struct slice id)
{
    for (int side = 0; side < MATCH_SIDES; side++)
        if (slice_eq(id, slice_str(s->team[side].id)))
            return &s->team[side];
    return NULL;
}

/* The side of the event's player: the scorer of an own goal plays for the
 * other one than `team`. */
static struct slice players_team(const struct match_event *e)
{
    return match_has(e, FIELD_PLAYER_TEAM) ? e->player_team : e->team;
}

void match_complete(const struct match_state *s, struct match_event *e)
{
    for (int side = 0; side < MATCH_SIDES; side++) {
        const struct match_team *t = &s->team[side];
        struct slice id = slice_str(t->id);

        if (match_has(e, FIELD_PLAYER) && slice_eq(id, players_team(e)))
            complete_player(s, t, &e->player);
        if (match_has(e, FIELD_PLAYER_OUT) && slice_eq(id, e->team))
            complete_player(s, t, &e->player_out);
        if (match_has(e, FIELD_PLAYER_IN) && slice_eq(id, e->team))
            complete_player(s, t, &e->player_in);
    }
}

/* ---- rules ------------------------------------------------------------ */

static int against(struct buf *why, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int against(struct buf *why, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    buf_addv(why, fmt, args);
    va_end(args);
    return ERR_CONFLICT;
}

static const struct move {
    enum match_kind kind;
    unsigned from; /* a bit for each period */
    enum match_period to;
} moves[] = {
    { MATCH_START, NOT_BEGUN, PERIOD_FIRST },
    { MATCH_HALFTIME_START, P(FIRST), PERIOD_HALFTIME },
    { MATCH_HALFTIME_STOP, P(HALFTIME), PERIOD_LAST },
    { MATCH_EXTRATIME, P(LAST), PERIOD_FIRST_EXTRA },
    { MATCH_HALFTIME_START, P(FIRST_EXTRA), PERIOD_HALFTIME_EXTRA },
    { MATCH_HALFTIME_STOP, P(HALFTIME_EXTRA), PERIOD_LAST_EXTRA },
    { MATCH_PENALTIES, P(LAST) | P(LAST_EXTRA), PERIOD_PENALTIES },
    { MATCH_STOP, ~(NOT_BEGUN | OVER), PERIOD_ENDED },
};

/* What is asked of every event before its own rule has its turn. */
static int check_time(const struct match_state *s, const struct match_event *e,
                      struct buf *why)
{
    if (!match_exists(s) && e->kind != MATCH_RETRACT)
        return against(why, "the match was cancelled");
    if (!(match_kind_when(e->kind) >> s->period & 1))
        return against(why, "no %s while the match is in period %s",
                       match_kind_word(e->kind),
                       match_period_word(s->period));
    return 0;
}

static int check_teams(struct match_state *s, const struct match_event *e,
                       struct buf *why)
{
    if (match_has(e, FIELD_TEAM) && !team_of(s, e->team))
        return against(why, "team " SLICE_FMT " does not play in this match",
                       SLICE_ARG(e->team));
    if (match_has(e, FIELD_PLAYER_TEAM) && !team_of(s, e->player_team))
        return against(why, "team " SLICE_FMT " does not play in this match",
                       SLICE_ARG(e->player_team));
    if (match_has(e, FIELD_HOME)
        && !slice_eq(e->home, slice_str(s->team[SIDE_HOME].id)))
        return against(why, "the home team is %s", s->team[SIDE_HOME].id);
    if (match_has(e, FIELD_VISIT)
        && !slice_eq(e->visit, slice_str(s->team[SIDE_VISIT].id)))
        return against(why, "the visiting team is %s",
                       s->team[SIDE_VISIT].id);
    return 0;
}

static int not_on_pitch(const struct match_team *t, uint16_t number,
                        struct buf *why)
{
    const struct known_player *k = find_player(t, number);

    return against(why, "player %u of %s is not on the pitch%s", number, t->id,
                   k && k->place == PLACE_SENT_OFF ? ": sent off"
                   : k ? ": substituted" : "");
}

static int check_player(struct match_state *s, const struct match_event *e,
                        struct buf *why)
{
    const struct match_team *t;

    if (!match_has(e, FIELD_PLAYER))
        return 0;
    t = team_of(s, players_team(e));
    return on_pitch(t, e->player.number)
           ? 0 : not_on_pitch(t, e->player.number, why);
}

static void move_on(struct match_state *s, enum match_kind kind)
{
    for (size_t i = 0; i < ARRAY_LEN(moves); i++)
        if (moves[i].kind == kind && moves[i].from >> s->period & 1) {
            s->period = moves[i].to;
            return;
        }
}

/* ---- one fold per kind ------------------------------------------------ */

bool match_creates(const struct match_event *e)
{
    return e->kind == MATCH_STATUS && match_has(e, FIELD_HOME)
           && match_has(e, FIELD_VISIT) && match_has(e, FIELD_START_TIME);
}

static void set_team(struct match_team *t, struct slice id)
{
    CHECK(id.len <= TEAM_ID_MAX);
    memcpy(t->id, id.ptr, id.len);
    t->id[id.len] = 0;
}

/* After a cancellation everything begins anew. */
static void forget_all(struct match_state *s)
{
    for (int side = 0; side < MATCH_SIDES; side++)
        s->team[side].count = 0;
    s->cancelled = false;
    s->period = PERIOD_NOT_STARTED;
    s->stadium_len = s->comment_len = 0;
}

static void set_details(struct match_state *s, const struct match_event *e)
{
    if (match_has(e, FIELD_STADIUM))
        put_text(s, e->stadium, &s->stadium_at, &s->stadium_len);
    if (match_has(e, FIELD_COMMENT))
        put_text(s, e->comment, &s->comment_at, &s->comment_len);
    if (match_has(e, FIELD_START_TIME)) {
        s->start_ms = e->start_ms;
        s->moved = true;
    }
}

static int fold_creation(struct match_state *s, const struct match_event *e,
                         struct buf *why)
{
    if (match_exists(s))
        return against(why, "the match exists already");
    if (match_has(e, FIELD_PERIOD) && e->period != PERIOD_NOT_STARTED)
        return against(why, "a new match is in period not_started");
    forget_all(s);
    set_team(&s->team[SIDE_HOME], e->home);
    set_team(&s->team[SIDE_VISIT], e->visit);
    set_details(s, e);
    s->moved = false;
    return 0;
}

static int set_period(struct match_state *s, enum match_period to,
                      struct buf *why)
{
    unsigned from = to == PERIOD_POSTPONED ? NOT_BEGUN
                    : to == PERIOD_ABANDONED ? ~(unsigned)P(ENDED) : 0;

    if (to == s->period)
        return 0;
    if (!from)
        return against(why, "a status cannot make the period %s: there are "
                       "events for that", match_period_word(to));
    if (!(from >> s->period & 1))
        return against(why, "a match in period %s cannot be %s",
                       match_period_word(s->period), match_period_word(to));
    s->period = to;
    return 0;
}

static int fold_status(struct match_state *s, const struct match_event *e,
                       struct buf *why)
{
    int rc;

    if (match_has(e, FIELD_START_TIME) && !match_not_begun(s))
        return against(why, "the match has begun: its start_time stays");
    rc = match_has(e, FIELD_PERIOD) ? set_period(s, e->period, why) : 0;
    if (rc < 0)
        return rc;
    s->cancelled = match_has(e, FIELD_COMMENT) && match_not_begun(s)
                   && slice_eq(e->comment, SLICE("cancelled"));
    set_details(s, e);
    return 0;
}

static int fold_start(struct match_state *s, const struct match_event *e,
                      int64_t ts_ms)
{
    for (int side = 0; side < MATCH_SIDES; side++) {
        struct match_team *t = &s->team[side];
        const struct match_lineup *l = &e->lineup[side];

        t->score = t->shootout = 0;
        t->lineup = match_has(e, side == SIDE_HOME ? FIELD_HOME_PLAYERS
                                                   : FIELD_VISIT_PLAYERS);
        for (uint16_t i = 0; t->lineup && i < l->count; i++)
            if (add_player(s, t, &l->players[i], PLACE_PITCH) < 0)
                return ERR_NOMEM;
    }
    s->kickoff_ms = ts_ms;
    return 0;
}

static void fold_goal(struct match_state *s, const struct match_event *e)
{
    struct match_team *t = team_of(s, e->team);

    if (s->period == PERIOD_PENALTIES)
        t->shootout++;
    else
        t->score++;
}

static int fold_card(struct match_state *s, const struct match_event *e)
{
    struct known_player *k;
    int rc = player_entry(s, team_of(s, e->team), &e->player, &k);

    if (rc < 0)
        return rc;
    if (e->card == CARD_RED || k->booked)
        k->place = PLACE_SENT_OFF;
    k->booked = true;
    return 0;
}

/* The one who comes takes the place of the one who goes in the line-up. */
static int swap_players(struct match_state *s, struct match_team *t,
                        const struct match_event *e)
{
    struct known_player *out, *in, place;
    int rc = player_entry(s, t, &e->player_out, &out);

    if (rc < 0)
        return rc;
    in = find_player(t, e->player_in.number);
    if (!in) {
        rc = add_player(s, t, &e->player_in, PLACE_OFF);
        if (rc < 0)
            return rc;
        out = find_player(t, e->player_out.number);
        in = &t->players[t->count - 1];
    }
    out->place = PLACE_OFF;
    in->place = PLACE_PITCH;
    place = *out;
    *out = *in;
    *in = place;
    return 0;
}

static int fold_substitution(struct match_state *s,
                             const struct match_event *e, struct buf *why)
{
    struct match_team *t = team_of(s, e->team);
    uint16_t out = e->player_out.number, in = e->player_in.number;
    const struct known_player *k = find_player(t, in);

    if (in == out)
        return against(why, "player %u cannot replace himself", in);
    if (!on_pitch(t, out))
        return not_on_pitch(t, out, why);
    if (k && k->place == PLACE_SENT_OFF)
        return against(why, "player %u of %s was sent off", in, t->id);
    if (k && k->place == PLACE_PITCH)
        return against(why, "player %u of %s is on the pitch already", in,
                       t->id);
    return swap_players(s, t, e);
}

static int fold_kind(struct match_state *s, const struct match_event *e,
                     int64_t ts_ms, struct buf *why)
{
    switch (e->kind) {
    case MATCH_STATUS: return fold_status(s, e, why);
    case MATCH_START: return fold_start(s, e, ts_ms);
    case MATCH_GOAL: fold_goal(s, e); return 0;
    case MATCH_CARD: return fold_card(s, e);
    case MATCH_SUBSTITUTION: return fold_substitution(s, e, why);
    default: return 0;
    }
}

int match_fold(struct match_state *s, const struct match_event *e,
               int64_t ts_ms, struct buf *why)
{
    int rc;

    if (match_creates(e)) {
        rc = fold_creation(s, e, why);
        goto done;
    }
    rc = check_time(s, e, why);
    if (rc == 0)
        rc = check_teams(s, e, why);
    if (rc == 0)
        rc = check_player(s, e, why);
    if (rc == 0)
        rc = fold_kind(s, e, ts_ms, why);
    if (rc == 0) {
        move_on(s, e->kind);
        s->shootout = s->shootout || s->period == PERIOD_PENALTIES;
    }
done:
    return rc == 0 && s->text.failed ? ERR_NOMEM : rc;
}

bool match_exists(const struct match_state *s)
{
    return s->team[SIDE_HOME].id[0] && !s->cancelled;
}

bool match_in_play(const struct match_state *s)
{
    return !((NOT_BEGUN | OVER) >> s->period & 1);
}

bool match_not_begun(const struct match_state *s)
{
    return NOT_BEGUN >> s->period & 1;
}

/* ---- writing ---------------------------------------------------------- */

static void write_text(const char *key, struct slice text, struct buf *out)
{
    if (!text.len)
        return;
    json_put_key(out, key);
    json_put_string(out, text);
}

static void write_number(const char *key, uint64_t n, struct buf *out)
{
    json_put_key(out, key);
    buf_add_u64(out, n);
}

static void write_players(const struct match_state *s, enum match_side side,
                          const char *key, struct buf *out)
{
    const struct match_team *t = &s->team[side];

    if (!t->lineup)
        return;
    json_put_key(out, key);
    buf_add_byte(out, '{');
    for (uint16_t i = 0; i < t->count; i++)
        if (t->players[i].place == PLACE_PITCH)
            match_player_write(t->players[i].number,
                               name_of(s, &t->players[i]), out);
    buf_add_byte(out, '}');
}

static void write_start_time(const struct match_state *s, struct buf *out)
{
    char text[WHEN_TEXT_MAX];
    size_t n = when_format(s->start_ms, text);

    write_text("start_time", slice_make(text, n), out);
}

void match_state_write(const struct match_state *s, bool lineups,
                       struct buf *out)
{
    const struct match_team *home = &s->team[SIDE_HOME],
                            *visit = &s->team[SIDE_VISIT];

    write_text("home", slice_str(home->id), out);
    if (lineups)
        write_players(s, SIDE_HOME, "home_players", out);
    write_number("home_score", home->score, out);
    write_text("visit", slice_str(visit->id), out);
    if (lineups)
        write_players(s, SIDE_VISIT, "visit_players", out);
    write_number("visit_score", visit->score, out);
    if (s->shootout) {
        write_number("home_shootout", home->shootout, out);
        write_number("visit_shootout", visit->shootout, out);
    }
    write_text("period", slice_str(match_period_word(s->period)), out);
    write_text("stadium", get_text(s, s->stadium_at, s->stadium_len), out);
    write_start_time(s, out);
    write_text("comment", get_text(s, s->comment_at, s->comment_len), out);
}
