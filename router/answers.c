#include "router/answers.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"

/* Entries are in a map, so they must not move; they come and go in order, so
 * they are taken in segments. */
enum { SEGMENT = 512 };

struct segment {
    struct list_node node;
    size_t first, end;
    struct answer answers[SEGMENT];
};

uint32_t pub_name_hash(const struct pub_name *n)
{
    return hash_bytes(slice_make(n, sizeof *n));
}

static bool name_eq(const struct map_node *node, const void *key)
{
    const struct answer *a = CONTAINER_OF(node, struct answer, by_name);
    const struct pub_name *n = key;

    return a->life->life == n->life && a->number == n->number;
}

void answers_init(struct answers *a, int64_t keep_ns)
{
    *a = (struct answers){.keep_ns = keep_ns};
    map_init(&a->by_name);
    list_init(&a->segments);
    list_init(&a->spare);
    map_init(&a->lives);
    list_init(&a->quiet);
}

void answers_keep(struct answers *a, int64_t keep_ns)
{
    a->keep_ns = keep_ns;
}

/* ---- lives -------------------------------------------------------------- */

static uint32_t life_hash(uint64_t life)
{
    return hash_bytes(slice_make(&life, sizeof life));
}

static bool life_eq(const struct map_node *node, const void *key)
{
    return CONTAINER_OF(node, struct answer_life, by_life)->life ==
           *(const uint64_t *)key;
}

static struct answer_life *life_find(const struct answers *a, uint64_t life)
{
    struct map_node *n = map_find(&a->lives, life_hash(life), life_eq, &life);

    return n ? CONTAINER_OF(n, struct answer_life, by_life) : NULL;
}

static void life_free(struct answers *a, struct answer_life *l)
{
    list_remove(&l->node);
    map_remove(&a->lives, &l->by_life);
    free(l);
}

/* NULL without memory. */
static struct answer_life *life_need(struct answers *a, uint64_t life)
{
    struct answer_life *l = life_find(a, life);

    if (!l) {
        l = calloc(1, sizeof *l);
        if (!l || map_add(&a->lives, &l->by_life, life_hash(life)) < 0) {
            free(l);
            return NULL;
        }
        l->life = life;
        list_init(&l->node);
    }
    l->needed++;
    list_remove(&l->node);
    return l;
}

static void life_rest(struct answers *a, struct answer_life *l)
{
    if (--l->needed > 0)
        return;
    list_add_tail(&a->quiet, &l->node);
    if (map_count(&a->lives) > ANSWER_LIVES_MAX)
        life_free(a, CONTAINER_OF(list_first(&a->quiet), struct answer_life,
                                  node));
}

/* ---- segments ----------------------------------------------------------- */

static struct segment *segment_at(struct list_node *n)
{
    return n ? CONTAINER_OF(n, struct segment, node) : NULL;
}

/* Spare segments go when there is room for all who hold some without them. */
static void give_back(struct answers *a)
{
    struct list_node *n;

    while (a->room - a->reserved >= 2 * SEGMENT &&
           (n = list_pop(&a->spare))) {
        a->room -= SEGMENT;
        free(segment_at(n));
    }
}

/* The oldest answer goes; its segment, with the last of it, becomes a spare. */
static void drop_first(struct answers *a, struct segment *s)
{
    struct answer *oldest = &s->answers[s->first++];
    struct answer_life *life = oldest->life;

    life->forgotten = MAX(life->forgotten, oldest->number + 1);
    life_rest(a, life);
    map_remove(&a->by_name, &oldest->by_name);
    free(oldest->bytes);
    a->count--;
    if (s->first < s->end)
        return;
    list_remove(&s->node);
    list_add_tail(&a->spare, &s->node);
    a->room += s->end;
    s->first = s->end = 0;
    give_back(a);
}

void answers_fini(struct answers *a)
{
    struct list_node *n;
    struct segment *s;

    while ((s = segment_at(list_first(&a->segments))))
        drop_first(a, s);
    while ((s = segment_at(list_pop(&a->spare))))
        free(s);
    while ((n = list_first(&a->quiet)))
        life_free(a, CONTAINER_OF(n, struct answer_life, node));
    map_fini(&a->by_name);
    map_fini(&a->lives);
}

/* ---- room -------------------------------------------------------------- */

static int add_segment(struct answers *a)
{
    struct segment *s = malloc(sizeof *s);

    if (!s)
        return ERR_NOMEM;
    s->first = s->end = 0;
    list_init(&s->node);
    list_add_tail(&a->spare, &s->node);
    a->room += SEGMENT;
    return 0;
}

int answers_reserve(struct answers *a, uint64_t life, size_t bytes,
                    struct answer_room *ret)
{
    struct answer_room room = {NULL, NULL};
    int rc = map_begin(&a->by_name);

    if (rc == 0 && a->reserved == a->room)
        rc = add_segment(a);
    if (rc == 0 && bytes && !(room.bytes = malloc(bytes)))
        rc = ERR_NOMEM;
    if (rc == 0 && !(room.life = life_need(a, life)))
        rc = ERR_NOMEM;
    if (rc < 0) {
        free(room.bytes);
        return rc;
    }
    a->reserved++;
    *ret = room;
    return 0;
}

void answers_release(struct answers *a, struct answer_room *room)
{
    if (!room->life)
        return;
    life_rest(a, room->life);
    free(room->bytes);
    *room = (struct answer_room){NULL, NULL};
    a->reserved--;
    give_back(a);
}

/* A place that was reserved. */
static struct answer *place(struct answers *a)
{
    struct segment *s = segment_at(list_last(&a->segments));

    if (!s || s->end == SEGMENT) {
        s = segment_at(list_pop(&a->spare));
        CHECK(s);
        list_add_tail(&a->segments, &s->node);
    }
    a->room--;
    a->reserved--;
    return &s->answers[s->end++];
}

static void keep_bytes(struct answer *a, uint8_t *bytes, struct slice id,
                       struct slice body)
{
    a->bytes = bytes;
    a->id_len = (uint8_t)id.len;
    a->body_len = (uint32_t)body.len;
    if (id.len)
        memcpy(bytes, id.ptr, id.len);
    if (body.len)
        memcpy(bytes + id.len, body.ptr, body.len);
}

void answers_note(struct answers *a, struct answer_room *room,
                  const struct answer *answer, struct slice id,
                  struct slice body)
{
    struct pub_name name = {0, answer->number};
    struct answer *kept;
    int rc;

    CHECK(room->life);
    name.life = room->life->life;
    kept = place(a);
    *kept = *answer;
    kept->life = room->life;
    keep_bytes(kept, room->bytes, id, body);
    *room = (struct answer_room){NULL, NULL};
    rc = map_add(&a->by_name, &kept->by_name, pub_name_hash(&name));
    CHECK(rc == 0);
    if (++a->count > ANSWERS_MAX)
        drop_first(a, segment_at(list_first(&a->segments)));
}

const struct answer *answers_find(const struct answers *a, uint64_t life,
                                  uint64_t number)
{
    struct pub_name name = {life, number};
    struct map_node *n = map_find(&a->by_name, pub_name_hash(&name), name_eq,
                                  &name);

    return n ? CONTAINER_OF(n, struct answer, by_name) : NULL;
}

bool answers_forgot(const struct answers *a, uint64_t life, uint64_t number)
{
    const struct answer_life *l = life_find(a, life);

    return l && number < l->forgotten;
}

void answers_restored(struct answers *a)
{
    struct map_iter it = map_iter(&a->lives);
    struct map_node *n;

    while (map_next(&it, &n))
        CONTAINER_OF(n, struct answer_life, by_life)->forgotten = UINT64_MAX;
    LIST_FOREACH(s, &a->segments, struct segment, node)
        for (size_t i = s->first; i < s->end; i++) {
            struct answer_life *l = s->answers[i].life;

            l->forgotten = MIN(l->forgotten, s->answers[i].number);
        }
}

struct slice answer_id(const struct answer *a)
{
    return slice_make(a->bytes, a->id_len);
}

struct slice answer_body(const struct answer *a)
{
    return a->body_len ? slice_make(a->bytes + a->id_len, a->body_len)
                       : SLICE("");
}

void answers_expire(struct answers *a, int64_t now_ns)
{
    struct segment *s;

    while ((s = segment_at(list_first(&a->segments))) &&
           now_ns - s->answers[s->first].at_ns > a->keep_ns)
        drop_first(a, s);
}
