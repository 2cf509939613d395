#include "proto/frame_io.h"

#include "base/err.h"

/* ---- the registry ------------------------------------------------------ */

struct row {
    const char *name;
    enum frame_sender sender;
    uint32_t least;
};

static const struct row rows[256] = {
#define FRAME(code, name, who, least, meaning) \
    [code] = {#name, SENDER_##who, least},
#include "proto/frames.def"
#undef FRAME
};

const char *frame_name(uint8_t code)
{
    return rows[code].name ? rows[code].name : "?";
}

int frame_check(uint8_t code, enum frame_sender from, size_t len)
{
    const struct row *r = &rows[code];

    return r->name && r->sender == from && len >= r->least ? 0 : ERR_FRAME;
}

/* ---- the layouts, each once: from these rows reader and writer are made -- */

#define HELLO(X)       \
    X(peer_kind, kind) \
    X(u32, pid)        \
    X(u64, life)       \
    X(u64, router_life)\
    X(u64, served)     \
    X(u64, asked)      \
    X(str8, name)      \
    X(str8, edge)      \
    X(str8, epoch)

#define LOGIN(X)   \
    X(u32, conn)   \
    X(u32, gen)    \
    X(u8, flags)   \
    X(str8, name)  \
    X(u16, count) /* of login_id */

#define LOGIN_ID(X) \
    X(u8, flags)    \
    X(str8, id)

#define LOGOUT(X)  \
    X(u32, conn)   \
    X(u32, gen)    \
    X(yesno, gone) \
    X(u16, count) /* of logout_id */

#define LOGOUT_ID(X)  \
    X(yesno, release) \
    X(str8, id)

#define IDS(X) \
    X(u16, count) /* of str8 */

#define PUBLISH(X)       \
    X(u64, number)       \
    X(u32, conn)         \
    X(u32, gen)          \
    X(u8, flags)         \
    X(format, format)    \
    X(str8, id)          \
    X(str8, from)        \
    X(str8, kind)        \
    X(str16, key)        \
    X(str8, idempotency) \
    X(str32, data)

#define ACT(X)     \
    X(u64, number) \
    X(u32, conn)   \
    X(u32, gen)    \
    X(u8, flags)   \
    X(str8, verb)  \
    X(str8, from)  \
    X(str32, args)

#define FETCH(X)        \
    X(u32, ref)         \
    X(fetch_mode, mode) \
    X(u64, after)       \
    X(u64, upto)        \
    X(u32, limit)       \
    X(u32, bytes)       \
    X(u16, count) /* of str8 */

#define QUERY(X)  \
    X(u32, ref)   \
    X(str8, verb) \
    X(str32, args)

#define WELCOME(X)   \
    X(u64, life)     \
    X(u64, seq)      \
    X(u32, link)     \
    X(yesno, resync) \
    X(str8, epoch)   \
    X(str8, server)

#define LOGGED_IN(X)      \
    X(u32, conn)          \
    X(u32, gen)           \
    X(u64, seq)           \
    X(u64, forgotten_seq) \
    X(u8, flags)          \
    X(u16, count) /* of logged_in_id */

#define LOGGED_IN_ID(X)    \
    X(u8, flags)           \
    X(str8, id)            \
    X(u64, last_offset)    \
    X(u64, last_seq)       \
    X(u64, trimmed_offset) \
    X(u64, trimmed_seq)    \
    X(str32, state)

#define DELIVER(X)    \
    X(u64, seq)       \
    X(u64, offset)    \
    X(i64, ts_ms)     \
    X(format, format) \
    X(u8, flags)      \
    X(str8, id)       \
    X(str8, from)     \
    X(str8, kind)     \
    X(str16, key)     \
    X(str32, data)

#define SNAPSHOT(X) \
    X(u64, seq)     \
    X(str8, id)     \
    X(str32, state)

#define PUBLISHED(X)  \
    X(u64, number)    \
    X(status, status) \
    X(yesno, created) \
    X(u64, seq)       \
    X(u64, offset)    \
    X(i64, ts_ms)     \
    X(u32, reached)   \
    X(str8, id)       \
    X(str8, epoch)    \
    X(str8, code)     \
    X(str16, text)    \
    X(str32, body)

#define HOLE(X)      \
    X(u32, ref)      \
    X(hole_why, why) \
    X(u64, from)     \
    X(u64, to)       \
    X(u64, seq)      \
    X(str8, id)

#define PAGE_END(X) \
    X(u32, ref)     \
    X(yesno, more)  \
    X(u8, status)   \
    X(u64, upto)

#define ANSWER(X)     \
    X(u32, ref)       \
    X(status, status) \
    X(yesno, opaque)  \
    X(u64, seq)       \
    X(str32, body)

#define EPOCH(X) \
    X(u64, seq)  \
    X(str8, epoch)

#define KICK(X)  \
    X(u32, conn) \
    X(u32, gen)  \
    X(str16, reason)

/* ---- the kinds of field that cursor.h does not know --------------------- */

/* Bytes with few legal values: `end` is the first one that is not. */
#define SMALL(kind, end)                               \
    static uint8_t cursor_##kind(struct cursor *c)     \
    {                                                  \
        uint8_t v = cursor_u8(c);                      \
                                                       \
        if (v >= (end))                                \
            cursor_fail(c);                            \
        return v;                                      \
    }                                                  \
    static void put_##kind(struct buf *b, uint8_t v)   \
    {                                                  \
        put_u8(b, v);                                  \
    }

SMALL(yesno, 2)
SMALL(format, MSG_FORMATS)
SMALL(peer_kind, PEER_KINDS)
SMALL(fetch_mode, FETCH_MODES)
SMALL(status, PUBLISHED_STATUSES)
SMALL(hole_why, HOLE_WHYS)

/* ---- readers and writers ------------------------------------------------ */

#define READ_FIELD(kind, field) f.field = cursor_##kind(&c);
#define WRITE_FIELD(kind, field) put_##kind(b, f->field);

#define CODEC(name, type, FIELDS)                           \
    int frame_read_##name(struct slice body, type *ret)     \
    {                                                       \
        struct cursor c = cursor_init(body);                \
        type f;                                             \
                                                            \
        FIELDS(READ_FIELD)                                  \
        if (!cursor_all_read(&c))                           \
            return ERR_FRAME;                               \
        *ret = f;                                           \
        return 0;                                           \
    }                                                       \
    void frame_write_##name(struct buf *b, const type *f)   \
    {                                                       \
        FIELDS(WRITE_FIELD)                                 \
    }

CODEC(hello, struct frame_hello, HELLO)
CODEC(publish, struct frame_publish, PUBLISH)
CODEC(act, struct frame_act, ACT)
CODEC(query, struct frame_query, QUERY)
CODEC(welcome, struct frame_welcome, WELCOME)
CODEC(deliver, struct msg_parts, DELIVER)
CODEC(snapshot, struct frame_snapshot, SNAPSHOT)
CODEC(published, struct frame_published, PUBLISHED)
CODEC(hole, struct frame_hole, HOLE)
CODEC(page_end, struct frame_page_end, PAGE_END)
CODEC(answer, struct frame_answer, ANSWER)
CODEC(kick, struct frame_kick, KICK)
CODEC(epoch, struct frame_epoch, EPOCH)

/* An item of a list. */
#define ITEM(name, type, FIELDS)                                  \
    static int read_##name(struct cursor *items, type *ret)       \
    {                                                             \
        struct cursor c = *items;                                 \
        type f;                                                   \
                                                                  \
        FIELDS(READ_FIELD)                                        \
        *items = c;                                               \
        if (c.failed)                                             \
            return ERR_FRAME;                                     \
        *ret = f;                                                 \
        return 0;                                                 \
    }                                                             \
    void frame_write_##name(struct buf *b, const type *f)         \
    {                                                             \
        FIELDS(WRITE_FIELD)                                       \
    }

ITEM(login_id, struct login_id, LOGIN_ID)
ITEM(logout_id, struct logout_id, LOGOUT_ID)
ITEM(logged_in_id, struct logged_in_id, LOGGED_IN_ID)

static int read_id(struct cursor *items, struct slice *ret)
{
    struct slice id = cursor_str8(items);

    if (items->failed)
        return ERR_FRAME;
    *ret = id;
    return 0;
}

void frame_write_id(struct buf *b, struct slice id)
{
    put_str8(b, id);
}

/* A frame that ends in a list. The list is walked to its end before the frame
 * is believed, so that nobody acts on the first half of a frame whose second
 * half is broken. */
#define LIST_CODEC(name, type, FIELDS, item_name, item_type, next_name)   \
    int frame_read_##name(struct slice body, type *ret)                   \
    {                                                                     \
        struct cursor c = cursor_init(body);                              \
        type f;                                                           \
                                                                          \
        FIELDS(READ_FIELD)                                                \
        f.items = c;                                                      \
        for (unsigned i = 0; i < f.count; i++) {                          \
            item_type item;                                               \
                                                                          \
            if (read_##item_name(&c, &item) < 0)                          \
                return ERR_FRAME;                                         \
        }                                                                 \
        if (!cursor_all_read(&c))                                         \
            return ERR_FRAME;                                             \
        *ret = f;                                                         \
        return 0;                                                         \
    }                                                                     \
    void frame_write_##name(struct buf *b, const type *f)                 \
    {                                                                     \
        FIELDS(WRITE_FIELD)                                               \
    }                                                                     \
    int frame_next_##next_name(type *f, item_type *ret)                   \
    {                                                                     \
        return read_##item_name(&f->items, ret);                          \
    }

LIST_CODEC(login, struct frame_login, LOGIN,
           login_id, struct login_id, login_id)
LIST_CODEC(logout, struct frame_logout, LOGOUT,
           logout_id, struct logout_id, logout_id)
LIST_CODEC(logged_in, struct frame_logged_in, LOGGED_IN,
           logged_in_id, struct logged_in_id, logged_in)
LIST_CODEC(fetch, struct frame_fetch, FETCH, id, struct slice, fetch_id)
LIST_CODEC(ids, struct frame_ids, IDS, id, struct slice, id)

/* ROW: the message of a DELIVER behind the ref of its page. */
int frame_read_row(struct slice body, uint32_t *ref, struct msg_parts *ret)
{
    struct cursor c = cursor_init(body);
    uint32_t r = cursor_u32(&c);

    if (c.failed || frame_read_deliver(cursor_rest(&c), ret) < 0)
        return ERR_FRAME;
    *ref = r;
    return 0;
}

void frame_write_row(struct buf *b, uint32_t ref, const struct msg_parts *p)
{
    put_u32(b, ref);
    frame_write_deliver(b, p);
}
