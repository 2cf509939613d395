#include "router/publish.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "router/router.h"

/* A publication under way; also, without msg, the repeat of one, waiting on
 * its list of twins. */
struct pub {
    struct list_node node;
    struct map_node by_key; /* in publish.keys, when it has a key */
    struct list_node twins;
    struct link *link; /* whom to answer; NULL: nobody any more */
    uint64_t life, number;
    struct msg *msg;
    uint64_t body_hash;
    bool typed, act, created;
    struct slice key, record, body; /* in tail */
    uint8_t tail[];
};

/* What is asked for, before anything has been made of it. */
struct request {
    struct link *link;
    uint64_t number;
    struct msg_parts in;
    struct slice key, body;
    bool act, created;
};

struct refusal {
    enum publish_status status;
    struct slice code, text;
};

#define REFUSAL(status, code, text) \
    (struct refusal){PUBLISHED_##status, SLICE(code), SLICE(text)}

/* ---- answers ----------------------------------------------------------- */

static void answer(struct link *l, const struct frame_published *f)
{
    if (!l)
        return;
    frame_write_published(pipe_frame(l->pipe, FRAME_PUBLISHED), f);
    pipe_frame_end(l->pipe);
}

static void refuse(struct link *l, uint64_t number, struct slice id,
                   struct refusal why)
{
    struct frame_published f = {
        .number = number,
        .status = (uint8_t)why.status,
        .id = id,
        .code = why.code,
        .text = why.text,
    };

    if (l)
        stat_add(&l->router->stats, STAT_REFUSED, 1);
    answer(l, &f);
}

static struct refusal store_refusal(int rc)
{
    switch (rc) {
    case ERR_FULL:
        return REFUSAL(UNAVAILABLE, "store.full",
                       "the disk is full; reading goes on");
    case ERR_BUSY:
        return REFUSAL(UNAVAILABLE, "store.busy",
                       "another process holds the database");
    case ERR_DAMAGED:
        return REFUSAL(UNAVAILABLE, "store.damaged",
                       "the database is damaged");
    case ERR_NOMEM:
        return REFUSAL(UNAVAILABLE, "router.memory",
                       "the router is short of memory");
    default:
        return REFUSAL(UNAVAILABLE, "store.failed",
                       "the message could not be stored");
    }
}

static struct refusal type_refusal(int rc, const struct type_refusal *why)
{
    enum publish_status status = PUBLISHED_UNAVAILABLE;

    if (rc == ERR_BAD)
        status = PUBLISHED_BAD;
    else if (rc == ERR_NOT_FOUND)
        status = PUBLISHED_NOT_FOUND;
    else if (rc == ERR_CONFLICT)
        status = PUBLISHED_CONFLICT;
    if (status == PUBLISHED_UNAVAILABLE || !why->code)
        return store_refusal(ERR_NOMEM);
    return (struct refusal){status, slice_str(why->code), why->text};
}

static const struct refusal key_conflict = {
    PUBLISHED_CONFLICT, SLICE_INIT("idempotency.conflict"),
    SLICE_INIT("this Idempotency-Key was used with another body")};

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

static struct pub *key_under_way(const struct publish *p, const struct key *k)
{
    struct map_node *n = map_find(&p->keys, key_hash(k), key_eq, k);

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

static struct pub *pub_new(const struct request *q, struct slice record)
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
    p->key = keep(&at, q->key);
    p->record = keep(&at, record);
    p->body = keep(&at, q->body);
    if (q->key.len)
        p->body_hash = history_body_hash(q->in.data);
    return p;
}

static void pub_free(struct publish *p, struct pub *pub)
{
    struct list_node *n;

    if (!pub)
        return;
    while ((n = list_pop(&pub->twins)))
        pub_free(p, CONTAINER_OF(n, struct pub, node));
    if (pub->msg) {
        if (pub->key.len)
            map_remove(&p->keys, &pub->by_key);
        p->queued--;
        p->queued_bytes -= msg_size(pub->msg);
        msg_drop(pub->msg);
    }
    free(pub);
}

/* Takes the message into the queue: from here on pub_free() undoes it. */
static int pub_enqueue(struct publish *p, struct pub *pub,
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

/* ---- taken before? ----------------------------------------------------- */

static void repeat(struct link *l, uint64_t number,
                   const struct frame_published *first)
{
    struct frame_published f = *first;

    f.number = number;
    if (f.status == PUBLISHED_OK)
        f.status = PUBLISHED_DUPLICATE;
    stat_add(&l->router->stats, STAT_DUPLICATES, 1);
    answer(l, &f);
}

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

/* A gateway that has come back sends again what it knows no answer to. True:
 * this one was taken, and is or will be answered, as if for the first time:
 * the client knows nothing of it. */
static bool known_by_name(struct link *l, uint64_t number, struct slice id)
{
    struct publish *p = &l->router->publish;
    const struct answer *a = answers_find(&p->answers, l->who.life, number);
    struct pub *pub;

    if (a) {
        stat_add(&l->router->stats, STAT_DUPLICATES, 1);
        answer(l, &(struct frame_published){
                      .number = number,
                      .status = PUBLISHED_OK,
                      .created = a->created,
                      .seq = a->seq,
                      .offset = a->offset,
                      .ts_ms = a->ts_ms,
                      .reached = a->reached,
                      .id = a->id_len ? answer_id(a) : id,
                      .body = answer_body(a),
                  });
        return true;
    }
    pub = find_number(&p->flight, l->who.life, number);
    if (!pub)
        pub = find_number(&p->queue, l->who.life, number);
    if (pub)
        pub->link = l;
    return pub != NULL;
}

/* Waits for what becomes of the first one under the same key. */
static void join_twin(struct pub *first, const struct request *q)
{
    struct pub *twin = pub_new(q, SLICE(""));

    if (!twin)
        refuse(q->link, q->number, q->in.id, store_refusal(ERR_NOMEM));
    else if (twin->body_hash == first->body_hash)
        list_add_tail(&first->twins, &twin->node);
    else
        refuse(q->link, q->number, q->in.id, key_conflict);
    if (twin && !list_linked(&twin->node))
        free(twin);
}

/* True: the key was used before; it is, or will be, answered. */
static bool known_by_key(const struct request *q)
{
    struct router *r = q->link->router;
    struct key key = {q->in.id, q->key};
    struct pub *first = key_under_way(&r->publish, &key);
    struct first_answer found;
    int rc;

    if (first) {
        join_twin(first, q);
        return true;
    }
    rc = key_find(r->keys, q->in.id, q->key, &found);
    if (rc == ERR_NOT_FOUND)
        return false;
    if (rc < 0)
        refuse(q->link, q->number, q->in.id, store_refusal(rc));
    else if (found.body_hash != history_body_hash(q->in.data))
        refuse(q->link, q->number, q->in.id, key_conflict);
    else
        repeat(q->link, q->number,
               &(struct frame_published){
                   .status = PUBLISHED_OK,
                   .seq = found.seq,
                   .offset = found.offset,
                   .ts_ms = found.ts_ms,
                   .id = q->in.id,
                   .epoch = slice_str(found.epoch),
               });
    return true;
}

/* ---- taking one -------------------------------------------------------- */

/* A topic that was made for a publication which did not come to be. */
static void topic_unused(struct router *r, struct slice id)
{
    struct topic *t = table_find(&r->table, id);

    if (t && t->past && t->past->last_offset == 0 && !topic_leaves(t))
        table_forget(&r->table, t);
}

static int topic_reserve(struct router *r, struct slice id, unsigned *flags)
{
    struct topic *t;
    int rc = table_make(&r->table, id, &t);

    if (rc < 0)
        return rc;
    *flags = t->flags;
    if (table_past(&r->table, t))
        return 0;
    table_tidy(&r->table, t);
    return ERR_NOMEM;
}

/* Judges and queues: the answer comes with the commit. False: it is refused,
 * and answered. */
static bool take(const struct request *q, unsigned topic_flags)
{
    struct router *r = q->link->router;
    struct type_verdict v = {.event = q->in};
    struct pub *pub;
    int rc;

    if (topic_flags & TOPIC_TYPED) {
        rc = types_judge(r->types, &q->in, &v);
        if (rc < 0) {
            refuse(q->link, q->number, q->in.id,
                   type_refusal(rc, &v.refusal));
            return false;
        }
    }
    if (topic_flags & TOPIC_STORED)
        v.event.flags |= MSG_STORED;
    pub = pub_new(q, v.record);
    rc = pub ? pub_enqueue(&r->publish, pub, &v.event) : ERR_NOMEM;
    if (rc == 0) {
        pub->typed = topic_flags & TOPIC_TYPED;
        return true;
    }
    free(pub);
    if (topic_flags & TOPIC_TYPED)
        types_withdraw(r->types, q->in.id);
    refuse(q->link, q->number, q->in.id, store_refusal(rc));
    return false;
}

static void request(const struct request *q)
{
    struct router *r = q->link->router;
    unsigned flags;
    int rc;

    if (q->key.len && known_by_key(q))
        return;
    rc = topic_reserve(r, q->in.id, &flags);
    if (rc == ERR_FULL) {
        stat_add(&r->stats, STAT_LIMIT_CHANNELS, 1);
        refuse(q->link, q->number, q->in.id,
               REFUSAL(TOO_MANY, "channels.full",
                       "the router knows as many channels as it may"));
    } else if (rc < 0) {
        refuse(q->link, q->number, q->in.id, store_refusal(rc));
    } else if (!take(q, flags)) {
        topic_unused(r, q->in.id);
    }
}

static bool bad_request(const struct request *q)
{
    const char *problem = id_problem(q->in.id);

    if (problem) {
        refuse(q->link, q->number, slice_head(q->in.id, ID_MAX),
               (struct refusal){PUBLISHED_BAD, SLICE("channel.bad"),
                                slice_str(problem)});
        return true;
    }
    if (q->in.data.len <= q->link->router->config->limits.message)
        return false;
    stat_add(&q->link->router->stats, STAT_LIMIT_MESSAGE, 1);
    refuse(q->link, q->number, q->in.id,
           REFUSAL(TOO_BIG, "message.big",
                   "the message is longer than limits.message allows"));
    return true;
}

/* What is sent to a router that goes down is left to the next one: a gateway
 * sends it again, a tool is told. */
static bool gone_away(struct link *l, uint64_t number, struct slice id)
{
    if (!l->router->draining)
        return false;
    if (l->who.kind == PEER_CTL)
        refuse(l, number, id,
               REFUSAL(UNAVAILABLE, "router.away", "the router goes down"));
    return true;
}

void publish_message(struct link *l, const struct frame_publish *f)
{
    struct request q = {
        .link = l,
        .number = f->number,
        .key = f->idempotency,
        .in = {
            .format = f->format,
            .ts_ms = clock_wall_ms(),
            .id = f->id,
            .from = f->from,
            .kind = f->kind,
            .key = f->key,
            .data = f->data,
        },
    };

    if (gone_away(l, f->number, f->id) || bad_request(&q))
        return;
    if ((f->flags & PUBLISH_RESENT) && known_by_name(l, f->number, f->id))
        return;
    request(&q);
}

/* What an act returns lives until the next call into the types only. */
static int act_copy(const struct type_act *act, struct msg **event,
                    struct buf *body)
{
    int rc = msg_new(event, &act->event);

    if (rc < 0)
        return rc;
    buf_add(body, act->body);
    if (!body->failed)
        return 0;
    msg_drop(*event);
    return ERR_NOMEM;
}

static void act_request(struct link *l, const struct frame_act *f,
                        const struct msg *event, bool created,
                        struct slice body)
{
    struct request q = {
        .link = l,
        .number = f->number,
        .act = true,
        .created = created,
        .body = body,
        .in = {
            .format = event->format,
            .ts_ms = event->ts_ms,
            .id = event->id,
            .from = event->from,
            .kind = event->kind,
            .key = event->key,
            .data = event->data,
        },
    };

    if (!bad_request(&q))
        request(&q);
}

void publish_act(struct link *l, const struct frame_act *f)
{
    struct type_act act = {.created = false};
    struct buf body = BUF_INIT;
    struct msg *event;
    int rc;

    if (gone_away(l, f->number, SLICE("")))
        return;
    if ((f->flags & PUBLISH_RESENT) &&
        known_by_name(l, f->number, SLICE("")))
        return;
    rc = types_act(l->router->types, f->verb, f->args, f->from,
                   clock_wall_ms(), &act);
    if (rc < 0) {
        refuse(l, f->number, SLICE(""), type_refusal(rc, &act.refusal));
        return;
    }
    rc = act_copy(&act, &event, &body);
    if (rc < 0) {
        refuse(l, f->number, SLICE(""), store_refusal(rc));
    } else {
        act_request(l, f, event, act.created, buf_slice(&body));
        msg_drop(event);
    }
    buf_fini(&body);
}

/* ---- committed --------------------------------------------------------- */

/* The place was reserved when the message was taken; should it have gone
 * meanwhile and memory be short, newcomers do not learn the offset. */
static void note_past(struct router *r, const struct msg *m)
{
    struct topic *t;
    struct past *past = NULL;

    if (table_make(&r->table, m->id, &t) == 0)
        past = table_past(&r->table, t);
    if (!past) {
        log_error("router.memory", "what=past");
        return;
    }
    past->last_offset = m->offset;
    past->last_seq = m->seq;
}

static void answer_all(struct router *r, struct pub *pub,
                       const struct frame_published *f)
{
    struct list_node *n;

    answer(pub->link, f);
    while ((n = list_pop(&pub->twins))) {
        struct pub *twin = CONTAINER_OF(n, struct pub, node);

        if (twin->link && f->code.len == 0)
            repeat(twin->link, twin->number, f);
        else if (twin->link)
            refuse(twin->link, twin->number, f->id,
                   (struct refusal){f->status, f->code, f->text});
        pub_free(&r->publish, twin);
    }
}

static void answer_taken(struct router *r, struct pub *pub, uint32_t reached)
{
    const struct msg *m = pub->msg;
    struct frame_published f = {
        .number = pub->number,
        .status = PUBLISHED_OK,
        .created = pub->created,
        .seq = m->seq,
        .offset = m->offset,
        .ts_ms = m->ts_ms,
        .reached = reached,
        .id = m->id,
        .body = pub->body,
    };
    struct answer kept = {
        .life = pub->life,
        .number = pub->number,
        .seq = m->seq,
        .offset = m->offset,
        .ts_ms = m->ts_ms,
        .at_ns = clock_ns(),
        .reached = reached,
        .created = pub->created,
    };

    answers_note(&r->publish.answers, &kept, pub->act ? m->id : SLICE(""),
                 pub->body);
    answer_all(r, pub, &f);
}

static void committed(struct router *r, struct pub *pub,
                      const struct record *rec)
{
    struct msg *m = pub->msg;
    bool resnapshot;
    uint32_t reached;

    m->seq = rec->seq;
    m->offset = rec->offset;
    resnapshot = pub->typed && types_commit(r->types, m);
    if (resnapshot)
        m->flags |= MSG_RESNAPSHOT;
    note_past(r, m);
    reached = repeater_send(r, m);
    r->seq = m->seq;
    if (m->flags & MSG_STORED)
        r->stored_seq = m->seq;
    stat_add(&r->stats, STAT_PUBLISHED, 1);
    stat_add(&r->stats, STAT_REACHED, reached);
    answer_taken(r, pub, reached);
    if (resnapshot)
        snapshots_tell(r, m->id);
}

static void not_stored(struct router *r, struct pub *pub, int rc)
{
    struct refusal why = rc == ERR_CONFLICT ? key_conflict : store_refusal(rc);
    struct frame_published f = {
        .number = pub->number,
        .status = (uint8_t)why.status,
        .id = pub->msg->id,
        .code = why.code,
        .text = why.text,
    };

    stat_add(&r->stats, STAT_REFUSED_STORE, 1);
    answer_all(r, pub, &f);
    topic_unused(r, pub->msg->id);
}

/* Another router has stored this key in between. */
static void stored_before(struct router *r, struct pub *pub,
                          const struct entry *e)
{
    struct frame_published f = {
        .number = pub->number,
        .status = PUBLISHED_DUPLICATE,
        .seq = e->rec.seq,
        .offset = e->rec.offset,
        .ts_ms = e->rec.ts_ms,
        .id = pub->msg->id,
        .epoch = slice_str(e->first_epoch),
    };

    stat_add(&r->stats, STAT_DUPLICATES, 1);
    answer_all(r, pub, &f);
}

/* One entry that came back. False: a state that was judged is not real. */
static bool settle(struct router *r, const struct entry *e)
{
    struct pub *pub = e->user;
    bool real = e->rc == 0 || !pub->typed;

    if (e->rc == 0)
        committed(r, pub, &e->rec);
    else if (e->rc == ERR_EXISTS)
        stored_before(r, pub, e);
    else
        not_stored(r, pub, e->rc);
    list_remove(&pub->node);
    pub_free(&r->publish, pub);
    return real;
}

/* What was judged behind a state that is not real, and what would have been
 * stored behind a failure, goes too; plain messages without history stay. */
static void fail_queue(struct router *r, int rc, bool stored_too)
{
    LIST_FOREACH_SAFE(pub, next, &r->publish.queue, struct pub, node) {
        bool stored = pub->msg->flags & MSG_STORED;

        if (!pub->typed && !(stored && stored_too))
            continue;
        not_stored(r, pub, rc);
        list_remove(&pub->node);
        pub_free(&r->publish, pub);
    }
    types_rollback(r->types);
}

static void note_commit(struct router *r, int rc)
{
    struct publish *p = &r->publish;
    uint64_t us = (uint64_t)(clock_ns() - p->submitted_ns) / 1000;

    stat_add(&r->stats, rc ? STAT_BATCH_FAILURES : STAT_BATCHES, 1);
    stat_set(&r->stats, STAT_COMMIT_US, us);
    stat_add(&r->stats, STAT_COMMIT_SUM_US, us);
    if (us > stat_get(&r->stats, STAT_COMMIT_MAX_US))
        stat_set(&r->stats, STAT_COMMIT_MAX_US, us);
    if (rc && rc != p->last_error)
        log_error("store.failing", "error=%s action=refuse_stored",
                  err_name(rc));
    else if (!rc && p->last_error)
        log_info("store.recovered", "action=store_again");
    p->last_error = rc;
    stat_set(&r->stats, STAT_STORE_FAILING, rc != 0);
}

static void finish(struct router *r, const struct batch *b)
{
    bool real = true;

    for (size_t i = 0; i < b->count; i++)
        real = settle(r, &b->entries[i]) && real;
    if (b->rc || !real)
        fail_queue(r, b->rc ? b->rc : ERR_AGAIN, b->rc != 0);
    links_set_seq(r);
}

/* ---- submitting -------------------------------------------------------- */

static void fill_entry(struct router *r, struct entry *e, struct pub *pub)
{
    const struct msg *m = pub->msg;
    bool stored = m->flags & MSG_STORED;

    *e = (struct entry){
        .rec = {
            .id = m->id,
            .ts_ms = m->ts_ms,
            .format = m->format,
            .flags = m->flags,
            .from = m->from,
            .kind = m->kind,
            .key = m->key,
            .data = m->data,
            .session = pub->life,
            .number = pub->number,
        },
        .stored = stored,
        .sync = stored && router_synced(r, m->id),
        .idem = pub->key,
        .body_hash = pub->body_hash,
        .has_state = stored && pub->record.ptr,
        .state = pub->record,
        .user = pub,
    };
}

/* The next batch, out of the queue. */
static size_t fill_batch(struct router *r)
{
    struct publish *p = &r->publish;
    struct list_node *n;
    size_t count = 0, bytes = 0;

    while (count < GROUP_COUNT && (n = list_first(&p->queue))) {
        struct pub *pub = CONTAINER_OF(n, struct pub, node);

        bytes += msg_size(pub->msg);
        if (count && bytes > GROUP_BYTES)
            break;
        fill_entry(r, &p->entries[count++], pub);
        list_remove(n);
        list_add_tail(&p->flight, n);
    }
    return count;
}

static void refuse_batch(struct router *r, struct batch *b, int rc)
{
    b->rc = rc;
    for (size_t i = 0; i < b->count; i++)
        b->entries[i].rc = rc;
    note_commit(r, rc);
}

static void submit(struct router *r);

static void batch_done(struct batch *b)
{
    struct router *r = b->user;

    note_commit(r, b->rc);
    finish(r, b);
    submit(r);
}

static void submit(struct router *r)
{
    struct publish *p = &r->publish;

    while (!p->closed && list_empty(&p->flight) &&
           !list_empty(&p->queue)) {
        int rc;

        p->batch = (struct batch){.entries = p->entries, .user = r,
                                  .done = batch_done};
        p->batch.count = fill_batch(r);
        p->submitted_ns = clock_ns();
        rc = writer_submit(r->writer, &p->batch);
        if (rc == 0)
            return;
        if (rc < 0)
            refuse_batch(r, &p->batch, rc);
        finish(r, &p->batch);
    }
}

/* Too much waits for the disk: the gateways keep theirs for now. */
static void press_back(struct router *r)
{
    struct publish *p = &r->publish;
    bool high = p->queued > QUEUE_COUNT_HIGH ||
                p->queued_bytes > QUEUE_BYTES_HIGH;
    bool low = p->queued < QUEUE_COUNT_HIGH / 2 &&
               p->queued_bytes < QUEUE_BYTES_HIGH / 2;

    if (p->paused ? !low : !high)
        return;
    p->paused = high;
    log_info("publish.pressure", "paused=%d queued=%zu", p->paused,
             p->queued);
    LIST_FOREACH(l, &r->links.all, struct link, node)
        pipe_pause(l->pipe, p->paused);
}

void publish_turn(struct router *r)
{
    struct publish *p = &r->publish;

    submit(r);
    press_back(r);
    answers_expire(&p->answers, clock_ns());
    stat_set(&r->stats, STAT_QUEUED, p->queued);
}

/* ---- the whole --------------------------------------------------------- */

void publish_init(struct publish *p, int64_t keep_answers_ns)
{
    *p = (struct publish){.last_error = 0};
    list_init(&p->queue);
    list_init(&p->flight);
    map_init(&p->keys);
    answers_init(&p->answers, keep_answers_ns);
}

static void free_all(struct publish *p, struct list_node *list)
{
    struct list_node *n;

    while ((n = list_pop(list)))
        pub_free(p, CONTAINER_OF(n, struct pub, node));
}

void publish_fini(struct publish *p)
{
    free_all(p, &p->flight);
    free_all(p, &p->queue);
    map_fini(&p->keys);
    answers_fini(&p->answers);
}

bool publish_idle(const struct publish *p)
{
    return list_empty(&p->queue) && list_empty(&p->flight);
}

static void unlink_answers(struct list_node *list, const struct link *l)
{
    LIST_FOREACH(pub, list, struct pub, node) {
        if (pub->link == l)
            pub->link = NULL;
        unlink_answers(&pub->twins, l);
    }
}

void publish_link_gone(struct router *r, const struct link *l)
{
    unlink_answers(&r->publish.flight, l);
    unlink_answers(&r->publish.queue, l);
}
