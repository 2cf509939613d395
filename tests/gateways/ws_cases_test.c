/* The 247 cases of the Autobahn suite, kept as data, against /v1/raw with an
 * echo: the connection publishes to the channel that it hears. The router is
 * played here; what is judged is everything between the socket and it. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "gateways/ws/ws.h"
#include "tests/gateways/ws_peer.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

enum { SENDS_MAX = 70000, EVENTS_MAX = 64 };

enum verdict { V_OK, V_NON_STRICT, V_INFORMATIONAL, V_FAILED, VERDICTS };

/* One case, while it runs. */
struct play {
    const cJSON *spec;
    struct fake *f;
    struct conn *c;
    struct buf sends;            /* what the client has written */
    size_t send_end[SENDS_MAX];  /* each as one piece */
    unsigned send_count;
    cJSON *events;               /* what it has received */
    size_t read;                 /* of the server's output */
    uint64_t seq;
    uint64_t data_at;            /* of a payload that comes in pieces */
    bool client_closed, server_closed, server_first;
    unsigned server_code;        /* 0: none */
};

/* ---- the router's echo ------------------------------------------------- */

static void echo(struct play *p)
{
    const struct fake_call *k;

    while ((k = fake_next_call(p->f))) {
        struct msg_parts parts = {
            .format = (uint8_t)k->format,
            .seq = ++p->seq,
            .offset = p->seq,
            .id = slice_str(k->channel),
            .data = slice_make(k->data, k->data_len),
        };
        struct published answer = { .status = PUBLISHED_OK, .seq = p->seq,
                                    .reached = 1,
                                    .channel = slice_str(k->channel) };
        struct msg *m;

        EXPECT_INT(k->kind, FAKE_PUBLISH);
        EXPECT_OK(msg_new(&m, &parts));
        fake_put(p->c, m);
        fake_set_seq(p->f, p->seq);
        ws_edge.published(p->c, k->ref, &answer);
        fake_turn(p->f);
        msg_drop(m);
    }
}

/* ---- the client -------------------------------------------------------- */

static void hex(struct buf *out, const char *text)
{
    for (; text[0] && text[1]; text += 2) {
        char pair[3] = { text[0], text[1], '\0' };

        buf_add_byte(out, (uint8_t)strtoul(pair, NULL, 16));
    }
}

static void payload_of(struct buf *out, const cJSON *payload)
{
    const cJSON *times = cJSON_GetObjectItem(payload, "times");
    const cJSON *len = cJSON_GetObjectItem(payload, "len");
    const char *text = payload
        ? cJSON_GetStringValue(cJSON_GetObjectItem(payload, "hex")) : "";
    struct buf once = BUF_INIT;
    size_t want;

    hex(&once, text);
    want = len ? (size_t)len->valuedouble
               : once.len * (times ? (size_t)times->valuedouble : 1);
    while (out->len < want)
        buf_add(out, slice_head(buf_slice(&once), want - out->len));
    buf_fini(&once);
}

/* Writes are kept until the client waits, as a network would: what it notes
 * meanwhile, it notes before the server's answer. */
static void write_out(struct play *p, struct slice bytes, size_t chop)
{
    while (bytes.len) {
        struct slice piece = slice_head(bytes, chop ? chop : bytes.len);

        CHECK(p->send_count < SENDS_MAX);
        buf_add(&p->sends, piece);
        p->send_end[p->send_count++] = p->sends.len;
        bytes = slice_from(bytes, piece.len);
    }
}

static unsigned number(const cJSON *step, const char *key)
{
    const cJSON *n = cJSON_GetObjectItem(step, key);

    return cJSON_IsNumber(n) ? (unsigned)n->valuedouble : 0;
}

static uint8_t first_byte(const cJSON *step)
{
    bool fin = cJSON_IsTrue(cJSON_GetObjectItem(step, "fin"));

    return (uint8_t)((fin ? PEER_FIN : 0) | number(step, "rsv") << 4 |
                     number(step, "op"));
}

static void send_close(struct play *p, unsigned code, struct slice reason)
{
    struct buf b = BUF_INIT;

    peer_close(&b, code, reason);
    write_out(p, buf_slice(&b), 0);
    p->client_closed = true;
    buf_fini(&b);
}

static bool received_what_is_right(const struct play *p)
{
    const cJSON *kinds = cJSON_GetObjectItem(p->spec, "ok_events");
    const cJSON *kind;

    cJSON_ArrayForEach(kind, kinds)
        if (cJSON_Compare(kind, p->events, true))
            return true;
    return false;
}

static bool flag(const cJSON *spec, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItem(spec, key));
}

/* A client that has all it came for says goodbye. */
static void close_when_content(struct play *p)
{
    const cJSON *close = cJSON_GetObjectItem(p->spec, "close");
    const cJSON *code = cJSON_GetArrayItem(cJSON_GetObjectItem(close, "codes"),
                                           0);

    if (!p->client_closed && !p->server_closed &&
        flag(close, "client_starts") && !flag(p->spec, "no_auto_close") &&
        received_what_is_right(p))
        send_close(p, (unsigned)code->valuedouble, SLICE(""));
}

static void note_hex(struct play *p, const char *key, struct slice bytes,
                     bool binary, bool is_message)
{
    cJSON *event = cJSON_CreateObject();
    struct buf text = BUF_INIT;

    for (size_t i = 0; i < bytes.len; i++)
        buf_addf(&text, "%02x", bytes.ptr[i]);
    if (is_message)
        cJSON_AddBoolToObject(event, "binary", binary);
    cJSON_AddStringToObject(event, key, buf_text(&text));
    cJSON_AddItemToArray(p->events, event);
    buf_fini(&text);
}

static void receive(struct play *p)
{
    struct slice all = slice_from(fake_out(p->c), p->read), left = all;
    struct peer_in in;

    while (peer_next(&left, &in)) {
        EXPECT(!p->server_closed); /* nothing follows a close frame */
        EXPECT(in.fin);
        if (in.op == 10)
            note_hex(p, "pong", in.payload, false, false);
        else if (in.op == 1 || in.op == 2)
            note_hex(p, "message", in.payload, in.op == 2, true);
        else
            EXPECT_INT(in.op, 8);
        if (in.op == 8) {
            p->server_closed = true;
            p->server_first = !p->client_closed;
            if (in.payload.len >= 2)
                p->server_code = (unsigned)in.payload.ptr[0] << 8 |
                                 in.payload.ptr[1];
        }
        close_when_content(p);
    }
    p->read += all.len - left.len;
}

/* Everything written so far arrives, and is answered. */
static void settle(struct play *p)
{
    size_t from = 0;

    for (unsigned i = 0; i < p->send_count; i++) {
        fake_send(p->c, slice_make(p->sends.ptr + from,
                                   p->send_end[i] - from));
        from = p->send_end[i];
        echo(p);
        receive(p);
    }
    buf_reset(&p->sends);
    p->send_count = 0;
}

/* ---- steps ------------------------------------------------------------- */

static void step_frame(struct play *p, const cJSON *step)
{
    struct buf payload = BUF_INIT, b = BUF_INIT;

    payload_of(&payload, cJSON_GetObjectItem(step, "payload"));
    peer_frame(&b, first_byte(step), buf_slice(&payload));
    write_out(p, buf_slice(&b), number(step, "chop"));
    buf_fini(&payload);
    buf_fini(&b);
}

static void step_message(struct play *p, const cJSON *step)
{
    struct buf payload = BUF_INIT, b = BUF_INIT;
    uint8_t op = flag(step, "binary") ? 2 : 1;
    size_t most = number(step, "fragment");
    struct slice left;

    payload_of(&payload, cJSON_GetObjectItem(step, "payload"));
    left = buf_slice(&payload);
    do {
        struct slice part = slice_head(left, most ? most : left.len);

        left = slice_from(left, part.len);
        peer_frame(&b, (uint8_t)(op | (left.len ? 0 : PEER_FIN)), part);
        op = 0;
    } while (left.len);
    write_out(p, buf_slice(&b), 0);
    buf_fini(&payload);
    buf_fini(&b);
}

static void step_frame_header(struct play *p, const cJSON *step)
{
    struct buf b = BUF_INIT;

    peer_header(&b, first_byte(step), number(step, "len"));
    write_out(p, buf_slice(&b), 0);
    p->data_at = 0;
    buf_fini(&b);
}

static void step_frame_data(struct play *p, const cJSON *step)
{
    struct buf payload = BUF_INIT, b = BUF_INIT;

    payload_of(&payload, cJSON_GetObjectItem(step, "payload"));
    peer_data(&b, buf_slice(&payload), p->data_at);
    p->data_at += payload.len;
    write_out(p, buf_slice(&b), 0);
    buf_fini(&payload);
    buf_fini(&b);
}

static void step_close(struct play *p, const cJSON *step)
{
    struct buf reason = BUF_INIT;

    hex(&reason, cJSON_GetStringValue(cJSON_GetObjectItem(step,
                                                          "reason_hex")));
    if (cJSON_IsNumber(cJSON_GetObjectItem(step, "code")) &&
        number(step, "code") == 0) {
        struct buf b = BUF_INIT;

        peer_frame(&b, PEER_FIN | 8, SLICE("\0\0"));
        write_out(p, buf_slice(&b), 0);
        p->client_closed = true;
        buf_fini(&b);
    } else {
        send_close(p, number(step, "code"), buf_slice(&reason));
    }
    buf_fini(&reason);
}

static void step_wait(struct play *p, const cJSON *step)
{
    settle(p);
    fake_pass(p->f, number(step, "s") * 1000);
    receive(p);
}

static void step_note(struct play *p, const cJSON *step)
{
    const cJSON *pair = cJSON_GetObjectItem(step, "event");
    cJSON *event;

    if (p->server_closed || fake_is_closed(p->c))
        return;
    event = cJSON_CreateObject();
    cJSON_AddStringToObject(
        event, cJSON_GetStringValue(cJSON_GetArrayItem(pair, 0)),
        cJSON_GetStringValue(cJSON_GetArrayItem(pair, 1)));
    cJSON_AddItemToArray(p->events, event);
}

static void step_close_after(struct play *p, const cJSON *step)
{
    step_wait(p, step);
    if (!p->client_closed && !p->server_closed) {
        send_close(p, 1000, SLICE(""));
        settle(p);
    }
}

static void run_step(struct play *p, const cJSON *step)
{
    static const struct {
        const char *name;
        void (*run)(struct play *p, const cJSON *step);
    } steps[] = {
        { "frame", step_frame },
        { "message", step_message },
        { "frame-header", step_frame_header },
        { "frame-data", step_frame_data },
        { "close", step_close },
        { "wait", step_wait },
        { "give-up-after", step_wait },
        { "close-after", step_close_after },
        { "note", step_note },
    };
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(step, "do"));

    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (strcmp(steps[i].name, name) == 0) {
            steps[i].run(p, step);
            return;
        }
    test_fail(__FILE__, __LINE__, "unknown step %s", name);
}

/* ---- judging ----------------------------------------------------------- */

static cJSON *in_full(const cJSON *list)
{
    cJSON *copy = cJSON_CreateArray();
    const cJSON *e;

    cJSON_ArrayForEach(e, list) {
        cJSON *event = cJSON_Duplicate(e, true), *payload;

        cJSON_AddItemToArray(copy, event);
        payload = event->child;
        while (payload && !cJSON_IsObject(payload))
            payload = payload->next;
        if (payload) {
            struct buf bytes = BUF_INIT, text = BUF_INIT;
            char *key = strdup(payload->string);

            payload_of(&bytes, payload);
            for (size_t i = 0; i < bytes.len; i++)
                buf_addf(&text, "%02x", bytes.ptr[i]);
            cJSON_ReplaceItemInObject(event, key,
                                      cJSON_CreateString(buf_text(&text)));
            free(key);
            buf_fini(&bytes);
            buf_fini(&text);
        }
    }
    return copy;
}

static bool clean_as_asked(const struct play *p, const cJSON *close)
{
    const cJSON *code;
    bool allowed = p->server_code == 0;

    if (p->server_first == flag(close, "client_starts"))
        return false;
    if (!p->server_closed || !fake_is_closed(p->c))
        return false;
    cJSON_ArrayForEach(code, cJSON_GetObjectItem(close, "codes"))
        allowed |= (unsigned)code->valuedouble == p->server_code;
    return allowed;
}

static enum verdict judge(const struct play *p)
{
    const cJSON *kinds = cJSON_GetObjectItem(p->spec, "ok_events");

    if (!clean_as_asked(p, cJSON_GetObjectItem(p->spec, "close")))
        return V_FAILED;
    if (flag(p->spec, "informational"))
        return V_INFORMATIONAL;
    if (cJSON_Compare(cJSON_GetObjectItem(kinds, "OK"), p->events, true))
        return V_OK;
    if (cJSON_Compare(cJSON_GetObjectItem(kinds, "NON-STRICT"), p->events,
                      true))
        return V_NON_STRICT;
    return V_FAILED;
}

static void begin_play(struct play *p)
{
    static const char *const sets[] = { "limits.message=1M", NULL };
    struct buf b = BUF_INIT;
    const struct fake_call *k;

    p->f = fake_new(&ws_edge, sets);
    p->c = fake_connect(p->f);
    p->events = cJSON_CreateArray();
    peer_handshake(&b, "/v1/raw?channel=echo&publish=echo");
    fake_send(p->c, buf_slice(&b));
    buf_fini(&b);
    k = fake_next_call(p->f);
    EXPECT(k && k->kind == FAKE_SUBSCRIBE);
    ws_edge.subscribed(p->c, k->ref);
    ws_edge.started(p->c, k->ref);
    fake_turn(p->f);
    EXPECT_CONTAINS(fake_text(p->c), "HTTP/1.1 101 ");
    p->read = fake_out(p->c).len;
}

static enum verdict run_case(cJSON *spec)
{
    static struct play p;
    cJSON *kinds = cJSON_GetObjectItem(spec, "ok_events");
    const cJSON *step;
    enum verdict v;

    p = (struct play){ .spec = spec };
    for (cJSON *k = kinds->child, *next; k; k = next) {
        next = k->next;
        cJSON_ReplaceItemInObject(kinds, k->string, in_full(k));
    }
    begin_play(&p);
    cJSON_ArrayForEach(step, cJSON_GetObjectItem(spec, "steps"))
        run_step(&p, step);
    settle(&p);
    v = judge(&p);
    if (v == V_FAILED)
        printf("case %s: code %u, %s\n",
               cJSON_GetStringValue(cJSON_GetObjectItem(spec, "id")),
               p.server_code, p.server_first ? "server first" : "client");
    buf_fini(&p.sends);
    cJSON_Delete(p.events);
    fake_free(p.f);
    return v;
}

TEST(all_cases_of_the_autobahn_suite_pass)
{
    unsigned count[VERDICTS] = { 0 };
    size_t len;
    char *text = test_data("conformance/ws-protocol-cases.json", &len);
    cJSON *cases = cJSON_ParseWithLength(text, len);
    cJSON *spec;

    EXPECT(cases != NULL);
    cJSON_ArrayForEach(spec, cases)
        count[run_case(spec)]++;
    EXPECT_INT(count[V_FAILED], 0);
    EXPECT_INT(count[V_NON_STRICT], 0);
    EXPECT_INT(count[V_INFORMATIONAL], 3);
    EXPECT_INT(count[V_OK], 244);
    cJSON_Delete(cases);
    free(text);
}
