#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/json.h"
#include "proto/mark.h"
#include "tools/flood/crowd.h"
#include "tools/flood/mqtt.h"

enum { READ_AT_LEAST = 64 * 1024, MESSAGE_MAX = 64 * 1024 * 1024 };

static bool listens(const struct client *p)
{
    return p->state == CLIENT_ASKED || p->state == CLIENT_UP;
}

static void garbled(struct crowd *c, struct client *p, struct slice text)
{
    char sample[SHARE_SAMPLE_MAX];

    snprintf(sample, sizeof sample, SLICE_FMT, SLICE_ARG(text));
    crowd_end(c, p, SHARE_FAIL_words, sample);
}

/* ---- saying ------------------------------------------------------------------ */

static struct template_values values_of(struct crowd *c,
                                        const struct client *p)
{
    size_t i = (size_t)(p - c->clients);
    const char *cursor = c->cursors && c->cursors[i][0] ? c->cursors[i] : "0";

    return (struct template_values){
        .id = ids_name(&c->plan->ids, p->id, &c->name),
        .cursor = slice_str(cursor), .n = c->first + i,
    };
}

/* What is in c->out. A socket that takes it in part only is one that does not
 * read what it is asked. */
static void say(struct crowd *c, struct client *p)
{
    ssize_t n;

    if (c->out.failed) {
        crowd_end(c, p, SHARE_FAIL_other, err_text(ERR_NOMEM));
        return;
    }
    n = send(p->fd, c->out.ptr, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == ECONNRESET || errno == EPIPE))
        crowd_end(c, p, SHARE_FAIL_reset, NULL);
    else if (n != (ssize_t)c->out.len)
        crowd_end(c, p, SHARE_FAIL_other, "the server reads no requests");
}

static void add_host(struct buf *out, const struct plan *plan)
{
    char host[ENDPOINT_TEXT_MAX];

    endpoint_text(&plan->targets.at[0], host);
    buf_addf(out, "Host: %s\r\n", host);
}

/* A key that is no secret, and needs not be another one each time. */
static const char upgrade[] =
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

static void ask(struct crowd *c, struct client *p,
                const struct template *path)
{
    struct template_values v = values_of(c, p);

    buf_reset(&c->out);
    buf_add_str(&c->out, "GET ");
    template_fill(path, &v, &c->out);
    buf_add_str(&c->out, " HTTP/1.1\r\n");
    add_host(&c->out, c->plan);
    template_fill(&c->plan->header, &v, &c->out);
    if (c->plan->carrier == CARRIER_WS)
        buf_add_str(&c->out, upgrade);
    buf_add_str(&c->out, "\r\n");
    say(c, p);
}

static void ask_again(struct crowd *c, struct client *p)
{
    p->since_ns = clock_ns();
    crowd_timer(c, p, c->plan->settings->wait + MINUTE);
    ask(c, p, &c->plan->next_path);
}

/* A frame of a client, masked with zeroes, which is a mask. */
static void say_frame(struct crowd *c, struct client *p, uint8_t opcode,
                      struct slice data)
{
    uint8_t head[8] = { 0x80 | opcode, 0x80 };
    size_t n = 2;

    data = slice_head(data, UINT16_MAX);
    if (data.len < 126) {
        head[1] |= (uint8_t)data.len;
    } else {
        head[1] |= 126;
        head[n++] = (uint8_t)(data.len >> 8);
        head[n++] = (uint8_t)data.len;
    }
    buf_reset(&c->out);
    buf_add(&c->out, slice_make(head, n + 4));
    buf_add(&c->out, data);
    say(c, p);
}

static void say_text(struct crowd *c, struct client *p,
                     const struct template *text)
{
    struct template_values v = values_of(c, p);
    struct buf filled = BUF_INIT;

    template_fill(text, &v, &filled);
    if (c->plan->carrier == CARRIER_WS) {
        say_frame(c, p, 1, buf_slice(&filled));
    } else if (filled.len) {
        buf_reset(&c->out);
        buf_add(&c->out, buf_slice(&filled));
        say(c, p);
    }
    buf_fini(&filled);
}

/* Both packets at once: nobody has to wait for the first one's answer. */
static void subscribe(struct crowd *c, struct client *p)
{
    struct template_values v = values_of(c, p);
    char name[24];

    snprintf(name, sizeof name, "f%" PRIx64, v.n);
    buf_reset(&c->out);
    mqtt_add_connect(&c->out, slice_str(name));
    mqtt_add_subscribe(&c->out, v.id);
    say(c, p);
}

void talk_begin(struct crowd *c, struct client *p)
{
    switch (c->plan->carrier) {
    case CARRIER_LINES:
        if (c->plan->line.count)
            say_text(c, p, &c->plan->line);
        break;
    case CARRIER_MQTT:
        subscribe(c, p);
        break;
    case CARRIER_HTTP:
    case CARRIER_WS:
        ask(c, p, &c->plan->path);
        break;
    }
    if (c->plan->ready_when == READY_CONNECT && p->state == CLIENT_ASKED)
        crowd_up(c, p);
}

/* ---- its script -------------------------------------------------------------- */

/* Does one step. True: go on with the next. */
static bool do_step(struct crowd *c, struct client *p,
                    const struct script_step *s)
{
    switch (s->verb) {
    case SCRIPT_DELAY:
        crowd_timer(c, p, script_delay_ns(s, &c->chance));
        return false;
    case SCRIPT_RECEIVE:
        p->waits = s->count;
        p->step++;
        return s->count == 0;
    case SCRIPT_REQUEST:
        ask_again(c, p);
        return false;
    case SCRIPT_SEND:
        say_text(c, p, &s->text);
        p->step++;
        return true;
    case SCRIPT_REPEAT:
        p->loops++;
        p->step = !s->count || p->loops < s->count ? 0
                                                    : (uint8_t)(p->step + 1);
        return true;
    }
    return false;
}

void talk_script(struct crowd *c, struct client *p)
{
    if (!c->script->count)
        return;
    while (p->state == CLIENT_UP) {
        if (p->step >= c->script->count) {
            share_add(c->share, SHARE_finished, 1);
            crowd_end(c, p, SHARE_FAIL_KINDS, NULL);
            return;
        }
        if (!do_step(c, p, &c->script->steps[p->step]))
            return;
    }
}

static bool awaits_answer(const struct crowd *c, const struct client *p)
{
    return p->step < c->script->count
           && c->script->steps[p->step].verb == SCRIPT_REQUEST;
}

/* ---- hearing: what an item says ----------------------------------------------- */

/* True: it is new. */
static bool check_number(struct crowd *c, struct client *p,
                         const struct item *i)
{
    if (!i->number)
        return true;
    if (i->epoch != p->epoch)
        p->offsets = (struct offsets){ 0, 0, 0 };
    p->epoch = i->epoch;
    p->numbered = true;
    stage_saw(c->stage, p->id, i->number);
    return offsets_take(&p->offsets, i->number, &c->tally);
}

static void on_message(struct crowd *c, struct client *p,
                       const struct item *i)
{
    int64_t took = c->now_us - i->t_us;
    bool is_new = check_number(c, p, i);

    share_add(c->share, SHARE_received, 1);
    if (is_new && i->t_us) {
        histogram_record(&c->share->hists[SHARE_HIST_latency], took);
        if (!c->is_probe && i->number
            && stage_is_last(c->stage, p->id, i->number))
            histogram_record(&c->share->hists[SHARE_HIST_last], took);
    }
    if (p->waits && --p->waits == 0)
        talk_script(c, p);
}

static void on_item(struct crowd *c, struct client *p, struct slice text)
{
    const struct rules *r = &c->plan->rules;
    struct item i;

    if (c->plan->reply_to.len && slice_starts(text,
                                              buf_slice(&c->plan->reply_to))) {
        buf_reset(&c->out);
        buf_add(&c->out, buf_slice(&c->plan->reply));
        say(c, p);
        return;
    }
    if (p->state == CLIENT_ASKED)
        snprintf(c->heard, sizeof c->heard, SLICE_FMT, SLICE_ARG(text));
    i = rules_judge(r, text);
    if (i.refused && p->state == CLIENT_ASKED) {
        char sample[SHARE_SAMPLE_MAX];

        snprintf(sample, sizeof sample, SLICE_FMT, SLICE_ARG(text));
        crowd_end(c, p, SHARE_FAIL_answer, sample);
        return;
    }
    share_add(c->share, SHARE_gaps, i.gap);
    share_add(c->share, SHARE_told, i.missed);
    if (p->state == CLIENT_ASKED && c->plan->ready_when == READY_ITEM
        && (i.ready || (!r->ready.len && text.len))) {
        crowd_up(c, p);
        if (c->plan->split == SPLIT_PARAGRAPH)
            return; /* the first one says where it stands */
    }
    if (i.message && p->state != CLIENT_ENDING)
        on_message(c, p, &i);
}

/* ---- hearing: what an item is -------------------------------------------------- */

/* Who watches is refused in a line, where frames are awaited. */
static void look_for_refusal(struct crowd *c, struct client *p,
                             struct slice in)
{
    struct slice rest = in, line;

    while (p->state == CLIENT_ASKED && rest.ptr && c->plan->rules.refused.len) {
        line = slice_split(&rest, '\n');
        if (slice_ends(line, SLICE("\r")))
            line.len--;
        if (rest.ptr && slice_starts(line, c->plan->rules.refused))
            on_item(c, p, line);
    }
}

/* Items that are whole; how many bytes they are. */
static size_t take_lines(struct crowd *c, struct client *p, struct slice in,
                         struct slice mark)
{
    size_t at = 0;

    while (listens(p)) {
        struct slice rest = slice_from(in, at);
        const uint8_t *end = rest.len ? memmem(rest.ptr, rest.len, mark.ptr,
                                               mark.len)
                                      : NULL;
        struct slice line;

        if (!end)
            break;
        line = slice_head(rest, (size_t)(end - rest.ptr) + mark.len - 1);
        at += line.len + 1;
        while (line.len && (line.ptr[line.len - 1] == '\r'))
            line.len--;
        if (c->plan->split == SPLIT_PARAGRAPH)
            look_for_refusal(c, p, line);
        if (listens(p))
            on_item(c, p, line);
    }
    return at;
}

/* A body, in order and as far as it has come; how much of it is done with. */
static size_t take_items(struct crowd *c, struct client *p, struct slice in)
{
    size_t used;

    switch (c->plan->split) {
    case SPLIT_LINE:
    case SPLIT_CHUNK:
    case SPLIT_FRAME:
        return take_lines(c, p, in, SLICE("\n"));
    case SPLIT_PARAGRAPH:
        used = take_lines(c, p, in, SLICE("\n\r\n"));
        look_for_refusal(c, p, slice_from(in, used));
        return used;
    case SPLIT_POLL:
        return 0;
    case SPLIT_NONE:
        return in.len;
    }
    return in.len;
}

static void keep_cursor(struct crowd *c, const struct client *p,
                        struct slice body)
{
    char *to = c->cursors ? c->cursors[p - c->clients] : NULL;
    struct slice raw;

    if (to && json_find(body, "cursor", &raw) == 0 && raw.len > 2
        && raw.len - 2 < CURSOR_MAX) {
        memcpy(to, raw.ptr + 1, raw.len - 2);
        to[raw.len - 2] = '\0';
    }
}

/* {"cursor":C,"messages":[...]} */
static void take_poll(struct crowd *c, struct client *p, struct slice body)
{
    struct slice raw, key, value;
    struct json_iter it;

    if (json_check(body, JSON_DEPTH_MAX, NULL) < 0
        || json_find(body, "messages", &raw) < 0) {
        garbled(c, p, body);
        return;
    }
    keep_cursor(c, p, body);
    it = json_iter(raw);
    while (json_next(&it, &key, &value) && p->state != CLIENT_ENDING)
        on_item(c, p, value);
}

/* ---- hearing: HTTP --------------------------------------------------------------- */

static void on_head(struct crowd *c, struct client *p, struct slice head)
{
    uint16_t status = p->answer.status;
    bool opens = c->plan->carrier == CARRIER_WS;
    char sample[SHARE_SAMPLE_MAX];

    if (status == 100) {
        p->answer.phase = ANSWER_HEAD;
    } else if (opens ? status != 101 : status < 200 || status > 299) {
        snprintf(sample, sizeof sample, SLICE_FMT,
                 SLICE_ARG(slice_head(head, slice_find_byte(head, '\r'))));
        crowd_end(c, p, SHARE_FAIL_answer, sample);
    } else {
        p->framed = opens;
        if (c->plan->ready_when == READY_HEAD && p->state == CLIENT_ASKED)
            crowd_up(c, p);
    }
}

/* An answer has ended; body: what of it no item has taken. */
static void on_answer(struct crowd *c, struct client *p, struct slice body)
{
    bool closes = p->answer.closes;

    if (c->plan->split == SPLIT_POLL)
        take_poll(c, p, body);
    else if (body.len)
        on_item(c, p, body);
    p->answer = (struct answer){ .phase = ANSWER_HEAD };
    if (!listens(p))
        return;
    if (p->state == CLIENT_UP) {
        histogram_record(&c->share->hists[SHARE_HIST_answer],
                         (clock_ns() - p->since_ns) / MICROSECOND);
        share_add(c->share, SHARE_answers, 1);
    }
    if (closes || (c->plan->ready_when != READY_ANSWER && !c->script->count)) {
        crowd_end(c, p, p->state == CLIENT_UP ? SHARE_FAIL_dropped
                                              : SHARE_FAIL_closed, NULL);
        return;
    }
    if (p->state == CLIENT_ASKED) {
        if (c->plan->ready_when == READY_ANSWER)
            crowd_up(c, p);
    } else if (awaits_answer(c, p)) {
        crowd_timer_stop(c, p);
        p->step++;
        talk_script(c, p);
    }
    if (c->plan->asks_again && p->state == CLIENT_UP)
        ask_again(c, p);
}

/* `done` bytes at the front of `in` are of the body, decoded before; returns
 * where what is to be kept begins, and shortens in to its end. */
static size_t hear_body(struct crowd *c, struct client *p, struct slice *in,
                        size_t at, size_t done)
{
    uint8_t *base = c->in.ptr + at;
    size_t used, taken;
    size_t made = answer_body(&p->answer, base + done, in->len - at - done,
                              base + done, &used,
                              c->plan->split == SPLIT_CHUNK);
    struct slice body = slice_make(base, done + made);

    taken = take_items(c, p, body);
    if (p->answer.phase == ANSWER_BROKEN)
        garbled(c, p, slice_from(*in, at + done + used));
    if (p->answer.phase == ANSWER_OVER) {
        if (listens(p))
            on_answer(c, p, slice_from(body, taken));
        return at + done + used;
    }
    in->len = at + body.len;
    return at + taken;
}

/* ---- hearing: WebSocket frames --------------------------------------------------- */

static void on_frame(struct crowd *c, struct client *p, uint8_t opcode,
                     struct slice data)
{
    switch (opcode) {
    case 9:
        say_frame(c, p, 10, data);
        break;
    case 10:
        break;
    case 8:
        crowd_end(c, p, p->state == CLIENT_UP ? SHARE_FAIL_dropped
                                              : SHARE_FAIL_closed, NULL);
        break;
    default:
        if (c->plan->split == SPLIT_LINE)
            take_lines(c, p, data, SLICE("\n"));
        else
            on_item(c, p, data);
        break;
    }
}

/* The payload of the frame at the front; its header's length, 0: it is not all
 * there. ERR_BAD, ERR_TOO_BIG. */
static int read_frame(struct slice in, struct slice *payload)
{
    uint64_t len;
    size_t head = 2;

    if (in.len < 2)
        return 0;
    if (in.ptr[1] & 0x80)
        return ERR_BAD; /* servers mask nothing */
    len = in.ptr[1];
    if (len > 125) {
        head = len == 126 ? 4 : 10;
        if (in.len < head)
            return 0;
        len = 0;
        for (size_t i = 2; i < head; i++)
            len = len << 8 | in.ptr[i];
    }
    if (len > MESSAGE_MAX)
        return ERR_TOO_BIG;
    if (len > in.len - head)
        return 0;
    *payload = slice_make(in.ptr + head, (size_t)len);
    return (int)head;
}

static size_t hear_frames(struct crowd *c, struct client *p, struct slice in,
                          size_t at)
{
    while (listens(p)) {
        struct slice payload;
        int head = read_frame(slice_from(in, at), &payload);

        if (head < 0)
            garbled(c, p, slice_from(in, at));
        if (head <= 0)
            break;
        on_frame(c, p, in.ptr[at] & 0xf, payload);
        at += (size_t)head + payload.len;
    }
    return at;
}

/* ---- hearing: MQTT ---------------------------------------------------------------- */

static void on_packet(struct crowd *c, struct client *p,
                      const struct mqtt_packet *packet)
{
    switch (packet->kind) {
    case MQTT_SUBSCRIBED:
        if (p->state == CLIENT_ASKED)
            crowd_up(c, p);
        break;
    case MQTT_REFUSED:
        crowd_end(c, p, SHARE_FAIL_answer, "CONNACK or SUBACK says no");
        break;
    case MQTT_MESSAGE:
        on_item(c, p, packet->body);
        break;
    case MQTT_CONNECTED:
    case MQTT_PUBLISHED:
    case MQTT_OTHER:
        break;
    }
}

static size_t hear_packets(struct crowd *c, struct client *p, struct slice in)
{
    size_t at = 0;

    while (listens(p)) {
        struct mqtt_packet packet;
        int n = mqtt_read(slice_from(in, at), &packet);

        if (n < 0)
            garbled(c, p, slice_from(in, at));
        if (n <= 0)
            break;
        on_packet(c, p, &packet);
        at += (size_t)n;
    }
    return at;
}

/* ---- hearing: bytes -------------------------------------------------------------- */

/* Heads and bodies, one behind the other. `done`: as hear_body(). */
static size_t hear_http(struct crowd *c, struct client *p, struct slice *in,
                        size_t done)
{
    size_t at = 0;

    while (listens(p) && at < in->len) {
        if (p->framed)
            return hear_frames(c, p, *in, at);
        if (p->answer.phase == ANSWER_HEAD) {
            struct slice rest = slice_from(*in, at);
            size_t used;

            if (answer_head(&p->answer, rest, &used) < 0)
                garbled(c, p, rest);
            else if (used)
                on_head(c, p, rest);
            if (!used)
                break;
            at += used;
            done = 0;
        }
        if (listens(p) && !p->framed && p->answer.phase != ANSWER_HEAD) {
            bool over;

            at = hear_body(c, p, in, at, done);
            over = p->answer.phase == ANSWER_HEAD;
            done = 0;
            if (!over)
                break;
        }
    }
    return at;
}

/* What is in c->in, of which the first `done` bytes have been here before.
 * Keeps what is not whole. */
static void hear(struct crowd *c, struct client *p, size_t done)
{
    struct slice in = buf_slice(&c->in), rest;
    size_t at;

    if (c->plan->carrier == CARRIER_LINES)
        at = take_items(c, p, in);
    else if (c->plan->carrier == CARRIER_MQTT)
        at = hear_packets(c, p, in);
    else
        at = hear_http(c, p, &in,
                       p->answer.phase != ANSWER_HEAD && !p->framed ? done : 0);
    rest = slice_from(in, at);
    if (!listens(p) || !rest.len)
        return;
    p->rest = rest.len <= MESSAGE_MAX ? malloc(rest.len) : NULL;
    if (!p->rest) {
        crowd_end(c, p, SHARE_FAIL_words, "a message without an end");
        return;
    }
    memcpy(p->rest, rest.ptr, rest.len);
    p->rest_len = (uint32_t)rest.len;
}

static void on_closed(struct crowd *c, struct client *p, int error)
{
    bool was_up = p->state == CLIENT_UP;

    if (!error && p->answer.phase == ANSWER_UNTIL_END && !p->framed
        && c->plan->carrier == CARRIER_HTTP) {
        struct slice body = slice_make(p->rest, p->rest_len);

        p->answer.closes = true;
        on_answer(c, p, body);
    }
    crowd_end(c, p, was_up  ? SHARE_FAIL_dropped
                    : error ? SHARE_FAIL_reset
                            : SHARE_FAIL_closed,
              *c->heard ? c->heard : NULL);
}

/* Puts what is kept in front, and reads behind it. Bytes; 0, -1 as recv(). */
static ssize_t fetch(struct crowd *c, struct client *p, size_t *room)
{
    uint8_t *to;
    ssize_t n;

    buf_reset(&c->in);
    buf_add(&c->in, slice_make(p->rest, p->rest_len));
    to = buf_reserve(&c->in, READ_AT_LEAST);
    *room = c->in.cap - c->in.len;
    if (!to) {
        errno = ENOMEM;
        return -1;
    }
    n = recv(p->fd, to, *room, 0);
    if (n > 0)
        c->in.len += (size_t)n;
    return n;
}

void talk_read(struct crowd *c, struct client *p, bool to_the_end)
{
    size_t room, done;
    ssize_t n;

    do {
        done = p->rest_len;
        n = fetch(c, p, &room);
        if (n <= 0) {
            if (n == 0 || errno != EAGAIN)
                on_closed(c, p, n < 0 ? errno : 0);
            return;
        }
        c->now_us = mark_now_us();
        share_add(c->share, SHARE_bytes, (uint64_t)n);
        if (!p->welcomed)
            histogram_record(&c->share->hists[SHARE_HIST_welcome],
                             (clock_ns() - p->since_ns) / MICROSECOND);
        p->welcomed = true;
        free(p->rest);
        p->rest = NULL;
        p->rest_len = 0;
        hear(c, p, done);
    } while (listens(p) && (to_the_end || (size_t)n == room));
}
