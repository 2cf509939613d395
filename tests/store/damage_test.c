#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/store/shelf.h"

enum { ROWS = 40 };

/* These tests are about bytes, and open a store hundreds of times: nobody
 * waits for a disk. Both are declared by unistd.h. */
int fsync(int fd)
{
    UNUSED(fd);
    return 0;
}

int fdatasync(int fd)
{
    UNUSED(fd);
    return 0;
}

/* room/a has ROWS messages "message NN", mixed with as many of room/b. */
static struct shelf mixed_store(void)
{
    struct shelf s = shelf_init("db");
    char text[32];

    shelf_open(&s);
    for (int i = 1; i <= ROWS; i++) {
        snprintf(text, sizeof text, "message %02d of this id", i);
        shelf_put(&s, "room/a", text);
        shelf_put(&s, "room/b", text);
    }
    shelf_close(&s);
    return s;
}

static void expect_damage(const struct page *p, uint64_t first_offset,
                          uint64_t last_offset)
{
    EXPECT_OK(p->rc);
    EXPECT_INT(p->damaged_count, 1);
    EXPECT_SLICE(p->damaged[0].id, SLICE("room/a"));
    EXPECT_INT(p->damaged[0].first_offset, first_offset);
    EXPECT_INT(p->damaged[0].last_offset, last_offset);
    EXPECT_INT(p->count, ROWS - (last_offset - first_offset + 1));
    for (size_t i = 0; i < p->count; i++)
        EXPECT(p->records[i].offset < first_offset
               || p->records[i].offset > last_offset);
}

TEST(a_damaged_row_is_named_and_not_delivered)
{
    static const char *const harm[] = {
        "UPDATE log SET data = CAST('x' || substr(data, 2) AS BLOB) "
        "WHERE seq = 21",
        "UPDATE log SET ts_ms = ts_ms + 1 WHERE seq = 21",
        "UPDATE log SET format = 258 WHERE seq = 21",
        "UPDATE log SET kind = 'goal' WHERE seq = 21",
        "UPDATE log SET offset = 30 WHERE seq = 21",
        "UPDATE log SET offset = 1 WHERE seq = 21",
        "UPDATE log SET number = 1 WHERE seq = 21",
        "UPDATE log SET sum = sum + 1 WHERE seq = 21",
    };
    struct shelf s = mixed_store();

    for (size_t i = 0; i < ARRAY_LEN(harm); i++) {
        struct page *p;

        shelf_sql(&s, "CREATE TABLE saved AS SELECT * FROM log");
        shelf_sql(&s, harm[i]);
        shelf_open(&s);
        EXPECT_STR(epoch_reason_name(s.report.why), i ? "same" : "same");
        p = shelf_read(&s, "room/a", 0);
        expect_damage(p, 11, 11);
        EXPECT_INT(p->damaged[0].first_seq, 21);
        EXPECT_INT(p->damaged[0].last_seq, 21);
        page_free(p);
        shelf_close(&s);
        shelf_sql(&s, "DELETE FROM log; INSERT INTO log SELECT * FROM saved; "
                      "DROP TABLE saved");
    }
}

TEST(a_row_that_changed_hands_is_damaged_for_both_ways_of_reading)
{
    struct shelf s = mixed_store();
    struct slice patterns = SLICE("room/*");
    struct page_request q = {
        .patterns = &patterns, .pattern_count = 1, .upto_seq = 1000,
        .max_count = 1000, .max_bytes = 1 << 20,
    };
    struct page *p;

    shelf_sql(&s, "UPDATE log SET idn = 3 - idn WHERE seq = 21");
    shelf_open(&s);
    p = shelf_page(&s, &q);
    EXPECT_OK(p->rc);
    EXPECT_INT(p->count, 2 * ROWS - 1);
    EXPECT(p->damaged_count >= 1);
    for (size_t i = 0; i < p->count; i++)
        EXPECT(p->records[i].seq != 21);
    page_free(p);
    p = shelf_read(&s, "room/a", 0);
    expect_damage(p, 11, 11);
    page_free(p);
    shelf_close(&s);
}

TEST(rows_that_vanished_are_a_hole)
{
    struct shelf s = mixed_store();
    struct page *p;

    shelf_sql(&s, "DELETE FROM log WHERE seq IN (21, 22, 23)");
    shelf_open(&s);
    p = shelf_read(&s, "room/a", 0);
    expect_damage(p, 11, 12);
    page_free(p);
    shelf_close(&s);
}

TEST(a_tail_that_vanished_is_a_hole)
{
    struct shelf s = mixed_store();
    struct page *p;

    shelf_sql(&s, "DELETE FROM log WHERE seq > 74");
    shelf_open(&s);
    p = shelf_read(&s, "room/a", 0);
    expect_damage(p, 38, 40);
    page_free(p);
    EXPECT_INT(shelf_put(&s, "room/a", "x").rec.offset, 41);
    shelf_close(&s);
}

TEST(a_head_that_vanished_is_a_hole)
{
    struct shelf s = mixed_store();
    struct page *p;

    shelf_sql(&s, "DELETE FROM log WHERE seq < 8");
    shelf_open(&s);
    p = shelf_read(&s, "room/a", 0);
    expect_damage(p, 1, 4);
    page_free(p);
    shelf_close(&s);
}

/* --- the index by which ids are found --- */

enum { PAGE = 4096, INDEX_LEAF = 0x0a, TABLE_LEAF = 0x0d };

/* Another letter where the index says room/a, and not in the row. */
static void misspell_in_index(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC), found = 0;
    uint8_t page[PAGE];
    off_t at = PAGE;

    EXPECT(fd >= 0);
    for (; pread(fd, page, PAGE, at) == PAGE; at += PAGE) {
        uint8_t *id = page[0] == INDEX_LEAF
                          ? memmem(page, PAGE, "room/a", 6) : NULL;

        if (!id)
            continue;
        EXPECT_INT(pwrite(fd, "A", 1, at + (id + 5 - page)), 1);
        found++;
    }
    close(fd);
    EXPECT_INT(found, 1);
}

TEST(an_id_that_its_index_has_lost_is_not_made_again)
{
    struct shelf s = mixed_store();
    struct page *p;

    misspell_in_index(s.opt.path);
    shelf_open(&s);
    EXPECT_STR(epoch_reason_name(s.report.why), "damaged");
    EXPECT_INT(s.report.damaged_ids, 1);
    EXPECT_INT(shelf_put(&s, "room/a", "next").rec.offset, ROWS + 1);
    p = shelf_read(&s, "room/a", 0);
    EXPECT_INT(p->count, ROWS + 1);
    EXPECT_INT(p->damaged_count, 0);
    page_free(p);
    shelf_close(&s);
    EXPECT_INT(shelf_sql_int(&s, "SELECT count(*) FROM ids"), 2);
}

TEST(a_number_that_is_in_the_log_already_is_no_repeat)
{
    struct shelf s = mixed_store();
    struct entry e = shelf_entry("room/a", "next");
    char sql[256];

    shelf_open(&s);
    snprintf(sql, sizeof sql,
             "INSERT INTO log SELECT %llu, idn, offset, ts_ms, size, format, "
             "flags, keyed, session, number, sum, sender, kind, key, data "
             "FROM log LIMIT 1", (unsigned long long)s.first_seq);
    shelf_sql(&s, sql);
    EXPECT_OK(shelf_submit(&s, &e, 1));
    EXPECT_ERR(e.rc, ERR_DAMAGED);
    shelf_close(&s);
}

/* --- no memory --- */

static sqlite3_mem_methods memory;
static long grants = -1; /* SQLite gets memory so often; below 0: always */

static bool is_granted(void)
{
    return grants < 0 || (grants > 0 && grants-- > 0);
}

static void *malloc_if_granted(int n)
{
    return is_granted() ? memory.xMalloc(n) : NULL;
}

static void *realloc_if_granted(void *old, int n)
{
    return is_granted() ? memory.xRealloc(old, n) : NULL;
}

static void grant_memory(void)
{
    sqlite3_mem_methods mine;

    EXPECT_INT(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory), SQLITE_OK);
    mine = memory;
    mine.xMalloc = malloc_if_granted;
    mine.xRealloc = realloc_if_granted;
    EXPECT_INT(sqlite3_config(SQLITE_CONFIG_MALLOC, &mine), SQLITE_OK);
}

/* From the nth time on SQLite gets none, for every other n. */
TEST(a_start_without_memory_says_that)
{
    struct shelf s = shelf_init("db");
    struct history *h;
    long n = 0;
    int rc;

    grant_memory();
    shelf_open(&s);
    shelf_put(&s, "room/a", "x");
    shelf_kill(&s);
    s.opt.check_ms = 0;
    do {
        grants = n;
        n += 2;
        rc = history_open(&h, &s.opt, &s.report);
        if (rc < 0) {
            EXPECT_ERR(rc, ERR_NOMEM);
            EXPECT_CONTAINS(s.report.text, "memory");
        }
    } while (rc < 0);
    EXPECT(n > 100);
    grants = -1;
    history_close(h);
}

/* --- the index by which the messages of an id are found --- */

enum { MANY = 1500 };

static struct keep keep;

static struct keep policy(void *arg, struct slice id)
{
    UNUSED(arg);
    UNUSED(id);
    return keep;
}

static void put_many(struct shelf *s, const char *id)
{
    static struct entry e[MANY];

    for (int i = 0; i < MANY; i++)
        e[i] = shelf_entry(id, "x");
    EXPECT_OK(shelf_submit(s, e, MANY));
}

/* A page of a tree, not the last of them, is no page any more. root_of: SQL. */
static void spoil_leaf(const struct shelf *s, const char *root_of,
                       unsigned number)
{
    int64_t root = shelf_sql_int(s, root_of);
    int fd = open(s->opt.path, O_RDWR | O_CLOEXEC);
    uint8_t page[PAGE];
    size_t cell;
    off_t child;

    EXPECT(fd >= 0);
    EXPECT_INT(pread(fd, page, PAGE, (root - 1) * PAGE), PAGE);
    EXPECT_INT(page[0], 2);
    EXPECT(number < ((unsigned)page[3] << 8 | page[4]));
    cell = (size_t)page[12 + 2 * number] << 8 | page[13 + 2 * number];
    EXPECT(cell + 4 <= PAGE);
    child = (off_t)page[cell + 2] << 8 | page[cell + 3];
    EXPECT_INT(pwrite(fd, "\xff", 1, (child - 1) * PAGE), 1);
    close(fd);
}

static struct shelf spoilt_store(struct keep k)
{
    struct shelf s = shelf_init("db");

    keep = (struct keep){ 0 };
    s.opt.policy = policy;
    shelf_open(&s);
    put_many(&s, "room/a");
    put_many(&s, "room/b");
    shelf_close(&s);
    spoil_leaf(&s, "SELECT rootpage FROM sqlite_schema "
                   "WHERE name = 'log_by_id'", 0);
    keep = k;
    return s; /* to be opened where it stays: it is told things */
}

/* What could be read in front of the damage is given, and what is missing stands
 * behind it: a reader that has been told of a hole counts on from its end. */
TEST(an_index_that_is_torn_is_a_hole_behind_what_it_still_knew)
{
    struct shelf s = shelf_init("db");
    struct page *p;
    uint64_t last;

    keep = (struct keep){ 0 };
    s.opt.policy = policy;
    shelf_open(&s);
    put_many(&s, "room/a");
    shelf_close(&s);
    spoil_leaf(&s, "SELECT rootpage FROM sqlite_schema "
                   "WHERE name = 'log_by_id'", 1);
    shelf_open(&s);
    p = shelf_read(&s, "room/a", 0);
    EXPECT_OK(p->rc);
    EXPECT(p->count > 100 && p->count < MANY);
    last = p->records[p->count - 1].seq;
    EXPECT_INT(p->records[p->count - 1].offset, p->count);
    EXPECT_INT(p->damaged_count, 1);
    EXPECT_SLICE(p->damaged[0].id, SLICE("room/a"));
    EXPECT_INT(p->damaged[0].first_seq, last + 1);
    EXPECT_INT(p->damaged[0].last_seq, p->upto_seq);
    page_free(p);
    shelf_close(&s);
}

static bool is_trimmed_to(struct shelf *s, const char *id, uint64_t offset)
{
    struct page *p = shelf_read(s, id, UINT64_C(1) << 40);
    bool yes = p->rc == 0 && p->ids[0].trimmed_offset == offset;

    page_free(p);
    return yes;
}

static uint64_t untrimmed(struct shelf *s)
{
    struct writer_figures f;

    writer_figures(s->writer, &f);
    return f.untrimmed;
}

TEST(an_id_that_cannot_be_trimmed_does_not_hold_up_the_others)
{
    struct shelf s = spoilt_store((struct keep){ .max_count = 100 });

    shelf_open(&s);
    EXPECT_INT(s.report.check, CHECK_BAD);
    EXPECT_SOON(is_trimmed_to(&s, "room/b", MANY - 100), shelf_turn(&s));
    EXPECT_INT(untrimmed(&s), 1);
    shelf_put(&s, "room/a", "is over again");
    shelf_put(&s, "room/b", "pushes one out");
    EXPECT_SOON(is_trimmed_to(&s, "room/b", MANY - 99), shelf_turn(&s));
    EXPECT_INT(untrimmed(&s), 1);
    EXPECT(!is_trimmed_to(&s, "room/a", MANY - 99));
    shelf_close(&s);
}

enum { NAMES = 2000, DAMAGED_NAME = 3, GOOD_NAME = NAMES - 1 };

static const char *name_of(int i)
{
    static char names[4][16];
    static unsigned next;
    char *name = names[next++ % 4];

    snprintf(name, sizeof names[0], "room/%04d", i);
    return name;
}

/* Ids whose index is of several pages, the first of which is none any more. */
static struct shelf store_without_first_names(void)
{
    struct shelf s = shelf_init("db");
    struct entry *e = calloc(NAMES, sizeof *e);
    char (*names)[16] = calloc(NAMES, sizeof *names);

    EXPECT(e && names);
    for (int i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof names[i], "%s", name_of(i));
        e[i] = shelf_entry(names[i], "x");
    }
    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, e, NAMES));
    shelf_close(&s);
    free(e);
    free(names);
    spoil_leaf(&s, "SELECT rootpage FROM sqlite_schema "
                   "WHERE name = 'sqlite_autoindex_ids_1'", 0);
    return s;
}

TEST(an_index_of_ids_that_cannot_be_read_does_not_stop_the_start)
{
    struct shelf s = store_without_first_names();
    struct entry lost = shelf_entry(name_of(0), "is not made again");

    shelf_open(&s);
    EXPECT_INT(s.report.damaged_ids, 1);
    EXPECT_OK(shelf_submit(&s, &lost, 1));
    EXPECT_ERR(lost.rc, ERR_DAMAGED);
    EXPECT_INT(shelf_put(&s, name_of(GOOD_NAME), "next").rec.offset, 2);
    shelf_close(&s);
}

TEST(tables_that_are_not_what_they_were_are_refused_as_damaged)
{
    struct shelf s = mixed_store();

    shelf_sql(&s, "PRAGMA writable_schema = ON; "
                  "UPDATE sqlite_schema SET sql = replace(sql, 'oldest_ms', "
                  "'oldest_mr') WHERE name = 'ids'");
    EXPECT_ERR(shelf_try_open(&s), ERR_DAMAGED);
    EXPECT_CONTAINS(s.report.text, "the database is damaged: ");
}

/* --- bits --- */

static void flip_bit(const char *path, uint64_t bit)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    EXPECT(fd >= 0);
    EXPECT_INT(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
    byte ^= (uint8_t)(1u << bit % 8);
    EXPECT_INT(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
    close(fd);
}

/* What is given out is what was stored; what is not is named. */
static void expect_honest(struct shelf *s, const char *id)
{
    struct page *p = shelf_read(s, id, 0);
    uint64_t told = 0;

    if (p->rc == 0) {
        for (size_t i = 0; i < p->count; i++) {
            char text[32];

            snprintf(text, sizeof text, "message %02d of this id",
                     (int)p->records[i].offset);
            EXPECT_SLICE(p->records[i].data, slice_str(text));
        }
        for (size_t i = 0; i < p->damaged_count; i++)
            told += p->damaged[i].first_offset
                        ? p->damaged[i].last_offset
                              - p->damaged[i].first_offset + 1
                        : ROWS;
        /* An id whose own row fell may be gone altogether; the epoch says. */
        EXPECT(p->count + told >= ROWS || s->report.damaged_ids);
    }
    page_free(p);
}

/* In the place of one that has let an id go: it does not say so twice. */
static struct shelf another_store(const struct shelf *s)
{
    static const char *const files[] = { "", "-wal", "-shm", "-guard",
                                         "-ballast" };
    char name[600];

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(name, sizeof name, "%s%s", s->opt.path, files[i]);
        (void)unlink(name);
    }
    return mixed_store();
}

TEST(a_flipped_bit_anywhere_never_delivers_a_wrong_byte)
{
    struct shelf s = mixed_store();
    struct stat st;
    unsigned opened = 0;
    uint64_t bit;

    EXPECT_OK(stat(s.opt.path, &st));
    for (int i = 0; i < 200; i++) {
        bit = test_random() % ((uint64_t)st.st_size * 8);
        flip_bit(s.opt.path, bit);
        if (shelf_try_open(&s) == 0) {
            opened++;
            expect_honest(&s, "room/a");
            expect_honest(&s, "room/b");
            shelf_kill(&s);
        } else {
            EXPECT(s.report.text[0]);
        }
        if (s.report.damaged_ids)
            s = another_store(&s);
        else
            flip_bit(s.opt.path, bit);
    }
    EXPECT(opened > 100);
}

/* --- a page that cannot be read, while the store is written to --- */

TEST(who_publishes_to_an_unreadable_page_fails_alone)
{
    struct shelf s = store_without_first_names();
    struct entry e[6] = {
        shelf_entry(name_of(GOOD_NAME), "before"),
        shelf_entry("volatile/x", "counted"),
        shelf_entry(name_of(DAMAGED_NAME), "on the page"),
        shelf_entry(name_of(GOOD_NAME), "behind"),
        shelf_entry("volatile/x", "counted"),
        shelf_entry(name_of(DAMAGED_NAME + 1), "on the page, too"),
    };

    e[1].stored = e[4].stored = false;
    shelf_open(&s);
    EXPECT_INT(s.report.check, CHECK_BAD);
    for (uint64_t round = 0; round < 3; round++) {
        EXPECT_OK(shelf_submit(&s, e, ARRAY_LEN(e)));
        EXPECT_ERR(e[2].rc, ERR_DAMAGED);
        EXPECT_INT(e[2].rec.seq, 0);
        EXPECT_ERR(e[5].rc, ERR_DAMAGED);
        EXPECT_OK(e[0].rc);
        EXPECT_OK(e[3].rc);
        EXPECT_INT(e[0].rec.offset, 2 + 2 * round);
        EXPECT_INT(e[3].rec.offset, 3 + 2 * round);
        EXPECT_INT(e[1].rec.offset, 1 + 2 * round);
        EXPECT_INT(e[4].rec.offset, 2 + 2 * round);
        EXPECT_INT(e[4].rec.seq, e[0].rec.seq + 3);
    }
    shelf_close(&s);
}

/* Wherever a page of the table of ids names this one, it is no page any more:
 * in the WAL whose pages begin behind `head` bytes, each behind `front`. */
static int spoil_row(const char *path, const char *id, off_t head, off_t front)
{
    int fd = open(path, O_RDWR | O_CLOEXEC), found = 0;
    uint8_t page[PAGE];

    EXPECT(fd >= 0);
    for (off_t at = head + front; pread(fd, page, PAGE, at) == PAGE;
         at += PAGE + front)
        if (page[0] == TABLE_LEAF && memmem(page, PAGE, id, strlen(id))) {
            EXPECT_INT(pwrite(fd, "\xff", 1, at), 1);
            found++;
        }
    close(fd);
    return found;
}

/* What was read so far makes room for this: more than the writer's cache. */
static void fill_cache(struct shelf *s)
{
    enum { BIG = 60000, ENTRIES = 200, BATCHES = 6 };
    static struct entry e[ENTRIES];
    static char big[BIG];

    memset(big, 'x', sizeof big - 1);
    for (int i = 0; i < ENTRIES; i++)
        e[i] = shelf_entry("room/big", big);
    for (int i = 0; i < BATCHES; i++)
        EXPECT_OK(shelf_submit(s, e, ENTRIES));
}

/* The numbers of an id are known from an earlier message; it is the commit
 * that meets the page. */
TEST(a_page_that_rots_while_it_is_known_fails_only_who_needs_it)
{
    struct shelf s = shelf_init("db");
    struct entry e[2] = {
        shelf_entry("room/known", "x"), shelf_entry("room/big", "x")};
    char wal[4200];

    snprintf(wal, sizeof wal, "%s-wal", s.opt.path);
    shelf_open(&s);
    shelf_put(&s, "room/big", "has its row on another page");
    for (int i = 0; i < NAMES; i++)
        shelf_put(&s, name_of(i), "x");
    shelf_put(&s, "room/known", "x");
    fill_cache(&s);
    EXPECT(spoil_row(wal, "room/known", 32, 24) +
           spoil_row(s.opt.path, "room/known", 0, 0) > 0);
    for (uint64_t round = 0; round < 2; round++) {
        EXPECT_OK(shelf_submit(&s, e, ARRAY_LEN(e)));
        EXPECT_ERR(e[0].rc, ERR_DAMAGED);
        EXPECT_OK(e[1].rc);
    }
    shelf_close(&s);
}

/* --- a WAL that ends early --- */

static uint64_t wal_left; /* hundredths of it */

static void shorten_wal(const char *path, struct buf *bytes)
{
    size_t len = strlen(path);

    if (len > 4 && strcmp(path + len - 4, "-wal") == 0)
        buf_truncate(bytes, (size_t)(bytes->len * wal_left / 100));
    if (len > 4 && strcmp(path + len - 4, "-shm") == 0)
        buf_truncate(bytes, 0);
}

TEST(a_wal_cut_anywhere_leaves_the_messages_in_front_of_the_cut)
{
    for (wal_left = 0; wal_left <= 100; wal_left += 4) {
        struct shelf s = shelf_init("db");
        uint64_t last_seq = 0, last = 0;
        char epoch[EPOCH_SIZE];
        struct page *p;

        shelf_open(&s);
        for (int i = 0; i < ROWS; i++)
            last_seq = shelf_put(&s, "room/a", "x").rec.seq;
        memcpy(epoch, s.epoch, sizeof epoch);
        shelf_cut(&s, shorten_wal);
        shelf_open(&s);
        EXPECT(s.first_seq > last_seq || strcmp(s.epoch, epoch) != 0);
        p = shelf_read(&s, "room/a", 0);
        EXPECT_OK(p->rc);
        EXPECT_INT(p->damaged_count, 0);
        for (size_t i = 0; i < p->count; i++)
            EXPECT_INT(p->records[i].offset, ++last);
        page_free(p);
        EXPECT(wal_left < 100 || last == ROWS);
        EXPECT_INT(shelf_put(&s, "room/a", "goes on").rec.offset, last + 1);
        shelf_close(&s);
        unlink(s.opt.path);
    }
}
