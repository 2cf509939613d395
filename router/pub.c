#include "router/pub.h"

#include <stdlib.h>

#include "base/err.h"
#include "router/router.h"

/* ---- idempotency keys under way ---------------------------------------- */

struct key {
    struct slice id, key;
};

static uint32_t key_hash(const struct key *k)
{
    return hash_bytes(k->id) * 31u + hash_bytes(k->key);
}

static bool key_eq(const struct map_node *n, const void *key)
{
    const struct pub *p = CONTAINER_OF(n, struct pub, by_key);
    const struct key *k = key;

    return slice_eq(p->msg->id, k->id) && slice_eq(p->key, k->key);
}

struct pub *pub_by_key(const struct publish *p, struct slice id,
                       struct slice key)
{
    struct key k = {id, key};
    struct map_node *n = map_find(&p->keys, key_hash(&k), key_eq, &k);

    return n ? CONTAINER_OF(n, struct pub, by_key) : NULL;
}

/* ---- publications ------------------------------------------------------ */

static struct slice keep(uint8_t **at, struct slice s)
{
    struct slice kept = slice_make(s.ptr ? *at : NULL, s.len);

    if (s.len)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return kept;
}

struct pub *pub_new(const struct request *q, struct slice record)
{
    struct pub *p = calloc(1, sizeof *p + q->key.len + record.len +
                                  q->body.len);
    uint8_t *at;

    if (!p)
        return NULL;
    at = p->tail;
    list_init(&p->node);
    list_init(&p->twins);
    p->link = q->link;
    p->life = q->link->who.life;
    p->number = q->number;
    p->act = q->act;
    p->created = q->created;
    p->more = q->more;
    p->key = keep(&at, q->key);
    p->record = keep(&at, record);
    p->body = keep(&at, q->body);
    if (q->key.len)
        p->body_hash = history_body_hash(q->in.data);
    return p;
}

void pub_free(struct publish *p, struct pub *pub)
{
    struct list_node *n;

    if (!pub)
        return;
    while ((n = list_pop(&pub->twins)))
        pub_free(p, CONTAINER_OF(n, struct pub, node));
    list_remove(&pub->node);
    if (pub->msg) {
        if (pub->key.len)
            map_remove(&p->keys, &pub->by_key);
        p->queued--;
        p->queued_bytes -= msg_size(pub->msg);
        msg_drop(pub->msg);
    }
    free(pub);
}

int pub_enqueue(struct publish *p, struct pub *pub,
                const struct msg_parts *event)
{
    struct key key = {event->id, pub->key};
    int rc = msg_new(&pub->msg, event);

    if (rc < 0)
        return rc;
    if (pub->key.len) {
        rc = map_add(&p->keys, &pub->by_key, key_hash(&key));
        if (rc < 0) {
            msg_drop(pub->msg);
            pub->msg = NULL;
            return rc;
        }
    }
    p->queued++;
    p->queued_bytes += msg_size(pub->msg);
    list_add_tail(&p->queue, &pub->node);
    return 0;
}

/* ---- looking up -------------------------------------------------------- */

static struct pub *find_number(struct list_node *list, uint64_t life,
                               uint64_t number)
{
    LIST_FOREACH(pub, list, struct pub, node) {
        struct pub *twin;

        if (pub->life == life && pub->number == number)
            return pub;
        twin = find_number(&pub->twins, life, number);
        if (twin)
            return twin;
    }
    return NULL;
}

struct pub *pub_by_name(struct publish *p, uint64_t life, uint64_t number)
{
    struct pub *pub = find_number(&p->flight, life, number);

    return pub ? pub : find_number(&p->queue, life, number);
}

static void unlink_answers(struct list_node *list, const struct link *l)
{
    LIST_FOREACH(pub, list, struct pub, node) {
        if (pub->link == l)
            pub->link = NULL;
        unlink_answers(&pub->twins, l);
    }
}

void pubs_link_gone(struct publish *p, const struct link *l)
{
    unlink_answers(&p->flight, l);
    unlink_answers(&p->queue, l);
}
