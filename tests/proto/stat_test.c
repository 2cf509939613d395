#include "base/stat.h"

#include "base/err.h"
#include "proto/config.h"
#include "tests/t/t.h"

#define SOME_STATS(X)                                                     \
    X(CONNS, GAUGE, "connections", NULL, "client sockets open now")       \
    X(CUT_SLOW, COUNTER, "cut_total", "why=\"slow\"", "clients cut")      \
    X(CUT_AGE, COUNTER, "cut_total", "why=\"age\"", "clients cut")

enum { SOME_STATS(STAT_AS_ENUM) COUNT };
static const struct stat_row rows[] = { SOME_STATS(STAT_AS_ROW) };

static struct stat_sample samples[COUNT];

static struct stat_source source(struct stats *s, const char *gateway)
{
    for (size_t i = 0; i < s->count; i++)
        samples[i] = stat_sample(s, i);
    return (struct stat_source){ gateway, "812", samples, s->count };
}

TEST(counters_count_and_gauges_go_both_ways)
{
    struct stats s;

    EXPECT_OK(stats_init(&s, rows, COUNT));
    stat_add(&s, STAT_CUT_SLOW, 2);
    stat_add(&s, STAT_CUT_SLOW, 1);
    stat_add(&s, STAT_CONNS, 5);
    stat_sub(&s, STAT_CONNS, 2);
    EXPECT_INT(stat_get(&s, STAT_CUT_SLOW), 3);
    EXPECT_INT(stat_get(&s, STAT_CONNS), 3);
    stat_set(&s, STAT_CONNS, 9);
    EXPECT_INT(stat_sample(&s, STAT_CONNS).value, 9);
    EXPECT_STR(stat_sample(&s, STAT_CUT_AGE).label, "why=\"age\"");
    stats_fini(&s);
    stats_fini(&s);
}

TEST(prometheus_gets_each_name_once_with_all_its_samples)
{
    struct stats s;
    struct stat_source both[2];
    struct buf out = BUF_INIT;

    EXPECT_OK(stats_init(&s, rows, COUNT));
    stat_set(&s, STAT_CONNS, 7);
    stat_add(&s, STAT_CUT_AGE, 1);
    both[0] = source(&s, "http1");
    both[1] = both[0];
    both[1].gateway = "w\"s\\\n";
    stats_prometheus(&out, both, 2);
    EXPECT_STR(buf_text(&out),
        "# HELP touchline_connections client sockets open now\n"
        "# TYPE touchline_connections gauge\n"
        "touchline_connections{gateway=\"http1\",process=\"812\"} 7\n"
        "touchline_connections{gateway=\"w\\\"s\\\\\\n\",process=\"812\"} 7\n"
        "# HELP touchline_cut_total clients cut\n"
        "# TYPE touchline_cut_total counter\n"
        "touchline_cut_total{gateway=\"http1\",process=\"812\","
        "why=\"slow\"} 0\n"
        "touchline_cut_total{gateway=\"http1\",process=\"812\",why=\"age\"} 1\n"
        "touchline_cut_total{gateway=\"w\\\"s\\\\\\n\",process=\"812\","
        "why=\"slow\"} 0\n"
        "touchline_cut_total{gateway=\"w\\\"s\\\\\\n\",process=\"812\","
        "why=\"age\"} 1\n");
    buf_fini(&out);
    stats_fini(&s);
}

TEST(json_has_an_object_per_source)
{
    struct stats s;
    struct stat_source one;
    struct buf out = BUF_INIT;

    EXPECT_OK(stats_init(&s, rows, COUNT));
    stat_set(&s, STAT_CONNS, UINT64_MAX);
    one = source(&s, "a\"\n");
    stats_json(&out, &one, 1);
    EXPECT_STR(buf_text(&out),
        "[{\"gateway\":\"a\\\"\\u000a\",\"process\":\"812\",\"values\":{"
        "\"connections\":18446744073709551615,\"cut_total{why=slow}\":0,"
        "\"cut_total{why=age}\":0}}]");
    buf_reset(&out);
    stats_json(&out, NULL, 0);
    stats_prometheus(&out, NULL, 0);
    EXPECT_STR(buf_text(&out), "[]");
    buf_fini(&out);
    stats_fini(&s);
}

TEST(without_memory_rendering_fails_and_says_so)
{
    struct stats s;
    struct stat_source one;
    struct buf out = BUF_INIT;

    test_fail_malloc_after(0);
    EXPECT_ERR(stats_init(&s, rows, COUNT), ERR_NOMEM);
    EXPECT(test_malloc_failed());
    EXPECT_OK(stats_init(&s, rows, COUNT));
    one = source(&s, "http1");
    for (long n = 0; n < 2; n++) {
        test_fail_malloc_after(n);
        stats_prometheus(&out, &one, 1);
        EXPECT(test_malloc_failed());
        EXPECT(out.failed);
        buf_fini(&out);
    }
    stats_fini(&s);
}

enum { LIMIT_STATS(STAT_AS_ENUM) LIMIT_ROWS };
static const struct stat_row limit_rows[] = { LIMIT_STATS(STAT_AS_ROW) };

TEST(every_limit_has_a_counter_of_its_own)
{
    EXPECT_INT(LIMIT_ROWS, LIMIT_KINDS);
    EXPECT_INT(ARRAY_LEN(limit_rows), LIMIT_KINDS);
    EXPECT_STR(limit_rows[STAT_LIMIT_QUEUE_AGE].label, "limit=\"queue_age\"");
    for (size_t i = 0; i < LIMIT_KINDS; i++)
        for (size_t j = 0; j < i; j++)
            EXPECT(strcmp(limit_rows[i].label, limit_rows[j].label) != 0);
}
