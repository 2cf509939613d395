/* lane.h - the upper end of a peer's stream of frames: on a pipe of its own, or
 * in the pipe of a repeater, the trunk, beside others.
 * path: msg > publish > store > table > repeater > [link] > bus > gateway >
 *       edge > conn
 *
 * A lane is what a pipe is for who talks to a peer: frames in order, each once,
 * a queue that can be full, an end that is told. What stands in a trunk beyond
 * that: a frame for many of its lanes travels once (struct repeat), and the seq
 * of its batches is that of all lanes that follow it. decisions/0042 has the
 * whole, trunk_frame.h the bytes.
 *
 * A lane counts what was put on it until the repeater says that its peer has
 * acknowledged it, so that its queue means the same as a pipe's. A trunk that is
 * full makes all its lanes full.
 *
 * Threads: the pipe's loop. Callbacks run on the loop, never inside a call but
 * trunk_frame(), trunk_down() and lane_fall(). */
#ifndef TOUCHLINE_PROTO_LANE_H
#define TOUCHLINE_PROTO_LANE_H

#include "base/list.h"
#include "base/map.h"
#include "proto/pipe.h"
#include "proto/rendezvous.h"

enum {
    TRUNK_QUEUES = 4, /* a trunk's queue is that of so many lanes */
    TRUNK_ROOM = 64 * 1024, /* a trunk's frame may be so much longer */
};

struct trunk;
struct lane {
    struct pipe *pipe;   /* its own; NULL: it is in a trunk, or down */
    struct trunk *trunk; /* NULL: it has a pipe, or is down */
    uint32_t number;     /* in the trunk */
    const struct pipe_ops *ops; /* in a trunk: who hears of it */
    void *ctx;
    struct map_node by_number;
    struct list_node node; /* on trunk->lanes */
    uint64_t put, taken;   /* bytes, as lane_cost() */
    struct buf *open;      /* a frame of it is being written here, */
    size_t frame_at;       /* its body from here on */
    bool follows;
    bool breaking; /* falls as soon as the loop comes by */
    struct buf nowhere; /* what is said when it is down */
};

/* For maps by number. */
static inline uint32_t lane_hash(uint32_t number)
{
    return number * UINT32_C(2654435761);
}

/* What a frame with a body of len bytes counts. */
size_t lane_cost(size_t len);

/* On a pipe, which is the lane's from here on; its ops are its owner's to set. */
void lane_on_pipe(struct lane *l, struct pipe *p);
/* Ends it: its peer is told, if it can be. No callback any more. */
void lane_fini(struct lane *l);

/* As pipe_frame() and so on, of pipe.h. */
struct buf *lane_frame(struct lane *l, uint8_t code);
void lane_frame_end(struct lane *l);
bool lane_is_up(const struct lane *l);
size_t lane_queued(const struct lane *l);
bool lane_full(const struct lane *l);
void lane_flush(struct lane *l, int ms); /* in a trunk: as far as the repeater */
void lane_figures(const struct lane *l, struct pipe_figures *ret);
/* Its part of what this process holds queued; that of a trunk is its pipe's. */
size_t lane_held(const struct lane *l);
/* Only on a pipe of its own; who reads, or holds, a trunk does so with all that
 * is in it. */
void lane_pause(struct lane *l, bool paused);
void lane_hold(struct lane *l, bool held);
void lane_fall(struct lane *l, const char *why);

/* The seq that its batches carry from here on, by itself ... */
void lane_set_seq(struct lane *l, uint64_t seq);
/* ... or, while it follows, with the trunk's: pipe_set_seq() on that pipe. seq
 * is where it stands now. On a pipe of its own there is nothing to follow: its
 * owner goes on with lane_set_seq(), which in a trunk then says nothing. */
void lane_follow(struct lane *l, bool follows, uint64_t seq);

/* ---- one frame for several lanes ------------------------------------------ */

struct repeat {
    struct list_node trunks;
    uint8_t code;
    struct slice body; /* borrowed until repeat_end() */
};
void repeat_begin(struct repeat *r, uint8_t code, struct slice body);
/* Each lane once; it counts as put. No other frame with a place in the order of
 * this one may be put on it before the end. */
void repeat_add(struct repeat *r, struct lane *l);
void repeat_end(struct repeat *r);

/* ---- trunks ---------------------------------------------------------------- */

struct trunk_ops {
    /* A peer of the repeater's: says which lane it is to be, that is nobody's
     * yet, and who hears of it as of a pipe (up() is not called; drained() is
     * when some of what was put was taken). NULL, or why it is turned away. */
    const char *(*came)(void *ctx, const struct peer_id *who,
                        struct lane **lane, const struct pipe_ops **ops,
                        void **lane_ctx);
};

/* Of a pipe whose peer is a repeater. limits: of a lane. The pipe stays its
 * owner's, who hands on what comes in on it. ERR_NOMEM. */
MUST_USE int trunk_new(struct trunk **ret, struct loop *loop, struct pipe *p,
                       const struct pipe_limits *limits,
                       const struct trunk_ops *ops, void *ctx);
/* COME, FROM, GONE, TAKEN. ERR_FRAME: the repeater broke the rules. What breaks
 * them in a lane takes down that lane alone. */
MUST_USE int trunk_frame(struct trunk *t, uint8_t code, struct slice body);
bool trunk_has_code(uint8_t code); /* is it one of these? */
size_t trunk_lanes(const struct trunk *t);
/* All lanes hear that they are down. */
void trunk_down(struct trunk *t, const char *why);
/* Behind trunk_down(). NULL is fine. */
void trunk_free(struct trunk *t);

/* What the pipe of a trunk may hold, both ends, from what a lane may. */
struct pipe_limits trunk_limits(const struct pipe_limits *lane);

#endif
