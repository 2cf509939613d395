/* What a gateway does, by the instructions of a worker's thread, the edges' part
 * included. Clients are sockets of this process; a router of a few lines is at
 * the other end of the link. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "gateways/common/accept.h"
#include "gateways/common/core.h"
#include "gateways/common/uplink.h"
#include "gateways/http/http.h"
#include "gateways/tcp/tcp.h"
#include "gateways/ws/ws.h"
#include "proto/frame_io.h"
#include "tests/bench/count.h"
#include "tests/bench/link_ends.h"

enum { CLIENTS_MAX = 128, TURNS_MAX = 50, BURST = 100 };

#define MESSAGE "a message of a hundred bytes, as the figures that " \
                "others are compared with have them: 0123456789 ABC"

/* What a browser sends. */
#define REQUEST(line) \
    line " HTTP/1.1\r\n" \
    "Host: localhost:8000\r\n" \
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 " \
    "Firefox/128.0\r\n" \
    "Accept: */*\r\n" \
    "Accept-Language: en-US,en;q=0.5\r\n" \
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
#define HANDSHAKE(target) \
    REQUEST("GET " target) \
    "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" \
    "Sec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static struct world {
    struct count_ends ends;
    struct config *config;
    struct door *door;
    struct gateway g;
    struct sockaddr_un at;
    struct pipe *far;
    struct joiner_ops ops;
    uint64_t seq;
    unsigned logins;
    int fds[CLIENTS_MAX];
    unsigned count;
    const char *say; /* what a client says again and again */
    size_t say_len;
} w;

/* ---- the link: a pipe, without the search for the router -------------------- */

static struct joiner {
    struct pipe *near;
} joiner;

static const struct pipe_ops far_ops;

int joiner_open(struct joiner **ret, struct loop *loop,
                const struct joiner_options *options,
                const struct joiner_ops *ops, void *ctx)
{
    UNUSED(options);
    w.ends.near_loop = loop;
    MUST(loop_new(&w.ends.far_loop) == 0);
    MUST(bus_new(&w.ends.near, loop) == 0 &&
         bus_new(&w.ends.far, w.ends.far_loop) == 0);
    w.ops = *ops;
    count_ends_join(&w.ends, &far_ops, NULL, &joiner.near, &w.far);
    pipe_set_ops(joiner.near, &w.ops.pipe, ctx);
    *ret = &joiner;
    return 0;
}

struct pipe *joiner_pipe(struct joiner *j)
{
    return j->near;
}

const struct peer_id *joiner_who(const struct joiner *j)
{
    static const struct peer_id who = {.name = "http1", .life = 7};

    UNUSED(j);
    return &who;
}

bool joiner_is_stuck(const struct joiner *j)
{
    UNUSED(j);
    return false;
}

void joiner_close(struct joiner *j)
{
    UNUSED(j);
}

void joiner_part(struct joiner *j)
{
    UNUSED(j);
}

void joiner_freeze(struct joiner *j, struct buf *out)
{
    UNUSED(j), UNUSED(out);
}

int joiner_thaw(struct joiner *j, struct cursor *in)
{
    UNUSED(j), UNUSED(in);
    return ERR_FRAME;
}

/* ---- the router ------------------------------------------------------------- */

static void end(void)
{
    pipe_frame_end(w.far);
    pipe_set_seq(w.far, w.seq);
}

static void say_welcome(void)
{
    struct frame_welcome f = {.life = 1, .seq = w.seq, .resync = 1,
                              .epoch = SLICE("x7k2p9qa41")};

    frame_write_welcome(pipe_frame(w.far, FRAME_WELCOME), &f);
    end();
}

static void answer_login(struct slice body)
{
    struct frame_login in;
    struct login_id id;
    struct buf *b;

    MUST(frame_read_login(body, &in) == 0);
    b = pipe_frame(w.far, FRAME_LOGGED_IN);
    frame_write_logged_in(b, &(struct frame_logged_in){
                              .conn = in.conn, .gen = in.gen, .seq = w.seq,
                              .flags = in.flags, .count = in.count});
    for (unsigned i = 0; i < in.count; i++) {
        MUST(frame_next_login_id(&in, &id) == 0);
        frame_write_logged_in_id(b, &(struct logged_in_id){.id = id.id});
    }
    end();
    w.logins++;
}

static void answer_publish(struct slice body)
{
    struct frame_publish in;

    MUST(frame_read_publish(body, &in) == 0);
    w.seq++;
    frame_write_published(pipe_frame(w.far, FRAME_PUBLISHED),
                          &(struct frame_published){
                              .number = in.number, .seq = w.seq,
                              .offset = w.seq, .ts_ms = clock_wall_ms(),
                              .reached = 1, .id = in.id});
    end();
}

static int on_frame(void *ctx, uint8_t code, struct slice body)
{
    UNUSED(ctx);
    if (code == FRAME_HELLO) {
        say_welcome();
    } else if (code == FRAME_SYNCED) {
        put_u64(pipe_frame(w.far, FRAME_RESYNCED), w.seq);
        end();
    } else if (code == FRAME_LOGIN) {
        answer_login(body);
    } else if (code == FRAME_PUBLISH) {
        answer_publish(body);
    }
    return 0;
}

static void on_batch_end(void *ctx, uint64_t seq)
{
    UNUSED(ctx), UNUSED(seq);
}

static void on_up(void *ctx)
{
    UNUSED(ctx);
}

static void on_down(void *ctx, const char *why)
{
    UNUSED(ctx);
    count_fail(__FILE__, __LINE__, why);
}

static const struct pipe_ops far_ops = {
    .frame = on_frame, .batch_end = on_batch_end, .up = on_up,
    .down = on_down,
};

static void deliver(void)
{
    struct msg_parts p = {
        .flags = MSG_STORED, .seq = ++w.seq, .offset = w.seq,
        .ts_ms = clock_wall_ms(), .id = SLICE("room/lobby"),
        .data = SLICE(MESSAGE),
    };

    frame_write_deliver(pipe_frame(w.far, FRAME_DELIVER), &p);
    end();
}

/* ---- clients ---------------------------------------------------------------- */

static int dial(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    MUST(fd >= 0);
    MUST(connect(fd, (struct sockaddr *)(void *)&w.at, sizeof w.at) == 0);
    return fd;
}

static void say(int fd, const char *text, size_t len)
{
    MUST(write(fd, text, len) == (ssize_t)len);
}

static bool has_heard(int fd)
{
    int bytes = 0;

    MUST(ioctl(fd, FIONREAD, &bytes) == 0);
    return bytes > 0;
}

static void forget(int fd)
{
    static char nowhere[1 << 16];

    while (read(fd, nowhere, sizeof nowhere) > 0)
        ;
}

static bool all_have_heard(void)
{
    for (unsigned i = 0; i < w.count; i++)
        if (!has_heard(w.fds[i]))
            return false;
    return true;
}

/* Counted, until all of them have heard something. */
static void until_heard(void)
{
    for (unsigned i = 0; !all_have_heard(); i++) {
        MUST(i < TURNS_MAX);
        count_near_turn(&w.ends, 0);
        count_far_turn(&w.ends);
    }
    for (unsigned i = 0; i < w.count; i++)
        forget(w.fds[i]);
}

static void client(const char *first, size_t len)
{
    int fd = dial();

    w.fds[w.count++] = fd;
    say(fd, first, len);
    count_settle(&w.ends);
    forget(fd);
}

/* ---- a gateway --------------------------------------------------------------- */

static void start(const struct edge *edge)
{
    char listen[256];
    const char *sets[] = {"process.canary=0", listen, NULL};
    struct listen_set set = {.count = 0};
    const char *why = "";
    char text[256];

    snprintf(listen, sizeof listen, "%s.listen=unix:%s/socket", edge->name,
             count_dir());
    w.at.sun_family = AF_UNIX;
    snprintf(w.at.sun_path, sizeof w.at.sun_path, "%.90s/socket", count_dir());
    w.seq = 1000000;
    w.config = count_config(sets);
    MUST(door_new(&w.door, CLIENTS_MAX, 0) == 0);
    MUST(gateway_init(&w.g, w.config, edge, 1, w.door) == 0);
    MUST(uplink_open(&w.g, &why) == 0);
    MUST(listen_open(&set, &config_edge(w.config, edge->name)->listen, false,
                     100, text, sizeof text) == 0);
    count_settle(&w.ends);
    MUST(gateway_linked(&w.g));
    MUST(accept_start(&w.g, &set) == 0);
}

/* n watchers, and a message to all of them. */
static void watchers(const struct edge *edge, const char *first, unsigned n)
{
    start(edge);
    for (unsigned i = 0; i < n; i++)
        client(first, strlen(first));
    MUST(w.logins == n);
}

static void once_deliver(void *ctx)
{
    UNUSED(ctx);
    deliver();
    count_far_turn(&w.ends);
    until_heard();
}

static void once_deliver_burst(void *ctx)
{
    UNUSED(ctx);
    for (unsigned i = 0; i < BURST; i++)
        deliver();
    count_far_turn(&w.ends);
    until_heard();
}

static void *begin_stream(unsigned n)
{
    watchers(&http_edge,
             REQUEST("GET /v1/stream?channel=room/lobby") "\r\n", n);
    return &w;
}

static void *begin_comet(unsigned n)
{
    watchers(&http_edge, REQUEST("GET /test/room/lobby") "\r\n", n);
    return &w;
}

static void *begin_sse(unsigned n)
{
    watchers(&http_edge,
             REQUEST("GET /v1/stream?channel=room/lobby")
             "Accept: text/event-stream\r\n\r\n", n);
    return &w;
}

static void *begin_ws(unsigned n)
{
    watchers(&ws_edge, HANDSHAKE("/v1/ws?channel=room/lobby"), n);
    return &w;
}

static void *begin_tcp(unsigned n)
{
    watchers(&tcp_edge, "SUB room/lobby\r\n", n);
    return &w;
}

/* ---- who comes -------------------------------------------------------------- */

/* Accepted, asked for, logged in, told: until the first frame. Then it goes,
 * which is another path's. */
static void once_open(void *ctx)
{
    UNUSED(ctx);
    w.fds[0] = dial();
    w.count = 1;
    say(w.fds[0], w.say, w.say_len);
    until_heard();
    close(w.fds[0]);
    count_settle(&w.ends);
}

static void *begin_open(unsigned n)
{
    UNUSED(n);
    start(&http_edge);
    w.say = REQUEST("GET /v1/stream?channel=user/ana") "\r\n";
    w.say_len = strlen(w.say);
    return &w;
}

static void *begin_open_ws(unsigned n)
{
    UNUSED(n);
    start(&ws_edge);
    w.say = HANDSHAKE("/v1/ws?channel=user/ana");
    w.say_len = strlen(w.say);
    return &w;
}

/* It goes: counted from its end to when nothing is left of it. */
static void once_close(void *ctx)
{
    UNUSED(ctx);
    w.fds[0] = dial();
    say(w.fds[0], w.say, w.say_len);
    count_settle(&w.ends);
    MUST(w.g.open == 1);
    close(w.fds[0]);
    for (unsigned i = 0; w.g.open; i++) {
        MUST(i < TURNS_MAX);
        count_near_turn(&w.ends, 0);
    }
    count_settle(&w.ends);
}

/* ---- who says something ----------------------------------------------------- */

static void once_say(void *ctx)
{
    UNUSED(ctx);
    say(w.fds[0], w.say, w.say_len);
    until_heard();
}

/* A poll that waits, and is answered by the next message. */
static void once_poll(void *ctx)
{
    char text[1024];
    int len = snprintf(text, sizeof text,
                       REQUEST("GET /v1/poll?channel=room/lobby&since="
                               "x7k2p9qa41-%llu") "\r\n",
                       (unsigned long long)w.seq);

    UNUSED(ctx);
    say(w.fds[0], text, (size_t)len);
    count_near_turn(&w.ends, 0);
    count_far_turn(&w.ends);
    MUST(!has_heard(w.fds[0]));
    deliver();
    count_far_turn(&w.ends);
    until_heard();
}

static void speaks(const char *text, size_t len)
{
    w.say = text;
    w.say_len = len;
    for (unsigned i = 0; i < 2; i++) {
        say(w.fds[0], text, len);
        count_settle(&w.ends);
        MUST(has_heard(w.fds[0]));
        forget(w.fds[0]);
    }
}

static void *begin_request(unsigned n)
{
    static const char text[] = REQUEST("GET /healthz") "\r\n";

    UNUSED(n);
    start(&http_edge);
    client(text, sizeof text - 1);
    speaks(text, sizeof text - 1);
    return &w;
}

static void *begin_post(unsigned n)
{
    static const char text[] =
        REQUEST("POST /v1/publish/room/lobby")
        "Content-Type: text/plain\r\nContent-Length: 100\r\n\r\n" MESSAGE;

    UNUSED(n);
    MUST(sizeof MESSAGE - 1 == 100);
    start(&http_edge);
    client(text, sizeof text - 1);
    speaks(text, sizeof text - 1);
    return &w;
}

static void *begin_poll(unsigned n)
{
    static const char first[] = REQUEST("GET /v1/poll?channel=room/lobby")
                                "\r\n";

    UNUSED(n);
    start(&http_edge);
    client(first, sizeof first - 1);
    return &w;
}

/* A text frame of a client, masked. */
static size_t masked(char *out, const char *text)
{
    static const unsigned char mask[] = {0x37, 0xfa, 0x21, 0x3d};
    size_t len = strlen(text), at = 0;

    out[at++] = (char)0x81;
    if (len < 126) {
        out[at++] = (char)(0x80 | len);
    } else {
        out[at++] = (char)(0x80 | 126);
        out[at++] = (char)(len >> 8);
        out[at++] = (char)len;
    }
    memcpy(out + at, mask, sizeof mask);
    at += sizeof mask;
    for (size_t i = 0; i < len; i++)
        out[at++] = (char)(text[i] ^ mask[i % sizeof mask]);
    return at;
}

static void *begin_frame(const char *command)
{
    static const char first[] = HANDSHAKE("/v1/ws");
    static char frame[1024];

    start(&ws_edge);
    client(first, sizeof first - 1);
    speaks(frame, masked(frame, command));
    return &w;
}

static void *begin_ws_ping(unsigned n)
{
    UNUSED(n);
    return begin_frame("{\"cmd\":\"ping\",\"ref\":7}");
}

static void *begin_ws_publish(unsigned n)
{
    UNUSED(n);
    return begin_frame("{\"cmd\":\"publish\",\"channel\":\"room/lobby\","
                       "\"data\":\"" MESSAGE "\",\"ref\":7}");
}

static void *begin_line(const char *line)
{
    start(&tcp_edge);
    client("PING\r\n", 6);
    speaks(line, strlen(line));
    return &w;
}

static void *begin_tcp_ping(unsigned n)
{
    UNUSED(n);
    return begin_line("PING\r\n");
}

static void *begin_tcp_publish(unsigned n)
{
    UNUSED(n);
    return begin_line("PUB room/lobby " MESSAGE "\r\n");
}

const struct count_path count_paths[] = {
    {"gateway/burst-of-100-to-10", begin_stream, once_deliver_burst, 10},
    {"gateway/close", begin_open, once_close, 0},
    {"gateway/comet-to-10", begin_comet, once_deliver, 10},
    {"gateway/deliver-to-1", begin_stream, once_deliver, 1},
    {"gateway/deliver-to-10", begin_stream, once_deliver, 10},
    {"gateway/deliver-to-100", begin_stream, once_deliver, 100},
    {"gateway/poll", begin_poll, once_poll, 0},
    {"gateway/request", begin_request, once_say, 0},
    {"gateway/request-that-publishes", begin_post, once_say, 0},
    {"gateway/sse-to-10", begin_sse, once_deliver, 10},
    {"gateway/stream-until-first-frame", begin_open, once_open, 0},
    {"gateway/telnet-ping", begin_tcp_ping, once_say, 0},
    {"gateway/telnet-publish", begin_tcp_publish, once_say, 0},
    {"gateway/telnet-to-10", begin_tcp, once_deliver, 10},
    {"gateway/websocket-ping", begin_ws_ping, once_say, 0},
    {"gateway/websocket-publish", begin_ws_publish, once_say, 0},
    {"gateway/websocket-to-10", begin_ws, once_deliver, 10},
    {"gateway/websocket-until-first-frame", begin_open_ws, once_open, 0},
    {NULL, NULL, NULL, 0},
};
