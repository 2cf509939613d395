/* Teams: the newest message of team/<id> is the team. */
#include "base/err.h"
#include "stage.h"

TEST(a_team_is_made_once_and_changed_afterwards)
{
    struct stage *s = stage_new();

    EXPECT_STR(stage_act(s, "team.put", "{\"id\":\"elp\",\"name\":\"El Paso\","
                         "\"division\":\"2A\"}", true), "{\"id\":\"elp\"}");
    EXPECT_STR(stage_query(s, "team.get", "{\"id\":\"elp\"}"),
               "{\"id\":\"elp\",\"name\":\"El Paso\",\"division\":\"2A\"}");
    stage_act(s, "team.put", "{\"id\":\"elp\",\"name\":\"El Paso \\u00c1\"}",
              false);
    EXPECT_STR(stage_query(s, "team.list", ""),
               "{\"teams\":[{\"id\":\"elp\",\"name\":\"El Paso \xc3\x81\"}]}");
    stage_free(s);
}

TEST(publishing_to_the_channel_is_the_same_act)
{
    struct stage *s = stage_new();
    struct msg_parts text = { .format = MSG_TEXT, .id = SLICE("team/b"),
                              .data = SLICE("{\"name\":\"B\"}") };

    EXPECT_INT(stage_say(s, "team/a", "{ \"division\":\"1\",\"name\":\"A\" }"),
               1);
    EXPECT_STR(stage_data(s), "{\"name\":\"A\",\"division\":\"1\"}");
    EXPECT_OK(stage_judge_parts(s, &text));
    EXPECT_INT(s->log[1]->format, MSG_JSON);
    stage_commit_all(s);
    EXPECT_STR(stage_query(s, "team.list", "{}"),
               "{\"teams\":[{\"id\":\"a\",\"name\":\"A\",\"division\":\"1\"},"
               "{\"id\":\"b\",\"name\":\"B\"}]}");
    stage_free(s);
}

TEST(what_is_no_team_is_refused_with_the_reason)
{
    static const struct {
        const char *id, *data, *code, *text;
    } bad[] = {
        { "team/", "{\"name\":\"A\"}", "team.id", "1 to 24" },
        { "team/A", "{\"name\":\"A\"}", "team.id", "a-z" },
        { "team/a-b", "{\"name\":\"A\"}", "team.id", "a-z" },
        { "team/a/b", "{\"name\":\"A\"}", "team.id", "a-z" },
        { "team/abcdefghijklmnopqrstuvwxy", "{\"name\":\"A\"}", "team.id",
          "24" },
        { "team/a", "{}", "team.data", "name" },
        { "team/a", "{\"name\":7}", "team.data", "name" },
        { "team/a", "{\"name\":\"\"}", "team.data", "name" },
        { "team/a", "{\"name\":\"a\\u0007b\"}", "team.data", "control" },
        { "team/a", "{\"name\":\"a\\u0000b\"}", "team.data", "\\u0000" },
        { "team/a", "{\"name\":\"A\",\"division\":2}", "team.data",
          "division" },
        { "team/a", "{\"name\":\"A\",\"coach\":\"B\"}", "team.data", "coach" },
        { "team/a", "{\"name\":\"A\",\"name\":\"B\"}", "team.data", "twice" },
        { "team/a", "[\"A\"]", "team.data", "object" },
        { "team/a", "name", "team.data", "JSON" },
        { "team/a", "", "team.data", "JSON" },
    };
    struct stage *s = stage_new();
    struct msg_parts bytes = { .format = MSG_BYTES, .id = SLICE("team/a"),
                               .data = SLICE("{\"name\":\"A\"}") };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        EXPECT_CONTAINS(stage_refused(s, bad[i].id, bad[i].data, ERR_BAD,
                                      bad[i].code), bad[i].text);
    EXPECT_ERR(stage_judge_parts(s, &bytes), ERR_BAD);
    stage_act_refused(s, "team.put", "{\"name\":\"A\"}", ERR_BAD, "team.id");
    stage_act_refused(s, "team.put", "{\"id\":\"a\"}", ERR_BAD, "team.data");
    stage_act_refused(s, "team.put", "nonsense", ERR_BAD, "team.data");
    stage_act_refused(s, "team.burn", "{}", ERR_NOT_FOUND, "verb.unknown");
    stage_query_refused(s, "team.get", "{\"id\":\"a\"}", ERR_NOT_FOUND,
                        "team.unknown");
    stage_query_refused(s, "team.sing", "", ERR_NOT_FOUND, "verb.unknown");
    EXPECT_STR(stage_query(s, "team.list", ""), "{\"teams\":[]}");
    stage_free(s);
}

TEST(a_team_is_not_there_before_its_commit)
{
    struct stage *s = stage_new();
    bool created;

    EXPECT_OK(stage_act_judge(s, "team.put",
                              "{\"id\":\"a\",\"name\":\"A\"}", &created));
    EXPECT(created);
    EXPECT_STR(stage_query(s, "team.list", ""), "{\"teams\":[]}");
    EXPECT_OK(stage_act_judge(s, "team.put",
                              "{\"id\":\"a\",\"name\":\"B\"}", &created));
    EXPECT(!created);
    stage_commit(s, 1);
    EXPECT_CONTAINS(stage_query(s, "team.list", ""), "\"A\"");
    stage_fail(s);
    EXPECT_CONTAINS(stage_query(s, "team.list", ""), "\"A\"");
    EXPECT_OK(stage_judge(s, "team/c", "{\"name\":\"C\"}"));
    stage_withdraw(s);
    EXPECT_OK(stage_act_judge(s, "team.put",
                              "{\"id\":\"c\",\"name\":\"C\"}", &created));
    EXPECT(created);
    stage_free(s);
}

TEST(teams_come_back_from_their_records_or_their_log)
{
    struct stage *s = stage_new(), *t = stage_new();
    struct msg_parts old = { .id = SLICE("team/b"), .format = MSG_JSON,
                             .offset = 1, .data = SLICE("{\"name\":\"B1\"}") };
    struct msg_parts new = { .id = SLICE("team/b"), .format = MSG_JSON,
                             .offset = 2, .data = SLICE("{\"name\":\"B2\"}") };

    stage_say(s, "team/a", "{\"name\":\"A\",\"division\":\"1\"}");
    EXPECT_OK(types_load(t->types, SLICE("team/a"), buf_slice(&s->record), 1));
    EXPECT_ERR(types_load(t->types, SLICE("team/b"), SLICE("{\"na"), 1),
               ERR_DAMAGED);
    EXPECT_OK(types_replay(t->types, &old));
    EXPECT_OK(types_replay(t->types, &new));
    EXPECT_OK(types_replayed(t->types, SLICE("team/b")));
    EXPECT_STR(stage_query(t, "team.list", ""),
               "{\"teams\":[{\"id\":\"a\",\"name\":\"A\",\"division\":\"1\"},"
               "{\"id\":\"b\",\"name\":\"B2\"}]}");
    stage_free(s);
    stage_free(t);
}
