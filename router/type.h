/* type.h - what the first segment of an id makes of it: the seam between the
 * router's core, to which all of it is bytes, and the types, which read them.
 * path: msg > [publish] > store > table > repeater > link > bus > gateway >
 *       edge > conn
 *
 *   match/ELP-TIG-DATE   a football match: rules, line-ups, score, undo
 *   team/ID              the newest message is the team
 *   room/NAME            chat: who is here, the last messages
 *   anything else        plain: taken as it comes, no state
 *
 * The life of a publication, as the core drives it:
 *
 *   types_judge()   -> refused: answer the publisher, nothing has happened
 *                   -> accepted: append to the store verdict.event and, in
 *                      the same transaction, verdict.record
 *   types_commit()     the batch is committed: once for each message accepted
 *                      of an id with type, in the order of acceptance
 *   types_rollback()   a commit failed, and all that was queued behind it
 *   types_withdraw()   the newest accepted event of an id was not appended
 *
 * A type keeps two states of an id: the tentative one (all that was accepted)
 * judges the next event, the committed one makes snapshots and answers. An
 * idempotency key must have been looked up before types_judge(): a repeat
 * would be judged as a second event.
 *
 * Slices that a call gives (verdict, act) borrow memory of the set: good
 * until the next call into it. Nothing here blocks, does I/O or reads a
 * clock: time is an argument, *_ms Unix milliseconds, *_ns monotonic.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_TYPE_H
#define TOUCHLINE_ROUTER_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/slice.h"
#include "proto/msg.h"
#include "proto/position.h"

struct types; /* one of each type, and all they know */

struct types_options {
    size_t message;     /* longest publication that is looked at, bytes */
    size_t room_memory; /* for the last messages of all rooms, bytes */
};
enum { TYPES_ROOM_MESSAGES = 50 }; /* in a newcomer's snapshot */

MUST_USE int types_new(struct types **ret, const struct types_options *o);
void types_free(struct types *ts); /* NULL is fine */
/* Rooms write it into their snapshots. Call before the first commit. */
void types_set_epoch(struct types *ts, const struct epoch *epoch);
/* types_options.message from now on. */
void types_set_message(struct types *ts, size_t bytes);

enum type_flag {
    TYPE_STATEFUL = 1u << 0, /* makes snapshots */
    TYPE_PRESENCE = 1u << 1, /* wants to hear who comes and goes */
    TYPE_RECORDS = 1u << 2,  /* keeps one record per id in the store */
};
unsigned types_flags(const struct types *ts, struct slice id);

/* ---- publishing ------------------------------------------------------- */

/* Why something was refused, beside the ERR_ that the call returns:
 * ERR_BAD (malformed), ERR_NOT_FOUND, ERR_CONFLICT (breaks a rule),
 * ERR_NOMEM. */
struct type_refusal {
    const char *code;  /* "match.rule"; static */
    struct slice text; /* one sentence for people, UTF-8 */
};

struct type_verdict {
    struct msg_parts event; /* the publication, or what the type made of it,
                               with MSG_RESNAPSHOT if types_commit() will,
                               and its weight for slow readers (msg.h) */
    struct slice record;    /* for the store; ptr NULL: none, leave the old */
    struct type_refusal refusal; /* only when refused */
};

/* in: id, format, from, kind, key, data, ts_ms. A match takes {"kind","data"}
 * for data, or with a kind beside it the inner data; a team {"name",
 * "division"}; any format but MSG_BYTES will do.
 * 0: accepted, and the tentative state stands behind the event. */
MUST_USE int types_judge(struct types *ts, const struct msg_parts *in,
                         struct type_verdict *ret);

/* True: the state is not what the message alone makes of the one before (a
 * retract): send a snapshot behind the message. Cannot fail. */
bool types_commit(struct types *ts, const struct msg *m);
void types_rollback(struct types *ts);
void types_withdraw(struct types *ts, struct slice id);

/* At the start, for each record of the store, with the id's last offset.
 * ERR_DAMAGED (the id stays unknown: replay it), ERR_NOMEM. */
MUST_USE int types_load(struct types *ts, struct slice id,
                        struct slice record, uint64_t last_offset);
/* Where there is no good record: each message of the id's log, oldest first,
 * damaged rows left out, then types_replayed(). One id at a time; a message of
 * another id, or an error, gives the one before up. ERR_NOMEM, ERR_FULL,
 * ERR_DAMAGED: the id stays unknown. */
MUST_USE int types_replay(struct types *ts, const struct msg_parts *m);
MUST_USE int types_replayed(struct types *ts, struct slice id);

/* ---- what newcomers get ----------------------------------------------- */

/* Appends the id's state, what edges send as `state`: "null" for plain and
 * unknown ids.
 * ERR_AGAIN: a room whose last messages are not in memory; nothing was
 * appended. Read the newest TYPES_ROOM_MESSAGES of the id, say
 * types_fill() once per message, oldest first, then types_filled(), and ask
 * again. Messages committed meanwhile are not lost. */
MUST_USE int types_snapshot(struct types *ts, struct slice id,
                            struct buf *out);
void types_fill(struct types *ts, const struct msg_parts *m);
void types_filled(struct types *ts, struct slice id);

/* ---- verbs: acts publish, queries answer ------------------------------ */

/* team.put   {"id","name","division"}
 * match.new  {"home","visit","start_time","stadium"?}
 * match.cancel {"id"}
 * On 0 event, said by from at now_ms, is to be judged, stored and sent like
 * any publication, and body is the answer once it is committed: created says
 * 201, not 200. Copy both before the next call. */
struct type_act {
    struct msg_parts event;
    struct slice body; /* {"id"} */
    bool created;
    struct type_refusal refusal;
};
MUST_USE int types_act(struct types *ts, struct slice verb, struct slice args,
                       struct slice from, int64_t now_ms,
                       struct type_act *ret);

/* Appends the body that an act on id was answered with, for whoever asks again
 * after a restart; nothing when there are no acts on it. */
void types_act_answer(const struct types *ts, struct slice id,
                      struct buf *out);

/* Appends the answer. args: an object as shown, or empty.
 * match.list {"date"?,"team"?,"period"?} -> {"matches":[...]} by start time
 * match.get {"id"}    -> {"id", state..., "retracted":[offsets]}
 * match.ids           -> ["elp-tig-2011-09-13",...]
 * match.current       -> {"id"}: in play and started last, else next to
 *                        start, else latest; ERR_NOT_FOUND match.none
 * team.list           -> {"teams":[{"id","name","division"}]}
 * team.get {"id"}     -> {"id","name","division"}
 * A verb nobody knows: ERR_NOT_FOUND with code "verb.unknown". */
MUST_USE int types_query(struct types *ts, struct slice verb,
                         struct slice args, int64_t now_ms, struct buf *out,
                         struct type_refusal *why);

/* ---- presence --------------------------------------------------------- */

/* A connection of this name (empty: anonymous) has got a seat on id, or lost
 * one. Cost: O(1). ERR_NOMEM: it is not counted, and must not be said to have
 * left. */
MUST_USE int types_joined(struct types *ts, struct slice id,
                          struct slice name, int64_t now_ns);
void types_left(struct types *ts, struct slice id, struct slice name,
                int64_t now_ns);

/* After a start: people know since the router's last life that name is here.
 * Its connections have ten seconds to come back; then a leave is said.
 * ERR_NOMEM. */
MUST_USE int types_known(struct types *ts, struct slice id, struct slice name,
                         int64_t now_ns);

/* What a tick has to say. Neither may call back into the set. */
struct types_ears {
    /* A notice that is due: kind "join" or "leave", data
     * {"count","present","names":[up to 20]}; seq and ts are the core's. */
    void (*notice)(void *ctx, const struct msg_parts *notice);
    /* Each name of it, of how many it may be: here is known to be at id from
     * now on, or not any more. To be kept for types_known(). */
    void (*known)(void *ctx, struct slice id, struct slice name, bool here);
    void *ctx;
};
void types_tick(struct types *ts, int64_t now_ns,
                const struct types_ears *ears);
/* When types_tick() has work next: 0: now, INT64_MAX: there is none. It may
 * have moved after joined, left and tick. Cost: O(1). */
int64_t types_due_ns(const struct types *ts);

#endif
