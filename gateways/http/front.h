/* front.h - the front page for people: one answer that holds all a browser
 * needs to show scores. Styles and the first script are in it, and what is
 * known of matches: those in play and those around today. What a browser then
 * asks for, it asks for with the scores on screen.
 *
 * What is known is asked for once a second and worker at most, however many
 * look: it comes with the cursor that it stands at, from which a page goes on.
 * Without a router the page comes with what was known last, or with nothing.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_FRONT_H
#define TOUCHLINE_HTTP_FRONT_H

#include "gateways/http/route.h"

void front_page(struct exchange *x, const struct call *call);
/* The worker ends: forgets what it knows. */
void front_stop(void);

#endif
