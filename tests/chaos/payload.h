/* payload.h - a text that says whose it is: publisher, number and channel stand
 * in it, so whoever sees it at any edge, in whatever wrapping, can name it.
 *
 *   tl PUBLISHER NUMBER CHANNEL FILLER
 *
 * FILLER is a word, or two where an event's stands in front (event.h).
 * It consists of bytes that no edge escapes, so it is found again inside a JSON
 * string, a line of telnet or HTML, and its hash is the same everywhere.
 * Threads: any. Cost: O(bytes). */
#ifndef TESTS_CHAOS_PAYLOAD_H
#define TESTS_CHAOS_PAYLOAD_H

#include "base/buf.h"

struct payload {
    uint32_t publisher, number;
    struct slice channel; /* borrows the text */
    struct slice event;   /* the word in front of the filler; or empty */
    uint64_t hash;        /* of the whole text */
};

/* Appends the text, `size` bytes or as many as the names need. The filler
 * follows from publisher and number. Channels of letters, digits, '/', '-' and
 * '_'. event: its word, or empty. */
void payload_write(struct buf *out, uint32_t publisher, uint32_t number,
                   struct slice channel, struct slice event, size_t size);
/* Finds it in what an edge brought. False: there is none, or not a whole one. */
bool payload_read(struct slice text, struct payload *ret);
uint64_t payload_hash(struct slice text);

#endif
