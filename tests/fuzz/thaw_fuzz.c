/* What a predecessor hands over, damaged: a gateway of each edge, with clients in
 * the middle of things, is written down; some of its bytes are changed, messages
 * left out, doubled or cut; a successor takes that up. It is refused, or it is a
 * gateway that can go on: it turns, is written down itself, and ends; whatever
 * comes, nothing is used after it was freed, and no socket is left open.
 *
 * Input: a byte for the edge, then changes of 5 bytes each: message (u8), what
 * (u8), where (u16), with which value (u8). */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "gateways/common/core.h"
#include "gateways/common/deliver.h"
#include "gateways/common/freeze.h"
#include "gateways/common/uplink.h"
#include "gateways/http/http.h"
#include "gateways/tcp/tcp.h"
#include "gateways/ws/ws.h"
#include "proto/frame_io.h"
#define QUIET_LINK_NAME "x1"
#include "tests/t/quiet_link.h"

enum { CLIENTS = 7, MESSAGES_MAX = 12, TURNS = 4 };

static const struct edge *const edges[] = {&http_edge, &tcp_edge, &ws_edge};

/* What each of the clients has said so far: the first word of the row is the
 * edge's. */
#define WS_HEAD_FIELDS "Host: localhost\r\n" \
                       "Upgrade: websocket\r\nConnection: Upgrade\r\n" \
                       "Sec-WebSocket-Version: 13\r\n" \
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define WS_HEAD_TEXT "GET /v1/ws HTTP/1.1\r\n" WS_HEAD_FIELDS
static const struct slice said[ARRAY_LEN(edges)][CLIENTS] = {
    {
        SLICE_INIT("GET /v1/his"),
        SLICE_INIT("POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
                   "Content-Type: text/plain\r\nContent-Length: 9\r\n\r\nhalf"),
        SLICE_INIT("POST / HTTP/1.1\r\nHost: localhost\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n6\r\ned"),
        SLICE_INIT("GET /v1/stream?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        SLICE_INIT("GET /v1/poll?channel=a&since=e-5 HTTP/1.1\r\nHost: localhost"
                   "\r\n\r\nGET / HTTP"),
        SLICE_INIT("GET /test/a?every=5 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        SLICE_INIT("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    },
    {
        SLICE_INIT("PUB a half a li"),
        SLICE_INIT("NICK ana\r\n\xff\xfa\x01"),
        SLICE_INIT("SUB a\r\n"),
        SLICE_INIT("SUB m/* 0\r\nPI"),
        SLICE_INIT("VERSION:1:CONNECT:x:MATCH:a\r\n"),
        SLICE_INIT("\xff"),
        SLICE_INIT("SUB m/* 0\r\nSUB b 0\r\nHELP\r\n"),
    },
    {
        SLICE_INIT("GET /v1/ws?channel=a HT"),
        SLICE_INIT(WS_HEAD_TEXT "\r\n\x81\x85\1\2\3\4ab"),
        SLICE_INIT(WS_HEAD_TEXT "\r\n\x01\x83\0\0\0\0{\"r\x89\x85\1\2\3\4xx"),
        SLICE_INIT(WS_HEAD_TEXT "\r\n\x01\x83\0\0\0\0{\"r\x80"),
        SLICE_INIT(WS_HEAD_TEXT "Sec-WebSocket-Extensions: permessage-deflate"
                   "\r\n\r\n\xc1\x84\1\2\3\4ab"),
        SLICE_INIT("GET /v1/ws?channel=m/*&since=0 HTTP/1.1\r\n" WS_HEAD_FIELDS
                   "\r\n\x81\xa9\0\0\0\0{\"cmd\":\"subscribe\",\"channel\":"
                   "\"b\",\"ref\":1}"),
        SLICE_INIT("G"),
    },
};

/* ---- the link, which nobody hears ---------------------------------------- */

static struct {
    struct joiner_ops ops;
    void *ctx;
    struct buf frame;
    uint8_t code;
} link_;

int joiner_open(struct joiner **ret, struct loop *loop,
                const struct joiner_options *options,
                const struct joiner_ops *ops, void *ctx)
{
    UNUSED(loop), UNUSED(options);
    link_.ops = *ops;
    link_.ctx = ctx;
    *ret = (struct joiner *)(void *)&link_;
    return 0;
}

void joiner_close(struct joiner *j)
{
    UNUSED(j);
}

bool pipe_is_up(const struct pipe *p)
{
    UNUSED(p);
    return true;
}

void pipe_beat(struct pipe *p)
{
    UNUSED(p);
}

void pipe_break(struct pipe *p, const char *why)
{
    UNUSED(p), UNUSED(why);
}

struct buf *pipe_frame(struct pipe *p, uint8_t code)
{
    UNUSED(p);
    buf_reset(&link_.frame);
    link_.code = code;
    return &link_.frame;
}

static void hear(uint8_t code, struct buf *b)
{
    CHECK(!b->failed);
    (void)link_.ops.pipe.frame(link_.ctx, code, buf_slice(b));
    buf_fini(b);
}

/* ---- the one that is written down ------------------------------------------ */

static struct said_login {
    struct buf body;
} logins[2 * CLIENTS];
static unsigned login_count;

void pipe_frame_end(struct pipe *p)
{
    UNUSED(p);
    if (link_.code == FRAME_LOGIN && login_count < ARRAY_LEN(logins))
        buf_add(&logins[login_count++].body, buf_slice(&link_.frame));
}

/* Every id is granted; `a` has a state. */
static void grant_all(void)
{
    for (unsigned i = 0; i < login_count; i++) {
        struct frame_login in;
        struct frame_logged_in out = {.seq = 10};
        struct login_id id;
        struct buf b = BUF_INIT;

        CHECK(frame_read_login(buf_slice(&logins[i].body), &in) == 0);
        out.conn = in.conn;
        out.gen = in.gen;
        out.count = in.count;
        frame_write_logged_in(&b, &out);
        while (in.count--) {
            struct logged_in_id says = {.last_seq = 4, .last_offset = 2};

            CHECK(frame_next_login_id(&in, &id) == 0);
            says.id = id.id;
            says.flags = ID_STATEFUL | ID_SNAPSHOT;
            says.state = SLICE("{\"period\":\"first\"}");
            frame_write_logged_in_id(&b, &says);
        }
        hear(FRAME_LOGGED_IN, &b);
        buf_fini(&logins[i].body);
    }
    login_count = 0;
}

static void say_some(void)
{
    struct gap gap = {.from = 1, .to = 2, .why = GAP_DAMAGED};

    for (uint64_t seq = 11; seq < 15; seq++) {
        struct msg_parts p = {.flags = MSG_STORED, .seq = seq, .offset = seq,
                              .id = seq % 2 ? SLICE("a") : SLICE("m/1"),
                              .data = SLICE("hello")};
        struct buf b = BUF_INIT;

        frame_write_deliver(&b, &p);
        hear(FRAME_DELIVER, &b);
    }
    deliver_gap(link_.ctx, SLICE("a"), &gap);
}

static struct config *config;
static struct door *door;

static struct gateway *gateway_new(const struct edge *e)
{
    struct gateway *g = calloc(1, sizeof *g);
    const char *why;

    CHECK(g && gateway_init(g, config, e, 1, door) == 0);
    CHECK(uplink_open(g, &why) == 0);
    return g;
}

static void turn(struct gateway *g)
{
    for (unsigned i = 0; i < TURNS; i++)
        CHECK(loop_step(g->loop, 0) == 0);
}

static void client_comes(struct gateway *g, struct slice words, int *peer)
{
    const struct address nobody = {0};
    int ends[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    CHECK(door_enter(door));
    CHECK(conn_open(g, ends[0], CONN_LOOPBACK | CONN_AT_LOOPBACK, 0, &nobody) ==
          0);
    *peer = ends[1];
    CHECK(send(*peer, words.ptr, words.len, 0) == (ssize_t)words.len);
}

struct frozen {
    struct {
        uint8_t kind;
        struct buf body;
        unsigned files;
    } at[MESSAGES_MAX];
    unsigned count;
};

static void keep_all(struct gateway *g, struct frozen *all)
{
    struct freezer f;

    freezer_init(&f, g);
    while (freezer_next(&f) == 0) {
        CHECK(all->count < MESSAGES_MAX);
        all->at[all->count].kind = f.kind;
        all->at[all->count].files = f.file_count;
        buf_add(&all->at[all->count++].body, buf_slice(&f.body));
    }
    freezer_fini(&f);
}

/* A gateway of this edge, with its clients, written down once. */
static void stock(unsigned which, struct frozen *all)
{
    struct gateway *g = gateway_new(edges[which]);
    int peers[CLIENTS];
    uint32_t last = 0;
    const char *why;

    g->linked = true;
    memcpy(g->epoch.text, "e", 2);
    g->seq = 10;
    for (unsigned i = 0; i < CLIENTS; i++)
        client_comes(g, said[which][i], &peers[i]);
    turn(g);
    grant_all();
    turn(g);
    say_some();
    turn(g);
    grant_all();
    turn(g);
    CHECK(freeze_look(g, &last, &why) == FREEZE_RESTS);
    keep_all(g, all);
    for (unsigned i = 0; i < CLIENTS; i++)
        close(peers[i]);
    gateway_fini(g);
    free(g);
}

/* ---- the one that takes it ---------------------------------------------------- */

static void change(struct frozen *all, struct cursor *in)
{
    unsigned which = cursor_u8(in) % all->count;
    uint8_t what = cursor_u8(in);
    uint16_t where = cursor_u16(in);
    uint8_t value = cursor_u8(in);
    struct buf *b = &all->at[which].body;

    if (in->failed)
        return;
    if (what < 200 && b->len)
        b->ptr[where % b->len] = what < 100 ? value : (uint8_t)(b->ptr[where % b->len] ^ value);
    else if (what < 220)
        buf_truncate(b, where % (b->len + 1));
    else if (what < 230)
        buf_drop_front(b, where % (b->len + 1));
    else if (what < 240)
        all->at[which].kind = value;
    else if (what < 250)
        all->at[which].files = value % 12;
    else
        buf_add_byte(b, value);
}

static int take(struct thaw *t, const struct frozen *all, unsigned i)
{
    int files[HANDOVER_FILES], rc;
    unsigned n = all->at[i].files;

    for (unsigned k = 0; k < n; k++) {
        int ends[2];

        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
        files[k] = ends[0];
        close(ends[1]);
    }
    rc = thaw_take(t, all->at[i].kind, buf_slice(&all->at[i].body), files, n);
    for (unsigned k = 0; k < n; k++)
        if (files[k] >= 0)
            close(files[k]);
    return rc;
}

static void go_on(struct thaw *t)
{
    struct frozen again = {.count = 0};
    uint32_t last = 0;
    const char *why;

    thaw_go(t);
    turn(t->g);
    if (freeze_look(t->g, &last, &why) == FREEZE_RESTS)
        keep_all(t->g, &again);
    for (unsigned i = 0; i < again.count; i++)
        buf_fini(&again.at[i].body);
    clock_fake_advance(40 * SECOND);
    turn(t->g);
}

static void forget_logins(void)
{
    while (login_count)
        buf_fini(&logins[--login_count].body);
}

static unsigned count_open(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    CHECK(d != NULL);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static struct frozen stocks[ARRAY_LEN(edges)];

static void begin(void)
{
    const char *sets[] = {"ws.deflate=on"};
    struct config_source from = {.sets = sets, .set_count = 1};
    struct opt_error err;

    log_set_level(LOG_ERROR);
    CHECK(config_load(&config, &from, &err) == 0);
    CHECK(door_new(&door, 1000, 0) == 0);
    for (unsigned i = 0; i < ARRAY_LEN(edges); i++)
        stock(i, &stocks[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor in = cursor_init(slice_make(data, size));
    struct frozen all = {.count = 0};
    struct thaw t = {.g = NULL};
    unsigned which, before;
    int rc = 0;

    clock_fake(1000 * SECOND, 0);
    if (!config)
        begin();
    which = cursor_u8(&in) % ARRAY_LEN(edges);
    before = count_open();
    for (; all.count < stocks[which].count; all.count++) {
        all.at[all.count].kind = stocks[which].at[all.count].kind;
        all.at[all.count].files = stocks[which].at[all.count].files;
        buf_add(&all.at[all.count].body,
                buf_slice(&stocks[which].at[all.count].body));
    }
    while (cursor_left(&in))
        change(&all, &in);
    t.g = gateway_new(edges[which]);
    for (unsigned i = 0; rc == 0 && i < all.count; i++)
        rc = take(&t, &all, i);
    CHECK(rc == 0 || size > 1);
    if (rc == 0 && thaw_is_whole(&t))
        go_on(&t);
    gateway_fini(t.g);
    CHECK(t.g->open == 0);
    free(t.g);
    for (unsigned i = 0; i < all.count; i++)
        buf_fini(&all.at[i].body);
    forget_logins();
    buf_fini(&link_.frame);
    CHECK(count_open() == before);
    return 0;
}
