#include "tools/flood/ids.h"

#include <stdio.h>

#include "base/err.h"
#include "tests/t/t.h"

static struct ids good(const char *text, const char *spread)
{
    struct opt_error err = { "" };
    struct ids ids;

    if (ids_init(&ids, text, spread, &err) < 0)
        EXPECT_STR(err.text, "");
    return ids;
}

static void expect_bad(const char *text, const char *spread)
{
    struct opt_error err = { "" };
    struct ids ids;

    EXPECT(ids_init(&ids, text, spread, &err) < 0);
    EXPECT(*err.text);
}

/* A file of this test's, as the option names it. */
static const char *at_path(const char *name)
{
    static char text[512];

    snprintf(text, sizeof text, "@%s", test_path(name));
    return text;
}

static void expect_name(const struct ids *ids, uint64_t i, const char *want)
{
    struct buf hold = BUF_INIT, text = BUF_INIT;

    buf_add(&text, ids_name(ids, i, &hold));
    EXPECT_STR(buf_text(&text), want);
    buf_fini(&hold);
    buf_fini(&text);
}

TEST(one_id_a_range_and_a_range_of_one)
{
    struct ids ids = good("match/elp-tig-2011-09-13", "each");

    EXPECT_INT(ids.count, 1);
    expect_name(&ids, 0, "match/elp-tig-2011-09-13");
    ids_fini(&ids);
    ids = good("user/8..12", "each");
    EXPECT_INT(ids.count, 5);
    expect_name(&ids, 0, "user/8");
    expect_name(&ids, 4, "user/12");
    ids_fini(&ids);
    ids = good("7..7", "each");
    EXPECT_INT(ids.count, 1);
    expect_name(&ids, 0, "7");
    ids_fini(&ids);
}

TEST(a_file_has_one_a_line)
{
    FILE *f = fopen(test_path("ids"), "w");
    struct ids ids;

    fputs("user/ana\n\n  room/lobby \r\nlast", f);
    fclose(f);
    ids = good(at_path("ids"), "each");
    EXPECT_INT(ids.count, 3);
    expect_name(&ids, 0, "user/ana");
    expect_name(&ids, 1, "room/lobby");
    expect_name(&ids, 2, "last");
    ids_fini(&ids);
}

TEST(what_is_no_set_of_ids_says_why)
{
    FILE *f = fopen(test_path("empty"), "w");

    fclose(f);
    f = fopen(test_path("blank"), "w");
    fputs("\r\n \n", f);
    fclose(f);
    expect_bad("", "each");
    expect_bad("user/5..4", "each");
    expect_bad("user/..4", "each");
    expect_bad("user/1..", "each");
    expect_bad("user/1..999999999", "each");
    expect_bad(at_path("empty"), "each");
    expect_bad(at_path("blank"), "each");
    expect_bad(at_path("no-such-file"), "each");
    expect_bad("a", "some");
    expect_bad("a", "zipf:");
    expect_bad("a", "zipf:0");
    expect_bad("a", "zipf:1x");
    expect_bad("a", "zipfel");
}

TEST(picks_are_spread_as_was_said)
{
    struct ids each = good("a/1..10", "each");
    struct ids uniform = good("a/1..10", "uniform");
    struct ids zipf = good("a/1..10", "zipf:1.5");
    unsigned first_uniform = 0, first_zipf = 0;
    struct chance c;

    chance_init(&c, 1);
    for (unsigned i = 0; i < 10000; i++) {
        EXPECT_INT(ids_pick(&each, &c, i), i % 10);
        first_uniform += ids_pick(&uniform, &c, i) == 0;
        first_zipf += ids_pick(&zipf, &c, i) == 0;
    }
    EXPECT(first_uniform > 800 && first_uniform < 1200);
    EXPECT(first_zipf > 4500 && first_zipf < 5600);
    ids_fini(&each);
    ids_fini(&uniform);
    ids_fini(&zipf);
}
