/* meta.h - the one row about the store itself, and the list of epochs.
 * Threads: the connection's. */
#ifndef TOUCHLINE_STORE_META_H
#define TOUCHLINE_STORE_META_H

#include "store/db.h"
#include "store/history.h"

enum { BOOT_SIZE = 64 };

struct meta {
    uint64_t mark;
    struct forgotten forgotten;
    uint64_t device, inode;
    char boot[BOOT_SIZE];
    uint64_t life;
    bool clean, backup;
};

/* ERR_NOT_FOUND: a new file. ERR_DAMAGED: the checksum says no; then ret
 * holds what was read. */
MUST_USE int meta_load(sqlite3 *conn, struct meta *ret);

/* Writes the row, within the transaction that is open or one of its own. */
MUST_USE int meta_save(sqlite3 *conn, const struct meta *m);

/* A random name. */
void epoch_draw(char ret[EPOCH_SIZE]);

/* Adds an epoch for all messages after since_seq. */
MUST_USE int epoch_add(sqlite3 *conn, const char *name, uint64_t since_seq,
                       int64_t now_ms, enum epoch_reason why);

/* The newest. ERR_NOT_FOUND; ERR_DAMAGED: not a name. */
MUST_USE int epoch_current(sqlite3 *conn, char ret[EPOCH_SIZE]);

/* The one a message belongs to: statement EPOCH_AT with ?1 = seq. */
#define EPOCH_AT \
    "SELECT name FROM epochs WHERE since_seq < ?1 ORDER BY n DESC LIMIT 1"
MUST_USE int epoch_at(sqlite3_stmt *s, uint64_t seq, char ret[EPOCH_SIZE]);

#endif
