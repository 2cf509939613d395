/* line.h - bytes of a telnet client to lines.
 *
 * A line ends in LF or CRLF and may arrive in any pieces. Telnet negotiation
 * (RFC 854, subnegotiation included) is left out wherever it stands, also
 * when it is cut in two; a doubled IAC is the byte 0xff. A line longer than
 * the limit is told once, as soon as it is too long, and dropped up to its
 * end; a subnegotiation that does not end counts as such a line.
 *
 * A web page can make a browser speak to any port. What it would make it say
 * here stands behind a TLS hello, a STUN request or an HTTP head: the first
 * two are known by the first byte of all, the head by its lines.
 *
 * Threads: one at a time. Cost: each byte is looked at once; a line that comes
 * whole and without negotiation is not copied. Memory: none between lines; for
 * an unfinished one up to twice its length. */
#ifndef TOUCHLINE_TCP_LINE_H
#define TOUCHLINE_TCP_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/slice.h"

enum { LINE_LIMIT_MAX = 1 << 23 };

/* Zeroed is fresh. 16 bytes: every idle connection has one. */
struct line {
    uint8_t *kept;          /* the unfinished line, or the one just returned */
    uint32_t len;           /* bytes in kept */
    uint32_t sub : 24;      /* bytes of the subnegotiation under way */
    uint32_t telnet : 3;    /* enum, line.c */
    uint32_t skipping : 1;  /* the rest of a line that was too long */
    uint32_t returned : 1;  /* kept was given out: forget it on the next call */
    uint32_t begun : 1;     /* the first byte of all has been seen */
};

enum line_event {
    LINE_MORE, /* *in is used up, no line is complete */
    LINE_TEXT, /* *ret is a line without its end */
    LINE_LONG, /* the line under way is too long; what follows is the next */
    LINE_FOREIGN, /* what has just begun is no text; nothing was taken */
};

/* Takes bytes off *in up to the first event. limit: bytes of text in a line,
 * its end not counted, at most LINE_LIMIT_MAX. *ret borrows from *in or l
 * until the next call; it is empty for all but LINE_TEXT.
 * ERR_NOMEM: the line under way is lost, as if it had been too long. */
MUST_USE int line_next(struct line *l, struct slice *in, uint32_t limit,
                       enum line_event *event, struct slice *ret);
/* A line of an HTTP head: a request line, or the Host that every browser
 * sends. No verb looks like either. */
bool line_is_http(struct slice line);
/* What is unfinished, in another process. ERR_FRAME, ERR_NOMEM: line_fini() is
 * due all the same. */
void line_freeze(const struct line *l, struct buf *b);
MUST_USE int line_thaw(struct line *l, struct cursor *in);
/* Frees what is unfinished; l is fresh again. */
void line_fini(struct line *l);

#endif
