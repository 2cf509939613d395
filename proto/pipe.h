/* pipe.h - one end of a link: frames, batched, numbered, acknowledged.
 * path: msg > publish > store > table > repeater > [link] > bus > gateway >
 *       edge > conn
 *
 * A pipe carries frames both ways, in order and each exactly once for as long
 * as both ends live. Underneath is a line of NNG sockets (bus.h), whose
 * "sent" means nothing; hence every batch carries (session, number) and is
 * acknowledged cumulatively, what is not acknowledged is kept and sent again
 * on the next line when one has broken, and a hole is asked for at once. When
 * the peer stays silent, or is another life of itself, or more was lost than
 * is kept, the pipe goes down, and what was under way in it is void.
 *
 * batch.h draws the batch and holds what can be judged without a clock.
 * Frames gather in one open batch, sealed at 32 KB or at the end of the
 * loop's turn, when no more than BUS_WINDOW are under way; a lone frame so
 * leaves at once, and under load batches grow by themselves.
 *
 * Threads: the loop's. Callbacks run on the loop, never inside a call. */
#ifndef TOUCHLINE_PROTO_PIPE_H
#define TOUCHLINE_PROTO_PIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "base/loop.h"
#include "base/slice.h"

enum {
    PIPE_BATCH_BYTES = 32 * 1024, /* an open batch is sealed here */
    PIPE_HEARTBEAT_MS = 1000,
    PIPE_DEAD_MS = 3000, /* silent for so long: down */
    PIPE_GATHER_MS = 10,
};

struct pipe;

/* Why a pipe is down whose peer said goodbye. */
#define PIPE_PEER_LEFT "the peer has left"

struct pipe_ops {
    /* One frame; body borrows until return. Anything but 0 takes the pipe
     * down, as the peer's fault, or as ours with ERR_NOMEM. */
    int (*frame)(void *ctx, uint8_t code, struct slice body);
    /* After a batch's frames, and for heartbeats: the header's seq. */
    void (*batch_end)(void *ctx, uint64_t seq);
    /* Up: a fresh stream, nothing said yet. Down: nothing more will come; also
     * without an up() before it, when the peer never came. */
    void (*up)(void *ctx);
    void (*down)(void *ctx, const char *why);
    /* The queue has fallen below half of its limit again. */
    void (*drained)(void *ctx);
    /* May a frame of this code wait for others? When one of such has been sent,
     * those that follow within PIPE_GATHER_MS leave together, with the next frame
     * that may not wait, or when the batch is full. So under load they gather, and
     * one alone does not wait. NULL: none may. */
    bool (*gathers)(void *ctx, uint8_t code);
};

struct pipe_limits {
    size_t batch; /* receive at most so many bytes at once (link_batch) */
    size_t queue; /* queued and unacknowledged bytes (link_queue) */
};

/* Begins a frame and returns where its body goes; pipe_frame_end() closes it.
 * Nothing else may be called on the pipe in between. On a pipe that is down
 * the bytes go nowhere. A frame is never refused: who fans out asks
 * pipe_full() first. */
struct buf *pipe_frame(struct pipe *p, uint8_t code);
void pipe_frame_end(struct pipe *p);
/* While held, frames stay together in one batch beyond PIPE_BATCH_BYTES, up
 * to the limit: the peer then gets them in one turn of its loop. */
void pipe_hold(struct pipe *p, bool held);
/* The seq that batches sealed from now on carry (router's end only). */
void pipe_set_seq(struct pipe *p, uint64_t seq);

bool pipe_is_up(const struct pipe *p);
size_t pipe_queued(const struct pipe *p); /* bytes not acknowledged yet */
bool pipe_full(const struct pipe *p);     /* queued >= limits.queue */
/* Stops and restarts taking from the peer (back-pressure); what it says of
 * our own batches is not heard either. Nests not. */
void pipe_pause(struct pipe *p, bool paused);
/* Takes the pipe down from this side; down() is called from the loop. */
void pipe_break(struct pipe *p, const char *why);
/* Seals, sends, and waits for the acknowledgement at most ms: for a clean
 * shutdown. What comes in meanwhile is put off until the peer sends it again. */
void pipe_flush(struct pipe *p, int ms);
/* The peer is told, if it can be. No callback any more. NULL is fine. */
void pipe_free(struct pipe *p);

struct pipe_figures {
    uint64_t batches_out, batches_in, frames_out, frames_in, bytes_out,
        bytes_in, resent, holes, reconnects, duplicates,
        rejected; /* what was no batch of this link */
};
void pipe_figures(const struct pipe *p, struct pipe_figures *ret);

/* ---- how a pipe comes to its line: for rendezvous.c, tests and benches ---
 *
 * A pipe is down until it listens or dials, and up when the other end's first
 * batch with the same session has come. When its line breaks the stream goes
 * on if it is given another line, for the same session, before PIPE_DEAD_MS
 * have passed. A line counts as broken, too, for the end that dialed it, when
 * it has brought nothing 0.5 s after dialing (twice as long each time that
 * this was in vain), or nothing more for 2 s. */
struct bus;
struct pipe_owner {
    void (*line_lost)(void *ctx); /* give it another line, if you can */
    void (*fallen)(void *ctx);    /* down; called behind ops->down */
    void (*freed)(void *ctx);     /* it is of no more use */
};
/* Down, and without ops. Holds the bus. ERR_NOMEM. */
MUST_USE int pipe_new(struct pipe **ret, struct bus *bus,
                      const struct pipe_limits *limits);
void pipe_set_ops(struct pipe *p, const struct pipe_ops *ops, void *ctx);
void pipe_set_owner(struct pipe *p, const struct pipe_owner *o, void *ctx);
/* Another session than the pipe's own starts a fresh stream; then the pipe
 * must be down. The first listens, the second speaks first. Errors as of
 * bus_line_listen(); the pipe is as it was, but without a line. */
MUST_USE int pipe_listen(struct pipe *p, uint64_t session, const char *url);
MUST_USE int pipe_dial(struct pipe *p, uint64_t session, const char *url);
/* Where it listens: the tcp ports, else 0 (as when the line is lost). */
void pipe_ports(const struct pipe *p, unsigned ports[2]);
uint64_t pipe_session(const struct pipe *p); /* 0: down */
/* What another process needs to go on with the stream of this pipe, which is
 * up: for it, a line was lost and another comes. Appended to out, whose failure
 * sticks. Nothing may be said on it behind this, unless the other one does not
 * go on. */
void pipe_freeze(struct pipe *p, struct buf *out);
/* A pipe that is down goes on with that stream; it is up, and has lost its line.
 * ERR_FRAME: that is none; ERR_NOMEM. It is down then. */
MUST_USE int pipe_thaw(struct pipe *p, struct cursor *in);
/* A word on the line, if it has room, so that the peer does not take us for
 * dead: where the loop cannot turn. */
void pipe_beat(struct pipe *p);
/* Lets go of the line without a word: another process goes on with the stream.
 * Only pipe_free() may follow. */
void pipe_part(struct pipe *p);
/* pipe_break() with down() called before it returns. */
void pipe_fall(struct pipe *p, const char *why);

#endif
