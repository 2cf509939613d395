/* main.c - touchline-repeater: options, signals, the order of start and end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "proto/cage.h"
#include "proto/cli.h"
#include "proto/daemon.h"
#include "proto/notify.h"
#include "proto/place.h"
#include "proto/user.h"
#include "router/repeater/node.h"

#define SLOW_TURN (50 * MILLISECOND)

struct process {
    struct cli cli;
    const char *instance; /* --instance N */
    char name[PEER_NAME_MAX + 1];
    struct loop *loop;
    struct node node;
    struct user user;
    struct cage cage;
    struct loop_signal term, interrupt;
    struct loop_timer second;
    struct notify notify;
    struct heart heart;
    struct pulse pulse;
    struct voice voice;
    struct daemon daemon;
    bool ready, ending;
};

static int complain(const char *what)
{
    fprintf(stderr, "touchline-repeater: %s\n", what);
    return EXIT_FAILED;
}

/* ---- who it is, and what it may --------------------------------------- */

/* What the cage is to let it read and write has to be there. */
static void make_places(const struct process *p)
{
    const struct config *cfg = p->cli.config;
    char *own = config_path(cfg, p->name), *above = config_above_dir(cfg);

    if (own)
        place_make_links(own);
    if (above && (cfg->link.through[0] || !cfg->link.url[0]))
        place_make_links(above);
    free(own);
    free(above);
}

static int settle(struct process *p)
{
    const struct config *cfg = p->cli.config;
    char why[USER_WHY_MAX];
    int rc = user_settle(&p->user, cfg->process.user, cfg->dir, p->cli.check,
                         why);

    if (rc < 0) {
        (void)complain(why);
        return rc;
    }
    if (!p->cli.check)
        make_places(p);
    rc = cage_plan(&p->cage, CAGE_REPEATER, cfg, p->name, false);
    if (rc < 0)
        (void)complain("too many directories, or too long a path");
    return rc;
}

static enum sandbox sandbox(const struct process *p)
{
    return (enum sandbox)p->cli.config->process.sandbox;
}

/* ---- what comes -------------------------------------------------------- */

static void linked(void *ctx)
{
    struct process *p = ctx;

    if (p->ready)
        return;
    p->ready = true;
    printf("ready repeater %s\n", node_url(&p->node));
    fflush(stdout);
    notify_tell(&p->notify, "READY=1");
}

/* Its peers go to the next one, or wait for it. */
static void terminate(void *ctx)
{
    struct process *p = ctx;

    if (!p->ending) {
        log_info("repeater.drain", "action=drop_peers_and_stop");
        notify_tell(&p->notify, "STOPPING=1");
    }
    p->ending = true;
    loop_stop(p->loop);
}

static void turn_was_slow(void *ctx, const struct loop_slow *s)
{
    struct process *p = ctx;
    long long ms = s->took_ns / MILLISECOND;

    stat_add(&p->node.stats, STAT_SLOW_TURNS, 1);
    stat_add(&p->node.stats, STAT_SLOW_TURN_MS, (uint64_t)ms);
    log_warn("loop.slow", "gateway=%s ms=%lld longest=%s longest_ms=%lld",
             p->name, ms, s->where, (long long)(s->longest_ns / MILLISECOND));
}

/* Is the supervisor there? */
static void each_second(void *ctx)
{
    struct process *p = ctx;

    loop_timer_set(&p->second, SECOND);
    stat_set(&p->node.stats, STAT_SUPERVISOR_LOST,
             !voice_say(&p->voice, "X_LINKED=%d", p->node.linked));
}

/* ---- reading the configuration again ----------------------------------- */

static void use_config(void *ctx, const struct config *next)
{
    struct process *p = ctx;

    p->node.config = next;
    daemon_configured(&p->daemon);
}

static void count_reload(void *ctx, bool refused)
{
    struct process *p = ctx;

    stat_add(&p->node.stats, refused ? STAT_RELOADS_REFUSED : STAT_RELOADS, 1);
}

/* ---- the whole --------------------------------------------------------- */

static int watch_signals(struct process *p)
{
    static const struct daemon_ops ops = {use_config, count_reload};
    int rc = loop_signal_start(&p->term, p->loop, SIGTERM, terminate, p);

    if (rc == 0)
        rc = loop_signal_start(&p->interrupt, p->loop, SIGINT, terminate, p);
    if (rc == 0)
        rc = daemon_watch(&p->daemon, p->loop, &ops, p);
    return rc;
}

static int start(struct process *p)
{
    const char *why = "out of memory";
    int rc = loop_new(&p->loop);

    if (rc == 0)
        rc = node_init(&p->node, p->loop, p->cli.config, p->name, &why);
    if (rc == 0 && (rc = watch_signals(p)) < 0)
        why = "cannot catch signals";
    if (rc < 0) {
        log_error("repeater.failed", "why=%s action=exit",
                  log_quote(slice_str(why)).text);
        (void)complain(why);
        return rc;
    }
    p->node.ready = linked;
    p->node.ctx = p;
    stat_set(&p->node.stats, STAT_RESTARTS, cli_restarts());
    loop_tell_slow(p->loop, SLOW_TURN, turn_was_slow, p);
    loop_timer_init(&p->second, p->loop, each_second, p);
    each_second(p);
    heart_init(&p->heart, &p->notify, 1);
    pulse_start(&p->pulse, &p->heart, p->loop);
    return 0;
}

static int serve(struct process *p)
{
    int rc = start(p);

    if (rc == 0) {
        log_info("repeater.begin", "name=%s url=%s", p->name,
                 node_url(&p->node));
        rc = loop_run(p->loop);
    }
    pulse_stop(&p->pulse);
    if (p->second.loop)
        loop_timer_stop(&p->second);
    node_fini(&p->node);
    loop_signal_stop(&p->term);
    loop_signal_stop(&p->interrupt);
    daemon_stop(&p->daemon);
    loop_free(p->loop);
    log_info("repeater.end", "result=%s", rc < 0 ? err_name(rc) : "OK");
    return rc < 0 ? EXIT_FAILED : EXIT_DONE;
}

static int run(struct process *p)
{
    const struct config *cfg = p->cli.config;
    int code;

    if (p->cli.arg_count > 0)
        return cli_usage_error(&p->cli, "unexpected argument: %s",
                               p->cli.args[0]);
    snprintf(p->name, sizeof p->name, "repeater%u",
             (unsigned)atoi(p->instance) + 1);
    if (settle(p) < 0)
        return EXIT_FAILED;
    if (config_log_init(cfg, p->name) < 0) {
        fprintf(stderr, "touchline-repeater: %s: %s\n", cfg->log.file,
                strerror(errno));
        return EXIT_FAILED;
    }
    if (p->cli.check)
        return cage_check(&p->cage, sandbox(p), p->user.name) ? EXIT_DONE
                                                              : EXIT_FAILED;
    notify_open(&p->notify);
    if (cli_supervised())
        p->voice.notify = &p->notify;
    daemon_init(&p->daemon, &p->cli, "repeater");
    code = daemon_enter_cage(&p->cage, &p->cli, &p->user) < 0 ? EXIT_FAILED
                                                              : serve(p);
    daemon_fini(&p->daemon);
    notify_close(&p->notify);
    return code;
}

int main(int argc, char **argv)
{
    static struct process p = {.instance = "0"};
    const struct cli_option options[] = {
        {"instance", "N", "number among the repeaters of this directory, from "
         "0", NULL, &p.instance},
    };
    int code;

    check_report_signals("touchline-repeater");
    loop_signal_hold(SIGHUP);
    p.cli = (struct cli){
        .binary = "touchline-repeater",
        .about = "stands between the router of Touchline and many gateways: it "
                 "is sent a message once,\nand sends it to each of them that "
                 "wants it",
        .options = options,
        .option_count = ARRAY_LEN(options),
    };
    code = cli_parse(&p.cli, argc, argv);
    if (code < 0)
        code = run(&p);
    cli_fini(&p.cli);
    return code;
}
