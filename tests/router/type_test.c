/* The set of types: who is asked, what is given, what happens without
 * memory. */
#include "base/err.h"
#include "stage.h"

#define M "match/elp-tig-2011-09-13"

TEST(the_first_segment_decides)
{
    struct stage *s = stage_new();

    EXPECT_INT(types_flags(s->types, SLICE(M)), TYPE_STATEFUL | TYPE_RECORDS);
    EXPECT_INT(types_flags(s->types, SLICE("team/elp")), TYPE_RECORDS);
    EXPECT_INT(types_flags(s->types, SLICE("room/a/b")),
               TYPE_STATEFUL | TYPE_PRESENCE);
    EXPECT_INT(types_flags(s->types, SLICE("rooms/a")), 0);
    stage_free(s);
}

TEST(a_verb_of_nobody_is_refused)
{
    static const char *const verbs[] = { "", ".", "list", "match", "match.",
                                         "room.list", "nobody.list" };
    struct stage *s = stage_new();

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        stage_query_refused(s, verbs[i], "{}", ERR_NOT_FOUND, "verb.unknown");
        stage_act_refused(s, verbs[i], "{}", ERR_NOT_FOUND, "verb.unknown");
    }
    stage_free(s);
}

TEST(an_act_bears_who_said_it_and_when)
{
    struct stage *s = stage_new();
    struct type_act act;

    EXPECT_OK(types_act(s->types, SLICE("team.put"),
                        SLICE("{\"id\":\"a\",\"name\":\"A\"}"), SLICE("ana"),
                        77, &act));
    EXPECT_SLICE(act.event.id, SLICE("team/a"));
    EXPECT_SLICE(act.event.from, SLICE("ana"));
    EXPECT_INT(act.event.ts_ms, 77);
    EXPECT_INT(act.event.format, MSG_JSON);
    stage_free(s);
}

TEST(what_is_longer_than_a_message_is_not_looked_at)
{
    struct stage *s = stage_new();
    struct buf b = BUF_INIT;

    buf_add_str(&b, "{\"name\":\"A\"");
    for (int i = 0; i < 65536; i++)
        buf_add_byte(&b, ' ');
    buf_add_str(&b, "}");
    EXPECT_CONTAINS(stage_refused(s, "team/a", buf_text(&b), ERR_BAD,
                                  "team.data"), "longer than");
    buf_fini(&b);
    stage_free(s);
}

TEST(deep_nesting_is_refused_before_it_is_parsed)
{
    struct stage *s = stage_new();
    struct buf b = BUF_INIT;

    buf_add_str(&b, "{\"name\":");
    for (int i = 0; i < 40; i++)
        buf_add_byte(&b, '[');
    for (int i = 0; i < 40; i++)
        buf_add_byte(&b, ']');
    buf_add_str(&b, "}");
    EXPECT_CONTAINS(stage_refused(s, "team/a", buf_text(&b), ERR_BAD,
                                  "team.data"), "nested too deep");
    buf_fini(&b);
    stage_free(s);
}

TEST(an_object_with_very_many_keys_is_refused)
{
    struct stage *s = stage_new();
    struct buf b = BUF_INIT;

    buf_add_str(&b, "{\"name\":\"A\"");
    for (int i = 0; i < 4000; i++)
        buf_addf(&b, ",\"k%d\":1", i);
    buf_add_str(&b, "}");
    EXPECT_CONTAINS(stage_refused(s, "team/a", buf_text(&b), ERR_BAD,
                                  "team.data"), "more than 256 keys");
    buf_fini(&b);
    stage_free(s);
}

TEST(a_rollback_takes_everything_back_of_all_types)
{
    struct stage *s = stage_new();
    bool created;

    stage_say(s, "team/elp", "{\"name\":\"E\"}");
    EXPECT_OK(stage_judge(s, "team/tig", "{\"name\":\"T\"}"));
    EXPECT_OK(stage_act_judge(s, "match.new", "{\"home\":\"elp\",\"visit\":"
                              "\"tig\",\"start_time\":\"2011-09-13\"}",
                              &created));
    EXPECT_OK(stage_judge(s, M, "{\"kind\":\"start\"}"));
    stage_fail(s);
    stage_refused(s, M, "{\"kind\":\"start\"}", ERR_NOT_FOUND,
                  "match.unknown");
    stage_act_refused(s, "match.new", "{\"home\":\"elp\",\"visit\":\"tig\","
                      "\"start_time\":\"2011-09-13\"}", ERR_NOT_FOUND,
                      "team.unknown");
    stage_free(s);
}

/* ---- without memory --------------------------------------------------- */

/* One try of everything with the n-th allocation failing: either a step says
 * ERR_NOMEM and nothing has happened, or it works. */
static int judge_now(struct types *ts, const char *id, const char *json,
                     struct type_verdict *v)
{
    struct msg_parts in = { .format = MSG_JSON, .id = slice_str(id),
                            .data = slice_str(json) };

    return types_judge(ts, &in, v);
}

static void expect_unchanged(struct types *ts, const char *want)
{
    struct buf b = BUF_INIT;

    EXPECT_OK(types_snapshot(ts, SLICE(M), &b));
    EXPECT_STR(buf_text(&b), want);
    buf_fini(&b);
}

static void judge_without_memory(const char *json)
{
    bool failed = true;

    for (long n = 0; failed; n++) {
        struct stage *s = stage_new();
        struct type_verdict v;
        char *before;
        int rc;

        stage_say(s, "team/elp", "{\"name\":\"E\"}");
        stage_say(s, "team/tig", "{\"name\":\"T\"}");
        stage_act(s, "match.new", "{\"home\":\"elp\",\"visit\":\"tig\","
                  "\"start_time\":\"2011-09-13\"}", true);
        stage_say(s, M, "{\"kind\":\"start\",\"data\":{\"home_players\":"
                  "{\"7\":\"Luna\",\"8\":\"Sol\"}}}");
        stage_say(s, M, "{\"kind\":\"goal\",\"data\":{\"team\":\"elp\"}}");
        before = strdup(stage_snapshot(s, M));
        test_fail_malloc_after(n);
        rc = judge_now(s->types, M, json, &v);
        failed = test_malloc_failed();
        if (rc < 0)
            EXPECT_ERR(rc, ERR_NOMEM);
        else
            types_withdraw(s->types, SLICE(M));
        if (!failed)
            EXPECT_OK(rc);
        expect_unchanged(s->types, before);
        stage_say(s, M, json); /* and now it works */
        free(before);
        stage_free(s);
    }
}

TEST(an_event_without_memory_changes_nothing)
{
    judge_without_memory("{\"kind\":\"goal\",\"data\":{\"team\":\"elp\","
                         "\"player\":7}}");
    judge_without_memory("{\"kind\":\"substitution\",\"data\":{\"team\":"
                         "\"elp\",\"player_out\":7,\"player_in\":22}}");
    judge_without_memory("{\"kind\":\"card\",\"data\":{\"team\":\"tig\","
                         "\"player\":9,\"card\":\"red\"}}");
    judge_without_memory("{\"kind\":\"retract\",\"data\":{\"offset\":3}}");
}

TEST(a_set_without_memory_is_not_made)
{
    struct types_options o = { .message = 65536, .room_memory = 65536 };
    struct types *ts = NULL;
    bool failed = true;

    for (long n = 0; failed; n++) {
        int rc;

        test_fail_malloc_after(n);
        rc = types_new(&ts, &o);
        failed = test_malloc_failed();
        EXPECT_ERR(rc, failed ? ERR_NOMEM : 0);
    }
    types_free(ts);
    types_free(NULL);
}

TEST(a_visitor_without_memory_is_not_counted)
{
    bool failed = true;

    for (long n = 0; failed; n++) {
        struct stage *s = stage_new();
        int rc;

        test_fail_malloc_after(n);
        rc = types_joined(s->types, SLICE("room/a"), SLICE("ana"), 0);
        failed = test_malloc_failed();
        if (rc < 0)
            EXPECT_ERR(rc, ERR_NOMEM);
        if (rc < 0)
            EXPECT_INT(types_due_ns(s->types), INT64_MAX);
        else
            types_left(s->types, SLICE("room/a"), SLICE("ana"), 0);
        stage_free(s);
    }
}
