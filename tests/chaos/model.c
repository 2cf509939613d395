#include "tests/chaos/model.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/chaos/payload.h"

enum { CHANNELS = 5, SHORT = 3, VOLATILE = 4, SUBS = 6, KEPT = 6,
       LINES_MAX = 6000, COMMITTED_MAX = 600, STEPS = 90 };

static const char *const channels[CHANNELS] = { "plain/1", "plain/2", "power/1",
                                                "short/1", "volatile/1" };

/* What each subscriber is: its form, what it listens to, as words and as bits. */
static const struct {
    const char *edge, *form, *items;
    unsigned mask;
    bool cursors, offsets;
} kinds[SUBS] = {
    { "http", "ndjson", "plain/1,power/1", 1 | 4, true, true },
    { "http", "sse", "plain/*", 1 | 2, true, true },
    { "http", "ndjson", "short/1,plain/2", 8 | 2, true, true },
    { "ws", "ws", "volatile/1,plain/1", 16 | 1, true, true },
    { "http", "test", "plain/1", 1, false, false },
    { "tcp", "telnet", "**", 31, true, false },
};

struct line {
    char text[200];
    char kind;
    bool gone;
    int sub, channel;
    unsigned conn;
    int committed; /* of a message, an acknowledgement, a stored one */
};

struct committed {
    int channel;
    uint64_t seq, offset, hash;
    unsigned publisher, number;
    bool acknowledged;
};

struct reader {
    bool open;
    unsigned conn;
    unsigned at;    /* the next of committed */
    uint64_t seq;   /* its cursor */
    uint64_t skip[CHANNELS]; /* up to there it has been told that they are missing */
};

struct model {
    uint64_t random;
    int64_t now;
    struct line *lines;
    int count;
    struct committed committed[COMMITTED_MAX];
    unsigned done;
    uint64_t seq, offsets[CHANNELS], trimmed;
    unsigned numbers[4], faults, gaps;
    bool edges_fall, dense;
    struct reader readers[SUBS];
};

static uint64_t below(struct model *m, uint64_t n)
{
    m->random ^= m->random >> 12;
    m->random ^= m->random << 25;
    m->random ^= m->random >> 27;
    return (m->random * 0x2545f4914f6cdd1du >> 33) % n;
}

PRINTF_LIKE(3, 4)
static struct line *say(struct model *m, char kind, const char *fmt, ...)
{
    struct line *l = &m->lines[m->count++];
    va_list args;
    int n;

    CHECK(m->count < LINES_MAX - 8);
    m->now += 1000 + (int64_t)below(m, 1000000);
    *l = (struct line){ .kind = kind, .sub = -1, .channel = -1,
                        .committed = -1 };
    n = snprintf(l->text, sizeof l->text, "%c %ld ", kind, m->now);
    va_start(args, fmt);
    vsnprintf(l->text + n, sizeof l->text - (size_t)n, fmt, args);
    va_end(args);
    return l;
}

/* ---- publishers ---------------------------------------------------------------- */

static uint64_t hash_of(unsigned publisher, unsigned number, int channel)
{
    struct buf text = BUF_INIT;
    uint64_t hash;

    payload_write(&text, publisher, number, slice_str(channels[channel]), 40);
    hash = payload_hash(buf_slice(&text));
    buf_fini(&text);
    return hash;
}

static void invoke(struct model *m, unsigned publisher, unsigned number,
                   int channel)
{
    say(m, 'I', "%u %u %s %s %016lx", publisher, number, channels[channel],
        channel == VOLATILE ? "memory" : channel == 2 ? "power" : "process",
        hash_of(publisher, number, channel));
}

static int commit(struct model *m, unsigned publisher, unsigned number,
                  int channel)
{
    CHECK(m->done < COMMITTED_MAX);
    m->seq += 2 + below(m, 3); /* so that there are numbers that nobody has */
    m->committed[m->done] = (struct committed){
        .channel = channel, .seq = m->seq, .offset = ++m->offsets[channel],
        .hash = hash_of(publisher, number, channel), .publisher = publisher,
        .number = number,
    };
    if (channel == SHORT && m->offsets[SHORT] > KEPT)
        m->trimmed = m->offsets[SHORT] - KEPT;
    return (int)m->done++;
}

static void acknowledge(struct model *m, int i, bool duplicate)
{
    const struct committed *c = &m->committed[i];
    struct line *l = say(m, 'A', "%u %u e1 %lu %lu %s", c->publisher, c->number,
                         c->seq, c->offset, duplicate ? "d" : "-");

    m->committed[i].acknowledged = true;
    l->channel = c->channel;
    l->committed = i;
}

/* fate: 0 to 5 acknowledged; 6 refused; 7 unknown, and it happened; 8 unknown,
 * and not; 9 unknown, and again with its key. */
static void publish(struct model *m, int channel, unsigned fate)
{
    unsigned publisher = 1 + (unsigned)below(m, 3);
    unsigned number = ++m->numbers[publisher];

    invoke(m, publisher, number, channel);
    if (fate == 6) {
        say(m, 'R', "%u %u router.away", publisher, number);
    } else if (fate == 7 || (fate == 9 && channel == VOLATILE)) {
        commit(m, publisher, number, channel);
        say(m, 'U', "%u %u cut", publisher, number);
    } else if (fate == 8) {
        say(m, 'U', "%u %u cut", publisher, number);
    } else if (fate == 9) {
        int i = commit(m, publisher, number, channel);

        say(m, 'U', "%u %u died", publisher, number);
        invoke(m, publisher, number, channel);
        acknowledge(m, i, true);
    } else {
        acknowledge(m, commit(m, publisher, number, channel), false);
    }
}

/* ---- subscribers ------------------------------------------------------------------ */

static struct line *say_of(struct model *m, int sub, struct line *l)
{
    l->sub = sub;
    l->conn = m->readers[sub].conn;
    return l;
}

static bool wants(const struct model *m, int sub, const struct committed *c)
{
    return kinds[sub].mask & 1u << c->channel &&
           c->seq > m->readers[sub].skip[c->channel];
}

static void see(struct model *m, int sub, int i)
{
    const struct committed *c = &m->committed[i];
    struct reader *r = &m->readers[sub];
    char seq[24] = "-", offset[24] = "-";
    struct line *l;

    if (kinds[sub].cursors)
        snprintf(seq, sizeof seq, "%lu", c->seq);
    if (kinds[sub].offsets)
        snprintf(offset, sizeof offset, "%lu", c->offset);
    if (m->dense && kinds[sub].offsets && c->channel != VOLATILE)
        l = say(m, 'D', "%u %u %s e1 %lu %lu %lu %016lx", sub + 1, r->conn,
                channels[c->channel], c->offset, c->offset, c->seq, c->hash);
    else
        l = say(m, 'M', "%u %u %s %s %s %s %016lx %u %u -", sub + 1, r->conn,
                channels[c->channel], kinds[sub].cursors ? "e1" : "-", seq,
                offset, c->hash, c->publisher, c->number);
    say_of(m, sub, l);
    l->channel = c->channel;
    l->committed = i;
    r->seq = c->seq;
}

/* Up to n of what is due; it passes what it has been told is missing. */
static void read_some(struct model *m, int sub, unsigned n)
{
    struct reader *r = &m->readers[sub];

    for (; r->open && r->at < m->done && n; r->at++) {
        if (!wants(m, sub, &m->committed[r->at]))
            continue;
        see(m, sub, (int)r->at);
        n--;
    }
}

static void say_gap(struct model *m, int sub, int channel, uint64_t from,
                    uint64_t to, const char *why)
{
    const struct reader *r = &m->readers[sub];
    struct line *l;

    l = say(m, 'N', "%u %u gap %s e1 %lu %lu %lu %lu %s", sub + 1, r->conn,
            channels[channel], r->seq, from, to, to - from + 1, why);
    say_of(m, sub, l);
    l->channel = channel;
    m->gaps++;
}

static void say_unsure(struct model *m, int sub, const char *what)
{
    struct reader *r = &m->readers[sub];

    say_of(m, sub, say(m, 'N', "%u %u gap %s e1 %lu - - - volatile", sub + 1,
                       r->conn, what, r->seq));
    m->gaps++;
    r->skip[VOLATILE] = m->seq;
}

static void come(struct model *m, int sub)
{
    struct reader *r = &m->readers[sub];
    bool since = r->seq && kinds[sub].cursors;
    struct line *l;

    r->conn++;
    r->open = true;
    say_of(m, sub, say(m, 'O', "%u %u %s %s", sub + 1, r->conn,
                       kinds[sub].edge, kinds[sub].form));
    if (since)
        l = say(m, 'S', "%u %u e1-%lu %s", sub + 1, r->conn, r->seq,
                kinds[sub].items);
    else
        l = say(m, 'S', "%u %u - %s", sub + 1, r->conn, kinds[sub].items);
    say_of(m, sub, l);
    memset(r->skip, 0, sizeof r->skip); /* its cursor counts, not what it knows */
    if (!since)
        r->seq = m->seq;
    for (r->at = 0; r->at < m->done && m->committed[r->at].seq <= r->seq;)
        r->at++;
    if (kinds[sub].cursors)
        say_of(m, sub, say(m, 'N', "%u %u %s %s e1 %lu - - - -", sub + 1,
                           r->conn, since ? "resumed" : "snapshot",
                           kinds[sub].items, r->seq));
    say_of(m, sub, say(m, 'B', "%u %u", sub + 1, r->conn));
}

/* The next of the channel that it is to see, or NULL. */
static const struct committed *next_of(const struct model *m, int sub,
                                       int channel)
{
    const struct reader *r = &m->readers[sub];

    for (unsigned i = r->at; i < m->done; i++)
        if (m->committed[i].channel == channel &&
            m->committed[i].seq > r->skip[channel])
            return &m->committed[i];
    return NULL;
}

/* Comes back; of short/1 and volatile/1 something may be gone. */
static void come_back(struct model *m, int sub)
{
    const struct committed *c;

    come(m, sub);
    if (!kinds[sub].cursors)
        return;
    c = kinds[sub].mask & 1u << SHORT ? next_of(m, sub, SHORT) : NULL;
    if (c && c->offset <= m->trimmed) {
        say_gap(m, sub, SHORT, c->offset, m->trimmed, "trimmed");
        for (unsigned i = 0; i < m->done; i++)
            if (m->committed[i].channel == SHORT &&
                m->committed[i].offset <= m->trimmed)
                m->readers[sub].skip[SHORT] = m->committed[i].seq;
    }
    if (kinds[sub].mask & 1u << VOLATILE && next_of(m, sub, VOLATILE))
        say_unsure(m, sub, sub == 5 ? "**" : "volatile/1");
}

static void leave(struct model *m, int sub, const char *who, const char *why)
{
    say_of(m, sub, say(m, 'E', "%u %u %s %s", sub + 1, m->readers[sub].conn,
                       who, why));
    m->readers[sub].open = false;
}

/* It reads too slowly: of one channel the next ones are passed by, and told. */
static void fall_behind(struct model *m, int sub, int channel)
{
    struct reader *r = &m->readers[sub];
    const struct committed *first = next_of(m, sub, channel), *c;
    uint64_t last = 0;

    for (unsigned n = 1 + (unsigned)below(m, 3); first && n--;) {
        c = next_of(m, sub, channel);
        if (!c)
            break;
        last = c->offset;
        r->skip[channel] = c->seq;
    }
    if (first)
        say_gap(m, sub, channel, first->offset, last, "slow");
}

/* ---- faults ------------------------------------------------------------------------ */

static void router_dies(struct model *m)
{
    unsigned id = ++m->faults;

    say(m, 'F', "0 %u start router-kill router memory,refuse", id);
    m->offsets[VOLATILE] = 0;
    m->seq += 1000;
    say(m, 'F', "0 %u heal", id);
    for (int s = 0; s < SUBS; s++)
        if (m->readers[s].open && kinds[s].mask & 1u << VOLATILE)
            say_unsure(m, s, s == 5 ? "**" : "volatile/1");
}

static void edge_dies(struct model *m)
{
    static const char *const edges[] = { "http", "tcp", "ws" };
    const char *edge = edges[below(m, 3)];
    unsigned id = ++m->faults;

    say(m, 'F', "0 %u start %s-kill %s -", id, edge, edge);
    for (int s = 0; s < SUBS; s++)
        if (m->readers[s].open && strcmp(kinds[s].edge, edge) == 0)
            leave(m, s, "peer", "reset");
    say(m, 'F', "0 %u heal", id);
}

/* ---- the story ----------------------------------------------------------------------- */

static void step(struct model *m)
{
    int sub = (int)below(m, SUBS);

    switch (below(m, 20)) {
    case 0:
        if (m->readers[sub].open)
            leave(m, sub, "self", "leave");
        break;
    case 1:
        router_dies(m);
        break;
    case 2:
        if (m->edges_fall)
            edge_dies(m);
        break;
    case 3:
        if (m->readers[0].open)
            fall_behind(m, 0, 0);
        break;
    default:
        publish(m, (int)below(m, CHANNELS), (unsigned)below(m, 10));
    }
    sub = (int)below(m, SUBS);
    if (!m->readers[sub].open)
        come_back(m, sub);
    else
        read_some(m, sub, 1 + (unsigned)below(m, 6));
}

/* What every mutation needs once: a gap in the middle, one of what is trimmed,
 * several of one channel behind each other, one who leaves and comes back. */
static void scenes(struct model *m)
{
    for (int s = 0; s < SUBS; s++)
        if (!m->readers[s].open)
            come_back(m, s);
    for (int s = 0; s < SUBS; s++)
        read_some(m, s, 1000);
    for (unsigned i = 0; i < 4; i++)
        publish(m, 0, 0);
    read_some(m, 0, 1000);
    for (unsigned i = 0; i < 4; i++)
        publish(m, 0, 0);
    fall_behind(m, 0, 0);
    publish(m, 0, 0);
    publish(m, 2, 6);
    publish(m, 1, 7);
    read_some(m, 0, 1000);
    read_some(m, 2, 1000);
    leave(m, 0, "self", "leave");
    publish(m, 0, 0);
    publish(m, 0, 0);
    come_back(m, 0);
    read_some(m, 0, 1000);
    leave(m, 2, "self", "leave");
    for (unsigned i = 0; i < KEPT + 4; i++)
        publish(m, SHORT, 0);
    publish(m, 1, 0);
    publish(m, 1, 0);
    come_back(m, 2);
    for (int s = 0; s < SUBS; s++)
        read_some(m, s, 1000);
}

static void last_scene(struct model *m)
{
    say(m, 'Q', "0 quiet");
    for (int c = 0; c < CHANNELS; c++) {
        publish(m, c, 0);
        publish(m, c, 0);
    }
    for (int s = 0; s < SUBS; s++) {
        read_some(m, s, 1000);
        leave(m, s, "self", "home");
    }
    if (m->trimmed)
        say(m, 'T', "0 short/1 1 %lu trimmed", m->trimmed);
    for (unsigned i = 0; i < m->done; i++) {
        const struct committed *c = &m->committed[i];
        struct line *l;

        if (c->channel == VOLATILE ||
            (c->channel == SHORT && c->offset <= m->trimmed))
            continue;
        l = say(m, 'V', "0 %s e1 %lu %lu %016lx %u %u", channels[c->channel],
                c->seq, c->offset, c->hash, c->publisher, c->number);
        l->channel = c->channel;
        l->committed = (int)i;
    }
    say(m, 'K', "0 gaps_total %u", m->gaps);
}

/* ---- mutations -------------------------------------------------------------------------- */

static bool same_conn(const struct line *a, const struct line *b)
{
    return a->sub == b->sub && a->conn == b->conn;
}

/* The next line, or the one before, of the same connection; of this channel, or
 * any when it is -1. */
static struct line *near(const struct model *m, struct line *l, int dir,
                         int channel)
{
    for (struct line *o = l + dir; o >= m->lines && o < m->lines + m->count;
         o += dir)
        if (!o->gone && same_conn(o, l) &&
            (channel < 0 || o->channel == channel))
            return o;
    return NULL;
}

static bool is(const struct line *l, char kind, const char *word)
{
    return l && l->kind == kind && (!word || strstr(l->text, word));
}

/* A message with numbers, of a channel that keeps all, in the middle of others
 * of its channel on its connection. */
static bool in_the_middle(const struct model *m, struct line *l)
{
    return is(l, 'M', NULL) && l->channel < SHORT && l->sub >= 0 &&
           kinds[l->sub].offsets && is(near(m, l, -1, l->channel), 'M', NULL) &&
           is(near(m, l, 1, l->channel), 'M', NULL);
}

static bool may_swap(const struct model *m, struct line *l)
{
    struct line *next = near(m, l, 1, -1);

    return in_the_middle(m, l) && is(next, 'M', NULL);
}

/* Several of a history that is kept were acknowledged in one channel. */
static bool may_ack(const struct line *l)
{
    return is(l, 'A', NULL) && l->channel == 0 && !strstr(l->text, " d");
}

/* `resumed`, in force, and a message of a channel with history. */
static bool comes_back_to_some(const struct model *m, struct line *l)
{
    for (unsigned i = 0; l && i < 3; i++)
        l = near(m, l, 1, -1);
    return is(l, 'M', NULL) && l->channel != VOLATILE;
}

/* The acknowledgement in front of l, or NULL. */
static struct line *acknowledged_before(const struct model *m, struct line *l)
{
    while (--l >= m->lines)
        if (is(l, 'A', NULL) && !strstr(l->text, " d"))
            return l;
    return NULL;
}

/* Is the line one that the mutation may change? */
static bool fits(const struct model *m, struct line *l, enum mutation which)
{
    switch (which) {
    case MUTATE_SWAP:
        return may_swap(m, l);
    case MUTATE_HIDE_CLOSE:
        return is(l, 'E', NULL);
    case MUTATE_DROP_NOTICE:
    case MUTATE_RANGE:
        return is(l, 'N', "slow") && is(near(m, l, 1, l->channel), 'M', NULL) &&
               is(near(m, l, -1, l->channel), 'M', NULL);
    case MUTATE_LOSE:
    case MUTATE_AGAIN:
        return is(l, 'V', NULL) && l->channel == 0 &&
               m->committed[l->committed].acknowledged;
    case MUTATE_TWICE:
        return may_ack(l) && m->committed[l->committed].offset > 1;
    case MUTATE_CURSOR:
        return is(l, 'S', "e1-") && comes_back_to_some(m, l);
    case MUTATE_DROP_SNAPSHOT:
        return is(l, 'N', "snapshot") &&
               is(near(m, near(m, l, 1, -1), 1, -1), 'M', NULL) &&
               near(m, near(m, l, 1, -1), 1, -1)->channel != VOLATILE;
    case MUTATE_TRIMMED:
        return is(l, 'N', "trimmed");
    case MUTATE_ORDER:
        return may_ack(l) && acknowledged_before(m, l);
    case MUTATE_CLOSE:
        return is(l, 'E', "self leave");
    case MUTATE_LATE:
    case MUTATE_UNREACHED:
        return is(l, 'M', NULL) && l->sub == 1 &&
               l->committed >= (int)m->done - 2 * CHANNELS &&
               !near(m, l, 1, l->channel);
    case MUTATE_COUNTER:
        return is(l, 'K', NULL);
    default:
        return in_the_middle(m, l);
    }
}

/* Puts another word in place of word n (from 0) of the line. */
PRINTF_LIKE(3, 4)
static void put_word(struct line *l, unsigned n, const char *fmt, ...)
{
    char text[sizeof l->text], word[64];
    char *at = l->text, *end;
    va_list args;

    va_start(args, fmt);
    vsnprintf(word, sizeof word, fmt, args);
    va_end(args);
    while (n--)
        at = strchr(at, ' ') + 1;
    end = at + strcspn(at, " ");
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - l->text), l->text, word,
             end);
    memcpy(l->text, text, sizeof text);
}

static uint64_t word_of(const struct line *l, unsigned n)
{
    const char *at = l->text;

    while (n--)
        at = strchr(at, ' ') + 1;
    return strtoull(at, NULL, 10);
}

/* One more line behind l. */
static struct line *insert(struct model *m, struct line *l)
{
    memmove(l + 1, l, (size_t)(m->lines + m->count - l) * sizeof *l);
    m->count++;
    return l + 1;
}

/* A range one longer or shorter, or somewhere else. */
static void forge_range(struct model *m, struct line *l)
{
    uint64_t from = word_of(l, 8), to = word_of(l, 9), count = word_of(l, 10);

    switch (below(m, 3)) {
    case 0:
        put_word(l, 9, "%lu", to + 1);
        break;
    case 1:
        put_word(l, 8, "%lu", from - 1);
        break;
    default:
        put_word(l, 10, "%lu", count + 1);
    }
}

/* Of what nobody said, or of what was refused. */
static void forge_ghost(struct model *m, struct line *l)
{
    struct line *ghost = insert(m, l);

    put_word(ghost, 6, "%lu", m->committed[l->committed].seq + 1);
    put_word(ghost, 7, "%u", 5000);
    put_word(ghost, 9, "%u", 99);
    for (struct line *r = m->lines; below(m, 2) && r < m->lines + m->count; r++)
        if (is(r, 'R', NULL)) {
            put_word(ghost, 9, "%lu", word_of(r, 2));
            put_word(ghost, 10, "%lu", word_of(r, 3));
            break;
        }
}

/* l was acknowledged before the one in front of it was sent. */
static void forge_order(struct model *m, struct line *l)
{
    struct line *o = acknowledged_before(m, l), *i = o;

    while (i->kind != 'I' || word_of(i, 2) != word_of(o, 2) ||
           word_of(i, 3) != word_of(o, 3))
        i--;
    put_word(l, 1, "%lu", word_of(i, 1) - 1);
}

static void swap_lines(struct line *a, struct line *b)
{
    struct line c = *a;

    *a = *b;
    *b = c;
}

static void change(struct model *m, struct line *l, enum mutation which)
{
    struct line *o;

    switch (which) {
    case MUTATE_SWAP: swap_lines(l, near(m, l, 1, -1)); break;
    case MUTATE_DUPLICATE: insert(m, l); break;
    case MUTATE_HASH: put_word(l, 8, "%016lx", below(m, 1u << 30)); break;
    case MUTATE_OFFSET:
        put_word(l, 7, "%lu", word_of(l, 7) + 1 + below(m, 3));
        break;
    case MUTATE_SEQ: put_word(l, 6, "%lu", word_of(l, 6) + 1); break;
    case MUTATE_RANGE: forge_range(m, l); break;
    case MUTATE_GHOST: forge_ghost(m, l); break;
    case MUTATE_TWICE: put_word(l, 6, "%lu", word_of(l, 6) - 1); break;
    case MUTATE_AGAIN:
        o = insert(m, l);
        put_word(o, 5, "%lu", m->seq + 5);
        put_word(o, 6, "%lu", m->offsets[0] + 1);
        break;
    case MUTATE_CURSOR: put_word(l, 4, "e1-%lu", m->seq - 1); break;
    case MUTATE_TRIMMED:
        put_word(l, 9, "%lu", m->offsets[SHORT]);
        put_word(l, 10, "%lu", m->offsets[SHORT] - word_of(l, 8) + 1);
        break;
    case MUTATE_ORDER: forge_order(m, l); break;
    case MUTATE_CLOSE: put_word(l, 4, "peer"), put_word(l, 5, "cut"); break;
    case MUTATE_LATE:
        put_word(l, 1, "%lu", word_of(l, 1) + 60000000000u);
        break;
    case MUTATE_COUNTER: put_word(l, 4, "%u", m->gaps - 1); break;
    default: l->gone = true;
    }
}

static void mutate(struct model *m, enum mutation which)
{
    static int may[LINES_MAX];
    unsigned there = 0;

    for (int i = 0; i < m->count; i++)
        if (fits(m, &m->lines[i], which))
            may[there++] = i;
    CHECK(there > 0);
    change(m, &m->lines[may[below(m, there)]], which);
}

/* ---- names, passes ------------------------------------------------------------------------ */

static const struct {
    const char *name;
    enum check_pass pass;
} rows[MUTATIONS] = {
    [MUTATE_DROP] = { "drop", CHECK_WHOLE },
    [MUTATE_SWAP] = { "swap", CHECK_ORDER },
    [MUTATE_DUPLICATE] = { "duplicate", CHECK_WHOLE },
    [MUTATE_HASH] = { "hash", CHECK_GHOSTS },
    [MUTATE_OFFSET] = { "offset", CHECK_NUMBERS },
    [MUTATE_SEQ] = { "seq", CHECK_NUMBERS },
    [MUTATE_HIDE_CLOSE] = { "hidden close", CHECK_LOG },
    [MUTATE_DROP_NOTICE] = { "deleted notice", CHECK_WHOLE },
    [MUTATE_RANGE] = { "range", CHECK_NOTICES },
    [MUTATE_GHOST] = { "ghost", CHECK_GHOSTS },
    [MUTATE_LOSE] = { "lost", CHECK_ACKS },
    [MUTATE_TWICE] = { "number twice", CHECK_NUMBERS },
    [MUTATE_AGAIN] = { "stored twice", CHECK_ONCE },
    [MUTATE_CURSOR] = { "cursor", CHECK_RESUME },
    [MUTATE_DROP_SNAPSHOT] = { "deleted snapshot", CHECK_NOTICES },
    [MUTATE_TRIMMED] = { "false trimmed", CHECK_NOTICES },
    [MUTATE_ORDER] = { "order", CHECK_ORDER },
    [MUTATE_CLOSE] = { "closed", CHECK_ISOLATION },
    [MUTATE_LATE] = { "late", CHECK_LIVE },
    [MUTATE_UNREACHED] = { "unreached", CHECK_REACH },
    [MUTATE_COUNTER] = { "counter", CHECK_COUNTERS },
};

const char *model_mutation_name(enum mutation m) { return rows[m].name; }
enum check_pass model_mutation_pass(enum mutation m) { return rows[m].pass; }

void model_write(struct buf *out, uint64_t seed, enum mutation mutation,
                 bool dense)
{
    static struct line lines[LINES_MAX];
    struct model m = { .random = seed * 0x9e3779b97f4a7c15u | 1,
                       .now = 1000000, .seq = 1, .dense = dense,
                       .lines = lines };

    for (int i = 0; i < 8; i++)
        below(&m, 2);
    m.edges_fall = mutation != MUTATE_CLOSE && mutation != MUTATE_COUNTER &&
                   below(&m, 2);
    come(&m, 0);
    publish(&m, 0, 0);
    read_some(&m, 0, 1);
    for (unsigned i = 0; i < STEPS; i++)
        step(&m);
    scenes(&m);
    last_scene(&m);
    if (mutation != MUTATIONS)
        mutate(&m, mutation);
    for (int i = 0; i < m.count; i++)
        if (!m.lines[i].gone)
            buf_add_str(out, m.lines[i].text), buf_add_byte(out, '\n');
}
