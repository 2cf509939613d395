#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "tests/store/shelf.h"

/* --- epochs --- */

static const char *why(const struct shelf *s)
{
    return epoch_reason_name(s->report.why);
}

static char *suffixed(const struct shelf *s, const char *suffix)
{
    static char name[3][4200];
    static int next;

    next = (next + 1) % 3;
    snprintf(name[next], sizeof name[next], "%s%s", s->opt.path, suffix);
    return name[next];
}

static void copy_file(const char *from, const char *to)
{
    uint8_t *bytes;
    struct stat st;
    int fd = open(from, O_RDONLY | O_CLOEXEC);

    EXPECT(fd >= 0);
    EXPECT_OK(fstat(fd, &st));
    bytes = malloc((size_t)st.st_size + 1);
    EXPECT(bytes);
    EXPECT_INT(read(fd, bytes, (size_t)st.st_size), st.st_size);
    close(fd);
    test_write_file(to, slice_make(bytes, (size_t)st.st_size));
    free(bytes);
}

/* A store with one message in it, opened twice, closed. */
static struct shelf used_store(void)
{
    struct shelf s = shelf_init("db");

    shelf_open(&s);
    shelf_put(&s, "room/a", "one");
    shelf_close(&s);
    return s;
}

TEST(a_new_store_has_a_new_epoch_and_starts_at_one)
{
    struct shelf s = shelf_init("db");

    shelf_open(&s);
    EXPECT_STR(why(&s), "new");
    EXPECT_INT(strlen(s.epoch), EPOCH_LEN);
    EXPECT_INT(strspn(s.epoch, "abcdefghijklmnopqrstuvwxyz0123456789"),
               EPOCH_LEN);
    EXPECT_INT(s.first_seq, 1);
    shelf_close(&s);
}

TEST(a_start_keeps_the_epoch_and_goes_on_at_the_mark)
{
    struct shelf s = used_store();
    char epoch[EPOCH_SIZE];

    memcpy(epoch, s.epoch, sizeof epoch);
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    EXPECT_STR(s.epoch, epoch);
    EXPECT(s.report.clean);
    EXPECT_INT(s.first_seq, (1 << 20) + 1);
    EXPECT_INT(shelf_put(&s, "room/a", "two").rec.offset, 2);
    shelf_kill(&s);
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    EXPECT(!s.report.clean);
    EXPECT_INT(s.report.check, CHECK_GOOD);
    EXPECT_INT(shelf_put(&s, "room/a", "three").rec.offset, 3);
    shelf_close(&s);
}

TEST(another_boot_is_a_new_epoch_only_without_a_clean_close)
{
    struct shelf s = used_store();

    shelf_set_boot("boot-2");
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    shelf_kill(&s);
    shelf_set_boot("boot-3");
    shelf_open(&s);
    EXPECT_STR(why(&s), "boot");
    shelf_kill(&s);
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    shelf_close(&s);
}

TEST(a_copy_is_a_new_epoch)
{
    struct shelf s = used_store(), c = shelf_init("copy");

    copy_file(s.opt.path, c.opt.path);
    copy_file(suffixed(&s, "-guard"), suffixed(&c, "-guard"));
    shelf_open(&c);
    EXPECT_STR(why(&c), "copied");
    EXPECT(strcmp(c.epoch, s.epoch) != 0);
    shelf_close(&c);
    shelf_open(&c);
    EXPECT_STR(why(&c), "same");
    shelf_close(&c);
}

TEST(an_old_copy_in_the_same_inode_is_a_new_epoch)
{
    struct shelf s = used_store();
    struct stat before, after;

    copy_file(s.opt.path, test_path("old"));
    shelf_open(&s);
    shelf_put(&s, "room/a", "two");
    shelf_close(&s);
    EXPECT_OK(stat(s.opt.path, &before));
    copy_file(test_path("old"), s.opt.path);
    EXPECT_OK(stat(s.opt.path, &after));
    EXPECT_INT(after.st_ino, before.st_ino);
    shelf_open(&s);
    EXPECT_STR(why(&s), "copied");
    shelf_close(&s);
}

/* With all that belongs to it, as `cp` does it. */
static void put_back_old(struct shelf *s)
{
    struct test_soon soon = test_soon();
    int64_t begin_ns = clock_ns();

    copy_file(s->opt.path, test_path("old"));
    copy_file(suffixed(s, "-guard"), test_path("old-guard"));
    shelf_open(s);
    shelf_put(s, "room/a", "two");
    shelf_close(s);
    while (clock_ns() - begin_ns < SECOND / 4)
        EXPECT(!test_soon_over(&soon));
    copy_file(test_path("old"), s->opt.path);
    copy_file(test_path("old-guard"), suffixed(s, "-guard"));
}

TEST(an_old_copy_with_its_guard_in_the_same_inodes_is_a_new_epoch)
{
    struct shelf s;

    shelf_show_times(true);
    s = used_store();
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    shelf_close(&s);
    put_back_old(&s);
    shelf_open(&s);
    EXPECT_STR(why(&s), "copied");
    shelf_close(&s);
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    shelf_close(&s);
}

static struct keep keep_a_second(void *arg, struct slice id)
{
    UNUSED(arg);
    return slice_eq(id, SLICE("gone")) ? (struct keep){ .max_age_ms = 1000 }
                                       : (struct keep){ 0 };
}

/* The store as it is now, without its guard. */
static void copy_hot(const struct shelf *s)
{
    copy_file(s->opt.path, test_path("hot"));
    copy_file(suffixed(s, "-wal"), test_path("hot-wal"));
}

static void put_back_hot(const struct shelf *s)
{
    copy_file(test_path("hot"), s->opt.path);
    copy_file(test_path("hot-wal"), suffixed(s, "-wal"));
}

/* Life, inodes, boot and guard are those of the store that was killed. */
TEST(a_copy_made_while_it_ran_and_put_back_is_a_new_epoch_if_it_knows_less)
{
    struct shelf s = used_store();

    shelf_open(&s);
    shelf_put(&s, "room/a", "two");
    copy_hot(&s);
    shelf_kill(&s);
    put_back_hot(&s);
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    shelf_put(&s, "room/a", "three");
    copy_hot(&s);
    shelf_put(&s, "room/a", "four");
    shelf_kill(&s);
    put_back_hot(&s);
    shelf_open(&s);
    EXPECT_STR(why(&s), "copied");
    shelf_put(&s, "room/a", "five");
    shelf_kill(&s);
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    shelf_close(&s);
}

/* Behind a batch it looks at what is due; this one stores nothing. */
static void turn_writer(struct shelf *s)
{
    struct entry e = shelf_entry("volatile", "");

    e.stored = false;
    e.idem = SLICE("key");
    EXPECT_OK(shelf_submit(s, &e, 1));
}

static void pass_a_week(struct shelf *s)
{
    shelf_set_time(s->opt.wall_ms() + INT64_C(7) * 24 * 3600 * 1000 + 1);
    turn_writer(s);
}

TEST(a_store_that_has_forgotten_the_id_of_its_last_message_is_the_same)
{
    struct shelf s = used_store();

    s.opt.policy = keep_a_second;
    shelf_open(&s);
    shelf_put(&s, "gone", "last");
    pass_a_week(&s);
    EXPECT_SOON(s.trimmed_calls > 0, shelf_turn(&s));
    pass_a_week(&s);
    EXPECT_SOON(s.asked_calls > 0, shelf_turn(&s));
    turn_writer(&s); /* comes behind the answer */
    pass_a_week(&s);
    EXPECT_SOON(s.forgotten_calls > 0, shelf_turn(&s));
    shelf_kill(&s);
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    shelf_close(&s);
}

/* An older program made no room for the note. */
TEST(a_guard_without_a_note_is_good)
{
    struct shelf s = used_store();

    EXPECT_OK(truncate(suffixed(&s, "-guard"), 1024));
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    shelf_put(&s, "room/a", "two");
    shelf_kill(&s);
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    shelf_close(&s);
}

/* As an older program wrote it: without a time. */
static void age_guard(const struct shelf *s, int which)
{
    int fd = open(suffixed(s, "-guard"), O_RDWR | O_CLOEXEC);
    uint8_t slot[56];
    uint64_t sum;

    EXPECT(fd >= 0);
    EXPECT_INT(pread(fd, slot, sizeof slot, which * 512), sizeof slot);
    memcpy(slot, "TLguard1", 8);
    sum = XXH3_64bits(slot, 40);
    memcpy(slot + 40, &sum, sizeof sum);
    memset(slot + 48, 0, 8);
    EXPECT_INT(pwrite(fd, slot, sizeof slot, which * 512), sizeof slot);
    close(fd);
}

TEST(a_guard_of_an_older_program_is_good)
{
    struct shelf s = used_store();

    for (int which = 0; which < 2; which++)
        age_guard(&s, which);
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    shelf_close(&s);
}

TEST(a_missing_guard_is_a_new_epoch)
{
    struct shelf s = used_store();

    EXPECT_OK(unlink(suffixed(&s, "-guard")));
    shelf_open(&s);
    EXPECT_STR(why(&s), "copied");
    shelf_close(&s);
}

TEST(a_guard_that_outlives_its_store_says_nothing)
{
    struct shelf s = used_store();

    EXPECT_OK(unlink(s.opt.path));
    shelf_open(&s);
    EXPECT_STR(why(&s), "new");
    EXPECT_INT(s.first_seq, 1);
    shelf_close(&s);
}

TEST(a_torn_guard_write_leaves_the_one_before)
{
    struct shelf s = used_store();

    for (off_t slot = 0; slot <= 512; slot += 512) {
        int fd;

        shelf_open(&s);
        shelf_kill(&s);
        fd = open(suffixed(&s, "-guard"), O_WRONLY | O_CLOEXEC);
        EXPECT(fd >= 0);
        EXPECT_INT(pwrite(fd, "torn", 4, slot + 20), 4);
        close(fd);
        shelf_open(&s);
        EXPECT_STR(why(&s), "same");
        shelf_close(&s);
    }
}

TEST(a_seq_above_the_mark_is_a_new_epoch)
{
    struct shelf s = used_store();

    shelf_sql(&s, "UPDATE log SET seq = 5000000");
    shelf_open(&s);
    EXPECT_STR(why(&s), "mark");
    EXPECT_INT(s.first_seq, 5000001);
    shelf_close(&s);
}

/* One flipped bit of a key; -1 would be the first of all. */
TEST(a_seq_that_cannot_be_is_no_seq)
{
    static const char *const sql[] = {
        "UPDATE log SET seq = seq + (1 << 60)",
        "UPDATE log SET seq = -seq",
    };

    for (size_t i = 0; i < ARRAY_LEN(sql); i++) {
        struct shelf s = used_store();
        struct page *p;

        shelf_sql(&s, sql[i]);
        shelf_open(&s);
        EXPECT_STR(why(&s), "same");
        EXPECT_INT(s.first_seq, (1 << 20) + 1);
        EXPECT_INT(shelf_put(&s, "room/a", "two").rec.offset, 2);
        p = shelf_read(&s, "room/a", 0);
        EXPECT_OK(p->rc);
        EXPECT_INT(p->count, 1);
        EXPECT_INT(p->damaged_count, 1);
        EXPECT_INT(p->damaged[0].first_offset, 1);
        EXPECT_INT(p->damaged[0].last_offset, 1);
        page_free(p);
        shelf_close(&s);
        EXPECT_OK(unlink(s.opt.path));
    }
}

TEST(a_damaged_row_about_the_store_is_a_new_epoch_above_all_numbers)
{
    struct shelf s = used_store();

    shelf_sql(&s, "UPDATE store SET mark = 0");
    shelf_open(&s);
    EXPECT_STR(why(&s), "damaged");
    EXPECT_INT(s.first_seq, (1 << 20) + 1);
    EXPECT_INT(shelf_put(&s, "room/a", "two").rec.offset, 2);
    shelf_close(&s);
}

TEST(a_damaged_row_of_an_id_is_rebuilt_from_the_log)
{
    struct shelf s = shelf_init("db");
    char *text;

    shelf_open(&s);
    for (int i = 0; i < 5; i++)
        shelf_put(&s, "room/a", "m");
    shelf_put(&s, "room/b", "b");
    shelf_close(&s);
    shelf_sql(&s, "UPDATE ids SET last_offset = 2 WHERE id = 'room/a'");
    shelf_open(&s);
    EXPECT_STR(why(&s), "damaged");
    EXPECT_INT(s.report.damaged_ids, 1);
    EXPECT_INT(shelf_put(&s, "room/a", "n").rec.offset, 6);
    text = shelf_text(&s, "room/a");
    EXPECT_STR(text, "m m m m m n");
    free(text);
    EXPECT_INT(shelf_put(&s, "room/b", "b").rec.offset, 2);
    shelf_close(&s);
    shelf_open(&s);
    EXPECT_STR(why(&s), "same");
    shelf_close(&s);
}

TEST(a_new_epoch_can_be_asked_for)
{
    struct shelf s = shelf_init("db");
    char asked[EPOCH_SIZE];

    shelf_open(&s);
    shelf_put(&s, "room/a", "one");
    EXPECT_OK(shelf_new_epoch(&s));
    memcpy(asked, writer_epoch(s.writer), sizeof asked);
    EXPECT(strcmp(asked, s.epoch) != 0);
    EXPECT_INT(shelf_put(&s, "room/a", "two").rec.offset, 2);
    shelf_kill(&s);
    shelf_open(&s);
    EXPECT_STR(s.epoch, asked);
    EXPECT_STR(why(&s), "same");
    shelf_close(&s);
}

/* --- ids --- */

static int add_id(void *arg, const struct id_record *r)
{
    struct buf *b = arg;

    buf_addf(b, SLICE_FMT "=%llu@%llu(%llu,%llu) ", SLICE_ARG(r->id),
             (unsigned long long)r->last_offset,
             (unsigned long long)r->last_seq, (unsigned long long)r->count,
             (unsigned long long)r->bytes);
    return 0;
}

TEST(all_ids_are_told_at_the_start)
{
    struct shelf s = shelf_init("db");
    struct buf b = BUF_INIT;
    struct history *h;

    shelf_open(&s);
    shelf_put(&s, "room/a", "one");
    shelf_put(&s, "match/1", "three");
    shelf_put(&s, "room/a", "two!");
    shelf_kill(&s);
    EXPECT_OK(history_open(&h, &s.opt, &s.report));
    EXPECT_INT(history_last_seq(h), 3);
    EXPECT_OK(history_ids(h, add_id, &b));
    EXPECT_STR(buf_text(&b), "room/a=2@3(2,7) match/1=1@2(1,5) ");
    buf_fini(&b);
    history_close(h);
}

static int add_present(void *arg, struct slice id, struct slice name)
{
    buf_addf(arg, SLICE_FMT "=" SLICE_FMT " ", SLICE_ARG(id),
             SLICE_ARG(name));
    return 0;
}

TEST(who_is_where_is_told_at_the_start_but_for_damaged_rows)
{
    struct shelf s = shelf_init("db");
    struct buf b = BUF_INIT;
    struct history *h;

    shelf_open(&s);
    present_change(&b, SLICE("room/a"), SLICE("ana"), true);
    present_change(&b, SLICE("room/a"), SLICE("bob"), true);
    present_change(&b, SLICE("room/a"), SLICE("cy d"), true);
    present_change(&b, SLICE("room/b"), SLICE("ana"), true);
    EXPECT_INT(present_head(buf_slice(&b), 1).len, 1 + 7 + 4);
    EXPECT_INT(present_head(buf_slice(&b), 24).len, 24);
    EXPECT_INT(present_head(buf_slice(&b), 36).len, 24);
    EXPECT_INT(present_head(buf_slice(&b), 1000).len, b.len);
    EXPECT_OK(writer_present(s.writer, buf_slice(&b), NULL, NULL));
    buf_reset(&b);
    present_change(&b, SLICE("room/a"), SLICE("ana"), true);
    present_change(&b, SLICE("room/a"), SLICE("bob"), false);
    present_change(&b, SLICE("room/a"), SLICE("nobody"), false);
    EXPECT_OK(writer_present(s.writer, buf_slice(&b), NULL, NULL));
    shelf_close(&s);
    shelf_sql(&s, "UPDATE present SET name = 'anb' WHERE id = 'room/b'");
    EXPECT_OK(history_open(&h, &s.opt, &s.report));
    buf_reset(&b);
    EXPECT_OK(history_present(h, add_present, &b));
    EXPECT_STR(buf_text(&b), "room/a=ana room/a=cy d ");
    buf_fini(&b);
    history_close(h);
}

TEST(an_older_schema_is_brought_up_with_all_its_messages)
{
    struct shelf s = used_store();

    shelf_make_older(&s);
    shelf_open(&s);
    EXPECT_INT(shelf_put(&s, "room/a", "two").rec.offset, 2);
    shelf_close(&s);
    EXPECT(shelf_sql_int(&s, "PRAGMA user_version") > 1);
    EXPECT_INT(shelf_sql_int(&s, "SELECT count(*) FROM present"), 0);
}

/* --- files that are not ours to use --- */

TEST(a_store_in_use_is_refused)
{
    struct shelf s = shelf_init("db"), second = shelf_init("db");

    shelf_open(&s);
    EXPECT_ERR(shelf_try_open(&second), ERR_BUSY);
    EXPECT_CONTAINS(second.report.text, "in use by another process");
    shelf_close(&s);
    shelf_open(&second);
    shelf_close(&second);
}

TEST(a_schema_from_the_future_is_refused_and_left_alone)
{
    struct shelf s = used_store();

    shelf_sql(&s, "PRAGMA user_version = 99");
    EXPECT_ERR(shelf_try_open(&s), ERR_VERSION);
    EXPECT_CONTAINS(s.report.text, "schema 99");
    EXPECT_CONTAINS(s.report.text, "later version");
    EXPECT_INT(shelf_sql_int(&s, "PRAGMA user_version"), 99);
}

TEST(a_database_of_another_program_is_refused_and_left_alone)
{
    struct shelf s = shelf_init("db");

    shelf_sql(&s, "CREATE TABLE recipes (name TEXT)");
    EXPECT_ERR(shelf_try_open(&s), ERR_DAMAGED);
    EXPECT_CONTAINS(s.report.text, "another program");
    EXPECT_INT(shelf_sql_int(&s, "SELECT count(*) FROM sqlite_schema"), 1);
    EXPECT_INT(access(suffixed(&s, "-wal"), F_OK), -1);
}

TEST(a_file_that_is_no_database_is_refused_and_left_alone)
{
    struct shelf s = shelf_init("db");
    char text[8000];
    size_t len;
    char *after;

    memset(text, 'x', sizeof text);
    test_write_file(s.opt.path, slice_make(text, sizeof text));
    EXPECT_ERR(shelf_try_open(&s), ERR_DAMAGED);
    EXPECT_CONTAINS(s.report.text, "not a database");
    after = test_read_file(s.opt.path, &len);
    EXPECT_INT(len, sizeof text);
    EXPECT(memcmp(after, text, len) == 0);
    free(after);
}

TEST(an_empty_file_becomes_a_new_store)
{
    struct shelf s = shelf_init("db");

    test_write_file(s.opt.path, SLICE(""));
    shelf_open(&s);
    EXPECT_STR(why(&s), "new");
    shelf_close(&s);
}

TEST(a_folder_that_is_not_there_is_a_plain_error)
{
    struct shelf s = shelf_init("nowhere/db");

    EXPECT_ERR(shelf_try_open(&s), ERR_IO);
    EXPECT_CONTAINS(s.report.text, "cannot be written");
    EXPECT_CONTAINS(s.report.text, strerror(ENOENT));
}

TEST(a_lost_wal_is_a_store_that_knows_less_and_still_opens)
{
    struct shelf s = used_store();
    char *text;

    shelf_open(&s);
    shelf_put(&s, "room/a", "two");
    shelf_kill(&s);
    EXPECT_OK(unlink(suffixed(&s, "-wal")));
    shelf_open(&s);
    EXPECT_STR(why(&s), "copied");
    text = shelf_text(&s, "room/a");
    EXPECT_STR(text, "one");
    free(text);
    shelf_close(&s);
}

/* Then the file knows the life in which it was written, and is not whole. */
TEST(a_wal_that_is_lost_behind_a_checkpoint_is_noticed_too)
{
    static char big[50000];
    struct shelf s = used_store();
    struct writer_figures f;

    memset(big, 'x', sizeof big - 1);
    shelf_open(&s);
    EXPECT_SOON((writer_figures(s.writer, &f), f.checkpoints > 0),
                shelf_put(&s, "room/a", big));
    shelf_put(&s, "room/a", "two");
    shelf_kill(&s);
    EXPECT_OK(unlink(suffixed(&s, "-wal")));
    shelf_open(&s);
    EXPECT_STR(why(&s), "copied");
    shelf_close(&s);
}

TEST(every_failing_allocation_of_a_start_is_an_error_and_nothing_else)
{
    struct shelf s = used_store();
    struct history *h;
    bool failed = true;

    for (long n = 0; failed; n++) {
        int rc;

        test_fail_malloc_after(n);
        rc = history_open(&h, &s.opt, &s.report);
        failed = test_malloc_failed();
        EXPECT(rc == 0 || failed);
        if (rc == 0)
            history_close(h);
    }
    EXPECT_OK(history_open(&h, &s.opt, &s.report));
    EXPECT_STR(why(&s), "same");
    history_close(h);
}
