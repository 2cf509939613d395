#include "store/ballast.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/t/t.h"

enum { SIZE = 6 << 20 };

static int64_t blocks(void)
{
    struct stat st;

    return stat(test_path("db-ballast"), &st) < 0 ? -1 : st.st_blocks * 512;
}

static void make_whole(struct ballast *b)
{
    int rc;

    do
        rc = ballast_step(b);
    while (rc > 0);
    EXPECT_OK(rc);
}

TEST(ballast_is_made_in_steps_and_given_back)
{
    struct ballast b;

    test_write_file(test_path("db"), SLICE("x"));
    ballast_init(&b, test_path("db"), SIZE);
    EXPECT(!ballast_release(&b));
    EXPECT_INT(ballast_step(&b), 1);
    make_whole(&b);
    EXPECT(blocks() >= SIZE);
    EXPECT(ballast_release(&b));
    EXPECT_INT(blocks(), -1);
    EXPECT(!ballast_release(&b));
    make_whole(&b);
    EXPECT(blocks() >= SIZE);
}

TEST(ballast_of_an_earlier_life_is_taken_over)
{
    struct ballast b;

    test_write_file(test_path("db"), SLICE("x"));
    ballast_init(&b, test_path("db"), SIZE);
    make_whole(&b);
    ballast_init(&b, test_path("db"), SIZE);
    EXPECT_INT(b.have, SIZE);
    EXPECT_OK(ballast_step(&b));
    ballast_init(&b, test_path("db"), 0);
    EXPECT_INT(blocks(), -1);
    EXPECT_OK(ballast_step(&b));
    EXPECT_INT(blocks(), -1);
}

TEST(a_ballast_that_a_copy_has_made_hollow_is_made_again)
{
    struct ballast b;

    test_write_file(test_path("db"), SLICE("x"));
    test_write_file(test_path("db-ballast"), SLICE(""));
    EXPECT_OK(truncate(test_path("db-ballast"), SIZE));
    ballast_init(&b, test_path("db"), SIZE);
    EXPECT_INT(b.have, 0);
    make_whole(&b);
    EXPECT(blocks() >= SIZE);
}

TEST(ballast_that_does_not_fit_is_not_there)
{
    struct ballast b;

    test_write_file(test_path("db"), SLICE("x"));
    ballast_init(&b, test_path("db"), UINT64_C(1) << 60);
    EXPECT_ERR(ballast_step(&b), ERR_FULL);
    EXPECT_INT(blocks(), -1);
    EXPECT(!ballast_release(&b));
}
