/* zstream.h - a stream that is gzipped: what of it the client has or will have.
 * path: msg > publish > store > table > repeater > link > bus > gateway >
 *       [edge] > conn
 *
 * What is said to all is made once (packer.h); a stream keeps 24 bytes, so that
 * it knows what it may be sent next, and can end as strict readers want it:
 * with the sum of all that was said. All of it goes in chunks.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_ZSTREAM_H
#define TOUCHLINE_HTTP_ZSTREAM_H

#include "gateways/http/packer.h"

struct zstream {
    uint64_t text; /* struct said */
    struct gzip_sum sum;
    uint8_t pings; /* of struct said */
    uint8_t form;  /* FORM_LINES_CHUNK or FORM_EVENTS_CHUNK */
};

/* Says the first text, or nothing. NULL: no memory, and the connection is
 * aborted, as it is by the others. */
struct zstream *zstream_new(struct conn *c, unsigned form, struct slice text);

void zstream_say(struct zstream *z, struct conn *c, struct slice text);
void zstream_ping(struct zstream *z, struct conn *c);
enum put_result zstream_put(struct zstream *z, struct conn *c, struct msg *m,
                            struct outvec *v);
/* As of edge->taken(). */
void zstream_taken(struct zstream *z, unsigned messages);
/* The end of the content; the last chunk is still to come. */
void zstream_end(const struct zstream *z, struct conn *c);

/* In another process nothing is in view of the next message. Errors as of
 * edge->thaw(). */
void zstream_freeze(const struct zstream *z, struct buf *b);
MUST_USE int zstream_thaw(struct zstream **ret, unsigned form,
                          struct cursor *in);

#endif
