/* row.h - a record as a row of the log, and back, with its checksum.
 * The checksum covers the id's text, not its number: a message must not turn
 * up under another name because one bit of a reference fell over.
 * Threads: those of the statement. */
#ifndef TOUCHLINE_STORE_ROW_H
#define TOUCHLINE_STORE_ROW_H

#include "store/db.h"
#include "store/history.h"

/* The columns of a row in the order row_read() wants them. */
#define ROW_COLUMNS \
    "seq, idn, offset, ts_ms, size, format, flags, keyed, session, number, " \
    "sum, sender, kind, key, data"

#define ROW_INSERT \
    "INSERT INTO log (" ROW_COLUMNS ") " \
    "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)"

/* Binds all parameters of ROW_INSERT; borrows r's bytes until the reset. */
void row_bind(sqlite3_stmt *s, const struct record *r, int64_t idn,
              bool keyed);

/* Reads the row s stands on, as a message of this id. The slices are good
 * until the next step. ERR_DAMAGED: the checksum says no; then ret holds the
 * numbers as they were read, for the report. */
MUST_USE int row_read(sqlite3_stmt *s, struct slice id, struct record *ret);

int64_t row_idn(sqlite3_stmt *s);

/* Hashes numbers and bytes into a sum column: start, add ..., use. */
#define SUM_START UINT64_C(0x746f7563686c696e)
uint64_t sum_u64s(uint64_t sum, const uint64_t *v, size_t count);
uint64_t sum_bytes(uint64_t sum, struct slice v);

#endif
