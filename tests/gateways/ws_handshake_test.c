/* The way from an HTTP request to a WebSocket, and what is answered to one
 * that does not get there. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "gateways/ws/ws.h"
#include "tests/gateways/ws_peer.h"
#include "tests/t/fake_conn.h"
#include "tests/t/t.h"

#define SWITCHED "HTTP/1.1 101 Switching Protocols\r\n"                \
                 "Upgrade: websocket\r\nConnection: Upgrade\r\n"       \
                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

static struct fake *f;
static struct conn *c;

static void begin_with(const char *const *sets)
{
    f = fake_new(&ws_edge, sets);
    c = fake_connect(f);
}

static void begin(void)
{
    begin_with(NULL);
}

static void end(void)
{
    fake_free(f);
}

/* A handshake in which each line that is not NULL replaces the good one; a
 * line of "" leaves it out. */
struct lines {
    const char *request, *host, *upgrade, *connection, *key, *version, *more;
};

static void add_line(struct buf *b, const char *line, const char *good)
{
    const char *text = line ? line : good;

    if (*text)
        buf_addf(b, "%s\r\n", text);
}

static void send_lines(const struct lines *l)
{
    struct buf b = BUF_INIT;

    add_line(&b, l->request, "GET /v1/ws HTTP/1.1");
    add_line(&b, l->host, "Host: localhost:8001");
    add_line(&b, l->upgrade, "Upgrade: websocket");
    add_line(&b, l->connection, "Connection: keep-alive, Upgrade");
    add_line(&b, l->key, "Sec-WebSocket-Key: " PEER_KEY);
    add_line(&b, l->version, "Sec-WebSocket-Version: 13");
    add_line(&b, l->more, "");
    buf_add_str(&b, "\r\n");
    fake_send(c, buf_slice(&b));
    buf_fini(&b);
}

/* Status and code of the answer to such a handshake, which must be whole,
 * JSON, and followed by the end. */
static void expect_refused(const struct lines *l, unsigned status,
                           const char *code)
{
    char want[64];

    begin();
    send_lines(l);
    snprintf(want, sizeof want, "HTTP/1.1 %u ", status);
    EXPECT_SLICE(slice_head(fake_out(c), strlen(want)), slice_str(want));
    EXPECT_CONTAINS(fake_text(c), "\r\nContent-Type: application/json\r\n");
    snprintf(want, sizeof want, "{\"error\":{\"code\":\"%s\",\"text\":\"",
             code);
    EXPECT_CONTAINS(fake_text(c), want);
    EXPECT(slice_ends(fake_out(c), SLICE("\"}}\n")));
    EXPECT(fake_is_closed(c));
    EXPECT_INT(fake_counted(f, code), 1);
    end();
}

TEST(the_handshake_of_the_rfc_is_answered_as_there)
{
    begin();
    send_lines(&(struct lines){ .more = NULL });
    EXPECT_SLICE(slice_head(fake_out(c), strlen(SWITCHED)),
                 slice_str(SWITCHED));
    EXPECT(!fake_is_closed(c));
    EXPECT_INT(fake_deadline(c), 0);
    EXPECT(fake_has_pings(c));
    end();
}

TEST(a_handshake_may_come_in_any_pieces)
{
    struct buf b = BUF_INIT;

    peer_handshake(&b, "/v1/ws");
    peer_frame(&b, 0x89, SLICE("x"));
    for (size_t cut = 1; cut < b.len; cut++) {
        begin();
        fake_send(c, slice_head(buf_slice(&b), cut));
        fake_send(c, slice_from(buf_slice(&b), cut));
        EXPECT_CONTAINS(fake_text(c), "Upgrade: websocket\r\n");
        EXPECT(slice_ends(fake_out(c), SLICE("\x8a\x01x")));
        end();
    }
    buf_fini(&b);
}

TEST(words_are_read_in_any_case_and_among_others)
{
    begin();
    send_lines(&(struct lines){ .upgrade = "upgrade: h2c, WebSocket",
                                .connection = "CONNECTION: UPGRADE",
                                .more = "Sec-WebSocket-Extensions: "
                                        "permessage-deflate" });
    EXPECT_SLICE(slice_head(fake_out(c), strlen(SWITCHED)),
                 slice_str(SWITCHED));
    end();
}

#define OFFER(text) "Sec-WebSocket-Extensions: " text "\r\n"

TEST(extensions_in_several_lines_are_one_list)
{
    static const char *const sets[] = {"ws.deflate=true", NULL};

    begin_with(sets);
    send_lines(&(struct lines){ .more =
        OFFER("permessage-deflate; client_max_window_bits=10")
        OFFER("permessage-deflate; server_max_window_bits=9")
        "Sec-WebSocket-Extensions: x-unknown" });
    EXPECT_CONTAINS(fake_text(c), "101 Switching Protocols");
    EXPECT_CONTAINS(fake_text(c), "\r\nSec-WebSocket-Extensions: "
                                  "permessage-deflate");
    EXPECT(!strstr(fake_text(c), "server_max_window_bits"));
    end();
    begin_with(sets);
    send_lines(&(struct lines){ .more = OFFER("a b")
        "Sec-WebSocket-Extensions: permessage-deflate" });
    EXPECT_CONTAINS(fake_text(c), "handshake.extensions");
    end();
}

TEST(what_is_no_upgrade_is_told_where_to_go)
{
    expect_refused(&(struct lines){ .upgrade = "" }, 426, "upgrade.required");
    expect_refused(&(struct lines){ .connection = "Connection: close" }, 426,
                   "upgrade.required");
    expect_refused(&(struct lines){ .upgrade = "Upgrade: h2c" }, 426,
                   "upgrade.required");
    begin();
    fake_send(c, SLICE("GET / HTTP/1.1\r\nHost: localhost:8001\r\n\r\n"));
    EXPECT_CONTAINS(fake_text(c), "\r\nUpgrade: websocket\r\n");
    EXPECT_CONTAINS(fake_text(c), "\r\nSec-WebSocket-Version: 13\r\n");
    EXPECT_CONTAINS(fake_text(c), "/v1/ws at localhost:8001 with ws://, or "
                                  "wss:// behind TLS.");
    end();
}

TEST(a_head_request_gets_no_body)
{
    begin();
    fake_send(c, SLICE("HEAD / HTTP/1.1\r\nHost: localhost:8001\r\n\r\n"));
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 426 ");
    EXPECT(slice_ends(fake_out(c), SLICE("\r\n\r\n")));
    end();
}

TEST(a_handshake_must_be_right_in_every_part)
{
    expect_refused(&(struct lines){ .request = "POST /v1/ws HTTP/1.1" }, 405,
                   "method.bad");
    expect_refused(&(struct lines){ .request = "GET /v1/ws HTTP/1.0" }, 400,
                   "handshake.http");
    expect_refused(&(struct lines){ .request = "GET /v1/xyz HTTP/1.1" }, 404,
                   "path.unknown");
    expect_refused(&(struct lines){ .host = "" }, 400, "request.host");
    expect_refused(&(struct lines){ .version = "Sec-WebSocket-Version: 8" },
                   426, "handshake.version");
    expect_refused(&(struct lines){ .version = "" }, 426,
                   "handshake.version");
    expect_refused(&(struct lines){ .key = "" }, 400, "handshake.key");
    expect_refused(&(struct lines){ .key = "Sec-WebSocket-Key: "
                                           "dGhlIHNhbXBsZSBub25jZQ=" },
                   400, "handshake.key");
    expect_refused(&(struct lines){ .key = "Sec-WebSocket-Key: "
                                           "dGhlIHNhbXBsZSBub25jZR==" },
                   400, "handshake.key");
    expect_refused(&(struct lines){ .key = "Sec-WebSocket-Key: "
                                           "dGhlIHNhbXBsZSBub25!ZQ==" },
                   400, "handshake.key");
    expect_refused(&(struct lines){ .more = "Sec-WebSocket-Key: " PEER_KEY },
                   400, "request.twice");
    expect_refused(&(struct lines){ .more = "Content-Length: 5" }, 400,
                   "handshake.body");
    expect_refused(&(struct lines){ .more = "Bad Header: x" }, 400,
                   "request.field");
}

TEST(a_405_says_what_is_allowed)
{
    begin();
    send_lines(&(struct lines){ .request = "PUT /v1/ws HTTP/1.1" });
    EXPECT_CONTAINS(fake_text(c), "\r\nAllow: GET\r\n");
    end();
}

TEST(pages_of_other_origins_are_kept_out)
{
    static const char *const sets[] = { "ws.origins=good.example", NULL };

    expect_refused(&(struct lines){ .more = "Origin: https://evil.example" },
                   403, "origin.denied");
    expect_refused(&(struct lines){ .more = "Origin: null" }, 403,
                   "origin.denied");
    begin();
    send_lines(&(struct lines){ .more = "Origin: http://localhost:8000" });
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 101 ");
    end();
    begin_with(sets);
    send_lines(&(struct lines){ .more = "Origin: https://good.example" });
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 101 ");
    end();
}

TEST(on_loopback_a_strange_name_is_misdirected)
{
    expect_refused(&(struct lines){ .host = "Host: rebound.example" }, 421,
                   "host.unknown");
    begin();
    fake_set_side(c, FAKE_AT_LOOPBACK, false);
    send_lines(&(struct lines){ .host = "Host: matches.example" });
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 101 ");
    EXPECT(!conn_from_loopback(c)); /* it may be a page's name, pointed here */
    end();
    begin();
    fake_set_side(c, FAKE_AT_LOOPBACK, false);
    send_lines(&(struct lines){ .host = "Host: localhost" });
    EXPECT(conn_from_loopback(c));
    end();
}

TEST(limits_of_the_head_hold)
{
    struct buf long_line = BUF_INIT, many = BUF_INIT;

    buf_add_str(&long_line, "GET /v1/ws?x=");
    while (long_line.len < 9000)
        buf_add_byte(&long_line, 'x');
    buf_add_str(&long_line, " HTTP/1.1");
    for (int i = 0; i < 200; i++)
        buf_addf(&many, "X-%d: y%s", i, i < 199 ? "\r\n" : "");
    begin();
    send_lines(&(struct lines){ .request = buf_text(&long_line) });
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 414 ");
    EXPECT_INT(fake_limited(f, LIMIT_REQUEST_LINE), 1);
    end();
    begin();
    send_lines(&(struct lines){ .more = buf_text(&many) });
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 431 ");
    EXPECT_INT(fake_limited(f, LIMIT_HEADERS), 1);
    end();
    buf_fini(&long_line);
    buf_fini(&many);
}

TEST(a_handshake_has_so_long_and_each_byte_does_not_prolong_it)
{
    begin();
    for (int i = 0; i < 40; i++) {
        fake_send(c, SLICE("G"));
        fake_pass(f, 100);
    }
    EXPECT(!fake_is_closed(c));
    fake_pass(f, 1100);
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 408 ");
    EXPECT(fake_is_closed(c));
    EXPECT_INT(fake_limited(f, LIMIT_HANDSHAKE_WAIT), 1);
    end();
}

TEST(who_says_nothing_is_told_nothing)
{
    begin();
    fake_pass(f, 5100);
    EXPECT_STR(fake_text(c), "");
    EXPECT(fake_is_closed(c));
    end();
}

TEST(a_token_opens_and_a_wrong_one_is_refused)
{
    static const char *const sets[] = {
        "token reporter.secret=0123456789abcdef",
        "token reporter.publish=match/", NULL };

    begin_with(sets);
    send_lines(&(struct lines){ .more = "Authorization: Bearer "
                                        "0123456789abcdef" });
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 101 ");
    EXPECT(conn_token(c) != NULL);
    end();
    expect_refused(&(struct lines){ .more = "Authorization: Bearer nope" },
                   403, "token.unknown");
}

TEST(who_comes_through_a_proxy_is_not_from_here)
{
    begin();
    fake_set_side(c, FAKE_PROXY, true);
    send_lines(&(struct lines){ .more = "X-Forwarded-For: 1.1.1.1, 9.9.9.9" });
    EXPECT(!conn_from_loopback(c));
    EXPECT_STR(conn_peer_text(c), "9.9.9.9");
    end();
    begin();
    send_lines(&(struct lines){ .more = "X-Forwarded-For: 9.9.9.9" });
    EXPECT(!conn_from_loopback(c));
    EXPECT_STR(conn_peer_text(c), "127.0.0.1");
    end();
}

TEST(a_proxy_that_names_two_clients_is_refused)
{
    begin();
    fake_set_side(c, FAKE_PROXY, true);
    send_lines(&(struct lines){ .more = "X-Forwarded-For: 9.9.9.9\r\n"
                                        "Forwarded: for=9.9.9.8" });
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 400 ");
    EXPECT_CONTAINS(fake_text(c), "\"forwarded.differs\"");
    end();
}

TEST(the_101_of_a_url_with_channels_waits_for_the_login)
{
    const struct fake_call *k;

    begin();
    send_lines(&(struct lines){ .request = "GET /v1/ws?channel=room%2Fa&"
                                "channel=b&since=e1-5&name=ana HTTP/1.1" });
    EXPECT_STR(fake_text(c), "");
    k = fake_next_call(f);
    EXPECT(k != NULL);
    EXPECT_STR(k->channel, "room/a b");
    EXPECT_STR(k->name, "ana");
    EXPECT(k->has_since);
    EXPECT_INT(k->since.seq, 5);
    ws_edge.subscribed(c, k->ref);
    fake_notice(c, NOTICE_RESUMED, "b", "e1-5");
    ws_edge.started(c, k->ref);
    EXPECT_SLICE(slice_head(fake_out(c), strlen(SWITCHED)),
                 slice_str(SWITCHED));
    EXPECT_CONTAINS(fake_text(c) + strlen(SWITCHED) + 2,
                    "{\"notice\":\"welcome\"");
    EXPECT(slice_ends(fake_out(c), SLICE("{\"notice\":\"resumed\",\"channel\":"
                                         "\"b\",\"cursor\":\"e1-5\"}")));
    end();
}

TEST(frames_behind_the_request_wait_for_the_101)
{
    struct buf b = BUF_INIT;
    const struct fake_call *k;

    begin();
    peer_handshake(&b, "/v1/ws?channel=a");
    peer_frame(&b, 0x89, SLICE("x"));
    fake_send(c, buf_slice(&b));
    EXPECT_STR(fake_text(c), "");
    k = fake_next_call(f);
    ws_edge.subscribed(c, k->ref);
    fake_turn(f);
    EXPECT(slice_ends(fake_out(c), SLICE("\x8a\x01x")));
    buf_fini(&b);
    end();
}

TEST(a_subscription_of_the_url_that_cannot_be_had_is_an_http_error)
{
    const struct fake_call *k;

    begin();
    fake_refuse_next(f, PUBLISHED_TOO_MANY, "channels.many", "too many");
    send_lines(&(struct lines){ .request = "GET /v1/ws?channel=a HTTP/1.1" });
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 429 ");
    EXPECT_CONTAINS(fake_text(c), "\r\nRetry-After: 2\r\n");
    end();
    begin();
    send_lines(&(struct lines){ .request = "GET /v1/ws?channel=a HTTP/1.1" });
    k = fake_next_call(f);
    ws_edge.subscribe_failed(c, k->ref, "channels.full", SLICE("too many"));
    fake_turn(f);
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 429 ");
    EXPECT_CONTAINS(fake_text(c), "channels.full");
    EXPECT(fake_is_closed(c));
    end();
    begin();
    send_lines(&(struct lines){ .request = "GET /v1/ws?channel=a&since=x"
                                           " HTTP/1.1" });
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 400 ");
    EXPECT_CONTAINS(fake_text(c), "cursor.bad");
    end();
}

TEST(raw_needs_one_channel_and_may_have_one_to_publish_to)
{
    static const char *const bad[] = {
        "GET /v1/raw HTTP/1.1",
        "GET /v1/raw?channel=a&channel=b HTTP/1.1",
        "GET /v1/raw?channel=a&publish=b&publish=c HTTP/1.1",
        "GET /v1/raw?channel=a&publish=b/* HTTP/1.1",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        begin();
        send_lines(&(struct lines){ .request = bad[i] });
        EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 400 ");
        EXPECT_CONTAINS(fake_text(c), "\"channel.");
        end();
    }
}

TEST(raw_refuses_a_closed_door_before_the_101)
{
    begin();
    fake_set_side(c, FAKE_LOOPBACK, false);
    send_lines(&(struct lines){ .request = "GET /v1/raw?channel=a&publish="
                                           "match/x HTTP/1.1" });
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 403 ");
    EXPECT_CONTAINS(fake_text(c), "publish.denied");
    end();
}

TEST(a_gateway_that_is_full_or_goes_down_says_503)
{
    begin();
    EXPECT(slice_starts(ws_edge.busy(fake_gateway(f)),
                        SLICE("HTTP/1.1 503 Service Unavailable\r\n")));
    send_lines(&(struct lines){ .request = "GET /v1/ws?channel=a HTTP/1.1" });
    ws_edge.drain(c);
    fake_turn(f);
    EXPECT_CONTAINS(fake_text(c), "HTTP/1.1 503 ");
    EXPECT(fake_is_closed(c));
    end();
}
