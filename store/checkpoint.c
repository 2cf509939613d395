#include "store/checkpoint.h"

#include "base/log.h"

enum {
    PAGES_IDLE = 1000,    /* 4 MB: copied when there is time */
    PAGES_BUSY = 2000,    /* 8 MB: copied in any case, at some 10 ms */
    PAGES_CUT = 16384,    /* 64 MB: cut down when there is time */
    PAGES_TOO_LONG = 4 * PAGES_CUT, /* cut down in any case */
    READERS_MS = 50,      /* longest wait for readers when it is cut */
};

static void run(struct checkpoint *c, struct history *h, int mode)
{
    int in_wal = 0, copied = 0;
    int rc = sqlite3_wal_checkpoint_v2(h->conn, NULL, mode, &in_wal, &copied);

    /* Readers hold it up: what has been copied counts, the rest comes with
     * the next one. */
    if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
        log_warn("store.checkpoint", "error=\"%s\" action=retry",
                 sqlite3_errmsg(h->conn));
        copied = (int)h->wal_pages;
    }
    c->copied = copied > 0 ? (unsigned)copied : 0;
    c->count++;
}

static void cut(struct checkpoint *c, struct history *h)
{
    sqlite3_busy_timeout(h->conn, READERS_MS);
    run(c, h, SQLITE_CHECKPOINT_TRUNCATE);
    sqlite3_busy_timeout(h->conn, h->impatient ? 0 : h->opt.busy_ms);
    h->wal_pages = 0;
    c->copied = 0;
}

void checkpoint_run(struct checkpoint *c, struct history *h, bool idle)
{
    unsigned waiting;

    if (!h->conn)
        return;
    if (h->wal_pages < c->copied)
        c->copied = 0; /* the WAL began anew */
    waiting = h->wal_pages - c->copied;
    if (h->wal_pages > (idle ? PAGES_CUT : PAGES_TOO_LONG))
        cut(c, h);
    else if (waiting > (idle ? PAGES_IDLE : PAGES_BUSY))
        run(c, h, SQLITE_CHECKPOINT_PASSIVE);
}

void checkpoint_for_room(struct checkpoint *c, struct history *h)
{
    int64_t now_ns = db_work_ns();

    if (!h->conn || now_ns - c->room_ns < SECOND)
        return;
    c->room_ns = now_ns;
    run(c, h, SQLITE_CHECKPOINT_PASSIVE);
}
