#include "gateways/common/canary.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "gateways/common/core.h"
#include "gateways/common/fanout.h"
#include "proto/frame.h"
#include "proto/pipe.h"

int64_t canary_away_ns(const struct canary *c, int64_t now_ns)
{
    int64_t since = atomic_load_explicit(&c->since_ns, memory_order_relaxed);

    return since ? MAX(now_ns - since, 1) : 0;
}

static void set_since(struct canary *c, int64_t ns)
{
    atomic_store_explicit(&c->since_ns, ns, memory_order_relaxed);
}

static void missed_since(struct canary *c, int64_t ns)
{
    if (!canary_away_ns(c, ns))
        set_since(c, ns);
}

/* ---- there ------------------------------------------------------------- */

/* The same number again when it has not come back: the router may have had no
 * room for it. */
static void send_off(struct gateway *g)
{
    struct canary *c = &g->canary;
    int64_t now_ns = clock_ns();
    struct buf *b;

    if (!c->sent_ns) {
        c->sent_ns = now_ns;
        c->number++;
    }
    b = pipe_frame(g->pipe, FRAME_CANARY);
    put_u64(b, c->number);
    put_u32(b, (uint32_t)MIN(canary_away_ns(c, now_ns) / MILLISECOND,
                             (int64_t)UINT32_MAX));
    pipe_frame_end(g->pipe);
    missed_since(c, now_ns);
}

static void note_late(struct gateway *g)
{
    struct canary *c = &g->canary;

    if (c->late || !canary_late(g))
        return;
    c->late = true;
    stat_add(&g->stats, STAT_CANARY_LATE, 1);
    log_warn("canary.late", "gateway=%s away_ms=%lld linked=%d "
             "action=not_ready", g->name,
             (long long)(canary_away_ns(c, clock_ns()) / MILLISECOND),
             g->linked);
}

static void next(void *ctx)
{
    struct gateway *g = ctx;

    loop_timer_set(&g->canary.timer, g->config->process.canary);
    if (!g->linked)
        missed_since(&g->canary, clock_ns());
    else if (!g->canary.back)
        send_off(g);
    note_late(g);
}

void canary_linked(struct gateway *g)
{
    if (g->canary.gateway)
        next(g);
}

/* What was under way is void. */
void canary_unlinked(struct gateway *g)
{
    struct canary *c = &g->canary;

    c->sent_ns = 0;
    c->back = false;
    if (c->gateway)
        missed_since(c, clock_ns());
}

/* ---- and back ---------------------------------------------------------- */

int canary_back(struct gateway *g, struct slice body)
{
    struct canary *c = &g->canary;
    struct cursor in = cursor_init(body);
    uint64_t number = cursor_u64(&in);

    if (!cursor_all_read(&in))
        return ERR_FRAME;
    if (c->back || !c->sent_ns || number != c->number)
        return 0; /* sent twice, or over a link that is gone */
    c->back = true;
    c->tick = ring_end(&g->ring);
    return 0;
}

static void come_home(struct gateway *g)
{
    struct canary *c = &g->canary;

    c->took_ns = clock_ns() - c->sent_ns;
    spread_record(&g->canaries, c->took_ns);
    c->sent_ns = 0;
    c->back = false;
    set_since(c, 0);
    if (c->late)
        log_info("canary.back", "gateway=%s took_ms=%lld", g->name,
                 (long long)(c->took_ns / MILLISECOND));
    c->late = false;
}

void canary_turn(struct gateway *g)
{
    if (g->canary.back && fanout_settled(g) >= g->canary.tick)
        come_home(g);
}

/* ---- what it means ----------------------------------------------------- */

bool canary_late(const struct gateway *g)
{
    return canary_away_ns(&g->canary, clock_ns()) >
           g->config->process.canary_wait;
}

void canary_stats(struct gateway *g, int64_t now_ns)
{
    const struct canary *c = &g->canary;

    note_late(g);
    stat_set(&g->stats, STAT_CANARY_TOOK,
             (uint64_t)(c->took_ns / MICROSECOND));
    stat_set(&g->stats, STAT_CANARY_AWAY,
             (uint64_t)(canary_away_ns(c, now_ns) / MICROSECOND));
}

void canary_start(struct canary *c, struct gateway *g)
{
    loop_timer_init(&c->timer, g->loop, next, g);
    if (!g->config->process.canary)
        return;
    c->gateway = g;
    loop_timer_set(&c->timer, 0);
}

void canary_stop(struct canary *c)
{
    if (c->gateway)
        loop_timer_stop(&c->timer);
    c->gateway = NULL;
}
