#include "proto/lane.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "proto/batch.h"
#include "proto/frame.h"
#include "proto/frame_io.h"
#include "proto/trunk_frame.h"

#define TOO_SLOW "the peer does not take what it is sent"

struct trunk {
    struct pipe *pipe;
    struct pipe_limits limits; /* a lane's */
    const struct trunk_ops *ops;
    void *ctx;
    struct map by_number;
    struct list_node lanes;
    uint32_t last; /* the highest number that has come */
    struct list_node node; /* on repeat->trunks */
    uint32_t *due; /* lanes of the repeat under way; room for all there are */
    size_t due_count, due_room;
    struct loop_timer breaker; /* for what cannot fall inside a call */
};

size_t lane_cost(size_t len)
{
    return len + BATCH_FRAME_HEADER;
}

struct pipe_limits trunk_limits(const struct pipe_limits *lane)
{
    return (struct pipe_limits){.batch = lane->batch + TRUNK_ROOM,
                                .queue = lane->queue * TRUNK_QUEUES};
}

/* ---- lanes ------------------------------------------------------------------ */

static void lane_init(struct lane *l)
{
    *l = (struct lane){.nowhere = BUF_INIT};
    list_init(&l->node);
}

void lane_on_pipe(struct lane *l, struct pipe *p)
{
    lane_init(l);
    l->pipe = p;
}

/* It is in its trunk no more, and down. */
static void leave(struct lane *l)
{
    map_remove(&l->trunk->by_number, &l->by_number);
    list_remove(&l->node);
    l->trunk = NULL;
}

static void put_cut(struct trunk *t, uint32_t number, const char *why)
{
    trunk_write_cut(pipe_frame(t->pipe, FRAME_CUT), number, slice_str(why));
    pipe_frame_end(t->pipe);
}

void lane_fini(struct lane *l)
{
    if (l->trunk) {
        if (!l->breaking)
            put_cut(l->trunk, l->number, PIPE_PEER_LEFT);
        leave(l);
    }
    pipe_free(l->pipe);
    l->pipe = NULL;
    buf_fini(&l->nowhere);
}

static bool is_open(const struct lane *l)
{
    return l->trunk && !l->breaking;
}

struct buf *lane_frame(struct lane *l, uint8_t code)
{
    struct buf *b;

    if (l->pipe)
        return pipe_frame(l->pipe, code);
    if (!is_open(l))
        return &l->nowhere;
    b = pipe_frame(l->trunk->pipe, FRAME_REPEAT);
    trunk_write_repeat(b, &l->number, 1, code);
    l->frame_at = b->len;
    l->open = b;
    return b;
}

/* Nobody expects an end inside a call. Its peer gets one at once: what is put on
 * the lane no more must not be covered by a seq of the trunk that still is. */
static void break_later(struct lane *l)
{
    put_cut(l->trunk, l->number, TOO_SLOW);
    l->breaking = true;
    loop_timer_set(&l->trunk->breaker, 0);
}

static void count_put(struct lane *l, size_t len)
{
    l->put += lane_cost(len);
    if (!l->breaking && lane_queued(l) > 2 * l->trunk->limits.queue)
        break_later(l);
}

void lane_frame_end(struct lane *l)
{
    if (l->pipe) {
        pipe_frame_end(l->pipe);
    } else if (is_open(l)) {
        size_t len = l->open->len - l->frame_at;

        pipe_frame_end(l->trunk->pipe);
        count_put(l, len);
    } else {
        buf_reset(&l->nowhere);
    }
}

bool lane_is_up(const struct lane *l)
{
    return l->pipe ? pipe_is_up(l->pipe)
                   : is_open(l) && pipe_is_up(l->trunk->pipe);
}

size_t lane_queued(const struct lane *l)
{
    return l->pipe ? pipe_queued(l->pipe) : (size_t)(l->put - l->taken);
}

bool lane_full(const struct lane *l)
{
    if (l->pipe)
        return pipe_full(l->pipe);
    return l->trunk && (lane_queued(l) >= l->trunk->limits.queue ||
                        pipe_full(l->trunk->pipe));
}

size_t lane_held(const struct lane *l)
{
    return l->pipe ? pipe_queued(l->pipe) : 0;
}

void lane_pause(struct lane *l, bool paused)
{
    if (l->pipe)
        pipe_pause(l->pipe, paused);
}

void lane_hold(struct lane *l, bool held)
{
    if (l->pipe)
        pipe_hold(l->pipe, held);
}

void lane_flush(struct lane *l, int ms)
{
    if (l->pipe || l->trunk)
        pipe_flush(l->pipe ? l->pipe : l->trunk->pipe, ms);
}

void lane_figures(const struct lane *l, struct pipe_figures *ret)
{
    *ret = (struct pipe_figures){0};
    if (l->pipe)
        pipe_figures(l->pipe, ret);
}

static void fall(struct lane *l, const char *why)
{
    leave(l);
    l->ops->down(l->ctx, why);
}

void lane_fall(struct lane *l, const char *why)
{
    if (l->pipe) {
        pipe_fall(l->pipe, why);
    } else if (l->trunk) {
        if (!l->breaking)
            put_cut(l->trunk, l->number, why);
        fall(l, why);
    }
}

/* ---- the place in the stream ------------------------------------------------- */

static void put_place(struct lane *l, uint64_t seq)
{
    struct buf *b;

    if (!is_open(l))
        return;
    b = pipe_frame(l->trunk->pipe, FRAME_PLACE);
    trunk_write_place(b, l->number, l->follows, seq);
    pipe_frame_end(l->trunk->pipe);
}

void lane_set_seq(struct lane *l, uint64_t seq)
{
    if (l->pipe)
        pipe_set_seq(l->pipe, seq);
    else if (!l->follows)
        put_place(l, seq);
}

void lane_follow(struct lane *l, bool follows, uint64_t seq)
{
    if (l->follows == follows)
        return;
    l->follows = follows;
    put_place(l, seq);
}

/* ---- one frame for several lanes ---------------------------------------------- */

void repeat_begin(struct repeat *r, uint8_t code, struct slice body)
{
    list_init(&r->trunks);
    r->code = code;
    r->body = body;
}

void repeat_add(struct repeat *r, struct lane *l)
{
    struct trunk *t = l->trunk;

    if (l->pipe) {
        put_raw(pipe_frame(l->pipe, r->code), r->body);
        pipe_frame_end(l->pipe);
        return;
    }
    if (!is_open(l))
        return;
    if (!list_linked(&t->node))
        list_add_tail(&r->trunks, &t->node);
    t->due[t->due_count++] = l->number;
    count_put(l, r->body.len);
}

void repeat_end(struct repeat *r)
{
    struct list_node *n;

    while ((n = list_pop(&r->trunks))) {
        struct trunk *t = CONTAINER_OF(n, struct trunk, node);
        struct buf *b = pipe_frame(t->pipe, FRAME_REPEAT);

        trunk_write_repeat(b, t->due, (uint16_t)t->due_count, r->code);
        put_raw(b, r->body);
        pipe_frame_end(t->pipe);
        t->due_count = 0;
    }
}

/* ---- trunks ------------------------------------------------------------------- */

static bool has_number(const struct map_node *n, const void *key)
{
    return CONTAINER_OF(n, const struct lane, by_number)->number ==
           *(const uint32_t *)key;
}

static struct lane *find(struct trunk *t, uint32_t number)
{
    struct map_node *n = map_find(&t->by_number, lane_hash(number),
                                  has_number, &number);

    return n ? CONTAINER_OF(n, struct lane, by_number) : NULL;
}

static void on_breaker(void *ctx)
{
    struct trunk *t = ctx;

    LIST_FOREACH_SAFE(l, next, &t->lanes, struct lane, node)
        if (l->breaking)
            lane_fall(l, TOO_SLOW);
}

int trunk_new(struct trunk **ret, struct loop *loop, struct pipe *p,
              const struct pipe_limits *limits, const struct trunk_ops *ops,
              void *ctx)
{
    struct trunk *t = calloc(1, sizeof *t);

    if (!t)
        return ERR_NOMEM;
    t->pipe = p;
    t->limits = *limits;
    t->ops = ops;
    t->ctx = ctx;
    map_init(&t->by_number);
    list_init(&t->lanes);
    list_init(&t->node);
    loop_timer_init(&t->breaker, loop, on_breaker, t);
    *ret = t;
    return 0;
}

/* So that a repeat cannot fail. */
static int make_room(struct trunk *t)
{
    size_t room = t->due_room ? 2 * t->due_room : 16;
    uint32_t *due;

    if (map_count(&t->by_number) < t->due_room)
        return 0;
    if (room > UINT16_MAX)
        return ERR_FULL;
    due = realloc(t->due, room * sizeof *due);
    if (!due)
        return ERR_NOMEM;
    t->due = due;
    t->due_room = room;
    return 0;
}

static int enter(struct trunk *t, struct lane *l, uint32_t number)
{
    int rc = make_room(t);

    if (rc == 0)
        rc = map_add(&t->by_number, &l->by_number, lane_hash(number));
    if (rc < 0)
        return rc;
    l->trunk = t;
    list_add_tail(&t->lanes, &l->node);
    return 0;
}

static int on_come(struct trunk *t, struct slice body)
{
    struct trunk_come f;
    struct lane *l;
    const struct pipe_ops *ops = NULL;
    void *ctx = NULL;
    const char *no;

    if (trunk_read_come(body, &f) < 0 || f.number <= t->last)
        return ERR_FRAME;
    t->last = f.number;
    no = t->ops->came(t->ctx, &f.who, &l, &ops, &ctx);
    if (no) {
        put_cut(t, f.number, no);
        return 0;
    }
    lane_init(l);
    l->number = f.number;
    l->ops = ops;
    l->ctx = ctx;
    if (enter(t, l, f.number) < 0) {
        put_cut(t, f.number, err_text(ERR_NOMEM));
        l->ops->down(l->ctx, err_text(ERR_NOMEM));
    }
    return 0;
}

/* A lane that is gone already may still be spoken of: ERR_NOT_FOUND. */
static int find_said(struct trunk *t, uint32_t number, struct lane **ret)
{
    *ret = find(t, number);
    if (number == 0 || number > t->last)
        return ERR_FRAME;
    return *ret ? 0 : ERR_NOT_FOUND;
}

static int on_from(struct trunk *t, struct slice body)
{
    struct trunk_from f;
    struct lane *l;
    int rc = trunk_read_from(body, &f);

    if (rc == 0)
        rc = find_said(t, f.number, &l);
    if (rc < 0 || l->breaking)
        return rc;
    if (l->ops->frame(l->ctx, f.code, f.body) < 0 && find(t, f.number)) {
        char why[48];

        snprintf(why, sizeof why, "the peer sent a bad %s",
                 frame_name(f.code));
        lane_fall(l, why);
    }
    return 0;
}

static int on_gone(struct trunk *t, struct slice body)
{
    struct trunk_gone f;
    struct lane *l;
    char why[96];
    int rc = trunk_read_gone(body, &f);

    if (rc == 0)
        rc = find_said(t, f.number, &l);
    if (rc < 0)
        return rc;
    snprintf(why, sizeof why, SLICE_FMT, SLICE_ARG(f.why));
    fall(l, f.left ? PIPE_PEER_LEFT : why);
    return 0;
}

static int on_taken(struct trunk *t, struct slice body)
{
    struct trunk_taken f;
    struct lane *l;
    int rc = trunk_read_taken(body, &f);

    if (rc == 0)
        rc = find_said(t, f.number, &l);
    if (rc < 0)
        return rc;
    if (f.bytes < l->taken || f.bytes > l->put)
        return ERR_FRAME;
    l->taken = f.bytes;
    if (l->ops->drained)
        l->ops->drained(l->ctx);
    return 0;
}

static const struct handler {
    uint8_t code;
    int (*handle)(struct trunk *t, struct slice body);
} handlers[] = {
    {FRAME_COME, on_come}, {FRAME_FROM, on_from}, {FRAME_GONE, on_gone},
    {FRAME_TAKEN, on_taken},
};

bool trunk_has_code(uint8_t code)
{
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
        if (handlers[i].code == code)
            return true;
    return false;
}

int trunk_frame(struct trunk *t, uint8_t code, struct slice body)
{
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
        if (handlers[i].code == code) {
            int rc = handlers[i].handle(t, body);

            return rc == ERR_NOT_FOUND ? 0 : rc;
        }
    return ERR_FRAME;
}

size_t trunk_lanes(const struct trunk *t)
{
    return map_count(&t->by_number);
}

void trunk_down(struct trunk *t, const char *why)
{
    struct list_node *n;

    while ((n = list_first(&t->lanes)))
        fall(CONTAINER_OF(n, struct lane, node), why);
}

void trunk_free(struct trunk *t)
{
    if (!t)
        return;
    CHECK(list_empty(&t->lanes));
    loop_timer_stop(&t->breaker);
    map_fini(&t->by_number);
    free(t->due);
    free(t);
}
