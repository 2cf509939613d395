/* handover.h - messages with descriptors between two processes of one Touchline:
 * what is handed from one to the other on one machine.
 *
 * Two use it. An upgrade: a gateway hands all it has to its successor, over a
 * pair of sockets that the supervisor gives to both. A WebSocket that comes to
 * the HTTP gateway: its socket, and what has been read of it (gateways/common/
 * guest.h), go to the WebSocket gateway.
 *
 * Underneath is a SOCK_SEQPACKET unix socket. A message has a kind, a body of
 * up to HANDOVER_LARGEST bytes and up to HANDOVER_FILES descriptors; it travels
 * in pieces of HANDOVER_PIECE bytes, the descriptors with the first. Each piece
 * is checked: the other end is another program, and may be another version.
 * Deadlines are times of clock_ns(); 0 does not wait at all.
 *
 * Threads: one at a time. Cost: a system call for each piece and each wait. */
#ifndef TOUCHLINE_PROTO_HANDOVER_H
#define TOUCHLINE_PROTO_HANDOVER_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    HANDOVER_FILES = 128, /* descriptors of a message; the kernel takes 253 */
    HANDOVER_PIECE = 32 * 1024,
    HANDOVER_LARGEST = 64 * 1024 * 1024,
};

/* One end. */
struct handover {
    int fd;
    size_t sent;    /* of the message that could not be sent whole */
    bool cut;       /* and will not be: nothing can follow it */
    bool gathering; /* the first piece of a message has come, the last has not */
    bool whole;     /* `in` is a message that has been given out */
    uint8_t kind;
    struct buf in;
    int files[HANDOVER_FILES]; /* come and not taken; -1: taken */
    unsigned file_count;
};

/* Two ends that know each other, close-on-exec. ERR_IO. */
MUST_USE int handover_pair(int ends[2]);
/* Takes fd, which does not block from here on. */
void handover_init(struct handover *h, int fd);
/* Closes it, and what has come and was not taken. */
void handover_fini(struct handover *h);

/* The descriptors stay the caller's: the other end gets copies. ERR_AGAIN: with
 * until_ns 0 only; there was no room for all of it, and the same message has to
 * be sent again. ERR_TIMEOUT. ERR_CLOSED: the other one has gone, or an error has
 * cut a message short, which nothing can follow: one may only receive. ERR_FULL: this user has more descriptors under way
 * than it may have open. ERR_TOO_BIG: too long, or too many descriptors; nothing
 * was sent. ERR_IO. */
MUST_USE int handover_send(struct handover *h, uint8_t kind, struct slice body,
                           const int *files, unsigned file_count,
                           int64_t until_ns);

/* A message; body is borrowed until the next call. */
struct handover_message {
    uint8_t kind;
    struct slice body;
    unsigned file_count;
};
/* ERR_AGAIN: with until_ns 0 only. ERR_CLOSED: the other end has gone, and all
 * it said has been read, but for a message of which the rest has not come.
 * ERR_TIMEOUT. ERR_FRAME: that was no message of ours.
 * ERR_FULL: there is no room for its descriptors; they are closed. ERR_NOMEM,
 * ERR_IO. After anything but ERR_AGAIN and ERR_TIMEOUT it is of no more use. */
MUST_USE int handover_receive(struct handover *h, int64_t until_ns,
                              struct handover_message *ret);
/* The i-th descriptor of the message that was received last becomes the
 * caller's; -1: there is none, or it has been taken. What is left is closed
 * with the next message. */
int handover_take(struct handover *h, unsigned i);

#endif
