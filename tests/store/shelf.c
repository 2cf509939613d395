#include "tests/store/shelf.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"

static _Atomic int64_t now_ms = INT64_C(1700000000000);
static _Atomic int64_t gone_ms; /* by set_time() */
static char boot[64] = "boot-1";

static bool show_times;

void shelf_show_times(bool yes)
{
    show_times = yes;
}

/* In front of the C library's. */
int fstat(int fd, struct stat *ret)
{
    int rc = (int)syscall(SYS_fstat, fd, ret);

    if (rc == 0 && !show_times)
        ret->st_ctim = (struct timespec){ 0, 0 };
    return rc;
}

static int64_t wall_ms(void)
{
    return atomic_load(&now_ms);
}

static int64_t run_ms(void)
{
    return atomic_load(&gone_ms);
}

static int boot_id(char out[64])
{
    memcpy(out, boot, sizeof boot);
    return 0;
}

void shelf_set_time(int64_t ms)
{
    atomic_fetch_add(&gone_ms, MAX(ms - atomic_load(&now_ms), 0));
    shelf_set_wall(ms);
}

void shelf_set_wall(int64_t ms)
{
    atomic_store(&now_ms, ms);
}

void shelf_set_boot(const char *name)
{
    snprintf(boot, sizeof boot, "%s", name);
}

bool shelf_match(struct slice pattern, struct slice id)
{
    size_t star = slice_find_byte(pattern, '*');

    return star == pattern.len ? slice_eq(pattern, id)
                               : slice_starts(id, slice_head(pattern, star));
}

struct shelf shelf_init(const char *name)
{
    return (struct shelf){
        .opt = {
            .path = test_path(name), .check_ms = 5000, .busy_ms = 100,
            .boot_id = boot_id, .wall_ms = wall_ms, .run_ms = run_ms,
        },
    };
}

/* --- hooks --- */

static void on_trimmed(void *arg, const struct id_record *now)
{
    struct shelf *s = arg;

    s->trimmed = *now;
    s->trimmed.id = slice_make(NULL, 0);
    s->trimmed_calls++;
}

static int64_t on_last_used(void *arg, struct slice id)
{
    struct shelf *s = arg;

    UNUSED(id);
    s->asked_calls++;
    return s->last_used;
}

static void on_forgotten(void *arg, struct slice id, struct forgotten now)
{
    struct shelf *s = arg;

    UNUSED(id);
    s->forgotten_calls++;
    s->forgotten_now = now;
}

/* --- opening and closing --- */

int shelf_try_open(struct shelf *s)
{
    struct writer_hooks hooks = {
        on_trimmed, on_last_used, on_forgotten, s,
    };
    struct history *h;
    int rc = history_open(&h, &s->opt, &s->report);

    if (rc < 0)
        return rc;
    memcpy(s->epoch, history_epoch(h), EPOCH_SIZE);
    s->first_seq = history_next_seq(h);
    s->forgotten = history_forgotten(h);
    EXPECT_OK(loop_new(&s->loop));
    EXPECT_OK(writer_new(&s->writer, h, s->loop, &hooks));
    EXPECT_OK(readers_new(&s->readers, s->opt.path, s->loop, 2,
                          shelf_match));
    EXPECT_OK(key_finder_new(&s->finder, s->opt.path));
    return 0;
}

void shelf_open(struct shelf *s)
{
    EXPECT_OK(shelf_try_open(s));
}

void shelf_close(struct shelf *s)
{
    key_finder_free(s->finder);
    readers_free(s->readers);
    writer_free(s->writer);
    loop_free(s->loop);
    s->finder = NULL;
    s->readers = NULL;
    s->writer = NULL;
    s->loop = NULL;
}

struct saved_file {
    char name[4200];
    struct buf bytes;
    bool there;
};

static void save(struct saved_file *f)
{
    int fd = open(f->name, O_RDONLY | O_CLOEXEC);
    struct stat st;
    size_t len;

    buf_init(&f->bytes);
    f->there = fd >= 0;
    if (!f->there)
        return;
    EXPECT_OK(fstat(fd, &st));
    len = (size_t)st.st_size;
    EXPECT(buf_reserve(&f->bytes, len + 1));
    EXPECT_INT(read(fd, f->bytes.ptr, len), len);
    f->bytes.len = len;
    close(fd);
}

static void put_back(struct saved_file *f)
{
    if (f->there)
        test_write_file(f->name, buf_slice(&f->bytes));
    else
        unlink(f->name);
    buf_fini(&f->bytes);
}

void shelf_cut(struct shelf *s, shelf_edit *edit)
{
    static const char *const suffixes[] = { "", "-wal", "-guard" };
    struct saved_file f[ARRAY_LEN(suffixes)];
    char shm[4200];

    for (size_t i = 0; i < ARRAY_LEN(f); i++) {
        snprintf(f[i].name, sizeof f[i].name, "%s%s", s->opt.path,
                 suffixes[i]);
        save(&f[i]);
        if (f[i].there && edit)
            edit(f[i].name, &f[i].bytes);
    }
    shelf_close(s);
    for (size_t i = 0; i < ARRAY_LEN(f); i++)
        put_back(&f[i]);
    snprintf(shm, sizeof shm, "%s-shm", s->opt.path);
    unlink(shm);
}

void shelf_kill(struct shelf *s)
{
    shelf_cut(s, NULL);
}

/* --- writing --- */

struct entry shelf_entry(const char *id, const char *data)
{
    return (struct entry){
        .rec = {
            .id = slice_str(id), .data = slice_str(data),
            .ts_ms = wall_ms(),
        },
        .stored = true,
    };
}

static void batch_done(struct batch *b)
{
    *(bool *)b->user = true;
}

int shelf_submit(struct shelf *s, struct entry *entries, size_t count)
{
    bool done = false;
    struct batch b = {
        .entries = entries, .count = count, .done = batch_done,
        .user = &done,
    };
    int rc = writer_submit(s->writer, &b);

    if (rc == WRITER_AT_ONCE)
        return b.rc;
    EXPECT_OK(rc);
    EXPECT_SOON(done, EXPECT_OK(loop_step(s->loop, SECOND / 10)));
    return b.rc;
}

struct entry shelf_put(struct shelf *s, const char *id, const char *data)
{
    struct entry e = shelf_entry(id, data);

    EXPECT_OK(shelf_submit(s, &e, 1));
    EXPECT_OK(e.rc);
    return e;
}

struct answer {
    bool done;
    int rc;
};

static void answered(void *arg, int rc)
{
    struct answer *a = arg;

    a->done = true;
    a->rc = rc;
}

int shelf_backup(struct shelf *s, const char *file)
{
    struct answer a = { false, 0 };

    EXPECT_OK(writer_backup(s->writer, file, answered, &a));
    EXPECT_SOON(a.done, EXPECT_OK(loop_step(s->loop, SECOND / 10)));
    return a.rc;
}

int shelf_new_epoch(struct shelf *s)
{
    struct answer a = { false, 0 };

    EXPECT_OK(writer_new_epoch(s->writer, answered, &a));
    EXPECT_SOON(a.done, EXPECT_OK(loop_step(s->loop, SECOND / 10)));
    return a.rc;
}

void shelf_turn(struct shelf *s)
{
    EXPECT_OK(loop_step(s->loop, SECOND / 100));
}

/* --- reading --- */

static void got_page(void *arg, struct page *page)
{
    *(struct page **)arg = page;
}

struct page *shelf_page(struct shelf *s, const struct page_request *q)
{
    struct page *page = NULL;

    EXPECT_OK(reader_page(s->readers, q, got_page, &page, NULL));
    EXPECT_SOON(page, EXPECT_OK(loop_step(s->loop, SECOND / 10)));
    return page;
}

struct page *shelf_read(struct shelf *s, const char *id, uint64_t after_seq)
{
    struct slice name = slice_str(id);
    struct page_request q = {
        .ids = &name, .id_count = 1, .after_seq = after_seq,
        .upto_seq = MAX(after_seq, writer_last_seq(s->writer)),
        .max_count = PAGE_COUNT_MAX, .max_bytes = 1 << 20,
    };

    return shelf_page(s, &q);
}

char *shelf_text(struct shelf *s, const char *id)
{
    struct page *p = shelf_read(s, id, 0);
    struct buf b = BUF_INIT;
    char *text;

    EXPECT_OK(p->rc);
    EXPECT_INT(p->more, false);
    for (size_t i = 0; i < p->count; i++) {
        buf_add_str(&b, i ? " " : "");
        buf_add(&b, p->records[i].data);
    }
    text = strdup(buf_text(&b));
    EXPECT(text);
    buf_fini(&b);
    page_free(p);
    return text;
}

static void got_list(void *arg, struct id_list *list)
{
    *(struct id_list **)arg = list;
}

struct id_list *shelf_ids(struct shelf *s, const char *pattern,
                          const char *after, size_t limit)
{
    struct id_list *list = NULL;

    EXPECT_OK(reader_ids(s->readers, slice_str(pattern), slice_str(after),
                         limit, got_list, &list, NULL));
    EXPECT_SOON(list, EXPECT_OK(loop_step(s->loop, SECOND / 10)));
    return list;
}

/* --- behind its back --- */

/*
 * The last one to close would take the WAL away. The store's own connections
 * write when they like (the trimmer goes round), so this one waits its turn.
 */
static sqlite3 *raw_open(const struct shelf *s)
{
    sqlite3 *conn;

    EXPECT_INT(sqlite3_open(s->opt.path, &conn), SQLITE_OK);
    EXPECT_INT(sqlite3_busy_timeout(conn, 60 * 1000), SQLITE_OK);
    sqlite3_db_config(conn, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return conn;
}

void shelf_sql(const struct shelf *s, const char *sql)
{
    sqlite3 *conn = raw_open(s);

    if (sqlite3_exec(conn, sql, NULL, NULL, NULL))
        test_fail(__FILE__, __LINE__, "%s: %s", sql, sqlite3_errmsg(conn));
    sqlite3_close(conn);
}

int64_t shelf_sql_int(const struct shelf *s, const char *sql)
{
    sqlite3 *conn = raw_open(s);
    sqlite3_stmt *st;
    int64_t ret;

    EXPECT_INT(sqlite3_prepare_v2(conn, sql, -1, &st, NULL), SQLITE_OK);
    EXPECT_INT(sqlite3_step(st), SQLITE_ROW);
    ret = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(conn);
    return ret;
}

void shelf_make_older(const struct shelf *s)
{
    shelf_sql(s, "DROP TABLE present");
    shelf_sql(s, "ALTER TABLE keys DROP COLUMN reached");
    shelf_sql(s, "ALTER TABLE store DROP COLUMN forgotten_seq");
    shelf_sql(s, "PRAGMA user_version = 1");
}

sqlite3 *shelf_pin(const struct shelf *s)
{
    sqlite3 *conn = raw_open(s);

    EXPECT_INT(sqlite3_exec(conn, "BEGIN; SELECT seq FROM log LIMIT 1", NULL,
                            NULL, NULL), SQLITE_OK);
    return conn;
}
