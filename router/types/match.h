/* match.h - what match.c (publishing) and match_list.c (asking) share.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_TYPES_MATCH_H
#define TOUCHLINE_ROUTER_TYPES_MATCH_H

#include "router/types/match_log.h"
#include "router/types/plug.h"

struct match {
    struct ledger_entry entry; /* states are struct match_state */
    struct match_log log;
};

struct matches {
    struct plug_ctx *ctx;
    struct ledger ledger;
    struct { /* between types_replay() and types_replayed() */
        struct buf id;             /* of the message that came last */
        struct match *match;       /* NULL: none, or given up */
        struct match_state *state; /* its log's length; nothing is folded */
    } replay;
    struct match **sorted; /* that exist, by start time; made when asked for */
    size_t sorted_count;
    bool sorted_good;
};

struct match *match_find(const struct matches *ms, struct slice name);
/* The committed state, or NULL. */
const struct match_state *match_committed(const struct match *m);
/* The day it is played on: the one in its id; when it was moved, the day of its
 * start_time in UTC, as that is written. Good as long as room is. */
struct slice match_date(const struct match *m, char room[WHEN_TEXT_MAX]);
/* Appends the object that shows a committed match, without its last brace. */
void match_write(const struct match *m, bool lineups, struct buf *out);

int match_query(void *self, struct slice verb, struct slice args,
                int64_t now_ms, struct buf *out, struct type_refusal *why);

#endif
