/* left.h - what slow readers and newcomers of types are told, beside offsets:
 * which messages may have been left out, and how a match stands.
 *
 * The policy of each namespace is in the logs, so are the key and the event of
 * each publication (history.h). Of `conflate` a message may be left out when
 * it is a match's lesser one, or when a newer one says what it says: of its
 * key, or the next state; that had been sent when the notice came. Goals,
 * cards and substitutions, and what has no key, never. A state is what folding
 * the events up to its seq gives, without those that were retracted by then. */
#ifndef TESTS_CHAOS_LEFT_H
#define TESTS_CHAOS_LEFT_H

#include "tests/chaos/check_state.h"

/* What a notice said of messages that did not come. */
struct left {
    int64_t ns;      /* when it came */
    line_at line;
    bool conflated;  /* else slow */
    bool pattern;    /* of all its channels at once: one reason for several */
};

/* Offsets from to to of a channel were left out. Returns the seq of the last
 * state among them, 0 for none. Cost: O(to - from), and for what has a newer one
 * how far that is behind it. */
uint64_t left_judge(struct checker *c, uint32_t channel, uint32_t epoch,
                    uint64_t from, uint64_t to, const struct left *left);

/* Is this (a P line) how it stands? Cost: O(events of the channel). */
void left_state(struct checker *c, const struct words *w);

#endif
