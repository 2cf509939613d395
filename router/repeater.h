/* repeater.h - the fan-out tree's root: one DELIVER per link that listens.
 * path: msg > publish > store > table > [repeater] > link > bus > gateway >
 *       edge > conn
 *
 * The frame is encoded once, whatever the number of links and however many
 * ids and patterns of a link match; to the links in a trunk it goes once. Links
 * that are not LIVE are passed over:
 * they are repaired from the store. For their last steps the repeater keeps a
 * tail of recent stored messages, so that a link that reads on reaches the
 * place where the router stands.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_REPEATER_H
#define TOUCHLINE_ROUTER_REPEATER_H

#include <stdbool.h>

#include "base/buf.h"
#include "proto/msg.h"

struct router;
struct link;

enum {
    TAIL_COUNT = 4096, /* a power of two */
    TAIL_BYTES = 2 * 1024 * 1024,
};

struct repeater {
    struct buf frame; /* body of the DELIVER under way */
    uint64_t stamp;
    struct msg *tail[TAIL_COUNT];
    uint64_t tail_first, tail_next; /* places, counted up for ever */
    size_t tail_bytes;
    uint64_t tail_after; /* all stored messages above this seq are in it */
};

void repeater_init(struct repeater *p, uint64_t seq);
void repeater_fini(struct repeater *p);

/* A committed message, or one without history that has got its numbers: to
 * everybody who holds its id, in the order of the calls. Returns how many
 * connections that is. Holds m for a while. Cost: one copy per link. */
uint32_t repeater_send(struct router *r, struct msg *m);
/* How many connections a message of this id would reach now. */
uint32_t repeater_reach(struct router *r, struct slice id);
/* A notice, at the place where the router stands; seq, format and flags are
 * set here. */
void repeater_notice(struct router *r, const struct msg_parts *notice);

/* If every stored message above l->position is still in the tail: puts those
 * that l listens to on it, whatever its queue, and returns true. Without
 * memory false: position then says how far it went. */
bool repeater_catch_up(struct router *r, struct link *l);
/* Does anybody on this link listen to id? */
bool repeater_wanted(struct router *r, const struct link *l, struct slice id);

#endif
