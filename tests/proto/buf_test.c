#include "base/buf.h"

#include "tests/t/t.h"

TEST(an_empty_buf_owns_nothing_and_can_be_freed)
{
    struct buf b = BUF_INIT;

    EXPECT_INT(b.cap, 0);
    buf_add(&b, slice_make(NULL, 0));
    EXPECT_INT(b.cap, 0);
    buf_drop_front(&b, 5);
    EXPECT_STR(buf_text(&b), "");
    buf_fini(&b);
    buf_fini(&b);
    EXPECT(!b.ptr);
}

TEST(what_is_added_is_there_in_order)
{
    struct buf b = BUF_INIT;

    buf_add_str(&b, "seq ");
    buf_add_u64(&b, 0);
    buf_add_byte(&b, ' ');
    buf_add_u64(&b, UINT64_MAX);
    buf_addf(&b, " %s=%d", "x", -3);
    EXPECT_SLICE(buf_slice(&b), SLICE("seq 0 18446744073709551615 x=-3"));
    EXPECT_STR(buf_text(&b), "seq 0 18446744073709551615 x=-3");
    EXPECT_INT(b.len, 31);
    buf_fini(&b);
}

TEST(a_formatted_text_of_any_length_is_added_whole)
{
    for (int n = 50; n < 300; n++) {
        struct buf b = BUF_INIT;

        buf_add_str(&b, "12345");
        buf_addf(&b, "%*d|", n, 7);
        EXPECT_INT(b.len, 5 + n + 1);
        EXPECT(b.ptr[b.len - 1] == '|' && b.ptr[b.len - 2] == '7');
        buf_fini(&b);
    }
}

TEST(dropping_from_the_front_keeps_the_rest)
{
    struct buf b = BUF_INIT;

    buf_add_str(&b, "abcdef");
    buf_drop_front(&b, 2);
    EXPECT_SLICE(buf_slice(&b), SLICE("cdef"));
    buf_truncate(&b, 3);
    EXPECT_SLICE(buf_slice(&b), SLICE("cde"));
    buf_drop_front(&b, 99);
    EXPECT_INT(b.len, 0);
    buf_fini(&b);
}

TEST(failure_sticks_keeps_the_content_and_ends_with_a_reset)
{
    struct buf b = BUF_INIT;

    buf_add_str(&b, "kept");
    test_fail_malloc_after(0);
    buf_add(&b, slice_make("0123456789", 10));
    EXPECT(!test_malloc_failed() || b.failed);
    test_fail_malloc_after(0);
    EXPECT(!buf_reserve(&b, 1000));
    EXPECT(test_malloc_failed());
    EXPECT(b.failed);
    buf_add_str(&b, "lost");
    buf_addf(&b, "%d", 5);
    buf_add_byte(&b, 'x');
    EXPECT_SLICE(buf_slice(&b), SLICE("kept0123456789"));
    buf_reset(&b);
    buf_add_str(&b, "again");
    EXPECT_SLICE(buf_slice(&b), SLICE("again"));
    buf_fini(&b);
}

TEST(a_size_that_cannot_be_is_a_failure_not_an_overflow)
{
    struct buf b = BUF_INIT;

    buf_add_str(&b, "x");
    EXPECT(!buf_reserve(&b, SIZE_MAX));
    EXPECT(b.failed);
    buf_reset(&b);
    EXPECT(!buf_reserve(&b, SIZE_MAX / 2));
    EXPECT(b.failed);
    buf_fini(&b);
}

TEST(stolen_memory_belongs_to_the_thief)
{
    struct buf b = BUF_INIT;
    size_t len = 9;
    uint8_t *ptr;

    EXPECT(!buf_steal(&b, &len));
    EXPECT_INT(len, 0);
    buf_add_str(&b, "gold");
    ptr = buf_steal(&b, &len);
    EXPECT_SLICE(slice_make(ptr, len), SLICE("gold"));
    EXPECT(!b.ptr);
    free(ptr);
}

TEST(reserved_room_is_filled_by_hand)
{
    struct buf b = BUF_INIT;
    uint8_t *at = buf_reserve(&b, 3);

    memcpy(at, "abc", 3);
    EXPECT_INT(b.len, 0);
    b.len += 2;
    EXPECT_SLICE(buf_slice(&b), SLICE("ab"));
    buf_fini(&b);
}
