/* thin.h - what is left out for a reader who does not keep up, so that the rest
 * is within limits.queue and queue_age. Who is cut instead: slow.h.
 *
 * A reader whose socket is full is not visited. It holds no queue, only its
 * place: what waits for it lies in the ring, once for all. When the socket
 * takes something again (thin_due), and more waits than limits.queue or
 * for longer than limits.queue_age, the policy of each message's namespace
 * says what becomes of it:
 *
 *   drop-oldest   the oldest are left out
 *   conflate      the lesser ones are left out, oldest first; then whatever has
 *                 a newer one of its key. Never what its type holds on to, and
 *                 never what has no key
 *   cut           nothing is left out
 *
 * until the rest is within the budget; conflated ids give first. A rest that
 * is still too much ends the connection (conn_cut). So does a message that the
 * ring must let go of and its reader must not miss; another is left out then,
 * if its reader reads or not. But whoever lags without a full socket, because
 * it resumes from the ring or waits for its turn, is served first.
 *
 * What is left out of a channel is told by one gap before the next message; a
 * snapshot follows where a state is not what the messages make of it any more.
 * What came before the connection lagged (a resume out of the ring) was
 * promised: only the end of the ring leaves any of it out.
 *
 * Threads: the gateway's loop. Memory: four ticks for who was thinned, a record
 * per channel for what is left out and not told yet, nothing for anybody else;
 * while one is being thinned, at most a gateway's one, 32 bytes for each message
 * that it is due. Cost: some steps for each of those, when the socket of one over
 * the budget takes something, a bounded number a turn; for each message that
 * leaves the ring a comparison of each lagging reader, or of each that holds it,
 * whichever are fewer.
 * docs/decisions/0029-slow-readers.md says why. */
#ifndef TOUCHLINE_GATEWAYS_THIN_H
#define TOUCHLINE_GATEWAYS_THIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "gateways/common/ring.h"
#include "gateways/common/topic.h"

struct conn;
struct gateway;
struct thin_job; /* one that is being thinned, and takes more than a turn */

enum { THIN_LOOKS = 16384 }; /* a turn */

/* What readers who do not keep up get of a message: ring_entry.share, once
 * somebody has asked. It stays, whatever the configuration says later: what has
 * been told stays true. */
enum share {
    SHARE_UNASKED,
    SHARE_WHOLE,  /* it, or they are cut */
    SHARE_LATEST, /* drop-oldest: left out when older than the budget allows */
    SHARE_LESSER, /* conflate: goes first */
    SHARE_NEWEST, /* conflate: left out when there is a newer one of its key */
    SHARE_KEPT,   /* conflate: never left out */
    SHARE_NOTICE, /* of the ring: comes, unless the ring loses it */
};
enum share thin_share(const struct gateway *g, struct ring_entry *e);

/* Is there a channel among those it holds of which something may be left out?
 * A pattern counts as the ids behind its prefix do. Cost: O(seats). */
bool thin_may_help(struct conn *c);
/* The socket takes something again, or all that is due is to go to memory of
 * the connection's own, behind so many bytes that count, too: what is more than
 * the budget is left out. May end the connection. */
void thin_due(struct conn *c, size_t behind);
/* The socket of a stalled connection takes something again. True: it stays
 * stalled until its turn comes (conn_take_up). */
bool thin_drained(struct conn *c);
/* It is stalled no more, or gone. */
void thin_not_drained(struct conn *c);
/* Each turn: one after the other, until THIN_LOOKS entries have been looked at.
 * The rest of them, and of what one is due, waits for the next turn: neither
 * many that begin to read together nor one that has missed very much holds up
 * anybody but those who waited themselves. */
void thin_turn(struct gateway *g);
/* The oldest entry of the ring goes. Whoever has not got it yet and does not wait
 * for its socket gets it now; another is cut, or does without it. */
void thin_let_go(struct gateway *g, struct ring_entry *e, uint64_t tick);

/* Of a connection with conn_thinned(): is this entry, which is due, left out? */
bool thin_leaves_out(const struct conn *c, const struct ring_entry *e,
                     uint64_t tick);
/* The tick in front of the first that was left out and has not been told; the
 * largest number when nothing was. */
uint64_t thin_limit(const struct conn *c);
/* It is time to tell it: c has all that comes before. */
bool thin_owes(const struct conn *c);
/* Tells it, to out: a gap per channel. The edge may close the connection or
 * leave channels. */
void thin_tell(struct conn *c);
/* What was left out of one channel and has not been told. */
struct thin_loss {
    uint64_t from, to; /* offsets; 0: of a pattern */
    uint64_t count;    /* messages */
    bool oldest;       /* some were left out because they were the oldest */
    bool more;         /* and notices besides */
    bool hole;         /* a gap among these: from where, and how many, nobody
                          knows */
    bool state;        /* the messages do not make the state any more */
};
/* NULL: nothing. */
const struct thin_loss *thin_loss_of(const struct conn *c,
                                     const struct topic *t);
/* The seq up to which c has everything that it is not going to be told it
 * misses, where its place has left the ring. False: nothing of its own went
 * with it. */
bool thin_place(const struct conn *c, uint64_t *seq);
/* c leaves t: what it missed there is told no more, but to patterns of its. */
void thin_leave(struct conn *c, const struct topic *t);
/* All of it: c has caught up, begins anew, or goes. */
void thin_forget(struct conn *c);
/* For the gateway's successor, which gets the ring with its shares; back again
 * in a connection that has its seats, and lags: ERR_FRAME, ERR_NOMEM. */
void thin_freeze(const struct conn *c, struct buf *b);
MUST_USE int thin_thaw(struct conn *c, struct cursor *in);
/* Memory of the connection's own. */
size_t thin_bytes(const struct conn *c);

#endif
