#include "tests/router/fake_pipe.h"

#include <stdlib.h>

#include "base/check.h"
#include "proto/rendezvous.h"

unsigned fake_pipes;

struct pipe *fake_pipe_new(void)
{
    struct pipe *p = calloc(1, sizeof *p);

    list_init(&p->frames);
    p->limit = 8 * 1024 * 1024;
    fake_pipes++;
    return p;
}

int fake_pipe_say(struct pipe *p, uint8_t code, struct slice body)
{
    return p->ops->frame(p->ctx, code, body);
}

struct fake_frame *fake_pipe_take(struct pipe *p)
{
    struct list_node *n = list_pop(&p->frames);

    return n ? CONTAINER_OF(n, struct fake_frame, node) : NULL;
}

void fake_frame_free(struct fake_frame *f)
{
    if (!f)
        return;
    buf_fini(&f->body);
    free(f);
}

void fake_pipe_stall(struct pipe *p, size_t limit)
{
    p->counting = true;
    p->limit = limit;
    p->queued = 0;
}

void fake_pipe_drain(struct pipe *p)
{
    p->counting = false;
    p->queued = 0;
    p->ops->drained(p->ctx);
}

/* ---- pipe.h ------------------------------------------------------------ */

struct buf *pipe_frame(struct pipe *p, uint8_t code)
{
    CHECK(!p->open);
    while (!p->open) /* a failure that a test asked for is not for us */
        p->open = calloc(1, sizeof *p->open);
    p->open->code = code;
    p->open->hold = p->held ? p->holds : 0;
    return &p->open->body;
}

void pipe_frame_end(struct pipe *p)
{
    CHECK(p->open);
    p->lost |= p->open->body.failed;
    if (p->counting)
        p->queued += p->open->body.len + 5;
    list_init(&p->open->node);
    list_add_tail(&p->frames, &p->open->node);
    p->open = NULL;
}

void pipe_hold(struct pipe *p, bool held)
{
    CHECK(p->held != held);
    p->held = held;
    p->holds += held;
}

void pipe_set_seq(struct pipe *p, uint64_t seq)
{
    CHECK(!p->open);
    p->seq = seq;
}

bool pipe_is_up(const struct pipe *p)
{
    return !p->broken;
}

/* The router compares it with the limit it was configured with; ours is low. */
size_t pipe_queued(const struct pipe *p)
{
    return p->queued >= p->limit ? SIZE_MAX : p->queued;
}

bool pipe_full(const struct pipe *p)
{
    CHECK(!p->open);
    return p->queued >= p->limit;
}

void pipe_pause(struct pipe *p, bool paused)
{
    p->paused = paused;
}

void pipe_break(struct pipe *p, const char *why)
{
    UNUSED(why);
    p->broken = true;
}

void pipe_fall(struct pipe *p, const char *why)
{
    p->broken = true;
    p->ops->down(p->ctx, why);
}

void pipe_flush(struct pipe *p, int ms)
{
    UNUSED(ms);
    p->flushed++;
}

void pipe_free(struct pipe *p)
{
    struct fake_frame *f;

    if (!p)
        return;
    while ((f = fake_pipe_take(p)))
        fake_frame_free(f);
    free(p);
    fake_pipes--;
}

void pipe_figures(const struct pipe *p, struct pipe_figures *ret)
{
    UNUSED(p);
    *ret = (struct pipe_figures){0};
}

const struct pipe_ops rendezvous_deaf;

/* ---- rendezvous.h, as far as the router asks it -------------------------- */

uint64_t rendezvous_reopened(const struct rendezvous *r)
{
    UNUSED(r);
    return 0;
}

struct rendezvous_strange rendezvous_strange(const struct rendezvous *r,
                                             int64_t now_ns)
{
    UNUSED(r);
    UNUSED(now_ns);
    return (struct rendezvous_strange){ .refused = 0 };
}

uint64_t rendezvous_refused(const struct rendezvous *r, enum bus_refusal why)
{
    UNUSED(r);
    UNUSED(why);
    return 0;
}
