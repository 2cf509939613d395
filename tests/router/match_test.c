/* Matches: whole ones, undoing, and everything that is refused. */
#include <stdio.h>

#include "base/err.h"
#include "router/types/match_log.h"
#include "proto/json.h"
#include "stage.h"

#define M "match/elp-tig-2011-09-13"

static struct stage *with_teams(void)
{
    struct stage *s = stage_new();

    stage_act(s, "team.put", "{\"id\":\"elp\",\"name\":\"Estudiantes\"}",
              true);
    stage_act(s, "team.put", "{\"id\":\"tig\",\"name\":\"Tigre\"}", true);
    return s;
}

static struct stage *with_match(void)
{
    struct stage *s = with_teams();

    stage_act(s, "match.new", "{\"home\":\"elp\",\"visit\":\"tig\","
              "\"start_time\":\"2011-09-13\",\"stadium\":\"Centenario\"}",
              true);
    return s;
}

/* elp has 1 Ana, 7 Luna, 10 Sol; tig 1 Rex, 9 Kay. */
static struct stage *with_lineups(void)
{
    struct stage *s = with_match();

    stage_say(s, M, "{\"kind\":\"start\",\"data\":{\"home_players\":"
              "[[1,\"Ana\"],[7,\"Luna\"],[10,\"Sol\"]],"
              "\"visit_players\":{\"1\":\"Rex\",\"9\":\"Kay\"}}}");
    return s;
}

static void expect_state(struct stage *s, const char *part)
{
    EXPECT_CONTAINS(stage_snapshot(s, M), part);
}

static void expect_no_state(struct stage *s, const char *part)
{
    if (strstr(stage_snapshot(s, M), part))
        test_fail(__FILE__, __LINE__, "%s in %s", part,
                  stage_snapshot(s, M));
}

/* The event's data as stored. */
static void expect_stored(struct stage *s, const char *event,
                          const char *data)
{
    stage_say(s, M, event);
    EXPECT_STR(stage_data(s), data);
}

static void expect_rule(struct stage *s, const char *event, const char *text)
{
    EXPECT_CONTAINS(stage_refused(s, M, event, ERR_CONFLICT, "match.rule"),
                    text);
}

static void expect_bad(struct stage *s, const char *event, const char *code,
                       const char *text)
{
    EXPECT_CONTAINS(stage_refused(s, M, event, ERR_BAD, code), text);
}

static uint64_t retract(struct stage *s, uint64_t offset)
{
    char text[80];

    snprintf(text, sizeof text, "{\"kind\":\"retract\",\"data\":{\"offset\":"
             "%llu}}", (unsigned long long)offset);
    return stage_say(s, M, text);
}

static const char *retract_refused(struct stage *s, uint64_t offset)
{
    char text[80];

    snprintf(text, sizeof text, "{\"kind\":\"retract\",\"data\":{\"offset\":"
             "%llu}}", (unsigned long long)offset);
    return stage_refused(s, M, text, ERR_CONFLICT, "match.retract");
}

/* ---- creating --------------------------------------------------------- */

TEST(a_new_match_is_its_first_status)
{
    struct stage *s = with_teams();

    EXPECT_STR(stage_act(s, "match.new", "{\"home\":\"elp\",\"visit\":\"tig\""
                         ",\"start_time\":\"2011-09-13T20:45:00-03:00\","
                         "\"stadium\":\"Centenario\"}", true),
               "{\"id\":\"elp-tig-2011-09-13\"}");
    EXPECT_STR(stage_kind(s), "status");
    EXPECT_STR(stage_data(s),
               "{\"home\":\"elp\",\"visit\":\"tig\","
               "\"period\":\"not_started\",\"stadium\":\"Centenario\","
               "\"start_time\":\"2011-09-13T23:45:00Z\"}");
    EXPECT_STR(stage_snapshot(s, M),
               "{\"id\":\"elp-tig-2011-09-13\",\"home\":\"elp\","
               "\"home_score\":0,\"visit\":\"tig\",\"visit_score\":0,"
               "\"period\":\"not_started\",\"stadium\":\"Centenario\","
               "\"start_time\":\"2011-09-13T23:45:00Z\","
               "\"date\":\"2011-09-13\"}");
    stage_free(s);
}

TEST(the_day_in_the_id_is_the_one_that_was_written)
{
    struct stage *s = with_teams();

    /* already the 14th in UTC */
    EXPECT_CONTAINS(stage_act(s, "match.new", "{\"home\":\"elp\",\"visit\":"
                              "\"tig\",\"start_time\":"
                              "\"2011-09-13T22:00:00-03:00\"}", true),
                    "elp-tig-2011-09-13");
    EXPECT_CONTAINS(stage_act(s, "match.new", "{\"home\":\"tig\",\"visit\":"
                              "\"elp\",\"start_time\":1315958400123}", true),
                    "tig-elp-2011-09-14");
    EXPECT_CONTAINS(stage_data(s), "\"2011-09-14T00:00:00.123Z\"");
    EXPECT_CONTAINS(stage_query(s, "match.list", "{\"date\":\"2011-09-13\"}"),
                    "elp-tig");
    stage_free(s);
}

TEST(a_match_that_cannot_be_is_not_created)
{
    static const struct {
        const char *args;
        int err;
        const char *code, *text;
    } bad[] = {
        { "{\"home\":\"elp\",\"visit\":\"tig\"}", ERR_BAD, "match.data",
          "needed" },
        { "{\"home\":\"elp\",\"start_time\":\"2011-09-13\"}", ERR_BAD,
          "match.data", "needed" },
        { "{\"home\":\"elp\",\"visit\":\"xxx\",\"start_time\":\"2011-09-13\"}",
          ERR_NOT_FOUND, "team.unknown", "xxx" },
        { "{\"home\":\"xxx\",\"visit\":\"tig\",\"start_time\":\"2011-09-13\"}",
          ERR_NOT_FOUND, "team.unknown", "xxx" },
        { "{\"home\":\"elp\",\"visit\":\"elp\",\"start_time\":\"2011-09-13\"}",
          ERR_BAD, "match.data", "itself" },
        { "{\"home\":\"ELP\",\"visit\":\"tig\",\"start_time\":\"2011-09-13\"}",
          ERR_BAD, "match.data", "home must be" },
        { "{\"home\":\"elp\",\"visit\":\"tig\",\"start_time\":\"2011-02-29\"}",
          ERR_BAD, "match.data", "start_time" },
        { "{\"home\":\"elp\",\"visit\":\"tig\",\"start_time\":\"tomorrow\"}",
          ERR_BAD, "match.data", "start_time" },
        { "{\"home\":\"elp\",\"visit\":\"tig\",\"start_time\":1e300}",
          ERR_BAD, "match.data", "start_time" },
        { "{\"home\":\"elp\",\"visit\":\"tig\",\"start_time\":\"2011-09-13\","
          "\"stadium\":\"\"}", ERR_BAD, "match.data", "stadium" },
        { "{\"home\":\"elp\",\"visit\":\"tig\",\"start_time\":\"2011-09-13\","
          "\"period\":\"ended\"}", ERR_BAD, "match.data", "period" },
        { "{\"home\":\"elp\",\"visit\":\"tig\",\"start_time\":\"2011-09-13\","
          "\"referee\":\"x\"}", ERR_BAD, "match.data", "referee" },
        { "[]", ERR_BAD, "match.data", "object" },
        { "", ERR_BAD, "match.data", "JSON" },
    };
    struct stage *s = with_teams();

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        EXPECT_CONTAINS(stage_act_refused(s, "match.new", bad[i].args,
                                          bad[i].err, bad[i].code),
                        bad[i].text);
    EXPECT_STR(stage_query(s, "match.ids", ""), "[]");
    EXPECT_STR(stage_snapshot(s, M), "null");
    stage_free(s);
}

TEST(the_day_in_the_id_is_that_of_the_start_somewhere_on_earth)
{
    static const char *const good[] = {
        "2011-09-13", "2011-09-13T00:00:00+23:59", "2011-09-13T23:59:59-23:59",
        "2011-09-12T00:00:01Z", "2011-09-14T23:59:59Z",
    };
    static const char *const bad[] = {
        "2011-09-12", "2011-09-15", "2011-10-13", "2012-09-13T20:00:00Z",
    };
    struct stage *s = with_teams();
    char text[200];

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        snprintf(text, sizeof text, "{\"kind\":\"status\",\"data\":{\"home\":"
                 "\"elp\",\"visit\":\"tig\",\"start_time\":\"%s\"}}", good[i]);
        stage_say(s, M, text);
        stage_act(s, "match.cancel", "{\"id\":\"elp-tig-2011-09-13\"}", false);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof text, "{\"kind\":\"status\",\"data\":{\"home\":"
                 "\"elp\",\"visit\":\"tig\",\"start_time\":\"%s\"}}", bad[i]);
        stage_refused(s, M, text, ERR_BAD, "match.id");
    }
    stage_free(s);
}

TEST(a_match_exists_once)
{
    struct stage *s = with_match();

    EXPECT_CONTAINS(stage_act_refused(s, "match.new", "{\"home\":\"elp\","
                    "\"visit\":\"tig\",\"start_time\":\"2011-09-13T10:00:00Z\""
                    "}", ERR_CONFLICT, "match.exists"),
                    "elp-tig-2011-09-13");
    stage_free(s);
}

TEST(events_need_a_match_that_exists)
{
    struct stage *s = with_teams();

    EXPECT_CONTAINS(stage_refused(s, M, "{\"kind\":\"start\"}", ERR_NOT_FOUND,
                                  "match.unknown"), "elp-tig-2011-09-13");
    stage_refused(s, "match/nonsense", "{\"kind\":\"goal\",\"data\":{\"team\":"
                  "\"elp\"}}", ERR_NOT_FOUND, "match.unknown");
    stage_refused(s, M, "{\"kind\":\"retract\",\"data\":{\"offset\":1}}",
                  ERR_NOT_FOUND, "match.unknown");
    stage_refused(s, "match/elp-tig-today", "{\"kind\":\"status\",\"data\":"
                  "{\"home\":\"elp\",\"visit\":\"tig\",\"start_time\":"
                  "\"2011-09-13\"}}", ERR_BAD, "match.id");
    stage_free(s);
}

/* ---- playing ---------------------------------------------------------- */

TEST(a_match_is_played_to_its_end)
{
    struct stage *s = with_lineups();

    expect_state(s, "\"home_players\":{\"1\":\"Ana\",\"7\":\"Luna\","
                 "\"10\":\"Sol\"},\"home_score\":0,\"visit\":\"tig\","
                 "\"visit_players\":{\"1\":\"Rex\",\"9\":\"Kay\"},"
                 "\"visit_score\":0,\"period\":\"first\"");
    expect_stored(s, "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\","
                  "\"player\":7,\"minute\":12}}",
                  "{\"player\":{\"7\":\"Luna\"},\"team\":\"elp\","
                  "\"minute\":12}");
    EXPECT_STR(stage_kind(s), "goal");
    expect_state(s, "\"home_score\":1");
    stage_say(s, M, "{\"kind\":\"halftime_start\"}");
    expect_state(s, "\"period\":\"halftime\"");
    stage_say(s, M, "{\"kind\":\"halftime_stop\"}");
    expect_state(s, "\"period\":\"last\"");
    stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}");
    expect_state(s, "\"visit_score\":1");
    stage_say(s, M, "{\"kind\":\"stop\",\"data\":{\"minute\":\"90+4\"}}");
    EXPECT_STR(stage_data(s), "{\"minute\":\"90+4\"}");
    expect_state(s, "\"period\":\"ended\"");
    expect_rule(s, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}",
                "no goal while the match is in period ended");
    stage_free(s);
}

TEST(extra_time_and_a_shootout_decide)
{
    static const char *const events[] = {
        "start", "halftime_start", "halftime_stop", "extratime",
        "halftime_start", "halftime_stop", "penalties",
    };
    static const char *const periods[] = {
        "first", "halftime", "last", "first_extra", "halftime_extra",
        "last_extra", "penalties",
    };
    struct stage *s = with_match();
    char text[80];

    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        snprintf(text, sizeof text, "{\"kind\":\"%s\"}", events[i]);
        stage_say(s, M, text);
        snprintf(text, sizeof text, "\"period\":\"%s\"", periods[i]);
        expect_state(s, text);
    }
    expect_state(s, "\"home_shootout\":0,\"visit_shootout\":0");
    for (int i = 0; i < 4; i++)
        stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\"}}");
    stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}");
    stage_say(s, M, "{\"kind\":\"stop\"}");
    expect_state(s, "\"home_score\":0");
    expect_state(s, "\"home_shootout\":4,\"visit_shootout\":1,"
                 "\"period\":\"ended\"");
    stage_free(s);
}

TEST(each_period_lets_happen_what_may_happen_in_it)
{
    /* rows: how to get into a period; columns: what may come next */
    static const struct {
        const char *way[8];
        const char *legal; /* words with spaces around */
    } rows[] = {
        { { NULL }, " start status " },
        { { "start" }, " stop halftime_start goal card status corner " },
        { { "start", "halftime_start" },
          " stop halftime_stop card status " },
        { { "start", "halftime_start", "halftime_stop" },
          " stop extratime penalties goal card status corner " },
        { { "start", "halftime_start", "halftime_stop", "extratime" },
          " stop halftime_start goal card status corner " },
        { { "start", "halftime_start", "halftime_stop", "extratime",
            "halftime_start" }, " stop halftime_stop card status " },
        { { "start", "halftime_start", "halftime_stop", "extratime",
            "halftime_start", "halftime_stop" },
          " stop penalties goal card status corner " },
        { { "start", "halftime_start", "halftime_stop", "penalties" },
          " stop goal card status " },
        { { "start", "stop" }, " status " },
    };
    static const struct {
        const char *word, *event;
    } kinds[] = {
        { " start ", "{\"kind\":\"start\"}" },
        { " stop ", "{\"kind\":\"stop\"}" },
        { " halftime_start ", "{\"kind\":\"halftime_start\"}" },
        { " halftime_stop ", "{\"kind\":\"halftime_stop\"}" },
        { " extratime ", "{\"kind\":\"extratime\"}" },
        { " penalties ", "{\"kind\":\"penalties\"}" },
        { " goal ", "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\"}}" },
        { " corner ", "{\"kind\":\"corner\",\"data\":{\"team\":\"elp\"}}" },
        { " card ", "{\"kind\":\"card\",\"data\":{\"team\":\"elp\","
          "\"player\":3,\"card\":\"yellow\"}}" },
        { " status ", "{\"kind\":\"status\",\"data\":{\"comment\":\"x\"}}" },
    };
    char text[80];

    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        struct stage *s = with_match();

        for (size_t i = 0; i < 8 && rows[r].way[i]; i++) {
            snprintf(text, sizeof text, "{\"kind\":\"%s\"}", rows[r].way[i]);
            stage_say(s, M, text);
        }
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
            bool legal = strstr(rows[r].legal, kinds[k].word);

            if ((stage_judge(s, M, kinds[k].event) == 0) != legal)
                test_fail(__FILE__, __LINE__, "row %zu: %s is %s", r,
                          kinds[k].word, legal ? "refused" : "accepted");
            stage_fail(s);
        }
        stage_free(s);
    }
}

TEST(every_kind_of_the_ball_is_taken_in_play)
{
    static const char *const kinds[] = {
        "shot", "save", "goal", "corner", "goalkick", "offside", "foul",
        "penalty", "freekick", "throwin",
    };
    struct stage *s = with_lineups();
    char text[120];

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        snprintf(text, sizeof text, "{\"kind\":\"%s\",\"data\":{\"team\":"
                 "\"tig\",\"player\":[9,\"?\"],\"comment\":\"why\\nnot\"}}",
                 kinds[i]);
        expect_stored(s, text, "{\"player\":{\"9\":\"Kay\"},\"team\":\"tig\","
                      "\"comment\":\"why\\nnot\"}");
        EXPECT_STR(stage_kind(s), kinds[i]);
        snprintf(text, sizeof text, "{\"kind\":\"%s\"}", kinds[i]);
        expect_bad(s, text, "match.data", "needs a team");
    }
    stage_free(s);
}

TEST(goals_cards_and_substitutions_are_kept_for_slow_readers)
{
    static const struct {
        const char *event;
        unsigned weight;
    } events[] = {
        {"{\"kind\":\"start\",\"data\":{\"home_players\":[7]}}", WEIGHT_STATE},
        {"{\"kind\":\"shot\",\"data\":{\"team\":\"elp\"}}", WEIGHT_LESSER},
        {"{\"kind\":\"goal\",\"data\":{\"team\":\"elp\"}}", WEIGHT_KEPT},
        {"{\"kind\":\"card\",\"data\":{\"team\":\"elp\",\"player\":7,"
         "\"card\":\"yellow\"}}", WEIGHT_KEPT},
        {"{\"kind\":\"substitution\",\"data\":{\"team\":\"elp\","
         "\"player_out\":7,\"player_in\":9}}", WEIGHT_KEPT},
        {"{\"kind\":\"throwin\",\"data\":{\"team\":\"tig\"}}",
         WEIGHT_LESSER},
        {"{\"kind\":\"halftime_start\",\"data\":{}}", WEIGHT_STATE},
    };
    struct stage *s = with_teams();

    (void)stage_act(s, "match.new", "{\"home\":\"elp\",\"visit\":\"tig\","
                    "\"start_time\":\"2011-09-13\"}", true);
    EXPECT_INT(stage_weight(s), WEIGHT_STATE);
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        stage_say(s, M, events[i].event);
        EXPECT_INT(stage_weight(s), events[i].weight);
    }
    retract(s, 4);
    EXPECT_INT(stage_weight(s), WEIGHT_STATE);
    stage_free(s);
}

TEST(a_goal_may_have_no_player_and_may_be_an_own_goal)
{
    struct stage *s = with_lineups();

    stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}");
    expect_stored(s, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\","
                  "\"player\":{\"7\":\"Luna\"},\"player_team\":\"elp\"}}",
                  "{\"player\":{\"7\":\"Luna\"},\"team\":\"tig\","
                  "\"player_team\":\"elp\"}");
    expect_state(s, "\"home_score\":0");
    expect_state(s, "\"visit_score\":2");
    expect_rule(s, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\","
                "\"player\":7}}", "player 7 of tig is not on the pitch");
    expect_rule(s, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\","
                "\"player\":9,\"player_team\":\"elp\"}}",
                "player 9 of elp is not on the pitch");
    stage_free(s);
}

TEST(a_side_without_line_up_accepts_any_player)
{
    struct stage *s = with_match();

    stage_say(s, M, "{\"kind\":\"start\",\"data\":{\"home_players\":"
              "{\"7\":\"Luna\"},\"visit_players\":[]}}");
    expect_no_state(s, "visit_players");
    expect_stored(s, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\","
                  "\"player\":[77,\"Nobody\"]}}",
                  "{\"player\":{\"77\":\"Nobody\"},\"team\":\"tig\"}");
    expect_stored(s, "{\"kind\":\"shot\",\"data\":{\"team\":\"tig\","
                  "\"player\":5}}", "{\"player\":{\"5\":\"\"},\"team\":\"tig\""
                  "}");
    expect_rule(s, "{\"kind\":\"shot\",\"data\":{\"team\":\"elp\","
                "\"player\":5}}", "player 5 of elp is not on the pitch");
    stage_say(s, M, "{\"kind\":\"card\",\"data\":{\"team\":\"tig\",\"player\":"
              "[77,\"Nobody\"],\"card\":\"red\"}}");
    expect_rule(s, "{\"kind\":\"shot\",\"data\":{\"team\":\"tig\","
                "\"player\":77}}", "sent off");
    stage_say(s, M, "{\"kind\":\"substitution\",\"data\":{\"team\":\"tig\","
              "\"player_out\":3,\"player_in\":4}}");
    expect_rule(s, "{\"kind\":\"shot\",\"data\":{\"team\":\"tig\","
                "\"player\":3}}", "substituted");
    stage_say(s, M, "{\"kind\":\"shot\",\"data\":{\"team\":\"tig\","
              "\"player\":4}}");
    stage_free(s);
}

TEST(a_red_card_or_a_second_yellow_takes_the_player_off)
{
    struct stage *s = with_lineups();
    const char *yellow = "{\"kind\":\"card\",\"data\":{\"team\":\"elp\","
                         "\"player\":7,\"card\":\"yellow\"}}";

    expect_stored(s, yellow, "{\"player\":{\"7\":\"Luna\"},"
                  "\"card\":\"yellow\",\"team\":\"elp\"}");
    expect_state(s, "\"7\":\"Luna\"");
    stage_say(s, M, yellow);
    expect_state(s, "\"home_players\":{\"1\":\"Ana\",\"10\":\"Sol\"}");
    expect_rule(s, yellow, "sent off");
    stage_say(s, M, "{\"kind\":\"card\",\"data\":{\"team\":\"elp\",\"player\":"
              "1,\"card\":\"red\"}}");
    expect_state(s, "\"home_players\":{\"10\":\"Sol\"}");
    expect_rule(s, "{\"kind\":\"substitution\",\"data\":{\"team\":\"elp\","
                "\"player_out\":10,\"player_in\":7}}", "was sent off");
    stage_free(s);
}

TEST(a_substitute_takes_the_place_of_another)
{
    struct stage *s = with_lineups();

    expect_stored(s, "{\"kind\":\"substitution\",\"data\":{\"team\":\"elp\","
                  "\"player_out\":7,\"player_in\":[22,\"Mar\"]}}",
                  "{\"player_out\":{\"7\":\"Luna\"},\"team\":\"elp\","
                  "\"player_in\":{\"22\":\"Mar\"}}");
    expect_state(s, "\"home_players\":{\"1\":\"Ana\",\"22\":\"Mar\","
                 "\"10\":\"Sol\"}");
    expect_rule(s, "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":7"
                "}}", "player 7 of elp is not on the pitch: substituted");
    expect_rule(s, "{\"kind\":\"substitution\",\"data\":{\"team\":\"elp\","
                "\"player_out\":7,\"player_in\":23}}", "not on the pitch");
    expect_rule(s, "{\"kind\":\"substitution\",\"data\":{\"team\":\"elp\","
                "\"player_out\":22,\"player_in\":1}}", "already");
    expect_rule(s, "{\"kind\":\"substitution\",\"data\":{\"team\":\"elp\","
                "\"player_out\":22,\"player_in\":22}}", "himself");
    /* he may come back, and his name is remembered */
    expect_stored(s, "{\"kind\":\"substitution\",\"data\":{\"team\":\"elp\","
                  "\"player_out\":1,\"player_in\":7}}",
                  "{\"player_out\":{\"1\":\"Ana\"},\"team\":\"elp\","
                  "\"player_in\":{\"7\":\"Luna\"}}");
    expect_state(s, "\"home_players\":{\"7\":\"Luna\",\"22\":\"Mar\","
                 "\"10\":\"Sol\"}");
    stage_free(s);
}

/* The state grows by the name of each, and moves; the name of who goes is the
 * state's. */
TEST(whoever_comes_the_name_of_who_goes_is_stored)
{
    struct stage *s = with_lineups();

    for (int out = 7, in = 40; in < 60; out = in++) {
        char said[256], stored[256];

        snprintf(said, sizeof said, "{\"kind\":\"substitution\",\"data\":{"
                 "\"team\":\"elp\",\"player_out\":%d,\"player_in\":[%d,"
                 "\"Of a long name, number %d\"]}}", out, in, in);
        snprintf(stored, sizeof stored, out == 7
                 ? "{\"player_out\":{\"7\":\"Luna\"},"
                 : "{\"player_out\":{\"%d\":\"Of a long name, number %d\"},",
                 out, out);
        snprintf(stored + strlen(stored), sizeof stored - strlen(stored),
                 "\"team\":\"elp\",\"player_in\":{\"%d\":\"Of a long name, "
                 "number %d\"}}", in, in);
        expect_stored(s, said, stored);
    }
    stage_free(s);
}

TEST(a_booking_outlives_a_substitution)
{
    struct stage *s = with_lineups();
    const char *yellow = "{\"kind\":\"card\",\"data\":{\"team\":\"elp\","
                         "\"player\":7,\"card\":\"yellow\"}}";

    stage_say(s, M, yellow);
    stage_say(s, M, "{\"kind\":\"substitution\",\"data\":{\"team\":\"elp\","
              "\"player_out\":7,\"player_in\":22}}");
    stage_say(s, M, "{\"kind\":\"substitution\",\"data\":{\"team\":\"elp\","
              "\"player_out\":1,\"player_in\":7}}");
    stage_say(s, M, yellow);
    expect_no_state(s, "Luna");
    stage_free(s);
}

TEST(line_ups_are_read_in_every_form)
{
    static const char *const forms[] = {
        "[[7,\"Luna\"],[8,\"Sol\"]]",
        "{\"7\":\"Luna\",\"8\":\"Sol\"}",
        "[{\"7\":\"Luna\"},{\"8\":\"Sol\"}]",
    };

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct stage *s = with_match();
        char text[160];

        snprintf(text, sizeof text, "{\"kind\":\"start\",\"data\":{\"home\":"
                 "\"elp\",\"home_players\":%s,\"visit_players\":[9]}}",
                 forms[i]);
        expect_stored(s, text, "{\"home\":\"elp\",\"home_players\":{\"7\":"
                      "\"Luna\",\"8\":\"Sol\"},\"visit_players\":{\"9\":\"\"}"
                      "}");
        stage_free(s);
    }
}

TEST(a_status_tells_what_changes_around_the_match)
{
    struct stage *s = with_match();

    stage_say(s, M, "{\"kind\":\"status\",\"data\":{\"start_time\":"
              "\"2011-09-14T21:00:00Z\",\"stadium\":\"Nuevo\",\"comment\":"
              "\"rain\",\"period\":\"postponed\"}}");
    expect_state(s, "\"period\":\"postponed\",\"stadium\":\"Nuevo\","
                 "\"start_time\":\"2011-09-14T21:00:00Z\","
                 "\"comment\":\"rain\",\"date\":\"2011-09-14\"");
    stage_say(s, M, "{\"kind\":\"start\"}");
    expect_state(s, "\"period\":\"first\"");
    expect_rule(s, "{\"kind\":\"status\",\"data\":{\"start_time\":"
                "\"2011-09-15\"}}", "has begun");
    expect_rule(s, "{\"kind\":\"status\",\"data\":{\"period\":\"postponed\"}}",
                "cannot be postponed");
    expect_rule(s, "{\"kind\":\"status\",\"data\":{\"period\":\"last\"}}",
                "there are events for that");
    stage_say(s, M, "{\"kind\":\"status\",\"data\":{\"comment\":"
              "\"cancelled\"}}");
    EXPECT_CONTAINS(stage_query(s, "match.ids", ""), "elp-tig");
    stage_say(s, M, "{\"kind\":\"status\",\"data\":{\"period\":"
              "\"abandoned\"}}");
    expect_state(s, "\"period\":\"abandoned\"");
    expect_rule(s, "{\"kind\":\"stop\"}", "period abandoned");
    stage_say(s, M, "{\"kind\":\"status\",\"data\":{\"comment\":\"fog\"}}");
    stage_free(s);
}

/* ---- cancelling ------------------------------------------------------- */

TEST(a_match_that_has_not_begun_can_be_cancelled_and_made_again)
{
    struct stage *s = with_match();

    EXPECT_STR(stage_act(s, "match.cancel", "{\"id\":\"elp-tig-2011-09-13\"}",
                         false), "{\"id\":\"elp-tig-2011-09-13\"}");
    EXPECT_STR(stage_kind(s), "status");
    EXPECT_STR(stage_data(s), "{\"comment\":\"cancelled\"}");
    EXPECT_STR(stage_query(s, "match.ids", ""), "[]");
    EXPECT_STR(stage_query(s, "match.list", ""), "{\"matches\":[]}");
    expect_state(s, "\"comment\":\"cancelled\"");
    expect_rule(s, "{\"kind\":\"start\"}", "cancelled");
    stage_act_refused(s, "match.cancel", "{\"id\":\"elp-tig-2011-09-13\"}",
                      ERR_CONFLICT, "match.cancelled");
    stage_act(s, "match.new", "{\"home\":\"elp\",\"visit\":\"tig\","
              "\"start_time\":\"2011-09-13\"}", true);
    expect_no_state(s, "cancelled");
    expect_no_state(s, "Centenario");
    EXPECT_CONTAINS(retract_refused(s, 2), "the later event at offset 3 "
                    "(status) would be impossible");
    stage_say(s, M, "{\"kind\":\"start\"}");
    stage_free(s);
}

TEST(a_cancellation_can_be_taken_back)
{
    struct stage *s = with_match();

    stage_act(s, "match.cancel", "{\"id\":\"elp-tig-2011-09-13\"}", false);
    retract(s, 2);
    EXPECT_CONTAINS(stage_query(s, "match.ids", ""), "elp-tig");
    stage_say(s, M, "{\"kind\":\"start\"}");
    stage_free(s);
}

TEST(a_match_that_has_begun_is_not_cancelled)
{
    struct stage *s = with_lineups();

    EXPECT_CONTAINS(stage_act_refused(s, "match.cancel",
                                      "{\"id\":\"elp-tig-2011-09-13\"}",
                                      ERR_CONFLICT, "match.begun"), "first");
    stage_act_refused(s, "match.cancel", "{\"id\":\"no\"}", ERR_NOT_FOUND,
                      "match.unknown");
    stage_act_refused(s, "match.cancel", "{}", ERR_NOT_FOUND,
                      "match.unknown");
    stage_free(s);
}

/* ---- refusals --------------------------------------------------------- */

TEST(what_is_no_event_is_refused_with_the_reason)
{
    static const struct {
        const char *event, *code, *text;
    } bad[] = {
        { "", "match.data", "not JSON" },
        { "goal!", "match.data", "not JSON" },
        { "[]", "match.data", "not a JSON object" },
        { "{}", "match.kind", "no kind" },
        { "{\"kind\":7}", "match.kind", "no kind" },
        { "{\"kind\":\"Goal\"}", "match.kind", "no kind" },
        { "{\"kind\":\"goal\",\"team\":\"elp\"}", "match.kind", "team" },
        { "{\"kind\":\"goal\",\"data\":[]}", "match.kind", "object" },
        { "{\"kind\":\"goal\",\"kind\":\"goal\"}", "match.data", "twice" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"team\":\"tig\"}}",
          "match.data", "twice" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"speed\":1}}",
          "match.data", "no \"speed\"" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"card\":\"red\"}}",
          "match.data", "takes no card" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"home_score\":3}}",
          "match.data", "takes no home_score" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"E L P\"}}", "match.data",
          "team must be" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":-1}}",
          "match.data", "a player is written" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":1000}}",
          "match.data", "a player is written" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":7.5}}",
          "match.data", "a player is written" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":\"7\"}}",
          "match.data", "a player is written" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":[]}}",
          "match.data", "a player is written" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":"
          "[7,\"a\",1]}}", "match.data", "a player is written" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":{}}}",
          "match.data", "a player is written" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":"
          "{\"07\":\"a\"}}}", "match.data", "a player is written" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":"
          "{\"7\":\"a\",\"8\":\"b\"}}}", "match.data", "a player is written" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":"
          "[7,\"a\\u001bb\"]}}", "match.data", "control" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"minute\":-1}}",
          "match.data", "minute" },
        { "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"minute\":"
          "\"12345678901234567\"}}", "match.data", "minute" },
        { "{\"kind\":\"card\",\"data\":{\"team\":\"elp\",\"player\":1}}",
          "match.data", "needs a card" },
        { "{\"kind\":\"card\",\"data\":{\"team\":\"elp\",\"card\":\"red\"}}",
          "match.data", "needs a player" },
        { "{\"kind\":\"card\",\"data\":{\"team\":\"elp\",\"player\":1,"
          "\"card\":\"blue\"}}", "match.data", "yellow" },
        { "{\"kind\":\"substitution\",\"data\":{\"team\":\"elp\","
          "\"player_in\":1}}", "match.data", "needs a player_out" },
        { "{\"kind\":\"status\",\"data\":{\"period\":\"tea\"}}",
          "match.data", "period" },
        { "{\"kind\":\"retract\"}", "match.data", "needs a offset" },
        { "{\"kind\":\"retract\",\"data\":{\"offset\":\"1\"}}", "match.data",
          "offset must be" },
        { "{\"kind\":\"retract\",\"data\":{\"offset\":0}}", "match.data",
          "offset must be" },
        { "{\"kind\":\"start\",\"data\":{\"home_players\":7}}", "match.data",
          "a line-up is" },
        { "{\"kind\":\"start\",\"data\":{\"home_players\":[[7,\"a\"],"
          "[7,\"b\"]]}}", "match.data", "7 is in the line-up twice" },
        { "{\"kind\":\"start\",\"data\":{\"home_players\":{\"x\":\"a\"}}}",
          "match.data", "keys are numbers" },
    };
    struct stage *s = with_match();
    struct msg_parts bytes = { .format = MSG_BYTES, .id = SLICE(M),
                               .data = SLICE("{\"kind\":\"start\"}") };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_bad(s, bad[i].event, bad[i].code, bad[i].text);
    EXPECT_ERR(stage_judge_parts(s, &bytes), ERR_BAD);
    EXPECT_INT(stage_last_offset(s, SLICE(M)), 1);
    stage_free(s);
}

TEST(who_does_not_play_is_refused)
{
    struct stage *s = with_lineups();

    expect_rule(s, "{\"kind\":\"goal\",\"data\":{\"team\":\"riv\"}}",
                "team riv does not play in this match");
    expect_rule(s, "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":9"
                ",\"player_team\":\"riv\"}}", "team riv does not play");
    expect_rule(s, "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\",\"player\":9"
                "}}", "player 9 of elp is not on the pitch");
    stage_free(s);
    s = with_match();
    expect_rule(s, "{\"kind\":\"start\",\"data\":{\"home\":\"tig\"}}",
                "the home team is elp");
    expect_rule(s, "{\"kind\":\"start\",\"data\":{\"visit\":\"elp\"}}",
                "the visiting team is tig");
    stage_free(s);
}

TEST(an_event_can_come_as_text_or_with_its_kind_beside_it)
{
    struct stage *s = with_match();
    struct msg_parts text = { .format = MSG_TEXT, .id = SLICE(M),
                              .data = SLICE(" {\"kind\":\"start\"}") };
    struct msg_parts split = { .format = MSG_JSON, .id = SLICE(M),
                               .kind = SLICE("goal"), .from = SLICE("ana"),
                               .key = SLICE("k"),
                               .data = SLICE("{\"team\":\"elp\"}") };
    struct msg_parts bare = { .format = MSG_JSON, .id = SLICE(M),
                              .kind = SLICE("halftime_start") };

    EXPECT_OK(stage_judge_parts(s, &text));
    EXPECT_OK(stage_judge_parts(s, &split));
    EXPECT_SLICE(s->log[s->accepted - 1]->from, SLICE("ana"));
    EXPECT_SLICE(s->log[s->accepted - 1]->key, SLICE("k"));
    EXPECT_OK(stage_judge_parts(s, &bare));
    EXPECT_STR(stage_data(s), "{}");
    split.kind = SLICE("dance");
    EXPECT_ERR(stage_judge_parts(s, &split), ERR_BAD);
    stage_free(s);
}

/* ---- undoing ---------------------------------------------------------- */

TEST(a_retracted_goal_has_never_been)
{
    struct stage *s = with_lineups();
    uint64_t goal = stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":"
                              "\"elp\",\"player\":7}}");

    EXPECT(!s->resnapshot);
    stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}");
    retract(s, goal);
    EXPECT(s->resnapshot);
    EXPECT_STR(stage_kind(s), "retract");
    EXPECT_STR(stage_data(s), "{\"offset\":3}");
    expect_state(s, "\"home_score\":0");
    expect_state(s, "\"visit_score\":1");
    EXPECT_CONTAINS(stage_query(s, "match.get",
                                "{\"id\":\"elp-tig-2011-09-13\"}"),
                    "\"retracted\":[3]");
    stage_free(s);
}

TEST(a_retracted_red_card_brings_the_player_back)
{
    struct stage *s = with_lineups();
    uint64_t first, second;
    const char *yellow = "{\"kind\":\"card\",\"data\":{\"team\":\"elp\","
                         "\"player\":7,\"card\":\"yellow\"}}";

    first = stage_say(s, M, yellow);
    second = stage_say(s, M, yellow);
    expect_no_state(s, "Luna");
    retract(s, first);
    expect_state(s, "Luna");
    stage_say(s, M, yellow);
    expect_no_state(s, "Luna");
    retract(s, second);
    expect_state(s, "Luna");
    stage_free(s);
}

TEST(an_end_that_was_none_is_taken_back)
{
    struct stage *s = with_lineups();
    uint64_t end = stage_say(s, M, "{\"kind\":\"stop\"}");

    retract(s, end);
    expect_state(s, "\"period\":\"first\"");
    stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\"}}");
    stage_free(s);
}

TEST(what_later_events_rest_on_stays)
{
    struct stage *s = with_lineups();
    uint64_t sub = stage_say(s, M, "{\"kind\":\"substitution\",\"data\":{"
                             "\"team\":\"elp\",\"player_out\":7,"
                             "\"player_in\":22}}");
    uint64_t goal = stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":"
                              "\"elp\",\"player\":22}}");

    EXPECT_STR(retract_refused(s, sub),
               "without offset 3 the later event at offset 4 (goal) would be "
               "impossible: player 22 of elp is not on the pitch");
    EXPECT_CONTAINS(retract_refused(s, 2), "would be impossible");
    retract(s, goal);
    retract(s, sub);
    expect_state(s, "\"7\":\"Luna\"");
    EXPECT_CONTAINS(stage_query(s, "match.get",
                                "{\"id\":\"elp-tig-2011-09-13\"}"),
                    "\"retracted\":[3,4]");
    stage_free(s);
}

TEST(what_cannot_be_retracted_says_why)
{
    struct stage *s = with_lineups();
    uint64_t goal = stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":"
                              "\"elp\"}}");
    uint64_t undo = retract(s, goal);

    EXPECT_CONTAINS(retract_refused(s, goal), "was retracted before");
    EXPECT_CONTAINS(retract_refused(s, undo), "is a retract");
    EXPECT_CONTAINS(retract_refused(s, 1), "created the match");
    EXPECT_CONTAINS(retract_refused(s, 99), "is no event of this match");
    EXPECT_CONTAINS(retract_refused(s, undo + 1), "is no event");
    stage_free(s);
}

TEST(offsets_need_not_begin_with_one)
{
    struct stage *s = with_teams();
    struct msg_parts in = { .format = MSG_JSON, .id = SLICE(M) };
    bool created;

    EXPECT_OK(stage_act_judge(s, "match.new", "{\"home\":\"elp\",\"visit\":"
                              "\"tig\",\"start_time\":\"2011-09-13\"}",
                              &created));
    s->log[s->accepted - 1]->offset = 501;
    stage_commit_all(s);
    stage_say(s, M, "{\"kind\":\"start\"}");
    in.data = SLICE("{\"kind\":\"retract\",\"data\":{\"offset\":1}}");
    EXPECT_ERR(stage_judge_parts(s, &in), ERR_CONFLICT);
    EXPECT_INT(retract(s, 502), 503);
    expect_state(s, "not_started");
    stage_free(s);
}

/* ---- accepted, committed, failed -------------------------------------- */

TEST(a_snapshot_shows_what_is_committed_and_judgement_what_is_accepted)
{
    struct stage *s = with_match();

    EXPECT_OK(stage_judge(s, M, "{\"kind\":\"start\"}"));
    EXPECT_OK(stage_judge(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":"
                          "\"elp\"}}"));
    EXPECT_OK(stage_judge(s, M, "{\"kind\":\"stop\"}"));
    expect_state(s, "not_started");
    expect_rule(s, "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\"}}",
                "ended");
    stage_commit(s, 2);
    expect_state(s, "\"home_score\":1");
    expect_state(s, "first");
    stage_commit(s, 1);
    expect_state(s, "ended");
    stage_free(s);
}

TEST(a_failed_commit_leaves_no_trace)
{
    struct stage *s = with_match();

    EXPECT_OK(stage_judge(s, M, "{\"kind\":\"start\"}"));
    EXPECT_OK(stage_judge(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":"
                          "\"elp\"}}"));
    stage_fail(s);
    expect_rule(s, "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\"}}",
                "not_started");
    stage_say(s, M, "{\"kind\":\"start\"}");
    EXPECT_OK(stage_judge(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":"
                          "\"elp\"}}"));
    stage_withdraw(s);
    stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}");
    expect_state(s, "\"home_score\":0");
    expect_state(s, "\"visit_score\":1");
    retract(s, 3);
    expect_state(s, "\"visit_score\":0");
    stage_free(s);
}

TEST(a_match_whose_creation_failed_is_unknown)
{
    struct stage *s = with_teams();
    bool created;

    EXPECT_OK(stage_act_judge(s, "match.new", "{\"home\":\"elp\",\"visit\":"
                              "\"tig\",\"start_time\":\"2011-09-13\"}",
                              &created));
    EXPECT_STR(stage_snapshot(s, M), "null");
    stage_query_refused(s, "match.get", "{\"id\":\"elp-tig-2011-09-13\"}",
                        ERR_NOT_FOUND, "match.unknown");
    EXPECT_CONTAINS(retract_refused(s, 1), "is no event");
    stage_fail(s);
    stage_refused(s, M, "{\"kind\":\"start\"}", ERR_NOT_FOUND,
                  "match.unknown");
    EXPECT_STR(stage_query(s, "match.ids", ""), "[]");
    stage_free(s);
}

TEST(a_match_does_not_grow_for_ever)
{
    struct stage *s = with_match();
    struct buf b = BUF_INIT;
    int rc;

    buf_add_str(&b, "{\"kind\":\"status\",\"data\":{\"comment\":\"");
    for (int i = 0; i < 2000; i++)
        buf_add_byte(&b, 'x');
    buf_add_str(&b, "\"}}");
    for (int i = 0; (rc = stage_judge(s, M, buf_text(&b))) == 0; i++) {
        stage_commit_all(s);
        EXPECT(i < 1000);
    }
    EXPECT_ERR(rc, ERR_CONFLICT);
    EXPECT_STR(s->refusal.code, "match.full");
    EXPECT(s->record.len <= 1024 * 1024);
    buf_fini(&b);
    stage_free(s);
}

/* However short they are: a retract reads all of them again. */
TEST(a_match_has_a_bound_of_events)
{
    struct stage *s = with_match();
    int rc = 0, taken = 1; /* its creation */

    for (; rc == 0 && taken <= MATCH_EVENTS_MAX; taken += rc == 0) {
        rc = stage_judge(s, M, "{\"kind\":\"status\",\"data\":{}}");
        if (rc == 0)
            stage_commit_all(s);
    }
    EXPECT_INT(taken, MATCH_EVENTS_MAX);
    EXPECT_ERR(rc, ERR_CONFLICT);
    EXPECT_STR(s->refusal.code, "match.full");
    stage_free(s);
}

/* ---- starting --------------------------------------------------------- */

/* Another set of types, started from the newest record of the match. */
static struct stage *restarted(struct stage *s)
{
    struct stage *t = with_teams();

    EXPECT_OK(types_load(t->types, SLICE(M), buf_slice(&s->record),
                         stage_last_offset(s, SLICE(M))));
    return t;
}

static void expect_same(struct stage *a, struct stage *b)
{
    char *want = strdup(stage_snapshot(a, M));

    EXPECT_STR(stage_snapshot(b, M), want);
    free(want);
}

TEST(a_start_reads_the_record)
{
    struct stage *s = with_lineups(), *t;
    uint64_t goal = stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":"
                              "\"elp\",\"player\":7}}");

    stage_say(s, M, "{\"kind\":\"card\",\"data\":{\"team\":\"tig\",\"player\":"
              "9,\"card\":\"yellow\"}}");
    retract(s, goal);
    t = restarted(s);
    expect_same(s, t);
    EXPECT_STR(stage_query(t, "match.get",
                           "{\"id\":\"elp-tig-2011-09-13\"}"),
               stage_query(s, "match.get",
                           "{\"id\":\"elp-tig-2011-09-13\"}"));
    EXPECT_OK(stage_judge(t, M, "{\"kind\":\"retract\",\"data\":{\"offset\":"
                          "4}}"));
    stage_free(s);
    stage_free(t);
}

TEST(a_match_that_was_moved_keeps_its_new_day_over_a_start)
{
    struct stage *s = with_match(), *t;

    stage_say(s, M, "{\"kind\":\"status\",\"data\":{\"start_time\":"
              "\"2011-09-15T00:30:00+02:00\"}}");
    expect_state(s, "\"start_time\":\"2011-09-14T22:30:00Z\","
                 "\"date\":\"2011-09-14\"");
    t = restarted(s);
    expect_same(s, t);
    EXPECT_CONTAINS(stage_query(t, "match.list", "{\"date\":\"2011-09-14\"}"),
                    "elp-tig");
    stage_free(s);
    stage_free(t);
}

TEST(a_damaged_record_is_noticed)
{
    struct stage *s = with_lineups(), *t = with_teams();
    struct slice id = SLICE(M), good = buf_slice(&s->record);

    for (size_t len = 0; len < good.len; len += 7)
        EXPECT_ERR(types_load(t->types, id, slice_head(good, len), 2),
                   ERR_DAMAGED);
    EXPECT_ERR(types_load(t->types, id, good, 1), ERR_DAMAGED);
    EXPECT_STR(stage_snapshot(t, M), "null");
    EXPECT_OK(types_load(t->types, id, good, 2));
    EXPECT_ERR(types_load(t->types, id, good, 2), ERR_EXISTS);
    stage_free(s);
    stage_free(t);
}

static void replay_into(struct stage *to, const struct stage *from,
                        uint64_t without)
{
    for (size_t i = 0; i < from->committed; i++) {
        const struct msg *m = from->log[i];
        struct msg_parts p = { .format = m->format, .seq = m->seq,
                               .offset = m->offset, .ts_ms = m->ts_ms,
                               .id = m->id, .kind = m->kind, .data = m->data };

        if (slice_eq(m->id, SLICE(M)) && m->offset != without)
            EXPECT_OK(types_replay(to->types, &p));
    }
}

TEST(without_a_record_the_log_is_read)
{
    struct stage *s = with_lineups(), *t = with_teams();

    stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\","
              "\"player\":7}}");
    retract(s, 3);
    stage_say(s, M, "{\"kind\":\"halftime_start\"}");
    replay_into(t, s, 0);
    EXPECT_OK(types_replayed(t->types, SLICE(M)));
    expect_same(s, t);
    stage_free(s);
    stage_free(t);
}

TEST(a_log_with_a_hole_gives_what_it_can)
{
    struct stage *s = with_lineups(), *t = with_teams();
    struct msg_parts in = { .format = MSG_JSON, .id = SLICE(M) };

    stage_say(s, M, "{\"kind\":\"substitution\",\"data\":{\"team\":\"elp\","
              "\"player_out\":7,\"player_in\":22}}");
    stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\","
              "\"player\":22}}");
    stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":\"tig\"}}");
    replay_into(t, s, 3); /* the substitution is lost, and so the goal */
    EXPECT_OK(types_replayed(t->types, SLICE(M)));
    EXPECT_CONTAINS(stage_snapshot(t, M), "\"home_score\":0");
    EXPECT_CONTAINS(stage_snapshot(t, M), "\"visit_score\":1");
    in.data = SLICE("{\"kind\":\"retract\",\"data\":{\"offset\":5}}");
    EXPECT_OK(stage_judge_parts(t, &in));
    in.data = SLICE("{\"kind\":\"retract\",\"data\":{\"offset\":4}}");
    EXPECT_ERR(stage_judge_parts(t, &in), ERR_CONFLICT);
    stage_free(t);

    t = with_teams();
    replay_into(t, s, 1); /* without its creation there is no match */
    EXPECT_ERR(types_replayed(t->types, SLICE(M)), ERR_DAMAGED);
    EXPECT_STR(stage_snapshot(t, M), "null");
    stage_free(t);
    stage_free(s);
}

TEST(a_replay_that_is_given_up_spoils_no_other)
{
    struct stage *s = with_lineups(), *t = with_teams();
    struct msg_parts stray = { .format = MSG_JSON, .offset = 9,
                               .id = SLICE("match/x-y-2011-01-01"),
                               .kind = SLICE("start"), .data = SLICE("{}") };

    EXPECT_OK(types_replay(t->types, &stray));
    replay_into(t, s, 0);
    EXPECT_OK(types_replayed(t->types, SLICE(M)));
    expect_same(s, t);
    EXPECT_ERR(types_replayed(t->types, stray.id), ERR_DAMAGED);
    EXPECT_OK(types_replay(t->types, &stray)); /* left unfinished */
    stage_free(s);
    stage_free(t);
}

/* ---- the model -------------------------------------------------------- */

/* A random event, about half of the time a legal one. */
static void make_event(char *out, size_t size)
{
    static const char *const kinds[] = {
        "goal", "shot", "card", "card", "substitution", "halftime_start",
        "halftime_stop", "extratime", "penalties", "goal", "stop", "start",
    };
    const char *kind = kinds[test_random() % ARRAY_LEN(kinds)];
    const char *team = test_random() % 2 ? "elp" : "tig";
    int a = (int)(test_random() % 6), b = (int)(test_random() % 6);

    if (!strcmp(kind, "card"))
        snprintf(out, size, "{\"kind\":\"card\",\"data\":{\"team\":\"%s\","
                 "\"player\":%d,\"card\":\"%s\"}}", team, a,
                 b ? "yellow" : "red");
    else if (!strcmp(kind, "substitution"))
        snprintf(out, size, "{\"kind\":\"substitution\",\"data\":{\"team\":"
                 "\"%s\",\"player_out\":%d,\"player_in\":%d}}", team, a, b);
    else if (!strcmp(kind, "goal") || !strcmp(kind, "shot"))
        snprintf(out, size, "{\"kind\":\"%s\",\"data\":{\"team\":\"%s\","
                 "\"player\":%d}}", kind, team, a);
    else
        snprintf(out, size, "{\"kind\":\"%s\"}", kind);
}

/* Says to a fresh match what is left when the retracted events, and the
 * retracts, are taken out of the log. Each must be legal there. */
static struct stage *played_again(struct stage *s, const bool *gone)
{
    struct stage *t = with_match();

    for (size_t i = 0; i < s->committed; i++) {
        const struct msg *m = s->log[i];
        struct msg_parts in = { .format = MSG_JSON, .ts_ms = m->ts_ms,
                                .id = m->id, .kind = m->kind,
                                .data = m->data };

        if (!slice_eq(m->id, SLICE(M)) || m->offset == 1 || gone[m->offset]
            || slice_eq(m->kind, SLICE("retract")))
            continue;
        EXPECT_OK(stage_judge_parts(t, &in));
        stage_commit_all(t);
    }
    return t;
}

static void play_at_random(struct stage *s, bool *gone, int steps)
{
    char text[160];

    for (int i = 0; i < steps; i++) {
        uint64_t last = stage_last_offset(s, SLICE(M));
        uint64_t target = 2 + test_random() % MAX(last, (uint64_t)1);
        bool undo = test_random() % 4 == 0;

        if (undo)
            snprintf(text, sizeof text, "{\"kind\":\"retract\",\"data\":"
                     "{\"offset\":%llu}}", (unsigned long long)target);
        else
            make_event(text, sizeof text);
        if (stage_judge(s, M, text) < 0)
            continue;
        if (test_random() % 10 == 0) {
            stage_fail(s);
            continue;
        }
        stage_commit_all(s);
        if (undo)
            gone[target] = true;
    }
}

TEST(the_state_is_always_what_the_log_without_the_retracted_gives)
{
    for (int round = 0; round < 60; round++) {
        struct stage *s = with_match(), *t, *u;
        bool gone[400] = { false };

        stage_say(s, M, "{\"kind\":\"start\",\"data\":{\"home_players\":"
                  "[[1,\"a\"],[2,\"b\"],[3,\"c\"]]}}");
        play_at_random(s, gone, 150);
        t = played_again(s, gone);
        expect_same(s, t);
        u = with_teams();
        replay_into(u, s, 0);
        EXPECT_OK(types_replayed(u->types, SLICE(M)));
        expect_same(s, u);
        stage_free(s);
        stage_free(t);
        stage_free(u);
    }
}

/* ---- asking ----------------------------------------------------------- */

static void make_match(struct stage *s, const char *home, const char *visit,
                       const char *start)
{
    char text[160];

    snprintf(text, sizeof text, "{\"home\":\"%s\",\"visit\":\"%s\","
             "\"start_time\":\"%s\"}", home, visit, start);
    stage_act(s, "match.new", text, true);
}

static struct stage *with_three_matches(void)
{
    struct stage *s = with_teams();

    stage_act(s, "team.put", "{\"id\":\"riv\",\"name\":\"River\"}", true);
    make_match(s, "riv", "elp", "2011-09-20");
    make_match(s, "elp", "tig", "2011-09-13T15:00:00Z");
    make_match(s, "tig", "riv", "2011-09-13T12:00:00Z");
    return s;
}

TEST(matches_are_listed_by_their_start_and_filtered)
{
    struct stage *s = with_three_matches();
    const char *list;

    EXPECT_STR(stage_query(s, "match.ids", ""),
               "[\"tig-riv-2011-09-13\",\"elp-tig-2011-09-13\","
               "\"riv-elp-2011-09-20\"]");
    list = stage_query(s, "match.list", "{\"team\":\"riv\",\"date\":"
                       "\"2011-09-13\"}");
    EXPECT_STR(list, "{\"matches\":[{\"id\":\"tig-riv-2011-09-13\","
               "\"home\":\"tig\",\"home_score\":0,\"visit\":\"riv\","
               "\"visit_score\":0,\"period\":\"not_started\","
               "\"start_time\":\"2011-09-13T12:00:00Z\","
               "\"date\":\"2011-09-13\"}]}");
    EXPECT_STR(stage_query(s, "match.list", "{\"period\":\"ended\"}"),
               "{\"matches\":[]}");
    stage_say(s, M, "{\"kind\":\"start\"}");
    list = stage_query(s, "match.list", "{\"period\":\"first\"}");
    EXPECT_CONTAINS(list, "elp-tig");
    EXPECT(!strstr(list, "riv"));
    stage_say(s, "match/tig-riv-2011-09-13", "{\"kind\":\"status\",\"data\":{"
              "\"start_time\":\"2011-10-01\"}}");
    EXPECT_STR(stage_query(s, "match.ids", ""),
               "[\"elp-tig-2011-09-13\",\"riv-elp-2011-09-20\","
               "\"tig-riv-2011-09-13\"]");
    stage_free(s);
}

TEST(a_filter_that_makes_no_sense_is_refused)
{
    struct stage *s = with_teams();

    stage_query_refused(s, "match.list", "{\"period\":\"tea\"}", ERR_BAD,
                        "match.filter");
    stage_query_refused(s, "match.list", "{\"date\":\"today\"}", ERR_BAD,
                        "match.filter");
    stage_query_refused(s, "match.list", "{\"team\":\"A B\"}", ERR_BAD,
                        "match.filter");
    stage_query_refused(s, "match.list", "{\"referee\":\"x\"}", ERR_BAD,
                        "match.filter");
    stage_query_refused(s, "match.list", "x", ERR_BAD, "match.filter");
    stage_query_refused(s, "match.get", "{}", ERR_NOT_FOUND,
                        "match.unknown");
    stage_query_refused(s, "match.dance", "", ERR_NOT_FOUND, "verb.unknown");
    stage_act_refused(s, "match.dance", "{}", ERR_NOT_FOUND, "verb.unknown");
    stage_free(s);
}

TEST(the_current_match_is_the_one_that_people_mean)
{
    struct stage *s = with_teams();
    const char *early = "match/tig-riv-2011-09-13";

    stage_query_refused(s, "match.current", "", ERR_NOT_FOUND, "match.none");
    stage_free(s);
    s = with_three_matches();
    s->now_ms = INT64_C(1315900000000); /* 2011-09-13, morning */
    EXPECT_STR(stage_query(s, "match.current", ""),
               "{\"id\":\"tig-riv-2011-09-13\"}");
    stage_say(s, early, "{\"kind\":\"start\"}");
    EXPECT_CONTAINS(stage_query(s, "match.current", ""), "tig-riv");
    stage_say(s, M, "{\"kind\":\"start\"}");
    EXPECT_CONTAINS(stage_query(s, "match.current", ""), "elp-tig");
    stage_say(s, M, "{\"kind\":\"stop\"}");
    EXPECT_CONTAINS(stage_query(s, "match.current", ""), "tig-riv");
    stage_say(s, early, "{\"kind\":\"stop\"}");
    EXPECT_CONTAINS(stage_query(s, "match.current", ""), "riv-elp");
    s->now_ms = INT64_C(1400000000000); /* years later */
    EXPECT_CONTAINS(stage_query(s, "match.current", ""), "riv-elp");
    stage_act(s, "match.cancel", "{\"id\":\"riv-elp-2011-09-20\"}", false);
    EXPECT_CONTAINS(stage_query(s, "match.current", ""), "elp-tig");
    stage_free(s);
}
