/* pages.h - the pages for people and their scripts, kept in the binary.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_PAGES_H
#define TOUCHLINE_HTTP_PAGES_H

#include "gateways/http/route.h"

/* GET /: the page, or a short text for who did not ask for HTML; at an address of
 * http.admin of its own the way to the operators' page. */
void pages_root(struct exchange *x, const struct call *call);
/* The file that the path names. */
void pages_file(struct exchange *x, const struct call *call);
/* Adds what a page may load. sources: directives of its own, each with "; "
 * behind it. */
void pages_policy(struct exchange *x, struct slice sources);

#endif
