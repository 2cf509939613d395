/* The configuration as a file, and the options as a manual. */
#include "base/check.h"
#include "proto/config_rows.h"

enum { WIDTH = 78 };

/* Comment lines of at most WIDTH characters. */
static void put_comment(struct buf *out, const char *text)
{
    struct slice rest = slice_str(text);
    size_t column = 0;

    while (rest.ptr) {
        struct slice word = slice_split(&rest, ' ');

        if (column && column + 1 + word.len > WIDTH) {
            buf_add_byte(out, '\n');
            column = 0;
        }
        buf_add_str(out, column ? " " : "# ");
        buf_add(out, word);
        column += (column ? 1 : 2) + word.len;
    }
    buf_add_byte(out, '\n');
}

static void put_meaning(struct buf *out, const struct opt_row *row)
{
    struct buf text = BUF_INIT;

    buf_addf(&text, "%s (", row->help);
    opt_print_range(&text, row);
    if (row->def[0])
        buf_addf(&text, "; default %s", row->def);
    buf_addf(&text, "; changes %s", opt_change_text(row->change));
    buf_add_byte(&text, ')');
    put_comment(out, buf_text(&text));
    out->failed = out->failed || text.failed;
    buf_fini(&text);
}

static void put_line(struct buf *out, const char *mark, const char *key,
                     const char *value)
{
    buf_addf(out, "%s%s =%s%s\n", mark, key, value[0] ? " " : "", value);
}

static void put_key(struct buf *out, const struct opt_row *row,
                    const void *base)
{
    struct buf value = BUF_INIT;

    opt_print(&value, row, base);
    if (row->type == OPT_SECRET)
        buf_addf(out, "# %s is not shown\n", row->key);
    else
        put_line(out, "", row->key, buf_text(&value));
    out->failed = out->failed || value.failed;
    buf_fini(&value);
}

/* Keys with their meanings, a heading wherever the section changes; without
 * cfg their defaults, as comments. */
static void put_plain_sections(struct buf *out, const struct config *cfg)
{
    const char *section = "";

    for (size_t i = 0; i < config_row_count; i++) {
        const struct opt_row *row = &config_rows[i];

        if (config_is_plural(row))
            continue;
        if (!config_is_section(row, section))
            buf_addf(out, "%s[%s]\n", i ? "\n" : "", row->section);
        section = row->section;
        put_meaning(out, row);
        if (cfg)
            put_key(out, row, cfg);
        else
            put_line(out, "#", row->key, row->def);
    }
}

static void put_meanings(struct buf *out, const char *section)
{
    for (size_t i = 0; i < config_row_count; i++) {
        const struct opt_row *row = &config_rows[i];

        if (!config_is_section(row, section))
            continue;
        buf_addf(out, "#   %s\n", row->key);
        put_meaning(out, row);
    }
}

static void put_keys(struct buf *out, const char *section, const void *base)
{
    for (size_t i = 0; i < config_row_count; i++)
        if (config_is_section(&config_rows[i], section))
            put_key(out, &config_rows[i], base);
}

/* A token without its secret would not load: it stays a comment. */
static void put_token(struct buf *out, const struct config_token *t)
{
    struct buf keys = BUF_INIT;
    struct slice rest;

    buf_addf(&keys, "[token %s]\n", t->name);
    put_keys(&keys, "token", t);
    buf_truncate(&keys, keys.len - (keys.len > 0));
    buf_add_byte(out, '\n');
    for (rest = buf_slice(&keys); rest.ptr;) {
        buf_add_str(out, "# ");
        buf_add(out, slice_split(&rest, '\n'));
        buf_add_byte(out, '\n');
    }
    out->failed = out->failed || keys.failed;
    buf_fini(&keys);
}

static void put_namespace_heading(struct buf *out)
{
    buf_add_str(out, "\n# Rules by the beginning of an id: [namespace PREFIX]; "
                     "the longest prefix counts,\n# and takes from the next "
                     "shorter what it does not say.\n");
    put_meanings(out, "namespace");
}

static void put_token_heading(struct buf *out)
{
    buf_add_str(out, "\n# Who may publish more than others: [token NAME].\n");
    put_meanings(out, "token");
}

void config_print(struct buf *out, const struct config *cfg)
{
    buf_addf(out, "# touchline.conf, as in force with --dir %s\n\n", cfg->dir);
    put_plain_sections(out, cfg);
    put_namespace_heading(out);
    for (size_t i = 0; i < cfg->namespace_count; i++) {
        const struct config_namespace *n = &cfg->namespaces[i];

        buf_addf(out, "\n[namespace%s%s]\n", n->prefix[0] ? " " : "",
                 n->prefix);
        put_keys(out, "namespace", n);
    }
    put_token_heading(out);
    for (size_t i = 0; i < cfg->token_count; i++)
        put_token(out, &cfg->tokens[i]);
}

/* --- the file to begin with --- */

/* The shipped ones, which are in every configuration. */
static void put_namespace_sample(struct buf *out,
                                 const struct config_namespace *n)
{
    buf_addf(out, "\n[namespace%s%s]\n", n->prefix[0] ? " " : "", n->prefix);
    for (size_t i = 0; i < config_row_count; i++) {
        struct buf value = BUF_INIT;

        if (!config_is_section(&config_rows[i], "namespace"))
            continue;
        opt_print(&value, &config_rows[i], n);
        put_line(out, "#", config_rows[i].key, buf_text(&value));
        out->failed = out->failed || value.failed;
        buf_fini(&value);
    }
}

void config_print_sample(struct buf *out, const struct config *shipped)
{
    buf_add_str(out, "# touchline.conf: all keys, each behind its meaning and "
                     "with its default, which\n# counts as long as the key is "
                     "a comment. Read at the start; whether it is right\n# "
                     "says `touchline --config FILE --check`. "
                     "touchline.conf(5) has more.\n\n");
    put_plain_sections(out, NULL);
    put_namespace_heading(out);
    for (size_t i = 0; i < shipped->namespace_count; i++)
        put_namespace_sample(out, &shipped->namespaces[i]);
    put_token_heading(out);
    buf_add_str(out, "#[token NAME]\n#secret =\n#publish =\n");
}

/* --- the manual --- */

/* In a table cell a bar would end it. */
static void put_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_add_byte(out, '\\');
        buf_add_byte(out, (uint8_t)*text);
    }
}

static void put_row(struct buf *out, const struct opt_row *row)
{
    struct buf range = BUF_INIT;

    opt_print_range(&range, row);
    buf_addf(out, "| `%s` | %s%s%s | %s | %s | %s | ", row->key,
             row->def[0] ? "`" : "", row->def, row->def[0] ? "`" : "",
             buf_text(&range), row->users, opt_change_text(row->change));
    put_cell(out, row->help);
    buf_add_str(out, " |\n");
    out->failed = out->failed || range.failed;
    buf_fini(&range);
}

void config_print_manual(struct buf *out)
{
    const char *section = "";

    buf_add_str(
        out,
        "# Options\n\n"
        "Made from `proto/options.def` and `proto/limits.h` by `make docs`.\n\n"
        "One file for all binaries, `--config FILE`, with sections and keys "
        "as\nbelow; `--set SECTION.KEY=VALUE` overrides one key, "
        "`--print-config`\nprints all of them as they are in force. A line "
        "that starts with `#` or\n`;` is a comment. A bare number is bytes, "
        "seconds or a count; `64K`, `1M`,\n`500ms`, `10s` work too. A value "
        "with `#`, `;` or blanks at its ends goes\ninto double quotes. Keys "
        "that are not set have the defaults shown.\n\n"
        "A reload (SIGHUP, `touchline reload`) puts a changed value in force "
        "when the\ncolumn `changes` says: at once; for connections that come "
        "later; or only with the\nnext start of the process that reads it (an "
        "upgrade is one), or of all. What is not in force yet is logged\nby its key. Whether "
        "anything is kept of a channel (`history` and `durability` between\n"
        "nothing and something) is settled with the router's start, too.\n");
    for (size_t i = 0; i < config_row_count; i++) {
        const struct opt_row *row = &config_rows[i];

        if (!config_is_section(row, section)) {
            const char *name = config_is_section(row, "namespace") ? " PREFIX"
                               : config_is_section(row, "token")   ? " NAME"
                                                                   : "";

            buf_addf(out,
                     "\n## [%s%s]\n\n| key | default | values | read by | "
                     "changes | meaning |\n|---|---|---|---|---|---|\n",
                     row->section, name);
        }
        section = row->section;
        put_row(out, row);
    }
}
