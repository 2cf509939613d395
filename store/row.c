#include "store/row.h"

#include <endian.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/err.h"

enum column {
    SEQ, IDN, OFFSET, TS, SIZE, FORMAT, FLAGS, KEYED, SESSION, NUMBER, SUM,
    FROM, KIND, KEY, DATA
};

size_t record_bytes(const struct record *r)
{
    return r->from.len + r->kind.len + r->key.len + r->data.len;
}

uint64_t sum_u64s(uint64_t sum, const uint64_t *v, size_t count)
{
    uint64_t le[16];

    CHECK(count <= ARRAY_LEN(le));
    for (size_t i = 0; i < count; i++)
        le[i] = htole64(v[i]);
    return XXH3_64bits_withSeed(le, count * sizeof *le, sum);
}

/* The length goes in too, or bytes could move from one column to the next. */
uint64_t sum_bytes(uint64_t sum, struct slice v)
{
    return XXH3_64bits_withSeed(v.len ? (const void *)v.ptr : "", v.len,
                                sum ^ v.len * UINT64_C(0x9e3779b97f4a7c15));
}

static uint64_t checksum(const struct record *r, uint64_t size, bool keyed)
{
    const uint64_t numbers[] = {
        r->seq, r->offset, (uint64_t)r->ts_ms, size, r->format, r->flags,
        keyed, r->session, r->number,
    };
    uint64_t sum = sum_u64s(SUM_START, numbers, ARRAY_LEN(numbers));

    sum = sum_bytes(sum, r->id);
    sum = sum_bytes(sum, r->from);
    sum = sum_bytes(sum, r->kind);
    sum = sum_bytes(sum, r->key);
    return sum_bytes(sum, r->data);
}

static void bind_name(sqlite3_stmt *s, const struct record *r)
{
    if (r->session) {
        db_bind_u64(s, SESSION + 1, r->session);
        db_bind_u64(s, NUMBER + 1, r->number);
    } else {
        sqlite3_bind_null(s, SESSION + 1);
        sqlite3_bind_null(s, NUMBER + 1);
    }
}

void row_bind(sqlite3_stmt *s, const struct record *r, int64_t idn,
              bool keyed)
{
    uint64_t size = record_bytes(r);

    db_bind_u64(s, SEQ + 1, r->seq);
    db_bind_i64(s, IDN + 1, idn);
    db_bind_u64(s, OFFSET + 1, r->offset);
    db_bind_i64(s, TS + 1, r->ts_ms);
    db_bind_u64(s, SIZE + 1, size);
    db_bind_u64(s, FORMAT + 1, r->format);
    db_bind_u64(s, FLAGS + 1, r->flags);
    db_bind_u64(s, KEYED + 1, keyed);
    bind_name(s, r);
    db_bind_u64(s, SUM + 1, checksum(r, size, keyed));
    db_bind_blob(s, FROM + 1, r->from);
    db_bind_blob(s, KIND + 1, r->kind);
    db_bind_blob(s, KEY + 1, r->key);
    db_bind_blob(s, DATA + 1, r->data);
}

int64_t row_idn(sqlite3_stmt *s)
{
    return db_i64(s, IDN);
}

int row_read(sqlite3_stmt *s, struct slice id, struct record *ret)
{
    uint64_t size = db_u64(s, SIZE), keyed = db_u64(s, KEYED);
    uint64_t format = db_u64(s, FORMAT), flags = db_u64(s, FLAGS);
    struct record r = {
        .id = id,
        .seq = db_u64(s, SEQ),
        .offset = db_u64(s, OFFSET),
        .ts_ms = db_i64(s, TS),
        .format = (uint8_t)format,
        .flags = (uint8_t)flags,
        .from = db_bytes(s, FROM),
        .kind = db_bytes(s, KIND),
        .key = db_bytes(s, KEY),
        .data = db_bytes(s, DATA),
        .session = db_u64(s, SESSION),
        .number = db_u64(s, NUMBER),
    };

    *ret = r;
    if (format > UINT8_MAX || flags > UINT8_MAX || keyed > 1
        || checksum(&r, size, keyed != 0) != db_u64(s, SUM))
        return ERR_DAMAGED;
    return 0;
}
