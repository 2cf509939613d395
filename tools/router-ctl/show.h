/* show.h - what router-ctl prints: lines and tables for people, JSON for
 * programs. Everything is appended to a buf, which show_out() writes.
 *
 * Text of strangers reaches a terminal with its control characters escaped,
 * whether or not the output is one. Colour is used on a terminal only, and
 * not when NO_COLOR is set or TERM is "dumb", unless it is asked for.
 * Threads: any. */
#ifndef TOUCHLINE_TOOLS_SHOW_H
#define TOUCHLINE_TOOLS_SHOW_H

#include "base/buf.h"
#include "proto/msg.h"
#include "proto/position.h"

struct show {
    bool json, colour;
};
enum show_tone { TONE_PLAIN, TONE_DIM, TONE_GOOD, TONE_WARN, TONE_BAD,
                 TONE_BOLD, TONE_TONES };

/* From now on: auto (or NULL), always, never. False: when is none of these. */
bool show_want_colours(const char *when);
/* Auto: is fd a terminal that has colours, and NO_COLOR not set? */
bool show_colours(int fd);

/* json as asked for; colour as standard output is. */
struct show show_make(bool json);

/* Text with control characters, bidi controls, backslashes and what is not
 * UTF-8 escaped: LF as \n, bytes as \xHH, others as \u{H}. */
void show_text(struct buf *b, struct slice text);
void show_tone(struct buf *b, const struct show *s, enum show_tone tone);
/* show_text() in a tone. */
void show_toned(struct buf *b, const struct show *s, enum show_tone tone,
                struct slice text);
/* "2022-12-18 15:23:01", UTC. */
void show_time(struct buf *b, int64_t ts_ms);

/* A message, in a line: as of design 4.1, or for people. */
void show_message(struct buf *b, const struct show *s,
                  const struct epoch *epoch, const struct msg_parts *m);

/* A notice, in a line; fields that are empty or 0 are left out, but for from,
 * to and count of a gap, which are null then. */
struct show_notice {
    const char *what;        /* "snapshot", "resumed", "gap", "join" ... */
    struct slice channel;    /* empty: of all */
    struct epoch epoch;      /* of the cursor */
    uint64_t seq;
    bool cursor;             /* has one */
    const char *why;         /* gap */
    uint64_t from, to;       /* gap: offsets */
    struct slice state;      /* snapshot: JSON; empty is null */
    struct slice fields;     /* join, leave: the members of this object */
};
void show_notice(struct buf *b, const struct show *s,
                 const struct show_notice *n);

/* A report (proto/report.h): one table a part, or JSON. A part that has one
 * row by nature is a list of names and values. ERR_FRAME, ERR_NOMEM. */
MUST_USE int show_report(struct buf *b, const struct show *s,
                         struct slice report);
/* The value of a field of the first row that has it; empty when none has. */
struct slice show_field(struct slice report, const char *key);

/* JSON on its way to a terminal: what a terminal obeys may stand raw in its
 * strings, and nowhere else (DEL, C1, bidi controls, separators); it becomes
 * \uXXXX, which is the same JSON. What show_text() has made has none of it. */
void show_guard(struct buf *b);

/* Writes b to standard output, guarded if that is a terminal, and empties it.
 * ERR_IO. */
MUST_USE int show_out(struct buf *b);

#endif
