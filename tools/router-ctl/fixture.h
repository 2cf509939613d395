/* fixture.h - a match of a file on its way into the router.
 *
 * What is to be created is created, and what was played already is found out,
 * before anything begins; at the end the router is asked how each match
 * stands.
 * Threads: the loop's. */
#ifndef TOUCHLINE_TOOLS_FIXTURE_H
#define TOUCHLINE_TOOLS_FIXTURE_H

#include "tools/router-ctl/ctl.h"
#include "tools/router-ctl/schedule.h"

enum { FIXTURE_ID_MAX = 2 * FOLD_MAX + CUP_DATE + 2 };

struct fixture {
    const struct cup_match *match;
    char id[FIXTURE_ID_MAX + 1]; /* "arg-fra-2022-12-18" */
    char date[CUP_DATE + 1];
    struct schedule schedule;
    size_t next;     /* event that comes next */
    bool begun;      /* the router knows it as begun */
    char *trouble;   /* why it did not go well; NULL: it did */
};

struct fixtures {
    struct ctl *ctl;
    const struct cup *cup;
    struct fixture *list;
    size_t count;
};

/* Those that were asked for, on the day they are to be played: of --match and
 * --date. EXIT_DONE, or it has been said what is wrong. */
int fixtures_choose(struct fixtures *fs, struct ctl *c,
                    const struct cup *cup);
void fixtures_fini(struct fixtures *fs);

/* Creates teams and matches that are not there yet. EXIT_REFUSED: some have
 * been played; nothing has been changed. */
int fixtures_create(struct fixtures *fs);
/* Compares what the router says with the file. A difference is trouble. */
int fixtures_check(struct fixtures *fs);
/* A line each, on standard output; EXIT_FAILED when there was trouble. */
int fixtures_print(struct fixtures *fs);

/* The first trouble of a match stays. */
PRINTF_LIKE(2, 3)
void fixture_trouble(struct fixture *f, const char *fmt, ...);

#endif
