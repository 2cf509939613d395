#include "store/schema.h"

#include <stdio.h>

#include "base/err.h"
#include "store/db.h"

#define AS_DECLARATION(n) extern const char schema_##n[];
MIGRATIONS(AS_DECLARATION)

#define AS_ELEMENT(n) schema_##n,
static const char *const migrations[] = { MIGRATIONS(AS_ELEMENT) };

int schema_version(void)
{
    return (int)ARRAY_LEN(migrations);
}

/* A file without any table and any mark is one we may fill. */
static int check(sqlite3 *conn, int64_t *version, char text[256])
{
    int64_t app, tables;
    int rc = db_int(conn, "PRAGMA application_id", &app);

    if (rc == 0)
        rc = db_int(conn, "PRAGMA user_version", version);
    if (rc == 0)
        rc = db_int(conn, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc < 0)
        return rc;
    if (app != SCHEMA_APPLICATION_ID && (app || *version || tables)) {
        snprintf(text, 256, "the file is a database of another program");
        return ERR_DAMAGED;
    }
    if (*version > schema_version()) {
        snprintf(text, 256, "the store has schema %d, this program knows only "
                 "up to %d: it was written by a later version of touchline; "
                 "start that one, or --restore a backup of this one",
                 (int)*version, schema_version());
        return ERR_VERSION;
    }
    return 0;
}

int schema_check(sqlite3 *conn, char text[256])
{
    int64_t version;

    return check(conn, &version, text);
}

static int apply(sqlite3 *conn, int64_t from)
{
    int rc = db_exec(conn, "BEGIN IMMEDIATE");

    for (int64_t i = from; rc == 0 && i < schema_version(); i++)
        rc = db_exec(conn, migrations[i]);
    if (rc == 0)
        rc = db_execf(conn, "PRAGMA application_id = %d; "
                      "PRAGMA user_version = %d; COMMIT",
                      SCHEMA_APPLICATION_ID, schema_version());
    if (rc < 0)
        db_rollback(conn);
    return rc;
}

int schema_migrate(sqlite3 *conn, char text[256])
{
    int64_t version;
    int rc = check(conn, &version, text);

    if (rc < 0 || version == schema_version())
        return rc;
    rc = apply(conn, version);
    if (rc < 0)
        snprintf(text, 256, "bringing the store from schema %d to %d failed: "
                 "%.150s", (int)version, schema_version(),
                 sqlite3_errmsg(conn));
    return rc;
}
