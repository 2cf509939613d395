#include "tests/chaos/left.h"

#include <stdlib.h>
#include <string.h>

#include "tests/chaos/event.h"

#define NAME_OF(c, i) SLICE_ARG((c)->channels.texts[i])

/* ---- left out ------------------------------------------------------------------ */

static const struct publication *publication_at(const struct checker *c,
                                                const struct version *v)
{
    return v->publication == NOBODY ? NULL : &c->publications[v->publication];
}

/* Does a say all that b says? */
static bool says_it(const struct publication *a, const struct publication *b)
{
    if (b->event.len)
        return a->event.len && event_weight(a->event) == EVENT_STATE;
    return b->key.len && slice_eq(a->key, b->key);
}

static bool has_newer(const struct checker *c, const struct version *v,
                      const struct publication *m, int64_t ns)
{
    const struct history *h = history_of(c, v->channel, v->epoch);

    for (uint32_t i = history_upto(c, h, v->seq); i < h->count; i++) {
        const struct publication *o = publication_at(c, history_at(c, h, i));

        if (o && o->invoked_ns < ns && says_it(o, m))
            return true;
    }
    return false;
}

static void judge_conflated(struct checker *c, const struct version *v,
                            const struct publication *m,
                            const struct left *left)
{
    enum event_weight w = m->event.len ? event_weight(m->event) : EVENT_STATE;

    if (w == EVENT_LESSER)
        return;
    if (w == EVENT_KEPT)
        check_found(c, CHECK_KEPT, m->line, left->line,
                    "what is never left out was: " SLICE_FMT,
                    SLICE_ARG(m->event));
    else if (!m->event.len && !m->key.len)
        check_found(c, CHECK_KEPT, m->line, left->line,
                    "it has no key, and was left out");
    else if (!has_newer(c, v, m, left->ns))
        check_found(c, CHECK_KEPT, m->line, left->line,
                    "it was the newest, and was left out");
}

static void judge_one(struct checker *c, const struct version *v,
                      const struct left *left)
{
    const struct publication *m = publication_at(c, v);
    enum policy policy = check_policy(c, v->channel);

    if (policy == POLICY_CUT)
        check_found(c, CHECK_KEPT, v->line, left->line,
                    "of " SLICE_FMT " nothing is left out",
                    NAME_OF(c, v->channel));
    else if (!left->pattern &&
             left->conflated != (policy == POLICY_CONFLATE))
        check_found(c, CHECK_NOTICES, v->line, left->line,
                    "this is not why something of " SLICE_FMT " is left out",
                    NAME_OF(c, v->channel));
    else if (policy == POLICY_CONFLATE && m)
        judge_conflated(c, v, m, left);
}

uint64_t left_judge(struct checker *c, uint32_t channel, uint32_t epoch,
                    uint64_t from, uint64_t to, const struct left *left)
{
    uint64_t state = 0;

    for (uint64_t offset = from; offset <= to; offset++) {
        uint32_t i = table_get(&c->by_offset,
                               key_of(key_of(channel, epoch), offset));
        const struct publication *m;

        if (i == NOBODY)
            continue;
        m = publication_at(c, &c->versions[i]);
        judge_one(c, &c->versions[i], left);
        if (m && m->event.len && event_weight(m->event) == EVENT_STATE)
            state = c->versions[i].seq;
    }
    return state;
}

/* ---- states ----------------------------------------------------------------------- */

/* N of the word `retract.N`; 0: it is another. */
static uint64_t retracts(struct slice word)
{
    return slice_starts(word, SLICE("retract."))
               ? check_number(slice_from(word, 8)) : 0;
}

/* The offsets of the first `upto` that are retracted among them, a bit each:
 * offsets are dense. Free it. */
static uint8_t *retracted_of(const struct checker *c, const struct history *h,
                             uint32_t upto)
{
    uint8_t *bits = calloc(upto / 8 + 2, 1);

    for (uint32_t i = 0; bits && i < upto; i++) {
        const struct publication *m = publication_at(c, history_at(c, h, i));
        uint64_t offset = m ? retracts(m->event) : 0;

        if (offset && offset <= upto)
            bits[offset / 8] |= (uint8_t)(1 << offset % 8);
    }
    return bits;
}

/* False: not all of it is known. */
static bool stands(const struct checker *c, const struct history *h,
                   uint64_t seq, struct standing *ret)
{
    uint32_t upto = h ? history_upto(c, h, seq) : 0;
    uint8_t *retracted = upto ? retracted_of(c, h, upto) : NULL;
    bool known = !upto || retracted;

    *ret = (struct standing){ .there = false };
    for (uint32_t i = 0; known && i < upto; i++) {
        const struct version *v = history_at(c, h, i);
        const struct publication *m = publication_at(c, v);

        known = m && m->event.len && v->offset == i + 1;
        if (known && !(retracted[v->offset / 8] >> v->offset % 8 & 1))
            standing_fold(ret, m->event, m->publisher, m->number);
    }
    free(retracted);
    return known;
}

void left_state(struct checker *c, const struct words *w)
{
    uint32_t channel = names_find(&c->channels, w->word[4]);
    uint32_t epoch = names_find(&c->epochs, w->word[5]);
    const struct history *h = history_of(c, channel, epoch);
    char word[STATE_WORD_MAX + 1];
    struct standing s;

    if (check_loses(c, fault_epoch) ||
        !stands(c, h, check_number(w->word[6]), &s))
        return;
    c->figures.states++;
    standing_word(&s, word);
    if (!slice_eq(w->word[7], slice_str(word)))
        check_found(c, CHECK_STATE, w->line, 0, "it stands %s", word);
}
