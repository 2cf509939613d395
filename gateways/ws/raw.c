/* raw.c - /v1/raw?channel=A[&publish=B]: no envelope. Each message that comes
 * is one to B, each message to A goes out as its bare bytes.
 *
 * There are no notices: where messages were missed the connection ends, so
 * that silence is never taken for wholeness. What has no history is the
 * exception: it promises nothing over a restart of the router. */
#include <stdlib.h>

#include "base/err.h"
#include "gateways/common/access.h"
#include "gateways/common/gateway.h"
#include "gateways/ws/socket.h"
#include "gateways/ws/url.h"
#include "proto/id.h"
#include "proto/json.h"

static size_t raw_message_limit(const struct config *cfg)
{
    return cfg->limits.message;
}

/* The one value of a key; *ret has a NULL ptr when there is none. */
static int one_value(struct query *q, const char *key, struct slice *ret,
                     struct refusal *why)
{
    struct slice second;
    size_t at = 0;

    *ret = slice_make(NULL, 0);
    if (query_next(q, &at, key, ret) && query_next(q, &at, key, &second))
        return url_bad(why, "channel.many", "/v1/raw takes one channel, and "
                       "one publish");
    return 0;
}

static int set_target(struct conn *c, struct slice target,
                      struct refusal *why)
{
    const char *problem = id_problem(target);
    struct ws_work *w = ws_of(c)->work;

    if (problem)
        return url_bad(why, "channel.bad", problem);
    w->target = slice_dup(target);
    if (w->target)
        return access_may_publish(c, target, why);
    (void)url_bad(why, "server.memory", "the server is out of memory");
    why->status = PUBLISHED_UNAVAILABLE;
    return ERR_NOMEM;
}

/* Bare bytes carry no cursor to come back with, so none means anything. */
static int refuse_since(struct query *q, struct refusal *why)
{
    if (query_get(q, "since").ptr)
        return url_bad(why, "since.raw", "/v1/raw begins with what comes next; "
                       "to resume, use /v1/ws");
    return 0;
}

static int raw_begin(struct conn *c, struct query *q, bool *waits,
                     struct refusal *why)
{
    struct slice channel, target;
    struct subscribe s = { .channels = &channel, .count = 1 };
    int rc = one_value(q, "channel", &channel, why);

    if (rc == 0)
        rc = one_value(q, "publish", &target, why);
    if (rc == 0)
        rc = refuse_since(q, why);
    if (rc == 0 && !channel.ptr)
        rc = url_bad(why, "channel.missing", "/v1/raw?channel=A[&publish=B]");
    if (rc == 0 && target.ptr)
        rc = set_target(c, target, why);
    if (rc == 0)
        rc = conn_subscribe(c, &s, why);
    ws_of(c)->patterns = rc == 0 && id_is_pattern(channel);
    *waits = true;
    return rc;
}

/* ---- in ---------------------------------------------------------------- */

static void ended_by(struct conn *c, enum publish_status status)
{
    switch (status) {
    case PUBLISHED_TOO_BIG:
        ws_violated(c, WS_TOO_BIG, "the message is too big");
        break;
    case PUBLISHED_TOO_MANY:
    case PUBLISHED_UNAVAILABLE:
        ws_violated(c, WS_TRY_LATER, "the message was not taken; try later");
        break;
    case PUBLISHED_UNKNOWN:
        ws_violated(c, WS_TRY_LATER, "the message may or may not have been "
                    "taken");
        break;
    default:
        ws_violated(c, WS_POLICY, "the message was refused");
    }
}

static void raw_message(struct conn *c, enum ws_opcode op,
                        struct slice payload)
{
    struct ws_work *w = ws_of(c)->work;
    struct publish p = {
        .data = payload,
        .format = op == WS_TEXT ? MSG_TEXT : MSG_BYTES,
    };
    struct refusal why;
    uint32_t ref;

    if (!w || !w->target) {
        ws_violated(c, WS_POLICY, "this connection only listens: the URL has "
                    "no publish");
        return;
    }
    p.channel = slice_str(w->target);
    ref = ws_ref(c);
    if (ref && conn_publish(c, &p, ref, &why) < 0) {
        ws_answered(c);
        ended_by(c, why.status);
    }
}

static void raw_published(struct conn *c, uint32_t ref,
                          const struct published *p)
{
    UNUSED(ref);
    ws_answered(c);
    if (p->status > PUBLISHED_DUPLICATE)
        ended_by(c, p->status);
}

/* ---- out --------------------------------------------------------------- */

static enum ws_opcode raw_encode(struct conn *c, const struct msg *m,
                                 unsigned flags, struct buf *b)
{
    UNUSED(c);
    UNUSED(flags);
    if (m->kind.len) { /* of a type: in the form that publishes it */
        buf_add_str(b, "{\"kind\":");
        json_put_string(b, m->kind);
        buf_add_str(b, ",\"data\":");
        buf_add(b, m->data);
        buf_add_byte(b, '}');
    } else {
        buf_add(b, m->data);
    }
    return m->format == MSG_BYTES ? WS_BINARY : WS_TEXT;
}

static void raw_notice(struct conn *c, const struct notice *n)
{
    if (n->kind != NOTICE_GAP || n->why == GAP_VOLATILE)
        return;
    if (n->why == GAP_SLOW || n->why == GAP_CONFLATED)
        ws_close(c, WS_SLOW, "too slow", "slow");
    else
        ws_close(c, WS_NO_RESUME, gap_why_text(n->why), "no_resume");
}

const struct ws_kind ws_raw = {
    .message_limit = raw_message_limit,
    .begin = raw_begin,
    .message = raw_message,
    .encode = raw_encode,
    .form = FORM_RAW,
    .replay_form = FORM_RAW,
    .notice = raw_notice,
    .published = raw_published,
};
