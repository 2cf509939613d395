#include "tools/flood/script.h"

#include "base/err.h"
#include "tests/t/t.h"

static struct script good(const char *text)
{
    struct opt_error err = { "" };
    struct script s;

    if (script_init(&s, slice_str(text), &err) < 0)
        EXPECT_STR(err.text, "");
    return s;
}

static void expect_bad(const char *text, const char *why)
{
    struct opt_error err = { "" };
    struct script s;

    EXPECT_INT(script_init(&s, slice_str(text), &err), ERR_BAD);
    if (!strstr(err.text, why))
        EXPECT_STR(err.text, why);
}

TEST(steps_are_understood_in_order)
{
    struct script s = good(" delay(1000, 0.1); receive(3)\nrequest "
                           "send(\"a \\\"b\\\"\\r\\n\") repeat(10)");

    EXPECT_INT(s.count, 5);
    EXPECT_INT(s.steps[0].verb, SCRIPT_DELAY);
    EXPECT_INT(s.steps[0].count, 1000);
    EXPECT(s.steps[0].deviation > 0.09 && s.steps[0].deviation < 0.11);
    EXPECT_INT(s.steps[1].verb, SCRIPT_RECEIVE);
    EXPECT_INT(s.steps[1].count, 3);
    EXPECT_INT(s.steps[2].verb, SCRIPT_REQUEST);
    EXPECT_INT(s.steps[3].verb, SCRIPT_SEND);
    EXPECT_STR(buf_text(&s.steps[3].text.text), "a \"b\"\r\n");
    EXPECT_INT(s.steps[4].count, 10);
    script_fini(&s);
    s = good("");
    EXPECT_INT(s.count, 0);
    script_fini(&s);
    s = good("request repeat");
    EXPECT_INT(s.steps[1].count, 0);
    script_fini(&s);
}

TEST(a_delay_lies_where_its_deviation_lets_it)
{
    struct script s = good("delay(1000, 0.1) delay(50)");
    int64_t least = INT64_MAX, most = 0;
    struct chance c;

    chance_init(&c, 1);
    for (int i = 0; i < 10000; i++) {
        int64_t d = script_delay_ns(&s.steps[0], &c);

        EXPECT(d >= 900 * MILLISECOND && d <= 1100 * MILLISECOND);
        least = MIN(least, d);
        most = MAX(most, d);
        EXPECT_INT(script_delay_ns(&s.steps[1], &c), 50 * MILLISECOND);
    }
    EXPECT(least < 905 * MILLISECOND && most > 1095 * MILLISECOND);
    script_fini(&s);
}

TEST(what_is_no_script_says_what_is_wrong)
{
    expect_bad("dely(5)", "not 'dely'");
    expect_bad("delay", "delay(MILLISECONDS)");
    expect_bad("delay(5", "delay(MILLISECONDS)");
    expect_bad("delay(5, 2)", "SHARE");
    expect_bad("delay(-5)", "MILLISECONDS");
    expect_bad("delay(5000000000)", "MILLISECONDS");
    expect_bad("send(x)", "send(\"TEXT\")");
    expect_bad("send(\"x)", "send(\"TEXT\")");
    expect_bad("send(\"{idd}\")", "{idd}");
    expect_bad("receive()", "MESSAGES");
    expect_bad("123", "not '123'");
}

TEST(what_is_repeated_has_to_wait)
{
    expect_bad("repeat", "has to wait");
    expect_bad("send(\"x\") repeat(5)", "has to wait");
    expect_bad("delay(0) repeat", "has to wait");
    expect_bad("receive(0) repeat", "has to wait");
}

TEST(a_script_has_so_many_steps_and_no_more)
{
    struct buf b = BUF_INIT;

    for (int i = 0; i < SCRIPT_STEPS_MAX; i++)
        buf_add_str(&b, "delay(1) ");
    struct script s = good(buf_text(&b));

    EXPECT_INT(s.count, SCRIPT_STEPS_MAX);
    script_fini(&s);
    buf_add_str(&b, "delay(1)");
    expect_bad(buf_text(&b), "at most");
    buf_fini(&b);
}
