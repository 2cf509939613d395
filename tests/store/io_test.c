/* The disk fails: writes and syncs return errors, or the power goes and what
 * was not synced is gone. These functions stand in front of the C library's,
 * also for SQLite. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "tests/store/shelf.h"

/* --- the disk --- */

/* What a write replaced, until it is synced. A sync that fails takes it for
 * written, as the kernel does: then only writing the place again helps. */
struct undo {
    struct undo *before;
    ino_t inode;
    off_t offset, size; /* size: of the file before */
    size_t len;
    bool lost;
    uint8_t bytes[]; /* zeros where there was no file */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct undo *undo;
static bool recording;
static long calls, fail_at = -1;
static bool fail_on;       /* from then on, not only once */
static int fail_errno, syncs;
static ino_t synced; /* the file or folder that is looked out for, or 0 */
static atomic_int bad_syncs; /* so many fail, whatever comes between */
static atomic_ulong bad_file; /* whose next sync fails, or 0 */

/* Of a WAL: what the thread that commits had to sync itself, and waited for. */
enum { WAL_SIZE = 16 << 20, FRAME = 4096 + 24 };
static struct {
    ino_t inode;         /* 0: none is watched */
    off_t end, unsynced; /* bytes */
    off_t waited_for;    /* most at a time, in a WAL of up to three quarters */
    atomic_int anew;     /* it has begun so often */
} wal;

static bool is_wal(int fd)
{
    struct stat st;

    return wal.inode && fstat(fd, &st) == 0 && st.st_ino == wal.inode;
}

static void note_wal_write(size_t len, off_t offset)
{
    if (offset == 0) {
        wal.anew++;
        wal.end = 0;
    }
    wal.end = MAX(wal.end, offset + (off_t)len);
    wal.unsynced += (off_t)len;
}

static void note_wal_sync(void)
{
    char name[16];

    if (pthread_getname_np(pthread_self(), name, sizeof name) == 0 &&
        strcmp(name, "store:writer") == 0 && wal.end <= WAL_SIZE / 4 * 3)
        wal.waited_for = MAX(wal.waited_for, wal.unsynced);
    wal.unsynced = 0;
}

static bool fails(void)
{
    long now = calls++;
    bool yes = fail_at >= 0 && (fail_on ? now >= fail_at : now == fail_at);

    if (yes)
        errno = fail_errno;
    return yes;
}

static void record(int fd, size_t len, off_t offset)
{
    struct undo *u = calloc(1, sizeof *u + len);
    struct stat st;

    if (!u || fstat(fd, &st) < 0 || pread(fd, u->bytes, len, offset) < 0)
        abort();
    u->inode = st.st_ino;
    u->offset = offset;
    u->size = st.st_size;
    u->len = len;
    u->before = undo;
    undo = u;
}

static ssize_t write_at(int fd, const void *bytes, size_t len, off_t offset)
{
    bool no;

    pthread_mutex_lock(&lock);
    no = fails();
    if (!no && recording)
        record(fd, len, offset);
    if (is_wal(fd))
        note_wal_write(len, offset);
    pthread_mutex_unlock(&lock);
    return no ? -1 : syscall(SYS_pwrite64, fd, bytes, len, offset);
}

/* What this write put over the places of lost ones has come to stay. */
static void mend(int fd, const struct undo *now)
{
    off_t end = now->offset + (off_t)now->len;

    for (struct undo *u = undo; u; u = u->before) {
        off_t from = MAX(u->offset, now->offset);
        off_t to = MIN(u->offset + (off_t)u->len, end);

        if (!u->lost || u->inode != now->inode)
            continue;
        u->size = MAX(u->size, end);
        if (from < to && pread(fd, u->bytes + (from - u->offset),
                               (size_t)(to - from), from) != to - from)
            abort();
    }
}

static void settle(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        abort();
    for (struct undo **u = &undo; *u;) {
        struct undo *gone = *u;

        if (gone->inode != st.st_ino || gone->lost) {
            u = &gone->before;
            continue;
        }
        *u = gone->before;
        mend(fd, gone);
        free(gone);
    }
}

static void lose(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        abort();
    for (struct undo *u = undo; u; u = u->before)
        u->lost = u->lost || u->inode == st.st_ino;
}

static bool is_bad(int fd)
{
    struct stat st;
    bool yes = bad_file && fstat(fd, &st) == 0 && st.st_ino == bad_file;

    if (yes) {
        bad_file = 0;
        errno = EIO;
    }
    return yes;
}

/* A disk that takes its time: no sync ends before the gate is opened. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool gated;
static atomic_int held, passed;

static bool pass_gate(void)
{
    if (!gated)
        return false;
    held++;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return true;
}

static void close_gate(void)
{
    pthread_mutex_lock(&gate);
    held = passed = 0;
    gated = true;
}

static void open_gate(void)
{
    gated = false;
    pthread_mutex_unlock(&gate);
    EXPECT_SOON(passed == held, sched_yield());
}

static int sync_file(int fd, long number)
{
    bool no, was_held = pass_gate();
    int rc;

    pthread_mutex_lock(&lock);
    no = fails() || is_bad(fd);
    if (!no && bad_syncs > 0) {
        bad_syncs--;
        errno = EIO;
        no = true;
    }
    if (no) {
        lose(fd);
    } else {
        struct stat st;

        syncs++;
        settle(fd);
        if (fstat(fd, &st) == 0 && st.st_ino == synced)
            synced = 0;
    }
    if (is_wal(fd))
        note_wal_sync();
    pthread_mutex_unlock(&lock);
    rc = no ? -1 : (int)syscall(number, fd);
    passed += was_held;
    return rc;
}

/* Declared by unistd.h; SQLite is linked to either of the first two. */
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    return write_at(fd, bytes, len, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset)
{
    return write_at(fd, bytes, len, offset);
}

int fdatasync(int fd)
{
    return sync_file(fd, SYS_fdatasync);
}

int fsync(int fd)
{
    return sync_file(fd, SYS_fsync);
}

static atomic_int allocated; /* calls */

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    allocated++;
    return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

static void disk_fails(long at, bool on, int with)
{
    pthread_mutex_lock(&lock);
    calls = 0;
    fail_at = at;
    fail_on = on;
    fail_errno = with;
    pthread_mutex_unlock(&lock);
}

/* True when a failure did happen. */
static bool disk_works(void)
{
    bool failed;

    pthread_mutex_lock(&lock);
    failed = fail_at >= 0 && calls > fail_at;
    fail_at = -1;
    pthread_mutex_unlock(&lock);
    return failed;
}

/* Nothing that was not synced has reached the disk. */
static void forget_unsynced(const char *path, struct buf *bytes)
{
    struct stat st;

    EXPECT_OK(stat(path, &st));
    pthread_mutex_lock(&lock);
    recording = false;
    for (struct undo *u = undo; u; u = u->before) {
        if (u->inode != st.st_ino)
            continue;
        if (bytes->len > (size_t)u->size)
            buf_truncate(bytes, (size_t)u->size);
        if (bytes->len > (size_t)u->offset)
            memcpy(bytes->ptr + u->offset, u->bytes,
                   MIN(u->len, bytes->len - (size_t)u->offset));
    }
    pthread_mutex_unlock(&lock);
}

static void cut_power(struct shelf *s)
{
    shelf_cut(s, forget_unsynced);
    while (undo) {
        struct undo *u = undo;

        undo = u->before;
        free(u);
    }
}

/* --- tests --- */

TEST(the_disk_of_these_tests_is_the_one_sqlite_uses)
{
    struct shelf s = shelf_init("db");
    int before;

    shelf_open(&s);
    disk_fails(0, true, EIO);
    shelf_submit(&s, (struct entry[]){ shelf_entry("room/a", "x") }, 1);
    EXPECT(disk_works());
    shelf_put(&s, "room/a", "x");
    before = syncs;
    shelf_put(&s, "room/a", "y");
    EXPECT_INT(syncs, before);
    shelf_close(&s);
}

/* Or all of it may be gone, though every byte was synced. */
TEST(the_name_of_a_new_folder_is_on_the_disk_too)
{
    struct shelf s = shelf_init("new/db");
    struct stat st;

    EXPECT_OK(mkdir(test_path("new"), 0700));
    EXPECT_OK(stat(test_path("."), &st));
    synced = st.st_ino;
    shelf_open(&s);
    EXPECT_INT(synced, 0);
    shelf_close(&s);
}

TEST(power_is_on_the_disk_before_the_answer)
{
    struct shelf s = shelf_init("db");
    struct entry e = shelf_entry("match/1", "goal");
    int before;

    e.sync = true;
    shelf_open(&s);
    shelf_put(&s, "room/a", "x");
    before = syncs;
    shelf_put(&s, "room/a", "x");
    EXPECT_INT(syncs, before);
    EXPECT_OK(shelf_submit(&s, &e, 1));
    EXPECT(syncs > before);
    shelf_close(&s);
}

/* Runs batches while the disk fails; notes what was acknowledged. */
static unsigned workload(struct shelf *s, uint64_t *acked)
{
    unsigned n = 0;

    for (int i = 0; i < 6; i++) {
        struct entry e[3] = {
            shelf_entry("room/a", "a"), shelf_entry("volatile/x", "v"),
            shelf_entry("room/a", "b"),
        };

        e[1].stored = false;
        e[2].sync = i % 3 == 0;
        (void)shelf_submit(s, e, 3);
        EXPECT_OK(e[1].rc); /* whatever the disk says */
        EXPECT_INT(e[1].rec.offset, i + 1);
        EXPECT_INT(e[0].rc, e[2].rc);
        if (e[0].rc < 0)
            EXPECT_INT(e[0].rec.seq, 0);
        else
            acked[n++] = e[0].rec.offset, acked[n++] = e[2].rec.offset;
    }
    return n;
}

/* Everything acknowledged is there, once, and nothing twice. */
static void expect_kept(struct shelf *s, const uint64_t *acked, unsigned n)
{
    struct page *p = shelf_read(s, "room/a", 0);
    size_t at = 0;

    EXPECT_OK(p->rc);
    EXPECT_INT(p->damaged_count, 0);
    for (size_t i = 0; i < p->count; i++)
        EXPECT_INT(p->records[i].offset, i + 1);
    for (unsigned i = 0; i < n; i++) {
        while (at < p->count && p->records[at].offset != acked[i])
            at++;
        EXPECT(at < p->count);
    }
    page_free(p);
}

/* The store may leave a disk that failed alone for a while. */
static uint64_t put_when_it_works(struct shelf *s)
{
    struct entry e = shelf_entry("room/a", "after");

    EXPECT_SOON(shelf_submit(s, &e, 1) == 0, shelf_turn(s));
    EXPECT_OK(e.rc);
    return e.rec.offset;
}

static bool try_failure(long at, bool on, int with)
{
    struct shelf s = shelf_init("db");
    uint64_t acked[13];
    unsigned n;
    bool failed;

    shelf_open(&s);
    disk_fails(at, on, with);
    n = workload(&s, acked);
    failed = disk_works();
    EXPECT(failed || n == 12);
    acked[n++] = put_when_it_works(&s);
    expect_kept(&s, acked, n);
    shelf_kill(&s);
    shelf_open(&s);
    EXPECT_STR(epoch_reason_name(s.report.why), "same");
    EXPECT_INT(s.report.check, CHECK_GOOD);
    expect_kept(&s, acked, n);
    shelf_close(&s);
    unlink(s.opt.path);
    return failed;
}

TEST(after_any_one_failed_write_or_sync_nothing_acknowledged_is_lost)
{
    long n = 0;

    while (try_failure(n, false, EIO))
        n++;
    EXPECT(n >= 8); /* a write for each batch, and two are synced */
}

/* Opens what a kill has left while every write and sync from this one on
 * fails. False: that many are not needed. */
static bool try_start(struct shelf *s, long at)
{
    int rc;

    disk_fails(at, true, EIO);
    rc = shelf_try_open(s);
    if (!disk_works()) {
        EXPECT_OK(rc);
        return false;
    }
    EXPECT_ERR(rc, ERR_IO);
    EXPECT(strstr(s->report.text, err_text(ERR_IO))
           || strstr(s->report.text, strerror(EIO)));
    return true;
}

TEST(a_start_on_a_disk_that_fails_says_that_it_does)
{
    struct shelf s = shelf_init("db");
    int again = 0;

    shelf_open(&s);
    shelf_put(&s, "room/a", "x");
    shelf_kill(&s);
    for (long n = 0; try_start(&s, n); n++)
        again += strstr(s.report.text, "written again: ") != NULL;
    EXPECT(again >= 4); /* the WAL and the database's pages, and their syncs */
    shelf_close(&s);
}

TEST(a_disk_that_fails_for_a_while_needs_no_restart)
{
    for (long n = 0; try_failure(n, true, EIO); n += 7)
        ;
}

/* Publishes until the database has been opened in vain so many times. When
 * that was known. */
static int64_t until_attempt(struct shelf *s, uint64_t count)
{
    struct entry e = shelf_entry("room/a", "lost");
    struct writer_figures f;

    EXPECT_SOON((writer_figures(s->writer, &f), f.reopen_failed >= count),
                EXPECT_ERR(shelf_submit(s, &e, 1), ERR_IO));
    EXPECT_INT(f.reopen_failed, count);
    return clock_ns();
}

TEST(a_disk_that_fails_is_tried_again_less_and_less_often)
{
    struct shelf s = shelf_init("db");
    struct writer_figures f;
    int64_t begin, first, second, third;

    shelf_open(&s);
    disk_fails(0, true, EIO);
    begin = clock_ns();
    first = until_attempt(&s, 1);
    second = until_attempt(&s, 2);
    third = until_attempt(&s, 3);
    EXPECT(second - begin >= SECOND / 10);
    EXPECT(third - first >= SECOND / 5);
    EXPECT(disk_works());
    put_when_it_works(&s);
    EXPECT_SOON((writer_figures(s.writer, &f), f.reopened == 1),
                shelf_turn(&s));
    shelf_close(&s);
}

TEST(a_full_disk_needs_no_restart)
{
    for (long n = 0; try_failure(n, true, ENOSPC); n += 7)
        ;
}

/* Commits in front of it lie in the same file: what the kernel took for
 * written must be written again before anything behind it counts. */
static void fail_a_sync(struct shelf *s)
{
    struct entry e = shelf_entry("match/1", "failed");

    e.sync = true;
    disk_fails(1, false, EIO); /* after the write of the commit */
    EXPECT_ERR(shelf_submit(s, &e, 1), ERR_IO);
    EXPECT(disk_works());
}

static void expect_goal_survives_a_power_cut(struct shelf *s)
{
    struct entry e = shelf_entry("match/1", "goal");
    char *text;

    e.sync = true;
    EXPECT_OK(shelf_submit(s, &e, 1));
    EXPECT_OK(e.rc);
    cut_power(s);
    shelf_set_boot("after");
    shelf_open(s);
    text = shelf_text(s, "match/1");
    EXPECT_STR(text, "goal");
    free(text);
    shelf_close(s);
}

TEST(after_a_failed_sync_power_still_means_on_the_disk)
{
    struct shelf s = shelf_init("db");

    recording = true;
    shelf_open(&s);
    for (int i = 0; i < 5; i++)
        shelf_put(&s, "room/a", "not synced");
    fail_a_sync(&s);
    expect_goal_survives_a_power_cut(&s);
}

/* What is not stored goes on meanwhile, and takes the next numbers. */
TEST(a_number_of_a_commit_that_failed_is_given_to_nobody_else)
{
    struct shelf s = shelf_init("db");
    struct entry e = shelf_entry("volatile/x", "x");
    char sql[80];

    e.stored = false;
    shelf_open(&s);
    fail_a_sync(&s);
    EXPECT_OK(shelf_submit(&s, &e, 1));
    shelf_kill(&s);
    shelf_open(&s);
    shelf_close(&s);
    EXPECT_INT(shelf_sql_int(&s, "SELECT count(*) FROM log"), 1);
    snprintf(sql, sizeof sql, "SELECT count(*) FROM log WHERE seq = %llu",
             (unsigned long long)e.rec.seq);
    EXPECT_INT(shelf_sql_int(&s, sql), 0);
}

TEST(after_a_failed_checkpoint_power_still_means_on_the_disk)
{
    static char big[50000];
    struct shelf s = shelf_init("db");

    memset(big, 'x', sizeof big - 1);
    recording = true;
    shelf_open(&s);
    bad_syncs = 1;
    for (int i = 0; i < 100; i++)
        shelf_put(&s, "room/a", big);
    EXPECT_SOON(bad_syncs == 0, shelf_turn(&s));
    expect_goal_survives_a_power_cut(&s);
}

/* Of messages that ask for no sync themselves. */
TEST(commits_do_not_wait_for_the_syncs_of_a_checkpoint)
{
    static char big[4000];
    struct shelf s = shelf_init("db");

    memset(big, 'x', sizeof big - 1);
    s.opt.wal_size = 16 << 20;
    shelf_open(&s);
    shelf_put(&s, "room/a", big);
    for (int sync = 1; sync <= 2; sync++) {
        close_gate();
        EXPECT_SOON(held == 1, shelf_put(&s, "room/a", big));
        for (int i = 0; i < 20; i++)
            shelf_put(&s, "room/a", big);
        EXPECT_INT(held, 1);
        open_gate();
    }
    shelf_close(&s);
}

/* Else they do, for as long as it takes. */
TEST(a_wal_begins_anew_when_a_piece_has_left_little_to_sync)
{
    static char big[4000];
    struct shelf s = shelf_init("db");
    char path[300];
    struct stat st;

    memset(big, 'x', sizeof big - 1);
    s.opt.wal_size = WAL_SIZE;
    shelf_open(&s);
    shelf_put(&s, "room/a", big);
    snprintf(path, sizeof path, "%s-wal", s.opt.path);
    EXPECT_OK(stat(path, &st));
    pthread_mutex_lock(&lock);
    wal.inode = st.st_ino;
    pthread_mutex_unlock(&lock);
    EXPECT_SOON(wal.anew == 3, shelf_put(&s, "room/a", big));
    pthread_mutex_lock(&lock);
    wal.inode = 0;
    pthread_mutex_unlock(&lock);
    EXPECT(wal.waited_for <= WAL_SIZE / 4096 / 128 * FRAME);
    shelf_close(&s);
}

/* What the kernel told another handle it need not tell the commit's. */
TEST(power_means_on_the_disk_beside_a_sync_that_fails)
{
    static char big[4000];
    struct shelf s = shelf_init("db");
    struct entry e = shelf_entry("match/1", "goal");
    char *text;

    memset(big, 'x', sizeof big - 1);
    s.opt.wal_size = 4 << 20;
    recording = true;
    shelf_open(&s);
    shelf_put(&s, "room/a", big);
    close_gate();
    EXPECT_SOON(held == 1, shelf_put(&s, "room/a", big));
    bad_syncs = 1;
    open_gate();
    e.sync = true;
    if (shelf_submit(&s, &e, 1) < 0)
        EXPECT_OK(shelf_submit(&s, &e, 1));
    EXPECT_OK(e.rc);
    cut_power(&s);
    shelf_set_boot("after");
    shelf_open(&s);
    text = shelf_text(&s, "match/1");
    EXPECT_STR(text, "goal");
    free(text);
    shelf_close(&s);
}

/* The salt of a WAL is new whenever it begins anew. */
static uint64_t wal_salt(const struct shelf *s)
{
    char name[4200];
    uint64_t salt = 0;
    FILE *f;

    snprintf(name, sizeof name, "%s-wal", s->opt.path);
    f = fopen(name, "rb");
    if (f && fseek(f, 16, SEEK_SET) == 0)
        (void)!fread(&salt, sizeof salt, 1, f);
    if (f)
        fclose(f);
    return salt;
}

static void begin_wal_anew(struct shelf *s, const char *text)
{
    uint64_t before = wal_salt(s);

    EXPECT_SOON(wal_salt(s) != before, {
        shelf_put(s, "room/a", text);
        shelf_turn(s);
    });
}

/* A checkpoint that a reader cuts short copies pages without a sync, and no
 * later one copies them again. */
TEST(what_a_short_checkpoint_has_copied_survives_a_failed_sync_too)
{
    static char big[50000];
    struct shelf s = shelf_init("db");
    sqlite3 *other;
    struct page *p;
    struct stat st;

    memset(big, 'x', sizeof big - 1);
    s.opt.wal_size = 8 << 20;
    recording = true;
    shelf_open(&s);
    for (int i = 0; i < 20; i++)
        shelf_put(&s, "room/a", big);
    other = shelf_pin(&s);
    for (int i = 0; i < 200; i++)
        shelf_put(&s, "room/a", big);
    shelf_turn(&s);
    EXPECT_INT(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    EXPECT_OK(stat(s.opt.path, &st));
    bad_file = st.st_ino;
    EXPECT_SOON(bad_file == 0, {
        shelf_put(&s, "room/a", big);
        shelf_turn(&s);
    });
    begin_wal_anew(&s, big);
    sqlite3_close(other);
    expect_goal_survives_a_power_cut(&s);
    shelf_open(&s);
    p = shelf_read(&s, "room/a", 0);
    EXPECT_OK(p->rc);
    EXPECT(p->count > 0);
    EXPECT_INT(p->damaged_count, 0);
    page_free(p);
    shelf_close(&s);
}

static struct entry keyed(const char *id, const char *body, bool stored)
{
    struct entry e = shelf_entry(id, body);

    e.stored = stored;
    e.idem = SLICE("key");
    e.body_hash = history_body_hash(e.rec.data);
    return e;
}

/* A first publication that failed with its batch answers nobody. */
TEST(a_repeat_within_a_failed_batch_fares_like_its_first)
{
    struct shelf s = shelf_init("db");
    struct entry e[6] = {
        keyed("room/k", "one", true),      keyed("room/k", "one", true),
        keyed("room/k", "two", true),      keyed("volatile/k", "one", false),
        keyed("volatile/k", "one", false), keyed("volatile/k", "two", false),
    };

    shelf_open(&s);
    disk_fails(0, true, EIO);
    EXPECT_ERR(shelf_submit(&s, e, 6), ERR_IO);
    EXPECT(disk_works());
    for (int i = 0; i < 3; i++) {
        EXPECT_ERR(e[i].rc, ERR_IO);
        EXPECT_INT(e[i].rec.seq, 0);
    }
    EXPECT_OK(e[3].rc);
    EXPECT_INT(e[3].rec.offset, 1);
    EXPECT_ERR(e[4].rc, ERR_EXISTS);
    EXPECT_INT(e[4].rec.seq, e[3].rec.seq);
    EXPECT_ERR(e[5].rc, ERR_CONFLICT);
    EXPECT_OK(shelf_submit(&s, e, 1));
    EXPECT_OK(e[0].rc);
    EXPECT_INT(e[0].rec.offset, 1);
    shelf_close(&s);
}

TEST(a_file_size_limit_is_a_full_disk)
{
    struct shelf s = shelf_init("db");
    struct rlimit limit = { 400000, RLIM_INFINITY };
    static char big[50000];
    struct entry e = shelf_entry("room/a", big);
    int rc;

    memset(big, 'x', sizeof big - 1);
    signal(SIGXFSZ, SIG_IGN);
    shelf_open(&s);
    EXPECT_OK(setrlimit(RLIMIT_FSIZE, &limit));
    do
        rc = shelf_submit(&s, &e, 1);
    while (rc == 0);
    EXPECT_ERR(rc, ERR_FULL);
    EXPECT_ERR(shelf_submit(&s, &e, 1), ERR_FULL);
    limit.rlim_cur = RLIM_INFINITY;
    EXPECT_OK(setrlimit(RLIMIT_FSIZE, &limit));
    shelf_put(&s, "room/a", "room again");
    shelf_close(&s);
}

static struct keep keep_a_second(void *arg, struct slice id)
{
    UNUSED(arg);
    UNUSED(id);
    return (struct keep){ .max_age_ms = 1000 };
}

static off_t ballast_size(const struct shelf *s)
{
    char name[4200];
    struct stat st;

    snprintf(name, sizeof name, "%s-ballast", s->opt.path);
    return stat(name, &st) < 0 ? -1 : st.st_size;
}

/* A limit that is ours alone, say: then the ballast helps nothing. It must
 * not come and go as fast as the disk can. */
TEST(a_ballast_that_makes_no_room_is_made_again_and_left_alone)
{
    enum { SIZE = 6 << 20 };
    struct shelf s = shelf_init("db");
    int before;

    s.opt.ballast = SIZE;
    s.opt.policy = keep_a_second;
    shelf_open(&s);
    shelf_put(&s, "room/a", "x");
    EXPECT_SOON(ballast_size(&s) == SIZE, shelf_turn(&s));
    before = allocated;
    disk_fails(0, true, ENOSPC);
    shelf_set_time(s.opt.wall_ms() + 2000);
    EXPECT_ERR(shelf_submit(&s, (struct entry[]){ shelf_entry("r", "x") }, 1),
               ERR_FULL);
    EXPECT_SOON(allocated > before && ballast_size(&s) == SIZE,
                shelf_turn(&s));
    EXPECT(disk_works());
    shelf_put(&s, "room/a", "room again");
    shelf_close(&s);
}

/* The mark stands in the guard as well: it moves when nothing else can. */
TEST(a_full_disk_does_not_stop_what_is_not_stored)
{
    struct shelf s = shelf_init("db");
    struct entry *e = calloc(10000, sizeof *e);
    uint64_t last = 0;

    EXPECT(e);
    for (int i = 0; i < 10000; i++) {
        e[i] = shelf_entry("volatile/x", "x");
        e[i].stored = false;
    }
    s.opt.max_size = 1 << 17;
    shelf_open(&s);
    while (shelf_submit(&s, (struct entry[]){ shelf_entry("r", "x") }, 1)
           == 0)
        ;
    while (last < (5 << 19)) {
        (void)shelf_submit(&s, e, 10000);
        EXPECT_OK(e[9999].rc);
        EXPECT(e[0].rec.seq > last);
        last = e[9999].rec.seq;
    }
    free(e);
    shelf_kill(&s);
    shelf_open(&s);
    EXPECT(s.first_seq > last);
    EXPECT_STR(epoch_reason_name(s.report.why), "same");
    shelf_close(&s);
}

/* --- power cuts --- */

TEST(a_power_cut_takes_only_what_did_not_ask_for_power)
{
    for (int round = 0; round < 40; round++) {
        struct shelf s = shelf_init("db");
        uint64_t safe = 0, last_seq = 0;
        char boot[32], epoch[EPOCH_SIZE];
        struct page *p;

        recording = true;
        shelf_open(&s);
        for (uint64_t i = test_random() % 30; i > 0; i--) {
            struct entry e = shelf_entry("match/1", "goal");

            e.sync = test_random() % 5 == 0;
            EXPECT_OK(shelf_submit(&s, &e, 1));
            last_seq = e.rec.seq;
            if (e.sync)
                safe = e.rec.offset;
        }
        memcpy(epoch, s.epoch, sizeof epoch);
        cut_power(&s);
        snprintf(boot, sizeof boot, "after-%d", round);
        shelf_set_boot(boot);
        shelf_open(&s);
        EXPECT_STR(epoch_reason_name(s.report.why), "boot");
        EXPECT(strcmp(s.epoch, epoch) != 0);
        EXPECT(s.first_seq > last_seq);
        p = shelf_read(&s, "match/1", 0);
        EXPECT_OK(p->rc);
        EXPECT(p->count >= safe);
        for (size_t i = 0; i < p->count; i++)
            EXPECT_INT(p->records[i].offset, i + 1);
        EXPECT_INT(shelf_put(&s, "match/1", "x").rec.offset, p->count + 1);
        page_free(p);
        shelf_close(&s);
        unlink(s.opt.path);
    }
}
