#include "store/present.h"

#include "base/check.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/log.h"
#include "store/core.h"

static uint64_t present_sum(struct slice id, struct slice name)
{
    return sum_bytes(sum_bytes(SUM_START, id), name);
}

void present_change(struct buf *changes, struct slice id, struct slice name,
                    bool here)
{
    CHECK(id.len <= UINT8_MAX && name.len <= UINT8_MAX);
    put_u8(changes, here);
    put_str8(changes, id);
    put_str8(changes, name);
}

static void skip_change(struct cursor *c)
{
    cursor_u8(c);
    cursor_str8(c);
    cursor_str8(c);
}

struct slice present_head(struct slice changes, size_t most)
{
    struct cursor c = cursor_init(changes);
    size_t len = 0;

    while (cursor_left(&c)) {
        size_t with;

        skip_change(&c);
        with = changes.len - cursor_left(&c);
        if (len && with > most)
            break;
        len = with;
    }
    return slice_head(changes, len);
}

static int apply_one(struct history *h, bool here, struct slice id,
                     struct slice name)
{
    sqlite3_stmt *s = h->st[here ? ST_PRESENT_ADD : ST_PRESENT_DROP];

    db_bind_text(s, 1, id);
    db_bind_text(s, 2, name);
    if (here)
        db_bind_u64(s, 3, present_sum(id, name));
    return db_run(s);
}

int present_apply(struct history *h, struct slice changes)
{
    struct cursor c = cursor_init(changes);
    int rc = h->conn ? history_begin(h, false) : ERR_AGAIN;

    if (rc < 0)
        return rc;
    while (rc == 0 && cursor_left(&c)) {
        bool here = cursor_u8(&c);
        struct slice id = cursor_str8(&c);

        rc = apply_one(h, here, id, cursor_str8(&c));
    }
    if (rc == 0)
        return history_commit(h);
    history_rollback(h);
    return rc;
}

int history_present(struct history *h, history_present_fn *fn, void *arg)
{
    static const char *const sql = "SELECT id, name, sum FROM present";
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(h->conn, &sql, &s, 1);

    if (rc == 0)
        rc = db_step(s);
    while (rc > 0) {
        struct slice id = db_bytes(s, 0), name = db_bytes(s, 1);

        rc = 0;
        if (present_sum(id, name) == db_u64(s, 2))
            rc = fn(arg, id, name);
        else
            log_warn("store.present_damaged", "id=%s action=leave_out",
                     log_quote(id).text);
        if (rc == 0)
            rc = db_step(s);
    }
    db_finalize(&s, 1);
    return rc;
}
