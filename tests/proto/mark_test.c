#include "proto/mark.h"

#include "tests/t/t.h"

TEST(a_mark_is_found_in_whatever_surrounds_it)
{
    struct buf b = BUF_INIT;
    struct mark m = { 0, 0 };

    buf_add_str(&b, "{\"offset\":3,\"data\":\"mark n=x mark n=1 mark n=");
    EXPECT(!mark_find(buf_slice(&b), &m));
    buf_add_str(&b, "\\n");
    mark_add(&b, (struct mark){ 17, 1795229386335123 });
    buf_add_str(&b, "xxxx\"}");
    EXPECT(mark_find(buf_slice(&b), &m));
    EXPECT_INT(m.number, 17);
    EXPECT_INT(m.t_us, 1795229386335123);
    buf_fini(&b);
}

TEST(a_mark_that_is_cut_or_too_large_is_none)
{
    struct mark m = { 5, 5 };
    struct slice whole = SLICE("mark n=17 t=1");

    for (size_t n = 0; n < whole.len; n++)
        EXPECT(!mark_find(slice_head(whole, n), &m));
    EXPECT(mark_find(whole, &m));
    EXPECT(!mark_find(SLICE("mark n=17 t=99999999999999999999999"), &m));
    EXPECT(!mark_find(SLICE("mark n=18446744073709551616 t=1"), &m));
    EXPECT_INT(m.number, 17);
}

TEST(a_mark_fits_where_its_size_was_said)
{
    struct buf b = BUF_INIT;

    mark_add(&b, (struct mark){ UINT64_MAX, INT64_MAX });
    EXPECT(b.len <= MARK_MAX);
    buf_fini(&b);
}
