/* core.h - the inside of struct history: one connection and what it knows.
 * Threads: the opener's until writer_new(), then the writer's. */
#ifndef TOUCHLINE_STORE_CORE_H
#define TOUCHLINE_STORE_CORE_H

#include "store/db.h"
#include "store/guard.h"
#include "store/history.h"
#include "store/ids.h"
#include "store/meta.h"
#include "store/row.h"
#include "store/skip.h"

enum {
    MARK_AHEAD = 1 << 20,        /* how far the mark stands ahead */
    MARK_LOW = MARK_AHEAD / 2,   /* it is moved when so few are left */
    KEY_KEEP_MS = 10 * 60 * 1000 /* least life of an idempotency key */
};
#define SEQ_MAX ((UINT64_C(1) << 53) - 1)
/* A mark above this leaves no room: neither it nor a seq can be ours. */
#define MARK_MAX (SEQ_MAX - MARK_AHEAD)
#define FORGET_MS (INT64_C(7) * 24 * 3600 * 1000)

#define ID_COLUMNS \
    "idn, id, last_offset, last_seq, trimmed_offset, trimmed_seq, count, " \
    "bytes, oldest_ms, due_ms, sum"

/* name, SQL */
#define STATEMENTS(X) \
    X(BEGIN, "BEGIN IMMEDIATE") \
    X(COMMIT, "COMMIT") \
    X(LOG_ADD, ROW_INSERT) \
    X(LOG_OLDEST, "SELECT seq, offset, ts_ms, size, keyed FROM log " \
                  "WHERE idn = ?1 ORDER BY seq LIMIT ?2") \
    X(LOG_DROP, "DELETE FROM log WHERE seq = ?1") \
    X(ID_GET, "SELECT " ID_COLUMNS " FROM ids WHERE id = ?1") \
    X(ID_DUE, "SELECT id, due_ms, idn FROM ids WHERE due_ms IS NOT NULL " \
              "ORDER BY due_ms LIMIT ?1") \
    X(ID_NOT_DUE, "UPDATE ids SET due_ms = NULL WHERE idn = ?1") \
    X(ID_AFTER, "SELECT " ID_COLUMNS " FROM ids WHERE idn > ?1 " \
                "ORDER BY idn LIMIT ?2") \
    X(ID_ADD, "INSERT INTO ids (" ID_COLUMNS ") " \
              "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)") \
    X(ID_SET, "UPDATE ids SET last_offset = ?3, last_seq = ?4, count = ?7, " \
              "bytes = ?8, sum = ?11 WHERE idn = ?1") \
    X(ID_SET_ALL, "UPDATE ids SET last_offset = ?3, last_seq = ?4, " \
                  "trimmed_offset = ?5, trimmed_seq = ?6, count = ?7, " \
                  "bytes = ?8, oldest_ms = ?9, due_ms = ?10, sum = ?11 " \
                  "WHERE idn = ?1") \
    X(ID_DROP, "DELETE FROM ids WHERE idn = ?1") \
    X(STATE_SET, "INSERT OR REPLACE INTO states (idn, offset, state, sum) " \
                 "VALUES (?1,?2,?3,?4)") \
    X(STATE_DROP, "DELETE FROM states WHERE idn = ?1") \
    X(KEY_GET, "SELECT seq, offset, ts_ms, body_hash, reached FROM keys " \
               "WHERE id = ?1 AND key = ?2") \
    X(KEY_ADD, "INSERT INTO keys (id, key, seq, offset, ts_ms, body_hash, " \
               "due_ms, reached) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)") \
    X(KEY_REACHED, "UPDATE keys SET reached = ?2 WHERE seq = ?1") \
    X(KEY_SET_DUE, "UPDATE keys SET due_ms = ?2 WHERE seq = ?1") \
    X(KEYS_DUE, "DELETE FROM keys WHERE (id, key) IN (SELECT id, key " \
                "FROM keys WHERE due_ms <= ?1 ORDER BY due_ms LIMIT ?2)") \
    X(KEY_NEXT, "SELECT min(due_ms) FROM keys WHERE due_ms IS NOT NULL") \
    X(KEY_LAST, "SELECT max(due_ms) FROM keys WHERE due_ms IS NOT NULL") \
    X(PRESENT_ADD, "INSERT OR REPLACE INTO present (id, name, sum) " \
                   "VALUES (?1,?2,?3)") \
    X(PRESENT_DROP, "DELETE FROM present WHERE id = ?1 AND name = ?2") \
    X(EPOCH_OF, EPOCH_AT)

#define AS_STATEMENT(name, sql) ST_##name,
enum statement { STATEMENTS(AS_STATEMENT) ST_COUNT };

struct history {
    struct history_options opt; /* path: our copy */
    sqlite3 *conn;              /* NULL: has to be opened again */
    sqlite3_stmt *st[ST_COUNT];
    struct guard guard;
    struct meta meta;           /* as committed */
    char epoch[EPOCH_SIZE];
    uint64_t first_seq;         /* of this life */
    uint64_t last_seq;          /* last one given to anything; see append.h */
    uint64_t last_stored;       /* last one committed */
    uint64_t last_unsure;       /* last one of a commit that failed, and may be
                                   on the disk all the same */
    bool full_sync;             /* the connection's setting now */
    bool had_wal;               /* when it was opened */
    bool impatient;             /* somebody held the lock the last time */
    bool only_trim;             /* the disk is full: what room there is, is
                                   for trimming, and nothing is stored */
    unsigned wal_pages;         /* in the WAL after the last commit */
    int64_t key_ms;             /* history_key_now() when run_ms() is 0 */
    struct ahead *ahead;        /* the writer's */
    struct {
        int64_t not_before_ns, wait_ns; /* 0: at once */
        int rc;                         /* why it failed the last time */
        uint64_t done, failed;
    } reopening;
    struct ids ids;
    struct skip skip;           /* damaged: not trimmed in this life */
};

static inline int64_t history_now(const struct history *h)
{
    return h->opt.wall_ms();
}

/* Milliseconds by which keys get old: they go on while the store is open, whatever
 * is done to clocks. Who sends something again must find its key, or it is stored
 * twice. */
static inline int64_t history_key_now(const struct history *h)
{
    return h->key_ms + h->opt.run_ms();
}

/* Opens the connection again after an error that left it in doubt, and proves
 * that it can write, behind nothing that a failed sync left unwritten. The file
 * must still be the one we opened. When that fails the disk is left alone for
 * 0.1 s, doubling to 5 s, and the answer meanwhile is the same error; a full
 * one is tried each time, for room may have been made. */
MUST_USE int history_reopen(struct history *h);
void history_disconnect(struct history *h);

/* Begins, commits; sync: the disk has it when this returns 0. A failed commit
 * is rolled back, caches included. */
MUST_USE int history_begin(struct history *h, bool sync);
MUST_USE int history_commit(struct history *h);
void history_rollback(struct history *h);
/* Has the last call met a page that is none? SQLite takes no write any more
 * until the transaction is rolled back. */
bool history_met_damage(const struct history *h);

/* Is it time to move the mark, before so many seqs are given out? */
bool history_mark_low(const struct history *h, uint64_t need);
/* Moves it, within a transaction that is begun with sync. On failure of that
 * the caller puts back meta.mark. ERR_FULL: so many numbers are not left. */
MUST_USE int history_mark_move(struct history *h, uint64_t need);
/* Moves it in the guard alone, when the disk takes no transaction. */
MUST_USE int history_mark_guard(struct history *h);

/* The sum column of states. */
uint64_t history_state_sum(struct slice id, uint64_t offset,
                           struct slice state);

#endif
