#include "proto/histogram.h"

#include <math.h>

#include "tests/t/t.h"

static struct histogram *empty(void)
{
    return calloc(1, sizeof(struct histogram));
}

TEST(each_value_lies_in_one_bucket_to_a_hundredth)
{
    struct histogram *h = empty();

    for (size_t i = 1; i < HISTOGRAM_BUCKETS; i++)
        EXPECT_INT(histogram_low(i), histogram_high(i - 1) + 1);
    for (uint64_t v = 1; v < UINT64_C(1) << HISTOGRAM_BITS; v += v / 3 + 1) {
        uint64_t got;

        *h = (struct histogram){ 0 };
        histogram_record(h, INT64_C(1) << (HISTOGRAM_BITS - 1));
        histogram_record(h, (int64_t)v);
        got = histogram_quantile(h, 0.01);
        if (v <= UINT64_C(1) << (HISTOGRAM_BITS - 1)) {
            EXPECT(got >= v);
            EXPECT((double)(got - v) <= 0.008 * (double)v);
        }
        EXPECT_INT(histogram_total(h), 2);
    }
    free(h);
}

TEST(quantiles_are_those_of_the_sorted_values)
{
    struct histogram *h = empty();

    for (int i = 100; i >= 1; i--)
        histogram_record(h, i);
    EXPECT_INT(histogram_quantile(h, 0), 1);
    EXPECT_INT(histogram_quantile(h, 0.5), 50);
    EXPECT_INT(histogram_quantile(h, 0.99), 99);
    EXPECT_INT(histogram_quantile(h, 0.991), 100);
    EXPECT_INT(histogram_quantile(h, 1), 100);
    EXPECT(fabs(histogram_mean(h) - 50.5) < 1e-9);
    free(h);
}

TEST(an_empty_one_and_values_out_of_range)
{
    struct histogram *h = empty();

    EXPECT_INT(histogram_quantile(h, 0.5), 0);
    EXPECT(histogram_mean(h) < 1e-9);
    histogram_record(h, -5);
    EXPECT_INT(histogram_quantile(h, 1), 0);
    histogram_record(h, INT64_MAX);
    EXPECT_INT(histogram_max(h), (INT64_C(1) << HISTOGRAM_BITS) - 1);
    EXPECT_INT(histogram_quantile(h, 1), (INT64_C(1) << HISTOGRAM_BITS) - 1);
    free(h);
}

TEST(what_came_since_is_the_difference)
{
    struct histogram *h = empty(), *before = empty();

    histogram_record(h, 900000);
    histogram_add(before, h);
    histogram_record(h, 10);
    histogram_record(h, 30);
    histogram_subtract(h, before);
    EXPECT_INT(histogram_total(h), 2);
    EXPECT_INT(histogram_quantile(h, 0.5), 10);
    EXPECT_INT(histogram_max(h), 30);
    EXPECT(fabs(histogram_mean(h) - 20) < 1e-9);
    free(h);
    free(before);
}
