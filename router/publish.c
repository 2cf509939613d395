#include "router/publish.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "router/commit.h"
#include "router/pub.h"
#include "router/reply.h"
#include "router/router.h"

/* ---- taken before? ----------------------------------------------------- */

/* A gateway that has come back sends again what it knows no answer to. True:
 * this one was taken, and is or will be answered, as if for the first time:
 * the client knows nothing of it. Or it may have been taken, too long ago to
 * know; that is said. */
static bool known_by_name(struct link *l, uint64_t number, struct slice id)
{
    struct publish *p = &l->router->publish;
    const struct answer *a = answers_find(&p->answers, l->who.life, number);
    struct pub *pub;

    if (a) {
        stat_add(&l->router->stats, STAT_DUPLICATES, 1);
        reply(l, &(struct frame_published){
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
    pub = pub_by_name(p, l->who.life, number);
    if (pub) {
        pub->link = l;
        return true;
    }
    if (!answers_forgot(&p->answers, l->who.life, number))
        return false;
    reply_refused(l, number, id,
                  REFUSAL(UNKNOWN, "publish.unknown",
                          "the gateway was away for so long that it is not "
                          "known any more whether the message was taken"));
    return true;
}

/* One that an earlier life of the router may have taken, and trimmed: its name
 * went with its row. Of what is not stored nothing is known, whatever its life. */
static bool may_be_gone(const struct request *q, unsigned topic_flags)
{
    struct router *r = q->link->router;
    const struct topic *t = table_find(&r->table, q->in.id);
    uint64_t trimmed = t && t->past && t->past->last_seq
                           ? t->past->trimmed_seq : r->forgotten.seq;

    return q->resent && (topic_flags & TOPIC_STORED) &&
           q->link->asked < MIN(trimmed, r->publish.gone_seq);
}

/* Waits for what becomes of the first one under the same key. Without memory it
 * cannot wait, and the first one may be stored. */
static void join_twin(struct pub *first, const struct request *q)
{
    struct publish *p = &q->link->router->publish;
    struct pub *twin = pub_new(q, SLICE(""));
    bool same = twin && twin->body_hash == first->body_hash;

    if (same && pub_join(p, first, twin) == 0)
        return;
    reply_refused(q->link, q->number, q->in.id,
                  twin && !same ? refusal_key_conflict
                                : REFUSAL(UNKNOWN, "publish.unknown",
                                          "there is no memory to wait for what "
                                          "was published under this key; it "
                                          "may be stored"));
    pub_free(p, twin);
}

/* True: the key was used before; it is, or will be, answered. */
static bool known_by_key(const struct request *q)
{
    struct router *r = q->link->router;
    struct pub *first = pub_by_key(&r->publish, q->in.id, q->key);
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
        reply_refused(q->link, q->number, q->in.id,
                      REFUSAL(UNKNOWN, "publish.unknown",
                              "what was published under this key cannot be "
                              "read now; it may be stored"));
    else if (found.body_hash != history_body_hash(q->in.data))
        reply_refused(q->link, q->number, q->in.id, refusal_key_conflict);
    else
        reply_repeated(q->link, q->number,
                       &(struct frame_published){
                           .status = PUBLISHED_OK,
                           .seq = found.seq,
                           .offset = found.offset,
                           .ts_ms = found.ts_ms,
                           .reached = found.reached,
                           .id = q->in.id,
                           .epoch = slice_str(found.epoch),
                       });
    return true;
}

/* ---- taking one -------------------------------------------------------- */

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
            reply_refused(q->link, q->number, q->in.id,
                          refusal_of_type(rc, &v.refusal));
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
    pub_free(&r->publish, pub);
    if (topic_flags & TOPIC_TYPED)
        types_withdraw(r->types, q->in.id);
    reply_refused(q->link, q->number, q->in.id, refusal_of_store(rc));
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
        reply_refused(q->link, q->number, q->in.id,
                      REFUSAL(TOO_MANY, "channels.full",
                              "the router knows as many channels as it may"));
    } else if (rc < 0) {
        reply_refused(q->link, q->number, q->in.id, refusal_of_store(rc));
    } else if (may_be_gone(q, flags)) {
        reply_refused(q->link, q->number, q->in.id,
                      REFUSAL(UNKNOWN, "publish.unknown",
                              "the router was started anew, and the message "
                              "may be among those that its channel does not "
                              "keep any more"));
        commit_unused(r, q->in.id);
    } else if (!take(q, flags)) {
        commit_unused(r, q->in.id);
    }
}

static bool bad_request(const struct request *q)
{
    const char *problem = id_problem(q->in.id);

    if (problem) {
        reply_refused(q->link, q->number, slice_head(q->in.id, ID_MAX),
                      (struct refusal){PUBLISHED_BAD, SLICE("channel.bad"),
                                       slice_str(problem)});
        return true;
    }
    if (q->in.data.len <= q->link->router->config->limits.message)
        return false;
    stat_add(&q->link->router->stats, STAT_LIMIT_MESSAGE, 1);
    reply_refused(q->link, q->number, q->in.id,
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
        reply_refused(l, number, id,
                      REFUSAL(UNAVAILABLE, "router.away",
                              "the router goes down"));
    return true;
}

void publish_message(struct link *l, const struct frame_publish *f)
{
    struct request q = {
        .link = l,
        .number = f->number,
        .more = f->flags & PUBLISH_MORE,
        .resent = f->flags & PUBLISH_RESENT,
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
        .resent = f->flags & PUBLISH_RESENT,
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
        reply_refused(l, f->number, SLICE(""),
                      refusal_of_type(rc, &act.refusal));
        return;
    }
    rc = act_copy(&act, &event, &body);
    if (rc < 0) {
        reply_refused(l, f->number, SLICE(""), refusal_of_store(rc));
    } else {
        act_request(l, f, event, act.created, buf_slice(&body));
        msg_drop(event);
    }
    buf_fini(&body);
}

/* ---- the whole --------------------------------------------------------- */

void publish_init(struct publish *p, int64_t keep_answers_ns)
{
    *p = (struct publish){.last_error = 0};
    list_init(&p->queue);
    list_init(&p->flight);
    map_init(&p->keys);
    map_init(&p->names);
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
    map_fini(&p->names);
    answers_fini(&p->answers);
    free(p->entries);
}

bool publish_idle(const struct publish *p)
{
    return list_empty(&p->queue) && list_empty(&p->flight);
}
