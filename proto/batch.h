/* batch.h - the pure half of a pipe: numbers, acknowledgements, what is kept
 * and what is sent again. No I/O and no clock, so that tests can put any kind
 * of bad line between two ends.
 *
 * A batch is a header of 40 bytes, and frames behind it, each `u32 length of
 * the body, u8 code, body`. The header:
 *
 *     u16 magic 'TL', u8 version, u8 flags, u32 check, u64 session,
 *     u64 number, u64 ack, u64 seq
 *
 * check: the low half of XXH3-64 over everything behind it, seeded with the
 * u32 in front of it. session: random name of this stream; it is the
 * peer's password to the line as well. number: 1, 2, 3 ... for batches with
 * frames; a batch without frames is a heartbeat and bears the number of the
 * last one sent before it. ack: everything up to this number has been taken.
 * seq: as of pipe_set_seq().
 *
 * Repair is go-back-N: who sees a number too high asks once for everything
 * from ack + 1 on, and again at each tick; what comes twice is dropped. On a
 * new line nothing but a heartbeat is sent until the peer's first batch has
 * told what it has.
 *
 * Threads: one at a time. */
#ifndef TOUCHLINE_PROTO_BATCH_H
#define TOUCHLINE_PROTO_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "base/list.h"
#include "base/slice.h"

enum {
    BATCH_HEADER = 40,
    BATCH_FRAME_HEADER = 5,
    BATCH_OWED_MAX = 128 * 1024 /* bytes taken before an ack is due */
};

enum batch_flag {
    BATCH_RESEND = 1u << 0, /* from ack + 1 on, please */
    BATCH_ANSWER = 1u << 1, /* acknowledge at once, please */
    BATCH_BYE = 1u << 2,    /* the sender leaves for good */
};

struct batch_header {
    uint8_t flags;
    uint64_t session, number, ack, seq;
};

/* One end of a stream. */
struct batches {
    uint64_t session;

    struct list_node kept; /* sealed and not acknowledged, oldest first */
    struct list_node *next; /* the next of these to send; &kept: none */
    size_t kept_bytes;
    size_t hurry_above; /* kept_bytes from which on an ack is asked for */
    uint64_t sealed, sent, acked; /* numbers; sent: the highest ever */
    bool first, met; /* on this line: we speak first; the peer has spoken */

    uint64_t taken; /* number of the last batch whose frames were taken */
    uint64_t seq;   /* the highest that the peer has vouched for */
    size_t owed;    /* bytes taken and not acknowledged */
    bool hole;      /* something above taken + 1 was seen */
    bool asked;     /* for that hole, since the last tick */
    bool answer;    /* the peer waits for a word of ours */

    uint64_t resent, duplicates, holes; /* figures */
};

/* hurry_above: bytes, see above. */
void batches_init(struct batches *b, uint64_t session, size_t hurry_above);
void batches_fini(struct batches *b); /* a zeroed one is fine */

/* All that another process needs to be this end on the next line: numbers, and
 * what is kept. Appended to out, whose failure sticks. */
void batches_freeze(const struct batches *b, struct buf *out);
/* Another process's end, into an uninitialised b, which needs batches_fini()
 * whatever comes out. ERR_FRAME: nonsense. ERR_NOMEM. */
MUST_USE int batches_thaw(struct batches *b, struct cursor *in,
                          size_t hurry_above);

/* Begins an open batch: the room for the header. */
void batch_begin(struct buf *open);
/* Frames go behind one another: begin, put the body, end. */
size_t batch_frame_begin(struct buf *open, uint8_t code);
void batch_frame_end(struct buf *open, size_t at);

/* Takes the bytes of an open batch, gives it a number and keeps it until it
 * is acknowledged. On failure nothing has changed but open->failed.
 * ERR_NOMEM. */
MUST_USE int batches_seal(struct batches *b, struct buf *open, uint64_t seq);

/* A new line: everything kept will be sent again. first: this end speaks
 * first. */
void batches_new_line(struct batches *b, bool first);
/* Time has passed: what has been said in vain is said again. */
void batches_tick(struct batches *b);

/* What to send, which counts as sent. The caller may add flags. */
struct batch_out {
    struct batch_header header;
    struct slice bytes; /* with room for the header; borrowed until an ack */
};
/* The next batch with frames. False: none is left, or none may go yet. */
bool batches_next(struct batches *b, struct batch_out *ret);
/* Is a word due even without frames to send? */
bool batches_due(const struct batches *b);
/* That word. seq: as of now, or 0 when frames wait to be sealed. */
void batches_heartbeat(struct batches *b, uint64_t seq,
                       struct batch_out *ret);
/* Writes bytes.len bytes, header and check included. */
void batch_write(uint8_t *out, const struct batch_out *what);

enum batch_verdict {
    BATCH_TAKEN, /* its frames are to be handled now */
    BATCH_QUIET, /* a heartbeat: nothing is missing */
    BATCH_PASSED /* twice, too early, or out of date: nothing to handle */
};
struct batch_in {
    enum batch_verdict verdict;
    uint8_t flags;
    uint64_t seq;         /* the highest that holds */
    struct cursor frames; /* whole frames: read with batch_frame() */
};
/* Judges what came in; frames borrow from bytes. ERR_FRAME: this is no batch
 * of this session, or a damaged one: drop the line. ERR_BAD: it is the
 * peer's, and nonsense: sending it again would not help. */
MUST_USE int batches_take(struct batches *b, struct slice bytes,
                          struct batch_in *ret);
/* Heeds the acknowledgement alone; the rest of the batch will look as if it
 * had been lost. Errors as above. */
MUST_USE int batches_heed(struct batches *b, struct slice bytes);
/* False: no more. */
bool batch_frame(struct cursor *frames, uint8_t *code, struct slice *body);

#endif
