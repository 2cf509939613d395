/* Rooms: who is here, what is said of it and when, the last messages. */
#include <stdio.h>

#include "base/err.h"
#include "proto/json.h"
#include "stage.h"

#define R "room/lobby"
#define AT(seconds) ((int64_t)((seconds) * 1e9))

/* A stage and its clock; said holds the notices of the newest tick. */
struct hall {
    struct stage *stage;
    struct types *types;
    struct buf said;
    struct buf noted; /* in all */
};

static struct hall hall_open(void)
{
    struct hall h = { .stage = stage_new() };

    h.types = h.stage->types;
    return h;
}

static void hall_close(struct hall *h)
{
    buf_fini(&h->said);
    buf_fini(&h->noted);
    stage_free(h->stage);
}

static void come(struct hall *h, const char *name, int64_t now)
{
    EXPECT_OK(types_joined(h->types, SLICE(R), slice_str(name), now));
}

static void go(struct hall *h, const char *name, int64_t now)
{
    types_left(h->types, SLICE(R), slice_str(name), now);
}

static void hear(void *ctx, const struct msg_parts *m)
{
    struct buf *said = &((struct hall *)ctx)->said;

    EXPECT(m->flags & MSG_NOTICE);
    EXPECT_INT(m->format, MSG_JSON);
    EXPECT_OK(json_check(m->data, 8, NULL));
    if (said->len)
        buf_add_byte(said, ' ');
    buf_addf(said, SLICE_FMT " " SLICE_FMT " " SLICE_FMT, SLICE_ARG(m->id),
             SLICE_ARG(m->kind), SLICE_ARG(m->data));
}

/* "+ana -bob": who is known to be there, and not any more. */
static void note(void *ctx, struct slice id, struct slice name, bool here)
{
    struct hall *h = ctx;

    UNUSED(id);
    buf_addf(&h->noted, "%s%c" SLICE_FMT, h->noted.len ? " " : "",
             here ? '+' : '-', SLICE_ARG(name));
}

static const char *tick(struct hall *h, int64_t now)
{
    buf_reset(&h->said);
    types_tick(h->types, now,
               &(struct types_ears){hear, note, h});
    return buf_text(&h->said);
}

static const char *snapshot(struct hall *h)
{
    if (types_snapshot(h->types, SLICE(R), &h->said) == ERR_AGAIN)
        types_filled(h->types, SLICE(R));
    return stage_snapshot(h->stage, R);
}

static void say(struct hall *h, const char *text)
{
    struct msg_parts in = { .format = MSG_TEXT, .id = SLICE(R),
                            .from = SLICE("ana"), .ts_ms = 5,
                            .data = slice_str(text) };

    EXPECT_OK(stage_judge_parts(h->stage, &in));
    stage_commit_all(h->stage);
}

/* ---- who is here ------------------------------------------------------ */

TEST(a_lone_join_is_said_at_once)
{
    struct hall h = hall_open();

    EXPECT_INT(types_due_ns(h.types), INT64_MAX);
    come(&h, "ana", AT(1));
    EXPECT(types_due_ns(h.types) <= AT(1));
    EXPECT_STR(tick(&h, AT(1)), R " join {\"count\":1,\"present\":1,"
               "\"names\":[\"ana\"]}");
    EXPECT_STR(tick(&h, AT(1.5)), "");
    hall_close(&h);
}

TEST(joins_of_one_second_are_said_together)
{
    struct hall h = hall_open();

    come(&h, "ana", AT(1));
    tick(&h, AT(1));
    come(&h, "bob", AT(1.1));
    come(&h, "cy", AT(1.9));
    EXPECT_INT(types_due_ns(h.types), AT(2));
    EXPECT_STR(tick(&h, AT(1.99)), "");
    EXPECT_STR(tick(&h, AT(2)), R " join {\"count\":2,\"present\":3,"
               "\"names\":[\"bob\",\"cy\"]}");
    hall_close(&h);
}

TEST(a_second_connection_of_a_name_is_no_news)
{
    struct hall h = hall_open();

    come(&h, "ana", AT(1));
    tick(&h, AT(1));
    come(&h, "ana", AT(3));
    EXPECT_STR(tick(&h, AT(3)), "");
    EXPECT_STR(snapshot(&h), "{\"count\":2,\"names\":[{\"name\":\"ana\","
               "\"connections\":2}],\"messages\":[]}");
    go(&h, "ana", AT(4));
    EXPECT_STR(tick(&h, AT(60)), "");
    EXPECT_CONTAINS(snapshot(&h), "\"connections\":1");
    hall_close(&h);
}

TEST(a_leave_is_said_ten_seconds_after_the_last_connection)
{
    struct hall h = hall_open();

    come(&h, "ana", AT(0));
    come(&h, "bob", AT(0));
    tick(&h, AT(0));
    go(&h, "bob", AT(5));
    EXPECT_STR(tick(&h, AT(5)), "");
    EXPECT_CONTAINS(snapshot(&h), "{\"name\":\"bob\",\"connections\":0}");
    EXPECT_INT(types_due_ns(h.types), AT(15));
    EXPECT_STR(tick(&h, AT(14.9)), "");
    EXPECT_STR(tick(&h, AT(15)), R " leave {\"count\":1,\"present\":1,"
               "\"names\":[\"bob\"]}");
    EXPECT(!strstr(snapshot(&h), "bob"));
    hall_close(&h);
}

TEST(who_comes_back_has_not_been_away)
{
    struct hall h = hall_open();

    come(&h, "ana", AT(0));
    tick(&h, AT(0));
    for (int i = 1; i < 10; i++) { /* a client that polls */
        go(&h, "ana", AT(9 * i));
        EXPECT_STR(tick(&h, AT(9 * i)), "");
        EXPECT_STR(tick(&h, AT(9 * i + 8)), "");
        come(&h, "ana", AT(9 * i + 8));
        EXPECT_STR(tick(&h, AT(9 * i + 8)), "");
    }
    EXPECT_STR(tick(&h, AT(500)), "");
    hall_close(&h);
}

TEST(who_comes_back_while_his_leave_waits_to_be_said_has_not_left)
{
    struct hall h = hall_open();

    come(&h, "ana", AT(0));
    come(&h, "bob", AT(0));
    tick(&h, AT(0));
    go(&h, "ana", AT(1));
    go(&h, "bob", AT(1.5));
    EXPECT_CONTAINS(tick(&h, AT(11)), "\"ana\"");
    EXPECT_STR(tick(&h, AT(11.5)), ""); /* bob's leave waits */
    come(&h, "bob", AT(11.6));
    EXPECT_STR(tick(&h, AT(12)), "");
    EXPECT_STR(tick(&h, AT(13)), "");
    hall_close(&h);
}

TEST(who_went_before_anybody_knew_is_not_mentioned)
{
    struct hall h = hall_open();

    come(&h, "ana", AT(0));
    go(&h, "ana", AT(0));
    EXPECT_STR(tick(&h, AT(30)), "");
    EXPECT_STR(tick(&h, AT(60)), "");
    EXPECT_INT(types_due_ns(h.types), INT64_MAX);
    hall_close(&h);
}

TEST(joins_and_leaves_share_the_second)
{
    struct hall h = hall_open();

    come(&h, "ana", AT(0));
    tick(&h, AT(0));
    go(&h, "ana", AT(1));
    tick(&h, AT(5));
    come(&h, "bob", AT(11));
    EXPECT_CONTAINS(tick(&h, AT(11)), "join {\"count\":1,\"present\":1,"
                    "\"names\":[\"bob\"]}");
    EXPECT_STR(tick(&h, AT(11.9)), "");
    EXPECT_STR(tick(&h, AT(12)), R " leave {\"count\":1,\"present\":1,"
               "\"names\":[\"ana\"]}");
    hall_close(&h);
}

TEST(a_notice_names_twenty_and_counts_all)
{
    struct hall h = hall_open();
    char name[16];

    for (int i = 0; i < 150; i++) {
        snprintf(name, sizeof name, "n%d", i);
        come(&h, name, AT(0));
    }
    EXPECT_CONTAINS(tick(&h, AT(0)), "{\"count\":150,\"present\":150,");
    EXPECT_CONTAINS(buf_text(&h.said), "\"n19\"]}");
    EXPECT_CONTAINS(snapshot(&h), "{\"name\":\"n99\",\"connections\":1}],");
    EXPECT_CONTAINS(snapshot(&h), "{\"count\":150,");
    EXPECT(!strstr(snapshot(&h), "n100"));
    hall_close(&h);
}

TEST(who_gives_no_name_is_anon)
{
    struct hall h = hall_open();

    come(&h, "", AT(0));
    come(&h, "", AT(0));
    EXPECT_CONTAINS(tick(&h, AT(0)), "\"names\":[\"anon\"]");
    EXPECT_CONTAINS(snapshot(&h), "{\"name\":\"anon\",\"connections\":2}");
    hall_close(&h);
}

TEST(whoever_is_announced_is_noted_until_his_leave_is_said)
{
    struct hall h = hall_open();
    char name[8];

    for (int i = 0; i < 25; i++) {
        snprintf(name, sizeof name, "n%d", i);
        come(&h, name, AT(0));
    }
    EXPECT_INT(h.noted.len, 0);
    tick(&h, AT(0));
    EXPECT_CONTAINS(buf_text(&h.noted), "+n0 +n1 ");
    EXPECT_CONTAINS(buf_text(&h.noted), " +n24");
    buf_reset(&h.noted);
    come(&h, "n3", AT(5));
    go(&h, "n3", AT(6));
    go(&h, "n4", AT(6));
    come(&h, "short", AT(6));
    go(&h, "short", AT(6));
    tick(&h, AT(15.9));
    EXPECT_STR(buf_text(&h.noted), "+short");
    tick(&h, AT(17));
    EXPECT_STR(buf_text(&h.noted), "+short -n4 -short");
    hall_close(&h);
}

TEST(after_a_restart_those_who_are_known_are_not_announced)
{
    struct hall h = hall_open();

    EXPECT_OK(types_known(h.types, SLICE(R), SLICE("ana"), AT(0)));
    EXPECT_OK(types_known(h.types, SLICE(R), SLICE("bob"), AT(0)));
    EXPECT_OK(types_known(h.types, SLICE(R), SLICE("bob"), AT(0)));
    EXPECT_STR(tick(&h, AT(1)), "");
    EXPECT_CONTAINS(snapshot(&h), "\"ana\"");
    come(&h, "ana", AT(9));
    come(&h, "cy", AT(9));
    EXPECT_CONTAINS(tick(&h, AT(9)), "join {\"count\":1,\"present\":2,"
                    "\"names\":[\"cy\"]}");
    EXPECT_CONTAINS(tick(&h, AT(10)), "leave {\"count\":1,\"present\":2,"
                    "\"names\":[\"bob\"]}");
    go(&h, "ana", AT(12));
    EXPECT_STR(tick(&h, AT(21.9)), "");
    EXPECT_CONTAINS(tick(&h, AT(22)), "leave {\"count\":1,\"present\":1,");
    EXPECT_STR(buf_text(&h.noted), "+cy -bob -ana");
    hall_close(&h);
}

TEST(rooms_do_not_wait_for_each_other)
{
    struct hall h = hall_open();

    come(&h, "ana", AT(0));
    tick(&h, AT(0));
    EXPECT_OK(types_joined(h.types, SLICE("room/b"), SLICE("bob"), AT(0.5)));
    come(&h, "cy", AT(0.5));
    EXPECT_STR(tick(&h, AT(0.5)), "room/b join {\"count\":1,\"present\":1,"
               "\"names\":[\"bob\"]}");
    EXPECT_INT(types_due_ns(h.types), AT(1));
    EXPECT_CONTAINS(tick(&h, AT(1.5)), "\"cy\"");
    hall_close(&h);
}

/* ---- the last messages ------------------------------------------------ */

TEST(a_newcomer_gets_the_last_fifty)
{
    struct hall h = hall_open();
    char text[16];

    snapshot(&h);
    for (int i = 1; i <= 60; i++) {
        snprintf(text, sizeof text, "say %d", i);
        say(&h, text);
    }
    EXPECT_CONTAINS(snapshot(&h), "\"messages\":[{\"channel\":\"" R "\","
                    "\"epoch\":\"test\",\"seq\":11,\"offset\":11,\"ts\":5,"
                    "\"from\":\"ana\",\"data\":\"say 11\"},");
    EXPECT_CONTAINS(snapshot(&h), "\"data\":\"say 60\"}]}");
    EXPECT(!strstr(snapshot(&h), "\"say 10\""));
    hall_close(&h);
}

static void fill(struct hall *h, uint64_t offset)
{
    char text[32];
    struct msg_parts m = { .format = MSG_TEXT, .id = SLICE(R), .seq = offset,
                           .offset = offset };

    snprintf(text, sizeof text, "old %d", (int)offset);
    m.data = slice_str(text);
    types_fill(h->types, &m);
}

TEST(what_is_not_in_memory_is_asked_for)
{
    struct hall h = hall_open();

    say(&h, "one");
    say(&h, "two");
    EXPECT_ERR(types_snapshot(h.types, SLICE(R), &h.said), ERR_AGAIN);
    EXPECT_INT(h.said.len, 0);
    say(&h, "three"); /* while the store is being read */
    fill(&h, 1);
    fill(&h, 2);
    fill(&h, 3); /* it was read, too */
    types_filled(h.types, SLICE(R));
    EXPECT_CONTAINS(stage_snapshot(h.stage, R), "\"data\":\"old 1\"},{");
    EXPECT_CONTAINS(stage_snapshot(h.stage, R), "\"data\":\"old 2\"},{");
    EXPECT_CONTAINS(stage_snapshot(h.stage, R), "\"data\":\"three\"}]}");
    EXPECT(!strstr(stage_snapshot(h.stage, R), "old 3"));
    say(&h, "four");
    EXPECT_CONTAINS(stage_snapshot(h.stage, R), "\"data\":\"four\"}]}");
    hall_close(&h);
}

TEST(filling_twice_changes_nothing)
{
    struct hall h = hall_open();
    char want[4096];

    EXPECT_ERR(types_snapshot(h.types, SLICE(R), &h.said), ERR_AGAIN);
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 1; i <= 5; i++)
            fill(&h, i);
        types_filled(h.types, SLICE(R));
        if (round == 0)
            snprintf(want, sizeof want, "%s", stage_snapshot(h.stage, R));
    }
    EXPECT_STR(stage_snapshot(h.stage, R), want);
    hall_close(&h);
}

TEST(rooms_that_nobody_asks_about_make_room_for_others)
{
    struct hall h = hall_open(); /* a mebibyte for all messages */
    struct msg_parts in = { .format = MSG_TEXT };
    static char large[60000];
    char id[32];

    memset(large, 'x', sizeof large);
    in.data = slice_make(large, sizeof large);
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof id, "room/r%d", i);
        in.id = slice_str(id);
        EXPECT_ERR(types_snapshot(h.types, in.id, &h.said), ERR_AGAIN);
        types_filled(h.types, in.id);
        EXPECT_OK(stage_judge_parts(h.stage, &in));
        stage_commit_all(h.stage);
    }
    EXPECT_CONTAINS(stage_snapshot(h.stage, "room/r39"), "xxx");
    EXPECT_CONTAINS(stage_snapshot(h.stage, "room/r30"), "xxx");
    buf_reset(&h.said);
    EXPECT_ERR(types_snapshot(h.types, SLICE("room/r0"), &h.said), ERR_AGAIN);
    hall_close(&h);
}

TEST(names_that_strangers_make_up_are_forgotten)
{
    struct hall h = hall_open();
    char id[32];

    for (int i = 0; i < 20000; i++) {
        snprintf(id, sizeof id, "room/r%d", i);
        EXPECT_ERR(types_snapshot(h.types, slice_str(id), &h.said),
                   ERR_AGAIN);
        types_filled(h.types, slice_str(id));
    }
    EXPECT_CONTAINS(stage_snapshot(h.stage, id), "\"messages\":[]");
    EXPECT_ERR(types_snapshot(h.types, SLICE("room/r0"), &h.said), ERR_AGAIN);
    hall_close(&h);
}

TEST(one_room_keeps_no_more_than_its_share)
{
    struct hall h = hall_open();
    static char large[65000];

    memset(large, 'x', sizeof large - 1);
    snapshot(&h);
    for (int i = 0; i < 40; i++)
        say(&h, large);
    EXPECT(strlen(snapshot(&h)) <= 1 << 20);
    EXPECT_CONTAINS(snapshot(&h), "\"offset\":40,");
    hall_close(&h);
}

TEST(random_comings_and_goings_are_told_without_contradiction)
{
    static const char *const names[] = { "a", "b", "c", "d", "" };
    struct hall h = hall_open();
    int here[5] = { 0 };
    int64_t now = 0;

    for (int i = 0; i < 5000; i++) {
        size_t n = test_random() % 5;

        now += (int64_t)(test_random() % 4000) * 1000000;
        if (test_random() % 2) {
            come(&h, names[n], now);
            here[n]++;
        } else if (here[n]) {
            go(&h, names[n], now);
            here[n]--;
        }
        tick(&h, now);
    }
    for (size_t n = 0; n < 5; n++)
        for (; here[n]; here[n]--)
            go(&h, names[n], now);
    for (int i = 0; i < 5; i++)
        tick(&h, now + AT(20 + i));
    EXPECT_INT(types_due_ns(h.types), INT64_MAX);
    EXPECT_STR(snapshot(&h), "{\"count\":0,\"names\":[],\"messages\":[]}");
    hall_close(&h);
}
