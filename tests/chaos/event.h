/* event.h - what is published to `match/` and `team/`, and what the state of
 * a match says, in one word each, as the logs have them (history.h).
 *
 * A match is the channel match/hK-vK-2026-06-01, its teams are team/hK and
 * team/vK. An event's word stands in the text that names its publication
 * (payload.h), which travels as its `comment`, or as the name of a team:
 *
 *   team  create  status  start  halftime_start  halftime_stop  extratime
 *   SIDE.goal and SIDE.shot, save, corner ...   SIDE: h or v
 *   SIDE.card.PLAYER.yellow, .red
 *   SIDE.substitution.OUT.IN
 *   retract.OFFSET
 *
 * A state's word: PERIOD:HOME:VISIT:TEXT:ELEVEN:ELEVEN, the score of both sides,
 * PUBLISHER.NUMBER of the text that the last status brought, and who is on the
 * pitch, a bit for each number, in hexadecimal. "-": there is none. A team has
 * none that a channel tells.
 *
 * Threads: any. Cost: O(bytes). */
#ifndef TESTS_CHAOS_EVENT_H
#define TESTS_CHAOS_EVENT_H

#include <stdint.h>

#include "base/buf.h"

enum { EVENT_WORD_MAX = 39, EVENT_TEXT_MAX = 1500, TEAM_TEXT_MAX = 90,
       STATE_WORD_MAX = 99, PLAYERS = 40 };

/* Is there a type behind the channel? */
bool event_is_match(struct slice channel);
bool event_is_team(struct slice channel);

/* How a slow reader of a match may miss it. */
enum event_weight {
    EVENT_LESSER, /* goes first */
    EVENT_STATE,  /* when a newer one says all it says */
    EVENT_KEPT,   /* never: goals, cards, substitutions */
};
enum event_weight event_weight(struct slice word);

/* ---- what clients say and read ---- */
/* Appends the JSON that is published, text in its comment or name. */
void event_write(struct buf *out, struct slice channel, struct slice word,
                 struct slice text);
/* The word of the event that a message shows, whose kind is `kind` and whose
 * data is `data`; "" when that is none. */
void event_read(struct slice kind, struct slice data,
                char ret[EVENT_WORD_MAX + 1]);
/* The word of a match's state: JSON, or what telnet writes behind the cursor. */
void event_state(struct slice state, char ret[STATE_WORD_MAX + 1]);

/* ---- how a match stands ---- */
struct standing {
    uint8_t period; /* index of its word */
    bool there;
    unsigned score[2];
    uint32_t publisher, number; /* of the last text */
    uint64_t pitch[2], booked[2], off[2]; /* a bit for each player */
};

/* Folds an event, whose text has these names. Of retract nothing: what it
 * retracts is not folded. */
void standing_fold(struct standing *s, struct slice word, uint32_t publisher,
                   uint32_t number);
void standing_word(const struct standing *s, char ret[STATE_WORD_MAX + 1]);

#endif
