#include "tests/proto/relay.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"

enum { GREETING = 8, LENGTH = 8 };

struct side {
    struct relay *relay;
    struct side *other;
    int fd; /* -1: none */
    bool is_client;
    struct loop_fd watch;
    struct loop_fd writable; /* while out is not empty */
    struct buf in;  /* read, not forwarded yet */
    struct buf out; /* forwarded to this side, not taken yet */
    bool greeted;
    uint64_t messages;
};

struct relay {
    struct loop *loop;
    relay_fn *fn;
    void *ctx;
    int listener;
    struct loop_fd accept;
    unsigned port, target;
    struct side client, server;
    bool held;
    uint64_t cuts;
};

static void side_close(struct side *s)
{
    if (s->fd < 0)
        return;
    loop_fd_stop(&s->watch);
    loop_fd_stop(&s->writable);
    close(s->fd);
    s->fd = -1;
    buf_reset(&s->in);
    buf_reset(&s->out);
    s->greeted = false;
}

void relay_cut(struct relay *r)
{
    if (r->client.fd >= 0)
        r->cuts++;
    side_close(&r->client);
    side_close(&r->server);
}

static void write_out(void *ctx, unsigned ready)
{
    struct side *s = ctx;
    ssize_t n = send(s->fd, s->out.ptr, s->out.len,
                     MSG_NOSIGNAL | MSG_DONTWAIT);

    UNUSED(ready);
    if (n > 0)
        buf_drop_front(&s->out, (size_t)n);
    /* Any other end of it is seen where it is read. */
    if (s->out.len == 0 || (n < 0 && errno != EAGAIN))
        loop_fd_stop(&s->writable);
}

static void forward(struct side *to, struct slice bytes)
{
    bool idle = to->out.len == 0;

    buf_add(&to->out, bytes);
    CHECK(!to->out.failed);
    if (idle)
        CHECK(loop_fd_start(&to->writable, to->relay->loop, to->fd,
                            LOOP_WRITE, write_out, to) == 0);
}

/* Bytes of the first whole unit in front of `in`; 0: not all there yet. */
static size_t whole_unit(const struct side *s)
{
    uint64_t len;

    if (!s->greeted)
        return s->in.len >= GREETING ? GREETING : 0;
    if (s->in.len < LENGTH)
        return 0;
    memcpy(&len, s->in.ptr, LENGTH);
    len = be64toh(len) + LENGTH;
    return s->in.len >= len ? (size_t)len : 0;
}

static void pass_unit(struct side *s, size_t len)
{
    struct relay *r = s->relay;
    enum relay_fate fate = RELAY_PASS;
    struct slice unit = slice_make(s->in.ptr, len);

    if (s->greeted && r->fn)
        fate = r->fn(r->ctx, s->is_client, ++s->messages);
    s->greeted = true;
    if (fate == RELAY_SPOIL)
        s->in.ptr[len - 1] ^= 0x10;
    if (fate != RELAY_LOSE)
        forward(s->other, unit);
    if (fate == RELAY_TWICE)
        forward(s->other, unit);
    buf_drop_front(&s->in, len);
}

static void on_readable(void *ctx, unsigned ready)
{
    struct side *s = ctx;
    uint8_t *at = buf_reserve(&s->in, 65536);
    ssize_t n;
    size_t len;

    UNUSED(ready);
    CHECK(at);
    if (s->relay->held) {
        loop_fd_stop(&s->watch);
        return;
    }
    n = recv(s->fd, at, 65536, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        relay_cut(s->relay);
        return;
    }
    s->in.len += (size_t)n;
    while (s->other->fd >= 0 && (len = whole_unit(s)) > 0)
        pass_unit(s, len);
}

static void side_open(struct side *s, int fd)
{
    int one = 1;

    s->fd = fd;
    CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    CHECK(loop_fd_start(&s->watch, s->relay->loop, fd, LOOP_READ,
                        on_readable, s) == 0);
}

static int dial(unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

static void on_accept(void *ctx, unsigned ready)
{
    struct relay *r = ctx;
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    int to;

    UNUSED(ready);
    if (fd < 0)
        return;
    relay_cut(r);
    to = dial(r->target);
    if (to < 0) {
        close(fd);
        return;
    }
    side_open(&r->server, to);
    side_open(&r->client, fd);
}

static void listener_close(struct relay *r)
{
    if (r->listener < 0)
        return;
    loop_fd_stop(&r->accept);
    close(r->listener);
    r->listener = -1;
}

static void listener_open(struct relay *r)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;

    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(r->listener, (struct sockaddr *)&at, sizeof at) == 0);
    CHECK(listen(r->listener, 16) == 0);
    CHECK(getsockname(r->listener, (struct sockaddr *)&at, &len) == 0);
    r->port = ntohs(at.sin_port);
    CHECK(loop_fd_start(&r->accept, r->loop, r->listener, LOOP_READ,
                        on_accept, r) == 0);
}

struct relay *relay_new(struct loop *loop, relay_fn *fn, void *ctx)
{
    struct relay *r = calloc(1, sizeof *r);

    CHECK(r);
    *r = (struct relay){.loop = loop, .fn = fn, .ctx = ctx, .listener = -1};
    r->client = (struct side){.relay = r, .other = &r->server, .fd = -1,
                              .is_client = true};
    r->server = (struct side){.relay = r, .other = &r->client, .fd = -1};
    return r;
}

void relay_free(struct relay *r)
{
    if (!r)
        return;
    relay_cut(r);
    buf_fini(&r->client.in);
    buf_fini(&r->server.in);
    buf_fini(&r->client.out);
    buf_fini(&r->server.out);
    listener_close(r);
    free(r);
}

unsigned relay_target(struct relay *r, unsigned port)
{
    listener_close(r);
    listener_open(r);
    r->target = port;
    return r->port;
}

static void resume(struct side *s)
{
    if (s->fd < 0)
        return;
    loop_fd_stop(&s->watch);
    CHECK(loop_fd_start(&s->watch, s->relay->loop, s->fd, LOOP_READ,
                        on_readable, s) == 0);
}

void relay_hold(struct relay *r, bool hold)
{
    r->held = hold;
    if (hold)
        return;
    resume(&r->client);
    resume(&r->server);
}

uint64_t relay_cuts(const struct relay *r)
{
    return r->cuts;
}
