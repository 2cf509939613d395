#include "tools/touchline/mute.h"

#include <stdio.h>

#include "tests/t/t.h"
#include "tools/touchline/plan.h"

enum { ROUTER, HTTP, WS, ALL };

/* A router and two gateways that run, as of now_ns. */
static struct member members[ALL];
static struct plan plan = {.members = members, .count = ALL};
static struct mutes rule = {.plan = &plan, .wait_ns = 5 * SECOND,
                            .after_ns = 30 * SECOND};
static int64_t now_ns = 1000 * SECOND;

static void start(void)
{
    static const char *const kinds[ALL] = {"router", "http", "ws"};

    for (int i = 0; i < ALL; i++) {
        members[i].kind = kinds[i];
        members[i].role = i == ROUTER ? MEMBER_ROUTER : MEMBER_GATEWAY;
        members[i].child.pid = 100 + i;
        members[i].child.ready = true;
    }
    rule.looked_ns = now_ns;
}

static void says(int who, unsigned ms)
{
    char line[32];

    snprintf(line, sizeof line, "%s=%u",
             who == ROUTER ? "X_STORE_MS" : "X_CANARY_MS", ms);
    mute_heard(&members[who], &rule, slice_str(line), now_ns);
}

/* A second goes by, in which all speak; who is to be started anew, or -1. */
static int second(unsigned store_ms, unsigned http_ms, unsigned ws_ms)
{
    struct member *m;

    now_ns += SECOND;
    if (members[ROUTER].child.pid)
        says(ROUTER, store_ms);
    says(HTTP, http_ms);
    if (members[WS].child.pid)
        says(WS, ws_ms);
    m = mute_look(&rule, now_ns);
    return m ? (int)(m - members) : -1;
}

/* The seconds until somebody is named, at most so many. */
static int until(int *who, int most, unsigned store_ms, unsigned http_ms,
                 unsigned ws_ms)
{
    for (int i = 0; i < most; i++)
        if ((*who = second(store_ms, http_ms, ws_ms)) >= 0)
            return i;
    *who = -1;
    return most;
}

TEST(when_all_gateways_are_mute_it_is_the_router)
{
    int who;

    start();
    EXPECT_INT(until(&who, 100, 0, 6000, 7000), 30);
    EXPECT_INT(who, ROUTER);
}

TEST(when_one_is_mute_and_another_is_not_it_is_that_gateway)
{
    int who;

    start();
    EXPECT_INT(until(&who, 100, 0, 0, 6000), 30);
    EXPECT_INT(who, WS);
}

TEST(a_router_that_stood_still_for_a_while_is_left_alone)
{
    start();
    EXPECT_INT(second(0, 0, 0), -1);
    for (int i = 0; i < 29; i++)
        EXPECT_INT(second(0, 6000, 6000), -1);
    EXPECT_INT(second(0, 0, 0), -1);
    for (int i = 0; i < 29; i++)
        EXPECT_INT(second(0, 6000, 6000), -1);
}

TEST(all_must_have_been_mute_for_so_long)
{
    int who;

    start();
    for (int i = 0; i < 20; i++)
        EXPECT_INT(second(0, 6000, 0), -1);
    EXPECT_INT(until(&who, 100, 0, 6000, 6000), 30);
    EXPECT_INT(who, ROUTER);
}

TEST(while_the_store_hangs_nobody_is_started_anew)
{
    int who;

    start();
    EXPECT_INT(until(&who, 1000, 6000, 6000, 6000), 1000);
    EXPECT_INT(until(&who, 100, 0, 6000, 6000), 30);
    EXPECT_INT(who, ROUTER);
}

TEST(what_is_done_in_vain_is_done_again_after_twice_the_time)
{
    int who;

    start();
    for (int i = 0; i < 9; i++) {
        int wait = 30 << (i < MUTE_DOUBLINGS ? i : MUTE_DOUBLINGS);

        EXPECT_INT(until(&who, 10000, 0, 6000, 6000), wait);
        EXPECT_INT(who, ROUTER);
    }
    /* For some minutes all is well; then it has been long enough. */
    EXPECT_INT(until(&who, 300, 0, 0, 0), 300);
    EXPECT_INT(until(&who, 10000, 0, 6000, 6000), 30 << MUTE_DOUBLINGS);
    EXPECT_INT(until(&who, 601, 0, 0, 0), 601);
    EXPECT_INT(until(&who, 10000, 0, 6000, 6000), 30);
}

TEST(a_lone_gateway_and_its_router_take_turns)
{
    int who;

    start();
    members[WS].child.pid = 0;
    EXPECT_INT(until(&who, 100, 0, 6000, 0), 30);
    EXPECT_INT(who, ROUTER);
    EXPECT_INT(until(&who, 100, 0, 6000, 0), 60);
    EXPECT_INT(who, HTTP);
    EXPECT_INT(until(&who, 1000, 0, 6000, 0), 120);
    EXPECT_INT(who, ROUTER);
}

/* Two repeaters, and who of members is behind which. */
static struct member repeaters[2] = {
    {.role = MEMBER_REPEATER, .child = {.pid = 200, .ready = true}},
    {.role = MEMBER_REPEATER, .child = {.pid = 201, .ready = true}},
};

static void start_behind(int http, int ws)
{
    start();
    members[HTTP].repeater = &repeaters[http];
    members[WS].repeater = &repeaters[ws];
}

/* Seconds until one is named, at most 1000. */
static int until_named(struct member **who, unsigned http_ms, unsigned ws_ms)
{
    for (int i = 0; i < 1000; i++) {
        now_ns += SECOND;
        says(ROUTER, 0);
        says(HTTP, http_ms);
        says(WS, ws_ms);
        *who = mute_look(&rule, now_ns);
        if (*who)
            return i;
    }
    return 1000;
}

TEST(a_repeater_takes_turns_with_the_router_when_all_are_behind_it)
{
    struct member *who;

    start_behind(0, 0);
    EXPECT_INT(until_named(&who, 6000, 6000), 30);
    EXPECT(who == &members[ROUTER]);
    EXPECT_INT(until_named(&who, 6000, 6000), 60);
    EXPECT(who == &repeaters[0]);
    EXPECT_INT(until_named(&who, 6000, 6000), 120);
    EXPECT(who == &members[ROUTER]);
}

TEST(behind_two_repeaters_all_are_mute_by_the_router_alone)
{
    struct member *who;

    start_behind(0, 1);
    for (int i = 0; i < 3; i++) {
        EXPECT_INT(until_named(&who, 6000, 6000), 30 << i);
        EXPECT(who == &members[ROUTER]);
    }
}

TEST(a_repeater_whose_gateways_are_mute_is_named_before_its_only_one)
{
    struct member *who;

    start_behind(0, 1);
    EXPECT_INT(until_named(&who, 0, 6000), 30);
    EXPECT(who == &repeaters[1]);
    EXPECT_INT(until_named(&who, 0, 6000), 60);
    EXPECT(who == &members[WS]);
    EXPECT_INT(until_named(&who, 0, 6000), 120);
    EXPECT(who == &repeaters[1]);
    EXPECT_INT(until_named(&who, 0, 0), 1000);
    EXPECT_INT(until_named(&who, 0, 6000), 30);
    EXPECT(who == &repeaters[1]);
}

TEST(one_of_several_behind_a_repeater_is_mute_by_itself)
{
    struct member *who;

    start_behind(0, 0);
    EXPECT_INT(until_named(&who, 0, 6000), 30);
    EXPECT(who == &members[WS]);
    EXPECT_INT(until_named(&who, 0, 6000), 60);
    EXPECT(who == &members[WS]);
}

TEST(a_router_that_starts_is_waited_for)
{
    int who;

    start();
    mute_ended(&members[ROUTER]);
    members[ROUTER].child.ready = false;
    EXPECT_INT(until(&who, 1000, 0, 6000, 6000), 1000);
    members[ROUTER].child.ready = true;
    EXPECT_INT(until(&who, 100, 0, 6000, 6000), 30);
}

TEST(a_router_that_has_fallen_silent_is_as_mute_as_its_gateways_say)
{
    int at = -1;

    start();
    EXPECT_INT(second(0, 0, 0), -1);
    for (int i = 0; i < 100 && at < 0; i++) {
        now_ns += SECOND;
        says(HTTP, 6000);
        says(WS, 6000);
        if (mute_look(&rule, now_ns) == &members[ROUTER])
            at = i;
    }
    EXPECT_INT(at, 30);
}

TEST(a_gateway_that_has_fallen_silent_is_started_anew)
{
    struct member *m = NULL;
    int at;

    start();
    EXPECT_INT(second(0, 0, 0), -1);
    for (at = 0; at < 100 && !m; at++) {
        now_ns += SECOND;
        says(ROUTER, 0);
        says(HTTP, 0);
        m = mute_look(&rule, now_ns);
    }
    EXPECT_INT(at, 34); /* three seconds are no silence */
    EXPECT(m == &members[WS]);
}

TEST(who_has_not_spoken_yet_or_is_about_to_end_is_not_judged)
{
    int who;

    start();
    members[WS].child.bowing_out = true;
    members[HTTP].child.told_ns = 1;
    EXPECT_INT(until(&who, 1000, 0, 6000, 6000), 1000);
}

TEST(a_supervisor_that_was_kept_from_looking_blames_nobody)
{
    int who;

    start();
    EXPECT_INT(until(&who, 25, 0, 6000, 6000), 25);
    now_ns += 60 * SECOND;
    EXPECT_INT(until(&who, 100, 0, 6000, 6000), 31);
}

TEST(nobody_is_started_anew_when_that_is_not_wanted)
{
    int who;

    start();
    rule.after_ns = 0;
    EXPECT_INT(until(&who, 1000, 0, 6000, 6000), 1000);
}

TEST(what_is_no_number_says_nothing)
{
    start();
    mute_heard(&members[HTTP], &rule, SLICE("X_CANARY_MS="), now_ns);
    mute_heard(&members[HTTP], &rule, SLICE("X_CANARY_MS=-1"), now_ns);
    mute_heard(&members[HTTP], &rule, SLICE("X_STORE_MS=9999"), now_ns);
    mute_heard(&members[ROUTER], &rule, SLICE("X_CANARY_MS=9999"), now_ns);
    for (int i = 0; i < ALL; i++)
        EXPECT_INT(members[i].mute.told_ns, 0);
}
