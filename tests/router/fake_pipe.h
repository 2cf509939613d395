/* fake_pipe.h - pipe.h kept in memory: what the router writes is a list of
 * frames, what the peer says is handed in at once. Linked instead of pipe.c
 * into the tests of the router.
 * Threads: the test's. */
#ifndef TESTS_ROUTER_FAKE_PIPE_H
#define TESTS_ROUTER_FAKE_PIPE_H

#include "base/list.h"
#include "proto/pipe.h"

struct fake_frame {
    struct list_node node;
    uint8_t code;
    unsigned hold; /* in which of the holds it was said; 0: in none */
    struct buf body;
};

struct pipe {
    const struct pipe_ops *ops;
    void *ctx;
    struct list_node frames; /* what the router said, oldest first */
    struct fake_frame *open;
    struct buf nowhere;
    uint64_t seq;   /* what the next batch would carry */
    size_t queued;  /* bytes since fake_pipe_take(); counted when counting */
    size_t limit;
    bool counting;  /* the peer does not read: the queue grows */
    bool paused, broken;
    bool lost; /* memory ran out for a frame: a real pipe would go down */
    unsigned flushed;
    bool held;
    unsigned holds;
};

struct pipe *fake_pipe_new(void);
/* The peer says a frame. What the router's ops returned. */
int fake_pipe_say(struct pipe *p, uint8_t code, struct slice body);
/* Takes the oldest frame off; NULL: none. Free it with fake_frame_free(). */
struct fake_frame *fake_pipe_take(struct pipe *p);
void fake_frame_free(struct fake_frame *f);

/* From here on the peer acknowledges nothing; then again everything. */
void fake_pipe_stall(struct pipe *p, size_t limit);
void fake_pipe_drain(struct pipe *p);

extern unsigned fake_pipes; /* how many there are */

#endif
