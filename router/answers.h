/* answers.h - what was answered to publications, for publishers who ask again.
 *
 * A publication has a name: (life of the gateway, number). When a link breaks
 * the gateway cannot know whether what it had sent was taken, and sends it
 * again, so the answer must still be known: for as long as a gateway may hold
 * a publication back, over the death of either side.
 * Threads: the router's loop. Cost: O(1); 96 bytes a publication for the time
 * of keep_ns. */
#ifndef TOUCHLINE_ROUTER_ANSWERS_H
#define TOUCHLINE_ROUTER_ANSWERS_H

#include "base/list.h"
#include "base/map.h"

enum { ANSWERS_MAX = 1 << 20 }; /* more are not remembered: the oldest go */

/* A publication's name, for maps. */
struct pub_name {
    uint64_t life, number;
};
uint32_t pub_name_hash(const struct pub_name *n);

struct answer {
    struct map_node by_name;
    uint64_t life, number;
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
    bool held;
    uint8_t *bytes; /* for those of an act */
};

struct answers {
    struct map by_name;
    struct list_node segments; /* oldest first */
    struct list_node spare;    /* segments with nothing in them */
    size_t count;
    size_t room, reserved; /* answers for which there is room; of these, held */
    int64_t keep_ns;
};

void answers_init(struct answers *a, int64_t keep_ns);
/* For so long from now on. */
void answers_keep(struct answers *a, int64_t keep_ns);
void answers_fini(struct answers *a);

/* Room for one, and for so many bytes of id and body together. ERR_NOMEM. */
MUST_USE int answers_reserve(struct answers *a, size_t bytes,
                             struct answer_room *ret);
/* Gives it back; nothing when none is held. */
void answers_release(struct answers *a, struct answer_room *room);
/* Copies into the room, which is held, and no more behind this. */
void answers_note(struct answers *a, struct answer_room *room,
                  const struct answer *answer, struct slice id,
                  struct slice body);
const struct answer *answers_find(const struct answers *a, uint64_t life,
                                  uint64_t number);
struct slice answer_id(const struct answer *a);
struct slice answer_body(const struct answer *a);
/* Forgets what is older than keep_ns. */
void answers_expire(struct answers *a, int64_t now_ns);

#endif
