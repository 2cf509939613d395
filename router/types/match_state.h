/* match_state.h - how a match stands, and what the rules say to the next
 * event. Pure: a state is folded from its events and nothing else, so that
 * replaying them without the retracted ones is what undoing means.
 *
 *   not_started, postponed  --start-->           first
 *   first                   --halftime_start-->  halftime
 *   halftime                --halftime_stop-->   last
 *   last                    --extratime-->       first_extra
 *   first_extra             --halftime_start-->  halftime_extra
 *   halftime_extra          --halftime_stop-->   last_extra
 *   last, last_extra        --penalties-->       penalties
 *   any of these in play    --stop-->            ended
 *   not_started             --status-->          postponed
 *   any but ended           --status-->          abandoned
 *   not_started, postponed  --status, comment "cancelled"--> cancelled
 *
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_TYPES_MATCH_STATE_H
#define TOUCHLINE_ROUTER_TYPES_MATCH_STATE_H

#include "router/types/ledger.h"
#include "router/types/match_event.h"

enum place { /* of a player we know of */
    PLACE_PITCH,
    PLACE_OFF,     /* substituted: may come back */
    PLACE_SENT_OFF /* may not */
};
struct known_player {
    uint16_t number;
    uint8_t place; /* enum place */
    bool booked;   /* has a yellow card */
    uint32_t name_at, name_len; /* in the state's text */
};
struct match_team {
    char id[TEAM_ID_MAX + 1];
    uint32_t score, shootout;
    bool lineup; /* a side without one accepts any player */
    uint16_t count, room;
    struct known_player *players; /* those on the pitch in line-up order */
};

struct match_state {
    struct ledger_state in_ledger;
    enum match_period period;
    bool cancelled;
    bool shootout;    /* there were penalties */
    struct match_team team[MATCH_SIDES];
    int64_t start_ms; /* the appointed time */
    bool moved;       /* to another one than the match was created with */
    int64_t kickoff_ms; /* when `start` was said; 0: it was not */
    uint32_t stadium_at, stadium_len, comment_at, comment_len;
    struct buf text;  /* all the texts of this state */
    uint32_t events;  /* so many entries of the match's log, and so many */
    size_t log_len;   /* bytes, led to this state: match_log.h */
};

/* The state before any event; NULL: no memory. */
struct match_state *match_state_new(void);
/* A copy to fold the next event into; NULL: no memory. */
struct match_state *match_state_copy(const struct match_state *s);
void match_state_free(struct match_state *s); /* NULL is fine */

/* Is the status event the one that creates a match? */
bool match_creates(const struct match_event *e);

/* Fills in the names of players that the line-ups know. */
void match_complete(const struct match_state *s, struct match_event *e);

/* Folds e into s, said at ts_ms. ERR_CONFLICT with the reason in why: against
 * the rules, s is as it was. ERR_NOMEM: s is void. A retract changes nothing
 * here: match_log_fold() leaves out what it retracts. */
MUST_USE int match_fold(struct match_state *s, const struct match_event *e,
                        int64_t ts_ms, struct buf *why);

/* Was it created, and not cancelled since? */
bool match_exists(const struct match_state *s);
/* In play: between start and stop, half time included. */
bool match_in_play(const struct match_state *s);
/* May it still be cancelled? */
bool match_not_begun(const struct match_state *s);

/* Appends the members of the JSON object that shows s, without braces. */
void match_state_write(const struct match_state *s, bool lineups,
                       struct buf *out);

#endif
