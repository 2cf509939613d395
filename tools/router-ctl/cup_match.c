/* cup_match.c - one match of an openfootball file. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tools/router-ctl/cup_read.h"

enum {
    GOALS_MAX = 99,   /* of a side */
    MINUTE_MAX = 200, /* what is above is no minute of a match */
    NUMBER_MAX = 999, /* on a shirt */
    LINEUP_MAX = 99,
    STADIUM_MAX = 200 /* bytes */
};

/* ---- scores ------------------------------------------------------------ */

static const struct cup_score unknown = { { CUP_UNKNOWN, CUP_UNKNOWN } };

static struct cup_score make_score(const cJSON *one, const cJSON *two)
{
    struct cup_score s = { { cup_number(one, GOALS_MAX),
                             cup_number(two, GOALS_MAX) } };

    return s.of[0] == CUP_UNKNOWN || s.of[1] == CUP_UNKNOWN ? unknown : s;
}

/* "score": {key: [1, 2]}, or else the two keys of older files. */
static struct cup_score read_score(const cJSON *o, const char *key,
                                   const char *old1, const char *old2)
{
    const cJSON *score = cup_get(o, "score"), *pair = cup_get(score, key);

    if (!pair && cJSON_IsArray(score) && strcmp(key, "ft") == 0)
        pair = score;
    if (cJSON_GetArraySize(pair) == 2)
        return make_score(cJSON_GetArrayItem(pair, 0),
                          cJSON_GetArrayItem(pair, 1));
    return make_score(cup_get(o, old1), cup_get(o, old2));
}

static void read_scores(struct cup_match *m, const cJSON *o)
{
    m->ht = read_score(o, "ht", "score1i", "score2i");
    m->ft = read_score(o, "ft", "score1", "score2");
    m->et = read_score(o, "et", "score1et", "score2et");
    m->p = read_score(o, "p", "score1p", "score2p");
}

/* ---- when and where ---------------------------------------------------- */

/* Up to two digits off the front; CUP_UNKNOWN: there are none. */
static int take_digits(const char **s)
{
    int n = CUP_UNKNOWN;

    for (int i = 0; i < 2 && **s >= '0' && **s <= '9'; i++, ++*s)
        n = (n == CUP_UNKNOWN ? 0 : n * 10) + (**s - '0');
    return n;
}

/* "UTC-3", "UTC+5:30" somewhere in the text. */
static int read_zone(const char *text, int otherwise)
{
    const char *at = text ? strstr(text, "UTC") : NULL;
    int sign, hours, minutes = 0;

    if (!at)
        return otherwise;
    at += 3;
    sign = *at == '-' ? -1 : 1;
    if (*at == '-' || *at == '+')
        at++;
    hours = take_digits(&at);
    if (hours == CUP_UNKNOWN || hours > 14)
        return 0;
    if (*at == ':') {
        at++;
        minutes = take_digits(&at);
    }
    return sign * (hours * 60 + (minutes > 0 && minutes < 60 ? minutes : 0));
}

static bool is_date(const char *s)
{
    for (int i = 0; i < CUP_DATE; i++)
        if (i == 4 || i == 7 ? s[i] != '-' : s[i] < '0' || s[i] > '9')
            return false;
    return true;
}

static void read_when(struct cup_match *m, const cJSON *o)
{
    const char *date = cJSON_GetStringValue(cup_get(o, "date"));
    const char *time = cJSON_GetStringValue(cup_get(o, "time"));
    const char *zone = cJSON_GetStringValue(cup_get(o, "timezone"));
    const char *at = time;

    if (date && is_date(date))
        memcpy(m->date, date, CUP_DATE);
    m->hour = at ? take_digits(&at) : CUP_UNKNOWN;
    m->minute = at && *at == ':' ? (at++, take_digits(&at)) : CUP_UNKNOWN;
    if (m->hour > 23 || m->minute == CUP_UNKNOWN || m->minute > 59)
        m->hour = CUP_UNKNOWN;
    m->zone = read_zone(time, read_zone(zone, 0));
}

static int read_where(struct cup_match *m, const cJSON *o)
{
    const cJSON *stadium = cup_get(o, "stadium");
    const cJSON *const places[] = { cup_get(o, "ground"), stadium,
                                    cup_get(stadium, "name"),
                                    cup_get(o, "city") };
    int rc = ERR_NOT_FOUND;

    for (size_t i = 0; rc == ERR_NOT_FOUND && i < ARRAY_LEN(places); i++)
        rc = cup_text(places[i], STADIUM_MAX, &m->stadium);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* A number, or text: "90+1", "45'+2'", "23'". */
static struct cup_time read_time(const cJSON *o)
{
    const cJSON *minute = cup_get(o, "minute");
    struct cup_time t = { .minute = cup_number(minute, MINUTE_MAX),
                          .offset = cup_number(cup_get(o, "offset"), 60) };
    const char *text = cJSON_GetStringValue(minute);

    if (t.minute == CUP_UNKNOWN && text) {
        char *end;
        long n = strtol(text, &end, 10);

        if (end != text && n > 0 && n <= MINUTE_MAX)
            t.minute = (int)n;
        end += strspn(end, "' ");
        if (*end == '+')
            t.offset = (int)strtol(end + 1, NULL, 10);
    }
    if (t.minute == 0)
        t.minute = 1;
    if (t.offset < 0 || t.offset > 60)
        t.offset = 0;
    return t;
}

/* ---- goals ------------------------------------------------------------- */

static int read_goal(struct cup *c, struct cup_match *m, int side,
                     const cJSON *o)
{
    struct cup_goal *g = &m->goals[m->goal_count];

    if (!cJSON_IsObject(o))
        return 0;
    m->goal_count++;
    g->side = side;
    g->at = read_time(o);
    g->penalty = cJSON_IsTrue(cup_get(o, "penalty"));
    g->own = cJSON_IsTrue(cup_get(o, "owngoal"));
    return cup_player(&c->teams[m->team[g->own ? !side : side]],
                      cup_get(o, "name"), 0, &g->player);
}

static int read_goals(struct cup *c, struct cup_match *m, const cJSON *o)
{
    const cJSON *lists[] = { cup_get(o, "goals1"), cup_get(o, "goals2") };
    int n = cJSON_GetArraySize(lists[0]) + cJSON_GetArraySize(lists[1]);
    int rc = 0;

    m->goals = calloc((size_t)n + 1, sizeof *m->goals);
    if (!m->goals)
        return ERR_NOMEM;
    for (int side = 0; side < 2; side++) {
        const cJSON *goal;

        cJSON_ArrayForEach(goal, lists[side])
            if (rc == 0)
                rc = read_goal(c, m, side, goal);
    }
    return rc;
}

/* ---- what the data set does not have ----------------------------------- */

static bool in_lineup(const struct cup *c, const struct cup_match *m,
                      int side, int number)
{
    const struct cup_lineup *l = &m->lineup[side];

    for (int i = 0; i < l->count; i++)
        if (c->teams[m->team[side]].players[l->players[i]].number == number)
            return true;
    return false;
}

/* {"23": "Emiliano Martínez"}; one that cannot be read is left out whole. */
static int read_lineup(struct cup *c, struct cup_match *m, int side,
                       const cJSON *o)
{
    struct cup_lineup *l = &m->lineup[side];
    struct cup_team *t = &c->teams[m->team[side]];
    const cJSON *v;

    if (!cJSON_IsObject(o) || cJSON_GetArraySize(o) > LINEUP_MAX)
        return 0;
    l->players = calloc((size_t)cJSON_GetArraySize(o) + 1,
                        sizeof *l->players);
    if (!l->players)
        return ERR_NOMEM;
    cJSON_ArrayForEach(v, o) {
        int number = atoi(v->string), player, rc;

        rc = cup_player(t, v, number, &player);
        if (rc < 0)
            return rc;
        if (player == CUP_NOBODY || number < 1 || number > NUMBER_MAX
            || in_lineup(c, m, side, t->players[player].number)) {
            l->count = 0;
            return 0;
        }
        l->players[l->count++] = player;
    }
    return 0;
}

/* "team": 1 or 2 -> 0 or 1; CUP_UNKNOWN. */
static int read_side(const cJSON *o)
{
    int team = cup_number(cup_get(o, "team"), 2);

    return team > 0 ? team - 1 : CUP_UNKNOWN;
}

static int read_card(struct cup *c, struct cup_match *m, const cJSON *o)
{
    struct cup_card *card = &m->cards[m->card_count];
    const char *word = cJSON_GetStringValue(cup_get(o, "card"));
    int rc;

    card->side = read_side(o);
    card->at = read_time(o);
    card->red = word && strcmp(word, "red") == 0;
    if (card->side == CUP_UNKNOWN || card->at.minute == CUP_UNKNOWN)
        return 0;
    rc = cup_player(&c->teams[m->team[card->side]], cup_get(o, "name"), 0,
                    &card->player);
    m->card_count += rc == 0 && card->player != CUP_NOBODY;
    return rc;
}

static int read_sub(struct cup *c, struct cup_match *m, const cJSON *o)
{
    struct cup_sub *s = &m->subs[m->sub_count];
    int number = cup_number(cup_get(o, "number"), NUMBER_MAX), rc;
    struct cup_team *t;

    s->side = read_side(o);
    s->at = read_time(o);
    if (s->side == CUP_UNKNOWN || s->at.minute == CUP_UNKNOWN)
        return 0;
    t = &c->teams[m->team[s->side]];
    rc = cup_player(t, cup_get(o, "out"), 0, &s->out);
    if (rc == 0)
        rc = cup_player(t, cup_get(o, "in"), number, &s->in);
    m->sub_count += rc == 0 && s->out != CUP_NOBODY && s->in != CUP_NOBODY;
    return rc;
}

static int read_kick(struct cup *c, struct cup_match *m, const cJSON *o)
{
    struct cup_kick *k = &m->kicks[m->kick_count];
    int rc;

    k->side = read_side(o);
    k->goal = cJSON_IsTrue(cup_get(o, "goal"));
    if (k->side == CUP_UNKNOWN)
        return 0;
    m->kick_count++;
    rc = cup_player(&c->teams[m->team[k->side]], cup_get(o, "name"), 0,
                    &k->player);
    if (rc == 0)
        rc = cup_player(&c->teams[m->team[!k->side]], cup_get(o, "saved"), 0,
                        &k->keeper);
    return rc;
}

static int read_each(struct cup *c, struct cup_match *m, const cJSON *list,
                     int (*read)(struct cup *, struct cup_match *,
                                 const cJSON *))
{
    const cJSON *o;
    int rc = 0;

    cJSON_ArrayForEach(o, list)
        if (rc == 0)
            rc = read(c, m, o);
    return rc;
}

static int read_extras(struct cup *c, struct cup_match *m, const cJSON *o)
{
    const cJSON *cards = cup_get(o, "cards"), *subs = cup_get(o, "subs"),
                *kicks = cup_get(o, "kicks");
    int rc;

    m->cards = calloc((size_t)cJSON_GetArraySize(cards) + 1,
                      sizeof *m->cards);
    m->subs = calloc((size_t)cJSON_GetArraySize(subs) + 1, sizeof *m->subs);
    m->kicks = calloc((size_t)cJSON_GetArraySize(kicks) + 1,
                      sizeof *m->kicks);
    if (!m->cards || !m->subs || !m->kicks)
        return ERR_NOMEM;
    rc = read_lineup(c, m, 0, cup_get(o, "lineup1"));
    if (rc == 0)
        rc = read_lineup(c, m, 1, cup_get(o, "lineup2"));
    if (rc == 0)
        rc = read_each(c, m, subs, read_sub);
    if (rc == 0)
        rc = read_each(c, m, cards, read_card);
    if (rc == 0)
        rc = read_each(c, m, kicks, read_kick);
    return rc;
}

int cup_read_match(struct cup *c, struct cup_match *m, const cJSON *o)
{
    int rc;

    read_scores(m, o);
    read_when(m, o);
    rc = read_where(m, o);
    if (rc == 0)
        rc = read_extras(c, m, o); /* first: it says numbers */
    if (rc == 0)
        rc = read_goals(c, m, o);
    return rc;
}
