#include "gateways/ws/ws.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "gateways/common/gateway.h"
#include "gateways/common/stats.h"
#include "gateways/ws/handshake.h"
#include "gateways/ws/replies.h"
#include "gateways/ws/upgrade.h"
#include "gateways/ws/wsdeflate.h"
#include "proto/id.h"

enum {
    OUT_ENOUGH = 64 * 1024, /* output that waits; then input waits, too */
    PONG_OUT = 1024,        /* the same; then only the newest pong counts */
    SPARE_MAX = 64 * 1024,  /* bytes that are kept for the next message */
};

/* One per worker. */
struct ws_worker {
    uint32_t last_ref;
    struct wsreader *spare; /* for whoever begins a message next */
    struct buf text, payload, busy;
    struct wsdeflate *deflate; /* or NULL: ws.deflate was never on */
    struct buf packed, unpacked;
};

static struct ws_worker *worker_of(struct conn *c)
{
    return gateway_edge_state(conn_gateway(c));
}

static int ws_start(struct gateway *g)
{
    struct ws_worker *w = calloc(1, sizeof *w);

    if (!w)
        return ERR_NOMEM;
    gateway_set_edge_state(g, w);
    return gateway_edge_config(g)->deflate && !ws_may_deflate(g) ? ERR_NOMEM
                                                                  : 0;
}

bool ws_may_deflate(struct gateway *g)
{
    struct ws_worker *w = gateway_edge_state(g);

    if (!w->deflate)
        w->deflate = wsdeflate_new();
    return w->deflate != NULL;
}

static void reader_free(struct wsreader *r)
{
    if (r)
        wsreader_fini(r);
    free(r);
}

static void ws_stop(struct gateway *g)
{
    struct ws_worker *w = gateway_edge_state(g);

    if (!w)
        return;
    reader_free(w->spare);
    buf_fini(&w->text);
    buf_fini(&w->payload);
    buf_fini(&w->busy);
    buf_fini(&w->packed);
    buf_fini(&w->unpacked);
    wsdeflate_free(w->deflate);
    free(w);
}

/* ---- state ------------------------------------------------------------- */

struct ws_socket *ws_of(struct conn *c)
{
    return conn_edge(c);
}

void ws_become(struct conn *c, enum ws_state next)
{
    static const unsigned may_become[WS_STATES] = {
        [WS_HEAD] = 1u << WS_LOGIN | 1u << WS_CLOSED,
        [WS_LOGIN] = 1u << WS_OPEN | 1u << WS_CLOSED,
        [WS_OPEN] = 1u << WS_ENDING | 1u << WS_CLOSED,
        [WS_ENDING] = 1u << WS_CLOSED,
    };
    struct ws_socket *s = ws_of(c);

    CHECK(may_become[s->state] & 1u << next);
    s->state = (uint8_t)next;
}

static bool is_open(struct conn *c)
{
    return ws_of(c)->state == WS_OPEN || ws_of(c)->state == WS_ENDING;
}

struct ws_work *ws_work(struct conn *c)
{
    struct ws_socket *s = ws_of(c);

    if (s->work)
        return s->work;
    s->work = calloc(1, sizeof *s->work);
    if (!s->work) {
        conn_abort(c, "memory");
        return NULL;
    }
    list_init(&s->work->replies);
    return s->work;
}

static void work_free(struct conn *c)
{
    struct ws_socket *s = ws_of(c);
    struct ws_work *w = s->work;

    if (!w)
        return;
    free(w->upgrade);
    free(w->pong);
    free(w->target);
    free(w);
    s->work = NULL;
}

/* ---- out --------------------------------------------------------------- */

/* A buf of the worker's is kept for the next message, unless it is big. */
static void spare(struct buf *b)
{
    if (b->cap > SPARE_MAX)
        buf_fini(b);
}

struct buf *ws_text_begin(struct conn *c)
{
    struct buf *text = &worker_of(c)->text;

    buf_reset(text);
    return text;
}

void ws_text_end(struct conn *c)
{
    struct buf *text = &worker_of(c)->text;

    if (text->failed)
        conn_abort(c, "memory");
    else
        wsframe_add(conn_out(c), WS_TEXT, buf_slice(text));
    spare(text);
}

/* Scripts in a browser see of a close frame its code and its reason, and of a
 * refused handshake nothing. */
void ws_close_until(struct conn *c, unsigned code, const char *why,
                    const char *word, uint32_t retry_ms)
{
    char reason[WS_CONTROL_MAX];

    if (retry_ms)
        snprintf(reason, sizeof reason, "%.80s; retry-after-ms=%" PRIu32, why,
                 retry_ms);
    ws_close(c, code, retry_ms ? reason : why, word);
}

void ws_close(struct conn *c, unsigned code, const char *why, const char *word)
{
    if (conn_closing(c))
        return;
    ws_become(c, WS_CLOSED);
    wsframe_add_close(conn_out(c), code, why);
    conn_close(c, word);
}

/* ---- order ------------------------------------------------------------- */

/* Has the socket been sent what it published itself? */
static bool delivered(struct conn *c)
{
    const struct ws_work *w = ws_of(c)->work;
    struct position at;

    if (!w || !w->last_seq || conn_channels(c) == 0)
        return true;
    return position_parse(conn_cursor(c), &at) == 0 && at.seq >= w->last_seq;
}

static bool ready(struct conn *c)
{
    const struct ws_work *w = ws_of(c)->work;

    if (conn_closing(c) || ws_of(c)->state != WS_OPEN ||
        conn_out_pending(c) > OUT_ENOUGH)
        return false;
    return !w || (!w->exclusive && w->unanswered < PIPELINE_MAX);
}

static bool is_needed(struct conn *c, const struct ws_work *w)
{
    return w->unanswered || w->pong || w->target || !delivered(c);
}

static void close_now(struct conn *c, const struct ws_work *w)
{
    ws_close_until(c, w->close_code, w->close_why, w->close_word, w->retry_ms);
}

void ws_settle(struct conn *c)
{
    struct ws_socket *s = ws_of(c);

    if (conn_closing(c))
        return;
    if (s->state == WS_ENDING && s->work->unanswered == 0 && delivered(c)) {
        close_now(c, s->work);
        return;
    }
    if (s->state != WS_OPEN)
        return;
    if (conn_out_pending(c) > OUT_ENOUGH)
        conn_want_drained(c);
    conn_pause_input(c, !ready(c));
    if (s->work && !is_needed(c, s->work))
        work_free(c);
}

uint32_t ws_ref(struct conn *c)
{
    struct ws_work *w = ws_work(c);
    struct ws_worker *k = worker_of(c);

    if (!w)
        return 0;
    w->unanswered++;
    if (++k->last_ref == 0)
        k->last_ref = 1;
    return k->last_ref;
}

void ws_answered(struct conn *c)
{
    struct ws_work *w = ws_of(c)->work;

    if (NEVER(!w || w->unanswered == 0))
        return;
    w->unanswered--;
}

void ws_end(struct conn *c, unsigned code, const char *why, const char *word)
{
    ws_end_until(c, code, why, word, 0);
}

void ws_end_until(struct conn *c, unsigned code, const char *why,
                  const char *word, uint32_t retry_ms)
{
    struct ws_work *w;

    if (conn_closing(c) || ws_of(c)->state != WS_OPEN)
        return;
    w = ws_work(c);
    if (!w)
        return;
    ws_become(c, WS_ENDING);
    w->close_code = code;
    w->close_why = why;
    w->close_word = word;
    w->retry_ms = retry_ms;
    conn_want_pings(c, false);
    conn_deadline(c, (uint32_t)(CLOSE_DRAIN_WAIT / MILLISECOND));
    conn_pause_input(c, false);
    ws_settle(c);
}

static void violated(struct conn *c, unsigned code, const char *word,
                     const char *why)
{
    gateway_refused(conn_gateway(c), slice_str(word));
    ws_end(c, code, why, "violation");
}

void ws_violated(struct conn *c, unsigned code, const char *why)
{
    static const struct {
        unsigned code;
        const char *word;
    } codes[] = {
        { WS_PROTOCOL, "ws.protocol" },   { WS_UNSUPPORTED, "ws.unsupported" },
        { WS_NOT_UTF8, "ws.not_utf8" },   { WS_POLICY, "ws.policy" },
        { WS_TOO_BIG, "ws.too_big" },     { WS_TRY_LATER, "ws.try_later" },
    };
    size_t i = 0;

    while (i < ARRAY_LEN(codes) && codes[i].code != code)
        i++;
    if (!NEVER(i == ARRAY_LEN(codes)))
        violated(c, code, codes[i].word, why);
}

/* ---- frames ------------------------------------------------------------ */

/* True when the client sends more control frames than it may. */
static bool floods(struct conn *c)
{
    struct ws_socket *s = ws_of(c);
    size_t most = conn_config(c)->limits.control_frames_per_second;
    uint32_t now_s = (uint32_t)(clock_ns() / SECOND);

    if (s->control_s != now_s) {
        s->control_s = now_s;
        s->controls = 0;
    }
    if (s->controls < UINT16_MAX)
        s->controls++;
    if (!most || s->controls <= most)
        return false;
    gateway_limit(conn_gateway(c), LIMIT_CONTROL_FRAMES);
    return true;
}

/* Answers a ping; while the client does not read, only the newest one. */
static void pong(struct conn *c, struct slice payload)
{
    struct ws_work *w;

    if (conn_out_pending(c) <= PONG_OUT) {
        wsframe_add(conn_out(c), WS_PONG, payload);
        return;
    }
    w = ws_work(c);
    if (w && !w->pong)
        w->pong = malloc(1 + WS_CONTROL_MAX);
    if (!w || !w->pong) {
        conn_abort(c, "memory");
        return;
    }
    w->pong[0] = (uint8_t)payload.len;
    if (payload.len)
        memcpy(w->pong + 1, payload.ptr, payload.len);
    conn_want_drained(c);
}

static void say_late_pong(struct conn *c)
{
    struct ws_work *w = ws_of(c)->work;

    if (!w || !w->pong || ws_of(c)->state != WS_OPEN)
        return;
    wsframe_add(conn_out(c), WS_PONG, slice_make(w->pong + 1, w->pong[0]));
    free(w->pong);
    w->pong = NULL;
}

static void take_pong(struct conn *c)
{
    ws_of(c)->pinged = false;
    conn_deadline(c, 0);
}

static void take_control(struct conn *c, const struct wsframe *f)
{
    if (f->op == WS_CLOSE)
        ws_end(c, f->code, "", "client");
    else if (floods(c))
        ws_violated(c, WS_POLICY, "too many control frames");
    else if (f->op == WS_PING)
        pong(c, f->payload);
    else
        take_pong(c);
}

static void take_failure(struct conn *c, const struct wsframe *f)
{
    if (f->code == WS_TOO_BIG)
        gateway_limit(conn_gateway(c), LIMIT_MESSAGE);
    if (f->code == WS_POLICY)
        gateway_limit(conn_gateway(c), LIMIT_FRAGMENTS);
    ws_violated(c, f->code, f->why);
}

/* ---- compressed messages of clients ------------------------------------ */

/* What such a message is refused with. A broken one is data that does not fit
 * its type: 1007 (RFC 6455 7.4.1). */
static void refuse_packed(struct conn *c, enum unpacked what)
{
    static const struct {
        unsigned stat, code;
        const char *word, *why;
    } refusals[] = {
        [UNPACKED_BROKEN] = { STAT_INFLATE_BROKEN, WS_NOT_UTF8, "ws.broken",
                              "the compressed message is broken" },
        [UNPACKED_TOO_BIG] = { STAT_INFLATE_TOO_BIG, WS_TOO_BIG, "ws.too_big",
                               "the message is too big" },
        [UNPACKED_TOO_MUCH] = { STAT_INFLATE_TOO_MUCH, WS_TOO_BIG,
                                "ws.too_big", "the message grows too much" },
        [UNPACKED_BLOCKS] = { STAT_INFLATE_BLOCKS, WS_POLICY, "ws.policy",
                              "the compressed message has too many blocks" },
    };

    if (what == UNPACKED_NO_MEMORY) {
        ws_violated(c, WS_TRY_LATER, "the server is out of memory");
        return;
    }
    gateway_count(conn_gateway(c), refusals[what].stat);
    if (what == UNPACKED_TOO_BIG)
        gateway_limit(conn_gateway(c), LIMIT_MESSAGE);
    violated(c, refusals[what].code, refusals[what].word, refusals[what].why);
}

static void take_packed(struct conn *c, const struct wsframe *f)
{
    const struct ws_kind *kind = ws_of(c)->kind;
    struct ws_worker *w = worker_of(c);
    struct buf *b = &w->unpacked;
    enum unpacked what;

    buf_reset(b);
    what = wsdeflate_unpack(w->deflate, f->payload,
                            kind->message_limit(conn_config(c)), b);
    if (what != UNPACKED) {
        refuse_packed(c, what);
    } else if (f->op == WS_TEXT && !utf8_valid(buf_slice(b))) {
        ws_violated(c, WS_NOT_UTF8, "the text is not UTF-8");
    } else {
        gateway_count(conn_gateway(c), STAT_INFLATED);
        kind->message(c, f->op, buf_slice(b));
    }
    spare(b);
}

static void take_frame(struct conn *c, const struct wsframe *f)
{
    if (f->event == WS_MESSAGE && f->compressed)
        take_packed(c, f);
    else if (f->event == WS_MESSAGE)
        ws_of(c)->kind->message(c, f->op, f->payload);
    else if (f->event == WS_CONTROL)
        take_control(c, f);
    else if (f->event == WS_FAILED)
        take_failure(c, f);
}

static struct wsreader *take_reader(struct conn *c)
{
    struct ws_socket *s = ws_of(c);
    struct ws_worker *w = worker_of(c);

    if (!s->reader) {
        s->reader = w->spare ? w->spare : calloc(1, sizeof *s->reader);
        w->spare = NULL;
    }
    if (!s->reader)
        conn_abort(c, "memory");
    return s->reader;
}

/* Between messages a socket has no reader. */
static void give_reader(struct conn *c)
{
    struct ws_socket *s = ws_of(c);
    struct ws_worker *w = worker_of(c);
    struct wsreader *r = s->reader;

    if (!r || !wsreader_idle(r))
        return;
    s->reader = NULL;
    if (w->spare || r->message.cap > SPARE_MAX) {
        reader_free(r);
        return;
    }
    wsreader_reset(r);
    w->spare = r;
}

static struct wsframe_limits limits_of(struct conn *c)
{
    const struct config *cfg = conn_config(c);
    size_t most = ws_of(c)->kind->message_limit(cfg);

    return (struct wsframe_limits){
        .message = most,
        .compressed = ws_of(c)->window ? wsdeflate_most(most) : 0,
        .fragments = (uint32_t)cfg->limits.fragments,
    };
}

static size_t input_frames(struct conn *c, struct slice bytes)
{
    struct wsframe_limits limits = limits_of(c);
    struct slice in = bytes;

    while (in.len && ready(c)) {
        struct wsreader *r = take_reader(c);
        struct wsframe f;

        if (!r)
            return bytes.len;
        wsframe_next(r, &in, &limits, &f);
        take_frame(c, &f);
    }
    give_reader(c);
    ws_settle(c);
    return bytes.len - in.len;
}

/* ---- a client comes, speaks, goes -------------------------------------- */

static void ws_opened(struct conn *c)
{
    conn_deadline(c, (uint32_t)(conn_config(c)->limits.handshake_wait
                                / MILLISECOND));
}

static struct slice ws_busy(const struct gateway *g)
{
    struct ws_worker *w = gateway_edge_state(g);
    unsigned retry_s = gateway_retry_ms((struct gateway *)(uintptr_t)g) / 1000;

    buf_reset(&w->busy);
    handshake_refuse(&w->busy, NULL, 503, SLICE("gateway.full"),
                     SLICE("all places are taken; try again later"),
                     retry_s + 1);
    return buf_slice(&w->busy);
}

static ssize_t ws_input(struct conn *c, struct slice bytes)
{
    struct ws_socket *s = ws_of(c);
    size_t used = 0;

    if (s->state == WS_HEAD)
        used = upgrade_input(c, bytes);
    if (s->state == WS_OPEN)
        used += input_frames(c, slice_from(bytes, used));
    return (ssize_t)(s->state >= WS_ENDING ? bytes.len : used);
}

static void ws_input_end(struct conn *c)
{
    if (ws_of(c)->state == WS_ENDING)
        return;
    if (ws_of(c)->state != WS_CLOSED)
        ws_become(c, WS_CLOSED);
    conn_close(c, "client");
}

static void await_pong(struct conn *c)
{
    conn_deadline(c, (uint32_t)(PONG_WAIT / MILLISECOND));
}

/* A pong that we have not read yet may have come long ago. */
static void no_pong(struct conn *c)
{
    if (!ready(c)) {
        await_pong(c);
        return;
    }
    gateway_limit(conn_gateway(c), LIMIT_PING);
    conn_abort(c, "no_pong");
}

static void ws_deadline(struct conn *c)
{
    struct ws_socket *s = ws_of(c);

    if (s->state == WS_HEAD)
        upgrade_late(c);
    else if (s->state == WS_ENDING)
        close_now(c, s->work);
    else
        no_pong(c);
}

/* Who does not read gets no ping either: the slow-reader rule sees to it. */
static void ws_ping(struct conn *c)
{
    if (ws_of(c)->state != WS_OPEN || conn_out_pending(c))
        return;
    wsframe_add(conn_out(c), WS_PING, slice_make(NULL, 0));
    if (!ws_of(c)->pinged) /* else the first one's pong is waited for */
        await_pong(c);
    ws_of(c)->pinged = true;
}

static void ws_drained(struct conn *c)
{
    say_late_pong(c);
    ws_settle(c);
}

static void ws_closed(struct conn *c)
{
    struct ws_socket *s = ws_of(c);

    if (s->kind && s->kind->free)
        s->kind->free(c);
    work_free(c);
    reader_free(s->reader);
    s->reader = NULL;
}

static void end_in_order(struct conn *c, unsigned code, const char *refusal,
                         const char *text, const char *word,
                         uint32_t retry_ms)
{
    struct ws_socket *s = ws_of(c);

    if (s->state == WS_HEAD) {
        ws_become(c, WS_CLOSED);
        conn_close(c, word);
    } else if (s->state == WS_LOGIN) {
        upgrade_refuse(c, 503, slice_str(refusal), slice_str(text));
    } else if (s->state == WS_OPEN) {
        if (s->kind->goodbye)
            s->kind->goodbye(c, text, retry_ms);
        ws_end_until(c, code, text, word, retry_ms);
    }
}

static void ws_drain(struct conn *c)
{
    end_in_order(c, WS_GOING_AWAY, "gateway.draining",
                 "the server goes down for a moment", "drain",
                 gateway_retry_ms(conn_gateway(c)));
}

static void ws_kicked(struct conn *c)
{
    end_in_order(c, WS_POLICY, "connection.kicked",
                 "an operator closed this connection", "kick", 0);
}

/* What it published itself it is not sent any more. */
static void ws_give_up(struct conn *c, const struct give_up *why)
{
    struct ws_socket *s = ws_of(c);

    if (s->work)
        s->work->last_seq = 0;
    if (s->state == WS_OPEN && s->kind->left)
        s->kind->left(c, why);
    end_in_order(c, WS_TRY_LATER, why->code, why->text, why->word,
                 gateway_retry_ms(conn_gateway(c)));
    ws_settle(c);
}

static void ws_cut(struct conn *c)
{
    if (is_open(c))
        ws_close(c, WS_SLOW, "too slow", "slow");
}

/* ---- subscriptions ----------------------------------------------------- */

static void ws_subscribed(struct conn *c, uint32_t ref)
{
    if (ws_of(c)->state == WS_LOGIN)
        upgrade_open(c);
    else if (is_open(c) && ref)
        ws_of(c)->kind->subscribed(c, ref);
}

static void ws_subscribe_failed(struct conn *c, uint32_t ref,
                                const char *code, struct slice text)
{
    if (ws_of(c)->state == WS_LOGIN)
        upgrade_refuse(c, 429, slice_str(code), text);
    else if (is_open(c) && ref)
        ws_of(c)->kind->subscribe_failed(c, ref, code, text);
    ws_settle(c);
}

static void ws_started(struct conn *c, uint32_t ref)
{
    UNUSED(ref);
    ws_settle(c);
}

static void ws_notice(struct conn *c, const struct notice *n)
{
    if (is_open(c))
        ws_of(c)->kind->notice(c, n);
}

/* ---- messages: a frame for all who take it in the same form ------------ */

/* rsv: 0 or WS_COMPRESSED. NULL: no memory. */
static struct wire *make_frame(enum ws_opcode op, uint8_t rsv,
                               struct slice payload)
{
    uint8_t header[WS_HEADER_MAX];
    size_t n = wsframe_header(header, op, payload.len);
    struct wire *w = wire_new(n + payload.len);

    if (!w)
        return NULL;
    memcpy(w->bytes, header, n);
    w->bytes[0] |= rsv;
    if (payload.len)
        memcpy(w->bytes + n, payload.ptr, payload.len);
    return w;
}

/* Into the worker's payload. False: no memory. */
static bool encode(struct conn *c, const struct msg *m, unsigned flags,
                   enum ws_opcode *op)
{
    struct buf *payload = &worker_of(c)->payload;

    buf_reset(payload);
    *op = ws_of(c)->kind->encode(c, m, flags, payload);
    return !payload->failed;
}

static const struct wire *plain_form(struct conn *c, struct msg *m,
                                     unsigned flags, enum ws_form form)
{
    struct wire **at = &m->forms[form];
    enum ws_opcode op;

    if (!*at && encode(c, m, flags, &op))
        *at = make_frame(op, 0, buf_slice(&worker_of(c)->payload));
    return *at;
}

/* The worker's payload, compressed. NULL: it is not worth it, or there is no
 * memory. */
static struct wire *pack(struct conn *c, enum ws_opcode op)
{
    struct ws_worker *k = worker_of(c);
    struct wire *w = NULL;

    buf_reset(&k->packed);
    if (wsdeflate_pack(k->deflate, buf_slice(&k->payload), &k->packed))
        w = make_frame(op, WS_COMPRESSED, buf_slice(&k->packed));
    gateway_count(conn_gateway(c), w ? STAT_DEFLATED : STAT_DEFLATE_PLAIN);
    if (w) {
        gateway_add(conn_gateway(c), STAT_DEFLATE_BEFORE, k->payload.len);
        gateway_add(conn_gateway(c), STAT_DEFLATE_AFTER, k->packed.len);
    }
    spare(&k->packed);
    return w;
}

/* The compressed form of a message that does not shrink is the plain one. */
static const struct wire *packed_form(struct conn *c, struct msg *m,
                                      unsigned flags, enum ws_form form)
{
    struct wire **at = &m->forms[WS_FORMS + form], **plain = &m->forms[form];
    enum ws_opcode op;

    if (*at || !encode(c, m, flags, &op))
        return *at;
    *at = pack(c, op);
    if (!*at && !*plain)
        *plain = make_frame(op, 0, buf_slice(&worker_of(c)->payload));
    if (!*at && *plain)
        *at = wire_hold(*plain);
    return *at;
}

/* Does a window that is narrower than ours hold all of the message? No
 * distance in it is longer than the message; the header is on the safe side. */
static bool fits_window(struct conn *c, struct msg *m, unsigned flags,
                        enum ws_form form)
{
    unsigned window = ws_of(c)->window;
    const struct wire *plain;

    if (window >= PACK_WINDOW)
        return true;
    plain = plain_form(c, m, flags, form);
    return plain && plain->len <= (size_t)1 << window;
}

static enum put_result ws_put(struct conn *c, struct msg *m, unsigned flags,
                              struct outvec *v)
{
    const struct ws_kind *kind = ws_of(c)->kind;
    enum ws_form form = flags & PUT_REPLAY ? kind->replay_form : kind->form;
    const struct wire *w;

    if (ws_of(c)->window && fits_window(c, m, flags, form))
        w = packed_form(c, m, flags, form);
    else
        w = plain_form(c, m, flags, form);
    if (w)
        outvec_wire(v, w);
    else
        conn_abort(c, "memory");
    return PUT_OK;
}

static void ws_pulled(struct conn *c)
{
    if (ws_of(c)->state == WS_ENDING)
        ws_settle(c);
}

/* ---- answers ----------------------------------------------------------- */

static void ws_published(struct conn *c, uint32_t ref,
                         const struct published *p)
{
    struct ws_socket *s = ws_of(c);

    if (NEVER(!s->work) || !is_open(c))
        return;
    if (p->status == PUBLISHED_OK &&
        (s->patterns || conn_holds(c, p->channel)))
        s->work->last_seq = MAX(s->work->last_seq, p->seq);
    s->kind->published(c, ref, p);
    ws_settle(c);
}

static void ws_row(struct conn *c, uint32_t ref, struct msg *m)
{
    if (is_open(c))
        ws_of(c)->kind->row(c, ref, m);
}

static void ws_hole(struct conn *c, uint32_t ref, const struct frame_hole *h)
{
    if (is_open(c))
        ws_of(c)->kind->hole(c, ref, h);
}

static void ws_page_end(struct conn *c, uint32_t ref, int err, bool more,
                        uint64_t upto)
{
    if (is_open(c))
        ws_of(c)->kind->page_end(c, ref, err, more, upto);
    ws_settle(c);
}

static void ws_answer(struct conn *c, uint32_t ref, enum publish_status status,
                      bool json, struct slice body, uint64_t seq)
{
    UNUSED(seq);
    if (is_open(c))
        ws_of(c)->kind->answered(c, ref, status, json, body);
    ws_settle(c);
}

/* ---- a successor takes over -------------------------------------------- */

FROZEN_SIZE(struct ws_socket, 32);
FROZEN_SIZE(struct ws_work, 88);
FROZEN_SIZE(struct wsreader, 200);

static bool ws_at_rest(struct conn *c)
{
    const struct ws_socket *s = ws_of(c);

    if (s->state == WS_HEAD)
        return true; /* its bytes wait as input, and are scanned anew */
    return s->state == WS_OPEN && (!s->work || replies_at_rest(s->work));
}

static bool ws_ending(struct conn *c)
{
    return ws_of(c)->state == WS_ENDING;
}

enum { FROZEN_PATTERNS = 1u << 0, FROZEN_PINGED = 1u << 1,
       FROZEN_RAW = 1u << 2, FROZEN_FLAGS = (1u << 3) - 1 };

static void freeze_work(const struct ws_work *w, struct buf *b)
{
    put_u64(b, w ? w->last_seq : 0);
    put_str8(b, w && w->pong ? slice_make(w->pong, w->pong[0] + (size_t)1)
                             : slice_make(NULL, 0));
    put_str8(b, w && w->target ? slice_str(w->target) : slice_make(NULL, 0));
    put_u8(b, w && w->unanswered);
    if (w && w->unanswered)
        replies_freeze(w, b);
}

static void ws_freeze(struct conn *c, struct buf *b)
{
    const struct ws_socket *s = ws_of(c);
    size_t at;

    put_u8(b, s->state);
    if (s->state == WS_HEAD)
        return;
    put_u8(b, (uint8_t)((s->patterns ? FROZEN_PATTERNS : 0u) |
                        (s->pinged ? FROZEN_PINGED : 0u) |
                        (s->kind == &ws_raw ? FROZEN_RAW : 0u)));
    put_u8(b, s->window);
    put_u16(b, s->controls);
    put_u32(b, s->control_s);
    freeze_work(s->work, b);
    put_u32(b, s->reader ? s->reader->fragments : 0);
    at = b->len;
    put_u32(b, 0);
    if (s->reader)
        wsreader_freeze(s->reader, b);
    put_u32_at(b, at, (uint32_t)(b->len - at - sizeof(uint32_t)));
}

static int thaw_pong(struct ws_work *w, struct slice pong)
{
    if (pong.len == 0)
        return 0;
    if (pong.ptr[0] > WS_CONTROL_MAX || pong.len != pong.ptr[0] + (size_t)1)
        return ERR_FRAME;
    w->pong = malloc(1 + WS_CONTROL_MAX);
    if (!w->pong)
        return ERR_NOMEM;
    memcpy(w->pong, pong.ptr, pong.len);
    return 0;
}

static int thaw_work(struct ws_socket *s, struct cursor *in)
{
    uint64_t last_seq = cursor_u64(in);
    struct slice pong = cursor_str8(in), target = cursor_str8(in);
    bool replies = cursor_u8(in);
    int rc;

    if (in->failed || (target.len && id_problem(target)) ||
        (replies && s->kind != &ws_commands))
        return ERR_FRAME;
    if (!last_seq && !pong.len && !target.len && !replies)
        return 0;
    s->work = calloc(1, sizeof *s->work);
    if (!s->work)
        return ERR_NOMEM;
    list_init(&s->work->replies);
    s->work->last_seq = last_seq;
    rc = thaw_pong(s->work, pong);
    if (rc == 0 && target.len && !(s->work->target = slice_dup(target)))
        rc = ERR_NOMEM;
    return rc == 0 && replies ? replies_thaw(s->work, in) : rc;
}

static int thaw_reader(struct ws_socket *s, struct cursor *in)
{
    uint32_t fragments = cursor_u32(in);
    struct slice bytes = cursor_str32(in);

    if (in->failed || bytes.len == 0)
        return in->failed ? ERR_FRAME : 0;
    s->reader = calloc(1, sizeof *s->reader);
    return s->reader ? wsreader_thaw(s->reader, bytes, fragments) : ERR_NOMEM;
}

/* Who negotiated compression has it, whatever the configuration says now. */
static int need_deflate(struct conn *c)
{
    struct ws_worker *w = worker_of(c);

    if (!w->deflate)
        w->deflate = wsdeflate_new();
    return w->deflate ? 0 : ERR_NOMEM;
}

static int thaw_open(struct conn *c, struct cursor *in)
{
    struct ws_socket *s = ws_of(c);
    uint8_t flags = cursor_u8(in), window = cursor_u8(in);
    int rc;

    s->controls = cursor_u16(in);
    s->control_s = cursor_u32(in);
    if (in->failed || (flags & ~(unsigned)FROZEN_FLAGS) || window > 15)
        return ERR_FRAME;
    s->patterns = flags & FROZEN_PATTERNS;
    s->pinged = flags & FROZEN_PINGED;
    s->kind = flags & FROZEN_RAW ? &ws_raw : &ws_commands;
    s->window = window & 15u;
    s->state = WS_OPEN;
    rc = window ? need_deflate(c) : 0;
    if (rc == 0)
        rc = thaw_work(s, in);
    return rc < 0 ? rc : thaw_reader(s, in);
}

static int ws_thaw(struct conn *c, struct cursor *in)
{
    uint8_t state = cursor_u8(in);

    if (in->failed || (state != WS_HEAD && state != WS_OPEN))
        return ERR_FRAME;
    return state == WS_HEAD ? 0 : thaw_open(c, in);
}

static void ws_freeze_worker(struct gateway *g, struct buf *b)
{
    const struct ws_worker *w = gateway_edge_state(g);

    put_u32(b, w->last_ref);
}

static int ws_thaw_worker(struct gateway *g, struct cursor *in)
{
    struct ws_worker *w = gateway_edge_state(g);

    w->last_ref = cursor_u32(in);
    return in->failed ? ERR_FRAME : 0;
}

const struct edge ws_edge = {
    .name = "ws",
    .scheme = "ws",
    .conn_bytes = sizeof(struct ws_socket),
    .start = ws_start,
    .stop = ws_stop,
    .opened = ws_opened,
    .busy = ws_busy,
    .input = ws_input,
    .input_end = ws_input_end,
    .deadline = ws_deadline,
    .ping = ws_ping,
    .drained = ws_drained,
    .closed = ws_closed,
    .drain = ws_drain,
    .kicked = ws_kicked,
    .give_up = ws_give_up,
    .subscribed = ws_subscribed,
    .started = ws_started,
    .subscribe_failed = ws_subscribe_failed,
    .notice = ws_notice,
    .put = ws_put,
    .pulled = ws_pulled,
    .cut = ws_cut,
    .published = ws_published,
    .row = ws_row,
    .hole = ws_hole,
    .page_end = ws_page_end,
    .answered = ws_answer,
    .at_rest = ws_at_rest,
    .ending = ws_ending,
    .freeze = ws_freeze,
    .thaw = ws_thaw,
    .freeze_worker = ws_freeze_worker,
    .thaw_worker = ws_thaw_worker,
};
