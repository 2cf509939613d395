/* place.h - where a router lives on disk: the lock that makes it the only one
 * in its directory, the private directory of its sockets, and router.url.
 *
 * router.url lies in DIR/link, and DIR/router.url is a link to it: a gateway
 * can be held to that one directory, in which nothing else is to be read.
 *
 * Sockets live in DIR/link, which only the owner can enter: the directory is
 * what keeps strangers away, whatever the moment between bind and chmod. When
 * DIR is too long for the 108 bytes of a socket's address, they live in
 * touchline-XXXXXX below $XDG_RUNTIME_DIR, /run or /tmp; the one that
 * router.url still names after a crash is taken again.
 *
 * Threads: one at a time. */
#ifndef TOUCHLINE_PROTO_PLACE_H
#define TOUCHLINE_PROTO_PLACE_H

#include "base/base.h"
#include "proto/bus.h"

enum { PLACE_WHY_MAX = 512 };

struct place {
    char *dir;                /* absolute */
    char links[BUS_URL_MAX];  /* absolute; the sockets' directory */
    int lock;
};

/* Makes dir (0700) and what is missing above it, takes the lock, empties the
 * sockets' directory. ERR_BUSY: another router has the lock. ERR_IO, ERR_DENIED
 * (the directory is another user's), ERR_NOMEM; why says it in words. */
MUST_USE int place_open(struct place *ret, const char *dir,
                        char why[PLACE_WHY_MAX]);
/* Puts url into DIR/router.url, all of it or nothing. ERR_IO. */
MUST_USE int place_announce(const struct place *p, const char *url);
/* Removes what place_announce() wrote, and the sockets' directory; gives the
 * lock back. A zeroed place is fine. */
void place_close(struct place *p);

/* Is DIR too long for a socket's address? */
bool place_is_long(const char *dir);
/* Where those live that do not fit, in the order in which they are tried; ends
 * with NULL. Until the next call. */
const char *const *place_bases(void);
/* Makes DIR and DIR/link, if they are not there: for a gateway, which will
 * later be able to read only what it could name in time. As well as it goes. */
void place_make_links(const char *dir);

/* What DIR/router.url says. ERR_NOT_FOUND, ERR_BAD, ERR_IO. */
MUST_USE int place_read_url(const char *dir, char ret[BUS_URL_MAX]);

#endif
