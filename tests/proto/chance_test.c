#include "proto/chance.h"

#include <math.h>

#include "tests/t/t.h"

enum { DRAWS = 200000, IDS = 1000 };

/* Within five standard deviations of what n draws of probability p give. */
static void expect_near(unsigned got, double p)
{
    double want = DRAWS * p, spread = sqrt(DRAWS * p * (1 - p));

    EXPECT(fabs(got - want) <= 5 * spread + 1);
}

TEST(a_seed_repeats_and_another_differs)
{
    struct chance a, b, c;

    chance_init(&a, 7);
    chance_init(&b, 7);
    chance_init(&c, 8);
    for (int i = 0; i < 100; i++) {
        uint64_t n = chance_next(&a);

        EXPECT(n == chance_next(&b));
        EXPECT(n != chance_next(&c));
    }
}

TEST(uniform_numbers_are_uniform)
{
    unsigned seen[10] = { 0 };
    struct chance c;

    chance_init(&c, 1);
    for (int i = 0; i < DRAWS; i++) {
        double u = chance_unit(&c);

        EXPECT(u >= 0 && u < 1);
        seen[chance_below(&c, 10)]++;
    }
    for (int i = 0; i < 10; i++)
        expect_near(seen[i], 0.1);
}

static void expect_zipf(double exponent)
{
    static unsigned seen[IDS];
    double all = 0;
    struct chance c;
    struct zipf z;

    memset(seen, 0, sizeof seen);
    chance_init(&c, 3);
    zipf_init(&z, IDS, exponent);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t k = zipf_pick(&z, &c);

        EXPECT(k < IDS);
        seen[k]++;
    }
    for (int k = 1; k <= IDS; k++)
        all += pow(k, -exponent);
    for (int k = 1; k <= IDS; k = k < 10 ? k + 1 : k * 3)
        expect_near(seen[k - 1], pow(k, -exponent) / all);
}

TEST(zipfs_kth_comes_as_often_as_it_should)
{
    expect_zipf(0.5);
    expect_zipf(1);
    expect_zipf(1.5);
}

TEST(zipf_of_one_and_of_very_many)
{
    struct chance c;
    struct zipf one, many;

    chance_init(&c, 5);
    zipf_init(&one, 1, 1);
    zipf_init(&many, UINT64_C(1) << 40, 1.1);
    for (int i = 0; i < 1000; i++) {
        EXPECT_INT(zipf_pick(&one, &c), 0);
        EXPECT(zipf_pick(&many, &c) < UINT64_C(1) << 40);
    }
}
