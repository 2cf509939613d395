/* team.h - what the match type asks of the team type. */
#ifndef TOUCHLINE_ROUTER_TYPES_TEAM_H
#define TOUCHLINE_ROUTER_TYPES_TEAM_H

#include <stdbool.h>

#include "base/slice.h"

struct teams;

/* Is there such a team, committed or accepted? team: "elp". */
bool teams_has(const struct teams *t, struct slice team);

#endif
