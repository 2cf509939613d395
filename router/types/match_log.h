/* match_log.h - all events of a match, in order, in one piece of memory that
 * is at the same time the match's record in the store.
 *
 * Entry i is the event with offset base + i: offsets are dense. Undoing is
 * folding the log again without the retracted entries. An event whose row was
 * damaged, or that no longer fits without such a one, is a void entry, which
 * keeps the others in their places.
 *
 * Record, little-endian: u8 version, then per entry u8 kind (0xff: void),
 * i64 ts_ms, str32 data (JSON as match_event_write() makes it).
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_TYPES_MATCH_LOG_H
#define TOUCHLINE_ROUTER_TYPES_MATCH_LOG_H

#include "router/types/match_state.h"

enum {
    MATCH_LOG_VERSION = 1,
    MATCH_LOG_MAX = 1024 * 1024, /* bytes */
    MATCH_EVENTS_MAX = 5000 /* taken; a retract folds all of them again */
};

struct match_log {
    struct buf bytes;
    uint64_t base; /* offset of entry 0; 0: not known before its commit */
};

void match_log_init(struct match_log *l);
void match_log_fini(struct match_log *l);

/* Appends behind what led to s, dropping what was rolled back, and counts it
 * in s. ERR_FULL: the log would exceed MATCH_LOG_MAX. ERR_NOMEM. */
MUST_USE int match_log_append(struct match_log *l, struct match_state *s,
                              enum match_kind kind, int64_t ts_ms,
                              struct slice data);
/* A place that holds nothing any more. ERR_FULL, ERR_NOMEM. */
MUST_USE int match_log_append_void(struct match_log *l, struct match_state *s);

struct slice match_log_record(const struct match_log *l,
                              const struct match_state *s);
/* Takes a record over and folds it. ERR_DAMAGED, ERR_NOMEM. */
MUST_USE int match_log_load(struct match_log *l, struct slice record,
                            uint64_t last_offset, struct match_state **ret);

/* The state that the log up to s makes without what was retracted. ERR_NOMEM.
 * Events that do not fit any more become void. */
MUST_USE int match_log_refold(struct match_log *l, const struct match_state *s,
                              struct match_state **ret);
/* The state after undoing the event at this offset, s being the state before.
 * ERR_CONFLICT with the reason in why, ERR_NOMEM. */
MUST_USE int match_log_undo(struct match_log *l, const struct match_state *s,
                            int64_t offset, struct match_state **ret,
                            struct buf *why);

/* Appends the offsets retracted in s as a JSON array. ERR_NOMEM. */
MUST_USE int match_log_write_retracted(const struct match_log *l,
                                       const struct match_state *s,
                                       struct buf *out);

#endif
