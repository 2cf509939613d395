/* bus.h - NNG, and the end of its threads: whatever one of them has to say
 * becomes mail, and the loop's thread reads it. Nothing else includes nng.h.
 * path: msg > publish > store > table > repeater > link > [bus] > gateway >
 *       edge > conn
 *
 * Three things are made of NNG sockets here: a line (two pair0 sockets, one
 * for each direction: the bytes below a pipe), a server (rep) and an ask (req,
 * one question). All of them are thrown away rather than mended: NNG keeps
 * messages of a lost peer for the next one, and some of its dialers and
 * listeners never recover. A thread of the bus closes them, because that takes
 * milliseconds and has been seen to hang; decisions/0015 has the measurements.
 *
 * Threads: everything is called by, and every callback runs on, the loop's.
 * Callbacks never run inside a call and may close anything. Never fork()
 * after bus_new(). Cost: a system call per message and, when the loop sleeps,
 * one to wake it. */
#ifndef TOUCHLINE_PROTO_BUS_H
#define TOUCHLINE_PROTO_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/slice.h"

enum {
    BUS_WINDOW = 2,   /* messages under way per line, each direction */
    BUS_URL_MAX = 128, /* an address with its NUL */
    BUS_GUESTS_MAX = 256 /* connections to a server at a time */
};

/* Why somebody who connected was turned away. */
enum bus_refusal {
    BUS_REFUSED_USER,  /* at a socket file: another user, and not root */
    BUS_REFUSED_CROWD, /* a server was full: the one who had been silent
                          longest went, or who came last */
    BUS_REFUSALS
};

/* The mailbox of one loop. Lines, servers and asks hold it. */
struct bus;
MUST_USE int bus_new(struct bus **ret, struct loop *loop);
struct bus *bus_hold(struct bus *b);
/* The last drop waits until everything is closed, 0.1 s as a rule and 1 s at
 * most. NULL is fine. */
void bus_drop(struct bus *b);
struct loop *bus_loop(const struct bus *b);
/* How many so far, by all lines and servers. */
uint64_t bus_refused(struct bus *b, enum bus_refusal why);
/* NNG has not come back from closing something for 5 s, and will not: from
 * here on lost lines are noticed by their silence only, and each costs two
 * descriptors for good. A process that can be restarted had better be. */
bool bus_is_stuck(struct bus *b);

/* ---- line --------------------------------------------------------------- */
struct bus_line;

struct bus_line_ops {
    void (*met)(void *ctx);  /* somebody has connected; no proof of life */
    void (*lost)(void *ctx); /* he is gone, this line will see no other */
    void (*received)(void *ctx, struct slice bytes); /* borrows */
    void (*room)(void *ctx); /* as was asked for */
};

/* Addresses: ipc:///path (PATH-1 and PATH-2 are made), tcp://host:0 to listen
 * at any two ports, tcp://host:PORT,PORT to dial them. A message of more than
 * `largest` bytes ends the line. ERR_BUSY: the address is taken; ERR_BAD,
 * ERR_NOMEM, ERR_IO. Dialing goes on in the background. */
MUST_USE int bus_line_listen(struct bus_line **ret, struct bus *b,
                             const char *url, size_t largest,
                             const struct bus_line_ops *ops, void *ctx);
MUST_USE int bus_line_dial(struct bus_line **ret, struct bus *b,
                           const char *url, size_t largest,
                           const struct bus_line_ops *ops, void *ctx);
/* The tcp ports that were bound; 0 for other addresses. */
void bus_line_ports(const struct bus_line *l, unsigned ports[2]);

/* May a message begin? If not, room() will follow. */
bool bus_line_room(struct bus_line *l);
/* A message of len bytes: fill *ret, then commit; nothing in between.
 * ERR_AGAIN: there is no room. ERR_NOMEM. */
MUST_USE int bus_line_begin(struct bus_line *l, size_t len, uint8_t **ret);
void bus_line_commit(struct bus_line *l);

/* No received() while paused, and soon the peer cannot send any more. */
void bus_line_pause(struct bus_line *l, bool paused);

/* Waits for something to happen on this line, until `until` of clock_ns(), and
 * runs its callbacks: the one way to wait without the loop. ERR_TIMEOUT. */
MUST_USE int bus_line_wait(struct bus_line *l, int64_t until);

/* How a line ends: */
enum bus_end {
    BUS_END_QUIET,  /* the peer may be sending: when that has come to rest */
    BUS_END_LINGER, /* what was committed has 0.1 s to leave, or until the
                       peer goes */
    BUS_END_NOW     /* the peer has said that it will say no more */
};
/* No callback any more. NULL is fine. */
void bus_line_close(struct bus_line *l, enum bus_end how);

/* ---- server -------------------------------------------------------------- */
struct bus_server;

/* Answers at once, into an empty *reply. No bytes: no answer. */
typedef void bus_server_fn(void *ctx, struct slice request,
                           struct buf *reply);

/* Requests of more than `largest` bytes are dropped with their connection. Of
 * more than BUS_GUESTS_MAX connections those go that have asked nothing for a
 * second, longest silence first; while there is none of these, nobody comes in.
 * A socket file gets mode 0600; a stale one is replaced. Errors as above. */
MUST_USE int bus_server_open(struct bus_server **ret, struct bus *b,
                             const char *url, size_t largest,
                             bus_server_fn *fn, void *ctx);
unsigned bus_server_port(const struct bus_server *s);
/* A new listener on this address in the place of the old one. On failure
 * there is none, and it can be tried again. */
MUST_USE int bus_server_reopen(struct bus_server *s, const char *url);
/* The address is free when this returns. NULL is fine. */
void bus_server_close(struct bus_server *s);

/* ---- ask ----------------------------------------------------------------- */
struct bus_ask;

/* rc 0: the reply, which is borrowed; ERR_TIMEOUT, ERR_IO. */
typedef void bus_ask_fn(void *ctx, int rc, struct slice reply);

/* Connects in the background, sends, and calls fn once. */
MUST_USE int bus_ask_open(struct bus_ask **ret, struct bus *b,
                          const char *url, struct slice request,
                          int timeout_ms, bus_ask_fn *fn, void *ctx);
/* After fn was called with 0: another question to the same server. */
MUST_USE int bus_ask_again(struct bus_ask *a, struct slice request);
void bus_ask_close(struct bus_ask *a); /* NULL is fine */

#endif
