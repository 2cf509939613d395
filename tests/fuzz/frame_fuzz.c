/* Whatever the bytes: a frame that is read is written again as it was, and
 * its list holds what its count says. The first byte is the frame's code;
 * tests/fuzz/seeds/frame has one of each. */
#include "base/check.h"
#include "proto/frame_io.h"
#include "proto/trunk_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void same(const struct buf *again, struct slice body)
{
    CHECK(!again->failed);
    CHECK(slice_eq(buf_slice(again), body));
}

#define PLAIN(code, name, type)                         \
    static void try_##name(struct slice body)           \
    {                                                   \
        struct buf b = BUF_INIT;                        \
        type f;                                         \
                                                        \
        if (frame_read_##name(body, &f) == 0) {         \
            frame_write_##name(&b, &f);                 \
            same(&b, body);                             \
        }                                               \
        buf_fini(&b);                                   \
    }

#define LISTED(code, name, type, item, next, write)     \
    static void try_##name(struct slice body)           \
    {                                                   \
        struct buf b = BUF_INIT;                        \
        type f;                                         \
        item i;                                         \
                                                        \
        if (frame_read_##name(body, &f) == 0) {         \
            frame_write_##name(&b, &f);                 \
            for (unsigned n = 0; n < f.count; n++) {    \
                CHECK(next(&f, &i) == 0);               \
                write;                                  \
            }                                           \
            CHECK(next(&f, &i) < 0);                    \
            same(&b, body);                             \
        }                                               \
        buf_fini(&b);                                   \
    }

#define PLAIN_FRAMES(X)                              \
    X(FRAME_HELLO, hello, struct frame_hello)        \
    X(FRAME_PUBLISH, publish, struct frame_publish)  \
    X(FRAME_ACT, act, struct frame_act)              \
    X(FRAME_QUERY, query, struct frame_query)        \
    X(FRAME_WELCOME, welcome, struct frame_welcome)  \
    X(FRAME_DELIVER, deliver, struct msg_parts)      \
    X(FRAME_SNAPSHOT, snapshot, struct frame_snapshot) \
    X(FRAME_PUBLISHED, published, struct frame_published) \
    X(FRAME_HOLE, hole, struct frame_hole)           \
    X(FRAME_PAGE_END, page_end, struct frame_page_end) \
    X(FRAME_ANSWER, answer, struct frame_answer)     \
    X(FRAME_EPOCH, epoch, struct frame_epoch)        \
    X(FRAME_KICK, kick, struct frame_kick)

#define LISTED_FRAMES(X)                                                  \
    X(FRAME_LOGIN, login, struct frame_login, struct login_id,            \
      frame_next_login_id, frame_write_login_id(&b, &i))                  \
    X(FRAME_LOGOUT, logout, struct frame_logout, struct logout_id,        \
      frame_next_logout_id, frame_write_logout_id(&b, &i))                \
    X(FRAME_LOGGED_IN, logged_in, struct frame_logged_in,                 \
      struct logged_in_id, frame_next_logged_in,                          \
      frame_write_logged_in_id(&b, &i))                                   \
    X(FRAME_FETCH, fetch, struct frame_fetch, struct slice,               \
      frame_next_fetch_id, frame_write_id(&b, i))                         \
    X(FRAME_SNAP, ids, struct frame_ids, struct slice, frame_next_id,     \
      frame_write_id(&b, i))

PLAIN_FRAMES(PLAIN)
LISTED_FRAMES(LISTED)

static void try_row(struct slice body)
{
    struct buf b = BUF_INIT;
    struct msg_parts p;
    uint32_t ref;

    if (frame_read_row(body, &ref, &p) == 0) {
        frame_write_row(&b, ref, &p);
        same(&b, body);
    }
    buf_fini(&b);
}

static void try_come(struct slice body)
{
    struct buf b = BUF_INIT;
    struct trunk_come f;

    if (trunk_read_come(body, &f) == 0) {
        trunk_write_come(&b, f.number, &f.who);
        same(&b, body);
    }
    buf_fini(&b);
}

static void try_from(struct slice body)
{
    struct buf b = BUF_INIT;
    struct trunk_from f;

    if (trunk_read_from(body, &f) == 0) {
        trunk_write_from(&b, f.number, f.code);
        put_raw(&b, f.body);
        same(&b, body);
    }
    buf_fini(&b);
}

static void try_repeat(struct slice body)
{
    uint32_t numbers[UINT16_MAX];
    struct buf b = BUF_INIT;
    struct trunk_repeat f;

    if (trunk_read_repeat(body, &f) == 0) {
        for (unsigned n = 0; n < f.count; n++)
            numbers[n] = cursor_u32(&f.numbers);
        CHECK(cursor_all_read(&f.numbers));
        trunk_write_repeat(&b, numbers, f.count, f.code);
        put_raw(&b, f.body);
        same(&b, body);
    }
    buf_fini(&b);
}

static void try_short(uint8_t code, struct slice body)
{
    struct buf b = BUF_INIT;
    struct trunk_taken taken;
    struct trunk_place place;
    struct trunk_gone gone;
    struct trunk_cut cut;

    if (code == FRAME_TAKEN && trunk_read_taken(body, &taken) == 0) {
        trunk_write_taken(&b, taken.number, taken.bytes);
        same(&b, body);
    }
    if (code == FRAME_PLACE && trunk_read_place(body, &place) == 0) {
        trunk_write_place(&b, place.number, place.follows, place.seq);
        same(&b, body);
    }
    if (code == FRAME_GONE && trunk_read_gone(body, &gone) == 0 &&
        gone.why.len <= 200) { /* a longer one is cut */
        trunk_write_gone(&b, gone.number, gone.left, gone.why);
        same(&b, body);
    }
    if (code == FRAME_CUT && trunk_read_cut(body, &cut) == 0 &&
        cut.why.len <= 200) {
        trunk_write_cut(&b, cut.number, cut.why);
        same(&b, body);
    }
    buf_fini(&b);
}

#define CASE(code, name, ...) \
    case code:                \
        try_##name(body);     \
        break;

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct slice body = slice_make(bytes, len);

    if (len == 0)
        return 0;
    body = slice_from(body, 1);
    (void)!frame_check(bytes[0], SENDER_GATEWAY, body.len);
    switch (bytes[0]) {
        PLAIN_FRAMES(CASE)
        LISTED_FRAMES(CASE)
        CASE(FRAME_ROW, row)
        CASE(FRAME_COME, come)
        CASE(FRAME_FROM, from)
        CASE(FRAME_REPEAT, repeat)
    default:
        try_short(bytes[0], body);
    }
    return 0;
}
