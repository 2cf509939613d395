#include "tools/flood/plan.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

/* An edge as the table has it. */
struct form {
    const char *name;
    enum carrier carrier;
    enum form_section { section_http, section_tcp, section_ws } section;
    enum ready_when ready_when;
    enum split split;
    bool asks_again;
    const char *path, *next_path, *header, *line, *script, *help;
    struct rules rules;
};

static const struct form forms[] = {
#define FORM(word, kind, sect, ready, unit, again, url, next, head, text,      \
             steps, about, ...)                                              \
    { .name = #word, .carrier = CARRIER_##kind, .section = section_##sect,     \
      .ready_when = READY_##ready, .split = SPLIT_##unit,                      \
      .asks_again = again, .path = url, .next_path = next, .header = head,     \
      .line = text, .script = steps, .help = about,                            \
      .rules = { __VA_ARGS__ } },
#include "tools/flood/forms.def"
};

/* ---- where to -------------------------------------------------------------- */

static int resolve(struct targets *t, struct slice text, struct opt_error *err)
{
    char host[256], *port;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
    struct endpoint *e = &t->at[t->count];
    int rc;

    snprintf(host, sizeof host, SLICE_FMT, SLICE_ARG(text));
    port = strrchr(host, ':');
    if (!port) {
        opt_error_set(err, "'%s': a target is ADDRESS:PORT", host);
        return ERR_BAD;
    }
    *port++ = '\0';
    rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        opt_error_set(err, "'%s': %s", host, gai_strerror(rc));
        return ERR_BAD;
    }
    *e = (struct endpoint){ .len = found->ai_addrlen };
    memcpy(&e->addr, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    t->count++;
    return 0;
}

static int add_target(struct targets *t, struct slice text,
                      struct opt_error *err)
{
    const char *why;

    if (t->count == TARGETS_MAX) {
        opt_error_set(err, "there are more than %d targets", TARGETS_MAX);
        return ERR_BAD;
    }
    if (endpoint_parse(text, &t->at[t->count], &why) == 0) {
        t->count++;
        return 0;
    }
    return resolve(t, text, err);
}

static int add_targets(struct targets *t, struct slice list,
                       struct opt_error *err)
{
    int rc = 0;

    while (list.len && rc == 0)
        rc = add_target(t, slice_trim(slice_split(&list, ',')), err);
    return rc;
}

/* The first address of the configuration that has a port; anywhere is here. */
static int target_of_config(struct targets *t, const struct config_edge *edge,
                            struct opt_error *err)
{
    for (size_t i = 0; i < edge->listen.count; i++) {
        struct slice text = slice_str(edge->listen.items[i]);

        if (slice_starts(text, SLICE("unix:")))
            continue;
        if (slice_starts(text, SLICE("*:"))
            || slice_starts(text, SLICE("0.0.0.0:"))) {
            char local[32];

            slice_split(&text, ':');
            snprintf(local, sizeof local, "127.0.0.1:" SLICE_FMT,
                     SLICE_ARG(text));
            return add_target(t, slice_str(local), err);
        }
        return add_target(t, text, err);
    }
    opt_error_set(err, "the configuration names no address with a port: say "
                  "where with --target ADDRESS:PORT");
    return ERR_BAD;
}

/* Cuts "http://ADDRESS:PORT" off the front of a URL. */
static struct slice cut_host(struct slice *url)
{
    static const struct slice schemes[] = { SLICE_INIT("http://"),
                                            SLICE_INIT("ws://") };

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (slice_starts(*url, schemes[i])) {
            struct slice rest = slice_from(*url, schemes[i].len);
            size_t end = slice_find_byte(rest, '/');

            *url = end < rest.len ? slice_from(rest, end) : SLICE("/");
            return slice_head(rest, end);
        }
    return slice_make(NULL, 0);
}

static int choose_targets(struct targets *t, const char *named,
                          struct slice in_url, const struct config_edge *edge,
                          struct opt_error *err)
{
    if (*named)
        return add_targets(t, slice_str(named), err);
    if (!in_url.len)
        return target_of_config(t, edge, err);
    if (slice_find_byte(in_url, ':') == in_url.len) {
        char with_port[280];

        snprintf(with_port, sizeof with_port, SLICE_FMT ":80",
                 SLICE_ARG(in_url));
        return add_targets(t, slice_str(with_port), err);
    }
    return add_targets(t, in_url, err);
}

/* ---- what is said ---------------------------------------------------------- */

static const char *or_else(const char *text, const char *other)
{
    return *text ? text : other;
}

static int set_texts(struct plan *p, const struct form *f, struct slice path,
                     struct opt_error *err)
{
    const struct settings *s = p->settings;
    struct slice next = path, publish = slice_str(s->publish_url);
    int rc = 0;

    if (*s->next_url)
        next = slice_str(s->next_url);
    else if (!*s->url && *f->next_path)
        next = slice_str(f->next_path);
    cut_host(&next);
    cut_host(&publish);
    const struct {
        struct template *to;
        struct slice text;
        bool in_url;
    } rows[] = {
        { &p->path, path, true },
        { &p->next_path, next, true },
        { &p->header, slice_str(or_else(s->header, f->header)), false },
        { &p->line, slice_str(or_else(s->line, f->line)), false },
        { &p->body, slice_str(s->body), false },
        { &p->publish_path, publish, true },
        { &p->publish_header, slice_str(s->publish_header), false },
        { &p->publish_line, slice_str(s->publish_line), false },
        { &p->publish_hello, slice_str(s->publish_hello), false },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows) && rc == 0; i++)
        rc = template_init(rows[i].to, rows[i].text, rows[i].in_url, err);
    return rc;
}

/* "PING=PONG\r\n" */
static int set_reply(struct plan *p, struct opt_error *err)
{
    struct slice rest = slice_str(p->settings->reply);
    struct slice to = slice_split(&rest, '=');
    int rc;

    if (!to.len && !rest.len)
        return 0;
    if (!to.len || !rest.len) {
        opt_error_set(err, "--reply is like 'PING=PONG\\r\\n'");
        return ERR_BAD;
    }
    rc = template_unescape(&p->reply_to, to, err);
    return rc < 0 ? rc : template_unescape(&p->reply, rest, err);
}

static int set_publisher(struct plan *p, struct opt_error *err)
{
    const struct settings *s = p->settings;
    int rc;

    if (s->publish && s->window) {
        opt_error_set(err, "--publish is a schedule and --window has none: one "
                      "of them");
        return ERR_BAD;
    }
    rc = template_unescape(&p->publish_ready, slice_str(s->publish_ready), err);
    return rc < 0 ? rc : template_unescape(&p->publish_answer,
                                           slice_str(s->publish_answer), err);
}

/* ---- what is expected ------------------------------------------------------ */

static int set_rule(struct buf *hold, struct slice *rule, const char *text,
                    struct opt_error *err)
{
    int rc = *text ? template_unescape(hold, slice_str(text), err) : 0;

    if (rc == 0 && *text)
        *rule = buf_slice(hold);
    return rc;
}

static int set_rules(struct plan *p, const struct form *f,
                     struct opt_error *err)
{
    const struct settings *s = p->settings;
    const char *ready = s->ready;
    int rc;

    p->rules = f->rules;
    if (strcmp(ready, "head") == 0)
        p->ready_when = READY_HEAD, ready = "";
    else if (strcmp(ready, "connect") == 0)
        p->ready_when = READY_CONNECT, ready = "";
    else if (*ready)
        p->ready_when = READY_ITEM;
    rc = set_rule(&p->texts[0], &p->rules.ready, ready, err);
    if (rc == 0)
        rc = set_rule(&p->texts[1], &p->rules.refused, s->refused, err);
    if (rc == 0)
        rc = set_rule(&p->texts[2], &p->rules.message, s->message, err);
    if (rc == 0)
        rc = set_rule(&p->texts[3], &p->rules.number, s->number, err);
    return rc;
}

static void set_split(struct plan *p, const struct form *f)
{
    static const enum split by_word[] = { SPLIT_NONE, SPLIT_LINE, SPLIT_CHUNK,
                                          SPLIT_PARAGRAPH, SPLIT_FRAME };

    p->split = p->settings->split ? by_word[p->settings->split] : f->split;
}

/* ---- all of it ------------------------------------------------------------- */

static int name_option(struct opt_error *err, const char *option, int rc)
{
    char text[sizeof err->text];

    if (rc < 0 && rc != ERR_NOMEM) {
        memcpy(text, err->text, sizeof text);
        opt_error_set(err, "%s: %.400s", option, text);
    }
    return rc;
}

static int set_scripts(struct plan *p, const struct form *f,
                       struct opt_error *err)
{
    const struct settings *s = p->settings;
    bool probes = strcmp(s->probe, "none") != 0;
    int rc = script_init(&p->script,
                         slice_str(or_else(s->script, f->script)), err);

    if (rc < 0)
        return name_option(err, "--script", rc);
    return name_option(err, "--probe",
                       probes ? script_init(&p->probe, slice_str(s->probe), err)
                              : 0);
}

static int set_places(struct plan *p, const struct config_edge *edge,
                      struct slice in_url, const struct config *config,
                      struct opt_error *err)
{
    const struct settings *s = p->settings;
    struct slice publish = slice_str(s->publish_url);
    struct slice publish_host = cut_host(&publish);
    int rc = choose_targets(&p->targets, s->target, in_url, edge, err);

    if (rc < 0)
        return name_option(err, "--target", rc);
    rc = source_init(&p->source, s->from, &p->targets.at[0], s->connections,
                     err);
    if (rc < 0)
        return name_option(err, "--from", rc);
    if (!p->publishes)
        return 0;
    /* Who talks HTTP, or publishes by lines, does so where the clients are. */
    if (*s->publish_target || publish_host.len)
        rc = choose_targets(&p->publish_targets, s->publish_target,
                            publish_host, &config->http, err);
    else if (p->publish_how != PUBLISH_POST || p->carrier == CARRIER_HTTP)
        p->publish_targets = p->targets;
    else
        rc = target_of_config(&p->publish_targets, &config->http, err);
    return name_option(err, "--publish-target", rc);
}

int plan_init(struct plan *p, const struct settings *s,
              const struct config *config, struct opt_error *err)
{
    const struct config_edge *const edges[] = {
        [section_http] = &config->http, [section_tcp] = &config->tcp,
        [section_ws] = &config->ws,
    };
    const struct form *f = &forms[s->edge];
    struct slice path = slice_str(or_else(s->url, f->path));
    struct slice in_url = cut_host(&path);
    int rc;

    *p = (struct plan){ .settings = s, .edge = f->name, .carrier = f->carrier,
                        .ready_when = f->ready_when,
                        .asks_again = f->asks_again,
                        .publishes = s->publish > 0 || s->window > 0,
                        .publish_how = *s->publish_line ? PUBLISH_LINE
                                       : f->carrier == CARRIER_MQTT
                                           ? PUBLISH_MQTT
                                           : PUBLISH_POST };
    set_split(p, f);
    rc = set_places(p, edges[f->section], in_url, config, err);
    if (rc == 0)
        rc = set_texts(p, f, path, err);
    if (rc == 0)
        rc = set_reply(p, err);
    if (rc == 0)
        rc = set_publisher(p, err);
    if (rc == 0)
        rc = set_rules(p, f, err);
    if (rc == 0)
        rc = set_scripts(p, f, err);
    if (rc == 0)
        rc = name_option(err, "--ids", ids_init(&p->ids, s->ids, s->spread, err));
    if (rc == ERR_NOMEM)
        opt_error_set(err, "%s", err_text(rc));
    return rc;
}

void plan_fini(struct plan *p)
{
    struct template *const templates[] = {
        &p->path, &p->next_path, &p->header, &p->line, &p->body,
        &p->publish_path, &p->publish_header, &p->publish_line,
        &p->publish_hello,
    };

    for (size_t i = 0; i < ARRAY_LEN(templates); i++)
        template_fini(templates[i]);
    for (size_t i = 0; i < ARRAY_LEN(p->texts); i++)
        buf_fini(&p->texts[i]);
    buf_fini(&p->reply_to);
    buf_fini(&p->reply);
    buf_fini(&p->publish_ready);
    buf_fini(&p->publish_answer);
    script_fini(&p->script);
    script_fini(&p->probe);
    ids_fini(&p->ids);
}
