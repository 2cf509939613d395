#include "proto/spread.h"

#include "base/clock.h"
#include "tests/t/t.h"

#define ROWS(X) \
    X(OTHER, COUNTER, "other", NULL, "something else") \
    SPREAD_STATS(X, SPREAD, "it_seconds", "how long it took")
enum { ROWS(STAT_AS_ENUM) STAT_COUNT };
static const struct stat_row rows[] = {ROWS(STAT_AS_ROW)};

/* The rows, as Prometheus reads them. */
static const char *text_of(const struct spread *s)
{
    static struct buf text = BUF_INIT;
    struct stats stats;

    EXPECT_OK(stats_init(&stats, rows, STAT_COUNT));
    spread_set(&stats, STAT_SPREAD_50, s);
    EXPECT_INT(stat_get(&stats, STAT_OTHER), 0);
    buf_reset(&text);
    for (size_t i = 1; i < STAT_COUNT; i++) {
        struct stat_sample sample = stat_sample(&stats, i);

        buf_addf(&text, "%s{%s} %llu\n", sample.name,
                 sample.label ? sample.label : "",
                 (unsigned long long)sample.value);
    }
    stats_fini(&stats);
    return buf_text(&text);
}

TEST(each_bound_counts_all_that_took_no_longer)
{
    struct spread s = {.sum_us = 0};
    const char *text;

    spread_record(&s, 50 * MICROSECOND);
    spread_record(&s, 51 * MICROSECOND);
    spread_record(&s, 3 * MILLISECOND);
    text = text_of(&s);
    EXPECT_CONTAINS(text, "it_seconds_bucket{le=\"0.00005\"} 1\n");
    EXPECT_CONTAINS(text, "it_seconds_bucket{le=\"0.0001\"} 2\n");
    EXPECT_CONTAINS(text, "it_seconds_bucket{le=\"0.002\"} 2\n");
    EXPECT_CONTAINS(text, "it_seconds_bucket{le=\"0.005\"} 3\n");
    EXPECT_CONTAINS(text, "it_seconds_bucket{le=\"10\"} 3\n");
    EXPECT_CONTAINS(text, "it_seconds_bucket{le=\"+Inf\"} 3\n");
    EXPECT_CONTAINS(text, "it_seconds_count{} 3\n");
    EXPECT_CONTAINS(text, "it_seconds_sum{} 3101\n");
}

TEST(what_is_above_all_bounds_or_below_0_is_counted_too)
{
    struct spread s = {.sum_us = 0};
    const char *text;

    spread_record(&s, -5);
    spread_record(&s, 11 * SECOND);
    text = text_of(&s);
    EXPECT_CONTAINS(text, "it_seconds_bucket{le=\"0.00005\"} 1\n");
    EXPECT_CONTAINS(text, "it_seconds_bucket{le=\"10\"} 1\n");
    EXPECT_CONTAINS(text, "it_seconds_bucket{le=\"+Inf\"} 2\n");
    EXPECT_CONTAINS(text, "it_seconds_sum{} 11000000\n");
}
