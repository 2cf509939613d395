#include "router/commit.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "router/pub.h"
#include "router/reply.h"
#include "router/router.h"

/* With half a queue left, gateways that hold more fill it again within this. */
#define BREAK (2 * SECOND)

void commit_unused(struct router *r, struct slice id)
{
    struct topic *t = table_find(&r->table, id);

    if (t && t->past && t->past->last_offset == 0 && !topic_leaves(t))
        table_forget(&r->table, t);
}

/* ---- committed --------------------------------------------------------- */

/* Nothing can be known of m's id: newcomers are told that all up to m may be gone,
 * as of what was forgotten. */
static void count_as_forgotten(struct router *r, const struct msg *m)
{
    log_error("router.memory", "what=past action=count_as_forgotten");
    if (m->flags & MSG_STORED)
        r->forgotten.seq = MAX(r->forgotten.seq, m->seq);
}

/* The place was reserved when the message was taken; it may have gone meanwhile,
 * when the store forgot the id, and memory be short. */
static void note_past(struct router *r, const struct msg *m)
{
    struct topic *t;
    struct past *past = NULL;

    if (table_make(&r->table, m->id, &t) == 0)
        past = table_past(&r->table, t);
    if (!past) {
        count_as_forgotten(r, m);
        return;
    }
    if (past->last_seq == 0 && (m->flags & MSG_STORED)) {
        past->trimmed_offset = m->offset - 1; /* of it nothing else is known */
        past->trimmed_seq = r->forgotten.seq;
    }
    past->last_offset = m->offset;
    past->last_seq = m->seq;
}

static void answer_all(struct router *r, struct pub *pub,
                       const struct frame_published *f)
{
    struct list_node *n;

    reply(pub->link, f);
    while ((n = list_pop(&pub->twins))) {
        struct pub *twin = CONTAINER_OF(n, struct pub, node);

        if (twin->link && f->code.len == 0)
            reply_repeated(twin->link, twin->number, f);
        else if (twin->link)
            reply_refused(twin->link, twin->number, f->id,
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
        .number = pub->number,
        .seq = m->seq,
        .offset = m->offset,
        .ts_ms = m->ts_ms,
        .at_ns = clock_ns(),
        .reached = reached,
        .created = pub->created,
    };

    answers_note(&r->publish.answers, &pub->answer, &kept,
                 pub->act ? m->id : SLICE(""), pub->body);
    answer_all(r, pub, &f);
}

/* A retract and the state behind it are one batch on each link: no gateway has
 * the one without the other because a link broke between them. */
static void hold_links(struct router *r, bool held)
{
    LIST_FOREACH(l, &r->links.all, struct link, node)
        lane_hold(&l->lane, held); /* a repeater's: of all behind it */
}

static void committed(struct router *r, struct pub *pub,
                      const struct entry *e)
{
    struct msg *m = pub->msg;
    bool resnapshot;
    uint32_t reached;

    m->seq = e->rec.seq;
    m->offset = e->rec.offset;
    resnapshot = pub->typed && types_commit(r->types, m);
    if (resnapshot) {
        m->flags |= MSG_RESNAPSHOT;
        hold_links(r, true);
    }
    note_past(r, m);
    reached = repeater_send(r, m);
    r->seq = m->seq;
    if (m->flags & MSG_STORED)
        r->stored_seq = m->seq;
    stat_add(&r->stats, STAT_PUBLISHED, 1);
    stat_add(&r->stats, STAT_REACHED, reached);
    answer_taken(r, pub, reached);
    if (pub->key.len && reached != e->reached)
        writer_set_reached(r->writer, m->seq, reached);
    if (!resnapshot)
        return;
    snapshots_tell(r, m->id);
    hold_links(r, false);
}

static void not_stored(struct router *r, struct pub *pub, int rc)
{
    struct refusal why = rc == ERR_CONFLICT ? refusal_key_conflict
                                            : refusal_of_store(rc);
    struct frame_published f = {
        .number = pub->number,
        .status = (uint8_t)why.status,
        .id = pub->msg->id,
        .code = why.code,
        .text = why.text,
    };

    tally_add(&r->refused, why.code);
    answer_all(r, pub, &f);
    commit_unused(r, pub->msg->id);
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
        .reached = e->reached,
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
        committed(r, pub, e);
    else if (e->rc == ERR_EXISTS)
        stored_before(r, pub, e);
    else
        not_stored(r, pub, e->rc);
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
        pub_free(&r->publish, pub);
    }
    types_rollback(r->types);
}

static void note_commit(struct router *r, int rc)
{
    struct publish *p = &r->publish;
    int64_t took_ns = clock_ns() - p->submitted_ns;
    uint64_t us = (uint64_t)took_ns / 1000;

    spread_record(&p->commits, took_ns);
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
        .judged = stored && pub->typed,
        .sync = stored && router_synced(r, m->id),
        .idem = pub->key,
        .body_hash = pub->body_hash,
        .reached = pub->key.len ? repeater_reach(r, m->id) : 0,
        .has_state = stored && pub->record.ptr,
        .state = pub->record,
        .user = pub,
    };
}

static bool entries_reserve(struct publish *p, size_t count)
{
    size_t room = MAX(p->entries_room * 2, (size_t)ENTRIES_FIRST);
    struct entry *e;

    if (count <= p->entries_room)
        return true;
    e = realloc(p->entries, room * sizeof *e);
    if (!e)
        return false;
    p->entries = e;
    p->entries_room = room;
    return true;
}

/* The next batch, out of the queue; what was sent to be one commit is not cut,
 * whatever its size. 0: no memory for a single one. */
static size_t fill_batch(struct router *r)
{
    struct publish *p = &r->publish;
    size_t most = (size_t)r->config->limits.commit_group;
    struct list_node *n;
    size_t count = 0, bytes = 0;
    bool more = false;

    while ((more || count < most) && (n = list_first(&p->queue))) {
        struct pub *pub = CONTAINER_OF(n, struct pub, node);

        bytes += msg_size(pub->msg);
        if (count && bytes > GROUP_BYTES && !more)
            break;
        if (!entries_reserve(p, count + 1))
            break;
        fill_entry(r, &p->entries[count++], pub);
        more = pub->more;
        list_remove(n);
        list_add_tail(&p->flight, n);
    }
    if (count >= most && !list_empty(&p->queue))
        stat_add(&r->stats, STAT_LIMIT_COMMIT_GROUP, 1);
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

        p->batch = (struct batch){.count = fill_batch(r), .user = r,
                                  .done = batch_done};
        p->batch.entries = p->entries;
        if (p->batch.count == 0) {
            log_error("publish.memory", "action=try_again");
            return;
        }
        p->submitted_ns = clock_ns();
        rc = writer_submit(r->writer, &p->batch);
        if (rc == 0)
            return;
        if (rc < 0)
            refuse_batch(r, &p->batch, rc);
        finish(r, &p->batch);
    }
}

int64_t commit_pressed_ns(const struct router *r, int64_t now_ns)
{
    const struct publish *p = &r->publish;

    return p->pressed_ns && (p->paused || now_ns - p->eased_ns < BREAK)
               ? now_ns - p->pressed_ns : 0;
}

/* Too much waits for the disk: the gateways keep theirs for now. */
static void press_back(struct router *r)
{
    struct publish *p = &r->publish;
    int64_t now_ns = clock_ns();
    bool high = p->queued > QUEUE_COUNT_HIGH ||
                p->queued_bytes > QUEUE_BYTES_HIGH;
    bool low = p->queued < QUEUE_COUNT_HIGH / 2 &&
               p->queued_bytes < QUEUE_BYTES_HIGH / 2;

    if (p->paused ? !low : !high)
        return;
    if (high && !commit_pressed_ns(r, now_ns))
        p->pressed_ns = now_ns;
    if (!high)
        p->eased_ns = now_ns;
    p->paused = high;
    log_info("publish.pressure", "paused=%d queued=%zu", p->paused,
             p->queued);
    LIST_FOREACH(l, &r->links.all, struct link, node)
        link_pause(l, p->paused);
}

void commit_turn(struct router *r)
{
    struct publish *p = &r->publish;

    submit(r);
    press_back(r);
    answers_expire(&p->answers, clock_ns());
    stat_set(&r->stats, STAT_QUEUED, p->queued);
}
