#include "proto/seat.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"

/* Below so many seats a walk is as fast as an index, and costs nothing. */
enum { LIST_MAX = 32, INDEX_LEAST = 128 };

/* Open addressing with linear probing, keyed by the seat's other side. Made
 * when a pair is looked for between two sides that are both long. */
struct seat_index {
    size_t mask; /* slots - 1 */
    size_t used;
    struct seat *slots[];
};

static size_t spread(const struct seat_side *other)
{
    return (size_t)(((uint64_t)(uintptr_t)other *
                     UINT64_C(0x9e3779b97f4a7c15)) >> 24);
}

/* The side of s that is not `side`. */
static struct seat_side *other_side(const struct seat *s,
                                    const struct seat_side *side)
{
    return s->topic == side ? s->conn : s->topic;
}

static struct seat_index *index_new(size_t slots)
{
    struct seat_index *x = calloc(1, sizeof *x + slots * sizeof x->slots[0]);

    if (x)
        x->mask = slots - 1;
    return x;
}

static void index_put(struct seat_index *x, const struct seat_side *side,
                      struct seat *s)
{
    size_t i = spread(other_side(s, side)) & x->mask;

    while (x->slots[i])
        i = (i + 1) & x->mask;
    x->slots[i] = s;
    x->used++;
}

static struct seat *index_get(const struct seat_index *x,
                              const struct seat_side *side,
                              const struct seat_side *other)
{
    size_t i = spread(other) & x->mask;

    while (x->slots[i] && other_side(x->slots[i], side) != other)
        i = (i + 1) & x->mask;
    return x->slots[i];
}

/* Takes s out and moves back what only stood behind because of it. */
static void index_drop(struct seat_index *x, const struct seat_side *side,
                       const struct seat *s)
{
    size_t hole = spread(other_side(s, side)) & x->mask;

    while (x->slots[hole] != s) {
        CHECK(x->slots[hole]);
        hole = (hole + 1) & x->mask;
    }
    for (size_t i = (hole + 1) & x->mask; x->slots[i];
         i = (i + 1) & x->mask) {
        size_t home = spread(other_side(x->slots[i], side)) & x->mask;

        if (((i - home) & x->mask) < ((i - hole) & x->mask))
            continue;
        x->slots[hole] = x->slots[i];
        hole = i;
    }
    x->slots[hole] = NULL;
    x->used--;
}

static int index_resize(struct seat_side *side, size_t slots)
{
    struct seat_index *old = side->index, *x = index_new(slots);

    if (!x)
        return ERR_NOMEM;
    for (size_t i = 0; i <= old->mask; i++)
        if (old->slots[i])
            index_put(x, side, old->slots[i]);
    free(old);
    side->index = x;
    return 0;
}

/* Room for one more seat, at most 4/5 full. */
static int side_reserve(struct seat_side *side)
{
    const struct seat_index *x = side->index;

    if (!x || (x->used + 1) * 5 <= (x->mask + 1) * 4)
        return 0;
    return index_resize(side, (x->mask + 1) * 2);
}

static void side_add(struct seat_side *side, struct list_node *node,
                     struct seat *s)
{
    list_add_tail(&side->seats, node);
    side->count++;
    if (side->index)
        index_put(side->index, side, s);
}

static void side_remove(struct seat_side *side, struct list_node *node,
                        struct seat *s)
{
    struct seat_index *x = side->index;

    list_remove(node);
    side->count--;
    if (!x)
        return;
    index_drop(x, side, s);
    if (side->count < LIST_MAX / 2) {
        free(x);
        side->index = NULL;
    } else if (x->mask + 1 > INDEX_LEAST && x->used * 8 < x->mask + 1) {
        /* Without memory for the smaller one the larger one serves on. */
        (void)!index_resize(side, (x->mask + 1) / 2);
    }
}

void seat_side_init(struct seat_side *s)
{
    *s = (struct seat_side){.count = 0};
    list_init(&s->seats);
}

void seat_side_fini(struct seat_side *s)
{
    CHECK(s->count == 0);
    free(s->index);
    s->index = NULL;
}

struct seat_iter seats_of_topic(struct seat_side *topic)
{
    return (struct seat_iter){topic->seats.next, &topic->seats};
}

struct seat_iter seats_of_conn(struct seat_side *conn)
{
    return (struct seat_iter){conn->seats.next, &conn->seats};
}

static struct list_node *step(struct seat_iter *it)
{
    struct list_node *at = it->next;

    if (at == it->head)
        return NULL;
    it->next = at->next;
    return at;
}

struct seat *seat_next_of_topic(struct seat_iter *it)
{
    struct list_node *n = step(it);

    return n ? CONTAINER_OF(n, struct seat, on_topic) : NULL;
}

struct seat *seat_next_of_conn(struct seat_iter *it)
{
    struct list_node *n = step(it);

    return n ? CONTAINER_OF(n, struct seat, on_conn) : NULL;
}

static struct seat *walk_topic(struct seat_side *topic,
                               const struct seat_side *conn)
{
    struct seat_iter it = seats_of_topic(topic);
    struct seat *s = seat_next_of_topic(&it);

    while (s && s->conn != conn)
        s = seat_next_of_topic(&it);
    return s;
}

static struct seat *walk_conn(struct seat_side *conn,
                              const struct seat_side *topic)
{
    struct seat_iter it = seats_of_conn(conn);
    struct seat *s = seat_next_of_conn(&it);

    while (s && s->topic != topic)
        s = seat_next_of_conn(&it);
    return s;
}

/* Both sides are long: the longer one gets an index, once; it is dropped when
 * the side is short again, so making it costs O(1) per seat ever added. */
static void side_make_index(struct seat_side *side, bool is_topic)
{
    size_t slots = INDEX_LEAST;
    struct seat_iter it;
    struct seat *s;

    while (slots * 2 < (size_t)side->count * 3)
        slots *= 2;
    side->index = index_new(slots);
    if (!side->index)
        return;
    it = is_topic ? seats_of_topic(side) : seats_of_conn(side);
    while ((s = is_topic ? seat_next_of_topic(&it) : seat_next_of_conn(&it)))
        index_put(side->index, side, s);
}

struct seat *seat_find(struct seat_side *topic, struct seat_side *conn)
{
    bool topic_longer = topic->count > conn->count;

    if (topic->count > LIST_MAX && conn->count > LIST_MAX) {
        if (!topic->index && !conn->index)
            side_make_index(topic_longer ? topic : conn, topic_longer);
        if (topic->index)
            return index_get(topic->index, topic, conn);
        if (conn->index)
            return index_get(conn->index, conn, topic);
    }
    return topic_longer ? walk_conn(conn, topic) : walk_topic(topic, conn);
}

int seat_add(struct seat **ret, struct seat_side *topic,
             struct seat_side *conn)
{
    struct seat *s = seat_find(topic, conn);

    if (s) {
        *ret = s;
        return ERR_EXISTS;
    }
    if (side_reserve(topic) < 0 || side_reserve(conn) < 0)
        return ERR_NOMEM;
    s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->topic = topic;
    s->conn = conn;
    side_add(topic, &s->on_topic, s);
    side_add(conn, &s->on_conn, s);
    *ret = s;
    return 0;
}

void seat_free(struct seat *s)
{
    if (!s)
        return;
    side_remove(s->topic, &s->on_topic, s);
    side_remove(s->conn, &s->on_conn, s);
    free(s);
}
