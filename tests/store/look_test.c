#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/store/shelf.h"

static int look(struct shelf *s)
{
    return history_look(&s->opt, &s->report);
}

TEST(a_look_at_a_store_changes_nothing)
{
    struct shelf s = shelf_init("db");
    size_t before_len, after_len;
    char *before, *after;
    uint64_t next;

    shelf_open(&s);
    shelf_put(&s, "a", "one");
    next = s.first_seq;
    shelf_close(&s);
    before = test_read_file(s.opt.path, &before_len);
    EXPECT_OK(look(&s));
    EXPECT_INT(s.report.check, CHECK_GOOD);
    after = test_read_file(s.opt.path, &after_len);
    EXPECT_INT(after_len, before_len);
    EXPECT(memcmp(after, before, before_len) == 0);
    free(before);
    free(after);
    shelf_open(&s);
    EXPECT_STR(epoch_reason_name(s.report.why), "same");
    EXPECT(s.first_seq < next + 2 * (UINT64_C(1) << 20));
    shelf_close(&s);
}

TEST(a_store_in_use_may_be_looked_at)
{
    struct shelf s = shelf_init("db");

    shelf_open(&s);
    EXPECT_OK(look(&s));
    EXPECT_INT(shelf_put(&s, "a", "one").rec.offset, 1);
    shelf_close(&s);
}

TEST(what_could_not_be_opened_is_said)
{
    struct shelf s = shelf_init("db");

    EXPECT_ERR(look(&s), ERR_NOT_FOUND);
    EXPECT_INT(access(s.opt.path, F_OK), -1);
    test_write_file(s.opt.path, SLICE("this is no database"));
    EXPECT_ERR(look(&s), ERR_DAMAGED);
    EXPECT_CONTAINS(s.report.text, "damaged or not a database");
    s = shelf_init("later");
    shelf_open(&s);
    shelf_close(&s);
    shelf_sql(&s, "PRAGMA user_version = 99");
    EXPECT_ERR(look(&s), ERR_VERSION);
    EXPECT_CONTAINS(s.report.text, "schema 99");
}
