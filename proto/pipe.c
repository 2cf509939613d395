#include "proto/pipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "proto/batch.h"
#include "proto/bus.h"
#include "proto/frame_io.h"

#define HEARTBEAT (PIPE_HEARTBEAT_MS * MILLISECOND)
#define DEAD      (PIPE_DEAD_MS * MILLISECOND)
/* A timer that is so much too late means that this process was stopped, and
 * that what the peer has said meanwhile may still be on its way through NNG's
 * threads: it gets time to arrive before the silence is judged. */
#define STOPPED (MILLISECOND * 500)
#define GRACE   (1 * SECOND)
#define SOONEST (100 * MILLISECOND)
/* NNG has lines that break without a word, and lines to which the other end
 * never comes. The end that dials gives up one that brings nothing, early
 * enough for the stream to go on over the next; and has twice the patience
 * with that, because it may be the peer who is slow. */
#define FIRST_WORD (500 * MILLISECOND)
#define NEXT_WORD  (2 * HEARTBEAT)
#define GATHER     (PIPE_GATHER_MS * MILLISECOND)

enum pipe_state { PIPE_DOWN, PIPE_COMING, PIPE_UP };

struct pipe {
    struct bus *bus;
    struct loop *loop;
    const struct pipe_ops *ops;
    void *ctx;
    const struct pipe_owner *owner; /* may be NULL */
    void *owner_ctx;
    struct pipe_limits limits;

    enum pipe_state state;
    struct batches stream;
    struct bus_line *line; /* NULL: none, or it was lost */
    bool lost;             /* the owner has not been told yet */
    bool paused, was_full, flushing;
    bool held;     /* frames stay in one batch */
    bool breaking; /* down as soon as the loop comes by */
    bool left;     /* the peer has said goodbye */
    char why[96];

    struct buf open; /* the open batch; on a pipe that is down, a sink */
    size_t frame_at;
    uint8_t code;    /* of that frame */
    bool gathers;    /* the open batch has a frame that may wait, */
    bool urgent;     /* and one that may not */
    int64_t gather_ns; /* one of the first kind alone is not sealed before */
    uint64_t seq;

    struct loop_turn turn;   /* while there is something to send */
    struct loop_timer timer; /* heartbeat, silence, and what cannot wait */
    struct loop_timer gather; /* what waits, has waited long enough */
    int64_t due_ns;          /* when the timer was to fire */
    int64_t sent_ns, heard_ns;
    int64_t line_ns;  /* since when silence is held against the line */
    int64_t patience; /* with a line that has brought nothing yet */

    unsigned calls; /* callbacks under way: they may free the pipe */
    bool freed;
    struct pipe_figures figures;
};

static void drop_line(struct pipe *p);
static void end_of_turn(void *ctx);

/* ---- the callbacks, which may do anything, pipe_free() included ----------- */

static void enter(struct pipe *p)
{
    p->calls++;
}

static void destroy(struct pipe *p)
{
    loop_turn_stop(&p->turn);
    loop_timer_stop(&p->timer);
    loop_timer_stop(&p->gather);
    batches_fini(&p->stream);
    buf_fini(&p->open);
    bus_drop(p->bus);
    free(p);
}

/* True: the pipe is no more. */
static bool leave(struct pipe *p)
{
    if (--p->calls > 0 || !p->freed)
        return p->freed;
    destroy(p);
    return true;
}

/* ---- sending --------------------------------------------------------------- */

static bool has_open(const struct pipe *p)
{
    return p->open.len > BATCH_HEADER;
}

static void want_flush(struct pipe *p)
{
    if (!p->turn.loop)
        loop_turn_start(&p->turn, p->loop, end_of_turn, p);
}

static void seal(struct pipe *p)
{
    if (p->gathers)
        p->gather_ns = loop_now(p->loop) + GATHER;
    p->gathers = p->urgent = false;
    if (batches_seal(&p->stream, &p->open, p->seq) < 0) {
        pipe_break(p, err_text(ERR_NOMEM));
        return;
    }
    if (p->stream.kept_bytes > 2 * p->limits.queue)
        pipe_break(p, "the peer does not take what it is sent");
}

static bool send_out(struct pipe *p, const struct batch_out *out)
{
    uint8_t *at;

    if (bus_line_begin(p->line, out->bytes.len, &at) < 0)
        return false;
    batch_write(at, out);
    bus_line_commit(p->line);
    p->sent_ns = loop_now(p->loop);
    p->figures.batches_out++;
    p->figures.bytes_out += out->bytes.len;
    return true;
}

/* What is in the open batch may wait for more. */
static bool gathering(const struct pipe *p)
{
    return !p->urgent && loop_now(p->loop) < p->gather_ns;
}

/* The next thing to say: a sealed batch, the open one, or a due word. */
static bool next_out(struct pipe *p, uint8_t flags, struct batch_out *out)
{
    bool found = batches_next(&p->stream, out);

    if (!found && p->stream.met && has_open(p) && !gathering(p)) {
        seal(p);
        found = batches_next(&p->stream, out);
    }
    if (!found && (flags || batches_due(&p->stream))) {
        batches_heartbeat(&p->stream, has_open(p) ? 0 : p->seq, out);
        found = true;
    }
    if (found)
        out->header.flags |= flags;
    return found;
}

/* Sends while the line has room. flags: said at least once. */
static void pump(struct pipe *p, uint8_t flags)
{
    while (p->line && !p->breaking && bus_line_room(p->line)) {
        struct batch_out out;

        if (!next_out(p, flags, &out))
            return;
        if (!send_out(p, &out)) {
            drop_line(p); /* no memory; what is kept is sent on the next */
            return;
        }
        flags = 0;
    }
}

static void end_of_turn(void *ctx)
{
    struct pipe *p = ctx;

    loop_turn_stop(&p->turn);
    pump(p, 0);
}

/* The frame that made the open batch too long travels in the next one. */
static void split(struct pipe *p)
{
    struct slice last = slice_from(buf_slice(&p->open), p->frame_at);
    struct buf next = BUF_INIT;

    batch_begin(&next);
    buf_add(&next, last);
    if (next.failed) {
        buf_fini(&next);
        pipe_break(p, err_text(ERR_NOMEM));
        return;
    }
    buf_truncate(&p->open, p->frame_at);
    seal(p);
    buf_fini(&p->open);
    p->open = next;
}

static void frame_done(struct pipe *p)
{
    size_t most;
    bool gathers;

    if (p->open.failed) {
        pipe_break(p, "a frame could not be written");
        return;
    }
    if (p->open.len - p->frame_at + BATCH_HEADER > p->limits.batch) {
        pipe_break(p, "a frame is larger than a batch may be");
        return;
    }
    p->figures.frames_out++;
    most = p->held ? p->limits.batch : PIPE_BATCH_BYTES;
    gathers = p->ops && p->ops->gathers && p->ops->gathers(p->ctx, p->code);
    if (p->open.len > most && p->frame_at > BATCH_HEADER) {
        split(p);
        want_flush(p);
    }
    p->gathers |= gathers;
    p->urgent |= !gathers;
    if (p->open.len >= most) {
        seal(p);
        want_flush(p);
    }
    p->was_full |= pipe_full(p);
    if (gathering(p))
        loop_timer_set_at(&p->gather, p->gather_ns);
    else
        want_flush(p);
}

struct buf *pipe_frame(struct pipe *p, uint8_t code)
{
    if (!has_open(p) || !pipe_is_up(p))
        batch_begin(&p->open);
    p->frame_at = batch_frame_begin(&p->open, code);
    p->code = code;
    return &p->open;
}

void pipe_frame_end(struct pipe *p)
{
    batch_frame_end(&p->open, p->frame_at);
    if (pipe_is_up(p))
        frame_done(p);
    else
        buf_reset(&p->open);
}

void pipe_hold(struct pipe *p, bool held)
{
    p->held = held;
    if (!held && pipe_is_up(p) && p->open.len >= PIPE_BATCH_BYTES)
        seal(p); /* so that what is held next has the room */
}

void pipe_set_seq(struct pipe *p, uint64_t seq)
{
    p->seq = seq;
}

bool pipe_is_up(const struct pipe *p)
{
    return p->state == PIPE_UP && !p->breaking;
}

size_t pipe_queued(const struct pipe *p)
{
    return p->stream.kept_bytes + (has_open(p) ? p->open.len : 0);
}

bool pipe_full(const struct pipe *p)
{
    return pipe_queued(p) >= p->limits.queue;
}

/* ---- when ------------------------------------------------------------------ */

static void set_timer(struct pipe *p, int64_t now, int64_t due)
{
    p->due_ns = MAX(due, now);
    loop_timer_set(&p->timer, p->due_ns - now);
}

/* When this line will have been silent for too long, if there is somebody who
 * can give us another. */
static int64_t doubt_due(const struct pipe *p)
{
    if (!p->line || !p->owner || !p->stream.first || p->paused)
        return INT64_MAX;
    return p->stream.met ? MAX(p->line_ns, p->heard_ns) + NEXT_WORD
                         : p->line_ns + p->patience;
}

static int64_t next_due(const struct pipe *p, int64_t now)
{
    int64_t due = p->paused ? now + DEAD : p->heard_ns + DEAD;

    due = MIN(due, doubt_due(p));
    if (p->line)
        due = MIN(due, p->sent_ns + HEARTBEAT);
    if (p->line && p->stream.hole)
        due = now;
    return MAX(due, now + SOONEST);
}

/* What has come in may be a reason to act earlier than planned. */
static void plan(struct pipe *p)
{
    int64_t now = loop_now(p->loop);
    int64_t due = next_due(p, now);

    if (due < p->due_ns)
        set_timer(p, now, due);
}

/* ---- up and down ----------------------------------------------------------- */

static void drop_line(struct pipe *p)
{
    if (!p->line)
        return;
    bus_line_close(p->line, BUS_END_QUIET);
    p->line = NULL;
    p->lost = true;
    set_timer(p, clock_ns(), 0);
}

/* Says goodbye, when there is somebody who can hear it. */
static void close_line(struct pipe *p)
{
    enum bus_end how = p->left ? BUS_END_NOW : BUS_END_QUIET;

    if (!p->left && p->line && p->stream.met && bus_line_room(p->line)) {
        struct batch_out out;

        batches_heartbeat(&p->stream, 0, &out);
        out.header.flags |= BATCH_BYE;
        if (send_out(p, &out))
            how = BUS_END_LINGER;
    }
    bus_line_close(p->line, how);
    p->line = NULL;
}

static void go_down(struct pipe *p)
{
    close_line(p);
    p->state = PIPE_DOWN;
    p->lost = p->breaking = p->left = p->was_full = false;
    p->figures.resent += p->stream.resent;
    p->figures.holes += p->stream.holes;
    p->figures.duplicates += p->stream.duplicates;
    batches_fini(&p->stream);
    batches_init(&p->stream, 0, 0);
    buf_fini(&p->open);
    loop_turn_stop(&p->turn);
    loop_timer_stop(&p->timer);
}

void pipe_fall(struct pipe *p, const char *why)
{
    char said[sizeof p->why];

    if (p->state == PIPE_DOWN)
        return;
    snprintf(said, sizeof said, "%s", why);
    log_debug("pipe.down", "session=%016llx why=%s",
              (unsigned long long)p->stream.session,
              log_quote(slice_str(said)).text);
    enter(p);
    go_down(p);
    if (p->ops)
        p->ops->down(p->ctx, said);
    if (!p->freed && p->state == PIPE_DOWN && p->owner)
        p->owner->fallen(p->owner_ctx);
    (void)leave(p);
}

void pipe_break(struct pipe *p, const char *why)
{
    if (p->state == PIPE_DOWN || p->breaking)
        return;
    snprintf(p->why, sizeof p->why, "%s", why);
    p->breaking = true;
    set_timer(p, clock_ns(), 0);
}

static void come_up(struct pipe *p)
{
    p->state = PIPE_UP;
    log_debug("pipe.up", "session=%016llx",
              (unsigned long long)p->stream.session);
    if (p->ops)
        p->ops->up(p->ctx);
}

/* ---- receiving --------------------------------------------------------------- */

static void handle_frames(struct pipe *p, struct cursor frames)
{
    uint8_t code;
    struct slice body;

    while (!p->freed && pipe_is_up(p) && batch_frame(&frames, &code, &body)) {
        char why[48];
        int rc;

        p->figures.frames_in++;
        rc = p->ops ? p->ops->frame(p->ctx, code, body) : 0;
        if (rc == 0)
            continue;
        snprintf(why, sizeof why, rc == ERR_NOMEM ? "out of memory at a %s"
                                                  : "the peer sent a bad %s",
                 frame_name(code));
        pipe_break(p, why);
    }
}

static void tell_drained(struct pipe *p)
{
    if (p->freed || !pipe_is_up(p) || !p->was_full ||
        pipe_queued(p) >= p->limits.queue / 2)
        return;
    p->was_full = false;
    if (p->ops && p->ops->drained)
        p->ops->drained(p->ctx);
}

static void handle_batch(struct pipe *p, const struct batch_in *in)
{
    enter(p);
    if (p->state == PIPE_COMING)
        come_up(p);
    if (in->verdict == BATCH_TAKEN)
        handle_frames(p, in->frames);
    if (in->verdict != BATCH_PASSED && !p->freed && pipe_is_up(p) && p->ops)
        p->ops->batch_end(p->ctx, in->seq);
    tell_drained(p);
    if ((in->flags & BATCH_BYE) && !p->freed) {
        p->left = true;
        pipe_fall(p, PIPE_PEER_LEFT);
    }
    if (leave(p) || !pipe_is_up(p))
        return;
    want_flush(p);
    plan(p);
}

/* A line that brings what is no batch of ours is dropped; the peer, if it is
 * one, finds another. */
static void reject(struct pipe *p)
{
    p->figures.rejected++;
    drop_line(p);
}

static void on_received(void *ctx, struct slice bytes)
{
    struct pipe *p = ctx;
    struct batch_in in;
    int rc = p->flushing ? batches_heed(&p->stream, bytes)
                         : batches_take(&p->stream, bytes, &in);

    if (rc == ERR_FRAME) {
        reject(p);
        return;
    }
    if (rc < 0) {
        pipe_break(p, "the peer sent nonsense");
        return;
    }
    p->heard_ns = loop_now(p->loop);
    p->patience = FIRST_WORD;
    p->figures.batches_in++;
    p->figures.bytes_in += bytes.len;
    if (!p->flushing && !p->breaking)
        handle_batch(p, &in);
}

/* NNG says that somebody is there. What he is, his first batch tells. */
static void on_met(void *ctx)
{
    UNUSED(ctx);
}

static void on_lost(void *ctx)
{
    drop_line(ctx);
}

static void on_room(void *ctx)
{
    want_flush(ctx);
}

static const struct bus_line_ops line_ops = {
    .met = on_met,
    .lost = on_lost,
    .received = on_received,
    .room = on_room,
};

/* ---- time -------------------------------------------------------------------- */

static bool silent(const struct pipe *p, int64_t now)
{
    return !p->paused && now - p->heard_ns >= DEAD;
}

static void heartbeat(struct pipe *p, int64_t now)
{
    struct batch_out out;

    batches_tick(&p->stream);
    pump(p, 0);
    if (!p->line || !p->stream.met || now - p->sent_ns < HEARTBEAT ||
        !bus_line_room(p->line))
        return;
    batches_heartbeat(&p->stream, has_open(p) ? 0 : p->seq, &out);
    if (!send_out(p, &out))
        drop_line(p);
}

/* True: the pipe is no more, or down. */
static bool tell_lost(struct pipe *p)
{
    enter(p);
    p->lost = false;
    if (p->owner)
        p->owner->line_lost(p->owner_ctx);
    return leave(p) || p->state == PIPE_DOWN;
}

static void doubt_line(struct pipe *p, int64_t now)
{
    if (now < doubt_due(p))
        return;
    log_debug("pipe.doubt", "session=%016llx met=%d action=new_line",
              (unsigned long long)p->stream.session, p->stream.met);
    p->patience *= 2;
    drop_line(p);
}

/* Silence that only this end can be blamed for does not count. */
static void forgive(struct pipe *p, int64_t now)
{
    p->heard_ns = MAX(p->heard_ns, now - DEAD + GRACE);
    p->line_ns = now;
}

static void on_gathered(void *ctx)
{
    pump(ctx, 0);
}

static void on_timer(void *ctx)
{
    struct pipe *p = ctx;
    int64_t now = clock_ns();

    if (now - p->due_ns > STOPPED)
        forgive(p, now);
    if (p->breaking) {
        pipe_fall(p, p->why);
        return;
    }
    if (silent(p, now)) {
        pipe_fall(p, p->state == PIPE_UP ? "the peer has been silent too long"
                                         : "the peer did not come");
        return;
    }
    doubt_line(p, now);
    if (p->lost && tell_lost(p))
        return;
    heartbeat(p, now);
    if (!p->lost && !p->breaking)
        set_timer(p, now, next_due(p, now));
}

/* ---- lines ------------------------------------------------------------------- */

static void begin_stream(struct pipe *p, uint64_t session)
{
    CHECK(p->state == PIPE_DOWN);
    batches_init(&p->stream, session, p->limits.queue / 4);
    p->state = PIPE_COMING;
    p->gathers = p->urgent = false;
    p->gather_ns = 0;
    p->seq = 0;
    p->heard_ns = clock_ns();
    p->patience = FIRST_WORD;
}

/* In front of a new line: the old one, if there is one, is of no more use. */
static void prepare_line(struct pipe *p, uint64_t session, bool first)
{
    int64_t now = clock_ns();

    if (p->state == PIPE_DOWN)
        begin_stream(p, session);
    else
        p->figures.reconnects++;
    CHECK(p->stream.session == session);
    bus_line_close(p->line, BUS_END_QUIET);
    p->line = NULL;
    p->lost = false;
    p->sent_ns = p->line_ns = now;
    batches_new_line(&p->stream, first);
    set_timer(p, now, p->breaking ? 0 : next_due(p, now));
}

int pipe_listen(struct pipe *p, uint64_t session, const char *url)
{
    int rc;

    prepare_line(p, session, false);
    rc = bus_line_listen(&p->line, p->bus, url, p->limits.batch, &line_ops,
                         p);
    if (rc < 0)
        return rc;
    bus_line_pause(p->line, p->paused);
    plan(p);
    return 0;
}

int pipe_dial(struct pipe *p, uint64_t session, const char *url)
{
    int rc;

    prepare_line(p, session, true);
    rc = bus_line_dial(&p->line, p->bus, url, p->limits.batch, &line_ops, p);
    if (rc < 0)
        return rc;
    bus_line_pause(p->line, p->paused);
    want_flush(p);
    plan(p);
    return 0;
}

void pipe_ports(const struct pipe *p, unsigned ports[2])
{
    ports[0] = ports[1] = 0;
    if (p->line)
        bus_line_ports(p->line, ports);
}

uint64_t pipe_session(const struct pipe *p)
{
    return p->state == PIPE_DOWN ? 0 : p->stream.session;
}

void pipe_pause(struct pipe *p, bool paused)
{
    if (p->paused == paused)
        return;
    p->paused = paused;
    forgive(p, clock_ns());
    if (p->line)
        bus_line_pause(p->line, paused);
}

void pipe_flush(struct pipe *p, int ms)
{
    int64_t until = clock_ns() + ms * MILLISECOND;

    if (!pipe_is_up(p))
        return;
    p->flushing = p->urgent = true;
    pump(p, BATCH_ANSWER);
    while (pipe_is_up(p) && p->line && pipe_queued(p) > 0 &&
           bus_line_wait(p->line, until) == 0)
        pump(p, 0);
    p->flushing = false;
}

/* ---- another process goes on with it ---------------------------------------- */

void pipe_freeze(struct pipe *p, struct buf *out)
{
    CHECK(pipe_is_up(p));
    if (has_open(p))
        seal(p);
    batches_freeze(&p->stream, out);
}

int pipe_thaw(struct pipe *p, struct cursor *in)
{
    int64_t now = clock_ns();
    int rc;

    CHECK(p->state == PIPE_DOWN);
    batches_fini(&p->stream);
    rc = batches_thaw(&p->stream, in, p->limits.queue / 4);
    if (rc < 0) {
        batches_fini(&p->stream);
        batches_init(&p->stream, 0, 0);
        return rc;
    }
    p->state = PIPE_UP;
    p->heard_ns = p->sent_ns = p->line_ns = now;
    p->patience = FIRST_WORD;
    set_timer(p, now, next_due(p, now));
    return 0;
}

void pipe_beat(struct pipe *p)
{
    struct batch_out out;

    if (!pipe_is_up(p) || !p->line || !p->stream.met ||
        !bus_line_room(p->line))
        return;
    batches_heartbeat(&p->stream, 0, &out);
    (void)send_out(p, &out);
}

void pipe_part(struct pipe *p)
{
    bus_line_close(p->line, BUS_END_QUIET);
    p->line = NULL;
    p->lost = false;
    loop_timer_stop(&p->timer);
}

/* ---- life ---------------------------------------------------------------------- */

int pipe_new(struct pipe **ret, struct bus *bus,
             const struct pipe_limits *limits)
{
    struct pipe *p = calloc(1, sizeof *p);

    if (!p)
        return ERR_NOMEM;
    p->bus = bus_hold(bus);
    p->loop = bus_loop(bus);
    p->limits = *limits;
    p->limits.batch = MAX(limits->batch, (size_t)2 * PIPE_BATCH_BYTES);
    batches_init(&p->stream, 0, 0);
    loop_timer_init(&p->timer, p->loop, on_timer, p);
    loop_timer_init(&p->gather, p->loop, on_gathered, p);
    *ret = p;
    return 0;
}

void pipe_set_ops(struct pipe *p, const struct pipe_ops *ops, void *ctx)
{
    p->ops = ops;
    p->ctx = ctx;
}

void pipe_set_owner(struct pipe *p, const struct pipe_owner *o, void *ctx)
{
    p->owner = o;
    p->owner_ctx = ctx;
}

void pipe_free(struct pipe *p)
{
    if (!p || p->freed)
        return;
    p->freed = true;
    if (p->state != PIPE_DOWN)
        go_down(p);
    if (p->owner)
        p->owner->freed(p->owner_ctx);
    p->ops = NULL;
    p->owner = NULL;
    if (p->calls == 0)
        destroy(p);
}

void pipe_figures(const struct pipe *p, struct pipe_figures *ret)
{
    *ret = p->figures;
    ret->resent += p->stream.resent;
    ret->holes += p->stream.holes;
    ret->duplicates += p->stream.duplicates;
}
