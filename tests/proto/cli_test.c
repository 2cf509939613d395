#include "proto/cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/t/t.h"

static bool json;
static const char *router;
static const struct cli_option own[] = {
    { "json", NULL, "print JSON", &json, NULL },
    { "router", "URL", "the router", NULL, &router },
};
static struct cli cli;
static char *args[16];

/* Parses the words, which NULL ends, as arguments of a binary that takes
 * others besides options, or does not. Standard output and error are kept. */
static int parse(bool takes_more, const char *const *words)
{
    int out = open(test_path("out"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    int keep1 = dup(1), keep2 = dup(2), n = 0, rc;

    cli = (struct cli){ .binary = "touchline-test", .about = "Tests.",
                        .usage = takes_more ? "VERB" : NULL, .options = own,
                        .option_count = ARRAY_LEN(own) };
    args[n++] = (char *)(uintptr_t)"touchline-test";
    while (*words)
        args[n++] = (char *)(uintptr_t)*words++;
    args[n] = NULL;
    fflush(stdout);
    dup2(out, 1);
    dup2(out, 2);
    rc = cli_parse(&cli, n, args);
    fflush(stdout);
    dup2(keep1, 1);
    dup2(keep2, 2);
    close(out);
    close(keep1);
    close(keep2);
    return rc;
}

#define PARSE(...) parse(true, (const char *const[]){ __VA_ARGS__, NULL })

static char *said(void)
{
    size_t len;
    char *text = test_read_file(test_path("out"), &len);

    return text;
}

TEST(options_may_stand_before_and_behind_other_arguments)
{
    EXPECT_INT(PARSE("--json", "publish", "--router", "ipc:///x", "a b", "-",
                     "--set=limits.line=8K", "--dir", "/d", "--", "--json"),
               -1);
    EXPECT(json);
    EXPECT_STR(router, "ipc:///x");
    EXPECT_INT(cli.arg_count, 4);
    EXPECT_STR(cli.args[0], "publish");
    EXPECT_STR(cli.args[1], "a b");
    EXPECT_STR(cli.args[2], "-");
    EXPECT_STR(cli.args[3], "--json");
    EXPECT_INT(cli.config->limits.line, 8 * KIB);
    EXPECT_STR(cli.config->dir, "/d");
    EXPECT_STR(cli.dir, "/d");
    EXPECT_INT(cli.set_count, 1);
    EXPECT_STR(cli.sets[0], "limits.line=8K");
    EXPECT(!cli.check);
    cli_fini(&cli);
    cli_fini(&cli);
}

TEST(wrong_usage_is_said_and_exits_with_two)
{
    static const struct {
        const char *words[3], *error;
    } cases[] = {
        { { "--jsno" }, "unknown option --jsno; did you mean --json?" },
        { { "--router" }, "--router needs URL" },
        { { "--json=1" }, "--json takes no value" },
        { { "-x" }, "unknown option -x" },
        { { "--set", "http.lisen=x" }, "unknown key http.lisen; did you mean" },
        { { "--set", "http" }, "expected SECTION.KEY=VALUE" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text;

        EXPECT_INT(parse(true, cases[i].words), EXIT_USAGE);
        text = said();
        EXPECT_CONTAINS(text, cases[i].error);
        EXPECT_CONTAINS(text, "touchline-test: ");
        free(text);
        cli_fini(&cli);
    }
    EXPECT_INT(parse(false, (const char *const[]){ "verb", NULL }), EXIT_USAGE);
    cli_fini(&cli);
}

TEST(a_file_that_is_not_there_is_a_failure_not_wrong_usage)
{
    char *text;

    EXPECT_INT(PARSE("--config", "/nonexistent"), EXIT_FAILED);
    text = said();
    EXPECT_CONTAINS(text, "/nonexistent: No such file");
    free(text);
    cli_fini(&cli);
}

TEST(help_and_version_are_printed_whatever_the_configuration)
{
    char *text;

    EXPECT_INT(PARSE("--help", "--config", "/nonexistent"), EXIT_DONE);
    text = said();
    EXPECT_CONTAINS(text, "usage: touchline-test [OPTION]... VERB\nTests.\n");
    EXPECT_CONTAINS(text, "--router URL");
    EXPECT_CONTAINS(text, "--print-config");
    free(text);
    cli_fini(&cli);
    EXPECT_INT(PARSE("--version"), EXIT_DONE);
    text = said();
    EXPECT_STR(text, "touchline-test " TOUCHLINE_VERSION "\n");
    free(text);
    cli_fini(&cli);
}

TEST(print_config_prints_what_is_in_force)
{
    char *text;

    EXPECT_INT(PARSE("--set", "http.listen=unix:/x", "--print-config"),
               EXIT_DONE);
    text = said();
    EXPECT_CONTAINS(text, "\nlisten = unix:/x\n");
    free(text);
    cli_fini(&cli);
    EXPECT_INT(PARSE("--check"), -1);
    EXPECT(cli.check);
    cli_fini(&cli);
}

TEST(a_secret_does_not_stay_on_the_command_line)
{
    char one[] = "token gate.secret=0123456789abcdef";
    char spaced[] = "link.secret = 0123456789abcdef";
    char other[] = "--set=link.secret=fedcba9876543210";
    char plain[] = "limits.line=8K";

    if (PARSE("--set", one, "--set", spaced, other, "--set", plain) != -1)
        test_fail(__FILE__, __LINE__, "%s", said());
    EXPECT_STR(one, "token gate.secret=****************");
    EXPECT_STR(spaced, "link.secret =*****************");
    EXPECT_STR(other, "--set=link.secret=****************");
    EXPECT_STR(plain, "limits.line=8K");
    EXPECT_STR(cli.config->link.secret, "fedcba9876543210");
    EXPECT_STR(cli.sets[0], "token gate.secret=0123456789abcdef");
    cli_fini(&cli);
}
