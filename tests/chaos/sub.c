#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "proto/id.h"
#include "proto/json.h"
#include "tests/chaos/crowd.h"
#include "tests/chaos/payload.h"

static const struct {
    const char *name;
    enum edge edge;
    const char *edge_name;
    enum wire_form wire;
} forms[SUB_FORMS] = {
    [SUB_NDJSON] = { "ndjson", EDGE_HTTP, "http", WIRE_LINES },
    [SUB_SSE] = { "sse", EDGE_HTTP, "http", WIRE_EVENTS },
    [SUB_POLL] = { "poll", EDGE_HTTP, "http", WIRE_HTTP },
    [SUB_TEST] = { "test", EDGE_HTTP, "http", WIRE_LINES },
    [SUB_WS] = { "ws", EDGE_WS, "ws", WIRE_FRAMES },
    [SUB_RAW] = { "raw", EDGE_WS, "ws", WIRE_FRAMES },
    [SUB_TELNET] = { "telnet", EDGE_TCP, "tcp", WIRE_TELNET },
};

static struct slice name_of(const struct crowd *c, unsigned item)
{
    return slice_str(c->channels[item].name);
}

/* ---- what it subscribes to ------------------------------------------------ */

static bool overlaps(const struct crowd *c, unsigned a, unsigned b)
{
    struct slice x = name_of(c, a), y = name_of(c, b);

    if (a == b)
        return true;
    if (id_is_pattern(x) && id_is_pattern(y))
        return true; /* perhaps */
    return (id_is_pattern(x) && pattern_matches(x, y)) ||
           (id_is_pattern(y) && pattern_matches(y, x));
}

/* Parts are asked for one behind the other; a replay of what another part
 * brings as well would come twice by right, so they have nothing in common. */
static bool fits(const struct crowd *c, const struct sub *s, unsigned part,
                 unsigned item)
{
    for (unsigned i = 0; i <= part; i++)
        for (unsigned k = 0; k < s->parts[i].count; k++)
            if (i == part ? s->parts[i].items[k] == item
                          : overlaps(c, s->parts[i].items[k], item))
                return false;
    return true;
}

static void choose(struct crowd *c, struct sub *s, unsigned part,
                   unsigned count, bool patterns)
{
    struct part *p = &s->parts[part];

    for (unsigned tries = 0; p->count < count && tries < 50; tries++) {
        unsigned most = patterns && c->options->patterns && crowd_chance(c, 0.4)
                            ? c->item_count : c->channel_count;
        unsigned from = most == c->item_count && c->item_count > c->channel_count
                            ? c->channel_count : 0;
        unsigned item = from + (unsigned)crowd_below(c, most - from);

        if (fits(c, s, part, item))
            p->items[p->count++] = (uint16_t)item;
    }
}

/* Lazy ones listen to one namespace, so that its policy decides about them;
 * in turn to each. */
static void choose_of_one(struct crowd *c, struct sub *s)
{
    const struct options *o = c->options;
    unsigned space = c->lazy_count++ % o->space_count, first = 0;
    struct part *p = &s->parts[0];
    bool single = s->form == SUB_TEST || s->form == SUB_RAW;

    for (unsigned i = 0; i < space; i++)
        first += o->spaces[i].count;
    s->lazy = s->peer.small = true;
    if (!single && crowd_chance(c, 0.3)) {
        p->items[p->count++] = (uint16_t)(c->channel_count + 2 * space);
        return;
    }
    for (unsigned i = 0; i < o->spaces[space].count && i < ITEMS_MAX; i++)
        if (i == 0 || (!single && s->form != SUB_TELNET))
            p->items[p->count++] = (uint16_t)(first + i);
}

void sub_init(struct crowd *c, struct sub *s, uint32_t number,
              enum sub_form form)
{
    bool single = form == SUB_TEST || form == SUB_RAW;
    unsigned parts = form == SUB_TELNET ? 1 + (unsigned)crowd_below(c, 3)
                     : form == SUB_WS   ? 1 + (unsigned)crowd_below(c, 2)
                                        : 1;

    *s = (struct sub){ .number = number, .form = form, .retry_ms = -1 };
    s->peer.is_sub = true;
    s->turns_ns = INT64_MAX;
    if (form != SUB_POLL && c->lazy_count < c->options->lazy &&
        crowd_chance(c, 0.3)) {
        choose_of_one(c, s);
        s->part_count = 1;
        return;
    }
    for (unsigned i = 0; i < parts; i++) {
        unsigned n = single || form == SUB_TELNET || i > 0
                         ? 1 : 1 + (unsigned)crowd_below(c, ITEMS_MAX);

        choose(c, s, i, n, !single && i == 0);
        if (s->parts[i].count == 0)
            break;
        s->part_count++;
        s->parts[i].has_since = c->options->zero && !single &&
                                crowd_chance(c, 0.3);
    }
}

/* ---- asking --------------------------------------------------------------- */

static const char *since_text(const struct part *p)
{
    static char text[CURSOR_TEXT_MAX + 1];

    if (!p->has_since)
        return "-";
    if (p->since.epoch.text[0] == '\0')
        return "0";
    text[position_format(text, &p->since.epoch, p->since.seq)] = '\0';
    return text;
}

static const char *items_text(const struct crowd *c, const struct part *p,
                              const char *between)
{
    static char text[ITEMS_MAX * 64];
    size_t n = 0;

    for (unsigned i = 0; i < p->count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s",
                              i || between[0] == '&' ? between : "",
                              c->channels[p->items[i]].name);
    return text;
}

static void say_subscribe(struct crowd *c, const struct sub *s,
                          const struct part *p)
{
    crowd_say(c, 'S', "%u %u %s %s", s->number, s->conn, since_text(p),
              items_text(c, p, ","));
}

/* &channel=...&since=... */
static const char *query_of(const struct crowd *c, const struct part *p)
{
    static char text[ITEMS_MAX * 64 + 128];
    int n = snprintf(text, sizeof text, "%s", items_text(c, p, "&channel="));

    if (p->has_since)
        snprintf(text + n, sizeof text - (size_t)n, "&since=%s",
                 since_text(p));
    return text + 1;
}

static void ask_http(struct crowd *c, struct sub *s)
{
    struct part *p = &s->parts[0];
    struct buf target = BUF_INIT;

    switch (s->form) {
    case SUB_TEST:
        buf_addf(&target, "/test/%s", c->channels[p->items[0]].name);
        break;
    case SUB_RAW:
        buf_addf(&target, "/v1/raw?%s", query_of(c, p));
        break;
    case SUB_WS:
        buf_addf(&target, "/v1/ws?%s", query_of(c, p));
        break;
    case SUB_POLL:
        buf_addf(&target, "/v1/poll?wait=5&%s", query_of(c, p));
        break;
    default:
        buf_addf(&target, "/v1/stream?%s", query_of(c, p));
    }
    wire_put_get(&s->peer.out, buf_text(&target),
                 s->form == SUB_SSE ? "Accept: text/event-stream\r\n" : NULL,
                 forms[s->form].wire == WIRE_FRAMES);
    buf_fini(&target);
}

static void ask_command(struct crowd *c, struct sub *s, unsigned part)
{
    struct part *p = &s->parts[part];
    struct buf text = BUF_INIT;

    if (s->form == SUB_TELNET) {
        buf_addf(&s->peer.out, "SUB %s%s%s\r\n", c->channels[p->items[0]].name,
                 p->has_since ? " " : "", p->has_since ? since_text(p) : "");
        return;
    }
    buf_addf(&text, "{\"cmd\":\"subscribe\",\"ref\":%u,\"channel\":\"%s\"",
             part + 1, c->channels[p->items[0]].name);
    if (p->has_since)
        buf_addf(&text, ",\"since\":\"%s\"", since_text(p));
    buf_add_str(&text, "}");
    wire_put_frame(&s->peer.out, WIRE_OP_TEXT, buf_slice(&text));
    buf_fini(&text);
}

static void ask_next(struct crowd *c, struct sub *s)
{
    struct part *p = &s->parts[s->asked];

    say_subscribe(c, s, p);
    p->in_force = false;
    p->behind = p->has_since && s->asked > 0;
    if (s->form == SUB_TELNET || s->asked > 0)
        ask_command(c, s, s->asked);
    else
        ask_http(c, s);
    s->asked++;
}

/* ---- runs ------------------------------------------------------------------ */

static void say_run(struct crowd *c, const struct sub *s, struct run *r)
{
    if (r->used)
        crowd_say(c, 'D', "%u %u %s %s %lu %lu %lu %016lx", s->number, s->conn,
                  c->channels[r->channel].name, r->epoch.text, r->first,
                  r->last, r->seq, r->sum);
    r->used = false;
}

static void say_runs(struct crowd *c, struct sub *s)
{
    for (unsigned i = 0; i < s->run_count; i++)
        say_run(c, s, &s->runs[i]);
}

static struct run *run_of(struct sub *s, unsigned channel)
{
    struct run *more;

    for (unsigned i = 0; i < s->run_count; i++)
        if (s->runs[i].channel == channel)
            return &s->runs[i];
    more = realloc(s->runs, (s->run_count + 1u) * sizeof *more);
    if (!more)
        return NULL;
    s->runs = more;
    s->runs[s->run_count] = (struct run){ .channel = (uint16_t)channel };
    return &s->runs[s->run_count++];
}

/* True: the message needs no line of its own. */
static bool runs_on(struct crowd *c, struct sub *s, const struct told *t,
                    const struct payload *p)
{
    int channel = crowd_channel(c, t->channel);
    struct run *r;

    if (!c->options->dense || channel < 0 || !t->has_at || !t->offset ||
        t->replay || t->at.seq <= s->last_seq)
        return false;
    r = run_of(s, (unsigned)channel);
    if (!r)
        return false;
    if (r->used && (r->last + 1 != t->offset ||
                    !epoch_equal(&r->epoch, &t->at.epoch)))
        say_run(c, s, r);
    if (!r->used)
        *r = (struct run){ .channel = (uint16_t)channel, .used = true,
                           .first = t->offset, .epoch = t->at.epoch };
    r->last = t->offset;
    r->seq = t->at.seq;
    r->sum += p->hash;
    return true;
}

/* ---- what it is told -------------------------------------------------------- */

static void number_text(char out[24], uint64_t v, bool there)
{
    if (there)
        snprintf(out, 24, "%lu", v);
    else
        strcpy(out, "-");
}

static void say_message(struct crowd *c, const struct sub *s,
                        const struct told *t, const struct payload *p)
{
    char seq[24], offset[24];

    number_text(seq, t->at.seq, t->has_at);
    number_text(offset, t->offset, t->offset != 0);
    crowd_say(c, 'M', "%u %u " SLICE_FMT " %s %s %s %016lx %u %u %s",
              s->number, s->conn, SLICE_ARG(t->channel),
              t->has_at ? t->at.epoch.text : "-", seq, offset, p->hash,
              p->publisher, p->number, t->replay ? "r" : "-");
}

static void moved(struct sub *s, const struct told *t)
{
    if (!t->has_at)
        return;
    s->cursor = t->at;
    s->has_cursor = true;
}

static void on_message(struct crowd *c, struct sub *s, struct told *t,
                       int64_t now_ns)
{
    struct payload p;

    told_payload(t, &p);
    if (!t->channel.len)
        t->channel = p.publisher ? p.channel : SLICE("-");
    if (!runs_on(c, s, t, &p)) {
        say_runs(c, s);
        say_message(c, s, t, &p);
    }
    c->figures.messages++;
    c->last_message_ns = now_ns;
    if (t->replay)
        return;
    moved(s, t);
    if (t->has_at)
        s->last_seq = t->at.seq;
}

/* "a,b" of a raw array of JSON. */
static void channels_text(const struct told *t, struct buf *out)
{
    struct json_iter it = json_iter(t->channels);
    struct slice key, value;

    if (!t->channels.len)
        buf_add(out, t->channel.len ? t->channel : SLICE("-"));
    while (t->channels.len && json_next(&it, &key, &value)) {
        if (out->len)
            buf_add_byte(out, ',');
        buf_add(out, told_plain(value));
    }
}

/* Why a connection closes is said in a sentence. */
static bool one_word(struct slice s)
{
    return s.len && !memchr(s.ptr, ' ', s.len);
}

static void say_notice(struct crowd *c, const struct sub *s,
                       const struct told *t)
{
    char seq[24], from[24], to[24], count[24];
    struct buf channels = BUF_INIT;

    channels_text(t, &channels);
    number_text(seq, t->at.seq, t->has_at);
    number_text(from, t->from, t->from != UINT64_MAX);
    number_text(to, t->to, t->to != UINT64_MAX);
    number_text(count, t->count, t->count != UINT64_MAX);
    crowd_say(c, 'N', "%u %u " SLICE_FMT " %s %s %s %s %s %s " SLICE_FMT,
              s->number, s->conn, SLICE_ARG(t->what), buf_text(&channels),
              t->has_at && t->at.epoch.text[0] ? t->at.epoch.text : "-", seq,
              from, to, count,
              SLICE_ARG(one_word(t->why) ? t->why : SLICE("-")));
    buf_fini(&channels);
}

/* What a newcomer is told of a match; a team's channel has no snapshots. */
static void say_state(struct crowd *c, const struct sub *s,
                      const struct told *t)
{
    char word[STATE_WORD_MAX + 1];

    if (!t->has_at || !slice_eq(t->what, SLICE("snapshot")) ||
        !event_is_match(t->channel))
        return;
    event_state(t->state, word);
    crowd_say(c, 'P', "%u %u " SLICE_FMT " %s %lu %s", s->number, s->conn,
              SLICE_ARG(t->channel), t->at.epoch.text, t->at.seq, word);
}

static bool names_part(const struct crowd *c, const struct told *t,
                       const struct part *p)
{
    struct buf channels = BUF_INIT;
    struct slice all, name = name_of(c, p->items[0]);
    bool found = false;

    channels_text(t, &channels);
    all = buf_slice(&channels);
    for (size_t at = 0; at <= all.len && !found;) {
        size_t n = at;

        while (n < all.len && all.ptr[n] != ',')
            n++;
        found = slice_eq(slice_make(all.ptr + at, n - at), name);
        at = n + 1;
    }
    buf_fini(&channels);
    return found;
}

/* Who leaves does so after a time that is drawn anew for each connection. */
static int64_t leaves_at(struct crowd *c, int64_t now_ns)
{
    int64_t mean = c->options->stay_ms;

    if (!mean || c->calm)
        return INT64_MAX;
    return now_ns + (int64_t)(1 + crowd_below(c, 2 * (uint64_t)mean)) *
                        MILLISECOND;
}

/* How long a lazy one reads, or does not. */
static int64_t turn_after(struct crowd *c)
{
    return (int64_t)(500 + crowd_below(c, 5000)) * MILLISECOND;
}

static void maybe_begun(struct crowd *c, struct sub *s, int64_t now_ns)
{
    for (unsigned i = 0; i < s->part_count; i++)
        if (!s->parts[i].in_force)
            return;
    if (s->begun)
        return;
    s->begun = true;
    s->begun_ns = now_ns;
    s->failures = 0;
    s->due_ns = leaves_at(c, now_ns);
    s->turns_ns = s->lazy && !c->calm ? now_ns + turn_after(c) : INT64_MAX;
    c->figures.begun++;
    crowd_say(c, 'B', "%u %u", s->number, s->conn);
}

static void on_notice(struct crowd *c, struct sub *s, const struct told *t,
                      int64_t now_ns)
{
    bool gap = slice_eq(t->what, SLICE("gap"));
    bool begins = gap || slice_eq(t->what, SLICE("snapshot")) ||
                  slice_eq(t->what, SLICE("resumed"));

    if (slice_eq(t->what, SLICE("welcome")))
        return;
    say_runs(c, s);
    say_notice(c, s, t);
    say_state(c, s, t);
    c->figures.notices++;
    c->figures.gaps += gap;
    if (gap && t->count != UINT64_MAX)
        c->figures.missed += t->count;
    for (unsigned i = 0; !gap && begins && i < s->part_count; i++)
        if (names_part(c, t, &s->parts[i]))
            s->parts[i].behind = false;
    moved(s, t);
    if (begins && s->form != SUB_TELNET && s->form != SUB_WS) {
        s->parts[0].in_force = true;
        maybe_begun(c, s, now_ns);
    }
}

/* OK SUB stands for the notice, where the subscription begins as usual. */
static void on_answer(struct crowd *c, struct sub *s, struct told *t,
                      int64_t now_ns)
{
    unsigned i = 0;

    if (s->form == SUB_TELNET && slice_eq(t->what, SLICE("SUB"))) {
        while (i < s->part_count &&
               !slice_eq(name_of(c, s->parts[i].items[0]), t->channel))
            i++;
        if (i < s->part_count && !s->parts[i].behind) {
            t->what = s->parts[i].has_since ? SLICE("resumed")
                                            : SLICE("snapshot");
            say_notice(c, s, t);
            if (i == 0)
                moved(s, t);
        }
    } else if (s->form == SUB_WS && t->ok && t->ref > 0 &&
               t->ref <= s->part_count) {
        i = (unsigned)t->ref - 1;
    } else if (s->form != SUB_TEST || !t->ok) {
        return;
    }
    if (i < s->part_count)
        s->parts[i].in_force = true;
    maybe_begun(c, s, now_ns);
}

static void on_poll(struct crowd *c, struct sub *s, struct told *t,
                    int64_t now_ns);

static bool told_of(const struct sub *s, struct slice text, struct told *t)
{
    switch (s->form) {
    case SUB_TEST:
        told_test(text, t);
        return true;
    case SUB_TELNET:
        told_telnet(text, t);
        return true;
    case SUB_RAW:
        *t = (struct told){ .type = TOLD_MESSAGE, .data = text };
        return true;
    default:
        return told_json(text, t);
    }
}

static bool on_text(struct crowd *c, struct sub *s, struct slice text,
                    int64_t now_ns)
{
    struct told t;

    if (!told_of(s, text, &t))
        return false;
    switch (t.type) {
    case TOLD_MESSAGE:
        on_message(c, s, &t, now_ns);
        break;
    case TOLD_NOTICE:
        on_notice(c, s, &t, now_ns);
        break;
    case TOLD_POLL:
        on_poll(c, s, &t, now_ns);
        break;
    case TOLD_ANSWER:
        s->refused = s->form == SUB_TELNET && !t.ok && !s->begun &&
                     !slice_eq(t.why, SLICE("busy"));
        if (s->refused)
            return false;
        on_answer(c, s, &t, now_ns);
        break;
    default:
        break;
    }
    return true;
}

static void on_poll(struct crowd *c, struct sub *s, struct told *t,
                    int64_t now_ns)
{
    struct json_iter it = json_iter(t->data);
    struct slice key, value;

    while (json_next(&it, &key, &value))
        on_text(c, s, value, now_ns);
    t->what = SLICE("cursor");
    t->channel = t->channels = slice_make(NULL, 0);
    say_runs(c, s);
    say_notice(c, s, t);
    moved(s, t);
}

/* ---- coming and going -------------------------------------------------------- */

static int64_t comes_at(struct crowd *c, struct sub *s, int64_t now_ns)
{
    uint64_t most = (uint64_t)MIN(c->options->backoff_ms,
                                  INT64_C(50) << MIN(s->failures, 12u));
    int64_t wait = (int64_t)crowd_below(c, most + 1);

    if (s->retry_ms >= 0)
        wait += s->retry_ms;
    s->retry_ms = -1;
    return now_ns + wait * MILLISECOND;
}

/* It resumes with the newest cursor of all; what was still being replayed,
 * with the one that it had asked with. */
static void keep_cursors(struct sub *s)
{
    for (unsigned i = 0; i < s->part_count; i++) {
        struct part *p = &s->parts[i];
        bool single = s->form == SUB_TEST || s->form == SUB_RAW;

        if (single || p->behind || !s->has_cursor || i >= s->asked)
            continue;
        if (i > 0 && !p->in_force)
            continue;
        p->since = s->cursor;
        p->has_since = true;
    }
}

static void gone(struct crowd *c, struct sub *s, const char *who,
                 const char *why, int64_t now_ns)
{
    say_runs(c, s);
    crowd_say(c, 'E', "%u %u %s %s", s->number, s->conn, who, why);
    keep_cursors(s);
    peer_close(&s->peer, false);
    s->open = s->begun = false;
    s->turns_ns = INT64_MAX;
    s->failures++;
    c->figures.closed_by_peer += who[0] == 'p';
    if (who[0] == 's')
        s->retry_ms = -1;
    s->due_ns = comes_at(c, s, now_ns);
}

static void next_conn(struct crowd *c, struct sub *s)
{
    s->conn++;
    s->open = s->starting = true;
    s->last_seq = 0;
    s->refused = false;
    s->asked = 0;
    for (unsigned i = 0; i < s->part_count; i++)
        s->parts[i].in_force = false;
    crowd_say(c, 'O', "%u %u %s %s", s->number, s->conn,
              forms[s->form].edge_name, forms[s->form].name);
    if (s->lazy)
        crowd_say(c, 'H', "%u %u little", s->number, s->conn);
    c->figures.opened++;
}

static void come(struct crowd *c, struct sub *s, int64_t now_ns)
{
    next_conn(c, s);
    s->due_ns = now_ns + 30 * SECOND;
    if (!peer_dial(c, &s->peer, forms[s->form].edge, forms[s->form].wire,
                   s->number % 16)) {
        c->figures.refused_connects++;
        gone(c, s, "peer", "refused", now_ns);
    }
}

/* The same socket, another connection in the history. One that resumed and had
 * nothing to say was in force without a notice of it. */
static void poll_again(struct crowd *c, struct sub *s, int64_t now_ns)
{
    s->parts[0].in_force = true;
    maybe_begun(c, s, now_ns);
    crowd_say(c, 'E', "%u %u self end", s->number, s->conn);
    keep_cursors(s);
    next_conn(c, s);
    s->starting = false;
    ask_next(c, s);
    s->due_ns = now_ns + 30 * SECOND;
    peer_flush(c, &s->peer);
}

static void opened(struct crowd *c, struct sub *s)
{
    s->starting = false;
    s->peer.state = PEER_OPEN;
    do {
        ask_next(c, s);
    } while (s->form == SUB_TELNET && s->asked < s->part_count);
}

void sub_due(struct crowd *c, struct sub *s, int64_t now_ns)
{
    if (!s->open)
        come(c, s, now_ns);
    else
        gone(c, s, "self", s->begun ? "leave" : "late", now_ns);
}

void sub_turn(struct crowd *c, struct sub *s, int64_t now_ns)
{
    bool reads = s->peer.deaf || c->calm;

    if (!s->open || !s->begun || s->peer.deaf != reads) {
        s->turns_ns = INT64_MAX;
        return;
    }
    crowd_say(c, 'H', "%u %u %s", s->number, s->conn, reads ? "reads" : "stops");
    peer_listen(c, &s->peer, reads);
    s->turns_ns = c->calm ? INT64_MAX : now_ns + turn_after(c);
    s->due_ns = reads ? leaves_at(c, now_ns) : INT64_MAX;
}

void sub_end(struct crowd *c, struct sub *s)
{
    if (s->open)
        gone(c, s, "self", "home", 0);
    free(s->runs);
}

/* ---- events -------------------------------------------------------------------- */

static bool on_head(struct crowd *c, struct sub *s,
                    const struct wire_item *it, int64_t now_ns)
{
    char why[16];
    int wanted = forms[s->form].wire == WIRE_FRAMES ? 101 : 200;

    if (it->status == wanted) {
        if (wanted != 101)
            return true;
        s->parts[0].in_force = true;
        while (s->asked < s->part_count)
            ask_next(c, s);
        maybe_begun(c, s, now_ns);
        return true;
    }
    s->retry_ms = it->retry_ms;
    snprintf(why, sizeof why, "%d", it->status);
    gone(c, s, "peer", why, now_ns);
    return false;
}

/* The first number of a reason such as "come back in 1500 ms"; -1: none. */
static int64_t slot_of(struct slice reason)
{
    int64_t v = -1;

    for (size_t i = 0; i < reason.len && i < 40; i++) {
        bool digit = reason.ptr[i] >= '0' && reason.ptr[i] <= '9';

        if (digit)
            v = MAX(v, 0) * 10 + reason.ptr[i] - '0';
        else if (v >= 0)
            break;
    }
    return MIN(v, INT64_C(600000));
}

static bool on_over(struct crowd *c, struct sub *s,
                    const struct wire_item *it, int64_t now_ns)
{
    char why[16] = "end";

    if (forms[s->form].wire == WIRE_FRAMES)
        snprintf(why, sizeof why, "%d", it->status);
    if (it->status == 1013)
        s->retry_ms = slot_of(it->text);
    gone(c, s, "peer", why, now_ns);
    return false;
}

/* False: the connection is over. */
static bool on_item(struct crowd *c, struct sub *s,
                    const struct wire_item *it, int64_t now_ns)
{
    switch (it->kind) {
    case WIRE_HEAD:
        return on_head(c, s, it, now_ns);
    case WIRE_TEXT:
        if (on_text(c, s, it->text, now_ns))
            return true;
        break;
    case WIRE_BODY:
        if (!on_text(c, s, it->text, now_ns))
            break;
        poll_again(c, s, now_ns);
        return true;
    case WIRE_PING:
        wire_put_frame(&s->peer.out, WIRE_OP_PONG, it->text);
        return true;
    case WIRE_RETRY:
        s->retry_ms = it->retry_ms;
        return true;
    case WIRE_OVER:
        return on_over(c, s, it, now_ns);
    default:
        break;
    }
    if (s->refused) /* what it holds besides would run ahead of that */
        gone(c, s, "self", "refused", now_ns);
    else
        gone(c, s, "peer", "unreadable", now_ns);
    return false;
}

static bool drain(struct crowd *c, struct sub *s, int64_t now_ns)
{
    struct wire_item it;

    while ((it = wire_next(&s->peer.wire)).kind != WIRE_NONE)
        if (!on_item(c, s, &it, now_ns))
            return false;
    return true;
}

void sub_event(struct crowd *c, struct sub *s, uint32_t events, int64_t now_ns)
{
    bool reset;
    int n;

    if (s->starting && events & (EPOLLERR | EPOLLHUP)) {
        c->figures.refused_connects++;
        gone(c, s, "peer", "refused", now_ns);
        return;
    }
    if (s->starting && events & EPOLLOUT)
        opened(c, s);
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP) && !s->starting) {
        n = peer_read(&s->peer, &reset);
        if (n > 0 && !drain(c, s, now_ns))
            return;
        if (n < 0) {
            gone(c, s, "peer", reset ? "reset" : "cut", now_ns);
            return;
        }
    }
    if (!peer_flush(c, &s->peer))
        gone(c, s, "peer", "reset", now_ns);
}
