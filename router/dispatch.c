/* dispatch.c - the frames of a peer, and what each does. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "router/ctl.h"
#include "router/router.h"
#include "proto/frame_io.h"

/* ---- HELLO, SYNCED ----------------------------------------------------- */

static int on_hello(struct link *l, struct slice body)
{
    struct router *r = l->router;
    struct frame_hello f;
    int rc = frame_read_hello(body, &f);

    if (rc < 0)
        return rc;
    l->who.kind = f.kind;
    l->who.pid = f.pid;
    l->who.life = f.life;
    l->asked = f.asked;
    l->same_epoch = slice_eq(f.epoch, slice_str(r->epoch.text));
    if (!l->same_epoch || f.served <= r->stored_seq) {
        link_welcome(l);
        return 0;
    }
    /* Messages have been seen that the store does not know any more. */
    log_warn("link.ahead", "link=%s served=%" PRIu64 " stored=%" PRIu64
             " action=new_epoch", l->who.name, f.served, r->stored_seq);
    link_become(l, LINK_EPOCH);
    router_new_epoch(r, "a gateway was served more than the store knows");
    return 0;
}

static int on_synced(struct link *l, struct slice body)
{
    struct cursor c = cursor_init(body);
    uint64_t seq = cursor_u64(&c);

    if (!cursor_all_read(&c))
        return ERR_FRAME;
    link_synced(l, seq);
    return 0;
}

/* ---- LOGIN ------------------------------------------------------------- */

struct login {
    struct link *link;
    struct frame_login frame;
    struct buf answer;
    size_t states;    /* bytes of snapshots in the answer */
    struct buf later; /* ids whose snapshot did not fit in, each str8 */
};

static void put_state(struct login *in, struct logged_in_id *out)
{
    struct router *r = in->link->router;
    struct buf *state = &r->snapshots.state;

    if (snapshots_make(r, out->id) == 0 &&
        in->states + state->len <= (size_t)PIPE_BATCH_BYTES * 32) {
        in->states += state->len;
        out->flags |= ID_SNAPSHOT;
        out->state = buf_slice(state);
    } else {
        put_str8(&in->later, out->id);
    }
}

static void put_past(const struct topic *t, struct logged_in_id *out)
{
    const struct past *past = t->past;

    if (t->flags & TOPIC_STATEFUL)
        out->flags |= ID_STATEFUL;
    if (t->flags & TOPIC_PRESENCE)
        out->flags |= ID_PRESENCE;
    if (!(t->flags & (TOPIC_STORED | TOPIC_PATTERN)))
        out->flags |= ID_VOLATILE;
    if (!past)
        return;
    out->last_offset = past->last_offset;
    out->last_seq = past->last_seq;
    out->trimmed_offset = past->trimmed_offset;
    out->trimmed_seq = past->trimmed_seq;
}

/* Seats it, and tells its type. */
static int seat(struct login *in, struct slice id, struct topic **ret)
{
    struct link *l = in->link;
    struct router *r = l->router;
    struct seat *s;
    struct topic *t;
    int rc = table_login(&r->table, &l->seats, in->frame.conn, in->frame.gen,
                         id, in->frame.name, &s);

    if (rc < 0 && rc != ERR_EXISTS)
        return rc;
    t = leaf_topic(CONTAINER_OF(s->topic, struct leaf, seats));
    if (rc == 0 && (t->flags & TOPIC_PRESENCE))
        rc = types_joined(r->types, id, in->frame.name, loop_now(r->loop));
    if (rc < 0 && rc != ERR_EXISTS) {
        table_unseat(&r->table, &l->seats, s);
        return rc;
    }
    stat_add(&r->stats, STAT_LOGINS, rc == 0);
    *ret = t;
    return 0;
}

static void refuse_login(struct router *r, int rc, struct logged_in_id *out)
{
    out->flags = rc == ERR_FULL ? ID_REFUSED : ID_REFUSED | ID_NO_ROOM;
    out->state = rc == ERR_FULL
                     ? SLICE("the router knows as many channels as it may")
                     : SLICE("the router is short of memory");
    stat_add(&r->stats, STAT_LOGIN_REFUSED, 1);
    if (rc == ERR_FULL)
        stat_add(&r->stats, STAT_LIMIT_CHANNELS, 1);
}

static int login_one(struct login *in)
{
    struct logged_in_id out = {.flags = 0};
    struct login_id want;
    struct topic *t;
    int rc = frame_next_login_id(&in->frame, &want);

    if (rc < 0 || pattern_problem(want.id))
        return ERR_FRAME;
    out.id = want.id;
    rc = seat(in, want.id, &t);
    if (rc == ERR_BAD)
        return ERR_FRAME;
    /* Nobody asks for it who could be told: the link begins anew. */
    if (rc == ERR_NOMEM && (in->frame.flags & LOGIN_RESYNC))
        return rc;
    if (rc < 0) {
        refuse_login(in->link->router, rc, &out);
    } else {
        put_past(t, &out);
        if ((want.flags & LOGIN_WANT_SNAPSHOT) && (out.flags & ID_STATEFUL))
            put_state(in, &out);
    }
    frame_write_logged_in_id(&in->answer, &out);
    return 0;
}

static int login_all(struct login *in)
{
    struct frame_logged_in f = {
        .conn = in->frame.conn,
        .gen = in->frame.gen,
        .seq = in->link->router->seq,
        .forgotten_seq = in->link->router->forgotten.seq,
        .flags = in->frame.flags,
        .count = in->frame.count,
    };
    int rc = 0;

    frame_write_logged_in(&in->answer, &f);
    for (unsigned i = 0; rc == 0 && i < f.count; i++)
        rc = login_one(in);
    if (rc == 0 && (in->answer.failed || in->later.failed))
        rc = ERR_NOMEM;
    return rc;
}

static void send_later(struct link *l, struct slice ids)
{
    struct cursor c = cursor_init(ids);

    while (cursor_left(&c) && l->state != LINK_GONE)
        snapshots_send(l, cursor_str8(&c));
}

static int on_login(struct link *l, struct slice body)
{
    struct login in = {.link = l, .answer = BUF_INIT, .later = BUF_INIT};
    int rc = frame_read_login(body, &in.frame);

    if (rc < 0)
        return rc;
    if (l->state == LINK_SAYING && !(in.frame.flags & LOGIN_RESYNC))
        return link_defer(l, FRAME_LOGIN, body);
    rc = login_all(&in);
    if (rc == 0) {
        put_raw(lane_frame(&l->lane, FRAME_LOGGED_IN), buf_slice(&in.answer));
        lane_frame_end(&l->lane);
        send_later(l, buf_slice(&in.later));
    }
    buf_fini(&in.answer);
    buf_fini(&in.later);
    loop_mark(l->router->loop, "LOGIN");
    return rc;
}

/* ---- LOGOUT, RELEASE, SNAP --------------------------------------------- */

static int on_logout(struct link *l, struct slice body)
{
    struct table *t = &l->router->table;
    struct frame_logout f;
    struct logout_id out;
    int rc = frame_read_logout(body, &f);

    if (rc < 0)
        return rc;
    if (f.gone || f.count == 0)
        table_close(t, &l->seats, f.conn, f.gen);
    for (unsigned i = 0; i < f.count; i++) {
        rc = frame_next_logout_id(&f, &out);
        if (rc < 0)
            return rc;
        /* It may have been refused, or closed before: then there is none. */
        (void)!table_logout(t, &l->seats, f.conn, f.gen, out.id);
        if (out.release)
            table_release(t, &l->seats, out.id);
    }
    return 0;
}

static int on_release(struct link *l, struct slice body)
{
    struct cursor c = cursor_init(body);
    struct slice id = cursor_str8(&c);

    if (!cursor_all_read(&c))
        return ERR_FRAME;
    table_release(&l->router->table, &l->seats, id);
    return 0;
}

static int on_snap(struct link *l, struct slice body)
{
    struct frame_ids f;
    struct slice id;
    int rc = frame_read_ids(body, &f);

    for (unsigned i = 0;
         rc == 0 && i < f.count && l->state != LINK_GONE; i++) {
        rc = frame_next_id(&f, &id);
        if (rc == 0 && id_problem(id))
            rc = ERR_FRAME;
        if (rc == 0)
            snapshots_send(l, id);
    }
    return rc;
}

/* ---- the rest ---------------------------------------------------------- */

static int on_publish(struct link *l, struct slice body)
{
    struct frame_publish f;
    int rc = frame_read_publish(body, &f);

    if (rc == 0)
        publish_message(l, &f);
    return rc;
}

static int on_act(struct link *l, struct slice body)
{
    struct frame_act f;
    int rc = frame_read_act(body, &f);

    if (rc == 0)
        publish_act(l, &f);
    return rc;
}

static int on_fetch(struct link *l, struct slice body)
{
    struct frame_fetch f;
    int rc = frame_read_fetch(body, &f);

    return rc < 0 ? rc : replay_fetch(l, &f);
}

static int on_query(struct link *l, struct slice body)
{
    struct frame_query f;
    int rc = frame_read_query(body, &f);

    if (rc == 0)
        ctl_query(l, &f);
    loop_mark(l->router->loop, "QUERY");
    return rc;
}

static int on_stats(struct link *l, struct slice body)
{
    buf_reset(&l->figures);
    buf_add(&l->figures, body);
    return 0;
}

/* ---- rows -------------------------------------------------------------- */

#define IN(state) (1u << LINK_##state)
#define UP        (IN(SAYING) | IN(READING) | IN(LIVE) | IN(STALE))
#define UNSETTLED (IN(SAYING) | IN(READING) | IN(STALE))

static const struct handler {
    uint8_t code;
    unsigned now;   /* states in which it is taken at once */
    unsigned later; /* states in which it waits until the link is LIVE */
    int (*handle)(struct link *l, struct slice body);
} handlers[] = {
    {FRAME_HELLO, IN(NEW), 0, on_hello},
    {FRAME_SYNCED, IN(SAYING), 0, on_synced},
    {FRAME_LOGIN, IN(LIVE) | IN(SAYING), IN(READING) | IN(STALE), on_login},
    {FRAME_LOGOUT, IN(LIVE), UNSETTLED, on_logout},
    {FRAME_RELEASE, IN(LIVE), UNSETTLED, on_release},
    {FRAME_SNAP, IN(LIVE), UNSETTLED, on_snap},
    {FRAME_PUBLISH, UP, 0, on_publish},
    {FRAME_ACT, UP, 0, on_act},
    {FRAME_FETCH, UP, 0, on_fetch},
    {FRAME_QUERY, UP, 0, on_query},
    {FRAME_STATS, UP, 0, on_stats},
    {FRAME_TOLD, UP, 0, memory_told},
    {FRAME_CANARY, IN(LIVE), UNSETTLED, canary_came},
};

int dispatch(struct link *l, uint8_t code, struct slice body)
{
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        const struct handler *h = &handlers[i];

        if (h->code != code)
            continue;
        if (h->now & 1u << l->state)
            return h->handle(l, body);
        if (h->later & 1u << l->state)
            return link_defer(l, code, body);
        return ERR_STATE;
    }
    return ERR_FRAME;
}
