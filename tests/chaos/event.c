#include "tests/chaos/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "proto/json.h"
#include "tests/chaos/payload.h"
#include "tests/chaos/told.h"

static const char *const periods[] = {
    "not_started", "first", "halftime", "last", "first_extra",
    "halftime_extra", "last_extra",
};

/* Kinds that move a match on: every second one is a half time. */
static const struct {
    const char *kind;
    uint8_t from, to;
} moves[] = {
    { "start", 0, 1 },          { "halftime_start", 1, 2 },
    { "halftime_stop", 2, 3 },  { "extratime", 3, 4 },
    { "halftime_start", 4, 5 }, { "halftime_stop", 5, 6 },
};

bool event_is_match(struct slice channel)
{
    return slice_starts(channel, SLICE("match/")) && channel.len > 6 &&
           channel.ptr[6] == 'h';
}

bool event_is_team(struct slice channel)
{
    return slice_starts(channel, SLICE("team/")) && channel.len > 5 &&
           (channel.ptr[5] == 'h' || channel.ptr[5] == 'v');
}

/* ---- words ------------------------------------------------------------------ */

/* The next of what dots split. */
static struct slice next_word(struct slice *rest)
{
    struct slice w = slice_make(rest->ptr, 0);

    while (w.len < rest->len && rest->ptr[w.len] != '.')
        w.len++;
    *rest = slice_from(*rest, MIN(w.len + 1, rest->len));
    return w;
}

struct event {
    int side; /* -1: of none */
    struct slice kind, first, second;
};

static struct event take_apart(struct slice word)
{
    struct event e = { .side = -1, .kind = next_word(&word) };

    if (slice_eq(e.kind, SLICE("h")) || slice_eq(e.kind, SLICE("v"))) {
        e.side = e.kind.ptr[0] == 'v';
        e.kind = next_word(&word);
    }
    e.first = next_word(&word);
    e.second = next_word(&word);
    return e;
}

enum event_weight event_weight(struct slice word)
{
    struct event e = take_apart(word);

    if (e.side < 0)
        return EVENT_STATE;
    return slice_eq(e.kind, SLICE("goal")) || slice_eq(e.kind, SLICE("card")) ||
                   slice_eq(e.kind, SLICE("substitution"))
               ? EVENT_KEPT : EVENT_LESSER;
}

/* ---- said --------------------------------------------------------------------- */

/* The K of match/hK-... */
static unsigned number_of(struct slice channel)
{
    return (unsigned)strtoul((const char *)channel.ptr + 7, NULL, 10);
}

static void write_members(struct buf *out, struct slice channel,
                          const struct event *e)
{
    unsigned k = number_of(channel);

    if (slice_eq(e->kind, SLICE("create")))
        buf_addf(out, "\"home\":\"h%u\",\"visit\":\"v%u\","
                 "\"start_time\":\"2026-06-01\",", k, k);
    if (slice_eq(e->kind, SLICE("start")))
        for (int side = 0; side < 2; side++) {
            buf_addf(out, "\"%s_players\":[", side ? "visit" : "home");
            for (unsigned i = 1; i <= 11; i++)
                buf_addf(out, i < 11 ? "%u," : "%u],", i);
        }
    if (e->side >= 0)
        buf_addf(out, "\"team\":\"%c%u\",", e->side ? 'v' : 'h', k);
    if (slice_eq(e->kind, SLICE("card")))
        buf_addf(out, "\"player\":" SLICE_FMT ",\"card\":\"" SLICE_FMT "\",",
                 SLICE_ARG(e->first), SLICE_ARG(e->second));
    if (slice_eq(e->kind, SLICE("substitution")))
        buf_addf(out, "\"player_out\":" SLICE_FMT ",\"player_in\":" SLICE_FMT
                 ",", SLICE_ARG(e->first), SLICE_ARG(e->second));
    if (slice_eq(e->kind, SLICE("retract")))
        buf_addf(out, "\"offset\":" SLICE_FMT ",", SLICE_ARG(e->first));
}

void event_write(struct buf *out, struct slice channel, struct slice word,
                 struct slice text)
{
    struct event e = take_apart(word);
    bool creates = slice_eq(e.kind, SLICE("create"));

    if (event_is_team(channel)) {
        buf_addf(out, "{\"name\":\"" SLICE_FMT "\",\"division\":\"d\"}",
                 SLICE_ARG(text));
        return;
    }
    buf_addf(out, "{\"kind\":\"" SLICE_FMT "\",\"data\":{",
             SLICE_ARG(creates ? SLICE("status") : e.kind));
    write_members(out, channel, &e);
    buf_addf(out, "\"comment\":\"" SLICE_FMT "\"}}", SLICE_ARG(text));
}

/* ---- read ----------------------------------------------------------------------- */

static struct slice member(struct slice json, const char *name)
{
    struct slice v;

    return json_find(json, name, &v) == 0 ? told_plain(v)
                                          : slice_make(NULL, 0);
}

/* The number of {"7":""}. */
static struct slice player(struct slice data, const char *name)
{
    struct slice v = member(data, name), key, value;
    struct json_iter it;

    if (json_kind(v) != JSON_OBJECT)
        return v;
    it = json_iter(v);
    return json_next(&it, &key, &value) ? told_plain(key) : v;
}

PRINTF_LIKE(2, 3)
static void add_word(char ret[EVENT_WORD_MAX + 1], const char *fmt, ...)
{
    size_t n = strlen(ret);
    va_list args;

    va_start(args, fmt);
    vsnprintf(ret + n, EVENT_WORD_MAX + 1 - n, fmt, args);
    va_end(args);
}

void event_read(struct slice kind, struct slice data,
                char ret[EVENT_WORD_MAX + 1])
{
    struct slice team, creates;

    ret[0] = '\0';
    if (json_kind(data) != JSON_OBJECT)
        return;
    team = member(data, "team");
    creates = member(data, "home");
    if (!kind.len) {
        add_word(ret, member(data, "name").len ? "team" : "");
        return;
    }
    if (team.len)
        add_word(ret, "%c.", team.ptr[0]);
    add_word(ret, SLICE_FMT, SLICE_ARG(creates.len ? SLICE("create") : kind));
    if (slice_eq(kind, SLICE("card")))
        add_word(ret, "." SLICE_FMT "." SLICE_FMT,
                 SLICE_ARG(player(data, "player")),
                 SLICE_ARG(member(data, "card")));
    if (slice_eq(kind, SLICE("substitution")))
        add_word(ret, "." SLICE_FMT "." SLICE_FMT,
                 SLICE_ARG(player(data, "player_out")),
                 SLICE_ARG(player(data, "player_in")));
    if (slice_eq(kind, SLICE("retract")))
        add_word(ret, "." SLICE_FMT, SLICE_ARG(member(data, "offset")));
}

/* A value of JSON, or of telnet's ` key=value`. */
static struct slice value_of(struct slice state, const char *name)
{
    char key[32];
    int n = snprintf(key, sizeof key, " %s=", name);
    const uint8_t *at;
    struct slice v;

    if (json_kind(state) == JSON_OBJECT)
        return member(state, name);
    at = memmem(state.ptr, state.len, key, (size_t)n);
    if (!at)
        return slice_make(NULL, 0);
    v = slice_from(state, (size_t)(at - state.ptr) + (size_t)n);
    for (size_t i = 1; i < v.len; i++)
        if (v.ptr[0] == '"' ? v.ptr[i] == '"' : v.ptr[i] == ' ')
            return told_plain(slice_make(v.ptr, i + (v.ptr[0] == '"')));
    return told_plain(v);
}

static uint64_t eleven(struct slice state, const char *name)
{
    struct slice v = value_of(state, name), key, value;
    struct json_iter it;
    uint64_t all = 0;

    if (json_kind(v) != JSON_OBJECT)
        return 0;
    it = json_iter(v);
    while (json_next(&it, &key, &value))
        all |= UINT64_C(1) << (strtoul((const char *)told_plain(key).ptr, NULL,
                                       10) & 63);
    return all;
}

void event_state(struct slice state, char ret[STATE_WORD_MAX + 1])
{
    struct payload p = { .publisher = 0 };
    struct slice home, visit, period;

    if (!state.len || json_kind(state) == JSON_NULL) {
        strcpy(ret, "-");
        return;
    }
    payload_read(value_of(state, "comment"), &p);
    period = value_of(state, "period");
    home = value_of(state, "home_score");
    visit = value_of(state, "visit_score");
    snprintf(ret, STATE_WORD_MAX + 1, SLICE_FMT ":" SLICE_FMT ":" SLICE_FMT
             ":%u.%u:%lx:%lx", SLICE_ARG(period), SLICE_ARG(home),
             SLICE_ARG(visit), p.publisher, p.number,
             eleven(state, "home_players"), eleven(state, "visit_players"));
}

/* ---- folded ------------------------------------------------------------------------ */

static uint64_t bit_of(struct slice number)
{
    return UINT64_C(1) << (strtoul((const char *)number.ptr, NULL, 10) & 63);
}

static void fold_card(struct standing *s, const struct event *e)
{
    uint64_t who = bit_of(e->first);

    if (slice_eq(e->second, SLICE("red")) || s->booked[e->side] & who) {
        s->pitch[e->side] &= ~who;
        s->off[e->side] |= who;
    }
    s->booked[e->side] |= who;
}

static void move_on(struct standing *s, struct slice kind)
{
    for (size_t i = 0; i < ARRAY_LEN(moves); i++)
        if (moves[i].from == s->period &&
            slice_eq(kind, slice_str(moves[i].kind))) {
            s->period = moves[i].to;
            return;
        }
}

void standing_fold(struct standing *s, struct slice word, uint32_t publisher,
                   uint32_t number)
{
    struct event e = take_apart(word);

    s->there = true;
    if (slice_eq(e.kind, SLICE("create")) || slice_eq(e.kind, SLICE("status")))
        s->publisher = publisher, s->number = number;
    if (slice_eq(e.kind, SLICE("start")))
        s->pitch[0] = s->pitch[1] = 0xffe;
    if (slice_eq(e.kind, SLICE("goal")))
        s->score[e.side]++;
    if (slice_eq(e.kind, SLICE("card")))
        fold_card(s, &e);
    if (slice_eq(e.kind, SLICE("substitution"))) {
        s->pitch[e.side] &= ~bit_of(e.first);
        s->pitch[e.side] |= bit_of(e.second);
    }
    move_on(s, e.kind);
}

void standing_word(const struct standing *s, char ret[STATE_WORD_MAX + 1])
{
    if (!s->there)
        strcpy(ret, "-");
    else
        snprintf(ret, STATE_WORD_MAX + 1, "%s:%u:%u:%u.%u:%lx:%lx",
                 periods[s->period], s->score[0], s->score[1], s->publisher,
                 s->number, s->pitch[0], s->pitch[1]);
}
