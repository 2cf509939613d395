/* ids.h - the writer's copy of the rows of ids: numbers, counts, when due.
 *
 * A bounded cache. Rows changed in a transaction are written once, before the
 * commit; after a rollback they are dropped and read again when needed.
 * Threads: the connection's. */
#ifndef TOUCHLINE_STORE_IDS_H
#define TOUCHLINE_STORE_IDS_H

#include "base/list.h"
#include "base/map.h"
#include "store/history.h"

struct id_state {
    struct map_node by_id;
    struct list_node recent; /* ids.recent, least recently used first */
    struct list_node dirty;  /* ids.dirty: changed in this transaction */
    struct list_node over;   /* ids.over: has more than its policy keeps */
    int64_t idn;
    struct id_record rec;    /* rec.id lies behind the struct */
    int64_t oldest_ms;       /* ts of the oldest message; or when emptied */
    int64_t due_ms;          /* when to look at it again; 0: never */
    struct keep keep;
    bool fresh;              /* has no row yet */
    bool all;                /* more than the usual columns changed */
};

enum { IDS_CACHED = 65536 };

struct ids {
    struct map map;
    struct list_node recent, dirty, over;
    int64_t next_idn;
    int64_t reviewed;  /* rows up to here are as the policy has it */
    int64_t reviewing; /* in this transaction */
};

void ids_init(struct ids *ids);
void ids_fini(struct ids *ids);

/* The state of an id. Good until the next ids_commit() or ids_rollback().
 * ERR_NOT_FOUND: it has no row. ERR_DAMAGED: the row's checksum says no. */
MUST_USE int ids_get(struct history *h, struct slice id,
                     struct id_state **ret);

/* Likewise, but an unknown id gets a state, its first offset above floor. */
MUST_USE int ids_make(struct history *h, struct slice id,
                      struct id_state **ret);

/* A message of so many bytes was added; its numbers are the state's now. */
void ids_added(struct history *h, struct id_state *s, uint64_t seq,
               int64_t ts_ms, uint64_t bytes);

/* Everything in s may have changed: it is written as a whole. */
void ids_changed(struct history *h, struct id_state *s);

/* Recomputes due_ms and whether it is over; after every change of rec. */
void ids_judge(struct history *h, struct id_state *s);
bool ids_is_over(const struct id_state *s);

/* The row is deleted in this transaction. */
MUST_USE int ids_drop(struct history *h, struct id_state *s);

MUST_USE int ids_flush(struct history *h); /* before the commit */
void ids_commit(struct history *h);        /* after it */
void ids_rollback(struct history *h);

/* The policy has another argument: says other things of the same ids. Those in
 * the cache follow at once, the others as ids_review() comes to them. */
void ids_policy_changed(struct history *h, void *policy_arg);
/* Looks at the next few of these, in a transaction. 1: there are more. 0: all
 * have been looked at. */
MUST_USE int ids_review(struct history *h);

/* What the index over the ids names, as one number. Not in a transaction: one
 * that has met a page which cannot be read takes no write any more. */
struct ids_index {
    uint64_t names;
    bool lost; /* a page cannot be read */
};
MUST_USE int ids_index(struct history *h, struct ids_index *ret);

/* Reads every row: checksums, policies that changed since the last start. Rows
 * that are damaged are rebuilt from the log, an index that does not name the
 * same ids is made again unless it is lost, and both are counted. *last_seq is
 * the highest found. In a transaction. Cost, with ids_index(): about a
 * microsecond an id, a sixth of it for the index, and no memory. */
MUST_USE int ids_check(struct history *h, const struct ids_index *index,
                       uint64_t *last_seq, uint64_t *damaged);

/* The columns ID_COLUMNS as a record. ERR_DAMAGED as above. */
struct sqlite3_stmt;
MUST_USE int ids_read(struct sqlite3_stmt *s, struct id_record *ret,
                      int64_t *oldest_ms, int64_t *due_ms);

#endif
