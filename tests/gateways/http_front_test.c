/* The front page: what it holds, when the router is asked, and what is sent
 * when it does not answer. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "gateways/http/http.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

#define HOST "Host: 127.0.0.1:8000\r\n"
#define PAGE "GET / HTTP/1.1\r\n" HOST "Accept: text/html\r\n\r\n"
#define MATCH(id, home, start, period)                                  \
    "{\"id\":\"" id "\",\"home\":\"" home "\",\"visit\":\"tig\","       \
    "\"home_score\":2,\"visit_score\":1,\"period\":\"" period "\","     \
    "\"start_time\":\"" start "\"}"

struct scene {
    struct fake *f;
    struct conn *c;
};

static struct scene scene(void)
{
    struct scene s = {.f = fake_new(&http_edge, NULL)};

    s.c = fake_connect(s.f);
    return s;
}

static void look(struct scene *s)
{
    fake_forget_out(s->c);
    fake_send(s->c, SLICE(PAGE));
}

static void answer(struct scene *s, const char *verb, const char *json,
                   uint64_t seq)
{
    const struct fake_call *k = fake_next_call(s->f);

    EXPECT_STR(k ? k->verb : "nothing asked", verb);
    http_edge.answered(s->c, k->ref, PUBLISHED_OK, true, slice_str(json), seq);
    fake_turn(s->f);
}

static void refuse(struct scene *s)
{
    const struct fake_call *k = fake_next_call(s->f);

    EXPECT(k);
    http_edge.answered(s->c, k->ref, PUBLISHED_UNAVAILABLE, false, SLICE(""),
                       0);
    fake_turn(s->f);
}

static const char *known(const struct scene *s)
{
    const char *at = strstr(fake_text(s->c), "id=\"known\">\n");

    return at ? at + strlen("id=\"known\">\n") : "no page";
}

static void know_one_match(struct scene *s)
{
    look(s);
    answer(s, "team.list",
           "{\"teams\":[{\"id\":\"elp\",\"name\":\"Estudiantes\",\"division\":"
           "\"1\"},{\"id\":\"xyz\",\"name\":\"Nobody\",\"division\":\"9\"}]}",
           7);
    answer(s, "match.list",
           "{\"matches\":[" MATCH("m1", "elp", "2011-09-13T19:00:00Z", "first")
           "]}", 9);
}

TEST(the_first_answer_holds_the_score)
{
    struct scene s = scene();

    know_one_match(&s);
    EXPECT_CONTAINS(known(&s),
                    "{\"cursor\":\"e1-7\",\"at\":\"e1-9\",\"more\":0,"
                    "\"teams\":{\"elp\":\"Estudiantes\"},\"matches\":["
                    MATCH("m1", "elp", "2011-09-13T19:00:00Z", "first") "]}");
    EXPECT_CONTAINS(fake_text(s.c), "script-src 'self' 'sha256-");
    EXPECT_CONTAINS(fake_text(s.c), "style-src 'self' 'sha256-");
    EXPECT(!strstr(fake_text(s.c), "@known@"));
    fake_free(s.f);
}

TEST(a_crowd_asks_the_router_once_a_second)
{
    struct scene s = scene();

    clock_fake(SECOND, 1000);
    know_one_match(&s);
    look(&s);
    EXPECT(!fake_next_call(s.f));
    EXPECT_CONTAINS(known(&s), "\"home_score\":2");
    clock_fake_advance(SECOND);
    look(&s);
    EXPECT_STR(fake_text(s.c), "");
    answer(&s, "team.list", "{\"teams\":[]}", 12);
    answer(&s, "match.list", "{\"matches\":[]}", 12);
    EXPECT_CONTAINS(known(&s), "\"cursor\":\"e1-12\"");
    EXPECT_CONTAINS(known(&s), "\"matches\":[]");
    clock_real();
    fake_free(s.f);
}

TEST(without_a_router_there_is_the_page_with_what_was_known_last)
{
    struct scene s = scene();

    fake_set_linked(s.f, false);
    look(&s);
    EXPECT(!fake_next_call(s.f));
    EXPECT_CONTAINS(known(&s), "null</script>");
    fake_set_linked(s.f, true);
    look(&s);
    refuse(&s);
    EXPECT_CONTAINS(known(&s), "null</script>");
    fake_refuse_next(s.f, PUBLISHED_TOO_MANY, "toll", "later");
    look(&s);
    EXPECT_CONTAINS(known(&s), "null</script>");

    clock_fake(SECOND, 1000);
    know_one_match(&s);
    clock_fake_advance(10 * SECOND);
    fake_set_linked(s.f, false);
    look(&s);
    EXPECT_CONTAINS(known(&s), "\"home_score\":2");
    clock_real();
    fake_free(s.f);
}

TEST(of_many_matches_it_holds_those_in_play_and_those_around_now)
{
    struct scene s = scene();
    struct buf b = BUF_INIT;

    /* 2011-09-13T20:00:00Z */
    clock_fake(SECOND, INT64_C(1315944000000));
    buf_add_str(&b, "{\"matches\":[");
    for (int i = 0; i < 40; i++) {
        const char *period = i == 3 ? "penalties" : i < 20 ? "ended"
                                                           : "not_started";
        buf_addf(&b, "%s{\"id\":\"m%d\",\"home\":\"elp\",\"visit\":\"tig\","
                     "\"period\":\"%s\",\"start_time\":\"2011-09-%sT%02d:00:00Z\"}",
                 i ? "," : "", i, period, i < 20 ? "13" : "14", i % 20);
    }
    buf_add_str(&b, "]}");
    look(&s);
    answer(&s, "team.list", "{\"teams\":[]}", 7);
    answer(&s, "match.list", buf_text(&b), 9);
    EXPECT_CONTAINS(known(&s), "\"more\":23,");
    EXPECT_CONTAINS(known(&s), "\"m3\"");
    EXPECT(!strstr(known(&s), "\"m4\"") && !strstr(known(&s), "\"m11\""));
    EXPECT_CONTAINS(known(&s), "\"m12\"");
    EXPECT_CONTAINS(known(&s), "\"m27\"");
    EXPECT(!strstr(known(&s), "\"m28\""));
    clock_real();
    buf_fini(&b);
    fake_free(s.f);
}

TEST(nothing_in_it_ends_the_script_that_it_stands_in)
{
    struct scene s = scene();

    look(&s);
    answer(&s, "team.list",
           "{\"teams\":[{\"id\":\"elp\",\"name\":\"</script><b>\"}]}", 7);
    answer(&s, "match.list",
           "{\"matches\":[" MATCH("m1", "elp", "2011-09-13T19:00:00Z", "first")
           "]}", 9);
    EXPECT_CONTAINS(known(&s), "\"elp\":\"\\u003c/script>\\u003cb>\"");
    fake_free(s.f);
}

TEST(an_answer_that_makes_no_sense_is_a_page_all_the_same)
{
    struct scene s = scene();

    look(&s);
    answer(&s, "team.list", "[7]", 7);
    answer(&s, "match.list", "\"x\"", 9);
    EXPECT_CONTAINS(known(&s), "\"teams\":{},\"matches\":[]}");
    fake_free(s.f);
}
