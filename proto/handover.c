#include "proto/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "base/err.h"

/* In front of each piece: magic, kind, flags, how many descriptors. */
enum { HEADER = 4, MAGIC = 0x54 };
enum piece_flag { PIECE_FIRST = 1u << 0, PIECE_LAST = 1u << 1 };

union control {
    struct cmsghdr head; /* aligns */
    char bytes[CMSG_SPACE(HANDOVER_FILES * sizeof(int))];
};

int handover_pair(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0
               ? ERR_IO : 0;
}

void handover_init(struct handover *h, int fd)
{
    *h = (struct handover){.fd = fd};
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void close_files(struct handover *h)
{
    for (unsigned i = 0; i < h->file_count; i++)
        if (h->files[i] >= 0)
            close(h->files[i]);
    h->file_count = 0;
}

void handover_fini(struct handover *h)
{
    close_files(h);
    buf_fini(&h->in);
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
}

int handover_take(struct handover *h, unsigned i)
{
    int fd = i < h->file_count ? h->files[i] : -1;

    if (fd >= 0)
        h->files[i] = -1;
    return fd;
}

/* Until the socket can do it. ERR_AGAIN, ERR_TIMEOUT. */
static int wait_for(const struct handover *h, short events, int64_t until_ns)
{
    struct pollfd p = {.fd = h->fd, .events = events};
    int64_t left;
    int rc;

    if (until_ns == 0)
        return ERR_AGAIN;
    do {
        left = until_ns - clock_ns();
        if (left <= 0)
            return ERR_TIMEOUT;
        rc = poll(&p, 1, (int)(left / MILLISECOND) + 1);
    } while (rc == 0 || (rc < 0 && errno == EINTR));
    return rc < 0 ? ERR_IO : 0;
}

/* ---- out --------------------------------------------------------------- */

static void attach(struct msghdr *m, union control *c, const int *files,
                   unsigned count)
{
    struct cmsghdr *h;

    if (count == 0)
        return;
    memset(c, 0, sizeof *c);
    m->msg_control = c->bytes;
    m->msg_controllen = CMSG_SPACE(count * sizeof(int));
    h = CMSG_FIRSTHDR(m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(h), files, count * sizeof(int));
}

/* ERR_AGAIN: just now there is no room. */
static int send_piece(const struct handover *h, const uint8_t header[HEADER],
                      struct slice bytes, const int *files)
{
    struct iovec iov[2] = {
        {.iov_base = (void *)(uintptr_t)header, .iov_len = HEADER},
        {.iov_base = (void *)(uintptr_t)bytes.ptr, .iov_len = bytes.len}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    union control control;
    ssize_t n;

    attach(&m, &control, files, header[3]);
    do
        n = sendmsg(h->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return 0;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return ERR_AGAIN;
    if (errno == ETOOMANYREFS)
        return ERR_FULL;
    return errno == EPIPE || errno == ECONNRESET ? ERR_CLOSED : ERR_IO;
}

int handover_send(struct handover *h, uint8_t kind, struct slice body,
                  const int *files, unsigned file_count, int64_t until_ns)
{
    bool done = false;

    if (body.len > HANDOVER_LARGEST || file_count > HANDOVER_FILES)
        return ERR_TOO_BIG;
    if (h->cut)
        return ERR_CLOSED;
    while (!done) {
        size_t n = MIN(body.len - h->sent, (size_t)HANDOVER_PIECE);
        bool first = h->sent == 0, last = h->sent + n == body.len;
        uint8_t header[HEADER] = {
            MAGIC, kind, (uint8_t)((first ? PIECE_FIRST : 0) |
                                   (last ? PIECE_LAST : 0)),
            first ? (uint8_t)file_count : 0};
        int rc = send_piece(h, header, slice_make(body.ptr + h->sent, n),
                            files);

        if (rc == 0) {
            h->sent += n;
            done = last;
        } else if (rc == ERR_AGAIN) {
            rc = wait_for(h, POLLOUT, until_ns);
        }
        if (rc < 0) {
            h->cut = rc != ERR_AGAIN && h->sent;
            return rc;
        }
    }
    h->sent = 0;
    return 0;
}

/* ---- in ---------------------------------------------------------------- */

/* Descriptors of a piece, all of which are ours to close. */
static void collect(struct handover *h, struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        const uint8_t *at = CMSG_DATA(c);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++, at += sizeof(int)) {
            int fd;

            memcpy(&fd, at, sizeof fd);
            if (h->file_count < HANDOVER_FILES)
                h->files[h->file_count++] = fd;
            else
                close(fd);
        }
    }
}

/* Puts a piece behind those in front of it. */
static int take_piece(struct handover *h, struct slice piece, unsigned came)
{
    struct cursor c = cursor_init(piece);
    uint8_t magic = cursor_u8(&c), kind = cursor_u8(&c);
    uint8_t flags = cursor_u8(&c), files = cursor_u8(&c);
    struct slice bytes = cursor_rest(&c);
    bool first = flags & PIECE_FIRST;

    if (c.failed || magic != MAGIC || first == h->gathering ||
        (flags & ~(unsigned)(PIECE_FIRST | PIECE_LAST)) || files != came ||
        (!first && (kind != h->kind || files)) ||
        h->in.len + bytes.len > HANDOVER_LARGEST)
        return ERR_FRAME;
    h->kind = kind;
    h->gathering = !(flags & PIECE_LAST);
    buf_add(&h->in, bytes);
    return h->in.failed ? ERR_NOMEM : 0;
}

/* ERR_AGAIN: there is none. */
static int receive_piece(struct handover *h)
{
    uint8_t bytes[HEADER + HANDOVER_PIECE];
    struct iovec iov = {.iov_base = bytes, .iov_len = sizeof bytes};
    union control control;
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    unsigned before = h->file_count;
    ssize_t n;

    do
        n = recvmsg(h->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return ERR_AGAIN;
    if (n < 0)
        return errno == ECONNRESET ? ERR_CLOSED : ERR_IO;
    collect(h, &m);
    if (m.msg_flags & MSG_CTRUNC)
        return ERR_FULL;
    if (n == 0)
        return ERR_CLOSED;
    if (m.msg_flags & MSG_TRUNC)
        return ERR_FRAME;
    return take_piece(h, slice_make(bytes, (size_t)n),
                      h->file_count - before);
}

int handover_receive(struct handover *h, int64_t until_ns,
                     struct handover_message *ret)
{
    if (h->whole) {
        close_files(h);
        buf_reset(&h->in);
        h->whole = false;
    }
    do {
        int rc = receive_piece(h);

        if (rc == ERR_AGAIN)
            rc = wait_for(h, POLLIN, until_ns);
        else if (rc == 0 && !h->gathering)
            h->whole = true;
        if (rc < 0)
            return rc;
    } while (!h->whole);
    *ret = (struct handover_message){.kind = h->kind,
                                     .body = buf_slice(&h->in),
                                     .file_count = h->file_count};
    return 0;
}
