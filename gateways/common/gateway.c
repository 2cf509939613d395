#include "gateways/common/gateway.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/fanout.h"
#include "gateways/common/succession.h"
#include "gateways/common/uplink.h"
#include "proto/cage.h"
#include "proto/cli.h"
#include "proto/daemon.h"
#include "proto/replacing.h"
#include "proto/memory.h"
#include "proto/notify.h"
#include "proto/place.h"
#include "proto/report.h"
#include "proto/user.h"

enum { WORKERS_MAX = 256 }; /* what the option allows */

struct process;

/* Threads are there before the first client comes: whoever takes a predecessor's
 * can fail no more. They begin when all is well. */
enum gate { GATE_SHUT, GATE_OPEN, GATE_AWAY };

/* A thread and the gateway it runs; the first one is the process's own. */
struct worker {
    struct process *process;
    pthread_t thread;
    struct gateway g;
    struct listen_set listen;
    struct loop_wake drain_wake, config_wake;
    struct loop_timer drain_timer;
    struct pulse pulse;
    struct memory_watch memory;
    bool ready, done;
};

struct process {
    struct cli cli;
    const struct edge *edge;
    const struct config_edge *edge_config;
    const char *instance;
    struct loop_signal term, intr;
    struct worker *workers;
    unsigned count, running; /* of these, threads */
    pthread_mutex_t lock;
    pthread_cond_t opened;
    enum gate gate; /* lock */
    struct door *door;
    struct siblings *siblings; /* NULL: this process has the port alone */
    struct notify notify;
    struct heart heart;
    struct voice voice; /* the first worker's */
    struct user user;
    struct cage *cage; /* NULL: not planned yet, or entered */
    bool own_ports; /* opened here, not handed over */
    bool inherits;  /* from a predecessor */
    struct succession succession;
    atomic_uint waiting; /* workers that are not ready yet */
    struct daemon daemon;
    const struct config *next; /* to be in force; the workers' to read */
    atomic_uint behind;        /* workers that do not go on with it yet */
    struct loop_wake all_follow;
};

/* ---- what an edge may ask ---------------------------------------------- */

const struct config *gateway_config(const struct gateway *g)
{
    return g->config;
}

const struct config_edge *gateway_edge_config(const struct gateway *g)
{
    return g->edge_config;
}

const struct epoch *gateway_epoch(const struct gateway *g)
{
    return &g->epoch;
}

uint32_t gateway_epoch_number(const struct gateway *g)
{
    return g->epoch_number;
}

const char *gateway_name(const struct gateway *g)
{
    return g->name;
}

bool gateway_linked(const struct gateway *g)
{
    return g->linked && !g->resyncing;
}

bool gateway_mute(const struct gateway *g)
{
    return gateway_linked(g) && canary_late(g);
}

void gateway_set_edge_state(struct gateway *g, void *state)
{
    g->edge_state = state;
}

void *gateway_edge_state(const struct gateway *g)
{
    return g->edge_state;
}

void *gateway_take(struct gateway *g, size_t bytes)
{
    return slab_take(&g->moment, bytes);
}

void gateway_give(void *object)
{
    slab_give(object);
}

void gateway_add(struct gateway *g, unsigned stat, uint64_t n)
{
    stat_add(&g->stats, stat, n);
}

void gateway_limit(struct gateway *g, enum limit which)
{
    stat_add(&g->stats, STAT_LIMIT_MESSAGE + (unsigned)which, 1);
}

static const char *const closes[] = {
#define CLOSE(word, meaning) word,
#include "gateways/common/closes.def"
#undef CLOSE
};

void gateway_count(struct gateway *g, unsigned stat)
{
    stat_add(&g->stats, stat, 1);
}

void gateway_refused(struct gateway *g, struct slice code)
{
    tally_add(&g->refused, code);
}

/* Clients that lose it together come back one after the other. */
uint32_t gateway_retry_ms(struct gateway *g)
{
    enum { LEAST_MS = 1000, APART_MS = 100, SLOTS = 64 };

    return LEAST_MS + APART_MS * (g->retry_slot++ % SLOTS);
}

/* ---- the turn and the second ------------------------------------------- */

static void end_of_turn(void *ctx)
{
    struct gateway *g = ctx;

    start_turn(g);
    loop_mark(g->loop, "start_turn");
    pages_turn(g);
    loop_mark(g->loop, "pages_turn");
    slow_turn(g);
    loop_mark(g->loop, "slow_turn");
    thin_turn(g);
    loop_mark(g->loop, "thin_turn");
    fanout_turn(g);
    loop_mark(g->loop, "fanout_turn");
    canary_turn(g);
    deliver_expire(g);
    conns_end_of_turn(g);
}

static void turn_was_slow(void *ctx, const struct loop_slow *s)
{
    struct gateway *g = ctx;
    long long ms = s->took_ns / MILLISECOND;

    stat_add(&g->stats, STAT_SLOW_TURNS, 1);
    stat_add(&g->stats, STAT_SLOW_TURN_MS, (uint64_t)ms);
    log_warn("loop.slow", "gateway=%s ms=%lld longest=%s longest_ms=%lld",
             g->name, ms, s->where, (long long)(s->longest_ns / MILLISECOND));
}

/* The first worker speaks for all of the process. */
static void speak(struct gateway *g)
{
    struct process *p = g->worker->process;
    int64_t now_ns = clock_ns(), away_ns = 0;

    for (unsigned i = 0; i < p->count; i++)
        away_ns = MAX(away_ns,
                      canary_away_ns(&p->workers[i].g.canary, now_ns));
    stat_set(&g->stats, STAT_SUPERVISOR_LOST,
             !voice_say(&p->voice, "X_CANARY_MS=%lld",
                        (long long)(away_ns / MILLISECOND)));
}

static void each_second(void *ctx)
{
    struct gateway *g = ctx;

    slow_check(g);
    accept_count_drops(g);
    accept_room_again(g);
    pass_attend(g);
    pass_retry(g);
    asks_expire(g, clock_ns());
    pages_expire(g, clock_ns());
    canary_stats(g, clock_ns());
    if (g->worker) {
        stat_set(&g->stats, STAT_TRIMS, g->worker->memory.trims);
        stat_set(&g->stats, STAT_TRIMS_LEFT, g->worker->memory.left);
    }
    if (g->first && g->worker)
        speak(g);
    stat_set(&g->stats, STAT_RING_BYTES, g->ring.bytes);
    stat_set(&g->stats, STAT_RING_ENTRIES, g->ring.next - g->ring.first);
    stat_set(&g->stats, STAT_TOPICS, map_count(&g->topics.by_id));
    uplink_stats(g);
    loop_timer_set(&g->second, SECOND);
}

/* ---- a gateway --------------------------------------------------------- */

int gateway_init(struct gateway *g, const struct config *cfg,
                 const struct edge *edge, unsigned number, struct door *door)
{
    static const struct stat_row rows[] = {GATEWAY_STATS(STAT_AS_ROW)};
    int rc;

    g->config = cfg;
    g->edge = edge;
    g->door = door;
    g->edge_config = config_edge(cfg, edge->name);
    snprintf(g->name, sizeof g->name, "%s%u", edge->name, number);
    list_init(&g->lagging);
    list_init(&g->drained);
    g->looks = THIN_LOOKS;
    list_init(&g->fanouts);
    list_init(&g->ready);
    list_init(&g->waiting);
    list_init(&g->ahead);
    slabs_init(&g->moment);
    pages_init(&g->pages);
    asks_init(&g->asks);
    ring_init(&g->ring, g->config->limits.ring_total);
    g->out = malloc(sizeof *g->out);
    g->read_buffer = malloc(READ_BUFFER);
    if (!g->out || !g->read_buffer)
        return ERR_NOMEM;
    if ((rc = stats_init(&g->stats, rows, ARRAY_LEN(rows))) < 0 ||
        (rc = tally_init_codes(
             &g->refused, "refused_total",
             "errors told to clients, by their code")) < 0 ||
        (rc = tally_init(&g->closed, "closed_total", "why",
                         "clients' connections that ended", closes,
                         ARRAY_LEN(closes))) < 0 ||
        (rc = topics_init(&g->topics)) < 0 || (rc = loop_new(&g->loop)) < 0)
        return rc;
    conns_init(&g->conns, g);
    rc = pollset_new(&g->sockets, g->loop, conn_socket_event, g);
    if (rc < 0)
        return rc;
    wheel_init(&g->wheel, g->loop, conn_wheel_due, g);
    loop_turn_start(&g->end_of_turn, g->loop, end_of_turn, g);
    loop_tell_slow(g->loop, SLOW_TURN, turn_was_slow, g);
    loop_timer_init(&g->second, g->loop, each_second, g);
    loop_timer_set(&g->second, SECOND);
    canary_start(&g->canary, g);
    return g->edge->start ? g->edge->start(g) : 0;
}

void gateway_fini(struct gateway *g)
{
    if (!g->loop)
        return;
    accept_stop(g);
    pass_stop(g);
    drain_stop(g);
    doorstep_fini(&g->doorstep);
    conns_close(g);
    if (g->edge->stop)
        g->edge->stop(g);
    uplink_close(g);
    fanout_forget(g);
    deliver_forget(g);
    pages_fini(g);
    ring_fini(&g->ring);
    topics_fini(&g->topics);
    asks_fini(&g->asks);
    wheel_fini(&g->wheel);
    loop_timer_stop(&g->second);
    canary_stop(&g->canary);
    loop_turn_stop(&g->end_of_turn);
    pollset_free(g->sockets);
    stats_fini(&g->stats);
    tally_fini(&g->refused);
    tally_fini(&g->closed);
    slabs_fini(&g->moment);
    loop_free(g->loop);
    free(g->out);
    free(g->read_buffer);
}

static void print_ready(const struct process *p)
{
    const struct listen_address *a = &p->workers[0].listen.at[0];
    bool path = strncmp(a->text, "unix:", 5) == 0;

    printf("ready %s %s%s%s\n", p->edge->name, path ? "" : p->edge->scheme,
           path ? "" : "://", a->text);
    fflush(stdout);
    notify_tell(&p->notify, "READY=1");
}

void gateway_ready(struct gateway *g)
{
    struct worker *w = g->worker;

    if (!w || w->ready)
        return;
    w->ready = true;
    if (atomic_fetch_sub(&w->process->waiting, 1) == 1)
        print_ready(w->process);
}

/* ---- draining ---------------------------------------------------------- */

static void stop_now(void *ctx)
{
    struct worker *w = ctx;

    log_warn("gateway.hurried", "clients=%u action=end", w->g.open);
    w->done = true;
    loop_again(w->g.loop);
}

static void drain_worker(void *ctx)
{
    struct worker *w = ctx;
    struct gateway *g = &w->g;

    if (g->draining) {
        stop_now(w);
        return;
    }
    g->draining = true;
    log_info("gateway.drain", "clients=%u", g->open);
    if (w == w->process->workers)
        notify_tell(&w->process->notify, "STOPPING=1");
    accept_stop(g);
    pass_attend(g);
    drain_begin(g);
    loop_timer_set(&w->drain_timer, g->config->limits.drain_wait);
    loop_again(g->loop);
}

/* Draining ends when the last client has gone. The link ends with it, or the
 * router would miss one that waits for its siblings in silence. */
static int run_worker(struct worker *w)
{
    struct gateway *g = &w->g;
    int rc = 0;

    if (g->first)
        memory_watch_start(&w->memory, g->loop);
    while (rc == 0 && !(g->draining && g->open == 0) && !w->done)
        rc = loop_step(g->loop, -1);
    memory_watch_stop(&w->memory);
    uplink_close(g);
    return rc;
}

static void drain_all(void *ctx)
{
    struct process *p = ctx;

    for (unsigned i = 0; i < p->count; i++)
        loop_wake_post(&p->workers[i].drain_wake);
}

/* ---- reading the configuration again ----------------------------------- */

static void follow(void *ctx)
{
    struct worker *w = ctx;

    gateway_configure(&w->g, w->process->next);
    if (atomic_fetch_sub(&w->process->behind, 1) == 1)
        loop_wake_post(&w->process->all_follow);
}

/* The door and the log are the process's; the rest is each worker's own. */
static void use_config(void *ctx, const struct config *next)
{
    struct process *p = ctx;

    door_set_per_address(p->door, next->limits.connections_per_address);
    door_set_publish_rate(p->door, next->limits.publish_rate);
    p->next = next;
    atomic_store(&p->behind, p->count);
    for (unsigned i = 0; i < p->count; i++)
        loop_wake_post(&p->workers[i].config_wake);
}

static void all_follow(void *ctx)
{
    struct process *p = ctx;

    p->edge_config = config_edge(p->next, p->edge->name);
    daemon_configured(&p->daemon);
}

static void count_reload(void *ctx, bool refused)
{
    struct process *p = ctx;

    stat_add(&p->workers[0].g.stats,
             refused ? STAT_RELOADS_REFUSED : STAT_RELOADS, 1);
}

/* ---- the process ------------------------------------------------------- */

static int worker_start(struct worker *w, struct process *p, unsigned number,
                        const char **why)
{
    struct gateway *g = &w->g;
    int rc = gateway_init(g, p->cli.config, p->edge, number, p->door);

    *why = "out of memory";
    w->process = p;
    g->first = w == p->workers;
    if (rc == 0 && g->first) {
        stat_set(&g->stats, STAT_RESTARTS, cli_restarts());
        stat_set(&g->stats, STAT_MUTE_RESTARTS, cli_mute_restarts());
    }
    g->worker = w;
    if (rc < 0)
        return rc;
    loop_timer_init(&w->drain_timer, g->loop, stop_now, w);
    pulse_start(&w->pulse, &p->heart, g->loop);
    rc = loop_wake_start(&w->drain_wake, g->loop, drain_worker, w);
    if (rc == 0)
        rc = loop_wake_start(&w->config_wake, g->loop, follow, w);
    return rc < 0 ? rc : uplink_open(g, why);
}

/* A successor stands still until the clients are its own. */
static int worker_listen(struct worker *w)
{
    struct gateway *g = &w->g;
    int rc;

    g->still = g->accepting.held = w->process->inherits;
    rc = accept_start(g, &w->listen);
    return rc < 0 ? rc : pass_start(g);
}

/* What cannot be done now is tried again (accept.c, pass.h), or done without. */
static void worker_begin(struct worker *w)
{
    struct gateway *g = &w->g;
    struct siblings *s = w->process->siblings;
    int rc;

    if (g->still) {
        g->still = false;
        accept_hold(g, false);
        pass_attend(g);
    }
    rc = s ? accept_share(g, s) : 0;
    if (rc < 0)
        log_warn("instances.alone", "edge=%s error=\"%s\" "
                 "action=a_full_one_keeps_the_port", g->edge->name,
                 err_text(rc));
    if (g->linked) /* it does not hear that it has become so */
        gateway_ready(g);
}

static void worker_stop(struct worker *w)
{
    if (!w->g.loop)
        return;
    loop_timer_stop(&w->drain_timer);
    pulse_stop(&w->pulse);
    loop_wake_stop(&w->drain_wake);
    loop_wake_stop(&w->config_wake);
    gateway_fini(&w->g);
}

static enum gate pass_gate(struct process *p)
{
    enum gate gate;

    CHECK(pthread_mutex_lock(&p->lock) == 0);
    while (p->gate == GATE_SHUT)
        CHECK(pthread_cond_wait(&p->opened, &p->lock) == 0);
    gate = p->gate;
    CHECK(pthread_mutex_unlock(&p->lock) == 0);
    return gate;
}

static void set_gate(struct process *p, enum gate gate)
{
    CHECK(pthread_mutex_lock(&p->lock) == 0);
    p->gate = gate;
    CHECK(pthread_cond_broadcast(&p->opened) == 0);
    CHECK(pthread_mutex_unlock(&p->lock) == 0);
}

static void *worker_thread(void *ctx)
{
    struct worker *w = ctx;

    if (pass_gate(w->process) == GATE_OPEN)
        (void)run_worker(w);
    return NULL;
}

static int open_listeners(struct process *p, char *why, size_t size)
{
    const struct config *cfg = p->cli.config;
    size_t backlog = cfg->limits.accept_backlog;
    struct listen_set *first = &p->workers[0].listen;
    int rc;

    for (unsigned i = 0; i < p->count; i++)
        if (!listen_inherited(&p->workers[i].listen, i, p->count))
            break;
    if (first->count)
        return 0;
    p->own_ports = true;
    rc = listen_edge(first, p->edge_config, p->edge->name, backlog, why, size);
    for (unsigned i = 1; rc == 0 && i < p->count; i++)
        rc = listen_again(&p->workers[i].listen, first, backlog);
    return rc;
}

/* Other instances of the supervisor's, if there are; else it is alone. */
static void join_siblings(struct process *p)
{
    int table = listen_handed(SIBLINGS_TABLE);
    int bell = listen_handed(SIBLINGS_BELL);
    int rc;

    if (table < 0 || bell < 0)
        return;
    rc = siblings_join(&p->siblings, table, bell,
                       (unsigned)atoi(p->instance));
    if (rc < 0)
        log_warn("instances.alone", "edge=%s error=\"%s\" "
                 "action=a_full_one_keeps_the_port", p->edge->name,
                 err_text(rc));
}

static void close_listeners(struct process *p)
{
    listen_remove(&p->workers[0].listen);
    for (unsigned i = 0; i < p->count; i++)
        listen_close(&p->workers[i].listen);
}

static int complain(const struct process *p, const char *what)
{
    fprintf(stderr, "touchline-%s: %s\n", p->edge->name, what);
    return EXIT_FAILED;
}

/* ---- who it is, and what it may --------------------------------------- */

/* So that the cage can let it read what will be written down there. */
static void place_make_above(const struct config *cfg)
{
    char *dir = config_above_dir(cfg);

    if (dir && (cfg->link.through[0] || !cfg->link.url[0]))
        place_make_links(dir);
    free(dir);
}

/* A plan is large, and of no use behind the door. */
static int plan_cage(struct process *p)
{
    int rc;

    p->cage = malloc(sizeof *p->cage);
    if (!p->cage)
        return complain(p, "out of memory"), ERR_NOMEM;
    rc = cage_plan(p->cage, CAGE_GATEWAY, p->cli.config, p->edge->name,
                   p->own_ports);
    if (rc < 0)
        (void)complain(p, "too many directories, or too long a path");
    return rc;
}

static void forget_plan(struct process *p)
{
    free(p->cage);
    p->cage = NULL;
}

/* With the ports bound there is nothing left that needs to be root. */
static int settle(struct process *p)
{
    const struct config *cfg = p->cli.config;
    char why[USER_WHY_MAX];
    int rc;

    if (p->cli.check) /* as who made them */
        close_listeners(p);
    else if (user_choose(&p->user, cfg->process.user, cfg->dir, why) == 0 &&
             p->user.changes)
        listen_give(&p->workers[0].listen, p->user.uid, p->user.gid);
    rc = user_settle(&p->user, cfg->process.user, cfg->dir, p->cli.check, why);
    if (rc == 0 && !p->cli.check)
        place_make_above(cfg);
    if (rc < 0)
        (void)complain(p, why);
    return rc < 0 ? rc : plan_cage(p);
}

/* In front of the first other thread. */
static int enter_cage(struct process *p)
{
    int rc = daemon_enter_cage(p->cage, &p->cli, &p->user);

    forget_plan(p);
    return rc;
}

static bool check_cage(const struct process *p)
{
    return cage_check(p->cage,
                      (enum sandbox)p->cli.config->process.sandbox,
                      p->user.name);
}

static int start_signals(struct process *p)
{
    static const struct daemon_ops ops = {use_config, count_reload};
    struct loop *l = p->workers[0].g.loop;
    int rc = daemon_watch(&p->daemon, l, &ops, p);

    if (rc == 0)
        rc = loop_wake_start(&p->all_follow, l, all_follow, p);
    if (rc == 0)
        rc = loop_signal_start(&p->term, l, SIGTERM, drain_all, p);
    if (rc == 0)
        rc = loop_signal_start(&p->intr, l, SIGINT, drain_all, p);
    return rc;
}

static void stop_signals(struct process *p)
{
    loop_signal_stop(&p->term);
    loop_signal_stop(&p->intr);
    loop_wake_stop(&p->all_follow);
    daemon_stop(&p->daemon);
}

/* ---- predecessor and successor ------------------------------------------ */

/* Its clients are the successor's; those that are closing have their time. */
static void worker_parted(void *ctx, struct gateway *g)
{
    struct worker *w = g->worker;

    UNUSED(ctx);
    g->draining = true;
    loop_timer_set(&w->drain_timer, g->config->limits.drain_wait);
    loop_again(g->loop);
}

static void gateways_of(struct process *p, struct gateway **ret)
{
    for (unsigned i = 0; i < p->count; i++)
        ret[i] = &p->workers[i].g;
}

/* The supervisor hears why by a line, and says it. */
static int refuse_to_inherit(const struct process *p, const char *why)
{
    printf("failed %s %s\n", p->edge->name, why);
    fflush(stdout);
    log_error("succession.failed", "why=%s action=exit",
              log_quote(slice_str(why)).text);
    return EXIT_FAILED;
}

static int fail_to_start(const struct process *p, const char *why)
{
    return p->inherits ? refuse_to_inherit(p, why) : complain(p, why);
}

static int inherit(struct process *p, struct gateway *const *all,
                   const struct succession_self *self)
{
    char why[SUCCESSION_WHY_MAX];
    uint32_t clients;
    bool orphan;

    if (!p->inherits)
        return EXIT_DONE;
    if (succession_take(listen_handed(CONTROL_SUCCESSOR), self, all, &clients,
                        &orphan, why) < 0)
        return refuse_to_inherit(p, why);
    if (orphan)
        log_warn("succession.orphan", "clients=%u action=serve_them",
                 (unsigned)clients);
    else
        log_info("succession.taken", "clients=%u", (unsigned)clients);
    return EXIT_DONE;
}

/* Signals are the first thread's. */
static int spawn(struct worker *w)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&w->thread, NULL, worker_thread, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 ? 0 : ERR_NOMEM;
}

static int listen_all(struct process *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (worker_listen(&p->workers[i]) < 0)
            return fail_to_start(p, "cannot watch the listeners");
    return EXIT_DONE;
}

/* The first is there. */
static int spawn_all(struct process *p)
{
    for (p->running = 1; p->running < p->count; p->running++)
        if (spawn(&p->workers[p->running]) < 0)
            return fail_to_start(p, "cannot start the threads of its workers");
    return EXIT_DONE;
}

/* All that can fail, before clients are taken; a signal that comes meanwhile has
 * its turn behind that. */
static int prepare(struct process *p, const struct succession_self *self,
                   struct gateway *const *all)
{
    int code;

    p->inherits = listen_handed(CONTROL_SUCCESSOR) >= 0;
    if (succession_start(&p->succession, self, all,
                         listen_handed(CONTROL_LINE), worker_parted, p) < 0)
        return fail_to_start(p, "the supervisor cannot be listened to");
    if (start_signals(p) < 0)
        return fail_to_start(p, "cannot catch signals");
    code = listen_all(p);
    if (code == EXIT_DONE)
        code = spawn_all(p);
    return code == EXIT_DONE ? inherit(p, all, self) : code;
}

/* Nothing ends it from here on. */
static void begin(struct process *p)
{
    join_siblings(p);
    for (unsigned i = 0; i < p->count; i++)
        worker_begin(&p->workers[i]);
}

static int run_workers(struct process *p)
{
    int rc;

    set_gate(p, GATE_OPEN);
    rc = run_worker(&p->workers[0]);
    if (rc < 0)
        drain_all(p); /* else they drain already: not to be hurried */
    return rc < 0 ? EXIT_FAILED : EXIT_DONE;
}

static void join_threads(struct process *p)
{
    for (unsigned i = 1; i < p->running; i++)
        pthread_join(p->workers[i].thread, NULL);
}

static int serve(struct process *p)
{
    unsigned first = (unsigned)atoi(p->instance) * p->count + 1;
    const struct succession_self self = {
        .edge = p->edge->name, .instance = p->instance, .workers = p->count};
    struct gateway *all[WORKERS_MAX];
    const char *why = "out of memory";
    int code;

    if (door_new(&p->door, accept_room(p->count),
                 p->cli.config->limits.connections_per_address) < 0)
        return complain(p, why);
    door_set_publish_rate(p->door, p->cli.config->limits.publish_rate);
    for (unsigned i = 0; i < p->count; i++)
        if (worker_start(&p->workers[i], p, first + i, &why) < 0)
            return complain(p, why);
    gateways_of(p, all);
    code = prepare(p, &self, all);
    if (code == EXIT_DONE) {
        begin(p);
        code = run_workers(p);
    } else {
        set_gate(p, GATE_AWAY);
    }
    join_threads(p);
    stop_signals(p);
    return code;
}

static int run(struct process *p)
{
    char why[256] = "";
    char name[32];
    int code;

    p->count = (unsigned)MIN(MAX(p->edge_config->workers, (size_t)1),
                             (size_t)WORKERS_MAX);
    /* One for each loop and one for all of NNG's threads, which would else have
     * one each for the few messages they make. */
    memory_settle(p->count + 1);
    p->workers = calloc(p->count, sizeof *p->workers);
    if (!p->workers)
        return complain(p, "out of memory");
    atomic_init(&p->waiting, p->count);
    notify_open(&p->notify);
    if (cli_supervised())
        p->voice.notify = &p->notify;
    heart_init(&p->heart, &p->notify, p->count);
    snprintf(name, sizeof name, "%s%u", p->edge->name,
             (unsigned)atoi(p->instance) * p->count + 1);
    code = open_listeners(p, why, sizeof why) < 0 ? complain(p, why)
                                                  : EXIT_DONE;
    if (code == EXIT_DONE && settle(p) < 0)
        code = EXIT_FAILED;
    if (code == EXIT_DONE && config_log_init(p->cli.config, name) < 0) {
        snprintf(why, sizeof why, "cannot open the log %.200s: %s",
                 p->cli.config->log.file, strerror(errno));
        code = complain(p, why);
    }
    if (code == EXIT_DONE && !p->cli.check)
        daemon_init(&p->daemon, &p->cli, p->edge->name);
    if (code == EXIT_DONE && (p->cli.check ? !check_cage(p)
                                           : enter_cage(p) < 0))
        code = EXIT_FAILED;
    if (code == EXIT_DONE && !p->cli.check)
        code = serve(p);
    else
        close_listeners(p);
    succession_stop(&p->succession);
    for (unsigned i = 0; i < p->count; i++)
        worker_stop(&p->workers[i]);
    forget_plan(p);
    daemon_fini(&p->daemon);
    door_free(p->door);
    siblings_free(p->siblings);
    listen_remove(&p->workers[0].listen);
    notify_close(&p->notify);
    free(p->workers);
    return code;
}

int gateway_main(int argc, char **argv, const struct edge *edge)
{
    struct process p = {.edge = edge, .instance = "0",
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .opened = PTHREAD_COND_INITIALIZER};
    const struct cli_option options[] = {
        {"instance", "N", "number among the instances of this edge, from 0",
         NULL, &p.instance},
    };
    static char binary[32]; /* a crash is reported under it */
    int code;

    snprintf(binary, sizeof binary, "touchline-%s", edge->name);
    check_report_signals(binary);
    loop_signal_hold(SIGHUP);
    p.cli = (struct cli){
        .binary = binary,
        .about = "a gateway of Touchline: serves clients, talks to the "
                 "router",
        .options = options,
        .option_count = ARRAY_LEN(options),
    };
    code = cli_parse(&p.cli, argc, argv);
    if (code < 0) {
        p.edge_config = config_edge(p.cli.config, edge->name);
        CHECK(p.edge_config != NULL);
        code = run(&p);
    }
    cli_fini(&p.cli);
    return code;
}
