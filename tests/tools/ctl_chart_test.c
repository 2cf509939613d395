/* The charts of a file of measurements. */
#include "tools/router-ctl/chart.h"

#include <string.h>

#include "base/base.h"
#include "tests/t/t.h"

static const struct chart *named(const char *name)
{
    for (size_t i = 0; i < chart_count; i++)
        if (strcmp(charts[i].name, name) == 0)
            return &charts[i];
    return NULL;
}

static struct buf program;

static bool draws(const char *name, struct slice text)
{
    buf_reset(&program);
    return chart_program(&program, named(name), text, "p.png");
}

TEST(memory_has_a_line_for_each_process_in_megabytes)
{
    struct slice text =
        SLICE("time,process,private\n100.5,router,1000000\n100.5,all,3000000\n"
              "101.5,router,2000000\n101.5,all,\n");

    EXPECT(chart_problem(text) == NULL);
    EXPECT(draws("memory", text));
    EXPECT_CONTAINS(buf_text(&program),
                    "$line0 << EOD\n0.000 1\n1.000 2\nEOD\n");
    EXPECT_CONTAINS(buf_text(&program), "$line1 << EOD\n0.000 3\nEOD\n");
    EXPECT_CONTAINS(buf_text(&program), "title 'router'");
    EXPECT_CONTAINS(buf_text(&program), "set output 'p.png'");
    EXPECT(!draws("latency", text));
    EXPECT_INT(program.len, 0);
    buf_fini(&program);
}

TEST(rates_are_those_of_all_and_of_a_file_without_processes_of_each_row)
{
    EXPECT(draws("delivered",
                 SLICE("process,time,delivered\nhttp1,1,5\nall,1,8\n")));
    EXPECT_CONTAINS(buf_text(&program), "EOD\n0.000 8\nEOD\n");
    EXPECT(draws("delivered", SLICE("time,received,lost\n1,5,0\n2,6,0\n")));
    EXPECT_CONTAINS(buf_text(&program), "EOD\n0.000 5\n1.000 6\nEOD\n");
    EXPECT_CONTAINS(buf_text(&program), "title 'lost'");
    buf_fini(&program);
}

TEST(a_logarithm_has_no_zeros_and_nothing_is_no_chart)
{
    EXPECT(draws("latency", SLICE("time,p50_us\n1,0\n2,1500\n")));
    EXPECT_CONTAINS(buf_text(&program), "EOD\n1.000 1.5\nEOD\n");
    EXPECT(!draws("latency", SLICE("time,p50_us\n1,0\n2,\n3,x\n4\n\n")));
    EXPECT_INT(program.len, 0);
    buf_fini(&program);
}

TEST(names_cannot_become_commands)
{
    EXPECT(draws("memory", SLICE("time,process,private\n1,a'`b\",5\n")));
    EXPECT_CONTAINS(buf_text(&program), "title 'a??b?'");
    buf_reset(&program);
    EXPECT(chart_program(&program, named("cpu"), SLICE("time,cpu\n1,2\n"),
                         "it's.png"));
    EXPECT_CONTAINS(buf_text(&program), "set output 'it''s.png'");
    buf_fini(&program);
}

TEST(what_is_no_measurement_is_said)
{
    EXPECT_CONTAINS(chart_problem(SLICE("")), "time");
    EXPECT_CONTAINS(chart_problem(SLICE("a,b\n1,2\n")), "time");
    EXPECT_CONTAINS(chart_problem(SLICE("time,b\n1,2\n")), "none");
    EXPECT_CONTAINS(chart_problem(SLICE("time,cpu\n")), "no rows");
}
