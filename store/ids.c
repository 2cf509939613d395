#include "store/ids.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/core.h"

/* As in ID_COLUMNS. */
enum column {
    IDN, ID, LAST_OFFSET, LAST_SEQ, TRIMMED_OFFSET, TRIMMED_SEQ, COUNT, BYTES,
    OLDEST, DUE, SUM
};

enum { CHECK_FLUSH = 4096, REVIEW_ROWS = 256 };

void ids_init(struct ids *ids)
{
    map_init(&ids->map);
    list_init(&ids->recent);
    list_init(&ids->dirty);
    list_init(&ids->over);
    ids->next_idn = 1;
    ids->reviewed = ids->reviewing = INT64_MAX;
}

static void discard(struct ids *ids, struct id_state *s)
{
    map_remove(&ids->map, &s->by_id);
    list_remove(&s->recent);
    list_remove(&s->dirty);
    list_remove(&s->over);
    free(s);
}

void ids_fini(struct ids *ids)
{
    LIST_FOREACH_SAFE(s, tmp, &ids->recent, struct id_state, recent)
        discard(ids, s);
    map_fini(&ids->map);
}

static uint64_t id_sum(int64_t idn, const struct id_record *r,
                       int64_t oldest_ms, int64_t due_ms)
{
    const uint64_t numbers[] = {
        (uint64_t)idn, r->last_offset, r->last_seq, r->trimmed_offset,
        r->trimmed_seq, r->count, r->bytes, (uint64_t)oldest_ms,
        (uint64_t)due_ms,
    };

    return sum_bytes(sum_u64s(SUM_START, numbers, ARRAY_LEN(numbers)), r->id);
}

int ids_read(sqlite3_stmt *s, struct id_record *ret, int64_t *oldest_ms,
             int64_t *due_ms)
{
    struct id_record r = {
        .id = db_bytes(s, ID),
        .last_offset = db_u64(s, LAST_OFFSET),
        .last_seq = db_u64(s, LAST_SEQ),
        .trimmed_offset = db_u64(s, TRIMMED_OFFSET),
        .trimmed_seq = db_u64(s, TRIMMED_SEQ),
        .count = db_u64(s, COUNT),
        .bytes = db_u64(s, BYTES),
    };

    int64_t oldest = db_i64(s, OLDEST), due = db_i64(s, DUE);

    *ret = r;
    *oldest_ms = oldest;
    *due_ms = due;
    return id_sum(db_i64(s, IDN), &r, oldest, due) == db_u64(s, SUM)
               ? 0 : ERR_DAMAGED;
}

static void write_row(sqlite3_stmt *s, const struct id_state *i)
{
    db_bind_i64(s, IDN + 1, i->idn);
    db_bind_text(s, ID + 1, i->rec.id);
    db_bind_u64(s, LAST_OFFSET + 1, i->rec.last_offset);
    db_bind_u64(s, LAST_SEQ + 1, i->rec.last_seq);
    db_bind_u64(s, TRIMMED_OFFSET + 1, i->rec.trimmed_offset);
    db_bind_u64(s, TRIMMED_SEQ + 1, i->rec.trimmed_seq);
    db_bind_u64(s, COUNT + 1, i->rec.count);
    db_bind_u64(s, BYTES + 1, i->rec.bytes);
    db_bind_i64(s, OLDEST + 1, i->oldest_ms);
    if (i->due_ms)
        db_bind_i64(s, DUE + 1, i->due_ms);
    else
        sqlite3_bind_null(s, DUE + 1);
    db_bind_u64(s, SUM + 1,
                id_sum(i->idn, &i->rec, i->oldest_ms, i->due_ms));
}

/* --- what is due --- */

bool ids_is_over(const struct id_state *s)
{
    return (s->keep.max_count && s->rec.count > s->keep.max_count)
           || (s->keep.max_bytes && s->rec.bytes > s->keep.max_bytes);
}

static int64_t when_due(const struct id_state *s)
{
    if (s->rec.count == 0)
        return s->oldest_ms + FORGET_MS;
    return s->keep.max_age_ms ? s->oldest_ms + s->keep.max_age_ms : 0;
}

void ids_judge(struct history *h, struct id_state *s)
{
    int64_t when = when_due(s);

    if (when != s->due_ms) {
        s->due_ms = when;
        s->all = true;
    }
    if (!ids_is_over(s))
        list_remove(&s->over);
    else if (!list_linked(&s->over))
        list_add_tail(&h->ids.over, &s->over);
}

/* --- the cache --- */

static bool has_id(const struct map_node *node, const void *key)
{
    const struct id_state *s =
        CONTAINER_OF(node, const struct id_state, by_id);

    return slice_eq(s->rec.id, *(const struct slice *)key);
}

static int state_new(struct history *h, struct slice id,
                     struct id_state **ret)
{
    struct id_state *s = calloc(1, sizeof *s + id.len);
    uint8_t *name;

    if (!s)
        return ERR_NOMEM;
    if (map_add(&h->ids.map, &s->by_id, hash_bytes(id)) < 0) {
        free(s);
        return ERR_NOMEM;
    }
    name = (uint8_t *)(s + 1);
    memcpy(name, id.ptr, id.len);
    s->rec.id = slice_make(name, id.len);
    list_init(&s->dirty);
    list_init(&s->over);
    list_init(&s->recent);
    list_add_tail(&h->ids.recent, &s->recent);
    if (h->opt.policy)
        s->keep = h->opt.policy(h->opt.policy_arg, s->rec.id);
    *ret = s;
    return 0;
}

/* The statement stands on the row. */
static int state_load(struct history *h, sqlite3_stmt *row,
                      struct id_state **ret)
{
    struct id_record r;
    struct id_state *s;
    struct slice name;
    int64_t oldest_ms, due_ms;
    int rc = ids_read(row, &r, &oldest_ms, &due_ms);

    if (rc == 0)
        rc = state_new(h, r.id, &s);
    if (rc < 0)
        return rc;
    name = s->rec.id;
    s->rec = r;
    s->rec.id = name;
    s->idn = db_i64(row, IDN);
    s->oldest_ms = oldest_ms;
    s->due_ms = due_ms;
    *ret = s;
    return 0;
}

int ids_get(struct history *h, struct slice id, struct id_state **ret)
{
    struct map_node *n = map_find(&h->ids.map, hash_bytes(id), has_id, &id);
    sqlite3_stmt *row = h->st[ST_ID_GET];
    struct id_state *s;
    int rc;

    if (n) {
        s = CONTAINER_OF(n, struct id_state, by_id);
        list_remove(&s->recent);
        list_add_tail(&h->ids.recent, &s->recent);
        *ret = s;
        return 0;
    }
    db_bind_text(row, 1, id);
    rc = db_step(row);
    if (rc > 0)
        rc = state_load(h, row, ret);
    else if (rc == 0)
        rc = ERR_NOT_FOUND;
    sqlite3_reset(row);
    return rc;
}

int ids_make(struct history *h, struct slice id, struct id_state **ret)
{
    struct id_state *s;
    int rc = ids_get(h, id, ret);

    if (rc != ERR_NOT_FOUND)
        return rc;
    rc = state_new(h, id, &s);
    if (rc < 0)
        return rc;
    s->idn = h->ids.next_idn++;
    s->fresh = true;
    s->rec.last_offset = h->meta.forgotten.offset;
    s->rec.trimmed_offset = h->meta.forgotten.offset;
    s->rec.trimmed_seq = h->meta.forgotten.seq;
    list_add_tail(&h->ids.dirty, &s->dirty);
    *ret = s;
    return 0;
}

void ids_changed(struct history *h, struct id_state *s)
{
    s->all = true;
    if (!list_linked(&s->dirty))
        list_add_tail(&h->ids.dirty, &s->dirty);
}

void ids_added(struct history *h, struct id_state *s, uint64_t seq,
               int64_t ts_ms, uint64_t bytes)
{
    s->rec.last_offset++;
    s->rec.last_seq = seq;
    s->rec.count++;
    s->rec.bytes += bytes;
    if (s->rec.count == 1) {
        s->oldest_ms = ts_ms;
        s->all = true;
    }
    ids_judge(h, s);
    if (!list_linked(&s->dirty))
        list_add_tail(&h->ids.dirty, &s->dirty);
}

int ids_drop(struct history *h, struct id_state *s)
{
    sqlite3_stmt *row = h->st[ST_ID_DROP], *state = h->st[ST_STATE_DROP];
    int rc;

    db_bind_i64(row, 1, s->idn);
    db_bind_i64(state, 1, s->idn);
    rc = db_run(row);
    if (rc == 0)
        rc = db_run(state);
    discard(&h->ids, s);
    return rc;
}

int ids_flush(struct history *h)
{
    int rc = 0;

    LIST_FOREACH(s, &h->ids.dirty, struct id_state, dirty) {
        sqlite3_stmt *row = h->st[s->fresh ? ST_ID_ADD
                                  : s->all ? ST_ID_SET_ALL : ST_ID_SET];

        write_row(row, s);
        rc = db_run(row);
        if (rc < 0)
            break;
    }
    return rc;
}

/* Those that are over stay: the list is what trimming goes by. */
static void shrink(struct ids *ids)
{
    LIST_FOREACH_SAFE(s, tmp, &ids->recent, struct id_state, recent) {
        if (map_count(&ids->map) <= IDS_CACHED)
            return;
        if (!list_linked(&s->over))
            discard(ids, s);
    }
}

void ids_commit(struct history *h)
{
    h->ids.reviewed = h->ids.reviewing;
    LIST_FOREACH_SAFE(s, tmp, &h->ids.dirty, struct id_state, dirty) {
        list_remove(&s->dirty);
        s->fresh = false;
        s->all = false;
    }
    shrink(&h->ids);
}

void ids_rollback(struct history *h)
{
    h->ids.reviewing = h->ids.reviewed;
    LIST_FOREACH_SAFE(s, tmp, &h->ids.dirty, struct id_state, dirty)
        discard(&h->ids, s);
}

/* --- the check at the start --- */

static int rebuild_range(sqlite3_stmt *s, struct slice id,
                         struct id_record *r, int64_t *oldest_ms)
{
    struct record first;
    int rc = db_step(s);

    for (; rc > 0; rc = db_step(s)) {
        if (row_read(s, id, &first) < 0)
            continue;
        if (r->count == 0) {
            r->trimmed_offset = first.offset - 1;
            r->trimmed_seq = first.seq - 1;
            *oldest_ms = first.ts_ms;
        }
        r->count++;
        r->bytes += record_bytes(&first);
        r->last_offset = first.offset;
        r->last_seq = first.seq;
    }
    return rc;
}

/* A policy that is narrower than when the row was written makes it due now. */
static bool needs_a_look(struct history *h, struct id_state *s)
{
    int64_t before = s->due_ms;

    ids_judge(h, s);
    if (ids_is_over(s))
        s->due_ms = 1;
    return s->due_ms != before;
}

void ids_policy_changed(struct history *h, void *policy_arg)
{
    h->opt.policy_arg = policy_arg;
    LIST_FOREACH(s, &h->ids.recent, struct id_state, recent) {
        s->keep = h->opt.policy(policy_arg, s->rec.id);
        ids_judge(h, s);
    }
    h->ids.reviewed = h->ids.reviewing = 0;
}

/* The statement stands on the row. A damaged one is left to the next start. */
static int review(struct history *h, sqlite3_stmt *row)
{
    struct slice id = db_bytes(row, ID);
    struct map_node *n = map_find(&h->ids.map, hash_bytes(id), has_id, &id);
    struct id_state *s = n ? CONTAINER_OF(n, struct id_state, by_id) : NULL;
    int rc = n ? 0 : state_load(h, row, &s);

    if (rc < 0)
        return rc == ERR_DAMAGED ? 0 : rc;
    if (needs_a_look(h, s) || s->due_ms != db_i64(row, DUE))
        ids_changed(h, s);
    else if (!n)
        discard(&h->ids, s);
    return 0;
}

int ids_review(struct history *h)
{
    sqlite3_stmt *row = h->st[ST_ID_AFTER];
    int64_t upto = h->ids.reviewed;
    int rc;

    if (upto == INT64_MAX)
        return 0;
    db_bind_i64(row, 1, upto);
    db_bind_i64(row, 2, REVIEW_ROWS);
    rc = db_step(row);
    if (rc == 0)
        upto = INT64_MAX;
    for (; rc > 0; rc = db_step(row)) {
        upto = db_i64(row, IDN);
        rc = review(h, row);
        if (rc < 0)
            break;
    }
    sqlite3_reset(row);
    if (rc < 0)
        return rc;
    h->ids.reviewing = upto;
    return upto < INT64_MAX;
}

/* Nothing in the damaged row is believed but its name: under a wrong name no
 * message passes its checksum, so none is given to the wrong id. */
static int rebuild(struct history *h, sqlite3_stmt *log, struct id_state *s)
{
    struct id_record r = { .id = s->rec.id };
    int rc;

    db_bind_i64(log, 1, s->idn);
    rc = rebuild_range(log, s->rec.id, &r, &s->oldest_ms);
    if (rc < 0)
        return rc;
    s->rec = r;
    if (r.count == 0)
        return ids_drop(h, s);
    (void)needs_a_look(h, s);
    ids_changed(h, s);
    return 0;
}

static int check_row(struct history *h, sqlite3_stmt *row, sqlite3_stmt *log,
                     uint64_t *last_seq, uint64_t *damaged)
{
    struct id_state *s;
    int rc = state_load(h, row, &s);

    if (rc == ERR_DAMAGED) {
        ++*damaged;
        rc = state_new(h, db_bytes(row, ID), &s);
        if (rc < 0)
            return rc;
        s->idn = db_i64(row, IDN);
        return rebuild(h, log, s);
    }
    if (rc < 0)
        return rc;
    *last_seq = MAX(*last_seq, s->rec.last_seq);
    if (needs_a_look(h, s))
        ids_changed(h, s);
    else
        discard(&h->ids, s);
    return 0;
}

/* Writes what has changed so far and empties the cache. */
static int check_flush(struct history *h)
{
    int rc = ids_flush(h);

    LIST_FOREACH_SAFE(s, tmp, &h->ids.recent, struct id_state, recent)
        discard(&h->ids, s);
    return rc;
}

/* All of ids, whatever the order. */
static uint64_t names_sum(sqlite3_stmt *row, int idn, int id)
{
    uint64_t n = db_u64(row, idn);

    return sum_bytes(sum_u64s(SUM_START, &n, 1), db_bytes(row, id));
}

int ids_index(struct history *h, struct ids_index *ret)
{
    static const char *const sql =
        "SELECT idn, id FROM ids INDEXED BY sqlite_autoindex_ids_1";
    struct ids_index index = { .names = 0 };
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(h->conn, &sql, &s, 1);

    if (rc == 0)
        rc = db_step(s);
    for (; rc > 0; rc = db_step(s))
        index.names += names_sum(s, 0, 1);
    db_finalize(&s, 1);
    index.lost = rc == ERR_DAMAGED;
    if (rc < 0 && !index.lost)
        return rc;
    *ret = index;
    return 0;
}

/* An id that its index does not find would be made again, and count from the
 * start: its offsets would come twice. quick_check does not look. SQLite cannot
 * take an index apart that it cannot read: that one stays, and the ids that
 * stood there are an error when they are looked for. */
static int mend_index(struct history *h, const struct ids_index *index,
                      uint64_t names, uint64_t *damaged)
{
    if (!index->lost && index->names == names)
        return 0;
    ++*damaged;
    return index->lost ? 0 : db_exec(h->conn, "REINDEX ids");
}

/* Rows may be rewritten while the walk goes on: their place stays. */
int ids_check(struct history *h, const struct ids_index *index,
              uint64_t *last_seq, uint64_t *damaged)
{
    static const char *const sql[] = {
        "SELECT " ID_COLUMNS " FROM ids ORDER BY idn",
        "SELECT " ROW_COLUMNS " FROM log WHERE idn = ?1 ORDER BY seq",
    };
    sqlite3_stmt *s[2] = { NULL, NULL };
    uint64_t names = 0;
    int rc = db_prepare(h->conn, sql, s, 2);

    if (rc == 0)
        rc = db_step(s[0]);
    while (rc > 0) {
        h->ids.next_idn = MAX(h->ids.next_idn, db_i64(s[0], IDN) + 1);
        names += names_sum(s[0], IDN, ID);
        rc = check_row(h, s[0], s[1], last_seq, damaged);
        if (rc == 0 && map_count(&h->ids.map) >= CHECK_FLUSH)
            rc = check_flush(h);
        if (rc == 0)
            rc = db_step(s[0]);
    }
    db_finalize(s, 2);
    if (rc == 0)
        rc = check_flush(h);
    return rc < 0 ? rc : mend_index(h, index, names, damaged);
}
