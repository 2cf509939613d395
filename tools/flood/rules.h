/* rules.h - what a line, frame or event of a server is: a message, with its
 * number and time; a notice that something is missing; the word that a client
 * is up; a refusal.
 * Threads: any; rules are only read. Cost: a few searches over the text. */
#ifndef TOUCHLINE_FLOOD_RULES_H
#define TOUCHLINE_FLOOD_RULES_H

#include "base/slice.h"

/* Empty: there is none. */
struct rules {
    struct slice prefix;  /* what has none is nothing ("data:"); cut off */
    struct slice ready;   /* is somewhere in what says that a client is up */
    struct slice refused; /* begins what says that it will not be */
    struct slice notice;  /* begins what is no message */
    struct slice gap;     /* begins what says how many were missed ... */
    struct slice missed;  /* ... behind this */
    struct slice message; /* is somewhere in a message without number or mark */
    struct slice number;  /* stands in front of a message's number */
    struct slice time;    /* in front of its time, Unix milliseconds */
    struct slice epoch;   /* in front of the name of the numbers' epoch */
};

struct item {
    bool ready, refused, message, gap;
    uint64_t missed; /* of a gap; 0: it is not said how many */
    uint64_t number; /* 0: none is known */
    int64_t t_us;    /* Unix; 0: not known */
    uint16_t epoch;  /* a digest of its name; 0: none */
};

/* text: without what ended it. */
struct item rules_judge(const struct rules *r, struct slice text);

#endif
