#include "proto/tally.h"

#include "base/err.h"
#include "tests/t/t.h"

static const char *const words[] = { "ant", "bee", "bee.queen", "cat" };

static void begin(struct tally *t)
{
    EXPECT_OK(tally_init(t, "animals_total", "kind", "seen", words,
                         ARRAY_LEN(words)));
}

TEST(each_word_has_its_own_count)
{
    struct tally t;

    begin(&t);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        for (size_t n = 0; n <= i; n++)
            tally_add(&t, slice_str(words[i]));
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        EXPECT_INT(tally_get(&t, slice_str(words[i])), i + 1);
    tally_fini(&t);
}

TEST(a_word_that_is_not_listed_counts_as_other)
{
    struct tally_label label;
    struct stat_sample s;
    struct tally t;
    size_t at = 0;

    begin(&t);
    tally_add(&t, SLICE("bees"));
    tally_add(&t, SLICE(""));
    EXPECT(tally_next(&t, &at, &s, &label));
    EXPECT_STR(s.label, "kind=\"other\"");
    EXPECT_INT(s.value, 2);
    EXPECT(!tally_next(&t, &at, &s, &label));
    tally_fini(&t);
}

TEST(what_came_is_walked_over_in_order_and_what_did_not_is_left_out)
{
    struct tally_label label;
    struct stat_sample s;
    struct tally t;
    size_t at = 0;

    begin(&t);
    EXPECT(!tally_next(&t, &at, &s, &label));
    tally_add(&t, SLICE("cat"));
    tally_add(&t, SLICE("ant"));
    at = 0;
    EXPECT(tally_next(&t, &at, &s, &label));
    EXPECT_STR(s.name, "animals_total");
    EXPECT_STR(s.label, "kind=\"ant\"");
    EXPECT_STR(s.help, "seen");
    EXPECT_INT(s.kind, STAT_COUNTER);
    EXPECT_INT(s.value, 1);
    EXPECT(tally_next(&t, &at, &s, &label));
    EXPECT_STR(s.label, "kind=\"cat\"");
    EXPECT(!tally_next(&t, &at, &s, &label));
    tally_fini(&t);
}

TEST(the_codes_of_errors_are_in_order)
{
    struct tally t;

    EXPECT_OK(tally_init_codes(&t, "refused_total", "refused")); /* checks it */
    tally_add(&t, SLICE("channel.bad"));
    EXPECT_INT(tally_get(&t, SLICE("channel.bad")), 1);
    tally_fini(&t);
}
