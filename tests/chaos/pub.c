#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "tests/chaos/crowd.h"
#include "tests/chaos/payload.h"

static const struct {
    const char *name;
    enum edge edge;
    enum wire_form wire;
} forms[PUB_FORMS] = {
    [PUB_POST] = { "post", EDGE_HTTP, WIRE_HTTP },
    [PUB_WS] = { "ws", EDGE_WS, WIRE_FRAMES },
    [PUB_RAW] = { "raw", EDGE_WS, WIRE_FRAMES },
    [PUB_TELNET] = { "telnet", EDGE_TCP, WIRE_TELNET },
};

enum { LINE_ROOM = 3000, ANSWER_SECONDS = 20 };

void pub_init(struct crowd *c, struct pub *p, uint32_t number,
              enum pub_form form)
{
    *p = (struct pub){ .number = number, .next = 1, .form = form };
    p->channel = (uint16_t)crowd_below(c, c->channel_count);
}

/* The size follows from the number: what is sent again is the same. */
static unsigned size_of(const struct crowd *c, const struct pub *p,
                        uint32_t number)
{
    const struct options *o = c->options;
    uint64_t x = ((uint64_t)p->number << 32 | number) * 0xd1342543de82ef95u;
    unsigned span = o->size_max - o->size_min + 1, size;

    /* Small ones mostly: the square of a fraction. */
    x >>= 40;
    size = o->size_min + (unsigned)(x * x % (1u << 24) * span >> 24);
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
    return c->options->keys && (p->form == PUB_POST || p->form == PUB_WS) &&
           strcmp(space_of(c, m)->level, "memory") != 0;
}

/* ---- sending ----------------------------------------------------------------- */

static void put_post(struct crowd *c, struct pub *p,
                     const struct publication *m, struct slice text)
{
    buf_addf(&p->peer.out, "POST /v1/publish/%s HTTP/1.1\r\nHost: localhost\r\n"
             "Content-Type: text/plain\r\nContent-Length: %zu\r\n",
             c->channels[m->channel].name, text.len);
    if (has_key(c, p, m))
        buf_addf(&p->peer.out, "Idempotency-Key: k%u-%u\r\n", p->number,
                 m->number);
    buf_add_str(&p->peer.out, "\r\n");
    buf_add(&p->peer.out, text);
}

static void put_command(struct crowd *c, struct pub *p,
                        const struct publication *m, struct slice text)
{
    struct buf json = BUF_INIT;

    buf_addf(&json, "{\"cmd\":\"publish\",\"ref\":%u,\"channel\":\"%s\",",
             m->number, c->channels[m->channel].name);
    if (has_key(c, p, m))
        buf_addf(&json, "\"idempotency\":\"k%u-%u\",", p->number, m->number);
    buf_addf(&json, "\"data\":\"" SLICE_FMT "\"}", SLICE_ARG(text));
    wire_put_frame(&p->peer.out, WIRE_OP_TEXT, buf_slice(&json));
    buf_fini(&json);
}

static void put(struct crowd *c, struct pub *p, const struct publication *m,
                struct slice text)
{
    switch (p->form) {
    case PUB_POST:
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

static void send_one(struct crowd *c, struct pub *p, struct publication *m,
                     int64_t now_ns)
{
    struct buf text = BUF_INIT;

    payload_write(&text, p->number, m->number,
                  slice_str(c->channels[m->channel].name),
                  size_of(c, p, m->number));
    crowd_say(c, 'I', "%u %u %s %s %016lx", p->number, m->number,
              c->channels[m->channel].name, space_of(c, m)->level,
              payload_hash(buf_slice(&text)));
    put(c, p, m, buf_slice(&text));
    buf_fini(&text);
    m->again = false;
    m->order = ++p->orders;
    m->sent_ns = now_ns;
    c->figures.invoked++;
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
    if (has_key(c, p, m))
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

static void new_one(struct crowd *c, struct pub *p, int64_t now_ns)
{
    struct publication *m = &p->sent[p->count++];

    *m = (struct publication){
        .number = p->next++,
        .channel = p->form == PUB_RAW
                       ? p->channel
                       : (uint16_t)crowd_below(c, c->channel_count),
    };
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

/* What has to be sent again goes before anything new. */
static void work(struct crowd *c, struct pub *p, int64_t now_ns)
{
    bool sent = false;

    for (unsigned i = 0; i < p->count; i++)
        if (p->sent[i].again && now_ns >= p->due_ns) {
            send_one(c, p, &p->sent[i], now_ns);
            sent = true;
        }
    if (!sent && !c->stopped && p->count < UNANSWERED_MAX)
        new_one(c, p, now_ns), sent = true;
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

static bool on_text(struct crowd *c, struct pub *p, struct slice text)
{
    struct told t;

    if (p->form == PUB_RAW)
        return true;
    if (p->form == PUB_TELNET)
        told_telnet(text, &t);
    else if (!told_json(text, &t))
        return false;
    if (t.kind == TOLD_ANSWER)
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
