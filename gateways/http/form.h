/* form.h - how messages and notices are written, once for all connections that
 * want the same.
 * path: msg > publish > store > table > repeater > link > bus > gateway >
 *       [edge] > conn
 *
 * A /test/ page numbers its messages per connection: what differs is in front,
 * what is long is shared.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_FORM_H
#define TOUCHLINE_HTTP_FORM_H

#include "gateways/common/conn.h"
#include "gateways/common/edge.h"

/* Places in m->forms. The odd ones are HTTP/1.1 chunks. */
enum form {
    FORM_LINES, /* JSON and LF */
    FORM_LINES_CHUNK,
    FORM_EVENTS, /* Server-Sent Events */
    FORM_EVENTS_CHUNK,
    FORM_TEST, /* the rest of a line of the /test/ page, behind its number */
    FORM_TEST_CHUNK,
    FORMS,
    FORM_LINES_PACKED = FORMS, /* chunks that are gzipped: see packer.h */
    FORM_EVENTS_PACKED,
};

bool form_is_test(unsigned form);
bool form_is_chunked(unsigned form);
/* Can a stream of it be gzipped? */
bool form_packs(unsigned form);
/* Where that has its messages. */
unsigned form_packed(unsigned form);
const char *form_type(unsigned form); /* Content-Type */
struct slice form_ping(unsigned form); /* a sign of life */

/* The encoding of m that all connections of this form share, made by the
 * first of them. NULL: no memory. A chunk of a /test/ page begins with what
 * the connection puts in front: here is only its end. */
struct wire *form_wire(struct conn *c, unsigned form, struct msg *m);
/* Appends a notice, not yet as a chunk; on a /test/ page few say anything. */
void form_put_notice(struct buf *b, unsigned form, const struct notice *n);
/* Appends text, as one chunk where the form has chunks. */
void form_put_text(struct buf *b, unsigned form, struct slice text);
/* Text that an HTML parser reads as it was; a CR, which it would take for a
 * line feed, is &#13;. */
void form_put_html(struct buf *b, struct slice text);

#endif
