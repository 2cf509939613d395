#include "tests/tools/ctl_referee.h"

#include <string.h>

#include "base/err.h"
#include "proto/json.h"
#include "tests/t/t.h"

/* kind, in this period, leads to that one ("": the same). */
static const struct rule {
    const char *kind, *in, *to;
} rules[] = {
    { "start", "not_started", "first" },
    { "halftime_start", "first", "halftime" },
    { "halftime_stop", "halftime", "last" },
    { "extratime", "last", "first_extra" },
    { "halftime_start", "first_extra", "halftime_extra" },
    { "halftime_stop", "halftime_extra", "last_extra" },
    { "penalties", "last", "penalties" },
    { "penalties", "last_extra", "penalties" },
    { "stop", "last", "ended" },
    { "stop", "last_extra", "ended" },
    { "stop", "penalties", "ended" },
};
static const char *const halves[] = { "first", "last", "first_extra",
                                      "last_extra" };

static const char *next_period(const char *period, const char *kind)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (strcmp(rules[i].kind, kind) == 0
            && strcmp(rules[i].in, period) == 0)
            return rules[i].to;
    test_fail(__FILE__, __LINE__, "%s in period %s", kind, period);
}

static bool is_play(const char *kind)
{
    static const char *const kinds[] = { "goal", "penalty", "shot", "save",
                                         "card", "substitution" };

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    return false;
}

static int side_of(const struct cup *c, const struct cup_match *m,
                   struct slice data, const char *key)
{
    struct slice raw;

    EXPECT_OK(json_find(data, key, &raw));
    for (int side = 0; side < 2; side++)
        if (json_is(raw, slice_str(c->teams[m->team[side]].id)))
            return side;
    test_fail(__FILE__, __LINE__, "a team that does not play: " SLICE_FMT,
              SLICE_ARG(raw));
}

static void count_goal(struct verdict *v, int side, bool named)
{
    if (strcmp(v->period, "penalties") == 0) {
        v->shootout[side]++;
        return;
    }
    v->score[side]++;
    v->named += named;
    v->nameless += !named;
    for (size_t i = 0; i < ARRAY_LEN(halves); i++)
        if (strcmp(v->period, halves[i]) == 0) {
            v->halves[i]++;
            return;
        }
    test_fail(__FILE__, __LINE__, "a goal in period %s", v->period);
}

static void judge(struct verdict *v, const struct cup *c,
                  const struct cup_match *m, const char *kind,
                  struct slice data)
{
    struct slice raw;
    int side = side_of(c, m, data, "team");
    bool named = json_find(data, "player", &raw) == 0;

    if (json_find(data, "player_team", &raw) == 0)
        EXPECT(side_of(c, m, data, "player_team") == !side);
    if (strcmp(kind, "goal") == 0)
        count_goal(v, side, named);
    v->cards += strcmp(kind, "card") == 0;
    v->subs += strcmp(kind, "substitution") == 0;
    v->misses += strcmp(kind, "shot") == 0 || strcmp(kind, "save") == 0;
}

struct verdict referee(const struct cup *c, const struct cup_match *m,
                       const struct schedule *s)
{
    struct verdict v = { .period = "not_started" };
    int64_t before = 0;

    for (size_t i = 0; i < s->count; i++) {
        const struct event *e = &s->events[i];
        struct slice data = schedule_data(s, e);

        EXPECT_OK(json_check(data, 8, NULL));
        EXPECT(e->at_ms >= before);
        before = e->at_ms;
        if (is_play(e->kind))
            judge(&v, c, m, e->kind, data);
        else
            v.period = next_period(v.period, e->kind);
    }
    return v;
}

struct cup *cup_of(const char *text)
{
    char why[CUP_WHY_MAX] = "";
    struct cup *c;
    int rc = cup_read(&c, slice_str(text), why);

    if (rc < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", err_name(rc), why);
    return c;
}

struct cup *cup_of_data(const char *name)
{
    size_t len;
    char *text = test_data(name, &len);
    struct cup *c = cup_of(text);

    free(text);
    return c;
}

const struct event *nth(const struct schedule *s, const char *kind, int n)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->events[i].kind, kind) == 0 && --n == 0)
            return &s->events[i];
    return NULL;
}

const char *data_of(const struct schedule *s, const struct event *e)
{
    static char text[4096];
    struct slice data;

    EXPECT(e != NULL);
    data = schedule_data(s, e);
    EXPECT(data.len < sizeof text);
    memcpy(text, data.ptr, data.len);
    text[data.len] = '\0';
    return text;
}
