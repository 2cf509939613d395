#include "gateways/http/match.h"

#include <stdlib.h>

#include "base/err.h"
#include "gateways/common/envelope.h"
#include "gateways/common/target.h"
#include "gateways/http/api.h"
#include "gateways/http/history.h"
#include "gateways/http/http.h"
#include "gateways/http/publish.h"
#include "proto/json.h"
#include "proto/names.h"

enum { DATE_LEN = sizeof "2011-09-13" - 1 };

/* "match/" and the id of the path. */
static struct slice channel_of(struct buf *b, const char *prefix,
                               struct slice id)
{
    buf_reset(b);
    buf_add_str(b, prefix);
    buf_add(b, id);
    return buf_slice(b);
}

/* {"id":"..."} */
static struct slice id_args(struct buf *b, struct slice id)
{
    buf_reset(b);
    buf_add_str(b, "{\"id\":");
    json_put_string(b, id);
    buf_add_byte(b, '}');
    return buf_slice(b);
}

/* The object, with this text as its first member. */
static void put_with_first(struct buf *out, const char *name,
                           struct slice text, struct slice object)
{
    struct json_iter it = json_iter(object);
    struct slice key, value;

    buf_add_byte(out, '{');
    json_put_key(out, name);
    json_put_string(out, text);
    while (json_next(&it, &key, &value)) {
        buf_add_byte(out, ',');
        buf_add(out, key);
        buf_add_byte(out, ':');
        buf_add(out, value);
    }
    buf_add_byte(out, '}');
}

/* ---- asking ------------------------------------------------------------- */

/* The cursor is exact: whoever resumes there gets what the answer lacks and
 * nothing that is in it. */
static void object_answered(struct exchange *x, enum publish_status status,
                            bool json, struct slice body)
{
    const struct epoch *epoch = gateway_epoch(conn_gateway(x->conn));
    char text[CURSOR_TEXT_MAX];
    struct slice cursor = slice_make(text,
                                     position_format(text, epoch, x->seq));

    if (status != PUBLISHED_OK) {
        api_query_failed(x, status, body);
        return;
    }
    if (json && json_kind(body) == JSON_OBJECT)
        put_with_first(&x->body, "cursor", cursor, body);
    else
        buf_add(&x->body, body);
    reply_gathered(x, 200);
}

static const struct exchange_ops object_ops = {.answered = object_answered};

static void ask_for_id(struct exchange *x, const struct exchange_ops *ops,
                       const char *verb, struct slice id)
{
    struct buf args = BUF_INIT;

    id_args(&args, id);
    if (args.failed)
        reply_no_memory(x);
    else
        api_ask(x, ops, verb, buf_slice(&args));
    buf_fini(&args);
}

void match_teams(struct exchange *x, const struct call *call)
{
    UNUSED(call);
    api_ask(x, &object_ops, "team.list", SLICE("{}"));
}

void match_team(struct exchange *x, const struct call *call)
{
    ask_for_id(x, &object_ops, "team.get", call->tail);
}

void match_show(struct exchange *x, const struct call *call)
{
    ask_for_id(x, &object_ops, "match.get", call->tail);
}

void match_list(struct exchange *x, const struct call *call)
{
    static const char *const keys[] = {"date", "team", "period"};
    struct buf args = BUF_INIT;
    struct query q;

    if (query_init(&q, call->request->query) < 0) {
        reply_no_memory(x);
        return;
    }
    buf_add_byte(&args, '{');
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct slice value = query_get(&q, keys[i]);

        if (!value.ptr)
            continue;
        json_put_key(&args, keys[i]);
        json_put_string(&args, value);
    }
    buf_add_byte(&args, '}');
    if (args.failed)
        reply_no_memory(x);
    else
        api_ask(x, &object_ops, "match.list", buf_slice(&args));
    buf_fini(&args);
    query_fini(&q);
}

void match_events(struct exchange *x, const struct call *call)
{
    struct buf b = BUF_INIT;
    struct slice channel = channel_of(&b, "match/", call->tail);

    if (b.failed)
        reply_no_memory(x);
    else
        history_of(x, call, channel);
    buf_fini(&b);
}

/* ---- acts --------------------------------------------------------------- */

static void act_published(struct exchange *x, unsigned index,
                          const struct published *p)
{
    const struct epoch *epoch = gateway_epoch(conn_gateway(x->conn));
    char text[CURSOR_TEXT_MAX];
    struct slice cursor = slice_make(text,
                                     position_format(text, epoch, p->seq));
    UNUSED(index);
    exchange_published(x, p);
    if (p->status > PUBLISHED_DUPLICATE) {
        reply_unpublished(x, p);
        return;
    }
    put_with_first(&x->body, "cursor", cursor, p->body);
    reply_gathered(x, p->created ? 201 : 200);
}

static const struct exchange_ops act_ops = {.published = act_published};

static void act(struct exchange *x, const struct call *call, const char *verb,
                struct slice channel, struct slice args)
{
    struct slice from = call->request->field[FIELD_TOUCHLINE_FROM];
    struct refusal why;

    x->ops = &act_ops;
    if (from.ptr && !name_valid(from))
        reply_error(x, 400, "from.bad",
                    SLICE("A name has " NAME_RULE "."));
    else if (conn_act(x->conn, verb, channel, from, args, exchange_ref(x, 0),
                      &why) < 0)
        reply_refusal(x, &why);
}

static bool is_object(struct exchange *x, const struct call *call)
{
    if (!api_is_json(x, call))
        return false;
    if (json_kind(call->body) == JSON_OBJECT)
        return true;
    reply_error(x, 400, "body.bad", SLICE("Send a JSON object."));
    return false;
}

/* The id of the path becomes a member; the type refuses a second one. */
void match_put_team(struct exchange *x, const struct call *call)
{
    struct buf args = BUF_INIT, channel = BUF_INIT;

    if (!is_object(x, call))
        return;
    put_with_first(&args, "id", call->tail, call->body);
    channel_of(&channel, "team/", call->tail);
    if (args.failed || channel.failed)
        reply_no_memory(x);
    else
        act(x, call, "team.put", buf_slice(&channel), buf_slice(&args));
    buf_fini(&args);
    buf_fini(&channel);
}

/* Which id it will have is the type's to say: who may create any match may
 * create this one. */
void match_create(struct exchange *x, const struct call *call)
{
    if (is_object(x, call))
        act(x, call, "match.new", SLICE("match/new"), call->body);
}

void match_cancel(struct exchange *x, const struct call *call)
{
    struct buf args = BUF_INIT, channel = BUF_INIT;

    id_args(&args, call->tail);
    channel_of(&channel, "match/", call->tail);
    if (args.failed || channel.failed)
        reply_no_memory(x);
    else
        act(x, call, "match.cancel", buf_slice(&channel), buf_slice(&args));
    buf_fini(&args);
    buf_fini(&channel);
}

void match_event(struct exchange *x, const struct call *call)
{
    struct buf b = BUF_INIT;
    struct slice channel = channel_of(&b, "match/", call->tail);

    if (b.failed)
        reply_no_memory(x);
    else
        publish_json(x, call, channel);
    buf_fini(&b);
}

/* ---- MatchStream's read API --------------------------------------------- */

static void say_version(struct exchange *x)
{
    buf_add_str(&x->fields, "Match-Stream-API-Version: 2\r\n");
}

/* An answer about the match x->state, which may not exist. */
static bool old_refused(struct exchange *x, enum publish_status status,
                        struct slice text)
{
    const char *id = x->state;
    struct buf b = BUF_INIT;

    if (status == PUBLISHED_OK)
        return false;
    if (status == PUBLISHED_NOT_FOUND && id) {
        gateway_refused(conn_gateway(x->conn), SLICE("match.unknown"));
        buf_addf(&b, "404 Not found: %s", id);
        reply_text(x, 404, buf_slice(&b));
        buf_fini(&b);
        return true;
    }
    api_query_failed(x, status, text);
    return true;
}

static void old_ids_answered(struct exchange *x, enum publish_status status,
                             bool json, struct slice body)
{
    UNUSED(json);
    if (!old_refused(x, status, body))
        reply_json(x, 200, body);
}

void match_old_list(struct exchange *x, const struct call *call)
{
    static const struct exchange_ops ops = {.answered = old_ids_answered};

    UNUSED(call);
    say_version(x);
    api_ask(x, &ops, "match.ids", SLICE("{}"));
}

static const struct {
    const char *now, *then;
} old_keys[] = {
    {"home", "home"},
    {"home_players", "home-players"},
    {"home_score", "home-score"},
    {"visit", "visit"},
    {"visit_players", "visit-players"},
    {"visit_score", "visit-score"},
    {"period", "period"},
    {"start_time", "start_time"},
};

/* The members MatchStream had, under the names they had there. */
static void put_old_match(struct buf *b, struct slice match)
{
    struct slice value;

    buf_add_byte(b, '{');
    for (size_t i = 0; i < ARRAY_LEN(old_keys); i++) {
        if (json_find(match, old_keys[i].now, &value) < 0)
            continue;
        json_put_key(b, old_keys[i].then);
        /* "2011-09-13T19:00:00Z": of a time, the date. */
        if (i == ARRAY_LEN(old_keys) - 1 && value.len > DATE_LEN + 2) {
            buf_add(b, slice_head(value, DATE_LEN + 1));
            buf_add_byte(b, '"');
        } else {
            buf_add(b, value);
        }
    }
    buf_add_byte(b, '}');
}

static void old_match_answered(struct exchange *x, enum publish_status status,
                               bool json, struct slice body)
{
    UNUSED(json);
    if (old_refused(x, status, body))
        return;
    put_old_match(&x->body, body);
    reply_gathered(x, 200);
}

void match_old_show(struct exchange *x, const struct call *call)
{
    static const struct exchange_ops ops = {
        .answered = old_match_answered, .free = free};
    char *id = slice_dup(call->tail); /* for the words of a 404 */

    say_version(x);
    x->ops = &ops;
    x->state = id;
    if (id)
        ask_for_id(x, &ops, "match.get", call->tail);
    else
        reply_no_memory(x);
}

void match_checkin(struct exchange *x, const struct call *call)
{
    unsigned port = api_port(&conn_config(x->conn)->tcp.listen);

    UNUSED(call);
    say_version(x);
    if (port == 0) {
        reply_error(x, 404, "path.unknown",
                    SLICE("There is no TCP gateway with a port here."));
        return;
    }
    buf_addf(&x->body, "{\"port\":%u}", port);
    reply_gathered(x, 200);
}

/* ---- MatchStream's history: all events but what was taken back ---------- */

struct old_past {
    char *id;
    struct buf retracted; /* JSON: [offsets] */
    uint64_t after;       /* pages: everything up to here has been read */
};

static void old_past_free(void *state)
{
    struct old_past *p = state;

    free(p->id);
    buf_fini(&p->retracted);
    free(p);
}

static bool is_retracted(const struct old_past *p, uint64_t offset)
{
    struct json_iter it = json_iter(buf_slice(&p->retracted));
    struct slice key, value;
    int64_t n;

    while (json_next(&it, &key, &value))
        if (json_integer(value, &n) == 0 && (uint64_t)n == offset)
            return true;
    return false;
}

static void old_row(struct exchange *x, struct msg *m)
{
    const struct old_past *p = x->state;

    if (slice_eq(m->kind, SLICE("retract")) || is_retracted(p, m->offset))
        return;
    buf_add_byte(&x->body, x->body.len ? ',' : '[');
    buf_addf(&x->body, "{\"timestamp\":%lld,\"kind\":", (long long)m->ts_ms);
    json_put_string(&x->body, m->kind);
    buf_add_str(&x->body, ",\"data\":");
    envelope_data(&x->body, m->format, m->data);
    buf_add_byte(&x->body, '}');
}

static void old_page(struct exchange *x)
{
    struct old_past *p = x->state;
    const struct config_limits *limits = &conn_config(x->conn)->limits;
    struct buf b = BUF_INIT;
    struct slice channel = channel_of(&b, "match/", slice_str(p->id));
    struct fetch f = {
        .mode = FETCH_SINCE,
        .channels = &channel,
        .count = 1,
        .after = p->after,
        .limit = (uint32_t)limits->page,
        .bytes = (uint32_t)limits->page_bytes,
    };
    struct refusal why;

    if (b.failed)
        reply_no_memory(x);
    else if (conn_fetch(x->conn, &f, exchange_ref(x, 0), &why) < 0)
        reply_refusal(x, &why);
    buf_fini(&b);
}

static void old_page_end(struct exchange *x, int err, bool more,
                         uint64_t upto)
{
    struct old_past *p = x->state;

    if (err) {
        reply_error(x, 503, "store.failed",
                    SLICE("History cannot be read just now."));
    } else if (more && upto > p->after) {
        p->after = upto;
        old_page(x);
    } else {
        if (x->body.len == 0)
            buf_add_byte(&x->body, '[');
        buf_add_byte(&x->body, ']');
        reply_gathered(x, 200);
    }
}

static void old_past_answered(struct exchange *x, enum publish_status status,
                              bool json, struct slice body)
{
    struct old_past *p = x->state;
    struct slice value;
    struct buf text = BUF_INIT;

    UNUSED(json);
    if (status == PUBLISHED_NOT_FOUND) {
        gateway_refused(conn_gateway(x->conn), SLICE("match.unknown"));
        buf_addf(&text, "404 Not found: %s", p->id);
        reply_text(x, 404, buf_slice(&text));
        buf_fini(&text);
        return;
    }
    if (status != PUBLISHED_OK) {
        api_query_failed(x, status, body);
        return;
    }
    if (json_find(body, "retracted", &value) == 0)
        buf_add(&p->retracted, value);
    if (p->retracted.failed)
        reply_no_memory(x);
    else
        old_page(x);
}

void match_old_history(struct exchange *x, const struct call *call)
{
    static const struct exchange_ops ops = {
        .answered = old_past_answered,
        .row = old_row,
        .page_end = old_page_end,
        .free = old_past_free,
    };
    struct old_past *p = calloc(1, sizeof *p);

    say_version(x);
    if (p)
        p->id = slice_dup(call->tail);
    if (!p || !p->id) {
        free(p);
        reply_no_memory(x);
        return;
    }
    x->ops = &ops;
    x->state = p;
    ask_for_id(x, &ops, "match.get", call->tail);
}
