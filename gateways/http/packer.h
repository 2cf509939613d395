/* packer.h - what is compressed once for all who take it: messages for streams,
 * and texts that many are told alike. One per worker.
 * path: msg > publish > store > table > repeater > link > bus > gateway >
 *       [edge] > conn
 *
 * Short messages shrink only beside one that is like them. So a message is
 * compressed with the text of the message in front of it in view, for all
 * streams where that one, and pings at most, is what was said last; for all
 * others without. Which it is of a stream is a number that the stream keeps
 * (zstream.h): whatever was left out, or said in between, it is never wrong.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_HTTP_PACKER_H
#define TOUCHLINE_HTTP_PACKER_H

#include "gateways/http/form.h"
#include "gateways/http/gzip.h"

enum {
    PACKED_KINDS = 4,    /* of a message, with different texts in view */
    PACKED_PINGS = 64,   /* behind more of them nothing is in view */
    PACKED_LEAST = 192,  /* a text that is shorter is not worth it alone */
    PACKED_MOST = 128 * KIB, /* 1 ms; what is longer would hold others up */
};

/* What stands at the end of a stream. */
struct said {
    uint64_t text;  /* a message's, named by packer_message(); 0: another */
    unsigned pings; /* behind it */
};

/* A message as a chunk of a stream. */
struct packed {
    const struct wire *wire; /* hangs on the message; the chunk is a part */
    size_t from, len;
    struct gzip_sum sum;     /* of its text */
    uint64_t text;           /* its name, for those who have it */
};

struct packer;

struct packer *packer_new(void); /* NULL: no memory */
void packer_free(struct packer *p); /* NULL is fine */
/* The one of this worker, made when it is first wanted. NULL: no memory. */
struct packer *packer_of(struct gateway *g);

/* form: FORM_LINES_CHUNK or FORM_EVENTS_CHUNK. ERR_NOMEM. */
MUST_USE int packer_message(struct packer *p, struct conn *c, unsigned form,
                            struct msg *m, const struct said *behind,
                            struct packed *ret);
/* Who had said so much says this message, too. */
void packer_add(struct packer *p, struct gzip_sum *said,
                const struct packed *more);
/* Appends a piece of the text; the same text again costs a look. */
void packer_text(struct packer *p, struct gateway *g, struct slice text,
                 struct buf *out);
/* The same as a whole gzip file. */
void packer_whole(struct packer *p, struct gateway *g, struct slice text,
                  struct buf *out);

#endif
