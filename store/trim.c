#include "store/trim.h"

#include "base/err.h"
#include "base/log.h"

enum {
    TRIM_KEYS = 64,
    ASK_AGAIN_MS = 3600 * 1000, /* for an id whose answer got lost */
};

struct victim {
    uint64_t seq, offset, size;
    int64_t ts_ms;
    bool keyed;
};

/* --- one id --- */

/* Would this row, with those in front of it gone, have to go as well? */
static bool condemned(const struct id_state *s, const struct victim *v,
                      uint64_t count, uint64_t bytes, int64_t now_ms)
{
    const struct keep *k = &s->keep;

    return (k->max_count && count > k->max_count)
           || (k->max_bytes && bytes > k->max_bytes)
           || (k->max_age_ms && v->ts_ms <= now_ms - k->max_age_ms);
}

/* The oldest rows that have to go, and the ts of the first that stays. */
static int choose(struct history *h, const struct id_state *s,
                  int64_t now_ms, struct victim *v, size_t *count,
                  int64_t *oldest_ms)
{
    sqlite3_stmt *row = h->st[ST_LOG_OLDEST];
    uint64_t left = s->rec.count, bytes = s->rec.bytes;
    size_t n = 0;
    int rc;

    db_bind_i64(row, 1, s->idn);
    db_bind_i64(row, 2, TRIM_ROWS + 1);
    rc = db_step(row);
    for (; rc > 0; rc = db_step(row)) {
        v[n].seq = db_u64(row, 0);
        v[n].offset = db_u64(row, 1);
        v[n].ts_ms = *oldest_ms = db_i64(row, 2);
        v[n].size = db_u64(row, 3);
        v[n].keyed = db_u64(row, 4) != 0;
        if (n == TRIM_ROWS || !condemned(s, &v[n], left, bytes, now_ms))
            break;
        left -= MIN(left, 1);
        bytes -= MIN(bytes, v[n].size);
        n++;
    }
    sqlite3_reset(row);
    *count = n;
    return MIN(rc, 0);
}

static int delete_row(struct history *h, const struct victim *v)
{
    int rc = 0;

    if (v->keyed) {
        db_bind_u64(h->st[ST_KEY_SET_DUE], 1, v->seq);
        db_bind_i64(h->st[ST_KEY_SET_DUE], 2,
                    history_key_now(h) + KEY_KEEP_MS);
        rc = db_run(h->st[ST_KEY_SET_DUE]);
    }
    if (rc == 0) {
        db_bind_u64(h->st[ST_LOG_DROP], 1, v->seq);
        rc = db_run(h->st[ST_LOG_DROP]);
    }
    return rc;
}

/* Offsets are dense, so the count tells the offset; the row's own columns may
 * be what a flipped bit made of them. */
static void subtract(struct id_state *s, const struct victim *v)
{
    s->rec.count -= MIN(s->rec.count, 1);
    s->rec.bytes -= MIN(s->rec.bytes, v->size);
    if (v->seq <= s->rec.last_seq)
        s->rec.trimmed_seq = MAX(s->rec.trimmed_seq, v->seq);
    s->rec.trimmed_offset = s->rec.last_offset - s->rec.count;
}

static int drop_rows(struct history *h, struct id_state *s,
                     const struct victim *v, size_t n,
                     const atomic_bool *hurry, size_t *done)
{
    int rc = 0;

    for (*done = 0; rc == 0 && *done < n; ++*done) {
        if (*done > 0 && atomic_load(hurry))
            break;
        rc = delete_row(h, &v[*done]);
        if (rc == 0)
            subtract(s, &v[*done]);
    }
    return rc;
}

static int trim_id(struct history *h, struct id_state *s, int64_t now_ms,
                   const atomic_bool *hurry, size_t *done)
{
    struct victim v[TRIM_ROWS + 1];
    int64_t oldest_ms = now_ms;
    size_t n;
    int rc = choose(h, s, now_ms, v, &n, &oldest_ms);

    if (rc == 0)
        rc = drop_rows(h, s, v, n, hurry, done);
    if (rc < 0)
        return rc;
    if (n == 0 && s->rec.count > 0 && ids_is_over(s)) {
        /* Counted, but not there: rows that damage took away. */
        s->rec.count = 0;
        s->rec.bytes = 0;
    }
    s->oldest_ms = *done < n ? v[*done].ts_ms
                   : s->rec.count ? oldest_ms : now_ms;
    ids_judge(h, s);
    ids_changed(h, s);
    return 0;
}

static int commit_id(struct history *h, struct id_state *s, size_t done,
                     const struct trim_events *on)
{
    int rc;

    if (done)
        on->trims(on->arg, s->rec.trimmed_seq);
    rc = history_commit(h);
    if (rc == 0 && done)
        on->trimmed(on->arg, &s->rec, done);
    return rc < 0 ? rc : 1;
}

/* An empty id is asked about, and not again for a while. */
static int ask(struct history *h, struct id_state *s, int64_t now_ms,
               const struct trim_events *on)
{
    int rc;

    s->due_ms = now_ms + ASK_AGAIN_MS;
    ids_changed(h, s);
    rc = history_commit(h);
    if (rc == 0)
        on->empty(on->arg, s->rec.id);
    return rc < 0 ? rc : 1;
}

/* Nobody behind it waits until its page can be read, which may be never. */
static int pass_by(struct history *h, const struct id_state *s)
{
    int rc = skip_add(&h->skip, s->idn);

    if (rc < 0)
        return ERR_DAMAGED;
    log_warn("store.trim_damaged", "id=%s action=skip_until_restart",
             log_quote(s->rec.id).text);
    return 1;
}

static int step_id(struct history *h, struct id_state *s, int64_t now_ms,
                   const atomic_bool *hurry, const struct trim_events *on)
{
    size_t done = 0;
    int rc;

    if (s->rec.count == 0)
        return ask(h, s, now_ms, on);
    rc = trim_id(h, s, now_ms, hurry, &done);
    if (rc == ERR_DAMAGED)
        rc = pass_by(h, s);
    else if (rc == 0)
        return commit_id(h, s, done, on);
    history_rollback(h);
    return rc;
}

/* --- what is next --- */

/* A damaged row is left to the next start; it must not stop all others. */
static int skip_damaged(struct history *h, int64_t idn)
{
    db_bind_i64(h->st[ST_ID_NOT_DUE], 1, idn);
    return db_run(h->st[ST_ID_NOT_DUE]);
}

static struct id_state *next_over(struct history *h)
{
    LIST_FOREACH_SAFE(s, tmp, &h->ids.over, struct id_state, over) {
        if (!skip_has(&h->skip, s->idn))
            return s;
        list_remove(&s->over);
    }
    return NULL;
}

/* 1: *ret is due, or NULL when there was something wrong with it. */
static int find_due(struct history *h, int64_t now_ms, struct id_state **ret,
                    int64_t *next_ms)
{
    sqlite3_stmt *due = h->st[ST_ID_DUE];
    int64_t when, idn;
    int rc;

    db_bind_u64(due, 1, skip_count(&h->skip) + 1);
    rc = db_step(due);
    while (rc > 0 && skip_has(&h->skip, db_i64(due, 2)))
        rc = db_step(due);
    if (rc <= 0)
        return rc;
    when = db_i64(due, 1);
    idn = db_i64(due, 2);
    *next_ms = MIN(*next_ms, when);
    rc = 0;
    if (when <= now_ms)
        rc = ids_get(h, db_bytes(due, 0), ret);
    sqlite3_reset(due);
    if (rc == ERR_DAMAGED || rc == ERR_NOT_FOUND)
        rc = skip_damaged(h, idn);
    return rc < 0 ? rc : when <= now_ms;
}

static int step_keys(struct history *h, int64_t now_ms, int64_t *next_ms)
{
    sqlite3_stmt *next = h->st[ST_KEY_NEXT], *drop = h->st[ST_KEYS_DUE];
    int64_t key_ms = history_key_now(h), wait_ms = INT64_MAX;
    int rc = db_step(next);

    if (rc > 0 && sqlite3_column_type(next, 0) != SQLITE_NULL)
        wait_ms = MAX(db_i64(next, 0) - key_ms, 0);
    sqlite3_reset(next);
    if (rc < 0 || wait_ms > 0) {
        if (wait_ms < INT64_MAX - now_ms)
            *next_ms = MIN(*next_ms, now_ms + wait_ms);
        return MIN(rc, 0);
    }
    db_bind_i64(drop, 1, key_ms);
    db_bind_i64(drop, 2, TRIM_KEYS);
    rc = db_run(drop);
    return rc < 0 ? rc : 1;
}

/* In a transaction already: what is due must not change while it is done. */
static int step(struct history *h, const atomic_bool *hurry,
                const struct trim_events *on, int64_t *next_ms)
{
    int64_t now_ms = history_now(h);
    struct id_state *s = next_over(h);
    int rc = s ? 1 : find_due(h, now_ms, &s, next_ms);

    if (rc > 0 && s)
        return step_id(h, s, now_ms, hurry, on);
    if (rc == 0)
        rc = ids_review(h);
    if (rc == 0)
        rc = step_keys(h, now_ms, next_ms);
    if (rc <= 0) {
        history_rollback(h);
        return rc;
    }
    rc = history_commit(h);
    return rc < 0 ? rc : 1;
}

int trim_step(struct history *h, const atomic_bool *hurry,
              const struct trim_events *on, int64_t *next_ms)
{
    int rc = h->conn ? 0 : history_reopen(h);

    *next_ms = INT64_MAX;
    if (rc == 0)
        rc = history_begin(h, false);
    return rc < 0 ? rc : step(h, hurry, on, next_ms);
}

/* --- forgetting --- */

static int postpone(struct history *h, struct id_state *s, int64_t due_ms)
{
    s->due_ms = due_ms;
    ids_changed(h, s);
    return history_commit(h);
}

static int drop_id(struct history *h, struct id_state *s)
{
    struct forgotten before = h->meta.forgotten, *now = &h->meta.forgotten;
    int rc;

    guard_note(&h->guard, h->meta.life, 0); /* its seq may be the last one */
    now->offset = MAX(now->offset, s->rec.last_offset);
    now->seq = MAX(now->seq, s->rec.last_seq);
    rc = meta_save(h->conn, &h->meta);
    if (rc == 0)
        rc = ids_drop(h, s);
    if (rc == 0)
        rc = history_commit(h);
    else
        history_rollback(h);
    if (rc < 0)
        *now = before;
    return rc < 0 ? rc : 1;
}

int trim_forget(struct history *h, struct slice id, int64_t last_used_ms)
{
    struct id_state *s;
    int64_t due_ms;
    int rc = h->conn ? 0 : history_reopen(h);

    if (rc == 0)
        rc = history_begin(h, false);
    if (rc < 0)
        return rc;
    rc = ids_get(h, id, &s);
    if (rc < 0 || s->rec.count > 0) {
        history_rollback(h);
        return rc == ERR_NOT_FOUND ? 0 : rc;
    }
    due_ms = MAX(s->oldest_ms, last_used_ms) + FORGET_MS;
    if (due_ms > history_now(h))
        return postpone(h, s, due_ms);
    return drop_id(h, s);
}
