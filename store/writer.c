#include "store/writer.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "store/append.h"
#include "store/ballast.h"
#include "store/backup.h"
#include "store/ahead.h"
#include "store/checkpoint.h"
#include "store/present.h"
#include "store/trim.h"

#define QUIET_NS (20 * MILLISECOND)    /* without a batch: time to clean up */
#define OVERDUE_NS (250 * MILLISECOND) /* load or not, cleaning goes on */
#define LOOK_AGAIN_NS (60 * SECOND)    /* the wall clock may have been set */
#define RETRY_NS (5 * SECOND)          /* after cleaning up failed */
#define GIVE_NS (10 * SECOND)          /* from giving room to giving again */
enum { OVERDUE_SHARE = 3, NOTES_MAX = 10000 };

/* Something the loop asked for between batches. */
struct job {
    struct list_node node;
    int (*run)(struct writer *w, struct job *j);
    bool later; /* run() has begun it; it ends elsewhere */
    int rc;
    writer_done_fn *fn;
    void *arg;
    int64_t last_used_ms;
    void *policy_arg;
    uint64_t seq; /* of a key, and what it reached */
    uint32_t reached;
    char epoch[EPOCH_SIZE]; /* out: the new one */
    size_t len;
    uint8_t text[]; /* an id, or a file name with its NUL */
};

/* Something the loop is to be told. */
struct note {
    struct list_node node;
    void (*tell)(struct writer *w, const struct note *n);
    struct id_record rec; /* rec.id lies behind the struct */
    struct forgotten forgotten;
};

struct figures {
    _Atomic uint64_t commits, rows, syncs, failures, duplicates, trimmed;
    _Atomic uint64_t forgotten, untrimmed, checkpoints, wal_bytes, slowest_us;
    _Atomic uint64_t reopened, reopen_failed, database_bytes, free_bytes;
    _Atomic int last_error;
};

struct writer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct loop_wake done;
    struct counters counters;
    struct figures fig;
    _Atomic uint64_t trimmed_seq; /* nothing above it has been trimmed */
    atomic_bool hurry;  /* a batch waits */

    /* Under the lock. */
    struct batch *batch; /* submitted, not begun */
    struct batch *ready; /* done, not told */
    struct list_node jobs, jobs_done, notes;
    size_t note_count;
    bool stop;

    /* The loop's. */
    struct writer_hooks hooks;
    bool busy, closing;
    unsigned epochs; /* jobs that change it under way */
    bool backup_asked;
    uint64_t last_seq;
    char epoch[EPOCH_SIZE];

    /* The writer thread's; numbers: see append.h. */
    struct history *h;
    struct checkpoint cp;
    struct ballast ballast;
    int64_t give_ns;    /* its room is not given before */
    struct backup *backup;
    struct job *backup_job;
    int64_t look_ns;    /* when the disk is looked at next */
    int64_t next_ns;    /* when cleaning up is next; INT64_MAX: not needed */
    int64_t retry_ns;   /* it failed: not before */
    int64_t overdue_ns; /* then a batch does not put it off any more */
};

static void count(_Atomic uint64_t *figure, uint64_t n)
{
    atomic_fetch_add_explicit(figure, n, memory_order_relaxed);
}

static void set(_Atomic uint64_t *figure, uint64_t n)
{
    atomic_store_explicit(figure, n, memory_order_relaxed);
}

/* --- writer thread: telling the loop --- */

static void tell(struct writer *w, void (*fn)(struct writer *,
                                              const struct note *),
                 const struct id_record *r)
{
    struct note *n = malloc(sizeof *n + r->id.len);
    uint8_t *id;

    if (!n) {
        log_error("store.note", "error=NOMEM id=%s", log_quote(r->id).text);
        return;
    }
    id = (uint8_t *)(n + 1);
    memcpy(id, r->id.ptr, r->id.len);
    n->tell = fn;
    n->rec = *r;
    n->rec.id = slice_make(id, r->id.len);
    n->forgotten = w->h->meta.forgotten;
    pthread_mutex_lock(&w->lock);
    list_add_tail(&w->notes, &n->node);
    w->note_count++;
    pthread_mutex_unlock(&w->lock);
    loop_wake_post(&w->done);
}

static void tell_trimmed(struct writer *w, const struct note *n)
{
    if (w->hooks.trimmed)
        w->hooks.trimmed(w->hooks.arg, &n->rec);
}

static void tell_forgotten(struct writer *w, const struct note *n)
{
    if (w->hooks.forgotten)
        w->hooks.forgotten(w->hooks.arg, n->rec.id, n->forgotten);
}

static int forget(struct writer *w, struct job *j)
{
    struct id_record r = { .id = slice_make(j->text, j->len) };
    int rc = trim_forget(w->h, r.id, j->last_used_ms);

    if (rc <= 0)
        return rc;
    count(&w->fig.forgotten, 1);
    tell(w, tell_forgotten, &r);
    return 0;
}

static struct job *job_new(int (*run)(struct writer *, struct job *),
                           struct slice text)
{
    struct job *j = calloc(1, sizeof *j + text.len);

    if (!j)
        return NULL;
    list_init(&j->node);
    j->run = run;
    j->len = text.len;
    if (text.len)
        memcpy(j->text, text.ptr, text.len);
    return j;
}

static void job_submit(struct writer *w, struct job *j)
{
    pthread_mutex_lock(&w->lock);
    list_add_tail(&w->jobs, &j->node);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_signal(&w->wake);
}

/* Runs on the loop: asks, and sends the answer back. */
static void ask_forget(struct writer *w, const struct note *n)
{
    struct job *j = w->closing ? NULL : job_new(forget, n->rec.id);

    if (!j)
        return; /* the id comes up again in an hour */
    if (w->hooks.last_used)
        j->last_used_ms = w->hooks.last_used(w->hooks.arg, n->rec.id);
    job_submit(w, j);
}

static void on_trims(void *arg, uint64_t seq)
{
    struct writer *w = arg;

    if (seq > atomic_load(&w->trimmed_seq)) /* this thread alone moves it */
        atomic_store(&w->trimmed_seq, seq);
}

static void on_trimmed(void *arg, const struct id_record *now, size_t rows)
{
    struct writer *w = arg;

    count(&w->fig.trimmed, rows);
    tell(w, tell_trimmed, now);
}

static void on_empty(void *arg, struct slice id)
{
    struct id_record r = { .id = id };

    tell(arg, ask_forget, &r);
}

/* --- writer thread: the batch --- */

static void count_batch(struct writer *w, const struct batch *b,
                        int64_t took_ns)
{
    uint64_t rows = 0, repeats = 0, us = (uint64_t)(took_ns / MICROSECOND);

    for (size_t i = 0; i < b->count; i++) {
        rows += b->entries[i].stored && b->entries[i].rc == 0;
        repeats += b->entries[i].rc == ERR_EXISTS;
    }
    count(&w->fig.rows, rows);
    count(&w->fig.duplicates, repeats);
    count(b->rc < 0 ? &w->fig.failures : &w->fig.commits, 1);
    if (b->rc == 0 && w->h->full_sync)
        count(&w->fig.syncs, 1);
    if (us > atomic_load_explicit(&w->fig.slowest_us, memory_order_relaxed))
        set(&w->fig.slowest_us, us);
    atomic_store_explicit(&w->fig.last_error, b->rc, memory_order_relaxed);
}

static void run_batch(struct writer *w, struct batch *b)
{
    int64_t now_ns;
    int failed;

    b->begun_ns = db_work_ns();
    append_batch(w->h, &w->counters, b);
    failed = b->rc;
    b->ended_ns = now_ns = db_work_ns();
    count_batch(w, b, now_ns - b->begun_ns);
    pthread_mutex_lock(&w->lock);
    w->ready = b;
    pthread_mutex_unlock(&w->lock);
    loop_wake_post(&w->done);
    /* From here on b and the numbers are the loop's. */
    if (failed == ERR_FULL)
        checkpoint_for_room(&w->cp, w->h);
    (void)checkpoint_run(&w->cp, w->h, false);
    w->next_ns = MAX(now_ns + QUIET_NS, w->retry_ns);
    if (w->overdue_ns == INT64_MAX)
        w->overdue_ns = MAX(now_ns + OVERDUE_NS, w->retry_ns);
}

/* --- writer thread: jobs --- */

static void finish_job(struct writer *w, struct job *j, int rc)
{
    j->rc = rc;
    pthread_mutex_lock(&w->lock);
    list_add_tail(&w->jobs_done, &j->node);
    pthread_mutex_unlock(&w->lock);
    loop_wake_post(&w->done);
}

static int make_epoch(struct writer *w, struct job *j)
{
    int rc = history_new_epoch(w->h);

    memcpy(j->epoch, w->h->epoch, EPOCH_SIZE);
    return rc;
}

static int set_reached(struct writer *w, struct job *j)
{
    int rc = w->h->conn ? history_begin(w->h, false) : ERR_AGAIN;

    if (rc < 0)
        return rc;
    db_bind_u64(w->h->st[ST_KEY_REACHED], 1, j->seq);
    db_bind_u64(w->h->st[ST_KEY_REACHED], 2, j->reached);
    rc = db_run(w->h->st[ST_KEY_REACHED]);
    if (rc == 0)
        return history_commit(w->h);
    history_rollback(w->h);
    return rc;
}

static int use_policy(struct writer *w, struct job *j)
{
    ids_policy_changed(w->h, j->policy_arg);
    w->next_ns = 0;
    w->retry_ns = 0;
    return 0;
}

static int note_present(struct writer *w, struct job *j)
{
    return present_apply(w->h, slice_make(j->text, j->len));
}

static int say_alive(struct writer *w, struct job *j)
{
    UNUSED(w), UNUSED(j);
    return 0;
}

static int begin_backup(struct writer *w, struct job *j)
{
    int rc = backup_start(&w->backup, w->h, (const char *)j->text);

    if (rc == 0) {
        w->backup_job = j;
        w->next_ns = 0;
        j->later = true;
    }
    return rc;
}

static void run_job(struct writer *w, struct job *j)
{
    int rc = j->run(w, j);

    if (!j->later)
        finish_job(w, j, rc);
}

static void end_backup(struct writer *w, int rc)
{
    struct job *j = w->backup_job;

    backup_free(w->backup);
    w->backup = NULL;
    w->backup_job = NULL;
    if (j)
        finish_job(w, j, rc);
}

/* --- writer thread: cleaning up --- */

static int64_t wait_ns(struct writer *w, int64_t next_ms)
{
    int64_t wait_ms;

    if (next_ms == INT64_MAX)
        return INT64_MAX;
    wait_ms = next_ms - history_now(w->h) + 1;
    wait_ms = MAX(wait_ms, 1);
    return db_work_ns()
           + MIN(wait_ms, LOOK_AGAIN_NS / MILLISECOND) * MILLISECOND;
}

static bool loop_lags(struct writer *w)
{
    bool lags;

    pthread_mutex_lock(&w->lock);
    lags = w->note_count > NOTES_MAX;
    pthread_mutex_unlock(&w->lock);
    return lags;
}

/* Trimming found no room: it gets what was kept for it, and alone. Where that
 * does not help, or others take the room at once, the ballast must not come
 * and go without end. */
static bool give_room(struct writer *w)
{
    int64_t now_ns = db_work_ns();

    checkpoint_for_room(&w->cp, w->h);
    if (now_ns < w->give_ns || !ballast_release(&w->ballast))
        return false;
    w->give_ns = now_ns + GIVE_NS;
    w->h->only_trim = true;
    log_warn("store.ballast", "action=released reason=trim");
    return true;
}

/* Trimming is through, or cannot go on: everybody may store again. True: the
 * ballast is not whole yet, go on soon. */
static bool keep_room(struct writer *w)
{
    int rc;

    if (w->h->only_trim)
        checkpoint_cut(&w->cp, w->h);
    rc = ballast_step(&w->ballast);
    if (w->h->only_trim && rc <= 0) {
        w->h->only_trim = false;
        log_info("store.ballast", "action=store_again whole=%d", rc == 0);
    }
    return rc > 0;
}

/* One step; sets when the next one is due. True: that was all for now. */
static bool clean_up(struct writer *w, const atomic_bool *hurry)
{
    const struct trim_events on = { on_trims, on_trimmed, on_empty, w };
    int64_t next_ms;
    int rc;

    w->next_ns = 0;
    if (w->backup) {
        rc = backup_step(w->backup);
        if (rc <= 0)
            end_backup(w, rc);
        return false;
    }
    rc = loop_lags(w) ? ERR_AGAIN
                      : trim_step(w->h, hurry, &on, &next_ms);
    if (rc > 0)
        return false;
    if (rc == ERR_FULL && give_room(w))
        return false;
    if (rc != ERR_AGAIN && keep_room(w))
        return false;
    if (rc < 0 && rc != ERR_AGAIN)
        log_warn("store.trim", "error=%s action=retry", err_name(rc));
    w->retry_ns = rc == 0 ? 0 : db_work_ns() + RETRY_NS;
    w->next_ns = rc == 0 ? wait_ns(w, next_ms) : w->retry_ns;
    w->overdue_ns = INT64_MAX;
    return true;
}

/* Under load, cleaning gets a third of the time, or files only ever grow. */
static void clean_up_anyway(struct writer *w)
{
    static const atomic_bool never = false;
    int64_t start_ns = db_work_ns(), took_ns;

    if (start_ns < w->overdue_ns)
        return;
    (void)clean_up(w, &never);
    took_ns = db_work_ns() - start_ns;
    if (w->overdue_ns != INT64_MAX)
        w->overdue_ns = start_ns + took_ns * OVERDUE_SHARE;
}

/* --- writer thread --- */

/* A disk that hangs holds this thread up, which is watched for that. */
static void look_at_disk(struct writer *w)
{
    const char *path = w->h->opt.path;
    int64_t now_ns = clock_ns();
    struct statvfs fs;
    struct stat st;

    if (now_ns < w->look_ns)
        return;
    w->look_ns = now_ns + SECOND;
    if (stat(path, &st) == 0)
        set(&w->fig.database_bytes, (uint64_t)st.st_size);
    if (statvfs(path, &fs) == 0)
        set(&w->fig.free_bytes, (uint64_t)fs.f_bavail * fs.f_frsize);
}

static void publish_figures(struct writer *w)
{
    set(&w->fig.checkpoints, w->cp.count);
    set(&w->fig.untrimmed, skip_count(&w->h->skip));
    set(&w->fig.reopened, w->h->reopening.done);
    set(&w->fig.reopen_failed, w->h->reopening.failed);
    set(&w->fig.wal_bytes, (uint64_t)w->h->wal_pages * 4096);
    look_at_disk(w);
}

/* Waits for something to do. False: it is time to clean up. Else at least one
 * of *batch, *job and *stop is set. */
static bool next(struct writer *w, struct batch **batch, struct job **job,
                 bool *stop)
{
    struct timespec until = { 0, 0 };
    int late = 0;
    bool found;

    if (w->next_ns != INT64_MAX) {
        until.tv_sec = w->next_ns / SECOND;
        until.tv_nsec = w->next_ns % SECOND;
    }
    *job = NULL;
    pthread_mutex_lock(&w->lock);
    while (!w->batch && list_empty(&w->jobs) && !w->stop && !late) {
        if (w->next_ns == INT64_MAX)
            pthread_cond_wait(&w->wake, &w->lock);
        else
            late = pthread_cond_timedwait(&w->wake, &w->lock, &until);
    }
    if (!list_empty(&w->jobs)) {
        *job = CONTAINER_OF(w->jobs.next, struct job, node);
        list_remove(&(*job)->node);
    }
    *batch = *job ? NULL : w->batch; /* jobs go first */
    if (*batch)
        w->batch = NULL;
    *stop = w->stop && !*batch && !*job;
    found = *batch || *job || *stop;
    pthread_mutex_unlock(&w->lock);
    return found;
}

static void *work(void *arg)
{
    struct writer *w = arg;
    struct batch *batch;
    struct job *job;
    bool stop = false;

    (void)pthread_setname_np(pthread_self(), "store:writer");
    while (!stop) {
        if (!next(w, &batch, &job, &stop)) {
            if (clean_up(w, &w->hurry)
                && checkpoint_run(&w->cp, w->h, true))
                w->next_ns = MIN(w->next_ns, db_work_ns() + QUIET_NS);
        } else if (job) {
            run_job(w, job);
        } else if (batch) {
            atomic_store(&w->hurry, false);
            run_batch(w, batch);
            clean_up_anyway(w);
        }
        publish_figures(w);
    }
    end_backup(w, ERR_CLOSED);
    return NULL;
}

/* --- loop thread: results --- */

static void take_all(struct list_node *from, struct list_node *to)
{
    list_init(to);
    while (!list_empty(from)) {
        struct list_node *n = from->next;

        list_remove(n);
        list_add_tail(to, n);
    }
}

static void end_job(struct writer *w, struct job *j)
{
    if (j->run == make_epoch) {
        w->epochs--;
        if (j->rc == 0)
            memcpy(w->epoch, j->epoch, EPOCH_SIZE);
    }
    if (j->run == begin_backup)
        w->backup_asked = false;
    if (j->run == forget && j->rc < 0 && j->rc != ERR_CLOSED)
        log_warn("store.forget", "error=%s action=retry", err_name(j->rc));
    if (j->run == set_reached && j->rc < 0)
        log_warn("store.reached", "error=%s action=keep_old",
                 err_name(j->rc));
    if (j->fn)
        j->fn(j->arg, j->rc);
    free(j);
}

static void end_batch(struct writer *w, struct batch *b)
{
    w->busy = false;
    w->last_seq = w->h->last_seq;
    b->done(b);
}

static void on_done(void *arg)
{
    struct writer *w = arg;
    struct list_node notes, jobs;
    struct batch *b;

    pthread_mutex_lock(&w->lock);
    take_all(&w->notes, &notes);
    take_all(&w->jobs_done, &jobs);
    w->note_count = 0;
    b = w->ready;
    w->ready = NULL;
    pthread_mutex_unlock(&w->lock);
    LIST_FOREACH_SAFE(n, n_next, &notes, struct note, node) {
        n->tell(w, n);
        free(n);
    }
    LIST_FOREACH_SAFE(j, j_next, &jobs, struct job, node)
        end_job(w, j);
    if (b)
        end_batch(w, b);
}

/* --- loop thread: the life of a writer --- */

static void init_thread_parts(struct writer *w)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    counters_init(&w->counters);
    list_init(&w->jobs);
    list_init(&w->jobs_done);
    list_init(&w->notes);
}

static void discard(struct writer *w)
{
    counters_fini(&w->counters);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* A connection whose files could not be synced closes nothing cleanly. */
static void end_ahead(struct writer *w)
{
    if (ahead_rest(w->h->ahead) < 0)
        history_disconnect(w->h);
    ahead_free(w->h->ahead);
    w->h->ahead = NULL;
}

int writer_new(struct writer **ret, struct history *h, struct loop *loop,
               const struct writer_hooks *hooks)
{
    struct writer *w = calloc(1, sizeof *w);
    int rc;

    if (!w)
        return ERR_NOMEM;
    init_thread_parts(w);
    w->h = h;
    if (hooks)
        w->hooks = *hooks;
    w->last_seq = h->last_seq;
    memcpy(w->epoch, h->epoch, EPOCH_SIZE);
    w->overdue_ns = INT64_MAX;
    ballast_init(&w->ballast, history_path(h), h->opt.ballast);
    rc = ahead_new(&h->ahead, history_path(h));
    if (rc < 0)
        goto fail;
    rc = loop_wake_start(&w->done, loop, on_done, w);
    if (rc < 0)
        goto fail;
    rc = pthread_create(&w->thread, NULL, work, w) ? ERR_NOMEM : 0;
    if (rc < 0) {
        loop_wake_stop(&w->done);
        goto fail;
    }
    *ret = w;
    return 0;
fail:
    end_ahead(w);
    discard(w);
    return rc;
}

void writer_free(struct writer *w)
{
    struct list_node jobs;

    if (!w)
        return;
    w->closing = true;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_mutex_unlock(&w->lock);
    pthread_cond_signal(&w->wake);
    pthread_join(w->thread, NULL);
    on_done(w);
    take_all(&w->jobs, &jobs);
    LIST_FOREACH_SAFE(j, j_next, &jobs, struct job, node) {
        j->rc = ERR_CLOSED;
        end_job(w, j);
    }
    loop_wake_stop(&w->done);
    end_ahead(w);
    history_close(w->h);
    discard(w);
}

int writer_submit(struct writer *w, struct batch *b)
{
    CHECK(b->count > 0);
    if (w->closing)
        return ERR_CLOSED;
    if (w->busy)
        return ERR_BUSY;
    if (w->epochs == 0 && append_is_passing(w->h, b)) {
        append_passing(w->h, &w->counters, b);
        w->last_seq = w->h->last_seq;
        return WRITER_AT_ONCE;
    }
    w->busy = true;
    atomic_store(&w->hurry, true);
    pthread_mutex_lock(&w->lock);
    w->batch = b;
    pthread_mutex_unlock(&w->lock);
    pthread_cond_signal(&w->wake); /* who wakes finds the lock free */
    return 0;
}

void writer_set_reached(struct writer *w, uint64_t seq, uint32_t reached)
{
    struct job *j = w->closing ? NULL : job_new(set_reached, SLICE(""));

    if (!j) {
        log_warn("store.reached", "action=keep_old");
        return;
    }
    j->seq = seq;
    j->reached = reached;
    job_submit(w, j);
}

bool writer_busy(const struct writer *w)
{
    return w->busy;
}

uint64_t writer_last_seq(const struct writer *w)
{
    return w->last_seq;
}

const char *writer_epoch(const struct writer *w)
{
    return w->epoch;
}

void writer_drop_counter(struct writer *w, struct slice id)
{
    counters_drop(&w->counters, id);
}

static int submit(struct writer *w, struct job *j, writer_done_fn *fn,
                  void *arg)
{
    j->fn = fn;
    j->arg = arg;
    job_submit(w, j);
    return 0;
}

int writer_new_epoch(struct writer *w, writer_done_fn *fn, void *arg)
{
    struct job *j;

    if (w->closing)
        return ERR_CLOSED;
    j = job_new(make_epoch, SLICE(""));
    if (!j)
        return ERR_NOMEM;
    w->epochs++;
    return submit(w, j, fn, arg);
}

int writer_set_policy(struct writer *w, void *policy_arg, writer_done_fn *fn,
                      void *arg)
{
    struct job *j;

    if (w->closing)
        return ERR_CLOSED;
    j = job_new(use_policy, SLICE(""));
    if (!j)
        return ERR_NOMEM;
    j->policy_arg = policy_arg;
    return submit(w, j, fn, arg);
}

int writer_present(struct writer *w, struct slice changes, writer_done_fn *fn,
                   void *arg)
{
    struct job *j;

    if (w->closing)
        return ERR_CLOSED;
    j = job_new(note_present, changes);
    return j ? submit(w, j, fn, arg) : ERR_NOMEM;
}

int writer_probe(struct writer *w, writer_done_fn *fn, void *arg)
{
    struct job *j;

    if (w->closing)
        return ERR_CLOSED;
    j = job_new(say_alive, SLICE(""));
    return j ? submit(w, j, fn, arg) : ERR_NOMEM;
}

int writer_backup(struct writer *w, const char *file, writer_done_fn *fn,
                  void *arg)
{
    struct job *j;

    if (w->closing)
        return ERR_CLOSED;
    if (w->backup_asked)
        return ERR_BUSY;
    j = job_new(begin_backup, slice_make(file, strlen(file) + 1));
    if (!j)
        return ERR_NOMEM;
    w->backup_asked = true;
    return submit(w, j, fn, arg);
}

size_t writer_memory(void)
{
    return (size_t)sqlite3_memory_used();
}

uint64_t writer_trimmed_seq(const struct writer *w)
{
    return atomic_load(&w->trimmed_seq);
}

void writer_figures(const struct writer *w, struct writer_figures *ret)
{
#define GET(f) atomic_load_explicit(&w->fig.f, memory_order_relaxed)
    *ret = (struct writer_figures){
        .commits = GET(commits), .rows = GET(rows), .syncs = GET(syncs),
        .failures = GET(failures), .duplicates = GET(duplicates),
        .trimmed = GET(trimmed), .forgotten = GET(forgotten),
        .untrimmed = GET(untrimmed), .reopened = GET(reopened),
        .reopen_failed = GET(reopen_failed),
        .database_bytes = GET(database_bytes), .free_bytes = GET(free_bytes),
        .checkpoints = GET(checkpoints), .wal_bytes = GET(wal_bytes),
        .slowest_commit_us = GET(slowest_us), .last_error = GET(last_error),
    };
#undef GET
}
