#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "tests/t/t.h"

static const char *begin(enum log_level level)
{
    const char *path = test_path("log");

    clock_fake(1000 * SECOND, INT64_C(1315921731007)); /* 2011-09-13 */
    EXPECT_OK(log_init("http1", level, path));
    return path;
}

/* All that is in the file now; valid until the next call. */
static const char *written(void)
{
    static char *text;
    size_t len;

    free(text);
    text = test_read_file(test_path("log"), &len);
    return text;
}

static unsigned lines(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

TEST(a_line_has_time_level_process_event_and_words)
{
    begin(LOG_INFO);
    log_warn("conn.slow", "conn=%s queued=%d", "http1/42.7", 1048576);
    EXPECT_STR(written(), "2011-09-13T13:48:51.007Z warn http1 conn.slow "
                          "conn=http1/42.7 queued=1048576\n");
}

TEST(an_event_without_words_is_a_line_too)
{
    begin(LOG_INFO);
    log_info("router.up", "%s", "");
    EXPECT_STR(written(), "2011-09-13T13:48:51.007Z info http1 router.up\n");
}

TEST(what_is_below_the_level_is_not_written)
{
    begin(LOG_WARN);
    log_info("a", "x=%d", 1);
    log_debug("a", "x=%d", 1);
    log_error("b", "x=%d", 1);
    EXPECT_INT(lines(written()), 1);
    log_set_level(LOG_DEBUG);
    log_debug("a", "x=%d", 1);
    EXPECT_INT(lines(written()), 2);
    EXPECT(log_enabled(LOG_INFO));
}

TEST(no_argument_can_begin_a_line_of_its_own)
{
    const char *text;

    begin(LOG_INFO);
    log_info("http.bad", "host=%s", "a\nerror forged\r\x1b[31m\x7f");
    text = written();
    EXPECT_INT(lines(text), 1);
    EXPECT_CONTAINS(text, "host=a\\x0Aerror forged\\x0D\\x1B[31m\\x7F\n");
}

TEST(a_flood_of_one_event_is_counted_not_written)
{
    const char *text;

    begin(LOG_INFO);
    for (int i = 0; i < 1000; i++)
        log_warn("conn.slow", "n=%d", i);
    log_warn("conn.other", "n=%d", 1);
    EXPECT_INT(lines(written()), LOG_PER_SECOND + 1);
    clock_fake_advance(1 * SECOND);
    log_warn("conn.slow", "n=%d", 1000);
    text = written();
    EXPECT_INT(lines(text), LOG_PER_SECOND + 2);
    EXPECT_CONTAINS(text, "conn.slow suppressed=980 n=1000\n");
    clock_fake_advance(1 * SECOND);
    log_warn("conn.slow", "n=%d", 1001);
    EXPECT_CONTAINS(written(), "conn.slow n=1001\n");
}

/* How often the event came, as its figure says; 0: none. */
static uint64_t counted(const char *event)
{
    struct log_label label;
    struct stat_sample s;
    char want[96];
    size_t at = 0;

    snprintf(want, sizeof want, "event=\"%s\"", event);
    while (log_next_count(&at, &s, &label))
        if (strcmp(s.label, want) == 0)
            return s.value;
    return 0;
}

TEST(events_are_counted_whether_or_not_their_lines_are_written)
{
    begin(LOG_ERROR);
    for (int i = 0; i < 1000; i++)
        log_error("conn.slow", "n=%d", i);
    log_warn("proxy.header", "below=%d", 1);
    log_debug("conn.drop", "debug=%d", 1);
    EXPECT_INT(counted("conn.slow"), 1000);
    EXPECT_INT(counted("proxy.header"), 1);
    EXPECT_INT(counted("conn.drop"), 0);
}

TEST(more_events_than_places_count_as_other)
{
    static char names[LOG_EVENTS + 10][8];

    begin(LOG_INFO);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(names[i], sizeof names[i], "e.%zu", i);
        log_warn(names[i], "i=%zu", i);
        log_warn(names[i], "i=%zu", i);
    }
    EXPECT_INT(counted("e.0"), 2);
    EXPECT_INT(counted("e.255"), 2);
    EXPECT_INT(counted("other"), 20);
}

TEST(the_newest_warnings_are_kept_escaped_and_cut)
{
    struct log_warning w;
    char most[2 * LOG_WORDS];
    uint64_t after = 0;

    begin(LOG_INFO);
    log_info("a.fact", "n=1");
    EXPECT(!log_next_warning(&after, &w));
    for (int i = 1; i <= LOG_WARNINGS + 3; i++)
        log_warn("conn.slow", "n=%d", i);
    EXPECT(log_next_warning(&after, &w));
    EXPECT_INT(w.number, 4);
    EXPECT_STR(w.words, "n=4");
    EXPECT_STR(w.event, "conn.slow");
    EXPECT_INT(w.level, LOG_WARN);
    EXPECT(w.ts_ms > 0);
    for (int i = 5; i <= LOG_WARNINGS + 3; i++)
        EXPECT(log_next_warning(&after, &w));
    EXPECT_INT(w.number, LOG_WARNINGS + 3);
    EXPECT(!log_next_warning(&after, &w));
    memset(most, 'x', sizeof most - 1);
    most[sizeof most - 1] = '\0';
    log_error("disk.gone", "\n%s", most);
    EXPECT(log_next_warning(&after, &w));
    EXPECT_INT(w.level, LOG_ERROR);
    EXPECT_INT(strlen(w.words), LOG_WORDS);
    EXPECT(strncmp(w.words, "\\x0Axxx", 7) == 0);
    log_set_level(LOG_ERROR); /* what has no line is not kept */
    log_warn("conn.slow", "n=0");
    EXPECT(!log_next_warning(&after, &w));
}

TEST(debugging_is_not_limited)
{
    begin(LOG_DEBUG);
    for (int i = 0; i < 200; i++)
        log_debug("x", "n=%d", i);
    EXPECT_INT(lines(written()), 200);
}

TEST(a_line_of_any_length_is_one_line)
{
    static char long_text[3 * LOG_LINE_MAX];
    const char *text;

    begin(LOG_INFO);
    memset(long_text, 'a', sizeof long_text - 1);
    log_info("long", "text=%s", long_text);
    memset(long_text, '\n', sizeof long_text - 1);
    log_info("long", "text=%s", long_text);
    text = written();
    EXPECT_INT(lines(text), 2);
    EXPECT(strlen(text) <= 2 * LOG_LINE_MAX);
}

TEST(after_reopening_the_log_goes_to_a_new_file)
{
    const char *path = begin(LOG_INFO);

    log_info("one", "%s", "");
    EXPECT_OK(rename(path, test_path("log.1")));
    log_info("two", "%s", "");
    EXPECT_OK(log_reopen());
    log_info("three", "%s", "");
    EXPECT_INT(lines(written()), 1);
    EXPECT_CONTAINS(written(), "three");
}

TEST(a_file_that_cannot_be_opened_changes_nothing)
{
    begin(LOG_INFO);
    EXPECT_ERR(log_init("x", LOG_DEBUG, "/nonexistent/log"), ERR_IO);
    log_info("one", "%s", "");
    EXPECT_CONTAINS(written(), " http1 one");
}

TEST(quoted_text_is_printable_and_bounded)
{
    struct buf { char bytes[1000]; } big;
    struct log_text t;

    EXPECT_STR(log_quote(SLICE("a\"b\\c\n\xff\0z")).text,
               "\"a\\\"b\\\\c\\x0A\\xFF\\x00z\"");
    EXPECT_STR(log_quote(slice_make(NULL, 0)).text, "\"\"");
    memset(&big, 0xff, sizeof big);
    t = log_quote(slice_make(&big, sizeof big));
    EXPECT(strlen(t.text) < sizeof t.text);
    EXPECT_STR(t.text + strlen(t.text) - 4, "...\"");
}
