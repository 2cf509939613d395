/* told.h - what an edge told a subscriber or a publisher, whatever its form:
 * a message, a notice, an answer. Slices borrow the bytes it was read from.
 * Threads: any. Cost: O(bytes). */
#ifndef TESTS_CHAOS_TOLD_H
#define TESTS_CHAOS_TOLD_H

#include "base/slice.h"
#include "proto/position.h"

enum told_kind {
    TOLD_MESSAGE, /* data, and of its numbers what the form has */
    TOLD_NOTICE,  /* what, channels, cursor; a gap: from, to, count, why */
    TOLD_ANSWER,  /* to a command or request: ref, ok, or the error's code */
    TOLD_POLL,    /* cursor, and in data the raw array of messages */
    TOLD_OTHER,   /* nothing that matters here */
};

struct told {
    enum told_kind kind;
    struct slice channel; /* empty: not said */
    struct slice channels; /* a raw array of JSON instead of channel */
    struct slice what;
    struct slice why;
    struct slice data;
    struct position at; /* message: epoch, seq; notice: its cursor */
    uint64_t offset;    /* 0: not said */
    uint64_t from, to, count; /* UINT64_MAX: null, or not said */
    bool has_at, replay, ok, duplicate;
    uint64_t ref;
};

/* One JSON object in one line. False: it is none. */
bool told_json(struct slice line, struct told *ret);
/* A line of telnet, without its end. */
void told_telnet(struct slice line, struct told *ret);
/* A line of /test/. */
void told_test(struct slice line, struct told *ret);
/* Text without the quotes of JSON; nothing here has escapes. */
struct slice told_plain(struct slice raw);

#endif
