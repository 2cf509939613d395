#include "router/router.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/secret.h"
#include "router/commit.h"
#include "router/ctl.h"
#include "router/restore.h"

enum { ROOM_MEMORY = 64 * 1024 * 1024 };

/* ---- what the configuration says of an id ------------------------------ */

struct keep router_keep(void *arg, struct slice id)
{
    const struct config_namespace *ns = config_namespace(arg, id);
    struct keep k = {.max_count = 0};

    if (ns->history != SIZE_MAX)
        k.max_count = ns->history;
    if (ns->history_age != INT64_MAX)
        k.max_age_ms = ns->history_age / MILLISECOND;
    if (ns->history_bytes != SIZE_MAX)
        k.max_bytes = ns->history_bytes;
    return k;
}

bool router_synced(const struct router *r, struct slice id)
{
    return config_namespace(r->config, id)->durability == DURABILITY_POWER;
}

bool router_has_presence(const struct router *r, struct slice id)
{
    return (types_flags(r->types, id) & TYPE_PRESENCE) &&
           config_namespace(r->config, id)->presence;
}

static unsigned classify(void *ctx, struct slice id)
{
    const struct router *r = ctx;
    const struct config_namespace *ns = config_namespace(r->config, id);
    unsigned type = types_flags(r->types, id), flags = 0;

    if (ns->durability != DURABILITY_MEMORY)
        flags |= TOPIC_STORED;
    if (type)
        flags |= TOPIC_TYPED;
    if (type & TYPE_STATEFUL)
        flags |= TOPIC_STATEFUL;
    if (router_has_presence(r, id))
        flags |= TOPIC_PRESENCE;
    return flags;
}

/* ---- what the table tells ---------------------------------------------- */

static void left(void *ctx, const struct topic *t, struct slice name)
{
    struct router *r = ctx;

    types_left(r->types, topic_id(t), name, clock_ns());
}

static void deserted(void *ctx, struct topic *t)
{
    UNUSED(ctx);
    if (t->past)
        t->past->left_ms = clock_wall_ms();
}

static void dropped(void *ctx, const struct topic *t)
{
    struct router *r = ctx;

    if (r->writer)
        writer_drop_counter(r->writer, topic_id(t));
}

/* ---- what the store tells ---------------------------------------------- */

static void trimmed(void *arg, const struct id_record *now)
{
    struct router *r = arg;
    struct topic *t = table_find(&r->table, now->id);

    stat_add(&r->stats, STAT_TRIMMED, 1);
    if (!t || !t->past)
        return;
    t->past->trimmed_offset = now->trimmed_offset;
    t->past->trimmed_seq = now->trimmed_seq;
}

static int64_t last_used(void *arg, struct slice id)
{
    struct router *r = arg;
    struct topic *t = table_find(&r->table, id);

    if (t && topic_leaves(t))
        return clock_wall_ms();
    return t && t->past && t->past->left_ms ? t->past->left_ms
                                            : r->started_ms;
}

static void forgotten(void *arg, struct slice id, struct forgotten now)
{
    struct router *r = arg;
    struct topic *t = table_find(&r->table, id);

    r->forgotten.offset = MAX(r->forgotten.offset, now.offset);
    r->forgotten.seq = MAX(r->forgotten.seq, now.seq);
    stat_add(&r->stats, STAT_FORGOTTEN, 1);
    if (t)
        table_forget(&r->table, t);
}

/* ---- epochs ------------------------------------------------------------ */

static void epoch_made(void *arg, int rc)
{
    struct router *r = arg;

    r->epoch_under_way = false;
    if (rc < 0) {
        log_error("epoch.failed", "error=%s action=drop_links", err_name(rc));
        LIST_FOREACH_SAFE(l, next, &r->links.all, struct link, node)
            if (l->state == LINK_EPOCH)
                link_gone(l, "the store could not make a new epoch");
        return;
    }
    router_take_epoch(r, writer_epoch(r->writer));
    stat_add(&r->stats, STAT_EPOCHS, 1);
    log_warn("epoch.new", "epoch=%s seq=%" PRIu64 " action=tell_gateways",
             r->epoch.text, r->seq);
    links_epoch_made(r);
}

void router_take_epoch(struct router *r, const char *epoch)
{
    r->epoch = (struct epoch){.text = ""};
    snprintf(r->epoch.text, sizeof r->epoch.text, "%s", epoch);
    types_set_epoch(r->types, &r->epoch);
}

void router_new_epoch(struct router *r, const char *why)
{
    int rc;

    if (r->epoch_under_way)
        return;
    log_warn("epoch.asked", "why=%s", log_quote(slice_str(why)).text);
    r->epoch_under_way = true;
    rc = writer_new_epoch(r->writer, epoch_made, r);
    if (rc < 0)
        epoch_made(r, rc);
}

/* ---- another configuration --------------------------------------------- */

static int64_t keep_answers(const struct config *cfg)
{
    return MAX(10 * SECOND, 2 * cfg->limits.publish_wait);
}

/* A store that closes may still read the old one. */
static void policy_set(void *arg, int rc)
{
    struct router *r = arg;

    if (rc == 0)
        r->configured(r->configured_ctx);
}

int router_configure(struct router *r, const struct config *next,
                     void (*done)(void *ctx), void *ctx)
{
    int rc = writer_set_policy(r->writer, (void *)(uintptr_t)next, policy_set,
                               r);

    if (rc < 0)
        return rc;
    r->configured = done;
    r->configured_ctx = ctx;
    r->config = next;
    r->table.limit = next->limits.channels;
    types_set_message(r->types, next->limits.message);
    answers_keep(&r->publish.answers, keep_answers(next));
    return 0;
}

/* ---- turns ------------------------------------------------------------- */

static void end_of_turn(void *ctx)
{
    struct router *r = ctx;

    commit_turn(r);
    loop_mark(r->loop, "commit_turn");
    presence_turn(r);
    replay_turn(r);
    loop_mark(r->loop, "replay_turn");
    canary_turn(r);
    links_end_of_turn(r);
}

static void slow_turn(void *ctx, const struct loop_slow *s)
{
    struct router *r = ctx;
    uint64_t ms = (uint64_t)(s->took_ns / MILLISECOND);

    stat_add(&r->stats, STAT_SLOW_TURNS, 1);
    stat_add(&r->stats, STAT_SLOW_TURN_MS, ms);
    log_warn("loop.slow", "ms=%" PRIu64 " longest=%s longest_ms=%" PRId64, ms,
             s->where, s->longest_ns / MILLISECOND);
}

void router_gauges(struct router *r)
{
    struct stats *s = &r->stats;
    struct link_repairs mended;

    stat_set(s, STAT_UPTIME, (uint64_t)(clock_ns() - r->started_ns) /
                                 (uint64_t)SECOND);
    stat_set(s, STAT_LINKS, r->links.count);
    missing_expire(&r->missing, clock_ns());
    stat_set(s, STAT_MISSING, r->missing.count);
    stat_set(s, STAT_MUTE, canary_mutes(r, clock_ns(), NULL));
    stat_set(s, STAT_STUCK, (uint64_t)(canary_stuck_ns(r, clock_ns()) /
                                       MICROSECOND));
    stat_set(s, STAT_IDS, map_count(&r->table.topics));
    stat_set(s, STAT_PATTERNS, trie_count(r->table.patterns));
    stat_set(s, STAT_SEATS, r->table.seats);
    stat_set(s, STAT_CONNECTIONS, r->table.conns);
    mended = r->links.mended;
    LIST_FOREACH(l, &r->links.all, struct link, node)
        if (l->lane.pipe)
            link_repairs_add(&mended, l->lane.pipe);
    link_repairs_set(s, STAT_LINK_RESENT, &mended);
    if (r->rendezvous) {
        stat_set(s, STAT_LISTENER_CURED, rendezvous_reopened(r->rendezvous));
        stat_set(s, STAT_STRANGERS,
                 rendezvous_refused(r->rendezvous, BUS_REFUSED_USER));
        stat_set(s, STAT_CROWD,
                 rendezvous_refused(r->rendezvous, BUS_REFUSED_CROWD));
        stat_set(s, STAT_STRANGE,
                 rendezvous_strange(r->rendezvous, clock_ns()).refused);
    }
    if (r->writer) {
        struct writer_figures w;

        writer_figures(r->writer, &w);
        stat_set(s, STAT_SYNCS, w.syncs);
        stat_set(s, STAT_UNTRIMMED, w.untrimmed);
        stat_set(s, STAT_REOPENED, w.reopened);
        stat_set(s, STAT_REOPEN_FAILED, w.reopen_failed);
        stat_set(s, STAT_STORE_DATABASE, w.database_bytes);
        stat_set(s, STAT_STORE_WAL, w.wal_bytes);
        stat_set(s, STAT_STORE_FREE, w.free_bytes);
    }
    spread_set(s, STAT_COMMIT_SPREAD_50, &r->publish.commits);
    if (r->readers)
        stat_set(s, STAT_SEARCH_RESTS, readers_held(r->readers));
}

/* ---- life -------------------------------------------------------------- */

static const struct stat_row stat_rows[] = {ROUTER_STATS(STAT_AS_ROW)};

static int init_tables(struct router *r)
{
    struct types_options types = {
        .message = r->config->limits.message,
        .room_memory = ROOM_MEMORY,
    };
    struct table_hooks hooks = {classify, left, deserted, dropped, r};
    int rc = stats_init(&r->stats, stat_rows, ROUTER_STAT_COUNT);

    if (rc == 0)
        rc = tally_init_codes(&r->refused, "publish_refused_total",
                              "publications refused, by their code");
    if (rc == 0)
        rc = types_new(&r->types, &types);
    if (rc == 0)
        rc = table_init(&r->table, r->config->limits.channels, &hooks);
    return rc;
}

/* Takes h. */
static int init_store(struct router *r, struct history *h)
{
    struct writer_hooks hooks = {trimmed, last_used, forgotten, r};
    const char *path = history_path(h); /* lives as long as the writer */
    int rc = restore_read(r, h);

    if (rc == 0)
        rc = writer_new(&r->writer, h, r->loop, &hooks);
    if (rc < 0) {
        history_close(h);
        return rc;
    }
    rc = readers_new(&r->readers, path, r->loop,
                     (unsigned)MIN(r->config->store.readers, (size_t)4),
                     pattern_matches);
    if (rc == 0)
        rc = key_finder_new(&r->keys, path);
    if (rc == 0)
        rc = restore_fold(r);
    if (rc == 0)
        rc = presence_begin(r);
    return rc;
}

int router_init(struct router *r, struct loop *loop,
                const struct config *config, struct history *h)
{
    int rc;

    *r = (struct router){
        .loop = loop,
        .config = config,
        .life = random_u64() | 1,
        .started_ns = clock_ns(),
        .started_ms = clock_wall_ms(),
    };
    ctl_init(r);
    memory_init(r);
    links_init(&r->links);
    missing_init(&r->missing);
    publish_init(&r->publish, keep_answers(config));
    canaries_init(&r->canaries);
    snapshots_init(&r->snapshots);
    presence_init(r);
    repeater_init(&r->repeater, history_last_seq(h));
    rc = init_tables(r);
    if (rc < 0) {
        history_close(h);
        goto fail;
    }
    r->stored_seq = history_last_seq(h);
    r->seq = MAX(r->stored_seq, history_next_seq(h) - 1);
    router_take_epoch(r, history_epoch(h));
    rc = init_store(r, h);
    if (rc < 0)
        goto fail;
    loop_turn_start(&r->end_of_turn, loop, end_of_turn, r);
    loop_tell_slow(loop, SLOW_TURN, slow_turn, r);
    return 0;
fail:
    router_fini(r);
    return rc;
}

void router_fini(struct router *r)
{
    if (!r->loop)
        return;
    loop_tell_slow(r->loop, 0, NULL, NULL);
    loop_turn_stop(&r->end_of_turn);
    r->publish.closed = true;
    links_free(r);
    missing_fini(&r->missing);
    presence_fini(r);
    snapshots_fini(r);
    key_finder_free(r->keys);
    readers_free(r->readers);
    writer_free(r->writer);
    r->writer = NULL;
    memory_fini(r);
    ctl_fini(r);
    publish_fini(&r->publish);
    repeater_fini(&r->repeater);
    table_fini(&r->table);
    types_free(r->types);
    stats_fini(&r->stats);
    tally_fini(&r->refused);
    *r = (struct router){.loop = NULL};
}

void router_drain(struct router *r)
{
    if (r->draining)
        return;
    r->draining = true;
    LIST_FOREACH(l, &r->links.all, struct link, node) {
        lane_frame(&l->lane, FRAME_DRAIN);
        lane_frame_end(&l->lane);
    }
}

bool router_drained(const struct router *r)
{
    return r->draining && publish_idle(&r->publish);
}
