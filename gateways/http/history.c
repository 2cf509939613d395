#include "gateways/http/history.h"

#include <stdlib.h>

#include "base/err.h"
#include "gateways/common/envelope.h"
#include "gateways/common/target.h"
#include "gateways/http/http.h"
#include "proto/id.h"

struct past {
    enum fetch_mode mode;
    struct position since; /* of since= or before= */
    bool at_row;           /* the last thing in the answer is a message */
    uint64_t last_seq;     /* of it */
    size_t channel_len;
    uint8_t channel[ID_MAX];
};

static void past_add(struct exchange *x)
{
    if (x->body.len)
        buf_add_byte(&x->body, ',');
}

static void past_row(struct exchange *x, struct msg *m)
{
    struct past *p = x->state;

    past_add(x);
    envelope_message(&x->body, m, gateway_epoch(conn_gateway(x->conn)), 0);
    p->at_row = true;
    p->last_seq = m->seq;
}

static void past_hole(struct exchange *x, const struct frame_hole *h)
{
    struct past *p = x->state;
    struct notice n = notice_of_hole(h);

    /* Who asks for all that is kept misses nothing that is not. */
    if (n.why == GAP_TRIMMED && p->since.seq == 0)
        return;
    past_add(x);
    envelope_notice(&x->body, &n);
    p->at_row = false;
}

/* A cursor that means nothing here: what was missed is not known, and what
 * there is is given. */
static void past_strange(struct exchange *x, struct past *p,
                         enum gap_why why)
{
    struct slice channel = slice_make(p->channel, p->channel_len);
    struct notice n = {
        .kind = NOTICE_GAP, .channels = &channel, .count = 1, .why = why};

    past_add(x);
    envelope_notice(&x->body, &n);
    if (p->mode == FETCH_BEFORE)
        p->mode = FETCH_LAST;
    p->since.seq = 0;
}

static void reply_unread(struct exchange *x, int err)
{
    if (err == ERR_BUSY)
        reply_error(x, 503, "router.away",
                    SLICE("The router cannot be reached just now."));
    else
        reply_error(x, 503, "store.failed",
                    SLICE("History cannot be read just now."));
}

/* The seq up to which this gateway has heard everything. */
static uint64_t place_of(struct conn *c)
{
    struct position here = {.seq = 0};

    if (position_parse(conn_cursor(c), &here) < 0)
        return 0;
    return here.seq;
}

/* Nothing can be read behind the end. */
static bool from_future(struct conn *c, const struct past *p)
{
    return p->mode == FETCH_SINCE && p->since.seq > place_of(c);
}

static void past_end(struct exchange *x, int err, bool more, uint64_t upto)
{
    struct past *p = x->state;
    char cursor[CURSOR_TEXT_MAX];
    struct buf b = BUF_INIT;

    if (err && !from_future(x->conn, p)) {
        reply_unread(x, err);
        return;
    }
    if (err)
        upto = place_of(x->conn);
    if (p->mode == FETCH_SINCE && p->since.seq > upto)
        past_strange(x, p, GAP_FUTURE);
    /* What is said of a page that holds messages depends on these alone, so
     * that its tag stays the same while others are busy elsewhere. */
    upto = p->at_row ? p->last_seq : upto;
    buf_addf(&b, "{\"cursor\":\"" SLICE_FMT "\",\"messages\":[",
             SLICE_ARG(slice_make(cursor, position_format(
                 cursor, gateway_epoch(conn_gateway(x->conn)), upto))));
    buf_add(&b, buf_slice(&x->body));
    buf_addf(&b, "],\"more\":%s}\n", more ? "true" : "false");
    x->flags |= EXCHANGE_TAGGED;
    if (b.failed || x->body.failed)
        reply_no_memory(x);
    else
        reply(x, 200, "application/json", buf_slice(&b));
    buf_fini(&b);
}

static const struct exchange_ops past_ops = {
    .row = past_row,
    .hole = past_hole,
    .page_end = past_end,
    .free = free,
};

/* Which page the query asks for. */
static int read_page(struct query *q, struct past *p, uint64_t *limit)
{
    struct slice since = query_get(q, "since");
    struct slice before = query_get(q, "before");
    int rc = query_number(q, "limit", HISTORY_DEFAULT, HISTORY_MAX, limit);

    if (rc == 0)
        rc = query_number(q, "last", *limit, HISTORY_MAX, limit);
    p->mode = since.ptr ? FETCH_SINCE : before.ptr ? FETCH_BEFORE : FETCH_LAST;
    if (rc == 0 && p->mode != FETCH_LAST)
        rc = position_parse(since.ptr ? since : before, &p->since);
    return rc == 0 && *limit == 0 ? ERR_BAD : rc;
}

static void past_fetch(struct exchange *x, struct past *p,
                       struct slice channel, uint64_t limit)
{
    struct gateway *g = conn_gateway(x->conn);
    struct fetch f = {
        .channels = &channel,
        .count = 1,
        .limit = (uint32_t)limit,
        .bytes = (uint32_t)conn_config(x->conn)->limits.page_bytes,
    };
    struct refusal why;

    p->channel_len = channel.len;
    memcpy(p->channel, channel.ptr, channel.len);
    if (p->since.epoch.text[0] &&
        !epoch_equal(&p->since.epoch, gateway_epoch(g)))
        past_strange(x, p, GAP_EPOCH);
    f.mode = p->mode;
    if (p->mode == FETCH_SINCE)
        f.after = p->since.seq;
    else if (p->mode == FETCH_BEFORE)
        f.upto = p->since.seq;
    if (conn_fetch(x->conn, &f, exchange_ref(x, 0), &why) < 0)
        reply_refusal(x, &why);
}

void history_of(struct exchange *x, const struct call *call,
                    struct slice channel)
{
    const char *problem = id_problem(channel);
    struct past *p = calloc(1, sizeof *p);
    uint64_t limit;
    struct query q;

    x->ops = &past_ops;
    x->state = p;
    if (!p || query_init(&q, call->request->query) < 0) {
        reply_no_memory(x);
        return;
    }
    if (problem)
        reply_error(x, 400, "channel.bad", slice_str(problem));
    else if (read_page(&q, p, &limit) < 0)
        reply_error(x, 400, "page.bad",
                    SLICE("last and limit are numbers from 1; since and "
                          "before are cursors."));
    else if (!config_compresses(conn_config(x->conn), channel) ||
             exchange_may_pack(x))
        past_fetch(x, p, channel, limit);
    query_fini(&q);
}

void history_channel(struct exchange *x, const struct call *call)
{
    history_of(x, call, call->tail);
}
