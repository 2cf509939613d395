#include "router/types/match_event.h"

#include "base/err.h"
#include "proto/json.h"
#include "proto/msg.h"

#define F(name) (1u << FIELD_##name)
#define P(name) (1u << PERIOD_##name)
#define ALWAYS  ((1u << MATCH_PERIODS) - 1)
#define RUNNING (P(FIRST) | P(LAST) | P(FIRST_EXTRA) | P(LAST_EXTRA))
#define IN_PLAY (RUNNING | P(HALFTIME) | P(HALFTIME_EXTRA) | P(PENALTIES))

static const char *const period_words[MATCH_PERIODS] = {
#define PERIOD(name, word) [PERIOD_##name] = word,
#include "router/types/match.def"
};

static const char *const field_keys[MATCH_FIELDS + 1] = {
#define FIELD(name, key) [FIELD_##name] = key,
#include "router/types/match.def"
};

static const struct kind_row {
    const char *word;
    uint32_t allowed, required;
    unsigned when;
    uint8_t weight;
} kinds[MATCH_KINDS] = {
#define KIND(name, word, weight, allowed, required, when)             \
    [MATCH_##name] = { word, (allowed) | F(MINUTE) | F(COMMENT), required, \
                       when, WEIGHT_##weight },
#include "router/types/match.def"
};

const char *match_kind_word(enum match_kind k) { return kinds[k].word; }
const char *match_period_word(enum match_period p) { return period_words[p]; }
uint8_t match_kind_weight(enum match_kind k) { return kinds[k].weight; }
unsigned match_kind_when(enum match_kind k) { return kinds[k].when; }

int match_kind_find(struct slice word, enum match_kind *ret)
{
    for (unsigned k = 0; k < MATCH_KINDS; k++)
        if (slice_eq(word, slice_str(kinds[k].word))) {
            *ret = (enum match_kind)k;
            return 0;
        }
    return ERR_NOT_FOUND;
}

int match_period_find(struct slice word, enum match_period *ret)
{
    for (unsigned p = 0; p < MATCH_PERIODS; p++)
        if (slice_eq(word, slice_str(period_words[p]))) {
            *ret = (enum match_period)p;
            return 0;
        }
    return ERR_NOT_FOUND;
}

bool team_id_valid(struct slice id)
{
    for (size_t i = 0; i < id.len; i++)
        if (!((id.ptr[i] >= 'a' && id.ptr[i] <= 'z')
              || (id.ptr[i] >= '0' && id.ptr[i] <= '9')))
            return false;
    return id.len >= 1 && id.len <= TEAM_ID_MAX;
}

/* ---- reading ---------------------------------------------------------- */

static int bad(struct buf *why, const char *text)
{
    buf_add_str(why, text);
    return ERR_BAD;
}

static int read_number(int64_t n, uint16_t *ret)
{
    if (n < 0 || n > MATCH_NUMBER_MAX)
        return ERR_BAD;
    *ret = (uint16_t)n;
    return 0;
}

static int read_number_key(const char *key, uint16_t *ret)
{
    uint64_t n;

    if (slice_parse_u64(slice_str(key), &n) < 0 || n > MATCH_NUMBER_MAX)
        return ERR_BAD;
    return read_number((int64_t)n, ret);
}

/* A name; an empty one is as good as none. */
static int read_name(const cJSON *v, struct match_player *p, struct buf *why)
{
    p->name = args_text(v);
    if (p->name.ptr && !p->name.len)
        return 0;
    return args_line(v, "the name of a player", MATCH_NAME_MAX, false,
                     &p->name, why);
}

/* 7, [7,"Luna"] or one member of {"7":"Luna"} */
static int read_player(const cJSON *v, struct match_player *p,
                       struct buf *why)
{
    const char *form = "a player is written 7, [7,\"Luna\"] or {\"7\":"
                       "\"Luna\"}, with a number from 0 to 999";
    int64_t n;

    p->name = slice_make(NULL, 0);
    if (cJSON_IsNumber(v)) {
        if (args_integer(v, &n) < 0 || read_number(n, &p->number) < 0)
            return bad(why, form);
        return 0;
    }
    if (!v->child || (v->child->next && v->child->next->next))
        return bad(why, form);
    if (cJSON_IsArray(v)) {
        if (args_integer(v->child, &n) < 0 || read_number(n, &p->number) < 0)
            return bad(why, form);
        return v->child->next ? read_name(v->child->next, p, why) : 0;
    }
    if (v->child->next || read_number_key(v->child->string, &p->number) < 0)
        return bad(why, form);
    return read_name(v->child, p, why);
}

static bool lineup_has(const struct match_lineup *l, uint16_t number)
{
    for (uint16_t i = 0; i < l->count; i++)
        if (l->players[i].number == number)
            return true;
    return false;
}

/* One player of a line-up: an element of an array, or a member of an object,
 * which carries its number as key. */
static int read_lineup_player(const cJSON *v, bool keyed,
                              struct match_lineup *l, struct buf *why)
{
    struct match_player *p = &l->players[l->count], read;
    int rc;

    if (l->count == MATCH_LINEUP_MAX)
        return bad(why, "a line-up has more than 99 players");
    if (!keyed)
        rc = read_player(v, &read, why);
    else if (read_number_key(v->string, &read.number) < 0)
        return bad(why, "a line-up's keys are numbers from 0 to 999");
    else
        rc = read_name(v, &read, why);
    if (rc < 0)
        return rc;
    if (lineup_has(l, read.number)) {
        buf_addf(why, "the number %u is in the line-up twice", read.number);
        return ERR_BAD;
    }
    *p = read;
    l->count++;
    return 0;
}

static int read_lineup(const cJSON *v, struct match_lineup *l,
                       struct buf *why)
{
    l->count = 0;
    if (!cJSON_IsArray(v) && !cJSON_IsObject(v))
        return bad(why, "a line-up is an array of players or an object of "
                   "number and name");
    for (const cJSON *c = v->child; c; c = c->next) {
        int rc = read_lineup_player(c, cJSON_IsObject(v), l, why);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_minute(const cJSON *v, struct match_event *e, struct buf *why)
{
    if (cJSON_IsNumber(v)) {
        e->minute = slice_make(NULL, 0);
        if (args_integer(v, &e->minute_number) == 0 && e->minute_number >= 0
            && e->minute_number <= 999)
            return 0;
        return bad(why, "minute must be a whole number from 0 to 999, or "
                   "text such as \"90+1\"");
    }
    return args_line(v, "minute", MATCH_MINUTE_MAX, false, &e->minute, why);
}

static int read_team(const cJSON *v, const char *key, struct slice *ret,
                     struct buf *why)
{
    *ret = args_text(v);
    if (team_id_valid(*ret))
        return 0;
    buf_addf(why, "%s must be a team's id: 1 to 24 of a-z and 0-9", key);
    return ERR_BAD;
}

static int read_card(const cJSON *v, enum match_card *ret, struct buf *why)
{
    struct slice s = args_text(v);

    if (!slice_eq(s, SLICE("yellow")) && !slice_eq(s, SLICE("red")))
        return bad(why, "card must be \"yellow\" or \"red\"");
    *ret = slice_eq(s, SLICE("red")) ? CARD_RED : CARD_YELLOW;
    return 0;
}

static int read_period(const cJSON *v, enum match_period *ret,
                       struct buf *why)
{
    if (match_period_find(args_text(v), ret) == 0)
        return 0;
    return bad(why, "period is none that a match can be in");
}

static int read_offset(const cJSON *v, int64_t *ret, struct buf *why)
{
    if (args_integer(v, ret) == 0 && *ret >= 1)
        return 0;
    return bad(why, "offset must be the offset of an event");
}

int match_start_time_read(const cJSON *v, int64_t *ms, char date[WHEN_DATE],
                          struct buf *why)
{
    char text[WHEN_TEXT_MAX];
    int64_t n;

    if (cJSON_IsString(v) && when_parse(args_text(v), ms, date) == 0)
        return 0;
    if (args_integer(v, &n) < 0 || !when_in_range(n))
        return bad(why, "start_time must be YYYY-MM-DD, an RFC 3339 time, or "
                   "Unix milliseconds");
    *ms = n;
    when_format(n, text);
    memcpy(date, text, WHEN_DATE);
    return 0;
}

static int read_field(struct match_event *e, enum match_field f,
                      const cJSON *v, struct buf *why)
{
    const char *key = field_keys[f];

    switch (f) {
    case FIELD_HOME: return read_team(v, key, &e->home, why);
    case FIELD_VISIT: return read_team(v, key, &e->visit, why);
    case FIELD_TEAM: return read_team(v, key, &e->team, why);
    case FIELD_PLAYER_TEAM: return read_team(v, key, &e->player_team, why);
    case FIELD_HOME_PLAYERS:
        return read_lineup(v, &e->lineup[SIDE_HOME], why);
    case FIELD_VISIT_PLAYERS:
        return read_lineup(v, &e->lineup[SIDE_VISIT], why);
    case FIELD_PERIOD: return read_period(v, &e->period, why);
    case FIELD_PLAYER: return read_player(v, &e->player, why);
    case FIELD_PLAYER_OUT: return read_player(v, &e->player_out, why);
    case FIELD_PLAYER_IN: return read_player(v, &e->player_in, why);
    case FIELD_CARD: return read_card(v, &e->card, why);
    case FIELD_MINUTE: return read_minute(v, e, why);
    case FIELD_STADIUM:
        return args_line(v, key, MATCH_STADIUM_MAX, false, &e->stadium, why);
    case FIELD_COMMENT:
        return args_line(v, key, MATCH_COMMENT_MAX, true, &e->comment, why);
    case FIELD_START_TIME:
        return match_start_time_read(v, &e->start_ms, e->date, why);
    case FIELD_OFFSET: return read_offset(v, &e->offset, why);
    case FIELD_HOME_SCORE:
    case FIELD_VISIT_SCORE:
    case MATCH_FIELDS: break;
    }
    return bad(why, "the score follows from the goals");
}

/* A line-up of nobody is none: the side then accepts any player. */
static bool is_empty_lineup(const struct match_event *e, enum match_field f)
{
    return (f == FIELD_HOME_PLAYERS && !e->lineup[SIDE_HOME].count)
           || (f == FIELD_VISIT_PLAYERS && !e->lineup[SIDE_VISIT].count);
}

static int read_fields(struct match_event *e, const cJSON *data,
                       struct buf *why)
{
    const struct kind_row *row = &kinds[e->kind];

    for (unsigned f = 0; f < MATCH_FIELDS; f++) {
        const cJSON *v = args_get(data, field_keys[f]);
        int rc;

        if (!v && !(row->required >> f & 1))
            continue;
        if (!v || !(row->allowed >> f & 1)) {
            buf_addf(why, "a %s event %s %s", row->word,
                     v ? "takes no" : "needs a", field_keys[f]);
            return ERR_BAD;
        }
        rc = read_field(e, (enum match_field)f, v, why);
        if (rc < 0)
            return rc;
        if (!is_empty_lineup(e, (enum match_field)f))
            e->has |= 1u << f;
    }
    return 0;
}

int match_event_read(struct match_event *e, enum match_kind kind,
                     const cJSON *data, struct buf *why)
{
    const char *unknown = args_unknown(data, field_keys);

    if (unknown) {
        buf_addf(why, "an event has no \"%.40s\"", unknown);
        return ERR_BAD;
    }
    e->kind = kind;
    e->has = 0;
    return read_fields(e, data, why);
}

/* ---- writing ---------------------------------------------------------- */

void match_player_write(uint16_t number, struct slice name, struct buf *out)
{
    char key[8];
    size_t n = sizeof key;

    do
        key[--n] = (char)('0' + number % 10);
    while ((number = (uint16_t)(number / 10)) > 0);
    if (out->len && out->ptr[out->len - 1] != '{')
        buf_add_byte(out, ',');
    json_put_string(out, slice_make(key + n, sizeof key - n));
    buf_add_byte(out, ':');
    json_put_string(out, name);
}

static void write_player(const struct match_player *p, struct buf *out)
{
    buf_add_byte(out, '{');
    match_player_write(p->number, p->name, out);
    buf_add_byte(out, '}');
}

static void write_lineup(const struct match_lineup *l, struct buf *out)
{
    buf_add_byte(out, '{');
    for (uint16_t i = 0; i < l->count; i++)
        match_player_write(l->players[i].number, l->players[i].name, out);
    buf_add_byte(out, '}');
}

static void write_time(int64_t ms, struct buf *out)
{
    char text[WHEN_TEXT_MAX];

    json_put_string(out, slice_make(text, when_format(ms, text)));
}

static void write_minute(const struct match_event *e, struct buf *out)
{
    if (e->minute.ptr)
        json_put_string(out, e->minute);
    else
        buf_add_u64(out, (uint64_t)e->minute_number);
}

static void write_field(const struct match_event *e, enum match_field f,
                        struct buf *out)
{
    switch (f) {
    case FIELD_HOME: json_put_string(out, e->home); break;
    case FIELD_VISIT: json_put_string(out, e->visit); break;
    case FIELD_TEAM: json_put_string(out, e->team); break;
    case FIELD_PLAYER_TEAM: json_put_string(out, e->player_team); break;
    case FIELD_HOME_PLAYERS: write_lineup(&e->lineup[SIDE_HOME], out); break;
    case FIELD_VISIT_PLAYERS:
        write_lineup(&e->lineup[SIDE_VISIT], out);
        break;
    case FIELD_PERIOD:
        json_put_string(out, slice_str(period_words[e->period]));
        break;
    case FIELD_PLAYER: write_player(&e->player, out); break;
    case FIELD_PLAYER_OUT: write_player(&e->player_out, out); break;
    case FIELD_PLAYER_IN: write_player(&e->player_in, out); break;
    case FIELD_CARD:
        buf_add_str(out, e->card == CARD_RED ? "\"red\"" : "\"yellow\"");
        break;
    case FIELD_MINUTE: write_minute(e, out); break;
    case FIELD_STADIUM: json_put_string(out, e->stadium); break;
    case FIELD_COMMENT: json_put_string(out, e->comment); break;
    case FIELD_START_TIME: write_time(e->start_ms, out); break;
    case FIELD_OFFSET: buf_add_u64(out, (uint64_t)e->offset); break;
    case FIELD_HOME_SCORE:
    case FIELD_VISIT_SCORE:
    case MATCH_FIELDS: break;
    }
}

void match_event_write(const struct match_event *e, struct buf *out)
{
    buf_add_byte(out, '{');
    for (unsigned f = 0; f < MATCH_FIELDS; f++) {
        if (!match_has(e, (enum match_field)f))
            continue;
        json_put_key(out, field_keys[f]);
        write_field(e, (enum match_field)f, out);
    }
    buf_add_byte(out, '}');
}
