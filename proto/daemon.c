#include "proto/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "proto/memory.h"

/* ---- the cage ---------------------------------------------------------- */

int daemon_enter_cage(const struct cage *cage, const struct cli *cli,
                      const struct user *user)
{
    struct cage_report r;
    int rc;

    memory_open_figures();
    rc = cage_enter(cage, (enum sandbox)cli->config->process.sandbox, &r);
    if (user->is_root && !user->asked)
        log_warn("process.root", "cure=\"set process.user\"");
    if (r.missing[0])
        log_warn("process.cage_weak", "missing=\"%s\" %s", r.missing, r.text);
    else
        log_info("process.cage", "user=%s %s", user->name, r.text);
    if (rc < 0)
        fprintf(stderr, "%s: process.sandbox = on, and there is no %s\n",
                cli->binary, r.missing);
    return rc;
}

/* ---- reading the configuration again ----------------------------------- */

static void on_difference(void *ctx, const struct config_change *c)
{
    struct daemon *d = ctx;

    if (c->waits)
        log_warn("config.unchanged", "%s", config_change_text(c).text);
    else
        log_info("config.changed", "%s", config_change_text(c).text);
    d->changed += !c->waits;
    d->left += c->waits;
}

static void use(void *ctx, const struct config *next)
{
    struct daemon *d = ctx;

    d->ops->use(d->ctx, next);
}

/* Without why the supervisor has logged it. */
static void on_refused(void *ctx, const char *why)
{
    struct daemon *d = ctx;

    d->ops->reloaded(d->ctx, true);
    d->changed = d->left = 0;
    if (why)
        log_error("config.refused", "why=%s action=keep_the_old_one",
                  log_quote(slice_str(why)).text);
}

static void on_hangup(void *ctx)
{
    struct daemon *d = ctx;

    if (log_reopen() < 0)
        log_error("log.reopen", "result=failed action=keep_the_old_one");
    if (!reread_begin(&d->reread))
        log_info("log.reopen", "config=none");
}

void daemon_init(struct daemon *d, struct cli *cli, const char *kind)
{
    *d = (struct daemon){.cli = cli};
    if (reread_init(&d->reread, cli, kind) < 0)
        log_error("config.keeper", "error=\"%s\" "
                  "action=SIGHUP_will_change_nothing", strerror(errno));
}

int daemon_watch(struct daemon *d, struct loop *l,
                 const struct daemon_ops *ops, void *ctx)
{
    static const struct reread_ops reread_ops = {on_difference, use,
                                                 on_refused};
    int rc;

    d->ops = ops;
    d->ctx = ctx;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGUSR2, SIG_IGN);
    rc = reread_watch(&d->reread, l, &reread_ops, d);
    if (rc == 0)
        rc = loop_signal_start(&d->hangup, l, SIGHUP, on_hangup, d);
    return rc;
}

void daemon_configured(struct daemon *d)
{
    log_set_level((enum log_level)d->reread.next->log.level);
    d->ops->reloaded(d->ctx, false);
    if (d->cli->sheet < 0)
        log_info("config.reloaded", "changed=%u unchanged=%u", d->changed,
                 d->left);
    d->changed = d->left = 0;
    reread_done(&d->reread);
}

void daemon_keeps(struct daemon *d, const char *why)
{
    on_refused(d, why);
    reread_drop(&d->reread);
}

void daemon_stop(struct daemon *d)
{
    loop_signal_stop(&d->hangup);
    reread_stop(&d->reread);
}

void daemon_fini(struct daemon *d)
{
    reread_fini(&d->reread);
}
