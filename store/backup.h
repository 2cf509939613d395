/* backup.h - a copy of the open store, made in steps between batches.
 * Threads: the connection's. history_restore() is here, too (history.h). */
#ifndef TOUCHLINE_STORE_BACKUP_H
#define TOUCHLINE_STORE_BACKUP_H

#include "store/core.h"

struct backup;

/* Starts a copy to file, built as <file>.part. ERR_EXISTS: file is there.
 * ERR_DENIED: this process may not write there. */
MUST_USE int backup_start(struct backup **ret, struct history *h,
                          const char *file);

/* Copies some more pages. 1: not done. 0: the copy is marked, synced and has
 * its name. Batches may come between steps: the copy follows them. */
MUST_USE int backup_step(struct backup *b);

/* Removes what is not finished. NULL is fine. */
void backup_free(struct backup *b);

#endif
