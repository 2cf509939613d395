/* crowd.h - subscribers and publishers on all edges, many to a process, who
 * write down what they did and saw (history.h).
 *
 * One process is one loop (crowd_main.c) over peers: sockets of clients. A
 * subscriber is a chain of connections that resumes with its newest cursor; a
 * publisher sends at its rate, several unanswered at a time, and, where it has
 * keys, tries again what it does not know the fate of.
 * Threads: one. */
#ifndef TESTS_CHAOS_CROWD_H
#define TESTS_CHAOS_CROWD_H

#include <stdio.h>

#include "tests/chaos/event.h"
#include "tests/chaos/options.h"
#include "tests/chaos/told.h"
#include "tests/chaos/wire.h"

struct channel {
    char name[48];
    unsigned space; /* of a pattern: SPACES_MAX */
};

struct figures {
    uint64_t opened, begun, closed_by_peer, refused_connects;
    uint64_t messages, notices, gaps, missed, bytes;
    uint64_t invoked, acked, duplicates, refused, unknown;
};

struct crowd {
    const struct options *options;
    unsigned process; /* from 0 */
    int poll_fd;
    FILE *log;
    uint64_t random;
    struct channel *channels; /* those of all spaces, then the patterns */
    unsigned channel_count, item_count;
    struct sub *subs;
    struct pub *pubs;
    unsigned sub_count, pub_count;
    struct figures figures;
    int64_t last_message_ns; /* of all subscribers */
    unsigned lazy_count, report_count;
    bool calm;    /* nobody leaves, nobody dies */
    bool stopped; /* nobody publishes anything new */
};

/* ---- chance, names, log ---- */
uint64_t crowd_random(struct crowd *c); /* xorshift64* */
uint64_t crowd_below(struct crowd *c, uint64_t n);
bool crowd_chance(struct crowd *c, double p);
/* The channel of that name, or -1. Cost: O(spaces). */
int crowd_channel(const struct crowd *c, struct slice name);
/* One line of the log: "KIND TIME " and the rest, which has no LF. */
PRINTF_LIKE(3, 4)
void crowd_say(struct crowd *c, char kind, const char *fmt, ...);

/* ---- peer: one socket ---- */
enum peer_state { PEER_CLOSED, PEER_CONNECTING, PEER_OPEN };

struct peer {
    int fd;
    uint8_t state; /* enum peer_state */
    bool is_sub;
    bool writing; /* EPOLLOUT is asked for */
    bool deaf;    /* it does not read */
    bool small;   /* its kernel takes little for it */
    bool pieces;  /* sends a few bytes at a time */
    struct buf out;
    struct wire wire;
};

/* Dials; what is in out leaves when it is open. `address` chooses one of
 * 127.0.0.0/8. False: refused at once. */
bool peer_dial(struct crowd *c, struct peer *p, enum edge edge,
               enum wire_form form, uint32_t address);
/* Sends what is in out, as far as it goes. False: the socket broke. */
bool peer_flush(struct crowd *c, struct peer *p);
void peer_listen(struct crowd *c, struct peer *p, bool reads);
/* Reads into the wire. 1: something came; 0: nothing for now; -1: it ended
 * (*reset: not in order). */
int peer_read(struct peer *p, bool *reset);
/* reset: with RST, as of a process that died. */
void peer_close(struct peer *p, bool reset);

/* ---- subscribers ---- */
struct part {
    uint16_t items[ITEMS_MAX]; /* index into channels */
    uint8_t count;
    bool in_force;
    bool behind; /* its replay has not ended: it has its own cursor */
    bool has_since;
    struct position since;
};

/* Messages of a channel seen one behind the other. */
struct run {
    uint16_t channel;
    bool used;
    uint64_t first, last, seq, sum;
    struct epoch epoch;
};

struct sub {
    struct peer peer;
    uint32_t number, conn;
    enum sub_form form;
    uint8_t part_count, asked; /* parts asked for */
    bool open, begun, has_cursor, starting, lazy;
    bool refused; /* a part of it */
    uint16_t run_count;
    unsigned failures; /* in a row */
    int64_t due_ns;    /* come (again), or leave; INT64_MAX: never */
    int64_t begun_ns;
    int64_t turns_ns;  /* of a lazy one: stops reading, or reads again */
    int64_t retry_ms;  /* as the server said last; -1 */
    uint64_t last_seq; /* of the connection */
    struct position cursor;
    struct part parts[PARTS_MAX];
    struct run *runs;
};

void sub_init(struct crowd *c, struct sub *s, uint32_t number,
              enum sub_form form);
void sub_event(struct crowd *c, struct sub *s, uint32_t events, int64_t now_ns);
void sub_due(struct crowd *c, struct sub *s, int64_t now_ns);
/* When turns_ns has come, or nobody is lazy any more. */
void sub_turn(struct crowd *c, struct sub *s, int64_t now_ns);
/* The crowd goes home. */
void sub_end(struct crowd *c, struct sub *s);

/* ---- publishers ---- */
enum { UNANSWERED_MAX = 16 };

struct publication {
    uint32_t number;
    uint16_t channel;
    bool again; /* to be sent (again) */
    char event[40]; /* its word (event.h), or "" */
    uint64_t order; /* in which it was sent last */
    int64_t sent_ns;
};

struct pub {
    struct peer peer;
    uint32_t number, next; /* the publisher's; of its next publication */
    enum pub_form form;
    bool open;
    uint16_t channel; /* of a raw one: all go there */
    struct match *match; /* of a reporter: its own */
    unsigned count, failures;
    uint64_t orders;
    int64_t due_ns, come_ns;
    struct publication sent[UNANSWERED_MAX];
};

/* Of a reporter, NULL for others: how its match stands, as far as it has been
 * acknowledged, and what may be undone. */
struct match {
    unsigned k; /* match/hK-vK-... */
    struct standing standing;
    unsigned founded; /* teams and creation, so far */
    uint64_t goal;    /* offset of a goal of its own; 0: none */
};

void pub_init(struct crowd *c, struct pub *p, uint32_t number,
              enum pub_form form);
/* Takes up what a log says that its writer, who was killed, had no answer to.
 * False: it cannot be read. */
bool pub_again(struct crowd *c, struct pub *p, const char *path);
void pub_event(struct crowd *c, struct pub *p, uint32_t events, int64_t now_ns);
void pub_due(struct crowd *c, struct pub *p, int64_t now_ns);
void pub_end(struct crowd *c, struct pub *p);

/* ---- the store ---- */
/* Writes V and T lines of all channels. False: it could not be read whole. */
bool dump_store(struct crowd *c);

#endif
