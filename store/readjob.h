/* readjob.h - what a reader thread works on: a job, in slices.
 * Threads: as said at each field. */
#ifndef TOUCHLINE_STORE_READJOB_H
#define TOUCHLINE_STORE_READJOB_H

#include <stdatomic.h>

#include "base/list.h"
#include "store/core.h"
#include "store/reader.h"

/* name, SQL */
#define READER_STATEMENTS(X) \
    X(BEGIN, "BEGIN") \
    X(ID, "SELECT " ID_COLUMNS " FROM ids WHERE id = ?1") \
    X(ID_OF, "SELECT " ID_COLUMNS " FROM ids WHERE idn = ?1") \
    X(IDS, "SELECT idn, id FROM ids WHERE id >= ?1 ORDER BY id LIMIT ?2") \
    X(SEQS, "SELECT seq FROM log WHERE idn = ?1 AND seq > ?2 " \
            "AND seq <= ?3 ORDER BY seq LIMIT ?4") \
    X(SEQS_BACK, "SELECT seq FROM log WHERE idn = ?1 AND seq > ?2 " \
                 "AND seq <= ?3 ORDER BY seq DESC LIMIT ?4") \
    X(ROW, "SELECT " ROW_COLUMNS " FROM log WHERE seq = ?1") \
    X(SCAN, "SELECT " ROW_COLUMNS " FROM log WHERE seq > ?1 " \
            "AND seq <= ?2 ORDER BY seq") \
    X(SCAN_BACK, "SELECT " ROW_COLUMNS " FROM log WHERE seq > ?1 " \
                 "AND seq <= ?2 ORDER BY seq DESC") \
    X(BEHIND, "SELECT count(*) FROM log WHERE idn = ?1 AND seq > ?2") \
    X(FORGOTTEN, "SELECT forgotten_seq FROM store")

#define AS_READER_STATEMENT(name, sql) RD_##name,
enum reader_statement { READER_STATEMENTS(AS_READER_STATEMENT) RD_COUNT };

/* What things cost, and how much of it is a slice: 50 messages, or 5 ms. Of
 * names that are read one after the other, out of the index alone, several are
 * a look-up. */
enum {
    COST_LOOKUP = 1,
    COST_ROW = 16,
    COST_SLICE = 50 * COST_ROW,
    NAMES_A_LOOKUP = 8,
};

/* A reader thread's connection, and how far its present slice may go. */
struct read_conn {
    sqlite3 *conn;
    sqlite3_stmt *st[RD_COUNT];
    int64_t until_ns;
    unsigned left, unclocked;
    unsigned found; /* messages and ids of this slice that were wanted */
};

/* Counts the cost. True: the slice is used up, return as soon as you can. */
bool read_conn_spent(struct read_conn *c, unsigned cost);

struct read_job {
    struct list_node node;    /* in the queue: under its lock */
    atomic_bool cancelled;    /* set by the loop */
    /* Reader thread: does a slice inside a read transaction. 1: there is
     * more. 0: done, and so is an error, which goes into the answer. */
    int (*slice)(struct read_job *j, struct read_conn *c);
    void (*failed)(struct read_job *j, int rc);
    void (*deliver)(struct read_job *j); /* loop: gives the answer away */
    void (*destroy)(struct read_job *j); /* any thread */
    reader_match *match;
    bool searches; /* by a pattern: may look at much and find little */
};

/* Makes the job of a page. ERR_USAGE, ERR_NOMEM. */
MUST_USE int page_job_new(struct read_job **ret,
                          const struct page_request *q, page_done *done,
                          void *arg);

/* Makes the job of a list of ids. */
MUST_USE int list_job_new(struct read_job **ret, struct slice pattern,
                          struct slice after, size_t limit,
                          id_list_done *done, void *arg);

/* The part of a pattern that every match begins with. */
struct slice pattern_prefix(struct slice pattern);
/* Where names are read from: the prefix, or the last one that was seen, which
 * then comes again. One bound and not two: SQLite would use the first only,
 * and pass over all names up to the other. */
struct slice names_from(struct slice pattern, struct slice seen);

#endif
