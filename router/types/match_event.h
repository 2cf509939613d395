/* match_event.h - one event of a match, as read from what a reporter said and
 * as written for everybody else.
 *
 * Reading accepts every form in which a player or a line-up may be written;
 * writing has one: {"7":"Luna"}, keys in the order of match.def. What the
 * rules say about it is match_state.h's matter.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_TYPES_MATCH_EVENT_H
#define TOUCHLINE_ROUTER_TYPES_MATCH_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/slice.h"
#include "router/types/args.h"
#include "router/types/when.h"

enum match_period {
#define PERIOD(name, word) PERIOD_##name,
#include "router/types/match.def"
    MATCH_PERIODS
};
enum match_field {
#define FIELD(name, key) FIELD_##name,
#include "router/types/match.def"
    MATCH_FIELDS
};
enum match_kind {
#define KIND(name, word, weight, allowed, required, when) MATCH_##name,
#include "router/types/match.def"
    MATCH_KINDS
};
enum match_card { CARD_YELLOW, CARD_RED };
enum match_side { SIDE_HOME, SIDE_VISIT, MATCH_SIDES };

enum {
    TEAM_ID_MAX = 24,
    MATCH_LINEUP_MAX = 99,     /* players of a side */
    MATCH_NUMBER_MAX = 999,    /* on a shirt */
    MATCH_NAME_MAX = 100,      /* bytes, of a player */
    MATCH_STADIUM_MAX = 200,   /* bytes */
    MATCH_COMMENT_MAX = 2000,  /* bytes */
    MATCH_MINUTE_MAX = 16      /* bytes of a minute written as text */
};

struct match_player {
    uint16_t number;
    struct slice name; /* empty: not said */
};
struct match_lineup {
    uint16_t count;
    struct match_player players[MATCH_LINEUP_MAX];
};

/* Only the members whose bit (1 << FIELD_...) is in `has` mean anything.
 * Slices borrow what the event was read from. */
struct match_event {
    enum match_kind kind;
    uint32_t has;
    struct slice home, visit, team, player_team; /* team ids */
    struct match_lineup lineup[MATCH_SIDES];
    struct match_player player, player_out, player_in;
    enum match_card card;
    enum match_period period;
    struct slice minute; /* of text; ptr NULL: minute_number holds it */
    int64_t minute_number;
    struct slice stadium, comment;
    int64_t start_ms;
    char date[WHEN_DATE]; /* the day of start_time as written */
    int64_t offset;       /* of the event to retract, 1 or more */
};

const char *match_kind_word(enum match_kind k);
const char *match_period_word(enum match_period p);
/* ERR_NOT_FOUND */
MUST_USE int match_kind_find(struct slice word, enum match_kind *ret);
MUST_USE int match_period_find(struct slice word, enum match_period *ret);
uint8_t match_kind_weight(enum match_kind k); /* enum msg_weight */
unsigned match_kind_when(enum match_kind k); /* a bit (1 << PERIOD_...) each */
/* 1-24 bytes of a-z0-9 */
bool team_id_valid(struct slice id);

static inline bool match_has(const struct match_event *e, enum match_field f)
{
    return e->has >> f & 1;
}

/* Reads data (NULL: none) as an event of this kind. ERR_BAD with a sentence
 * in why: a field that is missing, does not belong there or is malformed. */
MUST_USE int match_event_read(struct match_event *ret, enum match_kind kind,
                              const cJSON *data, struct buf *why);
/* A start_time in any of its three forms. ERR_BAD. */
MUST_USE int match_start_time_read(const cJSON *value, int64_t *ms,
                                   char date[WHEN_DATE], struct buf *why);
/* Appends the data as a JSON object. */
void match_event_write(const struct match_event *e, struct buf *out);

/* Appends `{"7":"Luna",...}` one player at a time, between '{' and '}'. */
void match_player_write(uint16_t number, struct slice name, struct buf *out);

#endif
