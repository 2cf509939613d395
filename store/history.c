#include "store/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/secret.h"
#include "store/ahead.h"
#include "store/core.h"
#include "store/file.h"
#include "store/filecheck.h"
#include "store/schema.h"
#include "store/walfile.h"

#define REOPEN_WAIT (100 * MILLISECOND)
#define REOPEN_MOST (5 * SECOND)

#define AS_SQL(name, sql) sql,
static const char *const statements[] = { STATEMENTS(AS_SQL) };

/* --- the connection --- */

/* A sync that fails now has failed for a connection that is given up. */
void history_disconnect(struct history *h)
{
    (void)ahead_rest(h->ahead);
    db_finalize(h->st, ST_COUNT);
    db_close(h->conn);
    h->conn = NULL;
    h->full_sync = false;
    h->impatient = false;
    ids_fini(&h->ids);
}

static int same_file(const struct history *h)
{
    struct stat st;

    if (stat(h->opt.path, &st) < 0)
        return ERR_IO;
    return st.st_ino == h->meta.inode && st.st_dev == h->meta.device
               ? 0 : ERR_IO;
}

static int set_sync(struct history *h, bool full)
{
    int rc = 0;

    if (h->full_sync != full)
        rc = db_exec(h->conn, full ? "PRAGMA synchronous = FULL"
                                   : "PRAGMA synchronous = NORMAL");
    if (rc == 0)
        h->full_sync = full;
    return rc;
}

static int remember_pages(void *arg, sqlite3 *conn, const char *name,
                          int pages)
{
    struct history *h = arg;

    UNUSED(conn);
    UNUSED(name);
    h->wal_pages = (unsigned)pages;
    return SQLITE_OK;
}

/* Everything a connection needs before its first transaction. */
static int prepare(struct history *h)
{
    int rc = db_prepare(h->conn, statements, h->st, ST_COUNT);

    if (rc == 0 && h->opt.max_size)
        rc = db_execf(h->conn, "PRAGMA max_page_count = %lld",
                      (long long)MAX(h->opt.max_size / 4096, 16));
    sqlite3_wal_hook(h->conn, remember_pages, h);
    return rc;
}

/* The key is a number of SQLite's, and a flipped bit may make it any. What is
 * too high to be a seq of ours is a row that nobody finds. */
static int newest_seq(sqlite3 *conn, uint64_t *ret)
{
    static const char *const sql =
        "SELECT seq FROM log WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1";
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(conn, &sql, &s, 1);

    if (rc == 0) {
        db_bind_u64(s, 1, MARK_MAX);
        rc = db_step(s);
    }
    if (rc >= 0)
        *ret = rc > 0 && db_i64(s, 0) > 0 ? db_u64(s, 0) : 0;
    db_finalize(&s, 1);
    return MIN(rc, 0);
}

/* A batch that failed at the sync may turn out to be there after all; then
 * append_batch() goes on above it. */
static int catch_up(struct history *h)
{
    uint64_t last;
    int rc = newest_seq(h->conn, &last);

    if (rc < 0)
        return rc;
    h->last_stored = MAX(h->last_stored, last);
    return db_int(h->conn, "SELECT ifnull(max(idn), 0) + 1 FROM ids",
                  &h->ids.next_idn);
}

/* Writing the row about the store overwrites what an interrupted commit left
 * behind in the WAL, and shows that the disk takes bytes again. */
static int prove_writing(struct history *h)
{
    int rc = history_begin(h, true);

    if (rc == 0)
        rc = meta_save(h->conn, &h->meta);
    if (rc == 0)
        return history_commit(h);
    history_rollback(h);
    return rc;
}

static int reopen(struct history *h)
{
    int rc = same_file(h);

    if (rc == 0)
        rc = db_open(&h->conn, h->opt.path, DB_WRITER, h->opt.busy_ms);
    if (rc < 0)
        return rc;
    rc = walfile_rewrite(h->conn, h->opt.path);
    if (rc == 0)
        rc = prepare(h);
    if (rc == 0)
        rc = catch_up(h);
    if (rc == 0)
        rc = prove_writing(h);
    if (rc < 0 && h->conn)
        history_disconnect(h);
    return rc;
}

int history_reopen(struct history *h)
{
    int rc;

    if (db_work_ns() < h->reopening.not_before_ns)
        return h->reopening.rc;
    rc = reopen(h);
    h->reopening.rc = rc;
    h->reopening.done += rc == 0;
    h->reopening.failed += rc < 0;
    h->reopening.wait_ns =
        rc == 0 || rc == ERR_FULL
            ? 0
            : MIN(MAX(2 * h->reopening.wait_ns, REOPEN_WAIT), REOPEN_MOST);
    h->reopening.not_before_ns = db_work_ns() + h->reopening.wait_ns;
    return rc;
}

/* --- transactions --- */

/* Whoever holds the lock is waited for once; as long as he goes on holding it,
 * what needs no disk is not held up again and again. */
static void set_patience(struct history *h, bool patient)
{
    if (h->impatient != !patient)
        sqlite3_busy_timeout(h->conn, patient ? h->opt.busy_ms : 0);
    h->impatient = !patient;
}

int history_begin(struct history *h, bool sync)
{
    int rc = sync ? ahead_wal(h->ahead) : 0;

    if (rc < 0) {
        log_warn("store.checkpoint", "error=\"%s\" action=retry",
                 strerror(errno));
        history_disconnect(h);
        return rc;
    }
    rc = set_sync(h, sync);
    if (rc == 0)
        rc = db_run(h->st[ST_BEGIN]);
    set_patience(h, rc != ERR_BUSY);
    return rc;
}

int history_commit(struct history *h)
{
    int rc = ids_flush(h);

    if (rc == 0)
        rc = db_run(h->st[ST_COMMIT]);
    if (rc < 0) {
        history_rollback(h);
        return rc;
    }
    ids_commit(h);
    return 0;
}

bool history_met_damage(const struct history *h)
{
    int primary = sqlite3_errcode(h->conn) & 0xff;

    return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB;
}

/* After an I/O error nobody knows what a file handle still holds: what is
 * committed next must not build on it. A page that makes no sense is only read
 * again: publishers of what lies there must not cost the others a connection
 * each time. */
void history_rollback(struct history *h)
{
    int primary = sqlite3_errcode(h->conn) & 0xff;
    bool damage = history_met_damage(h);

    db_rollback(h->conn);
    ids_rollback(h);
    if (damage)
        (void)sqlite3_db_release_memory(h->conn);
    if (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN
        || primary == SQLITE_READONLY)
        history_disconnect(h);
}

/* --- the mark --- */

bool history_mark_low(const struct history *h, uint64_t need)
{
    return h->last_seq + need + MARK_LOW > h->meta.mark;
}

static uint64_t next_mark(const struct history *h)
{
    return MIN(h->last_seq, MARK_MAX) + MARK_AHEAD;
}

int history_mark_move(struct history *h, uint64_t need)
{
    if (need > SEQ_MAX - h->last_seq)
        return ERR_FULL;
    h->meta.mark = next_mark(h);
    return meta_save(h->conn, &h->meta);
}

int history_mark_guard(struct history *h)
{
    uint64_t mark = next_mark(h);
    int rc = guard_write(&h->guard, h->meta.life, h->meta.life, mark);

    if (rc == 0)
        h->meta.mark = mark;
    return rc;
}

/* --- opening --- */

static int kernel_boot_id(char out[64])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, 63);

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return ERR_IO;
    out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return 0;
}

static int say(struct history_report *report, int rc, const char *text)
{
    if (!report->text[0])
        snprintf(report->text, sizeof report->text, "%s", text);
    return rc;
}

/* SQLite knows nothing of what failed outside of it, and has forgotten a
 * statement that is finalized. */
static const char *reason(const struct history *h, int rc)
{
    return h->conn && sqlite3_errcode(h->conn) != SQLITE_OK
               ? sqlite3_errmsg(h->conn) : err_text(rc);
}

static int say_unopened(const struct history *h,
                        struct history_report *report, int rc)
{
    char text[256];

    snprintf(text, sizeof text, "the file cannot be opened: %.200s",
             reason(h, rc));
    return say(report, rc, text);
}

static int say_no_guard(struct history_report *report, int rc)
{
    char text[256];

    snprintf(text, sizeof text, "the store's folder cannot be written to: %s%s",
             errno ? strerror(errno) : err_text(rc),
             errno == ENOSPC || errno == EDQUOT
                 ? "; free some of the disk, and start again"
                 : "; it has to be there, and belong to who runs the router");
    return say(report, rc, text);
}

/* What is said here is not for everybody on this machine; the WAL gets the
 * same mode. */
static int make_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);

    if (fd < 0)
        return ERR_IO;
    close(fd);
    return 0;
}

/* Nobody has read the file yet, for that makes one. */
static bool has_wal(const char *path)
{
    char name[FILE_NAME_SIZE];

    return file_name(name, path, "-wal") == 0 && access(name, F_OK) == 0;
}

/* Nothing is written before the file is known to be ours. */
static int connect_first(struct history *h, struct history_report *report)
{
    int rc;

    errno = 0;
    rc = guard_open(&h->guard, h->opt.path);
    if (rc == ERR_BUSY)
        return say(report, rc, "the store is in use by another process");
    if (rc < 0)
        return say_no_guard(report, rc);
    h->had_wal = has_wal(h->opt.path);
    rc = make_file(h->opt.path);
    if (rc == 0)
        rc = db_open(&h->conn, h->opt.path, DB_WRITER, h->opt.busy_ms);
    if (rc == 0)
        rc = schema_check(h->conn, report->text);
    if (rc == ERR_DAMAGED)
        return say(report, rc, "the file is damaged or not a database: move "
                   "it away, or restore a backup");
    return rc < 0 ? say_unopened(h, report, rc) : 0;
}

/* The answer is the mode that is in force. */
static int use_wal(struct history *h)
{
    static const char *const sql = "PRAGMA journal_mode = WAL";
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(h->conn, &sql, &s, 1);

    if (rc == 0)
        rc = db_step(s);
    if (rc > 0)
        rc = slice_eq(db_bytes(s, 0), SLICE("wal")) ? 0 : ERR_IO;
    db_finalize(&s, 1);
    return rc;
}

/* Our statements fit the tables that schema_check() has let pass, unless what
 * the file says of these is damaged. */
static int say_unprepared(struct history *h, struct history_report *report,
                          int rc)
{
    char text[256];

    if ((sqlite3_errcode(h->conn) & 0xff) == SQLITE_ERROR)
        rc = ERR_DAMAGED;
    snprintf(text, sizeof text, "%s%.200s",
             rc == ERR_DAMAGED ? "the database is damaged: " : "",
             reason(h, rc));
    return say(report, rc, text);
}

/* The last life may have ended behind a sync that failed: after a clean close
 * there is no WAL to write again. */
static int rewrite_wal(struct history *h, struct history_report *report)
{
    char text[256];
    int rc;

    errno = 0;
    rc = walfile_rewrite(h->conn, h->opt.path);
    if (rc == 0)
        return 0;
    snprintf(text, sizeof text, "what was written last cannot be written "
             "again: %.150s", errno ? strerror(errno) : err_text(rc));
    return say(report, rc, text);
}

static int prepare_first(struct history *h, struct history_report *report)
{
    int rc = use_wal(h);

    if (rc == 0)
        rc = rewrite_wal(h, report);
    if (rc == 0)
        report->check =
            filecheck(h->conn, h->opt.check_ms, report->text);
    if (rc == 0)
        rc = schema_migrate(h->conn, report->text);
    if (rc == 0)
        rc = prepare(h);
    return rc < 0 ? say_unprepared(h, report, rc) : 0;
}

/* What a start finds, before it decides. */
struct found {
    int meta;              /* meta_load() */
    struct ids_index index;
    uint64_t last_seq;     /* highest in ids and log */
    uint64_t damaged;
    bool same_boot;
    struct stat file;
    char boot[BOOT_SIZE];
};

static int look(struct history *h, struct found *f)
{
    int rc;

    f->meta = meta_load(h->conn, &h->meta);
    if (f->meta < 0 && f->meta != ERR_NOT_FOUND && f->meta != ERR_DAMAGED)
        return f->meta;
    if (stat(h->opt.path, &f->file) < 0)
        return ERR_IO;
    f->same_boot = h->opt.boot_id(f->boot) == 0
                   && strcmp(f->boot, h->meta.boot) == 0;
    rc = ids_check(h, &f->index, &f->last_seq, &f->damaged);
    if (rc == 0)
        rc = newest_seq(h->conn, &h->last_stored);
    f->last_seq = MAX(f->last_seq, h->last_stored);
    return rc;
}

/* Other boots may have lost what was not synced, which is another reason. */
static bool knows_less(const struct history *h, const struct found *f)
{
    return f->same_boot && h->guard.note.life == h->meta.life
           && h->guard.note.seq > f->last_seq;
}

/* A WAL is cut and never deleted, but by others: who was not closed and has
 * none may have lost what was in it. */
static bool is_another_file(const struct history *h, const struct found *f)
{
    const struct guard *g = &h->guard;

    return (!h->had_wal && !h->meta.clean) || f->file.st_ino != h->meta.inode
           || f->file.st_dev != h->meta.device || !g->found || g->touched
           || (h->meta.life != g->lives[0] && h->meta.life != g->lives[1])
           || knows_less(h, f);
}

static enum epoch_reason judge(const struct history *h, const struct found *f)
{
    if (f->meta == ERR_NOT_FOUND)
        return f->last_seq ? EPOCH_DAMAGED : EPOCH_NEW;
    if (f->meta == ERR_DAMAGED || f->damaged)
        return EPOCH_DAMAGED;
    if (h->meta.backup)
        return EPOCH_RESTORED;
    if (is_another_file(h, f))
        return EPOCH_COPIED;
    if (f->last_seq > MAX(h->meta.mark, h->guard.mark)
        || MAX(h->meta.mark, h->guard.mark) > MARK_MAX)
        return EPOCH_MARK;
    return f->same_boot || h->meta.clean ? EPOCH_SAME : EPOCH_BOOT;
}

/* A guard beside a new file is that of another one: its mark says nothing. A
 * mark that cannot be is damaged. */
static uint64_t first_mark(const struct history *h, const struct found *f)
{
    uint64_t mark = f->meta == ERR_NOT_FOUND ? 0 : h->meta.mark;

    if (f->meta != ERR_NOT_FOUND && h->guard.found)
        mark = MAX(mark, h->guard.mark);
    if (mark > MARK_MAX)
        mark = 0;
    return MAX(mark, f->last_seq);
}

static int new_epoch(struct history *h, enum epoch_reason why)
{
    char name[EPOCH_SIZE];
    int rc;

    epoch_draw(name);
    rc = epoch_add(h->conn, name, h->last_seq, history_now(h), why);
    if (rc == 0)
        memcpy(h->epoch, name, sizeof name);
    return rc;
}

static void begin_life(struct history *h, const struct found *f)
{
    uint64_t mark = first_mark(h, f);

    h->last_seq = mark;
    h->first_seq = mark + 1;
    h->meta.mark = mark + MARK_AHEAD;
    h->meta.device = f->file.st_dev;
    h->meta.inode = f->file.st_ino;
    memcpy(h->meta.boot, f->boot, sizeof f->boot);
    h->meta.life = random_u64();
    h->meta.clean = false;
    h->meta.backup = false;
    if (f->meta == ERR_DAMAGED)
        h->meta.forgotten = (struct forgotten){.seq = 0};
}

/* Inside the transaction. The guard knows both lives while the commit is
 * under way, so that a kill at any point leaves a pair that matches. */
static int start_life(struct history *h, const struct ids_index *index,
                      struct history_report *report)
{
    struct found f = { .boot = "", .index = *index };
    uint64_t old;
    int rc = look(h, &f);

    if (rc < 0)
        return rc;
    report->why = judge(h, &f);
    report->clean = f.meta == 0 && h->meta.clean;
    report->damaged_ids = f.damaged;
    if (report->why == EPOCH_SAME
        && epoch_current(h->conn, h->epoch) < 0)
        report->why = EPOCH_DAMAGED;
    old = h->meta.life;
    begin_life(h, &f);
    if (report->why != EPOCH_SAME)
        rc = new_epoch(h, report->why);
    if (rc == 0)
        rc = meta_save(h->conn, &h->meta);
    if (rc == 0)
        rc = guard_write(&h->guard, old, h->meta.life, h->meta.mark);
    return rc;
}

static int start(struct history *h, struct history_report *report)
{
    struct ids_index index;
    int rc = ids_index(h, &index);

    if (rc < 0)
        return say(report, rc, err_text(rc));
    rc = history_begin(h, true);
    if (rc < 0)
        return say(report, rc,
                   rc == ERR_BUSY ? "the database is locked by another process"
                                  : reason(h, rc));
    rc = start_life(h, &index, report);
    if (rc == 0)
        rc = history_commit(h);
    else
        history_rollback(h);
    if (rc == 0)
        rc = guard_write(&h->guard, h->meta.life, h->meta.life,
                         h->meta.mark);
    /* SQLite has synced the names in the folder, but not the folder's. */
    if (rc == 0 && report->why == EPOCH_NEW)
        file_sync_folder_name(h->opt.path);
    return rc < 0 ? say(report, rc, err_text(rc)) : 0;
}

/* Lets go of everything without the marks of a clean close. */
static void discard(struct history *h)
{
    if (!h)
        return;
    if (h->conn)
        history_disconnect(h);
    ids_fini(&h->ids);
    skip_fini(&h->skip);
    guard_close(&h->guard);
    free((char *)(uintptr_t)h->opt.path);
    free(h);
}

static int64_t run_ms(void)
{
    return clock_ns() / MILLISECOND;
}

static int create(struct history **ret, const struct history_options *opt)
{
    struct history *h = calloc(1, sizeof *h);

    if (!h)
        return ERR_NOMEM;
    h->opt = *opt;
    h->opt.path = strdup(opt->path);
    if (!h->opt.wall_ms)
        h->opt.wall_ms = clock_wall_ms;
    if (!h->opt.run_ms)
        h->opt.run_ms = run_ms;
    if (!h->opt.boot_id)
        h->opt.boot_id = kernel_boot_id;
    h->guard = (struct guard)GUARD_INIT;
    ids_init(&h->ids);
    skip_init(&h->skip);
    if (!h->opt.path) {
        discard(h);
        return ERR_NOMEM;
    }
    *ret = h;
    return 0;
}

/* Goes on where the last life may have ended, at the earliest: with the wall only
 * where no key waits, or a clock that was set between two lives would count. What
 * cannot be read is no reason not to begin. */
static void start_key_time(struct history *h)
{
    sqlite3_stmt *last = h->st[ST_KEY_LAST];
    int64_t now_ms = history_now(h);

    if (db_step(last) > 0 && sqlite3_column_type(last, 0) != SQLITE_NULL)
        now_ms = db_i64(last, 0) - KEY_KEEP_MS;
    sqlite3_reset(last);
    h->key_ms = now_ms - h->opt.run_ms();
}

int history_open(struct history **ret, const struct history_options *opt,
                 struct history_report *report)
{
    struct history *h;
    int rc;

    *report = (struct history_report){ .check = CHECK_NONE };
    rc = create(&h, opt);
    if (rc < 0)
        return say(report, rc, err_text(rc));
    rc = connect_first(h, report);
    if (rc == 0)
        rc = prepare_first(h, report);
    if (rc == 0)
        rc = start(h, report);
    if (rc < 0) {
        discard(h);
        return rc;
    }
    start_key_time(h);
    *ret = h;
    return 0;
}

/* --- closing --- */

/* The mirror image of start_life(). */
static int end_life(struct history *h)
{
    uint64_t old = h->meta.life;
    int rc = history_begin(h, true);

    if (rc < 0)
        return rc;
    h->meta.life = random_u64();
    h->meta.clean = true;
    rc = meta_save(h->conn, &h->meta);
    if (rc == 0)
        rc = guard_write(&h->guard, old, h->meta.life, h->meta.mark);
    if (rc < 0) {
        history_rollback(h);
        return rc;
    }
    rc = history_commit(h);
    return rc < 0 ? rc : guard_write(&h->guard, h->meta.life, h->meta.life,
                                     h->meta.mark);
}

void history_close(struct history *h)
{
    int rc;

    if (!h)
        return;
    rc = h->conn ? 0 : reopen(h);
    if (rc == 0)
        rc = end_life(h);
    if (rc < 0)
        log_error("store.close", "error=%s result=not_clean", err_name(rc));
    else
        sqlite3_wal_checkpoint_v2(h->conn, NULL, SQLITE_CHECKPOINT_TRUNCATE,
                                  NULL, NULL);
    discard(h);
}

/* --- asking --- */

const char *history_path(const struct history *h)
{
    return h->opt.path;
}

const char *history_epoch(const struct history *h)
{
    return h->epoch;
}

uint64_t history_last_seq(const struct history *h)
{
    return h->last_stored;
}

uint64_t history_next_seq(const struct history *h)
{
    return h->first_seq;
}

struct forgotten history_forgotten(const struct history *h)
{
    return h->meta.forgotten;
}

int history_new_epoch(struct history *h)
{
    char before[EPOCH_SIZE];
    int rc = h->conn ? 0 : history_reopen(h);

    if (rc == 0)
        rc = history_begin(h, true);
    if (rc < 0)
        return rc;
    memcpy(before, h->epoch, sizeof before);
    rc = new_epoch(h, EPOCH_ASKED);
    if (rc < 0)
        history_rollback(h);
    else
        rc = history_commit(h);
    if (rc < 0)
        memcpy(h->epoch, before, sizeof before);
    return rc;
}

uint64_t history_body_hash(struct slice body)
{
    return XXH3_64bits(body.len ? (const void *)body.ptr : "", body.len);
}

int history_ids(struct history *h, history_id_fn *fn, void *arg)
{
    static const char *const sql = "SELECT " ID_COLUMNS " FROM ids";
    struct id_record r;
    sqlite3_stmt *s = NULL;
    int64_t oldest_ms, due_ms;
    int rc = db_prepare(h->conn, &sql, &s, 1);

    if (rc == 0)
        rc = db_step(s);
    while (rc > 0) {
        rc = ids_read(s, &r, &oldest_ms, &due_ms);
        if (rc == 0)
            rc = fn(arg, &r);
        if (rc == 0)
            rc = db_step(s);
    }
    db_finalize(&s, 1);
    return rc;
}

uint64_t history_state_sum(struct slice id, uint64_t offset,
                           struct slice state)
{
    return sum_bytes(sum_bytes(sum_u64s(SUM_START, &offset, 1), id), state);
}

int history_states(struct history *h, history_state_fn *fn, void *arg)
{
    static const char *const sql =
        "SELECT id, offset, state, states.sum FROM states JOIN ids "
        "USING (idn)";
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(h->conn, &sql, &s, 1);

    if (rc == 0)
        rc = db_step(s);
    while (rc > 0) {
        struct slice id = db_bytes(s, 0), state = db_bytes(s, 2);
        uint64_t offset = db_u64(s, 1);

        rc = 0;
        if (history_state_sum(id, offset, state) == db_u64(s, 3))
            rc = fn(arg, id, offset, state);
        else
            log_warn("store.state_damaged", "id=%s action=fold_again",
                     log_quote(id).text);
        if (rc == 0)
            rc = db_step(s);
    }
    db_finalize(&s, 1);
    return rc;
}

int history_recent_names(struct history *h, int64_t since_ms, size_t limit,
                         history_name_fn *fn, void *arg)
{
    static const char *const sql =
        "SELECT seq, offset, ts_ms, session, number, id FROM (SELECT * "
        "FROM log ORDER BY seq DESC LIMIT ?1) JOIN ids USING (idn) "
        "WHERE session IS NOT NULL AND ts_ms >= ?2 ORDER BY seq DESC "
        "LIMIT ?3";
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(h->conn, &sql, &s, 1);

    if (rc == 0) {
        db_bind_u64(s, 1, MIN(limit, SIZE_MAX / 8) * 4);
        db_bind_i64(s, 2, since_ms);
        db_bind_u64(s, 3, limit);
        rc = db_step(s);
    }
    while (rc > 0) {
        struct record r = {
            .seq = db_u64(s, 0), .offset = db_u64(s, 1),
            .ts_ms = db_i64(s, 2), .session = db_u64(s, 3),
            .number = db_u64(s, 4), .id = db_bytes(s, 5),
        };

        rc = fn(arg, &r);
        if (rc == 0)
            rc = db_step(s);
    }
    db_finalize(&s, 1);
    return rc;
}
