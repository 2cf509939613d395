#include "tests/chaos/model.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/chaos/event.h"
#include "tests/chaos/payload.h"

#define GAME "match/h1-v1-2026-06-01"
enum { CHANNELS = 8, POWER = 2, SHORT = 3, VOLATILE = 4, NEWS = 5, MATCH = 6,
       NEWS_TOO = 7, SUBS = 9, TELNET = 5, SLOW = 6, SLOW_PATTERN = 7,
       SLOW_BOTH = 8, KEPT = 6, LINES_MAX = 9000, COMMITTED_MAX = 800,
       STEPS = 90 };

static const char *const channels[CHANNELS] = { "plain/1", "plain/2", "power/1",
                                                "short/1", "volatile/1",
                                                "news/1", GAME, "news/2" };

/* What each subscriber is: its form, what it listens to, as words and as bits. */
static const struct {
    const char *edge, *form, *items;
    unsigned mask;
    bool cursors, offsets, slow;
} kinds[SUBS] = {
    { "http", "ndjson", "plain/1,power/1", 1 | 4, true, true, true },
    { "http", "sse", "plain/*", 1 | 2, true, true, false },
    { "http", "ndjson", "short/1,plain/2", 8 | 2, true, true, false },
    { "ws", "ws", "volatile/1,plain/1", 16 | 1, true, true, false },
    { "http", "test", "plain/1", 1, false, false, false },
    [TELNET] = { "tcp", "telnet", "**", 255, true, false, false },
    [SLOW] = { "http", "ndjson", "news/1," GAME, 32 | 64, true, true, true },
    [SLOW_PATTERN] = { "ws", "ws", "match/*", 64, true, true, true },
    [SLOW_BOTH] = { "http", "ndjson", "news/*,news/1", 32 | 128, true, true,
                    true },
};

struct line {
    char text[250];
    char kind;
    bool gone;
    bool scene; /* made where nobody leaves any more, but to go home */
    int gap;    /* of a message that came behind one: its line; or -1 */
    int sub, channel;
    unsigned conn;
    int committed; /* of a message, an acknowledgement, a stored one */
};

struct committed {
    int channel;
    uint64_t seq, offset, hash;
    unsigned publisher, number;
    bool acknowledged, retracted;
    char key[4], event[32];
};

struct reader {
    bool open;
    unsigned conn;
    unsigned at;    /* the next of committed */
    uint64_t seq;   /* its cursor */
    uint64_t skip[CHANNELS]; /* up to there it has been told that they are missing */
    bool left[COMMITTED_MAX]; /* what it does without */
    int gap[CHANNELS]; /* that was told, while what was due then comes; or -1 */
};

struct model {
    uint64_t random;
    int64_t now;
    struct line *lines;
    int count;
    struct committed committed[COMMITTED_MAX];
    unsigned done;
    uint64_t seq, offsets[CHANNELS], trimmed;
    unsigned numbers[4], faults, gaps, players;
    bool edges_fall, dense, scene;
    char key[4], event[32]; /* of the publication that is being made */
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
    *l = (struct line){ .kind = kind, .sub = -1, .channel = -1, .gap = -1,
                        .committed = -1, .scene = m->scene };
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

    payload_write(&text, publisher, number, slice_str(channels[channel]),
                  SLICE(""), 40);
    hash = payload_hash(buf_slice(&text));
    buf_fini(&text);
    return hash;
}

static void invoke(struct model *m, unsigned publisher, unsigned number,
                   int channel)
{
    say(m, 'I', "%u %u %s %s %016lx %s %s", publisher, number,
        channels[channel],
        channel == VOLATILE ? "memory" : channel == POWER ? "power" : "process",
        hash_of(publisher, number, channel), m->key[0] ? m->key : "-",
        m->event[0] ? m->event : "-");
}

static void retract(struct model *m, uint64_t offset)
{
    for (unsigned i = 0; i < m->done; i++)
        if (m->committed[i].channel == MATCH &&
            m->committed[i].offset == offset)
            m->committed[i].retracted = true;
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
    strcpy(m->committed[m->done].key, m->key);
    strcpy(m->committed[m->done].event, m->event);
    if (strncmp(m->event, "retract.", 8) == 0)
        retract(m, strtoull(m->event + 8, NULL, 10));
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

/* The last goal that still counts, or NULL. */
static const struct committed *last_goal(const struct model *m)
{
    for (unsigned i = m->done; i-- > 0;)
        if (strstr(m->committed[i].event, "goal") && !m->committed[i].retracted)
            return &m->committed[i];
    return NULL;
}

static void choose_event(struct model *m)
{
    const struct committed *goal = last_goal(m);
    char side = below(m, 2) ? 'v' : 'h';
    unsigned n = 1 + m->players % 10;

    if (m->offsets[MATCH] < 2) {
        strcpy(m->event, m->offsets[MATCH] ? "start" : "create");
        return;
    }
    switch (below(m, m->scene ? 7 : 8)) {
    case 0: case 1:
        snprintf(m->event, sizeof m->event, "%c.goal", side);
        break;
    case 2:
        snprintf(m->event, sizeof m->event, "h.card.%u.yellow", n);
        m->players++;
        break;
    case 3:
        snprintf(m->event, sizeof m->event, "v.substitution.%u.%u", n,
                 12 + n % 20);
        m->players++;
        break;
    case 4:
        strcpy(m->event, "status");
        break;
    case 7:
        if (goal) {
            snprintf(m->event, sizeof m->event, "retract.%lu", goal->offset);
            break;
        }
        /* fall through */
    default:
        snprintf(m->event, sizeof m->event, "%c.corner", side);
    }
}

/* What it is beside a text: a key, or an event. */
static void choose_sort(struct model *m, int channel)
{
    static const char *const keys[] = { "", "k1", "k2", "k1", "k2" };

    m->key[0] = m->event[0] = '\0';
    if (channel == NEWS || channel == NEWS_TOO)
        strcpy(m->key, keys[below(m, ARRAY_LEN(keys))]);
    else if (channel == MATCH)
        choose_event(m);
}

/* fate: 0 to 5 acknowledged; 6 refused; 7 unknown, and it happened; 8 unknown,
 * and not; 9 unknown, and again with its key. */
static void publish(struct model *m, int channel, unsigned fate)
{
    unsigned publisher = 1 + (unsigned)below(m, 3);
    unsigned number = ++m->numbers[publisher];

    choose_sort(m, channel);
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

/* How the match stands at that seq. all: what was retracted counts. */
static void stands(const struct model *m, uint64_t seq, bool all,
                   char ret[STATE_WORD_MAX + 1])
{
    struct standing s = { .there = false };
    const struct committed *c;

    for (unsigned i = 0; i < m->done && m->committed[i].seq <= seq; i++) {
        bool undone = false;

        c = &m->committed[i];
        for (unsigned k = i; k < m->done && m->committed[k].seq <= seq; k++)
            undone |= strncmp(m->committed[k].event, "retract.", 8) == 0 &&
                      strtoull(m->committed[k].event + 8, NULL, 10) ==
                          c->offset;
        if (c->channel == MATCH && (!undone || all))
            standing_fold(&s, slice_str(c->event), c->publisher, c->number);
    }
    standing_word(&s, ret);
}

static void say_state(struct model *m, int sub)
{
    struct reader *r = &m->readers[sub];
    char word[STATE_WORD_MAX + 1];
    struct line *l;

    stands(m, r->seq, false, word);
    l = say(m, 'P', "%u %u " GAME " e1 %lu %s", sub + 1, r->conn, r->seq, word);
    say_of(m, sub, l);
    l->gap = r->gap[MATCH];
}

static void say_snapshot(struct model *m, int sub)
{
    struct reader *r = &m->readers[sub];

    say_of(m, sub, say(m, 'N', "%u %u snapshot " GAME " e1 %lu - - - -",
                       sub + 1, r->conn, r->seq));
    say_state(m, sub);
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
    l->gap = r->gap[c->channel];
    r->seq = c->seq;
    if (sub == SLOW && strncmp(c->event, "retract", 7) == 0)
        say_snapshot(m, sub);
}

/* Up to n of what is due; it passes what it has been told is missing. */
static void read_some(struct model *m, int sub, unsigned n)
{
    struct reader *r = &m->readers[sub];

    for (; r->open && r->at < m->done && n; r->at++) {
        if (!wants(m, sub, &m->committed[r->at]) || r->left[r->at])
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
    l->committed = -1;
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

static void forget_gaps(struct reader *r)
{
    for (int c = 0; c < CHANNELS; c++)
        r->gap[c] = -1;
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
    if (kinds[sub].slow)
        say_of(m, sub, say(m, 'H', "%u %u little", sub + 1, r->conn));
    forget_gaps(r);
    memset(r->left, 0, sizeof r->left);
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
    if (sub == SLOW && !since)
        say_state(m, sub);
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
        say_unsure(m, sub, sub == TELNET ? "**" : "volatile/1");
}

static void leave(struct model *m, int sub, const char *who, const char *why)
{
    say_of(m, sub, say(m, 'E', "%u %u %s %s", sub + 1, m->readers[sub].conn,
                       who, why));
    m->readers[sub].open = false;
}

/* It reads too slowly: of one channel the next n are passed by, and told. */
static void fall_behind(struct model *m, int sub, int channel, unsigned n)
{
    struct reader *r = &m->readers[sub];
    const struct committed *first = next_of(m, sub, channel), *c;
    uint64_t last = 0;

    while (first && n--) {
        c = next_of(m, sub, channel);
        if (!c)
            break;
        last = c->offset;
        r->skip[channel] = c->seq;
    }
    if (first)
        say_gap(m, sub, channel, first->offset, last, "slow");
}

/* Is there a newer one among what is due that says all that i says? */
static bool is_superseded(const struct model *m, unsigned i)
{
    const struct committed *c = &m->committed[i];
    enum event_weight w = event_weight(slice_str(c->event));

    if (c->event[0] && w != EVENT_STATE)
        return w == EVENT_LESSER;
    if (!c->event[0] && !c->key[0])
        return false;
    for (unsigned k = i + 1; k < m->done; k++) {
        const struct committed *o = &m->committed[k];

        if (o->channel == c->channel &&
            (c->event[0] ? event_weight(slice_str(o->event)) == EVENT_STATE
                         : strcmp(o->key, c->key) == 0))
            return true;
    }
    return false;
}

/* The pattern that is told instead of the channel, or NULL. */
static const char *pattern_of(int sub, int channel)
{
    if (sub == SLOW_PATTERN)
        return "match/*";
    return sub == SLOW_BOTH && channel != NEWS ? "news/*" : NULL;
}

static void say_thinned(struct model *m, int sub, int channel, uint64_t from,
                        uint64_t to, uint64_t count)
{
    const struct reader *r = &m->readers[sub];
    struct line *l = say(m, 'N', "%u %u gap %s e1 %lu %lu %lu %lu conflated",
                         sub + 1, r->conn, channels[channel], r->seq, from, to,
                         count);

    say_of(m, sub, l)->channel = channel;
    m->gaps++;
}

/* Of one channel: what may be left out is, and one gap tells it; or two, of which
 * the second tells of one in the middle that was kept at first. Returns whether
 * there was a state among it. */
static bool thin(struct model *m, int sub, int channel)
{
    struct reader *r = &m->readers[sub];
    const char *pattern = pattern_of(sub, channel);
    uint64_t from = 0, to = 0, middle = 0, count = 0;
    bool state = false;
    struct line *l;

    for (unsigned i = r->at; i < m->done; i++) {
        const struct committed *c = &m->committed[i];

        if (c->channel != channel || !wants(m, sub, c) || !is_superseded(m, i))
            continue;
        r->left[i] = true;
        from = from ? from : c->offset;
        middle = count == 1 ? c->offset : middle;
        to = c->offset;
        count++;
        state |= c->event[0] &&
                 event_weight(slice_str(c->event)) == EVENT_STATE;
    }
    if (!count)
        return false;
    r->gap[channel] = m->count;
    if (pattern) {
        l = say(m, 'N', "%u %u gap %s e1 %lu - - %lu conflated", sub + 1,
                r->conn, pattern, r->seq, count);
        say_of(m, sub, l)->channel = channel;
        m->gaps++;
    } else if (count > 2 && (m->scene || below(m, 2))) {
        say_thinned(m, sub, channel, from, to, count - 1);
        say_thinned(m, sub, channel, middle, middle, 1);
    } else {
        say_thinned(m, sub, channel, from, to, count);
    }
    return state;
}

/* It reads too slowly, and the policy is to conflate. Perhaps it leaves before all
 * that a gap tells of has passed. */
static void conflate(struct model *m, int sub)
{
    struct reader *r = &m->readers[sub];
    bool state, leaves = sub == SLOW_BOTH && !m->scene && below(m, 2);

    if (sub != SLOW_PATTERN)
        thin(m, sub, NEWS);
    state = thin(m, sub, sub == SLOW_BOTH ? NEWS_TOO : MATCH);
    read_some(m, sub, leaves ? 1 + (unsigned)below(m, 3) : 1000);
    if (state && sub == SLOW)
        say_snapshot(m, sub);
    forget_gaps(r);
    if (leaves)
        leave(m, sub, "self", "leave");
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
            say_unsure(m, s, s == TELNET ? "**" : "volatile/1");
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
            fall_behind(m, 0, 0, 1 + (unsigned)below(m, 3));
        break;
    case 4:
        sub = SLOW + (int)below(m, 3);
        if (m->readers[sub].open)
            conflate(m, sub);
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

/* It leaves behind a gap, before more of that channel comes. */
static void leave_in_gap(struct model *m, int sub)
{
    read_some(m, sub, 1000);
    publish(m, 0, 0);
    publish(m, 0, 0);
    publish(m, POWER, 0);
    fall_behind(m, sub, 0, 2);
    read_some(m, sub, 1000);
    leave(m, sub, "self", "leave");
    come_back(m, sub);
    read_some(m, sub, 1000);
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
    fall_behind(m, 0, 0, 1 + (unsigned)below(m, 3));
    publish(m, 0, 0);
    publish(m, POWER, 6);
    publish(m, 1, 7);
    read_some(m, 0, 1000);
    read_some(m, 2, 1000);
    leave(m, 0, "self", "leave");
    publish(m, 0, 0);
    publish(m, 0, 0);
    come_back(m, 0);
    leave_in_gap(m, 0);
    leave(m, 2, "self", "leave");
    for (unsigned i = 0; i < KEPT + 4; i++)
        publish(m, SHORT, 0);
    publish(m, 1, 0);
    publish(m, 1, 0);
    come_back(m, 2);
    for (int s = 0; s < SUBS; s++)
        read_some(m, s, 1000);
}

/* One of each sort, as the choices of the scene need. */
static void publish_as(struct model *m, int channel, const char *key,
                       const char *event)
{
    unsigned number = ++m->numbers[1];

    strcpy(m->key, key);
    strcpy(m->event, event);
    invoke(m, 1, number, channel);
    acknowledge(m, commit(m, 1, number, channel), false);
}

/* A match and news for slow readers, with something of every weight, and a
 * newcomer to a match of which something was retracted. */
static void slow_scene(struct model *m)
{
    static const char *const events[] = { "h.corner", "h.goal", "status",
        "v.corner", "v.card.11.yellow", "v.goal", "status", "h.corner",
        "h.substitution.11.40" };
    static const char *const keys[] = { "k1", "", "k2", "k1", "", "k2" };
    char undo[32];

    while (m->offsets[MATCH] < 2)
        publish(m, MATCH, 0);
    leave(m, SLOW, "self", "leave");
    publish_as(m, MATCH, "", "h.goal");
    snprintf(undo, sizeof undo, "retract.%lu", m->offsets[MATCH]);
    publish_as(m, MATCH, "", undo);
    m->readers[SLOW].seq = 0;
    come(m, SLOW);
    m->scene = true;
    for (int s = 0; s < SUBS; s++)
        read_some(m, s, 1000);
    for (unsigned i = 0; i < ARRAY_LEN(events); i++)
        publish_as(m, MATCH, "", events[i]);
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++)
        publish_as(m, NEWS, keys[i], "");
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++)
        publish_as(m, NEWS_TOO, keys[i], "");
    conflate(m, SLOW);
    conflate(m, SLOW_PATTERN);
    conflate(m, SLOW_BOTH);
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

static uint64_t word_of(const struct line *l, unsigned n)
{
    const char *at = l->text;

    while (n--)
        at = strchr(at, ' ') + 1;
    return strtoull(at, NULL, 10);
}

static bool other_word(const struct line *l, const char *word, char *ret)
{
    if (ret)
        strcpy(ret, word);
    return strcmp(strrchr(l->text, ' ') + 1, word) != 0;
}

/* The state of an earlier moment, if it was another then. ret: STATE_WORD_MAX
 * + 1 bytes, or NULL. */
static bool stale_state(const struct model *m, const struct line *l, char *ret)
{
    char word[STATE_WORD_MAX + 1];

    for (unsigned i = m->done; i-- > 0;) {
        if (m->committed[i].seq >= word_of(l, 6))
            continue;
        stands(m, m->committed[i].seq, false, word);
        if (other_word(l, word, ret))
            return true;
    }
    return false;
}

static bool unretracted_state(const struct model *m, const struct line *l,
                              char *ret)
{
    char word[STATE_WORD_MAX + 1];

    stands(m, word_of(l, 6), true, word);
    return other_word(l, word, ret);
}

/* A message that came behind a gap, of a sort that may not be left out. */
static bool came_behind_gap(const struct model *m, const struct line *l,
                            enum mutation which)
{
    const struct committed *c;

    if (!is(l, 'M', NULL) || !l->scene || l->gap < 0 || l->sub != SLOW)
        return false;
    c = &m->committed[l->committed];
    if (c->channel != m->lines[l->gap].channel)
        return false;
    if (which == MUTATE_KEPT)
        return c->event[0] && event_weight(slice_str(c->event)) == EVENT_KEPT;
    return !c->event[0] && (which == MUTATE_NEWEST) == (c->key[0] != '\0');
}

/* Somebody on this connection is told to be slow. */
static bool is_told(const struct model *m, struct line *l)
{
    for (struct line *o = near(m, l, 1, -1); o; o = near(m, o, 1, -1))
        if (is(o, 'N', "conflated") || is(o, 'N', "slow"))
            return true;
    return false;
}

/* The gap in front of l, of the same channel, with another right behind it. */
static bool is_second_gap(const struct model *m, const struct line *l)
{
    return is(l, 'N', "conflated") && l->scene && l->sub == SLOW &&
           l > m->lines && is(l - 1, 'N', "conflated") &&
           l[-1].channel == l->channel;
}

/* The first message behind the second gap l whose offset the first one spans, or
 * NULL. */
static struct line *spanned(const struct model *m, struct line *l)
{
    struct line *o = near(m, l, 1, l->channel);

    return is(o, 'M', NULL) &&
                   m->committed[o->committed].offset > word_of(l - 1, 8) &&
                   m->committed[o->committed].offset < word_of(l - 1, 9)
               ? o : NULL;
}

/* The committed one of that channel and offset, without a new life. */
static unsigned committed_at(const struct model *m, int channel,
                             uint64_t offset)
{
    unsigned i = 0;

    while (m->committed[i].channel != channel ||
           m->committed[i].offset != offset)
        i++;
    return i;
}

/* Behind the gap l comes one of another channel that passes all that it tells of,
 * and then it leaves. */
static bool leaves_in(const struct model *m, struct line *l)
{
    struct line *o = near(m, l, 1, -1);

    return is(o, 'M', NULL) && o->channel == POWER &&
           o->committed > (int)committed_at(m, l->channel, word_of(l, 9)) &&
           is(near(m, o, 1, -1), 'E', "leave");
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
        return is(l, 'N', "snapshot") && is(near(m, l, 1, -1), 'B', NULL) &&
               is(near(m, near(m, l, 1, -1), 1, -1), 'M', NULL) &&
               near(m, near(m, l, 1, -1), 1, -1)->channel != VOLATILE;
    case MUTATE_TRIMMED:
        return is(l, 'N', "trimmed");
    case MUTATE_ORDER:
        return may_ack(l) && acknowledged_before(m, l);
    case MUTATE_CLOSE:
        return is(l, 'E', "self leave") && !kinds[l->sub].slow;
    case MUTATE_LATE:
    case MUTATE_UNREACHED:
        return is(l, 'M', NULL) && l->sub == 1 &&
               l->committed >= (int)m->done - 2 * CHANNELS &&
               !near(m, l, 1, l->channel);
    case MUTATE_COUNTER:
        return is(l, 'K', NULL);
    case MUTATE_SCORE:
        return is(l, 'P', "first");
    case MUTATE_STALE:
        return is(l, 'P', "first") && stale_state(m, l, NULL);
    case MUTATE_RETRACTED:
        return is(l, 'P', "first") && unretracted_state(m, l, NULL);
    case MUTATE_NO_STATE:
        return is(l, 'P', NULL) && l->scene && l->gap >= 0;
    case MUTATE_KEPT:
    case MUTATE_KEYLESS:
    case MUTATE_NEWEST:
        return came_behind_gap(m, l, which);
    case MUTATE_CUT:
        return is(l, 'C', "plain");
    case MUTATE_CONFLATED: /* what a second one says too much the first one did */
        return is(l, 'N', "conflated") && l->scene && l->sub == SLOW &&
               !is(l - 1, 'N', "conflated");
    case MUTATE_TOLD_TWICE:
        return is(l, 'N', "conflated") && l->scene && l->sub == SLOW;
    case MUTATE_PATTERN:
        return is(l, 'N', "conflated") && l->scene && l->sub == SLOW_PATTERN;
    case MUTATE_READS:
        return is(l, 'H', NULL) && is_told(m, l);
    case MUTATE_COMES:
        return is_second_gap(m, l);
    case MUTATE_CAME:
        return is_second_gap(m, l) && spanned(m, l);
    case MUTATE_SHORT:
        return is(l, 'N', "slow") && word_of(l, 10) == 2 && leaves_in(m, l);
    default:
        return in_the_middle(m, l);
    }
}

/* Puts another word in place of word n (from 0) of the line. */
PRINTF_LIKE(3, 4)
static void put_word(struct line *l, unsigned n, const char *fmt, ...)
{
    char text[sizeof l->text], word[STATE_WORD_MAX + 1];
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
        if (from > 1) { /* 0 is no offset: it would tell nothing */
            put_word(l, 8, "%lu", from - 1);
            break;
        }
        /* fall through */
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

/* The gap in front of l tells it, too, and l does not come. */
static void leave_out(struct model *m, struct line *l)
{
    const struct committed *c = &m->committed[l->committed];
    struct line *gap = &m->lines[l->gap];

    put_word(gap, 8, "%lu", MIN(word_of(gap, 8), c->offset));
    put_word(gap, 9, "%lu", MAX(word_of(gap, 9), c->offset));
    put_word(gap, 10, "%lu", word_of(gap, 10) + 1);
    l->gone = true;
}

static void swap_lines(struct line *a, struct line *b)
{
    struct line c = *a;

    *a = *b;
    *b = c;
}

/* What the second gap l tells comes all the same, and is in no count. */
static void let_come(struct model *m, struct line *l)
{
    uint64_t offset = word_of(l, 8);
    struct line *next = near(m, l, 1, -1), *o;
    unsigned i = committed_at(m, l->channel, offset);

    put_word(l - 1, 10, "%lu", word_of(l - 1, 10) - 1);
    while (is(next, 'M', NULL) && next->committed < (int)i)
        next = near(m, next, 1, -1);
    o = insert(m, next - 1);
    *o = (struct line){ .kind = 'M', .sub = l->sub, .conn = l->conn };
    snprintf(o->text, sizeof o->text, "M %lu %d %u %s e1 %lu %lu %016lx %u %u -",
             word_of(next - 1, 1), l->sub + 1, l->conn, channels[l->channel],
             m->committed[i].seq, offset, m->committed[i].hash,
             m->committed[i].publisher, m->committed[i].number);
}

/* The second gap l comes behind a message, and tells of that. */
static void tell_of_what_came(struct model *m, struct line *l)
{
    struct line *came = spanned(m, l), gap = *l;
    uint64_t offset = m->committed[came->committed].offset;

    put_word(&gap, 1, "%lu", word_of(came, 1));
    put_word(&gap, 7, "%lu", m->committed[came->committed].seq);
    put_word(&gap, 8, "%lu", offset);
    put_word(&gap, 9, "%lu", offset);
    *insert(m, came) = gap;
    l->gone = true;
}

static void change(struct model *m, struct line *l, enum mutation which)
{
    char word[STATE_WORD_MAX + 1];
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
    case MUTATE_SCORE:
        put_word(l, 7, "%.*s:9%s", (int)strcspn(strstr(l->text, "first"), ":"),
                 strstr(l->text, "first"), strchr(strstr(l->text, "first"), ':') + 1);
        break;
    case MUTATE_STALE:
        stale_state(m, l, word);
        put_word(l, 7, "%s", word);
        break;
    case MUTATE_RETRACTED:
        unretracted_state(m, l, word);
        put_word(l, 7, "%s", word);
        break;
    case MUTATE_KEPT:
    case MUTATE_KEYLESS:
    case MUTATE_NEWEST: leave_out(m, l); break;
    case MUTATE_CUT: put_word(l, 4, "cut"); break;
    case MUTATE_CONFLATED: forge_range(m, l); break;
    case MUTATE_TOLD_TWICE: insert(m, l); break;
    case MUTATE_PATTERN:
        put_word(l, 10, "%lu", word_of(l, 10) + 1 - 2 * below(m, 2));
        break;
    case MUTATE_COMES: let_come(m, l); break;
    case MUTATE_CAME: tell_of_what_came(m, l); break;
    case MUTATE_SHORT:
        put_word(l, 9, "%lu", word_of(l, 9) - 1);
        put_word(l, 10, "%u", 1);
        break;
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
    if (!there)
        fprintf(stderr, "no place for %d\n", (int)which);
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
    [MUTATE_SCORE] = { "score", CHECK_STATE },
    [MUTATE_STALE] = { "stale state", CHECK_STATE },
    [MUTATE_RETRACTED] = { "retracted", CHECK_STATE },
    [MUTATE_NO_STATE] = { "deleted state", CHECK_STATE },
    [MUTATE_KEPT] = { "kept", CHECK_KEPT },
    [MUTATE_KEYLESS] = { "keyless", CHECK_KEPT },
    [MUTATE_NEWEST] = { "newest", CHECK_KEPT },
    [MUTATE_CUT] = { "cut channel", CHECK_KEPT },
    [MUTATE_CONFLATED] = { "conflated range", CHECK_NOTICES },
    [MUTATE_TOLD_TWICE] = { "told twice", CHECK_NOTICES },
    [MUTATE_PATTERN] = { "pattern's count", CHECK_NOTICES },
    [MUTATE_READS] = { "slow who reads", CHECK_ISOLATION },
    [MUTATE_COMES] = { "left out, and comes", CHECK_NOTICES },
    [MUTATE_CAME] = { "left out, and came", CHECK_NOTICES },
    [MUTATE_SHORT] = { "left in a gap", CHECK_CURSOR },
};

const char *model_mutation_name(enum mutation m) { return rows[m].name; }
enum check_pass model_mutation_pass(enum mutation m) { return rows[m].pass; }

/* What is right. quiet: no edge dies. */
static void tell_story(struct model *m, uint64_t seed, bool quiet, bool dense,
                       struct line *lines)
{
    *m = (struct model){ .random = seed * 0x9e3779b97f4a7c15u | 1,
                         .now = 1000000, .seq = 1, .dense = dense,
                         .lines = lines };
    for (int i = 0; i < 8; i++)
        below(m, 2);
    m->edges_fall = !quiet && below(m, 2);
    say(m, 'C', "0 plain drop-oldest");
    say(m, 'C', "0 news conflate");
    say(m, 'C', "0 match conflate");
    come(m, 0);
    publish(m, 0, 0);
    read_some(m, 0, 1);
    for (unsigned i = 0; i < STEPS; i++)
        step(m);
    scenes(m);
    slow_scene(m);
    last_scene(m);
}

void model_write(struct buf *out, uint64_t seed, enum mutation mutation,
                 bool dense)
{
    static struct line right[LINES_MAX], lines[LINES_MAX];
    static struct { /* the story told last, which serves several mutations */
        uint64_t seed;
        bool told, quiet, dense;
        struct model model;
    } last;
    bool quiet = mutation == MUTATE_CLOSE || mutation == MUTATE_COUNTER;
    struct model m;

    if (!last.told || last.seed != seed || last.quiet != quiet ||
        last.dense != dense)
        tell_story(&last.model, seed, quiet, dense, right);
    last.told = true;
    last.seed = seed;
    last.quiet = quiet;
    last.dense = dense;
    m = last.model;
    memcpy(lines, right, (size_t)m.count * sizeof *lines);
    m.lines = lines;
    if (mutation != MUTATIONS)
        mutate(&m, mutation);
    for (int i = 0; i < m.count; i++)
        if (!m.lines[i].gone)
            buf_add_str(out, m.lines[i].text), buf_add_byte(out, '\n');
}
