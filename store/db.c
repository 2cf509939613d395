#include "store/db.h"

#include <errno.h>
#include <stdarg.h>
#include <time.h>

#include "base/err.h"
#include "store/walfile.h"

static const char *const settings[] = {
    [DB_WRITER] = "PRAGMA synchronous = NORMAL;"
                  "PRAGMA wal_autocheckpoint = 0;"
                  "PRAGMA journal_size_limit = 67108864;"
                  "PRAGMA cache_size = -65536;"
                  "PRAGMA secure_delete = OFF;"
                  "PRAGMA temp_store = MEMORY;"
                  "PRAGMA trusted_schema = OFF",
    [DB_READER] = "PRAGMA query_only = ON;"
                  "PRAGMA cache_size = -4096;"
                  "PRAGMA temp_store = MEMORY;"
                  "PRAGMA trusted_schema = OFF",
};

int db_open(sqlite3 **ret, const char *path, enum db_role role, int busy_ms)
{
    int flags = role == DB_WRITER ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                  : SQLITE_OPEN_READONLY;
    const char *vfs = role == DB_WRITER ? walfile_vfs() : NULL;
    sqlite3 *conn = NULL;
    int rc = ERR_IO;

    if (role == DB_WRITER && !vfs)
        return ERR_NOMEM;
    if (sqlite3_open_v2(path, &conn, flags | SQLITE_OPEN_NOMUTEX, vfs)) {
        rc = conn ? db_error(conn) : ERR_NOMEM;
        goto fail;
    }
    sqlite3_extended_result_codes(conn, 1);
    sqlite3_busy_timeout(conn, busy_ms);
    if (sqlite3_db_config(conn, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL))
        goto fail;
    rc = db_exec(conn, settings[role]);
    if (rc < 0)
        goto fail;
    *ret = conn;
    return 0;
fail:
    db_close(conn);
    return rc;
}

void db_close(sqlite3 *conn)
{
    sqlite3_close_v2(conn);
}

static int file_errno(sqlite3 *conn, int which)
{
    sqlite3_file *file = NULL;
    int ret = 0;

    sqlite3_file_control(conn, "main", which, &file);
    if (file && file->pMethods)
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &ret);
    return ret;
}

static bool means_full(int saved_errno)
{
    return saved_errno == ENOSPC || saved_errno == EDQUOT
           || saved_errno == EFBIG;
}

/* SQLite takes ENOSPC from a write for a full disk; to us it is one also from
 * a sync, and so are a quota and a limit on the size of files. After such an
 * error the connection is given up, so what the files remember is new. */
static int io_error(sqlite3 *conn)
{
    return means_full(file_errno(conn, SQLITE_FCNTL_JOURNAL_POINTER))
                   || means_full(file_errno(conn, SQLITE_FCNTL_FILE_POINTER))
                   || means_full(sqlite3_system_errno(conn))
               ? ERR_FULL : ERR_IO;
}

int db_error(sqlite3 *conn)
{
    switch (sqlite3_errcode(conn) & 0xff) {
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT: /* we look first: what is there cannot be */
        return ERR_DAMAGED;
    case SQLITE_INTERRUPT:
        return ERR_AGAIN;
    default:
        return sqlite3_errcode(conn) == SQLITE_IOERR_NOMEM ? ERR_NOMEM
                                                           : io_error(conn);
    }
}

int db_exec(sqlite3 *conn, const char *sql)
{
    return sqlite3_exec(conn, sql, NULL, NULL, NULL) ? db_error(conn) : 0;
}

int db_execf(sqlite3 *conn, const char *fmt, ...)
{
    va_list args;
    char *sql;
    int rc = ERR_NOMEM;

    va_start(args, fmt);
    sql = sqlite3_vmprintf(fmt, args);
    va_end(args);
    if (sql)
        rc = db_exec(conn, sql);
    sqlite3_free(sql);
    return rc;
}

void db_rollback(sqlite3 *conn)
{
    /* Some failures have rolled back already; then there is nothing to do,
     * and whatever goes wrong here shows up at the next BEGIN. */
    if (!sqlite3_get_autocommit(conn))
        sqlite3_exec(conn, "ROLLBACK", NULL, NULL, NULL);
}

int db_int(sqlite3 *conn, const char *sql, int64_t *ret)
{
    sqlite3_stmt *s = NULL;
    int rc;

    if (sqlite3_prepare_v2(conn, sql, -1, &s, NULL))
        return db_error(conn);
    rc = db_step(s);
    if (rc > 0)
        *ret = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return rc > 0 ? 0 : rc < 0 ? rc : ERR_NOT_FOUND;
}

int db_prepare(sqlite3 *conn, const char *const *sql, sqlite3_stmt **ret,
               size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (sqlite3_prepare_v3(conn, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &ret[i], NULL))
            return db_error(conn);
    return 0;
}

void db_finalize(sqlite3_stmt **statements, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sqlite3_finalize(statements[i]);
        statements[i] = NULL;
    }
}

int db_step(sqlite3_stmt *s)
{
    int step = sqlite3_step(s);
    int rc = 0;

    if (step == SQLITE_ROW)
        return 1;
    if (step != SQLITE_DONE)
        rc = db_error(sqlite3_db_handle(s));
    sqlite3_reset(s);
    return rc;
}

int db_run(sqlite3_stmt *s)
{
    int rc = db_step(s);

    if (rc > 0)
        sqlite3_reset(s);
    return rc < 0 ? rc : 0;
}

/* Binding fails only for a wrong index, or for lack of memory with bytes that
 * are copied; ours are borrowed. */
void db_bind_i64(sqlite3_stmt *s, int i, int64_t v)
{
    sqlite3_bind_int64(s, i, v);
}

void db_bind_u64(sqlite3_stmt *s, int i, uint64_t v)
{
    sqlite3_bind_int64(s, i, (int64_t)v);
}

void db_bind_blob(sqlite3_stmt *s, int i, struct slice v)
{
    if (v.len)
        sqlite3_bind_blob64(s, i, v.ptr, v.len, SQLITE_STATIC);
    else
        sqlite3_bind_null(s, i);
}

void db_bind_text(sqlite3_stmt *s, int i, struct slice v)
{
    sqlite3_bind_text64(s, i, v.len ? (const char *)v.ptr : "", v.len,
                        SQLITE_STATIC, SQLITE_UTF8);
}

uint64_t db_u64(sqlite3_stmt *s, int i)
{
    return (uint64_t)sqlite3_column_int64(s, i);
}

int64_t db_i64(sqlite3_stmt *s, int i)
{
    return sqlite3_column_int64(s, i);
}

struct slice db_bytes(sqlite3_stmt *s, int i)
{
    /* The bytes first: asking for them may convert the column. */
    const void *ptr = sqlite3_column_blob(s, i);

    return slice_make(ptr, (size_t)sqlite3_column_bytes(s, i));
}

int64_t db_work_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}
