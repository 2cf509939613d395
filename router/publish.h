/* publish.h - the path of a publication, from its frame to everybody who is
 * to have it.
 * path: msg > [publish] > store > table > repeater > link > bus > gateway >
 *       edge > conn
 *
 *   PUBLISH, ACT -> taken before?     answer again
 *                -> judged by its type, queued
 *   end of turn  -> the queue goes to the store's writer as one batch, when
 *                   none is in flight; else it grows, up to
 *                   limits.commit_group: that is the group commit
 *   committed    -> message by message, in seq order: folded into the type's
 *                   state, DELIVER to the links, PUBLISHED to the publisher
 *   failed       -> nothing has happened: no number is used up, the tentative
 *                   states go back, the batch and all stored ones behind it
 *                   are refused
 *
 * A message without history takes the same way, so nothing overtakes; a batch
 * of these alone is numbered at once when nothing is in flight.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_PUBLISH_H
#define TOUCHLINE_ROUTER_PUBLISH_H

#include "proto/frame.h"
#include "proto/spread.h"
#include "router/answers.h"
#include "store/writer.h"

struct router;
struct link;

enum {
    ENTRIES_FIRST = 16,
    GROUP_BYTES = 1024 * 1024,       /* in one commit; a message may be larger */
    QUEUE_COUNT_HIGH = 32 * 1024,    /* above these the gateways are not read */
    QUEUE_BYTES_HIGH = 64 * 1024 * 1024,
};

struct publish {
    struct list_node queue;  /* struct pub, in order of acceptance */
    struct list_node flight; /* those that the writer has */
    size_t queued, queued_bytes; /* of both */
    uint64_t taken;          /* ever */
    bool paused;             /* gateways are not read */
    int64_t pressed_ns;      /* since then, but for short breaks; 0: never */
    int64_t eased_ns;        /* the last of these breaks began */
    bool closed;             /* nothing more goes to the store */
    struct map keys;         /* idempotency keys under way */
    struct map names;        /* struct pub, twins too, by (life, number) */
    struct answers answers;
    uint64_t gone_seq; /* nothing above was trimmed or forgotten before this life,
                          so no name above it is unread */
    struct batch batch;
    struct entry *entries; /* of the batch under way */
    size_t entries_room;
    int64_t submitted_ns;
    struct spread commits; /* how long they took */
    int last_error; /* of the newest commit: 0, ERR_FULL ... */
};

void publish_init(struct publish *p, int64_t keep_answers_ns);
void publish_fini(struct publish *p); /* nothing may be in flight */

/* A frame of link l. The answer goes to l, now or after the commit. Nothing
 * here takes a link down. */
void publish_message(struct link *l, const struct frame_publish *f);
void publish_act(struct link *l, const struct frame_act *f);

/* Everything taken is committed, or refused, and answered. */
bool publish_idle(const struct publish *p);

#endif
