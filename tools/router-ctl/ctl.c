#include "tools/router-ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

static const char about[] =
    "Talks to a running Touchline router: publish, subscribe, look, replay.";

/* ---- help -------------------------------------------------------------- */

static const char *const groups[VERB_GROUPS] = {
    [VERBS_TALK] = "say and hear",
    [VERBS_MATCH] = "matches",
    [VERBS_WATCH] = "look after it",
    [VERBS_MEASURE] = "measure",
    [VERBS_SELF] = "this program",
};

/* A verb in a line; full: how it is used, too. */
static void put_verb(struct buf *b, const struct verb *v, bool full)
{
    struct buf left = BUF_INIT;

    buf_addf(&left, "%s%s%s", v->name, full && *v->usage ? " " : "",
             full ? v->usage : "");
    buf_addf(b, "  %-*s %s%s%s%s\n", full ? 40 : 10, buf_text(&left), v->help,
             v->alias ? " (also " : "", v->alias ? v->alias : "",
             v->alias ? ")" : "");
    buf_fini(&left);
}

static void put_verbs(struct buf *b, bool full)
{
    for (int g = 0; g < VERB_GROUPS; g++) {
        buf_addf(b, "%s%s:\n", g ? "\n" : "", groups[g]);
        for (size_t i = 0; i < verb_count; i++)
            if (verbs[i].group == (enum verb_group)g)
                put_verb(b, &verbs[i], full);
    }
    if (full)
        buf_add_str(b, "\nrouter-ctl VERB --help shows the options of a verb, "
                    "and examples.\nexit codes: 0 done, 1 failed, 2 usage, 3 "
                    "no router reachable, 4 not found,\n5 refused\n");
}

/* Nothing was asked for: what there is, and how to begin. On standard error and
 * a failure all the same, for a script whose verb was empty. */
static int say_what_there_is(const struct ctl *c)
{
    struct buf b = BUF_INIT;

    buf_addf(&b, "%s\n\n", about);
    put_verbs(&b, false);
    buf_addf(&b, "\nfor example:\n"
             "  %s status\n"
             "  %s publish user/ana 'the bus is here'\n"
             "  %s tail 'room/*'\n"
             "\n%s VERB --help says more of each, --help of all.\n",
             c->cli.binary, c->cli.binary, c->cli.binary, c->cli.binary);
    fputs(buf_text(&b), stderr);
    buf_fini(&b);
    return EXIT_USAGE;
}

/* ---- options ----------------------------------------------------------- */

/* Its place in struct ctl_options. */
static const struct option {
    const char *name, *value, *help;
    size_t at;
} options[] = {
#define NAMED(field, name, value, help) \
    { name, value, help, offsetof(struct ctl_options, field) },
#define ROW(name, value, help) NAMED(name, #name, value, help)
#define FLAG(name, help) ROW(name, NULL, help)
    CTL_OPTIONS(FLAG, ROW, NAMED)
#undef FLAG
#undef ROW
#undef NAMED
};

enum { GENERAL_OPTIONS = 3 }; /* the first rows: every verb takes them */

static bool of_all(const struct option *o)
{
    return o < options + GENERAL_OPTIONS;
}

static bool is_given(const struct ctl *c, const struct option *o)
{
    const char *field = (const char *)&c->opt + o->at;

    if (!o->value)
        return *(const bool *)(const void *)field;
    return *(const char *const *)(const void *)field != NULL;
}

static bool takes(const struct verb *v, const struct option *o)
{
    struct slice rest = slice_str(v->options);

    while (rest.ptr)
        if (slice_eq(slice_split(&rest, ' '), slice_str(o->name)))
            return true;
    return false;
}

static void point_at(struct ctl *c, struct cli_option to[])
{
    char *base = (char *)&c->opt;

    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        void *field = base + options[i].at;

        to[i] = (struct cli_option){ .name = options[i].name,
                                     .value = options[i].value,
                                     .help = options[i].help };
        if (options[i].value)
            to[i].text = field;
        else
            to[i].flag = field;
    }
}

/* Which verbs do: "history, subscribe". */
static void put_takers(struct buf *b, const struct option *o)
{
    size_t before = b->len;

    for (size_t i = 0; i < verb_count; i++)
        if (takes(&verbs[i], o))
            buf_addf(b, "%s%s", b->len > before ? ", " : "", verbs[i].name);
}

const char *ctl_option(size_t i, const struct verb *v, bool *value)
{
    if (i >= ARRAY_LEN(options))
        return NULL;
    *value = options[i].value != NULL;
    return !v || of_all(&options[i]) || takes(v, &options[i])
        ? options[i].name : "";
}

static int refuse_option(const struct ctl *c, const struct option *o)
{
    struct buf takers = BUF_INIT;

    put_takers(&takers, o);
    (void)ctl_usage(c, "%s takes no --%s, which is for %s", c->verb->name,
                    o->name, buf_text(&takers));
    buf_fini(&takers);
    return EXIT_USAGE;
}

static int check_options(const struct ctl *c)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (!of_all(&options[i]) && is_given(c, &options[i])
            && !takes(c->verb, &options[i]))
            return refuse_option(c, &options[i]);
    return EXIT_DONE;
}

static const char *nth_verb(const void *ctx, size_t i)
{
    UNUSED(ctx);
    return i < verb_count ? verbs[i].name : NULL;
}

static int refuse_verb(const struct cli *c, const char *word)
{
    const char *near = opt_nearest(slice_str(word), nth_verb, NULL);

    return cli_usage_error(c, "no such verb: %s%s%s%s", word,
                           near ? "; did you mean " : "", near ? near : "",
                           near ? "?" : "");
}

static void put_help(struct buf *b, const struct cli *c, const struct verb *v)
{
    buf_addf(b, "usage: %s %s %s\n%s\n", c->binary, v->name, v->usage,
             v->help);
    if (v->alias)
        buf_addf(b, "also called %s\n", v->alias);
    if (*v->options)
        buf_add_byte(b, '\n');
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];

        if (takes(v, o))
            buf_addf(b, "  --%s%s%-*s  %s\n", o->name, o->value ? " " : "",
                     (int)(20 - strlen(o->name)), o->value ? o->value : "",
                     o->help);
    }
    buf_addf(b, "\nfor example:\n%s", v->example);
}

/* word: a verb, or NULL. */
static int help_about(const struct cli *c, const char *word)
{
    const struct verb *v = word ? verb_find(word) : NULL;
    struct buf b = BUF_INIT;
    int rc;

    if (word && !v)
        return refuse_verb(c, word);
    if (v) {
        put_help(&b, c, v);
    } else {
        buf_addf(&b, "usage: %s [OPTION]... %s\n%s\n\n", c->binary, c->usage,
                 about);
        put_verbs(&b, true);
    }
    rc = show_out(&b);
    buf_fini(&b);
    return rc < 0 ? EXIT_FAILED : EXIT_DONE;
}

int verb_help(struct ctl *c)
{
    return help_about(&c->cli, c->arg_count ? c->args[0] : NULL);
}

/* ---- running ----------------------------------------------------------- */


static int find_verb(struct ctl *c)
{
    const char *word = c->cli.arg_count ? c->cli.args[0] : NULL;

    if (!word)
        return say_what_there_is(c);
    c->verb = verb_find(word);
    if (!c->verb)
        return refuse_verb(&c->cli, word);
    c->args = c->cli.args + 1;
    c->arg_count = c->cli.arg_count - 1;
    if (c->arg_count < c->verb->least)
        return ctl_usage(c, "%s needs more than that", c->verb->name);
    if (c->verb->most >= 0 && c->arg_count > c->verb->most)
        return ctl_usage(c, "%s does not take \"%s\"%s", c->verb->name,
                         c->args[c->verb->most],
                         strstr(c->verb->usage, "TEXT")
                             ? "; several words stand in quotes" : "");
    return check_options(c);
}

/* --check: the configuration is good; is there a router? */
static int check(struct ctl *c)
{
    int code = ctl_reach(c);

    if (code == EXIT_DONE)
        printf("ok: a router answers\n");
    return code;
}

static int run_verb(struct ctl *c)
{
    int code = find_verb(c);

    if (code == EXIT_DONE && !c->verb->alone)
        code = ctl_reach(c);
    if (code == EXIT_DONE)
        code = c->verb->run(c);
    return code;
}

int ctl_run(int argc, char **argv)
{
    struct cli_option rows[ARRAY_LEN(options)];
    struct buf more = BUF_INIT;
    struct ctl c = { .cli = {
        .binary = "router-ctl",
        .about = about,
        .usage = "VERB [ARGUMENT]...",
        .options = rows,
        .option_count = ARRAY_LEN(options),
        .general_count = GENERAL_OPTIONS,
        .help_about = help_about,
    } };
    int code;

    log_set_level(LOG_ERROR);
    point_at(&c, rows);
    put_verbs(&more, true);
    c.cli.more = buf_text(&more);
    code = cli_parse(&c.cli, argc, argv);
    if (code == -1 && !show_want_colours(c.opt.color))
        code = cli_usage_error(&c.cli, "--color is auto, always or never, not "
                               "%s", c.opt.color);
    if (code == -1) {
        c.show = show_make(c.opt.json);
        code = c.cli.check ? check(&c) : run_verb(&c);
    }
    peer_close(c.peer);
    loop_free(c.loop);
    cli_fini(&c.cli);
    buf_fini(&more);
    return code;
}
