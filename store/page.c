/* A page is built in phases, each in as many slices as it takes:
 *
 *   names -> (walk) -> choose -> fetch -+-> infos -> finished
 *       \-----------> scan -------------+
 *
 * choose goes through the index, id by id, and keeps the first so many seqs of
 * all; fetch reads those rows. scan reads the log from one seq to the other and
 * takes what is wanted: cheaper when that stretch is short for so many ids.
 * walk finds out which ids match the patterns, unless the stretch is short or
 * these turn out to be very many: then scan tries them row by row, and a page's
 * memory is bounded whatever is asked for. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "store/arena.h"
#include "store/readjob.h"

enum {
    MERGE_ALWAYS = 64,   /* so few ids are never looked for by a scan */
    SCAN_PER_ID = 8,     /* log rows that cost as much as one id's index */
    WALK_STEP = 64,
    WANTED_MAX = 1 << 14, /* ids that are remembered for a pattern's sake */
    COST_SKIPPED = 2,
};

enum phase { NAMES, WALK, CHOOSE, FETCH, SCAN, INFOS, FINISHED };

/* An id that was asked for, or was looked at in a scan. */
struct wanted {
    struct map_node by_idn;
    struct wanted *next;     /* all of them, in the order they were found */
    int64_t idn;
    struct slice id;
    bool yes;                /* else only known not to match */
    bool broken;             /* its index or its record could not be read */
    bool torn;               /* its index, from its last row here on */
    struct id_record info;   /* after the messages were read */
    uint64_t taken_offset, taken_seq; /* of its row that was taken last; or 0 */
    uint64_t seen_offset, seen_seq;
};

struct candidate {
    uint64_t key; /* grows in the order of the search */
    struct wanted *id;
};

struct row {
    struct record rec;
    struct wanted *id;
    bool damaged;
};

struct page_box {
    struct page page;
    struct arena arena;
};

struct page_job {
    struct read_job job;
    struct page_box *box;
    page_done *done;
    void *arg;
    struct page_request q; /* slices in the box's arena */
    enum phase phase;
    size_t next;           /* place within the phase */
    struct buf walked;     /* last id that walk has seen */
    uint64_t names_walked;
    bool unscannable;      /* a page of the log could not be read */
    struct map by_idn;
    struct wanted *first, **last, *at;
    size_t wanted_count;
    struct wanted **named; /* per id of the request; NULL: no history */
    struct candidate *heap; /* max_count + 1, largest key on top */
    size_t heap_count;
    struct row *rows;      /* max_count, in the order of the search */
    size_t row_count, bytes;
    struct damage *damaged;
    size_t damaged_count, damaged_room;
    struct trimmed *trimmed;
    size_t trimmed_count, trimmed_room;
    uint64_t after, upto;  /* complete for after < seq <= upto */
    bool more;
};

void page_free(struct page *p)
{
    struct page_box *box;

    if (!p)
        return;
    box = CONTAINER_OF(p, struct page_box, page);
    arena_fini(&box->arena);
    free(box);
}

/* --- the order of the search: oldest first, or newest first --- */

static uint64_t key_of(const struct page_job *p, uint64_t seq)
{
    return p->q.newest ? UINT64_MAX - seq : seq;
}

static uint64_t seq_of(const struct page_job *p, uint64_t key)
{
    return p->q.newest ? UINT64_MAX - key : key;
}

/* There is more behind this message, which is the last one taken. */
static void end_at(struct page_job *p, uint64_t seq)
{
    p->more = true;
    if (p->q.newest)
        p->after = seq - 1;
    else
        p->upto = seq;
}

/* --- wanted ids --- */

static bool has_idn(const struct map_node *n, const void *key)
{
    return CONTAINER_OF(n, const struct wanted, by_idn)->idn
           == *(const int64_t *)key;
}

static struct wanted *wanted_find(const struct page_job *p, int64_t idn)
{
    struct map_node *n = map_find(
        &p->by_idn, hash_bytes(slice_make(&idn, sizeof idn)), has_idn, &idn);

    return n ? CONTAINER_OF(n, struct wanted, by_idn) : NULL;
}

static int wanted_add(struct page_job *p, int64_t idn, struct slice id,
                      bool yes, struct wanted **ret)
{
    struct wanted *w = wanted_find(p, idn);

    if (!w) {
        w = arena_take(&p->box->arena, sizeof *w);
        if (!w)
            return ERR_NOMEM;
        *w = (struct wanted){ .idn = idn };
        if (arena_copy(&p->box->arena, id, &w->id) < 0
            || map_add(&p->by_idn, &w->by_idn,
                       hash_bytes(slice_make(&idn, sizeof idn))) < 0)
            return ERR_NOMEM;
        *p->last = w;
        p->last = &w->next;
    }
    p->wanted_count += yes && !w->yes;
    w->yes = w->yes || yes;
    *ret = w;
    return 0;
}

static bool matches(const struct page_job *p, struct slice id)
{
    for (size_t i = 0; i < p->q.pattern_count; i++)
        if (p->job.match(p->q.patterns[i], id))
            return true;
    return false;
}

/* The id behind a row of the log, tried against the patterns once. */
static int wanted_of(struct page_job *p, struct read_conn *c, int64_t idn,
                     struct wanted **ret)
{
    sqlite3_stmt *s = c->st[RD_ID_OF];
    struct slice id;
    bool yes;
    int rc;

    *ret = wanted_find(p, idn);
    if (*ret || p->q.pattern_count == 0)
        return 0;
    db_bind_i64(s, 1, idn);
    rc = db_step(s);
    if (rc <= 0)
        return rc;
    id = db_bytes(s, 1);
    yes = matches(p, id);
    rc = yes || map_count(&p->by_idn) < WANTED_MAX
             ? wanted_add(p, idn, id, yes, ret) : 0;
    sqlite3_reset(s);
    return rc;
}

/* --- what was read --- */

static int note_damage(struct page_job *p, const struct damage *d)
{
    if (p->damaged_count == p->damaged_room) {
        size_t room = p->damaged_room ? 2 * p->damaged_room : 8;
        struct damage *more = realloc(p->damaged, room * sizeof *more);

        if (!more)
            return ERR_NOMEM;
        p->damaged = more;
        p->damaged_room = room;
    }
    p->damaged[p->damaged_count++] = *d;
    return 0;
}

static int copy_record(struct page_job *p, struct wanted *w,
                       const struct record *r, struct record *ret)
{
    struct arena *a = &p->box->arena;

    *ret = *r;
    ret->id = w->id;
    if (arena_copy(a, r->from, &ret->from) < 0
        || arena_copy(a, r->kind, &ret->kind) < 0
        || arena_copy(a, r->key, &ret->key) < 0
        || arena_copy(a, r->data, &ret->data) < 0)
        return ERR_NOMEM;
    return 0;
}

/* What the page lacks of it cannot be known: all of it may be. */
static int mark_broken(struct page_job *p, struct wanted *w)
{
    struct damage d = {
        .id = w->id,
        .first_seq = p->q.after_seq + 1,
        .last_seq = p->q.upto_seq,
    };

    if (w->broken)
        return 0;
    w->broken = true;
    return note_damage(p, &d);
}

/* Empty when it is gone, or cannot be read: then w is broken. */
static int read_record(struct page_job *p, struct read_conn *c,
                       struct wanted *w, struct id_record *ret)
{
    sqlite3_stmt *s = c->st[RD_ID_OF];
    int64_t unused;
    int rc;

    db_bind_i64(s, 1, w->idn);
    rc = db_step(s);
    if (rc > 0)
        rc = ids_read(s, ret, &unused, &unused);
    if (rc != 0)
        *ret = (struct id_record){ .last_seq = 0 };
    ret->id = w->id;
    sqlite3_reset(s);
    return rc == ERR_DAMAGED ? mark_broken(p, w) : rc;
}

static int note_trimmed(struct page_job *p, const struct trimmed *t)
{
    if (p->trimmed_count == p->trimmed_room) {
        size_t room = p->trimmed_room ? 2 * p->trimmed_room : 8;
        struct trimmed *more = realloc(p->trimmed, room * sizeof *more);

        if (!more)
            return ERR_NOMEM;
        p->trimmed = more;
        p->trimmed_room = room;
    }
    p->trimmed[p->trimmed_count++] = *t;
    return 0;
}

/* What trimming took of w behind its last row, by its record; `before`: the
 * offset of its next row, or nothing is behind it. */
static int compare_trimmed(struct page_job *p, const struct wanted *w,
                           const struct id_record *now, uint64_t before)
{
    const struct trimmed t = {
        .id = w->id,
        .from = w->taken_offset ? w->taken_offset + 1 : 0,
        .to = MIN(now->trimmed_offset, before - 1),
        .behind_seq = w->taken_offset ? w->taken_seq : p->q.after_seq,
        .last_seq = now->trimmed_seq,
    };

    if (t.to <= w->taken_offset || t.last_seq <= t.behind_seq)
        return 0;
    return note_trimmed(p, &t);
}

/* This row of w is taken, in the transaction that it was read in. Offsets are
 * dense, so only behind a hole is the record asked. */
static int take(struct page_job *p, struct read_conn *c, struct wanted *w,
                uint64_t offset, uint64_t seq)
{
    struct id_record now;
    int rc = 0;

    if (!p->q.newest && offset > w->taken_offset + 1) {
        rc = read_record(p, c, w, &now);
        if (rc == 0)
            rc = compare_trimmed(p, w, &now, offset);
    }
    if (offset) {
        w->taken_offset = offset;
        w->taken_seq = seq;
    }
    return rc;
}

/* Offsets are dense: how many come after it tells which one it is. */
static int offset_of(struct page_job *p, struct read_conn *c,
                     struct wanted *w, uint64_t seq, uint64_t *ret)
{
    sqlite3_stmt *s = c->st[RD_BEHIND];
    uint64_t behind;
    int rc = read_record(p, c, w, &w->info);

    if (rc < 0)
        return rc;
    db_bind_i64(s, 1, w->idn);
    db_bind_u64(s, 2, seq);
    rc = db_step(s);
    behind = rc > 0 ? db_u64(s, 0) : UINT64_MAX;
    sqlite3_reset(s);
    *ret = behind < w->info.last_offset ? w->info.last_offset - behind : 0;
    return 0;
}

static int add_damaged(struct page_job *p, struct read_conn *c,
                       struct wanted *w, uint64_t seq)
{
    struct row *row = &p->rows[p->row_count];
    int rc;

    *row = (struct row){ .id = w, .damaged = true, .rec.seq = seq };
    p->row_count++;
    rc = offset_of(p, c, w, seq, &row->rec.offset);
    return rc < 0 ? rc : take(p, c, w, row->rec.offset, seq);
}

/* s stands on the row. 1: taken. 0: the page is full without it. */
static int add_row(struct page_job *p, struct read_conn *c, sqlite3_stmt *s,
                   struct wanted *w)
{
    struct row *row = &p->rows[p->row_count];
    uint64_t seq = db_u64(s, 0);
    struct record r;
    size_t bytes;
    int rc;

    if (p->row_count == p->q.max_count)
        return 0;
    if (row_read(s, w->id, &r) < 0) {
        rc = add_damaged(p, c, w, seq);
        return rc < 0 ? rc : 1;
    }
    bytes = record_bytes(&r);
    if (p->row_count > 0 && p->bytes + bytes > p->q.max_bytes)
        return 0;
    *row = (struct row){ .id = w };
    rc = copy_record(p, w, &r, &row->rec);
    if (rc == 0)
        rc = take(p, c, w, r.offset, r.seq);
    if (rc < 0)
        return rc;
    p->bytes += bytes;
    p->row_count++;
    c->found++;
    return 1;
}

/* --- phase: names --- */

static uint64_t stretch_of(const struct page_job *p)
{
    return p->q.upto_seq - p->q.after_seq;
}

static enum phase way_to_rows(const struct page_job *p)
{
    uint64_t stretch = stretch_of(p);

    if (p->wanted_count == 0)
        return INFOS;
    if (p->wanted_count > MERGE_ALWAYS
        && stretch <= p->wanted_count * SCAN_PER_ID)
        return SCAN;
    return CHOOSE;
}

static void go(struct page_job *p, enum phase phase)
{
    p->phase = phase;
    p->next = 0;
    p->at = p->first;
}

/* The store does not know the id, and may have forgotten it: what that took of
 * it cannot be told, only up to where. */
static int look_for_forgotten(struct page_job *p, struct read_conn *c,
                              struct slice id)
{
    sqlite3_stmt *s = c->st[RD_FORGOTTEN];
    struct trimmed t = {.id = id, .behind_seq = p->q.after_seq};
    int rc;

    if (p->q.newest || p->q.after_seq == 0)
        return 0;
    rc = db_step(s);
    if (rc > 0)
        t.last_seq = db_u64(s, 0);
    sqlite3_reset(s);
    if (rc < 0 || t.last_seq <= t.behind_seq)
        return MIN(rc, 0);
    return note_trimmed(p, &t);
}

static int find_name(struct page_job *p, struct read_conn *c, size_t i)
{
    sqlite3_stmt *s = c->st[RD_ID];
    int rc;

    db_bind_text(s, 1, p->q.ids[i]);
    rc = db_step(s);
    if (rc > 0)
        rc = wanted_add(p, db_i64(s, 0), db_bytes(s, 1), true, &p->named[i]);
    else if (rc == 0)
        rc = look_for_forgotten(p, c, p->q.ids[i]);
    sqlite3_reset(s);
    return rc;
}

static int phase_names(struct page_job *p, struct read_conn *c)
{
    while (p->next < p->q.id_count) {
        int rc = find_name(p, c, p->next);

        if (rc < 0)
            return rc;
        p->next++;
        if (read_conn_spent(c, COST_LOOKUP))
            return 1;
    }
    if (p->q.pattern_count == 0)
        go(p, way_to_rows(p));
    else
        go(p, stretch_of(p) <= WALK_STEP ? SCAN : WALK);
    return 0;
}

/* --- phase: walk --- */

static int walk_some(struct page_job *p, struct slice pattern,
                     sqlite3_stmt *s, bool *end)
{
    struct slice prefix = pattern_prefix(pattern), id;
    struct wanted *w;
    int found = 0, rc = db_step(s);

    for (; rc > 0; rc = db_step(s)) {
        id = db_bytes(s, 1);
        if (!slice_starts(id, prefix))
            break;
        found++;
        if (slice_eq(id, buf_slice(&p->walked)))
            continue;
        p->names_walked++;
        buf_reset(&p->walked);
        buf_add(&p->walked, id);
        rc = p->walked.failed ? ERR_NOMEM : 0;
        if (rc == 0 && p->job.match(pattern, id))
            rc = wanted_add(p, db_i64(s, 0), id, true, &w);
        if (rc < 0)
            break;
    }
    *end = found < WALK_STEP;
    return MIN(rc, 0);
}

/* The stretch of the log is shorter than the list of names, or than what may
 * be remembered of these. */
static bool too_far(const struct page_job *p)
{
    return !p->unscannable &&
           (p->names_walked > stretch_of(p) ||
            p->wanted_count > p->q.id_count + WANTED_MAX);
}

static int phase_walk(struct page_job *p, struct read_conn *c)
{
    sqlite3_stmt *s = c->st[RD_IDS];
    bool end;

    while (p->next < p->q.pattern_count) {
        struct slice pattern = p->q.patterns[p->next];
        int rc;

        db_bind_text(s, 1, names_from(pattern, buf_slice(&p->walked)));
        db_bind_i64(s, 2, WALK_STEP);
        rc = walk_some(p, pattern, s, &end);
        sqlite3_reset(s);
        if (rc < 0)
            return rc;
        if (too_far(p)) {
            go(p, SCAN);
            return 1;
        }
        if (end) {
            buf_reset(&p->walked);
            p->next++;
        }
        if (read_conn_spent(c, WALK_STEP / NAMES_A_LOOKUP * COST_LOOKUP))
            return 1;
    }
    go(p, way_to_rows(p));
    return 0;
}

/* --- phase: choose --- */

static void sift_down(struct candidate *heap, size_t count, size_t i)
{
    for (;;) {
        size_t largest = i, left = 2 * i + 1, right = left + 1;
        struct candidate swap = heap[i];

        if (left < count && heap[left].key > heap[largest].key)
            largest = left;
        if (right < count && heap[right].key > heap[largest].key)
            largest = right;
        if (largest == i)
            return;
        heap[i] = heap[largest];
        heap[largest] = swap;
        i = largest;
    }
}

static void sift_up(struct candidate *heap, size_t i)
{
    while (i > 0 && heap[(i - 1) / 2].key < heap[i].key) {
        struct candidate swap = heap[i];

        heap[i] = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = swap;
        i = (i - 1) / 2;
    }
}

/* Keeps one candidate more than the page takes: so it knows of "more". */
static bool heap_offer(struct page_job *p, struct candidate new)
{
    if (p->heap_count <= p->q.max_count) {
        p->heap[p->heap_count] = new;
        sift_up(p->heap, p->heap_count++);
        return true;
    }
    if (new.key >= p->heap[0].key)
        return false;
    p->heap[0] = new;
    sift_down(p->heap, p->heap_count, 0);
    return true;
}

static int choose_from(struct page_job *p, struct read_conn *c,
                       struct wanted *w, unsigned *steps)
{
    sqlite3_stmt *s = c->st[p->q.newest ? RD_SEQS_BACK : RD_SEQS];
    int rc;

    db_bind_i64(s, 1, w->idn);
    db_bind_u64(s, 2, p->q.after_seq);
    db_bind_u64(s, 3, p->q.upto_seq);
    db_bind_u64(s, 4, p->q.max_count + 1);
    for (rc = db_step(s); rc > 0; rc = db_step(s)) {
        struct candidate new = { key_of(p, db_u64(s, 0)), w };

        ++*steps;
        if (!heap_offer(p, new))
            break;
    }
    sqlite3_reset(s);
    return MIN(rc, 0);
}

static int by_key(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    return x->key < y->key ? -1 : x->key > y->key;
}

static int phase_choose(struct page_job *p, struct read_conn *c)
{
    while (p->at) {
        struct wanted *w = p->at;
        unsigned steps = 1;
        int rc = w->yes ? choose_from(p, c, w, &steps) : 0;

        if (rc == ERR_DAMAGED && p->q.newest)
            rc = mark_broken(p, w);
        else if (rc == ERR_DAMAGED)
            rc = 0, w->torn = true;
        if (rc < 0)
            return rc;
        p->at = w->next;
        if (read_conn_spent(c, steps * COST_LOOKUP))
            return 1;
    }
    qsort(p->heap, p->heap_count, sizeof *p->heap, by_key);
    go(p, FETCH);
    return 0;
}

/* --- phase: fetch --- */

/* 1: taken, or gone meanwhile. 0: the page is full. */
static int fetch_one(struct page_job *p, struct read_conn *c,
                     const struct candidate *found)
{
    sqlite3_stmt *s = c->st[RD_ROW];
    uint64_t seq = seq_of(p, found->key);
    int rc;

    db_bind_u64(s, 1, seq);
    rc = db_step(s);
    if (rc > 0)
        rc = add_row(p, c, s, found->id);
    else if (rc == 0)
        rc = 1;
    else if (rc == ERR_DAMAGED)
        rc = add_damaged(p, c, found->id, seq) < 0 ? ERR_NOMEM : 1;
    sqlite3_reset(s);
    return rc;
}

static int phase_fetch(struct page_job *p, struct read_conn *c)
{
    size_t count = MIN(p->heap_count, p->q.max_count);
    bool full = false;

    while (p->next < count && !full) {
        int rc = fetch_one(p, c, &p->heap[p->next]);

        if (rc < 0)
            return rc;
        full = rc == 0;
        p->next += !full;
        if (read_conn_spent(c, COST_ROW) && !full)
            return 1;
    }
    if (p->next < p->heap_count)
        end_at(p, seq_of(p, p->heap[p->next - 1].key));
    go(p, INFOS);
    return 0;
}

/* --- phase: scan --- */

static void scan_bind(const struct page_job *p, sqlite3_stmt *s)
{
    db_bind_u64(s, 1, p->q.newest ? p->q.after_seq : p->after);
    db_bind_u64(s, 2, p->q.newest ? p->upto : p->q.upto_seq);
}

/* Until it is finished, after (upto) is where the scan stands. */
static void scan_passed(struct page_job *p, uint64_t seq)
{
    if (p->q.newest)
        p->upto = seq - 1;
    else
        p->after = seq;
}

static void scan_end(struct page_job *p)
{
    p->after = p->q.after_seq;
    p->upto = p->q.upto_seq;
    if (p->more)
        end_at(p, p->rows[p->row_count - 1].rec.seq);
    go(p, INFOS);
}

/* 1: on to the next. 0: the page is full. */
static int scan_row(struct page_job *p, struct read_conn *c, sqlite3_stmt *s,
                    unsigned *cost)
{
    struct wanted *w;
    int rc = wanted_of(p, c, row_idn(s), &w);

    *cost = COST_SKIPPED;
    if (rc < 0)
        return rc;
    if (!w || !w->yes)
        return 1;
    *cost = COST_ROW;
    return add_row(p, c, s, w);
}

/* A page of the table that cannot be read ends a scan; the index still knows
 * what was there. */
static int scan_give_up(struct page_job *p)
{
    p->row_count = 0;
    p->bytes = 0;
    p->trimmed_count = 0;
    for (struct wanted *w = p->first; w; w = w->next)
        w->taken_offset = w->taken_seq = 0;
    p->after = p->q.after_seq;
    p->upto = p->q.upto_seq;
    p->unscannable = true;
    buf_reset(&p->walked);
    go(p, p->q.pattern_count ? WALK : CHOOSE);
    return 0;
}

static int phase_scan(struct page_job *p, struct read_conn *c)
{
    sqlite3_stmt *s = c->st[p->q.newest ? RD_SCAN_BACK : RD_SCAN];
    unsigned cost;
    int rc;

    scan_bind(p, s);
    for (rc = db_step(s); rc > 0; rc = db_step(s)) {
        rc = scan_row(p, c, s, &cost);
        if (rc <= 0)
            break;
        scan_passed(p, db_u64(s, 0));
        if (read_conn_spent(c, cost)) {
            sqlite3_reset(s);
            return 1;
        }
    }
    p->more = rc == 0 && sqlite3_stmt_busy(s);
    sqlite3_reset(s);
    if (rc == ERR_DAMAGED)
        return scan_give_up(p);
    if (rc == 0)
        scan_end(p);
    return rc;
}

/* --- phase: infos --- */

static int look_at_end(struct page_job *p, struct read_conn *c,
                       struct wanted *w)
{
    int rc = w->yes ? read_record(p, c, w, &w->info) : 0;

    if (rc < 0 || !w->yes || p->q.newest)
        return rc;
    return compare_trimmed(p, w, &w->info, UINT64_MAX);
}

static int phase_infos(struct page_job *p, struct read_conn *c)
{
    while (p->at) {
        int rc = look_at_end(p, c, p->at);

        if (rc < 0)
            return rc;
        p->at = p->at->next;
        if (read_conn_spent(c, COST_LOOKUP))
            return 1;
    }
    go(p, FINISHED);
    return 0;
}

/* --- the answer --- */

/* The offset that must come next in this page; 0: cannot be told. */
static uint64_t expected(const struct page_job *p, const struct wanted *w)
{
    if (w->seen_offset)
        return MAX(w->seen_offset, w->info.trimmed_offset) + 1;
    return p->after <= w->info.trimmed_seq || p->after == 0
               ? w->info.trimmed_offset + 1 : 0;
}

static int note_hole(struct page_job *p, const struct wanted *w,
                     uint64_t first_offset, uint64_t last_offset,
                     uint64_t last_seq)
{
    struct damage d = {
        .id = w->id,
        .first_offset = first_offset,
        .last_offset = last_offset,
        .first_seq = MAX(w->seen_seq, p->after) + 1,
        .last_seq = last_seq,
    };

    return note_damage(p, &d);
}

/* Rows that are not where the offsets say they must be are damage as well. */
static int check_row(struct page_job *p, const struct row *row)
{
    struct wanted *w = row->id;
    const struct record *r = &row->rec;
    uint64_t want = expected(p, w);
    int rc = 0;

    if (w->info.last_seq && !w->broken && want && r->offset > want)
        rc = note_hole(p, w, want, r->offset - 1, r->seq - 1);
    if (rc == 0 && row->damaged) {
        struct damage d = { w->id, r->offset, r->offset, r->seq, r->seq };

        rc = note_damage(p, &d);
    }
    w->seen_offset = r->offset ? r->offset : w->seen_offset;
    w->seen_seq = r->seq;
    return rc;
}

/* Has the page the last message that the id is known to have? Behind the rows of
 * one that is torn nothing is known: that stands behind them. */
static int check_tail(struct page_job *p, const struct wanted *w)
{
    const struct id_record *i = &w->info;

    if (w->torn)
        return w->seen_seq < p->upto ? note_hole(p, w, 0, 0, p->upto) : 0;
    if (!w->yes || w->broken || i->count == 0 || i->last_seq <= p->after
        || i->last_seq > p->upto || w->seen_seq >= i->last_seq)
        return 0;
    return note_hole(p, w, expected(p, w), i->last_offset, i->last_seq);
}

static int check_all(struct page_job *p)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < p->row_count; i++)
        rc = check_row(p, &p->rows[i]);
    for (struct wanted *w = p->first; rc == 0 && w; w = w->next)
        rc = check_tail(p, w);
    return rc;
}

static void reverse(struct row *rows, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct row swap = rows[i];

        rows[i] = rows[count - 1 - i];
        rows[count - 1 - i] = swap;
    }
}

static int by_first_seq(const void *a, const void *b)
{
    const struct damage *x = a, *y = b;

    return x->first_seq < y->first_seq ? -1 : x->first_seq > y->first_seq;
}

/* A page that is cut short says nothing of what the next one may well have. */
static void clip_damage(struct page_job *p)
{
    for (size_t i = 0; i < p->damaged_count; i++) {
        struct damage *d = &p->damaged[i];

        d->first_seq = MAX(d->first_seq, p->after + 1);
        d->last_seq = MIN(d->last_seq, p->upto);
    }
}

static int give_damage(struct page_job *p, struct page *page)
{
    size_t size = p->damaged_count * sizeof *p->damaged;

    if (size == 0)
        return 0;
    clip_damage(p);
    qsort(p->damaged, p->damaged_count, sizeof *p->damaged, by_first_seq);
    page->damaged = arena_take(&p->box->arena, size);
    if (!page->damaged)
        return ERR_NOMEM;
    memcpy(page->damaged, p->damaged, size);
    page->damaged_count = p->damaged_count;
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct trimmed *x = a, *y = b;

    return x->behind_seq < y->behind_seq ? -1 : x->behind_seq > y->behind_seq;
}

static int give_trimmed(struct page_job *p, struct page *page)
{
    size_t size = p->trimmed_count * sizeof *p->trimmed;

    if (size == 0)
        return 0;
    qsort(p->trimmed, p->trimmed_count, sizeof *p->trimmed, by_place);
    page->trimmed = arena_take(&p->box->arena, size);
    if (!page->trimmed)
        return ERR_NOMEM;
    memcpy(page->trimmed, p->trimmed, size);
    page->trimmed_count = p->trimmed_count;
    return 0;
}

static int give_rows(struct page_job *p, struct page *page)
{
    page->records = arena_take(&p->box->arena,
                               p->row_count * sizeof *page->records);
    if (!page->records)
        return ERR_NOMEM;
    for (size_t i = 0; i < p->row_count; i++)
        if (!p->rows[i].damaged)
            page->records[page->count++] = p->rows[i].rec;
    return 0;
}

static int give_infos(struct page_job *p, struct page *page)
{
    page->ids = arena_take(&p->box->arena,
                           p->q.id_count * sizeof *page->ids);
    if (!page->ids)
        return ERR_NOMEM;
    page->id_count = p->q.id_count;
    for (size_t i = 0; i < p->q.id_count; i++) {
        page->ids[i] = (struct id_record){ .id = p->q.ids[i] };
        if (p->named[i])
            page->ids[i] = p->named[i]->info;
    }
    return 0;
}

static int finish(struct page_job *p)
{
    struct page *page = &p->box->page;
    int rc;

    if (p->q.newest)
        reverse(p->rows, p->row_count);
    rc = check_all(p);
    if (rc == 0)
        rc = give_damage(p, page);
    if (rc == 0)
        rc = give_trimmed(p, page);
    if (rc == 0)
        rc = give_rows(p, page);
    if (rc == 0)
        rc = give_infos(p, page);
    page->after_seq = p->after;
    page->upto_seq = p->upto;
    page->more = p->more;
    return rc;
}

/* --- the job --- */

static int (*const phases[])(struct page_job *, struct read_conn *) = {
    [NAMES] = phase_names, [WALK] = phase_walk,   [CHOOSE] = phase_choose,
    [FETCH] = phase_fetch, [SCAN] = phase_scan,   [INFOS] = phase_infos,
};

static struct page_job *page_job(struct read_job *j)
{
    return CONTAINER_OF(j, struct page_job, job);
}

static int slice(struct read_job *j, struct read_conn *c)
{
    struct page_job *p = page_job(j);
    int rc = 0;

    while (rc == 0 && p->phase != FINISHED)
        rc = phases[p->phase](p, c);
    return rc == 0 ? finish(p) : rc;
}

static void failed(struct read_job *j, int rc)
{
    page_job(j)->box->page = (struct page){ .rc = rc };
}

static void deliver(struct read_job *j)
{
    struct page_job *p = page_job(j);
    struct page *page = &p->box->page;

    p->box = NULL;
    p->done(p->arg, page);
}

static void destroy(struct read_job *j)
{
    struct page_job *p = page_job(j);

    map_fini(&p->by_idn);
    if (p->box)
        page_free(&p->box->page);
    free(p->named);
    free(p->heap);
    free(p->rows);
    free(p->damaged);
    free(p->trimmed);
    buf_fini(&p->walked);
    free(p);
}

static int copy_slices(struct arena *a, const struct slice *from, size_t n,
                       const struct slice **ret)
{
    struct slice *to = arena_take(a, n * sizeof *to);

    if (!to)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        if (arena_copy(a, from[i], &to[i]) < 0)
            return ERR_NOMEM;
    *ret = to;
    return 0;
}

static int allocate(struct page_job *p, const struct page_request *q)
{
    struct arena *a;
    int rc = ERR_NOMEM;

    p->box = calloc(1, sizeof *p->box);
    p->named = calloc(q->id_count + 1, sizeof *p->named);
    p->heap = calloc(q->max_count + 1, sizeof *p->heap);
    p->rows = calloc(q->max_count, sizeof *p->rows);
    if (!p->box || !p->named || !p->heap || !p->rows)
        return rc;
    a = &p->box->arena;
    rc = copy_slices(a, q->ids, q->id_count, &p->q.ids);
    if (rc == 0)
        rc = copy_slices(a, q->patterns, q->pattern_count, &p->q.patterns);
    return rc;
}

int page_job_new(struct read_job **ret, const struct page_request *q,
                 page_done *done, void *arg)
{
    struct page_job *p;

    if (q->id_count > PAGE_IDS_MAX || q->after_seq > q->upto_seq
        || q->max_count == 0 || q->max_count > PAGE_COUNT_MAX
        || q->upto_seq > SEQ_MAX)
        return ERR_USAGE;
    p = calloc(1, sizeof *p);
    if (!p)
        return ERR_NOMEM;
    p->job = (struct read_job){
        .slice = slice, .failed = failed, .deliver = deliver,
        .destroy = destroy,
    };
    list_init(&p->job.node);
    p->job.searches = q->pattern_count > 0;
    map_init(&p->by_idn);
    p->last = &p->first;
    p->q = *q;
    p->after = q->after_seq;
    p->upto = q->upto_seq;
    p->done = done;
    p->arg = arg;
    if (allocate(p, q) < 0) {
        destroy(&p->job);
        return ERR_NOMEM;
    }
    *ret = &p->job;
    return 0;
}
