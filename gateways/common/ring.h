/* ring.h - a gateway's recent messages, of all its ids, in one ring.
 *
 * Every entry has a tick, its place in the stream of everything that the link
 * has brought: 1, 2, 3 ... A connection's tick says "I have everything up to
 * here", so polls, resumes and live delivery differ in the tick they start
 * from and in nothing else. Entries of one topic are chained backwards.
 * Seqs never decrease along the ring (a notice bears the seq before it), so a
 * cursor finds its tick by binary search.
 *
 * Entries leave at the old end: 30 s after they came, or when the bytes go
 * over the limit (deliver_expire).
 * Threads: the gateway's loop. Cost: append O(1), search O(log n). */
#ifndef TOUCHLINE_GATEWAYS_RING_H
#define TOUCHLINE_GATEWAYS_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "proto/msg.h"

struct topic;

enum { RING_KEEP_MS = 30 * 1000 };

struct ring_entry {
    struct msg *msg;     /* held by the ring */
    struct topic *topic; /* borrowed: a topic outlives its entries */
    uint64_t previous;   /* tick of the topic's entry before, or 0 */
    int64_t came_ns;
    uint32_t newer; /* so many ticks later there is one of the same id and key;
                       0: none is known of (slow.h) */
    uint8_t share;  /* enum share */
};

struct ring {
    struct ring_entry *entries; /* a power of two of them, or NULL */
    size_t mask;
    uint64_t first, next; /* ticks in the ring: first <= tick < next */
    size_t bytes, bytes_max;
    uint64_t gone_seq; /* seq of the newest entry that has left */
};

void ring_init(struct ring *r, size_t bytes_max);
void ring_fini(struct ring *r); /* drops everything, tells no topic */

static inline uint64_t ring_end(const struct ring *r) { return r->next - 1; }

/* Holds m. On 0 *tick is its place. ERR_NOMEM. */
MUST_USE int ring_append(struct ring *r, struct topic *topic, struct msg *m,
                         uint64_t previous, int64_t now_ns, uint64_t *tick);

/* NULL when the tick has left, or has not come. */
struct ring_entry *ring_at(const struct ring *r, uint64_t tick);

/* The tick up to which all entries have seq <= this one. */
uint64_t ring_tick_of(const struct ring *r, uint64_t seq);

/* The oldest entry, when it must go at this time; NULL when all may stay.
 * ring_drop_first() makes it go. */
struct ring_entry *ring_overdue(const struct ring *r, int64_t now_ns);
void ring_drop_first(struct ring *r);

#endif
