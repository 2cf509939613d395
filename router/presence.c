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

    if (b->len < PRESENCE_CHANGES_MAX && !b->failed)
        present_change(b, id, name, here);
    else
        log_warn("presence.unnoted", "id=%s action=announce_again",
                 log_quote(id).text);
}

static void say(struct router *r, struct slice notices)
{
    struct cursor c = cursor_init(notices);

    while (cursor_left(&c)) {
        struct msg_parts m = {.id = cursor_str8(&c)};

        m.kind = cursor_str8(&c);
        m.data = cursor_str32(&c);
        repeater_notice(r, &m);
    }
}

static void noted(void *arg, int rc)
{
    struct router *r = arg;
    struct presence *p = &r->presence;

    p->noting = false;
    say(r, buf_slice(&p->said));
    buf_fini(&p->said);
    if (rc < 0 && rc != ERR_CLOSED)
        log_warn("presence.unnoted", "error=%s action=announce_again",
                 err_name(rc));
}

static void note(struct router *r)
{
    struct presence *p = &r->presence;
    int rc = p->changes.failed
                 ? ERR_NOMEM
                 : writer_present(r->writer, buf_slice(&p->changes), noted, r);

    p->said = p->notices;
    buf_init(&p->notices);
    buf_fini(&p->changes);
    p->noting = rc == 0;
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
    struct buf *b = &((struct router *)ctx)->presence.notices;
    size_t mark = b->len;

    put_str8(b, notice->id);
    put_str8(b, notice->kind);
    put_str32(b, notice->data);
    if (b->failed)
        buf_truncate(b, mark);
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
    buf_init(&r->presence.said);
}

void presence_turn(struct router *r)
{
    struct presence *p = &r->presence;
    struct loop_timer *t = &p->timer;
    int64_t at = types_due_ns(r->types);

    if (at == INT64_MAX)
        loop_timer_stop(t);
    else if (!t->pending || t->due_ns != at)
        loop_timer_set_at(t, at);
    if ((p->changes.len || p->changes.failed) && !p->noting)
        note(r);
}

void presence_fini(struct router *r)
{
    struct presence *p = &r->presence;

    if (p->timer.loop)
        loop_timer_stop(&p->timer);
    if (p->changes.len && r->writer)
        (void)!writer_present(r->writer, buf_slice(&p->changes), NULL, NULL);
    buf_fini(&p->changes);
    buf_fini(&p->notices);
    buf_fini(&p->said);
}
