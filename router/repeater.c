#include "router/repeater.h"

#include "base/check.h"
#include "base/clock.h"
#include "router/router.h"
#include "proto/frame_io.h"

void repeater_init(struct repeater *p, uint64_t seq)
{
    *p = (struct repeater){.tail_after = seq};
}

/* ---- the tail ---------------------------------------------------------- */

static struct msg **tail_at(struct repeater *p, uint64_t place)
{
    return &p->tail[place & (TAIL_COUNT - 1)];
}

static void tail_drop_first(struct repeater *p)
{
    struct msg *m = *tail_at(p, p->tail_first++);

    p->tail_after = m->seq;
    p->tail_bytes -= msg_size(m);
    msg_drop(m);
}

static void tail_add(struct repeater *p, struct msg *m)
{
    while (p->tail_next > p->tail_first &&
           (p->tail_next - p->tail_first == TAIL_COUNT ||
            p->tail_bytes + msg_size(m) > TAIL_BYTES))
        tail_drop_first(p);
    *tail_at(p, p->tail_next++) = msg_hold(m);
    p->tail_bytes += msg_size(m);
}

void repeater_fini(struct repeater *p)
{
    while (p->tail_first < p->tail_next)
        tail_drop_first(p);
    buf_fini(&p->frame);
}

/* ---- sending ----------------------------------------------------------- */

static void encode(struct repeater *p, const struct msg *m)
{
    struct msg_parts parts = {
        .format = m->format,
        .flags = m->flags,
        .seq = m->seq,
        .offset = m->offset,
        .ts_ms = m->ts_ms,
        .id = m->id,
        .from = m->from,
        .kind = m->kind,
        .key = m->key,
        .data = m->data,
    };

    buf_reset(&p->frame);
    frame_write_deliver(&p->frame, &parts);
}

/* What becomes of it on a link that is not LIVE. */
enum if_missed {
    READ_AGAIN, /* from the store; a state is made anew */
    TELL_GAP,   /* it has no history */
    PUT_LATER,  /* a join or a leave */
};

/* Puts the frame on the link of each leaf, once per link; once for all links
 * behind a repeater. */
static void put_on_links(struct router *r, struct topic *const *topics,
                         size_t count, enum if_missed then)
{
    const struct buf *frame = &r->repeater.frame;
    uint64_t stamp = ++r->repeater.stamp;
    struct repeat repeat;

    repeat_begin(&repeat, FRAME_DELIVER, buf_slice(frame));

    for (size_t i = 0; i < count; i++)
        for (struct leaf *l = topic_leaves(topics[i]); l; l = leaf_next(l)) {
            struct link *link = r->links.by_number[leaf_link(l)];

            if (link->stamp == stamp)
                continue;
            link->stamp = stamp;
            if (then == PUT_LATER)
                link_deliver_late(link, frame, &repeat);
            else if (!link_deliver(link, frame, &repeat))
                link->missed |= then == TELL_GAP;
        }
    repeat_end(&repeat);
}

uint32_t repeater_reach(struct router *r, struct slice id)
{
    size_t count;
    struct topic *const *topics = table_match(&r->table, id, &count);

    return table_reached(topics, count);
}

uint32_t repeater_send(struct router *r, struct msg *m)
{
    size_t count;
    struct topic *const *topics = table_match(&r->table, m->id, &count);

    if (count) {
        encode(&r->repeater, m);
        put_on_links(r, topics, count,
                     m->flags & MSG_STORED ? READ_AGAIN : TELL_GAP);
    }
    if (m->flags & MSG_STORED)
        tail_add(&r->repeater, m);
    return table_reached(topics, count);
}

void repeater_notice(struct router *r, const struct msg_parts *notice)
{
    struct msg_parts parts = *notice;
    bool state = slice_eq(notice->kind, SLICE("snapshot"));
    size_t count;
    struct topic *const *topics = table_match(&r->table, parts.id, &count);

    if (!count)
        return;
    parts.flags = MSG_NOTICE;
    parts.format = MSG_NOTICE_FORMAT;
    parts.seq = r->seq;
    parts.offset = 0;
    parts.ts_ms = clock_wall_ms();
    buf_reset(&r->repeater.frame);
    frame_write_deliver(&r->repeater.frame, &parts);
    put_on_links(r, topics, count, state ? READ_AGAIN : PUT_LATER);
    stat_add(&r->stats, STAT_NOTICES, 1);
}

/* ---- catching up ------------------------------------------------------- */

bool repeater_wanted(struct router *r, const struct link *l, struct slice id)
{
    size_t count;
    struct topic *const *topics = table_match(&r->table, id, &count);

    for (size_t i = 0; i < count; i++)
        if (table_leaf_on(topics[i], l->seats.number))
            return true;
    return false;
}

bool repeater_catch_up(struct router *r, struct link *l)
{
    struct repeater *p = &r->repeater;

    if (l->position < p->tail_after)
        return false;
    for (uint64_t at = p->tail_first; at < p->tail_next; at++) {
        struct msg *m = *tail_at(p, at);

        if (m->seq <= l->position || replay_told(l, m) ||
            !repeater_wanted(r, l, m->id))
            continue;
        encode(p, m);
        if (replay_resnapshot(l, m->flags, m->id) < 0 ||
            !link_put(l, &p->frame))
            return false;
        l->position = m->seq;
    }
    l->position = r->stored_seq;
    return true;
}
