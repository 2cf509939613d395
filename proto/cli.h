/* cli.h - the command line that all binaries have in common.
 * Threads: start-up only. */
#ifndef PROTO_CLI_H
#define PROTO_CLI_H

#include "proto/config.h"

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NO_ROUTER = 3,
    EXIT_NOT_FOUND = 4,
    EXIT_REFUSED = 5,
};

/* An option of one binary: --name, or --name VALUE when value is given. */
struct cli_option {
    const char *name;   /* "json" */
    const char *value;  /* what to call it in the help, "URL"; NULL: a flag */
    const char *help;
    bool *flag;         /* set to true, or NULL */
    const char **text;  /* set to the value (of argv), or NULL */
};

struct cli {
    const char *binary;   /* "touchline-http" */
    const char *about;    /* what it is, one sentence */
    const char *usage;    /* what follows the options, "VERB ..."; or NULL */
    const char *more;     /* printed behind the options by --help; or NULL */
    /* What --help does beside an argument, "publish --help"; returns the code
     * to exit with. NULL: what it does alone. */
    int (*help_about)(const struct cli *c, const char *word);
    const struct cli_option *options; /* its own */
    size_t option_count;
    size_t general_count; /* --help alone names the first so many; 0: all */
    bool keeps_text; /* of the file: else it is wiped once it is understood */

    /* results */
    struct config *config; /* in force; cli_fini() frees it */
    struct slice text;     /* of config_file, for opt_forget() (opt.h) */
    int sheet;             /* it was handed over by the supervisor (sheet.h); -1 */
    uint64_t edition, refused; /* of the sheet */
    const char *config_file; /* as given, NULL without; of argv */
    const char *dir;         /* as given, NULL without; of argv */
    const char **sets;       /* as given; freed by cli_fini() */
    size_t set_count;
    bool check;              /* --check: look, say what is wrong, exit */
    char **args;             /* what is no option, in order; within argv */
    int arg_count;
};

/* Understands --help, --version, --config FILE, --check, --print-config,
 * --set SECTION.KEY=VALUE, --dir DIR and the binary's own, as --name VALUE or
 * --name=VALUE, before and behind other arguments; `--` ends the options.
 * Prints what is to be printed and returns the code to exit with; or returns
 * -1: go on, with the results filled in. Moves the elements of argv, and puts
 * stars over the secrets in it. */
MUST_USE int cli_parse(struct cli *c, int argc, char **argv);

/* Frees sets, text and config. */
void cli_fini(struct cli *c);

/* What the same command line makes of text, now in config_file: another
 * configuration, the caller's. As config_load(). */
MUST_USE int cli_load_again(const struct cli *c, struct slice text,
                            struct config **ret, struct opt_error *err);

/* What touchline tells the processes that it starts: how often it has started
 * this one again, in TOUCHLINE_RESTARTS. 0: not once, or somebody else did. */
#define CLI_RESTARTS "TOUCHLINE_RESTARTS"
uint64_t cli_restarts(void);
bool cli_supervised(void); /* by touchline, whatever has become of it */
/* And how many of these because it was mute. */
#define CLI_MUTE_RESTARTS "TOUCHLINE_MUTE_RESTARTS"
uint64_t cli_mute_restarts(void);

/* "touchline-http: <text>" and how to get help, on standard error; returns
 * EXIT_USAGE. */
PRINTF_LIKE(2, 3)
int cli_usage_error(const struct cli *c, const char *fmt, ...);

#endif
