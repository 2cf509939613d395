/* sheet.h - the text of the configuration, as the supervisor hands it to those
 * whom it starts: they cannot open a file any more once they are in their
 * cages, a file that somebody is editing must not keep one from being started
 * again, and all are to read the same.
 *
 * A sheet is memory without a name (memfd): what the supervisor began with, what
 * is in force now, and the number of that, its edition. The supervisor writes the
 * next edition and sends SIGHUP; each child reads it anew, and a child that is
 * started reads what it began with and then what is in force, as the others
 * have done: so keys that only a start of all changes are the same in all of
 * them. Two places are written in turn, so nobody reads half of one.
 * Nobody but the supervisor can write it: it is sealed but for the supervisor's
 * mapping, which is in no core dump and in no child. To read it is all that can
 * be done with what is handed over.
 *
 * Threads: any. Cost: a few system calls. */
#ifndef PROTO_SHEET_H
#define PROTO_SHEET_H

#include <stdint.h>

#include "base/opt.h"

/* The name under which it is handed over (listen_handed), behind all sockets. */
#define SHEET_NAME "touchline-config"

struct sheet {
    uint8_t *map; /* for the one who writes; NULL: there is no sheet */
    int handed;   /* for those who read */
    uint64_t edition, refused;
};

/* For the supervisor, before it is in its cage: the first edition. ERR_IO. */
MUST_USE int sheet_new(struct sheet *s, struct slice text);
/* The next edition. ERR_IO: nothing has changed. */
MUST_USE int sheet_write(struct sheet *s, struct slice text);
/* What the file held was refused: children count that. */
void sheet_refuse(struct sheet *s);
void sheet_fini(struct sheet *s);

/* What a child reads: slices for opt_forget(). */
struct sheet_text {
    struct slice first, now; /* now.ptr NULL: first is in force */
    uint64_t edition, refused;
};
/* ERR_BAD: that is no sheet; ERR_IO, ERR_NOMEM. */
MUST_USE int sheet_read(int fd, struct sheet_text *ret);

#endif
