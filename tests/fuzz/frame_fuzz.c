/* Whatever the bytes: a frame that is read is written again as it was, and
 * its list holds what its count says. The first byte is the frame's code;
 * tests/fuzz/seeds/frame has one of each. */
#include "base/check.h"
#include "proto/frame_io.h"

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
    }
    return 0;
}
