#include "proto/seat.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"

enum {
    LIST_LEAST = 2,    /* seats that a new list has room for */
    WALK_MAX = 32,     /* below so many a walk is as fast as an index */
    INDEX_LEAST = 128, /* slots */
    PLACE_MAX = (1 << 30) - 1,
};

/* The seats of an end that has, or had, several. */
struct seat_list {
    struct seat_index *index; /* NULL while a walk does */
    uint32_t room;
    bool of_topic; /* whose: an id's, or a connection's */
    struct seat *at[];
};

/* Open addressing with linear probing, keyed by the seat's other end. Made
 * when a pair is looked for between two ends that are both long. */
struct seat_index {
    size_t mask; /* slots - 1 */
    size_t used;
    struct seat *slots[];
};

/* A seat that does not lie in its connection's end. */
struct far_seat {
    struct seat seat;
    struct conn_seats *conn;
    void *name[]; /* one, when seat.named */
};

static struct far_seat *far_of(const struct seat *s)
{
    return CONTAINER_OF((struct seat *)(uintptr_t)s, struct far_seat, seat);
}

struct conn_seats *seat_conn(const struct seat *s)
{
    if (!s->in_place)
        return far_of(s)->conn;
    return CONTAINER_OF((struct seat *)(uintptr_t)s, struct conn_seats, only);
}

void *seat_name_kept(const struct seat *s)
{
    return s->named ? far_of(s)->name[0] : NULL;
}

/* ---- what this thread's seats take ------------------------------------- */

static _Thread_local size_t held;

size_t seats_bytes(void)
{
    return held;
}

static size_t far_size(bool named)
{
    return sizeof(struct far_seat) +
           named * sizeof ((struct far_seat *)NULL)->name[0];
}

static size_t index_size(size_t slots)
{
    return sizeof(struct seat_index) +
           slots * sizeof ((struct seat_index *)NULL)->slots[0];
}

static size_t list_size(uint32_t room)
{
    return sizeof(struct seat_list) +
           room * sizeof ((struct seat_list *)NULL)->at[0];
}

static void far_free(struct far_seat *f)
{
    if (f)
        held -= far_size(f->seat.named);
    free(f);
}

static void index_free(struct seat_index *x)
{
    if (x)
        held -= index_size(x->mask + 1);
    free(x);
}

static struct far_seat *far_new(struct topic_seats *topic,
                                struct conn_seats *conn, bool named)
{
    struct far_seat *f = malloc(far_size(named));

    if (!f)
        return NULL;
    held += far_size(named);
    f->seat = (struct seat){.topic = topic, .named = named};
    f->conn = conn;
    if (named)
        f->name[0] = NULL;
    return f;
}

/* ---- the index of a long list ------------------------------------------ */

static size_t spread(const void *end)
{
    return (size_t)(((uint64_t)(uintptr_t)end *
                     UINT64_C(0x9e3779b97f4a7c15)) >> 24);
}

/* The end of s that is not the list's. */
static const void *other_end(const struct seat_list *l, const struct seat *s)
{
    return l->of_topic ? (const void *)seat_conn(s) : s->topic;
}

static struct seat_index *index_new(size_t slots)
{
    struct seat_index *x = calloc(1, index_size(slots));

    if (!x)
        return NULL;
    held += index_size(slots);
    x->mask = slots - 1;
    return x;
}

static void index_put(struct seat_index *x, const struct seat_list *l,
                      struct seat *s)
{
    size_t i = spread(other_end(l, s)) & x->mask;

    while (x->slots[i])
        i = (i + 1) & x->mask;
    x->slots[i] = s;
    x->used++;
}

/* Its slot; that of NULL when there is none. */
static struct seat **index_slot(const struct seat_list *l, const void *other)
{
    struct seat_index *x = l->index;
    size_t i = spread(other) & x->mask;

    while (x->slots[i] && other_end(l, x->slots[i]) != other)
        i = (i + 1) & x->mask;
    return &x->slots[i];
}

/* Takes s out and moves back what only stood behind because of it. */
static void index_drop(struct seat_list *l, const struct seat *s)
{
    struct seat_index *x = l->index;
    size_t hole = (size_t)(index_slot(l, other_end(l, s)) - x->slots);

    CHECK(x->slots[hole] == s);
    for (size_t i = (hole + 1) & x->mask; x->slots[i];
         i = (i + 1) & x->mask) {
        size_t home = spread(other_end(l, x->slots[i])) & x->mask;

        if (((i - home) & x->mask) < ((i - hole) & x->mask))
            continue;
        x->slots[hole] = x->slots[i];
        hole = i;
    }
    x->slots[hole] = NULL;
    x->used--;
}

static int index_make(struct seat_list *l, uint32_t count, size_t slots)
{
    struct seat_index *x = index_new(slots);

    if (!x)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        index_put(x, l, l->at[i]);
    index_free(l->index);
    l->index = x;
    return 0;
}

/* Both ends are long: the longer one gets an index, once; it is dropped when
 * the list is short again, so making it costs O(1) per seat ever added. */
static void index_begin(struct seat_list *l, uint32_t count)
{
    size_t slots = INDEX_LEAST;

    while (slots * 2 < (size_t)count * 3)
        slots *= 2;
    (void)!index_make(l, count, slots); /* without it the walk is longer */
}

/* Room for one more seat, at most 4/5 full. */
static int index_reserve(struct seat_list *l, uint32_t count)
{
    const struct seat_index *x = l->index;

    if (!x || (x->used + 1) * 5 <= (x->mask + 1) * 4)
        return 0;
    return index_make(l, count, (x->mask + 1) * 2);
}

static void index_shrink(struct seat_list *l, uint32_t count)
{
    const struct seat_index *x = l->index;

    if (!x)
        return;
    if (count < WALK_MAX / 2) {
        index_free(l->index);
        l->index = NULL;
    } else if (x->mask + 1 > INDEX_LEAST && x->used * 8 < x->mask + 1) {
        /* Without memory for the smaller one the larger one serves on. */
        (void)!index_make(l, count, (x->mask + 1) / 2);
    }
}

/* ---- lists ------------------------------------------------------------- */

static void list_set_place(const struct seat_list *l, struct seat *s,
                           uint32_t place)
{
    if (l->of_topic)
        s->on_topic = place;
    else
        s->on_conn = place & PLACE_MAX;
}

static struct seat_list *list_resize(struct seat_list *l, uint32_t room)
{
    size_t before = l ? list_size(l->room) : 0;
    struct seat_list *resized = realloc(l, list_size(room));

    if (!resized)
        return NULL;
    held += list_size(room) - before;
    resized->room = room;
    return resized;
}

static struct seat_list *list_new(bool of_topic)
{
    struct seat_list *l = list_resize(NULL, LIST_LEAST);

    if (l) {
        l->index = NULL;
        l->of_topic = of_topic;
    }
    return l;
}

static void list_free(struct seat_list *l)
{
    index_free(l->index);
    held -= list_size(l->room);
    free(l);
}

/* Room for one more seat. */
static int list_reserve(struct seat_list **list, uint32_t count)
{
    struct seat_list *l = *list;

    if (count == PLACE_MAX)
        return ERR_NOMEM;
    if (count == l->room) {
        l = list_resize(l, l->room * 2);
        if (!l)
            return ERR_NOMEM;
        *list = l;
    }
    return index_reserve(l, count);
}

/* Takes the last place, which is reserved. */
static void list_put(struct seat_list *l, uint32_t count, struct seat *s)
{
    l->at[count] = s;
    list_set_place(l, s, count);
    if (l->index)
        index_put(l->index, l, s);
}

/* The last one takes the place of s; count: with s. */
static void list_take(struct seat_list **list, uint32_t count, struct seat *s)
{
    struct seat_list *l = *list;
    uint32_t place = l->of_topic ? s->on_topic : s->on_conn;
    struct seat *last = l->at[count - 1];

    CHECK(l->at[place] == s);
    if (l->index)
        index_drop(l, s);
    l->at[place] = last;
    list_set_place(l, last, place);
    index_shrink(l, count - 1);
    if (l->room > LIST_LEAST && count - 1 <= l->room / 4)
        l = list_resize(l, l->room / 2);
    if (l)
        *list = l;
}

/* The seat at old's place has moved to s, which says the same as old. */
static void list_moved(struct seat_list *l, const struct seat *old,
                       struct seat *s)
{
    uint32_t place = l->of_topic ? s->on_topic : s->on_conn;

    if (l->index) {
        struct seat **slot = index_slot(l, other_end(l, old));

        CHECK(*slot == old);
        *slot = s;
    }
    l->at[place] = s;
}

/* ---- the two ends ------------------------------------------------------ */

static struct seat *topic_seat(const struct topic_seats *t, uint32_t i)
{
    return t->listed ? t->list->at[i] : t->one;
}

static struct seat *conn_seat(struct conn_seats *c, uint32_t i)
{
    return c->listed ? c->list->at[i] : &c->only;
}

/* A list that stays with one seat in it, or none, does no harm. */
static int topic_reserve(struct topic_seats *t)
{
    struct seat_list *l;

    if (t->listed)
        return list_reserve(&t->list, t->count);
    if (t->count == 0)
        return 0;
    l = list_new(true);
    if (!l)
        return ERR_NOMEM;
    list_put(l, 0, t->one);
    t->list = l;
    t->listed = true;
    return 0;
}

static void topic_put(struct topic_seats *t, struct seat *s)
{
    if (t->listed) {
        list_put(t->list, t->count, s);
    } else {
        t->one = s;
        s->on_topic = 0;
    }
    t->count++;
}

static void topic_take(struct topic_seats *t, struct seat *s)
{
    if (t->listed)
        list_take(&t->list, t->count, s);
    if (--t->count)
        return;
    if (t->listed)
        list_free(t->list);
    t->listed = false;
    t->spare = 0;
}

static void topic_moved(struct topic_seats *t, const struct seat *old,
                        struct seat *s)
{
    if (t->listed)
        list_moved(t->list, old, s);
    else
        t->one = s;
}

/* Moves the seat in place to far, which becomes the first of a list. */
static int conn_spread(struct conn_seats *c, struct far_seat *far)
{
    struct seat_list *l = list_new(false);

    if (!l)
        return ERR_NOMEM;
    far->seat.on_topic = c->only.on_topic;
    topic_moved(c->only.topic, &c->only, &far->seat);
    list_put(l, 0, &far->seat);
    c->list = l;
    c->listed = true;
    return 0;
}

/* Room for one more seat behind the first. */
static int conn_reserve(struct conn_seats *c)
{
    struct far_seat *far;

    if (c->listed)
        return list_reserve(&c->list, c->count);
    far = far_new(c->only.topic, c, false);
    if (far && conn_spread(c, far) == 0)
        return 0;
    far_free(far);
    return ERR_NOMEM;
}

/* A seat for conn, on none of its ends yet. NULL: no memory. */
static struct seat *conn_put(struct conn_seats *c, struct topic_seats *topic)
{
    struct far_seat *far;

    if (c->count == 0) {
        c->only = (struct seat){.topic = topic, .in_place = true};
        c->count = 1;
        return &c->only;
    }
    if (conn_reserve(c) < 0)
        return NULL;
    far = far_new(topic, c, false);
    if (!far)
        return NULL;
    list_put(c->list, c->count, &far->seat);
    c->count++;
    return &far->seat;
}

static void conn_take(struct conn_seats *c, struct seat *s)
{
    if (c->listed)
        list_take(&c->list, c->count, s);
    if (--c->count || !c->listed)
        return;
    list_free(c->list);
    c->listed = false;
}

/* ---- what others see --------------------------------------------------- */

struct seat_iter seats_of_topic(struct topic_seats *topic)
{
    return (struct seat_iter){.topic = topic, .left = topic->count};
}

struct seat_iter seats_of_conn(struct conn_seats *conn)
{
    return (struct seat_iter){.conn = conn, .left = conn->count};
}

/* Whatever has not been seen stands below `left`: a seat that leaves is
 * replaced by the last one. */
struct seat *seat_next(struct seat_iter *it)
{
    uint32_t count = it->topic ? it->topic->count : it->conn->count;

    it->left = MIN(it->left, count);
    if (it->left == 0)
        return NULL;
    it->left--;
    return it->topic ? topic_seat(it->topic, it->left)
                     : conn_seat(it->conn, it->left);
}

static struct seat *walk_topic(struct topic_seats *topic,
                               const struct conn_seats *conn)
{
    for (uint32_t i = 0; i < topic->count; i++)
        if (seat_conn(topic_seat(topic, i)) == conn)
            return topic_seat(topic, i);
    return NULL;
}

static struct seat *walk_conn(struct conn_seats *conn,
                              const struct topic_seats *topic)
{
    for (uint32_t i = 0; i < conn->count; i++)
        if (conn_seat(conn, i)->topic == topic)
            return conn_seat(conn, i);
    return NULL;
}

struct seat *seat_find(struct topic_seats *topic, struct conn_seats *conn)
{
    bool topic_longer = topic->count > conn->count;

    if (topic->count > WALK_MAX && conn->count > WALK_MAX) {
        if (!topic->list->index && !conn->list->index)
            index_begin(topic_longer ? topic->list : conn->list,
                        topic_longer ? topic->count : conn->count);
        if (topic->list->index)
            return *index_slot(topic->list, conn);
        if (conn->list->index)
            return *index_slot(conn->list, topic);
    }
    return topic_longer ? walk_conn(conn, topic) : walk_topic(topic, conn);
}

int seat_add(struct seat **ret, struct topic_seats *topic,
             struct conn_seats *conn)
{
    struct seat *s = seat_find(topic, conn);

    if (s) {
        *ret = s;
        return ERR_EXISTS;
    }
    if (topic_reserve(topic) < 0)
        return ERR_NOMEM;
    s = conn_put(conn, topic);
    if (!s)
        return ERR_NOMEM;
    topic_put(topic, s);
    *ret = s;
    return 0;
}

void seat_free(struct seat *s)
{
    if (!s)
        return;
    topic_take(s->topic, s);
    conn_take(seat_conn(s), s);
    if (!s->in_place)
        far_free(far_of(s));
}

int seat_keep_name(struct seat **seat, void *name)
{
    struct seat *s = *seat;
    struct conn_seats *c = seat_conn(s);
    struct far_seat *far;

    if (s->named || !name) {
        if (s->named)
            far_of(s)->name[0] = name;
        return 0;
    }
    far = far_new(s->topic, c, true);
    if (!far)
        return ERR_NOMEM;
    far->name[0] = name;
    if (!s->in_place) {
        far->seat.on_topic = s->on_topic;
        far->seat.on_conn = s->on_conn;
        topic_moved(s->topic, s, &far->seat);
        list_moved(c->list, s, &far->seat);
        far_free(far_of(s));
    } else if (conn_spread(c, far) < 0) {
        far_free(far);
        return ERR_NOMEM;
    }
    *seat = &far->seat;
    return 0;
}
