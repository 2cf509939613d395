#include "store/walfile.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/t/t.h"

/* Writes of this process, also SQLite's; they fail from fail_at on. */
static long writes, fail_at = -1;
static int fail_errno = EIO;

static ssize_t write_at(int fd, const void *bytes, size_t len, off_t at)
{
    if (fail_at >= 0 && writes >= fail_at) {
        errno = fail_errno;
        return -1;
    }
    writes++;
    return syscall(SYS_pwrite64, fd, bytes, len, at);
}

/* Declared by unistd.h. */
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return write_at(fd, bytes, len, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    return write_at(fd, bytes, len, at);
}

static void run(sqlite3 *db, const char *sql)
{
    EXPECT_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static int64_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s;
    int64_t ret;

    EXPECT_INT(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    EXPECT_INT(sqlite3_step(s), SQLITE_ROW);
    ret = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return ret;
}

static sqlite3 *open_db(const char *name, const char *vfs)
{
    sqlite3 *db;

    EXPECT_INT(sqlite3_open_v2(test_path(name), &db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                               vfs), SQLITE_OK);
    run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            "PRAGMA wal_autocheckpoint = 0");
    return db;
}

static const char *const table =
    "CREATE TABLE t (n INTEGER PRIMARY KEY, v BLOB);"
    "WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c "
    "LIMIT 400) INSERT INTO t SELECT n, zeroblob(500) FROM c";

TEST(a_commit_of_several_pages_is_one_write)
{
    sqlite3 *db = open_db("db", walfile_vfs());
    sqlite3 *reader = open_db("db", NULL);
    long before;

    run(db, table);
    before = writes;
    run(db, "UPDATE t SET v = 'x' WHERE n IN (1, 200, 400)");
    EXPECT_INT(writes - before, 1);
    EXPECT_INT(ask(reader, "SELECT count(*) FROM t WHERE v = 'x'"), 3);
    sqlite3_close(reader);
    sqlite3_close(db);
}

TEST(a_commit_whose_write_fails_is_none)
{
    sqlite3 *db = open_db("db", walfile_vfs());
    sqlite3 *reader = open_db("db", NULL);

    run(db, table);
    fail_at = writes;
    EXPECT_INT(sqlite3_exec(db, "UPDATE t SET v = 'x'", NULL, NULL, NULL),
               SQLITE_IOERR);
    fail_at = -1;
    EXPECT_INT(ask(reader, "SELECT count(*) FROM t WHERE v = 'x'"), 0);
    run(db, "UPDATE t SET v = 'y' WHERE n < 100");
    EXPECT_INT(ask(reader, "SELECT count(*) FROM t WHERE v = 'y'"), 99);
    sqlite3_close(reader);
    sqlite3_close(db);
}

/* One of many small changes, so that a little cache spills pages and writes
 * them again within a transaction. */
static void change(sqlite3 *a, sqlite3 *b)
{
    static const char *const sql[] = {
        "UPDATE t SET v = zeroblob(%llu %% 900) WHERE n %% 97 = %llu",
        "UPDATE t SET v = zeroblob(%llu %% 700) WHERE n = %llu",
        "DELETE FROM t WHERE n %% (%llu %% 50 + 50) = %llu",
        "INSERT OR REPLACE INTO t VALUES (1000 + %llu %% 999, %llu)",
    };
    unsigned long long r = test_random() % 1000, q = test_random() % 97;
    char text[200];

    snprintf(text, sizeof text, sql[r % 4], r, q);
    run(a, text);
    run(b, text);
}

static int64_t digest(sqlite3 *db)
{
    return ask(db, "SELECT total(n * length(v)) + count(*) FROM t");
}

/* Against the same done through SQLite's own files. */
TEST(whatever_is_written_is_read_back_as_it_was)
{
    sqlite3 *db = open_db("db", walfile_vfs()), *like = open_db("like", NULL);
    sqlite3 *reader = open_db("db", NULL);

    run(db, table);
    run(like, table);
    run(db, "PRAGMA cache_size = 8");
    for (int round = 0; round < 120; round++) {
        const char *end = test_random() % 4 ? "COMMIT" : "ROLLBACK";

        run(db, "BEGIN");
        run(like, "BEGIN");
        for (uint64_t i = test_random() % 60; i > 0; i--)
            change(db, like);
        EXPECT_INT(digest(db), digest(like));
        run(db, end);
        run(like, end);
        EXPECT_INT(digest(reader), digest(like));
        if (test_random() % 10 == 0)
            run(db, "PRAGMA wal_checkpoint(RESTART)");
        if (test_random() % 20 == 0)
            run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
        if (test_random() % 10 == 0) {
            sqlite3_close(db);
            db = open_db("db", walfile_vfs());
            run(db, "PRAGMA cache_size = 8");
        }
    }
    EXPECT_INT(ask(db, "SELECT count(*) FROM pragma_integrity_check "
                       "WHERE integrity_check = 'ok'"), 1);
    sqlite3_close(reader);
    sqlite3_close(db);
    sqlite3_close(like);
}

/* A full disk fails a statement and not its transaction: what the statements
 * before have spilled into the WAL, unseen by anybody, must not be missing. */
TEST(a_transaction_whose_pages_found_no_room_is_not_committed)
{
    sqlite3 *db = open_db("db", walfile_vfs());
    int failed = 0;

    run(db, table);
    run(db, "PRAGMA cache_size = 8; PRAGMA temp_store = MEMORY");
    fail_errno = ENOSPC;
    for (int more = 0; more < 200; more++) {
        bool full;

        run(db, "BEGIN; UPDATE t SET v = zeroblob(600) WHERE n < 100");
        for (int i = 0; i < more; i++)
            run(db, "UPDATE t SET v = zeroblob(500) WHERE n = abs(random()) "
                    "% 200");
        fail_at = writes;
        full = sqlite3_exec(db, "INSERT INTO t SELECT n + 9999, v FROM t "
                            "WHERE n < 90", NULL, NULL, NULL) != SQLITE_OK;
        fail_at = -1;
        failed += full;
        if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK
            && !sqlite3_get_autocommit(db))
            run(db, "ROLLBACK");
        run(db, "DELETE FROM t WHERE n > 9999");
        EXPECT_INT(ask(db, "SELECT count(*) FROM pragma_integrity_check "
                           "WHERE integrity_check = 'ok'"), 1);
    }
    EXPECT(failed > 0);
    sqlite3_close(db);
}
