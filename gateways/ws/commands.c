/* commands.c - /v1/ws: JSON commands in, JSON replies, messages and notices
 * out, one object to a text frame. */
#include "base/err.h"
#include "gateways/common/access.h"
#include "gateways/common/checks.h"
#include "gateways/common/envelope.h"
#include "gateways/common/gateway.h"
#include "gateways/ws/replies.h"
#include "gateways/ws/url.h"
#include "proto/id.h"
#include "proto/json.h"
#include "proto/names.h"

enum {
    ENVELOPE_FACTOR = 6,   /* a byte of data may be written as \u00XX */
    ENVELOPE_EXTRA = 4096, /* all the other fields */
};

/* A command as it has come. */
struct call {
    struct conn *conn;
    const struct command *command;
    struct slice json; /* the whole object */
    struct slice ref;  /* raw; empty: none */
    struct buf text;   /* strings of it without their escapes */
};

struct command {
    const char *name;
    void (*run)(struct call *call);
};

/* The command itself is wrong. code: a static word, and counted. */
static void refuse(struct call *call, const char *code, const char *text)
{
    ws_error(call->conn, call->ref, slice_str(code), slice_str(text));
}

/* ---- fields ------------------------------------------------------------ */

/* The text of a string; absent, or null, is a NULL ptr. False: something
 * else, and the client has been told. */
static bool text_field(struct call *call, const char *key, struct slice *ret)
{
    size_t from = call->text.len;
    struct slice raw;
    int rc = json_find(call->json, key, &raw);

    *ret = slice_make(NULL, 0);
    if (rc == ERR_NOT_FOUND || (rc == 0 && json_kind(raw) == JSON_NULL))
        return true;
    if (rc == 0)
        rc = json_unescape(&call->text, raw);
    if (rc < 0) {
        refuse(call, "field.bad", "a field that must be a string is none, or "
               "is there twice");
        return false;
    }
    *ret = slice_make(call->text.ptr + from, call->text.len - from);
    return true;
}

static bool channel_field(struct call *call, struct slice *ret)
{
    if (!text_field(call, "channel", ret))
        return false;
    if (!ret->ptr)
        refuse(call, "channel.missing", "which channel?");
    return ret->ptr;
}

/* People write 0 where they mean "0", the start of everything. */
static bool is_zero(const struct call *call, const char *key)
{
    struct slice raw;
    int64_t n;

    return json_find(call->json, key, &raw) == 0 &&
           json_integer(raw, &n) == 0 && n == 0;
}

static bool cursor_field(struct call *call, const char *key, bool *there,
                         struct position *ret)
{
    struct slice text;

    if (is_zero(call, key))
        text = SLICE("0");
    else if (!text_field(call, key, &text))
        return false;
    *there = text.ptr;
    if (!text.ptr || position_parse(text, ret) == 0)
        return true;
    refuse(call, "cursor.bad", "this is no cursor");
    return false;
}

/* A whole number from 1 to HISTORY_MAX; *ret stays when there is none. */
static bool count_field(struct call *call, const char *key, uint32_t *ret)
{
    struct slice raw;
    int64_t n = 0;
    int rc = json_find(call->json, key, &raw);

    if (rc == ERR_NOT_FOUND)
        return true;
    if (rc == 0)
        rc = json_integer(raw, &n);
    if (rc < 0 || n < 1) {
        refuse(call, "limit.bad", "last and limit are numbers from 1");
        return false;
    }
    *ret = (uint32_t)MIN(n, (int64_t)HISTORY_MAX);
    return true;
}

/* ---- the commands ------------------------------------------------------ */

static void run_subscribe(struct call *call)
{
    struct conn *c = call->conn;
    struct subscribe s = { .count = 1 };
    struct slice channel;
    struct refusal why;
    struct reply *r;

    if (!channel_field(call, &channel) ||
        !cursor_field(call, "since", &s.has_since, &s.since) ||
        !text_field(call, "name", &s.name))
        return;
    if (s.name.ptr && !name_valid(s.name)) {
        refuse(call, "name.bad", "a name has " NAME_RULE);
        return;
    }
    r = ws_reply_new(c, call->ref);
    if (!r)
        return;
    r->subscribes = true;
    buf_add(&r->channel, channel);
    s.channels = &channel;
    s.ref = r->ref;
    if (conn_subscribe(c, &s, &why) < 0)
        ws_reply_refused(c, r, &why);
    else
        ws_of(c)->patterns |= id_is_pattern(channel);
}

static void run_unsubscribe(struct call *call)
{
    struct slice channel;

    if (!text_field(call, "channel", &channel))
        return;
    if (channel.ptr && !channel.len) {
        refuse(call, "channel.bad", "it is empty");
    } else if (conn_unsubscribe(call->conn, channel) < 0 && channel.ptr) {
        refuse(call, "channel.unknown", "you are not subscribed to it");
    } else {
        replies_unsubscribed(call->conn, channel);
        ws_ok(call->conn, call->ref);
    }
}

static void run_publish(struct call *call)
{
    struct conn *c = call->conn;
    struct publish p = { .format = MSG_JSON };
    struct refusal why;
    struct reply *r;

    if (!channel_field(call, &p.channel) || !text_field(call, "key", &p.key) ||
        !text_field(call, "idempotency", &p.idempotency) ||
        !text_field(call, "from", &p.from))
        return;
    if (json_find(call->json, "data", &p.data) < 0) {
        refuse(call, "data.missing", "there must be data, once");
        return;
    }
    r = ws_reply_new(c, call->ref);
    if (r && (check_publish(&p, &why) < 0 ||
              conn_publish(c, &p, r->ref, &why) < 0))
        ws_reply_refused(c, r, &why);
}

/* A cursor of another epoch means nothing here: what was missed is not known,
 * and what there is is given. */
static void strange_cursor(struct reply *r, struct fetch *f)
{
    reply_strange(r, GAP_EPOCH);
    f->after = f->upto = 0;
    if (f->mode == FETCH_BEFORE)
        f->mode = FETCH_LAST;
}

static bool history_fields(struct call *call, struct fetch *f,
                           struct position *at)
{
    struct position before = { .seq = 0 };
    bool has_since = false, has_before = false;

    if (!cursor_field(call, "since", &has_since, at) ||
        !cursor_field(call, "before", &has_before, &before) ||
        !count_field(call, "limit", &f->limit) ||
        !count_field(call, "last", &f->limit))
        return false;
    if (has_since) {
        f->mode = FETCH_SINCE;
        f->after = at->seq;
    } else if (has_before) {
        *at = before;
        f->mode = FETCH_BEFORE;
        f->upto = at->seq;
    }
    return true;
}

static void run_history(struct call *call)
{
    struct conn *c = call->conn;
    struct slice channel;
    struct fetch f = {
        .mode = FETCH_LAST,
        .channels = &channel,
        .count = 1,
        .limit = HISTORY_DEFAULT,
        .bytes = (uint32_t)conn_config(c)->limits.page_bytes,
    };
    struct position at = { .seq = 0 };
    struct refusal why;
    struct reply *r;

    if (!channel_field(call, &channel) || !history_fields(call, &f, &at))
        return;
    if (id_problem(channel)) {
        refuse(call, "channel.bad", id_problem(channel));
        return;
    }
    r = ws_reply_new(c, call->ref);
    if (!r)
        return;
    buf_add(&r->channel, channel);
    ws_of(c)->work->exclusive = r->exclusive = true;
    if (at.epoch.text[0] &&
        !epoch_equal(&at.epoch, gateway_epoch(conn_gateway(c))))
        strange_cursor(r, &f);
    if (f.mode == FETCH_SINCE)
        r->since = f.after;
    r->everything = f.mode == FETCH_SINCE && f.after == 0;
    if (conn_fetch(c, &f, r->ref, &why) < 0)
        ws_reply_refused(c, r, &why);
}

static void run_presence(struct call *call)
{
    struct conn *c = call->conn;
    struct slice channel;
    struct refusal why;
    struct reply *r;

    if (!channel_field(call, &channel))
        return;
    if (id_problem(channel)) {
        refuse(call, "channel.bad", id_problem(channel));
        return;
    }
    r = ws_reply_new(c, call->ref);
    if (!r)
        return;
    buf_add(&r->channel, channel);
    if (conn_query(c, "presence", channel, r->ref, &why) < 0)
        ws_reply_refused(c, r, &why);
}

static void run_auth(struct call *call)
{
    struct conn *c = call->conn;
    const struct config_token *t;
    struct slice secret;

    if (!text_field(call, "token", &secret))
        return;
    t = secret.ptr ? access_token(conn_config(c), secret) : NULL;
    if (!t) {
        refuse(call, "token.unknown", ACCESS_UNKNOWN);
        return;
    }
    conn_set_token(c, t);
    ws_ok(c, call->ref);
}

static void run_ping(struct call *call)
{
    ws_ok(call->conn, call->ref);
}

static const struct command commands[] = {
    { "subscribe", run_subscribe },     /* channel, since?, name? */
    { "unsubscribe", run_unsubscribe }, /* channel? */
    { "publish", run_publish },   /* channel, data, key?, idempotency?, from? */
    { "history", run_history },   /* channel, last? since? before? limit? */
    { "presence", run_presence }, /* channel */
    { "auth", run_auth },         /* token */
    { "ping", run_ping },
};

static const struct command *find_command(struct slice raw)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (json_is(raw, slice_str(commands[i].name)))
            return &commands[i];
    return NULL;
}

/* ---- a message comes --------------------------------------------------- */

/* False: there is one, and it cannot be echoed. */
static bool read_ref(struct call *call)
{
    struct slice raw;
    int rc = json_find(call->json, "ref", &raw);

    if (rc == ERR_NOT_FOUND)
        return true;
    if (rc < 0 || raw.len > REPLY_REF_MAX)
        return false;
    call->ref = raw;
    return true;
}

static void run(struct call *call)
{
    struct slice raw;

    if (json_kind(call->json) != JSON_OBJECT)
        refuse(call, "command.bad", "a command is a JSON object");
    else if (!read_ref(call))
        refuse(call, "ref.bad", "a ref is there once, and short");
    else if (json_find(call->json, "cmd", &raw) < 0)
        refuse(call, "command.missing", "there must be a cmd, once");
    else if (!(call->command = find_command(raw)))
        refuse(call, "command.unknown", "subscribe, unsubscribe, publish, "
               "history, presence, auth and ping are known");
    else
        call->command->run(call);
}

static void commands_message(struct conn *c, enum ws_opcode op,
                             struct slice payload)
{
    struct call call = { .conn = c, .json = slice_trim(payload) };

    if (op != WS_TEXT) {
        ws_violated(c, WS_UNSUPPORTED, "commands are text");
        return;
    }
    if (json_check(payload, JSON_DEPTH_MAX, NULL) < 0) {
        refuse(&call, "json.bad", "this is not JSON");
    } else if (buf_reserve(&call.text, payload.len)) { /* so that none moves */
        run(&call);
    } else { /* this command, and none that is still to be answered */
        if (json_kind(call.json) == JSON_OBJECT)
            (void)read_ref(&call);
        refuse(&call, "server.memory", "the server is out of memory");
    }
    buf_fini(&call.text);
}

static size_t commands_message_limit(const struct config *cfg)
{
    return cfg->limits.message * ENVELOPE_FACTOR + ENVELOPE_EXTRA;
}

/* ---- the URL, the welcome, the good-bye -------------------------------- */

static int commands_begin(struct conn *c, struct query *q, bool *waits,
                          struct refusal *why)
{
    struct slice channel;
    size_t at = 0;

    *waits = query_next(q, &at, "channel", &channel);
    return *waits ? url_subscribe(c, q, why) : 0;
}

static void commands_opened(struct conn *c)
{
    struct buf *b = ws_text_begin(c);
    int64_t ping_ms = conn_config(c)->limits.ping / MILLISECOND;

    buf_add_str(b, "{\"notice\":\"welcome\",\"server\":\"touchline "
                TOUCHLINE_VERSION "\",\"ping\":");
    buf_add_u64(b, (uint64_t)ping_ms / 1000);
    if (ping_ms % 1000)
        buf_addf(b, ".%03u", (unsigned)(ping_ms % 1000));
    buf_add_byte(b, '}');
    ws_text_end(c);
}

static void commands_notice(struct conn *c, const struct notice *n)
{
    struct buf *b = ws_text_begin(c);

    envelope_notice(b, n);
    ws_text_end(c);
}

static void commands_goodbye(struct conn *c, const char *text,
                             uint32_t retry_ms)
{
    struct notice n = {
        .kind = NOTICE_CLOSING, .text = text, .retry_ms = retry_ms};

    if (conn_channels(c))
        n.cursor = conn_cursor(c);
    commands_notice(c, &n);
}

static enum ws_opcode commands_encode(struct conn *c, const struct msg *m,
                                      unsigned flags, struct buf *b)
{
    envelope_message(b, m, gateway_epoch(conn_gateway(c)), flags);
    return WS_TEXT;
}

const struct ws_kind ws_commands = {
    .message_limit = commands_message_limit,
    .begin = commands_begin,
    .opened = commands_opened,
    .message = commands_message,
    .encode = commands_encode,
    .form = FORM_MESSAGE,
    .replay_form = FORM_REPLAY,
    .goodbye = commands_goodbye,
    .free = replies_free,
    .left = replies_left,
    .notice = commands_notice,
    .subscribed = replies_subscribed,
    .subscribe_failed = replies_subscribe_failed,
    .published = replies_published,
    .row = replies_row,
    .hole = replies_hole,
    .page_end = replies_page_end,
    .answered = replies_answered,
};
