/* writer.h - appends batches: one thread, one transaction per batch.
 * path: msg > publish > [store] > table > repeater > link > bus > gateway >
 *       edge > conn
 *
 *     loop thread                       writer thread
 *     writer_submit(batch)  ------->    number, insert, commit
 *     batch->done(batch)    <-------    (eventfd)
 *
 * At most one batch is in flight: whoever has more to store collects it and
 * submits it from done(). So load makes the batches, no timer does, and a lone
 * message is committed at once.
 *
 * Numbers become real with the commit: a failed batch takes none and leaves
 * the store as it was. The next batch tries again; nothing has to be reset
 * after a full disk, a foreign lock or an I/O error. Entries that are not
 * stored get their numbers whatever the disk says.
 *
 * Between batches the thread checkpoints, trims, forgets, backs up: in steps
 * of about two milliseconds that end when a batch arrives.
 *
 * Threads: all functions belong to the loop thread; all callbacks run on it. */
#ifndef TOUCHLINE_STORE_WRITER_H
#define TOUCHLINE_STORE_WRITER_H

#include "base/loop.h"
#include "store/history.h"

/* One publication of a batch. The bytes stay the caller's and must stay alive
 * and unchanged until done(). */
struct entry {
    struct record rec;  /* in: everything but seq and offset */
    bool stored;        /* else: numbered in passing, kept nowhere */
    bool sync;          /* the batch is synced to disk before done() */
    bool judged;        /* by what stands behind the judged ones in front of it,
                           a stored one: where one of these is not taken, it is
                           not, either: ERR_AGAIN */
    struct slice idem;  /* idempotency key; empty: none */
    uint64_t body_hash; /* of the body under idem */
    uint32_t reached;   /* kept with idem for whoever repeats it */
    bool has_state;     /* replace the record that a type keeps for this id */
    struct slice state; /* by this one, as of rec.offset; stored entries only */
    void *user;         /* the caller's */

    /* Out. 0: rec.seq and rec.offset are set. ERR_EXISTS: a repeat; seq,
     * offset, ts_ms and reached are those of the first, first_epoch its epoch,
     * nothing was stored. ERR_CONFLICT: the key was used with another body. Else why
     * it was not stored (history.h); no numbers. */
    int rc;
    char first_epoch[EPOCH_SIZE];
};

struct batch {
    struct entry *entries;
    size_t count;
    void (*done)(struct batch *b);
    void *user;
    int rc; /* out: 0, or why the transaction failed */
    int64_t begun_ns, ended_ns; /* out: of its transaction, CLOCK_MONOTONIC */
};

/* Told on the loop thread. Any of them may be NULL. */
struct writer_hooks {
    /* Messages of this id up to these numbers are gone. */
    void (*trimmed)(void *arg, const struct id_record *now);
    /* When was somebody last logged in to this id? Unix ms, now for "still
     * is". Asked of ids without history before they are forgotten. */
    int64_t (*last_used)(void *arg, struct slice id);
    /* The id is forgotten, and this is how far that goes now: as of
     * history_forgotten(). Said before the done() of any batch that was
     * submitted later. */
    void (*forgotten)(void *arg, struct slice id, struct forgotten now);
    void *arg;
};

struct writer;

/* Starts the thread and, on 0, takes h: writer_free() closes it. ERR_NOMEM,
 * ERR_IO. */
MUST_USE int writer_new(struct writer **ret, struct history *h,
                        struct loop *loop, const struct writer_hooks *hooks);

/* Waits for the batch in flight, calls its done(), stops the thread at the
 * next step, closes the store cleanly. NULL is fine. */
void writer_free(struct writer *w);

/* Takes b until done(). 0: in flight. WRITER_AT_ONCE: everything in it was
 * numbered here and now (nothing to store and nothing in flight); done() is
 * not called. ERR_BUSY: one is in flight, nothing happened.
 * Entries are numbered in their order; seqs are dense within the batch. */
enum { WRITER_AT_ONCE = 1 };
MUST_USE int writer_submit(struct writer *w, struct batch *b);
bool writer_busy(const struct writer *w);

/* The last seq given to anything, stored or not, as of the last done(). */
uint64_t writer_last_seq(const struct writer *w);
const char *writer_epoch(const struct writer *w);

/* The publication under a key with this seq has reached another number than
 * was said with its entry. Written behind what is under way; should that fail
 * the number stays as it was, which the log says. */
void writer_set_reached(struct writer *w, uint64_t seq, uint32_t reached);

/* An id that is not stored is no longer in use: its counter is dropped. Should
 * it return in this life it goes on above every offset so dropped. */
void writer_drop_counter(struct writer *w, struct slice id);

/* Called with 0 or an error when the work is done. */
typedef void writer_done_fn(void *arg, int rc);

/* The policy of the store has this argument from now on (history.h), for those
 * who are not kept in memory step by step; done when nobody reads the one
 * before any more. ERR_CLOSED, ERR_NOMEM. */
MUST_USE int writer_set_policy(struct writer *w, void *policy_arg,
                               writer_done_fn *fn, void *arg);

/* Makes a new epoch, in front of the next batch. */
MUST_USE int writer_new_epoch(struct writer *w, writer_done_fn *fn, void *arg);

/* Notes who is where: changes as of present_change(), copied. Behind what is
 * under way; nobody need wait for it. ERR_CLOSED, ERR_NOMEM. */
MUST_USE int writer_present(struct writer *w, struct slice changes,
                            writer_done_fn *fn, void *arg);

/* Does the thread live? It says so behind what is under way. ERR_CLOSED,
 * ERR_NOMEM. */
MUST_USE int writer_probe(struct writer *w, writer_done_fn *fn, void *arg);

/* A consistent copy of the store in file, while everything goes on; file
 * appears whole or not at all. ERR_EXISTS: file is there. ERR_DENIED: not
 * for this process to write. ERR_BUSY: another backup is running. */
MUST_USE int writer_backup(struct writer *w, const char *file,
                           writer_done_fn *fn, void *arg);

/* Figures since the start; any time, cheap, each exact by itself. */
struct writer_figures {
    uint64_t commits, rows, syncs, failures, duplicates;
    uint64_t trimmed, forgotten, checkpoints;
    uint64_t untrimmed;       /* ids passed by, their rows being damaged */
    uint64_t wal_bytes;       /* now */
    uint64_t database_bytes;  /* a second ago at most, while anything is */
    uint64_t free_bytes;      /* done: of the file, on its disk */
    uint64_t reopened, reopen_failed; /* after an error of the disk */
    uint64_t slowest_commit_us;
    int last_error;           /* of the newest failure; 0 after a success */
};
void writer_figures(const struct writer *w, struct writer_figures *ret);
/* Nothing above this seq has been trimmed in this life, as far as anybody can
 * have read. Any time; 0: nothing at all. */
uint64_t writer_trimmed_seq(const struct writer *w);

/* Bytes that SQLite has, of all connections of the process. */
size_t writer_memory(void);

#endif
