/* cup.h - what an openfootball file says: teams, matches, goals.
 *
 * All shapes of the files are understood: a list of matches or rounds of
 * matches, teams as names or as objects, scores as "score":{"ft","ht","et","p"}
 * or score1, score1i, score1et, score1p, minutes as numbers or text. What is
 * missing or null is not known; what nobody can read counts as missing.
 *
 * A file may say more than the data set does, for each match:
 *   "lineup1", "lineup2"  {"23":"Emiliano Martínez",...}
 *   "cards"  [{"team":1,"name","minute","offset"?,"card":"yellow"|"red"}]
 *   "subs"   [{"team":1,"out","in","number"?,"minute","offset"?}]
 *   "kicks"  [{"team":1,"name","goal":bool,"saved"?: the goalkeeper}], those
 *            of the shoot-out in their order
 *
 * Threads: any. Memory: a few times the file. */
#ifndef TOUCHLINE_TOOLS_CUP_H
#define TOUCHLINE_TOOLS_CUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/slice.h"
#include "tools/router-ctl/fold.h"

enum { CUP_DATE = 10, CUP_WHY_MAX = 200, CUP_NOBODY = -1, CUP_UNKNOWN = -1 };

struct cup_player {
    char *name;
    uint16_t number; /* on the shirt, or the same one throughout the file */
};
struct cup_team {
    char id[FOLD_MAX + 1]; /* unique in the file */
    char *name;
    struct cup_player *players;
    int player_count;
};

struct cup_time {
    int minute; /* CUP_UNKNOWN, or 1 and more */
    int offset; /* of stoppage time: 90+4 is 90 and 4 */
};
/* side is 0 for team1, 1 for team2. Players are indices into those of their
 * team, or CUP_NOBODY. */
struct cup_goal {
    int side;   /* for which it counts */
    int player; /* of the other side when it is an own goal */
    struct cup_time at;
    bool penalty, own;
};
struct cup_card {
    int side, player;
    struct cup_time at;
    bool red;
};
struct cup_sub {
    int side, out, in;
    struct cup_time at;
};
struct cup_kick {
    int side, player;
    int keeper; /* of the other side, who saved it; or CUP_NOBODY */
    bool goal;
};
struct cup_lineup {
    int *players;
    int count; /* 0: not said */
};
struct cup_score { /* CUP_UNKNOWN in both, or in none */
    int of[2];
};

struct cup_match {
    int number;  /* in the file: 1, 2 ... */
    int team[2]; /* indices into the cup's */
    char date[CUP_DATE + 1]; /* empty: not said */
    int hour, minute;        /* of the day; hour CUP_UNKNOWN: not said */
    int zone;                /* minutes east of Greenwich */
    char *stadium;           /* NULL: not said */
    struct cup_score ht, ft, et, p; /* et: after extra time */
    struct cup_goal *goals;
    struct cup_card *cards;
    struct cup_sub *subs;
    struct cup_kick *kicks;
    int goal_count, card_count, sub_count, kick_count;
    struct cup_lineup lineup[2];
};

struct cup {
    char *name; /* "World Cup 2022", or NULL */
    struct cup_team *teams;
    struct cup_match *matches;
    int team_count, match_count;
};

/* ERR_BAD with a sentence in why; ERR_NOMEM. */
MUST_USE int cup_read(struct cup **ret, struct slice text,
                      char why[CUP_WHY_MAX]);
void cup_free(struct cup *c); /* NULL is fine */

static inline bool cup_known(struct cup_score s)
{
    return s.of[0] != CUP_UNKNOWN;
}
/* Has it been played, as far as the file knows? */
static inline bool cup_played(const struct cup_match *m)
{
    return cup_known(m->ft) || cup_known(m->et);
}
/* The score when it ended, without the shoot-out. */
static inline struct cup_score cup_final(const struct cup_match *m)
{
    return cup_known(m->et) ? m->et : m->ft;
}

/* start_time on this day (YYYY-MM-DD), as of design 4.5: the day alone, or
 * with the time as in the file, of the zone in the file or else UTC. */
enum { CUP_START_MAX = 32 };
void cup_start_time(const struct cup_match *m, const char *date,
                    char out[CUP_START_MAX]);

#endif
