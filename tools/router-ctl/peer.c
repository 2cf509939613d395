#include "tools/router-ctl/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "proto/rendezvous.h"
#include "proto/frame_io.h"

/* What has been asked and not answered yet. */
struct ask {
    struct list_node node; /* in the order asked */
    uint64_t number;       /* its low half is the ref of queries and pages */
    uint8_t code;          /* enum frame_code */
    bool sent;             /* on some link, once */
    int64_t since_ns;
    uint64_t seq;          /* where the router stood when it was sent first */
    struct buf frame;
    peer_published_fn *published;
    peer_answered_fn *answered;
    const struct peer_page_ops *page;
    void *ctx;
};

struct peer {
    struct loop *loop;
    struct joiner *joiner;
    struct pipe *pipe;
    bool linked;
    char refusal[200]; /* why the router refused it last; else empty */
    struct epoch epoch;
    uint64_t router_life;
    uint64_t served; /* everything stored up to here has been shown */
    struct list_node asks;
    size_t asked;
    uint64_t next_number;
    int64_t publish_wait;
    int64_t unlinked_ns; /* since when there is no link */
    struct loop_timer expiry;
    struct loop_timer hello; /* tells a late listener that the link is up */
    struct frame_welcome welcome; /* without its slices */
    const struct peer_ops *ops;
    void *ctx;
};

bool peer_linked(const struct peer *p)
{
    return p->linked;
}

const struct epoch *peer_epoch(const struct peer *p)
{
    return &p->epoch;
}

uint64_t peer_seq(const struct peer *p)
{
    return p->welcome.seq;
}

const char *peer_trouble(const struct peer *p)
{
    return p->refusal[0] ? p->refusal : joiner_trouble(p->joiner);
}

bool peer_refused(const struct peer *p)
{
    return p->refusal[0] != '\0';
}

size_t peer_asked(const struct peer *p)
{
    return p->asked;
}

/* ---- asking ------------------------------------------------------------ */

static struct ask *ask_new(struct peer *p, enum frame_code code, void *ctx)
{
    struct ask *k = calloc(1, sizeof *k);

    if (!k)
        return NULL;
    list_init(&k->node);
    k->number = p->next_number++;
    k->code = (uint8_t)code;
    k->since_ns = clock_ns();
    k->ctx = ctx;
    return k;
}

static void ask_free(struct ask *k)
{
    list_remove(&k->node);
    buf_fini(&k->frame);
    free(k);
}

/* Frames leave at the end of a turn: questions may be asked between two. */
static void transmit(struct peer *p, struct ask *k)
{
    buf_add(pipe_frame(p->pipe, k->code), buf_slice(&k->frame));
    pipe_frame_end(p->pipe);
    if (!k->sent)
        k->seq = p->welcome.seq;
    k->sent = true;
    loop_again(p->loop);
}

/* Takes k: sends it now, or when there is a link. */
static int ask_send(struct peer *p, struct ask *k)
{
    if (k->frame.failed) {
        ask_free(k);
        return ERR_NOMEM;
    }
    list_add_tail(&p->asks, &k->node);
    p->asked++;
    if (p->linked)
        transmit(p, k);
    else if (!p->expiry.pending)
        loop_timer_set(&p->expiry, p->publish_wait);
    return 0;
}

int peer_publish(struct peer *p, const struct frame_publish *f,
                 peer_published_fn *fn, void *ctx)
{
    struct ask *k = ask_new(p, FRAME_PUBLISH, ctx);
    struct frame_publish frame = *f;

    if (!k)
        return ERR_NOMEM;
    k->published = fn;
    frame.number = k->number;
    frame.conn = frame.gen = 0;
    frame.flags = 0;
    frame_write_publish(&k->frame, &frame);
    return ask_send(p, k);
}

int peer_act(struct peer *p, const char *verb, struct slice args,
             peer_published_fn *fn, void *ctx)
{
    struct ask *k = ask_new(p, FRAME_ACT, ctx);
    struct frame_act frame = { .verb = slice_str(verb), .args = args };

    if (!k)
        return ERR_NOMEM;
    k->published = fn;
    frame.number = k->number;
    frame_write_act(&k->frame, &frame);
    return ask_send(p, k);
}

int peer_query(struct peer *p, const char *verb, struct slice args,
               peer_answered_fn *fn, void *ctx)
{
    struct ask *k = ask_new(p, FRAME_QUERY, ctx);
    struct frame_query frame = { .verb = slice_str(verb), .args = args };

    if (!k)
        return ERR_NOMEM;
    k->answered = fn;
    frame.ref = (uint32_t)k->number;
    frame_write_query(&k->frame, &frame);
    return ask_send(p, k);
}

int peer_fetch(struct peer *p, const struct frame_fetch *f,
               const struct slice *ids, size_t count,
               const struct peer_page_ops *ops, void *ctx)
{
    struct ask *k = ask_new(p, FRAME_FETCH, ctx);
    struct frame_fetch frame = *f;

    if (!k)
        return ERR_NOMEM;
    CHECK(count <= UINT16_MAX);
    k->page = ops;
    frame.ref = (uint32_t)k->number;
    frame.count = (uint16_t)count;
    frame_write_fetch(&k->frame, &frame);
    for (size_t i = 0; i < count; i++)
        frame_write_id(&k->frame, ids[i]);
    return ask_send(p, k);
}

/* Answers come in the order of the questions, nearly. */
static struct ask *ask_find(struct peer *p, uint64_t number)
{
    LIST_FOREACH(k, &p->asks, struct ask, node)
        if (k->number == number)
            return k;
    return NULL;
}

static struct ask *ask_find_ref(struct peer *p, uint32_t ref)
{
    LIST_FOREACH(k, &p->asks, struct ask, node)
        if ((uint32_t)k->number == ref && !k->published)
            return k;
    return NULL;
}

/* Off the list before its callback: that may ask the next one, or close. */
static struct ask ask_take(struct peer *p, struct ask *k)
{
    struct ask taken = *k;

    p->asked--;
    ask_free(k);
    return taken;
}

/* ---- giving up --------------------------------------------------------- */

static void give_up_page(struct peer *p, struct ask *k, int rc)
{
    struct ask a = ask_take(p, k);

    a.page->end(a.ctx, rc, &(struct frame_page_end){ .status = 0 });
}

static void give_up(struct peer *p, struct ask *k)
{
    struct ask a = ask_take(p, k);
    bool unknown = a.sent && a.published;
    struct slice text = unknown
        ? SLICE("the router went away before it answered; this may or may "
                "not have been taken")
        : SLICE("the router went away; nothing has happened");
    struct frame_published f = {
        .number = a.number,
        .status = unknown ? PUBLISHED_UNKNOWN : PUBLISHED_UNAVAILABLE,
        .code = unknown ? SLICE("publish.unknown") : SLICE("router.away"),
        .text = text,
    };
    struct frame_answer answer = {
        .status = PUBLISHED_UNAVAILABLE,
        .body = SLICE("router.away: the router went away"),
    };

    if (a.published)
        a.published(a.ctx, &f);
    else
        a.answered(a.ctx, &answer);
}

static void expire(void *ctx)
{
    struct peer *p = ctx;
    int64_t now = clock_ns();

    if (p->linked)
        return;
    LIST_FOREACH_SAFE(k, next, &p->asks, struct ask, node) {
        if (now - MAX(k->since_ns, p->unlinked_ns) < p->publish_wait)
            continue;
        if (k->page)
            give_up_page(p, k, ERR_TIMEOUT);
        else
            give_up(p, k);
    }
    if (p->asked)
        loop_timer_set(&p->expiry, 100 * MILLISECOND);
}

/* ---- what the router says ---------------------------------------------- */

/* The flags of a PUBLISH or ACT stand behind number, conn and gen. */
enum { FLAGS_AT = 8 + 4 + 4 };

static void ask_again(struct peer *p)
{
    LIST_FOREACH(k, &p->asks, struct ask, node) {
        if (k->sent && k->published) {
            CHECK(k->frame.len > FLAGS_AT);
            k->frame.ptr[FLAGS_AT] |= PUBLISH_RESENT;
        }
        transmit(p, k);
    }
}

static void tell_up(void *ctx)
{
    struct peer *p = ctx;

    if (p->linked && p->ops && p->ops->up)
        p->ops->up(p->ctx, &p->welcome);
}

static void set_epoch(struct peer *p, struct slice name)
{
    struct epoch now = { .text = "" };

    memcpy(now.text, name.ptr, MIN(name.len, (size_t)EPOCH_MAX));
    if (!epoch_equal(&now, &p->epoch))
        p->served = 0;
    p->epoch = now;
}

static int on_welcome(struct peer *p, struct slice body)
{
    struct frame_welcome f;
    int rc = frame_read_welcome(body, &f);

    if (rc < 0)
        return rc;
    set_epoch(p, f.epoch);
    p->welcome = f;
    p->welcome.epoch = slice_str(p->epoch.text);
    p->welcome.server = SLICE("");
    p->router_life = f.life;
    p->linked = true;
    p->refusal[0] = '\0';
    loop_timer_stop(&p->expiry);
    tell_up(p);
    ask_again(p);
    return 0;
}

/* The router goes down in order and has not taken it: the next one will. */
static bool is_away(const struct frame_published *f)
{
    return f->status == PUBLISHED_UNAVAILABLE
           && slice_eq(f->code, SLICE("router.away"));
}

static int on_published(struct peer *p, struct slice body)
{
    struct frame_published f;
    struct ask *k, a;
    int rc = frame_read_published(body, &f);

    if (rc < 0)
        return rc;
    k = ask_find(p, f.number);
    if (!k || !k->published)
        return 0;
    if (is_away(&f)) {
        k->sent = false;
        return 0;
    }
    a = ask_take(p, k);
    a.published(a.ctx, &f);
    return 0;
}

static int on_answer(struct peer *p, struct slice body)
{
    struct frame_answer f;
    struct ask *k, a;
    int rc = frame_read_answer(body, &f);

    if (rc < 0)
        return rc;
    k = ask_find_ref(p, f.ref);
    if (!k || !k->answered)
        return 0;
    a = ask_take(p, k);
    a.answered(a.ctx, &f);
    return 0;
}

static int on_row(struct peer *p, struct slice body)
{
    struct msg_parts m;
    struct ask *k;
    uint32_t ref;
    int rc = frame_read_row(body, &ref, &m);

    if (rc < 0)
        return rc;
    if (m.flags & MSG_STORED)
        p->served = MAX(p->served, m.seq);
    k = ask_find_ref(p, ref);
    if (k && k->page)
        k->page->row(k->ctx, &m);
    return 0;
}

static int on_hole(struct peer *p, struct slice body)
{
    struct frame_hole f;
    struct ask *k;
    int rc = frame_read_hole(body, &f);

    if (rc < 0)
        return rc;
    k = ask_find_ref(p, f.ref);
    if (k && k->page)
        k->page->hole(k->ctx, &f);
    return 0;
}

static int on_page_end(struct peer *p, struct slice body)
{
    struct frame_page_end f;
    struct ask *k, a;
    int rc = frame_read_page_end(body, &f);

    if (rc < 0)
        return rc;
    k = ask_find_ref(p, f.ref);
    if (!k || !k->page)
        return 0;
    a = ask_take(p, k);
    a.page->end(a.ctx, -(int)f.status, &f);
    return 0;
}

static int on_logged_in(struct peer *p, struct slice body)
{
    struct frame_logged_in f;
    int rc = frame_read_logged_in(body, &f);

    if (rc == 0 && p->ops && p->ops->logged_in)
        p->ops->logged_in(p->ctx, &f);
    return rc;
}

static int on_deliver(struct peer *p, struct slice body)
{
    struct msg_parts m;
    int rc = frame_read_deliver(body, &m);

    if (rc < 0)
        return rc;
    if (m.flags & MSG_STORED)
        p->served = MAX(p->served, m.seq);
    if (p->ops && p->ops->deliver)
        p->ops->deliver(p->ctx, &m);
    return 0;
}

static int on_snapshot(struct peer *p, struct slice body)
{
    struct frame_snapshot f;
    int rc = frame_read_snapshot(body, &f);

    if (rc == 0 && p->ops && p->ops->snapshot)
        p->ops->snapshot(p->ctx, &f);
    return rc;
}

static int on_epoch(struct peer *p, struct slice body)
{
    struct frame_epoch f;
    int rc = frame_read_epoch(body, &f);

    if (rc < 0)
        return rc;
    set_epoch(p, f.epoch);
    if (p->ops && p->ops->epoch)
        p->ops->epoch(p->ctx, &f);
    return 0;
}

static int on_kick(struct peer *p, struct slice body)
{
    struct frame_kick f;
    int rc = frame_read_kick(body, &f);

    if (rc == 0 && p->ops && p->ops->kicked)
        p->ops->kicked(p->ctx, f.reason);
    return rc;
}

static int on_nothing(struct peer *p, struct slice body)
{
    UNUSED(p);
    UNUSED(body);
    return 0;
}

static const struct handler {
    uint8_t code;
    int (*handle)(struct peer *p, struct slice body);
} handlers[] = {
    { FRAME_WELCOME, on_welcome },     { FRAME_LOGGED_IN, on_logged_in },
    { FRAME_DELIVER, on_deliver },     { FRAME_SNAPSHOT, on_snapshot },
    { FRAME_PUBLISHED, on_published }, { FRAME_ROW, on_row },
    { FRAME_HOLE, on_hole },           { FRAME_PAGE_END, on_page_end },
    { FRAME_ANSWER, on_answer },       { FRAME_EPOCH, on_epoch },
    { FRAME_KICK, on_kick },           { FRAME_RESYNCED, on_nothing },
    { FRAME_DRAIN, on_nothing },
};

/* ---- the pipe ---------------------------------------------------------- */

static int on_frame(void *ctx, uint8_t code, struct slice body)
{
    if (frame_check(code, SENDER_ROUTER, body.len) < 0)
        return ERR_FRAME;
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
        if (handlers[i].code == code)
            return handlers[i].handle(ctx, body);
    return ERR_FRAME;
}

static void on_batch_end(void *ctx, uint64_t seq)
{
    struct peer *p = ctx;

    if (p->linked && p->ops && p->ops->batch_end)
        p->ops->batch_end(p->ctx, seq);
}

/* What is published again got a seq above this, if it was taken. */
static uint64_t asked_seq(const struct peer *p)
{
    uint64_t seq = p->welcome.seq;

    LIST_FOREACH(k, &p->asks, struct ask, node)
        if (k->sent && k->published)
            seq = MIN(seq, k->seq);
    return seq;
}

static void on_up(void *ctx)
{
    struct peer *p = ctx;
    const struct peer_id *who = joiner_who(p->joiner);
    struct frame_hello f = {
        .kind = PEER_CTL,
        .pid = who->pid,
        .life = who->life,
        .router_life = p->router_life,
        .served = p->served,
        .asked = asked_seq(p),
        .name = slice_str(who->name),
        .edge = slice_str(who->edge),
        .epoch = slice_str(p->epoch.text),
    };

    frame_write_hello(pipe_frame(p->pipe, FRAME_HELLO), &f);
    pipe_frame_end(p->pipe);
}

static void on_down(void *ctx, const char *why)
{
    struct peer *p = ctx;

    UNUSED(why);
    if (!p->linked)
        return;
    p->linked = false;
    p->unlinked_ns = clock_ns();
    if (p->asked)
        loop_timer_set(&p->expiry, p->publish_wait);
    LIST_FOREACH_SAFE(k, next, &p->asks, struct ask, node)
        if (k->page)
            give_up_page(p, k, ERR_CLOSED);
    if (p->ops && p->ops->down)
        p->ops->down(p->ctx);
}

static void on_drained(void *ctx)
{
    UNUSED(ctx);
}

static void on_refused(void *ctx, const char *why)
{
    struct peer *p = ctx;

    snprintf(p->refusal, sizeof p->refusal, "%s", why);
}

/* ---- life -------------------------------------------------------------- */

int peer_open(struct peer **ret, struct loop *loop,
              const struct peer_options *options)
{
    static const struct joiner_ops ops = {
        .pipe = { .frame = on_frame, .batch_end = on_batch_end, .up = on_up,
                  .down = on_down, .drained = on_drained },
        .refused = on_refused,
    };
    struct joiner_options o = {
        .url = options->url,
        .dir = options->dir,
        .secret = options->secret,
        .who = { .kind = PEER_CTL, .pid = (uint32_t)getpid() },
        .limits = options->limits,
    };
    struct peer *p = calloc(1, sizeof *p);
    int rc;

    if (!p)
        return ERR_NOMEM;
    p->loop = loop;
    p->next_number = 1;
    p->publish_wait = options->publish_wait;
    p->unlinked_ns = clock_ns();
    list_init(&p->asks);
    loop_timer_init(&p->expiry, loop, expire, p);
    loop_timer_init(&p->hello, loop, tell_up, p);
    rc = joiner_open(&p->joiner, loop, &o, &ops, p);
    if (rc < 0) {
        free(p);
        return rc;
    }
    p->pipe = joiner_pipe(p->joiner);
    *ret = p;
    return 0;
}

void peer_close(struct peer *p)
{
    if (!p)
        return;
    joiner_close(p->joiner);
    loop_timer_stop(&p->expiry);
    loop_timer_stop(&p->hello);
    LIST_FOREACH_SAFE(k, next, &p->asks, struct ask, node)
        ask_free(k);
    free(p);
}

void peer_listen(struct peer *p, const struct peer_ops *ops, void *ctx)
{
    p->ops = ops;
    p->ctx = ctx;
    if (p->linked)
        loop_timer_set(&p->hello, 0);
}

/* ---- logins ------------------------------------------------------------ */

void peer_login(struct peer *p, const struct slice *ids, size_t count,
                bool snapshot, bool again)
{
    for (size_t i = 0; p->linked && i < count; i += PEER_IDS_PER_FRAME) {
        size_t n = MIN(count - i, (size_t)PEER_IDS_PER_FRAME);
        struct frame_login f = { .flags = again ? LOGIN_RESYNC : 0,
                                 .count = (uint16_t)n };
        struct buf *b = pipe_frame(p->pipe, FRAME_LOGIN);

        frame_write_login(b, &f);
        for (size_t k = i; k < i + n; k++)
            frame_write_login_id(
                b, &(struct login_id){
                       .flags = snapshot ? LOGIN_WANT_SNAPSHOT : 0,
                       .id = ids[k] });
        pipe_frame_end(p->pipe);
    }
}

void peer_snap(struct peer *p, const struct slice *ids, size_t count)
{
    for (size_t i = 0; p->linked && i < count; i += PEER_IDS_PER_FRAME) {
        size_t n = MIN(count - i, (size_t)PEER_IDS_PER_FRAME);
        struct buf *b = pipe_frame(p->pipe, FRAME_SNAP);

        frame_write_ids(b, &(struct frame_ids){ .count = (uint16_t)n });
        for (size_t k = i; k < i + n; k++)
            frame_write_id(b, ids[k]);
        pipe_frame_end(p->pipe);
    }
}
