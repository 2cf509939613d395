/* schema.h - what the tables look like, as numbered, append-only migrations.
 * Files are schema/NNNN_*.sql; each needs a row in MIGRATIONS and one in
 * schema.S. The number of the last one applied is the file's user_version.
 * Threads: that of the connection. */
#ifndef TOUCHLINE_STORE_SCHEMA_H
#define TOUCHLINE_STORE_SCHEMA_H

#include <sqlite3.h>

#include "base/base.h"

#define MIGRATIONS(X) X(0001) X(0002) X(0003) X(0004)

/* "TLst": a file of ours, whatever its schema. */
enum { SCHEMA_APPLICATION_ID = 0x544c7374 };

/* The last schema this program knows. */
int schema_version(void);

/* Brings an empty or older database up to date, one transaction for all.
 * ERR_VERSION: from a later program. ERR_DAMAGED: a database of another
 * program. Then nothing was changed, and text says why. */
MUST_USE int schema_migrate(sqlite3 *conn, char text[256]);

/* The checks of schema_migrate() alone. */
MUST_USE int schema_check(sqlite3 *conn, char text[256]);

#endif
