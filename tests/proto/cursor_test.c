#include "base/cursor.h"

#include "tests/t/t.h"

TEST(what_was_put_is_read_back)
{
    struct buf b = BUF_INIT;
    struct cursor c;

    put_u8(&b, 0x12);
    put_u16(&b, 0x3456);
    put_u32(&b, 0x789abcde);
    put_u64(&b, UINT64_C(0xfedcba9876543210));
    put_i64(&b, -2);
    put_str8(&b, SLICE("a"));
    put_str16(&b, SLICE("bc"));
    put_str32(&b, SLICE(""));
    put_raw(&b, SLICE("rest"));
    c = cursor_init(buf_slice(&b));
    EXPECT_INT(cursor_u8(&c), 0x12);
    EXPECT_INT(cursor_u16(&c), 0x3456);
    EXPECT_INT(cursor_u32(&c), 0x789abcde);
    EXPECT(cursor_u64(&c) == UINT64_C(0xfedcba9876543210));
    EXPECT_INT(cursor_i64(&c), -2);
    EXPECT_SLICE(cursor_str8(&c), SLICE("a"));
    EXPECT_SLICE(cursor_str16(&c), SLICE("bc"));
    EXPECT_SLICE(cursor_str32(&c), SLICE(""));
    EXPECT(!cursor_all_read(&c));
    EXPECT_INT(cursor_left(&c), 4);
    EXPECT_SLICE(cursor_rest(&c), SLICE("rest"));
    EXPECT(cursor_all_read(&c));
    buf_fini(&b);
}

TEST(numbers_are_little_endian_on_every_machine)
{
    struct buf b = BUF_INIT;

    put_u32(&b, 0x01020304);
    put_u16(&b, 0x0506);
    EXPECT_SLICE(buf_slice(&b), SLICE("\x04\x03\x02\x01\x06\x05"));
    buf_fini(&b);
}

TEST(reading_too_far_fails_for_good)
{
    struct cursor c = cursor_init(SLICE("abc"));

    EXPECT_INT(cursor_u32(&c), 0);
    EXPECT(c.failed);
    EXPECT_INT(cursor_u8(&c), 0);
    EXPECT_INT(cursor_take(&c, 0).len, 0);
    EXPECT_INT(cursor_left(&c), 0);
    EXPECT_INT(cursor_rest(&c).len, 0);
    EXPECT(!cursor_all_read(&c));
}

TEST(a_length_beyond_the_end_is_refused_whatever_its_size)
{
    struct cursor c = cursor_init(SLICE("\xff\xff\xff\xff" "abcd"));

    EXPECT_INT(cursor_str32(&c).len, 0);
    EXPECT(c.failed);
    c = cursor_init(SLICE("abc"));
    EXPECT_INT(cursor_take(&c, SIZE_MAX).len, 0);
    EXPECT(c.failed);
    c = cursor_init(SLICE("\x03" "ab"));
    EXPECT_INT(cursor_str8(&c).len, 0);
    EXPECT(c.failed);
}

TEST(nothing_can_be_read_from_nothing)
{
    struct cursor c = cursor_init(slice_make(NULL, 0));

    EXPECT(cursor_all_read(&c));
    EXPECT_INT(cursor_take(&c, 0).len, 0);
    EXPECT(!c.failed);
    EXPECT_INT(cursor_u8(&c), 0);
    EXPECT(c.failed);
}

TEST(a_text_too_long_for_its_length_fails_the_buf)
{
    static uint8_t long_text[65536];
    struct buf b = BUF_INIT;

    put_str8(&b, slice_make(long_text, 255));
    EXPECT(!b.failed);
    put_str8(&b, slice_make(long_text, 256));
    EXPECT(b.failed);
    buf_reset(&b);
    put_str16(&b, slice_make(long_text, 65535));
    EXPECT(!b.failed);
    put_str16(&b, slice_make(long_text, 65536));
    EXPECT(b.failed);
    buf_fini(&b);
}

TEST(a_length_can_be_filled_in_afterwards)
{
    struct buf b = BUF_INIT;
    struct cursor c;

    put_u8(&b, 7);
    put_u32(&b, 0);
    put_raw(&b, SLICE("abc"));
    put_u32_at(&b, 1, 3);
    c = cursor_init(buf_slice(&b));
    cursor_u8(&c);
    EXPECT_SLICE(cursor_str32(&c), SLICE("abc"));
    EXPECT(cursor_all_read(&c));
    buf_fini(&b);
}

TEST(every_cut_of_a_message_is_noticed)
{
    struct buf b = BUF_INIT;

    put_u64(&b, 1);
    put_str16(&b, SLICE("hello"));
    put_u32(&b, 2);
    for (size_t len = 0; len <= b.len; len++) {
        struct cursor c = cursor_init(slice_make(b.ptr, len));

        cursor_u64(&c);
        cursor_str16(&c);
        cursor_u32(&c);
        EXPECT(cursor_all_read(&c) == (len == b.len));
    }
    buf_fini(&b);
}
