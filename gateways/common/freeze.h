/* freeze.h - a gateway written down in messages, and taken up by its successor.
 *
 * What is written: where the worker stands (epoch, seq, numbers given), the
 * stream of its link, its topics with their snapshots, the ring, the slots'
 * generations, and the connections with their sockets: parser, seats, place in
 * the ring, output and input that wait, deadlines. So the successor is the same
 * gateway for its clients and for the router; names and ticks stay.
 *
 * A gateway can be written down when it is at rest: the link is whole, nobody
 * waits for an answer of the router's, and every edge says so of each of its
 * connections. Who reads pages of the store is at rest: the successor asks for
 * the pages again, from the place of the connection. Connections that are closing
 * stay behind, and so does one that is more than a message holds, which is cut.
 *
 * Writing changes nothing, so who cannot hand over goes on. FREEZE_FORMAT says
 * how all this is written; another one is not read.
 *
 * Threads: the gateway's loop, or another while that does not turn. Cost: about
 * 2 us and 200 bytes a connection, and the bytes of the ring. */
#ifndef TOUCHLINE_GATEWAYS_FREEZE_H
#define TOUCHLINE_GATEWAYS_FREEZE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/slice.h"
#include "proto/handover.h"

struct gateway;

enum { FREEZE_FORMAT = 6 };

enum freeze_kind { /* of messages; in this order, each as often as needed */
    FREEZE_WORKER = 32,
    FREEZE_TOPICS,
    FREEZE_RING,
    FREEZE_SLOTS,
    FREEZE_CONNS, /* with their sockets */
    FREEZE_END,
};

/* Can it be written down now? */
enum freeze_rest {
    FREEZE_RESTS,
    FREEZE_WAITS, /* for the router, which will answer */
    FREEZE_HELD,  /* for somebody who is in the middle of something: maybe for
                     nobody else */
};
/* If it does not rest, *why says it in words (until this thread's next call).
 * *last: 0 at first, the caller's; speeds up the next look. */
enum freeze_rest freeze_look(struct gateway *g, uint32_t *last,
                             const char **why);
/* Of a gateway that is held: cuts those who hold it, as slow readers, and
 * returns how many. Cost: a walk over all connections. */
unsigned freeze_cut(struct gateway *g);

/* Writes the messages one by one; the gateway must not change meanwhile. */
struct freezer {
    struct gateway *g;
    uint8_t kind; /* of what is in body, enum freeze_kind */
    bool more;    /* of that kind is to come */
    struct buf body;
    int files[HANDOVER_FILES]; /* borrowed of the connections */
    unsigned file_count;
    struct map_iter topics; /* how far it has come: topics, ring, slots */
    uint64_t tick, settled;
    uint32_t number;
    uint32_t conns;  /* written so far */
    struct buf left; /* those who are too much for a message: number and
                        generation of each, u32 */
};
static inline uint32_t freezer_left(const struct freezer *f)
{
    return (uint32_t)(f->left.len / (2 * sizeof(uint32_t)));
}
void freezer_init(struct freezer *f, struct gateway *g);
void freezer_fini(struct freezer *f);
/* The successor has all of it: lets go of the link without a goodbye, and of
 * the connections, whose sockets live on in the successor. Those that are closing
 * stay; those in f->left are cut. */
void freezer_part(struct freezer *f);
/* ERR_NOT_FOUND: that was all. ERR_NOMEM. */
MUST_USE int freezer_next(struct freezer *f);

/* Takes them up, in a gateway that was just made and has a link that is not
 * up. */
struct thaw {
    struct gateway *g;
    uint8_t kind; /* of the last message */
    uint64_t ring_end;
    int64_t ping_began_ns;
    uint32_t ping_step, ping_next;
    uint32_t conns;  /* so far */
    struct buf left; /* as in struct freezer */
};
void thaw_fini(struct thaw *t);
/* A message; files that become a connection's are set to -1. ERR_FRAME: it makes
 * no sense. ERR_FULL: there is no room for so many clients, or for another
 * watch. ERR_NOMEM, ERR_IO. After an error the gateway is only good for
 * gateway_fini(), which closes what it has: copies of the sockets. */
MUST_USE int thaw_take(struct thaw *t, uint8_t kind, struct slice body,
                       int *files, unsigned file_count);
/* FREEZE_END has come. */
bool thaw_is_whole(const struct thaw *t);
/* It is the gateway from now on: everybody is visited. Not before FREEZE_SLOTS
 * are through; where no FREEZE_END came, those that did not come are logged out,
 * as are those who are said to be left behind. */
void thaw_go(struct thaw *t);

#endif
