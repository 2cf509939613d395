#include "proto/report.h"

#include "base/err.h"
#include "tests/t/t.h"

static void expect_json(const struct buf *report, const char *want)
{
    struct buf out = BUF_INIT;

    EXPECT_OK(report_to_json(&out, buf_slice(report)));
    EXPECT_STR(buf_text(&out), want);
    buf_fini(&out);
}

TEST(rows_become_an_array_of_objects)
{
    struct buf b = BUF_INIT;

    report_row(&b);
    report_text(&b, "name", SLICE("http1"));
    report_number(&b, "seats", 42);
    report_bool(&b, "up", true);
    report_row_end(&b);
    report_row(&b);
    report_bool(&b, "up", false);
    report_row_end(&b);
    expect_json(&b, "[{\"name\":\"http1\",\"seats\":42,\"up\":true},"
                    "{\"up\":false}]");
    buf_fini(&b);
}

TEST(parts_become_an_object_of_arrays)
{
    struct buf b = BUF_INIT;

    report_part(&b, "gateways");
    report_row(&b);
    report_number(&b, "n", UINT64_MAX);
    report_row_end(&b);
    report_part(&b, "empty");
    expect_json(&b, "{\"gateways\":[{\"n\":18446744073709551615}],"
                    "\"empty\":[]}");
    buf_fini(&b);
}

TEST(nothing_is_an_empty_array)
{
    struct buf b = BUF_INIT;

    expect_json(&b, "[]");
}

TEST(texts_of_strangers_are_escaped)
{
    struct buf b = BUF_INIT;

    report_row(&b);
    report_text(&b, "quote\"", SLICE("a\"b\\\n\x01"));
    report_row_end(&b);
    expect_json(&b, "[{\"quote\\\"\":\"a\\\"b\\\\\\n\\u0001\"}]");
    buf_fini(&b);
}

TEST(events_come_back_as_they_were_written)
{
    struct buf b = BUF_INIT;
    struct report_field f;
    enum report_event e;
    struct cursor c;

    report_part(&b, "title");
    report_row(&b);
    report_number(&b, "n", 7);
    report_row_end(&b);
    c = cursor_init(buf_slice(&b));
    EXPECT_OK(report_next(&c, &e, &f));
    EXPECT_INT(e, REPORT_PART);
    EXPECT_SLICE(f.key, SLICE("title"));
    EXPECT_OK(report_next(&c, &e, &f));
    EXPECT_INT(e, REPORT_ROW);
    EXPECT_OK(report_next(&c, &e, &f));
    EXPECT_INT(e, REPORT_FIELD);
    EXPECT_INT(f.kind, REPORT_NUMBER);
    EXPECT_SLICE(f.key, SLICE("n"));
    EXPECT_INT(f.number, 7);
    EXPECT_OK(report_next(&c, &e, &f));
    EXPECT_INT(e, REPORT_ROW_END);
    EXPECT_OK(report_next(&c, &e, &f));
    EXPECT_INT(e, REPORT_END);
    buf_fini(&b);
}

TEST(what_is_out_of_place_is_refused_and_nothing_is_written)
{
    static const struct slice wrong[] = {
        SLICE_INIT("\0"),                     /* an end without a row */
        SLICE_INIT("\x01"),                   /* a row without an end */
        SLICE_INIT("\x01\x01"),               /* a row in a row */
        SLICE_INIT("\x05\x01k\x01"),          /* a field outside */
        SLICE_INIT("\x01\x02\x01t"),          /* a part in a row */
        SLICE_INIT("\x01\0\x02\x01t"),        /* a part behind a bare row */
        SLICE_INIT("\x01\x05\x01k\x02\0"),    /* no bool */
        SLICE_INIT("\x01\x03\x01k\x02\0"),    /* half a number */
        SLICE_INIT("\x01\x04\x01k\xff\xff\xff\xff\0"), /* a text too long */
        SLICE_INIT("\x01\x04\x09k"),          /* half a key */
        SLICE_INIT("\x06"),                   /* no tag */
    };

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct buf out = BUF_INIT;

        buf_add_str(&out, "before");
        EXPECT_ERR(report_to_json(&out, wrong[i]), ERR_FRAME);
        EXPECT_STR(buf_text(&out), "before");
        buf_fini(&out);
    }
}

TEST(without_memory_nothing_is_written)
{
    struct buf b = BUF_INIT;

    report_row(&b);
    report_text(&b, "key", SLICE("a value of some length, to be copied"));
    report_row_end(&b);
    for (long n = 0;; n++) {
        struct buf out = BUF_INIT;
        int rc;

        test_fail_malloc_after(n);
        rc = report_to_json(&out, buf_slice(&b));
        if (!test_malloc_failed()) {
            EXPECT_OK(rc);
            buf_fini(&out);
            break;
        }
        EXPECT_ERR(rc, ERR_NOMEM);
        EXPECT_INT(out.len, 0);
        buf_fini(&out);
    }
    buf_fini(&b);
}

TEST(a_figure_is_found_by_its_name)
{
    struct stat_sample s = {STAT_GAUGE, "here", NULL, "help", 3};
    struct buf b = BUF_INIT;

    report_row(&b);
    report_sample(&b, &(struct stat_sample){STAT_GAUGE, "there", NULL, "", 2});
    report_row_end(&b);
    report_row(&b); /* one that has no value */
    report_text(&b, "name", SLICE("here"));
    report_row_end(&b);
    report_row(&b);
    report_sample(&b, &s);
    report_row_end(&b);
    EXPECT_INT(report_figure(buf_slice(&b), SLICE("here")), 3);
    EXPECT_INT(report_figure(buf_slice(&b), SLICE("her")), 0);
    EXPECT_INT(report_figure(slice_head(buf_slice(&b), b.len - 2),
                             SLICE("here")), 0);
    EXPECT_INT(report_figure(SLICE(""), SLICE("here")), 0);
    buf_fini(&b);
}
