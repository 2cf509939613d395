/* guest.h - a client on its way from one gateway to another: its socket travels
 * as a descriptor (proto/handover.h), this is the record beside it.
 *
 * What a gateway knows of a socket that the socket itself does not say: where it
 * came in, who its peer is behind proxies, and what has been read of it and not
 * been used up. A record ends where it says, so that others may stand behind it.
 * Threads: any. No I/O. */
#ifndef TOUCHLINE_GATEWAYS_GUEST_H
#define TOUCHLINE_GATEWAYS_GUEST_H

#include "base/base.h"
#include "base/cursor.h"
#include "gateways/common/address.h"

enum guest_flag { /* as enum conn_flag has them */
    GUEST_LOOPBACK = 1u << 0,    /* peer */
    GUEST_AT_LOOPBACK = 1u << 1, /* listener */
    GUEST_ADMIN = 1u << 2,
    GUEST_HEADER_DUE = 1u << 3,  /* its first bytes may be a PROXY header */
    GUEST_INPUT_END = 1u << 4,   /* the peer's FIN has been read */
    GUEST_FLAGS = (1u << 5) - 1,
};

struct guest {
    uint16_t flags;           /* enum guest_flag */
    uint8_t listener;         /* which one took it, by its place in the set */
    struct address share;     /* for whom it is counted (door.h) */
    struct address proxied;   /* whom a PROXY header names */
    struct address forwarded; /* whom the proxy of a request names */
    struct slice in;          /* read, and not used up */
};

void guest_write(struct buf *b, const struct guest *g);
/* g->in borrows. Nonsense fails the cursor. */
void guest_read(struct cursor *c, struct guest *g);

#endif
