/* filecheck.h - SQLite's own check of a file, within a time.
 * Threads: the connection's; it starts one for the time limit. */
#ifndef TOUCHLINE_STORE_FILECHECK_H
#define TOUCHLINE_STORE_FILECHECK_H

#include "store/db.h"
#include "store/history.h"

/* Runs quick_check for at most limit_ms. text gets the first complaint. */
enum history_check filecheck(sqlite3 *conn, int limit_ms, char text[256]);

#endif
