#include "proto/reread.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "proto/sheet.h"

int reread_init(struct reread *r, struct cli *cli, const char *kind)
{
    *r = (struct reread){ .cli = cli, .kind = kind,
                          .keeper = { .fd = -1 },
                          .edition = cli->edition, .refused = cli->refused };
    if (cli->sheet >= 0 || !cli->config_file)
        return 0;
    return keeper_start(&r->keeper, cli->config_file,
                        (enum sandbox)cli->config->process.sandbox);
}

/* A child of the supervisor's says nothing: that one does, once. */
static void differs(void *ctx, const struct config_change *c)
{
    struct reread *r = ctx;

    if (r->cli->sheet < 0 && config_change_concerns(c, r->kind))
        r->ops->differs(r->ctx, c);
}

static void take(struct reread *r, struct slice text)
{
    struct opt_error err;
    int rc = cli_load_again(r->cli, text, &r->next, &err);

    if (rc == 0)
        rc = config_adopt(r->next, r->cli->config, false, differs, r, &err);
    if (rc == 0) {
        r->ops->use(r->ctx, r->next);
        return;
    }
    config_free(r->next);
    r->next = NULL;
    r->ops->refused(r->ctx, err.text);
}

static void told(void *ctx, struct slice text, const char *error)
{
    struct reread *r = ctx;

    if (error)
        r->ops->refused(r->ctx, error);
    else
        take(r, text);
}

int reread_watch(struct reread *r, struct loop *l,
                 const struct reread_ops *ops, void *ctx)
{
    r->ops = ops;
    r->ctx = ctx;
    return keeper_watch(&r->keeper, l, told, r);
}

static void say_edition(const struct reread *r)
{
    printf("reloaded %" PRIu64 "\n", r->edition);
    fflush(stdout);
}

/* The same once more is no change, but an answer to who has asked. */
static void take_sheet(struct reread *r)
{
    struct sheet_text t;
    int rc = sheet_read(r->cli->sheet, &t);

    if (rc < 0) {
        r->ops->refused(r->ctx, err_text(rc));
        return;
    }
    for (; r->refused < t.refused; r->refused++)
        r->ops->refused(r->ctx, NULL);
    r->coming = t.edition;
    if (t.edition == r->edition)
        say_edition(r);
    else
        take(r, t.now);
    opt_forget(&t.now);
    opt_forget(&t.first);
}

bool reread_begin(struct reread *r)
{
    if (r->next)
        r->again = true;
    else if (r->cli->sheet >= 0)
        take_sheet(r);
    else if (r->cli->config_file)
        keeper_ask(&r->keeper);
    return r->cli->sheet >= 0 || r->cli->config_file;
}

static void go_on(struct reread *r)
{
    if (!r->again)
        return;
    r->again = false;
    (void)reread_begin(r);
}

void reread_drop(struct reread *r)
{
    config_free(r->next);
    r->next = NULL;
    go_on(r);
}

void reread_done(struct reread *r)
{
    config_free(r->cli->config);
    r->cli->config = r->next;
    r->next = NULL;
    if (r->cli->sheet >= 0) {
        r->edition = r->coming;
        say_edition(r);
    }
    go_on(r);
}

void reread_stop(struct reread *r)
{
    if (r->cli)
        keeper_stop(&r->keeper);
}

void reread_fini(struct reread *r)
{
    config_free(r->next);
    r->next = NULL;
}
