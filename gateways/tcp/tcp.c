#include "gateways/tcp/tcp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "gateways/common/gateway.h"
#include "gateways/tcp/print.h"
#include "gateways/tcp/session.h"
#include "gateways/tcp/verbs.h"
#include "gateways/tcp/watch.h"
#include "proto/id.h"
#include "proto/names.h"

/* What a message's forms are here. */
enum { FORM_LINE, FORM_REPLAY, FORM_FRAME };

/* One per worker. */
struct tcp_worker {
    uint32_t last_ref;
    char busy[80];
    struct buf scratch;
};

static int tcp_start(struct gateway *g)
{
    struct tcp_worker *w = calloc(1, sizeof *w);

    if (!w)
        return ERR_NOMEM;
    gateway_set_edge_state(g, w);
    return 0;
}

static void tcp_stop(struct gateway *g)
{
    struct tcp_worker *w = gateway_edge_state(g);

    if (w)
        buf_fini(&w->scratch);
    free(w);
}

uint32_t tcp_ref(struct conn *c)
{
    struct tcp_worker *w = gateway_edge_state(conn_gateway(c));

    if (++w->last_ref == 0)
        w->last_ref = 1;
    return w->last_ref;
}

/* ---- a client comes, speaks, goes -------------------------------------- */

static void tcp_opened(struct conn *c)
{
    buf_add_str(conn_out(c), "Welcome to Match Stream.\r\n"
                "To watch the current game use: V:2:<your-name>\r\n");
}

static struct slice tcp_busy(const struct gateway *g)
{
    struct tcp_worker *w = gateway_edge_state(g);
    uint32_t ms = gateway_retry_ms((struct gateway *)(uintptr_t)g);

    snprintf(w->busy, sizeof w->busy, "ERROR busy: all places are taken, "
             "come back in %u s\r\n", (unsigned)(ms + 999) / 1000);
    return slice_str(w->busy);
}

static ssize_t tcp_input(struct conn *c, struct slice bytes)
{
    struct tcp *t = tcp_of(c);
    uint32_t limit = (uint32_t)conn_config(c)->limits.line;
    enum line_event event = LINE_TEXT;
    struct slice in = bytes, line;

    while (event != LINE_MORE && session_ready(c)) {
        if (line_next(&t->line, &in, limit, &event, &line) < 0)
            conn_abort(c, "memory");
        else if (event != LINE_MORE)
            verbs_take(c, event, line);
    }
    session_settle(c);
    return (ssize_t)(bytes.len - in.len);
}

static void tcp_input_end(struct conn *c)
{
    session_end(c, "client", NULL);
}

static void tcp_drain(struct conn *c)
{
    session_end(c, "server", "the server goes down for a moment");
}

static void tcp_kicked(struct conn *c)
{
    session_end(c, "server", session_kicked);
}

/* The socket may have taken less than was put, and the last event is put
 * again then: it is out when the connection's cursor has reached it. */
static bool match_is_over(struct conn *c)
{
    const struct tcp *t = tcp_of(c);
    struct position at;

    return t->watch && t->watch->last_seq &&
           position_parse(conn_cursor(c), &at) == 0 &&
           at.seq >= t->watch->last_seq;
}

static void tcp_drained(struct conn *c)
{
    if (match_is_over(c))
        conn_close(c, "match_over");
    else
        session_settle(c);
}

static void tcp_closed(struct conn *c)
{
    struct tcp *t = tcp_of(c);

    session_free(c);
    line_fini(&t->line);
    free(t->watch);
    t->watch = NULL;
}

static void tcp_cut(struct conn *c)
{
    tcp_error(c, "slow", "you read too slowly; SUB with the last cursor you "
              "have seen goes on from there");
}

/* ---- subscriptions ----------------------------------------------------- */

static bool watches(const struct tcp *t, struct slice id)
{
    return t->watch && slice_eq(id, slice_make(t->watch->id, t->watch->len));
}

/* A SUB or JOIN that has not been answered. */
static bool owes_ok(struct conn *c)
{
    const struct session *s = tcp_of(c)->session;

    return s && s->busy && s->subscribes;
}

static void tcp_subscribed(struct conn *c, uint32_t ref)
{
    const struct verb *v = session_busy(c, ref);

    if (v && owes_ok(c) && tcp_of(c)->session->added)
        verbs_subscribed(c, conn_cursor(c));
}

static void drop_watch(struct conn *c)
{
    struct tcp *t = tcp_of(c);
    struct slice id = slice_make(t->watch->id, t->watch->len);

    if (!t->watch->held)
        (void)conn_unsubscribe(c, id);
    free(t->watch);
    t->watch = NULL;
}

static void tcp_started(struct conn *c, uint32_t ref)
{
    if (!session_busy(c, ref))
        return;
    if (owes_ok(c)) {
        verbs_subscribed(c, conn_cursor(c));
        return;
    }
    if (tcp_of(c)->session->unknown) {
        drop_watch(c);
        tcp_error(c, "match.unknown", "there is no such match");
    }
    session_done(c);
}

static void tcp_subscribe_failed(struct conn *c, uint32_t ref,
                                 const char *code, struct slice text)
{
    struct tcp *t = tcp_of(c);

    if (!session_busy(c, ref))
        return;
    if (!owes_ok(c)) {
        free(t->watch);
        t->watch = NULL;
    }
    tcp_refused(c, slice_str(code), text);
    session_done(c);
}

static bool has_state(const struct notice *n)
{
    return n->state.len && !slice_eq(n->state, SLICE("null"));
}

static void watched_status(struct conn *c, const struct notice *n)
{
    struct session *s = tcp_of(c)->session;

    if (!has_state(n)) {
        if (s && s->busy)
            s->unknown = true;
        return;
    }
    watch_print_status(conn_out(c), n->state, clock_wall_ms());
    if (!watch_in_play(n->state))
        conn_close(c, "match_over");
}

/* OK SUB says what the first notice does, unless that has a state. */
static void tcp_notice(struct conn *c, const struct notice *n)
{
    const struct tcp *t = tcp_of(c);
    bool first = owes_ok(c) && n->count &&
                 slice_eq(n->channels[0], buf_slice(&t->session->subject));

    if (n->kind == NOTICE_SNAPSHOT && watches(t, n->channels[0])) {
        watched_status(c, n);
        return;
    }
    if (first)
        verbs_subscribed(c, n->cursor);
    if (n->kind == NOTICE_SNAPSHOT && !has_state(n))
        return;
    if (n->kind == NOTICE_RESUMED && first)
        return;
    print_notice(conn_out(c), n);
}

/* ---- messages ---------------------------------------------------------- */

static struct wire *make_form(struct conn *c, const struct msg *m, int form)
{
    struct tcp_worker *k = gateway_edge_state(conn_gateway(c));
    struct wire *w;

    buf_reset(&k->scratch);
    if (form == FORM_FRAME)
        watch_print_event(&k->scratch, m);
    else
        print_message(&k->scratch, m, form == FORM_LINE ? cursor_of(c, m)
                                                        : SLICE("-"));
    if (k->scratch.failed)
        return NULL;
    w = wire_new(k->scratch.len);
    if (w)
        memcpy(w->bytes, k->scratch.ptr, k->scratch.len);
    return w;
}

static enum put_result tcp_put(struct conn *c, struct msg *m, unsigned flags,
                               struct outvec *v)
{
    struct tcp *t = tcp_of(c);
    int form = flags & PUT_REPLAY ? FORM_REPLAY : FORM_LINE;

    if (watches(t, m->id) && m->kind.len)
        form = FORM_FRAME;
    if (!m->forms[form])
        m->forms[form] = make_form(c, m, form);
    if (!m->forms[form]) {
        conn_abort(c, "memory");
        return PUT_OK;
    }
    if (form == FORM_FRAME && watch_is_last(m)) {
        t->watch->last_seq = m->seq;
        conn_want_drained(c);
    }
    outvec_wire(v, m->forms[form]);
    return PUT_OK;
}

/* ---- answers ----------------------------------------------------------- */

static void tcp_published(struct conn *c, uint32_t ref,
                          const struct published *p)
{
    session_published(c, ref, p);
}

static void tcp_row(struct conn *c, uint32_t ref, struct msg *m)
{
    if (session_busy(c, ref))
        verbs_row(c, m);
}

static void tcp_hole(struct conn *c, uint32_t ref, const struct frame_hole *h)
{
    struct notice n = {
        .kind = NOTICE_GAP,
        .channels = &h->id,
        .count = 1,
        .why = h->why == HOLE_TRIMMED ? GAP_TRIMMED : GAP_DAMAGED,
        .from = h->from,
        .to = h->to,
        .missed = h->from && h->to ? h->to - h->from + 1 : 0,
    };

    if (session_busy(c, ref))
        print_notice(conn_out(c), &n);
}

static void tcp_page_end(struct conn *c, uint32_t ref, int err, bool more,
                         uint64_t upto)
{
    UNUSED(more);
    UNUSED(upto);
    if (session_busy(c, ref))
        verbs_page_end(c, err);
}

static void tcp_answered(struct conn *c, uint32_t ref,
                         enum publish_status status, bool json,
                         struct slice body, uint64_t seq)
{
    UNUSED(seq);
    if (session_busy(c, ref))
        verbs_answered(c, status, json, body);
}

/* ---- a successor takes over -------------------------------------------- */

FROZEN_SIZE(struct watch, 16);
FROZEN_SIZE(struct line, 16);

static bool tcp_at_rest(struct conn *c)
{
    return session_at_rest(tcp_of(c)->session);
}

static void tcp_freeze(struct conn *c, struct buf *b)
{
    const struct tcp *t = tcp_of(c);

    line_freeze(&t->line, b);
    session_freeze(c, b);
    put_u8(b, t->watch != NULL);
    if (!t->watch)
        return;
    put_u64(b, t->watch->last_seq);
    put_u8(b, t->watch->held);
    put_str8(b, slice_make(t->watch->id, t->watch->len));
}

static int thaw_watch(struct tcp *t, struct cursor *in)
{
    uint64_t last_seq = cursor_u64(in);
    bool held = cursor_u8(in);
    struct slice id = cursor_str8(in);

    if (in->failed || id_problem(id))
        return ERR_FRAME;
    t->watch = calloc(1, sizeof *t->watch + id.len);
    if (!t->watch)
        return ERR_NOMEM;
    t->watch->last_seq = last_seq;
    t->watch->held = held;
    t->watch->len = (uint8_t)id.len;
    memcpy(t->watch->id, id.ptr, id.len);
    return 0;
}

static int tcp_thaw(struct conn *c, struct cursor *in)
{
    struct tcp *t = tcp_of(c);
    int rc = line_thaw(&t->line, in);

    if (rc == 0)
        rc = session_thaw(c, in);
    if (rc == 0 && cursor_u8(in))
        rc = thaw_watch(t, in);
    return rc == 0 && in->failed ? ERR_FRAME : rc;
}

static void tcp_freeze_worker(struct gateway *g, struct buf *b)
{
    const struct tcp_worker *w = gateway_edge_state(g);

    put_u32(b, w->last_ref);
}

static int tcp_thaw_worker(struct gateway *g, struct cursor *in)
{
    struct tcp_worker *w = gateway_edge_state(g);

    w->last_ref = cursor_u32(in);
    return in->failed ? ERR_FRAME : 0;
}

const struct edge tcp_edge = {
    .name = "tcp",
    .scheme = "tcp",
    .crowds_ask = true, /* V:2: for the current match */
    .conn_bytes = sizeof(struct tcp),
    .start = tcp_start,
    .stop = tcp_stop,
    .opened = tcp_opened,
    .busy = tcp_busy,
    .input = tcp_input,
    .input_end = tcp_input_end,
    .drained = tcp_drained,
    .closed = tcp_closed,
    .drain = tcp_drain,
    .kicked = tcp_kicked,
    .give_up = session_give_up,
    .subscribed = tcp_subscribed,
    .started = tcp_started,
    .subscribe_failed = tcp_subscribe_failed,
    .notice = tcp_notice,
    .put = tcp_put,
    .cut = tcp_cut,
    .published = tcp_published,
    .row = tcp_row,
    .hole = tcp_hole,
    .page_end = tcp_page_end,
    .answered = tcp_answered,
    .at_rest = tcp_at_rest,
    .freeze = tcp_freeze,
    .thaw = tcp_thaw,
    .freeze_worker = tcp_freeze_worker,
    .thaw_worker = tcp_thaw_worker,
};
