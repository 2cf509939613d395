#include "router/answers.h"

#include <stdlib.h>

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

    return a->life == n->life && a->number == n->number;
}

void answers_init(struct answers *a, int64_t keep_ns)
{
    *a = (struct answers){.keep_ns = keep_ns};
    map_init(&a->by_name);
    list_init(&a->segments);
}

void answers_keep(struct answers *a, int64_t keep_ns)
{
    a->keep_ns = keep_ns;
}

static struct segment *segment_at(struct list_node *n)
{
    return n ? CONTAINER_OF(n, struct segment, node) : NULL;
}

/* The oldest answer goes, and its segment with the last of it. */
static void drop_first(struct answers *a, struct segment *s)
{
    struct answer *oldest = &s->answers[s->first++];

    map_remove(&a->by_name, &oldest->by_name);
    free(oldest->bytes);
    a->count--;
    if (s->first < s->end)
        return;
    list_remove(&s->node);
    free(s);
}

void answers_fini(struct answers *a)
{
    struct segment *s;

    while ((s = segment_at(list_first(&a->segments))))
        drop_first(a, s);
    map_fini(&a->by_name);
}

static struct answer *place(struct answers *a)
{
    struct segment *s = segment_at(list_last(&a->segments));

    if (!s || s->end == SEGMENT) {
        s = malloc(sizeof *s);
        if (!s)
            return NULL;
        s->first = s->end = 0;
        list_add_tail(&a->segments, &s->node);
    }
    return &s->answers[s->end++];
}

static void keep_bytes(struct answer *a, struct slice id, struct slice body)
{
    a->bytes = NULL;
    a->id_len = 0;
    a->body_len = 0;
    if (id.len + body.len == 0)
        return;
    a->bytes = malloc(id.len + body.len);
    if (!a->bytes)
        return;
    a->id_len = (uint8_t)id.len;
    a->body_len = (uint32_t)body.len;
    if (id.len)
        memcpy(a->bytes, id.ptr, id.len);
    if (body.len)
        memcpy(a->bytes + id.len, body.ptr, body.len);
}

void answers_note(struct answers *a, const struct answer *answer,
                  struct slice id, struct slice body)
{
    struct pub_name name = {answer->life, answer->number};
    struct answer *kept = place(a);

    if (!kept)
        return;
    *kept = *answer;
    if (map_add(&a->by_name, &kept->by_name, pub_name_hash(&name)) < 0) {
        struct segment *s = segment_at(list_last(&a->segments));

        if (--s->end == s->first) {
            list_remove(&s->node);
            free(s);
        }
        return;
    }
    keep_bytes(kept, id, body);
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
