#include "tools/flood/template.h"

#include "base/err.h"
#include "tests/t/t.h"

static const struct template_values values = {
    .id = SLICE_INIT("room/a b"), .cursor = SLICE_INIT("e1-7"),
    .mark = SLICE_INIT("mark n=1 t=2"), .body = SLICE_INIT("hello"), .n = 42,
};

static void expect_filled(const char *text, bool in_url, const char *want)
{
    struct opt_error err = { "" };
    struct buf out = BUF_INIT;
    struct template t;

    if (template_init(&t, slice_str(text), in_url, &err) < 0)
        EXPECT_STR(err.text, "");
    template_fill(&t, &values, &out);
    EXPECT_STR(buf_text(&out), want);
    template_fini(&t);
    buf_fini(&out);
}

static void expect_bad(const char *text)
{
    struct opt_error err = { "" };
    struct template t;

    EXPECT_INT(template_init(&t, slice_str(text), false, &err), ERR_BAD);
    EXPECT(*err.text);
}

TEST(words_are_filled_in_and_all_else_stays)
{
    expect_filled("", false, "");
    expect_filled("{id}", false, "room/a b");
    expect_filled("PUB {id} {size}\\r\\n{body}\\r\\n", false,
                  "PUB room/a b 5\r\nhello\r\n");
    expect_filled("${idsize}\\r\\n{id}", false, "$8\r\nroom/a b");
    expect_filled("{n}{n}-{cursor} {mark}", false, "4242-e1-7 mark n=1 t=2");
}

TEST(braces_of_json_stay)
{
    expect_filled("{\"cmd\":\"subscribe\",\"channel\":\"{id}\"}", false,
                  "{\"cmd\":\"subscribe\",\"channel\":\"room/a b\"}");
    expect_filled("CONNECT {}\\r\\n{ID}{", false, "CONNECT {}\r\n{ID}{");
    expect_filled("{id", false, "{id");
}

TEST(in_a_url_what_is_filled_in_is_encoded)
{
    expect_filled("/test/{id}?a=\\x25", true, "/test/room/a%20b?a=%");
    expect_filled("/p?since={cursor}", true, "/p?since=e1-7");
}

TEST(a_word_or_escape_that_does_not_exist_is_said)
{
    expect_bad("{idd}");
    expect_bad("\\q");
    expect_bad("\\x1");
    expect_bad("\\");
}

TEST(who_asks_knows_what_is_in_it)
{
    struct opt_error err;
    struct template t;

    EXPECT_INT(template_init(&t, SLICE("a{cursor}b"), true, &err), 0);
    EXPECT(template_has(&t, TEMPLATE_cursor));
    EXPECT(!template_has(&t, TEMPLATE_id));
    template_fini(&t);
}
