#include "store/ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "store/db.h"
#include "store/file.h"
#include "store/walfile.h"

enum ahead_sync { NOTHING, THE_WAL, THE_DATABASE };

struct ahead {
    char *path;
    sqlite3 *reader;    /* whose snapshot is the mark; NULL: not open */
    sqlite3_file *db;   /* the connection's */
    enum ahead_state state;

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, rested;
    /* under the lock: */
    enum ahead_sync due;
    int wal;            /* open while it is due */
    int rc, error;      /* of the last sync; error: errno */
    bool stop;
};

/* --- the thread --- */

static int failure(int error)
{
    return error == ENOSPC || error == EDQUOT ? ERR_FULL : ERR_IO;
}

/* The database through the connection's own handle: closing another one would
 * drop SQLite's locks. */
static bool sync_due(struct ahead *a, enum ahead_sync due)
{
    errno = 0;
    if (due == THE_DATABASE)
        return a->db->pMethods->xSync(a->db, SQLITE_SYNC_NORMAL) == SQLITE_OK;
    return fdatasync(a->wal) == 0;
}

static void *work(void *arg)
{
    struct ahead *a = arg;

    (void)pthread_setname_np(pthread_self(), "store:sync");
    pthread_mutex_lock(&a->lock);
    while (!a->stop) {
        enum ahead_sync due = a->due;
        bool ok;

        if (due == NOTHING) {
            pthread_cond_wait(&a->wake, &a->lock);
            continue;
        }
        pthread_mutex_unlock(&a->lock);
        ok = sync_due(a, due);
        pthread_mutex_lock(&a->lock);
        a->error = ok ? 0 : errno;
        a->rc = ok ? 0 : failure(a->error);
        a->due = NOTHING;
        pthread_cond_signal(&a->rested);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static void ask(struct ahead *a, enum ahead_sync due)
{
    pthread_mutex_lock(&a->lock);
    CHECK(a->due == NOTHING);
    a->due = due;
    pthread_mutex_unlock(&a->lock);
    pthread_cond_signal(&a->wake);
}

/* --- the WAL --- */

/* A handle of its own: what fails is told to each handle once, and a commit
 * that syncs must hear of it from its own. */
static int open_wal(struct ahead *a)
{
    char name[FILE_NAME_SIZE];
    int rc = file_name(name, a->path, "-wal");

    if (rc < 0)
        return rc;
    a->wal = open(name, O_RDONLY | O_CLOEXEC);
    return a->wal < 0 ? err_from_errno(errno) : 0;
}

static void close_wal(struct ahead *a)
{
    if (a->wal >= 0)
        close(a->wal);
    a->wal = -1;
}

/* --- the mark --- */

static void close_reader(struct ahead *a)
{
    db_close(a->reader);
    a->reader = NULL;
}

static int set_mark(struct ahead *a)
{
    int rc = a->reader ? 0 : db_open(&a->reader, a->path, DB_READER, 0);

    if (rc == 0)
        rc = db_exec(a->reader, "BEGIN;SELECT 1 FROM sqlite_schema LIMIT 1");
    if (rc < 0 && a->reader)
        close_reader(a);
    return rc;
}

/* A reader that cannot end its transaction ends it when it is closed. */
static void lift_mark(struct ahead *a)
{
    if (a->reader && !sqlite3_get_autocommit(a->reader)
        && db_exec(a->reader, "COMMIT") < 0)
        close_reader(a);
}

/* --- life --- */

int ahead_new(struct ahead **ret, const char *path)
{
    struct ahead *a = calloc(1, sizeof *a);

    if (!a)
        return ERR_NOMEM;
    a->path = strdup(path);
    a->wal = -1;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->wake, NULL);
    pthread_cond_init(&a->rested, NULL);
    if (!a->path || pthread_create(&a->thread, NULL, work, a)) {
        pthread_cond_destroy(&a->rested);
        pthread_cond_destroy(&a->wake);
        pthread_mutex_destroy(&a->lock);
        free(a->path);
        free(a);
        return ERR_NOMEM;
    }
    *ret = a;
    return 0;
}

void ahead_free(struct ahead *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_mutex_unlock(&a->lock);
    pthread_cond_signal(&a->wake);
    pthread_join(a->thread, NULL);
    close_wal(a);
    if (a->reader)
        close_reader(a);
    pthread_cond_destroy(&a->rested);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    free(a->path);
    free(a);
}

/* --- pieces --- */

/* Under the lock, and the thread is done. */
static int take_failure(struct ahead *a, int *error)
{
    int rc = a->rc;

    *error = a->error;
    a->rc = a->error = 0;
    close_wal(a);
    return rc;
}

static int come_to_rest(struct ahead *a, int rc, int error)
{
    lift_mark(a);
    a->state = AHEAD_RESTS;
    errno = error;
    return rc;
}

int ahead_state(struct ahead *a)
{
    bool busy;
    int rc = 0, error;

    if (a->state == AHEAD_RESTS)
        return AHEAD_RESTS;
    pthread_mutex_lock(&a->lock);
    busy = a->due != NOTHING;
    if (!busy)
        rc = take_failure(a, &error);
    pthread_mutex_unlock(&a->lock);
    if (busy)
        return AHEAD_SYNCING;
    if (rc == 0 && a->state == AHEAD_SYNCED)
        return AHEAD_SYNCED;
    return come_to_rest(a, rc, error);
}

int ahead_begin(struct ahead *a, sqlite3 *conn)
{
    sqlite3_file *wal;
    int rc = walfile_files(conn, &wal, &a->db);

    CHECK(a->state == AHEAD_RESTS);
    if (rc == 0)
        rc = open_wal(a);
    if (rc == 0)
        rc = set_mark(a);
    if (rc < 0) {
        close_wal(a);
        return rc;
    }
    a->state = AHEAD_SYNCED; /* once the thread is done */
    ask(a, THE_WAL);
    return 0;
}

void ahead_copied(struct ahead *a)
{
    lift_mark(a);
    a->state = AHEAD_SYNCING;
    ask(a, THE_DATABASE);
}

int ahead_wal(struct ahead *a)
{
    int rc;

    if (!a || a->state != AHEAD_SYNCED)
        return 0;
    pthread_mutex_lock(&a->lock);
    while (a->due != NOTHING)
        pthread_cond_wait(&a->rested, &a->lock);
    rc = a->rc;
    pthread_mutex_unlock(&a->lock);
    return rc < 0 ? ahead_rest(a) : 0;
}

int ahead_rest(struct ahead *a)
{
    int rc, error;

    if (!a || a->state == AHEAD_RESTS)
        return 0;
    pthread_mutex_lock(&a->lock);
    while (a->due != NOTHING)
        pthread_cond_wait(&a->rested, &a->lock);
    rc = take_failure(a, &error);
    pthread_mutex_unlock(&a->lock);
    return come_to_rest(a, rc, error);
}
