/* One chain after the other, as its lines come: a connection's parts (what it
 * subscribed to, from where), what it has of each channel, and how far it has
 * been told that it is. */
#include <stdlib.h>
#include <string.h>

#include "proto/id.h"
#include "proto/position.h"
#include "tests/chaos/check_state.h"
#include "tests/chaos/history.h"
#include "tests/chaos/left.h"

enum { PARTS_MAX = 40, ITEMS_MAX = 40 };

/* From where a subscription is to have everything. */
enum base {
    BASE_NONE,  /* not told yet */
    BASE_SEQ,   /* above this seq */
    BASE_KEPT,  /* everything kept */
    BASE_BEGUN, /* what was published after it had begun */
    BASE_ANY,   /* a notice says that something may be missing */
};

struct item {
    uint32_t channel; /* or pattern */
    bool pattern, done; /* its replay, if it is one, has ended */
    enum base base;
    uint32_t epoch;
    uint64_t seq;
    uint32_t gaps; /* notices that something may be missing, so far */
    uint32_t damaged; /* of them, those of what could not be read */
    int64_t gap_ns; /* the last of them */
    unsigned part;
    /* Of a pattern: what slow reading left out of its channels, as it was told
     * (of: the last notice; its line 0: none), and as it was. */
    struct left of;
    uint64_t told, found;
    bool unsure; /* it is not known of all that was left out */
    bool cut;    /* it was told no number: it is cut, and misses the rest */
};

struct gap {
    bool there;
    uint64_t from, to, count; /* 0, 0, UINT64_MAX: not told */
    uint64_t missed;          /* of it, so far */
    uint64_t first, last;     /* offsets of those; 0: none */
    bool conflated, slow, other; /* what it tells of */
    int64_t ns;
    line_at line;
    uint64_t later_from, later_to; /* of the last of several; 0: there is one */
    uint64_t earlier_to;     /* up to here an earlier one told of it */
    int64_t earlier_ns;
};

/* What a connection has of a channel. */
struct seen {
    uint32_t channel;
    unsigned item;
    bool first; /* no message of it yet */
    enum base base;
    uint32_t epoch, gaps, damaged;
    int64_t gap_ns; /* what was published before may be missing */
    uint64_t seq, offset; /* of the last message, or where it began */
    uint64_t state_due;   /* a state of at least this seq has to come; 0: none */
    line_at line;
    struct gap gap;
};

struct chain {
    uint32_t number, conn;
    bool open, numbered; /* numbered: its form has cursors */
    bool raw;            /* promises nothing without history */
    bool halted;         /* it reads slowly, or did not read for a while */
    unsigned edge;
    int64_t begun_ns; /* INT64_MAX: it has not */
    bool has_since, has_pos, epoch_told;
    uint32_t epoch;
    uint64_t pos; /* everything up to this seq has been told */
    line_at open_line, pos_line;
    unsigned item_count, part_count;
    struct item items[ITEMS_MAX];
    struct seen *seen;
    unsigned seen_count;
};

struct walk {
    struct table by_number;
    struct chain **chains;
    size_t count;
};

#define NAME_OF(c, i) SLICE_ARG((c)->channels.texts[i])

/* ---- what belongs to what ------------------------------------------------------- */

static bool covers(const struct checker *c, const struct item *it,
                   uint32_t channel)
{
    if (!it->pattern)
        return it->channel == channel;
    return pattern_matches(c->channels.texts[it->channel],
                           c->channels.texts[channel]);
}

static struct item *item_of(const struct checker *c, struct chain *ch,
                            uint32_t channel)
{
    for (unsigned i = 0; i < ch->item_count; i++)
        if (covers(c, &ch->items[i], channel))
            return &ch->items[i];
    return NULL;
}

static struct seen *seen_find(struct chain *ch, uint32_t channel)
{
    for (unsigned i = 0; i < ch->seen_count; i++)
        if (ch->seen[i].channel == channel)
            return &ch->seen[i];
    return NULL;
}

/* NULL: it is not subscribed to that. */
static struct seen *seen_of(struct checker *c, struct chain *ch,
                            uint32_t channel)
{
    struct seen *s = seen_find(ch, channel);
    struct item *it = s ? NULL : item_of(c, ch, channel);

    if (s || !it)
        return s;
    ch->seen = array_grow(ch->seen, ch->seen_count, sizeof *ch->seen);
    s = &ch->seen[ch->seen_count++];
    *s = (struct seen){
        .channel = channel, .item = (unsigned)(it - ch->items), .first = true,
        .base = it->base, .epoch = it->epoch, .seq = it->seq,
        .line = ch->open_line,
    };
    return s;
}

/* ---- holes ------------------------------------------------------------------------ */

/* Offsets that are missing in front of a message; to 0: none. from 0: from
 * somewhere on. maybe: nobody who wrote a log knows any of them. */
struct missing {
    uint64_t from, to;
    bool maybe;
    line_at line; /* of one of them */
};

static const struct missing nothing;

static bool begun_after(const struct checker *c, const struct version *v,
                        int64_t ns)
{
    return v->publication != NOBODY &&
           c->publications[v->publication].invoked_ns > ns;
}

/* Should whoever began there have been given v? */
static bool owed(const struct checker *c, const struct chain *ch,
                 const struct seen *s, const struct version *v)
{
    switch (s->base) {
    case BASE_SEQ:
        return v->epoch == s->epoch && v->seq > s->seq;
    case BASE_KEPT:
        return v->stored;
    case BASE_BEGUN:
        return begun_after(c, v, ch->begun_ns);
    default:
        return false;
    }
}

/* Of the versions in front of place `at`, those that are owed. Where the one in
 * front of them is not known, either, it is not told where they begin. */
static struct missing owed_before(const struct checker *c,
                                  const struct chain *ch, const struct seen *s,
                                  const struct history *h, uint32_t at)
{
    struct missing m = nothing;

    while (at > 0 && owed(c, ch, s, history_at(c, h, at - 1))) {
        const struct version *v = history_at(c, h, --at);

        if (!m.to)
            m.to = v->offset ? v->offset : UINT64_MAX;
        m.from = v->offset;
        m.line = v->line;
    }
    if (m.from > 1 &&
        (at == 0 || history_at(c, h, at - 1)->offset + 1 != m.from))
        m.from = 0;
    return m;
}

/* Perhaps it got its numbers, and nobody saw them: a gap may be of it alone. */
static bool may_be_unseen(const struct checker *c, uint32_t channel)
{
    for (size_t i = 0; i < c->publication_count; i++) {
        const struct publication *p = &c->publications[i];

        if (p->channel == channel && p->version == NOBODY &&
            p->refusals < p->invokes)
            return true;
    }
    return false;
}

/* In front of the first message behind a place that is a seq. */
static struct missing missing_first(const struct checker *c,
                                    const struct chain *ch,
                                    const struct seen *s,
                                    const struct version *v)
{
    const struct history *h = history_of(c, v->channel, v->epoch);
    uint32_t at = history_upto(c, h, v->seq) - 1;
    struct missing m = owed_before(c, ch, s, h, at);

    if (s->base != BASE_SEQ || s->epoch != v->epoch)
        return m;
    if (!v->offset) {
        m.maybe = !m.to && s->gap.there && may_be_unseen(c, v->channel);
        m.to = m.to || m.maybe ? UINT64_MAX : 0;
        return m;
    }
    if (m.to) {
        m.to = v->offset - 1;
    } else if (v->offset > 1 &&
               (at == 0 || history_at(c, h, at - 1)->offset + 1 != v->offset)) {
        m.to = v->offset - 1;
        m.maybe = true;
    }
    return m;
}

static struct missing missing_before(const struct checker *c,
                                     const struct chain *ch,
                                     const struct seen *s,
                                     const struct version *v)
{
    if (!s->offset || !v->offset || s->epoch != v->epoch)
        return missing_first(c, ch, s, v);
    if (v->offset <= s->offset + 1)
        return nothing;
    return (struct missing){ .from = s->offset + 1, .to = v->offset - 1,
                             .line = s->line };
}

static enum check_pass pass_of(const struct chain *ch, const struct seen *s)
{
    return s->first && ch->items[s->item].base == BASE_SEQ && ch->has_since
               ? CHECK_RESUME : CHECK_WHOLE;
}

/* The messages between have passed: was it as the notice said? */
static void settle_gap(struct checker *c, struct seen *s, line_at line)
{
    struct gap *g = &s->gap;

    if (g->there && g->count != UINT64_MAX && g->missed != g->count)
        check_found(c, CHECK_NOTICES, g->line, line,
                    "it tells %lu, %lu were missed", g->count, g->missed);
    else if (g->there && g->conflated && g->from && g->count != UINT64_MAX &&
             (g->first != g->from || g->last != g->to))
        check_found(c, CHECK_NOTICES, g->line, line,
                    "it tells %lu to %lu, missed were %lu to %lu", g->from,
                    g->to, g->first, g->last);
    g->there = false;
}

/* Does the notice tell just what is missing? An unknown end tells nothing. */
static bool told_right(const struct gap *g, const struct missing *m)
{
    bool from = !g->from || !m->from || g->from == m->from ||
                (g->conflated && g->from <= m->from);
    bool to = !g->to || m->to == UINT64_MAX || g->to == m->to ||
              (g->conflated && m->to <= g->to);

    return from && to;
}

/* These were left out, as a notice without offsets told of their pattern. */
static void charge_pattern(struct checker *c, struct item *it, struct seen *s,
                           uint32_t epoch, const struct missing *m,
                           line_at line)
{
    if (it->cut)
        return;
    if (m->maybe || !m->from || m->to == UINT64_MAX) {
        it->unsure = true;
        return;
    }
    left_judge(c, s->channel, epoch, m->from, m->to, &it->of);
    it->found += m->to - m->from + 1;
    if (!it->unsure && it->found > it->told)
        check_found(c, CHECK_NOTICES, it->of.line, line,
                    "of the pattern %lu are told, %lu were missed", it->told,
                    it->found);
}

static void charge_gap(struct checker *c, struct seen *s, uint32_t epoch,
                       const struct missing *m)
{
    struct gap *g = &s->gap;
    struct left left = { .ns = m->to > g->earlier_to ? g->ns : g->earlier_ns,
                         .line = g->line, .conflated = g->conflated };
    uint64_t state;

    g->missed += m->to - m->from + 1;
    g->first = g->first ? g->first : m->from;
    g->last = m->to;
    if (g->other || g->slow == g->conflated)
        return;
    state = left_judge(c, s->channel, epoch, m->from, m->to, &left);
    s->state_due = MAX(s->state_due, state);
}

static void judge_missing(struct checker *c, struct chain *ch, struct seen *s,
                          uint32_t epoch, const struct missing *m,
                          line_at line)
{
    struct gap *g = &s->gap;
    struct item *it = &ch->items[s->item];

    if (!m->to) {
        if (g->there && !g->conflated)
            check_found(c, CHECK_NOTICES, g->line, line,
                        "it tells of a gap, and nothing was missed");
        g->there = g->conflated;
        return;
    }
    if (!g->there && it->of.line) {
        charge_pattern(c, it, s, epoch, m, line);
        return;
    }
    if (!g->there && m->maybe)
        return;
    if (!g->there) {
        check_found(c, pass_of(ch, s), m->line, line,
                    "%u.%u missed " SLICE_FMT " %lu to %lu and was not told",
                    ch->number, ch->conn, NAME_OF(c, s->channel), m->from,
                    m->to);
        return;
    }
    if (!told_right(g, m))
        check_found(c, CHECK_NOTICES, g->line, line,
                    "it tells %lu to %lu, missed were %lu to %lu", g->from,
                    g->to, m->from, m->to);
    else if (m->from && m->to != UINT64_MAX)
        charge_gap(c, s, epoch, m);
    if (m->maybe || !m->from || m->to == UINT64_MAX)
        g->count = UINT64_MAX; /* nobody can tell how many */
}

/* ---- a message ----------------------------------------------------------------------- */

/* The numbered message that a line shows; NULL: nobody knows its numbers. */
static const struct version *version_of(const struct checker *c,
                                        const struct words *w)
{
    uint64_t seq = check_number(w->word[6]);
    uint32_t epoch = names_find(&c->epochs, w->word[5]);
    uint32_t i;

    if (seq != UINT64_MAX) {
        i = table_get(&c->by_seq, key_of(epoch, seq));
        return i == NOBODY ? NULL : &c->versions[i];
    }
    i = table_get(&c->by_name, key_of(check_number(w->word[9]),
                                      check_number(w->word[10])));
    if (i == NOBODY || c->publications[i].version == NOBODY ||
        c->publications[i].twice)
        return NULL;
    return &c->versions[c->publications[i].version];
}

/* What the text says of itself, whatever its numbers. */
static const struct publication *judge_text(struct checker *c,
                                            const struct words *w)
{
    uint32_t i = table_get(&c->by_name, key_of(check_number(w->word[9]),
                                               check_number(w->word[10])));
    const struct publication *m = i == NOBODY ? NULL : &c->publications[i];

    if (!m) {
        check_found(c, CHECK_GHOSTS, w->line, 0, "nobody published this");
        return NULL;
    }
    if (m->hash != check_hex(w->word[8]) ||
        !slice_eq(c->channels.texts[m->channel], w->word[4]))
        check_found(c, CHECK_GHOSTS, m->line, w->line,
                    "this is not what was published");
    if (w->ns < m->invoked_ns)
        check_found(c, CHECK_GHOSTS, m->line, w->line,
                    "it was seen before it was sent");
    if (m->refusals >= m->invokes)
        check_found(c, CHECK_GHOSTS, m->line, w->line,
                    "it was refused, and it is seen");
    return m;
}

static void move_to(struct chain *ch, uint32_t epoch, uint64_t seq,
                    line_at line)
{
    ch->has_pos = true;
    ch->epoch_told = false;
    ch->epoch = epoch;
    ch->pos = seq;
    ch->pos_line = line;
}

/* seq grows over all ids of the connection; another epoch has been told. */
static void judge_order(struct checker *c, struct chain *ch,
                        const struct version *v, line_at line)
{
    if (ch->has_pos && v->epoch != ch->epoch && !ch->epoch_told)
        check_found(c, CHECK_ORDER, ch->pos_line, line,
                    "%u.%u sees another epoch and was not told", ch->number,
                    ch->conn);
    else if (ch->has_pos && v->epoch == ch->epoch && v->seq <= ch->pos)
        check_found(c, CHECK_ORDER, ch->pos_line, line,
                    "%u.%u sees seq %lu behind %lu", ch->number, ch->conn,
                    v->seq, ch->pos);
    move_to(ch, v->epoch, v->seq, line);
}

/* A notice of the pattern it was subscribed by, since its last message. Of what
 * could not be read it may be any channel, of anything else those without
 * history. */
static void note_pattern_gap(const struct checker *c, const struct chain *ch,
                             struct seen *s)
{
    const struct item *it = &ch->items[s->item];

    if (it->pattern && (it->damaged != s->damaged ||
                        (it->gaps != s->gaps && c->memory[s->channel]))) {
        s->base = BASE_ANY;
        s->gap_ns = it->gap_ns;
    }
    s->gaps = it->gaps;
    s->damaged = it->damaged;
}

static void judge_twice(struct checker *c, const struct chain *ch,
                        const struct seen *s, const struct version *v,
                        line_at line)
{
    bool again = s->epoch == v->epoch && v->seq <= s->seq;
    bool anew = c->memory[s->channel] && s->offset && v->offset &&
                v->offset <= s->offset;

    if (s->base == BASE_SEQ && again)
        check_found(c, pass_of(ch, s), s->line, line,
                    "%u.%u sees seq %lu of " SLICE_FMT " once more", ch->number,
                    ch->conn, v->seq, NAME_OF(c, s->channel));
    else if (s->base == BASE_SEQ && anew)
        check_found(c, CHECK_WHOLE, s->line, line,
                    "%u.%u sees " SLICE_FMT " begin anew and was not told",
                    ch->number, ch->conn, NAME_OF(c, s->channel));
}

/* Whatever was said before a notice told that something may be missing may be
 * missing. */
static void has(const struct checker *c, struct seen *s,
                const struct version *v, line_at line)
{
    s->first = false;
    if (s->base != BASE_ANY || !c->memory[s->channel] ||
        begun_after(c, v, s->gap_ns))
        s->base = BASE_SEQ;
    s->epoch = v->epoch;
    s->seq = v->seq;
    s->offset = v->offset;
    s->line = line;
}

static void take_version(struct checker *c, struct chain *ch,
                         const struct version *v, line_at line)
{
    struct seen *s = seen_of(c, ch, v->channel);
    struct missing m;

    if (!s) {
        check_found(c, CHECK_GHOSTS, ch->open_line, line,
                    "%u.%u did not subscribe to this", ch->number, ch->conn);
        return;
    }
    note_pattern_gap(c, ch, s);
    if (s->gap.there && s->gap.conflated && v->offset &&
        (v->offset == s->gap.later_from || v->offset == s->gap.later_to))
        check_found(c, CHECK_NOTICES, s->gap.line, line,
                    "it is told to be left out, and it comes");
    if (ch->raw && c->memory[v->channel] && check_loses(c, fault_memory))
        s->base = BASE_ANY;
    if (s->base == BASE_NONE)
        check_found(c, CHECK_NOTICES, ch->open_line, line,
                    "%u.%u sees " SLICE_FMT " before it was told from where",
                    ch->number, ch->conn, NAME_OF(c, s->channel));
    if (s->base == BASE_ANY)
        s->gap.there = false; /* it is not known how much is missing */
    judge_twice(c, ch, s, v, line);
    if (s->base != BASE_ANY && s->base != BASE_NONE &&
        !(s->base == BASE_SEQ && s->epoch == v->epoch && v->seq <= s->seq)) {
        m = missing_before(c, ch, s, v);
        judge_missing(c, ch, s, v->epoch, &m, line);
    }
    if (s->gap.there && !(s->gap.conflated && v->offset <= s->gap.to))
        settle_gap(c, s, line);
    has(c, s, v, line);
}

static void judge_live(struct checker *c, const struct chain *ch,
                       const struct publication *m, const struct words *w)
{
    int64_t took = w->ns - m->invoked_ns;

    if (m->invoked_ns <= c->quiet_ns || ch->begun_ns > m->invoked_ns)
        return;
    c->figures.slowest_ns = MAX(c->figures.slowest_ns, took);
    if (took > c->options.live_ns)
        check_found(c, CHECK_LIVE, m->line, w->line, "it took %ld ms",
                    took / MILLISECOND);
}

static void on_message(struct checker *c, struct chain *ch,
                       const struct words *w)
{
    const struct publication *m = judge_text(c, w);
    const struct version *v = version_of(c, w);
    bool replay = slice_eq(w->word[11], SLICE("r"));
    struct seen *s;

    c->figures.delivered++;
    c->figures.replayed += replay;
    if (m)
        judge_live(c, ch, m, w);
    if (v) {
        if (!replay)
            judge_order(c, ch, v, w->line);
        take_version(c, ch, v, w->line);
        return;
    }
    s = seen_of(c, ch, names_find(&c->channels, w->word[4]));
    if (s)
        s->base = BASE_ANY;
}

/* ---- a run ------------------------------------------------------------------------------ */

static uint32_t version_at(const struct checker *c, uint32_t channel,
                           uint32_t epoch, uint64_t offset)
{
    return table_get(&c->by_offset, key_of(key_of(channel, epoch), offset));
}

static void judge_sum(struct checker *c, uint32_t channel, uint32_t epoch,
                      const struct words *w)
{
    const struct history *h = history_of(c, channel, epoch);
    uint64_t sum;

    if (h && history_sum(c, h, check_number(w->word[6]),
                         check_number(w->word[7]), &sum) &&
        sum != check_hex(w->word[9]))
        check_found(c, CHECK_GHOSTS, w->line, 0,
                    "a run has other texts than were published");
}

/* An end of a run that nobody else tells of is believed where nothing is kept,
 * or no more. */
static bool judge_run_end(struct checker *c, uint32_t channel, uint64_t offset,
                          const struct words *w)
{
    bool gone = channel != NOBODY &&
                (c->memory[channel] || versions_hole(c, channel, offset));

    if (!gone)
        check_found(c, CHECK_GHOSTS, w->line, 0, "a run of what is not there");
    return gone;
}

static void on_run(struct checker *c, struct chain *ch, const struct words *w)
{
    uint32_t channel = names_find(&c->channels, w->word[4]);
    uint32_t epoch = names_find(&c->epochs, w->word[5]), a, b;
    uint64_t first = check_number(w->word[6]), last = check_number(w->word[7]);
    struct version end = { .channel = channel, .epoch = epoch, .offset = last,
                           .seq = check_number(w->word[8]) };
    struct seen *s = channel == NOBODY ? NULL : seen_of(c, ch, channel);

    c->figures.delivered += last - first + 1;
    a = version_at(c, channel, epoch, first);
    b = version_at(c, channel, epoch, last);
    if (a != NOBODY)
        take_version(c, ch, &c->versions[a], w->line);
    else if (!judge_run_end(c, channel, first, w))
        return;
    else if (s)
        s->gap.there = false; /* nobody knows what came before it */
    if (b == NOBODY && !judge_run_end(c, channel, last, w))
        return;
    if (b != NOBODY && c->versions[b].seq != end.seq)
        check_found(c, CHECK_NUMBERS, c->versions[b].line, w->line,
                    "one offset has two seqs");
    judge_sum(c, channel, epoch, w);
    if (s)
        has(c, s, &end, w->line);
    if (!ch->has_pos || ch->epoch != epoch || end.seq > ch->pos)
        move_to(ch, epoch, end.seq, w->line);
}

/* ---- notices ------------------------------------------------------------------------------ */

static bool next_name(struct slice *rest, struct slice *name)
{
    size_t n = 0;

    if (rest->len == 0)
        return false;
    while (n < rest->len && rest->ptr[n] != ',')
        n++;
    *name = slice_make(rest->ptr, n);
    n = MIN(n + 1, rest->len);
    *rest = slice_make(rest->ptr + n, rest->len - n);
    return true;
}

/* Messages between what it has and where it goes on are told, or missed. */
static void judge_jump(struct checker *c, struct chain *ch, struct seen *s,
                       uint32_t epoch, uint64_t seq, line_at line)
{
    const struct history *h = history_of(c, s->channel, epoch);
    struct missing m;

    note_pattern_gap(c, ch, s);
    if (!h || s->gap.there || s->base == BASE_ANY || s->base == BASE_NONE ||
        s->epoch != epoch)
        return;
    m = owed_before(c, ch, s, h, history_upto(c, h, seq));
    if (m.to)
        judge_missing(c, ch, s, epoch, &m, line);
}

static void goes_on(struct seen *s, uint32_t epoch, uint64_t seq, line_at line)
{
    s->base = BASE_SEQ;
    s->epoch = epoch;
    s->seq = seq;
    s->offset = 0;
    s->line = line;
    s->gap.there = false;
}

/* A gap that has been told counts until what comes behind it has come. */
static bool unsure(const struct checker *c, const struct seen *s)
{
    return s->gap.there || (s->base == BASE_ANY && c->memory[s->channel]);
}

static void on_snapshot(struct checker *c, struct chain *ch, uint32_t name,
                        uint32_t epoch, const struct words *w)
{
    uint64_t seq = check_number(w->word[7]);

    for (unsigned i = 0; i < ch->item_count; i++)
        if (ch->items[i].channel == name) {
            ch->items[i].base = BASE_SEQ;
            ch->items[i].epoch = epoch;
            ch->items[i].seq = seq;
            ch->items[i].done = true;
        }
    for (unsigned i = 0; i < ch->seen_count; i++)
        if (ch->items[ch->seen[i].item].channel == name ||
            ch->seen[i].channel == name) {
            judge_jump(c, ch, &ch->seen[i], epoch, seq, w->line);
            if (!unsure(c, &ch->seen[i]))
                goes_on(&ch->seen[i], epoch, seq, w->line);
        }
}

static void on_resumed(struct chain *ch, uint32_t name)
{
    for (unsigned i = 0; i < ch->item_count; i++)
        if (ch->items[i].channel == name)
            ch->items[i].done = true;
}

static void judge_why(struct checker *c, const struct words *w, uint32_t name)
{
    struct slice why = w->word[11];

    if ((slice_eq(why, SLICE("epoch")) || slice_eq(why, SLICE("future"))) &&
        !check_loses(c, fault_epoch))
        check_found(c, CHECK_NOTICES, w->line, 0, "there is one epoch only");
    if (slice_eq(why, SLICE("damaged")) && !check_loses(c, fault_read))
        check_found(c, CHECK_NOTICES, w->line, 0, "nothing was damaged");
    if (slice_eq(why, SLICE("volatile")) && c->kept[name])
        check_found(c, CHECK_NOTICES, w->line, 0, "this has a history");
}

/* What is said to be trimmed is in the store. */
static void judge_trimmed(struct checker *c, const struct words *w,
                          uint32_t name)
{
    uint64_t to = check_number(w->word[9]);

    if (!slice_eq(w->word[11], SLICE("trimmed")) || to == UINT64_MAX)
        return;
    for (size_t i = 0; i < c->epochs.count; i++) {
        uint32_t v = table_get(&c->by_offset,
                               key_of(key_of(name, i), to));

        if (v != NOBODY && c->versions[v].stored)
            check_found(c, CHECK_NOTICES, w->line, c->versions[v].line,
                        "what is told to be trimmed is kept");
    }
}

/* From where to where is not told: anything may be missing. */
static void open_gap(struct checker *c, struct chain *ch, uint32_t name,
                     const struct words *w)
{
    struct seen *s = id_is_pattern(c->channels.texts[name])
                         ? NULL : seen_of(c, ch, name);

    for (unsigned i = 0; i < ch->item_count; i++)
        if (ch->items[i].channel == name) {
            ch->items[i].gaps++;
            ch->items[i].gap_ns = w->ns;
            ch->items[i].damaged +=
                slice_eq(w->word[11], SLICE("damaged"));
        }
    if (s) {
        s->base = BASE_ANY;
        s->gap_ns = w->ns;
        s->gap.there = false;
    }
}

/* Why it misses something: it reads too slowly. */
static bool was_slow(const struct words *w)
{
    return slice_eq(w->word[11], SLICE("slow")) ||
           slice_eq(w->word[11], SLICE("conflated"));
}

/* Does a fault make it so that a gateway takes it for slow? */
static bool may_be_slow(const struct checker *c, const struct chain *ch,
                        int64_t ns)
{
    bool may = ch->halted;

    for (size_t i = 0; i < c->fault_count && !may; i++) {
        const struct fault *f = &c->faults[i];

        may = f->slow && f->start_ns <= ns &&
              (f->heal_ns == INT64_MAX || ns <= f->heal_ns + c->options.grace_ns);
    }
    return may;
}

/* Of a pattern only how many are missing is known. */
static void thin_pattern(struct chain *ch, uint32_t name,
                         const struct words *w)
{
    uint64_t count = check_number(w->word[10]);

    for (unsigned i = 0; i < ch->item_count; i++) {
        struct item *it = &ch->items[i];

        if (it->channel != name)
            continue;
        it->of = (struct left){
            .ns = w->ns, .line = w->line, .pattern = it->pattern,
            .conflated = slice_eq(w->word[11], SLICE("conflated")) };
        it->cut |= count == UINT64_MAX;
        it->told += count == UINT64_MAX ? 0 : count;
    }
}

/* Offsets of a gap told behind another one, before all that the other tells of has
 * passed: both. They may overlap: what was kept at first is left out, too. */
static void add_gap(struct seen *s, const struct words *w)
{
    uint64_t from = check_number(w->word[8]), to = check_number(w->word[9]);
    uint64_t count = check_number(w->word[10]);
    struct gap *g = &s->gap;

    if (!g->there) {
        *g = (struct gap){ .there = true, .line = w->line,
                           .from = from == UINT64_MAX ? 0 : from,
                           .count = count };
    } else {
        g->earlier_to = MIN(g->to, from - 1);
        g->earlier_ns = g->ns;
        g->later_from = from;
        g->later_to = to;
        g->count = count == UINT64_MAX || g->count == UINT64_MAX
                       ? UINT64_MAX : g->count + count;
    }
    g->ns = w->ns;
    g->to = to == UINT64_MAX ? 0 : MAX(g->to, to);
    g->conflated |= slice_eq(w->word[11], SLICE("conflated"));
    g->slow |= slice_eq(w->word[11], SLICE("slow"));
    g->other |= !was_slow(w);
}

static void on_gap(struct checker *c, struct chain *ch, uint32_t name,
                   const struct words *w)
{
    struct seen *s;

    judge_why(c, w, name);
    judge_trimmed(c, w, name);
    if (was_slow(w)) {
        c->figures.thinned++;
        if (!may_be_slow(c, ch, w->ns))
            check_found(c, CHECK_ISOLATION, ch->open_line, w->line,
                        "%u.%u is told to be slow, and it reads", ch->number,
                        ch->conn);
    }
    if (was_slow(w) && id_is_pattern(c->channels.texts[name])) {
        thin_pattern(ch, name, w);
        return;
    }
    if (slice_eq(w->word[9], SLICE("-"))) {
        open_gap(c, ch, name, w);
        return;
    }
    s = seen_of(c, ch, name);
    if (s && s->gap.there && check_number(w->word[8]) <= s->offset)
        check_found(c, CHECK_NOTICES, s->line, w->line,
                    "it tells of what has come");
    if (s)
        add_gap(s, w);
}

static void judge_cursor_order(struct checker *c, struct chain *ch,
                               uint32_t epoch, const struct words *w)
{
    uint64_t seq = check_number(w->word[7]);

    if (ch->has_pos && ch->epoch == epoch && seq < ch->pos && !ch->epoch_told)
        check_found(c, CHECK_ORDER, ch->pos_line, w->line,
                    "%u.%u is told a cursor of %lu behind %lu", ch->number,
                    ch->conn, seq, ch->pos);
    if (!ch->has_pos || ch->epoch != epoch || seq > ch->pos)
        move_to(ch, epoch, seq, w->line);
}

/* A form that names no channel has one. Of one that it may be too slow for it
 * tells how many messages are missing, as of a pattern. */
static void on_nameless(const struct checker *c, struct chain *ch,
                        const struct words *w)
{
    enum policy policy = ch->item_count
                             ? check_policy(c, ch->items[0].channel)
                             : POLICY_CUT;

    if (policy != POLICY_CUT && check_number(w->word[10]) != UINT64_MAX) {
        thin_pattern(ch, ch->items[0].channel, w);
        ch->items[0].of.conflated = policy == POLICY_CONFLATE;
        return;
    }
    for (unsigned i = 0; i < ch->seen_count; i++)
        ch->seen[i].base = BASE_ANY;
    for (unsigned i = 0; i < ch->item_count; i++)
        ch->items[i].base = BASE_ANY;
}

static void take_name(struct checker *c, struct chain *ch, struct slice name,
                      const struct words *w)
{
    uint32_t i = names_find(&c->channels, name);
    struct slice what = w->word[4];

    if (slice_eq(what, SLICE("gap")) && slice_eq(name, SLICE("-")))
        on_nameless(c, ch, w);
    else if (slice_eq(what, SLICE("gap")))
        on_gap(c, ch, i, w);
    else if (slice_eq(what, SLICE("snapshot")))
        on_snapshot(c, ch, i, names_find(&c->epochs, w->word[6]), w);
    else if (slice_eq(what, SLICE("resumed")))
        on_resumed(ch, i);
}

/* Is something that was added to it still being replayed? */
static bool is_replayed(const struct chain *ch)
{
    for (unsigned i = 0; i < ch->item_count; i++)
        if (!ch->items[i].done)
            return true;
    return false;
}

static void on_notice(struct checker *c, struct chain *ch,
                      const struct words *w)
{
    struct slice rest = w->word[5], name, what = w->word[4];
    bool gap = slice_eq(what, SLICE("gap"));
    uint64_t count = check_number(w->word[10]);

    c->figures.gaps += gap;
    c->figures.missed += gap && count != UINT64_MAX ? count : 0;
    if (gap && (slice_eq(w->word[11], SLICE("epoch")) ||
                slice_eq(w->word[11], SLICE("future"))))
        ch->epoch_told = true;
    /* Where to come back to: a replay may be under way. */
    if (!slice_eq(w->word[6], SLICE("-")) &&
        !slice_eq(what, SLICE("closing")) &&
        !(gap && was_slow(w) && is_replayed(ch)))
        judge_cursor_order(c, ch, names_find(&c->epochs, w->word[6]), w);
    while (next_name(&rest, &name))
        take_name(c, ch, name, w);
}

/* How a match stands. */
static void on_state(struct checker *c, struct chain *ch,
                     const struct words *w)
{
    struct seen *s = seen_find(ch, names_find(&c->channels, w->word[4]));

    left_state(c, w);
    if (s && check_number(w->word[6]) >= s->state_due)
        s->state_due = 0;
}

/* ---- connections ------------------------------------------------------------------------- */

static void on_open(struct checker *c, struct chain *ch, const struct words *w)
{
    bool plain = slice_eq(w->word[5], SLICE("test")) ||
                 slice_eq(w->word[5], SLICE("raw"));

    if (ch->open)
        check_found(c, CHECK_LOG, ch->open_line, w->line,
                    "%u opens a connection while one is open", ch->number);
    ch->conn = (uint32_t)check_number(w->word[3]);
    ch->open = true;
    ch->numbered = !plain;
    ch->raw = slice_eq(w->word[5], SLICE("raw"));
    ch->edge = slice_eq(w->word[4], SLICE("http")) ? EDGE_BIT_HTTP
               : slice_eq(w->word[4], SLICE("tcp")) ? EDGE_BIT_TCP
                                                    : EDGE_BIT_WS;
    ch->open_line = w->line;
    ch->has_since = ch->has_pos = ch->epoch_told = ch->halted = false;
    ch->item_count = ch->part_count = ch->seen_count = 0;
    c->figures.connections++;
}

/* Where it says that it is. */
static void set_base(struct checker *c, const struct chain *ch,
                     struct item *it, struct slice since)
{
    struct position p;

    it->base = ch->numbered ? BASE_NONE : BASE_BEGUN;
    if (slice_eq(since, SLICE("-")) || position_parse(since, &p) < 0)
        return;
    it->base = p.epoch.text[0] ? BASE_SEQ : BASE_KEPT;
    it->epoch = names_find(&c->epochs, slice_str(p.epoch.text));
    it->seq = p.seq;
}

static void on_subscribe(struct checker *c, struct chain *ch,
                         const struct words *w)
{
    struct slice rest = w->word[5], name;
    bool since = !slice_eq(w->word[4], SLICE("-"));

    ch->has_since |= since;
    c->figures.resumed += since;
    while (next_name(&rest, &name) && ch->item_count < ITEMS_MAX) {
        struct item *it = &ch->items[ch->item_count++];

        *it = (struct item){ .channel = names_find(&c->channels, name),
                             .pattern = id_is_pattern(name),
                             .part = ch->part_count,
                             .done = ch->part_count == 0 || !since };
        set_base(c, ch, it, w->word[4]);
    }
    ch->part_count++;
}

/* An answer to a request that says to come back later. */
static bool was_refused(const struct words *w)
{
    return slice_eq(w->word[5], SLICE("503")) ||
           slice_eq(w->word[5], SLICE("429"));
}

static void judge_isolation(struct checker *c, const struct chain *ch,
                            const struct words *w)
{
    if (!slice_eq(w->word[4], SLICE("peer")))
        return;
    c->figures.closed_by_peer++;
    if (may_be_slow(c, ch, w->ns)) {
        c->leavers++; /* what it was told had no reader any more */
        return;
    }
    for (size_t i = 0; i < c->fault_count; i++) {
        const struct fault *f = &c->faults[i];

        if ((f->hits & ch->edge || (f->refuse && was_refused(w))) &&
            f->start_ns <= w->ns &&
            (f->heal_ns == INT64_MAX ||
             w->ns <= f->heal_ns + c->options.grace_ns))
            return;
    }
    check_found(c, CHECK_ISOLATION, ch->open_line, w->line,
                "%u.%u was closed, and no fault of its edge is why", ch->number,
                ch->conn);
}

/* What is missing behind the end of a gap that it was told itself. */
static struct missing behind_gap(const struct gap *g, struct missing m)
{
    if (!g->to || m.to == UINT64_MAX || m.to <= g->to)
        return nothing;
    m.from = MAX(m.from, g->to + 1);
    return m;
}

/* What it has not been given when the connection ends. A gap of its own tells of
 * this channel, what its pattern was told of all the others. */
static void judge_rest(struct checker *c, struct chain *ch, struct seen *s,
                       uint32_t epoch, struct missing m, bool home,
                       line_at line)
{
    struct item *it = &ch->items[s->item];

    if (s->gap.there && home) {
        if (m.to)
            judge_missing(c, ch, s, epoch, &m, line);
        settle_gap(c, s, line);
        return;
    }
    if (s->gap.there)
        m = behind_gap(&s->gap, m);
    if (m.to && it->of.line)
        charge_pattern(c, it, s, epoch, &m, line);
    else if (m.to)
        check_found(c, home ? CHECK_REACH : CHECK_CURSOR, m.line, line,
                    "%u.%u has not been given " SLICE_FMT " %lu to %lu",
                    ch->number, ch->conn, NAME_OF(c, s->channel), m.from, m.to);
}

/* One channel, at the end of a connection: has it all up to there? */
static void judge_end_of(struct checker *c, struct chain *ch, struct item *it,
                         uint32_t channel, bool home, const struct words *w)
{
    uint32_t epoch = ch->has_pos ? ch->epoch : c->last_epoch;
    const struct history *h = history_of(c, channel, epoch);
    struct missing m;
    struct seen *s;
    uint32_t upto;

    if (!h || !it->done || it->base == BASE_NONE)
        return;
    upto = home ? h->count : history_upto(c, h, ch->pos);
    s = seen_of(c, ch, channel);
    if (!s || &ch->items[s->item] != it)
        return;
    note_pattern_gap(c, ch, s);
    if (s->base == BASE_ANY ||
        (ch->raw && c->memory[channel] && check_loses(c, fault_memory)))
        return;
    m = owed_before(c, ch, s, h, upto);
    judge_rest(c, ch, s, epoch, m, home, w->line);
    if (home && ch->numbered && s->state_due)
        check_found(c, CHECK_STATE, s->line, w->line,
                    "%u.%u did without a state of " SLICE_FMT " and got none",
                    ch->number, ch->conn, NAME_OF(c, channel));
}

static void judge_end(struct checker *c, struct chain *ch,
                      const struct words *w)
{
    bool home = slice_eq(w->word[5], SLICE("home"));

    if (home ? ch->begun_ns == INT64_MAX : !ch->has_pos)
        return;
    for (unsigned i = 0; i < ch->item_count; i++) {
        struct item *it = &ch->items[i];

        if (!it->pattern && it->channel != NOBODY)
            judge_end_of(c, ch, it, it->channel, home, w);
        for (uint32_t k = 0; it->pattern && k < c->channels.count; k++)
            if (covers(c, it, k))
                judge_end_of(c, ch, it, k, home, w);
        if (home && it->of.line && !it->unsure && !it->cut &&
            it->found != it->told)
            check_found(c, CHECK_NOTICES, it->of.line, w->line,
                        "of the pattern %lu are told, %lu were missed",
                        it->told, it->found);
    }
}

static void on_end(struct checker *c, struct chain *ch, const struct words *w)
{
    bool self = slice_eq(w->word[4], SLICE("self"));

    judge_isolation(c, ch, w);
    judge_end(c, ch, w);
    c->leavers += self && slice_eq(w->word[5], SLICE("leave"));
    if (!self || !slice_eq(w->word[5], SLICE("end")))
        ch->begun_ns = INT64_MAX;
    ch->open = false;
}

/* ---- lines -------------------------------------------------------------------------------- */

static struct chain *chain_of(struct checker *c, struct walk *walk,
                              const struct words *w)
{
    uint64_t number = check_number(w->word[2]);
    uint32_t next = (uint32_t)walk->count;
    uint32_t i = table_put(&walk->by_number, number, next);

    if (i == next) {
        walk->chains = array_grow(walk->chains, walk->count,
                                  sizeof(struct chain *));
        walk->chains[walk->count++] = calloc(1, sizeof(struct chain));
        walk->chains[i]->number = (uint32_t)number;
        walk->chains[i]->begun_ns = INT64_MAX;
        c->figures.subscribers++;
    }
    return walk->chains[i];
}

static void step(struct checker *c, struct chain *ch, const struct words *w)
{
    if (w->kind == HISTORY_OPEN) {
        on_open(c, ch, w);
        return;
    }
    if (!ch->open || check_number(w->word[3]) != ch->conn) {
        check_found(c, CHECK_LOG, ch->open_line, w->line,
                    "this connection is not open");
        return;
    }
    switch (w->kind) {
    case HISTORY_SUBSCRIBE:
        on_subscribe(c, ch, w);
        break;
    case HISTORY_BEGUN:
        ch->begun_ns = w->ns;
        break;
    case HISTORY_MESSAGE:
        on_message(c, ch, w);
        break;
    case HISTORY_NOTICE:
        on_notice(c, ch, w);
        break;
    case HISTORY_RUN:
        on_run(c, ch, w);
        break;
    case HISTORY_STATE:
        on_state(c, ch, w);
        break;
    case HISTORY_HALT:
        ch->halted = true;
        break;
    default:
        on_end(c, ch, w);
    }
}

static void take(struct checker *c, void *ctx, const struct words *w)
{
    switch (w->kind) {
    case HISTORY_OPEN:
    case HISTORY_SUBSCRIBE:
    case HISTORY_BEGUN:
    case HISTORY_MESSAGE:
    case HISTORY_NOTICE:
    case HISTORY_RUN:
    case HISTORY_STATE:
    case HISTORY_HALT:
    case HISTORY_END:
        step(c, chain_of(c, ctx, w), w);
        break;
    default:
        break;
    }
}

void chains_judge(struct checker *c)
{
    struct walk walk = { .count = 0 };

    for (size_t i = 0; i < c->file_count; i++)
        check_lines(c, i, take, &walk);
    for (size_t i = 0; i < walk.count; i++) {
        if (walk.chains[i]->open)
            check_found(c, CHECK_LOG, walk.chains[i]->open_line, 0,
                        "it never ended");
        free(walk.chains[i]->seen);
        free(walk.chains[i]);
    }
    free(walk.chains);
    table_fini(&walk.by_number);
}
