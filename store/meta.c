#include "store/meta.h"

#include <stdio.h>

#include "base/err.h"
#include "base/secret.h"
#include "store/row.h"

static const char *const reasons[] = {
    [EPOCH_SAME] = "same",         [EPOCH_NEW] = "new",
    [EPOCH_COPIED] = "copied",     [EPOCH_RESTORED] = "restored",
    [EPOCH_BOOT] = "boot",         [EPOCH_MARK] = "mark",
    [EPOCH_DAMAGED] = "damaged",   [EPOCH_ASKED] = "asked",
};

const char *epoch_reason_name(enum epoch_reason why)
{
    return reasons[why];
}

static uint64_t meta_sum(const struct meta *m)
{
    const uint64_t numbers[] = {
        m->mark, m->forgotten.offset, m->device, m->inode, m->life, m->clean,
        m->backup, m->forgotten.seq,
    };
    size_t count = ARRAY_LEN(numbers) - !m->forgotten.seq;

    return sum_bytes(sum_u64s(SUM_START, numbers, count), slice_str(m->boot));
}

static int meta_read(sqlite3_stmt *s, struct meta *ret)
{
    struct meta m = {
        .mark = db_u64(s, 0),
        .forgotten = {db_u64(s, 1), db_u64(s, 8)},
        .device = db_u64(s, 2),
        .inode = db_u64(s, 3),
        .life = db_u64(s, 5),
        .clean = db_u64(s, 6) != 0,
        .backup = db_u64(s, 7) != 0,
    };

    snprintf(m.boot, sizeof m.boot, SLICE_FMT, SLICE_ARG(db_bytes(s, 4)));
    *ret = m;
    return meta_sum(&m) == db_u64(s, 9) ? 0 : ERR_DAMAGED;
}

int meta_load(sqlite3 *conn, struct meta *ret)
{
    static const char *const sql =
        "SELECT mark, floor, device, inode, boot, life, clean, backup, "
        "forgotten_seq, sum FROM store";
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(conn, &sql, &s, 1);

    if (rc == 0)
        rc = db_step(s);
    if (rc > 0)
        rc = meta_read(s, ret);
    else if (rc == 0)
        rc = ERR_NOT_FOUND;
    db_finalize(&s, 1);
    return rc;
}

int meta_save(sqlite3 *conn, const struct meta *m)
{
    static const char *const sql =
        "INSERT OR REPLACE INTO store (one, mark, floor, device, inode, boot, "
        "life, clean, backup, forgotten_seq, sum) "
        "VALUES (1,?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)";
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(conn, &sql, &s, 1);

    if (rc == 0) {
        db_bind_u64(s, 1, m->mark);
        db_bind_u64(s, 2, m->forgotten.offset);
        db_bind_u64(s, 3, m->device);
        db_bind_u64(s, 4, m->inode);
        db_bind_text(s, 5, slice_str(m->boot));
        db_bind_u64(s, 6, m->life);
        db_bind_u64(s, 7, m->clean);
        db_bind_u64(s, 8, m->backup);
        db_bind_u64(s, 9, m->forgotten.seq);
        db_bind_u64(s, 10, meta_sum(m));
        rc = db_run(s);
    }
    db_finalize(&s, 1);
    return rc;
}

void epoch_draw(char ret[EPOCH_SIZE])
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    uint64_t r = random_u64();

    /* 36^10 is 2^51.7: what the modulo prefers cannot be noticed. */
    for (int i = 0; i < EPOCH_LEN; i++, r /= 36)
        ret[i] = digits[r % 36];
    ret[EPOCH_LEN] = '\0';
}

int epoch_add(sqlite3 *conn, const char *name, uint64_t since_seq,
              int64_t now_ms, enum epoch_reason why)
{
    static const char *const sql =
        "INSERT INTO epochs (name, since_seq, made_ms, reason) "
        "VALUES (?1,?2,?3,?4)";
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(conn, &sql, &s, 1);

    if (rc == 0) {
        db_bind_text(s, 1, slice_str(name));
        db_bind_u64(s, 2, since_seq);
        db_bind_i64(s, 3, now_ms);
        db_bind_text(s, 4, slice_str(reasons[why]));
        rc = db_run(s);
    }
    db_finalize(&s, 1);
    return rc;
}

/* A name goes into cursors: anything but a name is damage. */
static int name_copy(struct slice name, char ret[EPOCH_SIZE])
{
    if (name.len != EPOCH_LEN)
        return ERR_DAMAGED;
    for (size_t i = 0; i < EPOCH_LEN; i++)
        if (!(name.ptr[i] >= 'a' && name.ptr[i] <= 'z')
            && !(name.ptr[i] >= '0' && name.ptr[i] <= '9'))
            return ERR_DAMAGED;
    snprintf(ret, EPOCH_SIZE, SLICE_FMT, SLICE_ARG(name));
    return 0;
}

int epoch_current(sqlite3 *conn, char ret[EPOCH_SIZE])
{
    static const char *const sql =
        "SELECT name FROM epochs ORDER BY n DESC LIMIT 1";
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(conn, &sql, &s, 1);

    if (rc == 0)
        rc = db_step(s);
    if (rc > 0)
        rc = name_copy(db_bytes(s, 0), ret);
    else if (rc == 0)
        rc = ERR_NOT_FOUND;
    db_finalize(&s, 1);
    return rc;
}

int epoch_at(sqlite3_stmt *s, uint64_t seq, char ret[EPOCH_SIZE])
{
    int rc;

    db_bind_u64(s, 1, seq);
    rc = db_step(s);
    if (rc > 0)
        rc = name_copy(db_bytes(s, 0), ret);
    else if (rc == 0)
        rc = ERR_NOT_FOUND;
    sqlite3_reset(s);
    return rc;
}
