/* The verbs and their options: each is described, everywhere. */
#include "tools/router-ctl/ctl.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/t/t.h"

static char said[65536]; /* standard output and error of the last run */

/* Runs router-ctl with these words, which NULL ends. */
static int run(const char *const *words)
{
    int file = open(test_path("said"), O_CREAT | O_TRUNC | O_RDWR, 0600);
    int keep1 = dup(1), keep2 = dup(2), n = 0, code;
    char *argv[16];
    ssize_t len;

    argv[n++] = (char *)(uintptr_t)"router-ctl";
    while (*words)
        argv[n++] = (char *)(uintptr_t)*words++;
    argv[n] = NULL;
    fflush(stdout);
    dup2(file, 1);
    dup2(file, 2);
    code = ctl_run(n, argv);
    fflush(stdout);
    dup2(keep1, 1);
    dup2(keep2, 2);
    close(keep1);
    close(keep2);
    len = pread(file, said, sizeof said - 1, 0);
    close(file);
    EXPECT(len >= 0);
    said[len] = '\0';
    return code;
}

#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

static const char *const option_names[] = {
#define FLAG(name, help) #name,
#define TEXT(name, value, help) #name,
#define NAMED(field, name, value, help) name,
    CTL_OPTIONS(FLAG, TEXT, NAMED)
#undef FLAG
#undef TEXT
#undef NAMED
};

TEST(every_verb_has_help_and_an_example_of_itself)
{
    EXPECT_INT(RUN("help"), EXIT_DONE);
    for (size_t i = 0; i < verb_count; i++)
        EXPECT_CONTAINS(said, verbs[i].name);
    for (size_t i = 0; i < verb_count; i++) {
        EXPECT_INT(RUN("help", verbs[i].name), EXIT_DONE);
        EXPECT_INT(RUN(verbs[i].name, "--help"), EXIT_DONE);
        EXPECT_CONTAINS(said, "for example:");
        EXPECT_CONTAINS(verbs[i].example, "router-ctl ");
        EXPECT_CONTAINS(verbs[i].example, verbs[i].name);
    }
}

TEST(every_verb_and_option_is_in_the_manual_and_is_completed)
{
    size_t len;
    char *manual = test_read_file("docs/man/router-ctl.1", &len);
    char *completion = test_read_file("tools/router-ctl/completion.bash",
                                      &len);

    for (size_t i = 0; i < verb_count; i++) {
        EXPECT_CONTAINS(manual, verbs[i].name);
        EXPECT_CONTAINS(completion, verbs[i].name);
        if (verbs[i].alias) {
            EXPECT_CONTAINS(manual, verbs[i].alias);
            EXPECT_CONTAINS(completion, verbs[i].alias);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(option_names); i++) {
        char option[40];

        snprintf(option, sizeof option, "--%s", option_names[i]);
        EXPECT_CONTAINS(completion, option);
        snprintf(option, sizeof option, "\\-\\-%s", option_names[i]);
        EXPECT_CONTAINS(manual, option);
    }
    free(manual);
    free(completion);
}

TEST(wrong_usage_says_what_would_be_right)
{
    EXPECT_INT(RUN("--json"), EXIT_USAGE);
    EXPECT_INT(RUN("sendd", "a", "b"), EXIT_USAGE);
    EXPECT_INT(RUN("publsh", "a", "b"), EXIT_USAGE);
    EXPECT_CONTAINS(said, "did you mean publish?");
    EXPECT_INT(RUN("publish", "a"), EXIT_USAGE);
    EXPECT_CONTAINS(said, "usage: router-ctl publish CHANNEL TEXT|-");
    EXPECT_INT(RUN("gateways", "a"), EXIT_USAGE);
    EXPECT_INT(RUN("publish", "a", "b", "--since", "0"), EXIT_USAGE);
    EXPECT_CONTAINS(said, "publish takes no --since");
    EXPECT_INT(RUN("help", "nothing"), EXIT_USAGE);
    EXPECT_INT(RUN("publsh", "--help"), EXIT_USAGE);
    EXPECT_CONTAINS(said, "did you mean publish?");
    EXPECT_INT(RUN("replay", "x.json", "--speed", "fast"), EXIT_USAGE);
    EXPECT_INT(RUN("replay", "x.json", "--speed", "-1"), EXIT_USAGE);
    EXPECT_INT(RUN("replay", "x.json", "--speed", "nan"), EXIT_USAGE);
}

TEST(without_a_router_the_places_looked_at_are_named)
{
    EXPECT_INT(chdir(test_dir()), 0);
    unsetenv("TOUCHLINE_ROUTER");
    EXPECT_INT(RUN("gateways"), EXIT_NO_ROUTER);
    EXPECT_CONTAINS(said, "$TOUCHLINE_ROUTER");
    EXPECT_CONTAINS(said, "./var");
    EXPECT_CONTAINS(said, "/run/touchline");
    EXPECT_CONTAINS(said, "touchline --dir");
    EXPECT_INT(RUN("--dir", "elsewhere", "gateways"), EXIT_NO_ROUTER);
    EXPECT_CONTAINS(said, "--dir elsewhere");
    EXPECT(!strstr(said, "/run/touchline"));
    setenv("TOUCHLINE_ROUTER", "there", 1);
    EXPECT_INT(RUN("gateways"), EXIT_NO_ROUTER);
    EXPECT_CONTAINS(said, "$TOUCHLINE_ROUTER there");
}

TEST(a_status_without_a_router_is_down)
{
    EXPECT_INT(RUN("--dir", test_dir(), "status"), EXIT_NO_ROUTER);
    EXPECT_INT(strncmp(said, "DOWN: ", 6), 0);
    EXPECT_INT(RUN("--dir", test_dir(), "status", "--json"), EXIT_NO_ROUTER);
    EXPECT_CONTAINS(said, "\"state\":\"DOWN\"");
}

TEST(a_file_that_cannot_be_played_is_told_before_a_router_is_looked_for)
{
    EXPECT_INT(RUN("replay", test_path("none.json")), EXIT_NOT_FOUND);
    test_write_file(test_path("bad.json"), SLICE("{]"));
    EXPECT_INT(RUN("replay", test_path("bad.json")), EXIT_FAILED);
    EXPECT_CONTAINS(said, "not JSON");
    test_write_file(test_path("few.json"), SLICE(
        "{\"matches\":[{\"team1\":\"A\",\"team2\":\"B\"}]}"));
    EXPECT_INT(RUN("replay", test_path("few.json"), "--match", "2"),
               EXIT_NOT_FOUND);
    EXPECT_INT(RUN("replay", test_path("few.json"), "--match", "x"),
               EXIT_USAGE);
    EXPECT_INT(RUN("replay", test_path("few.json")), EXIT_FAILED);
    EXPECT_CONTAINS(said, "has no date");
    EXPECT_INT(RUN("replay", test_path("few.json"), "--date", "tomorrow"),
               EXIT_USAGE);
}

TEST(twins_are_refused)
{
    test_write_file(test_path("twins.json"), SLICE(
        "{\"matches\":[{\"team1\":\"A\",\"team2\":\"B\",\"date\":"
        "\"2020-01-01\"},{\"team1\":\"A\",\"team2\":\"B\",\"date\":"
        "\"2020-01-01\"}]}"));
    EXPECT_INT(RUN("replay", test_path("twins.json")), EXIT_REFUSED);
    EXPECT_CONTAINS(said, "matches 1 and 2 are both a-b-2020-01-01");
}
