#include "tools/flood/rules.h"

#include "tests/t/t.h"

static const struct rules json = {
    .ready = SLICE_INIT("{\"notice\":"), .notice = SLICE_INIT("{\"notice\":"),
    .gap = SLICE_INIT("{\"notice\":\"gap\""), .missed = SLICE_INIT("\"count\":"),
    .number = SLICE_INIT("\"offset\":"), .time = SLICE_INIT("\"ts\":"),
    .epoch = SLICE_INIT("\"epoch\":\""),
};

TEST(a_message_of_touchline)
{
    struct item i = rules_judge(&json, SLICE("{\"channel\":\"a\",\"epoch\":\"x1\","
        "\"seq\":9,\"offset\":4,\"ts\":1795229386335,\"data\":\"hello\"}"));
    struct item other = rules_judge(&json, SLICE("{\"epoch\":\"x2\",\"offset\":1,"
                                                 "\"ts\":5,\"data\":1}"));

    EXPECT(i.message && !i.ready && !i.refused);
    EXPECT_INT(i.number, 4);
    EXPECT_INT(i.t_us, 1795229386335000);
    EXPECT(i.epoch && other.epoch && i.epoch != other.epoch);
}

TEST(a_mark_is_more_exact_than_the_servers_time)
{
    struct item i = rules_judge(&json, SLICE("{\"offset\":4,\"ts\":1795229386335,"
        "\"data\":\"mark n=1 t=1795229386334567....\"}"));

    EXPECT_INT(i.number, 4);
    EXPECT_INT(i.t_us, 1795229386334567);
}

TEST(notices_are_no_messages)
{
    struct item i = rules_judge(&json, SLICE("{\"notice\":\"snapshot\","
        "\"channel\":\"m\",\"cursor\":\"x-5\",\"state\":{\"offset\":5}}"));

    EXPECT(i.ready && !i.message);
    i = rules_judge(&json, SLICE("{\"notice\":\"gap\",\"channel\":\"m\",\"from\":2,"
                                 "\"to\":8,\"count\":7,\"why\":\"slow\"}"));
    EXPECT(!i.message && i.gap);
    EXPECT_INT(i.missed, 7);
    i = rules_judge(&json, SLICE("{\"notice\":\"gap\",\"channel\":\"m\",\"count\":null}"));
    EXPECT(!i.message && i.gap);
    EXPECT_INT(i.missed, 0);
}

TEST(a_prefix_is_cut_and_what_has_none_is_nothing)
{
    struct rules sse = json;
    struct item i;

    sse.prefix = SLICE("data:");
    i = rules_judge(&sse, SLICE("data: {\"notice\":\"resumed\"}"));
    EXPECT(i.ready && !i.message);
    i = rules_judge(&sse, SLICE("id: {\"offset\":4}"));
    EXPECT(!i.ready && !i.message);
    i = rules_judge(&sse, SLICE("data: {\"offset\":4}"));
    EXPECT(i.message);
}

TEST(lines_of_others_are_messages_by_their_mark_or_text)
{
    const struct rules r = { .ready = SLICE_INIT("+OK"),
                             .refused = SLICE_INIT("-ERR"),
                             .message = SLICE_INIT("MSG ") };
    struct item i = rules_judge(&r, SLICE("xx mark n=3 t=17"));

    EXPECT(i.message);
    EXPECT_INT(i.number, 3);
    EXPECT_INT(i.t_us, 17);
    i = rules_judge(&r, SLICE("MSG a 1 5"));
    EXPECT(i.message);
    EXPECT_INT(i.number, 0);
    i = rules_judge(&r, SLICE("+OK"));
    EXPECT(i.ready && !i.message);
    i = rules_judge(&r, SLICE("-ERR MSG mark n=3 t=17"));
    EXPECT(i.refused && !i.message);
    i = rules_judge(&r, SLICE(""));
    EXPECT(!i.ready && !i.message && !i.refused);
}
