/* ahead.h - syncs of a checkpoint, made by a thread of its own.
 *
 * A checkpoint of SQLite syncs the WAL, copies its pages into the database and
 * syncs that, and whoever commits through the same connection waits for all
 * three: tens of milliseconds on a disk that is not fast. Here a checkpoint goes in
 * pieces, of which the connection's thread does the copying only:
 *
 *   1. ahead_begin() marks what is in the WAL now with a reader of its own;
 *      the thread syncs the WAL. Commits go on behind the mark.
 *   2. When it is AHEAD_SYNCED, and something has been committed behind the
 *      mark, a passive checkpoint copies up to there. SQLite does not sync the
 *      database then, as the WAL still holds all of it; and its sync of the WAL
 *      is left out (walfile_skip_sync()), for the thread has made it.
 *   3. ahead_copied() lifts the mark; the thread syncs the database.
 *
 * What remains for a whole checkpoint, which lets the WAL begin anew, is little,
 * and so are its syncs. The order on the disk is SQLite's: no page is copied
 * before the WAL that holds it is synced, and the WAL does not begin anew
 * before the database is, by SQLite's own sync.
 *
 * Threads: all calls from the connection's. Cost of a mark: opening the WAL, and
 * a statement of the reader. */
#ifndef TOUCHLINE_STORE_AHEAD_H
#define TOUCHLINE_STORE_AHEAD_H

#include <sqlite3.h>

#include "base/base.h"

struct ahead;

enum ahead_state {
    AHEAD_RESTS,
    AHEAD_SYNCING, /* a file; come back later */
    AHEAD_SYNCED,  /* the WAL, up to the mark */
};

/* path: of the database, copied. Starts the thread. ERR_NOMEM. */
MUST_USE int ahead_new(struct ahead **ret, const char *path);
/* Waits for a sync that is under way. NULL is fine. */
void ahead_free(struct ahead *a);

/* ERR_IO or ERR_FULL, and errno: a sync failed, told once. Then nothing is
 * known of what this connection has written (walfile_rewrite()). */
MUST_USE int ahead_state(struct ahead *a);
/* When it rests, and frames in the WAL are not copied yet. Fails if the mark
 * cannot be set: ERR_BUSY, ERR_NOMEM, ERR_IO; nothing has happened then. */
MUST_USE int ahead_begin(struct ahead *a, sqlite3 *conn);
/* Behind AHEAD_SYNCED, whether or not anything was copied. */
void ahead_copied(struct ahead *a);

/* Before a commit that syncs: waits for a sync of the WAL that is under way,
 * which may be what the kernel tells of a failure, and the commit's own need not
 * be told any more. Returns as ahead_rest(), which such a failure calls for; a
 * piece goes on. NULL is fine. */
MUST_USE int ahead_wal(struct ahead *a);

/* Waits for the thread and lifts the mark: before the connection is closed, or
 * checkpoints by itself. Returns what ahead_state() would of a failure, else
 * 0. NULL is fine. */
int ahead_rest(struct ahead *a);

#endif
