/* quiet_link.h - what a link does that no test of a gateway looks at. A program
 * that has a link of its own, in memory, includes this once, in its only file that
 * does, and writes what it looks at itself: joiner_open(), joiner_close(),
 * pipe_is_up(), pipe_frame(), pipe_frame_end(), pipe_break().
 *
 * Such a link is its pipe, too; is of life 7 and called QUIET_LINK_NAME; is never
 * stuck, has nothing queued, and takes up what it has written down itself.
 * Threads: any. */
#ifndef TESTS_T_QUIET_LINK_H
#define TESTS_T_QUIET_LINK_H

#include "base/err.h"
#include "proto/frame_io.h"
#include "proto/rendezvous.h"

#ifndef QUIET_LINK_NAME
#define QUIET_LINK_NAME "tcp1"
#endif

enum { QUIET_LINK_FROZEN = 4711 };

struct pipe *joiner_pipe(struct joiner *j)
{
    return (struct pipe *)(void *)j;
}

const struct peer_id *joiner_who(const struct joiner *j)
{
    static const struct peer_id who = {.name = QUIET_LINK_NAME, .life = 7};

    UNUSED(j);
    return &who;
}

bool joiner_is_stuck(const struct joiner *j)
{
    UNUSED(j);
    return false;
}

void joiner_freeze(struct joiner *j, struct buf *out)
{
    UNUSED(j);
    put_u32(out, QUIET_LINK_FROZEN);
}

int joiner_thaw(struct joiner *j, struct cursor *in)
{
    UNUSED(j);
    return cursor_u32(in) == QUIET_LINK_FROZEN ? 0 : ERR_FRAME;
}

void joiner_part(struct joiner *j)
{
    UNUSED(j);
}

size_t pipe_queued(const struct pipe *p)
{
    UNUSED(p);
    return 0;
}

void pipe_figures(const struct pipe *p, struct pipe_figures *ret)
{
    UNUSED(p);
    *ret = (struct pipe_figures){.resent = 0};
}

void pipe_hold(struct pipe *p, bool held)
{
    UNUSED(p);
    UNUSED(held);
}

#endif
