#include "store/reader.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "store/readjob.h"

enum { THREADS_MAX = 4, BUSY_MS = 2000, CLOCK_EVERY = 4 * COST_ROW };
enum { SEARCH_PART = 4 };
#define SEARCH_SAVED (1 * SECOND)
#define SLICE_NS (5 * MILLISECOND)
#define FOUND_NS (100 * MICROSECOND) /* what one that was wanted may take */

#define AS_READER_SQL(name, sql) sql,
static const char *const statements[] = { READER_STATEMENTS(AS_READER_SQL) };

struct reader {
    pthread_t thread;
    struct readers *pool;
    struct read_conn conn;
    bool started;
};

struct readers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* under the lock: */
    struct list_node queue, searches, done;
    struct toll toll;  /* what searches spend on what is not wanted */
    bool searched;     /* the last job taken was one */
    uint64_t held;
    bool stop;

    struct loop_wake ready;
    reader_match *match;
    unsigned count;
    struct reader threads[THREADS_MAX];
};

/* --- a connection --- */

static int conn_open(struct read_conn *c, const char *path)
{
    int rc = db_open(&c->conn, path, DB_READER, BUSY_MS);

    return rc < 0 ? rc : db_prepare(c->conn, statements, c->st, RD_COUNT);
}

static void conn_close(struct read_conn *c)
{
    db_finalize(c->st, RD_COUNT);
    db_close(c->conn);
    c->conn = NULL;
}

/* Reading the clock costs as much as a look-up: now and then is enough. */
bool read_conn_spent(struct read_conn *c, unsigned cost)
{
    c->left -= MIN(c->left, cost);
    c->unclocked += cost;
    if (c->unclocked >= CLOCK_EVERY && c->left > 0) {
        c->unclocked = 0;
        if (db_work_ns() >= c->until_ns)
            c->left = 0;
    }
    return c->left == 0;
}

static int run_slice(struct read_conn *c, struct read_job *j)
{
    int rc = db_run(c->st[RD_BEGIN]);

    if (rc < 0)
        return rc;
    c->until_ns = db_work_ns() + SLICE_NS;
    c->left = COST_SLICE;
    c->unclocked = 0;
    c->found = 0;
    rc = j->slice(j, c);
    db_rollback(c->conn); /* it only read */
    return rc;
}

/* --- reader threads --- */

/* Lock held. Of two kinds in turn; how long to wait before a search may go on
 * while there is nothing else. */
static struct read_job *take_next(struct readers *r, int64_t *wait_ns)
{
    bool search = !list_empty(&r->searches);
    struct list_node *from;

    *wait_ns = search ? toll_wait(&r->toll, db_work_ns()) : 0;
    search = search && *wait_ns == 0;
    from = search && (!r->searched || list_empty(&r->queue)) ? &r->searches
                                                             : &r->queue;
    r->searched = from == &r->searches;
    return list_empty(from) ? NULL
                            : CONTAINER_OF(list_pop(from), struct read_job,
                                           node);
}

/* Lock held. */
static void rest(struct readers *r, int64_t wait_ns)
{
    int64_t at = db_work_ns() + wait_ns;
    struct timespec t = { .tv_sec = (time_t)(at / SECOND),
                          .tv_nsec = (long)(at % SECOND) };

    if (wait_ns == 0) {
        pthread_cond_wait(&r->wake, &r->lock);
        return;
    }
    r->held++;
    (void)pthread_cond_timedwait(&r->wake, &r->lock, &t);
}

/* Returns with the lock held and a job, or NULL at the end. */
static struct read_job *next(struct readers *r)
{
    while (!r->stop) {
        int64_t wait_ns;
        struct read_job *j = take_next(r, &wait_ns);

        if (j)
            return j;
        rest(r, wait_ns);
    }
    return NULL;
}

static int work_on(struct reader *t, struct read_job *j)
{
    int rc = 0;

    if (!atomic_load(&j->cancelled))
        rc = run_slice(&t->conn, j);
    if (rc < 0)
        j->failed(j, rc);
    return rc;
}

/* Where it waits. */
static struct list_node *queue_of(struct readers *r, const struct read_job *j)
{
    return j->searches ? &r->searches : &r->queue;
}

static void *work(void *arg)
{
    struct reader *t = arg;
    struct readers *r = t->pool;
    struct read_job *j;

    pthread_mutex_lock(&r->lock);
    while ((j = next(r))) {
        int64_t took = -db_work_ns();
        int rc;

        pthread_mutex_unlock(&r->lock);
        rc = work_on(t, j);
        pthread_mutex_lock(&r->lock);
        took += db_work_ns();
        if (j->searches)
            toll_charge(&r->toll, MAX(took - t->conn.found * FOUND_NS, 0));
        list_add_tail(rc > 0 ? queue_of(r, j) : &r->done, &j->node);
        if (rc <= 0)
            loop_wake_post(&r->ready);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* --- loop thread --- */

static struct read_job *take_done(struct readers *r)
{
    struct read_job *j = NULL;

    pthread_mutex_lock(&r->lock);
    if (!list_empty(&r->done)) {
        j = CONTAINER_OF(r->done.next, struct read_job, node);
        list_remove(&j->node);
    }
    pthread_mutex_unlock(&r->lock);
    return j;
}

static void on_ready(void *arg)
{
    struct readers *r = arg;
    struct read_job *j;

    while ((j = take_done(r))) {
        if (!atomic_load(&j->cancelled))
            j->deliver(j);
        j->destroy(j);
    }
}

static void submit(struct readers *r, struct read_job *j,
                   struct read_job **ret)
{
    j->match = r->match;
    pthread_mutex_lock(&r->lock);
    list_add_tail(queue_of(r, j), &j->node);
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    if (ret)
        *ret = j;
}

int reader_page(struct readers *r, const struct page_request *q,
                page_done *done, void *arg, struct read_job **ret)
{
    struct read_job *j;
    int rc = page_job_new(&j, q, done, arg);

    if (rc == 0)
        submit(r, j, ret);
    return rc;
}

int reader_ids(struct readers *r, struct slice pattern, struct slice after,
               size_t limit, id_list_done *done, void *arg,
               struct read_job **ret)
{
    struct read_job *j;
    int rc = list_job_new(&j, pattern, after, limit, done, arg);

    if (rc == 0)
        submit(r, j, ret);
    return rc;
}

uint64_t readers_held(struct readers *r)
{
    uint64_t n;

    pthread_mutex_lock(&r->lock);
    n = r->held;
    pthread_mutex_unlock(&r->lock);
    return n;
}

void reader_cancel(struct readers *r, struct read_job *job)
{
    UNUSED(r);
    atomic_store(&job->cancelled, true);
}

static int start_threads(struct readers *r, const char *path)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < r->count; i++) {
        struct reader *t = &r->threads[i];

        t->pool = r;
        rc = conn_open(&t->conn, path);
        if (rc == 0)
            t->started = pthread_create(&t->thread, NULL, work, t) == 0;
        if (rc == 0 && !t->started)
            rc = ERR_NOMEM;
    }
    return rc;
}

static void init_sync(struct readers *r)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

int readers_new(struct readers **ret, const char *path, struct loop *loop,
                unsigned threads, reader_match *match)
{
    struct readers *r = calloc(1, sizeof *r);
    int rc;

    if (!r)
        return ERR_NOMEM;
    init_sync(r);
    list_init(&r->queue);
    list_init(&r->searches);
    toll_init(&r->toll, db_work_ns(), SEARCH_PART, SEARCH_SAVED);
    list_init(&r->done);
    r->match = match;
    r->count = MAX(1, MIN(threads, THREADS_MAX));
    rc = loop_wake_start(&r->ready, loop, on_ready, r);
    if (rc < 0)
        r->count = 0;
    else
        rc = start_threads(r, path);
    if (rc < 0) {
        readers_free(r);
        return rc;
    }
    *ret = r;
    return 0;
}

static void stop_threads(struct readers *r)
{
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->wake);
    pthread_mutex_unlock(&r->lock);
    for (unsigned i = 0; i < r->count; i++) {
        if (r->threads[i].started)
            pthread_join(r->threads[i].thread, NULL);
        conn_close(&r->threads[i].conn);
    }
}

static void destroy_all(struct list_node *head)
{
    LIST_FOREACH_SAFE(j, tmp, head, struct read_job, node) {
        list_remove(&j->node);
        j->destroy(j);
    }
}

void readers_free(struct readers *r)
{
    if (!r)
        return;
    stop_threads(r);
    destroy_all(&r->queue);
    destroy_all(&r->searches);
    destroy_all(&r->done);
    if (r->count)
        loop_wake_stop(&r->ready);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* --- keys --- */

struct key_finder {
    sqlite3 *conn;
    sqlite3_stmt *st[2];
};

int key_finder_new(struct key_finder **ret, const char *path)
{
    static const char *const sql[] = {
        "SELECT seq, offset, ts_ms, body_hash, reached FROM keys "
        "WHERE id = ?1 AND key = ?2",
        EPOCH_AT,
    };
    struct key_finder *f = calloc(1, sizeof *f);
    int rc;

    if (!f)
        return ERR_NOMEM;
    rc = db_open(&f->conn, path, DB_READER, 0);
    if (rc == 0)
        rc = db_prepare(f->conn, sql, f->st, ARRAY_LEN(f->st));
    if (rc < 0) {
        key_finder_free(f);
        return rc;
    }
    *ret = f;
    return 0;
}

void key_finder_free(struct key_finder *f)
{
    if (!f)
        return;
    db_finalize(f->st, ARRAY_LEN(f->st));
    db_close(f->conn);
    free(f);
}

int key_find(struct key_finder *f, struct slice id, struct slice key,
             struct first_answer *ret)
{
    struct first_answer a;
    sqlite3_stmt *s = f->st[0];
    int rc;

    db_bind_text(s, 1, id);
    db_bind_text(s, 2, key);
    rc = db_step(s);
    if (rc <= 0)
        return rc < 0 ? rc : ERR_NOT_FOUND;
    a.seq = db_u64(s, 0);
    a.offset = db_u64(s, 1);
    a.ts_ms = db_i64(s, 2);
    a.body_hash = db_u64(s, 3);
    a.reached = (uint32_t)db_u64(s, 4);
    sqlite3_reset(s);
    rc = epoch_at(f->st[1], a.seq, a.epoch);
    if (rc == 0)
        *ret = a;
    return rc == ERR_NOT_FOUND ? ERR_DAMAGED : rc;
}
