/* Matches and teams over HTTP: which verb each request becomes, and the forms
 * of the answers. The rules of the game are the router's. */
#include <stdio.h>
#include <string.h>

#include "gateways/http/http.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

#define HOST "Host: 127.0.0.1:8000\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

struct scene {
    struct fake *f;
    struct conn *c;
};

static struct scene scene(void)
{
    struct scene s = {.f = fake_new(&http_edge, NULL)};

    s.c = fake_connect(s.f);
    fake_set_seq(s.f, 4);
    return s;
}

static const struct fake_call *ask(struct scene *s, const char *text)
{
    fake_forget_out(s->c);
    fake_send(s->c, slice_str(text));
    return fake_next_call(s->f);
}

static const struct fake_call *send_json(struct scene *s, const char *line,
                                         const char *json)
{
    char text[1024];

    snprintf(text, sizeof text,
             "%s HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n%s", line, strlen(json), json);
    return ask(s, text);
}

static int status(const struct scene *s)
{
    return fake_out(s->c).len > 9 ? atoi(fake_text(s->c) + 9) : 0;
}

static const char *body(const struct scene *s)
{
    const char *end = strstr(fake_text(s->c), "\r\n\r\n");

    return end ? end + 4 : "";
}

static void answer(struct scene *s, const struct fake_call *k,
                   enum publish_status result, const char *text)
{
    http_edge.answered(s->c, k->ref, result, result == PUBLISHED_OK,
                       slice_str(text), 4);
    fake_turn(s->f);
}

TEST(questions_become_verbs_and_answers_get_a_cursor)
{
    static const struct {
        const char *request, *verb, *args;
    } cases[] = {
        {GET("/v1/teams"), "team.list", "{}"},
        {GET("/v1/teams/elp"), "team.get", "{\"id\":\"elp\"}"},
        {GET("/v1/matches/a-b-2011-09-13"), "match.get",
         "{\"id\":\"a-b-2011-09-13\"}"},
        {GET("/v1/matches"), "match.list", "{}"},
        {GET("/v1/matches?team=elp&date=2011-09-13"), "match.list",
         "{\"date\":\"2011-09-13\",\"team\":\"elp\"}"},
    };
    struct scene s = scene();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct fake_call *k = ask(&s, cases[i].request);

        EXPECT_INT(k->kind, FAKE_QUERY);
        EXPECT_STR(k->verb, cases[i].verb);
        EXPECT_STR(k->args, cases[i].args);
        answer(&s, k, PUBLISHED_OK, "{\"x\":1}");
        EXPECT_STR(body(&s), "{\"cursor\":\"e1-4\",\"x\":1}\n");
    }
    answer(&s, ask(&s, GET("/v1/teams/x")), PUBLISHED_NOT_FOUND,
           "team.unknown: there is no such team");
    EXPECT_INT(status(&s), 404);
    fake_free(s.f);
}

TEST(acts_are_checked_against_the_channel_they_write)
{
    struct scene s = scene();
    const struct fake_call *k;
    struct published p = {.status = PUBLISHED_OK, .created = true, .seq = 9,
                          .body = SLICE("{\"id\":\"elp\"}")};

    k = send_json(&s, "PUT /v1/teams/elp", "{\"name\":\"El Palo\"}");
    EXPECT_STR(k->verb, "team.put");
    EXPECT_STR(k->channel, "team/elp");
    EXPECT_STR(k->args, "{\"id\":\"elp\",\"name\":\"El Palo\"}");
    http_edge.published(s.c, k->ref, &p);
    EXPECT_INT(status(&s), 201);
    EXPECT_STR(body(&s), "{\"cursor\":\"e1-9\",\"id\":\"elp\"}\n");

    k = send_json(&s, "POST /v1/matches", "{\"home\":\"elp\"}");
    EXPECT_STR(k->verb, "match.new");
    EXPECT_CONTAINS(k->channel, "match/");
    EXPECT_STR(k->args, "{\"home\":\"elp\"}");
    p.status = PUBLISHED_CONFLICT;
    p.code = SLICE("match.exists");
    http_edge.published(s.c, k->ref, &p);
    EXPECT_INT(status(&s), 409);

    k = ask(&s, "DELETE /v1/matches/m HTTP/1.1\r\n" HOST "\r\n");
    EXPECT_STR(k->verb, "match.cancel");
    EXPECT_STR(k->channel, "match/m");
    p.status = PUBLISHED_OK;
    p.created = false;
    p.body = SLICE("");
    http_edge.published(s.c, k->ref, &p);
    EXPECT_INT(status(&s), 200);
    EXPECT_STR(body(&s), "{\"cursor\":\"e1-9\"}\n");
    fake_free(s.f);
}

TEST(an_event_is_a_publication_as_it_was_written)
{
    struct scene s = scene();
    const struct fake_call *k;

    k = send_json(&s, "POST /v1/matches/m/events", "{\"kind\": \"goal\" }");
    EXPECT_INT(k->kind, FAKE_PUBLISH);
    EXPECT_STR(k->channel, "match/m");
    EXPECT_STR(k->data, "{\"kind\": \"goal\" }");
    EXPECT_INT(k->format, MSG_JSON);
    k = ask(&s, GET("/v1/matches/m/events?last=5"));
    fake_free(s.f);
    s = scene();
    k = ask(&s, GET("/v1/matches/m/events?last=5"));
    EXPECT_INT(k->kind, FAKE_FETCH);
    EXPECT_STR(k->channel, "match/m");
    fake_free(s.f);
}

TEST(white_space_around_an_object_is_json)
{
    static const char *const bodies[][2] = {
        {"\r\n {\n\"name\": \"El\\u0020Palo\"\n}\n",
         "{\"id\":\"elp\",\"name\":\"El\\u0020Palo\"}"},
        {" {\n}", "{\"id\":\"elp\"}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct scene s = scene();

        EXPECT_STR(send_json(&s, "PUT /v1/teams/elp", bodies[i][0])->args,
                   bodies[i][1]);
        fake_free(s.f);
    }
}

TEST(what_is_no_object_is_refused)
{
    struct scene s = scene();

    EXPECT(!send_json(&s, "PUT /v1/teams/elp", "[]"));
    EXPECT_INT(status(&s), 400);
    EXPECT(!send_json(&s, "PUT /v1/teams/elp", ""));
    EXPECT_INT(status(&s), 400);
    EXPECT(!send_json(&s, "POST /v1/matches", "1"));
    EXPECT_INT(status(&s), 400);
    fake_free(s.f);
}

/* ---- MatchStream's forms ------------------------------------------------ */

TEST(the_old_list_is_as_it_was)
{
    struct scene s = scene();

    answer(&s, ask(&s, GET("/1/matches")), PUBLISHED_OK,
           "[\"elp-tig-2011-09-10\"]");
    EXPECT_STR(body(&s), "[\"elp-tig-2011-09-10\"]\n");
    EXPECT_CONTAINS(fake_text(s.c), "Match-Stream-API-Version: 2\r\n");
    fake_free(s.f);
}

TEST(an_old_match_has_the_old_names)
{
    struct scene s = scene();

    answer(&s, ask(&s, GET("/1/match/m")), PUBLISHED_OK,
           "{\"id\":\"m\",\"home\":\"elp\",\"visit\":\"tig\","
           "\"start_time\":\"2011-09-10T19:00:00Z\",\"period\":\"first\","
           "\"home_score\":1,\"visit_score\":0,"
           "\"home_players\":{\"7\":\"Luna\"},\"retracted\":[3]}");
    EXPECT_STR(body(&s),
               "{\"home\":\"elp\",\"home-players\":{\"7\":\"Luna\"},"
               "\"home-score\":1,\"visit\":\"tig\",\"visit-score\":0,"
               "\"period\":\"first\",\"start_time\":\"2011-09-10\"}\n");
    answer(&s, ask(&s, GET("/1/match/nope")), PUBLISHED_NOT_FOUND,
           "match.unknown: no");
    EXPECT_INT(status(&s), 404);
    EXPECT_STR(body(&s), "404 Not found: nope\n");
    EXPECT_CONTAINS(fake_text(s.c), "Match-Stream-API-Version: 2\r\n");
    fake_free(s.f);
}

static void event(struct scene *s, uint32_t ref, uint64_t offset,
                  const char *kind)
{
    struct msg_parts p = {
        .format = MSG_JSON,
        .seq = offset + 10,
        .offset = offset,
        .ts_ms = 1000,
        .id = SLICE("match/m"),
        .kind = slice_str(kind),
        .data = SLICE("{\"team\":\"tig\"}"),
    };
    struct msg *m;

    EXPECT_OK(msg_new(&m, &p));
    http_edge.row(s->c, ref, m);
    msg_drop(m);
}

TEST(the_old_history_leaves_out_what_was_taken_back)
{
    struct scene s = scene();
    const struct fake_call *k = ask(&s, GET("/1/match/m/history"));

    EXPECT_STR(k->verb, "match.get");
    answer(&s, k, PUBLISHED_OK, "{\"id\":\"m\",\"retracted\":[2]}");
    k = fake_next_call(s.f);
    EXPECT_INT(k->kind, FAKE_FETCH);
    EXPECT_STR(k->channel, "match/m");
    event(&s, k->ref, 1, "start");
    event(&s, k->ref, 2, "goal");
    event(&s, k->ref, 3, "retract");
    http_edge.page_end(s.c, k->ref, 0, true, 13);
    k = fake_next_call(s.f);
    EXPECT_INT(k->after, 13);
    event(&s, k->ref, 4, "corner");
    http_edge.page_end(s.c, k->ref, 0, false, 20);
    EXPECT_STR(body(&s),
               "[{\"timestamp\":1000,\"kind\":\"start\","
               "\"data\":{\"team\":\"tig\"}},"
               "{\"timestamp\":1000,\"kind\":\"corner\","
               "\"data\":{\"team\":\"tig\"}}]\n");
    fake_free(s.f);
}

TEST(checkin_names_the_tcp_port)
{
    struct scene s = scene();

    EXPECT(!ask(&s, GET("/1/checkin")));
    EXPECT_STR(body(&s), "{\"port\":9999}\n");
    fake_free(s.f);
}
