#include "proto/position.h"

#include "base/err.h"
#include "tests/t/t.h"

TEST(what_is_written_is_read_back)
{
    struct epoch e = {.text = "k3fib7abfw"};
    char text[CURSOR_TEXT_MAX];
    struct position p;
    size_t len = position_format(text, &e, UINT64_C(9007199254740991));

    EXPECT_SLICE(slice_make(text, len), SLICE("k3fib7abfw-9007199254740991"));
    EXPECT_OK(position_parse(slice_make(text, len), &p));
    EXPECT(epoch_equal(&p.epoch, &e));
    EXPECT_INT(p.seq, INT64_C(9007199254740991));
}

TEST(zero_asks_for_everything)
{
    struct position p;

    EXPECT_OK(position_parse(SLICE("0"), &p));
    EXPECT_STR(p.epoch.text, "");
    EXPECT_INT(p.seq, 0);
    EXPECT_OK(position_parse(SLICE("a-0"), &p));
    EXPECT_STR(p.epoch.text, "a");
}

TEST(anything_else_is_no_cursor)
{
    static const char *const bad[] = {
        "", "-", "a", "a-", "-1", "00", "1", "a-01", "a--1", "a-+1", "A-1",
        "a b-1", "a-1 ", "a-1x", "abcdefghijklmnop-1", "a_b-1",
        "a-9007199254740992", "a-99999999999999999999", "a-1-2",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct position p;

        if (position_parse(slice_str(bad[i]), &p) != ERR_BAD)
            test_fail(__FILE__, __LINE__, "taken: %s", bad[i]);
    }
}

TEST(the_longest_epoch_and_seq_fit)
{
    struct epoch e = {.text = "abcdefghijklmno"};
    char text[CURSOR_TEXT_MAX];
    size_t len = position_format(text, &e, UINT64_C(9007199254740991));
    struct position p;

    EXPECT_INT(len, 15 + 1 + 16);
    EXPECT_OK(position_parse(slice_make(text, len), &p));
}
