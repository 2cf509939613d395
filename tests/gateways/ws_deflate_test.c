/* The codec of permessage-deflate, against zlib called as RFC 7692 says. */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "gateways/ws/wsdeflate.h"
#include "tests/t/t.h"

static struct wsdeflate *d;
static struct buf in, packed, out;

static void begin(void)
{
    d = wsdeflate_new();
    EXPECT(d != NULL);
}

static void end(void)
{
    wsdeflate_free(d);
    buf_fini(&in);
    buf_fini(&packed);
    buf_fini(&out);
}

/* ---- the other side ----------------------------------------------------- */

/* As a client with a window of so many bits reads it: in pieces that keep no
 * more than the window within reach. */
static void their_unpack(struct slice payload, int window)
{
    static const char tail[] = "\0\0\xff\xff";
    z_stream z = { .next_in = NULL };
    struct buf all = BUF_INIT;
    int rc = Z_OK;

    buf_add(&all, payload);
    buf_add(&all, slice_make(tail, 4));
    buf_reset(&out);
    EXPECT_INT(inflateInit2(&z, -window), Z_OK);
    z.next_in = all.ptr;
    z.avail_in = (uInt)all.len;
    while (rc == Z_OK) {
        z.next_out = buf_reserve(&out, 64);
        z.avail_out = 64;
        rc = inflate(&z, Z_SYNC_FLUSH);
        out.len += 64 - z.avail_out;
    }
    EXPECT_INT(rc, Z_BUF_ERROR); /* no more input, and no error */
    EXPECT_INT(z.avail_in, 0);
    inflateEnd(&z);
    buf_fini(&all);
}

static void their_pack(struct slice payload, int level, int flush)
{
    z_stream z = { .next_in = NULL };
    size_t room = compressBound(payload.len) + 64;

    buf_reset(&packed);
    EXPECT_INT(deflateInit2(&z, level, Z_DEFLATED, -15, 9, 0), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)payload.ptr;
    z.avail_in = (uInt)payload.len;
    z.next_out = buf_reserve(&packed, room);
    z.avail_out = (uInt)room;
    EXPECT(deflate(&z, flush) >= Z_OK);
    packed.len = room - z.avail_out - (flush == Z_FINISH ? 0 : 4);
    deflateEnd(&z);
}

/* ---- payloads ------------------------------------------------------------ */

static void add_event(unsigned n)
{
    buf_addf(&in, "{\"channel\":\"match/elp-tig\",\"seq\":%u,\"ts\":17%08u,"
             "\"kind\":\"goal\",\"data\":{\"player\":{\"%u\":\"Luna\"}}}", n,
             (unsigned)test_random() % 100000000, n % 23);
}

static void make_text(size_t len)
{
    buf_reset(&in);
    for (unsigned n = 0; in.len < len; n++)
        add_event(n);
    buf_truncate(&in, len);
}

static void make_zeros(size_t len)
{
    buf_reset(&in);
    memset(buf_reserve(&in, len), 0, len);
    in.len = len;
}

static enum unpacked unpack(struct slice payload, size_t most)
{
    buf_reset(&out);
    return wsdeflate_unpack(d, payload, most, &out);
}

static void expect_unpacked(struct slice payload, const char *want)
{
    EXPECT_INT(unpack(payload, 1 * MIB), UNPACKED);
    EXPECT_SLICE(buf_slice(&out), slice_str(want));
}

/* ---- out ----------------------------------------------------------------- */

TEST(what_is_packed_needs_no_wider_window_than_promised)
{
    static const size_t lengths[] = { PACK_LEAST, 300, 4095, 4096, 4097, 20000,
                                      65536, 400000 };

    begin();
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        make_text(lengths[i]);
        buf_reset(&packed);
        EXPECT(wsdeflate_pack(d, buf_slice(&in), &packed));
        EXPECT(packed.len < in.len);
        their_unpack(buf_slice(&packed), PACK_WINDOW);
        EXPECT_SLICE(buf_slice(&out), buf_slice(&in));
    }
    end();
}

/* A distance is never longer than the message. */
TEST(a_message_that_a_narrow_window_holds_can_be_read_with_it)
{
    begin();
    for (int window = 9; window < PACK_WINDOW; window++) {
        make_text((size_t)1 << window);
        buf_reset(&packed);
        EXPECT(wsdeflate_pack(d, buf_slice(&in), &packed));
        their_unpack(buf_slice(&packed), window);
        EXPECT_SLICE(buf_slice(&out), buf_slice(&in));
    }
    end();
}

TEST(a_packed_message_depends_on_no_other)
{
    struct buf first = BUF_INIT;

    begin();
    make_text(3000);
    EXPECT(wsdeflate_pack(d, buf_slice(&in), &first));
    EXPECT(wsdeflate_pack(d, buf_slice(&in), &packed));
    EXPECT_SLICE(buf_slice(&packed), buf_slice(&first));
    EXPECT_INT(unpack(buf_slice(&packed), 3000), UNPACKED);
    EXPECT_INT(unpack(buf_slice(&first), 3000), UNPACKED);
    buf_fini(&first);
    end();
}

TEST(what_is_short_or_does_not_shrink_is_left_alone)
{
    begin();
    make_text(PACK_LEAST - 1);
    EXPECT(!wsdeflate_pack(d, buf_slice(&in), &packed));
    EXPECT(!wsdeflate_pack(d, SLICE(""), &packed));
    for (size_t len = PACK_LEAST; len <= 70000; len = len * 3 + 1) {
        buf_reset(&in);
        while (in.len < len)
            buf_add_byte(&in, (uint8_t)test_random());
        EXPECT(!wsdeflate_pack(d, buf_slice(&in), &packed));
    }
    EXPECT_INT(packed.len, 0);
    make_text(500); /* and the next one is as good as ever */
    EXPECT(wsdeflate_pack(d, buf_slice(&in), &packed));
    their_unpack(buf_slice(&packed), PACK_WINDOW);
    EXPECT_SLICE(buf_slice(&out), buf_slice(&in));
    end();
}

TEST(without_memory_a_message_goes_plain)
{
    begin();
    make_text(1000);
    test_fail_malloc_after(0);
    EXPECT(!wsdeflate_pack(d, buf_slice(&in), &packed));
    EXPECT(test_malloc_failed());
    EXPECT_INT(packed.len, 0);
    end();
}

/* ---- in ------------------------------------------------------------------ */

TEST(the_examples_of_the_rfc_are_read)
{
    begin();
    expect_unpacked(SLICE("\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello");
    expect_unpacked(SLICE("\x00\x05\x00\xfa\xff" "Hello\x00"), "Hello");
    expect_unpacked(SLICE("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "Hello");
    expect_unpacked(SLICE("\xf2\x48\x05\x00\x00\x00\xff\xff"
                          "\xca\xc9\xc9\x07\x00"), "Hello");
    expect_unpacked(SLICE("\x00"), "");
    end();
}

TEST(a_stream_that_has_ended_may_be_all_or_be_followed_by_another)
{
    begin();
    expect_unpacked(SLICE("\xf3\x48\xcd\xc9\xc9\x07\x00"), "Hello");
    expect_unpacked(SLICE("\xf3\x48\xcd\xc9\xc9\x07\x00"
                          "\xf3\x48\xcd\xc9\xc9\x07\x00"), "HelloHello");
    expect_unpacked(SLICE("\xf3\x48\xcd\xc9\xc9\x07\x00"
                          "\xf2\x48\xcd\xc9\xc9\x07\x00"), "HelloHello");
    expect_unpacked(SLICE(""), "");
    end();
}

/* Empty ones, which say nothing and take their time: stored, and streams. */
TEST(blocks_are_counted)
{
    enum { STORED = 5, MOST = UNPACK_BLOCKS * UNPACK_BLOCK /
                              (UNPACK_BLOCK - STORED) };

    begin();
    buf_reset(&in);
    for (int i = 0; i < MOST - 1; i++)
        buf_add(&in, SLICE("\x00\x00\x00\xff\xff"));
    buf_add(&in, SLICE("\x00"));
    EXPECT_INT(unpack(buf_slice(&in), 10), UNPACKED);
    buf_truncate(&in, in.len - 1);
    for (int i = 0; i < 3; i++)
        buf_add(&in, SLICE("\x00\x00\x00\xff\xff"));
    buf_add(&in, SLICE("\x00"));
    EXPECT_INT(unpack(buf_slice(&in), 10), UNPACKED_BLOCKS);
    buf_reset(&in);
    for (int i = 0; i < UNPACK_BLOCKS * 2; i++)
        buf_add(&in, SLICE("\x03\x00"));
    EXPECT_INT(unpack(slice_head(buf_slice(&in), 2 * UNPACK_BLOCKS), 10),
               UNPACKED);
    EXPECT_INT(unpack(buf_slice(&in), 10), UNPACKED_BLOCKS);
    EXPECT_INT(out.len, 0);
    end();
}

/* The smallest blocks that zlib makes, and a flush every few bytes. */
TEST(no_compressor_makes_too_many_blocks)
{
    z_stream z = { .next_in = NULL };
    size_t at = 0;

    begin();
    make_text(65536);
    EXPECT_INT(deflateInit2(&z, 9, Z_DEFLATED, -9, 1, 0), Z_OK);
    z.next_out = buf_reserve(&packed, 200000);
    z.avail_out = 200000;
    while (at < in.len) {
        size_t n = MIN(in.len - at, (size_t)70);

        z.next_in = in.ptr + at;
        z.avail_in = (uInt)n;
        EXPECT_INT(deflate(&z, Z_SYNC_FLUSH), Z_OK);
        at += n;
    }
    packed.len = 200000 - z.avail_out - 4;
    deflateEnd(&z);
    EXPECT_INT(unpack(buf_slice(&packed), 65536), UNPACKED);
    EXPECT_SLICE(buf_slice(&out), buf_slice(&in));
    end();
}

TEST(every_compressor_is_read)
{
    static const size_t lengths[] = { 1, 100, 65536, 400000 };

    begin();
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        for (int level = 0; level <= 9; level++)
            for (int end_too = 0; end_too <= 1; end_too++) {
                make_text(lengths[i]);
                their_pack(buf_slice(&in), level,
                           end_too ? Z_FINISH : Z_SYNC_FLUSH);
                EXPECT(packed.len <= wsdeflate_most(in.len));
                EXPECT_INT(unpack(buf_slice(&packed), in.len), UNPACKED);
                EXPECT_SLICE(buf_slice(&out), buf_slice(&in));
            }
    end();
}

TEST(what_is_cut_or_has_something_behind_it_is_broken)
{
    begin();
    make_text(700);
    their_pack(buf_slice(&in), 6, Z_SYNC_FLUSH);
    for (size_t n = 1; n < packed.len; n++)
        EXPECT_INT(unpack(slice_head(buf_slice(&packed), n), 1000),
                   UNPACKED_BROKEN);
    buf_add(&packed, SLICE("\xff"));
    EXPECT_INT(unpack(buf_slice(&packed), 1000), UNPACKED_BROKEN);
    EXPECT_INT(unpack(SLICE("\xf3\x48\xcd\xc9\xc9\x07\x00\x07"), 1000),
               UNPACKED_BROKEN);
    EXPECT_INT(unpack(SLICE("\x00\x05\x00\xfa\xfe" "Hello\x00"), 1000),
               UNPACKED_BROKEN);
    EXPECT_INT(unpack(SLICE("\xff"), 1000), UNPACKED_BROKEN);
    EXPECT_INT(unpack(SLICE("\x02\x03\x00"), 1000), UNPACKED_BROKEN);
    expect_unpacked(SLICE("\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello");
    end();
}

TEST(a_bomb_is_noticed_while_it_goes_off)
{
    begin();
    make_zeros(1 * MIB);
    their_pack(buf_slice(&in), 9, Z_SYNC_FLUSH);
    EXPECT(packed.len < 1100);
    EXPECT_INT(unpack(buf_slice(&packed), 65536), UNPACKED_TOO_BIG);
    EXPECT_INT(out.len, 65537);
    EXPECT(out.cap <= 4 * 65536);
    EXPECT_INT(unpack(buf_slice(&packed), 2 * MIB), UNPACKED_TOO_MUCH);
    EXPECT_INT(out.len, packed.len * UNPACK_RATIO + 1);
    end();
}

TEST(the_bounds_are_exact)
{
    begin();
    make_text(1000);
    their_pack(buf_slice(&in), 6, Z_SYNC_FLUSH);
    EXPECT_INT(unpack(buf_slice(&packed), 1000), UNPACKED);
    EXPECT_INT(unpack(buf_slice(&packed), 999), UNPACKED_TOO_BIG);
    make_zeros(UNPACK_FREE);
    their_pack(buf_slice(&in), 9, Z_SYNC_FLUSH);
    EXPECT_INT(unpack(buf_slice(&packed), 1 * MIB), UNPACKED);
    make_zeros(UNPACK_FREE + 1);
    their_pack(buf_slice(&in), 9, Z_SYNC_FLUSH);
    EXPECT_INT(unpack(buf_slice(&packed), 1 * MIB), UNPACKED_TOO_MUCH);
    end();
}

TEST(without_memory_nothing_is_unpacked)
{
    begin();
    make_text(5000);
    their_pack(buf_slice(&in), 6, Z_SYNC_FLUSH);
    test_fail_malloc_after(0);
    EXPECT_INT(unpack(buf_slice(&packed), 5000), UNPACKED_NO_MEMORY);
    EXPECT(test_malloc_failed());
    EXPECT_INT(unpack(buf_slice(&packed), 5000), UNPACKED);
    end();
}
