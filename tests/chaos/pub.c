#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "proto/json.h"
#include "tests/chaos/crowd.h"
#include "tests/chaos/payload.h"

static const struct {
    const char *name;
    enum edge edge;
    enum wire_form wire;
} forms[PUB_FORMS] = {
    [PUB_POST] = { "post", EDGE_HTTP, WIRE_HTTP },
    [PUB_BATCH] = { "batch", EDGE_HTTP, WIRE_HTTP },
    [PUB_WS] = { "ws", EDGE_WS, WIRE_FRAMES },
    [PUB_RAW] = { "raw", EDGE_WS, WIRE_FRAMES },
    [PUB_TELNET] = { "telnet", EDGE_TCP, WIRE_TELNET },
    [PUB_REPORT] = { "report", EDGE_HTTP, WIRE_HTTP },
};

enum { LINE_ROOM = 3000, ANSWER_SECONDS = 20, BATCH_MAX = 5 };

static struct slice name_of(const struct crowd *c, unsigned channel)
{
    return slice_str(c->channels[channel].name);
}

static bool is_team(const struct crowd *c, unsigned channel)
{
    return event_is_team(name_of(c, channel));
}

/* Teams are their reporter's. Raw frames are no events. */
static uint16_t choose_channel(struct crowd *c, enum pub_form form)
{
    uint16_t channel;

    do {
        channel = (uint16_t)crowd_below(c, c->channel_count);
    } while (is_team(c, channel) ||
             (form == PUB_RAW && event_is_match(name_of(c, channel))));
    return channel;
}

void pub_init(struct crowd *c, struct pub *p, uint32_t number,
              enum pub_form form)
{
    *p = (struct pub){ .number = number, .next = 1, .form = form };
    p->peer.pieces = c->options->pieces;
    if (form != PUB_REPORT) {
        p->channel = choose_channel(c, form);
        return;
    }
    p->match = calloc(1, sizeof *p->match);
    if (p->match)
        p->match->k = ++c->report_count + c->process * 1000;
}

/* ---- what it says -------------------------------------------------------------- */

/* Chance that follows from the number, so that what is sent again is the same. */
static uint64_t chance_of(const struct pub *p, uint32_t number)
{
    uint64_t x = ((uint64_t)p->number << 32 | number) * 0xd1342543de82ef95u;

    return (x ^ x >> 29) * 0x2545f4914f6cdd1du >> 20;
}

/* What anybody may say of a match that is under way. */
static void shout(struct pub *p, struct publication *m)
{
    static const char *const kinds[] = { "goal", "goal", "shot", "save",
        "corner", "goalkick", "offside", "foul", "freekick", "throwin" };
    uint64_t x = chance_of(p, m->number);

    snprintf(m->event, sizeof m->event, "%c.%s", x & 1 ? 'v' : 'h',
             kinds[(x >> 1) % ARRAY_LEN(kinds)]);
}

/* A player of these, or -1. */
static int pick(struct crowd *c, uint64_t of)
{
    unsigned from = (unsigned)crowd_below(c, PLAYERS);

    for (unsigned i = 0; i < PLAYERS; i++) {
        unsigned n = 1 + (from + i) % PLAYERS;

        if (of >> n & 1)
            return (int)n;
    }
    return -1;
}

static void show_card(struct crowd *c, struct publication *m,
                      const struct standing *s, int side)
{
    bool enough = __builtin_popcountll(s->pitch[side]) > 7;
    int who = pick(c, enough ? s->pitch[side]
                             : s->pitch[side] & ~s->booked[side]);

    if (who > 0)
        snprintf(m->event, sizeof m->event, "%c.card.%d.%s", "hv"[side], who,
                 enough && crowd_chance(c, 0.2) ? "red" : "yellow");
}

static void substitute(struct crowd *c, struct publication *m,
                       const struct standing *s, int side)
{
    uint64_t all = ((UINT64_C(1) << PLAYERS) - 1) << 1;
    int out = pick(c, s->pitch[side]);
    int in = pick(c, all & ~s->pitch[side] & ~s->off[side]);

    if (out > 0 && in > 0)
        snprintf(m->event, sizeof m->event, "%c.substitution.%d.%d",
                 "hv"[side], out, in);
}

/* The next period, if there is one. */
static const char *next_period(const struct standing *s)
{
    static const char *const next[] = { "start", "halftime_start",
        "halftime_stop", "extratime", "halftime_start", "halftime_stop" };

    return s->period < ARRAY_LEN(next) ? next[s->period] : "status";
}

/* What a reporter says next, who knows how the match stands. */
static void report(struct crowd *c, struct pub *p, struct publication *m)
{
    struct match *t = p->match;
    const struct standing *s = &t->standing;
    bool rest = s->period == 2 || s->period == 5;
    int side = (int)crowd_below(c, 2);

    strcpy(m->event, "status");
    switch (crowd_below(c, 12)) {
    case 0:
        strcpy(m->event, next_period(s));
        break;
    case 1: case 2:
        show_card(c, m, s, side);
        break;
    case 3: case 4:
        substitute(c, m, s, side);
        break;
    case 5: case 6:
        break;
    case 7:
        if (t->goal)
            snprintf(m->event, sizeof m->event, "retract.%lu", t->goal);
        break;
    default:
        if (!rest)
            snprintf(m->event, sizeof m->event, "%c.goal", "hv"[side]);
    }
    if (rest && crowd_chance(c, 0.3))
        strcpy(m->event, next_period(s));
    if (s->period == 0)
        strcpy(m->event, "start");
}

/* Both teams, the match, and then what happens in it. */
static void say_next(struct crowd *c, struct pub *p, struct publication *m)
{
    struct match *t = p->match;
    char name[48];
    bool team = t->founded < 2 || (t->founded == 3 && crowd_chance(c, 0.05));
    int channel;

    if (team)
        snprintf(name, sizeof name, "team/%c%u",
                 (t->founded < 2 ? t->founded : crowd_below(c, 2)) ? 'v' : 'h',
                 t->k);
    else
        snprintf(name, sizeof name, "match/h%u-v%u-2026-06-01", t->k, t->k);
    channel = crowd_channel(c, slice_str(name));
    m->channel = (uint16_t)MAX(channel, 0);
    if (team)
        strcpy(m->event, "team");
    else if (t->founded < 3)
        strcpy(m->event, "create");
    else
        report(c, p, m);
}

/* It is so. */
static void happened(struct pub *p, const struct publication *m,
                     uint64_t offset)
{
    struct match *t = p->match;
    struct slice word = slice_str(m->event);

    if (!t)
        return;
    if (slice_eq(word, SLICE("team")) || slice_eq(word, SLICE("create")))
        t->founded += t->founded < 3;
    if (slice_starts(word, SLICE("retract")))
        t->goal = 0;
    if (slice_ends(word, SLICE("goal")))
        t->goal = offset;
    standing_fold(&t->standing, word, p->number, m->number);
}

/* Follows from the number. */
static unsigned size_of(const struct crowd *c, const struct pub *p,
                        const struct publication *m)
{
    const struct options *o = c->options;
    uint64_t x = ((uint64_t)p->number << 32 | m->number) * 0xd1342543de82ef95u;
    unsigned span = o->size_max - o->size_min + 1, size;

    /* Small ones mostly: the square of a fraction. */
    x >>= 40;
    size = o->size_min + (unsigned)(x * x % (1u << 24) * span >> 24);
    if (m->event[0])
        return MIN(size, is_team(c, m->channel) ? (unsigned)TEAM_TEXT_MAX
                                                : (unsigned)EVENT_TEXT_MAX);
    return p->form == PUB_TELNET ? MIN(size, (unsigned)LINE_ROOM) : size;
}

static const struct space *space_of(const struct crowd *c,
                                    const struct publication *m)
{
    return &c->options->spaces[c->channels[m->channel].space];
}

/* Idempotency needs a store, and a form that has a place for a key. */
static bool has_key(const struct crowd *c, const struct pub *p,
                    const struct publication *m)
{
    return c->options->keys && p->form != PUB_RAW && p->form != PUB_TELNET &&
           strcmp(space_of(c, m)->level, "memory") != 0;
}

/* The conflation key: one of three, or, seldom, none. */
static const char *conflation_key(const struct crowd *c, const struct pub *p,
                                  const struct publication *m)
{
    static const char *const keys[] = { "", "k1", "k2", "k3", "k1", "k2", "k3",
                                        "k1", "k2", "k3" };
    bool has = !m->event[0] && p->form != PUB_RAW && p->form != PUB_TELNET &&
               strcmp(space_of(c, m)->slow, "conflate") == 0;

    return has ? keys[chance_of(p, m->number) % ARRAY_LEN(keys)] : "";
}

/* ---- sending ----------------------------------------------------------------- */

static void put_post(struct crowd *c, struct pub *p,
                     const struct publication *m, struct slice text)
{
    buf_addf(&p->peer.out, "POST /v1/publish/%s HTTP/1.1\r\nHost: localhost\r\n"
             "Content-Type: %s\r\nContent-Length: %zu\r\n",
             c->channels[m->channel].name,
             m->event[0] ? "application/json" : "text/plain", text.len);
    if (has_key(c, p, m))
        buf_addf(&p->peer.out, "Idempotency-Key: k%u-%u\r\n", p->number,
                 m->number);
    if (conflation_key(c, p, m)[0])
        buf_addf(&p->peer.out, "Touchline-Key: %s\r\n",
                 conflation_key(c, p, m));
    buf_add_str(&p->peer.out, "\r\n");
    buf_add(&p->peer.out, text);
}

/* Members that a command and an element of a batch have in common. */
static void add_members(struct crowd *c, const struct pub *p,
                        const struct publication *m, struct slice text,
                        struct buf *out)
{
    const char *quote = m->event[0] ? "" : "\"";

    if (has_key(c, p, m))
        buf_addf(out, "\"idempotency\":\"k%u-%u\",", p->number, m->number);
    if (conflation_key(c, p, m)[0])
        buf_addf(out, "\"key\":\"%s\",", conflation_key(c, p, m));
    buf_addf(out, "\"channel\":\"%s\",\"data\":%s" SLICE_FMT "%s}",
             c->channels[m->channel].name, quote, SLICE_ARG(text), quote);
}

static void put_command(struct crowd *c, struct pub *p,
                        const struct publication *m, struct slice text)
{
    struct buf json = BUF_INIT;

    buf_addf(&json, "{\"cmd\":\"publish\",\"ref\":%u,", m->number);
    add_members(c, p, m, text, &json);
    wire_put_frame(&p->peer.out, WIRE_OP_TEXT, buf_slice(&json));
    buf_fini(&json);
}

static void put(struct crowd *c, struct pub *p, const struct publication *m,
                struct slice text)
{
    switch (p->form) {
    case PUB_POST:
    case PUB_REPORT:
        put_post(c, p, m, text);
        break;
    case PUB_WS:
        put_command(c, p, m, text);
        break;
    case PUB_RAW:
        wire_put_frame(&p->peer.out, WIRE_OP_TEXT, text);
        break;
    default:
        buf_addf(&p->peer.out, "PUB %s " SLICE_FMT "\r\n",
                 c->channels[m->channel].name, SLICE_ARG(text));
    }
}

/* Says that it is about to be sent, and makes what is. */
static void invoke(struct crowd *c, struct pub *p, struct publication *m,
                   int64_t now_ns, struct buf *out)
{
    struct buf text = BUF_INIT;
    const char *key = conflation_key(c, p, m);

    payload_write(&text, p->number, m->number, name_of(c, m->channel),
                  slice_str(m->event), size_of(c, p, m));
    crowd_say(c, 'I', "%u %u %s %s %016lx %s %s", p->number, m->number,
              c->channels[m->channel].name, space_of(c, m)->level,
              payload_hash(buf_slice(&text)), key[0] ? key : "-",
              m->event[0] ? m->event : "-");
    if (m->event[0])
        event_write(out, name_of(c, m->channel), slice_str(m->event),
                    buf_slice(&text));
    else
        buf_add(out, buf_slice(&text));
    buf_fini(&text);
    m->again = false;
    m->order = ++p->orders;
    m->sent_ns = now_ns;
    c->figures.invoked++;
}

static void send_one(struct crowd *c, struct pub *p, struct publication *m,
                     int64_t now_ns)
{
    struct buf body = BUF_INIT;

    invoke(c, p, m, now_ns, &body);
    put(c, p, m, buf_slice(&body));
    buf_fini(&body);
}

/* All that is to be sent, in one request; they have one order. */
static void send_batch(struct crowd *c, struct pub *p, int64_t now_ns)
{
    struct buf all = BUF_INIT, body = BUF_INIT;

    for (unsigned i = 0; i < p->count; i++) {
        struct publication *m = &p->sent[i];

        if (!m->again)
            continue;
        buf_add_str(&all, all.len ? ",{" : "[{");
        buf_reset(&body);
        invoke(c, p, m, now_ns, &body);
        add_members(c, p, m, buf_slice(&body), &all);
    }
    buf_add_byte(&all, ']');
    for (unsigned i = 0; i < p->count; i++)
        if (p->sent[i].sent_ns == now_ns)
            p->sent[i].order = p->orders;
    buf_addf(&p->peer.out, "POST /v1/publish HTTP/1.1\r\nHost: localhost\r\n"
             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             all.len);
    buf_add(&p->peer.out, buf_slice(&all));
    buf_fini(&all);
    buf_fini(&body);
}

/* ---- what became of it -------------------------------------------------------- */

static struct publication *find(struct pub *p, uint64_t number)
{
    for (unsigned i = 0; i < p->count; i++)
        if (p->sent[i].number == number)
            return &p->sent[i];
    return NULL;
}

/* The oldest that has been sent: whose answer comes next, where answers come
 * in order. */
static struct publication *oldest(struct pub *p)
{
    struct publication *first = NULL;

    for (unsigned i = 0; i < p->count; i++)
        if (!p->sent[i].again &&
            (!first || p->sent[i].order < first->order))
            first = &p->sent[i];
    return first;
}

static void forget(struct pub *p, struct publication *m)
{
    size_t at = (size_t)(m - p->sent);

    p->count--;
    memmove(m, m + 1, (p->count - at) * sizeof *m);
}

/* The rules of a match will say the same again. */
static bool is_final(struct slice code)
{
    return slice_starts(code, SLICE("match.")) ||
           slice_starts(code, SLICE("team."));
}

/* Unknown, or refused: sent again where a key makes that safe. */
static void failed(struct crowd *c, struct pub *p, struct publication *m,
                   char kind, struct slice code)
{
    crowd_say(c, kind, "%u %u " SLICE_FMT, p->number, m->number,
              SLICE_ARG(code));
    if (kind == 'U')
        c->figures.unknown++;
    else
        c->figures.refused++;
    if (has_key(c, p, m) && !(kind == 'R' && is_final(code)))
        m->again = true;
    else
        forget(p, m);
}

static void acknowledged(struct crowd *c, struct pub *p,
                         struct publication *m, const struct told *t)
{
    char offset[24] = "-";

    if (t->offset)
        snprintf(offset, sizeof offset, "%lu", t->offset);
    crowd_say(c, 'A', "%u %u %s %lu %s %s", p->number, m->number,
              t->at.epoch.text, t->at.seq, offset, t->duplicate ? "d" : "-");
    c->figures.acked++;
    c->figures.duplicates += t->duplicate;
    happened(p, m, t->offset);
    forget(p, m);
}

static void answered(struct crowd *c, struct pub *p, struct publication *m,
                     const struct told *t)
{
    if (!m)
        return;
    p->failures = 0;
    if (t->ok && t->has_at)
        acknowledged(c, p, m, t);
    else
        failed(c, p, m, slice_eq(t->why, SLICE("publish.unknown")) ? 'U' : 'R',
               t->why.len ? t->why : SLICE("unreadable"));
}

/* ---- coming and going ----------------------------------------------------------- */

static void gone(struct crowd *c, struct pub *p, const char *why, bool reset,
                 int64_t now_ns)
{
    struct publication *m;

    peer_close(&p->peer, reset);
    p->open = false;
    while ((m = oldest(p)))
        failed(c, p, m, 'U', slice_str(why));
    p->failures++;
    p->come_ns = now_ns + (int64_t)crowd_below(c, (uint64_t)MIN(
                     c->options->backoff_ms,
                     INT64_C(50) << MIN(p->failures, 12u))) * MILLISECOND;
}

static void come(struct crowd *c, struct pub *p, int64_t now_ns)
{
    struct buf target = BUF_INIT;

    if (p->form == PUB_WS)
        buf_addf(&target, "/v1/ws");
    else if (p->form == PUB_RAW)
        buf_addf(&target, "/v1/raw?channel=quiet/1&publish=%s",
                 c->channels[p->channel].name);
    if (!peer_dial(c, &p->peer, forms[p->form].edge, forms[p->form].wire, 0)) {
        gone(c, p, "refused", false, now_ns);
    } else if (target.len) {
        wire_put_get(&p->peer.out, buf_text(&target), NULL, true);
    }
    p->come_ns = p->peer.state == PEER_CLOSED ? p->come_ns : INT64_MAX;
    buf_fini(&target);
}

static struct publication *make_one(struct crowd *c, struct pub *p)
{
    struct publication *m = &p->sent[p->count++];

    *m = (struct publication){ .number = p->next++ };
    if (p->match)
        say_next(c, p, m);
    else
        m->channel = p->form == PUB_RAW ? p->channel
                                        : choose_channel(c, p->form);
    if (!p->match && event_is_match(name_of(c, m->channel)))
        shout(p, m);
    return m;
}

static void new_batch(struct crowd *c, struct pub *p)
{
    unsigned n = 1 + (unsigned)crowd_below(c, BATCH_MAX);

    while (n-- && p->count < UNANSWERED_MAX)
        make_one(c, p)->again = true;
}

static void new_one(struct crowd *c, struct pub *p, int64_t now_ns)
{
    struct publication *m = make_one(c, p);

    send_one(c, p, m, now_ns);
    if (p->form == PUB_RAW) {
        crowd_say(c, 'U', "%u %u raw", p->number, m->number);
        forget(p, m);
    }
}

static bool late(struct pub *p, int64_t now_ns)
{
    struct publication *m = oldest(p);

    return m && m->sent_ns + ANSWER_SECONDS * SECOND < now_ns;
}

static bool send_again(struct crowd *c, struct pub *p, int64_t now_ns)
{
    bool any = false;

    for (unsigned i = 0; i < p->count; i++) {
        any |= p->sent[i].again;
        if (p->sent[i].again && p->form != PUB_BATCH)
            send_one(c, p, &p->sent[i], now_ns);
    }
    if (any && p->form == PUB_BATCH)
        send_batch(c, p, now_ns);
    return any;
}

/* Who reports says one thing after the other. */
static bool has_room(const struct pub *p)
{
    return p->count < (p->match ? 1 : UNANSWERED_MAX);
}

/* What has to be sent again goes before anything new. */
static void work(struct crowd *c, struct pub *p, int64_t now_ns)
{
    bool sent = now_ns >= p->due_ns && send_again(c, p, now_ns);

    if (!sent && !c->stopped && has_room(p)) {
        if (p->form == PUB_BATCH)
            new_batch(c, p), send_batch(c, p, now_ns);
        else
            new_one(c, p, now_ns);
        sent = true;
    }
    if (!peer_flush(c, &p->peer))
        gone(c, p, "reset", false, now_ns);
    else if (sent && !c->calm && crowd_chance(c, c->options->die))
        gone(c, p, "died", true, now_ns);
}

void pub_due(struct crowd *c, struct pub *p, int64_t now_ns)
{
    double share = c->options->rate / MAX(c->pub_count, 1u) /
                   c->options->processes;
    int64_t each = (int64_t)(1e9 / MAX(share, 0.01));

    if (p->peer.state == PEER_CLOSED) {
        if (now_ns >= p->come_ns && (!c->stopped || p->count))
            come(c, p, now_ns);
    } else if (late(p, now_ns)) {
        gone(c, p, "late", false, now_ns);
    } else if (p->open) {
        work(c, p, now_ns);
    }
    p->due_ns = MAX(p->due_ns + each, now_ns - SECOND);
}

void pub_end(struct crowd *c, struct pub *p)
{
    gone(c, p, "home", false, 0);
    free(p->match);
    p->match = NULL;
}

/* ---- in the place of one who was killed ---------------------------------------- */

/* One more line of its log. */
static void take_up(struct crowd *c, struct pub *p, const char *line)
{
    struct publication *m;
    unsigned publisher, number;
    char name[48], event[40] = "-";
    int channel;

    if (sscanf(line, "%*c %*d %u %u", &publisher, &number) != 2 ||
        publisher != p->number)
        return;
    m = find(p, number);
    p->next = MAX(p->next, number + 1);
    if (line[0] == 'A' && m)
        forget(p, m);
    if (line[0] != 'I' || m || p->count == UNANSWERED_MAX ||
        sscanf(line, "%*c %*d %*u %*u %47s %*s %*s %*s %39s", name, event) != 2)
        return;
    channel = crowd_channel(c, slice_str(name));
    if (channel < 0)
        return;
    m = &p->sent[p->count++];
    *m = (struct publication){ .number = number, .again = true,
                               .channel = (uint16_t)channel };
    if (event[0] != '-')
        strcpy(m->event, event);
    if (!has_key(c, p, m)) /* it is not known, and stays so */
        forget(p, m);
}

bool pub_again(struct crowd *c, struct pub *p, const char *path)
{
    FILE *f = fopen(path, "r");
    char line[512];

    if (!f)
        return false;
    while (fgets(line, sizeof line, f))
        if (strchr(line, '\n') && strchr("IARU", line[0]))
            take_up(c, p, line);
    fclose(f);
    return true;
}

/* ---- events ------------------------------------------------------------------------ */

static bool on_head(struct crowd *c, struct pub *p, const struct wire_item *it,
                    int64_t now_ns)
{
    if (forms[p->form].wire != WIRE_FRAMES)
        return true; /* the body says what it is */
    if (it->status == 101) {
        p->open = true;
        return true;
    }
    gone(c, p, "handshake", false, now_ns);
    return false;
}

/* An array of answers, or one for all of them. */
static bool on_batch(struct crowd *c, struct pub *p, struct slice text)
{
    struct json_iter it = json_iter(text);
    struct publication *m = oldest(p);
    uint64_t order = m ? m->order : 0;
    struct slice key, value;
    struct told t;

    if (json_check(text, JSON_DEPTH_COMMAND, NULL) < 0)
        return false;
    if (json_kind(text) == JSON_OBJECT && told_json(text, &t))
        for (; m && m->order == order; m = oldest(p))
            answered(c, p, m, &t);
    while (!it.object && json_next(&it, &key, &value)) {
        m = oldest(p);
        if (!told_json(value, &t) || !m || m->order != order)
            return false;
        answered(c, p, m, &t);
    }
    return true;
}

static bool on_text(struct crowd *c, struct pub *p, struct slice text)
{
    struct told t;

    if (p->form == PUB_RAW)
        return true;
    if (p->form == PUB_BATCH)
        return on_batch(c, p, text);
    if (p->form == PUB_TELNET)
        told_telnet(text, &t);
    else if (!told_json(text, &t))
        return false;
    if (t.type == TOLD_ANSWER)
        answered(c, p, p->form == PUB_WS ? find(p, t.ref) : oldest(p), &t);
    return true;
}

static bool on_item(struct crowd *c, struct pub *p, const struct wire_item *it,
                    int64_t now_ns)
{
    switch (it->kind) {
    case WIRE_HEAD:
        return on_head(c, p, it, now_ns);
    case WIRE_TEXT:
    case WIRE_BODY:
        if (on_text(c, p, it->text))
            return true;
        break;
    case WIRE_PING:
        wire_put_frame(&p->peer.out, WIRE_OP_PONG, it->text);
        return true;
    case WIRE_OVER:
        gone(c, p, "closed", false, now_ns);
        return false;
    default:
        break;
    }
    gone(c, p, "unreadable", false, now_ns);
    return false;
}

static bool drain(struct crowd *c, struct pub *p, int64_t now_ns)
{
    struct wire_item it;

    while ((it = wire_next(&p->peer.wire)).kind != WIRE_NONE)
        if (!on_item(c, p, &it, now_ns))
            return false;
    return true;
}

void pub_event(struct crowd *c, struct pub *p, uint32_t events, int64_t now_ns)
{
    bool reset;
    int n;

    if (p->peer.state == PEER_CONNECTING) {
        if (events & (EPOLLERR | EPOLLHUP)) {
            gone(c, p, "refused", false, now_ns);
            return;
        }
        p->peer.state = PEER_OPEN;
        p->open = forms[p->form].wire != WIRE_FRAMES;
    }
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        n = peer_read(&p->peer, &reset);
        if (n > 0 && !drain(c, p, now_ns))
            return;
        if (n < 0) {
            gone(c, p, reset ? "reset" : "cut", false, now_ns);
            return;
        }
    }
    if (!peer_flush(c, &p->peer))
        gone(c, p, "reset", false, now_ns);
}
