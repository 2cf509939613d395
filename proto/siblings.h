/* siblings.h - the processes of one kind that serve one port, and who of them
 * listens there just now.
 *
 * They share a table, a slot for each, in memory without a file (memfd), which
 * the supervisor makes and hands to all, and a bell (eventfd): whoever changes
 * its slot rings, and all look again. A slot says whether its process listens
 * and how much room it has: many places, few, none.
 *
 * One rule: who has less room than a sibling that listens stops listening; it
 * comes back when no sibling that listens has more and it has a place, or when
 * nobody listens. So somebody always does: the one with most room, and when
 * nobody has any, the last one that had.
 *
 * "Few" begins early, so that what waits in the queue of one that leaves finds
 * a place; it ends late, so that nobody comes and goes with each client.
 * Each writes its own slot, atomically: who dies at any moment leaves no more
 * than a slot that is wrong. The supervisor clears it, and without one it
 * counts for nothing, because it says whose it is.
 *
 * Threads: any. Cost: siblings_due() one atomic read; a judgement a lock of
 * this process and a system call for each sibling that listens, and one more
 * when it changes something. */
#ifndef TOUCHLINE_PROTO_SIBLINGS_H
#define TOUCHLINE_PROTO_SIBLINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

/* The names under which they are handed over (listen_handed). */
#define SIBLINGS_TABLE "touchline-siblings"
#define SIBLINGS_BELL  "touchline-bell"

struct siblings;

/* For the supervisor: a table for so many, none of which is there. ERR_NOMEM,
 * ERR_IO. */
MUST_USE int siblings_new(struct siblings **ret, unsigned count);
/* For a process: takes both files, and is there with many places, not
 * listening yet. ERR_BAD: no such table or slot; ERR_NOMEM. The files are closed
 * then. */
MUST_USE int siblings_join(struct siblings **ret, int table, int bell,
                           unsigned index);
void siblings_free(struct siblings *s); /* NULL is fine; the slot stays */

/* To be handed over; the bell is to be watched for edges, and never read. */
int siblings_table(const struct siblings *s);
int siblings_bell(const struct siblings *s);

/* So many places of room are free: is that so much less than the slot says
 * that a judgement is due? */
bool siblings_due(const struct siblings *s, uint32_t places, uint32_t room);
/* It has many places, as far as the others know. */
bool siblings_easy(const struct siblings *s);
/* Says how many places are free. True: this process is to listen; the caller
 * sees to it that it does, and says so, or that it does not. */
bool siblings_judge(struct siblings *s, uint32_t places, uint32_t room);
/* This process listens: not before it does, or others leave the port to
 * nobody. */
void siblings_listening(struct siblings *s);
/* This process takes nobody any more, whatever is judged later. */
void siblings_withdraw(struct siblings *s);
/* For the supervisor: that one has ended. */
void siblings_gone(struct siblings *s, unsigned index);

#endif
