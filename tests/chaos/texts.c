#include "tests/chaos/texts.h"

#include <stdlib.h>
#include <string.h>

#include "tests/chaos/check_state.h"
#include "tests/chaos/history.h"

enum { ASKED_MAX = 40 };

/* A subscriber, over all its connections. */
struct reader {
    uint32_t number;
    int64_t begun_ns; /* first in force; INT64_MAX: never */
    uint32_t asked[ASKED_MAX]; /* channels */
    unsigned asked_count;
};

/* A notice: that of a channel is missing. from 0: whatever was sent before. */
struct missing {
    uint32_t reader, channel;
    uint64_t from, to;
    int64_t ns;
};

struct texts {
    struct reader *readers;
    int64_t *latest; /* when the newest that was seen had been sent */
    struct missing *missing;
    uint64_t *offsets; /* by publication; 0: not told */
    size_t reader_count, latest_count, missing_count;
    struct table by_number;  /* subscriber -> reader */
    struct table seen;       /* (reader, publication) */
    struct table by_channel; /* (reader, channel) -> latest */
    struct texts_figures figures;
};

static struct reader *reader_of(struct texts *t, uint64_t number)
{
    uint32_t next = (uint32_t)t->reader_count;
    uint32_t i = table_put(&t->by_number, number, next);

    if (i == next) {
        t->readers = array_grow(t->readers, t->reader_count,
                                sizeof *t->readers);
        t->readers[t->reader_count++] = (struct reader){
            .number = (uint32_t)number, .begun_ns = INT64_MAX };
    }
    return &t->readers[i];
}

static uint32_t index_of(const struct texts *t, const struct reader *r)
{
    return (uint32_t)(r - t->readers);
}

static bool asks_for(const struct reader *r, uint32_t channel)
{
    for (unsigned i = 0; i < r->asked_count; i++)
        if (r->asked[i] == channel)
            return true;
    return false;
}

/* The next of a list that is split by commas. False: there is none. */
static bool next_of(struct slice *rest, struct slice *ret)
{
    const uint8_t *end;

    if (rest->len == 0)
        return false;
    end = memchr(rest->ptr, ',', rest->len);
    *ret = slice_make(rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len);
    *rest = end ? slice_make(end + 1, rest->len - ret->len - 1)
                : slice_make(rest->ptr, 0);
    return true;
}

/* ---- lines ---------------------------------------------------------------------- */

static void take_subscribe(struct checker *c, struct texts *t,
                           const struct words *w)
{
    struct reader *r = reader_of(t, check_number(w->word[2]));
    struct slice rest = w->word[5], name;

    while (next_of(&rest, &name)) {
        uint32_t channel = names_find(&c->channels, name);

        if (!asks_for(r, channel) && r->asked_count < ASKED_MAX)
            r->asked[r->asked_count++] = channel;
    }
}

static void take_gap(struct checker *c, struct texts *t, const struct words *w)
{
    struct reader *r = reader_of(t, check_number(w->word[2]));
    struct slice rest = w->word[5], name;
    uint64_t from = check_number(w->word[8]), to = check_number(w->word[9]);

    t->figures.gaps++;
    while (next_of(&rest, &name)) {
        t->missing = array_grow(t->missing, t->missing_count,
                                sizeof *t->missing);
        t->missing[t->missing_count++] = (struct missing){
            .reader = index_of(t, r), .ns = w->ns,
            .channel = names_find(&c->channels, name),
            .from = from == UINT64_MAX ? 0 : from, .to = to };
    }
}

/* Who published what it names, if anybody did. */
static uint32_t publication_at(const struct checker *c, struct slice publisher,
                               struct slice number)
{
    return table_get(&c->by_name, key_of(check_number(publisher),
                                         check_number(number)));
}

static bool is_ghost(const struct checker *c, uint32_t i, const struct words *w)
{
    const struct publication *p;

    if (i == NOBODY)
        return true;
    p = &c->publications[i];
    return p->hash != check_hex(w->word[8]) ||
           p->channel != names_find(&c->channels, w->word[4]) ||
           (p->refusals == p->invokes && !p->acks);
}

static void judge_order(struct texts *t, const struct reader *r,
                        const struct publication *p)
{
    uint64_t key = key_of(index_of(t, r), p->channel);
    uint32_t next = (uint32_t)t->latest_count;
    uint32_t i = table_put(&t->by_channel, key, next);

    if (i == next) {
        t->latest = array_grow(t->latest, t->latest_count, sizeof *t->latest);
        t->latest[t->latest_count++] = 0;
    }
    if (p->acked_ns < t->latest[i])
        t->figures.disordered++;
    t->latest[i] = MAX(t->latest[i], p->invoked_ns);
}

static void take_message(struct checker *c, struct texts *t,
                         const struct words *w)
{
    uint32_t i = publication_at(c, w->word[9], w->word[10]);
    struct reader *r = reader_of(t, check_number(w->word[2]));
    size_t before = t->seen.count;

    if (is_ghost(c, i, w)) {
        t->figures.ghosts++;
        return;
    }
    table_put(&t->seen, key_of(index_of(t, r), i), 0);
    if (t->seen.count != before) {
        judge_order(t, r, &c->publications[i]);
        return;
    }
    t->figures.duplicated++;
    if (c->publications[i].invokes > 1)
        t->figures.retried++;
}

static void take_ack(struct checker *c, struct texts *t, const struct words *w)
{
    uint32_t i = publication_at(c, w->word[2], w->word[3]);
    uint64_t offset = check_number(w->word[6]);

    if (i != NOBODY && offset != UINT64_MAX)
        t->offsets[i] = offset;
}

static void take(struct checker *c, void *ctx, const struct words *w)
{
    struct texts *t = ctx;
    struct reader *r;

    switch (w->kind) {
    case HISTORY_ACK:
        take_ack(c, t, w);
        break;
    case HISTORY_OPEN:
        t->figures.connections++;
        break;
    case HISTORY_SUBSCRIBE:
        take_subscribe(c, t, w);
        break;
    case HISTORY_BEGUN:
        r = reader_of(t, check_number(w->word[2]));
        r->begun_ns = MIN(r->begun_ns, w->ns);
        break;
    case HISTORY_MESSAGE:
        take_message(c, t, w);
        break;
    case HISTORY_NOTICE:
        if (slice_eq(w->word[4], SLICE("gap")))
            take_gap(c, t, w);
        break;
    default:
        break;
    }
}

/* ---- what never came --------------------------------------------------------------- */

static bool was_told(const struct checker *c, const struct texts *t,
                     uint32_t reader, uint32_t publication)
{
    const struct publication *p = &c->publications[publication];
    uint64_t offset = t->offsets[publication];

    for (size_t i = 0; i < t->missing_count; i++) {
        const struct missing *m = &t->missing[i];

        if (m->reader != reader || m->channel != p->channel)
            continue;
        if (m->from ? offset >= m->from && offset <= m->to
                    : p->invoked_ns < m->ns)
            return true;
    }
    return false;
}

static void judge_losses(const struct checker *c, struct texts *t, uint32_t i)
{
    const struct publication *p = &c->publications[i];
    bool lacking = false;

    if (!p->acks)
        return;
    t->figures.acked++;
    for (uint32_t r = 0; r < t->reader_count; r++) {
        if (!asks_for(&t->readers[r], p->channel) ||
            p->invoked_ns < t->readers[r].begun_ns)
            continue;
        t->figures.due++;
        if (table_get(&t->seen, key_of(r, i)) != UINT32_MAX)
            continue;
        if (was_told(c, t, r, i)) {
            t->figures.told++;
        } else {
            t->figures.lost++;
            lacking = true;
        }
    }
    t->figures.lost_messages += lacking;
}

void texts_judge(struct checker *c, struct texts_figures *ret)
{
    struct texts t = { .reader_count = 0 };

    t.offsets = calloc(c->publication_count + 1, sizeof *t.offsets);
    if (!t.offsets) {
        fprintf(stderr, "check: out of memory\n");
        exit(1);
    }
    for (size_t i = 0; i < c->file_count; i++)
        check_lines(c, i, take, &t);
    for (uint32_t i = 0; i < c->publication_count; i++)
        judge_losses(c, &t, i);
    t.figures.subscribers = t.reader_count;
    *ret = t.figures;
    free(t.readers);
    free(t.latest);
    free(t.missing);
    free(t.offsets);
    table_fini(&t.by_number);
    table_fini(&t.seen);
    table_fini(&t.by_channel);
}
