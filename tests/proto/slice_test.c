#include "base/slice.h"

#include <stdio.h>

#include "base/err.h"
#include "tests/t/t.h"

static const struct slice nothing;

TEST(the_empty_slice_works_everywhere_without_a_pointer)
{
    struct slice rest = nothing;

    EXPECT(slice_eq(nothing, SLICE("")));
    EXPECT(slice_eq_nocase(nothing, SLICE("")));
    EXPECT(slice_starts(nothing, nothing));
    EXPECT(slice_ends(nothing, nothing));
    EXPECT_INT(slice_cmp(nothing, SLICE("")), 0);
    EXPECT_INT(slice_find_byte(nothing, 0), 0);
    EXPECT_INT(slice_trim(nothing).len, 0);
    EXPECT_INT(slice_from(nothing, 3).len, 0);
    EXPECT_INT(slice_split(&rest, ',').len, 0);
    EXPECT(!rest.ptr);
    EXPECT_INT(slice_str(NULL).len, 0);
}

TEST(comparing_looks_at_length_and_bytes)
{
    EXPECT(slice_eq(SLICE("a\0b"), SLICE("a\0b")));
    EXPECT(!slice_eq(SLICE("a\0b"), SLICE("a\0c")));
    EXPECT(!slice_eq(SLICE("ab"), SLICE("abc")));
    EXPECT(slice_cmp(SLICE("ab"), SLICE("abc")) < 0);
    EXPECT(slice_cmp(SLICE("b"), SLICE("abc")) > 0);
    EXPECT(slice_cmp(SLICE("\xff"), SLICE("a")) > 0);
    EXPECT(slice_starts(SLICE("match/7"), SLICE("match/")));
    EXPECT(!slice_starts(SLICE("matc"), SLICE("match/")));
    EXPECT(slice_ends(SLICE("match/7"), SLICE("/7")));
    EXPECT(!slice_ends(SLICE("7"), SLICE("/7")));
}

TEST(case_is_ignored_for_ascii_letters_only)
{
    EXPECT(slice_eq_nocase(SLICE("Content-LENGTH"), SLICE("content-length")));
    EXPECT(slice_eq_nocase(SLICE("azAZ"), SLICE("AZaz")));
    EXPECT(!slice_eq_nocase(SLICE("@"), SLICE("`")));
    EXPECT(!slice_eq_nocase(SLICE("["), SLICE("{")));
    EXPECT(!slice_eq_nocase(SLICE("\xc4"), SLICE("\xe4")));
}

/* Whatever stands beside it, and wherever: eight bytes are looked at at once. */
TEST(case_is_ignored_of_each_byte_by_itself)
{
    uint8_t a[19], b[19];

    for (size_t at = 0; at < sizeof a; at++)
        for (unsigned x = 0; x < 256; x++)
            for (unsigned y = 0; y < 256; y++) {
                bool letters = (x ^ y) == 0x20 && ((x | 0x20) >= 'a') &&
                               ((x | 0x20) <= 'z');

                memset(a, x & 1 ? 0xff : 'Z', sizeof a);
                memcpy(b, a, sizeof a);
                a[at] = (uint8_t)x;
                b[at] = (uint8_t)y;
                EXPECT(slice_eq_nocase(slice_make(a, sizeof a),
                                       slice_make(b, sizeof b)) ==
                       (x == y || letters));
            }
}

TEST(splitting_visits_every_part_and_ends)
{
    static const char *const want[] = { "a", "", "b", "" };
    struct slice rest = SLICE("a,,b,");
    size_t n = 0;

    while (rest.ptr) {
        EXPECT(n < ARRAY_LEN(want));
        EXPECT_SLICE(slice_split(&rest, ','), slice_str(want[n]));
        n++;
    }
    EXPECT_INT(n, 4);
}

TEST(trimming_takes_blanks_off_both_ends)
{
    EXPECT_SLICE(slice_trim(SLICE(" \ta b\t ")), SLICE("a b"));
    EXPECT_SLICE(slice_trim(SLICE("  ")), SLICE(""));
    EXPECT_SLICE(slice_from(SLICE("abc"), 1), SLICE("bc"));
    EXPECT_SLICE(slice_from(SLICE("abc"), 9), SLICE(""));
    EXPECT_SLICE(slice_head(SLICE("abc"), 9), SLICE("abc"));
}

TEST(a_number_is_digits_and_nothing_else)
{
    static const char *const bad[] = { "",   "-1", "+1",  " 1", "1 ", "01",
                                       "00", "1a", "0x1", "1.", "1e3" };
    uint64_t v = 7;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        EXPECT_ERR(slice_parse_u64(slice_str(bad[i]), &v), ERR_BAD);
    EXPECT_ERR(slice_parse_u64(SLICE("1\0"), &v), ERR_BAD);
    EXPECT_INT(v, 7);
    EXPECT_OK(slice_parse_u64(SLICE("0"), &v));
    EXPECT_INT(v, 0);
}

TEST(a_number_may_be_as_large_as_64_bits)
{
    uint64_t v = 7;

    EXPECT_OK(slice_parse_u64(SLICE("18446744073709551615"), &v));
    EXPECT(v == UINT64_MAX);
    EXPECT_ERR(slice_parse_u64(SLICE("18446744073709551616"), &v),
               ERR_TOO_BIG);
    EXPECT_ERR(slice_parse_u64(SLICE("99999999999999999999999"), &v),
               ERR_TOO_BIG);
    EXPECT(v == UINT64_MAX);
}

TEST(a_slice_prints_as_far_as_it_reaches)
{
    char text[16];

    snprintf(text, sizeof text, "<" SLICE_FMT ">",
             SLICE_ARG(slice_head(SLICE("abcdef"), 3)));
    EXPECT_STR(text, "<abc>");
    snprintf(text, sizeof text, "<" SLICE_FMT ">", SLICE_ARG(nothing));
    EXPECT_STR(text, "<>");
}

TEST(a_copy_ends_in_zero_or_is_refused_without_memory)
{
    char *copy = slice_dup(slice_head(SLICE("abc"), 2));

    EXPECT_STR(copy, "ab");
    free(copy);
    test_fail_malloc_after(0);
    copy = slice_dup(SLICE("abc"));
    EXPECT(test_malloc_failed());
    EXPECT(!copy);
}
