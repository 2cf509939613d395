/* What replay plays, over every match of the data and the shapes of other
 * years. */
#include "tools/router-ctl/schedule.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "tests/t/t.h"
#include "tests/tools/ctl_referee.h"

#define MATCH(members)                                            \
    "{\"matches\":[{\"team1\":\"Estudiantes\",\"team2\":\"Tigre\"," \
    "\"date\":\"2011-09-13\"" members "}]}"

/* The only match of a file, and its schedule. */
struct stage {
    struct cup *cup;
    struct schedule s;
    struct verdict v;
};

static struct stage stage_of(const char *text)
{
    struct stage st = { .cup = cup_of(text) };

    EXPECT_INT(st.cup->match_count, 1);
    EXPECT_OK(schedule_make(&st.s, st.cup, st.cup->matches));
    st.v = referee(st.cup, st.cup->matches, &st.s);
    return st;
}

static void stage_end(struct stage *st)
{
    schedule_fini(&st->s);
    cup_free(st->cup);
}

static void expect_score(const struct stage *st, int home, int visit)
{
    EXPECT_STR(st->v.period, "ended");
    EXPECT_INT(st->v.score[0], home);
    EXPECT_INT(st->v.score[1], visit);
}

static int minute_of(const struct event *e)
{
    EXPECT(e != NULL);
    return (int)(e->at_ms / 60000);
}

/* ---- the data ---------------------------------------------------------- */

static void play_whole_file(const char *name)
{
    struct cup *c = cup_of_data(name);

    EXPECT_INT(c->match_count, 64);
    EXPECT_INT(c->team_count, 32);
    for (int i = 0; i < c->match_count; i++) {
        const struct cup_match *m = &c->matches[i];
        struct schedule s;
        struct verdict v;

        EXPECT(cup_played(m));
        EXPECT_OK(schedule_make(&s, c, m));
        v = referee(c, m, &s);
        EXPECT_STR(v.period, "ended");
        for (int side = 0; side < 2; side++) {
            EXPECT_INT(v.score[side], cup_final(m).of[side]);
            EXPECT_INT(v.shootout[side], MAX(m->p.of[side], 0));
        }
        EXPECT_INT(v.named, m->goal_count);
        EXPECT_INT(v.nameless, 0);
        EXPECT_INT(s.left_out, 0);
        schedule_fini(&s);
    }
    cup_free(c);
}

TEST(every_match_of_2014_ends_with_its_score)
{
    play_whole_file("worldcup/2014.json");
}

TEST(every_match_of_2018_ends_with_its_score)
{
    play_whole_file("worldcup/2018.json");
}

TEST(every_match_of_2022_ends_with_its_score)
{
    play_whole_file("worldcup/2022.json");
}

TEST(goals_come_at_their_minute_whatever_their_order_in_the_file)
{
    struct cup *c = cup_of_data("worldcup/2018.json");
    struct schedule s;

    /* Russia - Saudi Arabia: 12, 43, 90+1, 71, 90+4 in the file. */
    EXPECT_OK(schedule_make(&s, c, c->matches));
    EXPECT_INT(minute_of(nth(&s, "goal", 1)), 12);
    EXPECT_INT(minute_of(nth(&s, "goal", 2)), 43);
    EXPECT_CONTAINS(data_of(&s, nth(&s, "goal", 3)), "\"minute\":71");
    EXPECT_CONTAINS(data_of(&s, nth(&s, "goal", 4)), "\"minute\":\"90+1\"");
    EXPECT_CONTAINS(data_of(&s, nth(&s, "goal", 5)), "\"minute\":\"90+4\"");
    EXPECT_INT(nth(&s, "goal", 5)->at_ms - nth(&s, "goal", 4)->at_ms,
               3 * 60000);
    schedule_fini(&s);
    cup_free(c);
}

/* ---- the sample -------------------------------------------------------- */

static struct stage stage_of_sample(void)
{
    size_t len;
    char *text = test_read_file("tools/samples/worldcup-2022-final.json",
                                &len);
    struct stage st = stage_of(text);

    free(text);
    return st;
}

TEST(the_sample_is_the_final_of_2022)
{
    struct stage st = stage_of_sample();
    struct cup *c = cup_of_data("worldcup/2022.json");
    const struct cup_match *m = &c->matches[63];

    expect_score(&st, 3, 3);
    EXPECT_INT(st.v.shootout[0], 4);
    EXPECT_INT(st.v.shootout[1], 2);
    EXPECT_INT(st.v.cards, 6);
    EXPECT_INT(st.v.subs, 13);
    EXPECT_INT(st.v.misses, 2);
    EXPECT_INT(st.v.nameless, 0);
    EXPECT_INT(m->goal_count, st.cup->matches->goal_count);
    EXPECT(memcmp(&m->ft, &st.cup->matches->ft, sizeof m->ft) == 0);
    EXPECT(memcmp(&m->p, &st.cup->matches->p, sizeof m->p) == 0);
    EXPECT_STR(m->date, st.cup->matches->date);
    cup_free(c);
    stage_end(&st);
}

TEST(the_sample_names_players_by_the_numbers_of_their_shirts)
{
    struct stage st = stage_of_sample();

    EXPECT_CONTAINS(data_of(&st.s, nth(&st.s, "start", 1)),
                    "\"home_players\":{\"23\":\"Emiliano Mart");
    EXPECT_STR(data_of(&st.s, nth(&st.s, "goal", 1)),
               "{\"player\":{\"10\":\"Lionel Messi\"},\"team\":\"arg\","
               "\"minute\":23,\"comment\":\"penalty\"}");
    EXPECT_CONTAINS(data_of(&st.s, nth(&st.s, "substitution", 1)),
                    "\"player_in\":{\"26\":\"Marcus Thuram\"}");
    EXPECT_CONTAINS(data_of(&st.s, nth(&st.s, "save", 1)),
                    "{\"player\":{\"23\":");
    EXPECT_CONTAINS(data_of(&st.s, nth(&st.s, "goal", 12)),
                    "\"4\":\"Gonzalo Montiel\"");
    stage_end(&st);
}

/* ---- other years ------------------------------------------------------- */

TEST(rounds_team_objects_and_flat_scores_are_understood)
{
    struct stage st = stage_of(
        "{\"name\":\"World Cup 1930\",\"rounds\":[{\"name\":\"Final\","
        "\"matches\":[{\"num\":1,\"date\":\"1930-07-30\",\"time\":\"12:45\","
        "\"timezone\":\"UTC-3\",\"team1\":{\"name\":\"Uruguay\",\"code\":"
        "\"URU\"},\"team2\":{\"name\":\"Argentina\",\"code\":\"ARG\"},"
        "\"score1\":4,\"score2\":2,\"score1i\":1,\"score2i\":2,"
        "\"score1et\":null,\"score2et\":null,\"goals1\":["
        "{\"name\":\"Dorado\",\"minute\":12,\"score1\":1,\"score2\":0},"
        "{\"name\":\"Cea\",\"minute\":57},{\"name\":\"Iriarte\",\"minute\":"
        "68},{\"name\":\"Castro\",\"minute\":89}],\"goals2\":["
        "{\"name\":\"Peucelle\",\"minute\":20},{\"name\":\"Stabile\","
        "\"minute\":37}],\"stadium\":{\"key\":\"c\",\"name\":\"Centenario\"},"
        "\"city\":\"Montevideo\"}]}]}");
    char start[CUP_START_MAX];

    expect_score(&st, 4, 2);
    EXPECT_INT(st.v.halves[0], 3);
    EXPECT_STR(st.cup->teams[0].id, "uru");
    EXPECT_STR(st.cup->matches->stadium, "Centenario");
    cup_start_time(st.cup->matches, "1930-07-30", start);
    EXPECT_STR(start, "1930-07-30T12:45:00-03:00");
    stage_end(&st);
}

TEST(flat_extra_time_and_penalties_are_played)
{
    struct stage st = stage_of(MATCH(
        ",\"score1\":1,\"score2\":1,\"score1et\":2,\"score2et\":2,"
        "\"score1p\":3,\"score2p\":5"));

    expect_score(&st, 2, 2);
    EXPECT_INT(st.v.shootout[0], 3);
    EXPECT_INT(st.v.shootout[1], 5);
    EXPECT_INT(st.v.halves[2] + st.v.halves[3], 2);
    stage_end(&st);
}

TEST(goals_that_only_the_score_knows_are_spread_over_their_half)
{
    struct stage st = stage_of(MATCH(
        ",\"score\":{\"ht\":[1,0],\"ft\":[3,1]}"));

    expect_score(&st, 3, 1);
    EXPECT_INT(st.v.nameless, 4);
    EXPECT_INT(st.v.halves[0], 1);
    EXPECT_INT(st.v.halves[1], 3);
    EXPECT_STR(data_of(&st.s, nth(&st.s, "goal", 1)),
               "{\"team\":\"estudiantes\"}");
    EXPECT(nth(&st.s, "goal", 2)->at_ms < nth(&st.s, "goal", 3)->at_ms);
    EXPECT(nth(&st.s, "goal", 3)->at_ms < nth(&st.s, "goal", 4)->at_ms);
    stage_end(&st);
}

TEST(without_a_score_at_half_time_they_are_spread_over_the_match)
{
    struct stage st = stage_of(MATCH(",\"score\":{\"ft\":[4,2]}"));

    expect_score(&st, 4, 2);
    EXPECT_INT(st.v.halves[0], 3);
    EXPECT_INT(st.v.halves[1], 3);
    stage_end(&st);
}

TEST(a_list_that_is_too_short_is_filled_up_where_the_score_says)
{
    struct stage st = stage_of(MATCH(
        ",\"score\":{\"ht\":[2,0],\"ft\":[2,1],\"et\":[3,1]},\"goals1\":"
        "[{\"name\":\"Luna\",\"minute\":10}],\"goals2\":null"));

    expect_score(&st, 3, 1);
    EXPECT_INT(st.v.named, 1);
    EXPECT_INT(st.v.halves[0], 2);
    EXPECT_INT(st.v.halves[1], 1);
    EXPECT_INT(st.v.halves[2] + st.v.halves[3], 1);
    stage_end(&st);
}

TEST(a_goal_without_a_minute_keeps_its_player)
{
    struct stage st = stage_of(MATCH(
        ",\"score\":{\"ht\":[0,0],\"ft\":[1,0]},\"goals1\":"
        "[{\"name\":\"Luna\",\"minute\":null}]"));

    expect_score(&st, 1, 0);
    EXPECT_INT(st.v.named, 1);
    EXPECT_INT(st.v.halves[1], 1);
    EXPECT_STR(data_of(&st.s, nth(&st.s, "goal", 1)),
               "{\"player\":{\"1\":\"Luna\"},\"team\":\"estudiantes\"}");
    stage_end(&st);
}

TEST(goals_that_the_score_does_not_have_are_left_out)
{
    struct stage st = stage_of(MATCH(
        ",\"score\":{\"ft\":[1,0]},\"goals1\":[{\"name\":\"B\",\"minute\":"
        "80},{\"name\":\"A\",\"minute\":8}],\"goals2\":[{\"minute\":3}]"));

    expect_score(&st, 1, 0);
    EXPECT_INT(st.s.left_out, 2);
    EXPECT_CONTAINS(data_of(&st.s, nth(&st.s, "goal", 1)), "\"A\"");
    stage_end(&st);
}

TEST(a_list_that_contradicts_half_time_still_ends_with_the_score)
{
    struct stage st = stage_of(MATCH(
        ",\"score\":{\"ht\":[0,1],\"ft\":[2,1]},\"goals1\":"
        "[{\"name\":\"A\",\"minute\":8}],\"goals2\":"
        "[{\"name\":\"B\",\"minute\":88}]"));

    expect_score(&st, 2, 1);
    EXPECT_INT(st.v.named, 2);
    stage_end(&st);
}

TEST(a_match_without_score_is_not_played)
{
    static const char *const texts[] = {
        MATCH(""), MATCH(",\"score\":null"), MATCH(",\"score\":{}"),
        MATCH(",\"score1\":null,\"score2\":null"),
        MATCH(",\"score\":{\"ft\":[1,null]}"),
        MATCH(",\"score\":{\"ht\":[1,0]}"),
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct stage st = stage_of(texts[i]);

        EXPECT_INT(st.s.count, 0);
        stage_end(&st);
    }
}

TEST(minutes_may_be_text)
{
    static const struct {
        const char *minute, *said;
        int at;
    } forms[] = {
        { "\"23\"", "23", 23 },          { "\"45+2\"", "\"45+2\"", 47 },
        { "\"45'+2'\"", "\"45+2\"", 47 }, { "\"7'\"", "7", 7 },
        { "45,\"offset\":3", "\"45+3\"", 48 },
        { "\"45+1\",\"offset\":9", "\"45+1\"", 46 },
    };

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        char text[512], said[64];
        struct stage st;

        snprintf(text, sizeof text, MATCH(
            ",\"score\":{\"ft\":[1,0]},\"goals1\":[{\"name\":\"A\","
            "\"minute\":%s}]"), forms[i].minute);
        snprintf(said, sizeof said, "\"minute\":%s}", forms[i].said);
        st = stage_of(text);
        expect_score(&st, 1, 0);
        EXPECT_INT(minute_of(nth(&st.s, "goal", 1)), forms[i].at);
        EXPECT_CONTAINS(data_of(&st.s, nth(&st.s, "goal", 1)), said);
        EXPECT_INT(st.v.halves[0], 1);
        stage_end(&st);
    }
}

TEST(an_own_goal_counts_for_the_other_side)
{
    struct stage st = stage_of(MATCH(
        ",\"score\":{\"ft\":[1,0]},\"goals1\":[{\"name\":\"Echeverria\","
        "\"minute\":30,\"owngoal\":true}]"));

    expect_score(&st, 1, 0);
    EXPECT_STR(data_of(&st.s, nth(&st.s, "goal", 1)),
               "{\"player\":{\"1\":\"Echeverria\"},\"team\":\"estudiantes\","
               "\"player_team\":\"tigre\",\"minute\":30,"
               "\"comment\":\"own goal\"}");
    stage_end(&st);
}

TEST(a_late_goal_without_extra_time_is_of_the_last_half)
{
    struct stage st = stage_of(MATCH(
        ",\"score\":{\"ft\":[1,0]},\"goals1\":[{\"name\":\"A\",\"minute\":"
        "97}]"));

    expect_score(&st, 1, 0);
    EXPECT_INT(st.v.halves[1], 1);
    stage_end(&st);
}

TEST(a_shoot_out_may_follow_the_ninety_minutes)
{
    struct stage st = stage_of(MATCH(
        ",\"score\":{\"ft\":[1,1],\"p\":[2,4]}"));

    expect_score(&st, 1, 1);
    EXPECT(nth(&st.s, "extratime", 1) == NULL);
    EXPECT_INT(st.v.shootout[0], 2);
    EXPECT_INT(st.v.shootout[1], 4);
    stage_end(&st);
}

TEST(kicks_that_contradict_the_score_are_not_played)
{
    struct stage st = stage_of(MATCH(
        ",\"score\":{\"ft\":[0,0],\"p\":[1,0]},\"kicks\":["
        "{\"team\":1,\"name\":\"A\",\"goal\":true},"
        "{\"team\":2,\"name\":\"B\",\"goal\":true}]"));

    expect_score(&st, 0, 0);
    EXPECT_INT(st.v.shootout[0], 1);
    EXPECT_INT(st.v.shootout[1], 0);
    stage_end(&st);
}

TEST(what_is_impossible_with_the_line_up_is_left_out)
{
    struct stage st = stage_of(MATCH(
        ",\"score\":{\"ft\":[2,0]},\"lineup1\":{\"1\":\"A\",\"7\":\"Luna\"},"
        "\"goals1\":[{\"name\":\"Luna\",\"minute\":70},{\"name\":\"C\","
        "\"minute\":20}],\"subs\":[{\"team\":1,\"out\":\"Luna\",\"in\":\"D\","
        "\"number\":9,\"minute\":60},{\"team\":1,\"out\":\"Luna\",\"in\":"
        "\"E\",\"minute\":65}],\"cards\":[{\"team\":1,\"name\":\"Luna\","
        "\"minute\":80,\"card\":\"red\"},{\"team\":1,\"name\":\"A\","
        "\"minute\":81,\"card\":\"yellow\"}]"));

    expect_score(&st, 2, 0);
    EXPECT_INT(st.v.nameless, 2); /* one went off, the other never came on */
    EXPECT_INT(st.v.subs, 1);
    EXPECT_INT(st.v.cards, 1);
    stage_end(&st);
}

TEST(a_player_who_was_sent_off_scores_no_more)
{
    struct stage st = stage_of(MATCH(
        ",\"score\":{\"ft\":[2,0]},\"goals1\":[{\"name\":\"A\",\"minute\":"
        "10},{\"name\":\"A\",\"minute\":70}],\"cards\":["
        "{\"team\":1,\"name\":\"A\",\"minute\":20,\"card\":\"yellow\"},"
        "{\"team\":1,\"name\":\"A\",\"minute\":30,\"card\":\"yellow\"}]"));

    expect_score(&st, 2, 0);
    EXPECT_INT(st.v.named, 1);
    EXPECT_INT(st.v.nameless, 1);
    stage_end(&st);
}

TEST(a_schedule_survives_every_failed_allocation)
{
    struct cup *c = cup_of(MATCH(
        ",\"score\":{\"ht\":[1,0],\"ft\":[2,1],\"p\":[4,2]}"));
    int rc;

    for (long n = 0;; n++) {
        struct schedule s;

        test_fail_malloc_after(n);
        rc = schedule_make(&s, c, c->matches);
        if (!test_malloc_failed()) {
            EXPECT_OK(rc);
            schedule_fini(&s);
            break;
        }
        EXPECT_ERR(rc, ERR_NOMEM);
    }
    cup_free(c);
}
