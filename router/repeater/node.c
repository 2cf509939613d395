#include "router/repeater/node.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/secret.h"
#include "proto/frame_io.h"
#include "proto/memory.h"
#include "proto/place.h"
#include "proto/report.h"
#include "proto/trunk_frame.h"

enum {
    TAKEN_MOST = 64 * 1024, /* bytes that may be taken and not said yet, */
    TAKEN_PART = 8,         /* or this part of a lane's queue */
    FLUSH_MS = 100,         /* for one peer ... */
};
#define FLUSH_ALL (500 * MILLISECOND) /* ... and for all of them together */

/* A peer that has joined here, or somewhere below. */
struct child {
    struct node *node;
    struct lane lane;
    struct trunk *trunk; /* of a repeater that has joined here */
    struct peer_id who;
    uint32_t number;     /* its lane's above; 0: not said yet */
    struct map_node by_number;
    struct list_node on_all;
    uint64_t in, told;   /* bytes that have come for it; that TAKEN spoke of */
};

static bool has_number(const struct map_node *n, const void *key)
{
    return CONTAINER_OF(n, const struct child, by_number)->number ==
           *(const uint32_t *)key;
}

static struct child *find(struct node *n, uint32_t number)
{
    struct map_node *at = map_find(&n->by_number, lane_hash(number),
                                   has_number, &number);

    return at ? CONTAINER_OF(at, struct child, by_number) : NULL;
}

/* ---- what the children say ---------------------------------------------- */

static void pause_all(struct node *n, bool paused)
{
    n->paused = paused;
    LIST_FOREACH(c, &n->children, struct child, on_all)
        lane_pause(&c->lane, paused);
}

/* The router does not take what it is sent: neither do we. */
static void put_up_end(struct node *n)
{
    pipe_frame_end(n->up);
    if (n->paused || !pipe_full(n->up))
        return;
    stat_add(&n->stats, STAT_PAUSES, 1);
    pause_all(n, true);
}

/* So that the router knows how far each of them is behind. */
static void tell_taken(struct child *c)
{
    struct node *n = c->node;
    size_t queued = lane_queued(&c->lane);
    uint64_t taken = c->in - MIN(c->in, (uint64_t)queued);
    size_t step = MIN((size_t)TAKEN_MOST, n->limits.queue / TAKEN_PART);

    if (!c->number || !n->linked || taken < c->told + step)
        return;
    c->told = taken;
    trunk_write_taken(pipe_frame(n->up, FRAME_TAKEN), c->number, taken);
    put_up_end(n);
}

/* What came in one batch goes up in one: publications that are to be committed
 * together reach the router in one turn of its loop. */
static int on_child_frame(void *ctx, uint8_t code, struct slice body)
{
    struct child *c = ctx;
    struct node *n = c->node;
    struct buf *b;

    if (!n->linked)
        return 0; /* it is about to fall */
    if (c->trunk && trunk_has_code(code))
        return trunk_frame(c->trunk, code, body);
    pipe_hold(n->up, true);
    b = pipe_frame(n->up, FRAME_FROM);
    trunk_write_from(b, c->number, code);
    put_raw(b, body);
    put_up_end(n);
    return 0;
}

static void on_child_batch_end(void *ctx, uint64_t seq)
{
    struct child *c = ctx;

    UNUSED(seq);
    pipe_hold(c->node->up, false);
    tell_taken(c);
}

static void on_child_drained(void *ctx)
{
    tell_taken(ctx);
}

/* ---- coming and going ---------------------------------------------------- */

static void child_free(struct child *c)
{
    struct node *n = c->node;

    if (c->lane.pipe) {
        struct pipe_figures f;

        pipe_figures(c->lane.pipe, &f);
        n->down_bytes += f.bytes_out;
        link_repairs_add(&n->mended, c->lane.pipe);
    }
    if (c->number)
        map_remove(&n->by_number, &c->by_number);
    list_remove(&c->on_all);
    trunk_free(c->trunk);
    lane_fini(&c->lane);
    free(c);
}

/* Those behind it are gone with it. */
static void on_child_down(void *ctx, const char *why)
{
    struct child *c = ctx;
    struct node *n = c->node;

    if (c->trunk)
        trunk_down(c->trunk, "its repeater is gone");
    log_info("lane.gone", "peer=%s why=%s", c->who.name,
             log_quote(slice_str(why)).text);
    if (c->lane.pipe)
        pipe_hold(n->up, false); /* a bad frame was its batch's end */
    if (c->number && n->linked) {
        trunk_write_gone(pipe_frame(n->up, FRAME_GONE), c->number,
                         strcmp(why, PIPE_PEER_LEFT) == 0, slice_str(why));
        put_up_end(n);
    }
    child_free(c);
}

static const struct trunk_ops by_repeater;

/* From here on the router knows it. ERR_NOMEM. */
static int announce(struct child *c)
{
    struct node *n = c->node;
    int rc;

    c->number = n->last + 1;
    rc = map_add(&n->by_number, &c->by_number, lane_hash(c->number));
    if (rc < 0) {
        c->number = 0;
        return rc;
    }
    n->last++;
    trunk_write_come(pipe_frame(n->up, FRAME_COME), c->number, &c->who);
    put_up_end(n);
    stat_add(&n->stats, STAT_CAME, 1);
    log_info("lane.joined", "peer=%s edge=%s pid=%" PRIu32 " lane=%" PRIu32,
             c->who.name, c->who.edge, c->who.pid, c->number);
    return 0;
}

static void on_child_up(void *ctx)
{
    struct child *c = ctx;
    struct node *n = c->node;
    int rc = n->linked ? 0 : ERR_STATE;

    if (rc == 0 && c->who.kind == PEER_REPEATER)
        rc = trunk_new(&c->trunk, n->loop, c->lane.pipe, &n->limits,
                       &by_repeater, c);
    if (rc == 0)
        rc = announce(c);
    if (rc < 0)
        pipe_break(c->lane.pipe, err_text(rc));
}

static const struct pipe_ops child_ops = {
    .frame = on_child_frame,
    .batch_end = on_child_batch_end,
    .up = on_child_up,
    .down = on_child_down,
    .drained = on_child_drained,
};

static struct child *child_new(struct node *n, const struct peer_id *who)
{
    struct child *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->node = n;
    c->who = *who;
    list_init(&c->on_all);
    list_add_tail(&n->children, &c->on_all);
    return c;
}

static const char *admit(void *ctx, const struct peer_id *who)
{
    struct node *n = ctx;

    UNUSED(who);
    return n->linked ? NULL : "the repeater has no router";
}

static void joined(void *ctx, const struct peer_id *who, struct pipe *p,
                   const struct pipe_ops **ops, void **pipe_ctx)
{
    struct node *n = ctx;
    struct child *c = child_new(n, who);

    if (!c) {
        log_error("lane.failed", "peer=%s error=%s", who->name,
                  err_name(ERR_NOMEM));
        *ops = &rendezvous_deaf;
        *pipe_ctx = p;
        return;
    }
    lane_on_pipe(&c->lane, p);
    lane_pause(&c->lane, n->paused);
    *ops = &child_ops;
    *pipe_ctx = c;
}

static const struct rendezvous_ops below_ops = {admit, joined};

/* A peer of the repeater `ctx`. */
static const char *came(void *ctx, const struct peer_id *who,
                        struct lane **lane, const struct pipe_ops **ops,
                        void **lane_ctx)
{
    struct child *via = ctx;
    struct node *n = via->node;
    struct child *c = child_new(n, who);

    if (!c || announce(c) < 0) {
        if (c)
            child_free(c);
        return err_text(ERR_NOMEM);
    }
    *lane = &c->lane;
    *ops = &child_ops;
    *lane_ctx = c;
    return NULL;
}

static const struct trunk_ops by_repeater = {came};

/* ---- what the router says ------------------------------------------------- */

static void hold_all(struct node *n, bool held)
{
    if (n->held == held)
        return;
    n->held = held;
    LIST_FOREACH(c, &n->children, struct child, on_all)
        lane_hold(&c->lane, held);
}

/* What came in one batch goes on in one, here too: a message and the state behind
 * it. */
static int on_repeat(struct node *n, struct slice body)
{
    struct trunk_repeat f;
    struct repeat repeat;

    if (trunk_read_repeat(body, &f) < 0)
        return ERR_FRAME;
    hold_all(n, true);
    repeat_begin(&repeat, f.code, f.body);
    while (f.count--) {
        struct child *c = find(n, cursor_u32(&f.numbers));

        if (!c)
            continue; /* it went meanwhile */
        c->in += lane_cost(f.body.len);
        repeat_add(&repeat, &c->lane);
        stat_add(&n->stats, STAT_FRAMES_OUT, 1);
    }
    repeat_end(&repeat);
    stat_add(&n->stats, STAT_FRAMES_IN, 1);
    return 0;
}

static int on_place(struct node *n, struct slice body)
{
    struct trunk_place f;
    struct child *c;

    if (trunk_read_place(body, &f) < 0)
        return ERR_FRAME;
    c = find(n, f.number);
    if (!c)
        return 0;
    lane_follow(&c->lane, f.follows, f.seq);
    lane_set_seq(&c->lane, f.seq);
    return 0;
}

static int on_cut(struct node *n, struct slice body)
{
    struct trunk_cut f;
    struct child *c;
    char why[96];

    if (trunk_read_cut(body, &f) < 0)
        return ERR_FRAME;
    c = find(n, f.number);
    if (!c)
        return 0;
    snprintf(why, sizeof why, "the router: " SLICE_FMT, SLICE_ARG(f.why));
    stat_add(&n->stats, STAT_CUT, 1);
    lane_fall(&c->lane, why);
    return 0;
}

static int on_welcome(struct node *n, struct slice body)
{
    struct frame_welcome f;

    if (n->linked || frame_read_welcome(body, &f) < 0)
        return ERR_FRAME;
    n->linked = true;
    stat_set(&n->stats, STAT_LINKED, 1);
    log_info("link.up", "epoch=" SLICE_FMT " seq=%" PRIu64,
             SLICE_ARG(f.epoch), f.seq);
    n->ready(n->ctx);
    return 0;
}

static size_t queued(const struct node *n)
{
    size_t sum = pipe_queued(n->up);

    LIST_FOREACH(c, &n->children, struct child, on_all)
        sum += lane_held(&c->lane);
    return sum;
}

static int on_ask(struct node *n, struct slice body)
{
    struct frame_query f;
    struct buf *b;

    if (frame_read_query(body, &f) < 0)
        return ERR_FRAME;
    b = pipe_frame(n->up, FRAME_TOLD);
    put_u32(b, f.ref);
    if (slice_eq(f.verb, SLICE(MEMORY_TABLES))) {
        memory_row(b, "lanes", map_count(&n->by_number),
                   map_count(&n->by_number) * sizeof(struct child) +
                       map_bytes(&n->by_number));
        memory_row(b, "links", 0, queued(n));
        memory_idle_row(b);
    } else if (slice_eq(f.verb, SLICE(MEMORY_TRIM))) {
        memory_trim(b);
    }
    put_up_end(n);
    return 0;
}

/* Each peer is told in its own lane. */
static int on_nothing(struct node *n, struct slice body)
{
    UNUSED(n);
    UNUSED(body);
    return 0;
}

static const struct handler {
    uint8_t code;
    int (*handle)(struct node *n, struct slice body);
} handlers[] = {
    {FRAME_REPEAT, on_repeat}, {FRAME_PLACE, on_place},
    {FRAME_CUT, on_cut},       {FRAME_WELCOME, on_welcome},
    {FRAME_ASK, on_ask},       {FRAME_EPOCH, on_nothing},
    {FRAME_DRAIN, on_nothing},
};

static int on_frame(void *ctx, uint8_t code, struct slice body)
{
    struct node *n = ctx;

    if (frame_check(code, SENDER_ROUTER, body.len) < 0 ||
        (!n->linked && code != FRAME_WELCOME))
        return ERR_FRAME;
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
        if (handlers[i].code == code)
            return handlers[i].handle(n, body);
    return ERR_FRAME;
}

/* Of those in the trunk of another repeater its own lane takes care. */
static void on_batch_end(void *ctx, uint64_t seq)
{
    struct node *n = ctx;

    hold_all(n, false);
    LIST_FOREACH(c, &n->children, struct child, on_all)
        if (c->lane.pipe && c->lane.follows)
            lane_set_seq(&c->lane, seq);
}

/* ---- the trunk ------------------------------------------------------------- */

/* What the router said at last is theirs, too. */
static void flush_all(struct node *n)
{
    int64_t until = clock_ns() + FLUSH_ALL;

    LIST_FOREACH(c, &n->children, struct child, on_all)
        if (c->lane.pipe && clock_ns() < until)
            lane_flush(&c->lane, FLUSH_MS);
}

/* The first with a pipe of its own, with whom those behind it fall. */
static struct child *first_direct(struct node *n)
{
    LIST_FOREACH(c, &n->children, struct child, on_all)
        if (c->lane.pipe)
            return c;
    return NULL;
}

static void fall_all(void *ctx)
{
    struct node *n = ctx;
    struct child *c;

    loop_timer_stop(&n->fall);
    if (n->flushes)
        flush_all(n);
    n->flushes = false;
    while ((c = first_direct(n)))
        lane_fall(&c->lane, "the repeater has lost its router");
}

static void on_up(void *ctx)
{
    struct node *n = ctx;
    const struct peer_id *who = joiner_who(n->joiner);
    struct frame_hello f = {
        .kind = PEER_REPEATER,
        .pid = (uint32_t)getpid(),
        .life = who->life,
        .name = slice_str(who->name),
        .edge = slice_str(who->edge),
    };

    n->flushes = false;
    fall_all(n);
    n->last = 0;
    n->paused = n->held = false;
    frame_write_hello(pipe_frame(n->up, FRAME_HELLO), &f);
    pipe_frame_end(n->up);
}

/* Not in here: a flush waits for lines, and this runs in a line's callback. */
static void on_down(void *ctx, const char *why)
{
    struct node *n = ctx;

    if (n->linked)
        stat_add(&n->stats, STAT_LINK_LOST, 1);
    log_warn("link.down", "why=\"%s\" action=drop_peers_and_rejoin", why);
    n->linked = false;
    n->flushes = strcmp(why, PIPE_PEER_LEFT) == 0;
    stat_set(&n->stats, STAT_LINKED, 0);
    loop_timer_set(&n->fall, 0);
}

static void on_drained(void *ctx)
{
    struct node *n = ctx;

    if (n->paused)
        pause_all(n, false);
}

static void on_refused(void *ctx, const char *why)
{
    UNUSED(ctx);
    log_error("link.refused", "why=\"%s\" action=try_again", why);
}

/* ---- figures ----------------------------------------------------------------- */

static void count(struct node *n)
{
    struct link_repairs mended = n->mended;
    struct pipe_figures f;
    uint64_t down = n->down_bytes;

    link_repairs_add(&mended, n->up);
    LIST_FOREACH(c, &n->children, struct child, on_all)
        if (c->lane.pipe) {
            link_repairs_add(&mended, c->lane.pipe);
            lane_figures(&c->lane, &f);
            down += f.bytes_out;
        }
    link_repairs_set(&n->stats, STAT_LINK_RESENT, &mended);
    pipe_figures(n->up, &f);
    stat_set(&n->stats, STAT_UP_BYTES, f.bytes_in);
    stat_set(&n->stats, STAT_DOWN_BYTES, down);
    stat_set(&n->stats, STAT_LANES, map_count(&n->by_number));
    stat_set(&n->stats, STAT_QUEUED, queued(n));
}

static void each_second(void *ctx)
{
    struct node *n = ctx;
    struct stat_sample s;
    struct buf *b;

    loop_timer_set(&n->second, SECOND);
    count(n);
    if (!n->linked)
        return;
    b = pipe_frame(n->up, FRAME_STATS);
    for (size_t i = 0; i < REPEATER_STAT_COUNT; i++) {
        s = stat_sample(&n->stats, i);
        report_sample_row(b, &s);
    }
    report_process_figures(b);
    report_warnings(b);
    put_up_end(n);
}

/* ---- beginning and end --------------------------------------------------------- */

static int open_above(struct node *n, const char **why)
{
    static const struct joiner_ops ops = {
        .pipe = {
            .frame = on_frame,
            .batch_end = on_batch_end,
            .up = on_up,
            .down = on_down,
            .drained = on_drained,
        },
        .refused = on_refused,
    };
    const struct config *cfg = n->config;
    struct joiner_options o = {
        .url = config_above_url(cfg),
        .secret = cfg->link.secret[0] ? cfg->link.secret : NULL,
        .who = {.edge = "repeater", .kind = PEER_REPEATER,
                .pid = (uint32_t)getpid()},
        .limits = trunk_limits(&n->limits),
    };
    char *dir = config_above_dir(cfg);
    int rc;

    o.dir = dir;
    memcpy(o.who.name, n->name, sizeof o.who.name);
    rc = dir ? joiner_open(&n->joiner, n->loop, &o, &ops, n) : ERR_NOMEM;
    free(dir);
    if (rc < 0)
        *why = err_text(rc);
    else
        n->up = joiner_pipe(n->joiner);
    return rc;
}

static int open_below(struct node *n, const char **why)
{
    const struct config *cfg = n->config;
    char *dir = config_path(cfg, n->name);
    struct rendezvous_options o = {
        .url = cfg->repeater.url[0] ? cfg->repeater.url : NULL,
        .dir = dir,
        .secret = cfg->link.secret[0] ? cfg->link.secret : NULL,
        .life = random_u64(),
        .limits = n->limits,
    };
    int rc = dir ? rendezvous_open(&n->below, n->loop, &o, &below_ops, n, why)
                 : ERR_NOMEM;

    free(dir);
    return rc;
}

int node_init(struct node *n, struct loop *loop, const struct config *cfg,
              const char *name, const char **why)
{
    static const struct stat_row rows[] = {REPEATER_STATS(STAT_AS_ROW)};
    int rc;

    n->loop = loop;
    n->config = cfg;
    n->limits = (struct pipe_limits){cfg->limits.link_batch,
                                     cfg->limits.link_queue};
    snprintf(n->name, sizeof n->name, "%s", name);
    map_init(&n->by_number);
    list_init(&n->children);
    loop_timer_init(&n->fall, loop, fall_all, n);
    loop_timer_init(&n->second, loop, each_second, n);
    *why = "out of memory";
    rc = stats_init(&n->stats, rows, ARRAY_LEN(rows));
    if (rc == 0)
        rc = open_below(n, why);
    if (rc == 0)
        rc = open_above(n, why);
    if (rc == 0)
        loop_timer_set(&n->second, SECOND);
    return rc;
}

void node_fini(struct node *n)
{
    if (!n->loop)
        return;
    n->linked = false; /* nobody is told of each of them */
    n->flushes = true;
    fall_all(n);
    loop_timer_stop(&n->second);
    rendezvous_close(n->below);
    if (n->up && pipe_is_up(n->up))
        pipe_flush(n->up, FLUSH_MS);
    joiner_close(n->joiner);
    map_fini(&n->by_number);
    stats_fini(&n->stats);
    *n = (struct node){.loop = NULL};
}

const char *node_url(const struct node *n)
{
    return rendezvous_url(n->below);
}
