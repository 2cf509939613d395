#include "gateways/tcp/line.h"

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "tests/t/t.h"

enum { LIMIT = 16 };

/* Feeds the text cut at `cut` and every `step` bytes after it; what comes out
 * is "[line]" for a line and "!" for one that was too long. */
static const char *lines_cut(struct slice text, size_t cut, size_t step)
{
    static struct buf out;
    struct line l = { .kept = NULL };

    buf_reset(&out);
    while (text.len) {
        struct slice piece = slice_head(text, cut);

        text = slice_from(text, cut);
        cut = step;
        while (piece.len) {
            enum line_event event;
            struct slice line = SLICE("left from the last");

            EXPECT_OK(line_next(&l, &piece, LIMIT, &event, &line));
            EXPECT(event == LINE_TEXT || line.len == 0);
            if (event == LINE_LONG)
                buf_add_byte(&out, '!');
            if (event == LINE_TEXT)
                buf_addf(&out, "[" SLICE_FMT "]", SLICE_ARG(line));
        }
    }
    line_fini(&l);
    return buf_text(&out);
}

/* Whole, cut in two at every place, and byte by byte: always the same. */
static void expect_lines(struct slice text, const char *want)
{
    EXPECT_STR(lines_cut(text, text.len, 1), want);
    EXPECT_STR(lines_cut(text, 1, 1), want);
    for (size_t cut = 1; cut < text.len; cut++)
        EXPECT_STR(lines_cut(text, cut, text.len), want);
}

TEST(a_line_ends_in_lf_or_crlf_however_it_is_cut)
{
    expect_lines(SLICE("PING\r\nHELP\n\r\n\nQUIT\r\n"),
                 "[PING][HELP][][][QUIT]");
    expect_lines(SLICE("a\rb\r\r\n"), "[a\rb\r]");
    expect_lines(SLICE("no end"), "");
}

TEST(telnet_negotiation_is_left_out_wherever_it_stands)
{
    expect_lines(SLICE("\xff\xfb\x18PI\xff\xfd\x01NG\xff\xf1\r\xff\xf1\n"),
                 "[PING]");
    expect_lines(SLICE("A\xff\xfa\x18\x00VT100\n\xff\xf0" "B\n"), "[AB]");
    expect_lines(SLICE("\xff\xfa\x1f\xff\xff\x10\xff\xf0ok\n"), "[ok]");
    expect_lines(SLICE("\xff\xfb\nok\n"), "[ok]");
}

TEST(a_doubled_iac_is_a_byte_of_text)
{
    expect_lines(SLICE("a\xff\xff" "b\n"), "[a\xff" "b]");
    expect_lines(SLICE("\xff\xff\xff\xff\r\n"), "[\xff\xff]");
}

TEST(a_line_of_the_limit_passes_and_one_more_byte_does_not)
{
    expect_lines(SLICE("0123456789abcdef\r\nx\n"), "[0123456789abcdef][x]");
    expect_lines(SLICE("0123456789abcdef\nx\n"), "[0123456789abcdef][x]");
    expect_lines(SLICE("0123456789abcdefg\nx\n"), "![x]");
    expect_lines(SLICE("0123456789abcdefg\r\nx\n"), "![x]");
    expect_lines(SLICE("0123456789abcdef\rg\nx\n"), "![x]");
}

TEST(a_long_line_is_told_once_and_dropped_to_its_end)
{
    expect_lines(SLICE("0123456789abcdef0123456789abcdef0123456789\r\nok\n"),
                 "![ok]");
    expect_lines(SLICE("\xff\xff" "0123456789abcdef\xff\xff\n\nok\n"),
                 "![][ok]");
}

TEST(a_long_line_is_told_before_its_end_has_come)
{
    EXPECT_STR(lines_cut(SLICE("0123456789abcdefg"), 17, 1), "!");
}

TEST(a_subnegotiation_without_end_is_a_line_too_long)
{
    expect_lines(SLICE("\xff\xfa" "0123456789abcdef0123456789\nok\n"),
                 "![ok]");
}

TEST(no_memory_is_held_between_lines)
{
    struct line l = { .kept = NULL };
    struct slice in = SLICE("PI"), line;
    enum line_event event;

    EXPECT_OK(line_next(&l, &in, LIMIT, &event, &line));
    EXPECT(l.kept);
    in = SLICE("NG\nx\n");
    EXPECT_OK(line_next(&l, &in, LIMIT, &event, &line));
    EXPECT_SLICE(line, SLICE("PING"));
    EXPECT_OK(line_next(&l, &in, LIMIT, &event, &line));
    EXPECT_SLICE(line, SLICE("x"));
    EXPECT(!l.kept);
    EXPECT_INT(sizeof l, 16);
}

TEST(a_line_without_memory_is_lost_and_the_next_one_is_not)
{
    struct line l = { .kept = NULL };
    struct slice in = SLICE("PI"), line;
    enum line_event event;

    test_fail_malloc_after(0);
    EXPECT_ERR(line_next(&l, &in, LIMIT, &event, &line), ERR_NOMEM);
    EXPECT(test_malloc_failed());
    in = SLICE("NG\nHELP\n");
    EXPECT_OK(line_next(&l, &in, LIMIT, &event, &line));
    EXPECT_SLICE(line, SLICE("HELP"));
    line_fini(&l);
}
