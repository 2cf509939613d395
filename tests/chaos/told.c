#include "tests/chaos/told.h"

#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "tests/chaos/event.h"
#include "tests/chaos/payload.h"

static const struct told nobody = {
    .type = TOLD_OTHER, .from = UINT64_MAX, .to = UINT64_MAX,
    .count = UINT64_MAX,
};

struct slice told_plain(struct slice raw)
{
    if (raw.len >= 2 && raw.ptr[0] == '"')
        return slice_make(raw.ptr + 1, raw.len - 2);
    return raw;
}

static uint64_t number(struct slice raw)
{
    int64_t v;

    return json_integer(raw, &v) == 0 && v >= 0 ? (uint64_t)v : UINT64_MAX;
}

static void set_epoch(struct epoch *e, struct slice text)
{
    size_t n = MIN(text.len, (size_t)EPOCH_MAX);

    memcpy(e->text, text.ptr, n);
    e->text[n] = '\0';
}

static void read_error(struct told *t, struct slice raw)
{
    struct slice code;

    t->type = TOLD_ANSWER;
    if (json_find(raw, "code", &code) == 0)
        t->why = told_plain(code);
}

/* Fields that several kinds have. */
static void read_field(struct told *t, struct slice key, struct slice v)
{
    if (slice_eq(key, SLICE("channel")))
        t->channel = told_plain(v);
    else if (slice_eq(key, SLICE("channels")))
        t->channels = v;
    else if (slice_eq(key, SLICE("epoch")))
        set_epoch(&t->at.epoch, told_plain(v));
    else if (slice_eq(key, SLICE("seq")))
        t->at.seq = number(v), t->has_at = true;
    else if (slice_eq(key, SLICE("offset")))
        t->offset = number(v);
    else if (slice_eq(key, SLICE("cursor")))
        t->has_at = position_parse(told_plain(v), &t->at) == 0;
    else if (slice_eq(key, SLICE("replay")))
        t->replay = true;
    else if (slice_eq(key, SLICE("duplicate")))
        t->duplicate = true;
    else if (slice_eq(key, SLICE("from")))
        t->from = number(v);
    else if (slice_eq(key, SLICE("to")))
        t->to = number(v);
    else if (slice_eq(key, SLICE("count")))
        t->count = number(v);
    else if (slice_eq(key, SLICE("why")))
        t->why = told_plain(v);
    else if (slice_eq(key, SLICE("kind")))
        t->kind = told_plain(v);
    else if (slice_eq(key, SLICE("state")))
        t->state = v;
}

/* Fields that say what it is. */
static void read_kind(struct told *t, struct slice key, struct slice v)
{
    if (slice_eq(key, SLICE("notice")))
        t->type = TOLD_NOTICE, t->what = told_plain(v);
    else if (slice_eq(key, SLICE("data")))
        t->type = TOLD_MESSAGE, t->data = v, t->typed = true;
    else if (slice_eq(key, SLICE("messages")))
        t->type = TOLD_POLL, t->data = v;
    else if (slice_eq(key, SLICE("ref")))
        t->type = TOLD_ANSWER, t->ref = number(v);
    else if (slice_eq(key, SLICE("reached")))
        t->type = TOLD_ANSWER, t->ok = true;
    else if (slice_eq(key, SLICE("ok")))
        t->type = TOLD_ANSWER, t->ok = true;
    else if (slice_eq(key, SLICE("error")))
        read_error(t, v);
}

bool told_json(struct slice line, struct told *ret)
{
    struct told t = nobody;
    struct json_iter it;
    struct slice key, value;

    if (json_check(line, JSON_DEPTH_COMMAND, NULL) < 0 ||
        json_kind(line) != JSON_OBJECT)
        return false;
    it = json_iter(line);
    while (json_next(&it, &key, &value)) {
        read_field(&t, told_plain(key), value);
        read_kind(&t, told_plain(key), value);
    }
    *ret = t;
    return true;
}

/* ---- telnet --------------------------------------------------------------- */

static struct slice word(struct slice *rest)
{
    struct slice w = *rest;
    size_t n = 0;

    while (n < rest->len && rest->ptr[n] != ' ')
        n++;
    w.len = n;
    n = MIN(n + 1, rest->len);
    *rest = slice_make(rest->ptr + n, rest->len - n);
    return w;
}

static uint64_t digits(struct slice s)
{
    uint64_t v = 0;

    if (s.len == 0)
        return UINT64_MAX;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return UINT64_MAX;
        v = v * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    return v;
}

/* key=value ... of a notice. */
static void read_pairs(struct told *t, struct slice rest)
{
    while (rest.len) {
        struct slice w = word(&rest), v = w;
        const uint8_t *eq = w.len ? memchr(w.ptr, '=', w.len) : NULL;

        if (!eq)
            continue;
        w.len = (size_t)(eq - w.ptr);
        v = slice_make(eq + 1, v.len - w.len - 1);
        if (slice_eq(w, SLICE("from")))
            t->from = digits(v);
        else if (slice_eq(w, SLICE("to")))
            t->to = digits(v);
        else if (slice_eq(w, SLICE("count")))
            t->count = digits(v);
        else if (slice_eq(w, SLICE("why")))
            t->why = v;
    }
}

static void read_ok(struct told *t, struct slice rest)
{
    t->type = TOLD_ANSWER;
    t->ok = true;
    t->what = word(&rest);
    t->channel = word(&rest);
    t->has_at = position_parse(word(&rest), &t->at) == 0;
}

/* What is said: a match's event stands in {"kind","data"}. */
static void read_line(struct told *t, struct slice text)
{
    struct slice kind, data;

    t->type = TOLD_MESSAGE;
    t->typed = true;
    t->data = text;
    if (slice_starts(text, SLICE("{\"kind\":")) &&
        json_find(text, "kind", &kind) == 0 &&
        json_find(text, "data", &data) == 0)
        t->kind = told_plain(kind), t->data = data;
}

void told_telnet(struct slice line, struct told *ret)
{
    struct told t = nobody;
    struct slice rest = line, first = word(&rest), from;

    if (slice_eq(first, SLICE("OK"))) {
        read_ok(&t, rest);
    } else if (slice_eq(first, SLICE("ERROR"))) {
        t.type = TOLD_ANSWER;
        t.why = word(&rest);
        t.why.len -= t.why.len > 0; /* its colon */
    } else if (slice_eq(first, SLICE("NOTICE"))) {
        t.type = TOLD_NOTICE;
        t.what = word(&rest);
        t.channel = word(&rest);
        t.has_at = position_parse(word(&rest), &t.at) == 0;
        t.state = slice_make(rest.ptr - 1, rest.len + 1);
        read_pairs(&t, rest);
    } else {
        t.channel = first;
        t.replay = slice_starts(rest, SLICE("- "));
        t.has_at = position_parse(word(&rest), &t.at) == 0;
        from = word(&rest);
        if ((t.has_at || t.replay) && slice_ends(from, SLICE(":")))
            read_line(&t, rest);
    }
    *ret = t;
}

void told_payload(const struct told *t, struct payload *ret)
{
    char word[EVENT_WORD_MAX + 1];

    *ret = (struct payload){ .publisher = 0 };
    if (!payload_read(t->data, ret))
        ret->hash = payload_hash(t->data);
    if (!ret->event.len || !t->typed)
        return;
    event_read(t->kind, t->data, word);
    if (!slice_eq(ret->event, slice_str(word)))
        ret->hash = payload_hash(t->data);
}

void told_test(struct slice line, struct told *ret)
{
    struct told t = nobody;
    struct slice rest = line;

    if (slice_starts(line, SLICE("Recvd msg #"))) {
        t.type = TOLD_MESSAGE;
        t.data = line;
    } else if (slice_starts(line, SLICE("Missed "))) {
        t.type = TOLD_NOTICE;
        t.what = SLICE("gap");
        word(&rest);
        t.count = digits(word(&rest));
    } else if (slice_starts(line, SLICE("Touchline welcomes"))) {
        t.type = TOLD_ANSWER;
        t.ok = true;
    }
    *ret = t;
}
