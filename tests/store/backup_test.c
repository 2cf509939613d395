#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/store/shelf.h"

TEST(a_backup_can_be_restored_and_is_a_new_epoch)
{
    struct shelf s = shelf_init("db");
    const char *file = test_path("backup");
    char why[256], *text;
    struct stat st;

    shelf_open(&s);
    shelf_put(&s, "room/a", "one");
    shelf_put(&s, "room/a", "two");
    EXPECT_OK(shelf_backup(&s, file));
    EXPECT_INT(access(test_path("backup.part"), F_OK), -1);
    EXPECT_INT(access(test_path("backup-wal"), F_OK), -1);
    shelf_put(&s, "room/a", "three");
    EXPECT_ERR(history_restore(file, s.opt.path, why), ERR_BUSY);
    EXPECT_CONTAINS(why, "stop the router");
    shelf_close(&s);
    EXPECT_OK(history_restore(file, s.opt.path, why));
    EXPECT_OK(stat(test_path("db.before-restore"), &st));
    shelf_open(&s);
    EXPECT_STR(epoch_reason_name(s.report.why), "restored");
    text = shelf_text(&s, "room/a");
    EXPECT_STR(text, "one two");
    free(text);
    EXPECT_INT(shelf_put(&s, "room/a", "3").rec.offset, 3);
    shelf_close(&s);
    shelf_open(&s);
    EXPECT_STR(epoch_reason_name(s.report.why), "same");
    shelf_close(&s);
}

TEST(a_backup_that_is_opened_in_place_is_a_new_epoch)
{
    struct shelf s = shelf_init("db"), b = shelf_init("backup");
    char *text;

    shelf_open(&s);
    shelf_put(&s, "room/a", "one");
    EXPECT_OK(shelf_backup(&s, test_path("backup")));
    shelf_open(&b);
    EXPECT_STR(epoch_reason_name(b.report.why), "restored");
    EXPECT(strcmp(b.epoch, s.epoch) != 0);
    text = shelf_text(&b, "room/a");
    EXPECT_STR(text, "one");
    free(text);
    shelf_close(&b);
    shelf_close(&s);
}

TEST(a_backup_under_load_is_one_moment_of_the_store)
{
    struct shelf s = shelf_init("db"), b = shelf_init("backup");
    static char body[2000];
    struct entry e[100];
    struct page *p;
    uint64_t last = 0, after = 0;
    bool more = true;

    memset(body, 'b', sizeof body - 1);
    for (size_t i = 0; i < ARRAY_LEN(e); i++)
        e[i] = shelf_entry("room/a", body);
    shelf_open(&s);
    for (int i = 0; i < 40; i++)
        EXPECT_OK(shelf_submit(&s, e, ARRAY_LEN(e)));
    EXPECT_OK(writer_backup(s.writer, b.opt.path, NULL, NULL));
    EXPECT_ERR(writer_backup(s.writer, test_path("other"), NULL, NULL),
               ERR_BUSY);
    EXPECT_SOON(access(b.opt.path, F_OK) == 0,
                EXPECT_OK(shelf_submit(&s, e, 3)));
    shelf_open(&b);
    EXPECT_INT(b.report.check, CHECK_GOOD);
    while (more) {
        p = shelf_read(&b, "room/a", after);
        EXPECT_OK(p->rc);
        EXPECT_INT(p->damaged_count, 0);
        for (size_t i = 0; i < p->count; i++)
            EXPECT_INT(p->records[i].offset, ++last);
        after = p->upto_seq;
        more = p->more;
        page_free(p);
    }
    EXPECT(last >= 4000);
    shelf_close(&b);
    shelf_close(&s);
}

TEST(a_backup_overwrites_nothing)
{
    struct shelf s = shelf_init("db");
    size_t len;
    char *text;

    test_write_file(test_path("there"), SLICE("precious"));
    shelf_open(&s);
    EXPECT_ERR(shelf_backup(&s, test_path("there")), ERR_EXISTS);
    EXPECT(shelf_backup(&s, test_path("no/such/folder")) < 0);
    EXPECT_OK(shelf_backup(&s, test_path("free")));
    shelf_close(&s);
    text = test_read_file(test_path("there"), &len);
    EXPECT_STR(text, "precious");
    free(text);
}

TEST(closing_during_a_backup_leaves_no_half_file)
{
    struct shelf s = shelf_init("db");
    static char body[60000];
    struct entry e = shelf_entry("room/a", body);

    memset(body, 'b', sizeof body - 1);
    shelf_open(&s);
    for (int i = 0; i < 100; i++)
        EXPECT_OK(shelf_submit(&s, &e, 1));
    EXPECT_OK(writer_backup(s.writer, test_path("backup"), NULL, NULL));
    shelf_close(&s);
    EXPECT_INT(access(test_path("backup.part"), F_OK), -1);
}

TEST(what_an_earlier_restore_set_aside_does_not_mix_with_the_next)
{
    struct shelf s = shelf_init("db");
    const char *file = test_path("backup");

    shelf_open(&s);
    shelf_put(&s, "room/a", "one");
    EXPECT_OK(shelf_backup(&s, file));
    shelf_close(&s);
    EXPECT_OK(history_restore(file, s.opt.path, NULL));
    test_write_file(test_path("db.before-restore-wal"), SLICE("of another"));
    EXPECT_OK(history_restore(file, s.opt.path, NULL));
    EXPECT_OK(access(test_path("db.before-restore"), F_OK));
    EXPECT_INT(access(test_path("db.before-restore-wal"), F_OK), -1);
    shelf_open(&s);
    EXPECT_STR(epoch_reason_name(s.report.why), "restored");
    shelf_close(&s);
}

/* Who puts it back puts one file back. */
TEST(what_a_restore_sets_aside_is_whole_without_its_wal)
{
    struct shelf s = shelf_init("db"), old = shelf_init("db.before-restore");
    char *text;

    shelf_open(&s);
    EXPECT_OK(shelf_backup(&s, test_path("backup")));
    shelf_put(&s, "room/a", "one");
    shelf_kill(&s); /* its WAL stays */
    EXPECT_OK(history_restore(test_path("backup"), s.opt.path, NULL));
    unlink(test_path("db.before-restore-wal"));
    shelf_open(&old);
    text = shelf_text(&old, "room/a");
    EXPECT_STR(text, "one");
    free(text);
    shelf_close(&old);
}

TEST(what_is_no_backup_is_not_restored)
{
    struct shelf s = shelf_init("db");
    char why[256], *text;

    shelf_open(&s);
    shelf_put(&s, "room/a", "one");
    shelf_close(&s);
    EXPECT_ERR(history_restore(test_path("nothing"), s.opt.path, why),
               ERR_NOT_FOUND);
    EXPECT_CONTAINS(why, "cannot be read");
    test_write_file(test_path("junk"), SLICE("this is not a database"));
    EXPECT_ERR(history_restore(test_path("junk"), s.opt.path, why),
               ERR_DAMAGED);
    EXPECT_CONTAINS(why, "not a backup");
    shelf_open(&s);
    EXPECT_STR(epoch_reason_name(s.report.why), "same");
    text = shelf_text(&s, "room/a");
    EXPECT_STR(text, "one");
    free(text);
    shelf_close(&s);
}
