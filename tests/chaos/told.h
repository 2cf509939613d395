/* told.h - what an edge told a subscriber or a publisher, whatever its form:
 * a message, a notice, an answer. Slices borrow the bytes it was read from.
 * Threads: any. Cost: O(bytes). */
#ifndef TESTS_CHAOS_TOLD_H
#define TESTS_CHAOS_TOLD_H

#include "base/slice.h"
#include "proto/position.h"

enum told_type {
    TOLD_MESSAGE, /* data, and of its numbers what the form has */
    TOLD_NOTICE,  /* what, channels, cursor; a gap: from, to, count, why */
    TOLD_ANSWER,  /* to a command or request: ref, ok, or the error's code */
    TOLD_POLL,    /* cursor, and in data the raw array of messages */
    TOLD_OTHER,   /* nothing that matters here */
};

struct told {
    enum told_type type;
    struct slice channel; /* empty: not said */
    struct slice channels; /* a raw array of JSON instead of channel */
    struct slice what;
    struct slice why;
    struct slice data;
    struct slice kind;  /* of a match's event */
    struct slice state; /* of a snapshot: JSON, or telnet's pairs */
    struct position at; /* message: epoch, seq; notice: its cursor */
    uint64_t offset;    /* 0: not said */
    uint64_t from, to, count; /* UINT64_MAX: null, or not said */
    bool has_at, replay, ok, duplicate;
    bool typed; /* a message that would say its kind if it had one */
    uint64_t ref;
};

/* One JSON object in one line. False: it is none. */
bool told_json(struct slice line, struct told *ret);
/* A line of telnet, without its end. */
void told_telnet(struct slice line, struct told *ret);
/* A line of /test/. */
void told_test(struct slice line, struct told *ret);
/* What a message says of itself. publisher 0: it is no text of ours; the hash
 * is one of the whole then, as when kind and data are not those of the event
 * that the text names (event.h). */
struct payload;
void told_payload(const struct told *t, struct payload *ret);
/* Text without the quotes of JSON; nothing here has escapes. */
struct slice told_plain(struct slice raw);

#endif
