/* admission.h - how many clients a gateway begins to serve in a second, and when
 * those come again who were too many.
 *
 * After an outage clients return together. To accept them is cheap, and so is a
 * resume that the ring covers; a newcomer, or one that has been away for longer,
 * costs the router a login and a snapshot, or pages of the store. So the first
 * subscription of a connection, unless the ring covers it, takes a token of a
 * bucket: limits.admit_rate come in each second, those of ADMIT_SECONDS at most
 * stand in it. Who publishes, or has been let in, needs none.
 *
 * Who finds none is told a slot. Slots are a queue: the n-th who was turned away
 * has the n-th slot, they are as far apart as tokens come, and the first is a
 * second away. Nothing is kept of who has which: until their time comes, the
 * tokens of those who wait gather in the bucket, and who comes at his slot finds
 * his there. It is lost only to those who come meanwhile without one, beyond what
 * the first second has left in the bucket; who loses it so has the next slot at
 * the end of the queue.
 *
 * Slots can be asked for and left alone, many times by one client. So the queue
 * is no longer than SLOT_MOST_MS: who finds it full has a slot at its beginning,
 * beside somebody else. And it begins anew when the bucket has been full for a
 * while: those who have the slots do not come.
 *
 * Threads: the gateway's loop. Cost: O(1), and 16 bytes in all. */
#ifndef TOUCHLINE_GATEWAYS_ADMISSION_H
#define TOUCHLINE_GATEWAYS_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;
struct subscribe;

enum {
    ADMIT_SECONDS = 2,
    SLOT_FIRST_MS = 1000, /* nobody is told to come sooner */
    SLOT_MOST_MS = 300 * 1000, /* nor later */
    SLOT_UNUSED_MS = 1000, /* so long is a bucket full that nobody comes to */
    SLOT_APART_MS = 1,    /* without limits.admit_rate */
};

struct admission { /* zeroed: nobody has come */
    int64_t due_ns;  /* when the bucket is full again */
    int64_t slot_ns; /* the next one that nobody has */
};

/* Takes a token; false: there is none. rate: tokens a second, 0: no limit. */
bool admission_take(struct admission *a, size_t rate, int64_t now_ns);
/* Takes the next slot: so many milliseconds from now. */
uint32_t admission_slot_ms(struct admission *a, size_t rate, int64_t now_ns);

/* May c begin with s? What the ring covers may always. */
bool admission_allows(struct conn *c, const struct subscribe *s);

#endif
