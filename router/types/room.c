/* room.c - `room/<name>`: who is here, and what was said last.
 *
 * Names. A name stays in the room for ROOM_GRACE_NS after its last connection
 * went, so that polls, reconnects and restarts are invisible; only then a
 * leave is said. All names wait the same time, so the oldest of one list is
 * the next. Joins and leaves gather in the room and are said at most once in
 * ROOM_PAUSE_NS: a room with something to say is `ready`, one that has just
 * said something is `cooling`, in the order in which the pauses end.
 *
 * Messages. The last ones are kept as the JSON that snapshots are made of,
 * for rooms that somebody asked about, within a limit over all rooms; what
 * was dropped for it is asked for again (types_fill()). */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "proto/json.h"
#include "proto/limits.h"
#include "proto/msg_json.h"
#include "router/types/plug.h"

#define ROOM_GRACE_NS (10 * SECOND)
#define ROOM_PAUSE_NS (1 * SECOND)

enum { ROOM_BYTES_MAX = 1 << 20 }; /* of the messages kept for one room */

struct rooms {
    struct plug_ctx *ctx;
    struct map rooms;
    struct list_node leaving; /* struct name, next to go first */
    struct list_node ready, cooling; /* struct room, by notice_link */
    struct list_node used; /* struct room wanted or loaded, the idlest first */
    size_t kept_bytes;
    struct buf notice; /* data of the notice being emitted */
};

struct room {
    struct map_node node;
    char *id; /* full, "room/lobby" */
    size_t id_len;

    uint64_t connections;
    struct map names;
    struct list_node in_order; /* struct name, as they came */

    struct list_node joins, leaves; /* struct name, to be said */
    uint64_t joins_count, leaves_count;
    struct list_node notice_link; /* in ready or cooling */
    int64_t cool_ns; /* when the pause ends */

    struct list_node messages; /* struct kept, by offset */
    unsigned kept;
    size_t kept_bytes; /* with the room itself while it is in rooms->used */
    bool loaded; /* messages are the last ones, none is missing */
    bool wanted; /* somebody asked; types_fill() is expected */
    struct list_node used_link;
};

struct name {
    struct map_node node;
    struct list_node in_order;
    struct list_node notice;  /* in room->joins or room->leaves */
    struct list_node leaving; /* while the last connection's grace runs */
    int64_t leave_ns;
    bool said; /* people know: in notice it waits to leave, else to join */
    struct room *room;
    uint64_t connections;
    uint8_t len;
    char text[PERSON_NAME_MAX];
};

struct kept {
    struct list_node link;
    uint64_t offset;
    size_t len;
    char json[];
};

/* ---- rooms ------------------------------------------------------------ */

static bool room_has_id(const struct map_node *n, const void *id)
{
    const struct room *r = CONTAINER_OF(n, struct room, node);

    return slice_eq(slice_make(r->id, r->id_len), *(const struct slice *)id);
}

static struct room *find_room(const struct rooms *rs, struct slice id)
{
    struct map_node *n = map_find(&rs->rooms, hash_bytes(id), room_has_id,
                                  &id);

    return n ? CONTAINER_OF(n, struct room, node) : NULL;
}

static struct room *make_room(struct rooms *rs, struct slice id)
{
    struct room *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->id = slice_dup(id);
    r->id_len = id.len;
    if (!r->id || map_add(&rs->rooms, &r->node, hash_bytes(id)) < 0) {
        free(r->id);
        free(r);
        return NULL;
    }
    map_init(&r->names);
    list_init(&r->in_order);
    list_init(&r->joins);
    list_init(&r->leaves);
    list_init(&r->notice_link);
    list_init(&r->messages);
    list_init(&r->used_link);
    return r;
}

static void charge(struct rooms *rs, struct room *r, int64_t bytes)
{
    r->kept_bytes += (size_t)bytes;
    rs->kept_bytes += (size_t)bytes;
}

static void forget_messages(struct rooms *rs, struct room *r)
{
    struct list_node *n;

    while ((n = list_pop(&r->messages)))
        free(CONTAINER_OF(n, struct kept, link));
    rs->kept_bytes -= r->kept_bytes;
    r->kept_bytes = 0;
    r->kept = 0;
    r->loaded = r->wanted = false;
    list_remove(&r->used_link);
}

static void free_name(struct name *n)
{
    map_remove(&n->room->names, &n->node);
    list_remove(&n->in_order);
    list_remove(&n->notice);
    list_remove(&n->leaving);
    free(n);
}

static void free_room(struct rooms *rs, struct room *r)
{
    LIST_FOREACH_SAFE(n, tmp, &r->in_order, struct name, in_order)
        free_name(n);
    forget_messages(rs, r);
    list_remove(&r->notice_link);
    map_fini(&r->names);
    free(r->id);
    free(r);
}

/* Nobody here, nothing to say, nothing kept: as if it had never been. */
static void forget_if_idle(struct rooms *rs, struct room *r)
{
    if (map_count(&r->names) || list_linked(&r->notice_link) || r->wanted
        || r->loaded)
        return;
    map_remove(&rs->rooms, &r->node);
    free_room(rs, r);
}

static int room_open(void **self, struct plug_ctx *ctx)
{
    struct rooms *rs = calloc(1, sizeof *rs);

    if (!rs)
        return ERR_NOMEM;
    rs->ctx = ctx;
    map_init(&rs->rooms);
    list_init(&rs->leaving);
    list_init(&rs->ready);
    list_init(&rs->cooling);
    list_init(&rs->used);
    *self = rs;
    return 0;
}

static void room_close(void *self)
{
    struct rooms *rs = self;
    struct map_iter it;
    struct map_node *n;

    if (!rs)
        return;
    it = map_iter(&rs->rooms);
    while (map_next(&it, &n)) {
        map_iter_remove(&it, n);
        free_room(rs, CONTAINER_OF(n, struct room, node));
    }
    map_fini(&rs->rooms);
    buf_fini(&rs->notice);
    free(rs);
}

/* ---- messages --------------------------------------------------------- */

static void drop_kept(struct rooms *rs, struct room *r, struct kept *k)
{
    list_remove(&k->link);
    r->kept--;
    charge(rs, r, -(int64_t)(sizeof *k + k->len));
    free(k);
}

/* The newest kept message below offset, or the list's head. *there: one of
 * this offset is kept already. */
static struct list_node *place_for(struct room *r, uint64_t offset,
                                   bool *there)
{
    struct list_node *at = r->messages.prev;

    *there = false;
    for (; at != &r->messages; at = at->prev) {
        struct kept *k = CONTAINER_OF(at, struct kept, link);

        *there = k->offset == offset;
        if (k->offset <= offset)
            break;
    }
    return at;
}

static struct kept *make_kept(struct rooms *rs, const struct msg_parts *m)
{
    struct buf *b = &rs->notice;
    struct kept *k;

    buf_reset(b);
    msg_json_write(b, &rs->ctx->epoch, m);
    k = b->failed ? NULL : malloc(sizeof *k + b->len);
    if (!k)
        return NULL;
    k->offset = m->offset;
    k->len = b->len;
    memcpy(k->json, b->ptr, b->len);
    return k;
}

static void trim(struct rooms *rs, struct room *r)
{
    while (r->kept > ROOM_SNAPSHOT_MESSAGES
           || (r->kept > 1 && r->kept_bytes > ROOM_BYTES_MAX))
        drop_kept(rs, r, CONTAINER_OF(list_first(&r->messages), struct kept,
                                      link));
}

/* Makes room by forgetting the messages of rooms unused for longest. */
static void trim_others(struct rooms *rs, const struct room *r)
{
    while (rs->kept_bytes > rs->ctx->opt.room_memory) {
        struct room *old = CONTAINER_OF(list_first(&rs->used), struct room,
                                        used_link);

        if (old == r)
            break;
        forget_messages(rs, old);
        forget_if_idle(rs, old);
    }
}

/* An empty room that somebody asked about costs memory, too: strangers make
 * up names. */
static void touch(struct rooms *rs, struct room *r)
{
    if (!list_linked(&r->used_link))
        charge(rs, r, (int64_t)(sizeof *r + r->id_len));
    list_remove(&r->used_link);
    list_add_tail(&rs->used, &r->used_link);
    trim_others(rs, r);
}

/* Without memory for it the room is asked for anew. */
static void keep(struct rooms *rs, struct room *r, const struct msg_parts *m)
{
    bool there;
    struct list_node *behind = place_for(r, m->offset, &there);
    struct kept *k;

    if (there)
        return;
    k = make_kept(rs, m);
    if (!k) {
        forget_messages(rs, r);
        return;
    }
    list_init(&k->link);
    list_add_head(behind, &k->link);
    r->kept++;
    charge(rs, r, (int64_t)(sizeof *k + k->len));
    trim(rs, r);
    touch(rs, r);
}

static bool room_commit(void *self, const struct msg *m)
{
    struct rooms *rs = self;
    struct room *r = find_room(rs, m->id);
    struct msg_parts parts = {
        .format = m->format, .flags = m->flags, .seq = m->seq,
        .offset = m->offset, .ts_ms = m->ts_ms, .id = m->id, .from = m->from,
        .kind = m->kind, .key = m->key, .data = m->data,
    };

    if (r && (r->loaded || r->wanted))
        keep(rs, r, &parts);
    return false;
}

static void room_fill(void *self, const struct msg_parts *m)
{
    struct rooms *rs = self;
    struct room *r = find_room(rs, m->id);

    if (r && (r->loaded || r->wanted))
        keep(rs, r, m);
}

static void room_filled(void *self, struct slice id)
{
    struct rooms *rs = self;
    struct room *r = find_room(rs, id);

    if (!r || !r->wanted)
        return;
    r->wanted = false;
    r->loaded = true;
    touch(rs, r);
}

/* ---- the snapshot ----------------------------------------------------- */

static void write_names(const struct room *r, struct buf *out)
{
    unsigned shown = 0;

    LIST_FOREACH(n, &r->in_order, struct name, in_order) {
        if (shown++ == ROOM_SNAPSHOT_NAMES)
            break;
        buf_add_str(out, shown > 1 ? ",{\"name\":" : "{\"name\":");
        json_put_string(out, slice_make(n->text, n->len));
        buf_add_str(out, ",\"connections\":");
        buf_add_u64(out, n->connections);
        buf_add_byte(out, '}');
    }
}

static void write_messages(const struct room *r, struct buf *out)
{
    bool first = true;

    LIST_FOREACH(k, &r->messages, struct kept, link) {
        if (!first)
            buf_add_byte(out, ',');
        first = false;
        buf_add(out, slice_make(k->json, k->len));
    }
}

static int room_snapshot(void *self, struct slice id, struct buf *out)
{
    struct rooms *rs = self;
    struct room *r = find_room(rs, id);

    if (!r)
        r = make_room(rs, id);
    if (!r)
        return ERR_NOMEM;
    touch(rs, r);
    if (!r->loaded) {
        r->wanted = true;
        return ERR_AGAIN;
    }
    buf_add_str(out, "{\"count\":");
    buf_add_u64(out, r->connections);
    buf_add_str(out, ",\"names\":[");
    write_names(r, out);
    buf_add_str(out, "],\"messages\":[");
    write_messages(r, out);
    buf_add_str(out, "]}");
    return 0;
}

/* ---- presence --------------------------------------------------------- */

static bool name_is(const struct map_node *n, const void *text)
{
    const struct name *name = CONTAINER_OF(n, struct name, node);

    return slice_eq(slice_make(name->text, name->len),
                    *(const struct slice *)text);
}

static struct slice shown_name(struct slice name)
{
    return name.len ? slice_head(name, PERSON_NAME_MAX) : SLICE("anon");
}

static struct name *find_name(const struct room *r, struct slice text)
{
    struct map_node *n = map_find(&r->names, hash_bytes(text), name_is,
                                  &text);

    return n ? CONTAINER_OF(n, struct name, node) : NULL;
}

static struct name *make_name(struct room *r, struct slice text)
{
    struct name *n = calloc(1, sizeof *n);

    if (!n)
        return NULL;
    if (map_add(&r->names, &n->node, hash_bytes(text)) < 0) {
        free(n);
        return NULL;
    }
    n->room = r;
    n->len = (uint8_t)text.len;
    memcpy(n->text, text.ptr, text.len);
    list_init(&n->notice);
    list_init(&n->leaving);
    list_init(&n->in_order);
    list_add_tail(&r->in_order, &n->in_order);
    return n;
}

/* The room has something to say, now or when its pause is over. */
static void wants_to_say(struct rooms *rs, struct room *r)
{
    if (!list_linked(&r->notice_link))
        list_add_tail(&rs->ready, &r->notice_link);
}

/* To be said with the next notice. */
static void say_join(struct rooms *rs, struct name *n)
{
    list_add_tail(&n->room->joins, &n->notice);
    n->room->joins_count++;
    wants_to_say(rs, n->room);
}

static void say_leave(struct rooms *rs, struct name *n)
{
    list_add_tail(&n->room->leaves, &n->notice);
    n->room->leaves_count++;
    wants_to_say(rs, n->room);
}

/* The name was about to leave, or that was about to be said. */
static void come_back(struct name *n)
{
    list_remove(&n->leaving);
    if (!n->said || !list_linked(&n->notice))
        return;
    list_remove(&n->notice);
    n->room->leaves_count--;
}

/* The name in the room, made with it when absent: then *made. NULL: no
 * memory. */
static struct name *name_in_room(struct rooms *rs, struct slice id,
                                 struct slice text, bool *made)
{
    struct room *r = find_room(rs, id);
    struct name *n;

    if (!r)
        r = make_room(rs, id);
    if (!r)
        return NULL;
    n = find_name(r, text);
    *made = !n;
    if (!n)
        n = make_name(r, text);
    if (!n)
        forget_if_idle(rs, r);
    return n;
}

static int room_joined(void *self, struct slice id, struct slice text,
                       int64_t now_ns)
{
    struct rooms *rs = self;
    bool made;
    struct name *n = name_in_room(rs, id, shown_name(text), &made);

    UNUSED(now_ns);
    if (!n)
        return ERR_NOMEM;
    if (made)
        say_join(rs, n);
    else
        come_back(n);
    n->connections++;
    n->room->connections++;
    return 0;
}

static void begin_grace(struct rooms *rs, struct name *n, int64_t now_ns)
{
    n->leave_ns = now_ns + ROOM_GRACE_NS;
    list_add_tail(&rs->leaving, &n->leaving);
}

static int room_known(void *self, struct slice id, struct slice text,
                      int64_t now_ns)
{
    struct rooms *rs = self;
    bool made;
    struct name *n = name_in_room(rs, id, shown_name(text), &made);

    if (!n)
        return ERR_NOMEM;
    n->said = true;
    if (made)
        begin_grace(rs, n, now_ns);
    return 0;
}

static void room_left(void *self, struct slice id, struct slice text,
                      int64_t now_ns)
{
    struct rooms *rs = self;
    struct room *r = find_room(rs, id);
    struct name *n = r ? find_name(r, shown_name(text)) : NULL;

    if (NEVER(!n || !n->connections))
        return;
    r->connections--;
    if (--n->connections == 0)
        begin_grace(rs, n, now_ns);
}

/* ---- notices ---------------------------------------------------------- */

/* The grace is over. Of whom nobody heard that he came, nobody hears that he
 * goes. */
static void let_go(struct rooms *rs, struct name *n)
{
    struct room *r = n->room;

    list_remove(&n->leaving);
    if (n->said) {
        say_leave(rs, n);
        return;
    }
    r->joins_count--;
    free_name(n);
}

/* Takes the names off their list: those who left are gone for good. */
static void write_notice(struct rooms *rs, struct list_node *names,
                         uint64_t count, uint64_t present,
                         const struct types_ears *ears)
{
    struct buf *b = &rs->notice;
    unsigned shown = 0;
    struct list_node *node;

    buf_reset(b);
    buf_addf(b, "{\"count\":%llu,\"present\":%llu,\"names\":[",
             (unsigned long long)count, (unsigned long long)present);
    while ((node = list_pop(names))) {
        struct name *n = CONTAINER_OF(node, struct name, notice);
        struct slice text = slice_make(n->text, n->len);

        if (shown < ROOM_NOTICE_NAMES) {
            if (shown++)
                buf_add_byte(b, ',');
            json_put_string(b, text);
        }
        n->said = !n->said;
        ears->known(ears->ctx, slice_make(n->room->id, n->room->id_len), text,
                    n->said);
        if (!n->said)
            free_name(n);
    }
    buf_add_str(b, "]}");
}

/* Says who came or, if nobody did, who went; both in one second would be one
 * notice too many. A notice for which there is no memory is left out. */
static void say(struct rooms *rs, struct room *r,
                const struct types_ears *ears)
{
    bool join = !list_empty(&r->joins);
    struct msg_parts m = {
        .format = MSG_JSON,
        .flags = MSG_NOTICE,
        .id = slice_make(r->id, r->id_len),
        .kind = join ? SLICE("join") : SLICE("leave"),
    };

    if (join)
        write_notice(rs, &r->joins, r->joins_count, r->connections, ears);
    else
        write_notice(rs, &r->leaves, r->leaves_count, r->connections, ears);
    *(join ? &r->joins_count : &r->leaves_count) = 0;
    m.data = buf_slice(&rs->notice);
    if (!rs->notice.failed)
        ears->notice(ears->ctx, &m);
}

static bool has_to_say(const struct room *r)
{
    return !list_empty(&r->joins) || !list_empty(&r->leaves);
}

static struct room *first_room(const struct list_node *list)
{
    struct list_node *n = list_first(list);

    return n ? CONTAINER_OF(n, struct room, notice_link) : NULL;
}

static struct name *next_to_leave(const struct rooms *rs)
{
    struct list_node *n = list_first(&rs->leaving);

    return n ? CONTAINER_OF(n, struct name, leaving) : NULL;
}

static void room_tick(void *self, int64_t now_ns,
                      const struct types_ears *ears)
{
    struct rooms *rs = self;
    struct name *n;
    struct room *r;

    while ((n = next_to_leave(rs)) && n->leave_ns <= now_ns)
        let_go(rs, n);
    while ((r = first_room(&rs->cooling)) && r->cool_ns <= now_ns) {
        list_remove(&r->notice_link);
        list_add_tail(&rs->ready, &r->notice_link);
    }
    while ((r = first_room(&rs->ready))) {
        list_remove(&r->notice_link);
        if (!has_to_say(r)) {
            forget_if_idle(rs, r);
            continue;
        }
        say(rs, r, ears);
        r->cool_ns = now_ns + ROOM_PAUSE_NS;
        list_add_tail(&rs->cooling, &r->notice_link);
    }
}

static int64_t room_due_ns(const void *self)
{
    const struct rooms *rs = self;
    const struct name *n = next_to_leave(rs);
    const struct room *r = first_room(&rs->cooling);
    int64_t due = INT64_MAX;

    if (!list_empty(&rs->ready))
        return 0;
    if (n)
        due = n->leave_ns;
    return r ? MIN(due, r->cool_ns) : due;
}

const struct type room_type = {
    .name = "room",
    .prefix = "room/",
    .flags = TYPE_STATEFUL | TYPE_PRESENCE,
    .open = room_open,
    .close = room_close,
    .commit = room_commit,
    .snapshot = room_snapshot,
    .fill = room_fill,
    .filled = room_filled,
    .joined = room_joined,
    .left = room_left,
    .known = room_known,
    .tick = room_tick,
    .due_ns = room_due_ns,
};
