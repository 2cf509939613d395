#include "tests/store/shelf.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"

/* --- numbers --- */

TEST(offsets_are_dense_per_id_and_seqs_over_all)
{
    struct shelf s = shelf_init("db");
    struct entry a, b;

    shelf_open(&s);
    a = shelf_put(&s, "room/a", "one");
    EXPECT_INT(a.rec.seq, 1);
    EXPECT_INT(a.rec.offset, 1);
    b = shelf_put(&s, "room/b", "two");
    EXPECT_INT(b.rec.seq, 2);
    EXPECT_INT(b.rec.offset, 1);
    a = shelf_put(&s, "room/a", "three");
    EXPECT_INT(a.rec.seq, 3);
    EXPECT_INT(a.rec.offset, 2);
    EXPECT_INT(writer_last_seq(s.writer), 3);
    shelf_close(&s);
}

TEST(a_batch_is_numbered_in_its_order)
{
    struct shelf s = shelf_init("db");
    struct entry e[6];

    for (int i = 0; i < 6; i++)
        e[i] = shelf_entry(i % 2 ? "room/odd" : "room/even", "x");
    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, e, 6));
    for (int i = 0; i < 6; i++) {
        EXPECT_OK(e[i].rc);
        EXPECT_INT(e[i].rec.seq, i + 1);
        EXPECT_INT(e[i].rec.offset, i / 2 + 1);
    }
    shelf_close(&s);
}

TEST(what_is_not_stored_is_numbered_at_once_and_in_one_order)
{
    struct shelf s = shelf_init("db");
    struct entry e = shelf_entry("volatile/x", "x");
    struct batch b = { .entries = &e, .count = 1 };
    struct entry mixed[2] = {
        shelf_entry("room/a", "kept"), shelf_entry("volatile/x", "not kept"),
    };

    e.stored = mixed[1].stored = false;
    shelf_open(&s);
    EXPECT_INT(writer_submit(s.writer, &b), WRITER_AT_ONCE);
    EXPECT_INT(e.rec.seq, 1);
    EXPECT_INT(e.rec.offset, 1);
    EXPECT_OK(shelf_submit(&s, mixed, 2));
    EXPECT_INT(mixed[0].rec.seq, 2);
    EXPECT_INT(mixed[1].rec.seq, 3);
    EXPECT_INT(mixed[1].rec.offset, 2);
    EXPECT_INT(writer_submit(s.writer, &b), WRITER_AT_ONCE);
    EXPECT_INT(e.rec.seq, 4);
    EXPECT_INT(e.rec.offset, 3);
    shelf_close(&s);
    EXPECT_INT(shelf_sql_int(&s, "SELECT count(*) FROM log"), 1);
}

TEST(a_dropped_counter_goes_on_above_all_that_were_dropped)
{
    struct shelf s = shelf_init("db");
    struct entry e = shelf_entry("volatile/x", "x");
    struct entry other = shelf_entry("volatile/y", "y");

    e.stored = other.stored = false;
    shelf_open(&s);
    for (int i = 1; i <= 5; i++)
        EXPECT_OK(shelf_submit(&s, &e, 1));
    EXPECT_INT(e.rec.offset, 5);
    writer_drop_counter(s.writer, SLICE("volatile/x"));
    EXPECT_OK(shelf_submit(&s, &other, 1));
    EXPECT_INT(other.rec.offset, 6);
    EXPECT_OK(shelf_submit(&s, &e, 1));
    EXPECT_INT(e.rec.offset, 6);
    shelf_close(&s);
}

static void set_flag(struct batch *b)
{
    *(bool *)b->user = true;
}

TEST(only_one_batch_is_in_flight)
{
    struct shelf s = shelf_init("db");
    struct entry e = shelf_entry("room/a", "x"), f = e;
    struct batch second = { .entries = &f, .count = 1 };
    bool done = false;
    struct batch first = {
        .entries = &e, .count = 1, .done = set_flag, .user = &done,
    };

    shelf_open(&s);
    EXPECT_OK(writer_submit(s.writer, &first));
    EXPECT(writer_busy(s.writer));
    EXPECT_ERR(writer_submit(s.writer, &second), ERR_BUSY);
    EXPECT_SOON(done, EXPECT_OK(loop_step(s.loop, SECOND / 10)));
    EXPECT(!writer_busy(s.writer));
    shelf_close(&s);
}

TEST(freeing_the_writer_finishes_the_batch_in_flight)
{
    struct shelf s = shelf_init("db");
    struct entry e = shelf_entry("room/a", "last");
    bool done = false;
    struct batch b = {
        .entries = &e, .count = 1, .done = set_flag, .user = &done,
    };

    shelf_open(&s);
    EXPECT_OK(writer_submit(s.writer, &b));
    shelf_close(&s);
    EXPECT(done);
    EXPECT_OK(b.rc);
    EXPECT_INT(e.rec.seq, 1);
    EXPECT_INT(shelf_sql_int(&s, "SELECT count(*) FROM log"), 1);
}

TEST(the_mark_moves_before_it_is_reached)
{
    struct shelf s = shelf_init("db");
    struct entry *e = calloc(20000, sizeof *e);
    uint64_t last = 0;

    for (int i = 0; i < 20000; i++) {
        e[i] = shelf_entry("volatile/x", "x");
        e[i].stored = false;
    }
    shelf_open(&s);
    while (last < (3 << 19)) {
        EXPECT_OK(shelf_submit(&s, e, 20000));
        EXPECT_INT(e[0].rec.seq, last + 1);
        last = e[19999].rec.seq;
    }
    shelf_kill(&s);
    free(e);
    EXPECT(shelf_sql_int(&s, "SELECT mark FROM store") >= (int64_t)last);
    shelf_open(&s);
    EXPECT(s.first_seq > last);
    EXPECT_STR(epoch_reason_name(s.report.why), "same");
    shelf_close(&s);
}

/* --- idempotency --- */

static struct entry keyed(const char *id, const char *key, const char *body)
{
    struct entry e = shelf_entry(id, body);

    e.idem = slice_str(key);
    e.body_hash = history_body_hash(e.rec.data);
    return e;
}

TEST(a_repeat_gets_the_first_answer_also_after_a_restart)
{
    struct shelf s = shelf_init("db");
    struct entry first = keyed("room/a", "k1", "hello"), again = first;

    first.reached = 3;
    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, &first, 1));
    EXPECT_OK(shelf_submit(&s, &again, 1));
    EXPECT_ERR(again.rc, ERR_EXISTS);
    EXPECT_INT(again.rec.seq, first.rec.seq);
    EXPECT_INT(again.rec.offset, first.rec.offset);
    EXPECT_INT(again.reached, 3);
    EXPECT_STR(again.first_epoch, s.epoch);
    writer_set_reached(s.writer, first.rec.seq, 4);
    shelf_close(&s);
    shelf_set_time(first.rec.ts_ms + 60000);
    shelf_open(&s);
    again = keyed("room/a", "k1", "hello");
    again.rec.ts_ms = first.rec.ts_ms + 60000;
    EXPECT_OK(shelf_submit(&s, &again, 1));
    EXPECT_ERR(again.rc, ERR_EXISTS);
    EXPECT_INT(again.rec.seq, first.rec.seq);
    EXPECT_INT(again.rec.ts_ms, first.rec.ts_ms);
    EXPECT_INT(again.reached, 4);
    EXPECT_INT(shelf_put(&s, "room/a", "next").rec.offset, 2);
    shelf_close(&s);
}

TEST(a_repeat_names_the_epoch_of_the_first)
{
    struct shelf s = shelf_init("db");
    struct entry first = keyed("room/a", "k1", "hello"), again = first;
    struct entry second = keyed("room/a", "k2", "hello");

    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, &first, 1));
    EXPECT_OK(shelf_new_epoch(&s));
    EXPECT(strcmp(writer_epoch(s.writer), s.epoch) != 0);
    EXPECT_OK(shelf_submit(&s, &again, 1));
    EXPECT_STR(again.first_epoch, s.epoch);
    EXPECT_OK(shelf_submit(&s, &second, 1));
    again = second;
    EXPECT_OK(shelf_submit(&s, &again, 1));
    EXPECT_STR(again.first_epoch, writer_epoch(s.writer));
    shelf_close(&s);
}

TEST(the_same_key_with_another_body_is_a_conflict)
{
    struct shelf s = shelf_init("db");
    struct entry e[4] = {
        keyed("room/a", "k", "one"), keyed("room/a", "k", "two"),
        keyed("room/b", "k", "two"), keyed("room/a", "k", "one"),
    };

    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, e, 4));
    EXPECT_OK(e[0].rc);
    EXPECT_ERR(e[1].rc, ERR_CONFLICT);
    EXPECT_OK(e[2].rc); /* the scope is the id */
    EXPECT_ERR(e[3].rc, ERR_EXISTS);
    EXPECT_INT(e[2].rec.seq, 2);
    EXPECT_INT(e[3].rec.seq, 1);
    shelf_close(&s);
    EXPECT_INT(shelf_sql_int(&s, "SELECT count(*) FROM log"), 2);
}

TEST(a_key_can_be_looked_up_before_the_batch)
{
    struct shelf s = shelf_init("db");
    struct entry e = keyed("room/a", "k", "one");
    struct first_answer a;

    shelf_open(&s);
    EXPECT_ERR(key_find(s.finder, SLICE("room/a"), SLICE("k"), &a),
               ERR_NOT_FOUND);
    EXPECT_OK(shelf_submit(&s, &e, 1));
    EXPECT_OK(key_find(s.finder, SLICE("room/a"), SLICE("k"), &a));
    EXPECT_INT(a.seq, e.rec.seq);
    EXPECT_INT(a.offset, e.rec.offset);
    EXPECT(a.body_hash == e.body_hash);
    EXPECT_STR(a.epoch, s.epoch);
    EXPECT_ERR(key_find(s.finder, SLICE("room/b"), SLICE("k"), &a),
               ERR_NOT_FOUND);
    shelf_close(&s);
}

TEST(the_key_of_a_message_that_is_not_stored_outlives_a_restart)
{
    struct shelf s = shelf_init("db");
    struct entry e = keyed("volatile/x", "k", "one"), again = e;

    e.stored = again.stored = false;
    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, &e, 1));
    EXPECT_OK(e.rc);
    shelf_close(&s);
    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, &again, 1));
    EXPECT_ERR(again.rc, ERR_EXISTS);
    EXPECT_INT(again.rec.seq, e.rec.seq);
    EXPECT_INT(again.rec.offset, e.rec.offset);
    shelf_close(&s);
}

/* --- type records --- */

struct states {
    int count;
    char text[64];
    uint64_t offset;
};

static int got_state(void *arg, struct slice id, uint64_t offset,
                     struct slice state)
{
    struct states *st = arg;

    st->count++;
    st->offset = offset;
    snprintf(st->text, sizeof st->text, SLICE_FMT "=" SLICE_FMT,
             SLICE_ARG(id), SLICE_ARG(state));
    return 0;
}

static struct states read_states(struct shelf *s)
{
    struct states st = { 0, "", 0 };
    struct history *h;

    EXPECT_OK(history_open(&h, &s->opt, &s->report));
    EXPECT_OK(history_states(h, got_state, &st));
    history_close(h);
    return st;
}

TEST(a_type_record_is_replaced_with_its_message)
{
    struct shelf s = shelf_init("db");
    struct entry e[2] = {
        shelf_entry("match/1", "start"), shelf_entry("match/1", "goal"),
    };
    struct states st;

    e[0].has_state = e[1].has_state = true;
    e[0].state = SLICE("0-0");
    e[1].state = SLICE("1-0");
    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, &e[0], 1));
    EXPECT_OK(shelf_submit(&s, &e[1], 1));
    shelf_kill(&s);
    st = read_states(&s);
    EXPECT_INT(st.count, 1);
    EXPECT_INT(st.offset, 2);
    EXPECT_STR(st.text, "match/1=1-0");
    shelf_sql(&s, "UPDATE states SET state = CAST('9-0' AS BLOB)");
    st = read_states(&s);
    EXPECT_INT(st.count, 0);
}

/* --- publications by name --- */

static int got_name(void *arg, const struct record *r)
{
    struct buf *b = arg;

    buf_addf(b, "%llu.%llu@%llu/%llu ", (unsigned long long)r->session,
             (unsigned long long)r->number, (unsigned long long)r->seq,
             (unsigned long long)r->offset);
    return 0;
}

TEST(publications_are_found_by_their_names_after_a_restart)
{
    struct shelf s = shelf_init("db");
    struct entry e[3] = {
        shelf_entry("room/a", "1"), shelf_entry("room/b", "2"),
        shelf_entry("room/a", "3"),
    };
    struct history *h;
    struct buf b = BUF_INIT;

    e[0].rec.session = e[2].rec.session = UINT64_MAX - 1;
    e[0].rec.number = 7;
    e[2].rec.number = 8;
    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, e, 3));
    shelf_kill(&s);
    EXPECT_OK(history_open(&h, &s.opt, &s.report));
    EXPECT_OK(history_recent_names(h, 0, 10, got_name, &b));
    EXPECT_STR(buf_text(&b), "18446744073709551614.8@3/2 "
                             "18446744073709551614.7@1/1 ");
    buf_reset(&b);
    EXPECT_OK(history_recent_names(h, 0, 1, got_name, &b));
    EXPECT_STR(buf_text(&b), "18446744073709551614.8@3/2 ");
    buf_reset(&b);
    EXPECT_OK(history_recent_names(h, e[0].rec.ts_ms + 1, 9, got_name, &b));
    EXPECT_STR(buf_text(&b), "");
    buf_fini(&b);
    history_close(h);
}

/* --- what goes wrong --- */

TEST(on_a_full_disk_nothing_is_lost_and_what_needs_no_disk_goes_on)
{
    struct shelf s = shelf_init("db");
    static char big[50000];
    struct entry full[3], e = shelf_entry("room/a", big);
    uint64_t before;
    char *text;

    memset(big, 'x', sizeof big - 1);
    s.opt.max_size = 1 << 20;
    shelf_open(&s);
    shelf_put(&s, "room/b", "safe");
    do
        before = writer_last_seq(s.writer);
    while (shelf_submit(&s, &e, 1) == 0);
    EXPECT_ERR(e.rc, ERR_FULL);
    EXPECT_INT(e.rec.seq, 0);
    EXPECT_INT(e.rec.offset, 0);
    EXPECT_INT(writer_last_seq(s.writer), before);
    full[0] = shelf_entry("room/c", big);
    full[1] = shelf_entry("volatile/x", "through");
    full[2] = shelf_entry("room/a", big);
    full[1].stored = false;
    EXPECT_ERR(shelf_submit(&s, full, 3), ERR_FULL);
    EXPECT_ERR(full[0].rc, ERR_FULL);
    EXPECT_OK(full[1].rc);
    EXPECT_INT(full[1].rec.offset, 1);
    EXPECT(full[1].rec.seq > before);
    EXPECT_ERR(full[2].rc, ERR_FULL);
    text = shelf_text(&s, "room/b");
    EXPECT_STR(text, "safe");
    free(text);
    shelf_close(&s);
    s.opt.max_size = 0;
    shelf_open(&s);
    EXPECT_INT(shelf_put(&s, "room/c", "room again").rec.offset, 1);
    shelf_close(&s);
}

TEST(a_failed_batch_takes_no_offsets)
{
    struct shelf s = shelf_init("db");
    static char big[60000];
    struct entry e = shelf_entry("room/a", big);
    uint64_t last_offset = 0;

    memset(big, 'x', sizeof big - 1);
    s.opt.max_size = 1 << 20;
    shelf_open(&s);
    while (shelf_submit(&s, &e, 1) == 0)
        last_offset = e.rec.offset;
    EXPECT(last_offset > 0);
    EXPECT_ERR(shelf_submit(&s, &e, 1), ERR_FULL);
    shelf_close(&s);
    s.opt.max_size = 0;
    shelf_open(&s);
    EXPECT_INT(shelf_put(&s, "room/a", "x").rec.offset, last_offset + 1);
    shelf_close(&s);
}

/* Somebody with the sqlite3 shell; until the pipe is closed. */
static pid_t lock_store(const struct shelf *s, int *until)
{
    int ready[2], go[2];
    char byte = 0;
    pid_t child;

    EXPECT_OK(pipe(ready));
    EXPECT_OK(pipe(go));
    child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        sqlite3 *conn;

        close(go[1]);
        if (sqlite3_open(s->opt.path, &conn)
            || sqlite3_busy_timeout(conn, 60 * 1000)
            || sqlite3_exec(conn, "BEGIN IMMEDIATE", NULL, NULL, NULL)
            || write(ready[1], &byte, 1) != 1)
            _exit(1);
        _exit(read(go[0], &byte, 1) != 0); /* the lock goes with it */
    }
    close(go[0]);
    EXPECT_INT(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    *until = go[1];
    return child;
}

TEST(a_foreign_lock_fails_batches_until_it_is_gone)
{
    struct shelf s = shelf_init("db");
    struct entry e[2] = {
        shelf_entry("room/a", "x"), shelf_entry("volatile/x", "y"),
    };
    int until, status;
    pid_t other;

    e[1].stored = false;
    shelf_open(&s);
    shelf_put(&s, "room/a", "first");
    other = lock_store(&s, &until);
    EXPECT_ERR(shelf_submit(&s, e, 2), ERR_BUSY);
    EXPECT_ERR(e[0].rc, ERR_BUSY);
    EXPECT_OK(e[1].rc);
    EXPECT_ERR(shelf_submit(&s, e, 1), ERR_BUSY);
    close(until);
    EXPECT_INT(waitpid(other, &status, 0), other);
    EXPECT_INT(status, 0);
    EXPECT_INT(shelf_put(&s, "room/a", "second").rec.offset, 2);
    shelf_close(&s);
}

TEST(power_is_synced_and_counted)
{
    struct shelf s = shelf_init("db");
    struct entry e = shelf_entry("match/1", "goal");
    struct writer_figures f;

    shelf_open(&s);
    shelf_put(&s, "room/a", "x");
    writer_figures(s.writer, &f);
    EXPECT_INT(f.commits, 1);
    EXPECT_INT(f.syncs, 0);
    e.sync = true;
    EXPECT_OK(shelf_submit(&s, &e, 1));
    shelf_put(&s, "room/a", "x");
    writer_figures(s.writer, &f);
    EXPECT_INT(f.commits, 3);
    EXPECT_INT(f.rows, 3);
    EXPECT_INT(f.syncs, 1);
    shelf_close(&s);
}

TEST(every_failing_allocation_is_an_error_and_nothing_else)
{
    struct shelf s = shelf_init("db");
    uint64_t stored = 0;
    bool failed = true;

    shelf_open(&s);
    for (long n = 0; failed; n++) {
        char id[32];
        struct entry e;

        snprintf(id, sizeof id, "room/%ld", n);
        e = shelf_entry(id, "x");
        test_fail_malloc_after(n);
        if (shelf_submit(&s, &e, 1) == 0)
            stored++;
        else
            EXPECT_ERR(e.rc, ERR_NOMEM);
        failed = test_malloc_failed();
    }
    shelf_close(&s);
    EXPECT_INT(shelf_sql_int(&s, "SELECT count(*) FROM log"), stored);
}

/* --- kill -9 --- */

static void append_until_killed(struct shelf *s, int fd)
{
    static const char *const ids[] = { "room/0", "room/1" }; /* borrowed */
    struct entry e[3];

    for (unsigned i = 0;; i++) {
        for (unsigned k = 0; k < 3; k++)
            e[k] = shelf_entry(ids[(i + k) % 2], "some text of a message");
        if (shelf_submit(s, e, 3) != 0)
            _exit(1);
        for (int k = 0; k < 3; k++) {
            uint64_t ack[2] = { e[k].rec.seq, e[k].rec.offset };

            if (write(fd, ack, sizeof ack) != sizeof ack)
                _exit(1);
        }
    }
}

/* Runs a child that appends and is killed after so many acknowledgements.
 * Returns the last of them; the first must lie above `last`. */
static uint64_t killed_child(struct shelf *s, uint64_t last, unsigned acks)
{
    uint64_t ack[2] = { 0, 0 };
    int ends[2], status;
    pid_t child;

    EXPECT_OK(pipe(ends));
    child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        close(ends[0]);
        shelf_open(s);
        append_until_killed(s, ends[1]);
    }
    close(ends[1]);
    for (unsigned i = 0; i < acks; i++) {
        EXPECT_INT(read(ends[0], ack, sizeof ack), sizeof ack);
        EXPECT(ack[0] > last);
        last = ack[0];
    }
    kill(child, SIGKILL);
    while (read(ends[0], ack, sizeof ack) == sizeof ack)
        last = ack[0];
    close(ends[0]);
    EXPECT_INT(waitpid(child, &status, 0), child);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return last;
}

/* some: it must not be empty. */
static void expect_dense(struct shelf *s, const char *id, bool some)
{
    struct page *p = NULL;
    uint64_t offset = 0, after = 0;
    bool more = true;

    while (more) {
        p = shelf_read(s, id, after);
        EXPECT_OK(p->rc);
        EXPECT_INT(p->damaged_count, 0);
        for (size_t i = 0; i < p->count; i++)
            EXPECT_INT(p->records[i].offset, ++offset);
        after = p->upto_seq;
        more = p->more;
        page_free(p);
    }
    EXPECT(offset > 0 || !some);
}

TEST(what_was_acknowledged_survives_kill_9_and_no_number_comes_twice)
{
    struct shelf s = shelf_init("db");
    char epoch[EPOCH_SIZE] = "";
    uint64_t last = 0;

    for (int round = 0; round < 12; round++) {
        last = killed_child(&s, last, 1 + (unsigned)test_random() % 60);
        shelf_open(&s);
        if (round > 0)
            EXPECT_STR(s.epoch, epoch);
        memcpy(epoch, s.epoch, sizeof epoch);
        EXPECT(s.first_seq > last);
        EXPECT(!s.report.clean || round == 0);
        EXPECT_INT(s.report.damaged_ids, 0);
        last = shelf_put(&s, "room/0", "alive").rec.seq;
        expect_dense(&s, "room/0", last > 0);
        expect_dense(&s, "room/1", last > 0);
        shelf_kill(&s);
        EXPECT(shelf_sql_int(&s, "SELECT max(seq) FROM log")
               == (int64_t)last);
    }
}
