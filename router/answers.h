/* answers.h - what was answered to publications, for publishers who ask again.
 *
 * A publication has a name: (life of the gateway, number). When a link breaks
 * the gateway cannot know whether what it had sent was taken, and sends it
 * again, so the answer must still be known: for as long as a gateway may hold
 * a publication back, over the death of either side. A gateway that was stopped
 * may hold it for longer, and of more answers than ANSWERS_MAX the oldest go:
 * therefore it is known of each life up to which number answers were forgotten.
 * Threads: the router's loop. Cost: O(1); 96 bytes a publication for the time
 * of keep_ns, 64 a life. */
#ifndef TOUCHLINE_ROUTER_ANSWERS_H
#define TOUCHLINE_ROUTER_ANSWERS_H

#include "base/list.h"
#include "base/map.h"

enum {
    ANSWERS_MAX = 1 << 20, /* more are not remembered: the oldest go */
    ANSWER_LIVES_MAX = 4096 /* nor more of those that have said nothing since */
};

/* A publication's name, for maps. */
struct pub_name {
    uint64_t life, number;
};
uint32_t pub_name_hash(const struct pub_name *n);

/* A gateway's worker, from its start to its end; its numbers rise. */
struct answer_life {
    struct map_node by_life;
    struct list_node node; /* on answers->quiet while nothing needs it */
    uint64_t life;
    uint64_t forgotten; /* below this, what is not known may have been taken */
    size_t needed;      /* answers, and room held for them */
};

struct answer {
    struct map_node by_name;
    struct answer_life *life; /* set by answers_note() */
    uint64_t number;
    uint64_t seq, offset;
    int64_t ts_ms, at_ns;
    uint32_t reached;
    bool created;
    uint8_t id_len; /* of an act: its id and body */
    uint32_t body_len;
    uint8_t *bytes; /* both; NULL when there are none */
};

/* Kept free for an answer from the moment when its publication is taken, so that
 * what is committed can be remembered whatever memory there is then. */
struct answer_room {
    struct answer_life *life; /* NULL: none is held */
    uint8_t *bytes;           /* for those of an act */
};

struct answers {
    struct map by_name;
    struct list_node segments; /* oldest first */
    struct list_node spare;    /* segments with nothing in them */
    struct map lives;
    struct list_node quiet; /* lives, the longest silent one first */
    size_t count;
    size_t room, reserved; /* answers for which there is room; of these, held */
    int64_t keep_ns;
};

void answers_init(struct answers *a, int64_t keep_ns);
/* For so long from now on. */
void answers_keep(struct answers *a, int64_t keep_ns);
void answers_fini(struct answers *a);

/* Room for one of this life, and for so many bytes of id and body together.
 * ERR_NOMEM. */
MUST_USE int answers_reserve(struct answers *a, uint64_t life, size_t bytes,
                             struct answer_room *ret);
/* Gives it back; nothing when none is held. */
void answers_release(struct answers *a, struct answer_room *room);
/* Copies into the room, which is held, and no more behind this. */
void answers_note(struct answers *a, struct answer_room *room,
                  const struct answer *answer, struct slice id,
                  struct slice body);
const struct answer *answers_find(const struct answers *a, uint64_t life,
                                  uint64_t number);
/* Of one that is not known: may it have been, and been forgotten? */
bool answers_forgot(const struct answers *a, uint64_t life, uint64_t number);
/* What is known now is all there is to know of those lives: older ones count as
 * forgotten. */
void answers_restored(struct answers *a);
struct slice answer_id(const struct answer *a);
struct slice answer_body(const struct answer *a);
/* Forgets what is older than keep_ns. */
void answers_expire(struct answers *a, int64_t now_ns);

#endif
