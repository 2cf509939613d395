#include "proto/marks.h"

#include <stdio.h>

#include "base/err.h"
#include "tests/t/t.h"

static struct slice name(char text[24], unsigned i)
{
    return slice_make(text, (size_t)snprintf(text, 24, "room/%u", i));
}

TEST(a_mark_only_grows)
{
    struct marks m = {0};

    EXPECT_INT(marks_of(&m, SLICE("a")), 0);
    EXPECT_OK(marks_raise(&m, SLICE("a"), 7));
    EXPECT_OK(marks_raise(&m, SLICE("a"), 5));
    EXPECT_INT(marks_of(&m, SLICE("a")), 7);
    EXPECT_OK(marks_raise(&m, SLICE("a"), 9));
    EXPECT_INT(marks_of(&m, SLICE("a")), 9);
    EXPECT_INT(marks_of(&m, SLICE("b")), 0);
    EXPECT_INT(marks_count(&m), 1);
    marks_fini(&m);
    EXPECT_INT(marks_of(&m, SLICE("a")), 0);
}

TEST(the_name_is_a_copy)
{
    struct marks m = {0};
    char text[24];

    for (unsigned i = 1; i <= 1000; i++)
        EXPECT_OK(marks_raise(&m, name(text, i), i));
    for (unsigned i = 1; i <= 1000; i++)
        EXPECT_INT(marks_of(&m, name(text, i)), i);
    marks_fini(&m);
}

TEST(a_walk_comes_to_each_once)
{
    struct marks m = {0};
    struct marks_iter it;
    struct slice at;
    uint64_t mark, sum = 0;
    char text[24], of[24];

    for (unsigned i = 1; i <= 100; i++)
        EXPECT_OK(marks_raise(&m, name(text, i), i));
    it = marks_iter(&m);
    while (marks_next(&it, &at, &mark)) {
        EXPECT_SLICE(at, name(of, (unsigned)mark));
        sum += mark;
    }
    EXPECT_INT(sum, 100 * 101 / 2);
    marks_fini(&m);
}

TEST(without_memory_there_is_no_mark)
{
    bool failed = true;

    for (long left = 0; failed; left++) {
        struct marks m = {0};
        int rc;

        test_fail_malloc_after(left);
        rc = marks_raise(&m, SLICE("a"), 1);
        failed = test_malloc_failed();
        test_fail_malloc_after(-1);
        EXPECT_INT(rc, failed ? ERR_NOMEM : 0);
        EXPECT_INT(marks_of(&m, SLICE("a")), failed ? 0 : 1);
        marks_fini(&m);
    }
}
