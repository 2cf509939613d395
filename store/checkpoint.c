#include "store/checkpoint.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "store/ahead.h"
#include "store/walfile.h"

/* Under load a WAL is copied in pieces of a 32nd of its longest length, and
 * begins anew at half of it: a start behind a kill reads and writes it all. That
 * takes a whole copy, whose syncs every commit waits for: it is made when a piece
 * has just left little to sync, or, if there is always more, at three quarters. */
enum {
    PAGES_IDLE = 1000, /* 4 MB: copied when there is time */
    PAGES_CUT = 16384, /* 64 MB: cut down */
    PIECE = 32,        /* 2 MB */
    LITTLE = 128,      /* 0.5 MB */
    READERS_MS = 50,   /* longest wait for readers when it is cut */
};
#define HELD_UP_NS (SECOND / 20) /* until it is tried again, doubled each time */

/* A reader under way was in the way. Ours are short; one that is not must not
 * hold up every commit. */
static void note(struct backoff *b, bool in_vain, int64_t now_ns)
{
    if (!in_vain)
        b->wait_ns = 0;
    else
        b->wait_ns = b->wait_ns ? MIN(2 * b->wait_ns, SECOND) : HELD_UP_NS;
    b->again_ns = now_ns + b->wait_ns;
}

/* A sync may be what failed: then nothing is said to be on the disk through
 * this connection any more. */
static void failed(struct checkpoint *c, struct history *h)
{
    log_warn("store.checkpoint", "error=\"%s\" action=retry",
             sqlite3_errmsg(h->conn));
    c->copied = h->wal_pages;
    history_rollback(h);
}

/* The same, told by the thread that syncs. */
static void sync_failed(struct checkpoint *c, struct history *h)
{
    log_warn("store.checkpoint", "error=\"%s\" action=retry",
             strerror(errno));
    c->copied = h->wal_pages;
    history_disconnect(h);
}

static int checkpoint(struct checkpoint *c, struct history *h, int mode)
{
    int in_wal = 0, copied = 0;
    int rc = sqlite3_wal_checkpoint_v2(h->conn, NULL, mode, &in_wal, &copied);

    c->count++;
    c->copied = copied > 0 ? (unsigned)copied : 0;
    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        failed(c, h);
    return rc;
}

/* A whole one. */
static int run(struct checkpoint *c, struct history *h, int mode)
{
    if (ahead_rest(h->ahead) < 0) {
        sync_failed(c, h);
        return SQLITE_IOERR_FSYNC;
    }
    return checkpoint(c, h, mode);
}

static void copy(struct checkpoint *c, struct history *h, int64_t now_ns)
{
    unsigned before = c->copied;

    (void)run(c, h, SQLITE_CHECKPOINT_PASSIVE);
    c->tried = h->wal_pages;
    note(&c->copying, c->copied <= before, now_ns);
}

/* What lies behind the mark keeps SQLite from syncing the database. */
static void copy_piece(struct checkpoint *c, struct history *h, int64_t now_ns)
{
    unsigned before = c->copied;
    sqlite3_file *wal, *db;

    if (h->wal_pages <= c->mark || walfile_files(h->conn, &wal, &db) < 0)
        return;
    walfile_skip_sync(wal, true);
    (void)checkpoint(c, h, SQLITE_CHECKPOINT_PASSIVE);
    if (!h->conn)
        return;
    walfile_skip_sync(wal, false);
    ahead_copied(h->ahead);
    note(&c->copying, c->copied <= before, now_ns);
}

static void begin_piece(struct checkpoint *c, struct history *h, int64_t now_ns)
{
    c->mark = h->wal_pages;
    if (ahead_begin(h->ahead, h->conn) < 0)
        note(&c->copying, true, now_ns);
}

static void cut(struct checkpoint *c, struct history *h, int64_t now_ns)
{
    int rc;

    sqlite3_busy_timeout(h->conn, READERS_MS);
    rc = run(c, h, SQLITE_CHECKPOINT_TRUNCATE);
    if (h->conn)
        sqlite3_busy_timeout(h->conn, h->impatient ? 0 : h->opt.busy_ms);
    if (rc == SQLITE_OK)
        h->wal_pages = c->copied = c->tried = 0;
    note(&c->cutting, rc != SQLITE_OK, now_ns);
}

void checkpoint_cut(struct checkpoint *c, struct history *h)
{
    if (h->conn)
        cut(c, h, db_work_ns());
}

static unsigned longest(const struct history *h)
{
    return h->opt.wal_size ? (unsigned)(h->opt.wal_size / 4096) : PAGES_CUT;
}

/* Under load. */
static void go_on(struct checkpoint *c, struct history *h, int64_t now_ns)
{
    unsigned most = longest(h), waiting = h->wal_pages - c->copied;
    bool anew = h->wal_pages > MAX(most / 2, c->tried + most / PIECE);
    int state = ahead_state(h->ahead);

    if (state < 0)
        sync_failed(c, h);
    else if (state == AHEAD_SYNCED)
        copy_piece(c, h, now_ns);
    else if (state == AHEAD_SYNCING || now_ns < c->copying.again_ns)
        return;
    else if (anew && (waiting <= most / LITTLE || h->wal_pages > most / 4 * 3))
        copy(c, h, now_ns);
    else if (waiting > most / (anew ? LITTLE : PIECE))
        begin_piece(c, h, now_ns);
}

/* There is time: but not for waiting, a commit may come. */
static bool finish(struct checkpoint *c, struct history *h, int64_t now_ns)
{
    unsigned waiting = h->wal_pages - c->copied;
    int state = ahead_state(h->ahead);

    if (state == AHEAD_SYNCING)
        return true;
    if (state == AHEAD_SYNCED && h->wal_pages > c->mark) {
        copy_piece(c, h, now_ns);
        return true;
    }
    if (state < 0)
        sync_failed(c, h);
    else if (waiting > PAGES_IDLE && now_ns >= c->copying.again_ns)
        copy(c, h, now_ns);
    return false;
}

bool checkpoint_run(struct checkpoint *c, struct history *h, bool idle)
{
    int64_t now_ns;

    if (!h->conn)
        return false;
    if (h->wal_pages < c->copied)
        c->copied = c->tried = 0; /* the WAL began anew */
    now_ns = db_work_ns();
    if (h->wal_pages <= longest(h) && idle)
        return finish(c, h, now_ns);
    if (h->wal_pages <= longest(h))
        go_on(c, h, now_ns);
    else if (now_ns >= c->cutting.again_ns)
        cut(c, h, now_ns);
    return false;
}

void checkpoint_for_room(struct checkpoint *c, struct history *h)
{
    int64_t now_ns = db_work_ns();

    if (!h->conn || now_ns - c->room_ns < SECOND)
        return;
    c->room_ns = now_ns;
    (void)run(c, h, SQLITE_CHECKPOINT_PASSIVE);
}
