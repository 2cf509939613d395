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

/* ---- names --------------------------------------------------------------- */

static bool name_eq(const struct map_node *node, const void *key)
{
    const struct pub *p = CONTAINER_OF(node, struct pub, by_name);
    const struct pub_name *n = key;

    return p->life == n->life && p->number == n->number;
}

static int add_name(struct publish *p, struct pub *pub)
{
    struct pub_name name = {pub->life, pub->number};
    int rc = map_add(&p->names, &pub->by_name, pub_name_hash(&name));

    pub->named = rc == 0;
    return rc;
}

static void drop_name(struct publish *p, struct pub *pub)
{
    if (pub->named)
        map_remove(&p->names, &pub->by_name);
    pub->named = false;
}

struct pub *pub_by_name(const struct publish *p, uint64_t life,
                        uint64_t number)
{
    struct pub_name name = {life, number};
    struct map_node *n = map_find(&p->names, pub_name_hash(&name), name_eq,
                                  &name);

    return n ? CONTAINER_OF(n, struct pub, by_name) : NULL;
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
    drop_name(p, pub);
    answers_release(&p->answers, &pub->answer);
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
    struct msg *msg;
    int rc = msg_new(&msg, event);

    if (rc < 0)
        return rc;
    rc = answers_reserve(&p->answers, pub->life,
                         pub->act ? event->id.len + pub->body.len : 0,
                         &pub->answer);
    if (rc == 0)
        rc = add_name(p, pub);
    if (rc == 0 && pub->key.len)
        rc = map_add(&p->keys, &pub->by_key, key_hash(&key));
    if (rc < 0) {
        answers_release(&p->answers, &pub->answer);
        drop_name(p, pub);
        msg_drop(msg);
        return rc;
    }
    pub->msg = msg;
    p->queued++;
    p->taken++;
    p->queued_bytes += msg_size(pub->msg);
    list_add_tail(&p->queue, &pub->node);
    return 0;
}

int pub_join(struct publish *p, struct pub *first, struct pub *twin)
{
    int rc = add_name(p, twin);

    if (rc == 0)
        list_add_tail(&first->twins, &twin->node);
    return rc;
}

/* ---- the end of a link ------------------------------------------------- */

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
