/* reader.h - history read back: pages merged over many ids, and lists of ids.
 * path: msg > publish > [store] > table > repeater > link > bus > gateway >
 *       edge > conn
 *
 * Jobs are queued on the loop thread and worked off by one or two reader
 * threads, each with a read-only connection. A job runs in slices of at most
 * 50 messages or 5 ms and then goes to the end of the queue, so a long one
 * delays nobody and holds no read transaction that the checkpoint waits for.
 * What jobs with patterns spend on messages and ids that nobody wants pays a
 * question.
 *
 * Every row's checksum is verified. A damaged row is never given out; the page
 * names it. Threads: all functions belong to the loop thread, and done() runs
 * there. */
#ifndef TOUCHLINE_STORE_READER_H
#define TOUCHLINE_STORE_READER_H

#include "base/loop.h"
#include "store/history.h"

enum {
    PAGE_IDS_MAX = 10000,
    PAGE_COUNT_MAX = 1000,
    ID_LIST_LOOKS = 1 << 14, /* names that one list looks at */
};

/* Which messages: of these ids and of ids that match these patterns, with
 * after_seq < seq <= upto_seq. Slices are copied. */
struct page_request {
    const struct slice *ids;
    size_t id_count; /* at most PAGE_IDS_MAX */
    const struct slice *patterns;
    size_t pattern_count;
    uint64_t after_seq, upto_seq;
    size_t max_count; /* messages, at most PAGE_COUNT_MAX */
    size_t max_bytes; /* of record_bytes(); one message always fits */
    bool newest;      /* the newest that fit, not the oldest */
};

/* Messages that are unreadable or missing. They lay somewhere in
 * first_seq <= seq <= last_seq. */
struct damage {
    struct slice id;
    uint64_t first_offset, last_offset; /* each 0 when unknown */
    uint64_t first_seq, last_seq;
};

/* Messages of an id that trimming took before they were read. What stands in
 * front of them, and what trimming had taken, was read in one transaction, so all
 * of it is exact: the last of them had last_seq. They lay behind behind_seq, the
 * id's row in front of them or, where from is 0, the page's after_seq. The last
 * one may lie beyond the page: trimming was further than the reading. */
struct trimmed {
    struct slice id;
    uint64_t from, to; /* offsets; 0 when unknown */
    uint64_t behind_seq, last_seq;
};

/* An answer, oldest first, in seq order over all ids. Owns all its bytes. */
struct page {
    int rc;                 /* 0, or why there is nothing (history.h) */
    struct record *records; /* session and number are filled in, too */
    size_t count;
    struct damage *damaged; /* in seq order, within the page's range */
    size_t damaged_count;
    /* By behind_seq; not of a page of the newest. Of ids that match a pattern and
     * have no row in the page some may be missing: reader_ids() tells them. */
    struct trimmed *trimmed;
    size_t trimmed_count;
    /* The page is complete for after_seq < seq <= upto_seq; narrower than
     * asked for when there is more: beyond upto_seq, or, of a page of the
     * newest, at after_seq and below. */
    uint64_t after_seq, upto_seq;
    bool more;
    /* Of the ids asked for by name, in that order, read after the messages:
     * what trimming took meanwhile is visible here. Unknown ids, and those whose
     * record cannot be read (all of the page's range is damage then): zeros. */
    struct id_record *ids;
    size_t id_count;
};
void page_free(struct page *p); /* NULL is fine */

/* Ids in byte order: those that match, of the names up to `last`; also those
 * whose record is damaged. */
struct id_list {
    int rc;
    struct id_record *ids;
    size_t count;
    bool more;         /* there are names behind `last`: go on after it */
    struct slice last; /* the last name looked at; empty: none */
};
void id_list_free(struct id_list *l); /* NULL is fine */

/* Does id match? Called on reader threads: must be pure. */
typedef bool reader_match(struct slice pattern, struct slice id);

struct readers;
struct read_job; /* borrowed: valid until done() or reader_cancel() */

/* Opens the store at path (it must be open for writing already) and starts
 * the threads, 1 to 4. */
MUST_USE int readers_new(struct readers **ret, const char *path,
                         struct loop *loop, unsigned threads,
                         reader_match *match);
/* Before the writer's end. Jobs not yet done are dropped, done() not called.
 * NULL is fine. */
void readers_free(struct readers *r);

/* done() gets the page and must free it. ret may be NULL. ERR_USAGE: bounds.
 * Few ids are merged from the index; many, or patterns, are found by walking
 * the log between the two seqs. */
typedef void page_done(void *arg, struct page *page);
MUST_USE int reader_page(struct readers *r, const struct page_request *q,
                         page_done *done, void *arg, struct read_job **ret);

/* Ids that match pattern (empty: all), after the id `after`: at most limit, out
 * of at most ID_LIST_LOOKS names. So a list may be short, or empty, and have
 * `more`: what one costs does not grow with the names there are. */
typedef void id_list_done(void *arg, struct id_list *list);
MUST_USE int reader_ids(struct readers *r, struct slice pattern,
                        struct slice after, size_t limit, id_list_done *done,
                        void *arg, struct read_job **ret);

/* Times that a thread rested because searches had used up their share. */
uint64_t readers_held(struct readers *r);

/* done() will not be called any more. */
void reader_cancel(struct readers *r, struct read_job *job);

/* Synchronous lookup of idempotency keys, on a connection of its own for the
 * thread that asks; a few microseconds. Sees committed batches only. */
struct key_finder;
struct first_answer {
    uint64_t seq, offset;
    int64_t ts_ms;
    uint64_t body_hash;
    uint32_t reached;
    char epoch[EPOCH_SIZE];
};
MUST_USE int key_finder_new(struct key_finder **ret, const char *path);
void key_finder_free(struct key_finder *f); /* NULL is fine */
/* ERR_NOT_FOUND: the key is free. */
MUST_USE int key_find(struct key_finder *f, struct slice id, struct slice key,
                      struct first_answer *ret);

#endif
