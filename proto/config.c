#include "proto/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/secret.h"
#include "proto/config_rows.h"
#include "proto/endpoint.h"

/* --- assignments, collected first: a namespace can only be filled when it is
 * known which others there are --- */

struct setting {
    const struct opt_row *row;
    struct opt_assign assign; /* slices and `where` are copies in text */
    char *text;
    size_t size; /* of text, which has zeroes in it */
};

struct settings {
    struct setting *at;
    size_t count, room;
};

/* The namespaces that Touchline ships: plain ids have the rows' defaults. */
static const struct {
    const char *prefix, *key, *value;
} shipped[] = {
    { "room/", "presence", "yes" },
    { "room/", "slow", "drop-oldest" },
    { "match/", "history", "all" },
    { "match/", "history_age", "all" },
    { "match/", "durability", "power" },
    { "match/", "slow", "conflate" },
    { "match/", "publish", "loopback" },
    { "match/", "compress", "yes" },
    { "team/", "history", "all" },
    { "team/", "history_age", "all" },
    { "team/", "durability", "power" },
    { "team/", "slow", "conflate" },
    { "team/", "publish", "loopback" },
    { "team/", "compress", "yes" },
    { "volatile/", "history", "0" },
    { "volatile/", "durability", "memory" },
};

static void settings_fini(struct settings *s)
{
    for (size_t i = 0; i < s->count; i++) {
        secret_wipe(s->at[i].text, s->at[i].size);
        free(s->at[i].text);
    }
    free(s->at);
}

static bool settings_room(struct settings *s)
{
    size_t room = MAX(s->room * 2, (size_t)32);
    struct setting *at;

    if (s->count < s->room)
        return true;
    at = realloc(s->at, room * sizeof *at);
    if (!at)
        return false;
    s->at = at;
    s->room = room;
    return true;
}

/* One copy holds all the parts of an assignment. */
static char *copy_assign(struct opt_assign *a, size_t *size)
{
    struct slice where = slice_str(a->where);
    char *text, *at;

    *size = where.len + 1 + a->name.len + a->value.len + 1;
    at = text = malloc(*size);

    if (!text)
        return NULL;
    memcpy(at, a->where, where.len + 1);
    a->where = at;
    at += where.len + 1;
    if (a->name.len)
        memcpy(at, a->name.ptr, a->name.len);
    a->name.ptr = (uint8_t *)at;
    at += a->name.len;
    if (a->value.len)
        memcpy(at, a->value.ptr, a->value.len);
    a->value.ptr = (uint8_t *)at;
    at[a->value.len] = '\0';
    return text;
}

static int check_name(const struct opt_row *row, const struct opt_assign *a,
                      struct opt_error *err)
{
    const char *what = NULL;

    if (!config_is_plural(row) && a->name.len)
        what = "this section has no name";
    else if (config_is_section(row, "token") && a->name.len == 0)
        what = "a token needs a name, as in [token reporter]";
    else if (slice_find_byte(a->name, '*') < a->name.len)
        what = "a prefix is taken as it is: without *, as in [namespace room/]";
    if (!what)
        return 0;
    opt_error_set(err, "%s: [%s " SLICE_FMT "]: %s", a->where, row->section,
                  SLICE_ARG(a->name), what);
    return ERR_BAD;
}

static int collect(void *ctx, const struct opt_assign *a, struct opt_error *err)
{
    struct settings *s = ctx;
    struct setting new = { .assign = *a };
    int rc;

    new.row = opt_find(config_rows, config_row_count, a, err);
    if (!new.row)
        return ERR_BAD;
    rc = check_name(new.row, a, err);
    if (rc < 0)
        return rc;
    new.text = settings_room(s) ? copy_assign(&new.assign, &new.size)
                                : NULL;
    if (!new.text)
        return ERR_NOMEM;
    s->at[s->count++] = new;
    return 0;
}

static int collect_all(struct settings *s, const struct config_source *from,
                       struct opt_error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(shipped); i++) {
        struct opt_assign a = {
            .where = "shipped", .section = SLICE("namespace"),
            .name = slice_str(shipped[i].prefix),
            .key = slice_str(shipped[i].key),
            .value = slice_str(shipped[i].value),
        };

        rc = collect(s, &a, err);
    }
    if (rc == 0 && from->file)
        rc = from->text ? opt_read_text(from->file, *from->text, collect, s,
                                        err)
                        : opt_read_file(from->file, collect, s, err);
    for (size_t i = 0; rc == 0 && i < from->set_count; i++)
        rc = opt_read_set(from->sets[i], collect, s, err);
    return rc;
}

/* --- filling in --- */

/* Is it a row of this section; for NULL: of any that is not plural? */
static bool belongs(const struct opt_row *row, const char *section)
{
    return section ? config_is_section(row, section) : !config_is_plural(row);
}

/* Defaults of a section (NULL: of all that are not plural) into base. */
static int put_defaults(const char *section, void *base)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < config_row_count; i++)
        if (belongs(&config_rows[i], section))
            rc = opt_put_default(&config_rows[i], base);
    return rc;
}

/* What was set for [section name] (NULL: for all that are not plural). */
static int put_settings(const struct settings *s, const char *section,
                        const char *name, void *base, struct opt_error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < s->count; i++) {
        const struct setting *one = &s->at[i];
        bool ours = belongs(one->row, section)
                    && slice_eq(one->assign.name, slice_str(name));

        if (ours)
            rc = opt_put(one->row, base, &one->assign, err);
    }
    return rc;
}

/* They are sorted, so the first that fits is the longest. */
static const struct config_namespace *find_namespace(const struct config *cfg,
                                                     struct slice id)
{
    for (size_t i = 0; i < cfg->namespace_count; i++)
        if (slice_starts(id, slice_str(cfg->namespaces[i].prefix)))
            return &cfg->namespaces[i];
    return NULL;
}

/* A namespace begins as a copy of the next shorter one, which is complete:
 * they are made in the order of their length. */
static int fill_namespace(struct config *cfg, struct config_namespace *n,
                          const struct settings *s, struct opt_error *err)
{
    const struct config_namespace *parent =
        find_namespace(cfg, slice_str(n->prefix));
    char *prefix = n->prefix;
    int rc = 0;

    if (parent)
        *n = *parent;
    else
        rc = put_defaults("namespace", n);
    n->prefix = prefix;
    if (rc == 0)
        rc = put_settings(s, "namespace", n->prefix, n, err);
    /* Two ways to say that nothing is stored. */
    if (n->durability == DURABILITY_MEMORY)
        n->history = 0;
    if (n->history == 0)
        n->durability = DURABILITY_MEMORY;
    return rc;
}

/* The distinct names of a plural section's settings; `make` gets each. */
static int each_name(const struct settings *s, const char *section,
                     int (*make)(struct config *cfg, struct slice name),
                     struct config *cfg)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < s->count; i++)
        if (config_is_section(s->at[i].row, section))
            rc = make(cfg, s->at[i].assign.name);
    return rc;
}

static int make_namespace(struct config *cfg, struct slice prefix)
{
    struct config_namespace *n;

    for (size_t i = 0; i < cfg->namespace_count; i++)
        if (slice_eq(slice_str(cfg->namespaces[i].prefix), prefix))
            return 0;
    n = reallocarray(cfg->namespaces, cfg->namespace_count + 1, sizeof *n);
    if (!n)
        return ERR_NOMEM;
    cfg->namespaces = n;
    n += cfg->namespace_count;
    *n = (struct config_namespace){ .prefix = slice_dup(prefix) };
    if (!n->prefix)
        return ERR_NOMEM;
    cfg->namespace_count++;
    return 0;
}

static int make_token(struct config *cfg, struct slice name)
{
    struct config_token *t;

    for (size_t i = 0; i < cfg->token_count; i++)
        if (slice_eq(slice_str(cfg->tokens[i].name), name))
            return 0;
    t = reallocarray(cfg->tokens, cfg->token_count + 1, sizeof *t);
    if (!t)
        return ERR_NOMEM;
    cfg->tokens = t;
    t += cfg->token_count;
    *t = (struct config_token){ .name = slice_dup(name) };
    if (!t->name)
        return ERR_NOMEM;
    cfg->token_count++;
    return put_defaults("token", t);
}

static int longest_first(const void *pa, const void *pb)
{
    const struct config_namespace *a = pa, *b = pb;
    size_t la = strlen(a->prefix), lb = strlen(b->prefix);

    return la != lb ? (la < lb) - (la > lb) : strcmp(a->prefix, b->prefix);
}

static int fill_namespaces(struct config *cfg, const struct settings *s,
                           struct opt_error *err)
{
    size_t all;
    int rc = make_namespace(cfg, SLICE(""));

    if (rc == 0)
        rc = each_name(s, "namespace", make_namespace, cfg);
    if (rc < 0)
        return rc;
    all = cfg->namespace_count;
    qsort(cfg->namespaces, all, sizeof *cfg->namespaces, longest_first);
    /* Backwards: parents before children, and no parent but a filled one. */
    for (size_t i = all; rc == 0 && i-- > 0;) {
        struct config filled = { .namespaces = cfg->namespaces + i + 1,
                                 .namespace_count = all - i - 1 };

        rc = fill_namespace(&filled, &cfg->namespaces[i], s, err);
    }
    return rc;
}

static int fill_tokens(struct config *cfg, const struct settings *s,
                       struct opt_error *err)
{
    int rc = each_name(s, "token", make_token, cfg);

    for (size_t i = 0; rc == 0 && i < cfg->token_count; i++) {
        struct config_token *t = &cfg->tokens[i];

        rc = put_settings(s, "token", t->name, t, err);
        if (rc == 0 && t->secret[0] == '\0') {
            opt_error_set(err, "[token %s]: it has no secret", t->name);
            rc = ERR_BAD;
        }
    }
    return rc;
}

static int fill_dir(struct config *cfg, const char *dir,
                    struct opt_error *err)
{
    struct buf path = BUF_INIT;
    char *cwd = NULL;

    if (!dir)
        dir = "./var";
    if (dir[0] != '/') {
        cwd = getcwd(NULL, 0);
        if (!cwd) {
            opt_error_set(err, "the folder you are in cannot be named: %s: "
                          "cd to one that is there, or say --dir with a "
                          "path from /", strerror(errno));
            return ERR_IO;
        }
        buf_addf(&path, "%s/", cwd[1] ? cwd : "");
        dir += strncmp(dir, "./", 2) == 0 ? 2 : 0;
    }
    free(cwd);
    buf_add_str(&path, dir);
    cfg->dir = path.failed ? NULL : slice_dup(buf_slice(&path));
    buf_fini(&path);
    return cfg->dir ? 0 : ERR_NOMEM;
}

int config_log_init(const struct config *cfg, const char *name)
{
    char *file = cfg->log.file[0] ? config_path(cfg, cfg->log.file) : NULL;
    int rc = ERR_NOMEM;

    if (file || !cfg->log.file[0])
        rc = log_init(name, (enum log_level)cfg->log.level, file);
    free(file);
    return rc;
}

static void fill_workers(struct config_edge *edge)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (edge->workers == 0)
        edge->workers = processors > 0 ? (size_t)processors : 1;
}

static bool listens_locally(const struct opt_list *list)
{
    struct endpoint e;
    const char *why;

    for (size_t i = 0; i < list->count; i++)
        if (endpoint_parse(slice_str(list->items[i]), &e, &why) == 0 &&
            endpoint_is_loopback(&e))
            return true;
    return false;
}

/* Figures are for this machine only: on the main listener where that is
 * local, else on one of their own. */
static int fill_admin(struct config_edge *http)
{
    if (http->admin.count || !http->listen.count ||
        listens_locally(&http->listen))
        return 0;
    free(http->admin.items); /* an empty list has room, too */
    http->admin.items = calloc(1, sizeof *http->admin.items);
    if (http->admin.items)
        http->admin.items[0] = slice_dup(SLICE(ADMIN_LISTEN));
    if (!http->admin.items || !http->admin.items[0])
        return ERR_NOMEM;
    http->admin.count = 1;
    return 0;
}

/* Would strangers on a network reach this link? */
static bool is_remote(struct slice url)
{
    struct endpoint e;
    const char *why;

    return slice_starts(url, SLICE("tcp://"))
           && (endpoint_parse(slice_from(url, strlen("tcp://")), &e, &why) < 0
               || !endpoint_is_loopback(&e));
}

int config_check_together(const struct config *cfg, struct opt_error *err)
{
    const struct config_limits *l = &cfg->limits;
    const char *what = NULL;

    if (is_remote(slice_str(cfg->router.url)) && !cfg->link.secret[0])
        what = "router.url is not local, which needs link.secret";
    else if (is_remote(slice_str(cfg->link.url)) && !cfg->link.secret[0])
        what = "link.url is not local, which needs link.secret";
    else if (l->link_queue < l->link_batch)
        what = "limits.link_queue is smaller than limits.link_batch";
    else if (l->queue_total < l->queue)
        what = "limits.queue_total is smaller than limits.queue";
    else if (l->header_block < l->request_line)
        what = "limits.header_block is smaller than limits.request_line";
    if (!what)
        return 0;
    opt_error_set(err, "configuration: %s", what);
    return ERR_BAD;
}

static int fill(struct config *cfg, const struct config_source *from,
                const struct settings *s, struct opt_error *err)
{
    int rc = put_defaults(NULL, cfg);

    if (rc == 0)
        rc = fill_dir(cfg, from->dir, err);
    if (rc == 0)
        rc = put_settings(s, NULL, NULL, cfg, err);
    if (rc == 0)
        rc = fill_namespaces(cfg, s, err);
    if (rc == 0)
        rc = fill_tokens(cfg, s, err);
    if (rc < 0)
        return rc;
    fill_workers(&cfg->http);
    fill_workers(&cfg->tcp);
    fill_workers(&cfg->ws);
    if (fill_admin(&cfg->http) < 0)
        return ERR_NOMEM;
    return config_check_together(cfg, err);
}

int config_load(struct config **ret, const struct config_source *from,
                struct opt_error *err)
{
    struct settings s = { 0 };
    struct config *cfg = calloc(1, sizeof *cfg);
    int rc = ERR_NOMEM;

    opt_error_set(err, "%s", err_text(ERR_NOMEM));
    if (!cfg)
        goto fail;
    rc = collect_all(&s, from, err);
    if (rc == 0)
        rc = fill(cfg, from, &s, err);
    if (rc < 0)
        goto fail;
    settings_fini(&s);
    *ret = cfg;
    return 0;
fail:
    settings_fini(&s);
    config_free(cfg);
    return rc;
}

static void clear_section(const char *section, void *base)
{
    for (size_t i = 0; i < config_row_count; i++)
        if (belongs(&config_rows[i], section))
            opt_clear(&config_rows[i], base);
}

static void forget(char *secret)
{
    secret_wipe(secret, strlen(secret));
}

void config_forget_secrets(struct config *cfg)
{
    forget(cfg->link.secret);
    for (size_t i = 0; i < cfg->token_count; i++)
        forget(cfg->tokens[i].secret);
}

void config_free(struct config *cfg)
{
    if (!cfg)
        return;
    for (size_t i = 0; i < cfg->namespace_count; i++)
        free(cfg->namespaces[i].prefix);
    for (size_t i = 0; i < cfg->token_count; i++) {
        clear_section("token", &cfg->tokens[i]);
        free(cfg->tokens[i].name);
    }
    clear_section(NULL, cfg);
    free(cfg->namespaces);
    free(cfg->tokens);
    free(cfg->dir);
    free(cfg);
}

/* --- asking --- */

char *config_path(const struct config *cfg, const char *path)
{
    struct buf b = BUF_INIT;
    char *ret;

    if (path[0] != '/')
        buf_addf(&b, "%s/", cfg->dir);
    buf_add_str(&b, path);
    ret = b.failed ? NULL : slice_dup(buf_slice(&b));
    buf_fini(&b);
    return ret;
}

/* A router that took any port is found by what it wrote down. */
const char *config_above_url(const struct config *cfg)
{
    const char *url = cfg->link.url[0] ? cfg->link.url : cfg->router.url;
    size_t len = strlen(url);

    if (cfg->link.through[0] || !len)
        return NULL;
    return slice_eq(slice_from(slice_str(url), len - 2), SLICE(":0")) ? NULL
                                                                      : url;
}

char *config_above_dir(const struct config *cfg)
{
    return config_path(cfg, cfg->link.through[0] ? cfg->link.through
                                                 : cfg->dir);
}

const struct config_namespace *config_namespace(const struct config *cfg,
                                                struct slice id)
{
    const struct config_namespace *n = find_namespace(cfg, id);

    CHECK(n); /* "" fits all */
    return n;
}

bool config_compresses(const struct config *cfg, struct slice channel)
{
    struct slice fixed = slice_head(channel, slice_find_byte(channel, '*'));

    if (!config_namespace(cfg, fixed)->compress)
        return false;
    for (size_t i = 0; i < cfg->namespace_count && fixed.len < channel.len; i++)
        if (!cfg->namespaces[i].compress &&
            slice_starts(slice_str(cfg->namespaces[i].prefix), fixed))
            return false;
    return true;
}

struct config_namespace *config_own_namespace(struct config *cfg,
                                              const char *prefix)
{
    const struct config_namespace *rules =
        config_namespace(cfg, slice_str(prefix));
    struct config_namespace own = *rules;

    if (strcmp(rules->prefix, prefix) != 0) {
        if (make_namespace(cfg, slice_str(prefix)) < 0)
            return NULL;
        own.prefix = cfg->namespaces[cfg->namespace_count - 1].prefix;
        cfg->namespaces[cfg->namespace_count - 1] = own;
        qsort(cfg->namespaces, cfg->namespace_count, sizeof *cfg->namespaces,
              longest_first);
    }
    return (struct config_namespace *)(uintptr_t)config_namespace(
        cfg, slice_str(prefix));
}

const struct config_token *config_token(const struct config *cfg,
                                        struct slice secret)
{
    const struct config_token *found = NULL;

    for (size_t i = 0; i < cfg->token_count; i++)
        if (secret_equal(slice_str(cfg->tokens[i].secret), secret))
            found = &cfg->tokens[i];
    return found;
}

bool config_token_opens(const struct config_token *t, struct slice id)
{
    for (size_t i = 0; i < t->publish.count; i++) {
        struct slice prefix = slice_str(t->publish.items[i]);

        if (slice_eq(prefix, SLICE("/")) || slice_starts(id, prefix))
            return true;
    }
    return false;
}

const struct config_edge *config_edge(const struct config *cfg,
                                      const char *name)
{
    if (strcmp(name, "http") == 0)
        return &cfg->http;
    if (strcmp(name, "tcp") == 0)
        return &cfg->tcp;
    return strcmp(name, "ws") == 0 ? &cfg->ws : NULL;
}
