/* link_ends.h - the other end of a link, in the same process: a pipe on a loop
 * of its own, over memory_bus.h. What it says comes from the path's own frames;
 * what it hears it hands to whoever plays that end. */
#ifndef TESTS_BENCH_LINK_ENDS_H
#define TESTS_BENCH_LINK_ENDS_H

#include "proto/config.h"
#include "proto/pipe.h"

/* Two loops: of what is counted, and of the other ends. */
struct count_ends {
    struct loop *near_loop, *far_loop;
    struct bus *near, *far;
    int64_t wait_ns; /* of the near turn under way */
};
void count_ends_open(struct count_ends *e);
/* A line between two new pipes; the far one is the first to speak. */
void count_ends_join(struct count_ends *e, const struct pipe_ops *ops,
                     void *ctx, struct pipe **near, struct pipe **far);

/* The far ends take their turn: they hear, and what they have said is sent. */
void count_far_turn(struct count_ends *e);
/* A turn of the near end, counted: what has come, then what it waits for at
 * most wait_ns. */
void count_near_turn(struct count_ends *e, int64_t wait_ns);
/* Both, uncounted, until nothing is under way between them. */
void count_settle(struct count_ends *e);

/* The configuration that these "SECTION.KEY=VALUE" make, up to a NULL. */
struct config *count_config(const char *const *sets);

#endif
