/* table.h - who is connected as what: ids <-> connections, both ways.
 * path: msg > publish > store > [table] > repeater > link > bus > gateway >
 *       edge > conn
 *
 *   topic  an id (or a pattern): in memory while somebody listens or the
 *          store has, or had, messages of it
 *   leaf   a topic on one link: the seats of that link's connections. A leaf
 *          without seats stays, warm, until the gateway says RELEASE: it keeps
 *          recent messages of the id and wants them to be without a hole
 *   conn   a connection: the gateway's slot number and its generation
 *   seat   one pair, on the lists of its leaf and of its connection
 *
 * So send(id) costs the number of links, the end of a connection or link what
 * it held. Patterns are topics too; a trie finds those that match an id.
 *
 * Memory of an idle id with one connection: 50 bytes and the id, connection
 * and seat 24, a pointer in the hash table.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_TABLE_H
#define TOUCHLINE_ROUTER_TABLE_H

#include "base/list.h"
#include "base/map.h"
#include "proto/block.h"
#include "proto/id.h"
#include "proto/seat.h"
#include "proto/slab.h"

enum {
    TABLE_CONNS_MAX = 1 << 22, /* slot numbers of one gateway are below */
    TABLE_LINKS_MAX = 4096,    /* numbers of links are 1 .. this - 1 */
    TABLE_IDLE_MAX = 65536,    /* ids without history that nobody hears */
};

/* What is known of the messages of an id. */
struct past {
    uint64_t last_offset, last_seq;
    uint64_t trimmed_offset, trimmed_seq; /* newest one deleted, or 0 */
    int64_t left_ms; /* Unix ms of the last logout; 0: none in this life */
};

struct leaf {
    struct topic_seats seats;
};
enum { /* of its seats' flags; 0: no leaf */
    LEAF_LINK = TABLE_LINKS_MAX - 1, /* number of the link */
    LEAF_MORE = TABLE_LINKS_MAX,     /* it is no topic's first */
};

enum topic_flag { /* set once, by the owner's classify() */
    TOPIC_STORED = 1u << 0,   /* its messages are kept, and so is its past */
    TOPIC_STATEFUL = 1u << 1, /* its type makes snapshots */
    TOPIC_PRESENCE = 1u << 2, /* its type hears who comes and goes */
    TOPIC_TYPED = 1u << 3,    /* it has a type at all */
    TOPIC_PATTERN = 1u << 4,
    TOPIC_LOADED = 1u << 5, /* restore.c: its type has its record */
};
struct topic {
    struct map_node by_id;
    struct leaf first; /* in place, because most ids are heard on one link */
    struct leaf_more *more; /* on other links */
    struct past *past; /* NULL: no message of it is known */
    uint8_t flags;
    uint8_t len;
    uint8_t text[];
};

static inline struct slice topic_id(const struct topic *t)
{
    return slice_make(t->text, t->len);
}

/* One more leaf of a topic that is heard on several links. */
struct leaf_more {
    struct leaf leaf;
    struct topic *topic;
    struct leaf_more *next;
};

static inline uint32_t leaf_link(const struct leaf *l)
{
    return l->seats.flags & LEAF_LINK;
}

static inline struct topic *leaf_topic(struct leaf *l)
{
    return l->seats.flags & LEAF_MORE
               ? CONTAINER_OF(l, struct leaf_more, leaf)->topic
               : CONTAINER_OF(l, struct topic, first);
}

struct leaf *leaf_next(struct leaf *l);

/* for (l = topic_leaves(t); l; l = leaf_next(l)); NULL: none */
static inline struct leaf *topic_leaves(struct topic *t)
{
    return leaf_link(&t->first) ? &t->first : leaf_next(&t->first);
}

struct conn {
    struct conn_seats seats; /* its flags: the generation */
};
/* Slots side by side: a block, which is there while one of them holds a seat. */
struct conn_page {
    uint32_t number, taken; /* of the page; connections that hold a seat */
    struct conn conns[];
};
enum { TABLE_PAGE = (BLOCK_BYTES - sizeof(struct conn_page)) /
                    sizeof(struct conn) };

/* The table's half of a link: embed it. */
struct table_link {
    uint32_t number;
    struct blocks blocks;
    size_t page_count;
    struct conn_page **pages; /* NULL: nobody there */
    struct leaf **warm;  /* those without seats; there is room for all */
    size_t warm_room, warm_count, leaves;
    size_t conns, seats; /* connections that hold a seat; seats */
};
void table_link_init(struct table_link *tl, uint32_t number);
void table_link_fini(struct table_link *tl); /* after table_link_drop() */

struct table_hooks {
    /* The topic_flags of a new id. */
    unsigned (*classify)(void *ctx, struct slice id);
    /* A seat of a topic with TOPIC_PRESENCE goes. */
    void (*left)(void *ctx, const struct topic *t, struct slice name);
    void (*deserted)(void *ctx, struct topic *t); /* its last leaf has gone */
    /* t, without history and not heard for long, goes, and its past. */
    void (*dropped)(void *ctx, const struct topic *t);
    void *ctx;
};

struct table {
    struct slabs slabs; /* of topics */
    struct map topics, names;
    struct trie *patterns;
    struct topic **matched; /* room for an id and all patterns */
    size_t matched_room;
    struct list_node idle; /* topics without history and leaf, oldest first */
    size_t idle_count, pasts;
    size_t limit; /* topics at most; 0: no limit */
    size_t seats, conns, leaves;
    struct table_hooks hooks;
};

/* ERR_NOMEM. Borrows nothing. */
MUST_USE int table_init(struct table *t, size_t limit,
                        const struct table_hooks *hooks);
/* All links must be gone. */
void table_fini(struct table *t);

struct topic *table_find(const struct table *t, struct slice id);
/* Finds or makes it. ERR_FULL (the limit), ERR_NOMEM. A topic that got
 * neither a leaf nor a past goes away with table_tidy(). */
MUST_USE int table_make(struct table *t, struct slice id, struct topic **ret);
/* The topic's past, made when absent. NULL: no memory. Of an id without
 * history and leaf it is kept for a while: until TABLE_IDLE_MAX others came. */
struct past *table_past(struct table *t, struct topic *topic);
void table_forget(struct table *t, struct topic *topic); /* its past is void */
void table_tidy(struct table *t, struct topic *topic);

/* Seats connection conn of tl on id (or pattern), under a name or none. 0: a
 * new seat. ERR_EXISTS: it had one. Both set *ret. ERR_FULL, ERR_NOMEM;
 * ERR_BAD: conn is no slot number. A connection of another generation in the
 * same slot is closed first. */
MUST_USE int table_login(struct table *t, struct table_link *tl, uint32_t conn,
                         uint32_t gen, struct slice id, struct slice name,
                         struct seat **ret);
/* Takes a seat back whose coming has not been told: left() is not called. */
void table_unseat(struct table *t, struct table_link *tl, struct seat *s);
/* ERR_NOT_FOUND: it has no such seat, or is of another generation. */
MUST_USE int table_logout(struct table *t, struct table_link *tl,
                          uint32_t conn, uint32_t gen, struct slice id);
/* All its seats. Cost: as many as it held. */
void table_close(struct table *t, struct table_link *tl, uint32_t conn,
                 uint32_t gen);
/* The gateway keeps nothing of the id any more. A leaf with seats stays. */
void table_release(struct table *t, struct table_link *tl, struct slice id);
/* Everything of the link. Cost: as much as it held. */
void table_link_drop(struct table *t, struct table_link *tl);

/* Topics with a leaf that hear what is sent to id: the id itself, then
 * patterns. Never fails; valid until the next call that is not const. */
struct topic *const *table_match(struct table *t, struct slice id,
                                 size_t *count);
/* The leaf of a topic on this link, or NULL. Cost: the topic's links. */
struct leaf *table_leaf_on(struct topic *t, uint32_t link);
/* Connections on all these topics together, each counted once. Cost: the
 * number of leaves; with patterns, the seats of all but the largest topic. */
uint32_t table_reached(struct topic *const *topics, size_t count);

/* Slot number of a connection. */
uint32_t table_conn_number(const struct conn_seats *conn);
/* The connection in this slot; NULL when it holds no seat. */
struct conn *table_conn(const struct table_link *tl, uint32_t conn);
struct slice seat_name(const struct seat *s); /* empty: anonymous */

#endif
