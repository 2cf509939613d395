#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/chaos/crowd.h"

enum { PIECE = 24 }; /* bytes a millisecond */

static void watch(const struct crowd *c, struct peer *p, int op)
{
    struct epoll_event e = {
        .events = (p->deaf ? 0u : EPOLLIN) | (p->writing ? EPOLLOUT : 0u),
        .data.ptr = p,
    };

    epoll_ctl(c->poll_fd, op, p->fd, &e);
}

/* small: neither its own kernel nor the server's takes much for it: that buffer
 * grows with the size of a segment, which on a loopback is 64 KiB. */
static int bound_socket(uint32_t address, bool small)
{
    struct sockaddr_in from = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, least = 4096, segment = 536;

    if (fd < 0)
        return fd;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + address);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (small) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool peer_dial(struct crowd *c, struct peer *p, enum edge edge,
               enum wire_form form, uint32_t address)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons(c->options->port[edge]),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };

    p->fd = bound_socket(address, p->small);
    if (p->fd < 0)
        return false;
    if (connect(p->fd, (struct sockaddr *)&to, sizeof to) < 0 &&
        errno != EINPROGRESS) {
        close(p->fd);
        return false;
    }
    wire_init(&p->wire, form);
    p->state = PEER_CONNECTING;
    p->writing = true;
    p->deaf = false;
    watch(c, p, EPOLL_CTL_ADD);
    return true;
}

bool peer_flush(struct crowd *c, struct peer *p)
{
    size_t sent = 0;
    bool waits;

    while (p->state == PEER_OPEN && sent < p->out.len) {
        size_t most = p->pieces ? PIECE : SIZE_MAX;
        ssize_t n = send(p->fd, p->out.ptr + sent,
                         MIN(p->out.len - sent, most), MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (n < 0 && errno == EAGAIN)
            break;
        sent += n > 0 ? (size_t)n : 0;
        if (p->pieces)
            poll(NULL, 0, 1); /* so that it can be killed in the middle */
    }
    if (sent == p->out.len)
        buf_fini(&p->out);
    else
        buf_drop_front(&p->out, sent);
    waits = p->state == PEER_CONNECTING || p->out.len > 0;
    if (waits != p->writing) {
        p->writing = waits;
        watch(c, p, EPOLL_CTL_MOD);
    }
    return true;
}

void peer_listen(struct crowd *c, struct peer *p, bool reads)
{
    p->deaf = !reads;
    watch(c, p, EPOLL_CTL_MOD);
}

int peer_read(struct peer *p, bool *reset)
{
    static uint8_t bytes[1 << 16];
    ssize_t n = recv(p->fd, bytes, sizeof bytes, 0);

    *reset = n < 0;
    if (n > 0) {
        wire_feed(&p->wire, slice_make(bytes, (size_t)n));
        return 1;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

void peer_close(struct peer *p, bool reset)
{
    struct linger at_once = { .l_onoff = 1 };

    if (p->state == PEER_CLOSED)
        return;
    if (reset)
        setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(p->fd);
    p->state = PEER_CLOSED;
    wire_fini(&p->wire);
    buf_fini(&p->out);
}
