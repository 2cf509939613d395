#include "proto/trunk_frame.h"

#include <stdio.h>

#include "base/err.h"
#include "proto/frame.h"
#include "proto/frame_io.h"
#include "tests/t/t.h"

static const uint32_t three[] = {1, 0x01020304, UINT32_MAX};

TEST(what_is_written_is_read)
{
    struct buf b = BUF_INIT;
    struct peer_id who = {.name = "http1", .edge = "http", .pid = 42,
                          .kind = PEER_GATEWAY, .life = UINT64_MAX};
    struct trunk_come come;
    struct trunk_from from;
    struct trunk_gone gone;
    struct trunk_taken taken;
    struct trunk_repeat repeat;
    struct trunk_place place;
    struct trunk_cut cut;

    trunk_write_come(&b, 7, &who);
    EXPECT_OK(trunk_read_come(buf_slice(&b), &come));
    EXPECT_INT(come.number, 7);
    EXPECT_STR(come.who.name, "http1");
    EXPECT_STR(come.who.edge, "http");
    EXPECT_INT(come.who.pid, 42);
    EXPECT(come.who.life == UINT64_MAX);
    buf_reset(&b);
    trunk_write_from(&b, 8, FRAME_STATS);
    put_raw(&b, SLICE("body"));
    EXPECT_OK(trunk_read_from(buf_slice(&b), &from));
    EXPECT_INT(from.number, 8);
    EXPECT_INT(from.code, FRAME_STATS);
    EXPECT(slice_eq(from.body, SLICE("body")));
    buf_reset(&b);
    trunk_write_gone(&b, 9, true, SLICE("why"));
    EXPECT_OK(trunk_read_gone(buf_slice(&b), &gone));
    EXPECT(gone.number == 9 && gone.left);
    EXPECT(slice_eq(gone.why, SLICE("why")));
    buf_reset(&b);
    trunk_write_taken(&b, 10, UINT64_C(1) << 40);
    EXPECT_OK(trunk_read_taken(buf_slice(&b), &taken));
    EXPECT(taken.number == 10 && taken.bytes == UINT64_C(1) << 40);
    buf_reset(&b);
    trunk_write_repeat(&b, three, 3, FRAME_DELIVER);
    put_raw(&b, SLICE("message"));
    EXPECT_OK(trunk_read_repeat(buf_slice(&b), &repeat));
    EXPECT_INT(repeat.count, 3);
    for (unsigned i = 0; i < 3; i++)
        EXPECT_INT(cursor_u32(&repeat.numbers), three[i]);
    EXPECT_INT(repeat.code, FRAME_DELIVER);
    EXPECT(slice_eq(repeat.body, SLICE("message")));
    buf_reset(&b);
    trunk_write_place(&b, 11, true, 5);
    EXPECT_OK(trunk_read_place(buf_slice(&b), &place));
    EXPECT(place.number == 11 && place.follows && place.seq == 5);
    buf_reset(&b);
    trunk_write_cut(&b, 12, SLICE("no"));
    EXPECT_OK(trunk_read_cut(buf_slice(&b), &cut));
    EXPECT(cut.number == 12 && slice_eq(cut.why, SLICE("no")));
    buf_fini(&b);
}

static int read_any(uint8_t code, struct slice body)
{
    union {
        struct trunk_come come;
        struct trunk_from from;
        struct trunk_gone gone;
        struct trunk_taken taken;
        struct trunk_repeat repeat;
        struct trunk_place place;
        struct trunk_cut cut;
    } f;

    return code == FRAME_COME     ? trunk_read_come(body, &f.come)
           : code == FRAME_FROM   ? trunk_read_from(body, &f.from)
           : code == FRAME_GONE   ? trunk_read_gone(body, &f.gone)
           : code == FRAME_TAKEN  ? trunk_read_taken(body, &f.taken)
           : code == FRAME_REPEAT ? trunk_read_repeat(body, &f.repeat)
           : code == FRAME_PLACE  ? trunk_read_place(body, &f.place)
                                  : trunk_read_cut(body, &f.cut);
}

/* The shortest there is: that is what frames.def says; cut anywhere it is none,
 * and one byte more is none where nothing may follow. */
static void expect_least(uint8_t code, enum frame_sender sender, struct buf *b,
                         bool open)
{
    EXPECT_OK(frame_check(code, sender, b->len));
    EXPECT_ERR(frame_check(code, sender, b->len - 1), ERR_FRAME);
    EXPECT_OK(read_any(code, buf_slice(b)));
    for (size_t len = 0; len < b->len; len++)
        EXPECT_ERR(read_any(code, slice_head(buf_slice(b), len)), ERR_FRAME);
    put_u8(b, 0);
    if (!open)
        EXPECT_ERR(read_any(code, buf_slice(b)), ERR_FRAME);
    buf_reset(b);
}

TEST(the_least_and_what_is_cut)
{
    struct peer_id who = {.name = ""};
    struct buf b = BUF_INIT;

    trunk_write_come(&b, 1, &who);
    expect_least(FRAME_COME, SENDER_GATEWAY, &b, false);
    trunk_write_from(&b, 1, 2);
    expect_least(FRAME_FROM, SENDER_GATEWAY, &b, true);
    trunk_write_gone(&b, 1, false, SLICE(""));
    expect_least(FRAME_GONE, SENDER_GATEWAY, &b, false);
    trunk_write_taken(&b, 1, 2);
    expect_least(FRAME_TAKEN, SENDER_GATEWAY, &b, false);
    trunk_write_repeat(&b, three, 1, 2);
    expect_least(FRAME_REPEAT, SENDER_ROUTER, &b, true);
    trunk_write_place(&b, 1, false, 2);
    expect_least(FRAME_PLACE, SENDER_ROUTER, &b, false);
    trunk_write_cut(&b, 1, SLICE(""));
    expect_least(FRAME_CUT, SENDER_ROUTER, &b, false);
    buf_fini(&b);
}

TEST(what_is_no_name_no_kind_no_yes_and_nobody_is_refused)
{
    struct peer_id who = {.name = "no name"};
    struct buf b = BUF_INIT;
    char long_why[400];

    trunk_write_come(&b, 1, &who);
    EXPECT_ERR(read_any(FRAME_COME, buf_slice(&b)), ERR_FRAME);
    who = (struct peer_id){.name = "a", .kind = PEER_KINDS};
    buf_reset(&b);
    trunk_write_come(&b, 1, &who);
    EXPECT_ERR(read_any(FRAME_COME, buf_slice(&b)), ERR_FRAME);
    EXPECT_ERR(read_any(FRAME_GONE, SLICE("\1\0\0\0\2\0")), ERR_FRAME);
    EXPECT_ERR(read_any(FRAME_PLACE, SLICE("\1\0\0\0\2\0\0\0\0\0\0\0\0")),
               ERR_FRAME);
    EXPECT_ERR(read_any(FRAME_REPEAT, SLICE("\0\0\1\2\3\4\5")), ERR_FRAME);
    snprintf(long_why, sizeof long_why, "%399s", "x");
    buf_reset(&b);
    trunk_write_gone(&b, 1, false, slice_str(long_why)); /* cut short */
    EXPECT_OK(read_any(FRAME_GONE, buf_slice(&b)));
    EXPECT(b.len < 256);
    buf_fini(&b);
}
