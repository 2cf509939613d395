/* pass.h - a WebSocket that comes to the HTTP gateway's port is passed on to the
 * WebSocket gateway: its socket, what has been read of it, and who its peer is
 * (guest.h), as one message (proto/handover.h).
 *
 * Between all processes of the one kind and all of the other is one pair of
 * sockets, which the supervisor makes and keeps. What is sent at the one end is
 * taken by whichever worker at the other comes first: so who has time gets the
 * next, and while one process is started again the others take all; while all
 * are, clients wait in the kernel's queue as they do in that of a port. When it
 * is full, as in a storm, more wait here for room, for PASS_WAIT at most.
 *
 * The one who passes a client on forgets it (`passed` of closes.def). Its answer,
 * 101 or a refusal, is the WebSocket gateway's alone, and by the rules of that
 * one's section: where a WebSocket came in changes nothing of what it may.
 *
 * What an edge does with it is in conn.h: conn_pass_on().
 *
 * Threads: each worker has its own end. Cost: a system call at each end. */
#ifndef TOUCHLINE_GATEWAYS_PASS_H
#define TOUCHLINE_GATEWAYS_PASS_H

#include "base/loop.h"
#include "gateways/common/conn.h"
#include "proto/handover.h"

/* The names under which the ends are handed over (listen_handed). */
#define PASS_OUT "touchline-pass-out"
#define PASS_IN  "touchline-pass-in"

struct passing { /* zeroed: nothing is passed */
    struct handover out, in;
    bool may_send, may_take, attends;
    struct loop_fd watch;
    struct buf waiting; /* for room: their names, oldest first */
    struct loop_fd room;
};

/* Takes copies of the ends that this process was handed, if it was. ERR_IO,
 * ERR_NOMEM. */
MUST_USE int pass_start(struct gateway *g);
void pass_stop(struct gateway *g);
/* Takes clients, or leaves them to others: one that drains, stands still for a
 * successor, or is full. Each second, too. */
void pass_attend(struct gateway *g);
/* Each second: those who wait try again, or have waited for too long. */
void pass_retry(struct gateway *g);

#endif
