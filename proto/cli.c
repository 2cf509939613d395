#include "proto/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "proto/listen.h"
#include "proto/reload.h"
#include "proto/sheet.h"

enum common { HELP, VERSION, CONFIG, CHECK_ONLY, PRINT_CONFIG, SET, DIR };

/* In the order of enum common. */
static const struct cli_option common[] = {
    { "help", NULL, "this text", NULL, NULL },
    { "version", NULL, "name and version", NULL, NULL },
    { "config", "FILE", "read options from FILE", NULL, NULL },
    { "check", NULL, "look whether it could start, and exit", NULL, NULL },
    { "print-config", NULL, "every option, its value and meaning", NULL, NULL },
    { "set", "SECTION.KEY=VALUE", "override one option; may be repeated", NULL,
      NULL },
    { "dir", "DIR", "database, sockets, logs live there (./var)", NULL, NULL },
};

/* What parsing has found besides the results. */
struct wishes {
    bool help, version, print_config, no_memory;
};

static uint64_t number_in(const char *variable)
{
    const char *text = getenv(variable);
    uint64_t n;

    return text && slice_parse_u64(slice_str(text), &n) == 0 ? n : 0;
}

bool cli_supervised(void)
{
    return getenv(CLI_RESTARTS) != NULL;
}

uint64_t cli_restarts(void)
{
    return number_in(CLI_RESTARTS);
}

uint64_t cli_mute_restarts(void)
{
    return number_in(CLI_MUTE_RESTARTS);
}

int cli_usage_error(const struct cli *c, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", c->binary);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\ntry: %s --help\n", c->binary);
    return EXIT_USAGE;
}

static void print_option(const struct cli_option *o)
{
    char left[48];

    snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "",
             o->value ? o->value : "");
    printf("  %-26s %s\n", left, o->help);
}

static void print_help(const struct cli *c)
{
    size_t count = c->general_count ? c->general_count : c->option_count;

    printf("usage: %s [OPTION]...%s%s\n%s\n\n", c->binary, c->usage ? " " : "",
           c->usage ? c->usage : "", c->about);
    for (size_t i = 0; i < count; i++)
        print_option(&c->options[i]);
    for (size_t i = 0; i < ARRAY_LEN(common); i++)
        print_option(&common[i]);
    if (c->more)
        printf("\n%s", c->more);
}

static const char *nth_option(const void *ctx, size_t i)
{
    const struct cli *c = ctx;

    if (i < c->option_count)
        return c->options[i].name;
    i -= c->option_count;
    return i < ARRAY_LEN(common) ? common[i].name : NULL;
}

static const struct cli_option *find_option(const struct cli *c,
                                            struct slice name)
{
    for (size_t i = 0; i < c->option_count; i++)
        if (slice_eq(slice_str(c->options[i].name), name))
            return &c->options[i];
    for (size_t i = 0; i < ARRAY_LEN(common); i++)
        if (slice_eq(slice_str(common[i].name), name))
            return &common[i];
    return NULL;
}

/* The argument is kept here. What is secret of it does not stay where ps(1)
 * shows it to everybody; who starts others gives it to them, and they do the
 * same. */
static void keep_set(struct cli *c, char *given, struct wishes *w)
{
    size_t end = strcspn(given, "=");
    struct slice key = slice_trim(slice_make(given, end));
    char *copy = strdup(given);

    if (!copy) {
        w->no_memory = true;
        return;
    }
    c->sets[c->set_count++] = copy;
    if (given[end] && slice_ends(key, SLICE(".secret")))
        memset(given + end + 1, '*', strlen(given + end + 1));
}

static void take_common(struct cli *c, enum common which, char *value,
                        struct wishes *w)
{
    switch (which) {
    case HELP:
        w->help = true;
        break;
    case VERSION:
        w->version = true;
        break;
    case CONFIG:
        c->config_file = value;
        break;
    case CHECK_ONLY:
        c->check = true;
        break;
    case PRINT_CONFIG:
        w->print_config = true;
        break;
    case SET:
        keep_set(c, value, w);
        break;
    case DIR:
        c->dir = value;
        break;
    }
}

static void take_option(struct cli *c, const struct cli_option *o,
                        char *value, struct wishes *w)
{
    if (o >= common && o < common + ARRAY_LEN(common))
        take_common(c, (enum common)(o - common), value, w);
    if (o->flag)
        *o->flag = true;
    if (o->text)
        *o->text = value;
}

/* The option at argv[*i], and its value there or behind; moves *i. */
static int parse_option(struct cli *c, int argc, char **argv, int *i,
                        struct wishes *w)
{
    char *given = argv[*i] + 2, *value = NULL;
    struct slice rest = slice_str(given), name = slice_split(&rest, '=');
    const struct cli_option *o = find_option(c, name);

    if (!o) {
        const char *near = opt_nearest(name, nth_option, c);

        return cli_usage_error(c, "unknown option --" SLICE_FMT "%s%s%s",
                               SLICE_ARG(name), near ? "; did you mean --" : "",
                               near ? near : "", near ? "?" : "");
    }
    if (rest.ptr)
        value = given + name.len + 1;
    if (!o->value && value)
        return cli_usage_error(c, "--%s takes no value", o->name);
    if (o->value && !value) {
        if (*i + 1 >= argc)
            return cli_usage_error(c, "--%s needs %s", o->name, o->value);
        value = argv[++*i];
    }
    take_option(c, o, value, w);
    return 0;
}

/* A dash alone is an argument: standard input. */
static bool is_option(const char *arg)
{
    return arg[0] == '-' && arg[1] != '\0';
}

static int parse_all(struct cli *c, int argc, char **argv, struct wishes *w)
{
    int kept = 1;

    for (int i = 1; i < argc; i++) {
        int rc = 0;

        if (strcmp(argv[i], "--") == 0) {
            while (++i < argc)
                argv[kept++] = argv[i];
        } else if (strcmp(argv[i], "-h") == 0) {
            w->help = true;
        } else if (strncmp(argv[i], "--", 2) == 0) {
            rc = parse_option(c, argc, argv, &i, w);
        } else if (is_option(argv[i])) {
            rc = cli_usage_error(c, "unknown option %s", argv[i]);
        } else {
            argv[kept++] = argv[i];
        }
        if (rc)
            return rc;
    }
    c->args = argv + 1;
    c->arg_count = kept - 1;
    return 0;
}

static int load_text(const struct cli *c, const struct slice *text,
                     const char *dir, struct config **ret,
                     struct opt_error *err)
{
    struct config_source from = { .file = text ? c->config_file : NULL,
                                  .text = text, .sets = c->sets,
                                  .set_count = c->set_count, .dir = dir };

    return config_load(ret, &from, err);
}

int cli_load_again(const struct cli *c, struct slice text, struct config **ret,
                   struct opt_error *err)
{
    /* Where a relative one starts cannot be asked in a cage. */
    return load_text(c, c->config_file ? &text : NULL, c->config->dir, ret,
                     err);
}

static int load_file(struct cli *c, struct opt_error *err)
{
    int rc = c->config_file ? opt_slurp(c->config_file, &c->text, err) : 0;

    return rc < 0 ? rc
                  : load_text(c, c->config_file ? &c->text : NULL, c->dir,
                              &c->config, err);
}

/* As one that has been there since the first edition and heard of the next. */
static int adopt(struct cli *c, struct slice text, struct opt_error *err)
{
    struct config *next;
    int rc = cli_load_again(c, text, &next, err);

    if (rc < 0)
        return rc;
    rc = config_adopt(next, c->config, true, NULL, NULL, err);
    if (rc < 0) {
        config_free(next);
        return rc;
    }
    config_free(c->config);
    c->config = next;
    return 0;
}

static int load_sheet(struct cli *c, struct opt_error *err)
{
    struct sheet_text t;
    int rc = sheet_read(c->sheet, &t);

    if (rc < 0) {
        opt_error_set(err, "the configuration handed over: %s", err_text(rc));
        return rc;
    }
    rc = load_text(c, c->config_file ? &t.first : NULL, c->dir, &c->config,
                   err);
    if (rc == 0 && t.now.ptr)
        rc = adopt(c, t.now, err);
    c->edition = t.edition;
    c->refused = t.refused;
    opt_forget(&t.first);
    opt_forget(&t.now);
    return rc;
}

static int load(struct cli *c)
{
    struct opt_error err;
    int rc;

    c->sheet = listen_handed(SHEET_NAME);
    rc = c->sheet >= 0 ? load_sheet(c, &err) : load_file(c, &err);
    if (!c->keeps_text)
        opt_forget(&c->text);
    if (rc == 0)
        return 0;
    if (rc == ERR_BAD)
        return cli_usage_error(c, "%s", err.text);
    fprintf(stderr, "%s: %s\n", c->binary, err.text);
    return EXIT_FAILED;
}

static int print_config(const struct cli *c)
{
    struct buf text = BUF_INIT;
    bool done;

    config_print(&text, c->config);
    done = !text.failed && fwrite(text.ptr, 1, text.len, stdout) == text.len
           && fflush(stdout) == 0;
    buf_fini(&text);
    return done ? EXIT_DONE : EXIT_FAILED;
}

int cli_parse(struct cli *c, int argc, char **argv)
{
    struct wishes w = { 0 };
    int rc;

    c->sets = calloc((size_t)argc + 1, sizeof *c->sets);
    if (!c->sets)
        return EXIT_FAILED;
    rc = parse_all(c, argc, argv, &w);
    if (w.no_memory)
        return EXIT_FAILED;
    if (rc == 0 && w.help) {
        if (c->help_about && c->arg_count)
            return c->help_about(c, c->args[0]);
        print_help(c);
        return EXIT_DONE;
    }
    if (rc == 0 && w.version) {
        printf("%s %s\n", c->binary, TOUCHLINE_VERSION);
        return EXIT_DONE;
    }
    if (rc == 0 && !c->usage && c->arg_count)
        rc = cli_usage_error(c, "unexpected argument %s", c->args[0]);
    if (rc == 0)
        rc = load(c);
    if (rc == 0 && w.print_config)
        return print_config(c);
    return rc ? rc : -1;
}

void cli_fini(struct cli *c)
{
    config_free(c->config);
    c->config = NULL;
    opt_forget(&c->text);
    for (size_t i = 0; i < c->set_count; i++)
        free((char *)(uintptr_t)c->sets[i]);
    free(c->sets);
    c->sets = NULL;
    c->set_count = 0;
}
