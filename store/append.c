#include "store/append.h"

#include "base/err.h"
#include "base/log.h"

/* --- idempotency keys --- */

static int read_first(struct history *h, struct entry *e, sqlite3_stmt *s)
{
    if (db_u64(s, 3) != e->body_hash) {
        e->rc = ERR_CONFLICT;
        return 1;
    }
    e->rec.seq = db_u64(s, 0);
    e->rec.offset = db_u64(s, 1);
    e->rec.ts_ms = db_i64(s, 2);
    e->reached = (uint32_t)db_u64(s, 4);
    e->rc = ERR_EXISTS;
    return epoch_at(h->st[ST_EPOCH_OF], e->rec.seq, e->first_epoch) < 0
               ? ERR_DAMAGED : 1;
}

/* 1: the key was used, e says how it is answered. 0: it is free. */
static int find_first(struct history *h, struct entry *e)
{
    sqlite3_stmt *s = h->st[ST_KEY_GET];
    int rc;

    db_bind_text(s, 1, e->rec.id);
    db_bind_text(s, 2, e->idem);
    rc = db_step(s);
    if (rc > 0)
        rc = read_first(h, e, s);
    sqlite3_reset(s);
    return rc;
}

/* The key of a message that is kept goes with it, see trim.c. */
static int add_key(struct history *h, const struct entry *e)
{
    sqlite3_stmt *s = h->st[ST_KEY_ADD];

    db_bind_text(s, 1, e->rec.id);
    db_bind_text(s, 2, e->idem);
    db_bind_u64(s, 3, e->rec.seq);
    db_bind_u64(s, 4, e->rec.offset);
    db_bind_i64(s, 5, e->rec.ts_ms);
    db_bind_u64(s, 6, e->body_hash);
    if (e->stored)
        sqlite3_bind_null(s, 7);
    else
        db_bind_i64(s, 7, history_key_now(h) + KEY_KEEP_MS);
    db_bind_u64(s, 8, e->reached);
    return db_run(s);
}

/* --- rows --- */

static int set_state(struct history *h, int64_t idn, const struct entry *e)
{
    sqlite3_stmt *s = h->st[ST_STATE_SET];

    db_bind_i64(s, 1, idn);
    db_bind_u64(s, 2, e->rec.offset);
    /* An empty state is a state: not NULL. */
    sqlite3_bind_blob64(s, 3, e->state.len ? (const void *)e->state.ptr : "",
                        e->state.len, SQLITE_STATIC);
    db_bind_u64(s, 4, history_state_sum(e->rec.id, e->rec.offset, e->state));
    return db_run(s);
}

static int add_row(struct history *h, struct entry *e)
{
    sqlite3_stmt *s = h->st[ST_LOG_ADD];
    struct id_state *id;
    int rc = ids_make(h, e->rec.id, &id);

    if (rc < 0)
        return rc;
    e->rec.offset = id->rec.last_offset + 1;
    row_bind(s, &e->rec, id->idn, e->idem.len > 0);
    rc = db_run(s);
    if (rc < 0)
        return rc;
    ids_added(h, id, e->rec.seq, e->rec.ts_ms, record_bytes(&e->rec));
    return e->has_state ? set_state(h, id->idn, e) : 0;
}

static void clear_results(struct entry *e)
{
    e->rec.seq = 0;
    e->rec.offset = 0;
    e->rc = 0;
    e->first_epoch[0] = '\0';
}

/* An id whose row is damaged fails alone; the next start rebuilds the row. */
static int append_row(struct history *h, struct entry *e)
{
    int rc = add_row(h, e);

    if (rc != ERR_DAMAGED || history_met_damage(h))
        return rc;
    h->last_seq--;
    clear_results(e);
    e->rc = ERR_DAMAGED;
    return 0;
}

/* In an attempt behind another, what has its offset from a counter keeps it. */
static int append_passing_one(struct counters *c, struct entry *e)
{
    return e->rec.offset ? 0 : counters_next(c, e->rec.id, &e->rec.offset);
}

static int append_one(struct history *h, struct counters *c, struct entry *e)
{
    int rc = e->idem.len ? find_first(h, e) : 0;

    if (rc != 0)
        return rc < 0 ? rc : 0;
    e->rec.seq = ++h->last_seq;
    rc = e->stored ? append_row(h, e) : append_passing_one(c, e);
    if (rc == 0 && e->idem.len && e->rc == 0)
        rc = add_key(h, e);
    return rc;
}

/* --- the transaction --- */

static bool wants_sync(const struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->entries[i].sync && b->entries[i].stored)
            return true;
    return false;
}

/* Behind a page that cannot be read the transaction takes no write any more:
 * ERR_DAMAGED, and the entry that met it is marked. */
static int append_all(struct history *h, struct counters *c, struct batch *b)
{
    bool misjudged = false;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < b->count; i++) {
        struct entry *e = &b->entries[i];

        if (e->judged && misjudged)
            e->rc = ERR_AGAIN;
        else if (e->rc != ERR_DAMAGED) /* marked by an earlier attempt */
            rc = append_one(h, c, e);
        if (rc == ERR_DAMAGED) {
            clear_results(e);
            e->rc = ERR_DAMAGED;
        }
        misjudged |= e->judged && e->rc != 0;
    }
    return rc;
}

static uint64_t highest_stored(const struct batch *b)
{
    for (size_t i = b->count; i-- > 0;)
        if (b->entries[i].stored && b->entries[i].rc == 0)
            return b->entries[i].rec.seq;
    return 0;
}

static void note_stored(struct history *h, const struct batch *b)
{
    uint64_t seq = highest_stored(b);

    if (seq == 0)
        return;
    h->last_stored = MAX(h->last_stored, seq);
    guard_note(&h->guard, h->meta.life, h->last_stored);
}

static int transaction(struct history *h, struct counters *c,
                       struct batch *b)
{
    uint64_t mark = h->meta.mark;
    bool move = history_mark_low(h, b->count);
    int rc = history_begin(h, move || wants_sync(b));

    if (rc < 0)
        return rc;
    if (move)
        rc = history_mark_move(h, b->count);
    if (rc == 0)
        rc = append_all(h, c, b);
    if (rc < 0)
        history_rollback(h);
    else if ((rc = history_commit(h)) < 0)
        h->last_unsure = h->last_seq;
    if (rc < 0)
        h->meta.mark = mark;
    else
        note_stored(h, b);
    return rc;
}

/* The attempt has failed: its numbers are nobody's. But those of a commit may
 * turn out to be on the disk, when somebody opens the file again. */
static void give_back_numbers(struct history *h, uint64_t last_seq)
{
    h->last_seq = MAX(last_seq, h->last_unsure);
}

static size_t marked(const struct batch *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->count; i++)
        n += b->entries[i].rc == ERR_DAMAGED;
    return n;
}

/* As in front of the first attempt, but for those that are marked and for the
 * offsets that counters have given. */
static void take_back(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        struct entry *e = &b->entries[i];
        uint64_t offset = e->stored || e->rc ? 0 : e->rec.offset;

        if (e->rc == ERR_DAMAGED)
            continue;
        clear_results(e);
        e->rec.offset = offset;
    }
}

/* Who meets a page that cannot be read fails alone: the others have another
 * attempt without him. Each marks one more; when the commit met the page, the
 * next reads the rows of its ids again, and finds whose it is. */
static int attempts(struct history *h, struct counters *c, struct batch *b)
{
    bool blind = false;

    for (;;) {
        uint64_t last_seq = h->last_seq;
        size_t before = marked(b);
        int rc = h->conn ? 0 : history_reopen(h);

        if (rc == 0)
            rc = transaction(h, c, b);
        if (rc != ERR_DAMAGED || (blind && marked(b) == before))
            return rc;
        blind = marked(b) == before;
        give_back_numbers(h, last_seq);
        take_back(b);
    }
}

/* --- after a failed one: what is not stored goes on --- */

/* Was the first publication under e's key an entry in front of it? */
static const struct entry *first_in_batch(const struct batch *b,
                                          const struct entry *e)
{
    for (const struct entry *f = b->entries; f < e; f++)
        if (slice_eq(f->idem, e->idem) && slice_eq(f->rec.id, e->rec.id))
            return f;
    return NULL;
}

static bool answered(const struct batch *b, const struct entry *e)
{
    const struct entry *first;

    if (e->rc != ERR_EXISTS && e->rc != ERR_CONFLICT)
        return false;
    first = first_in_batch(b, e);
    return !first || !first->stored;
}

static int number(struct history *h, struct counters *c, struct entry *e)
{
    int rc = 0;

    if (e->rec.offset == 0)
        rc = counters_next(c, e->rec.id, &e->rec.offset);
    if (rc == 0 && e->rec.seq == 0) {
        if (h->last_seq >= MIN(h->meta.mark, SEQ_MAX))
            return ERR_FULL;
        e->rec.seq = ++h->last_seq;
    }
    return rc;
}

/* Holes in seq are nothing to anybody, so what has a number keeps it; if none
 * has, the batch has taken none. */
static void fail_batch(struct history *h, struct counters *c,
                       struct batch *b, uint64_t last_seq)
{
    bool used = false;

    if (history_mark_low(h, b->count) && history_mark_guard(h) < 0)
        log_error("store.mark", "error=no_space left=%llu",
                  (unsigned long long)(h->meta.mark - h->last_seq));
    for (size_t i = 0; i < b->count; i++) {
        struct entry *e = &b->entries[i];

        if (answered(b, e))
            continue;
        e->rc = e->stored ? b->rc : number(h, c, e);
        if (e->rc < 0) {
            e->rec.seq = 0;
            e->rec.offset = 0;
        } else {
            used = true;
        }
    }
    if (!used)
        give_back_numbers(h, last_seq);
}

static bool has_stored(const struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->entries[i].stored)
            return true;
    return false;
}

void append_batch(struct history *h, struct counters *c, struct batch *b)
{
    uint64_t last_seq;

    for (size_t i = 0; i < b->count; i++)
        clear_results(&b->entries[i]);
    b->rc = h->only_trim && has_stored(b) ? ERR_FULL
            : h->conn ? 0 : history_reopen(h);
    last_seq = h->last_seq = MAX(h->last_seq, h->last_stored);
    if (b->rc == 0)
        b->rc = attempts(h, c, b);
    if (b->rc < 0)
        fail_batch(h, c, b, last_seq);
}

/* --- without the store --- */

bool append_is_passing(const struct history *h, const struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->entries[i].stored || b->entries[i].idem.len)
            return false;
    return !history_mark_low(h, b->count);
}

void append_passing(struct history *h, struct counters *c, struct batch *b)
{
    b->rc = 0;
    for (size_t i = 0; i < b->count; i++) {
        clear_results(&b->entries[i]);
        b->entries[i].rc = number(h, c, &b->entries[i]);
    }
}
