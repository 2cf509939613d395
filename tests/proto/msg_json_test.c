/* A message as clients see it. */
#include "proto/json.h"
#include "proto/base64.h"
#include "proto/msg_json.h"
#include "tests/t/t.h"

static const char *shown(struct buf *b, const struct msg_parts *m)
{
    struct epoch epoch = { "k3" };

    buf_reset(b);
    msg_json_write(b, &epoch, m);
    EXPECT_OK(json_check(buf_slice(b), JSON_DEPTH_MAX, NULL));
    return buf_text(b);
}

TEST(text_is_a_string_and_what_is_absent_is_left_out)
{
    struct buf b = BUF_INIT;
    struct msg_parts m = { .format = MSG_TEXT, .seq = 9, .offset = 2,
                           .ts_ms = 1000, .id = SLICE("user/ana"),
                           .data = SLICE("he said \"hi\"\n") };

    EXPECT_STR(shown(&b, &m),
               "{\"channel\":\"user/ana\",\"epoch\":\"k3\",\"seq\":9,"
               "\"offset\":2,\"ts\":1000,"
               "\"data\":\"he said \\\"hi\\\"\\n\"}");
    m.from = SLICE("bob");
    m.kind = SLICE("goal");
    m.key = SLICE("k");
    m.data = SLICE("");
    EXPECT_STR(shown(&b, &m),
               "{\"channel\":\"user/ana\",\"epoch\":\"k3\",\"seq\":9,"
               "\"offset\":2,\"ts\":1000,\"from\":\"bob\",\"kind\":\"goal\","
               "\"key\":\"k\",\"data\":\"\"}");
    buf_fini(&b);
}

TEST(a_clock_that_stands_before_1970_is_told_as_it_is)
{
    struct buf b = BUF_INIT;
    struct msg_parts m = { .format = MSG_TEXT, .ts_ms = -1500 };

    EXPECT_CONTAINS(shown(&b, &m), ",\"ts\":-1500,");
    m.ts_ms = INT64_MIN;
    EXPECT_CONTAINS(shown(&b, &m), ",\"ts\":-9223372036854775808,");
    buf_fini(&b);
}

TEST(json_stays_as_it_was_sent_but_in_one_line)
{
    struct buf b = BUF_INIT;
    struct msg_parts m = { .format = MSG_JSON, .id = SLICE("x"),
                           .data = SLICE("{\"n\":\r\n1.50e+00}") };

    EXPECT_CONTAINS(shown(&b, &m), "\"data\":{\"n\":  1.50e+00}}");
    buf_fini(&b);
}

TEST(bytes_travel_in_base64)
{
    static const struct {
        struct slice bytes;
        const char *want;
    } cases[] = {
        { SLICE_INIT(""), "" },
        { SLICE_INIT("f"), "Zg==" },
        { SLICE_INIT("fo"), "Zm8=" },
        { SLICE_INIT("foo"), "Zm9v" },
        { SLICE_INIT("foob"), "Zm9vYg==" },
        { SLICE_INIT("\xff\xfe\xfb\x00"), "//77AA==" },
    };
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_reset(&b);
        base64_add(&b, cases[i].bytes);
        EXPECT_STR(buf_text(&b), cases[i].want);
    }
    buf_reset(&b);
    msg_json_write_data(&b, MSG_BYTES, SLICE("\xff"));
    EXPECT_STR(buf_text(&b), "{\"base64\":\"/w==\"}");
    buf_fini(&b);
}
