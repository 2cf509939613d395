#include "gateways/common/guest.h"

#include "base/buf.h"
#include "base/check.h"
#include "tests/t/t.h"

static struct address address(const char *text)
{
    struct address a;

    CHECK(address_parse(slice_str(text), &a) == 0);
    return a;
}

static struct guest somebody(void)
{
    return (struct guest){
        .flags = GUEST_LOOPBACK | GUEST_ADMIN | GUEST_INPUT_END,
        .listener = 3,
        .share = address("192.0.2.1"),
        .proxied = address("2001:db8::1"),
        .in = SLICE("GET /v1/ws HTTP/1.1\r\n"),
    };
}

TEST(a_guest_is_read_as_it_was_written_and_what_follows_is_left)
{
    struct guest g = somebody(), back;
    struct buf b = BUF_INIT;
    struct cursor c;

    guest_write(&b, &g);
    put_u32(&b, 4711);
    c = cursor_init(buf_slice(&b));
    guest_read(&c, &back);
    EXPECT(!c.failed);
    EXPECT_INT(back.flags, g.flags);
    EXPECT_INT(back.listener, 3);
    EXPECT(address_equal(&back.share, &g.share));
    EXPECT(address_equal(&back.proxied, &g.proxied));
    EXPECT(!address_known(&back.forwarded));
    EXPECT_SLICE(back.in, SLICE("GET /v1/ws HTTP/1.1\r\n"));
    EXPECT_INT(cursor_u32(&c), 4711);
    EXPECT(cursor_all_read(&c));
    buf_fini(&b);
}

TEST(a_guest_that_is_cut_short_or_of_another_time_is_none)
{
    struct guest g = somebody(), back;
    struct buf b = BUF_INIT;
    struct cursor c;

    guest_write(&b, &g);
    for (size_t i = 0; i < b.len; i++) {
        c = cursor_init(slice_make(b.ptr, i));
        guest_read(&c, &back);
        EXPECT(c.failed);
    }
    b.ptr[1] = 0x80; /* a flag that nobody knows */
    c = cursor_init(buf_slice(&b));
    guest_read(&c, &back);
    EXPECT(c.failed);
    buf_fini(&b);
}
