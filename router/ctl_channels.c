/* ctl_channels.c - channels: the ids that are known, in byte order, merged
 * from what the store lists and what only the table knows.
 *
 * A question looks at no more than ID_LIST_LOOKS names of the store: a page
 * that ends for that reason may be short, and says after which name to go on.
 * Beyond SCAN_MAX in the table those that only it knows are left out. */
#include <stdlib.h>

#include "base/err.h"
#include "router/ctl_verb.h"

enum { SCAN_MAX = 200000 };

/* The smallest ids above `after` that match, out of what comes unordered: a
 * heap with the largest on top. */
struct smallest {
    const struct topic **heap;
    size_t count, room;
    bool more;
};

/* The page ends here, whatever there is behind it; empty: nowhere. */
static struct slice page_end(const struct id_list *list)
{
    return list->more ? list->last : SLICE("");
}

static bool above(const struct topic *a, const struct topic *b)
{
    return slice_cmp(topic_id(a), topic_id(b)) > 0;
}

static void sift_down(struct smallest *s)
{
    size_t at = 0;

    for (;;) {
        size_t big = at, left = 2 * at + 1, right = left + 1;
        const struct topic *swap = s->heap[at];

        if (left < s->count && above(s->heap[left], s->heap[big]))
            big = left;
        if (right < s->count && above(s->heap[right], s->heap[big]))
            big = right;
        if (big == at)
            return;
        s->heap[at] = s->heap[big];
        s->heap[big] = swap;
        at = big;
    }
}

static void sift_up(struct smallest *s)
{
    size_t at = s->count - 1;

    while (at && above(s->heap[at], s->heap[(at - 1) / 2])) {
        const struct topic *swap = s->heap[at];

        s->heap[at] = s->heap[(at - 1) / 2];
        s->heap[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

static void smallest_add(struct smallest *s, const struct topic *t)
{
    if (s->count < s->room) {
        s->heap[s->count++] = t;
        sift_up(s);
        return;
    }
    s->more = true;
    if (!above(s->heap[0], t))
        return;
    s->heap[0] = t;
    sift_down(s);
}

/* Ids that somebody hears, or that have numbers, but that the store does not
 * list. Left out where there are so many that looking at all takes long. */
static void scan_unstored(struct router *r, const struct ctl_question *q,
                          struct slice end, struct smallest *s)
{
    struct map_iter it = map_iter(&r->table.topics);
    struct map_node *n;

    if (map_count(&r->table.topics) > SCAN_MAX)
        return;
    ctl_charge(q->link, map_count(&r->table.topics));
    while (map_next(&it, &n)) {
        const struct topic *t = CONTAINER_OF(n, struct topic, by_id);

        if ((t->flags & TOPIC_PATTERN) ||
            ((t->flags & TOPIC_STORED) && t->past && t->past->last_seq))
            continue;
        if (q->after.len && slice_cmp(topic_id(t), q->after) <= 0)
            continue;
        if (end.len && slice_cmp(topic_id(t), end) > 0)
            continue;
        if (!q->pattern.len || pattern_matches(q->pattern, topic_id(t)))
            smallest_add(s, t);
    }
}

static int by_id(const void *a, const void *b)
{
    return slice_cmp(topic_id(*(const struct topic *const *)a),
                     topic_id(*(const struct topic *const *)b));
}

static void report_channel(struct buf *b, struct router *r, struct slice id)
{
    struct topic *t = table_find(&r->table, id);
    const struct past *past = t ? t->past : NULL;

    report_row(b);
    report_text(b, "channel", id);
    report_number(b, "connections", t ? table_reached(&t, 1) : 0);
    report_number(b, "offset", past ? past->last_offset : 0);
    report_number(b, "seq", past ? past->last_seq : 0);
    report_row_end(b);
}

/* Merges what the store lists with what it does not. */
static void report_channels(struct buf *b, struct router *r,
                            const struct ctl_question *q,
                            const struct id_list *list,
                            const struct smallest *s)
{
    size_t i = 0, k = 0, count = 0;
    struct slice last = SLICE("");
    bool cut;

    report_part(b, "channels");
    while (count < q->limit && (i < list->count || k < s->count)) {
        bool stored = k == s->count ||
                      (i < list->count &&
                       slice_cmp(list->ids[i].id, topic_id(s->heap[k])) < 0);

        last = stored ? list->ids[i++].id : topic_id(s->heap[k++]);
        report_channel(b, r, last);
        count++;
    }
    cut = s->more || i < list->count || k < s->count;
    report_part(b, "page");
    report_row(b);
    report_bool(b, "more", cut || list->more);
    if (cut || list->more)
        report_text(b, "after", cut ? last : list->last);
    report_row_end(b);
}

static void channels_listed(void *arg, struct id_list *list)
{
    struct ctl_question *q = arg;
    struct link *l = q->link;
    struct smallest s = {.room = q->limit};
    struct buf b = BUF_INIT;

    ctl_search_ends(l, q);
    s.heap = calloc(q->limit, sizeof s.heap[0]);
    if (list->rc < 0 || !s.heap) {
        ctl_refuse_error(l, q->ref, list->rc < 0 ? list->rc : ERR_NOMEM);
    } else {
        scan_unstored(l->router, q, page_end(list), &s);
        qsort(s.heap, s.count, sizeof s.heap[0], by_id);
        report_channels(&b, l->router, q, list, &s);
        ctl_answer_report(l, q->ref, &b);
    }
    free(s.heap);
    id_list_free(list);
    ctl_question_drop(q);
}

void ctl_channels(struct link *l, uint32_t ref, struct slice args)
{
    struct slice pattern = ctl_word(&args), after = ctl_word(&args);
    struct slice count = ctl_word(&args);
    uint64_t limit = CTL_LIST_DEFAULT;
    struct ctl_question *q;
    int rc;

    if ((pattern.len && pattern_problem(pattern)) ||
        (count.len && slice_parse_u64(count, &limit) < 0)) {
        ctl_refuse(l, ref, PUBLISHED_BAD, "request.bad",
                   SLICE("channels [PATTERN [AFTER [LIMIT]]]"));
        return;
    }
    q = ctl_question_new(l, ref, pattern, after);
    if (!q) {
        ctl_refuse_error(l, ref, ERR_NOMEM);
        return;
    }
    q->limit = (size_t)MAX(1u, MIN(limit, (uint64_t)CTL_LIST_MAX));
    rc = reader_ids(l->router->readers, q->pattern, q->after, q->limit,
                    channels_listed, q, &q->job);
    if (rc < 0) {
        ctl_question_drop(q);
        ctl_refuse_error(l, ref, rc);
    } else if (pattern.len && l->who.kind != PEER_CTL) {
        ctl_search_begins(q);
    }
}
