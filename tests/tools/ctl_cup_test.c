/* What is read out of an openfootball file. */
#include "tools/router-ctl/cup.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "tests/t/t.h"
#include "tests/tools/ctl_referee.h"

static void expect_bad(const char *text, const char *why_has)
{
    char why[CUP_WHY_MAX] = "";
    struct cup *c;

    EXPECT_ERR(cup_read(&c, slice_str(text), why), ERR_BAD);
    EXPECT_CONTAINS(why, why_has);
}

TEST(names_become_ids)
{
    static const struct {
        const char *name, *id;
    } pairs[] = {
        { "Côte d'Ivoire", "cotedivoire" },
        { "Bosnia & Herzegovina", "bosniaherzegovina" },
        { "USA", "usa" },
        { "São Tomé", "saotome" },
        { "Łódź 1908", "lodz1908" },
        { "Türkiye", "turkiye" },
        { "日本", "" },
        { "a very long name that does not fit", "averylongnamethatdoesnot" },
    };

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        char id[FOLD_MAX + 1];

        EXPECT_INT(fold_name(slice_str(pairs[i].name), id),
                   strlen(pairs[i].id));
        EXPECT_STR(id, pairs[i].id);
    }
}

#define PAIR(a, b) "{\"date\":\"2020-01-01\",\"team1\":" a ",\"team2\":" b "}"

TEST(team_ids_are_codes_or_names_and_unique_in_the_file)
{
    struct cup *c = cup_of(
        "{\"matches\":[" PAIR("\"Inter\"", "\"Ínter\"") ","
        PAIR("{\"name\":\"Korea Republic\",\"code\":\"KOR\"}",
             "{\"name\":\"Korea DPR\",\"code\":\"KOR\"}") ","
        PAIR("\"日本\"", "\"中国\"") ","
        PAIR("\"Inter\"", "{\"code\":\"XYZ\"}") "]}");

    EXPECT_INT(c->team_count, 7);
    EXPECT_STR(c->teams[0].id, "inter");
    EXPECT_STR(c->teams[1].id, "inter2");
    EXPECT_STR(c->teams[2].id, "kor");
    EXPECT_STR(c->teams[3].id, "kor2");
    EXPECT_STR(c->teams[4].id, "team");
    EXPECT_STR(c->teams[5].id, "team2");
    EXPECT_STR(c->teams[6].id, "xyz");
    EXPECT_INT(c->matches[3].team[0], 0);
    cup_free(c);
}

TEST(a_long_id_stays_within_its_bounds_when_it_is_numbered)
{
    struct cup *c = cup_of("{\"matches\":["
        PAIR("\"abcdefghijklmnopqrstuvwxyz\"",
             "\"abcdefghijklmnopqrstuvwx-\"") "]}");

    EXPECT_STR(c->teams[0].id, "abcdefghijklmnopqrstuvwx");
    EXPECT_STR(c->teams[1].id, "abcdefghijklmnopqrstuvw2");
    cup_free(c);
}

TEST(players_have_one_number_in_all_matches)
{
    struct cup *c = cup_of(
        "{\"matches\":["
        "{\"team1\":\"A\",\"team2\":\"B\",\"date\":\"2020-01-01\","
        "\"score\":{\"ft\":[2,0]},\"goals1\":[{\"name\":\"Luna\",\"minute\":"
        "1},{\"name\":\"Leto\",\"minute\":2}]},"
        "{\"team1\":\"B\",\"team2\":\"A\",\"date\":\"2020-01-08\","
        "\"score\":{\"ft\":[0,1]},\"goals2\":[{\"name\":\"Leto\",\"minute\":"
        "3}],\"lineup2\":{\"1\":\"Albil\"}}]}");
    const struct cup_team *a = &c->teams[0];

    EXPECT_INT(a->player_count, 3);
    EXPECT_INT(c->matches[0].goals[1].player, c->matches[1].goals[0].player);
    EXPECT_INT(a->players[2].number, 1); /* Albil, as the file says */
    EXPECT_INT(a->players[0].number, 2);
    EXPECT_INT(a->players[1].number, 3);
    cup_free(c);
}

TEST(times_and_zones_are_read)
{
    static const struct {
        const char *members, *start;
    } forms[] = {
        { "\"time\":\"17:00 UTC-3\"", "2014-06-12T17:00:00-03:00" },
        { "\"time\":\"19:00\"", "2014-06-12T19:00:00+00:00" },
        { "\"time\":\"19:30 UTC+5:30\"", "2014-06-12T19:30:00+05:30" },
        { "\"time\":\"9:00\",\"timezone\":\"UTC+3\"",
          "2014-06-12T09:00:00+03:00" },
        { "\"time\":\"evening\"", "2014-06-12" },
        { "\"time\":\"25:00\"", "2014-06-12" },
        { "\"time\":null", "2014-06-12" },
    };

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        char text[256], start[CUP_START_MAX];
        struct cup *c;

        snprintf(text, sizeof text, "{\"matches\":[{\"date\":\"2014-06-12\","
                 "\"team1\":\"A\",\"team2\":\"B\",%s}]}", forms[i].members);
        c = cup_of(text);
        cup_start_time(c->matches, c->matches->date, start);
        EXPECT_STR(start, forms[i].start);
        cup_free(c);
    }
}

TEST(names_lose_control_characters_and_spaces_at_their_ends)
{
    struct cup *c = cup_of("{\"matches\":["
        PAIR("\"  Real\\n\\tMadrid \"", "\"B\\u001b[2J\"") "]}");

    EXPECT_STR(c->teams[0].name, "Real Madrid");
    EXPECT_STR(c->teams[1].name, "B [2J");
    cup_free(c);
}

TEST(what_is_no_such_file_is_refused_with_a_reason)
{
    expect_bad("[1,2", "not JSON: byte");
    expect_bad("{}", "no matches");
    expect_bad("{\"matches\":[]}", "no matches");
    expect_bad("{\"matches\":{\"a\":1}}", "match 1 has no name in team1");
    expect_bad("{\"matches\":[{\"team1\":\"A\"}]}",
               "match 1 has no name in team2");
    expect_bad("{\"matches\":[{\"team1\":\"A\",\"team2\":\"A\"}]}",
               "plays against itself");
}

TEST(a_byte_order_mark_is_forgiven)
{
    struct cup *c = cup_of("\xef\xbb\xbf{\"matches\":["
                           PAIR("\"A\"", "\"B\"") "]}");

    EXPECT_INT(c->match_count, 1);
    cup_free(c);
}

TEST(strange_values_count_as_missing)
{
    struct cup *c = cup_of(
        "{\"name\":7,\"rounds\":[{\"matches\":null},{\"matches\":[{\"team1\":"
        "\"A\",\"team2\":\"B\",\"date\":\"12.06.2014\",\"score\":{\"ft\":"
        "[-1,1e9],\"ht\":\"1-0\",\"et\":[1,2,3]},\"goals1\":[1,\"x\",null,"
        "{\"name\":5,\"minute\":\"?\",\"offset\":\"many\"},{}],\"goals2\":"
        "{\"a\":{\"minute\":-3}},\"ground\":7,\"lineup1\":[1],\"lineup2\":"
        "{\"x\":\"C\"},\"cards\":{\"a\":1},\"subs\":[[]],\"kicks\":[0]}]}]}");
    const struct cup_match *m = c->matches;

    EXPECT_STR(m->date, "");
    EXPECT(!cup_played(m) && !cup_known(m->ht));
    EXPECT_INT(m->goal_count, 3);
    EXPECT_INT(m->goals[0].player, CUP_NOBODY);
    EXPECT_INT(m->goals[0].at.minute, CUP_UNKNOWN);
    EXPECT_INT(m->lineup[1].count, 0);
    EXPECT_INT(m->card_count + m->sub_count + m->kick_count, 0);
    EXPECT(m->stadium == NULL);
    cup_free(c);
}

TEST(reading_survives_every_failed_allocation)
{
    size_t len;
    char *text = test_read_file("tools/samples/worldcup-2022-final.json",
                                &len);

    for (long n = 0;; n++) {
        char why[CUP_WHY_MAX];
        struct cup *c;
        int rc;

        test_fail_malloc_after(n);
        rc = cup_read(&c, slice_make(text, len), why);
        if (!test_malloc_failed()) {
            EXPECT_OK(rc);
            cup_free(c);
            break;
        }
        EXPECT_ERR(rc, ERR_NOMEM);
    }
    free(text);
}
