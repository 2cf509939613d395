#include <stdlib.h>
#include <string.h>

#include "tests/chaos/check_state.h"

#define NAME_OF(c, channel) SLICE_ARG((c)->channels.texts[channel])

/* ---- in order ----------------------------------------------------------------- */

static struct history *history_make(struct checker *c, const struct version *v)
{
    uint32_t next = (uint32_t)c->history_count;
    uint32_t i = table_put(&c->by_line, key_of(v->channel, v->epoch), next);

    if (i == next) {
        c->histories = array_grow(c->histories, c->history_count,
                                  sizeof *c->histories);
        c->histories[c->history_count++] = (struct history){
            .channel = v->channel, .epoch = v->epoch,
        };
    }
    return &c->histories[i];
}

const struct history *history_of(const struct checker *c, uint32_t channel,
                                 uint32_t epoch)
{
    uint32_t i = table_get(&c->by_line, key_of(channel, epoch));

    return i == NOBODY ? NULL : &c->histories[i];
}

static int by_seq(const void *a, const void *b, void *ctx)
{
    const struct version *v = ctx;
    const struct version *x = &v[*(const uint32_t *)a];
    const struct version *y = &v[*(const uint32_t *)b];

    if (x->epoch != y->epoch)
        return x->epoch < y->epoch ? -1 : 1;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

/* All versions by epoch and seq. Free it. */
static uint32_t *all_by_seq(struct checker *c)
{
    uint32_t *all = calloc(c->version_count + 1, sizeof *all);

    if (!all) {
        fprintf(stderr, "check: out of memory\n");
        exit(1);
    }
    for (uint32_t i = 0; i < c->version_count; i++)
        all[i] = i;
    qsort_r(all, c->version_count, sizeof *all, by_seq, c->versions);
    return all;
}

static void judge_once(struct checker *c, uint32_t i)
{
    struct version *v = &c->versions[i];
    struct publication *m;

    if (v->publication == NOBODY)
        return;
    m = &c->publications[v->publication];
    if (m->version != NOBODY && m->memory && check_loses(c, fault_memory))
        m->twice = true; /* nobody who lives knows that it was said before */
    else if (m->version != NOBODY)
        check_found(c, CHECK_ONCE, c->versions[m->version].line, v->line,
                    "publication %u of %u is there twice", m->number,
                    m->publisher);
    else
        m->version = i;
}

static void judge_times(struct checker *c, const uint32_t *all);

void versions_sort(struct checker *c)
{
    uint32_t *all = all_by_seq(c);

    for (size_t i = 0; i < c->version_count; i++) {
        struct history *h = history_make(c, &c->versions[all[i]]);

        h->versions = array_grow(h->versions, h->count, sizeof *h->versions);
        h->versions[h->count++] = all[i];
        judge_once(c, all[i]);
    }
    judge_times(c, all);
    free(all);
}

uint32_t history_upto(const struct checker *c, const struct history *h,
                      uint64_t seq)
{
    uint32_t low = 0, high = h->count;

    while (low < high) {
        uint32_t mid = (low + high) / 2;

        if (history_at(c, h, mid)->seq <= seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void make_sums(struct checker *c, struct history *h)
{
    h->sums = calloc((size_t)h->count + 1, sizeof *h->sums);
    for (uint32_t i = 0; h->sums && i < h->count; i++)
        h->sums[i + 1] = h->sums[i] + history_at(c, h, i)->hash;
}

/* Where the version of that offset stands, or count. */
static uint32_t place_of(const struct checker *c, const struct history *h,
                         uint64_t offset)
{
    uint32_t i = table_get(&c->by_offset,
                           key_of(key_of(h->channel, h->epoch), offset));
    uint32_t at;

    if (i == NOBODY)
        return h->count;
    at = history_upto(c, h, c->versions[i].seq) - 1;
    return h->versions[at] == i ? at : h->count;
}

bool history_sum(struct checker *c, const struct history *h, uint64_t first,
                 uint64_t last, uint64_t *sum)
{
    struct history *mine = &c->histories[h - c->histories];
    uint32_t from = place_of(c, h, first), to = place_of(c, h, last);

    if (from == h->count || to == h->count || to < from ||
        to - from != last - first)
        return false;
    if (!mine->sums)
        make_sums(c, mine);
    if (!mine->sums)
        return false;
    *sum = mine->sums[to + 1] - mine->sums[from];
    return true;
}

/* ---- order of what was published ------------------------------------------------ */

/* What was acknowledged before another was sent has the smaller seq: going up
 * in seq, nobody was answered before one that stands in front was sent. */
static void judge_times(struct checker *c, const uint32_t *all)
{
    const struct publication *newest = NULL;
    uint32_t epoch = NOBODY;

    for (size_t i = 0; i < c->version_count; i++) {
        const struct version *v = &c->versions[all[i]];
        const struct publication *m;

        if (v->epoch != epoch)
            newest = NULL;
        epoch = v->epoch;
        if (v->publication == NOBODY)
            continue;
        m = &c->publications[v->publication];
        if (newest && m->acked_ns < newest->invoked_ns)
            check_found(c, CHECK_ORDER, m->ack_line, newest->line,
                        "seq %lu was acknowledged before one with a smaller "
                        "seq was sent", v->seq);
        if (!newest || m->invoked_ns > newest->invoked_ns)
            newest = m;
    }
}

/* ---- numbers --------------------------------------------------------------------- */

static const struct hole *hole_of(const struct checker *c, uint32_t channel,
                                  uint64_t offset)
{
    for (size_t i = 0; i < c->hole_count; i++)
        if (c->holes[i].channel == channel && c->holes[i].from <= offset &&
            offset <= c->holes[i].to)
            return &c->holes[i];
    return NULL;
}

bool versions_hole(const struct checker *c, uint32_t channel, uint64_t offset)
{
    return hole_of(c, channel, offset) != NULL;
}

static void judge_pair(struct checker *c, const struct version *a,
                       const struct version *b)
{
    if (!a->offset || !b->offset)
        return;
    if (b->offset <= a->offset)
        check_found(c, CHECK_NUMBERS, a->line, b->line,
                    "of " SLICE_FMT " seq grows and offset does not",
                    NAME_OF(c, a->channel));
    else if (a->stored && b->stored && b->offset != a->offset + 1 &&
             !hole_of(c, a->channel, a->offset + 1))
        check_found(c, CHECK_NUMBERS, a->line, b->line,
                    "the store lacks offsets %lu to %lu of " SLICE_FMT,
                    a->offset + 1, b->offset - 1, NAME_OF(c, a->channel));
}

/* Offsets without history begin anew with each life of the router. */
static void judge_lives(struct checker *c, const struct history *h)
{
    uint64_t last = 0, lives = 0, deaths = 0;

    for (size_t i = 0; i < c->fault_count; i++)
        deaths += c->faults[i].memory;
    for (uint32_t i = 0; i < h->count; i++) {
        const struct version *v = history_at(c, h, i);

        if (!v->offset)
            continue;
        if (v->offset <= last && ++lives > deaths)
            check_found(c, CHECK_NUMBERS, v->line, 0,
                        "offset %lu of " SLICE_FMT " is given twice in one "
                        "life of the router", v->offset,
                        NAME_OF(c, v->channel));
        last = v->offset;
    }
}

static void judge_numbers(struct checker *c, const struct history *h)
{
    if (c->memory[h->channel]) {
        judge_lives(c, h);
        return;
    }
    for (uint32_t i = 1; i < h->count; i++)
        judge_pair(c, history_at(c, h, i - 1), history_at(c, h, i));
}

/* ---- acks, ghosts ------------------------------------------------------------------ */

/* Below all that is stored, of a channel that is trimmed. */
static bool trimmed(const struct checker *c, const struct version *v)
{
    const struct history *h = history_of(c, v->channel, v->epoch);
    bool trims = false;

    for (size_t i = 0; i < c->hole_count; i++)
        trims |= c->holes[i].channel == v->channel && !c->holes[i].damaged &&
                 (!v->offset || v->offset <= c->holes[i].to);
    for (uint32_t i = 0; trims && i < h->count; i++)
        if (history_at(c, h, i)->stored)
            return v->seq < history_at(c, h, i)->seq;
    return trims;
}

static bool damaged(const struct checker *c, const struct version *v)
{
    const struct hole *h = hole_of(c, v->channel, v->offset);

    return h && h->damaged && check_loses(c, fault_read);
}

static void judge_ack(struct checker *c, const struct publication *m)
{
    const struct version *v;

    if (!m->acks || m->memory || m->version == NOBODY)
        return;
    v = &c->versions[m->version];
    if (v->stored || trimmed(c, v) || damaged(c, v) ||
        check_loses(c, fault_epoch))
        return;
    check_found(c, CHECK_ACKS, m->line, m->ack_line,
                "acknowledged and not in the store: seq %lu of " SLICE_FMT,
                v->seq, NAME_OF(c, v->channel));
}

static void judge_ghost(struct checker *c, const struct version *v)
{
    const struct publication *m;

    if (v->publication == NOBODY) {
        check_found(c, CHECK_GHOSTS, v->line, 0, "nobody published this");
        return;
    }
    m = &c->publications[v->publication];
    if (m->hash != v->hash || m->channel != v->channel)
        check_found(c, CHECK_GHOSTS, m->line, v->line,
                    "this is not what was published");
    if (m->refusals >= m->invokes)
        check_found(c, CHECK_GHOSTS, m->line, v->line,
                    "it was refused, and it is there");
}

/* More answers than questions are one too many. */
static void judge_answers(struct checker *c, const struct publication *m)
{
    if (m->acks + m->refusals + m->unknowns > m->invokes)
        check_found(c, CHECK_LOG, m->line, m->ack_line,
                    "more answers than questions");
}

void versions_judge(struct checker *c)
{
    for (size_t i = 0; i < c->history_count; i++)
        judge_numbers(c, &c->histories[i]);
    for (size_t i = 0; i < c->version_count; i++)
        judge_ghost(c, &c->versions[i]);
    for (size_t i = 0; i < c->publication_count; i++) {
        judge_ack(c, &c->publications[i]);
        judge_answers(c, &c->publications[i]);
    }
}
