/* texts.h - judges a run by what its messages say of themselves: publisher,
 * number and channel stand in each text (payload.h). For systems that give no
 * offsets and no cursors, and for ours beside them, by the same measure.
 *
 * Of the passes of check.h these remain, as counts that belong into a table:
 *
 *   lost        (a subscriber, an acknowledged message) that never met. Due is
 *               what was published after the subscriber was first in force, of
 *               each channel it asked for, whether it was connected or not: all
 *               of them come back to resume. What a notice told to be missing is
 *               not lost but `told`: a gap with offsets tells these, one without
 *               all of its channels that was published before it
 *   duplicated  a subscriber sees a message again. `retried` counts those whose
 *               publisher had not got an answer and had sent it again: where there
 *               are no keys these are two messages to the system
 *   disordered  of two messages of a channel, the first acknowledged before the
 *               second was sent, a subscriber sees the second first
 *   ghosts      a message that nobody published, with another text or in another
 *               channel, or that was refused
 *
 * Numbers, stored, cursor, notices and the rest of check.h need numbers of the
 * system's own, and have no meaning here; that all subscribers agree on an order
 * of what was published at the same time is not asked. Patterns and D lines are
 * not understood. Threads: one. Cost: publications x subscribers. */
#ifndef TESTS_CHAOS_TEXTS_H
#define TESTS_CHAOS_TEXTS_H

#include <stdint.h>

struct checker;

struct texts_figures {
    uint64_t acked; /* messages, not answers */
    uint64_t due;   /* acknowledged messages x subscribers that wait for them */
    uint64_t lost, told, gaps, duplicated, retried, disordered, ghosts;
    uint64_t lost_messages; /* that at least one subscriber lacks */
    uint64_t subscribers, connections;
};

/* After all logs are collected (checker_texts). */
void texts_judge(struct checker *c, struct texts_figures *ret);

#endif
