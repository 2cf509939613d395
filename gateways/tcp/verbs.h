/* verbs.h - what a line of a telnet client means: one row for each verb.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_TCP_VERBS_H
#define TOUCHLINE_TCP_VERBS_H

#include "gateways/common/conn.h"
#include "gateways/tcp/line.h"

enum { VERB_ARGS_MAX = 2 };

struct verb_call {
    struct conn *conn;
    const struct verb *verb;
    struct slice arg[VERB_ARGS_MAX]; /* absent: ptr is NULL */
    unsigned count;
};

struct verb {
    const char *name; /* one that ends in ':' is the beginning of its line */
    const char *also; /* another name, or NULL */
    const char *args; /* for people */
    uint8_t least, most;
    bool text;      /* the last argument is the rest of the line as it is */
    bool pipelined; /* answered later; others of its kind may follow at once */
    void (*run)(const struct verb_call *call);
    /* The JSON that conn_query() brought; NULL for verbs that ask nothing. */
    void (*answered)(struct conn *c, struct slice json);
    const char *help, *example;
};

/* A line has come, or one that was too long: run it, or keep it until its
 * turn. Errors are told to the client. */
void verbs_take(struct conn *c, enum line_event event, struct slice line);

/* By its name; NULL: there is none. */
const struct verb *verb_named(struct slice name);

/* A subscription that SUB or JOIN asked for is in force, as of cursor. */
void verbs_subscribed(struct conn *c, struct slice cursor);
/* The answer to what the verb under way has asked: JSON, or a report, or the
 * reason why there is none. */
void verbs_answered(struct conn *c, enum publish_status status, bool json,
                    struct slice body);
/* The page of HISTORY: a line of it, its end. */
void verbs_row(struct conn *c, struct msg *m);
void verbs_page_end(struct conn *c, int err);

#endif
