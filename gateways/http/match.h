/* match.h - matches and teams: /v1/matches, /v1/teams, and MatchStream's own
 * read API under /1/. The router's types know the rules; here are the forms.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_MATCH_H
#define TOUCHLINE_HTTP_MATCH_H

#include "gateways/http/route.h"

void match_teams(struct exchange *x, const struct call *call);
void match_team(struct exchange *x, const struct call *call);
void match_put_team(struct exchange *x, const struct call *call);
void match_list(struct exchange *x, const struct call *call);
void match_create(struct exchange *x, const struct call *call);
void match_show(struct exchange *x, const struct call *call);
void match_cancel(struct exchange *x, const struct call *call);
void match_events(struct exchange *x, const struct call *call);
void match_event(struct exchange *x, const struct call *call);
void match_old_list(struct exchange *x, const struct call *call);
void match_old_show(struct exchange *x, const struct call *call);
void match_old_history(struct exchange *x, const struct call *call);
void match_checkin(struct exchange *x, const struct call *call);

#endif
