/* main.c - touchline-router: options, signals, the order of start and end. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "proto/cage.h"
#include "proto/cli.h"
#include "proto/daemon.h"
#include "proto/frame.h"
#include "proto/memory.h"
#include "proto/notify.h"
#include "proto/user.h"
#include "router/router.h"

enum {
    CHECK_MS = 2000,
    LOCK_MS = 3000,
    ARENAS = 4, /* of malloc: the loop's, the store's writer's and readers', and
                   NNG's threads' */
};

struct process {
    struct cli cli;
    const char *restore; /* --restore FILE */
    const char *for_link; /* --for-link N */
    char *file;          /* the database */
    struct loop *loop;
    struct router router;
    struct rendezvous *rendezvous;
    struct user user;
    struct cage *cage; /* NULL: not planned yet, or entered */
    struct memory_watch memory;
    struct loop_signal term, interrupt;
    struct loop_timer bound; /* of the orderly end */
    struct loop_turn turn;
    struct notify notify;
    struct heart heart;
    struct pulse pulse;
    struct voice voice;
    struct loop_timer second;
    struct daemon daemon;
};

/* ---- the store --------------------------------------------------------- */

static void log_report(const struct history *h,
                       const struct history_report *report)
{
    log_info("store.open", "file=%s epoch=%s epoch_why=%s clean=%d check=%s "
             "last_seq=%" PRIu64 " next_seq=%" PRIu64,
             log_quote(slice_str(history_path(h))).text, history_epoch(h),
             epoch_reason_name(report->why), report->clean,
             report->check == CHECK_GOOD      ? "good"
             : report->check == CHECK_PARTIAL ? "good_so_far"
             : report->check == CHECK_BAD     ? "bad"
                                              : "none",
             history_last_seq(h), history_next_seq(h));
    if (report->check == CHECK_BAD || report->damaged_ids)
        log_error("store.damaged", "rebuilt_rows=%" PRIu64 " text=%s "
                  "action=serve_what_is_readable", report->damaged_ids,
                  log_quote(slice_str(report->text)).text);
}

/* A sentence for people on standard error; the log says it too. */
static int store_failed(const char *file, int rc,
                        const struct history_report *report)
{
    const char *text = report->text[0] ? report->text : err_text(rc);

    log_error("store.failed", "file=%s error=%s text=%s action=exit",
              log_quote(slice_str(file)).text, err_name(rc),
              log_quote(slice_str(text)).text);
    fprintf(stderr, "touchline-router: %s: %s\n", file, text);
    return rc;
}

/* A store that a later version has written is as it is, however often it is
 * opened: who started this is to know. */
static int exit_code(int rc)
{
    return rc == ERR_VERSION ? EXIT_REFUSED
           : rc < 0          ? EXIT_FAILED
                             : EXIT_DONE;
}

static struct history_options store_options(const struct process *p)
{
    return (struct history_options){
        .path = p->file,
        .policy = router_keep,
        .policy_arg = p->cli.config,
        .check_ms = CHECK_MS,
        .busy_ms = LOCK_MS,
        .ballast = p->cli.config->store.ballast,
    };
}

static int open_store(const struct process *p, struct history **ret)
{
    struct history_report report = {.check = CHECK_NONE};
    struct history_options opt = store_options(p);
    int rc = history_open(ret, &opt, &report);

    if (rc < 0)
        return store_failed(p->file, rc, &report);
    log_report(*ret, &report);
    return 0;
}

/* That the directory is there is on the disk, too: once in the cage, the one
 * above it cannot be opened. */
static void sync_above(const char *dir)
{
    char above[4096];
    int n = snprintf(above, sizeof above, "%s/..", dir);
    int fd = n > 0 && (size_t)n < sizeof above
                 ? open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

static int make_dir(const char *dir)
{
    if (mkdir(dir, 0750) < 0 && errno != EEXIST) {
        fprintf(stderr, "touchline-router: %s: %s\n", dir, strerror(errno));
        return ERR_IO;
    }
    sync_above(dir);
    return 0;
}

/* Where file lies. Returns ret. */
static const char *folder_of(const char *file, char ret[PATH_MAX])
{
    char *slash;

    snprintf(ret, PATH_MAX, "%s", file);
    slash = strrchr(ret, '/');
    if (!slash)
        return ".";
    slash[slash == ret] = '\0';
    return ret;
}

/* The store writes beside its file, too. Looked at in front of the cage, in
 * which nobody has a name. */
static int may_use_folder(const struct process *p)
{
    char folder[PATH_MAX], whose[USER_WHOSE_MAX];
    const char *dir = folder_of(p->file, folder);

    if (faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) == 0 ||
        errno == ENOENT) /* which opening it will tell of */
        return 0;
    fprintf(stderr, "touchline-router: cannot use %s: %s%s\n", dir,
            strerror(errno), user_whose(dir, whose));
    return ERR_DENIED;
}

/* ---- who it is, and what it may --------------------------------------- */

static int settle(struct process *p)
{
    const struct config *cfg = p->cli.config;
    char why[USER_WHY_MAX];
    int rc = user_settle(&p->user, cfg->process.user, cfg->dir, p->cli.check,
                         why);

    if (rc < 0)
        fprintf(stderr, "touchline-router: %s\n", why);
    return rc;
}

/* It is large, and of no use once the process is in it. */
static void forget_plan(struct process *p)
{
    free(p->cage);
    p->cage = NULL;
}

static int plan_cage(struct process *p)
{
    int rc;

    p->cage = malloc(sizeof *p->cage);
    rc = p->cage ? cage_plan(p->cage, CAGE_ROUTER, p->cli.config, NULL, false)
                 : ERR_NOMEM;
    if (rc == ERR_NOMEM)
        fprintf(stderr, "touchline-router: out of memory\n");
    else if (rc < 0)
        fprintf(stderr, "touchline-router: too many directories, or too long "
                "a path\n");
    return rc;
}

/* In front of the first other thread. */
static int enter_cage(struct process *p)
{
    int rc = plan_cage(p);

    if (rc == 0)
        rc = daemon_enter_cage(p->cage, &p->cli, &p->user);
    forget_plan(p);
    return rc;
}

/* ---- --restore, --check ------------------------------------------------ */

static int restore(const struct process *p)
{
    char why[256] = "";
    int rc;

    if (may_use_folder(p) < 0)
        return EXIT_FAILED;
    rc = history_restore(p->restore, p->file, why);
    if (rc < 0) {
        fprintf(stderr, "touchline-router: %s: %s\n", p->restore,
                why[0] ? why : err_text(rc));
        return rc == ERR_NOT_FOUND ? EXIT_NOT_FOUND : EXIT_FAILED;
    }
    fprintf(stderr, "touchline-router: %s is installed as %s\n", p->restore,
            p->file);
    return EXIT_DONE;
}

/* Do gateways that speak this version understand it? */
static bool is_for_link(const struct process *p)
{
    if (!p->for_link || atoi(p->for_link) == FRAME_VERSION)
        return true;
    fprintf(stderr, "touchline-router: it speaks link version %d, and not %s\n",
            FRAME_VERSION, p->for_link);
    return false;
}

/* The configuration was good, or we would not be here. */
static int check(struct process *p)
{
    struct history_options opt = store_options(p);
    struct history_report report;
    int rc = history_look(&opt, &report);

    if (!is_for_link(p))
        return EXIT_FAILED;
    if (rc < 0 && rc != ERR_NOT_FOUND) {
        return exit_code(store_failed(p->file, rc, &report));
    }
    /* Root, who will be another, gives that one the directory first. */
    if (rc < 0 && !p->user.changes && may_use_folder(p) < 0)
        return EXIT_FAILED;
    printf("database %s: %s\n", p->file, rc < 0 ? "will be made" : "good");
    return plan_cage(p) == 0 &&
                   cage_check(p->cage,
                              (enum sandbox)p->cli.config->process.sandbox,
                              p->user.name)
               ? EXIT_DONE : EXIT_FAILED;
}

/* ---- the end ----------------------------------------------------------- */

static void stop(void *ctx)
{
    struct process *p = ctx;

    log_warn("router.hurried", "action=stop_now");
    loop_stop(p->loop);
}

static void end_of_turn(void *ctx)
{
    struct process *p = ctx;

    if (router_drained(&p->router))
        loop_stop(p->loop);
}

static void terminate(void *ctx)
{
    struct process *p = ctx;

    if (p->router.draining) {
        stop(p);
        return;
    }
    log_info("router.drain", "action=commit_and_stop");
    notify_tell(&p->notify, "STOPPING=1");
    loop_timer_set(&p->bound, p->router.config->limits.drain_wait);
    router_drain(&p->router);
}

/* ---- reading the configuration again ----------------------------------- */

static void configured(void *ctx)
{
    struct process *p = ctx;

    daemon_configured(&p->daemon);
}

static void use_config(void *ctx, const struct config *next)
{
    struct process *p = ctx;
    int rc = router_configure(&p->router, next, configured, p);

    if (rc < 0)
        daemon_keeps(&p->daemon, err_text(rc));
}

static void count_reload(void *ctx, bool refused)
{
    struct process *p = ctx;

    stat_add(&p->router.stats, refused ? STAT_RELOADS_REFUSED : STAT_RELOADS,
             1);
}

/* ---- each second, and at the end --------------------------------------- */

/* Everybody gets what was answered before the links close. */
static void flush_links(struct process *p)
{
    int64_t until = clock_ns() + MIN(p->router.config->limits.drain_wait,
                                     2 * SECOND);

    LIST_FOREACH(l, &p->router.links.all, struct link, node) {
        int64_t left = (until - clock_ns()) / MILLISECOND;

        if (left > 0)
            lane_flush(&l->lane, (int)left);
    }
}

/* It goes on, but each line that is lost from here on costs descriptors. */
static void watch_nng(struct process *p)
{
    struct stats *s = &p->router.stats;
    bool stuck = p->rendezvous && rendezvous_is_stuck(p->rendezvous);

    if (stuck && !stat_get(s, STAT_NNG_STUCK))
        log_error("nng.stuck", "process=router cure=\"touchline upgrade, or end "
                  "this process: it is started again\" action=go_on");
    stat_set(s, STAT_NNG_STUCK, stuck);
}

/* What touchline cannot see from outside: who waits for a disk, or behind many
 * who do, does not wait for another router. */
static void speak(void *ctx)
{
    struct process *p = ctx;
    int64_t ms = canary_held_ns(&p->router, clock_ns()) / MILLISECOND;

    loop_timer_set(&p->second, SECOND);
    stat_set(&p->router.stats, STAT_TRIMS, p->memory.trims);
    stat_set(&p->router.stats, STAT_TRIMS_LEFT, p->memory.left);
    stat_set(&p->router.stats, STAT_SUPERVISOR_LOST,
             !voice_say(&p->voice, "X_STORE_MS=%" PRId64, ms));
    watch_nng(p);
}

/* ---- the start --------------------------------------------------------- */

static int watch_signals(struct process *p)
{
    static const struct daemon_ops ops = {use_config, count_reload};
    int rc = loop_signal_start(&p->term, p->loop, SIGTERM, terminate, p);

    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a full disk */
    if (rc == 0)
        rc = loop_signal_start(&p->interrupt, p->loop, SIGINT, terminate, p);
    if (rc == 0)
        rc = daemon_watch(&p->daemon, p->loop, &ops, p);
    loop_timer_init(&p->bound, p->loop, stop, p);
    loop_turn_start(&p->turn, p->loop, end_of_turn, p);
    return rc;
}

static int open_door(struct process *p)
{
    const struct config *cfg = p->router.config;
    struct rendezvous_options opt = {
        .url = cfg->router.url[0] ? cfg->router.url : NULL,
        .dir = cfg->dir,
        .secret = cfg->link.secret[0] ? cfg->link.secret : NULL,
        .life = p->router.life,
        .limits = {cfg->limits.link_batch, cfg->limits.link_queue},
    };
    const char *why = "";
    int rc = rendezvous_open(&p->rendezvous, p->loop, &opt, &link_rendezvous,
                             &p->router, &why);

    if (rc < 0) {
        log_error("router.door", "error=%s why=%s action=exit", err_name(rc),
                  log_quote(slice_str(why)).text);
        fprintf(stderr, "touchline-router: %s\n", why);
        return rc;
    }
    p->router.rendezvous = p->rendezvous;
    return 0;
}

static int start(struct process *p)
{
    struct history *h;
    int rc = loop_new(&p->loop);

    if (rc == 0)
        rc = open_store(p, &h);
    if (rc < 0)
        return rc;
    rc = router_init(&p->router, p->loop, p->cli.config, h);
    if (rc < 0)
        return store_failed(p->file, rc,
                            &(struct history_report){.text = ""});
    stat_set(&p->router.stats, STAT_RESTARTS, cli_restarts());
    stat_set(&p->router.stats, STAT_MUTE_RESTARTS, cli_mute_restarts());
    loop_timer_init(&p->second, p->loop, speak, p);
    speak(p);
    heart_init(&p->heart, &p->notify, 1);
    pulse_start(&p->pulse, &p->heart, p->loop);
    rc = watch_signals(p);
    return rc < 0 ? rc : open_door(p);
}

static int serve(struct process *p)
{
    int rc = start(p);

    if (rc == 0) {
        printf("ready router %s\n", rendezvous_url(p->rendezvous));
        fflush(stdout);
        notify_tell(&p->notify, "READY=1");
        log_info("router.ready", "url=%s ids=%zu epoch=%s seq=%" PRIu64,
                 rendezvous_url(p->rendezvous),
                 map_count(&p->router.table.topics), p->router.epoch.text,
                 p->router.seq);
        memory_watch_start(&p->memory, p->loop);
        rc = loop_run(p->loop);
        memory_watch_stop(&p->memory);
        flush_links(p);
    }
    loop_turn_stop(&p->turn);
    pulse_stop(&p->pulse);
    if (p->second.loop)
        loop_timer_stop(&p->second);
    router_fini(&p->router);
    rendezvous_close(p->rendezvous);
    loop_signal_stop(&p->term);
    loop_signal_stop(&p->interrupt);
    daemon_stop(&p->daemon);
    loop_free(p->loop);
    log_info("router.end", "result=%s", rc < 0 ? err_name(rc) : "OK");
    return exit_code(rc);
}

static int open_log(const struct config *cfg)
{
    int rc = config_log_init(cfg, "router");

    if (rc < 0)
        fprintf(stderr, "touchline-router: %s: %s\n", cfg->log.file,
                strerror(errno));
    return rc;
}

static int run(struct process *p)
{
    const struct config *cfg = p->cli.config;
    int rc;

    memory_settle(ARENAS);
    if (p->cli.arg_count > 0)
        return cli_usage_error(&p->cli, "unexpected argument: %s",
                               p->cli.args[0]);
    p->file = config_path(cfg, cfg->store.file);
    if (!p->file || settle(p) < 0 ||
        (!p->cli.check && make_dir(cfg->dir) < 0) || open_log(cfg) < 0)
        return EXIT_FAILED;
    if (p->restore)
        return restore(p);
    if (p->cli.check)
        return check(p);
    notify_open(&p->notify);
    if (cli_supervised())
        p->voice.notify = &p->notify;
    daemon_init(&p->daemon, &p->cli, "router");
    rc = may_use_folder(p) < 0 || enter_cage(p) < 0 ? EXIT_FAILED : serve(p);
    daemon_fini(&p->daemon);
    notify_close(&p->notify);
    return rc;
}

int main(int argc, char **argv)
{
    static struct process p;
    const struct cli_option options[] = {
        {"restore", "FILE", "install a backup as the database, and exit",
         NULL, &p.restore},
        {"for-link", "N", "with --check: fail if it speaks another version of "
         "the link", NULL, &p.for_link},
    };
    int rc;

    check_report_signals("touchline-router");
    loop_signal_hold(SIGHUP); /* a large store takes its time to open */
    p.cli = (struct cli){
        .binary = "touchline-router",
        .about = "knows who is connected as what, keeps what is said, and "
                 "sends it to those who listen",
        .options = options,
        .option_count = ARRAY_LEN(options),
    };
    rc = cli_parse(&p.cli, argc, argv);
    if (rc < 0)
        rc = run(&p);
    forget_plan(&p);
    cli_fini(&p.cli);
    free(p.file);
    return rc;
}
