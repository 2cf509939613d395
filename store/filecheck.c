#include "store/filecheck.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/err.h"

/* quick_check asks "interrupted?" at every page, but no callback of ours: so
 * the one who looks at the clock is a thread. */
struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct timespec until;
    bool over;
    sqlite3 *conn;
};

static void *watch(void *arg)
{
    struct watchdog *w = arg;
    int waited = 0;

    pthread_mutex_lock(&w->lock);
    while (!w->over && waited == 0)
        waited = pthread_cond_timedwait(&w->wake, &w->lock, &w->until);
    if (!w->over)
        sqlite3_interrupt(w->conn);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static int watchdog_start(struct watchdog *w, sqlite3 *conn, int limit_ms)
{
    pthread_condattr_t monotonic;
    int64_t until = db_work_ns() + limit_ms * MILLISECOND;
    int rc;

    *w = (struct watchdog){ .conn = conn };
    w->until.tv_sec = until / SECOND;
    w->until.tv_nsec = until % SECOND;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    rc = pthread_create(&w->thread, NULL, watch, w);
    if (rc == 0)
        return 0;
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    return err_from_errno(rc);
}

static void watchdog_stop(struct watchdog *w)
{
    pthread_mutex_lock(&w->lock);
    w->over = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
}

/* s stands on the answer, if there is one. */
static enum history_check judge(int rc, sqlite3 *conn, sqlite3_stmt *s,
                                char text[256])
{
    if (rc == ERR_AGAIN)
        return CHECK_PARTIAL;
    if (rc == ERR_NOMEM || rc == ERR_BUSY) /* that says nothing of the file */
        return CHECK_NONE;
    if (rc < 0) {
        snprintf(text, 256, "%.200s", sqlite3_errmsg(conn));
        return CHECK_BAD;
    }
    if (rc > 0 && slice_eq(db_bytes(s, 0), SLICE("ok")))
        return CHECK_GOOD;
    snprintf(text, 256, "%.*s", 200,
             rc > 0 ? (const char *)sqlite3_column_text(s, 0) : "no answer");
    return CHECK_BAD;
}

enum history_check filecheck(sqlite3 *conn, int limit_ms, char text[256])
{
    static const char *const sql = "PRAGMA quick_check(1)";
    enum history_check ret;
    struct watchdog dog;
    sqlite3_stmt *s = NULL;
    int rc;

    if (limit_ms <= 0 || watchdog_start(&dog, conn, limit_ms) < 0)
        return CHECK_NONE;
    rc = db_prepare(conn, &sql, &s, 1);
    if (rc == 0)
        rc = db_step(s);
    ret = judge(rc, conn, s, text);
    watchdog_stop(&dog);
    db_finalize(&s, 1);
    return ret;
}
