/* match.c - teams and matches: look, create, report. */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/err.h"
#include "proto/json.h"
#include "proto/report.h"
#include "tools/router-ctl/ctl.h"

static int print(struct ctl *c, struct buf *out)
{
    if (show_out(out) < 0)
        return ctl_fail(c, EXIT_FAILED, "the answer cannot be written");
    return EXIT_DONE;
}

static void put_text(struct buf *b, const char *key, const char *text)
{
    if (!text)
        return;
    json_put_key(b, key);
    json_put_string(b, slice_str(text));
}

/* ---- a type's answer as a table ----------------------------------------- */

static void put_field(struct buf *report, const cJSON *row, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(row, key);

    if (cJSON_IsNumber(v))
        report_number(report, key, (uint64_t)cJSON_GetNumberValue(v));
    else
        report_text(report, key, slice_str(cJSON_GetStringValue(v)));
}

/* The objects of tree[title], with these fields of theirs. */
static void put_rows(struct buf *report, const cJSON *tree, const char *title,
                     const char *const keys[])
{
    const cJSON *row;

    report_part(report, title);
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(tree, title)) {
        report_row(report);
        for (size_t i = 0; keys[i]; i++)
            put_field(report, row, keys[i]);
        report_row_end(report);
    }
}

static int print_rows(struct ctl *c, const char *verb, struct slice args,
                      const char *title, const char *const keys[])
{
    struct buf body = BUF_INIT, report = BUF_INIT, out = BUF_INIT;
    cJSON *tree = NULL;
    int code = ctl_query(c, verb, args, &body);

    if (code == EXIT_DONE && c->show.json) {
        buf_add(&out, buf_slice(&body));
        buf_add_byte(&out, '\n');
        code = print(c, &out);
    } else if (code == EXIT_DONE) {
        tree = cJSON_ParseWithLength((const char *)body.ptr, body.len);
        put_rows(&report, tree, title, keys);
        if (!tree || show_report(&out, &c->show, buf_slice(&report)) < 0)
            code = ctl_fail(c, EXIT_FAILED, "the router's answer makes no "
                            "sense");
        else
            code = print(c, &out);
    }
    cJSON_Delete(tree);
    buf_fini(&body);
    buf_fini(&report);
    buf_fini(&out);
    return code;
}

static int do_list(struct ctl *c)
{
    static const char *const keys[] = {
        "id", "period", "home", "home_score", "visit_score", "visit",
        "start_time", "stadium", NULL
    };
    struct buf args = BUF_INIT;
    int code;

    buf_add_byte(&args, '{');
    put_text(&args, "date", c->opt.date);
    put_text(&args, "team", c->opt.team);
    put_text(&args, "period", c->opt.period);
    buf_add_byte(&args, '}');
    code = print_rows(c, "match.list", buf_slice(&args), "matches", keys);
    buf_fini(&args);
    return code;
}

/* ---- acts -------------------------------------------------------------- */

static int print_act(struct ctl *c, const struct ctl_taken *t)
{
    struct slice id = SLICE("");
    struct buf out = BUF_INIT, name = BUF_INIT;
    int code;

    if (c->show.json) {
        buf_add(&out, buf_slice(&t->body));
    } else {
        (void)(json_find(buf_slice(&t->body), "id", &id) < 0
               || json_unescape(&name, id) < 0);
        show_text(&out, buf_slice(&name));
        buf_add_str(&out, t->created ? " created" : " changed");
    }
    buf_add_byte(&out, '\n');
    code = print(c, &out);
    buf_fini(&out);
    buf_fini(&name);
    return code;
}

/* args: the members of the object, up to the brace that closes it. */
static int act(struct ctl *c, const char *verb, struct buf *args)
{
    struct ctl_taken taken;
    int code;

    buf_add_byte(args, '}');
    if (args->failed)
        return ctl_fail(c, EXIT_FAILED, "out of memory");
    code = ctl_act(c, verb, buf_slice(args), &taken);
    if (code == EXIT_DONE)
        code = print_act(c, &taken);
    ctl_taken_fini(&taken);
    return code;
}

static const char *arg(const struct ctl *c, int i)
{
    return i < c->arg_count ? c->args[i] : NULL;
}

static int do_teams(struct ctl *c)
{
    static const char *const keys[] = { "id", "name", "division", NULL };
    struct buf args = BUF_INIT;
    int code;

    if (c->arg_count == 1)
        return print_rows(c, "team.list", SLICE(""), "teams", keys);
    if (c->arg_count == 2)
        return ctl_usage(c, "a team has a name: match teams %s NAME",
                         c->args[1]);
    buf_add_byte(&args, '{');
    put_text(&args, "id", arg(c, 1));
    put_text(&args, "name", arg(c, 2));
    put_text(&args, "division", arg(c, 3));
    code = act(c, "team.put", &args);
    buf_fini(&args);
    return code;
}

static int do_new(struct ctl *c)
{
    struct buf args = BUF_INIT;
    int code;

    buf_add_byte(&args, '{');
    put_text(&args, "home", arg(c, 1));
    put_text(&args, "visit", arg(c, 2));
    put_text(&args, "start_time", arg(c, 3));
    put_text(&args, "stadium", arg(c, 4));
    code = act(c, "match.new", &args);
    buf_fini(&args);
    return code;
}

static int do_cancel(struct ctl *c)
{
    struct buf args = BUF_INIT;
    int code = ctl_confirm(c);

    buf_add_byte(&args, '{');
    put_text(&args, "id", arg(c, 1));
    if (code == EXIT_DONE)
        code = act(c, "match.cancel", &args);
    buf_fini(&args);
    return code;
}

/* ---- events ------------------------------------------------------------ */

static bool is_counted(struct slice key)
{
    static const char *const keys[] = { "player", "player_in", "player_out",
                                        "minute", "offset", "start_time" };

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (slice_eq(key, slice_str(keys[i])))
            return true;
    return false;
}

/* Numbers where numbers are meant, lists and objects as they are, all other
 * values as text. */
static void put_value(struct buf *data, struct slice key, struct slice value)
{
    enum json_kind kind = json_check(value, JSON_DEPTH_COMMAND, NULL) == 0
        ? json_kind(value) : JSON_NONE;
    bool raw = kind == JSON_OBJECT || kind == JSON_ARRAY
               || (kind == JSON_NUMBER && is_counted(key));

    if (data->ptr[data->len - 1] != '{')
        buf_add_byte(data, ',');
    json_put_string(data, key);
    buf_add_byte(data, ':');
    if (raw)
        buf_add(data, value);
    else
        json_put_string(data, value);
}

/* KEY=VALUE ..., or one JSON object. */
static int read_data(struct ctl *c, struct buf *data)
{
    struct slice first = slice_str(arg(c, 3));

    if (c->arg_count == 4 && slice_starts(first, SLICE("{"))) {
        size_t at = 0;

        if (json_check(first, JSON_DEPTH_COMMAND, &at) < 0)
            return ctl_usage(c, "the JSON is broken at byte %zu; KEY=VALUE ... "
                             "says the same without braces and quotes", at);
        buf_add(data, first);
        return EXIT_DONE;
    }
    buf_add_byte(data, '{');
    for (int i = 3; i < c->arg_count; i++) {
        struct slice value = slice_str(c->args[i]);
        struct slice key = slice_split(&value, '=');

        if (!value.ptr || !key.len)
            return ctl_usage(c, "what an event says is KEY=VALUE, not %s",
                             c->args[i]);
        if (data->failed)
            break;
        put_value(data, key, value);
    }
    buf_add_byte(data, '}');
    return data->failed ? ctl_fail(c, EXIT_FAILED, "out of memory")
                        : EXIT_DONE;
}

/* The channel of the match that the argument names, with or without its
 * prefix. */
static int match_channel(struct ctl *c, struct buf *ret)
{
    const char *name = arg(c, 1);

    if (strncmp(name, "match/", 6) != 0)
        buf_add_str(ret, "match/");
    buf_add_str(ret, name);
    if (ret->failed)
        return ctl_fail(c, EXIT_FAILED, "out of memory");
    return ctl_is_id(c, buf_text(ret), false) ? EXIT_DONE : EXIT_USAGE;
}

static int print_event(struct ctl *c, const struct ctl_taken *t)
{
    struct buf out = BUF_INIT;
    int code;

    if (c->show.json)
        ctl_taken_json(&out, t);
    else
        buf_addf(&out, "event #%llu reached %u\n",
                 (unsigned long long)t->offset, t->reached);
    code = print(c, &out);
    buf_fini(&out);
    return code;
}

static int do_event(struct ctl *c)
{
    struct frame_publish f = { .format = MSG_JSON,
                               .kind = slice_str(arg(c, 2)) };
    struct buf id = BUF_INIT, data = BUF_INIT;
    struct ctl_taken taken = { .seq = 0 };
    int code = match_channel(c, &id);

    if (code == EXIT_DONE)
        code = read_data(c, &data);
    f.id = buf_slice(&id);
    f.data = buf_slice(&data);
    if (code == EXIT_DONE)
        code = ctl_publish(c, &f, &taken);
    if (code == EXIT_DONE)
        code = print_event(c, &taken);
    ctl_taken_fini(&taken);
    buf_fini(&id);
    buf_fini(&data);
    return code;
}

/* ---- show -------------------------------------------------------------- */

static void put_lineup(struct buf *b, const struct show *s, const cJSON *state,
                       const char *key)
{
    const cJSON *players = cJSON_GetObjectItemCaseSensitive(state, key), *p;
    bool first = true;

    if (!players)
        return;
    show_toned(b, s, TONE_DIM, slice_str(key));
    buf_add_str(b, ": ");
    cJSON_ArrayForEach(p, players) {
        buf_addf(b, "%s%s ", first ? "" : ", ", p->string);
        show_text(b, slice_str(cJSON_GetStringValue(p)));
        first = false;
    }
    buf_add_byte(b, '\n');
}

static int put_state(struct buf *b, const struct show *s, const cJSON *state)
{
    static const char *const keys[] = {
        "id", "period", "home", "home_score", "visit_score", "visit",
        "home_shootout", "visit_shootout", "start_time", "stadium",
        "comment", NULL
    };
    struct buf report = BUF_INIT;
    int rc;

    report_part(&report, "match");
    report_row(&report);
    for (size_t i = 0; keys[i]; i++)
        if (cJSON_HasObjectItem(state, keys[i]))
            put_field(&report, state, keys[i]);
    report_row_end(&report);
    rc = show_report(b, s, buf_slice(&report));
    put_lineup(b, s, state, "home_players");
    put_lineup(b, s, state, "visit_players");
    buf_fini(&report);
    return rc;
}

static int print_state(struct ctl *c, struct slice body)
{
    struct buf out = BUF_INIT;
    cJSON *state = NULL;
    int code = EXIT_DONE;

    if (c->show.json) {
        buf_add(&out, body);
        buf_add_byte(&out, '\n');
    } else {
        state = cJSON_ParseWithLength((const char *)body.ptr, body.len);
        if (!state || put_state(&out, &c->show, state) < 0)
            code = ctl_fail(c, EXIT_FAILED, "the router's answer makes no "
                            "sense");
    }
    if (code == EXIT_DONE)
        code = print(c, &out);
    cJSON_Delete(state);
    buf_fini(&out);
    return code;
}

static int do_show(struct ctl *c)
{
    struct buf id = BUF_INIT, args = BUF_INIT, body = BUF_INIT;
    int code = match_channel(c, &id);

    buf_add_str(&args, "{\"id\":");
    json_put_string(&args, slice_from(buf_slice(&id), strlen("match/")));
    buf_add_byte(&args, '}');
    if (code == EXIT_DONE)
        code = ctl_query(c, "match.get", buf_slice(&args), &body);
    if (code == EXIT_DONE)
        code = print_state(c, buf_slice(&body));
    if (code == EXIT_DONE)
        code = ctl_history(c, buf_slice(&id));
    buf_fini(&id);
    buf_fini(&args);
    buf_fini(&body);
    return code;
}

/* ---- rows -------------------------------------------------------------- */

static const struct sub {
    const char *name;
    int least, most; /* arguments, its own name included */
    int (*run)(struct ctl *c);
    const char *usage;
} subs[] = {
    { "list", 1, 1, do_list, "list [--date D] [--team T] [--period P]" },
    { "teams", 1, 4, do_teams, "teams [ID NAME [DIVISION]]" },
    { "new", 4, 5, do_new, "new HOME VISIT START_TIME [STADIUM]" },
    { "event", 3, 40, do_event, "event MATCH KIND [KEY=VALUE... | JSON]" },
    { "show", 2, 2, do_show, "show MATCH" },
    { "cancel", 2, 2, do_cancel, "cancel MATCH" },
};

const char *ctl_match_word(size_t i)
{
    return i < ARRAY_LEN(subs) ? subs[i].name : NULL;
}

static const char *nth_sub(const void *ctx, size_t i)
{
    UNUSED(ctx);
    return ctl_match_word(i);
}

int verb_match(struct ctl *c)
{
    const char *word = arg(c, 0), *near;

    if (!word)
        return do_list(c);
    for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
        const struct sub *s = &subs[i];

        if (strcmp(word, s->name) != 0)
            continue;
        if (c->arg_count < s->least || c->arg_count > s->most)
            return ctl_usage(c, "it is: match %s", s->usage);
        return s->run(c);
    }
    near = opt_nearest(slice_str(word), nth_sub, NULL);
    return ctl_usage(c, "match does not know %s%s%s%s", word,
                     near ? "; did you mean " : "", near ? near : "",
                     near ? "?" : "");
}
