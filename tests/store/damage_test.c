#include <fcntl.h>
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

enum { PAGE = 4096, INDEX_LEAF = 0x0a };

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

/* The first page of a tree, of at least two, is no page any more. root: SQL. */
static void spoil_first_leaf(const struct shelf *s, const char *root_of)
{
    int64_t root = shelf_sql_int(s, root_of);
    int fd = open(s->opt.path, O_RDWR | O_CLOEXEC);
    uint8_t page[PAGE];
    size_t cell;
    off_t child;

    EXPECT(fd >= 0);
    EXPECT_INT(pread(fd, page, PAGE, (root - 1) * PAGE), PAGE);
    EXPECT_INT(page[0], 2);
    cell = (size_t)page[12] << 8 | page[13];
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
    spoil_first_leaf(&s, "SELECT rootpage FROM sqlite_schema "
                         "WHERE name = 'log_by_id'");
    keep = k;
    return s; /* to be opened where it stays: it is told things */
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

TEST(an_index_of_ids_that_cannot_be_read_does_not_stop_the_start)
{
    struct shelf s = shelf_init("db");
    struct entry lost;
    static struct entry e[MANY];
    static char ids[MANY][16];

    for (int i = 0; i < MANY; i++) {
        snprintf(ids[i], sizeof ids[i], "room/%05d", i);
        e[i] = shelf_entry(ids[i], "x");
    }
    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, e, MANY));
    shelf_close(&s);
    spoil_first_leaf(&s, "SELECT rootpage FROM sqlite_schema "
                         "WHERE name = 'sqlite_autoindex_ids_1'");
    shelf_open(&s);
    EXPECT_INT(s.report.damaged_ids, 1);
    lost = shelf_entry(ids[0], "is not made again");
    EXPECT_ERR(shelf_submit(&s, &lost, 1), ERR_DAMAGED);
    EXPECT_ERR(lost.rc, ERR_DAMAGED);
    EXPECT_INT(shelf_put(&s, ids[MANY - 1], "next").rec.offset, 2);
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
