/* stage.h - a set of types with a core behind it that has no sockets and no
 * store: it numbers what is accepted, remembers it, commits when told to.
 *
 * Texts that are returned live until the next call on the stage. Every JSON
 * that comes out is checked on the way. */
#ifndef TESTS_ROUTER_STAGE_H
#define TESTS_ROUTER_STAGE_H

#include "base/buf.h"
#include "proto/msg.h"
#include "router/type.h"
#include "tests/t/t.h"

enum { STAGE_LOG_MAX = 8192 };

struct stage {
    struct types *types;
    struct msg *log[STAGE_LOG_MAX]; /* accepted; the first `committed` are so */
    size_t accepted, committed;
    uint64_t seq;
    int64_t now_ms;  /* of the next event; goes on by a second each */
    struct buf record; /* the newest one given */
    struct buf text;
    struct type_refusal refusal; /* of the last call; text is in `why` */
    struct buf why;
    bool resnapshot; /* said by the last commit */
};

struct stage *stage_new(void);
void stage_free(struct stage *s);

/* Judges JSON text for id; accepted events wait for stage_commit(). */
int stage_judge(struct stage *s, const char *id, const char *json);
int stage_judge_parts(struct stage *s, const struct msg_parts *in);
/* Commits the oldest n accepted ones. */
void stage_commit(struct stage *s, size_t n);
void stage_commit_all(struct stage *s);
/* A failed commit: all that is accepted and not committed goes. */
void stage_fail(struct stage *s);
void stage_withdraw(struct stage *s);

/* Judge and commit; the test fails when it is refused. Its offset. */
uint64_t stage_say(struct stage *s, const char *id, const char *json);
/* It is refused with this error and code; the text. */
const char *stage_refused(struct stage *s, const char *id, const char *json,
                          int err, const char *code);
/* An act, judged and committed: the body. */
const char *stage_act(struct stage *s, const char *verb, const char *args,
                      bool created);
int stage_act_judge(struct stage *s, const char *verb, const char *args,
                    bool *created);
const char *stage_act_refused(struct stage *s, const char *verb,
                              const char *args, int err, const char *code);
const char *stage_query(struct stage *s, const char *verb, const char *args);
const char *stage_query_refused(struct stage *s, const char *verb,
                                const char *args, int err, const char *code);
const char *stage_snapshot(struct stage *s, const char *id);

/* The newest message said: its data. */
const char *stage_data(struct stage *s);
const char *stage_kind(struct stage *s);
unsigned stage_weight(const struct stage *s); /* enum msg_weight */
/* The offset of the newest accepted message of id, 0 when there is none. */
uint64_t stage_last_offset(const struct stage *s, struct slice id);

#endif
