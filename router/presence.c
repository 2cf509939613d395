#include "router/presence.h"

#include "base/clock.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/log.h"
#include "router/router.h"

/* ---- what is known ----------------------------------------------------- */

static void change(struct router *r, struct slice id, struct slice name,
                   bool here)
{
    struct buf *b = &r->presence.changes;
    size_t mark = b->len;

    if (mark < PRESENCE_CHANGES_MAX)
        present_change(b, id, name, here);
    if (b->len > mark && !b->failed)
        return;
    buf_truncate(b, mark);
    b->failed = false;
    log_warn("presence.unnoted", "id=%s action=announce_again",
             log_quote(id).text);
}

/* Takes so many bytes off the front; an empty buffer holds no memory. */
static void take_off(struct buf *b, size_t len)
{
    if (len < b->len)
        buf_drop_front(b, len);
    else
        buf_fini(b);
}

/* Says what stands behind changes that are all noted. */
static void say_noted(struct router *r)
{
    struct presence *p = &r->presence;
    struct cursor c = cursor_init(buf_slice(&p->notices));
    size_t said = 0;

    while (cursor_left(&c) && cursor_u64(&c) <= p->noted) {
        struct msg_parts m = {.id = cursor_str8(&c)};

        m.kind = cursor_str8(&c);
        m.data = cursor_str32(&c);
        said = p->notices.len - cursor_left(&c);
        repeater_notice(r, &m);
    }
    take_off(&p->notices, said);
}

static void noted(void *arg, int rc)
{
    struct router *r = arg;
    struct presence *p = &r->presence;

    if (rc < 0 && rc != ERR_CLOSED)
        log_warn("presence.unnoted", "error=%s action=announce_again",
                 err_name(rc));
    take_off(&p->changes, p->noting);
    p->noted += p->noting;
    p->noting = 0;
    say_noted(r);
}

static void note(struct router *r)
{
    struct presence *p = &r->presence;
    struct slice some = present_head(buf_slice(&p->changes), PRESENCE_NOTE);
    int rc = writer_present(r->writer, some, noted, r);

    p->noting = some.len;
    if (rc < 0)
        noted(r, rc);
}

/* ---- the start --------------------------------------------------------- */

static int read_known(void *arg, struct slice id, struct slice name)
{
    struct router *r = arg;

    present_change(&r->presence.changes, id, name, true);
    return r->presence.changes.failed ? ERR_NOMEM : 0;
}

int presence_read(struct router *r, struct history *h)
{
    return history_present(h, read_known, r);
}

int presence_begin(struct router *r)
{
    struct buf known = r->presence.changes;
    struct cursor c = cursor_init(buf_slice(&known));
    int64_t now_ns = clock_ns();
    int rc = 0;

    buf_init(&r->presence.changes);
    if (known.len)
        r->presence.hold_ns = now_ns + PRESENCE_HOLD_MS * MILLISECOND;
    while (rc == 0 && cursor_left(&c)) {
        bool here = cursor_u8(&c);
        struct slice id = cursor_str8(&c), name = cursor_str8(&c);

        if (here && router_has_presence(r, id))
            rc = types_known(r->types, id, name, now_ns);
        else /* the namespace tells nobody any more */
            change(r, id, name, false);
    }
    buf_fini(&known);
    return rc;
}

/* ---- the clock --------------------------------------------------------- */

/* A notice for which there is no memory is left out. */
static void keep_notice(void *ctx, const struct msg_parts *notice)
{
    struct presence *p = &((struct router *)ctx)->presence;
    struct buf *b = &p->notices;
    size_t mark = b->len;

    put_u64(b, p->noted + p->changes.len);
    put_str8(b, notice->id);
    put_str8(b, notice->kind);
    put_str32(b, notice->data);
    if (b->failed)
        buf_truncate(b, mark);
    b->failed = false;
}

static void keep_known(void *ctx, struct slice id, struct slice name,
                       bool here)
{
    change(ctx, id, name, here);
}

static void due(void *ctx)
{
    struct router *r = ctx;

    types_tick(r->types, loop_now(r->loop),
               &(struct types_ears){keep_notice, keep_known, r});
}

void presence_init(struct router *r)
{
    loop_timer_init(&r->presence.timer, r->loop, due, r);
    buf_init(&r->presence.changes);
    buf_init(&r->presence.notices);
}

/* While the store is slow to note, what people do gathers with the types,
 * where a name costs the same however often it comes and goes. */
static int64_t next_due(const struct router *r)
{
    const struct presence *p = &r->presence;
    int64_t at = types_due_ns(r->types);

    if (at == INT64_MAX || p->changes.len > PRESENCE_WAITING_MAX ||
        p->notices.len > PRESENCE_WAITING_MAX)
        return INT64_MAX;
    return MAX(at, p->hold_ns);
}

void presence_turn(struct router *r)
{
    struct presence *p = &r->presence;
    struct loop_timer *t = &p->timer;
    int64_t at = next_due(r);

    if (at == INT64_MAX)
        loop_timer_stop(t);
    else if (!t->pending || t->due_ns != at)
        loop_timer_set_at(t, at);
    if (p->changes.len && !p->noting)
        note(r);
    else if (p->notices.len && !p->noting)
        say_noted(r);
}

void presence_fini(struct router *r)
{
    struct presence *p = &r->presence;

    if (p->timer.loop)
        loop_timer_stop(&p->timer);
    if (r->writer && p->noting < p->changes.len)
        (void)!writer_present(r->writer, slice_from(buf_slice(&p->changes),
                                                    p->noting), NULL, NULL);
    buf_fini(&p->changes);
    buf_fini(&p->notices);
    p->noting = 0; /* it may still be told of what is under way */
}
