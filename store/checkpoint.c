#include "store/checkpoint.h"

#include "base/log.h"

enum {
    PAGES_IDLE = 1000, /* 4 MB: copied when there is time */
    PAGES_BUSY = 2000, /* 8 MB: copied in any case, at some 10 ms */
    PAGES_CUT = 16384, /* 64 MB: cut down */
    READERS_MS = 50,   /* longest wait for readers when it is cut */
};
#define HELD_UP_NS (SECOND / 20) /* until it is tried again, doubled each time */

/* A reader under way was in the way. Ours are short; one that is not must not
 * hold up every commit. */
static void held_up(struct checkpoint *c, int64_t now_ns)
{
    c->wait_ns = c->wait_ns ? MIN(2 * c->wait_ns, SECOND) : HELD_UP_NS;
    c->again_ns = now_ns + c->wait_ns;
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

static int run(struct checkpoint *c, struct history *h, int mode)
{
    int in_wal = 0, copied = 0;
    int rc = sqlite3_wal_checkpoint_v2(h->conn, NULL, mode, &in_wal, &copied);

    c->count++;
    c->copied = copied > 0 ? (unsigned)copied : 0;
    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        failed(c, h);
    return rc;
}

/* What has been copied counts, the rest comes with the next one. */
static void copy(struct checkpoint *c, struct history *h, int64_t now_ns)
{
    unsigned before = c->copied;

    (void)run(c, h, SQLITE_CHECKPOINT_PASSIVE);
    if (c->copied > before)
        c->wait_ns = 0;
    else
        held_up(c, now_ns);
}

static void cut(struct checkpoint *c, struct history *h, int64_t now_ns)
{
    int rc;

    sqlite3_busy_timeout(h->conn, READERS_MS);
    rc = run(c, h, SQLITE_CHECKPOINT_TRUNCATE);
    if (h->conn)
        sqlite3_busy_timeout(h->conn, h->impatient ? 0 : h->opt.busy_ms);
    if (rc == SQLITE_OK) {
        h->wal_pages = c->copied = 0;
        c->wait_ns = 0;
    } else {
        held_up(c, now_ns);
    }
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

void checkpoint_run(struct checkpoint *c, struct history *h, bool idle)
{
    unsigned waiting;
    int64_t now_ns;

    if (!h->conn)
        return;
    if (h->wal_pages < c->copied)
        c->copied = 0; /* the WAL began anew */
    waiting = h->wal_pages - c->copied;
    if (h->wal_pages <= longest(h)
        && waiting <= (unsigned)(idle ? PAGES_IDLE : PAGES_BUSY))
        return;
    now_ns = db_work_ns();
    if (now_ns < c->again_ns)
        return;
    if (h->wal_pages > longest(h))
        cut(c, h, now_ns);
    else
        copy(c, h, now_ns);
}

void checkpoint_for_room(struct checkpoint *c, struct history *h)
{
    int64_t now_ns = db_work_ns();

    if (!h->conn || now_ns - c->room_ns < SECOND)
        return;
    c->room_ns = now_ns;
    (void)run(c, h, SQLITE_CHECKPOINT_PASSIVE);
}
