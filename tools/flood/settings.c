#include "tools/flood/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum setting {
#define SETTING(name, ...) SETTING_##name,
#include "tools/flood/settings.def"
#undef SETTING
    SETTINGS
};

static const struct opt_row rows[SETTINGS] = {
#define SETTING(name, kind, preset, choice, least, most, v, text)           \
    { .section = "flood", .key = #name, .type = OPT_##kind,                 \
      .offset = offsetof(struct settings, name), .def = preset,             \
      .words = choice, .min = least, .max = most, .help = text },
#include "tools/flood/settings.def"
#undef SETTING
};

static const char *const value_names[SETTINGS] = {
#define SETTING(name, kind, preset, choice, least, most, v, text) v,
#include "tools/flood/settings.def"
#undef SETTING
};

static const char more[] =
    "\nEXAMPLES\n"
    "  touchline-flood --connections 10K --hold 60\n"
    "  touchline-flood --edge telnet --connections 100K --in-flight 32K\n"
    "  touchline-flood --edge tcp --connections 20K --script 'delay(1000, 0.1)'\n"
    "  touchline-flood --ids news --connections 10K --publish 20 --csv run.csv\n"
    "man touchline-flood has them for other servers, too.\n";

/* "in-flight" for in_flight */
static char *option_name(const char *key)
{
    char *name = strdup(key);

    for (char *at = name; at && (at = strchr(at, '_'));)
        *at = '-';
    return name;
}

static int put(struct settings *s, enum setting i, const char *name,
               const char *text)
{
    char where[40];
    struct opt_assign a = { .where = where, .section = SLICE("flood"),
                            .key = slice_str(rows[i].key),
                            .value = slice_str(text) };
    struct opt_error err;

    snprintf(where, sizeof where, "--%s", name);
    if (opt_put(&rows[i], s, &a, &err) == 0)
        return 0;
    fprintf(stderr, "touchline-flood: %s\n", err.text);
    return EXIT_USAGE;
}

/* Its own options: the settings, then the flags. */
enum { FLAG_RESET = SETTINGS, FLAG_QUIET, TEXT_SERVE, OPTIONS };

static void list_options(struct settings *s, struct cli_option *o,
                         const char **texts)
{
    for (size_t i = 0; i < SETTINGS; i++)
        o[i] = (struct cli_option){ option_name(rows[i].key), value_names[i],
                                    rows[i].help, NULL, &texts[i] };
    o[FLAG_RESET] = (struct cli_option){ "reset", NULL,
        "close with a reset, which leaves no port waiting", &s->reset, NULL };
    o[FLAG_QUIET] = (struct cli_option){ "quiet", NULL,
        "say nothing while it runs", &s->quiet, NULL };
    o[TEXT_SERVE] = (struct cli_option){ "serve", "ADDRESS:PORT",
        "be a bare server instead, the limit to compare with", NULL,
        &s->serve };
}

static int parse(struct settings *s, struct cli *cli, int argc, char **argv)
{
    static struct cli_option options[OPTIONS];
    const char *texts[SETTINGS] = { NULL };
    int code;

    list_options(s, options, texts);
    cli->options = options;
    cli->option_count = OPTIONS;
    code = cli_parse(cli, argc, argv);
    for (size_t i = 0; i < SETTINGS && code < 0; i++)
        if (texts[i] && put(s, (enum setting)i, options[i].name, texts[i]))
            code = EXIT_USAGE;
    for (size_t i = 0; i < SETTINGS; i++)
        free((void *)(uintptr_t)options[i].name);
    if (code < 0 && cli->arg_count)
        code = cli_usage_error(cli, "'%s' is no option", cli->args[0]);
    return code;
}

int settings_init(struct settings *s, struct cli *cli, int argc, char **argv)
{
    *s = (struct settings){ .reset = false };
    *cli = (struct cli){ .binary = "touchline-flood",
                         .about = "Opens very many connections, counts what "
                                  "comes, and how long it takes.",
                         .more = more };
    for (size_t i = 0; i < SETTINGS; i++)
        if (opt_put_default(&rows[i], s) < 0) {
            fprintf(stderr, "touchline-flood: out of memory\n");
            return EXIT_FAILED;
        }
    return parse(s, cli, argc, argv);
}

void settings_fini(struct settings *s, struct cli *cli)
{
    for (size_t i = 0; i < SETTINGS; i++)
        opt_clear(&rows[i], s);
    cli_fini(cli);
}
