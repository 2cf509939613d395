/* shelf.h - a whole store for a test: history, writer, readers and a loop, and
 * calls that wait for their answers. Any failure fails the test.
 *
 * Its wall clock and its boot are the test's. Nothing here sleeps: waiting is
 * turning the loop until the callback came. */
#ifndef TESTS_STORE_SHELF_H
#define TESTS_STORE_SHELF_H

#include "base/buf.h"
#include "store/reader.h"
#include "store/writer.h"
#include "tests/t/t.h"

enum { SHELF_EVENTS = 4096 };

struct shelf {
    struct history_options opt; /* change before shelf_open() */
    struct history_report report;
    struct loop *loop;
    struct writer *writer;
    struct readers *readers;
    struct key_finder *finder;
    char epoch[EPOCH_SIZE]; /* at the start */
    uint64_t first_seq;     /* of this life */
    struct forgotten forgotten; /* at the start */

    /* What the hooks were told. */
    struct id_record trimmed; /* the last one, without its name */
    size_t trimmed_calls, forgotten_calls, asked_calls;
    struct forgotten forgotten_now;
    int64_t last_used; /* what the hook answers */
};

/* The time and the boot every shelf of this process sees. */
void shelf_set_time(int64_t ms);
/* Somebody sets the wall clock: no time goes by. */
void shelf_set_wall(int64_t ms);
void shelf_set_boot(const char *name);

/* A shelf on test_path(name), not opened yet. */
struct shelf shelf_init(const char *name);
void shelf_open(struct shelf *s);
int shelf_try_open(struct shelf *s);
void shelf_close(struct shelf *s);

/* Do files say when they last changed? Not at first: a kill of a shelf puts
 * bytes back, and that is not to show. */
void shelf_show_times(bool yes);

/* Ends without any of the marks of a clean close, as kill -9 would: the copy
 * of the files that is made while the store is open takes their place, in the
 * same inodes. Unlike kill -9 it also works within one process. */
void shelf_kill(struct shelf *s);

/* Likewise, but edit() may change the bytes of each file before they are put
 * back: what a power cut, or worse, made of them. */
typedef void shelf_edit(const char *path, struct buf *bytes);
void shelf_cut(struct shelf *s, shelf_edit *edit);

/* An entry to store; data is a literal or lives long enough. */
struct entry shelf_entry(const char *id, const char *data);

/* Submits, waits, returns the batch's rc. */
int shelf_submit(struct shelf *s, struct entry *entries, size_t count);

/* Stores one message and returns it with its numbers; must succeed. */
struct entry shelf_put(struct shelf *s, const char *id, const char *data);

/* Pages; the caller frees. */
struct page *shelf_page(struct shelf *s, const struct page_request *q);
struct page *shelf_read(struct shelf *s, const char *id, uint64_t after_seq);
/* The data of all messages of an id, joined by spaces; the caller frees. */
char *shelf_text(struct shelf *s, const char *id);
struct id_list *shelf_ids(struct shelf *s, const char *pattern,
                          const char *after, size_t limit);
/* Turns the loop until the writer has nothing more to clean up. */
void shelf_turn(struct shelf *s);

int shelf_backup(struct shelf *s, const char *file);
int shelf_new_epoch(struct shelf *s);

/* A pattern with one '*' at its end, or an id. */
bool shelf_match(struct slice pattern, struct slice id);

/* Runs SQL on the closed store, as nobody else would. */
void shelf_sql(const struct shelf *s, const char *sql);
int64_t shelf_sql_int(const struct shelf *s, const char *sql);
/* The closed store as the first version of the schema had it. */
void shelf_make_older(const struct shelf *s);

/* A foreign connection that has begun to read and stays where it is. */
struct sqlite3 *shelf_pin(const struct shelf *s);

#endif
