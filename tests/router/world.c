#include "tests/router/world.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/secret.h"
#include "proto/frame_io.h"

/* ---- the world --------------------------------------------------------- */

void world_start(struct world *w)
{
    struct history_report report;
    struct history_options opt = {
        .path = test_path("touchline.db"),
        .policy = router_keep,
        .policy_arg = w->config,
        .max_size = w->max_size,
    };
    struct history *h;

    EXPECT_OK(history_open(&h, &opt, &report));
    EXPECT_OK(router_init(&w->router, w->loop, w->config, h));
}

void world_stop(struct world *w)
{
    router_fini(&w->router);
}

struct world *world_new(const char *const *sets)
{
    struct world *w = calloc(1, sizeof *w);
    struct config_source from = {.sets = sets, .dir = test_dir()};
    struct opt_error err = {.text = ""};

    log_set_level(getenv("T_LOG") ? LOG_DEBUG : LOG_ERROR);
    while (sets && sets[from.set_count])
        from.set_count++;
    if (config_load(&w->config, &from, &err) < 0)
        test_fail(__FILE__, __LINE__, "%s", err.text);
    EXPECT_OK(loop_new(&w->loop));
    world_start(w);
    return w;
}

void world_free(struct world *w)
{
    world_stop(w);
    loop_free(w->loop);
    config_free(w->config);
    EXPECT_INT(fake_pipes, 0);
    EXPECT_INT(w->peers, 0);
    free(w);
}

void world_restart(struct world *w)
{
    world_stop(w);
    world_start(w);
}

void world_sql(struct world *w, const char *sql)
{
    sqlite3 *conn;

    UNUSED(w);
    EXPECT_INT(sqlite3_open(test_path("touchline.db"), &conn), SQLITE_OK);
    if (sqlite3_exec(conn, sql, NULL, NULL, NULL))
        test_fail(__FILE__, __LINE__, "%s: %s", sql, sqlite3_errmsg(conn));
    sqlite3_close(conn);
}

void world_turn(struct world *w)
{
    EXPECT_OK(loop_step(w->loop, 0));
}

static void wait_turn(struct world *w)
{
    EXPECT_OK(loop_step(w->loop, 20 * MILLISECOND));
}

static bool settled(struct world *w)
{
    if (!publish_idle(&w->router.publish) || w->router.presence.notices.len)
        return false;
    LIST_FOREACH(l, &w->router.links.all, struct link, node)
        if (l->state == LINK_READING || !list_empty(&l->fetches) ||
            !list_empty(&l->snapshots) || !list_empty(&l->queries))
            return false;
    return true;
}

void world_settle(struct world *w)
{
    world_turn(w);
    EXPECT_SOON(settled(w), wait_turn(w));
    world_turn(w);
}

/* ---- joining ----------------------------------------------------------- */

/* While the router is short of memory the test may be, too. */
static void say_forgiving(struct peer *p, uint8_t code, struct buf *body)
{
    bool up = p->world->peers == p->world->router.links.count;

    if (up && !p->refused && !p->pipe->lost && !body->failed)
        p->refused = fake_pipe_say(p->pipe, code, buf_slice(body)) < 0;
    buf_fini(body);
}

static void say(struct peer *p, uint8_t code, struct buf *body)
{
    int rc;

    if (p->forgiving) {
        say_forgiving(p, code, body);
        return;
    }
    EXPECT(p->pipe && !body->failed);
    EXPECT_OK(frame_check(code, SENDER_GATEWAY, body->len));
    rc = fake_pipe_say(p->pipe, code, buf_slice(body));
    buf_fini(body);
    EXPECT_OK(rc);
}

static void say_hello(struct peer *p, enum peer_kind kind, const char *name)
{
    struct buf b = BUF_INIT;
    struct frame_hello f = {
        .kind = (uint8_t)kind,
        .pid = 1,
        .life = p->life,
        .router_life = p->router_life,
        .served = p->served,
        .asked = p->asked,
        .name = slice_str(name),
        .edge = SLICE("http"),
        .epoch = slice_str(p->epoch),
    };

    frame_write_hello(&b, &f);
    say(p, FRAME_HELLO, &b);
}

static void hear_welcome(struct peer *p)
{
    struct frame_welcome f;

    EXPECT_OK(frame_read_welcome(peer_next(p, FRAME_WELCOME), &f));
    p->router_life = f.life;
    if (!slice_eq(f.epoch, slice_str(p->epoch)))
        p->seq = f.seq;
    snprintf(p->epoch, sizeof p->epoch, SLICE_FMT, SLICE_ARG(f.epoch));
}

static void attach(struct peer *p, const char *name, enum peer_kind kind)
{
    struct peer_id who = {.kind = (uint8_t)kind, .pid = 1, .life = p->life,
                          .edge = "http"};

    snprintf(who.name, sizeof who.name, "%s", name);
    p->pipe = fake_pipe_new();
    EXPECT_OK(link_new(&p->link, &p->world->router, &who, p->pipe));
    p->pipe->ops = &link_pipe;
    p->pipe->ctx = p->link;
    say_hello(p, kind, name);
}

struct peer *peer_join_as(struct world *w, const char *name,
                          enum peer_kind kind)
{
    struct peer *p = calloc(1, sizeof *p);

    w->peers++;
    p->world = w;
    p->life = random_u64() | 1;
    attach(p, name, kind);
    hear_welcome(p);
    return p;
}

void peer_synced(struct peer *p)
{
    struct buf b = BUF_INIT;

    put_u64(&b, p->seq);
    say(p, FRAME_SYNCED, &b);
}

struct peer *peer_join(struct world *w, const char *name)
{
    struct peer *p = peer_join_as(w, name, PEER_GATEWAY);

    peer_synced(p);
    peer_next(p, FRAME_RESYNCED);
    return p;
}

static void go_down(struct peer *p, const char *why)
{
    struct world *w = p->world;

    p->pipe->ops->down(p->pipe->ctx, why);
    p->pipe = NULL;
    p->link = NULL;
    world_turn(w);
}

void peer_break(struct peer *p)
{
    go_down(p, "the test broke it");
}

void peer_leave(struct peer *p)
{
    go_down(p, PIPE_PEER_LEFT);
}

void peer_return(struct peer *p)
{
    attach(p, "gw1", PEER_GATEWAY);
    hear_welcome(p);
}

void peer_free(struct peer *p)
{
    p->world->peers--;
    fake_frame_free(p->frame);
    buf_fini(&p->text);
    free(p);
}

/* ---- saying ------------------------------------------------------------ */

void peer_login_as(struct peer *p, uint32_t conn, const char *id,
                   const char *name, unsigned flags, unsigned id_flags)
{
    struct buf b = BUF_INIT;
    struct frame_login f = {.conn = conn, .gen = 1, .count = 1,
                            .flags = (uint8_t)flags, .name = slice_str(name)};
    struct login_id i = {(uint8_t)id_flags, slice_str(id)};

    frame_write_login(&b, &f);
    frame_write_login_id(&b, &i);
    say(p, FRAME_LOGIN, &b);
}

void peer_login(struct peer *p, uint32_t conn, const char *id)
{
    peer_login_as(p, conn, id, "", 0, 0);
}

void peer_logout(struct peer *p, uint32_t conn, const char *id, bool release)
{
    struct buf b = BUF_INIT;
    struct frame_logout f = {.conn = conn, .gen = 1, .count = 1};
    struct logout_id i = {release, slice_str(id)};

    frame_write_logout(&b, &f);
    frame_write_logout_id(&b, &i);
    say(p, FRAME_LOGOUT, &b);
}

void peer_closed(struct peer *p, uint32_t conn)
{
    struct buf b = BUF_INIT;
    struct frame_logout f = {.conn = conn, .gen = 1, .gone = 1};

    frame_write_logout(&b, &f);
    say(p, FRAME_LOGOUT, &b);
}

void peer_release(struct peer *p, const char *id)
{
    struct buf b = BUF_INIT;

    frame_write_id(&b, slice_str(id));
    say(p, FRAME_RELEASE, &b);
}

uint64_t peer_publish_frame(struct peer *p, struct frame_publish f)
{
    struct buf b = BUF_INIT;

    if (!f.number)
        f.number = ++p->number;
    frame_write_publish(&b, &f);
    say(p, FRAME_PUBLISH, &b);
    return f.number;
}

uint64_t peer_publish(struct peer *p, const char *id, const char *text)
{
    return peer_publish_frame(
        p, (struct frame_publish){.id = slice_str(id),
                                  .data = slice_str(text)});
}

static void say_act(struct peer *p, uint64_t number, uint8_t flags,
                    const char *verb, const char *args)
{
    struct buf b = BUF_INIT;
    struct frame_act f = {.number = number, .flags = flags,
                          .verb = slice_str(verb), .args = slice_str(args)};

    frame_write_act(&b, &f);
    say(p, FRAME_ACT, &b);
}

uint64_t peer_act(struct peer *p, const char *verb, const char *args)
{
    say_act(p, ++p->number, 0, verb, args);
    return p->number;
}

void peer_act_again(struct peer *p, uint64_t number, const char *verb,
                    const char *args)
{
    say_act(p, number, PUBLISH_RESENT, verb, args);
}

void peer_fetch(struct peer *p, uint32_t ref, const char *id,
                enum fetch_mode mode, uint64_t after, uint64_t upto,
                uint32_t limit)
{
    struct buf b = BUF_INIT;
    struct frame_fetch f = {.ref = ref, .mode = (uint8_t)mode, .after = after,
                            .upto = upto, .limit = limit, .count = 1};

    frame_write_fetch(&b, &f);
    frame_write_id(&b, slice_str(id));
    say(p, FRAME_FETCH, &b);
}

void peer_query(struct peer *p, uint32_t ref, const char *verb,
                const char *args)
{
    struct buf b = BUF_INIT;
    struct frame_query f = {ref, slice_str(verb), slice_str(args)};

    frame_write_query(&b, &f);
    say(p, FRAME_QUERY, &b);
}

/* ---- hearing ----------------------------------------------------------- */

static bool take(struct peer *p)
{
    fake_frame_free(p->frame);
    p->frame = p->pipe ? fake_pipe_take(p->pipe) : NULL;
    return p->frame != NULL;
}

struct slice peer_next(struct peer *p, uint8_t code)
{
    do {
        EXPECT_SOON(take(p), wait_turn(p->world));
    } while (p->frame->code != code);
    return buf_slice(&p->frame->body);
}

struct frame_published peer_answer(struct peer *p, uint64_t number)
{
    struct frame_published f;

    do
        EXPECT_OK(frame_read_published(peer_next(p, FRAME_PUBLISHED), &f));
    while (f.number != number);
    return f;
}

struct frame_published peer_taken(struct peer *p, uint64_t number)
{
    struct frame_published f = peer_answer(p, number);

    if (f.status != PUBLISHED_OK)
        test_fail(__FILE__, __LINE__, "refused: " SLICE_FMT " " SLICE_FMT,
                  SLICE_ARG(f.code), SLICE_ARG(f.text));
    return f;
}

struct logged_in_id peer_logged_in(struct peer *p, uint64_t *seq)
{
    struct frame_logged_in f;
    struct logged_in_id i;

    EXPECT_OK(frame_read_logged_in(peer_next(p, FRAME_LOGGED_IN), &f));
    EXPECT_OK(frame_next_logged_in(&f, &i));
    if (seq)
        *seq = f.seq;
    return i;
}

struct msg_parts peer_message(struct peer *p)
{
    struct msg_parts m;

    EXPECT_OK(frame_read_deliver(peer_next(p, FRAME_DELIVER), &m));
    return m;
}

struct frame_answer peer_answered(struct peer *p)
{
    struct frame_answer f;

    EXPECT_OK(frame_read_answer(peer_next(p, FRAME_ANSWER), &f));
    return f;
}

static void note_message(struct buf *text, const struct msg_parts *m)
{
    if (m->flags & MSG_NOTICE)
        buf_addf(text, "+" SLICE_FMT, SLICE_ARG(m->kind));
    else
        buf_add(text, m->data);
}

static void note_frame(struct buf *text, const struct fake_frame *f)
{
    struct msg_parts m;
    uint32_t ref;

    if (text->len)
        buf_add_byte(text, ' ');
    if (f->code == FRAME_DELIVER &&
        frame_read_deliver(buf_slice(&f->body), &m) == 0)
        note_message(text, &m);
    else if (f->code == FRAME_ROW &&
             frame_read_row(buf_slice(&f->body), &ref, &m) == 0)
        note_message(text, &m);
    else
        buf_addf(text, "[%s]", frame_name(f->code));
}

const char *peer_heard(struct peer *p)
{
    buf_reset(&p->text);
    while (take(p))
        note_frame(&p->text, p->frame);
    return buf_text(&p->text);
}

const char *peer_stream(struct peer *p)
{
    buf_reset(&p->text);
    while (take(p))
        if (p->frame->code != FRAME_PUBLISHED &&
            p->frame->code != FRAME_LOGGED_IN)
            note_frame(&p->text, p->frame);
    return buf_text(&p->text);
}
