#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/secret.h"
#include "proto/bus.h"
#include "proto/frame.h"
#include "proto/join.h"
#include "proto/place.h"
#include "proto/rendezvous.h"

enum { ASK_MS = 1000 };
#define DELAY_LEAST (50 * MILLISECOND)
#define DELAY_MOST  (1 * SECOND)
/* A line that lived so long was a good one: the next attempt comes at once. */
#define GOOD_LIFE (1 * SECOND)

struct joiner {
    struct loop *loop;
    struct bus *bus;
    struct pipe *pipe;
    struct joiner_ops ops;
    void *ctx;
    char *fixed_url, *dir, *secret; /* any may be NULL */
    struct peer_id who;

    char url[BUS_URL_MAX]; /* of the attempt under way */
    struct bus_ask *ask;   /* NULL: none is under way */
    uint8_t nonce[JOIN_NONCE];
    uint8_t challenge[JOIN_NONCE];
    bool challenged;

    struct loop_timer timer; /* the next attempt */
    int64_t delay_ns;        /* before it; 0: at once */
    int64_t dialed_ns;       /* when the pipe got its last line */
    char trouble[320];

    unsigned calls; /* callbacks under way: they may close the joiner */
    bool closed;
};

static void destroy(struct joiner *j)
{
    loop_timer_stop(&j->timer);
    bus_drop(j->bus);
    free(j->fixed_url);
    free(j->dir);
    if (j->secret)
        secret_wipe(j->secret, strlen(j->secret));
    free(j->secret);
    free(j);
}

static void enter(struct joiner *j)
{
    j->calls++;
}

/* True: the joiner is closed, and gone with the outermost callback. */
static bool leave(struct joiner *j)
{
    bool closed = j->closed;

    if (--j->calls == 0 && closed)
        destroy(j);
    return closed;
}

/* ---- when -------------------------------------------------------------------- */

/* Half of the delay is left to chance, so that a hundred gateways do not come
 * in step. */
static void try_later(struct joiner *j)
{
    int64_t delay = j->delay_ns;

    j->delay_ns = delay ? MIN(2 * delay, DELAY_MOST) : DELAY_LEAST;
    if (delay)
        delay = delay / 2 +
                (int64_t)(random_u64() % (uint64_t)(delay / 2 + 1));
    loop_timer_set(&j->timer, delay);
}

static void end_attempt(struct joiner *j)
{
    bus_ask_close(j->ask);
    j->ask = NULL;
}

PRINTF_LIKE(2, 3)
static void fail(struct joiner *j, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(j->trouble, sizeof j->trouble, fmt, args);
    va_end(args);
    log_debug("joiner.failed", "url=%s why=%s", j->url,
              log_quote(slice_str(j->trouble)).text);
    end_attempt(j);
    try_later(j);
}

/* The router has said no, and why. */
static void refused(struct joiner *j, struct slice why)
{
    char text[200];

    snprintf(text, sizeof text, SLICE_FMT, SLICE_ARG(why));
    fail(j, "%s: %s", j->url, text);
    if (j->ops.refused)
        j->ops.refused(j->ctx, text);
}

/* ---- asking ------------------------------------------------------------------- */

static int write_join(struct joiner *j, struct buf *b)
{
    struct slice challenge = slice_make(j->challenge,
                                        j->challenged ? JOIN_NONCE : 0);

    return join_write_join(b, &j->who, pipe_session(j->pipe), j->nonce,
                           challenge, j->secret);
}

/* "tcp://:PORT,PORT" are ports of where the rendezvous was found. */
static int link_url(const struct joiner *j, struct slice address,
                    char out[BUS_URL_MAX])
{
    struct slice host = slice_make(NULL, 0);
    const char *colon = strrchr(j->url, ':');
    int n;

    if (slice_starts(address, SLICE("tcp://:"))) {
        host = slice_make(j->url, (size_t)(colon - j->url));
        address = slice_from(address, strlen("tcp://"));
    }
    n = snprintf(out, BUS_URL_MAX, SLICE_FMT SLICE_FMT, SLICE_ARG(host),
                 SLICE_ARG(address));
    return n < 0 || n >= BUS_URL_MAX ? ERR_BAD : 0;
}

static bool needs_proof(const struct joiner *j)
{
    return j->secret && strncmp(j->url, "tcp:", 4) == 0;
}

/* The session is the one the pipe is in: a new line for it. Another one: the
 * router, or we, have given that up. */
static void take_offer(struct joiner *j, const struct join_reply *a)
{
    char url[BUS_URL_MAX];

    if (needs_proof(j) &&
        !join_proves_router(a, j->secret, j->nonce,
                            slice_make(j->challenge, JOIN_NONCE))) {
        fail(j, "%s: the router does not know link.secret", j->url);
        return;
    }
    if (link_url(j, a->text, url) < 0 || a->session == 0) {
        fail(j, "%s: the answer makes no sense", j->url);
        return;
    }
    end_attempt(j);
    if (pipe_session(j->pipe) != a->session) {
        pipe_fall(j->pipe, "the router has begun anew");
        if (j->closed)
            return;
        loop_timer_stop(&j->timer);
    }
    j->dialed_ns = clock_ns();
    if (pipe_dial(j->pipe, a->session, url) < 0)
        fail(j, "cannot dial %s", url);
}

static void take_challenge(struct joiner *j, struct slice challenge)
{
    struct buf b = BUF_INIT;
    int rc;

    if (!j->secret) {
        refused(j, SLICE("link.secret is asked for, and none is set here"));
        return;
    }
    if (j->challenged) {
        fail(j, "%s: the answer makes no sense", j->url);
        return;
    }
    memcpy(j->challenge, challenge.ptr, JOIN_NONCE);
    j->challenged = true;
    rc = write_join(j, &b);
    if (rc == 0)
        rc = bus_ask_again(j->ask, buf_slice(&b));
    buf_fini(&b);
    if (rc < 0)
        fail(j, "%s: %s", j->url, err_text(rc));
}

static void take_reply(struct joiner *j, struct slice bytes)
{
    struct join_reply a;

    if (join_read_reply(bytes, &a) < 0)
        fail(j, "%s: that is no router of ours", j->url);
    else if (a.verb == JOIN_REFUSE)
        refused(j, a.text);
    else if (a.version != FRAME_VERSION)
        fail(j, "%s: the router speaks link version %d, this one %d", j->url,
             a.version, FRAME_VERSION);
    else if (a.verb == JOIN_OFFER)
        take_offer(j, &a);
    else if (a.verb == JOIN_CHALLENGE)
        take_challenge(j, a.text);
    else
        fail(j, "%s: the answer makes no sense", j->url);
}

static void on_reply(void *ctx, int rc, struct slice bytes)
{
    struct joiner *j = ctx;

    enter(j);
    if (rc < 0)
        fail(j, "no router answers at %s", j->url);
    else
        take_reply(j, bytes);
    (void)leave(j);
}

static int find_url(struct joiner *j)
{
    int rc = 0;

    if (j->fixed_url)
        snprintf(j->url, sizeof j->url, "%s", j->fixed_url);
    else
        rc = place_read_url(j->dir, j->url);
    if (rc < 0)
        fail(j, rc == ERR_NOT_FOUND ? "no router has run in %.200s"
                                    : "%.200s/router.url cannot be read",
             j->dir);
    return rc;
}

static void attempt(void *ctx)
{
    struct joiner *j = ctx;
    struct buf b = BUF_INIT;
    int rc;

    end_attempt(j);
    if (find_url(j) < 0)
        return;
    random_bytes(j->nonce, sizeof j->nonce);
    j->challenged = false;
    rc = write_join(j, &b);
    if (rc == 0)
        rc = bus_ask_open(&j->ask, j->bus, j->url, buf_slice(&b), ASK_MS,
                          on_reply, j);
    buf_fini(&b);
    if (rc == ERR_BAD)
        fail(j, "no address for a router: %s (ipc:///path or "
             "tcp://host:port)", j->url);
    else if (rc < 0)
        fail(j, "%s: %s", j->url, err_text(rc));
}

/* ---- the pipe ------------------------------------------------------------------ */

static void try_again(struct joiner *j)
{
    if (clock_ns() - j->dialed_ns >= GOOD_LIFE)
        j->delay_ns = 0;
    try_later(j);
}

static void on_line_lost(void *ctx)
{
    struct joiner *j = ctx;

    if (!j->ask && !j->timer.pending)
        try_again(j);
}

/* An attempt that is under way would ask for the stream that is over. */
static void on_fallen(void *ctx)
{
    struct joiner *j = ctx;

    end_attempt(j);
    try_again(j);
}

static void on_freed(void *ctx)
{
    UNUSED(ctx);
}

static const struct pipe_owner joiner_owner = {
    .line_lost = on_line_lost,
    .fallen = on_fallen,
    .freed = on_freed,
};

/* ---- life ---------------------------------------------------------------------- */

static int copy_text(char **ret, const char *text)
{
    if (!text)
        return 0;
    *ret = strdup(text);
    return *ret ? 0 : ERR_NOMEM;
}

static int copy_options(struct joiner *j, const struct joiner_options *o)
{
    int rc = o->url || o->dir ? 0 : ERR_BAD;

    if (o->url && strlen(o->url) >= BUS_URL_MAX - 8)
        rc = ERR_BAD;
    if (rc == 0)
        rc = copy_text(&j->fixed_url, o->url);
    if (rc == 0)
        rc = copy_text(&j->dir, o->dir);
    if (rc == 0)
        rc = copy_text(&j->secret, o->secret);
    j->who = o->who;
    do
        j->who.life = random_u64();
    while (j->who.life == 0);
    return rc;
}

int joiner_open(struct joiner **ret, struct loop *loop,
                const struct joiner_options *options,
                const struct joiner_ops *ops, void *ctx)
{
    struct joiner *j = calloc(1, sizeof *j);
    int rc;

    if (!j)
        return ERR_NOMEM;
    j->loop = loop;
    j->ops = *ops;
    j->ctx = ctx;
    loop_timer_init(&j->timer, loop, attempt, j);
    rc = copy_options(j, options);
    if (rc == 0)
        rc = bus_new(&j->bus, loop);
    if (rc == 0)
        rc = pipe_new(&j->pipe, j->bus, &options->limits);
    if (rc < 0) {
        destroy(j);
        return rc;
    }
    pipe_set_ops(j->pipe, &j->ops.pipe, ctx);
    pipe_set_owner(j->pipe, &joiner_owner, j);
    try_later(j);
    *ret = j;
    return 0;
}

/* ---- another process goes on ----------------------------------------------------- */

void joiner_freeze(struct joiner *j, struct buf *out)
{
    put_str8(out, slice_str(j->who.name));
    put_u64(out, j->who.life);
    pipe_freeze(j->pipe, out);
}

int joiner_thaw(struct joiner *j, struct cursor *in)
{
    struct slice name = cursor_str8(in);
    uint64_t life = cursor_u64(in);
    int rc;

    if (in->failed || life == 0 || !slice_eq(name, slice_str(j->who.name)))
        return ERR_FRAME;
    rc = pipe_thaw(j->pipe, in);
    if (rc == 0)
        j->who.life = life;
    return rc;
}

void joiner_part(struct joiner *j)
{
    loop_timer_stop(&j->timer);
    end_attempt(j);
    pipe_part(j->pipe);
}

struct pipe *joiner_pipe(struct joiner *j)
{
    return j->pipe;
}

const struct peer_id *joiner_who(const struct joiner *j)
{
    return &j->who;
}

const char *joiner_trouble(const struct joiner *j)
{
    return j->trouble;
}

bool joiner_is_stuck(const struct joiner *j)
{
    return bus_is_stuck(j->bus);
}

void joiner_close(struct joiner *j)
{
    if (!j || j->closed)
        return;
    j->closed = true;
    loop_timer_stop(&j->timer);
    end_attempt(j);
    pipe_free(j->pipe);
    if (j->calls == 0)
        destroy(j);
}
