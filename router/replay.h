/* replay.h - history on its way back: pages that gateways ask for, and the
 * repair of a link that has missed something.
 * path: msg > publish > [store] > table > repeater > link > bus > gateway >
 *       edge > conn
 *
 * FETCH    -> a page read by the store's readers -> ROW, HOLE ..., PAGE_END,
 *             as fast as the link takes them, a slice a turn
 * resync   -> everything stored above link.position that somebody on the link
 *             listens to, as DELIVER, page by page, each when the link has
 *             room, until the repeater's tail takes over and the link is live
 * What trimming took is told where it is missing: in front of the first message
 * behind it. What is told to be gone is gone for good: on this link nothing of it
 * follows, though the repeater's tail may have it still.
 * Threads: the router's loop; the reading is the store's. */
#ifndef TOUCHLINE_ROUTER_REPLAY_H
#define TOUCHLINE_ROUTER_REPLAY_H

#include "proto/frame.h"
#include "store/history.h"

struct router;
struct link;

enum {
    FETCHES_AT_ONCE = 16,       /* of one link; the others wait */
    REPLAY_ROWS_PER_TURN = 512, /* of all links */
    REPLAY_ROWS_PER_PASS = 64,  /* of one page, before the next has its turn */
};

struct replay {
    uint64_t trimmed_seq; /* nothing above it was trimmed before this life */
};

/* A page of history for l. Its end is PAGE_END, whatever happens. ERR_FRAME,
 * ERR_NOMEM. */
MUST_USE int replay_fetch(struct link *l, const struct frame_fetch *f);

/* l, which stands at l->position, is to be repaired: READING from here on. */
void replay_resync(struct link *l);
/* A message that is to be put on a link that is being repaired has these flags:
 * should a snapshot belong behind it, the link gets one when it is whole.
 * ERR_NOMEM: then the message must not be put. */
MUST_USE int replay_resnapshot(struct link *l, unsigned flags, struct slice id);
/* The link, not LIVE, got the message but not the snapshot behind it: likewise.
 * ERR_NOMEM: it must begin anew. */
MUST_USE int replay_owe_snapshot(struct link *l, struct slice id);

/* Has the link been told, while it is being repaired, that m was trimmed? */
bool replay_told(const struct link *l, const struct msg *m);

void replay_turn(struct router *r); /* end of the loop's turn */
void replay_link_gone(struct link *l);

/* A stored record as a message; borrows its bytes. */
struct msg_parts replay_parts(const struct record *rec);

#endif
