/* walfile.h - SQLite's files, but for one thing: a commit reaches the WAL in
 * one write.
 *
 * SQLite writes each page of a commit with two calls, 24 bytes about the page
 * and the page. This layer of files gathers them and writes the whole when the
 * frame that ends the transaction is complete, before SQLite tells the readers
 * of it; so nobody sees a difference but the clock. A write that fails fails
 * the commit, like one of SQLite's own. Whatever else is asked of the file
 * (reading, syncing, cutting, rewriting) finds everything written.
 *
 * Threads: a file belongs to its connection. */
#ifndef TOUCHLINE_STORE_WALFILE_H
#define TOUCHLINE_STORE_WALFILE_H

#include <sqlite3.h>

#include "base/base.h"

/* The name for sqlite3_open_v2(); NULL when there is no memory. Any thread.
 * Only the connection that writes gains by it. */
const char *walfile_vfs(void);

/* Writes what the WAL of this database holds once more in its place, and the
 * pages that may have been copied from it, and syncs both: conn is a
 * connection to it. After a failed sync the kernel takes for written what is
 * not, and says so once: no later sync means anything before this. No
 * connection may write meanwhile; others may read. ERR_IO, ERR_FULL, and errno
 * is that of the call that failed, if one did; no WAL is no error. Cost: the
 * WAL is read once and written twice. */
MUST_USE int walfile_rewrite(sqlite3 *conn, const char *path);

/* The files of a connection that writes, borrowed until it is closed. ERR_IO
 * when it has no WAL yet. */
MUST_USE int walfile_files(sqlite3 *conn, sqlite3_file **wal,
                           sqlite3_file **db);
/* From now on a sync of the WAL through the connection does nothing, or
 * something again: for a checkpoint of what is on the disk. */
void walfile_skip_sync(sqlite3_file *wal, bool skip);

#endif
