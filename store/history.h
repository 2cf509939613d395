/* history.h - what is kept: the open store, its records, numbers and epoch.
 * path: msg > publish > [store] > table > repeater > link > bus > gateway >
 *       edge > conn
 *
 * One SQLite file (WAL). Exactly one connection writes and checkpoints it: the
 * one inside struct history. Whoever opened the store may use the functions
 * below until writer_new() (writer.h) moves that connection to its thread;
 * reading at run time goes through reader.h. The store never learns what a
 * message is: it keeps records, byte for byte.
 *
 * Numbers. seq is strictly increasing over all ids and never given out twice:
 * a mark, synced to disk, stands up to 2^20 ahead of the last seq used and a
 * start goes on at the mark. An offset counts within its id, densely from 1,
 * or from one above the highest offset of any id ever forgotten. Both stay
 * below 2^53.
 *
 * Epoch. The random name of the store's history: 10 characters of a-z0-9. A
 * start makes a new one when continuity cannot be proven, see enum below.
 *
 * Errors of every function here and in writer.h and reader.h: ERR_FULL (no
 * space), ERR_BUSY (another process holds the lock), ERR_IO, ERR_DAMAGED,
 * ERR_NOMEM, and what is said at the function. */
#ifndef TOUCHLINE_STORE_HISTORY_H
#define TOUCHLINE_STORE_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/buf.h"

enum {
    EPOCH_LEN = 10,
    EPOCH_SIZE = EPOCH_LEN + 1, /* with the final NUL */
};

/* One stored message. Slices may be empty: empty and absent are the same. */
struct record {
    struct slice id;
    uint64_t seq, offset; /* given by the store at the commit */
    int64_t ts_ms;        /* Unix milliseconds UTC, given by the caller */
    uint8_t format;       /* the caller's; kept and given back */
    uint8_t flags;        /* likewise */
    struct slice from, kind, key, data;
    uint64_t session, number; /* name of the publication; session 0: none */
};

/* What history counts against max_bytes: the bytes of from, kind, key, data. */
size_t record_bytes(const struct record *r);

/* What the store remembers of an id that had history. */
struct id_record {
    struct slice id;
    uint64_t last_offset, last_seq;       /* of its newest message ever */
    uint64_t trimmed_offset, trimmed_seq; /* of the newest one deleted; or 0 */
    uint64_t count, bytes;                /* kept now */
    bool damaged; /* in a list: nothing but its name can be read */
};

/* The highest numbers of any id that was ever forgotten; or 0. An id that the
 * store does not know may be one of them. */
struct forgotten {
    uint64_t offset, seq;
};

/* How much of an id is kept; 0 is no limit. */
struct keep {
    uint64_t max_count;
    int64_t max_age_ms;
    uint64_t max_bytes;
};

/* Answers for any id. Called on the opener's and the writer's thread, so it
 * must depend on nothing that changes while the store is open. */
typedef struct keep history_policy(void *arg, struct slice id);

struct history_options {
    const char *path;       /* the database file; its folder must exist */
    history_policy *policy; /* NULL: everything is kept */
    void *policy_arg;
    int check_ms;           /* longest start-up check of the file; 0: none */
    int busy_ms;            /* longest wait for a foreign lock */
    uint64_t max_size;      /* bytes the file may grow to; 0: the disk's end */
    uint64_t wal_size;      /* bytes of a WAL that is cut; 0: 64 MB */
    uint64_t ballast;       /* bytes kept for trimming on a full disk; or 0 */
    /* Names the running boot (NUL-ended, at most 63 bytes); NULL: the
     * kernel's boot_id. When it returns an error every start is a new boot. */
    int (*boot_id)(char out[64]);
    /* Unix milliseconds for the age of messages; NULL: clock_wall_ms(). */
    int64_t (*wall_ms)(void);
    /* Milliseconds that nobody sets, for the age of keys; NULL: clock_ns(). */
    int64_t (*run_ms)(void);
};

enum history_check {
    CHECK_NONE,    /* not asked for, or nothing to check */
    CHECK_GOOD,    /* SQLite's quick_check, to the end */
    CHECK_PARTIAL, /* ran out of check_ms, good so far */
    CHECK_BAD      /* damage found: see text; what is readable is served */
};

/* Why a new epoch was made. */
enum epoch_reason {
    EPOCH_SAME,     /* none was: the history goes on */
    EPOCH_NEW,      /* the file is new */
    EPOCH_COPIED,   /* another file than the one last written to, or not as we
                       left it: an old copy, or its WAL is gone */
    EPOCH_RESTORED, /* a backup */
    EPOCH_BOOT,     /* another boot, without a clean close before */
    EPOCH_MARK,     /* a seq above the mark */
    EPOCH_DAMAGED,  /* rows that the numbers follow from were damaged */
    EPOCH_ASKED     /* history_new_epoch(), writer_new_epoch() */
};
const char *epoch_reason_name(enum epoch_reason why);

/* What history_open() found. Filled on success and on failure. */
struct history_report {
    enum history_check check;
    enum epoch_reason why;
    bool clean;           /* it had been closed, not killed */
    uint64_t damaged_ids; /* id or state rows that had to be rebuilt */
    char text[256];       /* failure or damage in one plain sentence, or "" */
};

struct history;

/* Opens or creates, migrates, checks, decides about the epoch, moves the mark;
 * all of it synced before it returns. ERR_VERSION: made by a later version.
 * ERR_DAMAGED: not a store of ours, or past reading; nothing was changed.
 * Cost: check_ms, and about a microsecond per known id. */
MUST_USE int history_open(struct history **ret,
                          const struct history_options *opt,
                          struct history_report *report);

/* Looks whether it could be opened, within opt->check_ms, and changes nothing;
 * a store that is in use may be looked at as well. ERR_NOT_FOUND, ERR_VERSION,
 * ERR_DAMAGED, ERR_IO; report->text says why in one plain sentence. */
MUST_USE int history_look(const struct history_options *opt,
                          struct history_report *report);

/* Marks a clean close, checkpoints, closes. NULL is fine. All readers of the
 * file must be gone. */
void history_close(struct history *h);

const char *history_path(const struct history *h);
const char *history_epoch(const struct history *h);
uint64_t history_last_seq(const struct history *h); /* newest stored; or 0 */
uint64_t history_next_seq(const struct history *h); /* first one of this life */
/* An id without an id_record gets its first offset one above this one's, and
 * all up to these numbers counts as trimmed of it. */
struct forgotten history_forgotten(const struct history *h);

/* A new epoch, synced, because others were served more than is here. Before
 * writer_new(); afterwards writer_new_epoch(). */
MUST_USE int history_new_epoch(struct history *h);

/* Calls fn for each id the store knows; slices are valid during the call.
 * A return other than 0 ends the walk and is passed on. */
typedef int history_id_fn(void *arg, const struct id_record *r);
MUST_USE int history_ids(struct history *h, history_id_fn *fn, void *arg);

/* Calls fn for each record a type keeps: (id, state as of offset). One that
 * is damaged is left out: the type then folds the log again. */
typedef int history_state_fn(void *arg, struct slice id, uint64_t offset,
                             struct slice state);
MUST_USE int history_states(struct history *h, history_state_fn *fn,
                            void *arg);

/* Calls fn, newest first, for at most limit messages with a publication name
 * and ts_ms >= since_ms; looks at no more than four times limit messages.
 * Numbers, id and name are given; from, kind, key and data stay empty. */
typedef int history_name_fn(void *arg, const struct record *r);
MUST_USE int history_recent_names(struct history *h, int64_t since_ms,
                                  size_t limit, history_name_fn *fn,
                                  void *arg);

/* Names that are known to be at an id, whoever was told so by writer_present()
 * (writer.h): calls fn for each. One that is damaged is left out. */
typedef int history_present_fn(void *arg, struct slice id, struct slice name);
MUST_USE int history_present(struct history *h, history_present_fn *fn,
                             void *arg);
/* Appends a change for writer_present(): this name, at most 255 bytes, is at
 * id from here on, or is not any more. */
void present_change(struct buf *changes, struct slice id, struct slice name,
                    bool here);
/* The first of these changes: at most so many bytes, but one at least. */
struct slice present_head(struct slice changes, size_t most);

/* Installs a backup as the store at path, which must not be open. What was
 * there stays beside it with the suffix ".before-restore". The next open makes
 * a new epoch. why (may be NULL) gets a plain sentence on failure.
 * ERR_NOT_FOUND, ERR_VERSION, ERR_DAMAGED. */
MUST_USE int history_restore(const char *backup, const char *path,
                             char why[256]);

/* The hash by which two bodies under one idempotency key are told apart. */
uint64_t history_body_hash(struct slice body);

#endif
