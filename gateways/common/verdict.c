#include "gateways/common/verdict.h"

#include "gateways/common/core.h"

static bool ours(const struct gateway *g, const struct start *s)
{
    return s->since.epoch.text[0] == '\0' ||
           epoch_equal(&s->since.epoch, &g->epoch);
}

/* A reason why nothing at all can be resumed, whatever the channel. */
static bool hopeless(const struct start *s, enum gap_why *why)
{
    const struct gateway *g = s->conn->gw;

    if (s->has_reason)
        *why = s->reason;
    else if (s->has_since && !ours(g, s))
        *why = GAP_EPOCH;
    else if (s->has_since && s->since.seq > g->seq)
        *why = GAP_FUTURE;
    else
        return false;
    return true;
}

/* Every message of it above this seq is in the ring. Of a pattern the ring
 * counts as a whole: what left it may have been one of its ids'. */
uint64_t verdict_floor(const struct gateway *g, const struct topic *t)
{
    return t->seats.flags & TOPIC_PATTERN ? MAX(t->floor, g->ring.gone_seq)
                                          : t->floor;
}

/* "0"; the cursor of an epoch's very beginning says what its client has. */
bool verdict_wants_all(const struct start *s)
{
    return s->since.seq == 0 && s->since.epoch.text[0] == '\0';
}

static void judge_volatile(struct start_topic *st, const struct start *s)
{
    const struct topic *t = st->topic;
    uint64_t since = s->since.seq, last = topic_past(t)->last_seq;

    st->missed = last > since && topic_past(t)->newest != 0;
    if (verdict_wants_all(s) || t->floor <= since)
        return;
    if (since >= s->conn->gw->life_seq && last <= since)
        return;
    st->gap = true;
    st->why = GAP_VOLATILE;
    st->from = st->to = 0;
    if (t->seats.flags & TOPIC_STATEFUL)
        st->verdict = START_FRESH;
}

/* Takes the next segment off the front; false: there is none. */
static bool next_segment(struct slice *rest, struct slice *segment)
{
    size_t n = 0;

    if (rest->len == 0)
        return false;
    while (n < rest->len && rest->ptr[n] != '/')
        n++;
    *segment = slice_make(rest->ptr, n);
    *rest = slice_from(*rest, MIN(n + 1, rest->len));
    return true;
}

/* Can an id that starts with this prefix match the pattern? The prefix may
 * end within a segment. */
static bool reaches(struct slice pattern, struct slice prefix)
{
    bool whole = slice_ends(prefix, SLICE("/"));
    struct slice want, have;

    while (next_segment(&prefix, &have)) {
        if (!next_segment(&pattern, &want))
            return false;
        if (slice_eq(want, SLICE("**")))
            return true;
        if (!prefix.len && !whole)
            return slice_eq(want, SLICE("*")) || slice_starts(want, have);
        if (!slice_eq(want, SLICE("*")) && !slice_eq(want, have))
            return false;
    }
    return pattern.len > 0;
}

bool verdict_may_be_volatile(const struct config *cfg, struct slice pattern)
{
    for (size_t i = 0; i < cfg->namespace_count; i++)
        if (cfg->namespaces[i].durability == DURABILITY_MEMORY &&
            reaches(pattern, slice_str(cfg->namespaces[i].prefix)))
            return true;
    return false;
}

/* What is not known may have been forgotten, and so may an id of a pattern. */
static uint64_t trimmed_seq(const struct gateway *g, const struct topic *t)
{
    const struct topic_past *past = topic_past(t);

    return past->last_seq && !(t->seats.flags & TOPIC_PATTERN)
               ? past->trimmed_seq
               : MAX(past->trimmed_seq, g->forgotten_seq);
}

static void judge_kept(struct start_topic *st, const struct start *s)
{
    const struct topic *t = st->topic;
    const struct topic_past *past = topic_past(t);
    uint64_t since = s->since.seq;

    st->missed = past->last_seq > since ||
                 ((t->seats.flags & TOPIC_PATTERN) && s->conn->gw->seq > since);
    if (!verdict_wants_all(s) && trimmed_seq(s->conn->gw, t) > since &&
        t->floor > since) {
        st->gap = true;
        st->why = GAP_TRIMMED;
        st->from = 0;
        st->to = past->trimmed_offset;
        if (t->seats.flags & TOPIC_STATEFUL) {
            st->to = past->last_offset;
            st->verdict = START_FRESH;
        }
    }
    st->paged = st->missed && verdict_floor(s->conn->gw, t) > since;
}

/* Pages bring what is stored, and the position passes by what else is said
 * until they have been read: whoever holds something without history beside is
 * told so in front of them, for any cursor among them counts for that, too. */
static void judge_passed_by(struct start_topic *st, const struct start *s)
{
    const struct topic *t = st->topic;

    if (st->gap || !(t->seats.flags & TOPIC_VOLATILE ||
                     (t->seats.flags & TOPIC_PATTERN &&
                      verdict_may_be_volatile(s->conn->gw->config,
                                              topic_id(t)))))
        return;
    st->gap = true;
    st->why = GAP_VOLATILE;
    st->from = st->to = 0;
    if (t->seats.flags & TOPIC_STATEFUL)
        st->verdict = START_FRESH;
}

void verdict_judge(struct start *s)
{
    enum gap_why why = GAP_EPOCH;
    bool lost = hopeless(s, &why);

    for (unsigned i = 0; i < s->count; i++) {
        struct start_topic *st = &s->topics[i];

        st->verdict = s->has_since && !lost ? START_RESUMED : START_FRESH;
        st->gap = lost;
        st->why = (uint8_t)why;
        st->missed = st->paged = false;
        if (lost && s->silent && st->from) /* what was muted since, as well */
            st->to = MAX(st->to, topic_past(st->topic)->last_offset);
        if (st->verdict == START_FRESH)
            continue;
        if (st->topic->seats.flags & TOPIC_VOLATILE)
            judge_volatile(st, s);
        else
            judge_kept(st, s);
    }
    for (unsigned i = 0; verdict_needs_pages(s) && i < s->count; i++)
        judge_passed_by(&s->topics[i], s);
}

bool verdict_resumes(const struct start *s)
{
    return s->count && s->topics[0].verdict == START_RESUMED;
}

bool verdict_needs_pages(const struct start *s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->topics[i].paged)
            return true;
    return false;
}

/* Who asks for all that is kept, of what keeps nothing, relies on nothing. */
static bool relies(const struct start *s, const struct start_topic *st,
                   uint64_t seq)
{
    if (st->paged || st->gap)
        return false;
    if (st->topic->seats.flags & TOPIC_PATTERN)
        return true; /* which of its ids have spoken nobody knows */
    if ((st->topic->seats.flags & TOPIC_VOLATILE) && verdict_resumes(s) &&
        verdict_wants_all(s))
        return false;
    return st->missed || topic_past(st->topic)->last_seq > seq;
}

/* Has the ring kept what the decision relied on? */
bool verdict_holds(const struct start *s)
{
    uint64_t seq = verdict_resumes(s) ? s->since.seq : s->seq;

    for (unsigned i = 0; i < s->count; i++)
        if (relies(s, &s->topics[i], seq) &&
            verdict_floor(s->conn->gw, s->topics[i].topic) > seq)
            return false;
    return s->tick + 1 >= s->conn->gw->ring.first || verdict_resumes(s);
}
