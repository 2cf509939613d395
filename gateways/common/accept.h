/* accept.h - who is let in, and who is turned away.
 *
 * Accepting goes on in batches until the kernel has no more. A client for
 * whom there is no room (door.h) is answered out of a reserve of descriptors
 * (doorstep.h); when that is used up, too, accepting pauses: nothing spins.
 *
 * Where several processes share a port (siblings.h), one that has little room
 * leaves it to the others: it takes in what waits in its queues and stops
 * listening, by shutdown(), so that the kernel gives new clients to the
 * others' sockets. What comes between the last accept and the shutdown, or in
 * an endless stream meanwhile, is reset by the kernel, unless
 * net.ipv4.tcp_migrate_req is on. A unix socket is one for all: it is left
 * alone. The address of http.admin is one process's and stays.
 * Threads: the gateway's loop; accept_room() any. */
#ifndef TOUCHLINE_GATEWAYS_ACCEPT_H
#define TOUCHLINE_GATEWAYS_ACCEPT_H

#include "base/base.h"
#include "base/loop.h"
#include "proto/listen.h"
#include "proto/siblings.h"

struct gateway;
struct listener;

struct accepting {
    struct listener *listeners;
    bool paused; /* for want of files, until `again` */
    bool left;   /* the port, to siblings that have more room */
    bool held;   /* accept_hold() */
    struct loop_timer again, room_again;
    struct loop_timer listen_again; /* a socket that did not listen again */
    struct siblings *siblings; /* borrowed; NULL: nobody shares the port */
    struct pollset *bell;      /* of theirs */
};

/* Clients that the process's files allow, with so many workers. */
uint32_t accept_room(size_t workers);
/* Takes the sockets of set. Nobody is let in while accepting.held says so, as
 * with a successor that has not taken over yet. ERR_NOMEM, ERR_IO. */
MUST_USE int accept_start(struct gateway *g, const struct listen_set *set);
/* Shares the port with these, which it borrows. ERR_NOMEM, ERR_IO: serves, and
 * knows nothing of others. */
MUST_USE int accept_share(struct gateway *g, struct siblings *s);
void accept_stop(struct gateway *g); /* for good; the sockets are closed */
/* Nobody is let in for a while, or again; who comes waits in the kernel. */
void accept_hold(struct gateway *g, bool held);
/* accept_stop(), and siblings take the successor for this process. */
void accept_part(struct gateway *g);
/* Lets in, or turns away, whom another gateway has passed on (pass.h). Takes
 * fd. */
struct guest;
void accept_guest(struct gateway *g, int fd, const struct guest *guest);
/* Each second: clients that the kernel dropped, because nobody accepted them
 * fast enough, count for limits.accept_backlog. Cost: a system call for each
 * listener. */
void accept_count_drops(struct gateway *g);
/* A client has gone, or a second: there may be a reason to listen again. */
void accept_room_again(struct gateway *g);
const struct listen_address *accept_address(const struct gateway *g,
                                            unsigned listener);

#endif
