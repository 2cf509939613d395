/* Dates as people write them. */
#include "base/err.h"
#include "router/types/when.h"
#include "tests/t/t.h"

static const char *normal(const char *text)
{
    static char out[WHEN_TEXT_MAX + 1];
    char date[WHEN_DATE];
    int64_t ms;

    EXPECT_OK(when_parse(slice_str(text), &ms, date));
    EXPECT_SLICE(slice_make(date, WHEN_DATE),
                 slice_head(slice_str(text), WHEN_DATE));
    out[when_format(ms, out)] = 0;
    return out;
}

TEST(every_form_becomes_an_instant_in_utc)
{
    EXPECT_STR(normal("2011-09-13"), "2011-09-13T00:00:00Z");
    EXPECT_STR(normal("2011-09-13T20:45:00Z"), "2011-09-13T20:45:00Z");
    EXPECT_STR(normal("2011-09-13t20:45:00z"), "2011-09-13T20:45:00Z");
    EXPECT_STR(normal("2011-09-13 20:45:00+00:00"), "2011-09-13T20:45:00Z");
    EXPECT_STR(normal("2011-09-13T20:45:00-03:30"), "2011-09-14T00:15:00Z");
    EXPECT_STR(normal("2011-01-01T00:15:00+02:00"), "2010-12-31T22:15:00Z");
    EXPECT_STR(normal("2011-09-13T20:45:00.5Z"), "2011-09-13T20:45:00.500Z");
    EXPECT_STR(normal("2011-09-13T20:45:00.0409999Z"),
               "2011-09-13T20:45:00.040Z");
    EXPECT_STR(normal("2016-12-31T23:59:60Z"), "2017-01-01T00:00:00Z");
    EXPECT_STR(normal("2000-02-29"), "2000-02-29T00:00:00Z");
    EXPECT_STR(normal("0001-01-01"), "0001-01-01T00:00:00Z");
    EXPECT_STR(normal("1969-12-31T23:59:59.999Z"),
               "1969-12-31T23:59:59.999Z");
    EXPECT_STR(normal("9999-12-31T23:59:59Z"), "9999-12-31T23:59:59Z");
}

TEST(known_instants_have_their_numbers)
{
    char date[WHEN_DATE];
    int64_t ms;

    EXPECT_OK(when_parse(SLICE("1970-01-01"), &ms, date));
    EXPECT_INT(ms, 0);
    EXPECT_OK(when_parse(SLICE("2022-12-18T18:00:00+03:00"), &ms, date));
    EXPECT_INT(ms, INT64_C(1671375600000));
    EXPECT_OK(when_parse(SLICE("1969-12-31T23:59:59Z"), &ms, date));
    EXPECT_INT(ms, -1000);
}

TEST(what_is_no_date_is_refused)
{
    static const char *const bad[] = {
        "", "2011", "2011-9-13", "2011-09-13 ", " 2011-09-13", "2011-13-01",
        "2011-00-01", "2011-01-00", "2011-04-31", "2011-02-29", "1900-02-29",
        "0000-01-01", "20110913", "2011-09-13T", "2011-09-13T20:45",
        "2011-09-13T20:45:00", "2011-09-13T24:00:00Z", "2011-09-13T20:60:00Z",
        "2011-09-13T20:45:61Z", "2011-09-13T20:45:00.Z",
        "2011-09-13T20:45:00+3", "2011-09-13T20:45:00+24:00",
        "2011-09-13T20:45:00Zx", "+011-09-13", "2011-09-13X20:45:00Z",
        "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00",
    };
    char date[WHEN_DATE];
    int64_t ms;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (when_parse(slice_str(bad[i]), &ms, date) != ERR_BAD)
            test_fail(__FILE__, __LINE__, "accepted: %s", bad[i]);
    EXPECT(!when_in_range(INT64_MIN));
    EXPECT(!when_in_range(INT64_MAX));
    EXPECT(when_is_date(SLICE("2024-02-29")));
    EXPECT(!when_is_date(SLICE("2023-02-29")));
    EXPECT(!when_is_date(SLICE("2024-02-29T")));
}

TEST(every_day_of_four_centuries_goes_there_and_back)
{
    char text[WHEN_TEXT_MAX], date[WHEN_DATE], last[WHEN_DATE] = "";

    for (int64_t day = -146097; day < 146097; day++) {
        int64_t ms = 0;
        size_t n = when_format(day * 86400000, text);

        EXPECT_OK(when_parse(slice_make(text, n), &ms, date));
        EXPECT_INT(ms, day * 86400000);
        EXPECT(memcmp(last, date, WHEN_DATE) < 0);
        memcpy(last, date, WHEN_DATE);
    }
}
