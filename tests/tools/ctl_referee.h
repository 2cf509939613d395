/* ctl_referee.h - reads the events of a schedule as the rules of a match have
 * it, and keeps the score: an opinion of its own on what replay plays. */
#ifndef TESTS_TOOLS_CTL_REFEREE_H
#define TESTS_TOOLS_CTL_REFEREE_H

#include "tools/router-ctl/schedule.h"

struct verdict {
    const char *period; /* "ended" when all went well */
    int score[2], shootout[2];
    int named, nameless; /* goals with and without a player, no kicks */
    int halves[4]; /* goals in the first, last, first and last extra half */
    int cards, subs, misses;
};

/* Fails the test at the first event that is against the rules. */
struct verdict referee(const struct cup *c, const struct cup_match *m,
                       const struct schedule *s);

/* The cup in the file of the shared data, or in the text; fails the test when
 * it cannot be read. */
struct cup *cup_of_data(const char *name);
struct cup *cup_of(const char *text);

/* The nth event of this kind (1 is the first), NULL: there is none; its data
 * as text, which lives until the next call. */
const struct event *nth(const struct schedule *s, const char *kind, int n);
const char *data_of(const struct schedule *s, const struct event *e);

#endif
