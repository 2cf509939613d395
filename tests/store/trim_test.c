#include <stdio.h>

#include "base/err.h"
#include "tests/store/shelf.h"

#define T0 INT64_C(1700000000000)
#define DAY_MS INT64_C(86400000)

static struct keep keep;

static struct keep policy(void *arg, struct slice id)
{
    if (arg)
        return *(const struct keep *)arg;
    return slice_starts(id, SLICE("match/")) ? (struct keep){ 0, 0, 0 }
                                             : keep;
}

static struct shelf open_with(struct keep k)
{
    struct shelf s = shelf_init("db");

    keep = k;
    s.opt.policy = policy;
    shelf_set_time(T0);
    return s;
}

static void put_many(struct shelf *s, const char *id, int from, int to)
{
    struct entry e[100];
    char text[100][16];

    while (from <= to) {
        size_t n = 0;

        for (; n < ARRAY_LEN(e) && from <= to; n++, from++) {
            snprintf(text[n], sizeof text[n], "%d", from);
            e[n] = shelf_entry(id, text[n]);
        }
        EXPECT_OK(shelf_submit(s, e, n));
    }
}

TEST(an_id_over_its_count_loses_its_oldest)
{
    struct shelf s = open_with((struct keep){ .max_count = 3 });
    char *text;

    shelf_open(&s);
    put_many(&s, "room/a", 1, 250);
    put_many(&s, "match/1", 1, 10);
    EXPECT_SOON(s.trimmed.trimmed_offset == 247, shelf_turn(&s));
    EXPECT_INT(s.trimmed.trimmed_seq, 247);
    EXPECT_INT(s.trimmed.last_offset, 250);
    EXPECT_INT(s.trimmed.count, 3);
    text = shelf_text(&s, "room/a");
    EXPECT_STR(text, "248 249 250");
    free(text);
    text = shelf_text(&s, "match/1");
    EXPECT_STR(text, "1 2 3 4 5 6 7 8 9 10");
    free(text);
    shelf_close(&s);
    EXPECT_INT(shelf_sql_int(&s, "SELECT count(*) FROM log"), 13);
}

TEST(an_id_over_its_bytes_loses_its_oldest)
{
    struct shelf s = open_with((struct keep){ .max_bytes = 10 });
    char *text;

    shelf_open(&s);
    shelf_put(&s, "room/a", "12345");
    shelf_put(&s, "room/a", "1234");
    shelf_put(&s, "room/a", "ab");
    EXPECT_SOON(s.trimmed.trimmed_offset == 1, shelf_turn(&s));
    EXPECT_INT(s.trimmed.bytes, 6);
    text = shelf_text(&s, "room/a");
    EXPECT_STR(text, "1234 ab");
    free(text);
    shelf_close(&s);
}

TEST(what_is_too_old_goes_and_what_is_younger_stays)
{
    struct shelf s = open_with((struct keep){ .max_age_ms = DAY_MS });
    char *text;

    shelf_open(&s);
    put_many(&s, "room/a", 1, 100);
    shelf_set_time(T0 + DAY_MS / 2);
    put_many(&s, "room/a", 101, 102);
    shelf_set_time(T0 + DAY_MS + 1);
    put_many(&s, "room/b", 1, 1); /* the wall clock is looked at */
    EXPECT_SOON(s.trimmed.trimmed_offset == 100, shelf_turn(&s));
    text = shelf_text(&s, "room/a");
    EXPECT_STR(text, "101 102");
    free(text);
    shelf_close(&s);
    shelf_set_time(T0 + 2 * DAY_MS);
    shelf_open(&s);
    EXPECT_SOON(s.trimmed.trimmed_offset == 102, shelf_turn(&s));
    text = shelf_text(&s, "room/a");
    EXPECT_STR(text, "");
    free(text);
    EXPECT_INT(shelf_put(&s, "room/a", "x").rec.offset, 103);
    shelf_close(&s);
}

TEST(a_row_with_an_impossible_key_moves_no_number_when_it_goes)
{
    struct shelf s = open_with((struct keep){ .max_count = 3 });

    shelf_open(&s);
    put_many(&s, "room/a", 1, 3);
    shelf_close(&s);
    shelf_sql(&s, "UPDATE log SET seq = -seq WHERE seq = 2");
    shelf_open(&s);
    put_many(&s, "room/a", 4, 4);
    EXPECT_SOON(s.trimmed.count == 3, shelf_turn(&s));
    EXPECT_INT(s.trimmed.trimmed_offset, 1);
    EXPECT_INT(s.trimmed.trimmed_seq, 0);
    shelf_close(&s);
}

TEST(a_narrower_policy_holds_from_the_next_start)
{
    struct shelf s = open_with((struct keep){ .max_count = 100 });
    char *text;

    shelf_open(&s);
    put_many(&s, "room/a", 1, 50);
    shelf_close(&s);
    keep = (struct keep){ .max_count = 2 };
    shelf_open(&s);
    EXPECT_SOON(s.trimmed.trimmed_offset == 48, shelf_turn(&s));
    text = shelf_text(&s, "room/a");
    EXPECT_STR(text, "49 50");
    free(text);
    shelf_close(&s);
}

static uint64_t trimmed_up_to(struct shelf *s, const char *id)
{
    struct page *p = shelf_read(s, id, 0);
    uint64_t ret;

    EXPECT_OK(p->rc);
    ret = p->ids[0].trimmed_offset;
    page_free(p);
    return ret;
}

TEST(trimming_survives_a_kill)
{
    struct shelf s = open_with((struct keep){ .max_count = 5 });

    shelf_open(&s);
    put_many(&s, "room/a", 1, 2000);
    shelf_kill(&s);
    shelf_open(&s);
    EXPECT_SOON(trimmed_up_to(&s, "room/a") == 1995, shelf_turn(&s));
    EXPECT_INT(shelf_put(&s, "room/a", "x").rec.offset, 2001);
    shelf_close(&s);
    EXPECT_INT(shelf_sql_int(&s, "SELECT count(*) BETWEEN 5 AND 6 FROM log"),
               1);
}

TEST(under_load_trimming_goes_on)
{
    struct shelf s = open_with((struct keep){ .max_count = 10 });
    struct writer_figures f = { 0 };

    shelf_open(&s);
    /* Not one pause of the length that cleaning up waits for. */
    EXPECT_SOON(f.trimmed > 1000, {
        put_many(&s, "room/a", 1, 100);
        writer_figures(s.writer, &f);
    });
    shelf_close(&s);
}

static void got_page(void *arg, struct page *page)
{
    *(struct page **)arg = page;
}

TEST(what_is_trimmed_while_it_is_read_is_no_damage)
{
    struct shelf s = open_with((struct keep){ .max_count = 50 });
    struct slice patterns = SLICE("room/*"), id = SLICE("room/a");
    struct page_request q = {
        .ids = &id, .id_count = 1, .max_count = 1000, .max_bytes = 1 << 20,
    };
    struct writer_figures f = { 0 };

    shelf_open(&s);
    for (size_t i = 0; f.trimmed < 3000; i++) {
        struct page *page = NULL;

        put_many(&s, "room/a", 1, 100);
        put_many(&s, "room/b", 1, 100);
        q.patterns = &patterns;
        q.pattern_count = i % 2;
        q.newest = i % 3 == 0;
        q.upto_seq = writer_last_seq(s.writer);
        EXPECT_OK(reader_page(s.readers, &q, got_page, &page, NULL));
        put_many(&s, "room/a", 1, 60);
        EXPECT_SOON(page, shelf_turn(&s));
        EXPECT_OK(page->rc);
        EXPECT_INT(page->damaged_count, 0);
        page_free(page);
        writer_figures(s.writer, &f);
    }
    shelf_close(&s);
}

/* --- keys --- */

static struct entry keyed(const char *id, const char *key)
{
    struct entry e = shelf_entry(id, "body");

    e.idem = slice_str(key);
    e.body_hash = 1;
    return e;
}

static int64_t now_of(struct shelf *s)
{
    return s->opt.wall_ms();
}

TEST(a_key_stays_ten_minutes_though_its_message_is_gone)
{
    struct shelf s = open_with((struct keep){ .max_count = 1 });
    struct entry e = keyed("room/a", "k"), again;
    struct first_answer a;

    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, &e, 1));
    shelf_put(&s, "room/a", "pushes it out");
    EXPECT_SOON(s.trimmed.trimmed_offset == 1, shelf_turn(&s));
    again = keyed("room/a", "k");
    EXPECT_OK(shelf_submit(&s, &again, 1));
    EXPECT_ERR(again.rc, ERR_EXISTS);
    EXPECT_INT(again.rec.offset, 1);
    shelf_set_time(now_of(&s) + 10 * 60 * 1000 + 1);
    shelf_put(&s, "room/b", "x");
    EXPECT_SOON(key_find(s.finder, SLICE("room/a"), SLICE("k"), &a)
                == ERR_NOT_FOUND, shelf_turn(&s));
    again = keyed("room/a", "k");
    EXPECT_OK(shelf_submit(&s, &again, 1));
    EXPECT_OK(again.rc);
    shelf_close(&s);
}

/* More than one look at what is due. */
static void look_around(struct shelf *s)
{
    size_t before = s->trimmed_calls;

    while (s->trimmed_calls < before + 3) {
        size_t calls = s->trimmed_calls;

        shelf_put(s, "room/a", "pushes it out");
        EXPECT_SOON(s->trimmed_calls > calls, shelf_turn(s));
    }
}

static void expect_used(struct shelf *s, const char *id, const char *key)
{
    struct entry e = keyed(id, key);

    EXPECT_OK(shelf_submit(s, &e, 1));
    EXPECT_ERR(e.rc, ERR_EXISTS);
}

TEST(no_key_goes_because_a_clock_was_set)
{
    static const int hours[] = { 1, -2, 0 };
    static const char *const keys[] = { "k1", "k2", "k3" };
    struct shelf s = open_with((struct keep){ .max_count = 1 });
    struct first_answer a;
    int64_t begin_ms;

    shelf_open(&s);
    begin_ms = now_of(&s);
    for (size_t i = 0; i < ARRAY_LEN(hours); i++) {
        struct entry e[] = { keyed("room/a", keys[i]),
                             keyed("volatile/x", keys[i]) };

        e[1].stored = false;
        EXPECT_OK(shelf_submit(&s, e, 2));
        shelf_set_wall(begin_ms + hours[i] * 60 * 60 * 1000);
        look_around(&s);
        shelf_close(&s);
        shelf_open(&s);
        look_around(&s);
        for (size_t k = 0; k <= i; k++) {
            expect_used(&s, "room/a", keys[k]);
            expect_used(&s, "volatile/x", keys[k]);
        }
    }
    shelf_set_time(begin_ms + 10 * 60 * 1000 + 1);
    look_around(&s);
    EXPECT_SOON(key_find(s.finder, SLICE("volatile/x"), SLICE("k3"), &a)
                == ERR_NOT_FOUND, shelf_turn(&s));
    shelf_close(&s);
}

TEST(a_key_stays_as_long_as_its_message)
{
    struct shelf s = open_with((struct keep){ .max_count = 1 });
    struct entry e = keyed("match/1", "k"), again;
    struct writer_figures f;

    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, &e, 1));
    shelf_set_time(T0 + 30 * DAY_MS);
    shelf_put(&s, "room/b", "x");
    shelf_put(&s, "room/b", "y");
    EXPECT_SOON((writer_figures(s.writer, &f), f.trimmed == 1),
                shelf_turn(&s));
    again = keyed("match/1", "k");
    EXPECT_OK(shelf_submit(&s, &again, 1));
    EXPECT_ERR(again.rc, ERR_EXISTS);
    shelf_close(&s);
}

/* --- forgetting --- */

#define NOT_TRIMMED UINT64_MAX

/* Of this id, behind `after`, up to offset `to` of it (0: nobody knows). */
static void expect_trimmed(struct shelf *s, const char *id, uint64_t after,
                           uint64_t to)
{
    struct slice name = slice_str(id);
    struct page_request q = { .ids = &name, .id_count = 1, .after_seq = after,
                              .upto_seq = UINT64_MAX >> 11, .max_count = 10,
                              .max_bytes = 1000 };
    struct page *p = shelf_page(s, &q);

    EXPECT_INT(p->trimmed_count, to != NOT_TRIMMED);
    if (p->trimmed_count) {
        EXPECT_SLICE(p->trimmed[0].id, name);
        EXPECT_INT(p->trimmed[0].from, 0);
        EXPECT_INT(p->trimmed[0].to, to);
        EXPECT_INT(p->trimmed[0].last_seq, s->forgotten.seq);
    }
    page_free(p);
}

TEST(an_id_without_history_and_logins_is_forgotten_after_seven_days)
{
    struct shelf s = open_with((struct keep){ .max_age_ms = DAY_MS });

    shelf_open(&s);
    put_many(&s, "room/a", 1, 40);
    put_many(&s, "room/b", 1, 3);
    shelf_set_time(T0 + DAY_MS + 1);
    put_many(&s, "match/1", 1, 1);
    EXPECT_SOON(s.trimmed_calls == 2, shelf_turn(&s));
    EXPECT_INT(s.asked_calls, 0);
    shelf_set_time(T0 + 7 * DAY_MS);
    put_many(&s, "match/1", 2, 2);
    s.last_used = T0 + 8 * DAY_MS; /* was there a moment before */
    shelf_set_time(T0 + 8 * DAY_MS + 2);
    put_many(&s, "match/1", 3, 3);
    EXPECT_SOON(s.asked_calls == 2, shelf_turn(&s));
    put_many(&s, "match/1", 4, 4); /* comes behind the answers */
    EXPECT_INT(s.forgotten_calls, 0);
    shelf_set_time(T0 + 15 * DAY_MS + 1);
    put_many(&s, "match/1", 5, 5);
    EXPECT_SOON(s.forgotten_calls == 2, shelf_turn(&s));
    EXPECT_INT(s.asked_calls, 4);
    EXPECT_INT(s.forgotten_now.offset, 40);
    EXPECT_INT(s.forgotten_now.seq, s.first_seq + 42);
    shelf_close(&s);
    EXPECT_INT(shelf_sql_int(&s, "SELECT count(*) FROM ids"), 1);
    shelf_open(&s);
    EXPECT_INT(s.forgotten.offset, 40);
    EXPECT_INT(s.forgotten.seq, s.forgotten_now.seq);
    expect_trimmed(&s, "room/b", s.forgotten.seq - 1, 0);
    expect_trimmed(&s, "never/was", s.forgotten.seq - 1, 0);
    expect_trimmed(&s, "match/1", s.forgotten.seq - 1, NOT_TRIMMED);
    expect_trimmed(&s, "room/b", s.forgotten.seq, NOT_TRIMMED);
    expect_trimmed(&s, "room/b", 0, NOT_TRIMMED); /* all that is kept */
    EXPECT_INT(shelf_put(&s, "room/b", "back").rec.offset, 41);
    expect_trimmed(&s, "room/b", s.forgotten.seq - 1, 40);
    expect_trimmed(&s, "room/b", s.forgotten.seq, NOT_TRIMMED);
    EXPECT_INT(shelf_put(&s, "match/1", "6").rec.offset, 6);
    shelf_close(&s);
}

TEST(an_id_that_returns_while_it_is_asked_about_is_not_forgotten)
{
    struct shelf s = open_with((struct keep){ .max_age_ms = DAY_MS });

    shelf_open(&s);
    put_many(&s, "room/a", 1, 4);
    shelf_set_time(T0 + DAY_MS + 1);
    put_many(&s, "match/1", 1, 1);
    EXPECT_SOON(s.trimmed_calls == 1, shelf_turn(&s));
    shelf_set_time(T0 + 8 * DAY_MS + 2);
    s.last_used = T0 + 8 * DAY_MS + 2; /* still logged in */
    put_many(&s, "match/1", 2, 2);
    EXPECT_SOON(s.asked_calls == 1, shelf_turn(&s));
    EXPECT_INT(shelf_put(&s, "room/a", "x").rec.offset, 5);
    EXPECT_INT(s.forgotten_calls, 0);
    shelf_close(&s);
}

static void policy_done(void *arg, int rc)
{
    *(int *)arg = rc;
}

/* Of ids in memory and of those that are not: 300 are more than a step. */
TEST(another_policy_counts_for_what_is_there)
{
    struct shelf s = open_with((struct keep){ .max_count = 0 });
    struct keep two = { .max_count = 2 };
    char id[16], *text;
    int done = 1;

    shelf_open(&s);
    put_many(&s, "room/a", 1, 10);
    for (int i = 0; i < 300; i++) {
        snprintf(id, sizeof id, "x/%d", i);
        put_many(&s, id, 1, 3);
    }
    shelf_close(&s);
    shelf_open(&s); /* nothing is in the cache */
    put_many(&s, "room/a", 11, 12);
    EXPECT_OK(writer_set_policy(s.writer, &two, policy_done, &done));
    EXPECT_SOON(done == 0 && s.trimmed_calls == 301, shelf_turn(&s));
    text = shelf_text(&s, "room/a");
    EXPECT_STR(text, "11 12");
    free(text);
    text = shelf_text(&s, "x/299");
    EXPECT_STR(text, "2 3");
    free(text);
    shelf_close(&s);
}
