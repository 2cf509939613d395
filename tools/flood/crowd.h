/* crowd.h - the clients of one process, and the loop that moves them. A client
 * is a hundred bytes of one array; it has memory of its own only while a
 * message is there in part. All share one buffer to read into.
 *
 *     idle -> dialling -> asked -> up -> idle, or out
 *
 * crowd.c opens, closes, keeps the time; talk.c says and hears.
 * Threads: one; the processes of a run meet in share.h. */
#ifndef TOUCHLINE_FLOOD_CROWD_H
#define TOUCHLINE_FLOOD_CROWD_H

#include "tools/flood/answer.h"
#include "tools/flood/offsets.h"
#include "tools/flood/plan.h"
#include "tools/flood/share.h"

enum client_state {
    CLIENT_IDLE,     /* on the list of those to be opened */
    CLIENT_DIALLING, /* its connection is under way */
    CLIENT_ASKED,    /* it has said what it wants */
    CLIENT_UP,
    CLIENT_ENDING,   /* to be closed once what is at work with it returns */
    CLIENT_OUT,      /* over, or waits to come again */
};

#define CLIENT_NONE UINT32_MAX

struct client {
    int64_t since_ns; /* dialled, or asked last */
    struct offsets offsets;
    uint8_t *rest;    /* a message in part; NULL: none */
    uint32_t rest_len;
    uint32_t next, prev; /* on the list of its timer; next: of the idle, too */
    uint32_t due;     /* ms since the start; 0: no timer */
    uint32_t id;
    uint32_t waits;   /* for so many messages */
    uint32_t loops;   /* of its script so far */
    uint32_t newest;  /* of its id, when it came up */
    int fd;
    struct answer answer;
    uint16_t epoch, generation;
    uint8_t state, was; /* enum client_state; was: before ENDING */
    uint8_t why;        /* enum share_fail of ENDING; SHARE_FAIL_KINDS: none */
    uint8_t step;       /* of its script */
    bool welcomed, settled, framed; /* framed: a WebSocket that is open */
    bool numbered;      /* it has had a message with a number */
};

enum { CURSOR_MAX = 40, WHEEL_SLOTS = 4096 };

struct crowd {
    const struct plan *plan;
    const struct script *script;
    struct stage *stage;
    struct share *share;
    struct client *clients;
    uint32_t count;
    uint64_t first;   /* the number of its first client among all */
    bool is_probe;
    int epoll_fd;
    struct chance chance;
    struct buf in, out, name;
    char (*cursors)[CURSOR_MAX]; /* NULL: none are needed */
    struct offsets_tally tally, told;
    /* opening */
    uint32_t idle, idle_last; /* list, and its end while it has one */
    uint64_t dialled, in_flight, in_flight_max;
    double rate;      /* a second; 0: no bound */
    int64_t ramp_ns;
    /* time */
    int64_t started_ns, now_ns, phase_ns;
    int64_t now_us;   /* Unix, when what is being looked at came */
    uint32_t tick;    /* ms since the start that have been looked at */
    uint32_t wheel[WHEEL_SLOTS];
    enum stage_phase phase;
    uint32_t closing; /* who is next in a ramp down */
    char heard[SHARE_SAMPLE_MAX]; /* the last that was said to one not up */
};

/* Clients first to first + count - 1 of the run; of `processes` like it. The
 * probe is a crowd of one. ERR_NOMEM, ERR_IO. */
MUST_USE int crowd_init(struct crowd *c, const struct plan *plan,
                        struct stage *stage, struct share *share,
                        uint64_t first, uint32_t count, bool is_probe);
/* Until the stage's phase is PHASE_END. */
void crowd_run(struct crowd *c);
void crowd_fini(struct crowd *c);

/* ---- crowd.c, for talk.c ---- */

/* It has had what says so: counted, its script begins. */
void crowd_up(struct crowd *c, struct client *p);
/* Closes it soon; why SHARE_FAIL_KINDS: as it should be. sample: what was said,
 * or NULL. */
void crowd_end(struct crowd *c, struct client *p, enum share_fail why,
               const char *sample);
void crowd_timer(struct crowd *c, struct client *p, int64_t after_ns);
void crowd_timer_stop(struct crowd *c, struct client *p);

/* ---- talk.c, for crowd.c ---- */

void talk_begin(struct crowd *c, struct client *p); /* it is connected */
void talk_read(struct crowd *c, struct client *p, bool to_the_end);
void talk_script(struct crowd *c, struct client *p); /* goes on with it */

#endif
