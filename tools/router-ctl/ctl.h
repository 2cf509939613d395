/* ctl.h - one run of router-ctl: its options, its verb, its link, and what all
 * verbs share.
 *
 * A verb is a row of the table in verbs.c. It returns the process' exit code,
 * and has said on standard error what went wrong.
 * Threads: one. */
#ifndef TOUCHLINE_TOOLS_CTL_H
#define TOUCHLINE_TOOLS_CTL_H

#include "proto/cli.h"
#include "tools/router-ctl/peer.h"
#include "tools/router-ctl/show.h"

/* FLAG(name, help), TEXT(name, value, help), or NAMED(field, name, value,
 * help) for what C has a meaning of its own: all options beside those that
 * every binary has. Which verb takes which says the verb's row. */
#define CTL_OPTIONS(FLAG, TEXT, NAMED)                                       \
    FLAG(json, "print JSON; messages one a line")                            \
    TEXT(color, "WHEN", "auto (on a terminal), always, or never")            \
    TEXT(router, "URL", "where the router answers: ipc://PATH or "           \
         "tcp://HOST:PORT")                                                  \
    TEXT(format, "FORMAT", "the text is: text, json, or bytes")              \
    TEXT(from, "NAME", "who says it")                                        \
    TEXT(key, "KEY", "a later message with this key supersedes it")          \
    TEXT(idempotency, "KEY", "said again under this key it is stored once")  \
    TEXT(since, "CURSOR", "what came after this cursor; 0: all that is kept") \
    TEXT(before, "CURSOR", "what came before this cursor")                   \
    TEXT(last, "N", "the newest N messages (100)")                           \
    TEXT(date, "DATE", "replay: play it on this day; match: of this day")    \
    TEXT(team, "TEAM", "only matches of this team")                          \
    TEXT(period, "PERIOD", "only matches in this period")                    \
    TEXT(match, "N|all", "the Nth match of the file, or all at once (all)")  \
    TEXT(speed, "X", "times real speed (60); max: no waiting")               \
    NAMED(span, "for", "N|TIME", "doctor: so many connections (10K); others: " \
          "for so long")                                                     \
    TEXT(every, "TIME", "how often to look")                                 \
    TEXT(rate, "N", "messages a second (1000)")                              \
    TEXT(count, "N", "so many messages; without it, and without --for, "     \
         "until Ctrl-C")                                                     \
    TEXT(size, "BYTES", "of each message (100)")                             \
    TEXT(ids, "N", "to CHANNEL/1 ... CHANNEL/N")                             \
    TEXT(shape, "SHAPE", "uniform, zipf (over ids), burst, or match")        \
    TEXT(skew, "S", "ids by Zipf's law with this exponent (zipf: 1)")        \
    TEXT(burst, "N", "messages at once (100)")                               \
    TEXT(file, "FILE", "of openfootball, for --shape match; --match chooses") \
    TEXT(connections, "N", "links that are published over (1)")              \
    TEXT(csv, "FILE", "a row each second, for plot")                         \
    FLAG(yes, "do not ask, also where the environment is live")

struct ctl_options {
#define AS_FLAG(name, help) bool name;
#define AS_TEXT(name, value, help) const char *name;
#define AS_NAMED(field, name, value, help) const char *field;
    CTL_OPTIONS(AS_FLAG, AS_TEXT, AS_NAMED)
#undef AS_FLAG
#undef AS_TEXT
#undef AS_NAMED
};

struct ctl {
    struct cli cli;
    struct ctl_options opt;
    const struct verb *verb;
    char **args; /* behind the verb */
    int arg_count;
    struct show show;
    struct loop *loop;
    struct peer *peer;
};

enum verb_group { VERBS_TALK, VERBS_MATCH, VERBS_WATCH, VERBS_MEASURE,
                  VERBS_SELF, VERB_GROUPS };
struct verb {
    enum verb_group group;    /* its place in the help */
    const char *name, *alias; /* alias may be NULL */
    int least, most;          /* arguments; most -1: any number */
    bool alone;               /* needs no router */
    int (*run)(struct ctl *c);
    const char *options; /* names of those it takes, one space apart */
    const char *usage, *help, *example;
};
/* Verbs, and what "router-ctl" alone prints. */
extern const struct verb verbs[];
extern const size_t verb_count;
const struct verb *verb_find(const char *name); /* NULL: there is none */

/* The i-th option and whether it has a value; "": verb v (NULL: any) does not
 * take it; NULL: there are no more. */
const char *ctl_option(size_t i, const struct verb *v, bool *value);
/* What may follow `match`; NULL behind the last. */
const char *ctl_match_word(size_t i);

/* Parses, finds the verb and the router, runs; the process' exit code. */
int ctl_run(int argc, char **argv);

/* Finds the router and joins it, or says where it looked. EXIT_DONE,
 * EXIT_NO_ROUTER, EXIT_REFUSED, EXIT_FAILED. */
int ctl_reach(struct ctl *c);
/* The same without a word: *why (to be freed with buf_fini()) says it. */
int ctl_try_reach(struct ctl *c, struct buf *why);

/* ---- for verbs --------------------------------------------------------- */

/* "router-ctl: <text>" on standard error; returns code. */
PRINTF_LIKE(3, 4)
int ctl_fail(const struct ctl *c, int code, const char *fmt, ...);
/* The same, and how the verb is used; returns EXIT_USAGE. */
PRINTF_LIKE(2, 3) int ctl_usage(const struct ctl *c, const char *fmt, ...);
/* What a status means to the shell. */
int ctl_exit_code(enum publish_status status);

/* A question and its answer: runs the loop in between. EXIT_DONE, with the
 * answer appended to *body; else it has been said why. */
int ctl_query(struct ctl *c, const char *verb, struct slice args,
              struct buf *body);

struct ctl_taken { /* a publication's fate */
    enum publish_status status;
    bool created;
    uint64_t seq, offset;
    int64_t ts_ms;
    uint32_t reached;
    struct epoch epoch;
    struct buf id, code, text, body; /* ctl_taken_fini() */
};
void ctl_taken_fini(struct ctl_taken *t);
/* What POST /v1/publish answers, in one line. */
void ctl_taken_json(struct buf *b, const struct ctl_taken *t);
/* EXIT_DONE, also for a duplicate; else it has been said why. */
int ctl_publish(struct ctl *c, const struct frame_publish *f,
                struct ctl_taken *ret);
int ctl_act(struct ctl *c, const char *verb, struct slice args,
            struct ctl_taken *ret);

/* Before what cannot be taken back is done to many: where the router's
 * environment is live and somebody sits at a terminal, who is asked. EXIT_DONE:
 * go on; EXIT_REFUSED: it was not wanted; else it has been said why not. */
int ctl_confirm(struct ctl *c);

/* Turns until *done. EXIT_DONE, or EXIT_FAILED when waiting itself fails. */
int ctl_wait(struct ctl *c, const bool *done);

/* Valid id, or pattern where that is allowed; else it has been said. */
bool ctl_is_id(const struct ctl *c, const char *text, bool pattern);

/* The value of an option, as the configuration writes such values: 90s, 5m;
 * 10K. Without one `standard` stands for it. EXIT_DONE, or it has been said. */
struct ctl_amount {
    const char *option, *given, *standard; /* "every"; NULL: not given */
    int64_t min, max;
};
int ctl_duration(const struct ctl *c, const struct ctl_amount *a,
                 int64_t *ret); /* ns */
int ctl_count(const struct ctl *c, const struct ctl_amount *a, uint64_t *ret);

/* All of a file of at most `most` bytes. EXIT_DONE, or it has been said. */
int ctl_read_file(const struct ctl *c, const char *path, size_t most,
                  struct buf *ret);

/* Prints all that is kept of a channel. */
int ctl_history(struct ctl *c, struct slice id);

/* ---- the verbs --------------------------------------------------------- */
int verb_publish(struct ctl *c);
int verb_subscribe(struct ctl *c);
int verb_history(struct ctl *c);
int verb_presence(struct ctl *c);
int verb_channels(struct ctl *c);
int verb_conns(struct ctl *c);
int verb_kick(struct ctl *c);
int verb_gateways(struct ctl *c);
int verb_status(struct ctl *c);
int verb_stats(struct ctl *c);
int verb_match(struct ctl *c);
int verb_replay(struct ctl *c);
int verb_backup(struct ctl *c);
int verb_gen(struct ctl *c);
int verb_top(struct ctl *c);
int verb_mem(struct ctl *c);
int verb_trim(struct ctl *c);
int verb_doctor(struct ctl *c);
int verb_sample(struct ctl *c);
int verb_plot(struct ctl *c);
int verb_shell(struct ctl *c);
int verb_help(struct ctl *c);

#endif
