#include "store/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "store/file.h"
#include "store/filecheck.h"
#include "store/schema.h"

enum { STEP_PAGES = 256, CHECK_MS = 60 * 1000 };

struct backup {
    struct history *h;
    sqlite3 *from; /* h's connection at the start: it may be replaced */
    sqlite3 *to;
    sqlite3_backup *copy;
    char file[FILE_NAME_SIZE];
    char part[FILE_NAME_SIZE];
};

/* Opens both ends of a copy; the target is made anew. */
static int copy_open(sqlite3 *from, const char *part, sqlite3 **to,
                     sqlite3_backup **copy)
{
    int rc;

    unlink(part);
    rc = db_open(to, part, DB_WRITER, 0);
    if (rc < 0)
        return rc;
    *copy = sqlite3_backup_init(*to, "main", from, "main");
    return *copy ? 0 : db_error(*to);
}

static int copy_step(sqlite3 *to, sqlite3_backup *copy)
{
    switch (sqlite3_backup_step(copy, STEP_PAGES)) {
    case SQLITE_OK:
        return 1;
    case SQLITE_DONE:
        return 0;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    default:
        sqlite3_errcode(to);
        return ERR_IO;
    }
}

/* --- backup --- */

/* SQLite does not say why it cannot open a file. */
static int try_to_write(const char *part)
{
    int fd = open(part, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

    if (fd >= 0) {
        close(fd);
        return 0;
    }
    return errno == EACCES || errno == EPERM || errno == EROFS ? ERR_DENIED
                                                               : ERR_IO;
}

int backup_start(struct backup **ret, struct history *h, const char *file)
{
    struct backup *b;
    int rc;

    if (access(file, F_OK) == 0)
        return ERR_EXISTS;
    if (!h->conn)
        return ERR_IO;
    b = calloc(1, sizeof *b);
    if (!b)
        return ERR_NOMEM;
    b->h = h;
    b->from = h->conn;
    rc = file_name(b->file, file, "");
    if (rc == 0)
        rc = file_name(b->part, file, ".part");
    if (rc == 0)
        rc = try_to_write(b->part);
    if (rc == 0)
        rc = copy_open(b->from, b->part, &b->to, &b->copy);
    if (rc < 0) {
        backup_free(b);
        return rc;
    }
    *ret = b;
    return 0;
}

/* One file without a WAL, marked as a backup, so that opening it in place of
 * the original makes a new epoch. */
static int mark_copy(sqlite3 *to)
{
    struct meta m;
    int rc = meta_load(to, &m);

    if (rc < 0)
        return rc;
    m.backup = true;
    rc = meta_save(to, &m);
    return rc < 0 ? rc : db_exec(to, "PRAGMA journal_mode = DELETE");
}

/* link() and not rename(): a file that came meanwhile is not overwritten. */
static int publish(struct backup *b)
{
    int rc = file_sync(b->part);

    if (rc < 0)
        return rc;
    if (link(b->part, b->file) < 0)
        return errno == EEXIST ? ERR_EXISTS : err_from_errno(errno);
    return file_sync_name(b->file);
}

static int finish(struct backup *b)
{
    int rc = sqlite3_backup_finish(b->copy) ? ERR_IO : 0;

    b->copy = NULL;
    if (rc == 0)
        rc = mark_copy(b->to);
    db_close(b->to);
    b->to = NULL;
    return rc < 0 ? rc : publish(b);
}

int backup_step(struct backup *b)
{
    int rc;

    if (b->h->conn != b->from)
        return ERR_IO;
    rc = copy_step(b->to, b->copy);
    return rc != 0 ? rc : finish(b);
}

void backup_free(struct backup *b)
{
    if (!b)
        return;
    sqlite3_backup_finish(b->copy);
    db_close(b->to);
    if (b->part[0])
        unlink(b->part);
    free(b);
}

/* --- restore --- */

static int refuse(char why[256], int rc, const char *text)
{
    if (!why[0])
        snprintf(why, 256, "%s", text);
    return rc;
}

static int open_backup(sqlite3 **ret, const char *backup, char why[256])
{
    struct meta m;
    int rc;

    if (access(backup, R_OK) < 0) {
        snprintf(why, 256, "the backup cannot be read: %s", strerror(errno));
        return ERR_NOT_FOUND;
    }
    rc = db_open(ret, backup, DB_READER, 0);
    if (rc == 0)
        rc = schema_check(*ret, why);
    if (rc == 0)
        rc = meta_load(*ret, &m);
    if (rc == 0 && filecheck(*ret, CHECK_MS, why) == CHECK_BAD)
        rc = ERR_DAMAGED;
    if (rc == ERR_VERSION)
        return rc;
    return rc == 0 ? 0 : refuse(why, ERR_DAMAGED,
                                "the file is damaged or not a backup; "
                                "`router-ctl backup FILE` makes one");
}

static int copy_all(sqlite3 *from, const char *part)
{
    sqlite3 *to = NULL;
    sqlite3_backup *copy = NULL;
    int rc = copy_open(from, part, &to, &copy);

    if (rc == 0)
        do
            rc = copy_step(to, copy);
        while (rc > 0);
    if (sqlite3_backup_finish(copy) && rc == 0)
        rc = ERR_IO;
    if (rc == 0)
        rc = mark_copy(to);
    db_close(to);
    return rc < 0 ? rc : file_sync(part);
}

static const char aside[] = ".before-restore";

/* What an earlier restore left: its WAL must never meet another file. */
static int clear_aside(const char *path)
{
    static const char *const suffixes[] = { "-wal", "-shm", "" };
    char old[FILE_NAME_SIZE], name[FILE_NAME_SIZE];
    int rc = file_name(old, path, aside);

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(suffixes); i++) {
        rc = file_name(name, old, suffixes[i]);
        if (rc == 0 && unlink(name) < 0 && errno != ENOENT)
            rc = ERR_IO;
    }
    return rc;
}

/* move: rename() or link(). What is not there is no error. */
static int put_aside(const char *path, const char *suffix,
                     int (*move)(const char *, const char *))
{
    char old[FILE_NAME_SIZE], base[FILE_NAME_SIZE], name[FILE_NAME_SIZE];
    int rc = file_name(old, path, suffix);

    if (rc == 0)
        rc = file_name(base, path, aside);
    if (rc == 0)
        rc = file_name(name, base, suffix);
    if (rc == 0 && move(old, name) < 0 && errno != ENOENT)
        rc = err_from_errno(errno);
    return rc;
}

/* What the WAL holds goes into the old file, which then is whole without it. One
 * that cannot be read is no reason to go on without the backup. */
static void bring_home(const char *path)
{
    sqlite3 *conn = NULL;

    if (access(path, F_OK) < 0 || db_open(&conn, path, DB_WRITER, 0) < 0)
        return;
    sqlite3_wal_checkpoint_v2(conn, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
                              NULL);
    db_close(conn);
}

/* The old WAL goes first: it must never meet the new file, so its going is on
 * the disk before that comes. The old file stays in its place until the new
 * one takes it: there is a store at any time. */
static int set_aside(const char *path)
{
    int rc = clear_aside(path);

    if (rc == 0)
        rc = put_aside(path, "-wal", rename);
    if (rc == 0)
        rc = put_aside(path, "-shm", rename);
    if (rc == 0)
        rc = put_aside(path, "", link);
    return rc == 0 ? file_sync_name(path) : rc;
}

static int install(sqlite3 *from, const char *path)
{
    char part[FILE_NAME_SIZE];
    int rc = file_name(part, path, ".part");

    if (rc < 0)
        return rc;
    rc = copy_all(from, part);
    if (rc == 0) {
        bring_home(path);
        rc = set_aside(path);
    }
    if (rc == 0 && rename(part, path) < 0)
        rc = err_from_errno(errno);
    if (rc < 0)
        unlink(part);
    return rc < 0 ? rc : file_sync_name(path);
}

int history_restore(const char *backup, const char *path, char why[256])
{
    char ignored[256];
    struct guard guard = GUARD_INIT;
    sqlite3 *from = NULL;
    int rc;

    why = why ? why : ignored;
    why[0] = '\0';
    rc = guard_open(&guard, path);
    if (rc < 0)
        return refuse(why, rc, rc == ERR_BUSY
                      ? "the store is in use: stop the router first"
                      : "the store's folder cannot be written to");
    rc = open_backup(&from, backup, why);
    if (rc == 0)
        rc = install(from, path);
    db_close(from);
    guard_close(&guard);
    return rc < 0 ? refuse(why, rc, err_text(rc)) : 0;
}
