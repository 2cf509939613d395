#include "tests/chaos/event.h"

#include "proto/json.h"
#include "tests/chaos/payload.h"
#include "tests/chaos/told.h"
#include "tests/t/t.h"

#define GAME SLICE("match/h3-v3-2026-06-01")

static const char *const words[] = {
    "create", "start", "v.goal", "h.card.7.yellow", "h.card.7.yellow",
    "v.card.2.red", "h.substitution.11.40", "halftime_start", "retract.3",
};

/* A message with this event, as an edge tells it. */
static void tell(const char *word, struct buf *text, struct told *t)
{
    static struct buf json;
    struct slice kind, data;

    buf_reset(text);
    payload_write(text, 1, 2, GAME, slice_str(word), 90);
    buf_reset(&json);
    event_write(&json, GAME, slice_str(word), buf_slice(text));
    EXPECT_OK(json_find(buf_slice(&json), "kind", &kind));
    EXPECT_OK(json_find(buf_slice(&json), "data", &data));
    *t = (struct told){ .type = TOLD_MESSAGE, .typed = true,
                        .kind = told_plain(kind), .data = data };
}

TEST(what_an_event_says_is_read_from_kind_and_data)
{
    char word[EVENT_WORD_MAX + 1];
    struct buf text = BUF_INIT;
    struct payload p;
    struct told t;

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        tell(words[i], &text, &t);
        event_read(t.kind, t.data, word);
        EXPECT_STR(word, words[i]);
        told_payload(&t, &p);
        EXPECT(p.hash == payload_hash(buf_slice(&text)));
        EXPECT_SLICE(p.event, slice_str(words[i]));
    }
    event_read(SLICE("card"), SLICE("{\"team\":\"v3\",\"player\":{\"9\":\"\"},"
                                    "\"card\":\"red\"}"), word);
    EXPECT_STR(word, "v.card.9.red");
    buf_fini(&text);
}

TEST(an_event_that_was_changed_is_another)
{
    struct buf text = BUF_INIT;
    struct payload p;
    struct told t;

    tell("v.goal", &text, &t);
    t.kind = SLICE("shot");
    told_payload(&t, &p);
    EXPECT(p.hash != payload_hash(buf_slice(&text)));
    buf_fini(&text);
}

TEST(a_state_follows_from_its_events)
{
    char word[STATE_WORD_MAX + 1];
    struct standing s = { .there = false };

    standing_word(&s, word);
    EXPECT_STR(word, "-");
    for (uint32_t i = 0; i < ARRAY_LEN(words); i++)
        standing_fold(&s, slice_str(words[i]), 5, i + 1);
    standing_word(&s, word);
    EXPECT_STR(word, "halftime:0:1:5.1:1000000077e:ffa");
}

TEST(a_state_is_read_from_json_and_from_telnet)
{
    char word[STATE_WORD_MAX + 1];

    event_state(SLICE("{\"home\":\"h3\",\"home_players\":{\"1\":\"\","
                      "\"4\":\"\"},\"home_score\":2,\"visit_score\":10,"
                      "\"period\":\"last\",\"comment\":\"tl 5 6 x status "
                      "abc\"}"), word);
    EXPECT_STR(word, "last:2:10:5.6:12:0");
    event_state(SLICE(" home=\"h3\" home_players={\"1\":\"\"} home_score=2 "
                      "visit_score=10 period=\"first\" "
                      "comment=\"tl 5 6 x status abc\""), word);
    EXPECT_STR(word, "first:2:10:5.6:2:0");
    event_state(SLICE("null"), word);
    EXPECT_STR(word, "-");
}
