#include "store/walfile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "store/file.h"

/* A frame is a header, whose second word is not 0 in the last one of a
 * transaction, and a page, whose number is its first. */
enum {
    WAL_HEADER = 32,
    FRAME_HEADER = 24,
    END_MARK = 4,
    PAGE = 4096,
    GATHER_MAX = 31 * (FRAME_HEADER + PAGE) /* SQLite writes less than 128 K */
};

struct wal_file {
    sqlite3_file base;
    sqlite3_int64 at;  /* where the gathered bytes belong */
    sqlite3_int64 end; /* of what was written or gathered in this round */
    sqlite3_int64 hole; /* from here on gathered bytes were lost; 0: none */
    int len;
    bool half;         /* a header came, its page is next */
    bool last;         /* and that ends the transaction */
    bool skip_sync;
    uint8_t *bytes;    /* GATHER_MAX */
};

static sqlite3_vfs *below;
static sqlite3_vfs vfs;

/* The file of SQLite's own lies behind ours. */
static sqlite3_file *real(sqlite3_file *f)
{
    return (sqlite3_file *)((struct wal_file *)f + 1);
}

static struct wal_file *wal(sqlite3_file *f)
{
    return (struct wal_file *)f;
}

/* What could not be written is not kept. */
static int flush(sqlite3_file *f)
{
    struct wal_file *w = wal(f);
    int len = w->len, rc;

    if (len == 0)
        return SQLITE_OK;
    w->len = 0;
    w->half = false;
    rc = real(f)->pMethods->xWrite(real(f), w->bytes, len, w->at);
    if (rc != SQLITE_OK)
        w->hole = w->at;
    return rc;
}

/* SQLite was told that the lost bytes are written, and may learn of it from a
 * statement that fails alone: then the transaction must not be committed. It
 * is over, or taken back to where they were not yet, when a frame is appended
 * in front of them. */
static bool is_behind_hole(struct wal_file *w, int len, sqlite3_int64 at)
{
    if (w->hole && (at == 0 || (len == FRAME_HEADER && at <= w->hole)))
        w->hole = 0;
    return w->hole && at >= w->hole;
}

static int write_through(sqlite3_file *f, const void *bytes, int len,
                         sqlite3_int64 at)
{
    int rc = flush(f);

    if (rc == SQLITE_OK)
        rc = real(f)->pMethods->xWrite(real(f), bytes, len, at);
    /* At 0 the WAL begins anew. */
    wal(f)->end = at == 0 ? len : MAX(wal(f)->end, at + len);
    return rc;
}

/* Only what is appended is gathered: a frame that is written over was spilled
 * by this transaction, and may be its last write. */
static bool may_gather(const struct wal_file *w, int len, sqlite3_int64 at)
{
    if (at < w->end || (w->len && at != w->at + w->len)
        || len > GATHER_MAX - w->len)
        return false;
    return w->half ? true : len == FRAME_HEADER && at > 0;
}

static int wal_write(sqlite3_file *f, const void *bytes, int len,
                     sqlite3_int64 at)
{
    struct wal_file *w = wal(f);

    if (is_behind_hole(w, len, at))
        return SQLITE_IOERR_WRITE;
    if (!w->half && len == FRAME_HEADER
        && w->len > GATHER_MAX - FRAME_HEADER - PAGE) {
        int rc = flush(f);

        if (rc != SQLITE_OK)
            return rc;
    }
    if (!may_gather(w, len, at))
        return write_through(f, bytes, len, at);
    if (w->len == 0)
        w->at = at;
    memcpy(w->bytes + w->len, bytes, (size_t)len);
    if (!w->half)
        w->last = memcmp(w->bytes + w->len + END_MARK, "\0\0\0\0", 4) != 0;
    w->half = !w->half;
    w->len += len;
    w->end = at + len;
    return !w->half && w->last ? flush(f) : SQLITE_OK;
}

static int wal_read(sqlite3_file *f, void *bytes, int len, sqlite3_int64 at)
{
    int rc = flush(f);

    if (rc == SQLITE_OK && wal(f)->hole && at + len > wal(f)->hole)
        rc = SQLITE_IOERR_READ;
    return rc ? rc : real(f)->pMethods->xRead(real(f), bytes, len, at);
}

static int wal_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    int rc = flush(f);

    wal(f)->end = 0;
    wal(f)->hole = 0;
    return rc ? rc : real(f)->pMethods->xTruncate(real(f), size);
}

static int wal_sync(sqlite3_file *f, int flags)
{
    int rc = flush(f);

    return rc || wal(f)->skip_sync ? rc
                                   : real(f)->pMethods->xSync(real(f), flags);
}

static int wal_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    int rc = flush(f);

    return rc ? rc : real(f)->pMethods->xFileSize(real(f), ret);
}

/* What is still gathered was never committed. */
static int wal_close(sqlite3_file *f)
{
    sqlite3_free(wal(f)->bytes);
    return real(f)->pMethods->xClose(real(f));
}

static int wal_lock(sqlite3_file *f, int level)
{
    return real(f)->pMethods->xLock(real(f), level);
}

static int wal_unlock(sqlite3_file *f, int level)
{
    return real(f)->pMethods->xUnlock(real(f), level);
}

static int wal_is_locked(sqlite3_file *f, int *ret)
{
    return real(f)->pMethods->xCheckReservedLock(real(f), ret);
}

static int wal_control(sqlite3_file *f, int op, void *arg)
{
    return real(f)->pMethods->xFileControl(real(f), op, arg);
}

static int wal_sector(sqlite3_file *f)
{
    return real(f)->pMethods->xSectorSize(real(f));
}

static int wal_traits(sqlite3_file *f)
{
    return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

static const sqlite3_io_methods wal_methods = {
    .iVersion = 1, /* shared memory is the database file's */
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_size,
    .xLock = wal_lock,
    .xUnlock = wal_unlock,
    .xCheckReservedLock = wal_is_locked,
    .xFileControl = wal_control,
    .xSectorSize = wal_sector,
    .xDeviceCharacteristics = wal_traits,
};

/* Without methods SQLite does not close f. */
static int open_wal(const char *name, sqlite3_file *f, int flags,
                    int *flags_out)
{
    struct wal_file *w = wal(f);
    int rc;

    *w = (struct wal_file){ .bytes = sqlite3_malloc(GATHER_MAX) };
    if (!w->bytes)
        return SQLITE_NOMEM;
    rc = below->xOpen(below, name, real(f), flags, flags_out);
    if (real(f)->pMethods)
        f->pMethods = &wal_methods;
    else
        sqlite3_free(w->bytes);
    return rc;
}

static int open_file(sqlite3_vfs *v, const char *name, sqlite3_file *f,
                     int flags, int *flags_out)
{
    UNUSED(v);
    return flags & SQLITE_OPEN_WAL
               ? open_wal(name, f, flags, flags_out)
               : below->xOpen(below, name, f, flags, flags_out);
}

static void make_vfs(void)
{
    below = sqlite3_vfs_find(NULL);
    if (!below)
        return;
    vfs = *below;
    vfs.zName = "touchline";
    vfs.szOsFile += (int)sizeof(struct wal_file);
    vfs.xOpen = open_file;
    if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK)
        below = NULL;
}

const char *walfile_vfs(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_vfs);
    return below ? vfs.zName : NULL;
}

/* --- syncing by another thread --- */

int walfile_files(sqlite3 *conn, sqlite3_file **wal, sqlite3_file **db)
{
    *wal = *db = NULL;
    sqlite3_file_control(conn, "main", SQLITE_FCNTL_JOURNAL_POINTER, wal);
    sqlite3_file_control(conn, "main", SQLITE_FCNTL_FILE_POINTER, db);
    return *wal && (*wal)->pMethods == &wal_methods && *db && (*db)->pMethods
               ? 0 : ERR_IO;
}

void walfile_skip_sync(sqlite3_file *wal_file, bool skip)
{
    wal(wal_file)->skip_sync = skip;
}

/* --- writing again --- */

/* All of it, as it is read now. */
static int rewrite_wal(int fd)
{
    uint8_t bytes[64 * 1024];
    off_t at = 0;
    ssize_t n;

    while ((n = pread(fd, bytes, sizeof bytes, at)) > 0) {
        if (pwrite(fd, bytes, (size_t)n, at) != n)
            return err_from_errno(errno);
        at += n;
    }
    return n < 0 || fsync(fd) < 0 ? err_from_errno(errno) : 0;
}

static int from_sqlite(sqlite3_file *db, int rc)
{
    if (rc == SQLITE_OK)
        return 0;
    db->pMethods->xFileControl(db, SQLITE_FCNTL_LAST_ERRNO, &errno);
    return rc == SQLITE_FULL ? ERR_FULL : ERR_IO;
}

/* One that lies behind the end was never copied. */
static int rewrite_page(sqlite3_file *db, uint32_t number)
{
    uint8_t page[PAGE];
    sqlite3_int64 at = ((sqlite3_int64)number - 1) * PAGE;
    int rc = at < 0 ? SQLITE_IOERR_SHORT_READ
                    : db->pMethods->xRead(db, page, PAGE, at);

    if (rc == SQLITE_IOERR_SHORT_READ)
        return 0;
    if (rc == SQLITE_OK)
        rc = db->pMethods->xWrite(db, page, PAGE, at);
    return from_sqlite(db, rc);
}

/* The pages of the database that this WAL names. A checkpoint that readers cut
 * short has copied some of them without a sync, and SQLite does not copy them
 * again. Nothing older can be missing: a WAL begins anew only behind a sync of
 * the database. */
static int rewrite_copied(int wal, sqlite3_file *db)
{
    uint8_t n[4];
    off_t at = WAL_HEADER;
    int rc = 0;

    for (; rc == 0 && pread(wal, n, sizeof n, at) == sizeof n;
         at += FRAME_HEADER + PAGE)
        rc = rewrite_page(db, (uint32_t)n[0] << 24 | (uint32_t)n[1] << 16
                                  | (uint32_t)n[2] << 8 | n[3]);
    return rc < 0 || at == WAL_HEADER
               ? rc
               : from_sqlite(db, db->pMethods->xSync(db, SQLITE_SYNC_NORMAL));
}

int walfile_rewrite(sqlite3 *conn, const char *path)
{
    sqlite3_file *db = NULL;
    char name[FILE_NAME_SIZE];
    int rc = file_name(name, path, "-wal");
    int fd, error;

    if (rc < 0)
        return rc;
    fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : ERR_IO;
    sqlite3_file_control(conn, "main", SQLITE_FCNTL_FILE_POINTER, &db);
    rc = rewrite_wal(fd);
    if (rc == 0)
        rc = db && db->pMethods ? rewrite_copied(fd, db) : ERR_IO;
    error = errno;
    close(fd);
    errno = error;
    return rc;
}
