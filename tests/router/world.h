/* world.h - a router in this process, with its real store in the test's
 * directory, and peers that say frames and note what they hear.
 *
 * Every wait turns the loop until what is waited for has come, and fails the
 * test after ten seconds.
 * Threads: the test's. */
#ifndef TESTS_ROUTER_WORLD_H
#define TESTS_ROUTER_WORLD_H

#include "proto/frame.h"
#include "router/router.h"
#include "tests/router/fake_pipe.h"
#include "tests/t/t.h"

struct world {
    struct loop *loop;
    struct config *config;
    struct router router;
    uint64_t max_size; /* of the database; 0: none */
    unsigned peers;
};

/* sets: "SECTION.KEY=VALUE", up to a NULL; or NULL. */
struct world *world_new(const char *const *sets);
void world_free(struct world *w);
void world_turn(struct world *w); /* one turn, without waiting */
void world_settle(struct world *w); /* until nothing is under way */
/* SQL on its open store, as nobody else would. */
void world_sql(struct world *w, const char *sql);
/* Ends the router cleanly and starts one anew. Peers are gone with it. */
void world_restart(struct world *w);
void world_stop(struct world *w);
void world_start(struct world *w);

/* ---- peers ------------------------------------------------------------- */

struct peer {
    struct world *world;
    struct pipe *pipe; /* NULL: gone */
    struct link *link;
    uint64_t life, number;
    uint64_t router_life, seq, served, asked; /* what it knows from before */
    char epoch[EPOCH_MAX + 1];
    struct buf text; /* behind what peer_heard() returns */
    struct fake_frame *frame; /* the one taken last */
    bool forgiving; /* being refused does not fail the test: */
    bool refused;   /* it has been, and says nothing more */
};

/* A gateway that joins for the first time, up to RESYNCED. */
struct peer *peer_join(struct world *w, const char *name);
struct peer *peer_join_as(struct world *w, const char *name,
                          enum peer_kind kind);
void peer_free(struct peer *p);
/* Its pipe goes down; seats, answers under way: void. */
void peer_break(struct peer *p);
void peer_leave(struct peer *p); /* the same, with a goodbye */
/* Joins again, as the gateway that it was: HELLO to WELCOME. */
void peer_return(struct peer *p);
void peer_synced(struct peer *p); /* SYNCED; RESYNCED may take a while */

void peer_login(struct peer *p, uint32_t conn, const char *id);
/* With flags of LOGIN and of its one id, under a name. */
void peer_login_as(struct peer *p, uint32_t conn, const char *id,
                   const char *name, unsigned flags, unsigned id_flags);
void peer_logout(struct peer *p, uint32_t conn, const char *id, bool release);
void peer_closed(struct peer *p, uint32_t conn);
void peer_release(struct peer *p, const char *id);

/* Returns the publication's number. */
uint64_t peer_publish(struct peer *p, const char *id, const char *text);
uint64_t peer_publish_frame(struct peer *p, struct frame_publish f);
uint64_t peer_act(struct peer *p, const char *verb, const char *args);
/* The same as it is sent again by a gateway that knows no answer. */
void peer_act_again(struct peer *p, uint64_t number, const char *verb,
                    const char *args);
void peer_fetch(struct peer *p, uint32_t ref, const char *id,
                enum fetch_mode mode, uint64_t after, uint64_t upto,
                uint32_t limit);
void peer_query(struct peer *p, uint32_t ref, const char *verb,
                const char *args);

/* ---- what it hears ----------------------------------------------------- */

/* The next frame of this code; frames before it are dropped. Waits. */
struct slice peer_next(struct peer *p, uint8_t code);
struct frame_published peer_answer(struct peer *p, uint64_t number);
/* The answer of a publication that has to be taken. */
struct frame_published peer_taken(struct peer *p, uint64_t number);
struct logged_in_id peer_logged_in(struct peer *p, uint64_t *seq);
struct msg_parts peer_message(struct peer *p);
struct frame_answer peer_answered(struct peer *p);

/* Everything heard so far, and forgotten with this, a word per frame: the
 * data of DELIVERs and ROWs ("a b +c" when c is a notice's kind), others in
 * brackets: "a [PUBLISHED] b". Good until the next call. */
const char *peer_heard(struct peer *p);
/* The same without answers to publications and logins. */
const char *peer_stream(struct peer *p);

#endif
