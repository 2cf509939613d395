/* A client of any edge, from its first byte to its last: requests, lines and
 * frames together, with a router that answers what is asked. However the bytes
 * are cut, the edge asks the router the same, answers the same, and closes for
 * the same reason.
 *
 * Input: a byte for the edge, one for the size of the pieces, then what the
 * client sends; at WAY_COMMANDS each line of it travels as a text frame. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "gateways/http/http.h"
#include "gateways/tcp/tcp.h"
#include "gateways/ws/ws.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

enum way { WAY_HTTP, WAY_TCP, WAY_WS, WAY_COMMANDS, WAY_FRAMES, WAY_RAW, WAYS };
enum { ROUNDS = 300, PIECES = 16 };

#define UPGRADE(target)                                          \
    "GET " target " HTTP/1.1\r\nHost: localhost\r\n"             \
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"              \
    "Sec-WebSocket-Version: 13\r\n"                              \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static const struct {
    const struct edge *edge;
    const char *before;
} ways[WAYS] = {
    [WAY_HTTP] = { &http_edge, "" },
    [WAY_TCP] = { &tcp_edge, "" },
    [WAY_WS] = { &ws_edge, "" },
    [WAY_COMMANDS] = { &ws_edge, UPGRADE("/v1/ws") },
    [WAY_FRAMES] = { &ws_edge, UPGRADE("/v1/ws") },
    [WAY_RAW] = { &ws_edge, UPGRADE("/v1/raw?channel=a&publish=b") },
};

/* --- the runner that the fake expects around it --- */

const char *test_dir(void)
{
    return "/tmp";
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    abort();
}

void test_expect_int(const char *file, int line, const char *what, int64_t got,
                     int64_t want)
{
    if (got != want)
        test_fail(file, line, "%s", what);
}

void test_expect_err(const char *file, int line, const char *what, int got,
                     int want)
{
    if (got != want)
        test_fail(file, line, "%s", what);
}

/* --- the router --- */

static void answer(const struct edge *edge, const struct fake_call *k)
{
    struct published p = { .status = PUBLISHED_OK, .seq = 5, .offset = 5,
                           .created = true, .channel = slice_str(k->channel) };

    switch (k->kind) {
    case FAKE_SUBSCRIBE:
        edge->subscribed(k->conn, k->ref);
        if (!conn_closing(k->conn) && edge->started)
            edge->started(k->conn, k->ref);
        return;
    case FAKE_PUBLISH:
        edge->published(k->conn, k->ref, &p);
        return;
    case FAKE_FETCH:
        edge->page_end(k->conn, k->ref, 0, false, 9);
        return;
    case FAKE_UNSUBSCRIBE:
        return;
    default:
        edge->answered(k->conn, k->ref, PUBLISHED_NOT_FOUND, true,
                       SLICE("match.none: none"), 3);
    }
}

static void note(struct buf *asked, const struct fake_call *k)
{
    buf_addf(asked, "%d %s %s %s %s %s %s %s ", k->kind, k->channel, k->verb,
             k->args, k->name, k->from, k->key, k->idempotency);
    buf_add(asked, slice_make(k->data, k->data_len));
    buf_addf(asked, " %d %d %s-%llu %llu %llu %u\n", k->format, k->has_since,
             k->since.epoch.text, (unsigned long long)k->since.seq,
             (unsigned long long)k->after, (unsigned long long)k->upto,
             k->limit);
}

static void answer_all(struct fake *f, const struct edge *edge,
                       struct buf *asked)
{
    const struct fake_call *k;

    for (int left = ROUNDS; left > 0 && (k = fake_next_call(f)); left--) {
        note(asked, k);
        if (!conn_closing(k->conn))
            answer(edge, k);
        fake_turn(f);
    }
}

/* --- the client --- */

static void add_frame(struct buf *out, struct slice text)
{
    text = slice_head(text, 65535);
    buf_add_byte(out, 0x81);
    if (text.len < 126) {
        buf_add_byte(out, (uint8_t)(0x80 | text.len));
    } else {
        buf_add_byte(out, 0x80 | 126);
        buf_add_byte(out, (uint8_t)(text.len >> 8));
        buf_add_byte(out, (uint8_t)text.len);
    }
    buf_add(out, SLICE("\0\0\0\0")); /* the mask */
    buf_add(out, text);
}

static void add_commands(struct buf *out, struct slice lines)
{
    while (lines.ptr)
        add_frame(out, slice_split(&lines, '\n'));
}

/* The line that says "go on" is there when the body was not. */
static void without_continue(struct buf *out)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uint8_t *at;

    while (out->len
           && (at = memmem(out->ptr, out->len, line, sizeof line - 1))) {
        size_t behind = (size_t)(at - out->ptr) + sizeof line - 1;

        memmove(at, out->ptr + behind, out->len - behind);
        out->len -= sizeof line - 1;
    }
}

/* A request with two faults is refused for the one that is seen first; behind
 * either answer the connection closes. */
static void without_fault(struct buf *out)
{
    static const char *const heads[] = { "HTTP/1.1 4", "HTTP/1.1 5" };
    static const char closes[] = "Connection: close\r\n";

    for (size_t at = 0; at < out->len; at++) {
        struct slice rest = slice_from(buf_slice(out), at);

        for (size_t i = 0; i < ARRAY_LEN(heads); i++)
            if (slice_starts(rest, slice_str(heads[i]))
                && memmem(rest.ptr, rest.len, closes, sizeof closes - 1)) {
                buf_truncate(out, at);
                buf_add_str(out, "refused");
                return;
            }
    }
}

/* All that came of these bytes. */
static void talk(enum way way, struct slice bytes, size_t step,
                 struct buf *ret)
{
    struct fake *f = fake_new(ways[way].edge, NULL);
    struct conn *c = fake_connect(f);
    struct buf asked = BUF_INIT;

    fake_send(c, slice_str(ways[way].before));
    fake_send_pieces(c, bytes, step);
    answer_all(f, ways[way].edge, &asked);
    fake_send_end(c);
    answer_all(f, ways[way].edge, &asked);
    buf_reset(ret);
    buf_add(ret, fake_out(c));
    without_continue(ret);
    if (way == WAY_HTTP || way == WAY_WS)
        without_fault(ret);
    buf_addf(ret, "\nclosed %d %s\n", fake_is_closed(c), fake_close_why(c));
    buf_add(ret, buf_slice(&asked));
    CHECK(!ret->failed);
    buf_fini(&asked);
    fake_free(f);
}

static void expect_same(const struct buf *whole, const struct buf *cut)
{
    if (slice_eq(buf_slice(whole), buf_slice(cut)))
        return;
    fprintf(stderr, "whole:\n%.*s\ncut:\n%.*s\n", (int)whole->len,
            (const char *)whole->ptr, (int)cut->len, (const char *)cut->ptr);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = BUF_INIT, cut = BUF_INIT, bytes = BUF_INIT;
    enum way way;

    if (size < 3)
        return 0;
    log_set_level(LOG_ERROR);
    clock_fake(SECOND, INT64_C(1700000000000));
    way = data[0] % WAYS;
    if (way == WAY_COMMANDS)
        add_commands(&bytes, slice_make(data + 2, size - 2));
    else
        buf_add(&bytes, slice_make(data + 2, size - 2));
    talk(way, buf_slice(&bytes), bytes.len, &whole);
    talk(way, buf_slice(&bytes), 1 + data[1] % PIECES, &cut);
    expect_same(&whole, &cut);
    buf_fini(&whole);
    buf_fini(&cut);
    buf_fini(&bytes);
    return 0;
}
