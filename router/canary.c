#include "router/canary.h"

#include "base/err.h"
#include "router/commit.h"
#include "router/router.h"

void canaries_init(struct canaries *c)
{
    *c = (struct canaries){.asked = 0};
    list_init(&c->waiting);
}

void canary_init(struct canary *c)
{
    list_init(&c->node);
}

int canary_came(struct link *l, struct slice body)
{
    struct router *r = l->router;
    struct canary *c = &l->canary;
    struct cursor in = cursor_init(body);
    uint64_t number = cursor_u64(&in);
    uint32_t away_ms = cursor_u32(&in);

    if (!cursor_all_read(&in))
        return ERR_FRAME;
    c->heard_ns = clock_ns();
    c->away_ms = away_ms;
    c->number = number;
    if (list_linked(&c->node))
        return 0;
    c->came_ns = c->heard_ns;
    c->behind = r->publish.taken;
    c->word = r->canaries.asked + 1;
    list_add_tail(&r->canaries.waiting, &c->node);
    return 0;
}

void canary_link_gone(struct link *l)
{
    list_remove(&l->canary.node);
}

/* ---- waiting ----------------------------------------------------------- */

static void writer_spoke(void *arg, int rc)
{
    struct router *r = arg;

    UNUSED(rc); /* that it answers is all we want to know */
    r->canaries.given = r->canaries.asked;
    canary_turn(r);
}

/* One word at a time, for all who wait for it. Without memory they wait for
 * the next turn. */
static void ask_writer(struct router *r)
{
    struct canaries *c = &r->canaries;

    if (c->asked > c->given)
        return;
    c->asked++;
    if (writer_probe(r->writer, writer_spoke, r) < 0)
        c->asked--;
}

static bool may_go(const struct router *r, const struct canary *c)
{
    const struct publish *p = &r->publish;

    return r->canaries.given >= c->word && p->taken - p->queued >= c->behind;
}

/* The link that cannot take it is stale, or about to be: its gateway sends
 * another, which waits until it is whole. */
static void go_back(struct link *l)
{
    if (l->state != LINK_LIVE || lane_full(&l->lane))
        return;
    put_u64(lane_frame(&l->lane, FRAME_CANARY_BACK), l->canary.number);
    lane_frame_end(&l->lane);
}

void canary_turn(struct router *r)
{
    bool ask = false;

    LIST_FOREACH_SAFE(c, next, &r->canaries.waiting, struct canary, node) {
        if (may_go(r, c)) {
            list_remove(&c->node);
            go_back(CONTAINER_OF(c, struct link, canary));
        } else {
            ask |= r->canaries.given < c->word;
        }
    }
    if (ask && !r->publish.closed)
        ask_writer(r);
}

/* ---- who is mute ------------------------------------------------------- */

int64_t canary_stuck_ns(const struct router *r, int64_t now_ns)
{
    const struct list_node *n = list_first(&r->canaries.waiting);

    return n ? now_ns - CONTAINER_OF(n, struct canary, node)->came_ns : 0;
}

int64_t canary_held_ns(const struct router *r, int64_t now_ns)
{
    return MAX(canary_stuck_ns(r, now_ns), commit_pressed_ns(r, now_ns));
}

bool canary_mute(const struct link *l, int64_t now_ns)
{
    const struct config *cfg = l->router->config;
    const struct canary *c = &l->canary;
    int64_t wait = cfg->process.canary_wait;

    if (!cfg->process.canary || !c->heard_ns)
        return false;
    return c->away_ms > wait / MILLISECOND ||
           now_ns - c->heard_ns > wait + cfg->process.canary;
}

size_t canary_mutes(const struct router *r, int64_t now_ns,
                    const struct link **first)
{
    size_t count = 0;

    LIST_FOREACH(l, &r->links.all, struct link, node)
        if (canary_mute(l, now_ns) && count++ == 0 && first)
            *first = l;
    return count;
}
