#include "router/ctl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/secret.h"
#include "router/ctl_verb.h"
#include "proto/frame_io.h"

/* ---- answers ----------------------------------------------------------- */

void ctl_answer(struct link *l, uint32_t ref, enum publish_status st,
                bool opaque, struct slice body)
{
    struct frame_answer f = {
        .ref = ref,
        .status = (uint8_t)st,
        .opaque = opaque,
        .body = body,
    };

    if (!l)
        return;
    if (body.len > l->router->config->limits.link_batch - 64 * KIB) {
        stat_add(&l->router->stats, STAT_LIMIT_LINK_BATCH, 1);
        ctl_refuse(l, ref, PUBLISHED_TOO_BIG, "request.too_long",
                   SLICE("the answer is longer than limits.link_batch; ask "
                         "for less of it"));
        return;
    }
    f.seq = l->router->seq;
    stat_add(&l->router->stats, STAT_QUERIES, 1);
    frame_write_answer(lane_frame(&l->lane, FRAME_ANSWER), &f);
    lane_frame_end(&l->lane);
}

void ctl_refuse(struct link *l, uint32_t ref, enum publish_status st,
                const char *code, struct slice text)
{
    struct buf b = BUF_INIT;

    buf_addf(&b, "%s: ", code);
    buf_add(&b, text);
    ctl_answer(l, ref, st, false, buf_slice(&b));
    buf_fini(&b);
}

void ctl_refuse_error(struct link *l, uint32_t ref, int rc)
{
    enum publish_status st = rc == ERR_NOT_FOUND ? PUBLISHED_NOT_FOUND
                             : rc == ERR_EXISTS  ? PUBLISHED_CONFLICT
                             : err_is_peers(rc)  ? PUBLISHED_BAD
                                                 : PUBLISHED_UNAVAILABLE;

    ctl_refuse(l, ref, st,
               st == PUBLISHED_UNAVAILABLE ? "store.failed" : "request.bad",
               slice_str(err_text(rc)));
}

void ctl_answer_report(struct link *l, uint32_t ref, struct buf *b)
{
    if (b->failed)
        ctl_refuse_error(l, ref, ERR_NOMEM);
    else
        ctl_answer(l, ref, PUBLISHED_OK, false, buf_slice(b));
    buf_fini(b);
}

struct slice ctl_word(struct slice *args)
{
    return args->ptr ? slice_split(args, ' ') : SLICE("");
}

struct ctl_question *ctl_question_new(struct link *l, uint32_t ref,
                                      struct slice a, struct slice b)
{
    struct ctl_question *q = calloc(1, sizeof *q + a.len + b.len);

    if (!q)
        return NULL;
    q->link = l;
    q->ref = ref;
    if (a.len)
        memcpy(q->text, a.ptr, a.len);
    if (b.len)
        memcpy(q->text + a.len, b.ptr, b.len);
    q->pattern = slice_make(q->text, a.len);
    q->after = slice_make(q->text + a.len, b.len);
    list_init(&q->node);
    list_init(&q->turn);
    list_add_tail(&l->queries, &q->node);
    return q;
}

void ctl_question_drop(struct ctl_question *q)
{
    list_remove(&q->node);
    list_remove(&q->turn);
    free(q);
}

/* ---- status ------------------------------------------------------------ */

static void say_missing(const struct missing *m, struct buf *why)
{
    const struct missing_gateway *g =
        CONTAINER_OF(list_first(&m->list), struct missing_gateway, node);
    int64_t s = (clock_ns() - g->since_ns) / SECOND;

    buf_addf(why, "gateway %s (pid %" PRIu32 ") went %" PRId64 " s ago "
             "without a goodbye and has not come back", g->who.name,
             g->who.pid, s);
    if (m->count > 1)
        buf_addf(why, ", and %zu more likewise", m->count - 1);
}

static void say_mute(const struct link *l, size_t count, struct buf *why)
{
    buf_addf(why, "gateway %s (pid %" PRIu32 ") has not had a canary back for "
             "longer than process.canary_wait: what is published through it, "
             "or for its clients, may not arrive", l->who.name, l->who.pid);
    if (count > 1)
        buf_addf(why, "; and %zu more likewise", count - 1);
}

/* Nothing can be wrong with one gateway that is so with all of them. */
static const char *mute_state(const struct router *r, size_t mute)
{
    size_t gateways = 0;

    LIST_FOREACH(l, &r->links.all, struct link, node)
        gateways += l->canary.heard_ns != 0;
    return mute == gateways ? "DOWN" : "DEGRADED";
}

/* 0: nobody asks in vain. */
static int strange_version(const struct router *r)
{
    return r->rendezvous ? rendezvous_strange(r->rendezvous, clock_ns()).version
                         : 0;
}

static void say_strange(int version, struct buf *why)
{
    buf_addf(why, "a gateway that speaks link version %d keeps asking to join "
             "and is refused, for the router speaks version %d: install one "
             "version of all programs and restart them", version,
             FRAME_VERSION);
}

/* Of this process, or of a gateway by its own figures: NULL. */
struct stuck {
    bool found;
    const struct link *link;
};

static struct stuck find_stuck(const struct router *r)
{
    if (stat_get(&r->stats, STAT_NNG_STUCK))
        return (struct stuck){true, NULL};
    LIST_FOREACH(l, &r->links.all, struct link, node)
        if (report_figure(buf_slice(&l->figures), SLICE("nng_stuck")))
            return (struct stuck){true, l};
    return (struct stuck){false, NULL};
}

static void say_stuck(const struct link *l, struct buf *why)
{
    buf_addf(why, "%s%s (pid %" PRIu32 ") cannot close its sockets to %s any "
             "more, and each link that breaks costs it some for good: "
             "touchline upgrade, or end it",
             l ? "gateway " : "the router", l ? l->who.name : "",
             l ? l->who.pid : (uint32_t)getpid(),
             l ? "the router" : "its gateways");
}

static const char *state_of(const struct router *r, struct buf *why)
{
    int64_t now_ns = clock_ns(), stuck_ns = canary_stuck_ns(r, now_ns);
    const struct link *l = NULL;
    size_t mute = canary_mutes(r, now_ns, &l);
    struct stuck stuck = find_stuck(r);

    if (r->draining) {
        buf_add_str(why, "the router goes down");
        return "DOWN";
    }
    if (stuck_ns > r->config->process.canary_wait) {
        buf_addf(why, "the store hangs: what was published %" PRId64 " s ago "
                 "is not committed", stuck_ns / SECOND);
        return "DOWN";
    }
    if (mute) {
        say_mute(l, mute, why);
        return mute_state(r, mute);
    }
    if (r->publish.last_error == ERR_FULL)
        buf_add_str(why, "the disk is full: stored channels take nothing");
    else if (r->publish.last_error)
        buf_add_str(why, "the store fails: stored channels take nothing");
    else if (r->publish.paused)
        buf_add_str(why, "publications come faster than the disk takes them");
    else if (strange_version(r))
        say_strange(strange_version(r), why);
    else if (r->missing.count)
        say_missing(&r->missing, why);
    else if (stuck.found)
        say_stuck(stuck.link, why);
    else
        return "OK";
    return "DEGRADED";
}

static const struct figure {
    const char *key;
    unsigned stat;
} figures[] = {
    {"uptime_seconds", STAT_UPTIME}, {"links", STAT_LINKS},
    {"connections", STAT_CONNECTIONS}, {"seats", STAT_SEATS},
    {"ids", STAT_IDS}, {"patterns", STAT_PATTERNS},
    {"published", STAT_PUBLISHED}, {"queued", STAT_QUEUED},
    {"commit_us", STAT_COMMIT_US}, {"commit_max_us", STAT_COMMIT_MAX_US},
};

static const char *const environments[] = {
    [ENVIRONMENT_LIVE] = "live",
    [ENVIRONMENT_STAGING] = "staging",
    [ENVIRONMENT_DEV] = "dev",
};

void ctl_put_status(struct router *r, struct buf *b)
{
    struct writer_figures w;
    struct buf why = BUF_INIT;
    const char *state;

    missing_expire(&r->missing, clock_ns());
    state = state_of(r, &why);
    router_gauges(r);
    writer_figures(r->writer, &w);
    report_part(b, "status");
    report_row(b);
    report_text(b, "state", slice_str(state));
    report_text(b, "why", buf_slice(&why));
    buf_fini(&why);
    report_text(b, "environment",
                slice_str(environments[r->config->process.environment]));
    report_text(b, "server", SLICE(ROUTER_SERVER));
    report_number(b, "pid", (uint64_t)getpid());
    report_text(b, "epoch", slice_str(r->epoch.text));
    report_number(b, "seq", r->seq);
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        report_number(b, figures[i].key,
                      stat_get(&r->stats, figures[i].stat));
    report_text(b, "store",
                r->publish.last_error
                    ? slice_str(err_text(r->publish.last_error))
                    : SLICE("ok"));
    report_number(b, "wal_bytes", w.wal_bytes);
    report_row_end(b);
}

void ctl_status(struct link *l, uint32_t ref, struct slice args)
{
    struct buf b = BUF_INIT;

    UNUSED(args);
    ctl_put_status(l->router, &b);
    ctl_answer_report(l, ref, &b);
}

/* ---- backup ------------------------------------------------------------ */

static void backup_done(void *arg, int rc);

static int backup(struct router *r, struct ctl_question *q, struct slice to)
{
    char *file = slice_dup(to);
    int rc = file ? writer_backup(r->writer, file, backup_done, q)
                  : ERR_NOMEM;

    free(file);
    return rc;
}

/* Where the router may not write, whoever asks may: the copy is made beside the
 * database, and the answer says so. */
static int backup_beside(struct ctl_question *q)
{
    q->pattern = q->after;
    q->after = slice_make(NULL, 0);
    return backup(q->link->router, q, q->pattern);
}

static void backup_done(void *arg, int rc)
{
    struct ctl_question *q = arg;
    struct buf b = BUF_INIT;

    if (rc == ERR_DENIED && q->link && q->after.len) {
        rc = backup_beside(q);
        if (rc == 0)
            return;
    }
    log_info("ctl.backup", "file=%s result=%s", log_quote(q->pattern).text,
             rc < 0 ? err_name(rc) : "OK");
    if (q->link && rc < 0) {
        ctl_refuse_error(q->link, q->ref, rc);
    } else if (q->link) {
        report_part(&b, "backup");
        report_row(&b);
        report_text(&b, "file", q->pattern);
        report_row_end(&b);
        ctl_answer_report(q->link, q->ref, &b);
    }
    ctl_question_drop(q);
}

static void ctl_backup(struct link *l, uint32_t ref, struct slice args)
{
    const struct config *cfg = l->router->config;
    struct ctl_question *q = NULL;
    struct buf beside = BUF_INIT;
    char *db;
    int rc = ERR_NOMEM;

    if (args.len == 0 || args.ptr[0] != '/') {
        ctl_refuse(l, ref, PUBLISHED_BAD, "request.bad",
                   SLICE("backup FILE, an absolute path"));
        return;
    }
    db = config_path(cfg, cfg->store.file);
    if (db)
        buf_addf(&beside, "%s-backup-%08x", db, (unsigned)random_u64());
    if (db && !beside.failed)
        q = ctl_question_new(l, ref, args, buf_slice(&beside));
    if (q)
        rc = backup(l->router, q, q->pattern);
    buf_fini(&beside);
    free(db);
    if (rc == 0)
        return;
    if (q)
        ctl_question_drop(q);
    ctl_refuse_error(l, ref, rc);
}

/* ---- rows -------------------------------------------------------------- */

static const struct verb {
    const char *name;
    ctl_verb *run;
    bool looks; /* at much: in its turn */
} verbs[] = {
    {"status", ctl_status, false},    {"presence", ctl_presence, true},
    {"channels", ctl_channels, true}, {"conns", ctl_conns, false},
    {"gateways", ctl_gateways, false}, {"stats", ctl_stats, false},
    {"kick", ctl_kick, false},        {"backup", ctl_backup, false},
    {"mem", ctl_mem, false},          {"trim", ctl_trim, false},
    {"overview", ctl_overview, false},
};

static void run_verb(struct link *l, const struct verb *v,
                     const struct frame_query *f)
{
    struct ctl_turn turn = {v->run, f->args, f->ref};

    if (v->looks && l->who.kind != PEER_CTL)
        ctl_take_turn(l, &turn);
    else
        v->run(l, f->ref, f->args);
}

static void query_type(struct link *l, const struct frame_query *f)
{
    struct type_refusal why = {.code = NULL};
    struct buf b = BUF_INIT;
    int rc = types_query(l->router->types, f->verb, f->args, clock_wall_ms(),
                         &b, &why);

    if (rc == 0 && b.failed)
        rc = ERR_NOMEM;
    if (rc == 0)
        ctl_answer(l, f->ref, PUBLISHED_OK, true, buf_slice(&b));
    else if (!why.code || rc == ERR_NOMEM)
        ctl_refuse_error(l, f->ref, rc);
    else
        ctl_refuse(l, f->ref,
                   rc == ERR_NOT_FOUND  ? PUBLISHED_NOT_FOUND
                   : rc == ERR_CONFLICT ? PUBLISHED_CONFLICT
                                        : PUBLISHED_BAD,
                   why.code, why.text);
    buf_fini(&b);
}

void ctl_query(struct link *l, const struct frame_query *f)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (slice_eq(f->verb, slice_str(verbs[i].name))) {
            run_verb(l, &verbs[i], f);
            return;
        }
    query_type(l, f);
}
