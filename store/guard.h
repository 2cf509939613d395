/* guard.h - a small file beside the store that knows what the store's own
 * bytes cannot tell: whether they are the ones we wrote last.
 *
 * It is locked while the store is open, so two processes never write one
 * store. It holds the store's life, a number drawn at every open and close: a
 * file copied back over itself keeps its inode but not its life. And it holds
 * a second copy of the mark (history.h): these bytes are allocated once, so
 * the mark can move on when the disk is full. And it notes the last seq that
 * was stored in this life: the store without the guard may be put back as it
 * was earlier in the same life, and then knows less.
 *
 * Two slots of 512 bytes are written in turn, each with a checksum; a torn
 * write leaves the other. A third is the note. Threads: the store's. */
#ifndef TOUCHLINE_STORE_GUARD_H
#define TOUCHLINE_STORE_GUARD_H

#include "base/base.h"

struct guard {
    int fd;            /* -1: closed */
    bool found;        /* there was a valid slot; else the rest is 0 */
    uint64_t number;   /* of writes so far: the higher slot is the newer */
    uint64_t lives[2]; /* the store has one of them */
    uint64_t mark;
    struct {
        uint64_t life, seq; /* seq 0: it says nothing */
    } note;
    bool touched;      /* somebody else has changed the file since */
    bool timed;        /* its file system's clock is ours */
};

/* An unopened guard, harmless to close. */
#define GUARD_INIT { .fd = -1 }

/* Opens or creates <path>-guard, locks it, reads it. ERR_BUSY: another
 * process has it. ERR_IO, ERR_FULL, ERR_NOMEM. What chmod, chown and link do to
 * a file counts as a change. */
MUST_USE int guard_open(struct guard *g, const char *path);
void guard_close(struct guard *g);

/* Writes and syncs; on failure what was there before is still valid. */
MUST_USE int guard_write(struct guard *g, uint64_t life, uint64_t next_life,
                         uint64_t mark);

/* This seq is stored, or, for 0: what is stored may get less from here on. It
 * outlives this process and not the machine: nothing is synced. What cannot be
 * written says less. Cost: two system calls, 1 us. */
void guard_note(struct guard *g, uint64_t life, uint64_t seq);

#endif
