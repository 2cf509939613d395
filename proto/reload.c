#include "proto/reload.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/secret.h"
#include "proto/config_rows.h"

struct adoption {
    struct config *next;
    const struct config *now;
    bool starting;
    config_change_fn *fn;
    void *ctx;
};

void config_change_key(struct buf *out, const struct config_change *c)
{
    buf_add_str(out, c->row->section);
    if (c->name)
        buf_addf(out, " %s", c->name);
    buf_addf(out, ".%s", c->row->key);
}

const char *config_change_when(const struct config_change *c)
{
    bool settled = c->waits && c->row->change < CHANGE_PROCESS;

    return opt_change_text(settled ? CHANGE_PROCESS : c->row->change);
}

struct config_change_text config_change_text(const struct config_change *c)
{
    struct config_change_text ret;
    struct buf key = BUF_INIT;

    config_change_key(&key, c);
    snprintf(ret.text, sizeof ret.text, "key=%s changes=\"%s\"",
             log_quote(buf_slice(&key)).text, config_change_when(c));
    buf_fini(&key);
    return ret;
}

bool config_change_concerns(const struct config_change *c, const char *kind)
{
    struct slice users = slice_str(c->row->users);

    while (users.len) {
        struct slice user = slice_split(&users, ' ');

        if (slice_eq(user, slice_str(kind)) || slice_eq(user, SLICE("all")))
            return true;
    }
    return false;
}

static void tell(const struct adoption *a, const struct opt_row *row,
                 const char *name, bool waits)
{
    struct config_change c = { row, name, waits };

    if (a->fn)
        a->fn(a->ctx, &c);
}

static bool has_to_wait(const struct adoption *a, const struct opt_row *row)
{
    return row->change == CHANGE_TOUCHLINE ||
           (row->change == CHANGE_PROCESS && !a->starting);
}

/* ---- sections that are there once --------------------------------------- */

static int adopt_plain(const struct adoption *a)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < config_row_count; i++) {
        const struct opt_row *row = &config_rows[i];

        if (config_is_plural(row) || opt_equal(row, a->next, a->now))
            continue;
        tell(a, row, NULL, has_to_wait(a, row));
        if (has_to_wait(a, row))
            rc = opt_copy(row, a->next, a->now);
    }
    return rc;
}

/* ---- namespaces --------------------------------------------------------- */

static bool keeps(const struct config_namespace *n)
{
    return n->durability != DURABILITY_MEMORY;
}

/* With the router's next start. */
static bool is_settled(const struct adoption *a, const struct opt_row *row,
                       const struct config_namespace *next,
                       const struct config_namespace *now)
{
    if (a->starting)
        return false;
    return row->change == CHANGE_PROCESS ||
           (keeps(next) != keeps(now) &&
            (row->offset == offsetof(struct config_namespace, durability) ||
             row->offset == offsetof(struct config_namespace, history)));
}

/* The rules for the ids of this prefix that no longer one governs. */
static int adopt_rules(const struct adoption *a, const char *prefix)
{
    const struct config_namespace *now =
        config_namespace(a->now, slice_str(prefix));
    const struct config_namespace wanted =
        *config_namespace(a->next, slice_str(prefix));
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < config_row_count; i++) {
        const struct opt_row *row = &config_rows[i];
        struct config_namespace *own;
        bool waits;

        if (!config_is_section(row, "namespace") ||
            opt_equal(row, &wanted, now))
            continue;
        waits = is_settled(a, row, &wanted, now);
        tell(a, row, prefix, waits);
        own = waits ? config_own_namespace(a->next, prefix) : NULL;
        if (waits)
            rc = own ? opt_copy(row, own, now) : ERR_NOMEM;
    }
    return rc;
}

static bool has_namespace(const struct config *cfg, const char *prefix)
{
    return strcmp(config_namespace(cfg, slice_str(prefix))->prefix,
                  prefix) == 0;
}

/* Longest first, as they stand: what is made for a prefix is no rule for those
 * in front of it. A prefix that is only in one of the two governs its ids in
 * this one, too, by what is behind it. */
static int adopt_namespaces(const struct adoption *a)
{
    size_t count = a->next->namespace_count, gone = 0;
    char **names = calloc(count + 1, sizeof *names);
    int rc = names ? 0 : ERR_NOMEM;

    for (; rc == 0 && gone < count; gone++)
        if (!(names[gone] = strdup(a->next->namespaces[gone].prefix)))
            rc = ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < a->now->namespace_count; i++)
        if (!has_namespace(a->next, a->now->namespaces[i].prefix))
            rc = adopt_rules(a, a->now->namespaces[i].prefix);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = adopt_rules(a, names[i]);
    for (size_t i = 0; names && i < count; i++)
        free(names[i]);
    free(names);
    return rc;
}

/* ---- tokens ------------------------------------------------------------- */

static const struct config_token *token_named(const struct config *cfg,
                                              const char *name)
{
    for (size_t i = 0; i < cfg->token_count; i++)
        if (strcmp(cfg->tokens[i].name, name) == 0)
            return &cfg->tokens[i];
    return NULL;
}

/* other NULL: all that t has is new, or gone. */
static void tell_token(const struct adoption *a, const struct config_token *t,
                       const struct config_token *other)
{
    for (size_t i = 0; i < config_row_count; i++) {
        const struct opt_row *row = &config_rows[i];

        if (config_is_section(row, "token") &&
            (!other || !opt_equal(row, t, other)))
            tell(a, row, t->name, false);
    }
}

static void tell_tokens(const struct adoption *a)
{
    for (size_t i = 0; i < a->next->token_count; i++) {
        const struct config_token *t = &a->next->tokens[i];

        tell_token(a, t, token_named(a->now, t->name));
    }
    for (size_t i = 0; i < a->now->token_count; i++)
        if (!token_named(a->next, a->now->tokens[i].name))
            tell_token(a, &a->now->tokens[i], NULL);
}

const struct config_token *config_same_token(const struct config *next,
                                             const struct config_token *t)
{
    const struct config_token *same = token_named(next, t->name);

    return same && secret_equal(slice_str(same->secret), slice_str(t->secret))
               ? same
               : NULL;
}

/* ---- the whole ---------------------------------------------------------- */

int config_adopt(struct config *next, const struct config *now, bool starting,
                 config_change_fn *fn, void *ctx, struct opt_error *err)
{
    const struct adoption a = { next, now, starting, fn, ctx };
    int rc = adopt_plain(&a);

    if (rc == 0)
        rc = adopt_namespaces(&a);
    if (rc < 0) {
        opt_error_set(err, "%s", err_text(rc));
        return rc;
    }
    tell_tokens(&a);
    return config_check_together(next, err);
}
