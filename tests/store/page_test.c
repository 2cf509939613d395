#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/store/shelf.h"

/* --- against a model --- */

enum { MODEL_IDS = 40, MODEL_ROWS = 3000 };

struct model_row {
    uint64_t seq, offset;
    int id;
    size_t bytes;
};

static struct model_row model[MODEL_ROWS];
static char model_ids[MODEL_IDS][24];

static struct shelf model_store(void)
{
    struct shelf s = shelf_init("db");
    struct entry e[50];
    static char body[200];

    memset(body, 'b', sizeof body);
    for (int i = 0; i < MODEL_IDS; i++)
        snprintf(model_ids[i], sizeof *model_ids, "%s/%d",
                 i % 3 ? "room" : "match", i);
    shelf_open(&s);
    for (size_t n = 0; n < MODEL_ROWS; n += ARRAY_LEN(e)) {
        for (size_t i = 0; i < ARRAY_LEN(e); i++) {
            struct model_row *m = &model[n + i];

            /* A few ids have most of the messages. */
            m->id = (int)(test_random() % (test_random() % 2 ? 4 : MODEL_IDS));
            m->bytes = test_random() % sizeof body;
            e[i] = shelf_entry(model_ids[m->id], "");
            e[i].rec.data = slice_make(body, m->bytes);
        }
        EXPECT_OK(shelf_submit(&s, e, ARRAY_LEN(e)));
        for (size_t i = 0; i < ARRAY_LEN(e); i++) {
            model[n + i].seq = e[i].rec.seq;
            model[n + i].offset = e[i].rec.offset;
        }
    }
    return s;
}

static bool is_wanted(const struct page_request *q, const char *id)
{
    for (size_t i = 0; i < q->id_count; i++)
        if (slice_eq(q->ids[i], slice_str(id)))
            return true;
    for (size_t i = 0; i < q->pattern_count; i++)
        if (shelf_match(q->patterns[i], slice_str(id)))
            return true;
    return false;
}

/* The rows a page must have, in seq order; *more likewise. */
static size_t expect(const struct page_request *q,
                     const struct model_row **ret, bool *more)
{
    size_t count = 0, bytes = 0;

    *more = false;
    for (size_t n = 0; n < MODEL_ROWS && !*more; n++) {
        const struct model_row *m =
            &model[q->newest ? MODEL_ROWS - 1 - n : n];

        if (m->seq <= q->after_seq || m->seq > q->upto_seq
            || !is_wanted(q, model_ids[m->id]))
            continue;
        if (count == q->max_count
            || (count > 0 && bytes + m->bytes > q->max_bytes)) {
            *more = true;
            continue;
        }
        ret[count++] = m;
        bytes += m->bytes;
    }
    for (size_t i = 0; q->newest && i < count / 2; i++) {
        const struct model_row *swap = ret[i];

        ret[i] = ret[count - 1 - i];
        ret[count - 1 - i] = swap;
    }
    return count;
}

static void check_page(const struct page *p, const struct page_request *q)
{
    static const struct model_row *want[MODEL_ROWS];
    bool more;
    size_t count = expect(q, want, &more);

    EXPECT_OK(p->rc);
    EXPECT_INT(p->count, count);
    EXPECT_INT(p->more, more);
    EXPECT_INT(p->damaged_count, 0);
    for (size_t i = 0; i < count; i++) {
        EXPECT_INT(p->records[i].seq, want[i]->seq);
        EXPECT_INT(p->records[i].offset, want[i]->offset);
        EXPECT_INT(p->records[i].data.len, want[i]->bytes);
        EXPECT_SLICE(p->records[i].id, slice_str(model_ids[want[i]->id]));
    }
    EXPECT_INT(p->upto_seq, more && !q->newest ? want[count - 1]->seq
                                               : q->upto_seq);
    EXPECT_INT(p->after_seq, more && q->newest ? want[0]->seq - 1
                                               : q->after_seq);
}

static void random_request(struct page_request *q, struct slice *ids,
                           struct slice *patterns)
{
    static const char *const all[] = { "match/*", "room/1*", "room/7", "*" };
    uint64_t a = test_random() % (MODEL_ROWS + 1);
    uint64_t b = test_random() % (MODEL_ROWS + 1);

    q->id_count = test_random() % (test_random() % 2 ? 3 : MODEL_IDS);
    q->pattern_count = test_random() % 3;
    if (q->id_count == 0 && q->pattern_count == 0)
        q->id_count = 1;
    for (size_t i = 0; i < q->id_count; i++)
        ids[i] = test_random() % 20 == 0
                     ? SLICE("room/unknown")
                     : slice_str(model_ids[test_random() % MODEL_IDS]);
    for (size_t i = 0; i < q->pattern_count; i++)
        patterns[i] = slice_str(all[test_random() % ARRAY_LEN(all)]);
    q->ids = ids;
    q->patterns = patterns;
    q->after_seq = MIN(a, b);
    q->upto_seq = MAX(a, b);
    q->newest = test_random() % 2;
    q->max_count = 1 + test_random() % (test_random() % 2 ? 10 : 1000);
    q->max_bytes = test_random() % 2 ? test_random() % 5000 : 1 << 20;
}

TEST(pages_are_what_a_naive_reader_would_give)
{
    struct shelf s = model_store();
    struct slice ids[MODEL_IDS], patterns[3];

    for (int i = 0; i < 400; i++) {
        struct page_request q;
        struct page *p;

        random_request(&q, ids, patterns);
        p = shelf_page(&s, &q);
        check_page(p, &q);
        page_free(p);
    }
    shelf_close(&s);
}

/* The same through the other way: more ids than are looked up one by one. */
TEST(a_page_of_very_many_ids_is_the_same)
{
    struct shelf s = model_store();
    static struct slice ids[2000];
    static char names[2000][24];

    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct entry e;

        snprintf(names[i], sizeof *names, "many/%zu", i);
        e = shelf_entry(names[i], "x");
        EXPECT_OK(shelf_submit(&s, &e, 1));
        ids[i] = slice_str(i % 2 ? names[i] : model_ids[i % MODEL_IDS]);
    }
    for (int newest = 0; newest < 2; newest++) {
        struct page_request q = {
            .ids = ids, .id_count = ARRAY_LEN(ids), .after_seq = 100,
            .upto_seq = MODEL_ROWS, .max_count = 700, .newest = newest,
            .max_bytes = 1 << 20,
        };
        struct page *p = shelf_page(&s, &q);

        check_page(p, &q);
        EXPECT_INT(p->id_count, ARRAY_LEN(ids));
        EXPECT_SLICE(p->ids[7].id, ids[7]);
        EXPECT_INT(p->ids[7].last_seq, MODEL_ROWS + 8);
        page_free(p);
    }
    shelf_close(&s);
}

TEST(pages_follow_each_other_without_a_hole)
{
    struct shelf s = model_store();
    struct slice all = SLICE("*");
    struct page_request q = {
        .patterns = &all, .pattern_count = 1, .upto_seq = MODEL_ROWS,
        .max_count = 37, .max_bytes = 3000,
    };
    uint64_t seq = 0;
    bool more = true;

    while (more) {
        struct page *p = shelf_page(&s, &q);

        EXPECT_OK(p->rc);
        for (size_t i = 0; i < p->count; i++)
            EXPECT_INT(p->records[i].seq, ++seq);
        EXPECT(!p->more || p->upto_seq == seq);
        q.after_seq = p->upto_seq;
        more = p->more;
        page_free(p);
    }
    EXPECT_INT(seq, MODEL_ROWS);
    shelf_close(&s);
}

/* --- what a record keeps --- */

TEST(every_field_comes_back_byte_for_byte)
{
    struct shelf s = shelf_init("db");
    static const uint8_t bytes[] = { 0, 255, 10, 13, 0, 128, '\'', '"', 0 };
    struct entry e = shelf_entry("r\xc3\xb6om/'; DROP TABLE log; --", "");
    const struct record *r;
    struct page *p;

    e.rec.ts_ms = INT64_C(-12345);
    e.rec.format = 2;
    e.rec.flags = 255;
    e.rec.from = SLICE("ana");
    e.rec.kind = SLICE("goal");
    e.rec.key = slice_make(bytes, sizeof bytes);
    e.rec.data = slice_make(bytes, sizeof bytes);
    e.rec.session = UINT64_MAX;
    e.rec.number = 42;
    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, &e, 1));
    p = shelf_read(&s, "r\xc3\xb6om/'; DROP TABLE log; --", 0);
    EXPECT_OK(p->rc);
    EXPECT_INT(p->count, 1);
    r = &p->records[0];
    EXPECT_INT(r->ts_ms, -12345);
    EXPECT_INT(r->format, 2);
    EXPECT_INT(r->flags, 255);
    EXPECT_SLICE(r->from, e.rec.from);
    EXPECT_SLICE(r->kind, e.rec.kind);
    EXPECT_SLICE(r->key, e.rec.key);
    EXPECT_SLICE(r->data, e.rec.data);
    EXPECT(r->session == UINT64_MAX && r->number == 42);
    EXPECT_INT(p->ids[0].last_offset, 1);
    page_free(p);
    shelf_close(&s);
}

TEST(an_unknown_id_is_an_empty_page)
{
    struct shelf s = shelf_init("db");
    struct page *p;

    shelf_open(&s);
    p = shelf_read(&s, "room/nobody", 0);
    EXPECT_OK(p->rc);
    EXPECT_INT(p->count, 0);
    EXPECT_INT(p->more, false);
    EXPECT_INT(p->id_count, 1);
    EXPECT_SLICE(p->ids[0].id, SLICE("room/nobody"));
    EXPECT_INT(p->ids[0].last_offset, 0);
    page_free(p);
    shelf_close(&s);
}

static void never(void *arg, struct page *page)
{
    UNUSED(arg);
    page_free(page);
    test_fail(__FILE__, __LINE__, "a cancelled job was answered");
}

TEST(a_cancelled_job_is_not_answered)
{
    struct shelf s = model_store();
    struct slice id = SLICE("room/1");
    struct page_request q = {
        .ids = &id, .id_count = 1, .upto_seq = MODEL_ROWS, .max_count = 100,
        .max_bytes = 1 << 20,
    };
    struct read_job *jobs[20];

    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        EXPECT_OK(reader_page(s.readers, &q, never, NULL, &jobs[i]));
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        reader_cancel(s.readers, jobs[i]);
    page_free(shelf_page(&s, &q)); /* comes behind them */
    shelf_close(&s);
}

enum { CROWD_IDS = 20000, CROWD_ROWS = 22500, CROWD_BATCH = 2500 };

static struct shelf crowded_store(void)
{
    static struct entry e[CROWD_BATCH];
    static char ids[CROWD_BATCH][24];
    struct shelf s = shelf_init("db");

    shelf_open(&s);
    for (int n = 0; n < CROWD_ROWS; n += CROWD_BATCH) {
        for (int i = 0; i < CROWD_BATCH; i++) {
            snprintf(ids[i], sizeof *ids, "crowd/%d", (n + i) % CROWD_IDS);
            e[i] = shelf_entry(ids[i], "");
        }
        EXPECT_OK(shelf_submit(&s, e, CROWD_BATCH));
    }
    return s;
}

/* Reads all that is there, and takes nothing. */
static bool match_nothing(struct slice pattern, struct slice id)
{
    UNUSED(pattern);
    UNUSED(id);
    return false;
}

TEST(who_looks_at_much_and_finds_nothing_rests)
{
    struct shelf s = crowded_store();
    struct slice all = SLICE("*"), known = SLICE("crowd/1");
    struct page_request in_vain = {
        .patterns = &all, .pattern_count = 1, .upto_seq = CROWD_ROWS,
        .max_count = 100, .max_bytes = 1 << 20,
    };
    struct page_request quick = {
        .ids = &known, .id_count = 1, .upto_seq = CROWD_ROWS,
        .max_count = 100, .max_bytes = 1 << 20,
    };
    struct test_soon soon = test_soon();
    struct page *p;

    readers_free(s.readers);
    EXPECT_OK(readers_new(&s.readers, s.opt.path, s.loop, 1, match_nothing));
    while (readers_held(s.readers) == 0 && !test_soon_over(&soon)) {
        p = shelf_page(&s, &in_vain);
        EXPECT_INT(p->count, 0);
        page_free(p);
    }
    EXPECT(readers_held(s.readers) > 0);
    EXPECT_OK(reader_page(s.readers, &in_vain, never, NULL, NULL));
    p = shelf_page(&s, &quick); /* who knows what he wants does not */
    EXPECT(p->count > 0);
    page_free(p);
    readers_free(s.readers);
    s.readers = NULL;
    shelf_close(&s);
}

TEST(a_pattern_of_very_many_ids_over_a_long_stretch_is_complete)
{
    struct slice all = SLICE("crowd/*");
    struct page_request q = {
        .patterns = &all, .pattern_count = 1, .upto_seq = CROWD_ROWS,
        .max_count = 500, .max_bytes = 1 << 20,
    };
    struct shelf s = crowded_store();

    for (int newest = 0; newest < 2; newest++) {
        uint64_t first = newest ? CROWD_ROWS - 499 : 1;
        struct page *p;

        q.newest = newest;
        p = shelf_page(&s, &q);
        EXPECT_OK(p->rc);
        EXPECT_INT(p->count, 500);
        EXPECT_INT(p->damaged_count, 0);
        EXPECT(p->more);
        for (size_t i = 0; i < p->count; i++)
            EXPECT_INT(p->records[i].seq, first + i);
        page_free(p);
    }
    shelf_close(&s);
}

TEST(requests_out_of_bounds_are_refused)
{
    struct shelf s = shelf_init("db");
    struct page_request q = { .max_count = 0 };

    shelf_open(&s);
    EXPECT_ERR(reader_page(s.readers, &q, never, NULL, NULL), ERR_USAGE);
    q.max_count = PAGE_COUNT_MAX + 1;
    EXPECT_ERR(reader_page(s.readers, &q, never, NULL, NULL), ERR_USAGE);
    q.max_count = 1;
    q.after_seq = 5;
    q.upto_seq = 4;
    EXPECT_ERR(reader_page(s.readers, &q, never, NULL, NULL), ERR_USAGE);
    q.upto_seq = 6;
    q.id_count = PAGE_IDS_MAX + 1;
    EXPECT_ERR(reader_page(s.readers, &q, never, NULL, NULL), ERR_USAGE);
    shelf_close(&s);
}

TEST(reading_goes_on_while_a_batch_is_written)
{
    struct shelf s = model_store();
    struct slice all = SLICE("*");
    struct page_request q = {
        .patterns = &all, .pattern_count = 1, .upto_seq = MODEL_ROWS,
        .max_count = 1000, .max_bytes = 1 << 20,
    };

    for (int i = 0; i < 20; i++) {
        struct page *p;

        shelf_put(&s, "room/new", "x");
        p = shelf_page(&s, &q);
        check_page(p, &q);
        page_free(p);
    }
    shelf_close(&s);
}

/* --- while trimming goes on --- */

enum { BRIEF_IDS = 12, BRIEF_ROWS = 40000, BRIEF_BATCH = 20,
       BRIEF_PAGES = 12 }; /* read by turns: so each takes its time */

static struct {
    struct model_row rows[BRIEF_ROWS];
    size_t count;
    char ids[BRIEF_IDS][16];
    struct page *pages[BRIEF_PAGES];
    size_t came;
} brief;

/* Every other id keeps next to nothing. */
static struct keep keep_few(void *arg, struct slice id)
{
    UNUSED(arg);
    return (struct keep){ .max_count = id.ptr[id.len - 1] % 2 ? 1 : 40 };
}

static void put_brief(struct shelf *s)
{
    struct entry e[BRIEF_BATCH];

    CHECK(brief.count + BRIEF_BATCH <= BRIEF_ROWS);
    for (size_t i = 0; i < BRIEF_BATCH; i++) {
        struct model_row *m = &brief.rows[brief.count + i];

        m->id = (int)(test_random() % BRIEF_IDS);
        e[i] = shelf_entry(brief.ids[m->id], "brief");
    }
    EXPECT_OK(shelf_submit(s, e, BRIEF_BATCH));
    for (size_t i = 0; i < BRIEF_BATCH; i++) {
        brief.rows[brief.count].seq = e[i].rec.seq;
        brief.rows[brief.count++].offset = e[i].rec.offset;
    }
}

static void brief_done(void *arg, struct page *page)
{
    *(struct page **)arg = page;
    brief.came++;
}

static const struct model_row *brief_row(struct slice id, uint64_t offset)
{
    for (size_t i = 0; i < brief.count; i++)
        if (brief.rows[i].offset == offset &&
            slice_eq(slice_str(brief.ids[brief.rows[i].id]), id))
            return &brief.rows[i];
    return NULL;
}

static const struct record *record_of(const struct page *p, struct slice id,
                                      uint64_t offset)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->records[i].offset == offset && slice_eq(p->records[i].id, id))
            return &p->records[i];
    return NULL;
}

static bool has_record(const struct page *p, struct slice id)
{
    for (size_t i = 0; i < p->count; i++)
        if (slice_eq(p->records[i].id, id))
            return true;
    return false;
}

/* Each entry is true to the letter. */
static void check_trimmed(const struct page *p, const struct page_request *q)
{
    for (size_t i = 0; i < p->trimmed_count; i++) {
        const struct trimmed *t = &p->trimmed[i];
        const struct model_row *last = brief_row(t->id, t->to);
        const struct record *before =
            t->from ? record_of(p, t->id, t->from - 1) : NULL;

        EXPECT(last && last->seq == t->last_seq);
        EXPECT(t->last_seq > t->behind_seq);
        EXPECT(!t->from || before);
        EXPECT_INT(t->behind_seq, before ? before->seq : q->after_seq);
        EXPECT(i == 0 || p->trimmed[i - 1].behind_seq <= t->behind_seq);
        for (size_t k = 0; k < p->count; k++)
            EXPECT(!slice_eq(p->records[k].id, t->id) ||
                   p->records[k].offset < t->from ||
                   p->records[k].offset > t->to);
    }
}

static bool is_named(const struct page *p, struct slice id,
                     const struct model_row *m)
{
    for (size_t i = 0; i < p->trimmed_count; i++) {
        const struct trimmed *t = &p->trimmed[i];

        if (slice_eq(t->id, id) && t->from <= m->offset &&
            m->offset <= t->to && t->behind_seq < m->seq)
            return true;
    }
    return false;
}

/* What the page has not, it names. */
static size_t check_missing(const struct page *p,
                            const struct page_request *q)
{
    size_t missing = 0;

    for (size_t i = 0; i < brief.count; i++) {
        const struct model_row *m = &brief.rows[i];
        struct slice id = slice_str(brief.ids[m->id]);

        if (m->seq <= q->after_seq || m->seq > p->upto_seq ||
            !is_wanted(q, brief.ids[m->id]) || record_of(p, id, m->offset))
            continue;
        missing++;
        EXPECT(is_named(p, id, m) ||
               (q->pattern_count && !has_record(p, id)));
    }
    return missing;
}

static struct page_request brief_request(struct slice *ids, struct slice *all)
{
    uint64_t last = brief.rows[brief.count - 1].seq;
    struct page_request q = {
        .ids = ids, .patterns = all, .upto_seq = last,
        .after_seq = last - test_random() % MIN(last, 400),
        .max_count = 1 + test_random() % 1000, .max_bytes = 1 << 20,
    };

    if (test_random() % 3)
        q.id_count = BRIEF_IDS;
    else
        q.pattern_count = 1;
    return q;
}

TEST(what_trimming_takes_while_a_page_is_read_is_named_exactly)
{
    struct shelf s = shelf_init("db");
    struct slice ids[BRIEF_IDS], all = SLICE("*");
    struct page_request q[BRIEF_PAGES];
    size_t missing = 0, within = 0;

    s.opt.policy = keep_few;
    shelf_open(&s);
    for (int i = 0; i < BRIEF_IDS; i++) {
        snprintf(brief.ids[i], sizeof *brief.ids, "brief/%c", 'a' + i);
        ids[i] = slice_str(brief.ids[i]);
    }
    for (int i = 0; i < 20; i++)
        put_brief(&s);
    for (int i = 0; i < 40 || !missing || !within; i++) {
        brief.came = 0;
        for (int n = 0; n < BRIEF_PAGES; n++) {
            q[n] = brief_request(ids, &all);
            EXPECT_OK(reader_page(s.readers, &q[n], brief_done,
                                  &brief.pages[n], NULL));
        }
        for (unsigned n = 1 + test_random() % 4; n; n--)
            put_brief(&s);
        EXPECT_SOON(brief.came == BRIEF_PAGES, shelf_turn(&s));
        for (int n = 0; n < BRIEF_PAGES; n++) {
            const struct page *p = brief.pages[n];

            EXPECT_OK(p->rc);
            EXPECT_INT(p->damaged_count, 0);
            check_trimmed(p, &q[n]);
            missing += check_missing(p, &q[n]);
            for (size_t k = 0; k < p->trimmed_count; k++)
                within += p->trimmed[k].from != 0;
            page_free(brief.pages[n]);
        }
    }
    shelf_close(&s);
}

/* --- an id whose record cannot be read --- */

static struct keep keep_four(void *arg, struct slice id)
{
    UNUSED(arg);
    UNUSED(id);
    return (struct keep){ .max_count = 4 };
}

/* Of two ids each has twenty, of which four are kept; what is known of room/a is
 * damaged while the store is open. */
static void store_without_record(struct shelf *s)
{
    *s = shelf_init("db");
    s->opt.policy = keep_four;
    shelf_open(s);
    for (int i = 0; i < 20; i++) {
        shelf_put(s, "room/a", "a");
        shelf_put(s, "room/b", "b");
    }
    EXPECT_SOON(shelf_sql_int(s, "SELECT count(*) FROM log") == 8,
                shelf_turn(s));
    shelf_sql(s, "UPDATE ids SET sum = sum + 1 WHERE id = 'room/a'");
}

static void expect_all_damaged(const struct page *p)
{
    EXPECT_OK(p->rc);
    EXPECT_INT(p->damaged_count, 1);
    EXPECT_SLICE(p->damaged[0].id, SLICE("room/a"));
    EXPECT_INT(p->damaged[0].first_offset, 0);
    EXPECT_INT(p->damaged[0].first_seq, p->after_seq + 1);
    EXPECT_INT(p->damaged[0].last_seq, p->upto_seq);
}

TEST(an_id_whose_record_cannot_be_read_is_damaged_once)
{
    struct slice ids[] = { SLICE("room/a"), SLICE("room/b") };
    struct slice all = SLICE("room/*");
    struct shelf s;

    store_without_record(&s);
    for (int i = 0; i < 6; i++) {
        struct page_request q = {
            .ids = ids, .id_count = i % 3 == 0 ? 2 : 0,
            .patterns = &all, .pattern_count = i % 3 ? 1 : 0,
            .after_seq = i % 3 == 2 ? 0 : 1, /* by the index, or by the log */
            .upto_seq = i % 3 == 2 ? 1000 : 40, .newest = i >= 3,
            .max_count = 100, .max_bytes = 1 << 20,
        };
        struct page *p = shelf_page(&s, &q);

        expect_all_damaged(p);
        EXPECT_INT(p->count, 8);
        page_free(p);
    }
    shelf_sql(&s, "DELETE FROM log WHERE idn = "
                  "(SELECT idn FROM ids WHERE id = 'room/a')");
    for (int newest = 0; newest < 2; newest++) {
        struct page_request q = {
            .ids = ids, .id_count = 1, .upto_seq = 40, .newest = newest,
            .max_count = 100, .max_bytes = 1 << 20,
        };
        struct page *p = shelf_page(&s, &q);

        expect_all_damaged(p);
        EXPECT_INT(p->count, 0);
        EXPECT_INT(p->ids[0].last_seq, 0);
        page_free(p);
    }
    shelf_close(&s);
}

TEST(a_page_that_is_cut_short_tells_no_damage_behind_its_end)
{
    struct slice all = SLICE("room/*");
    struct shelf s;

    store_without_record(&s);
    for (int newest = 0; newest < 2; newest++) {
        struct page_request q = {
            .patterns = &all, .pattern_count = 1, .upto_seq = 40,
            .newest = newest, .max_count = 3, .max_bytes = 1 << 20,
        };
        size_t count = 0;
        bool more = true;

        while (more) {
            struct page *p = shelf_page(&s, &q);

            expect_all_damaged(p);
            count += p->count;
            more = p->more;
            if (newest)
                q.upto_seq = p->after_seq;
            else
                q.after_seq = p->upto_seq;
            page_free(p);
        }
        EXPECT_INT(count, 8);
    }
    shelf_close(&s);
}

/* --- lists --- */

static char *names(struct id_list *l)
{
    static char text[4096];
    size_t len = 0;

    EXPECT_OK(l->rc);
    text[0] = '\0';
    for (size_t i = 0; i < l->count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len,
                                SLICE_FMT " ", SLICE_ARG(l->ids[i].id));
    if (l->more)
        snprintf(text + len, sizeof text - len, "...");
    id_list_free(l);
    return text;
}

TEST(ids_are_listed_in_order_by_pattern_and_after_an_id)
{
    struct shelf s = shelf_init("db");

    shelf_open(&s);
    shelf_put(&s, "room/b", "x");
    shelf_put(&s, "room/a", "x");
    shelf_put(&s, "match/1", "x");
    shelf_put(&s, "zoo", "x");
    shelf_put(&s, "room/c", "x");
    EXPECT_STR(names(shelf_ids(&s, "", "", 10)),
               "match/1 room/a room/b room/c zoo ");
    EXPECT_STR(names(shelf_ids(&s, "room/*", "", 10)),
               "room/a room/b room/c ");
    EXPECT_STR(names(shelf_ids(&s, "room/*", "", 3)),
               "room/a room/b room/c ");
    EXPECT_STR(names(shelf_ids(&s, "room/*", "", 2)), "room/a room/b ...");
    EXPECT_STR(names(shelf_ids(&s, "room/*", "room/b", 2)), "room/c ");
    EXPECT_STR(names(shelf_ids(&s, "room/a", "", 2)), "room/a ");
    EXPECT_STR(names(shelf_ids(&s, "nothing/*", "", 2)), "");
    shelf_close(&s);
}

TEST(an_id_whose_record_cannot_be_read_is_listed_as_that)
{
    struct shelf s = shelf_init("db");
    struct id_list *list;

    shelf_open(&s);
    shelf_put(&s, "a", "x");
    shelf_put(&s, "b", "x");
    shelf_put(&s, "c", "x");
    shelf_sql(&s, "UPDATE ids SET sum = sum + 1 WHERE id = 'b'");
    list = shelf_ids(&s, "", "", 10);
    EXPECT_OK(list->rc);
    EXPECT_INT(list->count, 3);
    EXPECT_SLICE(list->ids[1].id, SLICE("b"));
    EXPECT(list->ids[1].damaged);
    EXPECT_INT(list->ids[1].last_seq, 0);
    EXPECT(!list->ids[0].damaged && !list->ids[2].damaged);
    id_list_free(list);
    shelf_close(&s);
}

/* The last of crowded_store() in byte order. */
static bool match_last(struct slice pattern, struct slice id)
{
    UNUSED(pattern);
    return slice_eq(id, SLICE("crowd/9999"));
}

TEST(a_list_looks_at_so_many_names_and_says_where_to_go_on)
{
    struct shelf s = crowded_store();
    struct id_list *l = shelf_ids(&s, "", "", 1000);
    char after[32];

    EXPECT_INT(l->count, 1000);
    EXPECT_SLICE(l->last, l->ids[999].id);
    id_list_free(l);
    readers_free(s.readers);
    EXPECT_OK(readers_new(&s.readers, s.opt.path, s.loop, 1, match_last));
    l = shelf_ids(&s, "crowd/*", "", 100);
    EXPECT_INT(l->count, 0);
    EXPECT_INT(l->more, true);
    snprintf(after, sizeof after, SLICE_FMT, SLICE_ARG(l->last));
    id_list_free(l);
    l = shelf_ids(&s, "crowd/*", after, 100);
    EXPECT_INT(l->count, 1);
    EXPECT_INT(l->more, false);
    id_list_free(l);
    readers_free(s.readers);
    s.readers = NULL;
    shelf_close(&s);
}

TEST(a_long_list_of_ids_is_complete)
{
    struct shelf s = shelf_init("db");
    struct entry e[300];
    char id[300][24];
    struct id_list *l;

    for (int i = 0; i < 300; i++) {
        snprintf(id[i], sizeof id[i], "room/%03d", i);
        e[i] = shelf_entry(id[i], "x");
    }
    shelf_open(&s);
    EXPECT_OK(shelf_submit(&s, e, 300));
    l = shelf_ids(&s, "room/*", "room/009", 1000);
    EXPECT_INT(l->count, 290);
    for (size_t i = 0; i < l->count; i++)
        EXPECT_SLICE(l->ids[i].id, slice_str(id[i + 10]));
    EXPECT_INT(l->more, false);
    id_list_free(l);
    shelf_close(&s);
}
