/* topic.h - an id, or a pattern, as one gateway knows it.
 *
 * A topic is there while a local seat holds it or the ring has a message of
 * it. It is `watched` while the router delivers it to us: from the LOGGED_IN
 * of the first seat until we RELEASE it or the link goes.
 * Threads: the gateway's loop. */
#ifndef TOUCHLINE_GATEWAYS_TOPIC_H
#define TOUCHLINE_GATEWAYS_TOPIC_H

#include <stdbool.h>

#include "base/list.h"
#include "base/map.h"
#include "proto/id.h"
#include "proto/msg.h"
#include "proto/seat.h"
#include "proto/slab.h"

enum topic_flag {
    TOPIC_WATCHED = 1u << 0,
    TOPIC_STATEFUL = 1u << 1,
    TOPIC_VOLATILE = 1u << 2,
    TOPIC_PATTERN = 1u << 3,
    TOPIC_SNAP_ASKED = 1u << 4, /* a SNAP of it is under way */
    TOPIC_PRESENCE = 1u << 5,   /* logins change its snapshot */
    TOPIC_OWED = 1u << 6, /* the snapshot behind a retract has not come yet */
};

/* Snapshots are shared by all who start with them. */
struct snapshot {
    uint32_t refs;
    uint64_t seq;
    uint64_t tick; /* the ring's end when it came */
    uint64_t told; /* gateway.told when it came */
    size_t len;
    uint8_t state[]; /* JSON */
};
/* NULL: no memory. */
struct snapshot *snapshot_new(uint64_t seq, uint64_t tick, uint64_t told,
                              struct slice state);
struct snapshot *snapshot_hold(struct snapshot *s);
void snapshot_drop(struct snapshot *s); /* NULL is fine */

/* Visits of a topic's connections (fanout.h). It is part of what a topic has,
 * so that no news needs memory to be told. */
struct fanout {
    struct list_node node; /* on gateway.fanouts */
    struct topic *topic;
    struct seat_iter seats; /* still to be visited */
    uint64_t since; /* tick of the oldest entry not told to all; 0: at rest */
    uint64_t again; /* tick of news that came during the walk, or 0 */
};

/* What an id has once something was said in it; most ids that a connection
 * holds for itself are silent. A pattern has it from the start. */
struct topic_past {
    uint64_t newest; /* tick of its newest entry, 0: none in the ring */
    uint64_t last_seq, last_offset; /* of the newest message known of */
    uint64_t trimmed_seq, trimmed_offset;
    struct snapshot *snapshot;
    struct fanout fanout;
};

struct topic {
    struct map_node by_id;
    struct topic_seats seats; /* flags: enum topic_flag */
    uint64_t floor; /* every message above this seq is in the ring */
    struct topic_past *past_; /* NULL: all zero; see below */
    uint8_t id_len;
    uint8_t id[];
};

/* To be read; all zero when there is none. */
static inline const struct topic_past *topic_past(const struct topic *t)
{
    static const struct topic_past none;

    return t->past_ ? t->past_ : &none;
}
/* Are connections still to be visited? */
static inline bool topic_has_fanout(const struct topic *t)
{
    return topic_past(t)->fanout.since != 0;
}
/* To be written. NULL: no memory. */
struct topic_past *topic_past_make(struct topic *t);
/* Another epoch, at this seq: what was known means nothing. */
void topic_begin_anew(struct topic *t, uint64_t seq);
/* Takes s. */
MUST_USE int topic_set_snapshot(struct topic *t, struct snapshot *s);
void topic_drop_snapshot(struct topic *t);
/* It has one, and nothing has come since. Where it says who is there it must
 * also have come at `told` or later: who logged in then is in it. */
bool topic_snapshot_is_fresh(const struct topic *t, uint64_t told);

static inline struct slice topic_id(const struct topic *t)
{
    return slice_make(t->id, t->id_len);
}
static inline struct topic *topic_of_seat(const struct seat *s)
{
    return CONTAINER_OF(s->topic, struct topic, seats);
}

/* Under which name the seat watches, for presence. Copied; *s may move.
 * ERR_NOMEM. */
MUST_USE int seat_set_name(struct seat **s, struct slice name);
struct slice seat_name(const struct seat *s); /* empty: anonymous */
void seat_drop_name(struct seat *s);

struct topics {
    struct slabs slabs;
    struct map by_id;
    struct trie *patterns;
};
MUST_USE int topics_init(struct topics *t);
void topics_fini(struct topics *t); /* frees topics, which hold no seats */

struct topic *topics_find(const struct topics *t, struct slice id);
/* Found or made. ERR_NOMEM. */
MUST_USE int topics_get(struct topics *t, struct slice id,
                        struct topic **ret);
/* Its seats, entries and fan-out must be gone. */
void topics_forget(struct topics *t, struct topic *topic);

#endif
