/* lists.c - the verbs that ask once and print the answer. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "proto/id.h"
#include "proto/json.h"
#include "proto/report.h"
#include "tools/router-ctl/ctl.h"

static int out_of(struct ctl *c, struct buf *out, int rc)
{
    if (rc == ERR_FRAME)
        return ctl_fail(c, EXIT_FAILED, "the router's answer makes no sense");
    if (rc < 0 || show_out(out) < 0)
        return ctl_fail(c, EXIT_FAILED, "the answer cannot be written");
    return EXIT_DONE;
}

static int print_report(struct ctl *c, struct slice report)
{
    struct buf out = BUF_INIT;
    int code = out_of(c, &out, show_report(&out, &c->show, report));

    buf_fini(&out);
    return code;
}

static int ask_and_print(struct ctl *c, const char *verb, struct slice args)
{
    struct buf body = BUF_INIT;
    int code = ctl_query(c, verb, args, &body);

    if (code == EXIT_DONE)
        code = print_report(c, buf_slice(&body));
    buf_fini(&body);
    return code;
}

static struct slice first_arg(const struct ctl *c)
{
    return slice_str(c->arg_count ? c->args[0] : NULL);
}

int verb_presence(struct ctl *c)
{
    if (!ctl_is_id(c, c->args[0], false))
        return EXIT_USAGE;
    return ask_and_print(c, "presence", first_arg(c));
}

int verb_conns(struct ctl *c)
{
    if (c->arg_count && !ctl_is_id(c, c->args[0], true))
        return EXIT_USAGE;
    return ask_and_print(c, "conns", first_arg(c));
}

int verb_kick(struct ctl *c)
{
    int code = ctl_is_id(c, c->args[0], true) ? ctl_confirm(c) : EXIT_USAGE;

    return code == EXIT_DONE ? ask_and_print(c, "kick", first_arg(c)) : code;
}

int verb_gateways(struct ctl *c)
{
    return ask_and_print(c, "gateways", first_arg(c));
}

/* ---- channels: page by page --------------------------------------------- */

/* Whether there is another page, after which name, and whether this one has
 * any: of a pattern that matches little, many have none. */
static bool read_page(struct slice report, struct buf *after, bool *empty)
{
    struct cursor cur = cursor_init(report);
    enum report_event event;
    struct report_field f;
    bool more = false;

    *empty = true;
    while (report_next(&cur, &event, &f) == 0 && event != REPORT_END) {
        if (event != REPORT_FIELD)
            continue;
        if (slice_eq(f.key, SLICE("more")))
            more = f.number != 0;
        else if (slice_eq(f.key, SLICE("channel")))
            *empty = false;
        else if (slice_eq(f.key, SLICE("after"))) {
            buf_reset(after);
            buf_add(after, f.text);
        }
    }
    return more && after->len && !after->failed;
}

int verb_channels(struct ctl *c)
{
    struct buf args = BUF_INIT, body = BUF_INIT, after = BUF_INIT;
    bool more = true, empty;
    int code = EXIT_DONE;

    if (c->arg_count && !ctl_is_id(c, c->args[0], true))
        return EXIT_USAGE;
    while (more && code == EXIT_DONE) {
        buf_reset(&args);
        buf_reset(&body);
        buf_add(&args, first_arg(c));
        buf_add_byte(&args, ' ');
        buf_add(&args, buf_slice(&after));
        buf_add_str(&args, " 1000");
        code = ctl_query(c, "channels", buf_slice(&args), &body);
        if (code != EXIT_DONE)
            break;
        more = read_page(buf_slice(&body), &after, &empty);
        if (!empty || !more)
            code = print_report(c, buf_slice(&body));
    }
    buf_fini(&args);
    buf_fini(&body);
    buf_fini(&after);
    return code;
}

/* ---- status ------------------------------------------------------------ */

static void put_first_line(struct buf *b, const struct show *s,
                           struct slice state, struct slice why)
{
    enum show_tone tone = slice_eq(state, SLICE("OK")) ? TONE_GOOD
                          : slice_eq(state, SLICE("DOWN")) ? TONE_BAD
                                                           : TONE_WARN;

    show_toned(b, s, tone, state);
    if (why.len)
        buf_add_str(b, ": ");
    show_text(b, why);
    buf_add_byte(b, '\n');
}

static int print_down(struct ctl *c, int code, struct buf *why)
{
    struct buf out = BUF_INIT;
    const char *text = code == EXIT_REFUSED
        ? "the router does not let router-ctl in" : "no router answers";

    if (c->show.json) {
        buf_addf(&out, "{\"status\":[{\"state\":\"DOWN\",\"why\":\"%s\"}]}"
                 "\n", text);
    } else {
        put_first_line(&out, &c->show, SLICE("DOWN"), slice_str(text));
        buf_add(&out, buf_slice(why));
    }
    if (show_out(&out) < 0)
        code = EXIT_FAILED;
    buf_fini(&out);
    return code;
}

static int print_status(struct ctl *c, struct slice status,
                        struct slice gateways)
{
    struct slice state = show_field(status, "state");
    struct buf out = BUF_INIT;
    int rc = 0, code;

    if (!c->show.json)
        put_first_line(&out, &c->show, state, show_field(status, "why"));
    rc = show_report(&out, &c->show, status);
    if (rc == 0 && !c->show.json) {
        buf_add_byte(&out, '\n');
        rc = show_report(&out, &c->show, gateways);
    }
    code = out_of(c, &out, rc);
    if (code == EXIT_DONE && !slice_eq(state, SLICE("OK")))
        code = EXIT_FAILED;
    buf_fini(&out);
    return code;
}

int verb_status(struct ctl *c)
{
    struct buf why = BUF_INIT, status = BUF_INIT, gateways = BUF_INIT;
    int code = ctl_try_reach(c, &why);

    if (code != EXIT_DONE) {
        code = print_down(c, code, &why);
        goto done;
    }
    code = ctl_query(c, "status", SLICE(""), &status);
    if (code == EXIT_DONE)
        code = ctl_query(c, "gateways", SLICE(""), &gateways);
    if (code == EXIT_DONE)
        code = print_status(c, buf_slice(&status), buf_slice(&gateways));
done:
    buf_fini(&why);
    buf_fini(&status);
    buf_fini(&gateways);
    return code;
}

/* ---- stats ------------------------------------------------------------- */

/* A row of the report, as far as people want to see it. */
struct figure {
    struct slice gateway, name, label;
    uint64_t value;
    bool micros;
};

static void take_field(struct figure *g, const struct report_field *f)
{
    if (slice_eq(f->key, SLICE("gateway")))
        g->gateway = f->text;
    else if (slice_eq(f->key, SLICE("name")))
        g->name = f->text;
    else if (slice_eq(f->key, SLICE("label")))
        g->label = f->text;
    else if (slice_eq(f->key, SLICE("micros")))
        g->micros = f->number;
    else if (slice_eq(f->key, SLICE("value")))
        g->value = f->number;
}

static void report_value(struct buf *b, const struct figure *g)
{
    char seconds[32];

    if (!g->micros) {
        report_number(b, "value", g->value);
        return;
    }
    snprintf(seconds, sizeof seconds, "%" PRIu64 ".%06" PRIu64,
             g->value / 1000000, g->value % 1000000);
    report_text(b, "value", slice_str(seconds));
}

/* Of the many fields three, as a report again. */
static int shorten(struct buf *b, struct slice report)
{
    struct cursor cur = cursor_init(report);
    struct figure g = { .value = 0 };
    enum report_event event;
    struct report_field f;
    struct buf name = BUF_INIT;
    int rc;

    report_part(b, "stats");
    while ((rc = report_next(&cur, &event, &f)) == 0 && event != REPORT_END) {
        if (event == REPORT_ROW)
            g = (struct figure){ .value = 0 };
        else if (event == REPORT_FIELD)
            take_field(&g, &f);
        if (event != REPORT_ROW_END)
            continue;
        buf_reset(&name);
        buf_add(&name, g.name);
        if (g.label.len)
            buf_addf(&name, "{" SLICE_FMT "}", SLICE_ARG(g.label));
        report_row(b);
        report_text(b, "process", g.gateway);
        report_value(b, &g);
        report_text(b, "figure", buf_slice(&name));
        report_row_end(b);
    }
    buf_fini(&name);
    return rc;
}

int verb_stats(struct ctl *c)
{
    struct buf body = BUF_INIT, brief = BUF_INIT;
    int code = ctl_query(c, "stats", SLICE(""), &body);

    if (code == EXIT_DONE && c->show.json)
        code = print_report(c, buf_slice(&body));
    else if (code == EXIT_DONE && shorten(&brief, buf_slice(&body)) < 0)
        code = out_of(c, &brief, ERR_FRAME);
    else if (code == EXIT_DONE)
        code = print_report(c, buf_slice(&brief));
    buf_fini(&body);
    buf_fini(&brief);
    return code;
}
