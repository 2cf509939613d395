/* db.h - SQLite as the rest of this folder wants it: connections with our
 * settings, errors as ERR_ codes, statements that are always reset.
 * Threads: a connection and its statements belong to one thread at a time. */
#ifndef TOUCHLINE_STORE_DB_H
#define TOUCHLINE_STORE_DB_H

#include <sqlite3.h>

#include "base/base.h"
#include "base/slice.h"

enum db_role { DB_WRITER, DB_READER };

/* Opens path; DB_WRITER creates the file. Nothing in it is touched yet, and
 * its journal mode is as it was. */
MUST_USE int db_open(sqlite3 **ret, const char *path, enum db_role role,
                     int busy_ms);

/* Never checkpoints. NULL is fine. Its statements must be finalized. */
void db_close(sqlite3 *conn);

/* The ERR_ code of the connection's last failure: ERR_FULL, ERR_BUSY,
 * ERR_NOMEM, ERR_DAMAGED (also a constraint that does not hold), ERR_AGAIN
 * (interrupted), else ERR_IO. */
int db_error(sqlite3 *conn);

MUST_USE int db_exec(sqlite3 *conn, const char *sql);
PRINTF_LIKE(2, 3)
MUST_USE int db_execf(sqlite3 *conn, const char *fmt, ...);
void db_rollback(sqlite3 *conn); /* harmless without a transaction */

/* First column of the first row; ERR_NOT_FOUND without one. */
MUST_USE int db_int(sqlite3 *conn, const char *sql, int64_t *ret);

/* Prepares count statements that live long; sql[i] -> ret[i]. On failure
 * those made so far stay in ret for db_finalize(). */
MUST_USE int db_prepare(sqlite3 *conn, const char *const *sql,
                        sqlite3_stmt **ret, size_t count);
void db_finalize(sqlite3_stmt **statements, size_t count);

/* 1: a row is there; 0: no more, and s is reset; or an error, s is reset. */
MUST_USE int db_step(sqlite3_stmt *s);

/* Runs a statement that returns no rows. */
MUST_USE int db_run(sqlite3_stmt *s);

/* Parameters count from 1, columns from 0. Bound bytes are borrowed until the
 * next bind or reset; empty slices become NULL. */
void db_bind_u64(sqlite3_stmt *s, int i, uint64_t v);
void db_bind_i64(sqlite3_stmt *s, int i, int64_t v);
void db_bind_blob(sqlite3_stmt *s, int i, struct slice v);
void db_bind_text(sqlite3_stmt *s, int i, struct slice v);
uint64_t db_u64(sqlite3_stmt *s, int i);
int64_t db_i64(sqlite3_stmt *s, int i);
struct slice db_bytes(sqlite3_stmt *s, int i); /* until the next step */

/* Monotonic nanoseconds that a fake clock does not stop: they bound how long
 * a step of work takes and decide nothing else. */
int64_t db_work_ns(void);

#endif
